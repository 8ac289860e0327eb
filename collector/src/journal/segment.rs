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
    /// Tells files apart that had the same name one after the other; given by [`Segments::push`].
    pub id: u64,
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
    last_id: u64,
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
    /// First entry of the segment that follows.
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

    /// How far `segment`, found by [`Self::place`], can be read now; `None` when it is gone or replaced.
    pub fn progress(&self, segment: &Segment) -> Option<Progress> {
        let index = self.list.binary_search_by_key(&segment.first, |one| one.first).ok()?;
        let end = self.list.get(index).filter(|one| one.id == segment.id)?.end;
        let below = self.list.get(index.saturating_add(1)).map(|next| next.first);
        Some(Progress { end, below, durable: self.durable })
    }

    /// Adds the newest segment; one with the same first entry held nothing durable and is replaced.
    pub fn push(&mut self, mut segment: Segment) {
        self.last_id = self.last_id.saturating_add(1);
        segment.id = self.last_id;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(firsts: &[u64]) -> Segments {
        let mut segments = Segments::default();
        for &first in firsts {
            segments.push(Segment { id: 0, first, path: segment_path(Path::new("j"), first), size: 10, end: 10 });
        }
        segments
    }

    #[test]
    fn finds_the_segment_of_an_entry() {
        let segments = segments(&[5, 9, 20]);
        for (sequence, first) in [(5, 5), (8, 5), (9, 9), (19, 9), (20, 20), (1000, 20)] {
            assert!(matches!(segments.place(sequence), Place::Segment(segment) if segment.first == first), "{sequence}");
        }
        assert_eq!(segments.place(4), Place::Gone(5));
        assert_eq!(Segments::default().place(1), Place::Nowhere);
    }

    #[test]
    fn a_replaced_segment_is_gone_for_those_who_have_it_open() {
        let mut segments = segments(&[5, 9]);
        let Place::Segment(open) = segments.place(9) else { panic!("there is one") };
        assert!(segments.progress(&open).is_some());
        segments.push(Segment { end: 64, ..open.clone() });
        assert_eq!((segments.list.len(), segments.progress(&open)), (2, None));
    }

    #[test]
    fn the_last_segment_is_never_released() {
        let mut segments = segments(&[5, 9]);
        segments.released = 8;
        assert_eq!(segments.releasable(), None);
        segments.released = 1000;
        assert_eq!(segments.releasable().map(|segment| segment.first), Some(5));
        segments.list.pop_front();
        assert_eq!(segments.releasable(), None);
    }

    #[test]
    fn names_sort_and_strangers_are_left_out() {
        let names = ["00000000000000000020.seg", "00000000000000000003.seg", "prepared.tmp", "x.seg", "7.db"].map(str::to_owned);
        assert_eq!(segment_firsts(&names), [3, 20]);
    }
}
