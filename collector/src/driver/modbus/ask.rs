//! One question at a time, by hand: for tools that look at a device outside the polling of its link.

use std::time::Duration;

use prometheus::IntCounter;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::wire::{Connection, ExchangeError, Wire};
use crate::catalogue::{DriverSettings, Link, ModbusTcpSettings};
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

/// A connection of one's own beside that of the gateway.
#[derive(Debug)]
pub struct Asker {
    settings: ModbusTcpSettings,
    wire: Option<Wire>,
}

impl Asker {
    /// For the devices of a link; `None` when it is no Modbus link. Connects at the first question.
    pub fn new(link: &Link) -> Option<Self> {
        match &link.driver {
            DriverSettings::ModbusTcp(settings) => Some(Self { settings: settings.clone(), wire: None }),
            DriverSettings::Mqtt(_) | DriverSettings::Own => None,
        }
    }

    /// Asks once and waits for the data of the answer.
    pub async fn ask(&mut self, request: &Request, check_unit: bool) -> Result<Vec<u8>, Unanswered> {
        let mut wire = match self.wire.take() {
            Some(wire) => wire,
            None => self.connect().await?,
        };
        let limit = Duration::from_millis(u64::from(self.settings.timeout_ms));
        match wire.exchange(request, check_unit, limit, <[u8]>::to_vec).await {
            Ok(data) => {
                self.wire = Some(wire);
                Ok(data)
            }
            Err((error, connection)) => {
                if connection == Connection::Usable {
                    self.wire = Some(wire);
                }
                Err(match error {
                    ExchangeError::Timeout => Unanswered::Timeout,
                    ExchangeError::Answer(AnswerError::Exception(exception)) => Unanswered::Exception(exception),
                    error @ (ExchangeError::Answer(_) | ExchangeError::Frame(_)) => Unanswered::BadAnswer(error.to_string()),
                    error @ (ExchangeError::Closed | ExchangeError::Io(_)) => Unanswered::Lost(error.to_string()),
                })
            }
        }
    }

    async fn connect(&self) -> Result<Wire, Unanswered> {
        let ModbusTcpSettings { host, port, connect_timeout_ms, .. } = &self.settings;
        let limit = Duration::from_millis(u64::from(*connect_timeout_ms));
        let failed = |why: String| Unanswered::NoConnection(format!("cannot connect to {host}:{port}: {why}"));
        let stream = match timeout(limit, TcpStream::connect((host.as_str(), *port))).await {
            Ok(stream) => stream.map_err(|error| failed(error.to_string()))?,
            Err(_) => return Err(failed(format!("no answer in {connect_timeout_ms} ms"))),
        };
        stream.set_nodelay(true).map_err(|error| failed(error.to_string()))?;
        let dropped = IntCounter::new("dropped", "answers nobody waits for").map_err(|error| failed(error.to_string()))?;
        Ok(Wire::new(stream, dropped))
    }
}
