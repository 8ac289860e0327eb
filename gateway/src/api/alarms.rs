//! `/api/v1/alarms`: what is on, what was told, and what operators do about it.
//!
//! Alarms are shown to who sees their point or device, compliance events as the facts behind them. Events and their stream
//! are for who sees the whole park: their numbers count what is hidden.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::IntoResponse;
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use axum::{Extension, Json};
use parkgate_collector::catalogue::Catalogue;
use parkgate_collector::clock::Clock;
use parkgate_rules::alarm::UtcMillis;
use serde::{Deserialize, Serialize};
use tokio_stream::wrappers::{BroadcastStream, IntervalStream};
use tokio_stream::{Stream, StreamExt as _};
use utoipa::{IntoParams, ToSchema};

use super::enter::{self, Body};
use super::error::Problem;
use super::params::{self, Nothing, Params};
use super::{App, Asker, Shared, Visible, stream};
use crate::access::{Grant, Identity, Role, Tokens};
use crate::alarm::act::{ActError, Doing, Done};
use crate::alarm::event::{Hello, Replay, Texts};
use crate::alarm::view::EnterError;
use crate::alarm::{Event, EventKind, Standing, Track, compliance};

/// Who may act.
const ROLES: &[Role] = &[Role::Operator, Role::Admin];
/// Events of one page, unless asked for and at most.
const EVENTS: (usize, usize) = (1_000, 10_000);
/// Streams open at one time.
const CLIENTS_MAX: usize = 64;
/// Most events that a stream tells of before it began; for who is further behind it ends there.
const REPLAYED_MAX: usize = 10_000;
/// How soon a stream ends after its token.
const LOOK: Duration = Duration::from_secs(1);
/// Between two comments that keep idle proxies from closing.
const KEEP_ALIVE_SECONDS: u64 = 15;
/// Longest wait for what was entered to count.
const TAKEN_IN: Duration = Duration::from_secs(5);

/// An alarm as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AlarmDto {
    /// By which it is acted on.
    pub fingerprint: String,
    /// `firing`; `resolved` when it is shelved, or is a compliance event whose period is over.
    pub state: Standing,
    /// What happened last.
    pub last: EventKind,
    /// Since when.
    #[schema(format = DateTime)]
    pub starts_at: String,
    /// When it ended.
    #[schema(format = DateTime)]
    pub ends_at: Option<String>,
    /// What identifies it.
    #[schema(value_type = Object)]
    pub labels: Texts,
    /// What may change.
    #[schema(value_type = Object)]
    pub annotations: Texts,
}

impl AlarmDto {
    fn new(event: &Event) -> Self {
        Self {
            fingerprint: event.fingerprint.clone(),
            state: event.state,
            last: event.kind,
            starts_at: event.starts_at.to_string(),
            ends_at: event.ends_at.map(|time| time.to_string()),
            labels: event.labels.clone(),
            annotations: event.annotations.clone(),
        }
    }
}

/// All that is on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AlarmsDto {
    /// The outbox; only for who sees the whole park.
    pub epoch: Option<String>,
    /// The newest event; likewise.
    pub last_seq: Option<u64>,
    /// Alarms of operators, shelved ones included, the most urgent first.
    pub operator: Vec<AlarmDto>,
    /// Compliance events of late, the newest first. They are not acknowledged.
    pub compliance: Vec<AlarmDto>,
}

/// Alarms that are on, and compliance events of late.
#[utoipa::path(get, operation_id = "get_alarms", path = "/api/v1/alarms", tag = "alarms", responses((status = 200, body = AlarmsDto)))]
pub async fn list(App(shared): App, Asker(asker): Asker, _: Params<Nothing>) -> Json<AlarmsDto> {
    let now = shared.alarms.now();
    let shown =
        |events: &[Event]| events.iter().filter_map(|event| seen(&shared, &asker, event)).map(|event| AlarmDto::new(&event)).collect();
    let mut operator: Vec<AlarmDto> = shown(&now.operator);
    operator.sort_by_key(|alarm| (urgency(&alarm.labels), alarm.starts_at.clone()));
    let all = asker.scope.is_everything();
    let last_seq = all.then(|| shared.alarms.last_seq());
    Json(AlarmsDto { epoch: all.then_some(now.epoch), last_seq, operator, compliance: shown(&now.compliance) })
}

fn urgency(labels: &Texts) -> usize {
    use parkgate_rules::alarm::Priority;
    let priority = labels.get("priority").map_or("", String::as_str);
    Priority::ALL.iter().position(|one| one.name() == priority).unwrap_or(Priority::ALL.len())
}

/// An event as somebody may see it, who sees the point or device that it is about, or what a compliance event rests on;
/// `None` when they may not.
pub fn seen(shared: &Shared, asker: &Identity, event: &Event) -> Option<Event> {
    match event.track {
        Track::Compliance => compliance::seen(event, shared.emissions.plan(), asker),
        Track::Operator => sees(&shared.catalogue, asker, event).then(|| event.clone()),
    }
}

/// Whether somebody sees the point or the device that an operator's alarm is about.
fn sees(catalogue: &Catalogue, asker: &Identity, event: &Event) -> bool {
    if asker.scope.is_everything() {
        return true;
    }
    let label = |name: &str| event.labels.get(name).map(String::as_str);
    let visible = Visible::new(catalogue, asker);
    match (label("point"), label("device")) {
        (Some(point), _) => catalogue.point_by_stable_id(point).is_some_and(|point| visible.sees(point)),
        // It tells of all points of the device.
        (None, Some(device)) => catalogue.device(device).is_some_and(|device| visible.sees_device(device) && visible.sees_all_of(device)),
        (None, None) => true,
    }
}

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Epoch of `after_seq`. When it is another one by now, events begin with the oldest, and `restarted` says so.
    epoch: Option<String>,
    /// Events behind this one; 0 for all.
    after_seq: Option<u64>,
    /// Most events, 1000 unless given, at most 10000.
    limit: Option<usize>,
}

/// Events of alarms in order, to be replayed. For who sees the whole park.
#[utoipa::path(get, operation_id = "get_alarms_events", path = "/api/v1/alarms/events", tag = "alarms", params(EventsQuery),
    responses((status = 200, body = Replay), (status = 403, body = Problem, content_type = "application/problem+json")))]
pub async fn events(App(shared): App, Asker(asker): Asker, Params(query): Params<EventsQuery>) -> Result<Json<Replay>, Problem> {
    whole_park(&asker)?;
    let limit = params::limit(query.limit, EVENTS.0, EVENTS.1)?;
    replayed(&shared, query.epoch, query.after_seq.unwrap_or(0), limit).await.map(Json)
}

fn whole_park(asker: &Identity) -> Result<(), Problem> {
    if asker.scope.is_everything() { Ok(()) } else { Err(Problem::forbidden(asker.role.name(), "a token whose scope is the whole park")) }
}

async fn replayed(shared: &Arc<Shared>, epoch: Option<String>, after_seq: u64, limit: usize) -> Result<Replay, Problem> {
    let alarms = shared.alarms.clone();
    let read = tokio::task::spawn_blocking(move || alarms.replay(epoch.as_deref(), after_seq, limit)).await;
    Ok(read.map_err(|_| Problem::internal())??)
}

/// Events as they happen, as server-sent events: `hello` with epoch and newest number, then `alarm` with an event each, `id:`
/// its `EPOCH-SEQ`. With `Last-Event-ID` it goes on behind that one; after 10000 events from before it ends when there are more,
/// and the client that comes again with the last `id` gets those. For who sees the whole park.
#[utoipa::path(get, operation_id = "get_alarms_stream", path = "/api/v1/alarms/stream", tag = "alarms",
    responses((status = 200, content_type = "text/event-stream", body = Hello, description = "`event:` hello, alarm; `data:` JSON"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
pub async fn stream(
    App(shared): App,
    Asker(asker): Asker,
    Extension(grant): Extension<Grant>,
    headers: HeaderMap,
    _: Params<Nothing>,
) -> Result<impl IntoResponse, Problem> {
    whole_park(&asker)?;
    // Before anything is read: what comes meanwhile comes twice rather than never, and is told once by its number.
    let receiver = shared.alarms.subscribe();
    if !shared.live.is_open() || shared.alarms.listeners() > CLIENTS_MAX {
        return Err(Problem::too_many_streams(CLIENTS_MAX));
    }
    let last_id = headers.get("last-event-id").and_then(|value| value.to_str().ok()).and_then(|id| id.rsplit_once('-'));
    let last = last_id.and_then(|(epoch, seq)| Some((epoch.to_owned(), seq.parse::<u64>().ok()?)));
    let (past, told) = match last {
        None => (Vec::new(), Some(shared.alarms.last_seq())),
        Some((epoch, seq)) => {
            let replay = replayed(&shared, Some(epoch), seq, REPLAYED_MAX).await?;
            let is_all = replay.next_after_seq >= replay.last_seq;
            (replay.items, is_all.then_some(replay.next_after_seq))
        }
    };
    let hello = Hello { epoch: shared.alarms.epoch(), last_seq: shared.alarms.last_seq() };
    let first = tokio_stream::iter([Some(Message::default().event("hello").data(text(&hello)))]);
    let past = tokio_stream::iter(past).map(|event| Some(message(&event)));
    // Not the whole of it: what is configured may change while the stream goes on.
    let held = (Arc::clone(&shared.live), Arc::clone(&shared.tokens), Arc::clone(&shared.clock));
    drop(shared);
    let messages = first.chain(past).chain(live(held, grant, receiver, told));
    let messages = messages.filter_map(|message| message.map(Ok::<_, Infallible>));
    let keep_alive = KeepAlive::new().interval(Duration::from_secs(KEEP_ALIVE_SECONDS)).text("still here");
    // Tells nginx not to hold events back.
    let unbuffered = [(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"))];
    Ok((unbuffered, Sse::new(messages).keep_alive(keep_alive)))
}

/// What happens behind `told`, until the client falls behind, its token ends or the gateway stops. Nothing without it: what
/// happens would come before what is not told yet.
fn live(
    (open, tokens, clock): (Arc<stream::Live>, Arc<Tokens>, Arc<dyn Clock>),
    grant: Grant,
    receiver: tokio::sync::broadcast::Receiver<Arc<Event>>,
    told: Option<u64>,
) -> impl Stream<Item = Option<Message>> {
    let events = BroadcastStream::new(receiver).map(|event| event.map(Some));
    let looks = IntervalStream::new(tokio::time::interval(LOOK)).map(|_| Ok(None));
    let both = events
        .merge(looks)
        .take_while(move |item| item.is_ok() && open.is_open() && tokens.is_in_force(&grant, clock.now().utc))
        .take_while(move |_| told.is_some());
    both.map(move |item| item.ok().flatten().filter(|event| told.is_some_and(|told| event.seq > told)).map(|event| message(&event)))
}

fn message(event: &Event) -> Message {
    Message::default().event("alarm").id(event.key()).data(text(event))
}

fn text(data: &impl Serialize) -> String {
    serde_json::to_string(data).unwrap_or_default()
}

/// What an operator does.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ActBody {
    /// Who does it. The token's name unless given; needed where no token is asked for.
    #[serde(default)]
    by: Option<String>,
    /// A note; `note` needs one.
    #[serde(default)]
    note: Option<String>,
    /// `shelve`: for so many seconds.
    #[serde(default)]
    for_s: Option<u32>,
    /// `shelve`: until then, instead.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    until: Option<UtcMillis>,
    /// `ack`: only this episode, by the time it began.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    starts_at: Option<UtcMillis>,
}

/// Acknowledges, shelves, takes from the shelf, or writes a note, by name. For operators and admins. A compliance event is a
/// fact: it takes notes only.
#[utoipa::path(post, operation_id = "post_alarms_fingerprint_act", path = "/api/v1/alarms/{fingerprint}/{act}", tag = "alarms",
    params(("fingerprint" = String, Path, description = "Fingerprint of the alarm"), ("act" = String, Path, description = "ack, shelve, unshelve or note")),
    request_body = ActBody,
    responses((status = 200, body = AlarmDto), (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json")))]
pub async fn act(
    App(shared): App,
    Asker(asker): Asker,
    Path((fingerprint, act)): Path<(String, String)>,
    Body(body): Body<ActBody>,
) -> Result<Json<AlarmDto>, Problem> {
    let author = enter::author(&asker, ROLES)?.to_owned();
    let doing = match act.as_str() {
        "ack" => Doing::Acknowledge,
        "shelve" => Doing::Shelve,
        "unshelve" => Doing::Unshelve,
        "note" => Doing::Note,
        other => return Err(Problem::no_route(&format!("/api/v1/alarms/{fingerprint}/{other}"))),
    };
    let unknown = || Problem::not_found("alarm", &fingerprint, None);
    let find = || shared.alarms.find(&fingerprint).and_then(|event| seen(&shared, &asker, &event));
    let found = find().ok_or_else(unknown)?;
    let now = shared.clock.now().utc;
    let until = body.until.or(body.for_s.map(|seconds| UtcMillis(now.0).plus(i64::from(seconds).saturating_mul(1_000))));
    let named = body.by.filter(|by| !by.trim().is_empty());
    let by = named.or_else(|| (author != Identity::local().name).then(|| author.clone())).unwrap_or_default();
    let done = Done { act: doing, by, starts_at: body.starts_at, until, note: body.note };
    let alarms = shared.alarms.clone();
    let id = fingerprint.clone();
    let entered = tokio::task::spawn_blocking(move || alarms.enter(&id, &done, &author, now)).await.map_err(|_| Problem::internal())?;
    let entry = entered.map_err(|error| match error {
        EnterError::Act(ActError::Unknown(_)) => unknown(),
        EnterError::Act(error @ ActError::OtherEpisode { .. }) => Problem::refused(
            error.to_string(),
            "look at the alarm again, by GET /api/v1/alarms, and give its `starts_at`; without one whatever is on is acknowledged",
        ),
        EnterError::Act(error) => Problem::refused(error.to_string(), "GET /api/v1/alarms shows how the alarm stands"),
        EnterError::Store(error) => error.into(),
    })?;
    // Durable already; the answer shows how the alarm stands then.
    let _ = tokio::time::timeout(TAKEN_IN, shared.alarms.taken_in(entry.id)).await;
    Ok(Json(AlarmDto::new(&find().unwrap_or(found))))
}

#[cfg(test)]
mod tests;
