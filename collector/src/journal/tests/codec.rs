//! Records survive the way to bytes and back; arbitrary bytes never panic.

use proptest::prelude::*;

use super::*;
use crate::journal::codec::{CodecError, decode, decode_into, encode};
use crate::model::{Delivery, LinkKey, Origin, PointId, Quality, Reason, Sample, Status, Step};

fn time() -> impl Strategy<Value = i64> {
    prop_oneof![Just(1_764_000_000_000), 1_764_000_000_000i64..1_764_000_100_000, any::<i64>(), Just(i64::MIN), Just(i64::MAX)]
}

fn status() -> impl Strategy<Value = Status> {
    (0..Quality::ALL.len(), 0..Reason::ALL.len(), 0..Origin::ALL.len(), 0..Step::ALL.len(), any::<bool>()).prop_map(|(q, r, o, s, none)| {
        let status = Status::new(Quality::ALL[q], Reason::ALL[r], Origin::ALL[o], Step::ALL[s]);
        if none { status.without_number() } else { status }
    })
}

fn sample() -> impl Strategy<Value = Sample> {
    let point = prop_oneof![0..20u32, any::<u32>(), Just(0), Just(u32::MAX)];
    let value = prop_oneof![Just(0), -300..300i64, -100_000..100_000i64, any::<i64>(), Just(i64::MIN), Just(i64::MAX)];
    let good = Just(Status::from_bits(0).unwrap());
    (point, prop_oneof![good, status()], value, prop::option::of(time()), time(), time(), any::<bool>()).prop_map(
        |(point, status, value, source, received, record, plain)| Sample {
            point: PointId(point),
            status,
            value,
            source_time: source.map(UtcMillis),
            received_time: UtcMillis(received),
            record_time: UtcMillis(if plain { source.unwrap_or(received) } else { record }),
        },
    )
}

fn record() -> impl Strategy<Value = Record> {
    let deliveries = prop::collection::vec((any::<u16>(), any::<u32>()).prop_map(|(packet_id, hash)| Delivery { packet_id, hash }), 0..4);
    let samples = (any::<(u32, u64, u64, u32)>(), deliveries, prop::collection::vec(sample(), 0..30)).prop_map(
        |((catalogue_version, boot_id, monotonic_ms, link), deliveries, samples)| {
            Record::Samples(SampleRecord { catalogue_version, boot_id, monotonic_ms, link: LinkKey(link), deliveries, samples })
        },
    );
    let text = "\\PC{0,20}";
    prop_oneof![
        4 => samples,
        1 => (any::<u32>(), text, any::<bool>(), text, time()).prop_map(|(link, device, up, why, time)| {
            Record::Link(LinkRecord { link: LinkKey(link), device, up, why, time: UtcMillis(time) })
        }),
        1 => (any::<u32>(), time()).prop_map(|(version, time)| Record::Catalogue(CatalogueRecord { version, time: UtcMillis(time) })),
        1 => (any::<(u64, u64)>(), time(), time()).prop_map(|((boot_id, monotonic_ms), expected, found)| {
            Record::Clock(ClockRecord { boot_id, monotonic_ms, expected: UtcMillis(expected), found: UtcMillis(found) })
        }),
        1 => (text, time(), text).prop_map(|(kind, time, body)| Record::Declared(DeclaredRecord { kind, time: UtcMillis(time), body })),
    ]
}

fn bytes_of(record: &Record) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(record, &mut bytes);
    bytes
}

proptest! {
    #[test]
    fn every_record_comes_back(first in record(), second in record()) {
        let mut reused = first.clone();
        for record in [&first, &second] {
            let bytes = bytes_of(record);
            prop_assert_eq!(&decode(&bytes).unwrap(), record);
            decode_into(&bytes, &mut reused).unwrap();
            prop_assert_eq!(&reused, record);
        }
    }

    #[test]
    fn cut_or_extended_bytes_are_errors(record in record(), cut in any::<prop::sample::Index>()) {
        let mut bytes = bytes_of(&record);
        prop_assert!(decode(&bytes[..cut.index(bytes.len())]).is_err());
        bytes.push(0);
        prop_assert_eq!(decode(&bytes), Err(CodecError::Trailing(1)));
    }

    #[test]
    fn arbitrary_bytes_never_panic(kind in 0u8..7, mut bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        bytes.insert(0, kind);
        if let Ok(record) = decode(&bytes) {
            prop_assert_eq!(decode(&bytes_of(&record)).unwrap(), record);
        }
    }

    #[test]
    fn changed_bytes_never_panic(record in record(), at in any::<prop::sample::Index>(), with in any::<u8>()) {
        let mut bytes = bytes_of(&record);
        let at = at.index(bytes.len());
        bytes[at] = with;
        let _ = decode(&bytes);
    }
}

#[test]
fn a_huge_count_asks_for_little_memory() {
    // Samples, all zero up to the number of samples, which is 2^62; then nothing.
    let mut bytes = vec![1, 0];
    bytes.extend([0; 8]);
    bytes.push(0);
    bytes.extend([0; 4]);
    bytes.push(0);
    bytes.extend([0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40, 0]);
    assert_eq!(decode(&bytes), Err(CodecError::Short));
}

/// Meter-like samples: a third counters, the rest gauges, stamps of the device some ms before ours.
pub(crate) fn meter_like(samples: u32) -> Record {
    let mut random = fastrand::Rng::with_seed(7);
    let now = 1_764_000_000_000;
    let samples = (0..samples).map(|index| Sample {
        point: PointId(index),
        status: Status::new(Quality::Good, Reason::None, Origin::Metered, if index % 3 == 0 { Step::Delta } else { Step::None }),
        value: if index % 3 == 0 { random.i64(10_000_000..90_000_000) } else { random.i64(-3_000..60_000) },
        source_time: Some(UtcMillis(now - random.i64(0..20))),
        received_time: UtcMillis(now),
        record_time: UtcMillis(now),
    });
    let mut record = SampleRecord { boot_id: 1, samples: samples.collect(), ..SampleRecord::default() };
    for sample in &mut record.samples {
        sample.record_time = sample.key_time();
    }
    Record::Samples(record)
}

#[test]
fn meter_like_samples_take_few_bytes() {
    let samples = 5000;
    let bytes = bytes_of(&meter_like(samples));
    let each = bytes.len() as f64 / f64::from(samples);
    assert!(each < 7.0, "{each} bytes a sample");
}

/// Prints figures; run it by name in a release build.
#[test]
#[ignore = "measures"]
#[allow(clippy::print_stdout)]
fn throughput() {
    for batch in [5u32, 100, 5000] {
        let record = meter_like(batch);
        let rounds = 20_000_000 / batch;
        let mut bytes = Vec::new();
        let start = super::cpu_seconds();
        for _ in 0..rounds {
            bytes.clear();
            encode(&record, &mut bytes);
            std::hint::black_box(&bytes);
        }
        let encoded = f64::from(rounds * batch) / (super::cpu_seconds() - start) / 1e6;
        let mut back = Record::Samples(SampleRecord::default());
        let start = super::cpu_seconds();
        for _ in 0..rounds {
            decode_into(std::hint::black_box(&bytes), &mut back).unwrap();
            std::hint::black_box(&back);
        }
        let decoded = f64::from(rounds * batch) / (super::cpu_seconds() - start) / 1e6;
        let each = bytes.len() as f64 / f64::from(batch);
        println!("batch {batch}, million samples per CPU-second: encode {encoded:.1}, decode {decoded:.1}; {each:.2} bytes a sample");
    }
}
