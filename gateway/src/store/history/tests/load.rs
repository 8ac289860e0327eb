//! Meter-like load: how small blocks are, and (ignored, in release) how fast history is.
#![allow(clippy::print_stdout, reason = "the figures are what the ignored test is for")]

use std::time::{Duration, Instant};

use super::*;
use crate::store::history::month::DAY_MS;

/// 30 % counters with 2 decimals, 50 % gauges that walk with 1 to 3 decimals, 20 % states; half of the points stamp
/// their values with 0-19 ms of jitter; all are received some milliseconds later.
pub(super) struct Park {
    random: fastrand::Rng,
    values: Vec<i64>,
}

impl Park {
    pub(super) fn new(points: u32) -> Self {
        let mut random = fastrand::Rng::with_seed(7);
        let values = (0..points).map(|_| random.i64(0..1_000_000)).collect();
        Self { random, values }
    }

    /// The samples of all points at one time of the clock.
    pub(super) fn at(&mut self, time: i64) -> Vec<Sample> {
        let random = &mut self.random;
        let one = |(index, value): (usize, &mut i64)| {
            match index % 10 {
                0..3 => *value += random.i64(0..40),
                3..8 => {
                    let walk = [3, 12, 60][index % 3];
                    *value += random.i64(-walk..=walk);
                }
                _ => {
                    if random.u16(0..500) == 0 {
                        *value = random.i64(0..4);
                    }
                }
            }
            let jitter = if index % 2 == 0 { random.i64(0..20) } else { 0 };
            let mut one = sample(index as u32 + 1, time + jitter, *value);
            one.source_time = Some(one.record_time);
            one.received_time = one.record_time.plus(random.i64(2..10));
            one
        };
        self.values.iter_mut().enumerate().map(one).collect()
    }
}

#[test]
fn meter_like_data_takes_at_most_2_3_bytes_a_sample() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::open(folder.path(), HistorySettings::default(), odd()).unwrap();
    let mut park = Park::new(60);
    let cycles = 24 * 360;
    for cycle in 0..cycles {
        history.apply_samples(Sequence(cycle as u64 + 1), &park.at(NOVEMBER + cycle * 10_000));
        if cycle % 360 == 359 {
            history.checkpoint().unwrap();
        }
    }
    let stats = history.stats();
    assert_eq!(stats.block_samples, 60 * cycles as u64);
    let rows = stats.block_bytes as f64 / stats.block_samples as f64;
    let files: u64 = history
        .inner
        .layout()
        .iter()
        .map(|file| {
            let connection = rusqlite::Connection::open(history.inner.files.path(file.key)).unwrap();
            connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
            history.inner.files.bytes(file.key)
        })
        .sum();
    let files = files as f64 / stats.block_samples as f64;
    assert!(rows <= 2.3 && files <= 2.3, "bytes per sample: rows {rows:.3}, files {files:.3}");
}

/// CPU time of this thread; all work of history is done on the caller's.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn resident_mb() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

fn timed<T>(name: &str, work: impl Fn() -> T) -> T {
    let mut times = Vec::new();
    let mut result = None;
    for _ in 0..7 {
        let start = Instant::now();
        result = Some(work());
        times.push(start.elapsed());
    }
    times.sort_unstable();
    println!("{name}: {:.3} ms (median of 7)", times[3].as_secs_f64() * 1000.0);
    result.unwrap()
}

/// `cargo test --release -p parkgate-gateway --features demo --lib store::history::tests::load -- --ignored --nocapture`
#[test]
#[ignore = "takes minutes; run it in release for the figures"]
fn a_day_of_ten_thousand_points() {
    let hours: i64 = std::env::var("PARKGATE_BENCH_HOURS").ok().and_then(|text| text.parse().ok()).unwrap_or(24);
    let folder = tempfile::tempdir().unwrap();
    let open = || History::open(folder.path(), HistorySettings::default(), odd()).unwrap();
    let history = open();
    let mut park = Park::new(10_000);
    let mut sequence = 0;
    // One point with a month of history before.
    for cycle in 0..30 * 8640 {
        let mut one = sample(10_001, NOVEMBER + cycle * 10_000, cycle * 3 + cycle % 7);
        one.received_time = one.record_time.plus(3 + cycle % 5);
        sequence += 1;
        history.apply_samples(Sequence(sequence), &[one]);
    }
    history.checkpoint().unwrap();
    let mut applying = Duration::ZERO;
    let mut checkpoints = Duration::ZERO;
    let mut longest = Duration::ZERO;
    let mut generating = Duration::ZERO;
    let started = cpu();
    let before = history.stats();
    for cycle in 0..hours * 360 {
        let start = cpu();
        let samples = park.at(NOVEMBER + 30 * DAY_MS - DAY_MS + cycle * 10_000);
        generating += cpu() - start;
        for batch in samples.chunks(1000) {
            sequence += 1;
            let start = cpu();
            history.apply_samples(Sequence(sequence), batch);
            applying += cpu() - start;
        }
        let due = history.checkpoint_due(Now { utc: UtcMillis(0), monotonic_ms: 0 });
        if due {
            let start = Instant::now();
            history.checkpoint().unwrap();
            checkpoints += start.elapsed();
            longest = longest.max(start.elapsed());
        }
    }
    let used = cpu() - started - generating;
    let stats = history.stats();
    let millions = (stats.samples_applied - before.samples_applied) as f64 / 1e6;
    println!(
        "{millions:.1} M samples: apply {:.1} M/CPU-s; checkpoints {} in {:.2} s, longest {:.2} s",
        millions / applying.as_secs_f64(),
        stats.checkpoints,
        checkpoints.as_secs_f64(),
        longest.as_secs_f64()
    );
    println!(
        "{:.3} CPU-s per million samples; peak RSS {} MB; head {:.1} MB",
        used.as_secs_f64() / millions,
        resident_mb(),
        stats.head_bytes as f64 / 1e6
    );
    println!(
        "rows {:.3} B/sample; {} blocks",
        (stats.block_bytes - before.block_bytes) as f64 / (stats.block_samples - before.block_samples) as f64,
        stats.blocks
    );
    assert_eq!(timed("last value of 10,000 points", || history.latest_since(0).1.len()), 10_001);
    let day = (UtcMillis(NOVEMBER + 10 * DAY_MS), UtcMillis(NOVEMBER + 11 * DAY_MS));
    assert_eq!(timed("24 h raw of a point", || history.scan(PointId(10_001), day.0, day.1, usize::MAX).unwrap().len()), 8640);
    let edges: Vec<UtcMillis> = (0..=720).map(|hour| UtcMillis(NOVEMBER + hour * 3_600_000)).collect();
    assert_eq!(
        timed("hourly means of 30 days", || history.buckets(PointId(10_001), &edges).unwrap().iter().map(|one| one.count).sum::<u64>()),
        30 * 8640
    );
    let day = (UtcMillis(NOVEMBER + 29 * DAY_MS), UtcMillis(NOVEMBER + 30 * DAY_MS));
    timed("24 h raw of a busy point", || history.scan(PointId(77), day.0, day.1, usize::MAX).unwrap().len());
    drop(history);
    timed("open", || open().position());
}
