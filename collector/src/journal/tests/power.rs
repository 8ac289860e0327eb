//! Power cuts: what was acknowledged is there, in order, nothing twice; it always starts.

use super::*;

/// Appends until the power goes, cuts it, opens again, checks; several times on one disk.
fn torment(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let disk = SimDisk::new(1 << 30);
    let mut acknowledged: Vec<(u64, u64)> = Vec::new();
    let mut next_number = 1;
    let mut released = 1;
    for round in 0..4 {
        let journal = Journal::open_on(Arc::new(disk.clone()), Path::new("j"), settings(4096), clock(), metrics())
            .unwrap_or_else(|error| panic!("seed {seed} round {round}: does not start: {error}"));
        check(seed, round, &journal, &acknowledged, released);
        disk.cut_at(random.u64(0..60));
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
                        acknowledged.push((sequence.0, number));
                    }
                }
            }
            if random.u8(0..8) == 0 && !acknowledged.is_empty() {
                released = released.max(acknowledged[random.usize(0..acknowledged.len())].0);
                journal.release(Sequence(released));
            }
        }
        journal.handle.shared.start_close();
        for (number, receipt) in receipts {
            if let Ok(sequence) = receipt.durable_blocking() {
                acknowledged.push((sequence.0, number));
            }
        }
        journal.close();
        disk.power_cut(&mut random);
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

fn check(seed: u64, round: u32, journal: &Journal, acknowledged: &[(u64, u64)], released: u64) {
    let oldest = journal.oldest().0;
    assert!(oldest <= released.max(1), "seed {seed} round {round}: oldest {oldest}, released up to {released} only");
    let (entries, _) = read_all(journal, oldest);
    let mut numbers = std::collections::BTreeSet::new();
    for pair in entries.windows(2) {
        assert!(pair[0].0 < pair[1].0, "seed {seed} round {round}: out of order: {pair:?}");
    }
    for entry in &entries {
        assert!(numbers.insert(entry.1), "seed {seed} round {round}: doubled: {entry:?}");
    }
    let found: std::collections::BTreeSet<_> = entries.iter().copied().collect();
    // Deletions that were not synced may have happened in any order: below `released` anything may be gone.
    for entry in acknowledged.iter().filter(|entry| entry.0 >= released) {
        assert!(found.contains(entry), "seed {seed} round {round}: acknowledged and lost: {entry:?}");
    }
    assert!(journal.durable().0 >= acknowledged.last().map_or(0, |entry| entry.0), "seed {seed} round {round}");
}

#[test]
fn power_cuts_lose_nothing_that_was_acknowledged() {
    for seed in 0..500 {
        torment(seed);
    }
}
