//! The writing side: the pending buffer that appends go to, and the thread that commits it.
//!
//! As soon as the last sync returned, everything that waits goes out in one write and one sync; there is no timer. The
//! thread alone numbers entries, so that what never reached the disk takes no number.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot, watch};
use tracing::{error, info, warn};

use super::file::{FileHandle, FileLayer};
use super::frame::{self, HEADER_BYTES, Header};
use super::segment::{PREPARED_NAME, Segment, Segments, segment_path};
use super::{AppendError, JournalSettings, Sequence};
use crate::clock::Clock;
use crate::metrics::Metrics;

/// Bytes that may wait for the disk. At or above it [`super::Journal::ready`] waits and an append is refused.
pub const PENDING_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Kept free at the end of a segment: one that is filled to the last byte was cut there on purpose, by a good end.
const END_BYTES: u64 = 8;
/// Smallest segment made when room is short (or the configured size, where that is smaller).
const SEGMENT_BYTES_MIN: u64 = 256 * 1024;
/// First and longest pause between tries while the journal cannot write.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(2));
/// Damaged places remembered so that each is counted once; further ones are counted each time they are met.
const DAMAGE_REMEMBERED: usize = 4096;

/// What all handles, the writer and the readers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub directory: PathBuf,
    pub settings: JournalSettings,
    pub layer: Arc<dyn FileLayer>,
    pub metrics: Metrics,
    pending: Mutex<Pending>,
    /// Wakes the writer: something to write, room again, or the end.
    wake: Condvar,
    /// Wakes those who wait for room in the pending buffer.
    room: Notify,
    segments: Mutex<Segments>,
    durable: watch::Sender<Sequence>,
    full: Mutex<Option<AppendError>>,
    pub appended_bytes: AtomicU64,
    damage: Mutex<std::collections::BTreeSet<u64>>,
}

#[derive(Debug, Default)]
struct Pending {
    /// Frames one after another, without sequence and CRC.
    buffer: Vec<u8>,
    entries: Vec<Waiting>,
    /// Bytes handed to the writer and not yet durable.
    in_flight: usize,
    closing: bool,
    /// Room may have come: try again now.
    retry: bool,
}

/// One entry on its way.
#[derive(Debug)]
struct Waiting {
    /// Bytes of its frame.
    bytes: usize,
    tell: oneshot::Sender<Result<Sequence, AppendError>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub fn new(directory: PathBuf, settings: JournalSettings, layer: Arc<dyn FileLayer>, metrics: Metrics, segments: Segments) -> Self {
        let durable = watch::Sender::new(Sequence(segments.durable));
        Self {
            directory,
            settings,
            layer,
            metrics,
            pending: Mutex::default(),
            wake: Condvar::new(),
            room: Notify::new(),
            segments: Mutex::new(segments),
            durable,
            full: Mutex::new(None),
            appended_bytes: AtomicU64::new(0),
            damage: Mutex::default(),
        }
    }

    pub fn segments(&self) -> MutexGuard<'_, Segments> {
        lock(&self.segments)
    }

    pub fn durable(&self) -> &watch::Sender<Sequence> {
        &self.durable
    }

    /// Why nothing can be written just now.
    pub fn full(&self) -> Option<AppendError> {
        lock(&self.full).clone()
    }

    fn set_full(&self, reason: Option<AppendError>) {
        let mut full = lock(&self.full);
        match (&*full, &reason) {
            (None, Some(reason)) => error!(error = %reason, "journal takes nothing, devices get no answer until it can"),
            (Some(_), None) => info!("journal writes again"),
            _ => {}
        }
        self.metrics.journal_full.set(i64::from(reason.is_some()));
        *full = reason;
    }

    /// Counts a lost range, once.
    pub fn note_damage(&self, from: u64, to: u64) {
        let mut damage = lock(&self.damage);
        if !damage.contains(&from) {
            if damage.len() < DAMAGE_REMEMBERED {
                damage.insert(from);
            }
            self.metrics.journal_damage.inc();
            error!(from, to, "journal entries cannot be read, skipped");
        }
    }

    /// Queues one frame; `write` appends the body.
    pub fn append(&self, write: impl FnOnce(&mut Vec<u8>)) -> oneshot::Receiver<Result<Sequence, AppendError>> {
        let (tell, receipt) = oneshot::channel();
        let mut pending = lock(&self.pending);
        let before = pending.buffer.len();
        let refused = if pending.closing {
            Some(AppendError::Closed)
        } else if pending.bytes() >= PENDING_BYTES_MAX {
            Some(self.full().unwrap_or(AppendError::Busy))
        } else {
            frame::open_frame(&mut pending.buffer, write).err().map(|bytes| AppendError::TooLarge { bytes })
        };
        if let Some(reason) = refused {
            drop(pending);
            let _ = tell.send(Err(reason));
            return receipt;
        }
        let bytes = pending.buffer.len() - before;
        let idle = pending.entries.is_empty();
        pending.entries.push(Waiting { bytes, tell });
        drop(pending);
        if idle {
            self.wake.notify_all();
        }
        receipt
    }

    /// Waits until an append is not refused for want of room.
    pub async fn ready(&self) {
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            // Enrolled before the look, so that room made in between is not missed.
            room.as_mut().enable();
            {
                let pending = lock(&self.pending);
                if pending.closing || pending.bytes() < PENDING_BYTES_MAX {
                    return;
                }
            }
            room.await;
        }
    }

    /// Tells the writer to finish.
    pub fn start_close(&self) {
        lock(&self.pending).closing = true;
        self.wake.notify_all();
        self.room.notify_waiters();
    }

    /// Tells the writer that there may be room again.
    pub fn retry(&self) {
        lock(&self.pending).retry = true;
        self.wake.notify_all();
    }

    /// Bytes that segments may still take: by the budget and by the file system's free space.
    pub fn room_bytes(&self) -> std::io::Result<u64> {
        let used = self.segments().bytes();
        let free = self.layer.free_bytes(&self.directory)?;
        Ok(self.settings.budget_bytes.saturating_sub(used).min(free.saturating_sub(self.settings.reserve_bytes)))
    }

    /// See [`super::Journal::is_short_of_space`].
    pub fn is_short_of_space(&self) -> bool {
        let wanted = self.settings.reserve_bytes.saturating_add(self.settings.segment_bytes.saturating_mul(2));
        self.layer.free_bytes(&self.directory).is_ok_and(|free| free < wanted)
    }

    pub fn publish_sizes(&self) {
        let segments = self.segments();
        self.metrics.journal_bytes.set(i64::try_from(segments.bytes()).unwrap_or(i64::MAX));
        self.metrics.journal_segments.set(i64::try_from(segments.list.len()).unwrap_or(i64::MAX));
    }
}

impl Pending {
    fn bytes(&self) -> usize {
        self.buffer.len() + self.in_flight
    }
}

/// The segment that is written to.
#[derive(Debug)]
struct Active {
    file: Arc<dyn FileHandle>,
    first: u64,
    offset: u64,
    size: u64,
}

/// A preallocated file without a name of its own yet.
#[derive(Debug)]
struct Prepared {
    file: Arc<dyn FileHandle>,
    size: u64,
}

/// The writer thread's own state.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    active: Option<Active>,
    prepared: Option<Prepared>,
    /// Sequence of the next entry.
    next: u64,
}

impl Writer {
    pub fn new(shared: Arc<Shared>, clock: Arc<dyn Clock>, next: u64) -> Self {
        Self { shared, clock, active: None, prepared: None, next }
    }

    /// Commits until the journal is closed and nothing waits.
    pub fn run(mut self) {
        let (mut buffer, mut entries) = (Vec::new(), Vec::new());
        while self.take(&mut buffer, &mut entries) {
            self.commit(&mut buffer, &mut entries);
            self.prepare_ahead();
        }
        // A segment without a preallocated tail tells the next start that this one ended well.
        self.retire();
        self.drop_prepared();
    }

    /// Waits for something to write and takes all of it; false when there is nothing and never will be.
    fn take(&self, buffer: &mut Vec<u8>, entries: &mut Vec<Waiting>) -> bool {
        let mut pending = lock(&self.shared.pending);
        while pending.entries.is_empty() {
            if pending.closing {
                return false;
            }
            pending = self.shared.wake.wait(pending).unwrap_or_else(PoisonError::into_inner);
        }
        buffer.clear();
        entries.clear();
        std::mem::swap(&mut pending.buffer, buffer);
        std::mem::swap(&mut pending.entries, entries);
        pending.in_flight = buffer.len();
        true
    }

    /// Makes every entry durable and tells so; while that cannot be done it waits and tries again, until the journal
    /// is closed.
    fn commit(&mut self, buffer: &mut [u8], entries: &mut Vec<Waiting>) {
        let mut rest = buffer;
        let mut pause = BACK_OFF.0;
        while !entries.is_empty() {
            match self.write_some(rest, entries) {
                Ok((count, bytes)) => {
                    pause = BACK_OFF.0;
                    rest = rest.get_mut(bytes..).unwrap_or_default();
                    self.publish(entries.drain(..count), bytes);
                }
                Err(reason) => {
                    self.shared.set_full(Some(reason.clone()));
                    if !self.wait_to_retry(pause) {
                        let bytes = rest.len();
                        for waiting in entries.drain(..) {
                            let _ = waiting.tell.send(Err(reason.clone()));
                        }
                        self.settle(bytes);
                        return;
                    }
                    pause = pause.saturating_mul(2).min(BACK_OFF.1);
                }
            }
        }
    }

    /// Entries that are durable now: numbers them, lets readers at them, tells their owners.
    fn publish(&mut self, entries: std::vec::Drain<'_, Waiting>, bytes: usize) {
        let first = self.next;
        self.next = first.saturating_add(entries.len() as u64);
        let durable = self.next.saturating_sub(1);
        {
            let mut segments = self.shared.segments();
            segments.durable = durable;
            if let (Some(active), Some(last)) = (&self.active, segments.list.back_mut()) {
                last.end = active.offset;
            }
        }
        self.shared.set_full(None);
        self.shared.durable.send_replace(Sequence(durable));
        self.shared.appended_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.shared.metrics.journal_appended.inc_by(bytes as u64);
        for (sequence, waiting) in (first..).zip(entries) {
            let _ = waiting.tell.send(Ok(Sequence(sequence)));
        }
        self.settle(bytes);
    }

    /// Bytes that are no longer in flight make room.
    fn settle(&self, bytes: usize) {
        let mut pending = lock(&self.shared.pending);
        pending.in_flight = pending.in_flight.saturating_sub(bytes);
        drop(pending);
        self.shared.room.notify_waiters();
    }

    /// Pauses until there may be room; false when the journal is closing.
    fn wait_to_retry(&self, pause: Duration) -> bool {
        let pending = lock(&self.shared.pending);
        let blocked = |pending: &mut Pending| !pending.closing && !pending.retry;
        let (mut pending, _) = self.shared.wake.wait_timeout_while(pending, pause, blocked).unwrap_or_else(PoisonError::into_inner);
        pending.retry = false;
        !pending.closing
    }

    /// Writes and syncs as many of the waiting entries as the segment takes, at least one. A segment that failed is left
    /// for ever and the same entries go into a new one; only when that fails too, this fails.
    fn write_some(&mut self, buffer: &mut [u8], entries: &[Waiting]) -> Result<(usize, usize), AppendError> {
        let first_bytes = entries.first().map_or(0, |entry| entry.bytes) as u64;
        let mut failure = None;
        for _ in 0..2 {
            if self.active.as_ref().is_some_and(|active| !active.fits(first_bytes)) {
                self.retire();
            }
            let mut active = match self.active.take() {
                Some(active) => active,
                None => self.roll(first_bytes)?,
            };
            let (mut count, mut bytes) = (0usize, 0usize);
            for entry in entries {
                let with = bytes.saturating_add(entry.bytes);
                if !active.fits(with as u64) {
                    break;
                }
                let frame = buffer.get_mut(bytes..with).unwrap_or_default();
                count = count.saturating_add(1);
                let number = (count as u64).saturating_sub(1);
                frame::seal(frame, self.next.saturating_add(number), u32::try_from(count).unwrap_or(u32::MAX));
                bytes = with;
            }
            let run = buffer.get(..bytes).unwrap_or_default();
            match self.write_and_sync(&active, run) {
                Ok(()) => {
                    active.offset = active.offset.saturating_add(bytes as u64);
                    self.active = Some(active);
                    return Ok((count, bytes));
                }
                Err(error) => {
                    self.shared.metrics.journal_sync_failures.inc();
                    let path = segment_path(&self.shared.directory, active.first);
                    warn!(segment = %path.display(), error = %error, "journal segment failed, going on in a new one");
                    failure = Some(AppendError::Io(format!("{}: {error}", path.display())));
                }
            }
        }
        Err(failure.unwrap_or(AppendError::Closed))
    }

    fn write_and_sync(&self, active: &Active, run: &[u8]) -> std::io::Result<()> {
        active.file.write_at(run, active.offset)?;
        let start = Instant::now();
        active.file.sync_data()?;
        self.shared.metrics.journal_sync.observe(start.elapsed().as_secs_f64());
        Ok(())
    }

    /// A new segment that takes at least `need` bytes of frames.
    fn roll(&mut self, need: u64) -> Result<Active, AppendError> {
        let need = need.saturating_add(HEADER_BYTES as u64).saturating_add(END_BYTES);
        if self.prepared.as_ref().is_some_and(|prepared| prepared.size < need) {
            self.drop_prepared();
        }
        let prepared = match self.prepared.take() {
            Some(prepared) => prepared,
            None => self.prepare(need)?,
        };
        self.shared.segments().prepared_bytes = 0;
        let path = segment_path(&self.shared.directory, self.next);
        self.name(&prepared, &path).map_err(|error| AppendError::Io(format!("{}: {error}", path.display())))?;
        let end = HEADER_BYTES as u64;
        self.shared.segments().push(Segment { id: 0, first: self.next, path, size: prepared.size, end });
        self.shared.publish_sizes();
        Ok(Active { file: prepared.file, first: self.next, offset: end, size: prepared.size })
    }

    /// Gives a prepared file its header and its name; one of that name held nothing durable and is replaced.
    fn name(&self, prepared: &Prepared, path: &std::path::Path) -> std::io::Result<()> {
        let header = Header { version: frame::VERSION, first: self.next, created: self.clock.now().utc.0 };
        prepared.file.write_at(&header.to_bytes(frame::MAGIC), 0)?;
        prepared.file.sync_data()?;
        self.shared.layer.rename(&self.shared.directory.join(PREPARED_NAME), path)?;
        self.shared.layer.sync_dir(&self.shared.directory)
    }

    /// Makes a preallocated file of the usual size, or a smaller one when room is short.
    fn prepare(&self, need: u64) -> Result<Prepared, AppendError> {
        let path = self.shared.directory.join(PREPARED_NAME);
        let io = |error: std::io::Error| AppendError::Io(format!("{}: {error}", path.display()));
        let room = self.shared.room_bytes().map_err(io)?;
        let wanted = self.shared.settings.segment_bytes.max(need);
        let size = wanted.min(room);
        let least = SEGMENT_BYTES_MIN.min(self.shared.settings.segment_bytes).max(need);
        if size < least {
            return Err(AppendError::Full(format!(
                "{room} bytes left of its budget and the disk's free space, a segment needs {least}; \
                 free disk space or raise the journal's budget"
            )));
        }
        let file = self.shared.layer.create(&path).map_err(io)?;
        if let Err(error) = file.allocate(size) {
            let _ = self.shared.layer.remove(&path);
            return Err(if error.kind() == std::io::ErrorKind::StorageFull { AppendError::Full(error.to_string()) } else { io(error) });
        }
        Ok(Prepared { file, size })
    }

    /// Prepares the next segment once the present one is half full, so that the roll need not wait for space. Not
    /// needed to go well: the roll tries again.
    fn prepare_ahead(&mut self) {
        let half_full = self.active.as_ref().is_some_and(|active| active.offset >= active.size / 2);
        let size = self.shared.settings.segment_bytes;
        if !half_full || self.prepared.is_some() || !self.shared.room_bytes().is_ok_and(|room| room >= size) {
            return;
        }
        if let Ok(prepared) = self.prepare(size) {
            self.shared.segments().prepared_bytes = prepared.size;
            self.prepared = Some(prepared);
            self.shared.publish_sizes();
        }
    }

    fn drop_prepared(&mut self) {
        if self.prepared.take().is_some() {
            let _ = self.shared.layer.remove(&self.shared.directory.join(PREPARED_NAME));
            self.shared.segments().prepared_bytes = 0;
        }
    }

    /// Ends the active segment: gives back the space it does not use.
    fn retire(&mut self) {
        let Some(active) = self.active.take() else { return };
        if active.file.set_len(active.offset).and_then(|()| active.file.sync_data()).is_ok()
            && let Some(last) = self.shared.segments().list.back_mut()
        {
            last.size = active.offset;
        }
    }
}

impl Active {
    fn fits(&self, bytes: u64) -> bool {
        self.offset.saturating_add(bytes).saturating_add(END_BYTES) <= self.size
    }
}
