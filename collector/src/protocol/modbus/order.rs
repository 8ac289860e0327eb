//! The order in which the bytes of a value arrive: four in the field for 32 bits, six for 64, any other by its letters.

/// Order of bytes as they arrive: position `i` of the arriving bytes holds the byte `permutation[i]` of the value, 0 =
/// most significant (A). `ABCD` is 0,1,2,3; `CDAB` is 2,3,0,1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ByteOrder {
    /// Which byte of the value stands at each arriving position; only the first `length` count.
    pub permutation: [u8; 8],
    /// Bytes of the value: 2, 4, 6 or 8.
    pub length: u8,
}

impl ByteOrder {
    /// Most bytes of a value.
    pub const LENGTH_MAX: u8 = 8;
    /// One register, high byte first: the standard's order.
    pub const AB: Self = Self { permutation: [0, 1, 2, 3, 4, 5, 6, 7], length: 2 };
    /// One register, low byte first.
    pub const BA: Self = Self { permutation: [1, 0, 2, 3, 4, 5, 6, 7], length: 2 };
    /// Two registers, high word first.
    pub const ABCD: Self = Self { permutation: [0, 1, 2, 3, 4, 5, 6, 7], length: 4 };
    /// Two registers, low word first.
    pub const CDAB: Self = Self { permutation: [2, 3, 0, 1, 4, 5, 6, 7], length: 4 };
    /// Two registers, high word first, bytes swapped.
    pub const BADC: Self = Self { permutation: [1, 0, 3, 2, 4, 5, 6, 7], length: 4 };
    /// Two registers, low word first, bytes swapped.
    pub const DCBA: Self = Self { permutation: [3, 2, 1, 0, 4, 5, 6, 7], length: 4 };
    /// Four registers, high word first.
    pub const ABCDEFGH: Self = Self { permutation: [0, 1, 2, 3, 4, 5, 6, 7], length: 8 };
    /// Four registers, low word first.
    pub const GHEFCDAB: Self = Self { permutation: [6, 7, 4, 5, 2, 3, 0, 1], length: 8 };
    /// Four registers, high word first, bytes swapped.
    pub const BADCFEHG: Self = Self { permutation: [1, 0, 3, 2, 5, 4, 7, 6], length: 8 };
    /// Four registers, low word first, bytes swapped.
    pub const HGFEDCBA: Self = Self { permutation: [7, 6, 5, 4, 3, 2, 1, 0], length: 8 };
    /// Four registers, words swapped within each half.
    pub const CDABGHEF: Self = Self { permutation: [2, 3, 0, 1, 6, 7, 4, 5], length: 8 };
    /// Four registers, halves swapped.
    pub const EFGHABCD: Self = Self { permutation: [4, 5, 6, 7, 0, 1, 2, 3], length: 8 };

    /// `length` bytes, most significant first.
    pub const fn high_first(length: u8) -> Self {
        Self { permutation: [0, 1, 2, 3, 4, 5, 6, 7], length }
    }

    /// `length` bytes, lowest register first, high byte first in each.
    pub fn low_first(length: u8) -> Self {
        Self::whole(length, |place, last| last.saturating_sub(place) ^ 1)
    }

    /// As [`Self::high_first`], the bytes of each register swapped.
    fn swapped(length: u8) -> Self {
        Self::whole(length, |place, _| place ^ 1)
    }

    /// Least significant byte first.
    fn reversed(length: u8) -> Self {
        Self::whole(length, |place, last| last.saturating_sub(place))
    }

    /// `of(place, last place)` for each place. `length` is even.
    fn whole(length: u8, of: impl Fn(u8, u8) -> u8) -> Self {
        let mut order = Self::high_first(length);
        let last = length.saturating_sub(1);
        for (place, slot) in (0..length).zip(&mut order.permutation) {
            *slot = of(place, last);
        }
        order
    }

    /// The orders that devices of the field have for values of `length` bytes, the standard's first.
    pub fn usual(length: u8) -> Vec<Self> {
        let mut orders = vec![Self::high_first(length), Self::low_first(length), Self::swapped(length), Self::reversed(length)];
        if length == 8 {
            orders.extend([Self::CDABGHEF, Self::EFGHABCD]);
        }
        if length == 2 {
            orders = vec![Self::AB, Self::BA];
        }
        orders
    }

    /// Reads an order for values of `length` bytes: `ABCD`, `CDAB`, ... any permutation of so many letters, A the most
    /// significant; or `high_first` and `low_first`, by registers. One of the usual four written for four bytes serves
    /// other lengths by the same rule (words swapped, bytes swapped).
    pub fn parse(text: &str, length: u8) -> Result<Self, String> {
        if !matches!(length, 2 | 4 | 6 | 8) {
            return Err(format!("no value has {length} bytes"));
        }
        match (text, length) {
            ("high_first", _) => return Ok(Self::high_first(length)),
            ("low_first", _) => return Ok(Self::low_first(length)),
            ("ABCD", 2 | 6 | 8) => return Ok(Self::high_first(length)),
            ("CDAB", 2 | 6 | 8) => return Ok(Self::low_first(length)),
            ("BADC", 2 | 6 | 8) => return Ok(Self::swapped(length)),
            ("DCBA", 2 | 6 | 8) => return Ok(Self::reversed(length)),
            _ => {}
        }
        let wrong = || {
            let last = char::from(b'A'.saturating_add(length.saturating_sub(1)));
            format!("`{text}` is no byte order for {length} bytes: letters A (most significant) to {last}, each once")
        };
        if text.len() != usize::from(length) {
            return Err(wrong());
        }
        let mut order = Self { permutation: [0; 8], length };
        for (slot, letter) in order.permutation.iter_mut().zip(text.bytes()) {
            *slot = letter.checked_sub(b'A').ok_or_else(wrong)?;
        }
        if order.is_permutation() { Ok(order) } else { Err(wrong()) }
    }

    /// Its letters: `CDAB`.
    pub fn letters(&self) -> String {
        self.permutation.iter().take(usize::from(self.length)).map(|&place| char::from(b'A'.saturating_add(place))).collect()
    }

    fn is_permutation(&self) -> bool {
        let places = self.permutation.iter().take(usize::from(self.length));
        let seen = places.filter(|place| **place < self.length.min(Self::LENGTH_MAX)).fold(0u16, |seen, &place| seen | 1 << place);
        seen.count_ones() == u32::from(self.length)
    }

    /// The value's bits, right-aligned, from bytes in order of arrival; `None` when there are not `length` bytes, or the
    /// order is no permutation.
    pub fn bits(&self, arriving: &[u8]) -> Option<u64> {
        let length = usize::from(self.length);
        if arriving.len() != length {
            return None;
        }
        let mut value = [0u8; 8];
        let shift = value.len().checked_sub(length)?;
        let mut seen = 0u8;
        for (&byte, &position) in arriving.iter().zip(&self.permutation) {
            *value.get_mut(usize::from(position).checked_add(shift)?)? = byte;
            seen |= 1u8.checked_shl(u32::from(position))?;
        }
        (seen.count_ones() == u32::from(self.length)).then(|| u64::from_be_bytes(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_and_written() {
        for (text, length, letters) in [
            ("AB", 2, "AB"),
            ("BA", 2, "BA"),
            ("CDAB", 2, "AB"),
            ("DCBA", 2, "BA"),
            ("low_first", 2, "AB"),
            ("ABCD", 4, "ABCD"),
            ("BCDA", 4, "BCDA"),
            ("low_first", 4, "CDAB"),
            ("high_first", 4, "ABCD"),
            ("ABCD", 6, "ABCDEF"),
            ("CDAB", 6, "EFCDAB"),
            ("BADC", 6, "BADCFE"),
            ("DCBA", 6, "FEDCBA"),
            ("CDEFAB", 6, "CDEFAB"),
            ("low_first", 6, "EFCDAB"),
            ("ABCD", 8, "ABCDEFGH"),
            ("CDAB", 8, "GHEFCDAB"),
            ("BADC", 8, "BADCFEHG"),
            ("DCBA", 8, "HGFEDCBA"),
            ("EFGHABCD", 8, "EFGHABCD"),
            ("HACEGBDF", 8, "HACEGBDF"),
        ] {
            assert_eq!(ByteOrder::parse(text, length).map(|order| order.letters()), Ok(letters.to_owned()), "{text} {length}");
        }
        for (text, length) in
            [("", 4), ("AABB", 4), ("abcd", 4), ("ABCE", 4), ("@ABC", 4), ("ABCDEF", 4), ("AB", 3), ("A", 1), ("ABCD", 10)]
        {
            assert!(ByteOrder::parse(text, length).is_err(), "{text} {length}");
        }
    }

    #[test]
    fn the_usual_orders_are_those_of_the_field() {
        let letters = |length| ByteOrder::usual(length).iter().map(ByteOrder::letters).collect::<Vec<_>>().join(" ");
        assert_eq!(letters(2), "AB BA");
        assert_eq!(letters(4), "ABCD CDAB BADC DCBA");
        assert_eq!(letters(6), "ABCDEF EFCDAB BADCFE FEDCBA");
        assert_eq!(letters(8), "ABCDEFGH GHEFCDAB BADCFEHG HGFEDCBA CDABGHEF EFGHABCD");
    }
}
