//! Answers: totals of closed periods and of the open one, up to the latest sample.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use parkgate_collector::catalogue::Catalogue;
use parkgate_collector::model::{Medium, PointId, UtcMillis};

use super::partial::Partial;
use super::rule::PointRule;
use super::scan;
use super::store::TotalsStore;
use super::total::{Level, Period, Total, TotalsView};
use super::zone::ParkZone;
use crate::store::{RecordView, StoreError};

/// Totals over a record. Cheap to share behind an `Arc`.
pub struct Totals {
    zone: ParkZone,
    rules: HashMap<PointId, PointRule>,
    record: Arc<dyn RecordView>,
    /// Closed periods; without it everything is counted when asked.
    store: Option<Mutex<TotalsStore>>,
    /// Version of the record's latest samples, and the greatest record time among them.
    reaches: Mutex<(u64, UtcMillis)>,
}

impl Totals {
    /// Totals of the points of a catalogue. What `store` has not, is counted from the record when asked.
    pub fn new(catalogue: &Catalogue, record: Arc<dyn RecordView>, store: Option<TotalsStore>) -> Self {
        Self {
            zone: ParkZone::new(&catalogue.park.time_zone),
            rules: catalogue
                .points
                .iter()
                .filter(|point| point.medium != Medium::Gateway)
                .map(|point| (point.id, PointRule::new(point)))
                .collect(),
            record,
            store: store.map(Mutex::new),
            reaches: Mutex::new((0, UtcMillis(i64::MIN))),
        }
    }

    /// The park's calendar.
    pub fn zone(&self) -> &ParkZone {
        &self.zone
    }

    /// Up to when the record reaches.
    fn until(&self) -> UtcMillis {
        let mut reaches = self.reaches.lock().unwrap_or_else(PoisonError::into_inner);
        let (version, latest) = self.record.latest_since(reaches.0);
        reaches.0 = version;
        reaches.1 = latest.iter().map(|sample| sample.record_time).max().unwrap_or(UtcMillis(i64::MIN)).max(reaches.1);
        reaches.1
    }

    fn store(&self) -> Option<MutexGuard<'_, TotalsStore>> {
        self.store.as_ref().map(|store| store.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is known of the periods of a level that start in `[from, to)`, and up to where a point's hours are closed.
    fn parts(
        &self,
        rule: &PointRule,
        level: Level,
        (from, to): (UtcMillis, UtcMillis),
        until: UtcMillis,
    ) -> Result<(Vec<(Period, Partial)>, UtcMillis), StoreError> {
        let mut periods = self.zone.periods(level, from.max(EARLIEST), to.min(until.plus(1)));
        let Some(first) = periods.next() else { return Ok((Vec::new(), UtcMillis(i64::MIN))) };
        // Not by walking through them: `to` may be the end of time.
        let last = self.zone.period_of(level, to.min(until.plus(1)).plus(-1));
        let (start, end) = (first.start, last.end.min(self.zone.period_of(Level::Hour, until).end));
        let closed = match self.store() {
            Some(store) => store.followed_one(rule.point)?.map(|followed| followed.until),
            None => None,
        };
        let mut parts = Vec::new();
        let Some(closed) = closed else {
            self.count(rule, level, (start, end), until, &mut parts)?;
            return Ok((parts, UtcMillis(i64::MIN)));
        };
        // From long to short: each level up to where it is closed, the next shorter one from there on.
        let mut from = start;
        for &shorter in Level::ALL.iter().rev().filter(|&&shorter| shorter <= level) {
            let open = self.zone.period_of(shorter, closed).start.min(end);
            if from < open
                && let Some(store) = self.store()
            {
                append(&self.zone, level, store.parts(&self.zone, rule.point, shorter, from, open)?, &mut parts);
            }
            from = from.max(open);
        }
        self.count(rule, level, (from, end), until, &mut parts)?;
        Ok((parts, closed))
    }

    /// Counts hours from the record, from its first sample that counts on.
    fn count(
        &self,
        rule: &PointRule,
        level: Level,
        (from, to): (UtcMillis, UtcMillis),
        until: UtcMillis,
        parts: &mut Vec<(Period, Partial)>,
    ) -> Result<(), StoreError> {
        let Some(first) = scan::neighbour_after(&*self.record, rule.point, UtcMillis(i64::MIN))? else { return Ok(()) };
        let from = from.max(self.zone.period_of(Level::Hour, first.record_time).start);
        if from < to {
            append(&self.zone, level, scan::hours(&*self.record, &self.zone, rule, &[], (from, to), until)?, parts);
        }
        Ok(())
    }
}

/// No period before is asked for: 1900.
const EARLIEST: UtcMillis = UtcMillis(-2_208_988_800_000);

/// Puts shorter periods, in order, together to those of `level`.
pub fn join(zone: &ParkZone, level: Level, parts: Vec<(Period, Partial)>) -> Vec<(Period, Partial)> {
    let mut longer = Vec::new();
    append(zone, level, parts, &mut longer);
    longer
}

/// Puts shorter periods, in order, behind what is there of `level`.
fn append(zone: &ParkZone, level: Level, parts: Vec<(Period, Partial)>, longer: &mut Vec<(Period, Partial)>) {
    for (period, part) in parts {
        match longer.last_mut() {
            _ if period.level == level => longer.push((period, part)),
            Some((last, sum)) if period.start < last.end => sum.append(&part),
            _ => longer.push((zone.period_of(level, period.start), part)),
        }
    }
}

impl TotalsView for Totals {
    fn totals(&self, point: PointId, level: Level, from: UtcMillis, to: UtcMillis) -> Result<Vec<Total>, StoreError> {
        let Some(rule) = self.rules.get(&point) else { return Ok(Vec::new()) };
        let until = self.until();
        let (parts, closed) = self.parts(rule, level, (from, to), until)?;
        Ok(parts.into_iter().map(|(period, part)| part.total(rule, period, period.end <= closed, until)).collect())
    }

    fn closed_since(&self, cursor: u64, limit: usize) -> Result<(u64, Vec<Total>), StoreError> {
        let Some(store) = self.store() else { return Ok((cursor, Vec::new())) };
        let changes = store.changes(cursor, limit)?;
        let mut totals = Vec::with_capacity(changes.len());
        let next = changes.last().map_or(cursor, |change| change.0);
        for (_, level, start, point) in changes {
            let Some(rule) = self.rules.get(&point) else { continue };
            let parts = store.parts(&self.zone, point, level, start, start.plus(1))?;
            totals.extend(parts.into_iter().map(|(period, part)| part.total(rule, period, true, period.end)));
        }
        Ok((next, totals))
    }

    fn period_of(&self, level: Level, instant: UtcMillis) -> Period {
        self.zone.period_of(level, instant)
    }
}

impl std::fmt::Debug for Totals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Totals").field("points", &self.rules.len()).finish_non_exhaustive()
    }
}
