//! The mapper against cases from the field, against a plain implementation on `serde_json::Value`, and against noise.

use proptest::prelude::*;
use serde_json::Value;

use super::number::number;
use super::time::TimeReader;
use super::*;
use crate::model::{PointId, Reading, UtcMillis};

fn path(text: &str) -> ValuePath {
    text.parse().unwrap()
}

fn values(paths: &[&str]) -> Vec<(ValuePath, PointId)> {
    paths.iter().enumerate().map(|(index, text)| (path(text), PointId(u32::try_from(index).unwrap()))).collect()
}

fn records(records: Option<&str>, time: Option<(&str, bool, TimeFormat)>) -> RecordMap {
    RecordMap { records: records.map(path), time: time.map(|(text, in_payload, format)| TimePath { path: path(text), in_payload, format }) }
}

/// Readings as `point=number@time`, or the class and text of the error.
fn run(map: &RecordMap, paths: &[&str], payload: &str) -> String {
    let mut out = Vec::new();
    match Mapper::new(map, &values(paths)).unwrap().map(payload.as_bytes(), &mut out) {
        Ok(mapped) => {
            assert_eq!(mapped.readings, out.len());
            let show = |reading: &Reading| {
                let number = match reading.number {
                    crate::model::Number::Exact(number) => number.to_string(),
                    other => format!("{other:?}"),
                };
                format!("{}={number}{}", reading.point.0, reading.source_time.map_or(String::new(), |time| format!("@{}", time.0)))
            };
            out.iter().map(show).collect::<Vec<_>>().join(" ")
        }
        Err(error) => {
            assert!(out.is_empty());
            format!("{}: {error}", error.class())
        }
    }
}

#[test]
fn finds_values_in_objects_arrays_and_batches() {
    let plain = records(None, None);
    let ms = |text| Some((text, false, TimeFormat::EpochMillis));
    let payload_ms = |text| Some((text, true, TimeFormat::EpochMillis));
    for (map, paths, payload, wanted) in [
        (&plain, &["p", "q"][..], r#"{"p":1.50,"q":-2}"#, "0=1.50 1=-2"),
        (&plain, &["p", "q"], r#"{"q":"3","x":{"p":9},"p":null}"#, "0=Missing(NotAvailable) 1=3"),
        (&plain, &["a.b[1].c"], r#"{"a":{"b":[0,{"c":7,"d":[]},2]}}"#, "0=7"),
        (&plain, &["a", "a.b"], r#"{"a":{"b":1}}"#, "1=1"),
        (&plain, &["a", "a.b"], r#"{"a":4}"#, "0=4"),
        (
            &plain,
            &["a.b"],
            r#"{"a":[{"b":1}]}"#,
            "path: none of the mapped values is in the payload (looked for `a.b`); compare the device's paths with the payload",
        ),
        (&plain, &["[\"a.b\"].c", "v"], r#"{"a.b":{"c":1},"v":true}"#, "0=1 1=1"),
        (&plain, &["p"], r#"{"\u0070":1}"#, "0=1"),
        (&plain, &[""], " 12.5 ", "0=12.5"),
        (&plain, &["[0]", "[2]"], "[1,2,3]", "0=1 1=3"),
        (&plain, &["v", "v"], r#"{"v":1}"#, "0=1 1=1"),
        // Of a key that comes twice the last one counts, whatever the first one held.
        (&plain, &["v"], r#"{"v":"bad","v":2}"#, "0=2"),
        (&plain, &["a.x", "a.y"], r#"{"a":{"x":1},"a":{"y":2}}"#, "1=2"),
        (&records(Some("r"), None), &["v"], r#"{"r":[{"v":1}],"r":[{"v":2}]}"#, "0=2"),
        // Batches.
        (&records(None, ms("t")), &["v"], r#"[{"t":1,"v":10},{"v":20,"t":2}]"#, "0=10@1 0=20@2"),
        (&records(Some("d.rows"), ms("t")), &["v"], r#"{"d":{"rows":[{"t":1,"v":10},{"t":2,"v":20},{"t":3}]}}"#, "0=10@1 0=20@2"),
        (&records(Some("rows"), payload_ms("t")), &["v", "w"], r#"{"rows":[{"v":1},{"w":2}],"t":5}"#, "0=1@5 1=2@5"),
        (&records(Some("rows"), None), &["[1]"], r#"{"rows":[["a",1],["b",2]]}"#, "0=1 0=2"),
        (&records(Some(""), None), &["[1]"], r#"[["a",1],["b",2]]"#, "0=1 0=2"),
        (&records(Some("rows"), None), &[""], r#"{"rows":[1,2]}"#, "0=1 0=2"),
        (&records(Some("rows"), None), &["v"], r#"{"rows":{"v":1}}"#, "0=1"),
        (&records(None, payload_ms("t")), &["v"], r#"{"t":5,"v":1}"#, "0=1@5"),
    ] {
        assert_eq!(run(map, paths, payload), wanted, "{payload}");
    }
}

#[test]
fn errors_say_where_and_what_to_do() {
    let plain = records(None, None);
    let timed = records(None, Some(("t", false, TimeFormat::Rfc3339)));
    for (map, payload, wanted) in [
        (&plain, r#"{"v":"---"}"#, "type: `v` at byte 5 is no number: \"---\"; map it elsewhere or mend the device"),
        (&plain, r#"{"v":[1]}"#, "type: `v` at byte 5 is no number: [1]; map it elsewhere or mend the device"),
        (&plain, "{\"v\":1,\n}", "syntax: not JSON at byte 8 (line 2, column 1): trailing comma; near `{\"v\":1,\n}`"),
        (&plain, r#"{"v":NaN}"#, "syntax: not JSON at byte 5 (line 1, column 6): expected value; near `{\"v\":NaN}`"),
        (&plain, r#"{"v":1} x"#, "syntax: not JSON at byte 8 (line 1, column 9): trailing characters; near `{\"v\":1} x`"),
        (&plain, "", "syntax: not JSON at byte 0 (line 1, column 0): EOF while parsing a value; near ``"),
        (&plain, "{}", "path: none of the mapped values is in the payload (looked for `v`); compare the device's paths with the payload"),
        (&plain, "[]", "path: none of the mapped values is in the payload (looked for `v`); compare the device's paths with the payload"),
        (&plain, "7", "path: none of the mapped values is in the payload (looked for `v`); compare the device's paths with the payload"),
        (&timed, r#"{"v":1}"#, "timestamp: time `t` is missing; declare no time to use the time of arrival"),
        (&timed, r#"{"v":1,"t":17}"#, "timestamp: time `t` at byte 11 is 17, but RFC 3339 such as 2026-11-23T08:00:00+08:00 is declared"),
    ] {
        assert_eq!(run(map, &["v"], payload), wanted, "{payload}");
    }
    let mut mapper = Mapper::new(&plain, &values(&["v"])).unwrap();
    assert_eq!(mapper.map(b"{\"v\":\xff}", &mut Vec::new()), Err(MapError::NotUtf8 { offset: 5 }));
}

#[test]
fn an_error_leaves_earlier_readings_alone() {
    let mut mapper = Mapper::new(&records(None, None), &values(&["v"])).unwrap();
    let mut out = Vec::new();
    mapper.map(br#"{"v":1}"#, &mut out).unwrap();
    mapper.map(br#"[{"v":2},{"v":3}"#, &mut out).unwrap_err();
    mapper.map(br#"{"v":4}"#, &mut out).unwrap();
    assert_eq!(out.len(), 2);
}

#[test]
fn depth_is_bounded() {
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(run(&records(None, None), &["v"], &deep).starts_with("path"));
    assert!(run(&records(None, None), &["a[0][0]"], &deep).starts_with("type"));
}

#[test]
fn a_payload_time_inside_the_records_is_refused() {
    let map = records(Some("rows"), Some(("rows[0].t", true, TimeFormat::EpochMillis)));
    assert_eq!(Mapper::new(&map, &[]).unwrap_err(), BuildError::TimeInRecords("rows[0].t".into()));
}

#[test]
fn paths_read_back_as_printed() {
    for text in ["", "a", "a.b[0].c", "[3]", "[3][4].x", "[\"a.b\"].c", "中文.值", "[\"\"]", "a b"] {
        assert_eq!(path(text).to_string(), text);
    }
    for text in [".", "a.", ".a", "a..b", "[", "[x]", "[-1]", "[\"a]", "a[0]b", "[99999999999999999999999]"] {
        assert!(text.parse::<ValuePath>().is_err(), "{text}");
    }
}

/// The same rules on a parsed tree.
fn naive(map: &RecordMap, wanted: &[(ValuePath, PointId)], payload: &str) -> Option<Vec<Reading>> {
    fn get<'v>(value: &'v Value, path: &ValuePath) -> Option<&'v Value> {
        path.steps.iter().try_fold(value, |value, step| match step {
            PathStep::Key(key) => value.as_object()?.get(key),
            PathStep::Index(index) => value.as_array()?.get(*index),
        })
    }
    let tree: Value = serde_json::from_str(payload).ok()?;
    let found: Vec<&Value> = match &map.records {
        Some(path) => get(&tree, path).map_or(vec![], |value| match value {
            Value::Array(records) => records.iter().collect(),
            Value::Object(_) => vec![value],
            _ => vec![],
        }),
        None => match &tree {
            Value::Array(records) => records.iter().collect(),
            other => vec![other],
        },
    };
    let stamp = |value: Option<&Value>, format| TimeReader::new(format).unwrap().read(&value?.to_string());
    let mut readings = Vec::new();
    for record in found {
        let before = readings.len();
        for (path, point) in wanted {
            let Some(value) = get(record, path) else { continue };
            let container_elsewhere = wanted.iter().any(|(other, _)| other != path && other.steps.starts_with(&path.steps));
            if container_elsewhere && (value.is_object() || value.is_array()) {
                continue;
            }
            readings.push(Reading { point: *point, number: number(&value.to_string())?, source_time: None });
        }
        if let Some(time) = &map.time
            && before < readings.len()
        {
            let within = if time.in_payload && map.records.is_some() { &tree } else { record };
            let time: Option<UtcMillis> = Some(stamp(get(within, &time.path), &time.format)?);
            for reading in readings.iter_mut().skip(before) {
                reading.source_time = time;
            }
        }
    }
    (!readings.is_empty()).then_some(readings)
}

/// JSON over few keys, so that paths are hit, with duplicate keys and odd spacing.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        any::<i32>().prop_map(|number| number.to_string()),
        (any::<i16>(), 0u8..100).prop_map(|(whole, part)| format!("\"{whole}.{part:02}\"")),
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("\"x\"".to_owned()),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(" , "))),
            proptest::collection::vec(("[abct]", inner), 0..5).prop_map(|members| {
                let members: Vec<String> = members.iter().map(|(key, value)| format!("\"{key}\": {value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

fn some_path() -> impl Strategy<Value = ValuePath> {
    let step = prop_oneof![4 => "[abc]".prop_map(PathStep::Key), 1 => (0usize..3).prop_map(PathStep::Index)];
    // The first step is a key: an index there has a rule of its own.
    ("[abc]", proptest::collection::vec(step, 0..3))
        .prop_map(|(first, rest)| ValuePath { steps: std::iter::once(PathStep::Key(first)).chain(rest).collect() })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn agrees_with_the_plain_implementation(
        payload in json(),
        paths in proptest::collection::vec(some_path(), 1..5),
        at in proptest::option::of(some_path()),
        time in proptest::option::of(any::<bool>()),
    ) {
        let time = time.map(|in_payload| TimePath { path: path("t"), in_payload, format: TimeFormat::EpochMillis });
        let map = RecordMap { records: at, time };
        let wanted: Vec<_> = paths.into_iter().zip(0..).map(|(path, point)| (path, PointId(point))).collect();
        let mut out = Vec::new();
        let result = Mapper::new(&map, &wanted).unwrap().map(payload.as_bytes(), &mut out);
        prop_assert_eq!(result.is_ok().then_some(out), naive(&map, &wanted, &payload), "{:?}", result);
    }

    #[test]
    fn noise_never_panics(mut payload in json().prop_map(String::into_bytes), place in any::<usize>(), noise in proptest::collection::vec(any::<u8>(), 0..20)) {
        let at = place % (payload.len() + 1);
        payload.splice(at..(at + noise.len() / 2).min(payload.len()), noise);
        let map = records(Some("a"), Some(("t", true, TimeFormat::EpochSeconds)));
        let _ = Mapper::new(&map, &values(&["a", "b[0]", "b.c"])).unwrap().map(&payload, &mut Vec::new());
    }

    #[test]
    fn any_path_text_is_refused_or_reads_back(text in "[a.\\[\\]\"0-9\\\\]{0,12}") {
        if let Ok(path) = text.parse::<ValuePath>() {
            prop_assert_eq!(path.to_string().parse::<ValuePath>().unwrap(), path);
        }
    }
}
