//! What the record gets, other databases get too: InfluxDB 2, InfluxDB 1, VictoriaMetrics, by line protocol over HTTP.
//!
//! Each sink has a thread ([`worker`]) with a place of its own in the journal ([`gather`]); nothing waits for it. What
//! the journal no longer has when the sink gets to it is sent from blocks of history. A batch is noted ([`state`]) after
//! the sink acknowledged it, so after a crash the last one is sent again: at least once, and the same thing at the sink,
//! which keeps one value per series and time. Late values and corrections are newer writes. [`delivery`] decides what an
//! answer ([`verdict`]) means for the lines that were sent; [`client`] sends them; [`table`] and [`mod@line`] make them;
//! [`settings`] the configuration; [`reconcile`] compares afterwards.
//!
//! Samples go to every sink as they are recorded, totals when they are closed. VictoriaMetrics does not surely replace a
//! value it has (of two under one stamp either may win), and no sink lets go of one that the record has no more: reconcile
//! tells those apart by the corrections that the record and the facts keep.
//!
//! To add a sink: a [`SinkKind`], its address in [`client`], its question in [`reconcile`].

pub mod client;
pub mod delivery;
pub mod gather;
pub mod line;
pub mod reconcile;
pub mod settings;
pub mod state;
pub mod table;
pub mod verdict;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use parkgate_collector::clock::Clock;
use parkgate_collector::journal::{Journal, Sequence};
use prometheus::IntGauge;

pub use settings::{SinkKind, SinkSettings};

use crate::current::{Configured, Current};
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use crate::rollup::TotalsView;
use crate::store::History;
use crate::threads::Threads;
use client::Client;
use state::State;
use worker::Worker;

/// Folder of the sinks' state below the data directory.
const FOLDER: &str = "forward";

/// What the sinks are fed from.
#[derive(Clone)]
pub struct Sources {
    /// Points, names, labels, and all numbers that points have and had.
    pub configured: Current<Configured>,
    /// What is new.
    pub journal: Journal,
    /// What is older than the journal.
    pub history: History,
    /// Totals; `None` where there are none.
    pub totals: Option<Arc<dyn TotalsView>>,
    /// Stamps of dead letters, dates of `Retry-After`.
    pub clock: Arc<dyn Clock>,
    /// Counters by sink.
    pub metrics: Metrics,
    /// Where a sink that does not take values is told.
    pub readiness: Readiness,
}

/// The state file of a sink in the data directory `data`.
pub fn state_path(data: &Path, id: &str) -> PathBuf {
    data.join(FOLDER).join(format!("{id}.db"))
}

/// The furthest entry that a sink has read: the journal gives no number up to it to a new entry. Files that cannot be
/// read are passed over: their sinks say so when they start.
pub fn furthest(data: &Path) -> Sequence {
    let files = std::fs::read_dir(data.join(FOLDER)).into_iter().flatten().flatten();
    let paths = files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|extension| extension == "db"));
    let cursors = paths.filter_map(|path| State::open_read_only(&path).ok()?.cursor().ok()?);
    Sequence(cursors.map(|cursor| cursor.0.saturating_sub(1)).max().unwrap_or(0))
}

/// Starts a thread per sink. State is kept in the data directory `data`; files that settings name are relative to `base`.
///
/// # Errors
/// A file of a token or certificate cannot be used, or a thread cannot start. A sink that does not answer is no error.
pub fn start(sinks: &[SinkSettings], base: &Path, data: &Path, sources: &Sources) -> Result<Threads> {
    let clients: Vec<Client> = sinks
        .iter()
        .map(|sink| Client::new(sink, base).with_context(|| format!("[[gateway.sink]] `{}`", sink.id)))
        .collect::<Result<_>>()?;
    let mut threads = Threads::default();
    for (sink, client) in sinks.iter().zip(clients) {
        let standing = Standing::new(&sink.id, sources);
        let worker = Worker::new(sink.clone(), client, data, sources.clone(), standing, threads.cancel().clone())
            .context("a sink's timer cannot be made")?;
        threads.spawn(format!("sink {}", sink.id), move || worker.run())?;
    }
    Ok(threads)
}

/// How a sink does, told to readiness and the metric. A sink that does not take values makes the gateway degraded, not
/// unready.
struct Standing {
    part: String,
    readiness: Readiness,
    gauge: IntGauge,
    now: Mutex<Stand>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    Unknown,
    Fine,
    Retrying,
    Refused,
    Trouble,
}

impl Standing {
    fn new(id: &str, sources: &Sources) -> Self {
        let gauge = sources.metrics.forward_state.with_label_values(&[id]);
        Self { part: format!("sink {id}"), readiness: sources.readiness.clone(), gauge, now: Mutex::new(Stand::Unknown) }
    }

    /// Sets it; whether that is news.
    fn set(&self, stand: Stand, code: i64, text: Option<String>) -> bool {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let news = *now != stand;
        *now = stand;
        self.gauge.set(code);
        self.readiness.degraded(&self.part, text);
        news
    }

    fn fine(&self) -> bool {
        self.set(Stand::Fine, 0, None)
    }

    fn retrying(&self, why: &str) -> bool {
        self.set(Stand::Retrying, 1, Some(format!("is away or busy, values wait in the record: {why}")))
    }

    fn refused(&self, why: &str) -> bool {
        self.set(Stand::Refused, 2, Some(format!("refuses us, values wait in the record: {why}")))
    }

    fn trouble(&self, why: &str) -> bool {
        self.set(Stand::Trouble, 3, Some(why.to_owned()))
    }
}
