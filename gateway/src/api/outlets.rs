//! `/api/v1/outlets`: the outlets that the asker sees, each factor with its last hour and what has come since, for pages and for whoever is about
//! to ask for a summary.

use std::sync::Arc;

use axum::Json;
use parkgate_collector::model::UtcMillis;
use parkgate_rules::emission::HourFigure;
use parkgate_rules::emission::outlet::{Factor, Outlet, OutletKind};
use serde::Serialize;
use utoipa::ToSchema;

use super::dto::{NamesDto, Page};
use super::error::Problem;
use super::params::{Nothing, Params};
use super::{App, Asker};
use crate::emission::{EmissionView, Judged};
use crate::report::fill::{status_of_hour, unit};
use crate::report::summary::Status;
use crate::store::StoreError;

/// How far back a last hour is looked for.
const BACK_MS: i64 = 3 * 3_600_000;
/// Decimals of a figure; summaries have those that their limits ask for.
const DECIMALS: u32 = 3;

/// An outlet.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OutletDto {
    /// Its id.
    pub id: String,
    /// Its names.
    pub name: NamesDto,
    /// Id of its enterprise; empty for the park's own.
    pub enterprise: String,
    /// `stack` or `waste_water`.
    pub kind: &'static str,
    /// What is measured.
    pub factors: Vec<OutletFactorDto>,
}

/// A factor of an outlet.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OutletFactorDto {
    /// Its id.
    pub id: String,
    /// Its names.
    pub name: NamesDto,
    /// Unit of its concentrations.
    pub unit: &'static str,
    /// The last hour that is over and final; `null` when there is none in the last three.
    pub hour: Option<OutletHourDto>,
    /// What has come of the hours after it so far; its status is `open`, whatever it becomes. `null` when nothing has.
    pub present: Option<OutletHourDto>,
}

/// An hour of a factor.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OutletHourDto {
    /// Start, in the park's zone.
    #[schema(format = DateTime)]
    pub start: String,
    /// End, outside.
    #[schema(format = DateTime)]
    pub end: String,
    /// Average as measured; of a stack dry, at standard state.
    pub average: Option<String>,
    /// The average of the converted values, where the standard converts.
    pub converted: Option<String>,
    /// The limit that the status is by: one that is exceeded, else the first.
    pub limit: Option<String>,
    /// `compliant`, `exceeded`, `not_judged` (no limit is entered), `not_valid`, `stopped`, `missing` or `open`.
    pub status: &'static str,
}

/// The outlets that the asker sees, in the order of the configuration.
#[utoipa::path(get, operation_id = "list_outlets", path = "/api/v1/outlets", tag = "emissions",
    responses((status = 200, body = Page<OutletDto>)))]
pub async fn list(App(shared): App, Asker(identity): Asker, _: Params<Nothing>) -> Result<Json<Page<OutletDto>>, Problem> {
    let (view, now) = (Arc::clone(&shared.emissions), shared.clock.now().utc);
    let items = shared
        .read(move |_| {
            let plan = view.plan();
            let seen = plan.outlets.iter().map(|planned| &planned.outlet).filter(|outlet| plan.sees_outlet(&identity, &outlet.id));
            seen.map(|outlet| of(&*view, outlet, now)).collect::<Result<Vec<_>, StoreError>>()
        })
        .await?;
    Ok(Json(Page { items, next: None }))
}

fn of(view: &dyn EmissionView, outlet: &Outlet, now: UtcMillis) -> Result<OutletDto, StoreError> {
    let name = |names: &parkgate_rules::emission::outlet::Names| NamesDto { zh: names.zh.clone(), en: names.en.clone() };
    let factor = |factor: &Factor| {
        let hours = view.hours(&outlet.id, &factor.id, now.plus(-BACK_MS), now.plus(1))?;
        let hour = hours.iter().rfind(|judged| judged.closed).map(|judged| hour_of(judged, view));
        let present = hours.last().filter(|judged| !judged.closed).map(|judged| hour_of(judged, view));
        Ok(OutletFactorDto { id: factor.id.clone(), name: name(&factor.name), unit: unit(factor.unit), hour, present })
    };
    Ok(OutletDto {
        id: outlet.id.clone(),
        name: name(&outlet.name),
        enterprise: outlet.enterprise.clone(),
        kind: match outlet.kind {
            OutletKind::Stack => "stack",
            OutletKind::WasteWater => "waste_water",
        },
        factors: outlet.factors.iter().map(factor).collect::<Result<_, StoreError>>()?,
    })
}

fn hour_of(judged: &Judged<HourFigure>, view: &dyn EmissionView) -> OutletHourDto {
    let (figure, zone) = (&judged.figure, &view.plan().zone);
    let limits = || judged.judgements.iter().filter_map(|judgement| judgement.limit.as_ref().map(|limit| (judgement, limit)));
    let leading =
        limits().find(|(judgement, _)| judgement.verdict == parkgate_rules::emission::Verdict::Exceeds).or_else(|| limits().next());
    let text = |number: &parkgate_rules::Number| number.text(DECIMALS);
    OutletHourDto {
        start: zone.write(UtcMillis(figure.period.from.0)),
        end: zone.write(UtcMillis(figure.period.to.0)),
        average: figure.concentration.value.as_ref().map(text),
        converted: figure.converted.as_ref().and_then(|mean| mean.value.as_ref()).map(text),
        limit: leading.map(|(_, limit)| format!("{} {}", limit.value, limit.unit)),
        status: if judged.closed { status_of_hour(figure, &judged.judgements) } else { Status::Open }.name(),
    }
}
