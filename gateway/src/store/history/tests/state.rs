//! Damage of `state.db`, found at start or while running, and crashes while it is made anew.

use std::fs;
use std::path::Path;

use super::damage::{all, copy_folder};
use super::*;

const POINTS: u32 = 60;
/// Bytes of a page of `state.db`.
const PAGE: usize = 8192;

/// Ten seconds apart; windows of so few stay open.
fn entry(index: i64) -> Vec<Sample> {
    (0..POINTS).map(|point| sample(point, NOVEMBER + index * 10_000, index * 977 * i64::from(point))).collect()
}

fn open(folder: &Path) -> History {
    History::open(folder, HistorySettings::default(), odd()).unwrap()
}

/// A hook that copies the folder before each step and keeps the step's name; and the copies so far.
fn copying(live: &Path, copies: &Path) -> (StepHook, Arc<Mutex<Vec<&'static str>>>) {
    let taken = Arc::new(Mutex::new(Vec::new()));
    let hook: StepHook = {
        let (live, copies, taken) = (live.to_owned(), copies.to_owned(), Arc::clone(&taken));
        Arc::new(move |name| {
            let mut taken = taken.lock().unwrap();
            copy_folder(&live, &copies.join(taken.len().to_string()));
            taken.push(name);
            Ok(())
        })
    };
    (hook, taken)
}

/// Points of which every one of the first `entries` entries is there; no sample may be another than was written.
fn whole_points(history: &History, entries: i64) -> usize {
    let whole = |point: u32| {
        let found = all(history, point);
        assert!(found.iter().all(|one| entry((one.record_time.0 - NOVEMBER) / 10_000).contains(one)), "point {point}");
        found.len() as i64 == entries
    };
    (0..POINTS).filter(|point| whole(*point)).count()
}

/// Writes what the log has into `state.db`, so that damage of the file is not covered by its log.
fn fold_log(folder: &Path) {
    let connection = rusqlite::Connection::open(folder.join("state.db")).unwrap();
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
}

#[test]
fn a_crash_in_the_middle_of_a_salvage_keeps_what_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    let history = open(&whole);
    for index in 0..100 {
        history.apply_samples(Sequence(index as u64 + 1), &entry(index));
    }
    history.checkpoint().unwrap();
    drop(history);
    let good = fs::read(whole.join("state.db")).unwrap();
    let mut salvaged = 0;
    for page in [3, 5, good.len() / PAGE - 2] {
        let damaged = folder.path().join(format!("damaged-{page}"));
        copy_folder(&whole, &damaged);
        let mut bytes = good.clone();
        bytes[page * PAGE..(page + 1) * PAGE].fill(0x5a);
        fs::write(damaged.join("state.db"), bytes).unwrap();
        let live = folder.path().join(format!("live-{page}"));
        copy_folder(&damaged, &live);
        let copies = folder.path().join(format!("copies-{page}"));
        let (hook, taken) = copying(&live, &copies);
        let history = History::open_with(&live, HistorySettings::default(), odd(), Some(hook)).unwrap();
        let found = whole_points(&history, 100);
        salvaged += usize::from(found > 0 && found < POINTS as usize);
        let steps = taken.lock().unwrap().clone();
        assert_eq!(steps, ["state made", "state aside", "state rename", "state open"], "page {page}");
        for (index, step) in steps.iter().enumerate() {
            let copy = copies.join(index.to_string());
            for _ in 0..2 {
                assert_eq!(whole_points(&open(&copy), 100), found, "page {page}, crash before {step}");
            }
            let names: Vec<String> = fs::read_dir(&copy).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            assert!(names.iter().any(|name| name.contains(".damaged.")), "kept for a person: {names:?}");
            assert!(!names.iter().any(|name| name.contains(".part") || name.contains(".new")), "{names:?}");
            // An error at the step instead of a crash: the next start goes on in the same folder.
            let again = folder.path().join(format!("again-{page}-{index}"));
            copy_folder(&damaged, &again);
            let failing: StepHook = {
                let step = *step;
                Arc::new(move |name| if name == step { Err(crash(name)) } else { Ok(()) })
            };
            History::open_with(&again, HistorySettings::default(), odd(), Some(failing)).unwrap_err();
            assert_eq!(whole_points(&open(&again), 100), found, "page {page}, error before {step}");
        }
    }
    assert!(salvaged > 0, "no page that costs some points and leaves others");
}

type Damage = fn(&Path);

#[test]
fn a_state_that_is_damaged_while_running_is_made_anew_from_memory() {
    let damages: [(&str, Damage); 4] = [
        ("overwritten", |path| {
            let length = fs::metadata(path).unwrap().len() as usize;
            fs::write(path, vec![0x5a; length]).unwrap();
        }),
        ("all but the first page overwritten", |path| {
            let mut bytes = fs::read(path).unwrap();
            bytes[PAGE..].fill(0x5a);
            fs::write(path, bytes).unwrap();
        }),
        ("emptied", |path| fs::write(path, []).unwrap()),
        ("deleted", |path| {
            fs::remove_file(path).unwrap();
            for end in ["-wal", "-shm"] {
                let _ = fs::remove_file(path.with_extension(format!("db{end}")));
            }
        }),
    ];
    for (how, damage) in damages {
        for at_night in [false, true] {
            let context = format!("{how}, found {}", if at_night { "at night" } else { "by a checkpoint" });
            let folder = tempfile::tempdir().unwrap();
            let (live, copies) = (folder.path().join("live"), folder.path().join("copies"));
            let (hook, taken) = copying(&live, &copies);
            let history = History::open_with(&live, HistorySettings::default(), odd(), Some(hook)).unwrap();
            for index in 0..50 {
                history.apply_samples(Sequence(index as u64 + 1), &entry(index));
            }
            assert_eq!(history.checkpoint().unwrap(), Sequence(50), "from here on the journal has the first 50 no more");
            for index in 50..60 {
                history.apply_samples(Sequence(index as u64 + 1), &entry(index));
            }
            fold_log(&live);
            damage(&live.join("state.db"));
            let before = taken.lock().unwrap().len();
            if at_night {
                while history.maintain(UtcMillis(NOVEMBER)).unwrap() {}
            }
            assert_eq!(history.checkpoint().unwrap(), Sequence(60), "{context}");
            assert_eq!(history.stats().damaged, 1, "{context}");
            let steps = taken.lock().unwrap().clone();
            let whole = before + steps[before..].iter().position(|step| *step == "state aside").expect("a new file was made");
            assert!(steps[whole..].contains(&"state rename") && steps[whole..].contains(&"head"), "{context}: {steps:?}");
            for (index, step) in steps.iter().enumerate().skip(before) {
                // Before the new file is whole, a crash leaves what can be read of the damaged one; it starts in any case.
                let after = open(&copies.join(index.to_string()));
                if index >= whole {
                    assert_eq!(after.position(), Sequence(60), "{context}, crash before {step}");
                    assert_eq!(whole_points(&after, 60), POINTS as usize, "{context}, crash before {step}");
                }
            }
            // It goes on as ever: pieces are added to the new file.
            for index in 60..70 {
                history.apply_samples(Sequence(index as u64 + 1), &entry(index));
            }
            history.checkpoint().unwrap();
            assert_eq!(history.stats().damaged, 1, "{context}");
            drop(history);
            let history = open(&live);
            assert_eq!((history.position(), history.stats().damaged), (Sequence(70), 0), "{context}");
            assert_eq!(whole_points(&history, 70), POINTS as usize, "{context}");
        }
    }
}

#[test]
fn an_error_while_a_new_state_is_made_is_made_good_by_the_next_checkpoint() {
    for failing in ["month commit", "state", "state made", "state aside", "state rename", "state open", "head"] {
        let folder = tempfile::tempdir().unwrap();
        let broken = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let hook: StepHook = {
            let broken = Arc::clone(&broken);
            Arc::new(move |name| if name == failing && broken.load(Ordering::SeqCst) { Err(crash(name)) } else { Ok(()) })
        };
        let history = History::open_with(folder.path(), HistorySettings::default(), odd(), Some(hook)).unwrap();
        for index in 0..50 {
            history.apply_samples(Sequence(index as u64 + 1), &entry(index));
        }
        history.checkpoint().unwrap();
        // Blocks as well, so that month files are ahead of the state.
        history.inner.head().close_windows(|window| window.point.0 < 20);
        for index in 50..60 {
            history.apply_samples(Sequence(index as u64 + 1), &entry(index));
        }
        fs::remove_file(folder.path().join("state.db")).unwrap();
        broken.store(true, Ordering::SeqCst);
        history.checkpoint().unwrap_err();
        assert_eq!(whole_points(&history, 60), POINTS as usize, "{failing}");
        // Once the new file is whole, the next attempt finds that it has nothing left to do.
        assert_eq!(history.checkpoint().is_err(), ["month commit", "state", "state made"].contains(&failing), "{failing}");
        assert_eq!(whole_points(&history, 60), POINTS as usize, "{failing}");
        broken.store(false, Ordering::SeqCst);
        assert_eq!(history.checkpoint().unwrap(), Sequence(60), "{failing}");
        assert_eq!(whole_points(&history, 60), POINTS as usize, "{failing}");
        drop(history);
        let history = open(folder.path());
        assert_eq!((history.position(), history.stats().damaged), (Sequence(60), 0), "{failing}");
        assert_eq!(whole_points(&history, 60), POINTS as usize, "{failing}");
    }
}

#[test]
fn a_damaged_row_is_counted_at_one_start_and_gone_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let history = open(folder.path());
    for index in 0..50 {
        history.apply_samples(Sequence(index as u64 + 1), &entry(index));
    }
    history.checkpoint().unwrap();
    drop(history);
    let connection = rusqlite::Connection::open(folder.path().join("state.db")).unwrap();
    assert_eq!(connection.execute("UPDATE piece SET data = zeroblob(length(data)) WHERE point = 7", []).unwrap(), 1);
    drop(connection);
    for (damaged, left) in [(1, POINTS as usize - 1), (0, POINTS as usize - 1)] {
        let history = open(folder.path());
        assert_eq!((history.stats().damaged, whole_points(&history, 50)), (damaged, left));
        history.checkpoint().unwrap();
    }
}

#[test]
fn an_emptied_state_takes_no_blocks_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let history = open(folder.path());
    for index in 0..400 {
        history.apply_samples(Sequence(index as u64 + 1), &entry(index));
    }
    history.checkpoint().unwrap();
    drop(history);
    fs::write(folder.path().join("state.db"), []).unwrap();
    let history = open(folder.path());
    // The blocks; what was in open windows is gone with the file, and comes again as far as the journal has it.
    assert_eq!(all(&history, 1).len(), 360);
    assert_eq!((history.position(), history.stats().damaged), (Sequence(0), 1));
    for index in 0..400 {
        history.apply_samples(Sequence(index as u64 + 1), &entry(index));
    }
    assert_eq!(whole_points(&history, 400), POINTS as usize);
}
