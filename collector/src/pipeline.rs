//! Drivers -> normaliser -> journal -> done, through bounded queues.
//!
//! One thread normalises and appends, in order of arrival; one task waits for the journal and then tells each driver
//! that its batch is durable. When the journal is full or slow the queue of unanswered batches fills, the thread stops
//! taking new ones, drivers wait, and so do their peers: nothing is dropped here and nothing is answered too early.
//!
//! The normaliser's state is saved now and then as `normalise.state`; after a restart it is brought up to date from the
//! journal's tail. Segments that the saved state does not cover must stay: [`SavedState::floor`] tells which.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tracing::{error, warn};

use crate::clock::Clock;
use crate::driver::{Batch, LinkChange, Message, Outcome};
use crate::journal::file::{self, Disk};
use crate::journal::{AppendError, ClockRecord, Journal, LinkRecord, Next, Receipt, Record, SampleRecord, Sequence};
use crate::metrics::Metrics;
use crate::model::{Now, Quality, Sample};
use crate::normalise::{Input, Normaliser, StepReport};
use crate::rejects;

/// Messages that may wait between drivers and the normaliser; when full, drivers wait.
pub const INBOX_MESSAGES: usize = 64;
/// Batches that may wait for the journal; when full, the normaliser waits.
const UNANSWERED_BATCHES: usize = 256;
/// How often the normaliser's state is saved.
const SAVE_EVERY: Duration = Duration::from_secs(30);
/// A jump of the wall clock against the monotonic clock by more than this is recorded.
const CLOCK_STEP_MS: i64 = 1_000;
/// Samples of one journal record; a larger batch becomes several.
const SAMPLES_PER_RECORD: usize = 65_536;

/// What the pipeline is made of.
pub struct Pipeline {
    /// The normaliser, its state restored.
    pub normaliser: Normaliser,
    /// Where samples become durable.
    pub journal: Journal,
    /// Where input goes that could not be read.
    pub rejects: rejects::Sink,
    /// Clock for stamps.
    pub clock: Arc<dyn Clock>,
    /// Metrics.
    pub metrics: Metrics,
    /// Catalogue that batches are read by.
    pub catalogue_version: u32,
    /// Random number of this run.
    pub boot_id: u64,
    /// Where the normaliser's state is saved.
    pub saved_state: SavedState,
    /// Runs the task that answers drivers.
    pub runtime: tokio::runtime::Handle,
}

/// What waits for the journal, in order of appending.
enum Unanswered {
    /// A batch; without a receipt when nothing of it was new: then it waits for those before it.
    Batch { receipt: Option<Receipt>, samples: u64, arrived: Instant, done: Option<oneshot::Sender<Outcome>> },
    /// Someone who wants to know the sequence that all before it is durable under.
    Flush(oneshot::Sender<Sequence>),
}

impl Pipeline {
    /// Runs until every sender of `inbox` is gone and all that came is durable, or the journal is closed. Blocks: for a
    /// thread of its own.
    pub fn run(mut self, mut inbox: mpsc::Receiver<Message>) {
        let (answers, unanswered) = mpsc::channel(UNANSWERED_BATCHES);
        let answering = self.runtime.spawn(answer(unanswered, self.journal.durable(), self.metrics.clone()));
        let mut clock_base = self.clock.now();
        let mut saved_at = Instant::now();
        let [good, uncertain, bad] = [Quality::Good, Quality::Uncertain, Quality::Bad]
            .map(|quality| self.metrics.samples_quality.with_label_values(&[quality.name()]));
        while let Some(message) = inbox.blocking_recv() {
            let now = self.clock.now();
            self.note_clock_step(&mut clock_base, now, &answers);
            let unanswered = match message {
                Message::NewSession(link) => {
                    self.normaliser.forget_deliveries(link);
                    continue;
                }
                Message::Link(change) => self.append(&link_record(change)),
                Message::Batch(batch) => {
                    let (report, unanswered) = self.take(batch, now);
                    good.inc_by(report.good.into());
                    uncertain.inc_by(report.uncertain.into());
                    bad.inc_by(report.bad.into());
                    self.metrics.repeats_dropped.inc_by(report.repeats.into());
                    self.metrics.unknown_points.inc_by(report.unknown_points.into());
                    unanswered
                }
            };
            if answers.blocking_send(unanswered).is_err() {
                break;
            }
            if saved_at.elapsed() >= SAVE_EVERY {
                saved_at = Instant::now();
                self.save(&answers);
            }
        }
        self.save(&answers);
        drop(answers);
        if let Err(error) = self.runtime.block_on(answering) {
            error!(error = %error, "the task that answers drivers failed");
        }
    }

    fn take(&mut self, batch: Batch, now: Now) -> (StepReport, Unanswered) {
        let arrived = Instant::now();
        self.rejects.offer_all(batch.rejected);
        let mut samples: Vec<Sample> = Vec::with_capacity(batch.readings.len());
        let input = Input {
            link: batch.link,
            received_time: batch.received_time,
            origin: batch.origin,
            readings: &batch.readings,
            deliveries: &batch.deliveries,
        };
        let mut report = self.normaliser.step(&input, &mut samples);
        let (mut receipt, count) = (None, u64::try_from(samples.len()).unwrap_or(u64::MAX));
        let mut deliveries = std::mem::take(&mut report.deliveries);
        while !samples.is_empty() || !deliveries.is_empty() {
            let rest = samples.split_off(samples.len().min(SAMPLES_PER_RECORD));
            let record = Record::Samples(SampleRecord {
                catalogue_version: self.catalogue_version,
                boot_id: self.boot_id,
                monotonic_ms: now.monotonic_ms,
                link: batch.link,
                // With the last part: a message counts as delivered only when all of it is durable.
                deliveries: if rest.is_empty() { std::mem::take(&mut deliveries) } else { Vec::new() },
                samples,
            });
            self.runtime.block_on(self.journal.ready());
            receipt = Some(self.journal.append(&record));
            samples = rest;
        }
        (report, Unanswered::Batch { receipt, samples: count, arrived, done: batch.done })
    }

    fn append(&self, record: &Record) -> Unanswered {
        self.runtime.block_on(self.journal.ready());
        Unanswered::Batch { receipt: Some(self.journal.append(record)), samples: 0, arrived: Instant::now(), done: None }
    }

    fn note_clock_step(&self, base: &mut Now, now: Now, answers: &mpsc::Sender<Unanswered>) {
        let elapsed = i64::try_from(now.monotonic_ms.saturating_sub(base.monotonic_ms)).unwrap_or(i64::MAX);
        let expected = base.utc.plus(elapsed);
        if now.utc.since(expected).saturating_abs() > CLOCK_STEP_MS {
            warn!(expected = %expected, found = %now.utc, "the clock of this machine was set");
            let record = ClockRecord { boot_id: self.boot_id, monotonic_ms: now.monotonic_ms, expected, found: now.utc };
            let _ = answers.blocking_send(self.append(&Record::Clock(record)));
            *base = now;
        }
    }

    /// Waits until all appended so far is durable, then saves the normaliser's state as of there.
    fn save(&self, answers: &mpsc::Sender<Unanswered>) {
        let (sender, receiver) = oneshot::channel();
        if answers.blocking_send(Unanswered::Flush(sender)).is_err() {
            return;
        }
        let Ok(durable) = receiver.blocking_recv() else { return };
        if let Err(error) = self.saved_state.write(durable, &self.normaliser.snapshot(durable.0)) {
            warn!(error = %error, "the normaliser's state could not be saved; a restart reads more of the journal");
        }
    }
}

fn link_record(change: LinkChange) -> Record {
    Record::Link(LinkRecord { link: change.link, device: change.device, up: change.up, why: change.why, time: change.time })
}

/// Waits for the journal, batch by batch in order, and tells drivers.
async fn answer(mut unanswered: mpsc::Receiver<Unanswered>, mut durable: Sequence, metrics: Metrics) {
    // Once one record is refused nothing is answered any more: a repeat of what was refused must not be.
    let mut refused = false;
    while let Some(next) = unanswered.recv().await {
        match next {
            Unanswered::Batch { receipt, samples, arrived, done } => {
                if let Some(receipt) = receipt {
                    match receipt.durable().await {
                        Ok(sequence) => durable = sequence,
                        Err(error) => {
                            if !refused {
                                error!(error = %error, "the journal refused a record; nothing is answered from here on");
                            }
                            refused = true;
                        }
                    }
                }
                if !refused {
                    metrics.samples_durable.inc_by(samples);
                    metrics.durable_lag.observe(arrived.elapsed().as_secs_f64());
                }
                if let Some(done) = done {
                    let _ = done.send(if refused { Outcome::NotDurable } else { Outcome::Durable });
                }
            }
            Unanswered::Flush(sender) if !refused => {
                let _ = sender.send(durable);
            }
            Unanswered::Flush(_) => {}
        }
    }
}

/// The file of the normaliser's saved state. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SavedState {
    path: PathBuf,
    floor: Arc<AtomicU64>,
}

impl SavedState {
    /// The file at `path`; nothing is read yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path, floor: Arc::new(AtomicU64::new(0)) }
    }

    /// Journal entries above this are needed to bring the saved state up to date: do not release them.
    pub fn floor(&self) -> Sequence {
        Sequence(self.floor.load(Ordering::Acquire))
    }

    /// Loads the state into `normaliser`; returns the journal entry it is as of, 0 when there is none. A state that is
    /// damaged is as none: the first registers after it count as first, which is said in the log. Blocks.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn load(&self, normaliser: &mut Normaliser) -> io::Result<Sequence> {
        let position = match std::fs::read(&self.path) {
            Ok(bytes) => normaliser.restore(&bytes).unwrap_or_else(|error| {
                warn!(error = %error, path = %self.path.display(), "saved state cannot be used; starting without");
                0
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        self.floor.store(position, Ordering::Release);
        Ok(Sequence(position))
    }

    /// Brings `normaliser` up to date from the journal behind `position`. Blocks.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn catch_up(normaliser: &mut Normaliser, position: Sequence, journal: &Journal) -> Result<(), AppendError> {
        let mut reader = journal.reader(Sequence(position.0.saturating_add(1)));
        loop {
            match reader.next()? {
                Next::Entry(_, Record::Samples(record)) => normaliser.observe(record.link, &record.deliveries, &record.samples),
                Next::Entry(..) => {}
                Next::Gone { oldest } => {
                    warn!(
                        from = position.0,
                        to = oldest.0,
                        "saved state is older than the journal; registers in between are not known to it"
                    );
                    reader = journal.reader(oldest);
                }
                Next::Damaged { from, to } => warn!(from = from.0, to = to.0, "damaged journal entries skipped"),
                Next::End => return Ok(()),
            }
        }
    }

    fn write(&self, durable: Sequence, state: &[u8]) -> io::Result<()> {
        file::replace(&Disk, &self.path, state)?;
        self.floor.store(durable.0, Ordering::Release);
        Ok(())
    }
}
