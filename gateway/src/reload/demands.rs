//! Which changes of a configuration need a restart. Pure.
//!
//! Taken while the gateway runs: links, devices, points, profiles, enterprises, names, display units, `[[gateway.outlet]]`,
//! `[[gateway.abatement]]`, `[gateway.topology]`, `[gateway.review]` and the rules of alarms. All else, named key by key below,
//! belongs to parts that are made once: the directory, the addresses, the journal, history, the log, sinks and receivers.
//! A key that is new and stands in no list needs a restart too.

use parkgate_collector::catalogue::{Misfit, Park};
use serde_json::Value;

use crate::settings::GatewaySettings;

/// What is taken while the gateway runs, of `[gateway]`.
const LIVE: &[&str] = &["gateway.topology", "gateway.review", "gateway.outlet", "gateway.abatement", "gateway.alarms.rules"];
/// What to do about the rest.
const HELP: &str = "this needs a restart; until then the configuration in force stays as a whole";

/// What of a new configuration needs a restart, by its path in the main file.
pub fn needs_restart((old, old_park): (&GatewaySettings, &Park), new: &GatewaySettings, new_park: &Park) -> Vec<Misfit> {
    let mut paths = Vec::new();
    if old_park.id != new_park.id {
        paths.push("park.id".to_owned());
    }
    if old_park.time_zone != new_park.time_zone {
        paths.push("park.time_zone".to_owned());
    }
    // The normaliser judges clocks by it.
    if old_park.commissioned != new_park.commissioned {
        paths.push("park.commissioned".to_owned());
    }
    if let (Ok(before), Ok(after)) = (serde_json::to_value(old), serde_json::to_value(new)) {
        differences("gateway", &before, &after, &mut paths);
    }
    paths.retain(|path| !LIVE.iter().any(|live| is_under(path, live)));
    // Secrets are not among the texts compared.
    let lists = [
        ("gateway.sink", old.sink != new.sink),
        ("gateway.alertmanager", old.alertmanager != new.alertmanager),
        ("gateway.webhook", old.webhook != new.webhook),
    ];
    for (list, differs) in lists {
        if differs && !paths.iter().any(|path| is_under(path, list)) {
            paths.push(list.to_owned());
        }
    }
    paths.into_iter().map(|path| Misfit { message: format!("`{path}` is not as it was at the start"), help: HELP.into(), path }).collect()
}

fn is_under(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// Paths at which two documents differ. Lists of other lengths differ as a whole.
fn differences(path: &str, one: &Value, other: &Value, found: &mut Vec<String>) {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let keys = one.keys().chain(other.keys().filter(|key| !one.contains_key(*key)));
            for key in keys {
                let of = |object: &serde_json::Map<String, Value>| object.get(key).cloned().unwrap_or(Value::Null);
                differences(&format!("{path}.{key}"), &of(one), &of(other), found);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (index, (one, other)) in one.iter().zip(other).enumerate() {
                differences(&format!("{path}[{index}]"), one, other, found);
            }
        }
        _ if one != other => found.push(path.to_owned()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use parkgate_collector::catalogue::{self, Loaded, MemoryFiles};

    use super::*;

    const MAIN: &str = r#"[park]
id = "p"
time_zone = "Asia/Shanghai"
[gateway]
data_directory = "d"
[gateway.http]
listen = "127.0.0.1:1"
[gateway.journal]
budget_megabytes = 1000
[gateway.alarms]
rules = ["a.toml"]
[gateway.review]
park_state = "s.json"
[[gateway.sink]]
id = "hq"
kind = "influxdb2"
url = "http://a:8086"
org = "o"
bucket = "b"
token = "one"
"#;

    fn loaded(text: &str) -> Loaded<GatewaySettings> {
        let files = MemoryFiles { files: [("main.toml".into(), text.to_owned())].into(), ..MemoryFiles::default() };
        catalogue::load(Path::new("main.toml"), &files).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn what_needs_a_restart_is_named_and_the_rest_is_not() {
        let old = loaded(MAIN);
        for (from, to, expected) in [
            ("id = \"p\"", "id = \"p\"\nname = { zh = \"园\", en = \"Park\" }", &[][..]),
            ("id = \"p\"", "id = \"q\"", &["park.id"]),
            ("Asia/Shanghai", "UTC", &["park.time_zone"]),
            ("id = \"p\"", "id = \"p\"\ncommissioned = \"2026-03-01\"", &["park.commissioned"]),
            ("\"d\"", "\"e\"", &["gateway.data_directory"]),
            ("127.0.0.1:1", "0.0.0.0:1", &["gateway.http.listen"]),
            ("listen", "require_token = true\nlisten", &["gateway.http.require_token"]),
            ("budget_megabytes = 1000", "", &["gateway.journal.budget_megabytes"]),
            (
                "[gateway.review]",
                "[gateway.totals]\ngrace_minutes = 3\n[gateway.log]\nlevel = \"debug\"\n[gateway.review]",
                &["gateway.log.level", "gateway.totals.grace_minutes"],
            ),
            ("a.toml", "b.toml", &[]),
            ("rules = [\"a.toml\"]", "rules = [\"a.toml\"]\nlate_hours = 7", &["gateway.alarms.late_hours"]),
            ("s.json", "t.json", &[]),
            ("http://a:8086", "http://b:8086", &["gateway.sink[0].url"]),
            ("token = \"one\"", "token = \"two\"", &["gateway.sink"]),
            (
                "[[gateway.sink]]\nid = \"hq\"",
                "[[gateway.sink]]\nid = \"vm\"\nkind = \"victoriametrics\"\nurl = \"http://v:1\"\n[[gateway.sink]]\nid = \"hq\"",
                &["gateway.sink"],
            ),
            (
                "[[gateway.sink]]",
                "[[gateway.webhook]]\nname = \"w\"\nurl = \"http://w/\"\nsecret_file = \"s\"\n[[gateway.sink]]",
                &["gateway.webhook"],
            ),
        ] {
            assert!(MAIN.contains(from), "{from}");
            let new = loaded(&MAIN.replacen(from, to, 1));
            let found = needs_restart((&old.gateway, old.draft.park()), &new.gateway, new.draft.park());
            let mut paths: Vec<&str> = found.iter().map(|misfit| misfit.path.as_str()).collect();
            paths.sort_unstable();
            assert_eq!(paths, expected, "{to}");
        }
    }

    /// With the place in the file, as any other problem.
    #[test]
    fn what_needs_a_restart_is_told_with_its_place() {
        let old = loaded(MAIN);
        let text = MAIN.replace("127.0.0.1:1", "127.0.0.1:2").replace("Asia/Shanghai", "UTC");
        let files = MemoryFiles { files: [("main.toml".into(), text)].into(), ..MemoryFiles::default() };
        let demand =
            |gateway: &GatewaySettings, draft: &catalogue::Draft| needs_restart((&old.gateway, old.draft.park()), gateway, draft.park());
        let Err(catalogue::LoadError::Invalid(problems)) = catalogue::load_with(Path::new("main.toml"), &files, &demand) else {
            panic!("taken as valid");
        };
        let lines: Vec<String> =
            problems.list().iter().map(|problem| format!("{}:{}: {}", problem.file, problem.line, problem.message)).collect();
        assert_eq!(
            lines,
            [
                "main.toml:3: `park.time_zone` is not as it was at the start",
                "main.toml:7: `gateway.http.listen` is not as it was at the start",
            ]
        );
    }
}
