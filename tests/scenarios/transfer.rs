//! History of before: a file of values into a park that never ran, out again, into another park, and beside a running
//! gateway.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use parkgate_tests::gateway::{Finished, Gateway, parkgate};
use parkgate_tests::mosquitto::{Mosquitto, Options};
use parkgate_tests::{Stopwatch, wait_for};
use serde_json::Value;

/// Longest that imported values may take to show.
const LIMIT: Duration = Duration::from_secs(20);
/// 2026-01-01T00:00:00+08:00.
const START_MS: i64 = 1_767_196_800_000;
const ROWS: i64 = 10_000;
const ENERGY: &str = "acme/meter/energy_import";
const POWER: &str = "acme/meter/active_power";

#[test]
fn values_of_a_file_go_in_once_and_come_out_as_they_were() -> Result<()> {
    let _stopwatch = Stopwatch::start("transfer");
    let broker = Mosquitto::start(&Options::default())?;
    let folder = tempfile::tempdir()?;
    let file = |name: &str| folder.path().join(name);
    let gateway = Gateway::prepare(None)?;
    gateway.configure(&config(broker.port()))?;

    // A register each quarter of an hour with the power beside it; three rows are not in order.
    let mut text = "point,time,value,unit,quality\n".to_owned();
    for i in 0..ROWS {
        let time = START_MS + i * 900_000;
        writeln!(text, "{ENERGY},{time},{}.{:02},kWh,", i / 4, i % 4 * 25)?;
        if i % 100 == 7 {
            writeln!(text, "{POWER},{time},,,bad")?;
        } else {
            writeln!(text, "{POWER},{time},{},W,good", i % 700)?;
        }
    }
    std::fs::write(file("good.csv"), &text)?;
    std::fs::write(file("odd.csv"), format!("{text}nobody,0,1,,\n{ENERGY},never,1,,\n{ENERGY},0,many,,\n"))?;
    let values = ROWS * 2;

    let dry = import(&gateway, &file("odd.csv"), &["--dry-run"], 1)?;
    ensure!(dry.0["rows"] == values && dry.0["refused"] == 3 && dry.0["imported"] == 0, "{dry:?}");
    let lines: Vec<String> = (0..3).map(|i| format!("odd.csv:{}: ", values + 2 + i)).collect();
    ensure!(lines.iter().all(|line| dry.1.stderr.contains(line)), "{lines:?} not in {}", dry.1.stderr);
    ensure!(!gateway.data_directory().exists(), "a dry run made the data directory");
    let odd = import(&gateway, &file("odd.csv"), &[], 1)?;
    ensure!(odd.0["imported"] == values && odd.0["refused"] == 3, "{odd:?}");
    let again = import(&gateway, &file("good.csv"), &[], 0)?;
    ensure!(again.0["imported"] == 0 && again.0["present"] == values, "{again:?}");

    let first = exported(&gateway, &file("first.csv"))?;
    ensure!(first.lines().count() == usize::try_from(values)? + 1, "{} lines", first.lines().count());
    let row = format!("{ENERGY},2026-01-01T00:15:00.000+08:00,{},0.25,kWh,good,,imported", START_MS + 900_000);
    ensure!(first.contains(&row), "{row} is not among\n{}", first.lines().take(4).collect::<Vec<_>>().join("\n"));

    // Into another park of that kind, with a gateway running.
    let mut other = Gateway::prepare(None)?;
    other.configure(&config(broker.port()))?;
    other.restart()?;
    let second = import(&other, &file("first.csv"), &[], 0)?;
    ensure!(second.0["imported"] == values, "{second:?}");
    let copied = exported(&other, &file("second.csv"))?;
    ensure!(without_received(&first) == without_received(&copied), "the export of what was exported differs");
    let once_more = import(&other, &file("first.csv"), &[], 0)?;
    ensure!(once_more.0["imported"] == 0 && once_more.0["present"] == values, "{once_more:?}");
    ensure!(exported(&other, &file("third.csv"))? == copied, "importing a file twice changed something");

    // Over HTTP the same rows.
    let (status, page) = other.get_text(&format!("/api/v1/samples?point={ENERGY}&from=0&to=now&limit=100000&format=csv"))?;
    let of_energy: Vec<&str> = copied.lines().filter(|line| !line.starts_with(POWER)).collect();
    ensure!(
        status == 200 && page.lines().eq(of_energy.iter().copied()),
        "{status}: {}",
        page.lines().take(3).collect::<Vec<_>>().join("\n")
    );

    // Line protocol with a mapping; one value is another than before.
    let time = (START_MS + 900_000) * 1_000_000;
    std::fs::write(file("old.lp"), format!("plant,hall=2 kwh=0.26 {time}\nplant,hall=2 kwh=0.27 {}\n", time + 1_000_000))?;
    std::fs::write(file("map.csv"), format!("from,point\n\"plant.kwh,hall=2\",{ENERGY}\n"))?;
    let map = file("map.csv").display().to_string();
    let lines = import(&other, &file("old.lp"), &["--point-map", &map, "--origin", "hand_read"], 0)?;
    ensure!(lines.0["imported"] == 2 && lines.0["replaced"] == 1, "{lines:?}");
    wait_for("the corrected value", LIMIT, || {
        let path = format!("/api/v1/samples?point={ENERGY}&from={}&to={}", START_MS + 900_000, START_MS + 900_001);
        let items = other.get(&path)?["items"].take();
        Ok((items[0]["value"] == "0.26" && items[0]["origin"] == "hand_read").then_some(()))
    })?;
    let forged = parkgate(&["import".as_ref(), file("old.lp").as_os_str(), "--origin".as_ref(), "metered".as_ref()])?;
    ensure!(forged.code == 2 && forged.stderr.contains("their drivers alone"), "{forged:?}");
    ensure!(other.stop()?.code() == Some(0), "the gateway did not stop well");
    Ok(())
}

fn config(port: u16) -> String {
    format!(
        r#"
[park]
id = "park"
name = "Park"
[[enterprise]]
id = "acme"
name = "Acme"
[[link]]
id = "broker"
driver = "mqtt"
host = "127.0.0.1"
port = {port}
[[device]]
id = "meter"
link = "broker"
enterprise = "acme"
[[device.topic]]
filter = "meters/1"
[[device.point]]
id = "energy_import"
medium = "power"
kind = "counter"
raw_unit = "Wh"
unit = "kWh"
decimals = 2
path = "e"
[[device.point]]
id = "active_power"
medium = "power"
kind = "gauge"
unit = "kW"
decimals = 3
path = "p"
"#
    )
}

/// Imports a file; the report and what else was printed.
fn import(gateway: &Gateway, file: &Path, more: &[&str], code: i32) -> Result<(Value, Finished)> {
    let (config, file) = (gateway.config().display().to_string(), file.display().to_string());
    let mut arguments = vec!["import", &file, "--config", &config, "--json"];
    arguments.extend(more);
    let finished = parkgate(&arguments)?;
    ensure!(finished.code == code, "{finished:?}");
    Ok((finished.json_lines()?.pop().context("nothing was printed")?, finished))
}

fn exported(gateway: &Gateway, file: &Path) -> Result<String> {
    let (config, path) = (gateway.config().display().to_string(), file.display().to_string());
    let points = format!("{ENERGY},{POWER}");
    let finished = parkgate(&["export", "--config", &config, "--point", &points, "--from", "2025-01-01", "--out", &path])?;
    ensure!(finished.code == 0, "{finished:?}");
    Ok(std::fs::read_to_string(file)?)
}

/// All columns but the last: when a value was received is another time in each park.
fn without_received(table: &str) -> Vec<&str> {
    table.lines().map(|line| line.rsplit_once(',').map_or(line, |(rest, _)| rest)).collect()
}
