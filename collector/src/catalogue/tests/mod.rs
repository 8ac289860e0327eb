//! The catalogue as a whole: broken configurations with what is said about them, whole ones with what becomes of them.

#![allow(clippy::arithmetic_side_effects)] // small numbers of our own

use std::path::{Path, PathBuf};

use expect_test::expect;
use garde::Validate;
use proptest::prelude::*;
use schemars::JsonSchema;
use serde::Deserialize;

use super::*;
use crate::model::{Decimal, Origin, ReferenceState};
use crate::protocol::json::{PathStep, TimeFormat};
use crate::protocol::modbus::{Function, RawCode, RegisterType, TextLayout};

mod broken;
mod lines;

/// A small table of the program's own.
#[derive(Debug, Default, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Own {
    #[garde(range(max = 10))]
    megabytes: u64,
}

impl OwnTable for Own {}

const PARK: &str = "[park]\nid = \"p\"\n";
const LINKS: &str = "[park]
id = \"p\"
[[enterprise]]
id = \"acme\"
[[link]]
id = \"bus\"
driver = \"modbus_tcp\"
host = \"192.0.2.1\"
[[link]]
id = \"broker\"
driver = \"mqtt\"
host = \"192.0.2.2\"
";
const METER: &str = "[[device]]
id = \"m\"
link = \"bus\"
modbus = { unit_id = 1 }
[[device.point]]
id = \"energy_import\"
register = { address = 0, type = \"u32\" }
";
const GAS: &str = "[[device]]
id = \"g\"
link = \"broker\"
[[device.topic]]
filter = \"t/g\"
[[device.point]]
id = \"gas_volume\"
reference = \"as_is\"
path = \"v\"
";

fn files(main: &str) -> MemoryFiles {
    let mut files = MemoryFiles::default();
    files.files.insert("main.toml".into(), main.to_owned());
    files
}

fn try_load(files: &MemoryFiles) -> Result<Loaded<Own>, LoadError> {
    load::<Own>(Path::new("main.toml"), files)
}

fn problems_of(files: &MemoryFiles) -> Problems {
    match try_load(files) {
        Err(LoadError::Invalid(problems)) => problems,
        Err(error) => panic!("{error}"),
        Ok(_) => Problems::default(),
    }
}

fn built(files: &MemoryFiles) -> Catalogue {
    try_load(files).unwrap_or_else(|error| panic!("{error}")).draft.build(&mut MemoryRegistry::default()).unwrap()
}

#[test]
fn a_park_becomes_a_catalogue() {
    let mut files = files(
        "include = [\"enterprises/*.toml\"]\nprofiles = [\"types\"]\n[park]\nid = \"p\"\nname.zh = \"园区\"\ndisplay_units = { kWh = \"MWh\" }\n\
         [[link]]\nid = \"broker\"\ndriver = \"mqtt\"\nhost = \"h\"\nusername = \"${USER_NAME}\"\npassword_file = \"secret\"\n[gateway]\nmegabytes = 7\n",
    );
    files.variables.insert("USER_NAME".into(), "reader".into());
    files.files.insert("secret".into(), "hunter2\n".into());
    files.files.insert(
        "types/meter.toml".into(),
        "[profile]\nid = \"meter\"\nmaker = \"m\"\nmodel = \"m\"\nsource = \"s\"\n[modbus]\norder = \"CDAB\"\nmax_gap = 3\n\
         forbidden = [{ function = \"holding\", first = 7, last = 9 }]\n\
         [[point]]\nid = \"energy_import\"\nscale = 0.010\nregister = { address = 0, type = \"u32\", not_available = [\"0xFFFFFFFF\", 7] }\n\
         [[point]]\nid = \"running\"\nmedium = \"power\"\nkind = \"state\"\nunit = \"state\"\nregister = { address = \"10003\" }\n"
            .into(),
    );
    files.files.insert(
        "enterprises/acme.toml".into(),
        "[[enterprise]]\nid = \"acme\"\nname = \"Acme\"\n[[link]]\nid = \"bus\"\ndriver = \"modbus_tcp\"\nhost = \"h\"\n\
         [[device]]\nid = \"m\"\nlink = \"bus\"\nenterprise = \"acme\"\nprofile = \"meter\"\nrole = \"gate\"\nlabels = { hall = \"1\" }\n\
         modbus = { unit_id = 3, poll_interval_ms = 500 }\n\
         [[device.point]]\nid = \"energy_import\"\nmodulus = 42_949_672.96\nlabels = { line = \"a\" }\nrole = \"sub\"\n\
         [[device]]\nid = \"g\"\nlink = \"broker\"\norigin = \"simulated\"\n\
         [[device.topic]]\nfilter = \"{park}/{enterprise}/{device}/+\"\nrecords = \"data\"\ntime = \"t\"\ntime_format = \"local\"\n\
         time_pattern = \"%Y%m%d%H%M%S\"\n\
         [[device.point]]\nid = \"gas_volume\"\nreference = \"zero_degrees\"\nraw_unit = \"10^4 Nm3\"\npath = \"v[0].x\"\n"
            .into(),
    );
    let loaded = try_load(&files).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(loaded.gateway.megabytes, 7);
    assert_eq!(loaded.draft.counts(), (1, 2, 2, 3));
    let catalogue = loaded.draft.build(&mut MemoryRegistry::default()).unwrap();
    assert!(!format!("{catalogue:?}").contains("hunter2"));
    assert_eq!(
        (catalogue.park.name.zh.as_str(), catalogue.park.name.en.as_str(), catalogue.park.time_zone.as_str()),
        ("园区", "园区", "Asia/Shanghai")
    );
    let DriverSettings::Mqtt(mqtt) = &catalogue.links[0].driver else { panic!("no mqtt") };
    assert_eq!((mqtt.username.as_deref(), mqtt.password.as_ref().map(Secret::reveal)), (Some("reader"), Some("hunter2")));
    assert_eq!((mqtt.client_id.as_str(), mqtt.port, mqtt.keep_alive_s), ("parkgate-p-broker", 1883, 30));

    let energy = catalogue.point_by_stable_id("acme/m/energy_import").unwrap();
    assert_eq!((energy.scale.to_string().as_str(), energy.modulus.unwrap().to_string().as_str()), ("0.010", "42949672.96"));
    assert_eq!((energy.role.as_deref(), energy.interval_ms, energy.labels.len()), (Some("sub"), Some(500), 2));
    let PointSource::Modbus(register) = &energy.source else { panic!("no register") };
    assert_eq!(
        (register.function, register.register_type, &register.not_available),
        (Function::HoldingRegisters, RegisterType::U32, &vec![0xffff_ffff, 7])
    );
    assert_eq!(&register.order.permutation[..4], [2, 3, 0, 1]);
    let running = catalogue.point_by_stable_id("acme/m/running").unwrap();
    let PointSource::Modbus(register) = &running.source else { panic!("no register") };
    assert_eq!((register.function, register.address, register.register_type), (Function::DiscreteInputs, 2, RegisterType::Bit(0)));
    assert_eq!(running.role.as_deref(), Some("gate"));
    let DeviceAddress::Modbus(address) = &catalogue.device("m").unwrap().address else { panic!("no modbus") };
    assert_eq!((address.unit_id, address.max_gap, address.max_block, address.forbidden.len()), (3, 3, 125, 1));

    let gas = catalogue.point_by_stable_id("p/g/gas_volume").unwrap();
    assert_eq!((gas.identity.unit.symbol(), gas.reference), ("Nm3", Some(ReferenceState::ZeroDegrees)));
    let device = catalogue.device("g").unwrap();
    assert_eq!(device.origin, Origin::Simulated);
    let DeviceAddress::Mqtt(address) = &device.address else { panic!("no mqtt") };
    let topic = &address.topics[0];
    assert_eq!(topic.filter, "p/p/g/+");
    assert_eq!(topic.values[0].1, gas.id);
    assert_eq!(topic.values[0].0.steps, [PathStep::Key("v".into()), PathStep::Index(0), PathStep::Key("x".into())]);
    let format = TimeFormat::Local { pattern: "%Y%m%d%H%M%S".into(), zone: "Asia/Shanghai".into() };
    let Payload::Json(records) = &topic.payload else { panic!("no JSON") };
    assert_eq!(records.time.as_ref().unwrap().format, format);
}

#[test]
fn nameplates_are_understood() {
    let text = format!("{LINKS}{METER}");
    let usual = built(&files(&text)).devices[0].nameplate;
    assert_eq!(usual, Nameplate::default());
    let keys = "nameplate = { check = false, window_minutes = 15, tolerance_percent = 10, energy_multiplier = 40, rated_power_kw = 62.5 }\nmodbus =";
    let told = built(&files(&text.replacen("modbus =", keys, 1))).devices[0].nameplate;
    let (energy_multiplier, rated) = (Decimal::new(40, 0), "62.5".parse().unwrap());
    assert_eq!(told, Nameplate { check: false, window_ms: 900_000, tolerance_percent: 10, energy_multiplier, rated_power_kw: Some(rated) });
}

#[test]
fn rules_and_formulas_are_understood() {
    let text = format!(
        "{LINKS}{METER}[[device.point]]\nid = \"active_power\"\nregister = {{ address = 9 }}\non_change = {{ deadband = 0.5, max_silence_ms = 60000 }}\n\
         [[device.point]]\nid = \"frequency\"\nregister = {{ address = 10 }}\nflat_after_ms = 60000\nchange_max_per_minute = 1\n\
         [[device.point]]\nid = \"load\"\nmedium = \"power\"\nkind = \"gauge\"\nunit = \"%\"\nformula = {{ ratio = [\"active_power\", \"p/m2/active_power\"] }}\n\
         [[device]]\nid = \"m2\"\nlink = \"bus\"\nmodbus = {{ unit_id = 2 }}\n[[device.point]]\nid = \"active_power\"\nregister = {{ address = 0 }}\n"
    );
    let catalogue = built(&files(&text));
    let point = |id: &str| catalogue.point_by_stable_id(id).unwrap();
    let power = point("p/m/active_power");
    assert_eq!(power.on_change(), Some(OnChange { deadband: "0.5".parse().unwrap(), max_silence_ms: 60_000 }));
    assert_eq!((power.interval_ms, point("p/m2/active_power").interval_ms), (Some(60_000), Some(1_000)));
    let frequency = point("p/m/frequency").rules.as_ref().unwrap();
    assert_eq!((frequency.flat_after_ms, frequency.change_max_per_minute), (Some(60_000), Some("1".parse().unwrap())));
    let load = point("p/m/load");
    let PointSource::Formula(formula) = &load.source else { panic!("no formula") };
    assert_eq!((formula.operation, formula.max_age_ms, load.interval_ms), (Operation::Ratio, 900_000, Some(60_000)));
    assert_eq!(formula.inputs, ["p/m/active_power", "p/m2/active_power"]);
}

#[test]
fn every_way_to_write_a_register_is_understood() {
    let source = |modbus: &str, keys: &str| {
        let text = format!(
            "{LINKS}{}",
            METER.replace("address = 0, type = \"u32\"", keys).replace("unit_id = 1", &format!("unit_id = 1{modbus}"))
        );
        match &built(&files(&text)).points[0].source {
            PointSource::Modbus(source) => source.clone(),
            other => panic!("{other:?}"),
        }
    };
    // A type of one name in config and in commands, with its usual order.
    for (name, register_type) in RegisterType::NAMES {
        let found = source("", &format!("address = 0, type = \"{name}\""));
        assert_eq!((found.register_type, found.order), (register_type, register_type.usual_order()), "{name}");
    }
    for (keys, modbus, address) in [
        ("address = 0", "", 0),
        ("address = 1", ", address_base = 1", 0),
        ("address = 0x10", ", address_base = 1", 15),
        ("address = 65535", "", 65_535),
        ("address = \"40001\"", ", address_base = 1", 0),
        ("address = \"400001\"", "", 0),
        ("address = \"465536\"", ", address_base = 0", 65_535),
    ] {
        assert_eq!(source(modbus, keys).address, address, "{keys}{modbus}");
    }
    let input = source("", "address = \"30011\", type = \"i16\", scale_register = \"30020\"");
    assert_eq!((input.function, input.address, input.scale_register, input.span()), (Function::InputRegisters, 10, Some(19), (10, 10)));
    let based = source(", address_base = 1", "address = 11, type = \"i16\", scale_register = 10");
    assert_eq!((based.address, based.scale_register), (10, Some(9)));
    // The default order of a device is not that of base 10,000.
    for (keys, letters) in [
        ("address = 0, type = \"bcd48\"", "BADCFE"),
        ("address = 0, type = \"u16\"", "BA"),
        ("address = 0, type = \"mod10_3\"", "EFCDAB"),
        ("address = 0, type = \"mod10_3\", order = \"high_first\"", "ABCDEF"),
        ("address = 0, type = \"f32\", order = \"BCDA\"", "BCDA"),
    ] {
        assert_eq!(source(", order = \"BADC\"", keys).order.letters(), letters, "{keys}");
    }
    let text = source("", "address = 5, type = \"string\", registers = 3, order = \"lower\", codes = { \" On \" = 1, Off = 0 }");
    assert_eq!(text.register_type, RegisterType::Text { registers: 3, layout: TextLayout::Lower });
    let mut codes = text.codes.clone();
    codes.sort_by_key(|(_, code)| *code);
    assert_eq!(codes, [(RawCode::Text("Off".into()), 0), (RawCode::Text("On".into()), 1)]);
    let codes = source("", "address = 5, codes = { \"0x10\" = 2, \"-1\" = 3 }").codes;
    assert!(codes.contains(&(RawCode::Number(16), 2)) && codes.contains(&(RawCode::Number(-1), 3)), "{codes:?}");
    let coil = source("", "address = \"00001\", codes = { \"0\" = 1, \"1\" = 0 }");
    assert_eq!((coil.function, coil.codes.len()), (Function::Coils, 2));
}

#[test]
fn the_version_follows_meaning_and_nothing_else() {
    let version = |text: &str| built(&files(text)).version;
    let text = format!("{LINKS}username = \"u\"\npassword = \"a\"\n{METER}");
    assert_eq!(version(&text), version(&text.replace('\n', " # note\n").replace(" = ", "=")));
    assert_eq!(version(&text), version(&text.replace("\"a\"", "\"b\"")));
    assert_eq!(version(&text), version(&format!("{text}[gateway]\nmegabytes = 3\n")));
    assert_ne!(version(&text), version(&text.replace("\"u32\"", "\"i32\"")));
    assert_ne!(version(&text), version(&text.replace("[park]", "[park]\ntime_zone = \"UTC\"")));
    let commissioned = text.replace("[park]", "[park]\ncommissioned = \"2026-03-01\"");
    let park = built(&files(&commissioned)).park;
    assert_eq!(park.commissioned.map(|time| time.to_string()).as_deref(), Some("2026-02-28T16:00:00.000Z"), "midnight in Shanghai");
    let with_profile = |name: &str| version(&format!("{LINKS}{}", METER.replace("modbus", &format!("profile = \"{name}\"\nmodbus"))));
    assert_ne!(version(&text), with_profile("eastron-sdm630"));
}

#[test]
fn a_problem_in_a_profile_is_told_once_and_at_the_profile() {
    let mut files = files(&format!(
        "{LINKS}[[device]]\nid = \"a\"\nlink = \"bus\"\nprofile = \"x\"\nmodbus = {{ unit_id = 1 }}\n\
         [[device]]\nid = \"b\"\nlink = \"bus\"\nprofile = \"x\"\nmodbus = {{ unit_id = 2 }}\n"
    ));
    let profile = "[profile]\nid = \"x\"\nmaker = \"m\"\nmodel = \"m\"\nsource = \"s\"\n[[point]]\nid = \"voltage\"\nunit = \"v\"\nregister = { address = 1 }\n";
    files.files.insert("devices/x.toml".into(), profile.into());
    let problems = problems_of(&files).list();
    assert_eq!(problems.len(), 1, "{problems:?}");
    expect!["devices/x.toml:8:8: unknown unit `v`; did you mean `V`?"].assert_eq(&problems[0].to_string());
}

#[test]
fn check_tells_main_files_from_profiles_and_counts() {
    let mut files = files(&format!("{LINKS}{METER}"));
    files.files.insert(
        "x.toml".into(),
        "[profile]\nid = \"x\"\nmaker = \"m\"\nmodel = \"m\"\nsource = \"s\"\n[[point]]\nid = \"voltage\"\n".into(),
    );
    let report = |names: &[&str]| check::<Own>(&names.iter().map(PathBuf::from).collect::<Vec<_>>(), &files);
    let fine = report(&["main.toml"]);
    assert_eq!((fine.exit_code(), fine.files[0].devices, fine.files[0].points), (0, 1, 1));
    let broken = report(&["main.toml", "x.toml"]);
    assert_eq!(broken.exit_code(), 1);
    expect![[r#"
        main.toml: fine (1 enterprises, 2 links, 1 devices, 1 points)
          × point `voltage` has no `register`
           ╭─[x.toml:7:6]
         6 │ [[point]]
         7 │ id = "voltage"
           ·      ─────────
           ╰────
          help: add register = { address = 0, type = "f32" }

        x.toml: 1 problems
    "#]]
    .assert_eq(&broken.render(false));
    assert_eq!(report(&["none.toml", "x.toml"]).exit_code(), 2);
}

#[test]
fn every_profile_built_in_is_sound_and_names_its_source() {
    for (id, text) in profile::BUILT_IN {
        let mut files = MemoryFiles::default();
        files.files.insert(id.into(), (*text).to_owned());
        let report = check::<Own>(&[PathBuf::from(id)], &files);
        assert_eq!(report.exit_code(), 0, "{}", report.render(false));
        assert!(report.files[0].points > 0, "{id}");
        assert!(text.contains(&format!("id = \"{id}\"\n")), "{id}: the id is the file's name");
    }
}

#[test]
fn the_schema_describes_every_table() {
    let schema = schema::<Own>().to_string();
    for key in ["enterprise", "modbus_tcp", "unit_id", "time_pattern", "not_available", "rate_max_per_hour", "megabytes"] {
        assert!(schema.contains(&format!("\"{key}\"")), "{key}");
    }
}

/// A thousand meters of ten points each, all from one profile.
#[test]
fn a_large_park_loads() {
    let mut text = String::from("[park]\nid = \"p\"\n");
    for device in 0..1000 {
        let (link, unit) = (device / 200, device % 200 + 1);
        if unit == 1 {
            text.push_str(&format!("[[link]]\nid = \"l{link}\"\ndriver = \"modbus_tcp\"\nhost = \"10.0.0.{link}\"\n"));
        }
        text.push_str(&format!(
            "[[device]]\nid = \"d{device}\"\nlink = \"l{link}\"\nprofile = \"eastron-sdm630\"\nmodbus = {{ unit_id = {unit} }}\n"
        ));
    }
    assert_eq!(built(&files(&text)).points.len(), 15_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_text_never_panics(text in "\\PC*") {
        let _ = problems_of(&files(&text)).render(false);
    }

    /// Lines of a good file, some repeated, some broken at a random place.
    #[test]
    fn a_mangled_file_never_panics(lines in prop::collection::vec((0usize..40, 0usize..60, "[ -~\\n园]{0,3}"), 0..60)) {
        let good = format!("{LINKS}password = \"hunter2\"\n{METER}{GAS}");
        let good: Vec<&str> = good.lines().collect();
        let mut text = String::new();
        for (line, cut, insert) in &lines {
            let line = good.get(*line).copied().unwrap_or("");
            text.extend(line.chars().take(*cut));
            text.push_str(insert);
            text.extend(line.chars().skip(*cut));
            text.push('\n');
        }
        let problems = problems_of(&files(&text));
        let _ = (problems.render(true), serde_json::to_string(&problems.list()));
    }
}
