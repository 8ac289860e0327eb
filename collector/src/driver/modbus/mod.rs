//! Modbus: one task per link owns its line, asks the units in turn and hands over what they say.
//!
//! [`port`] where connections come from: TCP, serial ports, devices that dial in ([`dial_in`]); [`stream`] what bytes go
//! through; [`wire`] one face for [`tcp`] (without what is between frames, [`sieve`]) and [`rtu`] frames; [`due`] which answers may still come on a line of the latter; [`mod@line`] the task of a link, [`answers`] its conclusions;
//! [`mod@unit`] units, devices, groups of points; [`schedule`] when and in which order (pure); [`bisect`] which address
//! was refused (pure); [`learned`] what is remembered of that; [`output`] readings on their way; [`ask`] questions by hand;
//! [`raw`] bytes as they come, for the search of units. Frames, values and blocks
//! are in [`crate::protocol::modbus`].
//!
//! - Each block fails alone: its points become readings without a number that say why, the other blocks keep theirs.
//!   Nothing stale is ever sent, and no number that is not from this poll's own answer.
//! - A unit that stays silent is asked less and less often, by one request each time, so that it cannot stall the
//!   others on its line; all devices with its id wait together.
//! - A read that is refused is halved at once, so that no readable point is lost, and is read in pieces from then on.
//! - While the link is down each point gets one reading that says so, then one a minute at most.
//! - When the pipeline is full the task waits; the polls of that time are skipped and counted.
//!
//! Order. Points of a device are read in groups by priority, each with its own interval. Of the groups that are due the
//! fast ones go first, then those that have been due for longest; a poll that has begun goes on, unless a faster one is
//! due. What has been due for longer than its interval goes with the fast ones, so that nobody starves.
//!
//! Timing. A group is first polled when its link is up, then at multiples of its interval on the wall clock plus a
//! fixed stagger below one second that differs by link and device. A poll that could not start before its next one was
//! due stands for the newest; those between are skipped. After two requests in a row without answer the rest of a poll is
//! not asked for; after three such polls (one, of a unit that has never answered) the unit is down, and is probed after
//! 2 s, growing to 5 min. Three requests in a row without answer, of units that are not known to be down, make a new
//! connection; attempts to connect are 0.5 s apart, growing to 30 s.

mod schedule;
mod bisect;
pub mod learned;
mod unit;
mod stream;
pub mod dial_in;
mod wire;
mod tcp;
mod sieve;
pub mod due;
mod rtu;
mod port;
mod output;
mod line;
mod answers;
mod ask;
pub mod raw;

pub use ask::{Asker, Unanswered};

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{LinkDevices, Outlet, Shared};
use crate::clock::Clock;
use crate::health::HealthBoard;
use crate::metrics::Metrics;

/// Longest wait for answers, and for room in the pipeline, when stopping.
const STOP_LIMIT: Duration = Duration::from_secs(3);

/// How patient a link is; fixed but for tests.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// First and longest delay between attempts to connect.
    connect_backoff_ms: (u64, u64),
    /// First and longest delay between attempts at a silent device or a refused block.
    device_backoff_ms: (u64, u64),
    /// Polls in a row without any answer after which a device counts as down.
    polls_until_down: u32,
    /// Requests in a row without answer, from any unit, after which the connection is made anew.
    timeouts_until_reconnect: u32,
    /// While the link is down, its points are told so this often.
    link_down_repeat_ms: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect_backoff_ms: (500, 30_000),
            device_backoff_ms: (2_000, 300_000),
            polls_until_down: 3,
            timeouts_until_reconnect: 3,
            link_down_repeat_ms: 60_000,
        }
    }
}

/// Polls the devices of one link until `cancel`; then waits for the answers that are under way, hands over what it has, and
/// returns, after [`STOP_LIMIT`] at the latest.
///
/// Returns early when the pipeline is gone, or at once when the link is no Modbus link.
pub async fn run(
    devices: LinkDevices,
    outlet: Outlet,
    health: HealthBoard,
    metrics: Metrics,
    clock: Arc<dyn Clock>,
    shared: Shared,
    cancel: CancellationToken,
) {
    let Some(mut line) = line::Line::new(&devices, outlet, health, &metrics, clock, &shared, Patience::default()) else {
        tracing::error!(link = %devices.link.id, "not a modbus link");
        return;
    };
    run_line(&mut line, cancel).await;
}

async fn run_line(line: &mut line::Line, cancel: CancellationToken) {
    line.cancel = cancel.clone();
    let overdue = async {
        cancel.cancelled().await;
        sleep(STOP_LIMIT).await;
    };
    tokio::select! {
        biased;
        _ = line.work() => {}
        () = overdue => {}
    }
    line.stop();
}

#[cfg(all(test, feature = "sim"))]
pub(crate) mod tests;
