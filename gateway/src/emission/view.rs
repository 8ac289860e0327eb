//! Answers: figures of closed and open hours, days and months, each judged, with limits, marks, corrections and events.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use parkgate_collector::model::UtcMillis;
use parkgate_rules::emission::limit::NotCounted;
use parkgate_rules::emission::outlet::Factor;
use parkgate_rules::emission::time::UtcMillis as Time;
use parkgate_rules::emission::{
    Averaging, HourFigure, Judgement, Limit, Mark, Period, PeriodFigure, Readings, Verdict, hour, limit, period,
};
use serde::Serialize;

use super::correction::Correction;
use super::entered::{Author, Entered, HeldLimit, HeldMark, LimitStep, MarkStep, Refusal, enter_limit, enter_mark};
use super::events::KeptEvent;
use super::plan::{Plan, PlannedOutlet};
use super::readings;
use super::span::{from_core, level, period_of, to_core};
use super::store::EmissionStore;
use crate::rollup::Level;
use crate::store::{EntryKind, Facts, RecordView, StoreError};

/// A figure with what limits say of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Judged<F> {
    /// The figure.
    #[serde(flatten)]
    pub figure: F,
    /// One for each limit that names this average and is in force; one `not_judged` when there is none.
    pub judgements: Vec<Judgement>,
    /// Whether the period is over and its grace too: what changes later is a correction.
    pub closed: bool,
    /// 1, and one more for each correction.
    pub version: u32,
}

/// A correction with its entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeptCorrection {
    /// Number of the entry; later ones are greater.
    pub entry: i64,
    /// When it was entered.
    pub entered_at: Time,
    /// What changed.
    #[serde(flatten)]
    pub correction: Correction,
}

/// Reads emissions. Calls block on file I/O: call them from blocking tasks. Nothing is cut to what somebody may see: ask
/// [`Plan::sees_outlet`] and [`Plan::sees_pair`] first.
pub trait EmissionView: Send + Sync + 'static {
    /// Outlets and pairs.
    fn plan(&self) -> &Plan;

    /// Start of an outlet's first hour, and up to where its hours are closed; `None` when nothing is known of it.
    fn span(&self, outlet: &str) -> Result<Option<(UtcMillis, UtcMillis)>, StoreError>;

    /// Up to where an outlet's hours are closed; `None` when nothing is known of it.
    fn until(&self, outlet: &str) -> Result<Option<UtcMillis>, StoreError> {
        Ok(self.span(outlet)?.map(|(_, until)| until))
    }

    /// Grows whenever closed hours were counted again and came out otherwise, whether or not that was entered as a correction.
    fn recounts(&self) -> Result<i64, StoreError>;

    /// Hours that start in `[from, to)`, oldest first; open ones from what has come.
    fn hours(&self, outlet: &str, factor: &str, from: UtcMillis, to: UtcMillis) -> Result<Vec<Judged<HourFigure>>, StoreError>;

    /// Days or months that start in `[from, to)`, oldest first; the open one from its closed hours.
    fn periods(
        &self,
        outlet: &str,
        factor: &str,
        averaging: Averaging,
        from: UtcMillis,
        to: UtcMillis,
    ) -> Result<Vec<Judged<PeriodFigure>>, StoreError>;

    /// The readings that figures of `[from, to)` are made of, by the names that the configuration has for their points.
    fn readings(&self, outlet: &str, from: UtcMillis, to: UtcMillis) -> Result<Readings, StoreError>;

    /// All limits, in order of their entries.
    fn limits(&self) -> Result<Vec<HeldLimit>, StoreError>;

    /// All marks, in order of their entries.
    fn marks(&self) -> Result<Vec<HeldMark>, StoreError>;

    /// All corrections of an outlet, in order of their entries.
    fn corrections(&self, outlet: &str) -> Result<Vec<KeptCorrection>, StoreError>;

    /// Versions of compliance events after an entry, at most `limit`, in order of their entries.
    fn events(&self, after: i64, limit: usize) -> Result<Vec<KeptEvent>, StoreError>;

    /// Enters a step of a limit.
    fn enter_limit(&self, step: LimitStep, author: &Author, now: UtcMillis) -> Result<Result<HeldLimit, Refusal>, StoreError>;

    /// Enters a step of a mark.
    fn enter_mark(&self, step: &MarkStep, author: &Author, now: UtcMillis) -> Result<Result<HeldMark, Refusal>, StoreError>;
}

/// Emissions over a record. Cheap to share behind an `Arc`.
pub struct Emissions {
    plan: Arc<Plan>,
    record: Arc<dyn RecordView>,
    facts: Arc<Facts>,
    /// Closed figures; without it everything is counted when asked.
    store: Option<Mutex<EmissionStore>>,
    kept: Mutex<Kept>,
}

/// What was entered, as far as it was read.
#[derive(Default)]
struct Kept {
    entered: Entered,
    corrections: Vec<KeptCorrection>,
    by_subject: HashMap<String, u32>,
    last_correction: i64,
}

impl Kept {
    fn version(&self, outlet: &str, factor: &str, averaging: Averaging, from: Time) -> u32 {
        // Most figures were never corrected.
        if self.by_subject.is_empty() {
            return 1;
        }
        let subject = format!("{outlet}/{factor}/{}/{from}", averaging.name());
        self.by_subject.get(&subject).copied().unwrap_or(0).saturating_add(1)
    }
}

impl Emissions {
    /// Emissions of a plan. What `store` has not, is counted from the record when asked.
    pub fn new(plan: Arc<Plan>, record: Arc<dyn RecordView>, facts: Arc<Facts>, store: Option<EmissionStore>) -> Self {
        Self { plan, record, facts, store: store.map(Mutex::new), kept: Mutex::default() }
    }

    fn store(&self) -> Option<MutexGuard<'_, EmissionStore>> {
        self.store.as_ref().map(|store| store.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What was entered up to now.
    fn kept(&self) -> Result<MutexGuard<'_, Kept>, StoreError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.entered.refresh(&self.facts)?;
        if self.facts.last_entry(EntryKind::EmissionCorrection)? > kept.last_correction {
            for entry in self.facts.entries(EntryKind::EmissionCorrection, kept.last_correction)? {
                kept.last_correction = entry.id;
                let Some(correction) = Correction::read(&entry) else { continue };
                let count = kept.by_subject.entry(entry.subject.clone()).or_default();
                *count = count.saturating_add(1);
                kept.corrections.push(KeptCorrection { entry: entry.id, entered_at: to_core(entry.time), correction });
            }
        }
        Ok(kept)
    }

    /// Marks and limits of an outlet.
    fn entered(&self, outlet: &str) -> Result<(Vec<Mark>, Vec<Limit>), StoreError> {
        let kept = self.kept()?;
        Ok((kept.entered.marks_of(outlet), kept.entered.limits_of(outlet)))
    }

    /// Start of an outlet's first hour, and up to where its hours are closed.
    fn span_of(&self, planned: &PlannedOutlet) -> Result<Option<(UtcMillis, UtcMillis)>, StoreError> {
        if let Some(store) = self.store()
            && let Some(followed) = store.followed(&planned.outlet.id)?
        {
            return Ok(Some((followed.first, followed.until)));
        }
        let first = readings::first(&*self.record, &planned.points, self.plan.not_before)?;
        Ok(first.map(|first| self.plan.zone.period_of(Level::Hour, first).start).map(|first| (first, first)))
    }

    /// Hours that start in `[from, to)` and are closed, then those that are open.
    fn figures(
        &self,
        planned: &PlannedOutlet,
        factor: &str,
        (from, to): (UtcMillis, UtcMillis),
        marks: &[Mark],
    ) -> Result<(Vec<HourFigure>, UtcMillis), StoreError> {
        let Some((first, until)) = self.span_of(planned)? else { return Ok((Vec::new(), from)) };
        let mut figures = match self.store() {
            Some(store) if from < until => store.hours(&planned.outlet.id, factor, from, to.min(until))?,
            _ => Vec::new(),
        };
        let reaches = readings::latest(&*self.record, &planned.points).map_or(until, |(latest, _)| latest);
        let zone = &self.plan.zone;
        for open in zone.periods(Level::Hour, from.max(until).max(first), to.min(reaches.plus(1))) {
            let before = open.start.plus(planned.outlet.lookback_ms().saturating_neg());
            let behind = open.end.plus(planned.outlet.lookahead_ms()).plus(1);
            let readings = readings::read(&*self.record, &planned.points, before, behind)?;
            let period = Period { from: to_core(open.start), to: to_core(open.end) };
            let all = hour::figures(&planned.outlet, &period, &readings, marks);
            figures.extend(all.into_iter().filter(|figure| figure.factor == factor));
        }
        Ok((figures, until))
    }

    /// Days that start in `[from, to)`: stored where they are closed, else put together from closed hours.
    fn days(
        &self,
        planned: &PlannedOutlet,
        factor: &Factor,
        (from, to): (UtcMillis, UtcMillis),
        marks: &[Mark],
    ) -> Result<(Vec<PeriodFigure>, UtcMillis), StoreError> {
        let Some((first, until)) = self.span_of(planned)? else { return Ok((Vec::new(), from)) };
        let zone = &self.plan.zone;
        let (id, has_store) = (&planned.outlet.id, self.store.is_some());
        let mut days = match self.store() {
            Some(store) => store.periods(id, &factor.id, Averaging::Day, from, to)?,
            None => Vec::new(),
        };
        let reaches = if has_store { until } else { readings::latest(&*self.record, &planned.points).map_or(until, |(latest, _)| latest) };
        let begins = from.max(zone.period_of(Level::Day, first).start);
        for open in zone.periods(Level::Day, begins, to.min(reaches)).filter(|day| !has_store || day.end > until) {
            let (hours, _) = self.figures(planned, &factor.id, (open.start, open.end.min(reaches)), marks)?;
            let day = Period { from: to_core(open.start), to: to_core(open.end) };
            days.push(period::day(&planned.outlet, factor, &day, &hours, to_core(reaches)));
        }
        Ok((days, reaches))
    }
}

/// An hour that is not over is not judged, whatever its minutes so far say.
fn not_over(judgement: &mut Judgement) {
    judgement.verdict = Verdict::NotCounted(NotCounted::Open);
    (judgement.value, judgement.times_over, judgement.above_uncounted) = (None, None, None);
}

impl EmissionView for Emissions {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn span(&self, outlet: &str) -> Result<Option<(UtcMillis, UtcMillis)>, StoreError> {
        self.plan.outlet(outlet).map_or(Ok(None), |planned| self.span_of(planned))
    }

    fn recounts(&self) -> Result<i64, StoreError> {
        self.store().map_or(Ok(0), |store| store.recounts())
    }

    fn hours(&self, outlet: &str, factor: &str, from: UtcMillis, to: UtcMillis) -> Result<Vec<Judged<HourFigure>>, StoreError> {
        let Some(planned) = self.plan.outlet(outlet) else { return Ok(Vec::new()) };
        let (marks, limits) = self.entered(outlet)?;
        let (figures, until) = self.figures(planned, factor, (from, to), &marks)?;
        let kept = self.kept()?;
        let judged = |figure: HourFigure| {
            let closed = from_core(figure.period.to) <= until;
            let mut judgements = limit::judge_hour(&figure, &limits);
            if !closed {
                judgements.iter_mut().filter(|judgement| judgement.limit.is_some()).for_each(not_over);
            }
            Judged { judgements, closed, version: kept.version(outlet, factor, Averaging::Hour, figure.period.from), figure }
        };
        Ok(figures.into_iter().map(judged).collect())
    }

    fn periods(
        &self,
        outlet: &str,
        factor: &str,
        averaging: Averaging,
        from: UtcMillis,
        to: UtcMillis,
    ) -> Result<Vec<Judged<PeriodFigure>>, StoreError> {
        let Some(planned) = self.plan.outlet(outlet) else { return Ok(Vec::new()) };
        let Some(of) = planned.outlet.factor(factor) else { return Ok(Vec::new()) };
        let (marks, limits) = self.entered(outlet)?;
        let zone = &self.plan.zone;
        let (figures, until) = if averaging == Averaging::Month {
            let Some((first, until)) = self.span_of(planned)? else { return Ok(Vec::new()) };
            let mut months = match self.store() {
                Some(store) => store.periods(outlet, factor, averaging, from, to)?,
                None => Vec::new(),
            };
            let has_store = self.store.is_some();
            let reaches = readings::latest(&*self.record, &planned.points).map_or(until, |(latest, _)| latest);
            let reaches = if has_store { until } else { reaches };
            let begins = from.max(zone.period_of(Level::Month, first).start);
            for open in zone.periods(Level::Month, begins, to.min(reaches)).filter(|month| !has_store || month.end > until) {
                let (days, _) = self.days(planned, of, (open.start, open.end), &marks)?;
                let month = period_of(zone, Averaging::Month, open.start);
                months.push(period::month(&planned.outlet, of, &month, &days, to_core(reaches)));
            }
            (months, reaches)
        } else {
            debug_assert_eq!(level(averaging), Level::Day, "hours are no periods of hours");
            self.days(planned, of, (from, to), &marks)?
        };
        let kept = self.kept()?;
        let judged = |figure: PeriodFigure| Judged {
            judgements: limit::judge_period(&figure, &limits),
            closed: from_core(figure.period.to) <= until,
            version: kept.version(outlet, factor, averaging, figure.period.from),
            figure,
        };
        Ok(figures.into_iter().map(judged).collect())
    }

    fn readings(&self, outlet: &str, from: UtcMillis, to: UtcMillis) -> Result<Readings, StoreError> {
        match self.plan.outlet(outlet) {
            Some(planned) => readings::read(&*self.record, &planned.points, from, to),
            None => Ok(Readings::new()),
        }
    }

    fn limits(&self) -> Result<Vec<HeldLimit>, StoreError> {
        Ok(self.kept()?.entered.limits().cloned().collect())
    }

    fn marks(&self) -> Result<Vec<HeldMark>, StoreError> {
        Ok(self.kept()?.entered.marks().cloned().collect())
    }

    fn corrections(&self, outlet: &str) -> Result<Vec<KeptCorrection>, StoreError> {
        let kept = self.kept()?;
        Ok(kept.corrections.iter().filter(|kept| kept.correction.outlet == outlet).cloned().collect())
    }

    fn events(&self, after: i64, limit: usize) -> Result<Vec<KeptEvent>, StoreError> {
        Ok(self.facts.some_entries(EntryKind::ComplianceEvent, after, limit)?.iter().filter_map(KeptEvent::of).collect())
    }

    fn enter_limit(&self, step: LimitStep, author: &Author, now: UtcMillis) -> Result<Result<HeldLimit, Refusal>, StoreError> {
        enter_limit(&self.facts, &self.plan, step, author, now)
    }

    fn enter_mark(&self, step: &MarkStep, author: &Author, now: UtcMillis) -> Result<Result<HeldMark, Refusal>, StoreError> {
        enter_mark(&self.facts, &self.plan, step, author, now)
    }
}

impl std::fmt::Debug for Emissions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Emissions").field("outlets", &self.plan.outlets.len()).finish_non_exhaustive()
    }
}
