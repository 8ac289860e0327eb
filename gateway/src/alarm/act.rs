//! What people do to alarms, as it is entered among the facts: acknowledged, shelved, taken out again, noted.

use parkgate_rules::alarm::{Act, UtcMillis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::event::{Event, Track};
use crate::store::{EntryKind, NewEntry};

/// Longest note, in characters.
const NOTE_MAX: usize = 1_000;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Doing {
    /// Took note of an alarm that is on.
    Acknowledge,
    /// Put it away for a time.
    Shelve,
    /// Took it out again.
    Unshelve,
    /// Wrote a note.
    Note,
}

/// Body of an entry of kind `alarm_act`; its subject is the fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// What.
    pub act: Doing,
    /// Who, as shown with the alarm.
    pub by: String,
    /// The episode that is acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<UtcMillis>,
    /// Shelved until.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<UtcMillis>,
    /// What was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Why something cannot be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActError {
    /// There is no such alarm on.
    #[error("no alarm with fingerprint `{0}` is on; GET /api/v1/alarms lists those that are")]
    Unknown(String),
    /// It is a compliance event.
    #[error("a compliance event is a fact: it is not acknowledged away or shelved, only annotated by a note")]
    Compliance,
    /// Another episode is on than the one that is acknowledged.
    #[error("the episode of {asked} is not on; the one that is began at {on}")]
    OtherEpisode {
        /// When the one asked for began.
        asked: UtcMillis,
        /// When the one that is on did.
        on: UtcMillis,
    },
    /// It was acknowledged before.
    #[error("it is acknowledged already, by {0}")]
    Acknowledged(String),
    /// It is not shelved.
    #[error("it is not shelved")]
    NotShelved,
    /// The time is over already, or not given.
    #[error("a shelf needs a time that lies ahead: `for_s` or `until`")]
    Time,
    /// Who does it is not told.
    #[error("the name of who does it is missing: give `by`")]
    Nobody,
    /// The note is empty or too long.
    #[error("a note has 1 to {NOTE_MAX} characters")]
    Note,
}

impl Done {
    /// Whether it can be done to the alarm `on`, the last event of one that is on, or of a compliance event.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, fingerprint: &str, on: Option<&Event>, now: UtcMillis) -> Result<(), ActError> {
        let Some(on) = on else { return Err(ActError::Unknown(fingerprint.to_owned())) };
        if self.by.trim().is_empty() {
            return Err(ActError::Nobody);
        }
        if on.track == Track::Compliance && self.act != Doing::Note {
            return Err(ActError::Compliance);
        }
        let is_note_fine = self.note.as_ref().is_none_or(|note| !note.trim().is_empty() && note.chars().count() <= NOTE_MAX);
        if !is_note_fine || (self.act == Doing::Note && self.note.is_none()) {
            return Err(ActError::Note);
        }
        match self.act {
            Doing::Acknowledge => match (self.starts_at, on.annotations.get("acknowledged_by")) {
                (Some(asked), _) if asked != on.starts_at => Err(ActError::OtherEpisode { asked, on: on.starts_at }),
                (_, Some(by)) => Err(ActError::Acknowledged(by.clone())),
                _ => Ok(()),
            },
            Doing::Shelve if self.until.is_none_or(|until| until <= now) => Err(ActError::Time),
            Doing::Unshelve if !on.annotations.contains_key("shelved_by") => Err(ActError::NotShelved),
            _ => Ok(()),
        }
    }

    /// As an entry of the facts. `author`: who is known to have sent it.
    pub fn entry(&self, fingerprint: &str, author: &str) -> NewEntry {
        NewEntry {
            kind: EntryKind::AlarmAct,
            subject: fingerprint.to_owned(),
            body: serde_json::to_value(self).unwrap_or_default(),
            author: author.to_owned(),
            document: None,
        }
    }

    /// What it is to the alarm's machine; `None` for a note, and for an acknowledgement of an episode that is not on.
    pub fn act(&self, since: Option<UtcMillis>) -> Option<Act> {
        let by = self.by.clone();
        match self.act {
            Doing::Acknowledge if self.starts_at.is_none() || self.starts_at == since => Some(Act::Acknowledge { by }),
            Doing::Acknowledge | Doing::Note => None,
            Doing::Shelve => Some(Act::Shelve { by, until: self.until? }),
            Doing::Unshelve => Some(Act::Unshelve { by }),
        }
    }
}
