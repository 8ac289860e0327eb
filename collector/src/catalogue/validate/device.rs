//! Devices: each with its profile, its link, its points.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::bench::{RawVariant, Variant};
use super::super::line::Priority;
use super::super::place::{At, Place};
use super::super::problem::Problems;
use super::super::profile::BUILT_IN;
use super::super::raw::{RawDevice, RawFunction, RawPoint, RawTopic};
use super::super::read::suggestion;
use super::super::spec::*;
use super::address::{self, RegisterDefaults};
use super::topic::{self, Levels};
use super::{DraftDevice, DraftPoint, Parts, Profile, check_id, check_unique, names, point, rules};
use crate::model::Origin;
use crate::protocol::json::ValuePath;
use crate::protocol::modbus::{Function, RegisterSource, RegisterType};

/// What a device is looked up against.
pub(super) struct Context<'a> {
    pub parts: &'a Parts,
    pub park: &'a Park,
    pub enterprises: &'a [Enterprise],
    pub links: &'a HashMap<String, Arc<Link>>,
}

/// Checks and makes all devices, then what several of them must not share.
pub(super) fn devices(context: &Context<'_>, problems: &mut Problems) -> Vec<DraftDevice> {
    let mut seen = HashMap::new();
    let mut shared = Shared::default();
    let mut devices = Vec::new();
    for raw in &context.parts.devices {
        check_id(&raw.id, problems);
        if raw.id.strip_prefix(OWN_ID).is_some_and(|rest| rest.is_empty() || rest.starts_with('_')) {
            let message = format!("`{}` is kept for the gateway itself", raw.id.value);
            problems.add(raw.id.place, message, "its own metrics are points of a device `parkgate`; give the meter another id");
        }
        if raw.id.value == UNKNOWN_ID {
            problems.add(raw.id.place, "`unknown` is kept for the list of devices that are not configured", "give the meter another id");
        }
        let first = check_unique("device", &raw.id, &mut seen, problems);
        // What the second of two devices shares with the first is no news.
        let shared = if first { &mut shared } else { &mut Shared::default() };
        if let Some(device) = device(context, raw, shared, problems)
            && first
        {
            devices.push(device);
        }
    }
    devices
}

/// Checks a profile as if one device used it, with the address that it lacks.
pub(super) fn check_profile(profile: &Profile, problems: &mut Problems) {
    let mut seen = HashMap::new();
    let park = Park {
        id: "park".into(),
        name: Names { zh: String::new(), en: String::new() },
        time_zone: super::TIME_ZONE_DEFAULT.into(),
        commissioned: None,
        display_units: HashMap::new(),
    };
    let by_topic = is_by_topic(profile);
    let defaults = register_defaults(None, profile.modbus.as_ref());
    let modbus = any_address(profile);
    if by_topic {
        let ids = [("{device}", "device"), ("{enterprise}", "enterprise"), ("{park}", "park")];
        // Whether a topic may be shared is the device's to say.
        topic::topics(&profile.topic, &Levels { ids, labels: None, raw_forward: true }, &park, problems);
    }
    for raw in &profile.point {
        check_unique("point", &raw.id, &mut seen, problems);
        point::point(raw, "enterprise", "device", problems);
        if raw.formula.is_some() {
            rules::formula(raw, "enterprise", "device", problems);
        } else if by_topic {
            topic::value(raw, &profile.topic, problems);
        } else {
            address::register(raw, &defaults, &modbus, problems);
        }
    }
}

/// Whether a profile is for devices behind a broker.
pub(super) fn is_by_topic(profile: &Profile) -> bool {
    !profile.topic.is_empty() || profile.point.iter().any(|point| point.path.is_some() || point.column.is_some())
}

/// The address of a device that has nothing but the profile.
fn any_address(profile: &Profile) -> ModbusAddress {
    let with_unit = profile.modbus.clone().map(|mut modbus| {
        modbus.unit_id = modbus.unit_id.or(Some(1));
        At::new(profile.place, modbus)
    });
    let unit = At::new(profile.place, super::RawModbus { unit_id: Some(1), ..Default::default() });
    address::modbus(Some(with_unit.as_ref().unwrap_or(&unit)), None, None, &mut Problems::default())
}

/// The registers by which variants of a profile are told apart.
pub(super) fn variants(profile: &Profile, problems: &mut Problems) -> Vec<Variant> {
    if let (Some(variant), true) = (profile.variant.first(), is_by_topic(profile)) {
        problems.add(variant.place, "variants are told apart by registers; this profile has topics", "remove it");
        return Vec::new();
    }
    let (defaults, modbus) = (register_defaults(None, profile.modbus.as_ref()), any_address(profile));
    let variant = |raw: &At<RawVariant>| {
        if raw.min.0.cmp_value(raw.max.0) == std::cmp::Ordering::Greater {
            let message = format!("min {} is above max {}", raw.min.0, raw.max.0);
            problems.conflict(raw.min.place, message, "", raw.max.place, "max");
        }
        let source = address::source(&raw.register, &defaults, &modbus, problems)?;
        let (profile, about) = (raw.profile.value.clone(), raw.about.clone());
        Some(Variant { profile, about, source, min: raw.min.0, max: raw.max.0 })
    };
    profile.variant.iter().filter_map(variant).collect()
}

/// Link, unit, function, address, type.
type RegisterKey = (String, u8, Function, u16, RegisterType);

/// What devices must not share, by the place that had it first.
#[derive(Default)]
struct Shared {
    origins: HashMap<String, (Origin, Place)>,
    registers: HashMap<RegisterKey, (String, Place)>,
    values: HashMap<(String, String, String), Place>,
}

fn device(context: &Context<'_>, raw: &At<RawDevice>, shared: &mut Shared, problems: &mut Problems) -> Option<DraftDevice> {
    let parts = context.parts;
    let link = context.links.get(raw.link.value.as_str()).cloned();
    if link.is_none() {
        let known: Vec<&str> = context.links.keys().map(String::as_str).collect();
        unknown("link", &raw.link, &known, parts, problems);
    }
    let owner = owner(context, raw, problems);
    let profile = raw.profile.as_ref().and_then(|id| {
        let profile = parts.profiles.get(&id.value);
        if profile.is_none() {
            let known: Vec<&str> = parts.profiles.keys().map(String::as_str).chain(BUILT_IN.iter().map(|(id, _)| *id)).collect();
            unknown("profile", id, &known, parts, problems);
        }
        profile
    });
    let points = merged_points(raw, profile, problems);
    let profile_is_known = raw.profile.is_none() || profile.is_some();
    if points.is_empty() && profile_is_known && raw.lacks("point") && raw.lacks("profile") {
        problems.add(raw.id.place, format!("device `{}` has no points", raw.id.value), "name a `profile`, or add [[device.point]]");
    }
    let origin = origin(raw, shared, problems);

    let Some(link) = link else {
        // The points can still be checked, all but their addresses.
        for raw_point in &points {
            point::point(raw_point, owner, &raw.id, problems);
        }
        return None;
    };
    let mut device = Device {
        id: raw.id.value.clone(),
        name: names(raw.name.as_ref(), &raw.id),
        enterprise: raw.enterprise.as_ref().map(|id| id.value.clone()),
        link: Arc::clone(&link),
        profile: raw.profile.as_ref().map(|id| id.value.clone()),
        origin,
        nameplate: rules::nameplate(raw.nameplate.as_ref(), problems),
        address: DeviceAddress::Mqtt(MqttAddress::default()),
        points: Vec::new(),
    };
    let points = match &link.driver {
        DriverSettings::Mqtt(_) => on_mqtt(context, raw, profile, &points, owner, &mut device, shared, problems),
        DriverSettings::ModbusTcp(_)
        | DriverSettings::ModbusRtu(_)
        | DriverSettings::ModbusRtuOverTcp(_)
        | DriverSettings::ModbusDialIn(_) => on_modbus(raw, profile, &points, owner, &mut device, shared, problems),
        DriverSettings::Own => Vec::new(),
    };
    Some(DraftDevice { device, points })
}

/// Notes a reference to something that is not there, unless it was there and could not be read.
fn unknown(what: &str, id: &At<String>, known: &[&str], parts: &Parts, problems: &mut Problems) {
    if !parts.lost.contains(&id.value) {
        let mut known = known.to_vec();
        known.sort_unstable();
        known.dedup();
        problems.add(id.place, format!("there is no {what} `{}`", id.value), suggestion(id, &known, "there are"));
    }
}

/// The first part of stable ids: the enterprise, or the park for its own.
fn owner<'a>(context: &'a Context<'_>, raw: &'a RawDevice, problems: &mut Problems) -> &'a str {
    let Some(id) = &raw.enterprise else { return &context.park.id };
    if !context.enterprises.iter().any(|enterprise| enterprise.id == id.value) {
        let known: Vec<&str> = context.enterprises.iter().map(|enterprise| enterprise.id.as_str()).collect();
        unknown("enterprise", id, &known, context.parts, problems);
    }
    id
}

/// A link mixes no origins: a batch has one.
fn origin(raw: &RawDevice, shared: &mut Shared, problems: &mut Problems) -> Origin {
    let (origin, place) = raw.origin.as_ref().map_or((Origin::Metered, raw.id.place), |at| (at.value, at.place));
    let (first, other) = *shared.origins.entry(raw.link.value.clone()).or_insert((origin, place));
    if first != origin {
        let message = format!("link `{}` has devices of origin {} and {}", raw.link.value, first.name(), origin.name());
        problems.conflict(place, message, "all devices of a link have one origin: use a link of its own", other, "the other origin");
    }
    origin
}

/// The points of profile and device, in that order; the device's labels and role are laid under each.
fn merged_points(raw: &RawDevice, profile: Option<&Profile>, problems: &mut Problems) -> Vec<At<RawPoint>> {
    let mut own = HashMap::new();
    for point in &raw.point {
        check_unique("point", &point.id, &mut own, problems);
    }
    let base = profile.map_or(&[][..], |profile| &profile.point);
    let mut points: Vec<At<RawPoint>> = base
        .iter()
        .map(|base| match raw.point.iter().find(|own| own.id.value == base.id.value) {
            Some(own) => At { place: own.place, value: own.value.clone().over(base), unread: own.unread.clone() },
            None => base.clone(),
        })
        .collect();
    let in_base = |point: &&At<RawPoint>| base.iter().any(|base| base.id.value == point.id.value);
    points.extend(raw.point.iter().filter(|point| !in_base(point)).cloned());
    for point in &mut points {
        let mut labels = raw.labels.clone();
        labels.append(&mut point.value.labels);
        point.value.labels = labels;
        point.value.role = point.value.role.take().or_else(|| raw.role.clone());
    }
    points
}

#[allow(clippy::too_many_arguments)] // one call, one device: a struct for it would only move the list
fn on_mqtt(
    context: &Context<'_>,
    raw: &At<RawDevice>,
    profile: Option<&Profile>,
    points: &[At<RawPoint>],
    owner: &str,
    device: &mut Device,
    shared: &mut Shared,
    problems: &mut Problems,
) -> Vec<DraftPoint> {
    for priority in points.iter().filter_map(|point| point.priority.as_ref()) {
        problems.add(priority.place, "a point on an MQTT link has no `priority`", "it comes when the device sends it; remove the key");
    }
    if let Some(modbus) = &raw.modbus {
        problems.add(modbus.place, "a device on an MQTT link has no `modbus`", "remove it, or name a Modbus link");
    }
    let raw_topics: &[At<RawTopic>] = match profile {
        Some(profile) if raw.topic.is_empty() => &profile.topic,
        _ => &raw.topic,
    };
    if raw_topics.is_empty() && raw.lacks("topic") {
        problems.add(raw.id.place, format!("device `{}` has no topic", raw.id.value), "add [[device.topic]] with filter = \"...\"");
    }
    let ids = [("{device}", raw.id.value.as_str()), ("{enterprise}", owner), ("{park}", context.park.id.as_str())];
    let raw_forward = raw.raw_forward.as_ref().is_some_and(|flag| flag.value);
    let levels = Levels { ids, labels: Some(&raw.labels), raw_forward };
    let mut topics = topic::topics(raw_topics, &levels, context.park, problems);
    let mut drafts = Vec::new();
    for raw_point in points {
        if raw_point.formula.is_some() {
            drafts.extend(by_formula(raw_point, owner, &raw.id, problems));
            continue;
        }
        let mut value = topic::value(raw_point, raw_topics, problems);
        let made = point::point(raw_point, owner, &raw.id, problems);
        if let Some((index, path)) = &mut value {
            if let Some(map) = topics.get(*index).filter(|map| map.filter.contains(topic::POINT)) {
                // One topic for each point, under one subscription.
                let own = TopicMap { filter: map.filter.replace(topic::POINT, &raw_point.id), ..map.clone() };
                *index = topics.len();
                topics.push(own);
            }
            let place = raw_point.path.as_ref().map(|at| at.place).or(raw_point.column.as_ref().map(|at| at.place));
            let filter = topics.get(*index).map_or(String::new(), |topic| topic.filter.clone());
            claim_value(shared, raw, filter, path, place.unwrap_or(raw_point.id.place), problems);
        }
        if let (Some(point), Some(value)) = (made, value) {
            drafts.push(DraftPoint { point: with_silence(point), value: Some(value), formula: None });
        }
    }
    for map in topics.iter_mut().filter(|map| map.filter.contains(topic::POINT)) {
        map.filter = map.filter.replace(topic::POINT, "+");
    }
    device.address = DeviceAddress::Mqtt(MqttAddress { topics, raw_forward });
    drafts
}

/// A point that is made of others.
fn by_formula(raw: &At<RawPoint>, owner: &str, device: &str, problems: &mut Problems) -> Option<DraftPoint> {
    let formula = rules::formula(raw, owner, device, problems);
    let mut point = point::point(raw, owner, device, problems)?;
    let (formula, written) = formula?;
    point.source = PointSource::Formula(formula);
    Some(DraftPoint { point: with_silence(point), value: None, formula: Some(written) })
}

/// Values of a point that reports on change are expected within its longest silence.
fn with_silence(mut point: Point) -> Point {
    if let Some(on_change) = point.on_change() {
        point.interval_ms = point.interval_ms.max(Some(on_change.max_silence_ms));
    }
    point
}

/// Claims a place in the payloads of a topic for a point; one that is taken is noted.
fn claim_value(shared: &mut Shared, raw: &RawDevice, filter: String, path: &ValuePath, place: Place, problems: &mut Problems) {
    let key = (raw.link.value.clone(), filter, path.to_string());
    match shared.values.get(&key) {
        Some(&first) => {
            let message = format!("path `{path}` of this topic is read by another point already");
            problems.conflict(place, message, "give each point a path, a column or a topic of its own", first, "first here");
        }
        None => {
            shared.values.insert(key, place);
        }
    }
}

/// Function and order of points that name none: the device's keys before the profile's.
fn register_defaults<'a>(own: Option<&'a super::RawModbus>, profile: Option<&'a super::RawModbus>) -> RegisterDefaults<'a> {
    let function = own.and_then(|own| own.function).or(profile.and_then(|profile| profile.function));
    RegisterDefaults {
        function: function.map_or(Function::HoldingRegisters, RawFunction::function),
        order: own.and_then(|own| own.order.as_ref()).or(profile.and_then(|profile| profile.order.as_ref())),
        address_base: own.and_then(|own| own.address_base).or(profile.and_then(|profile| profile.address_base)).unwrap_or(0),
    }
}

fn on_modbus(
    raw: &At<RawDevice>,
    profile: Option<&Profile>,
    points: &[At<RawPoint>],
    owner: &str,
    device: &mut Device,
    shared: &mut Shared,
    problems: &mut Problems,
) -> Vec<DraftPoint> {
    if let Some(flag) = &raw.raw_forward {
        problems.add(flag.place, "`raw_forward` is for devices on an MQTT link", "remove it, or name an MQTT link");
    }
    if let Some(topic) = raw.topic.first() {
        problems.add(topic.filter.place, "a device on a Modbus link has no topics", "remove it, or name an MQTT link");
    }
    let profile_modbus = profile.and_then(|profile| profile.modbus.as_ref());
    let place = raw.lacks("modbus").then_some(raw.id.place);
    let mut modbus = address::modbus(raw.modbus.as_ref(), profile_modbus, place, problems);
    if device.link.driver.is_rtu() {
        on_rtu(raw, &mut modbus, problems);
    }
    let priority_default = address::priority(raw.modbus.as_ref().map(|at| &at.value), profile_modbus);
    let defaults = register_defaults(raw.modbus.as_ref().map(|at| &at.value), profile_modbus);
    let mut drafts = Vec::new();
    let mut told = false;
    for raw_point in points {
        if raw_point.formula.is_some() {
            drafts.extend(by_formula(raw_point, owner, &raw.id, problems));
            continue;
        }
        let source = address::register(raw_point, &defaults, &modbus, problems);
        let made = point::point(raw_point, owner, &raw.id, problems);
        let Some(source) = source else { continue };
        let place = raw_point.register.as_ref().map_or(raw_point.id.place, |register| register.place);
        told |= !claim(shared, raw, modbus.unit_id, &source, place, told, problems);
        if let Some(mut point) = made {
            let priority = raw_point.priority.as_ref().map_or(priority_default, |at| at.value);
            if priority != Priority::Normal {
                modbus.priorities.insert(point.local_id.clone(), priority);
            }
            point.interval_ms = point.interval_ms.or(Some(modbus.interval_ms(priority)));
            point.source = PointSource::Modbus(source);
            drafts.push(DraftPoint { point: with_silence(point), value: None, formula: None });
        }
    }
    device.address = DeviceAddress::Modbus(modbus);
    drafts
}

/// What RTU frames demand of a device: its answers are known by its unit id alone.
fn on_rtu(raw: &At<RawDevice>, modbus: &mut ModbusAddress, problems: &mut Problems) {
    let place = raw.modbus.as_ref().map_or(raw.id.place, |modbus| modbus.place);
    if !modbus.check_unit {
        let message = "check_unit = false cannot be used in RTU frames: answers are told apart by their unit id alone";
        problems.add(place, message, "set check_unit = true for this device");
    }
    // Modbus over Serial Line V1.02, 2.2: 0 is the broadcast, which nobody answers.
    if modbus.unit_id == 0 {
        problems.add(place, "unit 0 is the broadcast on a serial line, which no unit answers", "give the unit's own id, 1 to 247");
    }
}

/// Claims a register for a device; one that is taken is noted, between two devices once only. `false` when it is taken
/// by another device.
fn claim(
    shared: &mut Shared,
    raw: &RawDevice,
    unit_id: u8,
    source: &RegisterSource,
    place: Place,
    told: bool,
    problems: &mut Problems,
) -> bool {
    let key = (raw.link.value.clone(), unit_id, source.function, source.address, source.register_type);
    let Some((device, first)) = shared.registers.get(&key).cloned() else {
        shared.registers.insert(key, (raw.id.value.clone(), place));
        return true;
    };
    let what = format!("{} {} of unit {unit_id} on link `{}`", function_name(source.function), source.address, raw.link.value);
    if device == raw.id.value {
        problems.conflict(place, format!("{what} is read by two points"), "remove one", first, "first here");
        return true;
    }
    if !told {
        let place = raw.modbus.as_ref().map_or(raw.id.place, |modbus| modbus.place);
        let message = format!("devices `{device}` and `{}` both read {what}", raw.id.value);
        problems.conflict(place, message, "give one of them another `unit_id`", first, "the register");
    }
    false
}

fn function_name(function: Function) -> &'static str {
    match function {
        Function::Coils => "coil",
        Function::DiscreteInputs => "discrete input",
        Function::HoldingRegisters => "holding register",
        Function::InputRegisters => "input register",
    }
}
