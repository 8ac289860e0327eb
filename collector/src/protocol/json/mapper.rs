//! Walks a payload once along a trie of the wanted paths and turns what it finds into readings.
//!
//! Only the wanted values are looked at; the rest is checked for syntax and skipped. The text of each wanted value is noted
//! as a range of the payload and read when its record ends, so of a key that comes twice the last one counts, whatever the
//! first one held. A payload is taken or rejected as a whole: after an error none of its readings are kept.

use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize as _, Deserializer};
use serde_json::value::RawValue;
use thiserror::Error;

use super::number::number;
use super::time::TimeReader;
use super::{PathStep, RecordMap, ValuePath};
use crate::model::{PointId, Reading, UtcMillis};

/// Most bytes of a payload's text that an error message repeats.
const EXCERPT_BYTES: usize = 60;

/// A [`RecordMap`] with its values, compiled. One per topic filter; not shared between threads, since it keeps its buffers.
#[derive(Clone, Debug)]
pub struct Mapper {
    nodes: Vec<Node>,
    /// Where the walk starts, and whether records are looked for below or the payload is the record.
    start: Start,
    values: Vec<(usize, PointId)>,
    time: Option<Time>,
    /// Path of each slot, for messages.
    paths: Vec<String>,
    /// The text found for each path, as a range of the payload.
    slots: Vec<Slot>,
}

type Slot = Option<(u32, u32)>;

#[derive(Clone, Debug)]
enum Start {
    /// The payload is the record, or an array of records.
    Record(usize),
    /// The payload holds an array of records somewhere below this node.
    Payload(usize),
}

#[derive(Clone, Debug)]
struct Time {
    slot: usize,
    in_payload: bool,
    reader: TimeReader,
}

/// What is wanted of one place in the payload.
#[derive(Clone, Debug, Default)]
struct Node {
    /// Members, sorted by [`order`] of their keys.
    keys: Vec<(String, usize)>,
    /// Elements, sorted by index.
    indexes: Vec<(usize, usize)>,
    /// The value itself is wanted.
    slot: Option<usize>,
    /// The value is an array of records, each described by this node.
    records: Option<usize>,
    /// Slots of this node and all below it.
    below: Range<usize>,
    /// This node or one below it is the array of records.
    records_below: bool,
}

/// Why a mapping cannot be compiled.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum BuildError {
    /// The zone of a local time is not in the time-zone database.
    #[error("unknown time zone `{zone}`: {error}")]
    Zone {
        /// As written.
        zone: String,
        /// What the database says.
        error: String,
    },
    /// The time of the payload is looked for inside its records.
    #[error("the payload's time `{0}` lies inside its records; give it relative to the record")]
    TimeInRecords(String),
}

/// Why a payload was rejected.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum MapError {
    /// Bytes that are no text.
    #[error("not UTF-8 at byte {offset}; have the device send UTF-8 (is it GBK?)")]
    NotUtf8 {
        /// Of the first wrong byte.
        offset: usize,
    },
    /// No JSON.
    #[error("not JSON at byte {offset} (line {line}, column {column}): {message}; near `{near}`")]
    Syntax {
        /// From the start of the payload.
        offset: usize,
        /// From 1.
        line: usize,
        /// In bytes, from 1.
        column: usize,
        /// What the parser says.
        message: String,
        /// The text there.
        near: String,
    },
    /// None of the wanted values are there.
    #[error("none of the mapped values is in the payload (looked for {wanted}); compare the device's paths with the payload")]
    NoValue {
        /// The first few paths.
        wanted: String,
    },
    /// A wanted value is no number.
    #[error("`{path}` at byte {offset} is no number: {text}; map it elsewhere or mend the device")]
    NotANumber {
        /// Where it was looked for, within its record.
        path: String,
        /// From the start of the payload.
        offset: usize,
        /// As it stands in the payload.
        text: String,
    },
    /// The time is not of the declared format.
    #[error("time `{path}` at byte {offset} is {text}, but {expected} is declared")]
    BadTime {
        /// Where it was looked for.
        path: String,
        /// From the start of the payload.
        offset: usize,
        /// As it stands in the payload.
        text: String,
        /// The declared format.
        expected: String,
    },
    /// A record has values, but no time, though one is declared.
    #[error("time `{path}` is missing; declare no time to use the time of arrival")]
    NoTime {
        /// Where it was looked for.
        path: String,
    },
}

impl MapError {
    /// The class of the reason, for the metric.
    pub fn class(&self) -> &'static str {
        match self {
            Self::NotUtf8 { .. } | Self::Syntax { .. } => "syntax",
            Self::NoValue { .. } => "path",
            Self::NotANumber { .. } => "type",
            Self::BadTime { .. } | Self::NoTime { .. } => "timestamp",
        }
    }
}

/// What a payload held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// Readings added.
    pub readings: usize,
    /// They carry a time of their own.
    pub timed: bool,
}

impl Mapper {
    /// Compiles a mapping. Without `records` the payload is the record, so a time "in the payload" is the record's; and an
    /// array as payload is an array of records, unless a path starts with an index: then it is the record itself. Several
    /// points may share a path.
    pub fn new(records: &RecordMap, values: &[(ValuePath, PointId)]) -> Result<Self, BuildError> {
        let mut builder = Builder::default();
        let record = builder.node();
        let mut slotted = Vec::with_capacity(values.len());
        for (path, point) in values {
            slotted.push((builder.slot(record, path), *point));
        }
        let mut time = None;
        let start = match &records.records {
            None => {
                if let Some(wanted) = &records.time {
                    let slot = builder.slot(record, &wanted.path);
                    time = Some(Time { slot, in_payload: false, reader: TimeReader::new(&wanted.format)? });
                }
                Start::Record(record)
            }
            Some(path) => {
                let payload = builder.node();
                let array = builder.descend(payload, &path.steps);
                if let Some(node) = builder.nodes.get_mut(array) {
                    node.records = Some(record);
                }
                if let Some(wanted) = &records.time {
                    if wanted.in_payload && wanted.path.steps.starts_with(&path.steps) {
                        return Err(BuildError::TimeInRecords(wanted.path.to_string()));
                    }
                    let slot = builder.slot(if wanted.in_payload { payload } else { record }, &wanted.path);
                    time = Some(Time { slot, in_payload: wanted.in_payload, reader: TimeReader::new(&wanted.format)? });
                }
                Start::Payload(payload)
            }
        };
        let slots = vec![None; builder.paths.len()];
        let order = builder.number();
        let renumber = |slot: usize| order.get(slot).copied().unwrap_or(slot);
        let mut paths = vec![String::new(); builder.paths.len()];
        for (slot, path) in builder.paths.into_iter().enumerate() {
            if let Some(place) = paths.get_mut(renumber(slot)) {
                *place = path;
            }
        }
        for (slot, _) in &mut slotted {
            *slot = renumber(*slot);
        }
        if let Some(time) = &mut time {
            time.slot = renumber(time.slot);
        }
        Ok(Self { nodes: builder.nodes, start, values: slotted, time, paths, slots })
    }

    /// Whether readings get a time from the payload; if not, theirs is the time of arrival.
    pub fn is_timed(&self) -> bool {
        self.time.is_some()
    }

    /// Adds the readings of one payload to `out`, in the order of records and, within one, of the mapping. A point that is
    /// absent is left out, since another message may carry it. After an error `out` is as it was.
    pub fn map(&mut self, payload: &[u8], out: &mut Vec<Reading>) -> Result<Mapped, MapError> {
        let text = std::str::from_utf8(payload).map_err(|error| MapError::NotUtf8 { offset: error.valid_up_to() })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let first = out.len();
        self.slots.fill(None);
        let mut walk = Walk {
            nodes: &self.nodes,
            values: &self.values,
            time: self.time.as_ref(),
            paths: &self.paths,
            slots: &mut self.slots,
            text,
            first,
            out,
            failure: None,
        };
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let walked = match self.start {
            Start::Payload(root) => At { walk: &mut walk, node: root }.deserialize(&mut deserializer),
            Start::Record(root) => {
                let is_array = text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('[');
                let is_record = self.nodes.get(root).is_some_and(|node| !node.indexes.is_empty() || node.slot.is_some());
                if is_array && !is_record {
                    deserializer.deserialize_any(Records { walk: &mut walk, record: root })
                } else {
                    walk.record(root, |at| at.deserialize(&mut deserializer))
                }
            }
        };
        let result = walked.and_then(|()| deserializer.end()).map_err(|error| match walk.failure.take() {
            Some(failure) => failure,
            None => syntax_error(text, &error),
        });
        let result = result.and_then(|()| walk.finish());
        if result.is_err() {
            out.truncate(first);
        }
        result
    }
}

/// Collects the trie; slots are numbered depth first at the end, so that those below a node are a range.
#[derive(Default)]
struct Builder {
    nodes: Vec<Node>,
    paths: Vec<String>,
}

impl Builder {
    fn node(&mut self) -> usize {
        self.nodes.push(Node::default());
        self.nodes.len().saturating_sub(1)
    }

    fn descend(&mut self, from: usize, steps: &[PathStep]) -> usize {
        let mut at = from;
        for step in steps {
            let next = self.nodes.len();
            let Some(node) = self.nodes.get_mut(at) else { return at };
            let found = match step {
                PathStep::Key(key) => match node.keys.binary_search_by(|(known, _)| order(known, key)) {
                    Ok(place) => node.keys.get(place).map(|(_, child)| *child),
                    Err(place) => {
                        node.keys.insert(place, (key.clone(), next));
                        None
                    }
                },
                PathStep::Index(index) => match node.indexes.binary_search_by_key(index, |(known, _)| *known) {
                    Ok(place) => node.indexes.get(place).map(|(_, child)| *child),
                    Err(place) => {
                        node.indexes.insert(place, (*index, next));
                        None
                    }
                },
            };
            at = found.unwrap_or_else(|| self.node());
        }
        at
    }

    fn slot(&mut self, root: usize, path: &ValuePath) -> usize {
        let at = self.descend(root, &path.steps);
        let next = self.paths.len();
        match self.nodes.get_mut(at) {
            Some(node) if node.slot.is_none() => {
                node.slot = Some(next);
                self.paths.push(path.to_string());
                next
            }
            Some(Node { slot: Some(slot), .. }) => *slot,
            _ => next,
        }
    }

    /// Gives every slot its final number; returns it by the first one.
    fn number(&mut self) -> Vec<usize> {
        let mut order = vec![usize::MAX; self.paths.len()];
        let mut next = 0;
        // Children are made after their parents, so the roots are the nodes nobody points at.
        let mut is_child = vec![false; self.nodes.len()];
        for node in &self.nodes {
            for child in node.keys.iter().map(|(_, child)| *child).chain(node.indexes.iter().map(|(_, child)| *child)) {
                if let Some(flag) = is_child.get_mut(child) {
                    *flag = true;
                }
            }
        }
        for (node, is_child) in is_child.into_iter().enumerate() {
            if !is_child {
                self.number_below(node, &mut next, &mut order);
            }
        }
        order
    }

    fn number_below(&mut self, at: usize, next: &mut usize, order: &mut [usize]) -> bool {
        let first = *next;
        let Some(node) = self.nodes.get_mut(at) else { return false };
        let mut records_below = node.records.is_some();
        if let Some(slot) = &mut node.slot {
            if let Some(place) = order.get_mut(*slot) {
                *place = *next;
            }
            *slot = *next;
            *next = next.saturating_add(1);
        }
        let children: Vec<usize> = node.keys.iter().map(|(_, child)| *child).chain(node.indexes.iter().map(|(_, child)| *child)).collect();
        for child in children {
            records_below |= self.number_below(child, next, order);
        }
        if let Some(node) = self.nodes.get_mut(at) {
            node.below = first..*next;
            node.records_below = records_below;
        }
        records_below
    }
}

/// One payload on its way through the trie.
struct Walk<'m> {
    nodes: &'m [Node],
    values: &'m [(usize, PointId)],
    time: Option<&'m Time>,
    paths: &'m [String],
    slots: &'m mut [Slot],
    text: &'m str,
    /// Where in `out` this payload's readings start.
    first: usize,
    out: &'m mut Vec<Reading>,
    failure: Option<MapError>,
}

impl<'m> Walk<'m> {
    /// Walks one record by `visit` and adds its readings.
    fn record<E: serde::de::Error>(&mut self, root: usize, visit: impl FnOnce(At<'_, 'm>) -> Result<(), E>) -> Result<(), E> {
        self.forget(root);
        visit(At { walk: self, node: root })?;
        self.add_readings().map_err(|failure| {
            self.failure = Some(failure);
            E::custom("rejected")
        })
    }

    /// Forgets what was found below a node: it comes once more.
    fn forget(&mut self, node: usize) {
        let Some(node) = self.nodes.get(node) else { return };
        if let Some(below) = self.slots.get_mut(node.below.clone()) {
            below.fill(None);
        }
        if node.records_below {
            self.out.truncate(self.first);
        }
    }

    fn note(&mut self, slot: usize, value: &str) {
        let start = value.as_ptr().addr().wrapping_sub(self.text.as_ptr().addr());
        let end = start.saturating_add(value.len());
        if let (Some(place), Ok(start), Ok(end)) = (self.slots.get_mut(slot), u32::try_from(start), u32::try_from(end)) {
            *place = Some((start, end));
        }
    }

    fn found(&self, slot: usize) -> Option<(usize, &'m str)> {
        let (start, end) = self.slots.get(slot).copied().flatten()?;
        let (start, end) = (usize::try_from(start).ok()?, usize::try_from(end).ok()?);
        Some((start, self.text.get(start..end)?))
    }

    fn path(&self, slot: usize) -> String {
        self.paths.get(slot).cloned().unwrap_or_default()
    }

    fn add_readings(&mut self) -> Result<(), MapError> {
        let first = self.out.len();
        for &(slot, point) in self.values {
            let Some((offset, text)) = self.found(slot) else { continue };
            let Some(number) = number(text) else {
                return Err(MapError::NotANumber { path: self.path(slot), offset, text: excerpt(text, 0) });
            };
            self.out.push(Reading { point, number, source_time: None });
        }
        match self.time {
            Some(time) if !time.in_payload && self.out.len() > first => self.stamp(time, first),
            _ => Ok(()),
        }
    }

    /// Gives the readings from `first` on the time that was found.
    fn stamp(&mut self, time: &Time, first: usize) -> Result<(), MapError> {
        let Some((offset, text)) = self.found(time.slot) else { return Err(MapError::NoTime { path: self.path(time.slot) }) };
        let stamp: Option<UtcMillis> = time.reader.read(text);
        if stamp.is_none() {
            let expected = time.reader.expected();
            return Err(MapError::BadTime { path: self.path(time.slot), offset, text: excerpt(text, 0), expected });
        }
        for reading in self.out.iter_mut().skip(first) {
            reading.source_time = stamp;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<Mapped, MapError> {
        let readings = self.out.len().saturating_sub(self.first);
        if readings == 0 {
            const SHOWN: usize = 5;
            let mut wanted: Vec<String> = self.values.iter().take(SHOWN).map(|(slot, _)| format!("`{}`", self.path(*slot))).collect();
            if self.values.len() > SHOWN {
                wanted.push("...".to_owned());
            }
            return Err(MapError::NoValue { wanted: wanted.join(", ") });
        }
        if let Some(time) = self.time.filter(|time| time.in_payload) {
            self.stamp(time, self.first)?;
        }
        Ok(Mapped { readings, timed: self.time.is_some() })
    }
}

/// The value at one node.
struct At<'w, 'm> {
    walk: &'w mut Walk<'m>,
    node: usize,
}

impl<'de> DeserializeSeed<'de> for At<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let nodes = self.walk.nodes;
        let Some(node) = nodes.get(self.node) else { return IgnoredAny::deserialize(deserializer).map(drop) };
        if let Some(record) = node.records {
            return deserializer.deserialize_any(Records { walk: self.walk, record });
        }
        let Some(slot) = node.slot else { return deserializer.deserialize_any(Members { walk: self.walk, node }) };
        let value = <&RawValue>::deserialize(deserializer)?.get();
        let has_members = !node.keys.is_empty() || !node.indexes.is_empty();
        if has_members && value.starts_with(['{', '[']) {
            // Wanted as a value by one path, as a container by another: rare, so it is walked a second time.
            let mut inner = serde_json::Deserializer::from_str(value);
            return inner.deserialize_any(Members { walk: self.walk, node }).map_err(D::Error::custom);
        }
        self.walk.note(slot, value);
        Ok(())
    }
}

/// Members or elements of a container; a plain value holds nothing that is wanted.
struct Members<'w, 'm> {
    walk: &'w mut Walk<'m>,
    node: &'m Node,
}

macro_rules! plain_values_hold_nothing {
    () => {
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a JSON value")
        }
        fn visit_bool<E>(self, _: bool) -> Result<(), E> {
            Ok(())
        }
        fn visit_i64<E>(self, _: i64) -> Result<(), E> {
            Ok(())
        }
        fn visit_u64<E>(self, _: u64) -> Result<(), E> {
            Ok(())
        }
        fn visit_f64<E>(self, _: f64) -> Result<(), E> {
            Ok(())
        }
        fn visit_str<E>(self, _: &str) -> Result<(), E> {
            Ok(())
        }
        fn visit_unit<E>(self) -> Result<(), E> {
            Ok(())
        }
    };
}

impl<'de> Visitor<'de> for Members<'_, '_> {
    type Value = ();
    plain_values_hold_nothing!();

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(child) = map.next_key_seed(Key(&self.node.keys))? {
            match child {
                Some(child) => {
                    self.walk.forget(child);
                    map.next_value_seed(At { walk: self.walk, node: child })?;
                }
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut position = 0usize;
        for &(index, child) in &self.node.indexes {
            while position < index {
                if seq.next_element::<IgnoredAny>()?.is_none() {
                    return Ok(());
                }
                position = position.saturating_add(1);
            }
            if seq.next_element_seed(At { walk: self.walk, node: child })?.is_none() {
                return Ok(());
            }
            position = position.saturating_add(1);
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

/// An array of records; an object in its place counts as the only record.
struct Records<'w, 'm> {
    walk: &'w mut Walk<'m>,
    record: usize,
}

impl<'de> Visitor<'de> for Records<'_, '_> {
    type Value = ();
    plain_values_hold_nothing!();

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let nodes = self.walk.nodes;
        let Some(node) = nodes.get(self.record) else { return Ok(()) };
        self.walk.record(self.record, |at| Members { walk: at.walk, node }.visit_map(map))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut more = true;
        while more {
            self.walk.record(self.record, |at| {
                more = seq.next_element_seed(at)?.is_some();
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// Which child a key leads to.
struct Key<'n>(&'n [(String, usize)]);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Option<usize>, E> {
        let place = self.0.binary_search_by(|(known, _)| order(known, key)).ok();
        Ok(place.and_then(|place| self.0.get(place)).map(|(_, child)| *child))
    }
}

/// Order of keys: by length first, which tells most of them apart at once.
fn order(a: &str, b: &str) -> std::cmp::Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

fn syntax_error(text: &str, error: &serde_json::Error) -> MapError {
    let (line, column) = (error.line(), error.column());
    let before: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let offset = before.saturating_add(column.saturating_sub(1)).min(text.len());
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default().to_owned();
    MapError::Syntax { offset, line, column, message, near: excerpt(text, offset.saturating_sub(EXCERPT_BYTES / 3)) }
}

/// A piece of `text` from about `from` on, cut at character boundaries.
pub(in crate::protocol) fn excerpt(text: &str, from: usize) -> String {
    let boundary = |at: usize| (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    let (start, end) = (boundary(from), boundary(from.saturating_add(EXCERPT_BYTES)));
    let piece = text.get(start..end).unwrap_or_default();
    format!("{piece}{}", if end < text.len() { "..." } else { "" })
}
