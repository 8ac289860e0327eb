//! Third step: which of a reading's times counts, and what a device's clock is worth.
//!
//! `record_time` is the source time, unless
//! - our own clock is before `not_before` and it is not (a box that starts in 1970): source time, doubtful;
//! - it lies in the future of the received time beyond `future_tolerance_ms`: received time, doubtful;
//! - it lies before `not_before` (commissioning, at least the year 2000) and is a meter's; readings of any other origin
//!   keep theirs: received time, doubtful;
//! - the device's clock is known to be off beyond `clock_tolerance_ms` and the stamp is off by that same amount, so that
//!   the reading is live: received time, doubtful. A stamp that is off by another amount is back-fill by a wrong clock:
//!   it keeps its source time, which is nearer the truth than now, and is doubtful too. A stamp that is about now is
//!   taken as it is: the clock was put right.
//!
//! A clock that is off is told from back-fill by how `received - source` behaves while received time goes on: constant
//! for a wrong clock, moving for back-fill, which runs through hours in seconds. See [`DeviceClock`].
//!
//! Without a source time a reading takes its point's next free millisecond, see [`next_free`]; before `not_before` by our
//! own clock that is doubtful: nobody knows when it was.

use super::NormaliseSettings;
use super::dedup::Recent;
use crate::model::{Origin, UtcMillis};

/// Received time is looked at in windows at least this long: the newest stamp of each is the one that may be live.
pub(super) const WINDOW_MS: i64 = 10_000;
/// Differences remembered per device.
pub(super) const OFFSETS: usize = 9;
/// Differences needed before a clock is judged.
const OFFSETS_MIN: usize = 3;
/// A wall clock of ours that fell back by up to this much is waited for: readings without a time queue up, a millisecond
/// each, behind the last one. One that fell back further is believed at once. Then a millisecond that was used before the fall may be used again: history keeps both values, one
/// of them as a correction.
pub(super) const WAIT_FOR_CLOCK_MS: i64 = 3_600_000;

/// The time chosen, and whether the source time is doubted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) record_time: UtcMillis,
    pub(super) doubtful: bool,
}

/// Chooses the record time of a reading that has a source time; `offset` is [`DeviceClock::offset`].
pub(super) fn choose(settings: &NormaliseSettings, origin: Origin, received: UtcMillis, source: UtcMillis, offset: Option<i64>) -> Chosen {
    if received < settings.not_before && settings.not_before <= source {
        return Chosen { record_time: source, doubtful: true };
    }
    let age = received.since(source);
    let keeps_old = origin != Origin::Metered;
    if age < settings.future_tolerance_ms.saturating_neg() || (source < settings.not_before && !keeps_old) {
        return Chosen { record_time: received, doubtful: true };
    }
    let near = |a: i64, b: i64| a.abs_diff(b) <= settings.clock_tolerance_ms.unsigned_abs();
    match offset {
        Some(offset) if is_live_origin(origin) && !near(offset, 0) && !near(age, 0) => {
            Chosen { record_time: if near(age, offset) { received } else { source }, doubtful: true }
        }
        _ => Chosen { record_time: source, doubtful: false },
    }
}

/// Only what comes straight from a device says something about the device's clock.
pub(super) fn is_live_origin(origin: Origin) -> bool {
    matches!(origin, Origin::Metered | Origin::Simulated)
}

/// The last reading of a point without a source time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unstamped {
    /// Its record time.
    pub(super) record: UtcMillis,
    /// The latest received time since readings queue up: tells a point that ran ahead from a clock that fell back.
    pub(super) received: UtcMillis,
}

impl Unstamped {
    /// What is remembered after `last`, once a reading got its record time.
    pub(super) fn after(last: Option<Self>, record: UtcMillis, received: UtcMillis) -> Self {
        match last {
            Some(last) if record > received => Self { record, received: received.max(last.received) },
            _ => Self { record, received },
        }
    }
}

/// The record time of a reading without a source time, after `last` one such of its point: the received time, or the
/// millisecond after the last when that is not later, so that two messages stay two samples. A point with more than one
/// reading a millisecond so runs ahead of the received time, for as long as it does.
pub(super) fn next_free(last: Option<Unstamped>, received: UtcMillis) -> UtcMillis {
    match last {
        Some(last) if last.record >= received && last.received.since(received) <= WAIT_FOR_CLOCK_MS => last.record.plus(1),
        _ => received,
    }
}

/// One pair of times, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) received: i64,
    pub(super) source: i64,
}

/// What is remembered of one device's clock.
///
/// The newest stamp of each window of received time is compared with that of the window before. When source time went on
/// as received time did, within a quarter, the device was live and `received - source` is its offset. In back-fill, and
/// where live readings alternate with it, source time goes on much faster, or jumps, and nothing is learned. An offset of
/// up to the time between the two windows, and the tolerance, counts as 0: such a stamp may be the start of the period that
/// the value is about, as with quarter-hour, hour and day values. The median of the last [`OFFSETS`] counts, once there are
/// [`OFFSETS_MIN`]: so a clock that is off is noticed after some four windows, and one put right is believed at once by the
/// rule above. A backlog that trickles in at the very pace it was measured looks like a wrong clock; nothing could tell the
/// two apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct DeviceClock {
    /// Start of the present window and its newest stamp.
    pub(super) window: Option<(i64, Stamp)>,
    /// Newest stamp of the window before.
    pub(super) anchor: Option<Stamp>,
    /// Offsets of live windows.
    pub(super) offsets: Recent<i64, OFFSETS>,
    median: Option<i64>,
}

impl DeviceClock {
    /// How far the device's clock is behind ours, in milliseconds; `None` while unknown.
    pub(super) fn offset(&self) -> Option<i64> {
        self.median
    }

    /// Takes in the times of one sample; `tolerance_ms` is the clock tolerance.
    pub(super) fn absorb(&mut self, stamp: Stamp, tolerance_ms: i64) {
        match self.window {
            // Our own clock fell back: all that was learned is void.
            Some((start, _)) if stamp.received < start => *self = Self { window: Some((stamp.received, stamp)), ..Self::default() },
            Some((start, newest)) if stamp.received.saturating_sub(start) < WINDOW_MS => {
                if stamp.source > newest.source {
                    self.window = Some((start, stamp));
                }
            }
            Some((_, newest)) => {
                self.close(newest, tolerance_ms);
                self.window = Some((stamp.received, stamp));
            }
            None => self.window = Some((stamp.received, stamp)),
        }
    }

    fn close(&mut self, newest: Stamp, tolerance_ms: i64) {
        if let Some(before) = self.anchor.replace(newest) {
            let received = newest.received.saturating_sub(before.received);
            let source = newest.source.saturating_sub(before.source);
            let slack = received.unsigned_abs() >> 2;
            if received > 0 && source.abs_diff(received) <= slack {
                let age = newest.received.saturating_sub(newest.source);
                let explained = (0..=received.saturating_add(tolerance_ms)).contains(&age);
                self.push_offset(if explained { 0 } else { age });
            }
        }
    }

    /// Adds an offset: also the way back from a snapshot.
    pub(super) fn push_offset(&mut self, offset: i64) {
        self.offsets.push(offset);
        if self.offsets.iter().len() >= OFFSETS_MIN {
            let mut sorted: Vec<i64> = self.offsets.iter().copied().collect();
            sorted.sort_unstable();
            self.median = sorted.get(sorted.len() >> 1).copied();
        }
    }
}
