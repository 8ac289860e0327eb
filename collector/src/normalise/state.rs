//! The normaliser's memory as bytes, so that it survives a restart. Little endian throughout.
//!
//! ```text
//! offset size
//!      0    4  magic "PGNS"
//!      4    2  version, 3; 2 is the same without lines, 1 without watches and formulas
//!      6    2  zero
//!      8    4  length of the body
//!     12    4  CRC-32 of the body
//!     16       body:
//!              u64 position of the journal that the state stands at
//!              u32 links, each:   u32 link key; u32 count; count * (u16 packet id, u32 hash)
//!              u32 devices, each: u16 length; id in UTF-8; u8 has (1 window, 2 anchor, 4 line);
//!                                 window: i64 start, i64 received, i64 source; anchor: i64 received, i64 source;
//!                                 line: i64 received, i64 lead, i64 newest;
//!                                 u8 count; count * i64 offset
//!              u32 points, each:  u32 point id; u8 has (1 unstamped, 2 base, 4 previous, 8 exchange);
//!                                 unstamped: i64 record, i64 received; base: i64 time, i64 value, u8 step; previous: i64 time, i64 value;
//!                                 exchange: i64; u8 count; count * (i64 source time, i64 value, u16 tag)
//!              u32 watches, each: u32 point id; mark; u8 has run; run: i64 since, i64 until, i64 value
//!              u32 formulas, each: u32 point id; u8 has closed; closed: i64; u32 count;
//!                                 count * (u32 point id, u8 has (1 mark, 2 new), mark)
//!              mark: i64 record, i64 received, i64 value, u16 status
//! ```
//!
//! Times are UTC milliseconds, values mantissas. Rings are written oldest first. Anything else than exactly this is
//! refused as a whole: the caller then starts clean, which costs repeats and first steps, never samples.

use thiserror::Error;

use super::counter::Register;
use super::dedup::Seen;
use super::derive::{Held, Memory};
use super::time::{Line, Stamp, Unstamped};
use super::watch::{Mark, Run, Watch};
use super::{Normaliser, PointState};
use crate::model::{Delivery, LinkKey, PointId, Status, Step, UtcMillis};

const MAGIC: [u8; 4] = *b"PGNS";
const VERSION: u16 = 3;
/// Without lines of devices, which need no mark: then none has one.
const VERSION_BEFORE_LINES: u16 = 2;
/// Without watches and formulas.
const VERSION_BEFORE_RULES: u16 = 1;
const HEADER_BYTES: usize = 16;

/// Why a snapshot was not taken in.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RestoreError {
    /// Not one of ours, cut short, or changed on the way.
    #[error("normaliser state is damaged: {0}")]
    Damaged(&'static str),
    /// Written by another version of the program.
    #[error("normaliser state has version {found}, this program knows {VERSION}")]
    Version {
        /// The version found.
        found: u16,
    },
}

impl Normaliser {
    /// The whole memory as bytes, with the `position` (journal sequence) up to which samples were taken in. From there
    /// on [`Normaliser::observe`] brings a restored memory up to date.
    pub fn snapshot(&self, position: u64) -> Vec<u8> {
        let mut body = Vec::new();
        put(&mut body, position.to_le_bytes());
        put_count(&mut body, self.links.len());
        for (link, recent) in &self.links {
            put(&mut body, link.0.to_le_bytes());
            put_count(&mut body, recent.len());
            for delivery in recent.iter() {
                put(&mut body, delivery.packet_id.to_le_bytes());
                put(&mut body, delivery.hash.to_le_bytes());
            }
        }
        let devices = self.device_index.iter().filter_map(|(id, &index)| Some((id, self.devices.get(index)?)));
        put_count(&mut body, devices.clone().count());
        for (id, clock) in devices {
            // Ids are short by the rules of the catalogue; a longer one would be refused when read.
            put(&mut body, u16::try_from(id.len()).unwrap_or(u16::MAX).to_le_bytes());
            body.extend_from_slice(id.as_bytes());
            let [window, anchor, line] = [clock.window.is_some(), clock.anchor.is_some(), clock.line.is_some()].map(u8::from);
            put(&mut body, [window | anchor << 1 | line << 2]);
            if let Some((start, stamp)) = clock.window {
                put_all(&mut body, &[start, stamp.received, stamp.source]);
            }
            if let Some(stamp) = clock.anchor {
                put_all(&mut body, &[stamp.received, stamp.source]);
            }
            if let Some(line) = clock.line {
                put_all(&mut body, &[line.received, line.lead, line.newest]);
            }
            put(&mut body, [u8::try_from(clock.offsets.len()).unwrap_or(u8::MAX)]);
            for &offset in clock.offsets.iter() {
                put(&mut body, offset.to_le_bytes());
            }
        }
        put_count(&mut body, self.slots.iter().flatten().count());
        for (id, slot) in (0u32..).zip(&self.slots) {
            if let Some(slot) = slot {
                put(&mut body, id.to_le_bytes());
                put_point(&mut body, &slot.state);
            }
        }
        self.put_rules(&mut body);
        let mut bytes = Vec::with_capacity(body.len().saturating_add(HEADER_BYTES));
        put(&mut bytes, MAGIC);
        put(&mut bytes, VERSION.to_le_bytes());
        put(&mut bytes, [0; 2]);
        put_count(&mut bytes, body.len());
        put(&mut bytes, crc32fast::hash(&body).to_le_bytes());
        bytes.extend_from_slice(&body);
        bytes
    }

    /// Takes a snapshot in and returns its position. Links, points and devices that the catalogue no longer knows are
    /// left out. After an error the memory is empty, as of a first start.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<u64, RestoreError> {
        self.clear();
        let result = self.read(bytes);
        if result.is_err() {
            self.clear();
        }
        result
    }

    fn read(&mut self, bytes: &[u8]) -> Result<u64, RestoreError> {
        let mut input = Input(bytes);
        if input.array()? != MAGIC {
            return Err(RestoreError::Damaged("not a state file"));
        }
        let found = u16::from_le_bytes(input.array()?);
        if ![VERSION, VERSION_BEFORE_LINES, VERSION_BEFORE_RULES].contains(&found) {
            return Err(RestoreError::Version { found });
        }
        if input.array()? != [0; 2] {
            return Err(RestoreError::Damaged("header"));
        }
        let (length, crc) = (input.count()?, u32::from_le_bytes(input.array()?));
        if input.0.len() != length {
            return Err(RestoreError::Damaged("length"));
        }
        if crc32fast::hash(input.0) != crc {
            return Err(RestoreError::Damaged("checksum"));
        }
        let position = u64::from_le_bytes(input.array()?);
        for _ in 0..input.count()? {
            let recent = self.links.entry(LinkKey(u32::from_le_bytes(input.array()?))).or_default();
            for _ in 0..input.count()? {
                recent.push(Delivery { packet_id: u16::from_le_bytes(input.array()?), hash: u32::from_le_bytes(input.array()?) });
            }
        }
        for _ in 0..input.count()? {
            let length = usize::from(u16::from_le_bytes(input.array()?));
            let id = std::str::from_utf8(input.slice(length)?).map_err(|_| RestoreError::Damaged("device id"))?;
            let mut unknown = super::time::DeviceClock::default();
            let known = self.device_index.get(id).and_then(|&index| self.devices.get_mut(index));
            let clock = known.unwrap_or(&mut unknown);
            let [has] = input.array()?;
            if has & 1 != 0 {
                clock.window = Some((input.i64()?, input.stamp()?));
            }
            if has & 2 != 0 {
                clock.anchor = Some(input.stamp()?);
            }
            if has & 4 != 0 {
                clock.line = Some(Line { received: input.i64()?, lead: input.i64()?, newest: input.i64()? });
            }
            let [count] = input.array()?;
            for _ in 0..count {
                clock.push_offset(input.i64()?);
            }
        }
        for _ in 0..input.count()? {
            let id = PointId(u32::from_le_bytes(input.array()?));
            let state = input.point()?;
            if let Some(slot) = self.slots.get_mut(id.index()).and_then(Option::as_mut) {
                slot.state = state;
            }
        }
        if found != VERSION_BEFORE_RULES {
            self.read_rules(&mut input)?;
        }
        if input.0.is_empty() { Ok(position) } else { Err(RestoreError::Damaged("bytes left over")) }
    }
}

impl Normaliser {
    fn put_rules(&self, body: &mut Vec<u8>) {
        let slots = || self.slots.iter().zip(0u32..).filter_map(|(slot, id)| Some((slot.as_ref()?, id)));
        let watches = || slots().filter_map(|(slot, id)| Some((slot.state.watch.as_deref()?, id)));
        put_count(body, watches().count());
        for (watch, id) in watches() {
            put(body, id.to_le_bytes());
            put_mark(body, &watch.last);
            put(body, [u8::from(watch.run.is_some())]);
            if let Some(run) = watch.run {
                put_all(body, &[run.since.0, run.until.0, run.value]);
            }
        }
        let formulas = || slots().filter_map(|(slot, id)| Some((&slot.derived.as_deref()?.memory, id)));
        put_count(body, formulas().count());
        for (memory, id) in formulas() {
            put(body, id.to_le_bytes());
            put(body, [u8::from(memory.closed.is_some())]);
            if let Some(closed) = memory.closed {
                put(body, closed.0.to_le_bytes());
            }
            put_count(body, memory.held.len());
            for held in &memory.held {
                put(body, held.point.0.to_le_bytes());
                put(body, [u8::from(held.newest.is_some()) | u8::from(held.is_new) << 1]);
                if let Some(mark) = &held.newest {
                    put_mark(body, mark);
                }
            }
        }
    }

    fn read_rules(&mut self, input: &mut Input<'_>) -> Result<(), RestoreError> {
        for _ in 0..input.count()? {
            let id = PointId(u32::from_le_bytes(input.array()?));
            let last = input.mark()?;
            let run = match input.array()? {
                [0] => None,
                [_] => Some(Run { since: UtcMillis(input.i64()?), until: UtcMillis(input.i64()?), value: input.i64()? }),
            };
            if let Some(slot) = self.slots.get_mut(id.index()).and_then(Option::as_mut).filter(|slot| slot.rules.is_some()) {
                slot.state.watch = Some(Box::new(Watch { last, run }));
            }
        }
        for _ in 0..input.count()? {
            let id = PointId(u32::from_le_bytes(input.array()?));
            let closed = match input.array()? {
                [0] => None,
                [_] => Some(UtcMillis(input.i64()?)),
            };
            let mut memory = Memory { held: Vec::new(), closed };
            for _ in 0..input.count()? {
                let point = PointId(u32::from_le_bytes(input.array()?));
                let [has] = input.array()?;
                let newest = if has & 1 != 0 { Some(input.mark()?) } else { None };
                memory.held.push(Held { point, newest, is_new: has & 2 != 0 });
            }
            if let Some(derived) = self.slots.get_mut(id.index()).and_then(Option::as_mut).and_then(|slot| slot.derived.as_mut()) {
                derived.keep(&memory);
            }
        }
        Ok(())
    }
}

fn put_mark(body: &mut Vec<u8>, mark: &Mark) {
    put_all(body, &[mark.record.0, mark.received.0, mark.value]);
    put(body, mark.status.bits().to_le_bytes());
}

fn put<const N: usize>(bytes: &mut Vec<u8>, value: [u8; N]) {
    bytes.extend_from_slice(&value);
}

fn put_all(bytes: &mut Vec<u8>, values: &[i64]) {
    for value in values {
        put(bytes, value.to_le_bytes());
    }
}

fn put_count(bytes: &mut Vec<u8>, count: usize) {
    // More than u32::MAX entries do not fit in memory; such a snapshot would be refused when read.
    put(bytes, u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
}

fn put_point(body: &mut Vec<u8>, state: &PointState) {
    let counter = state.counter();
    let has = u8::from(state.last_unstamped.is_some())
        | u8::from(counter.base.is_some()) << 1
        | u8::from(counter.previous.is_some()) << 2
        | u8::from(counter.exchange_at.is_some()) << 3;
    put(body, [has]);
    if let Some(last) = state.last_unstamped {
        put_all(body, &[last.record.0, last.received.0]);
    }
    if let Some((register, step)) = counter.base {
        put_all(body, &[register.time.0, register.value]);
        put(body, [step.code()]);
    }
    if let Some(register) = counter.previous {
        put_all(body, &[register.time.0, register.value]);
    }
    if let Some(time) = counter.exchange_at {
        put(body, time.0.to_le_bytes());
    }
    put(body, [u8::try_from(state.recent.len()).unwrap_or(u8::MAX)]);
    for seen in state.recent.iter() {
        put_all(body, &[seen.source_time, seen.value]);
        put(body, seen.tag.to_le_bytes());
    }
}

/// Bytes still to be read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn slice(&mut self, length: usize) -> Result<&'a [u8], RestoreError> {
        let (head, rest) = self.0.split_at_checked(length).ok_or(RestoreError::Damaged("too short"))?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RestoreError> {
        let (head, rest) = self.0.split_first_chunk().ok_or(RestoreError::Damaged("too short"))?;
        self.0 = rest;
        Ok(*head)
    }

    fn count(&mut self) -> Result<usize, RestoreError> {
        usize::try_from(u32::from_le_bytes(self.array()?)).map_err(|_| RestoreError::Damaged("count"))
    }

    fn i64(&mut self) -> Result<i64, RestoreError> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    fn stamp(&mut self) -> Result<Stamp, RestoreError> {
        Ok(Stamp { received: self.i64()?, source: self.i64()? })
    }

    fn register(&mut self) -> Result<Register, RestoreError> {
        Ok(Register { time: UtcMillis(self.i64()?), value: self.i64()? })
    }

    fn mark(&mut self) -> Result<Mark, RestoreError> {
        let (record, received, value) = (UtcMillis(self.i64()?), UtcMillis(self.i64()?), self.i64()?);
        let status = Status::from_bits(u16::from_le_bytes(self.array()?)).ok_or(RestoreError::Damaged("status"))?;
        Ok(Mark { record, received, value, status })
    }

    fn point(&mut self) -> Result<PointState, RestoreError> {
        let mut state = PointState::default();
        let [has] = self.array()?;
        if has & 1 != 0 {
            state.last_unstamped = Some(Unstamped { record: UtcMillis(self.i64()?), received: UtcMillis(self.i64()?) });
        }
        if has & 2 != 0 {
            let register = self.register()?;
            let [code] = self.array()?;
            state.counter_mut().base = Some((register, Step::from_code(code).ok_or(RestoreError::Damaged("step"))?));
        }
        if has & 4 != 0 {
            state.counter_mut().previous = Some(self.register()?);
        }
        if has & 8 != 0 {
            state.counter_mut().exchange_at = Some(UtcMillis(self.i64()?));
        }
        let [count] = self.array()?;
        for _ in 0..count {
            let (source_time, value) = (self.i64()?, self.i64()?);
            state.recent.push(Seen { source_time, value, tag: u16::from_le_bytes(self.array()?) });
        }
        Ok(state)
    }
}
