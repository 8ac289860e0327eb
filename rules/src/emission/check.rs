//! What can be wrong with the configuration of an outlet.

use std::collections::BTreeSet;

use super::outlet::{Basis, FactorUnit, Flow, Outlet, OutletKind, Reference, Source, State};
use crate::Number;

impl Outlet {
    /// What is wrong with it, each with the place and what to do; empty when nothing is.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut wrong = |place: &str, what: &str| problems.push(format!("outlet `{}`: {place}: {what}", self.id));
        let mut seen = BTreeSet::new();
        for factor in &self.factors {
            let place = format!("factor `{}`", factor.id);
            if !seen.insert(&factor.id) {
                wrong(&place, "is there twice; give each factor an id of its own");
            }
            let is_point = matches!(factor.source, Source::Point(_));
            match (self.kind, factor.unit) {
                (OutletKind::Stack, FactorUnit::MilligramPerLitre | FactorUnit::Ph) => wrong(&place, "a stack has mg/m3 or ppm"),
                (OutletKind::WasteWater, FactorUnit::MilligramPerCubicMetre | FactorUnit::Ppm) => {
                    wrong(&place, "waste water has mg/L or pH; set `unit`");
                }
                _ => {}
            }
            if self.kind == OutletKind::WasteWater && (!is_point || factor.reference.is_some()) {
                wrong(&place, "waste water has one point for each factor and no reference");
            }
            if factor.unit == FactorUnit::Ppm && is_point && !factor.molar_mass.as_ref().is_some_and(Number::is_positive) {
                wrong(&place, "ppm needs `molar_mass` above 0, such as 64 for SO2");
            }
            match &factor.reference {
                Some(Reference::O2(o2)) if o2.is_negative() || *o2 >= Number::from(21) => {
                    wrong(&place, "reference O2 is from 0 to below 21 %")
                }
                Some(Reference::Alpha(alpha)) if *alpha < Number::one() => wrong(&place, "a reference excess-air factor is 1 or more"),
                _ => {}
            }
            if factor.reference.is_some() && self.o2.is_none() {
                wrong(&place, "a reference needs `o2` of the outlet");
            }
            if factor.basis == Basis::Wet && self.humidity.is_none() {
                wrong(&place, "a wet measurement needs `humidity` of the outlet");
            }
            if factor.state == State::Actual && factor.unit != FactorUnit::Ppm && !self.knows_its_state() {
                wrong(&place, "the actual state needs `temperature`, `pressure` and `barometric_pressure` of the outlet");
            }
        }
        if self.o2.as_ref().is_some_and(|o2| o2.basis == Basis::Wet) && self.humidity.is_none() {
            wrong("o2", "a wet measurement needs `humidity`");
        }
        let auxiliaries = [
            ("temperature", &self.temperature),
            ("pressure", &self.pressure),
            ("barometric_pressure", &self.barometric_pressure),
            ("humidity", &self.humidity),
        ];
        for (place, auxiliary) in auxiliaries {
            if auxiliary.as_ref().is_some_and(|auxiliary| auxiliary.point.is_some() == auxiliary.value.is_some()) {
                wrong(place, "needs either `point` or `value`");
            }
        }
        let of_water = matches!(self.flow, Some(Flow::Water { .. } | Flow::Totaliser { .. }));
        if self.flow.is_some() && of_water != (self.kind == OutletKind::WasteWater) {
            wrong("flow", "a stack has velocity, actual or standard, waste water has water or totaliser");
        }
        let is_wet = matches!(self.flow, Some(Flow::Velocity { .. } | Flow::Actual(_)));
        if is_wet && !(self.knows_its_state() && self.humidity.is_some()) {
            wrong("flow", "needs `temperature`, `pressure`, `barometric_pressure` and `humidity` to become dry and standard");
        }
        if self.rules.o2_bound > Number::from(21) || !self.rules.o2_bound.is_positive() {
            wrong("rules", "`o2_bound` is above 0 and at most 21 %");
        }
        if !(1..=60).contains(&self.rules.valid_minutes) || !(1..=100).contains(&self.rules.minute_percent) {
            wrong("rules", "`valid_minutes` is 1 to 60, `minute_percent` 1 to 100");
        }
        if !self.rules.molar_mass_no.is_positive() || !self.rules.molar_mass_no2.is_positive() {
            wrong("rules", "molar masses are above 0");
        }
        problems
    }

    fn knows_its_state(&self) -> bool {
        self.temperature.is_some() && self.pressure.is_some() && self.barometric_pressure.is_some()
    }
}
