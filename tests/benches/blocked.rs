//! Memory of an MQTT link whose journal takes nothing, because the disk is full: the broker holds a flood for our persistent
//! session, and the gateway's memory must not grow by it. Needs a small disk of its own, which only root may mount.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use parkgate_tests::gateway::Gateway;
use parkgate_tests::mosquitto::{Mosquitto, Options};
use parkgate_tests::small_disk::SmallDisk;
use parkgate_tests::wait_for;

use crate::mqtt::{config, durable, publish_padded, until_connected, until_durable};
use crate::process::{memory_mb, quick};
use crate::table::Table;

/// Room for what becomes of all messages: samples and their index.
const DISK_MEGABYTES: u64 = 160;
/// Makes a message of about 190 bytes one of 1 KiB.
const PADDING: usize = 834;
const SMALL: &str = "[gateway.journal]\nsegment_megabytes = 1\nbudget_megabytes = 16\nreserve_megabytes = 1\n";
/// Longest until the journal is full, and until all is durable.
const LIMIT: Duration = Duration::from_secs(120);
/// How long the flood stands before the peak is read.
const STAND: Duration = Duration::from_secs(10);
/// MB by which a flood of any length may raise the peak: what may be in flight, and its messages in the normaliser.
const GROWTH_MB: f64 = 100.0;

/// Measures the peak of an idle link, of a blocked one, and of one that goes on.
pub fn run(table: &mut Table) -> Result<()> {
    let messages = if quick() { 100_000 } else { 200_000 };
    let what = format!("MQTT, {messages} messages of 1 KiB held by the broker while the disk is full: peak RSS MB (idle link)");
    let disk = match SmallDisk::mount(DISK_MEGABYTES)? {
        Ok(disk) => disk,
        Err(why) => {
            table.row(&what, format!("not measured: {why}"), "", None);
            return Ok(());
        }
    };
    let broker = Mosquitto::start(&Options::default())?;
    let mut gateway = Gateway::prepare(Some(&disk.path().join("data")))?;
    gateway.configure(&config(broker.port(), "blocked", SMALL))?;
    gateway.restart()?;
    until_connected(&gateway)?;
    let pid = gateway.pid()?.to_string();
    sleep(STAND);
    let idle = memory_mb(&pid, "VmHWM")?;

    let ballast = disk.fill()?;
    let (mut publisher, _) = publish_padded(broker.port(), "blocked", messages, 0, PADDING)?;
    wait_for("full journal", LIMIT, || Ok((gateway.get_text("/readyz")?.0 == 503).then_some(())))?;
    // The broker has confirmed them all: it holds what the gateway does not take.
    publisher.line()?;
    sleep(STAND);
    let taken = durable(&gateway)?;
    ensure!(taken < messages as f64, "all messages became durable: the disk was never full");
    let blocked = memory_mb(&pid, "VmHWM")?;

    std::fs::remove_file(&ballast)?;
    let (_, seconds) = until_durable(&gateway, messages as f64, Instant::now())?;
    let drained = memory_mb(&pid, "VmHWM")?;
    gateway.stop()?;
    let figure = format!("{blocked:.0} ({idle:.0}), with {taken:.0} durable");
    let goal = format!("<= {GROWTH_MB:.0} more");
    table.row(&what, figure, &goal, Some(blocked - idle <= GROWTH_MB));
    let rate = (messages as f64 - taken) / seconds;
    table.row("the same, when there was room again: durable messages/s (peak RSS MB)", format!("{rate:.0} ({drained:.0})"), "", None);
    Ok(())
}
