//! R6: yearly increment x ratio against the ledger's balance and the project's own verified reductions. Equal passes; what
//! is short rejects, one reason per pollutant. Filed before the first ratio of the table, it is not tested and says so.
//!
//! The ratio is 2 where last year's quality of the medium was not attained, else 1; own reductions are not multiplied. Source:
//! 环发〔2014〕197号; the factor 2 is from memory and shown with that mark.

use super::super::case::{Case, plain};
use super::super::read::Field;
use super::super::reason::{Effect, Finding, Reason, Rule};
use super::super::tables::{AttainedBy, Ratio};
use crate::Number;
use crate::ledger::Pollutant;

const BASIS: &str = "环发〔2014〕197号；环办环评〔2020〕36号";

/// What a project needs of a pollutant, t a year.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// Pollutant.
    pub pollutant: Pollutant,
    /// Increment.
    pub increment: Number,
    /// Ratio.
    pub ratio: Number,
    /// Which quality decided on it.
    pub attained_by: AttainedBy,
    /// Whether that was attained last year.
    pub attained: bool,
    /// How sure the ratio is.
    pub mark: String,
    /// Increment x ratio, as it will be taken.
    pub need: Number,
    /// Balance of the ledger; `None` when it is not known.
    pub balance: Option<Number>,
    /// Own verified reduction, as it will be given.
    pub own: Number,
}

impl Need {
    /// Balance and own reduction together.
    pub fn available(&self) -> Option<Number> {
        Some(self.balance.as_ref()? + &self.own)
    }

    /// What is short, where something is.
    pub fn shortage(&self) -> Option<Number> {
        let shortage = &self.need - &self.available()?;
        shortage.is_positive().then_some(shortage)
    }

    /// Whether it can be judged: what it needs is known to be there or not.
    pub fn is_judged(&self) -> bool {
        self.balance.is_some() || self.need <= self.own
    }

    /// Why this ratio, in Chinese and English.
    pub fn why(&self) -> (&'static str, &'static str) {
        match (self.attained_by, self.attained) {
            (AttainedBy::Pm25, true) => ("上年度PM2.5达标", "PM2.5 attained last year"),
            (AttainedBy::Pm25, false) => ("上年度PM2.5未达标", "PM2.5 not attained last year"),
            (AttainedBy::Water, true) => ("上年度水质达标", "water quality attained last year"),
            (AttainedBy::Water, false) => ("上年度水质未达标", "water quality not attained last year"),
        }
    }
}

/// Whether a quality was attained last year; `None` when it is not known.
pub fn attained(case: &Case<'_>, by: AttainedBy) -> Option<bool> {
    match by {
        AttainedBy::Pm25 => case.park.last_year_attained.pm25,
        AttainedBy::Water => case.park.last_year_attained.water,
    }
}

/// The ratio row of a pollutant on the filing date.
pub fn ratio<'a>(case: &Case<'a>, pollutant: Pollutant) -> Option<&'a Ratio> {
    case.tables.ratio(pollutant, case.on())
}

/// What the project needs of each pollutant whose increment and ratio are known.
pub fn needs(case: &Case<'_>) -> Vec<Need> {
    let increments = case.project.pollutants_t_per_a.given().into_iter().flatten();
    increments.filter_map(|(pollutant, increment)| need(case, *pollutant, increment)).collect()
}

fn need(case: &Case<'_>, pollutant: Pollutant, increment: &Field<Number>) -> Option<Need> {
    let increment = increment.given()?.clone();
    let row = ratio(case, pollutant)?;
    let attained = attained(case, row.attained_by)?;
    let ratio = if attained { row.attained.clone() } else { row.missed.clone() };
    Some(Need {
        pollutant,
        need: case.as_taken(&increment * &ratio),
        increment,
        ratio,
        attained_by: row.attained_by,
        attained,
        mark: row.mark.clone(),
        balance: case.park.balance(pollutant, case.on()),
        own: case.own_reduction(pollutant),
    })
}

/// R6.
pub fn test(case: &Case<'_>) -> Finding {
    let needs = needs(case);
    let reasons: Vec<Reason> = needs.iter().filter_map(|need| reason(case, need)).chain(no_ratio(case)).collect();
    let is_there = |pollutant: Pollutant| needs.iter().any(|need| need.pollutant == pollutant && need.is_judged());
    let named = case.project.pollutants_t_per_a.given().into_iter().flat_map(|named| named.keys().copied());
    let is_whole = Pollutant::REQUIRED.into_iter().chain(named).all(is_there);
    Finding { reasons, whole: is_whole }
}

/// That the table has no ratio for the filing date. It is said, never guessed and never passed over.
fn no_ratio(case: &Case<'_>) -> Option<Reason> {
    let on = case.on()?;
    let named = case.project.pollutants_t_per_a.given()?.keys().copied();
    let without: Vec<Pollutant> = named.filter(|pollutant| ratio(case, *pollutant).is_none()).collect();
    let first = without.iter().filter_map(|pollutant| case.tables.first_ratio(*pollutant)).min()?;
    let names = without.iter().map(|pollutant| pollutant.name()).collect::<Vec<_>>().join(", ");
    let reason = Reason::new(Rule::R6, Effect::NotTested, "no_ratio")
        .says(
            format!("{on} 申报，早于 {first}，替代比例表没有适用的比例，{names} 未测算"),
            format!("filed on {on}, before {first}: the table has no ratio for that day, so {names} was not tested"),
        )
        .changed_by("由主管部门确认当时适用的规定", "the authority names the rule of that time")
        .number("pollutants", names)
        .basis(BASIS, "program");
    Some(reason)
}

fn reason(case: &Case<'_>, need: &Need) -> Option<Reason> {
    let tonnes = |number: &Number| case.tonnes(number);
    let (shortage, available, balance) = (need.shortage()?, need.available()?, need.balance.as_ref()?);
    let (name, zh) = (need.pollutant.name(), need.pollutant.zh());
    let (why_zh, why_en) = need.why();
    let (need_t, ratio) = (tonnes(&need.need), plain(&need.ratio));
    let reason = Reason::new(Rule::R6, Effect::Reject, "pollutant_short")
        .says(
            format!(
                "{zh}（{name}）需替代量 {} × {ratio}（{why_zh}）= {need_t} t/a，可用 {} t/a（台账余额 {} + 项目自身已核实削减 {}），缺 {} t/a",
                plain(&need.increment),
                tonnes(&available),
                tonnes(balance),
                tonnes(&need.own),
                tonnes(&shortage)
            ),
            format!(
                "{name} needs {} x {ratio} ({why_en}) = {need_t} t/a, {} t/a are available (balance {} + own verified reduction {}): {} t/a short",
                plain(&need.increment),
                tonnes(&available),
                tonnes(balance),
                tonnes(&need.own),
                tonnes(&shortage)
            ),
        )
        .changed_by(
            format!("再核实 {} t/a 的{zh}替代来源，或减少排放增量", plain(&shortage)),
            format!("{} t/a more of verified {name} reductions, or a smaller increment", plain(&shortage)),
        )
        .number("pollutant", name)
        .number("increment_t", plain(&need.increment))
        .number("ratio", ratio)
        .number("need_t", need_t)
        .number("balance_t", tonnes(balance))
        .number("own_verified_reduction_t", tonnes(&need.own))
        .number("available_t", tonnes(&available))
        .number("shortage_t", tonnes(&shortage))
        .basis(BASIS, &need.mark);
    Some(reason)
}
