//! The MQTT 3.1.1 client as the driver sees it: connect, subscribe and unsubscribe, messages in, acknowledgements out.
//!
//! The one place that knows the client library. It never acknowledges by itself, never reconnects by itself, and never
//! waits with messages in hand.

use std::future::Future as _;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use rumqttc::mqttbytes::v4::{ConnectReturnCode, Packet, SubscribeReasonCode};
use rumqttc::{
    AckMode, AsyncClient, ConnectionError, Event as LibraryEvent, EventLoop, ManualAck, MqttOptions, NetworkOptions, PubRec, QoS,
    StateError, SubscribeFilter,
};
use thiserror::Error;

use super::socket::{Outgoing, Socket};
use crate::catalogue::spec::MqttSettings;

/// Largest packet that the client takes at first; a longer one makes the connection start again with [`PACKET_BYTES_PROTOCOL`].
const PACKET_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Largest packet of the protocol (MQTT 3.1.1, 2.2.3).
const PACKET_BYTES_PROTOCOL: usize = 268_435_460;
/// Longest that connecting or writing may take, in seconds.
const CONNECT_TIMEOUT_S: u64 = 10;
/// Requests that wait for the event loop: subscriptions and the rare acknowledgement of QoS 2.
const REQUESTS_MAX: usize = 1024;
/// Filters in one SUBSCRIBE packet; more go into further packets.
const FILTERS_PER_PACKET: usize = 100;

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
    /// Answer to one subscription packet: how many of its filters were refused.
    Subscribed {
        /// Filters refused.
        refused: usize,
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
    #[error("{address} refuses the connection: {}", refusal(*.code))]
    NotAccepted {
        /// Host and port.
        address: String,
        /// The broker's reason.
        code: ConnectReturnCode,
    },
    /// The broker hung up.
    #[error("{address} closed the connection; if this repeats, another client may use the same client id")]
    Closed {
        /// Host and port.
        address: String,
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

fn refusal(code: ConnectReturnCode) -> &'static str {
    match code {
        ConnectReturnCode::Success => "accepted",
        ConnectReturnCode::RefusedProtocolVersion => "it does not speak MQTT 3.1.1",
        ConnectReturnCode::BadClientId => "it does not like the client id; set `client_id`",
        ConnectReturnCode::ServiceUnavailable => "the service is unavailable",
        ConnectReturnCode::BadUserNamePassword => "bad user name or password; check `username` and `password`",
        ConnectReturnCode::NotAuthorized => "not authorised: the user name or password is wrong, or the account may not connect",
    }
}

/// One broker session.
pub struct Client {
    address: String,
    event_loop: EventLoop,
    requests: AsyncClient,
    /// The queue of the present connection, put there by the connector.
    outgoing: Arc<Mutex<Outgoing>>,
}

impl Client {
    /// A client that is not connected yet.
    pub fn new(settings: &MqttSettings) -> Self {
        let mut options = MqttOptions::new(settings.client_id.clone(), (settings.host.clone(), settings.port));
        options.set_keep_alive(settings.keep_alive_s);
        options.set_clean_session(false);
        options.set_ack_mode(AckMode::Manual);
        let hard = usize::try_from(settings.max_packet_bytes).unwrap_or(PACKET_BYTES_PROTOCOL).max(PACKET_BYTES_MAX);
        options.set_max_packet_size(hard, PACKET_BYTES_MAX);
        options.set_read_batch_size(128);
        match (&settings.username, &settings.password) {
            (Some(username), Some(password)) => {
                options.set_credentials(username.clone(), Bytes::copy_from_slice(password.reveal().as_bytes()));
            }
            (Some(username), None) => {
                options.set_username(username.clone());
            }
            _ => {}
        }
        let outgoing = Arc::new(Mutex::new(Outgoing::default()));
        let present = Arc::clone(&outgoing);
        options.set_socket_connector(move |address, network| {
            let fresh = Outgoing::default();
            *present.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = fresh.clone();
            async move { Ok(Socket::new(rumqttc::default_socket_connect(address, network).await?, fresh)) }
        });
        let (requests, mut event_loop) = AsyncClient::builder(options).capacity(REQUESTS_MAX).build();
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        network.set_connection_timeout(CONNECT_TIMEOUT_S);
        event_loop.set_network_options(network);
        Self { address: format!("{}:{}", settings.host, settings.port), event_loop, requests, outgoing }
    }

    /// Connects; returns whether the broker kept the session. Dropping the future breaks the attempt off.
    pub async fn connect(&mut self) -> Result<bool, ClientError> {
        self.close();
        match self.event_loop.poll().await {
            Ok(LibraryEvent::Incoming(Packet::ConnAck(connack))) => Ok(connack.session_present),
            Ok(other) => Err(ClientError::Protocol { address: self.address.clone(), text: format!("{other:?} before CONNACK") }),
            Err(error) => Err(self.error(error)),
        }
    }

    /// Drops the connection without a word, so that the broker delivers again what was not acknowledged.
    pub fn close(&mut self) {
        self.event_loop.clean();
        self.event_loop.state.events.clear();
    }

    /// Asks for `filters` with their QoS (at most 1); answers come as [`Event::Subscribed`]. Returns the number of packets.
    pub fn subscribe(&mut self, filters: &[(String, u8)]) -> Result<usize, ClientError> {
        let mut packets = 0;
        for part in filters.chunks(FILTERS_PER_PACKET) {
            let part = part.iter().map(|(filter, qos)| {
                let qos = if *qos == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce };
                SubscribeFilter::new(filter.clone(), qos)
            });
            let sent = self.requests.try_subscribe_many(part);
            sent.map_err(|error| ClientError::Protocol { address: self.address.clone(), text: format!("cannot subscribe: {error}") })?;
            packets += 1;
        }
        Ok(packets)
    }

    /// Gives up `filters`; one that the session does not have is no mistake (MQTT 3.1.1, 3.10.4). Answers come as
    /// [`Event::Unsubscribed`]. Returns the number of packets; those that find no room in the queue are left out.
    pub fn unsubscribe(&mut self, filters: &[String]) -> usize {
        filters.chunks(FILTERS_PER_PACKET).filter(|part| self.requests.try_unsubscribe_many(part.iter().cloned()).is_ok()).count()
    }

    /// The next event. Cancel safe: nothing that was read is lost when the future is dropped.
    pub async fn next(&mut self) -> Result<Event, ClientError> {
        loop {
            match self.event_loop.poll().await {
                Ok(event) => {
                    if let Some(event) = translate(event) {
                        return Ok(event);
                    }
                }
                Err(error) => return Err(self.error(error)),
            }
        }
    }

    /// The next event if there is one without waiting.
    pub fn ready(&mut self) -> Option<Result<Event, ClientError>> {
        let mut context = Context::from_waker(Waker::noop());
        loop {
            let polled = pin!(self.event_loop.poll()).poll(&mut context);
            match polled {
                Poll::Pending => return None,
                Poll::Ready(Ok(event)) => {
                    if let Some(event) = translate(event) {
                        return Some(Ok(event));
                    }
                }
                Poll::Ready(Err(error)) => return Some(Err(self.error(error))),
            }
        }
    }

    /// Acknowledges messages of the present connection, in order; it goes out with the next poll.
    pub fn acknowledge(&mut self, acks: &[Ack]) {
        let once = acks.iter().filter(|ack| !ack.exactly_once).map(|ack| ack.packet_id);
        self.outgoing.lock().unwrap_or_else(std::sync::PoisonError::into_inner).acknowledge(once);
        for ack in acks.iter().filter(|ack| ack.exactly_once) {
            // With QoS 2 a handshake follows, which the library leads. One that finds no room is delivered again.
            let _ = self.requests.try_manual_ack(ManualAck::PubRec(PubRec::new(ack.packet_id)));
        }
    }

    /// Says goodbye after what waits is written; gives up after `limit`. The broker keeps the session.
    pub async fn disconnect(&mut self, limit: Duration) {
        if self.requests.try_disconnect_now().is_ok() {
            let _ = tokio::time::timeout(limit, async { while self.event_loop.poll().await.is_ok() {} }).await;
        }
    }

    fn error(&mut self, error: ConnectionError) -> ClientError {
        let address = self.address.clone();
        match error {
            ConnectionError::NetworkTimeout => ClientError::Timeout { address },
            ConnectionError::ConnectionRefused(code) => ClientError::NotAccepted { address, code },
            ConnectionError::MqttState(StateError::ConnectionAborted) => ClientError::Closed { address },
            ConnectionError::MqttState(StateError::Deserialization(rumqttc::mqttbytes::Error::PayloadSizeLimitExceeded(bytes))) => {
                self.event_loop.mqtt_options.set_max_packet_size(PACKET_BYTES_PROTOCOL, PACKET_BYTES_MAX);
                ClientError::Oversized { bytes }
            }
            ConnectionError::Io(source) if source.kind() == io::ErrorKind::ConnectionRefused => ClientError::Refused { address },
            ConnectionError::Io(source) | ConnectionError::MqttState(StateError::Io(source)) => ClientError::Io { address, source },
            other => ClientError::Protocol { address, text: other.to_string() },
        }
    }
}

fn translate(event: LibraryEvent) -> Option<Event> {
    match event {
        LibraryEvent::Incoming(Packet::Publish(publish)) => Some(Event::Message(Incoming {
            exactly_once: publish.qos == QoS::ExactlyOnce,
            topic: publish.topic,
            payload: publish.payload,
            packet_id: publish.pkid,
            redelivered: publish.dup,
            retained: publish.retain,
        })),
        LibraryEvent::Incoming(Packet::SubAck(answer)) => {
            let refused = answer.return_codes.iter().filter(|code| **code == SubscribeReasonCode::Failure).count();
            Some(Event::Subscribed { refused })
        }
        LibraryEvent::Incoming(Packet::UnsubAck(_)) => Some(Event::Unsubscribed),
        _ => None,
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("address", &self.address).finish_non_exhaustive()
    }
}
