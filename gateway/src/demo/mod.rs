//! The demo: a simulated park on real sockets for the real program.
//!
//! How `app` uses it, in this order:
//! 1. [`DemoPark::start`] opens the broker and the Modbus servers on free loopback ports;
//! 2. [`DemoPark::config_files`] is the shipped config with those ports: load [`CONFIG_PATH`] from it as the main file;
//! 3. [`DemoPark::backfill`] writes history through the pipeline, before any driver runs;
//! 4. [`DemoPark::go_live`] lets the devices answer and publish; then start the drivers;
//! 5. [`DemoPark::stop`] after the drivers.
//!
//! [`noise`] repeatable randomness; [`park`] the model; [`wire`] its numbers as devices give them; [`broker`], [`devices`]
//! sockets; [`backfill`] history; [`declarations`] what its
//! enterprises declare; [`limits`] of its outlets; [`receiver`] of alarms. Nothing here listens beyond loopback, and all it makes has origin `simulated`.

pub mod noise;
pub mod park;
pub mod wire;
pub mod broker;
pub mod devices;
pub mod backfill;
pub mod declarations;
pub mod limits;
pub mod receiver;

use std::sync::Arc;

use parkgate_collector::catalogue::{Catalogue, MemoryFiles};
use parkgate_collector::clock::Clock;
use parkgate_collector::driver::Outlet;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use backfill::{BackfillError, Filled, Progress};

use crate::store::RecordView;
use broker::DemoBroker;
use devices::{Publisher, Station};
use park::Park;

/// The shipped config of the demo, with ports that stand for the real ones.
pub const CONFIG: &str = include_str!("../../../config/demo/parkgate.toml");
/// The shipped alarm rules of the demo.
const ALARMS: &str = include_str!("../../../config/demo/alarms.toml");
/// Under which name [`DemoPark::config_files`] has them.
const ALARMS_PATH: &str = "config/demo/alarms.toml";
/// Under which name [`DemoPark::config_files`] has it.
pub const CONFIG_PATH: &str = "config/demo/parkgate.toml";
/// The seed when none is given.
pub const SEED_DEFAULT: u64 = 42;

/// Modbus links of [`CONFIG`] that are simulated, with the port each has there.
const STATIONS: [(&str, u16); 4] = [("substation", 15_020), ("pv", 15_021), ("stack", 15_022), ("utility", 15_023)];
/// Port of the broker in [`CONFIG`].
const BROKER_PORT: u16 = 18_830;

/// Why the demo cannot run.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A simulator could not listen on loopback.
    #[error("a simulated device cannot listen on 127.0.0.1")]
    Socket(#[source] std::io::Error),
    /// The broker could not start.
    #[error("embedded broker: {0}")]
    Broker(String),
    /// Config and model differ.
    #[error("demo config: {0}")]
    Wire(#[from] wire::WireError),
    /// History could not be filled in.
    #[error(transparent)]
    Backfill(#[from] BackfillError),
}

/// The running park.
#[derive(Debug)]
pub struct DemoPark {
    park: Arc<Park>,
    broker: DemoBroker,
    stations: Vec<Station>,
    config_text: String,
    cancel: CancellationToken,
    publisher: Option<JoinHandle<()>>,
}

impl DemoPark {
    /// Opens broker and simulators on free ports. Devices are busy until [`DemoPark::go_live`].
    pub async fn start(seed: u64, clock: &dyn Clock) -> Result<Self, DemoError> {
        let until = clock.now().utc;
        let park = tokio::task::spawn_blocking(move || Park::new(seed, until)).await.expect("the model does not panic");
        let broker = DemoBroker::start().await?;
        let mut stations = Vec::with_capacity(STATIONS.len());
        for (link, _) in STATIONS {
            stations.push(Station::start(link, seed).await?);
        }
        let mut ports = vec![(BROKER_PORT, broker.address().port())];
        ports.extend(STATIONS.iter().zip(&stations).map(|(&(_, shipped), station)| (shipped, station.address().port())));
        let config_text = with_ports(CONFIG, &ports);
        Ok(Self { park: Arc::new(park), broker, stations, config_text, cancel: CancellationToken::new(), publisher: None })
    }

    /// The config with the ports that were opened, as the file [`CONFIG_PATH`], and the alarm rules beside it.
    pub fn config_files(&self) -> MemoryFiles {
        let files = [(CONFIG_PATH.into(), self.config_text.clone()), (ALARMS_PATH.into(), ALARMS.to_owned())];
        MemoryFiles { files: files.into(), ..MemoryFiles::default() }
    }

    /// Fills history up to now and returns when it is durable; see [`backfill::Fill::run`].
    ///
    /// Not to be dropped half-way: cancel by `cancel` and await the end.
    pub async fn backfill(
        &self,
        catalogue: Arc<Catalogue>,
        outlet: Outlet,
        view: Arc<dyn RecordView>,
        clock: Arc<dyn Clock>,
        progress: Progress,
        cancel: CancellationToken,
    ) -> Result<Filled, DemoError> {
        let park = Arc::clone(&self.park);
        let filling = tokio::task::spawn_blocking(move || {
            let points = wire::wire(&catalogue)?;
            let fill = backfill::Fill { catalogue: &catalogue, park: &park, points: &points, clock: &*clock, cancel: &cancel };
            Ok(fill.run(&outlet, &*view, progress)?)
        });
        filling.await.expect("filling in does not panic")
    }

    /// Lets Modbus devices answer and MQTT devices publish by the clock. A second call changes nothing.
    pub fn go_live(&mut self, catalogue: &Catalogue, clock: &Arc<dyn Clock>) -> Result<(), DemoError> {
        if self.publisher.is_some() {
            return Ok(());
        }
        let points = wire::wire(catalogue)?;
        self.park.goes_live(clock.now().utc);
        for station in &self.stations {
            station.install(catalogue, &points, &self.park, clock);
        }
        let publisher = Publisher::new(catalogue, &points, Arc::clone(&self.park), Arc::clone(clock), self.broker.address());
        self.publisher = Some(tokio::spawn(publisher.run(self.cancel.clone())));
        Ok(())
    }

    /// Stops publishers, simulators and the broker, in this order.
    pub async fn stop(self) {
        self.cancel.cancel();
        if let Some(publisher) = self.publisher {
            let _ = publisher.await;
        }
        for station in self.stations {
            station.stop().await;
        }
        self.broker.stop().await;
    }
}

/// `text` with each `port = shipped` line's port replaced.
fn with_ports(text: &str, ports: &[(u16, u16)]) -> String {
    let line = |line: &str| {
        let port = line.strip_prefix("port = ").and_then(|port| port.parse::<u16>().ok());
        match ports.iter().find(|(shipped, _)| Some(*shipped) == port) {
            Some((_, opened)) => format!("port = {opened}\n"),
            None => format!("{line}\n"),
        }
    };
    text.lines().map(line).collect()
}

#[cfg(test)]
mod tests;
