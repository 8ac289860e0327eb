//! A reload binds alarm rules anew: a rule that stays goes on with its episode, by its new limit; what is on by a rule that
//! is gone, or by one with other labels, is told to be gone; a new rule speaks; and what is refused changes nothing.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use parkgate_tests::gateway::{Gateway, parkgate};
use parkgate_tests::{Stopwatch, wait_for};
use serde_json::{Value, json};

/// Longest that a change may take to count.
const LIMIT: Duration = Duration::from_secs(60);
const A: &str = "acme/a/level";
const B: &str = "acme/b/level";

/// Two levels behind a broker that is not there: they are read by hand. Another device is never heard.
const CONFIG: &str = r#"
[park]
id = "park"
[[enterprise]]
id = "acme"
[[link]]
id = "broker"
driver = "mqtt"
host = "127.0.0.1"
port = 9
[[device]]
id = "a"
link = "broker"
enterprise = "acme"
[[device.topic]]
filter = "a"
[[device.point]]
id = "level"
medium = "water"
kind = "gauge"
unit = "m"
decimals = 0
path = "n"
[[device]]
id = "b"
link = "broker"
enterprise = "acme"
[[device.topic]]
filter = "b"
[[device.point]]
id = "level"
medium = "water"
kind = "gauge"
unit = "m"
decimals = 0
path = "n"
[[device]]
id = "mute"
link = "broker"
enterprise = "acme"
[[device.topic]]
filter = "mute"
[[device.point]]
id = "level"
medium = "water"
kind = "gauge"
unit = "m"
decimals = 0
path = "n"
"#;

fn rule(id: &str, priority: &str, rest: &str) -> String {
    format!("[[rule]]\nid = \"{id}\"\ntitle = {{ zh = \"{id}\", en = \"{id}\" }}\npriority = \"{priority}\"\n{rest}\n")
}

struct Park {
    gateway: Gateway,
}

impl Park {
    /// Writes the rules beside the configuration.
    fn write(&self, rules: &[String]) -> Result<PathBuf> {
        let file = self.gateway.config().with_file_name("alarms").join("rules.toml");
        std::fs::write(&file, rules.concat())?;
        Ok(file)
    }

    fn reload(&self) -> Result<(u16, Value)> {
        let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(LIMIT)).http_status_as_error(false).build().into();
        let mut answer = agent.post(self.gateway.url("/api/v1/config/reload")).send_empty()?;
        let text = answer.body_mut().read_to_string()?;
        Ok((answer.status().as_u16(), serde_json::from_str(&text).with_context(|| text.clone())?))
    }

    fn rules(&self, rules: &[String]) -> Result<()> {
        self.write(rules)?;
        let (status, told) = self.reload()?;
        ensure!(status == 200 && told["result"] == "applied" && told["restarted"] == json!([]), "{status} {told}");
        Ok(())
    }

    /// A level of just now.
    fn read(&self, point: &str, level: u32) -> Result<()> {
        let at = jiff::Timestamp::now().to_string();
        let (config, level) = (self.gateway.config().display().to_string(), level.to_string());
        let read = parkgate(&["reading", "add", point, "--at", &at, "--value", &level, "--config", &config])?;
        ensure!(read.code == 0, "{read:?}");
        Ok(())
    }

    /// All that was told by now but the watchdog: rule, kind, state.
    fn told(&self) -> Result<Vec<[String; 3]>> {
        let mut events = self.gateway.get("/api/v1/alarms/events?after_seq=0&limit=10000")?;
        let Value::Array(items) = events["items"].take() else { bail!("no items in {events}") };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let told = items.iter().map(|event| [text(&event["labels"]["rule"]), text(&event["kind"]), text(&event["state"])]);
        Ok(told.filter(|[rule, ..]| rule != "watchdog").collect())
    }

    /// Waits until so many events were told; the last ones, behind `from`.
    fn told_since(&self, from: usize, expected: &[[&str; 3]]) -> Result<usize> {
        let mut last = Vec::new();
        let found = wait_for("events of alarms", LIMIT, || {
            last = self.told()?;
            Ok((last.len() >= from + expected.len()).then_some(()))
        });
        found.with_context(|| format!("{expected:?} behind {from} events, the last were {last:?}"))?;
        let mut news: Vec<_> = last.get(from..).unwrap_or_default().iter().map(|event| event.each_ref().map(String::as_str)).collect();
        let mut expected = expected.to_vec();
        news.sort_unstable();
        expected.sort_unstable();
        ensure!(news == expected, "{news:?}, not {expected:?}");
        Ok(last.len())
    }

    /// The rules of alarms that are on.
    fn on(&self) -> Result<Vec<String>> {
        let alarms = self.gateway.get("/api/v1/alarms")?;
        let rules =
            alarms["operator"].as_array().context("no list")?.iter().map(|alarm| alarm["labels"]["rule"].as_str().unwrap_or_default());
        let mut rules: Vec<String> = rules.filter(|rule| *rule != "watchdog").map(str::to_owned).collect();
        rules.sort_unstable();
        Ok(rules)
    }
}

#[test]
fn rules_are_bound_anew() -> Result<()> {
    let _stopwatch = Stopwatch::start("reload: alarms");
    let mut park = Park { gateway: Gateway::prepare(None)? };
    park.gateway.configure(CONFIG)?;
    std::fs::create_dir_all(park.gateway.config().with_file_name("alarms"))?;
    let above = |limit: u32, point: &str| format!("points = [\"{point}\"]\nabove = {limit}\nunit = \"m\"");
    let silent = || "devices = [\"mute\"]\nsilent_over_s = 1".to_owned();
    let first = [rule("high", "high", &above(100, A)), rule("soon-gone", "low", &above(50, B)), rule("mute", "low", &silent())];
    park.write(&first)?;
    park.gateway.restart()?;

    park.read(A, 150)?;
    park.read(B, 80)?;
    let mut seen = park.told_since(0, &[["high", "raised", "firing"], ["soon-gone", "raised", "firing"], ["mute", "raised", "firing"]])?;
    let alarms = park.gateway.get("/api/v1/alarms")?;
    let of = |rule: &str| alarms["operator"].as_array().into_iter().flatten().find(|alarm| alarm["labels"]["rule"] == rule).cloned();
    let (high, mute) = (of("high").context("not on")?, of("mute").context("not on")?);
    let path = format!("/api/v1/alarms/{}/ack", high["fingerprint"].as_str().unwrap_or_default());
    ureq::post(park.gateway.url(&path)).content_type("application/json").send("{\"by\":\"eve\"}")?;
    seen = park.told_since(seen, &[["high", "acknowledged", "firing"]])?;

    // A mistake in the rules: nothing is taken, and nothing is told.
    let file = park.write(&[rule("high", "hi", &above(100, A))])?;
    let (status, told) = park.reload()?;
    let problem = &told["problems"][0];
    ensure!(status == 422 && problem["line"] == 4 && problem["file"].as_str() == file.to_str(), "{status} {told}");
    ensure!(park.on()? == ["high", "mute", "soon-gone"], "{:?}", park.on()?);

    // One with another limit, one gone, one new, and one that is always on.
    let second = [
        rule("high", "high", &above(200, A)),
        rule("new", "medium", &above(10, B)),
        rule("mute", "low", &silent()),
        rule("hello", "low", "always = true"),
    ];
    park.rules(&second)?;
    seen = park.told_since(seen, &[["soon-gone", "gone", "resolved"], ["hello", "raised", "firing"]])?;
    let alarms = park.gateway.get("/api/v1/alarms")?;
    let kept = alarms["operator"].as_array().into_iter().flatten().find(|alarm| alarm["labels"]["rule"] == "high").cloned();
    let kept = kept.context("an alarm ended with the reload although its rule is there")?;
    ensure!(kept["starts_at"] == high["starts_at"] && kept["annotations"]["acknowledged_by"] == "eve", "{kept}");
    let rules = park.gateway.text("/prometheus/api/v1/rules")?;
    for (id, is_there) in [("\"new\"", true), ("soon-gone", false)] {
        ensure!(rules.contains(id) == is_there, "{id}: {rules}");
    }
    // The next readings are judged by what is in force.
    park.read(A, 150)?;
    seen = park.told_since(seen, &[["high", "resolved", "resolved"]])?;
    park.read(B, 60)?;
    seen = park.told_since(seen, &[["new", "raised", "firing"]])?;
    park.read(A, 199)?;
    park.read(A, 201)?;
    seen = park.told_since(seen, &[["high", "raised", "firing"]])?;

    // With another priority it is another alarm: of a value with the next one; of a device that is silent all the time at
    // once, and since then.
    let third = [rule("high", "critical", &above(200, A)), rule("new", "medium", &above(10, B)), rule("mute", "high", &silent())];
    park.rules(&third)?;
    let gone = [["high", "gone", "resolved"], ["mute", "gone", "resolved"], ["hello", "gone", "resolved"], ["mute", "raised", "firing"]];
    seen = park.told_since(seen, &gone)?;
    park.read(A, 202)?;
    seen = park.told_since(seen, &[["high", "raised", "firing"]])?;
    let alarms = park.gateway.get("/api/v1/alarms")?;
    for alarm in alarms["operator"].as_array().into_iter().flatten() {
        match alarm["labels"]["rule"].as_str() {
            Some("mute") => ensure!(alarm["labels"]["priority"] == "high" && alarm["starts_at"] == mute["starts_at"], "{alarm} {mute}"),
            Some("high") => ensure!(alarm["labels"]["priority"] == "critical", "{alarm}"),
            _ => {}
        }
    }

    // What was told stays told over a restart, by the same rules.
    ensure!(park.gateway.stop()?.success(), "the gateway did not stop cleanly");
    park.gateway.restart()?;
    wait_for("alarms as before", LIMIT, || Ok((park.on()? == ["high", "mute", "new"]).then_some(())))?;
    ensure!(park.told()?.len() == seen, "{:?}", park.told()?);
    ensure!(park.gateway.stop()?.success(), "the gateway did not stop cleanly");
    Ok(())
}
