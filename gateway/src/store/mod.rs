//! What the gateway keeps: the data directory, history (blocks), facts (registry, cursors).
//!
//! [`view`] the reading side of history, as the API sees it; [`directory`] version and lock of the data directory;
//! [`facts`] point registry, cursors, settings that the record cannot give back; [`history`] blocks; [`reader`] from the
//! journal to history.

pub mod view;
pub mod history;

pub use view::{Bucket, RecordView, StoreError};
