//! The API over real sockets.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parkgate_collector::catalogue::{Catalogue, Enterprise};
use parkgate_collector::model::{Kind, Medium, Origin, PointId, Quality, Reason, Sample, Status, Step, UtcMillis};
use serde_json::{Value, json};

use super::super::fake::{Closing, FakeRecord, NOW, Served, device, modbus_link, names, park, sample, small_park, start};
use super::super::tests::{get, send, send_bytes};
use super::Form;
use crate::access::{Identity, Role, Scope};
use crate::promql::park::{Index, ParkSource};
use crate::promql::source::is_absent;
use crate::promql::{self, Answer, Error, Grid, Labels, Limits, Patience, Samples, Selection, Series, Source};
use crate::rollup::total::{CounterTotal, Figures, Level, TotalsView};
use crate::store::RecordView;

/// Two points of one device; the second's last sample is bad.
async fn served() -> Served {
    let served = start("127.0.0.1:0", small_park(), None, "boot-1").await;
    for (index, value) in [(3, 1_204), (2, 1_210), (1, 1_199)] {
        served.record.push(sample(1, NOW.plus(-10_000 * index), value));
    }
    served.record.push(sample(2, NOW.plus(-20_000), 12_345));
    served.record.push(Sample {
        status: Status::new(Quality::Bad, Reason::Timeout, Origin::Metered, Step::None).without_number(),
        ..sample(3, NOW.plus(-500), 0)
    });
    served
}

async fn ask(path: &str) -> (u16, Value) {
    let answer = get(&served().await, &format!("/prometheus/api/v1/{path}")).await;
    (answer.status, serde_json::from_str(&answer.body).unwrap_or(Value::String(answer.body)))
}

#[tokio::test]
async fn instant_queries() {
    let power = json!({ "__name__": "park_active_power_kw", "device": "acme/main", "enterprise": "acme", "medium": "power",
        "point": "acme/main/power", "quantity": "active_power" });
    let vector = |result: Value| json!({ "status": "success", "data": { "resultType": "vector", "result": result } });
    for (query, expected) in [
        ("query=1%2B1&time=4", json!({ "status": "success", "data": { "resultType": "scalar", "result": [4, "2"] } })),
        ("query=%22a%22&time=4.5", json!({ "status": "success", "data": { "resultType": "string", "result": [4.5, "a"] } })),
        ("query=park_active_power_kw", vector(json!([{ "metric": power, "value": [1767323045.678, "119.9"] }]))),
        ("query=sum(park_energy_import_kwh)", vector(json!([{ "metric": {}, "value": [1767323045.678, "123.45"] }]))),
        // The last sample is bad, and ends what was before.
        ("query=park_gas_volume_nm3", vector(json!([]))),
        (
            "query=park_active_power_kw/0",
            vector(json!([{ "metric": { "device": "acme/main", "enterprise": "acme", "medium": "power",
            "point": "acme/main/power", "quantity": "active_power" }, "value": [1767323045.678, "+Inf"] }])),
        ),
    ] {
        assert_eq!(ask(&format!("query?{query}")).await, (200, expected), "{query}");
    }
}

#[tokio::test]
async fn range_queries_by_get_and_by_form() {
    let form = "query=sum(park_active_power_kw)&start=1767323015&end=1767323045&step=10";
    let (status, body) = ask(&format!("query_range?{form}")).await;
    // The first sample, 120.4, was taken at ...15.678, after the first step.
    let values = json!([[1_767_323_025, "120.4"], [1_767_323_035, "121"], [1_767_323_045, "119.9"]]);
    let expected = json!({ "status": "success", "data": { "resultType": "matrix", "result": [{ "metric": {}, "values": values }] } });
    assert_eq!((status, &body), (200, &expected));
    let request = format!(
        "POST /prometheus/api/v1/query_range HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    let posted = send(&served().await, &request).await;
    assert_eq!((posted.status, serde_json::from_str::<Value>(&posted.body).unwrap()), (200, body));
}

#[tokio::test]
async fn labels_values_series_and_metadata() {
    let success = |data: Value| (200, json!({ "status": "success", "data": data }));
    let names = json!(["__name__", "device", "enterprise", "indicator", "medium", "point", "quantity", "unit"]);
    assert_eq!(ask("labels").await, success(names));
    assert_eq!(ask("labels?limit=2").await, success(json!(["__name__", "device"])));
    assert_eq!(ask("label/medium/values").await, success(json!(["gas", "power"])));
    assert_eq!(ask("label/U__medium/values?match[]=%7Bdevice%3D%22acme/gas%22%7D").await, success(json!(["gas"])));
    let two = "label/__name__/values?match[]=park_gas_flow_nm3_per_h&match[]=park_gas_volume_nm3&start=0&end=2015-07-01T20:10:30Z";
    assert_eq!(ask(two).await, success(json!(["park_gas_flow_nm3_per_h", "park_gas_volume_nm3"])));
    assert_eq!(ask("label/nothing/values").await, success(json!([])));
    let (status, all) = ask("series?match[]=%7B__name__%3D~%22park_gas_flow_.*mean.*%22%7D").await;
    assert_eq!(status, 200);
    let listed: Vec<&str> = all["data"].as_array().unwrap().iter().map(|labels| labels["__name__"].as_str().unwrap()).collect();
    let expected = ["day", "hour", "month", "year"].map(|level| format!("park_gas_flow_{level}_mean_nm3_per_h"));
    assert_eq!(listed, expected);
    assert_eq!(
        ask("metadata?metric=park_energy_import_day_kwh").await,
        success(json!({ "park_energy_import_day_kwh": [{ "type": "gauge", "unit": "kWh",
            "help": "正向有功电能 每日累计 / Energy imported total of each day" }] }))
    );
    let (_, metadata) = ask("metadata?limit=40000").await;
    assert_eq!(metadata["data"]["park_energy_import_kwh"][0]["type"], "counter");
    assert_eq!(metadata["data"].as_object().unwrap().len(), 2 * 13 + 2 * 9 + 4);
}

#[tokio::test]
async fn what_grafana_probes() {
    let success = |data: Value| (200, json!({ "status": "success", "data": data }));
    assert_eq!(ask("rules").await, success(json!({ "groups": [] })));
    assert_eq!(ask("alerts").await, success(json!({ "alerts": [] })));
    // Milliseconds where seconds belong, as Grafana sends them.
    assert_eq!(ask("query_exemplars?query=test&start=1767323045678&end=1767323045678").await, success(json!([])));
    let (status, info) = ask("status/buildinfo").await;
    assert_eq!((status, &info["data"]["application"]), (200, &json!("parkgate")));
    assert!(info["data"].get("features").is_none());
    let served = served().await;
    let missing = get(&served, "/prometheus/api/v1/format_query").await;
    assert_eq!(missing.status, 404);
    assert!(serde_json::from_str::<Value>(&missing.body).is_ok());
    let elsewhere = send(&served, "GET /prometheus/api/v1/query?query=1 HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n").await;
    assert_eq!(elsewhere.status, 421);
}

#[tokio::test]
async fn what_is_wrong_is_told_in_the_envelope_of_the_api() {
    for (path, status, kind, part) in [
        ("query", 400, "bad_data", "query"),
        ("query?query=sum(", 400, "bad_data", "invalid query"),
        ("query?query=histogram_quantile(0.9,x)", 400, "bad_data", "function `histogram_quantile`"),
        ("query?query=limitk(3,x)", 400, "bad_data", "aggregation `limitk`"),
        ("query?query=1&time=soon", 400, "bad_data", "time"),
        ("query_range?query=1&start=0&end=1", 400, "bad_data", "step"),
        ("query_range?query=1&start=1&end=0&step=1", 400, "bad_data", "end"),
        ("query_range?query=1&start=0&end=1&step=0", 400, "bad_data", "step"),
        ("query_range?query=1&start=0&end=11001&step=1", 400, "bad_data", "11,000 points"),
        ("query_range?query=x[5m]&start=0&end=1&step=1", 400, "bad_data", "range vector"),
        ("series", 400, "bad_data", "match[]"),
        ("labels?match[]=sum(x)", 400, "bad_data", "no series selector"),
        ("query?query=%7Bdevice%3D%22acme/main%22%7D%2Bon(device)%7Bdevice%3D%22acme/main%22%7D", 422, "execution", "many-to-many"),
    ] {
        let (got, body) = ask(path).await;
        assert_eq!((got, &body["status"], &body["errorType"]), (status, &json!("error"), &json!(kind)), "{path}: {body}");
        assert!(body["error"].as_str().unwrap().contains(part), "{path}: {body}");
    }
}

#[tokio::test]
async fn answers_are_compressed_when_asked() {
    let served = served().await;
    let query = |encoding: &str| {
        format!("GET /prometheus/api/v1/metadata HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: {encoding}\r\nConnection: close\r\n\r\n")
    };
    assert!(!send(&served, &query("br, gzip;q=0")).await.head.contains("content-encoding"));
    let bytes = send_bytes(&served, &query("br, gzip")).await;
    let cut = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&bytes[cut + 4..]), &mut text).unwrap();
    assert!(serde_json::from_str::<Value>(&text).unwrap()["data"].is_object());
}

const HOUR: i64 = 3_600_000;
/// 2026-01-01T00:00:00+08:00.
const NEW_YEAR: i64 = 1_767_196_800_000;

/// A park of two enterprises and an outlet, with a record and totals of its own.
struct Park {
    index: Index,
    record: Arc<FakeRecord>,
    totals: Closing,
}

fn two_enterprises() -> Catalogue {
    let line = modbus_link("line-1");
    let row = |id, quantity, medium, kind, unit| (id, quantity, "某", "some", quantity, medium, kind, unit, 1);
    let devices = vec![
        device(
            "acme/main",
            names("总表", "Main"),
            Some("acme"),
            &line,
            Origin::Metered,
            &[row(1, "energy_import", Medium::Power, Kind::Counter, "kWh"), row(2, "active_power", Medium::Power, Kind::Gauge, "kW")],
        ),
        device(
            "bolt/main",
            names("总表", "Main"),
            Some("bolt"),
            &line,
            Origin::Metered,
            &[row(3, "energy_import", Medium::Power, Kind::Counter, "kWh"), row(4, "gas_flow", Medium::Gas, Kind::Gauge, "Nm3/h")],
        ),
        device(
            "bolt/stack",
            names("烟囱", "Stack"),
            Some("bolt"),
            &line,
            Origin::Metered,
            &[row(5, "so2_concentration", Medium::Emission, Kind::Gauge, "mg/m3")],
        ),
        device(
            "park/pile",
            names("桩", "Pile"),
            None,
            &line,
            Origin::Metered,
            &[row(6, "connector_state", Medium::Charging, Kind::State, "state"), row(7, "parkgate_up", Medium::Gateway, Kind::Gauge, "1")],
        ),
    ];
    let enterprises = ["acme", "bolt"].map(|id| Enterprise { id: id.into(), name: names(id, id) });
    park(enterprises.into(), vec![line], devices)
}

impl Park {
    fn new() -> Self {
        let catalogue = Arc::new(two_enterprises());
        let record = Arc::new(FakeRecord::default());
        let view: Arc<dyn RecordView> = Arc::clone(&record) as _;
        Self { index: Index::new(Arc::clone(&catalogue)), totals: Closing::new(&catalogue, view), record }
    }

    /// A value of a point every ten minutes for `hours` from new year on.
    fn fill(&self, point: u32, hours: i64, value: impl Fn(i64) -> i64) {
        for index in 0..hours * 6 + 1 {
            self.record.push(sample(point, UtcMillis(NEW_YEAR + index * 600_000), value(index)));
        }
    }

    fn source<'a>(&'a self, identity: &Identity) -> ParkSource<'a> {
        ParkSource::new(&self.index, &*self.record, &self.totals, identity)
    }

    /// Values of the only series that a query gives over a grid; `None` where there is none.
    fn steps(&self, query: &str, grid: Grid) -> Vec<Option<f64>> {
        let tree = promql::parse(query).unwrap();
        let source = self.source(&Identity::local());
        match promql::evaluate(&tree, &source, grid, &Limits::default(), &AtomicBool::new(false)).unwrap().0 {
            Answer::Vector(rows) if rows.is_empty() => vec![None; grid.steps],
            Answer::Vector(rows) => {
                assert_eq!(rows.len(), 1, "{query}: {rows:?}");
                rows[0].cells.iter().map(|&cell| (!is_absent(cell)).then_some(cell)).collect()
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn totals_stand_at_the_start_of_their_period_and_end_with_it() {
    let park = Park::new();
    // 0.1 kWh every ten minutes from register 100.0 on, over 30 hours: 0.6 an hour, 14.4 a day.
    park.fill(1, 30, |index| 1000 + index);
    let hourly = |from: i64, steps: usize| Grid { start: NEW_YEAR + from, step: HOUR, steps };
    let name = "park_energy_import_day_kwh{enterprise=\"acme\"}";
    // Shown from midnight until the end of its day, not in the days beside it.
    assert_eq!(park.steps(name, hourly(-1, 3)), [None, Some(14.4), Some(14.4)]);
    assert_eq!(park.steps(name, hourly(23 * HOUR, 3)), [Some(14.4), None, None]);
    assert_eq!(park.steps("count_over_time(park_energy_import_day_kwh{enterprise=\"acme\"}[3d])", hourly(30 * HOUR, 1)), [Some(1.0)]);
    let sum = "sum_over_time(park_energy_import_hour_kwh{enterprise=\"acme\"}[1d])";
    // 00:00 is the start of the first hour; (-1 h, 23 h] are the day's 24.
    let sum = park.steps(sum, hourly(23 * HOUR, 1))[0].unwrap();
    assert!((sum - 14.4).abs() < 1e-9, "{sum}");
    // So far: the register less that of midnight; nothing is left of it when the day is over.
    let current = "park_energy_import_day_current_kwh{enterprise=\"acme\"}";
    assert_eq!(park.steps(current, hourly(0, 3)), [Some(0.0), Some(0.6), Some(1.2)]);
    assert_eq!(park.steps(current, hourly(23 * HOUR, 3)), [Some(13.8), Some(0.0), Some(0.6)]);
    assert_eq!(park.steps(current, hourly(30 * HOUR, 1)), [Some(3.6)]);
}

/// A day's figure so far.
const SO_FAR: &str = "park_energy_import_day_current_kwh{enterprise=\"acme\"}";

#[test]
fn a_figure_so_far_stands_until_its_period_ends() {
    let park = Park::new();
    // 0.6 kWh an hour until 10:00, then silence; what another meter says takes the record on.
    park.fill(1, 10, |index| 1000 + index);
    park.fill(3, 30, |index| index);
    let hourly = |from: i64, steps: usize| Grid { start: NEW_YEAR + from * HOUR, step: HOUR, steps };
    for (at, expected) in [(10, Some(6.0)), (11, Some(6.0)), (20, Some(6.0)), (24, None), (25, None)] {
        assert_eq!(park.steps(SO_FAR, hourly(at, 1)), [expected], "{at}");
    }
    assert_eq!(park.steps(SO_FAR, Grid::instant(NEW_YEAR + 24 * HOUR - 1)), [Some(6.0)]);
    assert_eq!(park.steps(SO_FAR, hourly(9, 3)), [Some(5.4), Some(6.0), Some(6.0)]);
    // A range that begins within the silence, and one that begins with the day's last millisecond.
    assert_eq!(park.steps(SO_FAR, hourly(22, 4)), [Some(6.0), Some(6.0), None, None]);
    let over_midnight = Grid { start: NEW_YEAR + 24 * HOUR - 1, step: 1, steps: 3 };
    assert_eq!(park.steps(SO_FAR, over_midnight), [Some(6.0), None, None]);
    // The hour that began with the last sample has come to nothing, and ends too.
    let hour = "park_energy_import_hour_current_kwh{enterprise=\"acme\"}";
    let half_hourly = Grid { start: NEW_YEAR + 9 * HOUR + HOUR / 2, step: HOUR / 2, steps: 4 };
    assert_eq!(park.steps(hour, half_hourly), [Some(0.3), Some(0.0), Some(0.0), None]);
    // A sum over all meters keeps the silent one.
    let sum = park.steps("sum(park_energy_import_day_current_kwh)", hourly(12, 1))[0].unwrap();
    assert!((sum - 13.2).abs() < 1e-9, "{sum}");
    // A bad sample is no register.
    let bad = Sample {
        status: Status::new(Quality::Bad, Reason::Timeout, Origin::Metered, Step::None).without_number(),
        ..sample(1, UtcMillis(NEW_YEAR + 12 * HOUR), 0)
    };
    park.record.push(bad);
    assert_eq!(park.steps(SO_FAR, hourly(11, 3)), [Some(6.0); 3]);
    assert_eq!(park.steps(SO_FAR, hourly(13, 1)), [Some(6.0)]);
}

#[test]
fn figures_so_far_are_the_same_by_any_grid() {
    let mut random = fastrand::Rng::with_seed(3);
    let park = Park::new();
    park.fill(3, 60, |index| index);
    let (mut time, mut register) = (NEW_YEAR, 1_000);
    while time < NEW_YEAR + 55 * HOUR {
        let quality = if random.u8(..) < 40 { Quality::Bad } else { Quality::Good };
        let status = Status::new(quality, Reason::None, Origin::Metered, Step::None);
        park.record.push(Sample { status, ..sample(1, UtcMillis(time), register) });
        // Often on the hour, and silent for some now and then.
        let silence = if random.u8(..) < 10 { random.i64(1..9 * HOUR) } else { random.i64(1..HOUR) };
        time += if random.bool() { HOUR - time.rem_euclid(HOUR) } else { silence };
        register += random.i64(0..5);
    }
    for name in ["hour", "day", "month"].map(|level| format!("park_energy_import_{level}_current_kwh{{enterprise=\"acme\"}}")) {
        for step in [17 * 60_000, HOUR / 2, HOUR, 7 * HOUR] {
            let grid = Grid { start: NEW_YEAR + random.i64(0..5) * HOUR, step, steps: 30 };
            let alone: Vec<Option<f64>> = grid.times().map(|time| park.steps(&name, Grid::instant(time))[0]).collect();
            assert_eq!(park.steps(&name, grid), alone, "{name} by {step}");
            assert!(alone.iter().any(Option::is_some), "{name} by {step}");
        }
    }
}

#[test]
fn a_figure_so_far_survives_an_exchange_of_the_meter() {
    let park = Park::new();
    let [came_in_time, exchange] =
        [Step::Delta, Step::Exchange].map(|step| Status::new(Quality::Good, Reason::None, Origin::Metered, step));
    for index in 0..=30 {
        park.record.push(Sample { status: came_in_time, ..sample(1, UtcMillis(NEW_YEAR + index * 600_000), 1000 + index) });
    }
    park.fill(3, 9, |index| index);
    let at = |minutes: i64| NEW_YEAR + 5 * HOUR + minutes * 60_000;
    park.record.push(Sample { status: exchange, ..sample(1, UtcMillis(at(10)), 0) });
    park.record.push(Sample { status: came_in_time, ..sample(1, UtcMillis(at(20)), 4) });
    let day = park.totals.totals(PointId(1), Level::Day, UtcMillis(NEW_YEAR), UtcMillis(NEW_YEAR + 1)).unwrap().remove(0);
    let Figures::Counter(CounterTotal { amount: Some(amount), flags, .. }) = day.figures else { panic!("{day:?}") };
    assert!(flags.meter_exchanged && !day.closed);
    let amount = Some(amount.to_f64());
    // A clock that is some seconds behind the last sample asks for the present too; one that asks for ten minutes ago does not.
    for (seconds, expected) in [(0, amount), (-10, amount), (-240, amount), (-600, None), (600, amount), (3_600, amount)] {
        assert_eq!(park.steps(SO_FAR, Grid::instant(at(20) + seconds * 1000)), [expected], "{seconds}");
    }
    let grid = Grid { start: at(10), step: 600_000, steps: 4 };
    assert_eq!(park.steps(SO_FAR, grid), [None, amount, amount, amount]);
    // What is known of this day says nothing of the next.
    assert_eq!(park.steps(SO_FAR, Grid::instant(NEW_YEAR + 24 * HOUR)), [None]);
    assert_eq!(park.steps(SO_FAR, Grid::instant(NEW_YEAR + 24 * HOUR + 60_000)), [None]);
}

#[test]
fn codes_of_states_are_found_without_reading_every_hour() {
    let park = Park::new();
    // Four samples a day for 70 days; code 7 on the sixth only.
    for index in 0..280 {
        let code = if index / 4 == 5 { 7 } else { index % 3 };
        park.record.push(sample(6, UtcMillis(NEW_YEAR + index * 6 * HOUR), code));
    }
    let source = park.source(&Identity::local());
    let now = NEW_YEAR + 70 * 24 * HOUR;
    let selection = promql::parse_selector("{__name__=~\"park_connector_state_(hour|day|month|year)_seconds\"}").unwrap();
    let nobody = AtomicBool::new(false);
    let codes = |after: i64, name: &str| {
        let series = source.select(&selection, after, now, &Patience::new(Duration::MAX, &nobody)).unwrap();
        let of_name = series.iter().filter(|series| series.labels.name().contains(name));
        of_name.map(|series| series.labels.get("state").to_owned()).collect::<BTreeSet<_>>()
    };
    let before = park.totals.handed_out.load(Ordering::Relaxed);
    assert_eq!(codes(0, "hour"), ["0", "1", "2", "7"].map(str::to_owned).into());
    let read = park.totals.handed_out.load(Ordering::Relaxed) - before;
    assert!(read <= 8, "{read} totals for the codes of one point");
    // Over a short range, those of the range.
    assert_eq!(codes(now - 30 * HOUR, "hour"), ["0", "1", "2"].map(str::to_owned).into());
    assert_eq!(codes(now - 66 * 24 * HOUR, "day"), ["0", "1", "2", "7"].map(str::to_owned).into());
    let gone = AtomicBool::new(true);
    assert_eq!(source.select(&selection, 0, now, &Patience::new(Duration::MAX, &gone)).unwrap_err(), Error::Canceled);
    let timeout = source.select(&selection, 0, now, &Patience::new(Duration::ZERO, &nobody)).unwrap_err();
    assert_eq!(timeout, Error::Timeout(Duration::ZERO));
}

#[test]
fn totals_of_many_years_are_read_page_by_page() {
    let park = Park::new();
    park.fill(1, 30, |index| 1000 + index);
    // A page of hours is 16,384 of them long: it ends at 15:00.
    let at = Grid::instant(NEW_YEAR + 31 * HOUR);
    for range in ["16400h", "10y", "900y"] {
        let query = |function: &str| format!("{function}_over_time(park_energy_import_hour_kwh{{enterprise=\"acme\"}}[{range}])");
        assert_eq!(park.steps(&query("count"), at), [Some(30.0)], "{range}");
        let sum = park.steps(&query("sum"), at)[0].unwrap();
        assert!((sum - 18.0).abs() < 1e-9, "{range}: {sum}");
    }
    let hourly = Grid { start: NEW_YEAR, step: HOUR, steps: 31 };
    let shown = park.steps("park_energy_import_hour_kwh{enterprise=\"acme\"}", hourly);
    assert_eq!((shown.iter().flatten().count(), shown.last()), (30, Some(&None)));
}

#[test]
fn lists_have_bounds() {
    /// 60,000 series under any name, and how often they were asked for.
    struct Many(AtomicUsize);
    impl Source for Many {
        fn select(&self, selection: &Selection, _: i64, _: i64, _: &Patience<'_>) -> Result<Vec<Series>, Error> {
            self.0.fetch_add(1, Ordering::Relaxed);
            let name: Arc<str> = selection.name.as_deref().unwrap_or("all").into();
            let series = |at: u32| {
                let labels = Labels::new(Arc::clone(&name), [("a".into(), at.to_string().into())].into());
                Series { labels, lookback_ms: 300_000, key: (at, 0) }
            };
            Ok((0..60_000).map(series).collect())
        }

        fn samples(&self, _: &Series, _: i64, _: i64, _: usize, _: &Patience<'_>) -> Result<Samples, Error> {
            Ok(Samples::default())
        }
    }
    let listed = |text: &str, cancel: bool| {
        let source = Many(AtomicUsize::new(0));
        let mut form = Form::default();
        form.read(text.as_bytes());
        let found = super::listed(&source, &form, NOW, &AtomicBool::new(cancel), |labels, all| {
            all.insert(labels);
        });
        (found.map(|all| all.len()), source.0.into_inner())
    };
    assert_eq!(listed("", false), (Ok(60_000), 1));
    // The same series a second time, and full with the third of four.
    assert_eq!(listed("match[]=a&match[]=a&match[]=b&match[]=c", false), (Ok(super::LIST_MAX), 3));
    assert_eq!(listed("match[]=a&match[]=b", true), (Err(Error::Canceled), 0));
    assert_eq!(listed("match[]=a&timeout=0", false), (Err(Error::Timeout(Duration::ZERO)), 0));
    assert_eq!(listed(&"match[]=a&".repeat(super::MATCHES_MAX), false), (Ok(60_000), super::MATCHES_MAX));
    let (refused, asked) = listed(&"match[]=a&".repeat(super::MATCHES_MAX + 1), false);
    assert!(matches!(refused, Err(Error::BadData(text)) if text.contains("more than 100 match[]")));
    assert_eq!(asked, 0);
}

#[test]
fn gauges_and_states_have_series_per_period() {
    let park = Park::new();
    park.fill(2, 30, |index| if index % 6 < 3 { 10 } else { 30 });
    park.fill(6, 30, |index| i64::from(index % 6 == 0));
    let at = |hours: i64| Grid::instant(NEW_YEAR + hours * HOUR);
    assert_eq!(park.steps("park_active_power_hour_mean_kw", at(1)), [Some(2.0)]);
    assert_eq!(park.steps("park_active_power_day_max_kw - park_active_power_day_min_kw", at(0)).len(), 1);
    // Expected every 10 s, a value holds for 30 s; state 1 was seen once an hour, others five times.
    assert_eq!(park.steps("park_connector_state_hour_seconds{state=\"1\"}", at(2)), [Some(30.0)]);
    assert_eq!(park.steps("sum(park_connector_state_hour_seconds)", at(2)), [Some(180.0)]);
}

#[test]
fn a_bad_sample_ends_the_value_before_it() {
    let park = Park::new();
    park.fill(2, 1, |_| 15);
    let bad = Sample {
        status: Status::new(Quality::Bad, Reason::Timeout, Origin::Metered, Step::None).without_number(),
        ..sample(2, UtcMillis(NEW_YEAR + HOUR + 60_000), 0)
    };
    park.record.push(bad);
    let grid = Grid { start: NEW_YEAR + HOUR, step: 60_000, steps: 3 };
    assert_eq!(park.steps("park_active_power_kw", grid), [Some(1.5), None, None]);
    assert_eq!(park.steps("park_active_power_kw", Grid::instant(grid.last())), [None]);
    assert_eq!(park.steps("count_over_time(park_active_power_kw[1h])", grid), [Some(6.0), Some(6.0), Some(6.0)]);
    assert_eq!(park.steps("last_over_time(park_active_power_kw[5m])", grid), [Some(1.5), Some(1.5), Some(1.5)]);
}

#[test]
fn windows_from_buckets_equal_windows_from_samples() {
    let mut random = fastrand::Rng::with_seed(11);
    let park = Park::new();
    let mut time = NEW_YEAR;
    for _ in 0..3_000 {
        // Many on the very minute, where windows have their edges.
        time += if random.bool() { 60_000 - time.rem_euclid(60_000) } else { random.i64(1..90_000) };
        let quality = if random.u8(..) < 10 { Quality::Bad } else { Quality::Good };
        let status = Status::new(quality, Reason::None, Origin::Metered, Step::None);
        park.record.push(Sample { status, ..sample(2, UtcMillis(time), random.i64(0..50)) });
    }
    let nobody = AtomicBool::new(false);
    let patience = Patience::new(Duration::MAX, &nobody);
    for (range, step) in [(600, 600), (3_600, 600), (900, 3_600), (1_200, 60)] {
        for name in ["avg", "sum", "min", "max", "count", "last", "present"] {
            let grid = Grid { start: NEW_YEAR + HOUR, step: step * 1000, steps: 40 };
            // The second is the first for a source that has no buckets to give, such as a subquery's.
            let fast = park.steps(&format!("{name}_over_time(park_active_power_kw[{range}s])"), grid);
            let slow: Vec<Option<f64>> = grid
                .times()
                .map(|time| {
                    let source = park.source(&Identity::local());
                    let selection = promql::parse_selector("park_active_power_kw").unwrap();
                    let series = source.select(&selection, 0, time, &patience).unwrap().remove(0);
                    let samples = source.samples(&series, time - range * 1000, time, usize::MAX, &patience).unwrap().numbers();
                    let values = &samples.values;
                    let sum: f64 = values.iter().sum();
                    let last = *values.last()?;
                    Some(match name {
                        "avg" => sum / values.len() as f64,
                        "sum" => sum,
                        "min" => values.iter().copied().fold(f64::INFINITY, f64::min),
                        "max" => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                        "count" => values.len() as f64,
                        "last" => last,
                        _ => 1.0,
                    })
                })
                .collect();
            // At one instant a window is one part, however long it is.
            let at = random.usize(..grid.steps);
            let alone = park.steps(&format!("{name}_over_time(park_active_power_kw[{range}s])"), Grid::instant(grid.time(at)));
            for (fast, slow) in fast.iter().zip(&slow).chain([(&alone[0], &slow[at])]) {
                let near = match (fast, slow) {
                    (Some(a), Some(b)) => (a - b).abs() < 1e-9,
                    (a, b) => a == b,
                };
                assert!(near, "{name} {range} {step}: {fast:?} {slow:?}");
            }
        }
    }
}

#[test]
fn nobody_sees_what_is_not_theirs() {
    let park = Park::new();
    for point in 1..=7 {
        park.fill(point, 30, |index| index);
    }
    let set = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<BTreeSet<_>>();
    let everything = Scope::default();
    let nobody = AtomicBool::new(false);
    let patience = Patience::new(Duration::MAX, &nobody);
    for (scope, visible) in [
        (Scope { enterprises: set(&["acme"]), ..everything.clone() }, &["acme/main/energy_import", "acme/main/active_power"][..]),
        (Scope { outlets: set(&["bolt/stack"]), ..everything.clone() }, &["bolt/stack/so2_concentration"]),
        (Scope { media: [Medium::Gas].into(), ..everything.clone() }, &["bolt/main/gas_flow"]),
        (Scope { enterprises: set(&["acme"]), media: [Medium::Gas].into(), ..everything.clone() }, &[]),
        (Scope { media: [Medium::Charging, Medium::Gateway].into(), ..everything.clone() }, &["park/pile/connector_state"]),
    ] {
        let identity = Identity { name: "test".into(), role: Role::Viewer, scope };
        let source = park.source(&identity);
        let visible: BTreeSet<&str> = visible.iter().copied().collect();
        for selector in [
            "{__name__=~\".+\"}",
            "{__name__!=\"\"}",
            "{__name__=~\"park_.*|parkgate_.*\",enterprise=~\".*\"}",
            "{point!=\"x\",__name__!=\"\"}",
            "{point=~\"bolt/.*|acme/.*|park/.*\"}",
            "{enterprise!~\"acme\",point!=\"\"}",
            "{state=~\".*\",__name__=~\".+\"}",
            "park_energy_import_kwh{enterprise=\"bolt\"}",
            "parkgate_up",
        ] {
            let series = source.select(&promql::parse_selector(selector).unwrap(), NEW_YEAR, NEW_YEAR + 30 * HOUR, &patience).unwrap();
            for series in series {
                assert!(visible.contains(series.labels.get("point")), "{selector} shows {} to {identity:?}", series.labels);
            }
        }
        // What is theirs is there, through every endpoint.
        let mut form = Form::default();
        form.read(b"match[]={point!=\"\"}");
        let now = UtcMillis(NEW_YEAR + 30 * HOUR);
        let points = super::listed(&source, &form, now, &nobody, |labels, points| {
            points.insert(labels.get("point").to_owned());
        });
        assert_eq!(points.unwrap().iter().map(String::as_str).collect::<BTreeSet<_>>(), visible);
        let quantities: BTreeSet<&str> = visible.iter().filter_map(|point| point.rsplit('/').next()).collect();
        for name in source.meanings().keys() {
            assert!(quantities.iter().any(|quantity| name.starts_with(&format!("park_{quantity}"))), "{name} is told to {identity:?}");
        }
        let tree = promql::parse("count by (point) ({__name__=~\".+\"}) or absent(parkgate_up) * 0").unwrap();
        let grid = Grid::instant(NEW_YEAR + 30 * HOUR);
        let (answer, _) = promql::evaluate(&tree, &source, grid, &Limits::default(), &AtomicBool::new(false)).unwrap();
        let Answer::Vector(rows) = answer else { panic!("{answer:?}") };
        for row in rows {
            assert!(row.labels.get("point").is_empty() || visible.contains(row.labels.get("point")), "{row:?}");
        }
    }
    assert_eq!(park.record.latest(PointId(7)).map(|sample| sample.value), Some(180));
}

#[tokio::test]
async fn query_bombs_are_refused_and_the_api_lives_on() {
    let served = served().await;
    let post = |query: String| {
        let form = format!("query={query}&start=0&end=315360000&step=1");
        format!(
            "POST /prometheus/api/v1/query_range HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        )
    };
    let begun = std::time::Instant::now();
    for (bomb, status) in [
        (format!("{}1{}", "(".repeat(100_000), ")".repeat(100_000)), 400),
        (format!("{}1{}", "(".repeat(8_000), ")".repeat(8_000)), 400),
        (format!("1{}", "%2B1".repeat(10_000)), 400),
        ("x%7Ba%3D~%22(a%7B1000%7D)%7B1000%7D%22%7D".to_owned(), 400),
        ("park_active_power_kw".to_owned(), 400),
    ] {
        let answer = send(&served, &post(bomb)).await;
        assert_eq!(answer.status, status, "{}", answer.body);
        assert!(answer.body.contains("bad_data"), "{}", answer.body);
    }
    for heavy in ["max_over_time(park_active_power_kw[10y:1s])", "count_over_time({__name__=~\".%2B\"}[100y:1ms])"] {
        let answer =
            get(&served, &format!("/prometheus/api/v1/query?query={}", heavy.replace('"', "%22").replace('{', "%7B").replace('}', "%7D")))
                .await;
        assert_eq!(answer.status, 422, "{}", answer.body);
    }
    assert!(begun.elapsed().as_secs() < 10);
    assert_eq!(get(&served, "/prometheus/api/v1/query?query=1").await.status, 200);
}
