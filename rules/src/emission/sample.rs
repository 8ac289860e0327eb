//! What comes in: readings by point, as the record has them.

use std::collections::HashMap;

use super::mark::Letter;
use super::time::{Period, UtcMillis};
use crate::Number;

/// One value of a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// When it was measured; of a held value of water the sample time.
    pub at: UtcMillis,
    /// Mantissa at the decimals of its series; `None`: there is no number.
    pub value: Option<i64>,
    /// Whether the record calls it good. A bad value is kept and never counted.
    pub good: bool,
    /// The letter that came with it (HJ 212 `-Flag`); none or N: normal.
    pub mark: Option<Letter>,
}

/// The readings of one point in order of time, one for each time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Series {
    /// A mantissa times 10^-decimals is the number.
    pub decimals: u32,
    /// The readings.
    pub readings: Vec<Reading>,
}

/// Readings by point, `device/point`. A point without readings may be left out.
pub type Readings = HashMap<String, Series>;

impl Reading {
    /// A good value.
    pub fn good(at: UtcMillis, value: i64) -> Self {
        Self { at, value: Some(value), good: true, mark: None }
    }

    /// Its letter, unless that is N.
    pub fn letter(&self) -> Option<Letter> {
        self.mark.filter(|letter| *letter != Letter::N)
    }

    /// Its mantissa if it counts: a number that is good and carries no letter but N.
    pub fn counted(&self) -> Option<i64> {
        if self.good && self.letter().is_none() { self.value } else { None }
    }
}

impl Series {
    /// Of these readings in any order: sorted by time; of several at one time the last one given.
    pub fn of(decimals: u32, mut readings: Vec<Reading>) -> Self {
        readings.sort_by_key(|reading| reading.at);
        readings.reverse();
        readings.dedup_by_key(|reading| reading.at);
        readings.reverse();
        Self { decimals, readings }
    }

    /// The readings inside a period.
    pub fn within(&self, period: &Period) -> &[Reading] {
        let from = self.readings.partition_point(|reading| reading.at < period.from);
        let to = self.readings.partition_point(|reading| reading.at < period.to);
        self.readings.get(from..to).unwrap_or_default()
    }

    /// The readings inside a period and the last one before it.
    pub fn reaching(&self, period: &Period) -> &[Reading] {
        let from = self.readings.partition_point(|reading| reading.at <= period.from).saturating_sub(1);
        let to = self.readings.partition_point(|reading| reading.at < period.to);
        self.readings.get(from..to).unwrap_or_default()
    }

    /// A mantissa as a number.
    pub fn number(&self, mantissa: i64) -> Number {
        Number::decimal(i128::from(mantissa), self.decimals)
    }
}
