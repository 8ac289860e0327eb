//! What is to be decided: registers that fell without a plausible wrap (R-DELTA's suspect pairs), and that no exchange and
//! no decision explains. Found by the flag of stored totals, from years down to hours, then in the record.

use parkgate_collector::catalogue::Point;
use parkgate_collector::model::{Kind, UtcMillis};
use parkgate_rules::emission::time::UtcMillis as Time;
use serde::Serialize;
use utoipa::ToSchema;

use super::counter::{Declared, SuspectPair};
use super::meters::{MeterEvent, Meters};
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
    /// A decision about another pair that ends at this instant: the record is other than it was then.
    pub note: Option<String>,
}

/// What is to be decided of one point.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Suspect pairs, in order of time; of one stretch of hours no more than [`SUSPECTS_MAX`].
    ///
    /// [`SUSPECTS_MAX`]: super::counter::SUSPECTS_MAX
    pub pairs: Vec<ToDecide>,
    /// There are more, which come up when these are decided.
    pub more: bool,
}

impl ToDecide {
    fn new(point: &Point, (rule, declared): (&PointRule, &Declared), pair: SuspectPair, held: Option<&MeterEvent>) -> Self {
        let SuspectPair { old, new } = pair;
        let decimals = rule.decimals;
        let other = |held: &MeterEvent| {
            let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "unknown".into());
            let from = held.from.map(|from| format!(" since {from}")).unwrap_or_default();
            format!(
                "{} says {} of another pair, {} to {}{from}, and does not hold for this one",
                held.id,
                held.kind.name(),
                known(&held.old_final),
                known(&held.new_initial)
            )
        };
        Self {
            point: point.identity.stable_id.clone(),
            from: Time(old.time.0),
            at: Time(new.time.0),
            old: register_text(old.value, decimals),
            new: register_text(new.value, decimals),
            unit: point.identity.unit.to_string(),
            wrapped: declared.wrapped(rule, old, new).map(|(mantissa, _)| Amount { mantissa, decimals }.to_string()),
            note: held.map(other),
        }
    }
}

/// A register as text, exact.
pub fn register_text(value: i64, decimals: u8) -> String {
    Amount { mantissa: i128::from(value), decimals }.to_string()
}

/// What is to be decided of one point.
///
/// # Errors
/// When totals or the record cannot be read.
pub fn of_point(
    point: &Point,
    zone: &ParkZone,
    totals: &dyn TotalsView,
    record: &dyn RecordView,
    meters: &Meters,
) -> Result<Due, StoreError> {
    if point.identity.kind != Kind::Counter {
        return Ok(Due::default());
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
    let (mut pairs, mut more): (Vec<SuspectPair>, bool) = (Vec::new(), false);
    for (from, to) in ranges {
        for slice in zone.by_year(from, to) {
            let found = scan::suspects(record, zone, &rule, &declared, slice)?;
            more |= found.more;
            // A pair over the end of a year is found from both sides.
            let last = pairs.last().map(|last| last.new.time);
            pairs.extend(found.pairs.into_iter().filter(|pair| last.is_none_or(|last| last < pair.new.time)));
        }
    }
    let held = meters.decided(&point.identity.stable_id, pairs.iter().map(|pair| pair.new.time));
    let told = |pair: SuspectPair| ToDecide::new(point, (&rule, &declared), pair, held.get(&pair.new.time));
    Ok(Due { pairs: pairs.into_iter().map(told).collect(), more })
}
