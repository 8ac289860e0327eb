//! One question at a time, by hand: for tools that look at a device outside the polling of its link.

use prometheus::IntCounter;
use tokio::time::{Instant, timeout};

use super::bisect::Part;
use super::dial_in::Listeners;
use super::due::DueLines;
use super::port::Port;
use super::wire::{Ask, ExchangeError, Received, Ticket, Wire};
use crate::catalogue::Link;
use crate::protocol::modbus::{AnswerError, Exception, Request};

/// Why a question brought no data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// There is no connection.
    NoConnection(String),
    /// Nothing came in time.
    Timeout,
    /// The device refused.
    Exception(Exception),
    /// Something came that does not fit the question.
    BadAnswer(String),
    /// The connection broke.
    Lost(String),
}

/// A connection of one's own beside that of the gateway. A serial port that another program holds is not opened.
pub struct Asker {
    port: Port,
    wire: Option<Wire>,
}

impl Asker {
    /// For the devices of a link; `None` when it is no Modbus link. Connects at the first question.
    pub fn new(link: &Link) -> Option<Self> {
        Some(Self { port: Port::new(&link.driver, Listeners::default(), &DueLines::default())?, wire: None })
    }

    /// Asks once and waits for the data of the answer.
    ///
    /// Not cancel-safe: an asker whose question was dropped half-way must be dropped too.
    pub async fn ask(&mut self, request: &Request, check_unit: bool) -> Result<Vec<u8>, Unanswered> {
        let mut wire = match self.wire.take() {
            Some(wire) => wire,
            None => self.connect().await?,
        };
        let (result, lost) = match exchange(&mut wire, request, check_unit).await {
            Ok(Received::Answer { result, lost, .. }) => (result, lost),
            Ok(Received::Nothing) => (Err(ExchangeError::Timeout), true),
            Err(error) => (Err(error), true),
        };
        let answer = result.map(|()| wire.data().to_vec());
        if !lost {
            self.wire = Some(wire);
        }
        answer.map_err(|error| match error {
            ExchangeError::Timeout => Unanswered::Timeout,
            ExchangeError::Answer(AnswerError::Exception(exception)) => Unanswered::Exception(exception),
            error @ (ExchangeError::Closed | ExchangeError::Io(_)) => Unanswered::Lost(error.to_string()),
            error => Unanswered::BadAnswer(error.to_string()),
        })
    }

    async fn connect(&mut self) -> Result<Wire, Unanswered> {
        let dropped = IntCounter::new("dropped", "answers nobody waits for");
        let dropped = dropped.map_err(|error| Unanswered::NoConnection(error.to_string()))?;
        match timeout(self.port.connect_limit(), self.port.open(dropped)).await {
            Ok(Ok(wire)) => Ok(wire),
            Ok(Err(error)) => Err(Unanswered::NoConnection(error.text)),
            Err(_) => Err(Unanswered::NoConnection(self.port.no_connection())),
        }
    }
}

/// Sends a request when the line allows it, and waits for what comes of it.
async fn exchange(wire: &mut Wire, request: &Request, check_unit: bool) -> Result<Received, ExchangeError> {
    loop {
        let now = Instant::now();
        let free = wire.conflict(request, check_unit, now).unwrap_or(now).max(wire.ready_at());
        if free <= now {
            break;
        }
        wire.rest(free).await?;
    }
    let ticket = Ticket { group: 0, block: 0, part: Part { from: 0, to: 0 }, widened: false };
    wire.send(Ask { ticket, request: *request, check_unit }).await?;
    Ok(wire.receive(None).await)
}
