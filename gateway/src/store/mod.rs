//! What the gateway keeps: the data directory, history (blocks), facts (registry, cursors).
//!
//! In reading order: [`directory`] version and lock of the data directory; [`facts`] point registry, cursors and other
//! things that the record cannot give back; [`tokens`] tokens and changes, in the same file; [`view`] the reading side of history, as the API sees it; [`history`]
//! blocks; [`reader`] from the journal to history.

pub mod directory;
pub mod facts;
pub mod tokens;
pub mod view;
pub mod history;
pub mod reader;

pub use directory::{DataDirectory, DirectoryError};
pub use facts::{Facts, Registry};
pub use history::{History, HistorySettings, HistoryStats};
pub use tokens::{Change, ChangeKind};
pub use view::{Bucket, RecordView, StoreError};
