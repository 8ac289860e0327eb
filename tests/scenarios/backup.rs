//! Backup of a park at work: meters publish while it is made; it is restored elsewhere, checked, and goes on there.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use parkgate_tests::gateway::{Finished, Gateway, parkgate};
use parkgate_tests::mosquitto::{Mosquitto, Options};
use parkgate_tests::numbered::{self, Meters};
use parkgate_tests::{Stopwatch, wait_for};
use serde_json::Value;

/// Longest that a published message may take to show.
const LIMIT: Duration = Duration::from_secs(30);
/// Messages before the backup begins.
const BEFORE: u64 = 4_000;
/// Messages at a time while it is made.
const MEANWHILE: u64 = 500;

#[test]
fn what_was_acknowledged_is_in_the_backup_and_the_copy_goes_on() -> Result<()> {
    let _stopwatch = Stopwatch::start("backup");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let _guard = runtime.enter();
    let (broker, other_broker) = (Mosquitto::start(&Options::default())?, Mosquitto::start(&Options::default())?);
    let mut gateway = Gateway::start(&numbered::config(broker.port()))?;
    let mut meters = Meters::open(&runtime, &broker, &gateway)?;
    runtime.block_on(meters.publish(BEFORE))?;
    numbered::each_once(&gateway, BEFORE, LIMIT)?;

    let folder = tempfile::tempdir()?;
    let backup = folder.path().join("backup");
    // The park goes on while it is backed up.
    let making = std::thread::spawn({
        let (backup, config) = (backup.clone(), gateway.config());
        move || run_backup(&backup, &config)
    });
    while !making.is_finished() {
        runtime.block_on(meters.publish(MEANWHILE))?;
    }
    let made = making.join().map_err(|_| anyhow::anyhow!("the thread panicked"))??;
    ensure!(made["journal_position"].as_u64() > Some(0) && made["park"] == "park" && made["copied_files"] == made["files"], "{made}");
    sound(&backup, 0)?;
    numbered::each_once(&gateway, meters.sent(), LIMIT)?;

    let copied = folder.path().join("copy");
    let restored = parkgate(&["restore".as_ref(), backup.as_os_str(), "--data".as_ref(), copied.as_os_str()])?;
    ensure!(restored.code == 0, "{restored:?}");
    let again = parkgate(&["restore".as_ref(), backup.as_os_str(), "--data".as_ref(), copied.as_os_str()])?;
    ensure!(again.code == 2 && again.stderr.contains("is not empty"), "{again:?}");
    let verified = parkgate(&["journal".as_ref(), "verify".as_ref(), "--data".as_ref(), copied.as_os_str()])?;
    ensure!(verified.code == 0 && verified.stdout.contains("sound"), "{verified:?}");
    // Behind a broker of its own: two gateways of one name would take the session from each other.
    let mut copy = Gateway::prepare(Some(&copied))?;
    copy.configure(&numbered::config(other_broker.port()))?;
    copy.restart()?;
    let (seen, strange) = numbered::recorded(&copy, meters.sent())?;
    ensure!((0..BEFORE).all(|number| seen.get(&number) == Some(&1)), "of {BEFORE} acknowledged before, {} are there", seen.len());
    ensure!(seen.values().all(|count| *count == 1) && strange.is_empty(), "{strange:?}");
    let probes = copy.samples("acme/probe/number")?.len();
    let mut publisher = other_broker.publisher("meters");
    wait_for("values in the restored copy", LIMIT, || {
        runtime.block_on(publisher.publish("meters/probe", r#"{"n":2}"#))?;
        Ok((copy.samples("acme/probe/number")?.len() > probes + 1).then_some(()))
    })?;
    ensure!(copy.stop()?.code() == Some(0), "the restored copy did not stop well");
    let verified = parkgate(&["journal".as_ref(), "verify".as_ref(), "--data".as_ref(), copied.as_os_str()])?;
    ensure!(verified.code == 0, "{verified:?}");

    // Once more with nobody running, into the same folder; then one byte is changed.
    ensure!(gateway.stop()?.code() == Some(0), "the gateway did not stop well");
    let idle = run_backup(&backup, &gateway.config())?;
    ensure!(idle["journal_position"].is_null() && idle["warnings"] == Value::Array(Vec::new()), "{idle}");
    let unchanged = run_backup(&backup, &gateway.config())?;
    ensure!(unchanged["copied_files"] == 0 && unchanged["files"] == idle["files"], "{unchanged}");
    damage(&backup)?;
    let found = sound(&backup, 1)?;
    ensure!(found.stdout.contains("DAMAGED: history/state.db: "), "{found:?}");
    let target = folder.path().join("target");
    let refused = parkgate(&["restore".as_ref(), backup.as_os_str(), "--data".as_ref(), target.as_os_str()])?;
    ensure!(refused.code == 1 && refused.stderr.contains("history/state.db") && !target.exists(), "{refused:?}");
    Ok(())
}

fn run_backup(backup: &Path, config: &Path) -> Result<Value> {
    let made = parkgate(&["backup".as_ref(), backup.as_os_str(), "--json".as_ref(), "--config".as_ref(), config.as_os_str()])?;
    ensure!(made.code == 0, "{made:?}");
    made.json_lines()?.pop().context("nothing was printed")
}

fn sound(backup: &Path, code: i32) -> Result<Finished> {
    let verified = parkgate(&["backup".as_ref(), backup.as_os_str(), "--verify".as_ref()])?;
    ensure!(verified.code == code, "{verified:?}");
    Ok(verified)
}

/// Changes one byte in the copy of `state.db`.
fn damage(backup: &Path) -> Result<()> {
    let manifest: Value = serde_json::from_str(&std::fs::read_to_string(backup.join("manifest.json"))?)?;
    let files = manifest["files"].as_array().context("no files")?;
    let state = files.iter().find(|file| file["path"] == "history/state.db").context("no state.db")?;
    let object = backup.join("objects").join(state["sha256"].as_str().context("no hash")?);
    let mut bytes = std::fs::read(&object)?;
    let middle = bytes.len() / 2;
    *bytes.get_mut(middle).context("the copy is empty")? ^= 0x10;
    Ok(std::fs::write(object, bytes)?)
}
