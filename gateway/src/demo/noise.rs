//! Numbers that look random and are not: a hash of (seed, key, index), noise made of it, and a sine. Integers only, so
//! that every machine gets the same park. Pure.

/// One well mixed number of three (the finaliser of SplitMix64 over each).
pub fn hash(seed: u64, key: u64, index: i64) -> u64 {
    let mut state = seed;
    for word in [key, index.cast_unsigned()] {
        state = state.wrapping_add(word.wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_add(0x9E37_79B9_7F4A_7C15);
        state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        state = (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        state ^= state >> 31;
    }
    state
}

/// A number in `0..below`, the same for the same arguments; 0 for `below` under 1.
pub fn pick(seed: u64, key: u64, index: i64, below: i64) -> i64 {
    let below = u64::try_from(below).unwrap_or(0).max(1);
    i64::try_from(hash(seed, key, index) % below).expect("below an i64")
}

/// Noise in `-span..=span`, independent from one index to the next.
pub fn rough(seed: u64, key: u64, index: i64, span: i64) -> i64 {
    pick(seed, key, index, span.saturating_mul(2).saturating_add(1)).saturating_sub(span)
}

/// Noise in `-span..=span` that changes steadily: a straight line between rough values `period` apart.
pub fn smooth(seed: u64, key: u64, position: i64, period: i64, span: i64) -> i64 {
    let (index, within) = (position.div_euclid(period), position.rem_euclid(period));
    mix(rough(seed, key, index, span), rough(seed, key, index.saturating_add(1), span), within, period)
}

/// `from` at `part` 0, `to` at `part == whole`, in a straight line between.
pub fn mix(from: i64, to: i64, part: i64, whole: i64) -> i64 {
    from + (to - from) * part / whole
}

/// `value` changed by `permille` thousandths.
pub fn by_permille(value: i64, permille: i64) -> i64 {
    value * (1000 + permille) / 1000
}

/// Ten thousand times the sine of an angle in thousandths of a degree, within 20 of the true value (Bhaskara's
/// approximation: the same integers on every machine, which the C library's sine is not).
pub fn sine(millidegrees: i64) -> i64 {
    let angle = millidegrees.rem_euclid(360_000);
    let (sign, half) = if angle < 180_000 { (1, angle) } else { (-1, angle - 180_000) };
    let product = half * (180_000 - half);
    sign * (4 * product * 10_000) / (40_500_000_000 - product)
}

/// See [`sine`].
pub fn cosine(millidegrees: i64) -> i64 {
    sine(millidegrees + 90_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_keeps_to_its_span_and_repeats() {
        for index in -500..500 {
            assert!((-7..=7).contains(&rough(1, 2, index, 7)));
            assert!((-70..=70).contains(&smooth(1, 2, index, 13, 70)));
            assert_eq!(smooth(1, 2, index, 13, 70), smooth(1, 2, index, 13, 70));
            assert!((smooth(1, 2, index, 60, 600) - smooth(1, 2, index + 1, 60, 600)).abs() <= 21, "at {index}");
        }
        let distinct: std::collections::HashSet<_> = (0..1000).map(|index| hash(9, 9, index)).collect();
        assert_eq!(distinct.len(), 1000);
        assert_eq!((pick(1, 1, 1, 0), rough(1, 1, 1, 0)), (0, 0));
    }

    #[test]
    fn sine_is_near_enough() {
        for millidegrees in (-720_000..720_000).step_by(777) {
            let exact = (f64::from(millidegrees) / 1000.0).to_radians().sin() * 10_000.0;
            let difference = (exact - f64::from(i32::try_from(sine(i64::from(millidegrees))).unwrap())).abs();
            assert!(difference <= 20.0, "{millidegrees}: {difference}");
        }
    }
}
