//! The client's connection, TCP or TLS, with a side entrance for acknowledgements.
//!
//! The client sends each acknowledgement handed to it as a write of its own, and ends the connection over one that belongs
//! to an earlier connection. Here acknowledgements are appended to the bytes that wait, between the client's packets, and
//! go out together when the client reads next or flushes. The queue belongs to one connection, so nothing of an earlier one
//! can get into it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// Bytes that wait to be written on one connection. Cheap to clone.
///
/// Bounded by what the broker has sent: four bytes for each message that it has in flight, and the few packets that the
/// client makes of itself.
#[derive(Clone, Debug, Default)]
pub struct Outgoing(Arc<Mutex<BytesMut>>);

impl Outgoing {
    fn lock(&self) -> MutexGuard<'_, BytesMut> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Appends PUBACK packets (MQTT 3.1.1, 3.4; MQTT 5, 3.4.2.1: without a reason it is success) in the given order.
    pub fn acknowledge(&self, packet_ids: impl Iterator<Item = u16>) {
        let mut bytes = self.lock();
        for id in packet_ids {
            let [high, low] = id.to_be_bytes();
            bytes.extend_from_slice(&[0x40, 0x02, high, low]);
        }
    }
}

/// The bare connection.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Plain(TcpStream),
    /// TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
}

/// A stream whose writes wait in an [`Outgoing`] until the next flush or read.
#[derive(Debug)]
pub struct Socket {
    stream: Stream,
    outgoing: Outgoing,
}

impl Socket {
    /// Wraps a connected stream.
    pub fn new(stream: Stream, outgoing: Outgoing) -> Self {
        Self { stream, outgoing }
    }

    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut bytes = self.outgoing.lock();
        while !bytes.is_empty() {
            let written = ready!(match &mut self.stream {
                Stream::Plain(stream) => Pin::new(stream).poll_write(cx, &bytes),
                Stream::Tls(stream) => Pin::new(stream).poll_write(cx, &bytes),
            })?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            bytes.advance(written);
        }
        match &mut self.stream {
            Stream::Plain(_) => Poll::Ready(Ok(())),
            // What was written may still wait in a record.
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // What cannot be written now is written when the stream can take it: `cx` is woken for both.
        if let Poll::Ready(Err(error)) = self.poll_write_out(cx) {
            return Poll::Ready(Err(error));
        }
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    /// Takes everything at once, so that acknowledgements always fall between packets.
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.outgoing.lock().extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_write_out(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_out(cx))?;
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
