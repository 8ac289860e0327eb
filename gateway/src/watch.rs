//! Once a second: what the parts say of themselves becomes readiness and metrics.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parkgate_collector::journal::Journal;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::metrics::Metrics;
use crate::readiness::Readiness;
use crate::store::history::{History, HistoryStats};
use crate::store::reader::ReaderStats;

/// How often the parts are asked.
const EVERY: Duration = Duration::from_secs(1);
/// History this far behind the journal is a problem, in entries.
const LAG_ENTRIES: u64 = 100_000;
/// A journal that is full within this many days is said so.
const FULL_SOON_DAYS: f64 = 14.0;

/// Runs until `cancel`.
pub async fn run(
    journal: Journal,
    history: History,
    reader: Arc<ReaderStats>,
    history_folder: PathBuf,
    readiness: Readiness,
    metrics: Metrics,
    cancel: CancellationToken,
) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut before = HistoryStats::default();
    let mut warned_full_soon = false;
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            _ = tick.tick() => {}
        }
        let stats = history.stats();
        publish(&metrics, &before, &stats);
        for (counter, now) in [
            (&metrics.history_gone, &reader.gone),
            (&metrics.history_unreadable, &reader.damaged),
            (&metrics.history_read_errors, &reader.errors),
        ] {
            counter.inc_by(now.load(Ordering::Relaxed).saturating_sub(counter.get()));
        }
        let journal_stats = journal.stats();
        let behind = journal_stats.durable.0.saturating_sub(stats.position.0);
        metrics.history_lag.set(i64::try_from(behind).unwrap_or(i64::MAX));
        metrics.history_disk_bytes.set(bytes_in(&history_folder));
        metrics.journal_full_in_days.set(journal_stats.full_in_days.unwrap_or(-1.0));
        readiness.set("engine", Ok(()));
        let full_soon = journal_stats.full_in_days.filter(|days| *days < FULL_SOON_DAYS);
        let journal_state = match &journal_stats.full {
            Some(error) => Err(format!("{error}; meters wait, nothing is lost that was acknowledged")),
            None => Ok(()),
        };
        match full_soon {
            Some(days) if !warned_full_soon => {
                warn!(days = format!("{days:.1}"), "the journal is full soon: history does not keep up or the disk is short");
                warned_full_soon = true;
            }
            None => warned_full_soon = false,
            Some(_) => {}
        }
        readiness.set("journal", journal_state);
        readiness.set(
            "history",
            match (stats.checkpoint_failures > before.checkpoint_failures, behind > LAG_ENTRIES) {
                (true, _) => Err("the last checkpoint failed; it is tried again, see the log".into()),
                (false, true) => Err(format!("{behind} journal entries behind")),
                (false, false) => Ok(()),
            },
        );
        before = stats;
    }
}

fn publish(metrics: &Metrics, before: &HistoryStats, now: &HistoryStats) {
    let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    metrics.history_applied.inc_by(now.samples_applied.saturating_sub(before.samples_applied));
    metrics.history_blocks.inc_by(now.blocks.saturating_sub(before.blocks));
    metrics.history_bytes.inc_by(now.block_bytes.saturating_sub(before.block_bytes));
    metrics.history_head_bytes.set(gauge(now.head_bytes));
    metrics.history_corrections.inc_by(now.corrections.saturating_sub(before.corrections));
    metrics.history_files_deleted.inc_by(now.files_deleted.saturating_sub(before.files_deleted));
    metrics.history_files_relieved.inc_by(now.files_relieved.saturating_sub(before.files_relieved));
    metrics.history_damaged.inc_by(now.damaged.saturating_sub(before.damaged));
    if now.checkpoints > before.checkpoints {
        metrics.history_checkpoint.observe(now.checkpoint_micros as f64 / 1e6);
    }
}

/// Bytes of the files in a folder; 0 when it cannot be read.
fn bytes_in(folder: &Path) -> i64 {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes: u64 = files.filter_map(|file| Some(file.metadata().ok()?.len())).sum();
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
