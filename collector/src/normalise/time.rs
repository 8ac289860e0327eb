//! Third step: which of a reading's times counts, and what a device's clock and our own are worth.
//!
//! `record_time` is the source time, unless
//! - our own clock is before `not_before` and it is not (a box that starts in 1970): source time, doubtful;
//! - it lies in the future of the received time beyond `future_tolerance_ms`: received time, doubtful. But where our own
//!   clock fell back and the device went on as before: source time, doubtful, see [`Line`];
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
//! A device's clock that goes back, since it was put right or set wrong, or drifted beyond `future_tolerance_ms`, gives out
//! time twice, too. Late readings do so as well, but the registers of a counter tell the two apart: a late one is not
//! above the last one. See [`in_order`]. It does not tell where a clock goes back by more than `clock_tolerance_ms`: until
//! its offset is known that may be back-fill from before an exchange of the meter.
//!
//! Without a source time a reading takes its point's next free millisecond, see [`next_free`]; where the device sent times
//! before, of a clock that was ahead, [`in_order`] holds for it, too.
//!
//! Our own clock is wrong before `not_before`. And where it fell back, it was wrong before or is now, and nothing tells
//! which: the time between has samples already. Neighbours in order of time must be neighbours in truth, or differences
//! of counters are made up. So what our clock stamps into that time again, or before `not_before`, is void: recorded with
//! its value, bad with reason `clock`, no neighbour of anything. Once our clock is beyond what was recorded by it, or was
//! put right, all goes on, and the difference across is the true one, whichever of the times was right.
//!
//! When a clock before `not_before` is set, within one run of the program, the monotonic clock tells how far it was off,
//! and what it stamped is recorded once more, see [`super::restamp`]. After a restart nothing tells it: what was stamped
//! before stays bad.

use super::NormaliseSettings;
use super::counter::Register;
use super::dedup::Recent;
use crate::model::{Origin, UtcMillis};

/// Received time is looked at in windows at least this long: the newest stamp of each is the one that may be live.
pub(super) const WINDOW_MS: i64 = 10_000;
/// Differences remembered per device.
pub(super) const OFFSETS: usize = 9;
/// Differences needed before a clock is judged.
const OFFSETS_MIN: usize = 3;
/// A wall clock of ours that fell back by up to this much is waited for: readings without a time queue up, a millisecond
/// each, behind the last one. What is stamped by one that fell back further is void.
pub(super) const WAIT_FOR_CLOCK_MS: i64 = 3_600_000;
/// One that fell back further than this, 31 days, is believed at once: it was far in the future, and to wait until that
/// time comes would cost more than what was recorded then.
pub(super) const FALL_MAX_MS: i64 = 31 * 86_400_000;
/// Received times may be out of order by this much, and a record time beyond received time, without a doubt.
const STEP_MS: i64 = 1_000;

/// What a record time is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// It is taken as right.
    Sure,
    /// It is near the truth, and in the right order.
    Doubtful,
    /// Nobody knows when it was. It must not be a neighbour of anything.
    Void,
}

/// The time chosen, and what it is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) record_time: UtcMillis,
    pub(super) trust: Trust,
}

/// The two times of a reading with a source time, and how it came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamped {
    pub(super) origin: Origin,
    pub(super) received: UtcMillis,
    pub(super) source: UtcMillis,
    /// Whether received time is that of our clock now.
    pub(super) is_live: bool,
}

/// Chooses the record time of a reading that has a source time; `last` is the point's last one by our own clock.
pub(super) fn choose(settings: &NormaliseSettings, clock: &DeviceClock, last: Option<Unstamped>, stamped: Stamped) -> Chosen {
    let mut chosen = choose_by_device(settings, clock, stamped);
    // Our clock fell back, or has just come back to where it was, and this lies where it stamped readings of the point before.
    let fell = |last: Unstamped| (STEP_MS..=FALL_MAX_MS).contains(&last.received.since(stamped.received));
    let is_about_now = stamped.received.since(stamped.source).unsigned_abs() <= settings.clock_tolerance_ms.unsigned_abs();
    let is_of_stamped = |last: Unstamped| clock.line.is_some_and(|line| line.received >= last.record.0);
    let is_taken = |last: Unstamped| chosen.record_time <= last.record && is_of_stamped(last) && (fell(last) || is_about_now);
    if stamped.is_live && is_live_origin(stamped.origin) && last.is_some_and(is_taken) {
        chosen.trust = Trust::Void;
    }
    chosen
}

fn choose_by_device(settings: &NormaliseSettings, clock: &DeviceClock, stamped: Stamped) -> Chosen {
    let Stamped { origin, received, source, is_live } = stamped;
    let by_source = |trust| Chosen { record_time: source, trust };
    let by_ours = |trust| Chosen { record_time: received, trust: if received < settings.not_before { Trust::Void } else { trust } };
    if received < settings.not_before && settings.not_before <= source {
        return by_source(Trust::Doubtful);
    }
    let age = received.since(source);
    let near = |a: i64, b: i64| a.abs_diff(b) <= settings.clock_tolerance_ms.unsigned_abs();
    let is_live = is_live && is_live_origin(origin);
    let is_taken = is_live && clock.line.is_some_and(|line| line.is_taken(received.0));
    if age < settings.future_tolerance_ms.saturating_neg() {
        let goes_on = |line: Line| line.goes_on(settings, received.0, source.0);
        return match clock.line.filter(|_| is_taken) {
            Some(line) if goes_on(line) => by_source(Trust::Doubtful),
            Some(_) => by_ours(Trust::Void),
            None => by_ours(Trust::Doubtful),
        };
    }
    if source < settings.not_before && origin == Origin::Metered {
        return by_ours(if is_taken { Trust::Void } else { Trust::Doubtful });
    }
    // The device agrees with our clock now, and went on as before it fell until a moment ago: its own fell with it.
    if is_taken && near(age, 0) && clock.line.is_some_and(|line| source.0 <= line.newest) {
        return by_source(Trust::Void);
    }
    match clock.offset() {
        Some(offset) if is_live_origin(origin) && !near(offset, 0) && !near(age, 0) => {
            if near(age, offset) {
                by_ours(Trust::Doubtful)
            } else {
                by_source(Trust::Doubtful)
            }
        }
        _ => by_source(Trust::Sure),
    }
}

/// The time chosen for a live register of `value` after `base`, the last one by record time, which is not above it. Where
/// its clock puts it before that one, about now, the clock went back: a register that rose meanwhile is void until its
/// time is beyond the last one's; one that did not queues up behind the last one, where it is true whatever the clocks say.
pub(super) fn in_order(settings: &NormaliseSettings, stamped: Stamped, base: Register, value: i64, chosen: Chosen) -> Chosen {
    let Stamped { origin, received, is_live, .. } = stamped;
    let is_back = (1..=FALL_MAX_MS).contains(&base.time.since(chosen.record_time));
    let is_now = received.since(chosen.record_time).unsigned_abs() <= settings.clock_tolerance_ms.unsigned_abs();
    if !(is_live && is_live_origin(origin) && is_back && is_now) || chosen.trust == Trust::Void {
        return chosen;
    }
    let ahead = base.time.since(received);
    if value > base.value || ahead > WAIT_FOR_CLOCK_MS {
        return Chosen { trust: Trust::Void, ..chosen };
    }
    Chosen { record_time: base.time.plus(1), trust: if ahead >= STEP_MS { Trust::Doubtful } else { chosen.trust } }
}

/// Only what comes straight from a device says something about the device's clock.
pub(super) fn is_live_origin(origin: Origin) -> bool {
    matches!(origin, Origin::Metered | Origin::Simulated)
}

/// The last reading of a point that our own clock gave its record time: one without a source time, or whose source time
/// was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unstamped {
    /// Its record time.
    pub(super) record: UtcMillis,
    /// The latest received time since readings queue up: tells a point that ran ahead from a clock that fell back.
    pub(super) received: UtcMillis,
}

impl Unstamped {
    /// What is remembered after `last`, once a reading without a source time got its record time.
    pub(super) fn after(last: Option<Self>, record: UtcMillis, received: UtcMillis) -> Self {
        match last {
            Some(last) if last.is_void(received) => last,
            Some(last) if record > received => Self { record, received: received.max(last.received) },
            _ => Self { record, received },
        }
    }

    /// The same, once one with a source time got its received time.
    pub(super) fn raised(last: Option<Self>, received: UtcMillis) -> Self {
        match last {
            Some(last) if last.record >= received && last.received.since(received) <= FALL_MAX_MS => last,
            _ => Self { record: received, received },
        }
    }

    /// Whether our clock at `received` fell back too far to be waited for, and not so far that it is believed.
    fn is_void(self, received: UtcMillis) -> bool {
        let fall = self.received.since(received);
        self.record >= received && fall > WAIT_FOR_CLOCK_MS && fall <= FALL_MAX_MS
    }
}

/// The record time of a reading without a source time, after `last` of its point: the received time, or the millisecond
/// after the last when that is not later, so that two messages stay two samples. A point with more than one reading a
/// millisecond so runs ahead of the received time, for as long as it does.
pub(super) fn next_free(settings: &NormaliseSettings, origin: Origin, last: Option<Unstamped>, received: UtcMillis) -> Chosen {
    let is_wrong = is_live_origin(origin) && (received < settings.not_before || last.is_some_and(|last| last.is_void(received)));
    let record_time = match last {
        Some(last) if !is_wrong && last.record >= received && last.received.since(received) <= WAIT_FOR_CLOCK_MS => last.record.plus(1),
        _ => received,
    };
    let is_ahead = record_time.since(received) > STEP_MS;
    let trust = if is_wrong {
        Trust::Void
    } else if is_ahead {
        Trust::Doubtful
    } else {
        Trust::Sure
    };
    Chosen { record_time, trust }
}

/// One pair of times, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) received: i64,
    pub(super) source: i64,
}

/// How far our own clock has been, as one device's readings tell, and whether the device went on when ours fell back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Latest received time.
    pub(super) received: i64,
    /// How far the last source time was ahead of received time; since ours fell back and the device went on, the furthest.
    pub(super) lead: i64,
    /// The latest source time since ours fell back and the device went on; `i64::MIN` for none.
    pub(super) newest: i64,
}

impl Line {
    /// Whether our clock fell back behind what it was, or behind what the device has told since.
    fn is_taken(self, received: i64) -> bool {
        (STEP_MS..=FALL_MAX_MS).contains(&self.received.max(self.newest).saturating_sub(received))
    }

    /// Whether a source time in the future goes on as the device did before our clock fell. The first one is as far ahead
    /// as our clock fell since the device was heard, and the time since; the others are as far as the first.
    fn goes_on(self, settings: &NormaliseSettings, received: i64, source: i64) -> bool {
        let ahead = source.saturating_sub(received).saturating_sub(settings.clock_tolerance_ms);
        if self.newest == i64::MIN {
            let fall = self.received.saturating_sub(received);
            return self.lead <= settings.future_tolerance_ms && ahead <= fall.saturating_mul(2);
        }
        ahead <= self.lead
    }

    /// What is remembered once a reading of the device got its record time.
    fn after(line: Option<Self>, settings: &NormaliseSettings, stamp: Stamp, record: i64) -> Self {
        let ahead = stamp.source.saturating_sub(stamp.received);
        let Some(line) = line.filter(|line| line.is_taken(stamp.received)) else {
            let received = line.map_or(stamp.received, |line| line.received);
            let received =
                if received.saturating_sub(stamp.received) > FALL_MAX_MS { stamp.received } else { received.max(stamp.received) };
            return Self { received, lead: ahead, newest: i64::MIN };
        };
        let received = line.received.max(stamp.received);
        if ahead <= settings.future_tolerance_ms || record != stamp.source {
            return Self { received, ..line };
        }
        let lead = if line.newest == i64::MIN { ahead } else { line.lead.max(ahead) };
        Self { received, lead, newest: line.newest.max(stamp.source) }
    }
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
    /// `None` before the first reading with a source time.
    pub(super) line: Option<Line>,
    median: Option<i64>,
}

impl DeviceClock {
    /// How far the device's clock is behind ours, in milliseconds; `None` while unknown.
    pub(super) fn offset(&self) -> Option<i64> {
        self.median
    }

    /// Takes in the times of a sample by which our own clock is known; `record` is its record time.
    pub(super) fn follow(&mut self, settings: &NormaliseSettings, stamp: Stamp, record: i64) {
        if stamp.received >= settings.not_before.0 {
            self.line = Some(Line::after(self.line, settings, stamp, record));
        }
    }

    /// Takes in the times of one sample; `tolerance_ms` is the clock tolerance.
    pub(super) fn absorb(&mut self, stamp: Stamp, tolerance_ms: i64) {
        match self.window {
            // Our own clock fell back: all that was learned is void.
            Some((start, _)) if stamp.received < start => {
                *self = Self { window: Some((stamp.received, stamp)), line: self.line, ..Self::default() };
            }
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
        if self.offsets.len() >= OFFSETS_MIN {
            let mut sorted: Vec<i64> = self.offsets.iter().copied().collect();
            sorted.sort_unstable();
            self.median = sorted.get(sorted.len() >> 1).copied();
        }
    }
}
