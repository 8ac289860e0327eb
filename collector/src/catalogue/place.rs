//! Where something stands in a config file, so that a problem can point at it.
//!
//! A [`Place`] is a byte range in one of the texts of a [`SourceMap`]; [`At`] is a value that remembers its place. What a
//! source shows to people is masked: the value of a key that looks like a secret is never shown.

use std::ops::{Deref, Range};

use garde::Validate;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// Magic struct name by which [`At`] asks the reader for a place.
pub(super) const AT: &str = "$parkgate::At";
/// Its fields.
pub(super) const AT_FIELDS: &[&str] = &["source", "start", "end", "unread", "value"];

/// A byte range in one source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Index into the source map.
    pub source: u32,
    /// First byte.
    pub start: u32,
    /// Byte after the last.
    pub end: u32,
}

impl Place {
    /// The place of `span` in a source.
    pub fn new(source: u32, span: &Range<usize>) -> Self {
        let narrow = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
        Self { source, start: narrow(span.start), end: narrow(span.end) }
    }

    pub(super) fn range(self) -> Range<usize> {
        let wide = |offset: u32| usize::try_from(offset).unwrap_or(usize::MAX);
        wide(self.start)..wide(self.end)
    }
}

/// A value and where it was written.
#[derive(Clone, Debug)]
pub struct At<T> {
    /// Where.
    pub place: Place,
    /// What.
    pub value: T,
    /// For a table: keys that are there but could not be read, which was noted.
    pub unread: Vec<String>,
}

impl<T> At<T> {
    /// A value at a place.
    pub fn new(place: Place, value: T) -> Self {
        Self { place, value, unread: Vec::new() }
    }

    /// Whether a key that has no value here is truly missing, and not only unreadable.
    pub fn lacks(&self, key: &str) -> bool {
        !self.unread.iter().any(|unread| unread == key)
    }
}

impl<T> Deref for At<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AtVisitor<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for AtVisitor<T> {
            type Value = At<T>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a value with its place")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<At<T>, A::Error> {
                let mut place = Place::default();
                let mut unread = Vec::new();
                let mut value = None;
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "source" => place.source = map.next_value()?,
                        "start" => place.start = map.next_value()?,
                        "end" => place.end = map.next_value()?,
                        "unread" => unread = map.next_value()?,
                        _ => value = Some(map.next_value()?),
                    }
                }
                let value = value.ok_or_else(|| serde::de::Error::missing_field("value"))?;
                Ok(At { place, value, unread })
            }
        }
        deserializer.deserialize_struct(AT, AT_FIELDS, AtVisitor(std::marker::PhantomData))
    }
}

impl<T: Validate> Validate for At<T> {
    type Context = T::Context;
    fn validate_into(&self, context: &T::Context, parent: &mut dyn FnMut() -> garde::Path, report: &mut garde::Report) {
        self.value.validate_into(context, parent, report);
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }
    fn schema_id() -> std::borrow::Cow<'static, str> {
        T::schema_id()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// One text that was read.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its path as the user would write it.
    pub name: String,
    text: String,
    masked: Vec<Range<usize>>,
}

/// What stands where a secret was.
const MASK: &str = "****";

impl Source {
    /// Takes a text and finds what must not be shown.
    pub fn new(name: String, text: String) -> Self {
        let masked = secret_ranges(&text);
        Self { name, text, masked }
    }

    /// The text itself.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Line and column, both from 1, columns in characters.
    pub fn line_column(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..self.floor(offset)).unwrap_or("");
        let line = before.matches('\n').count().saturating_add(1);
        let column = before.rsplit('\n').next().unwrap_or("").chars().count().saturating_add(1);
        (line, column)
    }

    /// The text with secrets masked; line numbers stay.
    pub fn shown(&self) -> String {
        let mut shown = String::with_capacity(self.text.len());
        let mut from = 0;
        for range in &self.masked {
            shown.push_str(self.text.get(from..range.start).unwrap_or(""));
            shown.push_str(MASK);
            let lines = self.text.get(range.clone()).unwrap_or("").matches('\n').count();
            shown.extend(std::iter::repeat_n('\n', lines));
            from = range.end;
        }
        shown.push_str(self.text.get(from..).unwrap_or(""));
        shown
    }

    /// Where a byte of the text is in [`Self::shown`].
    pub fn shown_offset(&self, offset: usize) -> usize {
        let offset = self.floor(offset);
        let mut shown = offset;
        for range in &self.masked {
            if range.start >= offset {
                break;
            }
            let lines = self.text.get(range.clone()).unwrap_or("").matches('\n').count();
            let after = offset.min(range.end).saturating_sub(range.start);
            let new = if offset >= range.end { MASK.len().saturating_add(lines) } else { 0 };
            shown = shown.saturating_sub(after).saturating_add(new);
        }
        shown
    }

    /// The nearest character boundary at or before `offset`.
    fn floor(&self, offset: usize) -> usize {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset = offset.saturating_sub(1);
        }
        offset
    }
}

/// Every text that was read, in order.
#[derive(Clone, Debug, Default)]
pub struct SourceMap {
    sources: Vec<Source>,
}

impl SourceMap {
    /// Adds a text; its index.
    pub fn add(&mut self, name: String, text: String) -> u32 {
        self.sources.push(Source::new(name, text));
        u32::try_from(self.sources.len().saturating_sub(1)).unwrap_or(u32::MAX)
    }

    /// A source by index.
    pub fn get(&self, index: u32) -> Option<&Source> {
        self.sources.get(usize::try_from(index).ok()?)
    }
}

/// Whether the value of a key must not be shown. Near misses count, since a mistyped key is shown with its line.
pub fn is_secret_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    if key.ends_with("_file") {
        return false;
    }
    ["passw", "passph", "pwd", "secret", "token", "credential"].iter().any(|word| key.contains(word))
        || strsim::damerau_levenshtein(&key, "password") <= 2
}

/// Byte ranges of the values of secret keys. Works on the bare text, so that it holds in a file that does not parse.
fn secret_ranges(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let byte = |index: usize| bytes.get(index).copied().unwrap_or(b'\n');
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if !is_word(byte(at)) {
            at = at.saturating_add(1);
            continue;
        }
        let start = at;
        while is_word(byte(at)) {
            at = at.saturating_add(1);
        }
        if !text.get(start..at).is_some_and(is_secret_key) {
            continue;
        }
        let mut value = at;
        while matches!(byte(value), b'"' | b'\'' | b' ' | b'\t') {
            value = value.saturating_add(1);
        }
        if byte(value) != b'=' {
            continue;
        }
        value = value.saturating_add(1);
        while matches!(byte(value), b' ' | b'\t') {
            value = value.saturating_add(1);
        }
        let end = value_end(text, value);
        if value < end {
            ranges.push(value..end);
        }
        at = end.max(at);
    }
    ranges
}

/// The end of the TOML value that starts at `start`; the end of the line where that cannot be told.
fn value_end(text: &str, start: usize) -> usize {
    let rest = text.get(start..).unwrap_or("");
    for quote in ["\"\"\"", "'''"] {
        if let Some(inner) = rest.strip_prefix(quote) {
            let length = inner.find(quote).map_or(inner.len(), |end| end.saturating_add(quote.len()));
            return start.saturating_add(quote.len()).saturating_add(length).min(text.len());
        }
    }
    let line = rest.split('\n').next().unwrap_or("").trim_end_matches('\r');
    let mut escaped = false;
    if let Some(quote @ ('"' | '\'')) = line.chars().next() {
        for (index, character) in line.char_indices().skip(1) {
            match character {
                _ if escaped => escaped = false,
                '\\' if quote == '"' => escaped = true,
                _ if character == quote => return start.saturating_add(index).saturating_add(1),
                _ => {}
            }
        }
    }
    start.saturating_add(line.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_masked_even_where_the_file_is_broken() {
        for (text, shown) in [
            ("password = \"hunter2\" # x", "password = **** # x"),
            ("l = { passwrod='hun\\', b = 1 }", "l = { passwrod=****, b = 1 }"),
            ("pasword = \"hunt\\\"er2", "pasword = ****"),
            ("\"Password\"=hunter2\r\nb=1", "\"Password\"=****\r\nb=1"),
            ("api_token = \"\"\"a\nb\"\"\"\nc", "api_token = ****\n\nc"),
            ("password_file = \"x\"", "password_file = \"x\""),
            ("host = 'x'", "host = 'x'"),
        ] {
            assert_eq!(Source::new(String::new(), text.into()).shown(), shown);
        }
    }

    #[test]
    fn offsets_follow_the_mask() {
        let source = Source::new(String::new(), "password = \"hunter2\"\nhost = 1".into());
        let offset = source.text().find("host").unwrap();
        assert_eq!(source.line_column(offset), (2, 1));
        assert_eq!(source.shown().get(source.shown_offset(offset)..), Some("host = 1"));
    }
}
