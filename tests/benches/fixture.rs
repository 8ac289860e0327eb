//! A park of any size for the benches: meter-like points and the values they give.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};

use parkgate_collector::catalogue::{
    Catalogue, Device, DeviceAddress, DriverSettings, Link, MqttAddress, MqttSettings, Names, Park, Point, PointSource,
};
use parkgate_collector::clock::SystemClock;
use parkgate_collector::driver::{Batch, Message, Outcome, Outlet};
use parkgate_collector::metrics::Metrics;
use parkgate_collector::model::{Decimal, Kind, LinkKey, Medium, Number, Origin, PointId, PointIdentity, Reading, Unit, UtcMillis};
use parkgate_gateway::engine::{Engine, EngineSettings};
use parkgate_gateway::store::DataDirectory;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// Readings in one batch, as a busy driver gathers them.
const BATCH: usize = 2_000;
/// Points of one device.
const POINTS_PER_DEVICE: u32 = 10;
/// Start of the simulated time: 2026-01-01T00:00:00Z.
pub const START: UtcMillis = UtcMillis(1_767_225_600_000);

/// A catalogue of `points` points: 30 % counters with 2 decimals, 50 % gauges with 1-3 decimals, 20 % states.
pub fn catalogue(points: u32) -> Arc<Catalogue> {
    let link = Arc::new(Link {
        id: "bench".into(),
        key: LinkKey::of("bench"),
        driver: DriverSettings::Mqtt(MqttSettings::new("127.0.0.1".into(), 1883, "bench".into())),
    });
    let devices = (0..points.div_ceil(POINTS_PER_DEVICE))
        .map(|device| {
            let first = device * POINTS_PER_DEVICE;
            Arc::new(Device {
                id: format!("d{device}"),
                name: names(&format!("d{device}")),
                enterprise: None,
                link: Arc::clone(&link),
                profile: None,
                origin: Origin::Metered,
                nameplate: Default::default(),
                address: DeviceAddress::Mqtt(MqttAddress::default()),
                points: (first..points.min(first + POINTS_PER_DEVICE)).map(|point| Arc::new(self::point(point))).collect(),
            })
        })
        .collect();
    let park = Park {
        id: "bench".into(),
        name: names("bench"),
        time_zone: "Asia/Shanghai".into(),
        commissioned: None,
        display_units: HashMap::new(),
    };
    Arc::new(Catalogue::new(1, park, Vec::new(), vec![link], devices))
}

fn names(text: &str) -> Names {
    Names { zh: text.to_owned(), en: text.to_owned() }
}

fn point(index: u32) -> Point {
    let (kind, quantity, unit, decimals) = match index % 10 {
        0..3 => (Kind::Counter, "energy_import", "kWh", 2),
        3..8 => (Kind::Gauge, "active_power", "kW", 1 + (index % 3) as u8),
        _ => (Kind::State, "state", "state", 0),
    };
    let unit = Unit::parse(unit).expect("in the table");
    Point {
        id: PointId(index + 1),
        identity: PointIdentity { stable_id: format!("d{}/p{index}", index / POINTS_PER_DEVICE), kind, unit, decimals },
        device: format!("d{}", index / POINTS_PER_DEVICE),
        local_id: format!("p{index}"),
        name: names(&format!("p{index}")),
        quantity: quantity.into(),
        medium: Medium::Power,
        reference: None,
        raw_unit: unit,
        scale: Decimal::ONE,
        offset: Decimal::ZERO,
        valid_min: None,
        valid_max: None,
        modulus: None,
        rate_max_per_hour: None,
        rules: Default::default(),
        interval_ms: Some(10_000),
        compliance: false,
        role: None,
        labels: BTreeMap::new(),
        source: PointSource::Mqtt,
    }
}

/// Two worker threads, as the program has.
pub fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

/// An engine on `directory`, and the directory's lock.
pub fn engine(
    directory: &Path,
    catalogue: &Arc<Catalogue>,
    settings: EngineSettings,
    runtime: &Runtime,
) -> Result<(DataDirectory, Engine)> {
    let directory = DataDirectory::open_exclusive(directory)?;
    let metrics = Metrics::new(&prometheus::Registry::new());
    let engine = Engine::start(&directory, catalogue, settings, Arc::new(SystemClock::new()), metrics, runtime.handle())?;
    Ok((directory, engine))
}

/// Hands over readings in batches of at most [`BATCH`], each as having arrived within 40 ms after `time`; waits when the
/// pipeline is full.
pub fn send(outlet: &Outlet, time: UtcMillis, readings: &[Reading], random: &mut fastrand::Rng) -> Result<()> {
    for chunk in readings.chunks(BATCH) {
        send_batch(outlet, time.plus(random.i64(20..40)), chunk.to_vec(), None)?;
    }
    Ok(())
}

/// Waits until all that was sent so far is durable.
pub fn until_durable(outlet: &Outlet) -> Result<()> {
    let (done, durable) = oneshot::channel();
    send_batch(outlet, START, Vec::new(), Some(done))?;
    ensure!(durable.blocking_recv()? == Outcome::Durable, "the journal refused");
    Ok(())
}

fn send_batch(outlet: &Outlet, received_time: UtcMillis, readings: Vec<Reading>, done: Option<oneshot::Sender<Outcome>>) -> Result<()> {
    let batch = Batch {
        link: LinkKey::of("bench"),
        received_time,
        readings,
        origin: Origin::Imported,
        deliveries: Vec::new(),
        rejected: Vec::new(),
        done,
    };
    outlet.blocking_send(Message::Batch(batch)).ok().context("the pipeline ended")
}

/// Walks the values of all points on, one interval a step. Deterministic.
#[derive(Debug)]
pub struct Meters {
    values: Vec<i64>,
    random: fastrand::Rng,
    jitter: bool,
}

impl Meters {
    /// `points` meters as [`catalogue`] has them; with `jitter` half of them are read 0-19 ms after the round second.
    pub fn new(points: u32, jitter: bool) -> Self {
        let mut random = fastrand::Rng::with_seed(7);
        Self { values: (0..points).map(|_| random.i64(1_000..1_000_000)).collect(), random, jitter }
    }

    /// One reading of every point at about `time`.
    pub fn read(&mut self, time: UtcMillis, readings: &mut Vec<Reading>) {
        for (index, value) in (0u32..).zip(self.values.iter_mut()) {
            let (decimals, step) = match index % 10 {
                0..3 => (2, self.random.i64(0..40)),
                3..8 => (1 + (index % 3) as i8, self.random.i64(-12..=12)),
                _ => (0, 0),
            };
            *value += step;
            if index % 10 >= 8 && self.random.u32(0..500) == 0 {
                *value = self.random.i64(0..4);
            }
            let jitter = if self.jitter && index % 2 == 0 { self.random.i64(0..20) } else { 0 };
            readings.push(Reading {
                point: PointId(index + 1),
                number: Number::Exact(Decimal::new(*value, -decimals)),
                source_time: Some(time.plus(jitter)),
            });
        }
    }
}
