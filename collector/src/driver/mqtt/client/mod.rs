//! The MQTT client as the driver sees it: connect, subscribe and unsubscribe, messages in, acknowledgements out.
//!
//! [`v4`] and [`v5`] know the libraries of 3.1.1 and 5; [`tls`] and [`socket`] the connection under both. It never
//! acknowledges by itself, never reconnects by itself, and never waits with messages in hand.

pub mod socket;
pub mod tls;
mod v4;
mod v5;

use std::collections::VecDeque;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use rumqttc::NetworkOptions;
use thiserror::Error;

use self::socket::{Outgoing, Socket, Stream};
use crate::catalogue::{MqttSettings, MqttVersion, TlsSettings};

/// Largest packet that the client takes at first; a longer one makes the connection start again with [`PACKET_BYTES_PROTOCOL`].
/// With MQTT 5 the broker is told and keeps longer ones to itself.
const PACKET_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Largest packet of the protocol (MQTT 3.1.1, 2.2.3).
const PACKET_BYTES_PROTOCOL: usize = 268_435_460;
/// Longest that connecting or writing may take, in seconds.
const CONNECT_TIMEOUT_S: u64 = 10;
/// Requests that wait for the event loop: subscriptions and the rare acknowledgement of QoS 2.
const REQUESTS_MAX: usize = 1024;
/// Filters in one SUBSCRIBE packet; more go into further packets.
pub(super) const FILTERS_PER_PACKET: usize = 100;

/// What acknowledges one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    packet_id: u16,
    exactly_once: bool,
}

/// One message.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// Topic, as bytes of the packet; the client has checked that it is UTF-8.
    pub topic: Bytes,
    /// Payload, as bytes of the packet.
    pub payload: Bytes,
    /// Packet identifier; 0 for QoS 0, which needs no acknowledgement.
    pub packet_id: u16,
    /// It came with QoS 2, for instance by a subscription that an earlier configuration left in the session.
    pub exactly_once: bool,
    /// DUP: the broker may have delivered it before.
    pub redelivered: bool,
    /// RETAIN: stored at the broker from before the subscription.
    pub retained: bool,
}

impl Incoming {
    /// What acknowledges it; `None` for QoS 0, which needs nothing.
    pub fn ack(&self) -> Option<Ack> {
        (self.packet_id != 0).then_some(Ack { packet_id: self.packet_id, exactly_once: self.exactly_once })
    }
}

/// What comes from the broker.
#[derive(Debug)]
pub enum Event {
    /// A message.
    Message(Incoming),
    /// Answer to one subscription packet: whether each of its filters was refused.
    Subscribed {
        /// In order of the packet.
        refused: Vec<bool>,
    },
    /// Answer to one packet of [`Client::unsubscribe`].
    Unsubscribed,
}

/// The connection cannot be made, or ended.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no broker at {address}: connection refused; check that it runs and that host and port are right")]
    Refused {
        /// Host and port.
        address: String,
    },
    /// No answer.
    #[error("no answer from {address} within {CONNECT_TIMEOUT_S} s; check host, port and firewall")]
    Timeout {
        /// Host and port.
        address: String,
    },
    /// The broker does not let us in.
    #[error("{address} refuses the connection: {why}")]
    NotAccepted {
        /// Host and port.
        address: String,
        /// The broker's reason, and what to do.
        why: String,
    },
    /// The broker hung up.
    #[error("{address} closed the connection; if this repeats, {}", hint(*.over_tls, *.has_certificate))]
    Closed {
        /// Host and port.
        address: String,
        /// The connection is TLS.
        over_tls: bool,
        /// We show a certificate of our own.
        has_certificate: bool,
    },
    /// Another client took the session.
    #[error("another client took the session at {address}; give each its own `client_id`")]
    TakenOver {
        /// Host and port.
        address: String,
    },
    /// TLS, or its settings.
    #[error("TLS to {address}: {text}")]
    Tls {
        /// Host and port.
        address: String,
        /// What is wrong and what to do.
        text: String,
    },
    /// A packet above the client's limit; the next connection takes it.
    #[error("packet of {bytes} bytes is above the client's limit of {PACKET_BYTES_MAX}; connecting again with a higher one")]
    Oversized {
        /// Its length.
        bytes: usize,
    },
    /// Anything else on the connection.
    #[error("connection to {address}: {source}")]
    Io {
        /// Host and port.
        address: String,
        /// What happened.
        source: io::Error,
    },
    /// Anything else in the protocol.
    #[error("connection to {address}: {text}")]
    Protocol {
        /// Host and port.
        address: String,
        /// What the library says.
        text: String,
    },
}

/// What a connection that is closed without a word may mean.
fn hint(over_tls: bool, has_certificate: bool) -> &'static str {
    match (over_tls, has_certificate) {
        (true, false) => "the broker may want a certificate (`certificate_file`, `key_file`), or another client uses the same client id",
        (true, true) => "the broker may not accept our certificate, or another client uses the same client id",
        (false, _) => "another client may use the same client id, or the port speaks TLS only (`tls = {}`)",
    }
}

/// What went wrong, in the words of neither library.
enum Failure {
    Timeout,
    NotAccepted(String),
    Closed,
    TakenOver,
    Oversized(usize),
    Io(io::Error),
    Other(String),
}

/// Opens connections: TCP, then TLS where that is configured.
#[derive(Clone)]
struct Connector {
    tls: Option<Arc<TlsSettings>>,
    /// The queue of the present connection.
    present: Arc<Mutex<Outgoing>>,
}

impl Connector {
    fn open(&self, address: String, network: NetworkOptions) -> impl Future<Output = io::Result<Socket>> + Send + use<> {
        let fresh = Outgoing::default();
        *self.present.lock().unwrap_or_else(PoisonError::into_inner) = fresh.clone();
        let tls = self.tls.clone();
        async move {
            let stream = rumqttc::default_socket_connect(address, network).await?;
            let stream = match tls {
                None => Stream::Plain(stream),
                Some(settings) => Stream::Tls(Box::new(tls::connect(&settings, stream).await?)),
            };
            Ok(Socket::new(stream, fresh))
        }
    }
}

fn network() -> NetworkOptions {
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    network.set_connection_timeout(CONNECT_TIMEOUT_S);
    network
}

/// One broker session.
pub struct Client {
    address: String,
    tls: Option<Arc<TlsSettings>>,
    session: Session,
    /// The queue of the present connection, put there by the connector.
    outgoing: Arc<Mutex<Outgoing>>,
}

enum Session {
    V4(Box<v4::Session>),
    V5(Box<v5::Session>),
}

/// The same call of either session.
macro_rules! either {
    ($session:expr, $inner:ident => $call:expr) => {
        match $session {
            Session::V4($inner) => $call,
            Session::V5($inner) => $call,
        }
    };
}

impl Client {
    /// A client that is not connected yet.
    pub fn new(settings: &MqttSettings) -> Self {
        let outgoing = Arc::new(Mutex::new(Outgoing::default()));
        let tls = settings.tls.clone().map(Arc::new);
        let connector = Connector { tls: tls.clone(), present: Arc::clone(&outgoing) };
        let session = match settings.version {
            MqttVersion::V3 => Session::V4(Box::new(v4::Session::new(settings, connector))),
            MqttVersion::V5 { session_expiry_s } => Session::V5(Box::new(v5::Session::new(settings, session_expiry_s, connector))),
        };
        Self { address: format!("{}:{}", settings.host, settings.port), tls, session, outgoing }
    }

    /// Connects; returns whether the broker kept the session. Dropping the future breaks the attempt off.
    pub async fn connect(&mut self) -> Result<bool, ClientError> {
        self.close();
        let connected = either!(&mut self.session, session => session.connect().await);
        connected.map_err(|failure| self.error(failure))
    }

    /// Drops the connection without a word, so that the broker delivers again what was not acknowledged.
    pub fn close(&mut self) {
        either!(&mut self.session, session => session.close());
    }

    /// Asks for `filters` with their QoS (at most 1); answers come as [`Event::Subscribed`], in the order of the packets.
    /// Returns the filters of each packet.
    pub fn subscribe(&mut self, filters: &[(String, u8)]) -> Result<VecDeque<Vec<(String, u8)>>, ClientError> {
        let mut packets = VecDeque::new();
        for part in filters.chunks(FILTERS_PER_PACKET) {
            let sent = either!(&self.session, session => session.subscribe(part));
            sent.map_err(|error| ClientError::Protocol { address: self.address.clone(), text: format!("cannot subscribe: {error}") })?;
            packets.push_back(part.to_vec());
        }
        Ok(packets)
    }

    /// Gives up `filters`; one that the session does not have is no mistake (MQTT 3.1.1, 3.10.4). Answers come as
    /// [`Event::Unsubscribed`]. Returns the number of packets; those that find no room in the queue are left out.
    pub fn unsubscribe(&mut self, filters: &[String]) -> usize {
        let session = &self.session;
        filters.chunks(FILTERS_PER_PACKET).filter(|part| either!(session, session => session.unsubscribe(part))).count()
    }

    /// The next event. Cancel safe: nothing that was read is lost when the future is dropped.
    pub async fn next(&mut self) -> Result<Event, ClientError> {
        loop {
            match either!(&mut self.session, session => session.poll().await) {
                Ok(Some(event)) => return Ok(event),
                Ok(None) => {}
                Err(failure) => return Err(self.error(failure)),
            }
        }
    }

    /// The next event if there is one without waiting.
    pub fn ready(&mut self) -> Option<Result<Event, ClientError>> {
        let mut context = Context::from_waker(Waker::noop());
        loop {
            let polled = either!(&mut self.session, session => pin!(session.poll()).poll(&mut context));
            match polled {
                Poll::Pending => return None,
                Poll::Ready(Ok(Some(event))) => return Some(Ok(event)),
                Poll::Ready(Ok(None)) => {}
                Poll::Ready(Err(failure)) => return Some(Err(self.error(failure))),
            }
        }
    }

    /// Acknowledges messages of the present connection, in order; it goes out with the next poll.
    pub fn acknowledge(&mut self, acks: &[Ack]) {
        let once = acks.iter().filter(|ack| !ack.exactly_once).map(|ack| ack.packet_id);
        self.outgoing.lock().unwrap_or_else(PoisonError::into_inner).acknowledge(once);
        for ack in acks.iter().filter(|ack| ack.exactly_once) {
            either!(&self.session, session => session.received(ack.packet_id));
        }
    }

    /// Says goodbye after what waits is written; gives up after `limit`. The broker keeps the session.
    pub async fn disconnect(&mut self, limit: Duration) {
        if either!(&self.session, session => session.say_goodbye()) {
            let until_closed = async { while either!(&mut self.session, session => session.poll().await.is_ok()) {} };
            let _ = tokio::time::timeout(limit, until_closed).await;
        }
    }

    fn error(&self, failure: Failure) -> ClientError {
        let address = self.address.clone();
        let closed = |address| ClientError::Closed {
            address,
            over_tls: self.tls.is_some(),
            has_certificate: self.tls.as_ref().is_some_and(|tls| tls.identity.is_some()),
        };
        match failure {
            Failure::Timeout => ClientError::Timeout { address },
            Failure::NotAccepted(why) => ClientError::NotAccepted { address, why },
            Failure::Closed => closed(address),
            Failure::TakenOver => ClientError::TakenOver { address },
            Failure::Oversized(bytes) => ClientError::Oversized { bytes },
            Failure::Io(source) => match (tls::explain(&source), source.kind()) {
                (Some(text), _) => ClientError::Tls { address, text },
                (None, io::ErrorKind::ConnectionRefused) => ClientError::Refused { address },
                (None, io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => closed(address),
                (None, _) => ClientError::Io { address, source },
            },
            Failure::Other(text) => ClientError::Protocol { address, text },
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("address", &self.address).finish_non_exhaustive()
    }
}
