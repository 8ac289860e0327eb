//! What came on a line, for one who listens rather than polls: our own echo, whole frames of whoever, requests of another
//! master, and bytes that are none of that.
//!
//! Polling takes an answer or nothing ([`super::rtu`]); a search for units needs to know what the rest was.

use super::frame::HEADER_LENGTH;
use super::identify;
use super::rtu::{FRAME_LENGTH_MAX, REQUEST_LENGTH, announced_length, crc16};

/// Unit id, function, CRC.
const FRAME_LENGTH_MIN: usize = 4;
/// Bytes of an RTU frame around its PDU.
const RTU_OVERHEAD: usize = 3;
/// Functions whose requests have the form of a read: address, quantity or value (V1.1b3, 6.1-6.6).
const SHORT_REQUESTS: std::ops::RangeInclusive<u8> = 1..=6;

/// A whole frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spoken<'a> {
    /// Who speaks.
    pub unit_id: u8,
    /// Function code and data.
    pub pdu: &'a [u8],
}

/// What the bytes of a while are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overheard<'a> {
    /// What we had sent came back first.
    pub echo: bool,
    /// Whole answers, in order.
    pub frames: Vec<Spoken<'a>>,
    /// Requests that we did not send.
    pub foreign_requests: usize,
    /// What is no frame, or not yet a whole one.
    pub rest: &'a [u8],
}

/// The frame of a PDU in RTU form.
pub fn rtu_frame(unit_id: u8, pdu: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(pdu.len().saturating_add(RTU_OVERHEAD));
    frame.push(unit_id);
    frame.extend_from_slice(pdu);
    frame.extend(crc16(&frame).to_le_bytes());
    frame
}

/// The frame of a PDU on Modbus TCP.
pub fn tcp_frame(transaction_id: u16, unit_id: u8, pdu: &[u8]) -> Vec<u8> {
    let [t1, t0] = transaction_id.to_be_bytes();
    let [l1, l0] = u16::try_from(pdu.len().saturating_add(1)).unwrap_or(u16::MAX).to_be_bytes();
    let mut frame = vec![t1, t0, 0, 0, l1, l0, unit_id];
    frame.extend_from_slice(pdu);
    frame
}

/// Tells apart what came on an RTU line after `sent`.
pub fn rtu<'a>(sent: &[u8], received: &'a [u8]) -> Overheard<'a> {
    let mut heard = Overheard { rest: received, ..Overheard::default() };
    if let Some(rest) = received.strip_prefix(sent).filter(|_| !sent.is_empty()) {
        (heard.echo, heard.rest) = (true, rest);
    }
    while let &[unit_id, ref behind @ ..] = heard.rest {
        let whole = pdu_length(behind).and_then(|length| sound(heard.rest, length.saturating_add(RTU_OVERHEAD)));
        if let Some((frame, rest)) = whole {
            let pdu = frame.get(1..frame.len().saturating_sub(2)).unwrap_or_default();
            heard.frames.push(Spoken { unit_id, pdu });
            heard.rest = rest;
        } else if let Some((_, rest)) =
            sound(heard.rest, REQUEST_LENGTH).filter(|_| behind.first().is_some_and(|f| SHORT_REQUESTS.contains(f)))
        {
            heard.foreign_requests = heard.foreign_requests.saturating_add(1);
            heard.rest = rest;
        } else {
            break;
        }
    }
    heard
}

/// Tells apart what came on a Modbus TCP connection; its frames are answers.
pub fn tcp(received: &[u8]) -> Overheard<'_> {
    let mut heard = Overheard { rest: received, ..Overheard::default() };
    while let Some((&[_, _, 0, 0, l1, l0, unit_id], behind)) = heard.rest.split_first_chunk::<HEADER_LENGTH>() {
        let length = usize::from(u16::from_be_bytes([l1, l0]));
        let pdu = length
            .checked_sub(1)
            .filter(|length| (1..FRAME_LENGTH_MAX).contains(length))
            .and_then(|length| behind.split_at_checked(length));
        let Some((pdu, rest)) = pdu else { break };
        heard.frames.push(Spoken { unit_id, pdu });
        heard.rest = rest;
    }
    heard
}

/// The first `length` bytes and what follows, where their CRC is right.
fn sound(bytes: &[u8], length: usize) -> Option<(&[u8], &[u8])> {
    let (frame, rest) = bytes.split_at_checked(length).filter(|_| length >= FRAME_LENGTH_MIN)?;
    (crc16(frame) == 0).then_some((frame, rest))
}

/// Bytes of the PDU of an answer, as it announces; `None` where it does not say, or not yet.
fn pdu_length(pdu: &[u8]) -> Option<usize> {
    match *pdu {
        [identify::FUNCTION, ..] => identify::length(pdu),
        [function, second, ..] => announced_length(function, second)?.checked_sub(RTU_OVERHEAD),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(parts: &[&[u8]]) -> Vec<u8> {
        parts.concat()
    }

    #[test]
    fn a_line_is_told_apart() {
        let sent = rtu_frame(7, &[3, 0, 0, 0, 1]);
        let data = rtu_frame(7, &[3, 2, 0x12, 0x34]);
        let refusal = rtu_frame(7, &[0x83, 2]);
        let late = rtu_frame(6, &[3, 2, 0, 1]);
        let foreign = rtu_frame(9, &[3, 0x10, 0, 0, 2]);
        let mut bad = data.clone();
        bad[4] ^= 0x10;
        // What came; echo, units, foreign requests, bytes left.
        for (about, received, echo, units, requests, rest) in [
            ("nothing", vec![], false, &[][..], 0, 0),
            ("data", data.clone(), false, &[7][..], 0, 0),
            ("an exception", refusal.clone(), false, &[7], 0, 0),
            ("the echo", sent.clone(), true, &[], 0, 0),
            ("half an echo", sent[..5].to_vec(), false, &[], 0, 5),
            ("echo and data", joined(&[&sent, &data]), true, &[7], 0, 0),
            ("a late answer and ours", joined(&[&late, &data]), false, &[6, 7], 0, 0),
            ("two answers", joined(&[&data, &data]), false, &[7, 7], 0, 0),
            ("a wrong CRC", bad.clone(), false, &[], 0, 7),
            ("a wrong CRC behind an answer", joined(&[&data, &bad]), false, &[7], 0, 7),
            ("an answer that breaks off", data[..6].to_vec(), false, &[], 0, 6),
            ("another master and its answer", joined(&[&foreign, &rtu_frame(9, &[3, 4, 0, 1, 0, 2])]), false, &[9], 1, 0),
            ("noise", vec![0, 0xFF, 0x80], false, &[], 0, 3),
        ] {
            let heard = rtu(&sent, &received);
            let spoken: Vec<u8> = heard.frames.iter().map(|frame| frame.unit_id).collect();
            assert_eq!((heard.echo, &spoken[..], heard.foreign_requests, heard.rest.len()), (echo, units, requests, rest), "{about}");
        }
        assert_eq!(rtu(&[], &data).frames[0].pdu, [3, 2, 0x12, 0x34]);
        let identity = rtu_frame(7, &[0x2B, 0x0E, 1, 1, 0, 0, 1, 0, 2, b'A', b'B']);
        assert_eq!(rtu(&[], &identity).frames.len(), 1);
        assert!(rtu(&[], &identity[..10]).frames.is_empty());
    }

    #[test]
    fn a_connection_is_told_apart() {
        let frame = tcp_frame(3, 7, &[3, 2, 0x12, 0x34]);
        assert_eq!(frame, [0, 3, 0, 0, 0, 5, 7, 3, 2, 0x12, 0x34]);
        let two = joined(&[&frame, &tcp_frame(4, 8, &[0x83, 0x0B])]);
        for (about, received, units, rest) in [
            ("one", frame.clone(), &[7][..], 0),
            ("two", two, &[7, 8], 0),
            ("part of one", frame[..9].to_vec(), &[], 9),
            ("something else", b"HTTP/1.1 400 Bad Request".to_vec(), &[], 24),
            ("a length of nothing", vec![0, 1, 0, 0, 0, 1, 7, 3], &[], 8),
        ] {
            let heard = tcp(&received);
            let spoken: Vec<u8> = heard.frames.iter().map(|frame| frame.unit_id).collect();
            assert_eq!((&spoken[..], heard.rest.len()), (units, rest), "{about}");
        }
    }
}
