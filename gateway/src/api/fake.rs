//! A small park and a record in memory, for the tests of the API.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use parkgate_collector::catalogue::{
    Catalogue, Device, DeviceAddress, DriverSettings, Enterprise, Link, ModbusAddress, ModbusTcpSettings, MqttAddress, MqttSettings, Names,
    Park, Payload, Point, PointSource, Secret, TopicMap,
};
use parkgate_collector::clock::{Clock, ManualClock};
use parkgate_collector::health::HealthBoard;
use parkgate_collector::model::{
    Decimal, Kind, LinkKey, Medium, Origin, PointId, PointIdentity, Quality, Reason, Sample, Status, Step, Unit, UtcMillis,
};
use parkgate_collector::protocol::json::RecordMap;
use parkgate_rules::emission::Outlet;
use parkgate_rules::emission::abatement::AbatementPair;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Build, Server, State, serve};
use crate::access::Tokens;
use crate::alarm::outbox::{Batch, Outbox};
use crate::alarm::{Alarms, Event};
use crate::control::{Answer, Asked, Request};
use crate::emission;
use crate::indicator::live::Live;
use crate::indicator::topology::TopologySettings;
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use crate::rollup::{Level, Period, Total, Totals, TotalsView};
use crate::store::{Bucket, Facts, RecordView, StoreError};
use crate::transfer::import::{Imported, Values};

/// The time in tests: 2026-01-02T03:04:05.678Z.
pub const NOW: UtcMillis = UtcMillis(1_767_323_045_678);

/// A record in memory: samples by point, in order of record time.
#[derive(Default)]
pub struct FakeRecord(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    samples: BTreeMap<u32, Vec<Sample>>,
    changes: Vec<PointId>,
    applied: u64,
    left_out: u64,
}

impl FakeRecord {
    pub fn push(&self, sample: Sample) {
        let mut inner = self.0.lock().unwrap();
        let samples = inner.samples.entry(sample.point.0).or_default();
        samples.push(sample);
        samples.sort_by_key(|sample| sample.record_time);
        inner.changes.push(sample.point);
        inner.applied += 1;
    }

    /// From now on every read is without so many damaged blocks.
    pub fn damage(&self, left_out: u64) {
        self.0.lock().unwrap().left_out = left_out;
    }
}

impl RecordView for FakeRecord {
    fn latest(&self, point: PointId) -> Option<Sample> {
        self.0.lock().unwrap().samples.get(&point.0)?.last().copied()
    }

    fn latest_since(&self, version: u64) -> (u64, Vec<Sample>) {
        let inner = self.0.lock().unwrap();
        let mut changed = inner.changes[usize::try_from(version).unwrap()..].to_vec();
        changed.sort_unstable();
        changed.dedup();
        let samples = changed.iter().map(|point| *inner.samples[&point.0].last().unwrap()).collect();
        (inner.changes.len() as u64, samples)
    }

    fn scan(&self, point: PointId, from: UtcMillis, to: UtcMillis, limit: usize) -> Result<Vec<Sample>, StoreError> {
        let inner = self.0.lock().unwrap();
        let samples = inner.samples.get(&point.0).map_or(&[][..], Vec::as_slice);
        Ok(samples.iter().filter(|sample| (from..to).contains(&sample.record_time)).take(limit).copied().collect())
    }

    fn buckets(&self, point: PointId, edges: &[UtcMillis]) -> Result<Vec<Bucket>, StoreError> {
        if point == damaged() {
            return Err(StoreError::Damaged("block 7".into()));
        }
        let mut buckets = Vec::new();
        for pair in edges.windows(2) {
            let samples = self.scan(point, pair[0], pair[1], usize::MAX)?;
            let good: Vec<(UtcMillis, i64)> = samples
                .iter()
                .filter(|sample| sample.status.quality() != Quality::Bad)
                .filter_map(|sample| Some((sample.record_time, sample.number()?)))
                .collect();
            let numbers = || good.iter().map(|&(_, number)| number);
            buckets.push(Bucket {
                start: pair[0],
                end: pair[1],
                samples: samples.len() as u64,
                count: good.len() as u64,
                sum: numbers().map(i128::from).sum(),
                min: numbers().min().unwrap_or(0),
                max: numbers().max().unwrap_or(0),
                first: good.first().copied(),
                last: good.last().copied(),
            });
        }
        Ok(buckets)
    }

    fn scan_noting(
        &self,
        point: PointId,
        from: UtcMillis,
        to: UtcMillis,
        limit: usize,
        left_out: &mut u64,
    ) -> Result<Vec<Sample>, StoreError> {
        *left_out += self.0.lock().unwrap().left_out;
        self.scan(point, from, to, limit)
    }

    fn buckets_noting(&self, point: PointId, edges: &[UtcMillis], left_out: &mut u64) -> Result<Vec<Bucket>, StoreError> {
        *left_out += self.0.lock().unwrap().left_out;
        self.buckets(point, edges)
    }

    fn samples_applied(&self) -> u64 {
        self.0.lock().unwrap().applied
    }
}

/// The point whose blocks cannot be read.
pub fn damaged() -> PointId {
    PointId(4)
}

/// A sample as a device without a clock of its own gives it.
pub fn sample(point: u32, time: UtcMillis, value: i64) -> Sample {
    Sample {
        point: PointId(point),
        status: Status::new(Quality::Good, Reason::None, Origin::Metered, Step::None),
        value,
        source_time: None,
        received_time: time,
        record_time: time,
    }
}

pub fn names(zh: &str, en: &str) -> Names {
    Names { zh: zh.into(), en: en.into() }
}

/// `id name-zh name-en quantity medium kind unit decimals` of a point, numbered by hand.
pub type PointRow<'a> = (u32, &'a str, &'a str, &'a str, &'a str, Medium, Kind, &'a str, u8);

pub fn point(device: &str, &(id, local_id, zh, en, quantity, medium, kind, unit, decimals): &PointRow<'_>) -> Arc<Point> {
    let unit = Unit::parse(unit).unwrap();
    Arc::new(Point {
        id: PointId(id),
        identity: PointIdentity { stable_id: format!("{device}/{local_id}"), kind, unit, decimals },
        device: device.into(),
        local_id: local_id.into(),
        name: names(zh, en),
        quantity: quantity.into(),
        medium,
        reference: None,
        raw_unit: unit,
        scale: Decimal::ONE,
        offset: Decimal::ZERO,
        valid_min: (kind == Kind::Gauge).then_some(Decimal::ZERO),
        valid_max: None,
        modulus: None,
        rate_max_per_hour: None,
        rules: Default::default(),
        interval_ms: Some(10_000),
        compliance: false,
        role: None,
        labels: BTreeMap::new(),
        source: PointSource::Mqtt,
    })
}

pub fn modbus_link(id: &str) -> Arc<Link> {
    let settings =
        ModbusTcpSettings { host: "10.1.2.3".into(), port: 502, timeout_ms: 1000, connect_timeout_ms: 3000, line: Default::default() };
    Arc::new(Link { id: id.into(), key: LinkKey::of(id), driver: DriverSettings::ModbusTcp(settings) })
}

pub fn mqtt_link(id: &str) -> Arc<Link> {
    let settings = MqttSettings {
        username: Some("reader".into()),
        password: Some(Secret::new("hush".into())),
        ..MqttSettings::new("broker.park".into(), 1883, "parkgate".into())
    };
    Arc::new(Link { id: id.into(), key: LinkKey::of(id), driver: DriverSettings::Mqtt(settings) })
}

pub fn device(id: &str, name: Names, enterprise: Option<&str>, link: &Arc<Link>, origin: Origin, rows: &[PointRow<'_>]) -> Arc<Device> {
    let address = match &link.driver {
        DriverSettings::Mqtt(_) => DeviceAddress::Mqtt(MqttAddress {
            topics: vec![TopicMap {
                filter: format!("park/{id}/telemetry"),
                subscription: format!("park/{id}/telemetry"),
                qos: 1,
                payload: Payload::Json(RecordMap { records: None, time: None }),
                values: Vec::new(),
            }],
            raw_forward: false,
        }),
        DriverSettings::ModbusTcp(_)
        | DriverSettings::ModbusRtu(_)
        | DriverSettings::ModbusRtuOverTcp(_)
        | DriverSettings::ModbusDialIn(_) => DeviceAddress::Modbus(ModbusAddress {
            unit_id: 7,
            check_unit: true,
            poll_interval_ms: 10_000,
            fast_interval_ms: 2_000,
            slow_interval_ms: 100_000,
            priorities: Default::default(),
            max_block: 125,
            max_gap: 8,
            forbidden: Vec::new(),
        }),
        DriverSettings::Own => DeviceAddress::Own,
    };
    Arc::new(Device {
        id: id.into(),
        name,
        enterprise: enterprise.map(Into::into),
        link: Arc::clone(link),
        profile: None,
        origin,
        nameplate: Default::default(),
        address,
        points: rows.iter().map(|row| point(id, row)).collect(),
    })
}

pub fn park(enterprises: Vec<Enterprise>, links: Vec<Arc<Link>>, devices: Vec<Arc<Device>>) -> Catalogue {
    let unit = |text| Unit::parse(text).unwrap();
    let park = Park {
        id: "north".into(),
        name: names("北区低碳产业园", "North Low-Carbon Park"),
        time_zone: "Asia/Shanghai".into(),
        commissioned: None,
        display_units: HashMap::from([(unit("kWh"), unit("MWh"))]),
    };
    Catalogue::new(0x1f00_c0de, park, enterprises, links, devices)
}

/// Two devices of one enterprise, four points.
pub fn small_park() -> Catalogue {
    let (line, broker) = (modbus_link("line-1"), mqtt_link("broker"));
    let power = [
        (1, "power", "有功功率", "Active power", "active_power", Medium::Power, Kind::Gauge, "kW", 1),
        (2, "energy", "正向有功电能", "Energy import", "energy_import", Medium::Power, Kind::Counter, "kWh", 2),
    ];
    let gas = [
        (3, "volume", "累计气量", "Volume", "gas_volume", Medium::Gas, Kind::Counter, "Nm3", 3),
        (4, "flow", "瞬时流量", "Flow", "gas_flow", Medium::Gas, Kind::Gauge, "Nm3/h", 1),
    ];
    let devices = vec![
        device("acme/main", names("总表", "Main meter"), Some("acme"), &line, Origin::Metered, &power),
        device("acme/gas", names("燃气表", "Gas meter"), Some("acme"), &broker, Origin::Simulated, &gas),
    ];
    park(vec![Enterprise { id: "acme".into(), name: names("阿克米", "Acme") }], vec![line, broker], devices)
}

/// Totals without a store, each closed as soon as its period is over; and how many were handed out.
pub struct Closing {
    pub handed_out: AtomicUsize,
    totals: Totals,
    record: Arc<dyn RecordView>,
    /// All totals by point, level and number of samples then: without a store they are counted hour by hour whenever asked for.
    counted: Mutex<HashMap<(PointId, Level, u64), Vec<Total>>>,
}

impl Closing {
    pub fn new(catalogue: &Catalogue, record: Arc<dyn RecordView>) -> Self {
        Self {
            totals: Totals::new(catalogue, Arc::clone(&record), None),
            record,
            counted: Mutex::default(),
            handed_out: AtomicUsize::default(),
        }
    }
}

impl TotalsView for Closing {
    fn totals(&self, point: PointId, level: Level, from: UtcMillis, to: UtcMillis) -> Result<Vec<Total>, StoreError> {
        let mut counted = self.counted.lock().unwrap();
        let all = match counted.entry((point, level, self.record.samples_applied())) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let latest = self.record.latest_since(0).1.iter().map(|sample| sample.record_time).max();
                let mut all = self.totals.totals(point, level, UtcMillis(i64::MIN), UtcMillis(i64::MAX))?;
                all.iter_mut().for_each(|total| total.closed = latest.is_some_and(|latest| total.period.end <= latest));
                entry.insert(all)
            }
        };
        let found: Vec<Total> = all.iter().filter(|total| (from..to).contains(&total.period.start)).cloned().collect();
        self.handed_out.fetch_add(found.len(), Ordering::Relaxed);
        Ok(found)
    }

    fn closed_since(&self, cursor: u64, _limit: usize) -> Result<(u64, Vec<Total>), StoreError> {
        Ok((cursor, Vec::new()))
    }

    fn last_change(&self) -> Result<u64, StoreError> {
        Ok(0)
    }

    fn period_of(&self, level: Level, instant: UtcMillis) -> Period {
        self.totals.period_of(level, instant)
    }
}

/// A served API with its parts within reach.
pub struct Served {
    pub address: SocketAddr,
    pub record: Arc<FakeRecord>,
    pub health: HealthBoard,
    pub tokens: Arc<Tokens>,
    pub facts: Arc<Facts>,
    /// Gone with it.
    pub data: tempfile::TempDir,
    pub alarms: Alarms,
    pub readiness: Readiness,
    /// What was to be put into the record; nothing is.
    pub imports: Arc<Mutex<Vec<Values>>>,
    pub cancel: CancellationToken,
    pub task: JoinHandle<std::io::Result<()>>,
}

/// Serves `catalogue` on `bind` with an empty record, at the time [`NOW`] unless given a clock.
pub async fn start(bind: &str, catalogue: Catalogue, clock: Option<Arc<dyn Clock>>, boot_id: &str) -> Served {
    start_with(bind, catalogue, clock, boot_id, false).await
}

/// As [`start`], perhaps with a token demanded from the first request on.
pub async fn start_with(bind: &str, catalogue: Catalogue, clock: Option<Arc<dyn Clock>>, boot_id: &str, require_token: bool) -> Served {
    start_of(bind, catalogue, (&[], &[]), clock, boot_id, require_token).await
}

/// As [`start_with`], with outlets and pairs.
pub async fn start_of(
    bind: &str,
    catalogue: Catalogue,
    (outlets, pairs): (&[Outlet], &[AbatementPair]),
    clock: Option<Arc<dyn Clock>>,
    boot_id: &str,
    require_token: bool,
) -> Served {
    let listener = TcpListener::bind(bind).await.unwrap();
    let address = listener.local_addr().unwrap();
    let registry = Registry::new();
    let (record, health, readiness) = (Arc::new(FakeRecord::default()), HealthBoard::default(), Readiness::default());
    let record_view: Arc<dyn RecordView> = Arc::clone(&record) as _;
    let facts = Arc::new(Facts::open(Path::new(":memory:")).unwrap());
    let tokens = Arc::new(Tokens::open(Arc::clone(&facts)).unwrap());
    let data = tempfile::tempdir().unwrap();
    let outbox = data.path().join("alarms.db");
    let alarms = Alarms::new(Some(outbox.clone()), &Outbox::open(&outbox).unwrap(), &[], Arc::clone(&facts)).unwrap();
    let totals: Arc<dyn TotalsView> = Arc::new(Closing::new(&catalogue, Arc::clone(&record_view)));
    let catalogue = Arc::new(catalogue);
    let settings = TopologySettings::default();
    let indicators = Live::new(&catalogue, &settings, Vec::new(), Arc::clone(&totals), Arc::clone(&record_view), Arc::clone(&facts));
    let plan = Arc::new(emission::Plan::new(&catalogue, outlets, pairs));
    let emissions = Arc::new(emission::Emissions::new(plan, Arc::clone(&record_view), Arc::clone(&facts), None));
    let park_state = data.path().join("park-state.json");
    std::fs::write(&park_state, "{}").unwrap();
    let (control, asked) = mpsc::channel(4);
    let imports = Arc::default();
    tokio::spawn(import(asked, Arc::clone(&imports)));
    let state = State {
        totals,
        emissions,
        alarms: alarms.clone(),
        indicators: Arc::new(indicators),
        catalogue,
        health: health.clone(),
        record: record_view,
        metrics: Metrics::new(&registry),
        registry,
        clock: clock.unwrap_or_else(|| Arc::new(ManualClock::new(NOW))),
        readiness: readiness.clone(),
        build: Build { version: "1.2.3", commit: "abc" },
        boot_id: boot_id.into(),
        allowed_hosts: vec!["park.example".into()],
        park_state: Some(park_state),
        facts: Arc::clone(&facts),
        data: data.path().to_owned(),
        reloads: crate::reload::channel().0,
        control,
        tokens: Arc::clone(&tokens),
        require_token,
        tls: None,
        demo: false,
    };
    let cancel = CancellationToken::new();
    let task = tokio::spawn(serve(listener, Server::new(state, address), cancel.clone()));
    Served { address, record, health, tokens, facts, data, alarms, readiness, imports, cancel, task }
}

/// Takes what is to be put into the record, once.
async fn import(mut asked: mpsc::Receiver<Asked>, imports: Arc<Mutex<Vec<Values>>>) {
    while let Some((request, reply)) = asked.recv().await {
        let Request::Import(values) = request else { panic!("{request:?}") };
        let mut imports = imports.lock().unwrap();
        let is_new = !imports.contains(&values);
        let imported = Imported { imported: u64::from(is_new), present: u64::from(!is_new), replaced: 0 };
        imports.push(values);
        let _ = reply.send(Answer::Imported(imported));
    }
}

impl Served {
    /// Alarm events that happen now, each under the next number.
    pub fn happen(&self, events: impl IntoIterator<Item = Event>) {
        let mut outbox = Outbox::open(self.alarms.path().unwrap()).unwrap();
        let numbered = events.into_iter().zip(self.alarms.last_seq() + 1..);
        let events = numbered.map(|(event, seq)| Event { seq, epoch: outbox.epoch().to_owned(), ..event }).collect();
        let batch = Batch { events, ..Batch::default() };
        outbox.commit(&batch).unwrap();
        self.alarms.publish(&batch.events, None);
    }
}
