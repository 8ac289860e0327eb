//! Variable-length integers, the building block of runs and blocks: LEB128 of unsigned numbers, zigzag for signed ones.
//!
//! Reading never panics: `None` when the bytes end or a number is longer than its type.

/// Appends `value` as LEB128.
pub(crate) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends `value` as zigzag LEB128.
pub(crate) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Appends `value` as zigzag LEB128 of 128 bits.
pub(crate) fn put_signed_128(out: &mut Vec<u8>, value: i128) {
    let mut rest = ((value << 1) ^ (value >> 127)) as u128;
    while rest >= 0x80 {
        out.push((rest as u8) | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Takes a LEB128 number off the front of `input`.
pub(crate) fn take(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = take_byte(input)?;
        let part = u64::from(byte & 0x7f);
        if shift == 63 && part > 1 {
            return None;
        }
        value |= part << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// Takes a zigzag number off the front of `input`.
pub(crate) fn take_signed(input: &mut &[u8]) -> Option<i64> {
    take(input).map(unzigzag)
}

/// Takes a zigzag number of 128 bits off the front of `input`.
pub(crate) fn take_signed_128(input: &mut &[u8]) -> Option<i128> {
    let mut value = 0u128;
    for shift in (0..128).step_by(7) {
        let byte = take_byte(input)?;
        let part = u128::from(byte & 0x7f);
        if shift == 126 && part > 3 {
            return None;
        }
        value |= part << shift;
        if byte < 0x80 {
            return Some(((value >> 1) as i128) ^ -((value & 1) as i128));
        }
    }
    None
}

/// Takes one byte off the front of `input`.
pub(crate) fn take_byte(input: &mut &[u8]) -> Option<u8> {
    let (&byte, rest) = input.split_first()?;
    *input = rest;
    Some(byte)
}

/// Takes `length` bytes off the front of `input`.
pub(crate) fn take_bytes<'a>(input: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (bytes, rest) = input.split_at_checked(length)?;
    *input = rest;
    Some(bytes)
}

/// The unsigned form in which small magnitudes are small.
pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Back from [`zigzag`].
pub(crate) fn unzigzag(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for value in [0, 1, -1, 63, 64, -64, -65, 1_763_870_400_000, i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            put_signed(&mut out, value);
            put_signed_128(&mut out, i128::from(value) * 3);
            let mut input = out.as_slice();
            assert_eq!(take_signed(&mut input), Some(value));
            assert_eq!(take_signed_128(&mut input), Some(i128::from(value) * 3));
            assert!(input.is_empty());
            assert_eq!(take_signed(&mut &out[..0]), None);
        }
        for value in [i128::MAX, i128::MIN] {
            let mut out = Vec::new();
            put_signed_128(&mut out, value);
            assert_eq!(take_signed_128(&mut out.as_slice()), Some(value));
        }
        assert_eq!(take(&mut [0xff; 11].as_slice()), None);
    }
}
