//! Counts hours of a point again from the record, and what is made of them, and says what is new or changed.
//!
//! The same for the first time, for late data and for a rebuild: what is stored afterwards is what the record says.

use parkgate_collector::model::UtcMillis;

use super::counter::Declared;
use super::partial::Partial;
use super::rule::PointRule;
use super::scan;
use super::store::{TotalsStore, Writing};
use super::total::{Level, Period, Total};
use super::view::join;
use super::zone::ParkZone;
use crate::store::{RecordView, StoreError};

/// Samples before 2020 are never deleted by retention, and their totals are not left over from deleted ones.
const RETENTION_FROM: UtcMillis = UtcMillis(1_577_836_800_000);

/// What a recount found.
#[derive(Debug, Default)]
pub struct Recounted {
    /// Hours counted.
    pub hours: u64,
    /// Totals that are new or other than before.
    pub changed: Vec<Change>,
}

/// A total that is new or other than before. [`Recount::stored`] tells what it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which period.
    pub period: Period,
    /// What it was, as a closed total; `None` when nothing was known.
    pub old: Option<Box<Total>>,
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
    /// What was entered about its meter.
    pub declared: &'a Declared,
}

impl Recount<'_> {
    /// Counts the hours in `[from, to)` (starts of hours) again and stores them, with the days, months and years that
    /// change by it or that end in `(closed_before, closed]`. `to` is at most `closed`; what ends after `closed` is open
    /// and not stored. Periods whose row is damaged are counted with them.
    ///
    /// Hours that the record does not reach back to any more are left as they are.
    pub fn run(
        &self,
        writing: &Writing<'_>,
        range: (UtcMillis, UtcMillis),
        closed_before: UtcMillis,
        closed: UtcMillis,
    ) -> Result<Recounted, StoreError> {
        let mut recounted = Recounted::default();
        let (zone, point) = (self.zone, self.rule.point);
        let mut span: Option<(UtcMillis, UtcMillis)> = (closed_before < closed).then_some((closed_before, closed));
        if range.0 < range.1 {
            let damaged = self.damaged(writing.store(), range, closed)?;
            span = hull(span, damaged);
            let (from, to) = hull(Some(range), damaged).unwrap_or(range);
            let (from, known_from) = self.reachable(writing.store(), from)?;
            for slice in zone.by_year(from, to) {
                let mut hours = scan::hours(self.record, zone, self.rule, self.declared, slice, to)?;
                self.keep(writing.store(), slice, &mut hours)?;
                hours.retain(|(period, _)| period.start >= known_from);
                let counted = u64::try_from(slice.1.since(slice.0)).unwrap_or(0).div_euclid(3_600_000);
                recounted.hours = recounted.hours.saturating_add(counted);
                span = hull(span, self.replace(writing, Level::Hour, slice, hours, &mut recounted)?);
            }
        }
        for level in [Level::Day, Level::Month, Level::Year] {
            let Some((start, end)) = span else { break };
            let start = zone.period_of(level, start).start;
            let end = zone.period_of(level, end.plus(-1)).end;
            // The last one may be open still.
            let end = if end > closed { zone.period_of(level, closed).start } else { end };
            let shorter = match level {
                Level::Year => Level::Month,
                Level::Month => Level::Day,
                _ => Level::Hour,
            };
            for (start, end) in zone.by_year(start, end) {
                let parts = join(zone, level, writing.store().parts(zone, point, shorter, start, end)?.known);
                self.replace(writing, level, (start, end), parts, &mut recounted)?;
            }
        }
        Ok(recounted)
    }

    /// The stored total of a closed period; `None` when nothing is known of it.
    pub fn stored(&self, store: &TotalsStore, period: Period) -> Result<Option<Total>, StoreError> {
        let parts = store.parts(self.zone, self.rule.point, period.level, period.start, period.start.plus(1))?;
        Ok(parts.known.first().map(|(period, part)| part.total(self.rule, *period, true, period.end)))
    }

    /// What lies in damaged rows that counting `range` would write to or read from, up to `closed`.
    fn damaged(
        &self,
        store: &TotalsStore,
        range: (UtcMillis, UtcMillis),
        closed: UtcMillis,
    ) -> Result<Option<(UtcMillis, UtcMillis)>, StoreError> {
        let mut damaged = None;
        loop {
            let before = damaged;
            let (from, to) = hull(Some(range), damaged).unwrap_or(range);
            for &level in Level::ALL {
                for row in store.damaged(self.zone, self.rule.point, level, from, to)? {
                    damaged = hull(damaged, Some((row.start, row.end.min(closed))));
                }
            }
            // A row of months reaches over rows of days, which may be damaged as well.
            if damaged == before {
                return Ok(damaged);
            }
        }
    }

    /// Keeps stored hours whose samples retention took from the record: what is left around them tells less than what is
    /// stored. It takes whole months, so these are hours of the month in which the record begins, where that was taken
    /// and has late samples again. Other hours lost their samples to ones with the same key time.
    fn keep(&self, store: &TotalsStore, (from, to): (UtcMillis, UtcMillis), hours: &mut Vec<(Period, Partial)>) -> Result<(), StoreError> {
        let known = |hours: &[(Period, Partial)], period: Period| {
            let index = hours.binary_search_by_key(&period.start, |(period, _)| period.start);
            index.is_ok_and(|index| hours.get(index).is_some_and(|(_, part)| part.worst.is_some()))
        };
        let mut stored = store.parts(self.zone, self.rule.point, Level::Hour, from.max(RETENTION_FROM), to)?.known;
        stored.retain(|(period, part)| part.samples > 0 && !known(hours, *period));
        if stored.is_empty() {
            return Ok(());
        }
        let oldest = self.record.scan(self.rule.point, RETENTION_FROM, UtcMillis(i64::MAX), 1)?;
        let Some(oldest) = oldest.first().map(|oldest| oldest.record_time) else { return Ok(()) };
        let (month, first) = (month_of(oldest), self.zone.period_of(Level::Hour, oldest).start);
        let begins = self.zone.period_of(Level::Hour, month.start).start;
        let before = store.parts(self.zone, self.rule.point, Level::Hour, begins, first)?.known;
        if before.iter().all(|(_, part)| part.samples == 0) || !self.was_cut(store, month)? {
            return Ok(());
        }
        for (period, part) in stored.into_iter().filter(|(period, _)| period.start < month.end) {
            match hours.binary_search_by_key(&period.start, |(period, _)| period.start) {
                Ok(index) => {
                    if let Some((_, new)) = hours.get_mut(index) {
                        *new = part;
                    }
                }
                Err(index) => hours.insert(index, (period, part)),
            }
        }
        Ok(())
    }

    /// Whether months before `month`, the one of the record's first sample, were deleted: totals of theirs are stored.
    fn was_cut(&self, store: &TotalsStore, month: Period) -> Result<bool, StoreError> {
        let hour = self.zone.period_of(Level::Hour, month.start).start;
        store.has_hours(self.zone, self.rule.point, RETENTION_FROM, hour)
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
        if old.known == parts && old.damaged.is_empty() {
            return Ok(None);
        }
        writing.replace(self.zone, self.rule.point, level, range, &parts)?;
        let mut span = None;
        for (period, old, new) in pairs(&old.known, &parts) {
            if old == new {
                continue;
            }
            span = hull(span, Some((period.start, period.end)));
            let total = |part: &Partial| part.total(self.rule, period, true, period.end);
            let old = old.map(total);
            if old.is_none() || old != new.map(total) {
                recounted.changed.push(Change { period, old: old.map(Box::new) });
            }
        }
        Ok(span)
    }

    /// Where recounting may begin, and before when nothing is known. Where retention cut the record, counting begins
    /// behind the hour of its first sample. Else that is the point's first: nothing is stored before its month, and
    /// nothing is known before its first number.
    fn reachable(&self, store: &TotalsStore, from: UtcMillis) -> Result<(UtcMillis, UtcMillis), StoreError> {
        let (record, point, beginning) = (self.record, self.rule.point, UtcMillis(i64::MIN));
        if scan::neighbour_before(record, point, from)?.is_some() {
            return Ok((from, beginning));
        }
        let first = record.scan(point, beginning, UtcMillis(i64::MAX), 1)?;
        let Some(first) = first.first().map(|first| first.record_time) else {
            return Ok((UtcMillis(i64::MAX), beginning));
        };
        let month = month_of(first);
        if first >= RETENTION_FROM && self.was_cut(store, month)? {
            return Ok((from.max(self.zone.period_of(Level::Hour, first).end), beginning));
        }
        let number = scan::neighbour_after(record, point, first)?;
        let known_from = number.map_or(UtcMillis(i64::MAX), |sample| self.zone.period_of(Level::Hour, sample.record_time).start);
        Ok((from.max(self.zone.period_of(Level::Hour, month.start).start), known_from))
    }
}

/// The month of UTC, as retention has it.
fn month_of(time: UtcMillis) -> Period {
    ParkZone::new("UTC").period_of(Level::Month, time)
}

/// From the start of the first to the end of the last of two ranges.
fn hull(one: Option<(UtcMillis, UtcMillis)>, other: Option<(UtcMillis, UtcMillis)>) -> Option<(UtcMillis, UtcMillis)> {
    match (one, other) {
        (Some(one), Some(other)) => Some((one.0.min(other.0), one.1.max(other.1))),
        (one, other) => one.or(other),
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
