//! What the evaluator reads: series by matchers, samples by series. Evaluation is tested on a source in memory.

use promql_parser::label::Matcher;

use super::error::Error;
use super::labels::{Labels, NAME};
use super::patience::Patience;

/// Stands for "no value here": a step at which a series has none, or the end of what its samples say. A NaN that no
/// arithmetic gives; told by its bits.
pub const ABSENT: f64 = f64::from_bits(0x7ff8_0000_0a85_e117);

/// Whether a value stands for "no value here".
pub fn is_absent(value: f64) -> bool {
    value.to_bits() == ABSENT.to_bits()
}

/// Which series are wanted.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Their name, where it is given outright.
    pub name: Option<String>,
    /// Further conditions, all of which must hold.
    pub matchers: Vec<Matcher>,
}

impl Selection {
    /// Whether a series is wanted.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.matches_all(|name| labels.get(name))
    }

    /// The same of one whose labels `value` tells, its name as `__name__`.
    pub fn matches_all<'l>(&self, value: impl Fn(&str) -> &'l str) -> bool {
        self.name.as_ref().is_none_or(|name| **name == *value(NAME))
            && self.matchers.iter().all(|matcher| matcher.is_match(value(&matcher.name)))
    }
}

/// One series of a source.
#[derive(Clone, Debug)]
pub struct Series {
    /// Name and labels.
    pub labels: Labels,
    /// How long a sample is shown when no other follows, in milliseconds.
    pub lookback_ms: i64,
    /// What the source knows it by.
    pub key: (u32, i64),
}

/// Samples in order of time, one per millisecond. A value that [`is_absent`] ends the one before it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples {
    /// Milliseconds since 1970.
    pub times: Vec<i64>,
    /// Values, as many as times.
    pub values: Vec<f64>,
}

impl Samples {
    /// Adds a sample behind all others; one of the same millisecond is replaced.
    pub fn push(&mut self, time: i64, value: f64) {
        if self.times.last() == Some(&time) {
            self.times.pop();
            self.values.pop();
        }
        self.times.push(time);
        self.values.push(value);
    }

    /// Without what only ends another sample.
    pub fn numbers(mut self) -> Self {
        if self.values.iter().any(|&value| is_absent(value)) {
            let kept = self.times.iter().zip(&self.values).filter(|(_, value)| !is_absent(**value));
            let (times, values) = kept.map(|(&time, &value)| (time, value)).unzip();
            self = Self { times, values };
        }
        self
    }
}

/// Where series come from. Calls may block on file I/O; long ones look at the query's patience now and then. Ranges are
/// `(after, upto]`, as PromQL has them.
pub trait Source: Sync {
    /// All wanted series that may have samples in a range.
    fn select(&self, selection: &Selection, after: i64, upto: i64, patience: &Patience<'_>) -> Result<Vec<Series>, Error>;

    /// A series' samples in a range; [`too_many_samples`] when there are more than `most`.
    fn samples(&self, series: &Series, after: i64, upto: i64, most: usize, patience: &Patience<'_>) -> Result<Samples, Error>;

    /// The last sample of a series in a range, where that is known without reading it all.
    fn last(&self, _series: &Series, _after: i64, _upto: i64) -> Result<Last, Error> {
        Ok(Last::Unknown)
    }

    /// Figures of a series between neighbouring `edges` (ascending), each part `(edge, next edge]`, where the source can
    /// give them exactly without handing out all samples. `extremes`: whether the smallest and the largest are wanted.
    fn parts(&self, _series: &Series, _edges: &[i64], _extremes: bool) -> Result<Option<Vec<Part>>, Error> {
        Ok(None)
    }
}

/// What is known of the last sample in a range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Last {
    /// Nothing: the range has to be read.
    Unknown,
    /// There is none.
    Nothing,
    /// Its time and value.
    At(i64, f64),
}

/// Figures of a series between two edges.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    /// Samples that are numbers; all that follows is about these.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The smallest; meaningless without a sample.
    pub min: f64,
    /// The largest; meaningless without a sample.
    pub max: f64,
    /// The last; meaningless without a sample.
    pub last: f64,
}

impl Part {
    /// Two parts as one; `later` is the later one.
    pub fn join(self, later: Self) -> Self {
        match (self.count, later.count) {
            (_, 0) => self,
            (0, _) => later,
            _ => Self {
                count: self.count.saturating_add(later.count),
                sum: self.sum + later.sum,
                min: self.min.min(later.min),
                max: self.max.max(later.max),
                last: later.last,
            },
        }
    }
}

/// The answer to a query that reads more than it may.
pub fn too_many_samples() -> Error {
    Error::Execution("query processing would load too many samples into memory: ask for a shorter range or fewer series".into())
}
