//! Readings -> normaliser -> durable journal -> history, all in this process.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use parkgate_collector::clock::SystemClock;
use parkgate_collector::driver::{Batch, Message};
use parkgate_collector::model::{LinkKey, Origin};

use crate::fixture::{self, Meters};
use crate::process::own_cpu_seconds;
use crate::table::Table;

/// Points of the park.
const POINTS: u32 = 10_000;
/// Readings of each point.
const ROUNDS: i64 = 1_000;
/// Readings in one batch, as a busy driver gathers them.
const BATCH: usize = 2_000;

/// Measures throughput and CPU time per million samples.
pub fn run(table: &mut Table) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let catalogue = fixture::catalogue(POINTS);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let engine = parkgate_gateway::engine::Engine::start(
        directory.path(),
        Arc::clone(&catalogue),
        Default::default(),
        Arc::new(SystemClock::new()),
        &runtime.handle().clone(),
    )?;
    let mut meters = Meters::new(POINTS, true);
    // The generator's own share is measured first and taken off.
    let total = u64::from(POINTS) * ROUNDS as u64;
    let before_generator = own_cpu_seconds();
    let mut readings = Vec::with_capacity(POINTS as usize);
    for round in 0..ROUNDS / 10 {
        readings.clear();
        meters.read(fixture::START.plus(round), &mut readings);
    }
    let generator = (own_cpu_seconds() - before_generator) * 10.0;

    let outlet = engine.outlet();
    let (cpu, start) = (own_cpu_seconds(), Instant::now());
    for round in 0..ROUNDS {
        readings.clear();
        meters.read(fixture::START.plus(round * 10_000), &mut readings);
        for chunk in readings.chunks(BATCH) {
            let message = Message::Batch(Batch {
                link: LinkKey::of("bench"),
                received_time: fixture::START.plus(round * 10_000 + 35),
                readings: chunk.to_vec(),
                origin: Origin::Imported,
                deliveries: Vec::new(),
                rejected: Vec::new(),
                done: None,
            });
            outlet.blocking_send(message).map_err(|_| anyhow::anyhow!("the pipeline ended"))?;
        }
    }
    drop(outlet);
    // Stopping waits until all is durable and in history blocks.
    engine.stop();
    let (seconds, cpu) = (start.elapsed().as_secs_f64(), own_cpu_seconds() - cpu - generator);
    let rate = total as f64 / seconds;
    table.row("readings -> durable journal -> history, samples/s", format!("{rate:.0}"), ">= 1,000,000", Some(rate >= 1e6));
    let per_million = cpu / (total as f64 / 1e6);
    table.row("the same, CPU-seconds per million samples", format!("{per_million:.2}"), "<= 1.0", Some(per_million <= 1.0));
    Ok(())
}
