//! A full disk: meters wait, the gateway stays up and says so, and goes on by itself when there is room. Nothing that was
//! acknowledged is lost, nothing comes twice.
//!
//! Needs a file system of its own, small: a tmpfs, which only root may mount. Without that it is skipped, with a word.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use parkgate_collector::sim::mqtt::Publisher;
use parkgate_tests::gateway::Gateway;
use parkgate_tests::mosquitto::{Mosquitto, Options};
use parkgate_tests::numbered::{self, Meters};
use parkgate_tests::small_disk::SmallDisk;
use parkgate_tests::{Stopwatch, now_ms, random, wait_for};

/// Size of the disk: room for a few segments, facts, a month of history and the ring of rejects.
const DISK_MEGABYTES: u64 = 24;
/// Messages of one value before the disk is full, and while it is.
const MESSAGES: u64 = 5_000;
/// Messages of many values: more than the segment that is open can take, of random numbers so that none is small.
const BULK_MESSAGES: u64 = 20;
const BULK_VALUES: u64 = 10_000;
/// The device that sends them.
const BULK: &str = r#"
[[device]]
id = "bulk"
link = "broker"
enterprise = "acme"
[[device.topic]]
filter = "meters/bulk"
records = "r"
time = "ts"
[[device.point]]
id = "number"
medium = "power"
kind = "gauge"
unit = "1"
decimals = 0
path = "n"
"#;
/// Longest until the gateway says that it is full, and until it goes on.
const FULL_LIMIT: Duration = Duration::from_secs(30);
const RESUME_LIMIT: Duration = Duration::from_secs(10);
/// Longest that the messages may take to get into the history.
const DRAIN_LIMIT: Duration = Duration::from_secs(60);
const SMALL: &str = "[gateway.journal]\nsegment_megabytes = 1\nbudget_megabytes = 8\nreserve_megabytes = 1\n\
                     [gateway.history]\ncheckpoint_seconds = 1\n[gateway.rejects]\nring_megabytes = 8\n";

#[test]
fn a_full_disk_makes_meters_wait_and_loses_nothing() -> Result<()> {
    let _stopwatch = Stopwatch::start("disk_full");
    let disk = match SmallDisk::mount(DISK_MEGABYTES)? {
        Ok(disk) => disk,
        Err(why) => {
            println!("SKIPPED, {why}");
            return Ok(());
        }
    };
    let broker = Mosquitto::start(&Options::default())?;
    let mut gateway = Gateway::prepare(Some(&disk.path().join("data")))?;
    gateway.configure(&format!("{}\n{BULK}\n{SMALL}", numbered::config(broker.port())))?;
    gateway.restart()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let _guard = runtime.enter();
    let mut bulk = Bulk { random: random()?, publisher: broker.publisher("bulk"), sent: 0, start_ms: now_ms() - 3_600_000 };
    let mut meters = Meters::open(&runtime, &broker, &gateway)?;
    runtime.block_on(meters.publish(MESSAGES))?;
    numbered::each_once(&gateway, meters.sent(), DRAIN_LIMIT)?;

    let ballast = disk.fill()?;
    runtime.block_on(bulk.publish())?;
    runtime.block_on(meters.publish(MESSAGES))?;
    let reason = wait_for("full journal", FULL_LIMIT, || {
        let (status, text) = gateway.get_text("/readyz")?;
        Ok(text.lines().find(|line| status == 503 && line.contains("journal failed")).map(str::to_owned))
    })?;
    ensure!(reason.contains("free disk space"), "{reason}");
    ensure!(gateway.get_text("/metrics")?.1.lines().any(|line| line == "parkgate_journal_full 1"), "no metric tells it");
    // What is durable now is all that was acknowledged: killed here, it comes back with at least that.
    let sent = meters.sent();
    let durable = numbered::recorded(&gateway, sent)?.0.len();
    ensure!(u64::try_from(durable)? < sent, "all of {sent} durable: the disk was never full");
    println!("full with {durable} of {sent} durable: {reason}");
    std::thread::sleep(Duration::from_secs(2));
    ensure!(gateway.ended()?.is_none() && gateway.get_text("/livez")?.0 == 200, "it did not stay up");

    std::fs::remove_file(&ballast)?;
    let start = Instant::now();
    wait_for("progress", RESUME_LIMIT, || Ok((numbered::recorded(&gateway, sent)?.0.len() > durable).then_some(())))?;
    println!("went on {} ms after there was room", start.elapsed().as_millis());
    numbered::each_once(&gateway, sent, DRAIN_LIMIT)?;
    bulk.all_once(&gateway)?;
    wait_for("ready", RESUME_LIMIT, || Ok((gateway.get_text("/readyz")?.0 == 200).then_some(())))?;

    // Once more, killed while full: what was acknowledged before the kill is not sent again by the broker.
    let ballast = disk.fill()?;
    runtime.block_on(bulk.publish())?;
    runtime.block_on(meters.publish(MESSAGES))?;
    wait_for("full journal", FULL_LIMIT, || Ok((gateway.get_text("/readyz")?.0 == 503).then_some(())))?;
    gateway.kill_9()?;
    std::fs::remove_file(&ballast)?;
    gateway.restart()?;
    numbered::each_once(&gateway, meters.sent(), DRAIN_LIMIT)?;
    bulk.all_once(&gateway)?;
    ensure!(gateway.stop()?.success(), "did not stop cleanly");
    gateway.restart()?;
    numbered::each_once(&gateway, meters.sent(), DRAIN_LIMIT)?;
    bulk.all_once(&gateway)?;
    gateway.stop()?;
    Ok(())
}

/// A device that sends many values at a time.
struct Bulk {
    random: fastrand::Rng,
    publisher: Publisher,
    /// Values sent so far; each has its number of milliseconds after `start_ms` as its time.
    sent: u64,
    start_ms: i64,
}

impl Bulk {
    async fn publish(&mut self) -> Result<()> {
        for _ in 0..BULK_MESSAGES {
            let mut payload = "{\"r\":[".to_owned();
            for _ in 0..BULK_VALUES {
                self.sent += 1;
                let comma = if payload.ends_with('[') { "" } else { "," };
                write!(payload, "{comma}{{\"ts\":{},\"n\":{}}}", self.start_ms + i64::try_from(self.sent)?, self.random.u64(..1 << 50))?;
            }
            payload.push_str("]}");
            self.publisher.publish("meters/bulk", payload).await?;
        }
        Ok(self.publisher.flush().await?)
    }

    /// As many values are recorded as were sent, each at a time of its own.
    fn all_once(&self, gateway: &Gateway) -> Result<()> {
        let sent = usize::try_from(self.sent)?;
        let samples =
            wait_for(
                "all bulk values",
                DRAIN_LIMIT,
                || Ok(Some(gateway.samples("acme/bulk/number")?).filter(|found| found.len() >= sent)),
            )?;
        let times: HashSet<i64> = samples.iter().filter_map(|sample| sample["record_time_ms"].as_i64()).collect();
        ensure!((samples.len(), times.len()) == (sent, sent), "{} bulk values at {} times, {sent} sent", samples.len(), times.len());
        Ok(())
    }
}
