//! Hours of outlets as inputs of the core: what `/api/v1/regulator/emissions` shows of an hour, with its mass.

use parkgate_collector::model::UtcMillis;
use parkgate_rules::emission::hour::{HourClass, HourFigure};
use parkgate_rules::emission::outlet::{FactorUnit, OutletKind};
use parkgate_rules::indicator::inputs::{EmissionHour, EmissionSeries, OutletKind as CoreKind};
use parkgate_rules::period::Period;

use super::inputs::{Source, moment};
use crate::emission::EmissionView;
use crate::store::StoreError;

/// So far before a period its gaps may be filled from: 2160 valid hours (HJ 75-2017), and some that are not.
const BACK_MS: i64 = 110 * 86_400_000;

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

/// The hours of all outlets over a period and before it, one series per outlet and pollutant that has a mass.
///
/// # Errors
/// When they cannot be read.
pub fn series(view: &dyn EmissionView, source: &Source<'_>, period: Period) -> Result<Vec<EmissionSeries>, StoreError> {
    let Some(bounds) = source.bounds(period) else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for planned in &view.plan().outlets {
        let outlet = &planned.outlet;
        let Some(until) = view.until(&outlet.id)? else { continue };
        for factor in outlet.factors.iter().filter(|factor| factor.unit != FactorUnit::Ph) {
            let figures = view.hours(&outlet.id, &factor.id, bounds.start.plus(-BACK_MS), bounds.end.min(until))?;
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
