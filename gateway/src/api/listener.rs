//! The listening socket with its bounds: how many connections there may be, how long one may stay silent, and how long it
//! may take from the first byte of a request to the first of its answer.
//!
//! Without them, clients that connect and say nothing, or a byte now and then, take every place and every file descriptor,
//! and the record needs some too. With TLS
//! the handshake is part of the connection: it takes place when the connection is first read, so that a slow one holds up
//! no other, and it has a time-out of its own.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use prometheus::IntCounter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, TlsAcceptor};

/// Connections at one time; further ones wait in the queue of the operating system until one closes.
pub const CONNECTIONS_MAX: usize = 256;
/// A connection on which nothing was written for so long since the last write, or since the first byte that came after it,
/// is closed. More than a request has to come in and be answered. Event streams write every second.
pub const IDLE_MAX: Duration = Duration::from_secs(60);
/// Longest time of a TLS handshake.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// A listener that keeps the bounds.
pub struct Bounded {
    listener: TcpListener,
    permits: Arc<Semaphore>,
    idle_max: Duration,
    tls: Option<(TlsAcceptor, IntCounter)>,
}

impl Bounded {
    /// At most `connections_max` connections, each silent for at most `idle_max`.
    pub fn new(listener: TcpListener, connections_max: usize, idle_max: Duration) -> Self {
        Self { listener, permits: Arc::new(Semaphore::new(connections_max)), idle_max, tls: None }
    }

    /// With TLS on every connection; handshakes that fail are counted.
    pub fn with_tls(self, acceptor: TlsAcceptor, failed: IntCounter) -> Self {
        Self { tls: Some((acceptor, failed)), ..self }
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let permit = Arc::clone(&self.permits).acquire_owned().await.expect("never closed");
        // The listener's own: it waits where the inherent one fails, such as with no file descriptor left.
        let (stream, address) = Listener::accept(&mut self.listener).await;
        // An event goes out when it is written; where that cannot be set, it goes out a little later.
        let _ = stream.set_nodelay(true);
        let idle = Box::pin(sleep(self.idle_max));
        let stream = match &self.tls {
            None => Stream::Plain(stream),
            Some((acceptor, failed)) => Stream::Handshake {
                accept: Box::new(acceptor.accept(stream)),
                deadline: Box::pin(sleep(HANDSHAKE_MAX)),
                failed: failed.clone(),
            },
        };
        (Connection { stream, idle, idle_max: self.idle_max, is_asked: false, _permit: permit }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Address of the peer of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

impl Connected<IncomingStream<'_, Bounded>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Bounded>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// One connection; its place is free again when it is dropped.
pub struct Connection {
    stream: Stream,
    idle: Pin<Box<Sleep>>,
    idle_max: Duration,
    /// Something was read since the last write: further bytes give no more time.
    is_asked: bool,
    _permit: OwnedSemaphorePermit,
}

enum Stream {
    Plain(TcpStream),
    Handshake {
        accept: Box<Accept<TcpStream>>,
        deadline: Pin<Box<Sleep>>,
        failed: IntCounter,
    },
    Tls(Box<TlsStream<TcpStream>>),
    /// The handshake failed.
    Failed,
}

/// What both kinds of stream do, once there is one.
trait Wire: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Wire for T {}

impl Stream {
    /// The stream to read and write, when the handshake is done.
    fn poll_wire(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Pin<&mut dyn Wire>>> {
        if let Self::Handshake { accept, deadline, failed } = self {
            let outcome = match Pin::new(accept).poll(context) {
                Poll::Ready(outcome) => outcome,
                Poll::Pending => match deadline.as_mut().poll(context) {
                    Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
                    Poll::Pending => return Poll::Pending,
                },
            };
            match outcome {
                Ok(stream) => *self = Self::Tls(Box::new(stream)),
                Err(error) => {
                    failed.inc();
                    *self = Self::Failed;
                    return Poll::Ready(Err(error));
                }
            }
        }
        match self {
            Self::Plain(stream) => Poll::Ready(Ok(Pin::new(stream))),
            Self::Tls(stream) => Poll::Ready(Ok(Pin::new(&mut **stream))),
            Self::Handshake { .. } | Self::Failed => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl Connection {
    /// Passes the result of a read or write on; progress that gives time starts the idle time anew, and waiting ends with it.
    fn watched<T>(&mut self, context: &mut Context<'_>, result: Poll<io::Result<T>>, is_read: bool) -> Poll<io::Result<T>> {
        if result.is_ready() {
            if !(is_read && self.is_asked) {
                let deadline = Instant::now() + self.idle_max;
                self.idle.as_mut().reset(deadline);
            }
            self.is_asked = is_read;
            return result;
        }
        match self.idle.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Connection {
    /// Does something with the stream once there is one.
    fn on_wire<T>(
        &mut self,
        context: &mut Context<'_>,
        action: impl FnOnce(Pin<&mut dyn Wire>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match self.stream.poll_wire(context) {
            Poll::Ready(Ok(wire)) => action(wire, context),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let result = self.on_wire(context, |wire, context| wire.poll_read(context, buffer));
        self.watched(context, result, true)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = self.on_wire(context, |wire, context| wire.poll_write(context, bytes));
        self.watched(context, result, false)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let result = self.on_wire(context, |wire, context| wire.poll_write_vectored(context, bytes));
        self.watched(context, result, false)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
            Stream::Handshake { .. } | Stream::Failed => true,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.on_wire(context, |wire, context| wire.poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.on_wire(context, |wire, context| wire.poll_shutdown(context))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn a_silent_connection_ends_and_gives_its_place_to_the_next() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut bounded = Bounded::new(listener, 1, Duration::from_millis(50));
        let mut first = TcpStream::connect(address).await.unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        first.write_all(b"a").await.unwrap();
        second.write_all(b"b").await.unwrap();

        let (mut connection, _) = bounded.accept().await;
        assert_eq!(connection.read_u8().await.unwrap(), b'a');
        assert!(is_pending(bounded.accept()).await, "there is no second place");
        assert_eq!(connection.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(connection);
        let (mut connection, _) = bounded.accept().await;
        assert_eq!(connection.read_u8().await.unwrap(), b'b');
    }

    #[tokio::test]
    async fn a_request_that_comes_byte_by_byte_ends_and_an_answer_gives_time_again() {
        let idle_max = Duration::from_millis(400);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut connection, _) = Bounded::new(listener, 1, idle_max).accept().await;
        let slow = tokio::spawn(async move {
            while client.write_all(b"a").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let begun = Instant::now();
        while begun.elapsed() < 2 * idle_max {
            connection.read_u8().await.unwrap();
            connection.write_all(b"b").await.unwrap();
        }
        let begun = Instant::now();
        let ended = loop {
            match connection.read_u8().await {
                Ok(_) => assert!(begun.elapsed() < 10 * idle_max, "it goes on for ever"),
                Err(error) => break error,
            }
        };
        assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
        slow.abort();
    }

    /// Whether `future` is not done at its first poll.
    async fn is_pending(future: impl Future) -> bool {
        let mut future = std::pin::pin!(future);
        std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await
    }
}
