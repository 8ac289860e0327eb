//! Plain numbers and CSV lines: cases from the field, and noise.

use proptest::prelude::*;

use super::*;
use crate::model::{Decimal, Number, PointId, Reading};
use crate::protocol::json::{MapError, PathStep, ValuePath};

fn at(columns: &[usize]) -> Vec<(ValuePath, PointId)> {
    (0u32..).zip(columns).map(|(point, column)| (ValuePath { steps: vec![PathStep::Index(*column)] }, PointId(point))).collect()
}

fn csv(separator: u8, decimal_comma: bool, time: Option<(usize, TimeFormat)>) -> TextMap {
    TextMap { separator: Some(separator), decimal_comma, time }
}

const PLAIN: TextMap = TextMap { separator: None, decimal_comma: false, time: None };

/// Readings as `point=number@time`, or the class and text of the error.
fn run(map: &TextMap, columns: &[usize], payload: &str) -> String {
    let mut out = Vec::new();
    match TextMapper::new(map, &at(columns)).unwrap().map(payload.as_bytes(), &mut out) {
        Ok(mapped) => {
            assert_eq!(mapped.readings, out.len());
            let show = |reading: &Reading| {
                let number = match reading.number {
                    Number::Exact(number) => number.to_string(),
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
fn a_plain_number_is_read_exactly() {
    let comma = TextMap { decimal_comma: true, ..PLAIN };
    for (map, payload, wanted) in [
        (&PLAIN, "12.50", "0=12.50"),
        (&PLAIN, " -7\r\n", "0=-7"),
        (&PLAIN, "\u{feff}1e3", "0=1000"),
        (&PLAIN, "0.1000000000000000055511151231257827", "0=0.100000000000000006"),
        (&PLAIN, "true", "0=1"),
        (&PLAIN, "", "0=Missing(NotAvailable)"),
        (&PLAIN, "null", "0=Missing(NotAvailable)"),
        (&PLAIN, "12,5", "type: `the payload` at byte 0 is no number: 12,5; map it elsewhere or mend the device"),
        (&PLAIN, "12.5 kW", "type: `the payload` at byte 0 is no number: 12.5 kW; map it elsewhere or mend the device"),
        (&PLAIN, "{\"v\":1}", "type: `the payload` at byte 0 is no number: {\"v\":1}; map it elsewhere or mend the device"),
        (&PLAIN, "NaN", "type: `the payload` at byte 0 is no number: NaN; map it elsewhere or mend the device"),
        (&comma, "12,50", "0=12.50"),
        (&comma, "1.234,5", "type: `the payload` at byte 0 is no number: 1.234,5; map it elsewhere or mend the device"),
    ] {
        assert_eq!(run(map, &[0], payload), wanted, "{payload}");
    }
    let long = format!("{},5", "1".repeat(100));
    assert!(run(&comma, &[0], &long).starts_with("type: "), "longer than any number with a decimal comma");
    let mut out = Vec::new();
    let error = TextMapper::new(&PLAIN, &at(&[0])).unwrap().map(b"1\xff", &mut out).unwrap_err();
    assert_eq!(error, MapError::NotUtf8 { offset: 1 });
}

#[test]
fn columns_are_mapped_by_number() {
    let plain = csv(b',', false, None);
    let german = csv(b';', true, Some((0, TimeFormat::Local { pattern: "%d.%m.%Y %H:%M:%S".into(), zone: "Asia/Shanghai".into() })));
    let epoch = csv(b'\t', false, Some((1, TimeFormat::EpochSeconds)));
    for (map, columns, payload, wanted) in [
        (&plain, &[0, 2][..], "1.50,x,-2", "0=1.50 1=-2"),
        (&plain, &[2, 0], "1,x,3\n", "1=1 0=3"),
        (&plain, &[0, 0], "7", "0=7 1=7"),
        (&plain, &[0, 9], "7", "0=7"),
        (&plain, &[0, 1], " 1 , ", "0=1 1=Missing(NotAvailable)"),
        (&plain, &[1], "\"a,\"\"b\",\"2.5\"", "0=2.5"),
        (&plain, &[1], "\"open,2", "0=2"),
        (&plain, &[0], "1\r\n\r\n2\n", "0=1 0=2"),
        (
            &plain,
            &[3],
            "1,2",
            "path: none of the mapped values is in the payload (looked for column 4); compare the device's paths with the payload",
        ),
        (&plain, &[1], "1,two", "type: `column 2` at byte 2 is no number: two; map it elsewhere or mend the device"),
        (&german, &[1, 2], "06.12.2025 13:46:39;12,5;8", "0=12.5@1764999999000 1=8@1764999999000"),
        (
            &german,
            &[1],
            "2025-12-06;1",
            "timestamp: time `column 1` at byte 0 is 2025-12-06, but local time written as %d.%m.%Y %H:%M:%S is declared",
        ),
        (&epoch, &[0, 2], "1\t1764999999.5\t2", "0=1@1764999999500 1=2@1764999999500"),
        (&epoch, &[0], "1\t1764999999\n2\t1765000000", "0=1@1764999999000 0=2@1765000000000"),
        (&epoch, &[0], "1", "timestamp: time `column 2` is missing; declare no time to use the time of arrival"),
    ] {
        assert_eq!(run(map, columns, payload), wanted, "{payload:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_make_readings_or_an_error(payload in prop::collection::vec(any::<u8>(), 0..200), comma: bool) {
        for separator in [None, Some(b','), Some(b';')] {
            for time in [None, Some((1, TimeFormat::EpochMillis)), Some((0, TimeFormat::Rfc3339))] {
                let mut out = vec![];
                let mapper = TextMapper::new(&TextMap { separator, decimal_comma: comma, time }, &at(&[0, 2])).unwrap();
                match mapper.map(&payload, &mut out) {
                    Ok(mapped) => prop_assert_eq!(mapped.readings, out.len()),
                    Err(_) => prop_assert!(out.is_empty()),
                }
            }
        }
    }

    /// What is written is what is read, in every form.
    #[test]
    fn numbers_come_back(numbers in prop::collection::vec((-1_000_000_000i64..1_000_000_000, -6i8..1), 1..8), comma: bool, quoted: bool) {
        let numbers: Vec<Decimal> = numbers.into_iter().map(|(mantissa, exponent)| Decimal::new(mantissa, exponent)).collect();
        let show = |number: &Decimal| {
            let text = if comma { number.to_string().replace('.', ",") } else { number.to_string() };
            if quoted { format!("\"{text}\"") } else { text }
        };
        let line = numbers.iter().map(show).collect::<Vec<_>>().join(";");
        let columns: Vec<usize> = (0..numbers.len()).collect();
        let mut out = Vec::new();
        TextMapper::new(&csv(b';', comma, None), &at(&columns)).unwrap().map(line.as_bytes(), &mut out).unwrap();
        for (reading, wanted) in out.iter().zip(&numbers) {
            let Number::Exact(number) = reading.number else { panic!("{reading:?}") };
            prop_assert_eq!(number.cmp_value(*wanted), std::cmp::Ordering::Equal);
        }
        prop_assert_eq!(out.len(), numbers.len());
    }

    #[test]
    fn fields_are_as_many_as_separators(line in "[a-z0-9 .]{0,5}(;[a-z0-9 .]{0,5}){0,6}") {
        prop_assert_eq!(Fields::new(&line, b';').count(), line.matches(';').count() + 1);
    }
}
