//! Once the time is known: what our clock stamped before `not_before` is recorded a second time, by the time it had in
//! truth.
//!
//! How far our clock was off is known from the monotonic clock, which went on all the time; the caller tells it. A sample
//! then gets the record time, the step and the quality that it would have got had our clock been right, and no better
//! than uncertain (`clock`). Where even that time is void, since our clock or the device's gave it out before, the sample stays
//! what it is. Values of formulas are moved as they are: they are not derived again. As everywhere in the normaliser the memory
//! follows from what is put out.
//!
//! A sample that keeps a source time of before `not_before` has the same key time as the one it replaces, so that history
//! keeps it alone. One without a source time has another key time: then both stay, the first one bad.

use super::counter::Register;
use super::time::{self, Chosen, DeviceClock, Stamped, Trust};
use super::{NormaliseSettings, Normaliser, Slot, StepReport, count};
use crate::model::{Origin, Quality, Reason, Sample, Status, Step, UtcMillis};

/// Samples of one journal record, in its order.
#[derive(Clone, Copy, Debug)]
pub struct Undated<'a> {
    /// The samples; those that were stamped by a right clock are left alone.
    pub samples: &'a [Sample],
    /// What is missing to the time they had in truth, in milliseconds.
    pub shift_ms: i64,
    /// They were read by the catalogue that counts now. Of an older one, counters that are read or scaled otherwise by now
    /// are left out.
    pub is_of_catalogue: bool,
}

impl Normaliser {
    /// The settings.
    pub fn settings(&self) -> &NormaliseSettings {
        &self.settings
    }

    /// Records samples again that were stamped before the time was known: appends them to `out`, in order. The report
    /// counts in `unknown_points` what is left out because the catalogue does not know its point any more, and in
    /// `clock_doubts` what stays bad because its time is void.
    pub fn restamp(&mut self, undated: &Undated<'_>, out: &mut Vec<Sample>) -> StepReport {
        let mut report = StepReport::default();
        let not_before = self.settings.not_before;
        for sample in undated.samples.iter().filter(|sample| is_undated(not_before, sample)) {
            let slot = self.slots.get_mut(sample.point.index()).and_then(Option::as_mut);
            let Some((slot, clock)) = slot.and_then(|slot| self.devices.get_mut(slot.device).map(|clock| (slot, clock))) else {
                count(&mut report.unknown_points);
                continue;
            };
            let Some(moved) = slot.restamped(&self.settings, clock, sample, undated) else {
                count(&mut report.clock_doubts);
                continue;
            };
            count(match moved.status.quality() {
                Quality::Good => &mut report.good,
                Quality::Uncertain => &mut report.uncertain,
                Quality::Bad => &mut report.bad,
            });
            slot.absorb(&self.settings, clock, &moved);
            let is_input = slot.feeds.is_some();
            out.push(moved);
            if is_input {
                self.feed(&moved, None);
            }
        }
        report
    }
}

/// Whether our clock, when it was before `not_before`, gave a sample its record time. The times of a simulator, and of what
/// is no reading of now, are what they say.
fn is_undated(not_before: UtcMillis, sample: &Sample) -> bool {
    let is_before = |time: UtcMillis| time < not_before;
    let is_ours = sample.source_time.is_none() || sample.status.origin() == Origin::Metered;
    time::is_live_origin(sample.status.origin()) && is_ours && is_before(sample.received_time) && is_before(sample.record_time)
}

impl Slot {
    /// A sample by its time in truth; `None` where that is not to be had. Changes nothing.
    fn restamped(&self, settings: &NormaliseSettings, clock: &DeviceClock, sample: &Sample, undated: &Undated<'_>) -> Option<Sample> {
        if self.rule.is_some() && self.is_read_otherwise && !undated.is_of_catalogue {
            return None;
        }
        let (origin, last) = (sample.status.origin(), self.state.last_unstamped);
        let received_time = sample.received_time.plus(undated.shift_ms);
        let stamped = |source| Stamped { origin, received: received_time, source, is_live: true };
        let chosen = match sample.source_time {
            Some(source) => time::choose(settings, clock, last, stamped(source)),
            None => time::next_free(settings, origin, last, sample.record_time.plus(undated.shift_ms)),
        };
        let Chosen { record_time, trust } = self.in_order(settings, stamped(received_time), sample.number(), chosen);
        let is_for_the_clock = sample.status.quality() != Quality::Bad || sample.status.reason() == Reason::Clock;
        let status = match sample.number() {
            _ if trust == Trust::Void => return None,
            // The range of a formula was not looked at while its inputs were bad.
            Some(value) if is_for_the_clock && !self.range.contains(value) => Status::new(Quality::Bad, Reason::Range, origin, Step::None),
            Some(value) if is_for_the_clock => {
                let rule = self.rule.as_ref().filter(|_| self.derived.is_none());
                let register = Register { time: record_time, value };
                let step = rule.map_or(Step::None, |rule| self.state.counter().classify(rule, register));
                let reason = if step == Step::Suspect { Reason::SuspectStep } else { Reason::Clock };
                Status::new(Quality::Uncertain, reason, origin, step)
            }
            _ => sample.status,
        };
        Some(Sample { status, received_time, record_time, ..*sample })
    }
}
