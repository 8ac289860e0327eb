//! The pipeline on a disk in memory.

use std::path::Path;

use super::*;
use crate::catalogue::*;
use crate::clock::ManualClock;
use crate::journal::JournalSettings;
use crate::journal::file::sim::SimDisk;
use crate::model::{Decimal, DeliveredRange, Delivery, Kind, LinkKey, Medium, Number, Origin, PointId, PointIdentity, Reading, Unit};
use crate::normalise::NormaliseSettings;

mod undated;

fn at(utc: i64, monotonic_ms: u64) -> Now {
    Now { utc: UtcMillis(utc), monotonic_ms }
}

#[test]
fn a_slow_drift_is_no_step_and_hides_none() {
    let mut last = at(0, 0);
    // 100 ms a look: 10 s in all.
    for look in 1..=100 {
        assert_eq!(clock_step(&mut last, at(look * 10_100, look as u64 * 10_000)), None);
    }
    // A step against the drift, which it would not show against the first look.
    assert_eq!(clock_step(&mut last, at(1_020_000 - 10_000, 1_010_000)), Some(UtcMillis(1_020_000)));
    assert_eq!(clock_step(&mut last, at(1_020_000, 1_020_000)), None, "told once");
}

#[test]
fn a_batch_with_marks_is_one_record() {
    for (samples, marked, first) in [
        (10, false, 10),
        (SAMPLES_PER_RECORD + 1, false, SAMPLES_PER_RECORD),
        (SAMPLES_PER_RECORD + 1, true, SAMPLES_PER_RECORD + 1),
        (2 * SAMPLES_PER_RECORD, true, 2 * SAMPLES_PER_RECORD),
        (MARKED_SAMPLES_PER_RECORD + 1, true, MARKED_SAMPLES_PER_RECORD),
    ] {
        assert_eq!(first_part(samples, marked), first, "{samples} {marked}");
    }
}

/// A pipeline of one gauge, point 1, on a disk in memory.
struct Fixture {
    folder: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    disk: SimDisk,
    journal: Journal,
    saved_state: SavedState,
    rejects: rejects::Sink,
    metrics: Metrics,
}

impl Fixture {
    fn new(segment_bytes: u64, budget_bytes: u64) -> (Self, Pipeline) {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let metrics = Metrics::new(&prometheus::Registry::new());
        let clock = Arc::new(ManualClock::new(NOW));
        let settings = JournalSettings { segment_bytes, budget_bytes, reserve_bytes: 0, resume_after: Sequence(0) };
        let disk = SimDisk::new(1 << 30);
        let journal = Journal::open_on(Arc::new(disk.clone()), Path::new("j"), settings, clock.clone(), metrics.clone()).unwrap();
        let ring = rejects::Ring::open(folder.path(), rejects::RingSettings::default(), metrics.clone()).unwrap();
        let saved_state = SavedState::new(folder.path().join("normalise.state"));
        let rejects = rejects::Sink::start(ring).unwrap();
        let fixture = Self { folder, runtime, disk, journal, saved_state, rejects, metrics };
        let pipeline = fixture.pipeline(&catalogue(), clock, 1);
        (fixture, pipeline)
    }

    /// A pipeline without memory.
    fn pipeline(&self, catalogue: &Catalogue, clock: Arc<dyn Clock>, boot_id: u64) -> Pipeline {
        Pipeline {
            tally: Tally::new(catalogue, &self.metrics),
            plates: Plates::new(catalogue, &self.metrics, crate::health::HealthBoard::default()),
            normaliser: Normaliser::new(catalogue, NormaliseSettings::default()),
            journal: self.journal.clone(),
            rejects: self.rejects.clone(),
            clock,
            metrics: self.metrics.clone(),
            catalogue_version: catalogue.version,
            boot_id,
            exchanges: Exchanges::default(),
            saved_state: self.saved_state.clone(),
            runtime: self.runtime.handle().clone(),
        }
    }
}

const NOW: UtcMillis = UtcMillis(1_764_000_000_000);

fn catalogue() -> Catalogue {
    catalogue_of(vec![gauge(1)])
}

fn names() -> Names {
    Names { zh: String::new(), en: String::new() }
}

/// A gauge without rules.
pub(super) fn gauge(id: u32) -> Point {
    let unit = Unit::parse("kW").unwrap();
    Point {
        id: PointId(id),
        identity: PointIdentity { stable_id: format!("d/{id}"), kind: Kind::Gauge, unit, decimals: 0 },
        device: "d".into(),
        local_id: id.to_string(),
        name: names(),
        quantity: "test".into(),
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
        interval_ms: None,
        compliance: false,
        role: None,
        labels: Default::default(),
        source: PointSource::Mqtt,
    }
}

pub(super) fn catalogue_of(points: Vec<Point>) -> Catalogue {
    let link = Arc::new(Link {
        id: "l".into(),
        key: LinkKey(1),
        driver: DriverSettings::ModbusTcp(ModbusTcpSettings {
            host: "h".into(),
            port: 502,
            timeout_ms: 1,
            connect_timeout_ms: 1,
            line: Default::default(),
        }),
    });
    let device = Device {
        id: "d".into(),
        name: names(),
        enterprise: None,
        link: Arc::clone(&link),
        profile: None,
        origin: Origin::Metered,
        nameplate: Default::default(),
        address: DeviceAddress::Mqtt(MqttAddress::default()),
        points: points.into_iter().map(Arc::new).collect(),
    };
    let park =
        Park { id: "park".to_owned(), name: names(), time_zone: "UTC".to_owned(), commissioned: None, display_units: Default::default() };
    Catalogue::new(1, park, Vec::new(), vec![link], vec![Arc::new(device)])
}

/// Readings of point 1, numbered, a millisecond apart; `marks` deliveries, one for each of the first readings.
fn batch(count: usize, marks: u32, done: oneshot::Sender<Outcome>) -> Message {
    let marked = usize::try_from(marks).unwrap();
    let reading = |index: usize| Reading {
        point: PointId(1),
        number: Number::Exact(Decimal::new(index as i64, 0)),
        // A mark is of readings without a time.
        source_time: (index >= marked).then(|| NOW.plus(index as i64 - 10_000_000)),
    };
    let mark = |index: u32| DeliveredRange {
        delivery: Delivery { packet_id: index as u16 + 1, hash: index },
        redelivered: false,
        first: index,
        count: 1,
    };
    Message::Batch(Batch {
        link: LinkKey(1),
        received_time: NOW,
        readings: (0..count).map(reading).collect(),
        origin: Origin::Metered,
        deliveries: (0..marks).map(mark).collect(),
        rejected: Vec::new(),
        done: Some(done),
    })
}

/// Samples and marks of each record of samples.
fn records(journal: &Journal) -> Vec<(usize, usize)> {
    let mut reader = journal.reader(Sequence(1));
    let mut records = Vec::new();
    loop {
        match reader.next().unwrap() {
            Next::Entry(_, Record::Samples(record)) => records.push((record.samples.len(), record.deliveries.len())),
            Next::Entry(..) => {}
            Next::End => return records,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_large_batch_becomes_several_records() {
    for (count, marks, expected) in [
        (SAMPLES_PER_RECORD, 0, vec![(SAMPLES_PER_RECORD, 0)]),
        (2 * SAMPLES_PER_RECORD + 10, 0, vec![(SAMPLES_PER_RECORD, 0), (SAMPLES_PER_RECORD, 0), (10, 0)]),
        // With marks it stays whole, and beyond what one record takes they go with the last part: a crash before that
        // makes the broker deliver everything again, and nothing of it counts as delivered.
        (SAMPLES_PER_RECORD + 10, 20, vec![(SAMPLES_PER_RECORD + 10, 20)]),
        (MARKED_SAMPLES_PER_RECORD + 10, 20, vec![(MARKED_SAMPLES_PER_RECORD, 0), (10, 20)]),
    ] {
        let (fixture, pipeline) = Fixture::new(32 << 20, 128 << 20);
        let (outlet, inbox) = mpsc::channel(INBOX_MESSAGES);
        let (done, outcome) = oneshot::channel();
        outlet.try_send(batch(count, marks, done)).unwrap();
        drop(outlet);
        pipeline.run(inbox);
        assert_eq!(outcome.blocking_recv(), Ok(Outcome::Durable), "{count} {marks}");
        assert_eq!(records(&fixture.journal), expected, "{count} {marks}");
        assert_eq!(fixture.saved_state.floor(), Sequence(expected.len() as u64));
    }
}

/// What a batch completes of a formula is in the entry of that batch; what did not change is in none, and is answered.
#[test]
fn values_of_formulas_go_with_their_inputs_and_unchanged_ones_nowhere() {
    let (fixture, mut pipeline) = Fixture::new(32 << 20, 128 << 20);
    let formula = Formula { operation: Operation::Sum, inputs: vec!["d/1".into(), "d/1".into()], max_age_ms: 1_000 };
    let on_change = Some(OnChange { deadband: Decimal::new(100, 0), max_silence_ms: 900_000 });
    let made = Point {
        source: PointSource::Formula(formula),
        rules: Some(Box::new(PointRules { on_change, ..PointRules::default() })),
        ..gauge(2)
    };
    pipeline.normaliser.set_catalogue(&catalogue_of(vec![gauge(1), made]));
    let metrics = pipeline.metrics.clone();
    let (outlet, inbox) = mpsc::channel(INBOX_MESSAGES);
    let (done, outcome) = oneshot::channel();
    // 0, 1, ... 99, each twice: 0 is recorded, and 102, the first one further away than the dead-band.
    outlet.try_send(batch(100, 0, done)).unwrap();
    drop(outlet);
    pipeline.run(inbox);
    assert_eq!(outcome.blocking_recv(), Ok(Outcome::Durable));
    assert_eq!(records(&fixture.journal), [(102, 0)]);
    assert_eq!(metrics.unchanged_left_out.get(), 98);
}

/// What comes behind a new catalogue is read and counted by it, what came before is not.
#[test]
fn a_catalogue_counts_for_what_comes_behind_it() {
    let (fixture, pipeline) = Fixture::new(32 << 20, 128 << 20);
    let metrics = pipeline.metrics.clone();
    let (outlet, inbox) = mpsc::channel(INBOX_MESSAGES);
    let reading = |number: i64| Reading { point: PointId(2), number: Number::Exact(Decimal::new(number, 0)), source_time: None };
    let batch_of_two = |number: i64| {
        let (link, readings) = (LinkKey(1), vec![reading(number)]);
        let (deliveries, rejected) = (Vec::new(), Vec::new());
        Message::Batch(Batch { link, received_time: NOW, readings, origin: Origin::Metered, deliveries, rejected, done: None })
    };
    outlet.try_send(batch_of_two(1)).unwrap();
    let (done, told) = oneshot::channel();
    let mut wider = catalogue_of(vec![gauge(2)]);
    wider.version = 2;
    outlet.try_send(Message::Catalogue(Arc::new(wider), Vec::new(), done)).unwrap();
    outlet.try_send(batch_of_two(2)).unwrap();
    let (done, outcome) = oneshot::channel();
    // Point 1 is no more.
    outlet.try_send(batch(3, 0, done)).unwrap();
    drop(outlet);
    pipeline.run(inbox);
    assert_eq!((outcome.blocking_recv(), told.blocking_recv()), (Ok(Outcome::Durable), Ok(true)));
    let mut reader = fixture.journal.reader(Sequence(1));
    let mut found = Vec::new();
    loop {
        match reader.next().unwrap() {
            Next::Entry(_, Record::Samples(record)) => {
                found.extend(record.samples.iter().map(|sample| (record.catalogue_version, sample.point.0, sample.number())));
            }
            Next::Entry(_, Record::Catalogue(record)) => found.push((record.version, 0, None)),
            Next::Entry(..) => {}
            Next::End => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(found, [(2, 0, None), (2, 2, Some(2))]);
    assert_eq!(metrics.unknown_points.get(), 1 + 3);
    assert_eq!(metrics.samples_durable.with_label_values(&["modbus_tcp", "l", "d"]).get(), 1);
}

/// The journal does not tell that registers begin anew: the saved state does, before anyone is told.
#[test]
fn what_a_catalogue_changes_of_counters_is_saved_before_it_is_told() {
    let kwh = Unit::parse("kWh").unwrap();
    let identity = PointIdentity { kind: Kind::Counter, unit: kwh, ..gauge(1).identity };
    let counter = || catalogue_of(vec![Point { identity: identity.clone(), raw_unit: kwh, ..gauge(1) }]);
    for can_be_saved in [true, false] {
        let (fixture, mut pipeline) = Fixture::new(1 << 20, 8 << 20);
        pipeline.normaliser.set_catalogue(&counter());
        let state = fixture.saved_state.path.clone();
        if !can_be_saved {
            std::fs::create_dir(&state).unwrap();
        }
        let (outlet, inbox) = mpsc::channel(INBOX_MESSAGES);
        let thread = std::thread::spawn(move || pipeline.run(inbox));
        let (done, outcome) = oneshot::channel();
        outlet.try_send(batch(1, 0, done)).unwrap();
        let (done, told) = oneshot::channel();
        outlet.try_send(Message::Catalogue(Arc::new(counter()), vec![PointId(1)], done)).unwrap();
        assert_eq!((outcome.blocking_recv(), told.blocking_recv()), (Ok(Outcome::Durable), Ok(can_be_saved)));
        if can_be_saved {
            // As after a cut of the power.
            let mut expected = Normaliser::new(&counter(), NormaliseSettings::default());
            let position = SavedState::catch_up(&mut expected, Sequence(0), &fixture.journal).unwrap();
            let without = expected.snapshot(position.0);
            expected.announce_next(PointId(1));
            let saved = std::fs::read(&state).unwrap();
            assert!(saved == expected.snapshot(position.0) && saved != without);
        }
        drop(outlet);
        thread.join().unwrap();
    }
}

/// The journal is full after some of the parts, so there is time to look: nothing is answered until the last one is durable.
#[test]
fn a_batch_in_parts_is_answered_when_the_last_one_is_durable() {
    const PARTS: usize = 24;
    let (fixture, pipeline) = Fixture::new(1 << 20, 2 << 20);
    let (journal, saved_state) = (&fixture.journal, &fixture.saved_state);
    let (outlet, inbox) = mpsc::channel(INBOX_MESSAGES);
    let (done, mut outcome) = oneshot::channel();
    outlet.try_send(batch(PARTS * SAMPLES_PER_RECORD, 0, done)).unwrap();
    drop(outlet);
    let thread = std::thread::spawn(move || pipeline.run(inbox));
    let (last, start) = (Sequence(PARTS as u64), Instant::now());
    let mut was_full_in_part = false;
    let answer = loop {
        // Read before the answer is looked for: what is answered was durable before.
        let (durable, is_full) = (journal.durable(), journal.full().is_some());
        match outcome.try_recv() {
            Err(oneshot::error::TryRecvError::Empty) => was_full_in_part |= is_full && Sequence(0) < durable && durable < last,
            answer => break answer,
        }
        assert!(start.elapsed() < Duration::from_secs(60), "stands at {:?}, saved {:?}", journal.stats(), saved_state.floor());
        if is_full {
            journal.release(Sequence(saved_state.floor().0 + 1));
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    assert_eq!((answer, journal.durable()), (Ok(Outcome::Durable), last));
    assert!(was_full_in_part, "the parts fit into the journal: nothing was tested");
    thread.join().unwrap();
    assert_eq!(saved_state.floor(), last);
}

/// The journal has room for seven of these messages and waits with eight more; history takes nothing in until the
/// thread waits, then all that the saved state lets go, which lets all the rest through.
#[test]
fn a_full_journal_does_not_wait_for_the_saved_state_for_ever() {
    let (fixture, pipeline) = Fixture::new(4 << 20, 8 << 20);
    let (journal, saved_state) = (&fixture.journal, &fixture.saved_state);
    let (outlet, inbox) = mpsc::channel(INBOX_MESSAGES);
    for _ in 0..24 {
        let change = LinkChange { link: LinkKey(1), device: String::new(), up: true, why: "x".repeat(1 << 20), time: UtcMillis(0) };
        outlet.try_send(Message::Link(change)).unwrap();
    }
    drop(outlet);
    let thread = std::thread::spawn(move || pipeline.run(inbox));
    let start = Instant::now();
    while !thread.is_finished() {
        assert!(start.elapsed() < Duration::from_secs(60), "stands at {:?}, saved {:?}", journal.stats(), saved_state.floor());
        // As history does it: what is durable is in a checkpoint, and goes as far as the saved state reaches.
        if journal.full().is_some() {
            journal.release(Sequence(saved_state.floor().0 + 1));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    thread.join().unwrap();
    assert_eq!((journal.durable(), saved_state.floor()), (Sequence(24), Sequence(24)));
}
