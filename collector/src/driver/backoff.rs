//! Delays between attempts: exponential, jittered, bounded. Pure; whoever asks does the waiting.
//!
//! Used by every driver for connections and for devices that do not answer, so that a park that comes back after a
//! power cut is not asked by all links at one instant.

use std::time::Duration;

/// Delays that double from `min` to `max`, each drawn evenly from the upper half of its step.
#[derive(Clone, Debug)]
pub struct Backoff {
    min_ms: u64,
    max_ms: u64,
    step_ms: u64,
    random: fastrand::Rng,
}

impl Backoff {
    /// Starts at `min_ms` and grows to `max_ms`; a `min_ms` of 0 counts as 1, a `max_ms` below `min_ms` as `min_ms`.
    pub fn new(min_ms: u64, max_ms: u64) -> Self {
        Self::with_seed(min_ms, max_ms, fastrand::u64(..))
    }

    /// The same with a fixed seed: same seed, same delays.
    pub fn with_seed(min_ms: u64, max_ms: u64, seed: u64) -> Self {
        let min_ms = min_ms.max(1);
        Self { min_ms, max_ms: max_ms.max(min_ms), step_ms: min_ms, random: fastrand::Rng::with_seed(seed) }
    }

    /// How long to wait before the next attempt: between half of the step and the step, which then doubles.
    pub fn next_delay(&mut self) -> Duration {
        let delay_ms = self.random.u64(self.step_ms.div_ceil(2)..=self.step_ms);
        self.step_ms = self.step_ms.saturating_mul(2).min(self.max_ms);
        Duration::from_millis(delay_ms)
    }

    /// Goes back to the first step: the last attempt went well.
    pub fn reset(&mut self) {
        self.step_ms = self.min_ms;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_bound_within_its_jitter() {
        for seed in 0..200 {
            let mut backoff = Backoff::with_seed(2_000, 300_000, seed);
            for step_ms in [2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 256_000, 300_000, 300_000] {
                let delay_ms = backoff.next_delay().as_millis();
                assert!(delay_ms >= step_ms / 2 && delay_ms <= step_ms, "seed {seed}: {delay_ms} at step {step_ms}");
            }
            backoff.reset();
            assert!(backoff.next_delay().as_millis() <= 2_000, "seed {seed}");
        }
    }

    #[test]
    fn two_seeds_differ_and_one_repeats() {
        let delays = |seed| {
            let mut backoff = Backoff::with_seed(1_000, 60_000, seed);
            (0..8).map(|_| backoff.next_delay()).collect::<Vec<_>>()
        };
        assert_eq!(delays(1), delays(1));
        assert_ne!(delays(1), delays(2));
    }

    #[test]
    fn odd_bounds_hold() {
        for (min_ms, max_ms) in [(0, 0), (1, 0), (5, 3), (u64::MAX, u64::MAX), (1, u64::MAX)] {
            let mut backoff = Backoff::with_seed(min_ms, max_ms, 7);
            for _ in 0..100 {
                assert!(backoff.next_delay().as_millis() <= u128::from(max_ms.max(min_ms).max(1)));
            }
        }
    }
}
