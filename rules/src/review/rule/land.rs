//! R5: figures per mu and R&D share against the park's land table. Value / threshold of at least 1 passes, of at least 0.80
//! is conditional (一事一议), below rejects; compared unrounded, one reason per indicator. No figure of R&D counts as 0. A
//! threshold that is empty is not tested; for an industry without a row there is no rule, and this says so.
//!
//! Source: 川办发〔2021〕11号 (标准地); thresholds are the park's, e.g. 隆府办发〔2022〕58号; 0.80 is a convention of the program.

use super::super::case::{Case, land, plain};
use super::super::park::LandRow;
use super::super::reason::{Effect, Finding, Reason, Rule};
use crate::Number;

/// An indicator beside its threshold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// Name, as in the land table.
    pub indicator: &'static str,
    /// Chinese name.
    pub zh: &'static str,
    /// English name.
    pub en: &'static str,
    /// Value, 10k CNY per mu or a fraction.
    pub value: Number,
    /// Threshold.
    pub threshold: Number,
    /// Value / threshold.
    pub ratio: Number,
}

/// Thresholds of the project's industry.
pub fn row<'a>(case: &Case<'a>) -> Option<&'a LandRow> {
    case.park.land_table.as_ref()?.get(case.project.industry.given()?)
}

/// All indicators that have a value and a threshold; and whether each with a threshold has a value.
pub fn figures(case: &Case<'_>) -> (Vec<Figure>, bool) {
    let Some(row) = row(case) else { return (Vec::new(), true) };
    let project = case.project;
    let per_mu = |amount: Option<&Number>| amount?.over(project.land_mu.given()?);
    let rd_ratio = if project.rd_ratio.is_absent() { None } else { Some(project.rd_ratio.given().cloned().unwrap_or_default()) };
    let all = [
        (
            "investment_10kCNY_per_mu",
            "亩均固定资产投资",
            "fixed investment per mu",
            per_mu(project.fixed_investment.given()),
            &row.investment,
        ),
        ("output_10kCNY_per_mu", "亩均产出", "output per mu", per_mu(project.annual_output.given()), &row.output),
        ("tax_10kCNY_per_mu", "亩均税收", "tax per mu", per_mu(project.annual_tax.given()), &row.tax),
        ("rd_ratio", "研发投入强度", "R&D share", rd_ratio, &row.rd_ratio),
    ];
    let is_whole = all.iter().all(|(.., value, threshold)| threshold.is_none() || value.is_some());
    let figure = |(indicator, zh, en, value, threshold): (&'static str, _, _, Option<Number>, &Option<Number>)| {
        let (value, threshold) = (value?, threshold.clone()?);
        let ratio = value.over(&threshold)?;
        Some(Figure { indicator, zh, en, value, threshold, ratio })
    };
    (all.into_iter().filter_map(figure).collect(), is_whole)
}

/// R5.
pub fn test(case: &Case<'_>) -> Finding {
    let Some(industry) = case.project.industry.given() else { return Finding::part(Vec::new()) };
    if case.park.land_table.is_none() {
        return Finding::part(Vec::new());
    }
    let document = case.park.land_table_document.as_deref().unwrap_or("园区标准地控制指标表（川办发〔2021〕11号）");
    if row(case).is_none() {
        let reason = Reason::new(Rule::R5, Effect::NotTested, "industry_without_row")
            .says(
                format!("标准地控制指标表没有行业 {industry}，未测算"),
                format!("the land table has no row for industry {industry}, so this was not tested"),
            )
            .changed_by(
                format!("补充行业 {industry} 的控制指标，或一事一议"),
                format!("thresholds for industry {industry}, or a decision of its own"),
            )
            .basis(document, "program");
        return Finding::whole(vec![reason]);
    }
    let (figures, is_whole) = figures(case);
    let thresholds = &case.tables.land;
    let mut reasons = Vec::new();
    for Figure { indicator, zh, en, value, threshold, ratio } in &figures {
        let (effect, code, then_zh, then_en) = if *ratio >= thresholds.pass {
            continue;
        } else if *ratio >= thresholds.conditional {
            (Effect::Conditional, "land_one_by_one", "一事一议", "to be dealt with one by one")
        } else {
            (Effect::Reject, "land_too_low", "低于一事一议下限", "below what is dealt with one by one")
        };
        let lacking = threshold - value;
        // A ratio just below a threshold is not shown as if it had reached it.
        let shown = format!("{} / {} = {}", land(value), plain(threshold), land(ratio));
        reasons.push(
            Reason::new(Rule::R5, effect, code)
                .says(format!("{zh} {shown}，{then_zh}"), format!("{en} {shown}: {then_en}"))
                .changed_by(
                    format!("{zh}提高 {} 达到 {}", plain(&lacking), plain(threshold)),
                    format!("{} more of {en}, up to {}", plain(&lacking), plain(threshold)),
                )
                .number("value", land(value))
                .number("threshold", plain(threshold))
                .number("ratio", land(ratio))
                .number("pass_ratio", plain(&thresholds.pass))
                .number("conditional_ratio", plain(&thresholds.conditional))
                .number("indicator", *indicator)
                .basis(document, &thresholds.mark),
        );
    }
    Finding { reasons, whole: is_whole }
}
