//! Answers about the live park: inputs gathered, the pure core asked, and both kept until something they rest on changes.
//!
//! What is kept: the total of a meter over a period until that total closes anew or changes ([`TotalsView::closed_since`]
//! names it), and the results of a period until a total of its year or of the year before changed that it may rest on, an
//! entry was made, or more hours of outlets were counted. What is of a period that is not over is made again after
//! [`OPEN_FRESH_MS`]. So a late sample costs one meter's total and the sums above it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use parkgate_collector::catalogue::Catalogue;
use parkgate_collector::model::{PointId, UtcMillis};
use parkgate_rules::emission::{self, mass};
use parkgate_rules::factor::{self, FactorRow};
use parkgate_rules::indicator::assess::{self, Assessment};
use parkgate_rules::indicator::balance::{self, BalanceCheck};
use parkgate_rules::indicator::inputs::{Charging, EmissionSeries, Inputs, MeterTotal, PeriodEnergy, Provenance, ValueCount};
use parkgate_rules::indicator::result::{IndicatorResult, Status};
use parkgate_rules::indicator::{Engine, Index, Problem, by_id};
use parkgate_rules::period::{Period, PeriodKind};

use super::charging::charging;
use super::declare::Declarations;
use super::declared::{self, months_to_date};
use super::inputs::Source;
use super::outlets;
use super::topology::{Topology, TopologySettings};
use crate::emission::EmissionView;
use crate::emission::span::{from_core, to_core};
use crate::ledger::{self, Ledger, LedgerError};
use crate::rollup::{Level, ParkZone, TotalsView};
use crate::store::{EntryKind, Facts, RecordView, StoreError};

/// How long totals of a period that is not over are good for.
pub const OPEN_FRESH_MS: i64 = 5_000;
/// So long after its end a period is taken as not over: late readings come mostly then.
const SETTLES_MS: i64 = 86_400_000;
/// Changes of totals read at one time.
const CHANGES_PAGE: usize = 10_000;
/// Pages of changes after which all that is kept is dropped instead.
const CHANGES_PAGES_MAX: usize = 10;
/// Totals kept: 5,000 meters, a year of months and the year, twice.
const KEPT_MAX: usize = 130_000;
/// Results kept, by period.
const RESULTS_MAX: usize = 64;
/// Kinds of entries that indicators rest on.
const KINDS: [EntryKind; 4] = [EntryKind::Declaration, EntryKind::Ledger, EntryKind::Mark, EntryKind::EmissionCorrection];
/// Hours of outlets are good for so long: they are many, and corrections of closed ones are entries of their own.
const EMISSIONS_FRESH_MS: i64 = 60_000;
/// Hours of outlets kept, one per hour and factor: about 20 MB.
const EMISSION_HOURS_MAX: usize = 100_000;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// The record, totals or entries cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// What goes in does not fit together.
    #[error("the park's figures do not fit together: {0}")]
    Inputs(String),
    /// The period has not begun.
    #[error("the period {0} has not begun yet")]
    Future(Period),
    /// Indicators are of days, months and years.
    #[error("indicators are of a day, month or year, not of the hour {0}")]
    Hour(Period),
    /// There is no such indicator.
    #[error("there is no indicator `{0}`; ids are like EN-01")]
    Unknown(String),
}

/// Which results are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Want<'a> {
    /// Only this indicator.
    pub id: Option<&'a str>,
    /// With the tree down to register readings.
    pub explain: bool,
}

/// The indicators of a park. Calls block on file I/O: call them from blocking tasks.
pub struct Live {
    catalogue: Arc<Catalogue>,
    settings: TopologySettings,
    topology: Topology,
    factors: Vec<FactorRow>,
    zone: ParkZone,
    totals: Arc<dyn TotalsView>,
    record: Arc<dyn RecordView>,
    facts: Arc<Facts>,
    emissions: Option<Arc<dyn EmissionView>>,
    memory: Mutex<Memory>,
}

/// What is kept.
#[derive(Default)]
struct Memory {
    /// Changes of totals up to here are known.
    cursor: u64,
    totals: HashMap<(PointId, Period), Kept<Option<MeterTotal>>>,
    values: HashMap<(PointId, Period), Kept<Option<ValueCount>>>,
    results: BTreeMap<Period, (Rests, Kept<Vec<IndicatorResult>>)>,
    last_year: Option<(Entries, i16, Vec<PeriodEnergy>)>,
    /// By the start of the month.
    emissions: BTreeMap<UtcMillis, (Rests, Kept<Vec<EmissionSeries>>)>,
    declarations: Option<(i64, Arc<Declarations>)>,
}

/// Something with the time until which it is good.
struct Kept<T> {
    value: T,
    until: UtcMillis,
}

/// Numbers of the last entry of each kind.
type Entries = [i64; KINDS.len()];

/// What results rest on beside totals: entries, how far outlets were counted, and how often they were counted again.
type Rests = (Entries, (i64, i64));

impl Live {
    /// The indicators of a park, with factor rows of its own that come before the built-in ones.
    pub fn new(
        catalogue: &Arc<Catalogue>,
        settings: &TopologySettings,
        factors: Vec<FactorRow>,
        totals: Arc<dyn TotalsView>,
        record: Arc<dyn RecordView>,
        facts: Arc<Facts>,
    ) -> Self {
        let memory = Memory { cursor: totals.last_change().unwrap_or(0), ..Memory::default() };
        Self {
            catalogue: Arc::clone(catalogue),
            settings: settings.clone(),
            topology: Topology::new(settings, catalogue),
            factors,
            zone: ParkZone::new(&catalogue.park.time_zone),
            totals,
            record,
            facts,
            emissions: None,
            memory: Mutex::new(memory),
        }
    }

    /// With the hours of outlets; without them emissions are missing.
    #[must_use]
    pub fn with_emissions(self, emissions: Arc<dyn EmissionView>) -> Self {
        Self { emissions: Some(emissions), ..self }
    }

    /// Which meter stands where.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Where declarations are kept.
    pub fn facts(&self) -> &Arc<Facts> {
        &self.facts
    }

    /// The park's calendar.
    pub fn zone(&self) -> &ParkZone {
        &self.zone
    }

    /// The last month that is over at a time.
    pub fn last_month(&self, now: UtcMillis) -> Option<Period> {
        let this = self.totals.period_of(Level::Month, now);
        super::inputs::period_of(self.totals.period_of(Level::Month, this.start.plus(-1)), &self.zone)
    }

    /// The results of a period.
    ///
    /// # Errors
    /// See [`LiveError`].
    pub fn results(&self, period: Period, want: Want<'_>, now: UtcMillis) -> Result<Vec<IndicatorResult>, LiveError> {
        if let Some(id) = want.id.filter(|id| by_id(id).is_none()) {
            return Err(LiveError::Unknown(id.to_owned()));
        }
        let entries = self.entries()?;
        self.forget_changed()?;
        let source = self.source(now);
        let counted = match (&self.emissions, source.bounds(period)) {
            (Some(view), Some(bounds)) => {
                let end = quarters(&self.zone, (bounds.start, bounds.end)).map_or(bounds.end, |(_, end)| end);
                counted(&**view, end)?
            }
            _ => (0, 0),
        };
        let rests = (entries, counted);
        if !want.explain
            && let Some((of, kept)) = self.memory().results.get(&period)
            && *of == rests
            && now < kept.until
        {
            return Ok(of_kept(&kept.value, want.id));
        }
        // One is soon followed by the others: boards ask for all.
        let all = Want { id: want.id.filter(|_| want.explain), ..want };
        let inputs = self.inputs(period, all, now, entries)?;
        let results = compute(&inputs, period, all.id, want.explain)?;
        let answer = of_kept(&results, want.id);
        if !want.explain {
            let until = good_until(&source, period);
            let mut memory = self.memory();
            if memory.results.len() >= RESULTS_MAX {
                memory.results.clear();
            }
            memory.results.insert(period, (rests, Kept { value: results, until }));
        }
        Ok(answer)
    }

    /// All that the figures of a period rest on, as a file that stands alone.
    ///
    /// # Errors
    /// See [`LiveError`].
    pub fn gathered(&self, period: Period, now: UtcMillis) -> Result<Inputs, LiveError> {
        self.inputs(period, Want { id: None, explain: true }, now, self.entries()?)
    }

    /// Both sides of every network of the park over a period, and whether they agree.
    ///
    /// # Errors
    /// See [`LiveError`].
    pub fn balance(&self, period: Period, now: UtcMillis) -> Result<Vec<BalanceCheck>, LiveError> {
        self.forget_changed()?;
        let source = self.source(now);
        let bounds = source.bounds(period).ok_or(LiveError::Hour(period))?;
        if bounds.start > now {
            return Err(LiveError::Future(period));
        }
        let mut inputs = source.frame(vec![period]);
        for meter in &self.topology.meters {
            inputs.totals.extend(self.total(&source, meter, period)?);
        }
        declared::add(&mut inputs, &*self.declarations()?, &self.topology, period);
        let index = Index::new(&inputs).map_err(unfit)?;
        let engine = Engine::new(&index, false);
        Ok(balance::check(&engine.context(period.span(index.zone()))))
    }

    /// The yearly targets beside what was reached.
    ///
    /// # Errors
    /// See [`LiveError`].
    pub fn assess(&self, year: Period, now: UtcMillis) -> Result<Assessment, LiveError> {
        // From declarations alone: no meter is read.
        let mut inputs = self.source(now).frame(vec![year]);
        declared::add(&mut inputs, &*self.declarations()?, &self.topology, year);
        let index = Index::new(&inputs).map_err(unfit)?;
        assess::assess(&Engine::new(&index, false), year).ok_or(LiveError::Hour(year))
    }

    fn source(&self, now: UtcMillis) -> Source<'_> {
        Source {
            catalogue: &self.catalogue,
            settings: &self.settings,
            topology: &self.topology,
            factors: &self.factors,
            totals: &*self.totals,
            record: &*self.record,
            zone: &self.zone,
            now,
        }
    }

    fn inputs(&self, period: Period, want: Want<'_>, now: UtcMillis, entries: Entries) -> Result<Inputs, LiveError> {
        let source = self.source(now);
        let bounds = source.bounds(period).ok_or(LiveError::Hour(period))?;
        if bounds.start > now {
            return Err(LiveError::Future(period));
        }
        let begins = |prefix: &str| want.id.is_none_or(|id| id.starts_with(prefix));
        let mut inputs = source.frame(vec![period]);
        self.add_totals(&mut inputs, &source, period, want.explain)?;
        let declarations = self.declarations()?;
        declared::add(&mut inputs, &declarations, &self.topology, period);
        ledger::quota::add(&mut inputs, &Ledger::read(&self.facts)?, period);
        if want.id.is_none_or(|id| matches!(id, "EN-10" | "EN-11")) {
            let metered = self.last_year(period, &declarations, now, entries)?;
            if !metered.is_empty() {
                let quota = inputs.quota.get_or_insert_default();
                let lacking = |month: &PeriodEnergy| quota.last_year.iter().all(|declared| declared.period != month.period);
                let lacking: Vec<PeriodEnergy> = metered.into_iter().filter(lacking).collect();
                quota.last_year.extend(lacking);
            }
        }
        if begins("EV-") {
            inputs.charging = self.charging(&source, period)?;
        }
        if begins("PO-")
            && let Some(view) = &self.emissions
        {
            inputs.emissions = self.emissions(&**view, &source, period, entries)?;
        }
        if begins("DQ-01") {
            for meter in &self.topology.meters {
                inputs.values.extend(self.values(&source, meter.point.id, period)?);
            }
        }
        Ok(inputs)
    }

    /// The hours of outlets over the quarters of a period, whose valid rates count, and before them as far as gaps may be
    /// filled from: the same that summaries of outlets go by.
    fn emissions(
        &self,
        view: &dyn EmissionView,
        source: &Source<'_>,
        period: Period,
        entries: Entries,
    ) -> Result<Vec<EmissionSeries>, LiveError> {
        let Some(bounds) = source.bounds(period) else { return Ok(Vec::new()) };
        let Some((from, to)) = quarters(&self.zone, (bounds.start, bounds.end)) else { return Ok(Vec::new()) };
        let mut all = Vec::new();
        let mut month = self.totals.period_of(Level::Month, from);
        while month.start < to {
            self.emissions_of(view, source, month, entries, |series| outlets::append(&mut all, series, |_| true))?;
            month = self.totals.period_of(Level::Month, month.end);
        }
        let mut firsts = BTreeMap::new();
        for planned in &view.plan().outlets {
            firsts.extend(view.span(&planned.outlet.id)?.map(|(first, _)| (planned.outlet.id.as_str(), first)));
        }
        let mut before = from;
        while mass::oldest(to_core(from)) < to_core(before) {
            let more = |series: &&EmissionSeries| firsts.get(series.outlet.as_str()).is_some_and(|first| *first < before);
            let lacking = all.iter().filter(more).filter(|series| outlets::lacks(series, from));
            let lacking: BTreeSet<_> = lacking.map(|series| (series.outlet.clone(), series.pollutant.clone())).collect();
            if lacking.is_empty() {
                break;
            }
            let month = self.totals.period_of(Level::Month, before.plus(-1));
            let wanted = |series: &EmissionSeries| lacking.contains(&(series.outlet.clone(), series.pollutant.clone()));
            self.emissions_of(view, source, month, entries, |series| outlets::append(&mut all, series, wanted))?;
            before = month.start;
        }
        Ok(all)
    }

    /// The hours of a month, which serve the indicators of several.
    fn emissions_of(
        &self,
        view: &dyn EmissionView,
        source: &Source<'_>,
        month: crate::rollup::Period,
        entries: Entries,
        take: impl FnOnce(&[EmissionSeries]),
    ) -> Result<(), LiveError> {
        let rests = (entries, counted(view, month.end)?);
        if let Some((of, kept)) = self.memory().emissions.get(&month.start)
            && *of == rests
            && source.now < kept.until
        {
            take(&kept.value);
            return Ok(());
        }
        let value = outlets::series(view, source, month.start, month.end)?;
        take(&value);
        let until = if month.end.plus(SETTLES_MS) <= source.now { UtcMillis(i64::MAX) } else { source.now.plus(EMISSIONS_FRESH_MS) };
        let hours = |series: &[EmissionSeries]| -> usize { series.iter().map(|series| series.hours.len()).sum() };
        let mut memory = self.memory();
        let kept: usize = memory.emissions.values().map(|(_, kept)| hours(&kept.value)).sum();
        if kept.saturating_add(hours(&value)) > EMISSION_HOURS_MAX {
            memory.emissions.clear();
        }
        memory.emissions.insert(month.start, (rests, Kept { value, until }));
        Ok(())
    }

    fn charging(&self, source: &Source<'_>, period: Period) -> Result<Option<Charging>, LiveError> {
        Ok(charging(source, period)?)
    }

    /// Totals of all meters over the parts of the year up to a period, and over the period.
    fn add_totals(&self, inputs: &mut Inputs, source: &Source<'_>, period: Period, explain: bool) -> Result<(), LiveError> {
        for part in parts(period) {
            for meter in &self.topology.meters {
                let Some(mut total) = self.total(source, meter, part)? else { continue };
                if explain && part == period {
                    total.readings = source.readings(&meter.point, part)?;
                }
                inputs.totals.push(total);
            }
        }
        Ok(())
    }

    fn total(&self, source: &Source<'_>, meter: &super::topology::Meter, part: Period) -> Result<Option<MeterTotal>, LiveError> {
        let key = (meter.point.id, part);
        if let Some(kept) = self.memory().totals.get(&key).filter(|kept| source.now < kept.until) {
            return Ok(kept.value.clone());
        }
        let value = source.meter_total(meter, part)?;
        let mut memory = self.memory();
        if memory.totals.len() >= KEPT_MAX {
            memory.totals.clear();
        }
        memory.totals.insert(key, Kept { value: value.clone(), until: good_until(source, part) });
        Ok(value)
    }

    fn values(&self, source: &Source<'_>, point: PointId, period: Period) -> Result<Option<ValueCount>, LiveError> {
        if let Some(kept) = self.memory().values.get(&(point, period)).filter(|kept| source.now < kept.until) {
            return Ok(kept.value.clone());
        }
        let Some(configured) = self.catalogue.point(point) else { return Ok(None) };
        let value = source.values(configured, period)?;
        let mut memory = self.memory();
        if memory.values.len() >= KEPT_MAX {
            memory.values.clear();
        }
        memory.values.insert((point, period), Kept { value: value.clone(), until: good_until(source, period) });
        Ok(value)
    }

    /// Controlled energy of the months of the year before, as far as it follows from meters and declarations as a whole.
    fn last_year(
        &self,
        period: Period,
        declarations: &Declarations,
        now: UtcMillis,
        entries: Entries,
    ) -> Result<Vec<PeriodEnergy>, LiveError> {
        let year = period.year().saturating_sub(1);
        if let Some((of_entries, of_year, months)) = &self.memory().last_year
            && *of_entries == entries
            && *of_year == year
        {
            return Ok(months.clone());
        }
        let source = self.source(now);
        let mut months = Vec::new();
        for month in months_to_date(period.year_before().whole_year()) {
            let mut inputs = source.frame(vec![month]);
            for meter in &self.topology.meters {
                inputs.totals.extend(self.total(&source, meter, month)?);
            }
            declared::add(&mut inputs, declarations, &self.topology, month);
            let results = compute(&inputs, month, Some("EN-08"), false)?;
            let whole = results.iter().filter(|result| matches!(result.status, Status::Ok | Status::Estimated));
            months.extend(whole.filter_map(|result| {
                let source = Provenance { document: Some("metered".to_owned()), ..Provenance::default() };
                Some(PeriodEnergy { period: month, energy: result.exact.clone()?, source })
            }));
        }
        self.memory().last_year = Some((entries, year, months.clone()));
        Ok(months)
    }

    /// All declarations, read again when one was entered.
    fn declarations(&self) -> Result<Arc<Declarations>, StoreError> {
        let last = self.facts.last_entry(EntryKind::Declaration)?;
        if let Some((of, kept)) = &self.memory().declarations
            && *of == last
        {
            return Ok(Arc::clone(kept));
        }
        let read = Arc::new(Declarations::read(&self.facts)?);
        self.memory().declarations = Some((last, Arc::clone(&read)));
        Ok(read)
    }

    fn entries(&self) -> Result<Entries, StoreError> {
        let mut entries = [0; KINDS.len()];
        for (last, kind) in entries.iter_mut().zip(KINDS) {
            *last = self.facts.last_entry(kind)?;
        }
        Ok(entries)
    }

    /// Drops kept totals that have closed or changed since.
    fn forget_changed(&self) -> Result<(), StoreError> {
        let mut cursor = self.memory().cursor;
        for _ in 0..CHANGES_PAGES_MAX {
            let (next, changed) = self.totals.closed_since(cursor, CHANGES_PAGE)?;
            let mut memory = self.memory();
            for total in &changed {
                if let Some(changed) = super::inputs::period_of(total.period, &self.zone) {
                    memory.results.retain(|period, _| !may_rest_on(*period, changed));
                    memory.last_year.take_if(|(_, year, _)| *year == changed.year());
                }
                for level in [Level::Day, Level::Month, Level::Year] {
                    let holds = self.totals.period_of(level, total.period.start);
                    let Some(period) = super::inputs::period_of(holds, &self.zone) else { continue };
                    memory.totals.remove(&(total.point, period));
                    memory.values.remove(&(total.point, period));
                }
            }
            memory.cursor = next;
            if changed.len() < CHANGES_PAGE {
                return Ok(());
            }
            cursor = next;
        }
        let mut memory = self.memory();
        *memory = Memory { cursor: self.totals.last_change()?, ..Memory::default() };
        Ok(())
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").field("meters", &self.topology.meters.len()).finish_non_exhaustive()
    }
}

/// A file of factors cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("factors of {path}: {reason}")]
pub struct FactorFileError {
    path: String,
    reason: String,
}

/// From the start of the first quarter that a range has to do with to the end of the last.
fn quarters(zone: &ParkZone, (from, to): (UtcMillis, UtcMillis)) -> Option<(UtcMillis, UtcMillis)> {
    let quarter = |at: UtcMillis| emission::Period::quarter(to_core(at), zone.time_zone());
    Some((from_core(quarter(from)?.from), from_core(quarter(to.plus(-1))?.to)))
}

/// How much of the outlets is counted of what was before a time, more of it when an hour was counted; and how often closed hours
/// came out otherwise.
fn counted(view: &dyn EmissionView, end: UtcMillis) -> Result<(i64, i64), StoreError> {
    let recounts = view.recounts()?;
    let mut counted = 0i64;
    for planned in &view.plan().outlets {
        counted = counted.wrapping_add(view.until(&planned.outlet.id)?.map_or(0, |until| until.min(end).0));
    }
    Ok((counted, recounts))
}

/// Asks the core.
fn compute(inputs: &Inputs, period: Period, id: Option<&str>, explain: bool) -> Result<Vec<IndicatorResult>, LiveError> {
    let index = Index::new(inputs).map_err(unfit)?;
    let engine = Engine::new(&index, explain);
    Ok(match id.and_then(by_id) {
        Some(indicator) => engine.one(indicator, period),
        None => engine.period(period),
    })
}

fn unfit(problems: Vec<Problem>) -> LiveError {
    LiveError::Inputs(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

/// The rows of a park's own files of factors. `base`: what their names are relative to.
///
/// # Errors
/// When one cannot be read, with its name.
pub fn own_factors(settings: &TopologySettings, base: &Path) -> Result<Vec<FactorRow>, FactorFileError> {
    let mut factors = Vec::new();
    for file in &settings.factor_files {
        let path = base.join(file);
        let wrong = |reason: String| FactorFileError { path: path.display().to_string(), reason };
        let text = std::fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
        factors.extend(factor::read(&text).map_err(|error| wrong(error.to_string()))?);
    }
    Ok(factors)
}

/// The results that are wanted.
fn of_kept(results: &[IndicatorResult], id: Option<&str>) -> Vec<IndicatorResult> {
    results.iter().filter(|result| id.is_none_or(|id| result.indicator == id)).cloned().collect()
}

/// Whether results of a period may change with a total: they are of the year to date, and of the year before.
fn may_rest_on(period: Period, total: Period) -> bool {
    let begins = total.first_day();
    period.year() == total.year().saturating_add(1) || period.year() == total.year() && begins < period.next().first_day()
}

fn good_until(source: &Source<'_>, period: Period) -> UtcMillis {
    match source.bounds(period) {
        Some(bounds) if bounds.end.plus(SETTLES_MS) <= source.now => UtcMillis(i64::MAX),
        _ => source.now.plus(OPEN_FRESH_MS),
    }
}

/// The periods whose totals make up a year to date that ends with a period: whole months, days of the last one for a day,
/// the year itself for a year.
fn parts(period: Period) -> Vec<Period> {
    match period.kind() {
        PeriodKind::Year | PeriodKind::Hour => vec![period],
        PeriodKind::Month => months_to_date(period),
        PeriodKind::Day => {
            let month = Period::containing(PeriodKind::Month, period.first_day().at(0, 0, 0, 0));
            let mut parts: Vec<Period> = months_to_date(period).into_iter().filter(|before| *before != month).collect();
            let mut day = Period::containing(PeriodKind::Day, month.first_day().at(0, 0, 0, 0));
            while day <= period {
                parts.push(day);
                day = day.next();
            }
            parts
        }
    }
}

#[cfg(test)]
mod tests;
