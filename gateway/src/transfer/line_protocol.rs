//! Line protocol of InfluxDB as values of points: `measurement,tag=value field=value,field=value time`.
//!
//! A line that the forwarder wrote names its point by the tag `point`; measurement and field are those of
//! [`crate::series`]. For others a mapping names, as `from`, `measurement.field`, or `measurement.field,tag=value,...`
//! for the lines that have these tags; the one with the most tags counts. Each field is a value of its own.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;

use parkgate_collector::catalogue::Point;
use parkgate_collector::model::UtcMillis;

use super::rows::{LINE_BYTES_MAX, Refused, Row, RowsError, Targets, number, shown};
use crate::series::What;

/// What a time counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Precision {
    /// Nanoseconds since 1970.
    Ns,
    /// Microseconds.
    Us,
    /// Milliseconds.
    Ms,
    /// Seconds.
    S,
}

impl Precision {
    fn to_millis(self, time: i64) -> Option<UtcMillis> {
        match self {
            Self::Ns => Some(time.div_euclid(1_000_000)),
            Self::Us => Some(time.div_euclid(1_000)),
            Self::Ms => Some(time),
            Self::S => time.checked_mul(1_000),
        }
        .map(UtcMillis)
    }
}

/// One entry of a mapping for a measurement and field: tags that the line must have, and the point.
type Mapped = (Vec<(String, String)>, Arc<Point>);

/// Which series is which point.
pub struct SeriesMap {
    mapped: HashMap<(String, String), Vec<Mapped>>,
}

impl SeriesMap {
    /// Of the pairs of a mapping.
    ///
    /// # Errors
    /// A pair that makes no sense, or a point that is not known.
    pub fn new(pairs: &[(String, String)], targets: &Targets) -> Result<Self, String> {
        let mut mapped: HashMap<(String, String), Vec<Mapped>> = HashMap::new();
        for (from, point) in pairs {
            let wrong = || format!("`{}` names no series; write measurement.field or measurement.field,tag=value", shown(from));
            let mut parts = from.split(',');
            let (measurement, field) = parts.next().and_then(|name| name.rsplit_once('.')).ok_or_else(wrong)?;
            let tags = parts.map(|tag| tag.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())));
            let tags: Vec<(String, String)> = tags.collect::<Option<_>>().ok_or_else(wrong)?;
            let entry = (tags, Arc::clone(targets.find(point)?));
            mapped.entry((measurement.to_owned(), field.to_owned())).or_default().push(entry);
        }
        mapped.values_mut().for_each(|entries| entries.sort_by_key(|(tags, _)| std::cmp::Reverse(tags.len())));
        Ok(Self { mapped })
    }

    fn find<'a>(&'a self, line: &Line, field: &str, targets: &'a Targets) -> Result<&'a Arc<Point>, String> {
        let has = |(name, value): &(String, String)| line.tag(name) == Some(value.as_str());
        let entries = self.mapped.get(&(line.measurement.clone(), field.to_owned()));
        if let Some((_, point)) = entries.into_iter().flatten().find(|(tags, _)| tags.iter().all(has)) {
            return Ok(point);
        }
        let series = format!("{}.{}", shown(&line.measurement), shown(field));
        let Some(id) = line.tag("point") else {
            return Err(format!("no point is named for {series}; name one in the file of --point-map: {series},POINT"));
        };
        let point = targets.find(id)?;
        let (measurement, own_field) = What::Samples.measurement_and_field(&point.quantity, &point.identity);
        if (measurement.as_str(), own_field) != (line.measurement.as_str(), field) {
            return Err(format!("{series} is not {measurement}.{own_field}, which holds the samples of `{}`", shown(id)));
        }
        Ok(point)
    }
}

/// Reads a file to its end, line by line; `visit` says whether to go on. Memory does not depend on its length.
///
/// # Errors
/// The file cannot be read.
pub fn read(
    file: impl Read,
    targets: &Targets,
    map: &SeriesMap,
    precision: Precision,
    mut visit: impl FnMut(Result<Row, Refused>) -> bool,
) -> Result<(), RowsError> {
    let mut reader = BufReader::new(file);
    let (mut bytes, mut number) = (Vec::new(), 0u64);
    loop {
        bytes.clear();
        number += 1;
        let read = (&mut reader).take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut bytes)?;
        if read == 0 {
            return Ok(());
        }
        if read > LINE_BYTES_MAX {
            return Err(RowsError::Line { line: number });
        }
        let refused = |why: String| Refused { line: number, why };
        let Ok(text) = std::str::from_utf8(&bytes) else {
            if visit(Err(refused("this is no UTF-8".into()))) {
                continue;
            }
            return Ok(());
        };
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let values = match Line::parse(text) {
            Ok(line) => line.fields.iter().map(|(field, value)| row(&line, field, value, targets, map, precision)).collect(),
            Err(why) => vec![Err(why)],
        };
        for value in values {
            if !visit(value.map_err(refused)) {
                return Ok(());
            }
        }
    }
}

fn row(line: &Line, field: &str, value: &Value, targets: &Targets, map: &SeriesMap, precision: Precision) -> Result<Row, String> {
    let point = map.find(line, field, targets)?;
    let time = line.time.ok_or("there is no time at the end of the line; values without a time cannot be imported")?;
    let time = precision.to_millis(time).ok_or_else(|| format!("{time} is beyond the calendar; is --precision right?"))?;
    let time = targets.check(time)?;
    let text = match value {
        Value::Number(text) => text.as_str(),
        Value::Flag(true) => "1",
        Value::Flag(false) => "0",
        Value::Text => return Err("a text is no value of a point".into()),
    };
    let (number, rounded) = number(text, None, point)?;
    Ok(Row { point: Arc::clone(point), time, number: Ok(number), rounded })
}

/// One line, taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    measurement: String,
    tags: Vec<(String, String)>,
    fields: Vec<(String, Value)>,
    time: Option<i64>,
}

#[derive(Debug, PartialEq, Eq)]
enum Value {
    Number(String),
    Flag(bool),
    Text,
}

impl Line {
    fn tag(&self, name: &str) -> Option<&str> {
        self.tags.iter().find(|(one, _)| one == name).map(|(_, value)| value.as_str())
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut rest = text;
        let measurement = word(&mut rest, &[',', ' ']);
        if measurement.is_empty() {
            return Err("there is no measurement".into());
        }
        let mut tags = Vec::new();
        while let Some(after) = rest.strip_prefix(',') {
            rest = after;
            tags.push(pair(&mut rest, &[',', ' '])?);
        }
        rest = rest.trim_start_matches(' ');
        let mut fields = Vec::new();
        loop {
            let name = word(&mut rest, &['=']);
            rest = rest.strip_prefix('=').ok_or("there is no field: write measurement,tag=value field=value time")?;
            fields.push((name, value(&mut rest)?));
            match rest.strip_prefix(',') {
                Some(after) => rest = after,
                None => break,
            }
        }
        let time = match rest.trim() {
            "" => None,
            text => Some(text.parse().map_err(|_| format!("`{}` is no time", shown(text)))?),
        };
        Ok(Self { measurement, tags, fields, time })
    }
}

fn pair(rest: &mut &str, ends: &[char]) -> Result<(String, String), String> {
    let name = word(rest, &['=', ',', ' ']);
    *rest = rest.strip_prefix('=').ok_or_else(|| format!("the tag `{}` has no value", shown(&name)))?;
    Ok((name, word(rest, ends)))
}

/// Up to the first of `ends` that no backslash stands before.
fn word(rest: &mut &str, ends: &[char]) -> String {
    let mut out = String::new();
    let mut chars = rest.char_indices().peekable();
    while let Some((at, char)) = chars.next() {
        if ends.contains(&char) {
            *rest = rest.get(at..).unwrap_or_default();
            return out;
        }
        let escaped = chars.peek().map(|(_, next)| *next).filter(|next| char == '\\' && matches!(next, ',' | '=' | ' ' | '\\'));
        match escaped {
            Some(next) => {
                out.push(next);
                chars.next();
            }
            None => out.push(char),
        }
    }
    *rest = "";
    out
}

fn value(rest: &mut &str) -> Result<Value, String> {
    if let Some(text) = rest.strip_prefix('"') {
        let mut escaped = false;
        for (at, char) in text.char_indices() {
            match char {
                '"' if !escaped => {
                    *rest = text.get(at + 1..).unwrap_or_default();
                    return Ok(Value::Text);
                }
                '\\' => escaped = !escaped,
                _ => escaped = false,
            }
        }
        return Err("a text has no end".into());
    }
    let text = word(rest, &[',', ' ']);
    match text.as_str() {
        "t" | "T" | "true" | "True" | "TRUE" => Ok(Value::Flag(true)),
        "f" | "F" | "false" | "False" | "FALSE" => Ok(Value::Flag(false)),
        text => Ok(Value::Number(text.strip_suffix(['i', 'u']).unwrap_or(text).to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_apart() {
        let line = |text: &str| Line::parse(text);
        let parsed = line(r#"gas\ flow,site=a\,b,point=x/y v=1.5,n=3i,on=t,note="a \" b, c=1" 1700000000000000000"#).unwrap();
        assert_eq!(parsed.measurement, "gas flow");
        assert_eq!((parsed.tag("site"), parsed.tag("point"), parsed.tag("none")), (Some("a,b"), Some("x/y"), None));
        let number = |text: &str| Value::Number(text.into());
        let fields: Vec<(&str, &Value)> = parsed.fields.iter().map(|(name, value)| (name.as_str(), value)).collect();
        assert_eq!(fields, [("v", &number("1.5")), ("n", &number("3")), ("on", &Value::Flag(true)), ("note", &Value::Text)]);
        assert_eq!(parsed.time, Some(1_700_000_000_000_000_000));
        assert_eq!(line("m v=1").unwrap().time, None);
        for (text, why) in [
            ("m", "no field"),
            (",a=b v=1", "no measurement"),
            ("m,a v=1", "tag `a` has no value"),
            ("m v=\"open", "has no end"),
            ("m v=1 soon", "`soon` is no time"),
        ] {
            assert!(line(text).unwrap_err().contains(why), "{text}: {:?}", line(text));
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "[a\\\\ ,=\"0-9tié.]{0,40}") {
            let _ = Line::parse(&text);
        }
    }
}
