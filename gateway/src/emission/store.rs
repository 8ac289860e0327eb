//! `emission.db`: figures of closed hours, days and months, and how far each outlet and pair was counted. A view of the
//! record and of what people entered: it can be deleted and is made again.
//!
//! SQLite, WAL. A row of `figure` is one figure as the pure core has it, JSON compressed with deflate: about 700 bytes an
//! hour. One writer, the follower's thread; figures and the places that were read go in one transaction. `PRAGMA
//! user_version` is the format; a file of an older one is dropped and made again. So is one of another time zone, whose
//! hours and days are others.

use std::io::{Read as _, Write as _};
use std::path::Path;

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use parkgate_collector::journal::Sequence;
use parkgate_collector::model::UtcMillis;
use parkgate_rules::emission::{Averaging, HourFigure, PeriodFigure};
use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::entered::Seen;
use crate::rollup::ParkZone;
use crate::store::StoreError;

/// 2: figures have mass rates; recounts are counted.
const FORMAT: i64 = 2;
const TABLES: [&str; 7] = ["series", "figure", "outlet", "pair", "cursor", "recount", "zone"];
const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS series (id INTEGER PRIMARY KEY, outlet TEXT NOT NULL, factor TEXT NOT NULL, UNIQUE (outlet, factor));
CREATE TABLE IF NOT EXISTS figure (
    series INTEGER NOT NULL,
    level INTEGER NOT NULL,
    start INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (series, level, start)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outlet (
    outlet TEXT PRIMARY KEY,
    settings TEXT NOT NULL,
    first INTEGER NOT NULL,
    until INTEGER NOT NULL,
    latest INTEGER NOT NULL,
    received INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS pair (pair TEXT PRIMARY KEY, settings TEXT NOT NULL, until INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS cursor (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    sequence INTEGER NOT NULL,
    limits INTEGER NOT NULL,
    marks INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS recount (one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS zone (one INTEGER PRIMARY KEY CHECK (one = 1), name TEXT NOT NULL);
";
/// Most bytes of a figure: far more than any has.
const FIGURE_BYTES_MAX: u64 = 1 << 20;

/// How far an outlet was counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// Its configuration then, as JSON: with another one all is counted again.
    pub settings: String,
    /// Start of its first hour.
    pub first: UtcMillis,
    /// Hours that end at or before this are closed and stored.
    pub until: UtcMillis,
    /// Greatest record time of a sample of its points.
    pub latest: UtcMillis,
    /// When one was last received.
    pub received: UtcMillis,
}

/// How far a pair was watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Its configuration then, as JSON.
    pub settings: String,
    /// Minutes that end at or before this were looked at.
    pub until: UtcMillis,
}

/// Up to where journal and entries were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The next journal entry to read.
    pub sequence: Sequence,
    /// The last entries that were taken in.
    pub seen: Seen,
}

/// The file.
#[derive(Debug)]
pub struct EmissionStore {
    connection: Connection,
}

impl EmissionStore {
    /// Opens or creates the file for writing. What it has of another zone or an older format is dropped.
    ///
    /// # Errors
    /// When SQLite refuses, or the file is of a newer format.
    pub fn open(path: &Path, zone: &ParkZone) -> Result<Self, StoreError> {
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        // Not synced at each commit: what a power cut takes is counted again.
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")?;
        let format = check(path, &connection)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if format != 0 && format < FORMAT {
            for table in TABLES {
                transaction.execute_batch(&format!("DROP TABLE IF EXISTS {table};"))?;
            }
        }
        transaction.execute_batch(&format!("{SCHEMA} PRAGMA user_version = {FORMAT};"))?;
        let old: Option<String> = transaction.query_row("SELECT name FROM zone", [], |row| row.get(0)).optional()?;
        if let Some(old) = old.filter(|old| old != zone.name()) {
            tracing::info!(old, new = zone.name(), "the park has another time zone; all emissions are counted again");
            transaction.execute_batch("DELETE FROM figure; DELETE FROM outlet; DELETE FROM pair; DELETE FROM cursor;")?;
        }
        transaction.execute("INSERT OR REPLACE INTO zone (one, name) VALUES (1, ?1)", [zone.name()])?;
        transaction.commit()?;
        Ok(Self { connection })
    }

    /// Opens the file for reading beside a writer.
    ///
    /// # Errors
    /// As [`Self::open`], and when it is not there.
    pub fn open_read_only(path: &Path) -> Result<Self, StoreError> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        check(path, &connection)?;
        Ok(Self { connection })
    }

    /// Up to where journal and entries were read; `None` in a new file.
    pub fn cursor(&self) -> Result<Option<Cursor>, StoreError> {
        let row = |row: &rusqlite::Row<'_>| {
            let sequence: i64 = row.get(0)?;
            let seen = Seen { limits: row.get(1)?, marks: row.get(2)? };
            Ok(Cursor { sequence: Sequence(u64::try_from(sequence).unwrap_or(1)), seen })
        };
        Ok(self.connection.query_row("SELECT sequence, limits, marks FROM cursor", [], row).optional()?)
    }

    /// How often closed hours were counted again and came out otherwise; what rests on them is then to be made anew.
    pub fn recounts(&self) -> Result<i64, StoreError> {
        // A file that only an older program wrote has no such table.
        let known = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'recount'";
        if self.connection.prepare_cached(known)?.query_row([], |row| row.get::<_, i64>(0))? == 0 {
            return Ok(0);
        }
        Ok(self.connection.prepare_cached("SELECT coalesce(max(number), 0) FROM recount")?.query_row([], |row| row.get(0))?)
    }

    /// How far an outlet was counted.
    pub fn followed(&self, outlet: &str) -> Result<Option<Followed>, StoreError> {
        let mut statement =
            self.connection.prepare_cached("SELECT settings, first, until, latest, received FROM outlet WHERE outlet = ?1")?;
        let row = |row: &rusqlite::Row<'_>| {
            Ok(Followed {
                settings: row.get(0)?,
                first: UtcMillis(row.get(1)?),
                until: UtcMillis(row.get(2)?),
                latest: UtcMillis(row.get(3)?),
                received: UtcMillis(row.get(4)?),
            })
        };
        Ok(statement.query_row([outlet], row).optional()?)
    }

    /// How far a pair was watched.
    pub fn watched(&self, pair: &str) -> Result<Option<Watched>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT settings, until FROM pair WHERE pair = ?1")?;
        let row = |row: &rusqlite::Row<'_>| Ok(Watched { settings: row.get(0)?, until: UtcMillis(row.get(1)?) });
        Ok(statement.query_row([pair], row).optional()?)
    }

    /// Hours of a factor that start in `[from, to)`, oldest first. A damaged row is left out and told to the log.
    pub fn hours(&self, outlet: &str, factor: &str, from: UtcMillis, to: UtcMillis) -> Result<Vec<HourFigure>, StoreError> {
        self.figures(outlet, factor, Averaging::Hour, from, to)
    }

    /// Days or months of a factor that start in `[from, to)`, oldest first; else as [`Self::hours`].
    pub fn periods(
        &self,
        outlet: &str,
        factor: &str,
        averaging: Averaging,
        from: UtcMillis,
        to: UtcMillis,
    ) -> Result<Vec<PeriodFigure>, StoreError> {
        self.figures(outlet, factor, averaging, from, to)
    }

    fn figures<T: DeserializeOwned>(
        &self,
        outlet: &str,
        factor: &str,
        averaging: Averaging,
        from: UtcMillis,
        to: UtcMillis,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT start, data FROM figure JOIN series ON series.id = figure.series
            WHERE outlet = ?1 AND factor = ?2 AND level = ?3 AND start >= ?4 AND start < ?5 ORDER BY start",
        )?;
        let mut rows = statement.query(params![outlet, factor, number(averaging), from.0, to.0])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            match row.get_ref(1)?.as_blob().ok().and_then(decoded) {
                Some(figure) => found.push(figure),
                None => {
                    let start = UtcMillis(row.get(0)?);
                    tracing::error!(outlet, factor, averaging = averaging.name(), start = %start, "stored figure is damaged; delete emission.db, it is made again");
                }
            }
        }
        Ok(found)
    }

    /// Begins a transaction; dropping it without [`Writing::commit`] undoes it.
    pub fn write(&mut self) -> Result<Writing<'_>, StoreError> {
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        Ok(Writing { store: self, done: false })
    }
}

/// A transaction.
#[derive(Debug)]
pub struct Writing<'a> {
    store: &'a mut EmissionStore,
    done: bool,
}

impl Writing<'_> {
    /// Reads what is stored, this transaction's own rows included.
    pub fn store(&self) -> &EmissionStore {
        self.store
    }

    /// Stores a figure in place of the one there was.
    pub fn put(
        &self,
        outlet: &str,
        factor: &str,
        averaging: Averaging,
        start: UtcMillis,
        figure: &impl Serialize,
    ) -> Result<(), StoreError> {
        let series = self.series(outlet, factor)?;
        self.store
            .connection
            .prepare_cached("INSERT OR REPLACE INTO figure (series, level, start, data) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![series, number(averaging), start.0, encoded(figure)?])?;
        Ok(())
    }

    fn series(&self, outlet: &str, factor: &str) -> Result<i64, StoreError> {
        let connection = &self.store.connection;
        let mut find = connection.prepare_cached("SELECT id FROM series WHERE outlet = ?1 AND factor = ?2")?;
        if let Some(id) = find.query_row([outlet, factor], |row| row.get(0)).optional()? {
            return Ok(id);
        }
        connection.prepare_cached("INSERT INTO series (outlet, factor) VALUES (?1, ?2)")?.execute([outlet, factor])?;
        Ok(connection.last_insert_rowid())
    }

    /// Notes that closed hours came out otherwise.
    pub fn recounted(&self) -> Result<(), StoreError> {
        let upsert = "INSERT INTO recount (one, number) VALUES (1, 1) ON CONFLICT DO UPDATE SET number = number + 1";
        self.store.connection.prepare_cached(upsert)?.execute([])?;
        Ok(())
    }

    /// Notes how far an outlet was counted.
    pub fn follow(&self, outlet: &str, followed: &Followed) -> Result<(), StoreError> {
        let Followed { settings, first, until, latest, received } = followed;
        self.store
            .connection
            .prepare_cached(
                "INSERT OR REPLACE INTO outlet (outlet, settings, first, until, latest, received) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![outlet, settings, first.0, until.0, latest.0, received.0])?;
        Ok(())
    }

    /// Notes how far a pair was watched.
    pub fn watch(&self, pair: &str, watched: &Watched) -> Result<(), StoreError> {
        self.store
            .connection
            .prepare_cached("INSERT OR REPLACE INTO pair (pair, settings, until) VALUES (?1, ?2, ?3)")?
            .execute(params![pair, watched.settings, watched.until.0])?;
        Ok(())
    }

    /// Notes that outlets and pairs other than these are not followed from here on: what changes of theirs meanwhile is
    /// not noticed. See [`is_as_configured`].
    pub fn leave_others(&self, outlets: &[&str], pairs: &[&str]) -> Result<(), StoreError> {
        for (table, key, followed) in [("outlet", "outlet", outlets), ("pair", "pair", pairs)] {
            let sql = format!("SELECT {key} FROM {table} WHERE settings NOT LIKE ?1");
            let stored: Vec<String> =
                self.store.connection.prepare(&sql)?.query_map([format!("%{LEFT}")], |row| row.get(0))?.collect::<Result<_, _>>()?;
            for id in stored.iter().filter(|id| !followed.contains(&id.as_str())) {
                self.store.connection.execute(&format!("UPDATE {table} SET settings = settings || ?1 WHERE {key} = ?2"), [LEFT, id])?;
            }
        }
        Ok(())
    }

    /// Notes up to where journal and entries were read.
    pub fn set_cursor(&self, cursor: &Cursor) -> Result<(), StoreError> {
        let sequence = i64::try_from(cursor.sequence.0).unwrap_or(i64::MAX);
        self.store
            .connection
            .prepare_cached("INSERT OR REPLACE INTO cursor (one, sequence, limits, marks) VALUES (1, ?1, ?2, ?3)")?
            .execute(params![sequence, cursor.seen.limits, cursor.seen.marks])?;
        Ok(())
    }

    /// Keeps all of it.
    pub fn commit(mut self) -> Result<(), StoreError> {
        self.store.connection.execute_batch("COMMIT")?;
        self.done = true;
        Ok(())
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        if !self.done
            && let Err(error) = self.store.connection.execute_batch("ROLLBACK")
        {
            tracing::error!(error = %error, "transaction of emission.db cannot be undone");
        }
    }
}

/// Behind the settings of what was not followed for a time; JSON without it and with it is the same.
const LEFT: &str = " ";

/// Whether stored settings are those that are configured, whether or not what they are about was followed all the time.
pub fn is_as_configured(stored: &str, configured: &str) -> bool {
    stored.trim_end_matches(LEFT) == configured
}

/// On disk; never another number for the same.
fn number(averaging: Averaging) -> i64 {
    match averaging {
        Averaging::Hour => 0,
        Averaging::Day => 1,
        Averaging::Month => 2,
    }
}

fn encoded(figure: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    let io = |error: std::io::Error| StoreError::Io { path: "emission.db".into(), error };
    let text = serde_json::to_vec(figure).map_err(|error| io(error.into()))?;
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&text).map_err(io)?;
    encoder.finish().map_err(io)
}

fn decoded<T: DeserializeOwned>(data: &[u8]) -> Option<T> {
    let mut text = Vec::new();
    DeflateDecoder::new(data).take(FIGURE_BYTES_MAX).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

fn check(path: &Path, connection: &Connection) -> Result<i64, StoreError> {
    let format: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if format > FORMAT {
        return Err(StoreError::Version(format!(
            "{} has format {format}, this program knows formats up to {FORMAT}; use the newer program, or delete the file: it is made again",
            path.display()
        )));
    }
    Ok(format)
}
