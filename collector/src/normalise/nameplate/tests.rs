//! Meters in time: what their energy and power say of each other.

use proptest::prelude::*;

use super::super::tests::{catalogue, catalogue_with, point};
use super::*;
use crate::catalogue::OnChange;
use crate::model::{Origin, PointId, Reason, Status};

const POWER: u32 = 0;
const ENERGY: u32 = 1;
const START: i64 = 1_764_000_000_000;

/// A meter with one of its ratios wrong.
#[derive(Clone, Copy, Debug)]
struct Meter {
    /// What its energy register says, by what power says.
    factor: f64,
    /// Step of the register, in kWh.
    step: f64,
    /// Seconds from poll to poll.
    poll_s: i64,
    /// Mean load and the swing around it, in kW.
    load: (f64, f64),
}

const USUAL: Meter = Meter { factor: 1.0, step: 0.01, poll_s: 1, load: (100.0, 60.0) };

fn checks(change: impl FnOnce(&mut Nameplate), quantities: &[(&str, &str, Kind)]) -> Nameplates {
    let points = (0..).zip(quantities).map(|(id, (quantity, unit, kind))| {
        let mut made = point(id, *kind, unit, 3);
        made.quantity = (*quantity).to_owned();
        made
    });
    let mut nameplate = Nameplate::default();
    change(&mut nameplate);
    Nameplates::new(&catalogue_with(points.collect(), nameplate))
}

const BOTH: [(&str, &str, Kind); 2] = [("active_power", "kW", Kind::Gauge), ("energy_import", "kWh", Kind::Counter)];

fn sample(point: u32, time: i64, value: f64, step: Step) -> Sample {
    Sample {
        point: PointId(point),
        status: Status::new(Quality::Good, Reason::None, Origin::Metered, step),
        value: (value * 1_000.0).round() as i64,
        source_time: None,
        received_time: UtcMillis(time),
        record_time: UtcMillis(time),
    }
}

/// Runs a meter for some minutes; every ratio told, and the last doubt.
fn run(checks: &mut Nameplates, meter: Meter, minutes: i64) -> (Vec<f64>, String) {
    let (mut ratios, mut doubt) = (Vec::new(), String::new());
    let mut energy = 1_000.0;
    let mut last = None;
    for second in 0..minutes * 60 {
        // A load that swings with a period that no window is a multiple of.
        let power = meter.load.0 + meter.load.1 * (second as f64 / 137.0).sin();
        if second % meter.poll_s == 0 {
            let time = START + second * 1_000;
            let register = (energy / meter.step).floor() * meter.step;
            let step = if last.is_none() { Step::First } else { Step::Delta };
            last = Some(register);
            for sample in [sample(POWER, time, power, Step::None), sample(ENERGY, time, register, step)] {
                if let Some(told) = checks.observe(&sample) {
                    ratios.extend(told.ratio);
                    doubt = told.doubt;
                }
            }
        }
        energy += power.max(0.0) * meter.factor / 3_600.0;
    }
    (ratios, doubt)
}

#[test]
fn wrong_ratios_are_named() {
    let missing_in_power = |times: &str| {
        format!("energy_import rises {times} times what power says: is the CT ratio (multiplier) {times}, and missing in power?")
    };
    let missing_in_energy = |times: &str| {
        format!("energy_import rises 1/{times} of what power says: is the CT ratio (multiplier) {times}, and missing in the energy?")
    };
    for (about, meter, minutes, expected) in [
        ("right", USUAL, 60, String::new()),
        ("right, coarse register", Meter { step: 1.0, ..USUAL }, 240, String::new()),
        ("right, polled once a minute", Meter { poll_s: 60, ..USUAL }, 240, String::new()),
        ("right, small load", Meter { load: (0.5, 0.2), step: 0.001, ..USUAL }, 60, String::new()),
        ("a little off", Meter { factor: 1.15, ..USUAL }, 60, String::new()),
        ("too short", Meter { factor: 40.0, ..USUAL }, 14, String::new()),
        ("power lacks 40", Meter { factor: 40.0, ..USUAL }, 30, missing_in_power("40")),
        ("power lacks 1.5", Meter { factor: 1.5, ..USUAL }, 30, missing_in_power("1.5")),
        ("energy lacks 40", Meter { factor: 1.0 / 40.0, ..USUAL }, 60, missing_in_energy("40")),
        ("energy lacks 100, coarse register", Meter { factor: 0.01, step: 0.1, ..USUAL }, 300, missing_in_energy("100")),
        ("energy lacks 5, polled each minute", Meter { factor: 0.2, poll_s: 60, ..USUAL }, 120, missing_in_energy("5")),
    ] {
        let (ratios, doubt) = run(&mut checks(|_| {}, &BOTH), meter, minutes);
        assert_eq!(doubt, expected, "{about}: {ratios:?}");
        assert!(!ratios.is_empty(), "{about}");
    }
}

#[test]
fn a_doubt_ends_when_they_agree_again() {
    let mut checks = checks(|_| {}, &BOTH);
    let (_, doubt) = run(&mut checks, Meter { factor: 30.0, ..USUAL }, 30);
    assert!(doubt.contains("30 times"), "{doubt}");
    let mut later = |factor: f64| {
        let mut energy = 5_000.0;
        let mut doubt = None;
        for second in 0..1_200 {
            let time = START + 3_600_000 + second * 1_000;
            for sample in [sample(POWER, time, 50.0, Step::None), sample(ENERGY, time, energy, Step::Delta)] {
                doubt = checks.observe(&sample).map(|told| told.doubt).or(doubt);
            }
            energy += 50.0 * factor / 3_600.0;
        }
        doubt
    };
    assert_eq!(later(1.0).as_deref(), Some(""));
}

#[test]
fn settings_change_what_is_doubted() {
    let off = Meter { factor: 1.0 / 40.0, ..USUAL };
    let multiplier = |nameplate: &mut Nameplate| nameplate.energy_multiplier = Decimal::new(40, 0);
    assert_eq!(run(&mut checks(multiplier, &BOTH), off, 60).1, "");
    let (ratios, _) = run(&mut checks(|nameplate| nameplate.check = false, &BOTH), off, 60);
    assert!(ratios.is_empty());
    let strict = |nameplate: &mut Nameplate| nameplate.tolerance_percent = 5;
    assert!(run(&mut checks(strict, &BOTH), Meter { factor: 1.2, ..USUAL }, 60).1.contains("1.2 times"));
    let slow = |nameplate: &mut Nameplate| nameplate.window_ms = 1_800_000;
    assert_eq!(run(&mut checks(slow, &BOTH), off, 60).1, "");
    for (rated, expected) in
        [(120, ""), (20, "power is 100.0 kW on average, 5 times the rated 20.0 kW: is the CT ratio (multiplier) too large?")]
    {
        let plate = |nameplate: &mut Nameplate| nameplate.rated_power_kw = Some(Decimal::new(rated, 0));
        let steady = Meter { load: (100.0, 0.0), ..USUAL };
        assert_eq!(run(&mut checks(plate, &BOTH), steady, 30).1, expected);
        // Without a counter too.
        assert_eq!(run(&mut checks(plate, &BOTH[..1]), steady, 30).1, expected);
    }
}

#[test]
fn which_points_belong_together() {
    let counter = |quantity| (quantity, "kWh", Kind::Counter);
    let power = BOTH[0];
    for (points, expected) in [
        (vec![power, counter("energy_import")], 1),
        (vec![power, counter("energy_import"), counter("energy_export")], 2),
        (vec![power, counter("energy_import"), counter("energy_total")], 1),
        (vec![power, counter("energy_total")], 1),
        (vec![power, counter("energy_import"), counter("energy_import")], 0),
        (vec![power, power, counter("energy_import")], 0),
        (vec![counter("energy_import")], 0),
        (vec![power], 0),
        (vec![("charging_power", "kW", Kind::Gauge), counter("charging_energy"), counter("energy_import")], 1),
    ] {
        let checks = checks(|_| {}, &points);
        assert_eq!(checks.devices.iter().map(|check| check.energies.len()).sum::<usize>(), expected, "{points:?}");
    }
}

#[test]
fn what_says_nothing_raises_nothing() {
    let wrong = Meter { factor: 40.0, ..USUAL };
    // No load, a load that one step of the register hides, gaps between values of power, a register that falls.
    assert!(run(&mut checks(|_| {}, &BOTH), Meter { load: (0.0, 0.0), ..wrong }, 60).0.is_empty());
    assert!(run(&mut checks(|_| {}, &BOTH), Meter { load: (0.005, 0.0), step: 0.000_1, ..wrong }, 600).0.is_empty());
    assert!(run(&mut checks(|_| {}, &BOTH), Meter { poll_s: 600, ..wrong }, 1_200).0.is_empty());
    let mut falling = checks(|_| {}, &BOTH);
    for second in 0..3_600 {
        let time = START + second * 1_000;
        let step = if second % 60 == 0 { Step::Suspect } else { Step::Delta };
        assert_eq!(falling.observe(&sample(POWER, time, 10.0, Step::None)), None);
        assert_eq!(falling.observe(&sample(ENERGY, time, second as f64, step)), None);
    }
    // Bad values are not looked at.
    let mut bad = checks(|_| {}, &BOTH);
    for second in 0..3_600 {
        let mut register = sample(ENERGY, START + second * 1_000, second as f64, Step::Delta);
        register.status = Status::new(Quality::Bad, Reason::Range, Origin::Metered, Step::Delta);
        assert_eq!(bad.observe(&register), None);
    }
}

#[test]
fn power_that_reports_on_change_holds() {
    let points = [BOTH[0], BOTH[1]].iter().zip(0..).map(|((quantity, unit, kind), id)| {
        let mut made = point(id, *kind, unit, 3);
        made.quantity = (*quantity).to_owned();
        if *kind == Kind::Gauge {
            made.rules.get_or_insert_default().on_change = Some(OnChange { deadband: Decimal::ZERO, max_silence_ms: 900_000 });
        }
        made
    });
    let mut checks = Nameplates::new(&catalogue(points.collect()));
    let (mut energy, mut ratios) = (0.0, Vec::new());
    for second in 0..7_200i64 {
        let time = START + second * 1_000;
        // 10 kW for ten minutes, 90 kW for the next ten.
        let power = if second / 600 % 2 == 0 { 10.0 } else { 90.0 };
        if second % 600 == 0 {
            checks.observe(&sample(POWER, time, power, Step::None));
        }
        ratios.extend(checks.observe(&sample(ENERGY, time, energy, Step::Delta)).and_then(|told| told.ratio));
        energy += power / 3_600.0;
    }
    assert!(ratios.len() > 10 && ratios.iter().all(|ratio| (0.95..1.05).contains(ratio)), "{ratios:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// A sound meter is never doubted, whatever its load, register and polling.
    #[test]
    fn a_sound_meter_is_never_doubted(poll_s in 1i64..120, mean in 1.0f64..5_000.0, swing in 0.0f64..0.5, decimals in 0i32..4) {
        let meter = Meter { factor: 1.0, step: 10f64.powi(-decimals), poll_s, load: (mean, mean * swing) };
        let (ratios, doubt) = run(&mut checks(|_| {}, &BOTH), meter, 180);
        prop_assert_eq!(doubt, "", "{:?}", ratios);
    }

    /// A ratio that is wrong is told, and as what it is.
    #[test]
    fn a_wrong_ratio_is_told(poll_s in 1i64..20, mean in 50.0f64..2_000.0, swing in 0.0f64..0.5, ratio in 2u32..200, power_lacks in any::<bool>()) {
        let factor = if power_lacks { f64::from(ratio) } else { 1.0 / f64::from(ratio) };
        let meter = Meter { factor, step: 0.001, poll_s, load: (mean, mean * swing) };
        let (ratios, doubt) = run(&mut checks(|_| {}, &BOTH), meter, 90);
        let off = ratios.last().map(|found| found / factor).unwrap();
        prop_assert!((0.8..1.25).contains(&off), "{:?}", ratios);
        prop_assert_eq!(doubt.contains("missing in power"), power_lacks, "{}", doubt);
    }
}
