//! Modbus TCP frames, sans I/O: bytes come in as the socket gives them, whole frames go out.
//!
//! A frame is the MBAP header (transaction id, protocol id 0, length, unit id) and a PDU. Source: Modbus Messaging on
//! TCP/IP Implementation Guide V1.0b, 3.1; PDUs: Modbus Application Protocol V1.1b3, 6.1-6.4 and 7.
//!
//! What never happens here: a frame is never searched for in garbage. A wrong protocol id or length is a [`FrameError`],
//! after which only a new connection helps, since nobody knows where the next frame starts.

use thiserror::Error;

use super::{Function, RegisterName};

/// Bytes of the MBAP header with the unit id.
pub const HEADER_LENGTH: usize = 7;
/// Longest frame: 7 bytes of header and 253 of PDU.
pub const FRAME_LENGTH_MAX: usize = 260;
/// The header's length field counts the unit id and the PDU: at least a function code, at most 253 bytes of PDU.
const LENGTH_FIELD: std::ops::RangeInclusive<u16> = 2..=254;
/// Bytes kept between reads. When full, the frames in it have to be taken out before more is read.
const BUFFER_LENGTH: usize = 8 * FRAME_LENGTH_MAX;

/// One frame as it stands in the reader's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Repeats the request's.
    pub transaction_id: u16,
    /// Who answers.
    pub unit_id: u8,
    /// Function code and data.
    pub pdu: &'a [u8],
}

/// The stream cannot be followed any further: close the connection.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum FrameError {
    /// Protocol id other than 0.
    #[error("not Modbus TCP: protocol id {0} instead of 0; is it a serial (RTU) bridge?")]
    Protocol(u16),
    /// Length outside 2-254.
    #[error("frame length {0} is outside 2-254")]
    Length(u16),
}

/// Cuts a TCP stream into frames, however its segments were split or merged. Holds at most 8 frames.
#[derive(Debug)]
pub struct FrameReader {
    buffer: Box<[u8; BUFFER_LENGTH]>,
    start: usize,
    end: usize,
}

impl FrameReader {
    /// An empty reader, for a new connection.
    pub fn new() -> Self {
        Self { buffer: Box::new([0; BUFFER_LENGTH]), start: 0, end: 0 }
    }

    /// Room for the next read; empty only while [`Self::next_frame`] still has frames. Tell [`Self::filled`] afterwards.
    pub fn space(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end.saturating_sub(self.start));
        }
        self.buffer.get_mut(self.end..).unwrap_or_default()
    }

    /// `count` bytes were read into [`Self::space`].
    pub fn filled(&mut self, count: usize) {
        self.end = self.end.saturating_add(count).min(BUFFER_LENGTH);
    }

    /// Copies in as many bytes as there is room for, and returns how many.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let space = self.space();
        let count = bytes.len().min(space.len());
        for (slot, byte) in space.iter_mut().zip(bytes) {
            *slot = *byte;
        }
        self.filled(count);
        count
    }

    /// Whether the bytes of an unfinished frame are waiting for the rest.
    pub fn is_mid_frame(&self) -> bool {
        self.start != self.end
    }

    /// Whether the header of a further frame is there, as far as its length. An error: what is there cannot be one.
    pub fn has_header(&self) -> Result<bool, FrameError> {
        let waiting = self.buffer.get(self.start..self.end).unwrap_or_default();
        check_header(waiting)?;
        Ok(waiting.len() >= HEADER_LENGTH)
    }

    /// The next whole frame; `None` until more bytes come.
    ///
    /// A frame is given out only if what follows it so far can be the start of another one: a device that sends fewer
    /// bytes than it announces would otherwise have its answer completed from the next one's header.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, FrameError> {
        let waiting = self.buffer.get(self.start..self.end).unwrap_or_default();
        check_header(waiting)?;
        let Some((&[t1, t0, _, _, l1, l0, unit_id], rest)) = waiting.split_first_chunk::<HEADER_LENGTH>() else { return Ok(None) };
        let pdu_length = usize::from(u16::from_be_bytes([l1, l0])).saturating_sub(1);
        let Some((pdu, following)) = rest.split_at_checked(pdu_length) else { return Ok(None) };
        check_header(following)?;
        self.start = self.start.saturating_add(HEADER_LENGTH).saturating_add(pdu_length);
        Ok(Some(Frame { transaction_id: u16::from_be_bytes([t1, t0]), unit_id, pdu }))
    }
}

/// Refuses bytes that cannot be the start of a frame; fewer than a header are judged as far as they go.
fn check_header(bytes: &[u8]) -> Result<(), FrameError> {
    if let Some(&[_, _, p1, p0]) = bytes.first_chunk()
        && [p1, p0] != [0, 0]
    {
        return Err(FrameError::Protocol(u16::from_be_bytes([p1, p0])));
    }
    if let Some(&[_, _, _, _, l1, l0]) = bytes.first_chunk() {
        let length = u16::from_be_bytes([l1, l0]);
        if !LENGTH_FIELD.contains(&length) {
            return Err(FrameError::Length(length));
        }
    }
    Ok(())
}

impl Default for FrameReader {
    fn default() -> Self {
        Self::new()
    }
}

/// A read of coils, inputs or registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Unit asked.
    pub unit_id: u8,
    /// Function code.
    pub function: Function,
    /// 0-based address of the first.
    pub address: u16,
    /// How many.
    pub quantity: u16,
}

/// Bytes of a read request.
pub const REQUEST_LENGTH: usize = 12;

impl Request {
    /// The frame to send.
    pub fn encode(&self, transaction_id: u16) -> [u8; REQUEST_LENGTH] {
        let [t1, t0] = transaction_id.to_be_bytes();
        let [function, a1, a0, q1, q0] = self.pdu();
        [t1, t0, 0, 0, 0, 6, self.unit_id, function, a1, a0, q1, q0]
    }

    /// Function code, address, quantity (V1.1b3, 6.1-6.4).
    pub(super) fn pdu(&self) -> [u8; 5] {
        let [a1, a0] = self.address.to_be_bytes();
        let [q1, q0] = self.quantity.to_be_bytes();
        [self.function.code(), a1, a0, q1, q0]
    }

    /// Data bytes that a right answer carries: two per register, one per eight bits begun.
    pub fn data_length(&self) -> usize {
        let quantity = usize::from(self.quantity);
        if self.function.reads_bits() { quantity.div_ceil(8) } else { quantity.saturating_mul(2) }
    }

    /// The data of the answer to this request: registers high byte first, bits least significant first.
    ///
    /// The caller has matched the transaction id. Unit (unless `check_unit` is off), function, byte count and length
    /// must all agree; an exception is an error too.
    pub fn check<'a>(&self, frame: &Frame<'a>, check_unit: bool) -> Result<&'a [u8], AnswerError> {
        if check_unit && frame.unit_id != self.unit_id {
            return Err(AnswerError::Unit { asked: self.unit_id, answered: frame.unit_id });
        }
        match *frame.pdu {
            [function, byte_count, ref data @ ..] if function == self.function.code() => {
                if usize::from(byte_count) != self.data_length() || data.len() != self.data_length() {
                    return Err(AnswerError::ByteCount { expected: self.data_length(), counted: byte_count, received: data.len() });
                }
                Ok(data)
            }
            [function, code] if function == self.function.code() | EXCEPTION_BIT => Err(AnswerError::Exception(Exception(code))),
            [function, ..] => Err(AnswerError::Function { asked: self.function.code(), answered: function }),
            [] => Err(AnswerError::Function { asked: self.function.code(), answered: 0 }),
        }
    }

    /// What is asked for, as manuals write it.
    pub fn name(&self) -> RegisterName {
        RegisterName { function: self.function, address: self.address, quantity: self.quantity }
    }
}

/// Set in the function code of an exception.
pub(super) const EXCEPTION_BIT: u8 = 0x80;

/// An answer that carries no registers, or the wrong ones.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum AnswerError {
    /// The device refused.
    #[error("{0}")]
    Exception(Exception),
    /// Another unit answered.
    #[error("unit {answered} answered instead of {asked}; set check_unit = false if the bridge answers with its own id")]
    Unit {
        /// Unit asked.
        asked: u8,
        /// Unit that answered.
        answered: u8,
    },
    /// The answer is to another function.
    #[error("answer to function {answered} instead of {asked}")]
    Function {
        /// Function asked.
        asked: u8,
        /// Function answered.
        answered: u8,
    },
    /// More or fewer bytes than asked for.
    #[error("{received} bytes of data, {counted} announced, {expected} asked for")]
    ByteCount {
        /// Bytes that the quantity asked for makes.
        expected: usize,
        /// Bytes that the answer says it has.
        counted: u8,
        /// Bytes that it has.
        received: usize,
    },
}

/// An exception code (Modbus Application Protocol V1.1b3, 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exception(pub u8);

/// What an exception means for the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same request will be refused again.
    Never,
    /// The same request may go well later.
    Later,
    /// The gateway lives, the device behind it does not: do not reconnect.
    DeviceDead,
}

/// Code, name in the standard, what to expect, what a person can do.
const EXCEPTIONS: &[(u8, &str, Retry, &str)] = &[
    (1, "illegal function", Retry::Never, "the device does not know this function; try another one in the profile"),
    (2, "illegal data address", Retry::Never, "check the addresses, or forbid the gap that is read along"),
    (3, "illegal data value", Retry::Never, "the device reads fewer registers at once; lower max_block"),
    (4, "server device failure", Retry::Later, "look at the device"),
    (5, "acknowledge", Retry::Later, "the device needs more time"),
    (6, "server device busy", Retry::Later, "the device needs more time; poll it less often"),
    (8, "memory parity error", Retry::Later, "look at the device"),
    (0x0A, "gateway path unavailable", Retry::DeviceDead, "check the unit id and the gateway's configuration"),
    (0x0B, "gateway target device failed to respond", Retry::DeviceDead, "check the device's power, wiring and unit id"),
];

impl Exception {
    fn row(self) -> Option<&'static (u8, &'static str, Retry, &'static str)> {
        EXCEPTIONS.iter().find(|row| row.0 == self.0)
    }

    /// What it means for the next attempt; an unknown code may go away.
    pub fn retry(self) -> Retry {
        self.row().map_or(Retry::Later, |row| row.2)
    }
}

impl std::fmt::Display for Exception {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.row() {
            Some((code, name, _, advice)) => write!(f, "exception {code} ({name}): {advice}"),
            None => write!(f, "exception {} (not in the standard): see the device's manual", self.0),
        }
    }
}

/// Transaction ids that visit all 65,536 values before one comes again, in no simple order.
///
/// A device that counts by itself, or answers with the id before, then never hits the one that is waited for.
#[derive(Clone, Debug)]
pub struct TransactionIds(u16);

impl TransactionIds {
    /// Starts anywhere.
    pub const fn new(seed: u16) -> Self {
        Self(seed)
    }

    /// The next id: a linear congruential step with full period (Hull-Dobell: odd summand, factor 1 modulo 4). The factor
    /// is 1 modulo 16 and the summand is not within 1 of a multiple of 16, so two ids in a row are never neighbours.
    pub const fn next_id(&mut self) -> u16 {
        self.0 = self.0.wrapping_mul(25_169).wrapping_add(13_849);
        self.0
    }
}

#[cfg(test)]
mod tests;
