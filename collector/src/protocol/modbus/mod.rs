//! Modbus: frames, register values, block planner. Pure: no socket, no clock.
//!
//! [`frame`] requests and answers on a TCP stream; [`rtu`] those on a serial line; [`value`] registers become numbers; [`planner`] points become the
//! fewest reads that the device allows. Addresses are 0-based protocol addresses throughout; [`RegisterName`] shows them
//! as people write them.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

pub mod frame;
pub mod rtu;
pub mod value;
pub mod planner;

use std::fmt;

pub use frame::{AnswerError, Exception, Frame, FrameError, FrameReader, Request, TransactionIds};
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
}

impl RegisterType {
    /// Registers it takes: 1, 2 or 4; a coil or discrete input takes one address as well.
    pub const fn registers(self) -> u16 {
        match self {
            Self::U16 | Self::I16 | Self::Bit(_) => 1,
            Self::U32 | Self::I32 | Self::F32 => 2,
            Self::U64 | Self::I64 | Self::F64 => 4,
        }
    }
}

/// Order of bytes as they arrive: position `i` of the arriving bytes holds the byte `permutation[i]` of the value, 0 =
/// most significant (A). `ABCD` is 0,1,2,3; `CDAB` is 2,3,0,1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ByteOrder {
    /// Which byte of the value stands at each arriving position; only the first `length` count.
    pub permutation: [u8; 8],
    /// Bytes of the value: 2, 4 or 8.
    pub length: u8,
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
