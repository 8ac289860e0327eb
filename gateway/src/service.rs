//! What the service manager is told, by the protocol of sd_notify(3): ready, alive, stopping. Where nobody asked to be told
//! (no `NOTIFY_SOCKET` in the environment) nothing happens.
//!
//! Alive is not told by a timer but by what went through the pipeline to the disk: see [`crate::own`].

use sd_notify::NotifyState;
use tracing::debug;

/// Everything runs, drivers too.
pub fn ready() {
    tell(NotifyState::Ready);
}

/// What the gateway recorded of itself is durable, or cannot be for a reason that no restart mends.
pub fn alive() {
    tell(NotifyState::Watchdog);
}

/// The parts are being stopped.
pub fn stopping() {
    tell(NotifyState::Stopping);
}

fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        debug!(error = %error, "the service manager does not listen");
    }
}
