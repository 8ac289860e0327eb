//! From the tree to the config structs, with every type error, unknown key and missing key at its place.
//!
//! serde stops at the first error of a table. [`read`] notes it, takes the offending value out of the tree and reads
//! again, until what is left can be read. A key that is missing only because its value was taken out is no news.

use std::collections::HashSet;
use std::fmt;

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer, MapAccess, SeqAccess, Unexpected,
    VariantAccess, Visitor, value,
};

use super::place::{AT, Place};
use super::problem::Problems;
use super::tree::{Entry, Node, Table, Value};

/// Magic newtype name that asks for the text of a number or text as it was written.
pub(super) const SCALAR_TEXT: &str = "$parkgate::scalar_text";
/// The key that chooses the variant when an enum is read from a table.
const TAG: &str = "driver";
/// Most rounds of reading: the most problems one file can give.
const ROUNDS_MAX: usize = 200;

/// Reads `root` as a `T`; `None` when not even the outermost table could be read. Ids of tables that had to be left out
/// go to `lost`, so that nobody complains that they are unknown.
pub(super) fn read<T: DeserializeOwned>(root: &mut Node, source: u32, lost: &mut HashSet<String>, problems: &mut Problems) -> Option<T> {
    for _ in 0..ROUNDS_MAX {
        let error = match T::deserialize(Reader { node: root, source, skip: None }) {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        let path: Vec<usize> = error.path.iter().rev().copied().collect();
        if !note(root, source, &path, &error.kind, lost, problems) {
            return None;
        }
    }
    None
}

/// Notes the problem and takes the offending node out; `false` when that is the root.
fn note(root: &mut Node, source: u32, path: &[usize], kind: &Kind, lost: &mut HashSet<String>, problems: &mut Problems) -> bool {
    let Some((&last, parents)) = path.split_last() else {
        report(root, None, source, kind, problems);
        return false;
    };
    let mut parent = root;
    for (position, &step) in parents.iter().enumerate() {
        let next = match &mut parent.value {
            Value::Array(items) => items.get_mut(step),
            Value::Table(table) => {
                // A list that loses an element is not all there either.
                if let (Some(entry), true) = (table.entries.get(step), position.saturating_add(1) == parents.len())
                    && matches!(entry.node.value, Value::Array(_))
                {
                    table.cut.push(entry.key.clone());
                }
                table.entries.get_mut(step).map(|entry| &mut entry.node)
            }
            _ => None,
        };
        match next {
            Some(next) => parent = next,
            None => return false,
        }
    }
    let (node, entry_key) = match &mut parent.value {
        Value::Array(items) if last < items.len() => (items.remove(last), None),
        Value::Table(table) if last < table.entries.len() => {
            let Entry { key, key_span, node } = table.entries.remove(last);
            // A mistyped key stands for the one it was meant to be.
            match kind {
                Kind::Unknown(expected) => table.cut.extend(nearest(&key, expected.iter().copied()).map(str::to_owned)),
                _ => table.cut.push(key.clone()),
            }
            (node, Some((key, key_span)))
        }
        _ => return false,
    };
    report(&node, entry_key.as_ref(), source, kind, problems);
    let tables = match &node.value {
        Value::Array(items) => items.as_slice(),
        _ => std::slice::from_ref(&node),
    };
    lost.extend(tables.iter().filter_map(|table| table.get("id").and_then(Node::text)).map(str::to_owned));
    true
}

fn report(node: &Node, entry: Option<&(String, std::ops::Range<usize>)>, source: u32, kind: &Kind, problems: &mut Problems) {
    let key_place = entry.map_or(Place::new(source, &node.span), |(_, span)| Place::new(source, span));
    let name = entry.map_or("", |(key, _)| key.as_str());
    match kind {
        Kind::Unknown(expected) => problems.add(key_place, format!("unknown key `{name}`"), suggestion(name, expected, "known keys")),
        Kind::Missing(field) => {
            let cut = matches!(&node.value, Value::Table(table) if table.cut.iter().any(|key| key == field));
            if !cut {
                problems.add(
                    key_place.min_span(node, source),
                    format!("missing key `{field}`"),
                    format!("add `{field} = ...` to this table"),
                );
            }
        }
        Kind::Variant { found, expected } => problems.add(
            Place::new(source, &node.span),
            format!("`{found}` is not known here"),
            suggestion(found, expected, "possible values"),
        ),
        Kind::Wrong(message) if entry.is_some() => problems.add(Place::new(source, &node.span), format!("`{name}`: {message}"), ""),
        Kind::Wrong(message) => problems.add(Place::new(source, &node.span), message.clone(), ""),
    }
}

impl Place {
    /// For a missing key: the header of an array's table has no key of its own, then the table itself.
    fn min_span(self, node: &Node, source: u32) -> Self {
        if self.start < self.end { self } else { Self::new(source, &node.span) }
    }
}

/// `did you mean ...?` for a near miss, else all there is.
pub(super) fn suggestion(found: &str, known: &[&str], list: &str) -> String {
    match nearest(found, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "there is none".into(),
        None => format!("{list}: {}", known.join(", ")),
    }
}

/// The candidate most like `found`, when it is like it at all.
pub(super) fn nearest<'a>(found: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let found = found.to_lowercase();
    candidates
        .map(|candidate| (strsim::jaro_winkler(&found, &candidate.to_lowercase()), candidate))
        .filter(|(likeness, _)| *likeness > 0.84)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// Why something could not be read; its path from the inside out.
#[derive(Debug)]
struct ReadError {
    path: Vec<usize>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Unknown(&'static [&'static str]),
    Missing(&'static str),
    Variant { found: String, expected: &'static [&'static str] },
    Wrong(String),
}

impl ReadError {
    fn wrong(message: impl Into<String>) -> Self {
        Self { path: Vec::new(), kind: Kind::Wrong(message.into()) }
    }

    fn under(mut self, index: usize) -> Self {
        self.path.push(index);
        self
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.kind)
    }
}

impl std::error::Error for ReadError {}

impl serde::de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::wrong(message.to_string())
    }
    fn invalid_type(_: Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        // The value itself is not repeated: it may be a secret.
        Self::wrong(format!("must be {expected}"))
    }
    fn invalid_value(_: Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        Self::wrong(format!("must be {expected}"))
    }
    fn unknown_variant(found: &str, expected: &'static [&'static str]) -> Self {
        Self { path: Vec::new(), kind: Kind::Variant { found: found.to_owned(), expected } }
    }
    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Self { path: Vec::new(), kind: Kind::Unknown(expected) }
    }
    fn missing_field(field: &'static str) -> Self {
        Self { path: Vec::new(), kind: Kind::Missing(field) }
    }
}

/// serde's view of a node.
#[derive(Clone, Copy)]
struct Reader<'a> {
    node: &'a Node,
    source: u32,
    /// Key already used to choose a variant.
    skip: Option<&'static str>,
}

impl<'a> Reader<'a> {
    fn child(self, node: &'a Node) -> Self {
        Self { node, skip: None, ..self }
    }

    fn map<'de, V: Visitor<'de>>(self, table: &'a Table, visitor: V) -> Result<V::Value, ReadError> {
        let skip = self.skip;
        let entries = table.entries.iter().enumerate().filter(|(_, entry)| Some(entry.key.as_str()) != skip).collect::<Vec<_>>();
        visitor.visit_map(TableReader { reader: self, entries: entries.into_iter(), value: None })
    }

    fn list<'de, V: Visitor<'de>>(self, items: &'a [Node], visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_seq(ListReader { reader: self, items: items.iter().enumerate() })
    }

    fn integer<T: TryFrom<i128>>(self, range: &str) -> Result<T, ReadError> {
        let wrong = || ReadError::wrong(format!("must be a whole number {range}"));
        let Value::Integer(text) = &self.node.value else { return Err(wrong()) };
        parse_integer(text).and_then(|number| T::try_from(number).ok()).ok_or_else(wrong)
    }
}

/// The number of a TOML integer: decimal, `0x`, `0o` or `0b`.
pub(super) fn parse_integer(text: &str) -> Option<i128> {
    let (digits, radix) = match text.get(..2) {
        Some("0x" | "0X") => (text.get(2..)?, 16),
        Some("0o") => (text.get(2..)?, 8),
        Some("0b") => (text.get(2..)?, 2),
        _ => (text, 10),
    };
    i128::from_str_radix(digits, radix).ok()
}

macro_rules! integers {
    ($($method:ident $visit:ident $type:ty;)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            visitor.$visit(self.integer::<$type>(&format!("from {} to {}", <$type>::MIN, <$type>::MAX))?)
        })*
    };
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::Text(text) => visitor.visit_str(text),
            Value::Datetime(text) => visitor.visit_str(text),
            Value::Integer(_) => visitor.visit_i64(self.integer::<i64>("that fits 64 bits")?),
            Value::Float(text) => visitor.visit_f64(text.parse().map_err(ReadError::custom)?),
            Value::Boolean(flag) => visitor.visit_bool(*flag),
            Value::Array(items) => self.list(items, visitor),
            Value::Table(table) => self.map(table, visitor),
        }
    }

    integers! {
        deserialize_i8 visit_i8 i8;
        deserialize_i16 visit_i16 i16;
        deserialize_i32 visit_i32 i32;
        deserialize_i64 visit_i64 i64;
        deserialize_u8 visit_u8 u8;
        deserialize_u16 visit_u16 u16;
        deserialize_u32 visit_u32 u32;
        deserialize_u64 visit_u64 u64;
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.node.value {
            Value::Boolean(flag) => visitor.visit_bool(flag),
            _ => Err(ReadError::wrong("must be true or false")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::Text(text) => visitor.visit_str(text),
            _ => Err(ReadError::wrong("must be a text in quotes")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_some(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::Array(items) => self.list(items, visitor),
            Value::Table(_) => Err(ReadError::wrong("must be a list: write [[...]] in place of [...]")),
            _ => Err(ReadError::wrong("must be a list in [ ]")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::Table(table) => self.map(table, visitor),
            Value::Array(_) => Err(ReadError::wrong("must be one table, not a list: write [...] in place of [[...]]")),
            _ => Err(ReadError::wrong("must be a table: `{ key = value }`")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        if name == AT { visitor.visit_map(AtReader { reader: self, field: 0 }) } else { self.deserialize_map(visitor) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, ReadError> {
        if name != SCALAR_TEXT {
            return visitor.visit_newtype_struct(self);
        }
        match &self.node.value {
            Value::Text(text) | Value::Integer(text) | Value::Float(text) => visitor.visit_str(text),
            _ => Err(ReadError::wrong("must be a number, or its text in quotes")),
        }
    }

    /// From a text: the variant of that name. From a table: the variant that its `driver` names, or without one that its
    /// only key names.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::Text(text) => visitor.visit_enum(text.as_str().into_deserializer()),
            Value::Table(table) => {
                let tag = table.entries.iter().enumerate().find(|(_, entry)| entry.key == TAG);
                if let (None, [only]) = (tag, table.entries.as_slice())
                    && variants.contains(&only.key.as_str())
                {
                    return visitor.visit_enum(TagReader { reader: self.child(&only.node), name: &only.key, index: 0, inside: true });
                }
                let (index, entry) = tag.ok_or_else(|| ReadError::missing_field(TAG))?;
                let name = entry.node.text().ok_or_else(|| ReadError::wrong("must be a text in quotes").under(index))?;
                visitor.visit_enum(TagReader { reader: Self { skip: Some(TAG), ..self }, name, index, inside: false })
            }
            _ => Err(ReadError::wrong("must be a text in quotes")),
        }
    }

    serde::forward_to_deserialize_any! {
        i128 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

/// Keys and values of a table.
struct TableReader<'a> {
    reader: Reader<'a>,
    entries: std::vec::IntoIter<(usize, &'a Entry)>,
    value: Option<(usize, &'a Entry)>,
}

impl<'de> MapAccess<'de> for TableReader<'_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        let Some((index, entry)) = self.entries.next() else { return Ok(None) };
        self.value = Some((index, entry));
        let key: value::StrDeserializer<'_, ReadError> = entry.key.as_str().into_deserializer();
        seed.deserialize(key).map(Some).map_err(|error| error.under(index))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let (index, entry) = self.value.take().ok_or_else(|| ReadError::wrong("value asked for before its key"))?;
        seed.deserialize(self.reader.child(&entry.node)).map_err(|error| error.under(index))
    }
}

/// Elements of a list.
struct ListReader<'a> {
    reader: Reader<'a>,
    items: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
}

impl<'de> SeqAccess<'de> for ListReader<'_> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadError> {
        let Some((index, node)) = self.items.next() else { return Ok(None) };
        seed.deserialize(self.reader.child(node)).map(Some).map_err(|error| error.under(index))
    }
}

/// The fields of an `At`, in order of `AT_FIELDS`.
struct AtReader<'a> {
    reader: Reader<'a>,
    field: u8,
}

impl<'de> MapAccess<'de> for AtReader<'_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        let Some(name) = super::place::AT_FIELDS.get(usize::from(self.field)) else { return Ok(None) };
        self.field = self.field.saturating_add(1);
        let key: value::StrDeserializer<'_, ReadError> = (*name).into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let place = Place::new(self.reader.source, &self.reader.node.span);
        match self.field {
            1 => seed.deserialize(place.source.into_deserializer()),
            2 => seed.deserialize(place.start.into_deserializer()),
            3 => seed.deserialize(place.end.into_deserializer()),
            4 => {
                let cut = match &self.reader.node.value {
                    Value::Table(table) => table.cut.as_slice(),
                    _ => &[],
                };
                seed.deserialize(value::SeqDeserializer::new(cut.iter().map(String::as_str)))
            }
            _ => seed.deserialize(self.reader),
        }
    }
}

/// A table whose `driver`, or whose only key, chose the variant.
struct TagReader<'a> {
    reader: Reader<'a>,
    name: &'a str,
    index: usize,
    /// Whether what is read is the value of the key that chose.
    inside: bool,
}

impl<'de> EnumAccess<'de> for TagReader<'_> {
    type Error = ReadError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), ReadError> {
        let name: value::StrDeserializer<'_, ReadError> = self.name.into_deserializer();
        let variant = seed.deserialize(name).map_err(|error| error.under(self.index))?;
        Ok((variant, self))
    }
}

impl<'de> VariantAccess<'de> for TagReader<'_> {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, ReadError> {
        let (inside, index) = (self.inside, self.index);
        seed.deserialize(self.reader).map_err(|error| if inside { error.under(index) } else { error })
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, ReadError> {
        Err(ReadError::wrong("cannot be written as a list"))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, ReadError> {
        self.reader.deserialize_map(visitor)
    }
}
