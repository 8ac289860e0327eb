//! The durable journal: preallocated segments, group commit, readers, torn-tail repair, disk budget.
//!
//! In go [`Record`]s; a [`Receipt`] resolves when the record is on disk and synced. Out they come by [`Reader`]s, each at
//! its own place. It never decides what may be deleted: [`Journal::release`] is told. In reading order: [`record`] what
//! it holds; [`codec`] bytes of a record; [`frame`] bytes of a segment; [`mod@file`] the file layer; `scan` walks a segment;
//! `segment` the list of them; `writer` the thread; [`reader`]; `recovery` what a start does;
//! `forecast` when the disk will be full; [`inspect`] for people.
//!
//! # Files, format version 1
//!
//! A segment is `<first sequence, 20 digits>.seg`; numbers are little endian; `prepared.tmp` is the next segment before
//! it has a name. Its first 64 bytes are the header:
//!
//! | bytes | what |
//! |---|---|
//! | 0-7 | `pkjrnl\r\n` |
//! | 8-9 | format version |
//! | 10-15 | zero |
//! | 16-23 | sequence of the first entry |
//! | 24-31 | when it was made, milliseconds UTC, signed |
//! | 32-59 | zero |
//! | 60-63 | CRC-32 (IEEE) of bytes 0-59 |
//!
//! Behind it lie frames, each at a multiple of 8, with zeros between and behind them:
//!
//! | bytes | what |
//! |---|---|
//! | 0-3 | CRC-32 of all that follows in the frame |
//! | 4-7 | length of the body, 1 to 16 Mi |
//! | 8-15 | sequence |
//! | 16-19 | entries up to and with this one that were not yet synced when it was written |
//! | 20- | body, see [`codec`] |
//!
//! Rules a reader of the format needs:
//! - A frame whose sequence is the first one of the next segment, or later, ends its segment: a failed sync left it behind.
//!   What counts under that number is in the next segment; after a crash it may be another entry.
//! - Where sequences jump, entries are lost. If a later frame says that they had been synced (`sequence - unsynced`),
//!   that is damage; else a power cut tore a write that nobody was told of.
//! - The first sequence in the name counts where the header is damaged.

pub mod record;
pub mod codec;
pub mod frame;
pub mod file;
pub(crate) mod scan;
mod segment;
mod writer;
pub mod reader;
mod recovery;
mod forecast;
pub mod inspect;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{oneshot, watch};
use tracing::warn;

pub use reader::{Progress, Reader};
pub use record::{CatalogueRecord, ClockRecord, DeclaredRecord, LinkRecord, Record, SampleRecord};
pub use recovery::Recovery;
pub use writer::PENDING_BYTES_MAX;

use crate::clock::Clock;
use crate::metrics::Metrics;
use file::{Disk, FileLayer};
use forecast::Forecast;
use writer::{Shared, Writer};

/// Number of a journal entry: 1, 2, 3 ... for the life of the data directory. A number is missing only where entries
/// were lost; readers are told so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

/// The writing side. Cheap to clone. The writer thread ends with [`Self::close`] or with the last clone.
#[derive(Clone)]
pub struct Journal {
    handle: Arc<Handle>,
}

struct Handle {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    recovery: Recovery,
    clock: Arc<dyn Clock>,
    forecast: Mutex<Forecast>,
}

/// How the journal does.
#[derive(Clone, Debug, PartialEq)]
pub struct Stats {
    /// First entry still here.
    pub oldest: Sequence,
    /// Last durable entry.
    pub durable: Sequence,
    /// Bytes that segments take on disk.
    pub bytes: u64,
    /// Segments on disk.
    pub segments: usize,
    /// Bytes appended since the start of the program.
    pub appended_bytes: u64,
    /// Why nothing can be written just now.
    pub full: Option<AppendError>,
    /// Bytes that segments may still take, by budget and free space; `None` when the file system does not tell.
    pub room_bytes: Option<u64>,
    /// Days until there is no room, if it shrinks on as in the last two days (whoever takes it); `None` when it does
    /// not shrink or not enough is known.
    pub full_in_days: Option<f64>,
}

/// Settings of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalSettings {
    /// Size of one segment file, preallocated; 64 MiB by default.
    pub segment_bytes: u64,
    /// Most bytes all segments together may take; when reached the journal is full. Below two segments counts as two.
    pub budget_bytes: u64,
    /// Bytes kept free on the file system for cursors, alarms and SQLite; below it the journal is full.
    pub reserve_bytes: u64,
    /// No entry gets a number up to this one, whatever the disk holds: the furthest that any durable cursor has read.
    /// So no reader ever takes a new entry for one it knows, even when the last ones were lost. 0 when there is none.
    pub resume_after: Sequence,
}

impl Default for JournalSettings {
    /// 64 MiB segments, 4 GiB in all, 256 MiB kept free.
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, budget_bytes: 4 << 30, reserve_bytes: 256 << 20, resume_after: Sequence(0) }
    }
}

/// A record that was not made durable.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum AppendError {
    /// No room on disk; the journal resumes by itself when there is.
    #[error("journal is full: {0}")]
    Full(String),
    /// The disk refused; a new segment is tried.
    #[error("journal could not write: {0}")]
    Io(String),
    /// Too many bytes wait for the disk: the caller did not wait for [`Journal::ready`].
    #[error("journal is behind: too many bytes wait for the disk")]
    Busy,
    /// The record is longer than an entry can be.
    #[error("record of {bytes} bytes is too long for the journal")]
    TooLarge {
        /// Its encoded length.
        bytes: usize,
    },
    /// The journal on disk was made by a newer program.
    #[error("{path} has format version {version}, this program reads up to {newest}: use the newer program")]
    Version {
        /// The segment.
        path: String,
        /// Its version.
        version: u16,
        /// The newest this program reads.
        newest: u16,
    },
    /// The journal is closed.
    #[error("journal is closed")]
    Closed,
}

/// Resolves when the record is on disk and synced. While the disk is full or refuses, it waits and the record is kept
/// in memory; it resolves with an error only when the record was refused at once or the journal is closed meanwhile.
#[derive(Debug)]
pub struct Receipt(pub oneshot::Receiver<Result<Sequence, AppendError>>);

impl Receipt {
    /// Waits for the entry to be durable.
    ///
    /// # Errors
    /// It is not, and is not going to be.
    pub async fn durable(self) -> Result<Sequence, AppendError> {
        self.0.await.unwrap_or(Err(AppendError::Closed))
    }

    /// As [`Self::durable`], for threads. Panics in an async task.
    ///
    /// # Errors
    /// As [`Self::durable`].
    pub fn durable_blocking(self) -> Result<Sequence, AppendError> {
        self.0.blocking_recv().unwrap_or(Err(AppendError::Closed))
    }
}

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
        /// First entry after the damage.
        to: Sequence,
    },
}

impl Journal {
    /// Opens or creates the journal in `directory`, repairs a torn tail, starts the writer thread.
    ///
    /// Blocks on file I/O. One process at a time may do so: the caller holds the lock on the data directory.
    ///
    /// # Errors
    /// The directory cannot be read, its last segment cannot be synced, or a newer program made it. A full disk is no
    /// error: the journal then starts full.
    pub fn open(directory: &Path, settings: JournalSettings, clock: Arc<dyn Clock>, metrics: Metrics) -> Result<Self, AppendError> {
        Self::open_on(Arc::new(Disk), directory, settings, clock, metrics)
    }

    /// As [`Self::open`], on a file layer of the caller's.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_on(
        layer: Arc<dyn FileLayer>,
        directory: &Path,
        mut settings: JournalSettings,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Result<Self, AppendError> {
        settings.budget_bytes = settings.budget_bytes.max(settings.segment_bytes.saturating_mul(2));
        let (segments, recovery) = recovery::recover(layer.as_ref(), directory, settings.resume_after.0)?;
        let next = segments.durable.saturating_add(1);
        let shared = Arc::new(Shared::new(directory.to_owned(), settings, layer, metrics, segments));
        shared.publish_sizes();
        let writer = Writer::new(Arc::clone(&shared), Arc::clone(&clock), next);
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| AppendError::Io(format!("cannot start the writer thread: {error}")))?;
        let (thread, forecast) = (Mutex::new(Some(thread)), Mutex::default());
        Ok(Self { handle: Arc::new(Handle { shared, thread, recovery, clock, forecast }) })
    }

    /// What the start found and mended.
    pub fn recovery(&self) -> &Recovery {
        &self.handle.recovery
    }

    /// Queues a record; the receipt resolves after the sync that covers it. Returns at once and does no I/O, so an async
    /// task may call it. When [`PENDING_BYTES_MAX`] wait already, the record is refused ([`AppendError::Busy`], or why
    /// the journal cannot write): wait for [`Self::ready`] before.
    pub fn append(&self, record: &Record) -> Receipt {
        Receipt(self.handle.shared.append(|out| codec::encode(record, out)))
    }

    /// Waits until [`Self::append`] does not refuse for want of room; a task that alone appends is then never refused.
    /// This is the back-pressure: while the disk is full it waits, and so do the drivers and their peers. Cancel-safe.
    pub async fn ready(&self) {
        self.handle.shared.ready().await;
    }

    /// Last entry that is durable.
    pub fn durable(&self) -> Sequence {
        *self.handle.shared.durable().borrow()
    }

    /// Why nothing can be written just now. Does no I/O.
    pub fn full(&self) -> Option<AppendError> {
        self.handle.shared.full()
    }

    /// Bytes that segments take on disk.
    pub fn bytes(&self) -> u64 {
        self.handle.shared.segments().bytes()
    }

    /// Most bytes that all segments together may take.
    pub fn budget_bytes(&self) -> u64 {
        self.handle.shared.settings.budget_bytes
    }

    /// Bytes made durable since the start of the program.
    pub fn appended_bytes(&self) -> u64 {
        self.handle.shared.appended_bytes.load(Ordering::Relaxed)
    }

    /// Told whenever `durable` grows.
    pub fn subscribe(&self) -> watch::Receiver<Sequence> {
        self.handle.shared.durable().subscribe()
    }

    /// A reader whose first entry is `from`.
    pub fn reader(&self, from: Sequence) -> Reader {
        Reader::new(Arc::clone(&self.handle.shared), from)
    }

    /// First entry still here; the next one to come when there is none.
    pub fn oldest(&self) -> Sequence {
        let segments = self.handle.shared.segments();
        Sequence(segments.list.front().map_or(segments.durable.saturating_add(1), |segment| segment.first))
    }

    /// How the journal does. Blocks on a question to the file system. Asked once a minute or so, it can also tell when
    /// the disk will be full.
    pub fn stats(&self) -> Stats {
        let shared = &self.handle.shared;
        let room_bytes = shared.room_bytes().ok();
        let full_in_days = room_bytes.and_then(|room| {
            let now = self.handle.clock.now().monotonic_ms;
            let mut forecast = self.handle.forecast.lock().unwrap_or_else(PoisonError::into_inner);
            forecast.note(now, room);
            forecast.full_in_days()
        });
        let oldest = self.oldest();
        let segments = shared.segments();
        Stats {
            oldest,
            durable: Sequence(segments.durable),
            bytes: segments.bytes(),
            segments: segments.list.len(),
            appended_bytes: shared.appended_bytes.load(Ordering::Relaxed),
            full: shared.full(),
            room_bytes,
            full_in_days,
        }
    }

    /// Whether the disk has hardly more room than is kept free: less than two segments, so that the journal is about to be
    /// full. `false` when the file system does not tell.
    pub fn is_short_of_space(&self) -> bool {
        self.handle.shared.is_short_of_space()
    }

    /// Everything below `upto` is in synced blocks: segments that hold nothing else are deleted, but for the last one.
    /// Blocks on file I/O. What cannot be deleted now is tried again with the next call.
    pub fn release(&self, upto: Sequence) {
        let shared = &self.handle.shared;
        let mut deleted = false;
        loop {
            let oldest = {
                let mut segments = shared.segments();
                segments.released = segments.released.max(upto.0);
                segments.releasable().cloned()
            };
            let Some(oldest) = oldest else { break };
            match shared.layer.remove(&oldest.path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    warn!(segment = %oldest.path.display(), error = %error, "journal segment cannot be deleted");
                    break;
                }
                _ => {}
            }
            let mut segments = shared.segments();
            if segments.list.front().is_some_and(|front| front.first == oldest.first) {
                segments.list.pop_front();
            }
            deleted = true;
        }
        if deleted {
            if let Err(error) = shared.layer.sync_dir(&shared.directory) {
                warn!(error = %error, "journal directory cannot be synced");
            }
            shared.publish_sizes();
            shared.retry();
        }
    }

    /// Writes what waits, gives back what was preallocated, ends the writer thread. What cannot be written now is
    /// answered with an error. Blocks until then.
    pub fn close(&self) {
        self.handle.close();
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("directory", &self.handle.shared.directory).field("durable", &self.durable()).finish()
    }
}

impl Handle {
    fn close(&self) {
        self.shared.start_close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}
