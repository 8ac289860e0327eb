//! Reading: blocks and head as one, merged by key time.
//!
//! A block's key times are its record times, but for *skewed* ones (a device whose clock is off). So what may replace a
//! sample lies in blocks that overlap in record time, or in skewed blocks that overlap in key time; only where a skewed
//! sample is asked for, blocks around its key time count as well.

use parkgate_collector::model::{PointId, Sample, UtcMillis};

use super::block::{Numbers, Rank, Stats};
use super::files::{self, BlockRow, FileKey};
use super::month::DAY_MS;
use super::{Inner, MonthFile, checkpoint};
use crate::store::{Bucket, StoreError};

type Range = (UtcMillis, UtcMillis);

/// One point's samples that are not in blocks yet, and up to which checkpoint blocks count beside them.
struct Held {
    checkpoint: u64,
    samples: Vec<(Rank, Sample)>,
    skewed: bool,
}

impl Held {
    fn of(inner: &Inner, point: PointId) -> Self {
        let head = inner.head();
        let mut held = Self { checkpoint: head.checkpoint, samples: Vec::new(), skewed: false };
        for window in checkpoint::windows_of(&head, point) {
            held.skewed |= window.skewed;
            held.samples.extend(window.decode().map(|(_, sample)| (window.rank(), sample)));
        }
        held
    }
}

/// See [`crate::store::RecordView::scan`].
pub(super) fn scan(inner: &Inner, point: PointId, from: UtcMillis, to: UtcMillis, limit: usize) -> Result<Vec<Sample>, StoreError> {
    let layout = inner.layout();
    let held = Held::of(inner, point);
    let mut samples = Vec::new();
    let Some((mut start, end)) = extent(&layout, &held, from, to) else { return Ok(samples) };
    // In growing steps, so that a small limit does not read the whole range.
    let mut width = 2 * DAY_MS;
    while start < end && samples.len() < limit {
        let stop = start.plus(width).min(end);
        scan_into(inner, &layout, &held, point, start, stop, &mut samples)?;
        start = stop;
        width = width.saturating_mul(2);
    }
    samples.truncate(limit);
    Ok(samples)
}

/// See [`crate::store::RecordView::buckets`].
pub(super) fn buckets(inner: &Inner, point: PointId, edges: &[UtcMillis]) -> Result<Vec<Bucket>, StoreError> {
    let mut filled = Filled { edges, numbers: vec![(0, Numbers::default()); edges.len().saturating_sub(1)] };
    let layout = inner.layout();
    let held = Held::of(inner, point);
    if let (Some(&from), Some(&to)) = (edges.first(), edges.last())
        && let Some((from, to)) = extent(&layout, &held, from, to)
    {
        let last = to.plus(-1);
        let mut rows = rows_by_record(inner, &layout, point, (from, last), held.checkpoint)?;
        let skewed = held.skewed || rows.iter().any(|row| row.skewed) || {
            let keys = keys_of(&rows, &held, from, to);
            !skewed_rows(inner, &layout, point, keys, held.checkpoint)?.is_empty()
        };
        if skewed {
            let mut samples = Vec::new();
            scan_into(inner, &layout, &held, point, from, to, &mut samples)?;
            filled.add(&samples);
        } else {
            rows.sort_by_key(|row| row.stats.start);
            let mut in_head: Vec<(Rank, Sample)> =
                held.samples.into_iter().filter(|(_, sample)| from <= sample.record_time && sample.record_time < to).collect();
            in_head.sort_by_key(|(_, sample)| sample.record_time);
            let mut in_head = in_head.into_iter().peekable();
            let mut rows = rows.into_iter().peekable();
            // Blocks that overlap each other, and what the head has among them, are decoded together.
            while let Some(row) = rows.next() {
                let mut alone = Vec::new();
                while let Some(sample) = in_head.next_if(|(_, sample)| sample.record_time < row.stats.start) {
                    alone.push(sample);
                }
                filled.add(&merge(alone, from, to));
                let mut end = row.stats.end;
                let mut cluster = vec![row];
                let mut beside = Vec::new();
                loop {
                    if let Some(row) = rows.next_if(|row| row.stats.start <= end) {
                        end = end.max(row.stats.end);
                        cluster.push(row);
                    } else if let Some(sample) = in_head.next_if(|(_, sample)| sample.record_time <= end) {
                        beside.push(sample);
                    } else {
                        break;
                    }
                }
                if cluster.len() == 1 && beside.is_empty() && filled.add_block(&row.stats) {
                    continue;
                }
                read_samples(inner, point, &cluster, &mut beside)?;
                filled.add(&merge(beside, from, to));
            }
            filled.add(&merge(in_head.collect(), from, to));
        }
    }
    let bucket = |(pair, (samples, numbers)): (&[UtcMillis], (u64, Numbers))| Bucket {
        start: pair[0],
        end: pair[1],
        samples,
        count: numbers.count,
        sum: numbers.sum,
        min: numbers.min,
        max: numbers.max,
        first: numbers.first,
        last: numbers.last,
    };
    Ok(edges.windows(2).zip(filled.numbers).map(bucket).collect())
}

/// Buckets while they are filled, in order of record time.
struct Filled<'a> {
    edges: &'a [UtcMillis],
    numbers: Vec<(u64, Numbers)>,
}

impl Filled<'_> {
    /// The bucket of a time, and its end.
    fn at(&mut self, time: UtcMillis) -> Option<(UtcMillis, &mut (u64, Numbers))> {
        let next = self.edges.partition_point(|edge| *edge <= time);
        Some((*self.edges.get(next)?, self.numbers.get_mut(next.checked_sub(1)?)?))
    }

    fn add(&mut self, samples: &[Sample]) {
        for sample in samples {
            if let Some((_, (count, numbers))) = self.at(sample.record_time) {
                *count += 1;
                numbers.add(sample);
            }
        }
    }

    /// Adds a whole block by its stats; false, with nothing added, when it is not within one bucket.
    fn add_block(&mut self, stats: &Stats) -> bool {
        match self.at(stats.start) {
            Some((end, (count, numbers))) if stats.end < end => {
                *count += stats.samples;
                numbers.append(&stats.numbers);
                true
            }
            _ => false,
        }
    }
}

/// Samples of a point with key times within `[from, to]` that are in blocks, with their ranks, unmerged.
pub(super) fn samples_by_key(
    inner: &Inner,
    layout: &[MonthFile],
    point: PointId,
    range: Range,
    checkpoint: u64,
) -> Result<Vec<(Rank, Sample)>, StoreError> {
    let mut rows = rows_by_record(inner, layout, point, range, checkpoint)?;
    rows.retain(|row| !row.skewed);
    rows.extend(skewed_rows(inner, layout, point, range, checkpoint)?);
    let mut samples = Vec::new();
    read_samples(inner, point, &rows, &mut samples)?;
    samples.retain(|(_, sample)| range.0 <= sample.key_time() && sample.key_time() <= range.1);
    Ok(samples)
}

/// The part of `[from, to)` where there can be samples at all; `None` when it is empty.
fn extent(layout: &[MonthFile], held: &Held, from: UtcMillis, to: UtcMillis) -> Option<Range> {
    let times = held.samples.iter().map(|(_, sample)| sample.record_time);
    let first = layout.iter().map(|file| file.key.month.start()).chain(times.clone()).min()?;
    let end = layout.iter().map(|file| file.key.month.end()).chain(times.map(|time| time.plus(1))).max()?;
    let (from, to) = (from.max(first), to.min(end));
    (from < to).then_some((from, to))
}

/// Appends the merged samples with record time in `[from, to)`.
fn scan_into(
    inner: &Inner,
    layout: &[MonthFile],
    held: &Held,
    point: PointId,
    from: UtcMillis,
    to: UtcMillis,
    out: &mut Vec<Sample>,
) -> Result<(), StoreError> {
    let mut rows = rows_by_record(inner, layout, point, (from, to.plus(-1)), held.checkpoint)?;
    let keys = keys_of(&rows, held, from, to);
    let mut beyond = skewed_rows(inner, layout, point, keys, held.checkpoint)?;
    if held.skewed || rows.iter().any(|row| row.skewed) {
        beyond.extend(rows_by_record(inner, layout, point, keys, held.checkpoint)?);
    }
    for row in beyond {
        if !rows.iter().any(|one| (one.file, one.id) == (row.file, row.id)) {
            rows.push(row);
        }
    }
    rows.sort_by_key(|row| row.stats.start);
    let mut samples = Vec::with_capacity(rows.iter().map(|row| row.stats.samples as usize).sum::<usize>().min(1 << 20));
    read_samples(inner, point, &rows, &mut samples)?;
    samples.extend(held.samples.iter().copied());
    out.append(&mut merge(samples, from, to));
    Ok(())
}

/// The range of key times of the samples asked for.
fn keys_of(rows: &[BlockRow], held: &Held, from: UtcMillis, to: UtcMillis) -> Range {
    let mut keys = (from, to.plus(-1));
    let blocks = rows.iter().filter(|row| row.skewed).flat_map(|row| [row.stats.key_start, row.stats.key_end]);
    let head = held.samples.iter().filter(|_| held.skewed).map(|(_, sample)| sample.key_time());
    for key in blocks.chain(head) {
        keys = (keys.0.min(key), keys.1.max(key));
    }
    keys
}

/// One sample per key time, the one of the greatest rank and the latest of that; those in `[from, to)`, by record time.
pub(super) fn merge(mut samples: Vec<(Rank, Sample)>, from: UtcMillis, to: UtcMillis) -> Vec<Sample> {
    let within = |sample: &Sample| from <= sample.record_time && sample.record_time < to;
    let plain = |(_, sample): &(Rank, Sample)| sample.key_time() == sample.record_time;
    if samples.iter().all(plain) && samples.windows(2).all(|pair| pair[0].1.record_time < pair[1].1.record_time) {
        return samples.into_iter().map(|(_, sample)| sample).filter(within).collect();
    }
    // Stable: within one block or window the later stays later.
    samples.sort_by_key(|(rank, sample)| (sample.key_time(), *rank));
    let mut winners: Vec<Sample> = Vec::with_capacity(samples.len());
    for (_, sample) in samples {
        match winners.last_mut() {
            Some(last) if last.key_time() == sample.key_time() => *last = sample,
            _ => winners.push(sample),
        }
    }
    winners.retain(within);
    winners.sort_by_key(|sample| (sample.record_time, sample.key_time()));
    winners
}

fn rows_by_record(inner: &Inner, layout: &[MonthFile], point: PointId, range: Range, checkpoint: u64) -> Result<Vec<BlockRow>, StoreError> {
    let mut rows = Vec::new();
    for file in layout {
        let month = file.key.month;
        if range.1 >= month.start() && (range.0 < month.end() || month.end().0 == i64::MAX) {
            read_file(inner, file.key, |connection| {
                files::rows_by_record(connection, file.key, point, range, checkpoint, &mut rows, &mut |what| inner.damage(&what))
            })?;
        }
    }
    Ok(rows)
}

fn skewed_rows(inner: &Inner, layout: &[MonthFile], point: PointId, keys: Range, checkpoint: u64) -> Result<Vec<BlockRow>, StoreError> {
    let mut rows = Vec::new();
    for file in layout.iter().filter(|file| file.skewed) {
        read_file(inner, file.key, |connection| {
            files::rows_by_skewed_key(connection, file.key, point, keys, checkpoint, &mut rows, &mut |what| inner.damage(&what))
        })?;
    }
    Ok(rows)
}

/// Appends the samples of blocks, in order of the rows; damaged blocks are reported and left out.
fn read_samples(inner: &Inner, point: PointId, rows: &[BlockRow], samples: &mut Vec<(Rank, Sample)>) -> Result<(), StoreError> {
    for of_file in rows.chunk_by(|a, b| a.file == b.file) {
        let Some(first) = of_file.first() else { continue };
        read_file(inner, first.file, |connection| {
            for row in of_file {
                match files::block_samples(connection, point, row.id)? {
                    Some(found) => samples.extend(found.into_iter().map(|sample| (row.stats.rank(row.id), sample))),
                    None => inner.damage(&format!("block {} of point {point} in {}", row.id, inner.files.path(row.file).display())),
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Reads from a month file. What SQLite finds damaged is reported and left out, as damaged blocks are.
pub(super) fn read_file(
    inner: &Inner,
    key: FileKey,
    read: impl FnOnce(&rusqlite::Connection) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    match inner.files.read(key, read) {
        Err(error) if files::is_damage(&error) => {
            inner.damage(&format!("{}: {error}", inner.files.path(key).display()));
            Ok(())
        }
        result => result,
    }
}
