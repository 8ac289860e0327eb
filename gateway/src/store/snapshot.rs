//! The record of a data directory as it is now, for commands that only read, also beside a running gateway: blocks and
//! open windows of the last checkpoint, and what the journal has behind them. Changes nothing on disk.

use parkgate_collector::journal::{Record, Sequence, inspect};

use super::directory::DataDirectory;
use super::history::History;
use super::view::StoreError;

/// Attempts to catch a moment between two checkpoints of the gateway that runs.
const ATTEMPTS: usize = 5;

/// Reads blocks, open windows and the journal's tail. The tail is held in memory: as much as the gateway that wrote it
/// held, with its settings.
///
/// # Errors
/// When files cannot be read, or checkpoints come faster than the journal can be read.
pub fn open(directory: &DataDirectory) -> Result<History, StoreError> {
    for _ in 0..ATTEMPTS {
        let history = History::open_read_only(&directory.history())?;
        let position = history.position();
        let mut first = None;
        let path = directory.journal();
        inspect::each(&path, Sequence(position.0.saturating_add(1)), |sequence, record| {
            first.get_or_insert(sequence);
            if let Record::Samples(record) = record {
                history.apply(sequence, record);
            }
            true
        })
        .map_err(|error| StoreError::Io { path, error })?;
        // A checkpoint that came meanwhile has let the journal go that was wanted, or moved blocks: look again.
        let again = History::open_read_only(&directory.history())?;
        if again.position() == position || first.is_none_or(|first| first.0 <= position.0.saturating_add(1)) {
            return Ok(history);
        }
    }
    Err(StoreError::Damaged("the gateway writes checkpoints faster than its journal can be read; try again".into()))
}
