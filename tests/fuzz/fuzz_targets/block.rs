//! What month files and `state.db` hold: blocks, their descriptions, single columns, pieces of open windows.

#![no_main]

use libfuzzer_sys::fuzz_target;
use parkgate_gateway::store::history::fuzz;

fuzz_target!(|input: &[u8]| {
    let Some((what, bytes)) = input.split_first() else { return };
    match what % 4 {
        0 => fuzz::block(bytes),
        1 => fuzz::stats(bytes),
        2 => fuzz::column(bytes),
        _ => fuzz::piece(bytes),
    }
});
