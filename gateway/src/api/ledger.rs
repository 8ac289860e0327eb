//! `/api/v1/ledger`: the ledgers of energy quota and pollutant totals: entries with what became of them, what is left, and
//! further entries under the name of who enters them.

use axum::Json;
use parkgate_rules::ledger::Draft;
use parkgate_rules::period::Day;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::enter::{self, Body};
use super::error::Problem;
use super::params::Params;
use super::{App, Asker, Shared};
use crate::access::Role;
use crate::ledger::{self, Ledger, LedgerError, rows};
use crate::rollup::ParkZone;

/// Who may enter.
const ROLES: &[Role] = &[Role::Reviewer, Role::Operator, Role::Admin];
/// Most entries of one request.
const ENTRIES_MAX: usize = 1_000;

/// Which entries.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LedgerQuery {
    /// Only about this pollutant, `energy`, or project.
    about: Option<String>,
    /// Day of the balances, `2026-03-01`; today in the park's zone unless given.
    on: Option<String>,
}

/// The ledgers.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LedgerDto {
    /// Entries in order: `number`, `entry`, `date`, `corrects`, those of the kind of entry, `document`, `author`, `time`, `counts`,
    /// `returned`, `started`.
    #[schema(value_type = Vec<Object>)]
    pub items: Vec<Value>,
    /// What is left: of the energy quota by year, then of each pollutant.
    #[schema(value_type = Vec<Object>)]
    pub balances: Vec<Value>,
}

/// Entries to add, all or none.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LedgerBody {
    /// The entries, of the form that `parkgate ledger schema` prints.
    #[schema(value_type = Vec<Object>)]
    pub entries: Vec<Value>,
}

/// All entries and what is left.
#[utoipa::path(get, operation_id = "get_ledger", path = "/api/v1/ledger", tag = "review", params(LedgerQuery),
    responses((status = 200, body = LedgerDto), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json")))]
pub async fn list(App(shared): App, Params(query): Params<LedgerQuery>) -> Result<Json<LedgerDto>, Problem> {
    let on = match &query.on {
        Some(text) => text.parse().map_err(|_| Problem::bad_query(format!("`on={text}` is no day"), "write 2026-03-01"))?,
        None => today(&shared)?,
    };
    let facts = shared.facts.clone();
    let ledger = shared.read(move |_| Ok(Ledger::read(&facts))).await?.map_err(problem)?;
    Ok(Json(LedgerDto { items: rows::rows(&ledger, query.about.as_deref()), balances: rows::balances(&ledger, on) }))
}

/// Adds entries, all or none, under the name of who asks; one that would over-commit is refused.
#[utoipa::path(post, operation_id = "post_ledger", path = "/api/v1/ledger", tag = "review", request_body = LedgerBody,
    responses((status = 200, body = LedgerDto), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json")))]
pub async fn post(App(shared): App, Asker(asker): Asker, Body(body): Body<LedgerBody>) -> Result<Json<LedgerDto>, Problem> {
    let author = enter::author(&asker, ROLES)?.to_owned();
    if body.entries.is_empty() || body.entries.len() > ENTRIES_MAX {
        return Err(Problem::refused(format!("{} entries came", body.entries.len()), format!("send from 1 to {ENTRIES_MAX}")));
    }
    let mut drafts = Vec::new();
    for (place, entry) in body.entries.iter().enumerate() {
        let draft = Draft::read(entry, None, None).map_err(|error| Problem::bad_body(format!("entries[{place}]: {error}")))?;
        drafts.push(draft);
    }
    let (on, now) = (today(&shared)?, shared.clock.now().utc);
    let facts = shared.facts.clone();
    let entered = tokio::task::spawn_blocking(move || {
        let entered = ledger::enter(&facts, &drafts, &author, now)?;
        Ok::<_, LedgerError>((entered, Ledger::read(&facts)?))
    });
    let (entered, ledger) = entered.await.map_err(|_| Problem::internal())?.map_err(problem)?;
    Ok(Json(LedgerDto { items: entered.iter().map(rows::entered).collect(), balances: rows::balances(&ledger, on) }))
}

/// Today in the park's zone.
pub(super) fn today(shared: &Shared) -> Result<Day, Problem> {
    let zone = ParkZone::new(&shared.catalogue.park.time_zone);
    let now = zone.write(shared.clock.now().utc);
    now.get(..10).and_then(|day| day.parse().ok()).ok_or_else(Problem::internal)
}

/// What an error is to who asks.
pub(super) fn problem(error: LedgerError) -> Problem {
    match error {
        LedgerError::Store(error) => error.into(),
        LedgerError::Refused(refusal) => {
            Problem::refused(refusal.to_string(), "nothing was entered; GET /api/v1/ledger shows what is left")
        }
        error @ LedgerError::Unreadable { .. } => {
            tracing::error!(error = %error, "the ledgers cannot be read");
            Problem::internal()
        }
    }
}
