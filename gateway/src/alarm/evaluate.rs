//! From samples, ticks and acts to events: rules that are bound, with their states. No I/O; what it gives is to be kept in
//! the outbox together with the states ([`Evaluator::dirty`]).

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use parkgate_collector::model::{Quality, Reason, Sample};
use parkgate_rules::alarm::{Act, Change, Input, State, Transition, UtcMillis, step};

use super::bind::{Alarm, Bindings};
use super::event::{Event, EventKind, Standing, Texts, Track, fingerprint};
use super::words;

/// A reading that is not older is live, however few hours readings may come late.
const LIVE_MS: i64 = 5 * 60_000;

/// See the module.
#[derive(Debug)]
pub struct Evaluator {
    bindings: Bindings,
    by_fingerprint: HashMap<Arc<str>, usize>,
    /// Alarms of which nothing was kept.
    fresh: Vec<usize>,
    /// Rows of the outbox that no alarm belongs to any more.
    forgotten: Vec<(String, String)>,
    late_ms: i64,
    epoch: String,
    seq: u64,
}

impl Evaluator {
    /// Goes on from what was kept: states by rule and subject, and alarms that are on. What is on and has no alarm any more is
    /// told to be gone.
    pub fn new(
        bindings: Bindings,
        states: Vec<(String, String, String)>,
        standing: &[Event],
        (epoch, seq): (String, u64),
        late_hours: u32,
        now: UtcMillis,
    ) -> (Self, Vec<Event>) {
        let by_fingerprint = bindings.alarms.iter().enumerate().map(|(index, alarm)| (Arc::clone(&alarm.fingerprint), index)).collect();
        let late_ms = i64::from(late_hours).saturating_mul(3_600_000).max(LIVE_MS);
        let mut evaluator = Self { bindings, by_fingerprint, fresh: Vec::new(), forgotten: Vec::new(), late_ms, epoch, seq };
        let mut kept: HashMap<(String, String), String> =
            states.into_iter().map(|(rule, subject, state)| ((rule, subject), state)).collect();
        let on: BTreeSet<&str> = standing.iter().map(|event| event.fingerprint.as_str()).collect();
        for (index, alarm) in evaluator.bindings.alarms.iter_mut().enumerate() {
            let Some(text) = kept.remove(&(alarm.rule.id.clone(), alarm.subject().to_owned())) else {
                evaluator.fresh.push(index);
                continue;
            };
            let state: State = serde_json::from_str(&text).unwrap_or_default();
            // Under other labels it was another alarm: that one is gone, this one begins. It still knows when its device was
            // heard: one that is silent would else be no alarm until it is heard again.
            let is_this = state.episode().is_none() || on.contains(&*alarm.fingerprint);
            alarm.state = if is_this { state } else { State { heard: state.heard, ..State::default() } };
            alarm.kept_lively = true;
        }
        evaluator.forgotten = kept.into_keys().collect();
        let mut events = Vec::new();
        for event in standing.iter().filter(|event| event.track == Track::Operator) {
            let is_on = evaluator.by_fingerprint.get(event.fingerprint.as_str()).and_then(|index| evaluator.bindings.alarms.get(*index));
            if is_on.is_none_or(|alarm| alarm.state.episode().is_none()) {
                let ends_at = now.max(event.starts_at);
                let mut annotations = event.annotations.clone();
                annotations.insert("ended_at".into(), ends_at.to_string());
                let gone = Event {
                    kind: EventKind::Gone,
                    state: Standing::Resolved,
                    ends_at: Some(ends_at),
                    time: now,
                    annotations,
                    // A shelved one was taken back when it was shelved.
                    suppressed: event.state == Standing::Resolved || event.suppressed,
                    ..event.clone()
                };
                evaluator.number(gone, &mut events);
            }
        }
        (evaluator, events)
    }

    /// The alarms.
    pub fn alarms(&self) -> &[Alarm] {
        &self.bindings.alarms
    }

    /// Takes in a sample of the journal.
    pub fn sample(&mut self, sample: &Sample, now: UtcMillis, events: &mut Vec<Event>) {
        let reason = sample.status.reason();
        let (record, received) = (UtcMillis(sample.record_time.0), UtcMillis(sample.received_time.0));
        if let Some(value) = sample.number()
            && sample.status.quality() != Quality::Bad
            && now.since(record) <= self.late_ms
        {
            let mut place = 0;
            while let Some(index) = self.bindings.of_point(sample.point, place) {
                self.step(index, &Input::Reading { time: record, value }, now, events);
                place += 1;
            }
        }
        // No answer is not being heard.
        if matches!(reason, Reason::Timeout | Reason::LinkDown) {
            return;
        }
        // Silence of long ago is nobody's alarm any more.
        let heard = if now.since(received) <= self.late_ms { Input::Heard(received) } else { Input::Listening(received) };
        let mut place = 0;
        while let Some(index) = self.bindings.of_device(sample.point, place) {
            place += 1;
            self.step(index, &heard, now, events);
            if let Some(source) = sample.source_time {
                // Otherwise a stamp of before is back-fill.
                let off_ms = if reason == Reason::Clock { sample.received_time.since(source) } else { 0 };
                self.step(index, &Input::Clock { time: received, off_ms }, now, events);
            }
        }
    }

    /// The program began to listen at this time: what came before or not says nothing of silence.
    pub fn listening(&mut self, time: UtcMillis, now: UtcMillis, events: &mut Vec<Event>) {
        for index in 0..self.bindings.alarms.len() {
            self.step(index, &Input::Listening(time), now, events);
        }
    }

    /// The same for alarms that were not there before: the others have listened all the time.
    pub fn listening_anew(&mut self, time: UtcMillis, now: UtcMillis, events: &mut Vec<Event>) {
        for index in std::mem::take(&mut self.fresh) {
            self.step(index, &Input::Listening(time), now, events);
        }
    }

    /// All that there was has come in.
    pub fn tick(&mut self, now: UtcMillis, events: &mut Vec<Event>) {
        for index in 0..self.bindings.alarms.len() {
            let Some(alarm) = self.bindings.alarms.get(index).filter(|alarm| alarm.bound.waits() || !alarm.state.is_quiet()) else {
                continue;
            };
            let (before, count, phase) = (alarm.dirty, events.len(), alarm.state.live.phase.clone());
            self.step(index, &Input::Tick, now, events);
            // A tick that changes nothing is not kept.
            if let Some(alarm) = self.bindings.alarms.get_mut(index)
                && events.len() == count
                && alarm.state.live.phase == phase
            {
                alarm.dirty = before;
            }
        }
    }

    /// Somebody did something; false when there is no such alarm.
    pub fn act(&mut self, fingerprint: &str, act: Act, now: UtcMillis, events: &mut Vec<Event>) -> bool {
        let Some(index) = self.by_fingerprint.get(fingerprint).copied() else { return false };
        self.step(index, &Input::Act(act), now, events);
        true
    }

    fn step(&mut self, index: usize, input: &Input, now: UtcMillis, events: &mut Vec<Event>) {
        let Some(alarm) = self.bindings.alarms.get_mut(index) else { return };
        let transitions = step(&alarm.bound, &mut alarm.state, input, now);
        alarm.dirty = true;
        let made: Vec<Event> = transitions.iter().map(|transition| event(alarm, transition, now)).collect();
        for one in made {
            self.number(one, events);
        }
    }

    /// Gives an event its number.
    pub fn number(&mut self, event: Event, events: &mut Vec<Event>) {
        self.seq = self.seq.saturating_add(1);
        events.push(Event { epoch: self.epoch.clone(), seq: self.seq, ..event });
    }

    /// States that changed since they were kept, to be kept; `None`: to be forgotten. Those of which nothing is to be
    /// remembered but the last reading are many, and only among them when `all`.
    pub fn dirty(&mut self, all: bool) -> Vec<(String, String, Option<String>)> {
        let forgotten = self.forgotten.drain(..).map(|(rule, subject)| (rule, subject, None));
        let kept = self.bindings.alarms.iter_mut().filter_map(|alarm| {
            let is_lively = !alarm.state.is_quiet();
            if !alarm.dirty || !(all || is_lively || alarm.kept_lively) {
                return None;
            }
            (alarm.dirty, alarm.kept_lively) = (false, is_lively);
            Some((alarm.rule.id.clone(), alarm.subject().to_owned(), serde_json::to_string(&alarm.state).ok()))
        });
        forgotten.chain(kept).collect()
    }
}

/// A transition as it is published, without its number.
fn event(alarm: &Alarm, transition: &Transition, now: UtcMillis) -> Event {
    let Transition { change, episode, ended_at, late, shelved } = transition;
    let is_on = episode.is_some();
    let (kind, state) = match change {
        Change::Raised => (EventKind::Raised, Standing::Firing),
        Change::Resolved => (EventKind::Resolved, Standing::Resolved),
        Change::Gone => (EventKind::Gone, Standing::Resolved),
        Change::Acknowledged { .. } => (EventKind::Acknowledged, Standing::Firing),
        Change::ReAlarmed => (EventKind::ReAlarmed, Standing::Firing),
        Change::Shelved { .. } => (EventKind::Shelved, Standing::Resolved),
        Change::Unshelved { .. } if is_on => (EventKind::Unshelved, Standing::Firing),
        Change::Unshelved { .. } => (EventKind::Unshelved, Standing::Resolved),
    };
    let mut labels: Texts = alarm.labels();
    if *late {
        labels.insert("late".into(), "true".into());
    }
    Event {
        epoch: String::new(),
        seq: 0,
        time: now,
        kind,
        track: Track::Operator,
        state,
        fingerprint: if *late { fingerprint(&labels) } else { alarm.fingerprint.to_string() },
        starts_at: episode.as_ref().map_or(now, |episode| episode.since),
        // What is put away is taken back from receivers now.
        ends_at: if kind == EventKind::Shelved && is_on { Some(now) } else { *ended_at },
        late: *late,
        // Only that it is put away is told of what is shelved.
        suppressed: !is_on || (*shelved && kind != EventKind::Shelved),
        labels,
        annotations: words::annotations(alarm, transition),
    }
}
