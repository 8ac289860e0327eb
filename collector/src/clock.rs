//! The clock as a value: real in `main`, by hand in tests. Pure code takes [`Now`] as an argument instead.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::model::{Now, UtcMillis};

/// Reads the wall clock and the monotonic clock.
pub trait Clock: Send + Sync + 'static {
    /// Both clocks at this instant.
    fn now(&self) -> Now;
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose monotonic part starts now.
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        let utc = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| ms.saturating_neg()),
        };
        Now { utc: UtcMillis(utc), monotonic_ms: u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX) }
    }
}

/// A clock that moves only when told to.
#[derive(Debug, Default)]
pub struct ManualClock {
    utc: AtomicI64,
    monotonic_ms: AtomicU64,
}

impl ManualClock {
    /// A clock at `utc`, its monotonic part at 0.
    pub fn new(utc: UtcMillis) -> Self {
        Self { utc: AtomicI64::new(utc.0), monotonic_ms: AtomicU64::new(0) }
    }

    /// Moves both clocks on.
    pub fn advance(&self, milliseconds: u32) {
        self.utc.fetch_add(i64::from(milliseconds), Ordering::SeqCst);
        self.monotonic_ms.fetch_add(u64::from(milliseconds), Ordering::SeqCst);
    }

    /// Sets the wall clock alone, as an operator or NTP does.
    pub fn jump_to(&self, utc: UtcMillis) {
        self.utc.store(utc.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Now {
        Now { utc: UtcMillis(self.utc.load(Ordering::SeqCst)), monotonic_ms: self.monotonic_ms.load(Ordering::SeqCst) }
    }
}
