//! Turns messages into one batch: finds the mapping of each, maps it, notes what cannot be mapped. No I/O.

use std::sync::Arc;

use bytes::Bytes;
use prometheus::IntCounter;
use tracing::warn;

use super::client::{Ack, Incoming};
use super::topics::Topics;
use super::unknown::{self, Discover};
use crate::catalogue::{Device, DeviceAddress, MqttSettings, Payload, TopicMap};
use crate::driver::{Batch, DeliveredRange, LinkDevices};
use crate::health::{HealthBoard, State};
use crate::metrics::Metrics;
use crate::model::{Delivery, Origin, Reading, Rejected, UtcMillis};
use crate::protocol::json::{BuildError, MapError, Mapped, Mapper};
use crate::protocol::text::TextMapper;

/// Bytes of a rejected payload that are kept; the rest is cut off.
const REJECTED_BYTES_MAX: usize = 256 * 1024;
/// Bytes of the topic of an unknown device that are told.
const TOPIC_BYTES_MAX: usize = 1024;
/// How far the received times of rejected messages, a millisecond each, may run ahead of the clock.
const AHEAD_MS_MAX: i64 = 3_600_000;
/// Name of the driver in metrics.
pub const DRIVER: &str = "mqtt";

/// One topic filter of one device.
#[derive(Debug)]
struct Route {
    device: usize,
    decoder: Decoder,
}

/// What reads the payloads of one topic filter.
#[derive(Debug)]
enum Decoder {
    Json(Box<Mapper>),
    Text(TextMapper),
}

impl Decoder {
    fn new(topic: &TopicMap) -> Result<Self, BuildError> {
        Ok(match &topic.payload {
            Payload::Json(records) => Self::Json(Box::new(Mapper::new(records, &topic.values)?)),
            Payload::Text(map) => Self::Text(TextMapper::new(map, &topic.values)?),
        })
    }

    fn is_timed(&self) -> bool {
        match self {
            Self::Json(mapper) => mapper.is_timed(),
            Self::Text(mapper) => mapper.is_timed(),
        }
    }

    fn map(&mut self, payload: &[u8], out: &mut Vec<Reading>) -> Result<Mapped, MapError> {
        match self {
            Self::Json(mapper) => mapper.map(payload, out),
            Self::Text(mapper) => mapper.map(payload, out),
        }
    }
}

/// One device with what is counted for it.
#[derive(Debug)]
struct Counted {
    device: Arc<Device>,
    received: IntCounter,
    /// Readings in the present batch.
    readings: u64,
    /// Messages rejected in the present batch, and why the last one was.
    rejected: u64,
    reason: Option<String>,
}

/// Collects messages into a batch.
#[derive(Debug)]
pub struct Gather {
    link: Arc<crate::catalogue::Link>,
    origin: Origin,
    max_packet_bytes: usize,
    max_readings: usize,
    discover: Discover,
    topics: Topics,
    routes: Vec<Route>,
    devices: Vec<Counted>,
    metrics: Metrics,
    messages: IntCounter,
    batch: Pending,
    /// Device and readings of each mapping of the present message.
    mapped: Vec<(usize, usize)>,
    /// Received time of the last message rejected.
    last_rejected: Option<UtcMillis>,
    /// The last topic that no device has.
    unmapped: Option<Bytes>,
}

/// The batch that is being collected.
#[derive(Debug, Default)]
struct Pending {
    readings: Vec<Reading>,
    deliveries: Vec<DeliveredRange>,
    rejected: Vec<Rejected>,
    acks: Vec<Ack>,
    /// Topics and payloads that no device has.
    unknown: Vec<(Bytes, Bytes)>,
    messages: u64,
    bytes: usize,
}

impl Gather {
    /// Compiles the mappings of all devices. One that cannot be compiled is left out, told in the log and on the board.
    pub fn new(devices: &LinkDevices, settings: &MqttSettings, health: &HealthBoard, metrics: &Metrics, now: UtcMillis) -> Self {
        let link = Arc::clone(&devices.link);
        let mut gather = Self {
            origin: devices.devices.first().map_or(Origin::Metered, |device| device.origin),
            max_packet_bytes: usize::try_from(settings.max_packet_bytes).unwrap_or(usize::MAX),
            max_readings: usize::try_from(settings.max_readings_per_message).unwrap_or(usize::MAX),
            discover: Discover::new(&settings.discover),
            topics: Topics::default(),
            routes: Vec::new(),
            devices: Vec::new(),
            messages: metrics.messages.with_label_values(&[DRIVER, &link.id]),
            metrics: metrics.clone(),
            batch: Pending::default(),
            mapped: Vec::new(),
            last_rejected: None,
            unmapped: None,
            link,
        };
        let mut timed = Vec::new();
        for device in &devices.devices {
            let DeviceAddress::Mqtt(address) = &device.address else { continue };
            let received = gather.metrics.readings_received.with_label_values(&[DRIVER, &gather.link.id, &device.id]);
            for topic in address.topics.iter().filter(|topic| !topic.values.is_empty()) {
                match Decoder::new(topic) {
                    Ok(decoder) => {
                        let route = Route { device: gather.devices.len(), decoder };
                        if route.decoder.is_timed() {
                            timed.push((&topic.filter, route));
                        } else {
                            gather.topics.add(&topic.filter, gather.routes.len());
                            gather.routes.push(route);
                        }
                    }
                    Err(error) => {
                        warn!(device = %device.id, topic = %topic.filter, error = %error, "topic left out");
                        health.device(&device.id, |health| health.error(now, State::Down, error.to_string()));
                    }
                }
            }
            gather.devices.push(Counted { device: Arc::clone(device), received, readings: 0, rejected: 0, reason: None });
        }
        // Last, so that the readings of a message that have no time of their own are together.
        for (filter, route) in timed {
            gather.topics.add(filter, gather.routes.len());
            gather.routes.push(route);
        }
        gather
    }

    /// Messages in the present batch.
    pub fn messages(&self) -> u64 {
        self.batch.messages
    }

    /// Bytes of payload in the present batch.
    pub fn bytes(&self) -> usize {
        self.batch.bytes
    }

    /// Readings in the present batch.
    pub fn readings(&self) -> usize {
        self.batch.readings.len()
    }

    /// The last topic that no device has, once.
    pub fn take_unmapped(&mut self) -> Option<Bytes> {
        self.unmapped.take()
    }

    /// Adds one message. All or nothing: when one of its mappings fails, nothing of it is kept and all of it is rejected,
    /// so that a replay of it repeats nothing. A mapping that finds none of its values has not failed if another does.
    ///
    /// A retained message whose payload has no time of its own says nothing about when it was measured: it is counted as
    /// rejected and acknowledged, but not kept.
    pub fn add(&mut self, message: &Incoming, now: UtcMillis) {
        self.batch.messages += 1;
        self.batch.bytes = self.batch.bytes.saturating_add(message.payload.len());
        self.batch.acks.extend(message.ack());
        let found = self.topics.find(&message.topic);
        if found.is_empty() {
            self.unmapped = Some(message.topic.clone());
            self.batch.unknown.push((message.topic.clone(), message.payload.clone()));
            // Listened to for unknown devices: listed, and not among what was expected and could not be read.
            if self.discover.hears(&String::from_utf8_lossy(&message.topic)) {
                return self.count_rejected(None, "unmapped");
            }
        }
        if message.payload.len() > self.max_packet_bytes {
            let reason = format!("payload of {} bytes is above `max_packet_bytes` = {}", message.payload.len(), self.max_packet_bytes);
            return self.reject(found.first().copied(), "oversized", reason, message, now);
        }
        if found.is_empty() {
            let reason = "no device has this topic; add it to one. A subscription left by an earlier configuration is given up".to_owned();
            return self.reject(None, "unmapped", reason, message, now);
        }
        let first = self.batch.readings.len();
        let mut untimed = 0;
        self.mapped.clear();
        let mut error = None;
        let mut retained = false;
        for &index in found.iter() {
            let Some(route) = self.routes.get_mut(index) else { continue };
            if message.retained && !route.decoder.is_timed() {
                retained = true;
                continue;
            }
            match route.decoder.map(&message.payload, &mut self.batch.readings) {
                Ok(mapped) => {
                    if !mapped.timed {
                        untimed = self.batch.readings.len().saturating_sub(first);
                    }
                    self.mapped.push((route.device, mapped.readings));
                }
                // Of several mappings for one topic it is enough that one finds its values.
                Err(none @ MapError::NoValue { .. }) => error = error.or(Some((index, none))),
                Err(other) => error = Some((index, other)),
            }
        }
        let count = self.batch.readings.len().saturating_sub(first);
        if count > self.max_readings {
            self.batch.readings.truncate(first);
            let reason = format!("{count} readings in one message are above `max_readings_per_message` = {}", self.max_readings);
            return self.reject(found.first().copied(), "oversized", reason, message, now);
        }
        match error {
            Some((index, error)) if count == 0 || error.class() != "path" => {
                self.batch.readings.truncate(first);
                return self.reject(Some(index), error.class(), error.to_string(), message, now);
            }
            None if retained && count == 0 => self.count_rejected(None, "retained"),
            _ => {}
        }
        for &(device, readings) in &self.mapped {
            if let Some(counted) = self.devices.get_mut(device) {
                counted.readings = counted.readings.saturating_add(u64::try_from(readings).unwrap_or(u64::MAX));
            }
        }
        if untimed > 0 && message.packet_id != 0 {
            let mut hash = crc32fast::Hasher::new();
            hash.update(&message.topic);
            hash.update(&message.payload);
            let place = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
            self.batch.deliveries.push(DeliveredRange {
                delivery: Delivery { packet_id: message.packet_id, hash: hash.finalize() },
                redelivered: message.redelivered,
                first: place(first),
                count: place(untimed),
            });
        }
    }

    fn reject(&mut self, route: Option<usize>, class: &'static str, reason: String, message: &Incoming, now: UtcMillis) {
        let device = route.and_then(|index| self.routes.get(index)).map(|route| route.device);
        self.count_rejected(device, class);
        let counted = device.and_then(|device| self.devices.get_mut(device));
        let id = counted.as_ref().map(|counted| counted.device.id.clone());
        if let Some(counted) = counted {
            counted.rejected += 1;
            counted.reason = Some(reason.clone());
        }
        // Each has its own, by which a replay tells them apart; after a clock that fell back far, it is believed.
        let received_time = match self.last_rejected {
            Some(last) if last >= now && last.since(now) <= AHEAD_MS_MAX => last.plus(1),
            _ => now,
        };
        self.last_rejected = Some(received_time);
        let kept = message.payload.get(..REJECTED_BYTES_MAX).unwrap_or(&message.payload);
        self.batch.rejected.push(Rejected {
            device: id,
            source: format!("{} {}", self.link.id, String::from_utf8_lossy(&message.topic)),
            reason,
            class,
            payload: kept.to_vec(),
            received_time,
        });
    }

    fn count_rejected(&self, device: Option<usize>, class: &'static str) {
        let device = device.and_then(|device| self.devices.get(device)).map_or("", |counted| counted.device.id.as_str());
        self.metrics.rejected.with_label_values(&[DRIVER, &self.link.id, device, class]).inc();
    }

    /// Takes the batch with what acknowledges it, and tells the board and the metrics; `None` when it is empty.
    pub fn take(&mut self, health: &HealthBoard, now: UtcMillis) -> Option<(Batch, Vec<Ack>)> {
        let pending = std::mem::take(&mut self.batch);
        if pending.messages == 0 {
            return None;
        }
        self.messages.inc_by(pending.messages);
        for (topic, payload) in &pending.unknown {
            let topic = String::from_utf8_lossy(topic.get(..TOPIC_BYTES_MAX).unwrap_or(topic));
            health.unknown(&self.link.id, &topic, now, || unknown::describe(&self.link.id, &self.discover, &topic, payload));
        }
        for counted in self.devices.iter_mut().filter(|counted| counted.readings > 0 || counted.rejected > 0) {
            let (readings, rejected) = (std::mem::take(&mut counted.readings), std::mem::take(&mut counted.rejected));
            counted.received.inc_by(readings);
            let reason = counted.reason.take();
            health.device(&counted.device.id, |health| {
                if readings > 0 {
                    health.ok(now, readings);
                }
                health.rejected = health.rejected.saturating_add(rejected);
                if let Some(reason) = reason {
                    health.error(now, State::Degraded, reason);
                }
            });
        }
        let batch = Batch {
            link: self.link.key,
            received_time: now,
            readings: pending.readings,
            origin: self.origin,
            deliveries: pending.deliveries,
            rejected: pending.rejected,
            done: None,
        };
        Some((batch, pending.acks))
    }

    /// Reads one message again; `None` when it still cannot be read. Readings without a time of their own have no source
    /// time: the caller gives them one, since a message of the past must not count as of now.
    pub fn reread(mut self, topic: &str, payload: &[u8], arrived: UtcMillis) -> Option<Batch> {
        let message = Incoming {
            topic: Bytes::copy_from_slice(topic.as_bytes()),
            payload: Bytes::copy_from_slice(payload),
            packet_id: 0,
            exactly_once: false,
            redelivered: false,
            retained: false,
        };
        self.add(&message, arrived);
        let (batch, _) = self.take(&HealthBoard::default(), arrived)?;
        if !batch.rejected.is_empty() || batch.readings.is_empty() {
            return None;
        }
        Some(batch)
    }

    /// The devices, for telling the board about the link.
    pub fn device_ids(&self) -> impl Iterator<Item = &str> {
        self.devices.iter().map(|counted| counted.device.id.as_str())
    }
}
