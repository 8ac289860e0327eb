//! The walk over the tree. Every node is evaluated over all steps at once: a vector is a list of rows, a row is labels and
//! one cell per step, [`ABSENT`] where the series has no value.

use std::cell::Cell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::{Duration, UNIX_EPOCH};

use promql_parser::parser::{AtModifier, Call, Expr, MatrixSelector, Offset, SubqueryExpr, VectorSelector};

use super::labels::Labels;
use super::source::{ABSENT, Last, Part, Samples, Selection, Series, Source, is_absent};
use super::{Error, Limits, Patience, Used, aggregate, binary, instant, range};

/// Longest range, offset or step counted, about a thousand years: longer ones are cut to it.
const SPAN_MAX_MS: i64 = 31_557_600_000_000;
/// Step of a subquery that names none.
const SUBQUERY_STEP_MS: i64 = 60_000;
/// Shortest window for which a source is asked for parts: below, reading the samples costs the same.
const PARTS_RANGE_MIN_MS: i64 = 600_000;
/// Most parts that a window is joined from; beyond, windows slide over samples.
const PARTS_WIDTH_MAX: usize = 64;
/// Most edges for which a source is asked for parts, which are larger than values; more than a query over a range has.
/// Beyond, windows slide over samples.
const PARTS_EDGES_MAX: usize = 32_768;
/// Series whose parts are read at one time, by two threads: decoding is what takes the time.
const SERIES_AT_ONCE: usize = 16;
/// Longest name and value of a label that a query makes, in bytes.
const LABEL_BYTES_MAX: usize = 4_096;
/// What a label takes beside its text, in bytes.
const LABEL_COST_BYTES: usize = 64;
/// Work done between looks at the clock and at whether anyone still waits.
const WORK_PER_LOOK: usize = 1 << 18;

/// The instants at which a query is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// The first, in milliseconds since 1970.
    pub start: i64,
    /// From one to the next, above 0.
    pub step: i64,
    /// How many, at least 1.
    pub steps: usize,
}

impl Grid {
    /// One instant.
    pub fn instant(time: i64) -> Self {
        Self { start: time, step: 1, steps: 1 }
    }

    /// The time of a step.
    pub fn time(&self, step: usize) -> i64 {
        self.start.saturating_add(self.step.saturating_mul(i64::try_from(step).unwrap_or(i64::MAX)))
    }

    /// The time of the last step.
    pub fn last(&self) -> i64 {
        self.time(self.steps.saturating_sub(1))
    }

    /// All times.
    pub fn times(self) -> impl Iterator<Item = i64> {
        (0..self.steps).map(move |step| self.time(step))
    }
}

/// A series and its values at every step.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Name and labels.
    pub labels: Labels,
    /// One value per step, [`ABSENT`] for none.
    pub cells: Vec<f64>,
}

/// What a query gives.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A number at every step.
    Scalar(Vec<f64>),
    /// A text.
    Text(String),
    /// Series with a value at some steps.
    Vector(Vec<Row>),
    /// Series with their samples: what a range selector gives by itself, at one instant only.
    Matrix(Vec<(Labels, Samples)>),
}

/// One evaluation of a tree.
pub struct Evaluation<'a> {
    source: &'a dyn Source,
    /// Of the whole query: `start()` and `end()`.
    whole: Grid,
    limits: &'a Limits,
    patience: Patience<'a>,
    samples: Cell<usize>,
    cells: Cell<usize>,
    work: Cell<usize>,
}

/// A range selector or subquery, ready to be cut into windows.
pub struct Ranged {
    /// Labels and samples that are numbers, each series.
    pub series: Vec<(Labels, Samples)>,
    /// Length of a window.
    pub range_ms: i64,
    /// The ends of the windows; one only when the selector is fixed by `@`.
    pub ends: Grid,
}

/// How windows are cut into parts.
struct Cut {
    /// Where parts meet.
    edges: Vec<i64>,
    /// Parts in a window.
    width: usize,
    /// Parts from one window to the next.
    stride: usize,
}

impl<'a> Evaluation<'a> {
    /// An evaluation that has used nothing yet.
    pub fn new(source: &'a dyn Source, whole: Grid, limits: &'a Limits, patience: Patience<'a>) -> Self {
        Self { source, whole, limits, patience, samples: Cell::new(0), cells: Cell::new(0), work: Cell::new(0) }
    }

    /// What was used so far.
    pub fn used(&self) -> Used {
        Used { samples: self.samples.get() }
    }

    /// Evaluates the whole query.
    pub fn answer(&self, tree: &Expr) -> Result<Answer, Error> {
        match strip(tree) {
            Expr::MatrixSelector(_) | Expr::Subquery(_) if self.whole.steps == 1 => {
                let ranged = self.ranged(strip(tree), self.whole)?;
                Ok(Answer::Matrix(ranged.series.into_iter().filter(|(_, samples)| !samples.times.is_empty()).collect()))
            }
            Expr::MatrixSelector(_) | Expr::Subquery(_) => {
                Err(Error::BadData("invalid expression type \"range vector\" for range query, must be Scalar or instant Vector".into()))
            }
            Expr::StringLiteral(text) if self.whole.steps == 1 => Ok(Answer::Text(text.val.clone())),
            Expr::StringLiteral(_) => {
                Err(Error::BadData("invalid expression type \"string\" for range query, must be Scalar or instant Vector".into()))
            }
            tree => self.eval(tree, self.whole),
        }
    }

    /// Evaluates a part of the query that is a number or a vector.
    pub fn eval(&self, tree: &Expr, grid: Grid) -> Result<Answer, Error> {
        self.look()?;
        match tree {
            Expr::Paren(paren) => self.eval(&paren.expr, grid),
            Expr::NumberLiteral(number) => Ok(Answer::Scalar(self.scalar(vec![number.val; grid.steps])?)),
            Expr::Unary(unary) => match self.eval(&unary.expr, grid)? {
                Answer::Scalar(cells) => Ok(Answer::Scalar(cells.into_iter().map(|value| -value).collect())),
                Answer::Vector(rows) => self.map(rows, |value| -value),
                _ => Err(unexpected()),
            },
            Expr::Binary(binary) => binary::eval(self, binary, grid),
            Expr::Aggregate(aggregate) => aggregate::eval(self, aggregate, grid),
            Expr::VectorSelector(selector) => Ok(Answer::Vector(self.instants(selector, grid, |_, value| value)?)),
            Expr::Call(call) => self.call(call, grid),
            Expr::StringLiteral(text) => Ok(Answer::Text(text.val.clone())),
            Expr::MatrixSelector(_) | Expr::Subquery(_) | Expr::Extension(_) => Err(unexpected()),
        }
    }

    fn call(&self, call: &Call, grid: Grid) -> Result<Answer, Error> {
        if range::NAMES.contains(&call.func.name) { range::eval(self, call, grid) } else { instant::eval(self, call, grid) }
    }

    /// A part that must be a vector.
    pub fn vector(&self, tree: &Expr, grid: Grid) -> Result<Vec<Row>, Error> {
        match self.eval(tree, grid)? {
            Answer::Vector(rows) => Ok(rows),
            _ => Err(unexpected()),
        }
    }

    /// A part that must be a number.
    pub fn number(&self, tree: &Expr, grid: Grid) -> Result<Vec<f64>, Error> {
        match self.eval(tree, grid)? {
            Answer::Scalar(cells) => Ok(cells),
            _ => Err(unexpected()),
        }
    }

    /// Applies a function to every value; the name goes.
    pub fn map(&self, rows: Vec<Row>, function: impl Fn(f64) -> f64) -> Result<Answer, Error> {
        self.map_steps(rows, |_, value| function(value))
    }

    /// As [`Self::map`], with the step's number.
    pub fn map_steps(&self, mut rows: Vec<Row>, function: impl Fn(usize, f64) -> f64) -> Result<Answer, Error> {
        for row in &mut rows {
            self.work(row.cells.len())?;
            row.labels = row.labels.without_name();
            for (step, cell) in row.cells.iter_mut().enumerate() {
                if !is_absent(*cell) {
                    *cell = function(step, *cell);
                }
            }
        }
        Ok(Answer::Vector(unique(rows)?))
    }

    /// The values of a selector at every step: the last sample of each series within its lookback, unless it was ended.
    pub fn instants(&self, selector: &VectorSelector, grid: Grid, take: impl Fn(i64, f64) -> f64) -> Result<Vec<Row>, Error> {
        let times = self.shifted(selector.at.as_ref(), selector.offset.as_ref(), grid);
        let (first, last) = (times.start, times.last());
        let all = self.select(&selection(selector), first, last)?;
        let mut rows = Vec::with_capacity(all.len());
        for series in all {
            self.work(1)?;
            let shown = self.source.last(&series, first.saturating_sub(series.lookback_ms), first)?;
            match shown {
                Last::At(time, value) if times.steps == 1 => {
                    if !is_absent(value) {
                        self.charge_samples(1)?;
                        rows.push(Row { labels: series.labels, cells: self.spread(take(time, value), grid, times)? });
                    }
                    continue;
                }
                Last::Nothing if times.steps == 1 => continue,
                _ => {}
            }
            let samples = self.read_after(&series, shown, first, last)?;
            if samples.times.is_empty() {
                continue;
            }
            self.charge(times.steps)?;
            let mut cells = Vec::with_capacity(times.steps);
            let mut next = 0;
            for time in times.times() {
                while samples.times.get(next).is_some_and(|&sample| sample <= time) {
                    next += 1;
                }
                let found = next.checked_sub(1).and_then(|index| Some((*samples.times.get(index)?, *samples.values.get(index)?)));
                let shown = found.filter(|&(sample, value)| sample > time.saturating_sub(series.lookback_ms) && !is_absent(value));
                cells.push(shown.map_or(ABSENT, |(sample, value)| take(sample, value)));
            }
            if times.steps != grid.steps {
                let value = cells.first().copied().unwrap_or(ABSENT);
                cells = self.spread(value, grid, times)?;
            }
            if cells.iter().any(|&cell| !is_absent(cell)) {
                rows.push(Row { labels: series.labels, cells });
            }
        }
        Ok(rows)
    }

    fn spread(&self, value: f64, grid: Grid, _: Grid) -> Result<Vec<f64>, Error> {
        self.scalar(vec![value; grid.steps])
    }

    /// A function of each window of a range selector, where the source can give the parts of which windows are made.
    /// `extremes`: whether the smallest and the largest are wanted.
    pub fn in_parts(&self, tree: &Expr, grid: Grid, extremes: bool, function: fn(&Part) -> f64) -> Result<Option<Vec<Row>>, Error> {
        let Expr::MatrixSelector(matrix) = strip(tree) else { return Ok(None) };
        let ends = self.shifted(matrix.vs.at.as_ref(), matrix.vs.offset.as_ref(), grid);
        let range_ms = span_ms(matrix.range);
        if range_ms < PARTS_RANGE_MIN_MS || ends.steps != grid.steps {
            return Ok(None);
        }
        let Some(Cut { edges, width, stride }) = cut(ends, range_ms) else { return Ok(None) };
        let before = self.cells.get();
        let mut rows = Vec::new();
        let all = self.select(&selection(&matrix.vs), ends.start.saturating_sub(range_ms), ends.last())?;
        for some in all.chunks(SERIES_AT_ONCE) {
            self.look()?;
            self.charge(grid.steps.saturating_mul(some.len()))?;
            for (series, parts) in some.iter().zip(parts_of(self.source, some, &edges, extremes)) {
                let Some(parts) = parts? else {
                    // What was counted is made anew in another way.
                    self.cells.set(before);
                    return Ok(None);
                };
                self.work(grid.steps.saturating_mul(width))?;
                let windows = parts.windows(width).step_by(stride).take(grid.steps);
                let cells = windows.map(|window| match window.iter().copied().reduce(Part::join) {
                    Some(part) if part.count > 0 => function(&part),
                    _ => ABSENT,
                });
                let cells: Vec<f64> = cells.collect();
                if cells.iter().any(|&cell| !is_absent(cell)) {
                    rows.push(Row { labels: series.labels.clone(), cells });
                }
            }
        }
        Ok(Some(rows))
    }

    /// The series of a range selector or subquery.
    pub fn ranged(&self, tree: &Expr, grid: Grid) -> Result<Ranged, Error> {
        match strip(tree) {
            Expr::MatrixSelector(matrix) => self.ranges(matrix, grid),
            Expr::Subquery(subquery) => self.subquery(subquery, grid),
            _ => Err(unexpected()),
        }
    }

    fn ranges(&self, matrix: &MatrixSelector, grid: Grid) -> Result<Ranged, Error> {
        let ends = self.shifted(matrix.vs.at.as_ref(), matrix.vs.offset.as_ref(), grid);
        let range_ms = span_ms(matrix.range);
        let after = ends.start.saturating_sub(range_ms);
        let mut series = Vec::new();
        for one in self.select(&selection(&matrix.vs), after, ends.last())? {
            self.work(1)?;
            let samples = self.read(&one, after, ends.last())?.numbers();
            series.push((one.labels, samples));
        }
        Ok(Ranged { series, range_ms, ends })
    }

    fn subquery(&self, subquery: &SubqueryExpr, grid: Grid) -> Result<Ranged, Error> {
        let ends = self.shifted(subquery.at.as_ref(), subquery.offset.as_ref(), grid);
        let range_ms = span_ms(subquery.range);
        let step = subquery.step.map_or(SUBQUERY_STEP_MS, span_ms).max(1);
        // Instants are multiples of the step, in `(first end - range, last end]`.
        let after = ends.start.saturating_sub(range_ms);
        let start = after.div_euclid(step).saturating_add(1).saturating_mul(step);
        let steps = ends.last().saturating_sub(start).div_euclid(step).saturating_add(1);
        let steps = usize::try_from(steps).unwrap_or(0);
        if steps == 0 {
            return Ok(Ranged { series: Vec::new(), range_ms, ends });
        }
        if steps > self.limits.cells {
            return Err(too_large());
        }
        let inner = Grid { start, step, steps };
        let rows = self.vector(&subquery.expr, inner)?;
        let mut series = Vec::with_capacity(rows.len());
        for row in rows {
            self.work(steps)?;
            let kept = inner.times().zip(&row.cells).filter(|(_, cell)| !is_absent(**cell));
            let (times, values) = kept.map(|(time, &cell)| (time, cell)).unzip();
            series.push((row.labels, Samples { times, values }));
        }
        Ok(Ranged { series, range_ms, ends })
    }

    /// The instants that a selector is read at: shifted by its offset; one only when `@` fixes it.
    fn shifted(&self, at: Option<&AtModifier>, offset: Option<&Offset>, grid: Grid) -> Grid {
        let offset_ms = match offset {
            None => 0,
            Some(Offset::Pos(span)) => span_ms(*span),
            Some(Offset::Neg(span)) => -span_ms(*span),
        };
        let fixed = match at {
            None => None,
            Some(AtModifier::Start) => Some(self.whole.start),
            Some(AtModifier::End) => Some(self.whole.last()),
            Some(AtModifier::At(time)) => Some(match time.duration_since(UNIX_EPOCH) {
                Ok(since) => span_ms(since),
                Err(before) => -span_ms(before.duration()),
            }),
        };
        match fixed {
            Some(time) => Grid::instant(time.saturating_sub(offset_ms)),
            None => Grid { start: grid.start.saturating_sub(offset_ms), ..grid },
        }
    }

    fn select(&self, selection: &Selection, after: i64, upto: i64) -> Result<Vec<Series>, Error> {
        let series = self.source.select(selection, after, upto, &self.patience)?;
        if series.len() > self.limits.series {
            return Err(Error::Execution(format!(
                "a selector gives {} series, more than {}: narrow it by labels",
                series.len(),
                self.limits.series
            )));
        }
        Ok(series)
    }

    fn read(&self, series: &Series, after: i64, upto: i64) -> Result<Samples, Error> {
        self.look()?;
        let room = self.limits.samples.saturating_sub(self.samples.get());
        let samples = self.source.samples(series, after, upto, room, &self.patience)?;
        self.charge_samples(samples.times.len())?;
        Ok(samples)
    }

    /// The samples in `(first, last]` behind the one that is shown at `first`.
    fn read_after(&self, series: &Series, shown: Last, first: i64, last: i64) -> Result<Samples, Error> {
        match shown {
            Last::Unknown => self.read(series, first.saturating_sub(series.lookback_ms), last),
            Last::Nothing => self.read(series, first, last),
            Last::At(time, value) => {
                self.charge_samples(1)?;
                let mut samples = self.read(series, first, last)?;
                samples.times.insert(0, time);
                samples.values.insert(0, value);
                Ok(samples)
            }
        }
    }

    fn charge_samples(&self, count: usize) -> Result<(), Error> {
        self.samples.set(self.samples.get().saturating_add(count));
        if self.samples.get() > self.limits.samples { Err(super::source::too_many_samples()) } else { Ok(()) }
    }

    /// A value per step, counted.
    pub fn scalar(&self, cells: Vec<f64>) -> Result<Vec<f64>, Error> {
        self.charge(cells.len())?;
        Ok(cells)
    }

    /// Counts cells that are about to be made.
    pub fn charge(&self, cells: usize) -> Result<(), Error> {
        self.cells.set(self.cells.get().saturating_add(cells));
        if self.cells.get() > self.limits.cells {
            return Err(too_large());
        }
        self.work(cells)
    }

    /// Refuses a label whose name or value is too long, in bytes.
    pub fn check_label(name: usize, value: usize) -> Result<(), Error> {
        if name.max(value) <= LABEL_BYTES_MAX {
            return Ok(());
        }
        Err(Error::Execution(format!("the query makes a label of more than {LABEL_BYTES_MAX} bytes")))
    }

    /// Counts a label that is about to be set on a series, by the bytes of its name and its value.
    pub fn charge_label(&self, name: usize, value: usize) -> Result<(), Error> {
        Self::check_label(name, value)?;
        self.charge((name + value + LABEL_COST_BYTES) / size_of::<f64>())
    }

    /// Counts work that is about to be done, and looks now and then whether to go on.
    pub fn work(&self, work: usize) -> Result<(), Error> {
        self.work.set(self.work.get().saturating_add(work));
        if self.work.get() >= WORK_PER_LOOK { self.look() } else { Ok(()) }
    }

    /// Looks whether to go on.
    pub fn look(&self) -> Result<(), Error> {
        self.work.set(0);
        self.patience.look()
    }
}

/// Parts of each series, one half of the series read beside the other.
fn parts_of(source: &dyn Source, series: &[Series], edges: &[i64], extremes: bool) -> Vec<Result<Option<Vec<Part>>, Error>> {
    let read = |series: &[Series]| -> Vec<_> { series.iter().map(|one| source.parts(one, edges, extremes)).collect() };
    let (first, second) = series.split_at(series.len().div_ceil(2));
    if second.is_empty() {
        return read(first);
    }
    std::thread::scope(|scope| {
        let beside = scope.spawn(|| read(second));
        let mut all = read(first);
        all.extend(beside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        all
    })
}

/// Cuts windows into parts; `None` where samples have to be read.
fn cut(ends: Grid, range_ms: i64) -> Option<Cut> {
    let after = ends.start.saturating_sub(range_ms);
    if ends.steps == 1 {
        return Some(Cut { edges: vec![after, ends.start], width: 1, stride: 1 });
    }
    // Windows that neither overlap nor touch have a gap between them; others must be whole numbers of steps.
    let (width, stride, count) = if range_ms < ends.step {
        (1, 2, ends.steps.saturating_mul(2))
    } else if range_ms % ends.step == 0 {
        let width = usize::try_from(range_ms / ends.step).ok().filter(|&width| width <= PARTS_WIDTH_MAX)?;
        (width, 1, ends.steps.saturating_add(width))
    } else {
        return None;
    };
    if count > PARTS_EDGES_MAX {
        return None;
    }
    let edges = match stride {
        1 => Grid { start: after, step: ends.step, steps: count }.times().collect(),
        _ => ends.times().flat_map(|end| [end.saturating_sub(range_ms), end]).collect(),
    };
    Some(Cut { edges, width, stride })
}

/// What a selector wants.
pub fn selection(selector: &VectorSelector) -> Selection {
    Selection { name: selector.name.clone(), matchers: selector.matchers.matchers.clone() }
}

/// Without brackets around it.
pub fn strip(mut tree: &Expr) -> &Expr {
    while let Expr::Paren(paren) = tree {
        tree = &paren.expr;
    }
    tree
}

/// Milliseconds of a duration, cut to [`SPAN_MAX_MS`].
pub fn span_ms(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX).min(SPAN_MAX_MS)
}

/// Rows of the same labels become one, where they do not say two things at one step.
pub fn unique(rows: Vec<Row>) -> Result<Vec<Row>, Error> {
    merge(rows, "vector cannot contain metrics with the same labelset")
}

/// See [`unique`]; `clash` is what is wrong when they do.
pub fn merge(rows: Vec<Row>, clash: &str) -> Result<Vec<Row>, Error> {
    let mut places: HashMap<Labels, usize> = HashMap::with_capacity(rows.len());
    let mut merged: Vec<Row> = Vec::with_capacity(rows.len());
    for row in rows {
        match places.entry(row.labels.clone()) {
            Entry::Vacant(place) => {
                place.insert(merged.len());
                merged.push(row);
            }
            Entry::Occupied(place) => {
                let Some(into) = merged.get_mut(*place.get()) else { continue };
                for (have, cell) in into.cells.iter_mut().zip(row.cells) {
                    if is_absent(cell) {
                        continue;
                    }
                    if !is_absent(*have) {
                        return Err(Error::Execution(format!("{clash}: {}", row.labels)));
                    }
                    *have = cell;
                }
            }
        }
    }
    Ok(merged)
}

fn too_large() -> Error {
    Error::Execution("the query makes too many values: ask for fewer series or a wider step".into())
}

/// The parser checks types; what it lets through is told plainly.
pub fn unexpected() -> Error {
    Error::BadData("an expression is not of the type that stands here".into())
}

/// A number as the API writes it: shortest digits that read back the same, never an exponent.
pub fn number_text(value: f64) -> String {
    if value.is_nan() {
        "NaN".into()
    } else if value == f64::INFINITY {
        "+Inf".into()
    } else if value == f64::NEG_INFINITY {
        "-Inf".into()
    } else {
        value.to_string()
    }
}
