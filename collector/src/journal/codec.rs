//! Bytes of one record: in goes a [`Record`], out come the bytes of a frame's body, and back. Pure; never panics on
//! arbitrary bytes; what it cannot read is an error for the caller to count.
//!
//! # Format, version 1
//!
//! *Varint*: seven bits a byte, low bits first, top bit set on all bytes but the last, at most ten bytes. *Zigzag*: a
//! signed number as varint of `(n << 1) ^ (n >> 63)`. *Text*: varint of its bytes, then UTF-8. Fixed-width numbers are
//! little endian. The first byte is the kind:
//!
//! - 1 samples: catalogue version varint; boot id 8 bytes; monotonic ms varint; link 4 bytes; number of deliveries
//!   varint; per delivery packet id 2 bytes, hash 4 bytes; number of samples varint; received time of the first sample
//!   zigzag (only when there is one); then the samples.
//! - 2 link: link 4 bytes; up 1 byte (0, 1); time zigzag; device text; why text.
//! - 3 catalogue: version varint; time zigzag.
//! - 4 clock: boot id 8 bytes; monotonic ms varint; expected zigzag; found zigzag.
//! - 5 declared: time zigzag; kind text; body text.
//!
//! A sample is one control byte and what it asks for, in this order. "Before" is the sample before in the record; the
//! first one follows point `u32::MAX`, status bits 0, and a source time and received time equal to the record's first
//! received time.
//!
//! | bit | when 0 | when 1 |
//! |---|---|---|
//! | 0 | point: zigzag of the wrapping difference to before | point is the one before plus 1 |
//! | 1 | status bits as varint | status as before |
//! | 2 | received time: zigzag difference to before | received time as before |
//! | 3 | no source time | source time: by bit 4 |
//! | 4 | source time: zigzag difference to the last source time | the last source time again |
//! | 5 | record time: zigzag difference to source time, without one to received time | equal to that |
//! | 6-7 | value in zigzag form takes 1, 2, 4, 8 bytes (codes 0, 1, 2, 3), written last | |
//!
//! Differences of times wrap, so every `i64` survives.

#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::record::{CatalogueRecord, ClockRecord, DeclaredRecord, LinkRecord, Record, SampleRecord};
use crate::model::{Delivery, LinkKey, PointId, Sample, Status, UtcMillis};

const KIND_SAMPLES: u8 = 1;
const KIND_LINK: u8 = 2;
const KIND_CATALOGUE: u8 = 3;
const KIND_CLOCK: u8 = 4;
const KIND_DECLARED: u8 = 5;

const NEXT_POINT: u8 = 1;
const SAME_STATUS: u8 = 1 << 1;
const SAME_RECEIVED: u8 = 1 << 2;
const HAS_SOURCE: u8 = 1 << 3;
const SAME_SOURCE: u8 = 1 << 4;
const RECORD_IS_BASE: u8 = 1 << 5;
const WIDTH_SHIFT: u8 = 6;

/// Samples reserved for before their bytes are seen: a damaged count cannot ask for much memory.
const RESERVE_SAMPLES: usize = 16 * 1024;

/// Bytes that are no record of this version.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum CodecError {
    /// Ends before the record does.
    #[error("record ends early")]
    Short,
    /// Bytes are left behind the record.
    #[error("{0} bytes left behind the record")]
    Trailing(usize),
    /// A field holds what it cannot.
    #[error("bad {0}")]
    Bad(&'static str),
}

/// Appends the bytes of `record` to `out`.
pub fn encode(record: &Record, out: &mut Vec<u8>) {
    match record {
        Record::Samples(record) => encode_samples(record, out),
        Record::Link(record) => {
            out.push(KIND_LINK);
            out.extend_from_slice(&record.link.0.to_le_bytes());
            out.push(u8::from(record.up));
            put_zigzag(out, record.time.0);
            put_text(out, &record.device);
            put_text(out, &record.why);
        }
        Record::Catalogue(record) => {
            out.push(KIND_CATALOGUE);
            put_varint(out, u64::from(record.version));
            put_zigzag(out, record.time.0);
        }
        Record::Clock(record) => {
            out.push(KIND_CLOCK);
            out.extend_from_slice(&record.boot_id.to_le_bytes());
            put_varint(out, record.monotonic_ms);
            put_zigzag(out, record.expected.0);
            put_zigzag(out, record.found.0);
        }
        Record::Declared(record) => {
            out.push(KIND_DECLARED);
            put_zigzag(out, record.time.0);
            put_text(out, &record.kind);
            put_text(out, &record.body);
        }
    }
}

/// Reads one record from all of `body` into `record`, reusing its vectors where both are samples. After an error
/// `record` holds anything.
pub fn decode_into(body: &[u8], record: &mut Record) -> Result<(), CodecError> {
    let mut input = Input(body);
    match input.byte()? {
        KIND_SAMPLES => {
            if !matches!(record, Record::Samples(_)) {
                *record = Record::Samples(SampleRecord::default());
            }
            if let Record::Samples(record) = record {
                decode_samples(&mut input, record)?;
            }
        }
        KIND_LINK => {
            let link = LinkKey(u32::from_le_bytes(input.fixed()?));
            let up = match input.byte()? {
                0 => false,
                1 => true,
                _ => return Err(CodecError::Bad("link state")),
            };
            let time = input.time()?;
            *record = Record::Link(LinkRecord { link, up, time, device: input.text()?, why: input.text()? });
        }
        KIND_CATALOGUE => {
            *record = Record::Catalogue(CatalogueRecord { version: input.varint_u32("catalogue version")?, time: input.time()? });
        }
        KIND_CLOCK => {
            *record = Record::Clock(ClockRecord {
                boot_id: u64::from_le_bytes(input.fixed()?),
                monotonic_ms: input.varint()?,
                expected: input.time()?,
                found: input.time()?,
            });
        }
        KIND_DECLARED => {
            *record = Record::Declared(DeclaredRecord { time: input.time()?, kind: input.text()?, body: input.text()? });
        }
        _ => return Err(CodecError::Bad("kind")),
    }
    if input.0.is_empty() { Ok(()) } else { Err(CodecError::Trailing(input.0.len())) }
}

/// Reads one record from all of `body`.
pub fn decode(body: &[u8]) -> Result<Record, CodecError> {
    let mut record = Record::Samples(SampleRecord::default());
    decode_into(body, &mut record)?;
    Ok(record)
}

fn encode_samples(record: &SampleRecord, out: &mut Vec<u8>) {
    out.reserve(record.samples.len().saturating_mul(12).saturating_add(64));
    out.push(KIND_SAMPLES);
    put_varint(out, u64::from(record.catalogue_version));
    out.extend_from_slice(&record.boot_id.to_le_bytes());
    put_varint(out, record.monotonic_ms);
    out.extend_from_slice(&record.link.0.to_le_bytes());
    put_varint(out, length(record.deliveries.len()));
    for delivery in &record.deliveries {
        out.extend_from_slice(&delivery.packet_id.to_le_bytes());
        out.extend_from_slice(&delivery.hash.to_le_bytes());
    }
    put_varint(out, length(record.samples.len()));
    let Some(first) = record.samples.first() else { return };
    let base = first.received_time.0;
    put_zigzag(out, base);
    let mut before = Before::new(base);
    for sample in &record.samples {
        encode_sample(sample, &mut before, out);
    }
}

/// What the next sample is written against.
struct Before {
    point: u32,
    status: u16,
    received: i64,
    source: i64,
}

impl Before {
    fn new(base: i64) -> Self {
        Self { point: u32::MAX, status: 0, received: base, source: base }
    }
}

#[inline]
fn encode_sample(sample: &Sample, before: &mut Before, out: &mut Vec<u8>) {
    let value = zigzag(sample.value);
    let width = match value {
        0..=0xff => 0u8,
        0x100..=0xffff => 1,
        0x1_0000..=0xffff_ffff => 2,
        _ => 3,
    };
    let point_step = sample.point.0.wrapping_sub(before.point);
    let status = sample.status.bits();
    let received = sample.received_time.0;
    let base = sample.source_time.map_or(received, |time| time.0);
    let record = sample.record_time.0;

    let mut control = width.wrapping_shl(u32::from(WIDTH_SHIFT));
    control |= if point_step == 1 { NEXT_POINT } else { 0 };
    control |= if status == before.status { SAME_STATUS } else { 0 };
    control |= if received == before.received { SAME_RECEIVED } else { 0 };
    control |= if record == base { RECORD_IS_BASE } else { 0 };
    if let Some(source) = sample.source_time {
        control |= HAS_SOURCE | if source.0 == before.source { SAME_SOURCE } else { 0 };
    }
    out.push(control);
    if control & NEXT_POINT == 0 {
        put_zigzag(out, i64::from(point_step.cast_signed()));
    }
    if control & SAME_STATUS == 0 {
        put_varint(out, u64::from(status));
    }
    if control & SAME_RECEIVED == 0 {
        put_zigzag(out, received.wrapping_sub(before.received));
    }
    if let Some(source) = sample.source_time {
        if control & SAME_SOURCE == 0 {
            put_zigzag(out, source.0.wrapping_sub(before.source));
        }
        before.source = source.0;
    }
    if control & RECORD_IS_BASE == 0 {
        put_zigzag(out, record.wrapping_sub(base));
    }
    let bytes = value.to_le_bytes();
    let [b0, b1, b2, b3, ..] = bytes;
    match width {
        0 => out.push(b0),
        1 => out.extend_from_slice(&[b0, b1]),
        2 => out.extend_from_slice(&[b0, b1, b2, b3]),
        _ => out.extend_from_slice(&bytes),
    }
    before.point = sample.point.0;
    before.status = status;
    before.received = received;
}

fn decode_samples(input: &mut Input<'_>, record: &mut SampleRecord) -> Result<(), CodecError> {
    record.catalogue_version = input.varint_u32("catalogue version")?;
    record.boot_id = u64::from_le_bytes(input.fixed()?);
    record.monotonic_ms = input.varint()?;
    record.link = LinkKey(u32::from_le_bytes(input.fixed()?));
    record.deliveries.clear();
    record.samples.clear();
    for _ in 0..input.varint()? {
        let packet_id = u16::from_le_bytes(input.fixed()?);
        record.deliveries.push(Delivery { packet_id, hash: u32::from_le_bytes(input.fixed()?) });
    }
    let count = input.varint()?;
    if count == 0 {
        return Ok(());
    }
    record.samples.reserve(usize::try_from(count).unwrap_or(usize::MAX).min(RESERVE_SAMPLES));
    let base = input.zigzag()?;
    let mut before = Before::new(base);
    let mut known = Status::from_bits(0).ok_or(CodecError::Bad("status"))?;
    for _ in 0..count {
        let sample = decode_sample(input, &mut before, &mut known)?;
        record.samples.push(sample);
    }
    Ok(())
}

#[inline]
fn decode_sample(input: &mut Input<'_>, before: &mut Before, known: &mut Status) -> Result<Sample, CodecError> {
    let control = input.byte()?;
    let step = if control & NEXT_POINT == 0 { input.zigzag()? } else { 1 };
    let step = i32::try_from(step).map_err(|_| CodecError::Bad("point"))?;
    before.point = before.point.wrapping_add(step.cast_unsigned());
    if control & SAME_STATUS == 0 {
        let bits = u16::try_from(input.varint()?).map_err(|_| CodecError::Bad("status"))?;
        *known = Status::from_bits(bits).ok_or(CodecError::Bad("status"))?;
    }
    if control & SAME_RECEIVED == 0 {
        before.received = before.received.wrapping_add(input.zigzag()?);
    }
    let source_time = if control & HAS_SOURCE == 0 {
        None
    } else {
        if control & SAME_SOURCE == 0 {
            before.source = before.source.wrapping_add(input.zigzag()?);
        }
        Some(UtcMillis(before.source))
    };
    let mut record = source_time.map_or(before.received, |time| time.0);
    if control & RECORD_IS_BASE == 0 {
        record = record.wrapping_add(input.zigzag()?);
    }
    let value = match control >> WIDTH_SHIFT {
        0 => u64::from(input.byte()?),
        1 => u64::from(u16::from_le_bytes(input.fixed()?)),
        2 => u64::from(u32::from_le_bytes(input.fixed()?)),
        _ => u64::from_le_bytes(input.fixed()?),
    };
    Ok(Sample {
        point: PointId(before.point),
        status: *known,
        value: unzigzag(value),
        source_time,
        received_time: UtcMillis(before.received),
        record_time: UtcMillis(record),
    })
}

fn length(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[inline]
fn zigzag(value: i64) -> u64 {
    (value.wrapping_shl(1) ^ value.wrapping_shr(63)).cast_unsigned()
}

#[inline]
fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ (value & 1).cast_signed().wrapping_neg()
}

#[inline]
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[inline]
pub(crate) fn put_zigzag(out: &mut Vec<u8>, value: i64) {
    put_varint(out, zigzag(value));
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_bytes(out, text.as_bytes());
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, length(bytes.len()));
    out.extend_from_slice(bytes);
}

/// What is left to read.
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl<'a> Input<'a> {
    #[inline]
    pub(crate) fn byte(&mut self) -> Result<u8, CodecError> {
        let (&byte, rest) = self.0.split_first().ok_or(CodecError::Short)?;
        self.0 = rest;
        Ok(byte)
    }

    #[inline]
    pub(crate) fn fixed<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let (&bytes, rest) = self.0.split_first_chunk::<N>().ok_or(CodecError::Short)?;
        self.0 = rest;
        Ok(bytes)
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, CodecError> {
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(u64::from(first));
        }
        let mut value = u64::from(first & 0x7f);
        for shift in [7u32, 14, 21, 28, 35, 42, 49, 56] {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f).wrapping_shl(shift);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        match self.byte()? {
            last @ 0..=1 => Ok(value | u64::from(last).wrapping_shl(63)),
            _ => Err(CodecError::Bad("varint")),
        }
    }

    fn varint_u32(&mut self, what: &'static str) -> Result<u32, CodecError> {
        u32::try_from(self.varint()?).map_err(|_| CodecError::Bad(what))
    }

    #[inline]
    fn zigzag(&mut self) -> Result<i64, CodecError> {
        self.varint().map(unzigzag)
    }

    pub(crate) fn time(&mut self) -> Result<UtcMillis, CodecError> {
        self.zigzag().map(UtcMillis)
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], CodecError> {
        let length = usize::try_from(self.varint()?).map_err(|_| CodecError::Short)?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(CodecError::Short)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(crate) fn text(&mut self) -> Result<String, CodecError> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| CodecError::Bad("text"))
    }
}
