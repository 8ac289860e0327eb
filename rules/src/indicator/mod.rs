//! Indicators of the park: energy, quota, carbon, water, pollutants, charging, land, data quality. [`Inputs`] go in, an
//! [`IndicatorResult`] per indicator and period comes out; nothing else counts, no clock and no record.
//!
//! ```text
//! Inputs -> Index (checked, sorted) -> Engine -> Context of a span of time -> Term -> IndicatorResult
//! ```
//!
//! In reading order: [`inputs`] what goes in, [`result`] what comes out, [`read`] inputs from JSON, [`index`] checks and lookups, [`term`]
//! values that carry what they rest on, [`context`] the figures of a span, [`balance`] the park's networks; then one file per
//! family: [`energy`], [`quota`], [`carbon`], [`water`], [`pollutant`], [`land`], [`charging`], [`quality`]; [`assess`] the yearly
//! assessment. [`INDICATORS`] is the place to add one.

#![allow(clippy::result_large_err, reason = "what is missing is an answer like any other, formed once per figure")]

pub mod inputs;
pub mod result;
pub mod read;
pub mod index;
mod check;
mod registers;
pub mod unit;
pub mod term;
pub mod context;
pub mod balance;
pub mod energy;
pub mod quota;
pub mod carbon;
pub mod water;
pub mod pollutant;
pub mod land;
pub mod charging;
pub mod quality;
pub mod assess;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

pub use index::{Index, Problem};
pub use inputs::Inputs;
pub use result::{IndicatorResult, Status};

use crate::Number;
use crate::factor::FactorUse;
use crate::period::{Period, PeriodKind, Range};
use context::Context;
use result::{Other, Subject};
use term::{Term, Terms};

/// Version of the rules of computation; a change of any figure's rule changes it.
pub const RULES: &str = "indicators 1";

/// Periods of indicators, by the finest one.
const HOURLY: &[PeriodKind] = &[PeriodKind::Hour, PeriodKind::Day, PeriodKind::Month, PeriodKind::Year];
const DAILY: &[PeriodKind] = &[PeriodKind::Day, PeriodKind::Month, PeriodKind::Year];
const MONTHLY: &[PeriodKind] = &[PeriodKind::Month, PeriodKind::Year];
const YEARLY: &[PeriodKind] = &[PeriodKind::Year];

/// An indicator.
#[derive(Clone, Copy, Debug)]
pub struct Indicator {
    /// EN-01 and so on.
    pub id: &'static str,
    /// Chinese name.
    pub zh: &'static str,
    /// English name.
    pub en: &'static str,
    /// Unit.
    pub unit: &'static str,
    /// Decimals on output.
    pub decimals: u32,
    /// Periods it is formed for.
    pub periods: &'static [PeriodKind],
    /// How.
    pub compute: fn(&Asked<'_, '_>) -> Vec<Outcome>,
}

const fn indicator(
    id: &'static str,
    zh: &'static str,
    en: &'static str,
    unit: &'static str,
    decimals: u32,
    periods: &'static [PeriodKind],
    compute: fn(&Asked<'_, '_>) -> Vec<Outcome>,
) -> Indicator {
    Indicator { id, zh, en, unit, decimals, periods, compute }
}

/// All indicators. Shares are fractions of 1.
pub const INDICATORS: &[Indicator] = &[
    indicator("EN-01", "园区综合能耗（当量）", "park energy, equivalent value", "tce", 3, DAILY, energy::en01),
    indicator("EN-02", "园区综合能耗（等价）", "park energy, equal value", "tce", 3, MONTHLY, energy::en02),
    indicator("EN-03", "工业综合能耗", "industrial energy", "tce", 3, DAILY, energy::en03),
    indicator("EN-04", "单位工业增加值综合能耗", "energy per added value", "tce/10k CNY", 6, MONTHLY, energy::en04),
    indicator("EN-08", "纳入总量控制能耗", "controlled energy", "tce", 3, MONTHLY, quota::en08),
    indicator("EN-09", "能耗指标使用率", "quota use rate", "1", 6, DAILY, quota::en09),
    indicator("EN-10", "年末能耗预测", "year-end forecast of energy", "tce", 3, DAILY, quota::en10),
    indicator("EN-11", "能耗指标余量", "quota headroom", "tce", 3, DAILY, quota::en11),
    indicator("EN-17", "绿色电力消费占比", "green electricity share", "1", 6, MONTHLY, energy::en17),
    indicator("EN-19", "配电网损率", "network loss rate", "1", 6, DAILY, energy::en19),
    indicator("CA-01", "范围一排放", "scope 1 emissions", "tCO2", 3, MONTHLY, carbon::ca01),
    indicator("CA-02", "范围二排放（位置法）", "scope 2 emissions, location", "tCO2", 3, DAILY, carbon::ca02),
    indicator("CA-04", "园区碳排放总量", "park CO2 emissions", "tCO2", 3, MONTHLY, carbon::ca04),
    indicator("WA-01", "工业新鲜水用量", "industrial fresh water", "m3", 3, DAILY, water::wa01),
    indicator("WA-04", "工业用水重复利用率", "industrial water reuse", "1", 6, MONTHLY, water::wa04),
    indicator("PO-01", "主要污染物排放量", "emission by outlet and pollutant", "t", 3, HOURLY, pollutant::po01),
    indicator("LA-01", "亩均营业收入", "revenue per mu", "10k CNY/mu", 6, YEARLY, land::la01),
    indicator("LA-02", "亩均税收", "tax per mu", "10k CNY/mu", 6, YEARLY, land::la02),
    indicator("LA-09", "主导产业营业收入占比", "leading-industry share of revenue", "1", 6, YEARLY, land::la09),
    indicator("LA-10", "高新技术产业营业收入占比", "high-tech share of revenue", "1", 6, YEARLY, land::la10),
    indicator("EV-01", "充电量", "energy delivered to vehicles", "kWh", 3, HOURLY, charging::ev01),
    indicator("EV-02", "充电时间利用率", "time utilisation of guns", "1", 6, DAILY, charging::ev02),
    indicator("EV-03", "充电功率利用率", "power utilisation of piles", "1", 6, DAILY, charging::ev03),
    indicator("EV-04", "充电设施可用率", "availability of guns", "1", 6, DAILY, charging::ev04),
    indicator("DQ-01", "数据完整率", "data completeness", "1", 6, DAILY, quality::dq01),
    indicator("DQ-03", "估算数据占比", "estimated share of park energy", "1", 6, MONTHLY, quality::dq03),
];

/// An indicator by its id.
pub fn by_id(id: &str) -> Option<&'static Indicator> {
    INDICATORS.iter().find(|indicator| indicator.id == id)
}

/// What an indicator comes to, before it is rounded and shown.
pub struct Outcome {
    /// Of what.
    pub subject: Subject,
    /// Its value.
    pub term: Term,
    /// Further figures.
    pub others: Vec<OtherFigure>,
}

/// A further figure, before it is rounded.
pub struct OtherFigure {
    /// Its key.
    pub name: String,
    /// Chinese name.
    pub zh: &'static str,
    /// English name.
    pub en: &'static str,
    /// Unit.
    pub unit: &'static str,
    /// Decimals on output.
    pub decimals: u32,
    /// Value.
    pub value: Option<Number>,
}

impl Outcome {
    /// A figure of the whole park.
    pub fn park(term: Term) -> Vec<Self> {
        vec![Self { subject: Subject::park(), term, others: Vec::new() }]
    }
}

/// A further figure.
pub fn other(name: &str, zh: &'static str, en: &'static str, unit: &'static str, decimals: u32, value: Option<Number>) -> OtherFigure {
    OtherFigure { name: name.to_owned(), zh, en, unit, decimals, value }
}

/// What an indicator is asked for: a period, and the figures of its span.
pub struct Asked<'e, 'a> {
    /// For figures of other spans.
    pub engine: &'e Engine<'a>,
    /// Figures of this span.
    pub at: Rc<Context<'a>>,
    /// The period.
    pub period: Period,
}

impl Asked<'_, '_> {
    /// Builder of terms.
    pub fn terms(&self) -> Terms {
        self.at.terms
    }
}

/// Computes indicators of one set of inputs; figures that several of them use are formed once.
pub struct Engine<'a> {
    index: &'a Index<'a>,
    explain: bool,
    contexts: RefCell<BTreeMap<Range, Rc<Context<'a>>>>,
    /// Hours of outlets, by series.
    prepared: RefCell<BTreeMap<usize, Rc<pollutant::Prepared>>>,
}

impl<'a> Engine<'a> {
    /// An engine; `explain`: with trees, which takes a multiple of time and memory.
    pub fn new(index: &'a Index<'a>, explain: bool) -> Self {
        Self { index, explain, contexts: RefCell::default(), prepared: RefCell::default() }
    }

    /// The inputs.
    pub fn index(&self) -> &'a Index<'a> {
        self.index
    }

    /// The figures of a span of time.
    pub fn context(&self, range: Range) -> Rc<Context<'a>> {
        let mut contexts = self.contexts.borrow_mut();
        Rc::clone(contexts.entry(range).or_insert_with(|| Rc::new(Context::new(self.index, range, self.explain))))
    }

    /// All indicators that are formed for the kind of the period, in the order of [`INDICATORS`].
    pub fn period(&self, period: Period) -> Vec<IndicatorResult> {
        INDICATORS.iter().flat_map(|indicator| self.one(indicator, period)).collect()
    }

    /// One indicator: a result per subject; none when it is not formed for such periods or the inputs have no such subject.
    pub fn one(&self, indicator: &'static Indicator, period: Period) -> Vec<IndicatorResult> {
        if !indicator.periods.contains(&period.kind()) {
            return Vec::new();
        }
        let at = self.context(period.span(self.index.zone()));
        let asked = Asked { engine: self, at, period };
        let outcomes = (indicator.compute)(&asked);
        outcomes.into_iter().map(|outcome| self.result(indicator, period, &asked.at, outcome)).collect()
    }

    fn result(&self, indicator: &'static Indicator, period: Period, at: &Context<'_>, outcome: Outcome) -> IndicatorResult {
        let Outcome { subject, term, others } = outcome;
        let status = term.status();
        let share = term.estimated_share().map(|share| share.fixed(6));
        let completeness = term.mean_completeness().map(|mean| mean.fixed(6));
        let mut notes = term.notes;
        notes.extend(term.undefined.filter(|_| status == Status::NotDefined).map(|why| format!("not defined: {why}")));
        IndicatorResult {
            indicator: indicator.id,
            zh: indicator.zh,
            en: indicator.en,
            subject,
            period,
            start: at.text(at.range.start),
            end: at.text(at.range.end),
            status,
            value: term.value.as_ref().map(|value| value.fixed(indicator.decimals)),
            exact: term.value,
            unit: indicator.unit,
            others: others.into_iter().map(Other::from).collect(),
            missing: term.missing.into_iter().chain(term.incomplete).collect(),
            estimated_share: share,
            completeness,
            interpolated: (!term.interpolated.is_zero()).then(|| term.interpolated.fixed(indicator.decimals)),
            flags: term.flags,
            inputs: term.inputs.iter().map(|input| self.index.path(*input).to_owned()).collect(),
            factors: term.factors.iter().map(|factor| FactorUse::clone(factor)).collect(),
            notes,
            rules: RULES,
            explain: term.node.map(|node| *node),
        }
    }
}

impl From<OtherFigure> for Other {
    fn from(figure: OtherFigure) -> Self {
        let OtherFigure { name, zh, en, unit, decimals, value } = figure;
        Self { name, zh, en, value: value.map(|value| value.fixed(decimals)), unit }
    }
}

/// All indicators of the periods that the inputs ask for.
pub fn compute(inputs: &Inputs) -> Result<Vec<IndicatorResult>, Vec<Problem>> {
    let index = Index::new(inputs)?;
    let engine = Engine::new(&index, false);
    Ok(inputs.periods.iter().flat_map(|period| engine.period(*period)).collect())
}
