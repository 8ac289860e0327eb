use std::path::Path;

use proptest::prelude::*;

use super::*;

/// Gives each file of a corpus to its target.
fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus").join(target);
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())).collect();
    assert!(!files.is_empty(), "{target}");
    for file in files {
        run(&std::fs::read(file.unwrap().path()).unwrap());
    }
}

#[test]
fn the_corpus_is_survived() {
    replay("modbus_rtu", rtu);
    replay("modbus_values", values);
    replay("decode", lines);
}

proptest! {
    #[test]
    fn anything_is_survived(input in prop::collection::vec(any::<u8>(), 0..300)) {
        rtu(&input);
        values(&input);
        lines(&input);
    }
}
