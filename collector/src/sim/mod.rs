//! Simulators that can misbehave.

pub mod modbus;
