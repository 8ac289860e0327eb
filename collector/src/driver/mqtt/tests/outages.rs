//! Connections that are slow, dead or made by all at once.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::versions::both;
use super::*;

/// Forwards connections to a port, in small pieces with pauses; when `is_dead`, what arrives is swallowed for good.
struct Proxy {
    port: u16,
    is_dead: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Proxy {
    async fn start(to: u16, piece: usize, pause: Duration) -> Self {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let is_dead = Arc::new(AtomicBool::new(false));
        let dead = Arc::clone(&is_dead);
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await else { continue };
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                tokio::spawn(forward(near_in, far_out, piece, pause, Arc::clone(&dead)));
                tokio::spawn(forward(far_in, near_out, piece, pause, Arc::clone(&dead)));
            }
        });
        Self { port, is_dead, task }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    piece: usize,
    pause: Duration,
    is_dead: Arc<AtomicBool>,
) {
    let mut buffer = vec![0; piece];
    // A connection that was dead once stays so: neither side hears of it.
    let mut was_dead = false;
    while let Ok(count) = from.read(&mut buffer).await {
        was_dead |= is_dead.load(Ordering::Relaxed);
        if count == 0 || (!was_dead && to.write_all(&buffer[..count]).await.is_err()) {
            break;
        }
        tokio::time::sleep(pause).await;
    }
    if was_dead {
        std::future::pending::<()>().await;
    }
}

#[tokio::test]
async fn bytes_that_come_a_few_at_a_time_make_whole_messages() {
    const COUNT: usize = 60;
    let broker = Broker::start("");
    let proxy = Proxy::start(broker.port, 7, Duration::from_millis(1)).await;
    for settings in both(proxy.port) {
        let mut running = start(settings, vec![topic("m", &[("v", 1)])]);
        running.link(true).await;
        publish_numbers(broker.port, "m", "", COUNT).await;
        assert_eq!(running.durable(COUNT).await, (0..COUNT).map(|number| format!("1={number}")).collect::<Vec<_>>());
        assert!(running.links.is_empty(), "one connection served: {:?}", running.links);
        running.stop().await;
    }
}

#[tokio::test]
async fn a_connection_that_is_dead_and_open_is_noticed_and_made_again() {
    let broker = Broker::start("");
    let proxy = Proxy::start(broker.port, 4096, Duration::ZERO).await;
    for settings in both(proxy.port) {
        let mut running = start(MqttSettings { keep_alive_s: 1, ..settings }, vec![topic("m", &[("v", 1)])]);
        running.link(true).await;
        broker.publish(&[("m", 1, r#"{"v":1}"#)]).await;
        assert_eq!(running.durable(1).await, ["1=1"]);
        proxy.is_dead.store(true, Ordering::Relaxed);
        broker.publish(&[("m", 1, r#"{"v":2}"#)]).await;
        // On a busy machine more than one connection may be lost on the way, and the first reading come again.
        let mut was_noticed = false;
        loop {
            match timeout(PATIENCE, running.messages.recv()).await.expect("a message in time").expect("the driver runs") {
                Message::Link(change) if change.up => assert_eq!(change.why, "connected, session kept"),
                Message::Link(_) => {
                    was_noticed = true;
                    proxy.is_dead.store(false, Ordering::Relaxed);
                }
                Message::NewSession(_) => panic!("the broker kept the session"),
                Message::Catalogue(..) => panic!("drivers have no catalogue"),
                Message::Batch(mut batch) => {
                    batch.done.take().unwrap().send(Outcome::Durable).unwrap();
                    let numbers = show(&batch);
                    if numbers.last().map(String::as_str) == Some("1=2") {
                        break;
                    }
                    assert_eq!(numbers, ["1=1"]);
                }
            }
        }
        assert!(was_noticed, "published while the connection was dead");
        running.stop().await;
    }
}

/// One client serves 10,000 devices; the broker restarts, and all of them come back at once through many connections. What
/// the broker acknowledged to them is here once it is over, within the window at any time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_devices_reconnect_at_once() {
    const DEVICES: usize = 10_000;
    const CONNECTIONS: usize = 50;
    const WINDOW: u16 = 500;
    /// Generous: the machine may be busy with other tests.
    const LIMIT: Duration = Duration::from_secs(120);
    for settings in both(0) {
        let mut broker = Broker::start("persistence true\npersistence_location DIRECTORY/\nmax_inflight_messages 0");
        let settings = MqttSettings {
            port: broker.port,
            max_in_flight: WINDOW,
            // One subscription covers the topics of all.
            discover: vec!["park/{device}/t".into()],
            ..settings
        };
        let topics = (0..DEVICES).map(|device| topic(&format!("park/{device}/t"), &[("v", u32::try_from(device).unwrap())]));
        let mut running = start(settings, topics.collect());
        running.link(true).await;
        broker.ask_to_end();
        running.link(false).await;
        broker.up();
        let port = broker.port;
        let publishers: Vec<_> = (0..CONNECTIONS)
            .map(|connection| {
                tokio::spawn(async move {
                    let options = MqttOptions::new(format!("devices-{connection}"), ("127.0.0.1".to_owned(), port));
                    let (client, mut event_loop) = AsyncClient::builder(options).capacity(100).build();
                    let poller = tokio::spawn(async move { while event_loop.poll().await.is_ok() {} });
                    let mut sent = Vec::new();
                    for device in (connection..DEVICES).step_by(CONNECTIONS) {
                        let (topic, payload) = (format!("park/{device}/t"), format!("{{\"v\":{device}}}"));
                        sent.push(client.publish_tracked(topic, payload, PublishOptions::at_least_once()).await.unwrap());
                    }
                    for sent in sent {
                        sent.wait_async().await.unwrap();
                    }
                    poller.abort();
                })
            })
            .collect();
        let mut seen = vec![0u32; DEVICES];
        let take_all = async {
            let mut open: usize = 0;
            while seen.contains(&0) {
                let mut batch = running.batch().await;
                open = open.max(batch.readings.len());
                for reading in &batch.readings {
                    seen[reading.point.index()] += 1;
                }
                batch.done.take().unwrap().send(Outcome::Durable).unwrap();
            }
            open
        };
        let largest = timeout(LIMIT, take_all).await.expect("all devices are heard in time");
        assert!(largest <= usize::from(WINDOW), "a batch of {largest}");
        for publisher in publishers {
            timeout(LIMIT, publisher).await.expect("published in time").unwrap();
        }
        assert!(seen.iter().all(|count| *count == 1), "each once: nothing was in flight when the broker ended");
        assert_eq!(running.health.unknowns().list.len(), 0);
        running.stop().await;
    }
}
