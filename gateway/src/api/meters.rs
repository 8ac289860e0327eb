//! `/api/v1/decisions` and `/api/v1/exchanges`: registers that fell and what was decided about them, exchanges of meters
//! and changes of their multiplier; entered and undone by operators, never changed.

use std::sync::Arc;

use axum::Json;
use axum::http::StatusCode;
use parkgate_rules::emission::time::UtcMillis as Time;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::dto::Page;
use super::enter::{self, Body};
use super::error::Problem;
use super::limits::ROLES;
use super::params::{Nothing, Params};
use super::{App, Asker, Shared, Visible};
use crate::access::Identity;
use crate::rollup::ParkZone;
use crate::rollup::decide::{self, Due, ToDecide};
use crate::rollup::enter::{Desk, Signed};
use crate::rollup::meters::{EventKind, MeterEvent, MeterStep, Meters, NewEvent};

/// Registers that fell without a plausible wrap.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DecisionsDto {
    /// Those about which nothing was decided: their periods are incomplete.
    pub to_decide: Vec<ToDecide>,
    /// There are more to decide, of points that fall all the time: they come up when these are decided.
    pub more: bool,
    /// What was decided, in order of the entries, undone decisions too.
    pub decided: Vec<MeterEvent>,
}

/// What is decided about a fall, or undone: one of the two.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DecisionEntry {
    /// A decision.
    #[serde(default)]
    add: Option<AddDecision>,
    /// The id of one that was made in error.
    #[serde(default)]
    undo: Option<String>,
    /// Who says so, where no token is asked for: else the author is `local`. With a token its name is kept beside it.
    #[serde(default)]
    by: Option<String>,
    /// Why, in words.
    #[serde(default)]
    note: Option<String>,
    /// The paper it rests on.
    #[serde(default)]
    document: Option<String>,
}

/// What a fall was.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The register wrapped, however fast that was: the wrapped difference counts.
    Rollover,
    /// The register was set back, and both readings are right: the pair adds nothing. What was used between them is not known,
    /// so completeness stays lower by that time, but the period is no more incomplete.
    Reset,
    /// The reading before the fall is wrong: it is left out, and the difference is formed across it.
    OldWrong,
    /// The lower reading is wrong: it is left out, and the difference is formed across it.
    NewWrong,
}

/// A decision.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddDecision {
    /// Stable id of the point.
    point: String,
    /// When the lower register was read, as `to_decide` has it.
    #[schema(value_type = String, format = DateTime)]
    at: Time,
    /// What the fall was.
    verdict: Verdict,
}

/// An exchange that is entered, or undone: one of the two.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExchangeEntry {
    /// An exchange.
    #[serde(default)]
    add: Option<AddExchange>,
    /// The id of one that was entered in error.
    #[serde(default)]
    undo: Option<String>,
    /// Who says so, where no token is asked for: else the author is `local`. With a token its name is kept beside it.
    #[serde(default)]
    by: Option<String>,
    /// Why, in words.
    #[serde(default)]
    note: Option<String>,
    /// The paper it rests on.
    #[serde(default)]
    document: Option<String>,
}

/// An exchange of a meter, or a multiplier that changes: then both registers are the same.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddExchange {
    /// Stable id of the point.
    point: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    at: Time,
    /// Last register of the old meter, in the point's unit; what it counted since its last reading is lost without it.
    #[serde(default)]
    old_final: Option<String>,
    /// First register of the new meter, in the point's unit; counting begins with its first reading without it.
    #[serde(default)]
    new_initial: Option<String>,
    /// What registers are multiplied with from then on, on top of the configured scale; as before unless given.
    #[serde(default)]
    multiplier: Option<String>,
}

/// Whether the asker sees what was entered about a point; of one that is not configured, who sees everything.
pub fn sees(visible: Visible<'_>, point: &str) -> bool {
    visible.sees_everything() || visible.point(point).is_ok()
}

/// Registers that fell and what was decided, of the points that the asker sees.
#[utoipa::path(get, operation_id = "list_decisions", path = "/api/v1/decisions", tag = "totals", responses((status = 200, body = DecisionsDto)))]
pub async fn decisions(App(shared): App, Asker(identity): Asker, _: Params<Nothing>) -> Result<Json<DecisionsDto>, Problem> {
    let state = Arc::clone(&shared);
    let told = shared
        .read(move |record| {
            let meters = Meters::read(&state.catalogue, &state.facts)?;
            let (zone, visible) = (ParkZone::new(&state.catalogue.park.time_zone), Visible::new(&state.catalogue, &identity));
            let mut due = Due::default();
            for point in visible.points() {
                let of_point = decide::of_point(point, &zone, &*state.totals, record, &meters)?;
                due.pairs.extend(of_point.pairs);
                due.more |= of_point.more;
            }
            let decided = |event: &MeterEvent| event.kind != EventKind::Exchange && sees(visible, &event.point);
            Ok(DecisionsDto { to_decide: due.pairs, more: due.more, decided: meters.events().into_iter().filter(decided).collect() })
        })
        .await?;
    Ok(Json(told))
}

/// Exchanges of meters that the asker sees, in order of their entries, undone ones too.
#[utoipa::path(get, operation_id = "list_exchanges", path = "/api/v1/exchanges", tag = "totals", responses((status = 200, body = Page<MeterEvent>)))]
pub async fn exchanges(App(shared): App, Asker(identity): Asker, _: Params<Nothing>) -> Result<Json<Page<MeterEvent>>, Problem> {
    let state = Arc::clone(&shared);
    let items = shared
        .read(move |_| {
            let visible = Visible::new(&state.catalogue, &identity);
            let events = Meters::read(&state.catalogue, &state.facts)?.events();
            let exchange = |event: &MeterEvent| event.kind == EventKind::Exchange && sees(visible, &event.point);
            Ok(events.into_iter().filter(exchange).collect())
        })
        .await?;
    Ok(Json(Page { items, next: None }))
}

/// Decides about a fall, or undoes a decision. The periods it touches are counted again within about a second.
#[utoipa::path(post, operation_id = "enter_decision", path = "/api/v1/decisions", tag = "totals", request_body = DecisionEntry,
    responses((status = 201, body = MeterEvent), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json")))]
pub async fn decide(
    App(shared): App,
    Asker(identity): Asker,
    Body(entry): Body<DecisionEntry>,
) -> Result<(StatusCode, Json<MeterEvent>), Problem> {
    let step = match (entry.add, entry.undo) {
        (Some(AddDecision { point, at, verdict }), None) => {
            let kind = match verdict {
                Verdict::Rollover => EventKind::Rollover,
                Verdict::Reset => EventKind::Reset,
                Verdict::OldWrong => EventKind::OldWrong,
                Verdict::NewWrong => EventKind::NewWrong,
            };
            let (old_final, new_initial, multiplier) = (None, None, None);
            MeterStep::Add(NewEvent { kind, point, at, from: None, old_final, new_initial, multiplier, note: entry.note })
        }
        (None, Some(event)) => MeterStep::Undo { event, note: entry.note },
        _ => return Err(Problem::bad_body("needs one of `add` and `undo`")),
    };
    enter_step(&shared, identity, step, Paper { by: entry.by, document: entry.document }).await
}

/// Enters an exchange, or undoes one. The periods it touches are counted again within about a second.
#[utoipa::path(post, operation_id = "enter_exchange", path = "/api/v1/exchanges", tag = "totals", request_body = ExchangeEntry,
    responses((status = 201, body = MeterEvent), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json")))]
pub async fn exchange(
    App(shared): App,
    Asker(identity): Asker,
    Body(entry): Body<ExchangeEntry>,
) -> Result<(StatusCode, Json<MeterEvent>), Problem> {
    let step = match (entry.add, entry.undo) {
        (Some(AddExchange { point, at, old_final, new_initial, multiplier }), None) => {
            let kind = EventKind::Exchange;
            MeterStep::Add(NewEvent { kind, point, at, from: None, old_final, new_initial, multiplier, note: entry.note })
        }
        (None, Some(event)) => MeterStep::Undo { event, note: entry.note },
        _ => return Err(Problem::bad_body("needs one of `add` and `undo`")),
    };
    enter_step(&shared, identity, step, Paper { by: entry.by, document: entry.document }).await
}

/// What an entry rests on.
struct Paper {
    /// Who says so, beside the token.
    by: Option<String>,
    document: Option<String>,
}

async fn enter_step(
    shared: &Arc<Shared>,
    identity: Arc<Identity>,
    step: MeterStep,
    Paper { by, document }: Paper,
) -> Result<(StatusCode, Json<MeterEvent>), Problem> {
    let signed = Signed { author: enter::signed(&identity, ROLES, by.as_deref())?, document, now: shared.clock.now().utc };
    let state = Arc::clone(shared);
    let entered = shared
        .read(move |record| {
            let visible = Visible::new(&state.catalogue, &identity);
            let missing = match &step {
                // The desk names neighbours of what is not there: only of what the asker sees.
                MeterStep::Add(new) => visible.point(&new.point).err(),
                MeterStep::Undo { event, .. } => {
                    let events = Meters::read(&state.catalogue, &state.facts)?.events();
                    let is_there = events.iter().any(|held| held.id == *event && sees(visible, &held.point));
                    (!is_there).then(|| Problem::not_entered(event))
                }
            };
            if let Some(problem) = missing {
                return Ok(Err(problem));
            }
            let desk = Desk { catalogue: &state.catalogue, record, facts: &state.facts };
            Ok(desk.enter(step, &signed)?.map_err(|refusal| Problem::refused(refusal.what, refusal.help)))
        })
        .await??;
    Ok((StatusCode::CREATED, Json(entered)))
}
