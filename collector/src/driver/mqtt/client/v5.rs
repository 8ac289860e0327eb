//! MQTT 5 by its library.
//!
//! What is used of it beyond 3.1.1: how long the broker keeps the session, how much it may have in flight (receive maximum,
//! MQTT 5, 3.1.2.11.3), how long a packet may be (3.1.2.11.4), and retained messages at new subscriptions only (3.8.3.1).

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use rumqttc_v5::mqttbytes::v5::{ConnectReturnCode, DisconnectReasonCode, Packet, RetainForwardRule, SubscribeFilter, SubscribeReasonCode};
use rumqttc_v5::mqttbytes::{self};
use rumqttc_v5::{
    AckMode, AsyncClient, ConnectionError, Event as LibraryEvent, EventLoop, IncomingPacketSizeLimit, ManualAck, MqttOptions,
    PersistedAckMode, PersistedSession, PubRec, QoS, SessionStore, SessionStoreError, SessionStoreKey, StateError,
};

use super::{CONNECT_TIMEOUT_S, Connector, Event, Failure, Incoming, PACKET_BYTES_MAX, PACKET_BYTES_PROTOCOL, REQUESTS_MAX, network};
use crate::catalogue::MqttSettings;

/// One session.
pub(super) struct Session {
    event_loop: EventLoop,
    requests: AsyncClient,
}

impl Session {
    pub fn new(settings: &MqttSettings, session_expiry_s: u32, connector: Connector) -> Self {
        let mut options = MqttOptions::new(settings.client_id.clone(), (settings.host.clone(), settings.port));
        options.set_keep_alive(settings.keep_alive_s);
        options.set_clean_start(false);
        options.set_session_expiry_interval(Some(session_expiry_s));
        options.set_receive_maximum(Some(settings.max_in_flight));
        options.set_ack_mode(AckMode::Manual);
        options.set_session_store(NothingOfOurs);
        let limit = settings.max_packet_bytes.max(u32::try_from(PACKET_BYTES_MAX).unwrap_or(u32::MAX));
        options.set_incoming_packet_size_limit(IncomingPacketSizeLimit::Bytes(limit));
        options.set_read_batch_size(128);
        options.set_connect_timeout(Duration::from_secs(CONNECT_TIMEOUT_S));
        options.set_network_options(network());
        match (&settings.username, &settings.password) {
            (Some(username), Some(password)) => {
                options.set_credentials(username.clone(), Bytes::copy_from_slice(password.reveal().as_bytes()));
            }
            (Some(username), None) => {
                options.set_username(username.clone());
            }
            _ => {}
        }
        options.set_socket_connector(move |address, network| connector.open(address, network));
        let (requests, event_loop) = AsyncClient::builder(options).capacity(REQUESTS_MAX).build();
        Self { event_loop, requests }
    }

    pub async fn connect(&mut self) -> Result<bool, Failure> {
        match self.event_loop.poll().await {
            Ok(LibraryEvent::Incoming(Packet::ConnAck(connack))) => {
                // From now on the library knows its own state; kept in a store it would be copied at every read.
                self.event_loop.options.clear_session_store();
                Ok(connack.session_present)
            }
            Ok(other) => Err(Failure::Other(format!("{other:?} before CONNACK"))),
            Err(error) => Err(self.failure(error)),
        }
    }

    pub fn close(&mut self) {
        self.event_loop.clean();
        self.event_loop.state.events.clear();
    }

    pub fn subscribe(&self, filters: &[(String, u8)]) -> Result<(), String> {
        let filters = filters.iter().map(|(filter, qos)| SubscribeFilter {
            path: filter.clone(),
            qos: if *qos == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce },
            nolocal: false,
            preserve_retain: false,
            retain_forward_rule: RetainForwardRule::OnNewSubscribe,
        });
        self.requests.try_subscribe_many(filters).map_err(|error| error.to_string())
    }

    pub fn unsubscribe(&self, filters: &[String]) -> bool {
        self.requests.try_unsubscribe_many(filters.iter().cloned()).is_ok()
    }

    /// PUBREC. With QoS 2 a handshake follows, which the library leads. One that finds no room is delivered again.
    pub fn received(&self, packet_id: u16) {
        let _ = self.requests.try_manual_ack(ManualAck::PubRec(PubRec::new(packet_id, None)));
    }

    pub fn say_goodbye(&self) -> bool {
        self.requests.try_disconnect_now().is_ok()
    }

    /// What comes next; `None` when it is of no interest. Cancel safe.
    pub async fn poll(&mut self) -> Result<Option<Event>, Failure> {
        match self.event_loop.poll().await {
            Ok(event) => Ok(translate(event)),
            Err(error) => Err(self.failure(error)),
        }
    }

    fn failure(&mut self, error: ConnectionError) -> Failure {
        match error {
            ConnectionError::Timeout(_) => Failure::Timeout,
            ConnectionError::ConnectionRefused(code) => Failure::NotAccepted(refusal(code)),
            ConnectionError::MqttState(StateError::ConnectionAborted) => Failure::Closed,
            ConnectionError::MqttState(StateError::ServerDisconnect { reason_code: DisconnectReasonCode::SessionTakenOver, .. }) => {
                Failure::TakenOver
            }
            ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, reason_string }) => {
                let said = reason_string.map_or(String::new(), |text| format!(", {text}"));
                Failure::Other(format!("the broker ended the connection: {reason_code:?}{said}"))
            }
            // It was told the limit and does not keep it.
            ConnectionError::MqttState(StateError::Deserialization(mqttbytes::Error::PayloadSizeLimitExceeded { pkt_size, .. })) => {
                let all = u32::try_from(PACKET_BYTES_PROTOCOL).unwrap_or(u32::MAX);
                self.event_loop.options.set_incoming_packet_size_limit(IncomingPacketSizeLimit::Bytes(all));
                Failure::Oversized(pkt_size)
            }
            ConnectionError::Io(source)
            | ConnectionError::MqttState(StateError::Io(source) | StateError::Deserialization(mqttbytes::Error::Io(source))) => {
                Failure::Io(source)
            }
            other => Failure::Other(other.to_string()),
        }
    }
}

fn refusal(code: ConnectReturnCode) -> String {
    let text = match code {
        ConnectReturnCode::RefusedProtocolVersion | ConnectReturnCode::UnsupportedProtocolVersion => {
            "it does not speak MQTT 5; set `version = 3`"
        }
        ConnectReturnCode::BadClientId | ConnectReturnCode::ClientIdentifierNotValid => "it does not like the client id; set `client_id`",
        ConnectReturnCode::ServiceUnavailable | ConnectReturnCode::ServerUnavailable | ConnectReturnCode::ServerBusy => {
            "the service is unavailable"
        }
        ConnectReturnCode::BadUserNamePassword => "bad user name or password; check `username` and `password`",
        ConnectReturnCode::NotAuthorized | ConnectReturnCode::Banned => {
            "not authorised: the user name or password is wrong, or the account may not connect"
        }
        other => return format!("{other:?}"),
    };
    text.to_owned()
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
            let refused = answer.return_codes.iter().map(|code| !matches!(code, SubscribeReasonCode::Success(_))).collect();
            Some(Event::Subscribed { refused })
        }
        LibraryEvent::Incoming(Packet::UnsubAck(_)) => Some(Event::Unsubscribed),
        _ => None,
    }
}

/// Tells the library that what it had in flight itself before a restart was nothing, which is so: it publishes nothing. Else
/// it would not subscribe in a session that the broker kept.
#[derive(Debug)]
struct NothingOfOurs;

type SessionStoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, SessionStoreError>> + Send + 'a>>;

impl SessionStore for NothingOfOurs {
    fn load<'a>(&'a self, key: &'a SessionStoreKey) -> SessionStoreFuture<'a, Option<PersistedSession>> {
        let session = PersistedSession {
            format_version: 1,
            client_id: key.client_id().to_owned(),
            clean_start: false,
            session_expiry_interval: None,
            outgoing_inflight_upper_limit: None,
            ack_mode: PersistedAckMode::Manual,
            last_pkid: 0,
            last_puback: 0,
            replay: Vec::new(),
            incoming_qos2: Vec::new(),
        };
        Box::pin(async move { Ok(Some(session)) })
    }

    fn save<'a>(&'a self, _: &'a SessionStoreKey, _: &'a PersistedSession) -> SessionStoreFuture<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn clear<'a>(&'a self, _: &'a SessionStoreKey) -> SessionStoreFuture<'a, ()> {
        Box::pin(async { Ok(()) })
    }
}
