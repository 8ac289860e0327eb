//! A power cut, a boot in 1970 and a clock that is set: what totals make of it, against a clock that was right all the time.

use parkgate_collector::model::{LinkKey, Number, Origin, PointId, Quality, Reading, Sample, UtcMillis};
use parkgate_collector::normalise::{Input, NormaliseSettings, Normaliser, Undated};

use super::super::{Level, TotalsView as _};
use super::follow::{DAY, Followed, MINUTE, amount, at, counter};
use super::memory::catalogue;

/// What our clock shows of a time, and whether the device has no better time than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ours {
    Right,
    /// From the boot to the setting it goes on from 1970.
    In1970 {
        /// The device stamps its readings, and began in 1970 as well.
        is_device_too: bool,
    },
}

/// Readings each ten minutes for two days; the power is cut from 05:20 to 07:05, the clock is set at 11:00.
fn times() -> (UtcMillis, UtcMillis, UtcMillis, Vec<UtcMillis>) {
    let (start, boot, set) = (at("2026-11-02T00:00:00"), at("2026-11-02T07:05:00"), at("2026-11-02T11:00:00"));
    let before = (0..33).map(|index| start.plus(index * 10 * MINUTE));
    let after = (0..250).map(|index| boot.plus(index * 10 * MINUTE));
    (start, boot, set, before.chain(after).collect())
}

/// Batches of samples in order of the journal; those that are recorded again, with where they belong.
fn recorded(ours: Ours) -> (Vec<Sample>, Vec<Sample>, Vec<Sample>) {
    let (start, boot, set, times) = times();
    let mut normaliser = Normaliser::new(&catalogue(vec![counter(900_000)]), NormaliseSettings::default());
    let (mut before, mut again, mut after) = (Vec::new(), Vec::new(), Vec::new());
    let shift_ms = boot.0 - 5_000;
    let mut is_set = ours == Ours::Right;
    for time in times {
        // The register wraps at 1,000,000 while the time is not known, at most 1,000 an hour.
        let value = (999_400 + time.since(start) / MINUTE).rem_euclid(1_000_000);
        let is_unknown = ours != Ours::Right && (boot..set).contains(&time);
        let received_time = if is_unknown { time.plus(-shift_ms) } else { time };
        let source_time = (is_unknown && ours == Ours::In1970 { is_device_too: true }).then(|| received_time.plus(-1_000));
        if time >= set && !is_set {
            is_set = true;
            normaliser.restamp(&Undated { samples: &before, shift_ms, is_of_catalogue: true }, &mut again);
        }
        let number = Number::Exact(parkgate_collector::model::Decimal::new(value, 0));
        let readings = [Reading { point: PointId(1), number, source_time }];
        let (link, origin) = (LinkKey::of("a"), Origin::Metered);
        let input = Input { link, received_time, is_live: true, is_moved: false, origin, readings: &readings, deliveries: &[] };
        normaliser.step(&input, if time < set { &mut before } else { &mut after });
    }
    (before, again, after)
}

/// Start, amount and number of samples of each period.
fn told(followed: &Followed, level: Level) -> Vec<(UtcMillis, String, u64)> {
    let start = times().0;
    let totals = followed.told().totals(PointId(1), level, start, start.plus(2 * DAY)).unwrap();
    totals.iter().map(|total| (total.period.start, amount(total), total.samples)).collect()
}

fn push_all(followed: &mut Followed, samples: &[Sample]) {
    for &sample in samples {
        followed.push(sample);
        followed.count();
    }
}

#[test]
fn totals_are_those_of_a_clock_that_was_right() {
    let (before, again, after) = recorded(Ours::Right);
    assert!(again.is_empty());
    let mut right = Followed::new(catalogue(vec![counter(900_000)]));
    push_all(&mut right, &before);
    push_all(&mut right, &after);
    let expected = [Level::Hour, Level::Day].map(|level| told(&right, level));
    // 60 an hour, also over the cut and the wrap.
    assert!(expected[0].len() > 40 && expected[0].iter().all(|(_, amount, _)| amount == "60"), "{:?}", expected[0]);
    for is_device_too in [false, true] {
        let (before, again, after) = recorded(Ours::In1970 { is_device_too });
        let bad = before.iter().filter(|sample| sample.status.quality() == Quality::Bad).count();
        assert_eq!((bad, again.len()), (24, 24));
        // Recorded again before anything else; and after hours were closed without them.
        for hours_late in [0, 3, 20] {
            let what = format!("device too: {is_device_too}, {hours_late} h late");
            let mut followed = Followed::new(catalogue(vec![counter(900_000)]));
            push_all(&mut followed, &before);
            let open = told(&followed, Level::Hour);
            assert!(open.iter().all(|(start, _, _)| *start < at("2026-11-02T06:00:00")), "{what}: {open:?}");
            let (soon, later) = after.split_at(hours_late * 6);
            push_all(&mut followed, soon);
            push_all(&mut followed, &again);
            if hours_late == 0 {
                assert_eq!(followed.facts.total_corrections().unwrap(), [], "{what}: no period was closed too early");
            }
            followed.restart();
            push_all(&mut followed, later);
            assert_eq!([Level::Hour, Level::Day].map(|level| told(&followed, level)), expected, "{what}");
            let early = followed.told().totals(PointId(1), Level::Day, UtcMillis(0), UtcMillis(i64::from(i32::MAX) * 100)).unwrap();
            assert!(early.iter().all(|day| amount(day) == "-"), "{what}: {early:?}");
        }
    }
}
