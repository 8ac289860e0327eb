//! Wire formats, sans I/O and fuzzed: used by drivers, forwarders and simulators alike.
//!
//! [`modbus`] Modbus TCP frames, register values, block planner; [`json`] mapping of JSON payloads;
//! [`text`] plain numbers and CSV lines.

pub mod modbus;
pub mod json;
pub mod text;
