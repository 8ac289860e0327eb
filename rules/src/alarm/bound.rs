//! A rule on one subject: limits in the digits that are stored, delays, and how long a value holds.

use super::rule::{Condition, Rule};
use crate::Number;

/// Intervals of a point that its last value holds; behind them nothing is known.
const HOLD_INTERVALS: i64 = 3;
/// More time for a value that is a little late, in milliseconds.
const HOLD_SLACK_MS: i64 = 10_000;
/// How long a value holds whose interval is not known, in milliseconds.
const HOLD_UNKNOWN_MS: i64 = 15 * 60_000;

/// Whether a value is what the rule speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// It is.
    Yes,
    /// It is not, and not within the deadband either.
    No,
    /// It is not, but too near to end an alarm.
    Between,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    pub(super) test: Test,
    pub(super) on_delay_ms: i64,
    pub(super) off_delay_ms: i64,
    pub(super) hold_ms: i64,
    pub(super) re_alarm_ms: Option<i64>,
    pub(super) shelve_max_ms: i64,
}

/// A condition in digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Test {
    /// A value beyond `limit`; it ends at or below `clear`.
    Above {
        limit: i64,
        clear: i64,
    },
    /// A value below `limit`; it ends at or above `clear`.
    Below {
        limit: i64,
        clear: i64,
    },
    StateIs(Vec<i64>),
    Silent {
        after_ms: i64,
    },
    ClockOff {
        over_ms: i64,
    },
    Always,
}

impl Bound {
    /// Whether time alone can make it come true.
    pub fn waits(&self) -> bool {
        matches!(self.test, Test::Silent { .. } | Test::Always)
    }

    /// A rule on a point whose stored values are the number times `10^decimals`, and which gives one every `interval_ms`
    /// (`None`: not known). For a device the shortest interval of its points; decimals do not matter then.
    pub fn new(rule: &Rule, decimals: u8, interval_ms: Option<i64>) -> Self {
        let held = interval_ms.map_or(HOLD_UNKNOWN_MS, |ms| ms.max(1).saturating_mul(HOLD_INTERVALS).saturating_add(HOLD_SLACK_MS));
        let band = &rule.deadband;
        let (test, hold_ms) = match &rule.condition {
            // m / 10^d > limit for a whole m is m > floor(limit * 10^d); likewise for the others.
            Condition::Above(limit) => (
                Test::Above { limit: digits(&scaled(limit, decimals).floor()), clear: digits(&scaled(&(limit - band), decimals).floor()) },
                held,
            ),
            Condition::Below(limit) => (
                Test::Below { limit: digits(&scaled(limit, decimals).ceil()), clear: digits(&scaled(&(limit + band), decimals).ceil()) },
                held,
            ),
            Condition::StateIs(codes) => {
                let unit = 10i64.checked_pow(u32::from(decimals)).unwrap_or(i64::MAX);
                (Test::StateIs(codes.iter().map(|code| code.saturating_mul(unit)).collect()), held)
            }
            // A slow device is silent between its values.
            Condition::SilentOver(ms) => (Test::Silent { after_ms: interval_ms.map_or(*ms, |_| (*ms).max(held)) }, i64::MAX),
            Condition::ClockOffOver(ms) => (Test::ClockOff { over_ms: *ms }, i64::MAX),
            Condition::Always => (Test::Always, i64::MAX),
        };
        Self {
            test,
            on_delay_ms: rule.on_delay_ms,
            off_delay_ms: rule.off_delay_ms,
            hold_ms,
            re_alarm_ms: rule.re_alarm_ms,
            shelve_max_ms: rule.shelve_max_ms,
        }
    }

    /// Whether a stored value, or an offset of a clock in milliseconds, is what the rule speaks of.
    pub fn met(&self, value: i64) -> Met {
        let (yes, no) = match &self.test {
            Test::Above { limit, clear } => (value > *limit, value <= *clear),
            Test::Below { limit, clear } => (value < *limit, value >= *clear),
            Test::StateIs(codes) => (codes.contains(&value), !codes.contains(&value)),
            Test::ClockOff { over_ms } => (value.saturating_abs() > *over_ms, value.saturating_abs() <= *over_ms),
            Test::Silent { .. } | Test::Always => (true, false),
        };
        match (yes, no) {
            (true, _) => Met::Yes,
            (_, true) => Met::No,
            _ => Met::Between,
        }
    }

    /// Of two values the one further beyond the limit.
    pub(super) fn worse(&self, one: i64, other: i64) -> i64 {
        match self.test {
            Test::Above { .. } => one.max(other),
            Test::Below { .. } => one.min(other),
            Test::ClockOff { .. } if one.saturating_abs() > other.saturating_abs() => one,
            _ => other,
        }
    }
}

fn scaled(number: &Number, decimals: u8) -> Number {
    let power = 10i128.checked_pow(u32::from(decimals)).unwrap_or(i128::MAX);
    number * &Number::decimal(power, 0)
}

/// A whole number as stored digits; one that no stored value reaches is the end of the range.
fn digits(number: &Number) -> i64 {
    number.text(0).parse().unwrap_or(if number.is_negative() { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alarm::rule::{Priority, Select, Title};

    fn rule(condition: Condition, deadband: &str) -> Rule {
        Rule {
            id: "r".into(),
            alertname: "r".into(),
            title: Title { zh: "r".into(), en: "r".into() },
            select: Select::default(),
            condition,
            unit: None,
            deadband: deadband.parse().unwrap(),
            on_delay_ms: 0,
            off_delay_ms: 0,
            priority: Priority::High,
            runbook: None,
            re_alarm_ms: None,
            shelve_max_ms: 0,
        }
    }

    #[test]
    fn a_value_equal_to_the_limit_does_not_break_it() {
        // 35 mg/m3 with two decimals is 3500; a deadband of 1 ends at 34.00.
        let bound = Bound::new(&rule(Condition::Above("35".parse().unwrap()), "1"), 2, None);
        for (value, expected) in [(3501, Met::Yes), (3500, Met::Between), (3401, Met::Between), (3400, Met::No), (-1, Met::No)] {
            assert_eq!(bound.met(value), expected, "{value}");
        }
        let bound = Bound::new(&rule(Condition::Below("-2.5".parse().unwrap()), "0"), 1, None);
        for (value, expected) in [(-26, Met::Yes), (-25, Met::No), (-24, Met::No)] {
            assert_eq!(bound.met(value), expected, "{value}");
        }
    }

    #[test]
    fn a_limit_finer_than_what_is_stored_lies_between_two_values() {
        // 0.125 with one decimal: 0.1 is not above, 0.2 is; and 0.2 is not below, 0.1 is.
        let above = Bound::new(&rule(Condition::Above("0.125".parse().unwrap()), "0"), 1, None);
        assert_eq!((above.met(1), above.met(2)), (Met::No, Met::Yes));
        let below = Bound::new(&rule(Condition::Below("0.125".parse().unwrap()), "0"), 1, None);
        assert_eq!((below.met(2), below.met(1)), (Met::No, Met::Yes));
        // -0.125 likewise: -0.1 is above, -0.2 is not.
        let above = Bound::new(&rule(Condition::Above("-0.125".parse().unwrap()), "0"), 1, None);
        assert_eq!((above.met(-2), above.met(-1)), (Met::No, Met::Yes));
    }

    #[test]
    fn limits_beyond_all_digits_hold() {
        let never = Bound::new(&rule(Condition::Above("1e60".parse().unwrap()), "0"), 4, None);
        assert_eq!(never.met(i64::MAX), Met::No);
        let always = Bound::new(&rule(Condition::Below("1e60".parse().unwrap()), "0"), 4, None);
        assert_eq!(always.met(5), Met::Yes);
    }

    #[test]
    fn states_and_clocks() {
        let state = Bound::new(&rule(Condition::StateIs(vec![2, 7]), "0"), 0, None);
        assert_eq!((state.met(2), state.met(3), state.met(7)), (Met::Yes, Met::No, Met::Yes));
        let clock = Bound::new(&rule(Condition::ClockOffOver(1_000), "0"), 0, None);
        assert_eq!((clock.met(-1_001), clock.met(1_000), clock.met(i64::MIN)), (Met::Yes, Met::No, Met::Yes));
        // Three intervals of an hour and 10 s outweigh ten minutes.
        let slow = Bound::new(&rule(Condition::SilentOver(600_000), "0"), 0, Some(3_600_000));
        assert_eq!(slow.test, Test::Silent { after_ms: 10_810_000 });
        let quick = Bound::new(&rule(Condition::SilentOver(600_000), "0"), 0, Some(5_000));
        assert_eq!(quick.test, Test::Silent { after_ms: 600_000 });
    }
}
