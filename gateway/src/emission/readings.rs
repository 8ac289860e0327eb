//! The readings that the pure core works on, from the record.

use std::sync::Arc;

use parkgate_collector::catalogue::Point;
use parkgate_collector::model::{Quality, Sample, UtcMillis};
use parkgate_rules::emission::{Reading, Readings, Series};

use super::span::to_core;
use crate::rollup::rule::is_timeless;
use crate::rollup::scan;
use crate::store::{RecordView, StoreError};

/// Readings of some points with record time in `[from, to)`, by the names that the configuration has for them.
///
/// # Errors
/// When the record cannot be read.
pub fn read(record: &dyn RecordView, points: &[(String, Arc<Point>)], from: UtcMillis, to: UtcMillis) -> Result<Readings, StoreError> {
    let mut readings = Readings::new();
    for (name, point) in points {
        let mut of_point = Vec::new();
        scan::each(record, point.id, from, to, |sample| of_point.push(reading(sample)))?;
        readings.insert(name.clone(), Series::of(u32::from(point.identity.decimals), of_point));
    }
    Ok(readings)
}

/// A sample as the core takes it: bad ones are there and never count. What was received under another clock than the
/// device's counts at the time that the record has it under.
fn reading(sample: &Sample) -> Reading {
    Reading { at: to_core(sample.record_time), value: sample.number(), good: sample.status.quality() != Quality::Bad, mark: None }
}

/// Record time of the first sample of any of these points; `None` when there is none. What a clock before `not_before`
/// stamped belongs to no time.
///
/// # Errors
/// When the record cannot be read.
pub fn first(record: &dyn RecordView, points: &[(String, Arc<Point>)], not_before: UtcMillis) -> Result<Option<UtcMillis>, StoreError> {
    let mut first: Option<UtcMillis> = None;
    for (_, point) in points {
        let mut found = record.scan(point.id, UtcMillis(i64::MIN), UtcMillis(i64::MAX), 1)?;
        if found.first().is_some_and(|sample| is_timeless(sample, not_before)) {
            found = record.scan(point.id, not_before, UtcMillis(i64::MAX), 1)?;
        }
        let time = found.first().map(|sample| sample.record_time);
        first = [first, time].into_iter().flatten().min();
    }
    Ok(first)
}

/// Greatest record time and greatest time of receipt of the latest samples of these points.
pub fn latest(record: &dyn RecordView, points: &[(String, Arc<Point>)]) -> Option<(UtcMillis, UtcMillis)> {
    let latest = points.iter().filter_map(|(_, point)| record.latest(point.id));
    latest.map(|sample| (sample.record_time, sample.received_time)).reduce(|one, other| (one.0.max(other.0), one.1.max(other.1)))
}
