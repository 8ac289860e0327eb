//! How each link and device is doing: written by drivers, read by the API. In memory only; changes of state are
//! journalled as well.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use serde::Serialize;

use crate::model::UtcMillis;

/// State of a link or a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing heard and nothing tried yet.
    #[default]
    Unknown,
    /// The last exchange went well.
    Up,
    /// It answers, but not for everything asked.
    Degraded,
    /// It does not answer.
    Down,
}

/// What is known about one device (or, under the link's id, about a link).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Health {
    /// State now.
    pub state: State,
    /// Since when.
    pub since: UtcMillis,
    /// Last time it gave a usable answer.
    pub last_ok: Option<UtcMillis>,
    /// Last error, for a person.
    pub last_error: Option<String>,
    /// When that was.
    pub last_error_time: Option<UtcMillis>,
    /// Readings received since start.
    pub received: u64,
    /// Inputs rejected since start.
    pub rejected: u64,
    /// Polls, messages or requests that failed since start.
    pub failed: u64,
    /// Polls skipped since start because the one before was not done.
    pub skipped: u64,
    /// Why its values are doubted as a whole, for a person: energy and power that disagree.
    pub doubt: Option<String>,
}

/// A topic that messages came on and that no device has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unknown {
    /// Id of the link it came by.
    pub link: String,
    /// The topic.
    pub topic: String,
    /// Messages since start.
    pub count: u64,
    /// When the first one came.
    pub first: UtcMillis,
    /// When the last one came.
    pub last: UtcMillis,
    /// Beginning of the first payload, as text.
    pub sample: String,
    /// A device for the configuration, to be pasted and completed.
    pub snippet: String,
}

/// What was heard of devices that are not configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unknowns {
    /// One entry per topic, by link and topic; at most [`UNKNOWN_MAX`].
    pub list: Vec<Unknown>,
    /// Messages on further topics, which are only counted.
    pub others: u64,
}

/// Topics of unknown devices that are remembered, over all links.
pub const UNKNOWN_MAX: usize = 200;

/// The board all drivers write on. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct HealthBoard(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    devices: BTreeMap<String, Health>,
    links: BTreeMap<String, Health>,
    /// By link and topic.
    unknown: BTreeMap<(String, String), Unknown>,
    unknown_others: u64,
}

impl HealthBoard {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Changes what is known about a device.
    pub fn device(&self, id: &str, change: impl FnOnce(&mut Health)) {
        change(entry(&mut self.lock().devices, id));
    }

    /// Changes what is known about a link.
    pub fn link(&self, id: &str, change: impl FnOnce(&mut Health)) {
        change(entry(&mut self.lock().links, id));
    }

    /// Notes a message of a device that is not configured. `describe` makes sample and snippet of the first one of a topic;
    /// beyond [`UNKNOWN_MAX`] topics it is counted only.
    pub fn unknown(&self, link: &str, topic: &str, now: UtcMillis, describe: impl FnOnce() -> (String, String)) {
        let mut inner = self.lock();
        let key = (link.to_owned(), topic.to_owned());
        if let Some(known) = inner.unknown.get_mut(&key) {
            known.count = known.count.saturating_add(1);
            known.last = now;
        } else if inner.unknown.len() < UNKNOWN_MAX {
            let (sample, snippet) = describe();
            let entry = Unknown { link: key.0.clone(), topic: key.1.clone(), count: 1, first: now, last: now, sample, snippet };
            inner.unknown.insert(key, entry);
        } else {
            inner.unknown_others = inner.unknown_others.saturating_add(1);
        }
    }

    /// Forgets links and devices that are no more; and what was heard of devices that were not configured on the links that
    /// `heard_anew` names.
    pub fn retain(&self, link: impl Fn(&str) -> bool, device: impl Fn(&str) -> bool, heard_anew: impl Fn(&str) -> bool) {
        let mut inner = self.lock();
        inner.links.retain(|id, _| link(id));
        inner.devices.retain(|id, _| device(id));
        inner.unknown.retain(|(id, _), _| link(id) && !heard_anew(id));
    }

    /// What was heard of devices that are not configured.
    pub fn unknowns(&self) -> Unknowns {
        let inner = self.lock();
        Unknowns { list: inner.unknown.values().cloned().collect(), others: inner.unknown_others }
    }

    /// All devices by id.
    pub fn devices(&self) -> BTreeMap<String, Health> {
        self.lock().devices.clone()
    }

    /// All links by id.
    pub fn links(&self) -> BTreeMap<String, Health> {
        self.lock().links.clone()
    }
}

fn entry<'a>(map: &'a mut BTreeMap<String, Health>, id: &str) -> &'a mut Health {
    if !map.contains_key(id) {
        map.insert(id.to_owned(), Health::default());
    }
    map.get_mut(id).expect("inserted above")
}

impl Health {
    /// An exchange went well.
    pub fn ok(&mut self, now: UtcMillis, readings: u64) {
        self.set(State::Up, now);
        self.last_ok = Some(now);
        self.received = self.received.saturating_add(readings);
    }

    /// An exchange failed; `state` says how bad that is.
    pub fn error(&mut self, now: UtcMillis, state: State, error: impl Into<String>) {
        self.set(state, now);
        self.failed = self.failed.saturating_add(1);
        self.last_error = Some(error.into());
        self.last_error_time = Some(now);
    }

    fn set(&mut self, state: State, now: UtcMillis) {
        if self.state != state {
            self.state = state;
            self.since = now;
        }
    }
}
