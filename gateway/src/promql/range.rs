//! Functions of ranges: `avg_over_time(x[1h])`, `rate(x[5m])`. A window is `(end - range, end]`.
//!
//! Windows are cut from samples that were read once, by two indices that only move forward.

use promql_parser::parser::{Call, Expr};

use super::Error;
use super::aggregate::{Sum, quantile, variance};
use super::eval::{Answer, Evaluation, Grid, Ranged, Row, unexpected, unique};
use super::instant::absent_labels;
use super::slide::Slide;
use super::source::{ABSENT, Part, is_absent};

/// The functions there are.
pub const NAMES: &[&str] = &[
    "absent_over_time",
    "avg_over_time",
    "changes",
    "count_over_time",
    "delta",
    "deriv",
    "first_over_time",
    "idelta",
    "increase",
    "irate",
    "last_over_time",
    "max_over_time",
    "min_over_time",
    "predict_linear",
    "present_over_time",
    "quantile_over_time",
    "rate",
    "resets",
    "stddev_over_time",
    "stdvar_over_time",
    "sum_over_time",
];

/// What lies in one window, never empty.
struct Window<'a> {
    times: &'a [i64],
    values: &'a [f64],
    /// Start, exclusive.
    after: i64,
    /// End, inclusive.
    upto: i64,
}

/// Evaluates a call of one of [`NAMES`].
pub fn eval(evaluation: &Evaluation<'_>, call: &Call, grid: Grid) -> Result<Answer, Error> {
    let name = call.func.name;
    let arguments: Vec<&Expr> = call.args.args.iter().map(|argument| &**argument).collect();
    // The range is the last argument, or the first of two for a prediction.
    let (tree, parameter) = match (name, arguments.as_slice()) {
        ("quantile_over_time", &[parameter, tree]) | ("predict_linear", &[tree, parameter]) => (tree, evaluation.number(parameter, grid)?),
        (_, &[tree]) => (tree, Vec::new()),
        _ => return Err(unexpected()),
    };
    let keeps_name = matches!(name, "last_over_time" | "first_over_time");
    if let Some(function) = of_part(name)
        && let Some(mut rows) = evaluation.in_parts(tree, grid, matches!(name, "min_over_time" | "max_over_time"), function)?
    {
        if !keeps_name {
            rows.iter_mut().for_each(|row| row.labels = row.labels.without_name());
        }
        return Ok(Answer::Vector(unique(rows)?));
    }
    let ranged = evaluation.ranged(tree, grid)?;
    if name == "absent_over_time" {
        return absent(evaluation, tree, &ranged, grid);
    }
    // A window fixed by `@` is the same at every step, but for functions that take a parameter per step.
    let steps = if parameter.is_empty() { ranged.ends.steps } else { grid.steps };
    let mut rows = Vec::with_capacity(ranged.series.len());
    for (labels, samples) in &ranged.series {
        if samples.times.is_empty() {
            continue;
        }
        evaluation.charge(grid.steps)?;
        let mut cells = Vec::with_capacity(grid.steps);
        let (mut first, mut next) = (0, 0);
        let mut scratch = Vec::new();
        let mut slide = Slide::new(name, &samples.values);
        for step in 0..steps {
            let upto = ranged.ends.time(step.min(ranged.ends.steps.saturating_sub(1)));
            let after = upto.saturating_sub(ranged.range_ms);
            while samples.times.get(next).is_some_and(|&time| time <= upto) {
                next += 1;
            }
            while samples.times.get(first).is_some_and(|&time| time <= after) {
                first += 1;
            }
            let (Some(times), Some(values)) = (samples.times.get(first..next), samples.values.get(first..next)) else {
                cells.push(ABSENT);
                continue;
            };
            if times.is_empty() {
                cells.push(ABSENT);
                continue;
            }
            let window = Window { times, values, after, upto };
            if let Some(slide) = &mut slide {
                evaluation.work(1)?;
                let carried = slide.to(&samples.values, first, next);
                cells.push(carry(name, &window, carried).unwrap_or(ABSENT));
                continue;
            }
            evaluation.work(times.len())?;
            let parameter = parameter.get(step).copied().unwrap_or(f64::NAN);
            cells.push(apply(name, &window, parameter, &mut scratch, grid.time(step)).unwrap_or(ABSENT));
        }
        if cells.len() < grid.steps {
            let value = cells.first().copied().unwrap_or(ABSENT);
            cells.resize(grid.steps, value);
        }
        if cells.iter().any(|&cell| !is_absent(cell)) {
            rows.push(Row { labels: if keeps_name { labels.clone() } else { labels.without_name() }, cells });
        }
    }
    Ok(Answer::Vector(unique(rows)?))
}

/// What a function makes of joined parts.
fn of_part(name: &str) -> Option<fn(&Part) -> f64> {
    Some(match name {
        "avg_over_time" => |part| part.sum / part.count as f64,
        "sum_over_time" => |part| part.sum,
        "count_over_time" => |part| part.count as f64,
        "min_over_time" => |part| part.min,
        "max_over_time" => |part| part.max,
        "last_over_time" => |part| part.last,
        "present_over_time" => |_| 1.0,
        _ => return None,
    })
}

fn absent(evaluation: &Evaluation<'_>, tree: &Expr, ranged: &Ranged, grid: Grid) -> Result<Answer, Error> {
    let mut cells = evaluation.scalar(vec![1.0; grid.steps])?;
    for (_, samples) in &ranged.series {
        evaluation.work(grid.steps)?;
        for (step, cell) in cells.iter_mut().enumerate() {
            let upto = ranged.ends.time(step.min(ranged.ends.steps.saturating_sub(1)));
            let next = samples.times.partition_point(|&time| time <= upto);
            let last = next.checked_sub(1).and_then(|index| samples.times.get(index));
            if last.is_some_and(|&time| time > upto.saturating_sub(ranged.range_ms)) {
                *cell = ABSENT;
            }
        }
    }
    let rows = if cells.iter().all(|&cell| is_absent(cell)) { Vec::new() } else { vec![Row { labels: absent_labels(tree), cells }] };
    Ok(Answer::Vector(rows))
}

/// As [`apply`], for functions whose figure is carried from window to window.
fn carry(name: &str, window: &Window<'_>, carried: f64) -> Option<f64> {
    match name {
        "avg_over_time" => Some(carried / window.values.len() as f64),
        "rate" => extrapolated(window, Some(carried), true),
        "increase" => extrapolated(window, Some(carried), false),
        _ => Some(carried),
    }
}

/// What a counter lost by starting over within a window.
fn lost(values: &[f64]) -> f64 {
    pairs(values).filter(|(before, after)| after < before).map(|(before, _)| before).sum()
}

fn apply(name: &str, window: &Window<'_>, parameter: f64, scratch: &mut Vec<f64>, now: i64) -> Option<f64> {
    let values = window.values;
    let copied = || {
        scratch.clear();
        scratch.extend_from_slice(values);
        scratch
    };
    match name {
        "avg_over_time" => Some(sum(values) / values.len() as f64),
        "sum_over_time" => Some(sum(values)),
        "count_over_time" => Some(values.len() as f64),
        "min_over_time" => Some(values.iter().copied().fold(f64::NAN, |a, b| if a.is_nan() || b < a { b } else { a })),
        "max_over_time" => Some(values.iter().copied().fold(f64::NAN, |a, b| if a.is_nan() || b > a { b } else { a })),
        "last_over_time" => values.last().copied(),
        "first_over_time" => values.first().copied(),
        "present_over_time" => Some(1.0),
        "quantile_over_time" => Some(quantile(parameter, copied())),
        "stddev_over_time" => Some(variance(values).sqrt()),
        "stdvar_over_time" => Some(variance(values)),
        "rate" => extrapolated(window, Some(lost(values)), true),
        "increase" => extrapolated(window, Some(lost(values)), false),
        "delta" => extrapolated(window, None, false),
        "irate" => last_two(window, true),
        "idelta" => last_two(window, false),
        "changes" => Some(pairs(values).filter(|(a, b)| a != b && !(a.is_nan() && b.is_nan())).count() as f64),
        "resets" => Some(pairs(values).filter(|(a, b)| b < a).count() as f64),
        "deriv" => (values.len() > 1).then(|| line(window, *window.times.first().unwrap_or(&0)).0),
        "predict_linear" => (values.len() > 1).then(|| {
            let (slope, at_now) = line(window, now);
            slope * parameter + at_now
        }),
        _ => None,
    }
}

fn pairs(values: &[f64]) -> impl Iterator<Item = (f64, f64)> {
    values.iter().copied().zip(values.iter().copied().skip(1))
}

fn sum(values: &[f64]) -> f64 {
    let mut sum = Sum::default();
    for &value in values {
        sum.add(value);
    }
    sum.value()
}

/// `rate`, `increase`, `delta`: the difference, extended to the ends of the window where samples come near them.
/// `lost` is what a counter lost by starting over, `None` for what is no counter. As `extrapolatedRate` of Prometheus 3.
fn extrapolated(window: &Window<'_>, lost: Option<f64>, per_second: bool) -> Option<f64> {
    let (first_time, last_time) = (*window.times.first()?, *window.times.last()?);
    let (first, last) = (*window.values.first()?, *window.values.last()?);
    if window.values.len() < 2 {
        return None;
    }
    let result = last - first + lost.unwrap_or(0.0);
    let seconds = |milliseconds: i64| milliseconds as f64 / 1000.0;
    let mut to_start = seconds(first_time - window.after);
    let mut to_end = seconds(window.upto - last_time);
    let sampled = seconds(last_time - first_time);
    let between = sampled / (window.values.len() - 1) as f64;
    let threshold = between * 1.1;
    if to_start >= threshold {
        to_start = between / 2.0;
    }
    if lost.is_some() && result > 0.0 && first >= 0.0 {
        // A counter cannot have been below zero.
        to_start = to_start.min(sampled * (first / result));
    }
    if to_end >= threshold {
        to_end = between / 2.0;
    }
    let factor = (sampled + to_start + to_end) / sampled;
    let range = seconds(window.upto - window.after);
    Some(if per_second { result * factor / range } else { result * factor })
}

/// `irate`, `idelta`: between the last two samples.
fn last_two(window: &Window<'_>, is_rate: bool) -> Option<f64> {
    let (&[.., time_before, time_last], &[.., before, last]) = (window.times, window.values) else { return None };
    if !is_rate {
        return Some(last - before);
    }
    // After a reset it counted from zero.
    let result = if last < before { last } else { last - before };
    Some(result / ((time_last - time_before) as f64 / 1000.0))
}

/// Slope per second, and the value at `origin`, of the line that fits best.
fn line(window: &Window<'_>, origin: i64) -> (f64, f64) {
    let count = window.values.len() as f64;
    let initial = window.values.first().copied().unwrap_or(f64::NAN);
    if window.values.iter().all(|&value| value == initial) {
        return if initial.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, initial) };
    }
    let (mut sum_x, mut sum_y, mut sum_xy, mut sum_xx) = (Sum::default(), Sum::default(), Sum::default(), Sum::default());
    for (&time, &value) in window.times.iter().zip(window.values) {
        let x = (time - origin) as f64 / 1000.0;
        sum_x.add(x);
        sum_y.add(value);
        sum_xy.add(x * value);
        sum_xx.add(x * x);
    }
    let (sum_x, sum_y) = (sum_x.value(), sum_y.value());
    let covariance = sum_xy.value() - sum_x * sum_y / count;
    let variance = sum_xx.value() - sum_x * sum_x / count;
    let slope = covariance / variance;
    (slope, sum_y / count - slope * sum_x / count)
}
