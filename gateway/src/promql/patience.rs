//! How long a query may go on. The evaluator and its sources look between pieces of work.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::error::Error;

/// One query's time, and whether anyone still waits for it.
#[derive(Debug)]
pub struct Patience<'a> {
    cancel: &'a AtomicBool,
    begun: Instant,
    time: Duration,
}

impl<'a> Patience<'a> {
    /// Begins now and lasts for `time`, or until `cancel` is set.
    pub fn new(time: Duration, cancel: &'a AtomicBool) -> Self {
        Self { cancel, begun: Instant::now(), time }
    }

    /// An error when the work should end here.
    pub fn look(&self) -> Result<(), Error> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(Error::Canceled);
        }
        if self.begun.elapsed() > self.time { Err(Error::Timeout(self.time)) } else { Ok(()) }
    }
}
