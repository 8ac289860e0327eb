//! Functions of values at one instant: `clamp_min(x, 0)`, `label_replace(...)`, `time()`, `absent(x)`.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use promql_parser::label::MatchOp;
use promql_parser::parser::{Call, Expr, VectorSelector};

use super::Error;
use super::eval::{Answer, Evaluation, Grid, Row, strip, unexpected, unique};
use super::guard::compile;
use super::labels::{Labels, NAME, is_label_name};
use super::source::{ABSENT, is_absent};

/// The functions there are.
pub const NAMES: &[&str] = &[
    "abs",
    "absent",
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "ceil",
    "clamp",
    "clamp_max",
    "clamp_min",
    "cos",
    "cosh",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "days_in_month",
    "deg",
    "exp",
    "floor",
    "hour",
    "label_join",
    "label_replace",
    "ln",
    "log10",
    "log2",
    "minute",
    "month",
    "pi",
    "rad",
    "round",
    "scalar",
    "sgn",
    "sin",
    "sinh",
    "sort",
    "sort_desc",
    "sqrt",
    "tan",
    "tanh",
    "time",
    "timestamp",
    "vector",
    "year",
];

/// Evaluates a call of one of [`NAMES`].
pub fn eval(evaluation: &Evaluation<'_>, call: &Call, grid: Grid) -> Result<Answer, Error> {
    let name = call.func.name;
    let arguments: Vec<&Expr> = call.args.args.iter().map(|argument| &**argument).collect();
    if let Some(function) = of_value(name) {
        let &[tree] = arguments.as_slice() else { return Err(unexpected()) };
        return evaluation.map(evaluation.vector(tree, grid)?, function);
    }
    if let Some(function) = of_date(name) {
        let rows = match arguments.as_slice() {
            [] => vec![Row { labels: Labels::default(), cells: evaluation.scalar(seconds(grid))? }],
            &[tree] => evaluation.vector(tree, grid)?,
            _ => return Err(unexpected()),
        };
        return evaluation.map(rows, |value| date(value).map_or(f64::NAN, function));
    }
    match (name, arguments.as_slice()) {
        ("time", []) => Ok(Answer::Scalar(evaluation.scalar(seconds(grid))?)),
        ("pi", []) => Ok(Answer::Scalar(evaluation.scalar(vec![std::f64::consts::PI; grid.steps])?)),
        ("vector", &[tree]) => Ok(Answer::Vector(vec![Row { labels: Labels::default(), cells: evaluation.number(tree, grid)? }])),
        ("scalar", &[tree]) => Ok(Answer::Scalar(only(evaluation, &evaluation.vector(tree, grid)?, grid)?)),
        ("absent", &[tree]) => absent(evaluation, tree, grid),
        ("timestamp", &[tree]) => timestamp(evaluation, tree, grid),
        ("sort" | "sort_desc", &[tree]) => {
            let mut rows = evaluation.vector(tree, grid)?;
            if grid.steps == 1 {
                let value = |row: &Row| row.cells.first().copied().unwrap_or(f64::NAN);
                let descending = name == "sort_desc";
                // NaN last either way.
                rows.sort_by(|a, b| {
                    let (a, b) = (value(a), value(b));
                    a.is_nan().cmp(&b.is_nan()).then_with(|| if descending { b.total_cmp(&a) } else { a.total_cmp(&b) })
                });
            }
            Ok(Answer::Vector(rows))
        }
        ("clamp", &[tree, low, high]) => {
            let rows = evaluation.vector(tree, grid)?;
            clamp(evaluation, rows, &evaluation.number(low, grid)?, &evaluation.number(high, grid)?)
        }
        ("clamp_min", &[tree, low]) => {
            let rows = evaluation.vector(tree, grid)?;
            clamp(evaluation, rows, &evaluation.number(low, grid)?, &evaluation.scalar(vec![f64::INFINITY; grid.steps])?)
        }
        ("clamp_max", &[tree, high]) => {
            let rows = evaluation.vector(tree, grid)?;
            clamp(evaluation, rows, &evaluation.scalar(vec![f64::NEG_INFINITY; grid.steps])?, &evaluation.number(high, grid)?)
        }
        ("round", &[tree]) => evaluation.map(evaluation.vector(tree, grid)?, |value| round(value, 1.0)),
        ("round", &[tree, nearest]) => {
            let rows = evaluation.vector(tree, grid)?;
            let nearest = evaluation.number(nearest, grid)?;
            evaluation.map_steps(rows, |step, value| round(value, nearest.get(step).copied().unwrap_or(f64::NAN)))
        }
        ("label_replace", &[tree, target, replacement, source, pattern]) => {
            let rows = evaluation.vector(tree, grid)?;
            label_replace(evaluation, rows, text(target)?, text(replacement)?, text(source)?, text(pattern)?)
        }
        ("label_join", &[tree, target, separator, ref sources @ ..]) => {
            let rows = evaluation.vector(tree, grid)?;
            let sources = sources.iter().map(|source| text(source)).collect::<Result<Vec<_>, _>>()?;
            label_join(evaluation, rows, text(target)?, text(separator)?, &sources)
        }
        _ => Err(unexpected()),
    }
}

fn seconds(grid: Grid) -> Vec<f64> {
    grid.times().map(|time| time as f64 / 1000.0).collect()
}

/// Functions of one number.
fn of_value(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "abs" => f64::abs,
        "acos" => f64::acos,
        "acosh" => f64::acosh,
        "asin" => f64::asin,
        "asinh" => f64::asinh,
        "atan" => f64::atan,
        "atanh" => f64::atanh,
        "ceil" => f64::ceil,
        "cos" => f64::cos,
        "cosh" => f64::cosh,
        "deg" => f64::to_degrees,
        "exp" => f64::exp,
        "floor" => f64::floor,
        "ln" => f64::ln,
        "log10" => f64::log10,
        "log2" => f64::log2,
        "rad" => f64::to_radians,
        "sgn" => |value| if value == 0.0 || value.is_nan() { value } else { value.signum() },
        "sin" => f64::sin,
        "sinh" => f64::sinh,
        "sqrt" => f64::sqrt,
        "tan" => f64::tan,
        "tanh" => f64::tanh,
        _ => return None,
    })
}

/// Functions of a date in UTC.
fn of_date(name: &str) -> Option<fn(jiff::civil::DateTime) -> f64> {
    Some(match name {
        "day_of_month" => |date| f64::from(date.day()),
        "day_of_week" => |date| f64::from(date.weekday().to_sunday_zero_offset()),
        "day_of_year" => |date| f64::from(date.day_of_year()),
        "days_in_month" => |date| f64::from(date.days_in_month()),
        "hour" => |date| f64::from(date.hour()),
        "minute" => |date| f64::from(date.minute()),
        "month" => |date| f64::from(date.month()),
        "year" => |date| f64::from(date.year()),
        _ => return None,
    })
}

/// The date of seconds since 1970; `None` beyond the calendar.
fn date(seconds: f64) -> Option<jiff::civil::DateTime> {
    let timestamp = Timestamp::from_second(if seconds.is_finite() { seconds.trunc() as i64 } else { return None }).ok()?;
    Some(TimeZone::UTC.to_datetime(timestamp))
}

/// The value of the one series there is at each step; NaN where there are none or several.
fn only(evaluation: &Evaluation<'_>, rows: &[Row], grid: Grid) -> Result<Vec<f64>, Error> {
    evaluation.work(rows.len().saturating_mul(grid.steps))?;
    let mut cells = evaluation.scalar(vec![ABSENT; grid.steps])?;
    for row in rows {
        for (have, &cell) in cells.iter_mut().zip(&row.cells) {
            if !is_absent(cell) {
                *have = if is_absent(*have) { cell } else { f64::NAN };
            }
        }
    }
    for cell in &mut cells {
        if is_absent(*cell) {
            *cell = f64::NAN;
        }
    }
    Ok(cells)
}

fn absent(evaluation: &Evaluation<'_>, tree: &Expr, grid: Grid) -> Result<Answer, Error> {
    let rows = evaluation.vector(tree, grid)?;
    evaluation.work(rows.len().saturating_mul(grid.steps))?;
    let mut cells = evaluation.scalar(vec![1.0; grid.steps])?;
    for row in &rows {
        for (have, &cell) in cells.iter_mut().zip(&row.cells) {
            if !is_absent(cell) {
                *have = ABSENT;
            }
        }
    }
    let rows = if cells.iter().all(|&cell| is_absent(cell)) { Vec::new() } else { vec![Row { labels: absent_labels(tree), cells }] };
    Ok(Answer::Vector(rows))
}

/// What `absent` says about labels: those that the selector fixes to one value.
pub fn absent_labels(tree: &Expr) -> Labels {
    let selector: &VectorSelector = match strip(tree) {
        Expr::VectorSelector(selector) => selector,
        Expr::MatrixSelector(matrix) => &matrix.vs,
        _ => return Labels::default(),
    };
    let matchers = &selector.matchers.matchers;
    let mut labels = Labels::default();
    for matcher in matchers {
        let is_only = matchers.iter().filter(|other| other.name == matcher.name).count() == 1;
        if matcher.name != NAME && is_only && matches!(matcher.op, MatchOp::Equal) {
            labels = labels.with(&matcher.name, &matcher.value);
        }
    }
    labels
}

/// Of a selector: when its sample was taken; of anything else: the time of the step.
fn timestamp(evaluation: &Evaluation<'_>, tree: &Expr, grid: Grid) -> Result<Answer, Error> {
    if let Expr::VectorSelector(selector) = strip(tree) {
        let rows = evaluation.instants(selector, grid, |time, _| time as f64 / 1000.0)?;
        return evaluation.map(rows, |value| value);
    }
    evaluation.map_steps(evaluation.vector(tree, grid)?, |step, _| grid.time(step) as f64 / 1000.0)
}

fn clamp(evaluation: &Evaluation<'_>, rows: Vec<Row>, low: &[f64], high: &[f64]) -> Result<Answer, Error> {
    evaluation.map_steps(rows, |step, value| match (low.get(step), high.get(step)) {
        (Some(low), Some(high)) if low > high => ABSENT,
        (Some(low), Some(high)) if low.is_nan() || high.is_nan() || value.is_nan() => f64::NAN,
        (Some(low), Some(high)) => value.min(*high).max(*low),
        _ => ABSENT,
    })
}

/// To the nearest multiple, halves up.
fn round(value: f64, nearest: f64) -> f64 {
    // By the inverse, so that 0.1 behaves as 1/10.
    let inverse = 1.0 / nearest;
    (value * inverse + 0.5).floor() / inverse
}

fn text(tree: &Expr) -> Result<&str, Error> {
    match strip(tree) {
        Expr::StringLiteral(text) => Ok(&text.val),
        _ => Err(unexpected()),
    }
}

fn label_replace(
    evaluation: &Evaluation<'_>,
    mut rows: Vec<Row>,
    target: &str,
    replacement: &str,
    source: &str,
    pattern: &str,
) -> Result<Answer, Error> {
    let regex = compile(pattern)?;
    if !is_label_name(target) {
        return Err(Error::BadData(format!("{target:?} is no label name")));
    }
    let pieces = pieces(replacement);
    for row in &mut rows {
        // A match may take long, and says nothing of how long.
        evaluation.look()?;
        if let Some(found) = regex.captures(row.labels.get(source)) {
            let mut value = String::new();
            for piece in &pieces {
                found.expand(piece, &mut value);
                Evaluation::check_label(target.len(), value.len())?;
            }
            evaluation.charge_label(target.len(), value.len())?;
            row.labels = row.labels.with(target, &value);
        }
    }
    Ok(Answer::Vector(unique(rows)?))
}

/// A replacement cut in front of each `$`: a piece grows by one group at most. `$$` stands for itself.
fn pieces(replacement: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = replacement;
    while !rest.is_empty() {
        let skip = if rest.starts_with("$$") { 2 } else { 1 };
        let next = rest.bytes().skip(skip).position(|byte| byte == b'$');
        let (piece, after) = rest.split_at(next.map_or(rest.len(), |next| skip.saturating_add(next)));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

fn label_join(evaluation: &Evaluation<'_>, mut rows: Vec<Row>, target: &str, separator: &str, sources: &[&str]) -> Result<Answer, Error> {
    if !is_label_name(target) {
        return Err(Error::BadData(format!("{target:?} is no label name")));
    }
    let separators = separator.len().saturating_mul(sources.len().saturating_sub(1));
    for row in &mut rows {
        evaluation.work(sources.len())?;
        let values: Vec<&str> = sources.iter().map(|source| row.labels.get(source)).collect();
        let length = values.iter().fold(separators, |length, value| length.saturating_add(value.len()));
        evaluation.charge_label(target.len(), length)?;
        row.labels = row.labels.with(target, &values.join(separator));
    }
    Ok(Answer::Vector(unique(rows)?))
}
