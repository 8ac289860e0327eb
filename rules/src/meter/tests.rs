//! Worked cases of meter arithmetic.

use proptest::prelude::*;

use super::*;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

fn number(text: &str) -> Number {
    text.parse().unwrap()
}

fn points(readings: &[(i64, &str)]) -> Vec<Point> {
    readings.iter().map(|(at, register)| Point { at: at * HOUR, register: number(register) }).collect()
}

fn meter(readings: &[(i64, &str)]) -> Register {
    let stretch = Stretch { multiplier: Number::one(), points: points(readings), ..Default::default() };
    Register { modulus: Some(number("10000")), rate_max: Some(number("50")), every: Some(HOUR), stretches: vec![stretch] }
}

fn over(meter: &Register, from: i64, to: i64) -> Total {
    meter.total(Range { start: from * HOUR, end: to * HOUR }, true)
}

fn shown(total: &Total) -> (Option<String>, Vec<Flag>) {
    (total.amount.as_ref().map(ToString::to_string), total.flags.iter().copied().collect())
}

fn amount(text: &str, flags: &[Flag]) -> (Option<String>, Vec<Flag>) {
    (Some(text.to_owned()), flags.to_vec())
}

#[test]
fn an_undisturbed_total_has_no_flag() {
    let meter = meter(&[(0, "100"), (1, "110"), (2, "110"), (3, "125.5")]);
    let total = over(&meter, 0, 3);
    // 10 + 0 + 15.5; equal registers are a difference of 0.
    assert_eq!(shown(&total), amount("25.5", &[]));
    assert_eq!((total.completeness, total.incomplete), (Number::one(), None));
    let roles: Vec<_> = total.evidence.iter().map(|evidence| (evidence.role, evidence.point.at / HOUR)).collect();
    assert_eq!(roles, [("opening", 0), ("closing", 3)]);
}

#[test]
fn a_plausible_fall_is_a_rollover() {
    // 10000 - 9990 + 30 = 40 <= 50/h x 1 h.
    let wraps = meter(&[(0, "9980"), (1, "9990"), (2, "30"), (3, "50")]);
    assert_eq!(shown(&over(&wraps, 0, 3)), amount("70", &[Flag::Rollover]));
    // Exactly the highest rate is still plausible: 10000 - 9990 + 40 = 50.
    let most = meter(&[(0, "9990"), (1, "40")]);
    assert_eq!(shown(&over(&most, 0, 1)), amount("50", &[Flag::Rollover]));
}

#[test]
fn an_implausible_fall_adds_nothing_and_is_the_new_base() {
    // 9990 -> 41: 51 > 50, suspect; then 41 -> 61 counts.
    let falls = meter(&[(0, "9980"), (1, "9990"), (2, "41"), (3, "61")]);
    let total = over(&falls, 0, 3);
    assert_eq!(shown(&total), amount("30", &[Flag::Suspect]));
    assert_eq!(total.incomplete, Some(Hole::Suspect(Range { start: HOUR, end: 2 * HOUR })));
    assert_eq!(total.completeness, number("2").over(&number("3")).unwrap());
    // The hours beside it are whole.
    assert_eq!(over(&falls, 2, 3).incomplete, None);
    // Only the pair: no difference, not 0.
    assert_eq!(over(&falls, 1, 2).amount, None);
    // Without a modulus or a highest rate every fall is suspect.
    let mut unknown = meter(&[(0, "9990"), (1, "0")]);
    unknown.rate_max = None;
    assert_eq!(over(&unknown, 0, 1).amount, None);
}

#[test]
fn no_difference_across_an_exchange() {
    let old = Stretch { to: Some(10 * HOUR), multiplier: number("40"), points: points(&[(0, "500"), (10, "510")]), from: None };
    let new = Stretch { from: Some(10 * HOUR), multiplier: number("80"), points: points(&[(10, "3"), (24, "10")]), to: None };
    let meter = Register { stretches: vec![old, new], ..Default::default() };
    // 10 x 40 + 7 x 80 = 400 + 560.
    assert_eq!(shown(&over(&meter, 0, 24)), amount("960", &[Flag::MeterExchanged]));
    let roles: Vec<_> = over(&meter, 0, 24).evidence.iter().map(|evidence| (evidence.role, evidence.point.register.to_string())).collect();
    let expected = [("opening", "500"), ("before_exchange", "510"), ("after_exchange", "3"), ("closing", "10")];
    assert_eq!(roles, expected.map(|(role, register)| (role, register.to_owned())));
    // An exchange on the boundary is none of either period's.
    assert_eq!(shown(&over(&meter, 0, 10)), amount("400", &[]));
    assert_eq!(shown(&over(&meter, 10, 24)), amount("560", &[]));
}

#[test]
fn a_boundary_without_reading_splits_the_pair() {
    let meter = meter(&[(-2, "0"), (4, "60"), (5, "70")]);
    // Share 4/6 of 60 after the boundary = 40, then 10.
    let after = over(&meter, 0, 5);
    assert_eq!(shown(&after), amount("50", &[Flag::BoundaryInterpolated]));
    assert_eq!(after.interpolated, number("40"));
    let before = over(&meter, -2, 0);
    assert_eq!(shown(&before), amount("20", &[Flag::BoundaryInterpolated]));
    // A reading exactly on the boundary closes one period and opens the next.
    assert_eq!(shown(&over(&meter, 4, 5)), amount("10", &[]));
}

#[test]
fn the_split_comes_after_the_rollover_test_and_before_the_multiplier() {
    // 9990 -> 30 over 2 h: wrapped 40 <= 100; half of it, times 10.
    let mut wraps = meter(&[(-1, "9990"), (1, "30")]);
    wraps.stretches[0].multiplier = number("10");
    let total = over(&wraps, 0, 1);
    assert_eq!(shown(&total), amount("200", &[Flag::Rollover, Flag::BoundaryInterpolated]));
    assert_eq!(total.interpolated, number("200"));
}

#[test]
fn a_gap_inside_is_exact_and_its_hours_are_equal_shares() {
    // 3 -> 8: an outage of 5 hours, 50 counted.
    let gap = meter(&[(0, "0"), (1, "7"), (2, "9"), (3, "10"), (8, "60"), (9, "61"), (10, "70")]);
    let total = over(&gap, 0, 10);
    assert_eq!(shown(&total), amount("70", &[]));
    assert_eq!((total.estimated.clone(), total.incomplete), (Number::zero(), None));
    // (10 - 5) / 10.
    assert_eq!(total.completeness, number("0.5"));
    let hours = gap.hours(Range { start: 0, end: 10 * HOUR });
    let amounts: Vec<_> = hours.iter().map(|hour| (hour.amount.clone().unwrap().to_string(), hour.estimated)).collect();
    let expected = [("7", false), ("2", false), ("1", false), ("10", true), ("10", true), ("10", true), ("10", true), ("10", true)];
    for (have, (amount, estimated)) in amounts.iter().zip(expected) {
        assert_eq!((have.0.as_str(), have.1), (amount, estimated));
    }
    assert_eq!(hours.len(), 10);
}

#[test]
fn a_lost_tail_is_estimated_from_the_valid_days_of_the_period() {
    // 30 days; 20 valid days with 400, nothing afterwards: 400 / 20 x 10 = 200.
    let mut lost = meter(&[(0, "0"), (20 * 24, "400")]);
    lost.every = None;
    let total = lost.total(Range { start: 0, end: 30 * DAY }, false);
    assert_eq!(shown(&total), amount("600", &[Flag::TailEstimated]));
    assert_eq!((total.estimated.clone(), total.completeness.clone()), (number("200"), number("20").over(&number("30")).unwrap()));
    assert_eq!(total.incomplete, None);
    // Days as fractions: 12 h valid of 36 h, 6 counted -> 6 / 0.5 x 1 = 12 more.
    let half = meter(&[(0, "0"), (12, "6")]);
    assert_eq!(shown(&half.total(Range { start: 0, end: 36 * HOUR }, false)), amount("18", &[Flag::TailEstimated]));
    // A later reading takes the estimate's place: 400 + 10/20 of the 30 that came until day 40.
    let mut later = meter(&[(0, "0"), (20 * 24, "400"), (40 * 24, "430")]);
    later.every = None;
    assert_eq!(shown(&later.total(Range { start: 0, end: 30 * DAY }, false)), amount("415", &[Flag::BoundaryInterpolated]));
    // Nothing in the period at all: nothing to estimate from.
    let total = lost.total(Range { start: 30 * DAY, end: 60 * DAY }, false);
    assert_eq!(total.amount, None);
    assert!(total.incomplete.is_some());
}

#[test]
fn what_no_reading_covers_is_incomplete_not_zero() {
    let late = meter(&[(2, "5"), (4, "9")]);
    let total = over(&late, 0, 4);
    assert_eq!(shown(&total), amount("4", &[]));
    assert_eq!(total.incomplete, Some(Hole::Uncovered(Range { start: 0, end: 2 * HOUR })));
    assert_eq!(over(&meter(&[]), 0, 4).amount, None);
    assert_eq!(over(&meter(&[(0, "5")]), 0, 4).amount, None);
    // A meter that was built in later is whole from its first segment on.
    let mut built = meter(&[(2, "5"), (4, "9")]);
    built.stretches[0].from = Some(2 * HOUR);
    built.every = None;
    let total = over(&built, 0, 4);
    assert_eq!((total.incomplete, total.completeness), (None, Number::one()));
    // An exchange without the old meter's last register leaves a hole.
    let old = Stretch { to: Some(3 * HOUR), multiplier: Number::one(), points: points(&[(0, "0"), (2, "4")]), from: None };
    let new = Stretch { from: Some(3 * HOUR), multiplier: Number::one(), points: points(&[(3, "0"), (5, "4")]), to: None };
    let exchanged = Register { stretches: vec![old, new], ..Default::default() };
    assert_eq!(over(&exchanged, 0, 5).incomplete, Some(Hole::Uncovered(Range { start: 2 * HOUR, end: 3 * HOUR })));
}

proptest! {
    #[test]
    fn hours_add_up_to_days_and_days_to_the_whole(
        steps in proptest::collection::vec((1i64..400, 0i64..900), 2..40),
    ) {
        let (mut at, mut register) = (-HOUR, 0i64);
        let mut readings = Vec::new();
        for (minutes, counted) in steps {
            readings.push(Point { at, register: Number::from(register) });
            at += minutes * 60_000;
            register += counted;
        }
        let end = readings.last().unwrap().at;
        prop_assume!(end > 0);
        let stretch = Stretch { multiplier: number("0.5"), points: readings, ..Default::default() };
        let meter = Register { stretches: vec![stretch], ..Default::default() };
        let range = Range { start: 0, end };
        let whole = meter.total(range, false).amount.unwrap();
        let hours: Number = meter.hours(range).iter().map(|hour| hour.amount.clone().unwrap()).sum();
        prop_assert_eq!(&hours, &whole);
        let middle = end / 2;
        let parts = [Range { start: 0, end: middle }, Range { start: middle, end }];
        let days: Number = parts.iter().filter(|part| part.length() > 0).map(|part| meter.total(*part, false).amount.unwrap()).sum();
        prop_assert_eq!(days, whole);
    }
}
