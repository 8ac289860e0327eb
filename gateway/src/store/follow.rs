//! From the journal to views that are counted from the record: a reader with its own cursor that tells a view what came
//! and lets it count. A blocking loop for a thread of its own; it never writes to the journal and holds nothing in it.

use std::time::Duration;

use parkgate_collector::journal::{Journal, Next, Record, Sequence};
use parkgate_collector::model::Sample;
use tokio_util::sync::CancellationToken;

use super::history::Stretch;
use super::{History, StoreError};
use crate::threads::wait;

/// Journal entries read before what they brought is counted: about a second's work of the reader.
const ENTRIES_PER_ROUND: usize = 20_000;
/// Wait after something failed.
const RETRY: Duration = Duration::from_secs(5);

/// A view of the record that is kept up to date.
pub trait Follow {
    /// What it makes, for logs.
    const WHAT: &'static str;
    /// Wait for news of the journal, and between two looks at what is due.
    const WAIT: Duration;

    /// Takes over what was configured anew; asked before each entry and each count, and cheap when there is nothing.
    fn renew(&mut self) {}

    /// Takes note of a sample that is in the record.
    fn note(&mut self, sample: &Sample);

    /// Part of the journal went unread; its samples lie in `stretches` of the record, among others.
    ///
    /// # Errors
    /// When the record cannot be read; it is tried again.
    fn rejoin(&mut self, stretches: &[Stretch]) -> Result<(), StoreError>;

    /// Counts what is due and stores it together with `next`, the journal entry to read next.
    ///
    /// # Errors
    /// When something cannot be read or written; what is due stays due.
    fn count_due(&mut self, next: Sequence, cancel: &CancellationToken) -> Result<(), StoreError>;

    /// Tells how many journal entries history has that were not read yet.
    fn lags(&self, entries: i64);
}

/// Follows the journal from `cursor` until `cancel`. `history` has to take an entry in before it counts here.
pub fn follow<F: Follow>(mut view: F, cursor: Sequence, journal: &Journal, history: &History, cancel: &CancellationToken) {
    let mut reader = journal.reader(cursor);
    while !cancel.is_cancelled() {
        let taken_in = history.position();
        let what = F::WHAT;
        let mut read = 0;
        while read < ENTRIES_PER_ROUND && reader.position() <= taken_in && !cancel.is_cancelled() {
            let next = reader.position();
            match reader.next() {
                Ok(Next::Entry(_, Record::Samples(record))) => {
                    view.renew();
                    record.samples.iter().for_each(|sample| view.note(sample));
                }
                Ok(Next::Entry(..)) => {}
                Ok(Next::End) => break,
                Ok(Next::Gone { oldest }) => {
                    tracing::info!(what, oldest = oldest.0, "journal entries are gone before they were read; going on from the blocks");
                    match history.written(next, oldest).and_then(|stretches| view.rejoin(&stretches)) {
                        Ok(()) => reader = journal.reader(oldest),
                        Err(error) => {
                            tracing::error!(what, error = %error, "record cannot be read; it is tried again");
                            reader = journal.reader(next);
                            wait(RETRY, cancel);
                            break;
                        }
                    }
                }
                // What cannot be read has not come into the record either.
                Ok(Next::Damaged { .. }) => {}
                Err(error) => {
                    tracing::error!(what, error = %error, "journal cannot be read");
                    break;
                }
            }
            read += 1;
        }
        let lag = taken_in.0.saturating_add(1).saturating_sub(reader.position().0);
        view.renew();
        view.lags(i64::try_from(lag).unwrap_or(i64::MAX));
        match view.count_due(reader.position(), cancel) {
            Ok(()) if read < ENTRIES_PER_ROUND => wait(F::WAIT, cancel),
            Ok(()) => {}
            Err(error) => {
                tracing::error!(what, error = %error, "what is due cannot be counted; it is tried again");
                wait(RETRY, cancel);
            }
        }
    }
}
