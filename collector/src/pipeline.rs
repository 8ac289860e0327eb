//! Drivers -> normaliser -> journal -> done, through bounded queues.
//!
//! One thread normalises and appends, in order of arrival; one task waits for the journal and then tells each driver
//! that its batch is durable. When the journal is full or slow the queue of unanswered batches fills, the thread stops
//! taking new ones, drivers wait, and so do their peers: nothing is dropped here and nothing is answered too early.
//!
//! The normaliser's state is saved now and then as `normalise.state`; after a restart it is brought up to date from the
//! journal's tail. Segments that the saved state does not cover must stay: [`SavedState::floor`] tells which.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tracing::{error, warn};

use crate::clock::Clock;
use crate::driver::{Batch, LinkChange, Message, Outcome};
use crate::journal::{AppendError, ClockRecord, Journal, LinkRecord, Next, Receipt, Record, SampleRecord, Sequence};
use crate::metrics::Metrics;
use crate::model::{Now, Quality, Sample};
use crate::normalise::{Input, Normaliser};
use crate::rejects;

/// Messages that may wait between drivers and the normaliser; when full, drivers wait.
pub const INBOX_MESSAGES: usize = 64;
/// Batches that may wait for the journal; when full, the normaliser waits.
const UNANSWERED_BATCHES: usize = 256;
/// How often the normaliser's state is saved.
const SAVE_EVERY: Duration = Duration::from_secs(30);
/// A jump of the wall clock against the monotonic clock by more than this is recorded.
const CLOCK_STEP_MS: i64 = 1_000;
/// Pause before a record that the journal refused is offered again.
const APPEND_AGAIN: Duration = Duration::from_millis(250);

/// What the pipeline is made of.
#[derive(Debug)]
pub struct Pipeline {
    /// The normaliser, its state restored.
    pub normaliser: Normaliser,
    /// Where samples become durable.
    pub journal: Journal,
    /// Where input goes that could not be read.
    pub rejects: rejects::Sender,
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
}

/// One batch that waits for the journal, or a state to be saved once all before it is durable.
enum Unanswered {
    Batch { pending: Option<(Record, Receipt)>, samples: u64, arrived: Instant, done: Option<oneshot::Sender<Outcome>> },
    Save(Vec<u8>),
}

impl Pipeline {
    /// Runs until every sender of `inbox` is gone and all that came is durable (or the journal is closed). Blocks: for
    /// a thread of its own. `runtime` runs the task that answers.
    pub fn run(mut self, mut inbox: mpsc::Receiver<Message>, runtime: &tokio::runtime::Handle) {
        let (answers, unanswered) = mpsc::channel(UNANSWERED_BATCHES);
        let answering =
            runtime.spawn(answer(unanswered, self.journal.clone(), self.metrics.clone(), self.saved_state.clone()));
        let mut clock_base = self.clock.now();
        let mut saved_at = Instant::now();
        let quality_counts = Quality::ALL.iter().map(|quality| self.metrics.samples_quality.with_label_values(&[quality.name()])).collect::<Vec<_>>();
        while let Some(message) = inbox.blocking_recv() {
            let now = self.clock.now();
            self.note_clock_step(&mut clock_base, now, &answers);
            let unanswered = match message {
                Message::Batch(batch) => self.take(batch, now, &quality_counts),
                Message::Link(change) => self.append(link_record(change)),
            };
            if answers.blocking_send(unanswered).is_err() {
                break;
            }
            if saved_at.elapsed() >= SAVE_EVERY {
                saved_at = Instant::now();
                let _ = answers.blocking_send(Unanswered::Save(self.normaliser.snapshot()));
            }
        }
        let _ = answers.blocking_send(Unanswered::Save(self.normaliser.snapshot()));
        drop(answers);
        if let Err(error) = runtime.block_on(answering) {
            error!(error = %error, "the task that answers drivers failed");
        }
    }

    fn take(&mut self, batch: Batch, now: Now, quality_counts: &[prometheus::IntCounter]) -> Unanswered {
        let arrived = Instant::now();
        for rejected in batch.rejected {
            self.rejects.send(rejected);
        }
        let mut samples: Vec<Sample> = Vec::with_capacity(batch.readings.len());
        let input = Input {
            link: batch.link,
            received_time: batch.received_time,
            origin: batch.origin,
            readings: &batch.readings,
            deliveries: &batch.deliveries,
        };
        let report = self.normaliser.step(&input, now, &mut samples);
        self.metrics.repeats_dropped.inc_by(report.repeats);
        self.metrics.unknown_points.inc_by(report.unknown_points);
        for (counter, count) in quality_counts.iter().zip(report.by_quality) {
            counter.inc_by(count);
        }
        if samples.is_empty() && report.deliveries.is_empty() {
            return Unanswered::Batch { pending: None, samples: 0, arrived, done: batch.done };
        }
        let count = u64::try_from(samples.len()).unwrap_or(u64::MAX);
        let record = Record::Samples(SampleRecord {
            catalogue_version: self.catalogue_version,
            boot_id: self.boot_id,
            monotonic_ms: now.monotonic_ms,
            link: batch.link,
            deliveries: report.deliveries,
            samples,
        });
        let receipt = self.journal.append(&record);
        Unanswered::Batch { pending: Some((record, receipt)), samples: count, arrived, done: batch.done }
    }

    fn append(&self, record: Record) -> Unanswered {
        let receipt = self.journal.append(&record);
        Unanswered::Batch { pending: Some((record, receipt)), samples: 0, arrived: Instant::now(), done: None }
    }

    fn note_clock_step(&self, base: &mut Now, now: Now, answers: &mpsc::Sender<Unanswered>) {
        let elapsed = i64::try_from(now.monotonic_ms.saturating_sub(base.monotonic_ms)).unwrap_or(i64::MAX);
        let expected = base.utc.plus(elapsed);
        if now.utc.since(expected).saturating_abs() > CLOCK_STEP_MS {
            warn!(expected = %expected, found = %now.utc, "the clock of this machine was set");
            let record = ClockRecord { boot_id: self.boot_id, monotonic_ms: now.monotonic_ms, expected, found: now.utc };
            let _ = answers.blocking_send(self.append(Record::Clock(record)));
            *base = now;
        }
    }
}

fn link_record(change: LinkChange) -> Record {
    Record::Link(LinkRecord { link: change.link, device: change.device, up: change.up, why: change.why, time: change.time })
}

/// Waits for the journal, batch by batch in order, and tells drivers. A record that the journal refused (full disk) is
/// offered again until it is durable: what the normaliser has seen must not be lost behind its ring of repeats.
async fn answer(mut unanswered: mpsc::Receiver<Unanswered>, journal: Journal, metrics: Metrics, saved_state: SavedState) {
    let mut durable = journal.durable();
    let mut closed = false;
    while let Some(next) = unanswered.recv().await {
        match next {
            Unanswered::Batch { pending, samples, arrived, done } => {
                if let Some((record, receipt)) = pending.filter(|_| !closed) {
                    match until_durable(&journal, &record, receipt).await {
                        Some(sequence) => durable = sequence,
                        None => closed = true,
                    }
                }
                if !closed {
                    metrics.samples_durable.inc_by(samples);
                    metrics.durable_lag.observe(arrived.elapsed().as_secs_f64());
                }
                if let Some(done) = done {
                    let _ = done.send(if closed { Outcome::NotDurable } else { Outcome::Durable });
                }
            }
            Unanswered::Save(_) if closed => {}
            Unanswered::Save(state) => {
                let saved_state = saved_state.clone();
                let saving = tokio::task::spawn_blocking(move || saved_state.write(durable, &state)).await;
                if let Ok(Err(error)) = saving {
                    warn!(error = %error, "the normaliser's state could not be saved; a restart reads more of the journal");
                }
            }
        }
    }
}

/// The sequence under which `record` became durable, `None` when the journal was closed before.
async fn until_durable(journal: &Journal, record: &Record, mut receipt: Receipt) -> Option<Sequence> {
    loop {
        match receipt.0.await {
            Ok(Ok(sequence)) => return Some(sequence),
            Ok(Err(AppendError::Closed)) | Err(_) => return None,
            Ok(Err(AppendError::Full(_) | AppendError::Io(_))) => {
                tokio::time::sleep(APPEND_AGAIN).await;
                receipt = journal.append(record);
            }
        }
    }
}

/// The file of the normaliser's saved state: 8 bytes sequence (little endian), then the normaliser's own format, which
/// carries its checksum. Cheap to clone.
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

    /// Loads the state into `normaliser` and brings it up to date from the journal. Blocks. A state that cannot be read
    /// is as none: the first registers after it count as first, which is said in the log.
    pub fn restore(&self, normaliser: &mut Normaliser, journal: &Journal) -> io::Result<()> {
        let mut from = Sequence(0);
        match std::fs::read(&self.path) {
            Ok(bytes) => match bytes.split_first_chunk::<8>() {
                Some((sequence, state)) => match normaliser.restore(state) {
                    Ok(()) => from = Sequence(u64::from_le_bytes(*sequence)),
                    Err(error) => warn!(error = %error, path = %self.path.display(), "saved state is damaged; starting without"),
                },
                None => warn!(path = %self.path.display(), "saved state is cut short; starting without"),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        self.floor.store(from.0, Ordering::Release);
        let mut reader = journal.reader(Sequence(from.0.saturating_add(1)));
        loop {
            match reader.next().map_err(io::Error::other)? {
                Next::Entry(_, Record::Samples(record)) => normaliser.observe(record.link, &record.deliveries, &record.samples),
                Next::Entry(..) => {}
                Next::Gone { oldest } => reader = journal.reader(oldest),
                Next::Damaged { from, to } => {
                    warn!(from = from.0, to = to.0, "damaged journal entries skipped");
                }
                Next::End => return Ok(()),
            }
        }
    }

    fn write(&self, durable: Sequence, state: &[u8]) -> io::Result<()> {
        let mut bytes = durable.0.to_le_bytes().to_vec();
        bytes.extend_from_slice(state);
        replace_file(&self.path, &bytes)?;
        self.floor.store(durable.0, Ordering::Release);
        Ok(())
    }
}

/// Replaces a file so that after a crash it is the old one or the new one: write beside it, sync, rename, sync the
/// directory.
pub fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    let temporary = path.with_extension("tmp");
    let mut file = std::fs::File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => std::fs::File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

