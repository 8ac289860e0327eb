//! From the samples of a point, in order of time, to the parts of its hours. Pure.
//!
//! Feed [`Hours`] with the samples of the hours wanted and with the nearest one that counts on either side of them, so
//! that pairs across the edges are known; [`counter`], [`gauge`] and [`state`] do the sums.
//!
//! [`counter`]: super::counter
//! [`gauge`]: super::gauge
//! [`state`]: super::state

use parkgate_collector::model::{Kind, Sample, UtcMillis};

use super::announced::{Ask, Known};
use super::counter::{CounterHours, Declared, Suspects};
use super::gauge;
use super::partial::{GaugePart, Of, Partial, StatePart};
use super::rule::{PointRule, counts};
use super::state;
use super::total::Period;

/// Hours of one point that are being counted.
#[derive(Debug)]
pub struct Hours<'a> {
    rule: PointRule,
    grid: Grid,
    counter: CounterHours<'a>,
    /// The last sample that counted, of a gauge or a state.
    holding: Option<(UtcMillis, i64)>,
}

/// Neighbouring hours and what is known of each.
#[derive(Debug)]
pub struct Grid {
    periods: Vec<Period>,
    parts: Vec<Partial>,
}

impl<'a> Hours<'a> {
    /// Begins with neighbouring `periods`, in order; with what was `declared` of the point's meter, and what a run before
    /// found.
    pub fn new(rule: PointRule, periods: Vec<Period>, declared: &'a Declared, known: Known) -> Self {
        let parts = vec![Partial::default(); periods.len()];
        Self { rule, grid: Grid { periods, parts }, counter: CounterHours::new(declared, known), holding: None }
    }

    /// What has to be known of a counter for a right answer; nothing in most runs.
    pub fn asks(&self) -> Option<Ask> {
        self.counter.asks()
    }

    /// What the next run over the same samples has to know; `None` when this one is right.
    pub fn next(&self) -> Option<Known> {
        self.counter.next()
    }

    /// Takes the next sample; samples come in order of record time.
    pub fn push(&mut self, sample: &Sample) {
        let time = sample.record_time;
        let number = counts(sample);
        if let Some((_, part)) = self.grid.at(time) {
            part.worst = part.worst.max(Some(sample.status.quality()));
            part.samples = part.samples.saturating_add(u64::from(number.is_some()));
        }
        let Some(value) = number else { return };
        match self.rule.kind {
            Kind::Counter => self.counter.push(&self.rule, &mut self.grid, sample, value),
            Kind::Gauge => {
                self.hold_until(time);
                if let Some((_, part)) = self.grid.at(time) {
                    gauge::note(part, value);
                }
                self.holding = Some((time, value));
            }
            Kind::State => {
                self.hold_until(time);
                self.holding = Some((time, value));
            }
        }
    }

    /// Pairs so far about which somebody has to decide, in order of time.
    pub fn suspects(self) -> Suspects {
        self.counter.suspects
    }

    /// The last sample was taken; the record reaches to `until`. Gives the hours of which anything is known.
    pub fn finish(mut self, until: UtcMillis) -> Vec<(Period, Partial)> {
        self.hold_until(until);
        let Grid { periods, parts } = self.grid;
        periods.into_iter().zip(parts).filter(|(_, part)| !part.is_empty()).collect()
    }

    /// The value that was holding held until `next`, or as long as it may.
    fn hold_until(&mut self, next: UtcMillis) {
        let Some((from, value)) = self.holding else { return };
        let to = next.min(from.plus(self.rule.hold_ms));
        let kind = self.rule.kind;
        self.grid.each_within(from, to, |_, part, from, to| match kind {
            Kind::State => state::hold(part, value, to.since(from)),
            _ => gauge::hold(part, value, to.since(from)),
        });
    }
}

impl Grid {
    /// The hour of an instant; `None` outside of all.
    pub fn at(&mut self, time: UtcMillis) -> Option<(Period, &mut Partial)> {
        let index = self.periods.partition_point(|period| period.end <= time);
        let period = *self.periods.get(index)?;
        (period.start <= time).then_some(())?;
        Some((period, self.parts.get_mut(index)?))
    }

    /// Calls with each hour that `[from, to)` overlaps, its part, and the overlap.
    pub fn each_within(&mut self, from: UtcMillis, to: UtcMillis, mut call: impl FnMut(Period, &mut Partial, UtcMillis, UtcMillis)) {
        let first = self.periods.partition_point(|period| period.end <= from);
        for (period, part) in self.periods.iter().zip(&mut self.parts).skip(first) {
            let (start, end) = (period.start.max(from), period.end.min(to));
            if start >= end {
                break;
            }
            call(*period, part, start, end);
        }
    }
}

/// The part of a gauge's or state's period, made when it is not there.
pub(super) fn gauge_part(part: &mut Partial) -> &mut GaugePart {
    if !matches!(part.of, Of::Gauge(_)) {
        part.of = Of::Gauge(GaugePart::default());
    }
    match &mut part.of {
        Of::Gauge(part) => part,
        _ => unreachable!("made above"),
    }
}

/// See [`gauge_part`].
pub(super) fn state_part(part: &mut Partial) -> &mut StatePart {
    if !matches!(part.of, Of::State(_)) {
        part.of = Of::State(StatePart::default());
    }
    match &mut part.of {
        Of::State(part) => part,
        _ => unreachable!("made above"),
    }
}
