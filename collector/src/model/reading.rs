//! What a driver hands over: the device's own numbers, before anything was concluded from them.

use super::decimal::Decimal;
use super::point::PointId;
use super::quality::Reason;
use super::time::UtcMillis;

/// One value of one point as the device gave it, in the device's unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// Which point, by the catalogue of arrival.
    pub point: PointId,
    /// The number, or why there is none.
    pub number: Number,
    /// The device's own stamp, if it gave one.
    pub source_time: Option<UtcMillis>,
}

/// A number as it came over the wire.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// An integer register or an exact text.
    Exact(Decimal),
    /// A number in the point's canonical unit already, scale and offset applied: from a file, not from a device.
    Canonical(Decimal),
    /// A 32-bit float register.
    F32(f32),
    /// A 64-bit float register.
    F64(f64),
    /// No number: the point is bad for this reason.
    Missing(Reason),
}

/// Deliveries remembered per link; when full the oldest is forgotten. A driver reads no more while a quarter of so many
/// are without an acknowledgement, so that each is known when it comes again. The rest is for acknowledgements that were
/// sent and never read: when the program is killed, the broker's machine may throw away what it had received from it, and
/// mosquitto 2.0 then has more in flight after each such end than it is set to (8,400 seen after two kills within a
/// second, with 1,000 set). Far below the 65,535 packet ids, so that an id in use again is not mistaken.
pub const DELIVERIES_REMEMBERED: usize = 16_384;

/// How a redelivered message is recognised whose payload has no time of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Delivery {
    /// MQTT packet identifier.
    pub packet_id: u16,
    /// CRC-32 of topic and payload.
    pub hash: u32,
}

/// One message without a time of its own and its readings' place in the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveredRange {
    /// What recognises it.
    pub delivery: Delivery,
    /// The broker said that it may have delivered it before (DUP).
    pub redelivered: bool,
    /// Index of its first reading in the batch.
    pub first: u32,
    /// Number of its readings.
    pub count: u32,
}

/// Input that could not be decoded or mapped: kept raw in the rejects ring, counted, acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Stable id of the device, if that much was known.
    pub device: Option<String>,
    /// Where it came in: link id, and topic or block.
    pub source: String,
    /// What is wrong and where, for a person.
    pub reason: String,
    /// Class of the reason, for the metric: `syntax`, `path`, `type`, `timestamp`, `unmapped`, `oversized`.
    pub class: &'static str,
    /// The raw bytes.
    pub payload: Vec<u8>,
    /// When it came.
    pub received_time: UtcMillis,
}
