use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::super::fake::{NOW, Served, small_park, start};
use super::super::tests::send;
use super::*;
use crate::alarm::event::fingerprint;

/// An operator's alarm that is on.
fn event() -> Event {
    let labels: Texts = [("alertname".to_owned(), "SO2High".to_owned())].into();
    Event {
        epoch: String::new(),
        seq: 0,
        time: UtcMillis(NOW.0),
        kind: EventKind::Raised,
        track: Track::Operator,
        state: Standing::Firing,
        fingerprint: fingerprint(&labels),
        starts_at: UtcMillis(NOW.0),
        ends_at: None,
        late: false,
        suppressed: false,
        labels,
        annotations: Texts::new(),
    }
}

/// Opens the stream behind an event.
async fn stream_behind(served: &Served, id: &str) -> TcpStream {
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let head = format!("GET /api/v1/alarms/stream HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nLast-Event-ID: {id}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// Reads until the event `until` is told, or the stream ends; the ids that came.
async fn ids(stream: &mut TcpStream, until: &str) -> Vec<String> {
    let until = format!("id: {until}\n");
    let (mut all, mut buffer) = (String::new(), vec![0; 1 << 16]);
    let reading = async {
        loop {
            let length = stream.read(&mut buffer).await.unwrap();
            let seen = all.len().saturating_sub(until.len());
            all.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
            if length == 0 || all[seen..].contains(&until) {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), reading).await.unwrap_or_else(|_| panic!("neither {until} nor an end"));
    all.lines().filter_map(|line| line.strip_prefix("id: ")).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_skips_nothing_however_far_a_client_is_behind() {
    let served = start("127.0.0.1:0", small_park(), None, "boot-1").await;
    served.happen((0..REPLAYED_MAX + 5).map(|_| event()));
    let id = |seq: usize| format!("{}-{seq}", served.alarms.epoch());
    let all = |seqs: std::ops::RangeInclusive<usize>| seqs.map(id).collect::<Vec<_>>();
    let mut stream = stream_behind(&served, &id(0)).await;
    let mut told = ids(&mut stream, &id(REPLAYED_MAX)).await;
    // What happens now must not come before those that are not told yet.
    served.happen([event()]);
    told.extend(ids(&mut stream, &id(REPLAYED_MAX + 6)).await);
    assert_eq!(told, all(1..=REPLAYED_MAX));
    let mut stream = stream_behind(&served, told.last().unwrap()).await;
    assert_eq!(ids(&mut stream, &id(REPLAYED_MAX + 6)).await, all(REPLAYED_MAX + 1..=REPLAYED_MAX + 6));
    served.happen([event()]);
    assert_eq!(ids(&mut stream, &id(REPLAYED_MAX + 7)).await, all(REPLAYED_MAX + 7..=REPLAYED_MAX + 7));
}

#[tokio::test]
async fn another_episode_than_the_one_that_is_on_is_not_acknowledged() {
    let served = start("127.0.0.1:0", small_park(), None, "boot-1").await;
    served.happen([event()]);
    let body = format!(r#"{{"by":"wang","starts_at":"{}"}}"#, NOW.plus(-60_000));
    let head = format!("POST /api/v1/alarms/{}/ack HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", event().fingerprint);
    let request = format!("{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let answer = send(&served, &request).await;
    assert_eq!(answer.status, 422, "{}", answer.body);
    for words in [&NOW.plus(-60_000).to_string(), &NOW.to_string(), "give its `starts_at`"] {
        assert!(answer.body.contains(words), "no {words} in {}", answer.body);
    }
    assert_eq!(served.facts.entries(crate::store::EntryKind::AlarmAct, 0).unwrap(), []);
}
