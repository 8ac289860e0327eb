//! `/api/v1/totals/today`: what crossed the park's boundary today, summed over its gates.

use std::sync::Arc;

use axum::Json;
use parkgate_collector::catalogue::Point;
use parkgate_collector::model::decimal::div_half_even;
use parkgate_collector::model::{Kind, Medium, Quality, Unit, UtcMillis};
use serde::Serialize;
use utoipa::ToSchema;

use super::dto::{DisplayDto, NamesDto, decimal, display};
use super::error::Problem;
use super::params::{Nothing, Params};
use super::{App, Asker};
use crate::boards::park::GATE;
use crate::rollup::{Amount, Figures, Level, Total};
use crate::store::RecordView;
use crate::titles;

/// Totals of today at the park's boundary.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TodayDto {
    /// Start of the day in the park's zone.
    #[schema(format = DateTime)]
    pub start: String,
    /// The gateway's clock.
    #[schema(format = DateTime)]
    pub time: String,
    /// One per medium, quantity and unit, in the order of the configuration; empty for a park without gates.
    pub items: Vec<TodayItemDto>,
}

/// The total of one quantity of a medium, summed over counters with role `gate`: never over meters behind them.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TodayItemDto {
    /// Medium.
    #[schema(value_type = String, example = "power")]
    pub medium: Medium,
    /// Quantity in series names.
    #[schema(example = "energy_import")]
    pub quantity: String,
    /// What it is called.
    pub name: NamesDto,
    /// Sum since the start of the day; `null` when no gate has one.
    pub value: Option<String>,
    /// Unit of the value.
    #[schema(value_type = String, example = "kWh")]
    pub unit: Unit,
    /// How pages show it.
    pub display: Option<DisplayDto>,
    /// Gates of this medium and quantity.
    pub gates: usize,
    /// Those that the sum is over; the others have counted nothing today that is known.
    pub counted: usize,
    /// Age of the last value of the gate that was heard longest ago; `null` when one was never heard.
    pub age_ms: Option<i64>,
    /// Worst quality of today's samples; `null` without a sample.
    #[schema(value_type = Option<String>, example = "good")]
    pub quality: Option<Quality>,
    /// Least completeness of a gate so far, in parts per million; `null` where it is not known.
    pub completeness_ppm: Option<u32>,
    /// Some of it is estimated, or a register fell.
    pub doubtful: bool,
}

/// Today's totals at the park's boundary: what its gates counted since midnight in the park's zone.
#[utoipa::path(get, operation_id = "get_totals_today", path = "/api/v1/totals/today", tag = "totals",
    responses((status = 200, body = TodayDto), (status = 503, body = Problem, content_type = "application/problem+json")))]
pub async fn get(App(shared): App, Asker(asker): Asker, _: Params<Nothing>) -> Result<Json<TodayDto>, Problem> {
    let now = shared.clock.now().utc;
    let (catalogue, totals) = (Arc::clone(&shared.catalogue), Arc::clone(&shared.totals));
    let answer = shared.read(move |record| {
        let day = totals.period_of(Level::Day, now);
        let mut sums: Vec<Sum> = Vec::new();
        for point in &catalogue.points {
            let is_gate = point.role.as_deref() == Some(GATE) && point.identity.kind == Kind::Counter;
            if !is_gate || !catalogue.device(&point.device).is_some_and(|device| asker.sees(device, point)) {
                continue;
            }
            let today = totals.totals(point.id, Level::Day, day.start, day.end)?;
            let place = sums.iter().position(|sum| sum.is_of(point)).unwrap_or_else(|| {
                sums.push(Sum::new(point));
                sums.len().saturating_sub(1)
            });
            if let Some(sum) = sums.get_mut(place) {
                sum.add(point, today.first(), record, now);
            }
        }
        let shown = |unit: Unit| catalogue.park.display_units.get(&unit).and_then(|&shown| display(unit, shown));
        let items = sums.into_iter().map(|sum| sum.item(&shown)).collect();
        Ok(TodayDto { start: day.start.to_string(), time: now.to_string(), items })
    });
    Ok(Json(answer.await?))
}

/// A sum under way.
struct Sum {
    /// The first point of it.
    point: Arc<Point>,
    decimals: u8,
    value: Option<Amount>,
    overflow: bool,
    gates: usize,
    counted: usize,
    /// `Some(None)`: one was never heard.
    age_ms: Option<Option<i64>>,
    quality: Option<Quality>,
    completeness_ppm: Option<Option<u32>>,
    doubtful: bool,
}

impl Sum {
    fn new(point: &Arc<Point>) -> Self {
        Self {
            point: Arc::clone(point),
            decimals: 0,
            value: None,
            overflow: false,
            gates: 0,
            counted: 0,
            age_ms: None,
            quality: None,
            completeness_ppm: None,
            doubtful: false,
        }
    }

    /// Whether a point belongs in it: what is called `volume` may be of water or of gas.
    fn is_of(&self, point: &Point) -> bool {
        let of = |point: &Point| (point.medium, point.identity.unit);
        of(&self.point) == of(point) && self.point.quantity == point.quantity
    }

    fn add(&mut self, point: &Point, today: Option<&Total>, record: &dyn RecordView, now: UtcMillis) {
        self.gates += 1;
        self.decimals = self.decimals.max(point.identity.decimals);
        let age_ms = record.latest(point.id).map(|sample| now.since(sample.record_time));
        self.age_ms = Some(match self.age_ms {
            Some(before) => before.zip(age_ms).map(|(a, b)| a.max(b)),
            None => age_ms,
        });
        let Some(total) = today else { return };
        self.quality = self.quality.max(total.worst_quality);
        self.completeness_ppm = Some(match self.completeness_ppm {
            Some(before) => before.zip(total.completeness_ppm).map(|(a, b)| a.min(b)),
            None => total.completeness_ppm,
        });
        let Figures::Counter(counter) = &total.figures else { return };
        self.doubtful |= counter.flags.estimated || counter.flags.tail_estimated || counter.flags.suspect;
        let Some(amount) = counter.amount else { return };
        self.counted += 1;
        match self.value.map_or(Some(amount), |before| sum(before, amount)) {
            Some(value) => self.value = Some(value),
            None => self.overflow = true,
        }
    }

    fn item(self, shown: &dyn Fn(Unit) -> Option<DisplayDto>) -> TodayItemDto {
        let rounded = |amount: Amount| rounded(amount, self.decimals).map(|mantissa| decimal(mantissa, self.decimals));
        let value = if self.overflow { None } else { self.value.and_then(rounded) };
        let name = titles::used(&self.point.quantity);
        TodayItemDto {
            medium: self.point.medium,
            quantity: self.point.quantity.clone(),
            name: NamesDto { zh: name.zh, en: name.en },
            value,
            unit: self.point.identity.unit,
            display: shown(self.point.identity.unit),
            gates: self.gates,
            counted: self.counted,
            age_ms: self.age_ms.flatten(),
            quality: self.quality,
            completeness_ppm: self.completeness_ppm.flatten(),
            doubtful: self.doubtful,
        }
    }
}

/// The exact sum; `None` when it does not fit.
fn sum(a: Amount, b: Amount) -> Option<Amount> {
    let decimals = a.decimals.max(b.decimals);
    let widened = |amount: Amount| amount.mantissa.checked_mul(10i128.checked_pow(u32::from(decimals.checked_sub(amount.decimals)?))?);
    Some(Amount { mantissa: widened(a)?.checked_add(widened(b)?)?, decimals })
}

/// The mantissa with so many decimals, rounded half to even.
fn rounded(amount: Amount, decimals: u8) -> Option<i128> {
    match amount.decimals.checked_sub(decimals) {
        Some(further) => div_half_even(amount.mantissa, 10i128.checked_pow(u32::from(further))?),
        None => amount.mantissa.checked_mul(10i128.checked_pow(u32::from(decimals.checked_sub(amount.decimals)?))?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_exact_and_rounded_once() {
        let amount = |mantissa, decimals| Amount { mantissa, decimals };
        // 1.5 + 0.25 = 1.75
        assert_eq!(sum(amount(15, 1), amount(25, 2)), Some(amount(175, 2)));
        assert_eq!(sum(amount(i128::MAX, 0), amount(1, 0)), None);
        assert_eq!(sum(amount(i128::MAX, 0), amount(1, 1)), None);
        for (given, decimals, mantissa) in
            [(amount(125, 2), 1, 12), (amount(135, 2), 1, 14), (amount(-125, 2), 1, -12), (amount(7, 0), 2, 700)]
        {
            assert_eq!(rounded(given, decimals), Some(mantissa), "{given}");
        }
    }
}
