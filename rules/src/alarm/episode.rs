//! One lane of readings in the order of their time: from values to episodes.
//!
//! ```text
//!            met                on-delay over              not met, beyond the deadband
//!  Normal ---------> Pending -----------------> Active ----------------------------------> Returning
//!     ^                 |                         ^                                          |    |
//!     |    not met      |                         |                  met                     |    |
//!     +<----------------+                         +<-----------------------------------------+    |
//!     +<------------------------------------------------------------------------------------------+
//!                                       off-delay over
//! ```
//!
//! A value holds until the next one, at most for the hold of its point; behind that nothing is known. What is not known
//! neither fills a delay nor ends an alarm. An on-delay is broken by any value that is not met; the deadband counts once
//! there is an alarm. (Delays and deadband as in OPC UA Part 9, B.1.5.)

use serde::{Deserialize, Serialize};

use super::bound::{Bound, Met};
use crate::emission::UtcMillis;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    /// Where it stands.
    pub phase: Phase,
    /// Time of the last reading; none before the first.
    pub last: Option<UtcMillis>,
    /// Its value.
    pub value: i64,
}

/// Where a lane stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Not met.
    #[default]
    Normal,
    /// Met, for less than the on-delay.
    Pending(Episode),
    /// An alarm.
    Active(Episode),
    /// An alarm that is not met any more, for less than the off-delay.
    Returning(Episode, UtcMillis),
}

/// A time that the condition held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Episode {
    /// Since when it holds.
    pub since: UtcMillis,
    /// When the on-delay was over.
    pub raised_at: UtcMillis,
    /// The value furthest beyond the limit.
    pub peak: i64,
    /// It was told.
    pub told: bool,
}

/// What became of a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// An alarm began.
    Raised,
    /// An alarm was over at this time.
    Ended(Episode, UtcMillis),
}

impl Lane {
    /// The alarm there is.
    pub fn episode(&self) -> Option<&Episode> {
        match &self.phase {
            Phase::Active(episode) | Phase::Returning(episode, _) => Some(episode),
            Phase::Normal | Phase::Pending(_) => None,
        }
    }

    pub(super) fn episode_mut(&mut self) -> Option<&mut Episode> {
        match &mut self.phase {
            Phase::Active(episode) | Phase::Returning(episode, _) => Some(episode),
            Phase::Normal | Phase::Pending(_) => None,
        }
    }

    /// Since when the condition holds, the on-delay included.
    pub(super) fn since(&self) -> Option<UtcMillis> {
        match &self.phase {
            Phase::Pending(episode) | Phase::Active(episode) | Phase::Returning(episode, _) => Some(episode.since),
            Phase::Normal => None,
        }
    }

    /// Lets time go on to `to`, as far as the last value holds.
    pub(super) fn advance(&mut self, bound: &Bound, to: UtcMillis) -> Option<Happening> {
        let to = self.last.map_or(to, |last| to.min(last.plus(bound.hold_ms)));
        match &self.phase {
            Phase::Pending(episode) if to.since(episode.since) >= bound.on_delay_ms => {
                let raised_at = episode.since.plus(bound.on_delay_ms);
                self.phase = Phase::Active(Episode { raised_at, ..episode.clone() });
                Some(Happening::Raised)
            }
            Phase::Returning(episode, since) if to.since(*since) >= bound.off_delay_ms => {
                let ended = Happening::Ended(episode.clone(), *since);
                self.phase = Phase::Normal;
                Some(ended)
            }
            _ => None,
        }
    }

    /// Takes in a reading behind the last one.
    pub(super) fn reading(&mut self, bound: &Bound, time: UtcMillis, met: Met, value: i64) -> Vec<Happening> {
        let mut happened: Vec<Happening> = self.advance(bound, time).into_iter().collect();
        let is_gap = self.last.is_some_and(|last| time.since(last) > bound.hold_ms);
        self.phase = match (std::mem::take(&mut self.phase), met) {
            (Phase::Normal, Met::Yes) => Phase::Pending(Episode { since: time, raised_at: time, peak: value, told: false }),
            (Phase::Normal | Phase::Pending(_), Met::No | Met::Between) => Phase::Normal,
            (Phase::Pending(_), Met::Yes) if is_gap => Phase::Pending(Episode { since: time, raised_at: time, peak: value, told: false }),
            (Phase::Pending(episode), Met::Yes) => Phase::Pending(Episode { peak: bound.worse(episode.peak, value), ..episode }),
            (Phase::Active(episode) | Phase::Returning(episode, _), Met::Yes) => {
                Phase::Active(Episode { peak: bound.worse(episode.peak, value), ..episode })
            }
            (Phase::Active(episode), Met::Between) => Phase::Active(episode),
            (Phase::Active(episode), Met::No) => Phase::Returning(episode, time),
            // Not known in between, but not met before and behind.
            (Phase::Returning(episode, since), Met::No | Met::Between) if time.since(since) >= bound.off_delay_ms => {
                happened.push(Happening::Ended(episode, since));
                Phase::Normal
            }
            (Phase::Returning(episode, since), Met::No | Met::Between) => Phase::Returning(episode, since),
        };
        (self.last, self.value) = (Some(time), value);
        // Delays of 0 are over at once.
        happened.extend(self.advance(bound, time));
        happened
    }
}
