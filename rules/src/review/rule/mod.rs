//! The rules, one file each. Each looks at the whole case and says all it finds; none stops another.
//!
//! [`veto`] R1, [`energy_review`] R2, [`quota`] R3, [`product`] R4, [`land`] R5, [`pollutant`] R6, [`capacity`] R7,
//! [`complete`] R8.

pub mod veto;
pub mod energy_review;
pub mod quota;
pub mod product;
pub mod land;
pub mod pollutant;
pub mod capacity;
pub mod complete;

use super::case::Case;
use super::reason::{Finding, Rule};

/// A rule as a function.
pub type Test = fn(&Case<'_>) -> Finding;

/// All rules, in the order of their reasons.
pub const RULES: [(Rule, Test); 8] = [
    (Rule::R1, veto::test),
    (Rule::R2, energy_review::test),
    (Rule::R3, quota::test),
    (Rule::R4, product::test),
    (Rule::R5, land::test),
    (Rule::R6, pollutant::test),
    (Rule::R7, capacity::test),
    (Rule::R8, complete::test),
];
