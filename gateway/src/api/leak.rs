//! The leak test: no answer to anybody holds an id, a name or a value of a point outside the scope of who asks.
//!
//! Every point of the park here has marks of its own, in its id, its names and its values, that occur nowhere else. So a
//! leak is found by looking for the marks of hidden points in the bytes of the answer, head included. Every route of the
//! routes table is asked, in every way that [`questions`] knows, by every role with scopes of every dimension. A route
//! without a question fails the test.
//!
//! Marks do not find what is only counted or summed up. So the same questions are put to a second park that has nothing
//! but what is visible: its answers must be the same, byte for byte.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parkgate_collector::catalogue::{Catalogue, Enterprise};
use parkgate_collector::health::State as HealthState;
use parkgate_collector::model::{Kind, Medium, Origin};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::fake::{NOW, PointRow, Served, device, modbus_link, names, park, sample, start};
use super::tests::{Answer, read_until, send};
use crate::access::tokens::NewToken;
use crate::access::{Identity, Role, Scope};

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
            .map(|((number, id, name), medium)| match number % 2 {
                1 => (*number, id.as_str(), name.as_str(), name.as_str(), "energy_import", *medium, Kind::Counter, "kWh", 0),
                _ => (*number, id.as_str(), name.as_str(), name.as_str(), "active_power", *medium, Kind::Gauge, "kW", 0),
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

async fn served_of(park: Catalogue) -> Served {
    let points: Vec<u32> = park.points.iter().map(|point| point.id.0).collect();
    let served = start("127.0.0.1:0", park, None, "boot-1").await;
    served.readiness.set("journal", Err("mark-problem".into()));
    for point in points {
        served.record.push(sample(point, NOW.plus(-20_000), value(point, 1)));
        served.record.push(sample(point, NOW.plus(-10_000), value(point, 2)));
    }
    for (place, (id, _, _)) in DEVICES.iter().enumerate() {
        // What a driver may say: it names points.
        let words = format!("register of mark{}id and mark{}id refused", number(place, 0), number(place, 1));
        served.health.device(id, |health| health.error(NOW, HealthState::Degraded, &words));
    }
    served.health.link("line-1", |health| health.error(NOW, HealthState::Degraded, "no answer for mark1id, mark3id, mark5id, mark9id"));
    served
}

fn marks(catalogue: &Catalogue, point: u32) -> Marks {
    let found = catalogue.points.iter().find(|one| one.id.0 == point).unwrap();
    Marks {
        id: found.local_id.clone(),
        name: found.name.en.clone(),
        values: (1..=3).map(|sample| value(point, sample).to_string()).collect(),
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

/// What is asked of a route: requests as `METHOD path`. An empty list is a route nobody has thought about.
fn questions(route: &str, catalogue: &Catalogue) -> Vec<String> {
    let ids = || catalogue.points.iter().map(|point| point.identity.stable_id.clone());
    let devices = || catalogue.devices.iter().map(|device| device.id.replace('/', "%2F"));
    let get = |paths: &mut dyn Iterator<Item = String>| paths.map(|path| format!("GET {path}")).collect::<Vec<_>>();
    let one = |path: &str| vec![format!("GET {path}")];
    match route {
        "/" | "/app.js" | "/style.css" | "/texts.json" | "/favicon.svg" | "/livez" | "/metrics" => one(route),
        "/readyz" => vec!["GET /readyz".into(), "GET /readyz?verbose".into()],
        "/api/v1/openapi.json" | "/api/v1/park" => one(route),
        "/api/v1/session" => ["GET", "POST", "DELETE"].map(|method| format!("{method} {route}")).into(),
        "/api/v1/devices" => {
            let enterprises = ["acme", "bloom", "nobody"].map(|id| format!("/api/v1/devices?enterprise={id}"));
            [one(route), get(&mut enterprises.into_iter())].concat()
        }
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
            get(&mut ids().chain(near).map(|id| format!("{route}?point={id}&from=-1d")))
        }
        "/api/v1/samples/buckets" => get(&mut ids().map(|id| format!("{route}?point={id}&from=-2h"))),
        "/api/v1/totals" => get(&mut ids()
            .flat_map(|id| ["hour", "year"].map(|level| format!("{route}?point={id}&level={level}&from=2026-01-01&to=2026-01-03")))),
        "/api/v1/totals/today" | "/api/v1/stream" => one(route),
        "/prometheus/api/v1/query" => queries().map(|query| format!("GET {route}?query={query}&time={AT}")).collect(),
        "/prometheus/api/v1/query_range" => {
            queries().map(|query| format!("GET {route}?query={query}&start={FROM}&end={AT}&step=10")).collect()
        }
        "/prometheus/api/v1/labels" | "/prometheus/api/v1/series" => {
            let mut questions = one(&format!("{route}?start={FROM}&end={AT}"));
            questions.extend(SELECTORS.iter().map(|one| format!("GET {route}?match[]={}&start={FROM}&end={AT}", encoded(one))));
            questions
        }
        "/prometheus/api/v1/label/{name}/values" => {
            let labels = ["__name__", "U____name__", "point", "device", "enterprise", "medium", "quantity", "role", "nothing"];
            let all = labels.iter().map(|label| route.replace("{name}", label));
            let matched = all.clone().map(|path| format!("{path}?match[]={}&start={FROM}&end={AT}", encoded(SELECTORS[0])));
            get(&mut all.chain(matched))
        }
        "/prometheus/api/v1/metadata" => vec![format!("GET {route}"), format!("GET {route}?limit=40000")],
        "/prometheus/api/v1/query_exemplars" => one(&format!("{route}?query=test&start=1767323000000&end=1767323100000")),
        "/prometheus/api/v1/status/buildinfo" | "/prometheus/api/v1/rules" | "/prometheus/api/v1/alerts" => one(route),
        _ => Vec::new(),
    }
}

/// Asks as the bearer of a token.
async fn ask(served: &Served, question: &str, token: &str) -> Answer {
    send(served, &format!("{question} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n")).await
}

/// The answer with what the question itself said taken out: to repeat that tells nothing.
fn told(question: &str, answer: &Answer) -> String {
    let mut text = format!("{}\n{}", answer.head, answer.body);
    let path = question.split_once(' ').unwrap().1.replace("%2F", "/").replace("/api/v1/devices/", "=");
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
    fn check(&self, catalogue: &Catalogue, question: &str, text: &str) {
        let Self { identity: Identity { role, scope, .. }, visible, hidden, .. } = self;
        let never = |mark: &str| assert!(!text.contains(mark), "{role:?} {scope:?} sees {mark} in {question}:\n{text}");
        for &point in hidden {
            let Marks { id, name, values } = marks(catalogue, point);
            [id, name].iter().chain(&values).for_each(|mark| never(mark));
        }
        if scope.is_everything() {
            return;
        }
        never("mark-problem");
        never("no answer for");
        // Devices and enterprises of which nothing is visible.
        let is_seen = |place: usize| (0..2).any(|index| visible.contains(&number(place, index)));
        for (place, (id, enterprise, _)) in DEVICES.iter().enumerate().filter(|(place, _)| !is_seen(*place)) {
            never(&format!("mark-device-{place}-"));
            if !(scope.outlets.contains(*id) && question.ends_with("/session")) {
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
                for question in questions.iter().filter(|question| !question.ends_with("/stream")) {
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
                    asking.check(&catalogue, "GET /api/v1/stream", text);
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

#[tokio::test(flavor = "multi_thread")]
async fn a_park_without_what_is_hidden_gives_the_same_answers() {
    let catalogue = marked_park();
    let body = |answer: Answer| {
        let head: Vec<&str> = answer.head.lines().filter(|line| !line.starts_with("date: ")).collect();
        (answer.status, head.join("\n"), answer.body)
    };
    for scope in scopes().into_iter().filter(|scope| !scope.is_everything()) {
        let whole = served().await;
        let asking = Asking::new(&whole, &catalogue, "viewer", Role::Viewer, &scope);
        let part = served_of(park_of(|point| asking.visible.contains(&point))).await;
        let beside = Asking::new(&part, &catalogue, "viewer", Role::Viewer, &scope);
        // Of a device that is seen in part, errors are told in the park that has nothing else of it.
        let is_seen_in_part =
            (0..DEVICES.len()).any(|place| asking.visible.contains(&number(place, 0)) != asking.visible.contains(&number(place, 1)));
        for (route, _, _) in super::routes() {
            let questions = questions(route, &catalogue).into_iter().filter(|question| {
                let is_other = question.ends_with("/stream") || question.starts_with("POST ");
                !(is_other || is_seen_in_part && route.starts_with("/api/v1/devices"))
            });
            for question in questions {
                let (one, other) = (ask(&whole, &question, &asking.secret).await, ask(&part, &question, &beside.secret).await);
                assert_eq!(body(one), body(other), "{scope:?} {question}");
            }
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
            let question = format!("GET {question}");
            let answer = ask(&served, &question, secret.reveal()).await;
            answers.push((answer.status, told(&question, &answer).lines().filter(|line| !line.starts_with("date")).collect::<String>()));
        }
        let lengths_apart = |text: &str| text.split("content-length: ").next().unwrap().to_owned() + text.split_once('{').unwrap().1;
        assert_eq!((answers[0].0, lengths_apart(&answers[0].1)), (answers[1].0, lengths_apart(&answers[1].1)), "{hidden}");
    }
}
