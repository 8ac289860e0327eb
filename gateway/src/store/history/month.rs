//! UTC months: which file a record time belongs to.

use parkgate_collector::model::UtcMillis;

pub(super) const HOUR_MS: i64 = 3_600_000;
pub(super) const DAY_MS: i64 = 24 * HOUR_MS;

/// Months since January of year 0. Times outside the years 0 to 9999 belong to the first or the last month.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Month(i32);

const FIRST: Month = Month::new(0, 1);
const LAST: Month = Month::new(9999, 12);

impl Month {
    /// A month by its name in the calendar: `year` 0 to 9999, `month` 1 to 12.
    pub(super) const fn new(year: i32, month: i32) -> Self {
        Self(year * 12 + month - 1)
    }

    /// The month of a time.
    pub(super) fn of(time: UtcMillis) -> Self {
        if time < FIRST.next().start() {
            return FIRST;
        }
        if time >= LAST.start() {
            return LAST;
        }
        // Days to civil date by eras of 400 years, years starting in March.
        let days = time.0.div_euclid(DAY_MS) + 719_468;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        Self(((year_of_era + era * 400) * 12 + month_from_march + 2) as i32)
    }

    /// Its first instant; the first month reaches back to the beginning of time.
    pub(super) fn start(self) -> UtcMillis {
        if self <= FIRST {
            return UtcMillis(i64::MIN);
        }
        let from_march = i64::from(self.0) - 2;
        let (year, month) = (from_march.div_euclid(12), from_march.rem_euclid(12));
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + (153 * month + 2) / 5;
        UtcMillis((era * 146_097 + day_of_era - 719_468) * DAY_MS)
    }

    /// The first instant after it; the last month reaches to the end of time.
    pub(super) fn end(self) -> UtcMillis {
        if self >= LAST { UtcMillis(i64::MAX) } else { self.next().start() }
    }

    fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The month `months` earlier.
    pub(super) fn minus(self, months: u32) -> Self {
        Self(self.0.saturating_sub_unsigned(months).max(0))
    }

    /// Reads `2026-11`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (year, month) = text.split_once('-')?;
        let (year, month): (i32, i32) = (year.parse().ok()?, month.parse().ok()?);
        ((0..=9999).contains(&year) && (1..=12).contains(&month)).then_some(Self::new(year, month))
    }
}

impl std::fmt::Display for Month {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04}-{:02}", self.0 / 12, self.0 % 12 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_agree_with_the_calendar() {
        for year in [1, 1600, 1900, 1969, 1970, 1999, 2000, 2024, 2026, 2100, 9998] {
            for month in 1..=12 {
                let date = jiff::civil::date(year, month, 1);
                let start = UtcMillis(date.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_millisecond());
                let ours = Month::of(start);
                assert_eq!(ours.to_string(), format!("{year:04}-{month:02}"));
                assert_eq!((ours.start(), Month::of(start.plus(-1)).end()), (start, start));
                assert_eq!(Month::parse(&ours.to_string()), Some(ours));
            }
        }
        for time in [i64::MIN, i64::MAX] {
            let month = Month::of(UtcMillis(time));
            assert!(month.start().0 <= time && time <= month.end().0);
            assert_eq!(Month::parse(&month.to_string()), Some(month));
        }
    }
}
