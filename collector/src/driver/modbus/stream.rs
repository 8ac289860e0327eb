//! What bytes go through: a TCP socket, or a serial port with nobody else on it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use serial2_tokio::rs4xx::{Rs485Config, TransceiverMode};
use serial2_tokio::{CharSize, FlowControl, Parity as PortParity, SerialPort, Settings, StopBits};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::catalogue::{ModbusRtuSettings, Parity, Rs485};

/// An open way to the units of a line.
#[derive(Debug)]
pub(super) enum Stream {
    /// A TCP connection, made by either side.
    Tcp(TcpStream),
    /// A serial port.
    Serial(Serial),
    /// Two ends in memory.
    #[cfg(test)]
    Duplex(tokio::io::DuplexStream),
}

/// A serial port and its lock.
#[derive(Debug)]
pub(super) struct Serial {
    port: SerialPort,
    /// Whether bytes take their time; not so on a pseudo-terminal.
    has_speed: bool,
    _lock: File,
}

impl Serial {
    /// Whether bytes take the time that the baud rate says.
    pub(super) fn has_speed(&self) -> bool {
        self.has_speed
    }
}

/// Opens a port and sets it up. Errors are for people.
pub(super) fn open_serial(settings: &ModbusRtuSettings) -> Result<Stream, String> {
    let path = &settings.path;
    let lock = lock(path)?;
    let format = settings.format;
    let configure = |mut port: Settings| {
        port.set_raw();
        port.set_baud_rate(format.baud)?;
        port.set_char_size(CharSize::Bits8);
        port.set_parity(match format.parity {
            Parity::None => PortParity::None,
            Parity::Even => PortParity::Even,
            Parity::Odd => PortParity::Odd,
        });
        port.set_stop_bits(if format.stop_bits == 2 { StopBits::Two } else { StopBits::One });
        port.set_flow_control(FlowControl::None);
        Ok(port)
    };
    let port = SerialPort::open(path, configure).map_err(|error| {
        format!("cannot open {path} at {format}: {error}; check the cable, the adapter, and that parkgate may use it (group dialout)")
    })?;
    if let Some(rs485) = &settings.rs485 {
        port.set_rs4xx_mode(transceiver(rs485))
            .map_err(|error| format!("{path} has no RS-485 mode: {error}; remove `rs485` where the adapter switches by itself"))?;
    }
    let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.into());
    Ok(Stream::Serial(Serial { port, has_speed: !real.starts_with("/dev/pts"), _lock: lock }))
}

/// Takes the port for us alone, as terminal programs do (flock), so that no second program asks on the line.
fn lock(path: &str) -> Result<File, String> {
    let flags = rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or(0);
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path);
    let file = file.map_err(|error| {
        format!("cannot open {path}: {error}; check the cable, the adapter, and that parkgate may use it (group dialout)")
    })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(format!("{path} is in use by another link or program; a line has one master: end the other one"))
        }
        Err(std::fs::TryLockError::Error(error)) => Err(format!("cannot lock {path}: {error}")),
    }
}

fn transceiver(rs485: &Rs485) -> TransceiverMode {
    let mut config = Rs485Config::new();
    config.set_delay_before_send(Duration::from_millis(rs485.delay_before_send_ms.into()));
    config.set_delay_after_send(Duration::from_millis(rs485.delay_after_send_ms.into()));
    config.set_invert_rts(rs485.invert_rts);
    config.set_bus_termination(rs485.termination);
    TransceiverMode::Rs485(config)
}

impl Stream {
    /// What has arrived, without waiting; `None`: nothing. `Some(Ok(0))`: the other side has closed.
    pub(super) async fn read_now(&mut self, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        if let Self::Tcp(stream) = self {
            return match stream.try_read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
                result => Some(result),
            };
        }
        // Outside of the task's budget: "nothing" must mean nothing, not that other tasks are to go first.
        tokio::task::unconstrained(std::future::poll_fn(|cx| {
            let mut buffer = ReadBuf::new(buffer);
            Poll::Ready(match Pin::new(&mut *self).poll_read(cx, &mut buffer) {
                Poll::Pending => None,
                Poll::Ready(Ok(())) => Some(Ok(buffer.filled().len())),
                Poll::Ready(Err(error)) => Some(Err(error)),
            })
        }))
        .await
    }
}

/// Hands a call on to the stream inside.
macro_rules! each {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Self::Tcp($stream) => $call,
            Self::Serial(Serial { port: $stream, .. }) => $call,
            #[cfg(test)]
            Self::Duplex($stream) => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write(cx, bytes))
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_flush(cx))
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
