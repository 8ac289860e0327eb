//! A review as it is shown: one JSON object, figures as texts, rounded once (GB/T 8170, half to even): tce 3 decimals, t of
//! pollutants 2, land values and ratios 4. What is null is not known or does not apply.

use serde::Serialize;

use super::Review;
use super::case::{Case, land, plain, tce};
use super::reason::{Decision, Reason, Rule, Text};
use super::rule::energy_review::{self, Level};
use super::rule::{capacity, complete, land as land_rule, pollutant};
use crate::Number;
use crate::period::Day;

/// What every answer says of itself.
const ADVICE_ZH: &str = "项目准入测算表（参考）：仅供会商参考，不构成审批意见";
/// See [`ADVICE_ZH`].
const ADVICE_EN: &str = "admission worksheet (for reference): advice to the meeting, not an approval";

/// A review as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// Name of the project.
    pub project: String,
    /// Filing date.
    pub applied_on: Option<Day>,
    /// `pass`, `conditional`, `reject` or `incomplete`.
    pub decision: Decision,
    /// The same in Chinese.
    pub decision_zh: &'static str,
    /// That it is advice.
    pub advice: Text,
    /// Total energy, tce a year.
    pub total_tce: Option<String>,
    /// Energy that the quota has to give, tce a year.
    pub controlled_tce: Option<String>,
    /// Headroom of the quota before this project, tce.
    pub headroom_tce: Option<String>,
    /// Shortfall of the quota, tce, where there is one.
    pub shortfall_tce: Option<String>,
    /// Order and level of the energy review; null when no order counts or the energy is not known.
    pub energy_review: Option<EnergyReview>,
    /// Whether the industry is one of the park's leading ones.
    pub leading_industry: Option<bool>,
    /// Indicators of land with a threshold.
    pub land: Vec<LandRow>,
    /// What is needed of each pollutant.
    pub pollutants: Vec<PollutantRow>,
    /// Demand beside capacity.
    pub capacity: Vec<CapacityRow>,
    /// What each rule came to.
    pub rules: Vec<RuleRow>,
    /// Everything that stands against it or was not tested.
    pub reasons: Vec<Reason>,
    /// Names of what is missing.
    pub missing: Vec<String>,
    /// What looks odd and changed nothing.
    pub notes: Vec<Text>,
}

/// Energy review of the project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EnergyReview {
    /// Id of the order in force on the filing date.
    pub order: String,
    /// Its title.
    pub order_zh: String,
    /// `exempt`, `local` or `provincial`.
    pub level: Level,
    /// Whether it is approved.
    pub approved: bool,
    /// How sure the row of the order is.
    pub mark: String,
}

/// An indicator of land.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LandRow {
    /// Name, as in the land table.
    pub indicator: &'static str,
    /// Value, 4 decimals.
    pub value: String,
    /// Threshold.
    pub threshold: String,
    /// Value / threshold, 4 decimals.
    pub ratio: String,
}

/// What is needed of a pollutant, t a year.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PollutantRow {
    /// Pollutant.
    pub pollutant: &'static str,
    /// Increment.
    pub increment_t: String,
    /// Ratio.
    pub ratio: String,
    /// Why this ratio.
    pub why: Text,
    /// How sure the ratio is.
    pub ratio_mark: String,
    /// Increment x ratio.
    pub need_t: String,
    /// Balance of the ledger before this project.
    pub balance_t: Option<String>,
    /// Own verified reduction.
    pub own_verified_reduction_t: String,
    /// Both together.
    pub available_t: Option<String>,
    /// What is short, where something is.
    pub shortage_t: Option<String>,
}

/// Demand beside capacity, in the unit of the resource's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CapacityRow {
    /// Resource.
    pub resource: &'static str,
    /// Peak demand.
    pub demand: String,
    /// Spare capacity.
    pub spare: String,
    /// What expansions add by the start of production.
    pub expansions: Option<String>,
}

/// What a rule came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleRow {
    /// Rule.
    pub rule: Rule,
    /// What it is about.
    pub title: Text,
    /// `pass`, `conditional`, `reject`, `incomplete` or `not_tested`.
    pub outcome: &'static str,
}

impl Answer {
    /// A review of a case under the name of its project.
    pub fn new(name: &str, case: &Case<'_>, review: &Review) -> Self {
        let shown = |number: &Option<Number>| number.as_ref().map(tce);
        let level = energy_review::level(case).map(|(order, level)| EnergyReview {
            order: order.id.clone(),
            order_zh: order.zh.clone(),
            level,
            approved: case.project.energy_review_approved,
            mark: order.mark.clone(),
        });
        let leading = || Some(case.park.leading_industries.as_ref()?.contains(case.project.industry.given()?));
        let rule = |(rule, finding): &(Rule, super::reason::Finding)| {
            let (zh, en) = rule.title();
            RuleRow { rule: *rule, title: Text::new(zh, en), outcome: finding.outcome() }
        };
        Self {
            project: name.to_owned(),
            applied_on: case.on(),
            decision: review.decision,
            decision_zh: review.decision.zh(),
            advice: Text::new(ADVICE_ZH, ADVICE_EN),
            total_tce: shown(&case.total_tce()),
            controlled_tce: shown(&case.controlled_tce()),
            headroom_tce: shown(&case.park.quota_headroom_tce),
            shortfall_tce: shown(&case.shortfall_tce()),
            energy_review: level,
            leading_industry: leading(),
            land: land_rule::figures(case).0.iter().map(LandRow::new).collect(),
            pollutants: pollutant::needs(case).iter().map(|need| PollutantRow::new(case, need)).collect(),
            capacity: capacity::demands(case).iter().map(CapacityRow::new).collect(),
            rules: review.findings.iter().map(rule).collect(),
            reasons: review.reasons().cloned().collect(),
            missing: complete::missing(case),
            notes: notes(case),
        }
    }
}

impl LandRow {
    fn new(figure: &land_rule::Figure) -> Self {
        Self { indicator: figure.indicator, value: land(&figure.value), threshold: plain(&figure.threshold), ratio: land(&figure.ratio) }
    }
}

impl PollutantRow {
    fn new(case: &Case<'_>, need: &pollutant::Need) -> Self {
        let (zh, en) = need.why();
        let tonnes = |number: &Number| case.tonnes(number);
        Self {
            pollutant: need.pollutant.name(),
            increment_t: plain(&need.increment),
            ratio: plain(&need.ratio),
            why: Text::new(zh, en),
            ratio_mark: need.mark.clone(),
            need_t: tonnes(&need.need),
            balance_t: need.balance.as_ref().map(tonnes),
            own_verified_reduction_t: tonnes(&need.own),
            available_t: need.available().as_ref().map(tonnes),
            shortage_t: need.shortage().as_ref().map(tonnes),
        }
    }
}

impl CapacityRow {
    fn new(demand: &capacity::Demand) -> Self {
        Self {
            resource: demand.resource.name(),
            demand: plain(&demand.demand),
            spare: plain(&demand.spare),
            expansions: demand.added.as_ref().map(plain),
        }
    }
}

/// What is possible and yet looks like a slip.
fn notes(case: &Case<'_>) -> Vec<Text> {
    let project = case.project;
    let mut notes = Vec::new();
    if let Some(share) = project.rd_ratio.given().filter(|share| **share > Number::one()) {
        let share = plain(share);
        notes.push(Text::new(
            format!("研发投入强度 {share} 大于 1：应填小数（2.5% 填 0.025）"),
            format!("rd_ratio {share} is above 1: a fraction is meant, 0.025 for 2.5 %"),
        ));
    }
    for (kind, part) in project.feedstock.given().into_iter().flatten() {
        let used = project.energy.given().and_then(|energy| energy.get(kind)).and_then(super::read::Field::given);
        if let Some(part) = part.given().filter(|part| **part > used.cloned().unwrap_or_default()) {
            let part = plain(part);
            notes.push(Text::new(
                format!("原料用能 {kind} {part} 大于同种能源用量"),
                format!("feedstock.{kind} {part} is more than what is used of it"),
            ));
        }
    }
    if let (Some(certified), Some(used)) = (project.certified_renewable.given(), case.electricity_kwh())
        && *certified > used
    {
        let (certified, used) = (plain(certified), plain(&used));
        notes.push(Text::new(
            format!("绿证电量 {certified} kWh 大于用电量 {used} kWh"),
            format!("certified_renewable_kWh {certified} is more than the electricity used, {used} kWh"),
        ));
    }
    notes
}
