//! What the unit tests of several modules begin with.

use std::path::Path;

use parkgate_collector::catalogue::{self, Catalogue, MemoryFiles, MemoryRegistry};

use crate::settings::GatewaySettings;

/// The catalogue of a configuration in one text.
pub fn catalogue(text: &str, registry: &mut MemoryRegistry) -> Catalogue {
    let files = MemoryFiles { files: [("main.toml".into(), text.to_owned())].into(), ..MemoryFiles::default() };
    let loaded = catalogue::load::<GatewaySettings>(Path::new("main.toml"), &files).unwrap_or_else(|error| panic!("{error}"));
    loaded.draft.build(registry).expect("a catalogue")
}
