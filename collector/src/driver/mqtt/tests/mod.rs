//! The driver against a real mosquitto on a free port.

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use rumqttc::{AsyncClient, MqttOptions, PublishOptions};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::client::Incoming;
use super::gather::Gather;
use super::run;
use super::sessions::Sessions;
use crate::catalogue::*;
use crate::clock::SystemClock;
use crate::driver::{Batch, LinkDevices, Message, Outcome};
use crate::health::{HealthBoard, State};
use crate::metrics::Metrics;
use crate::model::*;
use crate::protocol::json::{RecordMap, TimeFormat, TimePath};

mod flood;
mod outages;
mod payloads;
mod refused;
mod shared;
mod tls;
mod versions;

/// Longest that anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A mosquitto of one test. Killed on drop.
struct Broker {
    child: Option<Child>,
    port: u16,
    directory: TempDir,
}

impl Broker {
    fn start(settings: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), settings)
    }

    fn start_in(directory: TempDir, settings: &str) -> Self {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        std::fs::write(directory.path().join("nobody"), "").unwrap();
        let mut broker = Self { child: None, port, directory };
        broker.write(settings);
        broker.up();
        broker
    }

    fn write(&self, settings: &str) {
        let mut file = std::fs::File::create(self.directory.path().join("mosquitto.conf")).unwrap();
        let anonymous = if settings.contains("allow_anonymous") { "" } else { "allow_anonymous true\n" };
        let settings = settings.replace("DIRECTORY", self.directory.path().to_str().unwrap());
        // Started as root it becomes another user, who may not write here.
        writeln!(file, "user root\nlistener {} 127.0.0.1\nmax_queued_messages 0\n{anonymous}{settings}", self.port).unwrap();
    }

    fn up(&mut self) {
        let program = if std::path::Path::new("/usr/sbin/mosquitto").exists() { "/usr/sbin/mosquitto" } else { "mosquitto" };
        let child = Command::new(program)
            .arg("-c")
            .arg(self.directory.path().join("mosquitto.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("mosquitto is installed");
        self.child = Some(child);
        for _ in 0..200 {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("mosquitto does not listen on port {}", self.port);
    }

    /// Asks it to end, so that it writes its sessions down.
    fn ask_to_end(&mut self) {
        if let Some(mut child) = self.child.take() {
            rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
            child.wait().unwrap();
        }
    }

    fn down(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    async fn publish(&self, messages: &[(&str, u8, &str)]) {
        self.publish_as(messages, false).await;
    }

    /// Publishes and waits until the broker has everything.
    async fn publish_as(&self, messages: &[(&str, u8, &str)], retain: bool) {
        let mut options = MqttOptions::new(format!("publisher-{}", fastrand::u32(..)), ("127.0.0.1".to_owned(), self.port));
        options.set_max_packet_size(64 << 20, 64 << 20);
        let (client, mut event_loop) = AsyncClient::builder(options).capacity(100).build();
        let poller = tokio::spawn(async move { while event_loop.poll().await.is_ok() {} });
        for (topic, qos, payload) in messages {
            let options = if *qos == 0 { PublishOptions::at_most_once() } else { PublishOptions::at_least_once() };
            let sent = client.publish_tracked(*topic, payload.as_bytes().to_vec(), options.retain(retain)).await.unwrap();
            sent.wait_async().await.unwrap();
        }
        poller.abort();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.down();
    }
}

/// A running driver and the pipeline's end of its outlet.
struct Running {
    messages: mpsc::Receiver<Message>,
    health: HealthBoard,
    cancel: CancellationToken,
    task: JoinHandle<()>,
    links: Vec<(bool, String)>,
    new_sessions: u32,
}

impl Running {
    /// The next batch; states of the link are noted on the way.
    async fn batch(&mut self) -> Batch {
        loop {
            match timeout(PATIENCE, self.messages.recv()).await.expect("a batch in time").expect("the driver runs") {
                Message::Batch(batch) => return batch,
                Message::Link(change) => self.links.push((change.up, change.why)),
                Message::NewSession(_) => self.new_sessions += 1,
                Message::Catalogue(..) => panic!("drivers have no catalogue"),
            }
        }
    }

    /// Waits until the link has this state; batches on the way are a mistake of the test.
    async fn link(&mut self, up: bool) -> String {
        while !self.links.is_empty() {
            let (was_up, why) = self.links.remove(0);
            if was_up == up {
                return why;
            }
        }
        loop {
            match timeout(PATIENCE, self.messages.recv()).await.expect("a change in time").expect("the driver runs") {
                Message::Link(change) if change.up == up => return change.why,
                Message::Link(_) => {}
                Message::NewSession(_) => self.new_sessions += 1,
                Message::Catalogue(..) => panic!("drivers have no catalogue"),
                Message::Batch(batch) => panic!("unexpected {batch:?}"),
            }
        }
    }

    /// Takes batches until there are `count` readings, without an answer.
    async fn held(&mut self, count: usize) -> Vec<Batch> {
        let mut held: Vec<Batch> = Vec::new();
        while held.iter().map(|batch| batch.readings.len()).sum::<usize>() < count {
            held.push(self.batch().await);
        }
        held
    }

    /// Takes batches and answers them durable until there are `count` readings; returns their numbers.
    async fn durable(&mut self, count: usize) -> Vec<String> {
        let mut numbers = Vec::new();
        while numbers.len() < count {
            let mut batch = self.batch().await;
            numbers.extend(show(&batch));
            batch.done.take().unwrap().send(Outcome::Durable).unwrap();
        }
        numbers
    }

    async fn stop(mut self) {
        self.cancel.cancel();
        timeout(PATIENCE, &mut self.task).await.expect("stops in time").unwrap();
    }
}

/// `point=number` of each reading, with its time if it has one.
fn show(batch: &Batch) -> Vec<String> {
    let show = |reading: &Reading| {
        let number = match reading.number {
            Number::Exact(number) => number.to_string(),
            other => format!("{other:?}"),
        };
        let time = reading.source_time.map_or(String::new(), |time| format!("@{}", time.0));
        format!("{}={number}{time}", reading.point.0)
    };
    batch.readings.iter().map(show).collect()
}

fn topic(filter: &str, paths: &[(&str, u32)]) -> TopicMap {
    TopicMap {
        filter: filter.into(),
        subscription: filter.into(),
        qos: 1,
        payload: Payload::Json(RecordMap { records: None, time: None }),
        values: paths.iter().map(|(path, point)| (path.parse().unwrap(), PointId(*point))).collect(),
    }
}

fn timed(mut map: TopicMap) -> TopicMap {
    let time = Some(TimePath { path: "t".parse().unwrap(), in_payload: false, format: TimeFormat::EpochMillis });
    map.payload = Payload::Json(RecordMap { records: None, time });
    map
}

fn settings(port: u16) -> MqttSettings {
    MqttSettings { max_packet_bytes: 100_000, ..MqttSettings::new("127.0.0.1".into(), port, "parkgate-test".into()) }
}

fn link_devices(settings: MqttSettings, topics: Vec<TopicMap>) -> LinkDevices {
    let link = Arc::new(Link { id: "broker".into(), key: LinkKey::of("broker"), driver: DriverSettings::Mqtt(settings) });
    let device = Device {
        id: "meter".into(),
        name: Names { zh: "表".into(), en: "meter".into() },
        enterprise: None,
        link: Arc::clone(&link),
        profile: None,
        origin: Origin::Metered,
        nameplate: Default::default(),
        address: DeviceAddress::Mqtt(MqttAddress { topics, raw_forward: false }),
        points: vec![],
    };
    LinkDevices { link, devices: vec![Arc::new(device)] }
}

fn start(settings: MqttSettings, topics: Vec<TopicMap>) -> Running {
    start_with(link_devices(settings, topics))
}

fn start_with(devices: LinkDevices) -> Running {
    start_knowing(devices, Sessions::default())
}

fn start_knowing(devices: LinkDevices, sessions: Sessions) -> Running {
    let (outlet, messages) = mpsc::channel(4);
    let (health, cancel) = (HealthBoard::default(), CancellationToken::new());
    let metrics = Metrics::new(&Registry::new());
    let clock = Arc::new(SystemClock::new());
    let task = tokio::spawn(run(devices, outlet, health.clone(), metrics, clock, sessions, cancel.clone()));
    Running { messages, health, cancel, task, links: vec![], new_sessions: 0 }
}

#[test]
fn several_mappings_of_one_topic_make_one_mark_and_are_kept_as_a_whole() {
    let topics = vec![timed(topic("m", &[("a", 1)])), topic("m", &[("b", 2)]), topic("m", &[("absent", 3)])];
    let health = HealthBoard::default();
    let metrics = Metrics::new(&Registry::new());
    let mut gather = Gather::new(
        &link_devices(settings(1), topics),
        &MqttSettings { max_packet_bytes: 1000, ..settings(1) },
        &health,
        &metrics,
        UtcMillis(0),
    );
    let message = |packet_id: u16, payload: &'static str| Incoming {
        topic: "m".into(),
        payload: payload.into(),
        packet_id,
        exactly_once: false,
        redelivered: false,
        retained: false,
    };
    gather.add(&message(7, r#"{"a":1,"b":2,"t":5}"#), UtcMillis(100));
    gather.add(&message(8, r#"{"a":"x","b":3,"t":5}"#), UtcMillis(100));
    gather.add(&message(9, r#"{"b":4,"t":5}"#), UtcMillis(100));
    gather.add(&message(10, "?"), UtcMillis(100));
    gather.add(&message(11, "?"), UtcMillis(99));
    let (batch, acks) = gather.take(&health, UtcMillis(100)).unwrap();
    assert_eq!(show(&batch), ["2=2", "1=1@5", "2=4"], "nothing of a message of which a part cannot be read");
    let marks: Vec<_> = batch.deliveries.iter().map(|mark| (mark.delivery.packet_id, mark.first, mark.count)).collect();
    assert_eq!(marks, [(7, 0, 1), (9, 2, 1)], "just the readings without a time");
    let rejected: Vec<_> = batch.rejected.iter().map(|rejected| (rejected.class, rejected.received_time.0)).collect();
    assert_eq!((rejected, acks.len()), (vec![("type", 100), ("syntax", 101), ("syntax", 102)], 5));
    assert_eq!(health.devices()["meter"].received, 3);
}

#[tokio::test]
async fn acknowledges_only_after_durable_and_in_order() {
    let broker = Broker::start("max_inflight_messages 4");
    let mut running = start(settings(broker.port), vec![topic("m", &[("v", 1)])]);
    running.link(true).await;
    broker.publish(&[]).await;
    let messages: Vec<String> = (0..10).map(|number| format!("{{\"v\":{number}}}")).collect();
    let messages: Vec<(&str, u8, &str)> = messages.iter().map(|text| ("m", 1, text.as_str())).collect();
    broker.publish(&messages).await;
    // The broker sends four and waits for acknowledgements.
    let held = running.held(4).await;
    assert_eq!(held.iter().flat_map(show).collect::<Vec<_>>(), ["1=0", "1=1", "1=2", "1=3"]);
    assert!(timeout(Duration::from_millis(300), running.messages.recv()).await.is_err(), "more came without an acknowledgement");
    for mut batch in held {
        assert_eq!(batch.deliveries.len(), batch.readings.len());
        batch.done.take().unwrap().send(Outcome::Durable).unwrap();
    }
    assert_eq!(running.durable(6).await, ["1=4", "1=5", "1=6", "1=7", "1=8", "1=9"]);
    running.stop().await;
}

#[tokio::test]
async fn what_was_not_acknowledged_comes_again() {
    let broker = Broker::start("");
    let mut running = start(settings(broker.port), vec![topic("m", &[("v", 1)])]);
    running.link(true).await;
    broker.publish(&[("m", 1, r#"{"v":1}"#), ("m", 1, r#"{"v":2}"#)]).await;
    let ids = |held: &[Batch]| held.iter().flat_map(|batch| batch.deliveries.clone()).map(|one| one.delivery).collect::<Vec<_>>();
    let first = running.held(2).await;
    let first_ids = ids(&first);
    assert!(first.iter().flat_map(|batch| &batch.deliveries).all(|delivery| !delivery.redelivered));
    // The first ones fail by a dropped sender.
    drop(first);
    assert!(running.link(false).await.contains("could not be made durable"));
    assert_eq!(running.link(true).await, "connected, session kept");
    let again = running.held(2).await;
    assert_eq!(again.iter().flat_map(show).collect::<Vec<_>>(), ["1=1", "1=2"]);
    assert!(again.iter().flat_map(|batch| &batch.deliveries).all(|delivery| delivery.redelivered));
    assert_eq!(ids(&again), first_ids, "recognised by id and hash");
    for mut batch in again {
        let _ = batch.done.take().unwrap().send(Outcome::NotDurable);
    }
    running.link(true).await;
    assert_eq!(running.durable(2).await, ["1=1", "1=2"]);
    running.stop().await;
    // Stopping acknowledged everything: nothing comes again.
    let mut running = start(settings(broker.port), vec![topic("m", &[("v", 1)])]);
    assert_eq!(running.link(true).await, "connected, session kept");
    broker.publish(&[("m", 1, r#"{"v":3}"#)]).await;
    assert_eq!(running.durable(1).await, ["1=3"]);
    running.stop().await;
}

#[tokio::test]
async fn stopping_acknowledges_what_becomes_durable_in_time() {
    let broker = Broker::start("");
    let mut running = start(settings(broker.port), vec![topic("m", &[("v", 1)])]);
    running.link(true).await;
    broker.publish(&[("m", 1, r#"{"v":1}"#)]).await;
    let mut batch = running.batch().await;
    running.cancel.cancel();
    tokio::task::yield_now().await;
    batch.done.take().unwrap().send(Outcome::Durable).unwrap();
    timeout(PATIENCE, &mut running.task).await.unwrap().unwrap();
    let mut running = start(settings(broker.port), vec![topic("m", &[("v", 1)])]);
    running.link(true).await;
    broker.publish(&[("m", 1, r#"{"v":2}"#)]).await;
    assert_eq!(running.durable(1).await, ["1=2"]);
    running.stop().await;
}

#[tokio::test]
async fn subscribes_again_when_the_broker_lost_the_session() {
    for settings in versions::both(0) {
        let mut broker = Broker::start("");
        let mut running = start(MqttSettings { port: broker.port, ..settings }, vec![topic("m", &[("v", 1)])]);
        running.link(true).await;
        for number in 1..=2 {
            broker.publish(&[("m", 1, &format!("{{\"v\":{number}}}"))]).await;
            assert_eq!(running.durable(1).await, [format!("1={number}")]);
            broker.down();
            let why = running.link(false).await;
            assert!(why.contains("closed the connection") || why.contains("connection to"), "{why}");
            broker.up();
            assert_eq!(running.link(true).await, "connected, new session");
        }
        assert_eq!(running.new_sessions, 3, "each told before what it brings");
        running.stop().await;
    }
}

#[tokio::test]
async fn topics_that_left_the_configuration_are_given_up() {
    let broker = Broker::start("");
    let former = vec![topic("m", &[("v", 1)]), topic("old/+/power", &[("v", 2)]), topic("gone", &[("v", 3)])];
    let mut running = start(settings(broker.port), former);
    running.link(true).await;
    running.stop().await;
    let mut running = start(settings(broker.port), vec![topic("m", &[("v", 1)])]);
    assert_eq!(running.link(true).await, "connected, session kept");
    // One message of each is rejected, and later ones do not come at all.
    for topic in ["old/a/power", "gone"] {
        broker.publish(&[(topic, 1, r#"{"v":1}"#)]).await;
        let mut batch = running.batch().await;
        assert_eq!(batch.rejected.iter().map(|rejected| rejected.class).collect::<Vec<_>>(), ["unmapped"], "{topic}");
        batch.done.take().unwrap().send(Outcome::Durable).unwrap();
        let other = if topic == "gone" { "gone" } else { "old/b/power" };
        // The answer of the broker passes by the driver: until then a message may still come.
        let mut number = 0;
        loop {
            number += 1;
            broker.publish(&[(other, 1, r#"{"v":2}"#), ("m", 1, &format!("{{\"v\":{number}}}"))]).await;
            let (mut unmapped, mut numbers) = (0, Vec::new());
            while numbers.is_empty() {
                let mut batch = running.batch().await;
                unmapped += batch.rejected.len();
                numbers.extend(show(&batch));
                batch.done.take().unwrap().send(Outcome::Durable).unwrap();
            }
            assert_eq!(numbers, [format!("1={number}")]);
            if unmapped == 0 {
                break;
            }
            assert!(number < 20, "{other} still comes");
        }
    }
    running.stop().await;
    // And it stays so in the session.
    let mut running = start(settings(broker.port), vec![topic("m", &[("v", 1)])]);
    assert_eq!(running.link(true).await, "connected, session kept");
    broker.publish(&[("old/c/power", 1, r#"{"v":1}"#), ("gone", 1, r#"{"v":1}"#), ("m", 1, r#"{"v":9}"#)]).await;
    assert_eq!(running.durable(1).await, ["1=9"]);
    running.stop().await;
}

#[tokio::test]
async fn refusals_are_told_in_words() {
    let broker = Broker::start("allow_anonymous false\npassword_file DIRECTORY/nobody");
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let with_password =
        MqttSettings { username: Some("gateway".into()), password: Some(Secret::new("wrong-secret".into())), ..settings(broker.port) };
    for (settings, wanted) in [
        (with_password, "not authorised: the user name or password is wrong"),
        (settings(broker.port), "not authorised"),
        (settings(nobody), "connection refused; check that it runs and that host and port are right"),
        (MqttSettings { host: "no-such-host.invalid".into(), ..settings(1) }, "no-such-host.invalid:1"),
    ] {
        let mut running = start(settings, vec![topic("m", &[("v", 1)])]);
        let why = running.link(false).await;
        assert!(why.contains(wanted) && !why.contains("secret"), "{why}");
        assert_eq!(running.health.links()["broker"].state, State::Down);
        assert!(running.health.devices()["meter"].last_error.as_deref().unwrap().contains(wanted));
        running.stop().await;
    }
}

#[tokio::test]
async fn what_cannot_be_mapped_is_rejected_and_acknowledged() {
    let broker = Broker::start("max_inflight_messages 1");
    let mut running = start(settings(broker.port), vec![topic("m/+", &[("v", 1)]), timed(topic("t", &[("v", 2)]))]);
    running.link(true).await;
    let long = format!("{{\"v\":1,\"x\":\"{}\"}}", "x".repeat(200_000));
    let huge = format!("{{\"v\":1,\"x\":\"{}\"}}", "x".repeat(20 << 20));
    let messages = [
        ("m/a", 1, "{\"v\":"),
        ("m/a", 1, "{\"w\":1}"),
        ("m/a", 1, "{\"v\":\"high\"}"),
        ("m/a", 1, long.as_str()),
        ("t", 1, "{\"v\":1}"),
        // Above the client's own limit: the connection starts again, once.
        ("m/a", 1, huge.as_str()),
        ("m/a", 1, "{\"v\":7}"),
    ];
    broker.publish(&messages).await;
    let (mut classes, mut numbers) = (Vec::new(), Vec::new());
    while numbers.is_empty() {
        let mut batch = running.batch().await;
        classes.extend(batch.rejected.iter().map(|rejected| rejected.class));
        for rejected in &batch.rejected {
            assert!(rejected.payload.len() <= 256 * 1024 && rejected.device.as_deref() == Some("meter"));
            assert!(rejected.source.starts_with("broker "), "{}", rejected.source);
        }
        numbers.extend(show(&batch));
        batch.done.take().unwrap().send(Outcome::Durable).unwrap();
    }
    assert_eq!(classes, ["syntax", "path", "type", "oversized", "timestamp", "oversized"]);
    assert_eq!(numbers, ["1=7"]);
    assert_eq!(running.links.iter().filter(|(up, _)| !up).count(), 1, "{:?}", running.links);
    let health = running.health.devices()["meter"].clone();
    assert_eq!((health.rejected, health.received, health.state), (6, 1, State::Up));
    running.stop().await;
}

#[tokio::test]
async fn maps_wildcards_arrays_batches_and_qos_0() {
    let broker = Broker::start("");
    let topics = vec![
        topic("exact", &[("a", 1), ("b.c[1]", 2)]),
        topic("park/+/flow", &[("", 3)]),
        topic("deep/#", &[("v", 4)]),
        timed(topic("batch", &[("v", 5)])),
        topic("late", &[("v", 6)]),
    ];
    broker.publish_as(&[("late", 1, r#"{"v":9}"#), ("batch", 1, r#"{"v":0,"t":99}"#)], true).await;
    let mut running = start(settings(broker.port), topics);
    // A retained message without a time says nothing about when it was measured; with a time it is as good as any.
    let mut numbers = running.durable(1).await;
    running.link(true).await;
    let messages = [
        ("exact", 1, r#"{"a":"1.50","b":{"c":[0,true]}}"#),
        ("exact", 1, r#"{"a":null}"#),
        ("park/acme/flow", 0, "12.5"),
        ("deep/a/b", 1, r#"[{"v":1},{"v":2}]"#),
        ("batch", 1, r#"[{"v":1,"t":1000},{"v":2,"t":2000}]"#),
        ("late", 1, r#"{"v":1}"#),
    ];
    broker.publish(&messages).await;
    let mut deliveries = 0;
    while numbers.len() < 10 {
        let mut batch = running.batch().await;
        numbers.extend(show(&batch));
        for delivery in &batch.deliveries {
            assert!(delivery.first + delivery.count <= u32::try_from(batch.readings.len()).unwrap());
            let range = &batch.readings[delivery.first as usize..(delivery.first + delivery.count) as usize];
            assert!(range.iter().all(|reading| reading.source_time.is_none()));
        }
        deliveries += batch.deliveries.len();
        batch.done.take().unwrap().send(Outcome::Durable).unwrap();
    }
    assert_eq!(numbers, ["5=0@99", "1=1.50", "2=1", "1=Missing(NotAvailable)", "3=12.5", "4=1", "4=2", "5=1@1000", "5=2@2000", "6=1"]);
    assert_eq!(deliveries, 4, "one for each message of QoS 1 without a time");
    running.stop().await;
}

/// Publishes `{"v":0}`, `{"v":1}` and so on, the later ones while the broker takes the earlier; returns when it has all.
async fn publish_numbers(port: u16, topic: &'static str, more: &'static str, count: usize) {
    let options = MqttOptions::new(format!("publisher-{topic}"), ("127.0.0.1".to_owned(), port));
    let (client, mut event_loop) = AsyncClient::builder(options).capacity(100).build();
    let poller = tokio::spawn(async move { while event_loop.poll().await.is_ok() {} });
    let mut last = None;
    for number in 0..count {
        let payload = format!("{{\"v\":{number}{more}}}");
        last = Some(client.publish_tracked(topic, payload, PublishOptions::at_least_once()).await.unwrap());
    }
    last.unwrap().wait_async().await.unwrap();
    poller.abort();
}

impl Running {
    /// Takes batches, unanswered, until no more come.
    async fn all_held(&mut self) -> Vec<Batch> {
        let mut held = Vec::new();
        while let Ok(Some(Message::Batch(batch))) = timeout(Duration::from_millis(300), self.messages.recv()).await {
            held.push(batch);
        }
        held
    }
}

#[tokio::test]
async fn a_slow_pipeline_holds_the_broker_back_and_nothing_is_lost() {
    const COUNT: usize = 20_000;
    let broker = Broker::start("max_inflight_messages 1000");
    let mut running = start(settings(broker.port), vec![topic("m", &[("v", 1)])]);
    running.link(true).await;
    publish_numbers(broker.port, "m", "", COUNT).await;
    // All is at the broker; here only what the outlet and its in-flight window hold.
    let held = running.all_held().await;
    let mut numbers: Vec<String> = held.iter().flat_map(show).collect();
    assert!(numbers.len() <= 1000, "{} without an acknowledgement", numbers.len());
    for mut batch in held {
        batch.done.take().unwrap().send(Outcome::Durable).unwrap();
    }
    numbers.extend(running.durable(COUNT - numbers.len()).await);
    assert_eq!(numbers, (0..COUNT).map(|number| format!("1={number}")).collect::<Vec<_>>());
    running.stop().await;
}

/// The normaliser remembers so many deliveries of messages without a time; more in flight could not all be recognised when
/// the broker delivers them again. Messages with a time are recognised by it, and are not held back.
#[tokio::test]
async fn messages_without_a_time_are_bounded_in_flight() {
    const COUNT: usize = 12_000;
    const BOUND: usize = DELIVERIES_REMEMBERED / 4;
    let broker = Broker::start("max_inflight_messages 0");
    let mut running = start(settings(broker.port), vec![topic("m", &[("v", 1)]), timed(topic("t", &[("v", 2)]))]);
    running.link(true).await;
    publish_numbers(broker.port, "t", ",\"t\":1764000000000", COUNT).await;
    let held = running.all_held().await;
    assert_eq!(held.iter().map(|batch| batch.readings.len()).sum::<usize>(), COUNT, "with a time nothing is held back");
    assert!(held.iter().all(|batch| batch.deliveries.is_empty()));
    for mut batch in held {
        batch.done.take().unwrap().send(Outcome::Durable).unwrap();
    }
    publish_numbers(broker.port, "m", "", COUNT).await;
    let mut numbers: Vec<String> = Vec::new();
    let mut rounds = 0;
    while numbers.len() < COUNT {
        let held = running.all_held().await;
        let marks: usize = held.iter().map(|batch| batch.deliveries.len()).sum();
        assert!(marks > 0 && marks <= BOUND, "{marks} marks in flight, {} messages had before", numbers.len());
        rounds += 1;
        numbers.extend(held.iter().flat_map(show));
        for mut batch in held {
            batch.done.take().unwrap().send(Outcome::Durable).unwrap();
        }
    }
    assert!(rounds >= COUNT / BOUND, "the bound was reached");
    assert_eq!(numbers, (0..COUNT).map(|number| format!("1={number}")).collect::<Vec<_>>());
    running.stop().await;
}
