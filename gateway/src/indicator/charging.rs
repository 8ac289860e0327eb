//! Charging piles as inputs of the core: sessions and states of guns, told from totals of hours.
//!
//! An hour's total of a state says how long a gun charged or was out of order; its total of the counter says what the pile
//! delivered. Hours in a row in which a gun charged are one session; what a pile takes between sessions for itself is
//! not delivered. Within an hour the time stands at its beginning: figures are of days and longer.

use parkgate_collector::model::{PointId, UtcMillis};
use parkgate_rules::Number;
use parkgate_rules::indicator::inputs::{Charging, GunState, GunStateKind, Pile, Session};
use parkgate_rules::period::Period;

use super::inputs::{Source, moment, number};
use super::topology::Charger;
use crate::rollup::{Figures, Level, Total};
use crate::store::StoreError;

/// The piles over a period; `None` for a park without.
///
/// # Errors
/// When totals cannot be read.
pub fn charging(source: &Source<'_>, period: Period) -> Result<Option<Charging>, StoreError> {
    let chargers = &source.topology.chargers;
    let Some(bounds) = source.bounds(period).filter(|_| !chargers.is_empty()) else { return Ok(None) };
    let (mut piles, mut all_sessions, mut all_states) = (Vec::new(), Some(Vec::new()), Some(Vec::new()));
    for charger in chargers {
        let settings = &charger.settings;
        piles.push(Pile {
            id: settings.device.clone(),
            station: settings.station.clone(),
            rated_kw: settings.rated_kw.clone(),
            guns: settings.guns,
        });
        let hours = |point: PointId| source.totals.totals(point, Level::Hour, bounds.start, bounds.end);
        let states = charger.states.iter().map(|point| hours(point.id)).collect::<Result<Vec<_>, _>>()?;
        let is_known = states.iter().any(|hours| !hours.is_empty());
        // What is not known of one pile leaves the park's figure unknown.
        match charger.delivered.as_ref().filter(|_| is_known) {
            Some(point) => {
                let delivered = hours(point.id)?;
                if let Some(all) = &mut all_sessions {
                    sessions(charger, &states, &delivered, all);
                }
            }
            None => all_sessions = None,
        }
        match &mut all_states {
            Some(all) if is_known => gun_states(charger, &states, (bounds.start, bounds.end), all),
            all => *all = None,
        }
    }
    Ok(Some(Charging { piles, sessions: all_sessions, states: all_states }))
}

/// Milliseconds of an hour that a state had one of these codes.
fn lasted(total: &Total, codes: &[i64]) -> i64 {
    let Figures::State(state) = &total.figures else { return 0 };
    let of_codes = state.durations.iter().filter(|(code, _)| codes.contains(code));
    of_codes.fold(0i64, |sum, (_, ms)| sum.saturating_add(*ms))
}

/// Milliseconds of an hour in which a state was known.
fn known(total: &Total) -> i64 {
    let Figures::State(state) = &total.figures else { return 0 };
    state.durations.iter().fold(0i64, |sum, (_, ms)| sum.saturating_add(*ms))
}

fn gun_states(charger: &Charger, states: &[Vec<Total>], (start, end): (UtcMillis, UtcMillis), out: &mut Vec<GunState>) {
    let settings = &charger.settings;
    for (gun, hours) in (1..=settings.guns).zip(states) {
        let mut at = start;
        let mut put = |state: GunStateKind, to: UtcMillis| {
            if at < to {
                out.push(GunState { pile: settings.device.clone(), gun, from: moment(at), to: moment(to), state });
                at = to;
            }
        };
        for hour in hours {
            let hour_end = hour.period.end;
            put(GunStateKind::Unknown, hour.period.start);
            let charged = hour.period.start.plus(lasted(hour, &settings.charging));
            let faulty = charged.plus(lasted(hour, &settings.fault));
            put(GunStateKind::Charging, charged.min(hour_end));
            put(GunStateKind::Fault, faulty.min(hour_end));
            put(GunStateKind::Idle, hour.period.start.plus(known(hour)).min(hour_end));
            put(GunStateKind::Unknown, hour_end);
        }
        put(GunStateKind::Unknown, end);
    }
}

/// Hours in a row in which some gun of the pile charged, with what the pile delivered in them.
fn sessions(charger: &Charger, states: &[Vec<Total>], delivered: &[Total], out: &mut Vec<Session>) {
    let charged = |start: UtcMillis| {
        let hour = |hours: &Vec<Total>| {
            let place = hours.binary_search_by_key(&start, |hour| hour.period.start).ok()?;
            hours.get(place).map(|hour| lasted(hour, &charger.settings.charging))
        };
        states.iter().filter_map(hour).any(|ms| ms > 0)
    };
    let mut open: Option<(UtcMillis, UtcMillis, Number)> = None;
    let mut close = |open: &mut Option<(UtcMillis, UtcMillis, Number)>| {
        if let Some((start, end, kwh)) = open.take() {
            out.push(Session { pile: charger.settings.device.clone(), gun: 1, start: moment(start), end: moment(end), kwh });
        }
    };
    for hour in delivered {
        let Figures::Counter(counter) = &hour.figures else { continue };
        let Some(amount) = counter.amount.map(number).filter(|_| charged(hour.period.start)) else {
            close(&mut open);
            continue;
        };
        match &mut open {
            Some((_, end, kwh)) if *end == hour.period.start => {
                *end = hour.period.end;
                *kwh += &amount;
            }
            _ => {
                close(&mut open);
                open = Some((hour.period.start, hour.period.end, amount));
            }
        }
    }
    close(&mut open);
}
