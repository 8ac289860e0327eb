//! Behaviour of the whole journal, on the real disk and on one that misbehaves.

use std::path::Path;
use std::sync::Arc;

use super::file::sim::SimDisk;
use super::*;
use crate::clock::ManualClock;
use crate::model::UtcMillis;

mod codec;
mod damage;
mod failures;
mod power;

pub(super) fn metrics() -> Metrics {
    Metrics::new(&prometheus::Registry::new())
}

pub(super) fn settings(segment_bytes: u64) -> JournalSettings {
    JournalSettings { segment_bytes, budget_bytes: 1 << 40, reserve_bytes: 0, resume_after: Sequence(0) }
}

pub(super) fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(UtcMillis(1_764_000_000_000)))
}

/// An entry that carries a number and some bytes.
pub(super) fn entry(number: u64, bytes: usize) -> Record {
    Record::Declared(DeclaredRecord { kind: number.to_string(), time: UtcMillis(0), body: "x".repeat(bytes) })
}

pub(super) fn number(record: &Record) -> u64 {
    match record {
        Record::Declared(record) => record.kind.parse().unwrap(),
        other => panic!("not an entry of ours: {other:?}"),
    }
}

/// Reads up to the end: entries, and what else was told.
pub(super) fn read_all(journal: &Journal, from: u64) -> (Vec<(u64, u64)>, Vec<Next>) {
    let mut reader = journal.reader(Sequence(from));
    let (mut entries, mut events) = (Vec::new(), Vec::new());
    loop {
        match reader.next().unwrap() {
            Next::Entry(sequence, record) => entries.push((sequence.0, number(&record))),
            Next::End => return (entries, events),
            other => events.push(other),
        }
    }
}

fn append(journal: &Journal, number: u64, bytes: usize) -> Sequence {
    journal.append(&entry(number, bytes)).durable_blocking().unwrap()
}

#[test]
fn what_is_appended_is_read_back_across_segments_and_restarts() {
    let directory = tempfile::tempdir().unwrap();
    let mut count = 0;
    for run in 0..3 {
        let journal = Journal::open(directory.path(), settings(4096), clock(), metrics()).unwrap();
        assert_eq!(journal.durable(), Sequence(count), "run {run}");
        assert!(!journal.recovery().unclean);
        for _ in 0..40 {
            count += 1;
            assert_eq!(append(&journal, count, 300), Sequence(count));
        }
        let (entries, events) = read_all(&journal, 1);
        assert!(events.is_empty(), "{events:?}");
        assert_eq!(entries, (1..=count).map(|n| (n, n)).collect::<Vec<_>>());
        journal.close();
        assert!(matches!(journal.append(&entry(0, 0)).durable_blocking(), Err(AppendError::Closed)));
    }
}

#[test]
fn release_deletes_whole_segments_and_readers_behind_are_told() {
    let disk = SimDisk::new(1 << 30);
    let journal = Journal::open_on(Arc::new(disk.clone()), Path::new("j"), settings(4096), clock(), metrics()).unwrap();
    for n in 1..=100 {
        append(&journal, n, 300);
    }
    let mut behind = journal.reader(Sequence(5));
    assert!(matches!(behind.next().unwrap(), Next::Entry(Sequence(5), _)));
    let before = disk.paths().len();
    journal.release(Sequence(51));
    assert!(disk.paths().len() < before);
    let oldest = journal.oldest();
    assert!(oldest > Sequence(30) && oldest <= Sequence(51), "{oldest:?}");
    loop {
        match behind.next().unwrap() {
            Next::Entry(sequence, _) => assert!(sequence < oldest),
            Next::Gone { oldest: told } => break assert_eq!(told, oldest),
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(behind.next().unwrap(), Next::Entry(sequence, _) if sequence == oldest));
    journal.release(Sequence(101));
    assert_eq!(append(&journal, 101, 0), Sequence(101));
    drop(journal);
    let journal = Journal::open_on(Arc::new(disk), Path::new("j"), settings(4096), clock(), metrics()).unwrap();
    assert_eq!(journal.durable(), Sequence(101));
}

#[test]
fn many_readers_follow_the_tail_each_at_its_own_pace() {
    let disk = SimDisk::new(1 << 30);
    let journal = Journal::open_on(Arc::new(disk), Path::new("j"), settings(8192), clock(), metrics()).unwrap();
    let count = 3000;
    let readers: Vec<_> = (0..4u64)
        .map(|index| {
            let mut reader = journal.reader(Sequence(1 + index * 100));
            let mut durable = journal.subscribe();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                let mut expected = 1 + index * 100;
                while expected <= count {
                    match reader.next().unwrap() {
                        Next::Entry(sequence, record) => {
                            assert_eq!((sequence.0, number(&record)), (expected, expected));
                            expected += 1;
                            assert_eq!(reader.position(), Sequence(expected));
                        }
                        Next::End => runtime.block_on(async { durable.changed().await.unwrap() }),
                        other => panic!("{other:?}"),
                    }
                }
            })
        })
        .collect();
    let receipts: Vec<_> = (1..=count).map(|n| journal.append(&entry(n, usize::try_from(n % 700).unwrap()))).collect();
    for (expected, receipt) in (1..).zip(receipts) {
        assert_eq!(receipt.durable_blocking(), Ok(Sequence(expected)));
    }
    for reader in readers {
        reader.join().unwrap();
    }
}

/// CPU time of the process: on a shared machine the only time worth measuring.
fn cpu_seconds() -> f64 {
    let times = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    times.tv_sec as f64 + times.tv_nsec as f64 / 1e9
}

/// Prints figures; run it by name in a release build.
#[test]
#[ignore = "measures"]
#[allow(clippy::print_stdout)]
fn journal_throughput() {
    for (batch, records, read) in [(5u32, 1_000_000u32, false), (5, 1_000_000, true), (1000, 20_000, false), (1000, 20_000, true)] {
        let directory = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let metrics = metrics();
        let journal = Journal::open(directory.path(), settings(64 << 20), clock(), metrics.clone()).unwrap();
        let record = codec::meter_like(batch);
        let (start, cpu_start) = (std::time::Instant::now(), cpu_seconds());
        let reader = read.then(|| {
            let (mut reader, mut durable) = (journal.reader(Sequence(1)), journal.subscribe());
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                let mut record = Record::Samples(SampleRecord::default());
                let mut seen = 0;
                while seen < records {
                    match reader.next_into(&mut record).unwrap() {
                        Progress::Entry(_) => seen += 1,
                        Progress::End => runtime.block_on(async { drop(durable.changed().await) }),
                        other => panic!("{other:?}"),
                    }
                }
            })
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut last = None;
            for _ in 0..records {
                journal.ready().await;
                last = Some(journal.append(&record));
            }
            last.unwrap().durable().await.unwrap();
        });
        if let Some(reader) = reader {
            reader.join().unwrap();
        }
        let samples = f64::from(batch) * f64::from(records);
        let (wall, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds() - cpu_start);
        let syncs = metrics.journal_sync.get_sample_count();
        println!(
            "batch {batch}, reader {read}: {:.2} M samples/s durable, {:.3} CPU-s per M, {syncs} syncs, {:.2} bytes a sample",
            samples / wall / 1e6,
            cpu / samples * 1e6,
            journal.stats().appended_bytes as f64 / samples,
        );
    }
}
