//! Modbus TCP frames: several requests at once, their answers matched by transaction id within a deadline each.
//!
//! What makes a wrong value impossible: an answer counts only if its id is waited for and unit, function, byte count and
//! length agree; ids come in no simple order, and of up to seven in flight no two are neighbours (multiples of 9 below 63
//! are not 1 or 15 modulo 16, see [`TransactionIds`]); answers to ids no longer waited for are dropped and counted; a stream that
//! cannot be followed (wrong header, or a deadline that passes within a frame) is closed. While further answers are waited
//! for, one counts only when the header of the next one stands behind it: a device that sends fewer bytes than it
//! announces would otherwise have its answer completed from the first bytes of the next. Where no header comes behind it,
//! it does not count if it ends as the answer to another request begins that is waited for or late.

use std::collections::VecDeque;

use prometheus::IntCounter;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout_at};

use super::sieve::Sieve;
use super::stream::Stream;
use super::wire::{Ask, ExchangeError, Pauses, Received, Ticket};
use crate::protocol::modbus::frame::FRAME_LENGTH_MAX;
use crate::protocol::modbus::{FrameReader, TransactionIds};

/// An answer that is late by more time-outs than this is not waited for by anything.
const LATE_TIMEOUTS: u32 = 10;
/// Late answers remembered, at most.
const LATE_MAX: usize = 64;

/// A connection and what is known of its stream.
#[derive(Debug)]
pub(super) struct TcpWire {
    stream: Stream,
    reader: FrameReader,
    ids: TransactionIds,
    /// Oldest first, so that the first has the first deadline.
    flights: Vec<Flight>,
    flights_max: usize,
    /// Ids whose time has passed, and until when an answer to them is thought of.
    late: VecDeque<(u16, Instant)>,
    /// An answer that waits for the header behind it; its data is in `data`.
    held: Option<(Ticket, Result<(), ExchangeError>)>,
    pauses: Pauses,
    ready_at: Instant,
    /// Bytes of a device that dialled in which belong to no frame.
    sieve: Sieve,
    data: Vec<u8>,
    dropped: IntCounter,
}

#[derive(Clone, Copy, Debug)]
struct Flight {
    id: u16,
    ask: Ask,
    deadline: Instant,
}

impl TcpWire {
    /// Takes over a new connection; answers that come too late are counted in `dropped`.
    pub(super) fn new(stream: Stream, pauses: Pauses, flights_max: usize, skip: Vec<Vec<u8>>, dropped: IntCounter) -> Self {
        Self {
            stream,
            reader: FrameReader::new(),
            ids: TransactionIds::new(fastrand::u16(..)),
            flights: Vec::with_capacity(flights_max),
            flights_max,
            late: VecDeque::new(),
            held: None,
            pauses,
            ready_at: Instant::now() + pauses.after_connect,
            sieve: Sieve::new(skip),
            data: Vec::with_capacity(FRAME_LENGTH_MAX),
            dropped,
        }
    }

    pub(super) fn ready_at(&self) -> Instant {
        self.ready_at
    }

    pub(super) fn in_flight(&self) -> usize {
        self.flights.len().saturating_add(usize::from(self.held.is_some()))
    }

    pub(super) fn has_room(&self) -> bool {
        self.flights.len() < self.flights_max
    }

    pub(super) fn data(&self) -> &[u8] {
        &self.data
    }

    pub(super) fn give_up(&mut self) -> Option<Ticket> {
        if let Some((ticket, _)) = self.held.take() {
            return Some(ticket);
        }
        if self.flights.is_empty() { None } else { Some(self.flights.remove(0).ask.ticket) }
    }

    /// Called while nothing is in flight.
    pub(super) async fn is_usable(&mut self) -> bool {
        loop {
            let count = match self.stream.read_now(space(&mut self.reader, &self.sieve)).await {
                None => return true,
                Some(Ok(0) | Err(_)) => return false,
                Some(Ok(count)) => count,
            };
            self.filled(count);
            loop {
                match self.reader.next_frame() {
                    Ok(Some(_)) => self.dropped.inc(),
                    Ok(None) => break,
                    Err(_) => return false,
                }
            }
        }
    }

    pub(super) async fn send(&mut self, ask: Ask) -> Result<(), ExchangeError> {
        let id = self.next_id();
        let now = Instant::now();
        let deadline = now + self.pauses.timeout;
        self.flights.push(Flight { id, ask, deadline });
        if !self.pauses.between_requests.is_zero() {
            self.ready_at = now + self.pauses.between_requests;
        }
        match timeout_at(deadline, self.stream.write_all(&ask.request.encode(id))).await {
            Ok(written) => Ok(written?),
            Err(_) => Err(ExchangeError::Timeout),
        }
    }

    pub(super) async fn receive(&mut self, until: Option<Instant>) -> Received {
        loop {
            while self.held.is_none() {
                let frame = match self.reader.next_frame() {
                    Ok(Some(frame)) => frame,
                    Ok(None) => break,
                    Err(error) => return self.lost(error.into()),
                };
                let Some(index) = self.flights.iter().position(|flight| flight.id == frame.transaction_id) else {
                    self.late.retain(|(id, _)| *id != frame.transaction_id);
                    self.dropped.inc();
                    continue;
                };
                let Ask { ticket, request, check_unit } = self.flights.remove(index).ask;
                let result = match request.check(&frame, check_unit) {
                    Ok(data) => {
                        self.data.clear();
                        self.data.extend_from_slice(data);
                        Ok(())
                    }
                    Err(error) => Err(error.into()),
                };
                if !self.pauses.between_requests.is_zero() {
                    self.ready_at = Instant::now() + self.pauses.between_requests;
                }
                self.held = Some((ticket, result));
            }
            if self.held.is_some() {
                match self.reader.has_header() {
                    Err(error) => return self.lost(error.into()),
                    Ok(true) => return self.release(),
                    Ok(false) if self.flights.is_empty() => return self.release_unless_doubtful(),
                    Ok(false) => {}
                }
            }
            let Some(first) = self.flights.first() else { return Received::Nothing };
            let (deadline, ticket) = (first.deadline, first.ask.ticket);
            let mid_frame = self.reader.is_mid_frame() || self.sieve.is_mid_frame();
            let wake = until.map_or(deadline, |until| until.min(deadline));
            match timeout_at(wake, self.stream.read(space(&mut self.reader, &self.sieve))).await {
                Ok(Ok(0)) => return self.lost(ExchangeError::Closed),
                Ok(Ok(count)) => self.filled(count),
                Ok(Err(error)) => return self.lost(error.into()),
                Err(_) if wake < deadline => return Received::Nothing,
                Err(_) if !mid_frame && self.held.is_some() => return self.release_unless_doubtful(),
                Err(_) if mid_frame => return self.lost(ExchangeError::Timeout),
                Err(_) => {
                    let late = self.flights.remove(0).id;
                    self.late.truncate(LATE_MAX.saturating_sub(1));
                    self.late.push_front((late, Instant::now() + self.pauses.timeout * LATE_TIMEOUTS));
                    return Received::Answer { ticket, result: Err(ExchangeError::Timeout), lost: false };
                }
            }
        }
    }

    /// Gives out the answer that was held.
    fn release(&mut self) -> Received {
        match self.held.take() {
            Some((ticket, result)) => Received::Answer { ticket, result, lost: false },
            None => Received::Nothing,
        }
    }

    /// Gives out the answer that was held and has no header behind it. If its end may be the beginning of another answer,
    /// it is none; if it is, the rest of that one cannot be followed.
    fn release_unless_doubtful(&mut self) -> Received {
        let now = Instant::now();
        self.late.retain(|(_, until)| now < *until);
        let mut others = self.late.iter().map(|(id, _)| *id).chain(self.flights.iter().map(|flight| flight.id));
        if let Some((_, result @ Ok(()))) = &mut self.held
            && others.any(|id| ends_with_begun(&self.data, id))
        {
            *result = Err(ExchangeError::Doubtful);
        }
        self.release()
    }

    fn lost(&mut self, error: ExchangeError) -> Received {
        match self.give_up() {
            Some(ticket) => Received::Answer { ticket, result: Err(error), lost: true },
            None => Received::Nothing,
        }
    }

    /// An id that no byte between frames can be taken for. Those that are left out do not make neighbours of others.
    fn next_id(&mut self) -> u16 {
        // Of 65,536 ids a skipped byte hides 256: this ends.
        loop {
            let id = self.ids.next_id();
            if !self.sieve.hides(id) && self.flights.iter().all(|flight| flight.id.abs_diff(id) > 1) {
                return id;
            }
        }
    }

    /// Takes `count` bytes in the reader's space, but those between frames that the device is known to send.
    fn filled(&mut self, count: usize) {
        if self.sieve.is_open() {
            return self.reader.filled(count);
        }
        let passed = self.sieve.pass(self.reader.space().get(..count).unwrap_or_default());
        self.reader.push(&passed);
    }
}

/// Whether the last bytes of `data` may be the first of an answer to `id`: its id, the protocol's 0, and any others.
fn ends_with_begun(data: &[u8], id: u16) -> bool {
    let [high, low] = id.to_be_bytes();
    let begun = [high, low, 0, 0];
    (1..begun.len()).any(|count| data.ends_with(begun.get(..count).unwrap_or(&begun)))
        || data.windows(begun.len()).any(|four| four == begun)
}

/// Room for the next read, and for what the sieve has kept back.
fn space<'a>(reader: &'a mut FrameReader, sieve: &Sieve) -> &'a mut [u8] {
    let space = reader.space();
    let length = space.len().saturating_sub(sieve.held());
    space.get_mut(..length).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::DuplexStream;

    use super::*;
    use crate::driver::modbus::bisect::Part;
    use crate::protocol::modbus::{Function, Request};

    const REQUEST_LENGTH: usize = 12;

    fn wire(skip: Vec<Vec<u8>>) -> (TcpWire, DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let pauses = Pauses { timeout: Duration::from_secs(1), after_connect: Duration::ZERO, between_requests: Duration::ZERO };
        let dropped = IntCounter::new("dropped", "answers nobody waits for").unwrap();
        (TcpWire::new(Stream::Duplex(ours), pauses, 7, skip, dropped), theirs)
    }

    fn ask() -> Ask {
        let ticket = Ticket { group: 0, block: 0, part: Part { from: 0, to: 1 }, widened: false };
        let request = Request { unit_id: 1, function: Function::HoldingRegisters, address: 0, quantity: 1 };
        Ask { ticket, request, check_unit: true }
    }

    #[tokio::test]
    async fn ids_begin_like_nothing_that_is_skipped_and_are_no_neighbours() {
        // Only ids from 0x0700 to 0x07FF are left, so that neighbours follow each other often.
        let skip: Vec<Vec<u8>> = (0..=u8::MAX).filter(|byte| *byte != 7).map(|byte| vec![byte]).collect();
        let (mut wire, mut theirs) = wire(skip);
        let mut ids = Vec::new();
        for _ in 0..300 {
            wire.send(ask()).await.unwrap();
            let mut request = [0; REQUEST_LENGTH];
            theirs.read_exact(&mut request).await.unwrap();
            ids.push(u16::from_be_bytes([request[0], request[1]]));
            if !wire.has_room() {
                wire.flights.remove(0);
            }
        }
        assert!(ids.iter().all(|id| id.to_be_bytes()[0] == 7));
        for in_flight in ids.windows(7) {
            let [before @ .., last] = in_flight else { unreachable!() };
            assert!(before.iter().all(|id| id.abs_diff(*last) > 1), "{in_flight:04X?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_header_that_breaks_off_ends_the_connection() {
        for (bytes, is_lost) in [(&b"PING"[..], false), (&b"PI"[..], false), (&[7, 1, 0][..], true), (&[7, 1, 0, 0, 0, 5, 1][..], true)] {
            let (mut wire, mut theirs) = wire(vec![b"PING".to_vec()]);
            wire.send(ask()).await.unwrap();
            theirs.write_all(bytes).await.unwrap();
            let Received::Answer { result: Err(ExchangeError::Timeout), lost, .. } = wire.receive(None).await else {
                panic!("no answer is no answer");
            };
            assert_eq!(lost, is_lost, "{bytes:?}");
        }
    }

    /// A short answer is completed by the beginning of a late one whose rest is still under way.
    #[tokio::test(start_paused = true)]
    async fn an_answer_that_ends_as_a_late_one_begins_does_not_count() {
        async fn asked(wire: &mut TcpWire, theirs: &mut DuplexStream) -> [u8; 2] {
            wire.send(Ask { request: Request { quantity: 4, ..ask().request }, ..ask() }).await.unwrap();
            let mut request = [0; REQUEST_LENGTH];
            theirs.read_exact(&mut request).await.unwrap();
            [request[0], request[1]]
        }
        let answer = |id: [u8; 2]| [&id[..], &[0, 0, 0, 11, 1, 3, 8, 0xA1, 0xA2, 0xA3, 0xA4, 0xA5, 0xA6, 0xA7, 0xA8]].concat();
        for (cut, first) in [(1, 1), (2, 2), (3, 3), (4, 4), (8, 8), (1, 2), (2, 5)] {
            let (mut wire, mut theirs) = wire(Vec::new());
            let late = answer(asked(&mut wire, &mut theirs).await);
            let Received::Answer { result: Err(ExchangeError::Timeout), lost: false, .. } = wire.receive(None).await else {
                panic!("the first is not answered yet");
            };
            let mut short = answer(asked(&mut wire, &mut theirs).await);
            short.truncate(short.len() - cut);
            let (begun, rest) = late.split_at(first);
            theirs.write_all(&[&short, begun].concat()).await.unwrap();
            let Received::Answer { result: Err(_), .. } = wire.receive(None).await else { panic!("{cut} bytes of another answer") };
            theirs.write_all(rest).await.unwrap();
            assert!(!wire.is_usable().await, "{cut}");
        }
        // One as it should be counts at once, late ones or not; so does one once the late one has come, or will not.
        for (is_sent, wait_s) in [(true, 0), (false, 0), (false, 11)] {
            let (mut wire, mut theirs) = wire(Vec::new());
            let id = asked(&mut wire, &mut theirs).await;
            wire.receive(None).await;
            if is_sent {
                theirs.write_all(&answer(id)).await.unwrap();
            }
            tokio::time::sleep(Duration::from_secs(wait_s)).await;
            let mut whole = answer(asked(&mut wire, &mut theirs).await);
            if is_sent || wait_s > 0 {
                let end = whole.len() - 2;
                whole[end..].copy_from_slice(&id);
            }
            theirs.write_all(&whole).await.unwrap();
            let Received::Answer { result, .. } = wire.receive(None).await else { panic!("answered") };
            assert!(result.is_ok(), "{is_sent} {wait_s} {result:?}");
        }
    }

    #[tokio::test]
    async fn what_is_kept_back_has_room() {
        // A frame as long as they are: as many as fill the room, and more, behind the beginning of the first.
        let mut frame = vec![7, 1, 0, 0, 0, 253, 1, 3, 250];
        frame.resize(FRAME_LENGTH_MAX - 1, 0);
        let stream = frame.repeat(40);
        for cut in 1..10 {
            let (mut wire, mut theirs) = wire(vec![b"PING".to_vec()]);
            let (begun, rest) = stream.split_at(cut);
            theirs.write_all(begun).await.unwrap();
            assert!(wire.is_usable().await);
            theirs.write_all(rest).await.unwrap();
            assert!(wire.is_usable().await, "cut at {cut}");
            assert_eq!(wire.dropped.get(), 40, "cut at {cut}");
        }
    }
}
