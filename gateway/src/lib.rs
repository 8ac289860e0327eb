//! parkgate-gateway: from the journal to people and systems.
//!
//! In reading order: [`app`] the composition root; [`settings`]; [`store`] history, views, facts; [`api`] HTTP;
//! [`metrics`]; [`demo`] the simulated park (feature `demo`).

pub mod app;
pub mod settings;
pub mod store;
pub mod api;
pub mod metrics;
#[cfg(feature = "demo")]
pub mod demo;
