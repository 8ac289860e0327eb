//! Watches pairs of production and abatement: which minutes to look at again, and what they say.
//!
//! A window is made so long that every event that may be told otherwise lies in it as a whole: what is known of a pair and
//! lies in the window is settled against what is found there.

use parkgate_collector::model::UtcMillis;
use parkgate_rules::emission::event::EventState;
use parkgate_rules::emission::{ComplianceEvent, Period, abatement, event};

use super::events::{Events, end_of};
use super::plan::PlannedPair;
use super::readings;
use super::span::to_core;
use crate::store::{RecordView, StoreError};

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 86_400_000;
/// Minutes of evidence around an event, and one more.
const EVIDENCE_MS: i64 = 31 * MINUTE_MS;
/// Most days that a window grows by on either side; an event that lasts longer is told in parts.
const GROWS_MAX: usize = 31;

/// What a look works on.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// The record.
    pub record: &'a dyn RecordView,
    /// The pair.
    pub planned: &'a PlannedPair,
    /// What was entered.
    pub events: &'a Events,
    /// The first minute that there is anything of.
    pub first: UtcMillis,
    /// End of the last whole minute that is over.
    pub over: UtcMillis,
}

impl Watch<'_> {
    /// Looks at the minutes `[from, to)` again; next versions of events.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn look(&self, from: UtcMillis, to: UtcMillis) -> Result<Vec<ComplianceEvent>, StoreError> {
        let pair = &self.planned.pair;
        let known = self.events.of_pair(&pair.id);
        let minutes = pair.delay_minutes.saturating_add(pair.bridge_minutes);
        let margin = i64::from(minutes).saturating_mul(MINUTE_MS).saturating_add(EVIDENCE_MS);
        let (mut from, mut to) = (from.plus(margin.saturating_neg()), to.plus(margin));
        // Events that reach into the window lie in it as a whole.
        for event in known.iter().filter(|event| event.state != EventState::Withdrawn) {
            let start = UtcMillis(event.from.0);
            if start < to && from <= end_of(event) {
                from = from.min(start.plus(margin.saturating_neg()));
                to = to.max(end_of(event).min(self.over).plus(margin));
            }
        }
        (from, to) = (from.max(self.first).floor_to(MINUTE_MS), to.min(self.over).floor_to(MINUTE_MS));
        if from >= to {
            return Ok(Vec::new());
        }
        let mut found = self.find(from, to)?;
        for _ in 0..GROWS_MAX {
            let begins_before = found.cut_at_start && from > self.first;
            let lasts = to < self.over && found.events.iter().any(|event| event.to.is_none());
            if !begins_before && !lasts {
                break;
            }
            if begins_before {
                from = from.plus(-DAY_MS).max(self.first).floor_to(MINUTE_MS);
            }
            if lasts {
                to = to.plus(DAY_MS).min(self.over).floor_to(MINUTE_MS);
            }
            found = self.find(from, to)?;
        }
        let inside = |event: &ComplianceEvent| (from.0..to.0).contains(&event.from.0);
        let known: Vec<ComplianceEvent> = known.into_iter().filter(inside).collect();
        Ok(event::settle(&known, &found.events))
    }

    fn find(&self, from: UtcMillis, to: UtcMillis) -> Result<abatement::AbatementFindings, StoreError> {
        let readings = readings::read(self.record, &self.planned.points, from, to)?;
        Ok(abatement::find(&self.planned.pair, &Period { from: to_core(from), to: to_core(to) }, &readings))
    }
}
