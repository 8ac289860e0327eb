//! Crashes between any two steps, damaged files, nights and retention.

use std::cell::RefCell;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::store::history::month::DAY_MS;

const HOUR_MS: i64 = 3_600_000;
const ALL: (UtcMillis, UtcMillis) = (UtcMillis(i64::MIN), UtcMillis(i64::MAX));

pub(super) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

pub(super) fn all(history: &History, point: u32) -> Vec<Sample> {
    history.scan(PointId(point), ALL.0, ALL.1, usize::MAX).unwrap()
}

#[test]
fn leftovers_of_an_interrupted_deletion_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::open(folder.path(), HistorySettings::default(), odd()).unwrap();
    history.apply_samples(Sequence(1), &[sample(1, NOVEMBER, 1), sample(2, NOVEMBER, 2)]);
    history.inner.head().close_windows(|_| true);
    history.checkpoint().unwrap();
    let path = |name: &str| folder.path().join(name);
    // The crash came after the file was renamed, before its log was deleted.
    std::fs::rename(path("2026-11-other.db"), path("2026-11-other.db.gone")).unwrap();
    assert!(path("2026-11-other.db-wal").exists());
    std::mem::forget(history);
    let history = History::open(folder.path(), HistorySettings::default(), odd()).unwrap();
    assert!(!path("2026-11-other.db.gone").exists() && !path("2026-11-other.db-wal").exists());
    assert_eq!((all(&history, 1).len(), all(&history, 2).len()), (1, 0));
}

/// A journal of three points over a change of month, with late samples.
pub(super) fn journal() -> Vec<Vec<Sample>> {
    (0..900i64)
        .map(|i| {
            let time = NOVEMBER - HOUR_MS + i * 10_000;
            let mut entry: Vec<Sample> = (1..=3).map(|point| sample(point, time + i % 7, i * i64::from(point))).collect();
            if i % 9 == 0 {
                entry.push(sample(2, time - 2 * HOUR_MS - 5, i));
            }
            entry
        })
        .collect()
}

/// The merged samples of one point; keys are unique in [`journal`].
pub(super) fn expected(journal: &[Vec<Sample>], point: u32) -> Vec<Sample> {
    let mut samples: Vec<Sample> = journal.iter().flatten().filter(|one| one.point.0 == point).copied().collect();
    samples.sort_by_key(|one| one.record_time);
    samples
}

#[test]
fn a_crash_before_any_step_loses_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let copies = tempfile::tempdir().unwrap();
    let live = folder.path().join("live");
    let taken = Arc::new(Mutex::new(Vec::new()));
    let step: StepHook = {
        let (live, copies, taken) = (live.clone(), copies.path().to_owned(), Arc::clone(&taken));
        Arc::new(move |name| {
            let mut taken = taken.lock().unwrap();
            let copy = copies.join(format!("{}", taken.len()));
            copy_folder(&live, &copy);
            taken.push((name, copy));
            Ok(())
        })
    };
    let journal = journal();
    let settings = HistorySettings { retention_months_other: 0, ..HistorySettings::default() };
    let history = History::open_with(&live, settings.clone(), odd(), Some(step)).unwrap();
    for (index, entry) in journal.iter().enumerate() {
        history.apply_samples(Sequence(index as u64 + 1), entry);
        if index % 100 == 99 {
            history.checkpoint().unwrap();
        }
        if index % 130 == 0 {
            // Small blocks, to be merged.
            history.inner.head().close_windows(|_| true);
        }
        if index == 701 {
            while history.maintain(UtcMillis(NOVEMBER - 1)).unwrap() {}
        }
    }
    let taken = std::mem::take(&mut *taken.lock().unwrap());
    for wanted in ["month file", "month commit", "state", "state commit", "head", "merge commit"] {
        assert!(taken.iter().any(|(name, _)| *name == wanted), "{wanted}");
    }
    for (name, copy) in taken {
        let history = History::open(&copy, settings.clone(), odd()).unwrap();
        for (index, entry) in journal.iter().enumerate().skip(history.position().0 as usize) {
            history.apply_samples(Sequence(index as u64 + 1), entry);
        }
        for again in [false, true] {
            for point in 1..=3 {
                assert_eq!(all(&history, point), expected(&journal, point), "before {name}, point {point}");
                let edges =
                    [NOVEMBER - 4 * HOUR_MS, NOVEMBER - HOUR_MS, NOVEMBER, NOVEMBER + HOUR_MS, NOVEMBER + 2 * HOUR_MS].map(UtcMillis);
                let count: u64 = history.buckets(PointId(point), &edges).unwrap().iter().map(|bucket| bucket.samples).sum();
                assert_eq!(count, expected(&journal, point).len() as u64);
            }
            if !again {
                history.checkpoint().unwrap();
            }
        }
        assert_eq!(history.stats().damaged, 0);
    }
}

#[test]
fn damaged_files_neither_panic_nor_tell_a_wrong_value() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    let journal = journal();
    let history = History::open(&whole, HistorySettings::default(), odd()).unwrap();
    for (index, entry) in journal.iter().enumerate() {
        history.apply_samples(Sequence(index as u64 + 1), entry);
        if index % 100 == 99 {
            history.checkpoint().unwrap();
        }
    }
    // Copied while open, so that logs are there as well.
    let mut names: Vec<_> = std::fs::read_dir(&whole).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.retain(|name| !name.to_string_lossy().ends_with("-shm"));
    names.sort();
    for seed in 0..60 {
        let mut random = fastrand::Rng::with_seed(seed);
        let copy = folder.path().join(format!("{seed}"));
        copy_folder(&whole, &copy);
        for name in std::fs::read_dir(&copy).unwrap().map(|entry| entry.unwrap().path()) {
            if name.to_string_lossy().ends_with("-shm") {
                std::fs::remove_file(name).unwrap();
            }
        }
        let path = copy.join(random.choice(&names).unwrap());
        let mut bytes = std::fs::read(&path).unwrap();
        if random.u8(0..4) == 0 {
            bytes.truncate(random.usize(0..=bytes.len()));
        } else {
            for _ in 0..random.usize(1..30) {
                let place = random.usize(0..bytes.len());
                bytes[place] ^= 1 << random.u8(0..8);
            }
        }
        std::fs::write(&path, bytes).unwrap();
        let context = format!("seed {seed}, {}", path.file_name().unwrap().to_string_lossy());
        let history = match History::open(&copy, HistorySettings::default(), odd()) {
            Ok(history) => history,
            // A flipped format number is told from damage by nothing.
            Err(StoreError::Version(_)) => continue,
            Err(error) => panic!("{context}: {error}"),
        };
        let read = |history: &History| {
            for point in 1..=3 {
                let expected = expected(&journal, point);
                let found = history.scan(PointId(point), ALL.0, ALL.1, usize::MAX).unwrap_or_else(|error| panic!("{context}: {error}"));
                for one in &found {
                    assert!(expected.contains(one) || one.value == -1, "{context}: {one:?}");
                }
                let edges: Vec<UtcMillis> = (-4..4).map(|hour| UtcMillis(NOVEMBER + hour * HOUR_MS)).collect();
                let buckets = history.buckets(PointId(point), &edges).unwrap_or_else(|error| panic!("{context}: {error}"));
                assert!(buckets.iter().map(|bucket| bucket.samples).sum::<u64>() <= expected.len() as u64, "{context}");
                let latest = history.latest(PointId(point));
                assert!(latest.is_none_or(|one| expected.contains(&one) || one.value == -1), "{context}");
            }
        };
        read(&history);
        // It goes on: what comes now is kept, at the latest with the second attempt.
        let sequence = history.position().0 + 1;
        history.apply_samples(Sequence(sequence), &(1..=3).map(|point| sample(point, NOVEMBER + DAY_MS, -1)).collect::<Vec<_>>());
        history.inner.head().close_windows(|_| true);
        let done = (0..3).any(|_| history.checkpoint().is_ok());
        assert!(done, "{context}: {:?}", history.checkpoint());
        let history = History::open(&copy, HistorySettings::default(), odd()).unwrap();
        read(&history);
        for point in 1..=3 {
            assert!(all(&history, point).iter().any(|one| one.value == -1), "{context}");
        }
        drop(history);
        std::fs::remove_dir_all(copy).unwrap();
    }
}

#[test]
fn one_damaged_block_is_counted_and_leaves_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::open(folder.path(), HistorySettings::default(), odd()).unwrap();
    for i in 0..1080 {
        history.apply_samples(Sequence(i + 1), &[sample(2, NOVEMBER + i as i64 * 10_000, i as i64)]);
    }
    history.checkpoint().unwrap();
    let connection = rusqlite::Connection::open(folder.path().join("2026-11-other.db")).unwrap();
    assert_eq!(connection.execute("UPDATE block SET data = zeroblob(length(data)) WHERE id = 2", []).unwrap(), 1);
    let values: Vec<i64> = all(&history, 2).iter().map(|one| one.value).collect();
    assert_eq!(values, (0..360).chain(720..1080).collect::<Vec<_>>());
    assert_eq!(history.stats().damaged, 1);
    // Whoever asks is told, but only where the damage is.
    let at = |index: i64| UtcMillis(NOVEMBER + index * 10_000);
    for (from, to, damaged) in [(0, 1080, 1), (0, 360, 0), (400, 401, 1), (720, 1080, 0)] {
        let mut left_out = 0;
        history.scan_noting(PointId(2), at(from), at(to), usize::MAX, &mut left_out).unwrap();
        assert_eq!(left_out, damaged, "{from} {to}");
    }
    // A bucket that holds the whole block takes its sums from the description, which is sound.
    for (edges, damaged, count) in [([300, 400, 800], 1, 140), ([0, 360, 1080], 0, 1080), ([0, 100, 360], 0, 360)] {
        let mut left_out = 0;
        let buckets = history.buckets_noting(PointId(2), &edges.map(at), &mut left_out).unwrap();
        assert_eq!((left_out, buckets.iter().map(|one| one.count).sum::<u64>()), (damaged, count), "{edges:?}");
    }
}

#[test]
fn a_full_disk_keeps_everything_for_later() {
    let folder = tempfile::tempdir().unwrap();
    let full = Arc::new(AtomicBool::new(true));
    let step: StepHook = {
        let full = Arc::clone(&full);
        Arc::new(move |name| if full.load(Ordering::SeqCst) && name.ends_with("commit") { Err(crash(name)) } else { Ok(()) })
    };
    let history = History::open_with(folder.path(), HistorySettings::default(), odd(), Some(step)).unwrap();
    let journal = journal();
    for (index, entry) in journal.iter().enumerate() {
        history.apply_samples(Sequence(index as u64 + 1), entry);
        if index % 200 == 199 {
            history.checkpoint().unwrap_err();
        }
    }
    assert_eq!(history.stats().committed, Sequence(0));
    full.store(false, Ordering::SeqCst);
    assert_eq!(history.checkpoint().unwrap(), Sequence(900));
    for point in 1..=3 {
        assert_eq!(all(&history, point), expected(&journal, point));
    }
    assert_eq!(history.stats().checkpoint_failures, 4);
}

#[test]
fn small_blocks_are_merged_at_night() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::open(folder.path(), HistorySettings::default(), odd()).unwrap();
    let mut expected = Vec::new();
    for minute in 0..1440 * 2 {
        let one = sample(2, NOVEMBER + minute * 60_000, minute);
        expected.push(one);
        history.apply_samples(Sequence(minute as u64 + 1), &[one]);
    }
    history.checkpoint().unwrap();
    let blocks = || -> i64 {
        let connection = rusqlite::Connection::open(folder.path().join("2026-11-other.db")).unwrap();
        connection.query_row("SELECT count(*) FROM block", [], |row| row.get(0)).unwrap()
    };
    assert_eq!(blocks(), 47);
    while history.maintain(UtcMillis(NOVEMBER)).unwrap() {}
    assert_eq!(blocks(), 8);
    assert_eq!(history.stats().merged, 47);
    assert_eq!(all(&history, 2), expected);
    while history.maintain(UtcMillis(NOVEMBER)).unwrap() {}
    assert_eq!(blocks(), 8);
}

#[test]
fn months_go_by_retention_other_classes_first() {
    let names = |folder: &Path| {
        let mut names: Vec<String> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name.starts_with("20") && name.ends_with(".db"));
        names.sort();
        names
    };
    let fill = |settings: HistorySettings, now: i64| {
        let folder = tempfile::tempdir().unwrap();
        let history = History::open(folder.path(), settings, odd()).unwrap();
        let mut sequence = 0;
        // Month by month from 2026-07 to 2026-11, of a compliance point and another.
        for day in [-120, -90, -60, -30, 0] {
            for i in 0..400 {
                sequence += 1;
                let time = NOVEMBER + day * DAY_MS + DAY_MS + i * 300_000;
                history.apply_samples(Sequence(sequence), &[sample(1, time, i), sample(2, time, i)]);
            }
        }
        history.inner.head().close_windows(|_| true);
        history.checkpoint().unwrap();
        while history.maintain(UtcMillis(now)).unwrap() {}
        let left = RefCell::new(names(folder.path()));
        assert_eq!(all(&history, 2).len(), 400 * left.borrow().iter().filter(|name| name.contains("other")).count());
        assert_eq!(all(&history, 1).len(), 400 * left.borrow().iter().filter(|name| name.contains("compliance")).count());
        left.into_inner()
    };
    let keep = HistorySettings { retention_months_other: 2, retention_months_compliance: 3, ..HistorySettings::default() };
    let left = fill(keep.clone(), NOVEMBER + DAY_MS);
    assert_eq!(
        left,
        [
            "2026-08-compliance.db",
            "2026-09-compliance.db",
            "2026-09-other.db",
            "2026-10-compliance.db",
            "2026-10-other.db",
            "2026-11-compliance.db",
            "2026-11-other.db",
        ]
    );
    // A budget that nothing can meet takes the other months, but neither compliance nor the present month.
    let left = fill(HistorySettings { budget_bytes: Some(1), ..keep }, NOVEMBER + DAY_MS);
    assert_eq!(
        left,
        ["2026-08-compliance.db", "2026-09-compliance.db", "2026-10-compliance.db", "2026-11-compliance.db", "2026-11-other.db"]
    );
}

#[test]
fn a_checkpoint_is_due_by_bytes_read_or_by_samples() {
    let settings = HistorySettings { checkpoint_bytes: 1_000, checkpoint_samples: 10, ..HistorySettings::default() };
    let folder = tempfile::tempdir().unwrap();
    let history = History::open(folder.path(), settings, odd()).unwrap();
    let due = || history.checkpoint_due(Now { utc: UtcMillis(0), monotonic_ms: 0 });
    let mut sequence = 0;
    let mut apply = |samples: u64| {
        for _ in 0..samples {
            sequence += 1;
            history.apply_samples(Sequence(sequence), &[sample(1, NOVEMBER + sequence as i64, 1)]);
        }
    };
    apply(9);
    history.journal_read(999);
    assert!(!due());
    history.journal_read(1);
    assert!(due(), "by bytes");
    history.checkpoint().unwrap();
    assert!(!due());
    apply(10);
    assert!(due(), "by samples");
    history.checkpoint().unwrap();
    assert!(!due());
}

#[test]
fn a_short_disk_takes_the_oldest_months_but_neither_compliance_nor_the_last_two() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::open(folder.path(), HistorySettings::default(), odd()).unwrap();
    let mut sequence = 0;
    // From 2026-07 to 2026-11, two days of each month; point 1 is a compliance point.
    for day in [-120, -90, -60, -30, 0] {
        for i in 0..400 {
            sequence += 1;
            let time = NOVEMBER + day * DAY_MS + DAY_MS + i * 300_000;
            history.apply_samples(Sequence(sequence), &[sample(1, time, i), sample(2, time, i)]);
        }
    }
    history.inner.head().close_windows(|_| true);
    history.checkpoint().unwrap();
    let others = || {
        let mut names: Vec<String> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name.ends_with("-other.db"));
        names.sort();
        names
    };
    let now = UtcMillis(NOVEMBER + 3 * DAY_MS);
    let (july, september) =
        (&["2026-08-other.db", "2026-09-other.db", "2026-10-other.db", "2026-11-other.db"], &["2026-10-other.db", "2026-11-other.db"]);
    assert!(history.relieve(now).unwrap());
    assert_eq!(others(), july);
    assert!(history.relieve(now).unwrap() && history.relieve(now).unwrap());
    // A clock that ran far ahead changes nothing.
    for now in [now, now.plus(80 * 365 * DAY_MS)] {
        assert!(!history.relieve(now).unwrap());
        assert_eq!(others(), september);
    }
    // One that is behind deletes less, never more.
    assert!(!history.relieve(UtcMillis(NOVEMBER - 100 * DAY_MS)).unwrap());
    assert_eq!((all(&history, 1).len(), all(&history, 2).len()), (2_000, 800));
    let stats = history.stats();
    assert_eq!((stats.files_deleted, stats.files_relieved), (3, 3));
}

/// Days of the record, of a compliance point and another, every three hours; names of the files that are left after the
/// night of each of `nights`.
fn left_after(days: impl Iterator<Item = i64>, nights: &[i64]) -> Vec<Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let keep = HistorySettings { retention_months_other: 2, retention_months_compliance: 3, ..HistorySettings::default() };
    let history = History::open(folder.path(), keep, odd()).unwrap();
    for (index, day) in days.enumerate() {
        let times = (0..8).map(|i| NOVEMBER + day * DAY_MS + i * 3 * HOUR_MS);
        let samples: Vec<Sample> = times.flat_map(|time| [sample(1, time, 1), sample(2, time, 2)]).collect();
        history.apply_samples(Sequence(index as u64 + 1), &samples);
    }
    history.inner.head().close_windows(|_| true);
    history.checkpoint().unwrap();
    let mut left = Vec::new();
    for &night in nights {
        while history.maintain(UtcMillis(NOVEMBER + night * DAY_MS)).unwrap() {}
        left.push(history.inner.layout().iter().map(|file| file.key.name()).collect());
    }
    left
}

#[test]
fn a_clock_that_runs_ahead_deletes_nothing() {
    const IN_2099: i64 = 73 * 365;
    // July to November, the same with a day in 2099, and with one in the next month.
    let record = || -120..2;
    let [first] = &left_after(record(), &[-300])[..] else { panic!() };
    assert_eq!(first.len(), 10);
    for strange in [vec![], vec![IN_2099], vec![IN_2099, IN_2099 + 40], vec![30]] {
        let count = strange.len() * 2;
        let nights = left_after(record().chain(strange.clone()), &[-300, IN_2099]);
        let gone: Vec<&String> = nights[0].iter().filter(|name| !nights[1].contains(name)).collect();
        // What the true clock lets go, no more.
        assert_eq!(nights[0].len(), 10 + count, "{strange:?}");
        assert_eq!(gone, ["2026-07-other.db", "2026-07-compliance.db", "2026-08-other.db"], "{strange:?}");
        assert_eq!(left_after(record().chain(strange), &[1])[0], nights[1]);
    }
    // Two days in 2099 count as one month, and only until the clock is right again.
    let longer = || record().chain([IN_2099, IN_2099 + 1]);
    assert_eq!(left_after(longer(), &[IN_2099])[0].len(), 12 - 5);
    assert_eq!(left_after(longer(), &[1])[0].len(), 12 - 3);
}

#[test]
fn samples_from_before_the_clock_was_set_stay() {
    let in_1970 = -56 * 365;
    for at_first in [true, false] {
        let days = in_1970..in_1970 + 3;
        let days: Vec<i64> = if at_first { days.chain(-120..2).collect() } else { (-120..2).chain(days).collect() };
        let left = &left_after(days.into_iter(), &[1])[0];
        assert_eq!(left.iter().filter(|name| name.starts_with("1970-")).count(), 2, "{left:?}");
        assert_eq!(left.len(), 12 - 3, "{left:?}");
    }
}

#[test]
fn a_latest_sample_from_the_future_gives_way() {
    let folder = tempfile::tempdir().unwrap();
    let open = || History::open(folder.path(), HistorySettings::default(), odd()).unwrap();
    let history = open();
    let century = 100 * 365 * DAY_MS;
    history.apply_samples(Sequence(1), &[sample(1, NOVEMBER, 1), sample(2, NOVEMBER, 1)]);
    history.apply_samples(Sequence(2), &[sample(1, NOVEMBER + century, 2), sample(2, NOVEMBER + 300_000, 2)]);
    history.checkpoint().unwrap();
    let history = {
        drop(history);
        open()
    };
    let (version, latest) = history.latest_since(0);
    assert_eq!(latest.iter().map(|one| one.value).collect::<Vec<_>>(), [2, 2]);
    // Five minutes behind are no reason.
    history.apply_samples(Sequence(3), &[sample(1, NOVEMBER + 1, 3), sample(2, NOVEMBER + 1, 3)]);
    assert_eq!(history.latest(PointId(1)), Some(sample(1, NOVEMBER + 1, 3)));
    assert_eq!(history.latest(PointId(2)), Some(sample(2, NOVEMBER + 300_000, 2)));
    assert_eq!(history.latest_since(version).1, [sample(1, NOVEMBER + 1, 3)]);
    history.checkpoint().unwrap();
    drop(history);
    assert_eq!(open().latest(PointId(1)), Some(sample(1, NOVEMBER + 1, 3)));
}

#[test]
fn a_damaged_state_costs_the_damaged_windows_only() {
    const POINTS: u32 = 150;
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    let history = History::open(&whole, HistorySettings::default(), odd()).unwrap();
    for i in 0..100i64 {
        let samples: Vec<Sample> = (0..POINTS).map(|point| sample(point, NOVEMBER + i * 10_000, i * 977 * i64::from(point))).collect();
        history.apply_samples(Sequence(i as u64 + 1), &samples);
    }
    history.checkpoint().unwrap();
    drop(history);
    let size = std::fs::metadata(whole.join("state.db")).unwrap().len() as usize;
    let (mut salvaged, mut most) = (0, 0);
    let seeds = 12;
    for seed in 0..seeds {
        let mut random = fastrand::Rng::with_seed(seed);
        let copy = folder.path().join(format!("{seed}"));
        copy_folder(&whole, &copy);
        let mut bytes = std::fs::read(copy.join("state.db")).unwrap();
        // A whole page is damaged, so that SQLite meets it for certain.
        let start = random.usize(0..size / 8192) * 8192;
        bytes[start..start + 8192].iter_mut().for_each(|byte| *byte ^= 1 << random.u8(0..8));
        std::fs::write(copy.join("state.db"), bytes).unwrap();
        let count = |history: &History| (0..POINTS).filter(|point| all(history, *point).len() == 100).count();
        let history = History::open(&copy, HistorySettings::default(), odd()).unwrap();
        let found = count(&history);
        for point in 0..POINTS {
            assert!(all(&history, point).iter().enumerate().all(|(i, one)| one.value == i as i64 * 977 * i64::from(point)), "seed {seed}");
        }
        most = most.max(found);
        salvaged += u64::from(found > POINTS as usize / 2);
        // What was read is safe at once, before any checkpoint.
        drop(history);
        assert_eq!(count(&History::open(&copy, HistorySettings::default(), odd()).unwrap()), found, "seed {seed}");
    }
    assert!(salvaged * 4 >= seeds * 3 && most > 0, "{salvaged} of {seeds}");
}
