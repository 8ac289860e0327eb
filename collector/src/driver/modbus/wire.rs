//! One Modbus TCP connection: one request at a time, its answer matched by transaction id within a deadline.
//!
//! What makes a wrong value impossible: an answer counts only if its id is the one waited for and unit, function, byte
//! count and length agree; ids come in no simple order; answers to ids no longer waited for are dropped and counted; a
//! stream that cannot be followed (wrong header, or a deadline that passes within a frame) is closed.

use std::io::ErrorKind;
use std::time::Duration;

use prometheus::IntCounter;
use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::protocol::modbus::{AnswerError, FrameError, FrameReader, Request, TransactionIds};

/// Why a request brought no registers.
#[derive(Debug, Error)]
pub(super) enum ExchangeError {
    /// No answer before the deadline.
    #[error("not answered")]
    Timeout,
    /// An answer, but not what was asked for.
    #[error(transparent)]
    Answer(#[from] AnswerError),
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

/// A connection and what is known of its stream.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    reader: FrameReader,
    ids: TransactionIds,
    dropped: IntCounter,
}

impl Wire {
    /// Takes over a new connection; answers that come too late are counted in `dropped`.
    pub(super) fn new(stream: TcpStream, dropped: IntCounter) -> Self {
        Self { stream, reader: FrameReader::new(), ids: TransactionIds::new(fastrand::u16(..)), dropped }
    }

    /// Takes in what came while nothing was waited for. False: the peer has closed, or sent what no one can follow.
    pub(super) fn is_usable(&mut self) -> bool {
        loop {
            match self.stream.try_read(self.reader.space()) {
                Ok(0) => return false,
                Ok(count) => self.reader.filled(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
            loop {
                match self.reader.next_frame() {
                    Ok(Some(_)) => self.dropped.inc(),
                    Ok(None) => break,
                    Err(_) => return false,
                }
            }
        }
    }

    /// Sends a request and gives the data of its answer to `on_data`. After an error that is not an answer the second
    /// part says whether the connection can be used further.
    ///
    /// Not cancel-safe: a future dropped half-way leaves a connection that must be dropped too.
    pub(super) async fn exchange<T>(
        &mut self,
        request: &Request,
        check_unit: bool,
        timeout: Duration,
        on_data: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, (ExchangeError, Connection)> {
        let id = self.ids.next_id();
        let Self { stream, reader, dropped, .. } = self;
        let mut written = false;
        let answer = timeout_at(Instant::now() + timeout, async {
            stream.write_all(&request.encode(id)).await?;
            written = true;
            loop {
                while let Some(frame) = reader.next_frame()? {
                    if frame.transaction_id == id {
                        return Ok(on_data(request.check(&frame, check_unit)?));
                    }
                    dropped.inc();
                }
                match stream.read(reader.space()).await? {
                    0 => return Err(ExchangeError::Closed),
                    count => reader.filled(count),
                }
            }
        })
        .await;
        match answer {
            Ok(Ok(data)) => Ok(data),
            Ok(Err(error @ ExchangeError::Answer(_))) => Err((error, Connection::Usable)),
            Ok(Err(error)) => Err((error, Connection::Lost)),
            Err(_) if written && !self.reader.is_mid_frame() => Err((ExchangeError::Timeout, Connection::Usable)),
            Err(_) => Err((ExchangeError::Timeout, Connection::Lost)),
        }
    }
}

/// Whether a connection can be used after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connection {
    /// The next request may go out.
    Usable,
    /// It must be dropped.
    Lost,
}
