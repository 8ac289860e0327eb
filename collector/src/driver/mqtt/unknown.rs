//! Devices that are heard and not configured: what to listen to for them, and a piece of configuration for each, guessed
//! from its topic and payload. Pure.

use std::fmt::Write as _;

use serde_json::Value;

use super::topics::matches;
use crate::catalogue::quantity::Quantity;
use crate::catalogue::text::{stable_id, value_path};

/// Bytes of a payload that are shown.
const SAMPLE_BYTES: usize = 400;
/// Longest payload that is looked into for keys.
const LOOKED_AT_BYTES: usize = 32 * 1024;
/// Points that a snippet names.
const POINTS_MAX: usize = 40;
/// Deepest nesting that is looked into.
const DEPTH_MAX: usize = 6;
/// Ends of topics that name a kind of message, not a device.
const NO_DEVICE: [&str; 10] = ["telemetry", "data", "state", "status", "up", "event", "events", "values", "value", "json"];
/// Keys that hold a time.
const TIME_KEYS: [&str; 8] = ["ts", "time", "timestamp", "t", "datetime", "date_time", "sample_time", "collect_time"];
/// Short names that meters use, and the quantity they mean most of the time.
const SHORT: [(&str, &str); 12] = [
    ("p", "active_power"),
    ("power", "active_power"),
    ("q", "reactive_power"),
    ("s", "apparent_power"),
    ("pf", "power_factor"),
    ("f", "frequency"),
    ("freq", "frequency"),
    ("ua", "voltage_a"),
    ("ia", "current_a"),
    ("energy", "energy_import"),
    ("kwh", "energy_import"),
    ("ep", "energy_import"),
];

/// The topics that a link listens to for unknown devices.
#[derive(Clone, Debug, Default)]
pub struct Discover {
    /// As written, with named levels, and the filter that is subscribed.
    templates: Vec<(String, String)>,
}

impl Discover {
    /// Of the templates in a link's settings.
    pub fn new(templates: &[String]) -> Self {
        let filter = |template: &str| {
            let levels = template.split('/').map(|level| if name_of(level).is_some() { "+" } else { level });
            levels.collect::<Vec<_>>().join("/")
        };
        Self { templates: templates.iter().map(|template| (template.clone(), filter(template))).collect() }
    }

    /// The filters to subscribe.
    pub fn filters(&self) -> impl Iterator<Item = &str> {
        self.templates.iter().map(|(_, filter)| filter.as_str())
    }

    /// Whether a topic is listened to for unknown devices.
    pub fn hears(&self, topic: &str) -> bool {
        self.filters().any(|filter| matches(filter, topic))
    }

    /// The template that a topic fits, with what its named levels hold.
    fn named<'t>(&'t self, topic: &'t str) -> Option<(&'t str, Vec<(&'t str, &'t str)>)> {
        let (template, _) = self.templates.iter().find(|(_, filter)| matches(filter, topic))?;
        let levels = template.split('/').zip(topic.split('/'));
        Some((template, levels.filter_map(|(level, value)| Some((name_of(level)?, value))).collect()))
    }
}

/// The name of a named level, `device` of `{device}`.
fn name_of(level: &str) -> Option<&str> {
    level.strip_prefix('{')?.strip_suffix('}').filter(|name| !name.is_empty())
}

/// The beginning of a payload as text, and a `[[device]]` to be pasted. What cannot be guessed is `choose`, which the check
/// of the configuration refuses until something is chosen.
pub fn describe(link: &str, discover: &Discover, topic: &str, payload: &[u8]) -> (String, String) {
    let shown = payload.get(..SAMPLE_BYTES).unwrap_or(payload);
    let sample = format!("{}{}", String::from_utf8_lossy(shown), if shown.len() < payload.len() { "..." } else { "" });
    (sample, snippet(link, discover, topic, payload))
}

fn snippet(link: &str, discover: &Discover, topic: &str, payload: &[u8]) -> String {
    // A filter means something else by them.
    if topic.contains(['{', '}']) {
        return "# The topic has a brace, which a filter cannot name: let the device use another topic.\n".to_owned();
    }
    let (template, names) = discover.named(topic).unwrap_or_default();
    let named = |wanted: &str| names.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value);
    let device = named("device").or_else(|| topic.rsplit('/').find(|level| !level.is_empty() && !NO_DEVICE.contains(level)));
    let device_is_id = named("device").is_some_and(|device| stable_id(device).is_ok());
    let mut text = format!("[[device]]\nid = {}\nlink = {}\n", quoted(&id_of(device.unwrap_or("device"))), quoted(link));
    if let Some(enterprise) = named("enterprise") {
        let _ = writeln!(text, "enterprise = {}", quoted(enterprise));
    }
    let labels: Vec<_> = names.iter().filter(|(name, _)| !["enterprise", "device", "point"].contains(name)).collect();
    if !labels.is_empty() {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name} = {}", quoted(value))).collect();
        let _ = writeln!(text, "labels = {{ {} }}", labels.join(", "));
    }
    // Levels that are named stay so; the others are as they were heard.
    let mut heard = topic.split('/');
    let mut filter: Vec<&str> = Vec::new();
    for level in template.split('/').filter(|_| !template.is_empty()) {
        match (level, heard.next()) {
            ("{device}", Some(value)) if !device_is_id => filter.push(value),
            (level, Some(_)) if name_of(level).is_some() => filter.push(level),
            (_, Some(value)) => filter.push(value),
            (_, None) => {}
        }
    }
    filter.extend(heard);
    let _ = writeln!(text, "\n[[device.topic]]\nfilter = {}", quoted(&filter.join("/")));
    let point = named("point");
    match payload_kind(payload) {
        Kind::Json(value) => json(&value, point, &mut text),
        Kind::Number => {
            let _ = writeln!(text, "payload = \"number\"");
            self::point(point.unwrap_or("value"), point.unwrap_or("value"), None, "", &mut text);
        }
        Kind::Csv(separator, fields) => {
            let _ = writeln!(text, "payload = \"csv\"\nseparator = {}", quoted(&char::from(separator).to_string()));
            for (column, field) in fields.iter().enumerate().filter(|(_, field)| field.parse::<f64>().is_ok()) {
                let column = column.saturating_add(1);
                self::point(&format!("column_{column}"), "", Some(&format!("column = {column}")), field, &mut text);
            }
        }
        Kind::Other => text.push_str("# The payload is neither JSON nor a number nor columns of numbers.\n"),
    }
    text
}

enum Kind {
    Json(Value),
    Number,
    Csv(u8, Vec<String>),
    Other,
}

fn payload_kind(payload: &[u8]) -> Kind {
    let Some(text) = payload.get(..payload.len().min(LOOKED_AT_BYTES)).and_then(|bytes| std::str::from_utf8(bytes).ok()) else {
        return Kind::Other;
    };
    if text.trim_ascii().parse::<f64>().is_ok() {
        return Kind::Number;
    }
    if let Ok(value) = serde_json::from_str::<Value>(text)
        && (value.is_object() || value.is_array())
    {
        return Kind::Json(value);
    }
    let line = text.lines().find(|line| !line.trim_ascii().is_empty()).unwrap_or_default();
    for separator in [b';', b'\t', b',', b'|'] {
        let fields: Vec<String> = crate::protocol::text::Fields::new(line, separator).take(POINTS_MAX).map(str::to_owned).collect();
        if fields.len() > 1 && fields.iter().any(|field| field.parse::<f64>().is_ok()) {
            return Kind::Csv(separator, fields);
        }
    }
    Kind::Other
}

fn json(value: &Value, point: Option<&str>, text: &mut String) {
    // One record stands for all of an array of them.
    let nested = value.as_object().and_then(|members| members.iter().find(|(_, inner)| first_record(inner).is_some()));
    let (record, records) = match (first_record(value), nested) {
        (Some(record), _) => (record, None),
        (None, Some((key, inner))) => (first_record(inner).unwrap_or(inner), Some(key)),
        (None, None) => (value, None),
    };
    if let Some(key) = records.map(|key| step("", key)) {
        let _ = writeln!(text, "records = {}", quoted(&key));
    }
    let found = |holder: &Value| {
        let members = holder.as_object()?.iter();
        let mut times = members.filter(|(key, _)| TIME_KEYS.contains(&key.to_ascii_lowercase().as_str()));
        times.find_map(|(key, value)| Some((key.clone(), time_format(value)?)))
    };
    let in_payload = records.is_some() && found(record).is_none();
    let time = if in_payload { found(value) } else { found(record) };
    if let Some((key, format)) = &time {
        let _ = writeln!(text, "time = {}\ntime_format = \"{format}\"", quoted(&step("", key)));
        if in_payload {
            text.push_str("time_in_payload = true\n");
        }
    }
    let mut values = Vec::new();
    leaves(record, "", 0, time.as_ref().filter(|_| !in_payload).map(|(key, _)| key.as_str()), &mut values);
    match (point, values.as_slice()) {
        // A topic for each point: the payload has one number, maybe with others about it.
        (Some(point), [.., _]) => {
            if let Some((path, shown)) = values.first() {
                self::point(point, point, Some(&format!("path = {}", quoted(path))), shown, text);
            }
        }
        _ => {
            for (path, shown) in &values {
                let key = path.rsplit(['.', ']', '[', '"']).find(|part| !part.is_empty()).unwrap_or("value");
                self::point(path, key, Some(&format!("path = {}", quoted(path))), shown, text);
            }
        }
    }
    if values.is_empty() {
        text.push_str("# No number was found in the payload.\n");
    }
}

/// The first object of an array of them.
fn first_record(value: &Value) -> Option<&Value> {
    value.as_array()?.first().filter(|first| first.is_object())
}

/// How a time is written, by its size.
fn time_format(value: &Value) -> Option<&'static str> {
    match value {
        Value::Number(number) => {
            let number = number.as_f64()?;
            match number {
                1e8..1e11 => Some("epoch_s"),
                1e11..1e14 => Some("epoch_ms"),
                1e14..1e17 => Some("epoch_us"),
                1e17..1e20 => Some("epoch_ns"),
                _ => None,
            }
        }
        Value::String(text) => text.parse::<jiff::Timestamp>().is_ok().then_some("rfc3339"),
        _ => None,
    }
}

/// Paths of all numbers below a value, with the numbers.
fn leaves(value: &Value, path: &str, depth: usize, except: Option<&str>, found: &mut Vec<(String, String)>) {
    if found.len() >= POINTS_MAX || depth > DEPTH_MAX {
        return;
    }
    match value {
        Value::Object(members) => {
            for (key, inner) in members.iter().filter(|(key, _)| depth > 0 || except != Some(key.as_str())) {
                leaves(inner, &step(path, key), depth.saturating_add(1), except, found);
            }
        }
        Value::Array(elements) => {
            for (index, inner) in elements.iter().enumerate() {
                leaves(inner, &format!("{path}[{index}]"), depth.saturating_add(1), except, found);
            }
        }
        Value::Number(_) | Value::Bool(_) => found.push((path.to_owned(), value.to_string())),
        Value::String(text) if text.trim_ascii().parse::<f64>().is_ok() => found.push((path.to_owned(), value.to_string())),
        Value::String(_) | Value::Null => {}
    }
}

/// A path with one key more, as the configuration writes it.
fn step(path: &str, key: &str) -> String {
    let dotted = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    if !key.is_empty() && !key.contains(['.', '[']) && value_path(&dotted).is_ok() { dotted } else { format!("{path}[\"{key}\"]") }
}

/// One point; `name` is what its quantity is looked for under, `place` where its value is, `shown` what it was.
fn point(id: &str, name: &str, place: Option<&str>, shown: &str, text: &mut String) {
    let lower = name.to_ascii_lowercase();
    let known = Quantity::of(&lower).map(|known| known.name).or(SHORT.iter().find(|(short, _)| *short == lower).map(|(_, name)| *name));
    let _ = write!(text, "\n[[device.point]]\nid = {}\n", quoted(&id_of(id)));
    match known {
        Some(known) if known == id_of(id) => {}
        Some(known) => {
            let _ = writeln!(text, "quantity = \"{known}\"");
        }
        None => text.push_str("quantity = \"choose\"\n"),
    }
    let shown: String = shown.chars().filter(|c| !c.is_control()).take(40).collect();
    let shown = if shown.is_empty() { shown } else { format!("  # was {shown}") };
    if let Some(place) = place {
        let _ = writeln!(text, "{place}{shown}");
    }
}

/// The text as a stable id: what it must not hold becomes `_`.
fn id_of(text: &str) -> String {
    let legal: String =
        text.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' }).take(60).collect();
    let trimmed = legal.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    if stable_id(trimmed).is_ok() { trimmed.to_owned() } else { "device".to_owned() }
}

/// A text in TOML that stands for itself: what others send must not name a variable of this machine.
fn quoted(text: &str) -> String {
    toml::Value::from(text.replace("${", "$${")).to_string()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;
    use crate::catalogue::{Files, LoadError, MemoryFiles, OwnTable, load};

    #[derive(Debug, Default, serde::Deserialize, garde::Validate, schemars::JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct None_ {}

    impl OwnTable for None_ {}

    const PARK: &str = "[park]\nid = \"p\"\n[[enterprise]]\nid = \"acme\"\n[[link]]\nid = \"broker\"\ndriver = \"mqtt\"\nhost = \"h\"\n";

    /// Files whose variables nobody may ask for.
    #[derive(Default)]
    struct NoVariables(std::collections::BTreeMap<std::path::PathBuf, String>);

    impl Files for NoVariables {
        fn read(&self, path: &std::path::Path) -> Result<String, String> {
            self.0.get(path).cloned().ok_or_else(|| "no such file".into())
        }

        fn glob(&self, _pattern: &str) -> Result<Vec<std::path::PathBuf>, String> {
            Ok(Vec::new())
        }

        fn variable(&self, name: &str) -> Option<String> {
            panic!("a message named the variable {name}")
        }
    }

    /// What is wrong with a park that has the snippet.
    fn problems(snippet: &str) -> String {
        let park = PARK;
        let mut files = MemoryFiles::default();
        files.files.insert("main.toml".into(), format!("{park}{snippet}"));
        match load::<None_>(std::path::Path::new("main.toml"), &files) {
            Ok(_) => String::new(),
            Err(LoadError::Invalid(problems)) => problems.list().iter().map(|problem| format!("{problem}\n")).collect(),
            Err(error) => error.to_string(),
        }
    }

    fn check(templates: &[&str], topic: &str, payload: &str, expected: Expect) -> String {
        let discover = Discover::new(&templates.iter().map(|&text| text.to_owned()).collect::<Vec<_>>());
        let (sample, snippet) = describe("broker", &discover, topic, payload.as_bytes());
        assert!(payload.starts_with(sample.trim_end_matches("...")));
        expected.assert_eq(&snippet);
        problems(&snippet)
    }

    #[test]
    fn known_names_can_be_pasted_as_they_are() {
        let wrong = check(
            &["park/{enterprise}/{building}/{device}/#"],
            "park/acme/7/em-3/telemetry",
            r#"{"ts":1764999999123,"data":{"active_power":12.5,"P":"3","note":"x","energy_import":99}}"#,
            expect![[r#"
                [[device]]
                id = "em-3"
                link = "broker"
                enterprise = "acme"
                labels = { building = "7" }

                [[device.topic]]
                filter = "park/{enterprise}/{building}/{device}/telemetry"
                time = "ts"
                time_format = "epoch_ms"

                [[device.point]]
                id = "data.P"
                quantity = "active_power"
                path = "data.P"  # was "3"

                [[device.point]]
                id = "data.active_power"
                quantity = "active_power"
                path = "data.active_power"  # was 12.5

                [[device.point]]
                id = "data.energy_import"
                quantity = "energy_import"
                path = "data.energy_import"  # was 99
            "#]],
        );
        assert_eq!(wrong, "");
    }

    #[test]
    fn what_is_not_known_is_to_be_chosen() {
        let wrong = check(
            &[],
            "site/Meter 1/data",
            r#"{"time":"2026-11-23T08:00:00Z","rows":[{"odd key":[1,{"v":true}]}]}"#,
            expect![[r#"
                [[device]]
                id = "Meter_1"
                link = "broker"

                [[device.topic]]
                filter = "site/Meter 1/data"
                records = "rows"
                time = "time"
                time_format = "rfc3339"
                time_in_payload = true

                [[device.point]]
                id = "odd_key___0"
                quantity = "choose"
                path = '["odd key"][0]'  # was 1

                [[device.point]]
                id = "odd_key___1_.v"
                quantity = "choose"
                path = '["odd key"][1].v'  # was true
            "#]],
        );
        assert_eq!(wrong.matches("`choose`").count(), 2, "{wrong}");
        assert!(wrong.lines().all(|line| line.contains("choose")), "nothing else is wrong: {wrong}");
    }

    #[test]
    fn a_topic_for_each_point_and_columns() {
        let wrong = check(
            &["park/{enterprise}/{device}/{point}"],
            "park/acme/em-3/active_power",
            "12.5",
            expect![[r#"
                [[device]]
                id = "em-3"
                link = "broker"
                enterprise = "acme"

                [[device.topic]]
                filter = "park/{enterprise}/{device}/{point}"
                payload = "number"

                [[device.point]]
                id = "active_power"
            "#]],
        );
        assert_eq!(wrong, "");
        check(
            &[],
            "logger/7",
            "2026-11-23;1.5;x;2",
            expect![[r#"
                [[device]]
                id = "7"
                link = "broker"

                [[device.topic]]
                filter = "logger/7"
                payload = "csv"
                separator = ";"

                [[device.point]]
                id = "column_2"
                quantity = "choose"
                column = 2  # was 1.5

                [[device.point]]
                id = "column_4"
                quantity = "choose"
                column = 4  # was 2
            "#]],
        );
    }

    proptest! {
        #[test]
        fn any_message_gives_a_text_that_is_toml(topic in "[ -~]{0,30}", payload in prop::collection::vec(any::<u8>(), 0..100)) {
            let discover = Discover::new(&["+/{device}/#".to_owned()]);
            let (_, text) = describe("broker", &discover, &topic, &payload);
            prop_assert!(toml::from_str::<toml::Table>(&text).is_ok(), "{text}");
        }

        #[test]
        fn no_message_names_a_variable(level in "[a-z]?\\$?\\$?\\{?[A-Z]{0,3}\\}?", key in "\\$?\\$?\\$?\\{[A-Z]{0,3}\\}?", number in any::<bool>()) {
            let discover = Discover::new(&["x/{enterprise}/{label}/{device}/#".to_owned()]);
            let payload = if number { serde_json::json!({ &key: 1, "ts": "2026-11-23T08:00:00Z" }) } else { serde_json::json!([{ &key: { &key: 1 } }]) };
            for topic in [format!("x/{level}/{level}/{level}/{level}"), "x/a/b/c/d".to_owned()] {
                let (_, text) = describe("broker", &discover, &topic, payload.to_string().as_bytes());
                let mut files = NoVariables::default();
                files.0.insert("main.toml".into(), format!("{PARK}{text}"));
                // What else is wrong with it is told; a variable panics.
                let wrong = match load::<None_>(std::path::Path::new("main.toml"), &files) {
                    Err(LoadError::Invalid(problems)) => problems.list().iter().map(|problem| format!("{problem}\n")).collect(),
                    _ => String::new(),
                };
                prop_assert!(!wrong.contains("variable"), "{text}{wrong}");
            }
        }
    }
}
