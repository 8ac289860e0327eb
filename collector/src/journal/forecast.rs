//! When the disk will be full, by how room shrank lately. Pure.

#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::collections::VecDeque;

/// Looks are kept this far apart ...
const STEP_MS: u64 = 10 * 60 * 1000;
/// ... and this many of them: two days.
const STEPS_MAX: usize = 288;
/// Nothing is said before this much is known.
const SPAN_MS_MIN: u64 = 60 * 60 * 1000;
/// Beyond ten years nothing is said either.
const DAYS_MAX: f64 = 3650.0;
const DAY_MS: f64 = 86_400_000.0;

/// Remembers how much room there was.
#[derive(Clone, Debug, Default)]
pub struct Forecast {
    looks: VecDeque<(u64, u64)>,
}

impl Forecast {
    /// Notes the room left now, by the monotonic clock.
    pub fn note(&mut self, monotonic_ms: u64, room_bytes: u64) {
        if self.looks.back().is_some_and(|&(last, _)| monotonic_ms < last.saturating_add(STEP_MS)) {
            return;
        }
        self.looks.push_back((monotonic_ms, room_bytes));
        if self.looks.len() > STEPS_MAX {
            self.looks.pop_front();
        }
    }

    /// Days until there is no room, if it shrinks on as it did since the oldest look; `None` when it does not shrink, is
    /// not yet known for an hour, or would last ten years.
    pub fn full_in_days(&self, monotonic_ms: u64, room_bytes: u64) -> Option<f64> {
        let &(then, before) = self.looks.front()?;
        let span = monotonic_ms.checked_sub(then).filter(|&span| span >= SPAN_MS_MIN)?;
        let shrunk = before.checked_sub(room_bytes).filter(|&shrunk| shrunk > 0)?;
        let days = room_bytes as f64 / shrunk as f64 * (span as f64 / DAY_MS);
        (days <= DAYS_MAX).then_some(days)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    #[test]
    fn tells_days_by_the_rate_of_two_days() {
        let mut forecast = Forecast::default();
        let room = |hour: u64| 1_000_000_000 - hour * 1_000_000;
        for hour in 0..100 {
            forecast.note(hour * HOUR, room(hour));
        }
        // 900 MB left at 1 MB an hour.
        let days = forecast.full_in_days(100 * HOUR, room(100)).unwrap();
        assert!((days - 900.0 / 24.0).abs() < 1e-6, "{days}");
    }

    #[test]
    fn says_nothing_without_reason() {
        let mut forecast = Forecast::default();
        assert_eq!(forecast.full_in_days(0, 5), None, "nothing known");
        forecast.note(0, 1000);
        assert_eq!(forecast.full_in_days(HOUR - 1, 900), None, "too early");
        assert_eq!(forecast.full_in_days(HOUR, 1000), None, "steady");
        assert_eq!(forecast.full_in_days(HOUR, 2000), None, "growing");
        assert_eq!(forecast.full_in_days(HOUR * 1000, 999), None, "decades");
        assert!(forecast.full_in_days(HOUR, 500).is_some());
    }

    #[test]
    fn keeps_two_days() {
        let mut forecast = Forecast::default();
        for minute in 0..10_000 {
            forecast.note(minute * 60_000, 0);
        }
        assert_eq!(forecast.looks.len(), STEPS_MAX);
    }
}
