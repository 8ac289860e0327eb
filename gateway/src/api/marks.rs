//! `/api/v1/marks`: marks on outlets' data; set, ended and withdrawn by operators. A mark never erases a value.

use axum::Json;
use axum::http::StatusCode;
use parkgate_rules::emission::time::UtcMillis as Time;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::dto::Page;
use super::enter::{self, Body};
use super::error::Problem;
use super::limits::{EnteredQuery, ROLES, SaidDto, hidden};
use super::params::Params;
use super::{App, Asker};
use crate::emission::{Author, HeldMark, MarkStep, NewMark};

/// A mark.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MarkDto {
    /// Its id, permanent.
    pub id: String,
    /// The outlet.
    pub outlet: String,
    /// The factor, or `o2`, `temperature`, `pressure`, `humidity`, `flow`; `null`: all of them.
    pub factor: Option<String>,
    /// Letter of HJ 212: F stopped, D fault, C calibration, M maintenance, T over range, B link lost, S set by hand.
    pub letter: &'static str,
    /// The condition in words.
    pub condition: String,
    /// From when.
    #[schema(format = DateTime)]
    pub from: String,
    /// Until when; `null`: until it is ended.
    #[schema(format = DateTime)]
    pub to: Option<String>,
    /// Who set it.
    pub author: String,
    /// When.
    #[schema(format = DateTime)]
    pub set_at: String,
    /// The paper that the entry names.
    pub document: Option<String>,
    /// Who ended it, if anybody did.
    pub ended_by: Option<SaidDto>,
    /// Who withdrew it, if anybody did: it does not hold.
    pub withdrawn_by: Option<SaidDto>,
}

impl MarkDto {
    fn new(held: &HeldMark) -> Self {
        let mark = &held.mark;
        Self {
            id: mark.id.clone(),
            outlet: mark.outlet.clone(),
            factor: mark.factor.clone(),
            letter: mark.letter.name(),
            condition: mark.condition.clone(),
            from: mark.from.to_string(),
            to: mark.to.map(|time| time.to_string()),
            author: mark.author.clone(),
            set_at: mark.set_at.to_string(),
            document: held.document.clone(),
            ended_by: held.ended_by.as_ref().map(SaidDto::new),
            withdrawn_by: held.withdrawn_by.as_ref().map(SaidDto::new),
        }
    }
}

/// What is entered about a mark: `add`, `end` or `withdraw`, one of the three.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MarkEntry {
    /// A new mark.
    #[serde(default)]
    add: Option<NewMark>,
    /// One that ends.
    #[serde(default)]
    end: Option<EndMark>,
    /// The id of one that was set in error.
    #[serde(default)]
    withdraw: Option<String>,
    /// The paper it rests on.
    #[serde(default)]
    document: Option<String>,
}

/// A mark that ends.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndMark {
    /// Its id.
    mark: String,
    /// Until when it holds.
    #[schema(value_type = String, format = DateTime)]
    to: Time,
}

/// Marks of the outlets that the asker sees, in order of their entries, withdrawn ones too.
#[utoipa::path(get, operation_id = "list_marks", path = "/api/v1/marks", tag = "emissions", params(EnteredQuery),
    responses((status = 200, body = Page<MarkDto>), (status = 400, body = Problem, content_type = "application/problem+json")))]
pub async fn list(App(shared): App, Asker(identity): Asker, Params(query): Params<EnteredQuery>) -> Result<Json<Page<MarkDto>>, Problem> {
    let emissions = std::sync::Arc::clone(&shared.emissions);
    let items = shared
        .read(move |_| {
            let plan = emissions.plan();
            let marks = emissions.marks()?.into_iter().filter(|held| plan.sees_outlet(&identity, &held.mark.outlet));
            Ok(marks.filter(|held| query.wants(&held.mark.outlet, held.mark.factor.as_deref())).map(|held| MarkDto::new(&held)).collect())
        })
        .await?;
    Ok(Json(Page { items, next: None }))
}

/// Enters a mark, its end or its withdrawal. The hours it touches are counted and judged again within about a second.
#[utoipa::path(post, operation_id = "enter_mark", path = "/api/v1/marks", tag = "emissions", request_body = MarkEntry,
    responses((status = 201, body = MarkDto), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json")))]
pub async fn post(App(shared): App, Asker(identity): Asker, Body(entry): Body<MarkEntry>) -> Result<(StatusCode, Json<MarkDto>), Problem> {
    let author = Author { name: enter::author(&identity, ROLES)?.to_owned(), document: entry.document };
    let step = match (entry.add, entry.end, entry.withdraw) {
        (Some(new), None, None) => MarkStep::Add(new),
        (None, Some(EndMark { mark, to }), None) => MarkStep::End { mark, to },
        (None, None, Some(mark)) => MarkStep::Withdraw { mark },
        _ => return Err(Problem::bad_body("needs one of `add`, `end` and `withdraw`")),
    };
    let (emissions, now) = (std::sync::Arc::clone(&shared.emissions), shared.clock.now().utc);
    let entered = shared
        .read(move |_| {
            let outlet = match &step {
                MarkStep::Add(new) => Some(new.outlet.clone()),
                MarkStep::End { mark, .. } | MarkStep::Withdraw { mark } => {
                    emissions.marks()?.into_iter().find(|held| held.mark.id == *mark).map(|held| held.mark.outlet)
                }
            };
            if !outlet.is_some_and(|outlet| emissions.plan().sees_outlet(&identity, &outlet)) {
                return Ok(Err(hidden(&*emissions, &identity)));
            }
            Ok(emissions.enter_mark(&step, &author, now)?.map_err(|refusal| Problem::refused(refusal.what, refusal.help)))
        })
        .await??;
    Ok((StatusCode::CREATED, Json(MarkDto::new(&entered))))
}
