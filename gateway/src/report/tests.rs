//! One evening of a stack, made by hand: an hour that exceeds, one above the limit that does not count, one that stands
//! still, one of which nothing came.

use std::collections::BTreeMap;
use std::io::Read as _;

use expect_test::{expect, expect_file};
use jiff::Timestamp;
use parkgate_rules::Number;
use parkgate_rules::emission::event::{Evidence, of_hour};
use parkgate_rules::emission::hour::{Mean, MinuteCounts, Regardless};
use parkgate_rules::emission::limit::{AppliesTo, Bound, judge_hour};
use parkgate_rules::emission::mass::{FillRule, FilledHour};
use parkgate_rules::emission::outlet::Outlet;
use parkgate_rules::emission::period::{HourCounts, MassRate, PeriodClass};
use parkgate_rules::emission::{Averaging, HourClass, HourFigure, Letter, Limit, Mark, Period, PeriodFigure, UtcMillis};

use super::fill::Corrected;
use super::summary::{Named, Status};
use super::*;
use crate::emission::entered::Said;
use crate::emission::{HeldLimit, HeldMark};
use crate::rollup::ParkZone;

fn n(text: &str) -> Number {
    text.parse().unwrap()
}

fn at(text: &str) -> UtcMillis {
    UtcMillis(text.parse::<Timestamp>().unwrap().as_millisecond())
}

/// An hour of 31 October 2026, park time.
fn hour(hour: i64) -> Period {
    let from = at("2026-10-31T00:00:00+08:00").plus(hour * 3_600_000);
    Period { from, to: from.plus(3_600_000) }
}

pub fn outlet() -> Outlet {
    toml::from_str(
        r#"
        id = "acme-stack"
        name = { zh = "1号烟囱", en = "Stack 1" }
        enterprise = "acme"
        kind = "stack"
        o2 = { point = "acme/stack/o2" }
        barometric_pressure = { value = 95000 }
        flow = { kind = "standard", point = "acme/stack/flow" }
        [[factor]]
        id = "so2"
        name = { zh = "二氧化硫", en = "SO2" }
        source = { kind = "point", point = "acme/stack/so2" }
        reference = { o2 = 6 }
        [[factor]]
        id = "nox"
        name = { zh = "氮氧化物", en = "NOx" }
        source = { kind = "point", point = "acme/stack/nox" }
        "#,
    )
    .unwrap()
}

fn limit() -> Limit {
    Limit {
        id: "so2-hour".into(),
        outlet: "acme-stack".into(),
        factor: "so2".into(),
        averaging: Averaging::Hour,
        value: n("35"),
        unit: "mg/m3".into(),
        applies_to: AppliesTo::Converted,
        bound: Bound::Upper,
        clause: "permit 91510100-001, table 3".into(),
        valid_from: at("2026-01-01T00:00:00+08:00"),
        valid_to: None,
        author: "wang".into(),
        set_at: Some(at("2026-01-05T09:00:00+08:00")),
    }
}

fn mark() -> Mark {
    Mark {
        id: "mark-7".into(),
        outlet: "acme-stack".into(),
        factor: Some("so2".into()),
        letter: Letter::C,
        // What a person may type.
        condition: "=HYPERLINK(\"http://evil.example\") <script>alert(1)</script>".into(),
        from: hour(21).from.plus(10 * 60_000),
        to: Some(hour(21).from.plus(30 * 60_000)),
        author: "@zhang".into(),
        set_at: at("2026-10-31T21:40:00+08:00"),
    }
}

fn held(limit: Limit) -> HeldLimit {
    HeldLimit { limit, document: Some("No. 7".into()), ended_by: None }
}

/// The mark, and one that was set in error.
fn held_marks() -> [HeldMark; 2] {
    let said = Said { author: "li".into(), time: at("2026-10-31T23:00:00+08:00"), document: None };
    let wrong = Mark { id: "mark-6".into(), author: "chen".into(), condition: "校准".into(), ..mark() };
    let of = |mark, withdrawn_by| HeldMark { mark, document: None, ended_by: None, withdrawn_by };
    [of(wrong, Some(said)), of(mark(), None)]
}

pub fn figure(factor: &str, period: Period, class: HourClass) -> HourFigure {
    HourFigure {
        outlet: "acme-stack".into(),
        factor: factor.into(),
        period,
        class,
        minutes: MinuteCounts::default(),
        reasons: BTreeMap::new(),
        concentration: Mean::default(),
        converted: None,
        converted_of_means: None,
        flow: Mean::default(),
        volume_m3: None,
        volume_weighted_m3: None,
        mass_kg: None,
        mass_rate_kg_h: None,
        partial_mass_kg: None,
        auxiliary: BTreeMap::new(),
        regardless: Regardless::default(),
    }
}

fn mean(value: &str, minutes: u32) -> Mean {
    Mean { value: Some(n(value)), minutes, valid: minutes >= 45 }
}

/// 20:00 valid: SO2 28.6 mg/m3 at 9.2 % O2, reference 6 %: 28.6 x 15 / 11.8 = 36.3559 > 35. Dry standard flow
/// 62 973.95 m3: 28.6 x 62 973.95 x 1e-6 = 1.80105497 kg. 21:00: 30 minutes valid, 20 marked, 10 missing; all that came
/// makes 40.05. 22:00 stopped. 23:00: nothing.
fn figures() -> Vec<HourFigure> {
    let converted = n("28.6") * n("15").over(&n("11.8")).unwrap();
    let exceeds = HourFigure {
        minutes: MinuteCounts { valid: 60, ..MinuteCounts::default() },
        concentration: mean("28.6", 60),
        converted: Some(Mean { value: Some(converted.kept()), minutes: 60, valid: true }),
        converted_of_means: Some(converted.kept()),
        volume_m3: Some(n("62973.95")),
        mass_kg: Some(n("1.80105497")),
        mass_rate_kg_h: Some(n("1.80105497")),
        auxiliary: [("o2", "9.2"), ("temperature", "130"), ("pressure", "-200"), ("humidity", "8")]
            .into_iter()
            .map(|(name, value)| (name.to_owned(), mean(value, 60)))
            .collect(),
        ..figure("so2", hour(20), HourClass::Valid)
    };
    let uncounted = HourFigure {
        minutes: MinuteCounts { valid: 30, marked: 20, missing: 10, by_letter: [(Letter::C, 20)].into(), ..MinuteCounts::default() },
        concentration: mean("31.2", 30),
        converted: Some(mean("39.9", 30)),
        regardless: Regardless {
            concentration: Some(n("31.5")),
            converted: Some(n("40.05")),
            minutes: 50,
            raw: Some(n("31.5")),
            mass_rate_kg_h: Some(n("2.05")),
        },
        ..figure("so2", hour(21), HourClass::Invalid)
    };
    let stopped = HourFigure {
        minutes: MinuteCounts { stopped: 60, by_letter: [(Letter::F, 60)].into(), ..MinuteCounts::default() },
        ..figure("so2", hour(22), HourClass::Stopped)
    };
    let nox = HourFigure {
        minutes: MinuteCounts { valid: 60, ..MinuteCounts::default() },
        concentration: mean("45.1785714285", 60),
        mass_kg: Some(n("2.8450")),
        mass_rate_kg_h: Some(n("2.8450")),
        ..figure("nox", hour(20), HourClass::Valid)
    };
    vec![exceeds, uncounted, stopped, nox]
}

fn frame(averaging: Averaging, range: Period) -> Frame {
    let named = |id: &str, zh: &str, en: &str| Named { id: id.into(), zh: zh.into(), en: en.into() };
    Frame {
        park: named("north", "北区低碳产业园", "North Low-Carbon Park"),
        enterprise: named("acme", "阿克米", "Acme"),
        averaging,
        range,
        until: hour(24).from,
        zone: ParkZone::new("Asia/Shanghai"),
        made_at: at("2026-11-23T15:30:00+08:00"),
        software: "parkgate 1.2.3 (abc)".into(),
        all_abatement: true,
    }
}

fn report() -> Report {
    let (outlet, limits, marks) = (outlet(), [held(limit())], held_marks());
    let corrections = [Corrected {
        outlet: "acme-stack".into(),
        factor: Some("so2".into()),
        averaging: Some(Averaging::Hour),
        period: hour(20),
        figure: "converted".into(),
        old: Some("34.9".into()),
        new: Some("36.355932".into()),
        cause: "late_data".into(),
        at: at("2026-11-01T02:00:00+08:00"),
    }];
    let range = Period { from: hour(20).from, to: hour(24).from };
    let mut builder = Builder::new(frame(Averaging::Hour, range), &outlet, &limits, &marks, &corrections);
    let figures = figures();
    figures.iter().for_each(|figure| builder.hour(figure));
    builder.hour(&figure("so2", hour(19), HourClass::Valid));
    let filled = FilledHour { period: hour(21), rule: FillRule::Last180, mass_kg: Some(n("2.5")), looked_at: 180, run_hours: 1 };
    builder.filled("so2", &filled);
    let mut events = of_hour("acme", &figures[0], &judge_hour(&figures[0], &[limit()]));
    assert_eq!(events.len(), 1);
    events[0].version = 1;
    let other = parkgate_rules::emission::ComplianceEvent { subject: "other-stack".into(), ..events[0].clone() };
    let kept = at("2026-10-31T21:00:05+08:00");
    builder.finish(&[(events.remove(0), kept), (other, kept)])
}

fn key() -> ReportKey {
    ReportKey::from_secret(&[7; 32])
}

fn written(form: Form) -> Vec<u8> {
    write(&report(), form, || Ok(key())).unwrap().bytes
}

#[test]
fn json_is_what_it_was() {
    let mut report = report();
    // Of the outlet as configured, with keys that may come later.
    assert_eq!(std::mem::replace(&mut report.summary.head.configuration, "hash".into()).len(), 64);
    expect_file!["golden/summary.json"].assert_eq(std::str::from_utf8(&json(&report.summary).unwrap()).unwrap());
    let schema = schema();
    assert_eq!(schema["properties"]["rows"]["type"], "array");
}

#[test]
fn what_was_not_counted_comes_first_and_says_why() {
    let summary = report().summary;
    let [one] = &summary.above_limit_not_counted[..] else { panic!("{:?}", summary.above_limit_not_counted) };
    // 40.05 with one decimal, half to even: 40.0.
    assert_eq!((one.value.text().as_str(), one.exact.to_string().as_str()), ("40.0", "40.05"));
    let reasons: Vec<(&str, Option<&str>)> = one.reasons.iter().map(|reason| (&*reason.id, reason.author.as_deref())).collect();
    assert_eq!(reasons, [("invalid", None), ("marked", Some("@zhang")), ("missing_minutes", None)]);
    assert_eq!(one.reasons[0].words.en, "too little of it is valid 30 / 45 min");
    // The same order in every form; lines of CSV begin with the name of their table, and so do elements of the page.
    let order = ["head", "above_limit_not_counted", "exceedances", "rows_so2", "rows_nox", "totals", "parameters", "limits", "marks"];
    let csv = String::from_utf8(written(Form::Csv)).unwrap().replace('\u{feff}', "\n");
    let page = String::from_utf8(written(Form::Html)).unwrap();
    for (text, before, behind) in [(csv, "\n", ","), (page, "<section id=\"", "\"")] {
        let find = |id: &&str| text.find(&format!("{before}{id}{behind}")).unwrap_or_else(|| panic!("no {id}"));
        let places: Vec<usize> = order.iter().map(find).collect();
        assert!(places.is_sorted(), "{places:?}");
    }
}

#[test]
fn every_row_has_its_status_and_no_gap_is_compliant() {
    let summary = report().summary;
    let rows: Vec<(&str, &str, Status)> = summary.rows.iter().map(|row| (&*row.factor, &row.start[11..16], row.status)).collect();
    assert_eq!(
        rows,
        [
            ("so2", "20:00", Status::Exceeded),
            ("so2", "21:00", Status::NotValid),
            ("so2", "22:00", Status::Stopped),
            ("so2", "23:00", Status::Missing),
            ("nox", "20:00", Status::NotJudged),
            ("nox", "21:00", Status::Missing),
            ("nox", "22:00", Status::Missing),
            ("nox", "23:00", Status::Missing),
        ]
    );
    let first = &summary.rows[0];
    let text = |figure: &Option<summary::Figure>| figure.as_ref().unwrap().text();
    // One decimal more than the limit of 35; mass with three.
    assert_eq!((text(&first.average), text(&first.converted), text(&first.mass_kg)), ("28.6".into(), "36.4".into(), "1.801".into()));
    assert_eq!(first.judgements[0].exact.as_ref().unwrap().fixed(6), "36.355932");
    // (36.355932 - 35) / 35 = 0.038741
    assert_eq!(text(&first.judgements[0].times_over), "0.039");
    assert_eq!(first.corrections, 1);
    let so2 = &summary.totals[0];
    assert_eq!((so2.hours.valid, so2.hours.invalid, so2.hours.missing, so2.hours.stopped), (1, 1, 1, 1));
    // 1 of 3 that were not stopped; 0.00180105 t and 0.0025 t filled: 2.5 / 4.30105497 = 0.581253.
    assert_eq!((text(&so2.valid_rate), text(&so2.mass_t), text(&so2.mass_filled_t)), ("0.333333".into(), "0.002".into(), "0.002".into()));
    assert_eq!(text(&so2.filled_share), "0.581253");
    assert_eq!(text(&summary.rows[1].mass_filled_kg), "2.500");
    // No limit: three decimals.
    assert_eq!(text(&summary.rows[4].average), "45.179");
    // The other outlet's event is not told.
    assert_eq!(summary.exceedances.len(), 1);
}

fn day(from: &str, class: PeriodClass, converted: &str, hours: HourCounts) -> PeriodFigure {
    PeriodFigure {
        outlet: "acme-stack".into(),
        factor: "so2".into(),
        averaging: Averaging::Day,
        period: Period { from: at(from), to: at(from).plus(86_400_000) },
        class,
        hours,
        valid_days: None,
        by_letter: BTreeMap::new(),
        concentration: Some(n("20")),
        converted: Some(n(converted)),
        converted_of_means: None,
        min: None,
        max: None,
        o2: Some(n("9.2")),
        volume_m3: None,
        volume_weighted_m3: None,
        mass_kg: Some(n("40")),
        partial_mass_kg: None,
        mass_hours: 24,
        mass_rate: MassRate { kg_h: Some(n("1.6666")), hours: 24, valid: true },
    }
}

#[test]
fn days_are_judged_by_limits_of_the_day_and_stay_open_until_they_are_over() {
    let by_day = Limit { id: "so2-day".into(), averaging: Averaging::Day, value: n("30.0"), ..limit() };
    let (outlet, limits) = (outlet(), [held(limit()), held(by_day)]);
    let hours = |valid, invalid, stopped| HourCounts { hours: 24, valid, invalid, missing: 24 - valid - invalid - stopped, stopped };
    let range = Period { from: at("2026-10-29T00:00:00+08:00"), to: at("2026-11-02T00:00:00+08:00") };
    let mut builder = Builder::new(frame(Averaging::Day, range), &outlet, &limits, &[], &[]);
    // Equal to the limit complies.
    builder.period(&day("2026-10-29T00:00:00+08:00", PeriodClass::Valid, "30", hours(24, 0, 0)));
    builder.period(&day("2026-10-30T00:00:00+08:00", PeriodClass::Valid, "30.00000001", hours(20, 2, 2)));
    builder.period(&day("2026-10-31T00:00:00+08:00", PeriodClass::Invalid, "45.5", hours(10, 4, 0)));
    builder.period(&day("2026-11-01T00:00:00+08:00", PeriodClass::Invalid, "45.5", HourCounts::default()));
    let figures = figures();
    figures.iter().for_each(|figure| builder.hour(figure));
    let summary = builder.finish(&[]).summary;
    let so2: Vec<Status> = summary.rows.iter().filter(|row| row.factor == "so2").map(|row| row.status).collect();
    assert_eq!(so2, [Status::Compliant, Status::Exceeded, Status::NotValid, Status::Open]);
    // The hour of 21:00 and the day of the 31st are above and not counted; the open day is not told of.
    let not_counted: Vec<(&str, String)> = summary.above_limit_not_counted.iter().map(|one| (&one.start[..16], one.value.text())).collect();
    assert_eq!(not_counted, [("2026-10-31T00:00", "45.5".into()), ("2026-10-31T21:00", "40.0".into())]);
    let second = &summary.rows[1];
    let [day] = &second.judgements[..] else { panic!("{:?}", second.judgements) };
    assert_eq!((day.value.as_ref().unwrap().text(), day.exact.as_ref().unwrap().to_string()), ("30.0".into(), "30.00000001".into()));
    // 20 / 22 of the hours that were not stopped.
    assert_eq!(second.valid_rate.as_ref().unwrap().text(), "0.909091");
    // Of hours that were given with them: their temperature.
    assert_eq!(summary.rows[2].temperature.as_ref().unwrap().text(), "130.00");
}

#[test]
fn a_day_of_which_too_little_flow_is_known_is_not_compliant() {
    let rate = |id: &str, value: &str| {
        let limit = Limit { averaging: Averaging::Day, value: n(value), unit: "kg/h".into(), applies_to: AppliesTo::MassRate, ..limit() };
        held(Limit { id: id.into(), ..limit })
    };
    let (outlet, limits) = (outlet(), [rate("high", "2"), rate("low", "1.5")]);
    let range = Period { from: at("2026-10-29T00:00:00+08:00"), to: at("2026-10-31T00:00:00+08:00") };
    let mut builder = Builder::new(frame(Averaging::Day, range), &outlet, &limits, &[], &[]);
    let hours = HourCounts { hours: 24, valid: 24, ..HourCounts::default() };
    // 24 valid concentrations, and the flow of one hour: its 1.6666 kg/h is below one limit and above the other, and neither is judged.
    let mut first = day("2026-10-29T00:00:00+08:00", PeriodClass::Valid, "20", hours);
    first.mass_rate = MassRate { hours: 1, valid: false, ..first.mass_rate };
    builder.period(&first);
    builder.period(&day("2026-10-30T00:00:00+08:00", PeriodClass::Valid, "20", hours));
    let summary = builder.finish(&[]).summary;
    let so2: Vec<&summary::Row> = summary.rows.iter().filter(|row| row.factor == "so2").collect();
    assert_eq!(so2.iter().map(|row| row.status).collect::<Vec<_>>(), [Status::NotValid, Status::Exceeded]);
    let of_limits = |row: &summary::Row| row.judgements.iter().map(|judged| judged.status).collect::<Vec<_>>();
    assert_eq!(of_limits(so2[0]), [Status::NotValid, Status::NotValid]);
    assert_eq!(of_limits(so2[1]), [Status::Compliant, Status::Exceeded]);
    let [one] = &summary.above_limit_not_counted[..] else { panic!("{:?}", summary.above_limit_not_counted) };
    assert_eq!((one.value.text().as_str(), one.limit.to_string().as_str(), &*one.reasons[0].id), ("1.667", "1.5", "no_figure"));
    assert!(one.reasons[0].words.en.ends_with("1 / 24 h"), "{}", one.reasons[0].words.en);
}

#[test]
fn csv_is_what_spreadsheets_and_programs_read() {
    let bytes = written(Form::Csv);
    assert!(bytes.starts_with(&[0xef, 0xbb, 0xbf]), "no byte order mark");
    let text = String::from_utf8(bytes).unwrap();
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
    // By another reader: all lines have as many fields, and no text begins as a formula does.
    let mut reader = ::csv::ReaderBuilder::new().has_headers(false).from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let records: Vec<::csv::StringRecord> = reader.records().collect::<Result<_, _>>().unwrap();
    for record in &records {
        for field in record.iter().filter(|field| field.starts_with(['=', '+', '-', '@', '\t'])) {
            assert!(field.parse::<f64>().is_ok(), "`{field}` is a formula");
        }
    }
    let lines = |id: &str| records.iter().filter(|record| &record[0] == id).collect::<Vec<_>>();
    let marks = lines("marks");
    assert_eq!((&marks[1][7], &marks[1][10]), ("chen", "li"));
    assert_eq!(&marks[2][4], "'=HYPERLINK(\"http://evil.example\") <script>alert(1)</script>");
    assert_eq!(&marks[2][7], "'@zhang");
    let so2 = lines("rows_so2");
    assert_eq!(so2.len(), 5);
    assert_eq!(&so2[0][3], "实测均值（标干） average, dry, standard state [mg/m3]");
    assert_eq!((&so2[1][1], &so2[1][2]), ("2026-10-31T20:00:00+08:00", "2026-10-31T21:00:00+08:00"));
    // A negative number stays one: the static pressure.
    assert!(so2[1].iter().any(|field| field == "-200"), "{:?}", so2[1]);
    expect!["rows_so2|2026-10-31T22:00:00+08:00|2026-10-31T23:00:00+08:00||||35|mg/m3||停运 stopped|折算 converted: -, <= 35 mg/m3: 停运 stopped||||F 60 min||0|0|0|1|||||||0"]
    .assert_eq(&so2[3].iter().collect::<Vec<_>>().join("|"));
    // What there is nothing of is said.
    assert!(lines("corrections").len() == 2 && lines("limits").len() == 2);
}

/// A part of a workbook.
fn part(workbook: &[u8], name: &str) -> String {
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(workbook)).unwrap();
    let mut text = String::new();
    archive.by_name(name).unwrap_or_else(|error| panic!("{name}: {error}")).read_to_string(&mut text).unwrap();
    text
}

#[test]
fn the_workbook_holds_the_same_tables() {
    let workbook = written(Form::Xlsx);
    let names = part(&workbook, "xl/workbook.xml");
    let sheets: Vec<&str> = names.split("<sheet name=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(
        sheets,
        [
            "head",
            "above_limit_not_counted",
            "exceedances",
            "rows_so2",
            "rows_nox",
            "totals",
            "parameters",
            "limits",
            "marks",
            "corrections"
        ]
    );
    for number in 1..=sheets.len() {
        let sheet = part(&workbook, &format!("xl/worksheets/sheet{number}.xml"));
        assert!(sheet.contains("state=\"frozen\"") && sheet.contains("ySplit=\"1\""), "sheet {number} has no frozen head");
        assert!(!sheet.contains("<f>"), "sheet {number} has a formula");
    }
    let so2 = part(&workbook, "xl/worksheets/sheet4.xml");
    // Numbers as they are written, in their format; the unrounded one with all its digits is a text.
    for number in ["<v>28.6</v>", "<v>36.4</v>", "<v>1.801</v>", "<v>-200</v>"] {
        assert!(so2.contains(number), "no {number} in {so2}");
    }
    let styles = part(&workbook, "xl/styles.xml");
    assert!(styles.contains("formatCode=\"0.000\"") && styles.contains("numFmtId=\"49\""), "{styles}");
    let strings = part(&workbook, "xl/sharedStrings.xml");
    assert!(strings.contains("=HYPERLINK(\"http://evil.example\") &lt;script&gt;"), "{strings}");
    assert!(strings.contains("36.3559322033898305"), "{strings}");
    assert_eq!(workbook, written(Form::Xlsx), "two workbooks of one summary differ");
}

#[test]
fn the_page_is_plain_and_escapes_everything() {
    let page = String::from_utf8(written(Form::Html)).unwrap();
    assert!(!page.contains("<script") && !page.contains("http-equiv") && !page.contains(" src="));
    assert!(page.contains("=HYPERLINK(&quot;http://evil.example&quot;) &lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(page.contains("@media print") && page.contains("超过限值但未计入") && page.contains("Above the limit, not counted"));
    // Each opened element is closed.
    for element in ["section", "table", "thead", "tbody", "tr", "th", "td", "h2"] {
        let opened = page.matches(&format!("<{element}>")).count() + page.matches(&format!("<{element} ")).count();
        assert_eq!(opened, page.matches(&format!("</{element}>")).count(), "{element}");
    }
}

#[test]
fn a_package_holds_every_form_and_verifies() {
    let package = written(Form::Package);
    assert_eq!(package, written(Form::Package), "two packages of one summary differ");
    let verified = package::verify(&package, Some(&key().public())).unwrap();
    let names: Vec<&str> = verified.manifest.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "summary.json",
            "summary.csv",
            "summary.xlsx",
            "summary.html",
            "parameters.jsonl",
            "limits.jsonl",
            "marks.jsonl",
            "corrections.jsonl",
            "events.jsonl"
        ]
    );
    let archive = archive::Archive::open(&package).unwrap();
    let read = |name: &str| archive.file(name).unwrap().read(archive::FILE_MAX).unwrap();
    assert_eq!(read("summary.json"), written(Form::Json));
    let events = String::from_utf8(read("events.jsonl")).unwrap();
    let event: parkgate_rules::emission::ComplianceEvent = serde_json::from_str(events.trim()).unwrap();
    assert!(matches!(event.evidence, Evidence::Hour { .. }) && event.version == 1);
    for at in [40, package.len() / 3, package.len() / 2] {
        let mut changed = package.clone();
        changed[at] ^= 1;
        assert!(package::verify(&changed, None).is_err(), "byte {at}");
    }
    let name = write(&report(), Form::Package, || Ok(key())).unwrap().name;
    assert_eq!(name, "parkgate-emissions-acme-stack-hour-2026-10-31.zip");
}
