//! The probe against the simulated server on loopback.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use expect_test::{Expect, expect};

use super::*;
use crate::catalogue::{Lone, LoneDevice, MemoryFiles, built_in_profiles, lone_device};
use crate::sim::modbus::meter::Meters;
use crate::sim::modbus::rtu::RtuServer;
use crate::sim::modbus::{Faults, SimServer, UnitMode};

const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const UNIT: u8 = 3;

async fn server(meters: &Arc<Meters>) -> SimServer {
    SimServer::start(LOOPBACK, meters.bank(), Arc::new(Faults::new(1))).await.unwrap()
}

/// A device of a built-in profile, or of a text, behind a port.
fn made(profile: &str, text: Option<&str>, port: u16) -> LoneDevice {
    let lone = Lone { host: "127.0.0.1".into(), port, unit_id: UNIT, timeout_ms: 400 };
    lone_device(profile, text.map(str::to_owned), &lone, &MemoryFiles::default()).unwrap_or_else(|error| panic!("{error}"))
}

async fn probed(made: &LoneDevice) -> Probe {
    probe(&made.catalogue.devices[0], &made.variants).await.unwrap()
}

/// The words of a profile's tests, set as registers of the simulated meter; the later tests' over the first's.
fn set_from_tests(meters: &Meters, profile: &str) {
    let (_, text) = built_in_profiles().find(|(id, _)| *id == profile).unwrap();
    let file: toml::Table = text.parse().unwrap();
    let test = &file["test"][0];
    for (table, function) in [("holding", Function::HoldingRegisters), ("input", Function::InputRegisters)] {
        for (address, words) in test.get(table).and_then(toml::Value::as_table).into_iter().flatten() {
            let address = address.strip_prefix("0x").map_or_else(|| address.parse(), |hex| u16::from_str_radix(hex, 16)).unwrap();
            let words: Vec<u16> = words.as_str().unwrap().split(' ').map(|word| u16::from_str_radix(word, 16).unwrap()).collect();
            meters.set(UNIT, function, address, &words);
        }
    }
}

/// Every address that a plan reads along has some word.
fn fill(meters: &Meters, made: &LoneDevice) {
    let (_, plan) = planned(&made.catalogue.devices[0]).unwrap();
    for block in plan.blocks {
        meters.set(UNIT, block.function, block.address, &vec![0; usize::from(block.quantity)]);
    }
}

fn then(remedy: &str) -> String {
    if remedy.is_empty() { String::new() } else { format!(" -> {remedy}") }
}

fn shown(probe: &Probe, expected: Expect) {
    let mut text = String::new();
    for block in &probe.blocks {
        text += &format!("{}: {}{}\n", block.registers, block.error.as_deref().unwrap_or("answered"), then(&block.remedy));
    }
    for point in &probe.points {
        let value = point.value.as_deref().unwrap_or("-");
        let remedy = then(&point.remedy);
        text += &format!("{} {} = {value} {} {:?}{remedy}\n", point.point, point.words, point.unit, point.judgement);
    }
    for variant in &probe.variants {
        text += &format!("variant {}: {} {} = {} {}\n", variant.profile, variant.about, variant.register, variant.found, variant.fits);
    }
    for advice in &probe.advice {
        text += &format!("advice: {advice}\n");
    }
    text += if probe.is_fine() { "fine" } else { "not fine" };
    expected.assert_eq(&text);
}

/// Every built-in profile read over a socket gives plausible values, where its own test's words are the registers.
#[tokio::test]
async fn every_profile_reads_plausibly_over_a_socket() {
    for (id, _) in built_in_profiles() {
        let meters = Arc::new(Meters::new());
        let server = server(&meters).await;
        let made = made(id, None, server.local_addr().port());
        fill(&meters, &made);
        for variant in &made.variants {
            let (address, quantity) = variant.source.span();
            meters.set(UNIT, variant.source.function, address, &vec![0; usize::from(quantity)]);
        }
        set_from_tests(&meters, id);
        let probe = probed(&made).await;
        assert!(probe.is_fine(), "{id}: {probe:?}");
        assert!(probe.advice.is_empty(), "{id}: {:?}", probe.advice);
        server.stop().await;
    }
}

const TINY: &str = "[profile]\nid = \"x\"\nmaker = \"m\"\nmodel = \"m\"\nsource = \"s\"\n[modbus]\nmax_gap = 0\n\
    [[point]]\nid = \"voltage\"\nvalid_min = 0\nvalid_max = 500\nregister = { address = 0, type = \"f32\", not_available = [\"0xFFFFFFFF\"] }\n\
    [[point]]\nid = \"frequency\"\nvalid_min = 45\nvalid_max = 65\nregister = { address = 10, type = \"f32\" }\n\
    [[point]]\nid = \"power_factor\"\nscale = 0.001\nvalid_min = -1\nvalid_max = 1\nregister = { address = 20, type = \"i16\" }\n";

#[tokio::test]
async fn what_is_wrong_is_said_with_what_to_do() {
    let meters = Arc::new(Meters::new());
    let server = server(&meters).await;
    let made = made("x", Some(TINY), server.local_addr().port());
    let holding = Function::HoldingRegisters;
    // 230.5 V and 50 Hz with the low word first; a power factor of 2.301.
    meters.set(UNIT, holding, 0, &[0x8000, 0x4366]);
    meters.set(UNIT, holding, 10, &[0x0000, 0x4248]);
    meters.set(UNIT, holding, 20, &[0x08FD]);
    shown(
        &probed(&made).await,
        expect![[r#"
            registers 40001-40002: answered
            registers 40011-40012: answered
            register 40021: answered
            voltage 8000 4366 = 0.0 V NextToNothing -> a float next to nothing: not measured, or its bytes are in another order; CDAB would be 230.5 V: compare with the display and set `order`
            frequency 0000 4248 = 0.000 Hz OutOfRange -> outside 45 to 65; CDAB would be 50.000 Hz: compare with the display and set `order`
            power_factor 08FD = 2.301 1 OutOfRange -> outside -1 to 1; BA would be -0.760 1: compare with the display and set `order`
            advice: all values of several registers are plausible as CDAB: set order = "CDAB" under [modbus]
            not fine"#]],
    );
    // A marker, NaN, and an address that is not there.
    meters.set(UNIT, holding, 0, &[0xFFFF, 0xFFFF]);
    meters.set(UNIT, holding, 10, &[0x7FC0, 0x0001]);
    server.faults().add_illegal(UNIT, holding, 20, 20);
    shown(
        &probed(&made).await,
        expect![[r#"
            registers 40001-40002: answered
            registers 40011-40012: answered
            register 40021: exception 2 (illegal data address): check the addresses, or forbid the gap that is read along -> this model has no such address: look at the variant, and try function = "input" too
            voltage FFFF FFFF = - V NotAvailable -> the device says that it has no value: not connected, or not measured by this model
            frequency 7FC0 0001 = - Hz NotANumber -> no number of this type, and so in every byte order: compare address, type, scale and valid range with the manual and the display
            power_factor  = - 1 NoAnswer -> see the block
            not fine"#]],
    );
    for mode in [UnitMode::Exception(1), UnitMode::Exception(3), UnitMode::Exception(4), UnitMode::Exception(0x0B), UnitMode::Silent] {
        server.faults().set_unit(UNIT, mode);
        let probe = probed(&made).await;
        assert!(probe.points.iter().all(|point| point.judgement == Judgement::NoAnswer && point.words.is_empty()));
        let block = &probe.blocks[0];
        let said = (block.error.as_deref().unwrap(), block.remedy.as_str());
        let expected = match mode {
            UnitMode::Exception(1) => ("exception 1 (illegal function)", "try function = \"input\""),
            UnitMode::Exception(3) => ("exception 3 (illegal data value)", "2 at once may be too many: lower max_block"),
            UnitMode::Exception(4) => ("exception 4 (server device failure)", "the device has failed inside"),
            UnitMode::Exception(_) => {
                ("exception 11 (gateway target device failed to respond)", "the converter answers, the device behind it does not")
            }
            _ => ("no answer", "check the unit id"),
        };
        assert!(said.0.starts_with(expected.0) && said.1.starts_with(expected.1), "{said:?}");
    }
    server.stop().await;
    let probe = probed(&made).await;
    let error = probe.blocks[0].error.as_deref().unwrap();
    assert!(error.starts_with("cannot connect to 127.0.0.1:"), "{error}");
    assert_eq!(probe.blocks[1].error.as_deref(), Some("not asked"));
}

#[derive(Debug, Default, serde::Deserialize, garde::Validate)]
#[garde(allow_unvalidated)]
struct NoTable {}
impl crate::catalogue::OwnTable for NoTable {}

/// The same over a line of RTU frames behind a converter, also with its echo: answers of one length follow each other.
#[tokio::test]
async fn a_line_of_rtu_frames_is_read_as_well() {
    let meters = Arc::new(Meters::new());
    let server = RtuServer::listen(LOOPBACK, meters.bank(), Arc::new(Faults::new(1))).await.unwrap();
    let port = server.local_addr().unwrap().port();
    let mut files = MemoryFiles::default();
    let main = format!(
        "[park]\nid = \"p\"\n[[link]]\nid = \"bus\"\ndriver = \"modbus_rtu_over_tcp\"\nhost = \"127.0.0.1\"\nport = {port}\n\
         late_window_ms = 30\n[[device]]\nid = \"m\"\nlink = \"bus\"\nprofile = \"x\"\nmodbus = {{ unit_id = {UNIT} }}\n"
    );
    files.files.insert("main.toml".into(), main);
    files.files.insert("devices/x.toml".into(), TINY.to_owned());
    let loaded = crate::catalogue::load::<NoTable>(std::path::Path::new("main.toml"), &files).unwrap_or_else(|error| panic!("{error}"));
    let catalogue = loaded.draft.build(&mut crate::catalogue::MemoryRegistry::default()).unwrap();
    meters.set(UNIT, Function::HoldingRegisters, 0, &[0x4366, 0x8000]);
    meters.set(UNIT, Function::HoldingRegisters, 10, &[0x4248, 0x0000]);
    meters.set(UNIT, Function::HoldingRegisters, 20, &[0x03DE]);
    for echo in [false, true] {
        server.set_echo(echo);
        let probe = probe(&catalogue.devices[0], &[]).await.unwrap();
        assert!(probe.is_fine(), "{probe:?}");
        let values: Vec<_> = probe.points.iter().filter_map(|point| point.value.as_deref()).collect();
        assert_eq!(values, ["230.5", "50.000", "0.990"]);
    }
    server.stop().await;
}

#[tokio::test]
async fn variants_are_told_apart() {
    for (energy_at, profile, expected) in [
        (0x401E, "chint-dtsu666", Some("energy imported at 0x401E: this is the variant of profile `chint-dtsu666-4`: name that one")),
        (0x101E, "chint-dtsu666-4", Some("energy imported at 0x101E: this is the variant of profile `chint-dtsu666`: name that one")),
        (0x101E, "chint-dtsu666", None),
        (0, "chint-dtsu666", Some("no known variant of the profile fits: compare its registers with the manual of this device")),
    ] {
        let meters = Arc::new(Meters::new());
        let server = server(&meters).await;
        let made = made(profile, None, server.local_addr().port());
        fill(&meters, &made);
        meters.set(UNIT, Function::HoldingRegisters, 0x2044, &[0x459C, 0x4800]);
        // 1234.5 kWh
        meters.set(UNIT, Function::HoldingRegisters, energy_at, &[0x449A, 0x5000]);
        let probe = probed(&made).await;
        assert_eq!(probe.advice.first().map(String::as_str), expected, "{probe:?}");
        assert_eq!(probe.is_fine(), expected.is_none(), "{probe:?}");
        server.stop().await;
    }
}
