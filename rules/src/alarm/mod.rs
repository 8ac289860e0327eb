//! Alarms: rules, the machine that steps them, and tests of rules.
//!
//! ```text
//! rule files --(file)--> Rule --(bound to a point)--> Bound
//!                                                      |
//! readings, ticks, acts of people --(Input)--> machine::step --> Transition
//! ```
//!
//! The machine is a pure function of its state and what comes in; the state can be kept and taken up again at any place.
//! Times of limits are those of the readings, so that what is found late has its true times.
//!
//! In reading order: [`rule`] what a rule is; [`mod@file`] how it is written; [`bound`] a rule on one subject; [`episode`] one
//! lane of readings to episodes; [`machine`] everything about one alarm; [`case`] test files.

pub mod rule;
pub mod file;
pub mod bound;
pub mod episode;
pub mod machine;
pub mod case;
#[cfg(test)]
mod tests;

pub use crate::emission::UtcMillis;
pub use bound::{Bound, Met};
pub use file::{Problem, read};
pub use machine::{Act, Change, Input, State, Transition, step};
pub use rule::{Condition, Priority, Rule, Select, Subject, Title};

/// The rules that come with the program, under the name they are reported by.
pub const DEFAULTS: (&str, &str) = ("built in alarms/defaults.toml", include_str!("../../../config/alarms/defaults.toml"));
