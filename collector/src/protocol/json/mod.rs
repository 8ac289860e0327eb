//! Mapping of JSON payloads: where records, times and values are. Pure.
//!
//! Here are the declared forms, as the catalogue holds them; [`Mapper`] is what they compile to. [`mapper`] walks a payload
//! once; [`number`] and [`time`] read the texts it found. In: bytes from a broker. Out: readings, or why there are none.
//! Nothing here panics on any input, allocates per value, or goes through binary floating point.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

pub mod mapper;
pub mod number;
pub mod time;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

pub use mapper::{BuildError, MapError, Mapped, Mapper};

/// A compiled path: `data.flow`, `values[2].v`; empty: the value itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ValuePath {
    /// Steps from the outside in.
    pub steps: Vec<PathStep>,
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathStep {
    /// Member of an object.
    Key(String),
    /// Element of an array, from 0.
    Index(usize),
}

/// Where the records of a payload are and where each has its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordMap {
    /// Path to an array of records, or `None`: the payload is one record (or, when it is an array, its elements are).
    pub records: Option<ValuePath>,
    /// Path to the time within a record (or, starting with the payload itself, `time_in_payload`); `None`: received time.
    pub time: Option<TimePath>,
}

/// Where a time is and how it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimePath {
    /// Path to the time.
    pub path: ValuePath,
    /// The path starts at the payload, not at the record: one time for all its records.
    pub in_payload: bool,
    /// How it is written.
    pub format: TimeFormat,
}

/// How a time is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimeFormat {
    /// Seconds since 1970, may have decimals.
    EpochSeconds,
    /// Milliseconds since 1970.
    EpochMillis,
    /// Microseconds since 1970.
    EpochMicros,
    /// Nanoseconds since 1970.
    EpochNanos,
    /// RFC 3339 with an offset.
    Rfc3339,
    /// Text without an offset by a strptime pattern, in the zone named.
    Local {
        /// strptime pattern, `%Y-%m-%d %H:%M:%S`.
        pattern: String,
        /// IANA zone, `Asia/Shanghai`.
        zone: String,
    },
}

/// A text that is no path.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{text}` is not a path such as data.flow or values[2].v: {why}")]
pub struct PathError {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl FromStr for ValuePath {
    type Err = PathError;

    /// Reads `data.flow`, `values[2].v`, `[0]`, `["odd.key"].x`; the empty text is the value itself. A key in brackets and
    /// double quotes is a JSON string, so any key can be written.
    fn from_str(text: &str) -> Result<Self, PathError> {
        let fail = |why| PathError { text: text.to_owned(), why };
        let mut steps = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some(inner) = rest.strip_prefix('[') {
                if inner.starts_with('"') {
                    let mut stream = serde_json::Deserializer::from_str(inner).into_iter::<String>();
                    let key = stream.next().and_then(Result::ok).ok_or_else(|| fail("the quoted key does not end"))?;
                    steps.push(PathStep::Key(key));
                    rest = inner.get(stream.byte_offset()..).unwrap_or_default();
                    rest = rest.strip_prefix(']').ok_or_else(|| fail("`]` is missing"))?;
                } else {
                    let (index, after) = inner.split_once(']').ok_or_else(|| fail("`]` is missing"))?;
                    let digits = !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit());
                    let index = index.parse().ok().filter(|_| digits).ok_or_else(|| fail("an index counts 0, 1, 2 ..."))?;
                    steps.push(PathStep::Index(index));
                    rest = after;
                }
            } else {
                if !steps.is_empty() {
                    rest = rest.strip_prefix('.').ok_or_else(|| fail("`.` or `[` is missing after `]`"))?;
                }
                let end = rest.find(['.', '[']).unwrap_or(rest.len());
                let (key, after) = rest.split_at(end);
                if key.is_empty() {
                    return Err(fail("a key is empty"));
                }
                steps.push(PathStep::Key(key.to_owned()));
                rest = after;
            }
        }
        Ok(Self { steps })
    }
}

impl fmt::Display for ValuePath {
    /// The form that [`FromStr`] reads; nothing for the value itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.steps.iter().enumerate() {
            match step {
                PathStep::Index(index) => write!(f, "[{index}]")?,
                PathStep::Key(key) if key.is_empty() || key.contains(['.', '[']) => {
                    write!(f, "[{}]", serde_json::Value::from(key.as_str()))?;
                }
                PathStep::Key(key) => write!(f, "{}{key}", if position == 0 { "" } else { "." })?,
            }
        }
        Ok(())
    }
}
