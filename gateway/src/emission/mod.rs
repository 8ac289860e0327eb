//! Emissions of outlets: hours, days and months counted from the record, judged by the limits that people entered; and
//! whether abatement runs while production does. What decides is the pure core, `parkgate_rules::emission`; here it gets
//! its readings, and what it finds is kept.
//!
//! Figures are a view of the record and of the entries: `emission.db` can be deleted and is made again. What was told to
//! others is a fact of its own: compliance events and corrections are entered, versions of them as further entries.
//!
//! In reading order: [`settings`] what the configuration may say; [`plan`] joined to points; [`seen`] what of
//! an event somebody may see; [`entered`] limits and marks;
//! [`span`] calendars; [`readings`] from the record; [`store`] the file; [`events`] and [`correction`] what is entered by
//! the program; [`count`] hours, days, months; [`watch`] abatement; [`mod@follow`] the journal; [`view`] answers.

pub mod settings;
pub mod plan;
pub mod seen;
pub mod entered;
pub mod span;
pub mod readings;
pub mod store;
pub mod events;
pub mod correction;
pub mod count;
pub mod watch;
pub mod follow;
pub mod view;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use parkgate_collector::catalogue::Catalogue;
use parkgate_collector::clock::Clock;
use parkgate_collector::journal::Journal;
use parkgate_rules::emission::Outlet;
use parkgate_rules::emission::abatement::AbatementPair;

use crate::metrics::Metrics;
use crate::store::follow::follow;
use crate::store::{DataDirectory, Facts, History, StoreError};
use crate::threads::Thread;

pub use entered::{Author, HeldLimit, HeldMark, LimitStep, MarkStep, NewLimit, NewMark, Refusal};
pub use events::KeptEvent;
pub use plan::Plan;
pub use seen::Sight;
pub use view::{EmissionView, Emissions, Judged, KeptCorrection};

/// What emissions are counted from.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// What is configured.
    pub catalogue: &'a Arc<Catalogue>,
    /// What is new.
    pub journal: &'a Journal,
    /// The record.
    pub history: &'a History,
    /// Where the file is.
    pub directory: &'a DataDirectory,
    /// What was entered.
    pub facts: &'a Arc<Facts>,
    /// The gateway's metrics.
    pub metrics: &'a Metrics,
    /// The time, for entries.
    pub clock: &'a Arc<dyn Clock>,
}

/// Opens the emissions of a data directory and starts to follow the journal. Whoever has another [`Plan`] ends the thread and
/// starts anew: what was counted by then is kept, and what is configured otherwise is counted again.
///
/// # Errors
/// When `emission.db` cannot be used, or there is no thread to be had.
pub fn start(
    sources: &Sources<'_>,
    outlets: &[Outlet],
    pairs: &[AbatementPair],
    grace_ms: i64,
) -> Result<(Arc<Emissions>, Thread), StoreError> {
    let Sources { catalogue, journal, history, directory, facts, metrics, clock } = *sources;
    let path = directory.emission();
    let plan = Arc::new(Plan::new(catalogue, outlets, pairs));
    let record = Arc::new(history.clone());
    let store = store::EmissionStore::open(&path, &plan.zone)?;
    let parts =
        follow::Parts { record: Arc::clone(&record) as _, facts: Arc::clone(facts), clock: Arc::clone(clock), metrics: metrics.clone() };
    let follower = follow::Follower::new(Arc::clone(&plan), parts, store, grace_ms)?;
    let emissions = Arc::new(Emissions::new(plan, record, Arc::clone(facts), Some(store::EmissionStore::open_read_only(&path)?)));
    let (journal, history) = (journal.clone(), history.clone());
    let thread = Thread::spawn("emission", move |cancel| {
        let cursor = follower.next();
        follow(follower, cursor, &journal, &history, cancel);
    });
    Ok((emissions, thread.map_err(|error| StoreError::Io { path, error })?))
}
