//! The way of a newcomer: the shipped example with two addresses changed, one power meter on Modbus, one gas meter on
//! MQTT, from nothing to values; stopped, started again, and started once too often.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use parkgate_collector::protocol::modbus::Function;
use parkgate_collector::sim::modbus::{Bank, Faults, SimServer};
use parkgate_tests::gateway::{Gateway, parkgate};
use parkgate_tests::mosquitto::{Mosquitto, Options};
use parkgate_tests::{Stopwatch, now_ms, wait_for};
use serde_json::Value;

/// Longest from ready to a value, and from SIGTERM to the end.
const LIMIT: Duration = Duration::from_secs(10);
const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/examples/first-park.toml");
const GAS: &str = "my-park/gas-1/gas_volume";
const ENERGY: &str = "my-park/main-meter/energy_import";

#[test]
fn from_nothing_to_a_value() -> Result<()> {
    let _stopwatch = Stopwatch::start("first_park");
    ensure!(parkgate(&["check", EXAMPLE])?.code == 0, "the shipped example has problems");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let _guard = runtime.enter();
    let broker = Mosquitto::start(&Options::default())?;
    let meter = runtime.block_on(SimServer::start((Ipv4Addr::LOCALHOST, 0).into(), sdm630(), Arc::new(Faults::new(1))))?;
    let config = placed(&std::fs::read_to_string(EXAMPLE)?, meter.local_addr(), broker.port())?;
    let mut gateway = Gateway::start(&config)?;
    let checked = parkgate(&["check".as_ref(), gateway.config().as_os_str()])?;
    ensure!(checked.code == 0, "{checked:?}");

    let mut publisher = broker.publisher("meters");
    let stamp = now_ms();
    wait_for("values of both meters", LIMIT, || {
        runtime.block_on(publisher.publish("park/gas-1/telemetry", format!("{{\"ts\":{stamp},\"volume\":1520.37}}")))?;
        Ok(all_good(&gateway)?.then_some(()))
    })?;
    let gas = gateway.latest(GAS)?;
    ensure!(gas["value"] == "1520.370" && gas["record_time_ms"] == stamp && gas["origin"] == "metered", "{gas}");
    let energy = gateway.latest(ENERGY)?;
    ensure!(energy["value"].as_str().is_some_and(|value| value.starts_with("1200.")), "{energy}");

    refused(&gateway)?;
    stopped(&mut gateway)?;
    let before = gateway.log();
    ensure!(!std::fs::read_to_string(before)?.contains("panicked"), "a panic is in the log");
    gateway.restart()?;
    let polled = gateway.samples(ENERGY)?.len();
    wait_for("polls after the restart", LIMIT, || Ok((gateway.samples(ENERGY)?.len() > polled + 1).then_some(())))?;
    runtime.block_on(publisher.publish("park/gas-1/telemetry", format!("{{\"ts\":{},\"volume\":1520.40}}", stamp + 60_000)))?;
    wait_for("the second gas value", LIMIT, || Ok((gateway.samples(GAS)?.len() > 1).then_some(())))?;
    for point in [ENERGY, GAS] {
        let samples = gateway.samples(point)?;
        let steps: Vec<&str> = samples.iter().filter_map(|sample| sample["step"].as_str()).collect();
        ensure!(steps.first() == Some(&"first") && steps.iter().skip(1).all(|step| *step == "delta"), "{point}: {steps:?}");
    }
    stopped(&mut gateway)
}

/// The example with the addresses of this scenario.
fn placed(example: &str, meter: SocketAddr, broker_port: u16) -> Result<String> {
    let mut text = example.to_owned();
    for (host, port) in [("192.0.2.10", meter.port()), ("192.0.2.20", broker_port)] {
        let placed = text.replace(&format!("host = \"{host}\""), &format!("host = \"127.0.0.1\"\nport = {port}"));
        ensure!(placed != text, "the example no longer has {host}");
        text = placed;
    }
    Ok(text)
}

/// Input registers of an SDM630 as unit 1: binary32 at even addresses. The energy rises with time.
pub(crate) fn sdm630() -> Bank {
    let start = Instant::now();
    Arc::new(move |unit_id, function, address, quantity| {
        if (unit_id, function) != (1, Function::InputRegisters) {
            return Err(2);
        }
        let word = |address: u16| {
            let value = match address & !1 {
                0x0048 => 1200.0 + start.elapsed().as_secs_f32() / 1000.0,
                0x0046 => 50.0,
                0x003E => 0.95,
                _ => 230.0f32,
            };
            let [a, b, c, d] = value.to_be_bytes();
            if address.is_multiple_of(2) { u16::from_be_bytes([a, b]) } else { u16::from_be_bytes([c, d]) }
        };
        Ok((address..address.saturating_add(quantity)).map(word).collect())
    })
}

/// Whether every point has a value, and it is good.
fn all_good(gateway: &Gateway) -> Result<bool> {
    let latest = gateway.get("/api/v1/latest")?;
    let points = latest["items"].as_array().cloned().unwrap_or_default();
    Ok(points.len() > 10 && points.iter().all(|point| point["sample"]["quality"] == "good"))
}

/// A second gateway is refused: on the same data directory, and on the same port.
fn refused(gateway: &Gateway) -> Result<()> {
    let config = gateway.config();
    let same_data = parkgate(&["run".as_ref(), "--listen".as_ref(), "127.0.0.1:0".as_ref(), "--config".as_ref(), config.as_os_str()])?;
    ensure!(same_data.code == 2 && same_data.stderr.contains("in use by process"), "{same_data:?}");
    let other = gateway.config().with_file_name("other.toml");
    let data = gateway.data_directory().display().to_string();
    std::fs::write(&other, std::fs::read_to_string(&config)?.replace(&data, &format!("{data}-2")))?;
    let same_port = parkgate(&["run".as_ref(), "--config".as_ref(), other.as_os_str()])?;
    ensure!(same_port.code == 2 && same_port.stderr.contains("cannot listen on 127.0.0.1:"), "{same_port:?}");
    // Neither harmed the one that runs.
    ensure!(gateway.get("/api/v1/latest")?["items"] != Value::Null, "no answer");
    Ok(())
}

fn stopped(gateway: &mut Gateway) -> Result<()> {
    let start = Instant::now();
    let status = gateway.stop()?;
    ensure!(status.code() == Some(0) && start.elapsed() < LIMIT, "{status} after {:?}", start.elapsed());
    Ok(())
}
