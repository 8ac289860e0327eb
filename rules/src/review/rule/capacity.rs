//! R7: peak demand against spare capacity, per resource. Equal passes. A demand above it is conditional when it fits with
//! all expansions that are ready by the start of production (the same day counts), else it rejects. A convention of the
//! program.

use super::super::case::{Case, plain};
use super::super::input::Resource;
use super::super::read::Field;
use super::super::reason::{Effect, Finding, Reason, Rule};
use crate::Number;

/// Demand beside capacity, in the resource's unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Resource.
    pub resource: Resource,
    /// Peak demand.
    pub demand: Number,
    /// Spare capacity.
    pub spare: Number,
    /// What expansions add by the start of production; `None` when its date is missing and matters.
    pub added: Option<Number>,
}

/// All resources whose demand and spare capacity are known.
pub fn demands(case: &Case<'_>) -> Vec<Demand> {
    let all = case.project.demand.given().into_iter().flatten();
    all.filter_map(|(resource, demand)| of(case, *resource, demand)).collect()
}

fn of(case: &Case<'_>, resource: Resource, demand: &Field<Number>) -> Option<Demand> {
    let demand = demand.given()?.clone();
    let spare = match case.park.spare_capacity.get(&resource) {
        Some(spare) => spare.clone(),
        // Nothing is asked for, so nothing need be known.
        None if demand.is_zero() => Number::zero(),
        None => return None,
    };
    let mut expansions = case.park.expansions.iter().filter(|expansion| expansion.resource == resource).peekable();
    let added = match case.project.production_on.given() {
        Some(production) => Some(expansions.filter(|one| one.ready_on <= *production).map(|one| &one.adds).sum()),
        None if expansions.peek().is_none() => Some(Number::zero()),
        None => None,
    };
    Some(Demand { resource, demand, spare, added })
}

/// R7.
pub fn test(case: &Case<'_>) -> Finding {
    let demands = demands(case);
    let mut reasons = Vec::new();
    let mut is_whole = demands.len() == Resource::ALL.len();
    for Demand { resource, demand, spare, added } in &demands {
        if demand <= spare {
            continue;
        }
        let Some(added) = added else {
            is_whole = false;
            continue;
        };
        let then = spare + added;
        let fits = *demand <= then;
        let (effect, code) = if fits { (Effect::Conditional, "expansion_needed") } else { (Effect::Reject, "capacity_short") };
        let (name, unit) = resource.zh();
        let en = resource.name();
        let (first, over) = (plain(demand), plain(&(demand - &then).at_least_zero()));
        let (says_zh, says_en) = if fits {
            ("扩建按期投用后满足", "enough once the expansions are ready")
        } else {
            ("投产前仍不足", "not enough by the start of production")
        };
        let (change_zh, change_en) = if fits {
            ("扩建按期投用；或降低峰值需求".to_owned(), "expansions ready in time; or a lower peak".to_owned())
        } else {
            (
                format!("投产前再增加 {over} {unit}，或降低峰值需求"),
                format!("{over} more of {en} by the start of production, or a lower peak"),
            )
        };
        reasons.push(
            Reason::new(Rule::R7, effect, code)
                .says(
                    format!("{name}峰值需求 {first} {unit}，余量 {}，投产前扩建 {}：{says_zh}", plain(spare), plain(added)),
                    format!(
                        "{en}: demand {first}, spare {}, expansions by the start of production {}: {says_en}",
                        plain(spare),
                        plain(added)
                    ),
                )
                .changed_by(change_zh, change_en)
                .number("resource", en)
                .number("demand", first)
                .number("spare", plain(spare))
                .number("expansions", plain(added))
                .number("shortage", over)
                .basis("园区基础设施余量测算（程序约定）", "program"),
        );
    }
    Finding { reasons, whole: is_whole }
}
