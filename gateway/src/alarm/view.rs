//! What is known of alarms outside their thread: what is on, what was told, and the way in for what people do.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use parkgate_collector::model::UtcMillis as Time;
use parkgate_rules::alarm::{Priority, Rule, UtcMillis};
use tokio::sync::{Notify, broadcast, watch};

use super::act::{ActError, Done};
use super::event::{Event, Replay, Standing, Track};
use super::outbox::Outbox;
use crate::store::{Entry, Facts, StoreError};

/// Events that a client of the stream may be behind.
pub const EVENTS_BEHIND_MAX: usize = 1_024;
/// Compliance events that are shown.
const COMPLIANCE_SHOWN: usize = 200;

/// See the module. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Alarms(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: Option<PathBuf>,
    rules: RwLock<Arc<[Rule]>>,
    facts: Arc<Facts>,
    view: Mutex<View>,
    events: broadcast::Sender<Arc<Event>>,
    /// The newest event that is durable.
    durable: watch::Sender<u64>,
    /// The last entry of the facts that was taken in.
    inbox: watch::Sender<i64>,
    nudge: Notify,
}

#[derive(Debug)]
struct View {
    epoch: String,
    standing: BTreeMap<String, Event>,
    compliance: VecDeque<Event>,
}

/// What is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Now {
    /// The outbox there is.
    pub epoch: String,
    /// Operator alarms that are on, shelved ones included: the last event of each.
    pub operator: Vec<Event>,
    /// The last version of each compliance event of late, the newest first.
    pub compliance: Vec<Event>,
}

/// Something was not entered.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// It cannot be done.
    #[error(transparent)]
    Act(#[from] ActError),
    /// The facts could not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Alarms {
    /// Of what the outbox holds.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn new(path: Option<PathBuf>, outbox: &Outbox, rules: &[Rule], facts: Arc<Facts>) -> Result<Self, StoreError> {
        let standing = outbox.standing()?.into_iter().map(|event| (event.fingerprint.clone(), event)).collect();
        let view = View { epoch: outbox.epoch().to_owned(), standing, compliance: VecDeque::new() };
        let (durable, inbox) = (outbox.bounds()?.1, outbox.inbox()?);
        let alarms = Self(Arc::new(Shared {
            path,
            rules: RwLock::new(rules.into()),
            facts,
            view: Mutex::new(view),
            events: broadcast::channel(EVENTS_BEHIND_MAX).0,
            durable: watch::channel(durable).0,
            inbox: watch::channel(inbox).0,
            nudge: Notify::new(),
        }));
        let shown = outbox.compliance(COMPLIANCE_SHOWN)?;
        shown.into_iter().for_each(|event| alarms.view().remember(event));
        Ok(alarms)
    }

    /// Without an outbox: nothing is on and nothing comes.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn none(facts: Arc<Facts>) -> Result<Self, StoreError> {
        Self::new(None, &Outbox::open(std::path::Path::new(":memory:"))?, &[], facts)
    }

    fn view(&self) -> MutexGuard<'_, View> {
        self.0.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in events that are durable, and how far the facts were read.
    pub fn publish(&self, events: &[Event], inbox: Option<i64>) {
        {
            let mut view = self.view();
            for event in events {
                view.take(event);
            }
        }
        if let Some(last) = events.last() {
            self.0.durable.send_replace(last.seq);
        }
        for event in events {
            // Fails only when nobody listens.
            let _ = self.0.events.send(Arc::new(event.clone()));
        }
        if let Some(inbox) = inbox {
            self.0.inbox.send_replace(inbox);
        }
    }

    /// What is on.
    pub fn now(&self) -> Now {
        let view = self.view();
        let operator = view.standing.values().filter(|event| event.track == Track::Operator).cloned().collect();
        Now { epoch: view.epoch.clone(), operator, compliance: view.compliance.iter().rev().cloned().collect() }
    }

    /// How many operator alarms are on, by priority.
    pub fn counts(&self) -> [(Priority, usize); 5] {
        let view = self.view();
        let count = |name: &str| {
            let of = |event: &&Event| event.labels.get("priority").is_some_and(|priority| priority == name);
            view.standing.values().filter(|event| event.track == Track::Operator).filter(of).count()
        };
        Priority::ALL.map(|priority| (priority, count(priority.name())))
    }

    /// The last event of an alarm that is on, or of a compliance event of late.
    pub fn find(&self, fingerprint: &str) -> Option<Event> {
        let view = self.view();
        let compliance = || view.compliance.iter().find(|event| event.fingerprint == fingerprint);
        view.standing.get(fingerprint).or_else(compliance).cloned()
    }

    /// The rules.
    pub fn rules(&self) -> Arc<[Rule]> {
        Arc::clone(&self.0.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Shows other rules from now on.
    pub fn set_rules(&self, rules: &[Rule]) {
        *self.0.rules.write().unwrap_or_else(PoisonError::into_inner) = rules.into();
    }

    /// The epoch.
    pub fn epoch(&self) -> String {
        self.view().epoch.clone()
    }

    /// The newest durable event.
    pub fn last_seq(&self) -> u64 {
        *self.0.durable.borrow()
    }

    /// Events as they become durable.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Event>> {
        self.0.events.subscribe()
    }

    /// How many listen to events.
    pub fn listeners(&self) -> usize {
        self.0.events.receiver_count()
    }

    /// Told when there are new events.
    pub fn durable(&self) -> watch::Receiver<u64> {
        self.0.durable.subscribe()
    }

    /// Where the outbox is.
    pub fn path(&self) -> Option<&PathBuf> {
        self.0.path.as_ref()
    }

    /// Events after `after_seq` of `epoch`; all of them when the epoch is another one, or none is named and the number is 0.
    /// Blocks.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn replay(&self, epoch: Option<&str>, after_seq: u64, limit: usize) -> Result<Replay, StoreError> {
        let Some(path) = &self.0.path else {
            let epoch = self.epoch();
            return Ok(Replay { epoch, restarted: false, oldest_seq: 0, last_seq: 0, items: Vec::new(), next_after_seq: 0 });
        };
        let outbox = Outbox::open_read_only(path)?;
        let (oldest_seq, last_seq) = outbox.bounds()?;
        // A number beyond all there is is of another epoch, too.
        let restarted = epoch.is_some_and(|epoch| epoch != outbox.epoch()) || after_seq > last_seq;
        let after = if restarted { 0 } else { after_seq };
        let items = outbox.events(after, limit)?;
        let next_after_seq = items.last().map_or(after, |event| event.seq);
        Ok(Replay { epoch: outbox.epoch().to_owned(), restarted, oldest_seq, last_seq, items, next_after_seq })
    }

    /// Enters what somebody did; its entry. It counts when [`Self::taken_in`] says so. Blocks.
    ///
    /// # Errors
    /// When it cannot be done, or not be written.
    pub fn enter(&self, fingerprint: &str, done: &Done, author: &str, now: Time) -> Result<Entry, EnterError> {
        done.check(fingerprint, self.find(fingerprint).as_ref(), UtcMillis(now.0))?;
        let entry = self.0.facts.append(done.entry(fingerprint, author), now)?;
        self.0.nudge.notify_one();
        Ok(entry)
    }

    /// Returns when an entry was taken in.
    pub async fn taken_in(&self, entry: i64) {
        let mut inbox = self.0.inbox.subscribe();
        let _ = inbox.wait_for(|taken| *taken >= entry).await;
    }

    /// Waits until somebody entered something.
    pub async fn nudged(&self) {
        self.0.nudge.notified().await;
    }
}

impl View {
    fn take(&mut self, event: &Event) {
        if event.ends() {
            self.standing.remove(&event.fingerprint);
        } else if super::outbox::stands(event) {
            self.standing.insert(event.fingerprint.clone(), event.clone());
        }
        if event.track == Track::Compliance {
            self.remember(event.clone());
        }
    }

    /// Keeps the last version of a compliance event.
    fn remember(&mut self, mut event: Event) {
        if let Some(at) = self.compliance.iter().position(|known| known.fingerprint == event.fingerprint)
            && let Some(known) = self.compliance.remove(at)
            && event.kind == super::event::EventKind::Resolved
        {
            // That its period is over says less than what it was.
            event = Event { state: Standing::Resolved, seq: event.seq, ..known };
        }
        self.compliance.push_back(event);
        if self.compliance.len() > COMPLIANCE_SHOWN {
            self.compliance.pop_front();
        }
    }
}
