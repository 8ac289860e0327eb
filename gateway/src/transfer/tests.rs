//! Files in and out: rows, refusals, and that what goes out comes in as it was.

use std::sync::Arc;

use jiff::tz::TimeZone;
use parkgate_collector::catalogue::{Catalogue, MemoryRegistry};
use parkgate_collector::journal::Sequence;
use parkgate_collector::model::{Origin, PointId, Quality, Reason, Sample, Status, Step, UtcMillis};

use super::export::{Format, SampleRows};
use super::line_protocol::{Precision, SeriesMap};
use super::rows::{Refused, Row, RowsError, Targets};
use super::*;
use crate::store::{History, HistorySettings};

const CONFIG: &str = r#"
[park]
id = "park"
time_zone = "Europe/Berlin"
[[enterprise]]
id = "acme"
[[link]]
id = "broker"
driver = "mqtt"
host = "127.0.0.1"
[[device]]
id = "meter"
link = "broker"
enterprise = "acme"
[[device.topic]]
filter = "meters/1"
[[device.point]]
id = "energy_import"
medium = "power"
kind = "counter"
raw_unit = "Wh"
unit = "kWh"
decimals = 2
path = "e"
[[device.point]]
id = "water_temperature"
medium = "heat"
kind = "gauge"
unit = "degC"
decimals = 1
path = "t"
"#;

fn catalogue() -> Catalogue {
    crate::testing::catalogue(CONFIG, &mut MemoryRegistry::default())
}

fn targets() -> Targets {
    Targets::new(&catalogue(), UtcMillis(2_000_000_000_000))
}

fn read(text: &str) -> Vec<Result<Row, Refused>> {
    let mut all = Vec::new();
    rows::read_csv(text.as_bytes(), &targets(), |row| {
        all.push(row);
        true
    })
    .unwrap();
    all
}

#[test]
fn rows_are_read_exactly_in_their_unit_and_zone() {
    let ok = |fields: &str| {
        let text = format!("\u{feff}point,time,value,unit,quality,reason,origin\r\n{fields}\r\n");
        let row = read(&text).remove(0).unwrap_or_else(|refused| panic!("{fields}: {refused:?}"));
        (row.time.0, row.number.map(|number| number.to_string()), row.rounded)
    };
    let exact = |time: i64, number: &str| (time, Ok(number.to_owned()), false);
    // 2026-01-01T00:00:00+01:00 is 1,767,222,000 s.
    assert_eq!(ok("acme/meter/energy_import,2026-01-01T00:00:00+01:00,12.5,,,,"), exact(1_767_222_000_000, "12.50"));
    assert_eq!(ok("acme/meter/energy_import,2026-01-01 00:00,12.5,,good,none,metered"), exact(1_767_222_000_000, "12.50"));
    assert_eq!(ok("acme/meter/energy_import,1767222000000,12500,Wh,,,"), exact(1_767_222_000_000, "12.50"));
    assert_eq!(ok("acme/meter/energy_import,946684800000,-1e1,,uncertain,clock,"), exact(946_684_800_000, "-10.00"));
    // 68 degF is not to be had here; 293.15 K is 20 degC.
    assert_eq!(ok("acme/meter/water_temperature,1700000000000,293.15,K,,,"), exact(1_700_000_000_000, "20.0"));
    // 0.125 lies half way: to even.
    assert_eq!(ok("acme/meter/energy_import,1700000000000,0.125,,,,"), (1_700_000_000_000, Ok("0.12".into()), true));
    assert_eq!(ok("acme/meter/energy_import,1700000000000,1.234999,Wh,,,"), (1_700_000_000_000, Ok("0.00".into()), true));
    assert_eq!(ok("acme/meter/energy_import,1700000000000,,,bad,timeout,"), (1_700_000_000_000, Err(Reason::Timeout), false));
    assert_eq!(ok("acme/meter/energy_import,1700000000000,7,,bad,device_flag,"), (1_700_000_000_000, Err(Reason::DeviceFlag), false));
    assert_eq!(ok("acme/meter/energy_import,1700000000000,7,,bad,range,"), exact(1_700_000_000_000, "7.00"));
}

#[test]
fn rows_that_do_not_do_are_refused_with_line_and_remedy() {
    let text = "value,point,time,unit,quality,reason\n\
        1,acme/meter/energy_import,1700000000000,,,\n\
        1,acme/meter/energy_imported,1700000000000,,,\n\
        1,acme/meter/energy_import,2026-03-29 02:30,,,\n\
        1,acme/meter/energy_import,2026-10-25 02:30,,,\n\
        1,acme/meter/energy_import,soon,,,\n\
        1,acme/meter/energy_import,2099-01-01,,,\n\
        1 000,acme/meter/energy_import,1700000000000,,,\n\
        1,acme/meter/energy_import,1700000000000,m3,,\n\
        1,acme/meter/energy_import,1700000000000,furlong,,\n\
        ,acme/meter/energy_import,1700000000000,,,\n\
        1,acme/meter/energy_import,1700000000000,,splendid,\n\
        1,acme/meter/energy_import,1700000000000,,bad,fog\n\
        99999999999999999999,acme/meter/energy_import,1700000000000,,,\n\
        92233720368547759,acme/meter/energy_import,1700000000000,,,\n\
        short\n\
        1,acme/meter/energy_import,1700000000,,,\n\
        1,acme/meter/energy_import,946684799999,,,\n\
        \"2\",\"acme/meter/energy_import\",\"1700000000000\"\n";
    let found: Vec<(u64, String)> = read(text).into_iter().filter_map(Result::err).map(|one| (one.line, one.why)).collect();
    let expected = [
        (3, "did you mean `acme/meter/energy_import`"),
        (4, "is there twice or not at all"),
        (5, "is there twice or not at all"),
        (6, "`soon` is no time"),
        (7, "lies in the future"),
        (8, "is not a decimal number"),
        (9, "cannot be converted to kWh"),
        (10, "`furlong` is no known unit"),
        (11, "there is no value"),
        (12, "`splendid` is no quality"),
        (13, "`fog` is no reason"),
        (14, "more digits than fit"),
        (15, "does not fit 2 decimals"),
        (16, "there is no point"),
        (17, "lies before 2000; is the unit of the times right?"),
        (18, "lies before 2000"),
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for ((line, why), (at, part)) in found.iter().zip(expected) {
        assert!(*line == at && why.contains(part), "{line}: {why}");
    }
    assert_eq!(read(text).iter().filter(|row| row.is_ok()).count(), 2);
}

#[test]
fn files_that_hold_no_such_rows_are_refused_at_once() {
    let read = |bytes: &[u8]| rows::read_csv(bytes, &targets(), |_| true);
    for (text, part) in [("", "no column `"), ("a,b\n1,2\n", "no column `"), ("point,value\nx,1\n", "no column `time`")] {
        let error = read(text.as_bytes()).unwrap_err();
        assert!(matches!(&error, RowsError::Header(why) if why.contains(part)), "{text:?}: {error}");
    }
    let endless = [b"point,time,value\n".as_slice(), &vec![b'"'; rows::RECORD_BYTES_MAX * 2]].concat();
    assert!(matches!(read(&endless), Err(RowsError::Record { line: 2 })), "{:?}", read(&endless));
    let mut lines = Vec::new();
    rows::read_csv(b"point,time,value\n\xff,0,1\nx,0,1\n".as_slice(), &targets(), |row| {
        lines.push(row.unwrap_err().line);
        true
    })
    .unwrap();
    assert_eq!(lines, [2, 3]);
}

#[test]
fn a_row_without_its_quote_does_not_take_its_neighbours_along_in_silence() {
    let good = |count: usize| "acme/meter/energy_import,1700000000000,1,,\n".repeat(count);
    let head = "point,time,value,unit,note\n";
    // A good row whose note does not end: it and what it swallowed, up to the end of the file or the next quote.
    let open = "acme/meter/energy_import,1700000000000,1,,\"note\n";
    for (text, taken, line, last) in [
        (format!("{head}{}{open}{}", good(3), good(20)), 3, 5, 25),
        (format!("{head}{open}{}x\"\n{}", good(4), good(7)), 7, 2, 7),
        (format!("{head}\n\n{}", good(2)), 2, 0, 0),
    ] {
        let (rows, refused): (Vec<_>, Vec<_>) = read(&text).into_iter().partition(Result::is_ok);
        let refused: Vec<Refused> = refused.into_iter().map(Result::unwrap_err).collect();
        assert_eq!((rows.len(), refused.len()), (taken, usize::from(line > 0)), "{refused:?}");
        let expected = format!("goes on to line {last},");
        assert!(refused.iter().all(|one| one.line == line && one.why.contains(&expected) && one.why.contains("quote")), "{refused:?}");
    }
    // One that never ends is not gathered in memory.
    let mut taken = 0;
    let endless = format!("{head}{}{open}{}", good(3), good(100_000));
    let error = rows::read_csv(endless.as_bytes(), &targets(), |row| {
        taken += usize::from(row.is_ok());
        true
    });
    let error = error.unwrap_err();
    assert!(matches!(error, RowsError::Record { line: 5 }) && taken == 3, "{error} after {taken}");
    assert!(error.to_string().contains("line 5") && error.to_string().contains("Nothing from that line on was read"));
}

#[test]
fn names_are_suggested_for_short_names_and_as_long_as_messages_are_shown() {
    let targets = targets();
    let long = "x".repeat(300);
    assert!(!targets.find(&long).unwrap_err().contains("did you mean"));
    let suggested = (0..300).filter(|_| targets.find("acme/meter/energy_imported").unwrap_err().contains("did you mean")).count();
    assert_eq!(suggested, 100);
}

#[test]
fn line_protocol_finds_its_points_by_tag_or_by_mapping() {
    let targets = targets();
    let pairs = [
        ("plant.kwh,hall=2", "acme/meter/energy_import"),
        ("plant.t", "acme/meter/water_temperature"),
        ("plant.kwh,hall=2,side=b", "acme/meter/water_temperature"),
    ];
    let pairs: Vec<(String, String)> = pairs.map(|(from, point)| (from.to_owned(), point.to_owned())).into();
    let map = SeriesMap::new(&pairs, &targets).unwrap();
    let text = "# comment\n\
        park_energy_import,point=acme/meter/energy_import kwh=1.5 1700000000000000000\n\
        plant,hall=2 kwh=3i,t=20.5 1700000000000000000\n\
        \n\
        plant,hall=2,side=b kwh=4 1700000000000999999\n\
        plant,hall=3 kwh=4 1700000000000000000\n\
        park_energy_import,point=acme/meter/energy_import wh=1.5 1700000000000000000\n\
        plant t=20.5\n\
        plant t=\"hot\" 1700000000000000000\n\
        plant t\n";
    let mut all = Vec::new();
    line_protocol::read(text.as_bytes(), &targets, &map, Precision::Ns, |row| {
        all.push(row);
        true
    })
    .unwrap();
    let good: Vec<(String, i64, String)> = all
        .iter()
        .flatten()
        .map(|row| (row.point.local_id.clone(), row.time.0, row.number.map(|number| number.to_string()).unwrap()))
        .collect();
    let at = 1_700_000_000_000;
    let expected = [("energy_import", "1.50"), ("energy_import", "3.00"), ("water_temperature", "20.5"), ("water_temperature", "4.0")];
    assert_eq!(good, expected.map(|(point, number)| (point.to_owned(), at, number.to_owned())));
    let refused: Vec<(u64, String)> = all.into_iter().filter_map(Result::err).map(|one| (one.line, one.why)).collect();
    let parts = [(6, "--point-map"), (7, "is not park_energy_import.kwh"), (8, "no time"), (9, "a text is no value"), (10, "no field")];
    assert_eq!(refused.len(), parts.len(), "{refused:#?}");
    for ((line, why), (at, part)) in refused.iter().zip(parts) {
        assert!(*line == at && why.contains(part), "{line}: {why}");
    }
    for bad in ["plant", "plant.t,hall", "plant.t"] {
        assert!(SeriesMap::new(&[(bad.to_owned(), "nowhere".to_owned())], &targets).is_err(), "{bad}");
    }
}

fn samples() -> Vec<Sample> {
    let good = Status::new(Quality::Good, Reason::None, Origin::Imported, Step::Delta);
    let missing = Status::new(Quality::Bad, Reason::Timeout, Origin::Metered, Step::None).without_number();
    let sample = |time: i64, status, value, source: Option<i64>| Sample {
        point: PointId(1),
        status,
        value,
        source_time: source.map(UtcMillis),
        received_time: UtcMillis(time + 1500),
        record_time: UtcMillis(time),
    };
    // Around the hour that Berlin has twice.
    vec![sample(1_792_887_300_000, good, -5, Some(1_792_887_300_000)), sample(1_792_890_900_001, missing, 0, None)]
}

#[test]
fn a_table_says_all_of_a_sample() {
    let identity = &catalogue().points[0].identity;
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    let table = |format| {
        let mut rows = SampleRows::new(Vec::new(), format, zone.clone()).unwrap();
        samples().iter().for_each(|sample| rows.push(identity, sample).unwrap());
        String::from_utf8(rows.finish().unwrap()).unwrap()
    };
    assert_eq!(
        table(Format::Csv),
        "point,time,time_ms,value,unit,quality,reason,origin,source_time,received_time\r\n\
         acme/meter/energy_import,2026-10-25T02:15:00.000+02:00,1792887300000,-0.05,kWh,good,,imported,\
         2026-10-25T02:15:00.000+02:00,2026-10-25T02:15:01.500+02:00\r\n\
         acme/meter/energy_import,2026-10-25T02:15:00.001+01:00,1792890900001,,kWh,bad,timeout,metered,,\
         2026-10-25T02:15:01.501+01:00\r\n"
    );
    let lines: Vec<serde_json::Value> = table(Format::Jsonl).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["value"], &lines[0]["time_ms"]), (&"-0.05".into(), &1_792_887_300_000i64.into()));
    assert_eq!((&lines[1]["value"], &lines[1]["source_time"]), (&serde_json::Value::Null, &serde_json::Value::Null));
    // It reads back to the same values.
    let rows: Vec<Row> = read(&table(Format::Csv)).into_iter().map(Result::unwrap).collect();
    assert_eq!(rows.iter().map(|row| row.time.0).collect::<Vec<_>>(), [1_792_887_300_000, 1_792_890_900_001]);
    assert_eq!(rows[0].number.map(|number| number.to_string()), Ok("-0.05".into()));
    assert_eq!(rows[1].number, Err(Reason::Timeout));
    assert_eq!(csv::text("=1+2"), "'=1+2");
}

#[test]
fn a_long_range_is_read_page_by_page_without_loss() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::open(folder.path(), HistorySettings::default(), Arc::new(|_| false)).unwrap();
    let mut all = Vec::new();
    let template = samples()[0];
    for i in 0..50_000i64 {
        // Now and then many of one millisecond, by their source times.
        let record = UtcMillis(1_700_000_000_000 + (if i % 20_000 < 100 { i / 100 * 100 } else { i }) * 1000);
        all.push(Sample { value: i, record_time: record, source_time: Some(UtcMillis(1_600_000_000_000 + i)), ..template });
    }
    for (sequence, part) in (1..).zip(all.chunks(1000)) {
        history.apply_samples(Sequence(sequence), part);
    }
    let identity = &catalogue().points[0].identity;
    let mut rows = SampleRows::new(Vec::new(), Format::Csv, TimeZone::UTC).unwrap();
    let written = rows.push_range(&history, (PointId(1), identity), UtcMillis(i64::MIN), UtcMillis(i64::MAX)).unwrap();
    assert_eq!(written, 50_000);
    let text = String::from_utf8(rows.finish().unwrap()).unwrap();
    let mut values: Vec<&str> = text.lines().skip(1).map(|line| line.split(',').nth(3).unwrap()).collect();
    values.sort_unstable();
    values.dedup();
    assert_eq!(values.len(), 50_000);
}
