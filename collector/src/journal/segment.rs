//! The list of segments, shared by the writer and all readers: names, sizes, how far each is durable.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

/// Ending of segment files.
pub const SEGMENT_ENDING: &str = ".seg";
/// The next segment while it is prepared.
pub const PREPARED_NAME: &str = "prepared.tmp";

/// One segment file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Sequence of its first entry.
    pub first: u64,
    /// Where it is.
    pub path: PathBuf,
    /// Bytes it takes on disk.
    pub size: u64,
    /// Readers may read up to here.
    pub end: u64,
}

/// Segments in order of their first entry, with no two alike.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    pub list: VecDeque<Segment>,
    /// Last durable entry.
    pub durable: u64,
    /// Bytes of the prepared segment.
    pub prepared_bytes: u64,
    /// Everything below may go.
    pub released: u64,
}

/// Where an entry is to be looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In this segment, or lost.
    Segment(Segment),
    /// Before the oldest segment, which starts with this entry.
    Gone(u64),
    /// There is no segment yet.
    Nowhere,
}

/// A segment as a reader that has it open asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Readable up to here.
    pub end: u64,
    /// First entry of the segment that follows: entries from there on are not this one's.
    pub below: Option<u64>,
    /// Last durable entry of the journal.
    pub durable: u64,
}

impl Segments {
    /// Where to look for `sequence`.
    pub fn place(&self, sequence: u64) -> Place {
        let Some(oldest) = self.list.front() else { return Place::Nowhere };
        if sequence < oldest.first {
            return Place::Gone(oldest.first);
        }
        let after = self.list.partition_point(|segment| segment.first <= sequence);
        self.list.get(after.saturating_sub(1)).map_or(Place::Nowhere, |segment| Place::Segment(segment.clone()))
    }

    /// How far the segment starting with `first` can be read now; `None` when it is gone.
    pub fn progress(&self, first: u64) -> Option<Progress> {
        let index = self.list.binary_search_by_key(&first, |segment| segment.first).ok()?;
        let end = self.list.get(index)?.end;
        let below = self.list.get(index.saturating_add(1)).map(|next| next.first);
        Some(Progress { end, below, durable: self.durable })
    }

    /// Adds the newest segment; one with the same first entry held nothing durable and is replaced.
    pub fn push(&mut self, segment: Segment) {
        while self.list.back().is_some_and(|last| last.first >= segment.first) {
            self.list.pop_back();
        }
        self.list.push_back(segment);
    }

    /// The oldest segment, when everything in it is released. The last one stays always: it carries the numbering.
    pub fn releasable(&self) -> Option<&Segment> {
        let next = self.list.get(1)?;
        (next.first <= self.released).then(|| self.list.front()).flatten()
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.list.iter().fold(self.prepared_bytes, |sum, segment| sum.saturating_add(segment.size))
    }
}

/// Path of the segment that starts with `first`.
pub(crate) fn segment_path(directory: &Path, first: u64) -> PathBuf {
    directory.join(format!("{first:020}{SEGMENT_ENDING}"))
}

/// First sequences of the segments among `names`, ascending.
pub(crate) fn segment_firsts(names: &[String]) -> Vec<u64> {
    let mut firsts: Vec<u64> = names.iter().filter_map(|name| name.strip_suffix(SEGMENT_ENDING)?.parse().ok()).collect();
    firsts.sort_unstable();
    firsts
}
