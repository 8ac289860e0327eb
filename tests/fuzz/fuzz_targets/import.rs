//! Files of values: CSV, line protocol, and the mapping of their names to points.

#![no_main]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use parkgate_collector::catalogue::{self, MemoryFiles, MemoryRegistry};
use parkgate_collector::model::UtcMillis;
use parkgate_gateway::settings::GatewaySettings;
use parkgate_gateway::transfer::line_protocol::{self, Precision, SeriesMap};
use parkgate_gateway::transfer::rows::{self, Targets};

const PARK: &str = include_str!("../../../config/examples/first-park.toml");

/// The points of a small park, none later than 2030.
static TARGETS: LazyLock<Targets> = LazyLock::new(|| {
    let files = MemoryFiles { files: BTreeMap::from([("parkgate.toml".into(), PARK.to_owned())]), variables: BTreeMap::new() };
    let loaded = catalogue::load::<GatewaySettings>(Path::new("parkgate.toml"), &files).expect("the example is valid");
    let catalogue = loaded.draft.build(&mut MemoryRegistry::default()).expect("a catalogue");
    Targets::new(&catalogue, UtcMillis(1_893_456_000_000))
});

static SERIES: LazyLock<SeriesMap> = LazyLock::new(|| {
    let pairs = [("gas.volume", "my-park/gas-1/gas_volume"), ("gas.volume,host=a", "my-park/gas-1/gas_volume")];
    SeriesMap::new(&pairs.map(|(from, to)| (from.to_owned(), to.to_owned())), &TARGETS).expect("a mapping")
});

fuzz_target!(|input: &[u8]| {
    let Some((what, file)) = input.split_first() else { return };
    match what % 4 {
        0 => drop(rows::read_csv(file, &TARGETS, |_| true)),
        1 => drop(line_protocol::read(file, &TARGETS, &SERIES, Precision::Ns, |_| true)),
        2 => drop(line_protocol::read(file, &TARGETS, &SERIES, Precision::S, |_| true)),
        _ => {
            if let Ok(pairs) = rows::point_map(file) {
                let _ = SeriesMap::new(&pairs, &TARGETS);
            }
        }
    }
});
