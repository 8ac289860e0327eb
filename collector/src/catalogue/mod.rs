//! Configuration -> a typed, validated map of links, devices and points. Pure: no network, no clock; files are read by
//! the one loader. All problems are reported at once, with file, line and what to do.
//!
//! [`spec`] the result; [`registry`] point numbers.

pub mod spec;
pub mod registry;

pub use registry::{MemoryRegistry, PointRegistry, RegistryError};
pub use spec::*;
