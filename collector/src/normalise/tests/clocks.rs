//! Our own clock is set wrong, and right again: what totals make of what is recorded meanwhile.

use super::*;

/// One reading a minute.
const EVERY: i64 = MINUTE;

/// What a park's hours of one kind of point are read as.
#[derive(Clone, Copy, Debug)]
enum Meter {
    /// Polled: no time of its own.
    Unstamped,
    /// A clock of its own that is off by so much.
    Stamped(i64),
}

impl Meter {
    fn source(self, truth: i64) -> Option<i64> {
        match self {
            Self::Unstamped => None,
            Self::Stamped(off) => Some(truth + off),
        }
    }
}

/// Energy by neighbours in order of record time, as totals form it: what is bad is no neighbour, of two samples with one
/// key time the later one stays, a fall adds nothing. With the falls.
pub(super) fn total(samples: &[Sample]) -> (i64, usize) {
    let by_key: BTreeMap<UtcMillis, &Sample> = samples.iter().map(|sample| (sample.key_time(), sample)).collect();
    let mut counted: Vec<_> = by_key.into_values().filter(|sample| sample.status.quality() != Quality::Bad).collect();
    counted.sort_by_key(|sample| sample.record_time);
    let pairs = counted.windows(2).map(|pair| pair[1].value - pair[0].value);
    (pairs.clone().filter(|&rise| rise > 0).sum(), pairs.filter(|&rise| rise < 0).count())
}

/// A counter that rises by 1 kWh a minute for `minutes`; `ours` is what our clock shows.
fn recorded(meter: Meter, minutes: i64, ours: &dyn Fn(i64) -> i64, restart: bool) -> Vec<Sample> {
    let points = || vec![Point { modulus: None, rate_max_per_hour: None, ..counter(1) }];
    let mut n = normaliser(points());
    let mut all = Vec::new();
    for minute in 0..minutes {
        let truth = T0 + minute * EVERY;
        let received = ours(minute);
        let (out, _) = step(&mut n, received, &[reading(1, &minute.to_string(), meter.source(truth))]);
        assert_eq!(out.len(), 1, "{meter:?} at {minute}: nothing is lost");
        assert_eq!((out[0].value, out[0].received_time.0), (minute * 10, received), "values and received times stay");
        all.extend(out);
        if restart {
            let state = n.snapshot(7);
            n = normaliser(points());
            n.restore(&state).unwrap();
        }
    }
    all
}

/// Where our clock jumps: minutes, and how far it is off from there on, in milliseconds.
fn off(jumps: &[(i64, i64)], minute: i64) -> i64 {
    let off = jumps.iter().rev().find(|(from, _)| minute >= *from).map_or(0, |(_, off)| *off);
    // Polls do not hit the millisecond of an earlier one.
    if off == 0 { 0 } else { off + 137 }
}

#[test]
fn no_energy_is_made_up_by_a_clock_that_is_set() {
    let day = 24 * HOUR;
    let cases: &[(&str, &[(i64, i64)])] = &[
        ("right", &[]),
        ("time server, a little", &[(100, 3_000), (200, 0), (300, -3_000)]),
        ("time server, more", &[(100, 50_000), (200, -40_000), (250, 0)]),
        ("an hour back", &[(120, -HOUR)]),
        ("an hour back, for half an hour", &[(120, -HOUR), (150, 0)]),
        ("an hour forth, and right again", &[(120, HOUR), (200, 0)]),
        ("an hour forth and back, twice", &[(120, HOUR), (150, 0), (200, HOUR), (260, 0)]),
        ("back and back again", &[(120, -HOUR / 2), (130, -HOUR), (140, -3 * HOUR), (400, 0)]),
        ("local time for world time", &[(60, 8 * HOUR), (300, 0)]),
        ("world time for local time", &[(60, -8 * HOUR), (300, 0)]),
        ("world time for local time, for good", &[(60, -8 * HOUR)]),
        ("wrong from the start, then put right for good", &[(0, day), (600, 0)]),
        ("a day ahead for hours", &[(120, day), (300, 0)]),
        ("a day back for hours", &[(120, -day), (300, 0)]),
        ("a start in 1970", &[(120, -T0), (130, 0)]),
        ("a first start in 1970", &[(0, -T0), (10, 0)]),
    ];
    let meters = [Meter::Unstamped, Meter::Stamped(0), Meter::Stamped(-20_000), Meter::Stamped(20_000)];
    // Three days: every clock is beyond what it ever was.
    let minutes = 3 * 24 * 60;
    for (name, jumps) in cases {
        for meter in meters {
            for restart in [false, true] {
                // A device taken for wrong twice by a clock that is wrong twice is beyond what can be told.
                if name.contains("twice") && !matches!(meter, Meter::Unstamped) {
                    continue;
                }
                // A restart after each reading is slow and says the same for all but one meter of a kind.
                if restart && !matches!(meter, Meter::Unstamped | Meter::Stamped(0)) {
                    continue;
                }
                let ours = |minute: i64| T0 + minute * EVERY + off(jumps, minute);
                let all = recorded(meter, minutes, &ours, restart);
                let counts = |sample: &&Sample| sample.status.quality() != Quality::Bad;
                let (first, last) = (all.iter().find(counts).unwrap(), all.last().unwrap());
                let (energy, falls) = total(&all);
                assert_eq!((energy, falls), (last.value - first.value, 0), "{name}, {meter:?}");
                let voided = all.iter().filter(|sample| !counts(sample));
                assert!(voided.clone().all(|sample| sample.status.reason() == Reason::Clock), "{name}, {meter:?}");
                assert!(counts(&last), "{name}, {meter:?}: it ends well");
                let of_1970 = all.iter().filter(|sample| counts(sample) && sample.record_time.0 < T0 - 2 * day).count();
                assert_eq!(of_1970, 0, "{name}, {meter:?}");
            }
        }
    }
}

/// The device is the witness that our clock is the wrong one: its readings count, at their own time.
#[test]
fn a_device_that_goes_on_is_believed_when_our_clock_falls() {
    let ours = |minute: i64| T0 + minute * EVERY - if (120..300).contains(&minute) { HOUR } else { 0 };
    let all = recorded(Meter::Stamped(0), 400, &ours, true);
    assert!(all.iter().all(|sample| Some(sample.record_time) == sample.source_time));
    let doubtful: Vec<_> = all.iter().filter(|sample| sample.status.reason() == Reason::Clock).map(|sample| sample.value / 10).collect();
    assert_eq!(doubtful, (120..300).collect::<Vec<_>>());
    assert!(all.iter().all(|sample| sample.status.quality() != Quality::Bad));
}

#[test]
fn a_reading_stamped_ahead_of_our_clock_is_doubtful() {
    let mut n = normaliser(vec![gauge(1)]);
    let good = (Quality::Good, Reason::None);
    let doubt = (Quality::Uncertain, Reason::Clock);
    let void = (Quality::Bad, Reason::Clock);
    for (received, record, expected) in [
        (T0, T0, good),
        // Half a second back, as a time server does: no word about it.
        (T0 - 500, T0 + 1, good),
        (T0 - 2_000, T0 + 2, doubt),
        (T0 - HOUR / 2, T0 + 3, doubt),
        (T0 - 2 * HOUR, T0 - 2 * HOUR, void),
        (T0 - HOUR, T0 + 4, doubt),
        (T0 + 10, T0 + 10, good),
        // So far that it is believed: that time will not come so soon.
        (T0 - 40 * 24 * HOUR, T0 - 40 * 24 * HOUR, good),
        (T0 - 40 * 24 * HOUR + 5, T0 - 40 * 24 * HOUR + 5, good),
    ] {
        let (out, _) = step(&mut n, received, &[reading(1, "1", None)]);
        assert_eq!((out[0].record_time.0, findings(&out[0])), (record, expected), "{}", received - T0);
    }
}

#[test]
fn nothing_before_the_commissioning_counts() {
    let day = 24 * HOUR;
    let not_before = UtcMillis(T0 - day);
    let year_2010 = 1_262_304_000_000;
    let void = (Quality::Bad, Reason::Clock);
    let doubt = (Quality::Uncertain, Reason::Clock);
    let good = (Quality::Good, Reason::None);
    for (name, origin, received, source, record, expected) in [
        ("our clock", Origin::Metered, year_2010, None, year_2010, void),
        ("both clocks", Origin::Metered, year_2010, Some(year_2010 + 5), year_2010, void),
        ("both clocks, the device's ahead of ours", Origin::Metered, year_2010, Some(year_2010 + day), year_2010, void),
        ("both clocks, the device's behind", Origin::Metered, year_2010, Some(year_2010 - day), year_2010, void),
        ("our clock, the device's is right", Origin::Metered, year_2010, Some(T0), T0, doubt),
        ("the device's clock", Origin::Metered, T0, Some(year_2010), T0, doubt),
        ("what was read by hand before", Origin::Imported, T0, Some(year_2010), year_2010, good),
        ("none", Origin::Metered, T0, Some(T0), T0, good),
    ] {
        let settings = NormaliseSettings { not_before, ..NormaliseSettings::default() };
        let mut n = Normaliser::new(&catalogue(vec![gauge(1)]), settings);
        let (out, _) = step_as(&mut n, origin, received, &[reading(1, "1", source)], &[]);
        assert_eq!((out[0].record_time.0, findings(&out[0]), out[0].value), (record, expected, 10), "{name}");
    }
    let park = |commissioned| Park { commissioned, ..catalogue(vec![]).park };
    let of_park = |commissioned| NormaliseSettings::default().of_park(&park(commissioned)).not_before;
    let usual = NormaliseSettings::default().not_before;
    assert_eq!((of_park(Some(not_before)), of_park(None)), (not_before, usual));
    assert_eq!(of_park(Some(UtcMillis(0))), usual, "never before the year 2000");
}

/// Read again today, a message of yesterday is no sign of a clock that fell.
#[test]
fn messages_read_again_keep_their_time() {
    let mut n = normaliser(vec![gauge(1)]);
    step(&mut n, T0, &[reading(1, "1", None)]);
    step(&mut n, T0 + 1, &[reading(1, "1", Some(T0 + 1))]);
    let past = UtcMillis(T0 - 24 * HOUR);
    let mut out = Vec::new();
    let readings = [reading(1, "2", Some(past.0))];
    let origin = Origin::Metered;
    n.step(
        &Input {
            link: LinkKey::of("l1"),
            received_time: past,
            is_live: false,
            is_moved: false,
            origin,
            readings: &readings,
            deliveries: &[],
        },
        &mut out,
    );
    assert_eq!((out[0].record_time, findings(&out[0])), (past, (Quality::Good, Reason::None)));
}
