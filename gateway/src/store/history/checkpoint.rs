//! A checkpoint: closed windows become blocks in their month files, then one commit on `state.db` makes it all count.
//!
//! The head is locked for a snapshot and for the commit, not while files are written. Until the commit readers see the
//! windows in the head and pass over blocks of the new checkpoint; after it the other way round.
//!
//! When `state.db` turns out to be damaged or gone, memory still has all that belongs in it. The same checkpoint then
//! writes a new one out of memory; what the journal let go is in open windows, and nothing of it is lost.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use parkgate_collector::journal::Sequence;
use parkgate_collector::model::{PointId, Sample, UtcMillis};

use super::block::{self, Rank, Stats};
use super::files::{self, Correction, FileKey, MonthFile};
use super::head::{Head, Slot, Window};
use super::{Inner, Writer, query, state};
use crate::store::StoreError;

/// What one checkpoint writes.
pub(super) struct Snapshot {
    checkpoint: u64,
    position: Sequence,
    journal_bytes: u64,
    journal_samples: u64,
    closed: Vec<Arc<Window>>,
    gains: Vec<Gain>,
    /// Bytes of the gains, one after the other.
    gained: Vec<u8>,
    points: Vec<(UtcMillis, Sample)>,
    /// All points and windows are in it, for a new `state.db`.
    whole: bool,
    /// Month files that were, or may have been, written to.
    files: Vec<FileKey>,
}

/// What an open window gained since the last checkpoint.
struct Gain {
    window: u64,
    point: PointId,
    late: bool,
    /// Number of the piece; 0 replaces all that there are.
    piece: u32,
    /// Length of its bytes.
    length: usize,
    /// Length of the window's bytes that is on disk afterwards.
    written: usize,
}

/// See [`super::History::checkpoint`].
pub(super) fn run(inner: &Inner) -> Result<Sequence, StoreError> {
    let mut writer = inner.writer.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    run_with(inner, &mut writer)
}

/// Reads `state.db` again, past what its writer keeps in memory; makes a checkpoint with a new one when it is damaged.
pub(super) fn check_state(inner: &Inner, writer: &mut Writer) -> Result<(), StoreError> {
    match state::check(&writer.state_path) {
        Err(error) if files::is_damage(&error) => {
            state_lost(inner, writer, &error);
            run_with(inner, writer).map(|_| ())
        }
        result => result,
    }
}

fn run_with(inner: &Inner, writer: &mut Writer) -> Result<Sequence, StoreError> {
    let started = Instant::now();
    let attempt = |writer: &mut Writer| finish(inner, writer).and_then(|()| write(inner, writer));
    let result = match attempt(writer) {
        // Month files that are damaged are passed over: it is about `state.db`.
        Err(error) if files::is_damage(&error) && !writer.renew => {
            state_lost(inner, writer, &error);
            attempt(writer)
        }
        result => result,
    };
    inner.counters.due_from.store(0, Ordering::Relaxed);
    match result {
        Ok(position) => {
            inner.counters.checkpoints.fetch_add(1, Ordering::Relaxed);
            inner.counters.checkpoint_micros.store(started.elapsed().as_micros() as u64, Ordering::Relaxed);
            Ok(position)
        }
        Err(error) => {
            inner.counters.checkpoint_failures.fetch_add(1, Ordering::Relaxed);
            Err(error)
        }
    }
}

/// Brings files and head together again after a checkpoint that failed.
pub(super) fn finish(inner: &Inner, writer: &mut Writer) -> Result<(), StoreError> {
    let Some(snapshot) = &writer.unfinished else { return Ok(()) };
    let position = match &writer.state {
        Some(state) => state::position(state),
        None => state::settle(&writer.state_path).and_then(|()| {
            let state = state::open(&writer.state_path)?;
            let position = state::position(&state);
            writer.state = Some(state);
            position
        }),
    };
    let committed = match position {
        Ok((checkpoint, _)) => checkpoint,
        Err(error) if writer.renew && files::is_damage(&error) => inner.head().checkpoint,
        Err(error) => return Err(error),
    };
    if committed < snapshot.checkpoint {
        for &key in &snapshot.files {
            match writer.months.get(&inner.files, key).and_then(|connection| files::undo_checkpoint(connection, committed)) {
                Err(error) if !files::is_damage(&error) => return Err(error),
                _ => {}
            }
        }
        let mut head = inner.head();
        for (_, sample) in &snapshot.points {
            if let Some(slot) = head.slot_mut(sample.point) {
                slot.dirty = true;
            }
        }
    } else {
        commit(&mut inner.head(), snapshot);
        writer.renew &= !snapshot.whole;
    }
    writer.unfinished = None;
    Ok(())
}

/// `state.db` is damaged or gone: from now on a checkpoint makes a new one.
fn state_lost(inner: &Inner, writer: &mut Writer, why: &dyn std::fmt::Display) {
    let path = writer.state_path.display();
    tracing::error!(path = %path, error = %why, "state of history is damaged; a new one is written from what memory has");
    inner.counters.damaged.fetch_add(1, Ordering::Relaxed);
    writer.state = None;
    writer.renew = true;
}

fn write(inner: &Inner, writer: &mut Writer) -> Result<Sequence, StoreError> {
    // A connection goes on with a file that somebody deleted; the next start would not find it.
    if !writer.renew && !writer.state_path.exists() {
        state_lost(inner, writer, &"it is gone");
    }
    let mut snapshot = {
        let mut head = inner.head();
        if !writer.renew && head.position == head.committed && head.closed.is_empty() && head.slots().all(|slot| !slot.dirty) {
            return Ok(head.committed);
        }
        snapshot(&mut head, inner.settings.head_bytes, writer.renew)
    };
    let result = write_files(inner, writer, &mut snapshot)
        .and_then(|()| if snapshot.whole { renew_state(inner, writer, &snapshot) } else { write_state(inner, writer, &snapshot) });
    if let Err(error) = result {
        writer.unfinished = Some(snapshot);
        return Err(error);
    }
    commit(&mut inner.head(), &snapshot);
    writer.renew &= !snapshot.whole;
    Ok(snapshot.position)
}

fn snapshot(head: &mut Head, head_bytes: usize, whole: bool) -> Snapshot {
    // Half of the budget is for windows that are on their way to blocks.
    head.shrink_open_to(head_bytes / 2);
    if whole {
        for slot in head.slots_mut() {
            slot.dirty = true;
            slot.windows_mut().for_each(|window| (window.written, window.pieces) = (0, 0));
        }
    }
    // Of many points this is much: no more than there is.
    let dirty = head.slots_mut().filter(|slot| slot.dirty).count();
    let windows = head.slots_mut().filter(|slot| slot.dirty).flat_map(|slot| slot.windows_mut());
    let grown = windows.filter(|window| window.written < window.bytes.len());
    let (count, length) = grown.fold((0, 0), |(count, length), window| (count + 1, length + window.gain().1.len()));
    let (mut gains, mut gained, mut points) = (Vec::with_capacity(count), Vec::with_capacity(length), Vec::with_capacity(dirty));
    for slot in head.slots_mut().filter(|slot| slot.dirty) {
        slot.dirty = false;
        points.push((slot.floor, slot.latest));
        for window in slot.windows_mut().filter(|window| window.written < window.bytes.len()) {
            window.cut();
            let (piece, bytes) = window.gain();
            gained.extend_from_slice(bytes);
            let (length, written) = (bytes.len(), window.bytes.len());
            gains.push(Gain { window: window.id, point: window.point, late: window.late, piece, length, written });
        }
    }
    Snapshot {
        checkpoint: head.checkpoint + 1,
        position: head.position,
        journal_bytes: head.journal_bytes,
        journal_samples: head.journal_samples,
        closed: head.closed.clone(),
        gains,
        gained,
        points,
        whole,
        files: Vec::new(),
    }
}

fn commit(head: &mut Head, snapshot: &Snapshot) {
    head.checkpoint = snapshot.checkpoint;
    head.committed = snapshot.position;
    head.journal_bytes = head.journal_bytes.saturating_sub(snapshot.journal_bytes);
    head.journal_samples = head.journal_samples.saturating_sub(snapshot.journal_samples);
    let bytes: usize = snapshot.closed.iter().map(|window| window.bytes.len()).sum();
    head.closed.drain(..snapshot.closed.len());
    head.closed_bytes = head.closed_bytes.saturating_sub(bytes);
    for gain in &snapshot.gains {
        let window = head.slot_mut(gain.point).and_then(|slot| slot.windows_mut().find(|window| window.id == gain.window));
        if let Some(window) = window {
            window.pieces = gain.piece + 1;
            window.written = gain.written;
        }
    }
}

fn write_files(inner: &Inner, writer: &mut Writer, snapshot: &mut Snapshot) -> Result<(), StoreError> {
    let mut by_file: BTreeMap<FileKey, Vec<usize>> = BTreeMap::new();
    for (index, window) in snapshot.closed.iter().enumerate() {
        by_file.entry(FileKey { month: window.month, compliance: window.compliance, part: 0 }).or_default().push(index);
    }
    // Closed windows of a point in order of their closing, for those that have late ones.
    let mut of_late_points: HashMap<PointId, Vec<usize>> =
        snapshot.closed.iter().filter(|window| window.late).map(|window| (window.point, Vec::new())).collect();
    if !of_late_points.is_empty() {
        for (index, window) in snapshot.closed.iter().enumerate() {
            if let Some(windows) = of_late_points.get_mut(&window.point) {
                windows.push(index);
            }
        }
    }
    for (first, windows) in by_file {
        let last_part = inner.layout().iter().map(|file| file.key).filter(|key| FileKey { part: 0, ..*key } == first).max();
        let mut key = last_part.unwrap_or(first);
        loop {
            snapshot.files.push(key);
            inner.step("month file")?;
            match write_file(inner, writer, snapshot, key, &windows, &of_late_points) {
                Ok(skewed) => {
                    inner.change_layout(|layout| match layout.iter_mut().find(|file| file.key == key) {
                        Some(file) => file.skewed |= skewed,
                        None => {
                            layout.push(MonthFile { key, skewed });
                            layout.sort_unstable_by_key(|file| file.key);
                        }
                    });
                    break;
                }
                Err(error) if files::is_damage(&error) && key.part < u32::MAX => {
                    inner.damage(&format!("{}: {error}; going on in a new file", inner.files.path(key).display()));
                    writer.months.close(key);
                    key.part += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Writes windows as blocks into one file; whether some are skewed.
fn write_file(
    inner: &Inner,
    writer: &mut Writer,
    snapshot: &Snapshot,
    key: FileKey,
    windows: &[usize],
    of_late_points: &HashMap<PointId, Vec<usize>>,
) -> Result<bool, StoreError> {
    let connection = writer.months.get(&inner.files, key)?;
    let transaction = connection.transaction()?;
    files::begin_checkpoint(&transaction, snapshot.checkpoint)?;
    let mut any_skewed = false;
    let (mut blocks, mut bytes, mut samples, mut corrections) = (0, 0, 0, 0);
    for &index in windows {
        let Some(window) = snapshot.closed.get(index) else { continue };
        let before = if window.late {
            let earlier = of_late_points.get(&window.point).into_iter().flatten().filter(|&&other| other < index);
            earlier_values(inner, snapshot, window, earlier.filter_map(|&other| snapshot.closed.get(other)))?
        } else {
            HashMap::new()
        };
        let (winners, lost) = settle(window, before);
        for correction in &lost {
            files::insert_correction(&transaction, correction)?;
        }
        corrections += lost.len() as u64;
        let Some(stats) = Stats::of(&winners, snapshot.checkpoint, window.late, (window.sequence_first, window.sequence_last)) else {
            continue;
        };
        let data = block::encode(window.point, &winners);
        bytes += files::insert_block(&transaction, window.point, &stats, window.skewed, &data)? as u64;
        any_skewed |= window.skewed;
        blocks += 1;
        samples += stats.samples;
    }
    inner.step("month commit")?;
    transaction.commit()?;
    let counters = &inner.counters;
    counters.blocks.fetch_add(blocks, Ordering::Relaxed);
    counters.block_bytes.fetch_add(bytes, Ordering::Relaxed);
    counters.block_samples.fetch_add(samples, Ordering::Relaxed);
    counters.corrections.fetch_add(corrections, Ordering::Relaxed);
    Ok(any_skewed)
}

/// What counts so far at the key times of a late window: in blocks, and in windows closed before it.
fn earlier_values<'a>(
    inner: &Inner,
    snapshot: &Snapshot,
    window: &Window,
    earlier: impl Iterator<Item = &'a Arc<Window>>,
) -> Result<HashMap<UtcMillis, Sample>, StoreError> {
    let range = (window.key_start, window.key_end);
    let stored = query::samples_by_key(&query::Reading::new(inner), &inner.layout(), window.point, range, snapshot.checkpoint - 1)?;
    let mut ranked: HashMap<UtcMillis, (Rank, Sample)> = HashMap::new();
    let held = earlier.flat_map(|window| window.decode().map(|(_, sample)| (window.rank(), sample)));
    for (rank, sample) in stored.into_iter().chain(held) {
        let slot = ranked.entry(sample.key_time()).or_insert((rank, sample));
        if rank >= slot.0 {
            *slot = (rank, sample);
        }
    }
    Ok(ranked.into_iter().map(|(key, (_, sample))| (key, sample)).collect())
}

/// The samples of a window that count, by record time, and the values that lost.
fn settle(window: &Window, mut before: HashMap<UtcMillis, Sample>) -> (Vec<Sample>, Vec<Correction>) {
    let mut samples: Vec<(Sequence, Sample)> = window.decode().collect();
    let in_order = samples.windows(2).all(|pair| pair[0].1.key_time() < pair[1].1.key_time());
    if !in_order {
        samples.sort_by_key(|(_, sample)| sample.key_time());
    }
    let mut lost = Vec::new();
    let mut winners: Vec<Sample> = Vec::with_capacity(samples.len());
    for (sequence, sample) in samples {
        let same_key = winners.last().filter(|winner| winner.key_time() == sample.key_time()).copied();
        let loser = same_key.or_else(|| if before.is_empty() { None } else { before.remove(&sample.key_time()) });
        if let Some(loser) = loser.filter(|loser| (loser.value, loser.status) != (sample.value, sample.status)) {
            lost.push(Correction {
                point: window.point,
                key_time: sample.key_time(),
                old: (loser.value, loser.status.bits()),
                new: (sample.value, sample.status.bits()),
                sequence: sequence.0,
                time: sample.received_time,
            });
        }
        if same_key.is_some() {
            winners.pop();
        }
        winners.push(sample);
    }
    if window.skewed {
        winners.sort_by_key(|sample| (sample.record_time, sample.key_time()));
    }
    (winners, lost)
}

fn write_state(inner: &Inner, writer: &mut Writer, snapshot: &Snapshot) -> Result<(), StoreError> {
    inner.step("state")?;
    let state = match &mut writer.state {
        Some(state) => state,
        None => writer.state.insert(state::open(&writer.state_path)?),
    };
    let transaction = state.transaction()?;
    put(&transaction, snapshot)?;
    inner.step("state commit")?;
    let committed = transaction.commit();
    if committed.is_err() {
        // Whether the commit reached the disk is known only by reading it back.
        writer.state = None;
    }
    committed?;
    inner.counters.pieces.fetch_add(snapshot.gains.len() as u64, Ordering::Relaxed);
    inner.step("head")
}

/// Writes what a snapshot of everything has to a new `state.db`, in the place of the damaged one.
fn renew_state(inner: &Inner, writer: &mut Writer, snapshot: &Snapshot) -> Result<(), StoreError> {
    inner.step("state")?;
    // Closed first: SQLite deletes the log of its file by name when it closes.
    writer.state = None;
    let state = state::replace(&writer.state_path, |name| inner.step(name), |connection| put(connection, snapshot))?;
    writer.state = Some(state);
    inner.counters.pieces.fetch_add(snapshot.gains.len() as u64, Ordering::Relaxed);
    inner.step("head")
}

/// What a snapshot changes in `state.db`.
fn put(connection: &rusqlite::Connection, snapshot: &Snapshot) -> Result<(), StoreError> {
    for window in &snapshot.closed {
        state::delete_pieces(connection, window.point, window.late)?;
    }
    for (floor, sample) in &snapshot.points {
        state::put_point(connection, *floor, sample)?;
    }
    let mut gained = snapshot.gained.as_slice();
    for gain in &snapshot.gains {
        let (bytes, rest) = gained.split_at(gain.length);
        gained = rest;
        if gain.piece == 0 {
            state::delete_pieces(connection, gain.point, gain.late)?;
        }
        state::put_piece(connection, gain.point, gain.late, gain.piece, bytes)?;
    }
    state::put_position(connection, snapshot.checkpoint, snapshot.position)
}

/// The slot's windows and the closed ones of one point, for reading.
pub(super) fn windows_of(head: &Head, point: PointId) -> impl Iterator<Item = &Window> {
    let open = head.slot(point).into_iter().flat_map(Slot::windows);
    head.closed.iter().map(Arc::as_ref).filter(move |window| window.point == point).chain(open)
}
