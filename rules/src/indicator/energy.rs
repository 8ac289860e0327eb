//! Energy: EN-01 to EN-04, EN-17, EN-19. Comprehensive energy by GB/T 2589-2020; what counts to the park and what to an enterprise, by
//! the program's conventions for its networks (see [`super::balance`]).

use super::balance::{enterprise_energy, park_energy};
use super::context::Context;
use super::inputs::{Figure, Place};
use super::quota::certified;
use super::term::{Term, label};
use super::{Asked, Outcome, other};
use crate::Number;
use crate::factor::FactorKind;

/// EN-01: what crosses the park's boundary + on-site primary production - stock change, at the equivalent value (R-PARK). Equals
/// the sum of enterprises, public area and losses, which are shown beside it.
pub fn en01(asked: &Asked<'_, '_>) -> Vec<Outcome> {
    let context = &asked.at;
    let term = equivalent(context);
    let enterprises = enterprises(context);
    let public = public(context);
    // What is left of the park after its users is what the networks lose.
    let rest = [&term, &enterprises, &public].map(|term| term.value.clone());
    let loss = match rest {
        [Some(park), Some(enterprises), Some(public)] => Some(park - enterprises - public),
        _ => None,
    };
    let others = vec![
        other("enterprises", "企业合计", "enterprises", "tce", 3, enterprises.value),
        other("public_area", "公共区域", "public area", "tce", 3, public.value),
        other("network_loss", "网络损耗", "network loss", "tce", 3, loss),
    ];
    vec![Outcome { subject: Default::default(), term, others }]
}

/// EN-02: as EN-01, with the equal value on all electricity, PV included, and on nothing else (R-EQUAL).
pub fn en02(asked: &Asked<'_, '_>) -> Vec<Outcome> {
    let name = label("园区综合能耗（等价）", "park energy, equal value", "tce");
    Outcome::park(park_energy(&asked.at, FactorKind::EqualValue, name))
}

/// EN-03: the sum of the enterprises, net of energy sold, without public area and losses.
pub fn en03(asked: &Asked<'_, '_>) -> Vec<Outcome> {
    Outcome::park(enterprises(&asked.at))
}

/// EN-04: EN-03 / added value of the enterprises. Beside it per output, and its inverse, the energy productivity.
pub fn en04(asked: &Asked<'_, '_>) -> Vec<Outcome> {
    let context = &asked.at;
    let terms = context.terms;
    let energy = enterprises(context);
    let added = context.declared(Figure::AddedValue, label("工业增加值", "added value", "10k CNY"));
    let output = context.declared(Figure::Output, label("产值", "output", "10k CNY"));
    let per_output = quotient(&energy, &output);
    let productivity = quotient(&added, &energy);
    let name = label("单位工业增加值综合能耗", "energy per added value", "tce/10k CNY");
    let term = terms.ratio(name, energy, added, "industrial energy / added value");
    let others = vec![
        other("per_output", "单位产值综合能耗", "energy per output", "tce/10k CNY", 6, per_output),
        other("productivity", "能源产出率", "energy productivity", "10k CNY/tce", 6, productivity),
    ];
    vec![Outcome { subject: Default::default(), term, others }]
}

/// EN-17: (PV generation used in the park + bought certificates, capped) / park electricity. Certificates of own PV are not added again.
pub fn en17(asked: &Asked<'_, '_>) -> Vec<Outcome> {
    let context = &asked.at;
    let terms = context.terms;
    let balance = context.balance();
    let sent_out = context.at_place(Place::GateExport, "electricity", label("关口送出电量", "sent out at the gate", "kWh"));
    let used = terms.difference(label("光伏自用", "PV generation - sent out", "kWh"), balance.pv.clone(), sent_out);
    let used = terms.at_least_zero(label("园区内使用的光伏电量", "PV used in the park", "kWh"), used);
    let bought = certified(context).map_or_else(|missing| missing, |certified| certified.bought);
    let green = terms.sum(label("绿色电力", "green electricity", "kWh"), vec![used, bought]);
    let name = label("绿色电力消费占比", "green electricity share", "1");
    Outcome::park(terms.ratio(name, green, balance.electricity.clone(), "green electricity / park electricity"))
}

/// EN-19: (network in - network out) / network in.
pub fn en19(asked: &Asked<'_, '_>) -> Vec<Outcome> {
    let balance = asked.at.balance();
    let name = label("配电网损率", "network loss rate", "1");
    let term = asked.terms().ratio(name, balance.loss.clone(), balance.network_in.clone(), "(in - out) / in");
    let others = vec![other("loss_kwh", "损耗电量", "energy lost", "kWh", 3, balance.loss.value.clone())];
    vec![Outcome { subject: Default::default(), term, others }]
}

/// EN-01 as a term.
pub fn equivalent(context: &Context<'_>) -> Term {
    context.shared("EN-01", || {
        park_energy(context, FactorKind::Equivalent, label("园区综合能耗（当量）", "park energy, equivalent value", "tce"))
    })
}

/// EN-03 as a term.
pub fn enterprises(context: &Context<'_>) -> Term {
    context.shared("EN-03", || {
        let name = label("工业综合能耗", "industrial energy", "tce");
        let count = context.index.inputs.enterprises.len();
        if count == 0 {
            return Term::missing("enterprises", "no enterprise is given");
        }
        let mut sum = Vec::new();
        let mut without = Vec::new();
        for enterprise in 0..count {
            match enterprise_energy(context, enterprise) {
                Some(term) => sum.push(term),
                None => without.push(context.index.enterprise(enterprise)),
            }
        }
        if sum.is_empty() {
            return Term::missing("meters", "no enterprise has a meter or a declared amount of energy");
        }
        let mut term = context.terms.sum(name, sum);
        for enterprise in without {
            let why = "the enterprise has no meter and no declared amount of energy".to_owned();
            term.incomplete.push(super::result::Missing { input: format!("enterprises.{enterprise}"), why });
        }
        term
    })
}

/// Energy of the public area in tce.
fn public(context: &Context<'_>) -> Term {
    let mut parts = Vec::new();
    let energies: Vec<&str> =
        context.index.energies_at(Place::Public).filter(|energy| *energy != "water" && context.index.counts(energy)).collect();
    for energy in energies {
        let unit = match energy {
            "electricity" => Some("kWh"),
            other => super::balance::unit_of(context, other),
        };
        let Some(unit) = unit else { continue };
        let amount = context.at_place(Place::Public, energy, label("公共区域", "public area", unit));
        parts.push(super::balance::coal_equivalent(context, energy, amount, unit));
    }
    context.terms.sum(label("公共区域", "public area", "tce"), parts)
}

fn quotient(first: &Term, second: &Term) -> Option<Number> {
    first.value.as_ref()?.over(second.value.as_ref()?)
}
