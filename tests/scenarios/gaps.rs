//! A meter that refuses registers between its points: that is learned, listed, kept over a restart, forgotten beside the
//! running gateway, and asked again.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use parkgate_collector::protocol::modbus::Function;
use parkgate_collector::sim::modbus::{Bank, Faults, SimServer};
use parkgate_tests::gateway::{Finished, Gateway, parkgate};
use parkgate_tests::{Stopwatch, wait_for};
use serde_json::Value;

/// Longest until something shows.
const LIMIT: Duration = Duration::from_secs(60);
const LEARNED: &str = "parkgate_driver_learned_gaps";

#[test]
fn what_a_meter_refused_is_listed_and_forgotten_while_it_is_read() -> Result<()> {
    let _stopwatch = Stopwatch::start("gaps");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let bank: Bank = Arc::new(|_, _, address, quantity| Ok((address..address + quantity).collect()));
    let faults = Arc::new(Faults::new(1));
    faults.add_illegal(1, Function::HoldingRegisters, 5, 6);
    let meter = runtime.block_on(SimServer::start((Ipv4Addr::LOCALHOST, 0).into(), bank, Arc::clone(&faults)))?;
    let mut gateway = Gateway::start(&config(meter.local_addr().port()))?;
    wait_for("the learned gap", LIMIT, || Ok((gaps(&gateway)? == 1.0 && !listed(&gateway, &[])?.is_empty()).then_some(())))?;
    let rows = listed(&gateway, &["--device", "main-meter"])?;
    let [row] = rows.as_slice() else { anyhow::bail!("{rows:?}") };
    ensure!(row["device"] == "main-meter" && row["function"] == 3 && row["address"] == 3 && row["quantity"] == 6, "{row}");
    ensure!(row["since"].as_str().is_some_and(|since| since.ends_with('Z')), "{row}");
    ensure!(listed(&gateway, &["--device", "other"])?.is_empty());
    let text = command(&gateway, &["list"], 0)?.stdout;
    ensure!(text.starts_with("main-meter (unit 1): registers 40004-40009 cannot be read along, since "), "{text}");

    gateway.stop()?;
    ensure!(listed(&gateway, &[])? == rows, "it is kept");
    gateway.restart()?;
    wait_for("polls after the restart", LIMIT, || Ok((polls(&gateway)? > 5.0).then_some(())))?;
    ensure!(gaps(&gateway)? == 1.0 && listed(&gateway, &[])? == rows, "it was asked again");

    // Other firmware.
    faults.clear_illegal();
    let refused = command(&gateway, &["forget", "main-metre"], 1)?;
    ensure!(refused.stderr.contains("`main-metre`") && refused.stderr.contains("gaps list"), "{refused:?}");
    let forgotten = command(&gateway, &["forget", "main-meter", "--json"], 0)?.json_lines()?;
    ensure!(forgotten == rows, "{forgotten:?}");
    ensure!(listed(&gateway, &[])?.is_empty(), "forgotten, and the file has it");
    wait_for("the line without it", LIMIT, || Ok((gaps(&gateway)? == 0.0).then_some(())))?;
    command(&gateway, &["forget", "main-meter"], 1)?;

    // It refuses after all: learned again, without a restart.
    faults.add_illegal(1, Function::HoldingRegisters, 5, 6);
    wait_for("the gap once more", LIMIT, || Ok((!listed(&gateway, &[])?.is_empty()).then_some(())))?;
    gateway.stop()?;

    // With no gateway running.
    command(&gateway, &["forget", "main-meter"], 0)?;
    ensure!(command(&gateway, &["list"], 0)?.stdout.starts_with("no device"));
    std::fs::write(gateway.data_directory().join("modbus.learned"), "x")?;
    let damaged = command(&gateway, &["list"], 2)?;
    ensure!(damaged.stderr.contains("modbus.learned cannot be read; it may be deleted"), "{damaged:?}");
    Ok(())
}

/// Points at 0 to 2, and at 9: what is between them is read along.
fn config(port: u16) -> String {
    let mut text = format!(
        "[park]\nid = \"park\"\nname = \"Park\"\n\n[[link]]\nid = \"line\"\ndriver = \"modbus_tcp\"\nhost = \"127.0.0.1\"\nport = {port}\n\
         timeout_ms = 20000\n\n[[device]]\nid = \"main-meter\"\nlink = \"line\"\nmodbus = {{ unit_id = 1, poll_interval_ms = 100, max_gap = 10 }}\n"
    );
    for address in [0, 1, 2, 9] {
        text.push_str(&format!(
            "[[device.point]]\nid = \"r{address}\"\nmedium = \"power\"\nkind = \"gauge\"\nunit = \"1\"\ndecimals = 0\n\
             register = {{ address = {address}, type = \"u16\" }}\n"
        ));
    }
    text
}

/// `parkgate gaps ...` on the gateway's configuration, which must end with `code`.
fn command(gateway: &Gateway, arguments: &[&str], code: i32) -> Result<Finished> {
    let config = gateway.config();
    let config = config.to_str().context("not UTF-8")?;
    let finished = parkgate(&[&["gaps"], arguments, &["--config", config]].concat())?;
    ensure!(finished.code == code, "{arguments:?}: {finished:?}");
    Ok(finished)
}

fn listed(gateway: &Gateway, arguments: &[&str]) -> Result<Vec<Value>> {
    command(gateway, &[&["list", "--json"], arguments].concat(), 0)?.json_lines()
}

fn gaps(gateway: &Gateway) -> Result<f64> {
    metric(gateway, LEARNED)
}

/// Requests that were answered.
fn polls(gateway: &Gateway) -> Result<f64> {
    metric(gateway, "parkgate_driver_readings_received_total")
}

/// The figure of the only series of a metric; -1 where there is none yet.
fn metric(gateway: &Gateway, name: &str) -> Result<f64> {
    let text = gateway.text("/metrics")?;
    let line = text.lines().find(|line| line.starts_with(name) && line.contains("main-meter"));
    Ok(line.and_then(|line| line.rsplit(' ').next()).map(str::parse).transpose()?.unwrap_or(-1.0))
}
