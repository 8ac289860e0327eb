//! Alarms: rules watch the record as it grows, people acknowledge and shelve, every event goes through a durable outbox to
//! every receiver. Compliance events come in by the facts and go out as they are.
//!
//! ```text
//! journal --(own cursor)--> evaluate --+
//! facts: acts, compliance events ------+--> outbox (alarms.db) --> API: now, replay, stream
//! clock: ticks ------------------------+                      \--> notify: one thread per receiver
//! ```
//!
//! One thread ([`follow`]) makes all events; states and events are kept in one commit. Receivers have threads and places
//! of their own: none waits for another, and nothing waits for them.
//!
//! In reading order: [`event`] what is published; [`settings`]; [`load`] rule files; [`bind`] rules on the park; [`words`];
//! [`evaluate`] from samples to events; [`compliance`]; [`outbox`]; [`act`] what people do; [`view`] what the API reads; [`follow`] the thread; [`notify`]
//! receivers.

pub mod event;
pub mod settings;
pub mod load;
pub mod bind;
pub mod words;
pub mod evaluate;
pub mod compliance;
pub mod outbox;
pub mod act;
pub mod view;
pub mod follow;
pub mod notify;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use parkgate_collector::clock::Clock;
use parkgate_collector::journal::{Journal, Sequence};

pub use event::{Event, EventKind, Standing, Track};
pub use settings::{AlarmSettings, AlertmanagerSettings, WebhookSettings};
pub use view::Alarms;

use crate::current::{Configured, Current};
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use crate::store::{DataDirectory, Facts, History};
use crate::threads::Thread;
use outbox::Outbox;

/// What alarms are fed from.
#[derive(Clone)]
pub struct Sources {
    /// Points, devices, names, and the rules.
    pub configured: Current<Configured>,
    /// What is new.
    pub journal: Journal,
    /// What is older than the journal.
    pub history: History,
    /// Acts and compliance events.
    pub facts: Arc<Facts>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Counters.
    pub metrics: Metrics,
    /// Where a receiver that does not take alarms is told.
    pub readiness: Readiness,
}

/// The receivers of a configuration.
#[derive(Clone, Copy, Debug)]
pub struct Receivers<'a> {
    /// Alertmanagers.
    pub alertmanagers: &'a [AlertmanagerSettings],
    /// Webhooks.
    pub webhooks: &'a [WebhookSettings],
}

/// The running threads.
#[derive(Debug)]
pub struct Threads {
    follower: Thread,
    notifiers: crate::threads::Threads,
}

/// Opens the outbox of a data directory and starts to watch. Files that settings name are relative to `base`.
///
/// # Errors
/// When `alarms.db` cannot be used, a file of a secret or certificate cannot be read, or there is no thread to be had.
pub fn start(
    settings: &AlarmSettings,
    receivers: Receivers<'_>,
    base: &Path,
    directory: &DataDirectory,
    sources: &Sources,
) -> Result<(Alarms, Threads)> {
    let path = directory.alarms();
    let outbox = Outbox::open(&path).with_context(|| format!("{} cannot be used; put back a backup", path.display()))?;
    let alarms = Alarms::new(Some(path), &outbox, &sources.configured.get().rules, Arc::clone(&sources.facts))
        .context("alarms.db cannot be read")?;
    let notifiers = notify::start(receivers, settings.external_url.as_deref(), base, &alarms, sources)?;
    let follower = follow::Follower::new(settings.clone(), alarms.clone(), directory.facts(), sources.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().context("no timer for alarms")?;
    let follower = Thread::spawn("alarms", move |cancel| follower.run(&runtime, cancel)).context("no thread for alarms")?;
    Ok((alarms, Threads { follower, notifiers }))
}

impl Threads {
    /// Whether the thread that makes events ended although it should run.
    pub fn failed(&self) -> bool {
        self.follower.failed()
    }

    /// Ends the threads; those that hang in a request are left behind. Blocks.
    pub fn stop(self) -> bool {
        let stopped = self.follower.stop();
        self.notifiers.stop();
        stopped
    }
}

/// The furthest journal entry that alarms have read: the journal gives no number up to it to a new entry. A file that
/// cannot be read is passed over: alarms say so when they start.
pub fn furthest(directory: &Path) -> Sequence {
    let next = Outbox::open_read_only(&directory.join("alarms.db")).ok().and_then(|outbox| outbox.journal().ok().flatten());
    Sequence(next.map_or(0, |next| next.0.saturating_sub(1)))
}

/// Gives the outbox of a data directory that was made of a backup an epoch of its own.
///
/// # Errors
/// When it is there and cannot be written.
pub fn restored(directory: &Path) -> Result<(), crate::store::StoreError> {
    let path = directory.join("alarms.db");
    if path.exists() { Outbox::open(&path)?.renew_epoch() } else { Ok(()) }
}
