//! RTU frames on a line: one request at a time, told apart by unit, function, length and silence.
//!
//! What makes a wrong value impossible, as long as answers come at most the late window late:
//!
//! - before a request the line has been silent for the quiet time, and what was there is thrown away;
//! - a frame that began before our request was finished is not its answer;
//! - after a request without answer nothing is sent until the late window is over, and after an answer to something else
//!   until our own can come no more; what arrives is thrown away. So is what arrives on a line that we have just taken
//!   over: who had it before may have asked;
//! - unit, function and byte count must agree, the CRC must be right, and a second answer spoils the first;
//! - two requests in a row whose answers would look alike are kept apart ([`RtuWire::conflict`]): by one more register,
//!   by another unit's request in between, or by the late window. A request whose answer may still come, because what
//!   came was damaged or the connection broke, is kept apart from all that look alike, by one more register or by time;
//! - what may still come is remembered beyond the connection ([`super::due`]).

use std::time::Duration;

use prometheus::IntCounter;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::due::{DueAnswers, End, Shape};
use super::stream::Stream;
use super::wire::{Ask, ExchangeError, Pauses, Received, Ticket};
use crate::catalogue::{Echo, LineSettings, SerialFormat};
use crate::protocol::modbus::rtu::{FRAME_LENGTH_MAX, LineTraits, REQUEST_LENGTH, RtuError, Scan, answer_length, encode, finish, scan};
use crate::protocol::modbus::{AnswerError, Request};

/// Bytes kept of what arrives: an echo, an answer, and something behind it.
const BUFFER_LENGTH: usize = 2 * FRAME_LENGTH_MAX + REQUEST_LENGTH;
/// Bytes behind an answer that a line makes by itself when a sender lets go of it; no frame is as short.
const NOISE_BYTES_MAX: usize = 3;
/// Silence after damaged bytes, so that the rest of them has passed.
const SETTLE: Duration = Duration::from_millis(20);
/// A line that is not silent for so long when we want to send is not ours alone.
const NOISE_LIMIT: Duration = Duration::from_secs(5);

/// A line and what is known of it.
#[derive(Debug)]
pub(super) struct RtuWire {
    stream: Stream,
    pauses: Pauses,
    quiet: Duration,
    /// Speed of the line, where bytes take their time.
    format: Option<SerialFormat>,
    echo: Echo,
    /// Whether an echo was seen, once that is known.
    echoes: Option<bool>,
    /// Bytes of a device that dialled in which belong to no frame.
    skip: Vec<Vec<u8>>,
    buffer: Box<[u8; BUFFER_LENGTH]>,
    length: usize,
    data: Vec<u8>,
    flight: Option<Flight>,
    /// What may still come on this line, also from before this connection.
    due: DueAnswers,
    last_byte: Instant,
    ready_at: Instant,
    /// Since when we want to send and cannot, because the line is not silent.
    unquiet_since: Option<Instant>,
    dropped: IntCounter,
}

#[derive(Clone, Copy, Debug)]
struct Flight {
    ask: Ask,
    deadline: Instant,
}

impl RtuWire {
    /// Takes over a line that was just opened, of which `due` knows what was asked before; bytes that nobody asked for are
    /// counted in `dropped`, piece by piece.
    pub(super) fn new(
        stream: Stream,
        pauses: Pauses,
        line: &LineSettings,
        format: Option<SerialFormat>,
        skip: Vec<Vec<u8>>,
        due: DueAnswers,
        dropped: IntCounter,
    ) -> Self {
        let now = Instant::now();
        due.opened(now);
        Self {
            stream,
            pauses,
            quiet: Duration::from_micros(line.quiet_time_us.into()),
            format,
            echo: line.echo,
            echoes: None,
            skip,
            buffer: Box::new([0; BUFFER_LENGTH]),
            length: 0,
            data: Vec::with_capacity(FRAME_LENGTH_MAX),
            flight: None,
            due,
            last_byte: now,
            ready_at: now + pauses.after_connect,
            unquiet_since: None,
            dropped,
        }
    }

    pub(super) fn ready_at(&self) -> Instant {
        self.silent_until().max(self.last_byte + self.quiet)
    }

    /// The time before which nothing is sent, however quiet the line is.
    fn silent_until(&self) -> Instant {
        self.due.silent_until().map_or(self.ready_at, |until| until.max(self.ready_at))
    }

    pub(super) fn in_flight(&self) -> usize {
        usize::from(self.flight.is_some())
    }

    pub(super) fn data(&self) -> &[u8] {
        &self.data
    }

    pub(super) fn give_up(&mut self) -> Option<Ticket> {
        self.flight.take().map(|flight| flight.ask.ticket)
    }

    /// See [`super::wire::Wire::conflict`].
    pub(super) fn conflict(&self, request: &Request, check_unit: bool, now: Instant) -> Option<Instant> {
        self.due.conflict(Shape::of(request, check_unit), now)
    }

    /// Throws away what is there.
    pub(super) async fn is_usable(&mut self) -> bool {
        self.drain().await.is_ok()
    }

    async fn drain(&mut self) -> Result<(), ExchangeError> {
        self.length = 0;
        loop {
            match self.stream.read_now(self.buffer.as_mut_slice()).await {
                None => return Ok(()),
                Some(Ok(0)) => return Err(ExchangeError::Closed),
                Some(Ok(count)) => self.stray(count),
                Some(Err(error)) => return Err(error.into()),
            }
        }
    }

    /// `count` bytes came that nobody asked for.
    fn stray(&mut self, count: usize) {
        self.last_byte = Instant::now();
        let mut bytes = self.buffer.get(..count).unwrap_or_default();
        while let Some(skip) = self.skip.iter().find(|skip| bytes.starts_with(skip)) {
            bytes = bytes.get(skip.len()..).unwrap_or_default();
        }
        if !bytes.is_empty() {
            self.dropped.inc();
        }
    }

    /// Lets time go by and throws away what arrives. Errors: the connection is gone, or the line is never silent.
    pub(super) async fn rest(&mut self, until: Instant) -> Result<(), ExchangeError> {
        self.length = 0;
        match timeout_at(until, self.stream.read(self.buffer.as_mut_slice())).await {
            Err(_) => {}
            Ok(Ok(0)) => return Err(ExchangeError::Closed),
            Ok(Ok(count)) => self.stray(count),
            Ok(Err(error)) => return Err(error.into()),
        }
        let now = Instant::now();
        if now < self.silent_until() || now >= self.ready_at() {
            self.unquiet_since = None;
        } else if now.duration_since(*self.unquiet_since.get_or_insert(now)) > NOISE_LIMIT {
            return Err(ExchangeError::Noise);
        }
        Ok(())
    }

    pub(super) async fn send(&mut self, ask: Ask) -> Result<(), ExchangeError> {
        self.flight = Some(Flight { ask, deadline: Instant::now() + self.pauses.timeout });
        loop {
            self.drain().await?;
            let ready_at = self.ready_at();
            if ready_at <= Instant::now() {
                break;
            }
            self.rest(ready_at).await?;
        }
        self.unquiet_since = None;
        let frame = encode(&ask.request);
        let begun = Instant::now();
        let shape = Shape::of(&ask.request, ask.check_unit);
        self.due.sent(shape, begun + self.pauses.timeout);
        match timeout_at(begun + self.pauses.timeout, self.stream.write_all(&frame)).await {
            Ok(written) => written?,
            Err(_) => return Err(ExchangeError::Timeout),
        }
        let mut sent = Instant::now();
        let mut answer_time = Duration::ZERO;
        if let Some(format) = self.format {
            sent += format.transmission(frame.len());
            answer_time = format.transmission(answer_length(&ask.request));
            self.while_sending(&frame, sent).await?;
        }
        self.last_byte = sent;
        let deadline = sent + self.pauses.timeout + answer_time;
        self.due.sent(shape, deadline);
        self.flight = Some(Flight { ask, deadline });
        Ok(())
    }

    /// While our bytes are on the line, only their echo can come; anything else began before our request was finished.
    async fn while_sending(&mut self, frame: &[u8], sent: Instant) -> Result<(), ExchangeError> {
        while self.length < BUFFER_LENGTH {
            let space = self.buffer.get_mut(self.length..).unwrap_or_default();
            match timeout_at(sent, self.stream.read(space)).await {
                Err(_) => break,
                Ok(Ok(0)) => return Err(ExchangeError::Closed),
                Ok(Ok(count)) => self.length = self.length.saturating_add(count),
                Ok(Err(error)) => return Err(error.into()),
            }
        }
        sleep_until(sent).await;
        let received = self.buffer.get(..self.length).unwrap_or_default();
        let echo = if frame.starts_with(received) {
            self.length
        } else if received.starts_with(frame) {
            frame.len()
        } else {
            0
        };
        if self.echo == Echo::No || echo < self.length {
            self.dropped.inc();
        }
        self.length = if self.echo == Echo::No { 0 } else { echo };
        Ok(())
    }

    pub(super) async fn receive(&mut self) -> Received {
        let Some(Flight { ask, deadline }) = self.flight else { return Received::Nothing };
        let (result, lost) = match self.answer(&ask, deadline).await {
            Ok(result) => (result, false),
            Err(error) => (Err(error), true),
        };
        self.flight = None;
        let end = Instant::now();
        let (how, pause) = match &result {
            Ok(()) => (End::Answered, Duration::ZERO),
            Err(ExchangeError::Answer(AnswerError::Exception(_))) => (End::Refused, Duration::ZERO),
            Err(ExchangeError::Timeout | ExchangeError::Rtu(RtuError::Incomplete { .. })) => (End::Silence, Duration::ZERO),
            Err(ExchangeError::Answer(_)) => (End::Foreign, Duration::ZERO),
            Err(_) => (End::Damaged, SETTLE.max(self.quiet)),
        };
        self.due.ended(end, how);
        self.ready_at = end + pause.max(self.pauses.between_requests);
        Received::Answer { ticket: ask.ticket, result, lost }
    }

    /// Reads until the answer is there or judged. The outer error: the connection is gone.
    async fn answer(&mut self, ask: &Ask, deadline: Instant) -> Result<Result<(), ExchangeError>, ExchangeError> {
        let traits = LineTraits { check_unit: ask.check_unit, skip_echo: self.skips_echo(&ask.request) };
        loop {
            if !self.strip() {
                let received = self.buffer.get(..self.length).unwrap_or_default();
                match scan(&ask.request, received, traits) {
                    Ok(Scan::Complete { data, length }) => {
                        self.data.clear();
                        self.data.extend_from_slice(data);
                        if !is_like_its_echo(&ask.request) {
                            self.echoes = Some(received.starts_with(&encode(&ask.request)));
                        }
                        let mut rest = received.get(length..).unwrap_or_default();
                        while let Some(skip) = self.skip.iter().find(|skip| rest.starts_with(skip)) {
                            rest = rest.get(skip.len()..).unwrap_or_default();
                        }
                        return Ok(if rest.len() > NOISE_BYTES_MAX { Err(ExchangeError::TwoAnswers) } else { Ok(()) });
                    }
                    Ok(Scan::Incomplete { .. }) => {}
                    Err(error) => return Ok(Err(error.into())),
                }
            }
            let space = self.buffer.get_mut(self.length..).unwrap_or_default();
            if space.is_empty() {
                return Ok(Err(ExchangeError::Rtu(RtuError::TooLong)));
            }
            match timeout_at(deadline, self.stream.read(space)).await {
                Ok(Ok(0)) => return Err(ExchangeError::Closed),
                Ok(Ok(count)) => {
                    self.length = self.length.saturating_add(count);
                    self.last_byte = Instant::now();
                }
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => {
                    let received = self.buffer.get(..self.length).unwrap_or_default();
                    return Ok(match finish(&ask.request, received, traits) {
                        // Complete was told above: what is whole only at the deadline is not taken.
                        Ok(_) => Err(ExchangeError::Timeout),
                        Err(error) => Err(error.into()),
                    });
                }
            }
        }
    }

    /// Takes bytes away that the device sends by itself. True: what is there may become such bytes.
    fn strip(&mut self) -> bool {
        if self.skip.is_empty() {
            return false;
        }
        while let Some(skip) = self.skip.iter().find(|skip| self.buffer.get(..self.length).unwrap_or_default().starts_with(skip)) {
            let (cut, length) = (skip.len(), self.length);
            self.buffer.copy_within(cut..length, 0);
            self.length = length.saturating_sub(cut);
        }
        let received = self.buffer.get(..self.length).unwrap_or_default();
        !received.is_empty() && self.skip.iter().any(|skip| skip.starts_with(received))
    }

    /// Whether the request's own bytes are taken for an echo. Where an answer could look the same, only on a line that
    /// is known to have none they are not.
    fn skips_echo(&self, request: &Request) -> bool {
        match self.echo {
            Echo::No => false,
            Echo::Yes => true,
            Echo::Auto => !is_like_its_echo(request) || self.echoes != Some(false),
        }
    }
}

/// Whether the right answer to a request can have the bytes of the request: three bytes of data, the high byte of the
/// address being that count.
fn is_like_its_echo(request: &Request) -> bool {
    let [high, _] = request.address.to_be_bytes();
    request.data_length() == 3 && high == 3
}

impl From<RtuError> for ExchangeError {
    fn from(error: RtuError) -> Self {
        match error {
            RtuError::Answer(error) => Self::Answer(error),
            RtuError::Silent => Self::Timeout,
            error => Self::Rtu(error),
        }
    }
}
