//! What is recorded before the time is known, and what becomes of it once it is.
//!
//! A machine whose clock has no battery begins in 1970, or whenever its makers chose. What only our clock stamps then is
//! bad (`clock`), see [`crate::normalise`]. When the clock is set, the monotonic clock tells how far it was off: what this
//! run recorded meanwhile is read from the journal again, entry by entry, and recorded once more by the time it had in
//! truth. What drivers read before and hand over later is moved as it comes.
//!
//! Only this run is meant. A process that ends before the clock is set, or while it records again, leaves the rest as it
//! is: bad, and differences across it are the true ones. (A process that is started again within the same boot of the
//! machine could be covered as well: were the machine's boot id and its uptime in the records, the offset would hold for
//! records of earlier processes, too.)
//!
//! The journal keeps what is to be read again as long as it takes no more than [`KEPT_BYTES_MAX`] and a quarter of its
//! budget; then the older half of it is given up, and all of it when the disk is short or the journal full.

use std::time::Instant;

use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use super::{CLOCK_STEP_MS, Pipeline, Unanswered};
use crate::journal::{Journal, Next, Record, SampleRecord, Sequence};
use crate::model::{Now, Quality, UtcMillis};
use crate::normalise::Undated;

/// The journal takes so much at most for what may be recorded again, some 20 million samples: it is recorded in about a
/// minute, while drivers wait.
const KEPT_BYTES_MAX: u64 = 256 << 20;
/// Stretches remembered: a message may wait here while the clock is set more than once.
const STRETCHES: usize = 4;

/// Time between two settings of our clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stretch {
    /// What our clock showed at its begin.
    from: UtcMillis,
    /// And at its end, if it ended.
    to: Option<UtcMillis>,
    /// Our clock less the monotonic clock.
    base: i64,
}

/// Times before `not_before` that our clock has shown, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Stretches(Vec<Stretch>);

/// The clock of this run, while the time is not known and after.
#[derive(Debug, Default)]
pub(super) struct Calendar {
    /// Entries of the journal from here on were recorded without knowing the time; `None` while it is known.
    from: Option<Sequence>,
    /// Since then; kept once the time is known, for what comes late.
    stretches: Stretches,
    /// The first of them, where reading again begins.
    first: Option<Stretch>,
    /// The right clock less the monotonic clock, once the time is known.
    base: Option<i64>,
}

impl Stretches {
    /// The clock shows another time from now on; `until` is what it showed before.
    fn begin(&mut self, until: Option<UtcMillis>, now: Now) -> Stretch {
        if let (Some(last), Some(until)) = (self.0.last_mut(), until) {
            last.to = Some(until);
        }
        let next = Stretch { from: now.utc, to: None, base: base_of(now) };
        if self.0.len() >= STRETCHES {
            self.0.remove(0);
        }
        self.0.push(next);
        next
    }

    /// How far our clock was off when it showed `time`, by the right `base`; of two times that it showed twice the later.
    fn shift(&self, time: UtcMillis, base: i64) -> Option<i64> {
        let slack = CLOCK_STEP_MS;
        let holds = |one: &&Stretch| one.from.plus(-slack) <= time && one.to.is_none_or(|to| time <= to.plus(slack));
        self.0.iter().rev().find(holds).map(|one| base.saturating_sub(one.base))
    }
}

impl Calendar {
    /// Takes a look at the clock: `expected` is what it should show, where it was set since the last look. Returns what is
    /// to be read again: the time is known now.
    pub(super) fn look(&mut self, not_before: UtcMillis, expected: Option<UtcMillis>, now: Now, journal: &Journal) -> Option<Again> {
        if now.utc < not_before {
            if self.from.is_none() {
                // A bound: what waits for the disk was recorded before.
                *self = Self { from: Some(Sequence(journal.durable().0.saturating_add(1))), ..Self::default() };
                self.first = Some(self.stretches.begin(None, now));
            } else if expected.is_some() {
                self.stretches.begin(expected, now);
            }
            return None;
        }
        let from = self.from.take()?;
        // Without a step it is the right time that has come.
        let (first, until) = (self.first.take()?, expected?);
        if let Some(last) = self.stretches.0.last_mut() {
            last.to = Some(until);
        }
        self.base = Some(base_of(now));
        Some(Again { from, first, base: base_of(now) })
    }

    /// The first entry recorded without knowing the time, while it is not known.
    pub(super) fn undated_from(&self) -> Option<Sequence> {
        self.from
    }

    /// When a message was received in truth that our clock stamped before it was set; `None` for any other.
    pub(super) fn moved(&self, not_before: UtcMillis, received: UtcMillis) -> Option<UtcMillis> {
        let base = self.base.filter(|_| received < not_before)?;
        self.stretches.shift(received, base).map(|shift| received.plus(shift))
    }
}

fn base_of(now: Now) -> i64 {
    now.utc.0.saturating_sub(i64::try_from(now.monotonic_ms).unwrap_or(i64::MAX))
}

/// What is to be recorded again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Again {
    from: Sequence,
    first: Stretch,
    /// The right clock less the monotonic clock.
    base: i64,
}

/// What became of it.
#[derive(Debug, Default)]
struct Outcome {
    samples: u64,
    left_bad: u64,
    unknown_points: u64,
    lost_entries: u64,
    /// Earliest and latest record time in truth.
    span: Option<(UtcMillis, UtcMillis)>,
}

impl Pipeline {
    /// Records again what was recorded before the time was known; `false` when the journal is closed. Blocks for as long
    /// as the journal takes.
    pub(super) fn record_again(&mut self, answers: &mpsc::Sender<Unanswered>, again: Again) -> bool {
        let Some(last) = self.flush(answers) else {
            warn!("the clock was set, but the journal refused records: what was recorded before it stays bad (clock)");
            return true;
        };
        let mut outcome = Outcome::default();
        let mut stretches = Stretches(vec![again.first]);
        let mut reader = self.journal.reader(again.from);
        while reader.position() <= last {
            let expected = reader.position();
            match reader.next() {
                Ok(Next::Entry(_, Record::Samples(record))) if record.boot_id == self.boot_id => {
                    if !self.samples_again(answers, record, &stretches, again.base, &mut outcome) {
                        return false;
                    }
                }
                Ok(Next::Entry(_, Record::Clock(record))) if record.boot_id == self.boot_id => {
                    let found = Now { utc: record.found, monotonic_ms: record.monotonic_ms };
                    stretches.begin(Some(record.expected), found);
                }
                Ok(Next::Entry(..)) => {}
                Ok(Next::Gone { oldest }) => outcome.lose(expected, oldest.min(Sequence(last.0.saturating_add(1)))),
                Ok(Next::Damaged { from, to }) => outcome.lose(from, to),
                Ok(Next::End) => break,
                Err(error) => {
                    warn!(error = %error, "the journal cannot be read");
                    outcome.lose(expected, Sequence(last.0.saturating_add(1)));
                    break;
                }
            }
        }
        outcome.tell(again);
        true
    }

    fn samples_again(
        &mut self,
        answers: &mpsc::Sender<Unanswered>,
        record: SampleRecord,
        stretches: &Stretches,
        base: i64,
        outcome: &mut Outcome,
    ) -> bool {
        // Samples of one record were received together.
        let Some(received) = record.samples.first().map(|sample| sample.received_time) else { return true };
        let Some(shift_ms) = stretches.shift(received, base) else { return true };
        let is_of_catalogue = record.catalogue_version == self.catalogue_version;
        let mut samples = Vec::new();
        let report = self.normaliser.restamp(&Undated { samples: &record.samples, shift_ms, is_of_catalogue }, &mut samples);
        outcome.left_bad = outcome.left_bad.saturating_add(report.clock_doubts.into());
        outcome.unknown_points = outcome.unknown_points.saturating_add(report.unknown_points.into());
        if samples.is_empty() {
            return true;
        }
        for sample in &samples {
            let time = sample.record_time;
            outcome.span = Some(outcome.span.map_or((time, time), |(from, to)| (from.min(time), to.max(time))));
        }
        let restamped = u64::try_from(samples.len()).unwrap_or(u64::MAX);
        outcome.samples = outcome.samples.saturating_add(restamped);
        self.metrics.restamped.inc_by(restamped);
        for (quality, samples) in [(Quality::Good, report.good), (Quality::Uncertain, report.uncertain), (Quality::Bad, report.bad)] {
            self.metrics.samples_quality.with_label_values(&[quality.name()]).inc_by(samples.into());
        }
        self.plates.observe(&samples);
        let (arrived, counts) = (Instant::now(), self.tally.count(&samples));
        // Its marks are known since it was recorded first.
        let record = SampleRecord { catalogue_version: self.catalogue_version, deliveries: Vec::new(), samples, ..record };
        let receipt = Some(self.append_ready(&Record::Samples(record)));
        self.answer_later(answers, Unanswered::Batch { receipt, counts, arrived, done: None })
    }

    /// Keeps what may be recorded again in the journal, as far as there is room; `is_growing` when it is looked at anew.
    pub(super) fn hold_undated(&self, calendar: &Calendar, is_growing: bool) {
        let Some(from) = calendar.undated_from() else { return self.saved_state.let_go() };
        let held = if is_growing { self.saved_state.held() } else { Some(from) };
        let Some(held) = held else { return };
        if self.journal.full().is_some() || self.journal.is_short_of_space() {
            return self.saved_state.let_go();
        }
        let is_much = self.journal.bytes() > (self.journal.budget_bytes() / 4).min(KEPT_BYTES_MAX);
        let half = held.0.midpoint(self.journal.durable().0);
        self.saved_state.hold(if is_much { Sequence(half) } else { held });
    }

    /// Waits until all appended so far is durable; the last entry then. `None` when the journal refused some of it.
    pub(super) fn flush(&mut self, answers: &mpsc::Sender<Unanswered>) -> Option<Sequence> {
        let (sender, receiver) = oneshot::channel();
        self.wait(async {
            answers.send(Unanswered::Flush(sender)).await.ok()?;
            receiver.await.ok()
        })
    }
}

impl Outcome {
    fn lose(&mut self, from: Sequence, to: Sequence) {
        self.lost_entries = self.lost_entries.saturating_add(to.0.saturating_sub(from.0));
    }

    fn tell(&self, again: Again) {
        let text = |time: Option<UtcMillis>| time.map_or_else(|| "-".to_owned(), |time| time.to_string());
        info!(
            samples = self.samples,
            from = text(self.span.map(|span| span.0)),
            to = text(self.span.map(|span| span.1)),
            by_ms = again.base.saturating_sub(again.first.base),
            left_bad = self.left_bad,
            unknown_points = self.unknown_points,
            "the time is known: what was recorded before is recorded once more, by the time it had in truth (uncertain, clock)"
        );
        if self.lost_entries > 0 {
            warn!(
                entries = self.lost_entries,
                "some of what was recorded before the time was known is gone from the journal, or damaged; it stays bad (clock)"
            );
        }
    }
}
