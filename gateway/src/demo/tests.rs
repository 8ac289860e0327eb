//! The demo as a whole: its config, and that it says the same whichever way it is asked.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Mutex;

use parkgate_collector::catalogue::{self, DeviceAddress, MemoryRegistry, Point, PointSource};
use parkgate_collector::clock::{ManualClock, SystemClock};
use parkgate_collector::driver::{self, Batch, LinkDevices, Message, Outcome};
use parkgate_collector::health::HealthBoard;
use parkgate_collector::metrics::Metrics;
use parkgate_collector::model::{Kind, LinkKey, Number, Origin, PointId, Quality, Reading, Reason, Sample, Status, Step, UtcMillis};
use parkgate_collector::normalise::{Input, NormaliseSettings, Normaliser};
use parkgate_collector::protocol::modbus::number;
use tokio::sync::mpsc;

use super::backfill::{FULL_MS, Fill, HISTORY_MS, MINUTES_MS, WINDOW_MS, has_minutes};
use super::park::{Look, Signal};
use super::*;
use crate::store::{Bucket, StoreError};

/// 2026-11-23 14:07:03.5 in Shanghai, a Monday.
const NOW: UtcMillis = UtcMillis(1_795_414_023_500);

#[derive(Default, serde::Deserialize, garde::Validate)]
struct NoSettings {}

impl catalogue::OwnTable for NoSettings {}

fn catalogue_of(files: &MemoryFiles) -> Catalogue {
    let loaded = catalogue::load::<NoSettings>(Path::new(CONFIG_PATH), files).unwrap_or_else(|error| panic!("{error}"));
    loaded.draft.build(&mut MemoryRegistry::default()).unwrap()
}

fn shipped() -> Catalogue {
    catalogue_of(&MemoryFiles { files: [(CONFIG_PATH.into(), CONFIG.into())].into(), ..MemoryFiles::default() })
}

#[test]
fn every_shipped_port_is_replaced_once() {
    let ports: Vec<(u16, u16)> = STATIONS.iter().map(|&(_, port)| port).chain([BROKER_PORT]).map(|port| (port, port + 40_000)).collect();
    let text = with_ports(CONFIG, &ports);
    for (shipped, opened) in ports {
        assert_eq!(CONFIG.matches(&format!("port = {shipped}\n")).count(), 1, "{shipped}");
        assert_eq!(text.matches(&format!("port = {opened}\n")).count(), 1, "{shipped}");
    }
    assert_eq!(text.len(), CONFIG.len());
    assert!(text.contains("port = 9\n"));
}

#[test]
fn config_and_model_agree() {
    let catalogue = shipped();
    let points = wire::wire(&catalogue).unwrap();
    assert_eq!(points.len(), park::SIGNALS.len());
    assert_eq!(catalogue.enterprises.len(), 3);
    for device in &catalogue.devices {
        assert!(device.name.zh != device.name.en && !device.name.zh.is_empty(), "{}", device.id);
        assert_eq!(device.origin, Origin::Simulated, "{}", device.id);
    }
    for wired in &points {
        assert!(wired.point.name.zh != wired.point.id.to_string());
        let counts = matches!(wired.row.signal, Signal::Total(..)) || wired.row.device == "rain-gauge";
        assert_eq!(wired.point.identity.kind == Kind::Counter, counts, "{}", wired.point.identity.stable_id);
        if wired.point.quantity.starts_with("gas_volume") {
            assert!(wired.point.reference.is_some());
        }
    }
    for role in ["gate", "sub", "production", "abatement", "generation", "outlet"] {
        assert!(points.iter().any(|wired| wired.point.role.as_deref() == Some(role)), "{role}");
    }
}

/// The record as far as the back-fill looks at it: the latest sample of each point.
#[derive(Default)]
struct Latest(Mutex<HashMap<PointId, Sample>>);

impl RecordView for Latest {
    fn latest(&self, point: PointId) -> Option<Sample> {
        self.0.lock().unwrap().get(&point).copied()
    }
    fn latest_since(&self, _: u64) -> (u64, Vec<Sample>) {
        unreachable!("not asked")
    }
    fn scan(&self, _: PointId, _: UtcMillis, _: UtcMillis, _: usize) -> Result<Vec<Sample>, StoreError> {
        unreachable!("not asked")
    }
    fn buckets(&self, _: PointId, _: &[UtcMillis]) -> Result<Vec<Bucket>, StoreError> {
        unreachable!("not asked")
    }
    fn samples_applied(&self) -> u64 {
        0
    }
}

/// Fills up to `now` through the real normaliser into `view`, hands every sample to `see`, and stops answering "durable"
/// after `stop_after` batches.
fn fill(
    catalogue: &Catalogue,
    now: UtcMillis,
    view: &Latest,
    stop_after: usize,
    mut see: impl FnMut(&Sample) + Send,
) -> Result<Filled, BackfillError> {
    let park = Park::new(SEED_DEFAULT, now);
    let points = wire::wire(catalogue).unwrap();
    let clock = ManualClock::new(now);
    let cancel = CancellationToken::new();
    let (outlet, mut inlet) = mpsc::channel(4);
    std::thread::scope(|scope| {
        let pipeline = scope.spawn(move || {
            let mut normaliser = Normaliser::new(catalogue, NormaliseSettings::default());
            let mut samples = Vec::new();
            for batch_number in 0.. {
                let Some(Message::Batch(Batch { link, received_time, readings, origin, done, .. })) = inlet.blocking_recv() else { break };
                assert_eq!(origin, Origin::Simulated);
                if batch_number >= stop_after {
                    // The fill ends with the first such answer and does not wait for the others.
                    let _ = done.unwrap().send(Outcome::NotDurable);
                    continue;
                }
                samples.clear();
                let input = Input { link, received_time, is_live: true, is_moved: false, origin, readings: &readings, deliveries: &[] };
                let report = normaliser.step(&input, &mut samples);
                assert_eq!((report.repeats, report.unknown_points, report.clock_doubts), (0, 0, 0));
                let mut latest = view.0.lock().unwrap();
                for sample in &samples {
                    if let Some(before) = latest.insert(sample.point, *sample) {
                        assert!(before.record_time < sample.record_time, "{:?} goes back: {before:?} {sample:?}", sample.point);
                    }
                    see(sample);
                }
                drop(latest);
                done.unwrap().send(Outcome::Durable).unwrap();
            }
        });
        let fill = Fill { catalogue, park: &park, points: &points, clock: &clock, cancel: &cancel };
        let filled = fill.run(&outlet, view, Progress::Silent);
        drop(outlet);
        pipeline.join().unwrap();
        filled
    })
}

#[test]
fn history_covers_what_it_should() {
    let catalogue = shipped();
    let mut counts: HashMap<PointId, [u64; 3]> = HashMap::new();
    let mut not_good: BTreeMap<String, u64> = BTreeMap::new();
    let back = |span: i64| NOW.plus(-span).floor_to(WINDOW_MS);
    let (start, minutes_from, full_from) = (back(HISTORY_MS), back(MINUTES_MS), back(FULL_MS));
    let view = Latest::default();
    let filled = fill(&catalogue, NOW, &view, usize::MAX, |sample| {
        assert_eq!(sample.source_time, Some(sample.record_time));
        assert!((start..NOW).contains(&sample.record_time));
        assert_eq!(sample.status.origin(), Origin::Simulated);
        let part = usize::from(sample.record_time >= minutes_from) + usize::from(sample.record_time >= full_from);
        counts.entry(sample.point).or_default()[part] += 1;
        if sample.status.quality() != Quality::Good {
            *not_good.entry(format!("{:?} {:?}", sample.point, sample.status)).or_default() += 1;
        }
    })
    .unwrap();
    let slots = |from: UtcMillis, to: UtcMillis| u64::try_from(to.since(from) / WINDOW_MS).unwrap();
    for point in &catalogue.points {
        let [quarters, middle, full] = counts.get(&point.id).copied().unwrap_or_default();
        let stable_id = &point.identity.stable_id;
        if stable_id.ends_with("/rainfall") || stable_id.ends_with("reclaimed-water/water_pressure") {
            assert_eq!(quarters + middle + full, 0, "{stable_id}");
            continue;
        }
        let per_window = if has_minutes(point) { 15 } else { 1 };
        let interval = i64::from(point.interval_ms.unwrap());
        let in_full = (NOW.since(full_from) + interval - 1) / interval;
        assert_eq!(quarters, slots(start, minutes_from), "{stable_id}");
        assert_eq!(middle, slots(minutes_from, full_from) * per_window, "{stable_id}");
        assert_eq!(full, u64::try_from(in_full).unwrap(), "{stable_id}");
    }
    let minutes = catalogue.points.iter().filter(|point| has_minutes(point)).count();
    assert_eq!(minutes, 8 + 5 + 6);
    assert_eq!(filled.readings, counts.values().flatten().sum::<u64>());
    assert!((4_000_000..7_000_000).contains(&filled.readings), "{}", filled.readings);
    // Only the loose contact is ever not good: 3 of 30 minutes of the last six hours.
    let loose = catalogue.point_by_stable_id("food/boiler-heat/return_temperature").unwrap().id;
    assert_eq!(not_good.len(), 1, "{not_good:?}");
    assert!(not_good.keys().all(|key| key.starts_with(&format!("{loose:?} "))), "{not_good:?}");
    let bad = not_good.values().sum::<u64>();
    assert!((400..=500).contains(&bad), "{not_good:?}");
}

#[test]
fn a_second_start_fills_only_the_gap() {
    let catalogue = shipped();
    let recent = |points: &[Arc<Point>]| {
        let status = Status::new(Quality::Good, Reason::None, Origin::Simulated, Step::None);
        let time = NOW.plus(-20 * 60_000 - 123);
        let sample = |point| Sample { point, status, value: 0, source_time: None, received_time: time, record_time: time };
        Latest(Mutex::new(points.iter().map(|point| (point.id, sample(point.id))).collect()))
    };
    let view = recent(&catalogue.points);
    let first = fill(&catalogue, NOW, &view, usize::MAX, |_| {}).unwrap();
    let expected: u64 = wire::wire(&catalogue)
        .unwrap()
        .iter()
        .filter(|wired| wired.row.signal != Signal::Silent)
        .map(|wired| {
            let interval = i64::from(wired.point.interval_ms.unwrap());
            // Multiples of the interval in (now - 20 min - 123 ms, now).
            let (from, to) = (NOW.plus(-20 * 60_000 - 123), NOW.plus(-1));
            u64::try_from(to.0.div_euclid(interval) - from.0.div_euclid(interval)).unwrap()
        })
        .sum();
    assert_eq!(first.readings, expected);
    assert_eq!(fill(&catalogue, NOW, &view, usize::MAX, |_| {}).unwrap(), Filled::default());
}

#[test]
fn an_interrupted_fill_is_finished_without_doubles() {
    let catalogue = shipped();
    let view = Latest::default();
    let mut seen = 0u64;
    let stopped = fill(&catalogue, NOW, &view, 100, |_| seen += 1);
    assert_eq!(stopped, Err(BackfillError::NotDurable));
    let rest = fill(&catalogue, NOW, &view, usize::MAX, |_| {}).unwrap();
    let whole = fill(&catalogue, NOW, &Latest::default(), usize::MAX, |_| {}).unwrap();
    assert_eq!(seen + rest.readings, whole.readings);
}

#[test]
fn registers_say_what_history_says() {
    let catalogue = shipped();
    let park = Park::new(SEED_DEFAULT, NOW);
    let mut compared = 0;
    for wired in wire::wire(&catalogue).unwrap() {
        let PointSource::Modbus(source) = &wired.point.source else { continue };
        for step in 0..2_000 {
            let at = NOW.plus(-step * 7_777_777);
            let back_filled = wired.number(&park, at, Look::Instant);
            let Some(words) = wired.registers(source, &park, at) else {
                assert_eq!(wired.row.signal, Signal::Silent);
                assert_eq!(back_filled, Number::Missing(Reason::DeviceException));
                continue;
            };
            let bits = matches!(source.register_type, parkgate_collector::protocol::modbus::RegisterType::Bit(_));
            let data: Vec<u8> = if bits {
                words.iter().map(|&word| u8::from(word != 0)).collect()
            } else {
                words.iter().flat_map(|word| word.to_be_bytes()).collect()
            };
            assert_eq!(number(source, &data, 0), back_filled, "{} at {at}: {words:x?}", wired.point.identity.stable_id);
            compared += 1;
        }
    }
    assert!(compared > 80_000, "{compared}");
}

#[test]
fn payloads_have_the_shapes_of_the_config() {
    let catalogue = shipped();
    let park = Park::new(SEED_DEFAULT, NOW);
    let points = wire::wire(&catalogue).unwrap();
    let at = UtcMillis(1_795_414_020_000);
    let payload = |device: &str| {
        let DeviceAddress::Mqtt(address) = &catalogue.device(device).unwrap().address else { panic!("{device} is no MQTT device") };
        let map = &address.topics[0];
        let values: Vec<_> = points.iter().map(|wired| (wired.point.id, wired.number(&park, at, Look::Instant))).collect();
        let text = wire::payload(map, &values, at);
        serde_json::from_str::<serde_json::Value>(&text).unwrap_or_else(|error| panic!("{device}: {error}: {text}"))
    };
    let gate_gas = payload("gate-gas");
    assert_eq!(gate_gas["ts"], 1_795_414_020_000_i64);
    let register = park.total(park::Mix::GasGate, at) / 10_000;
    assert_eq!(gate_gas["volume"].to_string(), format!("{}.{:02}", register / 100, register % 100));
    assert_eq!(payload("food-gas")["data"]["time"], "2026-11-23T06:07:00.000Z");
    assert!(payload("food-gas")["data"]["volume"]["std"].is_number());
    assert!(payload("dyeing-gas")["pulses"].is_i64());
    assert_eq!(payload("gate-water")["data"][0]["ts"], 1_795_414_020_000_i64);
    assert!(payload("common-water")["values"][1]["v"].is_number());
    let outlet = payload("waste-water");
    assert_eq!(outlet["DataTime"], "2026-11-23 14:07:00");
    assert!(outlet["factors"][0]["nh3n"].is_number());
    assert!(payload("pile-2")["meter"]["energy"].is_number());
}

#[test]
fn links_of_the_config_are_known() {
    let catalogue = shipped();
    for (link, _) in STATIONS {
        assert!(catalogue.links.iter().any(|known| known.key == LinkKey::of(link)), "{link}");
    }
}

/// Runs the real driver of each link in `links` for as long as `enough` says no; every reading with its arrival.
async fn drive(
    catalogue: &Catalogue,
    links: &[&str],
    clock: &Arc<dyn Clock>,
    mut enough: impl FnMut(&[(UtcMillis, Reading)]) -> bool,
) -> Vec<(UtcMillis, Reading)> {
    let (outlet, mut inlet) = mpsc::channel(16);
    let cancel = CancellationToken::new();
    let (health, metrics) = (HealthBoard::default(), Metrics::new(&prometheus::Registry::new()));
    let mut drivers = tokio::task::JoinSet::new();
    for link in catalogue.links.iter().filter(|link| links.contains(&link.id.as_str())) {
        let devices = catalogue.devices.iter().filter(|device| device.link.key == link.key).cloned().collect();
        let devices = LinkDevices { link: Arc::clone(link), devices };
        let parts = (outlet.clone(), health.clone(), metrics.clone(), Arc::clone(clock), cancel.clone());
        drivers.spawn(driver::run(devices, parts.0, parts.1, parts.2, parts.3, Default::default(), parts.4));
    }
    drop(outlet);
    let mut readings = Vec::new();
    while let Some(message) = inlet.recv().await {
        let Message::Batch(batch) = message else { continue };
        assert_eq!((batch.origin, batch.rejected), (Origin::Simulated, vec![]));
        readings.extend(batch.readings.iter().map(|reading| (batch.received_time, *reading)));
        if let Some(done) = batch.done {
            let _ = done.send(Outcome::Durable);
        }
        if enough(&readings) {
            cancel.cancel();
        }
    }
    drivers.join_all().await;
    readings
}

/// Live over sockets, the real drivers read what the back-fill would have written, and the broker keeps what is
/// published while the gateway is away. Takes some ten seconds of real time: devices live by the wall clock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_drivers_read_the_park() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let mut demo = DemoPark::start(SEED_DEFAULT, &*clock).await.unwrap();
    let catalogue = catalogue_of(&demo.config_files());
    demo.go_live(&catalogue, &clock).unwrap();
    let points: HashMap<PointId, wire::WiredPoint> =
        wire::wire(&catalogue).unwrap().into_iter().map(|wired| (wired.point.id, wired)).collect();
    let answering = points.values().filter(|wired| wired.row.device != "rain-gauge").count();
    let all = ["substation", "pv", "stack", "utility", "broker"];
    let deadline = clock.now().utc.plus(60_000);
    let readings = drive(&catalogue, &all, &clock, |readings| {
        let seen: HashSet<PointId> = readings.iter().map(|(_, reading)| reading.point).collect();
        seen.len() >= answering || clock.now().utc > deadline
    })
    .await;
    let seen: HashSet<PointId> = readings.iter().map(|(_, reading)| reading.point).collect();
    let missing: Vec<_> = points.values().filter(|wired| !seen.contains(&wired.point.id)).map(|wired| wired.row).collect();
    assert_eq!(missing.len(), 1, "{missing:?}");
    let mut stamped = 0;
    for (received, reading) in &readings {
        let wired = &points[&reading.point];
        let say = |at| wired.number(&demo.park, at, Look::Instant);
        let expected = match reading.source_time {
            Some(time) => {
                stamped += 1;
                say(time) == reading.number
            }
            // A device without a clock said it at some moment before it arrived.
            None => {
                (0..200).any(|step| say(received.plus(-step * 10)) == reading.number)
                    || counts_between(&demo.park, wired, *received, reading)
            }
        };
        assert!(expected, "{}: {reading:?} received {received}", wired.point.identity.stable_id);
    }
    assert!(stamped > 20, "{stamped}");
    assert!(readings.iter().any(|(_, reading)| reading.number == Number::Missing(Reason::DeviceException)));

    // Away for three seconds: the waste-water outlet publishes every two.
    let away_from = clock.now().utc;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let back_at = clock.now().utc;
    let kept = |(_, reading): &(UtcMillis, Reading)| reading.source_time.is_some_and(|time| (away_from..back_at).contains(&time));
    let deadline = back_at.plus(20_000);
    let readings = drive(&catalogue, &["broker"], &clock, |readings| readings.iter().any(kept) || clock.now().utc > deadline).await;
    assert!(readings.iter().any(kept), "nothing of what was published while away");
    demo.stop().await;
}

/// A register moves on between two looks 10 ms apart: then it lies between the ends of the last two seconds.
fn counts_between(park: &Park, wired: &wire::WiredPoint, received: UtcMillis, reading: &Reading) -> bool {
    let ends = [received.plus(-2_000), received].map(|at| wired.number(park, at, Look::Instant));
    match (reading.number, ends) {
        (Number::Exact(said), [Number::Exact(from), Number::Exact(to)]) if matches!(wired.row.signal, Signal::Total(..)) => {
            (from.mantissa..=to.mantissa).contains(&said.mantissa)
        }
        // The broken register is in a block of its own.
        (Number::Missing(Reason::DeviceException), _) => wired.row.signal == Signal::Silent,
        _ => false,
    }
}
