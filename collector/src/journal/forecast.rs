//! When the disk will be full, by how room shrank lately. Pure.

#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::collections::VecDeque;

/// One look stands for so long ...
const STEP_MS: u64 = 10 * 60 * 1000;
/// ... and so many are kept: two days.
const STEPS_MAX: usize = 288;
/// Nothing is said before so many are known: six hours.
const STEPS_MIN: usize = 36;
/// Beyond ten years nothing is said either.
const DAYS_MAX: f64 = 3650.0;
const DAY_MS: f64 = 86_400_000.0;

/// Remembers how much room there was. Room goes up and down as segments come and go, so only the least room of each step
/// counts, and of those the least of the older half against the least of the newer half.
#[derive(Clone, Debug, Default)]
pub struct Forecast {
    /// Start of the step on the monotonic clock, least room in it.
    looks: VecDeque<(u64, u64)>,
}

impl Forecast {
    /// Notes the room left now, by the monotonic clock.
    pub fn note(&mut self, monotonic_ms: u64, room_bytes: u64) {
        match self.looks.back_mut() {
            Some((start, least)) if monotonic_ms < start.saturating_add(STEP_MS) => *least = room_bytes.min(*least),
            _ => self.looks.push_back((monotonic_ms, room_bytes)),
        }
        if self.looks.len() > STEPS_MAX {
            self.looks.pop_front();
        }
    }

    /// Days until there is no room, if it shrinks on as it did in the last two days; `None` when it does not shrink, is
    /// not yet known for six hours, or would last ten years.
    pub fn full_in_days(&self) -> Option<f64> {
        let half = self.looks.len().checked_div(2).filter(|_| self.looks.len() >= STEPS_MIN)?;
        let least = |from: usize, to: usize| self.looks.range(from..to).map(|&(_, room)| room).min();
        let (before, now) = (least(0, half)?, least(half, self.looks.len())?);
        let shrunk = before.checked_sub(now).filter(|&shrunk| shrunk > 0)?;
        let span_ms = self.looks.back()?.0.checked_sub(self.looks.get(half.saturating_sub(1))?.0)?;
        let days = now as f64 / shrunk as f64 * (span_ms as f64 / DAY_MS);
        (days <= DAYS_MAX).then_some(days)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;

    /// The forecast after `hours` of looks once a minute.
    fn after(hours: u64, room: impl Fn(u64) -> u64) -> Option<f64> {
        let mut forecast = Forecast::default();
        for minute in 0..hours * 60 {
            forecast.note(minute * MINUTE, room(minute));
        }
        forecast.full_in_days()
    }

    #[test]
    fn tells_days_by_the_rate_of_two_days() {
        // 1 MB an hour.
        let days = after(100, |minute| 1_000_000_000 - minute * 1_000_000 / 60).unwrap();
        assert!((days - 900.0 / 24.0).abs() < 0.5, "{days}");
    }

    #[test]
    fn segments_that_come_and_go_are_no_trend() {
        // 4 GB, of which up to 140 MB go and come every 7 minutes.
        for hours in [6, 12, 30, 60] {
            let days = after(hours, |minute| 4_000_000_000 - minute % 7 * 20_000_000);
            assert_eq!(days, None, "{hours}");
        }
    }

    #[test]
    fn says_nothing_without_reason() {
        assert_eq!(after(0, |_| 5), None, "nothing known");
        assert_eq!(after(5, |minute| 1000 - minute), None, "too early");
        assert_eq!(after(24, |_| 1000), None, "steady");
        assert_eq!(after(24, |minute| 1000 + minute), None, "growing");
        assert_eq!(after(24, |minute| u64::MAX - minute), None, "centuries");
        assert!(after(24, |minute| 1_000_000 - minute).is_some());
    }

    #[test]
    fn keeps_two_days() {
        let mut forecast = Forecast::default();
        for minute in 0..10_000 {
            forecast.note(minute * MINUTE, 0);
        }
        assert_eq!(forecast.looks.len(), STEPS_MAX);
    }
}
