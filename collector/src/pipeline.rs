//! Drivers -> normaliser -> journal -> done, through bounded queues.
//!
//! One thread normalises and appends, in order of arrival; one task waits for the journal and then tells each driver
//! that its batch is durable. When the journal is full or slow the queue of unanswered batches fills, the thread stops
//! taking new ones, drivers wait, and so do their peers: nothing is dropped here and nothing is answered too early.
//!
//! The normaliser's state is saved now and then as `normalise.state`; after a restart it is brought up to date from the
//! journal's tail. Segments that the saved state does not cover must stay: [`SavedState::floor`] tells which. A full
//! journal must not wait for that floor, nor the floor for the journal: while this thread waits for the journal it saves
//! the state as of the last durable entry, which it reads from the journal as a start does. So the floor always comes to
//! all that is durable, and what history has taken in can go, whatever the budget and the length of the entries.
//!
//! What was recorded before the time was known is recorded again once it is, see `undated`.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus::{Gauge, IntCounter};
use tokio::sync::{mpsc, oneshot};
use tracing::{error, warn};

use crate::catalogue::Catalogue;
use crate::clock::Clock;
use crate::driver::{Batch, LinkChange, Message, Outcome};
use crate::journal::file::{self, Disk};
use crate::journal::{AppendError, CatalogueRecord, ClockRecord, Journal, LinkRecord, Next, Receipt, Record, SampleRecord, Sequence};
use crate::metrics::Metrics;
use crate::model::{Now, PointId, Quality, Sample, UtcMillis};
use crate::normalise::{Input, Normaliser, StepReport};
use crate::rejects;

mod plates;
mod undated;

pub use plates::Plates;
use undated::Calendar;

#[cfg(test)]
mod tests;

/// Messages that may wait between drivers and the normaliser; when full, drivers wait.
pub const INBOX_MESSAGES: usize = 64;
/// Batches that may wait for the journal; when full, the normaliser waits.
const UNANSWERED_BATCHES: usize = 256;
/// How often the normaliser's state is saved when there is something new, even while nothing comes.
const SAVE_EVERY: Duration = Duration::from_secs(30);
/// It is saved also after this many bytes of the journal, or an eighth of its budget when that is less: so much at most
/// is read again at a start, and kept from being released.
const SAVE_EVERY_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Longest wait, for a message or for the journal, before a look at what is to be done meanwhile.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A jump of the wall clock against the monotonic clock by more than this between two looks is recorded.
const CLOCK_STEP_MS: i64 = 1_000;
/// What was received so long before it comes here is of the past: a message that is read again.
const LIVE_MS: i64 = 10_000;
/// Samples of one journal record; a larger batch without delivery marks becomes several.
const SAMPLES_PER_RECORD: usize = 65_536;
/// A batch with marks stays whole up to here, as its marks must become durable together with all of its samples: 47
/// bytes, the longest form of a sample, so many times are less than the 16 MiB of an entry. Drivers keep far below: MQTT
/// alone has marks, and hands a batch over at 20,000 readings or 1 MiB of payload, at most one message later. Should one
/// message alone hold more, its marks go with its last part.
const MARKED_SAMPLES_PER_RECORD: usize = 300_000;

/// What the pipeline is made of.
pub struct Pipeline {
    /// Counts what becomes durable.
    pub tally: Tally,
    /// Compares energy, power and nameplates.
    pub plates: Plates,
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
    /// Exchanges of meters that are announced meanwhile.
    pub exchanges: Exchanges,
    /// Where the normaliser's state is saved.
    pub saved_state: SavedState,
    /// Runs the task that answers drivers.
    pub runtime: tokio::runtime::Handle,
}

/// Exchanges of meters on their way to the normaliser, which takes note of them before it takes the next readings. Cheap to
/// clone.
#[derive(Clone, Debug, Default)]
pub struct Exchanges(Arc<Mutex<Vec<(PointId, UtcMillis)>>>);

impl Exchanges {
    /// The meter of a point is exchanged at `at`; see [`Normaliser::announce_exchange`].
    pub fn announce(&self, point: PointId, at: UtcMillis) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((point, at));
    }

    /// What was announced since the last call.
    pub fn take(&self) -> Vec<(PointId, UtcMillis)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What waits for the journal, in order of appending.
enum Unanswered {
    /// A batch; without a receipt when nothing of it was new: then it waits for those before it.
    Batch { receipt: Option<Receipt>, counts: Vec<(usize, u64)>, arrived: Instant, done: Option<oneshot::Sender<Outcome>> },
    /// Someone who wants to know the sequence that all before it is durable under.
    Flush(oneshot::Sender<Sequence>),
    /// What is behind this is counted for these devices.
    Devices(Vec<Counted>),
}

impl Pipeline {
    /// Runs until every sender of `inbox` is gone and all that came is durable, or the journal is closed. Blocks: for a
    /// thread of its own.
    pub fn run(mut self, mut inbox: mpsc::Receiver<Message>) {
        let (answers, unanswered) = mpsc::channel(UNANSWERED_BATCHES);
        let counted = std::mem::take(&mut self.tally.devices);
        let answering = self.runtime.spawn(answer(unanswered, self.journal.durable(), self.metrics.clone(), counted));
        let mut clock_base = self.clock.now();
        let not_before = self.normaliser.settings().not_before;
        let mut calendar = Calendar::default();
        calendar.look(not_before, None, clock_base, &self.journal);
        self.hold_undated(&calendar, false);
        let save_every_bytes = (self.journal.budget_bytes() / 8).min(SAVE_EVERY_BYTES_MAX);
        let (mut saved_at, mut saved_bytes) = (Instant::now(), self.journal.appended_bytes());
        let [good, uncertain, bad] = [Quality::Good, Quality::Uncertain, Quality::Bad]
            .map(|quality| self.metrics.samples_quality.with_label_values(&[quality.name()]));
        while let Some(message) = self.receive(&mut inbox) {
            let now = self.clock.now();
            for (point, at) in self.exchanges.take() {
                self.normaliser.announce_exchange(point, at);
            }
            // What is taken now was received before the step.
            let mut before_step = now.utc;
            let step = clock_step(&mut clock_base, now);
            if let Some(expected) = step {
                before_step = expected.min(now.utc);
                warn!(
                    expected = %expected,
                    found = %now.utc,
                    "the clock of this machine was set; if it fell back, readings without a time of their own are recorded as bad \
                     (clock), up to the time before: see that the clock is right and stays so"
                );
                let record = ClockRecord { boot_id: self.boot_id, monotonic_ms: now.monotonic_ms, expected, found: now.utc };
                let appended = self.append(&Record::Clock(record));
                if !self.answer_later(&answers, appended) {
                    break;
                }
            }
            let was_undated = calendar.undated_from();
            if let Some(again) = calendar.look(not_before, step, now, &self.journal)
                && !self.record_again(&answers, again)
            {
                break;
            }
            if calendar.undated_from() != was_undated {
                self.hold_undated(&calendar, false);
            }
            let unanswered = match message {
                None => None,
                Some(Message::NewSession(link)) => {
                    self.normaliser.forget_deliveries(link);
                    None
                }
                Some(Message::Link(change)) => Some(self.append(&link_record(change))),
                Some(Message::Catalogue(catalogue, changed, done)) => {
                    let devices = self.set_catalogue(&catalogue, &changed);
                    if !self.answer_later(&answers, Unanswered::Devices(devices)) {
                        break;
                    }
                    let record = CatalogueRecord { version: catalogue.version, time: now.utc };
                    let appended = self.append(&Record::Catalogue(record));
                    if !self.answer_later(&answers, appended) {
                        break;
                    }
                    // Only the saved state tells of what is announced: the journal does not.
                    let _ = done.send(changed.is_empty() || self.save(&answers));
                    None
                }
                Some(Message::Batch(mut batch)) => {
                    let moved = if now.utc < not_before { None } else { calendar.moved(not_before, batch.received_time) };
                    if let Some(received) = moved {
                        (batch.received_time, before_step) = (received, now.utc);
                    }
                    let is_live = before_step.since(batch.received_time) <= LIVE_MS;
                    let (report, unanswered) = self.take(batch, now, is_live, moved.is_some());
                    good.inc_by(report.good.into());
                    uncertain.inc_by(report.uncertain.into());
                    bad.inc_by(report.bad.into());
                    self.metrics.repeats_dropped.inc_by(report.repeats.into());
                    self.metrics.unchanged_left_out.inc_by(report.unchanged.into());
                    self.metrics.unknown_points.inc_by(report.unknown_points.into());
                    Some(unanswered)
                }
            };
            if let Some(unanswered) = unanswered
                && !self.answer_later(&answers, unanswered)
            {
                break;
            }
            let bytes = self.journal.appended_bytes();
            let news = self.saved_state.covered() < self.journal.durable();
            if bytes.saturating_sub(saved_bytes) >= save_every_bytes || news && saved_at.elapsed() >= SAVE_EVERY {
                (saved_at, saved_bytes) = (Instant::now(), bytes);
                self.save(&answers);
                self.hold_undated(&calendar, true);
            }
        }
        self.saved_state.let_go();
        self.save(&answers);
        drop(answers);
        if let Err(error) = self.runtime.block_on(answering) {
            error!(error = %error, "the task that answers drivers failed");
        }
    }

    /// The next message; `Some(None)` when there is none for a while, `None` when there never will be.
    fn receive(&self, inbox: &mut mpsc::Receiver<Message>) -> Option<Option<Message>> {
        match inbox.try_recv() {
            Ok(message) => Some(Some(message)),
            Err(mpsc::error::TryRecvError::Disconnected) => None,
            Err(mpsc::error::TryRecvError::Empty) => {
                match self.runtime.block_on(async { tokio::time::timeout(LOOK_EVERY, inbox.recv()).await }) {
                    Ok(message) => message.map(Some),
                    Err(_) => Some(None),
                }
            }
        }
    }

    /// Waits for something that the journal must move for. When it cannot, because it is full, the saved state is not
    /// to be what holds it.
    fn wait<T>(&mut self, future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        loop {
            match self.runtime.block_on(async { tokio::time::timeout(LOOK_EVERY, future.as_mut()).await }) {
                Ok(output) => return output,
                Err(_) => self.save_durable(),
            }
        }
    }

    /// Saves the state as of the last durable entry while the journal is full. The normaliser is ahead of that entry by
    /// what waits for the disk, so it is put aside, and the state is made from the saved one and the journal.
    fn save_durable(&mut self) {
        if self.journal.full().is_none() {
            return;
        }
        self.saved_state.let_go();
        if self.saved_state.covered() >= self.journal.durable() {
            return;
        }
        let ahead = self.normaliser.snapshot(0);
        if let Err(error) = self.saved_state.renew(&mut self.normaliser, &self.journal) {
            warn!(error = %error, "the normaliser's state could not be saved while the journal is full");
        }
        if let Err(error) = self.normaliser.restore(&ahead) {
            error!(error = %error, "the normaliser lost its state; repeats are recorded twice");
        }
    }

    fn answer_later(&mut self, answers: &mpsc::Sender<Unanswered>, unanswered: Unanswered) -> bool {
        self.wait(answers.send(unanswered)).is_ok()
    }

    /// Reads what comes from now on by another catalogue, in which these counters are read or scaled otherwise; gives the
    /// counters of its devices.
    fn set_catalogue(&mut self, catalogue: &Catalogue, changed: &[PointId]) -> Vec<Counted> {
        self.normaliser.set_catalogue(catalogue);
        for &point in changed {
            self.normaliser.announce_next(point);
        }
        self.tally = Tally::new(catalogue, &self.metrics);
        self.plates.set_catalogue(catalogue, &self.metrics);
        self.catalogue_version = catalogue.version;
        std::mem::take(&mut self.tally.devices)
    }

    fn take(&mut self, batch: Batch, now: Now, is_live: bool, is_moved: bool) -> (StepReport, Unanswered) {
        let arrived = Instant::now();
        self.rejects.offer_all(batch.rejected);
        let mut samples: Vec<Sample> = Vec::with_capacity(batch.readings.len());
        let input = Input {
            link: batch.link,
            received_time: batch.received_time,
            is_live,
            is_moved,
            origin: batch.origin,
            readings: &batch.readings,
            deliveries: &batch.deliveries,
        };
        let mut report = self.normaliser.step(&input, &mut samples);
        self.plates.observe(&samples);
        let (mut receipt, counts) = (None, self.tally.count(&samples));
        let mut deliveries = std::mem::take(&mut report.deliveries);
        while !samples.is_empty() || !deliveries.is_empty() {
            let rest = samples.split_off(first_part(samples.len(), !deliveries.is_empty()));
            let record = Record::Samples(SampleRecord {
                catalogue_version: self.catalogue_version,
                boot_id: self.boot_id,
                monotonic_ms: now.monotonic_ms,
                link: batch.link,
                deliveries: if rest.is_empty() { std::mem::take(&mut deliveries) } else { Vec::new() },
                samples,
            });
            receipt = Some(self.append_ready(&record));
            samples = rest;
        }
        (report, Unanswered::Batch { receipt, counts, arrived, done: batch.done })
    }

    fn append(&mut self, record: &Record) -> Unanswered {
        Unanswered::Batch { receipt: Some(self.append_ready(record)), counts: Vec::new(), arrived: Instant::now(), done: None }
    }

    fn append_ready(&mut self, record: &Record) -> Receipt {
        let journal = self.journal.clone();
        self.wait(journal.ready());
        journal.append(record)
    }

    /// Waits until all appended so far is durable, then saves the normaliser's state as of there; whether that went well.
    fn save(&mut self, answers: &mpsc::Sender<Unanswered>) -> bool {
        let Some(durable) = self.flush(answers) else { return false };
        match self.saved_state.save(&self.normaliser, durable) {
            Ok(()) => true,
            Err(error) => {
                warn!(error = %error, "the normaliser's state could not be saved; a restart reads more of the journal");
                false
            }
        }
    }
}

/// Which device each sample counts for.
#[derive(Default)]
pub struct Tally {
    devices: Vec<Counted>,
    /// By PointId: its device's place in `devices`.
    of_point: Vec<Option<usize>>,
}

/// What is counted of one device.
struct Counted {
    durable: IntCounter,
    lag: Gauge,
}

impl Tally {
    /// Counters for every device of a catalogue.
    pub fn new(catalogue: &Catalogue, metrics: &Metrics) -> Self {
        let mut tally = Self::default();
        for device in &catalogue.devices {
            let labels = [device.link.driver.name(), device.link.id.as_str(), device.id.as_str()];
            for point in &device.points {
                let index = point.id.index();
                if tally.of_point.len() <= index {
                    tally.of_point.resize(index.saturating_add(1), None);
                }
                if let Some(slot) = tally.of_point.get_mut(index) {
                    *slot = Some(tally.devices.len());
                }
            }
            let (durable, lag) = (metrics.samples_durable.with_label_values(&labels), metrics.device_lag.with_label_values(&labels));
            tally.devices.push(Counted { durable, lag });
        }
        tally
    }

    /// Samples per device, one entry for each run of samples of one device.
    fn count(&self, samples: &[Sample]) -> Vec<(usize, u64)> {
        let mut counts: Vec<(usize, u64)> = Vec::new();
        for sample in samples {
            let Some(device) = self.of_point.get(sample.point.index()).copied().flatten() else { continue };
            match counts.last_mut() {
                Some((last, count)) if *last == device => *count = count.saturating_add(1),
                _ => counts.push((device, 1)),
            }
        }
        counts
    }
}

/// What the wall clock should show, when it was set since the last look. Looks are compared one to the next, so that a
/// slow drift never adds up to a step.
fn clock_step(last: &mut Now, now: Now) -> Option<UtcMillis> {
    let elapsed = i64::try_from(now.monotonic_ms.saturating_sub(last.monotonic_ms)).unwrap_or(i64::MAX);
    let expected = last.utc.plus(elapsed);
    *last = now;
    (now.utc.since(expected).saturating_abs() > CLOCK_STEP_MS).then_some(expected)
}

/// How many of `samples` go into the next record.
fn first_part(samples: usize, marked: bool) -> usize {
    samples.min(if marked { MARKED_SAMPLES_PER_RECORD } else { SAMPLES_PER_RECORD })
}

fn link_record(change: LinkChange) -> Record {
    Record::Link(LinkRecord { link: change.link, device: change.device, up: change.up, why: change.why, time: change.time })
}

/// Waits for the journal, batch by batch in order, and tells drivers.
async fn answer(mut unanswered: mpsc::Receiver<Unanswered>, mut durable: Sequence, metrics: Metrics, mut devices: Vec<Counted>) {
    // Once one record is refused nothing is answered any more: a repeat of what was refused must not be.
    let mut refused = false;
    while let Some(next) = unanswered.recv().await {
        match next {
            Unanswered::Batch { receipt, counts, arrived, done } => {
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
                    let lag = arrived.elapsed().as_secs_f64();
                    for (device, samples) in counts {
                        if let Some(device) = devices.get(device) {
                            device.durable.inc_by(samples);
                            device.lag.set(lag);
                        }
                    }
                    metrics.durable_lag.observe(lag);
                }
                if let Some(done) = done {
                    let _ = done.send(if refused { Outcome::NotDurable } else { Outcome::Durable });
                }
            }
            Unanswered::Flush(sender) if !refused => {
                let _ = sender.send(durable);
            }
            Unanswered::Flush(_) => {}
            Unanswered::Devices(others) => devices = others,
        }
    }
}

/// The file of the normaliser's saved state. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SavedState {
    path: PathBuf,
    covered: Arc<AtomicU64>,
    /// First entry that is kept although the state covers it; `u64::MAX` for none.
    held: Arc<AtomicU64>,
}

impl SavedState {
    /// The file at `path`; nothing is read yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path, covered: Arc::new(AtomicU64::new(0)), held: Arc::new(AtomicU64::new(u64::MAX)) }
    }

    /// Journal entries above this are needed, to bring the saved state up to date or to be recorded again when the time is
    /// known: do not release them.
    pub fn floor(&self) -> Sequence {
        let held = self.held.load(Ordering::Acquire);
        self.covered().min(Sequence(held.saturating_sub(1)))
    }

    /// The entry that the saved state is as of.
    fn covered(&self) -> Sequence {
        Sequence(self.covered.load(Ordering::Acquire))
    }

    /// Keeps entries from `first` on, whatever the state covers.
    fn hold(&self, first: Sequence) {
        self.held.store(first.0, Ordering::Release);
    }

    /// The first entry that is so kept.
    fn held(&self) -> Option<Sequence> {
        Some(self.held.load(Ordering::Acquire)).filter(|&held| held != u64::MAX).map(Sequence)
    }

    /// Keeps none any more.
    fn let_go(&self) {
        self.held.store(u64::MAX, Ordering::Release);
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
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Nothing is a state that is refused, which leaves the memory empty.
                let _ = normaliser.restore(&[]);
                0
            }
            Err(error) => return Err(error),
        };
        self.covered.store(position, Ordering::Release);
        Ok(Sequence(position))
    }

    /// Brings `normaliser` up to date from the journal behind `position`; returns the entry it is as of then, the last
    /// durable one. Blocks.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn catch_up(normaliser: &mut Normaliser, position: Sequence, journal: &Journal) -> Result<Sequence, AppendError> {
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
                Next::End => return Ok(position.max(Sequence(reader.position().0.saturating_sub(1)))),
            }
        }
    }

    /// Saves the state of `normaliser`, which is as of the entry `durable`. Blocks.
    ///
    /// # Errors
    /// The file cannot be written; the one before stays.
    pub fn save(&self, normaliser: &Normaliser, durable: Sequence) -> io::Result<()> {
        file::replace(&Disk, &self.path, &normaliser.snapshot(durable.0))?;
        self.covered.store(durable.0, Ordering::Release);
        Ok(())
    }

    /// Loads the saved state into `normaliser`, brings it up to date from the journal and saves it again. Blocks.
    ///
    /// # Errors
    /// The file cannot be read or written, or the journal cannot be read.
    fn renew(&self, normaliser: &mut Normaliser, journal: &Journal) -> Result<(), AppendError> {
        let io = |error: io::Error| AppendError::Io(format!("{}: {error}", self.path.display()));
        let position = self.load(normaliser).map_err(io)?;
        let durable = Self::catch_up(normaliser, position, journal)?;
        self.save(normaliser, durable).map_err(io)
    }
}
