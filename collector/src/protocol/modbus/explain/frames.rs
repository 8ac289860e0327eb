//! A request and the bytes that came after it: words, an exception, or the kind of fault.
//!
//! The same readers and checks as the driver's. Over TCP, answers to other transaction ids before the right one are
//! skipped; with no answer, or none but those, the request timed out. On a serial line our own echo is skipped.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::hex;
use crate::protocol::modbus::frame::{FrameReader, HEADER_LENGTH};
use crate::protocol::modbus::rtu::{self, LineTraits, RtuError};
use crate::protocol::modbus::{AnswerError, FrameError, Function, Request};

/// How frames are wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// Modbus TCP.
    Tcp,
    /// Modbus RTU.
    Rtu,
}

/// What came after a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Registers, in order of address.
    Words(Vec<u16>),
    /// Coils or inputs, in order of address.
    Bits(Vec<bool>),
    /// The device refused.
    Exception(crate::protocol::modbus::Exception),
    /// No answer that can be believed: its kind, and what is wrong.
    Fault(Fault, String),
}

/// Kinds of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The bytes are not those that were sent.
    Crc,
    /// The count of bytes is not that of what was asked, or not that of what is there.
    Count,
    /// Another unit answers.
    Unit,
    /// The answer is to another function.
    Function,
    /// The answer breaks off.
    Incomplete,
    /// No answer.
    Timeout,
    /// Not Modbus TCP.
    ProtocolId,
}

impl Fault {
    /// Its word in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Crc => "crc",
            Self::Count => "count",
            Self::Unit => "unit",
            Self::Function => "function",
            Self::Incomplete => "incomplete",
            Self::Timeout => "timeout",
            Self::ProtocolId => "protocol_id",
        }
    }
}

/// A read request out of its bytes, with its transaction id, which is 0 on a serial line.
pub fn request_of(transport: Transport, bytes: &[u8]) -> Result<(Request, u16), String> {
    let (transaction_id, unit_id, pdu) = match (transport, bytes) {
        (Transport::Tcp, &[t1, t0, 0, 0, 0, 6, unit_id, ref pdu @ ..]) => (u16::from_be_bytes([t1, t0]), unit_id, pdu),
        (Transport::Tcp, _) => return Err("request: not the 12 bytes of a read over TCP".to_owned()),
        (Transport::Rtu, &[unit_id, ref pdu @ .., _, _]) => (0, unit_id, pdu),
        (Transport::Rtu, _) => return Err("request: not the 8 bytes of a read on a serial line".to_owned()),
    };
    let &[function, a1, a0, q1, q0] = pdu else {
        return Err(format!("request: {} bytes of function and data, 5 in a read", pdu.len()));
    };
    let function = Function::from_code(function).ok_or_else(|| format!("request: function {function} is no read; there are 1 to 4"))?;
    let request = Request { unit_id, function, address: u16::from_be_bytes([a1, a0]), quantity: u16::from_be_bytes([q1, q0]) };
    if !(1..=function.quantity_max()).contains(&request.quantity) {
        return Err(format!("request: quantity {}, 1 to {} allowed", request.quantity, function.quantity_max()));
    }
    if transport == Transport::Rtu && rtu::encode(&request) != bytes {
        return Err("request: its CRC does not fit".to_owned());
    }
    Ok((request, transaction_id))
}

/// What `received` is as the answer to a request.
pub fn judge(transport: Transport, request: &Request, transaction_id: u16, received: &[u8]) -> Outcome {
    let data = match transport {
        Transport::Tcp => answer_over_tcp(request, transaction_id, received),
        Transport::Rtu => {
            rtu::finish(request, received, LineTraits { check_unit: true, skip_echo: true }).map(<[u8]>::to_vec).map_err(of_rtu)
        }
    };
    match data {
        Err(outcome) => outcome,
        Ok(data) if request.function.reads_bits() => {
            let bits = data.iter().flat_map(|byte| (0..8u32).map(move |bit| byte.checked_shr(bit).unwrap_or(0) & 1 == 1));
            Outcome::Bits(bits.take(usize::from(request.quantity)).collect())
        }
        Ok(data) => {
            let pairs = data.chunks(2).filter_map(|pair| pair.first_chunk());
            Outcome::Words(pairs.map(|pair| u16::from_be_bytes(*pair)).collect())
        }
    }
}

/// The data of the frame with the right id in a stream that ends.
fn answer_over_tcp(request: &Request, transaction_id: u16, received: &[u8]) -> Result<Vec<u8>, Outcome> {
    let fault = |fault, error: &dyn std::fmt::Display| Outcome::Fault(fault, error.to_string());
    let mut reader = FrameReader::new();
    let (mut unread, mut whole) = (received, 0usize);
    loop {
        let taken = reader.push(unread);
        unread = unread.get(taken..).unwrap_or_default();
        let before = whole;
        loop {
            match reader.next_frame() {
                Ok(Some(frame)) => {
                    whole = whole.saturating_add(HEADER_LENGTH).saturating_add(frame.pdu.len());
                    if frame.transaction_id == transaction_id {
                        return request.check(&frame, true).map(<[u8]>::to_vec).map_err(of_answer);
                    }
                }
                Ok(None) => break,
                Err(error @ FrameError::Protocol(_)) => return Err(fault(Fault::ProtocolId, &error)),
                Err(error @ FrameError::Length(_)) => return Err(fault(Fault::Count, &error)),
            }
        }
        if unread.is_empty() || (taken == 0 && whole == before) {
            break;
        }
    }
    match received.get(whole..).unwrap_or_default() {
        [] => Err(fault(Fault::Timeout, &"not answered")),
        &[t1, t0, ..] if u16::from_be_bytes([t1, t0]) != transaction_id => Err(fault(Fault::Timeout, &"not answered, but for others")),
        rest => Err(fault(Fault::Incomplete, &format!("{} bytes of an answer, then silence", rest.len()))),
    }
}

fn of_rtu(error: RtuError) -> Outcome {
    let fault = match error {
        RtuError::Answer(error) => return of_answer(error),
        RtuError::Crc { .. } => Fault::Crc,
        RtuError::TooLong => Fault::Count,
        RtuError::Incomplete { .. } => Fault::Incomplete,
        RtuError::Silent => Fault::Timeout,
    };
    Outcome::Fault(fault, error.to_string())
}

fn of_answer(error: AnswerError) -> Outcome {
    let fault = match error {
        AnswerError::Exception(exception) => return Outcome::Exception(exception),
        AnswerError::Unit { .. } => Fault::Unit,
        AnswerError::Function { .. } => Fault::Function,
        AnswerError::ByteCount { .. } => Fault::Count,
    };
    Outcome::Fault(fault, error.to_string())
}

/// The form in JSON of an answer that came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Registers, four hex digits each.
    Words(Vec<String>),
    /// Coils or inputs, 0 or 1 each.
    Bits(Vec<u8>),
    /// Exception code.
    Exception(u8),
}

impl Outcome {
    /// Its form in JSON, or the word for the fault.
    pub fn answer(&self) -> Result<Answer, &'static str> {
        match self {
            Self::Words(words) => Ok(Answer::Words(words.iter().map(|word| format!("{word:04X}")).collect())),
            Self::Bits(bits) => Ok(Answer::Bits(bits.iter().map(|bit| u8::from(*bit)).collect())),
            Self::Exception(exception) => Ok(Answer::Exception(exception.0)),
            Self::Fault(fault, _) => Err(fault.word()),
        }
    }
}

/// A question as a JSON object has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(default, rename = "id")]
    _id: IgnoredAny,
    transport: Option<Transport>,
    request: String,
    response: Option<String>,
}

/// The answer to one JSON object.
pub(super) fn of_json(line: &str, transport: Option<Transport>) -> Result<Answer, String> {
    let asked: Asked = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let transport = asked.transport.or(transport).ok_or("no `transport`: tcp or rtu")?;
    let (request, transaction_id) = request_of(transport, &hex(&asked.request).map_err(|error| format!("request: {error}"))?)?;
    let received = hex(asked.response.as_deref().unwrap_or_default()).map_err(|error| format!("response: {error}"))?;
    judge(transport, &request, transaction_id, &received).answer().map_err(str::to_owned)
}
