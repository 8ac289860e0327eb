//! A configuration file: whatever the text, there is a configuration or a list of problems that can be shown.

#![no_main]

use std::collections::BTreeMap;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use parkgate_collector::catalogue::{self, LoadError, MemoryFiles, MemoryRegistry};
use parkgate_gateway::settings::GatewaySettings;

/// Of the variable `SECRET`; never in a message.
const SECRET: &str = "k9$Lq-never-shown";

fuzz_target!(|text: &str| {
    let files = MemoryFiles {
        files: BTreeMap::from([("parkgate.toml".into(), text.to_owned())]),
        variables: BTreeMap::from([("SECRET".to_owned(), SECRET.to_owned())]),
    };
    match catalogue::load::<GatewaySettings>(Path::new("parkgate.toml"), &files) {
        Ok(loaded) => {
            assert!(!loaded.lines.iter().any(|line| line.contains(SECRET)), "a secret among the lines that are kept");
            loaded.draft.build(&mut MemoryRegistry::default()).expect("a registry in memory takes every point");
        }
        Err(LoadError::Invalid(problems)) => {
            let shown = problems.render(false);
            assert!(!shown.is_empty() && !shown.contains(SECRET), "{shown}");
        }
        Err(_) => {}
    }
});
