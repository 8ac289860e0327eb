//! The park's networks: what goes in, what comes out, what is lost, and the check that both sides agree.
//!
//! Network in = park gate + exports of enterprises into the network (and PV plants of no enterprise); network out = imports of
//! all users, public area included; loss = in - out. Park electricity = park gate (net) + PV generation = all users + loss.

use std::collections::BTreeMap;

use serde::Serialize;

use super::context::Context;
use super::index::SourceKind;
use super::inputs::Place;
use super::result::{Missing, Status};
use super::term::{Label, Term, label};
use crate::Number;
use crate::factor::FactorKind;

/// Amounts of the park in a span of time; electricity in kWh, heat in GJ, fuels in kg or m3.
pub struct Balance {
    /// Net electricity over the park's boundary.
    pub gate: Term,
    /// All PV generation.
    pub pv: Term,
    /// Electricity into the park's network.
    pub network_in: Term,
    /// Electricity out of it.
    pub network_out: Term,
    /// What is lost between.
    pub loss: Term,
    /// Gate + PV.
    pub electricity: Term,
    /// Net heat over the boundary; none where the topology has no heat.
    pub heat: Option<Term>,
    /// Fuels and other energies of the park, with their units.
    pub fuels: BTreeMap<String, (Term, &'static str)>,
}

/// A balance check (8.4 of the program's conventions): both sides, their difference and the verdict.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct BalanceCheck {
    /// Energy or medium.
    pub energy: String,
    /// Unit of the amounts.
    pub unit: &'static str,
    /// Park side: gate, net, plus PV generation for electricity.
    pub supply: Option<Number>,
    /// User side: enterprises with PV self-use, public area.
    pub used: Option<Number>,
    /// Supply - use: the network loss.
    pub difference: Option<Number>,
    /// Difference / what went into the network.
    pub share: Option<Number>,
    /// What it comes to.
    pub verdict: Verdict,
    /// Inputs that are lacking.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Missing>,
}

/// What a balance check comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The sides agree: the loss is not negative and not above the largest share set.
    Agrees,
    /// More is used than came in: a meter, a multiplier or a place is wrong.
    NegativeLoss,
    /// More is lost than `park.loss_share_max` allows.
    LossTooLarge,
    /// Inputs are missing.
    Missing,
}

impl Balance {
    /// The balance of a span.
    pub fn of(context: &Context<'_>) -> Self {
        let terms = context.terms;
        let electric = |place, zh: &str, en: &str| context.at_place(place, "electricity", label(zh, en, "kWh"));
        let gate = if context.index.at_place(Place::Gate, "electricity").is_empty() {
            Term::missing("meters", "no electricity meter at place `gate`: park electricity starts from the park gate")
        } else {
            let net = label("园区关口净购电", "park gate, net", "kWh");
            let out = electric(Place::GateExport, "关口送出电量", "sent out at the gate");
            terms.difference(net, electric(Place::Gate, "关口购入电量", "received at the gate"), out)
        };
        let pv = electric(Place::Pv, "光伏发电量", "PV generation");
        let (own, to_network) = pv_to_network(context);
        drop(own);
        let network_in = terms.sum(
            label("配电网输入电量", "into the network", "kWh"),
            vec![gate.clone(), electric(Place::InternalExport, "企业上网电量", "exported by enterprises"), to_network],
        );
        let network_out = terms.sum(
            label("配电网输出电量", "out of the network", "kWh"),
            vec![
                electric(Place::Import, "企业购入电量", "imported by enterprises"),
                electric(Place::Public, "公共区域用电", "public area"),
            ],
        );
        let loss = terms.difference(label("配电网损耗", "network loss", "kWh"), network_in.clone(), network_out.clone());
        let electricity = terms.sum(label("园区用电量", "park electricity", "kWh"), vec![gate.clone(), pv.clone()]);
        let heat = park_amount(context, "heat", label("净外购热量", "net heat over the boundary", "GJ"));
        let fuels = context.index.fuels().into_iter().filter_map(|energy| {
            let unit = unit_of(context, energy)?;
            Some((energy.to_owned(), (park_amount(context, energy, label(energy, energy, unit))?, unit)))
        });
        Self { gate, pv, network_in, network_out, loss, electricity, heat, fuels: fuels.collect() }
    }
}

/// PV of enterprises, and of plants that feed the network without one.
fn pv_to_network(context: &Context<'_>) -> (Vec<usize>, Term) {
    let all = context.index.at_place(Place::Pv, "electricity");
    let owned = |source: &usize| context.index.sources.get(*source).is_some_and(|source| source.enterprise.is_some());
    let (own, network): (Vec<usize>, Vec<usize>) = all.iter().partition(|source| owned(source));
    let amounts = network.into_iter().map(|source| context.amount(source)).collect();
    (own, context.terms.sum(label("园区光伏上网电量", "PV of no enterprise, into the network", "kWh"), amounts))
}

/// What the park gets of an energy other than electricity: over the boundary where the gate is metered, else the sum of the
/// users net of what they pass on, so that internal exchanges cancel. `None` where the topology has none of it.
pub fn park_amount(context: &Context<'_>, energy: &str, name: Label) -> Option<Term> {
    let index = context.index;
    let has = |place| !index.at_place(place, energy).is_empty();
    let unit = unit_of(context, energy)?;
    let at = |place, zh: &str, en: &str| context.at_place(place, energy, label(zh, en, unit));
    if has(Place::Gate) {
        return Some(context.terms.difference(
            name,
            at(Place::Gate, "关口购入", "received at the gate"),
            at(Place::GateExport, "关口送出", "sent out at the gate"),
        ));
    }
    users(context, energy, name)
}

/// The sum of the users of an energy, net of what enterprises pass on and of what leaves over the boundary without a gate meter.
fn users(context: &Context<'_>, energy: &str, name: Label) -> Option<Term> {
    let unit = unit_of(context, energy)?;
    let at = |place, zh: &str, en: &str| context.at_place(place, energy, label(zh, en, unit));
    let parts = vec![
        (true, at(Place::Import, "企业购入", "received by enterprises")),
        (true, at(Place::Public, "公共区域", "public area")),
        (false, at(Place::InternalExport, "企业转供", "passed on by enterprises")),
    ];
    Some(context.terms.signed(name, parts))
}

/// The unit an energy is counted in; `None` where the topology has none of it.
pub fn unit_of(context: &Context<'_>, energy: &str) -> Option<&'static str> {
    let places = [Place::Gate, Place::GateExport, Place::Import, Place::Public, Place::InternalExport, Place::Feedstock];
    let first = places.into_iter().find_map(|place| context.index.at_place(place, energy).first())?;
    context.index.sources.get(*first).map(|source| source.unit)
}

/// Park energy in tce with the electricity factor of a table.
pub fn park_energy(context: &Context<'_>, electricity: FactorKind, name: Label) -> Term {
    let balance = context.balance();
    let power = label("电力折标", "electricity", "tce");
    let mut parts = vec![context.tce(power, balance.electricity.clone(), electricity, "electricity", "kWh")];
    for (energy, (amount, unit)) in &balance.fuels {
        parts.push(coal_equivalent(context, energy, amount.clone(), unit));
    }
    if let Some(heat) = &balance.heat {
        parts.push(coal_equivalent(context, "heat", heat.clone(), "GJ"));
    }
    context.terms.sum(name, parts)
}

/// An amount in tce at the equivalent value; a working medium at its own.
pub fn coal_equivalent(context: &Context<'_>, energy: &str, amount: Term, unit: &'static str) -> Term {
    let kind = if context.index.factors.knows(FactorKind::Equivalent, energy) { FactorKind::Equivalent } else { FactorKind::Medium };
    context.tce(label(format!("{energy} 折标"), format!("{energy} as standard coal"), "tce"), amount, kind, energy, unit)
}

/// Energy of an enterprise in tce: electricity (import + PV - export), fuels and heat, net of what it passes on. `None` when the
/// topology has nothing of it.
pub fn enterprise_energy(context: &Context<'_>, enterprise: usize) -> Option<Term> {
    let index = context.index;
    let mut by_energy: BTreeMap<&str, Vec<(bool, Term)>> = BTreeMap::new();
    let mut units: BTreeMap<&str, &'static str> = BTreeMap::new();
    for number in index.of_enterprise.get(enterprise).into_iter().flatten() {
        let Some(source) = index.sources.get(*number) else { continue };
        let plus = match source.place {
            Place::Import | Place::Pv => true,
            Place::InternalExport => false,
            _ => continue,
        };
        if source.energy == "water" || !index.counts(&source.energy) {
            continue;
        }
        units.insert(&source.energy, source.unit);
        by_energy.entry(&source.energy).or_default().push((plus, context.amount(*number)));
    }
    if by_energy.is_empty() {
        return None;
    }
    let id = index.enterprise(enterprise);
    let parts = by_energy.into_iter().map(|(energy, amounts)| {
        let unit = units.get(energy).copied().unwrap_or_default();
        let name = label(format!("{id} {energy}"), format!("{energy} of {id}"), unit);
        coal_equivalent(context, energy, context.terms.signed(name, amounts), unit)
    });
    let parts = parts.collect();
    Some(context.terms.sum(label(format!("企业 {id}"), format!("enterprise {id}"), "tce"), parts))
}

/// Both sides of every network of the park that has a gate, and whether they agree.
pub fn check(context: &Context<'_>) -> Vec<BalanceCheck> {
    let balance = context.balance();
    let terms = context.terms;
    let mut checks = Vec::new();
    let name = || label("用户侧", "users", "kWh");
    let own_use = vec![
        (true, balance.network_out.clone()),
        (true, balance.pv.clone()),
        (false, pv_to_network(context).1),
        (false, context.at_place(Place::InternalExport, "electricity", name())),
    ];
    let users_side = terms.signed(name(), own_use);
    checks.push(judge(context, "electricity", "kWh", &balance.electricity, &users_side, &balance.network_in));
    let others =
        std::iter::once("heat").chain(context.index.fuels()).filter(|energy| !context.index.at_place(Place::Gate, energy).is_empty());
    let mut energies: Vec<&str> = others.collect();
    if !context.index.at_place(Place::Gate, "water").is_empty() {
        energies.push("water");
    }
    for energy in energies {
        let Some(unit) = unit_of(context, energy) else { continue };
        let Some(supply) = park_amount(context, energy, label(energy, energy, unit)) else { continue };
        let used = if energy == "water" {
            let at = |place| context.at_place(place, "water", label("用水", "use", "m3"));
            Some(terms.sum(name(), vec![at(Place::Fresh), at(Place::Public)]))
        } else {
            users(context, energy, name())
        };
        let Some(used) = used else { continue };
        checks.push(judge(context, energy, unit, &supply, &used, &supply));
    }
    checks
}

fn judge(context: &Context<'_>, energy: &str, unit: &'static str, supply: &Term, used: &Term, input: &Term) -> BalanceCheck {
    let difference = supply.value.as_ref().zip(used.value.as_ref()).map(|(supply, used)| supply - used);
    let share =
        difference.as_ref().zip(input.value.as_ref()).and_then(|(difference, input)| difference.over(input)).map(|share| share.kept());
    // Two values are the same within 1e-9 of the larger one.
    let tolerance = supply.value.as_ref().map(|supply| supply.abs() * Number::decimal(1, 9)).unwrap_or_default();
    let missing: Vec<_> = supply.missing.iter().chain(&used.missing).cloned().collect();
    let verdict = match &difference {
        None => Verdict::Missing,
        Some(difference) if *difference < -tolerance => Verdict::NegativeLoss,
        Some(_) => match (&share, &context.index.inputs.park.loss_share_max) {
            (Some(share), Some(most)) if share > most => Verdict::LossTooLarge,
            _ => Verdict::Agrees,
        },
    };
    BalanceCheck {
        energy: energy.to_owned(),
        unit,
        supply: supply.value.clone(),
        used: used.value.clone(),
        difference,
        share,
        verdict,
        missing,
    }
}

/// Sub-meters that show more than their parent, which nothing can: meter, parent, both amounts in kWh, GJ, kg or m3.
pub fn parts_above_parents(context: &Context<'_>) -> Vec<(String, String, Number, Number)> {
    let mut found = Vec::new();
    for (number, source) in context.index.sources.iter().enumerate() {
        let SourceKind::Meter(meter, ..) = &source.kind else { continue };
        let Some(meter) = context.index.inputs.meters.get(*meter) else { continue };
        let parent = meter.parent.as_deref().and_then(|parent| Some((parent, *context.index.by_meter.get(parent)?)));
        let Some((parent, of_parent)) = parent else { continue };
        let (part, whole) = (context.amount(number), context.amount(of_parent));
        if part.status() == Status::Missing || whole.status() == Status::Missing {
            continue;
        }
        if let (Some(part), Some(whole)) = (part.value, whole.value)
            && part > whole
        {
            found.push((meter.id.clone(), parent.to_owned(), part, whole));
        }
    }
    found
}
