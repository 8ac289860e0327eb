//! The configuration changes again and again while meters are read and messages come in.
//!
//! A publisher sends numbered messages of QoS 1 all the time; two Modbus lines are polled by simulators that answer slowly, so
//! that many reloads fall into a request. Rounds change a device of one line, a topic of the broker, nothing, or break the
//! file. Afterwards each message is in the history once, each register under its own point, and the line that nobody
//! touched has seen one connection.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use parkgate_collector::sim::modbus::{Bank, Faults, SimServer, connection};
use parkgate_tests::gateway::Gateway;
use parkgate_tests::mosquitto::{Mosquitto, Options};
use parkgate_tests::numbered::{self, Meters};
use parkgate_tests::{Stopwatch, number_from, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Reloads, unless `PARKGATE_RELOADS` says otherwise.
const ROUNDS: u64 = 1_000;
/// Messages published in one go.
const MESSAGES: u64 = 40;
/// Rounds after which all threads and files are there that there will be.
const WARM_ROUNDS: u64 = 20;
/// Threads and files that may come and go: pools start and end threads as they like.
const MORE: u64 = 12;
const LIMIT: Duration = Duration::from_secs(60);
/// How long a register takes to be read.
const ANSWER: Duration = Duration::from_millis(10);

/// A register holds its own address, beyond this.
const BASE: u16 = 0x4000;

/// A Modbus line that counts connections.
struct Line {
    server: SimServer,
    connections: Arc<AtomicU64>,
}

impl Line {
    async fn start() -> Result<Self> {
        let connections = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&connections);
        let bank: Bank = Arc::new(move |_, _, address, quantity| {
            seen.fetch_max(connection() + 1, Ordering::Relaxed);
            std::thread::sleep(ANSWER);
            Ok((address..address + quantity).map(|address| BASE + address).collect())
        });
        let server = SimServer::start("127.0.0.1:0".parse()?, bank, Arc::new(Faults::new(1))).await?;
        Ok(Self { server, connections })
    }

    fn config(&self, link: &str, device: &str, points: &[(&str, u16)]) -> String {
        let port = self.server.local_addr().port();
        let mut text = format!(
            "[[link]]\nid = \"{link}\"\ndriver = \"modbus_tcp\"\nhost = \"127.0.0.1\"\nport = {port}\ntimeout_ms = 20000\n\
             [[device]]\nid = \"{device}\"\nlink = \"{link}\"\nenterprise = \"acme\"\nmodbus = {{ unit_id = 1, poll_interval_ms = 50 }}\n"
        );
        for (point, address) in points {
            text.push_str(&format!(
                "[[device.point]]\nid = \"{point}\"\nmedium = \"power\"\nkind = \"gauge\"\nunit = \"1\"\ndecimals = 0\n\
                 register = {{ address = {address}, type = \"u16\" }}\n"
            ));
        }
        text
    }
}

struct Park {
    steady: Line,
    changed: Line,
    broker: Mosquitto,
}

impl Park {
    fn config(&self, points: &[(&str, u16)], has_extra: bool) -> String {
        let mut text = numbered::config(self.broker.port());
        text.push_str(&self.steady.config("steady", "s", &[("level", 5)]));
        text.push_str(&self.changed.config("changed", "c", points));
        if has_extra {
            text.push_str(&numbered::ENERGY.replace("energy\"", "extra\"").replace("meters/energy", "meters/extra"));
        }
        text
    }
}

/// What came of a reload over the API.
struct Told {
    status: u16,
    body: Value,
}

fn post(gateway: &Gateway) -> Result<Told> {
    let request = ureq::post(gateway.url("/api/v1/config/reload")).config().http_status_as_error(false).timeout_global(Some(LIMIT)).build();
    let mut answer = request.send_empty()?;
    let text = answer.body_mut().read_to_string()?;
    Ok(Told { status: answer.status().as_u16(), body: serde_json::from_str(&text).with_context(|| text.clone())? })
}

fn ids(told: &Told, list: &str) -> Vec<String> {
    told.body[list].as_array().into_iter().flatten().filter_map(|id| id.as_str().map(str::to_owned)).collect()
}

/// The figure of a line of `/metrics`.
fn metric(gateway: &Gateway, series: &str) -> Result<f64> {
    let text = gateway.text("/metrics")?;
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    Ok(line.map(str::parse).transpose()?.unwrap_or(0.0))
}

fn entries(gateway: &Gateway, folder: &str) -> Result<u64> {
    Ok(std::fs::read_dir(format!("/proc/{}/{folder}", gateway.pid()?))?.count() as u64)
}

/// Values of a point, each with how often it is there, and qualities likewise.
fn values(gateway: &Gateway, point: &str) -> Result<BTreeMap<String, u64>> {
    let mut found = BTreeMap::new();
    for sample in gateway.samples(point)? {
        *found.entry(format!("{} {}", sample["value"], sample["quality"])).or_default() += 1;
    }
    Ok(found)
}

#[test]
fn reloads_lose_nothing_and_touch_only_what_changed() -> Result<()> {
    let _stopwatch = Stopwatch::start("reload");
    let rounds = number_from("PARKGATE_RELOADS")?.unwrap_or(ROUNDS);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_all().build()?;
    let _guard = runtime.enter();
    let broker = Mosquitto::start(&Options::default())?;
    let (steady, changed) = (runtime.block_on(Line::start())?, runtime.block_on(Line::start())?);
    let park = Park { steady, changed, broker };
    let (one, other) = ([("a", 0_u16)].as_slice(), [("b", 10_u16)].as_slice());
    let mut gateway = Gateway::start(&park.config(one, false))?;
    let mut meters = Meters::open(&runtime, &park.broker, &gateway)?;
    let stop = Arc::new(AtomicBool::new(false));
    let publishing = {
        let stop = Arc::clone(&stop);
        runtime.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                meters.publish(MESSAGES).await?;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            anyhow::Ok(meters)
        })
    };

    let mut applied = 0;
    let (mut has_other, mut has_extra, mut warm) = (false, false, (0, 0));
    let mut slowest = Duration::ZERO;
    for round in 0..rounds {
        if round == WARM_ROUNDS.min(rounds / 2) {
            warm = (entries(&gateway, "task")?, entries(&gateway, "fd")?);
        }
        let expected: (&str, Vec<&str>) = match round % 8 {
            0 | 4 | 6 => {
                has_other = !has_other;
                ("applied", vec!["changed"])
            }
            1 | 5 => ("unchanged", vec![]),
            2 => {
                has_extra = !has_extra;
                ("applied", vec!["broker"])
            }
            _ => ("refused", vec![]),
        };
        let mut config = park.config(if has_other { other } else { one }, has_extra);
        if expected.0 == "refused" {
            config.push_str("[[device]]\nid = \"half a device\n");
        }
        gateway.configure(&config)?;
        let begun = Instant::now();
        let told = post(&gateway)?;
        slowest = slowest.max(begun.elapsed());
        let is_fine = told.status == if expected.0 == "refused" { 422 } else { 200 };
        ensure!(is_fine && told.body["result"] == expected.0 && ids(&told, "restarted") == expected.1, "round {round}: {}", told.body);
        ensure!(ids(&told, "started").is_empty() && ids(&told, "stopped").is_empty(), "round {round}: {}", told.body);
        applied += u64::from(expected.0 == "applied");
        if round < 8 {
            let ready = gateway.text("/readyz")?;
            let is_told = ready.contains("[~] configuration degraded") && ready.contains("parkgate.toml");
            ensure!(is_told == (expected.0 == "refused"), "round {round}: {ready}");
            let successful = metric(&gateway, "parkgate_config_last_reload_successful")?;
            ensure!(successful == f64::from(u8::from(expected.0 != "refused")), "round {round}: {successful}");
            if expected.0 == "refused" {
                let problem = &told.body["problems"][0];
                ensure!(problem["line"].as_u64().is_some() && problem["file"].as_str().is_some(), "round {round}: {problem}");
            } else {
                // What is configured is shown at once.
                let is_there = |point: &str| Ok::<_, anyhow::Error>(gateway.get_text(&format!("/api/v1/latest?point={point}"))?.0 == 200);
                ensure!(is_there("acme/c/b")? == has_other && is_there("acme/c/a")? != has_other, "round {round}: not what is configured");
            }
        }
    }
    println!("{rounds} reloads, the slowest {slowest:?}");
    let now = (entries(&gateway, "task")?, entries(&gateway, "fd")?);
    ensure!(now.0 <= warm.0 + MORE && now.1 <= warm.1 + MORE, "threads and files: {warm:?} before, {now:?} after");
    stop.store(true, Ordering::Relaxed);
    let meters = runtime.block_on(publishing)??;

    // A signal does the same.
    gateway.configure(&park.config(&[("a", 0), ("b", 10)], false))?;
    let signal = |gateway: &Gateway| -> Result<()> {
        Ok(kill_process(Pid::from_raw(i32::try_from(gateway.pid()?)?).context("no process")?, Signal::HUP)?)
    };
    signal(&gateway)?;
    applied += 1;
    wait_for("a reload by a signal", LIMIT, || {
        let count = metric(&gateway, "parkgate_config_reloads_total{result=\"applied\"}")?;
        Ok((count == applied as f64).then_some(()))
    })?;

    numbered::each_once(&gateway, meters.sent(), LIMIT)?;
    for (point, value) in [("acme/s/level", BASE + 5), ("acme/c/a", BASE), ("acme/c/b", BASE + 10)] {
        let found = wait_for("readings of every point", LIMIT, || Ok(Some(values(&gateway, point)?).filter(|found| !found.is_empty())))?;
        let good = format!("\"{value}\" \"good\"");
        ensure!(found.keys().eq([&good]), "{point}: {found:?}");
    }
    let connections = park.steady.connections.load(Ordering::Relaxed);
    ensure!(connections == 1, "the line that nobody touched has seen {connections} connections");
    let touched = park.changed.connections.load(Ordering::Relaxed);
    ensure!(touched > 1, "the line that changed has seen {touched} connections: nothing was tested");

    // What needs a restart is refused with its place, and nothing else of it is taken.
    gateway.configure_http(&park.config(one, false), "127.0.0.1", "require_token = true\n")?;
    let told = post(&gateway)?;
    let problems = told.body["problems"].to_string();
    ensure!(told.status == 422 && problems.contains("gateway.http.require_token") && problems.contains("restart"), "{}", told.body);
    ensure!(gateway.get_text("/api/v1/latest?point=acme/c/b")?.0 == 200, "a refused configuration was taken in part");
    ensure!(gateway.stop()?.success(), "the gateway did not stop cleanly");
    // Taken at the next start.
    gateway.configure(&park.config(one, false))?;
    gateway.restart()?;
    numbered::each_once(&gateway, meters.sent(), LIMIT)?;
    ensure!(gateway.stop()?.success(), "the gateway did not stop cleanly");
    Ok(())
}
