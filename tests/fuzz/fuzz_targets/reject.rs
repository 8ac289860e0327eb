//! An entry of the rejects ring.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| parkgate_collector::rejects::fuzz::entry(body));
