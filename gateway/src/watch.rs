//! Once a second: what the parts say of themselves becomes readiness and metrics. Now and then it lets history merge
//! small blocks and delete what retention no longer keeps.

use std::sync::Arc;
use std::time::Duration;

use parkgate_collector::clock::Clock;
use parkgate_collector::health::{HealthBoard, State};
use parkgate_collector::journal::Journal;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::api::Readiness;
use crate::metrics::Metrics;
use crate::store::history::{History, HistoryStats};

/// How often the parts are asked.
const EVERY: Duration = Duration::from_secs(1);
/// How often history is maintained; a pass that finds nothing to do is cheap.
const MAINTAIN_EVERY_MS: u64 = 60 * 60 * 1000;
/// History this far behind the journal is a problem, in entries.
const LAG_ENTRIES: u64 = 100_000;
/// A journal that is full within this many days is said so.
const FULL_SOON_DAYS: f64 = 14.0;

/// Runs until `cancel`.
pub async fn run(
    journal: Journal,
    history: History,
    readiness: Readiness,
    health: HealthBoard,
    metrics: Metrics,
    clock: Arc<dyn Clock>,
    cancel: CancellationToken,
) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut before = HistoryStats::default();
    let mut maintained_ms = clock.now().monotonic_ms;
    let mut warned_full_soon = false;
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            _ = tick.tick() => {}
        }
        let stats = history.stats();
        publish(&metrics, &before, &stats);
        let durable = journal.durable().0;
        let behind = durable.saturating_sub(stats.position.0);
        readiness.set("engine", Ok(()));
        let full_soon = journal.full_in_days().filter(|days| *days < FULL_SOON_DAYS);
        let journal_state = match (journal.full(), full_soon) {
            (Some(error), _) => Err(format!("{error}; meters wait, nothing is lost that was acknowledged; free disk space or raise [gateway.journal] budget_megabytes")),
            _ => Ok(()),
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
        readiness.set("history", match (stats.checkpoint_failures > before.checkpoint_failures, behind > LAG_ENTRIES) {
            (true, _) => Err("the last checkpoint failed; it is tried again, see the log".into()),
            (false, true) => Err(format!("{behind} journal entries behind")),
            (false, false) => Ok(()),
        });
        let down: Vec<String> = health.links().into_iter().filter(|(_, link)| link.state == State::Down).map(|(id, _)| id).collect();
        readiness.set("links", if down.is_empty() { Ok(()) } else { Err(format!("not connected: {}", down.join(", "))) });
        before = stats;

        let now = clock.now();
        if now.monotonic_ms.saturating_sub(maintained_ms) >= MAINTAIN_EVERY_MS {
            maintained_ms = now.monotonic_ms;
            let history = history.clone();
            let pass = tokio::task::spawn_blocking(move || history.maintain(now.utc)).await;
            if let Ok(Err(error)) = pass {
                warn!(error = %error, "history could not be maintained; tried again in an hour");
            }
        }
    }
}

fn publish(metrics: &Metrics, before: &HistoryStats, now: &HistoryStats) {
    let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    metrics.history_applied.inc_by(now.samples_applied.saturating_sub(before.samples_applied));
    metrics.history_blocks.inc_by(now.blocks.saturating_sub(before.blocks));
    metrics.history_bytes.inc_by(now.block_bytes.saturating_sub(before.block_bytes));
    metrics.history_head_bytes.set(gauge(now.head_bytes));
    metrics.history_corrections.inc_by(now.corrections.saturating_sub(before.corrections));
    metrics.history_damaged.inc_by(now.damaged.saturating_sub(before.damaged));
    if now.checkpoints > before.checkpoints {
        metrics.history_checkpoint.observe(now.checkpoint_micros as f64 / 1e6);
    }
}
