use parkgate_collector::model::{Decimal, UtcMillis};

use super::*;

const HOUR_MS: i64 = 3_600_000;

/// 2026-11-17 00:00 in Shanghai, a Tuesday.
const TUESDAY: UtcMillis = UtcMillis(1_794_844_800_000);

fn park(seed: u64) -> Park {
    Park::new(seed, EPOCH.plus(700 * 24 * HOUR_MS))
}

fn row(device: &str, point: &str) -> &'static SignalRow {
    signal_of(device, point).unwrap()
}

fn number(park: &Park, device: &str, point: &str, at: UtcMillis) -> f64 {
    let value = park.value(row(device, point), at, Look::Instant).unwrap();
    value.to_string().parse().unwrap()
}

#[test]
fn same_seed_same_park_and_another_seed_another() {
    let (a, b, other) = (park(7), park(7), park(8));
    let mut differ = 0;
    for step in 0..2_000 {
        let at = EPOCH.plus(step * 29_876_543);
        for row in SIGNALS {
            assert_eq!(a.value(row, at, Look::Instant), b.value(row, at, Look::Instant));
            differ += u32::from(a.value(row, at, Look::Instant) != other.value(row, at, Look::Instant));
        }
    }
    assert!(differ > 100_000, "{differ}");
    assert_ne!(a.fingerprint(), other.fingerprint());
}

#[test]
fn a_later_start_sees_the_same_park() {
    let (early, late) = (Park::new(3, EPOCH.plus(10 * 24 * HOUR_MS)), park(3));
    for day in [0, 9, 99, 101, 130] {
        let at = EPOCH.plus(day * 24 * HOUR_MS + 9 * HOUR_MS + 1234);
        for row in SIGNALS {
            assert_eq!(
                early.value(row, at, Look::Instant),
                late.value(row, at, Look::Instant),
                "{}/{} on day {day}",
                row.device,
                row.point
            );
        }
    }
}

#[test]
fn registers_never_fall() {
    let park = park(11);
    for row in SIGNALS.iter().filter(|row| matches!(row.signal, Signal::Total(..))) {
        let mut before = Decimal::ZERO;
        let start = EPOCH.plus(300 * 24 * HOUR_MS);
        let moments = (0..80_000i64).map(|step| step * 997).chain((0..2_000).map(|step| 80_000_000 + step * SLOT_MS));
        for since in moments {
            let now = park.value(row, start.plus(since), Look::Instant).unwrap();
            assert!(now.mantissa >= before.mantissa, "{}/{} fell at {since}: {before} {now}", row.device, row.point);
            before = now;
        }
    }
}

#[test]
fn gates_close() {
    let park = park(5);
    for step in 0..3_000 {
        let at = EPOCH.plus(200 * 24 * HOUR_MS + step * 7_654_321);
        let subs: i64 = POWER_SUBS.iter().map(|&sub| park.total(sub, at)).sum();
        assert_eq!(park.total(Mix::PowerGate, at) + park.total(Mix::One(Flow::Pv), at), subs + park.total(Mix::PowerLoss, at), "at {at}");
        let water: i64 = WATER_SUBS.iter().map(|&flow| park.total(Mix::One(flow), at)).sum();
        let gate = park.total(Mix::WaterGate, at);
        assert!(gate >= water && gate - water == water * 30 / 1000);
        // The register's rise over a minute is the minute's mean rate.
        let minute = at.floor_to(60_000);
        for &flow in Flow::ALL {
            let rise = park.total(Mix::One(flow), minute.plus(60_000)) - park.total(Mix::One(flow), minute);
            let mean = park.rate(Mix::One(flow), minute, Look::MinuteMean) * 1000 / 60;
            assert!((rise - mean).abs() <= 1, "{flow:?}: {rise} {mean}");
        }
    }
}

#[test]
fn magnitudes_are_plausible() {
    for seed in [1, 2, 42] {
        let park = park(seed);
        for (device, point, low, high) in [
            ("gate-power", "active_power", 200.0, 2_500.0),
            ("gate-power", "voltage", 10_000.0, 10_500.0),
            ("gate-power", "frequency", 49.9, 50.1),
            ("coating-power", "current", 50.0, 1_400.0),
            ("line-power", "active_power", 10.0, 500.0),
            ("abatement-power", "active_power", 2.0, 100.0),
            ("pv-inverter", "active_power", 0.0, 400.0),
            ("pv-inverter", "module_temperature", -10.0, 80.0),
            ("boiler-heat", "heat_power", 0.0, 7_500.0),
            ("boiler-heat", "supply_temperature", 10.0, 175.0),
            ("boiler-stack", "so2_concentration", 0.1, 35.0),
            ("boiler-stack", "nox_concentration", 0.2, 110.0),
            ("boiler-stack", "dust_concentration", 0.1, 15.0),
            ("boiler-stack", "o2_content", 2.5, 21.0),
            ("boiler-stack", "flue_gas_flow", 0.0, 16_000.0),
            ("boiler-stack", "flue_gas_temperature", 0.0, 150.0),
            ("boiler-stack", "flue_gas_pressure", -250.0, 0.0),
            ("boiler-stack", "flue_gas_humidity", 0.5, 18.0),
            ("waste-water", "cod_concentration", 25.0, 120.0),
            ("waste-water", "ammonia_nitrogen_concentration", 1.5, 6.0),
            ("waste-water", "waste_water_flow", 10.0, 50.0),
            ("waste-water", "ph", 6.0, 9.0),
            ("gate-gas", "gas_flow", 50.0, 1_200.0),
            ("gate-water", "water_flow", 15.0, 80.0),
            ("pile-1", "charging_power", 0.0, 62.0),
            ("pile-2", "charging_power", 0.0, 7.5),
        ] {
            for step in 0..4_000 {
                let at = EPOCH.plus(100 * 24 * HOUR_MS + step * 11_111_111);
                let value = number(&park, device, point, at);
                assert!((low..=high).contains(&value), "seed {seed}: {device}/{point} = {value} at {at}");
            }
        }
    }
}

#[test]
fn the_park_has_something_to_show() {
    for seed in [1, 2, 42] {
        let park = park(seed);
        let minutes = |device: &'static str, point: &'static str, look: Look| {
            let park = &park;
            (0..62 * 24 * 60).map(move |minute| {
                let at = EPOCH.plus(600 * 24 * HOUR_MS + minute * 60_000);
                park.value(row(device, point), at, look).unwrap()
            })
        };
        let nox_high = minutes("boiler-stack", "nox_concentration", Look::MinuteMean).filter(|value| value.mantissa > 5_000).count();
        assert!((60..=600).contains(&nox_high), "seed {seed}: {nox_high} minutes of NOx above 50 mg/Nm3");
        let stopped = minutes("boiler-stack", "o2_content", Look::MinuteMean).filter(|value| value.mantissa > 2_000).count();
        assert!(stopped > 5_000, "seed {seed}: boiler stands still for {stopped} minutes");
        let idle = minutes("line-power", "running", Look::Instant)
            .zip(minutes("abatement-power", "running", Look::Instant))
            .filter(|(line, abatement)| line.mantissa == 1 && abatement.mantissa == 0)
            .count();
        assert!((90..=360).contains(&idle), "seed {seed}: abatement idles for {idle} minutes while the line runs");
        let night = EPOCH.plus(600 * 24 * HOUR_MS + 2 * HOUR_MS);
        assert_eq!(number(&park, "pv-inverter", "active_power", night), 0.0);
        let missing = (0..60)
            .filter(|minute| park.value(row("boiler-heat", "return_temperature"), TUESDAY.plus(minute * 60_000), Look::Instant).is_err())
            .count();
        assert_eq!(missing, 6);
    }
}

#[test]
fn rows_are_unique_and_their_units_known() {
    let mut seen = std::collections::HashSet::new();
    for row in SIGNALS {
        assert!(seen.insert((row.device, row.point)), "{}/{}", row.device, row.point);
        assert!(parkgate_collector::model::Unit::parse(row.unit).is_some(), "{}", row.unit);
    }
    assert!((60..=120).contains(&SIGNALS.len()), "{}", SIGNALS.len());
}

#[test]
fn a_park_that_is_watched_misfires_soon_and_every_hour() {
    let park = park(7);
    let so2 = |at: UtcMillis| number(&park, "boiler-stack", "so2_concentration", at);
    let start = TUESDAY.plus(10 * HOUR_MS + 12_345);
    let minute = |minutes: i64| start.plus(minutes * 60_000);
    assert!(so2(minute(4)) < 20.0, "nobody watches");
    park.goes_live(start);
    park.goes_live(start.plus(HOUR_MS));
    for (minutes, high) in [(0, false), (2, false), (3, true), (4, true), (5, false), (62, false), (63, true), (65, false), (-57, false)] {
        assert_eq!(so2(minute(minutes)) > 80.0, high, "minute {minutes}");
    }
}
