//! The stream between server and socket: takes whole answers from the server and spoils them on their way out.

use std::collections::VecDeque;
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::fault::{Fault, Faults};

/// Pause between the two segments of a split answer.
const SPLIT_PAUSE: Duration = Duration::from_millis(2);
/// Late answers held at once; when full, the oldest is dropped.
const LATE_MAX: usize = 64;

/// A socket whose outgoing answers suffer faults.
#[derive(Debug)]
pub(super) struct Transport {
    stream: TcpStream,
    faults: Arc<Faults>,
    random: fastrand::Rng,
    /// Bytes from the server that are not a whole answer yet.
    incoming: Vec<u8>,
    /// Segments in their order on the wire, each with the time before which it is not sent.
    outgoing: VecDeque<(Instant, Vec<u8>)>,
    /// Late answers; each goes to the end of `outgoing` when its time has come.
    late: VecDeque<(Instant, Vec<u8>)>,
    timer: Pin<Box<Sleep>>,
    closing: bool,
}

impl Transport {
    pub(super) fn new(stream: TcpStream, faults: Arc<Faults>) -> Self {
        let random = faults.random();
        Self {
            stream,
            faults,
            random,
            incoming: Vec::new(),
            outgoing: VecDeque::new(),
            late: VecDeque::new(),
            timer: Box::pin(sleep_until(Instant::now())),
            closing: false,
        }
    }

    fn answer(&mut self, mut frame: Vec<u8>) {
        let now = Instant::now();
        match self.faults.draw(&mut self.random) {
            None => {}
            Some(Fault::LateAnswer) => {
                if self.late.len() >= LATE_MAX {
                    self.late.pop_front();
                }
                self.late.push_back((now + self.faults.late(), frame));
                return;
            }
            Some(Fault::Silence) => return,
            Some(Fault::Close) => {
                self.closing = true;
                return;
            }
            Some(Fault::Split) => {
                let rest = frame.split_off(self.random.usize(1..frame.len()));
                self.outgoing.push_back((now, frame));
                self.outgoing.push_back((now + SPLIT_PAUSE, rest));
                return;
            }
            Some(Fault::Duplicate) => self.outgoing.push_back((now, frame.clone())),
            Some(fault) => spoil(&mut frame, fault, &mut self.random),
        }
        self.outgoing.push_back((now, frame));
    }

    /// Sends what is due. Pending only while the socket takes no more.
    fn send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let now = Instant::now();
            while self.late.front().is_some_and(|(time, _)| *time <= now) {
                self.outgoing.extend(self.late.pop_front());
            }
            match self.outgoing.front_mut() {
                Some((time, segment)) if *time <= now => {
                    let written = ready!(Pin::new(&mut self.stream).poll_write(cx, segment))?;
                    segment.drain(..written);
                    if segment.is_empty() {
                        self.outgoing.pop_front();
                    }
                }
                head => {
                    let next = [head.map(|(time, _)| *time), self.late.front().map(|(time, _)| *time)].into_iter().flatten().min();
                    let Some(next) = next else { return Poll::Ready(Ok(())) };
                    if self.timer.deadline() != next {
                        self.timer.as_mut().reset(next);
                    }
                    if self.timer.as_mut().poll(cx).is_pending() {
                        return Poll::Ready(Ok(()));
                    }
                    self.timer.as_mut().reset(next + Duration::from_millis(1));
                }
            }
        }
    }
}

/// Changes the bytes of a whole answer.
fn spoil(frame: &mut Vec<u8>, fault: Fault, random: &mut fastrand::Rng) {
    let cut = random.usize(1..=4);
    match (fault, frame.as_mut_slice()) {
        (Fault::WrongTransactionId, [high, low, ..]) => {
            let id = u16::from_be_bytes([*high, *low]);
            [*high, *low] = if random.bool() { id.wrapping_add(1) } else { id.wrapping_sub(1) }.to_be_bytes();
        }
        (Fault::WrongProtocol, [_, _, _, low, ..]) => *low = 7,
        (Fault::WrongUnit, [_, _, _, _, _, _, unit_id, ..]) => *unit_id = unit_id.wrapping_add(1),
        (Fault::WrongFunction, [_, _, _, _, _, _, _, function, ..]) => *function ^= 0x01,
        (Fault::WrongByteCount, [_, _, _, _, _, _, _, _, count, ..]) => *count = count.wrapping_add(2),
        (Fault::Exception, [_, _, _, _, _, low, _, function, code, ..]) => {
            (*low, *function, *code) = (3, *function | 0x80, 6);
            frame.truncate(9);
        }
        (Fault::ShortFrame, [_, _, _, _, _, low, ..]) if usize::from(*low) > cut + 2 => {
            *low = low.wrapping_sub(u8::try_from(cut).unwrap_or(1));
            frame.truncate(frame.len().saturating_sub(cut));
        }
        (Fault::TruncatedFrame, _) => frame.truncate(frame.len().saturating_sub(cut)),
        _ => {}
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.closing {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if let Poll::Ready(Err(error)) = this.send(cx) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut this.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.incoming.extend_from_slice(bytes);
        while let Some(&[_, _, _, _, high, low]) = this.incoming.first_chunk() {
            let length = usize::from(u16::from_be_bytes([high, low])).saturating_add(6);
            if this.incoming.len() < length {
                break;
            }
            let rest = this.incoming.split_off(length);
            let frame = std::mem::replace(&mut this.incoming, rest);
            this.answer(frame);
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.closing {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        this.send(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
