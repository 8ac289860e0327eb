//! Threads that are told to end: [`Thread`] one that ends by itself when told, [`Threads`] several that may hang in a
//! request and are left behind then.

use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

/// Longest wait for threads that may hang in a request.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two looks whether they have ended, and whether a wait was cancelled.
const LOOK: Duration = Duration::from_millis(5);
/// Between two looks whether a longer wait was cancelled.
const STEP: Duration = Duration::from_millis(50);

/// A thread's handle, and how it is told to end.
#[derive(Debug)]
pub struct Thread {
    handle: Mutex<Option<JoinHandle<()>>>,
    cancel: CancellationToken,
}

impl Thread {
    /// Starts something that runs until its token is cancelled, on a thread of its own.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn spawn(name: &str, run: impl FnOnce(&CancellationToken) + Send + 'static) -> std::io::Result<Self> {
        let cancel = CancellationToken::new();
        let told = cancel.clone();
        let handle = std::thread::Builder::new().name(name.into()).spawn(move || run(&told))?;
        Ok(Self { handle: Mutex::new(Some(handle)), cancel })
    }

    /// Whether it ended although it should run.
    pub fn failed(&self) -> bool {
        let handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner);
        handle.as_ref().is_some_and(JoinHandle::is_finished) && !self.cancel.is_cancelled()
    }

    /// Tells it to end and waits for that; `false` when it panicked. Blocks.
    pub fn stop(&self) -> bool {
        self.cancel.cancel();
        let handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner).take();
        handle.is_none_or(|handle| handle.join().is_ok())
    }
}

/// Threads that talk to others, each with the name people know it by.
#[derive(Default)]
pub struct Threads {
    threads: Vec<(String, JoinHandle<()>)>,
    cancel: CancellationToken,
}

impl Threads {
    /// Cancelled when they shall end.
    pub fn cancel(&self) -> &CancellationToken {
        &self.cancel
    }

    /// Starts one more.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn spawn(&mut self, name: String, run: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        let thread = std::thread::Builder::new().name(name.clone()).spawn(run)?;
        self.threads.push((name, thread));
        Ok(())
    }

    /// Ends them; those that hang in a request are left behind. Blocks.
    pub fn stop(self) {
        self.cancel.cancel();
        let start = Instant::now();
        for (name, thread) in self.threads {
            while !thread.is_finished() && start.elapsed() < PATIENCE {
                std::thread::sleep(LOOK);
            }
            if !thread.is_finished() {
                warn!(receiver = %name, "a request hangs; what it sends is sent again at the next start");
            } else if thread.join().is_err() {
                error!(receiver = %name, "ended in a panic");
            }
        }
    }
}

impl std::fmt::Debug for Threads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.threads.iter().map(|(name, _)| name)).finish()
    }
}

/// Waits, but not beyond `cancel`. Blocks.
pub fn wait(time: Duration, cancel: &CancellationToken) {
    let mut left = time;
    while !cancel.is_cancelled() && !left.is_zero() {
        std::thread::sleep(STEP.min(left));
        left = left.saturating_sub(STEP);
    }
}
