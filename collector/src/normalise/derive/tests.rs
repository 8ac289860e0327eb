//! Formulas as tables worked out by hand, and as properties over random streams.

use proptest::prelude::*;

use super::super::tests::*;
use super::super::*;
use super::*;
use crate::model::Decimal;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 3_600_000;

/// Point 9 of device `d2`, made of points 1, 2, ... of `d1`.
fn made(operation: Operation, inputs: &[u32], unit: &str, decimals: u8) -> Point {
    let inputs = inputs.iter().map(|id| format!("d1/{id}")).collect();
    let source = PointSource::Formula(Formula { operation, inputs, max_age_ms: 60_000 });
    Point { device: "d2".into(), source, ..point(9, Kind::Gauge, unit, decimals) }
}

/// What point 9 shows: time, mantissa or `None`, quality, reason.
fn shown(out: &[Sample]) -> Vec<(i64, Option<i64>, Quality, Reason)> {
    let nine = out.iter().filter(|sample| sample.point == PointId(9));
    nine.map(|s| (s.record_time.0 - T0, s.number(), s.status.quality(), s.status.reason())).collect()
}

#[test]
fn operations_are_exact_over_units_and_decimals() {
    use Operation::{Difference, Product, Ratio, Sum};
    for (operation, units, numbers, (unit, decimals), expected) in [
        (Sum, ["kW", "kW"], ["1.25", "-0.125"], ("kW", 3), Ok(1_125)),
        // Half to even: 0.125 is 0.12 and 0.135 is 0.14.
        (Sum, ["kW", "kW"], ["0.120", "0.005"], ("kW", 2), Ok(12)),
        (Sum, ["kW", "kW"], ["0.130", "0.005"], ("kW", 2), Ok(14)),
        (Difference, ["degC", "degC"], ["70.5", "50.25"], ("K", 2), Ok(2_025)),
        (Difference, ["kW", "kW"], ["1", "3.5"], ("kW", 1), Ok(-25)),
        (Product, ["m3/h", "mg/m3"], ["12000", "35"], ("kg/h", 3), Ok(420)),
        (Product, ["V", "A"], ["230.5", "-2"], ("kW", 3), Ok(-461)),
        (Ratio, ["kW", "kW"], ["1", "-3"], ("1", 3), Ok(-333)),
        (Ratio, ["kW", "kVA"], ["90", "100"], ("%", 1), Ok(900)),
        (Ratio, ["kW", "kW"], ["1", "0"], ("1", 3), Err(Reason::NotANumber)),
        (Product, ["1", "kW"], ["900000000000", "900000000000"], ("kW", 3), Err(Reason::Overflow)),
    ] {
        let inputs = [1, 2].map(|id| point(id, Kind::Gauge, units[id as usize - 1], 3));
        let mut n = normaliser(inputs.into_iter().chain([made(operation, &[1, 2], unit, decimals)]).collect());
        let (out, report) = step(&mut n, T0, &[reading(1, numbers[0], None), reading(2, numbers[1], None)]);
        let wanted = match expected {
            Ok(value) => (0, Some(value), Quality::Good, Reason::None),
            Err(reason) => (0, None, Quality::Bad, reason),
        };
        assert_eq!(shown(&out), [wanted], "{operation:?} {units:?} {numbers:?}");
        assert_eq!((out.len(), report.good + report.bad), (3, 3));
    }
}

#[test]
fn a_value_is_made_once_a_round() {
    use Quality::{Bad, Good};
    let mut n = normaliser(vec![gauge(1), gauge(2), made(Operation::Difference, &[1, 2], "kW", 1)]);
    let good = |at: i64, value| vec![(at, Some(value), Good, Reason::None)];
    for (name, at, readings, expected) in [
        ("one input is not enough", 0, vec![reading(1, "5", None)], vec![]),
        ("the other one completes it", 100, vec![reading(2, "2", None)], good(100, 30)),
        ("both in a batch", 1_000, vec![reading(1, "6", None), reading(2, "2", None)], good(1_000, 40)),
        ("an input again", 2_000, vec![reading(1, "7", None)], vec![]),
        // The second one is silent, as when it reports on change: it stands for what it said.
        ("and again: its round ends", 3_000, vec![reading(1, "8", None)], good(2_000, 50)),
        ("complete", 3_500, vec![reading(2, "3", None)], good(3_500, 50)),
        ("late", 4_000, vec![reading(2, "1", Some(T0 + 10))], vec![]),
        ("a new one", 70_000, vec![reading(1, "9", None)], vec![]),
        ("the other one is too old", 71_000, vec![reading(1, "9", None)], vec![(70_000, None, Bad, Reason::MissingInput)]),
        ("until it comes", 72_000, vec![reading(2, "1", None)], good(72_000, 80)),
    ] {
        let (out, _) = step(&mut n, T0 + at, &readings);
        assert_eq!(shown(&out), expected, "{name}");
    }
}

#[test]
fn quality_is_the_worst_of_the_inputs() {
    use Quality::{Bad, Good, Uncertain};
    let limited = |id| Point { valid_max: Some(Decimal::new(100, 0)), ..gauge(id) };
    let missing = |id, reason| Reading { number: Number::Missing(reason), ..reading(id, "0", None) };
    let nine = Point { valid_max: Some(Decimal::new(90, 0)), ..made(Operation::Sum, &[1, 2], "kW", 1) };
    let mut n = normaliser(vec![limited(1), limited(2), nine]);
    let future = |ms| Some(T0 + 24 * HOUR + ms);
    for (index, (one, two, expected)) in [
        (reading(1, "1", None), reading(2, "2", None), (Some(30), Good, Reason::None)),
        (reading(1, "1", None), reading(2, "2", future(0)), (Some(30), Uncertain, Reason::Clock)),
        (reading(1, "101", None), reading(2, "2", future(1)), (Some(1_030), Bad, Reason::Range)),
        (reading(1, "1", None), missing(2, Reason::Timeout), (None, Bad, Reason::Timeout)),
        (reading(1, "101", None), missing(2, Reason::DeviceFlag), (None, Bad, Reason::DeviceFlag)),
        (missing(1, Reason::LinkDown), missing(2, Reason::DeviceFlag), (None, Bad, Reason::LinkDown)),
        // The result has a range of its own.
        (reading(1, "50", None), reading(2, "41", None), (Some(910), Bad, Reason::Range)),
    ]
    .into_iter()
    .enumerate()
    {
        let at = i64::try_from(index).unwrap() * 1000;
        let (out, _) = step(&mut n, T0 + at, &[one, two]);
        assert_eq!(shown(&out), [(at, expected.0, expected.1, expected.2)], "{index}");
    }
}

/// An hour ahead or back, or a day back: values go on with the first round after it.
#[test]
fn a_jump_of_our_own_clock_delays_no_value() {
    for jump in [HOUR, -HOUR, -30 * MINUTE, -24 * HOUR, 24 * HOUR] {
        let mut n = normaliser(vec![gauge(1), gauge(2), made(Operation::Sum, &[1, 2], "kW", 1)]);
        for second in 0..20 {
            let now = T0 + second * 1000 + if second >= 10 { jump } else { 0 };
            let (out, _) = step(&mut n, now, &[reading(1, "5", None), reading(2, "6", None)]);
            let values: Vec<_> = shown(&out).iter().map(|&(_, value, quality, _)| (value, quality)).collect();
            // Waited for, it is doubtful; what our clock stamps into time that was recorded already is void.
            let quality = match jump {
                _ if second < 10 || jump > 0 => Quality::Good,
                -86_400_000 => Quality::Bad,
                _ => Quality::Uncertain,
            };
            assert_eq!(values, [(Some(110), quality)], "{jump} at {second}");
        }
    }
}

#[test]
fn formulas_stand_on_formulas() {
    let on = |id: u32, inputs: [&str; 2]| {
        let inputs = inputs.map(str::to_owned).to_vec();
        let formula = Formula { operation: Operation::Sum, inputs, max_age_ms: 60_000 };
        Point { source: PointSource::Formula(formula), ..point(id, Kind::Gauge, "kW", 1) }
    };
    let mut n = normaliser(vec![gauge(1), gauge(2), on(3, ["d1/1", "d1/2"]), on(4, ["d1/1", "d1/3"]), on(5, ["d1/3", "d1/4"])]);
    let (out, _) = step(&mut n, T0, &[reading(1, "1", None), reading(2, "2", None)]);
    let values: Vec<_> = out.iter().map(|sample| (sample.point.0, sample.value)).collect();
    assert_eq!(values, [(1, 10), (2, 20), (3, 30), (4, 40), (5, 70)]);
    // A catalogue without the formula forgets it, one with it keeps what is known.
    n.set_catalogue(&catalogue(vec![gauge(1), gauge(2), on(3, ["d1/2", "d1/1"])]));
    let (out, _) = step(&mut n, T0 + 1000, &[reading(1, "2", None)]);
    assert_eq!(out.len(), 1);
    let (out, _) = step(&mut n, T0 + 2000, &[reading(1, "3", None)]);
    assert_eq!(out.iter().map(|sample| (sample.point.0, sample.value)).collect::<Vec<_>>(), [(1, 30), (3, 40)]);
}

proptest! {
    /// Whatever comes in whatever order: values are in order of time, each is the operation over numbers that were put out
    /// before it, and a sum of two inputs that both came is exact.
    #[test]
    fn values_follow_from_what_was_recorded(stream in prop::collection::vec((0i64..40_000, 1u32..3, -100_000i64..100_000), 1..120)) {
        let mut n = normaliser(vec![gauge(1), gauge(2), made(Operation::Difference, &[1, 2], "kW", 1)]);
        let (mut now, mut last) = (T0, i64::MIN);
        let mut seen: [Vec<Sample>; 2] = Default::default();
        for (advance, id, value) in stream {
            now += advance;
            let (out, _) = step(&mut n, now, &[reading(id, &value.to_string(), None)]);
            for sample in &out {
                if sample.point != PointId(9) {
                    seen[sample.point.index() - 1].push(*sample);
                    continue;
                }
                prop_assert!(sample.record_time.0 > last);
                last = sample.record_time.0;
                let at = |samples: &Vec<Sample>| samples.iter().rev().find(|known| known.record_time <= sample.record_time).copied();
                let near = |known: &Sample| sample.record_time.since(known.record_time) <= 60_000;
                match (at(&seen[0]).filter(near), at(&seen[1]).filter(near)) {
                    (Some(one), Some(two)) => prop_assert_eq!(sample.number(), Some(one.value - two.value)),
                    _ => prop_assert_eq!((sample.number(), sample.status.reason()), (None, Reason::MissingInput)),
                }
            }
        }
    }
}
