//! Readings -> normaliser -> durable journal -> history, all in this process.

use std::time::Instant;

use anyhow::{Result, ensure};

use crate::fixture::{self, Meters};
use crate::process::{median, own_cpu_seconds, quick};
use crate::table::Table;

/// Points of the park.
const POINTS: u32 = 10_000;
/// Readings of each point in one run.
const ROUNDS: i64 = 1_000;
/// Runs; the median counts.
const RUNS: usize = 3;

/// Measures throughput and CPU time per million samples.
pub fn run(table: &mut Table) -> Result<()> {
    let (rounds, runs) = if quick() { (ROUNDS / 5, 1) } else { (ROUNDS, RUNS) };
    let generator = generator_cpu_seconds(rounds);
    let (mut rates, mut costs) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let (seconds, cpu) = once(rounds)?;
        let millions = f64::from(POINTS) * rounds as f64 / 1e6;
        rates.push(millions * 1e6 / seconds);
        costs.push((cpu - generator) / millions);
    }
    let (rate, cost) = (median(rates), median(costs));
    let what = format!("readings -> durable journal -> history in process, median of {runs}");
    table.row(&format!("{what}, samples/s"), format!("{rate:.0}"), ">= 1,000,000", Some(rate >= 1e6));
    table.row("the same, CPU-seconds per million samples", format!("{cost:.2}"), "<= 1.0", Some(cost <= 1.0));
    Ok(())
}

/// The generator's own share, which is taken off.
fn generator_cpu_seconds(rounds: i64) -> f64 {
    let mut meters = Meters::new(POINTS, true);
    let mut readings = Vec::with_capacity(POINTS as usize);
    let before = own_cpu_seconds();
    for round in 0..rounds {
        readings.clear();
        meters.read(fixture::START.plus(round * 10_000), &mut readings);
    }
    own_cpu_seconds() - before
}

/// Seconds and CPU-seconds until everything is in synced blocks or pieces of history.
fn once(rounds: i64) -> Result<(f64, f64)> {
    let directory = tempfile::tempdir()?;
    let runtime = fixture::runtime()?;
    let (_lock, engine) = fixture::engine(directory.path(), &fixture::catalogue(POINTS), Default::default(), &runtime)?;
    let mut meters = Meters::new(POINTS, true);
    let mut readings = Vec::with_capacity(POINTS as usize);
    let (start, cpu) = (Instant::now(), own_cpu_seconds());
    let outlet = engine.outlet();
    for round in 0..rounds {
        readings.clear();
        let time = fixture::START.plus(round * 10_000);
        meters.read(time, &mut readings);
        fixture::send(&outlet, time.plus(35), &readings)?;
    }
    drop(outlet);
    let history = engine.history().clone();
    // Stopping waits until all is durable, in history, and the last checkpoint is made.
    let late = engine.stop();
    let result = (start.elapsed().as_secs_f64(), own_cpu_seconds() - cpu);
    let applied = history.stats().samples_applied;
    ensure!(late.is_empty() && applied == u64::from(POINTS) * rounds as u64, "late: {late:?}; {applied} samples in history");
    Ok(result)
}
