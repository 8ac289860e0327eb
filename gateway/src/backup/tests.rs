//! Backups beside a writer, interrupted, damaged, and restored.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parkgate_collector::clock::ManualClock;
use parkgate_collector::journal::{Journal, JournalSettings, Record, SampleRecord, inspect};
use parkgate_collector::model::PointId;

use super::*;
use crate::store::history::testing::{NOVEMBER, odd, sample};
use crate::store::{DataDirectory, Facts, History, HistorySettings, RecordView, record_read_only};

/// Journal, history and facts as a gateway has them, without the gateway.
struct Writer {
    _directory: DataDirectory,
    journal: Journal,
    history: History,
    written: Cell<i64>,
}

impl Writer {
    fn open(data: &Path) -> Self {
        let directory = DataDirectory::open_exclusive(data).unwrap();
        let history = History::open(&directory.history(), HistorySettings::default(), odd()).unwrap();
        let settings =
            JournalSettings { segment_bytes: 1 << 16, reserve_bytes: 0, resume_after: history.position(), ..JournalSettings::default() };
        let metrics = parkgate_collector::metrics::Metrics::new(&prometheus::Registry::new());
        let clock = Arc::new(ManualClock::new(UtcMillis(NOVEMBER)));
        let journal = Journal::open(&directory.journal(), settings, clock, metrics).unwrap();
        let mut reader = journal.reader(Sequence(history.position().0 + 1));
        while let parkgate_collector::journal::Next::Entry(sequence, Record::Samples(record)) = reader.next().unwrap() {
            history.apply(sequence, &record);
        }
        Facts::open(&directory.facts()).unwrap().set_item("park", b"acme").unwrap();
        let written = Cell::new(i64::try_from(history.position().0).unwrap());
        Self { _directory: directory, journal, history, written }
    }

    /// Entry `n` holds one sample of value `n - 1` at minute `n - 1`.
    fn write(&self) {
        let value = self.written.replace(self.written.get() + 1);
        let record = SampleRecord { samples: vec![sample(2, NOVEMBER + value * 60_000, value)], ..SampleRecord::default() };
        let sequence = self.journal.append(&Record::Samples(record.clone())).durable_blocking().unwrap();
        assert_eq!(sequence.0, u64::try_from(value).unwrap() + 1);
        self.history.apply(sequence, &record);
    }

    fn checkpoint(&self) {
        self.journal.release(self.history.checkpoint().unwrap());
    }
}

/// Nobody runs.
fn idle(_: Ask) -> Result<Option<Sequence>, BackupError> {
    Ok(None)
}

fn values(data: &Path) -> Vec<i64> {
    let record = record_read_only(&DataDirectory::open_read_only(data).unwrap()).unwrap();
    assert_eq!(record.damaged(), 0);
    let samples = record.scan(PointId(2), UtcMillis(i64::MIN), UtcMillis(i64::MAX), usize::MAX).unwrap();
    samples.iter().map(|sample| sample.value).collect()
}

/// Restores into a new folder; what it holds, after a look at its journal.
fn restored(backup: &Path) -> Vec<i64> {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    restore(backup, &data).unwrap();
    assert!(inspect::verify(&data.join("journal")).unwrap().is_sound());
    values(&data)
}

fn up_to(last: i64) -> Vec<i64> {
    (0..last).collect()
}

#[test]
fn a_backup_beside_the_writer_is_the_record_as_of_its_position() {
    let folder = tempfile::tempdir().unwrap();
    let (data, backup) = (folder.path().join("data"), folder.path().join("backup"));
    let writer = Writer::open(&data);
    let (journal, history) = (writer.journal.clone(), writer.history.clone());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stop = &stop;
        let backing_up = scope.spawn({
            let (data, backup) = (data.clone(), backup.clone());
            move || {
                for _ in 0..6 {
                    let before = journal.durable();
                    let ask = |ask| {
                        if ask == Ask::Checkpoint {
                            history.checkpoint()?;
                        }
                        Ok(Some(journal.durable()))
                    };
                    let report = make(&data, &backup, UtcMillis(NOVEMBER), &ask).unwrap();
                    let position = report.manifest.journal_position.unwrap();
                    assert!(position >= before.0 && report.warnings.is_empty(), "{report:?}");
                    assert_eq!(report.manifest.park.as_deref(), Some("acme"));
                    assert_eq!(restored(&backup), up_to(i64::try_from(position).unwrap()));
                }
                stop.store(true, Ordering::SeqCst);
            }
        });
        // In this thread, with checkpoints and nights in between.
        while !stop.load(Ordering::SeqCst) && !backing_up.is_finished() {
            writer.write();
            if writer.written.get() % 150 == 0 {
                writer.checkpoint();
            }
            if writer.written.get() % 1000 == 0 {
                while writer.history.maintain(UtcMillis(NOVEMBER)).unwrap() {}
            }
        }
        backing_up.join().unwrap();
    });
}

#[test]
fn another_picture_is_taken_when_the_journal_lets_go_of_a_segment_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let (data, backup) = (folder.path().join("data"), folder.path().join("backup"));
    let writer = Writer::open(&data);
    // Stands for the normaliser's state: opened first, and not ahead of the journal that goes with it.
    let state = data.join("normaliser.state");
    fs::write(&state, "old").unwrap();
    (0..2_000).for_each(|_| writer.write());
    // Committed before, so that only the journal tells.
    let committed = writer.history.checkpoint().unwrap();
    let asked = Cell::new(0);
    let ask = |_| {
        asked.set(asked.get() + 1);
        if asked.get() == 2 {
            let first = writer.journal.oldest();
            fs::write(&state, "new").unwrap();
            writer.journal.release(committed);
            assert_ne!(writer.journal.oldest(), first);
        }
        Ok(Some(writer.journal.durable()))
    };
    make(&data, &backup, UtcMillis(NOVEMBER), &ask).unwrap();
    assert_eq!(asked.get(), 4, "one picture, and another one");
    let copy = folder.path().join("copy");
    restore(&backup, &copy).unwrap();
    assert_eq!(fs::read_to_string(copy.join("normaliser.state")).unwrap(), "new");
    assert_eq!(values(&copy), up_to(2_000));
}

#[test]
fn the_restored_copy_goes_on_with_numbers_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let (data, backup, copy) = (folder.path().join("data"), folder.path().join("backup"), folder.path().join("copy"));
    let writer = Writer::open(&data);
    (0..700).for_each(|_| writer.write());
    writer.checkpoint();
    (0..50).for_each(|_| writer.write());
    let ask = |_| Ok(Some(writer.journal.durable()));
    make(&data, &backup, UtcMillis(NOVEMBER), &ask).unwrap();
    // The original goes on; its later entries are no business of the copy.
    (0..30).for_each(|_| writer.write());
    restore(&backup, &copy).unwrap();
    let going_on = Writer::open(&copy);
    assert_eq!(going_on.history.position(), Sequence(750));
    (0..100).for_each(|_| going_on.write());
    drop(going_on);
    assert_eq!((values(&copy), values(&data)), (up_to(850), up_to(780)));
    assert!(matches!(restore(&backup, &copy), Err(BackupError::NotEmpty(_))));
}

#[test]
fn a_second_backup_copies_only_what_changed() {
    let folder = tempfile::tempdir().unwrap();
    let (data, backup) = (folder.path().join("data"), folder.path().join("backup"));
    let writer = Writer::open(&data);
    // 50 days: two months.
    (0..50 * 1440).step_by(300).for_each(|_| (0..3).for_each(|_| writer.write()));
    for _ in 0..50 {
        let minute = writer.written.get() + 1440;
        writer.written.set(minute);
        let record = SampleRecord { samples: vec![sample(2, NOVEMBER + minute * 60_000, minute)], ..SampleRecord::default() };
        let sequence = writer.journal.append(&Record::Samples(record.clone())).durable_blocking().unwrap();
        writer.history.apply(sequence, &record);
    }
    writer.checkpoint();
    let running = |_| Ok(Some(writer.journal.durable()));
    let first = make(&data, &backup, UtcMillis(NOVEMBER), &running).unwrap();
    assert!(first.copied >= 5, "{first:?}");
    let again = make(&data, &backup, UtcMillis(NOVEMBER), &running).unwrap();
    assert_eq!((again.copied, again.copied_bytes), (0, 0), "{again:?}");
    drop(writer);
    // Its logs are gone now, the journal is cut at its end: the same content in other bytes.
    let after = make(&data, &backup, UtcMillis(NOVEMBER), &idle).unwrap();
    let changed: Vec<&Entry> = after.manifest.files.iter().filter(|file| !first.manifest.files.contains(file)).collect();
    assert!(changed.iter().all(|file| !file.path.starts_with("history/")), "{changed:?}");
    let objects = fs::read_dir(backup.join("objects")).unwrap().count();
    let named: std::collections::BTreeSet<&str> = after.manifest.files.iter().map(|file| file.sha256.as_str()).collect();
    assert_eq!(objects, named.len());
}

#[test]
fn a_crash_at_any_step_leaves_a_backup_that_can_be_restored() {
    let folder = tempfile::tempdir().unwrap();
    let (data, backup) = (folder.path().join("data"), folder.path().join("backup"));
    let mut known = None;
    for round in 0..2 {
        let writer = Writer::open(&data);
        (0..700).for_each(|_| writer.write());
        writer.checkpoint();
        let last = writer.written.get();
        drop(writer);
        let mut steps = 0;
        loop {
            let left = Cell::new(steps);
            let crash = |step: &'static str| match left.get() {
                0 => Err(BackupError::Io { path: step.into(), error: io::ErrorKind::Interrupted.into() }),
                count => {
                    left.set(count - 1);
                    Ok(())
                }
            };
            match make_with(&data, &backup, UtcMillis(NOVEMBER), &idle, &crash) {
                Ok(_) => break,
                Err(BackupError::Io { path, .. }) if path == Path::new("tidy up") => assert_eq!(restored(&backup), up_to(last)),
                Err(_) if round == 0 => assert!(matches!(verify(&backup), Err(BackupError::Incomplete(_)))),
                Err(_) => assert_eq!(Some(restored(&backup)), known, "after {steps} steps"),
            }
            steps += 1;
        }
        assert!(steps > 5);
        known = Some(restored(&backup));
        assert_eq!(known, Some(up_to(last)));
    }
}

#[test]
fn one_changed_byte_is_found_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let (data, backup, target) = (folder.path().join("data"), folder.path().join("backup"), folder.path().join("target"));
    let writer = Writer::open(&data);
    (0..700).for_each(|_| writer.write());
    writer.checkpoint();
    drop(writer);
    let manifest = make(&data, &backup, UtcMillis(NOVEMBER), &idle).unwrap().manifest;
    assert!(manifest.files.len() >= 4, "{manifest:?}");
    for file in &manifest.files {
        let object = backup.join("objects").join(&file.sha256);
        let good = fs::read(&object).unwrap();
        let mut bad = good.clone();
        let place = fastrand::usize(..bad.len());
        bad[place] ^= 1 << fastrand::u8(..8);
        for bytes in [&bad[..], &good[1..]] {
            fs::write(&object, bytes).unwrap();
            let (_, problems) = verify(&backup).unwrap();
            assert!(problems.len() == 1 && problems[0].starts_with(&file.path), "{problems:?}, byte {place}");
            assert!(matches!(restore(&backup, &target), Err(BackupError::Damaged(found)) if found == problems));
            assert!(!target.exists());
        }
        fs::remove_file(&object).unwrap();
        assert_eq!(verify(&backup).unwrap().1.len(), 1);
        // What it says to do mends it.
        make(&data, &backup, UtcMillis(NOVEMBER), &idle).unwrap();
        assert_eq!(verify(&backup).unwrap().1, Vec::<String>::new());
    }
    let list = backup.join(manifest::NAME);
    let good = fs::read(&list).unwrap();
    for place in 0..good.len() {
        let mut bad = good.clone();
        bad[place] ^= 1;
        fs::write(&list, &bad).unwrap();
        match verify(&backup) {
            Err(BackupError::Manifest { .. } | BackupError::Newer { .. }) => {}
            // A space that became another character that means nothing, or the like.
            Ok((read, _)) => assert_eq!(read.files, manifest.files, "byte {place}"),
            other => panic!("byte {place}: {other:?}"),
        }
    }
}

#[test]
fn folders_that_do_not_fit_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let (data, other) = (folder.path().join("data"), folder.path().join("other"));
    drop(Writer::open(&data));
    let attempt = |data: &Path, to: &Path| make(data, to, UtcMillis(NOVEMBER), &idle).map(drop).unwrap_err();
    assert!(matches!(attempt(&data, &data.join("backup/deep")), BackupError::Inside { .. }));
    assert!(matches!(attempt(&data, folder.path()), BackupError::Inside { .. }));
    std::os::unix::fs::symlink(&data, folder.path().join("link")).unwrap();
    assert!(matches!(attempt(&data, &folder.path().join("link/backup")), BackupError::Inside { .. }));
    assert!(!data.join("backup").exists());
    fs::create_dir(&other).unwrap();
    fs::write(other.join("letter.txt"), "dear").unwrap();
    assert!(matches!(attempt(&data, &other), BackupError::Foreign(_)));
    assert!(matches!(attempt(&folder.path().join("nowhere"), &other), BackupError::Directory(DirectoryError::Missing { .. })));
    let running = DataDirectory::open_exclusive(&data).unwrap();
    assert!(matches!(attempt(&data, &folder.path().join("new")), BackupError::Directory(DirectoryError::Locked { .. })));
    drop(running);
    let backup = folder.path().join("backup");
    make(&data, &backup, UtcMillis(NOVEMBER), &idle).unwrap();
    Facts::open(&data.join("facts.db")).unwrap().set_item("park", b"other").unwrap();
    let error = attempt(&data, &backup).to_string();
    assert!(error.contains("`acme`") && error.contains("`other`"), "{error}");
    assert!(matches!(restore(&other, &folder.path().join("copy")), Err(BackupError::Incomplete(_))));
    assert!(matches!(restore(&backup, &backup.join("copy")), Err(BackupError::Inside { .. })));
}
