//! `/api/v1/stream`: what changes, as server-sent events, at most once a second.
//!
//! One task forms each event once for all clients; who sees only a part gets of it what is left. A client first gets everything (`hello`, `health`, `latest`,
//! `stats`), then changes. One that does not keep up is cut off; its browser comes back and gets everything again. So
//! no client can hold more than [`EVENTS_BEHIND_MAX`] events, and none misses a change. A stream ends with its token, and when
//! another configuration is in force.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Extension;
use axum::http::{HeaderName, HeaderValue};
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use parkgate_collector::health::Health;
use parkgate_collector::model::{Sample, UtcMillis};
use prometheus::IntCounter;
use serde::Serialize;
use tokio::sync::broadcast;
use tokio::time::MissedTickBehavior;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::dto::{HealthDto, LatestDto};
use super::params::{Nothing, Params};
use super::{App, Problem, Server, Shared, Visible, points};
use crate::access::Grant;

/// Streams open at one time; further clients are refused with a problem.
const CLIENTS_MAX: usize = 64;
/// Events that a client may be behind, at most three a second; then its stream ends.
const EVENTS_BEHIND_MAX: usize = 32;
/// Between two rounds of events.
const ROUND_MS: u64 = 1_000;
/// Rounds between two full reports of health counters; changes of state go out at once.
const ROUNDS_PER_HEALTH: u64 = 10;
/// Rounds that the rate of samples is taken over.
const ROUNDS_PER_RATE: usize = 10;
/// How soon a browser should come back.
const RETRY_MS: u64 = 2_000;
/// Between two comments that keep idle proxies from closing.
const KEEP_ALIVE_SECONDS: u64 = 15;

/// First event, `hello`: who speaks. When `boot_id` or `catalogue_version` differ from before, start over.
#[derive(Debug, Serialize, ToSchema)]
pub struct HelloDto {
    boot_id: String,
    catalogue_version: String,
    version: &'static str,
    /// A `stats` event comes at least this often; when none came for several times as long, values are stale.
    round_ms: u64,
    /// Gateway's clock in milliseconds since 1970.
    time_ms: i64,
}

/// Event `latest`: points whose last value changed.
#[derive(Debug, Serialize, ToSchema)]
pub struct LatestEventDto {
    /// Gateway's clock in milliseconds since 1970.
    time_ms: i64,
    /// The points.
    points: Vec<LatestDto>,
}

/// Event `health`: devices and links, those that changed or all of them.
#[derive(Debug, Serialize, ToSchema)]
pub struct HealthEventDto {
    /// By device id.
    devices: BTreeMap<String, HealthDto>,
    /// By link id.
    links: BTreeMap<String, HealthDto>,
}

/// Event `stats`, every second.
#[derive(Debug, Serialize, ToSchema)]
pub struct StatsDto {
    /// Gateway's clock in milliseconds since 1970.
    time_ms: i64,
    /// Samples taken over per second, over the last ten seconds; `null` before two rounds are known, and for who does not see
    /// the whole park.
    samples_per_s: Option<f64>,
    /// Samples taken over since start; `null` for who does not see the whole park.
    samples_total: Option<u64>,
    /// Whether all parts of the gateway are up.
    ready: bool,
    /// What is not, in words; only for who sees the whole park.
    problems: Vec<String>,
}

/// An event by name, with its JSON.
type Told = (&'static str, Arc<str>);

/// An event as all clients have it: made for who sees everything, and in parts for the others.
#[derive(Clone)]
struct Message {
    whole: Told,
    content: Content,
}

#[derive(Clone)]
enum Content {
    /// The same for everybody.
    Same,
    Latest(Arc<LatestEventDto>),
    Health(Arc<HealthEventDto>),
    Stats(Arc<StatsDto>),
}

impl Message {
    /// What of it someone is told; `None` when nothing is left.
    fn told(&self, shared: &Shared, visible: Visible<'_>) -> Option<Told> {
        if visible.sees_everything() {
            return Some(self.whole.clone());
        }
        let name = self.whole.0;
        match &self.content {
            Content::Same => Some(self.whole.clone()),
            Content::Latest(event) => {
                let is_seen = |row: &&LatestDto| shared.catalogue.point_by_stable_id(&row.point).is_some_and(|point| visible.sees(point));
                let points: Vec<LatestDto> = event.points.iter().filter(is_seen).cloned().collect();
                (!points.is_empty()).then(|| (name, text(&LatestEventDto { time_ms: event.time_ms, points })))
            }
            Content::Health(event) => {
                let event = event.seen(visible);
                (!event.devices.is_empty() || !event.links.is_empty()).then(|| (name, text(&event)))
            }
            Content::Stats(event) => Some((name, text(&event.seen()))),
        }
    }
}

impl HealthEventDto {
    /// What of it someone sees: devices with visible points, and their links.
    fn seen(&self, visible: Visible<'_>) -> Self {
        let mut seen = Self { devices: BTreeMap::new(), links: BTreeMap::new() };
        for device in visible.devices() {
            if let Some(health) = self.devices.get(&device.id) {
                seen.devices.insert(device.id.clone(), health.clone().told(visible.sees_all_of(device)));
            }
            if let Some(health) = self.links.get(&device.link.id) {
                seen.links.insert(device.link.id.clone(), health.clone().told(visible.sees_everything()));
            }
        }
        seen
    }
}

impl StatsDto {
    /// What of it someone is told who does not see everything: what is wrong may name what is hidden, and samples are
    /// counted over all points.
    fn seen(&self) -> Self {
        Self { time_ms: self.time_ms, samples_per_s: None, samples_total: None, ready: self.ready, problems: Vec::new() }
    }
}

/// Where rounds are sent to; empty once stopped.
pub struct Live(Mutex<Option<broadcast::Sender<Message>>>);

impl Live {
    pub fn new() -> Self {
        Self(Mutex::new(Some(broadcast::channel(EVENTS_BEHIND_MAX).0)))
    }

    fn sender(&self) -> Option<broadcast::Sender<Message>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether streams may go on.
    pub fn is_open(&self) -> bool {
        self.sender().is_some()
    }

    /// Ends all streams and lets no new one start.
    fn stop(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Server-sent events: `hello` once, then `health`, `latest`, `stats` with everything, then the same with what changed,
/// at most once a second. A stream that ends is opened again by the client, and starts with everything.
#[utoipa::path(get, operation_id = "get_stream", path = "/api/v1/stream", tag = "samples",
    responses((status = 200, content_type = "text/event-stream", description = "`event:` hello, health, latest, stats; `data:` JSON",
            body = LatestEventDto),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
pub async fn get(App(shared): App, Extension(grant): Extension<Grant>, _: Params<Nothing>) -> Result<impl IntoResponse, Problem> {
    let sender = shared.live.sender().filter(|sender| sender.receiver_count() < CLIENTS_MAX);
    let Some(sender) = sender else { return Err(Problem::too_many_streams(CLIENTS_MAX)) };
    // Before the snapshot is taken: what changes meanwhile comes twice rather than never.
    let changes = BroadcastStream::new(sender.subscribe());
    drop(sender);
    let messages = told(snapshot(&shared), changes, shared.metrics.stream_lagged.clone());
    // A message comes every second: so soon after its token the stream ends, and soon after the configuration changed.
    let messages = messages.take_while({
        let (shared, grant) = (Arc::clone(&shared), grant.clone());
        move |_| !shared.retired.is_cancelled() && shared.tokens.is_in_force(&grant, shared.clock.now().utc)
    });
    let events = messages.filter_map(move |message| message.told(&shared, Visible::new(&shared.catalogue, &grant.identity)));
    let events = events.map(|(name, data)| {
        let event = Event::default().event(name).data(&*data);
        Ok::<_, Infallible>(if name == "hello" { event.retry(Duration::from_millis(RETRY_MS)) } else { event })
    });
    let keep_alive = KeepAlive::new().interval(Duration::from_secs(KEEP_ALIVE_SECONDS)).text("still here");
    // Tells nginx not to hold events back.
    let unbuffered = [(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"))];
    Ok((unbuffered, Sse::new(events).keep_alive(keep_alive)))
}

/// What a client is told: everything, then changes until it is too far behind.
fn told(snapshot: Vec<Message>, changes: BroadcastStream<Message>, lagged: IntCounter) -> impl Stream<Item = Message> {
    tokio_stream::iter(snapshot).chain(changes.map_while(move |change| change.inspect_err(|_| lagged.inc()).ok()))
}

/// Sends a round of events every [`ROUND_MS`] until `cancel`, then ends all streams.
pub async fn run(server: Server, cancel: CancellationToken) {
    let mut rounds = Rounds::default();
    let mut ticks = tokio::time::interval(Duration::from_millis(ROUND_MS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    // Both are cancel-safe.
    while tokio::select! { _ = ticks.tick() => true, () = cancel.cancelled() => false } {
        let shared = server.0.get();
        let Some(sender) = shared.live.sender() else { break };
        shared.metrics.stream_clients.set(i64::try_from(sender.receiver_count()).unwrap_or(i64::MAX));
        for message in rounds.next(&shared, &sender) {
            // Fails only when nobody listens.
            let _ = sender.send(message);
        }
    }
    server.0.get().live.stop();
}

/// What was told already.
#[derive(Default)]
struct Rounds {
    number: u64,
    record_version: u64,
    devices: BTreeMap<String, Health>,
    links: BTreeMap<String, Health>,
    applied: VecDeque<(u64, u64)>,
}

impl Rounds {
    /// The events of one round; none when nobody listens: who comes later starts with everything.
    fn next(&mut self, shared: &Shared, sender: &broadcast::Sender<Message>) -> Vec<Message> {
        let now = shared.clock.now();
        self.number = self.number.wrapping_add(1);
        self.applied.push_back((now.monotonic_ms, shared.record.samples_applied()));
        if self.applied.len() > ROUNDS_PER_RATE.saturating_add(1) {
            self.applied.pop_front();
        }
        let all = self.number.is_multiple_of(ROUNDS_PER_HEALTH);
        let devices = changed(&mut self.devices, shared.health.devices(), all);
        let links = changed(&mut self.links, shared.health.links(), all);
        let (version, samples) = shared.record.latest_since(self.record_version);
        self.record_version = version;
        // Asked only now: who begins to listen after this takes a snapshot that has all of the above.
        if sender.receiver_count() == 0 {
            return Vec::new();
        }
        let mut messages = Vec::new();
        if !devices.is_empty() || !links.is_empty() {
            messages.push(message("health", HealthEventDto { devices, links }, Content::Health));
        }
        if !samples.is_empty() {
            messages.push(latest(shared, &samples, now.utc));
        }
        messages.push(stats(shared, self.rate(), now.utc));
        messages
    }

    /// Samples per second over the rounds remembered; `None` before two are.
    fn rate(&self) -> Option<f64> {
        let (&(start_ms, before), &(end_ms, after)) = (self.applied.front()?, self.applied.back()?);
        let seconds = end_ms.saturating_sub(start_ms) as f64 / 1000.0;
        (seconds > 0.0).then(|| after.saturating_sub(before) as f64 / seconds)
    }
}

/// Everything, for a client that knows nothing.
fn snapshot(shared: &Shared) -> Vec<Message> {
    let now = shared.clock.now().utc;
    let hello = HelloDto {
        boot_id: shared.boot_id.clone(),
        catalogue_version: format!("{:08x}", shared.catalogue.version),
        version: shared.build.version,
        round_ms: ROUND_MS,
        time_ms: now.0,
    };
    let all = |board: BTreeMap<String, Health>| board.into_iter().map(|(id, health)| (id, HealthDto::new(Some(&health)))).collect();
    let health = HealthEventDto { devices: all(shared.health.devices()), links: all(shared.health.links()) };
    let (_, samples) = shared.record.latest_since(0);
    vec![
        message("hello", hello, |_| Content::Same),
        message("health", health, Content::Health),
        latest(shared, &samples, now),
        stats(shared, None, now),
    ]
}

fn latest(shared: &Shared, samples: &[Sample], now: UtcMillis) -> Message {
    let points = samples.iter().filter_map(|sample| Some((shared.catalogue.point(sample.point)?, sample)));
    let points = points.filter(|(point, _)| points::is_of(point, None, None));
    let points = points.map(|(point, sample)| LatestDto::new(point, Some(sample), now)).collect();
    message("latest", LatestEventDto { time_ms: now.0, points }, Content::Latest)
}

fn stats(shared: &Shared, samples_per_s: Option<f64>, now: UtcMillis) -> Message {
    let failed = |(name, outcome): (&str, Result<(), String>)| outcome.err().map(|what| format!("{name}: {what}"));
    let problems = shared.readiness.checks().into_iter().filter_map(failed).collect();
    let samples_total = Some(shared.record.samples_applied());
    let stats = StatsDto { time_ms: now.0, samples_per_s, samples_total, ready: shared.readiness.ready(), problems };
    message("stats", stats, Content::Stats)
}

/// Of `now`, what differs from `told` in a way worth telling at once; with `all`, everything.
fn changed(told: &mut BTreeMap<String, Health>, now: BTreeMap<String, Health>, all: bool) -> BTreeMap<String, HealthDto> {
    let essence = |health: &Health| (health.state, health.since, health.last_error_time, health.last_error.clone(), health.doubt.clone());
    let news = now
        .iter()
        .filter(|(id, health)| all || told.get(*id).is_none_or(|before| essence(before) != essence(health)))
        .map(|(id, health)| (id.clone(), HealthDto::new(Some(health))))
        .collect();
    *told = now;
    news
}

fn message<T: Serialize>(name: &'static str, data: T, content: impl Fn(Arc<T>) -> Content) -> Message {
    Message { whole: (name, text(&data)), content: content(Arc::new(data)) }
}

fn text(data: &impl Serialize) -> Arc<str> {
    serde_json::to_string(data).expect("plain types with text keys").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_that_does_not_keep_up_is_cut_off() {
        for (sent, expected, cut) in [(EVENTS_BEHIND_MAX, EVENTS_BEHIND_MAX + 1, 0), (EVENTS_BEHIND_MAX + 1, 1, 1)] {
            let live = Live::new();
            let sender = live.sender().unwrap();
            let lagged = IntCounter::new("lagged", "lagged").unwrap();
            let empty = |name| message(name, (), |_| Content::Same);
            let told = told(vec![empty("hello")], BroadcastStream::new(sender.subscribe()), lagged.clone());
            for _ in 0..sent {
                sender.send(empty("stats")).unwrap_or_else(|_| panic!("nobody listens"));
            }
            drop(sender);
            live.stop();
            assert_eq!((told.fold(0, |count, _| count + 1).await, lagged.get()), (expected, cut), "{sent} sent");
        }
    }

    #[test]
    fn only_news_is_told() {
        let mut told = BTreeMap::new();
        let mut board = BTreeMap::from([("a".to_owned(), Health::default()), ("b".to_owned(), Health::default())]);
        assert_eq!(changed(&mut told, board.clone(), false).len(), 2);
        board.get_mut("a").unwrap().received += 1;
        assert_eq!(changed(&mut told, board.clone(), false).len(), 0);
        board.get_mut("b").unwrap().error(UtcMillis(1), parkgate_collector::health::State::Down, "gone");
        assert_eq!(changed(&mut told, board.clone(), false).keys().collect::<Vec<_>>(), ["b"]);
        assert_eq!(changed(&mut told, board, true).len(), 2);
    }
}
