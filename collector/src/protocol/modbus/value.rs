//! Registers become numbers: byte order, markers for "no value", types. Never a 0 for what is no number.
//!
//! [`read`] takes what stands in the registers of one value; [`number`] is that of a point, with its place in a block,
//! its scale register and its codes. Samples are numbers, so a text counts by the code that its table gives it.

use super::{ByteOrder, RawCode, RegisterSource, RegisterType, TextLayout};
use crate::model::{Decimal, Number, Reason};

/// Largest power of ten of a scale register (SunSpec Information Model Specification, `sunssf`: -10 to 10).
pub const SCALE_MAX: i16 = 10;
/// A scale register that is not implemented (SunSpec Information Model Specification, `sunssf`).
pub const SCALE_MISSING: u16 = 0x8000;

/// What stands in the registers of one value, before scaling.
#[derive(Clone, Debug, PartialEq)]
pub enum Raw {
    /// A whole number; a bit is 0 or 1.
    Whole(i128),
    /// Finite.
    F32(f32),
    /// Finite.
    F64(f64),
    /// Not empty, without spaces around it.
    Text(String),
}

/// Why there is no value in the registers.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum NoValue {
    /// The bits are one of the markers given.
    #[error("marker for no value")]
    Marker,
    /// The type's own way to say so: BCD of nothing but F, a text of nothing but spaces, zeros or FF.
    #[error("nothing but filler")]
    Filler,
    /// A float that is not a number.
    #[error("NaN")]
    Nan,
    /// An infinite float.
    #[error("infinite")]
    Infinite,
    /// A nibble that is no decimal digit.
    #[error("nibble {0:X} is no decimal digit")]
    Nibble(u8),
    /// A register that is no digit of base 10,000.
    #[error("register {0} is beyond 9999")]
    Group(i32),
    /// Bytes that are no text.
    #[error("not printable text")]
    Text,
    /// The scale register says that there is none.
    #[error("scale register 8000, not implemented")]
    NoScale,
    /// The scale register holds no power of ten.
    #[error("scale register {0} is not within -10 to 10")]
    Scale(i16),
    /// Data, type and order do not fit together.
    #[error("data, type and order do not fit together")]
    Unfit,
}

impl NoValue {
    /// What a reading says.
    pub const fn reason(self) -> Reason {
        match self {
            Self::Marker | Self::Filler | Self::NoScale => Reason::NotAvailable,
            Self::Nan | Self::Infinite | Self::Nibble(_) | Self::Group(_) | Self::Text | Self::Scale(_) => Reason::NotANumber,
            Self::Unfit => Reason::BadAnswer,
        }
    }
}

/// What stands in `bytes`, in order of arrival. `not_available` are bit patterns after reordering, right-aligned; for a
/// text they and `order` do not count.
pub fn read(register_type: RegisterType, order: ByteOrder, not_available: &[u64], bytes: &[u8]) -> Result<Raw, NoValue> {
    if let RegisterType::Text { layout, .. } = register_type {
        return text(layout, bytes).map(Raw::Text);
    }
    if bytes.len() != usize::from(register_type.registers()).saturating_mul(2) {
        return Err(NoValue::Unfit);
    }
    let bits = order.bits(bytes).ok_or(NoValue::Unfit)?;
    if not_available.contains(&bits) {
        return Err(NoValue::Marker);
    }
    // Of the right length by now, so the narrowing takes zeros away.
    let narrow16 = || u16::try_from(bits).map_err(|_| NoValue::Unfit);
    let narrow32 = || u32::try_from(bits).map_err(|_| NoValue::Unfit);
    Ok(match register_type {
        RegisterType::U16 | RegisterType::U32 | RegisterType::U64 => Raw::Whole(i128::from(bits)),
        RegisterType::I16 => Raw::Whole(i128::from(narrow16()?.cast_signed())),
        RegisterType::I32 => Raw::Whole(i128::from(narrow32()?.cast_signed())),
        RegisterType::I64 => Raw::Whole(i128::from(bits.cast_signed())),
        RegisterType::F32 => {
            let value = f32::from_bits(narrow32()?);
            finite(value.into())?;
            Raw::F32(value)
        }
        RegisterType::F64 => {
            let value = f64::from_bits(bits);
            finite(value)?;
            Raw::F64(value)
        }
        RegisterType::Bit(bit) if bit < 16 => Raw::Whole(i128::from(bits >> bit & 1)),
        RegisterType::Bit(_) | RegisterType::Text { .. } => return Err(NoValue::Unfit),
        RegisterType::Bcd(registers) => Raw::Whole(i128::from(bcd(bits, registers)?)),
        RegisterType::Mod10(registers) => Raw::Whole(i128::from(mod10(bits, registers, i32::from)?)),
        RegisterType::Mod10Signed => Raw::Whole(i128::from(mod10(bits, 3, |register| i32::from(register.cast_signed()))?)),
        RegisterType::SignMagnitude16 => Raw::Whole(i128::from(sign_magnitude(bits, 15))),
        RegisterType::SignMagnitude32 => Raw::Whole(i128::from(sign_magnitude(bits, 31))),
    })
}

const fn finite(value: f64) -> Result<(), NoValue> {
    if value.is_nan() {
        Err(NoValue::Nan)
    } else if value.is_infinite() {
        Err(NoValue::Infinite)
    } else {
        Ok(())
    }
}

/// Four digits in each of `registers`.
fn bcd(bits: u64, registers: u8) -> Result<i64, NoValue> {
    let width = u32::from(registers).saturating_mul(16);
    if bits == u64::MAX.checked_shr(64u32.saturating_sub(width)).unwrap_or(0) {
        return Err(NoValue::Filler);
    }
    let mut nibbles = (0..width).step_by(4).rev().map(|shift| bits.checked_shr(shift).unwrap_or(0) & 0xF);
    nibbles.try_fold(0i64, |sum, nibble| match i64::try_from(nibble) {
        Ok(digit @ 0..=9) => Ok(sum.saturating_mul(10).saturating_add(digit)), // 16 digits at most
        _ => Err(NoValue::Nibble(u8::try_from(nibble).unwrap_or(0xF))),
    })
}

/// A digit of base 10,000 in each of `registers`, the highest in the highest bits.
fn mod10(bits: u64, registers: u8, digit: impl Fn(u16) -> i32) -> Result<i64, NoValue> {
    let mut digits = bits.to_be_bytes().into_iter();
    let mut next = || Some(digit(u16::from_be_bytes([digits.next()?, digits.next()?])));
    let groups = [next(), next(), next(), next()].into_iter().flatten();
    let mut used = groups.skip(4usize.saturating_sub(usize::from(registers)));
    used.try_fold(0i64, |sum, digit| match digit {
        -9_999..=9_999 => Ok(sum.saturating_mul(10_000).saturating_add(i64::from(digit))), // 16 digits at most
        _ => Err(NoValue::Group(digit)),
    })
}

/// The magnitude in the lower bits, negative where bit `sign` is set; minus nothing is nothing.
fn sign_magnitude(bits: u64, sign: u32) -> i64 {
    let mask = 1u64.checked_shl(sign).unwrap_or(0);
    let magnitude = i64::try_from(bits & mask.saturating_sub(1)).unwrap_or(0);
    if bits & mask == 0 { magnitude } else { magnitude.saturating_neg() }
}

/// The text up to its first zero byte, without spaces around it.
fn text(layout: TextLayout, bytes: &[u8]) -> Result<String, NoValue> {
    let mut characters = Vec::with_capacity(bytes.len());
    for pair in bytes.chunks(2) {
        let &[high, low] = pair else { return Err(NoValue::Unfit) };
        match layout {
            TextLayout::HighFirst => characters.extend([high, low]),
            TextLayout::LowFirst => characters.extend([low, high]),
            TextLayout::Upper => characters.push(high),
            TextLayout::Lower => characters.push(low),
        }
    }
    if characters.iter().all(|byte| *byte == 0xFF) {
        return Err(NoValue::Filler);
    }
    let end = characters.iter().position(|byte| *byte == 0).unwrap_or(characters.len());
    let text = characters.get(..end).and_then(|text| std::str::from_utf8(text).ok()).ok_or(NoValue::Text)?.trim();
    match text {
        "" => Err(NoValue::Filler),
        _ if text.chars().any(char::is_control) => Err(NoValue::Text),
        _ => Ok(text.to_owned()),
    }
}

/// The power of ten in a scale register.
pub fn scale_power(register: u16) -> Result<i8, NoValue> {
    let power = register.cast_signed();
    match i8::try_from(power) {
        _ if register == SCALE_MISSING => Err(NoValue::NoScale),
        Ok(small) if power.unsigned_abs() <= SCALE_MAX.unsigned_abs() => Ok(small),
        _ => Err(NoValue::Scale(power)),
    }
}

/// The number of a point from the data of a block; `offset` is the place in the block of the first address of the
/// point's [`RegisterSource::span`], in registers or bits.
///
/// A marker of the point is [`Reason::NotAvailable`], NaN, the infinities and digits that are none are
/// [`Reason::NotANumber`], a number beyond 64 bits with sign is [`Reason::Overflow`], a raw value that the point's codes do
/// not name is [`Reason::Range`], and data that is too short for the point is [`Reason::BadAnswer`].
pub fn number(source: &RegisterSource, data: &[u8], offset: u16) -> Number {
    decode(source, data, offset).unwrap_or_else(|why| Number::Missing(why.reason()))
}

fn decode(source: &RegisterSource, data: &[u8], offset: u16) -> Result<Number, NoValue> {
    let offset = usize::from(offset);
    if source.function.reads_bits() {
        let byte = *data.get(offset >> 3).ok_or(NoValue::Unfit)?;
        return Ok(coded(source, i64::from(byte >> (offset & 7) & 1)));
    }
    let (first, _) = source.span();
    let place = |address: u16| offset.checked_add(usize::from(address.checked_sub(first)?))?.checked_mul(2);
    let start = place(source.address).ok_or(NoValue::Unfit)?;
    let length = usize::from(source.register_type.registers()).saturating_mul(2);
    let bytes = data.get(start..start.saturating_add(length)).ok_or(NoValue::Unfit)?;
    let raw = read(source.register_type, source.order, &source.not_available, bytes)?;
    let Some(scale) = source.scale_register else {
        return Ok(match raw {
            Raw::Whole(value) => i64::try_from(value).map_or(Number::Missing(Reason::Overflow), |value| coded(source, value)),
            Raw::F32(value) => Number::F32(value),
            Raw::F64(value) => Number::F64(value),
            Raw::Text(text) => code(source, |raw| matches!(raw, RawCode::Text(known) if *known == text)),
        });
    };
    let bytes = place(scale).and_then(|at| data.get(at..)?.first_chunk()).ok_or(NoValue::Unfit)?;
    let power = scale_power(u16::from_be_bytes(*bytes))?;
    match raw {
        Raw::Whole(value) => {
            Ok(i64::try_from(value).map_or(Number::Missing(Reason::Overflow), |value| Number::Exact(Decimal::new(value, power))))
        }
        Raw::F32(_) | Raw::F64(_) | Raw::Text(_) => Err(NoValue::Unfit),
    }
}

/// A whole number, or the code that stands for it.
fn coded(source: &RegisterSource, value: i64) -> Number {
    if source.codes.is_empty() {
        return exact(value);
    }
    code(source, |raw| matches!(raw, RawCode::Number(known) if *known == value))
}

fn code(source: &RegisterSource, is_it: impl Fn(&RawCode) -> bool) -> Number {
    let found = source.codes.iter().find(|(raw, _)| is_it(raw));
    found.map_or(Number::Missing(Reason::Range), |&(_, code)| exact(code))
}

const fn exact(value: i64) -> Number {
    Number::Exact(Decimal::new(value, 0))
}

#[cfg(test)]
mod tests;
