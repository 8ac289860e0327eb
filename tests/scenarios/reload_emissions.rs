//! A reload counts emissions by what is configured then, from the record, events and all: an outlet that reads another
//! point, a new one, one that is gone and comes back, and other bands of a pair.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use parkgate_tests::gateway::{Gateway, parkgate};
use parkgate_tests::{Stopwatch, wait_for};
use serde_json::{Value, json};

/// Longest that a change may take to count.
const LIMIT: Duration = Duration::from_secs(60);
/// 2026-01-01T00:00:00+08:00.
const START_MS: i64 = 1_767_196_800_000;
const MINUTE_MS: i64 = 60_000;
/// Hours that are over, and one that has begun.
const MINUTES: i64 = 3 * 60 + 30;

/// A monitor and two power meters behind a broker that is not there: their values are imported.
const PARK: &str = r#"
[park]
id = "park"
time_zone = "Asia/Shanghai"
[[enterprise]]
id = "acme"
[[link]]
id = "broker"
driver = "mqtt"
host = "127.0.0.1"
port = 9
[[device]]
id = "cems"
link = "broker"
enterprise = "acme"
[[device.topic]]
filter = "cems"
[[device.point]]
id = "so2_concentration"
path = "so2"
[[device.point]]
id = "nox_concentration"
path = "nox"
[[device]]
id = "plant"
link = "broker"
enterprise = "acme"
[[device.topic]]
filter = "plant"
[[device.point]]
id = "line"
quantity = "active_power"
path = "line"
[[device.point]]
id = "oxidiser"
quantity = "active_power"
path = "oxidiser"
"#;

/// An outlet whose factor is read from a point of the monitor.
fn outlet(id: &str, point: &str) -> String {
    format!(
        "[[gateway.outlet]]\nid = \"{id}\"\nenterprise = \"acme\"\nkind = \"stack\"\n\
         [[gateway.outlet.factor]]\nid = \"gas\"\nsource = {{ kind = \"point\", point = \"cems/{point}\", minute_mean = true }}\n"
    )
}

/// The line at 420 kW runs; the oxidiser, at 30 kW all the time, idles below `idle_below` kW.
fn pair(idle_below: u32) -> String {
    format!(
        "[[gateway.abatement]]\nid = \"line-1\"\nenterprise = \"acme\"\n\
         production = {{ point = \"plant/line\", interval_ms = 60000, off_below_kw = 50, idle_below_kw = 150 }}\n\
         abatement = {{ point = \"plant/oxidiser\", interval_ms = 60000, off_below_kw = 4, idle_below_kw = {idle_below}, running_from_kw = {idle_below} }}\n"
    )
}

fn import(gateway: &Gateway, folder: &Path, text: &str) -> Result<()> {
    let file = folder.join("values.csv");
    std::fs::write(&file, text)?;
    let (config, file) = (gateway.config().display().to_string(), file.display().to_string());
    let done = parkgate(&["import", &file, "--config", &config])?;
    ensure!(done.code == 0, "{done:?}");
    Ok(())
}

fn post(gateway: &Gateway, path: &str, body: &Value) -> Result<Value> {
    let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(LIMIT)).http_status_as_error(false).build().into();
    let mut answer = agent.post(gateway.url(path)).content_type("application/json").send(body.to_string())?;
    let text = answer.body_mut().read_to_string()?;
    ensure!(answer.status().is_success(), "POST {path}: {} {text}", answer.status());
    Ok(serde_json::from_str(&text)?)
}

/// Takes another configuration; no line is touched.
fn reload(gateway: &Gateway, parts: &[String]) -> Result<()> {
    gateway.configure(&format!("{PARK}{}", parts.concat()))?;
    let told = post(gateway, "/api/v1/config/reload", &json!({}))?;
    let expected = json!({ "result": "applied", "started": [], "stopped": [], "restarted": [], "problems": [] });
    ensure!(told == expected, "{told}");
    Ok(())
}

/// The three hours of an outlet: concentration and status.
fn hours(gateway: &Gateway, outlet: &str) -> Result<Vec<[String; 2]>> {
    let path = format!("/api/v1/emissions?outlet={outlet}&from=2026-01-01&to=2026-01-01T03:00:00%2B08:00");
    let Value::Array(rows) = gateway.get(&path)?["items"].take() else { bail!("no items") };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let closed = rows.iter().filter(|row| row["closed"] == true && row["class"] == "valid");
    Ok(closed.map(|row| [text(&row["concentration"]), text(&row["status"])]).collect())
}

fn wait_hours(gateway: &Gateway, outlet: &str, expected: [[&str; 2]; 3]) -> Result<()> {
    let mut last = Vec::new();
    let found = wait_for("hours by what is configured", LIMIT, || {
        last = hours(gateway, outlet)?;
        Ok((last == expected).then_some(()))
    });
    found.with_context(|| format!("{outlet}: {expected:?}, the last were {last:?}"))
}

/// Waits until the last versions of events about something are so many, by state.
fn wait_events(gateway: &Gateway, subject: &str, state: &str, count: usize) -> Result<()> {
    let mut last = Value::Null;
    let found = wait_for("compliance events", LIMIT, || {
        last = gateway.get(&format!("/api/v1/compliance/events?subject={subject}&limit=1000"))?["items"].take();
        let mut states = std::collections::BTreeMap::new();
        for event in last.as_array().context("no items")? {
            states.insert(event["id"].to_string(), event["state"].as_str().unwrap_or_default().to_owned());
        }
        Ok((states.values().filter(|one| *one == state).count() == count && states.len() == count).then_some(()))
    });
    found.with_context(|| format!("{count} {state} of {subject}, the last were {last}"))
}

#[test]
fn hours_are_counted_by_what_is_configured() -> Result<()> {
    let _stopwatch = Stopwatch::start("reload: emissions");
    let folder = tempfile::tempdir()?;
    let mut gateway = Gateway::prepare(None)?;
    let stack = |point: &str| outlet("stack", point);
    gateway.configure(&format!("{PARK}{}{}", stack("so2_concentration"), pair(40)))?;
    let mut text = "point,time_ms,value\n".to_owned();
    for minute in 0..MINUTES {
        let time = START_MS + minute * MINUTE_MS;
        for (point, value) in [("cems/so2_concentration", 10), ("cems/nox_concentration", 70), ("plant/line", 420), ("plant/oxidiser", 30)]
        {
            writeln!(text, "acme/{point},{time},{value}")?;
        }
    }
    import(&gateway, folder.path(), &text)?;
    gateway.restart()?;
    wait_hours(&gateway, "stack", [["10", "not_judged"]; 3])?;
    let limit = json!({ "add": { "outlet": "stack", "factor": "gas", "averaging": "hour", "value": "50", "clause": "permit 1", "valid_from": "2026-01-01T00:00:00+08:00" } });
    post(&gateway, "/api/v1/limits", &limit)?;
    wait_hours(&gateway, "stack", [["10", "complies"]; 3])?;
    // The oxidiser idles from the first minute on.
    wait_events(&gateway, "line-1", "raised", 1)?;

    // Another point: all hours are counted again, and every one exceeds.
    reload(&gateway, &[stack("nox_concentration"), pair(40)])?;
    wait_hours(&gateway, "stack", [["70", "exceeds"]; 3])?;
    wait_events(&gateway, "stack", "raised", 3)?;

    // A further outlet, from the record's beginning on; and bands by which the oxidiser runs.
    reload(&gateway, &[stack("nox_concentration"), outlet("vent", "so2_concentration"), pair(20)])?;
    wait_hours(&gateway, "vent", [["10", "not_judged"]; 3])?;
    wait_events(&gateway, "line-1", "withdrawn", 1)?;
    ensure!(hours(&gateway, "stack")? == [["70", "exceeds"]; 3], "{:?}", hours(&gateway, "stack")?);

    // None of both for a time in which other values come: it is not there, then it is counted with them.
    reload(&gateway, &[outlet("vent", "so2_concentration")])?;
    let path = "/api/v1/emissions?outlet=stack&from=2026-01-01";
    ensure!(gateway.get_text(path)?.0 == 404, "an outlet that is not configured any more is shown");
    let mut text = "point,time_ms,value\n".to_owned();
    for minute in 60..120 {
        let time = START_MS + minute * MINUTE_MS;
        writeln!(text, "acme/cems/nox_concentration,{time},40\nacme/cems/so2_concentration,{time},20")?;
    }
    import(&gateway, folder.path(), &text)?;
    wait_hours(&gateway, "vent", [["10", "not_judged"], ["20", "not_judged"], ["10", "not_judged"]])?;
    reload(&gateway, &[stack("nox_concentration"), outlet("vent", "so2_concentration"), pair(40)])?;
    wait_hours(&gateway, "stack", [["70", "exceeds"], ["40", "complies"], ["70", "exceeds"]])?;
    wait_events(&gateway, "line-1", "raised", 1)?;

    // A start counts the same.
    ensure!(gateway.stop()?.success(), "the gateway did not stop cleanly");
    gateway.restart()?;
    wait_hours(&gateway, "stack", [["70", "exceeds"], ["40", "complies"], ["70", "exceeds"]])?;
    wait_hours(&gateway, "vent", [["10", "not_judged"], ["20", "not_judged"], ["10", "not_judged"]])?;
    ensure!(gateway.stop()?.success(), "the gateway did not stop cleanly");
    Ok(())
}
