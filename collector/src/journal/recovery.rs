//! What a start does: finds the segments, the end of what is valid, and makes that end durable.

#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::io;
use std::path::Path;
use std::sync::Arc;

use tracing::warn;

use super::AppendError;
use super::file::{FileHandle, FileLayer};
use super::frame::{HEADER_BYTES, Header, MAGIC, VERSION, padded};
use super::scan::{Found, SECTOR_BYTES, Scan};
use super::segment::{PREPARED_NAME, Segment, Segments, segment_firsts, segment_path};

/// Rewritten at once.
const COPY_BYTES: usize = 1024 * 1024;

/// What a start found and mended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Segments found.
    pub segments: usize,
    /// Whether the run before ended without closing the journal.
    pub unclean: bool,
    /// Bytes behind the last valid entry that were cut off: a torn write that nobody was told of.
    pub torn_bytes: u64,
    /// Ranges of the last segment `from..to` that are lost though they had been synced: damage.
    pub damaged: Vec<(u64, u64)>,
    /// Ranges of the last segment `from..to` that a torn write left out.
    pub torn: Vec<(u64, u64)>,
    /// Last valid entry found; 0 when there is none.
    pub last: u64,
}

/// Lists the segments of `directory`, checks the last one and makes it end with its last valid entry.
pub(super) fn recover(layer: &dyn FileLayer, directory: &Path, resume_after: u64) -> Result<(Segments, Recovery), AppendError> {
    let io = |path: &Path, error: io::Error| AppendError::Io(format!("{}: {error}", path.display()));
    layer.create_dir(directory).map_err(|error| io(directory, error))?;
    let names = layer.list(directory).map_err(|error| io(directory, error))?;
    if names.iter().any(|name| name == PREPARED_NAME) {
        let path = directory.join(PREPARED_NAME);
        layer.remove(&path).map_err(|error| io(&path, error))?;
    }
    let mut segments = Segments::default();
    for first in segment_firsts(&names) {
        let path = segment_path(directory, first);
        let file = layer.open(&path, false).map_err(|error| io(&path, error))?;
        let size = file.length().map_err(|error| io(&path, error))?;
        let mut header = [0; HEADER_BYTES];
        // An unreadable header is damage like any other: the name tells what is needed.
        let _ = file.read_at(&mut header, 0);
        if let Some(header) = Header::parse(&header, MAGIC).filter(|header| header.version > VERSION) {
            let path = path.display().to_string();
            return Err(AppendError::Version { path, version: header.version, newest: VERSION });
        }
        segments.push(Segment { id: 0, first, path, size, end: size });
    }
    let mut recovery = Recovery { segments: segments.list.len(), ..Recovery::default() };
    if let Some(last) = segments.list.back_mut() {
        let file = layer.open(&last.path, true).map_err(|error| io(&last.path, error))?;
        let end = find_end(&file, last, &mut recovery);
        if end < last.size {
            recovery.unclean = true;
            settle(layer, directory, &last.path, &file, end).map_err(|error| io(&last.path, error))?;
        }
        last.end = end;
        last.size = end;
    }
    segments.durable = recovery.last.max(resume_after);
    report(&recovery, segments.durable);
    Ok((segments, recovery))
}

/// The end of the last valid frame.
fn find_end(file: &Arc<dyn FileHandle>, segment: &Segment, recovery: &mut Recovery) -> u64 {
    let mut scan = Scan::new(Arc::clone(file), segment.first, segment.size);
    let mut end = segment.size.min(HEADER_BYTES as u64);
    let mut expected = segment.first;
    let mut lost = Vec::new();
    recovery.last = segment.first.saturating_sub(1);
    loop {
        match scan.next(expected) {
            Found::Entry { frame, offset, .. } => {
                if frame.sequence > expected {
                    lost.push((expected, frame.sequence));
                }
                let synced = frame.sequence.saturating_sub(u64::from(frame.unsynced));
                let (damaged, torn) = lost.drain(..).partition::<Vec<_>, _>(|&(from, _)| from <= synced);
                recovery.damaged.extend(damaged);
                lost = torn;
                recovery.last = frame.sequence;
                expected = frame.sequence.saturating_add(1);
                end = offset.saturating_add(padded(frame.bytes()) as u64);
            }
            Found::End { garbage } => {
                recovery.torn = lost;
                recovery.torn_bytes = garbage;
                return end.min(segment.size);
            }
        }
    }
}

/// Makes the file end at `end`, durably.
///
/// What the run before wrote may be in memory alone, and after a failed sync of that run the system may believe that it
/// is on disk: a sync alone proves nothing. So it is written once more.
fn settle(layer: &dyn FileLayer, directory: &Path, path: &Path, file: &Arc<dyn FileHandle>, end: u64) -> io::Result<()> {
    let in_place = rewrite(file.as_ref(), file.as_ref(), end).and_then(|()| file.set_len(end)).and_then(|()| file.sync_data());
    let Err(error) = in_place else { return Ok(()) };
    warn!(segment = %path.display(), error = %error, "journal segment cannot be synced, copying it");
    let temporary = directory.join(PREPARED_NAME);
    let copy = layer.create(&temporary)?;
    rewrite(file.as_ref(), copy.as_ref(), end)?;
    copy.sync_data()?;
    layer.rename(&temporary, path)?;
    layer.sync_dir(directory)
}

/// Copies the first `end` bytes a sector at a time where the medium refuses more. What cannot be read at all is damage
/// and is left as it lies in the target.
fn rewrite(from: &dyn FileHandle, to: &dyn FileHandle, end: u64) -> io::Result<()> {
    let mut buffer = vec![0; COPY_BYTES];
    let mut offset = 0u64;
    while offset < end {
        let wanted = usize::try_from(end.saturating_sub(offset)).unwrap_or(COPY_BYTES).min(COPY_BYTES);
        let part = buffer.get_mut(..wanted).unwrap_or_default();
        if from.read_at(part, offset).is_ok() {
            to.write_at(part, offset)?;
        } else {
            for (index, sector) in part.chunks_mut(SECTOR_BYTES).enumerate() {
                let place = offset.saturating_add(index.saturating_mul(SECTOR_BYTES) as u64);
                if from.read_at(sector, place).is_ok() {
                    to.write_at(sector, place)?;
                }
            }
        }
        offset = offset.saturating_add(wanted as u64);
    }
    Ok(())
}

fn report(recovery: &Recovery, durable: u64) {
    for (from, to) in &recovery.damaged {
        tracing::error!(from, to, "journal entries are damaged");
    }
    for (from, to) in &recovery.torn {
        warn!(from, to, "journal entries of a torn write left out; nobody was told that they were durable");
    }
    if recovery.torn_bytes > 0 {
        warn!(bytes = recovery.torn_bytes, "torn write at the journal's end cut off");
    }
    if durable > recovery.last {
        warn!(last = recovery.last, durable, "journal ends before what its readers know; numbers up to there are left out");
    }
}
