//! One face for all ways to ask units: requests go out, answers come back with the ticket of their request.
//!
//! [`tcp`](super::tcp) matches by transaction id, several requests at once; [`rtu`](super::rtu) has one request on the
//! line and lets silence tell answers apart. Neither is cancel-safe: a future dropped half-way leaves a wire that must
//! be dropped too.

use std::time::Duration;

use thiserror::Error;
use tokio::time::Instant;

use super::bisect::Part;
use super::rtu::RtuWire;
use super::tcp::TcpWire;
use crate::protocol::modbus::rtu::RtuError;
use crate::protocol::modbus::{AnswerError, FrameError, Request};

/// Why a request brought no registers.
#[derive(Debug, Error)]
pub(super) enum ExchangeError {
    /// No answer before the deadline.
    #[error("not answered")]
    Timeout,
    /// An answer, but not what was asked for.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// Bytes on an RTU line that are no answer.
    #[error(transparent)]
    Rtu(RtuError),
    /// An answer that ends as a late one to another request begins.
    #[error("the answer may have been completed by the beginning of a late one; is the time-out too short?")]
    Doubtful,
    /// More than one answer to one request.
    #[error("two answers to one request; do two units share this id, or is there another master?")]
    TwoAnswers,
    /// The line is never silent.
    #[error("bytes keep coming though nothing was asked; is there another master, or noise on the line?")]
    Noise,
    /// The stream cannot be followed; the connection was closed.
    #[error("{0}; connection closed")]
    Frame(#[from] FrameError),
    /// The peer closed.
    #[error("connection closed by the device; does another master hold it?")]
    Closed,
    /// The socket failed; the connection was closed.
    #[error("connection lost: {0}")]
    Io(#[from] std::io::Error),
}

/// What an answer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    /// Index of the group.
    pub(super) group: usize,
    /// Index of its block.
    pub(super) block: usize,
    /// Which points of it.
    pub(super) part: Part,
    /// More was asked for than wanted, so that the answer has a length of its own.
    pub(super) widened: bool,
}

/// A request on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub(super) ticket: Ticket,
    pub(super) request: Request,
    pub(super) check_unit: bool,
}

/// What came of waiting.
#[derive(Debug)]
pub(super) enum Received {
    /// An answer, its data in [`Wire::data`], or none. `lost`: the connection must be dropped.
    Answer { ticket: Ticket, result: Result<(), ExchangeError>, lost: bool },
    /// The time is over, or nothing was asked.
    Nothing,
}

/// Pauses of a connection; all minima.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pauses {
    pub(super) timeout: Duration,
    pub(super) after_connect: Duration,
    pub(super) between_requests: Duration,
}

/// A connection to units.
#[derive(Debug)]
pub(super) enum Wire {
    Tcp(TcpWire),
    Rtu(RtuWire),
}

/// Calls what both kinds have.
macro_rules! both {
    ($self:ident, $wire:ident => $call:expr) => {
        match $self {
            Self::Tcp($wire) => $call,
            Self::Rtu($wire) => $call,
        }
    };
}

impl Wire {
    /// Takes in what came while nothing was waited for. False: the peer has closed, or sent what no one can follow.
    pub(super) async fn is_usable(&mut self) -> bool {
        both!(self, wire => wire.is_usable().await)
    }

    /// The time before which nothing may be sent.
    pub(super) fn ready_at(&self) -> Instant {
        both!(self, wire => wire.ready_at())
    }

    /// Lets time go by until `until`; what arrives is thrown away where answers are told apart by silence.
    pub(super) async fn rest(&mut self, until: Instant) -> Result<(), ExchangeError> {
        match self {
            Self::Tcp(_) => {
                tokio::time::sleep_until(until).await;
                Ok(())
            }
            Self::Rtu(wire) => wire.rest(until).await,
        }
    }

    /// Requests without answer so far.
    pub(super) fn in_flight(&self) -> usize {
        both!(self, wire => wire.in_flight())
    }

    /// Whether a further request may go out.
    pub(super) fn has_room(&self) -> bool {
        match self {
            Self::Tcp(wire) => wire.has_room(),
            Self::Rtu(wire) => wire.in_flight() == 0,
        }
    }

    /// Until when the answer to `request` could not be told from a late one to a request before; `None`: it can. A time
    /// that has passed: it most likely can, and another request would be better if there is one.
    pub(super) fn conflict(&self, request: &Request, check_unit: bool, now: Instant) -> Option<Instant> {
        match self {
            Self::Tcp(_) => None,
            Self::Rtu(wire) => wire.conflict(request, check_unit, now),
        }
    }

    /// Sends a request. An error means that the wire is lost; the request counts as in flight all the same.
    pub(super) async fn send(&mut self, ask: Ask) -> Result<(), ExchangeError> {
        both!(self, wire => wire.send(ask).await)
    }

    /// Waits for an answer, at most until `until`.
    pub(super) async fn receive(&mut self, until: Option<Instant>) -> Received {
        match self {
            Self::Tcp(wire) => wire.receive(until).await,
            Self::Rtu(wire) => wire.receive().await,
        }
    }

    /// The data of the last answer.
    pub(super) fn data(&self) -> &[u8] {
        both!(self, wire => wire.data())
    }

    /// A request that will not be answered any more, one after another.
    pub(super) fn give_up(&mut self) -> Option<Ticket> {
        both!(self, wire => wire.give_up())
    }
}
