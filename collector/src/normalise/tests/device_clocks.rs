//! A device's clock is put right, set wrong or drifts: what totals make of what is recorded meanwhile.

use super::clocks::total;
use super::*;

const SECOND: i64 = 1_000;

/// How far a device's clock is ahead, in milliseconds, by seconds since the start.
type Off = Box<dyn Fn(i64) -> i64>;

/// A register once a second for `seconds`, sent every `batch` seconds and `latency` ms on the way; it rises by one every
/// `step` seconds.
#[derive(Clone, Copy, Debug)]
struct Sent {
    seconds: i64,
    batch: i64,
    latency: i64,
    step: i64,
}

fn unlimited() -> Vec<Point> {
    vec![Point { modulus: None, rate_max_per_hour: None, ..counter(1) }]
}

fn recorded(sent: Sent, off: &Off, restart: bool) -> Vec<Sample> {
    let mut n = normaliser(unlimited());
    let (mut all, mut waiting) = (Vec::new(), Vec::new());
    for second in 0..sent.seconds {
        let truth = T0 + second * SECOND;
        waiting.push(reading(1, &(second / sent.step).to_string(), Some(truth + off(second))));
        if (second + 1) % sent.batch == 0 {
            let (out, report) = step(&mut n, truth + sent.latency, &waiting);
            assert_eq!(out.len() as i64 + i64::from(report.repeats), sent.batch, "nothing is lost at {second}");
            all.extend(out);
            waiting.clear();
            if restart {
                let state = n.snapshot(7);
                n = normaliser(unlimited());
                n.restore(&state).unwrap();
            }
        }
    }
    all
}

#[test]
fn no_energy_is_made_up_by_a_device_whose_clock_is_set() {
    let at = |second: i64, before: i64, after: i64| -> Off { Box::new(move |now| if now < second { before } else { after }) };
    let cases: Vec<(&str, Off, bool)> = vec![
        ("right", at(0, 0, 0), true),
        ("half a minute ahead", at(0, 0, 30_000), true),
        ("minutes behind", at(0, 0, -200_000), true),
        ("beyond a minute ahead", at(75, 59_500, 60_500), false),
        ("below a minute ahead", at(75, 60_500, 59_500), false),
        ("a second ahead, put right", at(75, 1_000, 0), false),
        ("half a minute ahead, put right", at(75, 30_000, 0), false),
        ("half a minute ahead, set behind", at(75, 30_000, -30_000), false),
        ("an hour ahead, put right", at(75, HOUR, 0), false),
        ("half a minute ahead, set an hour ahead", at(75, 30_000, HOUR), false),
        ("right, set behind", at(75, 0, -30_000), false),
        ("right, set far behind", at(400, 0, -280_000), false),
        ("behind, put right", at(75, -30_000, 0), false),
        ("right, set ahead and right again", Box::new(|now| if (75..175).contains(&now) { 45_000 } else { 0 }), false),
        // 59 s ahead, 61 s after 200 s, then put right; as a bad crystal does it in a day.
        ("drifting beyond a minute, put right", Box::new(|now| if now < 400 { 59_000 + now * 10 } else { 0 }), false),
        ("drifting back below a minute", Box::new(|now| 61_000 - now * 10), false),
        ("drifting by two seconds, put right each time", Box::new(|now| (now % 100) * 20), false),
        ("drifting behind, put right each time", Box::new(|now| (now % 100) * -20), false),
    ];
    for (name, off, is_constant) in cases {
        for (batch, latency, step, restart) in
            [(1, 0, 1, false), (1, 300, 1, true), (1, 2_500, 1, false), (1, 20, 20, true), (1, 2_500, 7, false), (1, 0, 1_000, false)]
        {
            let sent = Sent { seconds: 800, batch, latency, step };
            let all = recorded(sent, &off, restart);
            let counts = |sample: &&Sample| sample.status.quality() != Quality::Bad;
            let (first, last) = (all.iter().find(counts).unwrap(), all.last().unwrap());
            assert_eq!(total(&all), (last.value - first.value, 0), "{name}, {sent:?}");
            assert!(counts(&last), "{name}, {sent:?}: it ends well");
            let voided = all.iter().filter(|sample| !counts(sample));
            assert!(voided.clone().all(|sample| sample.status.reason() == Reason::Clock), "{name}, {sent:?}");
            if is_constant {
                assert!(all.iter().all(|sample| findings(sample) == (Quality::Good, Reason::None)), "{name}, {sent:?}");
                assert!(all.iter().all(|sample| Some(sample.record_time) == sample.source_time), "{name}, {sent:?}");
            }
        }
    }
}

/// A device whose clock is ahead sends no time any more, or its time is not read any more: what comes then by our clock lies
/// where registers of before are.
#[test]
fn no_energy_is_made_up_where_a_device_ceases_to_send_its_time() {
    for (ahead, step_s) in [(0, 1), (30_000, 1), (30_000, 20), (59_000, 1_000), (-200_000, 1)] {
        let mut n = normaliser(unlimited());
        let mut all = Vec::new();
        for second in 0..400i64 {
            let truth = T0 + second * SECOND;
            let source = (second < 200).then_some(truth + ahead);
            all.extend(step(&mut n, truth + 137, &[reading(1, &(second / step_s).to_string(), source)]).0);
        }
        let last = all.last().unwrap();
        assert_eq!(total(&all), (last.value, 0), "{ahead} {step_s}");
        assert_eq!(findings(last), (Quality::Good, Reason::None), "{ahead} {step_s}");
    }
}

/// Both clocks stand in 1970 after a short power cut, and the device's was ahead before.
#[test]
fn no_energy_is_made_up_by_a_short_power_cut_that_costs_both_clocks() {
    let wrong = |second: i64| second * SECOND;
    for (is_stamped, ahead, step_s) in [(true, 50_000, 1), (false, 50_000, 1), (true, 50_000, 1_000), (false, 0, 1)] {
        let mut n = normaliser(unlimited());
        let (mut all, mut undated) = (Vec::new(), Vec::new());
        for second in 0..300i64 {
            let truth = T0 + second * SECOND;
            let value = (second / step_s).to_string();
            match second {
                0..100 => all.extend(step(&mut n, truth, &[reading(1, &value, Some(truth + ahead))]).0),
                100..110 => {}
                110..130 => {
                    let (out, _) = step(&mut n, wrong(second), &[reading(1, &value, is_stamped.then_some(wrong(second) + 5))]);
                    undated.extend_from_slice(&out);
                    all.extend(out);
                }
                _ => {
                    if second == 130 {
                        n.restamp(&Undated { samples: &undated, shift_ms: T0, is_of_catalogue: true }, &mut all);
                    }
                    all.extend(step(&mut n, truth, &[reading(1, &value, Some(truth))]).0);
                }
            }
        }
        let last = all.last().unwrap();
        assert_eq!(total(&all), (last.value, 0), "{is_stamped} {ahead} {step_s}");
        assert_eq!(findings(last), (Quality::Good, Reason::None));
    }
}
