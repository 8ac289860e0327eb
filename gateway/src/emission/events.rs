//! Compliance events as they were entered: the latest version of each, found by what it is about.
//!
//! The entries are the only memory. Nobody but the follower enters events, and it holds the lock of the data directory; so
//! what is settled against them is entered once, also when the program was killed right after entering it.

use std::collections::{BTreeSet, HashMap};

use parkgate_collector::model::UtcMillis;
use parkgate_rules::emission::event::{EventKind, EventState};
use parkgate_rules::emission::time::UtcMillis as Time;
use parkgate_rules::emission::{Averaging, ComplianceEvent};
use serde::Serialize;

use crate::store::{Entry, EntryKind, Facts, NewEntry, StoreError};

/// Who the entries of the program itself are by.
pub const AUTHOR: &str = "parkgate";

/// A version of an event with its entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeptEvent {
    /// Number of the entry; later ones are greater.
    pub entry: i64,
    /// When it was entered.
    pub entered_at: Time,
    /// The version.
    #[serde(flatten)]
    pub event: ComplianceEvent,
}

impl KeptEvent {
    /// Of an entry; `None` for one that cannot be understood.
    pub fn of(entry: &Entry) -> Option<Self> {
        let event = serde_json::from_value(entry.body.clone())
            .inspect_err(|error| tracing::error!(entry = entry.id, error = %error, "compliance event cannot be understood and is left out"))
            .ok()?;
        Some(Self { entry: entry.id, entered_at: Time(entry.time.0), event })
    }
}

/// What an exceedance is about.
type About = (String, Option<String>, Option<Averaging>, Time);

/// The latest versions.
#[derive(Debug, Default)]
pub struct Events {
    latest: HashMap<String, ComplianceEvent>,
    about: HashMap<About, BTreeSet<String>>,
    /// Of pairs, by their ids.
    pairs: HashMap<String, BTreeSet<String>>,
}

impl Events {
    /// Reads all that was entered.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn load(facts: &Facts) -> Result<Self, StoreError> {
        let mut events = Self::default();
        for kept in facts.entries(EntryKind::ComplianceEvent, 0)?.iter().filter_map(KeptEvent::of) {
            events.take(kept.event);
        }
        Ok(events)
    }

    /// Takes a version that was entered.
    pub fn take(&mut self, event: ComplianceEvent) {
        if event.kind == EventKind::Exceedance {
            let about = (event.subject.clone(), event.factor.clone(), event.averaging, event.from);
            self.about.entry(about).or_default().insert(event.id.clone());
        } else {
            self.pairs.entry(event.subject.clone()).or_default().insert(event.id.clone());
        }
        self.latest.insert(event.id.clone(), event);
    }

    /// The latest versions of exceedances in one average.
    pub fn of_average(&self, outlet: &str, factor: &str, averaging: Averaging, from: Time) -> Vec<ComplianceEvent> {
        let about = (outlet.to_owned(), Some(factor.to_owned()), Some(averaging), from);
        self.by_ids(self.about.get(&about))
    }

    /// The latest versions of a pair's events.
    pub fn of_pair(&self, pair: &str) -> Vec<ComplianceEvent> {
        self.by_ids(self.pairs.get(pair))
    }

    fn by_ids(&self, ids: Option<&BTreeSet<String>>) -> Vec<ComplianceEvent> {
        ids.into_iter().flatten().filter_map(|id| self.latest.get(id)).cloned().collect()
    }

    /// How many are in force: raised or amended, not withdrawn.
    pub fn in_force(&self) -> usize {
        self.latest.values().filter(|event| event.state != EventState::Withdrawn).count()
    }
}

/// The entry of a version.
///
/// # Errors
/// Never for an event; the text of a number always becomes JSON.
pub fn entry(event: &ComplianceEvent) -> Result<NewEntry, StoreError> {
    Ok(NewEntry {
        kind: EntryKind::ComplianceEvent,
        subject: event.id.clone(),
        body: body(event)?,
        author: AUTHOR.to_owned(),
        document: event.clause.clone(),
    })
}

/// Something as the body of an entry.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn body(value: &impl Serialize) -> Result<serde_json::Value, StoreError> {
    serde_json::to_value(value).map_err(|error| StoreError::Damaged(format!("an entry cannot be written as JSON: {error}")))
}

/// How long after its last minute an open event may go on.
pub fn end_of(event: &ComplianceEvent) -> UtcMillis {
    UtcMillis(event.to.map_or(i64::MAX, |to| to.0))
}
