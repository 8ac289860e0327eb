//! Semantics, by tables: figures computed by hand, or as Prometheus 3 documents them.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use super::eval::number_text;
use super::source::{ABSENT, is_absent};
use super::testing::Memory;
use super::{Answer, Error, Grid, Limits, Part, Patience, Samples, Selection, Series, Source, evaluate, parse};

/// One minute apart from time 0 on: a gauge with 0, 1, 2, ... 10 and one ten times that; a counter of 100 a minute that
/// starts over after 500; a series that was ended at minute 4.
fn source() -> Memory {
    let mut source = Memory::default();
    let minutes = |values: &'static [f64]| values.iter().enumerate().map(|(minute, &value)| (minute as i64 * 60_000, value));
    let ten = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0];
    source.add(&[("__name__", "g"), ("a", "1"), ("b", "x")], ten.iter().enumerate().map(|(at, &value)| (at as i64 * 60_000, value)));
    source.add(&[("__name__", "g"), ("a", "2"), ("b", "x")], ten.iter().enumerate().map(|(at, &value)| (at as i64 * 60_000, value * 10.0)));
    source.add(&[("__name__", "c"), ("a", "1")], minutes(&[100.0, 200.0, 300.0, 400.0, 500.0, 0.0, 100.0, 200.0, 300.0, 400.0, 500.0]));
    source.add(&[("__name__", "e"), ("a", "1")], minutes(&[7.0, 7.0, 7.0, 7.0, ABSENT]));
    source.add(&[("__name__", "w"), ("a", "1"), ("name", "一期锅炉")], minutes(&[2.0]));
    source.add(&[("__name__", "n")], minutes(&[f64::NAN]));
    source
}

/// Evaluates at an instant; `labels value` per series, joined by `; `.
fn at(minute: f64, query: &str) -> Result<String, Error> {
    let grid = Grid::instant((minute * 60_000.0) as i64);
    let source = source();
    let (answer, _) = evaluate(&parse(query)?, &source, grid, &Limits::default(), &AtomicBool::new(false))?;
    Ok(match answer {
        Answer::Scalar(cells) => number_text(cells[0]),
        Answer::Text(text) => text,
        Answer::Vector(rows) => {
            let rows = rows.iter().filter(|row| !is_absent(row.cells[0]));
            let mut lines: Vec<String> = rows.map(|row| format!("{} {}", row.labels, number_text(row.cells[0]))).collect();
            if !query.contains("sort") && !query.contains("topk") {
                lines.sort();
            }
            lines.join("; ")
        }
        Answer::Matrix(series) => {
            let line = |(labels, samples): &(super::Labels, Samples)| {
                let pairs = samples.times.iter().zip(&samples.values).map(|(time, value)| format!("{value}@{}", time / 1000));
                format!("{labels} {}", pairs.collect::<Vec<_>>().join(" "))
            };
            series.iter().map(line).collect::<Vec<_>>().join("; ")
        }
    })
}

fn table(minute: f64, cases: &[(&str, &str)]) {
    for (query, expected) in cases {
        assert_eq!(at(minute, query).as_deref(), Ok(*expected), "{query}");
    }
}

#[test]
fn selectors() {
    table(
        5.0,
        &[
            ("g", r#"g{a="1", b="x"} 5; g{a="2", b="x"} 50"#),
            (r#"g{a="1"}"#, r#"g{a="1", b="x"} 5"#),
            (r#"g{a!="1"}"#, r#"g{a="2", b="x"} 50"#),
            (r#"g{a=~"[12]"}"#, r#"g{a="1", b="x"} 5; g{a="2", b="x"} 50"#),
            // Anchored at both ends.
            (r#"g{b=~"."}"#, r#"g{a="1", b="x"} 5; g{a="2", b="x"} 50"#),
            (r#"{__name__=~"g.+"}"#, ""),
            (r#"g{a!~"1|2"}"#, ""),
            // A label that is not there is empty.
            (r#"{a="1",b=""}"#, r#"c{a="1"} 0"#),
            (r#"{__name__=~"c|w",a="1"}"#, r#"c{a="1"} 0"#),
            ("g offset 2m", r#"g{a="1", b="x"} 3; g{a="2", b="x"} 30"#),
            ("g offset -2m", r#"g{a="1", b="x"} 7; g{a="2", b="x"} 70"#),
            (r#"g{a="1"} @ 60"#, r#"g{a="1", b="x"} 1"#),
            (r#"g{a="1"} @ 60 offset -1m"#, r#"g{a="1", b="x"} 2"#),
            (r#"g{a="1"}[2m]"#, r#"g{a="1", b="x"} 4@240 5@300"#),
            // Shown for five minutes, the fifth not included.
            ("w", ""),
            // Ended a minute ago.
            ("e", ""),
            ("e offset 90s", r#"e{a="1"} 7"#),
        ],
    );
    table(4.99, &[("w", r#"w{a="1", name="一期锅炉"} 2"#), (r#"w{name="一期锅炉"}"#, r#"w{a="1", name="一期锅炉"} 2"#)]);
}

#[test]
fn arithmetic_and_comparison() {
    table(
        5.0,
        &[
            ("1 + 2 * 3 ^ 2", "19"),
            ("-2 ^ 2", "-4"),
            ("7 % 4 - -1", "4"),
            ("1 / 0", "+Inf"),
            ("0 / 0", "NaN"),
            ("1 > bool 2", "0"),
            ("-g", r#"{a="1", b="x"} -5; {a="2", b="x"} -50"#),
            ("g * 2", r#"{a="1", b="x"} 10; {a="2", b="x"} 100"#),
            ("100 - g", r#"{a="1", b="x"} 95; {a="2", b="x"} 50"#),
            ("g > 5", r#"g{a="2", b="x"} 50"#),
            // A filter gives the vector's value, whichever side it is on.
            ("5 < g", r#"g{a="2", b="x"} 50"#),
            ("g > bool 5", r#"{a="1", b="x"} 0; {a="2", b="x"} 1"#),
            ("g == 5", r#"g{a="1", b="x"} 5"#),
            ("n offset 4m == n offset 4m", ""),
        ],
    );
}

#[test]
fn vector_matching() {
    table(
        5.0,
        &[
            ("g + g", r#"{a="1", b="x"} 10; {a="2", b="x"} 100"#),
            ("g + on(a) c", r#"{a="1"} 5"#),
            ("g + ignoring(b) c", r#"{a="1"} 5"#),
            (r#"g / on(b) group_left g{a="1"}"#, r#"{a="1", b="x"} 1; {a="2", b="x"} 10"#),
            (r#"g{a="1"} / on(b) group_right g"#, r#"{a="1", b="x"} 1; {a="2", b="x"} 0.1"#),
            (r#"sum by (a) (g) * on(a) group_left(name) (w offset 1m)"#, r#"{a="1", name="一期锅炉"} 10"#),
            ("g > on(a) c", r#"{a="1"} 5"#),
            ("g > on(a) group_left c", r#"g{a="1", b="x"} 5"#),
            ("g >= bool on(a) group_left c", r#"{a="1", b="x"} 1"#),
            ("g and on(a) c", r#"g{a="1", b="x"} 5"#),
            ("g unless on(a) c", r#"g{a="2", b="x"} 50"#),
            ("c or g", r#"c{a="1"} 0; g{a="1", b="x"} 5; g{a="2", b="x"} 50"#),
            ("c or on(a) g", r#"c{a="1"} 0; g{a="2", b="x"} 50"#),
            ("g or vector(1)", r#"g{a="1", b="x"} 5; g{a="2", b="x"} 50; {} 1"#),
        ],
    );
    for (query, part) in [
        ("g + on(b) g", "many-to-many"),
        (r#"g + on(b) g{a="1"}"#, "must be explicit"),
        (r#"{__name__=~"g|c",a="1"} * 2"#, ""),
        (r#"{__name__=~"c|e",a="1"} offset 2m * 2"#, "same labelset"),
    ] {
        match at(5.0, query) {
            Err(Error::Execution(text)) => assert!(text.contains(part), "{query}: {text}"),
            other => assert!(part.is_empty(), "{query}: {other:?}"),
        }
    }
}

#[test]
fn aggregations() {
    table(
        5.0,
        &[
            ("sum(g)", "{} 55"),
            ("sum by (a) (g)", r#"{a="1"} 5; {a="2"} 50"#),
            ("sum without (a) (g)", r#"{b="x"} 55"#),
            ("sum by (nothing) (g)", "{} 55"),
            ("avg(g)", "{} 27.5"),
            ("min(g)", "{} 5"),
            ("max(g)", "{} 50"),
            ("count(g)", "{} 2"),
            ("group(g)", "{} 1"),
            ("stddev(g)", "{} 22.5"),
            ("stdvar(g)", "{} 506.25"),
            ("quantile(0.5, g)", "{} 27.5"),
            ("topk(1, g)", r#"g{a="2", b="x"} 50"#),
            ("topk(5, g)", r#"g{a="2", b="x"} 50; g{a="1", b="x"} 5"#),
            ("bottomk(1, g)", r#"g{a="1", b="x"} 5"#),
            ("topk by (a) (1, g)", r#"g{a="1", b="x"} 5; g{a="2", b="x"} 50"#),
            ("topk(0, g)", ""),
            (r#"count_values("v", g)"#, r#"{v="5"} 1; {v="50"} 1"#),
            ("sum(nothing)", ""),
            ("count(nothing) or vector(0)", "{} 0"),
            ("min(g or n offset 4m)", "{} 5"),
            ("max(n offset 4m)", "{} NaN"),
        ],
    );
}

#[test]
fn functions_of_ranges() {
    table(
        5.0,
        &[
            // (1 min, 5 min]: 2, 3, 4, 5.
            (r#"sum_over_time(g{a="1"}[4m])"#, r#"{a="1", b="x"} 14"#),
            (r#"avg_over_time(g{a="1"}[4m])"#, r#"{a="1", b="x"} 3.5"#),
            (r#"min_over_time(g{a="1"}[4m])"#, r#"{a="1", b="x"} 2"#),
            (r#"max_over_time(g{a="1"}[4m])"#, r#"{a="1", b="x"} 5"#),
            (r#"count_over_time(g{a="1"}[4m])"#, r#"{a="1", b="x"} 4"#),
            (r#"quantile_over_time(0.5, g{a="1"}[4m])"#, r#"{a="1", b="x"} 3.5"#),
            (r#"stdvar_over_time(g{a="1"}[4m])"#, r#"{a="1", b="x"} 1.25"#),
            (r#"present_over_time(g{a="1"}[4m])"#, r#"{a="1", b="x"} 1"#),
            // These two keep the name.
            (r#"last_over_time(g{a="1"}[4m])"#, r#"g{a="1", b="x"} 5"#),
            (r#"last_over_time(w[6m])"#, r#"w{a="1", name="一期锅炉"} 2"#),
            // What ended a series is no sample.
            ("count_over_time(e[10m])", r#"{a="1"} 4"#),
            ("last_over_time(e[10m])", r#"e{a="1"} 7"#),
            ("changes(c[3m])", r#"{a="1"} 2"#),
            ("resets(c[3m])", r#"{a="1"} 1"#),
            // (2 min, 5 min]: 400, 500, 0: 500 - 400 + 0 = 100 over 2 of 3 minutes; at the end the window is full, at
            // the start 1 min, which is below 1.1 times the interval: 100 * 3 / 2.
            ("increase(c[3m])", r#"{a="1"} 150"#),
            ("rate(c[3m])", r#"{a="1"} 0.8333333333333334"#),
            // (0, 2 min] of a gauge: 1, 2: a difference of 1 over one of two minutes.
            (r#"delta(g{a="1"}[2m] offset 3m)"#, r#"{a="1", b="x"} 2"#),
            (r#"idelta(g{a="2"}[2m])"#, r#"{a="2", b="x"} 10"#),
            (r#"irate(c[2m] offset 1m)"#, r#"{a="1"} 1.6666666666666667"#),
            // After the reset it counted from zero: 0 in a minute.
            ("irate(c[3m])", r#"{a="1"} 0"#),
            (r#"rate(g{a="1"}[1m])"#, ""),
            (r#"deriv(g{a="2"}[4m]) * 60"#, r#"{a="2", b="x"} 10"#),
            (r#"predict_linear(g{a="1"}[4m], 300)"#, r#"{a="1", b="x"} 10"#),
            (r#"sum_over_time(g{a="1"}[2m] @ 120)"#, r#"{a="1", b="x"} 3"#),
            // Subquery: at 2, 3, 4, 5 minutes.
            (r#"max_over_time((g{a="1"} * 2)[4m:1m])"#, r#"{a="1", b="x"} 10"#),
            (r#"sum_over_time(g{a="1"}[4m:2m])"#, r#"{a="1", b="x"} 6"#),
        ],
    );
}

#[test]
fn functions_of_values() {
    table(
        5.0,
        &[
            (r#"abs(-g{a="1"})"#, r#"{a="1", b="x"} 5"#),
            (r#"clamp(g, 10, 20)"#, r#"{a="1", b="x"} 10; {a="2", b="x"} 20"#),
            ("clamp(g, 20, 10)", ""),
            ("clamp_min(g, 7)", r#"{a="1", b="x"} 7; {a="2", b="x"} 50"#),
            ("clamp_max(g, 7)", r#"{a="1", b="x"} 5; {a="2", b="x"} 7"#),
            (r#"round(g{a="1"} / 3, 0.1)"#, r#"{a="1", b="x"} 1.7"#),
            (r#"round(g{a="1"} / 2)"#, r#"{a="1", b="x"} 3"#),
            (r#"round(-g{a="1"} / 2)"#, r#"{a="1", b="x"} -2"#),
            ("time()", "300"),
            ("vector(time())", "{} 300"),
            (r#"scalar(g{a="1"})"#, "5"),
            ("scalar(g)", "NaN"),
            ("scalar(nothing)", "NaN"),
            ("sort_desc(g)", r#"g{a="2", b="x"} 50; g{a="1", b="x"} 5"#),
            ("sort(g)", r#"g{a="1", b="x"} 5; g{a="2", b="x"} 50"#),
            ("timestamp(w offset 1m)", r#"{a="1", name="一期锅炉"} 0"#),
            (r#"timestamp(g{a="1"} + 0)"#, r#"{a="1", b="x"} 300"#),
            ("absent(g)", ""),
            (r#"absent(g{a="3",b=~"x"})"#, r#"{a="3"} 1"#),
            ("absent(sum(nothing))", "{} 1"),
            (r#"absent_over_time(w{a="1"}[2m])"#, r#"{a="1"} 1"#),
            ("absent_over_time(w[6m])", ""),
            (r#"label_replace(g{a="1"}, "n", "$1-${1}", "b", "(.*)")"#, r#"g{a="1", b="x", n="x-x"} 5"#),
            (r#"label_replace(g{a="1"}, "b", "", "b", "x")"#, r#"g{a="1"} 5"#),
            (r#"label_replace(g{a="1"}, "b", "y", "b", "X")"#, r#"g{a="1", b="x"} 5"#),
            (r#"label_join(g{a="1"}, "n", "/", "a", "b", "z")"#, r#"g{a="1", b="x", n="1/x/"} 5"#),
            ("minute()", "{} 5"),
            // 1970-01-01 was a Thursday.
            ("day_of_week(vector(0))", "{} 4"),
            ("year(vector(1767323045))", "{} 2026"),
            ("days_in_month(vector(1709251199))", "{} 29"),
            ("sqrt(vector(9)) + vector(pi() * 0)", "{} 3"),
            ("sgn(vector(-3))", "{} -1"),
        ],
    );
}

#[test]
fn a_range_is_evaluated_at_every_step() {
    let steps = |query: &str| {
        let grid = Grid { start: 0, step: 120_000, steps: 6 };
        let (answer, _) = evaluate(&parse(query).unwrap(), &source(), grid, &Limits::default(), &AtomicBool::new(false)).unwrap();
        match answer {
            Answer::Vector(rows) => rows[0].cells.iter().map(|&cell| if is_absent(cell) { f64::MIN } else { cell }).collect::<Vec<_>>(),
            Answer::Scalar(cells) => cells,
            other => panic!("{other:?}"),
        }
    };
    const NONE: f64 = f64::MIN;
    for (query, expected) in [
        (r#"g{a="1"}"#, [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]),
        (r#"g{a="1"} offset 3m"#, [NONE, NONE, 1.0, 3.0, 5.0, 7.0]),
        (r#"g{a="1"} @ 180"#, [3.0; 6]),
        (r#"g{a="1"} @ end()"#, [10.0; 6]),
        ("e", [7.0, 7.0, NONE, NONE, NONE, NONE]),
        ("w", [2.0, 2.0, 2.0, NONE, NONE, NONE]),
        (r#"sum_over_time(g{a="1"}[3m])"#, [0.0, 3.0, 9.0, 15.0, 21.0, 27.0]),
        (r#"sum_over_time(g{a="1"}[3m] @ start())"#, [0.0; 6]),
        (r#"sum_over_time(g{a="1"}[2m:1m])"#, [0.0, 3.0, 7.0, 11.0, 15.0, 19.0]),
        ("absent(e)", [NONE, NONE, 1.0, 1.0, 1.0, 1.0]),
        ("scalar(e)", [7.0, 7.0, f64::NAN, f64::NAN, f64::NAN, f64::NAN]),
        ("time()", [0.0, 120.0, 240.0, 360.0, 480.0, 600.0]),
        ("count(g > 15)", [NONE, 1.0, 1.0, 1.0, 1.0, 1.0]),
    ] {
        let got = steps(query);
        let same = got.iter().zip(&expected).all(|(a, b)| a == b || (a.is_nan() && b.is_nan()));
        assert!(same && got.len() == 6, "{query}: {got:?}");
    }
}

#[test]
fn what_is_not_supported_is_named() {
    for (query, part) in [
        ("histogram_quantile(0.9, x)", "`histogram_quantile`"),
        ("limitk(2, x)", "`limitk`"),
        ("sum(x) + info(y)", "`info`"),
        (r#"x{a="1" or b="2"}"#, "`or`"),
        ("x +", "invalid query"),
        // The parser itself panics on these.
        ("x[1e30]", "invalid query"),
        ("x offset NaN", "invalid query"),
    ] {
        match parse(query) {
            Err(Error::BadData(text)) => assert!(text.contains(part), "{query}: {text}"),
            other => panic!("{query}: {other:?}"),
        }
    }
}

#[test]
fn limits_hold() {
    let run = |query: &str, limits: Limits, cancel: bool| {
        let grid = Grid { start: 0, step: 1000, steps: 601 };
        evaluate(&parse(query).unwrap(), &source(), grid, &limits, &AtomicBool::new(cancel)).map(|_| ())
    };
    let limits = Limits::default();
    assert_eq!(run("g", limits, false), Ok(()));
    for (limits, part) in [
        (Limits { samples: 21, ..limits }, "too many samples"),
        (Limits { cells: 1201, ..limits }, "too many values"),
        (Limits { series: 1, ..limits }, "2 series"),
    ] {
        assert!(run("g", limits, false).is_err_and(|error| error.to_string().contains(part)), "{part}");
    }
    assert_eq!(run("g", limits, true), Err(Error::Canceled));
    let none = Limits { time: std::time::Duration::ZERO, ..limits };
    assert_eq!(run("g", none, false), Err(Error::Timeout(std::time::Duration::ZERO)));
    assert!(run("max_over_time(g[10y:1ms])", limits, false).is_err());
}

#[test]
fn labels_do_not_grow_without_end() {
    let ten = "label_replace(vector(1), \"a\", \"xxxxxxxxxx\", \"\", \"\")";
    let doubled = |depth: usize| {
        let close = ", \"a\", \"$1$1\", \"a\", \"(.*)\")";
        format!("{}{ten}{}", "label_replace(".repeat(depth), close.repeat(depth))
    };
    let joined = |depth: usize| format!("{}{ten}{}", "label_join(".repeat(depth), ", \"a\", \"\", \"a\", \"a\")".repeat(depth));
    // Doubled eight times, ten bytes are 2,560; nine times, 5,120.
    for (query, length) in [
        (doubled(8), Some(2_560)),
        (doubled(9), None),
        (doubled(40), None),
        (joined(8), Some(2_560)),
        (joined(9), None),
        (joined(60), None),
        // One replacement and one separator that are long by themselves.
        (format!("label_replace(g{{a=\"1\"}}, \"b\", \"{}\", \"a\", \"(.*)\")", "$1".repeat(4_096)), Some(4_096)),
        (format!("label_replace(g{{a=\"1\"}}, \"b\", \"{}\", \"a\", \"(.*)\")", "$1".repeat(4_097)), None),
        (format!("label_replace(g{{a=\"1\"}}, \"b\", \"{}\", \"a\", \".*\")", "é".repeat(2_049)), None),
        (format!("label_join(g{{a=\"1\"}}, \"b\", \"{}\", \"a\", \"a\")", "-".repeat(4_094)), Some(4_096)),
        (format!("label_join(g{{a=\"1\"}}, \"b\", \"{}\", \"a\", \"a\")", "-".repeat(4_095)), None),
        (format!("label_join(g{{a=\"1\"}}, \"{}\", \"\", \"a\", \"a\")", "l".repeat(4_097)), None),
        (format!("count_values(\"{}\", g)", "l".repeat(4_097)), None),
    ] {
        let start = query.get(..60).unwrap_or(&query);
        let tree = parse(&query).unwrap();
        match (evaluate(&tree, &source(), Grid::instant(300_000), &Limits::default(), &AtomicBool::new(false)), length) {
            (Ok((Answer::Vector(rows), _)), Some(length)) => {
                let longest = rows.iter().flat_map(|row| row.labels.iter()).map(|(_, value)| value.len()).max();
                assert_eq!(longest, Some(length), "{start}");
            }
            (Err(Error::Execution(text)), None) => assert!(text.contains("4096"), "{start}: {text}"),
            (other, _) => panic!("{start}: {other:?}"),
        }
    }
    // Each is short enough, but there are too many: 4,096 bytes count as 520 values.
    let long = format!("label_replace(g, \"b\", \"{}\", \"\", \"\")", "x".repeat(4_096));
    let limits = Limits { cells: 1_000, ..Limits::default() };
    let run = |query: &str| evaluate(&parse(query).unwrap(), &source(), Grid::instant(300_000), &limits, &AtomicBool::new(false));
    assert!(matches!(run(&long), Err(Error::Execution(text)) if text.contains("too many values")));
    let copied = format!("g * on() group_left(b) {}", long.replace("(g,", "(g{a=\"1\"},"));
    assert!(matches!(run(&copied), Err(Error::Execution(text)) if text.contains("too many values")));
}

#[test]
fn a_replacement_is_expanded_as_a_whole_would_be() {
    for (replacement, expected) in [
        ("$1", "ab"),
        ("$1-${2}é$1", "ab-céab"),
        ("$$1", "$1"),
        ("$$$1$$", "$ab$"),
        ("${1}x$", "abx$"),
        ("$9$1x", ""),
        ("$", "$"),
        ("é$$", "é$"),
    ] {
        let query = "label_replace(vector(1), \"n\", \"abc\", \"\", \"\")";
        let query = format!("label_replace({query}, \"n\", \"{replacement}\", \"n\", \"(ab)(c)\")");
        let labels = if expected.is_empty() { "{} 1".to_owned() } else { format!("{{n={expected:?}}} 1") };
        assert_eq!(at(5.0, &query), Ok(labels), "{replacement}");
    }
}

/// Ten series that give parts of one sample each, and how often and with how many edges they were asked.
#[derive(Default)]
struct Parted {
    asked: AtomicUsize,
    edges_most: AtomicUsize,
    /// Series that give none.
    without: Option<u32>,
}

impl Source for Parted {
    fn select(&self, _: &Selection, _: i64, _: i64, _: &Patience<'_>) -> Result<Vec<Series>, Error> {
        let series = |at: u32| Series {
            labels: super::Labels::default().with("__name__", "x").with("a", &at.to_string()),
            lookback_ms: 300_000,
            key: (at, 0),
        };
        Ok((0..10).map(series).collect())
    }

    fn samples(&self, _: &Series, _: i64, upto: i64, _: usize, _: &Patience<'_>) -> Result<Samples, Error> {
        Ok(Samples { times: vec![upto], values: vec![1.0] })
    }

    fn parts(&self, series: &Series, edges: &[i64], _: bool) -> Result<Option<Vec<Part>>, Error> {
        self.asked.fetch_add(1, Relaxed);
        self.edges_most.fetch_max(edges.len(), Relaxed);
        let part = Part { count: 1, sum: 1.0, min: 1.0, max: 1.0, last: 1.0 };
        Ok((self.without != Some(series.key.0)).then(|| vec![part; edges.len() - 1]))
    }
}

#[test]
fn parts_are_counted_before_they_are_made() {
    let run = |source: &Parted, query: &str, grid: Grid, cells: usize| {
        let limits = Limits { cells, ..Limits::default() };
        evaluate(&parse(query).unwrap(), source, grid, &limits, &AtomicBool::new(false)).map(|_| ())
    };
    let day = Grid { start: 0, step: 60_000, steps: 1_000 };
    let source = Parted::default();
    assert_eq!(run(&source, "sum_over_time(x[10m])", day, 10_000), Ok(()));
    assert_eq!((source.asked.load(Relaxed), source.edges_most.load(Relaxed)), (10, 1_010));
    // Room for three of ten: none is asked.
    let source = Parted::default();
    assert!(run(&source, "sum_over_time(x[10m])", day, 3_500).is_err_and(|error| error.to_string().contains("too many values")));
    assert_eq!(source.asked.load(Relaxed), 0);
    // More edges than any query over a range has: not by parts.
    let source = Parted::default();
    let _ = run(&source, "count_over_time(avg_over_time(x[10m])[40000m:1m])", Grid::instant(0), 4_000_000);
    assert_eq!(source.asked.load(Relaxed), 0);
    // What was counted for nothing is given back.
    let source = Parted { without: Some(8), ..Parted::default() };
    assert_eq!(run(&source, "sum_over_time(x[10m])", day, 10_000), Ok(()));
    assert_eq!(source.asked.load(Relaxed), 10);
}

#[test]
fn windows_that_slide_give_what_each_gives_alone() {
    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..200 {
        let mut time = 0;
        let mut value = 0.0;
        let samples: Vec<(i64, f64)> = (0..random.usize(1..60))
            .map(|_| {
                time += random.i64(1..90_000);
                value = if random.u8(..) < 20 { 0.0 } else { value + f64::from(random.u8(..3)) * 0.1 };
                (time, value)
            })
            .collect();
        let mut source = Memory::default();
        source.add(&[("__name__", "x")], samples);
        let (step, range) = (random.i64(1..200), random.i64(1..600));
        let grid = Grid { start: random.i64(0..300_000), step: step * 1000, steps: 40 };
        for name in ["sum", "avg", "min", "max", "rate", "increase", "changes", "resets", "count"] {
            let name =
                if ["rate", "increase", "changes", "resets"].contains(&name) { name.to_owned() } else { format!("{name}_over_time") };
            let tree = parse(&format!("{name}(x[{range}s])")).unwrap();
            let run = |grid: Grid| match evaluate(&tree, &source, grid, &Limits::default(), &AtomicBool::new(false)).unwrap().0 {
                Answer::Vector(rows) => rows.first().map_or(vec![ABSENT; grid.steps], |row| row.cells.clone()),
                other => panic!("{other:?}"),
            };
            let all = run(grid);
            for (step, time) in grid.times().enumerate() {
                let alone = run(Grid::instant(time))[0];
                let near = (alone - all[step]).abs() <= 1e-12 * alone.abs().max(1.0);
                assert!(near || (is_absent(alone) && is_absent(all[step])), "{round}: {name} {alone} {}", all[step]);
            }
        }
    }
}

/// Runs on a thread that has as much stack as a query has.
fn with_stack(run: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(super::STACK_BYTES).spawn(run).unwrap().join().unwrap();
}

/// Parses and evaluates, whatever comes of it.
fn swallow(text: &str) -> Result<(), Error> {
    let source = source();
    let tree = parse(text)?;
    for grid in [Grid::instant(300_000), Grid { start: 0, step: 7_000, steps: 100 }] {
        evaluate(&tree, &source, grid, &Limits::default(), &AtomicBool::new(false))?;
    }
    Ok(())
}

#[test]
fn bombs_are_refused_or_bearable() {
    with_stack(|| {
        let nested = |open: &str, inner: &str, close: &str, depth: usize| format!("{}{inner}{}", open.repeat(depth), close.repeat(depth));
        for refused in [
            nested("(", "1", ")", 100_000),
            nested("(", "1", ")", 7_000),
            nested("abs(", "g", ")", 101),
            format!("g{}", "+g".repeat(10_000)),
            format!("1{}", "+1".repeat(7_000)),
            "-".repeat(10_000) + "1",
            format!("g{}", "[5m:1m]".repeat(1_000)),
            "g{a=~\"(a{1000}){1000}\"}".to_owned(),
            format!("g{{{}}}", "a=~\".*.*.*\",".repeat(1_000)),
            format!("label_replace(g, \"x\", \"$1\", \"a\", \"{}\")", "(x{1000}){1000}"),
            "max_over_time(g[100y:1s])".to_owned(),
            "max_over_time(max_over_time(max_over_time(g[1y:1m])[1y:1m])[1y:1m])".to_owned(),
        ] {
            assert!(swallow(&refused).is_err(), "{}", refused.get(..40).unwrap_or(&refused));
        }
        for borne in [
            nested("(", "1", ")", 100),
            nested("abs(", "g", ")", 100),
            nested("sum by (a) (", "g", ")", 50),
            format!("1{}", "+1".repeat(500)),
            format!("g{}", "+g".repeat(300)),
            format!("1{}", "^1".repeat(500)),
            "-".repeat(500) + "1",
            "#\n".repeat(8_000) + "g",
            " ".repeat(16_000) + "g",
            format!("g{{{}}}", vec!["a!=\"b\""; 490].join(",")),
            nested("max_over_time((", "g", ")[1m:1m])", 20),
        ] {
            assert_eq!(swallow(&borne), Ok(()), "{}", borne.get(..40).unwrap_or(&borne));
        }
    });
}

#[test]
fn no_text_makes_it_panic() {
    const WORDS: &[&str] = &[
        "g",
        "c",
        "e",
        "w",
        "1",
        "0",
        "-1.5e3",
        "Inf",
        "NaN",
        "0x1F",
        "5m",
        "1h30m",
        "\"a\"",
        "'b'",
        "`.*`",
        "(",
        ")",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "+",
        "-",
        "*",
        "/",
        "%",
        "^",
        "==",
        "!=",
        ">",
        "<=",
        "=",
        "=~",
        "!~",
        "@",
        "#",
        "\n",
        " ",
        "and",
        "or",
        "unless",
        "by",
        "without",
        "on",
        "ignoring",
        "group_left",
        "group_right",
        "bool",
        "offset",
        "sum",
        "topk",
        "quantile",
        "count_values",
        "start()",
        "end()",
        "rate",
        "avg_over_time",
        "label_replace",
        "absent",
        "time()",
        "vector",
        "scalar",
        "a",
        "__name__",
        "科",
        "\\",
        "\u{0}",
        "g[5m]",
        "g[5m:1m]",
        "sum(g)",
        "{a=\"1\"}",
        "atan2",
        "fill",
        "smoothed",
        "{{",
        "}}",
        "x",
        "_",
        "histogram_quantile",
        "clamp",
        "ln(",
    ];
    with_stack(|| {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..20_000 {
            let count = random.usize(..14);
            let gap = if random.bool() { " " } else { "" };
            let text: Vec<&str> = (0..count).map(|_| WORDS[random.usize(..WORDS.len())]).collect();
            let _ = swallow(&text.join(gap));
        }
        for _ in 0..5_000 {
            let count = random.usize(..60);
            let bytes: Vec<u8> = (0..count).map(|_| random.u8(..)).collect();
            let _ = swallow(&String::from_utf8_lossy(&bytes));
        }
        // Queries that are nearly right.
        let right = ["sum by (a) (rate(g{a=~\"1|2\"}[5m] offset 1m)) / on(a) group_left(b) c", "topk(3, g @ 60 > bool 2) or vector(1)"];
        for _ in 0..10_000 {
            let mut text: Vec<char> = right[random.usize(..right.len())].chars().collect();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..text.len());
                match random.u8(..3) {
                    0 => drop(text.remove(at)),
                    1 => text.insert(at, random.char(' '..'~')),
                    _ => {
                        let other = (at + 1) % text.len();
                        text.swap(at, other);
                    }
                }
                if text.is_empty() {
                    break;
                }
            }
            let _ = swallow(&text.iter().collect::<String>());
        }
    });
}
