//! What the thread of any receiver needs: its place in the outbox, waits, how it is doing.

use std::time::Duration;

use parkgate_collector::driver::backoff::Backoff;
use parkgate_rules::alarm::UtcMillis;
use prometheus::IntGauge;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::super::outbox::Outbox;
use super::super::{Alarms, Sources};
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use crate::store::StoreError;

/// Least and longest wait before a receiver is asked again that is busy or away.
const LATER_MS: (u64, u64) = (250, 15_000);
/// The same for one that refuses us.
const REFUSED_MS: (u64, u64) = (500, 60_000);
/// Wait before a file is tried again.
pub(super) const TROUBLE: Duration = Duration::from_secs(1);

/// Whoever asked for the end of the thread has it.
pub(super) struct Cancelled;

/// See the module.
pub(super) struct Common {
    pub(super) id: String,
    pub(super) alarms: Alarms,
    pub(super) sources: Sources,
    pub(super) cancel: CancellationToken,
    durable: watch::Receiver<u64>,
    runtime: tokio::runtime::Runtime,
    later: Backoff,
    refused: Backoff,
    depth: IntGauge,
    lag: IntGauge,
    is_fine: Option<bool>,
}

impl Common {
    pub(super) fn new(id: &str, alarms: &Alarms, sources: &Sources, cancel: CancellationToken) -> std::io::Result<Self> {
        let metrics = &sources.metrics;
        Ok(Self {
            depth: metrics.alarm_outbox_depth.with_label_values(&[id]),
            lag: metrics.alarm_outbox_lag.with_label_values(&[id]),
            id: id.to_owned(),
            durable: alarms.durable(),
            alarms: alarms.clone(),
            sources: sources.clone(),
            cancel,
            runtime: tokio::runtime::Builder::new_current_thread().enable_time().build()?,
            later: Backoff::new(LATER_MS.0, LATER_MS.1),
            refused: Backoff::new(REFUSED_MS.0, REFUSED_MS.1),
            is_fine: None,
        })
    }

    pub(super) fn now(&self) -> UtcMillis {
        UtcMillis(self.sources.clock.now().utc.0)
    }

    /// The outbox and the last event that this receiver has; a new one has all that was before.
    pub(super) fn open(&self) -> Result<(Outbox, u64), StoreError> {
        let path = self.alarms.path().cloned().unwrap_or_default();
        let outbox = Outbox::open_for_target(&path)?;
        let seq = match outbox.target(&self.id)? {
            // One beyond what there is would pass over events that are to come.
            Some(seq) => seq.min(outbox.bounds()?.1),
            None => {
                let seq = outbox.bounds()?.1;
                outbox.set_target(&self.id, seq)?;
                seq
            }
        };
        Ok((outbox, seq))
    }

    /// The receiver took something.
    pub(super) fn fine(&mut self, count: usize) {
        self.later.reset();
        self.refused.reset();
        self.count("taken", count);
        if self.is_fine.replace(true) != Some(true) {
            info!(receiver = %self.id, "takes alarms");
            self.sources.readiness.degraded(&self.id, None);
        }
    }

    /// It did not; how long to wait.
    pub(super) fn away(&mut self, why: &str, after: Option<Duration>, refused: bool) -> Duration {
        self.count(if refused { "refused" } else { "later" }, 1);
        if self.is_fine.replace(false) != Some(false) {
            warn!(receiver = %self.id, error = %why, "does not take alarms; they wait in the outbox");
        }
        self.sources.readiness.degraded(&self.id, Some(format!("does not take alarms, they wait in the outbox: {why}")));
        let delay = if refused { self.refused.next_delay() } else { self.later.next_delay() };
        after.map_or(delay, |after| after.max(delay))
    }

    /// An event is given up.
    pub(super) fn dropped(&self, outbox: &Outbox, seq: u64, why: &str) {
        self.count("dropped", 1);
        warn!(receiver = %self.id, seq, error = %why, "does not accept this event, and others it does; it is left out");
        if let Err(error) = outbox.drop_for(&self.id, seq, self.now(), why) {
            warn!(receiver = %self.id, error = %error, "cannot be noted");
        }
    }

    fn count(&self, outcome: &str, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.sources.metrics.alarm_deliveries.with_label_values(&[&self.id, outcome]).inc_by(count);
    }

    /// Sets the metrics of what waits: events, and the age of the oldest.
    pub(super) fn waiting(&self, depth: usize, oldest: Option<UtcMillis>) {
        self.depth.set(i64::try_from(depth).unwrap_or(i64::MAX));
        self.lag.set(oldest.map_or(0, |time| self.now().since(time).max(0) / 1_000));
    }

    /// Waits for new events, at most so long.
    pub(super) fn idle(&mut self, limit: Duration) -> Result<(), Cancelled> {
        let (durable, cancel) = (&mut self.durable, &self.cancel);
        self.runtime.block_on(async {
            let changed = async {
                if durable.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = cancel.cancelled() => Err(Cancelled),
                _ = tokio::time::timeout(limit, changed) => Ok(()),
            }
        })
    }

    /// Marks events as seen, so that what comes from now on wakes [`Self::idle`].
    pub(super) fn look(&mut self) {
        self.durable.borrow_and_update();
    }

    /// Waits, whatever comes.
    pub(super) fn wait(&self, limit: Duration) -> Result<(), Cancelled> {
        let cancelled = self.runtime.block_on(async { tokio::time::timeout(limit, self.cancel.cancelled()).await });
        if cancelled.is_ok() { Err(Cancelled) } else { Ok(()) }
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.sources.metrics
    }

    pub(super) fn readiness(&self) -> &Readiness {
        &self.sources.readiness
    }
}
