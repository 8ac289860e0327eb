//! Quality of the data: DQ-01, DQ-03.

use std::collections::BTreeMap;

use super::context::Context;
use super::energy::equivalent;
use super::index::Tiles;
use super::inputs::Provenance;
use super::result::{Leaf, Missing};
use super::term::{Term, label};
use super::{Asked, Outcome, other};
use crate::Number;

/// DQ-01: values got / values due, as counted; else counted from readings of meters that say how often they are read.
pub fn dq01(asked: &Asked<'_, '_>) -> Vec<Outcome> {
    let context = &asked.at;
    let terms = context.terms;
    let counted = if context.index.inputs.values.is_empty() { from_meters(context) } else { from_counts(context) };
    let (got, due) = match counted {
        Ok(counted) => counted,
        Err(missing) => return Outcome::park(missing),
    };
    let others = vec![
        other("got", "收到数", "values got", "1", 0, got.value.clone()),
        other("due", "应收数", "values due", "1", 0, due.value.clone()),
    ];
    let term = terms.ratio(label("数据完整率", "data completeness", "1"), got, due, "values got / values due");
    vec![Outcome { subject: Default::default(), term, others }]
}

/// DQ-03: tce of estimated amounts (R-EST and declared estimates) / EN-01. Interpolated amounts are told apart.
pub fn dq03(asked: &Asked<'_, '_>) -> Vec<Outcome> {
    let terms = asked.terms();
    let energy = equivalent(&asked.at);
    let interpolated = energy.value.is_some().then(|| energy.interpolated.clone());
    let estimated = match &energy.value {
        Some(_) => terms.plain(label("估算能耗", "estimated energy", "tce"), energy.estimated.clone()),
        None => Term::default(),
    };
    let others = vec![
        other("estimated", "估算能耗", "estimated energy", "tce", 3, estimated.value.clone()),
        other("interpolated", "边界插值能耗", "energy assigned by splits at boundaries", "tce", 3, interpolated),
    ];
    let term = terms.ratio(label("估算数据占比", "estimated share", "1"), estimated, energy, "tce of estimated amounts / EN-01");
    vec![Outcome { subject: Default::default(), term, others }]
}

fn from_counts(context: &Context<'_>) -> Result<(Term, Term), Term> {
    let values = &context.index.inputs.values;
    let none = Provenance::default();
    let mut points: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (number, value) in values.iter().enumerate() {
        points.entry(&value.point).or_default().push(number);
    }
    let (mut got, mut due, mut lacking) = (Vec::new(), Vec::new(), Vec::new());
    for (point, numbers) in points {
        let entries = numbers.iter().filter_map(|number| Some((*number, values.get(*number)?.period, &none)));
        let Ok(tiles) = Tiles::of(entries, context.index.zone()).cover(context.range) else {
            lacking.push(Missing { input: format!("values.{point}"), why: "no count for the whole period".to_owned() });
            continue;
        };
        for (_, number) in tiles {
            let Some(value) = values.get(number) else { continue };
            let leaf = || Leaf::Input { input: format!("values[{number}]") };
            got.push(context.terms.given(
                label(point, point, "1"),
                value.got.clone(),
                context.index.input(&format!("values[{number}]")),
                leaf,
            ));
            due.push(context.terms.given(
                label(point, point, "1"),
                value.due.clone(),
                context.index.input(&format!("values[{number}]")),
                leaf,
            ));
        }
    }
    if got.is_empty() {
        return Err(Term { missing: lacking, ..Term::default() });
    }
    let mut got = context.terms.sum(label("收到数", "values got", "1"), got);
    got.incomplete.extend(lacking);
    Ok((got, context.terms.sum(label("应收数", "values due", "1"), due)))
}

/// A meter read every n minutes is due one value per n minutes of the period, boundaries at the start included.
fn from_meters(context: &Context<'_>) -> Result<(Term, Term), Term> {
    let (mut got, mut due) = (Number::zero(), Number::zero());
    for meter in &context.index.inputs.meters {
        let Some(every) = meter.readings_every_minutes.filter(|every| *every > 0) else { continue };
        let step = i64::from(every).saturating_mul(60_000);
        let expected = context.range.length() / step;
        let came = meter.readings.iter().map(|reading| context.index.at(&reading.time));
        let slots: std::collections::BTreeSet<i64> =
            came.filter(|at| context.range.start <= *at && *at < context.range.end).map(|at| (at - context.range.start) / step).collect();
        let came = i64::try_from(slots.len()).unwrap_or(i64::MAX).min(expected);
        got += &Number::from(came);
        due += &Number::from(expected);
    }
    if due.is_zero() {
        return Err(Term::missing("values", "no count of values, and no meter with `readings_every_minutes`"));
    }
    let term = |zh, en, value| context.terms.given(label(zh, en, "1"), value, None, || Leaf::Input { input: "meters.readings".to_owned() });
    Ok((term("收到数", "values got", got), term("应收数", "values due", due)))
}
