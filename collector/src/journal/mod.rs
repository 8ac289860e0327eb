//! The durable journal: preallocated segments, group commit, readers, torn-tail repair, disk budget.

pub mod record;

use std::path::Path;
use std::sync::Arc;

pub use record::{CatalogueRecord, ClockRecord, DeclaredRecord, LinkRecord, Record, SampleRecord};

/// Number of a journal entry: 1, 2, 3 ... without gaps for the life of the data directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

/// The writing side. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Journal;

/// Settings of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalSettings {
    /// Size of one segment file, preallocated; 64 MiB by default.
    pub segment_bytes: u64,
    /// Most bytes all segments together may take; when reached the journal is full.
    pub budget_bytes: u64,
    /// Bytes kept free on the file system for cursors, alarms and SQLite; below it the journal is full.
    pub reserve_bytes: u64,
}

/// A record that was not made durable.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum AppendError {
    /// No room; the journal resumes by itself when there is.
    #[error("journal is full: {0}")]
    Full(String),
    /// The disk refused; a new segment is tried.
    #[error("journal could not write: {0}")]
    Io(String),
    /// The journal is closed.
    #[error("journal is closed")]
    Closed,
}

/// Resolves when the record is on disk and synced.
#[derive(Debug)]
pub struct Receipt(pub tokio::sync::oneshot::Receiver<Result<Sequence, AppendError>>);

/// A place in the journal to read from; never pins segments.
#[derive(Debug)]
pub struct Reader;

/// What a reader finds next.
#[derive(Debug)]
pub enum Next {
    /// An entry.
    Entry(Sequence, Record),
    /// Nothing durable beyond here yet.
    End,
    /// Segments from the wanted place up to `oldest` are gone: continue from blocks, then from `oldest`.
    Gone {
        /// First entry still in the journal.
        oldest: Sequence,
    },
    /// A damaged region was skipped: entries `from..to` cannot be read.
    Damaged {
        /// First entry lost.
        from: Sequence,
        /// First readable entry after the damage.
        to: Sequence,
    },
}

#[allow(unused_variables, clippy::missing_errors_doc)]
impl Journal {
    /// Opens or creates the journal in `directory`, repairs a torn tail, starts the writer thread.
    pub fn open(directory: &Path, settings: JournalSettings, clock: Arc<dyn crate::clock::Clock>) -> Result<Self, AppendError> {
        todo!()
    }

    /// Queues a record; the receipt resolves after the sync that covers it.
    pub fn append(&self, record: &Record) -> Receipt {
        todo!()
    }

    /// Last entry that is durable.
    pub fn durable(&self) -> Sequence {
        todo!()
    }

    /// Told whenever `durable` grows.
    pub fn subscribe(&self) -> tokio::sync::watch::Receiver<Sequence> {
        todo!()
    }

    /// A reader whose first entry is `from`.
    pub fn reader(&self, from: Sequence) -> Reader {
        todo!()
    }

    /// Everything below `upto` is in synced blocks: segments that hold nothing else may go.
    pub fn release(&self, upto: Sequence) {
        todo!()
    }
}

impl Reader {
    /// The next entry. Blocking file I/O: not for an async task.
    pub fn next(&mut self) -> Result<Next, AppendError> {
        todo!()
    }
}
