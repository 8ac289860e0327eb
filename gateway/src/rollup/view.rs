//! Answers: totals of closed periods and of the open one, up to the latest sample.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use parkgate_collector::catalogue::Catalogue;
use parkgate_collector::model::{PointId, UtcMillis};

use super::partial::Partial;
use super::rule::PointRule;
use super::scan;
use super::total::{Level, Period, Total, TotalsView};
use super::zone::ParkZone;
use crate::store::{RecordView, StoreError};

/// Totals over a record. Cheap to share behind an `Arc`.
pub struct Totals {
    zone: ParkZone,
    rules: HashMap<PointId, PointRule>,
    record: Arc<dyn RecordView>,
    grace_ms: i64,
    /// Version of the record's latest samples, and the greatest record time among them.
    reaches: Mutex<(u64, UtcMillis)>,
}

impl Totals {
    /// Totals of the points of a catalogue. `grace_ms`: how long after its end a period stays open.
    pub fn new(catalogue: &Catalogue, record: Arc<dyn RecordView>, grace_ms: i64) -> Self {
        Self {
            zone: ParkZone::new(&catalogue.park.time_zone),
            rules: catalogue.points.iter().map(|point| (point.id, PointRule::new(point))).collect(),
            record,
            grace_ms,
            reaches: Mutex::new((0, UtcMillis(i64::MIN))),
        }
    }

    /// Up to when the record reaches.
    fn until(&self) -> UtcMillis {
        let mut reaches = self.reaches.lock().unwrap_or_else(PoisonError::into_inner);
        let (version, latest) = self.record.latest_since(reaches.0);
        reaches.0 = version;
        reaches.1 = latest.iter().map(|sample| sample.record_time).max().unwrap_or(UtcMillis(i64::MIN)).max(reaches.1);
        reaches.1
    }

    /// What is known of the periods of a level that start in `[from, to)`.
    fn parts(
        &self,
        rule: &PointRule,
        level: Level,
        (from, to): (UtcMillis, UtcMillis),
        until: UtcMillis,
    ) -> Result<Vec<(Period, Partial)>, StoreError> {
        let Some(first) = self.record.scan(rule.point, UtcMillis(i64::MIN), UtcMillis(i64::MAX), 1)?.first().map(|first| first.record_time)
        else {
            return Ok(Vec::new());
        };
        let from = from.max(self.zone.period_of(level, first).start);
        let to = to.min(until.plus(1));
        let mut periods = self.zone.periods(level, from, to);
        let Some(start) = periods.next() else { return Ok(Vec::new()) };
        let end = periods.last().unwrap_or(start).end;
        let start = start.start.max(self.zone.period_of(Level::Hour, first).start);
        let end = end.min(self.zone.period_of(Level::Hour, until).end);
        let hours = scan::hours(&*self.record, &self.zone, rule, &[], (start, end), until)?;
        Ok(join(&self.zone, level, hours))
    }
}

/// Puts shorter periods, in order, together to those of `level`.
pub fn join(zone: &ParkZone, level: Level, parts: Vec<(Period, Partial)>) -> Vec<(Period, Partial)> {
    if level == Level::Hour {
        return parts;
    }
    let mut longer: Vec<(Period, Partial)> = Vec::new();
    for (period, part) in parts {
        match longer.last_mut() {
            Some((last, sum)) if period.start < last.end => sum.append(&part),
            _ => longer.push((zone.period_of(level, period.start), part)),
        }
    }
    longer
}

impl TotalsView for Totals {
    fn totals(&self, point: PointId, level: Level, from: UtcMillis, to: UtcMillis) -> Result<Vec<Total>, StoreError> {
        let Some(rule) = self.rules.get(&point) else { return Ok(Vec::new()) };
        let until = self.until();
        let latest = self.record.latest(point).map_or(UtcMillis(i64::MIN), |sample| sample.record_time);
        let closed =
            |end: UtcMillis| until >= end.plus(self.grace_ms) && (latest >= end || until >= end.plus(rule.hold_ms.max(self.grace_ms)));
        let parts = self.parts(rule, level, (from, to), until)?;
        Ok(parts.into_iter().map(|(period, part)| part.total(rule, period, closed(period.end), until)).collect())
    }

    fn closed_since(&self, cursor: u64, _: usize) -> Result<(u64, Vec<Total>), StoreError> {
        Ok((cursor, Vec::new()))
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
