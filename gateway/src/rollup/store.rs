//! `totals.db`: parts of closed periods, how far each point has been counted, and which totals closed or changed when.
//! A view: it can be deleted and is made again from the record, as far as the record reaches back.
//!
//! SQLite, WAL. A row of `part` holds the periods of one level within the next longer one (hours of a day, days of a
//! month, months of a year; a year alone) of one point: 24 hours of a counter take about 600 bytes. Its bytes are
//! described in `codec.rs`. A row of `change` names the points whose period closed or changed in one transaction, in
//! order of that happening: numbers of the points, each a varint more than the one before.
//!
//! One writer, the follower's thread; figures, what is known of points, changes and the place in the journal go in one
//! transaction. `PRAGMA user_version` is the format. `decisions` beside the last entry about a meter says that the
//! figures tell what was decided from what is to be decided: without it, all that was entered is counted again. `rule` of
//! a point is what its hours were counted by: with another one in the configuration, the follower counts what is suspect
//! of the point again. `zone` names the time zone that the periods are of: with another one in the configuration, all
//! that it counted is dropped.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use parkgate_collector::journal::Sequence;
use parkgate_collector::model::{PointId, UtcMillis};
use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior, params};

use super::codec::{self, RowKey};
use super::partial::Partial;
use super::total::{Level, Period};
use super::zone::ParkZone;
use crate::store::StoreError;
use crate::store::history::varint;

const FORMAT: i64 = 1;
const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS part (
    point INTEGER NOT NULL,
    level INTEGER NOT NULL,
    start INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (point, level, start)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS followed (
    point INTEGER PRIMARY KEY,
    until INTEGER NOT NULL,
    latest INTEGER NOT NULL,
    received INTEGER NOT NULL,
    horizon INTEGER NOT NULL,
    rule TEXT);
CREATE TABLE IF NOT EXISTS change (
    id INTEGER PRIMARY KEY,
    level INTEGER NOT NULL,
    start INTEGER NOT NULL,
    points BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS cursor (one INTEGER PRIMARY KEY CHECK (one = 1), sequence INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS entered (one INTEGER PRIMARY KEY CHECK (one = 1), entry INTEGER NOT NULL, decisions INTEGER);
CREATE TABLE IF NOT EXISTS zone (one INTEGER PRIMARY KEY CHECK (one = 1), name TEXT NOT NULL);
";
/// A file made again goes on behind the numbers of the one before, so that cursors of others stay good: changes are
/// fewer than 16 a second in the long run.
const FIRST_CHANGE: &str = "
INSERT INTO change (id, level, start, points) SELECT CAST(strftime('%s', 'now') AS INTEGER) * 16, 0, 0, x'' WHERE NOT EXISTS (SELECT 1 FROM change);
";
/// Bits of a change cursor that count points within a row of `change`.
const INDEX_BITS: u32 = 20;

/// What is known of a point that is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Followed {
    /// Hours that end at or before this are closed and stored.
    pub until: UtcMillis,
    /// Greatest record time of a sample that counts.
    pub latest: UtcMillis,
    /// When a sample that counts was last received.
    pub received: UtcMillis,
    /// Greatest record time that the last count can have made use of: what comes later at or before it, even behind
    /// `until`, can change closed hours.
    pub horizon: UtcMillis,
}

/// What is stored of some periods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Periods, oldest first.
    pub known: Vec<(Period, Partial)>,
    /// Longer periods whose row is damaged, oldest first: none of theirs are among the known ones.
    pub damaged: Vec<Period>,
}

/// Periods that closed or changed, by level and start, with their points.
pub type Changes = BTreeMap<(Level, UtcMillis), BTreeSet<PointId>>;

/// The file.
#[derive(Debug)]
pub struct TotalsStore {
    connection: Connection,
    /// Name of the zone of the periods; `None` in a file from before it was kept.
    zone: Option<String>,
}

impl TotalsStore {
    /// Opens or creates the file for writing. What it has of another zone is dropped, to be counted again.
    ///
    /// # Errors
    /// When SQLite refuses, or the file is of a newer format.
    pub fn open(path: &Path, zone: &ParkZone) -> Result<Self, StoreError> {
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        // Not synced at each commit: what a power cut takes is counted again.
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")?;
        check(path, &connection)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(&format!("{SCHEMA} {FIRST_CHANGE} PRAGMA user_version = {FORMAT};"))?;
        // Columns that a file may be without, and that older programs leave empty.
        for (table, column, kind) in [("followed", "rule", "TEXT"), ("entered", "decisions", "INTEGER")] {
            if !transaction.prepare("SELECT 1 FROM pragma_table_info(?1) WHERE name = ?2")?.exists([table, column])? {
                transaction.execute_batch(&format!("ALTER TABLE {table} ADD COLUMN {column} {kind};"))?;
            }
        }
        if let Some(old) = zone_name(&transaction)?.filter(|old| old != zone.name()) {
            tracing::info!(old, new = zone.name(), "the park has another time zone; all totals are counted again");
            // Those who follow changes go on behind them.
            transaction.execute_batch("DELETE FROM part; DELETE FROM followed; DELETE FROM cursor; DELETE FROM entered;")?;
        }
        transaction.execute("INSERT OR REPLACE INTO zone (one, name) VALUES (1, ?1)", [zone.name()])?;
        transaction.commit()?;
        Ok(Self { connection, zone: Some(zone.name().to_owned()) })
    }

    /// Opens the file for reading beside a writer.
    ///
    /// # Errors
    /// As [`Self::open`], and when it is not there.
    pub fn open_read_only(path: &Path) -> Result<Self, StoreError> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        check(path, &connection)?;
        let zone = zone_name(&connection)?;
        Ok(Self { connection, zone })
    }

    /// Whether the periods are those of a zone.
    pub fn is_of(&self, zone: &ParkZone) -> bool {
        self.zone.as_deref().is_none_or(|name| name == zone.name())
    }

    /// Copies the file as it is now.
    pub fn copy_to(&self, path: &Path) -> Result<(), StoreError> {
        self.connection.execute("VACUUM INTO ?1", [path.to_string_lossy()])?;
        Ok(())
    }

    /// The next journal entry to read.
    pub fn cursor(&self) -> Result<Sequence, StoreError> {
        let sequence: Option<i64> = self.connection.query_row("SELECT sequence FROM cursor", [], |row| row.get(0)).optional()?;
        Ok(Sequence(sequence.and_then(|sequence| u64::try_from(sequence).ok()).unwrap_or(1)))
    }

    /// The last entry about a meter that is counted; 0 when there is none, or figures do not tell decisions. Of a file open
    /// for writing.
    pub fn entered(&self) -> Result<i64, StoreError> {
        let entry = self.connection.query_row("SELECT entry FROM entered WHERE decisions = 1", [], |row| row.get(0));
        Ok(entry.optional()?.unwrap_or(0))
    }

    /// All points followed.
    pub fn followed(&self) -> Result<Vec<(PointId, Followed)>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT point, until, latest, received, horizon FROM followed")?;
        let rows = statement.query_map([], |row| Ok((PointId(row.get(0)?), followed_from(row)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// One of them.
    pub fn followed_one(&self, point: PointId) -> Result<Option<Followed>, StoreError> {
        let mut statement =
            self.connection.prepare_cached("SELECT point, until, latest, received, horizon FROM followed WHERE point = ?1")?;
        Ok(statement.query_row([point.0], followed_from).optional()?)
    }

    /// The rule that each point was counted by, as far as it is known. Of a file open for writing.
    pub fn rules(&self) -> Result<HashMap<PointId, String>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT point, rule FROM followed WHERE rule IS NOT NULL")?;
        let rows = statement.query_map([], |row| Ok((PointId(row.get(0)?), row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Stored parts of a level that start in `[from, to)`. A damaged row is reported, too.
    pub fn parts(&self, zone: &ParkZone, point: PointId, level: Level, from: UtcMillis, to: UtcMillis) -> Result<Parts, StoreError> {
        let mut parts = Parts::default();
        self.each_row(zone, point, level, (from, to), |row, found| match found {
            Some(found) => parts.known.extend(found.into_iter().filter(|(period, _)| from <= period.start && period.start < to)),
            None => parts.damaged.push(row),
        })?;
        Ok(parts)
    }

    /// The longer periods whose row is damaged, of those that hold what starts in `[from, to)`.
    pub fn damaged(
        &self,
        zone: &ParkZone,
        point: PointId,
        level: Level,
        from: UtcMillis,
        to: UtcMillis,
    ) -> Result<Vec<Period>, StoreError> {
        let mut damaged = Vec::new();
        self.each_row(zone, point, level, (from, to), |row, found| damaged.extend(found.is_none().then_some(row)))?;
        Ok(damaged)
    }

    /// Calls with each row that holds what starts in `[from, to)`: its longer period, and what is in it unless damaged.
    fn each_row(
        &self,
        zone: &ParkZone,
        point: PointId,
        level: Level,
        (from, to): (UtcMillis, UtcMillis),
        mut call: impl FnMut(Period, Option<Vec<(Period, Partial)>>),
    ) -> Result<(), StoreError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT start, data FROM part WHERE point = ?1 AND level = ?2 AND start >= ?3 AND start < ?4 ORDER BY start")?;
        let first = zone.period_of(longer(level), from).start;
        let mut rows = statement.query(params![point.0, level as i64, first.0, to.0])?;
        while let Some(row) = rows.next()? {
            let key = RowKey { level, point: point.0, start: UtcMillis(row.get(0)?) };
            let found = row.get_ref(1)?.as_blob().ok().and_then(|data| codec::decode(key, data));
            if found.is_none() {
                tracing::error!(point = point.0, level = level.name(), start = %key.start, "stored totals are damaged; run `parkgate rebuild`");
            }
            call(zone.period_of(longer(level), key.start), found);
        }
        Ok(())
    }

    /// Whether hours of a point are stored that start in `[from, to)`.
    pub fn has_hours(&self, zone: &ParkZone, point: PointId, from: UtcMillis, to: UtcMillis) -> Result<bool, StoreError> {
        let (first, last) = (zone.period_of(Level::Day, from), zone.period_of(Level::Day, to));
        let mut between =
            self.connection.prepare_cached("SELECT 1 FROM part WHERE point = ?1 AND level = ?2 AND start >= ?3 AND start < ?4 LIMIT 1")?;
        if between.exists(params![point.0, Level::Hour as i64, first.end.0, last.start.0])? {
            return Ok(true);
        }
        let at_ends = [(from, first.end.min(to)), (last.start.max(from), to)];
        for (from, to) in at_ends {
            if !self.parts(zone, point, Level::Hour, from, to)?.known.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Changes after `cursor`, at most `limit`, each with the cursor to go on with.
    pub fn changes(&self, cursor: u64, limit: usize) -> Result<Vec<(u64, Level, UtcMillis, PointId)>, StoreError> {
        let (id, seen) = (cursor >> INDEX_BITS, cursor & ((1 << INDEX_BITS) - 1));
        let mut statement = self.connection.prepare_cached("SELECT id, level, start, points FROM change WHERE id >= ?1 ORDER BY id")?;
        let mut rows = statement.query([i64::try_from(id).unwrap_or(i64::MAX)])?;
        let mut changes = Vec::new();
        while let Some(row) = rows.next()? {
            let row_id = row.get::<_, i64>(0)?.unsigned_abs();
            let Some(&level) = Level::ALL.get(usize::from(row.get::<_, u8>(1)?)) else { continue };
            let start = UtcMillis(row.get(2)?);
            let input = &mut row.get_ref(3)?.as_blob().map_err(rusqlite::Error::from)?;
            let (mut point, mut index) = (0u32, 0u64);
            while let Some(step) = varint::take(input) {
                point = point.saturating_add(u32::try_from(step).unwrap_or(u32::MAX));
                index = index.saturating_add(1);
                if row_id == id && index <= seen {
                    continue;
                }
                if changes.len() >= limit {
                    return Ok(changes);
                }
                changes.push((row_id << INDEX_BITS | index, level, start, PointId(point)));
            }
        }
        Ok(changes)
    }

    /// The cursor behind the newest change; 0 when there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn last_change(&self) -> Result<u64, StoreError> {
        let last: Option<i64> = self.connection.query_row("SELECT max(id) FROM change", [], |row| row.get(0))?;
        Ok(last.map_or(0, |id| (id.unsigned_abs() << INDEX_BITS) | ((1 << INDEX_BITS) - 1)))
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
    store: &'a mut TotalsStore,
    done: bool,
}

impl Writing<'_> {
    /// Reads what is stored, this transaction's own rows included.
    pub fn store(&self) -> &TotalsStore {
        self.store
    }

    /// Replaces the stored periods of a level that start in `[from, to)` with `parts`, which lie in it.
    pub fn replace(
        &self,
        zone: &ParkZone,
        point: PointId,
        level: Level,
        (from, to): (UtcMillis, UtcMillis),
        parts: &[(Period, Partial)],
    ) -> Result<(), StoreError> {
        let connection = &self.store.connection;
        for row in zone.periods(longer(level), zone.period_of(longer(level), from).start, to) {
            let key = RowKey { level, point: point.0, start: row.start };
            let mut kept = if from <= row.start && row.end <= to {
                Vec::new()
            } else {
                let mut kept = self.store.parts(zone, point, level, row.start, row.end)?.known;
                kept.retain(|(period, _)| period.start < from || to <= period.start);
                kept
            };
            let first = parts.partition_point(|(period, _)| period.start < row.start);
            kept.extend(parts.iter().skip(first).take_while(|(period, _)| period.start < row.end).cloned());
            kept.sort_by_key(|(period, _)| period.start);
            if kept.is_empty() {
                connection.prepare_cached("DELETE FROM part WHERE point = ?1 AND level = ?2 AND start = ?3")?.execute(params![
                    point.0,
                    level as i64,
                    row.start.0
                ])?;
            } else {
                connection
                    .prepare_cached("INSERT OR REPLACE INTO part (point, level, start, data) VALUES (?1, ?2, ?3, ?4)")?
                    .execute(params![point.0, level as i64, row.start.0, codec::encode(key, &kept)])?;
            }
        }
        Ok(())
    }

    /// Notes how far a point was counted, and by which rule.
    pub fn follow(&self, point: PointId, followed: Followed, rule: &str) -> Result<(), StoreError> {
        self.store
            .connection
            .prepare_cached(
                "INSERT OR REPLACE INTO followed (point, until, latest, received, horizon, rule) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![point.0, followed.until.0, followed.latest.0, followed.received.0, followed.horizon.0, rule])?;
        Ok(())
    }

    /// Notes what closed or changed.
    pub fn changed(&self, changes: &Changes) -> Result<(), StoreError> {
        let mut statement = self.store.connection.prepare_cached("INSERT INTO change (level, start, points) VALUES (?1, ?2, ?3)")?;
        for (&(level, start), points) in changes {
            let mut bytes = Vec::new();
            let mut before = 0;
            for point in points {
                varint::put(&mut bytes, u64::from(point.0.saturating_sub(before)));
                before = point.0;
            }
            statement.execute(params![level as i64, start.0, bytes])?;
        }
        Ok(())
    }

    /// Notes the next journal entry to read.
    pub fn set_cursor(&self, next: Sequence) -> Result<(), StoreError> {
        self.store
            .connection
            .prepare_cached("INSERT OR REPLACE INTO cursor (one, sequence) VALUES (1, ?1)")?
            .execute([i64::try_from(next.0).unwrap_or(i64::MAX)])?;
        Ok(())
    }

    /// Notes the last entry about a meter that is counted.
    pub fn set_entered(&self, entry: i64) -> Result<(), StoreError> {
        self.store
            .connection
            .prepare_cached("INSERT OR REPLACE INTO entered (one, entry, decisions) VALUES (1, ?1, 1)")?
            .execute([entry])?;
        Ok(())
    }

    /// Makes it count.
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
            tracing::warn!(error = %error, "transaction on totals could not be undone");
        }
    }
}

/// The level whose periods hold those of `level`, as rows do; a year holds itself.
pub fn longer(level: Level) -> Level {
    match level {
        Level::Hour => Level::Day,
        Level::Day => Level::Month,
        Level::Month | Level::Year => Level::Year,
    }
}

fn followed_from(row: &rusqlite::Row<'_>) -> rusqlite::Result<Followed> {
    Ok(Followed {
        until: UtcMillis(row.get(1)?),
        latest: UtcMillis(row.get(2)?),
        received: UtcMillis(row.get(3)?),
        horizon: UtcMillis(row.get(4)?),
    })
}

fn zone_name(connection: &Connection) -> Result<Option<String>, StoreError> {
    // A file opened for reading may be from before there was such a table.
    let known = connection.prepare("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'zone'")?.exists([])?;
    if !known {
        return Ok(None);
    }
    Ok(connection.query_row("SELECT name FROM zone", [], |row| row.get(0)).optional()?)
}

fn check(path: &Path, connection: &Connection) -> Result<(), StoreError> {
    let format: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if format > FORMAT {
        return Err(StoreError::Version(format!(
            "{} has format {format}, this program knows formats up to {FORMAT}; use the newer program, or delete the file: it is made again",
            path.display()
        )));
    }
    Ok(())
}
