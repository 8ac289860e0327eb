//! What one question on a line brought.

use crate::driver::modbus::raw::{Heard, Setting};
use crate::protocol::modbus::overheard::{self, Overheard};
use crate::protocol::modbus::{Exception, Function, RegisterName};

/// Bytes that a line makes by itself when a sender lets go of it; no frame is as short.
const NOISE_BYTES_MAX: usize = 3;
/// Set in the function code of an exception.
pub const EXCEPTION_BIT: u8 = 0x80;

/// What the unit that was asked did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It answered: the PDU.
    Answer(Vec<u8>),
    /// It answered, and something answered with it: the first PDU.
    TwoAnswers(Vec<u8>),
    /// Bytes came that are no frame.
    Garbled,
    /// The gateway says that it is not there.
    Absent,
    /// Nothing.
    Silence,
}

/// One question's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// What the unit did.
    pub outcome: Outcome,
    /// Our own bytes came back.
    pub echo: bool,
    /// Units that spoke though another was asked: their answers to earlier questions.
    pub others: Vec<u8>,
    /// Requests came that we did not send.
    pub other_master: bool,
}

/// Tells apart what came in a setting's form.
fn apart<'a>(setting: Setting, sent: &[u8], received: &'a [u8]) -> Overheard<'a> {
    match setting {
        Setting::Tcp => overheard::tcp(received),
        Setting::Serial(_) | Setting::RtuOverTcp => overheard::rtu(sent, received),
    }
}

/// Whether the answer of a unit is there as a whole.
pub fn is_whole(setting: Setting, sent: &[u8], unit: u8, received: &[u8]) -> bool {
    apart(setting, sent, received).frames.iter().any(|frame| frame.unit_id == unit)
}

/// Judges what a question to `unit` brought.
pub fn judge(setting: Setting, sent: &[u8], unit: u8, heard: &Heard) -> Judged {
    let earlier = apart(setting, &[], &heard.before);
    let now = apart(setting, sent, &heard.bytes);
    let mut answers = now.frames.iter().filter(|frame| frame.unit_id == unit);
    let outcome = match answers.next() {
        Some(first) => {
            let pdu = first.pdu.to_vec();
            match *first.pdu {
                [function, 0x0A | 0x0B] if function & EXCEPTION_BIT != 0 => Outcome::Absent,
                // On Modbus TCP what follows is an answer to an earlier question.
                _ if setting == Setting::Tcp => Outcome::Answer(pdu),
                _ if answers.next().is_some() || now.rest.len() > NOISE_BYTES_MAX => Outcome::TwoAnswers(pdu),
                _ => Outcome::Answer(pdu),
            }
        }
        None if now.rest.is_empty() => Outcome::Silence,
        None => Outcome::Garbled,
    };
    let mut others: Vec<u8> = earlier.frames.iter().chain(&now.frames).map(|frame| frame.unit_id).filter(|other| *other != unit).collect();
    others.dedup();
    let other_master = earlier.foreign_requests > 0 || now.foreign_requests > 0;
    // The unit that another master asks answers it: that says nothing about our question.
    if other_master {
        others.clear();
    }
    Judged { outcome, echo: now.echo, others, other_master }
}

/// What an answer says, for a person: a register's word, or the exception.
pub fn said(function: Function, address: u16, pdu: &[u8]) -> String {
    let name = RegisterName { function, address, quantity: 1 };
    match *pdu {
        [_, 2, high, low] => format!("{name} = 0x{:04X}", u16::from_be_bytes([high, low])),
        [code, exception] if code & EXCEPTION_BIT != 0 => {
            let text = Exception(exception).to_string();
            // Without the advice, which is for a poll that failed.
            text.split(':').next().unwrap_or_default().to_owned()
        }
        _ => format!("an answer of {} bytes that is not to function {}", pdu.len(), function.code()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::modbus::overheard::{rtu_frame, tcp_frame};

    #[test]
    fn what_came_is_named() {
        let sent = rtu_frame(7, &[3, 0, 0, 0, 1]);
        let data = rtu_frame(7, &[3, 2, 0x12, 0x34]);
        let late = rtu_frame(6, &[3, 2, 0, 1]);
        let foreign = rtu_frame(9, &[3, 0x10, 0, 0, 2]);
        let mut bad = data.clone();
        bad[5] ^= 1;
        let pdu = vec![3, 2, 0x12, 0x34];
        for (about, before, bytes, outcome, echo, others, master) in [
            ("nothing", &[][..], vec![], Outcome::Silence, false, &[][..], false),
            ("data", &[], data.clone(), Outcome::Answer(pdu.clone()), false, &[], false),
            ("the line lets go with a byte of noise", &[], [&data[..], &[0]].concat(), Outcome::Answer(pdu.clone()), false, &[], false),
            ("an exception", &[], rtu_frame(7, &[0x83, 2]), Outcome::Answer(vec![0x83, 2]), false, &[], false),
            ("echo alone", &[], sent.clone(), Outcome::Silence, true, &[], false),
            ("echo and data", &[], [&sent[..], &data].concat(), Outcome::Answer(pdu.clone()), true, &[], false),
            ("bad CRC", &[], bad.clone(), Outcome::Garbled, false, &[], false),
            ("twice", &[], [&data[..], &data].concat(), Outcome::TwoAnswers(pdu.clone()), false, &[], false),
            ("twice, the second damaged", &[], [&data[..], &bad].concat(), Outcome::TwoAnswers(pdu.clone()), false, &[], false),
            ("another one's late answer", &late, vec![], Outcome::Silence, false, &[6], false),
            ("the same after the question", &[], late.clone(), Outcome::Silence, false, &[6], false),
            ("another master", &foreign, vec![], Outcome::Silence, false, &[], true),
            ("no device behind", &[], rtu_frame(7, &[0x83, 0x0B]), Outcome::Absent, false, &[], false),
        ] {
            let heard = Heard { before: before.to_vec(), bytes, time: None };
            let judged = judge(Setting::RtuOverTcp, &sent, 7, &heard);
            assert_eq!((judged.outcome, judged.echo, &judged.others[..], judged.other_master), (outcome, echo, others, master), "{about}");
        }
        let two = [tcp_frame(1, 7, &[3, 2, 0x12, 0x34]), tcp_frame(2, 7, &[3, 2, 0, 0])].concat();
        let judged = judge(Setting::Tcp, &[], 7, &Heard { bytes: two, ..Heard::default() });
        assert_eq!(judged.outcome, Outcome::Answer(pdu));
    }

    #[test]
    fn answers_in_words() {
        for (pdu, text) in [
            (&[3, 2, 0x12, 0x34][..], "register 40001 = 0x1234"),
            (&[0x83, 2], "exception 2 (illegal data address)"),
            (&[0x83, 77], "exception 77 (not in the standard)"),
            (&[4, 2, 0, 0, 0], "an answer of 5 bytes that is not to function 3"),
        ] {
            assert_eq!(said(Function::HoldingRegisters, 0, pdu), text);
        }
    }
}
