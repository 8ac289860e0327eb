//! Configuration -> a typed, validated map of links, devices and points. Pure: no network, no clock; files are read by
//! the one loader. All problems are reported at once, with file, line and what to do.
//!
//! The way: [`load()`] reads texts; `tree` parses them and remembers where everything stands; `read` fills the structs of
//! [`raw`]; `validate` makes a [`Draft`] of them; [`Draft::build`] gives the points their numbers: the [`Catalogue`].
//! [`spec`] the result, [`line`](mod@line) its Modbus lines; [`registry`] point numbers; [`quantity`] known quantities;
//! [`problem`] what is wrong and how it is shown; [`place`] where; [`text`] small parsers; `profile` device profiles that
//! come with the program; [`mod@bench`] their tests; `lone` one device without a configuration; [`diff`] which lines differ
//! between two catalogues.

#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

pub mod spec;
pub mod line;
pub mod registry;
pub mod quantity;
pub mod place;
pub mod problem;
pub mod raw;
pub mod text;
pub mod bench;
pub mod rules;
pub mod diff;
mod tree;
mod read;
mod profile;
mod validate;
mod load;
mod lone;
#[cfg(test)]
mod tests;

pub use diff::{LineChanges, line_changes, line_names};
pub use line::*;
pub use load::{
    CheckReport, Disk, FileReport, Files, LoadError, Loaded, MemoryFiles, Misfit, OwnTable, check, check_with, load, load_with,
};
pub use lone::{Lone, LoneDevice, lone_device};
pub use problem::{Problem, Problems};
pub use registry::{MemoryRegistry, PointRegistry, RegistryError};
pub use rules::{Formula, Nameplate, OnChange, Operation, PointRules};
pub use spec::*;
pub use validate::Draft;

/// Id and text of every device profile that comes with the program.
pub fn built_in_profiles() -> impl Iterator<Item = (&'static str, &'static str)> {
    profile::BUILT_IN.iter().copied()
}

/// The JSON Schema of the main file with the program's own table `G`.
pub fn schema<G: schemars::JsonSchema + Default>() -> serde_json::Value {
    schemars::schema_for!(raw::MainFile<G>).to_value()
}
