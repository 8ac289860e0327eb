//! Abatement off or idle while production runs, from the power of both.
//!
//! There is no national number for the bands and the delay; they are learned at each device and entered.

use serde::{Deserialize, Serialize};

use super::event::{ComplianceEvent, EventKind, EventState, Evidence, PowerMinute};
use super::minute;
use super::outlet::{Channel, Names};
use super::sample::Readings;
use super::time::{MINUTE_MS, Period};
use crate::Number;

/// A device of a pair: its power and what it says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PoweredDevice {
    /// `device/point`, kW.
    pub point: String,
    /// Milliseconds from value to value.
    pub interval_ms: u32,
    /// Below: off. kW.
    pub off_below_kw: Number,
    /// Below, and not off: idle. kW.
    pub idle_below_kw: Number,
    /// At or above: running. kW; between `idle_below_kw` and this it stays what it was. Default: `idle_below_kw`.
    #[serde(default)]
    pub running_from_kw: Option<Number>,
}

/// Which abatement belongs to which production.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AbatementPair {
    /// Its id, permanent.
    pub id: String,
    /// What people call it.
    #[serde(default)]
    pub name: Names,
    /// The enterprise.
    pub enterprise: String,
    /// What makes the pollutants.
    pub production: PoweredDevice,
    /// What takes them away.
    pub abatement: PoweredDevice,
    /// Minutes without abatement until it is an event. Default 10.
    #[serde(default = "delay")]
    pub delay_minutes: u32,
    /// Longest run of minutes without data that is bridged. Default 5.
    #[serde(default = "bridge")]
    pub bridge_minutes: u32,
}

fn delay() -> u32 {
    10
}

fn bridge() -> u32 {
    5
}

/// What a window of minutes says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AbatementFindings {
    /// Events found, version 0.
    pub events: Vec<ComplianceEvent>,
    /// Production ran, and nothing is known of the abatement: said as such, never as off.
    pub unknown: Vec<Period>,
    /// The first event began before the window: take a longer one.
    pub cut_at_start: bool,
}

/// Share of the readings due in a minute that makes its mean power known, in %.
const MINUTE_PERCENT: u32 = 75;
/// Minutes of evidence before and after an event.
const EVIDENCE_MARGIN: i64 = 30;
/// Most minutes of evidence after the start of an event.
const EVIDENCE_MINUTES: i64 = 24 * 60;

/// What a device does in a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Band {
    Off,
    Idle,
    Running,
}

/// A minute of a pair.
struct PairMinute {
    period: Period,
    production_kw: Option<Number>,
    abatement_kw: Option<Number>,
    production: Option<Band>,
    abatement: Option<Band>,
}

/// A run of minutes in which production ran without abatement.
struct Run {
    first: usize,
    last_bad: usize,
    bad: u32,
    off: u32,
    unknown: u32,
    unknown_in_a_row: u32,
}

/// Where production ran without abatement in a window of whole minutes that are over.
///
/// An event needs `delay_minutes` of abatement off or idle while production runs. It begins with the first of them, and ends with the last
/// when abatement runs, production stops, or more than `bridge_minutes` are not known; it lasts while it reaches the end of the window. It is
/// [`EventKind::AbatementOff`] as soon as off alone lasted the delay, else [`EventKind::AbatementIdle`]. `readings`: of both points in the window.
/// Choose the window so that it begins before every event that is judged again, with the evidence in it; `cut_at_start` says when it was too short.
pub fn find(pair: &AbatementPair, window: &Period, readings: &Readings) -> AbatementFindings {
    let minutes = minutes_of(pair, window, readings);
    let needed = pair.delay_minutes.max(1);
    let mut findings = AbatementFindings::default();
    let mut run: Option<Run> = None;
    let mut close = |run: Option<Run>, lasts: bool| {
        let Some(run) = run.filter(|run| run.bad >= needed) else { return };
        findings.cut_at_start |= run.first == 0;
        findings.events.extend(event(pair, &minutes, &run, lasts, needed));
    };
    for (index, minute) in minutes.iter().enumerate() {
        let bad = match (minute.production, minute.abatement) {
            (Some(Band::Running), Some(Band::Off)) => Some(true),
            (Some(Band::Running), Some(Band::Idle)) => Some(false),
            (Some(Band::Running), None) | (None, _) => {
                if let Some(open) = &mut run {
                    open.unknown_in_a_row = open.unknown_in_a_row.saturating_add(1);
                    if open.unknown_in_a_row > pair.bridge_minutes {
                        close(run.take(), false);
                    }
                }
                continue;
            }
            _ => None,
        };
        match bad {
            None => close(run.take(), false),
            Some(off) => {
                let open = run.get_or_insert(Run { first: index, last_bad: index, bad: 0, off: 0, unknown: 0, unknown_in_a_row: 0 });
                open.last_bad = index;
                open.bad = open.bad.saturating_add(1);
                open.off = open.off.saturating_add(u32::from(off));
                open.unknown = open.unknown.saturating_add(std::mem::take(&mut open.unknown_in_a_row));
            }
        }
    }
    close(run.take(), true);
    findings.unknown = unknown(&minutes);
    findings
}

fn minutes_of(pair: &AbatementPair, window: &Period, readings: &Readings) -> Vec<PairMinute> {
    let channel = |device: &PoweredDevice| Channel { point: device.point.clone(), interval_ms: device.interval_ms, minute_mean: false };
    let (production, abatement) = (channel(&pair.production), channel(&pair.abatement));
    let mut before = (None, None);
    let minute = |period: Period| {
        let production_kw = minute::mean(&production, MINUTE_PERCENT, readings, &period, false).mean().map(|kw| kw.number());
        let abatement_kw = minute::mean(&abatement, MINUTE_PERCENT, readings, &period, false).mean().map(|kw| kw.number());
        let bands = (
            production_kw.as_ref().and_then(|kw| pair.production.band(kw, before.0)),
            abatement_kw.as_ref().and_then(|kw| pair.abatement.band(kw, before.1)),
        );
        before = (bands.0.or(before.0), bands.1.or(before.1));
        PairMinute { period, production_kw, abatement_kw, production: bands.0, abatement: bands.1 }
    };
    window.minutes().map(minute).collect()
}

fn event(pair: &AbatementPair, minutes: &[PairMinute], run: &Run, lasts: bool, needed: u32) -> Option<ComplianceEvent> {
    let from = minutes.get(run.first)?.period.from;
    let last = minutes.get(run.last_bad)?.period.to;
    let end = if lasts { minutes.last()?.period.to } else { last };
    let shown = Period {
        from: from.plus(EVIDENCE_MARGIN.saturating_mul(-MINUTE_MS)),
        to: end.plus(EVIDENCE_MARGIN.saturating_mul(MINUTE_MS)).min(from.plus(EVIDENCE_MINUTES.saturating_mul(MINUTE_MS))),
    };
    let curve = |kw: fn(&PairMinute) -> &Option<Number>| -> Vec<PowerMinute> {
        let inside = minutes.iter().filter(|minute| shown.holds(minute.period.from));
        inside.map(|minute| PowerMinute { at: minute.period.from, kw: kw(minute).clone() }).collect()
    };
    // The minutes of the delay: a figure that stays what it is while the event lasts.
    let bad = minutes.get(run.first..)?.iter().filter(|minute| matches!(minute.abatement, Some(Band::Off | Band::Idle)));
    let bad: Vec<&Number> = bad.filter_map(|minute| minute.abatement_kw.as_ref()).take(usize::try_from(needed).ok()?).collect();
    let value = bad.iter().copied().sum::<Number>().over(&Number::from(i64::try_from(bad.len()).ok()?));
    Some(ComplianceEvent {
        id: format!("abatement/{}/{from}", pair.id),
        version: 0,
        state: EventState::Raised,
        kind: if run.off >= needed { EventKind::AbatementOff } else { EventKind::AbatementIdle },
        subject: pair.id.clone(),
        enterprise: pair.enterprise.clone(),
        factor: None,
        averaging: None,
        from,
        to: (!lasts).then_some(last),
        value: value.map(|value| value.rounded(super::limit::COMPARED_DECIMALS)),
        limit: Some(pair.abatement.running_from().clone()),
        unit: "kW".to_owned(),
        applies_to: None,
        times_over: None,
        clause: None,
        limit_id: None,
        evidence: Evidence::Power {
            production: curve(|minute| &minute.production_kw),
            abatement: curve(|minute| &minute.abatement_kw),
            unknown_minutes: run.unknown,
        },
    })
}

/// Runs of minutes in which production runs and the abatement is not known.
fn unknown(minutes: &[PairMinute]) -> Vec<Period> {
    let is_unknown = |minute: &PairMinute| minute.production == Some(Band::Running) && minute.abatement.is_none();
    let runs = minutes.chunk_by(|a, b| is_unknown(a) == is_unknown(b)).filter(|run| run.first().is_some_and(is_unknown));
    runs.filter_map(|run| Some(Period { from: run.first()?.period.from, to: run.last()?.period.to })).collect()
}

impl PoweredDevice {
    fn running_from(&self) -> &Number {
        self.running_from_kw.as_ref().unwrap_or(&self.idle_below_kw)
    }

    /// What it does at a power; between idle and running what it did before, `None` when that is not known.
    fn band(&self, kw: &Number, before: Option<Band>) -> Option<Band> {
        if kw >= self.running_from() {
            Some(Band::Running)
        } else if *kw < self.off_below_kw {
            Some(Band::Off)
        } else if *kw < self.idle_below_kw {
            Some(Band::Idle)
        } else {
            before.map(|before| if before == Band::Running { Band::Running } else { Band::Idle })
        }
    }
}
