//! Makes the summary of an outlet from what [`EmissionView`] knows. Mass that was not measured is filled in here, by the
//! rule that indicator PO-01 goes by too, since it looks back further than any row.

use std::collections::BTreeMap;

use parkgate_collector::catalogue::Catalogue;
use parkgate_collector::model::UtcMillis as Instant;
use parkgate_rules::emission::mass::{self, Basis, FilledHour, MassHour};
use parkgate_rules::emission::outlet::{Factor, FactorUnit, Outlet};
use parkgate_rules::emission::{Averaging, ComplianceEvent, HourClass, HourFigure, Period, UtcMillis};

use super::fill::{Builder, Corrected, Frame, Report, concerns};
use super::summary::Named;
use crate::access::Identity;
use crate::emission::seen::is_told_of_abatement;
use crate::emission::{EmissionView, KeptCorrection};
use crate::store::StoreError;

/// Events read at once.
const EVENTS_AT_ONCE: usize = 1000;
/// Hours before a quarter are read so many at once.
const READ_AT_ONCE_MS: i64 = 92 * 86_400_000;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Id of the outlet.
    pub outlet: String,
    /// Length of a row.
    pub averaging: Averaging,
    /// From the start of the first row to the end of the last, see [`super::ask::range`].
    pub range: Period,
    /// When it is made.
    pub made_at: UtcMillis,
    /// Program and version.
    pub software: String,
}

/// The summary as `identity` may see it, who sees the outlet; `None` when there is no such outlet. Blocks.
///
/// # Errors
/// When figures or entries cannot be read.
pub fn make(view: &dyn EmissionView, catalogue: &Catalogue, asked: &Asked, identity: &Identity) -> Result<Option<Report>, StoreError> {
    let plan = view.plan();
    let Some(planned) = plan.outlet(&asked.outlet) else { return Ok(None) };
    let (outlet, park) = (&planned.outlet, &catalogue.park);
    let enterprise = catalogue.enterprises.iter().find(|enterprise| enterprise.id == outlet.enterprise);
    let until = view.until(&outlet.id)?.map_or(asked.made_at, |until| UtcMillis(until.0));
    let frame = Frame {
        park: Named { id: park.id.clone(), zh: park.name.zh.clone(), en: park.name.en.clone() },
        enterprise: Named {
            id: outlet.enterprise.clone(),
            zh: enterprise.map(|enterprise| enterprise.name.zh.clone()).unwrap_or_default(),
            en: enterprise.map(|enterprise| enterprise.name.en.clone()).unwrap_or_default(),
        },
        averaging: asked.averaging,
        range: asked.range,
        until,
        zone: plan.zone.clone(),
        made_at: asked.made_at,
        software: asked.software.clone(),
        all_abatement: is_told_of_abatement(identity, &outlet.enterprise),
    };
    let (limits, marks) = (view.limits()?, view.marks()?);
    let corrections: Vec<Corrected> = view.corrections(&outlet.id)?.iter().flat_map(corrected).collect();
    let mut builder = Builder::new(frame, outlet, &limits, &marks, &corrections);
    let (from, to) = (Instant(asked.range.from.0), Instant(asked.range.to.0));
    for factor in &outlet.factors {
        let mut has_bad = false;
        // A year at a time: figures are large.
        for (from, to) in plan.zone.by_year(from, to) {
            for judged in view.hours(&outlet.id, &factor.id, from, to)? {
                has_bad |= is_bad(&judged.figure);
                builder.hour(&judged.figure);
            }
        }
        if asked.averaging != Averaging::Hour {
            for judged in view.periods(&outlet.id, &factor.id, asked.averaging, from, to)? {
                builder.period(&judged.figure);
            }
        }
        if has_bad && is_filled(outlet, factor) {
            for stretch in filled(view, outlet, factor, &asked.range, until)? {
                for period in stretch.period.hours() {
                    builder.filled(&factor.id, &FilledHour { period, ..stretch.clone() });
                }
            }
        }
    }
    let events = events(view, outlet, identity)?;
    Ok(Some(builder.finish(&events)))
}

/// What has a mass.
fn is_filled(outlet: &Outlet, factor: &Factor) -> bool {
    outlet.flow.is_some() && factor.unit != FactorUnit::Ph
}

/// Ran, and has no mass.
fn is_bad(figure: &HourFigure) -> bool {
    figure.mass_kg.is_none() && figure.class != HourClass::Stopped
}

/// Mass filled in for hours of the range, quarter by quarter: the valid rate of its quarter says by which rule.
fn filled(
    view: &dyn EmissionView,
    outlet: &Outlet,
    factor: &Factor,
    range: &Period,
    until: UtcMillis,
) -> Result<Vec<FilledHour>, StoreError> {
    let zone = view.plan().zone.time_zone();
    let basis = Basis { kind: outlet.kind, zone, quarter_valid_rates: &BTreeMap::new(), good_calibrations: &[] };
    let mut all = Vec::new();
    let mut at = range.from;
    while at < range.to {
        let Some(quarter) = Period::quarter(at, zone).filter(|quarter| at < quarter.to) else { break };
        let hours = known(view, outlet, factor, &quarter, until)?;
        all.extend(mass::fill(&basis, &hours, &Period { from: at, to: range.to.min(quarter.to) }));
        at = quarter.to;
    }
    Ok(all)
}

/// The closed hours of a quarter, and as many before it as the rule may look back over.
fn known(
    view: &dyn EmissionView,
    outlet: &Outlet,
    factor: &Factor,
    quarter: &Period,
    until: UtcMillis,
) -> Result<Vec<MassHour>, StoreError> {
    let read = |from: UtcMillis, to: UtcMillis| -> Result<Vec<MassHour>, StoreError> {
        let hours = view.hours(&outlet.id, &factor.id, Instant(from.0), Instant(to.0))?;
        let closed = hours.iter().map(|judged| &judged.figure).filter(|figure| figure.period.to <= until);
        Ok(closed.map(|figure| MassHour::of(figure, false)).collect())
    };
    let mut hours = read(quarter.from, quarter.to.min(until))?;
    let first = view.span(&outlet.id)?.map_or(quarter.from, |(first, _)| UtcMillis(first.0)).max(mass::oldest(quarter.from));
    let mut from = quarter.from;
    while first < from && !mass::is_enough(outlet.kind, &hours, quarter.from) {
        let to = from;
        from = to.plus(-READ_AT_ONCE_MS).max(first);
        hours.extend(read(from, to)?);
    }
    Ok(hours)
}

fn corrected(kept: &KeptCorrection) -> impl Iterator<Item = Corrected> + '_ {
    let correction = &kept.correction;
    correction.changes.iter().map(|change| Corrected {
        outlet: correction.outlet.clone(),
        factor: correction.factor.clone(),
        averaging: correction.averaging,
        period: Period { from: correction.from, to: correction.to },
        figure: change.figure.clone(),
        old: change.old.clone(),
        new: change.new.clone(),
        cause: correction.causes.join(", "),
        at: kept.entered_at,
    })
}

/// The last version of each event of the outlet, and of abatement of its enterprise, as somebody may see it.
fn events(view: &dyn EmissionView, outlet: &Outlet, identity: &Identity) -> Result<Vec<(ComplianceEvent, UtcMillis)>, StoreError> {
    let mut last: BTreeMap<String, (ComplianceEvent, UtcMillis)> = BTreeMap::new();
    let mut after = 0;
    loop {
        let some = view.events(after, EVENTS_AT_ONCE)?;
        let Some(end) = some.last().map(|kept| kept.entry) else { break };
        after = end;
        for kept in some.into_iter().filter(|kept| concerns(outlet, &kept.event)) {
            if let Some(event) = view.plan().seen(identity, kept.event) {
                last.insert(event.id.clone(), (event, kept.entered_at));
            }
        }
    }
    Ok(last.into_values().collect())
}

#[cfg(test)]
pub(crate) mod tests;
