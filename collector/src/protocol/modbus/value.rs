//! Registers become numbers: byte order, markers for "no value", types. Never a 0 for what is no number.

use super::{ByteOrder, Function, RegisterSource, RegisterType};
use crate::model::{Decimal, Number, Reason};

impl ByteOrder {
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

/// The number of a point from the data of a block; `offset` is the point's place in the block, in registers or bits.
///
/// A marker of the point is [`Reason::NotAvailable`], NaN and the infinities are [`Reason::NotANumber`], an unsigned
/// number above `i64::MAX` is [`Reason::Overflow`], and data that is too short for the point is [`Reason::BadAnswer`].
pub fn number(source: &RegisterSource, data: &[u8], offset: u16) -> Number {
    decode(source, data, offset).unwrap_or(Number::Missing(Reason::BadAnswer))
}

/// `None` when data, type and order do not fit together.
fn decode(source: &RegisterSource, data: &[u8], offset: u16) -> Option<Number> {
    let offset = usize::from(offset);
    if matches!(source.function, Function::Coils | Function::DiscreteInputs) {
        let byte = *data.get(offset >> 3)?;
        return Some(exact(i64::from(byte >> (offset & 7) & 1)));
    }
    let start = offset.checked_mul(2)?;
    let end = usize::from(source.register_type.registers()).checked_mul(2)?.checked_add(start)?;
    let bits = source.order.bits(data.get(start..end)?)?;
    if source.not_available.contains(&bits) {
        return Some(Number::Missing(Reason::NotAvailable));
    }
    Some(match source.register_type {
        RegisterType::U16 | RegisterType::U32 => exact(i64::try_from(bits).ok()?),
        RegisterType::U64 => i64::try_from(bits).map_or(Number::Missing(Reason::Overflow), exact),
        RegisterType::I16 => exact(i64::from(u16::try_from(bits).ok()?.cast_signed())),
        RegisterType::I32 => exact(i64::from(u32::try_from(bits).ok()?.cast_signed())),
        RegisterType::I64 => exact(bits.cast_signed()),
        RegisterType::F32 => match f32::from_bits(u32::try_from(bits).ok()?) {
            value if value.is_finite() => Number::F32(value),
            _ => Number::Missing(Reason::NotANumber),
        },
        RegisterType::F64 => match f64::from_bits(bits) {
            value if value.is_finite() => Number::F64(value),
            _ => Number::Missing(Reason::NotANumber),
        },
        RegisterType::Bit(bit) if bit < 16 => exact((bits >> bit & 1).cast_signed()),
        RegisterType::Bit(_) => return None,
    })
}

const fn exact(value: i64) -> Number {
    Number::Exact(Decimal::new(value, 0))
}

#[cfg(test)]
mod tests;
