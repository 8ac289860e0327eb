//! What the simulated devices put on the wire: the model's value as the configured register or JSON number. Pure.
//!
//! One path from model to raw number serves back-fill and live devices, so both say the same at the same moment.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;

use parkgate_collector::catalogue::{Catalogue, Payload, Point, PointSource, TopicMap};
use parkgate_collector::model::{Decimal, Medium, Number, PointId, UtcMillis};
use parkgate_collector::protocol::json::{PathStep, TimeFormat, ValuePath};
use parkgate_collector::protocol::modbus::{RegisterSource, RegisterType};

use super::park::{Look, Park, SIGNALS, SignalRow, Value, signal_of};

/// Config and model do not fit together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The config has a point that the model does not know.
    #[error("point {0} is not part of the simulated park")]
    UnknownPoint(String),
    /// The model has a point that the config lacks.
    #[error("point {0} of the simulated park is not configured")]
    MissingPoint(String),
    /// The raw unit is not the model's.
    #[error("point {point}: raw unit is {configured}, the simulated device gives {unit}")]
    Unit {
        /// Which.
        point: String,
        /// In the config.
        configured: String,
        /// In the model.
        unit: &'static str,
    },
    /// The demo's devices scale by powers of ten and have no offset.
    #[error("point {0}: scale must be a power of ten and offset 0 in the demo")]
    Scale(String),
}

/// A configured point with what the model says of it.
#[derive(Clone, Debug)]
pub struct WiredPoint {
    /// As configured.
    pub point: Arc<Point>,
    /// As modelled.
    pub row: &'static SignalRow,
    /// Exponent of ten of the point's scale.
    scale_exponent: i8,
}

/// Joins config and model point by point, in config order; every point must be in both.
pub fn wire(catalogue: &Catalogue) -> Result<Vec<WiredPoint>, WireError> {
    let mut wired = Vec::with_capacity(catalogue.points.len());
    let mut seen = HashSet::new();
    for point in catalogue.points.iter().filter(|point| point.medium != Medium::Gateway) {
        let stable_id = || point.identity.stable_id.clone();
        let row = signal_of(&point.device, &point.local_id).ok_or_else(|| WireError::UnknownPoint(stable_id()))?;
        if point.raw_unit.symbol() != row.unit {
            return Err(WireError::Unit { point: stable_id(), configured: point.raw_unit.symbol().into(), unit: row.unit });
        }
        let scale = point.scale.normalised();
        if scale.mantissa != 1 || point.offset.mantissa != 0 {
            return Err(WireError::Scale(stable_id()));
        }
        seen.insert((row.device, row.point));
        wired.push(WiredPoint { point: Arc::clone(point), row, scale_exponent: scale.exponent });
    }
    match SIGNALS.iter().find(|row| !seen.contains(&(row.device, row.point))) {
        Some(row) => Err(WireError::MissingPoint(format!("{}/{}", row.device, row.point))),
        None => Ok(wired),
    }
}

impl WiredPoint {
    /// The device's own number at a moment, in the form its driver hands over.
    pub fn number(&self, park: &Park, at: UtcMillis, look: Look) -> Number {
        let value = match self.raw(park, at, look) {
            Ok(value) => value,
            Err(reason) => return Number::Missing(reason),
        };
        match &self.point.source {
            PointSource::Mqtt | PointSource::Own | PointSource::Formula(_) => Number::Exact(value),
            PointSource::Modbus(source) => match source.register_type {
                RegisterType::F32 => Number::F32(f32_of(value)),
                RegisterType::F64 => Number::F64(f64_of(value)),
                _ => Number::Exact(Decimal::new(whole(value), 0)),
            },
        }
    }

    /// The registers that hold the number, first register first; `None` where the device answers with an exception or
    /// has no marker for "no value".
    pub fn registers(&self, source: &RegisterSource, park: &Park, at: UtcMillis) -> Option<Vec<u16>> {
        let bits = match self.raw(park, at, Look::Instant) {
            Ok(value) => match source.register_type {
                RegisterType::F32 => u64::from(f32_of(value).to_bits()),
                RegisterType::F64 => f64_of(value).to_bits(),
                RegisterType::Bit(bit) => u64::from(whole(value) != 0) << bit,
                _ => whole(value).cast_unsigned(),
            },
            Err(_) => *source.not_available.first()?,
        };
        let length = usize::from(source.order.length).clamp(2, 8);
        let value_bytes = bits.to_be_bytes();
        // Position i of the arriving bytes holds byte permutation[i] of the value, 0 = most significant.
        let arriving: Vec<u8> = source
            .order
            .permutation
            .iter()
            .take(length)
            .map(|&place| value_bytes.get(8 - length + usize::from(place)).copied().unwrap_or(0))
            .collect();
        Some(arriving.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect())
    }

    /// The number before scaling.
    fn raw(&self, park: &Park, at: UtcMillis, look: Look) -> Value {
        park.value(self.row, at, look).map(|value| Decimal::new(value.mantissa, value.exponent - self.scale_exponent))
    }
}

fn whole(value: Decimal) -> i64 {
    value.to_mantissa(0).unwrap_or(0)
}

fn f64_of(value: Decimal) -> f64 {
    value.to_string().parse().unwrap_or(f64::NAN)
}

#[expect(clippy::cast_possible_truncation, reason = "a float register holds the nearest float")]
fn f32_of(value: Decimal) -> f32 {
    f64_of(value) as f32
}

/// A payload of one record under `map` at a moment: `values` at their paths, the time at its own. Points without a value
/// are left out, as meters do.
pub fn payload(map: &TopicMap, values: &[(PointId, Number)], at: UtcMillis) -> String {
    let mut record = Node::Empty;
    let mut payload_time = None;
    // The demo's meters speak JSON.
    let Payload::Json(records) = &map.payload else { return String::new() };
    if let Some(time) = &records.time {
        let text = time_text(&time.format, at);
        if time.in_payload { payload_time = Some((&time.path, text)) } else { record.put(&time.path.steps, text) }
    }
    for (path, point) in &map.values {
        if let Some((_, Number::Exact(value))) = values.iter().find(|(id, _)| id == point) {
            record.put(&path.steps, value.to_string());
        }
    }
    let mut payload = match &records.records {
        Some(path) => {
            let mut payload = Node::Empty;
            payload.put_node(&path.steps, Node::Array(vec![record]));
            payload
        }
        None => record,
    };
    if let Some((ValuePath { steps }, text)) = payload_time {
        payload.put(steps, text);
    }
    payload.to_string()
}

fn time_text(format: &TimeFormat, at: UtcMillis) -> String {
    let quoted = |text: String| format!("\"{text}\"");
    match format {
        TimeFormat::EpochSeconds => Decimal::new(at.0, -3).to_string(),
        TimeFormat::EpochMillis => at.0.to_string(),
        TimeFormat::EpochMicros => at.0.saturating_mul(1_000).to_string(),
        TimeFormat::EpochNanos => at.0.saturating_mul(1_000_000).to_string(),
        TimeFormat::Rfc3339 => quoted(at.to_string()),
        TimeFormat::Local { pattern, zone } => {
            let zoned = jiff::Timestamp::from_millisecond(at.0).ok().and_then(|time| time.in_tz(zone).ok());
            quoted(zoned.map(|time| time.strftime(pattern).to_string()).unwrap_or_default())
        }
    }
}

/// JSON with its numbers as exact text.
#[derive(Clone, Debug)]
enum Node {
    Empty,
    Text(String),
    Object(Vec<(String, Node)>),
    Array(Vec<Node>),
}

impl Node {
    fn put(&mut self, path: &[PathStep], text: String) {
        self.put_node(path, Self::Text(text));
    }

    fn put_node(&mut self, path: &[PathStep], node: Self) {
        let Some((step, rest)) = path.split_first() else {
            *self = node;
            return;
        };
        match step {
            PathStep::Key(key) => {
                if !matches!(self, Self::Object(_)) {
                    *self = Self::Object(Vec::new());
                }
                let Self::Object(members) = self else { return };
                if !members.iter().any(|(name, _)| name == key) {
                    members.push((key.clone(), Self::Empty));
                }
                if let Some((_, member)) = members.iter_mut().find(|(name, _)| name == key) {
                    member.put_node(rest, node);
                }
            }
            PathStep::Index(index) => {
                if !matches!(self, Self::Array(_)) {
                    *self = Self::Array(Vec::new());
                }
                let Self::Array(items) = self else { return };
                if items.len() <= *index {
                    items.resize(index + 1, Self::Empty);
                }
                if let Some(item) = items.get_mut(*index) {
                    item.put_node(rest, node);
                }
            }
        }
    }
}

impl std::fmt::Display for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("null"),
            Self::Text(text) => f.write_str(text),
            Self::Object(members) => {
                f.write_char('{')?;
                for (index, (key, node)) in members.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    write!(f, "{comma}{}:{node}", serde_json::Value::from(key.as_str()))?;
                }
                f.write_char('}')
            }
            Self::Array(items) => {
                f.write_char('[')?;
                for (index, node) in items.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    write!(f, "{comma}{node}")?;
                }
                f.write_char(']')
            }
        }
    }
}
