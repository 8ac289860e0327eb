//! The park's devices on real sockets: Modbus servers that answer from the model, and one MQTT client that publishes for
//! all MQTT meters. Registers, topics and payload shapes are those of the catalogue.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parkgate_collector::catalogue::{Catalogue, DeviceAddress, PointSource, TopicMap};
use parkgate_collector::clock::Clock;
use parkgate_collector::model::{PointId, UtcMillis};
use parkgate_collector::protocol::modbus::{Function, RegisterSource};
use parkgate_collector::sim::modbus::{Bank, Faults, SimServer};
use parkgate_collector::sim::mqtt::{self, PublisherSettings};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::DemoError;
use super::park::{Look, Park};
use super::wire::WiredPoint;

/// Modbus exception codes (Modbus Application Protocol V1.1b3, 7).
const ILLEGAL_DATA_ADDRESS: u8 = 0x02;
const SERVER_DEVICE_BUSY: u8 = 0x06;
const GATEWAY_TARGET_FAILED: u8 = 0x0B;

/// Publishing interval of a topic whose points tell none.
const PUBLISH_INTERVAL_DEFAULT_MS: i64 = 5_000;
/// Topics are looked through once a second.
const TICK_MS: i64 = 1_000;
/// Client id of the meters at the broker.
const CLIENT_ID: &str = "parkgate-demo-meters";

/// One point's registers.
type Register = (RegisterSource, WiredPoint);

/// What the units behind one link answer, once it is known.
struct Units {
    park: Arc<Park>,
    clock: Arc<dyn Clock>,
    registers: HashMap<(u8, Function), Vec<Register>>,
}

/// The Modbus server of one link.
pub struct Station {
    link: &'static str,
    server: SimServer,
    units: Arc<OnceLock<Units>>,
}

impl Station {
    /// Opens a free port on 127.0.0.1. Until [`Station::install`] all units are busy.
    pub async fn start(link: &'static str, seed: u64) -> Result<Self, DemoError> {
        let units: Arc<OnceLock<Units>> = Arc::default();
        let answering = Arc::clone(&units);
        let bank: Bank = Arc::new(move |unit_id, function, address, quantity| match answering.get() {
            Some(units) => units.answer(unit_id, function, address, quantity),
            None => Err(SERVER_DEVICE_BUSY),
        });
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = SimServer::start(address, bank, Arc::new(Faults::new(seed))).await.map_err(DemoError::Socket)?;
        Ok(Self { link, server, units })
    }

    /// Id of its link in the demo's config.
    pub fn link(&self) -> &'static str {
        self.link
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Lets the units of its link answer from the model; only the first call counts.
    pub fn install(&self, catalogue: &Catalogue, points: &[WiredPoint], park: &Arc<Park>, clock: &Arc<dyn Clock>) {
        let mut registers: HashMap<(u8, Function), Vec<Register>> = HashMap::new();
        for wired in points {
            let Some(device) = catalogue.device(&wired.point.device).filter(|device| device.link.id == self.link) else { continue };
            if let (DeviceAddress::Modbus(address), PointSource::Modbus(source)) = (&device.address, &wired.point.source) {
                registers.entry((address.unit_id, source.function)).or_default().push((source.clone(), wired.clone()));
            }
        }
        let _ = self.units.set(Units { park: Arc::clone(park), clock: Arc::clone(clock), registers });
    }

    /// Closes its port and connections.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}

impl std::fmt::Debug for Station {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Station").field("link", &self.link).field("server", &self.server).finish_non_exhaustive()
    }
}

impl Units {
    /// Words of `quantity` registers (or bits) from `address` on: 0 where nothing is configured, an exception where a
    /// register is broken or no such unit is there.
    fn answer(&self, unit_id: u8, function: Function, address: u16, quantity: u16) -> Result<Vec<u16>, u8> {
        let registers = self.registers.get(&(unit_id, function)).ok_or(GATEWAY_TARGET_FAILED)?;
        let at = self.clock.now().utc;
        let mut words = vec![0; usize::from(quantity)];
        for (source, wired) in registers {
            let bits = matches!(function, Function::Coils | Function::DiscreteInputs);
            let length = if bits { 1 } else { u32::from(source.order.length / 2).max(1) };
            let (first, end) = (u32::from(source.address), u32::from(source.address) + length);
            if end <= u32::from(address) || first >= u32::from(address) + u32::from(quantity) {
                continue;
            }
            let value = wired.registers(source, &self.park, at).ok_or(ILLEGAL_DATA_ADDRESS)?;
            for (offset, word) in (first..end).zip(value) {
                let place = offset.checked_sub(u32::from(address)).and_then(|place| words.get_mut(usize::try_from(place).ok()?));
                if let Some(place) = place {
                    *place = word;
                }
            }
        }
        Ok(words)
    }
}

/// One topic that is published to.
#[derive(Clone, Debug)]
struct Publication {
    topic: String,
    map: TopicMap,
    points: Vec<WiredPoint>,
    interval_ms: i64,
}

/// Publishes for all MQTT devices of the park.
pub struct Publisher {
    publications: Vec<Publication>,
    park: Arc<Park>,
    clock: Arc<dyn Clock>,
    broker: SocketAddr,
}

impl Publisher {
    /// For every topic of `catalogue`; `+` and `#` in a filter become the device's id.
    pub fn new(catalogue: &Catalogue, points: &[WiredPoint], park: Arc<Park>, clock: Arc<dyn Clock>, broker: SocketAddr) -> Self {
        let mut publications = Vec::new();
        for device in &catalogue.devices {
            let DeviceAddress::Mqtt(address) = &device.address else { continue };
            for map in &address.topics {
                let carried = |id: PointId| map.values.iter().any(|(_, point)| *point == id);
                let points: Vec<WiredPoint> = points.iter().filter(|wired| carried(wired.point.id)).cloned().collect();
                let interval_ms = points.iter().filter_map(|wired| wired.point.interval_ms).min();
                publications.push(Publication {
                    topic: map.filter.replace(['+', '#'], &device.id),
                    map: map.clone(),
                    points,
                    interval_ms: interval_ms.map_or(PUBLISH_INTERVAL_DEFAULT_MS, i64::from),
                });
            }
        }
        Self { publications, park, clock, broker }
    }

    /// Publishes with QoS 1, each topic at the multiples of its interval, until cancelled. What cannot be published is
    /// lost, as with a meter that has no memory.
    pub async fn run(self, cancel: CancellationToken) {
        let settings =
            PublisherSettings { host: self.broker.ip().to_string(), port: self.broker.port(), client_id: CLIENT_ID.into(), login: None };
        let mut client = mqtt::Publisher::start(&settings);
        let mut failing = false;
        loop {
            let now = self.clock.now().utc;
            let tick = now.floor_to(TICK_MS).plus(TICK_MS);
            let wait = Duration::from_millis(tick.since(now).unsigned_abs());
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            for (topic, payload) in self.due(tick) {
                let published = tokio::select! {
                    () = cancel.cancelled() => return,
                    published = client.publish(&topic, payload) => published,
                };
                match published {
                    Ok(()) => failing = false,
                    Err(error) if !failing => {
                        failing = true;
                        warn!(error = %error, "demo meters cannot publish");
                    }
                    Err(_) => {}
                }
            }
        }
    }

    /// Topic and payload of every message due at `tick`.
    fn due(&self, tick: UtcMillis) -> Vec<(String, String)> {
        let due = self.publications.iter().filter(|publication| tick.0.rem_euclid(publication.interval_ms) == 0);
        due.map(|publication| (publication.topic.clone(), publication.payload(&self.park, tick))).collect()
    }
}

impl Publication {
    fn payload(&self, park: &Park, at: UtcMillis) -> String {
        let values: Vec<_> = self.points.iter().map(|wired| (wired.point.id, wired.number(park, at, Look::Instant))).collect();
        super::wire::payload(&self.map, &values, at)
    }
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher").field("broker", &self.broker).field("topics", &self.publications.len()).finish_non_exhaustive()
    }
}
