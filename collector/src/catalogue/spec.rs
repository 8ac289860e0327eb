//! The validated catalogue: what drivers, normaliser, store and API look things up in. Immutable once built.
//!
//! Made by [`super::load()`] from config files and a [`super::PointRegistry`]; nothing here can be invalid.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use super::line::{LineSettings, ModbusDialInSettings, ModbusRtuSettings, Priority};
use super::rules::{Formula, Nameplate, OnChange, PointRules};
use crate::model::{Decimal, LinkKey, Medium, Origin, PointId, PointIdentity, ReferenceState, Unit, UtcMillis};
use crate::protocol::json::{PathStep, RecordMap, ValuePath};
use crate::protocol::modbus::RegisterSource;
use crate::protocol::text::TextMap;

/// Everything the config says about the park's meters, resolved.
#[derive(Debug)]
pub struct Catalogue {
    /// CRC-32 of the effective configuration; goes with every batch in the journal.
    pub version: u32,
    /// The park.
    pub park: Park,
    /// Enterprises in config order.
    pub enterprises: Vec<Enterprise>,
    /// Links in config order.
    pub links: Vec<Arc<Link>>,
    /// Devices in config order.
    pub devices: Vec<Arc<Device>>,
    /// Points in config order, device by device.
    pub points: Vec<Arc<Point>>,
    by_point_id: Vec<Option<Arc<Point>>>,
    by_stable_id: HashMap<String, Arc<Point>>,
    device_by_id: HashMap<String, Arc<Device>>,
}

impl Catalogue {
    /// Puts the parts together and indexes them; points are those of `devices`, in order.
    pub fn new(version: u32, park: Park, enterprises: Vec<Enterprise>, links: Vec<Arc<Link>>, devices: Vec<Arc<Device>>) -> Self {
        let points: Vec<Arc<Point>> = devices.iter().flat_map(|device| device.points.iter().cloned()).collect();
        let length = points.iter().map(|point| point.id.index().saturating_add(1)).max().unwrap_or(0);
        let mut by_point_id = vec![None; length];
        let mut by_stable_id = HashMap::with_capacity(points.len());
        for point in &points {
            if let Some(slot) = by_point_id.get_mut(point.id.index()) {
                *slot = Some(Arc::clone(point));
            }
            by_stable_id.insert(point.identity.stable_id.clone(), Arc::clone(point));
        }
        let device_by_id = devices.iter().map(|device| (device.id.clone(), Arc::clone(device))).collect();
        Self { version, park, enterprises, links, devices, points, by_point_id, by_stable_id, device_by_id }
    }

    /// The point of a PointId; `None` for one that the present config does not use (history may).
    pub fn point(&self, id: PointId) -> Option<&Arc<Point>> {
        self.by_point_id.get(id.index())?.as_ref()
    }

    /// The point of a stable id such as `acme/main-meter/energy_import`.
    pub fn point_by_stable_id(&self, stable_id: &str) -> Option<&Arc<Point>> {
        self.by_stable_id.get(stable_id)
    }

    /// The devices that are reached by a link, in config order.
    pub fn devices_of<'a>(&'a self, link: &'a Link) -> impl Iterator<Item = &'a Arc<Device>> {
        self.devices.iter().filter(|device| device.link.key == link.key)
    }

    /// The device of an id.
    pub fn device(&self, id: &str) -> Option<&Arc<Device>> {
        self.device_by_id.get(id)
    }
}

/// A name in Chinese and English; either may be missing in the config, then both are the same.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Names {
    /// Chinese.
    pub zh: String,
    /// English.
    pub en: String,
}

/// The park itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Park {
    /// Stable id.
    pub id: String,
    /// Names.
    pub name: Names,
    /// IANA name of the zone that days and months are in.
    pub time_zone: String,
    /// Beginning of the day on which its first meter was read; live times before are not believed.
    pub commissioned: Option<UtcMillis>,
    /// Units that pages show per canonical unit (`kWh` -> `MWh`); absent: the canonical one.
    pub display_units: HashMap<Unit, Unit>,
}

/// One enterprise of the park.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enterprise {
    /// Stable id.
    pub id: String,
    /// Names.
    pub name: Names,
}

/// One connection.
#[derive(Debug, PartialEq, Eq)]
pub struct Link {
    /// Stable id.
    pub id: String,
    /// Its key in journal records.
    pub key: LinkKey,
    /// What it speaks, and the settings of that.
    pub driver: DriverSettings,
}

/// The drivers there are; the settings of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DriverSettings {
    /// MQTT client, 3.1.1 or 5.
    Mqtt(MqttSettings),
    /// Modbus TCP client.
    ModbusTcp(ModbusTcpSettings),
    /// Modbus RTU on a serial line.
    ModbusRtu(ModbusRtuSettings),
    /// Modbus RTU frames over a TCP connection.
    ModbusRtuOverTcp(ModbusTcpSettings),
    /// Modbus over a connection that the device makes.
    ModbusDialIn(ModbusDialInSettings),
    /// The gateway itself, which needs no driver: not among [`Catalogue::links`].
    Own,
}

impl DriverSettings {
    /// The driver's name, in config, metrics and answers.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Mqtt(_) => "mqtt",
            Self::ModbusTcp(_) => "modbus_tcp",
            Self::ModbusRtu(_) => "modbus_rtu",
            Self::ModbusRtuOverTcp(_) => "modbus_rtu_over_tcp",
            Self::ModbusDialIn(_) => "modbus_dial_in",
            Self::Own => "own",
        }
    }

    /// What is at the other end, for people: `192.0.2.10:502`, `/dev/ttyS1`.
    pub fn peer(&self) -> String {
        match self {
            Self::Mqtt(settings) => format!("{}:{}", settings.host, settings.port),
            Self::ModbusTcp(settings) | Self::ModbusRtuOverTcp(settings) => format!("{}:{}", settings.host, settings.port),
            Self::ModbusRtu(settings) => settings.path.clone(),
            Self::ModbusDialIn(settings) => format!("listen {}", settings.listen),
            Self::Own => String::new(),
        }
    }

    /// Whether units are spoken to in RTU frames, which carry no transaction id.
    pub fn is_rtu(&self) -> bool {
        match self {
            Self::ModbusRtu(_) | Self::ModbusRtuOverTcp(_) => true,
            Self::ModbusDialIn(settings) => settings.framing == super::line::Framing::Rtu,
            Self::Mqtt(_) | Self::ModbusTcp(_) | Self::Own => false,
        }
    }
}

/// Settings of one broker session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MqttSettings {
    /// Host name or address.
    pub host: String,
    /// TCP port, 1883 by default.
    pub port: u16,
    /// Stable client id: the persistent session belongs to it.
    pub client_id: String,
    /// User name.
    pub username: Option<String>,
    /// Password; never printed.
    pub password: Option<Secret>,
    /// Keep-alive in seconds, 30 by default.
    pub keep_alive_s: u16,
    /// Largest payload accepted, in bytes.
    pub max_packet_bytes: u32,
    /// What is spoken, and the settings of that.
    pub version: MqttVersion,
    /// TLS; `None`: plain TCP.
    pub tls: Option<TlsSettings>,
    /// Messages taken and not yet durable; when reached, nothing more is taken. MQTT 5 tells the broker.
    pub max_in_flight: u16,
    /// Readings that one message may hold; one with more is rejected.
    pub max_readings_per_message: u32,
    /// Topics listened to for devices that are not configured: `+`, `#` and named levels such as `{device}`.
    pub discover: Vec<String>,
}

impl MqttSettings {
    /// A session with the defaults of the configuration.
    pub fn new(host: String, port: u16, client_id: String) -> Self {
        Self {
            host,
            port,
            client_id,
            username: None,
            password: None,
            keep_alive_s: 30,
            max_packet_bytes: 1_048_576,
            version: MqttVersion::V3,
            tls: None,
            max_in_flight: 20_000,
            max_readings_per_message: 10_000,
            discover: Vec::new(),
        }
    }
}

/// Version of MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MqttVersion {
    /// 3.1.1: the broker keeps the session as long as it likes.
    V3,
    /// 5.
    V5 {
        /// How long the broker keeps the session while we are away, in seconds (MQTT 5, 3.1.2.11.2).
        session_expiry_s: u32,
    },
}

/// TLS towards a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// Name that the broker's certificate must be for; the host unless configured.
    pub server_name: String,
    /// PEM file with the authorities that may have issued it; `None`: those of the system.
    pub ca_file: Option<PathBuf>,
    /// PEM files with our own certificate and its key; `None`: we show none.
    pub identity: Option<TlsIdentity>,
}

/// Certificate and key by which we prove who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsIdentity {
    /// PEM file with the certificate, then those that lead to its issuer.
    pub certificate_file: PathBuf,
    /// PEM file with its private key.
    pub key_file: PathBuf,
}

/// Settings of one TCP connection to Modbus units; all units behind it share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModbusTcpSettings {
    /// Host name or address.
    pub host: String,
    /// TCP port, 502 by default.
    pub port: u16,
    /// Time an answer may take, 1000 ms by default.
    pub timeout_ms: u32,
    /// Time a connection may take, 3000 ms by default.
    pub connect_timeout_ms: u32,
    /// What the line can bear.
    pub line: LineSettings,
}

/// A text that is never printed: `Debug` and JSON show `****`.
#[derive(Clone, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Secret(String);

impl serde::Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("****")
    }
}

impl Secret {
    /// Wraps a secret text.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself, for the one place that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("****")
    }
}

/// One meter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Stable id, unique in the park.
    pub id: String,
    /// Names.
    pub name: Names,
    /// Id of the enterprise it belongs to; `None` for the park's own.
    pub enterprise: Option<String>,
    /// The link it is reached by.
    pub link: Arc<Link>,
    /// Profile it was made from.
    pub profile: Option<String>,
    /// Origin that its samples carry: metered, or simulated in the demo.
    pub origin: Origin,
    /// How its energy is compared with its power.
    pub nameplate: Nameplate,
    /// How it is addressed on the link.
    pub address: DeviceAddress,
    /// Its points, in config order.
    pub points: Vec<Arc<Point>>,
}

/// How a device is addressed on its link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceAddress {
    /// Behind an MQTT broker.
    Mqtt(MqttAddress),
    /// Behind a Modbus connection.
    Modbus(ModbusAddress),
    /// The gateway itself.
    Own,
}

/// Id of the device that the gateway itself is, and of the link it would be reached by. No device of a config has it, nor
/// one that begins with it and `_`: so stable ids of own points are never those of a meter.
pub const OWN_ID: &str = "parkgate";

/// Id that no device has: in the API it names the list of devices that are not configured.
pub const UNKNOWN_ID: &str = "unknown";

/// Topics and payload of an MQTT device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MqttAddress {
    /// One entry per topic filter (`+` and `#` as in MQTT), each with the points its messages carry.
    pub topics: Vec<TopicMap>,
    /// Its points are recorded and forwarded, and never totalled: several gateways may share its messages.
    pub raw_forward: bool,
}

/// What messages under one topic filter mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicMap {
    /// Topic filter that says which messages are meant, `park/acme/gas-1/telemetry` or with `+` and `#`.
    pub filter: String,
    /// Topic filter that is subscribed for them: the same, or one that covers several, or a `$share/group/` before it.
    pub subscription: String,
    /// QoS asked for, 1 unless configured.
    pub qos: u8,
    /// What the payload looks like.
    pub payload: Payload,
    /// Where each point's value is within a record; in text a path of one index, the column. None at all: the entry is only
    /// about the subscription.
    pub values: Vec<(ValuePath, PointId)>,
}

/// What a payload looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// JSON: where records and their time are.
    Json(RecordMap),
    /// A plain number, or lines of columns.
    Text(TextMap),
}

impl DeviceAddress {
    /// Whether the device's points have totals: all but those of devices whose messages are only passed on.
    pub fn has_totals(&self) -> bool {
        !matches!(self, Self::Mqtt(MqttAddress { raw_forward: true, .. }))
    }

    /// Where the value of a point is within the payloads of the device's topics, as text; empty for one that is not in any.
    /// The text is kept in files: it stays as it is.
    pub fn value_place(&self, point: PointId) -> String {
        let Self::Mqtt(address) = self else { return String::new() };
        let values = |topic: &TopicMap| -> Vec<String> {
            let own = topic.values.iter().filter(|(_, id)| *id == point);
            own.map(|(path, _)| topic.payload.place(path)).collect()
        };
        address.topics.iter().flat_map(values).collect::<Vec<_>>().join(", ")
    }
}

impl Payload {
    /// What it looks like and where a value is in it, as text: `json .list each .data.flow`, `csv [3]`, `number`.
    fn place(&self, path: &ValuePath) -> String {
        let of = |path: &ValuePath| -> String {
            let step = |step: &PathStep| match step {
                PathStep::Key(key) => format!(".{key}"),
                PathStep::Index(index) => format!("[{index}]"),
            };
            path.steps.iter().map(step).collect()
        };
        match self {
            Self::Json(RecordMap { records: Some(records), .. }) => format!("json {} each {}", of(records), of(path)),
            Self::Json(_) => format!("json {}", of(path)),
            Self::Text(TextMap { separator: Some(_), .. }) => format!("csv {}", of(path)),
            Self::Text(_) => "number".into(),
        }
    }
}

/// Unit and polling of a Modbus device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModbusAddress {
    /// Unit identifier, 0-255.
    pub unit_id: u8,
    /// Accept only answers that carry this unit id; some bridges answer with their own.
    pub check_unit: bool,
    /// Poll interval; polls are aligned to multiples of it on the wall clock.
    pub poll_interval_ms: u32,
    /// The same for points of priority fast.
    pub fast_interval_ms: u32,
    /// The same for points of priority slow.
    pub slow_interval_ms: u32,
    /// Priorities of points by their local ids; a point that is not here has priority normal.
    pub priorities: HashMap<String, Priority>,
    /// Most registers in one read, at most 125.
    pub max_block: u16,
    /// Most unwanted registers read along to join two blocks.
    pub max_gap: u16,
    /// Addresses never read along, per function, as inclusive ranges.
    pub forbidden: Vec<(crate::protocol::modbus::Function, u16, u16)>,
}

impl ModbusAddress {
    /// How often points of a priority are read.
    pub fn interval_ms(&self, priority: Priority) -> u32 {
        match priority {
            Priority::Fast => self.fast_interval_ms,
            Priority::Normal => self.poll_interval_ms,
            Priority::Slow => self.slow_interval_ms,
        }
    }

    /// The priority of a point by its local id.
    pub fn priority(&self, local_id: &str) -> Priority {
        self.priorities.get(local_id).copied().unwrap_or_default()
    }
}

/// One measured quantity of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// The registry's number.
    pub id: PointId,
    /// What is fixed under that number: stable id, kind, canonical unit, decimals.
    pub identity: PointIdentity,
    /// Stable id of its device.
    pub device: String,
    /// Id within the device: the last part of the stable id.
    pub local_id: String,
    /// Names.
    pub name: Names,
    /// Quantity in series names: `active_power`, `energy_import`, `so2_concentration`.
    pub quantity: String,
    /// Medium.
    pub medium: Medium,
    /// Reference state of a gas volume.
    pub reference: Option<ReferenceState>,
    /// Unit of the device's number.
    pub raw_unit: Unit,
    /// Exact factor on the device's number before its unit counts, `0.01`.
    pub scale: Decimal,
    /// Exact summand after `scale`, in the raw unit.
    pub offset: Decimal,
    /// Valid range in the canonical unit, both ends inclusive.
    pub valid_min: Option<Decimal>,
    /// See `valid_min`.
    pub valid_max: Option<Decimal>,
    /// Counter: value at which the register wraps to 0, in the canonical unit.
    pub modulus: Option<Decimal>,
    /// Counter: highest plausible rise per hour, in the canonical unit.
    pub rate_max_per_hour: Option<Decimal>,
    /// What is demanded of its values one after the other; `None` for nothing, as with most.
    pub rules: Option<Box<PointRules>>,
    /// Interval at which values are expected; `None` where unknown.
    pub interval_ms: Option<u32>,
    /// Kept by the rules for compliance records; emission points unless configured otherwise.
    pub compliance: bool,
    /// Role in the park's balance: `gate`, `sub`, ...
    pub role: Option<String>,
    /// Free labels.
    pub labels: BTreeMap<String, String>,
    /// Where its number is read from.
    pub source: PointSource,
}

impl Point {
    /// Its report on change, if it has one.
    pub fn on_change(&self) -> Option<OnChange> {
        self.rules.as_ref()?.on_change
    }
}

/// Where a point's number is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PointSource {
    /// From the payloads of its device's topics; the path is in [`TopicMap::values`].
    Mqtt,
    /// From registers or bits.
    Modbus(RegisterSource),
    /// From the gateway's metrics.
    Own,
    /// From other points.
    Formula(Formula),
}
