//! The leak test: no answer to anybody holds an id, a name or a value of a point outside the scope of who asks.
//!
//! Every point of the park here has marks of its own, in its id, its names and its values, that occur nowhere else. So a
//! leak is found by looking for the marks of hidden points in the bytes of the answer, head included. Every route of the
//! routes table is asked, in every way that [`questions`] knows, by every role with scopes of every dimension. A route
//! without a question fails the test.
//!
//! Marks do not find what is only counted or summed up. So the same questions are put to a second park that has nothing
//! but what is visible: its answers must be the same, byte for byte. Counts on the health board are derived from the points
//! that there are, so that one which tells of hidden points differs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parkgate_collector::catalogue::{Catalogue, Enterprise};
use parkgate_collector::health::{Health, State as HealthState};
use parkgate_collector::model::{Kind, Medium, Origin, UtcMillis};
use parkgate_rules::emission::Outlet;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::fake::{NOW, PointRow, Served, device, modbus_link, names, park, sample, start_of};
use super::tests::{Answer, read_until, send};
use crate::access::tokens::NewToken;
use crate::access::{Identity, Role, Scope};
use crate::rollup::Level;
use crate::store::{EntryKind, NewEntry};

mod facts;

/// Devices: id, enterprise, medium of its two points.
const DEVICES: &[(&str, Option<&str>, [Medium; 2])] = &[
    ("acme/main", Some("acme"), [Medium::Power, Medium::Gas]),
    ("acme/stack", Some("acme"), [Medium::Emission, Medium::Emission]),
    ("bloom/stack", Some("bloom"), [Medium::Emission, Medium::Power]),
    ("bloom/gas", Some("bloom"), [Medium::Gas, Medium::Gas]),
    ("own/main", None, [Medium::Power, Medium::Water]),
    ("own/gateway", None, [Medium::Gateway, Medium::Gateway]),
];

/// What tells a point from all others: in its id, its names and its values.
struct Marks {
    id: String,
    name: String,
    values: Vec<String>,
}

/// Number of the `index`-th point of the `device`-th device.
fn number(device: usize, index: usize) -> u32 {
    u32::try_from(device * 2 + index + 1).unwrap()
}

/// A value that only one point has: 6 digits that hold the point's number, and one of the sample.
fn value(point: u32, sample: u32) -> i64 {
    i64::from(7_000_000 + point * 10_010 + sample)
}

/// New year in the park's zone: 2026-01-01T00:00:00+08:00.
const NEW_YEAR: UtcMillis = UtcMillis(1_767_196_800_000);
/// When the record begins before it, and the last month, day and hour do; the level that is counted from there to new year.
const BEFORE_MS: [(i64, Level); 4] =
    [(40 * 86_400_000, Level::Year), (31 * 86_400_000, Level::Month), (86_400_000, Level::Day), (3_600_000, Level::Hour)];

/// What a counter counts in the last period of a level before new year: as [`value`], of one point and level only.
fn amount(point: u32, level: Level) -> i64 {
    let base = match level {
        Level::Hour => 1_000_004,
        Level::Day => 2_000_005,
        Level::Month => 3_000_006,
        Level::Year => 4_000_007,
    };
    base + i64::from(point * 10_010)
}

/// What it counts from then to its second sample of [`value`].
fn since_new_year(point: u32) -> i64 {
    1_700_008 + i64::from(point * 10_010)
}

fn kind(point: u32) -> Kind {
    match point % 4 {
        1 | 3 => Kind::Counter,
        2 => Kind::Gauge,
        _ => Kind::State,
    }
}

/// Samples of the year before, whose periods are closed, and the last two.
fn history(point: u32) -> Vec<(UtcMillis, i64)> {
    let at_new_year = value(point, 2) - since_new_year(point);
    let mut samples: Vec<(UtcMillis, i64)> =
        BEFORE_MS.iter().map(|&(before, level)| (NEW_YEAR.plus(-before), at_new_year - amount(point, level))).collect();
    samples.push((NEW_YEAR, at_new_year));
    if kind(point) != Kind::Counter {
        samples.iter_mut().for_each(|(_, number)| *number = value(point, 1));
    }
    samples.extend([(NOW.plus(-20_000), value(point, 1)), (NOW.plus(-10_000), value(point, 2))]);
    samples
}

fn marked_park() -> Catalogue {
    park_of(|_| true)
}

/// The park with only some of its points, under the numbers that they have in the whole one.
fn park_of(has: impl Fn(u32) -> bool) -> Catalogue {
    // One link for all devices: what is said of it must not tell about them.
    let line = modbus_link("line-1");
    let devices = DEVICES.iter().enumerate().filter_map(|(place, &(id, enterprise, media))| {
        let of =
            |index: usize| (number(place, index), format!("mark{0}id", number(place, index)), format!("mark{0}name", number(place, index)));
        let points: Vec<_> = (0..2).map(of).zip(media).filter(|((number, ..), _)| has(*number)).collect();
        let rows: Vec<PointRow<'_>> = points
            .iter()
            .map(|((number, id, name), medium)| {
                let (quantity, unit) = match kind(*number) {
                    Kind::Counter => ("energy_import", "kWh"),
                    Kind::Gauge => ("active_power", "kW"),
                    Kind::State => ("connector_state", "state"),
                };
                (*number, id.as_str(), name.as_str(), name.as_str(), quantity, *medium, kind(*number), unit, 0)
            })
            .collect();
        let name = format!("mark-device-{place}-");
        let mut made = device(id, names(&name, &name), enterprise, &line, Origin::Metered, &rows);
        // So that sums over gates may tell something.
        for point in &mut Arc::get_mut(&mut made).unwrap().points {
            Arc::get_mut(point).unwrap().role = Some("gate".into());
        }
        (!rows.is_empty()).then_some(made)
    });
    let devices = devices.collect();
    let enterprises = ["acme", "bloom"].map(|id| Enterprise { id: id.into(), name: names(&format!("mark-{id}-"), &format!("mark-{id}-")) });
    park(enterprises.into(), vec![line], devices)
}

async fn served() -> Served {
    served_of(marked_park()).await
}

/// Two outlets, each where both of its points are there: the second has its flow from a point of another medium.
fn outlets(park: &Catalogue) -> Vec<Outlet> {
    let all = [
        ("acme-stack", "acme", ["acme/stack/mark3id", "acme/stack/mark4id"]),
        ("bloom-stack", "bloom", ["bloom/stack/mark5id", "bloom/stack/mark6id"]),
    ];
    let there = all.into_iter().filter(|(_, _, points)| points.iter().all(|point| park.point_by_stable_id(point).is_some()));
    let outlet = |(id, enterprise, [factor, flow]): (&str, &str, [&str; 2])| {
        let outlet = json!({
            "id": id, "enterprise": enterprise, "kind": "stack",
            "factor": [{ "id": "so2", "source": { "kind": "point", "point": factor, "minute_mean": true } }],
            "flow": { "kind": "standard", "point": flow, "minute_mean": true },
        });
        serde_json::from_value(outlet).unwrap()
    };
    there.map(outlet).collect()
}

/// A limit and a mark of each outlet, hidden or not: entries have the same numbers in every park.
fn entered(served: &Served) {
    for (outlet, mark) in [("acme-stack", "mark-acme-clause"), ("bloom-stack", "mark-bloom-clause")] {
        let limit = json!({
            "step": "add", "outlet": outlet, "factor": "so2", "averaging": "hour", "value": "1", "unit": "mg/m3", "clause": mark,
            "valid_from": "2025-01-01T00:00:00Z",
        });
        let set = json!({ "step": "add", "outlet": outlet, "letter": "C", "condition": mark, "from": "2026-01-01T00:00:00Z" });
        for (kind, body) in [(EntryKind::Limit, limit), (EntryKind::Mark, set)] {
            let new = NewEntry { kind, subject: outlet.into(), body, author: "eve".into(), document: None };
            served.facts.append(new, NOW).unwrap();
        }
    }
}

/// An exchange, a decision and a reading by hand of three points each, hidden or not, after [`entered`].
fn entered_of_meters(served: &Served) {
    for (number, id) in [(1, "acme/main/mark1id"), (5, "bloom/stack/mark5id"), (9, "own/main/mark9id")] {
        for (kind, register) in [("exchange", value(number, 1)), ("error", value(number, 2))] {
            let body = json!({ "step": "add", "kind": kind, "point": id, "at": "2026-01-01T00:00:00Z", "old_final": register.to_string() });
            let new = NewEntry { kind: EntryKind::MeterEvent, subject: id.into(), body, author: "eve".into(), document: None };
            served.facts.append(new, NOW).unwrap();
        }
        let body = json!({ "at": "2026-01-01T00:00:00Z", "value": value(number, 2).to_string(), "note": null, "replaced": false });
        let new = NewEntry { kind: EntryKind::HandReading, subject: id.into(), body, author: "eve".into(), document: None };
        served.facts.append(new, NOW).unwrap();
    }
}

async fn served_of(park: Catalogue) -> Served {
    let of = |id: &str| park.device(id).unwrap().points.iter().map(|point| point.id.0).collect();
    let devices: Vec<(String, Vec<u32>)> = park.devices.iter().map(|device| (device.id.clone(), of(&device.id))).collect();
    let outlets = outlets(&park);
    let pairs = facts::pairs(&park);
    let served = start_of("127.0.0.1:0", park, (&outlets, &pairs), None, "boot-1", false).await;
    entered(&served);
    entered_of_meters(&served);
    facts::happened(&served);
    served.readiness.set("journal", Err("mark-problem".into()));
    // As a sink says it: what it was sent.
    served.readiness.degraded("sink mark-sink", Some("mark-problem: 400 unable to parse mark3id,device=acme/stack".into()));
    let mut all = 0;
    for (id, points) in &devices {
        for &point in points {
            for (time, number) in history(point) {
                served.record.push(sample(point, time, number));
            }
            all += 1;
            // What a driver may say: it names points. What is counted tells how many there are.
            let words = format!("register of mark{point}id refused");
            let fails = |health: &mut Health| {
                health.received += 10;
                health.rejected += 1;
                health.skipped += 1;
                health.doubt = Some(format!("energy disagrees with power: {words}"));
                let seconds = i64::try_from(health.failed).unwrap();
                health.error(NOW.plus(1_000 * seconds - 60_000), HealthState::Degraded, format!("no answer: {words}"));
            };
            served.health.device(id, fails);
            served.health.link("line-1", fails);
        }
    }
    if all == 0 {
        served.health.link("line-1", |health| health.error(NOW.plus(-60_000), HealthState::Degraded, "no answer"));
    }
    served
}

fn marks(catalogue: &Catalogue, point: u32) -> Marks {
    let found = catalogue.points.iter().find(|one| one.id.0 == point).unwrap();
    Marks {
        id: found.local_id.clone(),
        name: found.name.en.clone(),
        values: (1..=3)
            .map(|sample| value(point, sample))
            .chain(Level::ALL.iter().map(|&level| amount(point, level)))
            .chain([since_new_year(point)])
            .map(|number| number.to_string())
            .collect(),
    }
}

/// Scopes of every dimension, and some together.
fn scopes() -> Vec<Scope> {
    let set = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<BTreeSet<String>>();
    let scope = |enterprises: &[&str], outlets: &[&str], media: &[Medium]| Scope {
        enterprises: set(enterprises),
        outlets: set(outlets),
        media: media.iter().copied().collect(),
    };
    vec![
        scope(&[], &[], &[]),
        scope(&["acme"], &[], &[]),
        scope(&["bloom"], &[], &[]),
        scope(&["acme", "bloom"], &[], &[]),
        scope(&[], &["acme/stack"], &[]),
        scope(&[], &["bloom/stack"], &[]),
        scope(&[], &[], &[Medium::Power]),
        scope(&[], &[], &[Medium::Emission]),
        scope(&[], &[], &[Medium::Gas, Medium::Water]),
        scope(&[], &[], &[Medium::Gateway]),
        scope(&["bloom"], &[], &[Medium::Power]),
        scope(&["acme"], &["bloom/stack"], &[]),
        scope(&["nobody"], &[], &[]),
    ]
}

const ROLES: [Role; 5] = [Role::Viewer, Role::Operator, Role::Reviewer, Role::Regulator, Role::Admin];

/// Just before and just after the samples, for queries.
const FROM: &str = "2026-01-02T03:03:30Z";
/// See [`FROM`].
const AT: &str = "2026-01-02T03:04:06Z";
/// Before and in the last hour of the year in the park's zone: where the last closed total of each level is shown.
const CLOSED_FROM: &str = "2025-12-31T15:00:00Z";
/// See [`CLOSED_FROM`].
const CLOSED_AT: &str = "2025-12-31T15:30:00Z";

/// Selectors by which somebody may try to reach more than the scope.
const SELECTORS: &[&str] = &[
    r#"{__name__=~".+"}"#,
    r#"{__name__!=""}"#,
    r#"{point!=""}"#,
    r#"{point!~"acme/.*"}"#,
    r#"{point=~"acme/.*|bloom/.*|own/.*"}"#,
    r#"{enterprise!="acme",__name__=~"park_.*"}"#,
    r#"{enterprise="",__name__=~"park_.*"}"#,
    r#"{enterprise=~"|acme|bloom",__name__=~".+"}"#,
    r#"{medium=~"power|gas|water|emission|gateway",__name__=~".*_.*"}"#,
];

/// Queries that may: each selector plain and in everything that changes labels, joins, counts or looks elsewhere in time.
fn queries() -> impl Iterator<Item = String> {
    let wrapped = |one: &&str| {
        [
            (*one).to_owned(),
            format!("last_over_time({one}[1h])"),
            format!("count by (point, device, enterprise) ({one})"),
            format!("{one} or on () {{enterprise=\"nobody\"}} or {one}"),
            format!("{one} unless on (point) {{enterprise=\"acme\",__name__=~\".+\"}}"),
            format!(r#"label_replace({one}, "enterprise", "$1", "point", "(.*)")"#),
            format!("topk(100, {one} offset 1s)"),
            format!("sum({one}) + count({one})"),
            format!("max without (point, device) (avg_over_time({one}[1h]))"),
            format!("{one} * on (medium) group_left () max by (medium) ({one} > bool 0)"),
            format!(r#"absent({one}) or label_replace(vector(1), "point", "x", "", "")"#),
        ]
    };
    SELECTORS.iter().flat_map(wrapped).map(|query| encoded(&query))
}

/// Percent-encoded for a query string.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// A request.
#[derive(Clone, Debug)]
struct Question {
    /// Method and path.
    line: String,
    /// What is accepted, where that is said.
    accept: Option<&'static str>,
    /// What is posted.
    form: Option<String>,
}

impl Question {
    fn new(line: impl Into<String>) -> Self {
        Self { line: line.into(), accept: None, form: None }
    }

    fn get(path: impl AsRef<str>) -> Self {
        Self::new(format!("GET {}", path.as_ref()))
    }

    fn post(path: impl AsRef<str>, form: String) -> Self {
        Self { form: Some(form), ..Self::new(format!("POST {}", path.as_ref())) }
    }

    /// With CSV asked for, in both ways.
    fn in_csv(self) -> [Self; 2] {
        let by_format = Self::new(format!("{}&format=csv", self.line));
        [by_format, Self { accept: Some("text/csv"), ..self }]
    }
}

/// What is asked of a route. An empty list is a route nobody has thought about.
fn questions(route: &str, catalogue: &Catalogue) -> Vec<Question> {
    let ids = || catalogue.points.iter().map(|point| point.identity.stable_id.clone());
    let devices = || catalogue.devices.iter().map(|device| device.id.replace('/', "%2F"));
    let get = |paths: &mut dyn Iterator<Item = String>| paths.map(Question::get).collect::<Vec<_>>();
    let one = |path: &str| vec![Question::get(path)];
    match route {
        "/" | "/app.js" | "/style.css" | "/texts.json" | "/favicon.svg" | "/livez" | "/metrics" => one(route),
        "/readyz" => get(&mut ["/readyz".to_owned(), "/readyz?verbose".to_owned()].into_iter()),
        "/api/v1/openapi.json" | "/api/v1/park" => one(route),
        "/api/v1/session" => ["GET", "POST", "DELETE"].map(|method| Question::new(format!("{method} {route}"))).into(),
        "/api/v1/devices" => {
            let enterprises = ["acme", "bloom", "nobody"].map(|id| format!("/api/v1/devices?enterprise={id}"));
            [one(route), get(&mut enterprises.into_iter())].concat()
        }
        "/api/v1/devices/unknown" => one(route),
        "/api/v1/devices/{id}" => {
            let near = devices().map(|id| format!("{id}x"));
            get(&mut devices().chain(near).map(|id| format!("/api/v1/devices/{id}")))
        }
        "/api/v1/points" => {
            let mut filters = vec!["limit=1".to_owned(), "kind=gauge".to_owned(), "after=acme/main/mark1id".to_owned()];
            filters.extend(Medium::ALL.iter().map(|medium| format!("medium={}", medium.name())));
            filters.extend(["acme", "bloom"].map(|id| format!("enterprise={id}")));
            filters.extend(devices().map(|id| format!("device={id}")));
            filters.extend(ids().map(|id| format!("after={id}&limit=2")));
            [one(route), get(&mut filters.into_iter().map(|filter| format!("{route}?{filter}")))].concat()
        }
        "/api/v1/latest" => {
            let mut filters: Vec<String> = devices().map(|id| format!("device={id}")).collect();
            filters.extend(ids().map(|id| format!("point={id}")));
            filters.push(format!("point={}", ids().collect::<Vec<_>>().join(",")));
            [one(route), get(&mut filters.into_iter().map(|filter| format!("{route}?{filter}")))].concat()
        }
        "/api/v1/samples" => {
            let near = ids().map(|id| format!("{id}x"));
            let asked = |id| format!("{route}?point={id}&from=-1d");
            let tables = ids().flat_map(|id| Question::get(asked(id)).in_csv());
            get(&mut ids().chain(near).map(asked)).into_iter().chain(tables).collect()
        }
        "/api/v1/samples/buckets" => get(&mut ids().map(|id| format!("{route}?point={id}&from=-2h"))),
        "/api/v1/alarms" => one(route),
        "/api/v1/alarms/events" => get(&mut ["", "?after_seq=1", "?epoch=x&limit=1"].into_iter().map(|more| format!("{route}{more}"))),
        // What it tells is asked elsewhere: it does not end.
        "/api/v1/alarms/stream" => one(route),
        "/api/v1/alarms/{fingerprint}/{act}" => vec![Question::post("/api/v1/alarms/0123456789abcdef/ack", "by=me".to_owned())],
        // A form is no JSON: refused for everybody, and tells nothing.
        "/api/v1/decisions" | "/api/v1/exchanges" | "/api/v1/readings" => {
            vec![Question::get(route), Question::post(route, "add=1".to_owned())]
        }
        "/api/v1/limits" | "/api/v1/marks" => {
            let outlets = ["acme-stack", "bloom-stack", "nobody"];
            let asked = [one(route), get(&mut outlets.iter().map(|id| format!("{route}?outlet={id}")))].concat();
            // A form is no JSON: refused for everybody, and tells nothing.
            asked.into_iter().chain([Question::post(route, "add=1".to_owned())]).collect()
        }
        "/api/v1/emissions" => {
            let outlets = ["acme-stack", "bloom-stack", "acme-stak", "nobody"];
            let levels = ["hour", "day", "month"];
            get(&mut outlets.iter().flat_map(|id| levels.map(|level| format!("{route}?outlet={id}&period={level}&from=-2d"))))
        }
        "/api/v1/compliance/events" => {
            get(&mut ["", "?after=1", "?subject=acme-stack", "?limit=1"].into_iter().map(|more| format!("{route}{more}")))
        }
        "/api/v1/totals" => {
            let ranges = [("hour", "2025-12-31"), ("day", "2025-12-31"), ("month", "2025-12-01"), ("year", "2025-01-01")];
            let asked = |id: &str, (level, from): (&str, &str)| format!("{route}?point={id}&level={level}&from={from}&to=2026-01-03");
            let tables = ids().flat_map(|id| Question::get(asked(&id, ranges[1])).in_csv());
            get(&mut ids().flat_map(|id| ranges.map(|range| asked(&id, range)))).into_iter().chain(tables).collect()
        }
        "/api/v1/regulator/accesses" | "/api/v1/outlets" => one(route),
        "/api/v1/config/reload" => vec![Question::new(format!("POST {route}"))],
        // A form is no JSON: refused for everybody, and tells nothing.
        "/api/v1/ledger" | "/api/v1/reviews" => vec![Question::get(route), Question::post(route, "entries=1".to_owned())],
        "/api/v1/regulator/emissions" => {
            let outlets = ["acme-stack", "bloom-stack", "acme-stak", "nobody"];
            let forms = ["json", "csv", "html&period=day", "json&period=month"];
            get(&mut outlets
                .iter()
                .flat_map(|id| forms.map(|form| format!("{route}?outlet={id}&from=2026-01-01&to=2026-01-02&format={form}"))))
        }
        "/api/v1/totals/today" | "/api/v1/stream" | "/api/v1/declarations" => one(route),
        "/api/v1/indicators" | "/api/v1/topology" => {
            get(&mut ["", "?period=2025-12", "?period=2025"].into_iter().map(|period| format!("{route}{period}")))
        }
        "/api/v1/indicators/{id}/explain" => {
            get(&mut ["EN-01", "EN-08", "DQ-01", "XX-1"].into_iter().map(|id| format!("/api/v1/indicators/{id}/explain?period=2025-12")))
        }
        "/prometheus/api/v1/query" => {
            let now = queries().map(|query| Question::get(format!("{route}?query={query}&time={AT}")));
            let closed = SELECTORS.iter().map(|one| encoded(one)).flat_map(|one| {
                // As Grafana asks; the form comes before the address.
                let form = format!("query={one}&time={CLOSED_AT}");
                [Question::post(route, form.clone()), Question::post(format!("{route}?query=1"), form)]
            });
            let sums = SELECTORS.iter().map(|one| encoded(&format!("sum by (__name__, state) ({one})")));
            now.chain(closed).chain(sums.map(|sum| Question::get(format!("{route}?query={sum}&time={CLOSED_AT}")))).collect()
        }
        "/prometheus/api/v1/query_range" => {
            let now = queries().map(|query| Question::get(format!("{route}?query={query}&start={FROM}&end={AT}&step=10")));
            let closed = SELECTORS.iter().map(|one| encoded(one));
            now.chain(closed.map(|one| Question::post(route, format!("query={one}&start={CLOSED_FROM}&end={CLOSED_AT}&step=600"))))
                .collect()
        }
        "/prometheus/api/v1/labels" | "/prometheus/api/v1/series" => {
            let range = format!("start={FROM}&end={AT}");
            let mut questions = vec![Question::get(format!("{route}?{range}")), Question::post(route, range.clone())];
            for one in SELECTORS.iter().map(|one| encoded(one)) {
                let closed = format!("match[]={one}&start={CLOSED_FROM}&end={CLOSED_AT}");
                questions.push(Question::get(format!("{route}?match[]={one}&{range}")));
                questions.push(Question::get(format!("{route}?{closed}")));
                questions.push(Question::post(route, closed.clone()));
                // Both count.
                questions.push(Question::post(format!("{route}?match[]={}", encoded(SELECTORS[0])), closed));
            }
            questions
        }
        "/prometheus/api/v1/label/{name}/values" => {
            let labels = ["__name__", "U____name__", "point", "device", "enterprise", "medium", "quantity", "role", "state", "nothing"];
            let all = labels.iter().map(|label| route.replace("{name}", label));
            let matched = all.clone().flat_map(|path| {
                let path = format!("{path}?match[]={}", encoded(SELECTORS[0]));
                [format!("{path}&start={FROM}&end={AT}"), format!("{path}&start={CLOSED_FROM}&end={CLOSED_AT}")]
            });
            get(&mut all.chain(matched))
        }
        "/prometheus/api/v1/metadata" => get(&mut [route.to_owned(), format!("{route}?limit=40000")].into_iter()),
        "/prometheus/api/v1/query_exemplars" => {
            let asked = format!("query={}&start=1767323000000&end=1767323100000", encoded(SELECTORS[0]));
            vec![Question::get(format!("{route}?{asked}")), Question::post(route, asked)]
        }
        "/prometheus/api/v1/status/buildinfo" | "/prometheus/api/v1/rules" | "/prometheus/api/v1/alerts" => one(route),
        _ => Vec::new(),
    }
}

/// Asks as the bearer of a token.
async fn ask(served: &Served, question: &Question, token: &str) -> Answer {
    let Question { line, accept, form } = question;
    let accept = accept.map(|media| format!("Accept: {media}\r\n")).unwrap_or_default();
    let form = form.as_ref().map(|form| {
        let length = form.len();
        format!("Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{form}")
    });
    let head = format!("{line} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n{accept}");
    send(served, &format!("{head}{}", form.as_deref().unwrap_or("\r\n"))).await
}

/// The answer with what the question itself said taken out: to repeat that tells nothing.
fn told(question: &Question, answer: &Answer) -> String {
    let mut text = format!("{}\n{}", answer.head, answer.body);
    let path = question.line.split_once(' ').unwrap().1.replace("%2F", "/").replace("/api/v1/devices/", "=");
    for part in path.split(['?', '&', '=', ',']).filter(|part| part.len() > 4) {
        text = text.replace(&format!("`{part}`"), "`asked`");
    }
    text
}

/// Who asks, and what of the park is visible to them.
struct Asking {
    identity: Identity,
    secret: String,
    visible: Vec<u32>,
    hidden: Vec<u32>,
}

impl Asking {
    fn new(served: &Served, catalogue: &Catalogue, name: &str, role: Role, scope: &Scope) -> Self {
        let new = NewToken { name: name.into(), role, scope: scope.clone(), expires_at: None };
        let (token, secret) = served.tokens.create(new, NOW, "test").unwrap();
        let identity = Identity { name: token.name, role, scope: token.scope };
        let sees = |point: u32| {
            let point = catalogue.points.iter().find(|one| one.id.0 == point).unwrap();
            identity.sees(catalogue.device(&point.device).unwrap(), point)
        };
        let all = 1..=u32::try_from(DEVICES.len() * 2).unwrap();
        let (visible, hidden) = all.partition(|&point| sees(point));
        Self { identity, secret: secret.reveal().to_owned(), visible, hidden }
    }

    /// Nothing of what is hidden is in `text`, which answers `question`.
    fn check(&self, catalogue: &Catalogue, question: &Question, text: &str) {
        let Self { identity: Identity { role, scope, .. }, visible, hidden, .. } = self;
        let never = |mark: &str| assert!(!text.contains(mark), "{role:?} {scope:?} sees {mark} in {question:?}:\n{text}");
        for &point in hidden {
            let Marks { id, name, values } = marks(catalogue, point);
            [id, name].iter().chain(&values).for_each(|mark| never(mark));
        }
        if scope.is_everything() {
            return;
        }
        never("mark-problem");
        never("mark-sink");
        never("no answer for");
        // Devices and enterprises of which nothing is visible.
        let is_seen = |place: usize| (0..2).any(|index| visible.contains(&number(place, index)));
        for (place, (id, enterprise, _)) in DEVICES.iter().enumerate().filter(|(place, _)| !is_seen(*place)) {
            never(&format!("mark-device-{place}-"));
            if !(scope.outlets.contains(*id) && question.line.ends_with("/session")) {
                never(&format!("\"{id}\""));
            }
            let Some(enterprise) = enterprise else { continue };
            let any = (0..DEVICES.len()).any(|place| DEVICES[place].1 == Some(enterprise) && is_seen(place));
            if !any && !scope.enterprises.contains(*enterprise) {
                never(&format!("mark-{enterprise}-"));
            }
        }
    }

    /// How many visible points of meters are in `text`, of how many.
    fn found(&self, catalogue: &Catalogue, text: &str) -> (usize, usize) {
        let is_meter = |point: &&u32| catalogue.points.iter().any(|one| one.id.0 == **point && one.medium != Medium::Gateway);
        let meters: Vec<u32> = self.visible.iter().filter(is_meter).copied().collect();
        (meters.iter().filter(|&&point| text.contains(&marks(catalogue, point).id)).count(), meters.len())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sees_what_is_outside_the_scope() {
    let catalogue = marked_park();
    let (mut asked, mut seen) = (0, BTreeMap::new());
    for scope in scopes() {
        let served = served().await;
        for role in ROLES {
            let asking = Asking::new(&served, &catalogue, role.name(), role, &scope);
            for (route, _, _) in super::routes() {
                let questions = questions(route, &catalogue);
                assert!(!questions.is_empty(), "{route} is in the routes table, but the leak test does not ask it");
                for question in questions.iter().filter(|question| !question.line.ends_with("/stream")) {
                    let text = told(question, &ask(&served, question, &asking.secret).await);
                    asked += 1;
                    asking.check(&catalogue, question, &text);
                    let (found, all) = asking.found(&catalogue, &text);
                    let most: &mut usize = seen.entry((route, all)).or_default();
                    *most = found.max(*most);
                }
            }
        }
    }
    assert!(asked > 5_000, "only {asked} questions asked");
    // The test would find nothing where nothing is shown: lists of points show all that is visible.
    for ((route, all), most) in &seen {
        if ["/api/v1/points", "/api/v1/latest"].contains(route) {
            assert_eq!(most, all, "{route} does not show all that is visible");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_stream_tells_what_is_outside_the_scope() {
    let served = Arc::new(served().await);
    let catalogue = Arc::new(marked_park());
    let mut streams = tokio::task::JoinSet::new();
    for (number, scope) in scopes().into_iter().enumerate() {
        for role in [Role::Operator, Role::Regulator] {
            let (served, catalogue) = (Arc::clone(&served), Arc::clone(&catalogue));
            let asking = Asking::new(&served, &catalogue, &format!("{}-{number}", role.name()), role, &scope);
            streams.spawn(async move {
                let mut stream = TcpStream::connect(served.address).await.unwrap();
                let head = format!("GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n", asking.secret);
                stream.write_all(head.as_bytes()).await.unwrap();
                let first = read_until(&mut stream, "event: stats").await;
                // What changes is told to all streams; each changes it once more, so that none misses it.
                change(&served);
                let second = read_until(&mut stream, "event: stats").await + &read_until(&mut stream, "event: stats").await;
                for text in [&first, &second] {
                    asking.check(&catalogue, &Question::get("/api/v1/stream"), text);
                    let (found, all) = asking.found(&catalogue, text);
                    assert_eq!(found, all, "{:?} is not told all that is visible:\n{text}", asking.identity);
                }
            });
        }
    }
    while let Some(outcome) = streams.join_next().await {
        outcome.unwrap();
    }
}

/// A new value of each point, another error of each device and of the link.
fn change(served: &Served) {
    for (place, (id, _, _)) in DEVICES.iter().enumerate() {
        for index in 0..2 {
            let point = number(place, index);
            served.record.push(sample(point, NOW, value(point, 3)));
        }
        let words = format!("register of mark{}id refused again", number(place, 0));
        served.health.device(id, |health| health.error(NOW.plus(i64::try_from(health.failed).unwrap()), HealthState::Down, &words));
    }
    served.health.link("line-1", |health| health.error(NOW.plus(1), HealthState::Down, "no answer for mark2id"));
}

/// What of a device's health is told only to who sees all its points.
const TOLD_OF_ALL: [&str; 7] = ["last_error", "last_error_time", "received", "rejected", "failed", "skipped", "doubt"];

/// An answer or event as who sees only a part of `devices` should have it.
fn in_part(json: &str, devices: &[&str]) -> Value {
    let mut value: Value = serde_json::from_str(json).unwrap();
    let hide = |health: &mut Value| TOLD_OF_ALL.iter().for_each(|key| health[key] = Value::Null);
    let is_in_part = |row: &Value| row["id"].as_str().is_some_and(|id| devices.contains(&id));
    if is_in_part(&value) {
        hide(&mut value["health"]);
    }
    for row in value.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten().filter(|row| is_in_part(row)) {
        hide(&mut row["health"]);
    }
    let by_id = value.get_mut("devices").and_then(Value::as_object_mut).into_iter().flatten();
    by_id.filter(|(id, _)| devices.contains(&id.as_str())).for_each(|(_, health)| hide(health));
    value
}

/// What a stream begins with: names and data of its events, up to the first `stats`.
async fn first_events(served: &Served, token: &str) -> Vec<(String, String)> {
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let head = format!("GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let end = r#""problems":[]}"#;
    let read = read_until(&mut stream, end).await;
    // What came with it may be of the next round already.
    let text = format!("{}{end}", read.split(end).next().unwrap());
    let of = |prefix: &str| text.lines().filter_map(|line| line.strip_prefix(prefix)).map(str::to_owned).collect::<Vec<_>>();
    of("event: ").into_iter().zip(of("data: ")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_park_without_what_is_hidden_gives_the_same_answers() {
    let catalogue = marked_park();
    for scope in scopes().into_iter().filter(|scope| !scope.is_everything()) {
        let whole = served().await;
        let asking = Asking::new(&whole, &catalogue, "viewer", Role::Viewer, &scope);
        let part = served_of(park_of(|point| asking.visible.contains(&point))).await;
        let beside = Asking::new(&part, &catalogue, "viewer", Role::Viewer, &scope);
        // Each has a token of its own, and may have it back.
        let body = |answer: Answer, secret: &str| {
            let head: Vec<&str> = answer.head.lines().filter(|line| !line.starts_with("date: ")).collect();
            (answer.status, head.join("\n").replace(secret, "secret"), answer.body)
        };
        // Of a device that is seen in part, errors and counts are told in the park that has nothing else of it.
        let is_seen_in_part = |place: &usize| asking.visible.contains(&number(*place, 0)) != asking.visible.contains(&number(*place, 1));
        let seen_in_part: Vec<&str> = (0..DEVICES.len()).filter(is_seen_in_part).map(|place| DEVICES[place].0).collect();
        for (route, _, _) in super::routes() {
            for question in questions(route, &catalogue).into_iter().filter(|question| !question.line.ends_with("/stream")) {
                let (one, other) = (ask(&whole, &question, &asking.secret).await, ask(&part, &question, &beside.secret).await);
                if route.starts_with("/api/v1/devices") && !seen_in_part.is_empty() {
                    let one = (one.status, serde_json::from_str(&one.body).unwrap());
                    assert_eq!(one, (other.status, in_part(&other.body, &seen_in_part)), "{scope:?} {question:?}");
                } else {
                    assert_eq!(body(one, &asking.secret), body(other, &beside.secret), "{scope:?} {question:?}");
                }
            }
        }
        let (one, other) = (first_events(&whole, &asking.secret).await, first_events(&part, &beside.secret).await);
        let one: Vec<(String, Value)> = one.into_iter().map(|(name, data)| (name, serde_json::from_str(&data).unwrap())).collect();
        let other: Vec<(String, Value)> = other.into_iter().map(|(name, data)| (name, in_part(&data, &seen_in_part))).collect();
        assert_eq!(one, other, "{scope:?} stream");
    }
}

#[tokio::test]
async fn only_who_runs_the_park_is_told_what_is_wrong() {
    let served = served().await;
    let acme = Scope { enterprises: ["acme".to_owned()].into(), ..Scope::default() };
    let token = |name: &str, role, scope: &Scope| {
        let new = NewToken { name: name.into(), role, scope: scope.clone(), expires_at: None };
        served.tokens.create(new, NOW, "test").unwrap().1.reveal().to_owned()
    };
    let everything = Scope::default();
    let operator = token("operator", Role::Operator, &everything);
    let few = [token("acme", Role::Operator, &acme), token("viewer", Role::Viewer, &everything), "pkg_0".to_owned()];
    let question = Question::get("/readyz");
    for secret in &few {
        assert_eq!(ask(&served, &question, secret).await.body, "not ready\n");
    }
    assert_eq!(super::tests::get(&served, "/readyz").await.body, "not ready\n");
    let told = ask(&served, &question, &operator).await.body;
    assert!(told.contains("[-] journal failed: mark-problem") && told.contains("[~] sink mark-sink degraded: mark-problem"), "{told}");
}

/// The test would find no total where none is shown: who sees everything has the marks of all of them.
#[tokio::test]
async fn totals_are_shown_with_their_marks() {
    let (served, catalogue) = (served().await, marked_park());
    let asking = Asking::new(&served, &catalogue, "viewer", Role::Viewer, &Scope::default());
    let mut told = Vec::new();
    for (name, parameters) in
        [("query", format!("time={CLOSED_AT}")), ("query_range", format!("start={CLOSED_FROM}&end={CLOSED_AT}&step=600"))]
    {
        let form = format!("query={}&{parameters}", encoded(SELECTORS[0]));
        told.push(ask(&served, &Question::post(format!("/prometheus/api/v1/{name}"), form), &asking.secret).await.body);
    }
    let mut totals = [String::new(), String::new()];
    for question in questions("/api/v1/totals", &catalogue) {
        let place = usize::from(question.accept.is_some() || question.line.ends_with("csv"));
        totals[place] += &ask(&served, &question, &asking.secret).await.body;
    }
    let [json, csv] = totals;
    told.push(json);
    for point in catalogue.points.iter().filter(|point| point.medium != Medium::Gateway) {
        let number = point.id.0;
        for text in &told {
            let has = |mark: &str| assert!(text.contains(mark), "{mark} is not in {text}");
            match point.identity.kind {
                Kind::Counter => Level::ALL.iter().for_each(|&level| has(&amount(number, level).to_string())),
                Kind::Gauge | Kind::State => has(&value(number, 1).to_string()),
            }
        }
        if point.identity.kind == Kind::Counter {
            assert!(csv.matches(&amount(number, Level::Day).to_string()).count() >= 2, "{csv}");
        }
    }
}

#[test]
fn what_is_documented_is_in_the_routes_table() {
    let document = serde_json::to_value(super::document()).unwrap();
    for path in document["paths"].as_object().unwrap().keys() {
        assert!(super::routes().iter().any(|(route, _, _)| route == path), "{path} is documented, but not in the table that is tested");
    }
}

#[tokio::test]
async fn what_is_hidden_answers_as_what_is_not_there() {
    let served = served().await;
    let scope = Scope { enterprises: ["acme".to_owned()].into(), ..Scope::default() };
    let new = NewToken { name: "acme".into(), role: Role::Viewer, scope, expires_at: None };
    let (_, secret) = served.tokens.create(new, NOW, "test").unwrap();
    for (hidden, missing) in [
        ("/api/v1/samples?point=bloom/gas/mark7id", "/api/v1/samples?point=bloom/gas/mark0id"),
        ("/api/v1/samples/buckets?point=bloom/gas/mark7id", "/api/v1/samples/buckets?point=bloom/gas/mark0id"),
        ("/api/v1/latest?point=own/main/mark9id", "/api/v1/latest?point=own/main/mark0id"),
        ("/api/v1/latest?device=own/main", "/api/v1/latest?device=own/mainframe"),
        ("/api/v1/points?after=own/main/mark9id", "/api/v1/points?after=own/main/mark0id"),
        ("/api/v1/points?device=own/main", "/api/v1/points?device=own/mainframe"),
        ("/api/v1/points?enterprise=bloom", "/api/v1/points?enterprise=nobody"),
        ("/api/v1/devices/bloom%2Fgas", "/api/v1/devices/bloom%2Fgin"),
        ("/api/v1/devices?enterprise=bloom", "/api/v1/devices?enterprise=nobody"),
    ] {
        let mut answers = Vec::new();
        for question in [hidden, missing] {
            let question = Question::get(question);
            let answer = ask(&served, &question, secret.reveal()).await;
            answers.push((answer.status, told(&question, &answer).lines().filter(|line| !line.starts_with("date")).collect::<String>()));
        }
        let lengths_apart = |text: &str| text.split("content-length: ").next().unwrap().to_owned() + text.split_once('{').unwrap().1;
        assert_eq!((answers[0].0, lengths_apart(&answers[0].1)), (answers[1].0, lengths_apart(&answers[1].1)), "{hidden}");
    }
}
