//! Where the values of a Modbus device are: units and registers.

use std::collections::HashMap;

use super::super::line::Priority;
use super::super::place::{At, Place};
use super::super::problem::Problems;
use super::super::raw::{RawModbus, RawPoint, RawRegister, RawRegisterType};
use super::super::read::parse_integer;
use super::super::spec::ModbusAddress;
use super::super::text::{Address, byte_order, register_address};
use crate::protocol::modbus::{ByteOrder, Function, RawCode, RegisterSource, RegisterType, TextLayout};

/// Shortest and longest interval of polls.
const INTERVAL_MIN_MS: u32 = 10;
const INTERVAL_MAX_MS: u32 = 86_400_000;

/// Unit and polling: the device's own keys before those of its profile. `place`: where to say that there are none.
pub(super) fn modbus(
    own: Option<&At<RawModbus>>,
    profile: Option<&RawModbus>,
    place: Option<Place>,
    problems: &mut Problems,
) -> ModbusAddress {
    let empty = RawModbus::default();
    let place = own.map_or(place, |own| own.lacks("unit_id").then_some(own.place));
    let (own, profile) = (own.map_or(&empty, |own| &own.value), profile.unwrap_or(&empty));
    if let (None, Some(place)) = (own.unit_id, place) {
        problems.add(place, "the device needs its `unit_id` on the Modbus link", "add modbus = { unit_id = 1 } with the meter's address");
    }
    let base = own.address_base.or(profile.address_base).unwrap_or(0);
    let mut forbidden = Vec::new();
    for range in own.forbidden.iter().chain(&profile.forbidden).flatten() {
        if range.first > range.last {
            problems.add(range.place, format!("first {} is above last {}", range.first, range.last), "");
        }
        if range.first < base {
            problems.add(range.place, format!("address {} is below address_base = {base}", range.first), "");
        }
        forbidden.push((range.function.function(), range.first.saturating_sub(base), range.last.saturating_sub(base)));
    }
    let poll_interval_ms = own.poll_interval_ms.or(profile.poll_interval_ms).unwrap_or(1_000);
    ModbusAddress {
        unit_id: own.unit_id.unwrap_or(1),
        check_unit: own.check_unit.or(profile.check_unit).unwrap_or(true),
        poll_interval_ms,
        fast_interval_ms: own.fast_interval_ms.or(profile.fast_interval_ms).unwrap_or((poll_interval_ms / 5).max(INTERVAL_MIN_MS)),
        slow_interval_ms: own
            .slow_interval_ms
            .or(profile.slow_interval_ms)
            .unwrap_or(poll_interval_ms.saturating_mul(10).min(INTERVAL_MAX_MS).max(poll_interval_ms)),
        priorities: HashMap::new(),
        max_block: own.max_block.or(profile.max_block).unwrap_or(125),
        max_gap: own.max_gap.or(profile.max_gap).unwrap_or(10),
        forbidden,
    }
}

/// The priority of points that name none: the device's before the profile's.
pub(super) fn priority(own: Option<&RawModbus>, profile: Option<&RawModbus>) -> Priority {
    own.and_then(|own| own.priority).or(profile.and_then(|profile| profile.priority)).unwrap_or_default()
}

/// Function and order for points that name none: the device's before the profile's; and what addresses count from.
pub(super) struct RegisterDefaults<'a> {
    pub function: Function,
    pub order: Option<&'a At<String>>,
    pub address_base: u16,
}

impl RegisterDefaults<'_> {
    /// The 0-based protocol address of an address as it is written, with the function that register notation names.
    fn address(&self, text: &At<Address>, problems: &mut Problems) -> Option<(Option<Function>, u16)> {
        let (notation, number) = register_address(&text.0).map_err(|message| problems.add(text.place, message, "")).ok()?;
        let base = if notation.is_some() { 0 } else { self.address_base };
        let Some(address) = number.checked_sub(base) else {
            let message = format!("address {number} is below address_base = {base}");
            problems.add(text.place, message, "count from there, or set address_base = 0 for protocol addresses");
            return None;
        };
        Some((notation, address))
    }
}

/// The register of a point.
pub(super) fn register(
    raw: &At<RawPoint>,
    defaults: &RegisterDefaults<'_>,
    address: &ModbusAddress,
    problems: &mut Problems,
) -> Option<RegisterSource> {
    for (key, place) in [
        ("path", raw.path.as_ref().map(|at| at.place)),
        ("column", raw.column.as_ref().map(|at| at.place)),
        ("topic", raw.topic.as_ref().map(|at| at.place)),
    ] {
        if let Some(place) = place {
            problems.add(place, format!("a point on a Modbus link has no `{key}`"), "give `register`, or put the device on an MQTT link");
        }
    }
    let Some(register) = &raw.register else {
        let help = "add register = { address = 0, type = \"f32\" }";
        if raw.lacks("register") {
            problems.add(raw.id.place, format!("point `{}` has no `register`", raw.id.value), help);
        }
        return None;
    };
    source(register, defaults, address, problems)
}

/// Where a register's number is.
pub(super) fn source(
    register: &At<RawRegister>,
    defaults: &RegisterDefaults<'_>,
    address: &ModbusAddress,
    problems: &mut Problems,
) -> Option<RegisterSource> {
    let Some(text) = &register.address else {
        if register.lacks("address") {
            problems.add(register.place, "the register has no `address`", "add address = 0 (protocol address) or address = \"40001\"");
        }
        return None;
    };
    let (notation, start) = defaults.address(text, problems)?;
    let function = match (notation, &register.function) {
        (Some(notation), Some(given)) if notation != given.value.function() => {
            let message = format!("register notation \"{}\" names another function", text.0);
            problems.conflict(given.place, message, "remove `function`", text.place, "the address");
            return None;
        }
        (Some(notation), _) => notation,
        (None, Some(given)) => given.value.function(),
        (None, None) => defaults.function,
    };
    let (register_type, words) = register_type(register, function, problems)?;
    if u32::from(start).saturating_add(u32::from(words)) > 65_536 {
        problems.add(text.place, format!("{words} registers from {start} go beyond address 65535"), "");
    }
    if words > address.max_block {
        problems.add(register.place, format!("a value of {words} registers does not fit a read of max_block = {}", address.max_block), "");
    }
    let order = order(register, register_type, defaults, problems)?;
    let not_available = not_available(register, register_type, problems);
    let codes = codes(register, register_type, problems);
    let mut source = RegisterSource { function, address: start, register_type, order, not_available, scale_register: None, codes };
    source.scale_register = scale_register(register, &source, defaults, address, problems);
    Some(source)
}

/// The order of the bytes: that of the register, else the default; never the default for base 10,000 and texts, which keep
/// to an order of their own in devices of any other.
fn order(
    register: &RawRegister,
    register_type: RegisterType,
    defaults: &RegisterDefaults<'_>,
    problems: &mut Problems,
) -> Option<ByteOrder> {
    if let RegisterType::Text { .. } = register_type {
        return Some(ByteOrder::AB); // it has a layout
    }
    let is_mod10 = matches!(register_type, RegisterType::Mod10(_) | RegisterType::Mod10Signed);
    let order = register.order.as_ref().or(if is_mod10 { None } else { defaults.order });
    let Some(order) = order else { return Some(register_type.usual_order()) };
    byte_order(order, register_type.usual_order().length).map_err(|message| problems.add(order.place, message, "")).ok()
}

fn not_available(register: &At<RawRegister>, register_type: RegisterType, problems: &mut Problems) -> Vec<u64> {
    let markers = register.not_available.as_deref().unwrap_or_default();
    if let (RegisterType::Text { .. }, [_, ..]) = (register_type, markers) {
        problems.add(register.place, "`not_available` is for numbers", "remove it: a text of nothing but filler is no value anyway");
    }
    let bits = u32::from(register_type.registers()).saturating_mul(16);
    for marker in markers.iter().map(|bits| bits.0) {
        let width = 64_u32.saturating_sub(marker.leading_zeros());
        if width > bits && !matches!(register_type, RegisterType::Text { .. }) {
            let message =
                format!("the marker {marker:#X} of `not_available` has {width} bits, the value has {bits}: it would never be found");
            problems.add(register.place, message, "write the pattern as wide as the type, or correct the type");
        } else if let Some(narrow) = narrower(register_type, bits, marker) {
            let message = format!("the marker {marker:#X} of `not_available` is usual for {narrow} bits, the value has {bits}");
            problems.warn(register.place, message, "a meter with values of this width marks them with a pattern of the same width");
        }
    }
    markers.iter().map(|bits| bits.0).collect()
}

/// The narrower width whose usual marker this one is, for a signed value: just the sign, all but the sign, or all bits.
fn narrower(register_type: RegisterType, bits: u32, marker: u64) -> Option<u32> {
    if !matches!(register_type, RegisterType::I32 | RegisterType::I64) {
        return None;
    }
    let is_usual = |width: u32| {
        let sign = 1_u64.checked_shl(width.saturating_sub(1)).unwrap_or_default();
        let rest = sign.saturating_sub(1);
        [sign, rest, sign | rest].contains(&marker)
    };
    [16, 32, 48].into_iter().filter(|&width| width < bits).find(|&width| is_usual(width))
}

/// The codes that raw values stand for.
fn codes(register: &At<RawRegister>, register_type: RegisterType, problems: &mut Problems) -> Vec<(RawCode, i64)> {
    let is_text = matches!(register_type, RegisterType::Text { .. });
    let Some(codes) = &register.codes else {
        if is_text && register.lacks("codes") {
            let help = "add codes = { \"Available\" = 0, \"Charging\" = 1 }: samples are numbers";
            problems.add(register.place, "a text needs `codes` that its values stand for", help);
        }
        return Vec::new();
    };
    let mut found = Vec::new();
    for (raw, code) in codes {
        if is_text {
            found.push((RawCode::Text(raw.trim().to_owned()), code.value));
            continue;
        }
        match parse_integer(raw).and_then(|number| i64::try_from(number).ok()) {
            _ if matches!(register_type, RegisterType::F32 | RegisterType::F64) => {
                problems.add(code.place, "`codes` are for whole numbers and texts, not for floats", "remove them");
            }
            Some(number) => found.push((RawCode::Number(number), code.value)),
            None => problems.add(code.place, format!("`{raw}` is no whole number as registers of this type have it"), ""),
        }
    }
    found
}

/// The protocol address of the scale register.
fn scale_register(
    register: &RawRegister,
    source: &RegisterSource,
    defaults: &RegisterDefaults<'_>,
    address: &ModbusAddress,
    problems: &mut Problems,
) -> Option<u16> {
    let text = register.scale_register.as_ref()?;
    let (notation, scale) = defaults.address(text, problems)?;
    if notation.is_some_and(|notation| notation != source.function) {
        problems.add(text.place, format!("\"{}\" is of another function than the value", text.0), "both are read in one request");
        return None;
    }
    if !source.register_type.is_whole() || source.function.reads_bits() {
        problems.add(text.place, "`scale_register` is for whole numbers", "remove it");
        return None;
    }
    if !source.codes.is_empty() {
        problems.add(text.place, "a value that stands for a code has no scale", "remove `scale_register` or `codes`");
        return None;
    }
    let (first, width) = RegisterSource { scale_register: Some(scale), ..source.clone() }.span();
    let last = first.saturating_add(width.saturating_sub(1));
    if width > address.max_block {
        let message = format!("from value to scale register are {width} registers, more than a read of max_block = {}", address.max_block);
        problems.add(text.place, message, "both are read in one request; give the power as `scale` if it is fixed");
        return None;
    }
    let is_forbidden = |&&(function, from, to): &&(Function, u16, u16)| function == source.function && from <= last && to >= first;
    if let Some((_, from, to)) = address.forbidden.iter().find(is_forbidden) {
        let message = format!("between value and scale register are the forbidden addresses {from} to {to}");
        problems.add(text.place, message, "both are read in one request; give the power as `scale` if it is fixed");
        return None;
    }
    Some(scale)
}

/// The type and its length in registers.
fn register_type(register: &At<RawRegister>, function: Function, problems: &mut Problems) -> Option<(RegisterType, u16)> {
    let bits_only = matches!(function, Function::Coils | Function::DiscreteInputs);
    let given = register.r#type.as_ref();
    if bits_only {
        if let Some(given) = given
            && given.value != RawRegisterType::Bit
        {
            problems.add(given.place, "coils and discrete inputs are bits", "remove `type`");
        }
        if let Some(bit) = &register.bit {
            problems.add(bit.place, "coils and discrete inputs have no `bit`: each is one", "remove `bit`");
        }
        return Some((RegisterType::Bit(0), 1));
    }
    let kind = given.map_or(RawRegisterType::U16, |given| given.value);
    if kind == RawRegisterType::String {
        return text_type(register, problems);
    }
    if let Some(registers) = &register.registers {
        problems.add(registers.place, "`registers` is only for type = \"string\"", "remove it: the type says how many it takes");
    }
    if let (Some(bit), true) = (&register.bit, kind != RawRegisterType::Bit) {
        problems.add(bit.place, "`bit` is only for type = \"bit\"", "remove it, or set the type");
    }
    let bit = match (&register.bit, kind) {
        (Some(bit), RawRegisterType::Bit) if bit.value > 15 => {
            problems.add(bit.place, "a register has the bits 0 to 15", "");
            return None;
        }
        (None, RawRegisterType::Bit) => {
            problems.add(register.place, "type = \"bit\" needs `bit`", "add bit = 0 (least significant) to 15");
            return None;
        }
        (bit, _) => bit.as_ref().map_or(0, |bit| bit.value),
    };
    let register_type = kind.number(bit)?;
    Some((register_type, register_type.registers()))
}

/// A text's length and where its bytes are.
fn text_type(register: &At<RawRegister>, problems: &mut Problems) -> Option<(RegisterType, u16)> {
    if let Some(bit) = &register.bit {
        problems.add(bit.place, "`bit` is only for type = \"bit\"", "remove it, or set the type");
    }
    let layout = match &register.order {
        None => Some(TextLayout::HighFirst),
        Some(order) => {
            let layout = TextLayout::of_name(order);
            if layout.is_none() {
                let help = "\"AB\" or \"BA\": two characters in each register; \"upper\" or \"lower\": one";
                problems.add(order.place, format!("`{}` is no order for a text", order.value), help);
            }
            layout
        }
    };
    let Some(registers) = &register.registers else {
        if register.lacks("registers") {
            problems.add(register.place, "type = \"string\" needs `registers`, its length", "add registers = 1 to 125");
        }
        return None;
    };
    if !(1..=125).contains(&registers.value) {
        problems.add(registers.place, "a text takes 1 to 125 registers", "");
        return None;
    }
    Some((RegisterType::Text { registers: registers.value, layout: layout? }, registers.value))
}
