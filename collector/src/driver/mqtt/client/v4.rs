//! MQTT 3.1.1 by its library.

use std::io;

use bytes::Bytes;
use rumqttc::mqttbytes::v4::{ConnectReturnCode, Packet, SubscribeReasonCode};
use rumqttc::mqttbytes::{self};
use rumqttc::{
    AckMode, AsyncClient, ConnectionError, Event as LibraryEvent, EventLoop, ManualAck, MqttOptions, PubRec, QoS, StateError,
    SubscribeFilter,
};

use super::{Connector, Event, Failure, Incoming, PACKET_BYTES_MAX, PACKET_BYTES_PROTOCOL, REQUESTS_MAX, network};
use crate::catalogue::MqttSettings;

/// One session.
pub(super) struct Session {
    event_loop: EventLoop,
    requests: AsyncClient,
}

impl Session {
    pub fn new(settings: &MqttSettings, connector: Connector) -> Self {
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
        options.set_socket_connector(move |address, network| connector.open(address, network));
        let (requests, mut event_loop) = AsyncClient::builder(options).capacity(REQUESTS_MAX).build();
        event_loop.set_network_options(network());
        Self { event_loop, requests }
    }

    pub async fn connect(&mut self) -> Result<bool, Failure> {
        match self.event_loop.poll().await {
            Ok(LibraryEvent::Incoming(Packet::ConnAck(connack))) => Ok(connack.session_present),
            Ok(other) => Err(Failure::Other(format!("{other:?} before CONNACK"))),
            Err(error) => Err(self.failure(error)),
        }
    }

    pub fn close(&mut self) {
        self.event_loop.clean();
        self.event_loop.state.events.clear();
    }

    pub fn subscribe(&self, filters: &[(String, u8)]) -> Result<(), String> {
        let filters = filters.iter().map(|(filter, qos)| {
            let qos = if *qos == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce };
            SubscribeFilter::new(filter.clone(), qos)
        });
        self.requests.try_subscribe_many(filters).map_err(|error| error.to_string())
    }

    pub fn unsubscribe(&self, filters: &[String]) -> bool {
        self.requests.try_unsubscribe_many(filters.iter().cloned()).is_ok()
    }

    /// PUBREC. With QoS 2 a handshake follows, which the library leads. One that finds no room is delivered again.
    pub fn received(&self, packet_id: u16) {
        let _ = self.requests.try_manual_ack(ManualAck::PubRec(PubRec::new(packet_id)));
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
            ConnectionError::NetworkTimeout => Failure::Timeout,
            ConnectionError::ConnectionRefused(code) => Failure::NotAccepted(refusal(code).to_owned()),
            ConnectionError::MqttState(StateError::ConnectionAborted) => Failure::Closed,
            ConnectionError::MqttState(StateError::Deserialization(mqttbytes::Error::PayloadSizeLimitExceeded(bytes))) => {
                self.event_loop.mqtt_options.set_max_packet_size(PACKET_BYTES_PROTOCOL, PACKET_BYTES_MAX);
                Failure::Oversized(bytes)
            }
            ConnectionError::Io(source)
            | ConnectionError::MqttState(StateError::Io(source) | StateError::Deserialization(mqttbytes::Error::Io(source))) => {
                Failure::Io(source)
            }
            ConnectionError::FlushTimeout => Failure::Io(io::ErrorKind::TimedOut.into()),
            other => Failure::Other(other.to_string()),
        }
    }
}

fn refusal(code: ConnectReturnCode) -> &'static str {
    match code {
        ConnectReturnCode::Success => "accepted",
        ConnectReturnCode::RefusedProtocolVersion => "it does not speak MQTT 3.1.1; set `version = 5`",
        ConnectReturnCode::BadClientId => "it does not like the client id; set `client_id`",
        ConnectReturnCode::ServiceUnavailable => "the service is unavailable",
        ConnectReturnCode::BadUserNamePassword => "bad user name or password; check `username` and `password`",
        ConnectReturnCode::NotAuthorized => "not authorised: the user name or password is wrong, or the account may not connect",
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
            let refused = answer.return_codes.iter().map(|code| *code == SubscribeReasonCode::Failure).collect();
            Some(Event::Subscribed { refused })
        }
        LibraryEvent::Incoming(Packet::UnsubAck(_)) => Some(Event::Unsubscribed),
        _ => None,
    }
}
