//! Bytes of the parts of neighbouring periods, as `totals.db` keeps them: one row per point and longer period.
//!
//! Varints are LEB128, signed ones zigzag. A *number* (amount or register, 15 digits finer than the point) is a signed
//! varint of 128 bits, the whole steps of the point, and a varint, the rest.
//!
//! | part | form |
//! |---|---|
//! | version | 1 byte, 1 |
//! | periods | varint |
//! | each period | as below |
//! | CRC-32 | 4 bytes, little endian, of the key (level 1 byte, point 4, start 8) and all bytes before |
//!
//! | of a period | form |
//! |---|---|
//! | head | 1 byte: bits 0-1 kind (0 nothing, 1 counter, 2 gauge, 3 state), 2-3 worst quality + 1, 4 it begins where the one before ended (the first: at the row's start), 5 it is as long as the one before (the first: one hour), 6 of a counter: something was decided |
//! | begin, length | where the bits are not set: ms after that place, ms; varints |
//! | samples | varint |
//! | counter | flags, 2 bytes; then what they say is there: amount, lead, trail (numbers), ms from the period's start to where counting begins, ms from its end back to where it ends, gap ms, lost ms (varints), first and last register (numbers) |
//! | gauge | weighted sum (128 bits), covered ms, sum (128 bits), 1 byte whether there is a range, minimum, maximum - minimum |
//! | state | codes, and for each: code (signed), ms |

use parkgate_collector::model::{Quality, UtcMillis};

use super::partial::{CODES_MAX, CounterPart, EXTRA, GaugePart, Of, Partial, StatePart, Straddle};
use super::total::{Level, Period};
use crate::store::history::varint::{put, put_signed, put_signed_128, take, take_byte, take_signed, take_signed_128};

const VERSION: u8 = 1;
const HOUR_MS: i64 = 3_600_000;
/// Most periods that a row is read with; a day has 25 hours, a month 31 days.
const PERIODS_MAX: u64 = 64;

/// What a row is kept under; goes into its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowKey {
    /// Level of the periods in it.
    pub level: Level,
    /// Number of the point.
    pub point: u32,
    /// Start of the longer period.
    pub start: UtcMillis,
}

/// The bytes of a row.
pub fn encode(key: RowKey, parts: &[(Period, Partial)]) -> Vec<u8> {
    let mut out = vec![VERSION];
    put(&mut out, parts.len() as u64);
    let (mut place, mut length) = (key.start, HOUR_MS);
    for (period, part) in parts {
        let (begin, own) = (period.start.since(place), period.end.since(period.start));
        let kind = match part.of {
            Of::Nothing => 0u8,
            Of::Counter(_) => 1,
            Of::Gauge(_) => 2,
            Of::State(_) => 3,
        };
        let worst = part.worst.map_or(0, |worst| worst.code().saturating_add(1));
        let decided = matches!(part.of, Of::Counter(CounterPart { decided: true, .. }));
        out.push(kind | worst << 2 | u8::from(begin == 0) << 4 | u8::from(own == length) << 5 | u8::from(decided) << 6);
        if begin != 0 {
            put(&mut out, begin.unsigned_abs());
        }
        if own != length {
            put(&mut out, own.unsigned_abs());
        }
        put(&mut out, part.samples);
        match &part.of {
            Of::Nothing => {}
            Of::Counter(part) => put_counter(&mut out, *period, part),
            Of::Gauge(part) => {
                put_signed_128(&mut out, part.weighted);
                put(&mut out, part.covered_ms.unsigned_abs());
                put_signed_128(&mut out, part.sum);
                out.push(u8::from(part.range.is_some()));
                if let Some((min, max)) = part.range {
                    put_signed(&mut out, min);
                    put(&mut out, max.wrapping_sub(min) as u64);
                }
            }
            Of::State(part) => {
                put(&mut out, part.durations.len() as u64);
                for &(code, ms) in &part.durations {
                    put_signed(&mut out, code);
                    put(&mut out, ms.unsigned_abs());
                }
            }
        }
        (place, length) = (period.end, own);
    }
    let check = checksum(key, &out);
    out.extend_from_slice(&check);
    out
}

/// The parts of a row; `None` when its bytes are damaged.
pub fn decode(key: RowKey, bytes: &[u8]) -> Option<Vec<(Period, Partial)>> {
    let (bytes, check) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
    if checksum(key, bytes) != check {
        return None;
    }
    let input = &mut &bytes[..];
    (take_byte(input)? == VERSION).then_some(())?;
    let count = take(input).filter(|&count| count <= PERIODS_MAX)?;
    let (mut place, mut length) = (key.start, HOUR_MS);
    let mut parts = Vec::new();
    for _ in 0..count {
        let head = take_byte(input)?;
        let start = if head & 1 << 4 == 0 { place.plus(i64::try_from(take(input)?).ok()?) } else { place };
        let own = if head & 1 << 5 == 0 { i64::try_from(take(input)?).ok()? } else { length };
        let period = Period { level: key.level, start, end: start.plus(own) };
        let worst = (head >> 2 & 3).checked_sub(1).and_then(Quality::from_code);
        let samples = take(input)?;
        let of = match head & 3 {
            0 => Of::Nothing,
            1 => Of::Counter(CounterPart { decided: head & 1 << 6 != 0, ..take_counter(input, period)? }),
            2 => {
                let mut part = GaugePart { weighted: take_signed_128(input)?, covered_ms: take_ms(input)?, ..GaugePart::default() };
                part.sum = take_signed_128(input)?;
                if take_byte(input)? == 1 {
                    let min = take_signed(input)?;
                    part.range = Some((min, min.wrapping_add(take(input)? as i64)));
                }
                Of::Gauge(part)
            }
            _ => {
                let mut part = StatePart::default();
                for _ in 0..take(input).filter(|&codes| codes <= CODES_MAX as u64)? {
                    part.durations.push((take_signed(input)?, take_ms(input)?));
                }
                Of::State(part)
            }
        };
        parts.push((period, Partial { samples, worst, of }));
        (place, length) = (period.end, own);
    }
    input.is_empty().then_some(parts)
}

/// Bits of a counter's flags.
mod bit {
    pub(super) const AMOUNT: u16 = 1;
    pub(super) const LEAD: u16 = 1 << 1;
    pub(super) const LEAD_GAP: u16 = 1 << 2;
    pub(super) const TRAIL: u16 = 1 << 3;
    pub(super) const TRAIL_GAP: u16 = 1 << 4;
    pub(super) const WHOLE: u16 = 1 << 5;
    pub(super) const ROLLOVER: u16 = 1 << 6;
    pub(super) const EXCHANGED: u16 = 1 << 7;
    pub(super) const SUSPECT: u16 = 1 << 8;
    pub(super) const COVERED: u16 = 1 << 9;
    pub(super) const FROM_START: u16 = 1 << 10;
    pub(super) const TO_END: u16 = 1 << 11;
    pub(super) const GAP: u16 = 1 << 12;
    pub(super) const LOST: u16 = 1 << 13;
    pub(super) const REGISTERS: u16 = 1 << 14;
    /// The amount is the difference of the registers.
    pub(super) const PLAIN: u16 = 1 << 15;
}

fn put_counter(out: &mut Vec<u8>, period: Period, part: &CounterPart) {
    let plain = part.amount.is_some() && part.registers.is_some_and(|(first, last)| last.checked_sub(first) == part.amount);
    let mut flags = 0;
    for (bit, set) in [
        (bit::AMOUNT, part.amount.is_some()),
        (bit::LEAD, part.lead.is_some()),
        (bit::LEAD_GAP, part.lead.is_some_and(|lead| lead.gap)),
        (bit::TRAIL, part.trail.is_some()),
        (bit::TRAIL_GAP, part.trail.is_some_and(|trail| trail.gap)),
        (bit::WHOLE, part.whole),
        (bit::ROLLOVER, part.rollover),
        (bit::EXCHANGED, part.exchanged),
        (bit::SUSPECT, part.suspect),
        (bit::COVERED, part.covered.is_some()),
        (bit::FROM_START, part.covered.is_some_and(|(from, _)| from == period.start)),
        (bit::TO_END, part.covered.is_some_and(|(_, to)| to == period.end)),
        (bit::GAP, part.gap_ms != 0),
        (bit::LOST, part.lost_ms != 0),
        (bit::REGISTERS, part.registers.is_some()),
        (bit::PLAIN, plain),
    ] {
        if set {
            flags |= bit;
        }
    }
    out.extend_from_slice(&flags.to_le_bytes());
    if !plain {
        part.amount.into_iter().for_each(|amount| put_number(out, amount));
    }
    [part.lead, part.trail].into_iter().flatten().for_each(|straddle| put_number(out, straddle.amount));
    if let Some((from, to)) = part.covered {
        if from != period.start {
            put(out, from.since(period.start).unsigned_abs());
        }
        if to != period.end {
            put(out, period.end.since(to).unsigned_abs());
        }
    }
    [part.gap_ms, part.lost_ms].into_iter().filter(|&ms| ms != 0).for_each(|ms| put(out, ms.unsigned_abs()));
    if let Some((first, last)) = part.registers {
        put_number(out, first);
        put_number(out, last);
    }
}

fn take_counter(input: &mut &[u8], period: Period) -> Option<CounterPart> {
    let flags = u16::from_le_bytes([take_byte(input)?, take_byte(input)?]);
    let is = |bit: u16| flags & bit != 0;
    let mut part = CounterPart {
        whole: is(bit::WHOLE),
        rollover: is(bit::ROLLOVER),
        exchanged: is(bit::EXCHANGED),
        suspect: is(bit::SUSPECT),
        ..CounterPart::default()
    };
    if is(bit::AMOUNT) && !is(bit::PLAIN) {
        part.amount = Some(take_number(input)?);
    }
    if is(bit::LEAD) {
        part.lead = Some(Straddle { amount: take_number(input)?, gap: is(bit::LEAD_GAP) });
    }
    if is(bit::TRAIL) {
        part.trail = Some(Straddle { amount: take_number(input)?, gap: is(bit::TRAIL_GAP) });
    }
    if is(bit::COVERED) {
        let from = if is(bit::FROM_START) { period.start } else { period.start.plus(take_ms(input)?) };
        let to = if is(bit::TO_END) { period.end } else { period.end.plus(take_ms(input)?.checked_neg()?) };
        part.covered = Some((from, to));
    }
    if is(bit::GAP) {
        part.gap_ms = take_ms(input)?;
    }
    if is(bit::LOST) {
        part.lost_ms = take_ms(input)?;
    }
    if is(bit::REGISTERS) {
        part.registers = Some((take_number(input)?, take_number(input)?));
    }
    if is(bit::PLAIN) {
        let (first, last) = part.registers?;
        part.amount = Some(last.checked_sub(first)?);
    }
    Some(part)
}

fn put_number(out: &mut Vec<u8>, number: i128) {
    put_signed_128(out, number.div_euclid(EXTRA));
    put(out, number.rem_euclid(EXTRA) as u64);
}

fn take_number(input: &mut &[u8]) -> Option<i128> {
    take_signed_128(input)?.checked_mul(EXTRA)?.checked_add(i128::from(take(input)?))
}

fn take_ms(input: &mut &[u8]) -> Option<i64> {
    i64::try_from(take(input)?).ok()
}

fn checksum(key: RowKey, bytes: &[u8]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[key.level as u8]);
    hasher.update(&key.point.to_le_bytes());
    hasher.update(&key.start.0.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize().to_le_bytes()
}
