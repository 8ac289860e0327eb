//! Which rows are asked for: whole hours, days or months of the park's zone, and how many at most.

use parkgate_collector::model::UtcMillis as Instant;
use parkgate_rules::emission::{Averaging, Period, UtcMillis};

use crate::rollup::{Level, ParkZone};

/// Most rows of a factor in one summary: a quarter of hours, a year of days, two years of months. Longer
/// ones are counted from all their hours, which is work.
pub const HOURS_MAX: usize = 93 * 24;
/// See [`HOURS_MAX`].
pub const DAYS_MAX: usize = 366;
/// See [`HOURS_MAX`].
pub const MONTHS_MAX: usize = 24;

/// Why a range cannot be summed up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// No time.
    #[error("`{0}` is no time: write 2026-11-01, or 2026-11-01T08:00:00+08:00")]
    NoTime(String),
    /// It has no row.
    #[error("no {0} begins in that range: `to` must be after `from`")]
    Empty(&'static str),
    /// It has too many.
    #[error("more than {most} times {period}: ask for a shorter range or a longer period")]
    Long {
        /// Name of the period.
        period: &'static str,
        /// How many there may be.
        most: usize,
    },
}

/// The level of totals that is as long as an average.
pub fn level(averaging: Averaging) -> Level {
    match averaging {
        Averaging::Hour => Level::Hour,
        Averaging::Day => Level::Day,
        Averaging::Month => Level::Month,
    }
}

/// The rows that begin in `[from, to)`: from the start of the first to the end of the last. Without `from` last month,
/// without `to` up to the end of the month that `from` lies in.
///
/// # Errors
/// When a text is no time, or there is no row, or too many.
pub fn range(zone: &ParkZone, averaging: Averaging, from: Option<&str>, to: Option<&str>, now: UtcMillis) -> Result<Period, RangeError> {
    // A `+` in a query that was not escaped arrives as a space.
    let read = |text: &str| {
        let text = if text.contains('T') { text.replace(' ', "+") } else { text.to_owned() };
        zone.read(&text).ok_or(RangeError::NoTime(text))
    };
    let month = |at: Instant| zone.period_of(Level::Month, at);
    let last_month = || month(month(Instant(now.0)).start.plus(-1)).start;
    let from = from.map(read).transpose()?.unwrap_or_else(last_month);
    let to = to.map(read).transpose()?.unwrap_or_else(|| month(from).end);
    let most = match averaging {
        Averaging::Hour => HOURS_MAX,
        Averaging::Day => DAYS_MAX,
        Averaging::Month => MONTHS_MAX,
    };
    let (mut first, mut last) = (None, None);
    for (count, period) in zone.periods(level(averaging), from, to).enumerate() {
        if count >= most {
            return Err(RangeError::Long { period: averaging.name(), most });
        }
        first = first.or(Some(period.start));
        last = Some(period.end);
    }
    match (first, last) {
        (Some(first), Some(last)) => Ok(Period { from: UtcMillis(first.0), to: UtcMillis(last.0) }),
        _ => Err(RangeError::Empty(averaging.name())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_whole_periods_of_the_park() {
        let zone = ParkZone::new("Asia/Shanghai");
        let now = UtcMillis(zone.read("2026-11-23T15:30:00+08:00").unwrap().0);
        let shown = |averaging, from, to| {
            range(&zone, averaging, from, to, now).map(|range| (zone.write(Instant(range.from.0)), zone.write(Instant(range.to.0))))
        };
        let ok = |from: &str, to: &str| Ok((from.to_owned(), to.to_owned()));
        // Last month unless said otherwise.
        assert_eq!(shown(Averaging::Day, None, None), ok("2026-10-01T00:00:00+08:00", "2026-11-01T00:00:00+08:00"));
        assert_eq!(shown(Averaging::Month, Some("2026-02-01"), None), ok("2026-02-01T00:00:00+08:00", "2026-03-01T00:00:00+08:00"));
        // A row belongs to the range that it begins in.
        let (from, to) = (Some("2026-11-22T23:30:00+08:00"), Some("2026-11-23T01:30:00+08:00"));
        assert_eq!(shown(Averaging::Hour, from, to), ok("2026-11-23T00:00:00+08:00", "2026-11-23T02:00:00+08:00"));
        assert_eq!(
            shown(Averaging::Hour, from, Some("2026-11-23T01:00:00 08:00")),
            ok("2026-11-23T00:00:00+08:00", "2026-11-23T01:00:00+08:00")
        );
        assert_eq!(shown(Averaging::Day, from, Some("2026-11-23")), Err(RangeError::Empty("day")));
        assert_eq!(shown(Averaging::Day, Some("2026-11-24"), Some("2026-11-23")), Err(RangeError::Empty("day")));
        assert_eq!(shown(Averaging::Day, Some("yesterday"), None), Err(RangeError::NoTime("yesterday".into())));
        let long = RangeError::Long { period: "hour", most: 2232 };
        assert_eq!(shown(Averaging::Hour, Some("2026-01-01"), Some("2026-12-31")), Err(long));
    }
}
