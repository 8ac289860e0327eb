//! A broker that sends more than it may, while nothing becomes durable: the rest stays in the socket.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::refused::{filters, packet};
use super::*;

/// As many as have packet ids of their own.
const MESSAGES: u16 = 60_000;
/// Each has more than so many bytes: 60 MB together.
const PAYLOAD_BYTES: usize = 1_000;
/// What the sockets of both ends and the driver may hold; Linux lets a pair of sockets grow to about 10 MB.
const HELD_BYTES_MAX: usize = 24 << 20;
const IN_FLIGHT_MAX: u16 = 2_000;
/// A socket that takes nothing for so long is full.
const FULL_AFTER: Duration = Duration::from_secs(2);

/// How far the flood has come.
#[derive(Default)]
struct Flood {
    sent_bytes: AtomicUsize,
    acknowledged: AtomicUsize,
    /// The socket takes no more.
    is_held: AtomicBool,
}

/// PUBLISH of QoS 1 (MQTT 3.1.1, 3.3) to topic `m`.
fn publish(number: u16) -> Vec<u8> {
    let payload = format!("{{\"v\":{number},\"pad\":\"{}\"}}", "x".repeat(PAYLOAD_BYTES));
    let length = 2 + 1 + 2 + payload.len();
    let mut bytes = vec![0x32, (length % 128) as u8 | 0x80, (length / 128) as u8, 0, 1, b'm'];
    bytes.extend((number + 1).to_be_bytes());
    bytes.extend(payload.into_bytes());
    bytes
}

/// Sends all as fast as the socket takes them, whatever was acknowledged.
fn pour(mut stream: TcpStream, flood: &Flood) {
    stream.set_write_timeout(Some(FULL_AFTER)).unwrap();
    for number in 0..MESSAGES {
        let bytes = publish(number);
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            match stream.write(rest) {
                Ok(count) => {
                    flood.sent_bytes.fetch_add(count, Ordering::SeqCst);
                    rest = &rest[count..];
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    flood.is_held.store(true, Ordering::SeqCst);
                }
                Err(_) => return,
            }
        }
    }
}

/// One connection: CONNACK, SUBACK, then the flood.
fn serve(mut stream: TcpStream, flood: &Arc<Flood>) {
    while let Some((kind, body)) = packet(&mut stream) {
        match kind {
            1 => stream.write_all(&[0x20, 2, 0, 0]).unwrap(),
            8 => {
                let count = filters(&body).len();
                let mut answer = vec![0x90, 2 + count as u8, body[0], body[1]];
                answer.resize(4 + count, 1);
                stream.write_all(&answer).unwrap();
                let (stream, flood) = (stream.try_clone().unwrap(), Arc::clone(flood));
                std::thread::spawn(move || pour(stream, &flood));
            }
            4 => {
                flood.acknowledged.fetch_add(1, Ordering::SeqCst);
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_flood_stays_with_the_broker_while_nothing_becomes_durable() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let flood = Arc::new(Flood::default());
    let poured = Arc::clone(&flood);
    std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| serve(stream, &poured)));
    let settings = MqttSettings { max_in_flight: IN_FLIGHT_MAX, keep_alive_s: 600, ..settings(port) };
    let mut running = start(settings, vec![topic("m", &[("v", 1)])]);
    // Batches are taken, and none is answered.
    let mut held: Vec<Batch> = Vec::new();
    while !flood.is_held.load(Ordering::SeqCst) {
        match timeout(Duration::from_millis(100), running.messages.recv()).await {
            Ok(Some(Message::Batch(batch))) => held.push(batch),
            Ok(Some(_)) | Err(_) => {}
            Ok(None) => panic!("the driver ended"),
        }
        let sent = flood.sent_bytes.load(Ordering::SeqCst);
        assert!(sent <= HELD_BYTES_MAX, "{sent} bytes were taken of a flood of which nothing is durable");
    }
    let count: usize = held.iter().map(|batch| batch.readings.len()).sum();
    assert!(count <= IN_FLIGHT_MAX.into(), "{count} messages in flight");
    assert_eq!(flood.acknowledged.load(Ordering::SeqCst), 0);
    // Now they become durable, and all the others behind them.
    for mut batch in held {
        batch.done.take().unwrap().send(Outcome::Durable).unwrap();
    }
    let numbers = running.durable(usize::from(MESSAGES) - count).await;
    let expected: Vec<String> = (count..MESSAGES.into()).map(|number| format!("1={number}")).collect();
    assert!(numbers == expected, "each once, in order");
    running.stop().await;
}
