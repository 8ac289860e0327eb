//! Lines of `parkgate decode --json`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| parkgate_collector::protocol::modbus::fuzz::lines(input));
