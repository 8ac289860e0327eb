//! Bytes that a released version wrote are read for ever: `tests/data/history-v1.txt`, one row as hex a line.

use super::*;
use crate::store::history::{block, run};
use parkgate_collector::model::{Origin, Quality, Reason, Status, Step};

const POINT: PointId = PointId(7);
const FIXTURE: &str = include_str!("../../../../../tests/data/history-v1.txt");

/// Four blocks that make use of every codec: a jittered counter, a quiet state, extremes with times of their own, and
/// values that jump now and then.
fn blocks() -> Vec<Vec<Sample>> {
    let mut number = 1u64;
    // Numbers of its own, so that the fixture depends on no generator of others.
    let mut next = move |below: u64| {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((number >> 33) % below) as i64
    };
    let mut value = 1_000_000;
    let counter = (0..360).map(|i| {
        value += next(40);
        let mut one = sample(7, NOVEMBER + i * 10_000 + next(20), value);
        one.source_time = Some(one.record_time);
        one.received_time = one.record_time.plus(2 + next(8));
        one
    });
    let counter: Vec<Sample> = counter.collect();
    let state = (0..100).map(|i| sample(7, NOVEMBER + i * 60_000, i / 50)).collect();
    let bad = Status::new(Quality::Bad, Reason::Timeout, Origin::Simulated, Step::Suspect).without_number();
    let extremes = vec![
        Sample { value: i64::MIN, source_time: Some(UtcMillis(i64::MAX)), received_time: UtcMillis(i64::MIN), ..sample(7, -5, 0) },
        Sample { value: i64::MAX, ..sample(7, NOVEMBER, 0) },
        Sample { status: bad, source_time: Some(UtcMillis(3)), ..sample(7, NOVEMBER + 1, 0) },
    ];
    let jumping = (0..360).map(|i| sample(7, NOVEMBER + i * 1000, if i % 30 == 7 { 1_000_000 + next(900_000) } else { next(3) })).collect();
    vec![counter, state, extremes, jumping]
}

fn sequences(index: usize) -> (Sequence, Sequence) {
    (Sequence(100 * index as u64 + 1), Sequence(100 * index as u64 + 77))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// What the present version writes.
fn written() -> String {
    let mut text = String::new();
    for (index, samples) in blocks().iter().enumerate() {
        let stats = block::Stats::of(samples, 5, index == 1, sequences(index)).unwrap();
        let mut bytes = Vec::new();
        let mut encoder = run::Encoder::default();
        samples.iter().for_each(|one| encoder.push(&mut bytes, Sequence(9), one));
        block::seal(POINT, &mut bytes);
        text += &format!("stats {}\ndata {}\npiece {}\n", hex(&stats.encode(POINT)), hex(&block::encode(POINT, samples)), hex(&bytes));
    }
    text
}

#[test]
fn version_1_is_read() {
    let mut lines = FIXTURE.lines();
    for (index, samples) in blocks().iter().enumerate() {
        let mut row = |name: &str| unhex(lines.next().and_then(|line| line.strip_prefix(name)).unwrap());
        let stats = block::Stats::of(samples, 5, index == 1, sequences(index));
        assert_eq!(block::Stats::decode(POINT, &row("stats ")), stats);
        assert_eq!(block::decode(POINT, &row("data ")).as_ref(), Some(samples));
        let piece = row("piece ");
        let read: Vec<_> = run::Decoder::new(POINT, block::unseal(POINT, &piece).unwrap()).collect();
        assert_eq!(read, samples.iter().map(|one| (Sequence(9), *one)).collect::<Vec<_>>());
    }
    assert_eq!(lines.next(), None);
}

#[test]
fn version_1_is_written() {
    // Bytes may change, when a codec is chosen otherwise, as long as the fixture stays as it is; the rows must not grow.
    assert!(written().len() <= FIXTURE.len());
}
