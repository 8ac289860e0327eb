//! The rules as tables with figures worked out by hand, and properties over random streams.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::*;
use crate::catalogue::*;
use crate::model::{Decimal, Medium, Number, PointIdentity, Unit};

mod clocks;
mod device_clocks;

/// 2026-01-01T00:00:00Z.
pub(super) const T0: i64 = 1_767_225_600_000;
const MINUTE: i64 = 60_000;
const HOUR: i64 = 3_600_000;

/// A point of device `d1` without limits; its raw unit is its canonical one.
pub(super) fn point(id: u32, kind: Kind, unit: &str, decimals: u8) -> Point {
    let unit = Unit::parse(unit).unwrap();
    Point {
        id: PointId(id),
        identity: PointIdentity { stable_id: format!("d1/{id}"), kind, unit, decimals },
        device: "d1".into(),
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
        labels: BTreeMap::new(),
        source: PointSource::Mqtt,
    }
}

fn names() -> Names {
    Names { zh: "x".into(), en: "x".into() }
}

/// A park of one link `l1` with the points given, on the devices they name.
pub(super) fn catalogue(points: Vec<Point>) -> Catalogue {
    catalogue_with(points, Nameplate::default())
}

/// The same, each device with this nameplate.
pub(super) fn catalogue_with(points: Vec<Point>, nameplate: Nameplate) -> Catalogue {
    let link = Arc::new(Link {
        id: "l1".into(),
        key: LinkKey::of("l1"),
        driver: DriverSettings::ModbusTcp(ModbusTcpSettings {
            host: "h".into(),
            port: 502,
            timeout_ms: 1,
            connect_timeout_ms: 1,
            line: Default::default(),
        }),
    });
    let mut by_device: BTreeMap<String, Vec<Arc<Point>>> = BTreeMap::new();
    for point in points {
        by_device.entry(point.device.clone()).or_default().push(Arc::new(point));
    }
    let devices = by_device
        .into_iter()
        .map(|(id, points)| {
            Arc::new(Device {
                id,
                name: names(),
                enterprise: None,
                link: Arc::clone(&link),
                profile: None,
                origin: Origin::Metered,
                nameplate,
                address: DeviceAddress::Mqtt(MqttAddress::default()),
                points,
            })
        })
        .collect();
    let park = Park { id: "p".into(), name: names(), time_zone: "Asia/Shanghai".into(), commissioned: None, display_units: HashMap::new() };
    Catalogue::new(1, park, Vec::new(), vec![link], devices)
}

pub(super) fn normaliser(points: Vec<Point>) -> Normaliser {
    Normaliser::new(&catalogue(points), NormaliseSettings::default())
}

pub(super) fn gauge(id: u32) -> Point {
    point(id, Kind::Gauge, "kW", 1)
}

/// Wraps at 10,000.0 kWh, at most 100 kWh/h.
pub(super) fn counter(id: u32) -> Point {
    Point { modulus: Some(Decimal::new(10_000, 0)), rate_max_per_hour: Some(Decimal::new(100, 0)), ..point(id, Kind::Counter, "kWh", 1) }
}

pub(super) fn reading(point: u32, number: &str, source: Option<i64>) -> Reading {
    Reading { point: PointId(point), number: Number::Exact(number.parse().unwrap()), source_time: source.map(UtcMillis) }
}

/// One batch of metered readings on `l1`.
pub(super) fn step(normaliser: &mut Normaliser, received: i64, readings: &[Reading]) -> (Vec<Sample>, StepReport) {
    step_as(normaliser, Origin::Metered, received, readings, &[])
}

pub(super) fn step_as(
    n: &mut Normaliser,
    origin: Origin,
    received: i64,
    readings: &[Reading],
    deliveries: &[DeliveredRange],
) -> (Vec<Sample>, StepReport) {
    let mut out = Vec::new();
    let input =
        Input { link: LinkKey::of("l1"), received_time: UtcMillis(received), is_live: true, is_moved: false, origin, readings, deliveries };
    let report = n.step(&input, &mut out);
    (out, report)
}

fn findings(sample: &Sample) -> (Quality, Reason) {
    (sample.status.quality(), sample.status.reason())
}

#[test]
fn range_nan_and_overflow_are_bad_with_their_reason() {
    use Quality::{Bad, Good};
    let limited = Point { valid_min: Some("-0.55".parse().unwrap()), valid_max: Some("10.25".parse().unwrap()), ..gauge(1) };
    let mut n = normaliser(vec![limited]);
    for (number, value, finding, has_number) in [
        (Number::Exact("10.2".parse().unwrap()), 102, (Good, Reason::None), true),
        (Number::Exact("10.3".parse().unwrap()), 103, (Bad, Reason::Range), true),
        (Number::Exact("-0.5".parse().unwrap()), -5, (Good, Reason::None), true),
        (Number::Exact("-0.6".parse().unwrap()), -6, (Bad, Reason::Range), true),
        (Number::F32(f32::NAN), 0, (Bad, Reason::NotANumber), false),
        (Number::Exact("1e30".parse().unwrap()), 0, (Bad, Reason::Overflow), false),
        (Number::Missing(Reason::LinkDown), 0, (Bad, Reason::LinkDown), false),
    ] {
        let (out, _) = step(&mut n, T0, &[Reading { point: PointId(1), number, source_time: None }]);
        assert_eq!((out[0].value, findings(&out[0]), out[0].status.has_number()), (value, finding, has_number), "{number:?}");
    }
}

#[test]
fn limits_beyond_any_mantissa_limit_nothing() {
    let far = Point { valid_min: Some("-1e100".parse().unwrap()), valid_max: Some("1e100".parse().unwrap()), ..gauge(1) };
    let (out, _) = step(&mut normaliser(vec![far]), T0, &[reading(1, "900000000000000000", None)]);
    assert_eq!(findings(&out[0]), (Quality::Good, Reason::None));
}

#[test]
fn unknown_points_are_counted_and_the_rest_goes_on() {
    let (out, report) = step(&mut normaliser(vec![gauge(3)]), T0, &[reading(1, "1", None), reading(3, "2", None), reading(9, "3", None)]);
    assert_eq!((out.len(), report.unknown_points, report.good), (1, 2, 1));
}

#[test]
fn counters_follow_r_delta() {
    use Step::{Delta, Exchange, First, Rollover, Suspect};
    // (minute, register, step). At most 100 kWh/h, wraps at 10,000.0.
    for (name, registers) in [
        ("grows, stays", vec![(0, "5.0", First), (1, "5.0", Delta), (2, "7.5", Delta)]),
        // 10,000.0 - 9,999.0 + 0.6 = 1.6 kWh in a minute; 100/60 = 1.666 possible.
        ("wraps", vec![(0, "9999.0", First), (1, "0.6", Rollover), (2, "0.7", Delta)]),
        // 1.7 kWh is more than a minute allows; the new register is the base of the next pair.
        ("falls", vec![(0, "9999.0", First), (1, "0.7", Suspect), (2, "0.9", Delta)]),
        // exactly the highest rate: 50 kWh in half an hour.
        ("wraps at the limit", vec![(0, "9990.0", First), (30, "40.0", Rollover)]),
        ("beyond the limit", vec![(0, "9990.0", First), (30, "40.1", Suspect)]),
        ("above its modulus", vec![(0, "20000.0", First), (60, "1.0", Suspect)]),
        ("same time, other value", vec![(0, "5.0", First), (10, "8.0", Delta), (10, "7.0", Delta), (11, "7.5", Delta)]),
        ("first corrected", vec![(0, "5.0", First), (0, "4.0", First), (1, "4.5", Delta)]),
        ("late, fits", vec![(0, "5.0", First), (10, "8.0", Delta), (5, "6.0", Delta), (11, "9.0", Delta)]),
        ("late, does not fit", vec![(0, "5.0", First), (10, "8.0", Delta), (5, "9.0", Step::None), (11, "8.1", Delta)]),
        ("late, before all known", vec![(10, "5.0", First), (5, "6.0", Step::None), (11, "5.5", Delta)]),
        ("late, across a wrap", vec![(0, "9999.0", First), (10, "1.0", Rollover), (5, "0.5", Step::None), (11, "1.2", Delta)]),
    ] {
        let mut n = normaliser(vec![counter(1)]);
        for (minute, register, expected) in registers {
            let at = T0 + minute * MINUTE;
            let (out, _) = step(&mut n, T0 + HOUR, &[reading(1, register, Some(at))]);
            assert_eq!(out[0].status.step(), expected, "{name}: {register} at {minute}");
            let quality = if expected == Suspect { (Quality::Uncertain, Reason::SuspectStep) } else { (Quality::Good, Reason::None) };
            assert_eq!(findings(&out[0]), quality, "{name}");
        }
    }
    // Without modulus or rate nothing tells a wrap from a fall.
    for bare in [Point { modulus: None, ..counter(1) }, Point { rate_max_per_hour: None, ..counter(1) }] {
        let mut n = normaliser(vec![bare]);
        step(&mut n, T0, &[reading(1, "9999.9", None)]);
        assert_eq!(step(&mut n, T0 + HOUR, &[reading(1, "0", None)]).0[0].status.step(), Suspect);
    }
    // R-EXCHANGE: a lower register is no fall, and none of the bad or missing ones in between uses the exchange up.
    let mut n = normaliser(vec![Point { valid_max: Some(Decimal::new(9_999, 0)), ..counter(1) }, gauge(2)]);
    step(&mut n, T0, &[reading(1, "500", None)]);
    assert!(!n.announce_exchange(PointId(2), UtcMillis(T0)) && !n.announce_exchange(PointId(7), UtcMillis(T0)));
    assert!(!n.announce_exchange(PointId(1), UtcMillis(T0)), "a register from then on is recorded");
    assert!(n.announce_exchange(PointId(1), UtcMillis(T0 + 10 * MINUTE)));
    for (minute, register, expected) in
        [(5, "501", Delta), (10, "60000", Step::None), (11, "3", Exchange), (12, "3.5", Delta), (13, "1", Suspect)]
    {
        assert_eq!(step(&mut n, T0 + minute * MINUTE, &[reading(1, register, None)]).0[0].status.step(), expected, "{register}");
    }
}

#[test]
fn record_time_is_the_source_time_unless_it_cannot_be() {
    let received = T0 + HOUR;
    let good = (Quality::Good, Reason::None);
    let doubt = (Quality::Uncertain, Reason::Clock);
    let long_ago = 946_684_800_000 - 1;
    for (origin, source, record, finding) in [
        (Origin::Metered, received - 20, received - 20, good),
        (Origin::Metered, received - 400 * 24 * HOUR, received - 400 * 24 * HOUR, good),
        (Origin::Metered, received + 60_000, received + 60_000, good),
        (Origin::Metered, received + 60_001, received, doubt),
        (Origin::Metered, long_ago + 1, long_ago + 1, good),
        (Origin::Metered, long_ago, received, doubt),
        (Origin::Imported, long_ago, long_ago, good),
        (Origin::HandRead, long_ago, long_ago, good),
        (Origin::Simulated, long_ago, long_ago, good),
        (Origin::Declared, long_ago, long_ago, good),
        (Origin::Estimated, long_ago, long_ago, good),
        (Origin::Simulated, i64::MAX, received, doubt),
        (Origin::Metered, i64::MIN, received, doubt),
    ] {
        let mut n = normaliser(vec![gauge(1)]);
        let (out, report) = step_as(&mut n, origin, received, &[reading(1, "1", Some(source))], &[]);
        let sample = out[0];
        assert_eq!(
            (sample.record_time.0, findings(&sample), sample.source_time),
            (record, finding, Some(UtcMillis(source))),
            "{origin:?} {source}"
        );
        assert_eq!(report.clock_doubts, u32::from(finding == doubt));
    }
}

#[test]
fn a_wrong_clock_is_told_from_back_fill() {
    let value = |index: i64| index.to_string();
    // A device half an hour behind, live every 15 s: four windows teach its offset.
    let mut n = normaliser(vec![gauge(1)]);
    let late = 30 * MINUTE;
    let mut doubts = Vec::new();
    for index in 0..12 {
        let received = T0 + index * 15_000;
        let (out, _) = step(&mut n, received, &[reading(1, &value(index), Some(received - late))]);
        let doubted = out[0].status.reason() == Reason::Clock;
        assert_eq!(out[0].record_time.0, if doubted { received } else { received - late });
        doubts.push(doubted);
    }
    assert_eq!(doubts.iter().position(|&doubted| doubted), Some(5));
    assert!(doubts[5..].iter().all(|&doubted| doubted));
    // Its back-fill keeps its order, in doubt; another device on the link is not concerned.
    let now = T0 + 3 * MINUTE;
    let (out, _) = step(&mut n, now, &[reading(1, "77", Some(now - 10 * HOUR))]);
    assert_eq!((out[0].record_time.0, findings(&out[0])), (now - 10 * HOUR, (Quality::Uncertain, Reason::Clock)));
    // Put right, it is believed at once.
    let (out, _) = step(&mut n, now + 1, &[reading(1, "78", Some(now - 500))]);
    assert_eq!((out[0].record_time.0, findings(&out[0])), (now - 500, (Quality::Good, Reason::None)));

    // Values stamped with the start of their period are on time; a clock that is off by more than that is not.
    for (age_minutes, doubted) in [(0, false), (15, false), (19, false), (40, true)] {
        let mut n = normaliser(vec![gauge(1)]);
        let mut doubts = 0;
        for index in 0..10 {
            let received = T0 + index * 15 * MINUTE + 5000 * (index % 2);
            let source = T0 + index * 15 * MINUTE - age_minutes * MINUTE;
            doubts += step(&mut n, received, &[reading(1, &value(index), Some(source))]).1.clock_doubts;
        }
        assert_eq!(doubts > 0, doubted, "{age_minutes} minutes old every quarter of an hour");
    }

    // Back-fill at any pace, in messages of any size, is believed: (readings a message, ms between messages, ms between readings).
    for (size, pause, interval) in [(1, 0, 1000), (1, 1, 1000), (60, 20, MINUTE), (1, 5, 15 * MINUTE), (500, 1000, 100), (60, HOUR, MINUTE)]
    {
        let mut n = normaliser(vec![gauge(1)]);
        let messages = 600;
        // The last reading of each message is the newest; the last message ends now.
        let end = T0 + messages * pause;
        let start = end - messages * size * interval;
        let live_pace = pause == size * interval;
        for message in 0..messages {
            let received = T0 + (message + 1) * pause;
            let readings: Vec<_> = (0..size)
                .map(|index| {
                    let source =
                        if live_pace { received - (size - 1 - index) * interval } else { start + (message * size + index + 1) * interval };
                    reading(1, &value(index), Some(source))
                })
                .collect();
            let (out, report) = step(&mut n, received, &readings);
            assert_eq!((out.len(), report.clock_doubts), (readings.len(), 0), "{size} {pause} {interval} at {message}");
        }
    }
}

#[test]
fn readings_without_a_time_take_the_next_free_millisecond() {
    let mut n = normaliser(vec![gauge(1), gauge(2)]);
    let day = 24 * HOUR;
    for (received, record) in [
        (T0, T0),
        (T0, T0 + 1),
        (T0, T0 + 2),
        (T0 + 1, T0 + 3),
        (T0 + 10, T0 + 10),
        // Back by half an hour: waited for, a millisecond at a time.
        (T0 - HOUR / 2, T0 + 11),
        (T0 - HOUR / 2 + 5000, T0 + 12),
        // Back by a day: where it says, void.
        (T0 - day, T0 - day),
        (T0 - day, T0 - day),
        (T0, T0 + 13),
        // Back by more than a month: believed.
        (T0 - 32 * day, T0 - 32 * day),
        (T0 - 32 * day, T0 - 32 * day + 1),
        (i64::MAX, i64::MAX),
        (T0, T0),
    ] {
        let (out, _) = step(&mut n, received, &[reading(1, "1", None)]);
        assert_eq!((out[0].record_time.0, out[0].received_time.0, out[0].source_time), (record, received, None));
    }
    assert_eq!(step(&mut n, T0, &[reading(2, "1", None)]).0[0].record_time.0, T0, "each point has its own");
}

#[test]
fn a_point_that_ran_ahead_by_more_than_an_hour_goes_on() {
    let mut n = normaliser(vec![gauge(1)]);
    // As after an hour and a half of too many readings, the clock going on all the time.
    let ahead = T0 + 90 * MINUTE;
    let last = Unstamped { record: UtcMillis(ahead), received: UtcMillis(T0) };
    n.slots[1].as_mut().unwrap().state.last_unstamped = Some(last);
    for (received, record) in [
        (T0, ahead + 1),
        (T0 + 1, ahead + 2),
        // A little back: waited for. Far back: void.
        (T0 - MINUTE, ahead + 3),
        (T0 + 2, ahead + 4),
        (T0 - 2 * HOUR, T0 - 2 * HOUR),
        (T0 - 2 * HOUR, T0 - 2 * HOUR),
        (T0 + 3, ahead + 5),
    ] {
        assert_eq!(step(&mut n, received, &[reading(1, "1", None)]).0[0].record_time.0, record);
    }
}

#[test]
fn a_box_that_starts_in_1970_uses_the_devices_time() {
    let mut n = normaliser(vec![gauge(1)]);
    for (source, record, quality) in
        [(Some(T0), T0, Quality::Uncertain), (Some(-5), 1000, Quality::Bad), (None, 1000, Quality::Bad), (None, 1000, Quality::Bad)]
    {
        let (out, report) = step(&mut n, 1000, &[reading(1, "1", source)]);
        let doubt = (quality, Reason::Clock);
        assert_eq!((out[0].record_time.0, findings(&out[0]), report.clock_doubts), (record, doubt, 1));
    }
}

/// Every reading is recorded, at once, with the device's time if it has one; those without a time stay in order.
#[test]
fn a_jump_of_our_own_clock_loses_nothing() {
    for jump in [HOUR, -HOUR, 24 * HOUR, -24 * HOUR] {
        let mut n = normaliser(vec![gauge(1), counter(2), gauge(3)]);
        let mut last = i64::MIN;
        for second in 0..120 {
            let device = T0 + second * 1000;
            let ours = device + if second >= 60 { jump } else { 0 };
            let value = second.to_string();
            let (out, _) =
                step(&mut n, ours, &[reading(1, &value, Some(device)), reading(2, &value, Some(device)), reading(3, &value, None)]);
            assert_eq!(out.len(), 3, "{jump} at {second}");
            assert!(out.iter().all(|sample| sample.received_time.0 == ours));
            assert!(out[..2].iter().all(|sample| sample.source_time == Some(UtcMillis(device))));
            assert_ne!(out[1].status.step(), Step::Suspect, "a counter that goes on is not suspected");
            // An hour back is waited for, millisecond by millisecond; a day back is void.
            let is_void = findings(&out[2]) == (Quality::Bad, Reason::Clock);
            assert_eq!(is_void, jump == -24 * HOUR && second >= 60, "{jump} at {second}");
            assert!(is_void || out[2].record_time.0 > last, "{jump} at {second}");
            last = out[2].record_time.0;
        }
    }
}

#[test]
fn exact_repeats_are_dropped_and_corrections_pass() {
    let mut n = normaliser(vec![gauge(1), gauge(2)]);
    let at = Some(T0);
    for (name, reading, passes) in [
        ("new", reading(1, "5", at), true),
        ("again", reading(1, "5", at), false),
        ("again, written otherwise", reading(1, "5.00", at), false),
        ("corrected", reading(1, "6", at), true),
        ("corrected back", reading(1, "5", at), true),
        ("corrected back, again", reading(1, "5", at), false),
        ("another point", reading(2, "5", at), true),
        ("another time", reading(1, "5", Some(T0 + 1)), true),
        ("no time", reading(1, "5", None), true),
        ("no time again", reading(1, "5", None), true),
        ("missing", Reading { number: Number::Missing(Reason::DeviceFlag), ..reading(1, "0", at) }, true),
        ("missing again", Reading { number: Number::Missing(Reason::DeviceFlag), ..reading(1, "0", at) }, false),
        ("missing for another reason", Reading { number: Number::Missing(Reason::NotAvailable), ..reading(1, "0", at) }, true),
        ("zero is not missing", reading(1, "0", at), true),
    ] {
        let (out, report) = step(&mut n, T0 + 1000, &[reading]);
        assert_eq!((out.len() == 1, report.repeats == 0), (passes, passes), "{name}");
    }
    for index in 0..8 {
        step(&mut n, T0 + 1000, &[reading(1, "9", Some(T0 + 100 + index))]);
    }
    assert_eq!(step(&mut n, T0 + 1000, &[reading(1, "5", at)]).0.len(), 1, "eight newer ones later history decides");
}

fn message(packet_id: u16, hash: u32, redelivered: bool, first: u32, count: u32) -> DeliveredRange {
    DeliveredRange { delivery: Delivery { packet_id, hash }, redelivered, first, count }
}

#[test]
fn redelivered_messages_are_known_by_packet_id_and_hash() {
    let mut n = normaliser(vec![gauge(1)]);
    let readings: Vec<_> = (1..=4).map(|value| reading(1, &value.to_string(), None)).collect();
    let mut values = |deliveries: &[DeliveredRange]| {
        let (out, report) = step_as(&mut n, Origin::Metered, T0, &readings, deliveries);
        (out.iter().map(|sample| sample.value / 10).collect::<Vec<_>>(), report.deliveries.len(), report.repeats)
    };
    assert_eq!(values(&[message(1, 11, false, 0, 2), message(2, 22, false, 2, 1)]), (vec![1, 2, 3, 4], 2, 0));
    // Not marked DUP: a new message that happens to say the same.
    assert_eq!(values(&[message(1, 11, false, 0, 2)]), (vec![1, 2, 3, 4], 1, 0));
    assert_eq!(values(&[message(2, 22, true, 3, 1), message(1, 11, true, 0, 2)]), (vec![3], 0, 3));
    // DUP, but never seen: the first delivery was lost on the way. Then seen.
    assert_eq!(values(&[message(1, 22, true, 0, 4)]), (vec![1, 2, 3, 4], 1, 0));
    assert_eq!(values(&[message(1, 22, true, 0, 4)]), (vec![], 0, 4));
    // Id 1 now stands for another message: what it stood for before was acknowledged.
    assert_eq!(values(&[message(1, 11, true, 0, 2)]), (vec![1, 2, 3, 4], 1, 0));
    // Ranges beyond the batch harm nothing.
    assert_eq!(values(&[message(1, 11, true, 3, u32::MAX), message(1, 11, true, u32::MAX, 1)]), (vec![1, 2, 3], 0, 1));
}

#[test]
fn a_new_session_and_a_full_ring_forget_deliveries() {
    let mut n = normaliser(vec![gauge(1)]);
    let arrive = |n: &mut Normaliser, id: u16, redelivered: bool| {
        step_as(n, Origin::Metered, T0, &[reading(1, "1", None)], &[message(id, 5, redelivered, 0, 1)]).1.repeats
    };
    let limit = u16::try_from(crate::model::DELIVERIES_REMEMBERED).unwrap();
    for id in 1..=limit {
        arrive(&mut n, id, false);
    }
    assert_eq!((arrive(&mut n, 1, true), arrive(&mut n, limit, true)), (1, 1));
    arrive(&mut n, limit + 1, false);
    assert_eq!((arrive(&mut n, 2, true), arrive(&mut n, 1, true)), (1, 0), "the oldest is forgotten");
    n.forget_deliveries(LinkKey::of("l1"));
    assert_eq!(arrive(&mut n, limit, true), 0, "another session");
}

/// Half as many as this in flight did come again after two kills in a row; a ring they just do not fit into would forget
/// each one right before it comes.
#[test]
fn a_backlog_in_flight_that_comes_again_is_known_as_a_whole() {
    let mut n = normaliser(vec![gauge(1)]);
    let arrive = |n: &mut Normaliser, id: u16, redelivered: bool| {
        step_as(n, Origin::Metered, T0, &[reading(1, "1", None)], &[message(id, 5, redelivered, 0, 1)]).1.repeats
    };
    let ids = 60_000..68_400u32;
    let packet_id = |id: u32| u16::try_from(id % 65_535 + 1).unwrap();
    ids.clone().for_each(|id| _ = arrive(&mut n, packet_id(id), false));
    for _ in 0..3 {
        let repeats: u32 = ids.clone().map(|id| arrive(&mut n, packet_id(id), true)).sum();
        assert_eq!(repeats, 8_400);
    }
    // Ids used again and again cost no more memory than they are.
    (0..100_000u32).for_each(|id| _ = arrive(&mut n, packet_id(id % 100), false));
    let again = normaliser(vec![gauge(1)]);
    let mut restored = again;
    restored.restore(&n.snapshot(1)).unwrap();
    assert_eq!(restored.snapshot(1), n.snapshot(1));
    assert_eq!((arrive(&mut restored, packet_id(99), true), arrive(&mut restored, packet_id(60_000), true)), (1, 1));
}

#[test]
fn a_new_catalogue_keeps_the_memory_of_points_that_stay() {
    let mut n = normaliser(vec![counter(1), counter(2)]);
    step(&mut n, T0, &[reading(1, "5", Some(T0)), reading(2, "5", Some(T0))]);
    n.set_catalogue(&catalogue(vec![counter(1), Point { device: "d0".into(), ..counter(4) }]));
    let (out, report) =
        step(&mut n, T0 + HOUR, &[reading(1, "5", Some(T0)), reading(1, "6", Some(T0 + 1)), reading(2, "6", None), reading(4, "1", None)]);
    assert_eq!(out.iter().map(|sample| sample.status.step()).collect::<Vec<_>>(), [Step::Delta, Step::First]);
    assert_eq!((report.repeats, report.unknown_points), (1, 1));
}

#[test]
fn damaged_state_is_refused_and_leaves_a_clean_start() {
    let mut n = normaliser(vec![counter(1)]);
    step_as(&mut n, Origin::Metered, T0, &[reading(1, "5", Some(T0)), reading(1, "6", None)], &[message(1, 2, false, 1, 1)]);
    let bytes = n.snapshot(42);
    let clean = normaliser(vec![counter(1)]).snapshot(0);
    assert_eq!(n.restore(&bytes), Ok(42));
    assert_eq!(n.snapshot(42), bytes);
    for length in 0..bytes.len() {
        assert!(matches!(n.restore(&bytes[..length]), Err(RestoreError::Damaged(_))));
        assert_eq!(n.snapshot(0), clean);
    }
    for position in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[position] ^= 0x10;
        assert!(n.restore(&damaged).is_err(), "byte {position}");
        // Also behind a checksum that is right.
        let crc = crc32fast::hash(&damaged[16..]);
        damaged[12..16].copy_from_slice(&crc.to_le_bytes());
        if n.restore(&damaged).is_err() {
            assert_eq!(n.snapshot(0), clean, "byte {position}");
        }
    }
    let mut newer = bytes;
    newer[4] = 4;
    assert_eq!(n.restore(&newer), Err(RestoreError::Version { found: 4 }));
}

#[test]
fn a_state_of_the_version_before_rules_is_taken_in() {
    let mut n = normaliser(vec![counter(1)]);
    step(&mut n, T0, &[reading(1, "5", Some(T0))]);
    let bytes = n.snapshot(42);
    // Without the two counts at its end.
    let mut before = bytes[..bytes.len() - 8].to_vec();
    before[4] = 1;
    let body = before[16..].to_vec();
    before[8..12].copy_from_slice(&u32::try_from(body.len()).unwrap().to_le_bytes());
    before[12..16].copy_from_slice(&crc32fast::hash(&body).to_le_bytes());
    assert_eq!(n.restore(&before), Ok(42));
    assert_eq!(n.snapshot(42), bytes);
}

#[test]
fn a_counter_that_is_read_or_scaled_otherwise() {
    use Step::{Delta, Exchange};
    let one = || counter(1);
    let source = |point: Point| register_source(&catalogue(vec![point.clone()]), &point);
    assert_eq!(source(one()), "mqtt scale 1 offset 0 raw_unit kWh");
    for (other, expected) in [
        (one(), Delta),
        (Point { scale: Decimal::new(10, -1), ..one() }, Delta),
        (Point { scale: Decimal::new(1, 1), ..one() }, Exchange),
        (Point { offset: Decimal::new(9_000, 0), ..one() }, Exchange),
        (Point { raw_unit: Unit::parse("MWh").unwrap(), ..one() }, Exchange),
    ] {
        let what = source(other.clone());
        let mut n = normaliser(vec![one()]);
        step(&mut n, T0, &[reading(1, "1000", None)]);
        n.set_catalogue(&catalogue(vec![other.clone()]));
        assert_eq!(step(&mut n, T0 + MINUTE, &[reading(1, "1001", None)]).0[0].status.step(), expected, "{what}");
        assert_eq!(step(&mut n, T0 + 2 * MINUTE, &[reading(1, "1002", None)]).0[0].status.step(), Delta, "{what}");
        // At a start, where whoever keeps the text says so; once, though the state was saved before the next register.
        let mut n = normaliser(vec![one()]);
        step(&mut n, T0, &[reading(1, "1000", None)]);
        let mut again = normaliser(vec![other]);
        again.restore(&n.snapshot(1)).unwrap();
        if expected != Delta {
            again.announce_next(PointId(1));
        }
        let saved = again.snapshot(1);
        again.restore(&saved).unwrap();
        assert_eq!(step(&mut again, T0 + MINUTE, &[reading(1, "1001", None)]).0[0].status.step(), expected, "{what}");
        assert_eq!(step(&mut again, T0 + 2 * MINUTE, &[reading(1, "1002", None)]).0[0].status.step(), Delta, "{what}");
    }
}

/// Another value of the payload is another register, whatever its scale; another topic is not.
#[test]
fn a_counter_that_is_at_another_place_of_the_payload() {
    use crate::protocol::json::{PathStep, RecordMap, ValuePath};
    use crate::protocol::text::TextMap;
    let path = |key: &str| ValuePath { steps: vec![PathStep::Key(key.into()), PathStep::Index(0)] };
    let json = |records: Option<&str>| Payload::Json(RecordMap { records: records.map(path), time: None });
    let text = |separator| Payload::Text(TextMap { separator, decimal_comma: false, time: None });
    let park = |filter: &str, payload: Payload, key: &str| {
        let values = vec![(path(key), PointId(1))];
        let topic = TopicMap { filter: filter.into(), subscription: filter.into(), qos: 1, payload, values };
        let mut catalogue = catalogue(vec![counter(1)]);
        let address = DeviceAddress::Mqtt(MqttAddress { topics: vec![topic], raw_forward: false });
        let device = Device { address, ..(*catalogue.devices[0]).clone() };
        let Catalogue { version, park, links, .. } = catalogue;
        catalogue = Catalogue::new(version, park, Vec::new(), links, vec![Arc::new(device)]);
        catalogue
    };
    let first = || park("a", json(None), "v");
    for (other, source, expected) in [
        (park("b", json(None), "v"), "mqtt json .v[0]", Step::Delta),
        (park("a", json(None), "total"), "mqtt json .total[0]", Step::Exchange),
        (park("a", json(Some("list")), "v"), "mqtt json .list[0] each .v[0]", Step::Exchange),
        (park("a", text(Some(b',')), "v"), "mqtt csv .v[0]", Step::Exchange),
        (park("a", text(None), "v"), "mqtt number", Step::Exchange),
    ] {
        let found = register_source(&other, &other.points[0]);
        assert_eq!(found, format!("{source} scale 1 offset 0 raw_unit kWh"));
        let mut n = Normaliser::new(&first(), NormaliseSettings::default());
        step(&mut n, T0, &[reading(1, "120", None)]);
        n.set_catalogue(&other);
        assert_eq!(step(&mut n, T0 + MINUTE, &[reading(1, "520", None)]).0[0].status.step(), expected, "{source}");
        // As it was kept before places were named.
        assert!(is_same_source("mqtt scale 1 offset 0 raw_unit kWh", &found));
        assert!(!is_same_source("mqtt scale 10 offset 0 raw_unit kWh", &found));
        assert_eq!(is_same_source(&register_source(&first(), &first().points[0]), &found), expected == Step::Delta);
    }
}

/// Taken out of the configuration and put back, scaled otherwise: nothing is remembered, and the record has registers.
#[test]
fn a_counter_that_comes_back_scaled_otherwise_begins_anew() {
    let other = || Point { scale: Decimal::new(1, 1), ..counter(1) };
    for restart in [false, true] {
        let mut n = normaliser(vec![counter(1)]);
        step(&mut n, T0, &[reading(1, "1000", None)]);
        n.set_catalogue(&catalogue(vec![gauge(2)]));
        n.set_catalogue(&catalogue(vec![other()]));
        n.announce_next(PointId(1));
        if restart {
            let saved = n.snapshot(1);
            n.restore(&saved).unwrap();
        }
        let mut next = |minute: i64, number: &str| step(&mut n, T0 + minute * MINUTE, &[reading(1, number, None)]).0[0].status.step();
        assert_eq!((next(1, "100.1"), next(2, "100.2")), (Step::Exchange, Step::Delta));
    }
}

/// A broker sends its retained message again when a reload or a restart subscribes: a register that is known, read otherwise.
#[test]
fn the_last_register_that_comes_again_scaled_otherwise_begins_anew() {
    use Step::{Delta, Exchange};
    let other = || Point { scale: Decimal::new(1, 1), ..counter(1) };
    for restart in [false, true] {
        let mut n = normaliser(vec![counter(1)]);
        for minute in 0..3 {
            step(&mut n, T0 + minute * MINUTE, &[reading(1, &(100 + minute).to_string(), Some(T0 + minute * MINUTE))]);
        }
        if restart {
            let saved = n.snapshot(1);
            n = normaliser(vec![other()]);
            n.restore(&saved).unwrap();
            n.announce_next(PointId(1));
        } else {
            n.set_catalogue(&catalogue(vec![other()]));
        }
        let mut steps = |number: &str, minute: i64| {
            let out = step(&mut n, T0 + 3 * MINUTE, &[reading(1, number, Some(T0 + minute * MINUTE))]).0;
            out.iter().map(|sample| sample.status.step()).collect::<Vec<_>>()
        };
        assert_eq!(steps("102", 2), [Exchange], "{restart}");
        assert_eq!(steps("102", 2), [], "{restart}");
        assert_eq!(steps("103", 3), [Delta], "{restart}");
    }
}

/// One event of a random stream: a batch, or an exchange announced.
#[derive(Clone, Debug)]
enum Event {
    Batch { advance: i64, origin: Origin, readings: Vec<(u32, i64, Option<i64>)>, message: Option<(u16, bool)> },
    Exchange { point: u32, ahead: i64 },
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let source =
        prop_oneof![Just(None), (0i64..5).prop_map(|age| Some(age * 1000)), (-90_000i64..2 * HOUR).prop_map(Some), Just(Some(-T0))];
    let readings = prop::collection::vec((0u32..6, 0i64..12_000, source), 0..6);
    let advance = prop_oneof![8 => 0i64..30_000, 1 => -2 * HOUR..0, 1 => 0..12 * HOUR];
    let origin = prop::sample::select(vec![Origin::Metered, Origin::Simulated, Origin::Imported]);
    let batch = (advance, origin, readings, prop::option::of((0u16..4, any::<bool>())))
        .prop_map(|(advance, origin, readings, message)| Event::Batch { advance, origin, readings, message });
    let exchange = (0u32..6, 0..HOUR).prop_map(|(point, ahead)| Event::Exchange { point, ahead });
    prop::collection::vec(prop_oneof![12 => batch, 1 => exchange], 1..60)
}

fn stream_points() -> Vec<Point> {
    let mut points = vec![gauge(1), counter(2), counter(3), Point { valid_max: Some(Decimal::new(1000, 0)), ..counter(4) }];
    points[1].device = "d2".into();
    // One with each rule, and a formula over points of two links' worth of times.
    points.push(Point {
        rules: Some(Box::new(PointRules {
            on_change: Some(OnChange { deadband: Decimal::new(500, 0), max_silence_ms: 20_000 }),
            ..PointRules::default()
        })),
        ..gauge(5)
    });
    let rules = PointRules { flat_after_ms: Some(20_000), change_max_per_minute: Some(Decimal::new(5_000, 0)), ..PointRules::default() };
    points[0].rules = Some(rules.into());
    let formula = Formula { operation: Operation::Difference, inputs: vec!["d1/5".into(), "d1/1".into()], max_age_ms: 15_000 };
    let made = Point { source: PointSource::Formula(formula), ..gauge(6) };
    let twice = Formula { operation: Operation::Sum, inputs: vec!["d1/6".into(), "d1/1".into()], max_age_ms: 15_000 };
    points.extend([made, Point { source: PointSource::Formula(twice), ..gauge(7) }]);
    points
}

/// Plays an event; what the journal would hold of it.
fn play(n: &mut Normaliser, now: &mut i64, event: &Event) -> (Vec<Delivery>, Vec<Sample>) {
    match event {
        Event::Exchange { point, ahead } => {
            n.announce_exchange(PointId(*point), UtcMillis(*now + ahead));
            (Vec::new(), Vec::new())
        }
        Event::Batch { advance, origin, readings, message: mark } => {
            *now += advance;
            let readings: Vec<_> =
                readings.iter().map(|&(point, value, age)| reading(point, &value.to_string(), age.map(|age| *now - age))).collect();
            let length = u32::try_from(readings.len()).unwrap();
            let deliveries: Vec<_> = mark.iter().map(|&(id, redelivered)| message(id, 1, redelivered, 0, length)).collect();
            let (out, report) = step_as(n, *origin, *now, &readings, &deliveries);
            (report.deliveries, out)
        }
    }
}

proptest! {
    /// Stopped anywhere, restored from a snapshot taken before, and brought up to date from the journal: the same memory
    /// as a program that was never stopped, hence the same samples for ever after.
    #[test]
    fn a_restart_changes_nothing(events in events(), cut in any::<prop::sample::Index>(), stop in any::<prop::sample::Index>()) {
        let stop = stop.index(events.len() + 1);
        let cut = cut.index(stop + 1);
        let mut straight = normaliser(stream_points());
        let mut now = T0;
        let mut snapshot = straight.snapshot(0);
        let mut tail = Vec::new();
        for (index, event) in events[..stop].iter().enumerate() {
            if index == cut {
                snapshot = straight.snapshot(index as u64);
                tail.clear();
            }
            let at = now;
            tail.push((at, event, play(&mut straight, &mut now, event)));
        }
        let mut restarted = normaliser(stream_points());
        restarted.restore(&snapshot).unwrap();
        for (at, event, (deliveries, samples)) in tail {
            match event {
                Event::Exchange { point, ahead } => { restarted.announce_exchange(PointId(*point), UtcMillis(at + ahead)); }
                Event::Batch { .. } => restarted.observe(LinkKey::of("l1"), &deliveries, &samples),
            }
        }
        prop_assert_eq!(restarted.snapshot(9), straight.snapshot(9));
        let mut now_too = now;
        for event in &events[stop..] {
            prop_assert_eq!(play(&mut straight, &mut now, event), play(&mut restarted, &mut now_too, event));
        }
    }

    /// Every reading is answered for, and readings without a time never share a record time while our clock goes on.
    #[test]
    fn every_reading_is_answered_for(events in events()) {
        let mut n = normaliser(stream_points());
        let mut now = T0;
        let mut used = std::collections::HashSet::new();
        for event in &events {
            let Event::Batch { advance, origin, readings, .. } = event else { continue };
            now += advance.abs();
            let readings: Vec<_> = readings.iter().map(|&(point, value, age)| reading(point, &value.to_string(), age.map(|age| now - age))).collect();
            let (out, report) = step_as(&mut n, *origin, now, &readings, &[]);
            let of_formulas = |sample: &&Sample| sample.point.0 >= 6;
            let read = out.len() - out.iter().filter(of_formulas).count();
            prop_assert_eq!(readings.len(), read + (report.repeats + report.unknown_points + report.unchanged) as usize);
            prop_assert_eq!(out.len() as u32, report.good + report.uncertain + report.bad);
            for sample in out.iter().filter(|sample| sample.source_time.is_none() && !of_formulas(sample)) {
                prop_assert!(used.insert((sample.point, sample.record_time)));
            }
        }
    }

    /// Points do not disturb each other: a stream of gauges gives each point the same samples in any interleaving.
    #[test]
    fn points_are_independent(values in prop::collection::vec((0u32..3, 0i64..100, 0i64..50), 1..60)) {
        let points = || (0..3).map(gauge).collect::<Vec<_>>();
        let (mut together, mut apart) = (normaliser(points()), normaliser(points()));
        let all: Vec<_> = values.iter().map(|&(point, value, at)| reading(point, &value.to_string(), Some(T0 + at))).collect();
        let (mut mixed, _) = step(&mut together, T0 + 50, &all);
        mixed.sort_by_key(|sample| sample.point);
        let mut sorted = all;
        sorted.sort_by_key(|reading| reading.point);
        prop_assert_eq!(mixed, step(&mut apart, T0 + 50, &sorted).0);
    }
}
