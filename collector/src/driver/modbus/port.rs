//! How a link gets its connection: we connect, we open a serial port, or the device connects to us.

use std::time::Duration;

use prometheus::IntCounter;
use tokio::net::TcpStream;

use super::dial_in::{Listeners, Seat};
use super::due::{DueAnswers, DueLines};
use super::rtu::RtuWire;
use super::stream::{Stream, open_serial};
use super::tcp::TcpWire;
use super::wire::{Pauses, Wire};
use crate::catalogue::{DriverSettings, Framing, LineSettings, ModbusDialInSettings, ModbusRtuSettings, ModbusTcpSettings};

/// How long we wait for a device to connect before we say that it has not.
const DIAL_IN_LIMIT: Duration = Duration::from_secs(10);
/// A serial port opens at once, or not at all.
const OPEN_LIMIT: Duration = Duration::from_secs(10);

/// What a link needs to get its connection.
pub(super) struct Port {
    kind: Kind,
    framing: Framing,
    line: LineSettings,
    timeout_ms: u32,
    /// What may still come on a line in RTU frames, by this connection or the next.
    due: DueAnswers,
}

enum Kind {
    Tcp(ModbusTcpSettings),
    Serial(ModbusRtuSettings),
    DialIn {
        settings: ModbusDialInSettings,
        listeners: Listeners,
        seat: Option<Seat>,
    },
    /// Ends of streams in memory, the next one last.
    #[cfg(test)]
    Duplex(Vec<tokio::io::DuplexStream>, Option<crate::catalogue::SerialFormat>),
}

impl Kind {
    /// What the line is reached by.
    fn name(&self) -> String {
        match self {
            Self::Tcp(settings) => format!("{}:{}", settings.host, settings.port),
            Self::Serial(settings) => settings.path.clone(),
            Self::DialIn { settings, .. } => format!("{} {}", settings.listen, settings.identity().escape_ascii()),
            #[cfg(test)]
            Self::Duplex(..) => String::new(),
        }
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) struct PortError {
    /// For people.
    pub(super) text: String,
    /// The next attempt must wait.
    pub(super) wait: bool,
}

impl Port {
    /// The port of a link's settings; `None` where they are not of Modbus.
    pub(super) fn new(driver: &DriverSettings, listeners: Listeners, lines: &DueLines) -> Option<Self> {
        let (kind, framing, line, timeout_ms) = match driver {
            DriverSettings::ModbusTcp(settings) => (Kind::Tcp(settings.clone()), Framing::Tcp, &settings.line, settings.timeout_ms),
            DriverSettings::ModbusRtuOverTcp(settings) => (Kind::Tcp(settings.clone()), Framing::Rtu, &settings.line, settings.timeout_ms),
            DriverSettings::ModbusRtu(settings) => (Kind::Serial(settings.clone()), Framing::Rtu, &settings.line, settings.timeout_ms),
            DriverSettings::ModbusDialIn(settings) => {
                let kind = Kind::DialIn { settings: settings.clone(), listeners, seat: None };
                (kind, settings.framing, &settings.line, settings.timeout_ms)
            }
            DriverSettings::Mqtt(_) | DriverSettings::Own => return None,
        };
        let due = lines.begin(kind.name(), due_answers(line, timeout_ms));
        Some(Self { kind, framing, line: line.clone(), timeout_ms, due })
    }

    /// A port of streams in memory, the first one first, as on a line of this speed.
    #[cfg(test)]
    pub(super) fn of_streams(
        mut streams: Vec<tokio::io::DuplexStream>,
        format: Option<crate::catalogue::SerialFormat>,
        line: LineSettings,
        timeout_ms: u32,
    ) -> Self {
        streams.reverse();
        let due = due_answers(&line, timeout_ms);
        Self { kind: Kind::Duplex(streams, format), framing: Framing::Rtu, line, timeout_ms, due }
    }

    /// Longest wait for an answer.
    pub(super) fn timeout_ms(&self) -> u32 {
        self.timeout_ms
    }

    /// How long an attempt may take.
    pub(super) fn connect_limit(&self) -> Duration {
        match &self.kind {
            Kind::Tcp(settings) => Duration::from_millis(settings.connect_timeout_ms.into()),
            Kind::Serial(_) => OPEN_LIMIT,
            Kind::DialIn { .. } => DIAL_IN_LIMIT,
            #[cfg(test)]
            Kind::Duplex(..) => OPEN_LIMIT,
        }
    }

    /// Whether attempts are to be spread; who waits for others to connect need not.
    pub(super) fn wants_backoff(&self) -> bool {
        !matches!(self.kind, Kind::DialIn { .. })
    }

    /// Whether a time-out of many requests is a reason for a new connection: a serial port does not become better by that.
    pub(super) fn may_be_half_open(&self) -> bool {
        !matches!(self.kind, Kind::Serial(_))
    }

    /// Whether the device has made a newer connection.
    pub(super) fn is_replaced(&self) -> bool {
        matches!(&self.kind, Kind::DialIn { seat: Some(seat), .. } if seat.is_replaced())
    }

    /// What to say when an attempt took too long.
    pub(super) fn no_connection(&self) -> String {
        match &self.kind {
            Kind::Tcp(ModbusTcpSettings { host, port, connect_timeout_ms, .. }) => {
                no_connection(host, *port, &format!("no answer in {connect_timeout_ms} ms"))
            }
            Kind::DialIn { settings, .. } => {
                let who = settings.identity().escape_ascii();
                format!(
                    "no device `{who}` has connected to {}; check its server address, its registration and its network",
                    settings.listen
                )
            }
            _ => "the port does not open; check the adapter".to_owned(),
        }
    }

    /// One attempt. Cancel-safe.
    pub(super) async fn open(&mut self, dropped: IntCounter) -> Result<Wire, PortError> {
        let mut skip = Vec::new();
        let mut format = None;
        let stream = match &mut self.kind {
            Kind::Tcp(ModbusTcpSettings { host, port, .. }) => connect(host, *port).await.map_err(|text| PortError { text, wait: true })?,
            Kind::Serial(settings) => {
                let stream = open_serial(settings).map_err(|text| PortError { text, wait: true })?;
                if let Stream::Serial(serial) = &stream {
                    format = serial.has_speed().then_some(settings.format);
                }
                stream
            }
            Kind::DialIn { settings, listeners, seat } => {
                skip.extend([&settings.heartbeat, &settings.registration].into_iter().filter(|bytes| !bytes.is_empty()).cloned());
                let seat = match seat {
                    Some(seat) => seat,
                    None => match listeners.seat(settings.listen, settings.identity(), &settings.heartbeat) {
                        Ok(taken) => seat.insert(taken),
                        Err(error) => {
                            let text = format!("cannot listen on {}: {error}; choose another port, or end what holds it", settings.listen);
                            return Err(PortError { text, wait: true });
                        }
                    },
                };
                let stream = seat.arrival().await;
                // Best effort: without it small frames are only slower.
                let _ = stream.set_nodelay(true);
                Stream::Tcp(stream)
            }
            #[cfg(test)]
            Kind::Duplex(streams, speed) => {
                format = *speed;
                match streams.pop() {
                    Some(stream) => Stream::Duplex(stream),
                    None => return Err(PortError { text: "no more streams".to_owned(), wait: true }),
                }
            }
        };
        let line = &self.line;
        let pauses = Pauses {
            timeout: Duration::from_millis(self.timeout_ms.into()),
            after_connect: Duration::from_millis(line.after_connect_ms.into()),
            between_requests: Duration::from_millis(line.between_requests_ms.into()),
        };
        Ok(match self.framing {
            Framing::Tcp => Wire::Tcp(TcpWire::new(stream, pauses, usize::from(line.pipeline.max(1)), skip, dropped)),
            Framing::Rtu => Wire::Rtu(RtuWire::new(stream, pauses, line, format, skip, self.due.clone(), dropped)),
        })
    }
}

fn due_answers(line: &LineSettings, timeout_ms: u32) -> DueAnswers {
    DueAnswers::new(Duration::from_millis(timeout_ms.into()), Duration::from_millis(line.late_window_ms.into()))
}

/// A TCP connection to a server. Errors are for people.
pub(super) async fn connect(host: &str, port: u16) -> Result<Stream, String> {
    let stream = TcpStream::connect((host, port)).await.map_err(|error| no_connection(host, port, &error.to_string()))?;
    // Best effort: without it small frames are only slower.
    let _ = stream.set_nodelay(true);
    Ok(Stream::Tcp(stream))
}

/// Why there is no connection to a server, for people.
pub(super) fn no_connection(host: &str, port: u16, why: &str) -> String {
    format!("cannot connect to {host}:{port}: {why}; check address, port and cabling")
}
