//! Answers: totals of closed periods and of the open one, up to the latest sample.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use parkgate_collector::catalogue::{Catalogue, Point};
use parkgate_collector::model::{PointId, UtcMillis};

use super::meters::Meters;
use super::partial::Partial;
use super::rule::{self, PointRule};
use super::scan;
use super::store::TotalsStore;
use super::total::{Level, Period, Total, TotalsView};
use super::zone::ParkZone;
use crate::store::{DataDirectory, RecordView, StoreError};

/// Totals over a record. Cheap to share behind an `Arc`.
pub struct Totals {
    zone: ParkZone,
    points: RwLock<HashMap<PointId, Arc<Point>>>,
    record: Arc<dyn RecordView>,
    /// What was entered about meters.
    meters: Arc<Meters>,
    /// Closed periods; without it everything is counted when asked.
    store: Option<Mutex<TotalsStore>>,
    /// Version of the record's latest samples, and the greatest record time among them.
    reaches: Mutex<(u64, UtcMillis)>,
}

impl Totals {
    /// Totals of the points of a catalogue. What `store` has not, is counted from the record when asked; so is all, when
    /// it is of another time zone than the catalogue.
    pub fn new(catalogue: &Catalogue, record: Arc<dyn RecordView>, store: Option<TotalsStore>) -> Self {
        let zone = ParkZone::new(&catalogue.park.time_zone);
        let store = store.filter(|store| store.is_of(&zone));
        Self {
            zone,
            points: RwLock::new(points(catalogue)),
            record,
            meters: Arc::new(Meters::new(catalogue)),
            store: store.map(Mutex::new),
            reaches: Mutex::new((0, UtcMillis(i64::MIN))),
        }
    }

    /// With what was entered about meters, which whoever fills the store keeps up to date.
    #[must_use]
    pub fn with_meters(self, meters: Arc<Meters>) -> Self {
        Self { meters, ..self }
    }

    /// Totals of a data directory, for a command that only reads.
    ///
    /// # Errors
    /// When `totals.db` or `facts.db` is there and cannot be read.
    pub fn read_only(catalogue: &Catalogue, record: Arc<dyn RecordView>, directory: &DataDirectory) -> Result<Self, StoreError> {
        let path = directory.totals();
        let store = if path.exists() { Some(TotalsStore::open_read_only(&path)?) } else { None };
        Ok(Self::new(catalogue, record, store).with_meters(Arc::new(Meters::read_only(catalogue, directory)?)))
    }

    /// Answers by another catalogue of the same park and time zone from now on. A point that it has no more is answered for
    /// all the same: it is counted to its end, and who follows what closes has to know it.
    pub fn set_catalogue(&self, catalogue: &Catalogue) {
        let mut known = self.points.write().unwrap_or_else(PoisonError::into_inner);
        for point in &catalogue.points {
            known.remove(&point.id);
        }
        known.extend(points(catalogue));
        drop(known);
        self.meters.set_catalogue(catalogue);
    }

    fn rule(&self, point: PointId) -> Option<PointRule> {
        self.points.read().unwrap_or_else(PoisonError::into_inner).get(&point).map(|point| PointRule::new(point))
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
            self.count_known(rule, level, (start, end), until, &mut parts)?;
            return Ok((parts, UtcMillis(i64::MIN)));
        };
        // From long to short: each level up to where it is closed, the next shorter one from there on.
        let mut from = start;
        for &shorter in Level::ALL.iter().rev().filter(|&&shorter| shorter <= level) {
            let open = self.zone.period_of(shorter, closed).start.min(end);
            if from < open
                && let Some(store) = self.store()
            {
                self.stored(&store, rule, (level, shorter), (from, open), until, &mut parts)?;
            }
            from = from.max(open);
        }
        // Nothing is closed of a point before its first number.
        self.count(rule, level, (from, end), until, &mut parts)?;
        Ok((parts, closed))
    }

    /// Puts stored periods of the second level together to those of the first. What damaged rows held is put together
    /// from shorter ones, hours from the record.
    fn stored(
        &self,
        store: &TotalsStore,
        rule: &PointRule,
        (level, shorter): (Level, Level),
        (from, to): (UtcMillis, UtcMillis),
        until: UtcMillis,
        parts: &mut Vec<(Period, Partial)>,
    ) -> Result<(), StoreError> {
        let found = store.parts(&self.zone, rule.point, shorter, from, to)?;
        let mut known = found.known.into_iter().peekable();
        for row in found.damaged {
            let before = std::iter::from_fn(|| known.next_if(|(period, _)| period.start < row.start)).collect();
            append(&self.zone, level, before, parts);
            let range = (row.start.max(from), row.end.min(to));
            match Level::ALL.iter().rev().find(|&&one| one < shorter) {
                Some(&next) => self.stored(store, rule, (level, next), range, until, parts)?,
                None => self.count_known(rule, level, range, until, parts)?,
            }
        }
        append(&self.zone, level, known.collect(), parts);
        Ok(())
    }

    /// Counts hours from the record, from its first sample that counts on.
    fn count_known(
        &self,
        rule: &PointRule,
        level: Level,
        (from, to): (UtcMillis, UtcMillis),
        until: UtcMillis,
        parts: &mut Vec<(Period, Partial)>,
    ) -> Result<(), StoreError> {
        if from >= to {
            return Ok(());
        }
        let Some(first) = scan::neighbour_after(&*self.record, rule.point, UtcMillis(i64::MIN))? else { return Ok(()) };
        self.count(rule, level, (from.max(self.zone.period_of(Level::Hour, first.record_time).start), to), until, parts)
    }

    /// Counts hours from the record.
    fn count(
        &self,
        rule: &PointRule,
        level: Level,
        (from, to): (UtcMillis, UtcMillis),
        until: UtcMillis,
        parts: &mut Vec<(Period, Partial)>,
    ) -> Result<(), StoreError> {
        let declared = self.meters.of(rule.point);
        for slice in self.zone.by_year(from, to) {
            append(&self.zone, level, scan::hours(&*self.record, &self.zone, rule, &declared, slice, until)?, parts);
        }
        Ok(())
    }
}

fn points(catalogue: &Catalogue) -> HashMap<PointId, Arc<Point>> {
    rule::has_totals(catalogue).map(|point| (point.id, Arc::clone(point))).collect()
}

/// No period before is asked for: 1900.
pub(super) const EARLIEST: UtcMillis = UtcMillis(-2_208_988_800_000);

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
        let Some(rule) = self.rule(point) else { return Ok(Vec::new()) };
        let until = self.until();
        let (parts, closed) = self.parts(&rule, level, (from, to), until)?;
        Ok(parts.into_iter().map(|(period, part)| part.total(&rule, period, period.end <= closed, until)).collect())
    }

    fn closed_since(&self, cursor: u64, limit: usize) -> Result<(u64, Vec<Total>), StoreError> {
        let Some(store) = self.store() else { return Ok((cursor, Vec::new())) };
        let changes = store.changes(cursor, limit)?;
        let mut totals = Vec::with_capacity(changes.len());
        let next = changes.last().map_or(cursor, |change| change.0);
        for (_, level, start, point) in changes {
            let Some(rule) = self.rule(point) else { continue };
            let mut parts = Vec::new();
            let end = self.zone.period_of(level, start).end;
            self.stored(&store, &rule, (level, level), (start, end), end, &mut parts)?;
            totals.extend(parts.into_iter().map(|(period, part)| part.total(&rule, period, true, period.end)));
        }
        Ok((next, totals))
    }

    fn last_change(&self) -> Result<u64, StoreError> {
        self.store().map_or(Ok(0), |store| store.last_change())
    }

    fn period_of(&self, level: Level, instant: UtcMillis) -> Period {
        self.zone.period_of(level, instant)
    }
}

impl std::fmt::Debug for Totals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Totals").field("zone", &self.zone).finish_non_exhaustive()
    }
}
