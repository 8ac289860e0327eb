//! PromQL over the park's series: what Grafana's Prometheus data source asks for.
//!
//! A query's text passes [`guard`], becomes a tree in `promql-parser`, is checked by [`check`] for what is not supported,
//! and is evaluated by [`eval`] over all its steps at once: each selector is read once for the whole range, whatever the
//! number of steps. Nothing here knows the store, HTTP or who asks; [`park`] is the source over catalogue, record and
//! totals, and shows only what the asker may see.
//!
//! In reading order: [`error`]; [`patience`]; [`labels`]; [`source`] what the evaluator reads; [`guard`]; [`check`]; [`eval`] selectors
//! and the walk over the tree; [`range`] functions of ranges, [`slide`] what is carried from window to window; [`instant`] functions of values; [`binary`] operators;
//! [`aggregate`]; [`park`]; [`indicators`] and [`emissions`] beside it.
//!
//! Semantics are those of Prometheus 3: ranges and lookback are open on the left, `(t - range, t]`. How long a sample is
//! shown is each series' own matter ([`source::Series::lookback_ms`]), since meters are polled at intervals from seconds
//! to hours.

pub mod error;
pub mod patience;
pub mod labels;
pub mod source;
pub mod guard;
pub mod check;
pub mod eval;
mod range;
mod slide;
mod instant;
mod binary;
mod aggregate;
pub mod park;
pub mod indicators;
pub mod emissions;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use promql_parser::parser::{self, Expr};

pub use error::Error;
pub use eval::{Answer, Grid, Row};
pub use labels::Labels;
pub use patience::Patience;
pub use source::{Last, Part, Samples, Selection, Series, Source};

/// Stack that [`parse`] and [`evaluate`] need at most, in bytes: callers run them on a thread of at least this.
pub const STACK_BYTES: usize = 16 << 20;

/// Most steps of a query over a range, as Prometheus has it.
pub const STEPS_MAX: usize = 11_000;

/// Times beyond the year 9999 are refused, so that no sum of times and durations overflows.
pub const TIME_MAX_MS: i64 = 253_402_300_799_999;

/// What one query may use; what goes beyond is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most samples read.
    pub samples: usize,
    /// Most values of steps, over all parts of the query: series times steps. Labels that the query makes count too, eight
    /// bytes as one value.
    pub cells: usize,
    /// Most series that one selector may give.
    pub series: usize,
    /// Longest time.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { samples: 2_000_000, cells: 4_000_000, series: 20_000, time: Duration::from_secs(10) }
    }
}

/// What a query used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Samples read.
    pub samples: usize,
}

/// Reads a query's text. May need [`STACK_BYTES`] of stack.
pub fn parse(text: &str) -> Result<Expr, Error> {
    guard::check(text)?;
    // The parser panics on some texts, on a number of seconds beyond any duration for one: `x[1e30]`.
    let parsed = std::panic::catch_unwind(|| parser::parse(text)).unwrap_or_else(|_| Err("the parser cannot read it".into()));
    let tree = parsed.map_err(|error| Error::BadData(format!("invalid query: {error}")))?;
    check::check(&tree)?;
    Ok(tree)
}

/// Reads a series selector, as `match[]` has it: `{medium="power"}`.
pub fn parse_selector(text: &str) -> Result<Selection, Error> {
    match parse(text)? {
        Expr::VectorSelector(selector) if selector.offset.is_none() && selector.at.is_none() => Ok(eval::selection(&selector)),
        _ => Err(Error::BadData(format!("{text:?} is no series selector"))),
    }
}

/// Evaluates a query at every step of `grid`; an instant query has one. May need [`STACK_BYTES`] of stack.
///
/// Gives up with an error when `cancel` is set or a limit is passed; a source that blocks on one file is not interrupted.
pub fn evaluate(tree: &Expr, source: &dyn Source, grid: Grid, limits: &Limits, cancel: &AtomicBool) -> Result<(Answer, Used), Error> {
    let evaluation = eval::Evaluation::new(source, grid, limits, Patience::new(limits.time, cancel));
    let answer = evaluation.answer(tree)?;
    Ok((answer, evaluation.used()))
}
