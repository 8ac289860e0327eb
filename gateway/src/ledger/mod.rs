//! The ledgers of energy quota and pollutant totals as they are kept: entries of kind `ledger` in `facts.db`. What may be
//! added is decided by `parkgate_rules::ledger` inside the transaction that writes, so that two who enter at once, in one
//! process or two, cannot over-commit.
//!
//! [`rows`] entries and balances as they are shown; [`quota`] what indicators take from here.

pub mod quota;
pub mod rows;
#[cfg(test)]
mod tests;

use parkgate_collector::model::UtcMillis;
use parkgate_rules::ledger::entry::DraftError;
use parkgate_rules::ledger::{Book, Draft, Entry, Refusal, admit};

use crate::store::{self, EntryKind, Facts, NewEntry, StoreError};

/// Why the ledgers cannot be read, or something not be entered.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An entry is not understood; leaving it out would tell a wrong balance.
    #[error("entry {id} of the ledger cannot be read, perhaps it is of a newer program: {error}")]
    Unreadable {
        /// Its number.
        id: i64,
        /// What is wrong.
        #[source]
        error: DraftError,
    },
    /// It cannot be admitted.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// An entry with who entered it and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The entry.
    pub entry: Entry,
    /// Who.
    pub author: String,
    /// When.
    pub time: UtcMillis,
}

/// All entries, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    rows: Vec<Row>,
    entries: Vec<Entry>,
}

impl Ledger {
    /// Reads all entries.
    ///
    /// # Errors
    /// When they cannot be read, or one is not understood.
    pub fn read(facts: &Facts) -> Result<Self, LedgerError> {
        Self::of(&facts.entries(EntryKind::Ledger, 0)?)
    }

    /// Of entries as they are kept.
    ///
    /// # Errors
    /// When one is not understood.
    pub fn of(kept: &[store::Entry]) -> Result<Self, LedgerError> {
        let mut ledger = Self::default();
        for one in kept {
            let draft = Draft::read(&one.body, Some(one.document.as_deref().unwrap_or_default()), None)
                .map_err(|error| LedgerError::Unreadable { id: one.id, error })?;
            let entry = Entry { id: one.id, draft };
            ledger.entries.push(entry.clone());
            ledger.rows.push(Row { entry, author: one.author.clone(), time: one.time });
        }
        Ok(ledger)
    }

    /// The entries with who entered them and when.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The entries.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entries as they stand.
    pub fn book(&self) -> Book<'_> {
        Book::new(&self.entries)
    }
}

/// Enters drafts, all or none; they are durable when this returns.
///
/// # Errors
/// Why not; then nothing was entered.
pub fn enter(facts: &Facts, drafts: &[Draft], author: &str, now: UtcMillis) -> Result<Vec<Row>, LedgerError> {
    let entered = facts.append_checked(EntryKind::Ledger, now, |kept| -> Result<Vec<NewEntry>, LedgerError> {
        admit(Ledger::of(kept)?.entries(), drafts)?;
        Ok(drafts.iter().map(|draft| kept_as(draft, author)).collect())
    })??;
    Ok(Ledger::of(&entered)?.rows)
}

/// A draft as it is kept.
pub fn kept_as(draft: &Draft, author: &str) -> NewEntry {
    NewEntry {
        kind: EntryKind::Ledger,
        subject: draft.body.subject().to_owned(),
        body: draft.to_value(),
        author: author.to_owned(),
        document: Some(draft.document.clone()),
    }
}
