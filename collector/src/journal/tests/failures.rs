//! Disks that fail, lie, dawdle or are full; a crash at every call of a roll and of a release.

use std::time::{Duration, Instant};

use super::*;

fn open(disk: &SimDisk, settings: JournalSettings) -> Journal {
    Journal::open_on(Arc::new(disk.clone()), Path::new("j"), settings, clock(), metrics()).unwrap()
}

fn numbers(journal: &Journal) -> Vec<u64> {
    let (entries, events) = read_all(journal, journal.oldest().0);
    assert!(events.is_empty(), "{events:?}");
    entries.into_iter().map(|(_, number)| number).collect()
}

/// Waits for something that another thread brings about; the time is only there to end a broken test.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_crash_at_every_call_of_rolls_and_releases_loses_nothing() {
    // Small segments: the run below rolls several times and releases twice.
    let run = |disk: &SimDisk, acknowledged: &mut Vec<u64>| {
        let Ok(journal) = Journal::open_on(Arc::new(disk.clone()), Path::new("j"), settings(1024), clock(), metrics()) else { return 0 };
        let mut released = 0;
        for n in 1..=20u64 {
            let receipt = journal.append(&entry(n, 200));
            while !disk.is_cut() && receipt.0.is_empty() {
                std::thread::yield_now();
            }
            if disk.is_cut() {
                journal.handle.shared.start_close();
            }
            if receipt.durable_blocking().is_ok() {
                acknowledged.push(n);
            }
            if n % 8 == 0 && !disk.is_cut() {
                released = n - 2;
                journal.release(Sequence(released));
            }
        }
        journal.close();
        released
    };
    let disk = SimDisk::new(1 << 20);
    run(&disk, &mut Vec::new());
    let operations = disk.operations();
    assert!(operations > 60, "{operations}");
    for operation in 0..operations {
        for seed in 0..4 {
            let disk = SimDisk::new(1 << 20);
            disk.cut_at(operation);
            let mut acknowledged = Vec::new();
            let released = run(&disk, &mut acknowledged);
            disk.power_cut(&mut fastrand::Rng::with_seed(seed));
            let journal = open(&disk, settings(1024));
            let (entries, _) = read_all(&journal, journal.oldest().0);
            for n in acknowledged.iter().filter(|&&n| n >= released) {
                assert!(entries.contains(&(*n, *n)), "call {operation} seed {seed}: {n} lost, {entries:?}");
            }
            assert!(entries.windows(2).all(|pair| pair[0].0 < pair[1].0), "call {operation} seed {seed}");
            append(&journal, 99, 10);
        }
    }
}

#[test]
fn after_a_failed_sync_the_entry_goes_to_a_new_segment_and_survives() {
    for failures in [1, 2, 3, 5] {
        let disk = SimDisk::new(1 << 20);
        let journal = open(&disk, settings(4096));
        append(&journal, 1, 10);
        disk.fail_syncs(failures);
        assert_eq!(append(&journal, 2, 10), Sequence(2), "{failures} failures");
        assert_eq!(append(&journal, 3, 10), Sequence(3));
        assert_eq!(journal.stats().full, None);
        assert_eq!(numbers(&journal), [1, 2, 3]);
        // What the failed sync covered never reached the disk, whatever later syncs of that file said.
        disk.power_cut(&mut fastrand::Rng::with_seed(u64::from(failures)));
        drop(journal);
        assert_eq!(numbers(&open(&disk, settings(4096))), [1, 2, 3]);
    }
}

#[test]
fn what_a_failed_sync_left_in_memory_is_written_again_at_the_next_start() {
    let disk = SimDisk::new(1 << 20);
    let journal = open(&disk, settings(4096));
    append(&journal, 1, 10);
    disk.fail_syncs(u32::MAX);
    let receipt = journal.append(&entry(2, 10));
    until("the journal to stop", || journal.stats().full.is_some());
    disk.process_restart();
    journal.handle.shared.start_close();
    assert!(receipt.durable_blocking().is_err());
    drop(journal);
    disk.fail_syncs(0);
    // The page cache still shows entry 2: the start takes it, so it must be on disk from then on.
    let journal = open(&disk, settings(4096));
    let seen = numbers(&journal);
    assert_eq!(journal.durable().0, *seen.last().unwrap());
    disk.power_cut(&mut fastrand::Rng::with_seed(3));
    drop(journal);
    assert_eq!(numbers(&open(&disk, settings(4096))), seen);
}

#[test]
fn a_disk_that_refuses_holds_the_entries_until_it_takes_them() {
    let disk = SimDisk::new(1 << 20);
    let journal = open(&disk, settings(4096));
    append(&journal, 1, 10);
    disk.fail_syncs(u32::MAX);
    let receipts: Vec<_> = (2..=30).map(|n| journal.append(&entry(n, 100))).collect();
    until("the journal to stop", || journal.stats().full.is_some());
    assert!(matches!(journal.stats().full, Some(AppendError::Io(_))));
    assert_eq!(journal.durable(), Sequence(1));
    disk.fail_syncs(0);
    for receipt in receipts {
        receipt.durable_blocking().unwrap();
    }
    assert_eq!(journal.stats().full, None);
    assert_eq!(numbers(&journal), (1..=30).collect::<Vec<_>>());
}

#[test]
fn closing_while_the_disk_refuses_answers_with_the_reason() {
    let disk = SimDisk::new(1 << 20);
    let journal = open(&disk, settings(4096));
    disk.fail_syncs(u32::MAX);
    let receipt = journal.append(&entry(1, 10));
    journal.close();
    assert!(matches!(receipt.durable_blocking(), Err(AppendError::Io(_))));
}

#[test]
fn a_slow_sync_gathers_what_comes_meanwhile_into_one_write() {
    let disk = SimDisk::new(1 << 26);
    let journal = open(&disk, settings(1 << 20));
    append(&journal, 1, 10);
    disk.delay_syncs(Duration::from_millis(500));
    let before = disk.operations();
    let receipts: Vec<_> = (2..=500).map(|n| journal.append(&entry(n, 10))).collect();
    for receipt in receipts {
        receipt.durable_blocking().unwrap();
    }
    // The first one alone, then the rest (perhaps the thread was late and saw it in three).
    let calls = disk.operations() - before;
    assert!(calls <= 2 * 3 + 3, "{calls} calls");
    disk.delay_syncs(Duration::ZERO);
    assert_eq!(numbers(&journal), (1..=500).collect::<Vec<_>>());
}

#[test]
fn full_by_budget_waits_and_resumes_by_release() {
    let disk = SimDisk::new(1 << 30);
    let journal = open(&disk, JournalSettings { budget_bytes: 8192, ..settings(2048) });
    let receipts: Vec<_> = (1..=60).map(|n| journal.append(&entry(n, 200))).collect();
    until("full", || journal.stats().full.is_some());
    let stats = journal.stats();
    assert!(matches!(&stats.full, Some(AppendError::Full(text)) if text.contains("budget")), "{stats:?}");
    assert!(stats.bytes <= 8192 && stats.durable > Sequence(20) && stats.durable < Sequence(60), "{stats:?}");
    let metrics = &journal.handle.shared.metrics;
    assert_eq!(metrics.journal_full.get(), 1);
    let mut reader = journal.reader(Sequence(1));
    let mut seen = 0;
    while seen < 60 {
        match reader.next().unwrap() {
            Next::Entry(sequence, record) => {
                seen += 1;
                assert_eq!((sequence.0, number(&record)), (seen, seen));
            }
            Next::End => {
                journal.release(reader.position());
                std::thread::yield_now();
            }
            other => panic!("{other:?}"),
        }
    }
    for receipt in receipts {
        receipt.durable_blocking().unwrap();
    }
    assert_eq!(journal.stats().full, None);
    assert_eq!(metrics.journal_full.get(), 0);
}

#[test]
fn full_by_free_space_resumes_when_there_is_space() {
    let disk = SimDisk::new(20_000);
    let journal = open(&disk, JournalSettings { reserve_bytes: 10_000, ..settings(4096) });
    let receipts: Vec<_> = (1..=60).map(|n| journal.append(&entry(n, 200))).collect();
    until("full", || journal.stats().full.is_some());
    assert!(disk.free_bytes(Path::new("j")).unwrap() >= 10_000, "the reserve is kept");
    disk.set_capacity(1 << 20);
    for receipt in receipts {
        receipt.durable_blocking().unwrap();
    }
    assert_eq!(numbers(&journal), (1..=60).collect::<Vec<_>>());
}

#[test]
fn starts_on_a_full_disk() {
    let disk = SimDisk::new(100);
    let journal = open(&disk, settings(4096));
    let receipt = journal.append(&entry(1, 10));
    until("full", || journal.stats().full.is_some());
    disk.set_capacity(1 << 20);
    assert_eq!(receipt.durable_blocking().unwrap(), Sequence(1));
}

#[test]
fn a_record_longer_than_a_segment_gets_one_of_its_own_and_a_longer_one_is_refused() {
    let disk = SimDisk::new(1 << 30);
    let journal = open(&disk, settings(2048));
    append(&journal, 1, 10);
    append(&journal, 2, 100_000);
    append(&journal, 3, 10);
    assert_eq!(numbers(&journal), [1, 2, 3]);
    let refused = journal.append(&entry(4, frame::MAX_BODY_BYTES)).durable_blocking();
    assert!(matches!(refused, Err(AppendError::TooLarge { .. })), "{refused:?}");
    append(&journal, 5, 10);
    drop(journal);
    assert_eq!(numbers(&open(&disk, settings(2048))), [1, 2, 3, 5]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_that_waits_for_room_is_never_refused() {
    let disk = SimDisk::new(1 << 30);
    let journal = open(&disk, settings(1 << 24));
    append_async(&journal, 0).await.unwrap();
    disk.fail_syncs(u32::MAX);
    // Fill up to the bound while the disk refuses.
    let mut receipts = Vec::new();
    while tokio::time::timeout(Duration::from_millis(20), journal.ready()).await.is_ok() {
        receipts.push(journal.append(&entry(receipts.len() as u64, 1 << 20)));
        assert!(receipts.len() < 20, "no bound");
    }
    assert!(matches!(journal.append(&entry(0, 1)).durable().await, Err(AppendError::Busy | AppendError::Io(_))));
    disk.fail_syncs(0);
    journal.ready().await;
    append_async(&journal, 1).await.unwrap();
    for receipt in receipts {
        receipt.durable().await.unwrap();
    }
}

async fn append_async(journal: &Journal, n: u64) -> Result<Sequence, AppendError> {
    journal.ready().await;
    journal.append(&entry(n, 10)).durable().await
}

/// Entries 1 to 9 are durable. The sync of 10 to 15 fails, the journal rolls, and everything stops as the new segment is
/// written: those frames lie behind the end of the first segment and, when `again` is set, in the second one too.
fn stale_frames_behind_a_segment(again: bool) -> SimDisk {
    let disk = SimDisk::new(1 << 20);
    let journal = open(&disk, settings(4096));
    (1..=8).for_each(|n| assert_eq!(append(&journal, n, 20), Sequence(n)));
    // While this is held the writer cannot go on behind the sync of 9, so 10 to 15 go out in one write.
    let held = journal.handle.shared.segments();
    let before = disk.operations();
    let ninth = journal.append(&entry(9, 20));
    until("the sync of 9", || disk.operations() == before + 2);
    let receipts: Vec<_> = (10..=15).map(|n| journal.append(&entry(n, 20))).collect();
    disk.fail_syncs(1);
    // Write and sync of the first segment; create, allocate, header, sync, rename, directory of the second; its write.
    disk.cut_at(if again { 9 } else { 8 });
    drop(held);
    assert_eq!(ninth.durable_blocking(), Ok(Sequence(9)));
    until("the end", || disk.is_cut());
    journal.handle.shared.start_close();
    for receipt in receipts {
        assert!(receipt.durable_blocking().is_err());
    }
    drop(journal);
    assert_eq!(disk.paths().iter().filter(|path| path.extension().is_some_and(|ending| ending == "seg")).count(), 2);
    disk.process_restart();
    disk
}

/// The start after that knows entries up to `last`; whatever is appended from there on is what every reader finds.
fn new_entries_are_read(disk: &SimDisk, last: u64) {
    for start in 0..2 {
        let journal = open(disk, settings(4096));
        if start == 0 {
            assert_eq!(journal.durable(), Sequence(last));
            (last + 1..=20).for_each(|n| assert_eq!(append(&journal, 1000 + n, 20), Sequence(n)));
        }
        let expected: Vec<_> = (1..=20).map(|n| (n, if n > last { 1000 + n } else { n })).collect();
        for _ in 0..2 {
            let (entries, events) = read_all(&journal, 1);
            assert!(events.is_empty(), "{events:?}");
            assert_eq!(entries, expected);
        }
        for from in 1..=20 {
            assert_eq!(read_all(&journal, from).0, expected[usize::try_from(from).unwrap() - 1..]);
        }
    }
}

#[test]
fn frames_that_a_failed_sync_left_behind_do_not_hide_later_entries() {
    // The new segment is there and holds nothing.
    let disk = stale_frames_behind_a_segment(false);
    let second = segment_of(&disk);
    disk.damage(&second, |bytes| bytes[frame::HEADER_BYTES..].fill(0));
    new_entries_are_read(&disk, 9);
}

#[test]
fn frames_that_a_failed_sync_left_behind_do_not_hide_entries_behind_a_torn_write() {
    // The new segment holds 10 to 12, the write is torn in 13.
    let disk = stale_frames_behind_a_segment(true);
    let second = segment_of(&disk);
    disk.damage(&second, |bytes| {
        let frames = bytes[frame::HEADER_BYTES..].iter().rposition(|&byte| byte != 0).unwrap() + 1;
        let each = frames.div_ceil(8) * 8 / 6;
        bytes[frame::HEADER_BYTES + 3 * each + 8..].fill(0);
    });
    new_entries_are_read(&disk, 12);
}

fn segment_of(disk: &SimDisk) -> std::path::PathBuf {
    disk.paths().into_iter().rfind(|path| path.extension().is_some_and(|ending| ending == "seg")).unwrap()
}
