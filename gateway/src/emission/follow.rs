//! From the journal and the entries to stored figures and compliance events: a reader with its own cursor that notes what
//! came, closes hours when their grace is over, and counts both from the record. A blocking loop for a thread of its own.
//!
//! Hours of an outlet close when its own readings have passed the hour's end by the grace; of a silent outlet, when the
//! park's have. What comes after that makes its hours due again. Entries of marks make theirs due, entries of limits have
//! theirs judged again.
//!
//! What is found goes first into the facts (events, corrections), then into `emission.db` together with how far it was
//! counted. A kill in between makes it count again, with the same result: events are settled against the entries
//! themselves, and a correction that was entered already is known. So nothing is entered twice and nothing is lost.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parkgate_collector::clock::Clock;
use parkgate_collector::journal::Sequence;
use parkgate_collector::model::{PointId, Sample, UtcMillis};
use parkgate_rules::emission::{Averaging, ComplianceEvent, Limit, Mark};
use tokio_util::sync::CancellationToken;

use super::correction::{Causes, Correction};
use super::count::{Count, Due, Found};
use super::entered::{Entered, Touched, What};
use super::events::{self, Events};
use super::plan::{Plan, PlannedOutlet};
use super::readings;
use super::span::{hours, to_core};
use super::store::{Cursor, EmissionStore, Followed, Watched, is_as_configured};
use super::watch::Watch;
use crate::metrics::Metrics;
use crate::rollup::rule::is_timeless;
use crate::rollup::{Level, scan};
use crate::store::follow::Follow;
use crate::store::history::Stretch;
use crate::store::{Facts, NewEntry, RecordView, StoreError};

/// Hours of an outlet whose figures go in one transaction.
const HOURS_PER_TRANSACTION: usize = 48;
/// Minutes of a pair that are looked at at once, where nothing was looked at yet.
const WATCHED_AT_ONCE_MS: i64 = 3 * 86_400_000;
const MINUTE_MS: i64 = 60_000;

/// What the follower works on.
pub struct Follower {
    plan: Arc<Plan>,
    outlets_by_point: HashMap<PointId, Vec<usize>>,
    pairs_by_point: HashMap<PointId, Vec<usize>>,
    grace_ms: i64,
    parts: Parts,
    store: EmissionStore,
    entered: Entered,
    events: Events,
    outlets: Vec<Tracked>,
    pairs: Vec<TrackedPair>,
    to_judge: Vec<Judge>,
    /// Greatest record time of the park, not beyond the greatest time of receipt.
    reaches: UtcMillis,
    received: UtcMillis,
    /// As stored.
    cursor: Option<Cursor>,
}

/// What a follower reads and writes beside its own file.
#[derive(Clone)]
pub struct Parts {
    /// The record.
    pub record: Arc<dyn RecordView>,
    /// What people and the program entered.
    pub facts: Arc<Facts>,
    /// The time, for entries.
    pub clock: Arc<dyn Clock>,
    /// The gateway's metrics.
    pub metrics: Metrics,
}

/// An outlet and what is due of it.
#[derive(Debug, Default)]
struct Tracked {
    /// `None` before its first sample.
    now: Option<Followed>,
    /// Whether `now` differs from what is stored in more than the latest sample.
    moved: bool,
    /// Starts of closed hours that are due again, with why.
    dirty: BTreeMap<UtcMillis, Causes>,
    /// It is configured otherwise than when it was counted, or was not followed for a time: as it was then.
    was: Option<String>,
}

/// A pair and what is due of it.
#[derive(Debug, Default)]
struct TrackedPair {
    /// `None` before its first sample.
    now: Option<Watched>,
    first: UtcMillis,
    latest: UtcMillis,
    /// Range of record times of samples in minutes that were looked at.
    late: Option<(UtcMillis, UtcMillis)>,
}

/// Averages of an outlet that are judged again.
#[derive(Clone, Debug)]
struct Judge {
    outlet: usize,
    factor: String,
    averaging: Averaging,
    from: UtcMillis,
    to: UtcMillis,
}

impl Follower {
    /// Goes on from what is stored.
    ///
    /// # Errors
    /// When it, the facts or the record cannot be read.
    pub fn new(plan: Arc<Plan>, parts: Parts, mut store: EmissionStore, grace_ms: i64) -> Result<Self, StoreError> {
        let cursor = store.cursor()?;
        let outlet_ids: Vec<&str> = plan.outlets.iter().map(|planned| planned.outlet.id.as_str()).collect();
        let pair_ids: Vec<&str> = plan.pairs.iter().map(|planned| planned.pair.id.as_str()).collect();
        let writing = store.write()?;
        writing.leave_others(&outlet_ids, &pair_ids)?;
        writing.commit()?;
        let mut entered = Entered::default();
        let touched = entered.refresh(&parts.facts)?;
        let events = Events::load(&parts.facts)?;
        let (_, latest) = parts.record.latest_since(0);
        let received = latest.iter().map(|sample| sample.received_time).max().unwrap_or(UtcMillis(i64::MIN));
        let reaches = latest.iter().map(|sample| sample.record_time).max().unwrap_or(UtcMillis(i64::MIN)).min(received);
        let outlets = plan.outlets.iter().map(|planned| Tracked::new(&plan, planned, &parts, &store)).collect::<Result<_, _>>()?;
        let mut pairs = Vec::new();
        for planned in &plan.pairs {
            let settings = json(&planned.pair);
            let mut tracked = TrackedPair::default();
            if let Some(first) = readings::first(&*parts.record, &planned.points, plan.not_before)? {
                tracked.first = first;
                tracked.latest = readings::latest(&*parts.record, &planned.points).map_or(first, |(latest, _)| latest);
                let stored = store.watched(&planned.pair.id)?.filter(|watched| watched.settings == settings);
                tracked.now = Some(stored.unwrap_or(Watched { settings, until: first.floor_to(MINUTE_MS) }));
            }
            pairs.push(tracked);
        }
        let mut follower = Self {
            outlets_by_point: plan.outlets_by_point(),
            pairs_by_point: plan.pairs_by_point(),
            plan,
            grace_ms,
            parts,
            store,
            entered,
            events,
            outlets,
            pairs,
            to_judge: Vec::new(),
            reaches,
            received,
            cursor,
        };
        // Entries that were there when it was last counted are in what is stored.
        let seen = cursor.map(|cursor| cursor.seen).unwrap_or_default();
        for (entry, touched) in &touched {
            let is_new = match touched.what {
                What::Mark(_) => *entry > seen.marks,
                What::Limit(..) => *entry > seen.limits,
            };
            if is_new {
                follower.touch(touched);
            }
        }
        Ok(follower)
    }

    /// The next journal entry to read, as stored.
    #[must_use]
    pub fn next(&self) -> Sequence {
        self.cursor.map_or(Sequence(1), |cursor| cursor.sequence)
    }
}

impl Follow for Follower {
    const WHAT: &'static str = "emissions";
    const WAIT: Duration = Duration::from_millis(100);

    fn lags(&self, entries: i64) {
        self.parts.metrics.emission_lag.set(entries);
    }

    fn note(&mut self, sample: &Sample) {
        if is_timeless(sample, self.plan.not_before) {
            return;
        }
        self.received = self.received.max(sample.received_time);
        self.reaches = self.reaches.max(sample.record_time).min(self.received);
        for &place in self.outlets_by_point.get(&sample.point).into_iter().flatten() {
            if let (Some(planned), Some(tracked)) = (self.plan.outlets.get(place), self.outlets.get_mut(place)) {
                tracked.note(&self.plan, planned, sample);
            }
        }
        for &place in self.pairs_by_point.get(&sample.point).into_iter().flatten() {
            if let (Some(planned), Some(tracked)) = (self.plan.pairs.get(place), self.pairs.get_mut(place)) {
                tracked.note(&json_of(tracked, planned), sample);
            }
        }
    }

    fn rejoin(&mut self, stretches: &[Stretch]) -> Result<(), StoreError> {
        for &Stretch { point, from, to } in stretches {
            let is_ours = self.outlets_by_point.contains_key(&point) || self.pairs_by_point.contains_key(&point);
            let first = scan::neighbour_after(&*self.parts.record, point, from)?;
            let last = scan::neighbour_before(&*self.parts.record, point, to)?;
            for sample in [first, last, self.parts.record.latest(point)].into_iter().flatten() {
                self.note(&sample);
            }
            if !is_ours {
                continue;
            }
            for &place in self.outlets_by_point.get(&point).into_iter().flatten() {
                if let (Some(planned), Some(tracked)) = (self.plan.outlets.get(place), self.outlets.get_mut(place)) {
                    tracked.late(&self.plan, planned, (from, to), &Causes::late());
                }
            }
            for &place in self.pairs_by_point.get(&point).into_iter().flatten() {
                if let Some(tracked) = self.pairs.get_mut(place) {
                    tracked.late(from, to);
                }
            }
        }
        Ok(())
    }

    fn count_due(&mut self, next: Sequence, cancel: &CancellationToken) -> Result<(), StoreError> {
        for (_, touched) in self.entered.refresh(&self.parts.facts)? {
            self.touch(&touched);
        }
        for place in 0..self.outlets.len() {
            self.count_outlet(place, cancel)?;
        }
        while let Some(judge) = self.to_judge.last().cloned() {
            self.judge(&judge)?;
            self.to_judge.pop();
        }
        for place in 0..self.pairs.len() {
            self.watch_pair(place, cancel)?;
        }
        let cursor = Cursor { sequence: next, seen: self.entered.seen() };
        if !cancel.is_cancelled() && self.cursor != Some(cursor) {
            let writing = self.store.write()?;
            writing.set_cursor(&cursor)?;
            writing.commit()?;
            self.cursor = Some(cursor);
        }
        Ok(())
    }
}

impl Follower {
    /// Makes due what an entry changed.
    fn touch(&mut self, touched: &Touched) {
        let Some(place) = self.plan.outlets.iter().position(|planned| planned.outlet.id == touched.outlet) else { return };
        let (Some(planned), Some(tracked)) = (self.plan.outlets.get(place), self.outlets.get_mut(place)) else { return };
        match &touched.what {
            What::Mark(id) => {
                let causes = Causes { marks: BTreeSet::from([id.clone()]), ..Causes::default() };
                tracked.late(&self.plan, planned, (touched.from, touched.to), &causes);
            }
            What::Limit(factor, averaging) => self.to_judge.push(Judge {
                outlet: place,
                factor: factor.clone(),
                averaging: *averaging,
                from: touched.from,
                to: touched.to,
            }),
        }
    }

    /// Up to where an outlet's hours can be closed.
    fn closed(&self, planned: &PlannedOutlet, now: &Followed) -> UtcMillis {
        let hour = |time: UtcMillis| self.plan.zone.period_of(Level::Hour, time).start;
        let grace = self.grace_ms.max(planned.outlet.lookahead_ms());
        let own = hour(now.latest.plus(grace.saturating_neg()));
        let silent = self.received.since(now.received) >= grace;
        let park = if silent { hour(self.reaches.plus(grace.saturating_neg())) } else { own };
        now.until.max(own).max(park)
    }

    /// Counts an outlet's hours, first those that are due again, transaction by transaction.
    fn count_outlet(&mut self, place: usize, cancel: &CancellationToken) -> Result<(), StoreError> {
        let plan = Arc::clone(&self.plan);
        let Some(planned) = plan.outlets.get(place) else { return Ok(()) };
        while !cancel.is_cancelled() {
            let Some(tracked) = self.outlets.get(place) else { return Ok(()) };
            let Some(now) = &tracked.now else { return Ok(()) };
            let closed = self.closed(planned, now);
            let again: Due = tracked.dirty.iter().take(HOURS_PER_TRANSACTION).map(|(&hour, causes)| (hour, Some(causes.clone()))).collect();
            let (due, until) = if again.is_empty() {
                let new: Vec<_> = plan.zone.periods(Level::Hour, now.until, closed).take(HOURS_PER_TRANSACTION).collect();
                let until = new.last().map_or(now.until, |last| last.end);
                (new.into_iter().map(|hour| (hour.start, None)).collect(), until)
            } else {
                (again, now.until)
            };
            if due.is_empty() && !tracked.moved {
                return Ok(());
            }
            // The last of many transactions says that all was counted with these parameters.
            let is_last = tracked.dirty.len() <= due.len();
            let settings = tracked.was.clone().filter(|_| !is_last).unwrap_or_else(|| json(&planned.outlet));
            let followed = Followed { settings, until, ..now.clone() };
            let configured = json(&planned.outlet);
            let corrected = tracked.was.as_deref().filter(|was| !is_as_configured(was, &configured)).map(|was| {
                Correction::of_parameters(&planned.outlet.id, (to_core(now.first), to_core(now.until)), was.trim_end(), &configured)
            });
            let found = self.count(planned, &due, &followed, corrected)?;
            self.parts.metrics.emission_hours.inc_by(found.hours);
            if let Some(tracked) = self.outlets.get_mut(place) {
                for hour in due.keys() {
                    tracked.dirty.remove(hour);
                }
                if is_last {
                    tracked.was = None;
                }
                tracked.moved = false;
                tracked.now = Some(followed);
            }
        }
        Ok(())
    }

    /// Counts hours and enters and stores what is found.
    fn count(
        &mut self,
        planned: &PlannedOutlet,
        due: &Due,
        followed: &Followed,
        corrected: Option<Correction>,
    ) -> Result<Found, StoreError> {
        let (marks, limits) = self.of_outlet(planned);
        let writing = self.store.write()?;
        let count =
            Count { record: &*self.parts.record, zone: &self.plan.zone, planned, marks: &marks, limits: &limits, events: &self.events };
        let found = count.run(&writing, due, followed.until)?;
        let mut entries = Vec::new();
        for correction in corrected.iter().chain(&found.corrections) {
            entries.extend(correction.entry(&self.parts.facts)?);
        }
        let corrections = entries.len();
        enter(&self.parts, &mut self.events, entries, &found.events)?;
        writing.follow(&planned.outlet.id, followed)?;
        writing.commit()?;
        self.parts.metrics.emission_corrections.inc_by(u64::try_from(corrections).unwrap_or(u64::MAX));
        Ok(found)
    }

    fn of_outlet(&self, planned: &PlannedOutlet) -> (Vec<Mark>, Vec<Limit>) {
        (self.entered.marks_of(&planned.outlet.id), self.entered.limits_of(&planned.outlet.id))
    }

    /// Judges stored averages again.
    fn judge(&mut self, judge: &Judge) -> Result<(), StoreError> {
        let plan = Arc::clone(&self.plan);
        let Some(planned) = plan.outlets.get(judge.outlet) else { return Ok(()) };
        let Some(now) = self.outlets.get(judge.outlet).and_then(|tracked| tracked.now.as_ref()) else { return Ok(()) };
        let (marks, limits) = self.of_outlet(planned);
        let (from, to) = (judge.from.max(plan.zone.period_of(Level::Month, now.first).start), judge.to.min(now.until));
        // A month at a time, so that what is worked on at once is bounded.
        let mut start = from;
        while start < to {
            let end = plan.zone.period_of(Level::Month, start).end.min(to);
            let (record, zone) = (&*self.parts.record, &plan.zone);
            let count = Count { record, zone, planned, marks: &marks, limits: &limits, events: &self.events };
            let found = count.judge(&self.store, &judge.factor, judge.averaging, (start, end))?;
            enter(&self.parts, &mut self.events, Vec::new(), &found)?;
            if end <= start {
                break;
            }
            start = end;
        }
        Ok(())
    }

    /// Looks at a pair's minutes that are over, and at those that samples came late for.
    fn watch_pair(&mut self, place: usize, cancel: &CancellationToken) -> Result<(), StoreError> {
        let plan = Arc::clone(&self.plan);
        let Some(planned) = plan.pairs.get(place) else { return Ok(()) };
        while !cancel.is_cancelled() {
            let Some(tracked) = self.pairs.get(place) else { return Ok(()) };
            let Some(now) = &tracked.now else { return Ok(()) };
            let over = tracked.latest.floor_to(MINUTE_MS);
            let watch = Watch { record: &*self.parts.record, planned, events: &self.events, first: tracked.first, over };
            let (found, until) = if let Some((from, to)) = tracked.late {
                (watch.look(from, to.plus(1).min(now.until))?, now.until)
            } else if now.until < over {
                let until = over.min(now.until.plus(WATCHED_AT_ONCE_MS));
                (watch.look(now.until, until)?, until)
            } else {
                return Ok(());
            };
            let watched = Watched { until, ..now.clone() };
            enter(&self.parts, &mut self.events, Vec::new(), &found)?;
            let writing = self.store.write()?;
            writing.watch(&planned.pair.id, &watched)?;
            writing.commit()?;
            if let Some(tracked) = self.pairs.get_mut(place) {
                tracked.late = None;
                tracked.now = Some(watched);
            }
        }
        Ok(())
    }
}

/// Enters corrections and next versions of events, all or none.
fn enter(parts: &Parts, events: &mut Events, mut entries: Vec<NewEntry>, found: &[ComplianceEvent]) -> Result<(), StoreError> {
    for event in found {
        entries.push(events::entry(event)?);
    }
    if entries.is_empty() {
        return Ok(());
    }
    parts.facts.append_all(entries, parts.clock.now().utc)?;
    for event in found {
        tracing::info!(event = event.id, version = event.version, state = ?event.state, "compliance event entered");
        parts.metrics.emission_events.inc();
        events.take(event.clone());
    }
    Ok(())
}

impl Tracked {
    fn new(plan: &Plan, planned: &PlannedOutlet, parts: &Parts, store: &EmissionStore) -> Result<Self, StoreError> {
        let settings = json(&planned.outlet);
        let mut tracked = Self::default();
        match store.followed(&planned.outlet.id)? {
            Some(mut stored) => {
                if let Some((latest, received)) = readings::latest(&*parts.record, &planned.points) {
                    stored.latest = stored.latest.max(latest);
                    stored.received = stored.received.max(received);
                }
                if stored.settings != settings {
                    let causes = if is_as_configured(&stored.settings, &settings) {
                        tracing::info!(outlet = planned.outlet.id, "outlet was not configured for a time; its hours are counted again");
                        Causes::late()
                    } else {
                        tracing::info!(outlet = planned.outlet.id, "outlet is configured otherwise; its hours are counted again");
                        Causes { parameters: true, ..Causes::default() }
                    };
                    tracked.was = Some(stored.settings.clone());
                    // Another point may have a longer record.
                    if let Some(first) = readings::first(&*parts.record, &planned.points, plan.not_before)? {
                        stored.first = stored.first.min(plan.zone.period_of(Level::Hour, first).start);
                    }
                    tracked.dirty = hours(&plan.zone, stored.first, stored.until).map(|hour| (hour, causes.clone())).collect();
                    tracked.moved = true;
                }
                tracked.now = Some(stored);
            }
            // Not counted yet: from the record's beginning on, whatever the journal still has.
            None => {
                if let Some(first) = readings::first(&*parts.record, &planned.points, plan.not_before)? {
                    let first = plan.zone.period_of(Level::Hour, first).start;
                    let (latest, received) = readings::latest(&*parts.record, &planned.points).unwrap_or((first, first));
                    tracked.now = Some(Followed { settings, first, until: first, latest, received });
                }
            }
        }
        Ok(tracked)
    }

    fn note(&mut self, plan: &Plan, planned: &PlannedOutlet, sample: &Sample) {
        let (time, received) = (sample.record_time, sample.received_time);
        let hour = |time: UtcMillis| plan.zone.period_of(Level::Hour, time).start;
        let Some(now) = &mut self.now else {
            let first = hour(time);
            self.now = Some(Followed { settings: json(&planned.outlet), first, until: first, latest: time, received });
            return;
        };
        now.latest = now.latest.max(time);
        now.received = now.received.max(received);
        if time < now.first {
            // Earlier than anything before: its hours and those between are closed already, without a figure.
            let old = std::mem::replace(&mut now.first, hour(time));
            for start in hours(&plan.zone, hour(time), old) {
                self.dirty.entry(start).or_default().join(&Causes::late());
            }
            self.moved = true;
        }
        // The one it replaces may lie where the device's clock says.
        for time in [time, sample.key_time()] {
            self.late(plan, planned, (time, time.plus(1)), &Causes::late());
        }
    }

    /// Makes closed hours due that a range of time has to do with: what is held reaches behind it, a totaliser before it.
    fn late(&mut self, plan: &Plan, planned: &PlannedOutlet, (from, to): (UtcMillis, UtcMillis), causes: &Causes) {
        let Some(now) = &self.now else { return };
        let from = from.plus(planned.outlet.lookahead_ms().saturating_neg()).max(now.first);
        if from >= now.until {
            return;
        }
        let to = to.plus(planned.outlet.lookback_ms()).min(now.until);
        for start in hours(&plan.zone, from, to) {
            self.dirty.entry(start).or_default().join(causes);
        }
    }
}

impl TrackedPair {
    fn note(&mut self, settings: &Option<String>, sample: &Sample) {
        let time = sample.record_time;
        match (&mut self.now, settings) {
            (None, Some(settings)) => {
                self.now = Some(Watched { settings: settings.clone(), until: time.floor_to(MINUTE_MS) });
                (self.first, self.latest) = (time, time);
            }
            _ => {
                self.first = self.first.min(time);
                self.latest = self.latest.max(time);
                self.late(time, time);
            }
        }
    }

    fn late(&mut self, from: UtcMillis, to: UtcMillis) {
        if self.now.as_ref().is_some_and(|now| from < now.until) {
            let (first, last) = self.late.unwrap_or((from, to));
            self.late = Some((first.min(from), last.max(to)));
        }
    }
}

/// The configuration of a pair that has none yet.
fn json_of(tracked: &TrackedPair, planned: &super::plan::PlannedPair) -> Option<String> {
    tracked.now.is_none().then(|| json(&planned.pair))
}

/// A configuration as it is kept.
fn json(settings: &impl serde::Serialize) -> String {
    serde_json::to_string(settings).unwrap_or_default()
}
