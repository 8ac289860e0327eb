//! How long to wait before the next try: exponential with full jitter. Pure but for its random numbers.

use std::time::Duration;

/// Delays that double from `min_ms` to `max_ms`, each drawn from its upper half, so that many links do not try at once.
#[derive(Clone, Debug)]
pub struct Backoff {
    min_ms: u64,
    max_ms: u64,
    next_ms: u64,
}

impl Backoff {
    /// Starts at `min_ms`, never waits longer than `max_ms`.
    pub fn new(min_ms: u64, max_ms: u64) -> Self {
        Self { min_ms, max_ms, next_ms: min_ms }
    }

    /// The delay before the next try.
    pub fn next_delay(&mut self) -> Duration {
        let delay = self.next_ms.min(self.max_ms);
        self.next_ms = delay.saturating_mul(2);
        Duration::from_millis(fastrand::u64(delay / 2..=delay))
    }

    /// Starts again at the shortest delay: the last try went well.
    pub fn reset(&mut self) {
        self.next_ms = self.min_ms;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_to_the_end_and_starts_again() {
        let mut backoff = Backoff::new(100, 1000);
        for top in [100, 200, 400, 800, 1000, 1000] {
            let delay = backoff.next_delay().as_millis();
            assert!((top / 2..=top).contains(&delay), "{delay} of {top}");
        }
        backoff.reset();
        assert!(backoff.next_delay().as_millis() <= 100);
    }
}
