//! Limits, marks, events and corrections as lines of a summary.

use parkgate_collector::model::UtcMillis as Instant;
use parkgate_rules::emission::event::{EventKind, EventState, Evidence};
use parkgate_rules::emission::limit::{AppliesTo, Bound};
use parkgate_rules::emission::{ComplianceEvent, UtcMillis};

use super::fill::Corrected;
use super::summary::{Correction, Exceedance, Figure, LimitLine, MASS, MarkLine, TIMES, decimals};
use super::words;
use crate::emission::{HeldLimit, HeldMark};
use crate::rollup::ParkZone;

/// An event as it was kept.
pub fn exceedance(zone: &ParkZone, event: &ComplianceEvent, at: UtcMillis) -> Exceedance {
    let digits = match (&event.limit, event.applies_to) {
        (_, Some(AppliesTo::MassRate)) => MASS,
        (limit, _) => decimals(limit.as_ref()),
    };
    Exceedance {
        event: event.id.clone(),
        kind: match event.kind {
            EventKind::Exceedance => "exceedance".to_owned(),
            EventKind::AbatementOff => "abatement_off".to_owned(),
            EventKind::AbatementIdle => "abatement_idle".to_owned(),
        },
        factor: event.factor.clone(),
        state: match event.state {
            EventState::Raised => "raised".to_owned(),
            EventState::Amended => "amended".to_owned(),
            EventState::Withdrawn => "withdrawn".to_owned(),
        },
        start: time(zone, event.from),
        end: event.to.map(|to| time(zone, to)),
        averaging: event.averaging.map(|averaging| averaging.name().to_owned()),
        value: event.value.clone().map(|value| Figure::new(value, digits)),
        exact: event.value.clone(),
        limit: event.limit.clone(),
        unit: event.unit.clone(),
        times_over: event.times_over.clone().map(|times| Figure::new(times, TIMES)),
        clause: event.clause.clone().unwrap_or_default(),
        changed_at: time(zone, at),
        left_out: (event.evidence == Evidence::LeftOut).then(words::without_power),
    }
}

/// A limit.
pub fn limit_line(zone: &ParkZone, held: &HeldLimit) -> LimitLine {
    let limit = &held.limit;
    LimitLine {
        id: limit.id.clone(),
        factor: limit.factor.clone(),
        value: limit.value.to_string(),
        unit: limit.unit.clone(),
        averaging: limit.averaging.name().to_owned(),
        applies_to: applies_to(limit.applies_to).to_owned(),
        bound: bound(limit.bound).to_owned(),
        clause: limit.clause.clone(),
        from: time(zone, limit.valid_from),
        to: limit.valid_to.map(|to| time(zone, to)),
        author: limit.author.clone(),
        set_at: limit.set_at.map(|at| time(zone, at)).unwrap_or_default(),
        document: held.document.clone(),
        ended_by: held.ended_by.as_ref().map(|said| said.author.clone()),
        ended_at: held.ended_by.as_ref().map(|said| time(zone, said.time)),
    }
}

/// A mark.
pub fn mark_line(zone: &ParkZone, held: &HeldMark) -> MarkLine {
    let mark = &held.mark;
    MarkLine {
        id: mark.id.clone(),
        factor: mark.factor.clone(),
        letter: mark.letter.name().to_owned(),
        words: words::letter(mark.letter),
        condition: mark.condition.clone(),
        from: time(zone, mark.from),
        to: mark.to.map(|to| time(zone, to)),
        author: mark.author.clone(),
        set_at: time(zone, mark.set_at),
        document: held.document.clone(),
        withdrawn_by: held.withdrawn_by.as_ref().map(|said| said.author.clone()),
        withdrawn_at: held.withdrawn_by.as_ref().map(|said| time(zone, said.time)),
    }
}

/// A figure that changed.
pub fn correction(zone: &ParkZone, one: &Corrected) -> Correction {
    Correction {
        factor: one.factor.clone(),
        period: one.averaging.map_or_else(String::new, |averaging| averaging.name().to_owned()),
        start: time(zone, one.period.from),
        end: time(zone, one.period.to),
        figure: one.figure.clone(),
        old: one.old.clone(),
        new: one.new.clone(),
        cause: one.cause.clone(),
        changed_at: time(zone, one.at),
    }
}

fn time(zone: &ParkZone, at: UtcMillis) -> String {
    zone.write(Instant(at.0))
}

/// What a limit looks at.
pub fn applies_to(applies_to: AppliesTo) -> &'static str {
    match applies_to {
        AppliesTo::Converted => "converted",
        AppliesTo::AsIs => "as_is",
        AppliesTo::MassRate => "mass_rate",
    }
}

/// Which side of it complies.
pub fn bound(bound: Bound) -> &'static str {
    match bound {
        Bound::Upper => "upper",
        Bound::Lower => "lower",
    }
}
