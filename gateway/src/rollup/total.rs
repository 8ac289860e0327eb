//! What a total is, and the view by which others read totals.

use parkgate_collector::model::{PointId, Quality, UtcMillis};
use serde::{Deserialize, Serialize};

use crate::store::StoreError;

/// Length of a period, in the park's zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// A clock hour.
    Hour,
    /// 00:00 to the next 00:00; 23 or 25 hours where clocks change.
    Day,
    /// First day 00:00 to the first day of the next month 00:00.
    Month,
    /// 1 January 00:00 to the next.
    Year,
}

impl Level {
    /// From short to long.
    pub const ALL: &[Self] = &[Self::Hour, Self::Day, Self::Month, Self::Year];

    /// The name in JSON, commands and series names.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
            Self::Year => "year",
        }
    }
}

/// A half-open period `[start, end)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period {
    /// Its length.
    pub level: Level,
    /// Start, inclusive.
    pub start: UtcMillis,
    /// End, exclusive.
    pub end: UtcMillis,
}

/// An exact decimal: `mantissa * 10^-decimals`, up to 38 digits. Finer than the point's own decimals, since shares of a
/// difference fall between its steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Amount {
    /// All digits with the sign.
    pub mantissa: i128,
    /// Digits after the point.
    pub decimals: u8,
}

impl Amount {
    /// The nearest float, for pictures.
    pub fn to_f64(self) -> f64 {
        // By its text: dividing by a power of ten would round twice.
        self.to_string().parse().unwrap_or(f64::NAN)
    }
}

impl std::fmt::Display for Amount {
    /// Plain decimal digits without trailing zeros: `12.5`, `-0.001`, `3`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = self.mantissa.unsigned_abs().to_string();
        let decimals = usize::from(self.decimals);
        let padded = format!("{digits:0>width$}", width = decimals + 1);
        let (whole, part) = padded.split_at(padded.len() - decimals);
        let part = part.trim_end_matches('0');
        let sign = if self.mantissa < 0 { "-" } else { "" };
        if part.is_empty() { write!(f, "{sign}{whole}") } else { write!(f, "{sign}{whole}.{part}") }
    }
}

/// What happened within a counter's period; an undisturbed total has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Flags {
    /// The register wrapped at its modulus.
    pub rollover: bool,
    /// A difference was split in time at a boundary of the period (R-BOUND).
    pub boundary_interpolated: bool,
    /// A meter was exchanged, or its multiplier changed (R-EXCHANGE).
    pub meter_exchanged: bool,
    /// The register was lost at the end, and what is missing is estimated (R-EST).
    pub tail_estimated: bool,
    /// A register fell implausibly and nobody has decided what it was: nothing is counted for that pair, and the period is
    /// incomplete (R-DELTA).
    pub suspect: bool,
    /// Somebody decided that a reading is wrong, or that the register was set back: nothing is left to decide. The time of
    /// a pair that was set back is not covered, which completeness tells.
    pub decided: bool,
    /// The period lies wholly or partly inside a gap, and got its even share of it (R-GAP).
    pub estimated: bool,
}

/// A counter's period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CounterTotal {
    /// What was measured, C(end) - C(start); `None` when no pair of registers touches the period.
    pub amount: Option<Amount>,
    /// What R-EST adds for a lost tail; never summed into longer periods.
    pub tail_estimate: Option<Amount>,
    /// Of `amount`, what R-BOUND put on this side of a boundary.
    pub interpolated: Amount,
    /// Of `amount`, what R-GAP spread evenly over a gap that reaches beyond the period.
    pub estimated: Amount,
    /// Register at the start, interpolated where need be.
    pub start_register: Option<Amount>,
    /// Register at the end, or the last one known of an open period.
    pub end_register: Option<Amount>,
    /// What happened.
    pub flags: Flags,
}

/// A gauge's period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GaugeTotal {
    /// Mean weighted by time, each value holding until the next, but not longer than the point's expected interval allows.
    pub mean: Option<Amount>,
    /// Plain mean of the samples.
    pub arithmetic_mean: Option<Amount>,
    /// Smallest and largest value.
    pub min: Option<Amount>,
    /// See `min`.
    pub max: Option<Amount>,
}

/// A state's period: milliseconds spent in each code, by code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateTotal {
    /// Code and milliseconds.
    pub durations: Vec<(i64, i64)>,
}

/// The figures of a period, by the point's kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Figures {
    /// Of a counter.
    Counter(CounterTotal),
    /// Of a gauge.
    Gauge(GaugeTotal),
    /// Of a state.
    State(StateTotal),
}

/// One point's figures over one period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Total {
    /// Which point.
    pub point: PointId,
    /// Which period.
    pub period: Period,
    /// The period is over and the grace has passed: a later change becomes a correction.
    pub closed: bool,
    /// The figures.
    pub figures: Figures,
    /// Samples that count: with a number that is not bad.
    pub samples: u64,
    /// Parts per million of what the period should have; `None` without a known interval.
    pub completeness_ppm: Option<u32>,
    /// Worst quality of a sample in the period; `None` without a sample.
    pub worst_quality: Option<Quality>,
}

/// Reads totals. Calls block on file I/O: call them from blocking tasks.
pub trait TotalsView: Send + Sync + 'static {
    /// Totals of a point whose period starts in `[from, to)`, oldest first; the open period's is the last one, with
    /// `closed` false. Periods of which nothing is known are left out.
    fn totals(&self, point: PointId, level: Level, from: UtcMillis, to: UtcMillis) -> Result<Vec<Total>, StoreError>;

    /// Totals that were closed, or changed after they were closed, in order of that happening, after `cursor` (0: from
    /// the beginning), at most `limit`; and the cursor to go on with.
    fn closed_since(&self, cursor: u64, limit: usize) -> Result<(u64, Vec<Total>), StoreError>;

    /// The cursor behind all that has closed or changed until now.
    fn last_change(&self) -> Result<u64, StoreError>;

    /// The period of a level that holds an instant, in the park's zone.
    fn period_of(&self, level: Level, instant: UtcMillis) -> Period;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_print_plainly() {
        for (mantissa, decimals, text) in [
            (0, 0, "0"),
            (0, 3, "0"),
            (12_500, 3, "12.5"),
            (-1, 3, "-0.001"),
            (3, 0, "3"),
            (-120, 1, "-12"),
            (i128::MAX, 0, "170141183460469231731687303715884105727"),
        ] {
            let amount = Amount { mantissa, decimals };
            assert_eq!(amount.to_string(), text);
        }
        assert!((Amount { mantissa: 3, decimals: 1 }.to_f64() - 0.3).abs() < f64::EPSILON);
    }
}
