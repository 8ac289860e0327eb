//! Walks the frames of one segment in large chunks: what is good comes out, what is damaged is stepped over up to the
//! next good frame. Never panics, whatever the bytes; never reads beyond its limit.

#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::sync::Arc;

use super::file::FileHandle;
use super::frame::{ALIGN, FRAME_BYTES, Frame, HEADER_BYTES, MIN_FRAME_BYTES, padded};

/// Read at once while walking forward.
const CHUNK_BYTES: usize = 256 * 1024;
/// Read at once where the medium refuses a chunk: what still fails counts as zeros, hence as damage.
pub(crate) const SECTOR_BYTES: usize = 4096;

/// A place in a segment.
#[derive(Debug)]
pub(crate) struct Scan {
    file: Arc<dyn FileHandle>,
    /// Sequence of the segment's first entry: with the place of a frame it bounds what its sequence can be.
    first: u64,
    /// Start of the next frame.
    offset: u64,
    /// End of what may be read.
    limit: u64,
    /// First entry of the segment that follows.
    below: u64,
    chunk: Vec<u8>,
    chunk_start: u64,
}

/// What lies next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A good frame; [`Scan::body`] gives its body until the next step.
    Entry {
        /// Its fixed part.
        frame: Frame,
        /// Where it starts.
        offset: u64,
        /// Bytes stepped over that were neither good nor zero.
        garbage: u64,
    },
    /// No good frame of this segment up to the limit.
    End {
        /// Bytes stepped over that were neither good nor zero.
        garbage: u64,
    },
}

impl Scan {
    pub(crate) fn new(file: Arc<dyn FileHandle>, first: u64, limit: u64) -> Self {
        Self { file, first, offset: HEADER_BYTES as u64, limit, below: u64::MAX, chunk: Vec::new(), chunk_start: 0 }
    }

    /// With the first entry of the segment that follows: a frame of that number or a later one is what a failed sync left
    /// behind. It ends this segment, since what counts under its number is in the next one, and may be another entry.
    pub(crate) fn ending_below(self, below: Option<u64>) -> Self {
        Self { below: below.unwrap_or(u64::MAX), ..self }
    }

    /// End of what may be read.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Lets it read on up to `limit`, never less than before.
    pub(crate) fn extend(&mut self, limit: u64) {
        self.limit = self.limit.max(limit);
    }

    /// The next good frame whose sequence is at least `expected`.
    pub(crate) fn next(&mut self, expected: u64) -> Found {
        let start = self.offset;
        let mut garbage = 0u64;
        loop {
            if let Some(frame) = self.good_frame(expected) {
                if frame.sequence >= self.below {
                    self.offset = start;
                    return Found::End { garbage };
                }
                let offset = self.offset;
                self.offset = offset.saturating_add(padded(frame.bytes()) as u64);
                return Found::Entry { frame, offset, garbage };
            }
            let Some(step) = self.step() else {
                // The frame that is not there yet may come: look again from the first doubtful place.
                self.offset = start;
                return Found::End { garbage };
            };
            garbage = garbage.saturating_add(step);
        }
    }

    /// Body of the entry last found.
    pub(crate) fn body(&self, frame: &Frame, offset: u64) -> &[u8] {
        let start = usize::try_from(offset.saturating_sub(self.chunk_start)).unwrap_or(usize::MAX).saturating_add(FRAME_BYTES);
        self.chunk.get(start..start.saturating_add(frame.length)).unwrap_or_default()
    }

    fn good_frame(&mut self, expected: u64) -> Option<Frame> {
        let frame = Frame::parse(self.view(FRAME_BYTES)?)?;
        // Sequences grow by one a frame, so the place bounds them: few damaged bytes get as far as the CRC.
        let highest = self.first.saturating_add(self.offset.checked_div(MIN_FRAME_BYTES)?);
        if frame.sequence < expected || frame.sequence > highest {
            return None;
        }
        frame.body(self.view(frame.bytes())?)?;
        Some(frame)
    }

    /// Goes to the next place where a frame can start, over zeros in one go; gives the bytes that were not zero, `None`
    /// at the limit.
    fn step(&mut self) -> Option<u64> {
        let here = self.view(1)?;
        let zeros = here.iter().position(|&byte| byte != 0).unwrap_or(here.len());
        let words = zeros.checked_div(ALIGN)?.saturating_mul(ALIGN);
        let (step, garbage) = if zeros == here.len() {
            (zeros, 0)
        } else if words > 0 {
            (words, 0)
        } else {
            (ALIGN, ALIGN as u64)
        };
        // Keeps to multiples of the alignment even at the end of a chunk.
        let step = step.max(ALIGN).checked_div(ALIGN)?.saturating_mul(ALIGN);
        self.offset = self.offset.saturating_add(step as u64);
        Some(garbage)
    }

    /// All bytes at hand from the present place, at least `length`; `None` when the limit comes before.
    fn view(&mut self, length: usize) -> Option<&[u8]> {
        let end = self.offset.checked_add(length as u64)?;
        if end > self.limit {
            return None;
        }
        let chunk_end = self.chunk_start.saturating_add(self.chunk.len() as u64);
        if self.offset < self.chunk_start || end > chunk_end {
            self.fill(length);
        }
        let start = usize::try_from(self.offset.checked_sub(self.chunk_start)?).ok()?;
        let view = self.chunk.get(start..)?;
        (view.len() >= length).then_some(view)
    }

    fn fill(&mut self, length: usize) {
        let left = usize::try_from(self.limit.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let wanted = length.max(CHUNK_BYTES).min(left);
        self.chunk.clear();
        self.chunk.resize(wanted, 0);
        self.chunk_start = self.offset;
        let read = match self.file.read_at(&mut self.chunk, self.offset) {
            Ok(read) => read,
            Err(_) => {
                for (index, sector) in self.chunk.chunks_mut(SECTOR_BYTES).enumerate() {
                    let place = self.offset.saturating_add(index.saturating_mul(SECTOR_BYTES) as u64);
                    if self.file.read_at(sector, place).is_err() {
                        sector.fill(0);
                    }
                }
                wanted
            }
        };
        // A file shorter than it should be ends here.
        self.chunk.truncate(read);
    }
}
