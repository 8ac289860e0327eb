//! Points in time and half-open periods. Hours, days and months of the calendar come from whoever asks; `crate::period` knows them.

use std::borrow::Cow;
use std::fmt;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _, Unit};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Milliseconds of a minute.
pub const MINUTE_MS: i64 = 60_000;
/// Milliseconds of an hour.
pub const HOUR_MS: i64 = 60 * MINUTE_MS;

/// Milliseconds since 1970-01-01T00:00:00Z. In JSON and TOML it is RFC 3339 text such as `2026-11-23T06:00:00Z`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UtcMillis(pub i64);

/// `[from, to)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Period {
    /// Start, inside.
    pub from: UtcMillis,
    /// End, outside.
    pub to: UtcMillis,
}

/// Over which period an average is taken, and so which average a limit names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Averaging {
    /// Clock hour.
    Hour,
    /// Calendar day.
    Day,
    /// Calendar month.
    Month,
}

impl UtcMillis {
    /// `self + milliseconds`, saturating.
    #[must_use]
    pub fn plus(self, milliseconds: i64) -> Self {
        Self(self.0.saturating_add(milliseconds))
    }

    /// `self - earlier` in milliseconds, saturating.
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Period {
    /// The calendar quarter that holds `at`, in `zone`: for the valid rate by which mass is filled.
    pub fn quarter(at: UtcMillis, zone: &TimeZone) -> Option<Self> {
        let date = Timestamp::from_millisecond(at.0).ok()?.to_zoned(zone.clone()).date();
        let back = (date.month() - 1).rem_euclid(3);
        let first = date.first_of_month().checked_sub(i64::from(back).months()).ok()?;
        let next = first.checked_add(3.months()).ok()?;
        Some(Self { from: midnight(first.into(), zone)?, to: midnight(next.into(), zone)? })
    }

    /// Whether `at` lies inside.
    pub fn holds(&self, at: UtcMillis) -> bool {
        self.from <= at && at < self.to
    }

    /// Whether the two have a time in common.
    pub fn meets(&self, other: &Self) -> bool {
        self.from < other.to && other.from < self.to
    }

    /// Its length in milliseconds, never below 0.
    pub fn length_ms(&self) -> i64 {
        self.to.since(self.from).max(0)
    }

    /// Its whole pieces of `width_ms`, in order; a rest at the end is left out.
    pub fn pieces(&self, width_ms: i64) -> impl Iterator<Item = Self> + use<> {
        let (from, width_ms) = (self.from, width_ms.max(1));
        (0..self.length_ms() / width_ms).map(move |index| {
            let start = from.plus(index.saturating_mul(width_ms));
            Self { from: start, to: start.plus(width_ms) }
        })
    }

    /// Its whole minutes, in order.
    pub fn minutes(&self) -> impl Iterator<Item = Self> + use<> {
        self.pieces(MINUTE_MS)
    }

    /// Its whole hours, in order.
    pub fn hours(&self) -> impl Iterator<Item = Self> + use<> {
        self.pieces(HOUR_MS)
    }
}

fn midnight(civil: DateTime, zone: &TimeZone) -> Option<UtcMillis> {
    let zoned = civil.to_zoned(zone.clone()).ok()?;
    zoned.round(Unit::Millisecond).ok().map(|zoned| UtcMillis(zoned.timestamp().as_millisecond()))
}

impl Averaging {
    /// `hour`, `day`, `month`, as in configuration and identities.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
        }
    }
}

impl fmt::Display for UtcMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::from_millisecond(self.0) {
            Ok(timestamp) => write!(f, "{timestamp}"),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

impl Serialize for UtcMillis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UtcMillis {
    /// RFC 3339 with an offset or `Z`; what is finer than a millisecond is cut off.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        let timestamp: Timestamp = text
            .parse()
            .map_err(|error| serde::de::Error::custom(format_args!("`{text}` is no time such as 2026-11-23T14:00:00+08:00: {error}")))?;
        Ok(Self(timestamp.as_millisecond()))
    }
}

impl schemars::JsonSchema for UtcMillis {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "description": "RFC 3339, milliseconds at the finest.", "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> UtcMillis {
        UtcMillis(text.parse::<Timestamp>().unwrap().as_millisecond())
    }

    #[test]
    fn quarters_are_the_parks() {
        let zone = TimeZone::fixed(jiff::tz::offset(8));
        for (time, from, to) in [
            ("2026-01-01T00:00:00+08:00", "2026-01-01T00:00:00+08:00", "2026-04-01T00:00:00+08:00"),
            ("2026-11-30T00:00:00+08:00", "2026-10-01T00:00:00+08:00", "2027-01-01T00:00:00+08:00"),
            ("2026-09-30T23:59:59.999+08:00", "2026-07-01T00:00:00+08:00", "2026-10-01T00:00:00+08:00"),
        ] {
            assert_eq!(Period::quarter(at(time), &zone), Some(Period { from: at(from), to: at(to) }), "{time}");
        }
    }

    #[test]
    fn texts_of_times_are_read_back() {
        let time = at("2026-11-23T13:59:59.250+08:00");
        let text = serde_json::to_string(&time).unwrap();
        assert_eq!(text, "\"2026-11-23T05:59:59.25Z\"");
        assert_eq!(serde_json::from_str::<UtcMillis>(&text).unwrap(), time);
        assert!(serde_json::from_str::<UtcMillis>("\"2026-11-23 13:00\"").is_err(), "a time without an offset");
    }

    #[test]
    fn pieces_cover_whole_minutes_only() {
        let period = Period { from: UtcMillis(0), to: UtcMillis(2 * MINUTE_MS + 1) };
        let minutes: Vec<_> = period.minutes().map(|minute| (minute.from.0, minute.to.0)).collect();
        assert_eq!(minutes, [(0, 60_000), (60_000, 120_000)]);
        assert_eq!(Period { from: UtcMillis(5), to: UtcMillis(0) }.minutes().count(), 0);
    }
}
