//! Everything about one alarm: what is live, what came late, who acknowledged, who shelved.
//!
//! Readings come in the order of the journal. One behind the newest goes on with the *live* lane; an older one, which came
//! late, goes into a lane of its own, so that an episode is found that was over before anybody knew. Such an episode is told
//! as raised and resolved at once, marked late, with its true times. Late readings within an episode that is known change
//! nothing: an alarm that was told is not taken back (compliance events are another matter).
//!
//! An alarm that is still on when it is found is told as any other, once all that was there is read ([`Input::Tick`]).

use serde::{Deserialize, Serialize};

use super::bound::{Bound, Test};
use super::episode::{Episode, Happening, Lane, Phase};
use crate::emission::UtcMillis;

/// An alarm found so much later than it began may be over already: it waits until all is read.
const LATE_AFTER_MS: i64 = 60_000;
/// A late lane that got nothing for so long is at its end.
const LATE_QUIET_MS: i64 = 60_000;
/// Episodes remembered, so that late readings do not find them again.
const REMEMBERED: usize = 16;

/// The state of one alarm, to be kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Readings as they come.
    pub live: Lane,
    /// Readings that came late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late: Option<Box<Late>>,
    /// Episodes that are over, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub known: Vec<(UtcMillis, UtcMillis)>,
    /// When a device was last heard, for silence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard: Option<UtcMillis>,
    /// Who acknowledged the alarm that is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ack: Option<Box<Ack>>,
    /// Who shelved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shelf: Option<Box<Shelf>>,
}

/// Readings that came late.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Late {
    /// Their lane.
    pub lane: Lane,
    /// When the last of them came.
    pub came: UtcMillis,
}

/// An acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// Who.
    pub by: String,
    /// When.
    pub at: UtcMillis,
}

/// A shelf.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shelf {
    /// Who.
    pub by: String,
    /// Until when.
    pub until: UtcMillis,
}

/// What comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A point has a number at this time: its stored digits.
    Reading {
        /// The time that counts.
        time: UtcMillis,
        /// The number.
        value: i64,
    },
    /// A device was heard, at our time.
    Heard(UtcMillis),
    /// A device's stamp was off from our time by so much.
    Clock {
        /// Our time.
        time: UtcMillis,
        /// Ours less the device's, in milliseconds.
        off_ms: i64,
    },
    /// The gateway began to listen: nobody is silent for not being heard before.
    Listening(UtcMillis),
    /// All that there was has come in.
    Tick,
    /// Somebody did something.
    Act(Act),
}

/// What somebody did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "act", rename_all = "snake_case")]
pub enum Act {
    /// Took note of the alarm that is on.
    Acknowledge {
        /// Who.
        by: String,
    },
    /// Put it away for a time.
    Shelve {
        /// Who.
        by: String,
        /// Until when; not longer than the rule allows.
        until: UtcMillis,
    },
    /// Took it out again.
    Unshelve {
        /// Who.
        by: String,
    },
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The alarm is on.
    Raised,
    /// It is over.
    Resolved,
    /// Its rule or subject is gone.
    Gone,
    /// Somebody took note.
    Acknowledged {
        /// Who.
        by: String,
    },
    /// It was acknowledged long ago and lasts.
    ReAlarmed,
    /// Somebody put it away.
    Shelved {
        /// Who.
        by: String,
        /// Until when.
        until: UtcMillis,
    },
    /// It is out again.
    Unshelved {
        /// Who; `None`: its time was over.
        by: Option<String>,
    },
}

/// A change with what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// What.
    pub change: Change,
    /// The episode; `None` for a shelf while nothing is on.
    pub episode: Option<Episode>,
    /// When the episode ended.
    pub ended_at: Option<UtcMillis>,
    /// It was over when it was found.
    pub late: bool,
    /// It is shelved.
    pub shelved: bool,
}

/// One step. `now` is the wall clock, for what is not about readings: acts, shelves, whether something is late.
pub fn step(bound: &Bound, state: &mut State, input: &Input, now: UtcMillis) -> Vec<Transition> {
    let mut told = Vec::new();
    match input {
        Input::Reading { time, value } if state.live.last.is_some_and(|last| *time <= last) => {
            state.late_reading(bound, *time, *value, now, &mut told);
        }
        Input::Reading { time, value } => {
            let happened = state.live.reading(bound, *time, bound.met(*value), *value);
            state.tell(happened, now, &mut told);
        }
        Input::Clock { time, off_ms } => {
            if matches!(bound.test, Test::ClockOff { .. }) && state.live.last.is_none_or(|last| *time > last) {
                let happened = state.live.reading(bound, *time, bound.met(*off_ms), *off_ms);
                state.tell(happened, now, &mut told);
            }
        }
        Input::Heard(time) => state.heard(bound, *time, now, &mut told),
        Input::Listening(time) => {
            if state.live.phase == Phase::Normal {
                state.heard = Some(state.heard.map_or(*time, |heard| heard.max(*time)));
            }
        }
        Input::Tick => state.tick(bound, now, &mut told),
        Input::Act(act) => state.act(bound, act, now, &mut told),
    }
    told
}

impl State {
    /// The alarm that is on and was told.
    pub fn episode(&self) -> Option<&Episode> {
        self.live.episode().filter(|episode| episode.told)
    }

    /// Whether nothing is to be remembered but the last reading.
    pub fn is_quiet(&self) -> bool {
        self.live.phase == Phase::Normal && self.late.is_none() && self.shelf.is_none()
    }

    /// Its rule or subject is gone: what is on is over.
    pub fn end(&mut self, now: UtcMillis) -> Option<Transition> {
        let shelved = self.shelf.is_some();
        let episode = self.live.episode().filter(|episode| episode.told).cloned();
        *self = Self::default();
        let ended_at = episode.as_ref().map(|episode| now.max(episode.since));
        episode.map(|episode| Transition { change: Change::Gone, episode: Some(episode), ended_at, late: false, shelved })
    }

    fn transition(&self, change: Change) -> Transition {
        let episode = self.episode().cloned();
        Transition { change, episode, ended_at: None, late: false, shelved: self.shelf.is_some() }
    }

    /// Tells what became of the live lane.
    fn tell(&mut self, happened: Vec<Happening>, now: UtcMillis, told: &mut Vec<Transition>) {
        for one in happened {
            match one {
                Happening::Raised => {
                    self.ack = None;
                    if self.live.episode().is_some_and(|episode| now.since(episode.raised_at) <= LATE_AFTER_MS) {
                        self.announce(told);
                    }
                }
                Happening::Ended(episode, at) => {
                    self.ack = None;
                    self.over(episode, at, told);
                }
            }
        }
    }

    /// Tells of the alarm that is on, unless that was done.
    fn announce(&mut self, told: &mut Vec<Transition>) {
        let shelved = self.shelf.is_some();
        if let Some(episode) = self.live.episode_mut().filter(|episode| !episode.told) {
            episode.told = true;
            let episode = Some(episode.clone());
            told.push(Transition { change: Change::Raised, episode, ended_at: None, late: false, shelved });
        }
    }

    /// Tells that an episode is over; of one that nobody was told of, both.
    fn over(&mut self, episode: Episode, at: UtcMillis, told: &mut Vec<Transition>) {
        let (late, shelved) = (!episode.told, self.shelf.is_some());
        self.known.push((episode.since, at));
        let surplus = self.known.len().saturating_sub(REMEMBERED);
        self.known.drain(..surplus);
        let episode = Some(Episode { told: true, ..episode });
        if late {
            told.push(Transition { change: Change::Raised, episode: episode.clone(), ended_at: Some(at), late, shelved });
        }
        told.push(Transition { change: Change::Resolved, episode, ended_at: Some(at), late, shelved });
    }

    fn late_reading(&mut self, bound: &Bound, time: UtcMillis, value: i64, now: UtcMillis, told: &mut Vec<Transition>) {
        let is_known =
            self.live.since().is_some_and(|since| since <= time) || self.known.iter().any(|(from, to)| *from <= time && time <= *to);
        if is_known {
            return;
        }
        let met = bound.met(value);
        // Another run of late readings, or one behind an episode that is known.
        let goes_on = self
            .late
            .as_ref()
            .and_then(|late| late.lane.last)
            .is_some_and(|last| last < time && !self.known.iter().any(|(from, _)| last < *from && *from < time));
        if !goes_on {
            self.end_late(bound, told);
            if met != super::Met::Yes {
                return;
            }
            self.late = Some(Box::new(Late { lane: Lane::default(), came: now }));
        }
        let Some(late) = &mut self.late else { return };
        late.came = now;
        let happened = late.lane.reading(bound, time, met, value);
        for one in happened {
            if let Happening::Ended(episode, at) = one {
                self.over(episode, at, told);
            }
        }
        if self.late.as_ref().is_some_and(|late| late.lane.phase == Phase::Normal) {
            self.late = None;
        }
    }

    /// Ends the late lane: what is on there lasted as far as it is known.
    fn end_late(&mut self, bound: &Bound, told: &mut Vec<Transition>) {
        let Some(mut lane) = self.late.take().map(|late| late.lane) else { return };
        let Some(last) = lane.last else { return };
        if let Some(Happening::Ended(episode, at)) = lane.advance(bound, last) {
            self.over(episode, at, told);
            return;
        }
        match lane.phase {
            Phase::Active(episode) => self.over(episode, last, told),
            Phase::Returning(episode, since) => self.over(episode, since, told),
            Phase::Normal | Phase::Pending(_) => {}
        }
    }

    fn heard(&mut self, bound: &Bound, time: UtcMillis, now: UtcMillis, told: &mut Vec<Transition>) {
        let Test::Silent { after_ms } = bound.test else { return };
        if self.heard.is_some_and(|heard| time <= heard) {
            return;
        }
        if let Some(heard) = self.heard.filter(|heard| time.since(*heard) > after_ms) {
            self.silent(bound, heard.plus(after_ms), now, told);
        }
        self.heard = Some(time);
        if self.live.phase != Phase::Normal {
            let happened = self.live.reading(bound, time, super::Met::No, 0);
            self.tell(happened, now, told);
        }
    }

    /// A device is silent since `since`.
    fn silent(&mut self, bound: &Bound, since: UtcMillis, now: UtcMillis, told: &mut Vec<Transition>) {
        if matches!(self.live.phase, Phase::Normal | Phase::Returning(..)) {
            let happened = self.live.reading(bound, since, super::Met::Yes, 0);
            self.tell(happened, now, told);
        }
    }

    fn tick(&mut self, bound: &Bound, now: UtcMillis, told: &mut Vec<Transition>) {
        match bound.test {
            Test::Silent { after_ms } => {
                if let Some(heard) = self.heard.filter(|heard| now.since(*heard) > after_ms) {
                    self.silent(bound, heard.plus(after_ms), now, told);
                }
            }
            Test::Always if self.live.phase == Phase::Normal => {
                let happened = self.live.reading(bound, now, super::Met::Yes, 0);
                self.tell(happened, now, told);
            }
            _ => {}
        }
        let happened = self.live.advance(bound, now).into_iter().collect();
        self.tell(happened, now, told);
        self.announce(told);
        if self.late.as_ref().is_some_and(|late| now.since(late.came) >= LATE_QUIET_MS) {
            self.end_late(bound, told);
        }
        if self.shelf.as_ref().is_some_and(|shelf| now >= shelf.until) {
            self.shelf = None;
            told.push(self.transition(Change::Unshelved { by: None }));
        }
        if let (Some(ack), Some(after)) = (&self.ack, bound.re_alarm_ms)
            && now.since(ack.at) >= after
            && self.episode().is_some()
        {
            self.ack = None;
            told.push(self.transition(Change::ReAlarmed));
        }
    }

    fn act(&mut self, bound: &Bound, act: &Act, now: UtcMillis, told: &mut Vec<Transition>) {
        match act {
            Act::Acknowledge { by } if self.episode().is_some() && self.ack.is_none() => {
                self.ack = Some(Box::new(Ack { by: by.clone(), at: now }));
                told.push(self.transition(Change::Acknowledged { by: by.clone() }));
            }
            Act::Shelve { by, until } => {
                let until = (*until).min(now.plus(bound.shelve_max_ms));
                if until > now {
                    self.shelf = Some(Box::new(Shelf { by: by.clone(), until }));
                    told.push(self.transition(Change::Shelved { by: by.clone(), until }));
                }
            }
            Act::Unshelve { by } if self.shelf.is_some() => {
                self.shelf = None;
                told.push(self.transition(Change::Unshelved { by: Some(by.clone()) }));
            }
            Act::Acknowledge { .. } | Act::Unshelve { .. } => {}
        }
    }
}
