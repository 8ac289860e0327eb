//! Small texts of the config that mean more than text: paths, byte orders, addresses, filters, names. Pure parsers.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Visitor};

use super::read::{SCALAR_TEXT, parse_integer};
use crate::model::Decimal;
use crate::protocol::json::{PathStep, ValuePath};
use crate::protocol::modbus::{ByteOrder, Function};

/// Deepest JSON path accepted; deeper ones are refused.
const PATH_STEPS_MAX: usize = 16;

/// An exact decimal, written as a TOML number or as a text; taken from the source's digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exact(pub Decimal);

/// A number of up to 64 bits, written as a TOML integer or as a text such as `"0xFFFFFFFFFFFFFFFF"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bits(pub u64);

/// A register address as it was written: a number or a text; [`register_address`] makes sense of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(pub String);

/// Reads the text of a scalar and hands it to `parse`.
fn scalar<'de, D: Deserializer<'de>, T>(deserializer: D, parse: fn(&str) -> Result<T, String>) -> Result<T, D::Error> {
    struct ScalarVisitor<T>(fn(&str) -> Result<T, String>);
    impl<T> Visitor<'_> for ScalarVisitor<T> {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number, or its text in quotes")
        }
        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
            (self.0)(text).map_err(E::custom)
        }
    }
    deserializer.deserialize_newtype_struct(SCALAR_TEXT, ScalarVisitor(parse))
}

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        scalar(deserializer, |text| text.parse().map(Self).map_err(|error: crate::model::DecimalError| error.to_string()))
    }
}

impl<'de> Deserialize<'de> for Bits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        scalar(deserializer, |text| {
            let number = parse_integer(text).and_then(|number| u64::try_from(number).ok());
            number.map(Self).ok_or_else(|| format!("`{text}` is no bit pattern such as 65535 or \"0xFFFFFFFF\""))
        })
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A TOML integer is a protocol address, a text may be register notation; they are told apart by the quotes.
        struct AddressVisitor;
        impl Visitor<'_> for AddressVisitor {
            type Value = Address;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a protocol address such as 52 or 0x34, or register notation in quotes such as \"30053\"")
            }
            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Address, E> {
                Ok(Address(format!("0x{number:x}")))
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Address, E> {
                Ok(Address(text.to_owned()))
            }
        }
        deserializer.deserialize_any(AddressVisitor)
    }
}

macro_rules! scalar_schema {
    ($($type:ident $name:literal $description:literal $kind:literal;)*) => {
        $(impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "description": $description, "type": [$kind, "string"] })
            }
        })*
    };
}
scalar_schema! {
    Exact "Exact" "an exact decimal, as a number or as a text" "number";
    Bits "Bits" "a bit pattern, as a number or as a text such as \"0xFFFF\"" "integer";
    Address "Address" "0-based protocol address, or register notation as a text such as \"40001\"" "integer";
}

/// Reads a path such as `data.flow`, `values[2].v` or `[0]`; the empty text is the value itself. A key with other
/// characters than letters, digits, `_`, `-`, `:`, `$` and non-ASCII ones is written `["a key"]`.
pub fn value_path(text: &str) -> Result<ValuePath, String> {
    let wrong = |what: &str| Err(format!("`{text}` is no path such as data.flow or values[0].v: {what}"));
    let mut steps = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if steps.len() >= PATH_STEPS_MAX {
            return wrong("too deep");
        }
        if let Some(inner) = rest.strip_prefix("[\"") {
            let Some((key, after)) = inner.split_once("\"]") else { return wrong("`[\"` is not closed") };
            steps.push(PathStep::Key(key.to_owned()));
            rest = after;
        } else if let Some(inner) = rest.strip_prefix('[') {
            let Some((index, after)) = inner.split_once(']') else { return wrong("`[` is not closed") };
            let Ok(index) = index.parse::<u32>() else { return wrong("an index is a number from 0") };
            steps.push(PathStep::Index(usize::try_from(index).unwrap_or(usize::MAX)));
            rest = after;
        } else {
            let dotted = if steps.is_empty() { Some(rest) } else { rest.strip_prefix('.') };
            let Some(key) = dotted else { return wrong("`.` or `[` expected") };
            let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':' | '$') || !c.is_ascii();
            let end = key.find(|c: char| !legal(c)).unwrap_or(key.len());
            let (key, after) = key.split_at_checked(end).unwrap_or((key, ""));
            if key.is_empty() {
                return wrong("a key is missing");
            }
            steps.push(PathStep::Key(key.to_owned()));
            rest = after;
        }
    }
    Ok(ValuePath { steps })
}

/// Reads a byte order for values of `length` bytes: [`ByteOrder::parse`].
pub fn byte_order(text: &str, length: u8) -> Result<ByteOrder, String> {
    ByteOrder::parse(text, length)
}

/// Reads an address: a 0-based protocol address (`52`, `0x34`), or register notation of five or six digits, which is
/// 1-based and names its function by the first digit: `40001` is holding register 0, `300053` input register 52.
pub fn register_address(text: &str) -> Result<(Option<Function>, u16), String> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if digits && matches!(text.len(), 5 | 6) {
        let (first, number) = text.split_at_checked(1).unwrap_or((text, ""));
        let function = match first {
            "0" => Function::Coils,
            "1" => Function::DiscreteInputs,
            "3" => Function::InputRegisters,
            "4" => Function::HoldingRegisters,
            _ => return Err(format!("register notation `{text}` must start with 0, 1, 3 or 4")),
        };
        let address = number.parse::<u32>().ok().and_then(|number| number.checked_sub(1)).and_then(|address| u16::try_from(address).ok());
        return match address {
            Some(address) => Ok((Some(function), address)),
            None => Err(format!("register notation `{text}` is 1-based and ends at {first}65536")),
        };
    }
    let address = parse_integer(text).and_then(|address| u16::try_from(address).ok());
    address
        .map(|address| (None, address))
        .ok_or_else(|| "must be a protocol address from 0 to 65535, or register notation such as \"40001\"".into())
}

/// Checks a topic filter (MQTT 3.1.1, 4.7.1).
pub fn topic_filter(text: &str) -> Result<(), String> {
    if text.is_empty() || text.len() > 65_535 {
        return Err("a topic filter has 1 to 65535 bytes".into());
    }
    if text.contains('\0') {
        return Err("a topic filter must not hold a zero character".into());
    }
    let levels = text.split('/').count();
    for (index, level) in text.split('/').enumerate() {
        if level.contains('#') && (level != "#" || index.saturating_add(1) != levels) {
            return Err("`#` must be the last level, alone".into());
        }
        if level.contains('+') && level != "+" {
            return Err("`+` must stand alone in its level".into());
        }
    }
    Ok(())
}

/// Checks a stable id: 1 to 64 letters, digits, `-`, `_` and `.`, beginning with a letter or digit.
pub fn stable_id(text: &str) -> Result<(), String> {
    let legal = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if legal && begins && text.len() <= 64 {
        return Ok(());
    }
    Err(format!("`{text}` is no id: 1 to 64 letters, digits, - _ . beginning with a letter or digit"))
}

/// Checks a name that becomes part of a series name or a label name: small letters, digits and `_`, beginning with a
/// letter, at most 64.
pub fn series_part(text: &str) -> Result<(), String> {
    let legal = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    if legal && begins && text.len() <= 64 && !text.contains("__") && !text.ends_with('_') {
        return Ok(());
    }
    Err(format!("`{text}` must be small letters, digits and single _ between them, beginning with a letter, at most 64"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let key = |text: &str| PathStep::Key(text.into());
        for (text, steps) in [
            ("", vec![]),
            ("flow", vec![key("flow")]),
            ("data.flow", vec![key("data"), key("flow")]),
            ("a[2].b", vec![key("a"), PathStep::Index(2), key("b")]),
            ("[0][1]", vec![PathStep::Index(0), PathStep::Index(1)]),
            ("a[\"x.y\"].b", vec![key("a"), key("x.y"), key("b")]),
            ("数据.流量", vec![key("数据"), key("流量")]),
        ] {
            assert_eq!(value_path(text), Ok(ValuePath { steps }), "{text}");
        }
        for text in [".", "a.", "a..b", "a[", "a[x]", "a[-1]", "a[1", "a b", "[\"x", "a[0]b", "a[99999999999]"] {
            assert!(value_path(text).is_err(), "{text}");
        }
        assert!(value_path(&["a"; 17].join(".")).is_err());
    }

    #[test]
    fn byte_orders() {
        for (text, length, expected) in [
            ("AB", 2, "AB"),
            ("BA", 2, "BA"),
            ("ABCD", 4, "ABCD"),
            ("CDAB", 4, "CDAB"),
            ("BADC", 4, "BADC"),
            ("DCBA", 4, "DCBA"),
            ("ABDC", 4, "ABDC"),
            ("ABCDEFGH", 8, "ABCDEFGH"),
            ("GHEFCDAB", 8, "GHEFCDAB"),
            ("BADCFEHG", 8, "BADCFEHG"),
            ("HGFEDCBA", 8, "HGFEDCBA"),
            ("CDABGHEF", 8, "CDABGHEF"),
            ("EFGHABCD", 8, "EFGHABCD"),
            ("CDAB", 8, "GHEFCDAB"),
            ("CDAB", 2, "AB"),
            ("DCBA", 2, "BA"),
        ] {
            let order = byte_order(text, length).unwrap();
            let letters: String = order.permutation.iter().take(usize::from(length)).map(|index| char::from(b'A' + index)).collect();
            assert_eq!(letters, expected, "{text} {length}");
        }
        for (text, length) in [("", 4), ("ABC", 4), ("AABB", 4), ("abcd", 4), ("ABCE", 4), ("AB", 4), ("ABCDEFGH", 4), ("XY", 2)] {
            assert!(byte_order(text, length).is_err(), "{text} {length}");
        }
    }

    #[test]
    fn addresses() {
        for (text, expected) in [
            ("40001", (Some(Function::HoldingRegisters), 0)),
            ("400001", (Some(Function::HoldingRegisters), 0)),
            ("465536", (Some(Function::HoldingRegisters), 65535)),
            ("30001", (Some(Function::InputRegisters), 0)),
            ("10002", (Some(Function::DiscreteInputs), 1)),
            ("00003", (Some(Function::Coils), 2)),
            ("0", (None, 0)),
            ("0x5B14", (None, 0x5b14)),
            ("3203", (None, 3203)),
        ] {
            assert_eq!(register_address(text), Ok(expected), "{text}");
        }
        for text in ["", "40000", "465537", "20001", "90001", "70000", "-1", "0x10000", "x", "4000001"] {
            assert!(register_address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn filters() {
        for text in ["a", "a/b", "+/b/#", "#", "+", "a/+/c", "/a", "a//b"] {
            assert_eq!(topic_filter(text), Ok(()), "{text}");
        }
        for text in ["", "a/#/b", "a#", "a/b+", "+a", "\0"] {
            assert!(topic_filter(text).is_err(), "{text}");
        }
    }
}
