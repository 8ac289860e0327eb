//! What a profile says beside its points: tests, which are words with the readings that they must give, and probes by
//! which its variants are told apart. Read and checked here; run by [`crate::commission`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

use super::place::{At, Place};
use super::problem::Problems;
use super::raw::RawRegister;
use super::read::parse_integer;
use super::spec::Device;
use super::text::{Exact, scalar};
use crate::model::{Decimal, Reason};
use crate::protocol::modbus::{Function, RegisterSource};

/// `[[test]]` of a profile: what stands in the device's registers, and the readings that it must give.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawProfileTest {
    /// Where the words are from: captured from which device and when, or constructed.
    pub about: String,
    /// Holding registers: protocol address of the first -> words in hexadecimal as they are on the wire,
    /// `0x48 = "4640 E6B7"`.
    #[serde(default)]
    pub holding: BTreeMap<String, At<String>>,
    /// Input registers, written likewise.
    #[serde(default)]
    pub input: BTreeMap<String, At<String>>,
    /// Coils: address of the first -> 0 and 1, `16 = "0 1 1"`.
    #[serde(default)]
    pub coil: BTreeMap<String, At<String>>,
    /// Discrete inputs, written likewise.
    #[serde(default)]
    pub discrete: BTreeMap<String, At<String>>,
    /// Point -> its reading in the stored unit at the stored decimals, or `not_available`, `not_a_number`, `overflow`.
    pub expect: At<BTreeMap<String, At<Expected>>>,
}

/// The reading that a test expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// This number, exactly, inside the point's valid range.
    Value(Decimal),
    /// None, for this reason.
    Missing(Reason),
}

/// Reasons that a test may expect.
const REASONS: [Reason; 3] = [Reason::NotAvailable, Reason::NotANumber, Reason::Overflow];

impl<'de> Deserialize<'de> for Expected {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        scalar(deserializer, |text| match REASONS.iter().find(|reason| reason.name() == text) {
            Some(reason) => Ok(Self::Missing(*reason)),
            None => text
                .parse()
                .map(Self::Value)
                .map_err(|_| format!("`{text}` is no reading: a number, or one of {}", REASONS.map(Reason::name).join(", "))),
        })
    }
}

impl JsonSchema for Expected {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Expected".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "an exact decimal, or the reason why there is none", "type": ["number", "string"] })
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => write!(f, "{value}"),
            Self::Missing(reason) => f.write_str(reason.name()),
        }
    }
}

/// `[[variant]]` of a profile: devices of the same name differ, and this register tells which profile fits.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawVariant {
    /// Id of the profile that fits when the register holds what is expected: this one or another.
    pub profile: At<String>,
    /// What is looked at, for a person.
    pub about: String,
    /// The register; function and order are the profile's unless given.
    pub register: At<RawRegister>,
    /// Lowest number expected, as the register gives it: before any scale.
    pub min: At<Exact>,
    /// Highest number expected.
    pub max: At<Exact>,
}

/// A test of a profile, checked.
#[derive(Clone, Debug)]
pub struct ProfileTest {
    /// Where it is written.
    pub place: Place,
    /// Words by function and address; bits are 0 and 1.
    pub words: BTreeMap<(Function, u16), u16>,
    /// Readings by point, in order of their ids.
    pub expected: BTreeMap<String, At<Expected>>,
}

/// How a variant is recognised.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// Id of the profile that fits.
    pub profile: String,
    /// What is looked at, for a person.
    pub about: String,
    /// The register to read.
    pub source: RegisterSource,
    /// Lowest number expected, before any scale.
    pub min: Decimal,
    /// Highest number expected.
    pub max: Decimal,
}

/// A profile to be tested: a device made from it, and its tests.
#[derive(Debug)]
pub struct Bench {
    /// A device that has nothing but the profile.
    pub device: Arc<Device>,
    /// The profile's tests.
    pub tests: Vec<ProfileTest>,
}

/// What the tests of a profile found.
#[derive(Debug, Default)]
pub struct BenchReport {
    /// Where, what, and what to do.
    pub findings: Vec<(Place, String, String)>,
    /// Points for which no test expects a number.
    pub uncovered: Vec<String>,
}

/// Runs the tests of a profile. Handed in, since the catalogue cannot decode.
pub type Judge = fn(&Bench) -> BenchReport;

/// Checks how a test is written; whether its readings are right is for a [`Judge`].
pub(super) fn profile_test(raw: &At<RawProfileTest>, points: &[&str], problems: &mut Problems) -> ProfileTest {
    let mut words = BTreeMap::new();
    for (function, table) in [
        (Function::HoldingRegisters, &raw.holding),
        (Function::InputRegisters, &raw.input),
        (Function::Coils, &raw.coil),
        (Function::DiscreteInputs, &raw.discrete),
    ] {
        for (address, text) in table {
            if let Err((message, help)) = place_words(function, address, text, &mut words) {
                problems.add(text.place, message, help);
            }
        }
    }
    for (id, expected) in &raw.expect.value {
        if !points.contains(&id.as_str()) {
            problems.add(expected.place, format!("the profile has no point `{id}`"), super::read::suggestion(id, points, "its points"));
        }
    }
    if raw.expect.is_empty() && raw.expect.unread.is_empty() {
        problems.add(raw.place, "a test that expects nothing shows nothing", "add point ids with their readings under [test.expect]");
    }
    ProfileTest { place: raw.place, words, expected: raw.expect.value.clone() }
}

/// Puts the words of one entry at their addresses. Errors: what is wrong, and what to do.
fn place_words(
    function: Function,
    address: &str,
    text: &str,
    words: &mut BTreeMap<(Function, u16), u16>,
) -> Result<(), (String, &'static str)> {
    let first = parse_integer(address).and_then(|address| u16::try_from(address).ok());
    let help = "0-based protocol address, 72 or 0x48; the table says the function";
    let first = first.ok_or((format!("`{address}` is no address from 0 to 65535"), help))?;
    let mut next = Some(first);
    for word in text.split_ascii_whitespace() {
        let at = next.ok_or((format!("the words from {address} on go beyond address 65535"), ""))?;
        let value = match function.reads_bits() {
            true => u16::from_str_radix(word, 2).ok().filter(|bit| *bit < 2),
            false => u16::from_str_radix(word, 16).ok().filter(|_| word.len() == 4),
        };
        let form = if function.reads_bits() { "bits are 0 and 1, parted by blanks" } else { "a word is four hexadecimal digits, 4640" };
        let value = value.ok_or((format!("`{word}` is no value of address {at}"), form))?;
        if words.insert((function, at), value).is_some() {
            return Err((format!("address {at} is given twice"), "give each register once"));
        }
        next = at.checked_add(1);
    }
    Ok(())
}
