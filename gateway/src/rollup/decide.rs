//! What is to be decided: registers that fell without a plausible wrap (R-DELTA's suspect pairs), and that no exchange and
//! no decision explains. Found by the flag of stored totals, from years down to hours, then in the record.

use parkgate_collector::catalogue::Point;
use parkgate_collector::model::{Kind, UtcMillis};
use parkgate_rules::emission::time::UtcMillis as Time;
use serde::Serialize;
use utoipa::ToSchema;

use super::counter::{SuspectPair, wrapped};
use super::meters::Meters;
use super::rule::PointRule;
use super::scan;
use super::total::{Amount, Figures, Level, TotalsView};
use super::zone::ParkZone;
use crate::store::{RecordView, StoreError};

/// A suspect pair about which nothing was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ToDecide {
    /// Stable id of the point.
    pub point: String,
    /// When the register before was read.
    #[schema(value_type = String, format = DateTime)]
    pub from: Time,
    /// When the lower register was read: a decision names it.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// The register before.
    pub old: String,
    /// The lower register.
    pub new: String,
    /// The point's unit.
    pub unit: String,
    /// What a rollover would have counted, before the multiplier; `null` without a modulus.
    pub wrapped: Option<String>,
}

impl ToDecide {
    fn new(point: &Point, rule: &PointRule, SuspectPair { old, new }: SuspectPair) -> Self {
        let decimals = rule.decimals;
        Self {
            point: point.identity.stable_id.clone(),
            from: Time(old.time.0),
            at: Time(new.time.0),
            old: register_text(old.value, decimals),
            new: register_text(new.value, decimals),
            unit: point.identity.unit.to_string(),
            wrapped: wrapped(rule, old, new).map(|mantissa| Amount { mantissa, decimals }.to_string()),
        }
    }
}

/// A register as text, exact.
pub fn register_text(value: i64, decimals: u8) -> String {
    Amount { mantissa: i128::from(value), decimals }.to_string()
}

/// What is to be decided of one point, in order of time.
///
/// # Errors
/// When totals or the record cannot be read.
pub fn of_point(
    point: &Point,
    zone: &ParkZone,
    totals: &dyn TotalsView,
    record: &dyn RecordView,
    meters: &Meters,
) -> Result<Vec<ToDecide>, StoreError> {
    if point.identity.kind != Kind::Counter {
        return Ok(Vec::new());
    }
    let mut ranges = vec![(UtcMillis(i64::MIN), UtcMillis(i64::MAX))];
    for &level in Level::ALL.iter().rev() {
        let mut shorter: Vec<(UtcMillis, UtcMillis)> = Vec::new();
        for (from, to) in ranges {
            for total in totals.totals(point.id, level, from, to)? {
                let suspect = matches!(&total.figures, Figures::Counter(counter) if counter.flags.suspect);
                match shorter.last_mut() {
                    _ if !suspect => {}
                    Some((_, end)) if *end == total.period.start => *end = total.period.end,
                    _ => shorter.push((total.period.start, total.period.end)),
                }
            }
        }
        ranges = shorter;
    }
    let (rule, declared) = (PointRule::new(point), meters.of(point.id));
    let mut pairs: Vec<SuspectPair> = Vec::new();
    for (from, to) in ranges {
        for slice in zone.by_year(from, to) {
            let found = scan::suspects(record, zone, &rule, &declared, slice)?;
            // A pair over the end of a year is found from both sides.
            pairs
                .extend(found.into_iter().filter(|pair| pairs.last().is_none_or(|last| last.new.time < pair.new.time)).collect::<Vec<_>>());
        }
    }
    Ok(pairs.into_iter().map(|pair| ToDecide::new(point, &rule, pair)).collect())
}
