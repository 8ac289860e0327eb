//! Bit flips and cut files: no panic, damage bounded to its record and counted; the file of the format.

use super::*;
use crate::journal::inspect::{dump, verify};
use crate::model::{Delivery, LinkKey, Origin, PointId, Quality, Reason, Sample, Status, Step};

/// A closed journal of several segments, each entry committed by itself.
fn journal_on_disk(directory: &Path, entries: u64) {
    let journal = Journal::open(directory, settings(1024), clock(), metrics()).unwrap();
    for n in 1..=entries {
        append(&journal, n, 60);
    }
}

fn segment_files(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn flipped_bits_cost_the_entry_they_hit() {
    let clean = tempfile::tempdir().unwrap();
    journal_on_disk(clean.path(), 60);
    let files = segment_files(clean.path());
    assert!(files.len() > 5);
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let directory = tempfile::tempdir().unwrap();
        let hit = random.usize(0..files.len());
        for (index, file) in files.iter().enumerate() {
            let mut bytes = std::fs::read(file).unwrap();
            if index == hit {
                let bit = random.usize(0..bytes.len() * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            std::fs::write(directory.path().join(file.file_name().unwrap()), bytes).unwrap();
        }
        let report = verify(directory.path()).unwrap();
        let metrics = metrics();
        let journal = Journal::open(directory.path(), settings(2048), clock(), metrics.clone()).unwrap();
        let (entries, events) = read_all(&journal, 1);
        let lost: u64 = events
            .iter()
            .map(|event| match event {
                Next::Damaged { from, to } => to.0 - from.0,
                other => panic!("seed {seed}: {other:?}"),
            })
            .sum();
        assert!(entries.iter().all(|(sequence, number)| sequence == number), "seed {seed}: {entries:?}");
        assert!(entries.len() >= 59, "seed {seed}: {} entries left", entries.len());
        assert_eq!(report.entries, entries.len() as u64, "seed {seed}");
        assert_eq!(metrics.journal_damage.get(), events.len() as u64, "seed {seed}");
        if entries.len() < 60 && entries.last().unwrap().0 == 60 {
            assert_eq!(lost, 1, "seed {seed}");
            assert!(!report.is_sound(), "seed {seed}: {report:?}");
            assert_eq!(report.damaged.len(), 1, "seed {seed}: {report:?}");
        }
    }
}

#[test]
fn garbage_and_cuts_never_stop_a_start() {
    let clean = tempfile::tempdir().unwrap();
    journal_on_disk(clean.path(), 60);
    let files = segment_files(clean.path());
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let directory = tempfile::tempdir().unwrap();
        for file in &files {
            let mut bytes = std::fs::read(file).unwrap();
            match random.u8(0..6) {
                0 => bytes.truncate(random.usize(0..=bytes.len())),
                1 => {
                    let start = random.usize(0..bytes.len());
                    let end = random.usize(start..=bytes.len());
                    random.fill(&mut bytes[start..end]);
                }
                2 => bytes.extend((0..random.usize(0..5000)).map(|_| random.u8(..))),
                3 => bytes.resize(bytes.len() + random.usize(0..5000), 0),
                _ => {}
            }
            if random.u8(0..10) > 0 {
                std::fs::write(directory.path().join(file.file_name().unwrap()), bytes).unwrap();
            }
        }
        verify(directory.path()).unwrap();
        let journal = Journal::open(directory.path(), settings(2048), clock(), metrics()).unwrap();
        let oldest = journal.oldest().0;
        let (entries, _) = read_all(&journal, oldest);
        assert!(entries.iter().all(|(sequence, number)| sequence == number), "seed {seed}: {entries:?}");
        assert!(entries.windows(2).all(|pair| pair[0].0 < pair[1].0), "seed {seed}: {entries:?}");
        let sequence = append(&journal, 1000, 60);
        let (entries, _) = read_all(&journal, oldest);
        assert_eq!(entries.last(), Some(&(sequence.0, 1000)), "seed {seed}");
    }
}

#[test]
fn numbers_known_to_a_cursor_are_not_given_again() {
    let directory = tempfile::tempdir().unwrap();
    journal_on_disk(directory.path(), 3);
    let file = segment_files(directory.path()).pop().unwrap();
    let length = std::fs::metadata(&file).unwrap().len();
    std::fs::File::options().write(true).open(&file).unwrap().set_len(length - 5).unwrap();
    let settings = JournalSettings { resume_after: Sequence(3), ..settings(2048) };
    let journal = Journal::open(directory.path(), settings, clock(), metrics()).unwrap();
    assert_eq!((journal.recovery().last, journal.durable()), (2, Sequence(3)));
    assert_eq!(append(&journal, 4, 0), Sequence(4));
    let (entries, events) = read_all(&journal, 1);
    assert_eq!(entries, [(1, 1), (2, 2), (4, 4)]);
    assert!(matches!(events[..], [Next::Damaged { from: Sequence(3), to: Sequence(4) }]), "{events:?}");
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    journal_on_disk(directory.path(), 3);
    let file = segment_files(directory.path()).pop().unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    let header = frame::Header { version: 9, first: 1, created: 0 }.to_bytes(frame::MAGIC);
    bytes[..header.len()].copy_from_slice(&header);
    std::fs::write(&file, bytes).unwrap();
    let error = Journal::open(directory.path(), settings(2048), clock(), metrics()).unwrap_err();
    assert!(error.to_string().contains("format version 9"), "{error}");
}

fn every_kind() -> Vec<Record> {
    let time = UtcMillis(1_764_000_000_123);
    let good = Status::new(Quality::Good, Reason::None, Origin::Metered, Step::Delta);
    let late = Status::new(Quality::Bad, Reason::Timeout, Origin::Simulated, Step::None).without_number();
    let row = |point, status, value, source_time, record_time| Sample {
        point: PointId(point),
        status,
        value,
        source_time,
        received_time: time,
        record_time,
    };
    let samples = Record::Samples(SampleRecord {
        catalogue_version: 3,
        boot_id: 0x0102_0304_0506_0708,
        monotonic_ms: 61_000,
        link: LinkKey::of("acme/modbus"),
        deliveries: vec![Delivery { packet_id: 7, hash: 0xdead_beef }],
        samples: vec![
            row(0, good, 71_870_544, Some(time.plus(-4)), time.plus(-4)),
            row(1, good, -42, None, time),
            row(1, good, i64::MIN, None, time.plus(1)),
            row(900, late, 0, Some(UtcMillis(-1)), time),
        ],
    });
    vec![
        Record::Catalogue(CatalogueRecord { version: 3, time }),
        samples,
        Record::Link(LinkRecord { link: LinkKey(5), device: "acme/gas".into(), up: false, why: "no answer".into(), time }),
        Record::Clock(ClockRecord { boot_id: u64::MAX, monotonic_ms: 60_000, expected: time, found: UtcMillis(-1) }),
        Record::Declared(DeclaredRecord { kind: "exchange".into(), time, body: r#"{"point":"acme/gas/volume"}"#.into() }),
    ]
}

fn shipped_file() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/journal-v1.seg")
}

/// The file of version 1 is read for ever, and verify and dump print it so.
#[test]
fn the_file_of_version_1_is_read() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::copy(shipped_file(), directory.path().join("00000000000000000041.seg")).unwrap();
    let journal = Journal::open(directory.path(), settings(2048), clock(), metrics()).unwrap();
    let mut reader = journal.reader(Sequence(41));
    for (sequence, expected) in (41..).zip(every_kind()) {
        match reader.next().unwrap() {
            Next::Entry(found, record) => assert_eq!((found, record), (Sequence(sequence), expected)),
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(reader.next().unwrap(), Next::End));
    let report = verify(directory.path()).unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!((report.entries, report.samples), (5, 4));

    let mut lines = Vec::new();
    let id_of = |point: PointId| (point.0 == 1).then(|| "acme/main/power".to_owned());
    dump(directory.path(), Sequence(42), 2, id_of, |line| lines.push(line)).unwrap();
    expect_test::expect![[r#"
        {"boot_id":"72623859790382856","catalogue_version":3,"deliveries":[{"hash":3735928559,"packet_id":7}],"kind":"samples","link":126150665,"monotonic_ms":61000,"samples":[{"id":null,"origin":"metered","point":0,"quality":"good","reason":"none","received_time":"2025-11-24T16:00:00.123Z","record_time":"2025-11-24T16:00:00.119Z","source_time":"2025-11-24T16:00:00.119Z","step":"delta","value":"71870544"},{"id":"acme/main/power","origin":"metered","point":1,"quality":"good","reason":"none","received_time":"2025-11-24T16:00:00.123Z","record_time":"2025-11-24T16:00:00.123Z","source_time":null,"step":"delta","value":"-42"},{"id":"acme/main/power","origin":"metered","point":1,"quality":"good","reason":"none","received_time":"2025-11-24T16:00:00.123Z","record_time":"2025-11-24T16:00:00.124Z","source_time":null,"step":"delta","value":"-9223372036854775808"},{"id":null,"origin":"simulated","point":900,"quality":"bad","reason":"timeout","received_time":"2025-11-24T16:00:00.123Z","record_time":"2025-11-24T16:00:00.123Z","source_time":"1969-12-31T23:59:59.999Z","step":"none","value":null}],"sequence":42}
        {"device":"acme/gas","kind":"link","link":5,"sequence":43,"time":"2025-11-24T16:00:00.123Z","up":false,"why":"no answer"}"#]].assert_eq(&lines.join("\n"));
}

/// Writes that file; run once when a version is released.
#[test]
#[ignore = "writes tests/data"]
fn write_the_file_of_this_version() {
    let directory = tempfile::tempdir().unwrap();
    let settings = JournalSettings { resume_after: Sequence(40), ..settings(2048) };
    let journal = Journal::open(directory.path(), settings, clock(), metrics()).unwrap();
    for record in every_kind() {
        journal.append(&record).durable_blocking().unwrap();
    }
    journal.close();
    std::fs::create_dir_all(shipped_file().parent().unwrap()).unwrap();
    std::fs::copy(segment_files(directory.path()).pop().unwrap(), shipped_file()).unwrap();
}
