//! A machine that begins in 1970, and whose clock is set later.

use std::thread::JoinHandle;

use super::*;
use crate::model::{Reason, Step};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60_000;
/// Readings before the power was cut, by a clock that was right.
const BEFORE: UtcMillis = UtcMillis(NOW.0 - 3 * 3_600_000);

/// A pipeline that runs, on a journal that stays.
struct Running {
    clock: Arc<ManualClock>,
    outlet: mpsc::Sender<Message>,
    thread: JoinHandle<()>,
    /// What the clock showed at the start.
    start: UtcMillis,
}

impl Running {
    /// As the engine starts it, with the clock at `utc`.
    fn start(fixture: &Fixture, points: &[Point], utc: UtcMillis, boot_id: u64) -> Self {
        let clock = Arc::new(ManualClock::new(utc));
        let mut pipeline = fixture.pipeline(&catalogue_of(points.to_vec()), Arc::clone(&clock) as _, boot_id);
        let position = fixture.saved_state.load(&mut pipeline.normaliser).unwrap();
        SavedState::catch_up(&mut pipeline.normaliser, position, &fixture.journal).unwrap();
        let (outlet, inbox) = mpsc::channel(INBOX_MESSAGES);
        let thread = std::thread::spawn(move || pipeline.run(inbox));
        Self { clock, outlet, thread, start: utc }
    }

    fn send(&self, message: Message) {
        self.outlet.blocking_send(message).unwrap();
    }

    /// One reading, received now; it is durable then.
    fn read(&self, point: u32, value: i64, source: Option<UtcMillis>) {
        let (done, outcome) = oneshot::channel();
        self.send(received(self.clock.now().utc, &[(point, value, source)], Some(done)));
        assert_eq!(outcome.blocking_recv(), Ok(Outcome::Durable));
    }

    /// Sets the clock.
    fn set(&self, to: UtcMillis) {
        self.clock.jump_to(to);
    }

    fn stop(self) {
        drop(self.outlet);
        self.thread.join().unwrap();
    }
}

/// A message of some readings.
fn received(time: UtcMillis, readings: &[(u32, i64, Option<UtcMillis>)], done: Option<oneshot::Sender<Outcome>>) -> Message {
    let reading = |&(point, value, source_time): &(u32, i64, Option<UtcMillis>)| Reading {
        point: PointId(point),
        number: Number::Exact(Decimal::new(value, 0)),
        source_time,
    };
    let (deliveries, rejected) = (Vec::new(), Vec::new());
    let readings = readings.iter().map(reading).collect();
    Message::Batch(Batch { link: LinkKey(1), received_time: time, readings, origin: Origin::Metered, deliveries, rejected, done })
}

fn counter(id: u32) -> Point {
    let gauge = gauge(id);
    let identity = PointIdentity { kind: Kind::Counter, unit: Unit::parse("kWh").unwrap(), ..gauge.identity };
    Point {
        raw_unit: identity.unit,
        identity,
        modulus: Some(Decimal::new(1_000, 0)),
        rate_max_per_hour: Some(Decimal::new(600, 0)),
        valid_max: Some(Decimal::new(5_000, 0)),
        ..gauge
    }
}

/// All samples in the journal, in order.
fn samples(fixture: &Fixture) -> Vec<Sample> {
    let mut reader = fixture.journal.reader(Sequence(1));
    let mut samples = Vec::new();
    loop {
        match reader.next().unwrap() {
            Next::Entry(_, Record::Samples(record)) => samples.extend(record.samples),
            Next::End => return samples,
            _ => {}
        }
    }
}

/// What history keeps and counts of a point: of one key time the last one, without those that are bad, in order of time.
fn counted(fixture: &Fixture, point: u32) -> Vec<Sample> {
    let by_key: std::collections::BTreeMap<UtcMillis, Sample> =
        samples(fixture).into_iter().filter(|sample| sample.point == PointId(point)).map(|sample| (sample.key_time(), sample)).collect();
    let mut counted: Vec<Sample> = by_key.into_values().filter(|sample| sample.status.quality() != Quality::Bad).collect();
    counted.sort_by_key(|sample| sample.record_time);
    counted
}

/// Seconds after [`NOW`], value, step and reason of what counts.
fn rows(fixture: &Fixture, point: u32) -> Vec<(i64, i64, Step, Reason)> {
    let row = |sample: &Sample| (sample.record_time.since(NOW) / SECOND, sample.value, sample.status.step(), sample.status.reason());
    counted(fixture, point).iter().map(row).collect()
}

/// The saved state is what a start makes of the journal alone.
fn check_state(fixture: &Fixture, points: &[Point]) {
    let clock = Arc::new(ManualClock::new(NOW));
    let mut pipeline = fixture.pipeline(&catalogue_of(points.to_vec()), clock, 99);
    let position = SavedState::catch_up(&mut pipeline.normaliser, Sequence(0), &fixture.journal).unwrap();
    let saved = std::fs::read(fixture.folder.path().join("normalise.state")).unwrap();
    assert_eq!(fixture.saved_state.floor(), position);
    assert!(saved == pipeline.normaliser.snapshot(position.0), "the state differs from what the journal says");
}

/// Readings before the cut, in 1970 (seconds after the start, which is at [`NOW`] in truth), and 100 s after the start, when
/// the clock is right again; what of them counts.
fn played(points: &[Point], before: &[i64], in_1970: &[(i64, u32, i64, Option<UtcMillis>)], after: &[i64]) -> Fixture {
    let (fixture, _) = Fixture::new(1 << 20, 8 << 20);
    let first = Running::start(&fixture, points, BEFORE, 1);
    for &value in before {
        first.read(1, value, None);
        first.clock.advance(60_000);
    }
    first.stop();
    let boot = Running::start(&fixture, points, UtcMillis(5 * SECOND), 2);
    for &(seconds, point, value, source) in in_1970 {
        let now = boot.clock.now().utc.since(boot.start);
        boot.clock.advance(u32::try_from(seconds * SECOND - now).unwrap());
        boot.read(point, value, source);
    }
    let now = boot.clock.now().utc.since(boot.start);
    boot.clock.advance(u32::try_from(100 * SECOND - now).unwrap());
    boot.set(NOW.plus(100 * SECOND));
    for &value in after {
        boot.read(1, value, None);
        boot.clock.advance(10_000);
    }
    boot.stop();
    check_state(&fixture, points);
    fixture
}

#[test]
fn registers_of_1970_are_recorded_again_by_their_time_in_truth() {
    use Reason::{Clock, None as Plain, SuspectStep};
    use Step::{Delta, First, Rollover, Suspect};
    let cut = BEFORE.since(NOW) / SECOND;
    type Row = (i64, i64, Step, Reason);
    // Name, before, in 1970, after, what counts.
    type Case<'a> = (&'a str, &'a [i64], &'a [(i64, i64)], &'a [i64], Vec<Row>);
    let cases: Vec<Case<'_>> = vec![
        (
            "a power cut",
            &[100, 110],
            &[(10, 200), (70, 210)],
            &[220],
            vec![
                (cut, 100, First, Plain),
                (cut + 60, 110, Delta, Plain),
                (10, 200, Delta, Clock),
                (70, 210, Delta, Clock),
                (100, 220, Delta, Plain),
            ],
        ),
        (
            "the first start",
            &[],
            &[(10, 200), (70, 210)],
            &[220],
            vec![(10, 200, First, Clock), (70, 210, Delta, Clock), (100, 220, Delta, Plain)],
        ),
        (
            // 200 in three hours, at most 600 an hour.
            "a wrap while it was off",
            &[900],
            &[(10, 100)],
            &[102],
            vec![(cut, 900, First, Plain), (10, 100, Rollover, Clock), (100, 102, Delta, Plain)],
        ),
        (
            // 5 in 30 s.
            "a wrap while the time was not known",
            &[900],
            &[(10, 997), (40, 2)],
            &[4],
            vec![(cut, 900, First, Plain), (10, 997, Delta, Clock), (40, 2, Rollover, Clock), (100, 4, Delta, Plain)],
        ),
        (
            // 4 in 60 s.
            "a wrap when the clock was set",
            &[900],
            &[(40, 998)],
            &[2],
            vec![(cut, 900, First, Plain), (40, 998, Delta, Clock), (100, 2, Rollover, Plain)],
        ),
        (
            "a fall",
            &[900],
            &[(10, 950), (40, 500)],
            &[501],
            vec![(cut, 900, First, Plain), (10, 950, Delta, Clock), (40, 500, Suspect, SuspectStep), (100, 501, Delta, Plain)],
        ),
        (
            "out of range",
            &[100],
            &[(10, 200), (40, 6_000)],
            &[220],
            vec![(cut, 100, First, Plain), (10, 200, Delta, Clock), (100, 220, Delta, Plain)],
        ),
        ("nothing read", &[100], &[], &[220], vec![(cut, 100, First, Plain), (100, 220, Delta, Plain)]),
    ];
    for (name, before, in_1970, after, expected) in cases {
        let readings: Vec<_> = in_1970.iter().map(|&(seconds, value)| (seconds, 1, value, None)).collect();
        let fixture = played(&[counter(1)], before, &readings, after);
        assert_eq!(rows(&fixture, 1), expected, "{name}");
        let all = samples(&fixture);
        assert_eq!(all.len(), before.len() + 2 * in_1970.len() + after.len(), "{name}");
        assert_eq!(fixture.metrics.restamped.get(), in_1970.len() as u64, "{name}");
        // What is out of range stays so, at its time in truth too.
        let bad: Vec<_> = all.iter().filter(|sample| sample.status.reason() == Reason::Range).collect();
        assert_eq!(bad.len(), if name == "out of range" { 2 } else { 0 }, "{name}");
        assert!(bad.last().is_none_or(|last| last.record_time == NOW.plus(40 * SECOND) && last.received_time == last.record_time));
    }
}

#[test]
fn devices_with_a_clock_of_their_own() {
    // Theirs is right: it counts at once, and once.
    let right: Vec<_> = [(10, 200), (70, 210)].map(|(s, value)| (s, 1, value, Some(NOW.plus(s * SECOND - 500)))).to_vec();
    let fixture = played(&[counter(1)], &[100], &right, &[220]);
    assert_eq!(fixture.metrics.restamped.get(), 0);
    assert_eq!(samples(&fixture).len(), 4);
    let reasons: Vec<_> = rows(&fixture, 1).into_iter().map(|(_, value, step, reason)| (value, step, reason)).collect();
    let doubtful = |value| (value, Step::Delta, Reason::Clock);
    assert_eq!(reasons, [(100, Step::First, Reason::None), doubtful(200), doubtful(210), (220, Step::Delta, Reason::None)]);
    // Theirs stands in 1970, or in 1985, as well: one sample of each counts, and the same again later is a repeat.
    for theirs in [UtcMillis(0), UtcMillis(473_385_600_000)] {
        let wrong: Vec<_> = [(10, 200), (70, 210)].map(|(s, value)| (s, 1, value, Some(theirs.plus(s * SECOND)))).to_vec();
        let fixture = played(&[counter(1)], &[100], &wrong, &[220]);
        let clock = |s: i64, value: i64| (s, value, Step::Delta, Reason::Clock);
        assert_eq!(rows(&fixture, 1)[1..], [clock(10, 200), clock(70, 210), (100, 220, Step::Delta, Reason::None)], "{theirs}");
        assert_eq!(fixture.metrics.restamped.get(), 2);
        // The bad one is not there any more: the other one has its key time.
        let of_key = samples(&fixture).into_iter().filter(|sample| sample.source_time == Some(theirs.plus(10 * SECOND)));
        assert_eq!(of_key.map(|sample| sample.status.quality()).collect::<Vec<_>>(), [Quality::Bad, Quality::Uncertain]);
    }
}

#[test]
fn values_of_formulas_are_moved_and_not_made_again() {
    let formula = |inputs: [&str; 2]| {
        let formula = Formula { operation: Operation::Sum, inputs: inputs.map(str::to_owned).to_vec(), max_age_ms: 30_000 };
        PointSource::Formula(formula)
    };
    let made = Point { source: formula(["d/1", "d/2"]), valid_max: Some(Decimal::new(900, 0)), ..gauge(3) };
    let twice = Point { source: formula(["d/3", "d/1"]), ..gauge(4) };
    let narrow = Point { valid_max: Some(Decimal::new(700, 0)), ..gauge(2) };
    let points = [gauge(1), narrow, made, twice];
    let of_pair = |s: i64, one: i64, other: i64| [(s, 1, one, None), (s + 1, 2, other, None)];
    // 30, then 1000, which is out of range; then a bad input, which makes the sum bad.
    let readings = [of_pair(10, 10, 20), of_pair(20, 500, 500), of_pair(30, 10, 800), of_pair(40, 3, 4)].concat();
    let fixture = played(&points, &[], &readings, &[1]);
    let moved = |point: u32| -> Vec<(i64, i64, Quality, Reason)> {
        let of_point = samples(&fixture).into_iter().filter(|sample| sample.point == PointId(point) && sample.record_time >= NOW);
        of_point.map(|one| (one.record_time.since(NOW) / SECOND, one.value, one.status.quality(), one.status.reason())).collect()
    };
    use Quality::{Bad, Uncertain};
    let expected = [
        (11, 30, Uncertain, Reason::Clock),
        (21, 1_000, Bad, Reason::Range),
        (31, 810, Bad, Reason::Range),
        (41, 7, Uncertain, Reason::Clock),
    ];
    assert_eq!(moved(3), expected);
    assert_eq!(moved(4).len(), samples(&fixture).iter().filter(|sample| sample.point == PointId(4)).count() / 2);
    assert_eq!(fixture.metrics.restamped.get() as usize * 2 + 1, samples(&fixture).len());
}

/// Messages that drivers read before the clock was set wait here meanwhile.
#[test]
fn messages_that_wait_while_the_clock_is_set_are_moved_as_they_come() {
    let (fixture, _) = Fixture::new(1 << 20, 8 << 20);
    let boot = Running::start(&fixture, &[counter(1)], UtcMillis(5 * SECOND), 2);
    boot.read(1, 100, None);
    boot.clock.advance(20_000);
    let late = boot.clock.now().utc;
    boot.clock.advance(10_000);
    boot.set(NOW);
    // Taken in after the first look at the right clock.
    for (time, value) in [(late, 110), (late, 111), (NOW, 120)] {
        let (done, outcome) = oneshot::channel();
        boot.send(received(time, &[(1, value, None)], Some(done)));
        assert_eq!(outcome.blocking_recv(), Ok(Outcome::Durable));
    }
    // Of the past, and of no time that our clock has shown in this run.
    boot.send(received(UtcMillis(0), &[(1, 90, None)], None));
    boot.stop();
    check_state(&fixture, &[counter(1)]);
    use Step::{Delta, First};
    let expected = [
        (-30, 100, First, Reason::Clock),
        (-10, 110, Delta, Reason::Clock),
        (-9, 111, Delta, Reason::Clock),
        (0, 120, Delta, Reason::None),
    ];
    assert_eq!(rows(&fixture, 1).iter().map(|row| (row.1, row.2, row.3)).collect::<Vec<_>>(), expected.map(|row| (row.1, row.2, row.3)));
    let times: Vec<_> = counted(&fixture, 1).iter().map(|sample| sample.record_time.since(NOW)).collect();
    assert_eq!(times, [-30 * SECOND, -10 * SECOND, -10 * SECOND + 1, 0]);
    assert_eq!(samples(&fixture).last().map(|last| last.status.quality()), Some(Quality::Bad));
}

#[test]
fn a_clock_that_is_set_more_than_once() {
    let year_1980 = UtcMillis(315_532_800_000);
    let (fixture, _) = Fixture::new(1 << 20, 8 << 20);
    let points = [counter(1)];
    let boot = Running::start(&fixture, &points, UtcMillis(5 * SECOND), 2);
    // To something that is as wrong: nothing is recorded again yet. Then right.
    boot.read(1, 100, None);
    boot.clock.advance(10_000);
    boot.set(year_1980);
    boot.read(1, 110, None);
    assert_eq!(fixture.metrics.restamped.get(), 0);
    boot.clock.advance(10_000);
    boot.set(year_1980.plus(-86_400_000));
    boot.read(1, 120, None);
    boot.clock.advance(10_000);
    boot.set(NOW);
    boot.read(1, 130, None);
    assert_eq!(fixture.metrics.restamped.get(), 3);
    // Back in 1970, and right once more: only what was recorded then.
    boot.clock.advance(10_000);
    boot.set(UtcMillis(7 * SECOND));
    boot.read(1, 140, None);
    boot.clock.advance(10_000);
    boot.set(NOW.plus(20 * SECOND));
    boot.read(1, 150, None);
    assert_eq!(fixture.metrics.restamped.get(), 4);
    // A right clock is put right: nothing is.
    boot.set(NOW.plus(60 * SECOND));
    boot.read(1, 160, None);
    boot.stop();
    assert_eq!(fixture.metrics.restamped.get(), 4);
    check_state(&fixture, &points);
    use Reason::{Clock, None as Plain};
    use Step::{Delta, First};
    let expected = [
        (-30, 100, First, Clock),
        (-20, 110, Delta, Clock),
        (-10, 120, Delta, Clock),
        (0, 130, Delta, Plain),
        (10, 140, Delta, Clock),
        (20, 150, Delta, Plain),
        (60, 160, Delta, Plain),
    ];
    assert_eq!(rows(&fixture, 1), expected);
}

/// The park is commissioned at an instant that comes by itself: what was read before it is not of the park.
#[test]
fn a_time_that_comes_without_a_step_dates_nothing() {
    let (fixture, _) = Fixture::new(1 << 20, 8 << 20);
    let not_before = NormaliseSettings::default().not_before;
    let boot = Running::start(&fixture, &[counter(1)], not_before.plus(-5 * SECOND), 1);
    boot.read(1, 100, None);
    assert_eq!(fixture.saved_state.held.load(Ordering::Acquire), 1, "it is kept, as it may be recorded again");
    boot.clock.advance(10_000);
    boot.read(1, 110, None);
    // Set later on, it dates nothing either.
    boot.set(NOW);
    boot.read(1, 120, None);
    boot.stop();
    assert_eq!((fixture.metrics.restamped.get(), counted(&fixture, 1).len()), (0, 2));
    check_state(&fixture, &[counter(1)]);
}

/// Our clock was a day ahead before the cut, so that the time in truth was given out already.
#[test]
fn time_that_was_given_out_is_not_given_out_again() {
    let (fixture, _) = Fixture::new(1 << 20, 8 << 20);
    let points = [counter(1)];
    let ahead = Running::start(&fixture, &points, NOW.plus(86_400_000), 1);
    ahead.read(1, 100, None);
    ahead.stop();
    let boot = Running::start(&fixture, &points, UtcMillis(0), 2);
    boot.read(1, 110, None);
    boot.clock.advance(10_000);
    boot.set(NOW);
    boot.read(1, 120, None);
    boot.clock.advance(10_000);
    boot.set(NOW.plus(2 * 86_400_000));
    boot.read(1, 130, None);
    boot.stop();
    assert_eq!(counted(&fixture, 1).iter().map(|sample| sample.value).collect::<Vec<_>>(), [100, 130]);
    assert_eq!(samples(&fixture).len(), 4);
    check_state(&fixture, &points);
}

#[test]
fn a_restart_dates_nothing_twice_and_nothing_of_another_run() {
    let (fixture, _) = Fixture::new(1 << 20, 8 << 20);
    let points = [counter(1)];
    // This run ends before the time is known.
    let first = Running::start(&fixture, &points, UtcMillis(5 * SECOND), 1);
    first.read(1, 100, None);
    first.stop();
    for boot_id in 2..4 {
        let boot = Running::start(&fixture, &points, UtcMillis(5 * SECOND), boot_id);
        boot.read(1, 100 + 10 * i64::try_from(boot_id).unwrap(), None);
        boot.clock.advance(10_000);
        boot.set(NOW.plus(i64::try_from(boot_id).unwrap() * MINUTE));
        boot.read(1, 101 + 10 * i64::try_from(boot_id).unwrap(), None);
        boot.stop();
        check_state(&fixture, &points);
    }
    let right = Running::start(&fixture, &points, NOW.plus(10 * MINUTE), 4);
    right.read(1, 140, None);
    right.stop();
    assert_eq!(fixture.metrics.restamped.get(), 2);
    let values: Vec<_> = rows(&fixture, 1).into_iter().map(|row| (row.0, row.1)).collect();
    assert_eq!(values, [(110, 120), (120, 121), (170, 130), (180, 131), (600, 140)]);
}

#[test]
fn another_catalogue_meanwhile() {
    let (fixture, _) = Fixture::new(1 << 20, 8 << 20);
    let points = [counter(1), counter(2), counter(3), gauge(4)];
    let boot = Running::start(&fixture, &points, UtcMillis(5 * SECOND), 2);
    for point in 1..=4 {
        boot.read(point, 100, None);
    }
    boot.clock.advance(10_000);
    // Without point 1; point 2 counts tens from now on, and so does the gauge, which is what it was.
    let scaled = |point: Point| Point { scale: Decimal::new(1, 1), ..point };
    let others = [scaled(counter(2)), counter(3), scaled(gauge(4))];
    let mut next = catalogue_of(others.to_vec());
    next.version = 7;
    let (done, told) = oneshot::channel();
    boot.send(Message::Catalogue(Arc::new(next), Vec::new(), done));
    told.blocking_recv().unwrap();
    for point in 2..=4 {
        boot.read(point, 11, None);
    }
    boot.clock.advance(10_000);
    boot.set(NOW);
    for point in 2..=4 {
        boot.read(point, 12, None);
    }
    boot.stop();
    check_state(&fixture, &others);
    let values = |point: u32| rows(&fixture, point).into_iter().map(|row| (row.0, row.1)).collect::<Vec<_>>();
    assert_eq!(values(1), []);
    assert_eq!(values(2), [(-10, 110), (0, 120)], "nothing is made up between two scales");
    assert_eq!(values(3), [(-20, 100), (-10, 11), (0, 12)]);
    assert_eq!(values(4), [(-20, 100), (-10, 110), (0, 120)]);
}

/// Entries that are gone or damaged are missed, the others are not.
#[test]
fn part_of_the_journal_is_gone_or_damaged() {
    for is_gone in [true, false] {
        let (fixture, _) = Fixture::new(4 << 10, 1 << 20);
        let points = [counter(1)];
        let boot = Running::start(&fixture, &points, UtcMillis(0), 2);
        let count = 400;
        for index in 0..count {
            boot.read(1, index, None);
            boot.clock.advance(1_000);
        }
        let segments: Vec<_> = fixture.disk.paths().into_iter().filter(|path| path.extension().is_some_and(|end| end == "seg")).collect();
        assert!(segments.len() > 3, "{segments:?}");
        if is_gone {
            fixture.journal.release(Sequence(101));
        } else {
            fixture.disk.damage(&segments[1], |bytes| bytes.iter_mut().skip(100).for_each(|byte| *byte ^= 0x55));
        }
        boot.set(NOW);
        boot.read(1, 500, None);
        boot.stop();
        let values: Vec<_> = rows(&fixture, 1).into_iter().map(|row| row.1).collect();
        let lost = usize::try_from(count).unwrap() + 1 - values.len();
        assert!((20..100).contains(&lost), "{lost}");
        assert!(values.is_sorted() && values[values.len() - 80..values.len() - 1].iter().copied().eq(count - 79..count), "{values:?}");
        assert_eq!(fixture.metrics.restamped.get(), values.len() as u64 - 1);
        if !is_gone {
            assert_eq!(values[0], 0, "what is before the damage");
        }
    }
}

/// The journal keeps what is to be recorded again, up to a part of its budget; when it is full it keeps none of it and
/// goes on. History takes in what is durable whenever the thread waits.
#[test]
fn a_journal_that_is_nearly_full_keeps_what_it_can() {
    let (fixture, _) = Fixture::new(16 << 10, 256 << 10);
    let points = [counter(1)];
    let (journal, saved_state) = (&fixture.journal, &fixture.saved_state);
    let released = || journal.release(Sequence(saved_state.floor().0 + 1));
    let boot = Running::start(&fixture, &points, UtcMillis(0), 2);
    boot.read(1, 0, None);
    released();
    assert_eq!(saved_state.floor(), Sequence(0));
    let (clock, outlet) = (Arc::clone(&boot.clock), boot.outlet.clone());
    let feeding = std::thread::spawn(move || {
        for index in 1..8_000 {
            clock.advance(1_000);
            outlet.blocking_send(received(clock.now().utc, &[(1, index % 900, None)], None)).unwrap();
        }
        clock.advance(1_000);
        clock.jump_to(NOW);
        let (done, outcome) = oneshot::channel();
        outlet.blocking_send(received(NOW, &[(1, 950, None)], Some(done))).unwrap();
        outcome.blocking_recv().unwrap()
    });
    let start = Instant::now();
    let mut was_full = false;
    while !feeding.is_finished() {
        assert!(start.elapsed() < Duration::from_secs(120), "stands at {:?}, saved {:?}", journal.stats(), saved_state.floor());
        if journal.full().is_some() {
            was_full = true;
            released();
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(feeding.join().unwrap(), Outcome::Durable);
    boot.stop();
    assert!(was_full, "there was room for all of it: nothing was tested");
    let restamped = fixture.metrics.restamped.get();
    assert!((1..8_000).contains(&restamped), "{restamped}");
    assert_eq!(saved_state.floor(), journal.durable());
}
