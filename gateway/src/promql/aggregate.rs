//! Aggregations over groups of series: `sum by (medium) (...)`, `topk(3, ...)`.

use std::cmp::Ordering;
use std::collections::HashMap;

use promql_parser::parser::token::{
    T_AVG, T_BOTTOMK, T_COUNT, T_COUNT_VALUES, T_GROUP, T_MAX, T_MIN, T_QUANTILE, T_STDDEV, T_STDVAR, T_SUM, T_TOPK, TokenId,
};
use promql_parser::parser::{AggregateExpr, Expr, LabelModifier};

use super::Error;
use super::eval::{Answer, Evaluation, Grid, Row, strip, unexpected, unique};
use super::labels::{Labels, is_label_name};
use super::source::{ABSENT, is_absent};

/// A sum that keeps what rounding would lose (Neumaier).
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum {
    sum: f64,
    lost: f64,
}

impl Sum {
    /// Adds a value.
    pub fn add(&mut self, value: f64) {
        let sum = self.sum + value;
        if sum.is_finite() {
            self.lost += if self.sum.abs() >= value.abs() { (self.sum - sum) + value } else { (value - sum) + self.sum };
        }
        self.sum = sum;
    }

    /// The sum so far.
    pub fn value(self) -> f64 {
        if self.sum.is_finite() { self.sum + self.lost } else { self.sum }
    }
}

/// Evaluates the argument and puts its series together.
pub fn eval(evaluation: &Evaluation<'_>, tree: &AggregateExpr, grid: Grid) -> Result<Answer, Error> {
    let op = tree.op.id();
    let parameter = match &tree.param {
        Some(tree) if op != T_COUNT_VALUES => evaluation.number(tree, grid)?,
        _ => Vec::new(),
    };
    let rows = evaluation.vector(&tree.expr, grid)?;
    let (groups, members) = grouped(tree.modifier.as_ref(), &rows);
    evaluation.charge(groups.len().saturating_mul(grid.steps))?;
    evaluation.work(rows.len().saturating_mul(grid.steps))?;
    match op {
        T_TOPK | T_BOTTOMK => Ok(Answer::Vector(best(op, &parameter, rows, &members, groups.len(), grid))),
        T_QUANTILE => {
            let at = |step: usize| parameter.get(step).copied().unwrap_or(f64::NAN);
            Ok(Answer::Vector(by_step(groups, &members, &rows, grid, |step, values| quantile(at(step), values))))
        }
        T_STDDEV => Ok(Answer::Vector(by_step(groups, &members, &rows, grid, |_, values| variance(values).sqrt()))),
        T_STDVAR => Ok(Answer::Vector(by_step(groups, &members, &rows, grid, |_, values| variance(values)))),
        T_COUNT_VALUES => count_values(evaluation, tree.param.as_deref(), groups, &members, &rows, grid),
        _ => Ok(Answer::Vector(folded(op, groups, &members, &rows, grid))),
    }
}

/// The groups, and to which of them each row belongs.
fn grouped(modifier: Option<&LabelModifier>, rows: &[Row]) -> (Vec<Labels>, Vec<usize>) {
    let mut places: HashMap<Labels, usize> = HashMap::new();
    let mut groups = Vec::new();
    let members = rows.iter().map(|row| {
        let group = match modifier {
            None => Labels::default(),
            Some(LabelModifier::Include(names)) => row.labels.keep(&names.labels),
            Some(LabelModifier::Exclude(names)) => row.labels.without_name().drop(&names.labels),
        };
        *places.entry(group).or_insert_with_key(|group| {
            groups.push(group.clone());
            groups.len() - 1
        })
    });
    let members = members.collect();
    (groups, members)
}

/// Sum, mean, extremes, count: one pass over each row.
fn folded(op: TokenId, groups: Vec<Labels>, members: &[usize], rows: &[Row], grid: Grid) -> Vec<Row> {
    let mut results: Vec<Row> = groups.into_iter().map(|labels| Row { labels, cells: vec![ABSENT; grid.steps] }).collect();
    let mut sums: Vec<Vec<(Sum, f64)>> = match op {
        T_SUM | T_AVG => vec![vec![(Sum::default(), 0.0); grid.steps]; results.len()],
        _ => Vec::new(),
    };
    for (row, &group) in rows.iter().zip(members) {
        if let Some(sums) = sums.get_mut(group) {
            for ((sum, count), &cell) in sums.iter_mut().zip(&row.cells) {
                if !is_absent(cell) {
                    sum.add(cell);
                    *count += 1.0;
                }
            }
        } else if let Some(into) = results.get_mut(group) {
            for (have, &cell) in into.cells.iter_mut().zip(&row.cells) {
                if is_absent(cell) {
                    continue;
                }
                *have = match op {
                    T_COUNT if is_absent(*have) => 1.0,
                    T_COUNT => *have + 1.0,
                    T_GROUP => 1.0,
                    // NaN gives way to any number; `ABSENT` is one too.
                    T_MIN if have.is_nan() || cell < *have => cell,
                    T_MAX if have.is_nan() || cell > *have => cell,
                    _ => *have,
                };
            }
        }
    }
    for (into, sums) in results.iter_mut().zip(sums) {
        for (cell, (sum, count)) in into.cells.iter_mut().zip(sums) {
            if count > 0.0 {
                *cell = if op == T_AVG { sum.value() / count } else { sum.value() };
            }
        }
    }
    results
}

/// What needs all values of a group at one step.
fn by_step(groups: Vec<Labels>, members: &[usize], rows: &[Row], grid: Grid, function: impl Fn(usize, &mut Vec<f64>) -> f64) -> Vec<Row> {
    let mut of_group = vec![Vec::new(); groups.len()];
    for (row, &group) in rows.iter().zip(members) {
        if let Some(rows) = of_group.get_mut(group) {
            rows.push(row);
        }
    }
    let mut values = Vec::new();
    let results = groups.into_iter().zip(of_group).map(|(labels, rows)| {
        let cells = (0..grid.steps).map(|step| {
            values.clear();
            values.extend(rows.iter().filter_map(|row| row.cells.get(step).copied()).filter(|cell| !is_absent(*cell)));
            if values.is_empty() { ABSENT } else { function(step, &mut values) }
        });
        Row { labels, cells: cells.collect() }
    });
    results.collect()
}

/// The largest or smallest of each group keep their labels; the others lose their values.
fn best(op: TokenId, parameter: &[f64], mut rows: Vec<Row>, members: &[usize], groups: usize, grid: Grid) -> Vec<Row> {
    let mut of_group = vec![Vec::new(); groups];
    for (index, &group) in members.iter().enumerate() {
        if let Some(indices) = of_group.get_mut(group) {
            indices.push(index);
        }
    }
    // Best first; NaN is worst.
    let order = |a: f64, b: f64| match (a.is_nan(), b.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        _ if op == T_TOPK => b.total_cmp(&a),
        _ => a.total_cmp(&b),
    };
    let mut ranked: Vec<(f64, usize)> = Vec::new();
    let mut last_order = Vec::new();
    for indices in &of_group {
        for step in 0..grid.steps {
            let most = parameter.get(step).copied().unwrap_or(0.0);
            // As a cast does: below 1 and NaN give none.
            let most = if most >= 1.0 { most as usize } else { 0 };
            ranked.clear();
            ranked.extend(indices.iter().filter_map(|&index| Some((*rows.get(index)?.cells.get(step)?, index))));
            ranked.retain(|(value, _)| !is_absent(*value));
            ranked.sort_by(|a, b| order(a.0, b.0));
            for (_, index) in ranked.iter().skip(most) {
                if let Some(cell) = rows.get_mut(*index).and_then(|row| row.cells.get_mut(step)) {
                    *cell = ABSENT;
                }
            }
            if grid.steps == 1 {
                last_order.extend(ranked.iter().take(most).map(|(_, index)| *index));
            }
        }
    }
    if grid.steps == 1 {
        // An instant query shows them in their order.
        let mut rows: Vec<Option<Row>> = rows.into_iter().map(Some).collect();
        return last_order.into_iter().filter_map(|index| rows.get_mut(index)?.take()).collect();
    }
    rows.retain(|row| row.cells.iter().any(|&cell| !is_absent(cell)));
    rows
}

fn count_values(
    evaluation: &Evaluation<'_>,
    parameter: Option<&Expr>,
    groups: Vec<Labels>,
    members: &[usize],
    rows: &[Row],
    grid: Grid,
) -> Result<Answer, Error> {
    let Some(Expr::StringLiteral(label)) = parameter.map(strip) else { return Err(unexpected()) };
    if !is_label_name(&label.val) {
        return Err(Error::BadData(format!("{:?} is no label name", label.val)));
    }
    let mut counts: HashMap<(usize, String), Vec<f64>> = HashMap::new();
    for (row, &group) in rows.iter().zip(members) {
        for (step, &cell) in row.cells.iter().enumerate() {
            if is_absent(cell) {
                continue;
            }
            let key = (group, super::eval::number_text(cell));
            if !counts.contains_key(&key) {
                evaluation.charge_label(label.val.len(), key.1.len())?;
                evaluation.charge(grid.steps)?;
            }
            if let Some(count) = counts.entry(key).or_insert_with(|| vec![ABSENT; grid.steps]).get_mut(step) {
                *count = if is_absent(*count) { 1.0 } else { *count + 1.0 };
            }
        }
    }
    let row = |((group, value), cells): ((usize, String), Vec<f64>)| Row {
        labels: groups.get(group).cloned().unwrap_or_default().with(&label.val, &value),
        cells,
    };
    Ok(Answer::Vector(unique(counts.into_iter().map(row).collect())?))
}

/// The φ-quantile by linear interpolation between ranks; sorts `values`. Below 0 and above 1: the infinities.
pub fn quantile(phi: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || phi.is_nan() {
        return f64::NAN;
    }
    if phi < 0.0 {
        return f64::NEG_INFINITY;
    }
    if phi > 1.0 {
        return f64::INFINITY;
    }
    values.sort_by(|a, b| match (a.is_nan(), b.is_nan()) {
        // NaN counts as the smallest.
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        _ => a.total_cmp(b),
    });
    let rank = phi * (values.len() - 1) as f64;
    let (below, above) = (rank.floor(), (rank.floor() + 1.0).min((values.len() - 1) as f64));
    let weight = rank - rank.floor();
    let value = |rank: f64| values.get(rank as usize).copied().unwrap_or(f64::NAN);
    value(below) * (1.0 - weight) + value(above) * weight
}

/// Population variance (Welford).
pub fn variance(values: &[f64]) -> f64 {
    let (mut count, mut mean, mut squares) = (0.0, Sum::default(), Sum::default());
    for &value in values {
        count += 1.0;
        let delta = value - mean.value();
        mean.add(delta / count);
        squares.add(delta * (value - mean.value()));
    }
    squares.value() / count
}
