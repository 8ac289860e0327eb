//! Bytes of a serial line: judged as they arrive and at the end.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| parkgate_collector::protocol::modbus::fuzz::rtu(input));
