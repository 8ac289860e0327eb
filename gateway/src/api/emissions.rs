//! `/api/v1/emissions`: figures of outlets per hour, day or month, each with what limits say of it.

use axum::Json;
use parkgate_collector::model::UtcMillis;
use parkgate_rules::Number;
use parkgate_rules::emission::period::PeriodClass;
use parkgate_rules::emission::{Averaging, HourFigure, Judgement, Period, PeriodFigure, Verdict};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::dto::Page;
use super::error::Problem;
use super::limits::applies_to;
use super::params::{Params, time};
use super::{App, Asker};
use crate::emission::{EmissionView, Judged};
use crate::rollup::ParkZone;
use crate::store::StoreError;

/// Most rows in one answer.
const ROWS_MAX: i64 = 10_000;

/// Which figures.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EmissionQuery {
    /// Id of the outlet.
    outlet: String,
    /// Only this factor; all of the outlet's unless given.
    factor: Option<String>,
    /// `hour`, `day` or `month`; `hour` unless given.
    #[param(value_type = Option<String>)]
    period: Option<Averaging>,
    /// Periods that start at or after: a date in the park's zone, RFC 3339, milliseconds since 1970, or back from now
    /// (`-24h`). A day of hours, a month of days, a year of months ago unless given.
    from: Option<String>,
    /// Periods that start before, in the same forms. Now unless given.
    to: Option<String>,
}

/// Figures of a period of a factor.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EmissionDto {
    /// The outlet.
    pub outlet: String,
    /// The factor.
    pub factor: String,
    /// `hour`, `day` or `month`.
    pub period: &'static str,
    /// Start, in the park's zone.
    #[schema(format = DateTime)]
    pub start: String,
    /// End, outside.
    #[schema(format = DateTime)]
    pub end: String,
    /// Start in milliseconds since 1970.
    pub start_ms: i64,
    /// Whether it is over and its grace too.
    pub closed: bool,
    /// 1, and one more for each correction.
    pub version: u32,
    /// `valid`, `invalid`, `missing`, `stopped`, or `open` while it is not over.
    pub class: &'static str,
    /// `exceeds`, `complies`, `not_counted`, or `not_judged` where no limit was entered. Of several limits: exceeds before not counted
    /// before complies.
    pub status: &'static str,
    /// Concentration, of gas dry and in standard state, not converted; mg/m3, mg/L or pH.
    pub concentration: Option<String>,
    /// The converted value, where one is.
    pub converted: Option<String>,
    /// Volume in m3.
    pub volume_m3: Option<String>,
    /// Mass in kg.
    pub mass_kg: Option<String>,
    /// Valid minutes of an hour, valid hours of a day or month.
    pub valid: u32,
    /// What each limit says; one without limit where there is none.
    pub judgements: Vec<JudgementDto>,
    /// All that is known: minutes or hours by class, reasons, letters, means beside it, exact.
    #[schema(value_type = Object)]
    pub figure: serde_json::Value,
}

/// What one limit says of a figure.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct JudgementDto {
    /// `exceeds`, `complies`, `not_counted` or `not_judged`.
    pub verdict: &'static str,
    /// Why it is not counted.
    #[schema(value_type = Option<String>)]
    pub because: Option<serde_json::Value>,
    /// Id of the limit.
    pub limit: Option<String>,
    /// Its value.
    pub limit_value: Option<String>,
    /// Unit of both values.
    pub unit: Option<String>,
    /// What it looks at: `converted`, `as_is` or `mass_rate`.
    pub applies_to: Option<&'static str>,
    /// Document and clause.
    pub clause: Option<String>,
    /// The figure that it looks at.
    pub value: Option<String>,
    /// (value - limit) / limit.
    pub times_over: Option<String>,
    /// Not counted, and yet above the limit: the figure without regard to marks and valid minutes.
    pub above_uncounted: Option<String>,
}

/// Decimals that summaries have; [`EmissionDto::figure`] has all of them.
const DECIMALS: u32 = 6;

fn text(number: Option<&Number>) -> Option<String> {
    number.map(|number| number.text(DECIMALS))
}

/// The word for a verdict.
pub const fn verdict(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Complies => "complies",
        Verdict::Exceeds => "exceeds",
        Verdict::NotJudged => "not_judged",
        Verdict::NotCounted(_) => "not_counted",
    }
}

/// The word for all verdicts on one figure.
fn status(judgements: &[Judgement]) -> &'static str {
    let words: Vec<&str> = judgements.iter().map(|judgement| verdict(&judgement.verdict)).collect();
    let first = ["exceeds", "not_counted", "complies"].into_iter().find(|word| words.contains(word));
    first.unwrap_or("not_judged")
}

impl JudgementDto {
    fn new(judgement: &Judgement) -> Self {
        let limit = judgement.limit.as_ref();
        Self {
            verdict: verdict(&judgement.verdict),
            because: match &judgement.verdict {
                Verdict::NotCounted(because) => serde_json::to_value(because).ok(),
                _ => None,
            },
            limit: limit.map(|limit| limit.id.clone()),
            limit_value: limit.map(|limit| limit.value.to_string()),
            unit: limit.map(|limit| limit.unit.clone()),
            applies_to: limit.map(|limit| applies_to(limit.applies_to)),
            clause: limit.map(|limit| limit.clause.clone()),
            value: text(judgement.value.as_ref()),
            times_over: text(judgement.times_over.as_ref()),
            above_uncounted: text(judgement.above_uncounted.as_ref()),
        }
    }
}

/// What hours and longer periods have in common, to be shown.
struct Parts<'a> {
    names: (&'a str, &'a str, Averaging),
    period: Period,
    class: &'static str,
    concentration: Option<&'a Number>,
    converted: Option<&'a Number>,
    volume: Option<&'a Number>,
    mass: Option<&'a Number>,
    valid: u32,
}

impl EmissionDto {
    fn of_hour(judged: &Judged<HourFigure>, zone: &ParkZone) -> Self {
        let figure = &judged.figure;
        let parts = Parts {
            names: (&figure.outlet, &figure.factor, Averaging::Hour),
            period: figure.period,
            class: if judged.closed { figure.class.name() } else { "open" },
            concentration: figure.concentration.value.as_ref(),
            converted: figure.converted.as_ref().and_then(|converted| converted.value.as_ref()),
            volume: figure.volume_m3.as_ref(),
            mass: figure.mass_kg.as_ref(),
            valid: figure.minutes.valid,
        };
        Self::new(&parts, judged, zone)
    }

    fn of_period(judged: &Judged<PeriodFigure>, zone: &ParkZone) -> Self {
        let figure = &judged.figure;
        let parts = Parts {
            names: (&figure.outlet, &figure.factor, figure.averaging),
            period: figure.period,
            class: match figure.class {
                PeriodClass::Valid => "valid",
                PeriodClass::Invalid => "invalid",
                PeriodClass::Stopped => "stopped",
                PeriodClass::Open => "open",
            },
            concentration: figure.concentration.as_ref(),
            converted: figure.converted.as_ref(),
            volume: figure.volume_m3.as_ref(),
            mass: figure.mass_kg.as_ref(),
            valid: figure.hours.valid,
        };
        Self::new(&parts, judged, zone)
    }

    fn new<F: Serialize>(parts: &Parts<'_>, judged: &Judged<F>, zone: &ParkZone) -> Self {
        let (outlet, factor, averaging) = parts.names;
        let shown = |time: parkgate_rules::emission::UtcMillis| zone.write(UtcMillis(time.0));
        Self {
            outlet: outlet.to_owned(),
            factor: factor.to_owned(),
            period: averaging.name(),
            start: shown(parts.period.from),
            end: shown(parts.period.to),
            start_ms: parts.period.from.0,
            closed: judged.closed,
            version: judged.version,
            class: parts.class,
            status: status(&judged.judgements),
            concentration: text(parts.concentration),
            converted: text(parts.converted),
            volume_m3: text(parts.volume),
            mass_kg: text(parts.mass),
            valid: parts.valid,
            judgements: judged.judgements.iter().map(JudgementDto::new).collect(),
            figure: serde_json::to_value(&judged.figure).unwrap_or_default(),
        }
    }
}

/// Figures of an outlet whose period starts in `[from, to)`, by factor and then oldest first. The open period is there with what it
/// has so far.
#[utoipa::path(get, operation_id = "get_emissions", path = "/api/v1/emissions", tag = "emissions", params(EmissionQuery),
    responses((status = 200, body = Page<EmissionDto>), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn list(
    App(shared): App,
    Asker(identity): Asker,
    Params(query): Params<EmissionQuery>,
) -> Result<Json<Page<EmissionDto>>, Problem> {
    let emissions = std::sync::Arc::clone(&shared.emissions);
    let plan = emissions.plan();
    let seen: Vec<&str> =
        plan.outlets.iter().map(|planned| planned.outlet.id.as_str()).filter(|id| plan.sees_outlet(&identity, id)).collect();
    let Some(planned) = plan.outlet(&query.outlet).filter(|_| seen.contains(&query.outlet.as_str())) else {
        return Err(Problem::not_found("outlet", &query.outlet, super::error::nearest(&query.outlet, seen.into_iter())));
    };
    let factors: Vec<String> = planned.outlet.factors.iter().map(|factor| factor.id.clone()).collect();
    let factors = match query.factor {
        None => factors,
        Some(factor) if factors.contains(&factor) => vec![factor],
        Some(factor) => {
            let help = format!("factors of {} are: {}", query.outlet, factors.join(", "));
            return Err(Problem::bad_query(format!("there is no factor `{factor}`"), help));
        }
    };
    let averaging = query.period.unwrap_or(Averaging::Hour);
    let (default_from, shortest_ms) = match averaging {
        Averaging::Hour => ("-24h", 3_600_000),
        Averaging::Day => ("-31d", 82_800_000),
        Averaging::Month => ("-366d", 28 * 86_400_000),
    };
    let (now, zone) = (shared.clock.now().utc, plan.zone.clone());
    let read = |name: &str, text: &str| zone.read(text).map_or_else(|| time(name, text, now), Ok);
    let from = read("from", query.from.as_deref().unwrap_or(default_from))?;
    let to = query.to.as_deref().map_or(Ok(now.plus(1)), |text| read("to", text))?;
    if from > to {
        return Err(Problem::bad_query(format!("`from` ({from}) is after `to` ({to})"), "swap them, or give both"));
    }
    let rows = to.since(from).div_euclid(shortest_ms).saturating_mul(i64::try_from(factors.len()).unwrap_or(i64::MAX));
    if rows > ROWS_MAX {
        return Err(Problem::bad_query(format!("more than {ROWS_MAX} rows"), "choose a longer period, one factor, or a shorter range"));
    }
    let (outlet, view) = (query.outlet, std::sync::Arc::clone(&shared.emissions));
    let items = shared.read(move |_| rows_of(&*view, &outlet, &factors, averaging, (from, to))).await?;
    Ok(Json(Page { items, next: None }))
}

fn rows_of(
    view: &dyn EmissionView,
    outlet: &str,
    factors: &[String],
    averaging: Averaging,
    (from, to): (UtcMillis, UtcMillis),
) -> Result<Vec<EmissionDto>, StoreError> {
    let zone = &view.plan().zone;
    let mut rows = Vec::new();
    for factor in factors {
        if averaging == Averaging::Hour {
            rows.extend(view.hours(outlet, factor, from, to)?.iter().map(|hour| EmissionDto::of_hour(hour, zone)));
        } else {
            rows.extend(view.periods(outlet, factor, averaging, from, to)?.iter().map(|period| EmissionDto::of_period(period, zone)));
        }
    }
    Ok(rows)
}
