//! From a breach at a meter to the first attempt at Alertmanager: MQTT, journal, rule, outbox, push, all on the same cores.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use parkgate_tests::gateway::Gateway;
use parkgate_tests::http::{HttpServer, Reply, Request};
use parkgate_tests::mosquitto::{Mosquitto, Options};
use parkgate_tests::{now_ms, wait_for};
use serde_json::Value;

use crate::process::quick;
use crate::table::Table;

/// Meters that break their limit in turn.
const METERS: usize = 20;
/// Between two breaches.
const EVERY: Duration = Duration::from_millis(25);
/// Longest that the last may take.
const LIMIT: Duration = Duration::from_secs(30);
/// What is wanted.
const GOAL_MS: i64 = 500;

const RULES: &str = "[[rule]]\nid = \"high\"\ntitle = { zh = \"高\", en = \"high\" }\nquantity = [\"number\"]\nabove = 100\nunit = \"1\"\npriority = \"high\"\n";

/// Milliseconds from the breach to the first attempt, by point and time of the breach.
type Seen = Arc<Mutex<BTreeMap<(String, String), i64>>>;

/// Measures it.
pub fn run(table: &mut Table) -> Result<()> {
    let breaches = if quick() { 100 } else { 1_000 };
    let seen = Seen::default();
    let receiver = {
        let seen = Arc::clone(&seen);
        HttpServer::start(move |request| {
            note(request, &seen);
            Reply::text(200, "")
        })?
    };
    let broker = Mosquitto::start(&Options::default())?;
    let mut gateway = Gateway::prepare(None)?;
    let folder = gateway.config().parent().context("a folder")?.join("alarms");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("rules.toml"), RULES)?;
    gateway.configure(&config(broker.port(), &receiver.url()))?;
    gateway.restart()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let _guard = runtime.enter();
    let mut meters = broker.publisher("meters");
    wait_for("open session", LIMIT, || {
        runtime.block_on(meters.publish("meters/m0", format!("{{\"n\":1,\"ts\":{}}}", now_ms())))?;
        Ok((!gateway.samples("acme/m0/number")?.is_empty()).then_some(()))
    })?;
    for breach in 0..breaches {
        let meter = breach % METERS;
        for value in [150, 50] {
            let payload = format!("{{\"n\":{value},\"ts\":{}}}", now_ms());
            runtime.block_on(meters.publish(&format!("meters/m{meter}"), payload))?;
            std::thread::sleep(EVERY);
        }
    }
    runtime.block_on(meters.flush())?;
    let took = wait_for("every alarm", LIMIT, || {
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        Ok((seen.len() >= breaches).then(|| seen.values().copied().collect::<Vec<i64>>()))
    })?;
    gateway.stop()?;
    let mut took = took;
    took.sort_unstable();
    let at = |permille: usize| took.get(took.len().saturating_sub(1) * permille / 1_000).copied().unwrap_or_default();
    let figure = format!("p50 {} ms, p99 {} ms of {} alarms", at(500), at(990), took.len());
    table.row("breach at a meter to first attempt at Alertmanager", figure, "p99 <= 500 ms", Some(at(990) <= GOAL_MS));
    Ok(())
}

fn note(request: &Request, seen: &Seen) {
    let now = now_ms();
    let alerts: Vec<Value> = serde_json::from_slice(&request.body).unwrap_or_default();
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    for alert in alerts.iter().filter(|alert| alert["labels"]["rule"] == "high") {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let started = text(&alert["annotations"]["started_at"]);
        let Ok(time) = started.parse::<jiff::Timestamp>() else { continue };
        seen.entry((text(&alert["labels"]["point"]), started)).or_insert(now - time.as_millisecond());
    }
}

fn config(port: u16, url: &str) -> String {
    let mut text = format!(
        "[park]\nid = \"park\"\n\n[[enterprise]]\nid = \"acme\"\n\n[[link]]\nid = \"broker\"\ndriver = \"mqtt\"\nhost = \"127.0.0.1\"\nport = {port}\n\
         [[gateway.alertmanager]]\nurl = \"{url}\"\nname = \"bench\"\nhold_s = 0\n"
    );
    for meter in 0..METERS {
        write!(
            text,
            "\n[[device]]\nid = \"m{meter}\"\nlink = \"broker\"\nenterprise = \"acme\"\n[[device.topic]]\nfilter = \"meters/m{meter}\"\ntime = \"ts\"\n\
             [[device.point]]\nid = \"number\"\nmedium = \"power\"\nkind = \"gauge\"\nunit = \"1\"\ndecimals = 0\npath = \"n\"\n"
        )
        .expect("writing to a string");
    }
    text
}
