//! PromQL of the boards, from the series of a flow.

use super::park::{Flow, GATE};
use crate::rollup::Level;
use crate::series::{Stat, What};

/// Filters by the variables of a board, for meters of enterprises. Meters of the park itself have no label `enterprise`;
/// its variable stands for `.*` when all are chosen.
const CHOSEN: &str = r#"enterprise=~"$enterprise",device=~"$device""#;

/// One second: a range that Grafana rounds to whole seconds begins that much earlier, so that a total stamped on its
/// start is in it, and one stamped on its end is not.
const ROUNDED: &str = " offset 1s";

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
pub(super) fn range(level: Level) -> &'static str {
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
    format!("max_over_time({}{}[$__range]{ROUNDED})", flow.series(What::Gauge(Level::Hour, Stat::Max)), of.matchers())
}

/// Totals of closed periods, each at its start.
pub(super) fn closed(flow: &Flow, level: Level, of: Of) -> String {
    format!("last_over_time({}{}[{}])", flow.series(What::Total(level)), of.matchers(), range(level))
}

/// The total of yesterday, once it is closed. `seconds_east` is the park's least offset from UTC.
///
/// No window has every yesterday and never the day before: until noon one of 40 hours has, from noon on one of 50.
pub(super) fn yesterday(flow: &Flow, of: Of, seconds_east: i32) -> String {
    let series = format!("{}{}", flow.series(What::Total(Level::Day)), of.matchers());
    let hour = local("hour", seconds_east);
    either(&format!("{series}[40h]"), &format!("{hour} < 12"), &format!("{series}[50h]"), &format!("{hour} >= 12"))
}

/// The total of last month, once it is closed.
///
/// On the 10th it began 37 to 41 days ago and the month before 65 days or more.
pub(super) fn last_month(flow: &Flow, of: Of, seconds_east: i32) -> String {
    last_month_of(&format!("{}{}", flow.series(What::Total(Level::Month)), of.matchers()), seconds_east)
}

/// The value that a series of closed months has for last month.
pub(super) fn last_month_of(series: &str, seconds_east: i32) -> String {
    let day = local("day_of_month", seconds_east);
    either(&format!("{series}[45d]"), &format!("{day} <= 10"), &format!("{series}[63d]"), &format!("{day} > 10"))
}

/// A part of the date, by the park's clocks.
fn local(part: &str, seconds_east: i32) -> String {
    let sign = if seconds_east < 0 { '-' } else { '+' };
    format!("{part}(vector(time() {sign} {}))", seconds_east.unsigned_abs())
}

fn either(first: &str, when_first: &str, second: &str, when_second: &str) -> String {
    format!("(last_over_time({first}) and on () ({when_first})) or (last_over_time({second}) and on () ({when_second}))")
}

/// The total of the period under way.
pub(super) fn current(flow: &Flow, level: Level, of: Of) -> String {
    format!("{}{}", flow.series(What::Current(level)), of.matchers())
}

/// Sum of the closed days in the board's range.
pub(super) fn days_in_range(flow: &Flow, of: Of) -> String {
    format!("sum_over_time({}{}[$__range]{ROUNDED})", flow.series(What::Total(Level::Day)), of.matchers())
}

/// One sum over the meters of a role. Of gates it needs all: without one the figure would be less, and look the same.
pub(super) fn sum(flow: &Flow, role: &str, expression: &str) -> String {
    match flow.meters_of(role).count() {
        count if role == GATE && count > 1 => format!("sum({expression}) and on () (count({expression}) == {count})"),
        _ => format!("sum({expression})"),
    }
}

/// One series per device.
pub(super) fn by_device(expression: &str) -> String {
    format!("sum by (device) ({expression})")
}
