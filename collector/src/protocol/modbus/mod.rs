//! Modbus: frames, register values, block planner. Pure.

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
