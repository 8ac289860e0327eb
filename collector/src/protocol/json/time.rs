//! Reads the text of one JSON value as a point in time, in the declared format.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::TimeFormat;
use super::mapper::BuildError;
use super::number::{number, string};
use crate::model::{Number, UtcMillis};

/// A [`TimeFormat`] made ready: the zone is loaded once.
#[derive(Clone, Debug)]
pub struct TimeReader(Form);

#[derive(Clone, Debug)]
enum Form {
    /// A number of units since 1970, a millisecond having `10^shift` of them.
    Epoch {
        shift: i32,
    },
    Rfc3339,
    Local {
        pattern: String,
        zone: TimeZone,
    },
}

impl TimeReader {
    /// Loads the zone and tries the pattern.
    pub fn new(format: &TimeFormat) -> Result<Self, BuildError> {
        Ok(Self(match format {
            TimeFormat::EpochSeconds => Form::Epoch { shift: -3 },
            TimeFormat::EpochMillis => Form::Epoch { shift: 0 },
            TimeFormat::EpochMicros => Form::Epoch { shift: 3 },
            TimeFormat::EpochNanos => Form::Epoch { shift: 6 },
            TimeFormat::Rfc3339 => Form::Rfc3339,
            TimeFormat::Local { pattern, zone } => Form::Local {
                zone: TimeZone::get(zone).map_err(|error| BuildError::Zone { zone: zone.clone(), error: error.to_string() })?,
                pattern: pattern.clone(),
            },
        }))
    }

    /// The time of one JSON value, given as its text in the payload; `None` when it is not of this format.
    ///
    /// Epoch times may be strings and may have decimals. What is finer than a millisecond is cut off towards the past. A
    /// local time that the clocks skip in spring counts as if they had not been set on yet, one that comes twice in autumn
    /// is the first of the two (the "compatible" rule of RFC 5545).
    pub fn read(&self, json: &str) -> Option<UtcMillis> {
        match &self.0 {
            Form::Epoch { shift } => epoch(json, *shift),
            Form::Rfc3339 | Form::Local { .. } => self.read_text(&string(json)?),
        }
    }

    /// The time of a plain text; `None` when it is not of this format.
    pub fn read_text(&self, text: &str) -> Option<UtcMillis> {
        let text = text.trim_ascii();
        match &self.0 {
            Form::Epoch { shift } => epoch(text, *shift),
            Form::Rfc3339 => {
                let timestamp: jiff::Timestamp = text.parse().ok()?;
                floor_millis(timestamp)
            }
            Form::Local { pattern, zone } => {
                let local = DateTime::strptime(pattern, text).ok()?;
                floor_millis(zone.to_ambiguous_timestamp(local).compatible().ok()?)
            }
        }
    }

    /// What is expected, for a person.
    pub fn expected(&self) -> String {
        match &self.0 {
            Form::Epoch { shift: -3 } => "seconds since 1970".to_owned(),
            Form::Epoch { shift: 0 } => "milliseconds since 1970".to_owned(),
            Form::Epoch { shift: 3 } => "microseconds since 1970".to_owned(),
            Form::Epoch { .. } => "nanoseconds since 1970".to_owned(),
            Form::Rfc3339 => "RFC 3339 such as 2026-11-23T08:00:00+08:00".to_owned(),
            Form::Local { pattern, .. } => format!("local time written as {pattern}"),
        }
    }
}

fn floor_millis(timestamp: jiff::Timestamp) -> Option<UtcMillis> {
    i64::try_from(timestamp.as_nanosecond().div_euclid(1_000_000)).ok().map(UtcMillis)
}

fn epoch(json: &str, shift: i32) -> Option<UtcMillis> {
    // `true` and `null` are numbers of a point, not times.
    if json.starts_with(['t', 'f', 'n']) {
        return None;
    }
    let Some(Number::Exact(decimal)) = number(json) else { return None };
    let power = i32::from(decimal.exponent).checked_sub(shift)?;
    let factor = 10i128.checked_pow(power.unsigned_abs());
    let mantissa = i128::from(decimal.mantissa);
    let millis = match (power >= 0, factor) {
        (true, factor) => mantissa.checked_mul(factor?)?,
        (false, Some(factor)) => mantissa.checked_div_euclid(factor)?,
        (false, None) => 0,
    };
    i64::try_from(millis).ok().map(UtcMillis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(pattern: &str, zone: &str) -> TimeFormat {
        TimeFormat::Local { pattern: pattern.into(), zone: zone.into() }
    }

    #[test]
    fn reads_every_format() {
        let shanghai = local("%Y-%m-%d %H:%M:%S", "Asia/Shanghai");
        for (format, json, wanted) in [
            (TimeFormat::EpochSeconds, "1764999999", Some(1_764_999_999_000)),
            (TimeFormat::EpochSeconds, "1764999999.1239", Some(1_764_999_999_123)),
            (TimeFormat::EpochSeconds, "\"1764999999.5\"", Some(1_764_999_999_500)),
            (TimeFormat::EpochSeconds, "1.764999999123e9", Some(1_764_999_999_123)),
            (TimeFormat::EpochSeconds, "-0.0001", Some(-1)),
            (TimeFormat::EpochMillis, "1764999999123", Some(1_764_999_999_123)),
            (TimeFormat::EpochMillis, "1764999999123.9", Some(1_764_999_999_123)),
            (TimeFormat::EpochMicros, "1764999999123999", Some(1_764_999_999_123)),
            (TimeFormat::EpochNanos, "1764999999123999999", Some(1_764_999_999_123)),
            (TimeFormat::EpochMillis, "null", None),
            (TimeFormat::EpochMillis, "true", None),
            (TimeFormat::EpochMillis, "\"soon\"", None),
            (TimeFormat::EpochSeconds, "1e100", None),
            (TimeFormat::EpochNanos, "1e-120", Some(0)),
            (TimeFormat::Rfc3339, "\"2025-12-06T05:46:39.1239Z\"", Some(1_764_999_999_123)),
            (TimeFormat::Rfc3339, "\"2025-12-06T13:46:39.123+08:00\"", Some(1_764_999_999_123)),
            (TimeFormat::Rfc3339, "\"2025-12-06T13:46:39\"", None),
            (TimeFormat::Rfc3339, "1764999999", None),
            (shanghai.clone(), "\"2025-12-06 13:46:39\"", Some(1_764_999_999_000)),
            (shanghai.clone(), "\"2025-12-06T13:46:39\"", None),
            (local("%Y%m%d%H%M%S%.f", "UTC"), "\"20251206054639.123\"", Some(1_764_999_999_123)),
            // Berlin 2025: skipped 02:30 on 30 March is 03:30 summer time; 02:30 on 26 October comes first in summer time.
            (local("%Y-%m-%d %H:%M", "Europe/Berlin"), "\"2025-03-30 02:30\"", Some(1_743_298_200_000)),
            (local("%Y-%m-%d %H:%M", "Europe/Berlin"), "\"2025-10-26 02:30\"", Some(1_761_438_600_000)),
        ] {
            assert_eq!(TimeReader::new(&format).unwrap().read(json), wanted.map(UtcMillis), "{format:?} {json}");
        }
    }

    #[test]
    fn an_unknown_zone_is_refused() {
        assert!(matches!(TimeReader::new(&local("%Y", "Mars/Olympus")), Err(BuildError::Zone { .. })));
    }
}
