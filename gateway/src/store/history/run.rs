//! Samples of one window as bytes in the head, and on disk as pieces: about 4-8 bytes a sample, cheap to append to.
//!
//! A run is a sequence of samples in order of arrival. Each is written against the one before; a sample with the
//! `RESET` bit is written against zeros, so runs can be cut and put together at such samples. Per sample:
//!
//! | part | when | form |
//! |---|---|---|
//! | control | always | 1 byte: bit 0 reset; bit 1 status follows; bits 2-3 source time (0 none, 1 as record time, 2 its own, 3 undefined); bit 4 same step of record time as before; bit 5 same value; bit 6 same received - record; bit 7 same step of sequence |
//! | record time | bit 4 clear | zigzag: its step less the step before |
//! | value | bit 5 clear | zigzag: value less the value before |
//! | source time | bits 2-3 = 2 | zigzag: source less record time |
//! | received time | bit 6 clear | zigzag: received less record time, less the same of the sample before |
//! | sequence | bit 7 clear | zigzag: its step less the step before |
//! | status | bit 1 set | 2 bytes, little endian |
//!
//! All differences wrap at 64 bits, so every sample comes back whatever its numbers are.

use parkgate_collector::journal::Sequence;
use parkgate_collector::model::{PointId, Sample, Status, UtcMillis};

use super::varint;

const RESET: u8 = 1;
const STATUS: u8 = 1 << 1;
const SOURCE_SHIFT: u8 = 2;
const SAME_STEP: u8 = 1 << 4;
const SAME_VALUE: u8 = 1 << 5;
const SAME_RECEIVED: u8 = 1 << 6;
const SAME_SEQUENCE: u8 = 1 << 7;

/// What the next sample is written against.
#[derive(Clone, Copy, Debug, Default)]
struct Before {
    record: i64,
    step: i64,
    value: i64,
    received: i64,
    sequence: i64,
    sequence_step: i64,
    status: u16,
}

/// Appends samples to a run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Encoder {
    before: Before,
    running: bool,
}

impl Encoder {
    /// The next sample starts afresh.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Appends one sample.
    pub(super) fn push(&mut self, out: &mut Vec<u8>, sequence: Sequence, sample: &Sample) {
        let before = &mut self.before;
        let record = sample.record_time.0;
        let step = record.wrapping_sub(before.record);
        let received = sample.received_time.0.wrapping_sub(record);
        let sequence = sequence.0 as i64;
        let sequence_step = sequence.wrapping_sub(before.sequence);
        let status = sample.status.bits();
        let source = match sample.source_time {
            None => 0,
            Some(source) if source == sample.record_time => 1,
            Some(_) => 2,
        };
        let mut control = source << SOURCE_SHIFT;
        if !self.running {
            control |= RESET;
        }
        if status != before.status {
            control |= STATUS;
        }
        if step == before.step {
            control |= SAME_STEP;
        }
        if sample.value == before.value {
            control |= SAME_VALUE;
        }
        if received == before.received {
            control |= SAME_RECEIVED;
        }
        if sequence_step == before.sequence_step {
            control |= SAME_SEQUENCE;
        }
        out.push(control);
        if control & SAME_STEP == 0 {
            varint::put_signed(out, step.wrapping_sub(before.step));
        }
        if control & SAME_VALUE == 0 {
            varint::put_signed(out, sample.value.wrapping_sub(before.value));
        }
        if let (2, Some(source)) = (source, sample.source_time) {
            varint::put_signed(out, source.0.wrapping_sub(record));
        }
        if control & SAME_RECEIVED == 0 {
            varint::put_signed(out, received.wrapping_sub(before.received));
        }
        if control & SAME_SEQUENCE == 0 {
            varint::put_signed(out, sequence_step.wrapping_sub(before.sequence_step));
        }
        if control & STATUS != 0 {
            out.extend_from_slice(&status.to_le_bytes());
        }
        // The first step of a run is a whole time: the second sample is written against no step.
        let (step, sequence_step) = if self.running { (step, sequence_step) } else { (0, 0) };
        *before = Before { record, step, value: sample.value, received, sequence, sequence_step, status };
        self.running = true;
    }
}

/// Reads a run back; `None` in place of a sample ends it: the bytes are damaged from there on.
pub(super) struct Decoder<'a> {
    point: PointId,
    input: &'a [u8],
    before: Before,
    damaged: bool,
}

impl<'a> Decoder<'a> {
    /// Reads `input`, the samples of `point`.
    pub(super) fn new(point: PointId, input: &'a [u8]) -> Self {
        Self { point, input, before: Before::default(), damaged: false }
    }

    /// Whether reading ended before the bytes did.
    pub(super) fn damaged(&self) -> bool {
        self.damaged
    }

    fn sample(&mut self) -> Option<(Sequence, Sample)> {
        let input = &mut self.input;
        let control = varint::take_byte(input)?;
        let running = control & RESET == 0;
        if !running {
            self.before = Before::default();
        }
        let before = self.before;
        let step = if control & SAME_STEP != 0 { before.step } else { before.step.wrapping_add(varint::take_signed(input)?) };
        let record = before.record.wrapping_add(step);
        let value = if control & SAME_VALUE != 0 { before.value } else { before.value.wrapping_add(varint::take_signed(input)?) };
        let source_time = match control >> SOURCE_SHIFT & 3 {
            0 => None,
            1 => Some(UtcMillis(record)),
            2 => Some(UtcMillis(record.wrapping_add(varint::take_signed(input)?))),
            _ => return None,
        };
        let received =
            if control & SAME_RECEIVED != 0 { before.received } else { before.received.wrapping_add(varint::take_signed(input)?) };
        let sequence_step = if control & SAME_SEQUENCE != 0 {
            before.sequence_step
        } else {
            before.sequence_step.wrapping_add(varint::take_signed(input)?)
        };
        let sequence = before.sequence.wrapping_add(sequence_step);
        let status = if control & STATUS != 0 { u16::from_le_bytes(varint::take_bytes(input, 2)?.try_into().ok()?) } else { before.status };
        let sample = Sample {
            point: self.point,
            status: Status::from_bits(status)?,
            value,
            source_time,
            received_time: UtcMillis(record.wrapping_add(received)),
            record_time: UtcMillis(record),
        };
        let (step, sequence_step) = if running { (step, sequence_step) } else { (0, 0) };
        self.before = Before { record, step, value, received, sequence, sequence_step, status };
        Some((Sequence(sequence as u64), sample))
    }
}

impl Iterator for Decoder<'_> {
    type Item = (Sequence, Sample);

    fn next(&mut self) -> Option<Self::Item> {
        if self.input.is_empty() || self.damaged {
            return None;
        }
        let next = self.sample();
        self.damaged = next.is_none();
        next
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::any_sample;
    use super::*;

    proptest! {
        #[test]
        fn samples_come_back_wherever_runs_are_cut(samples in prop::collection::vec((any::<u64>(), any_sample(), any::<bool>()), 0..40)) {
            let mut bytes = Vec::new();
            let mut encoder = Encoder::default();
            for (sequence, sample, cut) in &samples {
                if *cut {
                    encoder.reset();
                }
                encoder.push(&mut bytes, Sequence(*sequence), sample);
            }
            let mut decoder = Decoder::new(PointId(7), &bytes);
            let read: Vec<_> = decoder.by_ref().collect();
            prop_assert!(!decoder.damaged());
            prop_assert_eq!(read, samples.iter().map(|(sequence, sample, _)| (Sequence(*sequence), *sample)).collect::<Vec<_>>());
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Decoder::new(PointId(7), &bytes).count();
        }
    }
}
