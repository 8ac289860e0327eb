//! `/api/v1/readings`: values that somebody read from a meter by hand, and who. They are added here or by
//! `parkgate reading add`, and go to the record as those of an import do.

use std::sync::Arc;

use axum::Json;
use axum::http::StatusCode;
use parkgate_collector::model::UtcMillis;
use parkgate_rules::emission::time::UtcMillis as Time;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;
use utoipa::ToSchema;

use super::dto::Page;
use super::enter::{self, Body};
use super::error::Problem;
use super::limits::ROLES;
use super::meters::sees;
use super::params::{Nothing, Params};
use super::{App, Asker, Shared, Visible};
use crate::access::Identity;
use crate::control::{Answer, Request};
use crate::store::{Entry, EntryKind};
use crate::transfer::hand::{HandReading, NewReading};
use crate::transfer::import::{Imported, Values};
use crate::transfer::rows::Targets;

/// A value that was read by hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ReadingDto {
    /// Number of its entry.
    pub id: i64,
    /// Stable id of the point.
    pub point: String,
    /// When the meter was read.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// What it showed, in the point's unit.
    pub value: String,
    /// Anything else, in words.
    pub note: Option<String>,
    /// The record had another number at that time, which is kept as a correction.
    pub replaced: bool,
    /// The paper it rests on.
    pub document: Option<String>,
    /// Who read it.
    pub author: String,
    /// When it was entered.
    #[schema(format = DateTime)]
    pub entered_at: String,
}

impl ReadingDto {
    /// `None`: the entry cannot be understood.
    fn new(entry: Entry) -> Option<Self> {
        let read = serde_json::from_value::<HandReading>(entry.body);
        let read =
            read.inspect_err(|error| tracing::error!(entry = entry.id, error = %error, "entry cannot be understood and is left out"));
        let HandReading { at, value, note, replaced } = read.ok()?;
        let (point, document, author, entered_at) = (entry.subject, entry.document, entry.author, entry.time.to_string());
        Some(Self { id: entry.id, point, at, value, note, replaced, document, author, entered_at })
    }
}

/// A value read by hand that is entered. One that was misread is entered once more, with the right value: it takes the place of
/// the other, which is kept as a correction.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadingEntry {
    /// The reading.
    add: AddReading,
    /// Who read it, where no token is asked for: else the author is `local`. With a token its name is kept beside it.
    #[serde(default)]
    by: Option<String>,
    /// Anything else, in words.
    #[serde(default)]
    note: Option<String>,
    /// The paper it rests on.
    #[serde(default)]
    document: Option<String>,
}

/// What a meter showed.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddReading {
    /// Stable id of the point.
    point: String,
    /// When the meter was read.
    #[schema(value_type = String, format = DateTime)]
    at: Time,
    /// What it showed, in the point's unit, with no more decimals than the point keeps.
    value: String,
}

/// Values read by hand, of points that the asker sees, in order of their entries.
#[utoipa::path(get, operation_id = "list_readings", path = "/api/v1/readings", tag = "totals", responses((status = 200, body = Page<ReadingDto>)))]
pub async fn list(App(shared): App, Asker(identity): Asker, _: Params<Nothing>) -> Result<Json<Page<ReadingDto>>, Problem> {
    let state = Arc::clone(&shared);
    let items = shared
        .read(move |_| {
            let visible = Visible::new(&state.catalogue, &identity);
            let entries = state.facts.entries(EntryKind::HandReading, 0)?.into_iter();
            Ok(entries.filter(|entry| sees(visible, &entry.subject)).filter_map(ReadingDto::new).collect())
        })
        .await?;
    Ok(Json(Page { items, next: None }))
}

/// Enters a value read by hand: durable in the record when this answers, and counted within about a second. Answers 200 with
/// the entry that there is when the same was entered before.
#[utoipa::path(post, operation_id = "enter_reading", path = "/api/v1/readings", tag = "totals", request_body = ReadingEntry,
    responses((status = 201, body = ReadingDto), (status = 200, body = ReadingDto),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
pub async fn post(
    App(shared): App,
    Asker(identity): Asker,
    Body(entry): Body<ReadingEntry>,
) -> Result<(StatusCode, Json<ReadingDto>), Problem> {
    let ReadingEntry { add: AddReading { point, at, value }, by, note, document } = entry;
    let author = enter::signed(&identity, ROLES, by.as_deref())?;
    let new = NewReading { point, at: UtcMillis(at.0), value, author, note, document };
    // It goes on when the request is given up: a value in the record is not left without its author.
    let entered = tokio::spawn(enter_reading(shared, identity, new)).await;
    let (entry, is_new) = entered.map_err(|error| {
        tracing::error!(error = %error, "a reading could not be entered");
        Problem::internal()
    })??;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(ReadingDto::new(entry).ok_or_else(Problem::internal)?)))
}

async fn enter_reading(shared: Arc<Shared>, identity: Arc<Identity>, new: NewReading) -> Result<(Entry, bool), Problem> {
    let (state, now) = (Arc::clone(&shared), shared.clock.now().utc);
    let checked = shared.read(move |_| {
        // What is not there is told with its neighbours: only of what the asker sees.
        if let Err(problem) = Visible::new(&state.catalogue, &identity).point(&new.point) {
            return Ok(Err(problem));
        }
        let remedy = "the value is in the point's unit, as the meter shows it; GET /api/v1/points tells unit and decimals";
        let values = new.checked(&Targets::new(&state.catalogue, now)).map_err(|why| Problem::refused(why, remedy));
        Ok(values.map(|values| (new, values)))
    });
    let (new, values) = checked.await??;
    let imported = import(&shared, values).await?;
    let facts = Arc::clone(&shared.facts);
    shared.read(move |_| new.enter(&facts, imported, now)).await
}

/// Makes values durable by the path that those of commands take.
async fn import(shared: &Shared, values: Values) -> Result<Imported, Problem> {
    let (reply, answer) = oneshot::channel();
    shared.control.try_send((Request::Import(values), reply)).map_err(|error| match error {
        TrySendError::Full(_) => Problem::not_now("the gateway does what others asked for"),
        TrySendError::Closed(_) => Problem::not_now("the gateway is stopping"),
    })?;
    match answer.await {
        Ok(Answer::Imported(imported)) => Ok(imported),
        Ok(Answer::Error { error }) => Err(Problem::not_now(&error)),
        Ok(_) => Err(Problem::internal()),
        Err(_) => Err(Problem::not_now("the gateway stopped before it was done")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::access::tokens::NewToken;
    use crate::access::{Role, Scope};
    use crate::api::fake::{NOW, Served, small_park, start};
    use crate::api::tests::send;
    use crate::store::EntryKind;

    async fn post(served: &Served, token: Option<&str>, body: &Value) -> (u16, Value) {
        let (body, bearer) = (body.to_string(), token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default());
        let head = format!("POST /api/v1/readings HTTP/1.1\r\nHost: localhost\r\n{bearer}Connection: close\r\n");
        let length = body.len();
        let request = format!("{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}");
        let answer = send(served, &request).await;
        (answer.status, serde_json::from_str(&answer.body).unwrap())
    }

    /// The page of a park that asks for no token, and tokens afterwards.
    #[tokio::test]
    async fn a_reading_goes_to_the_record_with_its_author() {
        let served = start("127.0.0.1:0", small_park(), None, "boot-1").await;
        let point = small_park().points[1].identity.stable_id.clone();
        let add = json!({ "point": point, "at": "2026-01-02T03:00:00Z", "value": "12.5" });
        let (status, first) = post(&served, None, &json!({ "add": add, "by": " eve ", "note": "on foot" })).await;
        assert_eq!((status, &first["author"], &first["note"], &first["value"]), (201, &json!("eve"), &json!("on foot"), &json!("12.5")));
        let sent = serde_json::to_value(&served.imports.lock().unwrap()[0]).unwrap();
        let (origin, row) = (&sent["origin"], &sent["series"][0]["rows"][0]);
        assert_eq!((origin, &sent["series"][0]["point"], &row[0]), (&json!("hand_read"), &json!(point), &json!(1_767_322_800_000i64)));
        // Nobody heard the answer.
        assert_eq!(post(&served, None, &json!({ "add": add, "by": "eve", "note": "on foot" })).await, (200, first));
        let token = |role: Role| {
            let new = NewToken { name: role.name().into(), role, scope: Scope::default(), expires_at: None };
            served.tokens.create(new, NOW, "test").unwrap().1.reveal().to_owned()
        };
        let (viewer, operator) = (token(Role::Viewer), token(Role::Operator));
        let entry = |more: Value| {
            let mut add = add.clone();
            add.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({ "add": add, "document": "list 7" })
        };
        for (token, body, status, words) in [
            (None, entry(json!({})), 401, "token"),
            (Some(&viewer), entry(json!({})), 403, "operator or admin"),
            (Some(&operator), json!({}), 400, "`add`"),
            (Some(&operator), entry(json!({ "value": 12.5 })), 400, "expected a string"),
            (Some(&operator), entry(json!({ "unit": "MWh" })), 400, "unknown field `unit`"),
            (Some(&operator), entry(json!({ "point": "acme/main/nothing" })), 404, "acme/main/nothing"),
            (Some(&operator), entry(json!({ "value": "12.345" })), 422, "more decimals"),
            (Some(&operator), entry(json!({ "value": "many" })), 422, "`many`"),
            (Some(&operator), entry(json!({ "at": "2026-01-03T00:00:00Z" })), 422, "future"),
            (Some(&operator), json!({ "add": add, "note": "a".repeat(1_001) }), 422, "the note is longer"),
        ] {
            let (found, problem) = post(&served, token.map(String::as_str), &body).await;
            let said = format!("{} {}", problem["detail"], problem["remedy"]);
            assert!(found == status && said.contains(words), "{found} {said}, not {status} with {words}");
        }
        assert_eq!(served.imports.lock().unwrap().len(), 2, "what is refused is not sent");
        let (status, other) = post(&served, Some(&operator), &entry(json!({ "value": "12.6" }))).await;
        assert_eq!((status, &other["author"], &other["document"]), (201, &json!("operator"), &json!("list 7")));
        assert_eq!(served.facts.entries(EntryKind::HandReading, 0).unwrap().len(), 2);
    }
}
