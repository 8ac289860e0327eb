//! Readers: each goes its own way through the durable part of the journal and holds nothing back.

#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::sync::Arc;

use tracing::error;

use super::codec;
use super::frame::padded;
use super::scan::{Found, Scan};
use super::segment::{Place, Segment};
use super::writer::Shared;
use super::{AppendError, Next, Record, SampleRecord, Sequence};

/// A place in the journal to read from. It never pins segments: one that is deleted under it leads to
/// [`Next::Gone`]. (An idle reader keeps at most the one file open that it last read, until it is asked again.)
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    next: u64,
    current: Option<Current>,
    entry_bytes: u64,
}

#[derive(Debug)]
struct Current {
    segment: Segment,
    scan: Scan,
    /// An entry found behind a lost range, to be given next.
    found: Option<(super::frame::Frame, u64)>,
}

/// What [`Reader::next_into`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The record was filled in.
    Entry(Sequence),
    /// See [`Next::End`].
    End,
    /// See [`Next::Gone`].
    Gone {
        /// First entry still in the journal.
        oldest: Sequence,
    },
    /// See [`Next::Damaged`].
    Damaged {
        /// First entry lost.
        from: Sequence,
        /// First entry after the damage.
        to: Sequence,
    },
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, from: Sequence) -> Self {
        Self { shared, next: from.0.max(1), current: None, entry_bytes: 0 }
    }

    /// The entry it will look for next: what to store as a cursor once everything before it is dealt with.
    pub fn position(&self) -> Sequence {
        Sequence(self.next)
    }

    /// Bytes that the last entry given takes in its segment; 0 before the first.
    pub fn entry_bytes(&self) -> u64 {
        self.entry_bytes
    }

    /// The next entry. After `Gone` and `Damaged` the reader goes on behind what is lost.
    ///
    /// Blocks on file I/O: not for an async task.
    ///
    /// # Errors
    /// The segment is there but cannot be opened; asking again tries again.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Next, AppendError> {
        let mut record = Record::Samples(SampleRecord::default());
        Ok(match self.next_into(&mut record)? {
            Progress::Entry(sequence) => Next::Entry(sequence, record),
            Progress::End => Next::End,
            Progress::Gone { oldest } => Next::Gone { oldest },
            Progress::Damaged { from, to } => Next::Damaged { from, to },
        })
    }

    /// As [`Self::next`], filling `record` and reusing its vectors; unless `Entry` comes back, `record` holds anything.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub fn next_into(&mut self, record: &mut Record) -> Result<Progress, AppendError> {
        loop {
            let Some(current) = &mut self.current else {
                if let Some(progress) = self.open()? {
                    return Ok(progress);
                }
                continue;
            };
            let found = match current.found.take() {
                Some((frame, offset)) => Found::Entry { frame, offset, garbage: 0 },
                None => current.scan.next(1),
            };
            match found {
                Found::Entry { frame, .. } if frame.sequence < self.next => {}
                Found::Entry { frame, offset, .. } => {
                    if frame.sequence > self.next {
                        current.found = Some((frame, offset));
                        if let Some(damaged) = self.skip_to(frame.sequence) {
                            return Ok(damaged);
                        }
                        continue;
                    }
                    let decoded = codec::decode_into(current.scan.body(&frame, offset), record);
                    let Err(reason) = decoded else {
                        self.next = frame.sequence.saturating_add(1);
                        self.entry_bytes = u64::try_from(padded(frame.bytes())).unwrap_or(u64::MAX);
                        return Ok(Progress::Entry(Sequence(frame.sequence)));
                    };
                    error!(sequence = frame.sequence, error = %reason, "journal entry cannot be read");
                    if let Some(damaged) = self.skip_to(frame.sequence.saturating_add(1)) {
                        return Ok(damaged);
                    }
                }
                Found::End { .. } => {
                    if let Some(progress) = self.at_end() {
                        return Ok(progress);
                    }
                }
            }
        }
    }

    /// Opens the segment of the next entry; something to tell instead when there is none.
    fn open(&mut self) -> Result<Option<Progress>, AppendError> {
        let (place, below) = {
            let segments = self.shared.segments();
            let place = segments.place(self.next);
            // None for the newest segment: of that one only what is durable can be read, so nothing needs to end it.
            let below = if let Place::Segment(segment) = &place { segments.progress(segment).and_then(|it| it.below) } else { None };
            (place, below)
        };
        let segment = match place {
            Place::Segment(segment) => segment,
            Place::Nowhere => return Ok(Some(Progress::End)),
            Place::Gone(oldest) => {
                self.next = oldest;
                return Ok(Some(Progress::Gone { oldest: Sequence(oldest) }));
            }
        };
        match self.shared.layer.open(&segment.path, false) {
            Ok(file) => {
                let scan = Scan::new(file, segment.first, segment.end).ending_below(below);
                self.current = Some(Current { segment, scan, found: None });
                Ok(None)
            }
            // Released between the look and the opening.
            Err(_) if self.shared.segments().progress(&segment).is_none() => Ok(None),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                // Somebody took the file away: its entries are lost, up to the next segment or all that is durable.
                let progress = self.shared.segments().progress(&segment);
                let to = progress.map_or(self.next, |p| p.below.unwrap_or_else(|| p.durable.saturating_add(1)));
                Ok(Some(self.skip_to(to).unwrap_or(Progress::End)))
            }
            Err(error) => Err(AppendError::Io(format!("{}: {error}", segment.path.display()))),
        }
    }

    /// The open segment gave all it had: reads on, goes to the next one, or tells that this is the end.
    fn at_end(&mut self) -> Option<Progress> {
        let current = self.current.as_mut()?;
        let Some(progress) = self.shared.segments().progress(&current.segment) else {
            self.current = None;
            return None;
        };
        if progress.end > current.scan.limit() {
            current.scan.extend(progress.end);
            return None;
        }
        if let Some(below) = progress.below {
            self.current = None;
            return self.skip_to(below);
        }
        if self.next <= progress.durable {
            return self.skip_to(progress.durable.saturating_add(1));
        }
        Some(Progress::End)
    }

    /// Goes on at `to`; what was not read before it is lost and told once.
    fn skip_to(&mut self, to: u64) -> Option<Progress> {
        let from = self.next;
        if to <= from {
            return None;
        }
        self.next = to;
        self.shared.note_damage(from, to);
        Some(Progress::Damaged { from: Sequence(from), to: Sequence(to) })
    }
}
