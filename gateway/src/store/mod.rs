//! What the gateway keeps: the data directory, history (blocks), facts (registry, cursors).
//!
//! In reading order: [`directory`] version and lock of the data directory; [`facts`] point registry, cursors and other
//! things that the record cannot give back; [`tokens`] tokens and changes, and [`entries`] what is
//! entered beside the record, in the same file; [`view`] the reading side of
//! history, as the API sees it; [`history`] blocks; [`reader`] from the journal to history; [`mod@follow`] from the journal to views that are counted; [`record_read_only`] the
//! record for commands beside a running gateway.

pub mod directory;
pub mod facts;
pub mod tokens;
pub mod entries;
pub mod view;
pub mod history;
pub mod reader;
pub mod follow;

pub use directory::{DataDirectory, DirectoryError};
pub use entries::{Entry, EntryKind, NewEntry};
pub use facts::{Facts, Registry, TotalCorrection};
pub use history::{History, HistorySettings, HistoryStats, RecordSnapshot};
pub use tokens::{Change, ChangeKind};
pub use view::{Bucket, RecordView, StoreError};

/// The record as it stands now, blocks and the journal's tail, for a command that reads beside a running gateway or
/// without one. What is written later is not in it; nothing is changed. Blocks for as long as the tail takes to read.
///
/// Entries that the gateway has written and not yet synced may be in it.
///
/// # Errors
/// When files cannot be read, are of another format, or the state of history is damaged. Damaged blocks are left out and
/// counted.
pub fn record_read_only(directory: &DataDirectory) -> Result<RecordSnapshot, StoreError> {
    history::open_snapshot(&directory.history(), &directory.journal())
}
