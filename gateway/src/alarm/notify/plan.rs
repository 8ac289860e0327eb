//! What an Alertmanager is to be told, and when. Pure: no socket, no clock.
//!
//! Alertmanager keeps an alarm by its labels and forgets it after `endsAt`. So what is on is sent again and again, with an
//! end that lies four times so far ahead, and what is over for a quarter of an hour (as Prometheus does it). An alarm that is
//! over before its first notification is told to nobody there; so it stays on for a hold, also one that was over when it was
//! found. Events of one alarm go in their order; a hold is cut short by the alarm's own next episode, and where so many are
//! held that memory would go. What is held delays nothing else: alarms that are on go first.

use std::collections::{BTreeMap, VecDeque};

use parkgate_rules::alarm::UtcMillis;
use serde::Serialize;

use super::super::event::{Event, Standing, Texts};

/// What is over is sent again for so long.
const RESOLVED_MS: i64 = 15 * 60_000;
/// `endsAt` of what is on lies so many resends ahead.
const ENDS_RESENDS: i64 = 4;
/// Further events are read while fewer than so many can be sent; so many at once.
const READY_MAX: usize = 1_000;
/// Most alarms that are held. While there are more, holds are cut short: what is new does not wait for what is over.
const HELD_MAX: usize = 20_000;

/// See the module.
#[derive(Debug)]
pub struct Plan {
    resend_ms: i64,
    hold_ms: i64,
    alarms: BTreeMap<String, Alarm>,
    /// The last event that was added.
    added: u64,
}

#[derive(Debug, Default)]
struct Alarm {
    /// Events that are not delivered yet.
    queue: VecDeque<Event>,
    /// What was delivered last.
    told: Option<Told>,
}

#[derive(Debug)]
struct Told {
    event: Event,
    /// When the present state was delivered first.
    first: UtcMillis,
    /// When it was delivered last.
    last: UtcMillis,
}

/// One alert to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// Whose.
    pub fingerprint: String,
    /// The event that it tells; it may be one that was delivered before.
    pub seq: u64,
    /// When that was made.
    pub made: UtcMillis,
    /// As it goes.
    pub alert: Alert,
}

/// An alert of Alertmanager's API v2 (`postableAlert`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    /// What identifies it.
    pub labels: Texts,
    /// What may change.
    pub annotations: Texts,
    /// Since when.
    pub starts_at: String,
    /// Until when, unless it is sent again.
    pub ends_at: String,
    /// Where it can be looked at.
    #[serde(rename = "generatorURL", skip_serializing_if = "Option::is_none")]
    pub generator_url: Option<String>,
}

impl Plan {
    /// With seconds between two times that an alarm is sent, and those that it stays on at least.
    pub fn new(resend_s: u32, hold_s: u32) -> Self {
        let ms = |seconds: u32| i64::from(seconds).saturating_mul(1_000);
        Self { resend_ms: ms(resend_s), hold_ms: ms(hold_s), alarms: BTreeMap::new(), added: 0 }
    }

    /// Goes on behind event `seq`, which was delivered, with what was: alarms that are on, and those that were over of late.
    pub fn resume(&mut self, seq: u64, delivered: impl IntoIterator<Item = Event>) {
        self.added = seq;
        for event in delivered.into_iter().filter(|event| !event.suppressed) {
            let first = event.time;
            let told = Told { event, first, last: UtcMillis(i64::MIN) };
            self.alarms.insert(told.event.fingerprint.clone(), Alarm { queue: VecDeque::new(), told: Some(told) });
        }
    }

    /// Adds the next event.
    pub fn add(&mut self, event: Event) {
        self.added = self.added.max(event.seq);
        if !event.suppressed {
            self.alarms.entry(event.fingerprint.clone()).or_default().queue.push_back(event);
        }
    }

    /// The last event that need not be asked for again: all up to it are delivered.
    pub fn delivered(&self) -> u64 {
        let waiting = self.alarms.values().filter_map(|alarm| alarm.queue.front()).map(|event| event.seq).min();
        waiting.map_or(self.added, |seq| seq.saturating_sub(1))
    }

    /// The last event that was added.
    pub fn added(&self) -> u64 {
        self.added
    }

    /// How many events wait, and since when.
    pub fn waiting(&self) -> (usize, Option<UtcMillis>) {
        let count = self.alarms.values().map(|alarm| alarm.queue.len()).sum();
        (count, self.alarms.values().filter_map(|alarm| alarm.queue.front()).map(|event| event.time).min())
    }

    /// Adds what `read` has behind an event, at most so much, until there is enough to be sent. What is held does not count.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn fill<E>(&mut self, now: UtcMillis, mut read: impl FnMut(u64, usize) -> Result<Vec<Event>, E>) -> Result<(), E> {
        while self.waiting().0.saturating_sub(self.held(now)) < READY_MAX {
            let events = read(self.added, READY_MAX)?;
            if events.is_empty() {
                break;
            }
            events.into_iter().for_each(|event| self.add(event));
        }
        Ok(())
    }

    /// How many alarms are held.
    fn held(&self, now: UtcMillis) -> usize {
        self.alarms.values().filter(|alarm| is_held(alarm, now, self.hold_ms)).count()
    }

    /// What is to be sent now, at most `limit`: news of what is on, of what is over, what is sent again.
    pub fn due(&self, now: UtcMillis, limit: usize, generator_url: Option<&str>) -> Vec<Push> {
        let hold_ms = if self.held(now) > HELD_MAX { 0 } else { self.hold_ms };
        let mut news: Vec<&Event> = self.alarms.values().filter_map(|alarm| next(alarm, now, hold_ms)).collect();
        news.sort_by_key(|event| (event.state == Standing::Resolved, event.seq));
        let again = self.alarms.values().filter_map(|alarm| self.again(alarm, now, hold_ms));
        news.into_iter().chain(again).take(limit).map(|event| self.push(event, now, generator_url)).collect()
    }

    /// What was delivered and has to be sent again, while nothing of it is news.
    fn again<'a>(&self, alarm: &'a Alarm, now: UtcMillis, hold_ms: i64) -> Option<&'a Event> {
        let told = alarm.told.as_ref()?;
        let is_wanted = is_on(told) || !passed(told.first, now, RESOLVED_MS);
        (next(alarm, now, hold_ms).is_none() && is_wanted && passed(told.last, now, self.resend_ms)).then_some(&told.event)
    }

    fn push(&self, event: &Event, now: UtcMillis, generator_url: Option<&str>) -> Push {
        let ends_at = match event.state {
            Standing::Firing => now.plus(self.resend_ms.saturating_mul(ENDS_RESENDS)),
            // One that ends before it began is refused, and one that ends in the future is on.
            Standing::Resolved => event.ends_at.unwrap_or(now).min(now).max(event.starts_at),
        };
        let alert = Alert {
            labels: event.labels.clone(),
            annotations: event.annotations.clone(),
            starts_at: event.starts_at.to_string(),
            ends_at: ends_at.to_string(),
            generator_url: generator_url.map(str::to_owned),
        };
        Push { fingerprint: event.fingerprint.clone(), seq: event.seq, made: event.time, alert }
    }

    /// These were taken.
    pub fn taken(&mut self, pushes: &[Push], now: UtcMillis) {
        for push in pushes {
            let Some(alarm) = self.alarms.get_mut(&push.fingerprint) else { continue };
            let mut newest = None;
            while alarm.queue.front().is_some_and(|event| event.seq <= push.seq) {
                newest = alarm.queue.pop_front();
            }
            match (newest, &mut alarm.told) {
                (Some(event), told) => {
                    // A change of words does not begin the hold anew.
                    let goes_on = told.as_ref().filter(|told| told.event.state == event.state && told.event.starts_at == event.starts_at);
                    let first = goes_on.map_or(now, |told| told.first);
                    *told = Some(Told { event, first, last: now });
                }
                (None, Some(told)) => told.last = now,
                (None, None) => {}
            }
        }
        let is_needed = |alarm: &Alarm| {
            !alarm.queue.is_empty() || alarm.told.as_ref().is_some_and(|told| is_on(told) || !passed(told.first, now, RESOLVED_MS))
        };
        self.alarms.retain(|_, alarm| is_needed(alarm));
    }

    /// This one is never going to be taken.
    pub fn drop(&mut self, push: &Push) {
        if let Some(alarm) = self.alarms.get_mut(&push.fingerprint) {
            alarm.queue.retain(|event| event.seq > push.seq);
            if alarm.told.as_ref().is_some_and(|told| told.event.seq == push.seq) {
                alarm.told = None;
            }
            if alarm.queue.is_empty() && alarm.told.is_none() {
                self.alarms.remove(&push.fingerprint);
            }
        }
    }

    /// An alert that was taken before, to see whether anything is taken.
    pub fn probe(&self, now: UtcMillis, generator_url: Option<&str>) -> Option<Push> {
        let told = self.alarms.values().filter_map(|alarm| alarm.told.as_ref()).find(|told| is_on(told))?;
        Some(self.push(&told.event, now, generator_url))
    }
}

/// The next event of an alarm, if its time has come.
fn next(alarm: &Alarm, now: UtcMillis, hold_ms: i64) -> Option<&Event> {
    let event = alarm.queue.front()?;
    if event.state == Standing::Firing {
        // Of one episode only the newest word counts.
        let same = alarm.queue.iter().take_while(|later| later.state == Standing::Firing && later.starts_at == event.starts_at);
        return same.last();
    }
    (!is_held(alarm, now, hold_ms)).then_some(event)
}

/// Whether all that waits of an alarm is that it is over, and it has not been on long enough.
fn is_held(alarm: &Alarm, now: UtcMillis, hold_ms: i64) -> bool {
    let is_over = alarm.queue.len() == 1 && alarm.queue.front().is_some_and(|event| event.state == Standing::Resolved);
    is_over && alarm.told.as_ref().is_some_and(|told| is_on(told) && !passed(told.first, now, hold_ms))
}

fn is_on(told: &Told) -> bool {
    told.event.state == Standing::Firing
}

/// Whether so much time passed; also when the clock fell back.
fn passed(since: UtcMillis, now: UtcMillis, ms: i64) -> bool {
    now < since || now.since(since) >= ms
}

#[cfg(test)]
mod tests;
