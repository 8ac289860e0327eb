//! parkgate-collector: from the wire to the journal. No HTTP, no database.
//!
//! In reading order: [`model`] shared types; [`clock`]; [`catalogue`] what is configured; [`protocol`] wire formats;
//! [`driver`] I/O with meters; [`normalise`] readings become samples; [`journal`] samples become durable; [`rejects`]
//! input that nobody understood; [`pipeline`] wires them; [`commission`] what a person
//! tries before and while a meter is connected; [`health`] and [`mod@metrics`] tell how it goes; [`sim`] simulators (feature `sim`).
//!
//! Invariants: `model` imports nothing of ours; `protocol` and `normalise` are pure; `driver` knows neither `normalise`
//! nor `journal`; nothing is answered to a peer before the journal says durable.

pub mod model;
pub mod clock;
pub mod catalogue;
pub mod protocol;
pub mod driver;
pub mod normalise;
pub mod journal;
pub mod rejects;
pub mod pipeline;
pub mod commission;
pub mod health;
pub mod metrics;
#[cfg(feature = "sim")]
pub mod sim;
