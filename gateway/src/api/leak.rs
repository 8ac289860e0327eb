//! The leak test: no answer to anybody holds an id, a name or a value of a point outside the scope of who asks.
//!
//! Every point of the park here has marks of its own, in its id, its names and its values, that occur nowhere else. So a
//! leak is found by looking for the marks of hidden points in the bytes of the answer, head included. Every route of the
//! routes table is asked, in every way that [`questions`] knows, by every role with scopes of every dimension. A route
//! without a question fails the test.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parkgate_collector::catalogue::{Catalogue, Enterprise};
use parkgate_collector::health::State as HealthState;
use parkgate_collector::model::{Kind, Medium, Origin};

use super::fake::{NOW, Served, device, modbus_link, names, park, sample, start};
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
    // One link for all devices: what is said of it must not tell about them.
    let line = modbus_link("line-1");
    let devices = DEVICES.iter().enumerate().map(|(place, &(id, enterprise, media))| {
        let ids: Vec<String> = (0..2).map(|index| format!("mark{}id", number(place, index))).collect();
        let texts: Vec<String> = (0..2).map(|index| format!("mark{}name", number(place, index))).collect();
        let row = |index: usize| {
            let (id, name) = (ids[index].as_str(), texts[index].as_str());
            (number(place, index), id, name, name, "active_power", media[index], Kind::Gauge, "kW", 0)
        };
        device(
            id,
            names(&format!("mark-device-{place}-"), &format!("mark-device-{place}-")),
            enterprise,
            &line,
            Origin::Metered,
            &[row(0), row(1)],
        )
    });
    let devices = devices.collect();
    let enterprises = ["acme", "bloom"].map(|id| Enterprise { id: id.into(), name: names(&format!("mark-{id}-"), &format!("mark-{id}-")) });
    park(enterprises.into(), vec![line], devices)
}

async fn served() -> Served {
    let served = start("127.0.0.1:0", marked_park(), None, "boot-1").await;
    served.readiness.set("journal", Err("mark-problem".into()));
    for (place, (id, _, _)) in DEVICES.iter().enumerate() {
        for index in 0..2 {
            let point = number(place, index);
            served.record.push(sample(point, NOW.plus(-20_000), value(point, 1)));
            served.record.push(sample(point, NOW.plus(-10_000), value(point, 2)));
        }
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
        values: (1..=2).map(|sample| value(point, sample).to_string()).collect(),
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
        "/api/v1/stream" => one(route),
        _ => Vec::new(),
    }
}

/// Asks as the bearer of a token.
async fn ask(served: &Served, question: &str, token: &str) -> Answer {
    let head = format!("{question} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n");
    if question.ends_with("/api/v1/stream") {
        let mut stream = tokio::net::TcpStream::connect(served.address).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, format!("{head}\r\n").as_bytes()).await.unwrap();
        let mut text = read_until(&mut stream, "event: stats").await;
        // And one round of changes: all points, all devices.
        for place in 0..DEVICES.len() {
            for index in 0..2 {
                served.record.push(sample(number(place, index), NOW, value(number(place, index), 3)));
            }
            let words = format!("mark{}id again", number(place, 0));
            served.health.device(DEVICES[place].0, |health| health.error(NOW.plus(1), HealthState::Down, &words));
        }
        text += &read_until(&mut stream, "event: stats").await;
        text += &read_until(&mut stream, "event: stats").await;
        return Answer { status: 200, head: String::new(), body: text };
    }
    send(served, &format!("{head}Connection: close\r\n\r\n")).await
}

/// The answer with what the question itself said taken out: to repeat that tells nothing.
fn told(question: &str, answer: &Answer) -> String {
    let mut text = format!("{}\n{}", answer.head, answer.body);
    let path = question.split_once(' ').unwrap().1.replace("%2F", "/");
    for part in path.split(['?', '&', '=', ',']).filter(|part| part.len() > 5) {
        text = text.replace(&format!("`{part}`"), "`asked`");
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sees_what_is_outside_the_scope() {
    let catalogue = Arc::new(marked_park());
    let (mut asked, mut seen) = (0, BTreeMap::new());
    for scope in scopes() {
        let served = served().await;
        for role in ROLES {
            let new = NewToken { name: role.name().into(), role, scope: scope.clone(), expires_at: None };
            let (token, secret) = served.tokens.create(new, NOW, "test").unwrap();
            let identity = Identity { name: token.name, role, scope: token.scope };
            let sees = |point: u32| {
                let point = catalogue.points.iter().find(|one| one.id.0 == point).unwrap();
                identity.sees(catalogue.device(&point.device).unwrap(), point)
            };
            let all = 1..=u32::try_from(DEVICES.len() * 2).unwrap();
            let (visible, hidden): (Vec<u32>, Vec<u32>) = all.partition(|&point| sees(point));
            for (route, _, _) in super::routes() {
                // The stream takes two seconds, and is the same for all roles.
                if route == "/api/v1/stream" && role != Role::Regulator {
                    continue;
                }
                let questions = questions(route, &catalogue);
                assert!(!questions.is_empty(), "{route} is in the routes table, but the leak test does not ask it");
                for question in questions {
                    let answer = ask(&served, &question, secret.reveal()).await;
                    let text = told(&question, &answer);
                    asked += 1;
                    for &point in &hidden {
                        let Marks { id, name, values } = marks(&catalogue, point);
                        for mark in [id, name].iter().chain(&values) {
                            assert!(!text.contains(mark.as_str()), "{role:?} {scope:?} sees {mark} in {question}:\n{text}");
                        }
                    }
                    // Devices and enterprises of which nothing is visible.
                    for (place, (id, enterprise, _)) in DEVICES.iter().enumerate() {
                        if !visible.contains(&number(place, 0)) && !visible.contains(&number(place, 1)) && !scope.is_everything() {
                            for mark in [format!("mark-device-{place}-"), format!("\"{id}\"")] {
                                let own = scope.outlets.contains(*id) && question.ends_with("session");
                                assert!(own || !text.contains(&mark), "{role:?} {scope:?} sees {mark} in {question}:\n{text}");
                            }
                        }
                        let Some(enterprise) = enterprise else { continue };
                        let is_member = |place: usize| DEVICES[place].1 == Some(enterprise);
                        let any =
                            (0..DEVICES.len()).any(|place| is_member(place) && (0..2).any(|index| visible.contains(&number(place, index))));
                        if !any && !scope.is_everything() && !scope.enterprises.contains(*enterprise) {
                            assert!(
                                !text.contains(&format!("mark-{enterprise}-")),
                                "{role:?} {scope:?} sees {enterprise} in {question}:\n{text}"
                            );
                        }
                    }
                    if !scope.is_everything() {
                        assert!(
                            !text.contains("mark-problem") && !text.contains("no answer for"),
                            "{role:?} {scope:?} {question}:\n{text}"
                        );
                    }
                    let found = visible.iter().filter(|&&point| text.contains(&marks(&catalogue, point).id)).count();
                    let most: &mut usize = seen.entry((route, visible.len())).or_default();
                    *most = found.max(*most);
                }
            }
        }
    }
    assert!(asked > 3_000, "only {asked} questions asked");
    // The test would find nothing where nothing is shown: every route about points shows all that is visible.
    for route in ["/api/v1/points", "/api/v1/latest", "/api/v1/stream"] {
        for ((_, visible), most) in seen.iter().filter(|((one, _), _)| *one == route) {
            assert_eq!(most, visible, "{route} does not show all that is visible");
        }
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
