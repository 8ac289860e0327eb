//! The machine by cases, written as test files are, and its properties.

use proptest::prelude::*;

use super::case;
use super::rule::{Priority, Select, Title};
use super::*;
use crate::Number;

/// A limit of 100 with a deadband of 5, on-delay 60 s, off-delay 30 s; and others for one matter each.
const RULES: &str = r#"
[[rule]]
id = "high"
title = { zh = "高", en = "high" }
above = 100
unit = "kW"
deadband = 5
on_delay_s = 60
off_delay_s = 30
priority = "high"
re_alarm_s = 300
shelve_max_s = 600

[[rule]]
id = "at-once"
title = { zh = "高", en = "high" }
above = 100
unit = "kW"
priority = "high"

[[rule]]
id = "low"
title = { zh = "低", en = "low" }
below = 4
unit = "kW"
deadband = 1
priority = "high"

[[rule]]
id = "fault"
title = { zh = "故障", en = "fault" }
state_is = [2, 3]
priority = "high"

[[rule]]
id = "silent"
title = { zh = "无数据", en = "silent" }
silent_over_s = 60
priority = "high"

[[rule]]
id = "clock"
title = { zh = "时钟", en = "clock" }
clock_off_over_s = 60
on_delay_s = 20
priority = "high"

[[rule]]
id = "dog"
title = { zh = "狗", en = "dog" }
always = true
priority = "low"
"#;

fn rules() -> Vec<Rule> {
    read(&[("rules.toml", RULES)], &[]).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn check(cases: &str) {
    let (count, problems) = case::run("cases.toml", cases, &rules());
    assert!(count > 0 && problems.is_empty(), "{}", problems.iter().map(|problem| format!("{problem}\n")).collect::<String>());
}

#[test]
fn delays_spikes_and_noise() {
    check(
        r#"
[[case]]
name = "a spike shorter than the on-delay raises nothing"
rule = "high"
interval_s = 10
readings = [[0, 90], [10, 120], [20, 120], [60, 99], [70, 90]]
until = 300
expect = []

[[case]]
name = "held for the on-delay it is an alarm, with the time it began; the value holds until the next one"
rule = "high"
interval_s = 30
readings = [[0, 90], [10, 101], [40, 130], [71, 120], [100, 95], [140, 90]]
until = 300
expect = [{ at = 70, what = "raised", since = 10 }, { at = 130, what = "resolved", since = 10, ended = 100 }]

[[case]]
name = "equal to the limit is not above"
rule = "at-once"
interval_s = 10
readings = [[0, 100], [10, 100], [20, 100.001], [30, 100]]
until = 60
expect = [{ at = 20, what = "raised", since = 20 }, { at = 30, what = "resolved", ended = 30 }]

[[case]]
name = "noise near the limit is one alarm, ended only beyond the deadband"
rule = "high"
interval_s = 30
readings = [[0, 101], [30, 102], [61, 99], [90, 101], [120, 96], [150, 95.001], [180, 95], [200, 90]]
until = 300
expect = [{ at = 60, what = "raised", since = 0 }, { at = 210, what = "resolved", ended = 180 }]

[[case]]
name = "a value at the limit breaks the on-delay, the deadband counts later"
rule = "high"
interval_s = 30
readings = [[0, 101], [30, 100], [31, 101], [60, 102], [90, 101]]
until = 100
expect = [{ at = 91, what = "raised", since = 31 }]

[[case]]
name = "a dip shorter than the off-delay ends nothing"
rule = "high"
interval_s = 30
readings = [[0, 101], [30, 101], [60, 101], [90, 50], [119, 101], [150, 50], [170, 50], [181, 50]]
until = 300
expect = [{ at = 60, what = "raised", since = 0 }, { at = 180, what = "resolved", ended = 150 }]

[[case]]
name = "below, with its deadband"
rule = "low"
interval_s = 10
readings = [[0, 4], [10, 3.999], [20, 4.5], [30, 5]]
until = 60
expect = [{ at = 10, what = "raised", since = 10 }, { at = 30, what = "resolved", ended = 30 }]

[[case]]
name = "states are codes"
rule = "fault"
interval_s = 10
decimals = 0
readings = [[0, 1], [10, 3], [20, 2], [30, 0]]
until = 60
expect = [{ at = 10, what = "raised" }, { at = 30, what = "resolved", ended = 30 }]
"#,
    );
}

#[test]
fn what_is_not_known_neither_fills_a_delay_nor_ends_an_alarm() {
    check(
        r#"
[[case]]
name = "a value holds three intervals and 10 s: 16 s of 60 s here"
rule = "high"
interval_s = 2
readings = [[0, 120]]
until = 300
expect = []

[[case]]
name = "behind a gap the on-delay begins anew"
rule = "high"
interval_s = 2
readings = [[0, 120], [40, 120], [56, 120], [72, 120], [88, 120], [101, 120]]
until = 200
expect = [{ at = 100, what = "raised", since = 40 }]

[[case]]
name = "a device that goes silent keeps its alarm"
rule = "at-once"
interval_s = 2
readings = [[0, 120], [5000, 50]]
until = 5100
expect = [{ at = 0, what = "raised" }, { at = 5000, what = "resolved", ended = 5000 }]

[[case]]
name = "returned before the gap and behind it: over when it returned"
rule = "high"
interval_s = 30
readings = [[0, 120], [30, 120], [60, 120], [90, 50], [500, 50]]
until = 600
expect = [{ at = 60, what = "raised" }, { at = 120, what = "resolved", ended = 90 }]
"#,
    );
}

#[test]
fn what_comes_late_has_its_true_times() {
    check(
        r#"
[[case]]
name = "over before it was known"
rule = "high"
interval_s = 30
readings = [[0, 50], [1000, 50], [100, 120, 1001], [130, 130, 1001], [160, 120, 1001], [190, 90, 1002], [220, 90, 1002]]
until = 1200
expect = [{ at = 1002, what = "raised", since = 100, ended = 190, late = true }, { at = 1002, what = "resolved", since = 100, ended = 190, late = true }]

[[case]]
name = "as far as it is known, when nothing follows"
rule = "at-once"
interval_s = 30
readings = [[1000, 50], [100, 120, 1001], [130, 130, 1002]]
until = 1200
expect = [{ at = 1062, what = "raised", since = 100, ended = 130, late = true }, { at = 1062, what = "resolved", ended = 130, late = true }]

[[case]]
name = "late spikes shorter than the delay are none"
rule = "high"
interval_s = 30
readings = [[1000, 50], [100, 120, 1001], [130, 130, 1001], [150, 50, 1001]]
until = 1200
expect = []

[[case]]
name = "late values within an alarm that is known change nothing, before and after its end"
rule = "at-once"
interval_s = 30
readings = [[0, 50], [100, 120], [160, 130], [130, 50, 161], [190, 50], [140, 125, 191]]
until = 400
expect = [{ at = 100, what = "raised" }, { at = 190, what = "resolved", ended = 190 }]

[[case]]
name = "two late episodes, the later one first: it is at its end when older readings come"
rule = "at-once"
interval_s = 30
readings = [[1000, 50], [500, 120, 1001], [530, 120, 1001], [100, 120, 1002], [130, 50, 1002]]
until = 1200
expect = [
  { at = 1002, what = "raised", since = 500, ended = 530, late = true }, { at = 1002, what = "resolved", since = 500, late = true },
  { at = 1002, what = "raised", since = 100, ended = 130, late = true }, { at = 1002, what = "resolved", since = 100, late = true },
]

[[case]]
name = "read all at once after an outage and still on: an alarm as any other, with its true time"
rule = "high"
interval_s = 30
readings = [[0, 50, 500], [30, 120, 500], [60, 120, 500], [90, 120, 500], [120, 120, 500]]
until = 600
expect = [{ at = 500, what = "raised", since = 30 }]

[[case]]
name = "read all at once after an outage and over"
rule = "high"
interval_s = 30
readings = [[0, 50, 500], [30, 120, 500], [60, 120, 500], [90, 120, 500], [120, 50, 500], [150, 50, 500]]
until = 600
expect = [{ at = 500, what = "raised", since = 30, ended = 120, late = true }, { at = 500, what = "resolved", ended = 120, late = true }]
"#,
    );
}

#[test]
fn devices_and_the_gateway() {
    check(
        r#"
[[case]]
name = "silent for longer than the limit, since the limit was over"
rule = "silent"
interval_s = 5
readings = [[0], [50], [110], [200], [201]]
until = 300
expect = [
  { at = 171, what = "raised", since = 170 }, { at = 200, what = "resolved", ended = 200 },
  { at = 262, what = "raised", since = 261 },
]

[[case]]
name = "never heard counts from when the gateway began to listen"
rule = "silent"
until = 100
expect = [{ at = 61, what = "raised", since = 60 }]

[[case]]
name = "a clock that is off, and one stamp that is not"
rule = "clock"
readings = [[0, 90], [10, 0], [20, -90], [30, 90], [40, 90], [50, 60]]
until = 100
expect = [{ at = 40, what = "raised", since = 20 }, { at = 50, what = "resolved", ended = 50 }]

[[case]]
name = "the watchdog is always on"
rule = "dog"
until = 100
expect = [{ at = 0, what = "raised", since = 0 }]
"#,
    );
}

#[test]
fn acts_of_people() {
    check(
        r#"
[[case]]
name = "acknowledged once, told again when it lasts, and a new alarm is not acknowledged"
rule = "high"
interval_s = 600
readings = [[0, 120], [500, 50], [600, 120]]
acts = [{ at = 10, acknowledge = "wang" }, { at = 70, acknowledge = "wang" }, { at = 80, acknowledge = "li" }, { at = 700, acknowledge = "li" }]
until = 720
expect = [
  { at = 60, what = "raised" }, { at = 70, what = "acknowledged" }, { at = 370, what = "re_alarmed" },
  { at = 530, what = "resolved", ended = 500 }, { at = 660, what = "raised", since = 600 }, { at = 700, what = "acknowledged" },
]

[[case]]
name = "shelved for the rule's longest time at most, and out again by itself"
rule = "at-once"
interval_s = 2000
readings = [[0, 120]]
acts = [{ at = 10, shelve = "wang", for_s = 100 }]
until = 200
expect = [{ at = 0, what = "raised" }, { at = 10, what = "shelved" }, { at = 110, what = "unshelved" }]

[[case]]
name = "the rule's own limit outweighs what is asked for; taken out by hand nothing is left to end"
rule = "high"
interval_s = 10
acts = [{ at = 10, shelve = "wang", for_s = 86400 }, { at = 700, unshelve = "wang" }]
until = 800
expect = [{ at = 10, what = "shelved" }, { at = 610, what = "unshelved" }]
"#,
    );
}

#[test]
fn a_case_that_fails_says_what_was_found() {
    let cases = "[[case]]\nname = \"x\"\nrule = \"at-once\"\nreadings = [[0, 120]]\nuntil = 10\nexpect = [{ at = 1, what = \"raised\" }]\n\
                 [[case]]\nname = \"y\"\nrule = \"nothing\"\nuntil = 10\n[[case]]\nname = \"z\"\nrule = \"high\"\nreadings = [[1, 2, 3, 4]]\nuntil = 1\n";
    let (count, problems) = case::run("cases.toml", cases, &rules());
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(count, 3);
    assert_eq!(told[0], "cases.toml:2:8: case `x` does not come out as expected; expected [at 1 raised], found [at 0 raised since 0]");
    assert!(told[1].starts_with("cases.toml:9:8: there is no rule `nothing`") && told[2].contains("this is no reading"), "{told:?}");
}

#[test]
fn what_is_meant_for_another_rule_of_the_device_changes_nothing() {
    for (id, input) in [("silent", Input::Clock { time: UtcMillis(5_000), off_ms: 900_000 }), ("clock", Input::Heard(UtcMillis(5_000)))] {
        let rules = rules();
        let bound = Bound::new(rules.iter().find(|rule| rule.id == id).unwrap(), 0, None);
        let mut state = State::default();
        step(&bound, &mut state, &Input::Listening(UtcMillis(0)), UtcMillis(0));
        let before = state.clone();
        assert_eq!((step(&bound, &mut state, &input, UtcMillis(5_000)), &state), (vec![], &before), "{id}");
    }
}

fn rule(on_delay_ms: i64, off_delay_ms: i64, deadband: i64) -> Rule {
    Rule {
        id: "r".into(),
        alertname: "r".into(),
        title: Title { zh: "r".into(), en: "r".into() },
        select: Select::default(),
        condition: Condition::Above(Number::from(10)),
        unit: None,
        deadband: Number::from(deadband),
        on_delay_ms,
        off_delay_ms,
        priority: Priority::High,
        runbook: None,
        re_alarm_ms: Some(5_000),
        shelve_max_ms: 20_000,
    }
}

/// Inputs as a journal may have them, with the wall clock at each: mostly in order, sometimes late, with ticks and acts.
fn inputs() -> impl Strategy<Value = Vec<(Input, UtcMillis)>> {
    let one = prop_oneof![
        6 => (0..4_000i64, 0..20i64).prop_map(|(ahead, value)| (ahead, Some((0, value)), None)),
        2 => (0..4_000i64, 0..60_000i64, 0..20i64).prop_map(|(ahead, back, value)| (ahead, Some((back, value)), None)),
        2 => (0..40_000i64).prop_map(|ahead| (ahead, None, None)),
        1 => (0..1_000i64, 0..3u8).prop_map(|(ahead, act)| (ahead, None, Some(act))),
    ];
    proptest::collection::vec(one, 0..120).prop_map(|steps| {
        let mut now = UtcMillis(1_000_000);
        steps
            .into_iter()
            .map(|(ahead, reading, act)| {
                now = now.plus(ahead);
                let by = || "wang".to_owned();
                let input = match (reading, act) {
                    (Some((back, value)), _) => Input::Reading { time: now.plus(-back), value },
                    (None, Some(0)) => Input::Act(Act::Acknowledge { by: by() }),
                    (None, Some(1)) => Input::Act(Act::Shelve { by: by(), until: now.plus(10_000) }),
                    (None, Some(_)) => Input::Act(Act::Unshelve { by: by() }),
                    (None, None) => Input::Tick,
                };
                (input, now)
            })
            .collect()
    })
}

/// Episodes of readings in order, told naively from a look at all of them: on-delay, off-delay and deadband of the rule, no
/// gaps longer than values hold.
fn naive(rule: &Rule, bound: &Bound, readings: &[(UtcMillis, i64)]) -> Vec<(UtcMillis, Option<UtcMillis>)> {
    let mut episodes = Vec::new();
    let mut begun: Option<UtcMillis> = None;
    let mut open: Option<(UtcMillis, Option<UtcMillis>)> = None;
    for (index, (time, value)) in readings.iter().enumerate() {
        let until = readings.get(index + 1).map_or(*time, |next| next.0);
        let met = bound.met(*value);
        if let Some((since, returned)) = &mut open {
            match met {
                Met::Yes => *returned = None,
                Met::No => {
                    returned.get_or_insert(*time);
                }
                Met::Between => {}
            }
            if let Some(back) = *returned
                && until.since(back) >= rule.off_delay_ms
            {
                episodes.push((*since, Some(back)));
                (open, begun) = (None, None);
            }
            continue;
        }
        begun = if met == Met::Yes { begun.or(Some(*time)) } else { None };
        if let Some(since) = begun
            && until.since(since) >= rule.on_delay_ms
        {
            open = Some((since, None));
        }
    }
    episodes.extend(open.map(|(since, _)| (since, None)));
    episodes
}

proptest! {
    /// The state can be kept and read back anywhere: nothing is lost, nothing comes twice.
    #[test]
    fn a_restart_changes_nothing(inputs in inputs(), on in 0..8_000i64, off in 0..8_000i64, stops in proptest::collection::vec(any::<bool>(), 120)) {
        let bound = Bound::new(&rule(on, off, 2), 0, Some(3_000));
        let (mut whole, mut parted) = (State::default(), State::default());
        for (index, (input, now)) in inputs.iter().enumerate() {
            let told = step(&bound, &mut whole, input, *now);
            if stops.get(index).copied().unwrap_or(false) {
                parted = serde_json::from_str(&serde_json::to_string(&parted).unwrap()).unwrap();
            }
            prop_assert_eq!(told, step(&bound, &mut parted, input, *now));
        }
        prop_assert_eq!(whole, parted);
    }

    /// Of what is live, raised and resolved alternate; what is late comes in pairs; no time lies before the one it follows.
    #[test]
    fn every_alarm_that_is_raised_is_resolved_once(inputs in inputs(), on in 0..8_000i64, off in 0..8_000i64) {
        let bound = Bound::new(&rule(on, off, 2), 0, Some(3_000));
        let mut state = State::default();
        let mut is_on = false;
        let mut half = None;
        for (input, now) in &inputs {
            for Transition { change, episode, ended_at, late, .. } in step(&bound, &mut state, input, *now) {
                let since = episode.as_ref().map(|episode| episode.since);
                match change {
                    Change::Raised if late => prop_assert_eq!(half.replace(since), None),
                    Change::Resolved if late => prop_assert_eq!(half.take(), Some(since)),
                    Change::Raised => prop_assert!(!std::mem::replace(&mut is_on, true)),
                    Change::Resolved => prop_assert!(std::mem::replace(&mut is_on, false)),
                    Change::Acknowledged { .. } | Change::ReAlarmed => prop_assert!(is_on),
                    _ => {}
                }
                prop_assert!(ended_at.is_none() || ended_at >= since);
            }
            prop_assert_eq!(half, None);
            prop_assert_eq!(is_on, state.episode().is_some());
        }
    }

    /// In order and without gaps the machine finds what a look at everything finds, ticks between readings or none.
    #[test]
    fn episodes_are_those_of_a_look_at_everything(
        steps in proptest::collection::vec((1..3_000i64, 5..16i64), 1..80), on in 0..8_000i64, off in 0..8_000i64, ticks in any::<bool>(),
    ) {
        let rule = rule(on, off, 2);
        let bound = Bound::new(&rule, 0, Some(3_000));
        let mut time = UtcMillis(0);
        let readings: Vec<(UtcMillis, i64)> = steps.iter().map(|(ahead, value)| { time = time.plus(*ahead); (time, *value) }).collect();
        let mut state = State::default();
        let mut found: Vec<(UtcMillis, Option<UtcMillis>)> = Vec::new();
        for (time, value) in &readings {
            let mut told = Vec::new();
            if ticks {
                told.extend(step(&bound, &mut state, &Input::Tick, time.plus(-1)));
            }
            told.extend(step(&bound, &mut state, &Input::Reading { time: *time, value: *value }, *time));
            for transition in told {
                let since = transition.episode.as_ref().map(|episode| episode.since).unwrap();
                match transition.change {
                    Change::Raised => found.push((since, None)),
                    Change::Resolved => found.last_mut().unwrap().1 = transition.ended_at,
                    _ => {}
                }
            }
        }
        prop_assert_eq!(found, naive(&rule, &bound, &readings));
    }
}
