//! What else can be wrong with inputs: names that nothing has, ends before starts, amounts that cannot be.

use std::collections::BTreeSet;

use super::index::{Index, Problem, problem};
use super::inputs::{CertificateKind, Place};
use crate::Number;
use crate::period::{Moment, PeriodKind};

/// Checks what is not sorted into the index.
pub fn rest(index: &Index<'_>, problems: &mut Vec<Problem>) {
    let inputs = index.inputs;
    for (number, stock) in inputs.stocks.iter().enumerate() {
        for (name, value) in [("opening", &stock.opening), ("purchases", &stock.purchases), ("closing", &stock.closing)] {
            not_negative(value, format!("stocks[{number}].{name}"), problems);
        }
    }
    for (number, amount) in inputs.amounts.iter().enumerate() {
        not_negative(&amount.amount, format!("amounts[{number}].amount"), problems);
    }
    certificates(index, problems);
    for (number, emission) in inputs.process_emissions.iter().flatten().enumerate() {
        index.named(Some(&emission.enterprise), &format!("process_emissions[{number}].enterprise"), problems);
        not_negative(&emission.co2, format!("process_emissions[{number}].co2_t"), problems);
    }
    if let Some(quota) = &inputs.quota {
        for (number, allowance) in quota.allowances.iter().enumerate() {
            if allowance.period.kind() != PeriodKind::Year {
                problems.push(problem(format!("quota.allowances[{number}].period"), "an allowance is for a year, 2025".to_owned()));
            }
        }
    }
    emissions(index, problems);
    charging(index, problems);
    for (number, count) in inputs.values.iter().enumerate() {
        not_negative(&count.got, format!("values[{number}].got"), problems);
        if count.got > count.due {
            problems.push(problem(format!("values[{number}].got"), format!("{} came, only {} were due", count.got, count.due)));
        }
    }
}

fn certificates(index: &Index<'_>, problems: &mut Vec<Problem>) {
    for (number, certificate) in index.inputs.certificates.iter().flatten().enumerate() {
        let path = format!("certificates[{number}]");
        index.named(certificate.holder.as_deref(), &format!("{path}.holder"), problems);
        not_negative(&certificate.certificates, format!("{path}.certificates"), problems);
        let meter =
            certificate.pv_meter.as_deref().and_then(|meter| index.by_meter.get(meter)).and_then(|source| index.sources.get(*source));
        match certificate.kind {
            CertificateKind::OwnPv if meter.is_none_or(|meter| meter.place != Place::Pv) => {
                problems.push(problem(
                    format!("{path}.pv_meter"),
                    "certificates of own PV name the meter of that plant, at place `pv`".to_owned(),
                ));
            }
            CertificateKind::Bought if certificate.pv_meter.is_some() => {
                problems.push(problem(format!("{path}.pv_meter"), "bought certificates belong to no PV meter of the park".to_owned()));
            }
            _ => {}
        }
    }
}

fn emissions(index: &Index<'_>, problems: &mut Vec<Problem>) {
    let mut series = BTreeSet::new();
    for (number, emission) in index.inputs.emissions.iter().enumerate() {
        let path = format!("emissions[{number}]");
        index.named(emission.enterprise.as_deref(), &format!("{path}.enterprise"), problems);
        if !series.insert((&emission.outlet, &emission.pollutant)) {
            problems.push(problem(path.clone(), format!("{} of {} is there twice", emission.pollutant, emission.outlet)));
        }
        let mut starts = BTreeSet::new();
        for (hour, row) in emission.hours.iter().enumerate() {
            let path = format!("{path}.hours[{hour}]");
            for (name, value) in [("concentration", &row.concentration), ("flow", &row.flow), ("mass_kg", &row.mass_kg)] {
                if let Some(value) = value {
                    not_negative(value, format!("{path}.{name}"), problems);
                }
            }
            let start = index.at(&row.start);
            if start.rem_euclid(3_600_000) != 0 {
                problems.push(problem(format!("{path}.start"), format!("{} is no full hour", row.start)));
            }
            if !starts.insert(start) {
                problems.push(problem(format!("{path}.start"), format!("{} is there twice", row.start)));
            }
        }
        for (stretch, out) in emission.out_of_control.iter().enumerate() {
            in_order(index, &out.from, &out.to, &format!("{path}.out_of_control[{stretch}].to"), problems);
        }
        for quarter in emission.quarter_valid_rates.keys() {
            if quarter.kind() != PeriodKind::Month || quarter.first_day().month() % 3 != 1 {
                problems.push(problem(
                    format!("{path}.quarter_valid_rates.{quarter}"),
                    "a quarter is told by its first month: 2025-04".to_owned(),
                ));
            }
        }
    }
}

fn charging(index: &Index<'_>, problems: &mut Vec<Problem>) {
    let Some(charging) = &index.inputs.charging else { return };
    let mut guns = std::collections::BTreeMap::new();
    for (number, pile) in charging.piles.iter().enumerate() {
        if guns.insert(pile.id.as_str(), pile.guns).is_some() {
            problems.push(problem(format!("charging.piles[{number}].id"), format!("`{}` is there twice", pile.id)));
        }
        not_negative(&pile.rated_kw, format!("charging.piles[{number}].rated_kw"), problems);
    }
    let mut known = |pile: &str, gun: u32, path: &str| match guns.get(pile) {
        None => problems.push(problem(format!("{path}.pile"), format!("no pile `{pile}` in `charging.piles`"))),
        Some(guns) if gun == 0 || gun > *guns => {
            problems.push(problem(format!("{path}.gun"), format!("pile `{pile}` has guns 1 to {guns}, not {gun}")))
        }
        Some(_) => {}
    };
    for (number, session) in charging.sessions.iter().flatten().enumerate() {
        known(&session.pile, session.gun, &format!("charging.sessions[{number}]"));
    }
    for (number, state) in charging.states.iter().flatten().enumerate() {
        known(&state.pile, state.gun, &format!("charging.states[{number}]"));
    }
    for (number, session) in charging.sessions.iter().flatten().enumerate() {
        not_negative(&session.kwh, format!("charging.sessions[{number}].kwh"), problems);
        in_order(index, &session.start, &session.end, &format!("charging.sessions[{number}].end"), problems);
    }
    for (number, state) in charging.states.iter().flatten().enumerate() {
        in_order(index, &state.from, &state.to, &format!("charging.states[{number}].to"), problems);
    }
}

fn not_negative(value: &Number, path: String, problems: &mut Vec<Problem>) {
    if value.is_negative() {
        problems.push(problem(path, format!("{value} is below 0")));
    }
}

fn in_order(index: &Index<'_>, from: &Moment, to: &Moment, path: &str, problems: &mut Vec<Problem>) {
    if index.at(from) > index.at(to) {
        problems.push(problem(path.to_owned(), format!("{to} is before the start {from}")));
    }
}
