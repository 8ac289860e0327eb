//! Test files of rules: readings with their seconds, and the transitions expected of them.
//!
//! ```toml
//! rules = ["boiler.toml"]           # files beside this one; none: those that come with the program
//!
//! [[case]]
//! name = "a spike shorter than the delay raises nothing"
//! rule = "stack-so2-high"
//! interval_s = 10                   # of the point; decides how long a value holds
//! readings = [[0, 90], [10, 120], [20, 95]]   # second, value; a third number is the second it came at
//! acts = [{ at = 15, shelve = "wang", for_s = 600 }]
//! until = 120
//! expect = [{ at = 70, what = "raised", since = 10 }]
//! ```
//!
//! Seconds count from the beginning of the case. Every second what comes then is taken in, and then the clock ticks.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::bound::Bound;
use super::file::{Problem, Source};
use super::machine::{Act, Change, Input, State, Transition, step};
use super::rule::{Condition, Rule};
use crate::Number;
use crate::emission::UtcMillis;

/// Where cases begin: 2026-01-01T00:00:00Z.
const BASE: UtcMillis = UtcMillis(1_767_225_600_000);
/// Longest case, in seconds: ten days.
const UNTIL_MAX: u32 = 864_000;
/// Decimals of a point unless the case says otherwise.
const DECIMALS: u8 = 3;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    rules: Vec<String>,
    #[serde(default)]
    case: Vec<RawCase>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCase {
    name: Spanned<String>,
    rule: Spanned<String>,
    decimals: Option<u8>,
    interval_s: Option<u32>,
    #[serde(default)]
    readings: Vec<Spanned<Vec<Number>>>,
    #[serde(default)]
    acts: Vec<RawAct>,
    until: Spanned<u32>,
    #[serde(default)]
    expect: Vec<Expected>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAct {
    at: u32,
    acknowledge: Option<String>,
    shelve: Option<String>,
    unshelve: Option<String>,
    for_s: Option<u32>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    at: i64,
    what: String,
    since: Option<i64>,
    ended: Option<i64>,
    late: Option<bool>,
}

/// Names of the rule files that a test file is about.
///
/// # Errors
/// When the file cannot be read.
pub fn rule_files(name: &str, text: &str) -> Result<Vec<String>, Problem> {
    let source = Source { name, text };
    toml::from_str::<RawFile>(text).map(|file| file.rules).map_err(|error| source.unreadable(&error))
}

/// Runs the cases of a test file; how many there are, and what is not as expected.
pub fn run(name: &str, text: &str, rules: &[Rule]) -> (usize, Vec<Problem>) {
    let source = Source { name, text };
    let file: RawFile = match toml::from_str(text) {
        Ok(file) => file,
        Err(error) => return (0, vec![source.unreadable(&error)]),
    };
    let mut problems = Vec::new();
    let count = file.case.len();
    if count == 0 {
        problems.push(source.problem(&(0..0), "there is no [[case]]", "add one, or do not name the file"));
    }
    for case in file.case {
        let Some(rule) = rules.iter().find(|rule| rule.id == *case.rule.get_ref()) else {
            let known: Vec<&str> = rules.iter().map(|rule| rule.id.as_str()).collect();
            let message = format!("there is no rule `{}`", case.rule.get_ref());
            problems.push(source.problem(&case.rule.span(), message, format!("rules of these files: {}", known.join(", "))));
            continue;
        };
        let outcome = inputs(&source, &case, rule).map(|inputs| play(rule, &case, inputs));
        match outcome {
            Ok(found) if agrees(&case.expect, &found) => {}
            Ok(found) => {
                let expected: Vec<String> = case.expect.iter().map(Expected::words).collect();
                let found: Vec<String> = found.iter().map(|(at, transition)| words(*at, transition)).collect();
                let message = format!("case `{}` does not come out as expected", case.name.get_ref());
                let help = format!("expected [{}], found [{}]", expected.join("; "), found.join("; "));
                problems.push(source.problem(&case.name.span(), message, help));
            }
            Err(problem) => problems.push(problem),
        }
    }
    (count, problems)
}

fn inputs(source: &Source<'_>, case: &RawCase, rule: &Rule) -> Result<BTreeMap<i64, Vec<Input>>, Problem> {
    if *case.until.get_ref() > UNTIL_MAX {
        return Err(source.problem(&case.until.span(), "a case of more than ten days", "write at most 864000"));
    }
    let mut inputs: BTreeMap<i64, Vec<Input>> = BTreeMap::new();
    let (decimals, is_silence) = (case.decimals.unwrap_or(DECIMALS), matches!(rule.condition, Condition::SilentOver(_)));
    for reading in &case.readings {
        let wrong = |message: &str| source.problem(&reading.span(), message, "write [second, value] or [second, value, second it came]");
        let whole = |number: &Number| number.to_string().parse::<i64>().map_err(|_| wrong("a second is a whole number"));
        let (second, value, came) = match reading.get_ref().as_slice() {
            [second] if is_silence => (whole(second)?, Number::zero(), whole(second)?),
            [second, value] => (whole(second)?, value.clone(), whole(second)?),
            [second, value, came] => (whole(second)?, value.clone(), whole(came)?),
            _ => return Err(wrong("this is no reading")),
        };
        let time = at(second);
        let input = match rule.condition {
            Condition::SilentOver(_) => Input::Heard(at(came)),
            // Of a clock the value is how many seconds it is behind.
            Condition::ClockOffOver(_) => Input::Clock { time: at(came), off_ms: whole(&value)?.saturating_mul(1_000) },
            _ => {
                let digits = &value * &Number::decimal(10i128.checked_pow(u32::from(decimals)).unwrap_or(i128::MAX), 0);
                let digits = digits.to_string().parse().map_err(|_| wrong("the value has more decimals than the point"))?;
                Input::Reading { time, value: digits }
            }
        };
        inputs.entry(came).or_default().push(input);
    }
    for act in &case.acts {
        let second = i64::from(act.at);
        let until = at(second).plus(i64::from(act.for_s.unwrap_or(u32::MAX)).saturating_mul(1_000));
        let done = [
            act.acknowledge.clone().map(|by| Act::Acknowledge { by }),
            act.shelve.clone().map(|by| Act::Shelve { by, until }),
            act.unshelve.clone().map(|by| Act::Unshelve { by }),
        ];
        inputs.entry(second).or_default().extend(done.into_iter().flatten().map(Input::Act));
    }
    Ok(inputs)
}

fn at(second: i64) -> UtcMillis {
    BASE.plus(second.saturating_mul(1_000))
}

fn second(time: UtcMillis) -> i64 {
    time.since(BASE).div_euclid(1_000)
}

fn play(rule: &Rule, case: &RawCase, inputs: BTreeMap<i64, Vec<Input>>) -> Vec<(i64, Transition)> {
    let interval_ms = case.interval_s.map(|seconds| i64::from(seconds).saturating_mul(1_000));
    let bound = Bound::new(rule, case.decimals.unwrap_or(DECIMALS), interval_ms);
    let mut state = State::default();
    let mut found = Vec::new();
    step(&bound, &mut state, &Input::Listening(BASE), BASE);
    for now in 0..=i64::from(*case.until.get_ref()) {
        for input in inputs.get(&now).into_iter().flatten().chain([&Input::Tick]) {
            found.extend(step(&bound, &mut state, input, at(now)).into_iter().map(|transition| (now, transition)));
        }
    }
    found
}

fn agrees(expected: &[Expected], found: &[(i64, Transition)]) -> bool {
    expected.len() == found.len() && expected.iter().zip(found).all(|(expected, (at, found))| expected.is(*at, found))
}

/// The name of a change in test files and events.
pub fn name(change: &Change) -> &'static str {
    match change {
        Change::Raised => "raised",
        Change::Resolved => "resolved",
        Change::Gone => "gone",
        Change::Acknowledged { .. } => "acknowledged",
        Change::ReAlarmed => "re_alarmed",
        Change::Shelved { .. } => "shelved",
        Change::Unshelved { .. } => "unshelved",
    }
}

fn words(at: i64, transition: &Transition) -> String {
    let since = transition.episode.as_ref().map(|episode| format!(" since {}", second(episode.since))).unwrap_or_default();
    let ended = transition.ended_at.map(|time| format!(" ended {}", second(time))).unwrap_or_default();
    let late = if transition.late { " late" } else { "" };
    format!("at {at} {}{since}{ended}{late}", name(&transition.change))
}

impl Expected {
    fn is(&self, at: i64, found: &Transition) -> bool {
        self.at == at
            && self.what == name(&found.change)
            && self.since.is_none_or(|since| found.episode.as_ref().is_some_and(|episode| second(episode.since) == since))
            && self.ended.is_none_or(|ended| found.ended_at.map(second) == Some(ended))
            && self.late.unwrap_or(false) == found.late
    }

    fn words(&self) -> String {
        let since = self.since.map(|since| format!(" since {since}")).unwrap_or_default();
        let ended = self.ended.map(|ended| format!(" ended {ended}")).unwrap_or_default();
        format!("at {} {}{since}{ended}{}", self.at, self.what, if self.late == Some(true) { " late" } else { "" })
    }
}
