//! What is to be sent next to one sink, from three places: the journal as it grows (*live*), totals that closed, and
//! blocks of history where the journal went on without the sink (*gaps*). Reads only; remembers how far it has read, not
//! how far was sent.

use std::collections::VecDeque;
use std::sync::Arc;

use parkgate_collector::journal::{AppendError, Journal, Progress, Reader, Record, SampleRecord, Sequence};
use parkgate_collector::model::UtcMillis;
use tokio::sync::watch;

use super::delivery::Lines;
use super::state::{Gap, Moves};
use super::table::Table;
use crate::rollup::TotalsView;
use crate::store::history::Stretch;
use crate::store::{History, RecordView, StoreError};

/// Entries read for one batch however few lines they give, so that the place reached is noted.
const ENTRIES_MAX: usize = 20_000;
/// Totals asked for at once.
const TOTALS_MAX: usize = 2_000;

/// Lines, and what is noted once the sink has them.
#[derive(Debug, Default)]
pub struct Batch {
    /// The lines.
    pub lines: Lines,
    /// What changes.
    pub moves: Moves,
    /// Samples that are not sent for want of a good number.
    pub skipped: u64,
    /// Journal entries that were damaged.
    pub damaged: u64,
    /// When the earliest of the samples came.
    pub received: Option<UtcMillis>,
}

/// Gives another table when there is one.
pub type Newer = Box<dyn FnMut() -> Option<Table> + Send>;

/// See the module.
pub struct Gatherer {
    table: Table,
    newer: Option<Newer>,
    journal: Journal,
    reader: Reader,
    record: Record,
    durable: watch::Receiver<Sequence>,
    history: History,
    totals: Option<Arc<dyn TotalsView>>,
    totals_cursor: u64,
    gaps: VecDeque<Gap>,
    /// What is left of the first gap.
    stretches: Option<VecDeque<Stretch>>,
}

impl Gatherer {
    /// From a place in the journal, with the gaps before it, and a place in the totals.
    pub fn new(
        table: Table,
        (journal, history): (Journal, History),
        totals: Option<Arc<dyn TotalsView>>,
        (cursor, totals_cursor, gaps): (Sequence, u64, Vec<Gap>),
    ) -> Self {
        let (reader, durable) = (journal.reader(cursor), journal.subscribe());
        let record = Record::Samples(SampleRecord::default());
        Self { table, newer: None, journal, reader, record, durable, history, totals, totals_cursor, gaps: gaps.into(), stretches: None }
    }

    /// Goes on with other tables as they come.
    pub fn renewed_by(&mut self, newer: Newer) {
        self.newer = Some(newer);
    }

    /// What is still to be sent of a point that is gone is sent as the table before had it.
    fn renew(&mut self) {
        if let Some(table) = self.newer.as_mut().and_then(|newer| newer()) {
            self.table = table.after(&self.table);
        }
    }

    /// The entry that live reading will look for next.
    pub fn position(&self) -> Sequence {
        self.reader.position()
    }

    /// Entries that are durable and not yet sent: from `next` on, and those of gaps.
    pub fn behind(&self, next: Sequence) -> u64 {
        let gaps: u64 = self.gaps.iter().map(|gap| gap.end.0.saturating_sub(gap.first.0)).sum();
        self.journal.durable().0.saturating_add(1).saturating_sub(next.0).saturating_add(gaps)
    }

    /// Whether there are gaps to fill.
    pub fn has_gaps(&self) -> bool {
        !self.gaps.is_empty()
    }

    /// Told when the journal grows beyond what [`Self::live`] saw at its last call.
    pub fn news(&mut self) -> &mut watch::Receiver<Sequence> {
        &mut self.durable
    }

    /// Adds what the journal has, until `limit` lines; true when that was all there is.
    ///
    /// # Errors
    /// The journal cannot be read just now; asking again goes on where it was.
    pub fn live(&mut self, batch: &mut Batch, limit: usize) -> Result<bool, AppendError> {
        // Marked as seen before reading, so that what grows meanwhile wakes the next wait.
        self.durable.borrow_and_update();
        for _ in 0..ENTRIES_MAX {
            if batch.lines.len() >= limit {
                return Ok(false);
            }
            let expected = self.reader.position();
            match self.reader.next_into(&mut self.record)? {
                Progress::Entry(_) => {
                    self.renew();
                    if let Record::Samples(record) = &self.record {
                        for sample in &record.samples {
                            batch.skipped += u64::from(!self.table.sample(sample, &mut batch.lines));
                        }
                        let first = record.samples.first().map(|sample| sample.received_time);
                        batch.received = batch.received.or(first);
                    }
                }
                Progress::End => {
                    batch.moves.cursor = Some(self.reader.position());
                    return Ok(true);
                }
                Progress::Gone { oldest } => batch.moves.gaps.push((expected, oldest)),
                Progress::Damaged { from, to } => {
                    // History may have had them before the damage.
                    batch.damaged += to.0.saturating_sub(from.0);
                    batch.moves.gaps.push((from, to));
                }
            }
            batch.moves.cursor = Some(self.reader.position());
        }
        Ok(false)
    }

    /// The gaps as they are noted now; the first one is begun anew if it is another.
    pub fn set_gaps(&mut self, gaps: Vec<Gap>) {
        if self.gaps.front().map(|gap| gap.id) != gaps.first().map(|gap| gap.id) {
            self.stretches = None;
        }
        self.gaps = gaps.into();
    }

    /// Adds totals that closed.
    ///
    /// # Errors
    /// They cannot be read just now.
    pub fn closed_totals(&mut self, batch: &mut Batch) -> Result<(), StoreError> {
        self.renew();
        let Some(totals) = &self.totals else { return Ok(()) };
        let (cursor, closed) = totals.closed_since(self.totals_cursor, TOTALS_MAX)?;
        if cursor == self.totals_cursor {
            return Ok(());
        }
        self.totals_cursor = cursor;
        batch.moves.totals = Some(cursor);
        for total in closed.iter().filter(|total| total.closed) {
            self.table.total(total, &mut batch.lines);
        }
        Ok(())
    }

    /// Adds samples of the first gap from history, about `limit` lines. Nothing while history has not yet taken over what
    /// live reading has sent: an old value must not follow a new one.
    ///
    /// # Errors
    /// History cannot be read just now; asking again goes on where it was.
    pub fn gap(&mut self, batch: &mut Batch, limit: usize) -> Result<(), StoreError> {
        let Some(gap) = self.gaps.front_mut() else { return Ok(()) };
        let needed = self.reader.position().max(gap.end);
        if self.history.position().0.saturating_add(1) < needed.0 {
            return Ok(());
        }
        let stretches = match &mut self.stretches {
            Some(stretches) => stretches,
            None => {
                let mut stretches: VecDeque<Stretch> = self.history.written(gap.first, gap.end)?.into();
                stretches.retain(|stretch| self.table.has_samples(stretch.point) && (stretch.point, stretch.to) > (gap.point, gap.time));
                self.stretches.insert(stretches)
            }
        };
        while batch.lines.len() < limit {
            let Some(stretch) = stretches.front_mut() else {
                batch.moves.closed = Some(gap.id);
                batch.moves.filled = None;
                self.gaps.pop_front();
                self.stretches = None;
                return Ok(());
            };
            if stretch.point == gap.point {
                stretch.from = stretch.from.max(gap.time);
            }
            let wanted = limit.saturating_sub(batch.lines.len()).max(2);
            let mut samples = self.history.scan(stretch.point, stretch.from, stretch.to, wanted)?;
            if samples.len() >= wanted
                && let Some(last) = samples.last().map(|sample| sample.record_time)
            {
                // Those of one millisecond stay together.
                let whole = samples.iter().take_while(|sample| sample.record_time < last).count();
                if whole > 0 {
                    samples.truncate(whole);
                    stretch.from = last;
                } else {
                    stretch.from = last.plus(1);
                }
            } else {
                stretch.from = stretch.to;
            }
            for sample in &samples {
                // Counted as skipped when it was new, not again.
                self.table.sample(sample, &mut batch.lines);
            }
            (gap.point, gap.time) = (stretch.point, stretch.from);
            batch.moves.filled = Some((gap.id, gap.point, gap.time));
            if stretch.from >= stretch.to {
                stretches.pop_front();
            }
        }
        Ok(())
    }
}

/// Where a sink begins that never sent.
pub fn first_cursor(journal: &Journal, with_history: bool) -> Sequence {
    if with_history { Sequence(1) } else { Sequence(journal.durable().0.saturating_add(1)) }
}

#[cfg(test)]
mod tests;
