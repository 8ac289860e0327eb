//! Tokens and the table of changes in `facts.db`: who may come in, and who changed what and when.
//!
//! A change is a row that is never changed or deleted again; triggers in the database see to that. A secret is in
//! neither table: of a token there is its hash, of a configuration its text with secrets masked.

use std::collections::HashSet;

use parkgate_collector::model::UtcMillis;
use rusqlite::types::Type;
use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};

use super::{Facts, StoreError};
use crate::access::secret::SecretHash;
use crate::access::tokens::NewToken;
use crate::access::{Role, Scope, Token};

/// The step of the format that adds both tables.
pub(super) const STEP: &str = "
CREATE TABLE token (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    role TEXT NOT NULL,
    scope TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    last_used_at INTEGER);
CREATE UNIQUE INDEX token_name ON token (name) WHERE revoked_at IS NULL;
CREATE TABLE change (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    time INTEGER NOT NULL,
    who TEXT NOT NULL,
    what TEXT NOT NULL,
    subject TEXT NOT NULL,
    old TEXT,
    new TEXT);
CREATE TRIGGER change_is_final BEFORE UPDATE ON change BEGIN SELECT RAISE(ABORT, 'a change is never changed'); END;
CREATE TRIGGER change_stays BEFORE DELETE ON change BEGIN SELECT RAISE(ABORT, 'a change is never deleted'); END;
";

/// What was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// A token was created; the subject is its name.
    TokenCreated,
    /// A token was revoked; the subject is its name.
    TokenRevoked,
    /// The configuration is another than at the start before; the subject is the park's id.
    ConfigurationChanged,
}

impl ChangeKind {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Self::TokenCreated => "created the token",
            Self::TokenRevoked => "revoked the token",
            Self::ConfigurationChanged => "changed the configuration of",
        }
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Number, ascending.
    pub id: i64,
    /// When.
    pub time: UtcMillis,
    /// Which user of the operating system.
    pub who: String,
    /// What.
    pub what: ChangeKind,
    /// Of what.
    pub subject: String,
    /// As it was before, as text; `None` when there was nothing.
    pub old: Option<String>,
    /// As it is since, as text; `None` when there is nothing.
    pub new: Option<String>,
}

/// What tables hold of a role or of what was changed: its name in JSON, without quotes.
/// The name that serde gives a value without fields.
pub(super) fn name(value: impl Serialize) -> Result<String, StoreError> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => Ok(name),
        other => Err(StoreError::Damaged(format!("{other:?} is no name"))),
    }
}

fn json(value: impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(&value).map_err(|error| StoreError::Damaged(error.to_string()))
}

/// What a change says of a token.
#[derive(Serialize)]
struct Told<'a> {
    id: i64,
    role: Role,
    scope: &'a Scope,
    expires_at: Option<String>,
}

fn told(token: &Token) -> Result<String, StoreError> {
    json(Told { id: token.id, role: token.role, scope: &token.scope, expires_at: token.expires_at.map(|time| time.to_string()) })
}

impl Facts {
    /// Every token that ever was, by number, with its hash.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn tokens(&self) -> Result<Vec<(Token, SecretHash)>, StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached(
            "SELECT id, name, role, scope, created_at, created_by, expires_at, revoked_at, last_used_at, hash FROM token ORDER BY id",
        )?;
        let rows = statement.query_map([], |row| Ok((token(row)?, SecretHash::stored(row.get(9)?))))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Adds a token and the change that it is, together.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(crate) fn create_token(&self, new: NewToken, hash: &SecretHash, now: UtcMillis, who: &str) -> Result<Token, StoreError> {
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        let NewToken { name: token_name, role, scope, expires_at } = new;
        transaction.execute(
            "INSERT INTO token (name, hash, role, scope, created_at, created_by, expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![token_name, hash.bytes(), name(role)?, json(&scope)?, now.0, who, expires_at.map(|time| time.0)],
        )?;
        let token = Token {
            id: transaction.last_insert_rowid(),
            name: token_name,
            role,
            scope,
            created_at: now,
            created_by: who.to_owned(),
            expires_at,
            revoked_at: None,
            last_used_at: None,
        };
        note(&transaction, now, who, (ChangeKind::TokenCreated, &token.name), None, Some(&told(&token)?))?;
        transaction.commit()?;
        Ok(token)
    }

    /// Revokes a token, and adds the change that it is, together.
    ///
    /// # Errors
    /// When there is no such token in force, or they cannot be written.
    pub(crate) fn revoke_token(&self, id: i64, now: UtcMillis, who: &str) -> Result<(), StoreError> {
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        let token = transaction.query_row(
            "UPDATE token SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL
             RETURNING id, name, role, scope, created_at, created_by, expires_at, revoked_at, last_used_at",
            params![id, now.0],
            token,
        )?;
        note(&transaction, now, who, (ChangeKind::TokenRevoked, &token.name), Some(&told(&token)?), None)?;
        transaction.commit()?;
        Ok(())
    }

    /// Notes when tokens were last used.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn tokens_used(&self, used: &[(i64, UtcMillis)]) -> Result<(), StoreError> {
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        {
            let mut statement = transaction.prepare_cached("UPDATE token SET last_used_at = ?2 WHERE id = ?1")?;
            for (id, at) in used {
                statement.execute(params![id, at.0])?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Notes the configuration of a start, as lines without secrets. When it differs from the one before, that is a change:
    /// `old` holds the lines that went, `new` those that came. The last configuration in full is the item
    /// `configuration`, so that every one before it can be worked out.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn configuration_loaded(&self, lines: &[String], park: &str, now: UtcMillis, who: &str) -> Result<(), StoreError> {
        const KEY: &str = "configuration";
        let new = lines.join("\n");
        let old = self.item(KEY)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        if old.as_ref() == Some(&new) {
            return Ok(());
        }
        let (gone, come) = match &old {
            None => (None, Some(new.clone())),
            Some(old) => (Some(without(old, &new)), Some(without(&new, old))),
        };
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        note(&transaction, now, who, (ChangeKind::ConfigurationChanged, park), gone.as_deref(), come.as_deref())?;
        transaction.execute("INSERT OR REPLACE INTO item (key, value) VALUES (?1, ?2)", params![KEY, new.as_bytes()])?;
        transaction.commit()?;
        Ok(())
    }

    /// All changes, the oldest first; those of one kind where one is given.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn changes(&self, what: Option<ChangeKind>) -> Result<Vec<Change>, StoreError> {
        let connection = self.connection();
        let mut statement = connection
            .prepare_cached("SELECT id, time, who, what, subject, old, new FROM change WHERE ?1 IS NULL OR what = ?1 ORDER BY id")?;
        let rows = statement.query_map([what.map(name).transpose()?], |row| {
            Ok(Change {
                id: row.get(0)?,
                time: UtcMillis(row.get(1)?),
                who: row.get(2)?,
                what: named(row, 3)?,
                subject: row.get(4)?,
                old: row.get(5)?,
                new: row.get(6)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// The lines of `text` that are not among those of `other`.
fn without(text: &str, other: &str) -> String {
    let other: HashSet<&str> = other.lines().collect();
    text.lines().filter(|line| !other.contains(line)).collect::<Vec<_>>().join("\n")
}

fn note(
    connection: &Connection,
    now: UtcMillis,
    who: &str,
    (what, subject): (ChangeKind, &str),
    old: Option<&str>,
    new: Option<&str>,
) -> Result<(), StoreError> {
    connection.execute(
        "INSERT INTO change (time, who, what, subject, old, new) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![now.0, who, name(what)?, subject, old, new],
    )?;
    Ok(())
}

fn token(row: &Row<'_>) -> rusqlite::Result<Token> {
    let time = |column: usize| row.get::<_, Option<i64>>(column).map(|time| time.map(UtcMillis));
    let scope: String = row.get(3)?;
    Ok(Token {
        id: row.get(0)?,
        name: row.get(1)?,
        role: named(row, 2)?,
        scope: serde_json::from_str(&scope).map_err(|error| rusqlite::Error::FromSqlConversionFailure(3, Type::Text, error.into()))?,
        created_at: UtcMillis(row.get(4)?),
        created_by: row.get(5)?,
        expires_at: time(6)?,
        revoked_at: time(7)?,
        last_used_at: time(8)?,
    })
}

/// What is stored by its [`name`].
pub(super) fn named<T: for<'a> Deserialize<'a>>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let name: String = row.get(column)?;
    serde_json::from_value(name.into()).map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_changed_configuration_is_a_change_with_what_went_and_what_came() {
        let facts = Facts::open(Path::new(":memory:")).unwrap();
        let load = |lines: &[&str], time| {
            let lines: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
            facts.configuration_loaded(&lines, "north", UtcMillis(time), "eve").unwrap();
        };
        load(&["a = 1", "b = 2"], 10);
        load(&["a = 1", "b = 2"], 20);
        load(&["a = 1", "b = 3", "c = 4"], 30);
        load(&["a = 1"], 40);
        let changes = facts.changes(Some(ChangeKind::ConfigurationChanged)).unwrap();
        let told: Vec<_> = changes.iter().map(|change| (change.time.0, change.old.as_deref(), change.new.as_deref())).collect();
        assert_eq!(
            told,
            [(10, None, Some("a = 1\nb = 2")), (30, Some("b = 2"), Some("b = 3\nc = 4")), (40, Some("b = 3\nc = 4"), Some(""))]
        );
        assert_eq!((changes[0].subject.as_str(), changes[0].who.as_str()), ("north", "eve"));
    }
}
