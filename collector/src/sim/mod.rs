//! Simulators that can misbehave, for the demo and the tests.
//!
//! [`modbus`] a Modbus TCP server; [`mqtt`] publishers of JSON payloads.

pub mod modbus;
pub mod mqtt;
