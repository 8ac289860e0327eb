//! Carbon: CA-01, CA-02, CA-04. Fuel factors by GB/T 32150-2015 (NCV x carbon content x oxidation x 44/12), grid factors as the ministry
//! publishes them, bought heat at the default of the zero-carbon park method unless a row is given.

use super::balance::unit_of;
use super::context::Context;
use super::inputs::Place;
use super::result::Leaf;
use super::term::{Term, label};
use super::{Asked, Outcome, other};
use crate::factor::FactorKind;

/// CA-01: fuels burnt inside the boundary, feedstock taken off, each x its factor. Process emissions are an item of their own.
pub fn ca01(asked: &Asked<'_, '_>) -> Vec<Outcome> {
    let context = &asked.at;
    let term = scope_one(context);
    let process = process(context).value;
    let with_process = term.value.as_ref().zip(process.as_ref()).map(|(fuel, process)| fuel + process);
    let others = vec![
        other("process", "过程排放", "process emissions", "tCO2", 3, process),
        other("with_process", "范围一含过程排放", "scope 1 with process emissions", "tCO2", 3, with_process),
    ];
    vec![Outcome { subject: Default::default(), term, others }]
}

/// CA-02: electricity of the park gate x the grid factor of the region + net bought heat x its factor. PV has no part in it.
pub fn ca02(asked: &Asked<'_, '_>) -> Vec<Outcome> {
    Outcome::park(scope_two(&asked.at))
}

/// CA-04: scope 1 + process emissions + scope 2 by the location method.
pub fn ca04(asked: &Asked<'_, '_>) -> Vec<Outcome> {
    let context = &asked.at;
    let parts = vec![scope_one(context), process(context), scope_two(context)];
    Outcome::park(context.terms.sum(label("园区碳排放总量", "park CO2 emissions", "tCO2"), parts))
}

fn scope_one(context: &Context<'_>) -> Term {
    context.shared("CA-01", || {
        if context.index.sources.is_empty() {
            return Term::missing("meters", "no meter, stock or declared amount of energy is given");
        }
        let balance = context.balance();
        let mut parts = Vec::new();
        for (energy, (amount, unit)) in &balance.fuels {
            if !context.index.factors.knows(FactorKind::Equivalent, energy) {
                continue;
            }
            let burnt = if context.index.at_place(Place::Feedstock, energy).is_empty() {
                amount.clone()
            } else {
                let feedstock =
                    context.at_place(Place::Feedstock, energy, label(format!("原料 {energy}"), format!("feedstock {energy}"), unit));
                context.terms.difference(label(format!("燃烧 {energy}"), format!("{energy} burnt"), unit), amount.clone(), feedstock)
            };
            let name = label(format!("{energy} 排放"), format!("CO2 of {energy}"), "tCO2");
            parts.push(context.co2(name, burnt, FactorKind::FuelCarbon, energy, unit));
        }
        context.terms.sum(label("范围一排放", "scope 1, fuels", "tCO2"), parts)
    })
}

fn scope_two(context: &Context<'_>) -> Term {
    context.shared("CA-02", || {
        let balance = context.balance();
        let region = context.index.inputs.park.region.as_str();
        let power = label("外购电力排放", "CO2 of bought electricity", "tCO2");
        let mut parts = vec![context.co2(power, balance.gate.clone(), FactorKind::Grid, region, "kWh")];
        if let Some(heat) = &balance.heat {
            let name = label("外购热力排放", "CO2 of bought heat", "tCO2");
            parts.push(context.co2(name, heat.clone(), FactorKind::HeatCarbon, "heat", unit_of(context, "heat").unwrap_or("GJ")));
        }
        context.terms.sum(label("范围二排放（位置法）", "scope 2, location method", "tCO2"), parts)
    })
}

/// Declared process emissions of periods inside the span.
fn process(context: &Context<'_>) -> Term {
    let Some(emissions) = &context.index.inputs.process_emissions else {
        return Term::missing("process_emissions", "not known: give the process emissions, or an empty list when there are none");
    };
    let mut longer = 0;
    let mut parts = Vec::new();
    for (number, emission) in emissions.iter().enumerate() {
        let span = emission.period.span(context.index.zone());
        if !context.range.holds(span) {
            longer += usize::from(span.overlap(context.range).length() > 0);
            continue;
        }
        let en = format!("{} of {} {}", emission.process, emission.enterprise, emission.period);
        let leaf = || Leaf::Declared { input: format!("process_emissions[{number}]"), source: emission.source.clone() };
        parts.push(context.terms.given(
            label(format!("过程排放 {}", emission.enterprise), en, "tCO2"),
            emission.co2.clone(),
            context.index.input(&format!("process_emissions[{number}]")),
            leaf,
        ));
    }
    if longer > 0 {
        return Term::missing("process_emissions", "declared for a longer period only: give them for this one");
    }
    context.terms.sum(label("过程排放", "process emissions", "tCO2"), parts)
}
