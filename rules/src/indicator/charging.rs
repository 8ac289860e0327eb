//! Charging: EV-01 to EV-04, of the park and of each station. No national definition was found: time utilisation, power
//! utilisation and availability are taken as the industry uses them, and the conventions of the program say the rest.

use std::collections::BTreeMap;

use super::context::Context;
use super::inputs::{Charging, GunStateKind, Pile};
use super::result::{Leaf, Missing, Subject};
use super::term::{Term, label};
use super::{Asked, Outcome, other};
use crate::Number;
use crate::period::{Range, hours};

/// EV-01: energy of the sessions; one that crosses a boundary of the period is split in proportion to time.
pub fn ev01(asked: &Asked<'_, '_>) -> Vec<Outcome> {
    each(asked, |context, charging, piles| {
        let term = delivered(context, charging, piles);
        (term, Vec::new())
    })
}

/// EV-02: charging gun-hours / gun-hours, fault hours not taken out. Beside it with fault hours taken out.
pub fn ev02(asked: &Asked<'_, '_>) -> Vec<Outcome> {
    each(asked, |context, charging, piles| {
        let terms = context.terms;
        let charged = charging_hours(context, charging, piles);
        let all = gun_hours(context, piles);
        let fault = fault_hours(context, charging, piles);
        let left = all.value.as_ref().zip(fault.value.as_ref()).map(|(all, fault)| all - fault);
        let without = charged.value.as_ref().zip(left).and_then(|(charged, left)| charged.over(&left));
        let others = vec![
            other("without_fault_hours", "扣除故障时间的利用率", "fault hours taken out", "1", 6, without),
            other("charging_gun_hours", "充电枪时", "charging gun-hours", "h", 3, charged.value.clone()),
            other("fault_gun_hours", "故障枪时", "fault gun-hours", "h", 3, fault.value),
        ];
        let name = label("充电时间利用率", "time utilisation", "1");
        (terms.ratio(name, charged, all, "charging gun-hours / gun-hours"), others)
    })
}

/// EV-03: energy delivered / (rated power x hours of the period).
pub fn ev03(asked: &Asked<'_, '_>) -> Vec<Outcome> {
    each(asked, |context, charging, piles| {
        let terms = context.terms;
        let rated: Number = piles.iter().map(|(_, pile)| &pile.rated_kw).sum();
        let most = terms.plain(label("额定电量", "rated power x hours", "kWh"), rated * context.range.hours());
        let name = label("充电功率利用率", "power utilisation", "1");
        (terms.ratio(name, delivered(context, charging, piles), most, "delivered kWh / (rated kW x hours)"), Vec::new())
    })
}

/// EV-04: (gun-hours - fault gun-hours) / gun-hours.
pub fn ev04(asked: &Asked<'_, '_>) -> Vec<Outcome> {
    each(asked, |context, charging, piles| {
        let terms = context.terms;
        let all = gun_hours(context, piles);
        let fault = fault_hours(context, charging, piles);
        let well = terms.difference(label("可用枪时", "gun-hours without fault", "h"), all.clone(), fault);
        let name = label("充电设施可用率", "availability", "1");
        (terms.ratio(name, well, all, "(gun-hours - fault gun-hours) / gun-hours"), Vec::new())
    })
}

type Piles<'a> = [(usize, &'a Pile)];

/// The figure of the park, then of each station when there is more than one.
fn each(asked: &Asked<'_, '_>, figure: impl Fn(&Context<'_>, &Charging, &Piles<'_>) -> (Term, Vec<super::OtherFigure>)) -> Vec<Outcome> {
    let context = &asked.at;
    let Some(charging) = context.index.inputs.charging.as_ref().filter(|charging| !charging.piles.is_empty()) else {
        return Outcome::park(Term::missing("charging.piles", "no charging pile is given"));
    };
    let all: Vec<(usize, &Pile)> = charging.piles.iter().enumerate().collect();
    let mut stations: BTreeMap<&str, Vec<(usize, &Pile)>> = BTreeMap::new();
    for (number, pile) in &all {
        stations.entry(&pile.station).or_default().push((*number, pile));
    }
    let (term, others) = figure(context, charging, &all);
    let mut outcomes = vec![Outcome { subject: Subject::park(), term, others }];
    if stations.len() > 1 {
        for (station, piles) in stations {
            let (term, others) = figure(context, charging, &piles);
            let subject = Subject { station: Some(station.to_owned()), ..Subject::default() };
            outcomes.push(Outcome { subject, term, others });
        }
    }
    outcomes
}

fn ids<'a>(piles: &Piles<'a>) -> std::collections::BTreeSet<&'a str> {
    piles.iter().map(|(_, pile)| pile.id.as_str()).collect()
}

fn delivered(context: &Context<'_>, charging: &Charging, piles: &Piles<'_>) -> Term {
    let Some(sessions) = &charging.sessions else {
        return Term::missing("charging.sessions", "not known: give the sessions, or an empty list when there were none");
    };
    let ids = ids(piles);
    let mut parts = Vec::new();
    for (number, session) in sessions.iter().enumerate().filter(|(_, session)| ids.contains(session.pile.as_str())) {
        let span = Range { start: context.index.at(&session.start), end: context.index.at(&session.end) };
        let inside = span.overlap(context.range);
        let begins_inside = context.range.start <= span.start && span.start < context.range.end;
        if inside.length() == 0 && !(span.length() == 0 && begins_inside) {
            continue;
        }
        let path = format!("charging.sessions[{number}]");
        let name = || label(format!("充电 {}", session.pile), format!("session of {}", session.pile), "kWh");
        let whole = context
            .terms
            .given(name(), session.kwh.clone(), context.index.input("charging.sessions"), || Leaf::Input { input: path.clone() });
        if inside == span {
            parts.push(whole);
            continue;
        }
        let share = Number::fraction(i128::from(inside.length()), i128::from(span.length())).unwrap_or_default();
        let mut part = context.terms.scaled(name(), whole, &share, "split at the boundary in proportion to time");
        part.interpolated = part.value.clone().unwrap_or_default();
        part.flags.insert(super::inputs::Flag::BoundaryInterpolated);
        parts.push(part);
    }
    context.terms.sum(label("充电量", "energy delivered", "kWh"), parts)
}

fn gun_hours(context: &Context<'_>, piles: &Piles<'_>) -> Term {
    let guns: i64 = piles.iter().map(|(_, pile)| i64::from(pile.guns)).sum();
    context.terms.plain(label("枪时", "guns x hours", "h"), Number::from(guns) * context.range.hours())
}

/// Hours in which guns charge: by their states, else by the sessions.
fn charging_hours(context: &Context<'_>, charging: &Charging, piles: &Piles<'_>) -> Term {
    let name = label("充电枪时", "charging gun-hours", "h");
    if charging.states.is_some() {
        return state_hours(context, charging, piles, GunStateKind::Charging, name);
    }
    let Some(sessions) = &charging.sessions else {
        return Term::missing("charging.states", "neither states of guns nor sessions are given");
    };
    let ids = ids(piles);
    let spans = sessions.iter().filter(|session| ids.contains(session.pile.as_str()));
    let spans = spans.map(|session| (session.pile.as_str(), session.gun, context.index.at(&session.start), context.index.at(&session.end)));
    let milliseconds = united(context.range, spans);
    context.terms.given(name, hours(milliseconds), context.index.input("charging.sessions"), || Leaf::Input {
        input: "charging.sessions".to_owned(),
    })
}

fn fault_hours(context: &Context<'_>, charging: &Charging, piles: &Piles<'_>) -> Term {
    state_hours(context, charging, piles, GunStateKind::Fault, label("故障枪时", "fault gun-hours", "h"))
}

fn state_hours(context: &Context<'_>, charging: &Charging, piles: &Piles<'_>, kind: GunStateKind, name: super::term::Label) -> Term {
    let Some(states) = &charging.states else {
        return Term::missing("charging.states", "not known: give the states of the guns");
    };
    let ids = ids(piles);
    let lasted = |kind: GunStateKind| {
        let spans = states.iter().filter(|state| state.state == kind && ids.contains(state.pile.as_str()));
        hours(united(
            context.range,
            spans.map(|state| (state.pile.as_str(), state.gun, context.index.at(&state.from), context.index.at(&state.to))),
        ))
    };
    let input = || Leaf::Input { input: "charging.states".to_owned() };
    let mut term = context.terms.given(name, lasted(kind), context.index.input("charging.states"), input);
    let unknown = lasted(GunStateKind::Unknown);
    if unknown.is_positive() {
        let why = format!("the state is not known for {} gun-hours", unknown.fixed(3));
        term.incomplete.push(Missing { input: "charging.states".to_owned(), why });
    }
    term
}

/// Milliseconds that spans of guns cover inside a range; time that two spans of one gun share counts once.
fn united<'a>(range: Range, spans: impl Iterator<Item = (&'a str, u32, i64, i64)>) -> i64 {
    let mut by_gun: BTreeMap<(&str, u32), Vec<Range>> = BTreeMap::new();
    for (pile, gun, start, end) in spans {
        let span = Range { start, end }.overlap(range);
        if span.length() > 0 {
            by_gun.entry((pile, gun)).or_default().push(span);
        }
    }
    let mut sum = 0;
    for mut spans in by_gun.into_values() {
        spans.sort_unstable();
        let mut at = i64::MIN;
        for span in spans {
            sum += Range { start: span.start.max(at), end: span.end }.length();
            at = at.max(span.end);
        }
    }
    sum
}
