//! The driver against a real mosquitto on a free port.

use std::collections::BTreeMap;
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

use super::run;
use crate::catalogue::*;
use crate::clock::SystemClock;
use crate::driver::{Batch, LinkDevices, Message, Outcome};
use crate::health::{HealthBoard, State};
use crate::metrics::Metrics;
use crate::model::*;
use crate::protocol::json::{RecordMap, TimeFormat, TimePath};

/// Longest that anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// A mosquitto of one test. Killed on drop.
struct Broker {
    child: Option<Child>,
    port: u16,
    directory: TempDir,
}

impl Broker {
    fn start(settings: &str) -> Self {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let directory = tempfile::tempdir().unwrap();
        let mut broker = Self { child: None, port, directory };
        broker.write(settings);
        broker.up();
        broker
    }

    fn write(&self, settings: &str) {
        let mut file = std::fs::File::create(self.directory.path().join("mosquitto.conf")).unwrap();
        let anonymous = if settings.contains("allow_anonymous") { "" } else { "allow_anonymous true\n" };
        let settings = settings.replace("DIRECTORY", self.directory.path().to_str().unwrap());
        writeln!(file, "listener {} 127.0.0.1\nmax_queued_messages 0\n{anonymous}{settings}", self.port).unwrap();
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
}

impl Running {
    /// The next batch; states of the link are noted on the way.
    async fn batch(&mut self) -> Batch {
        loop {
            match timeout(PATIENCE, self.messages.recv()).await.expect("a batch in time").expect("the driver runs") {
                Message::Batch(batch) => return batch,
                Message::Link(change) => self.links.push((change.up, change.why)),
            }
        }
    }

    /// Waits until the link has this state; batches on the way are a mistake of the test.
    async fn link(&mut self, up: bool) -> String {
        loop {
            match timeout(PATIENCE, self.messages.recv()).await.expect("a change in time").expect("the driver runs") {
                Message::Link(change) if change.up == up => return change.why,
                Message::Link(_) => {}
                Message::Batch(batch) => panic!("unexpected {batch:?}"),
            }
        }
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
        qos: 1,
        records: RecordMap { records: None, time: None },
        values: paths.iter().map(|(path, point)| (path.parse().unwrap(), PointId(*point))).collect(),
    }
}

fn timed(mut map: TopicMap) -> TopicMap {
    map.records.time = Some(TimePath { path: "t".parse().unwrap(), in_payload: false, format: TimeFormat::EpochMillis });
    map
}

fn settings(port: u16) -> MqttSettings {
    MqttSettings {
        host: "127.0.0.1".into(),
        port,
        client_id: "parkgate-test".into(),
        username: None,
        password: None,
        keep_alive_s: 30,
        max_packet_bytes: 100_000,
    }
}

fn start(settings: MqttSettings, topics: Vec<TopicMap>) -> Running {
    let link = Arc::new(Link { id: "broker".into(), key: LinkKey::of("broker"), driver: DriverSettings::Mqtt(settings) });
    let device = Device {
        id: "meter".into(),
        name: Names { zh: "表".into(), en: "meter".into() },
        enterprise: None,
        link: Arc::clone(&link),
        profile: None,
        origin: Origin::Metered,
        address: DeviceAddress::Mqtt(MqttAddress { topics }),
        points: vec![],
    };
    let (outlet, messages) = mpsc::channel(4);
    let (health, cancel) = (HealthBoard::default(), CancellationToken::new());
    let devices = LinkDevices { link, devices: vec![Arc::new(device)] };
    let metrics = Metrics::new(&Registry::new());
    let task = tokio::spawn(run(devices, outlet, health.clone(), metrics, Arc::new(SystemClock::new()), cancel.clone()));
    Running { messages, health, cancel, task, links: vec![] }
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
    let mut held = Vec::new();
    let mut numbers = Vec::new();
    while numbers.len() < 4 {
        let batch = running.batch().await;
        numbers.extend(show(&batch));
        held.push(batch);
    }
    assert_eq!(numbers, ["1=0", "1=1", "1=2", "1=3"]);
    assert!(timeout(Duration::from_millis(300), running.messages.recv()).await.is_err(), "more came without an acknowledgement");
    for mut batch in held {
        assert_eq!(batch.deliveries.len(), batch.readings.len());
        batch.done.take().unwrap().send(Outcome::Durable).unwrap();
    }
    assert_eq!(running.durable(6).await, ["1=4", "1=5", "1=6", "1=7", "1=8", "1=9"]);
    running.stop().await;
}
