//! The drivers at work, one task per line, each with its own end: so one line can end without the others noticing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parkgate_collector::clock::Clock;
use parkgate_collector::driver::{self, LinkDevices, Outlet};
use parkgate_collector::health::HealthBoard;
use parkgate_collector::metrics::Metrics;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// How long drivers may take to hand over what they have. MQTT takes up to 6 s: 3 s for its last answers, 3 s to part from
/// the broker.
const STOP: Duration = Duration::from_secs(10);

/// What every driver gets.
#[derive(Clone)]
pub struct Means {
    /// How links and devices are doing.
    pub health: HealthBoard,
    /// The collector's metrics.
    pub metrics: Metrics,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What they share.
    pub shared: driver::Shared,
}

/// Drivers by the id of their link.
#[derive(Debug, Default)]
pub struct Drivers(BTreeMap<String, Driver>);

#[derive(Debug)]
struct Driver {
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

impl Drivers {
    /// Starts the driver of a line.
    pub fn start(&mut self, line: LinkDevices, outlet: Outlet, means: &Means) {
        let Means { health, metrics, clock, shared } = means.clone();
        let (id, cancel) = (line.link.id.clone(), CancellationToken::new());
        let task = tokio::spawn(driver::run(line, outlet, health, metrics, clock, shared, cancel.clone()));
        if let Some(before) = self.0.insert(id, Driver { cancel, task }) {
            // Never: a line ends before it is begun anew.
            before.task.abort();
        }
    }

    /// Ends the drivers of these links and waits until they have handed over what they have. Those that did not in time are
    /// cut off; their ids.
    pub async fn stop(&mut self, ids: impl Fn(&str) -> bool) -> Vec<String> {
        let ended: Vec<String> = self.0.keys().filter(|id| ids(id)).cloned().collect();
        let drivers: Vec<(String, Driver)> = ended.into_iter().filter_map(|id| self.0.remove_entry(&id)).collect();
        drivers.iter().for_each(|(_, driver)| driver.cancel.cancel());
        let deadline = Instant::now() + STOP;
        let mut late = Vec::new();
        for (id, Driver { mut task, .. }) in drivers {
            if timeout_at(deadline, &mut task).await.is_err() {
                warn!(link = %id, "did not stop in time");
                task.abort();
                let _ = task.await;
                late.push(id);
            }
        }
        late
    }

    /// The link whose driver ended although it should run.
    pub fn failed(&self) -> Option<&str> {
        self.0.iter().find(|(_, driver)| driver.task.is_finished()).map(|(id, _)| id.as_str())
    }
}
