//! Snapshots beside a writer and without one.

use parkgate_collector::clock::ManualClock;
use parkgate_collector::journal::{Journal, JournalSettings, Record};

use super::*;
use crate::store::{DataDirectory, record_read_only};

fn journal(directory: &DataDirectory) -> Journal {
    let settings = JournalSettings { segment_bytes: 1 << 16, reserve_bytes: 0, ..JournalSettings::default() };
    let metrics = parkgate_collector::metrics::Metrics::new(&prometheus::Registry::new());
    Journal::open(&directory.journal(), settings, Arc::new(ManualClock::new(UtcMillis(NOVEMBER))), metrics).unwrap()
}

/// Makes samples durable and takes them over, as the gateway does.
fn write(journal: &Journal, history: &History, samples: Vec<Sample>) {
    let record = SampleRecord { samples, ..SampleRecord::default() };
    let sequence = journal.append(&Record::Samples(record.clone())).durable_blocking().unwrap();
    history.apply(sequence, &record);
}

fn values(record: &impl RecordView) -> Vec<i64> {
    let samples = record.scan(PointId(2), UtcMillis(i64::MIN), UtcMillis(i64::MAX), usize::MAX).unwrap();
    samples.iter().map(|sample| sample.value).collect()
}

#[test]
fn a_snapshot_beside_the_writer_has_all_that_was_durable_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let directory = DataDirectory::open_exclusive(folder.path()).unwrap();
    let journal = journal(&directory);
    let history = History::open(&directory.history(), HistorySettings::default(), odd()).unwrap();
    let durable = AtomicU64::new(0);
    let last = 6000;
    let first = record_read_only(&directory).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let before = durable.load(Ordering::SeqCst);
                    let snapshot = record_read_only(&directory).unwrap();
                    let seen = values(&snapshot);
                    assert!(seen.len() as u64 >= before, "{} of {before}", seen.len());
                    assert_eq!(seen, (0..seen.len() as i64).collect::<Vec<_>>());
                    // Checkpoints, merges and more samples later.
                    while durable.load(Ordering::SeqCst) < (before + 500).min(last) {
                        std::thread::yield_now();
                    }
                    assert_eq!(values(&snapshot), seen);
                    assert_eq!(snapshot.damaged(), 0);
                    if before == last {
                        break;
                    }
                }
            });
        }
        scope.spawn(|| {
            for i in 0..last {
                write(&journal, &history, vec![sample(2, NOVEMBER + i as i64 * 60_000, i as i64)]);
                durable.store(i + 1, Ordering::SeqCst);
                if i % 150 == 149 {
                    let upto = history.checkpoint().unwrap();
                    journal.release(upto);
                }
                if i % 1000 == 999 {
                    while history.maintain(UtcMillis(NOVEMBER)).unwrap() {}
                }
            }
        });
    });
    assert!(history.stats().merged > 0 && journal.oldest() > Sequence(1));
    assert!(values(&first).is_empty());
}

#[test]
fn a_snapshot_of_an_idle_directory_changes_nothing_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let directory = DataDirectory::open_exclusive(folder.path()).unwrap();
    assert!(values(&record_read_only(&directory).unwrap()).is_empty());
    {
        let (journal, history) = (journal(&directory), History::open(&directory.history(), HistorySettings::default(), odd()).unwrap());
        for i in 0..1000 {
            // Some of a month before, some late, some twice.
            let time = NOVEMBER + (i - 300 + 40 * (i % 3)) * 60_000;
            write(&journal, &history, vec![sample(2, time, i), sample(3, time, -i)]);
            if i == 600 {
                history.checkpoint().unwrap();
            }
        }
        journal.close();
    }
    let files = || {
        let mut files = Vec::new();
        for folder in [directory.history(), directory.journal()] {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                // SQLite's index of its log, which every reader may make.
                if !path.to_string_lossy().ends_with("-shm") {
                    files.push((path.clone(), std::fs::read(path).unwrap()));
                }
            }
        }
        files.retain(|(path, bytes)| !(path.to_string_lossy().ends_with("-wal") && bytes.is_empty()));
        files.sort();
        files
    };
    let before = files();
    let snapshot = record_read_only(&directory).unwrap();
    assert_eq!(snapshot.position(), Sequence(1000));
    let (seen, latest, corrections) = (values(&snapshot), snapshot.latest(PointId(3)), snapshot.corrections().unwrap());
    let edges: Vec<UtcMillis> = (-10..20).map(|hour| UtcMillis(NOVEMBER + hour * 3_600_000)).collect();
    let buckets = snapshot.buckets(PointId(3), &edges).unwrap();
    drop(snapshot);
    assert_eq!(files(), before);
    // What the gateway makes of the same files at its start.
    let (journal, history) = (journal(&directory), History::open(&directory.history(), HistorySettings::default(), odd()).unwrap());
    assert_eq!(history.position(), Sequence(601));
    let mut reader = journal.reader(Sequence(602));
    while let parkgate_collector::journal::Next::Entry(sequence, Record::Samples(record)) = reader.next().unwrap() {
        history.apply(sequence, &record);
    }
    assert_eq!((values(&history), history.latest(PointId(3))), (seen, latest));
    assert_eq!(history.buckets(PointId(3), &edges).unwrap(), buckets);
    assert_eq!(history.corrections().unwrap(), corrections);
}

#[test]
fn a_record_without_its_state_is_refused_and_told_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let directory = DataDirectory::open_exclusive(folder.path()).unwrap();
    let history = History::open(&directory.history(), HistorySettings::default(), odd()).unwrap();
    for i in 0..1000 {
        history.apply_samples(Sequence(i + 1), &[sample(2, NOVEMBER + i as i64, i as i64)]);
    }
    history.checkpoint().unwrap();
    drop(history);
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(directory.history().join(format!("state.db{end}")));
    }
    let error = record_read_only(&directory).unwrap_err().to_string();
    assert!(error.contains("state.db is missing") && error.contains("start the gateway"), "{error}");
}

/// A backup may take its picture of a month file while a checkpoint is making it.
#[test]
fn a_month_file_without_tables_is_left_out_and_the_rest_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let directory = DataDirectory::open_exclusive(folder.path()).unwrap();
    let journal = journal(&directory);
    let history = History::open(&directory.history(), HistorySettings::default(), odd()).unwrap();
    for i in 0..10 {
        write(&journal, &history, vec![sample(2, NOVEMBER + i * 60_000, i)]);
    }
    history.checkpoint().unwrap();
    drop(history);
    let key = files::FileKey { month: month::Month::of(UtcMillis(NOVEMBER + 40 * 86_400_000)), compliance: false, part: 0 };
    std::fs::write(directory.history().join(key.name()), []).unwrap();
    assert_eq!(values(&record_read_only(&directory).unwrap()), Vec::from_iter(0..10));
}
