//! When a device is polled: at multiples of its interval on the wall clock, plus its stagger. Pure.
//!
//! Due times are kept on the monotonic clock and derived anew from the wall clock at each poll, so a jump of the wall
//! clock moves one poll and stops none.

use crate::catalogue::Priority;
use crate::model::Now;

/// Units of one link, and links among each other, are spread over this much of a second (or of the interval, if that
/// is shorter), so that a thousand devices do not fire in one instant.
const STAGGER_SPREAD_MS: u32 = 1_000;

/// Longest wait of a probe for a moment when nothing else is due.
const PROBE_PATIENCE_MS: u64 = 60_000;

/// Class, whether it has yet to begin, and since when it is due: the least goes first.
pub(super) type Rank = (u8, bool, u64);

/// The polls of one device.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    interval_ms: u64,
    stagger_ms: u64,
    due_ms: u64,
}

/// How a poll starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start {
    /// Milliseconds since it was due.
    pub lateness_ms: u64,
    /// Polls between the one before and this one that will never happen.
    pub skipped: u64,
}

impl Schedule {
    /// Polls each `interval_ms`, device number `index` of `count` on the link of `link_key`. The first poll is due right
    /// away but for its stagger: nobody waits a quarter of an hour to see whether an address is right.
    pub(super) fn new(interval_ms: u32, link_key: u32, index: usize, count: usize, now: Now) -> Self {
        let spread_ms = u64::from(interval_ms.clamp(1, STAGGER_SPREAD_MS));
        let (index, count) = (u64::try_from(index).unwrap_or(0), u64::try_from(count).unwrap_or(1).max(1));
        let own_ms = spread_ms.saturating_mul(index).checked_div(count).unwrap_or(0);
        let stagger_ms = u64::from(link_key).saturating_add(own_ms).checked_rem(spread_ms).unwrap_or(0);
        Self { interval_ms: u64::from(interval_ms.max(1)), stagger_ms, due_ms: now.monotonic_ms.saturating_add(stagger_ms) }
    }

    /// Monotonic time of the next poll.
    pub(super) fn due_ms(&self) -> u64 {
        self.due_ms
    }

    /// The poll starts now: says how late, and plans the next one.
    ///
    /// When later polls have come due meanwhile, this one stands for the newest of them and the others are skipped.
    pub(super) fn start(&mut self, now: Now) -> Start {
        let start = self.late(now);
        self.plan(now, now.monotonic_ms.saturating_add(1));
        start
    }

    /// No poll before monotonic `earliest_ms`: the device is given time.
    pub(super) fn hold_until(&mut self, now: Now, earliest_ms: u64) {
        self.plan(now, earliest_ms);
    }

    /// The link was down until now: polls that fell into that time are not made up for, and not counted.
    pub(super) fn resume(&mut self, now: Now) {
        self.due_ms = now.monotonic_ms.saturating_sub(self.late(now).lateness_ms).max(self.due_ms);
    }

    /// Who goes first of those that are due, or have begun and not finished: the least. A poll goes on before another one
    /// of its class begins; what has been due for longer than its interval counts as fast, so that nobody starves. A
    /// `probe` of a unit that is down most likely costs the line a time-out, so it goes when nothing else is due, and waits
    /// [`PROBE_PATIENCE_MS`] for that.
    pub(super) fn rank(&self, priority: Priority, continuing: Option<u64>, probe: bool, now_ms: u64) -> Rank {
        let due_ms = continuing.unwrap_or(self.due_ms);
        let patience_ms = if probe { self.interval_ms.max(PROBE_PATIENCE_MS) } else { self.interval_ms };
        let overdue = now_ms.saturating_sub(due_ms) > patience_ms;
        let class = match (overdue, probe, priority) {
            (true, ..) | (_, false, Priority::Fast) => 0,
            (_, false, Priority::Normal) => 1,
            (_, false, Priority::Slow) => 2,
            (_, true, _) => 3,
        };
        (class, continuing.is_none(), due_ms)
    }

    fn late(&self, now: Now) -> Start {
        let late_ms = now.monotonic_ms.saturating_sub(self.due_ms);
        let skipped = late_ms.checked_div(self.interval_ms).unwrap_or(0);
        Start { lateness_ms: late_ms.checked_rem(self.interval_ms).unwrap_or(0), skipped }
    }

    /// The first aligned time not before `earliest_ms`, and at least half an interval after the time before: the two
    /// clocks tick at different moments, and the wall clock may be set back.
    fn plan(&mut self, now: Now, earliest_ms: u64) {
        let interval_ms = i64::try_from(self.interval_ms).unwrap_or(i64::MAX);
        let stagger_ms = i64::try_from(self.stagger_ms).unwrap_or(0);
        let newest_due_ms = now.monotonic_ms.saturating_sub(self.late(now).lateness_ms).max(self.due_ms.min(now.monotonic_ms));
        let earliest_ms = earliest_ms.max(newest_due_ms.saturating_add(self.interval_ms.div_ceil(2)));
        let wait_ms = i64::try_from(earliest_ms.saturating_sub(now.monotonic_ms)).unwrap_or(i64::MAX);
        let phase_ms = now.utc.plus(wait_ms).plus(stagger_ms.saturating_neg()).0.rem_euclid(interval_ms);
        let to_aligned_ms = if phase_ms == 0 { 0 } else { interval_ms.saturating_sub(phase_ms) };
        let earliest_ms = earliest_ms.max(now.monotonic_ms);
        self.due_ms = earliest_ms.saturating_add(u64::try_from(to_aligned_ms).unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UtcMillis;

    const UTC: i64 = 1_764_000_000_250;

    fn at(ms: u64) -> Now {
        Now { utc: UtcMillis(UTC + i64::try_from(ms).unwrap()), monotonic_ms: ms }
    }

    /// A schedule of one device on a link whose key gives no stagger.
    fn schedule(interval_ms: u32) -> Schedule {
        Schedule::new(interval_ms, 0, 0, 1, at(0))
    }

    #[test]
    fn polls_at_multiples_of_the_interval() {
        let mut schedule = schedule(1_000);
        assert_eq!(schedule.due_ms(), 0);
        assert_eq!(schedule.start(at(0)), Start { lateness_ms: 0, skipped: 0 });
        for second in 1..100 {
            let due_ms = second * 1_000 - 250;
            assert_eq!(schedule.due_ms(), due_ms);
            assert_eq!(schedule.start(at(due_ms + second % 7)), Start { lateness_ms: second % 7, skipped: 0 });
        }
    }

    #[test]
    fn late_polls_are_skipped_and_counted() {
        let mut schedule = schedule(1_000);
        schedule.start(at(0));
        assert_eq!(schedule.due_ms(), 750);
        assert_eq!(schedule.start(at(3_900)), Start { lateness_ms: 150, skipped: 3 });
        assert_eq!(schedule.due_ms(), 4_750);
        assert_eq!(schedule.start(at(4_751)), Start { lateness_ms: 1, skipped: 0 });
    }

    #[test]
    fn a_poll_that_starts_a_tick_early_is_not_made_twice() {
        let mut schedule = schedule(100);
        schedule.start(at(0));
        for _ in 0..50 {
            let due_ms = schedule.due_ms();
            schedule.start(Now { utc: UtcMillis(UTC + i64::try_from(due_ms).unwrap() - 1), monotonic_ms: due_ms });
            assert!((99..=101).contains(&(schedule.due_ms() - due_ms)), "{}", schedule.due_ms() - due_ms);
        }
    }

    #[test]
    fn a_jump_of_the_wall_clock_stops_nothing() {
        for jump_ms in [-86_400_000, -3_333, 777, 86_400_333] {
            let mut schedule = schedule(1_000);
            let mut now = at(0);
            schedule.start(now);
            now = Now { utc: now.utc.plus(jump_ms + 750), monotonic_ms: 750 };
            schedule.start(now);
            let wait_ms = schedule.due_ms() - 750;
            assert!((500..=1_500).contains(&wait_ms), "{jump_ms}: {wait_ms}");
            assert_eq!(now.utc.plus(i64::try_from(wait_ms).unwrap()).0.rem_euclid(1_000), 0, "aligned again");
        }
    }

    #[test]
    fn the_fast_go_first_and_nobody_starves() {
        let due = |due_ms| Schedule { interval_ms: 1_000, stagger_ms: 0, due_ms };
        let [fast, normal, slow] = Priority::ALL;
        let rank = |priority, continuing, due_ms| due(due_ms).rank(priority, continuing, false, 5_000);
        for (first, second) in [
            (rank(fast, None, 4_900), rank(normal, None, 4_100)),
            (rank(normal, None, 4_900), rank(slow, None, 4_100)),
            (rank(normal, None, 4_100), rank(normal, None, 4_900)),
            (rank(normal, Some(4_900), 9_000), rank(normal, None, 4_100)),
            (rank(fast, None, 5_000), rank(normal, Some(4_900), 9_000)),
            (rank(slow, None, 3_900), rank(fast, None, 4_000)),
            (rank(slow, Some(3_900), 9_000), rank(fast, None, 3_000)),
        ] {
            assert!(first < second, "{first:?} {second:?}");
        }
        let probe = |now_ms| due(0).rank(fast, None, true, now_ms);
        assert!(probe(5_000) > rank(slow, None, 5_000) && probe(70_000) < rank(fast, None, 1), "{:?}", probe(70_000));
    }

    #[test]
    fn a_device_that_is_given_time_comes_back_aligned() {
        let mut schedule = schedule(1_000);
        schedule.start(at(0));
        schedule.hold_until(at(10), 2_010);
        assert_eq!(schedule.due_ms(), 2_750);
        schedule.resume(at(9_800));
        assert_eq!(schedule.due_ms(), 9_750);
        assert_eq!(schedule.start(at(9_800)), Start { lateness_ms: 50, skipped: 0 });
    }

    #[test]
    fn devices_and_links_are_spread() {
        let due: Vec<_> = (0..10).map(|index| Schedule::new(1_000, 5_017, index, 10, at(0)).due_ms()).collect();
        assert_eq!(due, [17, 117, 217, 317, 417, 517, 617, 717, 817, 917]);
        assert_eq!(Schedule::new(900_000, 5_017, 3, 10, at(0)).due_ms(), 317, "a long interval keeps close to its time");
    }
}
