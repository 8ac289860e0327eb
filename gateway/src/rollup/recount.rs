//! Counts hours of a point again from the record, and what is made of them, and says what is new or changed.
//!
//! The same for the first time, for late data and for a rebuild: what is stored afterwards is what the record says.

use parkgate_collector::model::UtcMillis;

use super::partial::Partial;
use super::rule::{PointRule, counts};
use super::scan;
use super::store::{TotalsStore, Writing};
use super::total::{Level, Period, Total};
use super::view::join;
use super::zone::ParkZone;
use crate::store::{RecordView, StoreError};

/// What a recount found.
#[derive(Debug, Default)]
pub struct Recounted {
    /// Hours counted.
    pub hours: u64,
    /// Totals that are new or other than before, with the old one where there was one, as closed totals.
    pub changed: Vec<Change>,
}

/// A total that is new or other than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which period.
    pub period: Period,
    /// What it was; `None` when nothing was known.
    pub old: Option<Total>,
    /// What it is; `None` when nothing is known any more.
    pub new: Option<Total>,
}

/// What a recount works on.
#[derive(Clone, Copy)]
pub struct Recount<'a> {
    /// The record.
    pub record: &'a dyn RecordView,
    /// The park's calendar.
    pub zone: &'a ParkZone,
    /// The point.
    pub rule: &'a PointRule,
}

impl Recount<'_> {
    /// Counts the hours in `[from, to)` (starts of hours) again and stores them, with the days, months and years that
    /// change by it or that end in `(closed_before, closed]`. `to` is at most `closed`; what ends after `closed` is open
    /// and not stored.
    ///
    /// Hours that the record does not reach back to any more are left as they are.
    pub fn run(
        &self,
        writing: &Writing<'_>,
        (from, to): (UtcMillis, UtcMillis),
        closed_before: UtcMillis,
        closed: UtcMillis,
    ) -> Result<Recounted, StoreError> {
        let mut recounted = Recounted::default();
        let (zone, point) = (self.zone, self.rule.point);
        let from = self.reachable(writing.store(), from)?;
        let mut span: Option<(UtcMillis, UtcMillis)> = (closed_before < closed).then_some((closed_before, closed));
        if from < to {
            let mut hours = scan::hours(self.record, zone, self.rule, &[], (from, to), to)?;
            self.keep(writing.store(), (from, to), &mut hours)?;
            recounted.hours = u64::try_from(to.since(from)).unwrap_or(0).div_euclid(3_600_000);
            if let Some((first, last)) = self.replace(writing, Level::Hour, (from, to), hours, &mut recounted)? {
                span = Some(span.map_or((first, last), |(start, end)| (start.min(first), end.max(last))));
            }
        }
        for level in [Level::Day, Level::Month, Level::Year] {
            let Some((start, end)) = span else { break };
            let start = zone.period_of(level, start).start;
            let end = zone.period_of(level, end.plus(-1)).end;
            // The last one may be open still.
            let end = if end > closed { zone.period_of(level, closed).start } else { end };
            if start >= end {
                continue;
            }
            let shorter = match level {
                Level::Year => Level::Month,
                Level::Month => Level::Day,
                _ => Level::Hour,
            };
            let parts = join(zone, level, writing.store().parts(zone, point, shorter, start, end)?);
            self.replace(writing, level, (start, end), parts, &mut recounted)?;
        }
        Ok(recounted)
    }

    /// Keeps stored hours whose samples are not in the record any more: it was deleted there by retention, and what is
    /// left around it tells less than what is stored.
    fn keep(&self, store: &TotalsStore, (from, to): (UtcMillis, UtcMillis), hours: &mut Vec<(Period, Partial)>) -> Result<(), StoreError> {
        let mut stored = store.parts(self.zone, self.rule.point, Level::Hour, from, to)?;
        stored.retain(|(_, part)| part.samples > 0);
        for (period, part) in stored {
            match hours.binary_search_by_key(&period.start, |(period, _)| period.start) {
                Ok(index) => {
                    if let Some((_, new)) = hours.get_mut(index).filter(|(_, new)| new.worst.is_none()) {
                        *new = part;
                    }
                }
                Err(index) => hours.insert(index, (period, part)),
            }
        }
        Ok(())
    }

    /// Stores the parts of a level; the span of those that are other than before.
    fn replace(
        &self,
        writing: &Writing<'_>,
        level: Level,
        range: (UtcMillis, UtcMillis),
        parts: Vec<(Period, Partial)>,
        recounted: &mut Recounted,
    ) -> Result<Option<(UtcMillis, UtcMillis)>, StoreError> {
        let old = writing.store().parts(self.zone, self.rule.point, level, range.0, range.1)?;
        if old == parts {
            return Ok(None);
        }
        writing.replace(self.zone, self.rule.point, level, range, &parts)?;
        let mut span: Option<(UtcMillis, UtcMillis)> = None;
        for (period, old, new) in pairs(&old, &parts) {
            if old == new {
                continue;
            }
            span = Some(span.map_or((period.start, period.end), |(first, _)| (first, period.end)));
            let total = |part: Option<&Partial>| part.map(|part| part.total(self.rule, period, true, period.end));
            let (old, new) = (total(old), total(new));
            if old != new {
                recounted.changed.push(Change { period, old, new });
            }
        }
        Ok(span)
    }

    /// Where recounting may begin: behind the first sample there is, when older totals are stored than it.
    fn reachable(&self, store: &TotalsStore, from: UtcMillis) -> Result<UtcMillis, StoreError> {
        let point = self.rule.point;
        let mut first = None;
        // The first that counts; a portion of bad ones before it does not matter.
        if let Some(sample) = self.record.scan(point, UtcMillis(i64::MIN), UtcMillis(i64::MAX), 1)?.first() {
            first = Some(sample.record_time);
            if counts(sample).is_none() {
                first = scan::neighbour_after(self.record, point, sample.record_time)?.map(|sample| sample.record_time);
            }
        }
        let Some(first) = first else { return Ok(from) };
        let hour = self.zone.period_of(Level::Hour, first);
        let older = from < hour.end && store.has_hours_before(self.zone, point, hour.start)?;
        Ok(if older { hour.end } else { from })
    }
}

/// Both lists by period, each in order of time.
fn pairs<'a>(
    old: &'a [(Period, Partial)],
    new: &'a [(Period, Partial)],
) -> impl Iterator<Item = (Period, Option<&'a Partial>, Option<&'a Partial>)> {
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    std::iter::from_fn(move || {
        let start = match (old.peek(), new.peek()) {
            (Some((old, _)), Some((new, _))) => old.start.min(new.start),
            (Some((one, _)), None) | (None, Some((one, _))) => one.start,
            (None, None) => return None,
        };
        let old = old.next_if(|(period, _)| period.start == start);
        let new = new.next_if(|(period, _)| period.start == start);
        let period = old.or(new)?.0;
        Some((period, old.map(|(_, part)| part), new.map(|(_, part)| part)))
    })
}
