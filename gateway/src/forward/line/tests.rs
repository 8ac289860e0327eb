//! The encoder against a parser that shares nothing with it.

use proptest::prelude::*;

use super::*;

fn line(measurement: &str, tags: &[(&str, &str)], field: &str, mantissa: i128, decimals: u8, time_ms: i64) -> String {
    let mut out = Vec::new();
    push(&mut out, &series(measurement, tags.iter().copied(), field).unwrap(), mantissa, decimals, time_ms);
    String::from_utf8(out).unwrap()
}

#[test]
fn lines_are_as_the_protocol_wants_them() {
    for (tags, number, decimals, time, expected) in [
        (&[("point", "a/b/c")][..], 12_500, 3, 1_700_000_000_123, "m,point=a/b/c kwh=12.5 1700000000123\n"),
        (&[], 0, 3, 0, "m kwh=0 0\n"),
        (&[], -1, 3, -1, "m kwh=-0.001 -1\n"),
        (&[], 100, 0, 1, "m kwh=100 1\n"),
        (&[], 100, 2, 1, "m kwh=1 1\n"),
        (&[], i128::from(i64::MIN), 9, i64::MIN, "m kwh=-9223372036.854775808 -9223372036854775808\n"),
        (&[], i128::MAX, 0, 1, "m kwh=170141183460469231731687303715884105727 1\n"),
        (&[], 10_i128.pow(20) + 5, 21, 1, "m kwh=0.100000000000000000005 1\n"),
        (&[("empty", ""), ("", "x"), ("b", "c")], 1, 0, 1, "m,b=c kwh=1 1\n"),
        (&[("name", "一期 锅炉,A=1")], 1, 0, 1, "m,name=一期\\ 锅炉\\,A\\=1 kwh=1 1\n"),
        (&[("path", "C:\\x\\")], 1, 0, 1, "m,path=C:\\x/ kwh=1 1\n"),
        (&[("path", "a\\,b\\\\c\nd")], 1, 0, 1, "m,path=a/\\,b/\\c\\ d kwh=1 1\n"),
        (&[("time", "x")], 1, 0, 1, "m,label_time=x kwh=1 1\n"),
    ] {
        assert_eq!(line("m", tags, "kwh", number, decimals, time), expected);
    }
    assert_eq!(line("a b,c=d", &[], "e f", 1, 0, 1), "a\\ b\\,c=d e\\ f=1 1\n");
    assert_eq!(series("", std::iter::empty(), "x"), None);
    assert_eq!(series("x", std::iter::empty(), ""), None);
}

/// Measurement, tags, field, number and time of a line.
type Parsed = (String, Vec<(String, String)>, String, String, String);

/// Reads one line, taking a backslash before a special character as an escape and any other as itself.
fn parse(line: &str) -> Parsed {
    let mut parts = vec![String::new()];
    let mut marks = Vec::new();
    let mut rest = line.strip_suffix('\n').unwrap().chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\\' if rest.peek().is_some_and(|next| [',', '=', ' '].contains(next)) => parts.last_mut().unwrap().push(rest.next().unwrap()),
            // In a measurement an equals sign is plain.
            '=' if marks.is_empty() => parts.last_mut().unwrap().push(c),
            ',' | '=' | ' ' => {
                marks.push(c);
                parts.push(String::new());
            }
            c => parts.last_mut().unwrap().push(c),
        }
    }
    let tags = marks.iter().filter(|mark| **mark == ',').count();
    let expected: String = ",=".repeat(tags) + " = ";
    assert_eq!(marks.iter().collect::<String>(), expected, "{line:?}");
    let mut parts = parts.into_iter();
    let mut next = || parts.next().unwrap();
    let measurement = next();
    let tags = (0..tags).map(|_| (next(), next())).collect();
    (measurement, tags, next(), next(), next())
}

/// What of a text comes through: no control characters, no backslash where it would be an escape.
fn plain(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::new();
    for (index, c) in chars.iter().enumerate() {
        let next = chars.get(index + 1);
        out.push(match c {
            '\\' if next.is_none_or(|next| ",= \\".contains(*next) || next.is_control()) => '/',
            c if c.is_control() => ' ',
            c => *c,
        });
    }
    out
}

proptest! {
    #[test]
    fn what_is_written_can_be_read(
        measurement in "[a-z,= \\\\]{1,8}",
        tags in proptest::collection::vec(("[a-z,= \\\\]{0,4}", "[a-z,= \\\\\n一\"]{0,8}"), 0..4),
        mantissa in any::<i64>(),
        decimals in 0..20_u8,
        time in any::<i64>(),
    ) {
        let borrowed: Vec<(&str, &str)> = tags.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let text = line(&measurement, &borrowed, "kwh", i128::from(mantissa), decimals, time);
        let (found, found_tags, field, number, stamp) = parse(&text);
        prop_assert_eq!(found, plain(&measurement));
        let expected: Vec<(String, String)> = tags
            .iter()
            .filter(|(name, value)| !name.is_empty() && !value.is_empty())
            .map(|(name, value)| (plain(name), plain(value)))
            .collect();
        prop_assert_eq!(found_tags, expected);
        prop_assert_eq!(field, "kwh");
        prop_assert_eq!(stamp, time.to_string());
        // The number again, by moving the point back.
        let (whole, part) = number.split_once('.').unwrap_or((&number, ""));
        prop_assert!(!part.ends_with('0') && part.len() <= usize::from(decimals));
        let digits: i128 = format!("{whole}{part:0<width$}", width = usize::from(decimals)).parse().unwrap();
        prop_assert_eq!(digits, i128::from(mantissa));
    }
}
