//! Energy quota: controlled energy, use rate, forecast, headroom (EN-08 to EN-11).
//!
//! Feedstock and certified renewable electricity are deducted from regional totals by the notices of November 2022 (feedstock:
//! 国家发展改革委、国家统计局 关于进一步做好原料用能不纳入能源消费总量控制有关工作的通知; renewables: 关于进一步做好新增可再生能源消费不纳入能源消费总量控制有关工作的通知). No official
//! ledger of a park's quota was found: form and forecasts are conventions of the program.

use std::collections::BTreeMap;

use super::balance::{coal_equivalent, unit_of};
use super::context::Context;
use super::energy::equivalent;
use super::inputs::{CertificateKind, PeriodEnergy, Place, Quota};
use super::result::Leaf;
use super::term::{Term, label};
use super::{Asked, Outcome, other};
use crate::Number;
use crate::factor::FactorKind;
use crate::period::{Period, PeriodKind, Range};

/// kWh of a certificate.
const CERTIFICATE_KWH: i64 = 1_000;

/// Certified renewable electricity in kWh.
pub struct Certified {
    /// Of own PV, capped by generation.
    pub own: Term,
    /// Bought, capped by the holder's import.
    pub bought: Term,
}

/// EN-08: EN-01 - feedstock - certified renewable electricity at the equivalent value, never below 0 (R-CTRL).
pub fn en08(asked: &Asked<'_, '_>) -> Vec<Outcome> {
    let context = &asked.at;
    let term = controlled(context);
    let feedstock = feedstock(context).value;
    let certified = certified_tce(context).value;
    let others = vec![
        other("feedstock", "原料用能", "feedstock", "tce", 3, feedstock),
        other("certified_renewable", "绿证对应电量", "certified renewable electricity", "tce", 3, certified),
    ];
    vec![Outcome { subject: Default::default(), term, others }]
}

/// EN-09: year to date / allowance. Beside it the time progress (days elapsed, the last day of the period included / days of
/// the year) and the pace, use rate / time progress.
pub fn en09(asked: &Asked<'_, '_>) -> Vec<Outcome> {
    let used = year_to_date(asked);
    let (elapsed, days) = days(asked);
    let progress = elapsed.over(&days);
    let name = label("能耗指标使用率", "quota use rate", "1");
    let so_far = used.value.clone();
    let term = asked.terms().ratio(name, used, allowance(asked), "year to date / allowance");
    let pace = term.value.as_ref().zip(progress.as_ref()).and_then(|(rate, progress)| rate.over(progress));
    let others = vec![
        other("year_to_date", "本年累计", "year to date", "tce", 3, so_far),
        other("time_progress", "时间进度", "time progress", "1", 6, progress),
        other("pace", "进度系数", "pace", "1", 6, pace),
    ];
    vec![Outcome { subject: Default::default(), term, others }]
}

/// EN-10: the larger one of the linear and the seasonal forecast.
pub fn en10(asked: &Asked<'_, '_>) -> Vec<Outcome> {
    let (linear, seasonal) = forecasts(asked);
    let others = vec![
        other("linear", "线性预测", "linear forecast", "tce", 3, linear.value.clone()),
        other("seasonal", "季节预测", "seasonal forecast", "tce", 3, seasonal.value.clone()),
    ];
    let term = asked.terms().larger(label("年末能耗预测", "year-end forecast", "tce"), linear, seasonal);
    vec![Outcome { subject: Default::default(), term, others }]
}

/// EN-11: allowance - forecast - energy of approved projects that do not produce yet; the smaller one of both forecasts.
pub fn en11(asked: &Asked<'_, '_>) -> Vec<Outcome> {
    let terms = asked.terms();
    let (linear, seasonal) = forecasts(asked);
    let (allowance, committed) = (allowance(asked), committed(asked));
    let by = |forecast: Term, zh: &str, en: &str| {
        terms.signed(label(zh, en, "tce"), vec![(true, allowance.clone()), (false, forecast), (false, committed.clone())])
    };
    let linear = by(linear, "按线性预测的余量", "headroom by the linear forecast");
    let seasonal = by(seasonal, "按季节预测的余量", "headroom by the seasonal forecast");
    let others = vec![
        other("linear", "按线性预测的余量", "headroom by the linear forecast", "tce", 3, linear.value.clone()),
        other("seasonal", "按季节预测的余量", "headroom by the seasonal forecast", "tce", 3, seasonal.value.clone()),
        other("committed", "已批未投产项目", "approved projects not yet producing", "tce", 3, committed.value.clone()),
    ];
    let term = terms.smaller(label("能耗指标余量", "quota headroom", "tce"), linear, seasonal);
    vec![Outcome { subject: Default::default(), term, others }]
}

/// EN-08 as a term.
pub fn controlled(context: &Context<'_>) -> Term {
    context.shared("EN-08", || {
        let parts = vec![(true, equivalent(context)), (false, feedstock(context)), (false, certified_tce(context))];
        let name = || label("纳入总量控制能耗", "controlled energy", "tce");
        context.terms.at_least_zero(name(), context.terms.signed(name(), parts))
    })
}

/// Feedstock in tce: amounts used as material, each at the coefficient of its energy.
fn feedstock(context: &Context<'_>) -> Term {
    context.shared("feedstock", || {
        let energies: Vec<&str> = context.index.energies_at(Place::Feedstock).collect();
        let parts = energies.into_iter().filter_map(|energy| {
            let unit = unit_of(context, energy)?;
            let amount = context.at_place(Place::Feedstock, energy, label(format!("原料 {energy}"), format!("feedstock {energy}"), unit));
            Some(coal_equivalent(context, energy, amount, unit))
        });
        let parts = parts.collect();
        context.terms.sum(label("原料用能", "feedstock", "tce"), parts)
    })
}

fn certified_tce(context: &Context<'_>) -> Term {
    context.shared("certified", || match certified(context) {
        Err(missing) => missing,
        Ok(Certified { own, bought }) => {
            let all = context.terms.sum(label("绿证对应电量", "certified electricity", "kWh"), vec![own, bought]);
            let name = label("绿证对应电量折标", "certified renewable electricity", "tce");
            context.tce(name, all, FactorKind::Equivalent, "electricity", "kWh")
        }
    })
}

/// Certified electricity, by holder the smaller one of certificates x 1000 kWh and metered kWh; else the term that says that
/// certificates are not known.
pub fn certified(context: &Context<'_>) -> Result<Certified, Term> {
    let index = context.index;
    let Some(certificates) = &index.inputs.certificates else {
        return Err(Term::missing("certificates", "not known: give the certificates held, or an empty list when there are none"));
    };
    let mut own: BTreeMap<&str, Vec<Term>> = BTreeMap::new();
    let mut bought: BTreeMap<Option<&str>, Vec<Term>> = BTreeMap::new();
    let mut longer = 0;
    for (number, certificate) in certificates.iter().enumerate() {
        let span = certificate.period.span(index.zone());
        if !context.range.holds(span) {
            longer += usize::from(span.overlap(context.range).length() > 0);
            continue;
        }
        let kwh = &certificate.certificates * &Number::from(CERTIFICATE_KWH);
        let name = label(format!("绿证 {}", certificate.period), format!("certificates {} x 1000 kWh", certificate.period), "kWh");
        let leaf = || Leaf::Declared { input: format!("certificates[{number}]"), source: certificate.source.clone() };
        let term = context.terms.given(name, kwh, index.input(&format!("certificates[{number}]")), leaf);
        match certificate.kind {
            CertificateKind::OwnPv => own.entry(certificate.pv_meter.as_deref().unwrap_or_default()).or_default().push(term),
            CertificateKind::Bought => bought.entry(certificate.holder.as_deref()).or_default().push(term),
        }
    }
    let capped = |who: &str, terms: Vec<Term>, metered: Term| {
        let held = context.terms.sum(label(format!("持有绿证 {who}"), format!("certificates of {who}"), "kWh"), terms);
        context.terms.smaller(label(who, who, "kWh"), held, metered)
    };
    let own_parts = own.into_iter().filter_map(|(meter, terms)| {
        let generation = context.amount(*index.by_meter.get(meter)?);
        Some(capped(meter, terms, generation))
    });
    let own_parts = own_parts.collect();
    let bought_parts = bought.into_iter().map(|(holder, terms)| {
        let who = holder.unwrap_or("public area");
        capped(who, terms, metered_import(context, holder))
    });
    let bought_parts = bought_parts.collect();
    let mut own = context.terms.sum(label("自有光伏绿证电量", "certified, own PV", "kWh"), own_parts);
    let mut bought = context.terms.sum(label("外购绿证电量", "certified, bought", "kWh"), bought_parts);
    if longer > 0 {
        let note = "certificates of a longer period are not split: they count in the period that holds theirs";
        (own, bought) = (own.note(note), bought.note(note));
    }
    Ok(Certified { own, bought })
}

/// What a holder of bought certificates imports by meter.
fn metered_import(context: &Context<'_>, holder: Option<&str>) -> Term {
    let index = context.index;
    let number = holder.and_then(|holder| index.enterprises.get(holder).copied());
    let (place, sources) = match (holder, number) {
        (Some(_), None) => (Place::Import, &[][..]),
        (Some(_), Some(_)) => (Place::Import, index.at_place(Place::Import, "electricity")),
        (None, _) => (Place::Public, index.at_place(Place::Public, "electricity")),
    };
    let own = sources
        .iter()
        .filter(|source| place == Place::Public || index.sources.get(**source).is_some_and(|source| source.enterprise == number));
    let amounts = own.map(|source| context.amount(*source)).collect();
    context.terms.sum(label("购入电量", "metered import", "kWh"), amounts)
}

/// Controlled energy of the closed periods of the year and of the present one. A month that `quota.closed` names counts as it stands there.
fn year_to_date(asked: &Asked<'_, '_>) -> Term {
    let terms = asked.terms();
    let parts = spans_of_year(asked.period).into_iter().map(|(span, period)| {
        let closed = asked.engine.index().inputs.quota.iter().flat_map(|quota| &quota.closed).enumerate();
        let closed = closed.filter(|(_, entry)| Some(entry.period) == period && period != Some(asked.period));
        if let Some((number, entry)) = closed.last() {
            return declared_energy(asked, &format!("quota.closed[{number}]"), entry);
        }
        let (from, to) = span;
        let zone = asked.engine.index().zone();
        let range = Range { start: from.span(zone).start, end: to.span(zone).end };
        let name = period.map_or_else(|| format!("{from} to {to}"), |period| period.to_string());
        let context = asked.engine.context(range);
        terms.sum(label(format!("纳入总量控制能耗 {name}"), format!("controlled energy {name}"), "tce"), vec![controlled(&context)])
    });
    let parts = parts.collect();
    terms.sum(label("本年累计", "year to date", "tce"), parts)
}

/// The months before the period and the period itself, or its part of the month: first and last period of each span, and the
/// month it is, when it is a whole one.
fn spans_of_year(period: Period) -> Vec<((Period, Period), Option<Period>)> {
    if period.kind() == PeriodKind::Year {
        return vec![((period, period), Some(period))];
    }
    let mut spans = Vec::new();
    let own = Period::containing(PeriodKind::Month, period.first_day().at(0, 0, 0, 0));
    let mut month = Period::containing(PeriodKind::Month, period.whole_year().first_day().at(0, 0, 0, 0));
    while month < own {
        spans.push(((month, month), Some(month)));
        month = month.next();
    }
    if period == own || period.end_day() == own.end_day() {
        spans.push(((own, own), Some(own)));
    } else {
        let first = Period::containing(PeriodKind::Day, own.first_day().at(0, 0, 0, 0));
        spans.push(((first, period), None));
    }
    spans
}

/// Days of the year up to the end of the period, or up to where its figures have come, and days of the year.
fn days(asked: &Asked<'_, '_>) -> (Number, Number) {
    let zone = asked.engine.index().zone();
    let year = asked.period.whole_year().span(zone);
    let day = Number::from(24);
    let elapsed = Range { start: year.start, end: come_to(asked).unwrap_or(asked.at.range.end) };
    (elapsed.hours().over(&day).unwrap_or_default(), year.hours().over(&day).unwrap_or_default())
}

/// Up to where the figures of a period that is not over have come.
fn come_to(asked: &Asked<'_, '_>) -> Option<i64> {
    let index = asked.engine.index();
    let time = index.inputs.as_of?.at(index.zone()).as_millisecond();
    (asked.at.range.start < time && time < asked.at.range.end).then_some(time)
}

fn quota<'a>(asked: &Asked<'_, 'a>) -> Option<&'a Quota> {
    asked.engine.index().inputs.quota.as_ref()
}

fn allowance(asked: &Asked<'_, '_>) -> Term {
    let year = asked.period.whole_year();
    let allowances =
        quota(asked).into_iter().flat_map(|quota| &quota.allowances).enumerate().filter(|(_, allowance)| allowance.period == year);
    match allowances.last() {
        Some((number, allowance)) => {
            let leaf = || Leaf::Declared { input: format!("quota.allowances[{number}]"), source: allowance.source.clone() };
            asked.terms().given(
                label("能耗指标", "allowance", "tce"),
                allowance.energy.clone(),
                asked.at.index.input(&format!("quota.allowances[{number}]")),
                leaf,
            )
        }
        None => Term::missing("quota.allowances", format!("no allowance for {year}")),
    }
}

fn committed(asked: &Asked<'_, '_>) -> Term {
    let name = label("已批未投产项目", "approved projects not yet producing", "tce");
    let Some(commitments) = quota(asked).and_then(|quota| quota.committed.as_ref()) else {
        return Term::missing("quota.committed", "not known: give the approved projects that do not produce yet, or an empty list");
    };
    let parts = commitments.iter().enumerate().map(|(number, commitment)| {
        let leaf = || Leaf::Declared { input: format!("quota.committed[{number}]"), source: commitment.source.clone() };
        asked.terms().given(
            label(&commitment.project, &commitment.project, "tce"),
            commitment.energy.clone(),
            asked.at.index.input(&format!("quota.committed[{number}]")),
            leaf,
        )
    });
    asked.terms().sum(name, parts.collect())
}

/// Linear: year to date / days elapsed x days of the year. Seasonal: year to date x (last year's total / last year's same period).
fn forecasts(asked: &Asked<'_, '_>) -> (Term, Term) {
    let terms = asked.terms();
    let so_far = year_to_date(asked);
    let (elapsed, days) = days(asked);
    let name = label("线性预测", "linear forecast", "tce");
    let factor = days.over(&elapsed).unwrap_or_default();
    let formula = format!("year to date / {elapsed} days x {days} days");
    let linear = terms.scaled(name, so_far.clone(), &factor, &formula);
    let ratio = terms.ratio(
        label("上年全年与同期之比", "last year / its same period", "1"),
        last_year(asked),
        same_period(asked),
        "last year's total / last year's same period",
    );
    let seasonal = terms.product(label("季节预测", "seasonal forecast", "tce"), so_far, ratio, "year to date x ratio of last year");
    (linear, seasonal)
}

fn last_year(asked: &Asked<'_, '_>) -> Term {
    let year = asked.period.whole_year().year_before();
    last_year_over(asked, year.span(asked.engine.index().zone()), &format!("上年全年 {year}"), &format!("last year {year}"))
}

/// Last year's controlled energy up to the end of the same period. Of a period that is not over, the same share of last
/// year's period, by time: a convention of the program.
fn same_period(asked: &Asked<'_, '_>) -> Term {
    let zone = asked.engine.index().zone();
    let before = asked.period.year_before();
    let declared = quota(asked).into_iter().flat_map(|quota| &quota.last_year_to_date).enumerate();
    if let Some((number, entry)) = declared.filter(|(_, entry)| entry.period == before).last() {
        return declared_energy(asked, &format!("quota.last_year_to_date[{number}]"), entry);
    }
    let year = before.whole_year().span(zone);
    let range = Range { start: year.start, end: before.span(zone).end };
    if let Some(time) = come_to(asked)
        && before != before.whole_year()
    {
        let own = before.span(zone);
        let come = Range { start: asked.at.range.start, end: time };
        let share = come.hours().over(&asked.at.range.hours()).unwrap_or_default();
        let whole = last_year_over(asked, own, &format!("上年同期 {before}"), &format!("last year's {before}"));
        let name = label(format!("上年同期 {before} 至同一时刻"), format!("last year's {before} up to the same time"), "tce");
        let part = asked.terms().scaled(name, whole, &share, "last year's period x share of the period that is over");
        let months = Range { start: year.start, end: own.start };
        let months = last_year_over(asked, months, &format!("上年 {before} 之前"), &format!("last year before {before}"));
        return asked.terms().sum(label(format!("上年同期至 {before}"), format!("last year up to {before}"), "tce"), vec![months, part]);
    }
    last_year_over(asked, range, &format!("上年同期至 {before}"), &format!("last year up to {before}"))
}

fn last_year_over(asked: &Asked<'_, '_>, range: Range, zh: &str, en: &str) -> Term {
    let zone = asked.engine.index().zone();
    let mut entries: Vec<(Range, usize, &PeriodEnergy)> = Vec::new();
    for (number, entry) in quota(asked).into_iter().flat_map(|quota| &quota.last_year).enumerate() {
        entries.push((entry.period.span(zone), number, entry));
    }
    // The longest entry that begins where the last one ended, and of equal ones the last.
    let mut parts = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let next = entries
            .iter()
            .filter(|(span, ..)| span.start == at && span.end <= range.end)
            .max_by_key(|(span, number, _)| (span.end, *number));
        let Some((span, number, entry)) = next else {
            let why = format!("last year's controlled energy is not given from {} on", asked.at.text(at));
            return Term::missing("quota.last_year", why);
        };
        parts.push(declared_energy(asked, &format!("quota.last_year[{number}]"), entry));
        at = span.end;
    }
    asked.terms().sum(label(zh, en, "tce"), parts)
}

fn declared_energy(asked: &Asked<'_, '_>, path: &str, entry: &PeriodEnergy) -> Term {
    let name = label(format!("申报 {}", entry.period), format!("declared {}", entry.period), "tce");
    let leaf = || Leaf::Declared { input: path.to_owned(), source: entry.source.clone() };
    asked.terms().given(name, entry.energy.clone(), asked.at.index.input(path), leaf)
}
