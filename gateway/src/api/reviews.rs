//! `/api/v1/reviews`: what the admission rules say of projects before the live park, and the reviews that reserved.

use std::sync::Arc;

use axum::Json;
use parkgate_rules::review::{Project, Tables};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::enter::{self, Body};
use super::error::Problem;
use super::params::Params;
use super::{App, Asker, ledger};
use crate::access::Role;
use crate::ledger::{LedgerError, rows};
use crate::review::headroom::{self, HeadroomError};
use crate::review::{self, DeclaredError, ReviewError};
use crate::store::{EntryKind, StoreError};

/// Who may ask and reserve.
const ROLES: &[Role] = &[Role::Reviewer, Role::Operator, Role::Admin];
/// Most projects of one request.
const PROJECTS_MAX: usize = 200;
/// Most reviews of one answer.
const REVIEWS_MAX: usize = 500;

/// Which reviews.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ReviewQuery {
    /// Only of this project.
    project: Option<String>,
    /// Only those after this number, as `next` of the answer before.
    after: Option<i64>,
}

/// Projects to look at.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReviewBody {
    /// Projects, of the form that `parkgate review --schema project` prints; named by `project`, else by their place.
    #[schema(value_type = Vec<Object>)]
    pub projects: Vec<Value>,
    /// Take them in filing order, each against what the ones before left, and enter what they take in the ledgers.
    #[serde(default)]
    pub reserve: bool,
    /// The document that a reservation rests on; needed with `reserve`.
    #[serde(default)]
    pub document: Option<String>,
}

/// What the rules say.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ReviewsDto {
    /// One object per project: `decision`, `reasons`, `rules`, `total_tce`, `controlled_tce`, `shortfall_tce`, `energy_review`,
    /// `land`, `pollutants`, `capacity`, `missing`, and that it is advice; with `reserve` in filing order.
    #[schema(value_type = Vec<Object>)]
    pub items: Vec<Value>,
    /// Entries of the ledgers that a reservation made.
    #[schema(value_type = Vec<Object>)]
    pub entries: Vec<Value>,
}

/// Reviews that were kept.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct KeptReviewsDto {
    /// One object per review: `id`, `project`, `decision`, `answer`, `document`, `author`, `time`.
    #[schema(value_type = Vec<Object>)]
    pub items: Vec<Value>,
    /// What to pass as `after` for the next part; `null` at the end.
    pub next: Option<i64>,
}

/// Reviews that were asked to reserve, in order, each with its outcome.
#[utoipa::path(get, operation_id = "get_reviews", path = "/api/v1/reviews", tag = "review", params(ReviewQuery),
    responses((status = 200, body = KeptReviewsDto), (status = 403, body = Problem, content_type = "application/problem+json")))]
pub async fn list(App(shared): App, Params(query): Params<ReviewQuery>) -> Result<Json<KeptReviewsDto>, Problem> {
    let (facts, after) = (Arc::clone(&shared.facts), query.after.unwrap_or(0));
    let kept = shared.read(move |_| facts.some_entries(EntryKind::Review, after, REVIEWS_MAX)).await?;
    let next = kept.last().map(|entry| entry.id).filter(|_| kept.len() == REVIEWS_MAX);
    let of = |name: &String| query.project.as_ref().is_none_or(|project| project == name);
    let items = kept.into_iter().filter(|entry| of(&entry.subject)).map(|entry| {
        json!({
            "id": entry.id,
            "project": entry.subject,
            "decision": entry.body["decision"],
            "answer": entry.body["answer"],
            "document": entry.document,
            "author": entry.author,
            "time": entry.time.to_string(),
        })
    });
    Ok(Json(KeptReviewsDto { items: items.collect(), next }))
}

/// Reviews projects before the park as it stands. Advice, not an approval. With `reserve` what they take is entered.
#[utoipa::path(post, operation_id = "post_reviews", path = "/api/v1/reviews", tag = "review", request_body = ReviewBody,
    responses((status = 200, body = ReviewsDto), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json")))]
pub async fn post(App(shared): App, Asker(asker): Asker, Body(body): Body<ReviewBody>) -> Result<Json<ReviewsDto>, Problem> {
    let author = enter::author(&asker, ROLES)?.to_owned();
    let tables = Tables::shipped();
    let projects = projects(&body.projects, &tables)?;
    let document = body.document.clone().filter(|document| !document.trim().is_empty());
    if body.reserve && document.is_none() {
        return Err(Problem::bad_body("`document` is missing: a reservation rests on one"));
    }
    let (live, facts, path) = (Arc::clone(&shared.indicators), Arc::clone(&shared.facts), shared.park_state.clone());
    let now = shared.clock.now().utc;
    let outcome = shared.read(move |_| {
        let work = || -> Result<ReviewsDto, Asked> {
            let figures = headroom::figures(&live, review::declared(path.as_deref())?, now)?;
            let (reviewed, entries) = match (body.reserve, &document) {
                (true, Some(document)) => {
                    let taken = review::take(&facts, &figures, &projects, &tables, (document, &author), now)?;
                    (taken.reviewed, taken.entries)
                }
                _ => (review::look(&facts, &figures, &projects, &tables)?, Vec::new()),
            };
            let items = reviewed.iter().map(|one| serde_json::to_value(&one.answer).unwrap_or_default()).collect();
            Ok(ReviewsDto { items, entries: entries.iter().map(rows::entered).collect() })
        };
        Ok::<_, StoreError>(work())
    });
    outcome.await?.map(Json).map_err(problem)
}

/// The projects with their names.
fn projects(given: &[Value], tables: &Tables) -> Result<Vec<(String, Project)>, Problem> {
    if given.is_empty() || given.len() > PROJECTS_MAX {
        return Err(Problem::refused(format!("{} projects came", given.len()), format!("send from 1 to {PROJECTS_MAX}")));
    }
    let (mut projects, mut problems) = (Vec::new(), Vec::new());
    for (place, value) in given.iter().enumerate() {
        match Project::read(value, &format!("projects[{place}]"), tables) {
            Ok(project) => {
                let name = project.project.clone().unwrap_or_else(|| format!("project-{}", place.saturating_add(1)));
                projects.push((name, project));
            }
            Err(found) => problems.extend(found.iter().take(20).map(ToString::to_string)),
        }
    }
    if problems.is_empty() { Ok(projects) } else { Err(Problem::bad_body(problems.join("; "))) }
}

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
enum Asked {
    #[error(transparent)]
    Declared(#[from] DeclaredError),
    #[error(transparent)]
    Headroom(#[from] HeadroomError),
    #[error(transparent)]
    Review(#[from] ReviewError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

fn problem(error: Asked) -> Problem {
    match error {
        Asked::Ledger(error) | Asked::Review(ReviewError::Ledger(error)) | Asked::Headroom(HeadroomError::Ledger(error)) => {
            ledger::problem(error)
        }
        error @ Asked::Review(ReviewError::Refused { .. }) => {
            Problem::refused(error.to_string(), "nothing was entered; GET /api/v1/ledger shows what is left")
        }
        error @ (Asked::Declared(_) | Asked::Headroom(HeadroomError::Live(_))) => {
            tracing::error!(error = %error, "the park's state for reviews cannot be used");
            let remedy = "mend the file of [gateway.review] park_state, or the declarations; the gateway's log says what is wrong";
            Problem::refused("the park's state cannot be put together", remedy)
        }
    }
}

#[cfg(test)]
mod tests;
