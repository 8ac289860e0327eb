//! Alarms reach everybody who should get them, whatever receivers, network and gateway go through.
//!
//! A real Alertmanager (Debian package `prometheus-alertmanager`) stands behind a proxy that refuses, hangs and breaks off,
//! and is killed; what it tells its own receiver in the end must be every alarm. A webhook receiver made up here checks
//! signatures and keys while the gateway is killed at random. `PARKGATE_ROUNDS` sets the number of kills.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use parkgate_collector::sim::mqtt::Publisher;
use parkgate_gateway::alarm::event::{Event, EventKind, Standing, WebhookBody};
use parkgate_gateway::alarm::notify::webhook::signature;
use parkgate_tests::gateway::{Finished, Gateway, parkgate};
use parkgate_tests::http::{HttpServer, Reply, Request};
use parkgate_tests::mosquitto::{Mosquitto, Options};
use parkgate_tests::server::Server;
use parkgate_tests::{Stopwatch, now_ms, number_from, random, wait_for};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// Meters of the park.
const METERS: usize = 6;
/// Kills, unless `PARKGATE_ROUNDS` says otherwise.
const ROUNDS: u64 = 50;
/// Longest time from ready to the kill.
const KILL_WITHIN_MS: u64 = 250;
/// Longest that receivers may take to get the rest.
const DRAIN_LIMIT: Duration = Duration::from_secs(180);
/// How long each trouble lasts, with alarms coming and going.
const TROUBLE: Duration = Duration::from_millis(900);
/// What requests are signed with.
const SECRET: &str = "shared by both";

const RULES: &str = r#"
[[rule]]
id = "high"
alertname = "High"
title = { zh = "偏高", en = "high" }
quantity = ["number"]
above = 100
unit = "1"
deadband = 10
priority = "high"
shelve_max_s = 3600
"#;

const RULES_TEST: &str = r#"
rules = ["rules.toml"]
[[case]]
name = "100 is not above 100"
rule = "high"
readings = [[0, 100], [10, 101], [20, 90]]
until = 30
expect = [{ at = 10, what = "raised" }, { at = 20, what = "resolved" }]
"#;

/// A park of meters behind the broker at `port`.
fn config(port: u16) -> String {
    let mut text = format!(
        "[park]\nid = \"park\"\nname = \"Park\"\n\n[[enterprise]]\nid = \"acme\"\nname = \"Acme\"\n\n\
         [[link]]\nid = \"broker\"\ndriver = \"mqtt\"\nhost = \"127.0.0.1\"\nport = {port}\n"
    );
    for meter in (0..METERS).map(|meter| format!("m{meter}")).chain(["probe".to_owned()]) {
        write!(
            text,
            "\n[[device]]\nid = \"{meter}\"\nlink = \"broker\"\nenterprise = \"acme\"\n[[device.topic]]\nfilter = \"meters/{meter}\"\ntime = \"ts\"\n\
             [[device.point]]\nid = \"number\"\nmedium = \"power\"\nkind = \"gauge\"\nunit = \"1\"\ndecimals = 0\npath = \"n\"\n"
        )
        .expect("writing to a string");
    }
    text
}

/// A gateway with the rules beside its configuration.
fn start(config: &str) -> Result<Gateway> {
    let mut gateway = Gateway::prepare(None)?;
    let folder = gateway.config().parent().context("a folder")?.join("alarms");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("rules.toml"), RULES)?;
    std::fs::write(folder.join("rules.test.toml"), RULES_TEST)?;
    gateway.configure(config)?;
    gateway.restart()?;
    Ok(gateway)
}

/// Meters that go above the limit and back, and how often each went.
struct Meters {
    publisher: Publisher,
    stamps: [i64; METERS],
    is_high: [bool; METERS],
    raised: [usize; METERS],
}

impl Meters {
    /// Publishes until a message gets through. Must be called within `runtime`.
    fn open(runtime: &Runtime, broker: &Mosquitto, gateway: &Gateway) -> Result<Self> {
        let mut publisher = broker.publisher("meters");
        wait_for("open session", Duration::from_secs(30), || {
            runtime.block_on(publisher.publish("meters/probe", format!("{{\"n\":1,\"ts\":{}}}", now_ms())))?;
            Ok((!gateway.samples("acme/probe/number")?.is_empty()).then_some(()))
        })?;
        Ok(Self { publisher, stamps: [0; METERS], is_high: [false; METERS], raised: [0; METERS] })
    }

    /// A meter goes above the limit, or back.
    async fn turn(&mut self, meter: usize) -> Result<()> {
        self.is_high[meter] = !self.is_high[meter];
        self.raised[meter] += usize::from(self.is_high[meter]);
        self.stamps[meter] = now_ms().max(self.stamps[meter] + 1);
        let value = if self.is_high[meter] { 150 } else { 50 };
        self.publisher.publish(&format!("meters/m{meter}"), format!("{{\"n\":{value},\"ts\":{}}}", self.stamps[meter])).await?;
        Ok(())
    }

    async fn settle(&mut self) -> Result<()> {
        for meter in 0..METERS {
            if self.is_high[meter] {
                self.turn(meter).await?;
            }
        }
        self.publisher.flush().await?;
        Ok(())
    }
}

/// A point and the time its alarm began.
type Episode = (String, String);

/// Stands before an Alertmanager and keeps what that took; does something else while told to.
struct Between {
    server: HttpServer,
    instead: Arc<Mutex<Option<Reply>>>,
    taken: Arc<Mutex<Taken>>,
}

/// What Alertmanager took: alarms that are on, and that are over.
#[derive(Clone, Default)]
struct Taken {
    on: BTreeSet<Episode>,
    over: BTreeSet<Episode>,
}

impl Between {
    fn start(upstream: String) -> Result<Self> {
        let (instead, taken): (Arc<Mutex<Option<Reply>>>, Arc<Mutex<Taken>>) = Default::default();
        let (its_own, its_taken) = (Arc::clone(&instead), Arc::clone(&taken));
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let server = HttpServer::start(move |request| {
            if let Some(reply) = its_own.lock().unwrap_or_else(PoisonError::into_inner).clone() {
                return reply;
            }
            let url = format!("{upstream}{}", request.path);
            let Ok(answer) = agent.post(&url).content_type("application/json").send(request.body.as_slice()) else { return Reply::Close };
            let status = answer.status().as_u16();
            if status == 200 {
                note(request, &mut its_taken.lock().unwrap_or_else(PoisonError::into_inner));
            }
            Reply::text(status, "")
        })?;
        Ok(Self { server, instead, taken })
    }

    fn set(&self, instead: Option<Reply>) {
        *self.instead.lock().unwrap_or_else(PoisonError::into_inner) = instead;
    }

    fn taken(&self) -> Taken {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn note(request: &Request, taken: &mut Taken) {
    let alerts: Vec<Value> = serde_json::from_slice(&request.body).unwrap_or_default();
    for alert in alerts.iter().filter(|alert| alert["labels"]["alertname"] == "High") {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let ends = text(&alert["endsAt"]).parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_millisecond);
        let of = (text(&alert["labels"]["point"]), text(&alert["startsAt"]));
        if ends > now_ms() {
            taken.on.insert(of)
        } else {
            taken.over.insert(of)
        };
    }
}

/// Who Alertmanager told: alarms by name, point and state.
type Told = BTreeSet<(String, String, String)>;

fn tell(request: &Request, told: &mut Told) {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    for alert in body["alerts"].as_array().into_iter().flatten() {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        told.insert((text(&alert["labels"]["alertname"]), text(&alert["labels"]["point"]), text(&alert["status"])));
    }
}

#[test]
fn alertmanager_has_every_alarm_after_every_trouble() -> Result<()> {
    let _stopwatch = Stopwatch::start("alarms: alertmanager");
    let told: Arc<Mutex<Told>> = Arc::default();
    let hook = {
        let told = Arc::clone(&told);
        HttpServer::start(move |request| {
            tell(request, &mut told.lock().unwrap_or_else(PoisonError::into_inner));
            Reply::text(200, "")
        })?
    };
    let mut alertmanager = Server::alertmanager(&hook.url())?;
    let proxy = Between::start(alertmanager.url())?;
    let broker = Mosquitto::start(&Options::default())?;
    let mut text = config(broker.port());
    write!(
        text,
        "\n[[gateway.alertmanager]]\nurl = \"{}\"\nname = \"am\"\nresend_s = 1\nhold_s = 3\ntimeout_ms = 500\n",
        proxy.server.url()
    )?;
    let mut gateway = start(&text)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let _guard = runtime.enter();
    let mut meters = Meters::open(&runtime, &broker, &gateway)?;

    // One that stays on, and is the same to both.
    runtime.block_on(meters.turn(0))?;
    let active = || -> Result<Vec<Value>> {
        let text = ureq::get(format!("{}/api/v2/alerts", alertmanager_url(&alertmanager))).call()?.body_mut().read_to_string()?;
        Ok(serde_json::from_str(&text)?)
    };
    let found = wait_for("an alarm at Alertmanager", DRAIN_LIMIT, || {
        Ok(active()?.into_iter().find(|alert| alert["labels"]["alertname"] == "High"))
    })?;
    let ours = gateway.get("/api/v1/alarms")?["operator"].as_array().cloned().unwrap_or_default();
    let ours = ours.iter().find(|alarm| alarm["labels"]["alertname"] == "High").context("not shown")?.clone();
    assert_eq!((&found["fingerprint"], &found["labels"]), (&ours["fingerprint"], &ours["labels"]));
    assert_eq!(found["startsAt"].as_str().map(|text| text.trim_end_matches('Z').trim_end_matches('0')), {
        ours["starts_at"].as_str().map(|text| text.trim_end_matches('Z').trim_end_matches('0'))
    });

    let busy = Reply::Answer { status: 429, headers: vec![("Retry-After", "1".into())], body: Vec::new() };
    let troubles = [Reply::text(500, "down"), Reply::Hang, Reply::Close, Reply::text(400, "no"), busy, Reply::text(401, "who")];
    for (number, trouble) in troubles.into_iter().enumerate() {
        proxy.set(Some(trouble));
        // One begins in the trouble, one begins and ends in it.
        let (one, other) = (1 + number % (METERS - 1), 1 + (number + 1) % (METERS - 1));
        runtime.block_on(meters.turn(one))?;
        std::thread::sleep(TROUBLE / 2);
        runtime.block_on(meters.turn(other))?;
        std::thread::sleep(TROUBLE / 2);
        runtime.block_on(meters.turn(other))?;
        match number {
            1 => {
                gateway.kill_9()?;
                gateway.restart()?;
            }
            // It forgets what is on, and hears of it again.
            2 => alertmanager.restart()?,
            4 => {
                ensure!(gateway.stop()?.success(), "the gateway did not stop cleanly");
                gateway.restart()?;
            }
            _ => {}
        }
        proxy.set(None);
        std::thread::sleep(TROUBLE);
        runtime.block_on(meters.turn(one))?;
    }
    runtime.block_on(meters.settle())?;
    wait_for("an outbox that nothing waits in", DRAIN_LIMIT, || {
        let metrics = gateway.text("/metrics")?;
        Ok(metrics.contains("parkgate_alarm_outbox_depth{receiver=\"alertmanager am\"} 0\n").then_some(()))
    })?;
    let events = events(&gateway)?;
    // Each alarm that began and ended here, by point and true start.
    let of = |kind: EventKind| -> BTreeSet<Episode> {
        let wanted = events.iter().filter(|event| event.kind == kind && event.labels["alertname"] == "High");
        wanted.map(|event| (event.labels["point"].clone(), event.starts_at.to_string())).collect()
    };
    let (began, ended) = (of(EventKind::Raised), of(EventKind::Resolved));
    assert_eq!(began.len(), meters.raised.iter().sum::<usize>(), "{:?}", meters.raised);
    assert_eq!(began, ended);
    wait_for("every alarm at Alertmanager", DRAIN_LIMIT, || {
        let taken = proxy.taken();
        Ok((taken.on.is_superset(&began) && taken.over.is_superset(&ended)).then_some(()))
    })
    .with_context(|| format!("of {began:?} it took {:?} as on, {:?} as over", proxy.taken().on, proxy.taken().over))?;
    // It tells what is on when it looks, once a second: of each meter that one alarm came and went, and the watchdog.
    wait_for("Alertmanager telling of every meter", DRAIN_LIMIT, || {
        let told = told.lock().unwrap_or_else(PoisonError::into_inner);
        let has = |meter: usize, state: &str| told.contains(&("High".to_owned(), format!("acme/m{meter}/number"), state.to_owned()));
        let watchdog = told.contains(&("Watchdog".to_owned(), String::new(), "firing".to_owned()));
        Ok((watchdog && (0..METERS).all(|meter| has(meter, "firing") && has(meter, "resolved"))).then_some(()))
    })?;
    ensure!(gateway.text("/metrics")?.contains("parkgate_alarm_deliveries_total{outcome=\"taken\",receiver=\"alertmanager am\"}"));
    ensure!(!gateway.text("/metrics")?.contains("outcome=\"dropped\""), "something was given up");
    alertmanager.kill();
    ensure!(gateway.stop()?.success(), "the gateway did not stop cleanly");
    Ok(())
}

fn alertmanager_url(server: &Server) -> String {
    server.url()
}

/// All events of the outbox, by the replay.
fn events(gateway: &Gateway) -> Result<Vec<Event>> {
    let mut events: Vec<Event> = Vec::new();
    loop {
        let after = events.last().map_or(0, |event| event.seq);
        let page = gateway.get(&format!("/api/v1/alarms/events?after_seq={after}&limit=500"))?;
        let items: Vec<Event> = serde_json::from_value(page["items"].clone())?;
        if items.is_empty() {
            return Ok(events);
        }
        events.extend(items);
    }
}

/// What a webhook got: bodies by key.
#[derive(Default)]
struct Posts {
    by_key: BTreeMap<String, WebhookBody>,
    doubles: usize,
    wrong: Vec<String>,
    requests: usize,
}

impl Posts {
    fn take(&mut self, request: &Request) -> Result<(), String> {
        self.requests += 1;
        let given = request.header("x-signature").ok_or("no signature")?;
        let seconds = given.strip_prefix("t=").and_then(|rest| rest.split(',').next()).and_then(|text| text.parse::<i64>().ok());
        let seconds = seconds.ok_or("no time in the signature")?;
        if signature(SECRET, seconds, &request.body) != given || (now_ms() / 1_000 - seconds).abs() > 60 {
            return Err(format!("signature {given} is wrong"));
        }
        let key = request.header("idempotency-key").ok_or("no key")?.to_owned();
        let body: WebhookBody = serde_json::from_slice(&request.body).map_err(|error| error.to_string())?;
        if body.version != "4" || body.alerts.len() != 1 {
            return Err(format!("{body:?}"));
        }
        match self.by_key.get(&key) {
            Some(known) if known.alerts[0].fingerprint == body.alerts[0].fingerprint && known.status == body.status => self.doubles += 1,
            Some(known) => return Err(format!("key {key} is of two: {known:?} and {body:?}")),
            None => drop(self.by_key.insert(key, body)),
        }
        Ok(())
    }
}

#[test]
fn no_alarm_is_lost_or_doubled_when_killed() -> Result<()> {
    let _stopwatch = Stopwatch::start("alarms: kills");
    let rounds = number_from("PARKGATE_ROUNDS")?.unwrap_or(ROUNDS);
    let mut random = random()?;
    let posts: Arc<Mutex<Posts>> = Arc::default();
    let receiver = {
        let posts = Arc::clone(&posts);
        HttpServer::start(move |request| {
            let mut posts = posts.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(wrong) = posts.take(request) {
                posts.wrong.push(wrong);
            }
            // Some answers get lost: what was taken comes again, under the same key.
            if posts.requests.is_multiple_of(7) { Reply::Close } else { Reply::text(204, "") }
        })?
    };
    let broker = Mosquitto::start(&Options::default())?;
    let mut text = config(broker.port());
    write!(text, "\n[[gateway.webhook]]\nurl = \"{}/hook\"\nname = \"duty\"\nsecret = \"{SECRET}\"\ntimeout_ms = 1000\n", receiver.url())?;
    let mut gateway = start(&text)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let _guard = runtime.enter();
    let mut meters = Meters::open(&runtime, &broker, &gateway)?;
    for round in 0..rounds {
        let turns: Vec<usize> = (0..random.usize(2..10)).map(|_| random.usize(0..METERS)).collect();
        let publishing = runtime.spawn(async move {
            for meter in turns {
                meters.turn(meter).await?;
            }
            meters.publisher.flush().await?;
            anyhow::Ok(meters)
        });
        std::thread::sleep(Duration::from_millis(random.u64(0..KILL_WITHIN_MS)));
        gateway.kill_9()?;
        gateway.restart().with_context(|| format!("after the kill of round {round}"))?;
        meters = runtime.block_on(publishing)??;
    }
    runtime.block_on(meters.settle())?;
    let expected: usize = meters.raised.iter().sum();
    let told = wait_for("every alarm in the outbox", DRAIN_LIMIT, || {
        let told = events(&gateway)?;
        let count = |kind| told.iter().filter(|event| event.kind == kind && event.labels["alertname"] == "High").count();
        Ok((count(EventKind::Raised) >= expected && count(EventKind::Resolved) >= expected).then_some(told))
    })?;
    for meter in 0..METERS {
        let of = |kind| {
            let point = format!("acme/m{meter}/number");
            told.iter().filter(|event| event.kind == kind && event.labels.get("point") == Some(&point)).count()
        };
        assert_eq!((of(EventKind::Raised), of(EventKind::Resolved)), (meters.raised[meter], meters.raised[meter]), "meter {meter}");
    }
    assert!(told.windows(2).all(|pair| pair[0].seq + 1 == pair[1].seq), "numbers are left out");
    let wanted: BTreeMap<String, Standing> =
        told.iter().filter(|event| !event.suppressed).map(|event| (event.key(), event.state)).collect();
    wait_for("every event at the receiver", DRAIN_LIMIT, || {
        let posts = posts.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(wanted.keys().all(|key| posts.by_key.contains_key(key)).then_some(()))
    })
    .with_context(|| {
        let posts = posts.lock().unwrap_or_else(PoisonError::into_inner);
        let lacking: Vec<_> = told.iter().filter(|event| !event.suppressed && !posts.by_key.contains_key(&event.key())).collect();
        format!("lacking {lacking:?}, refused by the receiver {:?}", posts.wrong)
    })?;
    let posts = posts.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(posts.wrong, Vec::<String>::new());
    let got: BTreeMap<String, Standing> = posts.by_key.iter().map(|(key, body)| (key.clone(), body.status)).collect();
    assert_eq!(got, wanted);
    println!("{rounds} kills, {expected} alarms, {} events, {} came again", wanted.len(), posts.doubles);
    drop(posts);
    ensure!(gateway.stop()?.success(), "the gateway did not stop cleanly");
    Ok(())
}

fn on_config(gateway: &Gateway, arguments: &[&str]) -> Result<Finished> {
    let config = gateway.config().display().to_string();
    let mut all: Vec<&str> = arguments.to_vec();
    all.extend(["--config", &config]);
    parkgate(&all)
}

#[test]
fn operators_act_by_name_and_tests_of_rules_run() -> Result<()> {
    let _stopwatch = Stopwatch::start("alarms: acts");
    let broker = Mosquitto::start(&Options::default())?;
    let mut gateway = start(&config(broker.port()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let _guard = runtime.enter();
    let mut meters = Meters::open(&runtime, &broker, &gateway)?;
    runtime.block_on(meters.turn(2))?;
    let on = |gateway: &Gateway| -> Result<Option<Value>> {
        let all = gateway.get("/api/v1/alarms")?;
        Ok(all["operator"].as_array().into_iter().flatten().find(|alarm| alarm["labels"]["rule"] == "high").cloned())
    };
    let alarm = wait_for("an alarm", DRAIN_LIMIT, || on(&gateway))?;
    let fingerprint = alarm["fingerprint"].as_str().context("no fingerprint")?.to_owned();
    let post = |act: &str, body: Value| -> Result<(u16, Value)> {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let url = gateway.url(&format!("/api/v1/alarms/{fingerprint}/{act}"));
        let mut answer = agent.post(url).content_type("application/json").send(body.to_string())?;
        Ok((answer.status().as_u16(), serde_json::from_str(&answer.body_mut().read_to_string()?)?))
    };
    // Nobody is known by a token here.
    let (status, problem) = post("ack", json!({}))?;
    ensure!(status == 422 && problem["detail"].as_str().is_some_and(|text| text.contains("name")), "{problem}");
    let (status, answer) = post("ack", json!({ "by": "王工", "note": "看过了" }))?;
    ensure!(status == 200 && answer["annotations"]["acknowledged_by"] == "王工" && answer["annotations"]["note"] == "看过了", "{answer}");
    ensure!(post("ack", json!({ "by": "li" }))?.0 == 422, "acknowledged twice");
    let (status, answer) = post("shelve", json!({ "by": "li", "for_s": 600 }))?;
    ensure!(status == 200 && answer["annotations"]["shelved_by"] == "li" && answer["state"] == "resolved", "{answer}");
    ensure!(
        gateway.get("/prometheus/api/v1/alerts")?["data"]["alerts"]
            .as_array()
            .is_some_and(|alerts| { alerts.len() == 1 && alerts[0]["labels"]["alertname"] == "Watchdog" })
    );
    // By the command, beside the running gateway.
    let finished = on_config(&gateway, &["alarms", "unshelve", &fingerprint, "--by", "zhao"])?;
    ensure!(finished.code == 0, "{finished:?}");
    wait_for("taken from the shelf", DRAIN_LIMIT, || Ok(on(&gateway)?.filter(|alarm| alarm["state"] == "firing")))?;
    let rules = gateway.get("/prometheus/api/v1/rules")?;
    ensure!(rules["data"]["groups"][0]["rules"].as_array().is_some_and(|rules| rules.iter().any(|rule| rule["name"] == "High")), "{rules}");
    let listed = on_config(&gateway, &["alarms", "list", "--json"])?.json_lines()?;
    ensure!(listed.iter().any(|event| event["fingerprint"] == fingerprint.as_str() && event["kind"] == "unshelved"), "{listed:?}");
    let kinds: Vec<Value> = on_config(&gateway, &["alarms", "events"])?.json_lines()?.iter().map(|event| event["kind"].clone()).collect();
    ensure!(kinds.ends_with(&["raised", "acknowledged", "noted", "shelved", "unshelved"].map(Value::from)), "{kinds:?}");
    let replay = gateway.get("/api/v1/alarms/events?epoch=other&after_seq=3")?;
    ensure!(replay["restarted"] == true && replay["items"][0]["seq"] == 1, "{replay}");

    let folder = gateway.config().parent().context("a folder")?.join("alarms");
    let file = |name: &str| folder.join(name).display().to_string();
    let finished = parkgate(&["alarms", "test", &file("rules.toml"), &file("rules.test.toml")])?;
    ensure!(finished.code == 0 && finished.stdout.contains("1 rules read, 1 cases"), "{finished:?}");
    std::fs::write(folder.join("bad.test.toml"), RULES_TEST.replace("at = 10, what", "at = 11, what"))?;
    let finished = parkgate(&["alarms", "test", &file("bad.test.toml")])?;
    ensure!(finished.code == 1 && finished.stdout.contains("bad.test.toml:4:8: case `100 is not above 100`"), "{finished:?}");
    ensure!(parkgate(&["alarms", "test", &file("nothing.toml")])?.code == 2);
    let schema: Value = serde_json::from_str(&parkgate(&["alarms", "schema"])?.stdout)?;
    ensure!(schema["properties"]["webhook"].is_object() && schema["$defs"]["Event"]["properties"]["fingerprint"].is_object(), "{schema}");
    ensure!(gateway.stop()?.success(), "the gateway did not stop cleanly");
    // Rules that cannot be read stop the start, with their place.
    std::fs::write(folder.join("wrong.toml"), "[[rule]]\nid = \"x\"\n")?;
    let finished = parkgate(&["run", "--config", &gateway.config().display().to_string()])?;
    ensure!(finished.code == 1 && finished.stderr.contains("wrong.toml:1:1: missing field `title`"), "{finished:?}");
    Ok(())
}
