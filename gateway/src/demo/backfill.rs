//! Back-dated history: what the park's meters would have said in the past, sent through the ordinary pipeline.
//!
//! In: catalogue, model, what is already recorded. Out: [`Message::Batch`]es with source time and origin simulated, point
//! by point in order of time. Per point it goes on after the latest record, so a second start fills only the gap and an
//! interrupted fill is finished. Run it before the drivers of the demo: what they record would hide an unfinished gap.
//!
//! Blocking: for a thread of its own. Bounded: a few batches are on their way, the next waits.

use std::collections::VecDeque;
use std::io::{IsTerminal as _, Write as _};

use indicatif::{ProgressBar, ProgressStyle};
use parkgate_collector::catalogue::{Catalogue, Point};
use parkgate_collector::clock::Clock;
use parkgate_collector::driver::{Batch, Message, Outcome, Outlet};
use parkgate_collector::model::{LinkKey, Medium, Origin, Reading, UtcMillis};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::park::{Look, Park, Signal};
use super::wire::WiredPoint;
use crate::store::RecordView;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Interval of the oldest part, and the window that is filled at a time.
pub const WINDOW_MS: i64 = 15 * MINUTE_MS;
/// How far history goes back.
pub const HISTORY_MS: i64 = 400 * DAY_MS;
/// How far minute means go back, for the points that have them.
pub const MINUTES_MS: i64 = 62 * DAY_MS;
/// How far values at the points' own interval go back.
pub const FULL_MS: i64 = 6 * HOUR_MS;

/// Readings of a batch; a batch is sent when it has at least as many, or at the end.
const BATCH_READINGS: usize = 4_096;
/// Batches sent and not yet durable; beyond, the fill waits for the oldest.
const IN_FLIGHT_MAX: usize = 16;
/// Times the fill looks again at what has passed while it ran.
const ROUNDS_MAX: usize = 5;
/// Interval of a point that tells none.
const INTERVAL_DEFAULT_MS: i64 = 5_000;

/// Why history was not filled to its end. What was written stays; the next start goes on from there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackfillError {
    /// The pipeline has ended.
    #[error("the pipeline ended while history was filled in")]
    PipelineEnded,
    /// A batch could not be made durable.
    #[error("history could not be made durable: is the disk full? start again to go on")]
    NotDurable,
    /// Asked to stop.
    #[error("stopped while history was filled in: start again to go on")]
    Cancelled,
}

/// What was filled in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filled {
    /// Readings sent, all durable.
    pub readings: u64,
    /// Batches they came in.
    pub batches: u64,
}

/// Where progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nowhere.
    Silent,
    /// On standard error: a bar on a terminal, else a line for every tenth.
    Shown,
}

/// What a fill needs to know.
#[derive(Clone, Copy)]
pub struct Fill<'a> {
    /// The demo's catalogue.
    pub catalogue: &'a Catalogue,
    /// The model.
    pub park: &'a Park,
    /// The catalogue's points joined to the model.
    pub points: &'a [WiredPoint],
    /// Tells what "now" is.
    pub clock: &'a dyn Clock,
    /// Ends the fill early.
    pub cancel: &'a CancellationToken,
}

impl Fill<'_> {
    /// Fills history up to now; returns when all of it is durable.
    ///
    /// # Blocking
    /// Waits for the pipeline: not for an async task.
    pub fn run(&self, outlet: &Outlet, view: &dyn RecordView, progress: Progress) -> Result<Filled, BackfillError> {
        let Self { catalogue, park, clock, cancel, .. } = *self;
        let points: Vec<&WiredPoint> = self.points.iter().filter(|wired| wired.row.signal != Signal::Silent).collect();
        let mut sender = Sender::new(catalogue, outlet, clock, cancel);
        let lines: Vec<usize> = points.iter().map(|wired| sender.line_of(wired)).collect();
        let mut after: Vec<UtcMillis> =
            points.iter().map(|wired| view.latest(wired.point.id).map_or(UtcMillis(i64::MIN), |sample| sample.record_time)).collect();
        let mut until = clock.now().utc;
        let mut bar = Bar::new(progress, count(&points, &after, until));
        for _ in 0..ROUNDS_MAX {
            let plan = Plan::new(until);
            plan.each_window(&after, |window| {
                for ((wired, &line), &after) in points.iter().zip(&lines).zip(&after) {
                    for (time, look) in plan.times(&wired.point, window, after) {
                        sender
                            .push(line, Reading { point: wired.point.id, number: wired.number(park, time, look), source_time: Some(time) });
                    }
                    sender.flush(line, BATCH_READINGS)?;
                }
                bar.set(sender.filled.readings);
                Ok(())
            })?;
            for after in &mut after {
                *after = (*after).max(until.plus(-1));
            }
            let now = clock.now().utc;
            if now.since(until) < MINUTE_MS / 6 {
                break;
            }
            until = now;
        }
        sender.finish()?;
        bar.finish(sender.filled.readings);
        Ok(sender.filled)
    }
}

/// Readings that a fill up to `until` has for `points`, each from after its own `after` on.
fn count(points: &[&WiredPoint], after: &[UtcMillis], until: UtcMillis) -> u64 {
    let plan = Plan::new(until);
    let mut total = 0u64;
    let counted: Result<(), BackfillError> = plan.each_window(after, |window| {
        for (wired, &after) in points.iter().zip(after) {
            total += plan.times(&wired.point, window, after).size_hint().0 as u64;
        }
        Ok(())
    });
    debug_assert!(counted.is_ok(), "counting cannot fail");
    total
}

/// Whether a point has minute means: outlet factors, and power of production and of its abatement.
pub fn has_minutes(point: &Point) -> bool {
    let plant = matches!(point.role.as_deref(), Some("production" | "abatement"));
    point.medium == Medium::Emission || (plant && matches!(point.quantity.as_str(), "active_power" | "energy_import" | "running"))
}

/// Which times are filled: three parts, each ending where the finer one begins, so that no time comes twice.
#[derive(Clone, Copy, Debug)]
struct Plan {
    start: UtcMillis,
    minutes_from: UtcMillis,
    full_from: UtcMillis,
    until: UtcMillis,
}

impl Plan {
    fn new(until: UtcMillis) -> Self {
        let back = |span: i64| until.plus(-span).floor_to(WINDOW_MS);
        Self { start: back(HISTORY_MS), minutes_from: back(MINUTES_MS), full_from: back(FULL_MS), until }
    }

    /// Start of every window that has something to fill, in order.
    fn each_window<E>(&self, after: &[UtcMillis], mut visit: impl FnMut(UtcMillis) -> Result<(), E>) -> Result<(), E> {
        let oldest = after.iter().min().copied().unwrap_or(self.until);
        let mut window = self.start.max(oldest.floor_to(WINDOW_MS));
        while window < self.until {
            visit(window)?;
            window = window.plus(WINDOW_MS);
        }
        Ok(())
    }

    /// Times of a point in a window that lie beyond `after`, and how its gauges are looked at.
    fn times(&self, point: &Point, window: UtcMillis, after: UtcMillis) -> impl Iterator<Item = (UtcMillis, Look)> + use<> {
        let (step, look) = if window >= self.full_from {
            (point.interval_ms.map_or(INTERVAL_DEFAULT_MS, i64::from), Look::Instant)
        } else if window >= self.minutes_from && has_minutes(point) {
            (MINUTE_MS, Look::MinuteMean)
        } else {
            (WINDOW_MS, Look::Instant)
        };
        let end = window.plus(WINDOW_MS).min(self.until);
        let from = window.max(after.plus(1));
        let first = UtcMillis(from.0.div_euclid(step).saturating_mul(step));
        let first = if first < from { first.plus(step) } else { first };
        let times = (end.since(first).max(0) + step - 1) / step;
        (0..usize::try_from(times).unwrap_or(0)).map(move |index| (first.plus(i64::try_from(index).unwrap_or(0) * step), look))
    }
}

/// Gathers readings per link and sends them as batches.
struct Sender<'a> {
    outlet: &'a Outlet,
    clock: &'a dyn Clock,
    cancel: &'a CancellationToken,
    lines: Vec<(LinkKey, Vec<Reading>)>,
    catalogue: &'a Catalogue,
    in_flight: VecDeque<oneshot::Receiver<Outcome>>,
    filled: Filled,
}

impl<'a> Sender<'a> {
    fn new(catalogue: &'a Catalogue, outlet: &'a Outlet, clock: &'a dyn Clock, cancel: &'a CancellationToken) -> Self {
        let lines = catalogue.links.iter().map(|link| (link.key, Vec::new())).collect();
        Self { outlet, clock, cancel, lines, catalogue, in_flight: VecDeque::new(), filled: Filled::default() }
    }

    /// The line of a point's link.
    fn line_of(&self, wired: &WiredPoint) -> usize {
        let link = self.catalogue.device(&wired.point.device).map(|device| device.link.key);
        self.lines.iter().position(|(key, _)| Some(*key) == link).expect("every device has a link of the catalogue")
    }

    fn push(&mut self, line: usize, reading: Reading) {
        if let Some((_, readings)) = self.lines.get_mut(line) {
            readings.push(reading);
        }
    }

    /// Sends the line's readings when there are at least `least`; waits while too many batches are on their way.
    fn flush(&mut self, line: usize, least: usize) -> Result<(), BackfillError> {
        let Some((link, readings)) = self.lines.get_mut(line) else { return Ok(()) };
        if readings.len() < least.max(1) {
            return Ok(());
        }
        if self.cancel.is_cancelled() {
            return Err(BackfillError::Cancelled);
        }
        let readings = std::mem::replace(readings, Vec::with_capacity(BATCH_READINGS + BATCH_READINGS / 4));
        self.filled.readings += readings.len() as u64;
        self.filled.batches += 1;
        let (done, outcome) = oneshot::channel();
        let batch = Batch {
            link: *link,
            received_time: self.clock.now().utc,
            readings,
            origin: Origin::Simulated,
            deliveries: Vec::new(),
            rejected: Vec::new(),
            done: Some(done),
        };
        self.outlet.blocking_send(Message::Batch(batch)).map_err(|_| BackfillError::PipelineEnded)?;
        self.in_flight.push_back(outcome);
        if self.in_flight.len() > IN_FLIGHT_MAX { self.await_oldest() } else { Ok(()) }
    }

    fn await_oldest(&mut self) -> Result<(), BackfillError> {
        let Some(outcome) = self.in_flight.pop_front() else { return Ok(()) };
        match outcome.blocking_recv() {
            Ok(Outcome::Durable) => Ok(()),
            Ok(Outcome::NotDurable) => Err(BackfillError::NotDurable),
            Err(_) => Err(BackfillError::PipelineEnded),
        }
    }

    /// Sends what is left and waits for everything.
    fn finish(&mut self) -> Result<(), BackfillError> {
        for line in 0..self.lines.len() {
            self.flush(line, 1)?;
        }
        while !self.in_flight.is_empty() {
            self.await_oldest()?;
        }
        Ok(())
    }
}

/// Progress on standard error.
struct Bar {
    bar: Option<ProgressBar>,
    lines: bool,
    total: u64,
    tenths: u64,
}

impl Bar {
    fn new(progress: Progress, total: u64) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let shown = progress == Progress::Shown && total > 0;
        let bar = (shown && terminal).then(|| {
            let style = ProgressStyle::with_template("filling in history {bar:40} {percent:>3} % of {len} values, {eta} left");
            let bar = ProgressBar::new(total);
            if let Ok(style) = style {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, lines: shown && !terminal, total, tenths: 0 }
    }

    fn set(&mut self, done: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(done.min(self.total));
        }
        let tenths = done.saturating_mul(10).checked_div(self.total).unwrap_or(0).min(10);
        if self.lines && tenths > self.tenths {
            self.tenths = tenths;
            self.line(&format!("filling in history: {}0 % of {} values", tenths, self.total));
        }
    }

    fn finish(&mut self, done: u64) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        if self.bar.is_some() || self.lines {
            self.line(&format!("history filled in: {done} values"));
        }
    }

    /// A line on standard error; one that cannot be written is not missed.
    fn line(&self, text: &str) {
        let _ = writeln!(std::io::stderr(), "{text}");
    }
}

#[cfg(test)]
mod tests;
