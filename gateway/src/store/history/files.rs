//! Month files: SQLite, one per UTC month of record time and retention class, `2026-11-other.db`.
//!
//! Tables: `block` one row per block (see `block.rs`), `correction` one row per value that lost, `commitment` one row.
//! A file is written in one transaction per checkpoint; `commitment.data` is the number of that checkpoint and the last
//! row of both tables before it (8 bytes each, little endian, and a CRC-32 as blocks have). What is above the checkpoint
//! that `state.db` knows is undone on the next start. `PRAGMA user_version` is the format. When SQLite finds a file damaged while writing, the file is left
//! for reading and a next one is begun, `2026-11-other.1.db`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use parkgate_collector::model::{PointId, UtcMillis};
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::block::{self, Stats};
use super::month::{DAY_MS, Month};
use crate::store::StoreError;

/// Most connections kept open for writing; the one used longest ago is closed beyond it.
const WRITERS_MAX: usize = 8;
/// Most idle connections kept for reading; more are closed after use.
const READERS_MAX: usize = 16;
/// Blocks of fewer samples are merged at night.
pub(super) const SMALL_SAMPLES: u64 = 180;
/// The format of all files of history.
pub(super) const FORMAT: i64 = 1;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS block (
    id INTEGER PRIMARY KEY,
    day INTEGER NOT NULL,
    point INTEGER NOT NULL,
    start INTEGER NOT NULL,
    end INTEGER NOT NULL,
    skew_start INTEGER,
    skew_end INTEGER,
    small INTEGER,
    stats BLOB NOT NULL,
    data BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS block_time ON block (day, point, end);
CREATE INDEX IF NOT EXISTS block_skew ON block (point, skew_end) WHERE skew_start IS NOT NULL;
CREATE INDEX IF NOT EXISTS block_small ON block (point) WHERE small IS NOT NULL;
CREATE TABLE IF NOT EXISTS correction (
    id INTEGER PRIMARY KEY,
    point INTEGER NOT NULL,
    key_time INTEGER NOT NULL,
    old_value INTEGER NOT NULL,
    old_status INTEGER NOT NULL,
    new_value INTEGER NOT NULL,
    new_status INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    time INTEGER NOT NULL);
";

/// Which file: in order of their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct FileKey {
    pub(super) month: Month,
    pub(super) compliance: bool,
    /// 0 but for a file begun after a damaged one.
    pub(super) part: u32,
}

impl FileKey {
    pub(super) fn name(self) -> String {
        let class = if self.compliance { "compliance" } else { "other" };
        match self.part {
            0 => format!("{}-{class}.db", self.month),
            part => format!("{}-{class}.{part}.db", self.month),
        }
    }

    fn parse(name: &str) -> Option<Self> {
        let stem = name.strip_suffix(".db")?;
        let (stem, part) = match stem.split_once('.') {
            Some((stem, part)) => (stem, part.parse().ok()?),
            None => (stem, 0),
        };
        let (month, class) = stem.rsplit_once('-')?;
        let compliance = match class {
            "compliance" => true,
            "other" => false,
            _ => return None,
        };
        let key = Self { month: Month::parse(month)?, compliance, part };
        (key.name() == name).then_some(key)
    }
}

/// One month file that is there.
#[derive(Clone, Copy, Debug)]
pub(super) struct MonthFile {
    pub(super) key: FileKey,
    /// It has, or may have, blocks with key times that are not record times.
    pub(super) skewed: bool,
}

/// A block's row, its data still in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockRow {
    pub(super) file: FileKey,
    pub(super) id: i64,
    pub(super) stats: Stats,
    /// A sample's key time is not its record time.
    pub(super) skewed: bool,
}

/// One value that lost against another with the same key time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Correction {
    /// The point.
    pub point: PointId,
    /// Key time of both.
    pub key_time: UtcMillis,
    /// Value and status bits that lost.
    pub old: (i64, u16),
    /// Value and status bits that count.
    pub new: (i64, u16),
    /// Journal entry of the winner; the last of its block where that is all that is known.
    pub sequence: u64,
    /// When the winner was received.
    pub time: UtcMillis,
}

/// The files of the folder `history` and the connections to them.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    readers: Mutex<Vec<(FileKey, Connection)>>,
    /// Connections of a snapshot, each in a read transaction that lasts.
    pinned: HashMap<FileKey, Mutex<Connection>>,
}

impl Files {
    pub(super) fn new(folder: &Path) -> Self {
        Self::pinned(folder, HashMap::new())
    }

    /// Files that are read through these connections alone.
    pub(super) fn pinned(folder: &Path, pinned: HashMap<FileKey, Mutex<Connection>>) -> Self {
        Self { folder: folder.to_owned(), readers: Mutex::default(), pinned }
    }

    pub(super) fn path(&self, key: FileKey) -> PathBuf {
        self.folder.join(key.name())
    }

    /// The month files that are there, oldest first; leftovers of interrupted deletions are removed.
    pub(super) fn list(&self) -> Result<Vec<FileKey>, StoreError> {
        let names = self.names()?;
        for name in &names {
            let stem = name.strip_suffix(".gone").or_else(|| name.strip_suffix("-wal")).or_else(|| name.strip_suffix("-shm"));
            if name.ends_with(".gone") || stem.is_some_and(|stem| FileKey::parse(stem).is_some() && !names.iter().any(|one| one == stem)) {
                let path = self.folder.join(name);
                std::fs::remove_file(&path).map_err(|error| StoreError::Io { path, error })?;
            }
        }
        Ok(keys_of(&names))
    }

    /// As [`Self::list`], changing nothing.
    pub(super) fn keys(&self) -> Result<Vec<FileKey>, StoreError> {
        Ok(keys_of(&self.names()?))
    }

    fn names(&self) -> Result<Vec<String>, StoreError> {
        let io = |error| StoreError::Io { path: self.folder.clone(), error };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(io)? {
            names.extend(entry.map_err(io)?.file_name().into_string().ok());
        }
        Ok(names)
    }

    /// Bytes that a file takes, its log included.
    pub(super) fn bytes(&self, key: FileKey) -> u64 {
        let name = key.name();
        ["", "-wal"].iter().filter_map(|end| std::fs::metadata(self.folder.join(format!("{name}{end}"))).ok()).map(|meta| meta.len()).sum()
    }

    /// Runs `read` on a connection for reading.
    pub(super) fn read<T>(&self, key: FileKey, read: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        if let Some(pinned) = self.pinned.get(&key) {
            return read(&pinned.lock().unwrap_or_else(PoisonError::into_inner));
        }
        let idle = {
            let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
            readers.iter().rposition(|(one, _)| *one == key).map(|index| readers.remove(index).1)
        };
        let connection = match idle {
            Some(connection) => connection,
            None => open_for_reading(&self.path(key))?,
        };
        let result = read(&connection)?;
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.len() >= READERS_MAX {
            readers.remove(0);
        }
        readers.push((key, connection));
        Ok(result)
    }

    /// Deletes a file. Nothing may be reading it.
    pub(super) fn delete(&self, key: FileKey) -> Result<(), StoreError> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).retain(|(one, _)| *one != key);
        let path = self.path(key);
        // Renamed first: a log whose file is gone must not meet a new file of the same name.
        let gone = path.with_extension("db.gone");
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| StoreError::Io { path, error }
        };
        std::fs::rename(&path, &gone).map_err(failed(&path))?;
        for end in ["-wal", "-shm"] {
            let log = self.folder.join(format!("{}{end}", key.name()));
            match std::fs::remove_file(&log) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(&log)(error)),
                _ => {}
            }
        }
        std::fs::remove_file(&gone).map_err(failed(&gone))
    }
}

fn keys_of(names: &[String]) -> Vec<FileKey> {
    let mut keys: Vec<FileKey> = names.iter().filter_map(|name| FileKey::parse(name)).collect();
    keys.sort_unstable();
    keys
}

/// A connection that other processes' writing does not fail.
pub(super) fn open_for_reading(path: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.execute_batch("PRAGMA cache_size = -2000;")?;
    Ok(connection)
}

/// A connection for writing; WAL, every commit synced.
pub(super) fn open_for_writing(path: &Path, schema: &str) -> Result<Connection, StoreError> {
    open_in_mode(path, schema, "WAL")
}

/// As [`open_for_writing`], without a log that outlives the connection: once it is closed, the file is all there is.
pub(super) fn open_for_making(path: &Path, schema: &str) -> Result<Connection, StoreError> {
    open_in_mode(path, schema, "DELETE")
}

fn open_in_mode(path: &Path, schema: &str, mode: &str) -> Result<Connection, StoreError> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.execute_batch(&format!(
        "PRAGMA page_size = 8192; PRAGMA journal_mode = {mode}; PRAGMA synchronous = FULL; PRAGMA cache_size = -4000;"
    ))?;
    check_format(&connection, path)?;
    connection.execute_batch("CREATE TABLE IF NOT EXISTS commitment (id INTEGER PRIMARY KEY, data BLOB NOT NULL);")?;
    connection.execute_batch(schema)?;
    Ok(connection)
}

/// The connections for writing, the one used last at the end.
#[derive(Debug, Default)]
pub(super) struct Writers(Vec<(FileKey, Connection)>);

impl Writers {
    /// The connection of a file, which is made when it is not there.
    pub(super) fn get(&mut self, files: &Files, key: FileKey) -> Result<&mut Connection, StoreError> {
        let connection = match self.0.iter().position(|(one, _)| *one == key) {
            Some(index) => self.0.remove(index).1,
            None => open_for_writing(&files.path(key), SCHEMA)?,
        };
        if self.0.len() >= WRITERS_MAX {
            self.0.remove(0);
        }
        self.0.push((key, connection));
        self.0.last_mut().map(|(_, connection)| connection).ok_or_else(|| StoreError::Damaged("no connection".into()))
    }

    pub(super) fn close(&mut self, key: FileKey) {
        self.0.retain(|(one, _)| *one != key);
    }
}

/// Sets the format of a new file, and refuses one of another.
pub(super) fn check_format(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    match connection.query_row("PRAGMA user_version", [], |row| row.get(0))? {
        FORMAT => Ok(()),
        0 => Ok(connection.execute_batch(&format!("PRAGMA user_version = {FORMAT}"))?),
        found => Err(StoreError::Version(format!("{} has format {found}, this program reads format {FORMAT}", path.display()))),
    }
}

/// Numbers that stand or fall together, with a CRC-32.
pub(super) fn commitment<const N: usize>(connection: &Connection) -> Result<Option<[u64; N]>, StoreError> {
    let bytes: Option<Vec<u8>> =
        connection.prepare_cached("SELECT data FROM commitment WHERE id = 1")?.query_row([], |row| row.get(0)).optional()?;
    let Some(bytes) = bytes else { return Ok(None) };
    let numbers = block::unseal(PointId(0), &bytes).map(|bytes| bytes.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)));
    match numbers.and_then(|numbers| numbers.collect::<Vec<u64>>().try_into().ok()) {
        Some(numbers) => Ok(Some(numbers)),
        None => Err(StoreError::Damaged("commitment row".into())),
    }
}

/// Writes what [`commitment`] reads.
pub(super) fn set_commitment(connection: &Connection, numbers: &[u64]) -> Result<(), StoreError> {
    let mut data: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    block::seal(PointId(0), &mut data);
    connection.prepare_cached("INSERT OR REPLACE INTO commitment (id, data) VALUES (1, ?1)")?.execute([data])?;
    Ok(())
}

/// The checkpoint that a file was last written by; 0 when that is not known.
pub(super) fn last_checkpoint(connection: &Connection) -> Result<u64, StoreError> {
    Ok(commitment::<3>(connection)?.map_or(0, |[checkpoint, ..]| checkpoint))
}

/// Marks the beginning of what a checkpoint adds to a file; first statement of its transaction.
pub(super) fn begin_checkpoint(connection: &Connection, checkpoint: u64) -> Result<(), StoreError> {
    let last = |table| connection.query_row(&format!("SELECT ifnull(max(id), 0) FROM {table}"), [], |row| row.get::<_, i64>(0));
    set_commitment(connection, &[checkpoint, last("block")? as u64, last("correction")? as u64])
}

/// Undoes the last checkpoint of a file when it is above `committed`.
pub(super) fn undo_checkpoint(connection: &mut Connection, committed: u64) -> Result<(), StoreError> {
    let Some([checkpoint, blocks, corrections]) = commitment::<3>(connection)? else { return Ok(()) };
    if checkpoint <= committed {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    transaction.execute("DELETE FROM block WHERE id > ?1", [blocks as i64])?;
    transaction.execute("DELETE FROM correction WHERE id > ?1", [corrections as i64])?;
    set_commitment(&transaction, &[committed, blocks, corrections])?;
    Ok(transaction.commit()?)
}

/// Whether a file has blocks with key times that are not record times.
pub(super) fn has_skewed(connection: &Connection) -> Result<bool, StoreError> {
    Ok(connection.query_row("SELECT EXISTS (SELECT 1 FROM block WHERE skew_start IS NOT NULL)", [], |row| row.get(0))?)
}

/// Whether a file has samples of two days or more.
pub(super) fn has_two_days(connection: &Connection) -> Result<bool, StoreError> {
    // By the index alone, and only over the first day.
    let sql = "WITH first(day) AS (SELECT min(day) FROM block)
        SELECT EXISTS (SELECT 1 FROM block, first WHERE block.day > first.day)
            OR EXISTS (SELECT 1 FROM block, first WHERE block.day = first.day AND block.end >= (first.day + 1) * ?1)";
    Ok(connection.query_row(sql, [DAY_MS], |row| row.get(0))?)
}

/// Writes one block; its size in bytes.
pub(super) fn insert_block(connection: &Connection, point: PointId, stats: &Stats, skewed: bool, data: &[u8]) -> Result<usize, StoreError> {
    let encoded = stats.encode(point);
    connection
        .prepare_cached(
            "INSERT INTO block (day, point, start, end, skew_start, skew_end, small, stats, data)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            stats.start.0.div_euclid(DAY_MS),
            point.0,
            stats.start.0,
            stats.end.0,
            skewed.then_some(stats.key_start.0),
            skewed.then_some(stats.key_end.0),
            (stats.samples < SMALL_SAMPLES).then_some(1),
            encoded,
            data,
        ])?;
    Ok(encoded.len() + data.len())
}

/// Writes one correction.
pub(super) fn insert_correction(connection: &Connection, row: &Correction) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO correction (point, key_time, old_value, old_status, new_value, new_status, sequence, time)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![row.point.0, row.key_time.0, row.old.0, row.old.1, row.new.0, row.new.1, row.sequence as i64, row.time.0])?;
    Ok(())
}

/// The corrections of a file, in the order they were noticed.
pub(super) fn corrections(connection: &Connection) -> Result<Vec<Correction>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT point, key_time, old_value, old_status, new_value, new_status, sequence, time FROM correction ORDER BY id",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(Correction {
            point: PointId(row.get(0)?),
            key_time: UtcMillis(row.get(1)?),
            old: (row.get(2)?, row.get(3)?),
            new: (row.get(4)?, row.get(5)?),
            sequence: row.get::<_, i64>(6)? as u64,
            time: UtcMillis(row.get(7)?),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Rows of blocks of a point whose record times overlap `[from, to]`, of checkpoints up to `checkpoint`. Damaged ones
/// are handed to `damaged` and left out.
pub(super) fn rows_by_record(
    connection: &Connection,
    file: FileKey,
    point: PointId,
    (from, to): (UtcMillis, UtcMillis),
    checkpoint: u64,
    rows: &mut Vec<BlockRow>,
    damaged: &mut dyn FnMut(String),
) -> Result<(), StoreError> {
    // A block lies within its month, so it starts on one of the month's days up to `to`.
    let (month_start, month_end) = (file.month.start(), file.month.end());
    if to < month_start || from >= month_end && month_end.0 != i64::MAX {
        return Ok(());
    }
    let bounded = month_start.0 != i64::MIN && month_end.0 != i64::MAX;
    if bounded {
        let mut statement = connection
            .prepare_cached("SELECT id, start, skew_start IS NOT NULL, stats FROM block WHERE day = ?1 AND point = ?2 AND end >= ?3")?;
        let days = month_start.0.div_euclid(DAY_MS)..=to.0.min(month_end.0 - 1).div_euclid(DAY_MS);
        for day in days {
            collect_rows(&mut statement, params![day, point.0, from.0], file, point, to, checkpoint, rows, damaged)?;
        }
    } else {
        let mut statement =
            connection.prepare_cached("SELECT id, start, skew_start IS NOT NULL, stats FROM block WHERE point = ?1 AND end >= ?2")?;
        collect_rows(&mut statement, params![point.0, from.0], file, point, to, checkpoint, rows, damaged)?;
    }
    Ok(())
}

/// Rows of skewed blocks of a point whose key times overlap `[from, to]`.
pub(super) fn rows_by_skewed_key(
    connection: &Connection,
    file: FileKey,
    point: PointId,
    (from, to): (UtcMillis, UtcMillis),
    checkpoint: u64,
    rows: &mut Vec<BlockRow>,
    damaged: &mut dyn FnMut(String),
) -> Result<(), StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT id, skew_start, 1, stats FROM block WHERE skew_start IS NOT NULL AND point = ?1 AND skew_end >= ?2")?;
    collect_rows(&mut statement, params![point.0, from.0], file, point, to, checkpoint, rows, damaged)
}

#[allow(clippy::too_many_arguments)]
fn collect_rows(
    statement: &mut rusqlite::Statement<'_>,
    parameters: &[&dyn rusqlite::ToSql],
    file: FileKey,
    point: PointId,
    to: UtcMillis,
    checkpoint: u64,
    rows: &mut Vec<BlockRow>,
    damaged: &mut dyn FnMut(String),
) -> Result<(), StoreError> {
    let mut found = statement.query(parameters)?;
    while let Some(row) = found.next()? {
        if row.get::<_, i64>(1)? > to.0 {
            continue;
        }
        let id = row.get(0)?;
        let stats = row.get_ref(3)?.as_blob().map_err(rusqlite::Error::from)?;
        match Stats::decode(point, stats) {
            Some(stats) if stats.checkpoint > checkpoint => {}
            Some(stats) => rows.push(BlockRow { file, id, stats, skewed: row.get(2)? }),
            None => damaged(format!("stats of block {id} of point {point} in {}", file.name())),
        }
    }
    Ok(())
}

/// The description of every block, without its data; `None` for one that is damaged.
pub(super) fn each_stats(connection: &Connection, mut visit: impl FnMut(PointId, Option<Stats>)) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached("SELECT point, stats FROM block")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let point = PointId(row.get(0)?);
        visit(point, Stats::decode(point, row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?));
    }
    Ok(())
}

/// The samples of a block; `None` when its data is damaged.
pub(super) fn block_samples(
    connection: &Connection,
    point: PointId,
    id: i64,
) -> Result<Option<Vec<parkgate_collector::model::Sample>>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT data FROM block WHERE id = ?1")?;
    let mut rows = statement.query([id])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    Ok(block::decode(point, row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?))
}

/// Whether SQLite does not find what our statements name: a file that somebody emptied, or one that is just being made.
pub(super) fn lacks_tables(error: &StoreError) -> bool {
    matches!(error, StoreError::Sqlite(rusqlite::Error::SqliteFailure(code, _)) if code.extended_code == rusqlite::ffi::SQLITE_ERROR)
}

/// Whether the file itself is damaged, by SQLite's word or ours.
pub(super) fn is_damage(error: &StoreError) -> bool {
    use rusqlite::{Error, ErrorCode};
    match error {
        StoreError::Damaged(_) => true,
        StoreError::Sqlite(Error::SqliteFailure(code, _)) => {
            matches!(code.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) || lacks_tables(error)
        }
        // A row of another shape than we write.
        StoreError::Sqlite(error) => matches!(
            error,
            Error::InvalidColumnType(..)
                | Error::IntegralValueOutOfRange(..)
                | Error::FromSqlConversionFailure(..)
                | Error::SqlInputError { .. }
        ),
        _ => false,
    }
}
