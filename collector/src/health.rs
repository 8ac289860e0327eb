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
}

/// The board all drivers write on. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct HealthBoard(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    devices: BTreeMap<String, Health>,
    links: BTreeMap<String, Health>,
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
