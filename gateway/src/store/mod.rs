//! What the gateway keeps: the data directory, history (blocks), facts (registry, cursors).
//!
//! In reading order: [`directory`] version and lock of the data directory; [`facts`] point registry, cursors and other
//! things that the record cannot give back; [`view`] the reading side of history, as the API sees it; [`history`]
//! blocks; [`reader`] from the journal to history; [`snapshot`] the record for commands beside a running gateway.

pub mod directory;
pub mod facts;
pub mod view;
pub mod history;
pub mod reader;
pub mod snapshot;

pub use directory::{DataDirectory, DirectoryError};
pub use facts::{Facts, Registry, TotalCorrection};
pub use history::{History, HistorySettings, HistoryStats};
pub use view::{Bucket, RecordView, StoreError};
