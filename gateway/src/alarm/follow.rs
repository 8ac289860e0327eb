//! The thread that makes alarm events: it follows the journal, the facts and the clock, and keeps what it makes in the
//! outbox before anybody hears of it.
//!
//! Events are committed at once, with the states of what is on or was, and the place in the journal. Without events they are
//! committed every [`KEEP_EVERY`]: after a crash readings since then are read again from the journal, with the same result, as
//! no event came of them. What the journal no longer has is read from the blocks.
//!
//! Of most alarms there is nothing to remember but the last reading, and that changes with every reading. It is kept every
//! [`KEEP_ALL_EVERY`] and at the end: to write it with every reading would wear a small disk out. After a crash it may be
//! older than the place in the journal, so that a reading that comes late by no more than that is taken as live: an alarm
//! by it is told as one that began then, and ends with the next reading.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parkgate_collector::journal::{Progress, Reader, Record, SampleRecord, Sequence};
use parkgate_rules::alarm::UtcMillis;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::act::Done;
use super::bind::bind;
use super::evaluate::Evaluator;
use super::event::{Event, EventKind, Standing};
use super::outbox::{Batch, Outbox};
use super::settings::AlarmSettings;
use super::{Alarms, Sources, compliance};
use crate::current::{Configured, Following};
use crate::rollup::rule::not_before;
use crate::store::{Entry, EntryKind, Facts, RecordView as _, StoreError};

/// Journal entries read before what they made is kept.
const ENTRIES_PER_ROUND: usize = 5_000;
/// Between two ticks, and two looks into the facts.
const TICK: Duration = Duration::from_millis(100);
/// States that changed without an event are kept so often.
const KEEP_EVERY: Duration = Duration::from_secs(5);
/// All states that changed are kept so often.
const KEEP_ALL_EVERY: Duration = Duration::from_secs(600);
/// Wait before files are tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Entries of the facts taken in at once.
const INBOX_MAX: usize = 500;
/// Entries of the facts that a new outbox still tells.
const NEWS_MS: i64 = 24 * 3_600_000;
/// Samples read from blocks at once.
const SCAN_MAX: usize = 20_000;

/// Whoever asked for the end of the thread has it.
struct Cancelled;

/// Why a run ended in good order.
enum Ended {
    Cancelled,
    /// Something else is configured; all is kept, and the next run goes on from there.
    Renewed,
}

/// See the module.
pub struct Follower {
    settings: AlarmSettings,
    alarms: Alarms,
    facts_path: PathBuf,
    sources: Sources,
    cancel: CancellationToken,
}

/// One run from what was kept.
struct Run<'a> {
    follower: &'a Follower,
    configured: Arc<Configured>,
    following: Following<Configured>,
    outbox: Outbox,
    facts: Facts,
    evaluator: Evaluator,
    reader: Reader,
    inbox: i64,
    boot: Option<u64>,
    /// The program listens since then; `None` once that was told.
    listening: Option<UtcMillis>,
    /// It has listened before, to all that it listened to then.
    goes_on: bool,
    /// Before this no clock is believed.
    not_before: UtcMillis,
    /// Our clock was before it when it was last looked at.
    is_undated: bool,
    events: Vec<Event>,
    kept: (Instant, Sequence, i64),
    /// When all states were kept.
    kept_all: Instant,
}

impl Follower {
    /// Over an outbox that is there.
    pub fn new(settings: AlarmSettings, alarms: Alarms, facts_path: PathBuf, sources: Sources) -> Self {
        Self { settings, alarms, facts_path, sources, cancel: CancellationToken::new() }
    }

    fn now(&self) -> UtcMillis {
        UtcMillis(self.sources.clock.now().utc.0)
    }

    /// Runs until `cancel`; after a failure it begins anew from what was kept.
    pub fn run(mut self, runtime: &tokio::runtime::Runtime, cancel: &CancellationToken) {
        self.cancel = cancel.clone();
        let mut goes_on = false;
        while !self.cancel.is_cancelled() {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                let mut run = Run::new(&self, goes_on)?;
                self.sources.readiness.degraded("alarms", None);
                run.follow(runtime)
            }));
            let text = match outcome {
                Ok(Ok(Ended::Cancelled)) => return,
                Ok(Ok(Ended::Renewed)) => {
                    goes_on = true;
                    continue;
                }
                Ok(Err(error)) => error.to_string(),
                Err(panic) => {
                    let what = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
                    format!("a fault of the program: {}", what.unwrap_or("no message"))
                }
            };
            goes_on = false;
            error!(error = %text, "alarms were interrupted; they go on from what was kept");
            self.sources.readiness.degraded("alarms", Some(text));
            let _ = wait(runtime, RETRY, &self.cancel);
        }
    }
}

impl<'a> Run<'a> {
    fn new(follower: &'a Follower, goes_on: bool) -> Result<Self, StoreError> {
        let (configured, following) = follower.sources.configured.follow();
        let path = follower.alarms.path().cloned().unwrap_or_default();
        let mut outbox = Outbox::open(&path)?;
        let facts = Facts::open_read_only(&follower.facts_path)?;
        let journal = &follower.sources.journal;
        let is_new = outbox.journal()?.is_none();
        // What was before alarms were first switched on is history.
        let end = Sequence(journal.durable().0.saturating_add(1));
        let next = outbox.journal()?.unwrap_or(end).min(end);
        if is_new {
            let inbox = told_before(&facts, follower.now())?;
            outbox.commit(&Batch { journal: Some(next), inbox: Some(inbox), ..Batch::default() })?;
        }
        let bindings = bind(&configured.rules, &configured.catalogue);
        bindings.warnings.iter().for_each(|warning| warn!("{warning}"));
        let (states, standing) = (outbox.states()?, outbox.standing()?);
        let numbers = (outbox.epoch().to_owned(), outbox.bounds()?.1);
        let now = follower.now();
        let (evaluator, events) = Evaluator::new(bindings, states, &standing, numbers, follower.settings.late_hours, now);
        let (inbox, boot) = (outbox.inbox()?, outbox.boot()?);
        let not_before = UtcMillis(not_before(&configured.catalogue).0);
        info!(rules = configured.rules.len(), alarms = evaluator.alarms().len(), cursor = next.0, "alarms watch the record");
        Ok(Self {
            follower,
            configured,
            following,
            outbox,
            facts,
            evaluator,
            reader: journal.reader(next),
            inbox,
            boot,
            listening: Some(now),
            goes_on,
            not_before,
            is_undated: now < not_before,
            events,
            kept: (Instant::now(), next, inbox),
            kept_all: Instant::now(),
        })
    }

    fn follow(&mut self, runtime: &tokio::runtime::Runtime) -> Result<Ended, StoreError> {
        let mut news = self.follower.sources.journal.subscribe();
        let mut ticked = Instant::now().checked_sub(TICK).unwrap_or_else(Instant::now);
        loop {
            if self.follower.cancel.is_cancelled() {
                self.keep(true)?;
                return Ok(Ended::Cancelled);
            }
            if self.following.has_news() {
                self.keep(true)?;
                return Ok(Ended::Renewed);
            }
            // Marked as seen before reading, so that what grows meanwhile wakes the next wait.
            news.borrow_and_update();
            let is_all = self.read()?;
            if is_all && ticked.elapsed() >= TICK {
                ticked = Instant::now();
                self.take_in()?;
                let now = self.follower.now();
                let was_undated = std::mem::replace(&mut self.is_undated, now < self.not_before);
                if was_undated && !self.is_undated {
                    // Silence that only our clock made.
                    self.evaluator.listening(now, now, &mut self.events);
                }
                if let Some(since) = self.listening.take() {
                    if self.goes_on {
                        self.evaluator.listening_anew(since, now, &mut self.events);
                    } else {
                        self.evaluator.listening(since, now, &mut self.events);
                    }
                }
                self.evaluator.tick(now, &mut self.events);
            }
            self.keep(false)?;
            self.gauges();
            if !is_all {
                continue;
            }
            runtime.block_on(async {
                let changed = async {
                    if news.changed().await.is_err() {
                        // The journal is closed: nothing comes any more.
                        std::future::pending::<()>().await;
                    }
                };
                tokio::select! {
                    () = self.follower.cancel.cancelled() => {}
                    () = changed => {}
                    () = self.follower.alarms.nudged() => { ticked = Instant::now().checked_sub(TICK).unwrap_or(ticked); }
                    () = tokio::time::sleep(TICK.saturating_sub(ticked.elapsed())) => {}
                }
            });
        }
    }

    /// Reads what the journal has, a round of it; whether that was all.
    fn read(&mut self) -> Result<bool, StoreError> {
        let mut record = Record::Samples(SampleRecord::default());
        for _ in 0..ENTRIES_PER_ROUND {
            let expected = self.reader.position();
            match self.reader.next_into(&mut record) {
                Ok(Progress::Entry(_)) => {
                    if self.following.has_news() {
                        // What is configured now may know more of its points.
                        self.reader = self.follower.sources.journal.reader(expected);
                        return Ok(false);
                    }
                    match &record {
                        Record::Samples(samples) => self.samples(samples),
                        Record::Clock(clock) => self.clock_set(UtcMillis(clock.expected.0), UtcMillis(clock.found.0)),
                        _ => {}
                    }
                }
                Ok(Progress::End) => return Ok(true),
                Ok(Progress::Gone { oldest }) => {
                    info!(oldest = oldest.0, "journal entries are gone before alarms read them; going on from the blocks");
                    self.read_blocks(expected, oldest)?;
                }
                // What cannot be read has not come into the record either.
                Ok(Progress::Damaged { from, to }) => {
                    warn!(from = from.0, to = to.0, "damaged journal entries are not looked at for alarms")
                }
                Err(error) => {
                    warn!(error = %error, "journal cannot be read for alarms; it is tried again");
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Our clock was set. When nobody knew the time before, what was heard until then says nothing of silence.
    fn clock_set(&mut self, expected: UtcMillis, found: UtcMillis) {
        if expected < self.not_before && self.not_before <= found {
            let now = self.follower.now();
            self.evaluator.listening(found, now, &mut self.events);
        }
    }

    fn samples(&mut self, record: &SampleRecord) {
        let now = self.follower.now();
        if self.boot != Some(record.boot_id)
            && let Some(first) = record.samples.first()
        {
            // Another run of the program: nobody was heard in between.
            self.boot = Some(record.boot_id);
            self.evaluator.listening(UtcMillis(first.received_time.0), now, &mut self.events);
        }
        for sample in &record.samples {
            self.evaluator.sample(sample, now, &mut self.events);
        }
    }

    /// Takes in what the journal let go of, point by point. Kept with the place behind it, or not at all.
    fn read_blocks(&mut self, first: Sequence, oldest: Sequence) -> Result<(), StoreError> {
        let history = &self.follower.sources.history;
        for stretch in history.written(first, oldest)? {
            let mut from = stretch.from;
            loop {
                let now = self.follower.now();
                let samples = history.scan(stretch.point, from, stretch.to, SCAN_MAX)?;
                for sample in &samples {
                    self.evaluator.sample(sample, now, &mut self.events);
                }
                match samples.last() {
                    Some(last) if samples.len() >= SCAN_MAX => from = last.record_time.plus(1),
                    _ => break,
                }
            }
        }
        Ok(())
    }

    /// Takes in entries of the facts: acts and compliance events, in their order.
    fn take_in(&mut self) -> Result<(), StoreError> {
        let newest = self.facts.last_entry(EntryKind::AlarmAct)?.max(self.facts.last_entry(EntryKind::ComplianceEvent)?);
        if newest <= self.inbox {
            return Ok(());
        }
        let mut entries = self.facts.some_entries(EntryKind::AlarmAct, self.inbox, INBOX_MAX)?;
        let found = self.facts.some_entries(EntryKind::ComplianceEvent, self.inbox, INBOX_MAX)?;
        // Behind the last of a kind that was cut off, entries of the other kind wait.
        let cut =
            [&entries, &found].into_iter().filter(|list| list.len() >= INBOX_MAX).filter_map(|list| list.last()).map(|last| last.id).min();
        entries.extend(found);
        entries.sort_by_key(|entry| entry.id);
        for entry in entries.iter().filter(|entry| cut.is_none_or(|cut| entry.id <= cut)) {
            self.entry(entry)?;
            self.inbox = self.inbox.max(entry.id);
        }
        Ok(())
    }

    fn entry(&mut self, entry: &Entry) -> Result<(), StoreError> {
        let now = self.follower.now();
        if entry.kind == EntryKind::ComplianceEvent {
            match serde_json::from_value(entry.body.clone()) {
                Ok(found) => {
                    for event in compliance::events(&found, &self.configured.catalogue, now) {
                        self.evaluator.number(event, &mut self.events);
                    }
                }
                Err(error) => error!(entry = entry.id, error = %error, "a compliance event cannot be read and is not told"),
            }
            return Ok(());
        }
        let done: Done = match serde_json::from_value(entry.body.clone()) {
            Ok(done) => done,
            Err(error) => {
                warn!(entry = entry.id, error = %error, "what was done to an alarm cannot be read");
                return Ok(());
            }
        };
        let fingerprint = &entry.subject;
        let alarm = self.evaluator.alarms().iter().find(|alarm| *alarm.fingerprint == **fingerprint);
        let since = alarm.and_then(|alarm| alarm.state.episode()).map(|episode| episode.since);
        if let Some(act) = done.act(since) {
            self.evaluator.act(fingerprint, act, now, &mut self.events);
        }
        if let Some(note) = &done.note {
            self.note(fingerprint, &done, note, now)?;
        }
        Ok(())
    }

    /// A note goes with the alarm as it was told last.
    fn note(&mut self, fingerprint: &str, done: &Done, note: &str, now: UtcMillis) -> Result<(), StoreError> {
        let pending = self.events.iter().rev().find(|event| event.fingerprint == *fingerprint).cloned();
        let Some(last) = pending.map_or_else(|| self.outbox.last_of(fingerprint), |event| Ok(Some(event)))? else { return Ok(()) };
        let mut annotations = last.annotations.clone();
        annotations.insert("note".into(), note.to_owned());
        annotations.insert("note_by".into(), done.by.clone());
        let is_over = last.state == Standing::Resolved;
        let event = Event { kind: EventKind::Noted, time: now, suppressed: is_over || last.suppressed, annotations, ..last };
        self.evaluator.number(event, &mut self.events);
        Ok(())
    }

    /// Keeps what changed: events at once, states and places now and then, or when `all`.
    fn keep(&mut self, all: bool) -> Result<(), StoreError> {
        let (since, journal, inbox) = self.kept;
        let position = self.reader.position();
        let is_due = all || since.elapsed() >= KEEP_EVERY;
        let has_moved = journal != position || inbox != self.inbox;
        if self.events.is_empty() && inbox == self.inbox && !(all || is_due && has_moved) {
            return Ok(());
        }
        let all = all || is_due && self.kept_all.elapsed() >= KEEP_ALL_EVERY;
        if all {
            self.kept_all = Instant::now();
        }
        let batch = Batch {
            events: std::mem::take(&mut self.events),
            states: self.evaluator.dirty(all),
            journal: Some(position),
            inbox: Some(self.inbox),
            boot: self.boot,
        };
        // An error begins the run anew from what was kept: nothing of this was told.
        self.outbox.commit(&batch)?;
        self.kept = (Instant::now(), position, self.inbox);
        self.follower.sources.metrics.alarm_events.inc_by(u64::try_from(batch.events.len()).unwrap_or(u64::MAX));
        self.follower.alarms.publish(&batch.events, Some(self.inbox));
        Ok(())
    }

    fn gauges(&self) {
        let (metrics, journal) = (&self.follower.sources.metrics, &self.follower.sources.journal);
        let lag = journal.durable().0.saturating_add(1).saturating_sub(self.reader.position().0);
        metrics.alarm_lag.set(i64::try_from(lag).unwrap_or(i64::MAX));
        for (priority, count) in self.follower.alarms.counts() {
            metrics.alarms_active.with_label_values(&[priority.name()]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}

/// The last entry that a new outbox leaves out: what was entered long ago was told long ago, or is no news.
fn told_before(facts: &Facts, now: UtcMillis) -> Result<i64, StoreError> {
    let mut last = 0;
    for kind in [EntryKind::AlarmAct, EntryKind::ComplianceEvent] {
        let old = facts.entries(kind, 0)?.into_iter().filter(|entry| now.since(UtcMillis(entry.time.0)) > NEWS_MS);
        last = old.map(|entry| entry.id).fold(last, i64::max);
    }
    Ok(last)
}

/// Waits, but not beyond the end.
fn wait(runtime: &tokio::runtime::Runtime, limit: Duration, cancel: &CancellationToken) -> Result<(), Cancelled> {
    let cancelled = runtime.block_on(async { tokio::time::timeout(limit, cancel.cancelled()).await });
    if cancelled.is_ok() { Err(Cancelled) } else { Ok(()) }
}
