//! Rule files: TOML with one `[[rule]]` per rule; what is wrong is told with file, line, column and what to do.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use super::rule::{Condition, Priority, Rule, Select, Title};
use crate::Number;

/// Most rules of all files.
pub const RULES_MAX: usize = 1_000;
/// Longest id.
const ID_LENGTH_MAX: usize = 64;
/// Longest time that a rule may name, in seconds: 30 days.
const SECONDS_MAX: u32 = 30 * 86_400;
/// Longest time an alarm may be shelved unless its rule says otherwise, in seconds: a shift.
const SHELVE_MAX_S: u32 = 8 * 3_600;

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// What to do; may be empty.
    pub help: String,
}

impl std::fmt::Display for Problem {
    /// One line: `file:line:column: message; help`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        if self.help.is_empty() { Ok(()) } else { write!(f, "; {}", self.help) }
    }
}

/// A text with its name, to say where something is.
pub(super) struct Source<'a> {
    pub(super) name: &'a str,
    pub(super) text: &'a str,
}

impl Source<'_> {
    pub(super) fn problem(&self, span: &Range<usize>, message: impl Into<String>, help: impl Into<String>) -> Problem {
        let (line, column) = self.line_column(span.start);
        Problem { file: self.name.to_owned(), line, column, message: message.into(), help: help.into() }
    }

    /// What TOML or a field's type has to complain about.
    pub(super) fn unreadable(&self, error: &toml::de::Error) -> Problem {
        let message = error.message().trim().replace('\n', " ");
        self.problem(&error.span().unwrap_or(0..0), message, "")
    }

    fn line_column(&self, offset: usize) -> (usize, usize) {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset = offset.saturating_sub(1);
        }
        let before = self.text.get(..offset).unwrap_or_default();
        let line = before.matches('\n').count().saturating_add(1);
        (line, before.rsplit('\n').next().unwrap_or_default().chars().count().saturating_add(1))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    rule: Vec<Spanned<RawRule>>,
}

/// A rule as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    id: Spanned<String>,
    alertname: Option<Spanned<String>>,
    title: Title,
    #[serde(default)]
    enabled: Option<bool>,
    #[serde(default)]
    points: Vec<Spanned<String>>,
    #[serde(default)]
    devices: Vec<Spanned<String>>,
    #[serde(default)]
    quantity: Vec<String>,
    #[serde(default)]
    medium: Vec<String>,
    #[serde(default)]
    enterprise: Vec<String>,
    #[serde(default)]
    role: Vec<String>,
    above: Option<Spanned<Number>>,
    below: Option<Spanned<Number>>,
    state_is: Option<Spanned<Vec<i64>>>,
    silent_over_s: Option<Spanned<u32>>,
    clock_off_over_s: Option<Spanned<u32>>,
    always: Option<Spanned<bool>>,
    unit: Option<Spanned<String>>,
    deadband: Option<Spanned<Number>>,
    #[serde(default)]
    on_delay_s: Option<Spanned<u32>>,
    #[serde(default)]
    off_delay_s: Option<Spanned<u32>>,
    priority: Priority,
    runbook: Option<String>,
    re_alarm_s: Option<Spanned<u32>>,
    shelve_max_s: Option<Spanned<u32>>,
}

/// Reads files, given by name and text. A rule of a later file takes the place of one of the same id in a file marked as
/// built in; `enabled = false` takes it away.
///
/// # Errors
/// Every problem found, by file and line.
pub fn read(files: &[(&str, &str)], built_in: &[(&str, &str)]) -> Result<Vec<Rule>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut rules: BTreeMap<String, (bool, Option<Rule>)> = BTreeMap::new();
    let mut order = Vec::new();
    let all = built_in.iter().map(|file| (true, file)).chain(files.iter().map(|file| (false, file)));
    for (is_built_in, (name, text)) in all {
        let source = Source { name, text };
        let raw: RawFile = match toml::from_str(text) {
            Ok(raw) => raw,
            Err(error) => {
                problems.push(source.unreadable(&error));
                continue;
            }
        };
        for rule in raw.rule {
            let (span, id) = (rule.get_ref().id.span(), rule.get_ref().id.get_ref().clone());
            let enabled = rule.get_ref().enabled.unwrap_or(true);
            let before = problems.len();
            let checked = check(&source, rule, &mut problems);
            if problems.len() > before {
                continue;
            }
            match rules.get(&id) {
                Some((false, _)) => {
                    problems.push(source.problem(&span, format!("rule `{id}` is there twice"), "rename one of the two"));
                    continue;
                }
                Some((true, _)) => {}
                None => order.push(id.clone()),
            }
            rules.insert(id, (is_built_in, checked.filter(|_| enabled)));
        }
    }
    if order.len() > RULES_MAX {
        let (name, _) = files.last().or(built_in.last()).copied().unwrap_or_default();
        let source = Source { name, text: "" };
        problems.push(source.problem(&(0..0), format!("there are {} rules, {RULES_MAX} at most", order.len()), "join rules by patterns"));
    }
    if problems.is_empty() {
        return Ok(order.iter().filter_map(|id| rules.remove(id)?.1).collect());
    }
    problems.sort();
    Err(problems)
}

fn check(source: &Source<'_>, rule: Spanned<RawRule>, problems: &mut Vec<Problem>) -> Option<Rule> {
    let whole = rule.span();
    let raw = rule.into_inner();
    let mut say = |span: &Range<usize>, message: String, help: &str| problems.push(source.problem(span, message, help));
    let id = raw.id.get_ref();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    if id.is_empty() || id.len() > ID_LENGTH_MAX || !id.chars().all(plain) {
        say(&raw.id.span(), format!("`{id}` is no id"), "use 1 to 64 small letters, digits, `-`, `_` and `.`");
    }
    if let Some(name) = raw.alertname.as_ref().filter(|name| name.get_ref().trim().is_empty()) {
        say(&name.span(), "the name is empty".into(), "leave it out: then it is the id");
    }
    for (title, language) in [(&raw.title.zh, "zh"), (&raw.title.en, "en")] {
        if title.trim().is_empty() {
            say(&whole, format!("`title.{language}` is empty"), "say in a few words what is wrong when this alarm comes");
        }
    }
    for pattern in raw.points.iter().chain(&raw.devices).filter(|pattern| pattern.get_ref().is_empty()) {
        say(&pattern.span(), "a pattern is empty: it fits nothing".into(), "write an id, with `*` for any text");
    }
    let condition = condition(&raw, &whole, &mut say);
    let is_limit = matches!(condition, Some(Condition::Above(_) | Condition::Below(_)));
    match (&raw.unit, is_limit) {
        (None, true) => {
            say(&whole, "a limit needs its `unit`".into(), "write the unit of the points, as `parkgate check` and /api/v1/points name it")
        }
        (Some(unit), false) => say(&unit.span(), "`unit` goes with `above` or `below` only".into(), "take it out"),
        _ => {}
    }
    if let Some(deadband) = &raw.deadband {
        if !is_limit {
            say(&deadband.span(), "`deadband` goes with `above` or `below` only".into(), "take it out");
        } else if deadband.get_ref().is_negative() {
            say(&deadband.span(), "a deadband is not below 0".into(), "write how far back beyond the limit a value must go");
        }
    }
    let is_device = matches!(&condition, Some(condition) if condition.subject() != super::Subject::Point);
    if is_device && !(raw.points.is_empty() && raw.quantity.is_empty() && raw.role.is_empty()) {
        say(&whole, "this condition looks at devices".into(), "select them by `devices`, `medium` and `enterprise`");
    }
    let mut seconds = |given: &Option<Spanned<u32>>, default: u32| {
        if let Some(given) = given.as_ref().filter(|given| *given.get_ref() > SECONDS_MAX) {
            say(&given.span(), format!("{} s is longer than 30 days", given.get_ref()), "write at most 2592000");
        }
        i64::from(given.as_ref().map_or(default, |given| *given.get_ref())).saturating_mul(1_000)
    };
    let (on_delay_ms, off_delay_ms) = (seconds(&raw.on_delay_s, 0), seconds(&raw.off_delay_s, 0));
    let re_alarm_ms = raw.re_alarm_s.is_some().then(|| seconds(&raw.re_alarm_s, 0)).filter(|milliseconds| *milliseconds > 0);
    let shelve_max_ms = seconds(&raw.shelve_max_s, SHELVE_MAX_S);
    let strings = |list: Vec<Spanned<String>>| list.into_iter().map(Spanned::into_inner).collect();
    let id = raw.id.into_inner();
    Some(Rule {
        alertname: raw.alertname.map_or_else(|| id.clone(), Spanned::into_inner),
        id,
        title: raw.title,
        select: Select {
            points: strings(raw.points),
            devices: strings(raw.devices),
            quantity: raw.quantity,
            medium: raw.medium,
            enterprise: raw.enterprise,
            role: raw.role,
        },
        condition: condition?,
        unit: raw.unit.map(Spanned::into_inner),
        deadband: raw.deadband.map(Spanned::into_inner).unwrap_or_default(),
        on_delay_ms,
        off_delay_ms,
        priority: raw.priority,
        runbook: raw.runbook.filter(|text| !text.trim().is_empty()),
        re_alarm_ms,
        shelve_max_ms,
    })
}

/// The one condition of a rule.
fn condition(raw: &RawRule, whole: &Range<usize>, say: &mut impl FnMut(&Range<usize>, String, &str)) -> Option<Condition> {
    let milliseconds = |seconds: &u32| i64::from(*seconds).saturating_mul(1_000);
    let given: Vec<(&str, Range<usize>, Condition)> = [
        raw.above.as_ref().map(|it| ("above", it.span(), Condition::Above(it.get_ref().clone()))),
        raw.below.as_ref().map(|it| ("below", it.span(), Condition::Below(it.get_ref().clone()))),
        raw.state_is.as_ref().map(|it| ("state_is", it.span(), Condition::StateIs(it.get_ref().clone()))),
        raw.silent_over_s.as_ref().map(|it| ("silent_over_s", it.span(), Condition::SilentOver(milliseconds(it.get_ref())))),
        raw.clock_off_over_s.as_ref().map(|it| ("clock_off_over_s", it.span(), Condition::ClockOffOver(milliseconds(it.get_ref())))),
        raw.always.as_ref().filter(|it| *it.get_ref()).map(|it| ("always", it.span(), Condition::Always)),
    ]
    .into_iter()
    .flatten()
    .collect();
    let known = "one of `above`, `below`, `state_is`, `silent_over_s`, `clock_off_over_s`, `always`";
    if let [(one, ..), (other, span, _), ..] = given.as_slice() {
        say(span, format!("`{one}` and `{other}` are two conditions"), "make two rules of it");
        return None;
    }
    let Some((name, span, condition)) = given.into_iter().next() else {
        say(whole, "the rule has no condition".into(), &format!("add {known}"));
        return None;
    };
    match &condition {
        Condition::StateIs(codes) if codes.is_empty() => say(&span, "no state is named".into(), "write the codes, such as `[2, 3]`"),
        Condition::SilentOver(0) | Condition::ClockOffOver(0) => say(&span, format!("`{name}` is 0"), "write seconds"),
        Condition::SilentOver(ms) | Condition::ClockOffOver(ms) if *ms > i64::from(SECONDS_MAX).saturating_mul(1_000) => {
            say(&span, format!("`{name}` is longer than 30 days"), "write at most 2592000");
        }
        _ => return Some(condition),
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alarm::DEFAULTS;

    fn told(text: &str) -> String {
        match read(&[("a.toml", text)], &[]) {
            Ok(rules) => format!("{} rules\n", rules.len()),
            Err(problems) => problems.iter().map(|problem| format!("{problem}\n")).collect(),
        }
    }

    #[test]
    fn what_comes_with_the_program_is_fine() {
        let rules = read(&[], &[DEFAULTS]).unwrap_or_else(|problems| panic!("{problems:?}"));
        let ids: Vec<(&str, &str)> = rules.iter().map(|rule| (rule.id.as_str(), rule.alertname.as_str())).collect();
        assert_eq!(ids, [("watchdog", "Watchdog"), ("device-silent", "DeviceSilent"), ("device-clock-wrong", "DeviceClockWrong")]);
    }

    #[test]
    fn a_rule_is_read_with_all_it_says() {
        let text = r#"
[[rule]]
id = "so2"
title = { zh = "二氧化硫高", en = "SO2 high" }
points = ["food/*/so2"]
above = 35.5
unit = "mg/m3"
deadband = "0.5"
on_delay_s = 60
priority = "high"
re_alarm_s = 600
"#;
        let rules = read(&[("a.toml", text)], &[]).unwrap();
        let rule = &rules[0];
        assert_eq!(rule.condition, Condition::Above("35.5".parse().unwrap()));
        assert_eq!((rule.alertname.as_str(), rule.on_delay_ms, rule.off_delay_ms, rule.re_alarm_ms), ("so2", 60_000, 0, Some(600_000)));
        assert_eq!((rule.shelve_max_ms, rule.deadband.to_string().as_str(), rule.priority.severity()), (28_800_000, "0.5", "error"));
    }

    #[test]
    fn a_file_of_the_park_outweighs_what_is_built_in() {
        let own = "[[rule]]\nid = \"device-silent\"\ntitle = { zh = \"设备\", en = \"own\" }\nsilent_over_s = 60\npriority = \"low\"\n";
        let rules = read(&[("own.toml", own)], &[DEFAULTS]).unwrap();
        assert_eq!(rules.iter().map(|rule| rule.title.en.as_str()).filter(|title| *title == "own").count(), 1);
        assert_eq!(rules.len(), 3);
        let off = own.replace("priority", "enabled = false\npriority");
        assert_eq!(read(&[("own.toml", &off)], &[DEFAULTS]).unwrap().len(), 2);
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let text = r#"[[rule]]
id = "Two words"
title = { zh = "", en = "x" }
above = 3
below = 2
priority = "high"

[[rule]]
id = "b"
title = { zh = "b", en = "b" }
priority = "low"

[[rule]]
id = "c"
title = { zh = "c", en = "c" }
above = 3
deadband = -1
priority = "low"

[[rule]]
id = "d"
title = { zh = "d", en = "d" }
silent_over_s = 60
quantity = ["x"]
unit = "kW"
on_delay_s = 9999999
priority = "low"

[[rule]]
id = "e"
title = { zh = "e", en = "e" }
state_is = [1]
priority = "low"

[[rule]]
id = "e"
title = { zh = "e", en = "e" }
state_is = []
priority = "low"

[[rule]]
id = "e"
title = { zh = "e", en = "e" }
state_is = [2]
priority = "low"
"#;
        expect_test::expect![[r#"
            a.toml:1:1: `title.zh` is empty; say in a few words what is wrong when this alarm comes
            a.toml:2:6: `Two words` is no id; use 1 to 64 small letters, digits, `-`, `_` and `.`
            a.toml:5:9: `above` and `below` are two conditions; make two rules of it
            a.toml:8:1: the rule has no condition; add one of `above`, `below`, `state_is`, `silent_over_s`, `clock_off_over_s`, `always`
            a.toml:13:1: a limit needs its `unit`; write the unit of the points, as `parkgate check` and /api/v1/points name it
            a.toml:17:12: a deadband is not below 0; write how far back beyond the limit a value must go
            a.toml:20:1: this condition looks at devices; select them by `devices`, `medium` and `enterprise`
            a.toml:25:8: `unit` goes with `above` or `below` only; take it out
            a.toml:26:14: 9999999 s is longer than 30 days; write at most 2592000
            a.toml:38:12: no state is named; write the codes, such as `[2, 3]`
            a.toml:42:6: rule `e` is there twice; rename one of the two
        "#]]
        .assert_eq(&told(text));
        let unknown = told("[[rule]]\nid = \"a\"\nlimt = 3\n");
        assert!(unknown.starts_with("a.toml:3:1: unknown field `limt`, expected one of `id`"), "{unknown}");
        assert!(told("[[rule]\n").starts_with("a.toml:1:"), "{}", told("[[rule]\n"));
    }
}
