//! From the journal to stored totals: a reader with its own cursor that notes what came late, closes hours when their
//! grace is over, and counts both from the record. A blocking loop for a thread of its own.
//!
//! A point's hour closes when its own readings have passed the hour's end by the grace; of a silent point, when the
//! park's readings have, and nothing was received from it for as long as its values hold and the grace. So a meter that
//! brings history in is not silent, however old what it brings is. What is counted is written together with the place in
//! the journal: a crash only makes it count again, with the same result. It never writes to the journal and holds
//! nothing in it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parkgate_collector::catalogue::{Catalogue, Point};
use parkgate_collector::journal::Sequence;
use parkgate_collector::model::{PointId, Sample, UtcMillis};
use parkgate_collector::pipeline::Exchanges;
use tokio_util::sync::CancellationToken;

use super::announced::came_in_time;
use super::counter::Declared;
use super::meters::{Meters, Touched};
use super::partial::{CounterPart, Of};
use super::recount::{Change, Recount, Recounted};
use super::row::TotalRow;
use super::rule::{self, PointRule, counts};
use super::ruled;
use super::scan;
use super::store::{Changes, Followed, TotalsStore};
use super::total::{Level, Period, Total};
use super::view::EARLIEST;
use super::zone::ParkZone;
use crate::current::{Configured, Following};
use crate::metrics::Metrics;
use crate::store::follow::Follow;
use crate::store::history::Stretch;
use crate::store::{Facts, RecordView, StoreError, TotalCorrection};

/// Late ranges kept per point; when full, the two nearest become one.
const LATE_MAX: usize = 32;
/// Points whose figures go in one transaction: after years were brought in, some seconds' work.
const POINTS_PER_TRANSACTION: usize = 8;
/// Why totals changed.
const CAUSE_LATE: &str = "readings that came late or were repaired";
/// See [`CAUSE_LATE`]; readings may have come late at the same time, here and below.
const CAUSE_ENTERED: &str = "an exchange or a decision about the meter was entered or undone";
/// See [`CAUSE_LATE`].
const CAUSE_RULE: &str = "the modulus or the highest rate of the point was configured anew";

/// What the follower works on.
pub struct Follower {
    /// Points that have totals.
    totalled: HashMap<PointId, Arc<Point>>,
    zone: ParkZone,
    /// Before this no clock is believed.
    not_before: UtcMillis,
    grace_ms: i64,
    record: Arc<dyn RecordView>,
    store: TotalsStore,
    facts: Arc<Facts>,
    meters: Arc<Meters>,
    /// What is in force of the points that have wrong readings.
    wrong: HashMap<PointId, Arc<Declared>>,
    /// Where exchanges are announced whose meter is yet to come; `None` where nobody listens.
    exchanges: Option<Exchanges>,
    metrics: Metrics,
    /// `None` where the configuration never changes.
    configured: Option<Following<Configured>>,
    points: HashMap<PointId, Tracked>,
    texts: Texts,
    /// Greatest record time, not beyond the greatest time of receipt.
    reaches: UtcMillis,
    received: UtcMillis,
    /// The next journal entry to read, as stored.
    next: Option<Sequence>,
    /// The last entry about a meter that is counted, as stored.
    entered: i64,
}

/// A point and what is due of it.
#[derive(Clone, Debug)]
struct Tracked {
    /// As stored when it was last counted; `latest` as it was when hours were last closed.
    stored: Option<Followed>,
    /// As read.
    now: Followed,
    /// Ranges of record times of samples in closed hours.
    late: Vec<(UtcMillis, UtcMillis)>,
    /// Why they are due.
    cause: &'static str,
    /// The rule that stored hours are counted by, [`PointRule::fingerprint`]; `None` in a file from before it was kept.
    rule: Option<Arc<str>>,
}

/// Texts of rules, each once: most points have the same.
#[derive(Default)]
struct Texts(BTreeSet<Arc<str>>);

impl Texts {
    fn of(&mut self, text: String) -> Arc<str> {
        if let Some(known) = self.0.get(text.as_str()) {
            return Arc::clone(known);
        }
        let text: Arc<str> = text.into();
        self.0.insert(Arc::clone(&text));
        text
    }
}

impl Follower {
    /// Goes on from what is stored.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn new(
        catalogue: &Catalogue,
        record: Arc<dyn RecordView>,
        store: TotalsStore,
        facts: Arc<Facts>,
        metrics: Metrics,
        grace_ms: i64,
    ) -> Result<Self, StoreError> {
        let mut counted_by = store.rules()?;
        let mut texts = Texts::default();
        let tracked = |(point, stored): (PointId, Followed)| {
            let rule = counted_by.remove(&point).map(|rule| texts.of(rule));
            let mut tracked = Tracked { stored: Some(stored), now: stored, late: Vec::new(), cause: CAUSE_LATE, rule };
            // What was read since it was last counted.
            if let Some(latest) = record.latest(point).filter(|latest| counts(latest).is_some()) {
                tracked.reach(latest.record_time);
                tracked.now.received = tracked.now.received.max(latest.received_time);
            }
            (point, tracked)
        };
        let meters = Arc::new(Meters::new(catalogue));
        let entered = store.entered()?;
        let mut points: HashMap<PointId, Tracked> = store.followed()?.into_iter().map(tracked).collect();
        let latest = |of: fn(&Followed) -> UtcMillis| points.values().map(|point| of(&point.now)).max().unwrap_or(UtcMillis(i64::MIN));
        let (reaches, received) = (latest(|point| point.latest), latest(|point| point.received));
        ruled::keep(&facts, catalogue, received.max(recorded(&*record)))?;
        meters.refresh_rules(&facts)?;
        touch(&mut points, meters.refresh(&facts)?.into_iter().filter(|touched| touched.entry > entered));
        let mut follower = Self {
            totalled: rule::has_totals(catalogue).map(|point| (point.id, Arc::clone(point))).collect(),
            zone: ParkZone::new(&catalogue.park.time_zone),
            not_before: rule::not_before(catalogue),
            grace_ms,
            record,
            store,
            facts,
            meters,
            wrong: HashMap::new(),
            exchanges: None,
            metrics,
            configured: None,
            points,
            texts,
            reaches: reaches.min(received),
            received,
            next: None,
            entered,
        };
        follower.note_wrong();
        follower.ruled_anew()?;
        Ok(follower)
    }

    /// Takes over which points have wrong readings.
    fn note_wrong(&mut self) {
        let declared = self.totalled.keys().map(|point| (*point, self.meters.of(*point)));
        self.wrong = declared.filter(|(_, declared)| !declared.wrong.is_empty()).collect();
    }

    /// Makes due what is suspect of points that have another rule than what they were counted by: it may be told now. What
    /// was counted stays, see [`ruled`]. An open day may be suspect, too.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn ruled_anew(&mut self) -> Result<(), StoreError> {
        for (point, tracked) in &mut self.points {
            let Some(rule) = self.totalled.get(point).map(|point| PointRule::new(point)) else { continue };
            let same = match &tracked.rule {
                Some(counted_by) => rule.has_counted(counted_by),
                // Wraps may have been told from falls since.
                None => !rule.counter.tells_wraps(),
            };
            if same || tracked.stored.is_none() {
                continue;
            }
            let until = tracked.now.until;
            let days = self.store.parts(&self.zone, *point, Level::Day, EARLIEST, until)?.known;
            for (day, _) in days.iter().filter(|(_, part)| matches!(part.of, Of::Counter(CounterPart { suspect: true, .. }))) {
                tracked.due(day.start, day.end.plus(-1), CAUSE_RULE);
            }
            tracked.due(self.zone.period_of(Level::Day, until).start, UtcMillis(i64::MAX), CAUSE_RULE);
        }
        Ok(())
    }

    /// Announces the exchanges that are known and that will be, of meters whose first register is yet to come.
    #[must_use]
    pub fn announcing(self, exchanges: Exchanges) -> Self {
        self.totalled.keys().for_each(|point| announce(&exchanges, &*self.record, &self.meters, *point));
        Self { exchanges: Some(exchanges), ..self }
    }

    /// Goes on by what is configured anew.
    #[must_use]
    pub fn following(self, configured: Following<Configured>) -> Self {
        Self { configured: Some(configured), ..self }
    }

    /// What was entered about meters, as far as it is counted or due.
    #[must_use]
    pub fn meters(&self) -> Arc<Meters> {
        Arc::clone(&self.meters)
    }

    /// The next journal entry to read, as stored.
    #[must_use]
    pub fn cursor(&self) -> Sequence {
        self.store.cursor().unwrap_or_else(|error| {
            tracing::error!(error = %error, "place of the totals in the journal cannot be read; all is counted again");
            Sequence(1)
        })
    }
}

impl Follow for Follower {
    const WHAT: &'static str = "totals";
    const WAIT: Duration = Duration::from_millis(500);

    fn lags(&self, entries: i64) {
        self.metrics.totals_lag.set(entries);
    }

    /// A point that is configured no more is counted to its end: should it come back, nothing is missing.
    fn renew(&mut self) {
        let Some(configured) = self.configured.as_mut().and_then(Following::news) else { return };
        for point in &configured.catalogue.points {
            self.totalled.remove(&point.id);
        }
        self.totalled.extend(rule::has_totals(&configured.catalogue).map(|point| (point.id, Arc::clone(point))));
        self.note_wrong();
        let kept = ruled::keep(&self.facts, &configured.catalogue, self.received.max(recorded(&*self.record)));
        if let Err(error) = kept.and_then(|()| self.meters.refresh_rules(&self.facts)) {
            tracing::warn!(error = %error, "moduli and rates of before could not be kept; wraps of the past are judged by those of now");
        }
        if let Err(error) = self.ruled_anew() {
            tracing::warn!(error = %error, "suspect totals of points whose rule changed are counted again at the next start");
        }
    }

    fn note(&mut self, sample: &Sample) {
        if !self.totalled.contains_key(&sample.point) || rule::is_timeless(sample, self.not_before) {
            return;
        }
        self.received = self.received.max(sample.received_time);
        self.reaches = self.reaches.max(sample.record_time).min(self.received);
        let counted = counts(sample).is_some();
        let tracked = match self.points.entry(sample.point) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            // Nothing is counted of a point before its first number.
            std::collections::hash_map::Entry::Vacant(_) if !counted => return,
            std::collections::hash_map::Entry::Vacant(entry) => {
                let until = self.zone.period_of(Level::Hour, sample.record_time).start;
                let (latest, received) = (sample.record_time, sample.received_time);
                let now = Followed { until, latest, received, horizon: UtcMillis(i64::MIN) };
                entry.insert(Tracked { stored: None, now, late: Vec::new(), cause: CAUSE_LATE, rule: None })
            }
        };
        // The one it replaces may lie where the device's clock says.
        for time in [sample.record_time, sample.key_time()] {
            if time < tracked.now.until || time <= tracked.now.horizon {
                tracked.late(time);
            }
        }
        if counted {
            // A pair across a wrong reading behind the closed hours begins in them.
            let until = tracked.now.until;
            let wrong = self.wrong.get(&sample.point).filter(|_| until < sample.record_time);
            let across =
                wrong.is_some_and(|declared| declared.wrong.range((until, i64::MIN)..(sample.record_time, i64::MIN)).next().is_some());
            if across {
                tracked.late(until.plus(-1));
            }
            tracked.reach(sample.record_time);
            tracked.now.received = tracked.now.received.max(sample.received_time);
        }
    }

    fn rejoin(&mut self, stretches: &[Stretch]) -> Result<(), StoreError> {
        for &Stretch { point, from, to } in stretches {
            if !self.totalled.contains_key(&point) {
                continue;
            }
            // The first number makes the point known, the last one tells how far it has come.
            if let Some(first) = scan::neighbour_after(&*self.record, point, from)? {
                self.note(&first);
            }
            for last in [scan::neighbour_before(&*self.record, point, to)?, self.record.latest(point)].into_iter().flatten() {
                self.note(&last);
            }
            if let Some(tracked) = self.points.get_mut(&point) {
                let end = to.min(tracked.now.until.max(tracked.now.horizon.plus(1)));
                if from < end {
                    tracked.late_range(from, end.plus(-1));
                }
            }
        }
        Ok(())
    }

    fn count_due(&mut self, next: Sequence, cancel: &CancellationToken) -> Result<(), StoreError> {
        let touched = self.meters.refresh(&self.facts)?;
        if let Some(exchanges) = &self.exchanges {
            touched.iter().for_each(|touched| announce(exchanges, &*self.record, &self.meters, touched.point));
        }
        if !touched.is_empty() {
            self.note_wrong();
        }
        touch(&mut self.points, touched.into_iter());
        let mut due: Vec<(PointId, UtcMillis)> = Vec::new();
        for (point, tracked) in &self.points {
            let Some(rule) = self.totalled.get(point).map(|point| PointRule::new(point)) else { continue };
            let closed = self.closed(&rule, &tracked.now);
            if tracked.stored.is_none() || !tracked.late.is_empty() || closed > tracked.now.until {
                due.push((*point, closed));
            }
        }
        due.sort_unstable();
        for points in due.chunks(POINTS_PER_TRANSACTION) {
            if cancel.is_cancelled() {
                return Ok(());
            }
            self.metrics.totals_dirty.set(i64::try_from(due.len()).unwrap_or(i64::MAX));
            self.count(points)?;
        }
        self.metrics.totals_dirty.set(0);
        let entered = self.meters.seen();
        if self.next != Some(next) || self.entered != entered {
            let writing = self.store.write()?;
            writing.set_cursor(next)?;
            writing.set_entered(entered)?;
            writing.commit()?;
            (self.next, self.entered) = (Some(next), entered);
        }
        Ok(())
    }
}

impl Follower {
    /// Up to where a point's hours can be closed.
    fn closed(&self, rule: &PointRule, now: &Followed) -> UtcMillis {
        let hour = |time: UtcMillis| self.zone.period_of(Level::Hour, time).start;
        let own = hour(now.latest.plus(self.grace_ms.saturating_neg()));
        let silence = rule.hold_ms.max(self.grace_ms);
        let silent = self.received.since(now.received) >= silence;
        let park = if silent { hour(self.reaches.plus(silence.saturating_neg())) } else { own };
        now.until.max(own).max(park)
    }

    /// Counts points, each up to where its hours can be closed.
    fn count(&mut self, points: &[(PointId, UtcMillis)]) -> Result<(), StoreError> {
        let mut counted: Vec<(PointId, Followed, Followed)> = Vec::new();
        let mut corrections = Vec::new();
        let mut log = Changes::new();
        let mut hours = 0;
        let writing = self.store.write()?;
        for (point, closed) in points {
            let closed = *closed;
            let (Some(configured), Some(tracked)) = (self.totalled.get(point), self.points.get(point)) else { continue };
            let rule = &PointRule::new(configured);
            let declared = self.meters.of(*point);
            let recount = Recount { record: &*self.record, zone: &self.zone, rule, declared: &declared };
            // A period may change more than once: what it was at first is what was known of it.
            let mut before: BTreeMap<Period, Option<Box<Total>>> = BTreeMap::new();
            let mut take = |recounted: Recounted| {
                hours += recounted.hours;
                for Change { period, old } in recounted.changed {
                    log.entry((period.level, period.start)).or_default().insert(*point);
                    before.entry(period).or_insert(old);
                }
            };
            let until = tracked.now.until;
            for &(first, last) in &tracked.late {
                let before = scan::register_before(&*self.record, &declared, *point, first)?;
                let after = scan::register_after(&*self.record, &declared, *point, last.plus(1))?;
                // What is entered may explain the flag of the next register that did not come late, and then the pair that ends
                // at the first of the late ones before it is no longer broken.
                let is_late = |beside: &Option<Sample>| beside.is_some_and(|beside| !came_in_time(&beside));
                let entered = rule.classified && tracked.cause == CAUSE_ENTERED;
                let unflagged =
                    if entered && is_late(&before) { scan::in_time_before(&*self.record, &declared, *point, first)? } else { None };
                let flagged =
                    if entered && is_late(&after) { scan::in_time_after(&*self.record, &declared, *point, last.plus(1))? } else { None };
                let from = unflagged.or(before).map_or(first, |sample| sample.record_time);
                let to = flagged.or(after).map_or(last, |sample| sample.record_time);
                let from = self.zone.period_of(Level::Hour, from).start;
                // A value that nothing follows holds for a while.
                let to = self.zone.period_of(Level::Hour, to.max(last.plus(rule.hold_ms))).end.min(until);
                take(recount.run(&writing, (from, to), until, until)?);
            }
            if closed > until {
                // A pair that began before what was closed in silence now has its end.
                let mut open = tracked.stored.map_or(until, |stored| stored.latest.min(until));
                if !declared.wrong.is_empty() {
                    // The last reading may be wrong, and begin none.
                    let before = scan::register_before(&*self.record, &declared, *point, open.plus(1))?;
                    open = before.map_or(open, |before| before.record_time.min(open));
                }
                let from = self.zone.period_of(Level::Hour, open).start;
                take(recount.run(&writing, (from, closed), until, closed)?);
            }
            // After the reading: what came into the record meanwhile is told by the journal later.
            let reached = self.record.latest(*point).map_or(tracked.now.latest, |latest| latest.record_time);
            // Where nothing was counted, nothing was made use of: of a new point what the record has beyond the journal read.
            let is_counted = closed > until || !tracked.late.is_empty();
            let horizon = if is_counted { tracked.now.horizon.max(tracked.now.latest).max(reached) } else { tracked.now.horizon };
            let now = Followed { until: closed, horizon, ..tracked.now };
            // What came since the last closing begins pairs with what was there then: it is kept until the next one.
            let latest = tracked.stored.filter(|_| closed == until).map_or(now.latest, |stored| stored.latest);
            let stored = Followed { latest, ..now };
            writing.follow(*point, stored, &rule.fingerprint())?;
            counted.push((*point, now, stored));
            for (period, old) in before {
                let Some(old) = old else { continue };
                let new = recount.stored(writing.store(), period)?;
                if new.as_ref() != Some(&*old) {
                    let text =
                        |total: &Total| serde_json::to_string(&TotalRow::new(total, &configured.identity, &self.zone)).unwrap_or_default();
                    corrections.push(TotalCorrection {
                        point: *point,
                        level: period.level.name().to_owned(),
                        start: period.start,
                        old: text(&old),
                        new: new.as_ref().map(text),
                        cause: tracked.cause.to_owned(),
                        time: self.received,
                    });
                }
            }
        }
        writing.changed(&log)?;
        // Before the figures: a crash between the two leaves a correction that is known when it is found again.
        let added = self.facts.add_total_corrections(&corrections)?;
        writing.commit()?;
        self.metrics.totals_corrections.inc_by(added);
        self.metrics.totals_hours.inc_by(hours);
        for (point, now, stored) in counted {
            if let Some(tracked) = self.points.get_mut(&point) {
                tracked.now = now;
                tracked.stored = Some(stored);
                tracked.late.clear();
                tracked.cause = CAUSE_LATE;
                tracked.rule = self.totalled.get(&point).map(|point| self.texts.of(PointRule::new(point).fingerprint()));
            }
        }
        Ok(())
    }
}

/// When the last sample was received that the record has: what was read of the journal may be less, and what was counted is
/// lost with `totals.db`.
fn recorded(record: &dyn RecordView) -> UtcMillis {
    record.latest_since(0).1.iter().map(|sample| sample.received_time).max().unwrap_or(UtcMillis(i64::MIN))
}

/// Announces the first exchange of a point behind all of its record: whatever register comes next is another meter's.
fn announce(exchanges: &Exchanges, record: &dyn RecordView, meters: &Meters, point: PointId) {
    let declared = meters.of(point);
    if declared.exchanges.is_empty() {
        return;
    }
    let latest = record.latest(point).map_or(UtcMillis(i64::MIN), |latest| latest.record_time);
    if let Some(next) = declared.exchanges.iter().find(|exchange| latest < exchange.at) {
        exchanges.announce(point, next.at);
    }
}

/// Makes due what entries about meters touch.
fn touch(points: &mut HashMap<PointId, Tracked>, touched: impl Iterator<Item = Touched>) {
    for Touched { point, from, to, .. } in touched {
        let Some(tracked) = points.get_mut(&point) else { continue };
        tracked.due(from, to, CAUSE_ENTERED);
    }
}

impl Tracked {
    /// Takes note of a sample that counts. The first one behind hours that were closed in silence is the end of a pair
    /// that began before them.
    fn reach(&mut self, time: UtcMillis) {
        let before = self.now.latest;
        if before < time && before < self.now.until {
            self.late(before);
        }
        self.now.latest = before.max(time);
    }

    /// Makes record times due; what is open of them is counted anyway.
    fn due(&mut self, from: UtcMillis, to: UtcMillis, cause: &'static str) {
        let last = to.min(self.now.until.max(self.now.horizon.plus(1)).plus(-1));
        if from <= last {
            self.late_range(from, last);
            // What is entered reaches further than another rule.
            if self.cause != CAUSE_ENTERED {
                self.cause = cause;
            }
        }
    }

    /// Notes a record time within closed hours.
    fn late(&mut self, time: UtcMillis) {
        self.late_range(time, time);
    }

    /// Notes record times from `first` to `last`; ranges that touch become one.
    fn late_range(&mut self, mut first: UtcMillis, mut last: UtcMillis) {
        self.late.retain(|&(from, to)| {
            let apart = to < first || last < from;
            if !apart {
                (first, last) = (first.min(from), last.max(to));
            }
            apart
        });
        let index = self.late.partition_point(|(from, _)| *from < first);
        self.late.insert(index, (first, last));
        if self.late.len() <= LATE_MAX {
            return;
        }
        let gaps = self.late.iter().zip(self.late.iter().skip(1)).enumerate();
        let nearest = gaps.map(|(index, (one, next))| (next.0.since(one.1), index)).min().map(|(_, index)| index);
        if let Some(index) = nearest {
            let (_, last) = self.late.remove(index.saturating_add(1));
            if let Some(range) = self.late.get_mut(index) {
                range.1 = last;
            }
        }
    }
}
