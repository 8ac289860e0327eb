//! Where samples of given journal entries lie, for a reader that the journal went on without.

use std::collections::BTreeMap;

use parkgate_collector::journal::Sequence;
use parkgate_collector::model::{PointId, UtcMillis};

use super::{History, files, query};
use crate::store::StoreError;

/// A range of record times of one point, `[from, to)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stretch {
    /// The point.
    pub point: PointId,
    /// Start, inclusive.
    pub from: UtcMillis,
    /// End, exclusive.
    pub to: UtcMillis,
}

impl History {
    /// Where the samples lie that came with journal entries `[first, end)` and were taken over, in order of points and
    /// time. Wider than need be, as it goes by blocks: other samples lie there too. Reads the descriptions of all
    /// blocks.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn written(&self, first: Sequence, end: Sequence) -> Result<Vec<Stretch>, StoreError> {
        let within = |(one, last): (Sequence, Sequence)| one < end && last >= first;
        let mut stretches = Vec::new();
        // Memory before files: what is closed meanwhile is then found twice, not missed.
        {
            let head = self.inner.head();
            let windows = head.closed.iter().map(AsRef::as_ref).chain(head.slots().flat_map(super::head::Slot::windows));
            for window in windows.filter(|window| within((window.sequence_first, window.sequence_last))) {
                stretches.push(Stretch { point: window.point, from: window.start, to: window.end.plus(1) });
            }
        }
        let keys: Vec<_> = self.inner.layout().iter().map(|file| file.key).collect();
        for key in keys {
            let layout = self.inner.layout();
            if !layout.iter().any(|file| file.key == key) {
                continue;
            }
            let mut of_file: BTreeMap<PointId, Stretch> = BTreeMap::new();
            query::read_file(&query::Reading::new(&self.inner), key, |connection| {
                files::each_stats(connection, |point, stats| match stats {
                    Some(stats) if within((stats.sequence_first, stats.sequence_last)) => {
                        let (from, to) = (stats.start, stats.end.plus(1));
                        let stretch = of_file.entry(point).or_insert(Stretch { point, from, to });
                        (stretch.from, stretch.to) = (stretch.from.min(from), stretch.to.max(to));
                    }
                    Some(_) => {}
                    None => self.inner.damage(&format!("stats of a block of point {point} in {}", self.inner.files.path(key).display())),
                })
            })?;
            stretches.extend(of_file.into_values());
        }
        stretches.sort_unstable();
        let mut joined: Vec<Stretch> = Vec::new();
        for stretch in stretches {
            match joined.last_mut() {
                Some(last) if last.point == stretch.point && stretch.from <= last.to => last.to = last.to.max(stretch.to),
                _ => joined.push(stretch),
            }
        }
        Ok(joined)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{HistorySettings, testing};
    use super::*;

    #[test]
    fn samples_of_entries_are_found_in_memory_and_in_blocks() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::open(folder.path(), HistorySettings::default(), testing::odd()).unwrap();
        let at = |minutes: i64| testing::NOVEMBER + minutes * 60_000;
        // Three hours of two points, a minute apart: windows close at the hour, the last ones stay open.
        for minute in 0..180 {
            let samples = [testing::sample(1, at(minute), minute), testing::sample(2, at(minute), minute)];
            history.apply_samples(Sequence(minute as u64 + 1), &samples);
        }
        history.checkpoint().unwrap();
        let covers = |first: u64, end: u64, point: u32, minute: i64| {
            let found = history.written(Sequence(first), Sequence(end)).unwrap();
            found.iter().any(|one| one.point == PointId(point) && one.from.0 <= at(minute) && at(minute) < one.to.0)
        };
        for minute in 0..180 {
            let sequence = minute as u64 + 1;
            assert!(covers(sequence, sequence + 1, 1, minute) && covers(sequence, sequence + 1, 2, minute), "{minute}");
        }
        assert!(!covers(1, 2, 1, 179) && !covers(180, 181, 1, 0));
        assert_eq!(history.written(Sequence(181), Sequence(999)).unwrap(), []);
        let all = history.written(Sequence(0), Sequence(u64::MAX)).unwrap();
        assert_eq!(all[0].from.0, at(0));
    }
}
