//! What `tests/fuzz` calls, and nothing else does: bytes as a damaged file could give them, under a right checksum.

use parkgate_collector::model::PointId;

use super::block::{self, SAMPLES_MAX, Stats};
use super::{column, run};

const POINT: PointId = PointId(7);

/// The data of a block. What can be read is written again to the same samples.
pub fn block(bytes: &[u8]) {
    let mut sealed = bytes.to_vec();
    block::seal(POINT, &mut sealed);
    if let Some(samples) = block::decode(POINT, &sealed) {
        assert!((1..=SAMPLES_MAX).contains(&samples.len()));
        let again = block::encode(POINT, &samples);
        assert!(block::decode(POINT, &again) == Some(samples), "not the samples that were read");
    }
}

/// The description of a block.
pub fn stats(bytes: &[u8]) {
    let mut sealed = bytes.to_vec();
    block::seal(POINT, &mut sealed);
    if let Some(stats) = Stats::decode(POINT, &sealed) {
        assert_eq!(Stats::decode(POINT, &stats.encode(POINT)), Some(stats));
    }
}

/// A column of as many values as the first two bytes say.
pub fn column(bytes: &[u8]) {
    let Some((&[low, high], mut input)) = bytes.split_first_chunk() else { return };
    let count = usize::from(u16::from_le_bytes([low, high])) % SAMPLES_MAX + 1;
    if let Some(values) = column::decode(&mut input, count) {
        assert_eq!(values.len(), count);
        let mut written = Vec::new();
        column::encode(&values, &mut written);
        assert!(column::decode(&mut written.as_slice(), count) == Some(values), "not the values that were read");
    }
}

/// A piece of an open window.
pub fn piece(bytes: &[u8]) {
    let mut decoder = run::Decoder::new(POINT, bytes);
    // Each sample takes a byte at least.
    assert!(decoder.by_ref().count() <= bytes.len());
}
