//! R2: which order on energy review counts, which level reviews, and whether an opinion is needed before construction.
//!
//! The order in force on the filing date counts, both ends of its period included; the production date plays no part.
//! Exempt only when each value is strictly below its threshold. Whether feedstock counts in the thresholds was not
//! verified; they are compared with the total before feedstock and certificates are taken off (program).

use serde::Serialize;

use super::super::case::{Case, plain, tce};
use super::super::reason::{Effect, Finding, Reason, Rule};
use super::super::tables::Order;
use crate::period::Day;

/// Who reviews.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Nobody.
    Exempt,
    /// The local authority.
    Local,
    /// The province.
    Provincial,
}

impl Level {
    /// Its name in answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exempt => "exempt",
            Self::Local => "local",
            Self::Provincial => "provincial",
        }
    }
}

/// The order that counts on a day.
pub fn order<'a>(case: &Case<'a>, on: Day) -> Option<&'a Order> {
    case.tables.orders.iter().find(|order| order.counts(on))
}

/// Order and level of a project; `None` when there is no order or a figure is missing.
pub fn level<'a>(case: &Case<'a>) -> Option<(&'a Order, Level)> {
    let order = order(case, case.on()?)?;
    let total = case.total_tce()?;
    let is_below_kwh = match &order.exempt_below_kWh {
        Some(threshold) => case.electricity_kwh()? < *threshold,
        None => true,
    };
    let is_below_coal = match &order.exempt_below_coal_t {
        Some(threshold) => case.coal_t()? < *threshold,
        None => true,
    };
    let level = if total < order.exempt_below_tce && is_below_kwh && is_below_coal {
        Level::Exempt
    } else if total >= order.provincial_from_tce {
        Level::Provincial
    } else {
        Level::Local
    };
    Some((order, level))
}

/// R2.
pub fn test(case: &Case<'_>) -> Finding {
    let Some(on) = case.on() else { return Finding::part(Vec::new()) };
    if order(case, on).is_none() {
        let first = case.tables.orders.first().map(|order| order.from.to_string()).unwrap_or_default();
        let reason = Reason::new(Rule::R2, Effect::NotTested, "no_order")
            .says(
                format!("{on} 申报，早于 {first}，节能审查规则表没有适用的规定，未测算"),
                format!("filed on {on}, before {first}: the table has no order for that day, so this was not tested"),
            )
            .changed_by("由主管部门确认当时适用的规定", "the authority names the rule of that time")
            .basis("固定资产投资项目节能审查", "program");
        return Finding::whole(vec![reason]);
    }
    let Some((order, level)) = level(case) else { return Finding::part(Vec::new()) };
    let approved = case.project.energy_review_approved;
    if level == Level::Exempt || approved {
        return Finding::whole(Vec::new());
    }
    let total = case.total_tce().unwrap_or_default();
    let (who_zh, who_en) = if level == Level::Provincial { ("省级", "provincial") } else { ("地方", "local") };
    let mut thresholds = vec![format!("{} tce", plain(&order.exempt_below_tce))];
    thresholds.extend(order.exempt_below_kWh.as_ref().map(|kwh| format!("{} kWh", plain(kwh))));
    thresholds.extend(order.exempt_below_coal_t.as_ref().map(|coal| format!("{} t 原煤/raw coal", plain(coal))));
    let below = thresholds.join(", ");
    let mark = match (&order.provincial_mark, level) {
        (Some(mark), Level::Provincial | Level::Local) => format!("{}; provincial threshold {mark}", order.mark),
        _ => order.mark.clone(),
    };
    let mut reason = Reason::new(Rule::R2, Effect::Conditional, "energy_review_needed")
        .says(
            format!("年综合能耗 {} tce（当量值），须在开工前取得{who_zh}节能审查意见（{}）", tce(&total), order.id),
            format!(
                "{} tce a year (equivalent value): a {who_en} energy review opinion is needed before construction ({})",
                tce(&total),
                order.id
            ),
        )
        .changed_by(
            format!("取得节能审查意见；或各项均严格低于免审限值（{below}）"),
            format!("an approved energy review; or every value strictly below what is exempt ({below})"),
        )
        .number("total_tce", tce(&total))
        .number("exempt_below_tce", plain(&order.exempt_below_tce))
        .number("provincial_from_tce", plain(&order.provincial_from_tce))
        .basis(&order.zh, mark);
    if let (Some(threshold), Some(kwh)) = (&order.exempt_below_kWh, case.electricity_kwh()) {
        reason = reason.number("electricity_kWh", plain(&kwh)).number("exempt_below_kWh", plain(threshold));
    }
    if let (Some(threshold), Some(coal)) = (&order.exempt_below_coal_t, case.coal_t()) {
        reason = reason.number("coal_t", plain(&coal)).number("exempt_below_coal_t", plain(threshold));
    }
    Finding::whole(vec![reason])
}
