//! `/api/v1/limits`: limits of outlets' factors; entered and ended by operators, never changed.

use axum::Json;
use axum::http::StatusCode;
use parkgate_rules::emission::limit::{AppliesTo, Bound};
use parkgate_rules::emission::time::UtcMillis as Time;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::dto::Page;
use super::enter::{self, Body};
use super::error::Problem;
use super::params::Params;
use super::{App, Asker};
use crate::access::Role;
use crate::emission::entered::Said;
use crate::emission::{Author, EmissionView, HeldLimit, LimitStep, NewLimit};

/// Who may enter limits and marks.
pub const ROLES: &[Role] = &[Role::Operator, Role::Admin];

/// Which limits or marks.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EnteredQuery {
    /// Only of this outlet.
    outlet: Option<String>,
    /// Only of this factor; marks of all factors are there too.
    factor: Option<String>,
}

impl EnteredQuery {
    /// Whether something of an outlet and factor is asked for.
    pub fn wants(&self, outlet: &str, factor: Option<&str>) -> bool {
        let named = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
        named(&self.outlet, outlet) && factor.is_none_or(|factor| named(&self.factor, factor))
    }
}

/// Who ended or withdrew something, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct SaidDto {
    /// Who.
    pub author: String,
    /// When.
    #[schema(format = DateTime)]
    pub time: String,
    /// The paper it rests on.
    pub document: Option<String>,
}

impl SaidDto {
    /// Of what was said.
    pub fn new(said: &Said) -> Self {
        Self { author: said.author.clone(), time: said.time.to_string(), document: said.document.clone() }
    }
}

/// A limit.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LimitDto {
    /// Its id, permanent.
    pub id: String,
    /// The outlet.
    pub outlet: String,
    /// The factor.
    pub factor: String,
    /// `hour`, `day` or `month`: the period whose average it names.
    pub averaging: &'static str,
    /// The value. A figure equal to it complies.
    pub value: String,
    /// `mg/m3`, `mg/L`, `pH` or `kg/h`.
    pub unit: String,
    /// `converted`, `as_is` or `mass_rate`.
    pub applies_to: &'static str,
    /// `upper` or `lower`.
    pub bound: &'static str,
    /// Document and clause.
    pub clause: String,
    /// In force for periods that begin then or later.
    #[schema(format = DateTime)]
    pub valid_from: String,
    /// In force for periods that begin before; `null`: until it is ended.
    #[schema(format = DateTime)]
    pub valid_to: Option<String>,
    /// Who entered it.
    pub author: String,
    /// When.
    #[schema(format = DateTime)]
    pub set_at: Option<String>,
    /// The paper that the entry names.
    pub document: Option<String>,
    /// Who ended it, if anybody did.
    pub ended_by: Option<SaidDto>,
}

impl LimitDto {
    fn new(held: &HeldLimit) -> Self {
        let limit = &held.limit;
        Self {
            id: limit.id.clone(),
            outlet: limit.outlet.clone(),
            factor: limit.factor.clone(),
            averaging: limit.averaging.name(),
            value: limit.value.to_string(),
            unit: limit.unit.clone(),
            applies_to: applies_to(limit.applies_to),
            bound: match limit.bound {
                Bound::Upper => "upper",
                Bound::Lower => "lower",
            },
            clause: limit.clause.clone(),
            valid_from: limit.valid_from.to_string(),
            valid_to: limit.valid_to.map(|time| time.to_string()),
            author: limit.author.clone(),
            set_at: limit.set_at.map(|time| time.to_string()),
            document: held.document.clone(),
            ended_by: held.ended_by.as_ref().map(SaidDto::new),
        }
    }
}

/// What a limit looks at, as a word.
pub const fn applies_to(what: AppliesTo) -> &'static str {
    match what {
        AppliesTo::Converted => "converted",
        AppliesTo::AsIs => "as_is",
        AppliesTo::MassRate => "mass_rate",
    }
}

/// What is entered about a limit: `add` or `end`, one of the two.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitEntry {
    /// A new limit.
    #[serde(default)]
    add: Option<NewLimit>,
    /// One that ends.
    #[serde(default)]
    end: Option<EndLimit>,
    /// The paper it rests on.
    #[serde(default)]
    document: Option<String>,
}

/// A limit that ends.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndLimit {
    /// Its id.
    limit: String,
    /// It is in force for periods that begin before.
    #[schema(value_type = String, format = DateTime)]
    valid_to: Time,
}

/// Limits of the outlets that the asker sees, in order of their entries, ended ones too.
#[utoipa::path(get, operation_id = "list_limits", path = "/api/v1/limits", tag = "emissions", params(EnteredQuery),
    responses((status = 200, body = Page<LimitDto>), (status = 400, body = Problem, content_type = "application/problem+json")))]
pub async fn list(App(shared): App, Asker(identity): Asker, Params(query): Params<EnteredQuery>) -> Result<Json<Page<LimitDto>>, Problem> {
    let emissions = std::sync::Arc::clone(&shared.emissions);
    let items = shared
        .read(move |_| {
            let plan = emissions.plan();
            let limits = emissions.limits()?.into_iter().filter(|held| plan.sees_outlet(&identity, &held.limit.outlet));
            Ok(limits.filter(|held| query.wants(&held.limit.outlet, Some(&held.limit.factor))).map(|held| LimitDto::new(&held)).collect())
        })
        .await?;
    Ok(Json(Page { items, next: None }))
}

/// Enters a limit, or the end of one. What was judged by it is judged again within about a second, backwards too.
#[utoipa::path(post, operation_id = "enter_limit", path = "/api/v1/limits", tag = "emissions", request_body = LimitEntry,
    responses((status = 201, body = LimitDto), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json")))]
pub async fn post(
    App(shared): App,
    Asker(identity): Asker,
    Body(entry): Body<LimitEntry>,
) -> Result<(StatusCode, Json<LimitDto>), Problem> {
    let author = Author { name: enter::author(&identity, ROLES)?.to_owned(), document: entry.document };
    let step = match (entry.add, entry.end) {
        (Some(new), None) => LimitStep::Add(new),
        (None, Some(EndLimit { limit, valid_to })) => LimitStep::End { limit, valid_to },
        _ => return Err(Problem::bad_body("needs either `add` or `end`")),
    };
    let (emissions, now) = (std::sync::Arc::clone(&shared.emissions), shared.clock.now().utc);
    let entered = shared
        .read(move |_| {
            let outlet = match &step {
                LimitStep::Add(new) => Some(new.outlet.clone()),
                LimitStep::End { limit, .. } => {
                    emissions.limits()?.into_iter().find(|held| held.limit.id == *limit).map(|held| held.limit.outlet)
                }
            };
            if !outlet.is_some_and(|outlet| emissions.plan().sees_outlet(&identity, &outlet)) {
                return Ok(Err(hidden(&*emissions, &identity)));
            }
            Ok(emissions.enter_limit(step, &author, now)?.map_err(|refusal| Problem::refused(refusal.what, refusal.help)))
        })
        .await??;
    Ok((StatusCode::CREATED, Json(LimitDto::new(&entered))))
}

/// The answer about what is not there, or is not for the asker to see.
pub fn hidden(emissions: &dyn EmissionView, identity: &crate::access::Identity) -> Problem {
    let plan = emissions.plan();
    let seen = plan.outlets.iter().map(|planned| planned.outlet.id.as_str()).filter(|id| plan.sees_outlet(identity, id));
    let seen: Vec<&str> = seen.collect();
    let help = if seen.is_empty() { "there is none".to_owned() } else { format!("outlets are: {}", seen.join(", ")) };
    Problem::refused("there is no such outlet, limit or mark", help)
}
