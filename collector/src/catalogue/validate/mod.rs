//! From what is written to what is meant: every rule that no single table can check, each broken one noted at its place.
//! Pure: files and variables were read before, the clock and the network are never asked.
//!
//! [`link`] Modbus lines; [`device`] a device with its profile; [`point`] one point, [`rules`] its rules and formula; [`topic`] topics and payloads; [`address`]
//! registers.

mod address;
mod device;
mod link;
mod point;
mod rules;
mod topic;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::bench::{ProfileTest, RawProfileTest, RawVariant, Variant, profile_test};
use super::place::{At, Place};
use super::problem::Problems;
use super::raw::{RawDevice, RawEnterprise, RawLink, RawModbus, RawNames, RawPark, RawPoint, RawTls, RawTopic};
use super::read::suggestion;
use super::registry::{PointRegistry, RegistryError};
use super::spec::*;
use super::text::{series_part, stable_id};
use crate::model::{LinkKey, Unit};
use crate::protocol::json::ValuePath;

/// How long a broker keeps the session where the config does not say: 30 days, in seconds.
const SESSION_EXPIRY_DEFAULT_S: u32 = 2_592_000;
/// Zone of days and months where the config names none.
const TIME_ZONE_DEFAULT: &str = "Asia/Shanghai";

/// A profile that was read.
#[derive(Clone, Debug)]
pub(super) struct Profile {
    /// Where its id is written.
    pub place: Place,
    pub modbus: Option<RawModbus>,
    pub topic: Vec<At<RawTopic>>,
    pub point: Vec<At<RawPoint>>,
    pub variant: Vec<At<RawVariant>>,
    pub test: Vec<At<RawProfileTest>>,
    /// Its tables in one fixed form, for the version.
    pub canonical: String,
}

/// Everything that was read, from all files. Holds secrets, so it cannot be printed.
#[derive(Default)]
pub(super) struct Parts {
    pub park: Option<At<RawPark>>,
    pub enterprises: Vec<At<RawEnterprise>>,
    pub links: Vec<At<RawLink>>,
    pub devices: Vec<At<RawDevice>>,
    pub profiles: BTreeMap<String, Profile>,
    /// Texts of `password_file`s, by the place that names them.
    pub secrets: HashMap<Place, String>,
    /// Ids of tables that could not be read; referring to them is no problem of its own.
    pub lost: HashSet<String>,
}

/// A valid configuration whose points have no numbers yet.
#[derive(Debug)]
pub struct Draft {
    /// Becomes [`Catalogue::version`].
    pub(super) version: u32,
    park: Park,
    enterprises: Vec<Enterprise>,
    links: Vec<Arc<Link>>,
    devices: Vec<DraftDevice>,
}

#[derive(Debug)]
struct DraftDevice {
    device: Device,
    points: Vec<DraftPoint>,
}

/// A point without its number, and on MQTT the topic (by index) and path of its value.
#[derive(Debug)]
struct DraftPoint {
    point: Point,
    value: Option<(usize, ValuePath)>,
    /// Where its formula is written.
    formula: Option<rules::Written>,
}

impl Draft {
    /// The park.
    pub fn park(&self) -> &Park {
        &self.park
    }

    /// All points, in order of the configuration. They have no numbers yet.
    pub fn points(&self) -> impl Iterator<Item = &Point> {
        self.devices.iter().flat_map(|device| device.points.iter().map(|point| &point.point))
    }

    /// All devices, in order of the configuration. Their points are not in them yet.
    pub fn devices(&self) -> impl Iterator<Item = &Device> {
        self.devices.iter().map(|device| &device.device)
    }

    /// Whether there is an enterprise of an id.
    pub fn has_enterprise(&self, id: &str) -> bool {
        self.enterprises.iter().any(|enterprise| enterprise.id == id)
    }

    /// How many enterprises, links, devices and points there are.
    pub fn counts(&self) -> (usize, usize, usize, usize) {
        let points = self.devices.iter().map(|device| device.points.len()).sum();
        (self.enterprises.len(), self.links.len(), self.devices.len(), points)
    }

    /// Gives every point its number and makes the catalogue.
    ///
    /// Errors: only those of the registry.
    pub fn build(self, registry: &mut dyn PointRegistry) -> Result<Catalogue, RegistryError> {
        let mut devices = Vec::with_capacity(self.devices.len());
        for DraftDevice { mut device, points } in self.devices {
            for DraftPoint { mut point, value, formula: _ } in points {
                point.id = registry.resolve(&point.identity)?;
                if let (DeviceAddress::Mqtt(address), Some((topic, path))) = (&mut device.address, value)
                    && let Some(topic) = address.topics.get_mut(topic)
                {
                    topic.values.push((path, point.id));
                }
                device.points.push(Arc::new(point));
            }
            devices.push(Arc::new(device));
        }
        Ok(Catalogue::new(self.version, self.park, self.enterprises, self.links, devices))
    }
}

/// Checks everything; `None` when there is no park to speak of. The draft is to be used only when no problem was noted.
pub(super) fn validate(parts: &Parts, problems: &mut Problems) -> Option<Draft> {
    let park_table = parts.park.as_ref()?;
    let park = park(park_table, problems);
    let enterprises = enterprises(&parts.enterprises, problems);
    let links = links(&parts.links, &park.id, parts, problems);
    let context = device::Context { parts, park: &park, enterprises: &enterprises, links: &links };
    let mut devices = device::devices(&context, problems);
    // A formula names other points; those of a device with a problem may not be there.
    if problems.is_empty() {
        rules::resolve(&mut devices, problems);
    }
    let in_order = parts.links.iter().filter_map(|raw| links.get(link_id(raw).value.as_str())).cloned().collect();
    Some(Draft { version: 0, park: park.clone(), enterprises, links: in_order, devices })
}

/// Checks a profile by itself, as if one device used it.
pub(super) fn validate_profile(profile: &Profile, problems: &mut Problems) {
    device::check_profile(profile, problems);
}

/// Checks the tests of a profile.
pub(super) fn profile_tests(profile: &Profile, problems: &mut Problems) -> Vec<ProfileTest> {
    let points: Vec<&str> = profile.point.iter().map(|point| point.id.value.as_str()).collect();
    if let (Some(test), true) = (profile.test.first(), device::is_by_topic(profile)) {
        problems.add(test.place, "a test is of registers; this profile has topics", "remove it");
        return Vec::new();
    }
    profile.test.iter().map(|test| profile_test(test, &points, problems)).collect()
}

/// Checks how the variants of a profile are told apart.
pub(super) fn variants(profile: &Profile, problems: &mut Problems) -> Vec<Variant> {
    device::variants(profile, problems)
}

fn names(raw: Option<&RawNames>, id: &str) -> Names {
    let (zh, en) = raw.map_or((None, None), |names| (names.zh.clone(), names.en.clone()));
    let one = |a: &Option<String>, b: &Option<String>| a.clone().or_else(|| b.clone()).unwrap_or_else(|| id.to_owned());
    Names { zh: one(&zh, &en), en: one(&en, &zh) }
}

fn check_id(id: &At<String>, problems: &mut Problems) {
    if let Err(message) = stable_id(id) {
        problems.add(id.place, message, "");
    }
}

/// Notes an id that was there before; `seen` maps ids to their places.
fn check_unique<'a>(what: &str, id: &'a At<String>, seen: &mut HashMap<&'a str, Place>, problems: &mut Problems) -> bool {
    match seen.get(id.value.as_str()) {
        Some(&first) => {
            problems.conflict(id.place, format!("{what} `{}` is there twice", id.value), "ids must be unique", first, "first here");
            false
        }
        None => {
            seen.insert(&id.value, id.place);
            true
        }
    }
}

/// The unit of a text; an unknown one is noted with near ones.
fn unit(text: &At<String>, problems: &mut Problems) -> Option<Unit> {
    let found = Unit::parse(text);
    if found.is_none() {
        let symbols: Vec<&str> = Unit::all().map(Unit::symbol).collect();
        problems.add(text.place, format!("unknown unit `{}`", text.value), suggestion(text, &symbols, "units"));
    }
    found
}

fn zone(text: &At<String>, problems: &mut Problems) {
    if jiff::tz::TimeZone::get(text).is_err() {
        problems.add(text.place, format!("unknown time zone `{}`", text.value), "give an IANA name such as Asia/Shanghai");
    }
}

fn park(raw: &At<RawPark>, problems: &mut Problems) -> Park {
    check_id(&raw.id, problems);
    if let Some(name) = &raw.time_zone {
        zone(name, problems);
    }
    let mut display_units = HashMap::new();
    for (stored, shown) in &raw.display_units {
        let key = At::new(shown.place, stored.clone());
        if let (Some(stored), Some(unit)) = (unit(&key, problems), unit(shown, problems)) {
            if stored.conversion_to(unit).is_none() {
                problems.add(shown.place, format!("{stored} cannot be shown in {unit}"), convertible(stored));
            }
            display_units.insert(stored, unit);
        }
    }
    let time_zone = raw.time_zone.as_ref().map_or(TIME_ZONE_DEFAULT, |zone| zone.value.as_str()).to_owned();
    let commissioned = raw.commissioned.as_ref().and_then(|day| {
        let start = day.value.parse::<jiff::civil::Date>().ok().and_then(|day| day.in_tz(&time_zone).ok());
        if start.is_none() {
            problems.add(day.place, format!("`{}` is no day", day.value), "write it as \"2026-03-01\"");
        }
        start.map(|start| crate::model::UtcMillis(start.timestamp().as_millisecond()))
    });
    Park { id: raw.id.value.clone(), name: names(raw.name.as_ref(), &raw.id), time_zone, commissioned, display_units }
}

/// The units that one converts to, as help.
fn convertible(unit: Unit) -> String {
    let units: Vec<&str> = Unit::all().filter(|other| unit.conversion_to(*other).is_some()).map(Unit::symbol).collect();
    format!("units that {unit} converts to: {}", units.join(", "))
}

fn enterprises(raw: &[At<RawEnterprise>], problems: &mut Problems) -> Vec<Enterprise> {
    let mut seen = HashMap::new();
    let mut enterprises = Vec::new();
    for raw in raw {
        check_id(&raw.id, problems);
        if check_unique("enterprise", &raw.id, &mut seen, problems) {
            enterprises.push(Enterprise { id: raw.id.value.clone(), name: names(raw.name.as_ref(), &raw.id) });
        }
    }
    enterprises
}

fn link_id(link: &RawLink) -> &At<String> {
    match link {
        RawLink::Mqtt(link) => &link.id,
        RawLink::ModbusTcp(link) => &link.id,
        RawLink::ModbusRtu(link) => &link.id,
        RawLink::ModbusRtuOverTcp(link) => &link.id,
        RawLink::ModbusDialIn(link) => &link.id,
    }
}

fn links(raw: &[At<RawLink>], park_id: &str, parts: &Parts, problems: &mut Problems) -> HashMap<String, Arc<Link>> {
    let mut seen = HashMap::new();
    let mut keys: HashMap<LinkKey, Place> = HashMap::new();
    let mut peers: HashMap<String, Place> = HashMap::new();
    let mut listeners = Vec::new();
    let mut links = HashMap::new();
    for raw in raw {
        let id = link_id(raw);
        check_id(id, problems);
        if !check_unique("link", id, &mut seen, problems) {
            continue;
        }
        let key = LinkKey::of(id);
        if let Some(first) = keys.insert(key, id.place) {
            let message = format!("link `{}` has the same key (CRC-32) as another link", id.value);
            problems.conflict(id.place, message, "change one of the two ids", first, "the other link");
        }
        let (driver, peer, place, help) = match &raw.value {
            RawLink::Mqtt(link) => {
                let settings = mqtt_settings(link, park_id, parts, problems);
                let peer = format!("mqtt {}:{} {}", settings.host, settings.port, settings.client_id);
                let place = link.client_id.as_ref().map_or(link.host.place, |id| id.place);
                (DriverSettings::Mqtt(settings), peer, place, "two sessions with one client id throw each other out: give each its own")
            }
            RawLink::ModbusTcp(link) => {
                let settings = link::modbus_tcp(link);
                let peer = format!("modbus {}:{}", settings.host, settings.port);
                (DriverSettings::ModbusTcp(settings), peer, link.host.place, link::ONE_OWNER)
            }
            RawLink::ModbusRtuOverTcp(link) => {
                let settings = link::modbus_rtu_over_tcp(link);
                let peer = format!("modbus {}:{}", settings.host, settings.port);
                (DriverSettings::ModbusRtuOverTcp(settings), peer, link.host.place, link::ONE_OWNER)
            }
            RawLink::ModbusRtu(link) => {
                let settings = link::modbus_rtu(link, problems);
                let peer = format!("serial {}", link::port_key(&settings.path));
                (DriverSettings::ModbusRtu(settings), peer, link.path.place, link::ONE_OWNER)
            }
            RawLink::ModbusDialIn(link) => {
                let settings = link::modbus_dial_in(link, &mut listeners, problems);
                // Two of one identity on one port were noted as such.
                (DriverSettings::ModbusDialIn(settings), format!("dial-in {}", link.id.value), link.listen.place, link::ONE_OWNER)
            }
        };
        let host = match &raw.value {
            RawLink::Mqtt(link) => Some(&link.host),
            RawLink::ModbusTcp(link) => Some(&link.host),
            RawLink::ModbusRtuOverTcp(link) => Some(&link.host),
            RawLink::ModbusRtu(_) | RawLink::ModbusDialIn(_) => None,
        };
        if let Some(host) = host
            && (host.is_empty() || host.contains(|c: char| c.is_whitespace() || c == '/'))
        {
            problems.add(
                host.place,
                "must be a host name or an address, without scheme and path",
                "for example 192.0.2.10 or meter.example.com",
            );
        }
        if let Some(first) = peers.insert(peer, place) {
            problems.conflict(place, format!("link `{}` reaches the same peer as another link", id.value), help, first, "the other link");
        }
        links.insert(id.value.clone(), Arc::new(Link { id: id.value.clone(), key, driver }));
    }
    links
}

fn mqtt_settings(link: &super::raw::RawMqttLink, park_id: &str, parts: &Parts, problems: &mut Problems) -> MqttSettings {
    let password = match (&link.password, &link.password_file) {
        (Some(password), Some(file)) => {
            problems.conflict(file.place, "`password` and `password_file` exclude each other", "keep one", password.place, "also here");
            None
        }
        (Some(password), None) => Some(Secret::new(password.value.clone())),
        // A file that could not be read was noted by the loader.
        (None, Some(file)) => parts.secrets.get(&file.place).cloned().map(Secret::new),
        (None, None) => None,
    };
    if let (None, Some(place)) = (&link.username, link.password.as_ref().or(link.password_file.as_ref()).map(|at| at.place)) {
        problems.add(place, "a password needs a `username`", "MQTT 3.1.1, 3.1.2.9: without a user name there is no password");
    }
    let client_id = link.client_id.as_ref().map_or_else(|| format!("parkgate-{park_id}-{}", link.id.value), |id| id.value.clone());
    if client_id.is_empty() || client_id.len() > 128 {
        let place = link.client_id.as_ref().map_or(link.id.place, |id| id.place);
        problems.add(place, "a client id has 1 to 128 bytes", "a persistent session needs one");
    }
    let version = mqtt_version(link, problems);
    let tls = link.tls.as_ref().map(|tls| tls_settings(tls, &link.host, problems));
    let port = link.port.unwrap_or(if tls.is_some() { 8883 } else { 1883 });
    let defaults = MqttSettings::new(link.host.value.clone(), port, client_id);
    MqttSettings {
        username: link.username.clone(),
        password,
        keep_alive_s: link.keep_alive_s.unwrap_or(defaults.keep_alive_s),
        max_packet_bytes: link.max_packet_bytes.unwrap_or(defaults.max_packet_bytes),
        version,
        tls,
        max_in_flight: link.max_in_flight.unwrap_or(defaults.max_in_flight),
        max_readings_per_message: link.max_readings_per_message.unwrap_or(defaults.max_readings_per_message),
        discover: link.discover.iter().map(|text| topic::discover(text, park_id, problems)).collect(),
        ..defaults
    }
}

fn mqtt_version(link: &super::raw::RawMqttLink, problems: &mut Problems) -> MqttVersion {
    match link.version.as_ref().map_or(3, |version| version.value) {
        5 => MqttVersion::V5 { session_expiry_s: link.session_expiry_s.as_ref().map_or(SESSION_EXPIRY_DEFAULT_S, |at| at.value) },
        3 => {
            if let Some(expiry) = &link.session_expiry_s {
                problems.add(expiry.place, "`session_expiry_s` is only for version = 5", "with 3.1.1 the broker's own setting counts");
            }
            MqttVersion::V3
        }
        other => {
            if let Some(version) = &link.version {
                problems.add(version.place, format!("there is no MQTT {other}"), "3 (that is 3.1.1) or 5");
            }
            MqttVersion::V3
        }
    }
}

fn tls_settings(tls: &At<RawTls>, host: &At<String>, problems: &mut Problems) -> TlsSettings {
    let path = |at: &Option<At<String>>| at.as_ref().map(|at| std::path::PathBuf::from(&at.value));
    let identity = match (path(&tls.certificate_file), path(&tls.key_file)) {
        (Some(certificate_file), Some(key_file)) => Some(TlsIdentity { certificate_file, key_file }),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            if tls.lacks("certificate_file") && tls.lacks("key_file") {
                problems.add(tls.place, "`certificate_file` and `key_file` belong together", "give both, or none");
            }
            None
        }
    };
    let server_name = tls.server_name.as_ref().unwrap_or(host);
    if server_name.is_empty() || server_name.contains(|c: char| c.is_whitespace() || matches!(c, '/' | ':')) && !server_name.contains("::")
    {
        problems.add(server_name.place, "must be a host name or an address", "as it stands in the broker's certificate");
    }
    TlsSettings { server_name: server_name.value.clone(), ca_file: path(&tls.ca_file), identity }
}

/// Checks label names, and joins a device's labels with a point's.
fn labels(raw: &BTreeMap<String, At<String>>, problems: &mut Problems) -> BTreeMap<String, String> {
    for (name, value) in raw {
        if let Err(message) = series_part(name) {
            problems.add(value.place, format!("label name {message}"), "");
        }
    }
    raw.iter().map(|(name, value)| (name.clone(), value.value.clone())).collect()
}
