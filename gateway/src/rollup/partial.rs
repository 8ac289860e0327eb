//! What is kept of a period: enough to put neighbouring periods together exactly, and to tell a [`Total`] from.
//!
//! Hours are counted from samples (`count.rs`); a day is its hours appended to each other, a month its days, a year its
//! months. So all levels agree to the last digit, and flags are right on each level: what a difference put on this side
//! of a boundary is remembered at both ends, and is gone where the boundary lies inside the longer period.

use parkgate_collector::model::{Quality, UtcMillis};

use super::rule::PointRule;
use super::total::{Amount, CounterTotal, Figures, Flags, GaugeTotal, Period, StateTotal, Total};

/// Digits that amounts have beyond the point's own. A register of up to 13 digits has 28 with them; the full 64 bits
/// still fit 128, ten thousand times over.
pub const EXTRA_DIGITS: u8 = 15;
/// `10^EXTRA_DIGITS`.
pub const EXTRA: i128 = 1_000_000_000_000_000;
/// Digits that means have beyond the point's own.
const MEAN_DIGITS: u8 = 9;
const MEAN: i128 = 1_000_000_000;
/// Most codes of a state kept per period, the smallest; a point with more is no state.
pub const CODES_MAX: usize = 64;

/// A period's share of what it has in common with its neighbours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partial {
    /// Samples with a number that is not bad.
    pub samples: u64,
    /// Worst quality of all samples.
    pub worst: Option<Quality>,
    /// By kind.
    pub of: Of,
}

/// The part that depends on the point's kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Of {
    /// Nothing yet.
    #[default]
    Nothing,
    /// A counter's.
    Counter(CounterPart),
    /// A gauge's.
    Gauge(GaugePart),
    /// A state's.
    State(StatePart),
}

/// Of a counter. Amounts have [`EXTRA_DIGITS`] more digits than the point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CounterPart {
    /// What was counted; `None` when no pair with a difference touches the period.
    pub amount: Option<i128>,
    /// Of it, what came from a pair that began before the period.
    pub lead: Option<Straddle>,
    /// Of it, what came from a pair that ends after the period.
    pub trail: Option<Straddle>,
    /// `lead` and `trail` are one pair: nothing was read within the period.
    pub whole: bool,
    /// See [`Flags`].
    pub rollover: bool,
    /// See [`Flags`].
    pub exchanged: bool,
    /// See [`Flags`].
    pub suspect: bool,
    /// See [`Flags`].
    pub decided: bool,
    /// Where in the period counting begins and ends: its own ends, where a pair reaches beyond them.
    pub covered: Option<(UtcMillis, UtcMillis)>,
    /// Within `covered`, milliseconds in gaps.
    pub gap_ms: i64,
    /// Within `covered`, milliseconds of pairs without a difference.
    pub lost_ms: i64,
    /// Register, in its own units, at the start (or the first one known) and at the end (or the last one known).
    pub registers: Option<(i128, i128)>,
}

/// What a pair that crosses a boundary put on this side of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Straddle {
    /// As [`CounterPart::amount`].
    pub amount: i128,
    /// The pair spans a gap (R-GAP), not just the time between two readings (R-BOUND).
    pub gap: bool,
}

/// Of a gauge; mantissas at the point's decimals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GaugePart {
    /// Sum of value times milliseconds that it held.
    pub weighted: i128,
    /// Milliseconds for which a value held.
    pub covered_ms: i64,
    /// Sum of the samples.
    pub sum: i128,
    /// Smallest and largest sample; `None` without one.
    pub range: Option<(i64, i64)>,
}

/// Of a state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatePart {
    /// Code and milliseconds, by code.
    pub durations: Vec<(i64, i64)>,
}

impl Partial {
    /// Nothing is known of the period.
    pub fn is_empty(&self) -> bool {
        self.samples == 0 && self.worst.is_none() && self.of == Of::Nothing
    }

    /// Puts the period that follows behind this one.
    pub fn append(&mut self, later: &Self) {
        self.samples = self.samples.saturating_add(later.samples);
        self.worst = self.worst.max(later.worst);
        match (&mut self.of, &later.of) {
            (_, Of::Nothing) => {}
            (Of::Counter(own), Of::Counter(later)) => own.append(later),
            (Of::Gauge(own), Of::Gauge(later)) => own.append(later),
            (Of::State(own), Of::State(later)) => later.durations.iter().for_each(|&(code, ms)| own.add(code, ms)),
            (own, later) => *own = later.clone(),
        }
    }

    /// The total of `period`. `until`: up to when the record reaches; what a period that is not over should have is
    /// told by it. A tail is estimated only for a closed period (R-EST).
    pub fn total(&self, rule: &PointRule, period: Period, closed: bool, until: UtcMillis) -> Total {
        let (figures, covered_ms) = match &self.of {
            Of::Nothing => (rule.no_figures(), 0),
            Of::Counter(part) => (Figures::Counter(part.total(rule.decimals, period, closed)), part.covered_ms()),
            Of::Gauge(part) => (Figures::Gauge(part.total(rule.decimals, self.samples)), part.covered_ms),
            Of::State(part) => {
                let covered = part.durations.iter().fold(0i64, |sum, (_, ms)| sum.saturating_add(*ms));
                (Figures::State(StateTotal { durations: part.durations.clone() }), covered)
            }
        };
        let mut due_end = period.end.min(until.max(period.start));
        if let Of::Counter(CounterPart { covered: Some((_, last)), .. }) = &self.of
            && !closed
            && due_end.since(*last) <= rule.hold_ms
        {
            due_end = due_end.min(*last);
        }
        let due_ms = due_end.since(period.start);
        let ppm = || {
            let parts = i128::from(covered_ms.clamp(0, due_ms.max(0))).checked_mul(1_000_000)?.checked_div(i128::from(due_ms))?;
            u32::try_from(parts).ok()
        };
        Total {
            point: rule.point,
            period,
            closed,
            figures,
            samples: self.samples,
            completeness_ppm: rule.interval_known.then(ppm).flatten(),
            worst_quality: self.worst,
        }
    }
}

impl CounterPart {
    fn append(&mut self, later: &Self) {
        let both = |own: Option<Straddle>, later: Option<Straddle>| match (own, later) {
            (Some(own), Some(later)) => Some(Straddle { amount: own.amount.saturating_add(later.amount), gap: own.gap }),
            (own, later) => own.or(later),
        };
        self.lead = if self.whole { both(self.lead, later.lead) } else { self.lead };
        self.trail = if later.whole { both(self.trail, later.trail) } else { later.trail };
        self.whole &= later.whole;
        self.amount = match (self.amount, later.amount) {
            (Some(own), Some(later)) => Some(own.saturating_add(later)),
            (own, later) => own.or(later),
        };
        self.rollover |= later.rollover;
        self.exchanged |= later.exchanged;
        self.suspect |= later.suspect;
        self.decided |= later.decided;
        // Time between the two that neither covers is covered by none: a part that follows begins where this one ends,
        // or nothing was known of what is between.
        if let (Some((_, end)), Some((start, _))) = (self.covered, later.covered) {
            self.lost_ms = self.lost_ms.saturating_add(start.since(end));
        }
        self.covered = join(self.covered, later.covered);
        self.registers = join(self.registers, later.registers);
        self.gap_ms = self.gap_ms.saturating_add(later.gap_ms);
        self.lost_ms = self.lost_ms.saturating_add(later.lost_ms);
    }

    /// Milliseconds that are neither lost nor in a gap.
    fn covered_ms(&self) -> i64 {
        self.covered.map_or(0, |(first, last)| last.since(first).saturating_sub(self.gap_ms).saturating_sub(self.lost_ms))
    }

    fn total(&self, decimals: u8, period: Period, closed: bool) -> CounterTotal {
        let amount = |mantissa: i128| Amount { mantissa, decimals: decimals.saturating_add(EXTRA_DIGITS) };
        let trail = self.trail.filter(|_| !self.whole);
        let of = |gap: bool| {
            let parts = [self.lead, trail].into_iter().flatten().filter(|part| part.gap == gap);
            parts.fold(0i128, |sum, part| sum.saturating_add(part.amount))
        };
        let tail_estimate = if closed { self.tail_estimate(period) } else { None };
        CounterTotal {
            amount: self.amount.map(amount),
            tail_estimate: tail_estimate.map(amount),
            interpolated: amount(of(false)),
            estimated: amount(of(true)),
            start_register: self.registers.map(|(start, _)| amount(start)),
            end_register: self.registers.map(|(_, end)| amount(end)),
            flags: Flags {
                rollover: self.rollover,
                boundary_interpolated: self.lead.is_some() || self.trail.is_some(),
                meter_exchanged: self.exchanged,
                tail_estimated: tail_estimate.is_some(),
                suspect: self.suspect,
                decided: self.decided,
                estimated: [self.lead, self.trail].into_iter().flatten().any(|part| part.gap),
            },
        }
    }

    /// R-EST: what was measured per valid day, times the days that are missing at the end.
    fn tail_estimate(&self, period: Period) -> Option<i128> {
        let (first, last) = self.covered?;
        let missing = period.end.since(last);
        let valid = last.since(first).checked_sub(self.lost_ms)?;
        (missing > 0 && valid > 0).then(|| share(self.amount?, missing, valid)).flatten()
    }
}

impl GaugePart {
    fn append(&mut self, later: &Self) {
        self.weighted = self.weighted.saturating_add(later.weighted);
        self.covered_ms = self.covered_ms.saturating_add(later.covered_ms);
        self.sum = self.sum.saturating_add(later.sum);
        self.range = match (self.range, later.range) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (own, later) => own.or(later),
        };
    }

    fn total(&self, decimals: u8, samples: u64) -> GaugeTotal {
        let exact = |mantissa: i64| Amount { mantissa: i128::from(mantissa), decimals };
        let mean = |sum: i128, weight: i128| {
            let mantissa = parkgate_collector::model::decimal::div_half_even(sum.checked_mul(MEAN)?, weight)?;
            Some(Amount { mantissa, decimals: decimals.saturating_add(MEAN_DIGITS) })
        };
        GaugeTotal {
            mean: mean(self.weighted, i128::from(self.covered_ms)),
            arithmetic_mean: mean(self.sum, i128::from(samples)),
            min: self.range.map(|(min, _)| exact(min)),
            max: self.range.map(|(_, max)| exact(max)),
        }
    }
}

impl StatePart {
    /// Adds milliseconds spent in a code.
    pub fn add(&mut self, code: i64, ms: i64) {
        match self.durations.binary_search_by_key(&code, |(code, _)| *code) {
            Ok(index) => {
                if let Some((_, sum)) = self.durations.get_mut(index) {
                    *sum = sum.saturating_add(ms);
                }
            }
            Err(index) => {
                self.durations.insert(index, (code, ms));
                self.durations.truncate(CODES_MAX);
            }
        }
    }
}

/// From the first of one to the last of the other.
fn join<T: Copy>(own: Option<(T, T)>, later: Option<(T, T)>) -> Option<(T, T)> {
    match (own, later) {
        (Some((first, _)), Some((_, last))) => Some((first, last)),
        (own, later) => own.or(later),
    }
}

/// `amount * part / whole`, rounded half to even; `None` for a `whole` below 1, a `part` below 0, and where the result
/// leaves 127 bits. Exact for every amount: what lies between needs no more than 128 bits.
pub fn share(amount: i128, part: i64, whole: i64) -> Option<i128> {
    if whole < 1 || part < 0 {
        return None;
    }
    let (part, whole) = (i128::from(part), i128::from(whole));
    // amount = quotient * whole + rest, and rest * part < 2^126.
    let rest = amount.rem_euclid(whole).checked_mul(part)?;
    let floor = amount.div_euclid(whole).checked_mul(part)?.checked_add(rest.div_euclid(whole))?;
    let twice = rest.rem_euclid(whole).checked_mul(2)?;
    let up = twice > whole || (twice == whole && floor.rem_euclid(2) == 1);
    if up { floor.checked_add(1) } else { Some(floor) }
}
