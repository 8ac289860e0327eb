use std::path::Path;

use parkgate_collector::catalogue::{LoadError, MemoryFiles, MemoryRegistry};

use super::*;
use crate::settings::GatewaySettings;

/// A park of MQTT meters: device, enterprise, role, quantities.
const METERS: &[(&str, &str, &str, &[&str])] = &[
    ("gate", "", "gate", &["energy_import", "energy_export", "active_power"]),
    ("acme-main", "acme", "sub", &["energy_import", "energy_export"]),
    ("street", "", "sub", &["energy_import"]),
    ("roof", "acme", "generation", &["energy_export"]),
    ("acme-line", "acme", "production", &["energy_import"]),
    ("acme-gas", "acme", "sub", &["gas_volume"]),
    ("acme-raw", "acme", "feedstock", &["gas_volume"]),
    ("acme-water", "acme", "sub", &["water_volume"]),
    ("acme-cycle", "acme", "recirculated", &["water_volume"]),
    ("cycle", "", "recirculated", &["water_volume"]),
    ("acme-heat", "acme", "", &["heat_energy"]),
    ("pile", "", "sub", &["charging_energy", "connector_state"]),
];

fn text(table: &str) -> String {
    let mut text =
        "[park]\nid = \"p\"\n[[enterprise]]\nid = \"acme\"\n[[link]]\nid = \"b\"\ndriver = \"mqtt\"\nhost = \"h\"\nclient_id = \"c\"\n"
            .to_owned();
    for (device, enterprise, role, quantities) in METERS {
        text.push_str(&format!("[[device]]\nid = \"{device}\"\nlink = \"b\"\n"));
        for (key, value) in [("enterprise", enterprise), ("role", role)] {
            if !value.is_empty() {
                text.push_str(&format!("{key} = \"{value}\"\n"));
            }
        }
        text.push_str("point = [\n");
        for quantity in *quantities {
            let reference = if *quantity == "gas_volume" { "reference = \"twenty_degrees\", " } else { "" };
            text.push_str(&format!("  {{ id = \"{quantity}\", {reference}path = \"{quantity}\" }},\n"));
        }
        text.push_str("]\n[[device.topic]]\nfilter = \"p/{device}\"\n");
    }
    text + table
}

fn load(table: &str) -> Result<Topology, Vec<String>> {
    let files = MemoryFiles { files: [("main.toml".into(), text(table))].into(), ..MemoryFiles::default() };
    match parkgate_collector::catalogue::load::<GatewaySettings>(Path::new("main.toml"), &files) {
        Ok(loaded) => {
            let catalogue = loaded.draft.build(&mut MemoryRegistry::default()).unwrap();
            Ok(Topology::new(&loaded.gateway.topology, &catalogue))
        }
        // Without the line, which the meters above move.
        Err(LoadError::Invalid(problems)) => {
            let lines: Vec<String> = problems.list().iter().map(|problem| problem.to_string()).collect();
            Err(lines.iter().map(|line| line.splitn(4, ':').nth(3).unwrap_or_default().trim().to_owned()).collect())
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn places_follow_from_roles() {
    let topology = load("").unwrap();
    let found: Vec<String> = topology
        .meters
        .iter()
        .map(|meter| {
            let enterprise = meter.enterprise.as_deref().unwrap_or("-");
            format!("{} {} {} {enterprise}\n", meter.point.identity.stable_id, meter.energy, name(meter.place))
        })
        .collect();
    // The line meter is part of the main meter, the cycle without an enterprise and the heat meter without a role have no place.
    expect_test::expect![[r#"
        p/gate/energy_import electricity gate -
        p/gate/energy_export electricity gate_export -
        acme/acme-main/energy_import electricity import acme
        acme/acme-main/energy_export electricity internal_export acme
        p/street/energy_import electricity public -
        acme/roof/energy_export electricity pv acme
        acme/acme-gas/gas_volume natural_gas_gas_field import acme
        acme/acme-raw/gas_volume natural_gas_gas_field feedstock acme
        acme/acme-water/water_volume water fresh acme
        acme/acme-cycle/water_volume water recirculated acme
        p/pile/charging_energy electricity public -
    "#]]
    .assert_eq(&found.concat());
    assert!(topology.chargers.is_empty());
}

#[test]
fn the_table_outweighs_roles() {
    let topology = load(
        "[gateway.topology]\ngas = \"natural_gas_oil_field\"\n\
         [[gateway.topology.meter]]\npoint = \"acme/acme-heat/heat_energy\"\nplace = \"internal_export\"\n\
         [[gateway.topology.meter]]\npoint = \"p/cycle/water_volume\"\nplace = \"recirculated\"\nenterprise = \"acme\"\n\
         [[gateway.topology.meter]]\npoint = \"p/street/energy_import\"\nplace = \"sub\"\nparent = \"p/gate/energy_import\"\n\
         [[gateway.topology.charger]]\ndevice = \"pile\"\nrated_kw = 60.5\nfault = [3]\n",
    )
    .unwrap();
    let of = |id: &str| topology.meters.iter().find(|meter| meter.point.identity.stable_id == id).unwrap();
    assert_eq!((of("acme/acme-heat/heat_energy").place, of("acme/acme-heat/heat_energy").energy.as_str()), (Place::InternalExport, HEAT));
    assert_eq!(of("p/cycle/water_volume").enterprise.as_deref(), Some("acme"));
    assert_eq!(
        (of("p/street/energy_import").place, of("p/street/energy_import").parent.as_deref()),
        (Place::Sub, Some("p/gate/energy_import"))
    );
    assert_eq!(of("acme/acme-gas/gas_volume").energy, "natural_gas_oil_field");
    let [pile] = topology.chargers.as_slice() else { panic!("{:?}", topology.chargers) };
    assert_eq!((pile.settings.rated_kw.to_string().as_str(), pile.states.len(), pile.delivered.is_some()), ("60.5", 1, true));
}

#[test]
fn what_does_not_fit_the_park_is_told_where_it_stands() {
    let problems = load(
        "[gateway.topology]\ngas = \"natural_gas\"\nloss_share_max = 5\n\
         [[gateway.topology.meter]]\npoint = \"acme/acme-heat/heat\"\nplace = \"import\"\n\
         [[gateway.topology.meter]]\npoint = \"p/gate/active_power\"\nplace = \"gate\"\n\
         [[gateway.topology.meter]]\npoint = \"p/street/energy_import\"\nplace = \"import\"\n\
         [[gateway.topology.meter]]\npoint = \"p/street/energy_import\"\nplace = \"public\"\n\
         [[gateway.topology.meter]]\npoint = \"acme/acme-line/energy_import\"\nplace = \"sub\"\nparent = \"acme/acme-main/energy\"\nenterprise = \"nobody\"\n\
         [[gateway.topology.meter]]\npoint = \"acme/acme-water/water_volume\"\nplace = \"import\"\nenergy = \"diesel\"\n\
         [[gateway.topology.meter]]\npoint = \"acme/roof/energy_export\"\nplace = \"pv\"\nenergy = \"heat\"\n\
         [[gateway.topology.charger]]\ndevice = \"pille\"\nrated_kw = 60\n\
         [[gateway.topology.charger]]\ndevice = \"gate\"\nrated_kw = 0\n",
    )
    .unwrap_err();
    expect_test::expect![[r#"
        the coefficient table has no `natural_gas`; config/factors/equivalent.toml has them all
        is no fraction from 0 to 1; write 0.05 for 5 %
        there is no point `acme/acme-heat/heat`; did you mean `acme/acme-heat/heat_energy`?
        point `p/gate/active_power` is no counter; places are of registers that count; take the meter's energy or volume
        a meter placed as import needs an enterprise; add enterprise = "ID"
        point `p/street/energy_import` is placed twice; a meter stands in one place: keep one
        there is no point `acme/acme-main/energy`; did you mean `acme/acme-main/energy_import`?
        there is no enterprise `nobody`; write the id of an [[enterprise]]
        m3 is no unit of diesel: it is counted in kg or t; choose the counter that the coefficient is for, or another energy
        kWh is no unit of heat: it is counted in GJ or MJ; choose the counter that the coefficient is for, or another energy
        there is no device `pille`; did you mean `pile`?
        device `gate` has no point of quantity connector_state; give it one
        must be above 0
    "#]]
    .assert_eq(&problems.iter().map(|line| format!("{line}\n")).collect::<String>());
}
