//! History: the record beside the journal's tail. Samples come in from the journal, are held in memory for a while
//! ([`head`]), and go to compressed blocks in one SQLite file per UTC month and retention class ([`files`]).
//!
//! A checkpoint ([`checkpoint`]) writes closed windows as blocks into their month files, each in one synced
//! transaction, and then commits everything by one transaction on `state.db` ([`state`]): journal position, what open
//! windows gained, latest values. What month files have beyond the last commit is undone at start, so replaying the
//! journal from [`History::position`] loses and doubles nothing, wherever the crash came.
//!
//! Reading ([`query`]) merges by (point, key time): the sample written later wins. [`maintain`] merges small blocks and
//! deletes whole months. Formats: [`run`] pieces and head; [`block`] and [`mod@column`] blocks.
//!
//! It never waits for the network, never reads a clock, and never changes a block in place.

mod block;
mod checkpoint;
mod column;
mod files;
#[cfg(fuzzing)]
pub mod fuzz;
mod head;
mod maintain;
mod month;
mod query;
mod read_only;
mod run;
mod state;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub(crate) mod varint;
mod written;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use parkgate_collector::journal::{SampleRecord, Sequence};
use parkgate_collector::model::{Now, PointId, Sample, UtcMillis};

use self::files::{Files, MonthFile, Writers};
use self::head::Head;
use super::StoreError;
use super::view::{Bucket, RecordView};

pub use self::files::Correction;
pub use self::read_only::RecordSnapshot;
pub(super) use self::read_only::open as open_snapshot;
pub use self::written::Stretch;

/// Samples of a full block; a window closes when it has them.
pub const WINDOW_SAMPLES: u32 = 360;
/// A window closes at the hour when it has at least so many, of this hour and the one before.
const HOUR_SAMPLES_MIN: u32 = 60;
/// PointIds from here on are refused: the registry is dense, so one this large is an error. Counted.
const POINTS_MAX: usize = 1 << 24;

/// Settings of history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistorySettings {
    /// A checkpoint is due after so many bytes of journal; 128 MiB by default.
    pub checkpoint_bytes: u64,
    /// And after so many samples; 5,000,000 by default. What a start reads again costs by the sample: 23 million, that is
    /// 128 MiB, took 4.4 to 10 s on two cores, where a start is to take 3 s at most.
    pub checkpoint_samples: u64,
    /// And after so many milliseconds; 5 minutes by default.
    pub checkpoint_ms: u64,
    /// Memory for samples that are not in blocks yet; beyond it a checkpoint is due, and the biggest open windows are
    /// closed early. 64 MiB by default.
    pub head_bytes: usize,
    /// Months that samples of compliance points are kept; 60 by default.
    pub retention_months_compliance: u32,
    /// Months that other samples are kept; 18 by default.
    pub retention_months_other: u32,
    /// Most bytes that month files may take: beyond it the oldest months of other samples go early. Compliance records
    /// never do. `None`, the default: no such limit.
    pub budget_bytes: Option<u64>,
}

impl Default for HistorySettings {
    fn default() -> Self {
        Self {
            checkpoint_bytes: 128 << 20,
            checkpoint_samples: 5_000_000,
            checkpoint_ms: 300_000,
            head_bytes: 64 << 20,
            retention_months_compliance: 60,
            retention_months_other: 18,
            budget_bytes: None,
        }
    }
}

/// Whether a point's samples are compliance records.
pub type ComplianceOf = Arc<dyn Fn(PointId) -> bool + Send + Sync>;

/// Called between the steps of checkpoint, merge and retention with the name of the next step; an error ends the work
/// there, as a crash would. For tests.
pub(crate) type StepHook = Arc<dyn Fn(&'static str) -> Result<(), StoreError> + Send + Sync>;

/// The history of all points. Cheap to clone; every clone is the same history.
#[derive(Clone)]
pub struct History {
    inner: Arc<Inner>,
}

struct Inner {
    settings: HistorySettings,
    compliance: ComplianceOf,
    head: Mutex<Head>,
    files: Files,
    /// Which month files there are, oldest first. Held for reading while a query reads files, for writing while rows or files go.
    layout: RwLock<Vec<MonthFile>>,
    writer: Mutex<Writer>,
    counters: Counters,
    step: Option<StepHook>,
}

/// What only the one who writes files needs.
struct Writer {
    state_path: PathBuf,
    state: Option<rusqlite::Connection>,
    months: Writers,
    /// `state.db` is damaged or gone: the next checkpoint makes a new one.
    renew: bool,
    /// A checkpoint failed and may have left rows behind, or even be complete.
    unfinished: Option<checkpoint::Snapshot>,
    night: maintain::Night,
}

#[derive(Debug, Default)]
struct Counters {
    samples_applied: AtomicU64,
    samples_refused: AtomicU64,
    blocks: AtomicU64,
    block_bytes: AtomicU64,
    block_samples: AtomicU64,
    pieces: AtomicU64,
    checkpoints: AtomicU64,
    checkpoint_failures: AtomicU64,
    checkpoint_micros: AtomicU64,
    damaged: AtomicU64,
    corrections: AtomicU64,
    merged: AtomicU64,
    files_deleted: AtomicU64,
    files_relieved: AtomicU64,
    /// Monotonic time that `checkpoint_due` counts from, plus 1; 0 when the next question sets it.
    due_from: AtomicU64,
}

/// How history is doing; numbers since start unless they say otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistoryStats {
    /// Samples taken over from the journal.
    pub samples_applied: u64,
    /// Samples with an impossible PointId.
    pub samples_refused: u64,
    /// Blocks written, without those of merges.
    pub blocks: u64,
    /// Bytes of those blocks.
    pub block_bytes: u64,
    /// Samples in those blocks.
    pub block_samples: u64,
    /// Pieces of open windows written.
    pub pieces: u64,
    /// Checkpoints made.
    pub checkpoints: u64,
    /// Checkpoints that failed; each is tried again.
    pub checkpoint_failures: u64,
    /// Duration of the last checkpoint, in microseconds.
    pub checkpoint_micros: u64,
    /// Damaged blocks, pieces and files met while reading; the same one counts each time.
    pub damaged: u64,
    /// Values that lost against a later one and differed.
    pub corrections: u64,
    /// Blocks that went into a merged one.
    pub merged: u64,
    /// Month files deleted.
    pub files_deleted: u64,
    /// Those of them that went because the disk was short.
    pub files_relieved: u64,
    /// Month files there are.
    pub files: u64,
    /// Bytes of samples in memory, now.
    pub head_bytes: u64,
    /// Journal entry up to which everything was taken over.
    pub position: Sequence,
    /// Journal entry up to which everything is in synced files.
    pub committed: Sequence,
}

impl History {
    /// Opens or creates the history in `folder`. Read the journal from the entry after [`Self::position`].
    ///
    /// # Errors
    /// When files cannot be created or are of a newer format. Damage is no error: what can be read is kept, a damaged
    /// file is put aside, and both are counted.
    pub fn open(folder: &Path, settings: HistorySettings, compliance: ComplianceOf) -> Result<Self, StoreError> {
        Self::open_with(folder, settings, compliance, None)
    }

    pub(crate) fn open_with(
        folder: &Path,
        settings: HistorySettings,
        compliance: ComplianceOf,
        step: Option<StepHook>,
    ) -> Result<Self, StoreError> {
        std::fs::create_dir_all(folder).map_err(|error| StoreError::Io { path: folder.to_owned(), error })?;
        let counters = Counters::default();
        let state_path = folder.join("state.db");
        let load = |head: &mut Head| {
            let state = state::open(&state_path)?;
            let damaged = state::load(&state, head, &*compliance)?;
            Ok::<_, StoreError>((state, damaged))
        };
        state::settle(&state_path)?;
        let mut head = Head::default();
        let mut renew = false;
        let state = match state_path.exists().then(|| load(&mut head)) {
            None => None,
            Some(Ok((state, damaged))) => {
                counters.damaged.fetch_add(damaged, Ordering::Relaxed);
                renew = damaged > 0;
                Some(state)
            }
            Some(Err(error)) if files::is_damage(&error) => {
                tracing::error!(path = %state_path.display(), error = %error, "state of history is damaged, starting a new one from what it still has, blocks and journal");
                counters.damaged.fetch_add(1, Ordering::Relaxed);
                head = Head::default();
                match state::salvage(&state_path, &mut head, &*compliance) {
                    Ok(lost) => {
                        counters.damaged.fetch_add(lost, Ordering::Relaxed);
                        tracing::warn!(points = head.slots().count(), damaged = lost, "open windows were read from the damaged state");
                    }
                    Err(error) => {
                        tracing::error!(error = %error, "nothing can be read from the damaged state; open windows are lost where the journal does not have them")
                    }
                }
                None
            }
            Some(Err(error)) => return Err(error),
        };
        let files = Files::new(folder);
        let mut months = Writers::default();
        let mut layout = Vec::new();
        let keys = files.list()?;
        let state = match state {
            Some(state) => state,
            None => {
                // Without its state nothing is known to be uncommitted; what the journal still has is replayed and merged.
                for &key in &keys {
                    let checkpoint = months.get(&files, key).and_then(|connection| files::last_checkpoint(connection));
                    head.checkpoint = head.checkpoint.max(checkpoint.unwrap_or(0));
                }
                let told = |name| step.as_ref().map_or(Ok(()), |hook| hook(name));
                state::replace(&state_path, told, |connection| state::store(connection, &mut head))?
            }
        };
        for key in keys {
            let result = months.get(&files, key).and_then(|connection| {
                let undone = files::undo_checkpoint(connection, head.checkpoint);
                undone.and_then(|()| files::has_skewed(connection))
            });
            match result {
                Ok(skewed) => layout.push(MonthFile { key, skewed }),
                Err(error) if files::is_damage(&error) => {
                    tracing::error!(path = %files.path(key).display(), error = %error, "month file is damaged");
                    counters.damaged.fetch_add(1, Ordering::Relaxed);
                    layout.push(MonthFile { key, skewed: true });
                }
                Err(error) => return Err(error),
            }
        }
        let writer = Writer { state_path, state: Some(state), months, renew, unfinished: None, night: maintain::Night::default() };
        Ok(Self {
            inner: Arc::new(Inner {
                settings,
                compliance,
                head: Mutex::new(head),
                files,
                layout: RwLock::new(layout),
                writer: Mutex::new(writer),
                counters,
                step,
            }),
        })
    }

    /// Everything up to this journal entry was taken over; go on with the next.
    pub fn position(&self) -> Sequence {
        self.inner.head().position
    }

    /// Takes over the samples of a journal entry. An entry at or before [`Self::position`] was taken over before and
    /// is passed over.
    pub fn apply(&self, sequence: Sequence, record: &SampleRecord) {
        self.apply_samples(sequence, &record.samples);
    }

    /// Takes over samples that came with the journal entry `sequence`, as [`Self::apply`].
    pub fn apply_samples(&self, sequence: Sequence, samples: &[Sample]) {
        let inner = &*self.inner;
        let mut head = inner.head();
        if sequence <= head.position {
            return;
        }
        head.position = sequence;
        head.version += 1;
        head.journal_samples += samples.len() as u64;
        for sample in samples {
            if sample.point.index() < POINTS_MAX {
                head.push(sequence, sample, &*inner.compliance);
            } else {
                inner.counters.samples_refused.fetch_add(1, Ordering::Relaxed);
            }
        }
        inner.counters.samples_applied.fetch_add(samples.len() as u64, Ordering::Relaxed);
    }

    /// Passes over journal entries that hold no samples, or cannot be read, up to `sequence`.
    pub fn skip_to(&self, sequence: Sequence) {
        let mut head = self.inner.head();
        head.position = head.position.max(sequence);
    }

    /// So many bytes of the journal were read, to tell when a checkpoint is due.
    pub fn journal_read(&self, bytes: u64) {
        let mut head = self.inner.head();
        head.journal_bytes = head.journal_bytes.saturating_add(bytes);
    }

    /// Whether a checkpoint is due: by time, by bytes of the journal or samples, or because the head is full.
    pub fn checkpoint_due(&self, now: Now) -> bool {
        let inner = &*self.inner;
        let from = inner.counters.due_from.load(Ordering::Relaxed);
        if from == 0 {
            inner.counters.due_from.store(now.monotonic_ms.saturating_add(1), Ordering::Relaxed);
        } else if now.monotonic_ms.saturating_add(1).saturating_sub(from) >= inner.settings.checkpoint_ms {
            return true;
        }
        let head = inner.head();
        head.journal_bytes >= inner.settings.checkpoint_bytes
            || head.journal_samples >= inner.settings.checkpoint_samples
            || head.open_bytes + head.closed_bytes >= inner.settings.head_bytes
    }

    /// Writes everything taken over so far to synced files; the journal up to the returned entry is not needed any
    /// more.
    ///
    /// # Errors
    /// When a file could not be written. Nothing is lost then: all stays in memory and in the journal; try later.
    pub fn checkpoint(&self) -> Result<Sequence, StoreError> {
        checkpoint::run(&self.inner)
    }

    /// The disk is short: deletes the oldest month of samples that are not compliance records, before its time. Whether
    /// there was one: the two newest months lived through stay, as do those that are present and previous by `now`.
    ///
    /// # Errors
    /// When a file could not be read or deleted.
    pub fn relieve(&self, now: UtcMillis) -> Result<bool, StoreError> {
        maintain::relieve(&self.inner, now)
    }

    /// One slice of the nightly work: retention, then merging of small blocks. True when there is more to do; call
    /// again then, between entries of the journal.
    ///
    /// # Errors
    /// When a file could not be read or written; the rest is done in another night.
    pub fn maintain(&self, now: UtcMillis) -> Result<bool, StoreError> {
        maintain::slice(&self.inner, now)
    }

    /// How it is doing.
    pub fn stats(&self) -> HistoryStats {
        let inner = &*self.inner;
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &inner.counters;
        let files = inner.layout().len() as u64;
        let head = inner.head();
        HistoryStats {
            samples_applied: load(&counters.samples_applied),
            samples_refused: load(&counters.samples_refused),
            blocks: load(&counters.blocks),
            block_bytes: load(&counters.block_bytes),
            block_samples: load(&counters.block_samples),
            pieces: load(&counters.pieces),
            checkpoints: load(&counters.checkpoints),
            checkpoint_failures: load(&counters.checkpoint_failures),
            checkpoint_micros: load(&counters.checkpoint_micros),
            damaged: load(&counters.damaged),
            corrections: load(&counters.corrections),
            merged: load(&counters.merged),
            files_deleted: load(&counters.files_deleted),
            files_relieved: load(&counters.files_relieved),
            files,
            head_bytes: (head.open_bytes + head.closed_bytes) as u64,
            position: head.position,
            committed: head.committed,
        }
    }

    /// Values that lost against a later one with the same key time and differed, month by month in the order they were
    /// noticed: when the window of the winner became a block.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn corrections(&self) -> Result<Vec<Correction>, StoreError> {
        let layout = self.inner.layout();
        let mut rows = Vec::new();
        for file in layout.iter() {
            rows.extend(self.inner.files.read(file.key, files::corrections)?);
        }
        Ok(rows)
    }
}

impl RecordView for History {
    fn latest(&self, point: PointId) -> Option<Sample> {
        self.inner.head().slot(point).map(|slot| slot.latest).filter(|sample| sample.record_time.0 != i64::MIN)
    }

    fn latest_since(&self, version: u64) -> (u64, Vec<Sample>) {
        let head = self.inner.head();
        let changed = head.slots().filter(|slot| slot.version > version && slot.latest.record_time.0 != i64::MIN);
        (head.version, changed.map(|slot| slot.latest).collect())
    }

    fn scan(&self, point: PointId, from: UtcMillis, to: UtcMillis, limit: usize) -> Result<Vec<Sample>, StoreError> {
        query::scan(&query::Reading::new(&self.inner), point, from, to, limit)
    }

    fn buckets(&self, point: PointId, edges: &[UtcMillis]) -> Result<Vec<Bucket>, StoreError> {
        query::buckets(&query::Reading::new(&self.inner), point, edges)
    }

    fn scan_noting(
        &self,
        point: PointId,
        from: UtcMillis,
        to: UtcMillis,
        limit: usize,
        left_out: &mut u64,
    ) -> Result<Vec<Sample>, StoreError> {
        let reading = query::Reading::new(&self.inner);
        let samples = query::scan(&reading, point, from, to, limit)?;
        *left_out = left_out.saturating_add(reading.left_out());
        Ok(samples)
    }

    fn buckets_noting(&self, point: PointId, edges: &[UtcMillis], left_out: &mut u64) -> Result<Vec<Bucket>, StoreError> {
        let reading = query::Reading::new(&self.inner);
        let buckets = query::buckets(&reading, point, edges)?;
        *left_out = left_out.saturating_add(reading.left_out());
        Ok(buckets)
    }

    fn samples_applied(&self) -> u64 {
        self.inner.counters.samples_applied.load(Ordering::Relaxed)
    }
}

impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("History").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl Inner {
    fn head(&self) -> MutexGuard<'_, Head> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn layout(&self) -> std::sync::RwLockReadGuard<'_, Vec<MonthFile>> {
        self.layout.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change_layout<T>(&self, change: impl FnOnce(&mut Vec<MonthFile>) -> T) -> T {
        let mut layout = self.layout.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut layout)
    }

    /// A step that a crash may come before.
    fn step(&self, name: &'static str) -> Result<(), StoreError> {
        self.step.as_ref().map_or(Ok(()), |hook| hook(name))
    }

    /// Reports and counts damage that was read around.
    fn damage(&self, what: &str) {
        self.counters.damaged.fetch_add(1, Ordering::Relaxed);
        tracing::error!(what, "damaged block left out");
    }
}

/// Renames a damaged file and its log out of the way, keeping it for a person to look at.
fn put_aside(path: &Path) -> Result<(), StoreError> {
    let text = path.as_os_str().to_owned();
    let with = |end: &str| {
        let mut name = text.clone();
        name.push(end);
        PathBuf::from(name)
    };
    let number = (0u32..).find(|number| !with(&format!(".damaged.{number}")).exists()).unwrap_or(0);
    for end in ["", "-wal", "-shm"] {
        let from = with(end);
        if from.exists() {
            std::fs::rename(&from, with(&format!("{end}.damaged.{number}")))
                .map_err(|error| StoreError::Io { path: from.clone(), error })?;
        }
    }
    Ok(())
}
