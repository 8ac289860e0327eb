//! The order in which the program starts and stops: what may fail at once comes before the journal is read, drivers come
//! last; they stop first, and what they handed over goes through before the journal closes.

use anyhow::{Context as _, Result, ensure};
use parkgate_tests::gateway::{Gateway, parkgate};
use parkgate_tests::{free_port, wait_for};

/// A meter at a broker that nobody runs.
fn config(port: u16) -> String {
    format!(
        r#"
[park]
id = "p"
name = {{ zh = "园", en = "park" }}

[[link]]
id = "broker"
driver = "mqtt"
host = "127.0.0.1"
port = {port}

[[device]]
id = "gas"
link = "broker"

[[device.topic]]
filter = "gas"

[[device.point]]
id = "gas_volume"
reference = "twenty_degrees"
path = "volume"
"#
    )
}

#[test]
fn drivers_start_last_and_stop_first() -> Result<()> {
    let mut gateway = Gateway::start(&config(free_port()?))?;
    let log = gateway.log();
    let read = || std::fs::read_to_string(&log).context("no log");
    wait_for("attempt to connect", std::time::Duration::from_secs(20), || Ok(read()?.contains("mqtt not connected").then_some(())))?;
    ensure!(gateway.stop()?.success(), "exit code");
    let text = read()?;
    let marks = [
        "journal opened",
        "gateway started",
        "mqtt not connected",
        "message=stopping",
        "mqtt stopped",
        "part=normalise",
        "part=history",
        "journal closed",
    ];
    let mut place = 0;
    for mark in marks {
        let found = text.get(place..).and_then(|rest| rest.find(mark));
        place += found.with_context(|| format!("no `{mark}` where it should be in\n{text}"))? + mark.len();
    }
    Ok(())
}

#[test]
fn a_port_that_is_taken_is_said_before_the_journal_is_touched() -> Result<()> {
    let mut first = Gateway::start(&config(free_port()?))?;
    let second = Gateway::prepare(None)?;
    let data = second.data_directory().to_str().context("UTF-8")?.to_owned();
    let address = format!("127.0.0.1:{}", first.port());
    let text = format!("{}\n[gateway]\ndata_directory = {data:?}\n\n[gateway.http]\nlisten = \"{address}\"\n", config(free_port()?));
    std::fs::write(second.config(), text)?;
    let config = second.config();
    let ended = parkgate(&["run".as_ref(), "--config".as_ref(), config.as_os_str()])?;
    ensure!(ended.code == 2 && ended.stderr.contains(&format!("cannot listen on {address}")), "{ended:?}");
    ensure!(!second.data_directory().join("journal").exists(), "the journal was opened");
    ensure!(first.stop()?.success(), "exit code");
    Ok(())
}
