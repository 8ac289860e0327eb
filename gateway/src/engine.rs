//! The path from a batch of readings to the record: normaliser, journal, history, each on its own thread. Drivers and
//! HTTP are not part of it, so that benches and `rejects replay` run just this.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use parkgate_collector::catalogue::Catalogue;
use parkgate_collector::clock::Clock;
use parkgate_collector::driver::{Message, Outlet};
use parkgate_collector::health::HealthBoard;
use parkgate_collector::journal::{CatalogueRecord, Journal, JournalSettings, Record, Sequence};
use parkgate_collector::metrics::Metrics;
use parkgate_collector::model::PointId;
use parkgate_collector::normalise::{NormaliseSettings, Normaliser};
use parkgate_collector::pipeline::{Exchanges, INBOX_MESSAGES, Pipeline, Plates, SavedState, Tally};
use parkgate_collector::rejects;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::store::DataDirectory;
use crate::store::history::{History, HistorySettings};
use crate::store::reader::{self, ReaderStats};

#[cfg(test)]
mod tests;

/// How long the normaliser may take to make durable what drivers handed over, at stop. A full disk would hold it for ever.
const PIPELINE_STOP: Duration = Duration::from_secs(10);
/// How long history may take to write its last checkpoint, at stop; without it the next start reads more of the journal.
const HISTORY_STOP: Duration = Duration::from_secs(30);

/// Settings of the parts.
#[derive(Clone, Debug, Default)]
pub struct EngineSettings {
    /// Journal.
    pub journal: JournalSettings,
    /// History.
    pub history: HistorySettings,
    /// Normaliser.
    pub normalise: NormaliseSettings,
    /// Size of the rejects ring.
    pub rejects: rejects::RingSettings,
    /// Where it is told that a device's energy and power disagree.
    pub health: HealthBoard,
    /// Counters that are read or scaled otherwise than when the gateway ran last: their next registers begin anew.
    pub changed_counters: Vec<PointId>,
}

/// The running parts.
pub struct Engine {
    outlet: Outlet,
    compliance: Arc<RwLock<HashSet<PointId>>>,
    exchanges: Exchanges,
    journal: Journal,
    history: History,
    rejects: rejects::Sink,
    pipeline: JoinHandle<()>,
    reader: JoinHandle<()>,
    reader_stats: Arc<ReaderStats>,
    reader_cancel: CancellationToken,
    knows_changed: bool,
}

impl Engine {
    /// Opens journal, history and rejects ring in `directory` (whose lock the caller holds), brings the normaliser up to
    /// date, starts the threads. Blocks for as long as the journal's tail takes to read.
    pub fn start(
        directory: &DataDirectory,
        catalogue: &Arc<Catalogue>,
        settings: EngineSettings,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
        runtime: &tokio::runtime::Handle,
    ) -> Result<Self> {
        let mut normaliser = Normaliser::new(catalogue, settings.normalise.of_park(&catalogue.park));
        let saved_state = SavedState::new(directory.normalise_state());
        let position = saved_state.load(&mut normaliser).context("normalise.state cannot be read")?;
        let compliance = Arc::new(RwLock::new(HashSet::new()));
        note_compliance(&compliance, catalogue);
        let is_compliance = {
            let points = Arc::clone(&compliance);
            move |id: PointId| points.read().unwrap_or_else(PoisonError::into_inner).contains(&id)
        };
        let history = History::open(&directory.history(), settings.history, Arc::new(is_compliance)).context("history cannot be opened")?;
        let journal_settings =
            JournalSettings { resume_after: position.max(history.position()).max(settings.journal.resume_after), ..settings.journal };
        let journal = Journal::open(&directory.journal(), journal_settings, Arc::clone(&clock), metrics.clone())
            .context("the journal cannot be opened")?;
        let found = journal.stats();
        let recovery = journal.recovery();
        info!(
            oldest = found.oldest.0,
            durable = found.durable.0,
            segments = found.segments,
            bytes = found.bytes,
            torn_bytes = recovery.torn_bytes,
            "journal opened"
        );
        if !recovery.damaged.is_empty() {
            warn!(ranges = ?recovery.damaged, "the journal is damaged: these entries cannot be read");
        }
        let position = SavedState::catch_up(&mut normaliser, position, &journal).context("the journal cannot be read")?;
        for &point in &settings.changed_counters {
            normaliser.announce_next(point);
        }
        // At once: a journal that is full can let go only what the saved state covers.
        let saved = saved_state.save(&normaliser, position);
        if let Err(error) = &saved {
            warn!(error = %error, "the normaliser's state could not be saved; journal segments stay until it can");
        }
        let knows_changed = saved.is_ok() || settings.changed_counters.is_empty();
        let catalogue_record = CatalogueRecord { version: catalogue.version, time: clock.now().utc };
        drop(journal.append(&Record::Catalogue(catalogue_record)));
        let ring =
            rejects::Ring::open(&directory.rejects(), settings.rejects, metrics.clone()).context("the rejects ring cannot be opened")?;
        let rejects = rejects::Sink::start(ring).context("the rejects ring cannot be opened")?;

        let (outlet, inbox) = mpsc::channel::<Message>(INBOX_MESSAGES);
        let exchanges = Exchanges::default();
        let pipeline = Pipeline {
            tally: Tally::new(catalogue, &metrics),
            plates: Plates::new(catalogue, &metrics, settings.health),
            normaliser,
            journal: journal.clone(),
            rejects: rejects.clone(),
            clock: Arc::clone(&clock),
            metrics,
            catalogue_version: catalogue.version,
            boot_id: fastrand::u64(..),
            exchanges: exchanges.clone(),
            saved_state: saved_state.clone(),
            runtime: runtime.clone(),
        };
        let pipeline = std::thread::Builder::new().name("normalise".into()).spawn(move || pipeline.run(inbox))?;
        let reader_cancel = CancellationToken::new();
        let reader_stats = Arc::new(ReaderStats::default());
        let reader = {
            let (journal, history, stats, cancel) = (journal.clone(), history.clone(), Arc::clone(&reader_stats), reader_cancel.clone());
            let floor = Box::new(move || saved_state.floor());
            std::thread::Builder::new().name("history".into()).spawn(move || {
                if let Err(error) = reader::run(journal, history, clock, stats, floor, cancel) {
                    error!(error = %error, "history cannot follow the journal");
                }
            })?
        };
        Ok(Self { outlet, compliance, exchanges, journal, history, rejects, pipeline, reader, reader_stats, reader_cancel, knows_changed })
    }

    /// Whether it holds over a crash, too, that the counters changed at the start begin anew.
    pub fn knows_changed(&self) -> bool {
        self.knows_changed
    }

    /// Goes on with another catalogue: what is sent from the answer on is read by it, and what was sent before the call is
    /// not. The next registers of the counters that are `changed`, read or scaled otherwise, begin anew; answers whether
    /// that holds over a crash, too. Waits while the journal is full.
    ///
    /// # Errors
    /// When the normaliser ended.
    pub async fn set_catalogue(&self, catalogue: &Arc<Catalogue>, changed: Vec<PointId>) -> Result<bool> {
        note_compliance(&self.compliance, catalogue);
        let (done, holds) = oneshot::channel();
        let message = Message::Catalogue(Arc::clone(catalogue), changed, done);
        self.outlet.send(message).await.ok().context("the normaliser ended")?;
        holds.await.context("the normaliser ended")
    }

    /// Where drivers send their batches.
    pub fn outlet(&self) -> Outlet {
        self.outlet.clone()
    }

    /// Where exchanges of meters are announced to the normaliser.
    pub fn exchanges(&self) -> Exchanges {
        self.exchanges.clone()
    }

    /// The journal.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// History.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// What history met when reading the journal.
    pub fn reader_stats(&self) -> Arc<ReaderStats> {
        Arc::clone(&self.reader_stats)
    }

    /// The rejects ring.
    pub fn rejects(&self) -> &rejects::Sink {
        &self.rejects
    }

    /// Returns when history has taken in what was durable at the call.
    pub async fn caught_up(&self) {
        reader::caught_up(&self.journal, &self.history).await;
    }

    /// Name of a thread that ended although it should run; `None` while all run.
    pub fn failed(&self) -> Option<&'static str> {
        [("normalise", &self.pipeline), ("history", &self.reader)]
            .into_iter()
            .find(|(_, thread)| thread.is_finished())
            .map(|(name, _)| name)
    }

    /// Stops in the order of the data: what drivers handed over becomes durable, history takes it in and writes a
    /// checkpoint, the journal closes. Every clone of the outlet must be gone, or the first step runs into its deadline.
    /// Blocks. Returns the names of parts that did not stop in time.
    pub fn stop(self) -> Vec<&'static str> {
        let mut late = Vec::new();
        drop(self.outlet);
        if !join(self.pipeline, "normalise", PIPELINE_STOP) {
            late.push("normalise");
        }
        self.reader_cancel.cancel();
        if !join(self.reader, "history", HISTORY_STOP) {
            late.push("history");
        }
        self.rejects.close();
        self.journal.close();
        let durable: Sequence = self.journal.durable();
        info!(durable = durable.0, "journal closed");
        late
    }
}

/// Takes over which points are kept for compliance. One that is configured no more stays what it was: what is not yet in
/// blocks of it is kept as long as the rest.
fn note_compliance(points: &RwLock<HashSet<PointId>>, catalogue: &Catalogue) {
    let mut points = points.write().unwrap_or_else(PoisonError::into_inner);
    for point in &catalogue.points {
        if point.compliance {
            points.insert(point.id);
        } else {
            points.remove(&point.id);
        }
    }
}

/// Waits for a thread until its deadline; `false` when it did not end, or ended in a panic.
fn join(thread: JoinHandle<()>, name: &'static str, deadline: Duration) -> bool {
    let start = Instant::now();
    while !thread.is_finished() {
        if start.elapsed() > deadline {
            warn!(part = name, seconds = deadline.as_secs(), "did not stop in time");
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    match thread.join() {
        Ok(()) => {
            info!(part = name, milliseconds = start.elapsed().as_millis(), "stopped");
            true
        }
        Err(_) => {
            error!(part = name, "ended in a panic");
            false
        }
    }
}
