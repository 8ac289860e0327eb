//! Fifth step: what is demanded of a point's values one after the other (`on_change`, `flat_after_ms`,
//! `change_max_per_minute`). Doubts set quality; a value that did not change may be left out, and none that is recorded is
//! moved in time.
//!
//! All is judged against recorded samples, by record time. Late samples, which lie before the newest one, are neither
//! judged nor left out. When our own clock fell back, which shows in the received time, the next sample is recorded and is
//! what the later ones are judged by.

use super::exact::Ratio;
use super::time::is_live_origin;
use crate::catalogue::Point;
use crate::model::{Quality, Reason, Sample, Status, UtcMillis};

const MS_PER_MINUTE: i128 = 60_000;

/// The rules of a point, as mantissas.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    on_change: Option<Silence>,
    flat_after_ms: Option<i64>,
    change_per_minute: Option<Ratio>,
}

#[derive(Clone, Copy, Debug)]
struct Silence {
    deadband: i128,
    longest_ms: i64,
}

/// What counts of a sample when it is compared with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) record: UtcMillis,
    pub(super) received: UtcMillis,
    pub(super) value: i64,
    pub(super) status: Status,
}

/// Values one after the other that are all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Record time of the first one.
    pub(super) since: UtcMillis,
    /// And of the newest one.
    pub(super) until: UtcMillis,
    pub(super) value: i64,
}

/// What is remembered of a point with rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Watch {
    /// The newest sample.
    pub(super) last: Mark,
    /// Of samples with a number that is not bad.
    pub(super) run: Option<Run>,
}

impl Mark {
    pub(super) fn of(sample: &Sample) -> Self {
        Self { record: sample.record_time, received: sample.received_time, value: sample.value, status: sample.status }
    }

    /// Whether our own clock fell back between this sample and the next one.
    pub(super) fn clock_fell_before(&self, next: &Self) -> bool {
        next.received < self.received
    }

    /// The number, where there is one that is not bad.
    fn usable(&self) -> Option<i64> {
        (self.status.has_number() && self.status.quality() != Quality::Bad).then_some(self.value)
    }
}

impl Rules {
    /// The rules of a point; `None` when it has none.
    pub(super) fn new(point: &Point) -> Option<Self> {
        let (decimals, rules) = (point.identity.decimals, point.rules.as_ref()?);
        let rules = Self {
            on_change: rules.on_change.map(|on_change| Silence {
                deadband: Ratio::of_decimal(on_change.deadband, decimals).map_or(0, Ratio::floor),
                longest_ms: i64::from(on_change.max_silence_ms),
            }),
            flat_after_ms: rules.flat_after_ms.map(i64::from),
            change_per_minute: rules.change_max_per_minute.and_then(|limit| Ratio::of_decimal(limit, decimals)),
        };
        (rules.on_change.is_some() || rules.flat_after_ms.is_some() || rules.change_per_minute.is_some()).then_some(rules)
    }

    /// Why a value of a time is doubted, seen after what is remembered; a jump before a flat line, which it cannot be too.
    pub(super) fn doubt(&self, watch: Option<&Watch>, record: UtcMillis, value: i64) -> Option<Reason> {
        let run = watch?.run?;
        let elapsed = record.since(run.until);
        if let Some(limit) = self.change_per_minute
            && elapsed > 0
            && is_faster(run.value, value, elapsed, limit)
        {
            return Some(Reason::Jump);
        }
        let flat = self.flat_after_ms.is_some_and(|after| elapsed > 0 && run.value == value && record.since(run.since) >= after);
        flat.then_some(Reason::FlatLine)
    }

    /// Whether a sample says nothing new: the same quality, reason and origin as the last recorded one, a value within the
    /// dead-band of it, and the longest silence not yet over by either clock.
    pub(super) fn leaves_out(&self, watch: Option<&Watch>, sample: &Sample) -> bool {
        let (Some(silence), Some(last)) = (self.on_change, watch.map(|watch| watch.last)) else { return false };
        let next = Mark::of(sample);
        let since_record = next.record.since(last.record);
        let since_received = next.received.since(last.received);
        is_live_origin(sample.status.origin())
            && next.status == last.status
            && i128::from(next.value).abs_diff(i128::from(last.value)) <= silence.deadband.unsigned_abs()
            && (1..silence.longest_ms).contains(&since_record)
            && (0..silence.longest_ms).contains(&since_received)
    }
}

/// `|new - old| / elapsed` above the limit; what leaves 127 bits is.
fn is_faster(old: i64, new: i64, elapsed_ms: i64, limit: Ratio) -> bool {
    let change = i128::from(new).saturating_sub(i128::from(old)).saturating_abs();
    let left = change.checked_mul(MS_PER_MINUTE).and_then(|change| change.checked_mul(limit.denominator));
    let right = i128::from(elapsed_ms).checked_mul(limit.numerator);
    match (left, right) {
        (Some(left), Some(right)) => left > right,
        (None, _) => true,
        (Some(_), None) => false,
    }
}

impl Watch {
    /// Takes a recorded sample in, after what is remembered of those before.
    pub(super) fn after(before: Option<&Self>, sample: &Sample) -> Self {
        let next = Mark::of(sample);
        let new_run = next.usable().map(|value| Run { since: next.record, until: next.record, value });
        let Some(before) = before else { return Self { last: next, run: new_run } };
        let fell = before.last.clock_fell_before(&next);
        if next.record < before.last.record && !fell {
            return *before;
        }
        let run = match (before.run, new_run) {
            (Some(old), Some(new)) if old.value == new.value && new.until >= old.until => Some(Run { since: old.since, ..new }),
            (old, new) => new.or(old.filter(|_| !fell)),
        };
        Self { last: next, run }
    }
}

#[cfg(test)]
mod tests;
