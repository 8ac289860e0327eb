//! The config as it is written: one struct per table. What each key means, its unit and its default stand here and in
//! `config/parkgate.toml`; the JSON Schema is made from these structs. Checked further by `validate`.

mod link;

use std::collections::BTreeMap;
use std::fmt;

use garde::Validate;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::bench::{RawProfileTest, RawVariant};
use super::line::Priority;
use super::place::At;
use super::rules::{RawFormula, RawNameplate, RawOnChange};
use super::text::{Address, Bits, Exact};
use crate::model::{Kind, Medium, Origin, ReferenceState};
use crate::protocol::modbus::{Function, RegisterType};

pub use link::*;

/// The main file. `G` is the program's own table.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, bound = "G: Deserialize<'de> + Default")]
#[schemars(title = "parkgate.toml", bound = "G: JsonSchema + Default")]
pub struct MainFile<G> {
    /// Further files with enterprise, link and device tables, relative to this one; `*` and `**` as usual.
    #[serde(default)]
    pub include: Vec<At<String>>,
    /// Folders with device profiles, relative to this file. Default: `devices`, if it is there.
    pub profiles: Option<Vec<At<String>>>,
    /// The park; required.
    pub park: Option<At<RawPark>>,
    /// Enterprises of the park.
    #[serde(default)]
    pub enterprise: Vec<At<RawEnterprise>>,
    /// Connections.
    #[serde(default)]
    pub link: Vec<At<RawLink>>,
    /// Meters.
    #[serde(default)]
    pub device: Vec<At<RawDevice>>,
    /// Settings of the program itself.
    #[serde(default)]
    pub gateway: G,
}

/// An included file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IncludedFile {
    /// Enterprises of the park.
    #[serde(default)]
    pub enterprise: Vec<At<RawEnterprise>>,
    /// Connections.
    #[serde(default)]
    pub link: Vec<At<RawLink>>,
    /// Meters.
    #[serde(default)]
    pub device: Vec<At<RawDevice>>,
}

/// A device profile: what is the same for all meters of a type.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProfileFile {
    /// What it is about.
    pub profile: At<RawProfile>,
    /// Modbus defaults of the device; `unit_id` is the device's own.
    pub modbus: Option<RawModbus>,
    /// Topics of an MQTT device.
    #[serde(default)]
    pub topic: Vec<At<RawTopic>>,
    /// Its points.
    #[serde(default)]
    pub point: Vec<At<RawPoint>>,
    /// How variants of the device are told apart.
    #[serde(default)]
    pub variant: Vec<At<RawVariant>>,
    /// Registers with the readings that they must give.
    #[serde(default)]
    pub test: Vec<At<RawProfileTest>>,
}

/// Head of a device profile.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawProfile {
    /// Id that devices name it by, `eastron-sdm630`.
    pub id: At<String>,
    /// Maker.
    pub maker: String,
    /// Models it is for.
    pub model: String,
    /// Where the registers are from.
    pub source: String,
    /// What to know at commissioning.
    pub notes: Option<String>,
}

/// A name: one text for both languages, or `{ zh = "...", en = "..." }`.
#[derive(Clone, Debug, Default)]
pub struct RawNames {
    /// Chinese.
    pub zh: Option<String>,
    /// English.
    pub en: Option<String>,
}

impl<'de> Deserialize<'de> for RawNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Both {
            zh: Option<String>,
            en: Option<String>,
        }
        struct NamesVisitor;
        impl<'de> Visitor<'de> for NamesVisitor {
            type Value = RawNames;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or { zh = \"...\", en = \"...\" }")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<RawNames, E> {
                Ok(RawNames { zh: Some(text.to_owned()), en: Some(text.to_owned()) })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawNames, A::Error> {
                let both = Both::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                Ok(RawNames { zh: both.zh, en: both.en })
            }
        }
        deserializer.deserialize_any(NamesVisitor)
    }
}

impl JsonSchema for RawNames {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Names".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "One text for both languages, or one each.",
            "anyOf": [{ "type": "string" }, {
                "type": "object",
                "additionalProperties": false,
                "properties": { "zh": { "type": "string" }, "en": { "type": "string" } },
            }],
        })
    }
}

/// `[park]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawPark {
    /// Stable id.
    pub id: At<String>,
    /// Names; the id by default.
    pub name: Option<RawNames>,
    /// IANA zone of days and months; `Asia/Shanghai` by default.
    pub time_zone: Option<At<String>>,
    /// Day on which the park's first meter was read, `2026-03-01`: what any clock says of a time before is not believed.
    pub commissioned: Option<At<String>>,
    /// Units that pages show, by stored unit: `{ kWh = "MWh" }`.
    #[serde(default)]
    pub display_units: BTreeMap<String, At<String>>,
}

/// `[[enterprise]]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawEnterprise {
    /// Stable id.
    pub id: At<String>,
    /// Names; the id by default.
    pub name: Option<RawNames>,
}

/// `[[device]]`: one meter.
#[derive(Clone, Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawDevice {
    /// Stable id, unique in the park.
    #[garde(skip)]
    pub id: At<String>,
    /// Names; the id by default.
    #[garde(skip)]
    pub name: Option<RawNames>,
    /// Id of the link it is reached by.
    #[garde(skip)]
    pub link: At<String>,
    /// Id of the enterprise it belongs to; none for the park's own.
    #[garde(skip)]
    pub enterprise: Option<At<String>>,
    /// Id of the profile it is made from.
    #[garde(skip)]
    pub profile: Option<At<String>>,
    /// Where its values come from; `metered` by default.
    #[garde(skip)]
    pub origin: Option<At<Origin>>,
    /// Role in the park's balance of all its points: `gate`, `sub`, ...
    #[garde(skip)]
    pub role: Option<At<String>>,
    /// Labels of all its points.
    #[serde(default)]
    #[garde(skip)]
    pub labels: BTreeMap<String, At<String>>,
    /// MQTT: its points are recorded and forwarded, and never totalled; only then may a topic be shared (`$share/...`).
    #[garde(skip)]
    pub raw_forward: Option<At<bool>>,
    /// What is written on it, and how its energy is compared with its power.
    #[garde(dive)]
    pub nameplate: Option<At<RawNameplate>>,
    /// Unit and polling on a Modbus link.
    #[garde(dive)]
    pub modbus: Option<At<RawModbus>>,
    /// Topics on an MQTT link; they replace those of the profile.
    #[serde(default)]
    #[garde(dive)]
    pub topic: Vec<At<RawTopic>>,
    /// Points, beside those of the profile; one with the id of a profile's point changes the keys given.
    #[serde(default)]
    #[garde(dive)]
    pub point: Vec<At<RawPoint>>,
}

/// `modbus = { ... }` of a device or profile.
#[derive(Clone, Debug, Default, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawModbus {
    /// Unit identifier, 0-255; required on a device.
    #[garde(skip)]
    pub unit_id: Option<u8>,
    /// Poll interval in milliseconds; 1000 by default.
    #[garde(range(min = 10, max = 86_400_000))]
    pub poll_interval_ms: Option<u32>,
    /// The same for points of priority `fast`; a fifth of `poll_interval_ms` by default, at least 10.
    #[garde(range(min = 10, max = 86_400_000))]
    pub fast_interval_ms: Option<u32>,
    /// The same for points of priority `slow`; ten times `poll_interval_ms` by default, at most a day.
    #[garde(range(min = 10, max = 86_400_000))]
    pub slow_interval_ms: Option<u32>,
    /// Priority of points that name none: `fast`, `normal` or `slow`; `normal` by default.
    #[garde(skip)]
    pub priority: Option<Priority>,
    /// Accept only answers with the unit id asked for; true by default.
    #[garde(skip)]
    pub check_unit: Option<bool>,
    /// Most registers in one read; 125 by default (Modbus Application Protocol V1.1b3, 6.3).
    #[garde(range(min = 1, max = 125))]
    pub max_block: Option<u16>,
    /// Most unwanted registers read along to join two blocks; 10 by default.
    #[garde(range(max = 124))]
    pub max_gap: Option<u16>,
    /// Function of points that do not name one; `holding` by default.
    #[garde(skip)]
    pub function: Option<RawFunction>,
    /// Byte order of points that do not name one; `ABCD` by default.
    #[garde(skip)]
    pub order: Option<At<String>>,
    /// What numeric addresses count from, those of the profile and of `forbidden` included: 0, the default, where they are
    /// protocol addresses; 1 where the manual counts from 1. Register notation such as `"40001"` always counts from 1.
    #[garde(range(max = 1))]
    pub address_base: Option<u16>,
    /// Ranges never read along.
    #[garde(skip)]
    pub forbidden: Option<Vec<At<RawForbidden>>>,
}

/// Addresses never read along, both ends included.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawForbidden {
    /// Function.
    pub function: RawFunction,
    /// First protocol address.
    pub first: u16,
    /// Last protocol address.
    pub last: u16,
}

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RawFunction {
    /// Coils, function 1.
    Coil,
    /// Discrete inputs, function 2.
    Discrete,
    /// Holding registers, function 3.
    Holding,
    /// Input registers, function 4.
    Input,
}

impl RawFunction {
    /// The function code.
    pub fn function(self) -> Function {
        match self {
            Self::Coil => Function::Coils,
            Self::Discrete => Function::DiscreteInputs,
            Self::Holding => Function::HoldingRegisters,
            Self::Input => Function::InputRegisters,
        }
    }
}

/// `[[device.topic]]`: a topic filter and the shape of its payload.
#[derive(Clone, Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawTopic {
    /// Id that points name it by; needed only where there are several topics.
    #[garde(skip)]
    pub id: Option<At<String>>,
    /// Topic filter; `{device}`, `{enterprise}` and `{park}` stand for their ids, `{point}` for the id of each point, any other
    /// name for a label of the device.
    #[garde(skip)]
    pub filter: At<String>,
    /// What the payload looks like; `json` by default.
    #[garde(skip)]
    pub payload: Option<At<RawPayload>>,
    /// For `csv`: what stands between columns; `,` by default.
    #[garde(skip)]
    pub separator: Option<At<String>>,
    /// For `csv` and `number`: `.` or `,`; `.` by default.
    #[garde(skip)]
    pub decimal_sign: Option<At<String>>,
    /// For `csv`: column of the time, from 1; without it the time of arrival counts.
    #[garde(skip)]
    pub time_column: Option<At<u16>>,
    /// Quality of service asked for, 0 or 1; 1 by default.
    #[garde(range(max = 1))]
    pub qos: Option<u8>,
    /// Path to an array of records; without it the payload is one record, or an array of them.
    #[garde(skip)]
    pub records: Option<At<String>>,
    /// Path to the time within a record; without it the time of arrival counts.
    #[garde(skip)]
    pub time: Option<At<String>>,
    /// The path of the time starts at the payload, one time for all its records; false by default.
    #[garde(skip)]
    pub time_in_payload: Option<At<bool>>,
    /// How the time is written; `epoch_ms` by default.
    #[garde(skip)]
    pub time_format: Option<At<RawTimeFormat>>,
    /// For `local`: strptime pattern, `%Y-%m-%d %H:%M:%S`.
    #[garde(skip)]
    pub time_pattern: Option<At<String>>,
    /// For `local`: IANA zone; the park's by default.
    #[garde(skip)]
    pub time_zone: Option<At<String>>,
}

/// What a payload looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RawPayload {
    /// JSON.
    Json,
    /// One number as text.
    Number,
    /// Lines of columns.
    Csv,
}

/// How a time is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RawTimeFormat {
    /// Seconds since 1970, may have decimals.
    EpochS,
    /// Milliseconds since 1970.
    EpochMs,
    /// Microseconds since 1970.
    EpochUs,
    /// Nanoseconds since 1970.
    EpochNs,
    /// RFC 3339 with an offset.
    Rfc3339,
    /// Text without an offset, by `time_pattern` in `time_zone`.
    Local,
}

/// `[[device.point]]` or `[[point]]` of a profile: one measured quantity.
#[derive(Clone, Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawPoint {
    /// Stable id within the device.
    #[garde(skip)]
    pub id: At<String>,
    /// Names; the id by default.
    #[garde(skip)]
    pub name: Option<RawNames>,
    /// What is measured; the id by default. A known quantity brings medium, kind, unit and decimals.
    #[garde(skip)]
    pub quantity: Option<At<String>>,
    /// What flows; by quantity.
    #[garde(skip)]
    pub medium: Option<Medium>,
    /// How it behaves in time; by quantity.
    #[garde(skip)]
    pub kind: Option<At<Kind>>,
    /// Unit that is stored; by quantity.
    #[garde(skip)]
    pub unit: Option<At<String>>,
    /// Decimals that are stored; by quantity.
    #[garde(range(max = 9))]
    pub decimals: Option<u8>,
    /// Unit of the device's number; the stored unit by default.
    #[garde(skip)]
    pub raw_unit: Option<At<String>>,
    /// Exact factor on the device's number; 1 by default.
    #[garde(skip)]
    pub scale: Option<At<Exact>>,
    /// Exact summand after `scale`, in the raw unit; 0 by default.
    #[garde(skip)]
    pub offset: Option<At<Exact>>,
    /// Lowest valid value, in the stored unit.
    #[garde(skip)]
    pub valid_min: Option<At<Exact>>,
    /// Highest valid value, in the stored unit.
    #[garde(skip)]
    pub valid_max: Option<At<Exact>>,
    /// Counter: value at which it wraps to 0, in the stored unit.
    #[garde(skip)]
    pub modulus: Option<At<Exact>>,
    /// Counter: highest plausible rise per hour, in the stored unit.
    #[garde(skip)]
    pub rate_max_per_hour: Option<At<Exact>>,
    /// Interval at which values are expected, in milliseconds; on Modbus the poll interval by default.
    #[garde(range(min = 10))]
    pub interval_ms: Option<u32>,
    /// Reference state of a gas volume or flow; required there, `zero_degrees` where the unit is Nm3.
    #[garde(skip)]
    pub reference: Option<At<ReferenceState>>,
    /// Kept as long as compliance records; yes for emission by default.
    #[garde(skip)]
    pub compliance: Option<bool>,
    /// Role in the park's balance.
    #[garde(skip)]
    pub role: Option<At<String>>,
    /// Free labels, beside those of the device.
    #[serde(default)]
    #[garde(skip)]
    pub labels: BTreeMap<String, At<String>>,
    /// MQTT: path to the value within a record; the payload itself by default where the topic has `{point}`.
    #[garde(skip)]
    pub path: Option<At<String>>,
    /// MQTT with `payload = "csv"`: column of the value, from 1.
    #[garde(skip)]
    pub column: Option<At<u16>>,
    /// MQTT: id of the topic, where the device has several.
    #[garde(skip)]
    pub topic: Option<At<String>>,
    /// Modbus: where the number is.
    #[garde(skip)]
    pub register: Option<At<RawRegister>>,
    /// Modbus: how often it is read, and who goes first: `fast`, `normal` or `slow`; that of its device by default.
    #[garde(skip)]
    pub priority: Option<At<Priority>>,
    /// Values that did not change are left out: `{ deadband = 0.5, max_silence_ms = 900000 }`. Not for counters.
    #[garde(dive)]
    pub on_change: Option<At<RawOnChange>>,
    /// A value unchanged for longer, in milliseconds, is uncertain.
    #[garde(skip)]
    pub flat_after_ms: Option<At<u32>>,
    /// Gauge: a value that changed faster, in the stored unit per minute, is uncertain.
    #[garde(skip)]
    pub change_max_per_minute: Option<At<Exact>>,
    /// Made of other points instead of being read: `{ sum = ["active_power", "acme/pv-1/active_power"] }`.
    #[garde(dive)]
    pub formula: Option<At<RawFormula>>,
}

impl RawPoint {
    /// This point laid over `base`: keys that are not given here keep the base's values.
    pub fn over(self, base: &Self) -> Self {
        let base = base.clone();
        let mut labels = base.labels;
        labels.extend(self.labels);
        let register = match (self.register, base.register) {
            (Some(own), Some(base)) => Some(At { place: own.place, value: own.value.over(base.value), unread: own.unread }),
            (own, base) => own.or(base),
        };
        Self {
            id: self.id,
            name: self.name.or(base.name),
            quantity: self.quantity.or(base.quantity),
            medium: self.medium.or(base.medium),
            kind: self.kind.or(base.kind),
            unit: self.unit.or(base.unit),
            decimals: self.decimals.or(base.decimals),
            raw_unit: self.raw_unit.or(base.raw_unit),
            scale: self.scale.or(base.scale),
            offset: self.offset.or(base.offset),
            valid_min: self.valid_min.or(base.valid_min),
            valid_max: self.valid_max.or(base.valid_max),
            modulus: self.modulus.or(base.modulus),
            rate_max_per_hour: self.rate_max_per_hour.or(base.rate_max_per_hour),
            interval_ms: self.interval_ms.or(base.interval_ms),
            reference: self.reference.or(base.reference),
            compliance: self.compliance.or(base.compliance),
            role: self.role.or(base.role),
            labels,
            path: self.path.or(base.path),
            column: self.column.or(base.column),
            topic: self.topic.or(base.topic),
            register,
            priority: self.priority.or(base.priority),
            on_change: self.on_change.or(base.on_change),
            flat_after_ms: self.flat_after_ms.or(base.flat_after_ms),
            change_max_per_minute: self.change_max_per_minute.or(base.change_max_per_minute),
            formula: self.formula.or(base.formula),
        }
    }
}

/// `register = { ... }` of a point.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawRegister {
    /// 0-based protocol address, or register notation in quotes such as `"40001"`.
    pub address: Option<At<Address>>,
    /// What is read; not beside register notation, which names it.
    pub function: Option<At<RawFunction>>,
    /// Type of the number; `u16` by default, always `bit` for coils and discrete inputs.
    pub r#type: Option<At<RawRegisterType>>,
    /// Order of its bytes as they arrive, A the most significant: `ABCD`, `CDAB`, ... any permutation; or by registers:
    /// `high_first`, `low_first`, which is the default for `mod10`. For `string`: `AB` (default), `BA`, `upper` or `lower`.
    pub order: Option<At<String>>,
    /// For `bit` in a register: 0 (least significant) to 15.
    pub bit: Option<At<u8>>,
    /// For `string`: registers that it takes, 1 to 125.
    pub registers: Option<At<u16>>,
    /// Bit patterns that mean "no value", after reordering: `["0xFFFF"]`.
    pub not_available: Option<Vec<Bits>>,
    /// Address of the register that holds the power of ten to multiply with, -10 to 10 (`sunssf` of SunSpec); it is read in
    /// the same request.
    pub scale_register: Option<At<Address>>,
    /// Raw values and the codes that are recorded for them; others become bad: `{ "3" = 1 }`, for `string`
    /// `{ "Charging" = 1 }`.
    pub codes: Option<BTreeMap<String, At<i64>>>,
}

impl RawRegister {
    fn over(self, base: Self) -> Self {
        // Register notation names its function: the base's function belongs to the base's address.
        let function = if self.address.is_some() && self.function.is_none() { None } else { base.function };
        Self {
            function: self.function.or(function),
            address: self.address.or(base.address),
            r#type: self.r#type.or(base.r#type),
            order: self.order.or(base.order),
            bit: self.bit.or(base.bit),
            registers: self.registers.or(base.registers),
            not_available: self.not_available.or(base.not_available),
            scale_register: self.scale_register.or(base.scale_register),
            codes: self.codes.or(base.codes),
        }
    }
}

/// Type of a number in registers, as it is written: [`RegisterType`] but for the bit's number, which is a key of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RawRegisterType {
    /// One register, unsigned.
    U16,
    /// One register, two's complement.
    I16,
    /// Two registers, unsigned.
    U32,
    /// Two registers, two's complement.
    I32,
    /// Four registers, unsigned.
    U64,
    /// Four registers, two's complement.
    I64,
    /// Two registers, IEEE 754.
    F32,
    /// Four registers, IEEE 754.
    F64,
    /// One bit.
    Bit,
    /// One register of four decimal digits; all F is no value.
    Bcd16,
    /// Two registers of four decimal digits each.
    Bcd32,
    /// Three registers of four decimal digits each.
    Bcd48,
    /// Four registers of four decimal digits each.
    Bcd64,
    /// One register, the sign in its highest bit.
    Sm16,
    /// Two registers, the sign in the highest bit.
    Sm32,
    /// Two registers of 0 to 9999, the lowest first.
    #[serde(rename = "mod10_2")]
    Mod10x2,
    /// Three registers of 0 to 9999, the lowest first.
    #[serde(rename = "mod10_3")]
    Mod10x3,
    /// Four registers of 0 to 9999, the lowest first.
    #[serde(rename = "mod10_4")]
    Mod10x4,
    /// Three registers of -9999 to 9999, the lowest first.
    #[serde(rename = "mod10_3s")]
    Mod10x3Signed,
    /// A text in `registers` registers, with `codes`.
    String,
}

impl RawRegisterType {
    /// The type of a number; `bit` counts for [`Self::Bit`] only. `None` for a text.
    pub fn number(self, bit: u8) -> Option<RegisterType> {
        Some(match self {
            Self::U16 => RegisterType::U16,
            Self::I16 => RegisterType::I16,
            Self::U32 => RegisterType::U32,
            Self::I32 => RegisterType::I32,
            Self::U64 => RegisterType::U64,
            Self::I64 => RegisterType::I64,
            Self::F32 => RegisterType::F32,
            Self::F64 => RegisterType::F64,
            Self::Bit => RegisterType::Bit(bit),
            Self::Bcd16 => RegisterType::Bcd(1),
            Self::Bcd32 => RegisterType::Bcd(2),
            Self::Bcd48 => RegisterType::Bcd(3),
            Self::Bcd64 => RegisterType::Bcd(4),
            Self::Sm16 => RegisterType::SignMagnitude16,
            Self::Sm32 => RegisterType::SignMagnitude32,
            Self::Mod10x2 => RegisterType::Mod10(2),
            Self::Mod10x3 => RegisterType::Mod10(3),
            Self::Mod10x4 => RegisterType::Mod10(4),
            Self::Mod10x3Signed => RegisterType::Mod10Signed,
            Self::String => return None,
        })
    }
}
