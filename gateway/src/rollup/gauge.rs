//! Gauges: means weighted by time, plain means, smallest and largest value.
//!
//! A value holds until the next one that counts, but not longer than `PointRule::hold_ms`: after that nothing is known,
//! and nothing is made up.

use super::count::gauge_part;
use super::partial::Partial;

/// A value held for so many milliseconds of the period.
pub(super) fn hold(part: &mut Partial, value: i64, ms: i64) {
    let part = gauge_part(part);
    part.weighted = part.weighted.saturating_add(i128::from(value).saturating_mul(i128::from(ms)));
    part.covered_ms = part.covered_ms.saturating_add(ms);
}

/// A sample of the period.
pub(super) fn note(part: &mut Partial, value: i64) {
    let part = gauge_part(part);
    part.sum = part.sum.saturating_add(i128::from(value));
    part.range = part.range.map_or(Some((value, value)), |(min, max)| Some((min.min(value), max.max(value))));
}
