//! Backup of a park at work: meters publish while it is made; it is restored elsewhere, checked, and goes on there, and so
//! does the sink that its values go to.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use parkgate_collector::model::Unit;
use parkgate_tests::gateway::{Finished, Gateway, parkgate};
use parkgate_tests::http::{HttpServer, Reply};
use parkgate_tests::mosquitto::{Mosquitto, Options};
use parkgate_tests::numbered::{self, Meters};
use parkgate_tests::{Stopwatch, now_ms, wait_for};
use serde_json::Value;

/// Longest that a published message may take to show.
const LIMIT: Duration = Duration::from_secs(30);
/// Messages before the backup begins.
const BEFORE: u64 = 4_000;
/// Messages at a time while it is made.
const MEANWHILE: u64 = 500;
const HOUR_MS: i64 = 3_600_000;

#[test]
fn what_was_acknowledged_is_in_the_backup_and_the_copy_goes_on() -> Result<()> {
    let _stopwatch = Stopwatch::start("backup");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let _guard = runtime.enter();
    let (broker, other_broker) = (Mosquitto::start(&Options::default())?, Mosquitto::start(&Options::default())?);
    let (sink, other_sink) = (Sink::start()?, Sink::start()?);
    let mut gateway = Gateway::start(&config(&broker, &sink))?;
    let mut meters = Meters::open(&runtime, &broker, &gateway)?;
    // Registers of four whole hours, so that there are totals; the last one is open.
    let (mut energy, start) = (broker.publisher("energy"), (now_ms() / HOUR_MS - 6) * HOUR_MS);
    for hour in 0..5 {
        runtime.block_on(energy.publish("meters/energy", format!("{{\"n\":{},\"ts\":{}}}", 100 + hour * 10, start + hour * HOUR_MS)))?;
    }
    runtime.block_on(energy.flush())?;
    runtime.block_on(meters.publish(BEFORE))?;
    numbered::each_once(&gateway, BEFORE, LIMIT)?;
    wait_for("totals and a sink that has everything", LIMIT, || {
        let has_all = gateway.text("/metrics")?.contains("parkgate_forward_lag_entries{sink=\"hq\"} 0\n");
        Ok((has_all && sink.lines().iter().any(|line| line.starts_with("park_energy_import_hour,"))).then_some(()))
    })?;
    let sent_before = sink.lines();

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
    copy.configure(&config(&other_broker, &other_sink))?;
    let checked = parkgate(&["rebuild".as_ref(), "--check".as_ref(), "--config".as_ref(), copy.config().as_os_str()])?;
    ensure!(checked.code == 0 && checked.stdout.contains(" 0 totals differ"), "{checked:?}");
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
    // The sink of the copy gets what comes now, and nothing of what had been sent when the backup was made.
    let published = format!("point=acme/probe/number,quantity=number {}=2 ", Unit::parse("1").context("a unit")?.name_form());
    wait_for("values in the sink of the copy", LIMIT, || {
        Ok(other_sink.lines().iter().any(|line| line.contains(&published)).then_some(()))
    })?;
    let (again, before) = (other_sink.lines(), sent_before.len());
    ensure!(before as u64 > BEFORE, "{before} lines were sent before");
    ensure!(again.is_disjoint(&sent_before), "sent again: {:?}", again.intersection(&sent_before).next());
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

/// The park of numbered meters, with one meter of energy, and a sink.
fn config(broker: &Mosquitto, sink: &Sink) -> String {
    format!(
        r#"{}{}
[[gateway.sink]]
id = "hq"
kind = "influxdb1"
url = "{}"
db = "park"
media = ["power"]
gzip = false
linger_ms = 50
"#,
        numbered::config(broker.port()),
        numbered::ENERGY,
        sink.server.url()
    )
}

/// Takes all lines and remembers them.
struct Sink {
    server: HttpServer,
    lines: Arc<Mutex<BTreeSet<String>>>,
}

impl Sink {
    fn start() -> Result<Self> {
        let lines: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        let its_own = Arc::clone(&lines);
        let server = HttpServer::start(move |request| {
            let mut lines = its_own.lock().unwrap_or_else(PoisonError::into_inner);
            lines.extend(String::from_utf8_lossy(&request.body).lines().map(str::to_owned));
            Reply::text(204, "")
        })?;
        Ok(Self { server, lines })
    }

    fn lines(&self) -> BTreeSet<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
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
