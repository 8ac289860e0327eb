//! What an alarm rule is: whom it looks at, when it speaks, how it is told.

use serde::{Deserialize, Serialize};

use crate::Number;

/// A text in Chinese and English.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Title {
    /// Chinese.
    pub zh: String,
    /// English.
    pub en: String,
}

/// How much an alarm matters (IEC 62682: the urgency of the operator's action).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Act at once: people or plant are in danger.
    Emergency,
    /// Act at once.
    Critical,
    /// Act soon.
    High,
    /// Act within the shift.
    Medium,
    /// To be known.
    Low,
}

impl Priority {
    /// All, the most urgent first.
    pub const ALL: [Self; 5] = [Self::Emergency, Self::Critical, Self::High, Self::Medium, Self::Low];

    /// Its name in files, labels and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Emergency => "emergency",
            Self::Critical => "critical",
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        }
    }

    /// The value of the label `severity`, by which alert pipelines route.
    pub const fn severity(self) -> &'static str {
        match self {
            Self::Emergency | Self::Critical => "critical",
            Self::High => "error",
            Self::Medium => "warning",
            Self::Low => "info",
        }
    }
}

/// When a rule speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// A value is greater than this, in the rule's unit. Equal is not above.
    Above(Number),
    /// A value is smaller than this. Equal is not below.
    Below(Number),
    /// A state is one of these codes.
    StateIs(Vec<i64>),
    /// Nothing was heard of a device for longer than so many milliseconds, and for longer than three of its intervals.
    SilentOver(i64),
    /// A device's clock is off by more than so many milliseconds.
    ClockOffOver(i64),
    /// Always: an alarm that must never be missing, so that a broken way of alarms is noticed.
    Always,
}

/// What one alarm of a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A point.
    Point,
    /// A device.
    Device,
    /// The gateway as such.
    Gateway,
}

impl Condition {
    /// What it is about.
    pub const fn subject(&self) -> Subject {
        match self {
            Self::Above(_) | Self::Below(_) | Self::StateIs(_) => Subject::Point,
            Self::SilentOver(_) | Self::ClockOffOver(_) => Subject::Device,
            Self::Always => Subject::Gateway,
        }
    }
}

/// Which points or devices a rule looks at: those that fit everything that is given. A list fits when one of its members
/// does; an empty one fits all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Select {
    /// Patterns of stable ids of points, `*` for any text: `food/boiler-stack/*`.
    pub points: Vec<String>,
    /// Patterns of ids of devices.
    pub devices: Vec<String>,
    /// Quantities.
    pub quantity: Vec<String>,
    /// Media.
    pub medium: Vec<String>,
    /// Ids of enterprises.
    pub enterprise: Vec<String>,
    /// Roles in the park's balance.
    pub role: Vec<String>,
}

impl Select {
    /// Whether a device fits, of which these media are measured.
    pub fn device(&self, id: &str, enterprise: Option<&str>, media: &[&str]) -> bool {
        let medium = self.medium.is_empty() || self.medium.iter().any(|one| media.contains(&one.as_str()));
        one_fits(&self.devices, id) && listed(&self.enterprise, enterprise) && medium
    }

    /// Whether a point of a device fits that fits itself.
    pub fn point(&self, stable_id: &str, quantity: &str, medium: &str, role: Option<&str>) -> bool {
        one_fits(&self.points, stable_id)
            && listed(&self.quantity, Some(quantity))
            && listed(&self.medium, Some(medium))
            && listed(&self.role, role)
    }
}

fn one_fits(patterns: &[String], text: &str) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| fits(pattern, text))
}

fn listed(list: &[String], value: Option<&str>) -> bool {
    list.is_empty() || value.is_some_and(|value| list.iter().any(|one| one == value))
}

/// Whether a text fits a pattern in which `*` stands for any text, none included.
pub fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = rest.get(at.saturating_add(part.len())..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its id, unique among all rules.
    pub id: String,
    /// The label `alertname`; the id unless given.
    pub alertname: String,
    /// What people call it.
    pub title: Title,
    /// Whom it looks at.
    pub select: Select,
    /// When it speaks.
    pub condition: Condition,
    /// Unit of limit and deadband: that of the points.
    pub unit: Option<String>,
    /// How far a value must go back beyond the limit to end the alarm.
    pub deadband: Number,
    /// Milliseconds that the condition must hold before there is an alarm.
    pub on_delay_ms: i64,
    /// Milliseconds that the condition must be gone before the alarm ends.
    pub off_delay_ms: i64,
    /// How much it matters.
    pub priority: Priority,
    /// What to do: an address, or a sentence.
    pub runbook: Option<String>,
    /// Milliseconds after which an alarm that was acknowledged and lasts is told again.
    pub re_alarm_ms: Option<i64>,
    /// Longest time it may be shelved, in milliseconds.
    pub shelve_max_ms: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_as_a_person_reads_them() {
        for (pattern, text, expected) in [
            ("food/stack/so2", "food/stack/so2", true),
            ("food/stack/so2", "food/stack/so2x", false),
            ("food/*", "food/stack/so2", true),
            ("*/so2", "food/stack/so2", true),
            ("*", "", true),
            ("*stack*", "food/stack/so2", true),
            ("food/*/so*2", "food/stack/so2", true),
            ("food/*/so2", "food/so2", false),
            ("a*a", "a", false),
            ("", "a", false),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn all_that_is_given_must_fit() {
        let select = Select { quantity: vec!["so2".into(), "nox".into()], enterprise: vec!["food".into()], ..Select::default() };
        assert!(select.device("food/stack", Some("food"), &["emission"]) && !select.device("dye/stack", Some("dye"), &["emission"]));
        assert!(!select.device("gate", None, &["power"]));
        assert!(select.point("food/stack/so2", "so2", "emission", None) && !select.point("food/stack/dust", "dust", "emission", None));
        let select = Select { medium: vec!["gas".into()], role: vec!["gate".into()], ..Select::default() };
        assert!(select.device("a", None, &["power", "gas"]) && !select.device("a", None, &["power"]));
        assert!(select.point("a/b", "flow", "gas", Some("gate")) && !select.point("a/b", "flow", "gas", None));
    }
}
