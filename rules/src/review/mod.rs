//! Review of a project before it is admitted (项目准入测算): the rules R1 to R8 on a project file and a park's state. Advice to
//! the people who decide, never an approval, and every answer says so.
//!
//! In reading order: [`read`] files to trees with every problem named; [`input`] the project; [`park`] the park's state; [`tables`]
//! dated tables; [`case`] the two together; [`rule`] the rules, one file each; [`reason`] what they say; [`answer`] the
//! answer as it is shown; [`reserve`] what a series of projects takes, one after another.

pub mod read;
pub mod input;
pub mod park;
pub mod tables;
pub mod case;
pub mod rule;
pub mod reason;
pub mod answer;
pub mod reserve;
#[cfg(test)]
mod tests;

pub use answer::Answer;
pub use case::Case;
pub use input::Project;
pub use park::ParkState;
pub use read::Problem;
pub use reason::Decision;
pub use reserve::{Reservation, Reviewed, each, series};
pub use tables::Tables;

use reason::{Finding, Reason, Rule};

/// What all rules found of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Review {
    /// What comes out.
    pub decision: Decision,
    /// What each rule found, in their order.
    pub findings: Vec<(Rule, Finding)>,
}

impl Review {
    /// All reasons, in the order of the rules.
    pub fn reasons(&self) -> impl Iterator<Item = &Reason> {
        self.findings.iter().flat_map(|(_, finding)| &finding.reasons)
    }
}

/// Runs all rules on a case.
pub fn review(case: &Case<'_>) -> Review {
    let findings: Vec<(Rule, Finding)> = rule::RULES.iter().map(|(rule, test)| (*rule, test(case))).collect();
    let reasons: Vec<Reason> = findings.iter().flat_map(|(_, finding)| finding.reasons.clone()).collect();
    Review { decision: Decision::of(&reasons), findings }
}
