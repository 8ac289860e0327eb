//! Hours of outlets as inputs of the core: what `/api/v1/regulator/emissions` shows of an hour, with its mass.

use parkgate_collector::model::UtcMillis;
use parkgate_rules::emission::hour::{HourClass, HourFigure};
use parkgate_rules::emission::outlet::{FactorUnit, OutletKind};
use parkgate_rules::indicator::inputs::{EmissionHour, EmissionSeries, OutletKind as CoreKind};
use parkgate_rules::period::Moment;

use super::inputs::{Source, moment};
use crate::emission::EmissionView;
use crate::store::StoreError;

/// So far before a period its gaps may be filled from: 2160 valid hours (HJ 75-2017), and some that are not.
pub const BACK_MS: i64 = 110 * 86_400_000;

/// Names of pollutants in ledgers and indicators, by the ids that factors mostly have.
const POLLUTANTS: &[(&str, &str)] = &[
    ("so2", "SO2"),
    ("nox", "NOx"),
    ("voc", "VOCs"),
    ("vocs", "VOCs"),
    ("nmhc", "VOCs"),
    ("cod", "COD"),
    ("nh3n", "NH3N"),
    ("nh3_n", "NH3N"),
];

/// The hours of all outlets that start in `[from, to)`, one series per outlet and pollutant that has a mass.
///
/// # Errors
/// When they cannot be read.
pub fn series(view: &dyn EmissionView, source: &Source<'_>, from: UtcMillis, to: UtcMillis) -> Result<Vec<EmissionSeries>, StoreError> {
    let mut all = Vec::new();
    for planned in &view.plan().outlets {
        let outlet = &planned.outlet;
        let Some(until) = view.until(&outlet.id)? else { continue };
        for factor in outlet.factors.iter().filter(|factor| factor.unit != FactorUnit::Ph) {
            let figures = view.hours(&outlet.id, &factor.id, from, to.min(until))?;
            let is_gas = outlet.kind == OutletKind::Stack;
            all.push(EmissionSeries {
                outlet: outlet.id.clone(),
                kind: if is_gas { CoreKind::Gas } else { CoreKind::Water },
                enterprise: source.catalogue.enterprises.iter().any(|one| one.id == outlet.enterprise).then(|| outlet.enterprise.clone()),
                pollutant: pollutant(&factor.id),
                hours: figures.iter().map(|judged| hour(&judged.figure, is_gas)).collect(),
                quarter_valid_rates: Default::default(),
                out_of_control: Vec::new(),
            });
        }
    }
    Ok(all)
}

/// Puts what comes behind series of the same outlets and pollutants; hours before `from` are left out.
pub fn append(all: &mut Vec<EmissionSeries>, next: &[EmissionSeries], from: UtcMillis) {
    let counts = |hour: &&EmissionHour| matches!(hour.start, Moment::At(start) if start.as_millisecond() >= from.0);
    for series in next {
        let hours = series.hours.iter().filter(counts).cloned();
        match all.iter_mut().find(|one| one.outlet == series.outlet && one.pollutant == series.pollutant) {
            Some(one) => one.hours.extend(hours),
            None => all.push(EmissionSeries { hours: hours.collect(), ..bare(series) }),
        }
    }
}

/// A series without its hours.
fn bare(series: &EmissionSeries) -> EmissionSeries {
    EmissionSeries {
        outlet: series.outlet.clone(),
        kind: series.kind,
        enterprise: series.enterprise.clone(),
        pollutant: series.pollutant.clone(),
        hours: Vec::new(),
        quarter_valid_rates: series.quarter_valid_rates.clone(),
        out_of_control: series.out_of_control.clone(),
    }
}

fn pollutant(factor: &str) -> String {
    let known = POLLUTANTS.iter().find(|(id, _)| id.eq_ignore_ascii_case(factor));
    known.map_or_else(|| factor.to_owned(), |(_, name)| (*name).to_owned())
}

/// An hour counts for its mass when concentration and flow are valid, whether or not the converted value is.
fn hour(figure: &HourFigure, is_gas: bool) -> EmissionHour {
    EmissionHour {
        start: moment(UtcMillis(figure.period.from.0)),
        concentration: figure.concentration.value.clone(),
        flow: if is_gas { figure.flow.value.clone() } else { figure.volume_m3.clone() },
        mass_kg: figure.mass_kg.clone(),
        valid: figure.mass_kg.is_some(),
        running: figure.class != HourClass::Stopped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pollutants_are_called_as_in_the_ledgers() {
        let names: Vec<String> = ["so2", "NOX", "cod", "nh3n", "dust"].into_iter().map(pollutant).collect();
        assert_eq!(names, ["SO2", "NOx", "COD", "NH3N", "dust"]);
    }
}
