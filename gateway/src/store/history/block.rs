//! Blocks: up to a few hundred samples of one point, sorted by record time, one per key time.
//!
//! A block is two byte strings in one row of a month file. Both end in the CRC-32 (little endian) of the point's number
//! (4 bytes, little endian) followed by all bytes before the CRC, so a row that wandered to another point is found out.
//! Varints are LEB128, signed ones zigzag; differences wrap at 64 bits.
//!
//! `data`:
//!
//! | part | form |
//! |---|---|
//! | version | 1 byte, 1 |
//! | count | varint, 1 to [`SAMPLES_MAX`] |
//! | record times, ms | column |
//! | values | column |
//! | source kinds | column: 0 no source time, 1 as record time, 2 its own |
//! | source - record of those of kind 2, ms | column; absent when there is none |
//! | received - record, ms | column |
//! | status bits | column |
//! | CRC-32 | 4 bytes |
//!
//! `stats`, what sums and searches need without decoding (columns are described in `column.rs`):
//!
//! | part | form |
//! |---|---|
//! | version | 1 byte, 1 |
//! | flags | 1 byte: bit 0 late |
//! | checkpoint | varint: the one that wrote it |
//! | samples, count | varint each; `count` are those with a number that are not bad |
//! | start | signed varint: least record time |
//! | end, key start, key end | signed varint each: less `start` |
//! | first sequence, last - first | varint each |
//! | only when count > 0: sum | signed varint of 128 bits |
//! | minimum, maximum - minimum | signed varint, varint |
//! | first time - start, first value - minimum | varint each |
//! | last time - start, last value - minimum | varint each |
//! | CRC-32 | 4 bytes |

use parkgate_collector::journal::Sequence;
use parkgate_collector::model::{PointId, Quality, Sample, Status, UtcMillis};

use super::{column, varint};

/// Most samples that a block is read with; we write at most [`super::WINDOW_SAMPLES`].
pub(super) const SAMPLES_MAX: usize = 4096;

const VERSION: u8 = 1;
const LATE: u8 = 1;

/// Orders samples with one key time, see `head.rs`: late, last and first sequence of the window, its place.
pub(super) type Rank = (bool, Sequence, Sequence, i64);

/// What a block holds, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stats {
    /// The checkpoint that wrote it.
    pub(super) checkpoint: u64,
    /// From a late window; see `head.rs` for what that means to merging.
    pub(super) late: bool,
    /// Samples of any quality.
    pub(super) samples: u64,
    /// Least and greatest record time.
    pub(super) start: UtcMillis,
    pub(super) end: UtcMillis,
    /// Least and greatest key time.
    pub(super) key_start: UtcMillis,
    pub(super) key_end: UtcMillis,
    /// Sequences of the journal that its samples came with.
    pub(super) sequence_first: Sequence,
    pub(super) sequence_last: Sequence,
    /// What can be summed.
    pub(super) numbers: Numbers,
}

/// Sum and extremes of the samples that have a number and are not bad, in order of record time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Numbers {
    pub(super) count: u64,
    pub(super) sum: i128,
    pub(super) min: i64,
    pub(super) max: i64,
    pub(super) first: Option<(UtcMillis, i64)>,
    pub(super) last: Option<(UtcMillis, i64)>,
}

impl Numbers {
    /// Counts samples in, in order of record time.
    pub(super) fn add_all(&mut self, samples: &[Sample]) {
        let numbers = || {
            let good = samples.iter().filter(|sample| sample.status.quality() != Quality::Bad);
            good.filter_map(|sample| Some((sample.record_time, sample.number()?)))
        };
        let Some(first) = numbers().next() else { return };
        let mut all = Self { count: 0, sum: 0, min: first.1, max: first.1, first: Some(first), last: None };
        for (time, value) in numbers() {
            all.count += 1;
            all.sum += i128::from(value);
            (all.min, all.max) = (all.min.min(value), all.max.max(value));
            all.last = Some((time, value));
        }
        self.append(&all);
    }

    /// Counts in what lies after all that was counted before.
    pub(super) fn append(&mut self, later: &Self) {
        if later.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = *later;
            return;
        }
        self.count += later.count;
        self.sum += later.sum;
        self.min = self.min.min(later.min);
        self.max = self.max.max(later.max);
        self.last = later.last;
    }
}

impl Stats {
    /// Of samples sorted by record time; `None` when there is none.
    pub(super) fn of(samples: &[Sample], checkpoint: u64, late: bool, sequences: (Sequence, Sequence)) -> Option<Self> {
        let mut numbers = Numbers::default();
        numbers.add_all(samples);
        Some(Self {
            checkpoint,
            late,
            samples: samples.len() as u64,
            start: samples.first()?.record_time,
            end: samples.last()?.record_time,
            key_start: samples.iter().map(Sample::key_time).min()?,
            key_end: samples.iter().map(Sample::key_time).max()?,
            sequence_first: sequences.0,
            sequence_last: sequences.1,
            numbers,
        })
    }

    /// Which of two samples with one key time wins: that of the greater rank. `place` orders what the same journal
    /// entries filled: the row in its file.
    pub(super) fn rank(&self, place: i64) -> Rank {
        (self.late, self.sequence_last, self.sequence_first, place)
    }

    /// The stored form.
    pub(super) fn encode(&self, point: PointId) -> Vec<u8> {
        let mut out = vec![VERSION, u8::from(self.late)];
        varint::put(&mut out, self.checkpoint);
        varint::put(&mut out, self.samples);
        varint::put(&mut out, self.numbers.count);
        varint::put_signed(&mut out, self.start.0);
        for time in [self.end, self.key_start, self.key_end] {
            varint::put_signed(&mut out, time.0.wrapping_sub(self.start.0));
        }
        varint::put(&mut out, self.sequence_first.0);
        varint::put(&mut out, self.sequence_last.0.wrapping_sub(self.sequence_first.0));
        if let Numbers { sum, min, max, first: Some(first), last: Some(last), .. } = self.numbers {
            varint::put_signed_128(&mut out, sum);
            varint::put_signed(&mut out, min);
            varint::put(&mut out, max.wrapping_sub(min) as u64);
            for (time, value) in [first, last] {
                varint::put(&mut out, time.0.wrapping_sub(self.start.0) as u64);
                varint::put(&mut out, value.wrapping_sub(min) as u64);
            }
        }
        seal(point, &mut out);
        out
    }

    /// Reads the stored form; `None` when it is damaged.
    pub(super) fn decode(point: PointId, bytes: &[u8]) -> Option<Self> {
        let input = &mut unseal(point, bytes)?;
        if varint::take_byte(input)? != VERSION {
            return None;
        }
        let late = varint::take_byte(input)? & LATE != 0;
        let checkpoint = varint::take(input)?;
        let samples = varint::take(input)?;
        let count = varint::take(input)?;
        let start = varint::take_signed(input)?;
        let mut time = || Some(UtcMillis(start.wrapping_add(varint::take_signed(input)?)));
        let (end, key_start, key_end) = (time()?, time()?, time()?);
        let sequence_first = varint::take(input)?;
        let sequence_last = sequence_first.wrapping_add(varint::take(input)?);
        let mut numbers = Numbers { count, ..Numbers::default() };
        if count > 0 {
            numbers.sum = varint::take_signed_128(input)?;
            numbers.min = varint::take_signed(input)?;
            numbers.max = numbers.min.wrapping_add(varint::take(input)? as i64);
            let mut one = || {
                let time = start.wrapping_add(varint::take(input)? as i64);
                Some((UtcMillis(time), numbers.min.wrapping_add(varint::take(input)? as i64)))
            };
            numbers.first = Some(one()?);
            numbers.last = Some(one()?);
        }
        input.is_empty().then_some(Self {
            checkpoint,
            late,
            samples,
            start: UtcMillis(start),
            end,
            key_start,
            key_end,
            sequence_first: Sequence(sequence_first),
            sequence_last: Sequence(sequence_last),
            numbers,
        })
    }
}

/// The `data` of samples of one point, sorted by record time, at most [`SAMPLES_MAX`] of them.
pub(super) fn encode(point: PointId, samples: &[Sample]) -> Vec<u8> {
    let column_of = |value: &dyn Fn(&Sample) -> i64| samples.iter().map(value).collect::<Vec<i64>>();
    let mut out = Vec::with_capacity(samples.len() * 2 + 64);
    out.push(VERSION);
    varint::put(&mut out, samples.len() as u64);
    column::encode_times(&column_of(&|sample| sample.record_time.0), &mut out);
    column::encode(&column_of(&|sample| sample.value), &mut out);
    column::encode(&column_of(&|sample| source_kind(sample)), &mut out);
    let own: Vec<i64> = samples
        .iter()
        .filter(|sample| source_kind(sample) == 2)
        .map(|sample| sample.key_time().0.wrapping_sub(sample.record_time.0))
        .collect();
    if !own.is_empty() {
        column::encode(&own, &mut out);
    }
    column::encode(&column_of(&|sample| sample.received_time.0.wrapping_sub(sample.record_time.0)), &mut out);
    column::encode(&column_of(&|sample| i64::from(sample.status.bits())), &mut out);
    seal(point, &mut out);
    out
}

/// Reads `data`; `None` when it is damaged.
pub(super) fn decode(point: PointId, bytes: &[u8]) -> Option<Vec<Sample>> {
    let input = &mut unseal(point, bytes)?;
    if varint::take_byte(input)? != VERSION {
        return None;
    }
    let count = usize::try_from(varint::take(input)?).ok().filter(|count| (1..=SAMPLES_MAX).contains(count))?;
    let records = column::decode(input, count)?;
    let values = column::decode(input, count)?;
    let kinds = column::decode(input, count)?;
    let own_count = kinds.iter().filter(|&&kind| kind == 2).count();
    let mut own = if own_count == 0 { Vec::new() } else { column::decode(input, own_count)? }.into_iter();
    let received = column::decode(input, count)?;
    let statuses = column::decode(input, count)?;
    if !input.is_empty() {
        return None;
    }
    let mut samples = Vec::with_capacity(count);
    for ((((record, value), kind), received), status) in records.into_iter().zip(values).zip(kinds).zip(received).zip(statuses) {
        let source_time = match kind {
            0 => None,
            1 => Some(UtcMillis(record)),
            2 => Some(UtcMillis(record.wrapping_add(own.next()?))),
            _ => return None,
        };
        samples.push(Sample {
            point,
            status: Status::from_bits(u16::try_from(status).ok()?)?,
            value,
            source_time,
            received_time: UtcMillis(record.wrapping_add(received)),
            record_time: UtcMillis(record),
        });
    }
    Some(samples)
}

/// Appends the CRC-32 of a row's bytes.
pub(super) fn seal(point: PointId, bytes: &mut Vec<u8>) {
    let crc = checksum(point, bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
}

/// The bytes without their CRC-32; `None` when it is wrong.
pub(super) fn unseal(point: PointId, bytes: &[u8]) -> Option<&[u8]> {
    let (body, crc) = bytes.split_last_chunk::<4>()?;
    (u32::from_le_bytes(*crc) == checksum(point, body)).then_some(body)
}

fn checksum(point: PointId, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&point.0.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

fn source_kind(sample: &Sample) -> i64 {
    match sample.source_time {
        None => 0,
        Some(source) if source == sample.record_time => 1,
        Some(_) => 2,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::any_sample;
    use super::*;

    const POINT: PointId = PointId(7);

    proptest! {
        #[test]
        fn samples_and_stats_come_back(mut samples in prop::collection::vec(any_sample(), 1..400), late in any::<bool>(), first in any::<u64>(), last in any::<u64>()) {
            samples.sort_by_key(|sample| sample.record_time);
            let data = encode(POINT, &samples);
            prop_assert_eq!(decode(POINT, &data), Some(samples.clone()));
            prop_assert_eq!(decode(PointId(8), &data), None);
            let stats = Stats::of(&samples, 3, late, (Sequence(first), Sequence(last))).unwrap();
            prop_assert_eq!(Stats::decode(POINT, &stats.encode(POINT)), Some(stats));
        }

        #[test]
        fn damage_is_found(samples in prop::collection::vec(any_sample(), 1..40), place in any::<prop::sample::Index>(), bit in 0u8..8, cut in any::<bool>()) {
            let mut data = encode(POINT, &samples);
            let place = place.index(data.len());
            if cut { data.truncate(place) } else { data[place] ^= 1 << bit }
            prop_assert_eq!(decode(POINT, &data), None);
        }
    }
}
