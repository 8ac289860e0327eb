//! The reading side of the record, as the API and later readers see it: blocks and head as one.

use parkgate_collector::model::{PointId, Sample, UtcMillis};

/// Reads the record. Calls block on file I/O, but for the `latest` ones: call them from blocking tasks.
pub trait RecordView: Send + Sync + 'static {
    /// The sample with the greatest record time of a point.
    fn latest(&self, point: PointId) -> Option<Sample>;

    /// All points whose latest sample changed after `version`, and the version to ask with next time. Version 0: all.
    fn latest_since(&self, version: u64) -> (u64, Vec<Sample>);

    /// Samples of a point with record time in `[from, to)`, in order of record time, merged (one per key time, the
    /// later written wins), at most `limit` of them: the earliest.
    fn scan(&self, point: PointId, from: UtcMillis, to: UtcMillis, limit: usize) -> Result<Vec<Sample>, StoreError>;

    /// One bucket per pair of neighbouring `edges` (ascending record times), each half open `[edge, next edge)`;
    /// buckets without a sample are there with `samples` 0.
    fn buckets(&self, point: PointId, edges: &[UtcMillis]) -> Result<Vec<Bucket>, StoreError>;

    /// As [`Self::scan`]; adds to `left_out` how many damaged blocks, or whole files, the answer is without. Whoever
    /// shows an answer to people asks this way, so that a hole that damage made is not taken for a silent meter.
    fn scan_noting(
        &self,
        point: PointId,
        from: UtcMillis,
        to: UtcMillis,
        limit: usize,
        left_out: &mut u64,
    ) -> Result<Vec<Sample>, StoreError> {
        let _ = left_out;
        self.scan(point, from, to, limit)
    }

    /// As [`Self::buckets`], with `left_out` as in [`Self::scan_noting`].
    fn buckets_noting(&self, point: PointId, edges: &[UtcMillis], left_out: &mut u64) -> Result<Vec<Bucket>, StoreError> {
        let _ = left_out;
        self.buckets(point, edges)
    }

    /// Samples taken over since start, for rates.
    fn samples_applied(&self) -> u64;
}

/// What lies in one bucket. Numbers are mantissas at the point's decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Start, inclusive.
    pub start: UtcMillis,
    /// End, exclusive.
    pub end: UtcMillis,
    /// Samples of any quality.
    pub samples: u64,
    /// Samples with a number that are not bad; all that follows is about these.
    pub count: u64,
    /// Their sum.
    pub sum: i128,
    /// The smallest; 0 when `count` is 0.
    pub min: i64,
    /// The largest; 0 when `count` is 0.
    pub max: i64,
    /// The earliest, with its record time.
    pub first: Option<(UtcMillis, i64)>,
    /// The last, with its record time.
    pub last: Option<(UtcMillis, i64)>,
}

/// The store could not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite refused.
    #[error("store: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A file could not be used.
    #[error("{path}: {error}")]
    Io {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// A block or file is damaged.
    #[error("damaged: {0}")]
    Damaged(String),
    /// Made by a newer version of the program.
    #[error("{0}")]
    Version(String),
}
