//! Bytes to a line and back, without the rules of polling: for the search of units, which must hear what polling throws
//! away. A serial port is locked for us alone, as for polling, so that a gateway that runs keeps its line.

use std::fmt;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout_at};

use super::port::{connect, no_connection};
use super::stream::{Stream, open_serial};
use crate::catalogue::{LineSettings, ModbusRtuSettings, Rs485, SerialFormat, quiet_time_us};

/// A line that is not silent for so long is not ours alone.
const NOISE_LIMIT: Duration = Duration::from_secs(2);
/// Silence after bytes, before more is sent: the rest of damaged ones has passed.
const SETTLE: Duration = Duration::from_millis(20);
/// How long a line is listened to behind a whole answer: another unit with the same id is a little slower.
const SECOND_ANSWER: Duration = Duration::from_millis(60);
/// Most bytes kept of one exchange.
const BYTES_MAX: usize = 4_096;

/// How a line is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// RTU frames on a serial port.
    Serial(SerialFormat),
    /// RTU frames on a TCP connection: a converter that passes bytes through.
    RtuOverTcp,
    /// Modbus TCP: a device, or a gateway with units behind it.
    Tcp,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serial(format) => write!(f, "{format}"),
            Self::RtuOverTcp => f.write_str("RTU over TCP"),
            Self::Tcp => f.write_str("Modbus TCP"),
        }
    }
}

/// Where a line is.
pub enum Way {
    /// A serial port.
    Serial {
        /// Device file.
        path: String,
        /// RS-485 mode of its driver.
        rs485: Option<Rs485>,
    },
    /// A TCP server.
    Tcp {
        /// Host name or address.
        host: String,
        /// TCP port.
        port: u16,
        /// Longest wait for a connection.
        connect_timeout: Duration,
    },
    /// Ends of streams in memory, one for each opening.
    #[cfg(test)]
    Ends(Box<dyn FnMut(Setting) -> Result<tokio::io::DuplexStream, String> + Send>),
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serial { path, .. } => f.write_str(path),
            Self::Tcp { host, port, .. } => write!(f, "{host}:{port}"),
            #[cfg(test)]
            Self::Ends(_) => f.write_str("memory"),
        }
    }
}

/// Why nothing can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RawError {
    /// The connection is gone; a new one may help.
    Lost(String),
    /// Bytes keep coming though nothing was asked.
    Noise,
}

/// What came of one question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Bytes that came before it was sent.
    pub before: Vec<u8>,
    /// Bytes that came after it.
    pub bytes: Vec<u8>,
    /// From the last bit sent to the end of the answer; `None` where there was none.
    pub time: Option<Duration>,
}

/// A line that is open.
#[derive(Debug)]
pub struct RawLine {
    stream: Stream,
    /// Speed, where bytes take their time.
    format: Option<SerialFormat>,
    quiet: Duration,
    second_answer: Duration,
    last_byte: Instant,
}

impl RawLine {
    /// Opens a line. Errors are for people.
    pub async fn open(way: &mut Way, setting: Setting) -> Result<Self, String> {
        let mut format = None;
        let stream = match (way, setting) {
            (Way::Serial { path, rs485 }, Setting::Serial(wanted)) => {
                let (path, rs485) = (path.clone(), *rs485);
                let settings = ModbusRtuSettings { path, format: wanted, rs485, timeout_ms: 0, line: LineSettings::default() };
                let stream = open_serial(&settings)?;
                if let Stream::Serial(serial) = &stream {
                    format = serial.has_speed().then_some(wanted);
                }
                stream
            }
            (Way::Tcp { host, port, connect_timeout }, Setting::RtuOverTcp | Setting::Tcp) => {
                let connected = timeout_at(Instant::now() + *connect_timeout, connect(host, *port)).await;
                let no_answer = |_| no_connection(host, *port, &format!("no answer in {} ms", connect_timeout.as_millis()));
                connected.map_err(no_answer)??
            }
            #[cfg(test)]
            (Way::Ends(open), setting) => {
                if let Setting::Serial(wanted) = setting {
                    format = Some(wanted);
                }
                Stream::Duplex(open(setting)?)
            }
            (way, setting) => return Err(format!("{way} cannot be asked as {setting}")),
        };
        let quiet = match setting {
            Setting::Serial(format) => Duration::from_micros(quiet_time_us(format.baud).into()).max(SETTLE),
            Setting::RtuOverTcp => SETTLE,
            Setting::Tcp => Duration::ZERO,
        };
        let second_answer = if setting == Setting::Tcp { Duration::ZERO } else { SECOND_ANSWER.max(quiet.saturating_mul(2)) };
        let now = Instant::now();
        Ok(Self { stream, format, quiet, second_answer, last_byte: now })
    }

    /// Sends a frame when the line is silent, and gathers what comes: until `is_whole` says that the answer is there and
    /// nothing follows it, or until the time is over. `answer_bytes`: what the answer has most likely.
    ///
    /// Not cancel-safe: a line whose question was dropped half-way must be dropped too.
    pub async fn exchange(
        &mut self,
        frame: &[u8],
        answer_bytes: usize,
        timeout: Duration,
        is_whole: &(dyn Fn(&[u8]) -> bool + Sync),
    ) -> Result<Heard, RawError> {
        let before = self.silence().await?;
        let begun = Instant::now();
        match timeout_at(begun + timeout.max(NOISE_LIMIT), self.stream.write_all(frame)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(RawError::Lost(error.to_string())),
            Err(_) => return Err(RawError::Lost("what is sent is not taken".to_owned())),
        }
        let (mut sent, mut deadline) = (Instant::now(), Instant::now() + timeout);
        if let Some(format) = self.format {
            sent += format.transmission(frame.len());
            deadline = sent + timeout + format.transmission(answer_bytes);
        }
        let limit = deadline + NOISE_LIMIT;
        let mut heard = Heard { before, ..Heard::default() };
        while heard.bytes.len() < BYTES_MAX {
            let until = if is_whole(&heard.bytes) {
                heard.time.get_or_insert(self.last_byte.saturating_duration_since(sent));
                self.last_byte + self.second_answer
            } else if heard.bytes.is_empty() {
                deadline
            } else {
                deadline.max(self.last_byte + self.quiet)
            };
            let mut buffer = [0; 512];
            match timeout_at(until.min(limit), self.stream.read(&mut buffer)).await {
                Err(_) => break,
                Ok(Ok(0)) => return Err(RawError::Lost("connection closed; does another master hold it?".to_owned())),
                Ok(Ok(count)) => {
                    self.last_byte = Instant::now();
                    heard.bytes.extend_from_slice(buffer.get(..count).unwrap_or_default());
                }
                Ok(Err(error)) => return Err(RawError::Lost(error.to_string())),
            }
        }
        Ok(heard)
    }

    /// Waits until the line is silent; what came.
    async fn silence(&mut self) -> Result<Vec<u8>, RawError> {
        let begun = Instant::now();
        let mut came = Vec::new();
        loop {
            let mut buffer = [0; 512];
            match timeout_at(self.last_byte + self.quiet, self.stream.read(&mut buffer)).await {
                Err(_) => return Ok(came),
                Ok(Ok(0)) => return Err(RawError::Lost("connection closed; does another master hold it?".to_owned())),
                Ok(Ok(count)) => {
                    self.last_byte = Instant::now();
                    if came.len() < BYTES_MAX {
                        came.extend_from_slice(buffer.get(..count).unwrap_or_default());
                    }
                    if begun.elapsed() > NOISE_LIMIT {
                        return Err(RawError::Noise);
                    }
                }
                Ok(Err(error)) => return Err(RawError::Lost(error.to_string())),
            }
        }
    }
}
