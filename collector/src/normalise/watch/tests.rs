//! Rules over one value after the other, as tables, and as properties over random streams.

use proptest::prelude::*;

use super::super::tests::*;
use super::super::*;
use super::*;
use crate::catalogue::{OnChange, PointRules};
use crate::model::Decimal;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 3_600_000;

fn ruled(rules: PointRules) -> Normaliser {
    normaliser(vec![Point { rules: Some(rules.into()), ..gauge(1) }])
}

fn on_change(deadband: &str, max_silence_ms: u32) -> PointRules {
    PointRules { on_change: Some(OnChange { deadband: deadband.parse().unwrap(), max_silence_ms }), ..PointRules::default() }
}

#[test]
fn a_flat_line_and_a_jump_are_uncertain_each_with_its_reason() {
    use Reason::{FlatLine, Jump, None, Range};
    let flat = PointRules { flat_after_ms: Some(3_600_000), ..PointRules::default() };
    // 6.0 kW in a minute, 0.1 in a second.
    let jump = PointRules { change_max_per_minute: Some(Decimal::new(6, 0)), ..PointRules::default() };
    let both = PointRules { flat_after_ms: Some(3_600_000), ..jump.clone() };
    // (seconds, value, reason). Valid up to 1000.
    for (name, rules, stream) in [
        (
            "flat after an hour",
            &flat,
            vec![(0, "5", None), (3599, "5", None), (3600, "5", FlatLine), (3700, "5.1", None), (3701, "5.1", None)],
        ),
        ("a bad one in between is no change", &flat, vec![(0, "5", None), (60, "2000", Range), (3600, "5", FlatLine)]),
        ("comes back", &flat, vec![(0, "5", None), (1800, "5.1", None), (3600, "5", None), (7200, "5", FlatLine)]),
        ("late ones are not judged", &flat, vec![(0, "5", None), (3600, "5", FlatLine), (1800, "7", None), (3601, "5", FlatLine)]),
        (
            "up and down",
            &jump,
            vec![(0, "5", None), (1, "5.1", None), (2, "5.3", Jump), (3, "5.2", None), (4, "5.0", Jump), (64, "11.0", None)],
        ),
        ("by the time that passed", &jump, vec![(0, "5", None), (60, "11", None), (120, "17.1", Jump), (180, "17.1", None)]),
        ("not by a bad one", &jump, vec![(0, "5", None), (1, "2000", Range), (2, "5.2", None)]),
        ("late ones are not judged", &jump, vec![(0, "5", None), (10, "6", None), (5, "90", None), (20, "7", None)]),
        ("both", &both, vec![(0, "5", None), (3600, "5", FlatLine), (3601, "9", Jump), (3602, "9", None)]),
    ] {
        let mut n = normaliser(vec![Point { rules: Some(rules.clone().into()), valid_max: Some(Decimal::new(1000, 0)), ..gauge(1) }]);
        for (seconds, value, reason) in stream {
            let (out, _) = step(&mut n, T0 + 3 * HOUR, &[reading(1, value, Some(T0 + seconds * 1000))]);
            assert_eq!(out[0].status.reason(), reason, "{name}: {value} at {seconds}");
            let quality = match reason {
                None => Quality::Good,
                Range => Quality::Bad,
                _ => Quality::Uncertain,
            };
            assert_eq!((out[0].status.quality(), out[0].record_time.0), (quality, T0 + seconds * 1000));
        }
    }
    // A counter that stands still.
    let mut n = normaliser(vec![Point { rules: Some(flat.into()), ..counter(1) }]);
    for (minutes, reason) in [(0, None), (59, None), (60, FlatLine)] {
        assert_eq!(step(&mut n, T0 + minutes * MINUTE, &[reading(1, "5", Option::None)]).0[0].status.reason(), reason);
    }
}

#[test]
fn a_value_that_did_not_change_is_left_out_and_counted() {
    let mut n = ruled(on_change("0.5", 60_000));
    // (ms, value, recorded)
    for (at, value, recorded) in [
        (0, "5", true),
        (1_000, "5.5", false),
        (2_000, "5.6", true),
        // By the last recorded one, however slowly it drifts.
        (3_000, "5.1", false),
        (4_000, "5.0", true),
        (63_999, "5.0", false),
        (64_000, "5.0", true),
        (64_001, "4.9", false),
        (124_000, "5.1", true),
    ] {
        let (out, report) = step(&mut n, T0 + at, &[reading(1, value, None)]);
        assert_eq!((out.len() == 1, report.unchanged), (recorded, u32::from(!recorded)), "{value} at {at}");
        assert!(out.iter().all(|sample| sample.record_time.0 == T0 + at), "never moved");
    }
    // A change of quality always, then again by the rule; another origin always.
    let missing = |reason| Reading { number: Number::Missing(reason), ..reading(1, "0", None) };
    for (at, reading, origin, recorded) in [
        (1, missing(Reason::Timeout), Origin::Metered, true),
        (2, missing(Reason::Timeout), Origin::Metered, false),
        (3, missing(Reason::LinkDown), Origin::Metered, true),
        (4, reading(1, "5.1", None), Origin::Metered, true),
        (5, reading(1, "5.1", None), Origin::Metered, false),
        (6, reading(1, "5.1", None), Origin::Simulated, true),
        (7, reading(1, "5.1", None), Origin::HandRead, true),
        (8, reading(1, "5.1", None), Origin::HandRead, true),
    ] {
        let (out, _) = step_as(&mut n, origin, T0 + 124_000 + at, &[reading], &[]);
        assert_eq!(out.len() == 1, recorded, "{at}");
    }
}

/// Our own clock an hour ahead or back: the first value after it is recorded, and the longest silence holds as before.
#[test]
fn a_jump_of_our_own_clock_does_not_silence_a_point() {
    for jump in [HOUR, -HOUR, -30 * MINUTE, -24 * HOUR, 24 * HOUR] {
        let mut n = ruled(on_change("0", 60_000));
        let mut recorded = Vec::new();
        for second in 0..600 {
            let now = T0 + second * 1000 + if second >= 300 { jump } else { 0 };
            let (out, report) = step(&mut n, now, &[reading(1, "5", None)]);
            assert_eq!(out.len() + report.unchanged as usize, 1);
            recorded.extend(out.iter().map(|_| second));
        }
        assert_eq!(recorded, [0, 60, 120, 180, 240, 300, 360, 420, 480, 540], "{jump}");
    }
}

proptest! {
    /// What is left out is within the dead-band of the one recorded before it, of the same quality, and no two recorded
    /// ones are further apart than the longest silence and one reading.
    #[test]
    fn what_is_left_out_can_be_told_from_what_is_recorded(
        steps in prop::collection::vec((1i64..20_000, -30i64..30, 0u8..10), 1..200), deadband in 0i64..20
    ) {
        let rules = PointRules { on_change: Some(OnChange { deadband: Decimal::new(deadband, -1), max_silence_ms: 60_000 }), ..PointRules::default() };
        let mut n = ruled(rules);
        let (mut now, mut last): (i64, Option<Sample>) = (T0, None);
        for (advance, tenths, kind) in steps {
            now += advance;
            let number = if kind == 0 { Number::Missing(Reason::Timeout) } else { Number::Exact(Decimal::new(tenths, -1)) };
            let (out, report) = step(&mut n, now, &[Reading { point: PointId(1), number, source_time: None }]);
            match out.first() {
                Some(sample) => last = Some(*sample),
                None => {
                    prop_assert_eq!(report.unchanged, 1);
                    let last = last.unwrap();
                    prop_assert!(now - last.record_time.0 < 60_000);
                    prop_assert_eq!(last.status.has_number(), kind != 0);
                    prop_assert!(kind == 0 || (last.value - tenths).abs() <= deadband);
                }
            }
        }
    }

    /// A doubt is never raised about a stream that changes all the time and slowly.
    #[test]
    fn a_quiet_stream_is_good(changes in prop::collection::vec((1i64..60_000, any::<bool>()), 1..100)) {
        let mut n = ruled(PointRules { flat_after_ms: Some(60_001), change_max_per_minute: Some(Decimal::new(6_000, 0)), ..PointRules::default() });
        let (mut now, mut value) = (T0, 0i64);
        for (advance, up) in changes {
            now += advance;
            value += if up { 1 } else { -1 };
            let (out, _) = step(&mut n, now, &[Reading { point: PointId(1), number: Number::Exact(Decimal::new(value, -1)), source_time: Some(UtcMillis(now)) }]);
            prop_assert_eq!(out[0].status.quality(), Quality::Good);
        }
    }
}
