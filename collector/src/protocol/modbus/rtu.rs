//! Modbus RTU frames, sans I/O: on a serial line, or the same bytes over TCP.
//!
//! A frame is unit id, PDU and CRC; nothing marks its start or end but silence on the line, so its length follows from
//! what was asked and what it says. Source: Modbus over Serial Line Specification and Implementation Guide V1.02, 2.5.1
//! and 6.2; PDUs: Modbus Application Protocol V1.1b3, 6.1-6.4 and 7. [`scan`] judges what has come so far, [`finish`]
//! what has come when nothing more will.
//!
//! What never happens here: a frame is never searched for in garbage. There are no transaction ids, so an answer counts
//! only from its first byte, right after the request: the caller drains the line before it sends, and again after an error.

use thiserror::Error;

use super::frame::EXCEPTION_BIT;
use super::{AnswerError, Frame, Function, Request};

/// Longest frame: unit id, 253 bytes of PDU, CRC.
pub const FRAME_LENGTH_MAX: usize = 256;
/// Bytes of a read request.
pub const REQUEST_LENGTH: usize = 8;
/// Bytes around the data of an answer: unit id, function, byte count, CRC. An exception is as long.
const OVERHEAD: usize = 5;
/// Shortest frame that has all parts: unit id, function, CRC.
const FRAME_LENGTH_MIN: usize = 4;

/// What has come so far of the answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan<'a> {
    /// At least so many bytes are missing.
    Incomplete {
        /// At least 1.
        missing: usize,
    },
    /// The answer is there.
    Complete {
        /// Registers high byte first, bits least significant first.
        data: &'a [u8],
        /// Bytes of what came that belong to it, echo included; whatever follows is not from this request.
        length: usize,
    },
}

/// What is known of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineTraits {
    /// Accept only answers with the unit id asked for.
    pub check_unit: bool,
    /// The adapter may give back what is sent; the request's own bytes before the answer are skipped.
    pub skip_echo: bool,
}

/// What came is not the answer. The line has to be drained before the next request.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum RtuError {
    /// A whole frame, but an exception, or not what was asked for.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// The bytes are not those that were sent.
    #[error("CRC {received:04X} instead of {computed:04X}; check baud rate, parity, wiring, and that no two units share an id")]
    Crc {
        /// CRC of the bytes that came.
        computed: u16,
        /// CRC that came with them.
        received: u16,
    },
    /// More bytes than any frame has.
    #[error("more than {FRAME_LENGTH_MAX} bytes and no end of a frame")]
    TooLong,
    /// [`finish`] only: the answer breaks off.
    #[error("{received} bytes of an answer, then silence")]
    Incomplete {
        /// Bytes that came, without the echo.
        received: usize,
    },
    /// [`finish`] only: no answer; at most our own echo.
    #[error("not answered")]
    Silent,
}

/// CRC-16 of a frame's bytes, sent low byte first: polynomial A001 (reflected 8005), start FFFF, no final inversion.
/// Over a frame with its CRC it is 0. Source: Modbus over Serial Line V1.02, 6.2.2.
pub fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(CRC_START, |crc, &byte| crc16_step(crc, byte))
}

/// CRC of no bytes.
const CRC_START: u16 = 0xFFFF;

fn crc16_step(crc: u16, byte: u8) -> u16 {
    let [_, low] = crc.to_be_bytes();
    (crc >> 8) ^ CRC_TABLE.get(usize::from(low ^ byte)).copied().unwrap_or_default()
}

/// The CRC's change by each value of a byte.
static CRC_TABLE: [u16; 256] = crc_table();

#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::cast_possible_truncation)] // evaluated by the compiler
const fn crc_table() -> [u16; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < table.len() {
        let mut crc = index as u16;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xA001 } else { crc >> 1 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
}

/// The frame of a read request.
pub fn encode(request: &Request) -> [u8; REQUEST_LENGTH] {
    let [function, a1, a0, q1, q0] = request.pdu();
    let body = [request.unit_id, function, a1, a0, q1, q0];
    let [low, high] = crc16(&body).to_le_bytes();
    [request.unit_id, function, a1, a0, q1, q0, low, high]
}

/// Bytes that the right answer to `request` has, CRC included.
pub fn answer_length(request: &Request) -> usize {
    request.data_length().saturating_add(OVERHEAD)
}

/// Judges what has come since `request` was sent; to be asked again after each byte or piece that arrives.
///
/// A frame is taken by the length that it announces, so that a wrong one is named rightly: CRC first, then unit (unless
/// `check_unit` is off), function, byte count. An exception is an error. Bytes that are the request's own, as far as they
/// go, are never taken for an answer where `skip_echo` is set.
pub fn scan<'a>(request: &Request, received: &'a [u8], line: LineTraits) -> Result<Scan<'a>, RtuError> {
    let (echo_length, frame) = match split_echo(request, received, line) {
        Echo::Partly => return Ok(Scan::Incomplete { missing: 1 }),
        Echo::Skipped(frame) => (REQUEST_LENGTH, frame),
        Echo::None => (0, received),
    };
    let &[_, function, third, ..] = frame else {
        return Ok(Scan::Incomplete { missing: OVERHEAD.saturating_sub(frame.len()) });
    };
    let Some(length) = announced_length(function, third) else { return scan_unknown(request, frame, function) };
    if length > FRAME_LENGTH_MAX {
        return Err(RtuError::TooLong);
    }
    let Some(whole) = frame.get(..length) else {
        return Ok(Scan::Incomplete { missing: length.saturating_sub(frame.len()) });
    };
    check_crc(whole)?;
    let data = check(request, whole, line)?;
    Ok(Scan::Complete { data, length: length.saturating_add(echo_length) })
}

/// The last word on what came: the data, or why there is none now that the line is silent.
///
/// Beyond [`scan`]: a frame that is sound as a whole but not of the length it announces has a wrong byte count, and one
/// that is at least as long as the answer should be is damaged rather than incomplete.
pub fn finish<'a>(request: &Request, received: &'a [u8], line: LineTraits) -> Result<&'a [u8], RtuError> {
    let scanned = scan(request, received, line);
    if let Ok(Scan::Complete { data, .. }) = scanned {
        return Ok(data);
    }
    let frame = match split_echo(request, received, line) {
        Echo::Skipped(frame) => frame,
        Echo::None | Echo::Partly => received,
    };
    if frame.is_empty() {
        return Err(RtuError::Silent);
    }
    match scanned {
        Ok(_) | Err(RtuError::Crc { .. } | RtuError::TooLong) if frame.len() >= OVERHEAD && crc16(frame) == 0 => {
            Ok(check(request, frame, line)?)
        }
        Ok(_) | Err(RtuError::TooLong) => {
            if frame.len() >= answer_length(request) {
                check_crc(frame)?;
            }
            Err(RtuError::Incomplete { received: frame.len() })
        }
        Err(error) => Err(error),
    }
}

/// The request's own bytes at the start of what came.
enum Echo<'a> {
    /// None, or none are expected.
    None,
    /// All that came, but not yet all of them; the last byte tells an answer that looks the same apart.
    Partly,
    /// All of them; this is what follows.
    Skipped(&'a [u8]),
}

fn split_echo<'a>(request: &Request, received: &'a [u8], line: LineTraits) -> Echo<'a> {
    if !line.skip_echo || received.len() < FRAME_LENGTH_MIN {
        return Echo::None;
    }
    let echo = encode(request);
    match received.strip_prefix(&echo) {
        Some(rest) => Echo::Skipped(rest),
        None if echo.starts_with(received) => Echo::Partly,
        None => Echo::None,
    }
}

/// Bytes of a frame by its function and third byte; `None` for functions that we never ask for.
pub(super) fn announced_length(function: u8, third: u8) -> Option<usize> {
    if function & EXCEPTION_BIT != 0 {
        return Some(OVERHEAD);
    }
    Function::from_code(function).map(|_| usize::from(third).saturating_add(OVERHEAD))
}

/// The answer to a function that was not asked for, whose length is where its CRC fits.
fn scan_unknown<'a>(request: &Request, frame: &[u8], function: u8) -> Result<Scan<'a>, RtuError> {
    let mut crc = CRC_START;
    for (index, &byte) in frame.iter().take(FRAME_LENGTH_MAX).enumerate() {
        crc = crc16_step(crc, byte);
        if crc == 0 && index.saturating_add(1) >= FRAME_LENGTH_MIN {
            return Err(AnswerError::Function { asked: request.function.code(), answered: function }.into());
        }
    }
    if frame.len() >= FRAME_LENGTH_MAX { Err(RtuError::TooLong) } else { Ok(Scan::Incomplete { missing: 1 }) }
}

fn check_crc(frame: &[u8]) -> Result<(), RtuError> {
    let Some((body, &[low, high])) = frame.split_last_chunk() else { return Err(RtuError::Incomplete { received: frame.len() }) };
    let (computed, received) = (crc16(body), u16::from_le_bytes([low, high]));
    if computed == received { Ok(()) } else { Err(RtuError::Crc { computed, received }) }
}

/// The data of a frame whose CRC is right.
fn check<'a>(request: &Request, frame: &'a [u8], line: LineTraits) -> Result<&'a [u8], AnswerError> {
    let (unit_id, pdu) = match frame {
        [unit_id, pdu @ .., _, _] => (*unit_id, pdu),
        _ => (request.unit_id, &[][..]),
    };
    request.check(&Frame { transaction_id: 0, unit_id, pdu }, line.check_unit)
}

#[cfg(test)]
mod tests;
