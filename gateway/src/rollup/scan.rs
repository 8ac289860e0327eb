//! The samples that some hours of a point need, read from the record in portions: those of the hours themselves, and the
//! nearest one that counts on either side.

use parkgate_collector::model::{PointId, Sample, UtcMillis};

use super::announced::{Ask, Known, came_in_time};
use super::count::Hours;
use super::counter::{Declared, Suspects};
use super::partial::Partial;
use super::rule::{PointRule, counts};
use super::total::{Level, Period};
use super::zone::ParkZone;
use crate::store::{RecordView, StoreError};

/// Samples read at once: 5 MB. A millisecond with more samples of one point than this gives the rest away.
const PORTION: usize = 100_000;
/// How far back the neighbour before is looked for at first; four times as far each time after that.
const BACK_MS: i64 = 2 * 3_600_000;
/// Samples read at first to find the neighbour behind.
const AHEAD: usize = 64;

/// Counts the hours that start in `[from, to)`, both of them starts of hours. `until`: as for [`Hours::finish`].
pub fn hours(
    view: &dyn RecordView,
    zone: &ParkZone,
    rule: &PointRule,
    declared: &Declared,
    range: (UtcMillis, UtcMillis),
    until: UtcMillis,
) -> Result<Vec<(Period, Partial)>, StoreError> {
    Ok(filled(view, zone, rule, declared, range)?.finish(until))
}

/// Pairs without a difference that nobody decided about, of the hours that start in `[from, to)` and across their ends.
pub fn suspects(
    view: &dyn RecordView,
    zone: &ParkZone,
    rule: &PointRule,
    declared: &Declared,
    range: (UtcMillis, UtcMillis),
) -> Result<Suspects, StoreError> {
    Ok(filled(view, zone, rule, declared, range)?.suspects())
}

fn filled<'a>(
    view: &dyn RecordView,
    zone: &ParkZone,
    rule: &PointRule,
    declared: &'a Declared,
    range: (UtcMillis, UtcMillis),
) -> Result<Hours<'a>, StoreError> {
    let mut known = Known::default();
    loop {
        let hours = fed(view, zone, rule, declared, range, known.clone())?;
        if let (Some(Ask { from, to }), None) = (hours.asks(), known.alone) {
            let in_time = |sample: &Sample| counts(sample).is_some() && came_in_time(sample);
            known = Known { alone: Some(first(view, rule.point, (from, to), in_time)?.is_none()), ..Known::default() };
        } else if let (Some(next), true) = (hours.next(), known.breaks.is_empty()) {
            known = next;
        } else {
            return Ok(hours);
        }
    }
}

fn fed<'a>(
    view: &dyn RecordView,
    zone: &ParkZone,
    rule: &PointRule,
    declared: &'a Declared,
    (from, to): (UtcMillis, UtcMillis),
    known: Known,
) -> Result<Hours<'a>, StoreError> {
    let periods: Vec<Period> = zone.periods(Level::Hour, from, to).collect();
    let mut hours = Hours::new(*rule, periods, declared, known);
    let before = register_before(view, declared, rule.point, from)?;
    if let Some(before) = before {
        hours.push(&before);
    }
    // Of wrong readings between it and the hours it may matter that one was the first of another meter.
    let begin = before.filter(|_| !declared.wrong.is_empty()).map_or(from, |before| before.record_time.plus(1));
    each(view, rule.point, begin, to, |sample| hours.push(sample))?;
    if let Some(after) = register_after(view, declared, rule.point, to)? {
        if !declared.wrong.is_empty() {
            each(view, rule.point, to, after.record_time, |sample| hours.push(sample))?;
        }
        hours.push(&after);
        // One that came late may be of the kind of the next one that did not.
        if rule.classified
            && !came_in_time(&after)
            && let Some(next) = in_time_after(view, declared, rule.point, after.record_time.plus(1))?
        {
            each(view, rule.point, after.record_time.plus(1), next.record_time.plus(1), |sample| hours.push(sample))?;
        }
    }
    Ok(hours)
}

/// The last sample before `time` that counts.
pub fn neighbour_before(view: &dyn RecordView, point: PointId, time: UtcMillis) -> Result<Option<Sample>, StoreError> {
    register_before(view, Declared::NONE, point, time)
}

/// The last sample before `time` with a register that pairs are formed with.
pub fn register_before(view: &dyn RecordView, declared: &Declared, point: PointId, time: UtcMillis) -> Result<Option<Sample>, StoreError> {
    last(view, point, time, |sample| declared.register(sample).is_some())
}

/// The last sample before `time` with a register that pairs are formed with and that did not come late.
pub fn in_time_before(view: &dyn RecordView, declared: &Declared, point: PointId, time: UtcMillis) -> Result<Option<Sample>, StoreError> {
    last(view, point, time, |sample| came_in_time(sample) && declared.register(sample).is_some())
}

/// The last sample before `time` that is wanted.
fn last(view: &dyn RecordView, point: PointId, time: UtcMillis, wanted: impl Fn(&Sample) -> bool) -> Result<Option<Sample>, StoreError> {
    let (mut end, mut width) = (time, BACK_MS);
    loop {
        let start = end.plus(width.saturating_neg());
        let mut found = None;
        each(view, point, start, end, |sample| {
            if wanted(sample) {
                found = Some(*sample);
            }
        })?;
        if found.is_some() || start.0 == i64::MIN {
            return Ok(found);
        }
        if width > BEFORE_ALL_MS {
            // Nothing for centuries: what is left is read from its beginning.
            (end, width) = (start, i64::MAX);
        } else {
            (end, width) = (start, width.saturating_mul(4));
        }
    }
}

/// Beyond so far back a search reads all the rest: 100 years.
const BEFORE_ALL_MS: i64 = 100 * 366 * 86_400_000;

/// The first sample at or after `time` that counts.
pub fn neighbour_after(view: &dyn RecordView, point: PointId, time: UtcMillis) -> Result<Option<Sample>, StoreError> {
    register_after(view, Declared::NONE, point, time)
}

/// The first sample at or after `time` with a register that pairs are formed with.
pub fn register_after(view: &dyn RecordView, declared: &Declared, point: PointId, time: UtcMillis) -> Result<Option<Sample>, StoreError> {
    first(view, point, (time, UtcMillis(i64::MAX)), |sample| declared.register(sample).is_some())
}

/// The first sample at or after `time` with a register that pairs are formed with and that did not come late.
pub fn in_time_after(view: &dyn RecordView, declared: &Declared, point: PointId, time: UtcMillis) -> Result<Option<Sample>, StoreError> {
    let wanted = |sample: &Sample| came_in_time(sample) && declared.register(sample).is_some();
    first(view, point, (time, UtcMillis(i64::MAX)), wanted)
}

/// The first sample of `[from, to)` that is wanted.
fn first(
    view: &dyn RecordView,
    point: PointId,
    (mut from, to): (UtcMillis, UtcMillis),
    wanted: impl Fn(&Sample) -> bool,
) -> Result<Option<Sample>, StoreError> {
    let mut limit = AHEAD;
    loop {
        let samples = view.scan(point, from, to, limit)?;
        if let Some(sample) = samples.iter().find(|sample| wanted(sample)) {
            return Ok(Some(*sample));
        }
        match samples.last() {
            Some(last) if samples.len() >= limit => from = last.record_time.plus(1),
            _ => return Ok(None),
        }
        limit = PORTION;
    }
}

/// Calls with each sample of `[from, to)`, in order of record time.
pub fn each(
    view: &dyn RecordView,
    point: PointId,
    mut from: UtcMillis,
    to: UtcMillis,
    mut call: impl FnMut(&Sample),
) -> Result<(), StoreError> {
    loop {
        let samples = view.scan(point, from, to, PORTION)?;
        let full = samples.len() >= PORTION;
        let last = samples.last().map(|sample| sample.record_time);
        let Some(last) = last.filter(|_| full) else {
            samples.iter().for_each(call);
            return Ok(());
        };
        // Those of the last millisecond stay together.
        let whole = samples.iter().take_while(|sample| sample.record_time < last);
        if samples.first().is_some_and(|first| first.record_time < last) {
            whole.for_each(&mut call);
            from = last;
        } else {
            samples.iter().for_each(&mut call);
            from = last.plus(1);
        }
    }
}
