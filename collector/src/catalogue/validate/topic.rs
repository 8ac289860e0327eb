//! Topics of MQTT: filters with named levels, what their payload looks like, where a point's value is in it.

use std::collections::{BTreeMap, HashMap};

use super::super::place::{At, Place};
use super::super::problem::Problems;
use super::super::raw::{RawPayload, RawPoint, RawTimeFormat, RawTopic};
use super::super::read::suggestion;
use super::super::spec::{Park, Payload, TopicMap};
use super::super::text::{series_part, topic_filter, value_path};
use super::zone;
use crate::protocol::json::{PathStep, RecordMap, TimeFormat, TimePath, ValuePath};
use crate::protocol::text::TextMap;

/// The level that stands for the ids of a device's points.
pub(super) const POINT: &str = "{point}";
/// What a subscription begins with that several clients share (MQTT 5, 4.8.2).
const SHARE: &str = "$share/";
/// Longest template of a link's `discover`, in levels.
const LEVELS_MAX: usize = 32;

/// What named levels of a filter stand for.
pub(super) struct Levels<'a> {
    /// `{park}`, `{enterprise}` and `{device}`.
    pub ids: [(&'static str, &'a str); 3],
    /// Labels of the device; `None` in a profile, where they are not known.
    pub labels: Option<&'a BTreeMap<String, At<String>>>,
    /// The device is marked `raw_forward`.
    pub raw_forward: bool,
}

/// The topics of a device, one for each that is written; values are filled in when points have their numbers. In the filter
/// of one with a level [`POINT`] that level is left as it is.
pub(super) fn topics(raw: &[At<RawTopic>], levels: &Levels<'_>, park: &Park, problems: &mut Problems) -> Vec<TopicMap> {
    let mut seen = HashMap::new();
    let several = raw.len() > 1;
    raw.iter()
        .map(|topic| {
            match &topic.id {
                Some(id) => {
                    super::check_unique("topic", id, &mut seen, problems);
                }
                None if several => {
                    problems.add(topic.filter.place, "a device with several topics needs an `id` for each", "add id = \"...\"")
                }
                None => {}
            }
            let named = named(&topic.filter, levels, problems);
            let filter = match shared(&named) {
                None => named.clone(),
                Some(rest) => {
                    check_shared(&topic.filter, rest, levels.raw_forward, problems);
                    rest.unwrap_or("one").to_owned()
                }
            };
            let subscription = named.replace(POINT, "+");
            if let Err(message) = topic_filter(&filter.replace(POINT, "+")) {
                problems.add(topic.filter.place, message, "MQTT 3.1.1, 4.7.1");
            }
            TopicMap { filter, subscription, qos: topic.qos.unwrap_or(1), payload: payload(topic, park, problems), values: Vec::new() }
        })
        .collect()
}

/// Puts in what the named levels of a filter stand for, all but [`POINT`].
fn named(text: &At<String>, levels: &Levels<'_>, problems: &mut Problems) -> String {
    let mut filter = levels.ids.iter().fold(text.value.clone(), |filter, (name, id)| filter.replace(name, id));
    if filter.matches(POINT).count() > 1 || (filter.contains(POINT) && !filter.split('/').any(|level| level == POINT)) {
        problems.add(text.place, "`{point}` must be a level of its own, once", "for example \"park/{device}/{point}\"");
    }
    let mut from = 0;
    // Each round puts in one name or passes over one brace.
    while let Some(start) = filter.get(from..).and_then(|rest| rest.find('{')).map(|at| at.saturating_add(from)) {
        let name = filter.get(start.saturating_add(1)..).and_then(|rest| rest.split_once('}')).map(|(name, _)| name.to_owned());
        from = start.saturating_add(1);
        let Some(name) = name.filter(|name| name != "point") else { continue };
        let value = match levels.labels {
            None if series_part(&name).is_ok() => "label",
            Some(labels) if labels.contains_key(&name) => labels.get(&name).map_or("", |label| label.value.as_str()),
            _ => {
                let known: Vec<&str> = ["park", "enterprise", "device", "point"]
                    .into_iter()
                    .chain(levels.labels.into_iter().flat_map(|labels| labels.keys().map(String::as_str)))
                    .collect();
                let help = format!("{}; any other name is a label of the device: add labels = {{ {name} = \"...\" }}", known.join(", "));
                problems.add(text.place, format!("`{{{name}}}` stands for nothing here"), format!("there are {help}"));
                continue;
            }
        };
        if value.is_empty() || value.contains(['/', '+', '#', '{', '\0']) {
            problems.add(text.place, format!("label `{name}` = \"{value}\" cannot be a level of a topic"), "a level has no / + # {");
            continue;
        }
        filter = filter.replace(&format!("{{{name}}}"), value);
        from = start;
    }
    filter
}

/// What follows `$share/group/`; `Some(None)` when that is not whole, `None` when the subscription is not shared.
fn shared(filter: &str) -> Option<Option<&str>> {
    let rest = filter.strip_prefix(SHARE)?;
    Some(
        rest.split_once('/')
            .filter(|(group, rest)| !group.is_empty() && !group.contains(['+', '#']) && !rest.is_empty())
            .map(|(_, rest)| rest),
    )
}

fn check_shared(text: &At<String>, rest: Option<&str>, raw_forward: bool, problems: &mut Problems) {
    if rest.is_none() {
        problems.add(text.place, "a shared subscription is `$share/GROUP/FILTER`", "MQTT 5, 4.8.2");
    }
    if !raw_forward {
        let message = "a shared subscription gives this gateway only some of the device's messages, so its totals would be wrong";
        let help = "subscribe without $share/, so that one gateway owns the device; or set raw_forward = true: recorded, forwarded, never totalled";
        problems.add(text.place, message, help);
    }
}

/// Checks a template of a link's `discover`: named levels stand alone.
pub(super) fn discover(text: &At<String>, park_id: &str, problems: &mut Problems) -> String {
    let template = text.value.replace("{park}", park_id);
    let is_named =
        |level: &str| level.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).is_some_and(|name| series_part(name).is_ok());
    let filter = template.split('/').map(|level| if is_named(level) { "+" } else { level }).collect::<Vec<_>>().join("/");
    if filter.contains(['{', '}']) {
        problems.add(text.place, "a named level stands alone between two /", "for example \"park/{enterprise}/{device}/#\"");
    } else if let Err(message) = topic_filter(&filter) {
        problems.add(text.place, message, "MQTT 3.1.1, 4.7.1");
    }
    if template.starts_with('$') {
        problems.add(text.place, "topics that begin with $ are the broker's own, or shared", "name the topics of the meters");
    }
    if template.split('/').count() > LEVELS_MAX {
        problems.add(text.place, format!("more than {LEVELS_MAX} levels"), "end it with #");
    }
    template
}

fn payload(topic: &RawTopic, park: &Park, problems: &mut Problems) -> Payload {
    let kind = topic.payload.as_ref().map_or(RawPayload::Json, |at| at.value);
    let (json, number, csv) = (kind == RawPayload::Json, kind == RawPayload::Number, kind == RawPayload::Csv);
    let place = |at: &Option<At<String>>| at.as_ref().map(|at| at.place);
    for (key, place, is_allowed, only) in [
        ("records", place(&topic.records), json, "json"),
        ("time", place(&topic.time), json, "json"),
        ("time_in_payload", topic.time_in_payload.as_ref().map(|at| at.place), json, "json"),
        ("separator", place(&topic.separator), csv, "csv"),
        ("time_column", topic.time_column.as_ref().map(|at| at.place), csv, "csv"),
        ("decimal_sign", place(&topic.decimal_sign), csv || number, "csv\" or \"number"),
    ] {
        if let (Some(place), false) = (place, is_allowed) {
            problems.add(place, format!("`{key}` is only for payload = \"{only}\""), "remove it, or change `payload`");
        }
    }
    if json {
        let records = topic.records.as_ref().and_then(|text| path(text, problems));
        let format = time_format(topic, topic.time.as_ref().map(|time| time.place), "time = \"...\", the path to the time", park, problems);
        let in_payload = topic.time_in_payload.as_ref().is_some_and(|flag| flag.value);
        let time = topic.time.as_ref().and_then(|text| Some(TimePath { path: path(text, problems)?, in_payload, format: format? }));
        return Payload::Json(RecordMap { records, time });
    }
    let column = topic.time_column.as_ref().filter(|_| csv);
    let what = if csv { "time_column = 1" } else { "payload = \"csv\" with a `time_column`" };
    let format = time_format(topic, column.map(|column| column.place), what, park, problems);
    let time = column.and_then(|column| Some((from_one(column, problems)?, format?)));
    Payload::Text(TextMap { separator: csv.then(|| separator(topic, problems)), decimal_comma: decimal_comma(topic, problems), time })
}

fn separator(topic: &RawTopic, problems: &mut Problems) -> u8 {
    let Some(text) = &topic.separator else { return b',' };
    match text.as_bytes() {
        [byte] if byte.is_ascii() && !byte.is_ascii_alphanumeric() && !matches!(byte, b'.' | b'-' | b'+' | b'"' | b'\n' | b'\r') => {
            if *byte == b',' && topic.decimal_sign.as_ref().is_some_and(|sign| sign.value == ",") {
                problems.add(text.place, "separator and decimal sign are both a comma", "");
            }
            *byte
        }
        _ => {
            problems.add(text.place, "must be one character that is in no number", "for example \",\", \";\" or \"\\t\"");
            b','
        }
    }
}

fn decimal_comma(topic: &RawTopic, problems: &mut Problems) -> bool {
    let Some(text) = &topic.decimal_sign else { return false };
    if topic.payload.as_ref().is_some_and(|kind| kind.value == RawPayload::Csv) && topic.separator.is_none() && text.value == "," {
        problems.add(text.place, "the columns are separated by a comma, too", "add separator = \";\" or what the device sends");
    }
    if !matches!(text.value.as_str(), "." | ",") {
        problems.add(text.place, "must be \".\" or \",\"", "");
    }
    text.value == ","
}

/// A column from 0, of one that is counted from 1.
fn from_one(column: &At<u16>, problems: &mut Problems) -> Option<usize> {
    let from_zero = column.value.checked_sub(1);
    if from_zero.is_none() {
        problems.add(column.place, "columns are counted from 1", "");
    }
    from_zero.map(usize::from)
}

fn path(text: &At<String>, problems: &mut Problems) -> Option<ValuePath> {
    value_path(text).map_err(|message| problems.add(text.place, message, "")).ok()
}

/// How the time is written that stands at `time`; keys about a time that is not there are noted with `what` to add.
fn time_format(topic: &RawTopic, time: Option<Place>, what: &str, park: &Park, problems: &mut Problems) -> Option<TimeFormat> {
    let format = topic.time_format.as_ref().map_or(RawTimeFormat::EpochMs, |format| format.value);
    if format != RawTimeFormat::Local {
        for (key, place) in [
            ("time_pattern", topic.time_pattern.as_ref().map(|text| text.place)),
            ("time_zone", topic.time_zone.as_ref().map(|text| text.place)),
        ] {
            if let Some(place) = place {
                problems.add(place, format!("`{key}` is only for time_format = \"local\""), "remove it, or set the format");
            }
        }
    }
    let Some(place) = time else {
        let stray = topic.time_format.as_ref().map(|at| at.place).or(topic.time_in_payload.as_ref().map(|at| at.place));
        if let Some(place) = stray {
            problems.add(place, "there is no `time` that this is about", format!("add {what}"));
        }
        return None;
    };
    Some(match format {
        RawTimeFormat::EpochS => TimeFormat::EpochSeconds,
        RawTimeFormat::EpochMs => TimeFormat::EpochMillis,
        RawTimeFormat::EpochUs => TimeFormat::EpochMicros,
        RawTimeFormat::EpochNs => TimeFormat::EpochNanos,
        RawTimeFormat::Rfc3339 => TimeFormat::Rfc3339,
        RawTimeFormat::Local => local(topic, place, park, problems)?,
    })
}

fn local(topic: &RawTopic, place: Place, park: &Park, problems: &mut Problems) -> Option<TimeFormat> {
    if let Some(name) = &topic.time_zone {
        zone(name, problems);
    }
    let Some(pattern) = &topic.time_pattern else {
        problems.add(place, "time_format = \"local\" needs a `time_pattern`", "for example time_pattern = \"%Y-%m-%d %H:%M:%S\"");
        return None;
    };
    if let Err(reason) = reads_back(pattern) {
        problems.add(pattern.place, format!("no usable time pattern: {reason}"), "use %Y %m %d %H %M %S and plain text");
        return None;
    }
    let zone = topic.time_zone.as_ref().map_or(&park.time_zone, |zone| &zone.value).clone();
    Some(TimeFormat::Local { pattern: pattern.value.clone(), zone })
}

/// Whether a pattern says all of a date and time, down to the second: what it writes, it must read again.
fn reads_back(pattern: &str) -> Result<(), String> {
    let time = jiff::civil::date(2026, 11, 23).at(6, 15, 42, 0);
    let text = jiff::fmt::strtime::format(pattern, time).map_err(|error| error.to_string())?;
    let read = jiff::fmt::strtime::parse(pattern, &text).and_then(|parts| parts.to_datetime()).map_err(|error| error.to_string())?;
    if read == time { Ok(()) } else { Err(format!("{time} becomes {read}")) }
}

/// The topic (by index) and place of a point's value: a path in JSON, one index in columns, empty in a plain number.
pub(super) fn value(raw: &At<RawPoint>, topics: &[At<RawTopic>], problems: &mut Problems) -> Option<(usize, ValuePath)> {
    if let Some(register) = &raw.register {
        problems.add(register.place, "a point on an MQTT link has no `register`", "give `path`, or put the device on a Modbus link");
    }
    let index = match &raw.topic {
        Some(wanted) => {
            let index = topics.iter().position(|topic| topic.id.as_ref().is_some_and(|id| id.value == wanted.value));
            if index.is_none() {
                let known: Vec<&str> = topics.iter().filter_map(|topic| topic.id.as_ref()).map(|id| id.value.as_str()).collect();
                problems.add(wanted.place, format!("the device has no topic `{}`", wanted.value), suggestion(wanted, &known, "its topics"));
            }
            index
        }
        None if topics.len() > 1 => {
            problems.add(raw.id.place, "the device has several topics: which one?", "add topic = \"...\", the topic's id");
            None
        }
        None => Some(0),
    };
    let topic = index.and_then(|index| topics.get(index));
    let kind = topic.and_then(|topic| topic.payload.as_ref()).map_or(RawPayload::Json, |at| at.value);
    for (key, place, is_allowed) in [
        ("path", raw.path.as_ref().map(|at| at.place), kind == RawPayload::Json),
        ("column", raw.column.as_ref().map(|at| at.place), kind == RawPayload::Csv),
    ] {
        if let (Some(place), false) = (place, is_allowed) {
            let help = "json: `path`; csv: `column`; a plain number needs neither";
            problems.add(place, format!("`{key}` does not go with the payload of this topic"), help);
        }
    }
    let has_level = topic.is_some_and(|topic| topic.filter.contains(POINT));
    let found = match kind {
        RawPayload::Number => Some(ValuePath { steps: Vec::new() }),
        RawPayload::Csv => match &raw.column {
            Some(column) => from_one(column, problems).map(|column| ValuePath { steps: vec![PathStep::Index(column)] }),
            None => {
                if raw.lacks("column") {
                    problems.add(
                        raw.id.place,
                        format!("point `{}` has no `column` with its value", raw.id.value),
                        "add column = 1, 2, ...",
                    );
                }
                None
            }
        },
        RawPayload::Json => match &raw.path {
            Some(text) => path(text, problems),
            None if has_level => Some(ValuePath { steps: Vec::new() }),
            None => {
                if raw.lacks("path") {
                    let help = "add path = \"...\"; path = \"\" is the payload itself";
                    problems.add(raw.id.place, format!("point `{}` has no `path` to its value", raw.id.value), help);
                }
                None
            }
        },
    };
    Some((index?, found?))
}
