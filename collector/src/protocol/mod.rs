//! Wire formats, sans I/O and fuzzed: used by drivers, forwarders and simulators alike.
//!
//! [`modbus`] Modbus TCP frames, register values, block planner; [`json`] mapping of JSON payloads.

pub mod modbus;
pub mod json;
