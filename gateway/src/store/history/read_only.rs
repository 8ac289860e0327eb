//! History as it stands on disk, for commands that read beside the gateway that writes, or without one.
//!
//! [`open`] takes the committed state and the month files that belong to it, each within a read transaction that lasts as
//! long as the answer: what the gateway merges, adds or deletes meanwhile is not seen. The journal's tail is applied to it
//! as the gateway does at its start. Nothing is written; the gateway's log files grow for as long as the answer lives, so
//! it is for commands, not for a server.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, RwLock};

use parkgate_collector::journal::{Record, inspect};
use parkgate_collector::model::{PointId, Sample, UtcMillis};
use rusqlite::Connection;

use super::files::{self, FORMAT, FileKey, Files, MonthFile, Writers};
use super::head::Head;
use super::{Correction, Counters, History, HistorySettings, Inner, Writer, maintain, state};
use crate::store::{Bucket, RecordView, StoreError};

/// Attempts at a picture that no checkpoint changed while it was taken; checkpoints are minutes apart.
const ATTEMPTS: usize = 20;
/// Pages that each connection may keep, in KiB: there may be one for each month of years.
const CACHE_KIB: u32 = 512;

/// The record as it stood when it was opened. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RecordSnapshot {
    history: History,
}

/// See [`crate::store::record_read_only`].
pub(in crate::store) fn open(history: &Path, journal: &Path) -> Result<RecordSnapshot, StoreError> {
    let mut changed = None;
    for left in (0..ATTEMPTS).rev() {
        match attempt(history, journal, left == 0) {
            Ok(Some(snapshot)) => return Ok(snapshot),
            Ok(None) => changed = None,
            // A file that went away or changed its shape while a start, a checkpoint or retention was at it.
            Err(error @ (StoreError::Io { .. } | StoreError::Sqlite(_))) => changed = Some(error),
            Err(error) => return Err(error),
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    Err(changed.unwrap_or_else(|| StoreError::Damaged("history changes faster than it can be read; try again".into())))
}

/// `None` when a checkpoint came between. `is_last`: a month file that still has no tables will not get them: a backup took its
/// picture while a checkpoint was making it, and what belongs there is in the journal.
fn attempt(folder: &Path, journal: &Path, is_last: bool) -> Result<Option<RecordSnapshot>, StoreError> {
    let state_path = folder.join("state.db");
    let counters = Counters::default();
    let mut head = Head::default();
    let state = if state_path.exists() { Some(open_state(&state_path)?) } else { None };
    if let Some(state) = &state {
        let transaction = state.unchecked_transaction()?;
        counters.damaged.fetch_add(state::load(&transaction, &mut head, &|_| false)?, Ordering::Relaxed);
    }
    let (checkpoint, position) = (head.checkpoint, head.position);
    let keys = if folder.exists() { Files::new(folder).keys()? } else { Vec::new() };
    if state.is_none() && !keys.is_empty() {
        return Err(StoreError::Damaged(format!("{} is missing; start the gateway once, it makes a new one", state_path.display())));
    }
    let mut pinned = HashMap::new();
    let mut layout = Vec::new();
    for key in keys {
        let path = folder.join(key.name());
        let skewed = match pin(&path) {
            Ok((connection, skewed)) => {
                pinned.insert(key, Mutex::new(connection));
                skewed
            }
            Err(error) if files::is_damage(&error) && !files::lacks_tables(&error) => {
                tracing::error!(path = %path.display(), error = %error, "month file is damaged");
                counters.damaged.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(error) if is_last && files::lacks_tables(&error) => {
                tracing::warn!(path = %path.display(), "month file has no tables; it was being made when it was copied");
                continue;
            }
            Err(error) => return Err(error),
        };
        layout.push(MonthFile { key, skewed });
    }
    let snapshot = RecordSnapshot { history: assemble(folder, head, pinned, layout, counters) };
    if journal.exists() {
        let from = parkgate_collector::journal::Sequence(position.0.saturating_add(1));
        inspect::read(journal, from, |sequence, record| {
            if let Record::Samples(record) = record {
                snapshot.history.apply(sequence, record);
            }
        })
        .map_err(|error| StoreError::Io { path: journal.to_owned(), error })?;
    }
    // Blocks go by the checkpoint that was read, and the journal lets go of entries only after a later one.
    let now = match &state {
        Some(state) => state::position(state)?,
        None if state_path.exists() => return Ok(None),
        None => (checkpoint, position),
    };
    Ok((now == (checkpoint, position)).then_some(snapshot))
}

fn open_state(path: &Path) -> Result<Connection, StoreError> {
    let connection = files::open_for_reading(path)?;
    match connection.query_row("PRAGMA user_version", [], |row| row.get(0))? {
        FORMAT => Ok(connection),
        // Just being made by a gateway that starts for the first time.
        0 => Err(StoreError::Io { path: path.to_owned(), error: std::io::ErrorKind::NotFound.into() }),
        found => Err(StoreError::Version(format!("{} has format {found}, this program reads format {FORMAT}", path.display()))),
    }
}

/// A connection in a read transaction, and whether its file has skewed blocks.
fn pin(path: &Path) -> Result<(Connection, bool), StoreError> {
    let connection = files::open_for_reading(path)?;
    connection.execute_batch(&format!("PRAGMA cache_size = -{CACHE_KIB}; BEGIN;"))?;
    let skewed = files::has_skewed(&connection)?;
    Ok((connection, skewed))
}

fn assemble(folder: &Path, head: Head, pinned: HashMap<FileKey, Mutex<Connection>>, layout: Vec<MonthFile>, counters: Counters) -> History {
    // The writer is never asked: nobody can reach it through a snapshot.
    let writer = Writer {
        state_path: folder.join("state.db"),
        state: None,
        months: Writers::default(),
        renew: false,
        unfinished: None,
        night: maintain::Night::default(),
    };
    History {
        inner: Arc::new(Inner {
            settings: HistorySettings::default(),
            compliance: Arc::new(|_| false),
            head: Mutex::new(head),
            files: Files::pinned(folder, pinned),
            layout: RwLock::new(layout),
            writer: Mutex::new(writer),
            counters,
            step: None,
        }),
    }
}

impl RecordSnapshot {
    /// Damaged blocks, pieces and files met so far, each left out; the same one counts each time.
    pub fn damaged(&self) -> u64 {
        self.history.stats().damaged
    }

    /// The last journal entry that is in it.
    pub fn position(&self) -> parkgate_collector::journal::Sequence {
        self.history.position()
    }

    /// See [`History::corrections`].
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn corrections(&self) -> Result<Vec<Correction>, StoreError> {
        self.history.corrections()
    }
}

impl RecordView for RecordSnapshot {
    fn latest(&self, point: PointId) -> Option<Sample> {
        self.history.latest(point)
    }

    fn latest_since(&self, version: u64) -> (u64, Vec<Sample>) {
        self.history.latest_since(version)
    }

    fn scan(&self, point: PointId, from: UtcMillis, to: UtcMillis, limit: usize) -> Result<Vec<Sample>, StoreError> {
        self.history.scan(point, from, to, limit)
    }

    fn buckets(&self, point: PointId, edges: &[UtcMillis]) -> Result<Vec<Bucket>, StoreError> {
        self.history.buckets(point, edges)
    }

    fn scan_noting(
        &self,
        point: PointId,
        from: UtcMillis,
        to: UtcMillis,
        limit: usize,
        left_out: &mut u64,
    ) -> Result<Vec<Sample>, StoreError> {
        self.history.scan_noting(point, from, to, limit, left_out)
    }

    fn buckets_noting(&self, point: PointId, edges: &[UtcMillis], left_out: &mut u64) -> Result<Vec<Bucket>, StoreError> {
        self.history.buckets_noting(point, edges, left_out)
    }

    fn samples_applied(&self) -> u64 {
        self.history.samples_applied()
    }
}
