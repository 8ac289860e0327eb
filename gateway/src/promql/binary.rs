//! Operators between two parts: arithmetic, comparison, set operators, with vector matching.

use std::collections::{HashMap, HashSet};

use promql_parser::parser::token::{
    T_ADD, T_ATAN2, T_DIV, T_EQLC, T_GTE, T_GTR, T_LAND, T_LOR, T_LSS, T_LTE, T_LUNLESS, T_MOD, T_MUL, T_NEQ, T_POW, T_SUB, TokenId,
};
use promql_parser::parser::{BinModifier, BinaryExpr, LabelModifier, VectorMatchCardinality};

use super::Error;
use super::eval::{Answer, Evaluation, Grid, Row, merge, unexpected, unique};
use super::labels::Labels;
use super::source::{ABSENT, is_absent};

/// Evaluates both sides and joins them.
pub fn eval(evaluation: &Evaluation<'_>, tree: &BinaryExpr, grid: Grid) -> Result<Answer, Error> {
    let op = tree.op.id();
    let modifier = tree.modifier.clone().unwrap_or_default();
    let left = evaluation.eval(&tree.lhs, grid)?;
    let right = evaluation.eval(&tree.rhs, grid)?;
    match (left, right) {
        (Answer::Scalar(left), Answer::Scalar(right)) => {
            let both = left.into_iter().zip(right);
            Ok(Answer::Scalar(
                both.map(|(left, right)| if compares(op) { truth(op, left, right) } else { arithmetic(op, left, right) }).collect(),
            ))
        }
        (Answer::Vector(rows), Answer::Scalar(numbers)) => with_scalar(evaluation, op, &modifier, rows, &numbers, false),
        (Answer::Scalar(numbers), Answer::Vector(rows)) => with_scalar(evaluation, op, &modifier, rows, &numbers, true),
        (Answer::Vector(left), Answer::Vector(right)) => match op {
            T_LAND | T_LOR | T_LUNLESS => sets(evaluation, op, &modifier, left, right, grid),
            _ => vectors(evaluation, op, &modifier, left, right, grid),
        },
        _ => Err(unexpected()),
    }
}

fn compares(op: TokenId) -> bool {
    matches!(op, T_EQLC | T_NEQ | T_GTR | T_LSS | T_GTE | T_LTE)
}

fn holds(op: TokenId, left: f64, right: f64) -> bool {
    match op {
        T_EQLC => left == right,
        T_NEQ => left != right,
        T_GTR => left > right,
        T_LSS => left < right,
        T_GTE => left >= right,
        _ => left <= right,
    }
}

fn truth(op: TokenId, left: f64, right: f64) -> f64 {
    f64::from(u8::from(holds(op, left, right)))
}

fn arithmetic(op: TokenId, left: f64, right: f64) -> f64 {
    match op {
        T_ADD => left + right,
        T_SUB => left - right,
        T_MUL => left * right,
        T_DIV => left / right,
        T_MOD => left % right,
        T_POW => left.powf(right),
        T_ATAN2 => left.atan2(right),
        _ => f64::NAN,
    }
}

/// What the operator makes of two values: its result, the left value that passed a comparison, or nothing.
fn apply(op: TokenId, is_bool: bool, left: f64, right: f64) -> f64 {
    if !compares(op) {
        arithmetic(op, left, right)
    } else if is_bool {
        truth(op, left, right)
    } else if holds(op, left, right) {
        left
    } else {
        ABSENT
    }
}

fn with_scalar(
    evaluation: &Evaluation<'_>,
    op: TokenId,
    modifier: &BinModifier,
    mut rows: Vec<Row>,
    numbers: &[f64],
    number_is_left: bool,
) -> Result<Answer, Error> {
    let filters = compares(op) && !modifier.return_bool;
    for row in &mut rows {
        evaluation.work(row.cells.len())?;
        for (cell, &number) in row.cells.iter_mut().zip(numbers) {
            if is_absent(*cell) {
                continue;
            }
            *cell = match (filters, number_is_left) {
                // A filter always gives the vector's value.
                (true, true) => {
                    if holds(op, number, *cell) {
                        *cell
                    } else {
                        ABSENT
                    }
                }
                (_, true) => apply(op, modifier.return_bool, number, *cell),
                (_, false) => apply(op, modifier.return_bool, *cell, number),
            };
        }
        if !filters {
            row.labels = row.labels.without_name();
        }
    }
    rows.retain(has_value);
    Ok(Answer::Vector(if filters { rows } else { unique(rows)? }))
}

fn has_value(row: &Row) -> bool {
    row.cells.iter().any(|&cell| !is_absent(cell))
}

/// The labels by which two sides are matched.
fn signature(modifier: &BinModifier, labels: &Labels) -> Labels {
    match &modifier.matching {
        Some(LabelModifier::Include(names)) => labels.keep(&names.labels),
        Some(LabelModifier::Exclude(names)) => labels.without_name().drop(&names.labels),
        None => labels.without_name(),
    }
}

fn by_signature(modifier: &BinModifier, rows: &[Row]) -> HashMap<Labels, Vec<usize>> {
    let mut groups: HashMap<Labels, Vec<usize>> = HashMap::with_capacity(rows.len());
    for (index, row) in rows.iter().enumerate() {
        groups.entry(signature(modifier, &row.labels)).or_default().push(index);
    }
    groups
}

fn vectors(
    evaluation: &Evaluation<'_>,
    op: TokenId,
    modifier: &BinModifier,
    left: Vec<Row>,
    right: Vec<Row>,
    grid: Grid,
) -> Result<Answer, Error> {
    let swapped = matches!(modifier.card, VectorMatchCardinality::OneToMany(_));
    let one_to_one = modifier.card == VectorMatchCardinality::OneToOne;
    let (many, one) = if swapped { (right, left) } else { (left, right) };
    let ones = by_signature(modifier, &one);
    for (group, members) in &ones {
        if members.len() > 1 {
            evaluation.work(members.len().saturating_mul(grid.steps))?;
            if clashes(grid.steps, members.iter().filter_map(|&index| one.get(index))) {
                let side = if swapped { "left" } else { "right" };
                return Err(Error::Execution(format!(
                    "found duplicate series for the match group {group} on the {side} hand-side of the operation;\
                     many-to-many matching not allowed: matching labels must be unique on one side"
                )));
            }
        }
    }
    let mut results: Vec<Row> = Vec::with_capacity(many.len());
    // Steps at which a match group has a result already; only where several series share it.
    let mut taken: HashMap<Labels, Vec<bool>> = HashMap::new();
    let mut shared: HashSet<Labels> = HashSet::new();
    if one_to_one {
        shared = by_signature(modifier, &many).into_iter().filter(|(_, members)| members.len() > 1).map(|(group, _)| group).collect();
    }
    for row in many {
        let group = signature(modifier, &row.labels);
        for other in ones.get(&group).into_iter().flatten().filter_map(|&index| one.get(index)) {
            evaluation.charge(grid.steps)?;
            let pairs = row.cells.iter().zip(&other.cells);
            let cells: Vec<f64> = pairs
                .map(|(&value, &other)| match (is_absent(value) || is_absent(other), swapped) {
                    (true, _) => ABSENT,
                    (_, true) => apply(op, modifier.return_bool, other, value),
                    (_, false) => apply(op, modifier.return_bool, value, other),
                })
                .collect();
            if shared.contains(&group) {
                let steps = taken.entry(group.clone()).or_insert_with(|| vec![false; grid.steps]);
                for (taken, cell) in steps.iter_mut().zip(&cells) {
                    if !is_absent(*cell) && std::mem::replace(taken, true) {
                        return Err(Error::Execution(
                            "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)".into(),
                        ));
                    }
                }
            }
            results.push(Row { labels: result_labels(evaluation, op, modifier, &row.labels, &other.labels)?, cells });
        }
    }
    results.retain(has_value);
    let clash = if one_to_one {
        "vector cannot contain metrics with the same labelset"
    } else {
        "multiple matches for labels: grouping labels must ensure unique matches"
    };
    Ok(Answer::Vector(merge(results, clash)?))
}

/// Whether two rows have a value at one step.
fn clashes<'a>(steps: usize, rows: impl Iterator<Item = &'a Row>) -> bool {
    let mut taken = vec![false; steps];
    for row in rows {
        for (taken, cell) in taken.iter_mut().zip(&row.cells) {
            if !is_absent(*cell) && std::mem::replace(taken, true) {
                return true;
            }
        }
    }
    false
}

fn result_labels(evaluation: &Evaluation<'_>, op: TokenId, modifier: &BinModifier, many: &Labels, one: &Labels) -> Result<Labels, Error> {
    let mut labels = if compares(op) && !modifier.return_bool { many.clone() } else { many.without_name() };
    if modifier.card == VectorMatchCardinality::OneToOne {
        labels = match &modifier.matching {
            Some(LabelModifier::Include(names)) => labels.keep(&names.labels),
            Some(LabelModifier::Exclude(names)) => labels.drop(&names.labels),
            None => labels,
        };
    }
    for name in modifier.card.labels().into_iter().flat_map(|names| &names.labels) {
        evaluation.charge_label(name.len(), one.get(name).len())?;
        labels = labels.with(name, one.get(name));
    }
    Ok(labels)
}

fn sets(
    evaluation: &Evaluation<'_>,
    op: TokenId,
    modifier: &BinModifier,
    mut left: Vec<Row>,
    mut right: Vec<Row>,
    grid: Grid,
) -> Result<Answer, Error> {
    evaluation.charge(left.len().saturating_add(right.len()).saturating_mul(grid.steps))?;
    let presence = |rows: &[Row]| {
        let mut groups: HashMap<Labels, Vec<bool>> = HashMap::with_capacity(rows.len());
        for row in rows {
            let steps = groups.entry(signature(modifier, &row.labels)).or_insert_with(|| vec![false; grid.steps]);
            for (present, cell) in steps.iter_mut().zip(&row.cells) {
                *present |= !is_absent(*cell);
            }
        }
        groups
    };
    // Leaves a row its values where its group is present, or where it is not.
    let mask = |rows: &mut Vec<Row>, groups: &HashMap<Labels, Vec<bool>>, wanted: bool| {
        for row in rows.iter_mut() {
            match groups.get(&signature(modifier, &row.labels)) {
                Some(steps) => {
                    for (cell, present) in row.cells.iter_mut().zip(steps) {
                        if *present != wanted {
                            *cell = ABSENT;
                        }
                    }
                }
                None if wanted => row.cells.fill(ABSENT),
                None => {}
            }
        }
        rows.retain(has_value);
    };
    match op {
        T_LAND => mask(&mut left, &presence(&right), true),
        T_LUNLESS => mask(&mut left, &presence(&right), false),
        _ => {
            mask(&mut right, &presence(&left), false);
            left.extend(right);
            left = unique(left)?;
        }
    }
    Ok(Answer::Vector(left))
}
