//! One sink's thread: gathers a batch, delivers it, notes it, and waits when there is nothing to do or the sink is away.
//! It reads the journal and history and writes nothing but its own state file, so a sink that is down costs the record
//! nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use parkgate_collector::driver::backoff::Backoff;
use parkgate_collector::journal::{Journal, Sequence};
use prometheus::IntCounter;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::client::Client;
use super::delivery::{Delivery, Lines, Request, RequestSize, Then};
use super::gather::{self, Batch, Gatherer};
use super::settings::SinkSettings;
use super::state::{DeadLetter, Moves, State};
use super::table::Table;
use super::verdict::Verdict;
use super::{Sources, Standing};
use crate::metrics::Metrics;
use crate::store::{History, StoreError};

/// Least and longest wait before a sink is asked again that is busy or away.
const LATER_MS: (u64, u64) = (250, 15_000);
/// The same for one that refuses us.
const REFUSED_MS: (u64, u64) = (1_000, 60_000);
/// Longest wait for news of the journal; then totals are looked at again.
const IDLE: Duration = Duration::from_secs(1);
/// A place in the journal that moved without anything to send is noted this often.
const NOTE_EVERY: Duration = Duration::from_secs(5);
/// Wait before the sink's own state file, the journal or history is tried again.
const TROUBLE_WAIT: Duration = Duration::from_secs(5);

/// Whoever asked for the end of the thread has it.
struct Cancelled;

/// See the module.
pub(super) struct Worker {
    settings: SinkSettings,
    client: Client,
    path: PathBuf,
    sources: Sources,
    standing: Standing,
    meters: Meters,
    cancel: CancellationToken,
    runtime: tokio::runtime::Runtime,
    probe: Option<Vec<u8>>,
    /// Every entry before it is in the sink, or in a gap.
    sent_below: Sequence,
    request_size: RequestSize,
    later: Backoff,
    refused: Backoff,
}

/// The sink's children of the metrics.
struct Meters {
    sent: IntCounter,
    retried: IntCounter,
    dead: IntCounter,
    skipped: IntCounter,
    damaged: IntCounter,
    lag_entries: prometheus::IntGauge,
    lag_seconds: prometheus::IntGauge,
}

impl Meters {
    fn new(metrics: &Metrics, id: &str) -> Self {
        Self {
            sent: metrics.forward_sent.with_label_values(&[id]),
            retried: metrics.forward_retried.with_label_values(&[id]),
            dead: metrics.forward_dead.with_label_values(&[id]),
            skipped: metrics.forward_skipped.with_label_values(&[id]),
            damaged: metrics.forward_damaged.with_label_values(&[id]),
            lag_entries: metrics.forward_lag_entries.with_label_values(&[id]),
            lag_seconds: metrics.forward_lag_seconds.with_label_values(&[id]),
        }
    }
}

impl Worker {
    pub(super) fn new(
        settings: SinkSettings,
        client: Client,
        folder: &Path,
        sources: Sources,
        standing: Standing,
        cancel: CancellationToken,
    ) -> std::io::Result<Self> {
        let meters = Meters::new(&sources.metrics, &settings.id);
        Ok(Self {
            path: super::state_path(folder, &settings.id),
            request_size: RequestSize::new(usize::try_from(settings.batch_lines).unwrap_or(usize::MAX)),
            runtime: tokio::runtime::Builder::new_current_thread().enable_time().build()?,
            settings,
            client,
            sources,
            standing,
            meters,
            cancel,
            probe: None,
            sent_below: Sequence(0),
            later: Backoff::new(LATER_MS.0, LATER_MS.1),
            refused: Backoff::new(REFUSED_MS.0, REFUSED_MS.1),
        })
    }

    /// Runs until cancelled. A state file that cannot be used is tried again; after a panic all begins anew from what was
    /// noted.
    pub(super) fn run(mut self) {
        while !self.cancel.is_cancelled() {
            // Nothing is left half done that matters: `forward` begins by reading its state again.
            match catch_unwind(AssertUnwindSafe(|| self.forward())) {
                Ok(Ok(Cancelled)) => return,
                Err(panic) => {
                    let what = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
                    let what = what.unwrap_or("no message");
                    error!(sink = %self.settings.id, error = %what, "a fault of the program stopped the sink's thread; it is begun anew");
                    self.standing.trouble(&format!("was stopped by a fault of the program and is begun anew: {what}"));
                    let delay = self.refused.next_delay();
                    let _ = self.wait(delay);
                }
                Ok(Err(error)) => {
                    let text = format!("{}: {error}; without that file everything is sent again", self.path.display());
                    if self.standing.trouble(&text) {
                        error!(sink = %self.settings.id, error = %error, "state of the sink cannot be used; nothing is sent");
                    }
                    let _ = self.wait(TROUBLE_WAIT);
                }
            }
        }
    }

    fn forward(&mut self) -> Result<Cancelled, StoreError> {
        let mut state = State::open(&self.path)?;
        let journal = &self.sources.journal;
        let first = state.cursor()?.unwrap_or_else(|| gather::first_cursor(journal, self.settings.history));
        // One beyond what there is would pass over entries that are to come.
        let cursor = first.min(Sequence(journal.durable().0.saturating_add(1)));
        let totals = self.sources.totals.clone().filter(|_| self.settings.totals);
        if state.cursor()?.is_none() {
            let newest = match totals.as_deref().filter(|_| !self.settings.history) {
                Some(totals) => Some(totals.last_change()?),
                None => None,
            };
            // At once: what comes from now on is not to be missed after a crash.
            state.commit(&Moves { cursor: Some(cursor), totals: newest, ..Moves::default() }, &[], None)?;
        }
        self.probe = state.probe()?;
        self.sent_below = cursor;
        let (configured, mut following) = self.sources.configured.follow();
        let settings = self.settings.clone();
        let table = Table::new(&configured.catalogue, &configured.identities, &settings);
        drop(configured);
        let newer = move || following.news().map(|newer| Table::new(&newer.catalogue, &newer.identities, &settings));
        let (journal, history): (Journal, History) = (journal.clone(), self.sources.history.clone());
        let mut gatherer = Gatherer::new(table, (journal, history), totals, (cursor, state.totals()?.unwrap_or(0), state.gaps()?));
        gatherer.renewed_by(Box::new(newer));
        info!(sink = %self.settings.id, url = %self.settings.url, cursor = cursor.0, "forwarding");
        let mut noted_at = Instant::now();
        loop {
            let mut busy = false;
            for step in [Self::live, Self::totals, Self::gap] {
                if self.cancel.is_cancelled() {
                    return Ok(Cancelled);
                }
                let mut batch = Batch::default();
                if step(self, &mut gatherer, &mut batch).is_err() {
                    return Ok(Cancelled);
                }
                self.meters.skipped.inc_by(batch.skipped);
                self.meters.damaged.inc_by(batch.damaged);
                self.lag(&gatherer, Some(&batch));
                let notable = Moves { cursor: None, ..batch.moves.clone() } != Moves::default();
                if batch.lines.is_empty() && !notable && noted_at.elapsed() < NOTE_EVERY {
                    self.sent_below = batch.moves.cursor.unwrap_or(self.sent_below);
                    continue;
                }
                let dead = match self.deliver(&batch, &gatherer) {
                    Ok(dead) => dead,
                    Err(Cancelled) => return Ok(Cancelled),
                };
                let probe = (!batch.lines.is_empty()).then_some(self.probe.as_deref()).flatten();
                state.commit(&batch.moves, &dead, probe)?;
                noted_at = Instant::now();
                self.sent_below = batch.moves.cursor.unwrap_or(self.sent_below);
                if !batch.moves.gaps.is_empty() || batch.moves.closed.is_some() {
                    gatherer.set_gaps(state.gaps()?);
                }
                self.lag(&gatherer, None);
                busy |= !batch.lines.is_empty() || notable;
            }
            if !busy && self.idle(&mut gatherer, IDLE).is_err() {
                return Ok(Cancelled);
            }
        }
    }

    /// Gathers from the journal; lines wait a little for others unless there are gaps to fill meanwhile.
    fn live(&mut self, gatherer: &mut Gatherer, batch: &mut Batch) -> Result<(), Cancelled> {
        let limit = usize::try_from(self.settings.batch_lines).unwrap_or(usize::MAX);
        let linger = Duration::from_millis(u64::from(self.settings.linger_ms));
        let mut first_line: Option<Instant> = None;
        loop {
            match gatherer.live(batch, limit) {
                Ok(true) if !batch.lines.is_empty() && !gatherer.has_gaps() => {
                    let waited = first_line.get_or_insert_with(Instant::now).elapsed();
                    let Some(left) = linger.checked_sub(waited).filter(|left| !left.is_zero()) else { return Ok(()) };
                    self.idle(gatherer, left)?;
                }
                Ok(_) => return Ok(()),
                Err(error) => {
                    warn!(sink = %self.settings.id, error = %error, "journal cannot be read for the sink; tried again");
                    return self.wait(TROUBLE_WAIT);
                }
            }
        }
    }

    fn totals(&mut self, gatherer: &mut Gatherer, batch: &mut Batch) -> Result<(), Cancelled> {
        match gatherer.closed_totals(batch) {
            Ok(()) => Ok(()),
            Err(error) => {
                warn!(sink = %self.settings.id, error = %error, "totals cannot be read for the sink; tried again");
                self.wait(TROUBLE_WAIT)
            }
        }
    }

    fn gap(&mut self, gatherer: &mut Gatherer, batch: &mut Batch) -> Result<(), Cancelled> {
        match gatherer.gap(batch, usize::try_from(self.settings.batch_lines).unwrap_or(usize::MAX)) {
            Ok(()) => Ok(()),
            Err(error) => {
                warn!(sink = %self.settings.id, error = %error, "history cannot be read for the sink; tried again");
                self.wait(TROUBLE_WAIT)
            }
        }
    }

    /// Sends until the sink has every line but the dead ones, which it returns.
    fn deliver(&mut self, batch: &Batch, gatherer: &Gatherer) -> Result<Vec<DeadLetter>, Cancelled> {
        let lines = &batch.lines;
        let mut delivery = Delivery::new(lines.len(), self.request_size.lines(), self.probe.take());
        while let Some(request) = delivery.request() {
            if self.cancel.is_cancelled() {
                return Err(Cancelled);
            }
            let count = if let Request::Lines(range) = &request { range.len() } else { 1 };
            let verdict = self.client.write(delivery.body(lines, &request), count, self.sources.clock.now().utc);
            let taken = verdict == Verdict::Taken;
            match delivery.answered(lines, verdict) {
                Then::Next => {
                    if taken {
                        self.later.reset();
                        self.refused.reset();
                        if self.standing.fine() {
                            info!(sink = %self.settings.id, "the sink takes values");
                        }
                        if matches!(request, Request::Lines(_)) {
                            self.meters.sent.inc_by(count as u64);
                        }
                    }
                }
                Then::Later { why, after } => {
                    self.meters.retried.inc();
                    if self.standing.retrying(&why) {
                        warn!(sink = %self.settings.id, error = %why, "the sink is away or busy; values wait in the record");
                    }
                    let delay = self.later.next_delay();
                    self.lag(gatherer, Some(batch));
                    self.wait(after.map_or(delay, |after| after.max(delay)))?;
                }
                Then::Refused { why } => {
                    self.meters.retried.inc();
                    if self.standing.refused(&why) {
                        error!(sink = %self.settings.id, error = %why, "the sink refuses us: mend its settings or the sink; values wait in the record");
                    }
                    let delay = self.refused.next_delay();
                    self.lag(gatherer, Some(batch));
                    self.wait(delay)?;
                }
            }
        }
        let now = self.sources.clock.now().utc;
        let dead: Vec<DeadLetter> = delivery.dead().iter().map(|(line, reason)| letter(lines, *line, reason, now)).collect();
        if let Some(first) = dead.first() {
            self.meters.dead.inc_by(dead.len() as u64);
            warn!(sink = %self.settings.id, lines = dead.len(), error = %first.reason, "the sink does not accept these lines: `parkgate forward dead-letters` lists them");
        }
        self.request_size.learn(&delivery);
        self.probe = delivery.into_probe();
        Ok(dead)
    }

    /// Sets the metrics of what is behind; `on_its_way` is gathered and not sent.
    fn lag(&self, gatherer: &Gatherer, on_its_way: Option<&Batch>) {
        let on_its_way = on_its_way.filter(|batch| !batch.lines.is_empty());
        let entries = gatherer.behind(self.sent_below).max(u64::from(on_its_way.is_some()));
        self.meters.lag_entries.set(i64::try_from(entries).unwrap_or(i64::MAX));
        let received = on_its_way.and_then(|batch| batch.received);
        let age_ms = received.map_or(0, |received| self.sources.clock.now().utc.since(received).max(0));
        self.meters.lag_seconds.set(age_ms / 1000);
    }

    /// Waits for news of the journal.
    fn idle(&self, gatherer: &mut Gatherer, limit: Duration) -> Result<(), Cancelled> {
        let news = gatherer.news();
        self.runtime.block_on(async {
            let changed = async {
                if news.changed().await.is_err() {
                    // The journal is closed: nothing comes any more.
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = self.cancel.cancelled() => Err(Cancelled),
                _ = tokio::time::timeout(limit, changed) => Ok(()),
            }
        })
    }

    fn wait(&self, limit: Duration) -> Result<(), Cancelled> {
        // The timer is made inside: it needs the runtime around it.
        let cancelled = self.runtime.block_on(async { tokio::time::timeout(limit, self.cancel.cancelled()).await });
        if cancelled.is_ok() { Err(Cancelled) } else { Ok(()) }
    }
}

fn letter(lines: &Lines, line: usize, reason: &str, time: parkgate_collector::model::UtcMillis) -> DeadLetter {
    let text = String::from_utf8_lossy(lines.get(&(line..line.saturating_add(1)))).trim_end().to_owned();
    DeadLetter { time, line: text, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests;
