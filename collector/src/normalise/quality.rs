//! Second step: is the number inside the point's declared valid range?

use super::exact::Ratio;
use crate::catalogue::Point;
use crate::model::Decimal;

/// The valid range as mantissas, both ends inclusive.
///
/// A number outside is *bad* with reason range, and kept: the operator has declared that the quantity cannot have it,
/// so no sum may use it, yet a person must see what the device said. `uncertain` is for doubts that are not so plain.
#[derive(Clone, Copy, Debug)]
pub(super) struct ValidRange {
    min: i64,
    max: i64,
}

impl ValidRange {
    pub(super) fn new(point: &Point) -> Self {
        let decimals = point.identity.decimals;
        let min = point.valid_min.map_or(i64::MIN, |min| bound(min, decimals, Ratio::ceil));
        let max = point.valid_max.map_or(i64::MAX, |max| bound(max, decimals, Ratio::floor));
        Self { min, max }
    }

    pub(super) fn contains(self, mantissa: i64) -> bool {
        (self.min..=self.max).contains(&mantissa)
    }
}

/// The mantissa of a limit, moved inwards to a whole one; a limit beyond what a mantissa holds limits nothing.
fn bound(limit: Decimal, decimals: u8, inwards: fn(Ratio) -> i128) -> i64 {
    let outside = if limit.mantissa < 0 { i64::MIN } else { i64::MAX };
    match Ratio::of_decimal(limit, decimals) {
        Some(ratio) => i64::try_from(inwards(ratio)).unwrap_or(outside),
        // Too long for 127 bits: either far outside, or a whisker beside 0.
        None if limit.exponent >= 0 => outside,
        None => 0,
    }
}
