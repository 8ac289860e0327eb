//! Readings become samples: pure steps in a fixed order over (memory, reading). No I/O, no clock, no tokio.
//!
//! In the order they act: [`mod@unit`] the number in the canonical unit; [`quality`] its valid range; [`time`] which time
//! counts; [`counter`] how a register relates to the one before; [`dedup`] repeats are dropped; [`watch`] rules
//! over one value after the other; [`mod@derive`] points made of others. [`restamp`] records once more what was stamped
//! before our clock was known. Beside them [`nameplate`] compares energy with power, and changes nothing. [`exact`] is the
//! arithmetic below, [`state`] the memory as bytes.
//!
//! All memory is a function of the samples put out (and of exchanges announced): [`Normaliser::step`] makes a sample and
//! then takes it in just as [`Normaliser::observe`] takes in one read back from the journal. So a snapshot and the
//! journal's tail after it give exactly the memory of a program that was never stopped.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

mod unit;
mod quality;
mod time;
mod counter;
mod dedup;
mod watch;
mod derive;
mod restamp;
pub mod nameplate;
mod exact;
mod state;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

pub use restamp::Undated;
pub use state::RestoreError;

use crate::catalogue::{Catalogue, Park, Point, PointSource};
use crate::model::{
    DeliveredRange, Delivery, Kind, LinkKey, Number, Origin, PointId, Quality, Reading, Reason, Sample, Status, Step, UtcMillis,
};
use counter::CounterState;
pub use counter::{CounterRule, Register, is_same_source, register_source};
use dedup::{RecentDeliveries, RecentReadings, Seen};
use derive::{Derived, Round};
use quality::ValidRange;
use time::{Chosen, DeviceClock, Stamp, Stamped, Trust, Unstamped};
use unit::{Scaling, Scalings};
use watch::{Mark, Rules, Watch};

/// What is tolerated of clocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NormaliseSettings {
    /// How far a source time may lie in the future of its arrival, in milliseconds; 60,000 by default.
    pub future_tolerance_ms: i64,
    /// How far a device's clock may be off, in milliseconds; 300,000 by default.
    pub clock_tolerance_ms: i64,
    /// No live source time before this is believed, nor our own clock: the park's commissioning; 2000-01-01 by default.
    pub not_before: UtcMillis,
}

impl NormaliseSettings {
    /// These, for a park: nothing live before its commissioning.
    #[must_use]
    pub fn of_park(mut self, park: &Park) -> Self {
        self.not_before = park.commissioned.map_or(self.not_before, |time| time.max(self.not_before));
        self
    }
}

impl Default for NormaliseSettings {
    fn default() -> Self {
        Self { future_tolerance_ms: 60_000, clock_tolerance_ms: 300_000, not_before: UtcMillis(946_684_800_000) }
    }
}

/// Readings that arrived together.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The link they came by.
    pub link: LinkKey,
    /// When they arrived.
    pub received_time: UtcMillis,
    /// Whether they arrived just now; `false` for messages of the past that are read again, whose received time says
    /// nothing about our clock.
    pub is_live: bool,
    /// Whether received time is not what our clock showed then but what it should have: by the monotonic clock, before the
    /// time was known. What has no other time is doubtful.
    pub is_moved: bool,
    /// Origin of all of them.
    pub origin: Origin,
    /// In order of arrival.
    pub readings: &'a [Reading],
    /// Messages among them without a time of their own.
    pub deliveries: &'a [DeliveredRange],
}

/// What became of one [`Input`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepReport {
    /// Marks of the messages accepted, to be journalled with their samples.
    pub deliveries: Vec<Delivery>,
    /// Readings dropped: the same again, or of a message delivered again.
    pub repeats: u32,
    /// Readings dropped: the catalogue does not know their point.
    pub unknown_points: u32,
    /// Readings, and values of formulas, left out because they say nothing new (`on_change`).
    pub unchanged: u32,
    /// Samples whose source time is doubted, or our own clock where there is none.
    pub clock_doubts: u32,
    /// Samples put out that are good.
    pub good: u32,
    /// Samples put out that are uncertain.
    pub uncertain: u32,
    /// Samples put out that are bad.
    pub bad: u32,
}

/// Turns readings into samples. One for the whole program: it remembers every point.
#[derive(Debug)]
pub struct Normaliser {
    settings: NormaliseSettings,
    /// By PointId.
    slots: Vec<Option<Slot>>,
    devices: Vec<DeviceClock>,
    /// Stable id of a device -> its place in `devices`.
    device_index: BTreeMap<String, usize>,
    links: BTreeMap<LinkKey, RecentDeliveries>,
}

/// One point: what the catalogue says, and what is remembered.
#[derive(Debug)]
struct Slot {
    /// `None` when the numbers of the config do not fit: every number overflows.
    scaling: Option<Arc<Scaling>>,
    range: ValidRange,
    /// `None` for what is no counter.
    rule: Option<Box<CounterRule>>,
    /// [`register_source`] of a counter.
    source: Option<Box<str>>,
    /// `None` for a point without any.
    rules: Option<Box<Rules>>,
    device: usize,
    state: PointState,
    /// Another catalogue of this run read or scaled it otherwise, or did not know it.
    is_read_otherwise: bool,
    /// `None` for a point that is read.
    derived: Option<Box<Derived>>,
    /// Points made of this one: their places in `slots`, and which of their inputs it is. `None` for none.
    #[expect(clippy::box_collection, reason = "few points have some: a word instead of three")]
    feeds: Option<Box<Vec<(usize, usize)>>>,
}

/// What is remembered of one point.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct PointState {
    /// The last reading without a source time.
    last_unstamped: Option<Unstamped>,
    /// Of a counter of which something is known.
    counter: Option<Box<CounterState>>,
    recent: RecentReadings,
    /// Of a point with rules.
    watch: Option<Box<Watch>>,
}

impl PointState {
    fn counter(&self) -> CounterState {
        self.counter.as_deref().copied().unwrap_or_default()
    }

    fn counter_mut(&mut self) -> &mut CounterState {
        self.counter.get_or_insert_default()
    }
}

impl Normaliser {
    /// A normaliser without memory.
    pub fn new(catalogue: &Catalogue, settings: NormaliseSettings) -> Self {
        let mut normaliser =
            Self { settings, slots: Vec::new(), devices: Vec::new(), device_index: BTreeMap::new(), links: BTreeMap::new() };
        normaliser.set_catalogue(catalogue);
        normaliser
    }

    /// Goes on with another catalogue. Points, devices and links that stay keep their memory; the others lose it. Of
    /// counters that are read or scaled otherwise the next register is an `Exchange`.
    pub fn set_catalogue(&mut self, catalogue: &Catalogue) {
        let mut old_devices = std::mem::take(&mut self.devices);
        let old_index = std::mem::take(&mut self.device_index);
        for device in &catalogue.devices {
            let kept = old_index.get(&device.id).and_then(|&index| old_devices.get_mut(index)).map(std::mem::take);
            self.device_index.insert(device.id.clone(), self.devices.len());
            self.devices.push(kept.unwrap_or_default());
        }
        let mut old_slots = std::mem::take(&mut self.slots);
        let is_first = old_slots.is_empty();
        let mut scalings = Scalings::default();
        self.slots.reserve_exact(catalogue.points.iter().map(|point| point.id.index().saturating_add(1)).max().unwrap_or(0));
        for point in &catalogue.points {
            let index = point.id.index();
            let kept = old_slots.get_mut(index).and_then(Option::as_mut).map(|slot| {
                let mut state = std::mem::take(&mut slot.state);
                let is_changed = slot.source.as_ref().is_some_and(|source| **source != *register_source(catalogue, point));
                if is_changed {
                    state.counter_mut().announce_next();
                }
                (state, is_changed || slot.is_read_otherwise)
            });
            let (state, is_read_otherwise) = kept.unwrap_or_else(|| (PointState::default(), !is_first));
            let Some(&device) = self.device_index.get(&point.device) else { continue };
            if self.slots.len() <= index {
                self.slots.resize_with(index.saturating_add(1), || None);
            }
            if let Some(slot) = self.slots.get_mut(index) {
                let source = (point.identity.kind == Kind::Counter).then(|| register_source(catalogue, point).into());
                *slot = Some(Slot { source, is_read_otherwise, ..Slot::new(point, scalings.of(point), device, state) });
            }
        }
        self.set_formulas(catalogue, &old_slots);
        self.links.retain(|key, _| catalogue.links.iter().any(|link| link.key == *key));
    }

    /// Puts the formulas of a catalogue in their slots; `old` holds what they remember.
    fn set_formulas(&mut self, catalogue: &Catalogue, old: &[Option<Slot>]) {
        for point in &catalogue.points {
            let PointSource::Formula(formula) = &point.source else { continue };
            let Some(mut derived) = Derived::new(point, formula, catalogue) else { continue };
            let index = point.id.index();
            if let Some(before) = old.get(index).and_then(Option::as_ref).and_then(|slot| slot.derived.as_deref()) {
                derived.keep(&before.memory);
            }
            for (place, input) in derived.inputs().enumerate() {
                if let Some(slot) = self.slots.get_mut(input.index()).and_then(Option::as_mut) {
                    slot.feeds.get_or_insert_default().push((index, place));
                }
            }
            if let Some(slot) = self.slots.get_mut(index).and_then(Option::as_mut) {
                slot.derived = Some(Box::new(derived));
            }
        }
    }

    /// Normalises `input`: appends its samples to `out`, in order of arrival, each followed by the values of formulas that
    /// it completes.
    ///
    /// What was put out counts as recorded: later repeats of it are dropped. So the caller keeps the samples until the
    /// journal has them; it answers for a dropped repeat only when all samples put out before are durable, and for none
    /// at all once the journal has refused some.
    pub fn step(&mut self, input: &Input<'_>, out: &mut Vec<Sample>) -> StepReport {
        let mut report = StepReport::default();
        let skipped = self.accept_deliveries(input, &mut report);
        let mut skipped = skipped.iter().peekable();
        for (index, reading) in input.readings.iter().enumerate() {
            while skipped.next_if(|range| range.end <= index).is_some() {}
            if skipped.peek().is_some_and(|range| range.contains(&index)) {
                count(&mut report.repeats);
                continue;
            }
            let slot = self.slots.get_mut(reading.point.index()).and_then(Option::as_mut);
            let Some((slot, clock)) = slot.and_then(|slot| self.devices.get_mut(slot.device).map(|clock| (slot, clock))) else {
                count(&mut report.unknown_points);
                continue;
            };
            let (sample, clock_doubt) = slot.sample(&self.settings, clock, input, reading);
            if Seen::of(&sample).is_some_and(|seen| slot.state.recent.repeats(&seen)) {
                count(&mut report.repeats);
                continue;
            }
            if slot.put_out(&self.settings, clock, sample, out, &mut report) {
                if clock_doubt {
                    count(&mut report.clock_doubts);
                }
                if slot.feeds.is_some() {
                    self.derive(out, &mut report);
                }
            }
        }
        report
    }

    /// Puts out the values of formulas that the last sample of `out` completes, and those that they complete in turn. The
    /// order in which they are taken in is that of `out`, hence of the journal.
    fn derive(&mut self, out: &mut Vec<Sample>, report: &mut StepReport) {
        let mut next = out.len().saturating_sub(1);
        while let Some(&sample) = out.get(next) {
            next = next.saturating_add(1);
            self.feed(&sample, Some((&mut *out, &mut *report)));
        }
    }

    /// Hands a recorded sample to the formulas that need it. Their values go to `sink`; without one they were put out
    /// already, when the sample was.
    fn feed(&mut self, sample: &Sample, mut sink: Option<(&mut Vec<Sample>, &mut StepReport)>) {
        let source = sample.point.index();
        let Some(slot) = self.slots.get_mut(source).and_then(Option::as_mut) else { return };
        let Some(feeds) = slot.feeds.take() else { return };
        for &(target, place) in feeds.iter() {
            let Some(slot) = self.slots.get_mut(target).and_then(Option::as_mut) else { continue };
            let Some(round) = slot.derived.as_mut().and_then(|derived| derived.take_in(place, Mark::of(sample))) else { continue };
            let (Some((out, report)), Some(clock)) = (&mut sink, self.devices.get_mut(slot.device)) else { continue };
            // A place in `slots` is a PointId.
            let Ok(point) = u32::try_from(target).map(PointId) else { continue };
            let made = slot.made(point, &round);
            slot.put_out(&self.settings, clock, made, out, report);
        }
        if let Some(slot) = self.slots.get_mut(source).and_then(Option::as_mut) {
            slot.feeds = Some(feeds);
        }
    }

    /// Takes in what the journal holds beyond a snapshot: one record, in the order of the journal. Exchanges announced
    /// in between are announced again, at their place.
    pub fn observe(&mut self, link: LinkKey, deliveries: &[Delivery], samples: &[Sample]) {
        if !deliveries.is_empty() {
            let recent = self.links.entry(link).or_default();
            deliveries.iter().for_each(|&delivery| recent.push(delivery));
        }
        for sample in samples {
            let slot = self.slots.get_mut(sample.point.index()).and_then(Option::as_mut);
            if let Some((slot, clock)) = slot.and_then(|slot| self.devices.get_mut(slot.device).map(|clock| (slot, clock))) {
                slot.absorb(&self.settings, clock, sample);
                if slot.feeds.is_some() {
                    self.feed(sample, None);
                }
            }
        }
    }

    /// The broker of `link` has begun a new session: what it delivers from now on it never delivered before, whatever it
    /// says. The journal does not tell: after a restart marks of an older session may be known again, until the driver
    /// says so once more or their ids are used again.
    pub fn forget_deliveries(&mut self, link: LinkKey) {
        self.links.remove(&link);
    }

    /// The meter of a point is exchanged at `at`: its first register from then on is an `Exchange`, across which no
    /// difference is formed. `false` when nothing changes: the point is unknown or no counter, or a register from then
    /// on is already recorded.
    pub fn announce_exchange(&mut self, point: PointId, at: UtcMillis) -> bool {
        match self.slots.get_mut(point.index()) {
            Some(Some(slot)) if slot.rule.is_some() => slot.state.counter_mut().announce_exchange(at),
            _ => false,
        }
    }

    /// Registers of a point are read or scaled otherwise from now on: its next one is an `Exchange`, also where none is
    /// remembered. Nothing changes when the point is unknown or no counter.
    pub fn announce_next(&mut self, point: PointId) {
        if let Some(Some(slot)) = self.slots.get_mut(point.index())
            && slot.source.is_some()
        {
            slot.state.counter_mut().announce_next();
        }
    }

    /// Which messages were delivered before, as ranges of readings in order; the others' marks go to the report.
    fn accept_deliveries(&mut self, input: &Input<'_>, report: &mut StepReport) -> Vec<Range<usize>> {
        if input.deliveries.is_empty() {
            return Vec::new();
        }
        let recent = self.links.entry(input.link).or_default();
        let mut skipped = Vec::new();
        for message in input.deliveries {
            if message.redelivered && recent.contains(&message.delivery) {
                let first = usize::try_from(message.first).unwrap_or(usize::MAX);
                skipped.push(first..first.saturating_add(usize::try_from(message.count).unwrap_or(usize::MAX)));
            } else {
                recent.push(message.delivery);
                report.deliveries.push(message.delivery);
            }
        }
        skipped.sort_unstable_by_key(|range| range.start);
        skipped
    }

    fn clear(&mut self) {
        self.links.clear();
        self.devices.iter_mut().for_each(|clock| *clock = DeviceClock::default());
        for slot in self.slots.iter_mut().flatten() {
            slot.state = PointState::default();
            if let Some(derived) = &mut slot.derived {
                derived.clear();
            }
        }
    }
}

impl Slot {
    fn new(point: &Arc<Point>, scaling: Option<Arc<Scaling>>, device: usize, mut state: PointState) -> Self {
        let rules = Rules::new(point).map(Box::new);
        if rules.is_none() {
            state.watch = None;
        }
        Self {
            scaling,
            range: ValidRange::new(point),
            rule: (point.identity.kind == Kind::Counter).then(|| CounterRule::new(point).into()),
            source: None,
            rules,
            device,
            state,
            is_read_otherwise: false,
            derived: None,
            feeds: None,
        }
    }

    /// Why a value that passed all other checks is doubted.
    fn doubt(&self, record_time: UtcMillis, value: i64) -> Option<Reason> {
        self.rules.as_ref()?.doubt(self.state.watch.as_deref(), record_time, value)
    }

    /// The sample of a formula's value: range and rules are those of any other. Changes nothing.
    fn made(&self, point: PointId, round: &Round) -> Sample {
        let (value, quality, reason) = match round.value {
            Some(value) if !self.range.contains(value) && round.quality != Quality::Bad => (value, Quality::Bad, Reason::Range),
            Some(value) if round.quality == Quality::Good => match self.doubt(round.record, value) {
                Some(reason) => (value, Quality::Uncertain, reason),
                None => (value, Quality::Good, Reason::None),
            },
            Some(value) => (value, round.quality, round.reason),
            None => (0, Quality::Bad, round.reason),
        };
        let status = Status::new(quality, reason, round.origin, Step::None);
        Sample {
            point,
            status: if round.value.is_some() { status } else { status.without_number() },
            value,
            source_time: None,
            received_time: round.received,
            record_time: round.record,
        }
    }

    /// Records a sample, unless it says nothing new; `false` then.
    fn put_out(
        &mut self,
        settings: &NormaliseSettings,
        clock: &mut DeviceClock,
        sample: Sample,
        out: &mut Vec<Sample>,
        report: &mut StepReport,
    ) -> bool {
        if self.rules.as_ref().is_some_and(|rules| rules.leaves_out(self.state.watch.as_deref(), &sample)) {
            count(&mut report.unchanged);
            return false;
        }
        count(match sample.status.quality() {
            Quality::Good => &mut report.good,
            Quality::Uncertain => &mut report.uncertain,
            Quality::Bad => &mut report.bad,
        });
        self.absorb(settings, clock, &sample);
        out.push(sample);
        true
    }

    /// The sample of a reading, and whether its time is doubted; changes nothing. The worst finding gives quality
    /// and reason: no number, then range, then a void time, a suspect step, a doubtful time, and the rules.
    fn sample(&self, settings: &NormaliseSettings, clock: &DeviceClock, input: &Input<'_>, reading: &Reading) -> (Sample, bool) {
        let (last, received) = (self.state.last_unstamped, input.received_time);
        let mantissa = match &self.scaling {
            Some(scaling) => scaling.mantissa(reading.number),
            None => Err(Reason::Overflow),
        };
        let stamped = |source| Stamped { origin: input.origin, received, source, is_live: input.is_live };
        let chosen = match reading.source_time {
            Some(source) => time::choose(settings, clock, last, stamped(source)),
            None => time::next_free(settings, input.origin, last, received),
        };
        let Chosen { record_time, trust } = self.in_order(settings, stamped(received), mantissa.ok(), chosen);
        let trust = if input.is_moved && reading.source_time.is_none() && trust == Trust::Sure { Trust::Doubtful } else { trust };
        let (value, status) = match mantissa {
            Err(reason) => (0, Status::new(Quality::Bad, reason, input.origin, Step::None).without_number()),
            Ok(value) if !self.range.contains(value) => (value, Status::new(Quality::Bad, Reason::Range, input.origin, Step::None)),
            Ok(value) if trust == Trust::Void => (value, Status::new(Quality::Bad, Reason::Clock, input.origin, Step::None)),
            Ok(value) => {
                let register = Register { time: record_time, value };
                let step = self.rule.as_ref().map_or(Step::None, |rule| self.state.counter().classify(rule, register));
                let (quality, reason) = match (step, trust) {
                    (Step::Suspect, _) => (Quality::Uncertain, Reason::SuspectStep),
                    (_, Trust::Doubtful | Trust::Void) => (Quality::Uncertain, Reason::Clock),
                    (_, Trust::Sure) => {
                        self.doubt(record_time, value).map_or((Quality::Good, Reason::None), |reason| (Quality::Uncertain, reason))
                    }
                };
                (value, Status::new(quality, reason, input.origin, step))
            }
        };
        let sample = Sample {
            point: reading.point,
            status,
            value,
            source_time: reading.source_time,
            received_time: input.received_time,
            record_time,
        };
        (sample, trust != Trust::Sure)
    }

    /// See [`time::in_order`]: the time of a register, where it may be one.
    fn in_order(&self, settings: &NormaliseSettings, stamped: Stamped, value: Option<i64>, chosen: Chosen) -> Chosen {
        let register = value.filter(|&value| self.rule.is_some() && self.range.contains(value));
        match register.and_then(|value| Some((value, self.state.counter().floor(value)?))) {
            Some((value, base)) => time::in_order(settings, stamped, base, value, chosen),
            None => chosen,
        }
    }

    /// Remembers a sample: all that later samples depend on.
    fn absorb(&mut self, settings: &NormaliseSettings, clock: &mut DeviceClock, sample: &Sample) {
        let (record, received, is_live) = (sample.record_time, sample.received_time, time::is_live_origin(sample.status.origin()));
        let last = self.state.last_unstamped;
        match (sample.source_time, Seen::of(sample)) {
            (Some(source), Some(seen)) => {
                self.state.recent.push(seen);
                let stamp = Stamp { received: received.0, source: source.0 };
                let believable = source >= settings.not_before && received.since(source) >= settings.future_tolerance_ms.saturating_neg();
                if is_live {
                    clock.follow(settings, stamp, record.0);
                }
                if believable && is_live {
                    clock.absorb(stamp, settings.clock_tolerance_ms);
                }
                if is_live && record == received && record != source && received >= settings.not_before {
                    self.state.last_unstamped = Some(Unstamped::raised(last, received));
                }
            }
            // What our clock stamps before the park was there says nothing about what it stamps later.
            _ if is_live && received < settings.not_before => {}
            _ => self.state.last_unstamped = Some(Unstamped::after(last, record, received)),
        }
        if sample.status.step() != Step::None {
            self.state.counter_mut().absorb(Register { time: sample.record_time, value: sample.value }, sample.status.step());
        }
        if self.rules.is_some() {
            let watch = Watch::after(self.state.watch.as_deref(), sample);
            match &mut self.state.watch {
                Some(known) => **known = watch,
                none => *none = Some(Box::new(watch)),
            }
        }
    }
}

/// What a number of a point becomes by itself, without memory: the mantissa in the canonical unit, if there is one, and
/// why it is not good.
pub fn convert(point: &Point, number: Number) -> (Option<i64>, Reason) {
    match Scaling::new(point).map_or(Err(Reason::Overflow), |scaling| scaling.mantissa(number)) {
        Err(reason) => (None, reason),
        Ok(mantissa) if !ValidRange::new(point).contains(mantissa) => (Some(mantissa), Reason::Range),
        Ok(mantissa) => (Some(mantissa), Reason::None),
    }
}

fn count(counter: &mut u32) {
    *counter = counter.saturating_add(1);
}

#[cfg(test)]
mod tests;
