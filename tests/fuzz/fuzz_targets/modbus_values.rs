//! Registers read as every type in every order, with and without markers.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| parkgate_collector::protocol::modbus::fuzz::values(input));
