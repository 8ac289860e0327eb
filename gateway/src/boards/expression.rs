//! PromQL of the boards, from the series of a flow.

use super::park::Flow;
use crate::rollup::Level;
use crate::series::{Stat, What};

/// Filters by the variables of a board, for meters of enterprises. Meters of the park itself have no label `enterprise`;
/// its variable stands for `.*` when all are chosen.
const CHOSEN: &str = r#"enterprise=~"$enterprise",device=~"$device""#;

/// Longest time from the start of the last closed day to now: two days, and two hours for closing.
const DAYS_BACK: &str = "50h";
/// Longest time from the start of the last closed month to now: two months of 31 days, and a day for closing.
const MONTHS_BACK: &str = "63d";

/// Which meters of a flow.
#[derive(Clone, Copy, Debug)]
pub(super) enum Of<'a> {
    /// Those of a role, whatever is chosen on the board.
    Role(&'a str),
    /// Those of a role that are chosen on the board.
    Chosen(&'a str),
}

impl Of<'_> {
    fn matchers(self) -> String {
        match self {
            Self::Role(role) => format!(r#"{{role="{role}"}}"#),
            Self::Chosen(role) => format!(r#"{{role="{role}",{CHOSEN}}}"#),
        }
    }
}

/// How long a period of a level is, as a range that holds exactly one start of it: months and years are stepped through by
/// days.
fn range(level: Level) -> &'static str {
    if level == Level::Hour { "1h" } else { "1d" }
}

/// The values now.
pub(super) fn now(flow: &Flow, of: Of) -> String {
    format!("{}{}", flow.series(What::Samples), of.matchers())
}

/// Means over the steps of a picture.
pub(super) fn means(flow: &Flow, of: Of) -> String {
    format!("avg_over_time({}{}[$__interval])", flow.series(What::Samples), of.matchers())
}

/// Means over clock hours.
pub(super) fn hour_means(flow: &Flow, of: Of) -> String {
    format!("last_over_time({}{}[1h])", flow.series(What::Gauge(Level::Hour, Stat::Mean)), of.matchers())
}

/// The highest value in the board's range.
pub(super) fn highest(flow: &Flow, of: Of) -> String {
    format!("max_over_time({}{}[$__range])", flow.series(What::Gauge(Level::Hour, Stat::Max)), of.matchers())
}

/// Totals of closed periods, each at its start.
pub(super) fn closed(flow: &Flow, level: Level, of: Of) -> String {
    format!("last_over_time({}{}[{}])", flow.series(What::Total(level)), of.matchers(), range(level))
}

/// The total of the last closed day.
pub(super) fn last_day(flow: &Flow, of: Of) -> String {
    format!("last_over_time({}{}[{DAYS_BACK}])", flow.series(What::Total(Level::Day)), of.matchers())
}

/// The total of the last closed month.
pub(super) fn last_month(flow: &Flow, of: Of) -> String {
    format!("last_over_time({}{}[{MONTHS_BACK}])", flow.series(What::Total(Level::Month)), of.matchers())
}

/// The total of the period under way.
pub(super) fn current(flow: &Flow, level: Level, of: Of) -> String {
    format!("{}{}", flow.series(What::Current(level)), of.matchers())
}

/// Sum of the closed days in the board's range.
pub(super) fn days_in_range(flow: &Flow, of: Of) -> String {
    format!("sum_over_time({}{}[$__range])", flow.series(What::Total(Level::Day)), of.matchers())
}

/// One sum of all.
pub(super) fn sum(expression: &str) -> String {
    format!("sum({expression})")
}

/// One series per device.
pub(super) fn by_device(expression: &str) -> String {
    format!("sum by (device) ({expression})")
}
