//! Limits and marks that people entered: the forms of their entries, what holds after all of them, and entering a new one.
//!
//! A limit or mark is never changed: a further entry ends it or withdraws it. Its id is made of the number of the entry
//! that began it, so it is permanent and nobody has to think of one.

use std::collections::BTreeMap;

use parkgate_collector::model::UtcMillis;
use parkgate_rules::Number;
use parkgate_rules::emission::limit::{AppliesTo, Bound};
use parkgate_rules::emission::outlet::FactorUnit;
use parkgate_rules::emission::time::UtcMillis as Time;
use parkgate_rules::emission::{Averaging, Letter, Limit, Mark, Outlet};
use serde::{Deserialize, Serialize};

use super::plan::Plan;
use super::settings::CHANNELS;
use super::span::to_core;
use crate::store::{Entry, EntryKind, Facts, NewEntry, StoreError};

/// Longest text of an entry.
const TEXT_MAX: usize = 1000;

/// A limit as it is entered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewLimit {
    /// Id of the outlet.
    pub outlet: String,
    /// Id of the factor.
    pub factor: String,
    /// `hour`, `day` or `month`: the period whose average it names. No other is judged by it.
    #[schema(value_type = String)]
    pub averaging: Averaging,
    /// The value, a decimal. A figure equal to it complies.
    #[schema(value_type = String)]
    pub value: Number,
    /// `mg/m3`, `mg/L`, `pH`, or `kg/h` for a mass rate; the factor's own unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// `converted` (折算; the concentration where nothing is converted), `as_is` or `mass_rate`; `converted` unless given.
    #[serde(default = "converted")]
    #[schema(value_type = Option<String>)]
    pub applies_to: AppliesTo,
    /// `upper`, or `lower` as the 6 of pH 6 to 9; `upper` unless given.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub bound: Bound,
    /// Document and clause: permit number and table, or standard, edition, table.
    pub clause: String,
    /// In force for periods that begin then or later.
    #[schema(value_type = String, format = DateTime)]
    pub valid_from: Time,
    /// In force for periods that begin before; until it is ended unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub valid_to: Option<Time>,
}

fn converted() -> AppliesTo {
    AppliesTo::Converted
}

/// A mark as it is entered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMark {
    /// Id of the outlet.
    pub outlet: String,
    /// Id of the factor, or `o2`, `temperature`, `pressure`, `humidity`, `flow`; all of them unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factor: Option<String>,
    /// Letter of HJ 212: F stopped, D fault, C calibration, M maintenance, T over range, B link lost, S set by hand.
    #[schema(value_type = String)]
    pub letter: Letter,
    /// The condition in words: 启炉, 停炉, 校准, 故障 and so on.
    #[serde(default)]
    pub condition: String,
    /// From when.
    #[schema(value_type = String, format = DateTime)]
    pub from: Time,
    /// Until when; until it is ended unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub to: Option<Time>,
}

/// The body of an entry about a limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum LimitStep {
    /// A new one.
    Add(NewLimit),
    /// One that ends: it is in force for periods that begin before `valid_to`.
    End {
        /// Its id.
        limit: String,
        /// From when on it is not in force.
        valid_to: Time,
    },
}

/// The body of an entry about a mark.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum MarkStep {
    /// A new one.
    Add(NewMark),
    /// One that ends.
    End {
        /// Its id.
        mark: String,
        /// Until when it holds.
        to: Time,
    },
    /// One that was set in error: it holds no more, and never did.
    Withdraw {
        /// Its id.
        mark: String,
    },
}

/// A limit with what is known of its entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeldLimit {
    /// The limit.
    #[serde(flatten)]
    pub limit: Limit,
    /// The paper that the entry names.
    pub document: Option<String>,
    /// Who ended it, if anybody did, and when they said so.
    pub ended_by: Option<Said>,
}

/// A mark with what is known of its entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeldMark {
    /// The mark.
    #[serde(flatten)]
    pub mark: Mark,
    /// The paper that the entry names.
    pub document: Option<String>,
    /// Who ended it, if anybody did.
    pub ended_by: Option<Said>,
    /// Who withdrew it, if anybody did: it does not hold.
    pub withdrawn_by: Option<Said>,
}

/// Who said something, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Said {
    /// Who.
    pub author: String,
    /// When.
    pub time: Time,
    /// The paper it rests on.
    pub document: Option<String>,
}

impl Said {
    fn of(entry: &Entry) -> Self {
        Self { author: entry.author.clone(), time: to_core(entry.time), document: entry.document.clone() }
    }
}

/// What an entry changed: figures or judgements of an outlet in a range of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touched {
    /// Which outlet.
    pub outlet: String,
    /// What was entered.
    pub what: What,
    /// From when.
    pub from: UtcMillis,
    /// Until when; the end of time for what is open.
    pub to: UtcMillis,
}

/// What was entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Something about the mark of an id.
    Mark(String),
    /// Something about a limit of a factor's averages.
    Limit(String, Averaging),
}

/// All limits and marks, as the entries up to some number have them.
#[derive(Clone, Debug, Default)]
pub struct Entered {
    limits: BTreeMap<i64, HeldLimit>,
    marks: BTreeMap<i64, HeldMark>,
    /// The last entries taken.
    seen: Seen,
}

/// Up to which entries something was taken in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The last about a limit.
    pub limits: i64,
    /// The last about a mark.
    pub marks: i64,
}

impl Entered {
    /// Takes further entries; what they changed, each with the number of its entry.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn refresh(&mut self, facts: &Facts) -> Result<Vec<(i64, Touched)>, StoreError> {
        let mut touched = Vec::new();
        if facts.last_entry(EntryKind::Limit)? > self.seen.limits {
            for entry in facts.entries(EntryKind::Limit, self.seen.limits)? {
                self.seen.limits = entry.id;
                touched.extend(self.take_limit(&entry).map(|what| (entry.id, what)));
            }
        }
        if facts.last_entry(EntryKind::Mark)? > self.seen.marks {
            for entry in facts.entries(EntryKind::Mark, self.seen.marks)? {
                self.seen.marks = entry.id;
                touched.extend(self.take_mark(&entry).map(|what| (entry.id, what)));
            }
        }
        Ok(touched)
    }

    /// Up to which entries it goes.
    pub fn seen(&self) -> Seen {
        self.seen
    }

    /// All limits, in order of their entries.
    pub fn limits(&self) -> impl Iterator<Item = &HeldLimit> {
        self.limits.values()
    }

    /// All marks, in order of their entries, withdrawn ones too.
    pub fn marks(&self) -> impl Iterator<Item = &HeldMark> {
        self.marks.values()
    }

    /// Limits of an outlet, as the core takes them.
    pub fn limits_of(&self, outlet: &str) -> Vec<Limit> {
        self.limits.values().map(|held| &held.limit).filter(|limit| limit.outlet == outlet).cloned().collect()
    }

    /// Marks of an outlet that hold, as the core takes them.
    pub fn marks_of(&self, outlet: &str) -> Vec<Mark> {
        let hold = self.marks.values().filter(|held| held.withdrawn_by.is_none());
        hold.map(|held| &held.mark).filter(|mark| mark.outlet == outlet).cloned().collect()
    }

    fn take_limit(&mut self, entry: &Entry) -> Option<Touched> {
        match read::<LimitStep>(entry)? {
            LimitStep::Add(new) => {
                let limit = Limit {
                    id: limit_id(entry.id),
                    unit: new.unit.unwrap_or_default(),
                    outlet: new.outlet,
                    factor: new.factor,
                    averaging: new.averaging,
                    value: new.value,
                    applies_to: new.applies_to,
                    bound: new.bound,
                    clause: new.clause,
                    valid_from: new.valid_from,
                    valid_to: new.valid_to,
                    author: entry.author.clone(),
                    set_at: Some(to_core(entry.time)),
                };
                let touched = touched_by(&limit, limit.valid_from, limit.valid_to);
                self.limits.insert(entry.id, HeldLimit { limit, document: entry.document.clone(), ended_by: None });
                Some(touched)
            }
            LimitStep::End { limit, valid_to } => {
                let held = self.limits.get_mut(&number_of(&limit, LIMIT)?)?;
                let before = held.limit.valid_to.replace(valid_to);
                held.ended_by = Some(Said::of(entry));
                let (from, to) = between(before, Some(valid_to));
                Some(touched_by(&held.limit, from, to))
            }
        }
    }

    fn take_mark(&mut self, entry: &Entry) -> Option<Touched> {
        match read::<MarkStep>(entry)? {
            MarkStep::Add(new) => {
                let mark = Mark {
                    id: mark_id(entry.id),
                    outlet: new.outlet,
                    factor: new.factor,
                    letter: new.letter,
                    condition: new.condition,
                    from: new.from,
                    to: new.to,
                    author: entry.author.clone(),
                    set_at: to_core(entry.time),
                };
                let touched = marked(&mark, mark.from, mark.to);
                let held = HeldMark { mark, document: entry.document.clone(), ended_by: None, withdrawn_by: None };
                self.marks.insert(entry.id, held);
                Some(touched)
            }
            MarkStep::End { mark, to } => {
                let held = self.marks.get_mut(&number_of(&mark, MARK)?)?;
                let before = held.mark.to.replace(to);
                held.ended_by = Some(Said::of(entry));
                let (from, to) = between(before, Some(to));
                Some(marked(&held.mark, from, to))
            }
            MarkStep::Withdraw { mark } => {
                let held = self.marks.get_mut(&number_of(&mark, MARK)?)?;
                held.withdrawn_by.get_or_insert_with(|| Said::of(entry));
                Some(marked(&held.mark, held.mark.from, held.mark.to))
            }
        }
    }
}

/// The range that a moved end lets in or out.
fn between(one: Option<Time>, other: Option<Time>) -> (Time, Option<Time>) {
    match (one, other) {
        (Some(one), Some(other)) => (one.min(other), Some(one.max(other))),
        (Some(end), None) | (None, Some(end)) => (end, None),
        (None, None) => (Time(i64::MAX), None),
    }
}

fn touched_by(limit: &Limit, from: Time, to: Option<Time>) -> Touched {
    touched(&limit.outlet, What::Limit(limit.factor.clone(), limit.averaging), from, to)
}

fn marked(mark: &Mark, from: Time, to: Option<Time>) -> Touched {
    touched(&mark.outlet, What::Mark(mark.id.clone()), from, to)
}

fn touched(outlet: &str, what: What, from: Time, to: Option<Time>) -> Touched {
    Touched { outlet: outlet.to_owned(), what, from: UtcMillis(from.0), to: UtcMillis(to.map_or(i64::MAX, |to| to.0)) }
}

fn read<T: serde::de::DeserializeOwned>(entry: &Entry) -> Option<T> {
    serde_json::from_value(entry.body.clone())
        .inspect_err(|error| tracing::error!(entry = entry.id, error = %error, "entry cannot be understood and is left out"))
        .ok()
}

const LIMIT: &str = "limit-";
const MARK: &str = "mark-";

/// The id of the limit that an entry began.
fn limit_id(entry: i64) -> String {
    format!("{LIMIT}{entry}")
}

/// The id of the mark that an entry began.
fn mark_id(entry: i64) -> String {
    format!("{MARK}{entry}")
}

/// The entry that began what has this id.
fn number_of(id: &str, prefix: &str) -> Option<i64> {
    id.strip_prefix(prefix)?.parse().ok()
}

/// Why something cannot be entered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}; {help}")]
pub struct Refusal {
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub help: String,
}

fn refuse<T>(what: impl Into<String>, help: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { what: what.into(), help: help.into() })
}

/// Who enters something, and the paper it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// Who.
    pub name: String,
    /// The paper.
    pub document: Option<String>,
}

/// Enters a step of a limit; the limit as it is then.
///
/// # Errors
/// The outer one when the facts cannot be written, the inner one when it is refused.
pub fn enter_limit(
    facts: &Facts,
    plan: &Plan,
    mut step: LimitStep,
    author: &Author,
    now: UtcMillis,
) -> Result<Result<HeldLimit, Refusal>, StoreError> {
    let entered = facts.append_checked(EntryKind::Limit, now, |known| {
        let mut held = Entered::default();
        known.iter().for_each(|entry| drop(held.take_limit(entry)));
        let outlet = match &mut step {
            LimitStep::Add(new) => {
                check_limit(plan, new)?;
                let same = |held: &&HeldLimit| is_same(&held.limit, new);
                if let Some(held) = held.limits().find(same) {
                    return refuse(
                        format!("{} says the same already", held.limit.id),
                        "end that one first, or enter another clause or value",
                    );
                }
                new.outlet.clone()
            }
            LimitStep::End { limit, valid_to } => {
                let Some(held) = number_of(limit, LIMIT).and_then(|number| held.limits.get(&number)) else {
                    return refuse(format!("there is no limit `{limit}`"), "`parkgate limits list` shows all");
                };
                if *valid_to < held.limit.valid_from {
                    return refuse("it would end before it begins", format!("{limit} is in force from {}", held.limit.valid_from));
                }
                held.limit.outlet.clone()
            }
        };
        check_author(author)?;
        Ok(vec![new_entry(EntryKind::Limit, outlet, &step, author)?])
    })?;
    then(
        entered,
        facts,
        |entered, step_of| match step_of {
            LimitStep::Add(_) => entered.limits.values().next_back().cloned(),
            LimitStep::End { limit, .. } => entered.limits.get(&number_of(limit, LIMIT)?).cloned(),
        },
        &step,
    )
}

/// Enters a step of a mark; the mark as it is then.
///
/// # Errors
/// As [`enter_limit`].
pub fn enter_mark(
    facts: &Facts,
    plan: &Plan,
    step: &MarkStep,
    author: &Author,
    now: UtcMillis,
) -> Result<Result<HeldMark, Refusal>, StoreError> {
    let entered = facts.append_checked(EntryKind::Mark, now, |known| {
        let mut held = Entered::default();
        known.iter().for_each(|entry| drop(held.take_mark(entry)));
        let find = |mark: &str| match number_of(mark, MARK).and_then(|number| held.marks.get(&number)) {
            Some(found) if found.withdrawn_by.is_none() => Ok(found),
            Some(_) => refuse(format!("{mark} is withdrawn"), "enter a new mark"),
            None => refuse(format!("there is no mark `{mark}`"), "`parkgate marks list` shows all"),
        };
        let outlet = match step {
            MarkStep::Add(new) => {
                check_mark(plan, new)?;
                let same = |held: &&HeldMark| held.withdrawn_by.is_none() && is_same_mark(&held.mark, new);
                if let Some(held) = held.marks().find(same) {
                    return refuse(format!("{} says the same already", held.mark.id), "withdraw that one first, or enter another range");
                }
                new.outlet.clone()
            }
            MarkStep::End { mark, to } => {
                let found = find(mark)?;
                if *to <= found.mark.from {
                    return refuse("it would end before it begins", format!("{mark} holds from {}; withdraw it instead", found.mark.from));
                }
                found.mark.outlet.clone()
            }
            MarkStep::Withdraw { mark } => find(mark)?.mark.outlet.clone(),
        };
        check_author(author)?;
        Ok(vec![new_entry(EntryKind::Mark, outlet, step, author)?])
    })?;
    then(
        entered,
        facts,
        |entered, step| match step {
            MarkStep::Add(_) => entered.marks.values().next_back().cloned(),
            MarkStep::End { mark, .. } | MarkStep::Withdraw { mark } => entered.marks.get(&number_of(mark, MARK)?).cloned(),
        },
        step,
    )
}

/// What holds after an entry was made.
fn then<S, T>(
    entered: Result<Vec<Entry>, Refusal>,
    facts: &Facts,
    find: impl Fn(&Entered, &S) -> Option<T>,
    step: &S,
) -> Result<Result<T, Refusal>, StoreError> {
    let entries = match entered {
        Ok(entries) => entries,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let mut all = Entered::default();
    all.refresh(facts)?;
    // Of what others entered meanwhile, nothing is told.
    let upto = entries.last().map_or(0, |entry| entry.id);
    all.limits.retain(|id, _| *id <= upto);
    all.marks.retain(|id, _| *id <= upto);
    Ok(find(&all, step).ok_or(Refusal { what: "the entry was made, but cannot be found".into(), help: "look at the list".into() }))
}

fn new_entry(kind: EntryKind, subject: String, step: &impl Serialize, author: &Author) -> Result<NewEntry, Refusal> {
    let Ok(body) = serde_json::to_value(step) else { return refuse("the entry cannot be written as JSON", "change its texts") };
    Ok(NewEntry { kind, subject, body, author: author.name.clone(), document: author.document.clone() })
}

fn check_author(author: &Author) -> Result<(), Refusal> {
    if author.document.as_ref().is_some_and(|document| document.trim().is_empty() || document.len() > TEXT_MAX) {
        return refuse("the document must have 1 to 1000 characters", "name the paper, or leave it out");
    }
    Ok(())
}

fn outlet_of<'a>(plan: &'a Plan, id: &str) -> Result<&'a Outlet, Refusal> {
    match plan.outlet(id) {
        Some(planned) => Ok(&planned.outlet),
        None => {
            let ids: Vec<&str> = plan.outlets.iter().map(|planned| planned.outlet.id.as_str()).collect();
            refuse(format!("there is no outlet `{id}`"), list("outlets are", &ids))
        }
    }
}

fn list(what: &str, ids: &[&str]) -> String {
    if ids.is_empty() { "the configuration has no [[gateway.outlet]]".into() } else { format!("{what}: {}", ids.join(", ")) }
}

fn check_limit(plan: &Plan, new: &mut NewLimit) -> Result<(), Refusal> {
    let outlet = outlet_of(plan, &new.outlet)?;
    let Some(factor) = outlet.factor(&new.factor) else {
        let ids: Vec<&str> = outlet.factors.iter().map(|factor| factor.id.as_str()).collect();
        return refuse(format!("outlet {} has no factor `{}`", outlet.id, new.factor), list("factors are", &ids));
    };
    let unit = match (new.applies_to, factor.unit) {
        (AppliesTo::MassRate, _) => "kg/h",
        (_, FactorUnit::MilligramPerCubicMetre | FactorUnit::Ppm) => "mg/m3",
        (_, FactorUnit::MilligramPerLitre) => "mg/L",
        (_, FactorUnit::Ph) => "pH",
    };
    match &new.unit {
        Some(given) if given != unit => {
            return refuse(format!("the unit must be {unit}, not {given}"), "convert the value, or leave the unit out");
        }
        _ => new.unit = Some(unit.to_owned()),
    }
    if new.applies_to == AppliesTo::MassRate && factor.unit == FactorUnit::Ph {
        return refuse("pH has no mass", "use `as_is`");
    }
    if !new.value.is_positive() {
        return refuse("the value must be above 0", "give it as a decimal");
    }
    if new.clause.trim().is_empty() || new.clause.len() > TEXT_MAX {
        return refuse(
            "the clause must have 1 to 1000 characters",
            "name document and clause: a permit and its table, or standard, edition, table",
        );
    }
    if new.valid_to.is_some_and(|to| to <= new.valid_from) {
        return refuse("it would end before it begins", "`valid_to` lies behind `valid_from`");
    }
    Ok(())
}

fn is_same(limit: &Limit, new: &NewLimit) -> bool {
    (&limit.outlet, &limit.factor, limit.averaging, limit.applies_to, limit.bound)
        == (&new.outlet, &new.factor, new.averaging, new.applies_to, new.bound)
        && (&limit.value, &limit.clause, limit.valid_from, limit.valid_to) == (&new.value, &new.clause, new.valid_from, new.valid_to)
}

fn check_mark(plan: &Plan, new: &NewMark) -> Result<(), Refusal> {
    let outlet = outlet_of(plan, &new.outlet)?;
    if let Some(factor) = &new.factor
        && outlet.factor(factor).is_none()
        && !CHANNELS.iter().any(|channel| *channel == factor && *channel != "running")
    {
        let mut ids: Vec<&str> = outlet.factors.iter().map(|factor| factor.id.as_str()).collect();
        ids.extend(CHANNELS.iter().filter(|channel| **channel != "running"));
        return refuse(format!("outlet {} has no factor `{factor}`", outlet.id), list("marks may speak of", &ids));
    }
    if new.letter == Letter::N {
        return refuse("N says nothing against a value", "letters are F, D, C, M, T, B and S");
    }
    if new.condition.len() > TEXT_MAX {
        return refuse("the condition has more than 1000 characters", "say it shorter");
    }
    if new.to.is_some_and(|to| to <= new.from) {
        return refuse("it would end before it begins", "`to` lies behind `from`");
    }
    Ok(())
}

fn is_same_mark(mark: &Mark, new: &NewMark) -> bool {
    (&mark.outlet, &mark.factor, mark.letter, &mark.condition, mark.from, mark.to)
        == (&new.outlet, &new.factor, new.letter, &new.condition, new.from, new.to)
}
