//! Water: WA-01, WA-04. Over the enterprises; the public area's fresh water stays out.

use super::context::Context;
use super::inputs::Place;
use super::term::{Term, label};
use super::{Asked, Outcome};

/// WA-01: fresh water of the enterprises, household water that is metered apart taken off where it is part of it.
pub fn wa01(asked: &Asked<'_, '_>) -> Vec<Outcome> {
    Outcome::park(fresh(&asked.at))
}

/// WA-04: recirculated / (recirculated + fresh).
pub fn wa04(asked: &Asked<'_, '_>) -> Vec<Outcome> {
    let context = &asked.at;
    let again = if context.index.at_place(Place::Recirculated, "water").is_empty() {
        Term::missing("meters", "no water meter at place `recirculated`, and no amount declared for it")
    } else {
        context.at_place(Place::Recirculated, "water", label("重复利用水量", "recirculated", "m3"))
    };
    let all = context.terms.sum(label("总用水量", "recirculated + fresh", "m3"), vec![again.clone(), fresh(context)]);
    let name = label("工业用水重复利用率", "industrial water reuse", "1");
    Outcome::park(context.terms.ratio(name, again, all, "recirculated / (recirculated + fresh)"))
}

fn fresh(context: &Context<'_>) -> Term {
    context.shared("WA-01", || {
        let name = label("工业新鲜水用量", "industrial fresh water", "m3");
        if context.index.at_place(Place::Fresh, "water").is_empty() {
            return Term::missing("meters", "no water meter at place `fresh`, and no amount declared for it");
        }
        let all = context.at_place(Place::Fresh, "water", label("新鲜水", "fresh water", "m3"));
        let household = context.at_place(Place::Household, "water", label("生活用水", "household water", "m3"));
        context.terms.difference(name, all, household)
    })
}
