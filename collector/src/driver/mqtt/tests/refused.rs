//! A broker that does not grant every topic.

use std::io::Read as _;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// The next packet: its type and its body; `None` at the end.
pub(super) fn packet(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut byte = [0];
    stream.read_exact(&mut byte).ok()?;
    let kind = byte[0] >> 4;
    let (mut length, mut shift) = (0_usize, 0);
    loop {
        stream.read_exact(&mut byte).ok()?;
        length |= usize::from(byte[0] & 0x7f) << shift;
        shift += 7;
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((kind, body))
}

/// Filters of a SUBSCRIBE packet (MQTT 3.1.1, 3.8).
pub(super) fn filters(body: &[u8]) -> Vec<String> {
    let (mut rest, mut found) = (&body[2..], Vec::new());
    while rest.len() > 2 {
        let length = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
        found.push(String::from_utf8_lossy(&rest[2..2 + length]).into_owned());
        rest = &rest[length + 3..];
    }
    found
}

/// Grants a filter with `secret` in it only while `grants`.
fn serve(mut stream: TcpStream, grants: &AtomicBool) {
    while let Some((kind, body)) = packet(&mut stream) {
        let answer = match kind {
            1 => vec![0x20, 2, 0, 0],
            8 => {
                let may = |filter: &String| !filter.contains("secret") || grants.load(Ordering::SeqCst);
                let codes: Vec<u8> = filters(&body).iter().map(|filter| if may(filter) { 1 } else { 0x80 }).collect();
                let mut answer = vec![0x90, 2 + codes.len() as u8, body[0], body[1]];
                answer.extend(codes);
                answer
            }
            10 => vec![0xb0, 2, body[0], body[1]],
            12 => vec![0xd0, 0],
            _ => continue,
        };
        if stream.write_all(&answer).is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_refused_topic_shows_until_it_is_granted() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let grants = Arc::new(AtomicBool::new(false));
    let granted = Arc::clone(&grants);
    std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| serve(stream, &granted)));
    let mut running = start(settings(port), vec![topic("m", &[("a", 1)]), topic("secret/x", &[("a", 2)])]);
    running.link(true).await;
    let state = |running: &Running| {
        let link = running.health.links()["broker"].clone();
        (link.state, link.last_error.unwrap_or_default())
    };
    let (now, error) = state(&running);
    assert_eq!(now, State::Degraded, "{error}");
    assert!(error.contains("refuses 1 topics (secret/x)"), "{error}");
    // Refused again and again, it stays so.
    let failed = running.health.links()["broker"].failed;
    wait(|| running.health.links()["broker"].failed >= failed + 2).await;
    assert_eq!(state(&running).0, State::Degraded);
    grants.store(true, Ordering::SeqCst);
    wait(|| state(&running).0 == State::Up).await;
    running.stop().await;
}

async fn wait(is_so: impl Fn() -> bool) {
    timeout(PATIENCE, async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("in time");
}
