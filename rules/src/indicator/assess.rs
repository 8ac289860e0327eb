//! The yearly assessment: the targets of the province's plan beside what the park reached and what is missing.
//!
//! Targets: 四川省“5+1”重点特色园区 action plan for 2021 to 2023, which has each listed park assessed every year. They were set for
//! 2021 to 2023, and the assessment says so for any other year. The plan sets no number for energy, carbon, water or pollutants.

use schemars::JsonSchema;
use serde::Serialize;

use super::land::{growth, high_tech_share, leading_share, revenue_per_mu};
use super::result::{Leaf, Missing, Node, Status};
use super::term::{Term, label};
use super::{Asked, Engine, RULES};
use crate::Number;
use crate::period::{Period, PeriodKind};

/// Years the targets were set for.
const PLAN_YEARS: std::ops::RangeInclusive<i16> = 2021..=2023;

/// The assessment of a year.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Assessment {
    /// Year.
    pub year: Period,
    /// Where the targets come from.
    pub plan: &'static str,
    /// What to know about them.
    pub notes: Vec<&'static str>,
    /// Targets.
    pub targets: Vec<Target>,
    /// Version of the rules of computation.
    pub rules: &'static str,
}

/// A target and what was reached.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Target {
    /// T2 to T5.
    pub id: &'static str,
    /// Chinese name.
    pub zh: &'static str,
    /// English name.
    pub en: &'static str,
    /// The target as the plan has it.
    pub target: &'static str,
    /// Its number.
    pub threshold: Number,
    /// Indicator it is judged by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub indicator: Option<&'static str>,
    /// What was reached, rounded.
    pub reached: Option<String>,
    /// Unit.
    pub unit: &'static str,
    /// How to take what was reached.
    pub status: Status,
    /// Whether the target is met, by the unrounded value; none: not known.
    pub met: Option<bool>,
    /// What is missing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Missing>,
    /// The tree, when it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explain: Option<Node>,
}

/// The assessment of a year; `None` when the period is no year.
pub fn assess(engine: &Engine<'_>, year: Period) -> Option<Assessment> {
    if year.kind() != PeriodKind::Year {
        return None;
    }
    let at = engine.context(year.span(engine.index().zone()));
    let asked = Asked { engine, at, period: year };
    let per_mu = revenue_per_mu(&asked.at);
    let above = |reached: &Number, threshold: &Number| reached > threshold;
    let at_least = |reached: &Number, threshold: &Number| reached >= threshold;
    let targets = vec![
        target(
            ("T2", "主导产业营业收入占比", "leading-industry share of revenue", "> 70 %", Some("LA-09")),
            (Number::decimal(70, 2), "1", 6),
            leading_share(&asked.at),
            above,
        ),
        target(
            ("T3", "高新技术产业营业收入占比", "high-tech share of revenue", "> 25 %", Some("LA-10")),
            (Number::decimal(25, 2), "1", 6),
            high_tech_share(&asked.at),
            above,
        ),
        target(
            ("T4", "省级及以上创新平台", "innovation platforms of provincial or higher level", ">= 1", None),
            (Number::one(), "1", 0),
            platforms(&asked),
            at_least,
        ),
        target(
            ("T5", "亩均营业收入年均增长", "yearly growth of revenue per mu", "about 7 % a year", Some("LA-01")),
            (Number::decimal(7, 2), "1", 6),
            growth(&asked, &per_mu),
            at_least,
        ),
    ];
    let mut notes = vec![
        "the plan says about 7 % for the growth of revenue per mu; 7 % is compared, and it is growth against the year before",
        "the plan sets no number for energy, carbon, water or pollutants",
    ];
    if !PLAN_YEARS.contains(&year.year()) {
        notes.push("the targets were set for 2021 to 2023; for this year they are a comparison, not an obligation");
    }
    let plan = "四川省“5+1”重点特色园区培育发展三年行动计划（2021-2023年）";
    Some(Assessment { year, plan, notes, targets, rules: RULES })
}

fn platforms(asked: &Asked<'_, '_>) -> Term {
    let year = asked.period;
    match asked.engine.index().inputs.park.innovation_platforms.get(&year) {
        Some(count) => {
            let leaf = || Leaf::Input { input: format!("park.innovation_platforms.{year}") };
            asked.terms().given(
                label("省级及以上创新平台", "innovation platforms", "1"),
                count.clone(),
                asked.at.index.input(&format!("park.innovation_platforms.{year}")),
                leaf,
            )
        }
        None => Term::missing(format!("park.innovation_platforms.{year}"), "not declared"),
    }
}

type Names = (&'static str, &'static str, &'static str, &'static str, Option<&'static str>);

fn target(names: Names, number: (Number, &'static str, u32), term: Term, met: impl Fn(&Number, &Number) -> bool) -> Target {
    let (id, zh, en, target, indicator) = names;
    let (threshold, unit, decimals) = number;
    let status = term.status();
    Target {
        id,
        zh,
        en,
        target,
        indicator,
        reached: term.value.as_ref().map(|value| value.fixed(decimals)),
        unit,
        status,
        met: term.value.as_ref().map(|value| met(value, &threshold)),
        threshold,
        missing: term.missing.into_iter().chain(term.incomplete).collect(),
        explain: term.node.map(|node| *node),
    }
}
