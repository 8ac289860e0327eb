//! What stands in registers and frames, put so that a person or another program can check it: `parkgate decode`.
//!
//! [`registers`] words become an exact decimal or a text; [`frames`] a request and the bytes that came become words, an
//! exception or the kind of fault; [`decimal`] numbers of any length. [`registers_line`] and [`frame_line`] take one JSON
//! object and give one; neither does I/O, and no line stops them: what cannot be read is answered with what is wrong.

pub mod decimal;
pub mod registers;
pub mod frames;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Longest line that is looked at, in bytes.
pub const LINE_LENGTH_MAX: usize = 65_536;

/// The answer to one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// One JSON object, without a line break.
    pub json: String,
    /// Whether it has an `error`.
    pub failed: bool,
}

/// Answers `{id, words, type, order, scale?, offset?, bit?, nan?, scale_register?}` with `{id, value, quality, reason}` or
/// `{id, error}`.
pub fn registers_line(line: &str) -> Line {
    answer(line, registers::of_json)
}

/// Answers `{id, transport, request, response}` with `{id, words}`, `{id, bits}`, `{id, exception}` or `{id, error}`.
/// `transport` is what a line without one means.
pub fn frame_line(line: &str, transport: Option<frames::Transport>) -> Line {
    answer(line, |line| frames::of_json(line, transport))
}

/// An answer or what is wrong, under the line's id, which is `null` where it has none that can be read.
fn answer<T: Serialize>(line: &str, of_json: impl Fn(&str) -> Result<T, String>) -> Line {
    #[derive(Deserialize)]
    struct OnlyId<'a> {
        #[serde(borrow, default)]
        id: Option<&'a RawValue>,
    }
    #[derive(Serialize)]
    struct WithId<'a, T> {
        id: Option<&'a RawValue>,
        #[serde(flatten)]
        rest: T,
    }
    #[derive(Serialize)]
    struct Failure {
        error: String,
    }
    let (id, outcome) = if line.len() > LINE_LENGTH_MAX {
        (None, Err(format!("a line of {} bytes; {LINE_LENGTH_MAX} at most", line.len())))
    } else if !line.trim_start().starts_with('{') {
        (None, Err("not a JSON object".to_owned()))
    } else {
        (serde_json::from_str::<OnlyId<'_>>(line).ok().and_then(|only| only.id), of_json(line))
    };
    let json = match &outcome {
        Ok(rest) => serde_json::to_string(&WithId { id, rest }),
        Err(error) => serde_json::to_string(&WithId { id, rest: Failure { error: error.clone() } }),
    };
    match json {
        Ok(json) => Line { failed: outcome.is_err(), json },
        Err(_) => Line { failed: true, json: "{\"id\":null,\"error\":\"the answer cannot be written\"}".to_owned() },
    }
}

/// The bytes of a text in hex; spaces, colons, dashes and commas between bytes do not count.
pub fn hex(text: &str) -> Result<Vec<u8>, String> {
    let mut digits =
        text.chars().filter(|character| !character.is_whitespace() && !matches!(character, ':' | '-' | ',')).map(|character| {
            let digit = character.to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            digit.ok_or_else(|| format!("`{character}` is no hex digit"))
        });
    let mut bytes = Vec::new();
    while let Some(high) = digits.next() {
        let low = digits.next().ok_or_else(|| "an odd number of hex digits".to_owned())?;
        bytes.push(high? << 4 | low?);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
