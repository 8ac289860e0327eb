//! Entering exchanges and decisions about meters, and undoing them: what is checked, and that nobody comes in between.

use std::sync::Arc;

use parkgate_collector::catalogue::{Catalogue, Point};
use parkgate_collector::model::{Decimal, Kind, Sample, UtcMillis};
use parkgate_collector::normalise::Register;
use parkgate_rules::emission::time::UtcMillis as Time;

use super::counter::{Declared, SuspectPair};
use super::decide::register_text;
use super::meters::{EventKind, Events, MeterEvent, MeterStep, NewEvent};
use super::rule::{self, PointRule, counts};
use super::ruled::AllBefore;
use super::scan;
use super::total::Level;
use super::zone::ParkZone;
use crate::store::{Entry, EntryKind, Facts, NewEntry, RecordView, StoreError};

/// Longest text of an entry, in characters.
pub const TEXT_MAX: usize = 1000;
/// Most digits after the point of a multiplier; so its product with a register stays exact.
const MULTIPLIER_DIGITS: i8 = 9;
/// Greatest multiplier: beyond every ratio of transformers.
const MULTIPLIER_MAX: i64 = 100_000_000;

/// Why something cannot be entered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}; {help}")]
pub struct Refusal {
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub help: String,
}

/// A refusal, or the record cannot be read.
enum No {
    Refused(Refusal),
    Store(StoreError),
}

impl From<StoreError> for No {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn refuse<T>(what: impl Into<String>, help: impl Into<String>) -> Result<T, No> {
    Err(No::Refused(Refusal { what: what.into(), help: help.into() }))
}

/// Who enters something, when, and the paper it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Who.
    pub author: String,
    /// The paper.
    pub document: Option<String>,
    /// When.
    pub now: UtcMillis,
}

/// Where things are entered.
#[derive(Clone, Copy)]
pub struct Desk<'a> {
    /// The points.
    pub catalogue: &'a Catalogue,
    /// Their record.
    pub record: &'a dyn RecordView,
    /// Where entries are kept.
    pub facts: &'a Facts,
}

impl Desk<'_> {
    /// Enters a step; the event as it is then. A decision needs its kind, point and instant only: the registers it is
    /// about are taken from the record.
    ///
    /// # Errors
    /// The outer one when something cannot be read or written, the inner one when it is refused.
    pub fn enter(&self, step: MeterStep, signed: &Signed) -> Result<Result<MeterEvent, Refusal>, StoreError> {
        let mut events = Events::default();
        let rules = AllBefore::read(self.facts)?;
        let entered = self.facts.append_checked(EntryKind::MeterEvent, signed.now, |known| {
            events = Events::of(known);
            let (subject, step) = self.checked(&events, &rules, step, signed)?;
            let body = serde_json::to_value(step).map_err(|error| No::Store(StoreError::Damaged(error.to_string())))?;
            let (author, document) = (signed.author.clone(), signed.document.clone());
            Ok(vec![NewEntry { kind: EntryKind::MeterEvent, subject, body, author, document }])
        })?;
        let entered: Vec<Entry> = match entered {
            Ok(entered) => entered,
            Err(No::Refused(refusal)) => return Ok(Err(refusal)),
            Err(No::Store(error)) => return Err(error),
        };
        let event = entered.first().and_then(|entry| events.take(entry)).cloned();
        event.map(Ok).ok_or_else(|| StoreError::Damaged("an entry about a meter cannot be read back".into()))
    }

    /// The step as it is to be entered, with the point it is about.
    fn checked(&self, events: &Events, rules: &AllBefore, step: MeterStep, signed: &Signed) -> Result<(String, MeterStep), No> {
        if signed.author.trim().is_empty() {
            return refuse("there is no author", "say who enters it");
        }
        let note = match &step {
            MeterStep::Add(new) => &new.note,
            MeterStep::Undo { note, .. } => note,
        };
        for (name, text) in [("author", Some(&signed.author)), ("document", signed.document.as_ref()), ("note", note.as_ref())] {
            if text.is_some_and(|text| text.chars().count() > TEXT_MAX) {
                return refuse(format!("the {name} is longer than {TEXT_MAX} characters"), "name the paper that tells the rest");
            }
        }
        match step {
            MeterStep::Undo { event, note } => {
                let Some(held) = events.get(&event) else {
                    return refuse(format!("there is no exchange or decision `{event}`"), "`parkgate exchange list` shows all");
                };
                match &held.undone_by {
                    Some(undone) => {
                        refuse(format!("{event} is undone already, by {} at {}", undone.author, undone.time), "nothing is left to do")
                    }
                    None => Ok((held.point.clone(), MeterStep::Undo { event, note })),
                }
            }
            MeterStep::Add(new) => {
                let point = self.counter(&new.point)?;
                if new.at.0 > signed.now.0 {
                    return refuse(format!("{} is in the future", new.at), "enter it when it has happened");
                }
                let declared = events.declared(point, rules);
                let new = match new.kind {
                    EventKind::Exchange => self.exchange(events, &declared, point, new)?,
                    EventKind::Rollover | EventKind::Reset | EventKind::OldWrong | EventKind::NewWrong => {
                        self.decision(events, &declared, point, new)?
                    }
                    EventKind::Error => {
                        return refuse(
                            "`error` does not say which register is wrong",
                            "decide `old_wrong`, `new_wrong`, or `reset` when both are right",
                        );
                    }
                };
                Ok((new.point.clone(), MeterStep::Add(new)))
            }
        }
    }

    /// A counter that has totals.
    fn counter(&self, id: &str) -> Result<&Arc<Point>, No> {
        let points = || rule::has_totals(self.catalogue).filter(|point| point.identity.kind == Kind::Counter);
        if let Some(point) = points().find(|point| point.identity.stable_id == id) {
            return Ok(point);
        }
        if self.catalogue.point_by_stable_id(id).is_some() {
            return refuse(format!("`{id}` is no counter with totals"), "only registers that count up are exchanged or wrap");
        }
        let near = points().map(|point| point.identity.stable_id.as_str()).min_by_key(|near| strsim::damerau_levenshtein(near, id));
        refuse(format!("there is no point `{id}` in the configuration"), format!("the nearest counter is `{}`", near.unwrap_or("none")))
    }

    fn exchange(&self, events: &Events, declared: &Declared, point: &Point, new: NewEvent) -> Result<NewEvent, No> {
        let at = UtcMillis(new.at.0);
        let same = |held: &&MeterEvent| {
            held.kind == EventKind::Exchange && held.undone_by.is_none() && held.point == new.point && held.at == new.at
        };
        if let Some(held) = events.all().find(same) {
            return refuse(
                format!("{} is an exchange at that instant already", held.id),
                format!("undo it first: `parkgate exchange undo {}`", held.id),
            );
        }
        let rule = PointRule::new(point);
        let before = scan::register_before(self.record, declared, point.id, at)?;
        let after = scan::register_after(self.record, declared, point.id, at)?;
        // The modulus of now may be of another meter: configured before the exchange or after it. A reading beside it that is
        // beyond all moduli known shows that the meter's own is not known.
        let below = |since, beside: Option<Sample>| {
            let bound = declared.bound_since(&rule, since);
            bound.filter(|bound| beside.and_then(|beside| counts(&beside)).is_none_or(|shown| i128::from(shown) < *bound))
        };
        let any_time = UtcMillis(i64::MIN);
        let old_final = register("old final register", new.old_final.as_deref(), rule.decimals, below(any_time, before))?;
        let new_initial = register("new initial register", new.new_initial.as_deref(), rule.decimals, below(at, after))?;
        if let Some(text) = &new.multiplier {
            multiplier(text)?;
        }
        let Some(before) = before else {
            return refuse(format!("`{}` has no reading before {}", new.point, new.at), "an exchange lies between readings of two meters");
        };
        // Registers of other segments cannot be compared with these.
        let within = |from: UtcMillis, to: UtcMillis| declared.exchanges.iter().all(|known| known.at <= from || to < known.at);
        let text = |value| register_text(value, rule.decimals);
        if let (Some(end), Some(last)) = (old_final, counts(&before))
            && within(before.record_time, at)
            && declared.difference(&rule, Register { time: before.record_time, value: last }, Register { time: at, value: end }).is_none()
        {
            return refuse(
                format!("the old final register {} is below the reading {} at {}", text(end), text(last), before.record_time),
                "registers are in the point's unit, before the multiplier; look at `parkgate totals --level hour`",
            );
        }
        if let Some(start) = new_initial
            && let Some(after) = after
            && let Some(first) = counts(&after)
            && within(at, after.record_time)
            && declared.difference(&rule, Register { time: at, value: start }, Register { time: after.record_time, value: first }).is_none()
        {
            return refuse(
                format!("the new initial register {} is above the reading {} at {}", text(start), text(first), after.record_time),
                "registers are in the point's unit, before the multiplier; look at `parkgate totals --level hour`",
            );
        }
        Ok(NewEvent { from: None, ..new })
    }

    fn decision(&self, events: &Events, declared: &Declared, point: &Point, new: NewEvent) -> Result<NewEvent, No> {
        let at = UtcMillis(new.at.0);
        let (rule, zone) = (PointRule::new(point), ParkZone::new(&self.catalogue.park.time_zone));
        let hour = zone.period_of(Level::Hour, at);
        let found = scan::suspects(self.record, &zone, &rule, declared, (hour.start, hour.end))?;
        let Some(SuspectPair { old, new: lower }) = found.pairs.into_iter().find(|pair| pair.new.time == at) else {
            return match events.decided(&new.point, at) {
                Some(held) => refuse(
                    format!("{} says {} of it already", held.id, held.kind.name()),
                    format!("undo it first: `parkgate decide undo {}`", held.id),
                ),
                None => refuse(
                    format!("no suspect pair of `{}` ends at {}", new.point, new.at),
                    "`parkgate decide list` shows what is to be decided",
                ),
            };
        };
        let wrong = match new.kind {
            EventKind::OldWrong => Some(old),
            EventKind::NewWrong => Some(lower),
            _ => None,
        };
        if let Some(wrong) = wrong
            && !self.is_read(point, wrong)?
        {
            return refuse(
                format!("the register {} was not read but entered with an exchange", register_text(wrong.value, rule.decimals)),
                "undo the exchange and enter it with the right register: `parkgate exchange list`",
            );
        }
        if new.kind == EventKind::Rollover && declared.wrapped(&rule, old, lower).is_none() {
            return refuse(
                format!(
                    "`{}` cannot have wrapped: no modulus is configured, or {} lies beyond it",
                    new.point,
                    register_text(old.value, rule.decimals)
                ),
                "set `modulus` and `rate_max_per_hour` of the point: from then on wraps are told from falls, those of before too; or enter \
                 an exchange with both registers",
            );
        }
        Ok(NewEvent {
            from: Some(Time(old.time.0)),
            old_final: Some(register_text(old.value, rule.decimals)),
            new_initial: Some(register_text(lower.value, rule.decimals)),
            multiplier: None,
            ..new
        })
    }

    /// Whether a register is that of a reading.
    fn is_read(&self, point: &Point, register: Register) -> Result<bool, StoreError> {
        let samples = self.record.scan(point.id, register.time, register.time.plus(1), usize::MAX)?;
        Ok(samples.iter().any(|sample| counts(sample) == Some(register.value)))
    }
}

/// A register as a mantissa at the point's decimals, `below` what is said.
fn register(name: &str, text: Option<&str>, decimals: u8, below: Option<i128>) -> Result<Option<i64>, No> {
    let Some(text) = text else { return Ok(None) };
    let number = match Decimal::parse(text.as_bytes()) {
        Ok(number) => number,
        Err(error) => return refuse(format!("the {name} is no number: {error}"), "write it as the meter shows it: 12345.678"),
    };
    let Some(mantissa) = number.to_mantissa(decimals) else {
        return refuse(format!("the {name} {text} is too large"), "write it in the point's unit");
    };
    let back = Decimal::new(mantissa, i8::try_from(decimals).unwrap_or(0).saturating_neg());
    if back.normalised() != number.normalised() {
        return refuse(format!("the {name} {text} has more than {decimals} decimals"), "round it as the meter's readings are");
    }
    if mantissa < 0 || below.is_some_and(|below| i128::from(mantissa) >= below) {
        return refuse(
            format!("the {name} {text} is not between 0 and the modulus"),
            "registers are in the point's unit, before the multiplier",
        );
    }
    Ok(Some(mantissa))
}

fn multiplier(text: &str) -> Result<(), No> {
    let number = match Decimal::parse(text.as_bytes()) {
        Ok(number) => number.normalised(),
        Err(error) => return refuse(format!("the multiplier is no number: {error}"), "write a ratio such as 40"),
    };
    let (zero, most) = (Decimal::ZERO, Decimal::new(MULTIPLIER_MAX, 0));
    let fits = number.exponent >= MULTIPLIER_DIGITS.saturating_neg() && number.cmp_value(zero).is_gt() && number.cmp_value(most).is_le();
    if fits {
        return Ok(());
    }
    refuse(
        format!("the multiplier {text} is not above 0 and at most {MULTIPLIER_MAX} with at most {MULTIPLIER_DIGITS} decimals"),
        "it is the ratio of the transformers, on top of the configured scale",
    )
}
