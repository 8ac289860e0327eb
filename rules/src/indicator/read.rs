//! Inputs from JSON text, every digit of a number kept, errors with the path and the line.

use std::fmt;

use super::Inputs;

/// Significant digits up to which a binary double gives back what was written.
const DIGITS_EXACT: usize = 15;

/// Why a text is no inputs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ReadError {
    /// Where in the tree: `meters[3].place`; empty at the top.
    pub path: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, column, what } = self;
        let path = if path.is_empty() { "the top" } else { path };
        write!(f, "line {line}, column {column}, at {path}: {what}")
    }
}

/// Reads inputs.
///
/// A number of more than 15 digits is handed on as text, so that none of them is lost; that moves columns behind it on the
/// same line by two each.
pub fn read(text: &str) -> Result<Inputs, ReadError> {
    let text = long_numbers_as_text(text);
    serde_json::from_str(&text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let whole = error.to_string();
        let place = format!(" at line {line} column {column}");
        let what = whole.strip_suffix(&place).unwrap_or(&whole).to_owned();
        ReadError { path: path_at(&text, line, column), line, column, what }
    })
}

/// Numbers outside strings, of more than [`DIGITS_EXACT`] digits, in quotes.
fn long_numbers_as_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|symbol: char| symbol == '"' || symbol == '-' || symbol.is_ascii_digit()) {
        let (before, from) = rest.split_at(start);
        out.push_str(before);
        let length = if from.starts_with('"') { string_length(from) } else { number_length(from) };
        let (token, after) = from.split_at(length);
        let long = !token.starts_with('"') && token.bytes().filter(u8::is_ascii_digit).count() > DIGITS_EXACT;
        if long {
            out.push('"');
        }
        out.push_str(token);
        if long {
            out.push('"');
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Bytes of the string a text begins with, quotes included; all when it does not end.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, symbol) in text.char_indices().skip(1) {
        match symbol {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn number_length(text: &str) -> usize {
    text.find(|symbol: char| !matches!(symbol, '0'..='9' | '-' | '+' | '.' | 'e' | 'E')).unwrap_or(text.len())
}

/// The path of the value that is being read at a place, as far as the text goes.
fn path_at(text: &str, line: usize, column: usize) -> String {
    let before: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let mut end = before.saturating_add(column).min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut steps: Vec<Step> = Vec::new();
    let mut rest = text.get(..end).unwrap_or_default();
    let mut last = "";
    while let Some(start) = rest.find(['"', '{', '}', '[', ']', ',', ':']) {
        let from = rest.get(start..).unwrap_or_default();
        let mut length = 1;
        match from.as_bytes().first() {
            Some(b'"') => {
                length = string_length(from);
                last = from.get(..length).unwrap_or_default().trim_matches('"');
            }
            Some(b'{') => steps.push(Step::Key(String::new())),
            Some(b'[') => steps.push(Step::Item(0)),
            Some(b'}' | b']') => {
                // What closes at the very place of the error is where it lies.
                if start + length < rest.len() {
                    steps.pop();
                }
            }
            Some(b':') => {
                if let Some(Step::Key(key)) = steps.last_mut() {
                    last.clone_into(key);
                }
            }
            _ => match steps.last_mut() {
                Some(Step::Item(number)) if start + length < rest.len() => *number += 1,
                Some(Step::Key(key)) if start + length < rest.len() => key.clear(),
                _ => {}
            },
        }
        rest = from.get(length..).unwrap_or_default();
    }
    let mut path = String::new();
    for step in steps {
        match step {
            Step::Key(key) if key.is_empty() => {}
            Step::Key(key) if path.is_empty() => path = key,
            Step::Key(key) => path = format!("{path}.{key}"),
            Step::Item(number) => path = format!("{path}[{number}]"),
        }
    }
    path
}

enum Step {
    Key(String),
    Item(usize),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Number;

    #[test]
    fn every_digit_of_a_number_counts() {
        let json = r#"{"enterprises": [{"id": "acme"}], "declared": [
            {"figure": "revenue", "enterprise": "acme", "period": "2025", "value": 12345678901234567.890123},
            {"figure": "tax", "enterprise": "acme", "period": "2025", "value": "0.1"},
            {"figure": "output", "enterprise": "acme", "period": "2025", "value": 0.1, "source": {"document": "no. 12345678901234567890"}}]}"#;
        let inputs = read(json).unwrap();
        let values: Vec<_> = inputs.declared.iter().map(|entry| entry.value.to_string()).collect();
        assert_eq!(values, ["12345678901234567.890123", "0.1", "0.1"]);
        assert_eq!(inputs.declared[2].source.document.as_deref(), Some("no. 12345678901234567890"));
        assert_eq!(inputs.declared[1].value, Number::decimal(1, 1));
    }

    #[test]
    fn errors_name_path_and_line() {
        let error = read("{\"meters\": [\n {\"id\": \"a\", \"energy\": \"heat\", \"place\": \"gate\"},\n {\"id\": \"b\", \"energy\": \"heat\", \"place\": \"roof\"}\n]}").unwrap_err();
        assert_eq!((error.line, error.path.as_str()), (3, "meters[1].place"));
        assert!(error.what.contains("unknown variant `roof`"), "{error}");
        let error = read("{\"park\": {\"name\": \"x\",\n\"colour\": 1}}").unwrap_err();
        assert_eq!((error.line, error.path.as_str()), (2, "park"));
        assert!(error.what.contains("unknown field `colour`"), "{error}");
        for text in ["", "{", "[", "{\"meters\": [{\"id\": \"\\\"", "\u{feff}", "{\"periods\": [\"2025-13\"]}"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
