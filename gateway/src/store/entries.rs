//! What people and the program enter beside the record: limits, marks, declarations, ledgers, compliance events. One
//! append-only table in `facts.db`, kept so by triggers: what is wrong is put right by a further entry that names it.
//!
//! A body is a JSON object whose form belongs to the module that enters it. Whoever follows a kind keeps the number of the last entry it
//! took. Commands write straight into the file, beside a running gateway too: SQLite lets one writer in at a time, and
//! [`Facts::append_checked`] looks and writes in one transaction, so what two of them enter at once cannot contradict.

use parkgate_collector::model::UtcMillis;
use rusqlite::{Connection, Row, TransactionBehavior, params};
use serde::{Deserialize, Serialize};

use super::tokens::{name, named};
use super::{Facts, StoreError};

/// The step of the format that adds the table.
pub(super) const STEP: &str = "
CREATE TABLE entry (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    body TEXT NOT NULL,
    author TEXT NOT NULL,
    document TEXT,
    time INTEGER NOT NULL);
CREATE INDEX entry_of ON entry (kind, id);
CREATE INDEX entry_about ON entry (kind, subject, id);
CREATE TRIGGER entry_is_final BEFORE UPDATE ON entry BEGIN SELECT RAISE(ABORT, 'an entry is never changed'); END;
CREATE TRIGGER entry_stays BEFORE DELETE ON entry BEGIN SELECT RAISE(ABORT, 'an entry is never deleted'); END;
";

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// A limit of an outlet's factor, or the end of one.
    Limit,
    /// A mark on an outlet's data, or its withdrawal.
    Mark,
    /// A declared (non-metered) figure.
    Declaration,
    /// A step of the ledgers of energy quota and pollutant totals.
    Ledger,
    /// A review of a project with its outcome.
    Review,
    /// A compliance event: raised, amended or withdrawn.
    ComplianceEvent,
    /// A figure of emissions that changed after it was given.
    EmissionCorrection,
    /// What somebody did to an operator alarm: acknowledged, shelved, unshelved, or a note on a compliance event.
    AlarmAct,
    /// A regulator read emissions.
    RegulatorAccess,
    /// An exchange of a meter, a decision about a register that fell, or the undoing of one.
    MeterEvent,
    /// Who read a value by hand.
    HandReading,
}

/// What is entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEntry {
    /// What it is.
    pub kind: EntryKind,
    /// What it is about: an outlet, a pollutant, an event's identity.
    pub subject: String,
    /// The entry itself.
    pub body: serde_json::Value,
    /// Who enters it.
    pub author: String,
    /// The paper it rests on.
    pub document: Option<String>,
}

/// An entry as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its number; grows with every entry of any kind, with gaps between those of one kind.
    pub id: i64,
    /// What it is.
    pub kind: EntryKind,
    /// What it is about.
    pub subject: String,
    /// The entry itself.
    pub body: serde_json::Value,
    /// Who entered it.
    pub author: String,
    /// The paper it rests on.
    pub document: Option<String>,
    /// When it was entered.
    pub time: UtcMillis,
}

const COLUMNS: &str = "id, kind, subject, body, author, document, time";

impl Facts {
    /// Entries of a kind after a number (0: all), in order.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn entries(&self, kind: EntryKind, after: i64) -> Result<Vec<Entry>, StoreError> {
        of_kind(&self.connection(), kind, after)
    }

    /// At most `limit` entries of a kind after a number, in order.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn some_entries(&self, kind: EntryKind, after: i64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        some_of_kind(&self.connection(), kind, after, i64::try_from(limit).unwrap_or(i64::MAX))
    }

    /// Entries of a kind about one subject, in order.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn entries_about(&self, kind: EntryKind, subject: &str) -> Result<Vec<Entry>, StoreError> {
        let connection = self.connection();
        let mut statement =
            connection.prepare_cached(&format!("SELECT {COLUMNS} FROM entry WHERE kind = ?1 AND subject = ?2 ORDER BY id"))?;
        let rows = statement.query_map(params![name(kind)?, subject], entry)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The number of the last entry of a kind; 0 when there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn last_entry(&self, kind: EntryKind) -> Result<i64, StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached("SELECT coalesce(max(id), 0) FROM entry WHERE kind = ?1")?;
        Ok(statement.query_row([name(kind)?], |row| row.get(0))?)
    }

    /// Enters something; durable when this returns.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn append(&self, new: NewEntry, now: UtcMillis) -> Result<Entry, StoreError> {
        let connection = self.connection();
        insert(&connection, new, now)
    }

    /// Enters several things, all or none; durable when this returns.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn append_all(&self, new: Vec<NewEntry>, now: UtcMillis) -> Result<Vec<Entry>, StoreError> {
        let mut connection = self.connection();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let entered = new.into_iter().map(|new| insert(&transaction, new, now)).collect::<Result<_, _>>()?;
        transaction.commit()?;
        Ok(entered)
    }

    /// Enters what `decide` makes of all entries of a kind, or nothing when it refuses. Nobody else can enter anything
    /// in between, of this process or another.
    ///
    /// # Errors
    /// The outer one when the file cannot be read or written, the inner one when `decide` refused.
    pub fn append_checked<E>(
        &self,
        kind: EntryKind,
        now: UtcMillis,
        decide: impl FnOnce(&[Entry]) -> Result<Vec<NewEntry>, E>,
    ) -> Result<Result<Vec<Entry>, E>, StoreError> {
        let mut connection = self.connection();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let known = of_kind(&transaction, kind, 0)?;
        let new = match decide(&known) {
            Ok(new) => new,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let entered = new.into_iter().map(|new| insert(&transaction, new, now)).collect::<Result<_, _>>()?;
        transaction.commit()?;
        Ok(Ok(entered))
    }
}

fn of_kind(connection: &Connection, kind: EntryKind, after: i64) -> Result<Vec<Entry>, StoreError> {
    some_of_kind(connection, kind, after, -1)
}

/// A limit of -1 is none.
fn some_of_kind(connection: &Connection, kind: EntryKind, after: i64, limit: i64) -> Result<Vec<Entry>, StoreError> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM entry WHERE kind = ?1 AND id > ?2 ORDER BY id LIMIT ?3"))?;
    let rows = statement.query_map(params![name(kind)?, after, limit], entry)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn insert(connection: &Connection, new: NewEntry, now: UtcMillis) -> Result<Entry, StoreError> {
    let NewEntry { kind, subject, body, author, document } = new;
    connection
        .prepare_cached("INSERT INTO entry (kind, subject, body, author, document, time) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![name(kind)?, subject, body.to_string(), author, document, now.0])?;
    Ok(Entry { id: connection.last_insert_rowid(), kind, subject, body, author, document, time: now })
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let body: String = row.get(3)?;
    let damaged = |error: serde_json::Error| rusqlite::Error::FromSqlConversionFailure(3, rusqlite::types::Type::Text, error.into());
    Ok(Entry {
        id: row.get(0)?,
        kind: named(row, 1)?,
        subject: row.get(2)?,
        body: serde_json::from_str(&body).map_err(damaged)?,
        author: row.get(4)?,
        document: row.get(5)?,
        time: UtcMillis(row.get(6)?),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn new(kind: EntryKind, subject: &str, amount: i64) -> NewEntry {
        NewEntry { kind, subject: subject.into(), body: json!({ "amount": amount }), author: "eve".into(), document: Some("No. 7".into()) }
    }

    #[test]
    fn entries_come_back_by_kind_and_subject_and_never_change() {
        let facts = Facts::open(std::path::Path::new(":memory:")).unwrap();
        assert_eq!(facts.last_entry(EntryKind::Mark).unwrap(), 0);
        let first = facts.append(new(EntryKind::Mark, "stack", 1), UtcMillis(10)).unwrap();
        facts.append(new(EntryKind::Limit, "stack", 2), UtcMillis(20)).unwrap();
        let both = facts.append_all(vec![new(EntryKind::Mark, "outlet", 3), new(EntryKind::Mark, "stack", 4)], UtcMillis(30)).unwrap();
        assert_eq!(facts.entries(EntryKind::Mark, 0).unwrap(), [first.clone(), both[0].clone(), both[1].clone()]);
        assert_eq!(facts.entries(EntryKind::Mark, first.id).unwrap(), both);
        assert_eq!(facts.some_entries(EntryKind::Mark, 0, 2).unwrap(), [first.clone(), both[0].clone()]);
        assert_eq!(facts.entries_about(EntryKind::Mark, "stack").unwrap(), [first.clone(), both[1].clone()]);
        assert_eq!(facts.last_entry(EntryKind::Mark).unwrap(), both[1].id);
        assert_eq!((first.body, first.document.as_deref(), first.time), (json!({ "amount": 1 }), Some("No. 7"), UtcMillis(10)));
        facts.connection().execute("UPDATE entry SET author = 'mallory'", []).unwrap_err();
        facts.connection().execute("DELETE FROM entry", []).unwrap_err();
    }

    #[test]
    fn two_who_spend_at_once_cannot_spend_more_than_there_is() {
        const THERE_IS: i64 = 10;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("facts.db");
        drop(Facts::open(&path).unwrap());
        let spend = |facts: &Facts| {
            facts
                .append_checked(EntryKind::Ledger, UtcMillis(0), |known| {
                    let spent: i64 = known.iter().map(|entry| entry.body["amount"].as_i64().unwrap()).sum();
                    if spent < THERE_IS { Ok(vec![new(EntryKind::Ledger, "cod", 1)]) } else { Err("nothing is left") }
                })
                .unwrap()
        };
        let granted: usize = std::thread::scope(|scope| {
            let spenders: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let facts = Facts::open(&path).unwrap();
                        (0..5).filter(|_| spend(&facts).is_ok()).count()
                    })
                })
                .collect();
            spenders.into_iter().map(|spender| spender.join().unwrap()).sum()
        });
        assert_eq!(granted, 10);
        assert_eq!(Facts::open_read_only(&path).unwrap().entries(EntryKind::Ledger, 0).unwrap().len(), 10);
    }

    #[test]
    fn what_is_refused_leaves_nothing() {
        let facts = Facts::open(std::path::Path::new(":memory:")).unwrap();
        let refused = facts.append_checked(EntryKind::Ledger, UtcMillis(0), |_| Err::<Vec<NewEntry>, _>("no")).unwrap();
        assert_eq!(refused, Err("no"));
        assert_eq!(facts.entries(EntryKind::Ledger, 0).unwrap(), []);
    }
}
