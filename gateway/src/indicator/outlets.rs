//! Hours of outlets as inputs of the core: what `/api/v1/regulator/emissions` shows of an hour, with its mass.

use parkgate_collector::model::UtcMillis;
use parkgate_rules::emission::hour::{HourClass, HourFigure};
use parkgate_rules::emission::mass::{self, MassHour};
use parkgate_rules::emission::outlet::{FactorUnit, OutletKind};
use parkgate_rules::emission::time::{HOUR_MS, Period, UtcMillis as Time};
use parkgate_rules::indicator::inputs::{EmissionHour, EmissionSeries, OutletKind as CoreKind};
use parkgate_rules::period::Moment;

use super::inputs::{Source, moment};
use crate::emission::EmissionView;
use crate::store::StoreError;

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

/// Puts hours to series of the same outlets and pollutants; those that are not wanted are left out.
pub fn append(all: &mut Vec<EmissionSeries>, more: &[EmissionSeries], wanted: impl Fn(&EmissionSeries) -> bool) {
    for series in more.iter().filter(|series| wanted(series)) {
        let hours = series.hours.iter().cloned();
        match all.iter_mut().find(|one| one.outlet == series.outlet && one.pollutant == series.pollutant) {
            Some(one) => one.hours.extend(hours),
            None => all.push(EmissionSeries { hours: hours.collect(), ..bare(series) }),
        }
    }
}

/// Whether hours before `from`, the start of a quarter, are lacking to fill what is bad behind it.
pub fn lacks(series: &EmissionSeries, from: UtcMillis) -> bool {
    let hour = |hour: &EmissionHour| {
        let Moment::At(start) = hour.start else { return None };
        let start = Time(start.as_millisecond());
        let class = match (hour.running, hour.valid) {
            (false, _) => HourClass::Stopped,
            (true, true) => HourClass::Valid,
            (true, false) => HourClass::Invalid,
        };
        let period = Period { from: start, to: start.plus(HOUR_MS) };
        Some(MassHour { period, class, mass_kg: hour.mass_kg.clone(), out_of_control: false })
    };
    let hours: Vec<MassHour> = series.hours.iter().filter_map(hour).collect();
    let kind = if series.kind == CoreKind::Gas { OutletKind::Stack } else { OutletKind::WasteWater };
    !mass::is_enough(kind, &hours, Time(from.0))
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
        running: MassHour::of(figure, false).class != HourClass::Stopped,
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
