//! The head: what was taken from the journal and is not in blocks yet. One open window per point, and one for late
//! samples; latest values of all points. Pure memory: no file, no clock.
//!
//! Samples go by their *key time* (source time, else record time). A point's main windows follow each other: when one
//! closes, the point's `floor` rises above all its key times, and what comes below the floor is late and goes to the
//! late window, one at a time. So no key time is in two main windows, and a key time that is in a main and in a late
//! window came to the late one later. Late windows follow each other in sequence. Hence of two samples with one key time
//! the one of greater rank `(late, last sequence, first sequence, place)` of its window is the one that was written
//! later, and within one window the one that was appended later.

use parkgate_collector::journal::Sequence;
use parkgate_collector::model::{PointId, Sample, Status, UtcMillis};

use super::block::Rank;
use super::month::{HOUR_MS, Month};
use super::run::{Decoder, Encoder};
use super::{HOUR_SAMPLES_MIN, WINDOW_SAMPLES};

/// A latest sample that lies further than this after the time a new one was received came from a clock that ran ahead,
/// and the new one takes its place. What devices' clocks are commonly off is less.
const AHEAD_MAX_MS: i64 = 5 * 60_000;
/// So many pieces of one window are written as one.
pub(super) const PIECES_MAX: u32 = 16;

/// Samples of one point that become one block.
#[derive(Clone, Debug)]
pub(super) struct Window {
    /// Number within this run of the program.
    pub(super) id: u64,
    pub(super) point: PointId,
    pub(super) late: bool,
    pub(super) compliance: bool,
    pub(super) month: Month,
    pub(super) bytes: Vec<u8>,
    pub(super) samples: u32,
    pub(super) start: UtcMillis,
    pub(super) end: UtcMillis,
    pub(super) key_start: UtcMillis,
    pub(super) key_end: UtcMillis,
    pub(super) sequence_first: Sequence,
    pub(super) sequence_last: Sequence,
    /// A sample's key time is not its record time.
    pub(super) skewed: bool,
    /// Bytes of the front that are on disk as pieces, and how many pieces they are.
    pub(super) written: usize,
    pub(super) pieces: u32,
    month_start: UtcMillis,
    month_end: UtcMillis,
    encoder: Encoder,
}

impl Window {
    fn open(id: u64, late: bool, compliance: bool, sample: &Sample, sequence: Sequence) -> Self {
        let month = Month::of(sample.record_time);
        Self {
            id,
            point: sample.point,
            late,
            compliance,
            month,
            bytes: Vec::new(),
            samples: 0,
            start: sample.record_time,
            end: sample.record_time,
            key_start: sample.key_time(),
            key_end: sample.key_time(),
            sequence_first: sequence,
            sequence_last: sequence,
            skewed: false,
            written: 0,
            pieces: 0,
            month_start: month.start(),
            month_end: month.end(),
            encoder: Encoder::default(),
        }
    }

    fn push(&mut self, sequence: Sequence, sample: &Sample) {
        let key = sample.key_time();
        self.encoder.push(&mut self.bytes, sequence, sample);
        self.samples += 1;
        self.start = self.start.min(sample.record_time);
        self.end = self.end.max(sample.record_time);
        self.key_start = self.key_start.min(key);
        self.key_end = self.key_end.max(key);
        // Lower than before where the journal is gone through again after damage.
        self.sequence_last = self.sequence_last.max(sequence);
        self.skewed |= key != sample.record_time;
    }

    /// Whether the window has to close before `sample`: at the end of its month, and at the hour where hours fill
    /// blocks of their own; those of slow points would be too small.
    fn ends_before(&self, sample: &Sample) -> bool {
        let hour = self.end.floor_to(HOUR_MS);
        sample.record_time < self.month_start
            || sample.record_time >= self.month_end && self.month_end.0 != i64::MAX
            || self.samples >= HOUR_SAMPLES_MIN && sample.record_time >= hour.plus(HOUR_MS) && self.start >= hour.plus(-HOUR_MS)
    }

    /// Its samples in order of arrival.
    pub(super) fn decode(&self) -> Decoder<'_> {
        Decoder::new(self.point, &self.bytes)
    }

    /// See [`super::block::Stats::rank`]; windows come after all rows, in the order they were opened.
    pub(super) fn rank(&self) -> Rank {
        (self.late, self.sequence_last, self.sequence_first, i64::MAX / 2 + self.id as i64)
    }

    /// What is not on disk yet: number of the piece and its bytes. Piece 0 replaces all that there are.
    pub(super) fn gain(&self) -> (u32, &[u8]) {
        let (piece, from) = if self.pieces < PIECES_MAX { (self.pieces, self.written) } else { (0, 0) };
        (piece, self.bytes.get(from..).unwrap_or_default())
    }

    /// What comes next starts afresh, so that the bytes so far can be written as a piece.
    pub(super) fn cut(&mut self) {
        self.encoder.reset();
    }
}

/// One point's place in the head.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) compliance: bool,
    /// Key times below are late.
    pub(super) floor: UtcMillis,
    /// The one of the latest record time; of a clock that ran ahead only until the next sample.
    pub(super) latest: Sample,
    /// Version of the head when `latest` changed.
    pub(super) version: u64,
    /// `latest` or `floor` changed since the last snapshot.
    pub(super) dirty: bool,
    pub(super) main: Option<Window>,
    pub(super) late: Option<Box<Window>>,
}

impl Slot {
    pub(super) fn new(compliance: bool, floor: UtcMillis, latest: Sample) -> Self {
        Self { compliance, floor, latest, version: 0, dirty: false, main: None, late: None }
    }

    /// The open windows.
    pub(super) fn windows(&self) -> impl Iterator<Item = &Window> {
        self.main.iter().chain(self.late.as_deref())
    }

    /// The open windows, to change.
    pub(super) fn windows_mut(&mut self) -> impl Iterator<Item = &mut Window> {
        self.main.iter_mut().chain(self.late.as_deref_mut())
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Head {
    slots: Vec<Option<Slot>>,
    /// Closed windows on their way to blocks, oldest first.
    pub(super) closed: Vec<std::sync::Arc<Window>>,
    /// Everything up to here was taken over.
    pub(super) position: Sequence,
    /// Everything up to here is in synced files.
    pub(super) committed: Sequence,
    /// Grows with every record taken over.
    pub(super) version: u64,
    /// Blocks of checkpoints up to this one are in files; later ones are still here.
    pub(super) checkpoint: u64,
    /// Bytes of the journal read since the last snapshot, and samples taken over.
    pub(super) journal_bytes: u64,
    pub(super) journal_samples: u64,
    /// Bytes of open and of closed windows.
    pub(super) open_bytes: usize,
    pub(super) closed_bytes: usize,
    windows_opened: u64,
}

impl Head {
    /// The slot of a point that was seen.
    pub(super) fn slot(&self, point: PointId) -> Option<&Slot> {
        self.slots.get(point.index())?.as_ref()
    }

    /// The slot of a point that was seen, to change.
    pub(super) fn slot_mut(&mut self, point: PointId) -> Option<&mut Slot> {
        self.slots.get_mut(point.index())?.as_mut()
    }

    /// All slots in order of their points.
    pub(super) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().flatten()
    }

    /// All slots, to change.
    pub(super) fn slots_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.slots.iter_mut().flatten()
    }

    /// Puts a slot back that was read from disk.
    pub(super) fn restore(&mut self, point: PointId, slot: Slot) {
        let index = point.index();
        if self.slots.len() <= index {
            let (length, more) = (self.slots.len(), index + 1 - self.slots.len());
            if self.slots.capacity() <= index {
                // Not by half of them, which is much for many points.
                self.slots.reserve_exact(more.max(length / 8));
            }
            self.slots.resize_with(index + 1, || None);
        }
        self.slots[index] = Some(slot);
    }

    /// Takes one sample over. `compliance` is asked once per point.
    pub(super) fn push(&mut self, sequence: Sequence, sample: &Sample, compliance: &dyn Fn(PointId) -> bool) {
        let index = sample.point.index();
        if self.slots.get(index).is_none_or(Option::is_none) {
            self.restore(sample.point, Slot::new(compliance(sample.point), UtcMillis(i64::MIN), *sample));
        }
        let Some(Some(slot)) = self.slots.get_mut(index) else { return };
        let ahead = slot.latest.record_time > sample.received_time.plus(AHEAD_MAX_MS);
        if ahead || sample.record_time >= slot.latest.record_time || sample.key_time() == slot.latest.key_time() {
            slot.latest = *sample;
            slot.version = self.version;
        }
        slot.dirty = true;
        if slot.main.as_ref().is_some_and(|window| sample.key_time() >= slot.floor && window.ends_before(sample)) {
            let window = slot.main.take().expect("just seen");
            // An hour that is over takes no more samples, so that its blocks stay apart from the next hour's.
            if !window.skewed && sample.key_time() == sample.record_time {
                slot.floor = slot.floor.max(sample.record_time.floor_to(HOUR_MS));
            }
            close(window, slot_floor(&mut slot.floor), &mut self.closed, &mut self.open_bytes, &mut self.closed_bytes);
        }
        let late = sample.key_time() < slot.floor;
        if late && slot.late.as_ref().is_some_and(|window| window.ends_before(sample)) {
            let window = slot.late.take().expect("just seen");
            close(*window, None, &mut self.closed, &mut self.open_bytes, &mut self.closed_bytes);
        }
        let mut open = || {
            self.windows_opened += 1;
            Window::open(self.windows_opened, late, slot.compliance, sample, sequence)
        };
        let window = if late { slot.late.get_or_insert_with(|| Box::new(open())).as_mut() } else { slot.main.get_or_insert_with(open) };
        let before = window.bytes.len();
        window.push(sequence, sample);
        self.open_bytes += window.bytes.len() - before;
        if window.samples >= WINDOW_SAMPLES {
            let (window, floor) =
                if late { (slot.late.take().map(|window| *window), None) } else { (slot.main.take(), slot_floor(&mut slot.floor)) };
            if let Some(window) = window {
                close(window, floor, &mut self.closed, &mut self.open_bytes, &mut self.closed_bytes);
            }
        }
    }

    /// Puts an open window back that was read from disk as pieces.
    pub(super) fn restore_window(&mut self, point: PointId, late: bool, bytes: Vec<u8>, pieces: u32) -> bool {
        let Some(Some(slot)) = self.slots.get_mut(point.index()) else { return false };
        let mut restored: Option<Window> = None;
        let mut decoder = Decoder::new(point, &bytes);
        for (sequence, sample) in decoder.by_ref() {
            let window = restored.get_or_insert_with(|| {
                self.windows_opened += 1;
                Window::open(self.windows_opened, late, slot.compliance, &sample, sequence)
            });
            window.samples += 1;
            window.start = window.start.min(sample.record_time);
            window.end = window.end.max(sample.record_time);
            window.key_start = window.key_start.min(sample.key_time());
            window.key_end = window.key_end.max(sample.key_time());
            window.sequence_last = sequence;
            window.skewed |= sample.key_time() != sample.record_time;
        }
        let whole = !decoder.damaged();
        if let Some(mut window) = restored {
            self.open_bytes += bytes.len();
            window.written = bytes.len();
            window.bytes = bytes;
            window.pieces = pieces;
            if late { slot.late = Some(Box::new(window)) } else { slot.main = Some(window) }
        }
        whole
    }

    /// Closes the windows that `wanted` names.
    pub(super) fn close_windows(&mut self, mut wanted: impl FnMut(&Window) -> bool) {
        for slot in self.slots.iter_mut().flatten() {
            if slot.main.as_ref().is_some_and(&mut wanted)
                && let Some(window) = slot.main.take()
            {
                slot.dirty = true;
                close(window, slot_floor(&mut slot.floor), &mut self.closed, &mut self.open_bytes, &mut self.closed_bytes);
            }
            if slot.late.as_deref().is_some_and(&mut wanted)
                && let Some(window) = slot.late.take()
            {
                close(*window, None, &mut self.closed, &mut self.open_bytes, &mut self.closed_bytes);
            }
        }
    }

    /// Closes the biggest windows until the open ones take at most `bytes`.
    pub(super) fn shrink_open_to(&mut self, bytes: usize) {
        if self.open_bytes <= bytes {
            return;
        }
        let mut sizes: Vec<usize> = self.slots().flat_map(Slot::windows).map(|window| window.bytes.len()).collect();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        let mut left = self.open_bytes;
        let mut threshold = usize::MAX;
        for size in sizes {
            if left <= bytes {
                break;
            }
            left -= size;
            threshold = size;
        }
        self.close_windows(|window| window.bytes.len() >= threshold);
    }
}

fn slot_floor(floor: &mut UtcMillis) -> Option<&mut UtcMillis> {
    Some(floor)
}

fn close(
    window: Window,
    floor: Option<&mut UtcMillis>,
    closed: &mut Vec<std::sync::Arc<Window>>,
    open_bytes: &mut usize,
    closed_bytes: &mut usize,
) {
    if let Some(floor) = floor {
        *floor = (*floor).max(window.key_end.plus(1));
    }
    *open_bytes = open_bytes.saturating_sub(window.bytes.len());
    *closed_bytes += window.bytes.len();
    closed.push(std::sync::Arc::new(window));
}

/// A sample that stands for "none yet" of a point whose latest could not be read back.
pub(super) fn no_sample(point: PointId) -> Sample {
    let time = UtcMillis(i64::MIN);
    Sample {
        point,
        status: Status::from_bits(0).expect("all zero is good"),
        value: 0,
        source_time: None,
        received_time: time,
        record_time: time,
    }
}
