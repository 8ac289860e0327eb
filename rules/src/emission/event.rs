//! Compliance events: facts that a limit was broken or that abatement stood still. They are never acknowledged away; new data
//! or a mark may amend or withdraw them, and each change is a new version under the same identity.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::hour::{HourFigure, MinuteCounts};
use super::limit::{AppliesTo, Judgement, Verdict};
use super::period::PeriodFigure;
use super::time::{Averaging, Period, UtcMillis};
use crate::Number;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// An average broke its limit.
    Exceedance,
    /// Abatement was off while production ran.
    AbatementOff,
    /// Abatement idled while production ran.
    AbatementIdle,
}

/// Where an event is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventState {
    /// Found, for the first time or again after it was withdrawn.
    Raised,
    /// Found again with other figures.
    Amended,
    /// No longer found: new data or a mark took it away.
    Withdrawn,
}

/// A compliance event. Fields are only added, never changed or taken away: others read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ComplianceEvent {
    /// What stays the same over all versions: `exceedance/OUTLET/FACTOR/AVERAGING/START/LIMIT` or `abatement/PAIR/START`.
    pub id: String,
    /// 1 for the first, one more for each change. 0: found, not yet settled.
    pub version: u32,
    /// What this version says.
    pub state: EventState,
    /// What happened. Abatement that idled and then went off keeps its identity and changes its kind.
    pub kind: EventKind,
    /// The outlet, or the pair of production and abatement.
    pub subject: String,
    /// The enterprise.
    pub enterprise: String,
    /// Exceedance: the factor.
    pub factor: Option<String>,
    /// Exceedance: the period that the limit names.
    pub averaging: Option<Averaging>,
    /// Start of the period, or of the first minute without abatement.
    pub from: UtcMillis,
    /// End; `None` while it lasts.
    pub to: Option<UtcMillis>,
    /// The figure: the average; of abatement the mean power in kW over the minutes of the delay.
    pub value: Option<Number>,
    /// What it had to keep; of abatement the power in kW from which it counts as running.
    pub limit: Option<Number>,
    /// Unit of both.
    pub unit: String,
    /// What the limit looks at.
    pub applies_to: Option<AppliesTo>,
    /// (value - limit) / limit of an upper limit.
    pub times_over: Option<Number>,
    /// Document and clause of the limit.
    pub clause: Option<String>,
    /// Id of the limit.
    pub limit_id: Option<String>,
    /// What it rests on.
    pub evidence: Evidence,
}

/// What an event rests on. A change of evidence alone makes no new version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Evidence {
    /// An hour.
    Hour {
        /// Its minutes.
        minutes: MinuteCounts,
        /// Mean concentration, not converted.
        concentration: Option<Number>,
        /// Mean O2.
        o2: Option<Number>,
    },
    /// A day or month.
    Period {
        /// Valid hours.
        valid_hours: u32,
        /// Hours that were not stopped.
        operating_hours: u32,
        /// Mean concentration, not converted.
        concentration: Option<Number>,
    },
    /// Power of production and abatement by minute, from some minutes before to some after.
    Power {
        /// Production.
        production: Vec<PowerMinute>,
        /// Abatement.
        abatement: Vec<PowerMinute>,
        /// Minutes inside in which the abatement's power is not known. They count neither for nor against.
        unknown_minutes: u32,
    },
    /// Not shown to who asks, nor are the figures. Never kept.
    LeftOut,
}

/// Mean power of a minute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PowerMinute {
    /// Start of the minute.
    pub at: UtcMillis,
    /// kW; `None`: not known.
    pub kw: Option<Number>,
}

/// What has to be kept after judging again: the next version of each event that is new, differs, or is gone.
///
/// `known`: versions kept so far, in any order, of events whose periods were judged again; an event outside the window that was
/// judged must not be among them, or it would be withdrawn. `found`: what the window says now ([`of_hour`], [`of_period`],
/// [`super::abatement::find`]), one for each identity. An event that was never found makes nothing; one that is still withdrawn stays so.
pub fn settle(known: &[ComplianceEvent], found: &[ComplianceEvent]) -> Vec<ComplianceEvent> {
    let mut latest: BTreeMap<&str, &ComplianceEvent> = BTreeMap::new();
    for event in known {
        let kept = latest.entry(&event.id).or_insert(event);
        if kept.version < event.version {
            *kept = event;
        }
    }
    let found: BTreeMap<&str, &ComplianceEvent> = found.iter().map(|event| (event.id.as_str(), event)).collect();
    let next =
        |event: &ComplianceEvent, version: u32, state| ComplianceEvent { version: version.saturating_add(1), state, ..event.clone() };
    let mut settled = Vec::new();
    for (id, event) in &found {
        match latest.get(id) {
            None => settled.push(next(event, 0, EventState::Raised)),
            Some(before) if before.state == EventState::Withdrawn => settled.push(next(event, before.version, EventState::Raised)),
            Some(before) if !before.says_the_same(event) => settled.push(next(event, before.version, EventState::Amended)),
            Some(_) => {}
        }
    }
    let gone = latest.iter().filter(|(id, before)| !found.contains_key(*id) && before.state != EventState::Withdrawn);
    settled.extend(gone.map(|(_, before)| next(before, before.version, EventState::Withdrawn)));
    settled.sort_by(|a, b| (a.from, &a.id).cmp(&(b.from, &b.id)));
    settled
}

/// The exceedances of an hour, version 0. `judgements`: of this hour; others and those that exceed nothing are left out.
pub fn of_hour(enterprise: &str, figure: &HourFigure, judgements: &[Judgement]) -> Vec<ComplianceEvent> {
    let evidence = Evidence::Hour {
        minutes: figure.minutes.clone(),
        concentration: figure.concentration.value.clone(),
        o2: figure.auxiliary.get("o2").and_then(|o2| o2.value.clone()),
    };
    exceedances(enterprise, judgements, (&figure.outlet, &figure.factor, Averaging::Hour, figure.period), &evidence)
}

/// The exceedances of a day or month, version 0; else as [`of_hour`].
pub fn of_period(enterprise: &str, figure: &PeriodFigure, judgements: &[Judgement]) -> Vec<ComplianceEvent> {
    let evidence = Evidence::Period {
        valid_hours: figure.hours.valid,
        operating_hours: figure.hours.operating(),
        concentration: figure.concentration.clone(),
    };
    exceedances(enterprise, judgements, (&figure.outlet, &figure.factor, figure.averaging, figure.period), &evidence)
}

fn exceedances(
    enterprise: &str,
    judgements: &[Judgement],
    (outlet, factor, averaging, period): (&str, &str, Averaging, Period),
    evidence: &Evidence,
) -> Vec<ComplianceEvent> {
    let ours = judgements.iter().filter(|judgement| {
        judgement.verdict == Verdict::Exceeds
            && (judgement.outlet.as_str(), judgement.factor.as_str(), judgement.averaging, judgement.period)
                == (outlet, factor, averaging, period)
    });
    ours.filter_map(|judgement| {
        let limit = judgement.limit.as_ref()?;
        Some(ComplianceEvent {
            id: format!("exceedance/{outlet}/{factor}/{}/{}/{}", averaging.name(), period.from, limit.id),
            version: 0,
            state: EventState::Raised,
            kind: EventKind::Exceedance,
            subject: outlet.to_owned(),
            enterprise: enterprise.to_owned(),
            factor: Some(factor.to_owned()),
            averaging: Some(averaging),
            from: period.from,
            to: Some(period.to),
            value: judgement.value.clone(),
            limit: Some(limit.value.clone()),
            unit: limit.unit.clone(),
            applies_to: Some(limit.applies_to),
            times_over: judgement.times_over.clone(),
            clause: Some(limit.clause.clone()),
            limit_id: Some(limit.id.clone()),
            evidence: evidence.clone(),
        })
    })
    .collect()
}

impl ComplianceEvent {
    /// Whether two versions say the same; version, state and evidence do not count.
    fn says_the_same(&self, other: &Self) -> bool {
        let plain = |event: &Self| Self {
            version: 0,
            state: EventState::Raised,
            evidence: Evidence::Period { valid_hours: 0, operating_hours: 0, concentration: None },
            ..event.clone()
        };
        plain(self) == plain(other)
    }
}
