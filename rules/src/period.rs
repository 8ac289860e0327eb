//! Park time: instants, the park's zone, and the half-open periods figures are formed for.
//!
//! In a file of inputs an instant is text: with an offset (`2025-06-01T00:00:00+08:00`, `2025-05-31T16:00:00Z`) or without one,
//! then it is park time. A period is `2025`, `2025-06`, `2025-06-01` or `2025-06-01T08` (that hour).

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZone};
use jiff::{Span, Timestamp};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Number;

/// Milliseconds of an hour and of a day.
const HOUR_MS: i64 = 3_600_000;
/// First and last year that is read; a figure of another year is a slip of the pen.
const YEARS: std::ops::RangeInclusive<i16> = 1970..=2199;

/// Why a text is no instant, period or zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// No instant.
    #[error("`{0}` is no time such as 2025-06-01T08:00:00+08:00, or 2025-06-01T08:00:00 in park time")]
    Moment(String),
    /// No period.
    #[error("`{0}` is no period such as 2025, 2025-06, 2025-06-01 or 2025-06-01T08")]
    Period(String),
    /// No day.
    #[error("`{0}` is no day such as 2025-07-15")]
    Day(String),
    /// No zone.
    #[error("`{0}` is no zone such as +08:00 or Asia/Shanghai")]
    Zone(String),
}

/// The zone of the park: UTC+8 without summer time unless it says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    name: String,
    zone: TimeZone,
}

impl Zone {
    /// A zone that is known already, under the name shown.
    pub fn new(name: impl Into<String>, zone: TimeZone) -> Self {
        Self { name: name.into(), zone }
    }

    /// The zone itself.
    pub fn time_zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The instant of a civil time; one that a change of clocks skipped or doubled is taken as RFC 5545 does.
    pub fn instant(&self, civil: DateTime) -> Timestamp {
        // Fails only at the ends of what the type can hold, which no period or moment comes near.
        self.zone.to_timestamp(civil).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// The civil time of an instant.
    pub fn civil(&self, instant: Timestamp) -> DateTime {
        self.zone.to_datetime(instant)
    }

    /// The instant as text in park time, with its offset.
    pub fn text(&self, instant: Timestamp) -> String {
        let zoned = instant.to_zoned(self.zone.clone());
        zoned.strftime("%Y-%m-%dT%H:%M:%S%.f%:z").to_string()
    }
}

impl Default for Zone {
    fn default() -> Self {
        Self::new("+08:00", TimeZone::fixed(jiff::tz::offset(8)))
    }
}

impl FromStr for Zone {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        let error = || TimeError::Zone(text.to_owned());
        if let Some(rest) = text.strip_prefix(['+', '-']) {
            let (hours, minutes) = rest.split_once(':').ok_or_else(error)?;
            let hours: i32 = hours.parse().map_err(|_| error())?;
            let minutes: i32 = minutes.parse().map_err(|_| error())?;
            if !(0..=14).contains(&hours) || !(0..60).contains(&minutes) {
                return Err(error());
            }
            let sign = if text.starts_with('-') { -1 } else { 1 };
            let offset = Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).map_err(|_| error())?;
            return Ok(Self::new(text, TimeZone::fixed(offset)));
        }
        let zone = TimeZone::get(text).map_err(|_| error())?;
        Ok(Self::new(text, zone))
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// An instant as it was written: absolute, or in park time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Moment {
    /// With an offset.
    At(Timestamp),
    /// Without one: park time.
    Local(DateTime),
}

impl Moment {
    /// The instant meant.
    pub fn at(&self, zone: &Zone) -> Timestamp {
        match self {
            Self::At(instant) => *instant,
            Self::Local(civil) => zone.instant(*civil),
        }
    }
}

impl From<Timestamp> for Moment {
    fn from(instant: Timestamp) -> Self {
        Self::At(instant)
    }
}

impl FromStr for Moment {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        // A date and time without offset is park time; jiff's instant needs an offset, its civil time would overlook one.
        let moment = match text.parse::<Timestamp>() {
            Ok(instant) => Self::At(instant),
            Err(_) => Self::Local(text.parse::<DateTime>().map_err(|_| TimeError::Moment(text.to_owned()))?),
        };
        let year = match moment {
            Self::At(instant) => instant.to_zoned(TimeZone::UTC).year(),
            Self::Local(civil) => civil.year(),
        };
        if YEARS.contains(&year) { Ok(moment) } else { Err(TimeError::Moment(text.to_owned())) }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(instant) => write!(f, "{instant}"),
            Self::Local(civil) => write!(f, "{civil}"),
        }
    }
}

/// How long a period is, finest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PeriodKind {
    /// An hour.
    Hour,
    /// A day of the park, 00:00 to the next 00:00.
    Day,
    /// A month, from its first day 00:00 to the next month's first day 00:00.
    Month,
    /// A year.
    Year,
}

/// An hour, day, month or year in park time, half open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period {
    kind: PeriodKind,
    /// Civil start.
    start: DateTime,
}

impl Period {
    /// The period of that kind in which a civil time lies.
    pub fn containing(kind: PeriodKind, civil: DateTime) -> Self {
        let date = match kind {
            PeriodKind::Hour | PeriodKind::Day => civil.date(),
            PeriodKind::Month => civil.date().first_of_month(),
            PeriodKind::Year => civil.date().first_of_year(),
        };
        let hour = if kind == PeriodKind::Hour { civil.hour() } else { 0 };
        Self { kind, start: date.at(hour, 0, 0, 0) }
    }

    /// How long it is.
    pub fn kind(&self) -> PeriodKind {
        self.kind
    }

    /// Its calendar year.
    pub fn year(&self) -> i16 {
        self.start.year()
    }

    /// Its first day.
    pub fn first_day(&self) -> Date {
        self.start.date()
    }

    /// The day its end falls on: for a month the first day of the next.
    pub fn end_day(&self) -> Date {
        self.civil_end().date()
    }

    /// The period after it.
    #[must_use]
    pub fn next(&self) -> Self {
        Self { kind: self.kind, start: self.civil_end() }
    }

    /// The year it lies in.
    #[must_use]
    pub fn whole_year(&self) -> Self {
        Self::containing(PeriodKind::Year, self.start)
    }

    /// The same period one year before; 29 February becomes 28 February.
    #[must_use]
    pub fn year_before(&self) -> Self {
        Self { kind: self.kind, start: self.start.saturating_sub(Span::new().years(1)) }
    }

    /// Start and end in the park's zone; the end is not part of it.
    pub fn span(&self, zone: &Zone) -> Range {
        Range { start: zone.instant(self.start).as_millisecond(), end: zone.instant(self.civil_end()).as_millisecond() }
    }

    fn civil_end(&self) -> DateTime {
        let span = match self.kind {
            PeriodKind::Hour => Span::new().hours(1),
            PeriodKind::Day => Span::new().days(1),
            PeriodKind::Month => Span::new().months(1),
            PeriodKind::Year => Span::new().years(1),
        };
        self.start.saturating_add(span)
    }
}

impl FromStr for Period {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        let error = || TimeError::Period(text.to_owned());
        let (day, hour) = match text.split_once('T') {
            Some((day, hour)) => (day, Some(hour)),
            None => (text, None),
        };
        let digits = |text: &str, count: usize| -> Result<i16, TimeError> {
            let sound = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
            if sound { text.parse().map_err(|_| error()) } else { Err(error()) }
        };
        let parts: Vec<&str> = day.split('-').collect();
        let (kind, year, month, date) = match (parts.as_slice(), hour) {
            ([year], None) => (PeriodKind::Year, *year, "01", "01"),
            ([year, month], None) => (PeriodKind::Month, *year, *month, "01"),
            ([year, month, date], None) => (PeriodKind::Day, *year, *month, *date),
            ([year, month, date], Some(_)) => (PeriodKind::Hour, *year, *month, *date),
            _ => return Err(error()),
        };
        let small = |text: &str| -> Result<i8, TimeError> { i8::try_from(digits(text, 2)?).map_err(|_| error()) };
        let hour = hour.map_or(Ok(0), small)?;
        let year = digits(year, 4)?;
        if !YEARS.contains(&year) {
            return Err(error());
        }
        let start = DateTime::new(year, small(month)?, small(date)?, hour, 0, 0, 0).map_err(|_| error())?;
        Ok(Self { kind, start })
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = self.start;
        write!(f, "{:04}", start.year())?;
        if self.kind <= PeriodKind::Month {
            write!(f, "-{:02}", start.month())?;
        }
        if self.kind <= PeriodKind::Day {
            write!(f, "-{:02}", start.day())?;
        }
        if self.kind == PeriodKind::Hour {
            write!(f, "T{:02}", start.hour())?;
        }
        Ok(())
    }
}

/// A half-open span of time in milliseconds since 1970 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range {
    /// First instant.
    pub start: i64,
    /// First instant after it.
    pub end: i64,
}

impl Range {
    /// Its length, 0 when the end is not after the start.
    pub fn length(&self) -> i64 {
        self.end.saturating_sub(self.start).max(0)
    }

    /// Exact length in hours.
    pub fn hours(&self) -> Number {
        hours(self.length())
    }

    /// What both share; empty ranges have a length of 0.
    #[must_use]
    pub fn overlap(&self, other: Self) -> Self {
        Self { start: self.start.max(other.start), end: self.end.min(other.end) }
    }

    /// Whether the other one lies in it as a whole.
    pub fn holds(&self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }
}

/// Milliseconds as exact hours.
pub fn hours(milliseconds: i64) -> Number {
    Number::fraction(i128::from(milliseconds), i128::from(HOUR_MS)).unwrap_or_default()
}

/// A calendar day, 2025-07-15.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub Date);

impl FromStr for Day {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        // Only a whole day: jiff would take a time behind it and drop it.
        let sound = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        let date = if sound { text.parse().ok() } else { None };
        date.map(Self).ok_or_else(|| TimeError::Day(text.to_owned()))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

macro_rules! as_text {
    ($($type:ident $title:literal $description:literal),*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $title.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "description": $description, "type": "string" })
            }
        }
    )*};
}
as_text!(
    Zone "Zone" "The park's zone: an offset such as +08:00, or a name such as Asia/Shanghai.",
    Moment "Moment" "An instant: with an offset (2025-06-01T00:00:00+08:00) or without one, then in park time.",
    Day "Day" "A calendar day, 2025-07-15.",
    Period "Period" "A year 2025, month 2025-06, day 2025-06-01 or hour 2025-06-01T08, in park time."
);

#[cfg(test)]
mod tests {
    use super::*;

    fn period(text: &str) -> Period {
        text.parse().unwrap()
    }

    #[test]
    fn periods_are_read_and_shown() {
        for text in ["2025", "2025-06", "2024-02-29", "2025-06-01T08"] {
            assert_eq!(period(text).to_string(), text);
        }
        for text in
            ["", "25", "2025-13", "2025-6", "2025-02-29", "2025-06-01T24", "2025-06-01T8", "2025T08", "9999", "2025-06-01-01", "+025"]
        {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
    }

    #[test]
    fn periods_are_park_time_and_half_open() {
        let zone = Zone::default();
        let june = period("2025-06").span(&zone);
        // 2025-06-01 00:00 UTC+8 = 2025-05-31 16:00 UTC.
        assert_eq!(june.start, "2025-05-31T16:00:00Z".parse::<Timestamp>().unwrap().as_millisecond());
        assert_eq!(june.end, period("2025-07").span(&zone).start);
        assert_eq!(june.hours(), Number::from(720));
        assert_eq!(period("2024").span(&zone).hours(), Number::from(366 * 24));
        assert_eq!(period("2024-02-29").year_before().to_string(), "2023-02-28");
        assert_eq!(period("2025-12").next().to_string(), "2026-01");
    }

    #[test]
    fn moments_without_offset_are_park_time() {
        let zone = Zone::default();
        let moment = |text: &str| text.parse::<Moment>().unwrap().at(&zone);
        assert_eq!(moment("2025-06-01T00:00:00"), moment("2025-06-01T00:00:00+08:00"));
        assert_eq!(moment("2025-06-01 00:00"), moment("2025-05-31T16:00:00Z"));
        assert_eq!(zone.text(moment("2025-05-31T16:00:00Z")), "2025-06-01T00:00:00+08:00");
        for text in ["", "yesterday", "2025-06-31T00:00:00", "0001-01-01T00:00:00Z", "2025"] {
            assert!(text.parse::<Moment>().is_err(), "{text}");
        }
    }

    #[test]
    fn days_are_whole() {
        assert_eq!("2025-07-15".parse::<Day>().unwrap().to_string(), "2025-07-15");
        for text in ["", "2025-7-15", "2025-07-15T00:00", "20250715", "2025-02-29"] {
            assert!(text.parse::<Day>().is_err(), "{text}");
        }
    }

    #[test]
    fn zones() {
        assert_eq!("+08:00".parse::<Zone>().unwrap(), Zone::default());
        assert!("Asia/Shanghai".parse::<Zone>().is_ok());
        for text in ["", "+8", "+25:00", "+08:99", "Nowhere/Land"] {
            assert!(text.parse::<Zone>().is_err(), "{text}");
        }
    }
}
