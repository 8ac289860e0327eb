//! The tokens in force: who presents one of them is let in, with its role and scope. Kept in memory beside the table in
//! `facts.db`, so that a request reads no file and a revocation counts at once.
//!
//! Whoever created or revoked a token, and when, becomes a row in the table of changes in the same transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use parkgate_collector::catalogue::Catalogue;
use parkgate_collector::model::{Medium, UtcMillis};
use serde::{Deserialize, Serialize};

use super::secret::{NoRandom, PREFIX, Secret, SecretHash};
use super::{Identity, Role, Scope};
use crate::store::{Facts, StoreError};

/// Tokens in force at one time; a further one is refused.
pub const TOKENS_MAX: usize = 1_000;
/// Longest name.
const NAME_CHARS_MAX: usize = 64;
/// Longest text taken for a token; anything longer is none.
const SECRET_BYTES_MAX: usize = 256;

/// A token as it is listed. Its secret is not known here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Number, never used twice.
    pub id: i64,
    /// Name, of one token in force at a time.
    pub name: String,
    /// Role.
    pub role: Role,
    /// What is visible.
    pub scope: Scope,
    /// When it was created.
    pub created_at: UtcMillis,
    /// Which user of the operating system created it.
    pub created_by: String,
    /// From when on it counts no more.
    pub expires_at: Option<UtcMillis>,
    /// When it was revoked.
    pub revoked_at: Option<UtcMillis>,
    /// When it was last presented, to about a minute.
    pub last_used_at: Option<UtcMillis>,
}

/// What a new token is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewToken {
    /// Name.
    pub name: String,
    /// Role.
    pub role: Role,
    /// What is visible. A regulator's without media is narrowed to emission.
    pub scope: Scope,
    /// From when on it counts no more.
    pub expires_at: Option<UtcMillis>,
}

/// A token cannot be created or revoked.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The name is not of its form.
    #[error("`{0}` is no name for a token: write letters, digits and - _ . (at most {NAME_CHARS_MAX}), not digits alone, not `local`")]
    Name(String),
    /// Another token in force has it.
    #[error("there is a token `{0}` already: revoke it first, or choose another name")]
    Taken(String),
    /// It would have expired before it was made.
    #[error("the token would have expired already, at {0}")]
    Past(UtcMillis),
    /// What the scope names is not in the configuration.
    #[error("there is no {what} `{id}` in the configuration; a token for it would show nothing")]
    NotThere {
        /// Enterprise or outlet.
        what: &'static str,
        /// As written.
        id: String,
    },
    /// No token in force has this name or number.
    #[error("no token in force is named or numbered `{0}`; `parkgate token list` shows them")]
    Unknown(String),
    /// Too many.
    #[error("{TOKENS_MAX} tokens are in force, which is the limit: revoke those no longer used")]
    Full,
    /// See there.
    #[error(transparent)]
    NoRandom(#[from] NoRandom),
    /// It could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl NewToken {
    /// Checked by itself, and against the configuration where that is known.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn checked(mut self, catalogue: Option<&Catalogue>, now: UtcMillis) -> Result<Self, TokenError> {
        let is_fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let is_name = (1..=NAME_CHARS_MAX).contains(&self.name.len())
            && self.name.chars().all(is_fine)
            && !self.name.chars().all(|c| c.is_ascii_digit())
            && self.name != Identity::local().name;
        if !is_name {
            return Err(TokenError::Name(self.name));
        }
        if let Some(expires_at) = self.expires_at.filter(|&expires_at| expires_at <= now) {
            return Err(TokenError::Past(expires_at));
        }
        if self.role == Role::Regulator && self.scope.media.is_empty() {
            self.scope.media.insert(Medium::Emission);
        }
        if let Some(catalogue) = catalogue {
            let enterprise = |id: &str| catalogue.enterprises.iter().any(|enterprise| enterprise.id == id);
            let outlet =
                |id: &str| catalogue.device(id).is_some_and(|device| device.points.iter().any(|point| point.medium == Medium::Emission));
            let missing = |ids: &BTreeSet<String>, is_there: &dyn Fn(&str) -> bool| ids.iter().find(|id| !is_there(id)).cloned();
            if let Some(id) = missing(&self.scope.enterprises, &enterprise) {
                return Err(TokenError::NotThere { what: "enterprise", id });
            }
            if let Some(id) = missing(&self.scope.outlets, &outlet) {
                return Err(TokenError::NotThere { what: "device with points of medium emission", id });
            }
        }
        Ok(self)
    }
}

/// What a request was let in with.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Who asks.
    pub identity: Arc<Identity>,
    /// Number of the token; `None` for `local`.
    token: Option<i64>,
    /// From when on the token counts no more.
    expires_at: Option<UtcMillis>,
}

impl Grant {
    /// Whoever asks over the loopback while no token is demanded.
    pub fn local() -> Self {
        Self { identity: Arc::new(Identity::local()), token: None, expires_at: None }
    }

    /// When it ends by itself.
    pub fn expires_at(&self) -> Option<UtcMillis> {
        self.expires_at
    }

    /// Whether there is a token behind it.
    pub fn is_token(&self) -> bool {
        self.token.is_some()
    }
}

/// Why a token presented does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// None in force is it; perhaps it was revoked.
    Unknown,
    /// It has expired.
    Expired {
        /// Its name.
        name: String,
    },
}

/// The tokens in force. Calls other than `check`, `is_in_force` and `any` block on file I/O.
#[derive(Debug)]
pub struct Tokens {
    facts: Arc<Facts>,
    board: Mutex<Board>,
}

#[derive(Debug, Default)]
struct Board {
    /// By number.
    entries: BTreeMap<i64, Entry>,
    /// There was one at some time, in force or not.
    any: bool,
}

#[derive(Debug)]
struct Entry {
    token: Token,
    hash: SecretHash,
    identity: Arc<Identity>,
    /// `last_used_at` is newer than in the table.
    used: bool,
}

impl Entry {
    fn new(token: Token, hash: SecretHash) -> Self {
        let identity = Arc::new(Identity { name: token.name.clone(), role: token.role, scope: token.scope.clone() });
        Self { token, hash, identity, used: false }
    }
}

impl Tokens {
    /// Reads them.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn open(facts: Arc<Facts>) -> Result<Self, StoreError> {
        let rows = facts.tokens()?;
        let any = !rows.is_empty();
        let entries = rows
            .into_iter()
            .filter(|(token, _)| token.revoked_at.is_none())
            .map(|(token, hash)| (token.id, Entry::new(token, hash)))
            .collect();
        Ok(Self { facts, board: Mutex::new(Board { entries, any }) })
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a token was ever created. From then on nobody is let in without one, even when all are revoked.
    pub fn any(&self) -> bool {
        self.board().any
    }

    /// Whom a token presented stands for.
    ///
    /// # Errors
    /// Why it does not count.
    pub fn check(&self, presented: &str, now: UtcMillis) -> Result<Grant, Refusal> {
        if presented.len() > SECRET_BYTES_MAX || !presented.starts_with(PREFIX) {
            return Err(Refusal::Unknown);
        }
        let presented = SecretHash::of(presented);
        let mut board = self.board();
        // All of them are compared, so that the time tells nothing.
        let found = board.entries.values_mut().fold(None, |found, entry| if entry.hash.is(&presented) { Some(entry) } else { found });
        let Some(entry) = found else { return Err(Refusal::Unknown) };
        if entry.token.expires_at.is_some_and(|expires_at| expires_at <= now) {
            return Err(Refusal::Expired { name: entry.token.name.clone() });
        }
        entry.token.last_used_at = Some(now);
        entry.used = true;
        Ok(Grant { identity: Arc::clone(&entry.identity), token: Some(entry.token.id), expires_at: entry.token.expires_at })
    }

    /// Whether a grant still counts: its token is neither revoked nor expired; without one, none was created since.
    pub fn is_in_force(&self, grant: &Grant, now: UtcMillis) -> bool {
        match grant.token {
            Some(id) => self.board().entries.contains_key(&id) && grant.expires_at.is_none_or(|expires_at| now < expires_at),
            None => !self.any(),
        }
    }

    /// Creates one (see [`NewToken::checked`]), for the user `who`; its secret is in the answer and nowhere else.
    ///
    /// # Errors
    /// When the name is taken, there are too many, or it cannot be kept; then there is no such token.
    pub fn create(&self, new: NewToken, now: UtcMillis, who: &str) -> Result<(Token, Secret), TokenError> {
        let mut board = self.board();
        if board.entries.len() >= TOKENS_MAX {
            return Err(TokenError::Full);
        }
        if board.entries.values().any(|entry| entry.token.name == new.name) {
            return Err(TokenError::Taken(new.name));
        }
        let secret = Secret::new()?;
        let hash = secret.hash();
        let token = self.facts.create_token(new, &hash, now, who)?;
        board.any = true;
        board.entries.insert(token.id, Entry::new(token.clone(), hash));
        Ok((token, secret))
    }

    /// Revokes the one of a name or number, at once.
    ///
    /// # Errors
    /// When none in force has it, or that cannot be kept; then it still counts.
    pub fn revoke(&self, which: &str, now: UtcMillis, who: &str) -> Result<Token, TokenError> {
        let mut board = self.board();
        let number: Option<i64> = which.parse().ok();
        let found = board.entries.values().find(|entry| entry.token.name == which || Some(entry.token.id) == number);
        let Some(entry) = found else { return Err(TokenError::Unknown(which.to_owned())) };
        let id = entry.token.id;
        if let (true, Some(at)) = (entry.used, entry.token.last_used_at) {
            self.facts.tokens_used(&[(id, at)])?;
        }
        self.facts.revoke_token(id, now, who)?;
        let mut token = board.entries.remove(&id).expect("just found").token;
        token.revoked_at = Some(now);
        Ok(token)
    }

    /// Writes down which tokens were used since the last time.
    ///
    /// # Errors
    /// When that cannot be written; the next call tries again.
    pub fn save_used(&self) -> Result<(), StoreError> {
        let used: Vec<(i64, UtcMillis)> = self
            .board()
            .entries
            .values()
            .filter(|entry| entry.used)
            .filter_map(|entry| Some((entry.token.id, entry.token.last_used_at?)))
            .collect();
        if used.is_empty() {
            return Ok(());
        }
        self.facts.tokens_used(&used)?;
        let mut board = self.board();
        for (id, at) in used {
            if let Some(entry) = board.entries.get_mut(&id).filter(|entry| entry.token.last_used_at == Some(at)) {
                entry.used = false;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
