//! Points that are made of others: sum, difference, product and ratio of the newest inputs.
//!
//! A value is made in rounds. A round is closed when every input has come since the last one, so that a difference of
//! two meters never mixes this minute of one with the last minute of the other; or when an input comes again before all
//! others did, and then with what the others said last. An input older than the formula's `max_age_ms` against the newest
//! one is missing. A value's record time is that of the newest input of its round, so its values are in order of time.
//!
//! What is missing or bad in an input is in the result: without a number, with that input's reason; else the worst quality
//! of the inputs. An input that is late, not after what was known of it, makes no value. When our own clock fell back by
//! more than a point without a time waits for, all inputs are awaited anew.
//!
//! The memory is a function of the samples put out, as everywhere in the normaliser.

use super::exact::Ratio;
use super::watch::Mark;
use crate::catalogue::{Catalogue, Formula, Operation, Point};
use crate::model::combine::{product_factor, quotient_factor};
use crate::model::decimal::div_half_even;
use crate::model::{Origin, PointId, Quality, Reason, UtcMillis};

/// One formula with its memory.
#[derive(Clone, Debug)]
pub(super) struct Derived {
    operation: Operation,
    inputs: Vec<Input>,
    /// From the inputs' canonical units to mantissas of the result.
    factor: Ratio,
    max_age_ms: i64,
    pub(super) memory: Memory,
}

#[derive(Clone, Copy, Debug)]
struct Input {
    point: PointId,
    /// One step of its mantissa, `10^-decimals`.
    step: Ratio,
}

/// What is remembered of a formula.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Memory {
    /// By input.
    pub(super) held: Vec<Held>,
    /// Record time of the last round.
    pub(super) closed: Option<UtcMillis>,
}

/// What is remembered of one input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) point: PointId,
    pub(super) newest: Option<Mark>,
    /// It came since the last round.
    pub(super) is_new: bool,
}

/// A value that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Round {
    pub(super) record: UtcMillis,
    pub(super) received: UtcMillis,
    pub(super) value: Option<i64>,
    pub(super) quality: Quality,
    pub(super) reason: Reason,
    pub(super) origin: Origin,
}

impl Derived {
    /// The formula of a point; `None` when an input is not in the catalogue or the units do not combine, which no
    /// validated one has.
    pub(super) fn new(point: &Point, formula: &Formula, catalogue: &Catalogue) -> Option<Self> {
        let inputs: Vec<&Point> =
            formula.inputs.iter().map(|id| catalogue.point_by_stable_id(id).map(AsRef::as_ref)).collect::<Option<_>>()?;
        let unit = |index: usize| inputs.get(index).map(|input: &&Point| input.identity.unit);
        let unit_factor = match formula.operation {
            Operation::Sum | Operation::Difference => Ratio::new(1, 1)?,
            Operation::Product => {
                let factor = product_factor(unit(0)?, unit(1)?, point.identity.unit)?;
                Ratio::new(factor.numerator, factor.denominator)?
            }
            Operation::Ratio => {
                let factor = quotient_factor(unit(0)?, unit(1)?, point.identity.unit)?;
                Ratio::new(factor.numerator, factor.denominator)?
            }
        };
        let power = |decimals: u8| 10i128.checked_pow(u32::from(decimals));
        let steps = inputs
            .iter()
            .map(|input| Some(Input { point: input.id, step: Ratio::new(1, power(input.identity.decimals)?)? }))
            .collect::<Option<Vec<_>>>()?;
        let held = steps.iter().map(|input| Held { point: input.point, newest: None, is_new: false }).collect();
        Some(Self {
            operation: formula.operation,
            inputs: steps,
            factor: unit_factor.times(Ratio::new(power(point.identity.decimals)?, 1)?)?,
            max_age_ms: i64::from(formula.max_age_ms),
            memory: Memory { held, closed: None },
        })
    }

    /// The inputs, in order.
    pub(super) fn inputs(&self) -> impl Iterator<Item = PointId> {
        self.inputs.iter().map(|input| input.point)
    }

    /// Takes over what is known of inputs that stay.
    pub(super) fn keep(&mut self, memory: &Memory) {
        self.memory.closed = memory.closed;
        for held in &mut self.memory.held {
            if let Some(known) = memory.held.iter().find(|known| known.point == held.point) {
                *held = *known;
            }
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.memory.closed = None;
        for held in &mut self.memory.held {
            (held.newest, held.is_new) = (None, false);
        }
    }

    /// Takes in a recorded sample of the input at `place`; returns the value of a round that it closes.
    pub(super) fn take_in(&mut self, place: usize, mark: Mark) -> Option<Round> {
        let newest = self.memory.held.get(place)?.newest;
        if let Some(newest) = newest
            && mark.record <= newest.record
        {
            if !newest.clock_fell_before(&mark) {
                return None;
            }
            self.clear();
        }
        let came_again = self.memory.held.get(place)?.is_new;
        let before = if came_again { self.close(mark.received) } else { None };
        let held = self.memory.held.get_mut(place)?;
        (held.newest, held.is_new) = (Some(mark), true);
        if self.memory.held.iter().all(|held| held.is_new) { self.close(mark.received) } else { before }
    }

    /// Ends the round; no value where it brought nothing later than the last one.
    fn close(&mut self, received: UtcMillis) -> Option<Round> {
        let new = self.memory.held.iter().filter(|held| held.is_new);
        let record = new.filter_map(|held| Some(held.newest?.record)).max()?;
        self.memory.held.iter_mut().for_each(|held| held.is_new = false);
        if self.memory.closed.is_some_and(|closed| record <= closed) {
            return None;
        }
        self.memory.closed = Some(record);
        let (mut quality, mut reason, mut origin) = (Quality::Good, Reason::None, Origin::Metered);
        let mut complete = true;
        for held in &self.memory.held {
            let fresh = held.newest.filter(|mark| record.since(mark.record) <= self.max_age_ms);
            let (found, why) = match fresh {
                Some(mark) if mark.status.has_number() => (mark.status.quality(), mark.status.reason()),
                Some(mark) => (Quality::Bad, mark.status.reason()),
                None => (Quality::Bad, Reason::MissingInput),
            };
            let has_number = fresh.is_some_and(|mark| mark.status.has_number());
            // An input without a number says why there is none; before that, the worst and first one speaks, and a void time
            // only where nothing else is bad: it may be known later.
            let is_plainer = found == Quality::Bad && quality == Quality::Bad && reason == Reason::Clock && why != Reason::Clock;
            if found > quality || (complete && (!has_number || is_plainer)) {
                (quality, reason) = (found, why);
            }
            complete &= has_number;
            if let (Some(mark), Origin::Metered) = (fresh, origin) {
                origin = mark.status.origin();
            }
        }
        let value = if complete { self.value() } else { Err(reason) };
        Some(match value {
            Ok(value) => Round { record, received, value: Some(value), quality, reason, origin },
            Err(reason) => Round { record, received, value: None, quality: Quality::Bad, reason, origin },
        })
    }

    /// The result, rounded half to even once; a division by 0 is not a number.
    fn value(&self) -> Result<i64, Reason> {
        let mut numbers = self.memory.held.iter().zip(&self.inputs).map(|(held, input)| {
            let value = held.newest.ok_or(Reason::MissingInput)?.value;
            Ratio::new(i128::from(value), 1).and_then(|value| value.times(input.step)).ok_or(Reason::Overflow)
        });
        let mut result = numbers.next().ok_or(Reason::MissingInput)??;
        for number in numbers {
            let number = number?;
            let next = match self.operation {
                Operation::Sum => result.plus(number),
                Operation::Difference => number.negated().and_then(|number| result.plus(number)),
                Operation::Product => result.times(number),
                Operation::Ratio if number.numerator == 0 => return Err(Reason::NotANumber),
                Operation::Ratio => number.inverse().and_then(|number| result.times(number)),
            };
            result = next.ok_or(Reason::Overflow)?;
        }
        let mantissa = result.times(self.factor).ok_or(Reason::Overflow)?;
        let rounded = div_half_even(mantissa.numerator, mantissa.denominator).ok_or(Reason::Overflow)?;
        i64::try_from(rounded).map_err(|_| Reason::Overflow)
    }
}

#[cfg(test)]
mod tests;
