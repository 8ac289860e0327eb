//! Files of the review, read with every problem named at once: where it is, what is wrong, what was perhaps meant.
//!
//! TOML and JSON become one tree; a field that is absent and one that is null are told apart. TOML has no null: there the
//! text `"null"` stands for it. A number is exact where it is written with at most 15 digits, or as text.

use std::fmt;

use serde_json::{Map, Value};

use crate::Number;
use crate::period::Day;

/// A field of a file: not there, there and null, or a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Field<T> {
    /// Not there.
    #[default]
    Absent,
    /// There, and null.
    Null,
    /// A value.
    Given(T),
}

impl<T> Field<T> {
    /// The value, where there is one.
    pub fn given(&self) -> Option<&T> {
        match self {
            Self::Given(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }

    /// Whether it is not there at all.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// The value; null and absent are both `None`.
    pub fn into_given(self) -> Option<T> {
        match self {
            Self::Given(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }
}

/// Something wrong in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, `energy.coal_kg`; empty for the whole file.
    pub path: String,
    /// What, and what to do.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(&self.what) } else { write!(f, "`{}`: {}", self.path, self.what) }
    }
}

/// Parses a text: JSON if its first sign is `{`, else TOML; one that begins with `[` may be a JSON list or a TOML table.
///
/// # Errors
/// Where it is neither, with line and column.
pub fn tree(text: &str) -> Result<Value, Problem> {
    let problem = |what: String| Problem { path: String::new(), what };
    let text = text.trim_start_matches('\u{feff}');
    let begins = |sign| text.trim_start().starts_with(sign);
    let mut not_json = String::new();
    if begins('{') || begins('[') {
        match serde_json::from_str(text) {
            Ok(value) => return Ok(value),
            Err(error) if begins('{') => return Err(problem(format!("is not JSON: {error}"))),
            Err(error) => not_json = format!("is not JSON: {error}; "),
        }
    }
    let table: toml::Table =
        toml::from_str(text).map_err(|error| problem(format!("{not_json}is not TOML: {}", error.to_string().trim_end())))?;
    Ok(from_toml(toml::Value::Table(table)))
}

fn from_toml(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) if text == "null" => Value::Null,
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => Value::from(number),
        // Not finite: no JSON number, and no figure; the text is refused where a number is due.
        toml::Value::Float(number) => serde_json::Number::from_f64(number).map_or_else(|| Value::String(number.to_string()), Value::Number),
        toml::Value::Boolean(flag) => Value::Bool(flag),
        toml::Value::Datetime(time) => Value::String(time.to_string()),
        toml::Value::Array(items) => Value::Array(items.into_iter().map(from_toml).collect()),
        toml::Value::Table(table) => Value::Object(table.into_iter().map(|(key, value)| (key, from_toml(value))).collect()),
    }
}

/// What a number must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// Anything.
    Any,
    /// 0 or more.
    NotNegative,
    /// More than 0.
    Positive,
}

/// An object of the tree with the way to it.
#[derive(Clone, Debug)]
pub struct Object<'a> {
    map: &'a Map<String, Value>,
    path: String,
}

impl<'a> Object<'a> {
    /// The way to a key of it.
    pub fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Its keys and values.
    pub fn entries(&self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        self.map.iter().map(|(key, value)| (key.as_str(), value))
    }
}

/// Reads fields and gathers problems.
#[derive(Debug, Default)]
pub struct Reader {
    /// What was wrong so far.
    pub problems: Vec<Problem>,
}

impl Reader {
    /// Notes a problem.
    pub fn problem(&mut self, path: impl Into<String>, what: impl Into<String>) {
        self.problems.push(Problem { path: path.into(), what: what.into() });
    }

    /// `value`, or the problems.
    ///
    /// # Errors
    /// When there were any.
    pub fn finish<T>(self, value: T) -> Result<T, Vec<Problem>> {
        if self.problems.is_empty() { Ok(value) } else { Err(self.problems) }
    }

    /// The value as an object that has no other keys than these.
    pub fn object<'a>(&mut self, value: &'a Value, path: &str, keys: &[&str]) -> Option<Object<'a>> {
        let object = self.map(value, path)?;
        for (key, _) in object.entries() {
            if !keys.contains(&key) {
                self.unknown(&object.path(key), key, keys);
            }
        }
        Some(object)
    }

    /// The value as an object of any keys.
    pub fn map<'a>(&mut self, value: &'a Value, path: &str) -> Option<Object<'a>> {
        match value {
            Value::Object(map) => Some(Object { map, path: path.to_owned() }),
            other => {
                self.problem(path, format!("{} stands where a table with keys is due", kind(other)));
                None
            }
        }
    }

    /// Notes a name that is not known, with what was perhaps meant.
    pub fn unknown(&mut self, path: &str, name: &str, known: &[&str]) {
        let near = nearest(name, known).map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
        self.problem(path, format!("is not known; {near}Known are: {}", known.join(", ")));
    }

    fn field<'a, T>(&mut self, object: &Object<'a>, key: &str, due: &str, read: impl FnOnce(&'a Value) -> Option<T>) -> Field<T> {
        match object.map.get(key) {
            None => Field::Absent,
            Some(Value::Null) => Field::Null,
            Some(value) => match read(value) {
                Some(read) => Field::Given(read),
                None => {
                    self.problem(object.path(key), format!("{} is not {due}", shown(value)));
                    Field::Absent
                }
            },
        }
    }

    /// A key's value as it stands in the tree.
    pub fn value<'a>(&mut self, object: &Object<'a>, key: &str) -> Field<&'a Value> {
        self.field(object, key, "", Some)
    }

    /// A decimal number.
    pub fn number(&mut self, object: &Object<'_>, key: &str, sign: Sign) -> Field<Number> {
        let field = self.field(object, key, "a decimal number such as 12.5", |value| match value {
            Value::Number(number) => number.to_string().parse().ok(),
            Value::String(text) => text.trim().parse::<Number>().ok(),
            _ => None,
        });
        if let Some(number) = field.given() {
            let wrong = match sign {
                Sign::Any => None,
                Sign::NotNegative => number.is_negative().then_some("is below 0"),
                Sign::Positive => (!number.is_positive()).then_some("is not above 0"),
            };
            if let Some(wrong) = wrong {
                self.problem(object.path(key), format!("{number} {wrong}"));
            }
        }
        field
    }

    /// A whole number from 1.
    pub fn level(&mut self, object: &Object<'_>, key: &str) -> Field<u32> {
        let read = |value: &Value| value.as_u64().and_then(|level| u32::try_from(level).ok()).filter(|level| *level > 0);
        self.field(object, key, "a whole number from 1", read)
    }

    /// A calendar date.
    pub fn date(&mut self, object: &Object<'_>, key: &str) -> Field<Day> {
        self.field(object, key, "a date such as 2025-09-01", |value| value.as_str()?.parse().ok())
    }

    /// True or false.
    pub fn flag(&mut self, object: &Object<'_>, key: &str) -> Field<bool> {
        self.field(object, key, "true or false", Value::as_bool)
    }

    /// A text that is not empty.
    pub fn text(&mut self, object: &Object<'_>, key: &str) -> Field<String> {
        let read = |value: &Value| value.as_str().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
        self.field(object, key, "a text of at least one letter", read)
    }

    /// A list.
    pub fn list<'a>(&mut self, object: &Object<'a>, key: &str) -> Field<&'a [Value]> {
        self.field(object, key, "a list", |value| value.as_array().map(Vec::as_slice))
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    }
}

/// The value in a message, cut short.
fn shown(value: &Value) -> String {
    match value {
        Value::Array(_) | Value::Object(_) => kind(value).to_owned(),
        other => other.to_string().chars().take(40).collect(),
    }
}

/// The known name nearest to what was written, when it is near enough to be a slip.
fn nearest<'a>(written: &str, known: &[&'a str]) -> Option<&'a str> {
    let written = written.to_ascii_lowercase();
    known
        .iter()
        .map(|name| (distance(&written, &name.to_ascii_lowercase()), *name))
        .min()
        .filter(|(distance, name)| *distance <= (name.len() / 3).max(2))
        .map(|(_, name)| name)
}

/// Letters to insert, delete or replace until `one` is `other` (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (place, letter) in one.chars().enumerate() {
        let mut last = place.saturating_add(1);
        let mut next = vec![last];
        for (index, against) in other.iter().enumerate() {
            let replaced = row.get(index).copied().unwrap_or(0).saturating_add(usize::from(letter != *against));
            let deleted = row.get(index.saturating_add(1)).copied().unwrap_or(0).saturating_add(1);
            last = replaced.min(deleted).min(last.saturating_add(1));
            next.push(last);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn toml_and_json_are_one_tree() {
        let toml = "industry = \"glass\"\napplied_on = 2025-09-01\nland_mu = 12.5\n[energy]\ncoal_kg = 7\n";
        let json = r#"{"industry": "glass", "applied_on": "2025-09-01", "land_mu": 12.5, "energy": {"coal_kg": 7}}"#;
        assert_eq!(tree(toml).unwrap(), tree(json).unwrap());
        assert_eq!(tree("rd_ratio = \"null\"").unwrap(), tree(r#"{"rd_ratio": null}"#).unwrap());
        assert!(tree("{\n \"a\": }").unwrap_err().what.contains("line 2"));
        // A TOML file may begin with a table, a JSON one with a list.
        assert_eq!(tree("[energy]\ncoal_kg = 7\n").unwrap(), tree(r#"{"energy": {"coal_kg": 7}}"#).unwrap());
        assert_eq!(tree("[[a]]\nb = 1\n").unwrap(), tree(r#"{"a": [{"b": 1}]}"#).unwrap());
        assert!(tree("[1, 2]").unwrap().is_array());
        let neither = tree("[1, 2").unwrap_err().what;
        assert!(neither.contains("is not JSON") && neither.contains("is not TOML"), "{neither}");
        assert!(tree("a = = 1").unwrap_err().what.contains("line 1"));
    }

    #[test]
    fn a_slip_is_recognised() {
        let known = ["electricity_kWh", "gas_Nm3", "coal_kg"];
        assert_eq!(nearest("electricity_kwh", &known), Some("electricity_kWh"));
        assert_eq!(nearest("coalkg", &known), Some("coal_kg"));
        assert_eq!(nearest("straw", &known), None);
        // kitten -> sitten -> sittin -> sitting: 3 (the textbook's case).
        assert_eq!((distance("kitten", "sitting"), distance("", "abc"), distance("abc", "abc")), (3, 3, 0));
    }

    #[test]
    fn fields_tell_absent_from_null_and_say_what_is_wrong() {
        let value =
            tree(r#"{"a": 1.5, "b": null, "c": "x", "d": -1, "e": 0, "f": "2025-02-30", "g": "2025-02-28T00:00", "h": 1.5}"#).unwrap();
        let mut reader = Reader::default();
        let object = reader.object(&value, "p", &["a", "b", "c", "d", "e", "f", "g", "h"]).unwrap();
        assert_eq!(reader.number(&object, "a", Sign::Positive), Field::Given(Number::decimal(15, 1)));
        assert_eq!(reader.number(&object, "b", Sign::Any), Field::Null);
        assert_eq!(reader.number(&object, "z", Sign::Any), Field::Absent);
        reader.number(&object, "c", Sign::Any);
        reader.number(&object, "d", Sign::NotNegative);
        reader.number(&object, "e", Sign::Positive);
        reader.date(&object, "f");
        reader.date(&object, "g");
        reader.level(&object, "h");
        let said: Vec<String> = reader.problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "`p.c`: \"x\" is not a decimal number such as 12.5",
                "`p.d`: -1 is below 0",
                "`p.e`: 0 is not above 0",
                "`p.f`: \"2025-02-30\" is not a date such as 2025-09-01",
                "`p.g`: \"2025-02-28T00:00\" is not a date such as 2025-09-01",
                "`p.h`: 1.5 is not a whole number from 1",
            ]
        );
    }
}
