//! What the tokens of regulators are used for, kept in `facts.db` for good, and `/api/v1/regulator/accesses`, which
//! shows the park who read what.
//!
//! Each request for a report is kept before its answer goes out; where that cannot be done there is no answer. Of other
//! routes, which a page asks many times a minute, the first request of an hour is kept for each token and route.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::extract::{Query, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use parkgate_collector::model::UtcMillis;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::auth::Need;
use super::dto::Page;
use super::error::Problem;
use super::params::{Params, limit};
use super::{App, Shared};
use crate::access::{Identity, Role};
use crate::store::{Entry, EntryKind, NewEntry};

/// Routes whose every request is kept begin so.
const REPORTS: &str = "/api/v1/regulator/";
/// Characters of a query that are kept.
const QUERY_MAX: usize = 500;
/// Characters of an outlet's id that are kept.
const SUBJECT_MAX: usize = 100;
const HOUR_MS: i64 = 3_600_000;
/// Entries in one answer, unless asked for fewer, and at most.
const LIMIT: usize = 100;
const LIMIT_MAX: usize = 1000;

/// A request of a regulator's token, until it is answered.
pub struct Access {
    token: String,
    route: &'static str,
    method: String,
    query: String,
    outlet: String,
    peer: Option<IpAddr>,
}

/// Tokens and routes of which the present hour's request was kept.
#[derive(Debug, Default)]
pub struct Kept(Mutex<(i64, HashSet<(String, &'static str)>)>);

impl Kept {
    /// Whether this is the first of the hour.
    fn is_first(&self, access: &Access, now: UtcMillis) -> bool {
        let hour = now.0.div_euclid(HOUR_MS);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.0 != hour {
            *kept = (hour, HashSet::new());
        }
        kept.1.insert((access.token.clone(), access.route))
    }

    fn forget(&self, access: &Access) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.remove(&(access.token.clone(), access.route));
    }
}

impl Access {
    /// Of a request, when a regulator's token came with it and the route tells of the park.
    pub fn of(identity: &Identity, route: &'static str, need: Need, request: &Request, peer: Option<SocketAddr>) -> Option<Self> {
        if identity.role != Role::Regulator || need == Need::Nobody {
            return None;
        }
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(request.uri()).map(|query| query.0).unwrap_or_default();
        let outlet = pairs.into_iter().find(|(name, _)| name == "outlet").map(|(_, outlet)| outlet).unwrap_or_default();
        let cut = |text: &str, most| text.chars().take(most).collect::<String>();
        Some(Self {
            token: identity.name.clone(),
            route,
            method: request.method().to_string(),
            query: cut(request.uri().query().unwrap_or_default(), QUERY_MAX),
            outlet: cut(&outlet, SUBJECT_MAX),
            peer: peer.map(|peer| peer.ip()),
        })
    }

    /// Keeps it with what it was answered; the answer, or why there is none.
    pub async fn keep(self, shared: &Arc<Shared>, answer: Response) -> Response {
        let now = shared.clock.now().utc;
        let is_report = self.route.starts_with(REPORTS);
        if !is_report && !shared.kept.is_first(&self, now) {
            return answer;
        }
        let (facts, entry) = (Arc::clone(&shared.facts), self.entry(answer.status(), is_report));
        let kept = tokio::task::spawn_blocking(move || facts.append(entry, now)).await;
        let error = match kept {
            Ok(Ok(_)) => return answer,
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        tracing::error!(error, token = %self.token, route = self.route, "access of a regulator could not be kept");
        if is_report {
            return Problem::not_kept().into_response();
        }
        shared.kept.forget(&self);
        answer
    }

    fn entry(&self, status: StatusCode, is_report: bool) -> NewEntry {
        let outcome = match status.as_u16() {
            200..300 => "given",
            304 => "not_changed",
            400..500 => "refused",
            _ => "failed",
        };
        let body = json!({
            "method": self.method,
            "route": self.route,
            "query": self.query,
            "peer": self.peer.map(|peer| peer.to_string()),
            "status": status.as_u16(),
            "outcome": outcome,
            "counts_for": if is_report { "request" } else { "hour" },
        });
        NewEntry { kind: EntryKind::RegulatorAccess, subject: self.outlet.clone(), body, author: self.token.clone(), document: None }
    }
}

/// A request that was kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct AccessDto {
    /// Its number.
    pub id: i64,
    /// When it was answered.
    #[schema(format = DateTime)]
    pub time: String,
    /// Name of the token.
    pub token: String,
    /// The outlet asked for; empty where the route has none.
    pub outlet: String,
    /// `GET` or `HEAD`.
    pub method: String,
    /// Pattern of the route.
    pub route: String,
    /// The query as it came, its first 500 characters.
    pub query: String,
    /// Address that it came from.
    pub peer: Option<String>,
    /// Status code of the answer.
    pub status: u16,
    /// `given`, `not_changed`, `refused` or `failed`.
    pub outcome: String,
    /// `request`: this one. `hour`: the first of the hour by this token on this route; further ones are not kept.
    pub counts_for: String,
}

impl AccessDto {
    fn new(entry: Entry) -> Self {
        let body: Self = serde_json::from_value(entry.body).unwrap_or_default();
        Self { id: entry.id, time: entry.time.to_string(), token: entry.author, outlet: entry.subject, ..body }
    }
}

/// Which accesses.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AccessQuery {
    /// Only those behind this number: `next` of the answer before. From the first on unless given.
    after: Option<i64>,
    /// At most so many, up to 1000; 100 unless given.
    limit: Option<usize>,
}

/// What regulators' tokens were used for, the oldest first.
#[utoipa::path(get, operation_id = "list_regulator_accesses", path = "/api/v1/regulator/accesses", tag = "regulator", params(AccessQuery),
    responses((status = 200, body = Page<AccessDto>), (status = 400, body = Problem, content_type = "application/problem+json")))]
pub async fn list(App(shared): App, Params(query): Params<AccessQuery>) -> Result<Json<Page<AccessDto>>, Problem> {
    let (after, limit) = (query.after.unwrap_or(0), limit(query.limit, LIMIT, LIMIT_MAX)?);
    let facts = Arc::clone(&shared.facts);
    let entries = shared.read(move |_| facts.some_entries(EntryKind::RegulatorAccess, after, limit)).await?;
    let next = if entries.len() == limit { entries.last().map(|entry| entry.id.to_string()) } else { None };
    Ok(Json(Page { items: entries.into_iter().map(AccessDto::new).collect(), next }))
}
