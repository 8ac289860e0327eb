//! What the gateway keeps: history (blocks), facts (registry, cursors).
//!
//! [`view`] the reading side of history, as the API sees it.

pub mod view;

pub use view::{Bucket, RecordView, StoreError};
