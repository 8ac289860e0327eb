//! Nightly work, in slices that the reader of the journal can take between two entries: `state.db` is read again while
//! memory could still make a new one, late windows are closed, months beyond retention go, small blocks become bigger ones.
//!
//! No clock alone decides that a month goes: a clock can jump to 2099, for a second or until someone notices. A month is
//! beyond retention when it is too old by the clock *and* by the record: as many later months must be *lived through*,
//! that is, hold samples of two days or more and not lie in the future. So a jump deletes nothing, and a clock that stays
//! wrong makes at most as many months go early as it filled itself. Times without samples make months stay longer. What
//! counts is in the files, so it does not matter how often the program is started.
//!
//! When the disk runs short, one month after the other goes before its time ([`relieve`]), so that the journal need not
//! stop taking: retention acts first, but never on compliance records nor on the two newest months lived through.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use parkgate_collector::journal::Sequence;
use parkgate_collector::model::{PointId, UtcMillis};
use rusqlite::params;

use super::block::{self, Stats};
use super::files::{self, FileKey, SMALL_SAMPLES};
use super::month::Month;
use super::{Inner, WINDOW_SAMPLES, Writer, checkpoint, query};
use crate::store::StoreError;

/// Points whose small blocks are merged in one slice.
const POINTS_PER_SLICE: u32 = 50;

/// Retention leaves months before this one alone: this program did not exist then. Such samples were received before the
/// clock was set, and a person decides on them.
const FIRST_MONTH: Month = Month::new(2020, 1);

/// Where the night's work is.
#[derive(Debug, Default)]
pub(super) struct Night {
    /// Files still to be merged, the next one last; `None` when the night has not begun.
    files: Option<Vec<FileKey>>,
    /// Points of the present file up to here are done.
    point: i64,
}

/// See [`super::History::maintain`].
pub(super) fn slice(inner: &Inner, now: UtcMillis) -> Result<bool, StoreError> {
    let mut writer = inner.writer.lock().unwrap_or_else(PoisonError::into_inner);
    checkpoint::finish(inner, &mut writer)?;
    let result = match &writer.night.files {
        None => begin(inner, &mut writer, now).map(|()| true),
        Some(files) => match files.last().copied() {
            Some(key) => merge_slice(inner, &mut writer, key).map(|()| true),
            None => Ok(false),
        },
    };
    if !matches!(result, Ok(true)) {
        writer.night = Night::default();
    }
    result
}

fn begin(inner: &Inner, writer: &mut Writer, now: UtcMillis) -> Result<(), StoreError> {
    checkpoint::check_state(inner, writer)?;
    inner.head().close_windows(|window| window.late);
    retain(inner, writer, now)?;
    let files = inner.layout().iter().map(|file| file.key).collect();
    writer.night = Night { files: Some(files), point: -1 };
    Ok(())
}

/// Deletes months beyond retention (see the module); beyond the byte budget, the oldest months of other samples. The
/// last month that was lived through and later ones stay, and those before [`FIRST_MONTH`].
fn retain(inner: &Inner, writer: &mut Writer, now: UtcMillis) -> Result<(), StoreError> {
    let settings = &inner.settings;
    let present = Month::of(now);
    let (all, lived) = months(inner, present)?;
    let Some(&last) = lived.last() else { return Ok(()) };
    let mut keys: Vec<FileKey> = all.into_iter().filter(|key| FIRST_MONTH <= key.month && key.month < last).collect();
    // Other classes go before compliance, the oldest first.
    keys.sort_by_key(|key| (key.compliance, *key));
    let mut bytes: u64 = inner.layout().iter().map(|file| inner.files.bytes(file.key)).sum();
    for key in keys {
        let months = if key.compliance { settings.retention_months_compliance } else { settings.retention_months_other };
        let later = lived.range(key.month..).filter(|month| **month > key.month).count();
        let too_old = key.month < present.minus(months) && later > months as usize;
        let too_much = !key.compliance && settings.budget_bytes.is_some_and(|budget| bytes > budget);
        if too_old || too_much {
            bytes = bytes.saturating_sub(inner.files.bytes(key));
            delete(inner, writer, key)?;
            tracing::info!(file = %inner.files.path(key).display(), too_old, "month deleted by retention");
        }
    }
    Ok(())
}

/// See [`super::History::relieve`].
pub(super) fn relieve(inner: &Inner, now: UtcMillis) -> Result<bool, StoreError> {
    let mut writer = inner.writer.lock().unwrap_or_else(PoisonError::into_inner);
    // What a failed checkpoint left behind is dealt with first: it may be about the file that goes.
    checkpoint::finish(inner, &mut writer)?;
    let previous = Month::of(now).minus(1);
    let (all, lived) = months(inner, Month::of(now))?;
    let Some(&stays) = lived.iter().rev().nth(1) else { return Ok(false) };
    let may_go = |key: &&FileKey| !key.compliance && FIRST_MONTH <= key.month && key.month < stays.min(previous);
    let Some(&oldest) = all.iter().filter(may_go).min() else { return Ok(false) };
    let bytes = inner.files.bytes(oldest);
    delete(inner, &mut writer, oldest)?;
    // The night may be about to merge it.
    let night = &mut writer.night;
    if let Some(files) = &mut night.files {
        if files.last() == Some(&oldest) {
            night.point = -1;
        }
        files.retain(|file| *file != oldest);
    }
    inner.counters.files_relieved.fetch_add(1, Ordering::Relaxed);
    tracing::warn!(file = %inner.files.path(oldest).display(), bytes, "month deleted before its time: the disk is short");
    Ok(true)
}

/// All files, and the months up to the present one that were lived through.
fn months(inner: &Inner, present: Month) -> Result<(Vec<FileKey>, BTreeSet<Month>), StoreError> {
    let all: Vec<FileKey> = inner.layout().iter().map(|file| file.key).collect();
    let mut lived = BTreeSet::new();
    for &key in all.iter().filter(|key| key.month <= present) {
        // A damaged one is not counted: rather a month too many is kept.
        query::read_file(&query::Reading::new(inner), key, |connection| {
            if files::has_two_days(connection)? {
                lived.insert(key.month);
            }
            Ok(())
        })?;
    }
    Ok((all, lived))
}

fn delete(inner: &Inner, writer: &mut Writer, key: FileKey) -> Result<(), StoreError> {
    inner.step("delete")?;
    writer.months.close(key);
    inner.change_layout(|layout| {
        layout.retain(|file| file.key != key);
        inner.files.delete(key)
    })?;
    inner.counters.files_deleted.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// Merges the small blocks of some points of one file, in one transaction.
fn merge_slice(inner: &Inner, writer: &mut Writer, key: FileKey) -> Result<(), StoreError> {
    let committed = inner.head().checkpoint;
    let after = writer.night.point;
    let connection = writer.months.get(&inner.files, key)?;
    let points: Vec<u32> = connection
        .prepare_cached(
            "SELECT point FROM block WHERE small IS NOT NULL AND point > ?1 GROUP BY point HAVING count(*) > 1 ORDER BY point LIMIT ?2",
        )?
        .query_map(params![after, POINTS_PER_SLICE], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let Some(&last) = points.last() else {
        if let Some(files) = &mut writer.night.files {
            files.pop();
        }
        writer.night.point = -1;
        return Ok(());
    };
    // Held over reading and writing: a query sees all rows before, or all after.
    let layout = inner.layout.write().unwrap_or_else(PoisonError::into_inner);
    let skewed: Vec<FileKey> = layout.iter().filter(|file| file.skewed).map(|file| file.key).collect();
    let transaction = connection.transaction()?;
    let mut merged = 0;
    for point in points.into_iter().map(PointId) {
        // With skewed blocks about, rank alone would not order a merged block against them.
        let mut any_skewed = false;
        for &file in &skewed {
            any_skewed |= inner.files.read(file, |connection| {
                let mut statement = connection.prepare_cached("SELECT 1 FROM block WHERE skew_start IS NOT NULL AND point = ?1")?;
                Ok(statement.exists([point.0])?)
            })?;
        }
        if !any_skewed {
            merged += merge_point(inner, &transaction, key, point, committed)?;
        }
    }
    inner.step("merge commit")?;
    transaction.commit()?;
    inner.counters.merged.fetch_add(merged, Ordering::Relaxed);
    writer.night.point = i64::from(last);
    Ok(())
}

/// Merges neighbouring small blocks, and blocks that overlap them; the number of blocks that went into others.
fn merge_point(inner: &Inner, connection: &rusqlite::Connection, key: FileKey, point: PointId, committed: u64) -> Result<u64, StoreError> {
    let mut rows = Vec::new();
    let mut damaged = false;
    files::rows_by_record(connection, key, point, (key.month.start(), key.month.end()), committed, &mut rows, &mut |what| {
        inner.damage(&what);
        damaged = true;
    })?;
    if damaged {
        return Ok(0);
    }
    rows.sort_by_key(|row| (row.stats.start, row.stats.end));
    // Groups of blocks that overlap in time are indivisible.
    let mut groups: Vec<Vec<files::BlockRow>> = Vec::new();
    let mut end = UtcMillis(i64::MIN);
    for row in rows {
        match groups.last_mut() {
            Some(group) if row.stats.start <= end => group.push(row),
            _ => groups.push(vec![row]),
        }
        end = end.max(row.stats.end);
    }
    let count = |group: &[files::BlockRow]| group.iter().map(|row| row.stats.samples).sum::<u64>();
    let mut merged = 0;
    let mut pending: Vec<files::BlockRow> = Vec::new();
    for group in groups {
        let samples = count(&group);
        if !pending.is_empty() && count(&pending) + samples > u64::from(WINDOW_SAMPLES) {
            merged += merge_rows(inner, connection, point, &pending)?;
            pending.clear();
        }
        let worthwhile =
            group.len() > 1 && samples <= 2 * u64::from(WINDOW_SAMPLES) && group.iter().any(|row| row.stats.samples < SMALL_SAMPLES);
        if worthwhile || (group.len() == 1 && samples < SMALL_SAMPLES) {
            pending.extend(group);
        } else {
            merged += merge_rows(inner, connection, point, &pending)?;
            pending.clear();
        }
    }
    Ok(merged + merge_rows(inner, connection, point, &pending)?)
}

/// Replaces rows by one block.
fn merge_rows(inner: &Inner, connection: &rusqlite::Connection, point: PointId, rows: &[files::BlockRow]) -> Result<u64, StoreError> {
    let [first, _, ..] = rows else { return Ok(0) };
    let mut samples = Vec::new();
    for row in rows {
        let Some(found) = files::block_samples(connection, point, row.id)? else {
            inner.damage(&format!("block {} of point {point}", row.id));
            return Ok(0);
        };
        samples.extend(found.into_iter().map(|sample| (row.stats.rank(row.id), sample)));
    }
    let samples = query::merge(samples, UtcMillis(i64::MIN), UtcMillis(i64::MAX));
    let sequences = rows.iter().fold((first.stats.sequence_first, Sequence(0)), |(least, most), row| {
        (least.min(row.stats.sequence_first), most.max(row.stats.sequence_last))
    });
    let checkpoint = rows.iter().map(|row| row.stats.checkpoint).max().unwrap_or(0);
    // Its key times are apart from all other blocks', so what comes late from now on was written later: not late itself.
    let Some(stats) = Stats::of(&samples, checkpoint, false, sequences) else { return Ok(0) };
    let mut delete = connection.prepare_cached("DELETE FROM block WHERE id = ?1")?;
    for row in rows {
        delete.execute([row.id])?;
    }
    files::insert_block(connection, point, &stats, false, &block::encode(point, &samples))?;
    Ok(rows.len() as u64)
}
