//! Modbus: frames, register values, block planner. Pure: no socket, no clock.
//!
//! [`frame`] requests and answers on a TCP stream; [`rtu`] those on a serial line; [`overheard`] what else comes
//! there; [`identify`] who made a unit; [`sunspec`] which models it has; [`order`] in which bytes arrive;
//! [`value`] registers become numbers; [`explain`] both of them put into words for a person; [`planner`] points become the
//! fewest reads that the device allows, [`cost`] what they cost; [`dial_in`] who a device is that connects to us; `fuzz` what the fuzz targets run. Addresses are 0-based
//! protocol addresses throughout; [`RegisterName`] shows them as people write them.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

pub mod frame;
pub mod rtu;
pub mod identify;
pub mod overheard;
pub mod sunspec;
pub mod order;
pub mod value;
pub mod explain;
pub mod planner;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod cost;
pub mod dial_in;

use std::fmt;

pub use frame::{AnswerError, Exception, Frame, FrameError, FrameReader, Request, TransactionIds};
pub use order::ByteOrder;
pub use planner::{Block, Limits, Plan, plan};
pub use value::number;

/// Public function codes for reading (Modbus Application Protocol V1.1b3, 6.1-6.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Function {
    /// 1, read coils.
    Coils = 1,
    /// 2, read discrete inputs.
    DiscreteInputs = 2,
    /// 3, read holding registers.
    HoldingRegisters = 3,
    /// 4, read input registers.
    InputRegisters = 4,
}

impl Function {
    /// The function code on the wire.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The function of a code; `None` for one that does not read coils, inputs or registers.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Coils),
            2 => Some(Self::DiscreteInputs),
            3 => Some(Self::HoldingRegisters),
            4 => Some(Self::InputRegisters),
            _ => None,
        }
    }

    /// Whether it reads single bits rather than registers.
    pub const fn reads_bits(self) -> bool {
        matches!(self, Self::Coils | Self::DiscreteInputs)
    }

    /// Most coils, inputs or registers in one read (Modbus Application Protocol V1.1b3, 6.1-6.4).
    pub const fn quantity_max(self) -> u16 {
        if self.reads_bits() { 2000 } else { 125 }
    }
}

/// One address, or several, as manuals write them: `40001`, `30011-30014`; six digits where five do not reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegisterName {
    /// Function that reads it.
    pub function: Function,
    /// 0-based address of the first.
    pub address: u16,
    /// How many.
    pub quantity: u16,
}

impl fmt::Display for RegisterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = u32::from(self.address).saturating_add(u32::from(self.quantity));
        let (noun, digit) = match self.function {
            Function::Coils => ("coil", 0u32),
            Function::DiscreteInputs => ("input", 1),
            Function::HoldingRegisters => ("register", 4),
            Function::InputRegisters => ("register", 3),
        };
        let base = digit.saturating_mul(if last > 9_999 { 100_000 } else { 10_000 });
        let width = if last > 9_999 { 6 } else { 5 };
        let first = base.saturating_add(u32::from(self.address)).saturating_add(1);
        if self.quantity == 1 {
            write!(f, "{noun} {first:0width$}")
        } else {
            write!(f, "{noun}s {first:0width$}-{:0width$}", base.saturating_add(last))
        }
    }
}

/// How registers form a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RegisterType {
    /// One register, unsigned.
    U16,
    /// One register, two's complement.
    I16,
    /// Two registers, unsigned.
    U32,
    /// Two registers, two's complement.
    I32,
    /// Four registers, unsigned; above `i64::MAX` is an overflow.
    U64,
    /// Four registers, two's complement.
    I64,
    /// Two registers, IEEE 754 binary32.
    F32,
    /// Four registers, IEEE 754 binary64.
    F64,
    /// One bit of a register, 0 = least significant; or a coil or discrete input (then bit 0).
    Bit(u8),
    /// Decimal digits of four bits each, in so many registers, 1 to 4. A nibble above 9 is no number, all F no value.
    Bcd(u8),
    /// So many registers, 2 to 4, of 0 to 9999 each: the digits of a number in base 10,000.
    Mod10(u8),
    /// The same with three signed registers of -9999 to 9999 each.
    Mod10Signed,
    /// One register: the sign in the highest bit, the magnitude in the others.
    SignMagnitude16,
    /// Two registers: the sign in the highest bit, the magnitude in the others.
    SignMagnitude32,
    /// A text.
    Text {
        /// Registers that it takes.
        registers: u16,
        /// Where its bytes are in them.
        layout: TextLayout,
    },
}

/// Where the bytes of a text are in its registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TextLayout {
    /// Two in each register, the first in the high byte.
    HighFirst,
    /// Two in each register, the first in the low byte.
    LowFirst,
    /// One in each register, in the high byte.
    Upper,
    /// One in each register, in the low byte.
    Lower,
}

impl TextLayout {
    /// The layouts by their names in config, which stand in for a byte order.
    pub const NAMES: [(&str, Self); 4] = [("AB", Self::HighFirst), ("BA", Self::LowFirst), ("upper", Self::Upper), ("lower", Self::Lower)];

    /// The layout of a name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, layout)| *layout)
    }
}

impl RegisterType {
    /// The types of numbers by their names in config and commands; `bit` and `string`, which need more, are not among them.
    pub const NAMES: [(&str, Self); 18] = [
        ("u16", Self::U16),
        ("i16", Self::I16),
        ("u32", Self::U32),
        ("i32", Self::I32),
        ("u64", Self::U64),
        ("i64", Self::I64),
        ("f32", Self::F32),
        ("f64", Self::F64),
        ("bcd16", Self::Bcd(1)),
        ("bcd32", Self::Bcd(2)),
        ("bcd48", Self::Bcd(3)),
        ("bcd64", Self::Bcd(4)),
        ("sm16", Self::SignMagnitude16),
        ("sm32", Self::SignMagnitude32),
        ("mod10_2", Self::Mod10(2)),
        ("mod10_3", Self::Mod10(3)),
        ("mod10_4", Self::Mod10(4)),
        ("mod10_3s", Self::Mod10Signed),
    ];

    /// Registers it takes; a coil or discrete input takes one address as well.
    pub const fn registers(self) -> u16 {
        match self {
            Self::U16 | Self::I16 | Self::SignMagnitude16 | Self::Bit(_) => 1,
            Self::U32 | Self::I32 | Self::F32 | Self::SignMagnitude32 => 2,
            Self::Mod10Signed => 3,
            Self::U64 | Self::I64 | Self::F64 => 4,
            Self::Bcd(registers) | Self::Mod10(registers) => registers as u16,
            Self::Text { registers, .. } => registers,
        }
    }

    /// Whether it holds whole numbers of several bits, which a scale register or a table of codes can go with.
    pub const fn is_whole(self) -> bool {
        !matches!(self, Self::F32 | Self::F64 | Self::Bit(_) | Self::Text { .. })
    }

    /// The order of the bytes of a value of this type where none is given: as the standard has it, the most significant
    /// first, but the lowest register first for [`Self::Mod10`], as its makers have it.
    pub fn usual_order(self) -> ByteOrder {
        let length = u8::try_from(self.registers().saturating_mul(2)).unwrap_or(ByteOrder::LENGTH_MAX);
        match self {
            Self::Mod10(_) | Self::Mod10Signed => ByteOrder::low_first(length),
            _ => ByteOrder::high_first(length),
        }
    }
}

/// A raw value that stands for a code of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RawCode {
    /// The number in the registers.
    Number(i64),
    /// The text in the registers.
    Text(String),
}

/// Where a point's number is in a Modbus unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterSource {
    /// Function code to read with.
    pub function: Function,
    /// 0-based protocol address of the first register, coil or input.
    pub address: u16,
    /// Type of the number.
    pub register_type: RegisterType,
    /// Order of its bytes.
    pub order: ByteOrder,
    /// Bit patterns (after reordering, right-aligned) that mean "no value", such as 0xFFFF.
    pub not_available: Vec<u64>,
    /// 0-based address of the register, of the same function, that holds the power of ten to multiply with: read along
    /// in the same request, so that number and power are of one moment.
    pub scale_register: Option<u16>,
    /// Raw values and the codes they stand for; where there are some, others mean nothing.
    pub codes: Vec<(RawCode, i64)>,
}

impl RegisterSource {
    /// First address and number of addresses to read for it, a scale register and all that is between included.
    pub fn span(&self) -> (u16, u16) {
        let width = self.register_type.registers();
        let Some(scale) = self.scale_register else { return (self.address, width) };
        let start = self.address.min(scale);
        let end = u32::from(self.address).saturating_add(u32::from(width)).max(u32::from(scale).saturating_add(1));
        (start, u16::try_from(end.saturating_sub(u32::from(start))).unwrap_or(u16::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_manuals() {
        for (function, address, quantity, name) in [
            (Function::HoldingRegisters, 0, 1, "register 40001"),
            (Function::HoldingRegisters, 99, 10, "registers 40100-40109"),
            (Function::InputRegisters, 9998, 1, "register 39999"),
            (Function::InputRegisters, 9999, 2, "registers 310000-310001"),
            (Function::HoldingRegisters, 65535, 1, "register 465536"),
            (Function::Coils, 0, 8, "coils 00001-00008"),
            (Function::DiscreteInputs, 4, 1, "input 10005"),
        ] {
            assert_eq!(RegisterName { function, address, quantity }.to_string(), name);
        }
    }

    #[test]
    fn function_codes_read_back() {
        for code in 0..=u8::MAX {
            assert_eq!(Function::from_code(code).map(Function::code), (1..=4).contains(&code).then_some(code));
        }
    }
}
