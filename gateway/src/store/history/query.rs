//! Reading: blocks and head as one, merged by key time.
//!
//! A block's key times are its record times, but for *skewed* ones (a device whose clock is off). So what may replace a
//! sample lies in blocks that overlap in record time, or in skewed blocks that overlap in key time; only where a skewed
//! sample is asked for, blocks around its key time count as well.
//!
//! Long ranges are read in pieces ([`Pieces`]), cut by the descriptions of blocks, so that little more is decoded than is
//! asked for. Where they are cut does not matter: a piece is merged with all that may replace its samples.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashSet};

use parkgate_collector::model::{PointId, Sample, UtcMillis};

use super::block::{Numbers, Rank, Stats};
use super::files::{self, BlockRow, FileKey};
use super::month::DAY_MS;
use super::{Inner, MonthFile, checkpoint};
use crate::store::{Bucket, StoreError};

type Range = (UtcMillis, UtcMillis);

/// One answer while it is made, and what damage it left out.
pub(super) struct Reading<'a> {
    inner: &'a Inner,
    left_out: RefCell<BTreeSet<String>>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(inner: &'a Inner) -> Self {
        Self { inner, left_out: RefCell::default() }
    }

    /// Damaged blocks and files that were left out so far; one that was met several times counts once.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out.borrow().len() as u64
    }

    fn damage(&self, what: String) {
        if !self.left_out.borrow().contains(&what) {
            self.inner.damage(&what);
            self.left_out.borrow_mut().insert(what);
        }
    }
}

/// Least number of samples in blocks that a piece of a scan is cut by; twice as many in each piece after the first.
const PIECE_SAMPLES_MIN: u64 = 512;
/// Samples in blocks that a piece of buckets is cut by: about 25 MB.
const PIECE_SAMPLES: u64 = 1 << 18;
/// Skewed key times further apart than this are looked for by themselves.
const KEYS_APART_MS: i64 = DAY_MS;

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
pub(super) fn scan(reading: &Reading<'_>, point: PointId, from: UtcMillis, to: UtcMillis, limit: usize) -> Result<Vec<Sample>, StoreError> {
    let layout = reading.inner.layout();
    let held = Held::of(reading.inner, point);
    let mut samples = Vec::new();
    let Some((start, end)) = extent(&layout, &held, from, to) else { return Ok(samples) };
    let mut pieces = Pieces::new(start, end);
    // What blocks have may have been replaced, so a piece can give fewer than are in its blocks.
    let mut least = PIECE_SAMPLES_MIN;
    while samples.len() < limit {
        let wanted = u64::try_from(limit.saturating_sub(samples.len())).unwrap_or(u64::MAX).max(least);
        let Some(((from, to), rows)) = pieces.next(reading, &layout, point, held.checkpoint, wanted)? else { break };
        scan_into(reading, &layout, &held, point, (from, to), rows, &mut samples)?;
        least = least.saturating_mul(2);
    }
    samples.truncate(limit);
    Ok(samples)
}

/// A range that is read piece by piece.
struct Pieces {
    start: UtcMillis,
    end: UtcMillis,
    /// Of the next piece at most, in milliseconds.
    width: i64,
}

impl Pieces {
    fn new(start: UtcMillis, end: UtcMillis) -> Self {
        Self { start, end, width: 2 * DAY_MS }
    }

    /// The next piece and the blocks that overlap it; `None` behind the last. Pieces grow while blocks have fewer samples
    /// than `wanted`; one that has more is cut behind the block that has the last of those.
    fn next(
        &mut self,
        reading: &Reading<'_>,
        layout: &[MonthFile],
        point: PointId,
        checkpoint: u64,
        wanted: u64,
    ) -> Result<Option<(Range, Vec<BlockRow>)>, StoreError> {
        if self.start >= self.end {
            return Ok(None);
        }
        let (start, mut stop) = (self.start, self.start.plus(self.width).min(self.end));
        let mut rows = rows_by_record(reading, layout, point, (start, stop.plus(-1)), checkpoint)?;
        rows.sort_by_key(|row| row.stats.start);
        let mut samples = 0u64;
        let last = rows.iter().find(|row| {
            samples = samples.saturating_add(row.stats.samples);
            samples >= wanted
        });
        match last.map(|row| row.stats.end.plus(1)).filter(|cut| *cut < stop) {
            Some(cut) => {
                stop = cut;
                rows.retain(|row| row.stats.start < cut);
                self.width = stop.since(start).max(2 * DAY_MS);
            }
            None => self.width = self.width.saturating_mul(2),
        }
        self.start = stop;
        Ok(Some(((start, stop), rows)))
    }
}

/// See [`crate::store::RecordView::buckets`].
pub(super) fn buckets(reading: &Reading<'_>, point: PointId, edges: &[UtcMillis]) -> Result<Vec<Bucket>, StoreError> {
    let mut filled = Filled { edges, numbers: vec![(0, Numbers::default()); edges.len().saturating_sub(1)] };
    let layout = reading.inner.layout();
    let held = Held::of(reading.inner, point);
    if let (Some(&from), Some(&to)) = (edges.first(), edges.last())
        && let Some((from, to)) = extent(&layout, &held, from, to)
    {
        let last = to.plus(-1);
        let mut rows = rows_by_record(reading, &layout, point, (from, last), held.checkpoint)?;
        let skewed = held.skewed
            || rows.iter().any(|row| row.skewed)
            || !skewed_rows(reading, &layout, point, (from, last), held.checkpoint)?.is_empty();
        if skewed {
            drop(rows);
            let mut pieces = Pieces::new(from, to);
            while let Some((piece, rows)) = pieces.next(reading, &layout, point, held.checkpoint, PIECE_SAMPLES)? {
                let mut samples = Vec::new();
                scan_into(reading, &layout, &held, point, piece, rows, &mut samples)?;
                filled.add(&samples);
            }
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
                if let ([row], []) = (&*cluster, &*beside) {
                    filled.add(&lonely(reading, point, row, from, to)?);
                    continue;
                }
                read_samples(reading, point, &cluster, &mut beside)?;
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

    /// Samples in order of record time.
    fn add(&mut self, samples: &[Sample]) {
        let mut rest = samples;
        while let Some(first) = rest.first() {
            let Some((end, (count, numbers))) = self.at(first.record_time) else {
                rest = rest.get(1..).unwrap_or_default();
                continue;
            };
            let (bucket, behind) = rest.split_at(rest.partition_point(|sample| sample.record_time < end));
            *count += bucket.len() as u64;
            numbers.add_all(bucket);
            rest = behind;
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
    reading: &Reading<'_>,
    layout: &[MonthFile],
    point: PointId,
    range: Range,
    checkpoint: u64,
) -> Result<Vec<(Rank, Sample)>, StoreError> {
    let mut rows = rows_by_record(reading, layout, point, range, checkpoint)?;
    rows.retain(|row| !row.skewed);
    rows.extend(skewed_rows(reading, layout, point, range, checkpoint)?);
    let mut samples = Vec::new();
    read_samples(reading, point, &rows, &mut samples)?;
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

/// Appends the merged samples with record time in `[from, to)`; `rows` are the blocks that overlap it.
fn scan_into(
    reading: &Reading<'_>,
    layout: &[MonthFile],
    held: &Held,
    point: PointId,
    (from, to): Range,
    mut rows: Vec<BlockRow>,
    out: &mut Vec<Sample>,
) -> Result<(), StoreError> {
    let skewed_keys = skewed_keys(&rows, held, from, to);
    let mut beyond = skewed_rows(reading, layout, point, (from, to.plus(-1)), held.checkpoint)?;
    for keys in skewed_keys {
        beyond.extend(skewed_rows(reading, layout, point, keys, held.checkpoint)?);
        beyond.extend(rows_by_record(reading, layout, point, keys, held.checkpoint)?);
    }
    let mut known: HashSet<(FileKey, i64)> = rows.iter().map(|row| (row.file, row.id)).collect();
    rows.extend(beyond.into_iter().filter(|row| known.insert((row.file, row.id))));
    rows.sort_by_key(|row| row.stats.start);
    let mut samples = Vec::with_capacity(rows.iter().map(|row| row.stats.samples as usize).sum::<usize>().min(1 << 20));
    read_samples(reading, point, &rows, &mut samples)?;
    samples.extend(held.samples.iter().copied());
    out.append(&mut merge(samples, from, to));
    Ok(())
}

/// The ranges of key times of skewed samples with record time in `[from, to)`, of which `rows` are the blocks.
fn skewed_keys(rows: &[BlockRow], held: &Held, from: UtcMillis, to: UtcMillis) -> Vec<Range> {
    let blocks = rows.iter().filter(|row| row.skewed).map(|row| (row.stats.key_start, row.stats.key_end));
    let asked = |sample: &Sample| from <= sample.record_time && sample.record_time < to && sample.key_time() != sample.record_time;
    let head =
        held.samples.iter().map(|(_, sample)| sample).filter(|sample| asked(sample)).map(|sample| (sample.key_time(), sample.key_time()));
    let mut keys: Vec<Range> = blocks.chain(head).collect();
    keys.sort_unstable();
    let mut apart: Vec<Range> = Vec::new();
    for (start, end) in keys {
        match apart.last_mut() {
            Some(last) if start.since(last.1) <= KEYS_APART_MS => last.1 = last.1.max(end),
            _ => apart.push((start, end)),
        }
    }
    apart
}

/// One sample per key time, the one of the greatest rank and the latest of that; those in `[from, to)`, by record time.
pub(super) fn merge(mut samples: Vec<(Rank, Sample)>, from: UtcMillis, to: UtcMillis) -> Vec<Sample> {
    let within = |sample: &Sample| from <= sample.record_time && sample.record_time < to;
    if is_merged(samples.iter().map(|(_, sample)| sample)) {
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

/// Whether samples are as merging leaves them, without a look at their keys: in order, each under its record time.
fn is_merged<'a>(samples: impl Iterator<Item = &'a Sample> + Clone) -> bool {
    samples.clone().all(|sample| sample.key_time() == sample.record_time)
        && samples.is_sorted_by(|one, next| one.record_time < next.record_time)
}

fn rows_by_record(
    reading: &Reading<'_>,
    layout: &[MonthFile],
    point: PointId,
    range: Range,
    checkpoint: u64,
) -> Result<Vec<BlockRow>, StoreError> {
    let mut rows = Vec::new();
    for file in layout {
        let month = file.key.month;
        if range.1 >= month.start() && (range.0 < month.end() || month.end().0 == i64::MAX) {
            read_file(reading, file.key, |connection| {
                files::rows_by_record(connection, file.key, point, range, checkpoint, &mut rows, &mut |what| reading.damage(what))
            })?;
        }
    }
    Ok(rows)
}

fn skewed_rows(
    reading: &Reading<'_>,
    layout: &[MonthFile],
    point: PointId,
    keys: Range,
    checkpoint: u64,
) -> Result<Vec<BlockRow>, StoreError> {
    let mut rows = Vec::new();
    for file in layout.iter().filter(|file| file.skewed) {
        read_file(reading, file.key, |connection| {
            files::rows_by_skewed_key(connection, file.key, point, keys, checkpoint, &mut rows, &mut |what| reading.damage(what))
        })?;
    }
    Ok(rows)
}

/// Appends the samples of blocks, in order of the rows; damaged blocks are reported and left out.
fn read_samples(reading: &Reading<'_>, point: PointId, rows: &[BlockRow], samples: &mut Vec<(Rank, Sample)>) -> Result<(), StoreError> {
    for of_file in rows.chunk_by(|a, b| a.file == b.file) {
        let Some(first) = of_file.first() else { continue };
        read_file(reading, first.file, |connection| {
            for row in of_file {
                let found = block_samples(reading, connection, point, row)?;
                samples.extend(found.into_iter().map(|sample| (row.stats.rank(row.id), sample)));
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Samples of a block; none of a damaged one, which is reported.
fn block_samples(
    reading: &Reading<'_>,
    connection: &rusqlite::Connection,
    point: PointId,
    row: &BlockRow,
) -> Result<Vec<Sample>, StoreError> {
    let found = files::block_samples(connection, point, row.id)?;
    if found.is_none() {
        reading.damage(format!("block {} of point {point} in {}", row.id, reading.inner.files.path(row.file).display()));
    }
    Ok(found.unwrap_or_default())
}

/// Samples of a block that has nothing beside it, with record time in `[from, to)`, merged.
fn lonely(reading: &Reading<'_>, point: PointId, row: &BlockRow, from: UtcMillis, to: UtcMillis) -> Result<Vec<Sample>, StoreError> {
    let mut samples = Vec::new();
    read_file(reading, row.file, |connection| {
        samples = block_samples(reading, connection, point, row)?;
        Ok(())
    })?;
    if is_merged(samples.iter()) {
        samples.truncate(samples.partition_point(|sample| sample.record_time < to));
        samples.drain(..samples.partition_point(|sample| sample.record_time < from));
        return Ok(samples);
    }
    let rank = row.stats.rank(row.id);
    Ok(merge(samples.into_iter().map(|sample| (rank, sample)).collect(), from, to))
}

/// Reads from a month file. What SQLite finds damaged is reported and left out, as damaged blocks are.
pub(super) fn read_file(
    reading: &Reading<'_>,
    key: FileKey,
    read: impl FnOnce(&rusqlite::Connection) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    match reading.inner.files.read(key, read) {
        Err(error) if files::is_damage(&error) => {
            reading.damage(format!("{}: {error}", reading.inner.files.path(key).display()));
            Ok(())
        }
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use parkgate_collector::journal::Sequence;

    use super::super::testing::{NOVEMBER, odd, sample};
    use super::super::{History, HistorySettings};
    use super::*;
    use crate::store::RecordView as _;

    const MINUTE: i64 = 60_000;

    /// Months of one old and one new point, dense and sparse, some of it late, some of it by clocks that are off.
    fn history(folder: &std::path::Path, random: &mut fastrand::Rng, skewed: bool) -> History {
        let history = History::open(folder, HistorySettings::default(), odd()).unwrap();
        let mut sequence = 0;
        for _ in 0..random.usize(4..12) {
            let point = random.u32(1..=2);
            // The new one began 40 days ago.
            let first = if point == 1 { random.i64(-200..0) } else { random.i64(-40..0) };
            let (start, step) = (NOVEMBER + first * DAY_MS, [1, 10, 600, 6_000][random.usize(0..4)] * MINUTE);
            let lag = if skewed && random.bool() { random.i64(-300..300) * DAY_MS } else { 0 };
            for number in 0..random.i64(1..1_500).min(300 * DAY_MS / step) {
                let mut one = sample(point, start + number * step, random.i64(0..9));
                if lag != 0 {
                    one.source_time = Some(one.record_time.plus(lag));
                }
                sequence += 1;
                history.apply_samples(Sequence(sequence), &[one]);
            }
            if random.u8(0..3) > 0 {
                history.checkpoint().unwrap();
            }
        }
        history
    }

    #[test]
    fn a_limit_gives_the_beginning_of_what_is_there() {
        for seed in 0..12 {
            let mut random = fastrand::Rng::with_seed(seed);
            let folder = tempfile::tempdir().unwrap();
            let history = history(folder.path(), &mut random, seed % 2 == 1);
            for point in [PointId(1), PointId(2)] {
                for _ in 0..20 {
                    let mut time = || match random.u8(0..6) {
                        0 => UtcMillis(i64::MIN),
                        1 => UtcMillis(i64::MAX),
                        _ => UtcMillis(NOVEMBER + random.i64(-250 * DAY_MS..300 * DAY_MS)),
                    };
                    let (from, to) = (time(), time());
                    let whole = history.scan(point, from, to, usize::MAX).unwrap();
                    for limit in [0, 1, 64, random.usize(0..3_000)] {
                        let part = history.scan(point, from, to, limit).unwrap();
                        assert!(part[..] == whole[..limit.min(whole.len())], "seed {seed} {point} {from} {to} {limit}");
                    }
                    let sum: i128 = whole.iter().filter_map(Sample::number).map(i128::from).sum();
                    if from < to {
                        let bucket = history.buckets(point, &[from, to]).unwrap()[0];
                        assert_eq!((bucket.samples, bucket.sum), (whole.len() as u64, sum), "seed {seed} {point} {from} {to}");
                    }
                }
            }
            assert_eq!(history.inner.counters.damaged.load(Ordering::Relaxed), 0);
        }
    }

    #[test]
    fn a_small_limit_reads_few_blocks() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::open(folder.path(), HistorySettings::default(), odd()).unwrap();
        // A point with months of its own before the other one begins, and reads each minute of 60 days.
        history.apply_samples(Sequence(1), &[sample(1, NOVEMBER - 300 * DAY_MS, 1)]);
        for minute in 0..60 * 1_440 {
            history.apply_samples(Sequence(minute as u64 + 2), &[sample(2, NOVEMBER + minute * MINUTE, minute)]);
        }
        history.checkpoint().unwrap();
        let inner = &history.inner;
        let layout = inner.layout();
        let held = Held::of(inner, PointId(2));
        let (start, end) = extent(&layout, &held, UtcMillis(i64::MIN), UtcMillis(i64::MAX)).unwrap();
        let mut pieces = Pieces::new(start, end);
        let mut read = 0;
        while let Some((_, rows)) = pieces.next(&Reading::new(inner), &layout, PointId(2), held.checkpoint, PIECE_SAMPLES_MIN).unwrap() {
            read = rows.iter().map(|row| row.stats.samples).sum();
            if read > 0 {
                break;
            }
        }
        assert!((1..2 * PIECE_SAMPLES_MIN).contains(&read), "{read}");
    }
}
