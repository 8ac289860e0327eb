//! Land and economy: LA-01, LA-02, LA-09, LA-10, from declared figures of a year.

use super::context::Context;
use super::inputs::{Enterprise, Figure};
use super::term::{Term, label};
use super::{Asked, Outcome, other};
use crate::Number;

/// LA-01: revenue / land, 10k CNY per mu. Beside it the growth against the year before.
pub fn la01(asked: &Asked<'_, '_>) -> Vec<Outcome> {
    let term = revenue_per_mu(&asked.at);
    let growth = growth(asked, &term);
    let others = vec![other("growth", "同比增速", "growth against the year before", "1", 6, growth.value)];
    vec![Outcome { subject: Default::default(), term, others }]
}

/// LA-02: tax / land, 10k CNY per mu.
pub fn la02(asked: &Asked<'_, '_>) -> Vec<Outcome> {
    let context = &asked.at;
    let tax = context.declared(Figure::Tax, label("税收", "tax", "10k CNY"));
    Outcome::park(context.terms.ratio(label("亩均税收", "tax per mu", "10k CNY/mu"), tax, land(context), "tax / land"))
}

/// LA-09: revenue of the leading industries / revenue.
pub fn la09(asked: &Asked<'_, '_>) -> Vec<Outcome> {
    Outcome::park(leading_share(&asked.at))
}

/// LA-10: revenue of high-tech industries / revenue.
pub fn la10(asked: &Asked<'_, '_>) -> Vec<Outcome> {
    Outcome::park(high_tech_share(&asked.at))
}

/// LA-01 as a term.
pub fn revenue_per_mu(context: &Context<'_>) -> Term {
    context.terms.ratio(label("亩均营业收入", "revenue per mu", "10k CNY/mu"), revenue(context), land(context), "revenue / land")
}

/// Growth of LA-01 against the year before.
pub fn growth(asked: &Asked<'_, '_>, now: &Term) -> Term {
    let year_before = asked.period.year_before().span(asked.engine.index().zone());
    let terms = asked.terms();
    let before = terms.renamed(
        label("上年亩均营业收入", "revenue per mu, year before", "10k CNY/mu"),
        revenue_per_mu(&asked.engine.context(year_before)),
    );
    let more = terms.difference(label("增量", "increase", "10k CNY/mu"), now.clone(), before.clone());
    terms.ratio(label("亩均营业收入增速", "growth of revenue per mu", "1"), more, before, "increase / year before")
}

/// LA-09 as a term.
pub fn leading_share(context: &Context<'_>) -> Term {
    let codes = &context.index.inputs.park.leading_industries;
    let leads = |enterprise: &Enterprise| {
        let by_code = || {
            let code = enterprise.industry.as_deref()?;
            Some(codes.as_ref()?.iter().any(|leading| code.starts_with(leading.as_str())))
        };
        enterprise.leading.or_else(by_code)
    };
    share(context, label("主导产业营业收入占比", "leading-industry share of revenue", "1"), leads, "leading")
}

/// LA-10 as a term.
pub fn high_tech_share(context: &Context<'_>) -> Term {
    share(context, label("高新技术产业营业收入占比", "high-tech share of revenue", "1"), |enterprise| enterprise.high_tech, "high_tech")
}

fn share(context: &Context<'_>, name: super::term::Label, belongs: impl Fn(&Enterprise) -> Option<bool>, flag: &str) -> Term {
    let mut parts = Vec::new();
    for (number, enterprise) in context.index.inputs.enterprises.iter().enumerate() {
        match belongs(enterprise) {
            Some(true) => parts.push(context.declared_by(Figure::Revenue, number)),
            Some(false) => {}
            None => {
                let path = format!("enterprises.{}.{flag}", enterprise.id);
                parts.push(Term::missing(path, "not known whether the enterprise belongs to them"));
            }
        }
    }
    if context.index.inputs.enterprises.is_empty() {
        return Term::missing("enterprises", "no enterprise is given");
    }
    let part = context.terms.sum(label("其中营业收入", "revenue of these", "10k CNY"), parts);
    context.terms.ratio(name, part, revenue(context), "revenue of these / revenue")
}

fn revenue(context: &Context<'_>) -> Term {
    context.declared(Figure::Revenue, label("营业收入", "revenue", "10k CNY"))
}

fn land(context: &Context<'_>) -> Term {
    let land = context.declared(Figure::LandMu, label("用地面积", "land", "mu"));
    if land.value.as_ref().is_some_and(Number::is_negative) {
        return Term::missing("declared.land_mu", "the land is below 0");
    }
    land
}
