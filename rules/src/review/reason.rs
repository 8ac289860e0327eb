//! What a review says: outcomes, rules, reasons with their numbers, what they rest on and what would change them.

use std::collections::BTreeMap;

use serde::Serialize;

/// What follows for the project, of one reason or of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Could not be tested, by want of a rule or a figure; decides nothing.
    NotTested,
    /// Admitted under a condition.
    Conditional,
    /// Not admitted.
    Reject,
    /// A required input is missing.
    Incomplete,
}

/// What comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Nothing stands against it.
    Pass,
    /// Admitted under conditions.
    Conditional,
    /// Not admitted.
    Reject,
    /// A required input is missing, and nothing vetoes.
    Incomplete,
}

impl Decision {
    /// Its name in answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Conditional => "conditional",
            Self::Reject => "reject",
            Self::Incomplete => "incomplete",
        }
    }

    /// Its name for people.
    pub const fn zh(self) -> &'static str {
        match self {
            Self::Pass => "通过",
            Self::Conditional => "有条件通过",
            Self::Reject => "不予通过",
            Self::Incomplete => "材料不全",
        }
    }

    /// Whether it takes amounts from quota and ledger.
    pub const fn reserves(self) -> bool {
        matches!(self, Self::Pass | Self::Conditional)
    }

    /// What follows from all reasons: a veto rejects, then what is missing, then any reject, then any condition.
    pub fn of(reasons: &[Reason]) -> Self {
        let any = |effect| reasons.iter().any(|reason| reason.effect == effect);
        if reasons.iter().any(|reason| reason.veto) {
            Self::Reject
        } else if any(Effect::Incomplete) {
            Self::Incomplete
        } else if any(Effect::Reject) {
            Self::Reject
        } else if any(Effect::Conditional) {
            Self::Conditional
        } else {
            Self::Pass
        }
    }
}

/// A rule of the review.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Rule {
    /// Zoning, prohibited process, safety and environment.
    R1,
    /// Energy review.
    R2,
    /// Energy quota.
    R3,
    /// Unit product energy.
    R4,
    /// Standard land.
    R5,
    /// Pollutant totals.
    R6,
    /// Spare capacity.
    R7,
    /// Completeness.
    R8,
}

impl Rule {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::R1 => "R1",
            Self::R2 => "R2",
            Self::R3 => "R3",
            Self::R4 => "R4",
            Self::R5 => "R5",
            Self::R6 => "R6",
            Self::R7 => "R7",
            Self::R8 => "R8",
        }
    }

    /// What it is about, in Chinese and English.
    pub const fn title(self) -> (&'static str, &'static str) {
        match self {
            Self::R1 => ("项目准入（分区管控、禁止工艺、安全环保）", "admission: zoning, prohibited process, safety and environment"),
            Self::R2 => ("固定资产投资项目节能审查", "energy review of the project"),
            Self::R3 => ("能耗指标", "energy quota"),
            Self::R4 => ("单位产品能耗限额", "unit product energy"),
            Self::R5 => ("标准地", "standard land"),
            Self::R6 => ("主要污染物总量替代", "substitution of pollutant totals"),
            Self::R7 => ("基础设施余量", "spare capacity"),
            Self::R8 => ("材料完整性", "completeness"),
        }
    }
}

/// A text in both languages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Text {
    /// Chinese.
    pub zh: String,
    /// English.
    pub en: String,
}

impl Text {
    /// Both.
    pub fn new(zh: impl Into<String>, en: impl Into<String>) -> Self {
        Self { zh: zh.into(), en: en.into() }
    }
}

/// Why a project is not simply admitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// Rule.
    pub rule: Rule,
    /// What follows from it.
    pub effect: Effect,
    /// Whether it rejects whatever else is missing.
    pub veto: bool,
    /// The case, for programs: `pollutant_short`.
    pub code: &'static str,
    /// Chinese.
    pub zh: String,
    /// English.
    pub en: String,
    /// Figures, rounded for output; yearly amounts in the unit of their name.
    pub numbers: BTreeMap<&'static str, String>,
    /// What would change it.
    pub change: Text,
    /// What the rule rests on.
    pub basis: String,
    /// How sure that is: H official text or two sources, M one source, L low, mem from memory, program a convention of
    /// this program.
    pub mark: String,
}

impl Reason {
    /// A reason without numbers, text and basis yet.
    pub fn new(rule: Rule, effect: Effect, code: &'static str) -> Self {
        Self {
            rule,
            effect,
            veto: false,
            code,
            zh: String::new(),
            en: String::new(),
            numbers: BTreeMap::new(),
            change: Text::new("", ""),
            basis: String::new(),
            mark: String::new(),
        }
    }

    /// With what it says.
    #[must_use]
    pub fn says(mut self, zh: impl Into<String>, en: impl Into<String>) -> Self {
        (self.zh, self.en) = (zh.into(), en.into());
        self
    }

    /// With what would change it.
    #[must_use]
    pub fn changed_by(mut self, zh: impl Into<String>, en: impl Into<String>) -> Self {
        self.change = Text::new(zh, en);
        self
    }

    /// With a figure.
    #[must_use]
    pub fn number(mut self, name: &'static str, text: impl Into<String>) -> Self {
        self.numbers.insert(name, text.into());
        self
    }

    /// With what it rests on.
    #[must_use]
    pub fn basis(mut self, basis: impl Into<String>, mark: impl Into<String>) -> Self {
        (self.basis, self.mark) = (basis.into(), mark.into());
        self
    }
}

/// What a rule found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Reasons; none when it passes.
    pub reasons: Vec<Reason>,
    /// Whether all it needs was there. What it found of the rest counts all the same.
    pub whole: bool,
}

impl Finding {
    /// Tested whole, with these reasons.
    pub fn whole(reasons: Vec<Reason>) -> Self {
        Self { reasons, whole: true }
    }

    /// Not all could be tested.
    pub fn part(reasons: Vec<Reason>) -> Self {
        Self { reasons, whole: false }
    }

    /// `pass`, `conditional`, `reject`, `incomplete` or `not_tested`.
    pub fn outcome(&self) -> &'static str {
        match self.reasons.iter().map(|reason| reason.effect).max() {
            Some(Effect::Incomplete) => "incomplete",
            Some(Effect::Reject) => "reject",
            Some(Effect::Conditional) => "conditional",
            Some(Effect::NotTested) => "not_tested",
            None if self.whole => "pass",
            None => "not_tested",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_veto_beats_what_is_missing_and_that_beats_a_reject() {
        let reason = |effect, veto| Reason { veto, ..Reason::new(Rule::R1, effect, "x") };
        let (untested, conditional, reject, incomplete) = (
            reason(Effect::NotTested, false),
            reason(Effect::Conditional, false),
            reason(Effect::Reject, false),
            reason(Effect::Incomplete, false),
        );
        for (reasons, decision) in [
            (vec![], Decision::Pass),
            (vec![untested.clone()], Decision::Pass),
            (vec![untested, conditional.clone()], Decision::Conditional),
            (vec![conditional.clone(), reject.clone()], Decision::Reject),
            (vec![incomplete.clone(), conditional, reject.clone()], Decision::Incomplete),
            (vec![reason(Effect::Reject, true), incomplete, reject], Decision::Reject),
        ] {
            assert_eq!(Decision::of(&reasons), decision, "{reasons:?}");
        }
    }
}
