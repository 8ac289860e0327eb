//! The commands beside `run`, on files and beside a running gateway: what they print and how they end.

use std::ffi::OsStr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use parkgate_collector::sim::mqtt::Publisher;
use parkgate_tests::gateway::{Finished, Gateway, parkgate};
use parkgate_tests::mosquitto::{Mosquitto, Options};
use parkgate_tests::{Stopwatch, copy_tree, now_ms, wait_for};
use serde_json::Value;
use tokio::runtime::Runtime;

/// Longest that a published message may take to show.
const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn check_names_every_problem_with_its_place() -> Result<()> {
    let _stopwatch = Stopwatch::start("commands: check");
    let folder = tempfile::tempdir()?;
    let broken = folder.path().join("broken.toml");
    std::fs::write(
        &broken,
        "[park]\nid = \"p\"\nnaem = \"P\"\n\n[[link]]\nid = \"hall\"\ndriver = \"modbus_tcp\"\nhost = \"h\"\nport = 99999\n\n\
         [[device]]\nid = \"meter\"\nlink = \"hal\"\nmodbus = { unit_id = 1 }\n\
         point = [{ id = \"active_power\", raw_unit = \"W\", register = { address = 70000, type = \"f32\" } }]\n",
    )?;
    let checked = command(&["check".as_ref(), broken.as_os_str()], 1)?;
    for (place, text) in [("broken.toml:3:1", "`name`"), ("broken.toml:9:8", "99999"), ("broken.toml:13:8", "`hall`")] {
        ensure!(checked.stdout.contains(place) && checked.stdout.contains(text), "{place} {text} not in\n{}", checked.stdout);
    }
    ensure!(checked.stdout.contains("help:"), "no help in\n{}", checked.stdout);
    let json = command(&["check".as_ref(), "--json".as_ref(), broken.as_os_str()], 1)?.json_lines()?;
    ensure!(json.len() == 1, "one file, but {json:?}");

    // Rules of alarms are files of their own that the main file names.
    let (park, rules) = (folder.path().join("park.toml"), folder.path().join("alarms"));
    std::fs::create_dir(&rules)?;
    std::fs::write(&park, "[park]\nid = \"p\"\ntime_zone = \"Asia/Shanghai\"\n")?;
    std::fs::write(rules.join("boiler.toml"), "[[rule]]\nid = \"a\"\npriorty = \"low\"\n")?;
    let checked = command(&["check".as_ref(), park.as_os_str()], 1)?;
    ensure!(checked.stdout.contains("boiler.toml:3:1") && checked.stdout.contains("1 problems"), "{checked:?}");
    std::fs::remove_file(rules.join("boiler.toml"))?;
    command(&["check".as_ref(), park.as_os_str()], 0)?;

    let missing = folder.path().join("missing.toml");
    let checked = command(&["check".as_ref(), missing.as_os_str()], 2)?;
    ensure!(format!("{}{}", checked.stdout, checked.stderr).contains("missing.toml"), "{checked:?}");
    let run = command(&["run".as_ref(), "--config".as_ref(), missing.as_os_str()], 2)?;
    ensure!(run.stderr.contains("missing.toml"), "{run:?}");
    let run = command(&["run".as_ref(), "--config".as_ref(), broken.as_os_str()], 1)?;
    ensure!(run.stderr.contains("broken.toml:3:1"), "{run:?}");
    Ok(())
}

#[test]
fn schema_and_help_read_well() -> Result<()> {
    let schema: Value = serde_json::from_str(&command(&["schema"], 0)?.stdout)?;
    for key in ["$schema", "properties"] {
        ensure!(!schema[key].is_null(), "no {key} in the schema");
    }
    ensure!(schema["properties"]["gateway"] != Value::Null, "the program's own table is not in the schema");
    let all: &[&[&str]] = &[
        &[],
        &["run"],
        &["demo"],
        &["check"],
        &["schema"],
        &["rejects"],
        &["rejects", "list"],
        &["rejects", "replay"],
        &["gaps"],
        &["gaps", "list"],
        &["gaps", "forget"],
        &["journal"],
        &["journal", "verify"],
        &["journal", "dump"],
        &["grafana"],
        &["grafana", "export"],
        &["token"],
        &["token", "create"],
        &["token", "list"],
        &["token", "revoke"],
        &["changes"],
        &["changes", "list"],
        &["ledger"],
        &["ledger", "add"],
        &["ledger", "list"],
        &["ledger", "balance"],
        &["review"],
    ];
    for path in all {
        let help = command(&[*path, &["--help"]].concat(), 0)?;
        let usage = format!("Usage: parkgate{}", path.iter().map(|part| format!(" {part}")).collect::<String>());
        ensure!(help.stdout.contains(&usage), "{path:?}: no `{usage}` in\n{}", help.stdout);
    }
    command(&["explode"], 2)?;
    command(&["check"], 2)?;
    Ok(())
}

/// Two meters whose value is at `path`.
fn config(port: u16, path: &str) -> String {
    let device = |id: &str| {
        format!(
            "[[device]]\nid = \"{id}\"\nlink = \"broker\"\n[[device.topic]]\nfilter = \"meters/{id}\"\n\
             [[device.point]]\nid = \"active_power\"\npath = \"{path}\"\n\n"
        )
    };
    format!(
        "[park]\nid = \"park\"\nname = \"Park\"\n\n[[link]]\nid = \"broker\"\ndriver = \"mqtt\"\nhost = \"127.0.0.1\"\nport = {port}\n\n{}{}",
        device("a"),
        device("b")
    )
}

#[test]
fn rejects_are_kept_and_replayed_and_the_journal_is_read_beside() -> Result<()> {
    let _stopwatch = Stopwatch::start("commands: rejects, journal");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let _guard = runtime.enter();
    let broker = Mosquitto::start(&Options::default())?;
    let mut gateway = Gateway::start(&config(broker.port(), "wrong.path"))?;
    let file = gateway.config();
    let mut publisher = broker.publisher("meters");
    let start = now_ms();
    // The subscription may take a moment: until one is seen they are lost.
    wait_for("the first reject", LIMIT, || {
        send(&runtime, &mut publisher, "meters/a", r#"{"power": 5.5"#)?;
        Ok((!rejects(&file, &[])?.is_empty()).then_some(()))
    })?;
    send(&runtime, &mut publisher, "meters/a", r#"{"power": 7.25}"#)?;
    send(&runtime, &mut publisher, "meters/b", r#"{"power": 8.5}"#)?;
    wait_for("all rejects", LIMIT, || Ok((rejects(&file, &["--device", "b"])?.len() == 1).then_some(())))?;
    let listed = rejects(&file, &[])?;
    let readable: Vec<&Value> =
        listed.iter().filter(|reject| reject["payload"].as_str().is_some_and(|payload| payload.ends_with('}'))).collect();
    ensure!(readable.len() == 2, "{listed:?}");
    let unreadable = listed.len() - 2;
    let arrived = |device: &str| readable.iter().find(|reject| reject["device"] == device).map(|reject| reject["received_time"].clone());
    let (arrived_a, arrived_b) = (arrived("a").context("none of a")?, arrived("b").context("none of b")?);
    let text = command(&["rejects".as_ref(), "list".as_ref(), "--config".as_ref(), file.as_os_str()], 0)?.stdout;
    ensure!(text.contains(r#"{"power": 5.5"#) && text.contains("meters/b"), "{text}");

    ensure!(gateway.get_text("/metrics")?.1.contains("\nparkgate_driver_rejected_total{"), "no metric tells of the rejects");
    ensure!(gateway.stop()?.success(), "did not stop cleanly");
    gateway.configure(&config(broker.port(), "power"))?;
    gateway.restart()?;
    // Were one of them not acknowledged, it would come again before this one.
    send(&runtime, &mut publisher, "meters/a", r#"{"power": 9}"#)?;
    wait_for("a value", LIMIT, || Ok((!gateway.latest("park/a/active_power")?.is_null()).then_some(())))?;
    ensure!(gateway.samples("park/a/active_power")?.len() == 1, "a rejected message came again");

    // While the gateway runs: it does the work itself. One of a's cannot be read by any configuration.
    let replayed = replay(&file, Some("a"), 1)?;
    ensure!(replayed.contains("1 replayed") && replayed.contains(&format!("{unreadable} still rejected")), "{replayed}");
    let found = wait_for("the replayed value", LIMIT, || {
        Ok(gateway.samples("park/a/active_power")?.into_iter().find(|sample| sample["value"] == "7.250"))
    })?;
    ensure!(found["received_time"] == arrived_a && found["record_time"] == arrived_a, "{found}, arrived {arrived_a}");
    ensure!(found["record_time_ms"].as_i64().is_some_and(|time| time >= start), "{found}");
    ensure!(rejects(&file, &["--device", "a"])?.len() == unreadable, "what was replayed is listed again");
    let again = replay(&file, Some("a"), 1)?;
    ensure!(again.contains("0 replayed"), "{again}");
    journal_is_sound(&gateway)?;

    // Without one: the command does it.
    ensure!(gateway.stop()?.success(), "did not stop cleanly");
    let replayed = replay(&file, Some("b"), 0)?;
    ensure!(replayed.contains("1 replayed"), "{replayed}");
    ensure!(rejects(&file, &["--device", "b"])?.is_empty(), "what was replayed is listed again");
    gateway.restart()?;
    let found = gateway.latest("park/b/active_power")?;
    ensure!(found["value"] == "8.500" && found["record_time"] == arrived_b, "{found}, arrived {arrived_b}");
    ensure!(gateway.samples("park/a/active_power")?.len() == 2, "doubled");
    gateway.kill_9()?;
    flipped_byte(&gateway)?;
    gateway.restart()?;
    ensure!(gateway.samples("park/a/active_power")?.len() == 2, "lost or doubled");
    gateway.stop()?;
    Ok(())
}

fn send(runtime: &Runtime, publisher: &mut Publisher, topic: &str, payload: &str) -> Result<()> {
    runtime.block_on(async {
        publisher.publish(topic, payload).await?;
        Ok(publisher.flush().await?)
    })
}

/// Beside a running gateway.
fn journal_is_sound(gateway: &Gateway) -> Result<()> {
    let data = gateway.data_directory().as_os_str();
    let verified = command(&["journal".as_ref(), "verify".as_ref(), "--data".as_ref(), data], 0)?;
    ensure!(verified.stdout.contains("sound: "), "{}", verified.stdout);
    let dumped = command(&["journal".as_ref(), "dump".as_ref(), "--data".as_ref(), data], 0)?;
    let lines = dumped.json_lines()?;
    ensure!(lines.len() > 2 && dumped.stdout.contains("7250"), "no sample 7.250 in\n{}", dumped.stdout);
    let samples = lines.iter().flat_map(|line| line["samples"].as_array().into_iter().flatten());
    let ids: Vec<&Value> = samples.map(|sample| &sample["id"]).collect();
    ensure!(!ids.is_empty() && ids.iter().all(|id| id.as_str().is_some_and(|id| id.contains('/'))), "no stable ids: {ids:?}");
    let one = command(&["journal".as_ref(), "dump".as_ref(), "--limit".as_ref(), "1".as_ref(), "--data".as_ref(), data], 0)?;
    ensure!(one.json_lines()?.len() == 1, "{}", one.stdout);
    Ok(())
}

/// `verify` finds one flipped bit of a copy; the original stays sound.
fn flipped_byte(gateway: &Gateway) -> Result<()> {
    let copy = tempfile::tempdir()?;
    copy_tree(gateway.data_directory(), copy.path())?;
    let journal = copy.path().join("journal");
    let mut segments: Vec<_> = std::fs::read_dir(&journal)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    segments.sort();
    let segment = segments.first().context("no segment")?;
    let mut bytes = std::fs::read(segment)?;
    // Within the body of an entry: there the catalogue's or a sample's numbers are.
    let place = bytes.iter().skip(64).position(|byte| *byte != 0).context("an empty segment")? + 64 + 24;
    bytes[place] ^= 0x10;
    std::fs::write(segment, bytes)?;
    let verify = |data: &OsStr, code| command(&["journal".as_ref(), "verify".as_ref(), "--data".as_ref(), data], code);
    let damaged = verify(copy.path().as_os_str(), 1)?;
    ensure!(damaged.stdout.contains("DAMAGED"), "{}", damaged.stdout);
    verify(gateway.data_directory().as_os_str(), 0)?;
    Ok(())
}

/// The rejects that are listed, as JSON.
fn rejects(config: &std::path::Path, more: &[&str]) -> Result<Vec<Value>> {
    let mut arguments: Vec<&OsStr> = vec!["rejects".as_ref(), "list".as_ref(), "--json".as_ref(), "--config".as_ref(), config.as_os_str()];
    arguments.extend(more.iter().map(|argument| OsStr::new(*argument)));
    command(&arguments, 0)?.json_lines()
}

fn replay(config: &std::path::Path, device: Option<&str>, code: i32) -> Result<String> {
    let mut arguments: Vec<&OsStr> = vec!["rejects".as_ref(), "replay".as_ref(), "--config".as_ref(), config.as_os_str()];
    arguments.extend(device.iter().flat_map(|device| [OsStr::new("--device"), OsStr::new(*device)]));
    Ok(command(&arguments, code)?.stdout)
}

/// Runs a command that must end with `code`.
fn command<A: AsRef<OsStr>>(arguments: &[A], code: i32) -> Result<Finished> {
    let finished = parkgate(arguments)?;
    let named: Vec<_> = arguments.iter().map(AsRef::as_ref).collect();
    ensure!(finished.code == code, "{named:?} ended with {} instead of {code}:\n{}{}", finished.code, finished.stdout, finished.stderr);
    Ok(finished)
}
