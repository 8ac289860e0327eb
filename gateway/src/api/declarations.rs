//! `/api/v1/declarations`: figures that people declare, with their history; entered by operators.

use std::sync::Arc;

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::dto::Page;
use super::enter::{self, Body};
use super::error::Problem;
use super::params::Params;
use super::{App, Asker};
use crate::access::{Identity, Role};
use crate::indicator::declare::{self, Declaration, Declarations, Entered, PARK, Row};
use crate::indicator::figures;
use crate::store::StoreError;

/// Most rows of one request.
const ROWS_MAX: usize = 5_000;
/// Who may declare.
const ROLES: &[Role] = &[Role::Operator, Role::Admin];

/// Which declarations.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DeclarationQuery {
    /// Only this figure.
    figure: Option<String>,
    /// Only of this enterprise, or `park`.
    subject: Option<String>,
    /// Only for this year or month, `2025`, `2025-06`.
    period: Option<String>,
    /// Also what was corrected or taken back.
    history: Option<bool>,
}

/// A declared figure.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DeclarationDto {
    /// Number of its entry.
    pub id: i64,
    /// Its name.
    pub figure: String,
    /// Enterprise, or `park`.
    pub subject: String,
    /// Year or month.
    pub period: String,
    /// Exact decimal in `unit`; `null` for one taken back.
    pub value: Option<String>,
    /// Unit.
    pub unit: String,
    /// As it was handed in, in `given_unit`.
    pub given: Option<String>,
    /// Unit that it was handed in with.
    pub given_unit: String,
    /// The paper it rests on.
    pub document: String,
    /// Anything else.
    pub note: String,
    /// Who entered it.
    pub author: String,
    /// When.
    #[schema(format = DateTime)]
    pub time: String,
    /// Whether it counts: nothing later takes its place.
    pub in_force: bool,
}

impl DeclarationDto {
    fn new(declaration: &Declaration, in_force: bool) -> Self {
        let Declaration { id, key, value, given, given_unit, document, note, author, time } = declaration.clone();
        Self {
            id,
            unit: figures::named(&key.figure).map(|named| named.unit).unwrap_or_default(),
            figure: key.figure,
            subject: key.subject,
            period: key.period.to_string(),
            value: value.map(|value| value.to_string()),
            given,
            given_unit,
            document,
            note,
            author,
            time: time.to_string(),
            in_force,
        }
    }
}

/// Rows to enter, all or none.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeclarationsBody {
    /// The rows.
    pub rows: Vec<Row>,
}

/// Whether someone sees the figures of an enterprise, or of the park.
fn sees(asker: &Identity, subject: &str) -> bool {
    let scope = &asker.scope;
    scope.is_everything() || (subject != PARK && scope.media.is_empty() && scope.outlets.is_empty() && scope.enterprises.contains(subject))
}

/// Figures in force, by name, whose and period.
#[utoipa::path(get, operation_id = "get_declarations", path = "/api/v1/declarations", tag = "indicators", params(DeclarationQuery),
    responses((status = 200, body = Page<DeclarationDto>),
        (status = 400, body = Problem, content_type = "application/problem+json")))]
pub async fn list(
    App(shared): App,
    Asker(asker): Asker,
    Params(query): Params<DeclarationQuery>,
) -> Result<Json<Page<DeclarationDto>>, Problem> {
    let period = query.period.as_deref().map(figures::period).transpose();
    let period = period.map_err(|detail| Problem::bad_query(detail, "write a year or a month"))?;
    let facts = Arc::clone(shared.indicators.facts());
    let declarations = shared.read(move |_| Declarations::read(&facts)).await?;
    let mut items = Vec::new();
    for (key, all) in declarations.all() {
        let other = |wanted: &Option<String>, have: &str| wanted.as_deref().is_some_and(|wanted| wanted != have);
        if !sees(&asker, &key.subject)
            || other(&query.figure, &key.figure)
            || other(&query.subject, &key.subject)
            || period.is_some_and(|period| period != key.period)
        {
            continue;
        }
        let last = all.len().saturating_sub(1);
        for (index, declaration) in all.iter().enumerate() {
            let in_force = index == last && declaration.value.is_some();
            if in_force || query.history == Some(true) {
                items.push(DeclarationDto::new(declaration, in_force));
            }
        }
    }
    Ok(Json(Page { items, next: None }))
}

/// Enters figures, all or none; one that is there for the same figure, subject and period is superseded, not changed.
#[utoipa::path(post, operation_id = "post_declarations", path = "/api/v1/declarations", tag = "indicators", request_body = DeclarationsBody,
    responses((status = 200, body = Entered),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json")))]
pub async fn post(App(shared): App, Asker(asker): Asker, Body(body): Body<DeclarationsBody>) -> Result<Json<Entered>, Problem> {
    let author = enter::author(&asker, ROLES)?.to_owned();
    if body.rows.len() > ROWS_MAX {
        return Err(Problem::refused(format!("{} rows came, {ROWS_MAX} is the most", body.rows.len()), "send them in parts"));
    }
    if let Some(row) = body.rows.iter().find(|row| !sees(&asker, &row.subject)) {
        let subject: String = row.subject.chars().take(60).collect();
        return Err(Problem::refused(format!("`{subject}` is not in the token's scope"), "use a token for the whole park"));
    }
    let rows: Vec<(u64, Row)> = (1..).zip(body.rows).collect();
    let checked = declare::check(&shared.catalogue, &rows).map_err(|errors| {
        let shown: Vec<String> =
            errors.iter().take(20).map(|error| format!("row {}: {} {}", error.line, error.column, error.problem)).collect();
        Problem::refused(shown.join("; "), "mend the rows; nothing was entered")
    })?;
    let (facts, now) = (Arc::clone(shared.indicators.facts()), shared.clock.now().utc);
    let entered = tokio::task::spawn_blocking(move || declare::enter(&facts, &checked, &author, now)).await;
    Ok(Json(entered.map_err(|_| Problem::internal())?.map_err(|error: StoreError| Problem::from(error))?))
}
