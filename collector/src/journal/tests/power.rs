//! Power cuts: what was acknowledged is there, in order, nothing twice; it always starts.

use std::collections::BTreeSet;

use super::*;

/// Appends until the power goes or the process dies, with syncs failing now and then; opens again, checks; several times
/// on one disk.
fn torment(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let disk = SimDisk::new(1 << 30);
    let mut known = BTreeSet::new();
    let mut next_number = 1;
    let mut released = 1;
    for round in 0..4 {
        disk.fail_syncs(0);
        let journal = Journal::open_on(Arc::new(disk.clone()), Path::new("j"), settings(4096), clock(), metrics())
            .unwrap_or_else(|error| panic!("seed {seed} round {round}: does not start: {error}"));
        check(seed, round, &journal, &mut known, released);
        disk.cut_at(random.u64(0..60));
        if random.u8(0..6) == 0 {
            disk.fail_syncs(random.u32(1..4));
        }
        let mut receipts = Vec::new();
        while !disk.is_cut() {
            for _ in 0..random.u64(1..6) {
                receipts.push((next_number, journal.append(&entry(next_number, random.usize(0..900)))));
                next_number += 1;
            }
            if random.u8(0..4) == 0 {
                // Wait for all, as a slow producer does.
                for (number, receipt) in receipts.drain(..) {
                    if let Ok(sequence) = wait(&disk, receipt) {
                        known.insert((sequence.0, number));
                    }
                }
            }
            if random.u8(0..8) == 0 && !known.is_empty() {
                released = released.max(known.iter().nth(random.usize(0..known.len())).unwrap().0);
                journal.release(Sequence(released));
            }
        }
        journal.handle.shared.start_close();
        for (number, receipt) in receipts {
            if let Ok(sequence) = receipt.durable_blocking() {
                known.insert((sequence.0, number));
            }
        }
        journal.close();
        if random.u8(0..4) == 0 {
            disk.process_restart();
        } else {
            disk.power_cut(&mut random);
        }
    }
}

/// The receipt's answer, or none once the power is gone.
fn wait(disk: &SimDisk, mut receipt: Receipt) -> Result<Sequence, AppendError> {
    loop {
        match receipt.0.try_recv() {
            Ok(answer) => return answer,
            Err(oneshot::error::TryRecvError::Empty) if !disk.is_cut() => std::thread::yield_now(),
            Err(_) => return receipt.0.try_recv().unwrap_or(Err(AppendError::Closed)),
        }
    }
}

/// All that is known is there, in order and once; what is there now is known from here on.
fn check(seed: u64, round: u32, journal: &Journal, known: &mut BTreeSet<(u64, u64)>, released: u64) {
    let oldest = journal.oldest().0;
    assert!(oldest <= released.max(1), "seed {seed} round {round}: oldest {oldest}, released up to {released} only");
    let (entries, _) = read_all(journal, oldest);
    for pair in entries.windows(2) {
        assert!(pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1, "seed {seed} round {round}: out of order or doubled: {pair:?}");
    }
    let found: BTreeSet<_> = entries.iter().copied().collect();
    // Deletions that were not synced may have happened in any order: below `released` anything may be gone.
    for entry in known.iter().filter(|entry| entry.0 >= released) {
        assert!(found.contains(entry), "seed {seed} round {round}: known and lost: {entry:?}");
    }
    assert!(journal.durable().0 >= known.last().map_or(0, |entry| entry.0), "seed {seed} round {round}");
    known.extend(entries);
}

#[test]
fn power_cuts_lose_nothing_that_was_acknowledged() {
    for seed in 0..500 {
        torment(seed);
    }
}
