//! Points in time. Storage is UTC milliseconds everywhere; zones exist only at the edges.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z, negative before. Never a duration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UtcMillis(pub i64);

impl UtcMillis {
    /// `self - earlier` in milliseconds, saturating at the ends of the range.
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// `self + milliseconds`, saturating at the ends of the range.
    pub fn plus(self, milliseconds: i64) -> Self {
        Self(self.0.saturating_add(milliseconds))
    }

    /// Start of the half-open bucket `[k * width, (k + 1) * width)` that holds `self`; floor division, so it holds
    /// before 1970 too. A `width_ms` below 1 counts as 1.
    pub fn floor_to(self, width_ms: i64) -> Self {
        let width_ms = width_ms.max(1);
        Self(self.0.div_euclid(width_ms).saturating_mul(width_ms))
    }
}

impl fmt::Display for UtcMillis {
    /// RFC 3339 with milliseconds in UTC, `2026-11-23T05:37:38.123Z`; beyond the calendar's range the bare number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(timestamp) => write!(f, "{timestamp:.3}"),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

/// The two clocks read at one instant: wall clock for stamps, monotonic clock for durations and time-outs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Wall clock. May jump.
    pub utc: UtcMillis,
    /// Milliseconds since this process started. Never jumps.
    pub monotonic_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_half_open_and_hold_before_1970() {
        for (time, width, start) in [(0, 1000, 0), (999, 1000, 0), (1000, 1000, 1000), (-1, 1000, -1000), (-1000, 1000, -1000), (5, 0, 5)] {
            assert_eq!(UtcMillis(time).floor_to(width), UtcMillis(start), "{time} by {width}");
        }
    }

    #[test]
    fn prints_rfc3339_and_survives_the_extremes() {
        assert_eq!(UtcMillis(1_764_999_999_123).to_string(), "2025-12-06T05:46:39.123Z");
        assert_eq!(UtcMillis(i64::MAX).to_string(), format!("{} ms", i64::MAX));
    }
}
