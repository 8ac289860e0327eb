//! `facts.db`: what the record cannot give back. The point registry, the catalogue versions that were in force, a small
//! key-value table, and what [`super::tokens`] and [`super::entries`] keep here. SQLite, WAL, every commit synced.
//!
//! Point numbers are dense from 1, never reused, never changed: rows are only ever added.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use parkgate_collector::catalogue::{PointRegistry, RegistryError};
use parkgate_collector::model::{Kind, PointId, PointIdentity, Unit, UtcMillis};
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::StoreError;

/// What each format added to the one before; the format of a file is the number of steps it has taken. A step that was
/// released is never changed.
const STEPS: &[&str] = &[POINTS, super::tokens::STEP, TOTAL_CORRECTIONS, super::entries::STEP];

const POINTS: &str = "
CREATE TABLE IF NOT EXISTS point (
    id INTEGER PRIMARY KEY CHECK (id > 0),
    stable_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    unit TEXT NOT NULL,
    decimals INTEGER NOT NULL,
    UNIQUE (stable_id, kind, unit, decimals));
CREATE TABLE IF NOT EXISTS catalogue (version INTEGER PRIMARY KEY, first_seen INTEGER NOT NULL, last_seen INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS item (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
";

const TOTAL_CORRECTIONS: &str = "
CREATE TABLE IF NOT EXISTS total_correction (
    id INTEGER PRIMARY KEY,
    point INTEGER NOT NULL,
    level TEXT NOT NULL,
    start INTEGER NOT NULL,
    old TEXT NOT NULL,
    new TEXT,
    cause TEXT NOT NULL,
    time INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS total_correction_of ON total_correction (point, level, start, id);
";

/// A total that changed after its period was closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TotalCorrection {
    /// Which point.
    pub point: PointId,
    /// Name of the level.
    pub level: String,
    /// Start of the period.
    pub start: UtcMillis,
    /// The total that was given until then, as JSON.
    pub old: String,
    /// What it is now; `None` when nothing is known any more.
    pub new: Option<String>,
    /// Why it changed.
    pub cause: String,
    /// When the change was noticed.
    pub time: UtcMillis,
}

/// The newest format, which this program writes.
fn newest_format() -> i64 {
    i64::try_from(STEPS.len()).unwrap_or(i64::MAX)
}

/// The database of facts. Calls block on file I/O.
#[derive(Debug)]
pub struct Facts {
    connection: Mutex<Connection>,
}

impl Facts {
    /// Opens or creates the file.
    ///
    /// # Errors
    /// When SQLite refuses, or the file is of a newer format. A damaged file is an error: facts are restored from a
    /// backup, never made up.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")?;
        let format: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        let newest = newest_format();
        for (step, format) in STEPS.iter().zip(1..).skip(usize::try_from(format).unwrap_or(0)) {
            connection.execute_batch(&format!("BEGIN IMMEDIATE; {step} PRAGMA user_version = {format}; COMMIT;"))?;
        }
        Self::checked(path, connection, format.max(newest))
    }

    /// Opens the file for reading, beside a process that writes.
    ///
    /// # Errors
    /// As [`Self::open`], and when it is not there.
    pub fn open_read_only(path: &Path) -> Result<Self, StoreError> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        let format = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        Self::checked(path, connection, format)
    }

    fn checked(path: &Path, connection: Connection, format: i64) -> Result<Self, StoreError> {
        let newest = newest_format();
        if format > newest {
            return Err(StoreError::Version(format!(
                "{} has format {format}, this program knows formats up to {newest}; use the newer program",
                path.display()
            )));
        }
        Ok(Self { connection: Mutex::new(connection) })
    }

    pub(super) fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to resolve points. Nothing is written before [`Registry::commit`].
    ///
    /// # Errors
    /// When the points known cannot be read.
    pub fn registry(&self) -> Result<Registry<'_>, StoreError> {
        let known: HashMap<PointIdentity, PointId> = self.identities()?.into_iter().map(|(id, identity)| (identity, id)).collect();
        let last = known.values().map(|id| id.0).max().unwrap_or(0);
        Ok(Registry { facts: self, known, last, added: Vec::new() })
    }

    /// Every identity that ever had a number, those that the config does not use any more included, by number.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn identities(&self) -> Result<Vec<(PointId, PointIdentity)>, StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached("SELECT id, stable_id, kind, unit, decimals FROM point ORDER BY id")?;
        let mut rows = statement.query([])?;
        let mut identities = Vec::new();
        while let Some(row) = rows.next()? {
            let id = PointId(row.get(0)?);
            let (kind, unit): (String, String) = (row.get(2)?, row.get(3)?);
            let damaged = |what: &str| StoreError::Damaged(format!("point {id} of the registry has {what}"));
            let identity = PointIdentity {
                stable_id: row.get(1)?,
                kind: Kind::ALL
                    .iter()
                    .copied()
                    .find(|one| one.name() == kind)
                    .ok_or_else(|| damaged(&format!("an unknown kind `{kind}`")))?,
                unit: Unit::parse(&unit).ok_or_else(|| damaged(&format!("an unknown unit `{unit}`")))?,
                decimals: row.get(4)?,
            };
            identities.push((id, identity));
        }
        Ok(identities)
    }

    /// Notes that a catalogue was loaded.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn catalogue_loaded(&self, version: u32, now: UtcMillis) -> Result<(), StoreError> {
        self.connection().execute(
            "INSERT INTO catalogue (version, first_seen, last_seen) VALUES (?1, ?2, ?2) ON CONFLICT DO UPDATE SET last_seen = ?2",
            params![version, now.0],
        )?;
        Ok(())
    }

    /// A small value kept under a key.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn item(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.connection().prepare_cached("SELECT value FROM item WHERE key = ?1")?.query_row([key], |row| row.get(0)).optional()?)
    }

    /// Keeps corrections of totals, in one transaction; how many are new. One that is the last of its period already is
    /// the same one, found again after a crash.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn add_total_corrections(&self, corrections: &[TotalCorrection]) -> Result<u64, StoreError> {
        if corrections.is_empty() {
            return Ok(0);
        }
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        let mut added = 0;
        {
            let mut last = transaction.prepare_cached(
                "SELECT old, new FROM total_correction WHERE point = ?1 AND level = ?2 AND start = ?3 ORDER BY id DESC LIMIT 1",
            )?;
            let mut insert = transaction.prepare_cached(
                "INSERT INTO total_correction (point, level, start, old, new, cause, time) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?;
            for one in corrections {
                let key = params![one.point.0, one.level, one.start.0];
                let known: Option<(String, Option<String>)> = last.query_row(key, |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
                if known.is_some_and(|(old, new)| old == one.old && new == one.new) {
                    continue;
                }
                insert.execute(params![one.point.0, one.level, one.start.0, one.old, one.new, one.cause, one.time.0])?;
                added += 1;
            }
        }
        transaction.commit()?;
        Ok(added)
    }

    /// All corrections of totals, oldest first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn total_corrections(&self) -> Result<Vec<TotalCorrection>, StoreError> {
        let connection = self.connection();
        let mut statement =
            connection.prepare_cached("SELECT point, level, start, old, new, cause, time FROM total_correction ORDER BY id")?;
        let rows = statement.query_map([], |row| {
            Ok(TotalCorrection {
                point: PointId(row.get(0)?),
                level: row.get(1)?,
                start: UtcMillis(row.get(2)?),
                old: row.get(3)?,
                new: row.get(4)?,
                cause: row.get(5)?,
                time: UtcMillis(row.get(6)?),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Keeps a small value under a key.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn set_item(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.connection().prepare_cached("INSERT OR REPLACE INTO item (key, value) VALUES (?1, ?2)")?.execute(params![key, value])?;
        Ok(())
    }
}

/// Resolves the points of one load of the config; new ones are written together.
#[derive(Debug)]
pub struct Registry<'a> {
    facts: &'a Facts,
    known: HashMap<PointIdentity, PointId>,
    last: u32,
    added: Vec<(PointId, PointIdentity)>,
}

impl Registry<'_> {
    /// Makes the new numbers durable, in one transaction. Without it they were never given: use no number before.
    ///
    /// # Errors
    /// When they cannot be written, or another registry of the same file gave the numbers away meanwhile.
    pub fn commit(self) -> Result<(), StoreError> {
        if self.added.is_empty() {
            return Ok(());
        }
        let mut connection = self.facts.connection();
        let transaction = connection.transaction()?;
        {
            let mut statement =
                transaction.prepare_cached("INSERT INTO point (id, stable_id, kind, unit, decimals) VALUES (?1, ?2, ?3, ?4, ?5)")?;
            for (id, identity) in &self.added {
                let PointIdentity { stable_id, kind, unit, decimals } = identity;
                statement.execute(params![id.0, stable_id, kind.name(), unit.symbol(), decimals])?;
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

impl PointRegistry for Registry<'_> {
    fn resolve(&mut self, wanted: &PointIdentity) -> Result<PointId, RegistryError> {
        if let Some(&id) = self.known.get(wanted) {
            return Ok(id);
        }
        self.last = self.last.checked_add(1).ok_or_else(|| RegistryError("all numbers are given away".into()))?;
        let id = PointId(self.last);
        self.known.insert(wanted.clone(), id);
        self.added.push((id, wanted.clone()));
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(stable_id: &str, kind: Kind, unit: &str, decimals: u8) -> PointIdentity {
        PointIdentity { stable_id: stable_id.into(), kind, unit: Unit::parse(unit).unwrap(), decimals }
    }

    #[test]
    fn numbers_are_dense_and_never_reused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("facts.db");
        let resolve = |identities: &[PointIdentity]| {
            let facts = Facts::open(&path).unwrap();
            let mut registry = facts.registry().unwrap();
            let ids: Vec<u32> = identities.iter().map(|identity| registry.resolve(identity).unwrap().0).collect();
            registry.commit().unwrap();
            ids
        };
        let a = identity("a/b/c", Kind::Counter, "kWh", 2);
        let b = identity("a/b/d", Kind::Gauge, "kW", 1);
        assert_eq!(resolve(&[a.clone(), b.clone(), a.clone()]), [1, 2, 1]);
        // Each part of the identity opens a new number; the old ones stay.
        let changed = [
            identity("a/b/c", Kind::Gauge, "kWh", 2),
            identity("a/b/c", Kind::Counter, "MWh", 2),
            identity("a/b/c", Kind::Counter, "kWh", 3),
        ];
        assert_eq!(resolve(&changed), [3, 4, 5]);
        assert_eq!(resolve(&[b.clone(), a.clone()]), [2, 1]);
        let listed = Facts::open_read_only(&path).unwrap().identities().unwrap();
        assert_eq!(listed.len(), 5);
        assert_eq!(listed[0], (PointId(1), a));
        assert_eq!(listed[4], (PointId(5), changed[2].clone()));
        // Without a commit nothing was given.
        let facts = Facts::open(&path).unwrap();
        assert_eq!(facts.registry().unwrap().resolve(&identity("x", Kind::State, "state", 0)).unwrap(), PointId(6));
        assert_eq!(facts.identities().unwrap().len(), 5);
    }

    #[test]
    fn every_kind_and_unit_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let facts = Facts::open(&folder.path().join("facts.db")).unwrap();
        let mut registry = facts.registry().unwrap();
        let mut wanted = Vec::new();
        for unit in Unit::all() {
            for &kind in Kind::ALL {
                wanted.push(PointIdentity { stable_id: format!("p/{unit}"), kind, unit, decimals: 3 });
            }
        }
        for identity in &wanted {
            registry.resolve(identity).unwrap();
        }
        registry.commit().unwrap();
        assert_eq!(facts.identities().unwrap().into_iter().map(|(_, identity)| identity).collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn ten_thousand_points_are_one_transaction() {
        let folder = tempfile::tempdir().unwrap();
        let facts = Facts::open(&folder.path().join("facts.db")).unwrap();
        let mut registry = facts.registry().unwrap();
        for number in 1..=10_000 {
            let id = registry.resolve(&identity(&format!("park/device-{number}/power"), Kind::Gauge, "kW", 1)).unwrap();
            assert_eq!(id, PointId(number));
        }
        registry.commit().unwrap();
        assert_eq!(facts.registry().unwrap().last, 10_000);
    }

    #[test]
    fn two_registries_do_not_give_one_number_twice() {
        let folder = tempfile::tempdir().unwrap();
        let facts = Facts::open(&folder.path().join("facts.db")).unwrap();
        let (mut one, mut other) = (facts.registry().unwrap(), facts.registry().unwrap());
        one.resolve(&identity("a", Kind::Gauge, "kW", 1)).unwrap();
        other.resolve(&identity("b", Kind::Gauge, "kW", 1)).unwrap();
        one.commit().unwrap();
        other.commit().unwrap_err();
        assert_eq!(facts.identities().unwrap().len(), 1);
    }

    #[test]
    fn items_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("facts.db");
        let facts = Facts::open(&path).unwrap();
        assert_eq!(facts.item("park").unwrap(), None);
        facts.set_item("park", b"one").unwrap();
        facts.set_item("park", b"two").unwrap();
        facts.catalogue_loaded(7, UtcMillis(10)).unwrap();
        facts.catalogue_loaded(7, UtcMillis(30)).unwrap();
        drop(facts);
        assert_eq!(Facts::open_read_only(&path).unwrap().item("park").unwrap().as_deref(), Some(b"two".as_slice()));
    }

    #[test]
    fn a_newer_or_damaged_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("facts.db");
        Facts::open(&path).unwrap().connection().execute_batch("PRAGMA user_version = 1000").unwrap();
        assert!(matches!(Facts::open(&path), Err(StoreError::Version(_))));
        assert!(matches!(Facts::open_read_only(&path), Err(StoreError::Version(_))));
        let path = folder.path().join("broken.db");
        std::fs::write(&path, [7; 5000]).unwrap();
        assert!(matches!(Facts::open(&path), Err(StoreError::Sqlite(_))));
    }
}
