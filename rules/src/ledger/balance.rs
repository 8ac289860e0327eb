//! What is left of a pollutant's verified reductions after its uses.

use crate::Number;
use crate::period::Day;

/// A verified reduction: its amount in t a year and the last day on which it may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amount {
    /// t a year.
    pub amount: Number,
    /// Of a source: the last day on which it counts, `None` without end. Of a use: the day it was taken, `None` when
    /// not known (any source serves it).
    pub day: Option<Day>,
}

/// What is left, and what was taken beyond what there was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balance {
    /// Verified and not used, of sources that have not expired; t a year.
    pub left: Number,
    /// Used without a source for it; 0 in a sound ledger.
    pub overdrawn: Number,
}

impl Balance {
    /// `left - overdrawn`.
    pub fn net(&self) -> Number {
        &self.left - &self.overdrawn
    }
}

/// Sum of verified sources less sum of uses, on a day; without a day nothing is taken for expired.
///
/// Uses are served in order of their days, each by the source that expires first among those that count on its day, so
/// that what an expired source had given away stays given and what it had left is gone. While nothing has expired this
/// is the plain difference of the sums. Source: 环发〔2014〕197号 (reductions are given to projects once).
pub fn balance(sources: &[Amount], uses: &[Amount], on: Option<Day>) -> Balance {
    let mut sources: Vec<Amount> = sources.to_vec();
    sources.sort_by_key(|source| (source.day.is_none(), source.day));
    let mut uses: Vec<&Amount> = uses.iter().collect();
    uses.sort_by_key(|one| (one.day.is_none(), one.day));
    let mut overdrawn = Number::zero();
    for one in uses {
        let mut due = one.amount.clone();
        for source in &mut sources {
            if !due.is_positive() {
                break;
            }
            if counts(source, one.day) {
                let taken = std::cmp::min(&due, &source.amount).clone();
                due -= &taken;
                source.amount -= &taken;
            }
        }
        overdrawn += &due;
    }
    let left = sources.iter().filter(|source| counts(source, on)).map(|source| &source.amount).sum();
    Balance { left, overdrawn }
}

/// Whether a source still counts on a day; the day of its expiry included.
fn counts(source: &Amount, on: Option<Day>) -> bool {
    match (source.day, on) {
        (Some(expiry), Some(on)) => on <= expiry,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amounts(rows: &[(&str, &str)]) -> Vec<Amount> {
        let read = |&(amount, day): &(&str, &str)| Amount { amount: amount.parse().unwrap(), day: day.parse().ok() };
        rows.iter().map(read).collect()
    }

    fn check(sources: &[(&str, &str)], uses: &[(&str, &str)], on: &str, expected: (&str, &str)) {
        let found = balance(&amounts(sources), &amounts(uses), on.parse().ok());
        assert_eq!((found.left.to_string().as_str(), found.overdrawn.to_string().as_str()), expected, "{sources:?} {uses:?} {on}");
    }

    #[test]
    fn a_balance_is_what_counts_less_what_was_used() {
        check(&[], &[], "", ("0", "0"));
        // 10 + 2.5 - 4 - 0.001 = 8.499
        check(&[("10", ""), ("2.5", "")], &[("4", "2025-01-01"), ("0.001", "")], "2025-06-01", ("8.499", "0"));
        // The last day counts, the next one does not.
        check(&[("10", "2025-12-31")], &[], "2025-12-31", ("10", "0"));
        check(&[("10", "2025-12-31")], &[], "2026-01-01", ("0", "0"));
        check(&[("10", "2025-12-31")], &[], "", ("10", "0"));
        // 4 are taken of the one that expires first; 6 of it are gone in 2026, the other one's 5 are left.
        check(&[("5", ""), ("10", "2025-12-31")], &[("4", "2025-03-01")], "2026-01-01", ("5", "0"));
        check(&[("5", ""), ("10", "2025-12-31")], &[("4", "2025-03-01")], "2025-12-31", ("11", "0"));
        // 12 = 10 of the first and 2 of the other: 3 are left after it expired.
        check(&[("5", ""), ("10", "2025-12-31")], &[("12", "2025-03-01")], "2026-01-01", ("3", "0"));
        // In 2026 only the 5 are there: 2 of the 7 have no source.
        check(&[("5", ""), ("10", "2025-12-31")], &[("7", "2026-03-01")], "2026-03-01", ("0", "2"));
        check(&[("5", "")], &[("7", "")], "", ("0", "2"));
    }
}
