//! A record in memory, and what else tests need to follow it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use parkgate_collector::catalogue::{
    Catalogue, Device, DeviceAddress, DriverSettings, Link, ModbusAddress, ModbusTcpSettings, Names, Park, Point,
};
use parkgate_collector::model::{LinkKey, Origin, PointId, Sample, UtcMillis};

use super::super::follow::Follower;
use super::super::store::TotalsStore;
use super::super::{Figures, ParkZone, Total};
use crate::metrics::Metrics;
use crate::store::{Bucket, Facts, RecordView, StoreError};

pub(super) const GRACE: i64 = 600_000;

/// Samples merged by key time.
#[derive(Default)]
pub(super) struct Memory(Mutex<BTreeMap<(PointId, UtcMillis), Sample>>);

impl Memory {
    pub(super) fn push(&self, sample: Sample) {
        self.0.lock().unwrap().insert((sample.point, sample.key_time()), sample);
    }

    /// Deletes what lies before `time`, as retention does.
    pub(super) fn delete_before(&self, time: UtcMillis) {
        self.0.lock().unwrap().retain(|_, sample| sample.record_time >= time);
    }

    fn of(&self, point: PointId, keep: impl Fn(&Sample) -> bool) -> Vec<Sample> {
        let samples = self.0.lock().unwrap();
        let mut found: Vec<Sample> = samples.values().filter(|sample| sample.point == point && keep(sample)).copied().collect();
        found.sort_by_key(|sample| (sample.record_time, sample.key_time()));
        found
    }
}

impl RecordView for Memory {
    fn latest(&self, point: PointId) -> Option<Sample> {
        self.of(point, |_| true).pop()
    }
    fn latest_since(&self, _: u64) -> (u64, Vec<Sample>) {
        (1, self.0.lock().unwrap().values().copied().collect())
    }
    fn scan(&self, point: PointId, from: UtcMillis, to: UtcMillis, limit: usize) -> Result<Vec<Sample>, StoreError> {
        let mut samples = self.of(point, |sample| from <= sample.record_time && sample.record_time < to);
        samples.truncate(limit);
        Ok(samples)
    }
    fn buckets(&self, _: PointId, _: &[UtcMillis]) -> Result<Vec<Bucket>, StoreError> {
        Ok(Vec::new())
    }
    fn samples_applied(&self) -> u64 {
        0
    }
}

/// A park in Shanghai.
pub(super) fn catalogue(points: Vec<Point>) -> Catalogue {
    catalogue_in("Asia/Shanghai", points)
}

pub(super) fn catalogue_in(time_zone: &str, points: Vec<Point>) -> Catalogue {
    let names = || Names { zh: "a".into(), en: "a".into() };
    let settings = ModbusTcpSettings { host: "a".into(), port: 502, timeout_ms: 1, connect_timeout_ms: 1, line: Default::default() };
    let link = Arc::new(Link { id: "a".into(), key: LinkKey::of("a"), driver: DriverSettings::ModbusTcp(settings) });
    let address = ModbusAddress {
        unit_id: 1,
        check_unit: true,
        poll_interval_ms: 1,
        fast_interval_ms: 1,
        slow_interval_ms: 1,
        priorities: Default::default(),
        max_block: 1,
        max_gap: 0,
        forbidden: Vec::new(),
    };
    let device = Device {
        id: "a".into(),
        name: names(),
        enterprise: None,
        link: Arc::clone(&link),
        profile: None,
        origin: Origin::Metered,
        nameplate: Default::default(),
        address: DeviceAddress::Modbus(address),
        points: points.into_iter().map(Arc::new).collect(),
    };
    let park = Park { id: "p".into(), name: names(), time_zone: time_zone.into(), commissioned: None, display_units: Default::default() };
    Catalogue::new(1, park, Vec::new(), vec![link], vec![Arc::new(device)])
}

/// The follower over a directory, as after a start of the program.
pub(super) fn follower(folder: &Path, record: &Arc<Memory>, facts: &Arc<Facts>, catalogue: &Catalogue) -> Follower {
    let zone = ParkZone::new(&catalogue.park.time_zone);
    let store = TotalsStore::open(&folder.join("totals.db"), &zone).unwrap();
    let metrics = Metrics::new(&prometheus::Registry::new());
    Follower::new(catalogue, Arc::clone(record) as _, store, Arc::clone(facts), metrics, GRACE).unwrap()
}

/// Totals without what depends on when they were closed.
pub(super) fn figures(mut totals: Vec<Total>) -> Vec<Total> {
    for total in &mut totals {
        total.closed = false;
        if let Figures::Counter(counter) = &mut total.figures {
            counter.tail_estimate = None;
            counter.flags.tail_estimated = false;
        }
        total.completeness_ppm = None;
    }
    totals
}
