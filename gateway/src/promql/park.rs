//! The park as a source of series: catalogue, record and totals, cut to what the asker may see.
//!
//! [`Index`] lists all series that a catalogue has, made once; [`ParkSource`] is one asker's view of it for one query.
//! Points that the asker may not see are left out before any matcher is looked at, so no matcher can reach them.
//!
//! What a series' samples are:
//!
//! | series | samples | shown for |
//! |---|---|---|
//! | of a point | the record's; a bad sample, or one without a number, ends the value before it | the larger of 5 min and 2.5 times the point's expected interval |
//! | closed totals | one per period, stamped at its start; ended at the period's end unless the next follows | the period |
//! | `_current_` | one per good sample of the point: the register less the one at the period's start. A period in which the meter
//!   was exchanged or started over has one only, while it is open, stamped as the point's last sample | to the end of its period, however long the meter is silent |

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use parkgate_collector::catalogue::{Catalogue, Device, Point};
use parkgate_collector::model::{Kind, Medium, Quality, Sample, UtcMillis};

use super::labels::{Label, NAME};
use super::source::{ABSENT, too_many_samples};
use super::{Error, Labels, Last, Part, Patience, Samples, Selection, Series, Source};
use crate::access::Identity;
use crate::rollup::{Amount, CounterTotal, Figures, Level, Period, Total, TotalsView};
use crate::series::{self, Stat, What};
use crate::store::{Bucket, RecordView, StoreError};
use crate::titles::{self, Title};

/// Shortest time that a sample is shown; Prometheus' own.
const LOOKBACK_MIN_MS: i64 = 300_000;
/// Samples read from the record at one time.
const PAGE: usize = 65_536;
/// Periods of totals read at one time.
const TOTALS_PAGE: i64 = 8_192;
/// Periods in which codes of states are looked for; over a longer range, longer periods are.
const CODES_PERIODS: i64 = 64;
const HOUR_MS: i64 = 3_600_000;

/// All series of a catalogue.
#[derive(Debug)]
pub struct Index {
    catalogue: Arc<Catalogue>,
    /// The device of each point, in the catalogue's order of points.
    devices: Vec<Option<Arc<Device>>>,
    /// Names and values of labels, each once.
    texts: Vec<Arc<str>>,
    /// Labels of each point's series but the name, in the same order, as places in `texts`. Those of states lack `state`,
    /// which is known only when totals are read.
    labels: Vec<Box<[(u32, u32)]>>,
    /// All series: a gauge alone has 13, so they are small.
    entries: Vec<Entry>,
    /// Places in `entries`.
    by_name: BTreeMap<Arc<str>, Vec<u32>>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Place of its point in the catalogue.
    place: u32,
    what: What,
}

impl Entry {
    fn place(self) -> usize {
        usize::try_from(self.place).unwrap_or(usize::MAX)
    }
}

/// What a series name means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meaning {
    /// `counter` or `gauge`. Totals are gauges: each stands for itself.
    pub kind: &'static str,
    /// In words, Chinese and English.
    pub help: String,
    /// Symbol of the unit.
    pub unit: String,
}

impl Index {
    /// Lists the series of a catalogue.
    pub fn new(catalogue: Arc<Catalogue>) -> Self {
        let (mut all_labels, mut entries) = (Vec::with_capacity(catalogue.points.len()), Vec::new());
        let mut by_name: BTreeMap<Arc<str>, Vec<u32>> = BTreeMap::new();
        let (mut texts, mut places): (Vec<Arc<str>>, HashMap<Arc<str>, u32>) = Default::default();
        let mut place_of = |text: String| {
            if let Some(&place) = places.get(text.as_str()) {
                return place;
            }
            let (text, place): (Arc<str>, _) = (text.into(), u32::try_from(texts.len()).unwrap_or(u32::MAX));
            texts.push(Arc::clone(&text));
            places.insert(text, place);
            place
        };
        for (place, point) in catalogue.points.iter().enumerate() {
            let labels = series::labels(&catalogue, point).into_iter().filter(|(name, value)| name != NAME && !value.is_empty());
            all_labels.push(labels.map(|(name, value)| (place_of(name), place_of(value))).collect());
            let place = u32::try_from(place).unwrap_or(u32::MAX);
            let all = if point.medium == Medium::Gateway { vec![What::Samples] } else { What::of(point.identity.kind) };
            for what in all {
                let (name, row) = (series::name(point, what), u32::try_from(entries.len()).unwrap_or(u32::MAX));
                match by_name.get_mut(name.as_str()) {
                    Some(rows) => rows.push(row),
                    None => drop(by_name.insert(name.into(), vec![row])),
                }
                entries.push(Entry { place, what });
            }
        }
        let devices = catalogue.points.iter().map(|point| catalogue.device(&point.device).cloned()).collect();
        entries.shrink_to_fit();
        texts.shrink_to_fit();
        by_name.values_mut().for_each(Vec::shrink_to_fit);
        Self { catalogue, devices, texts, labels: all_labels, entries, by_name }
    }

    /// Which points an asker sees, in the catalogue's order.
    fn visible(&self, identity: &Identity) -> Vec<bool> {
        let points = self.catalogue.points.iter().zip(&self.devices);
        points.map(|(point, device)| device.as_ref().is_some_and(|device| identity.sees(device, point))).collect()
    }

    fn point(&self, entry: Entry) -> Option<&Arc<Point>> {
        self.catalogue.points.get(entry.place())
    }

    fn entry(&self, row: u32) -> Option<Entry> {
        self.entries.get(usize::try_from(row).ok()?).copied()
    }

    fn text(&self, place: u32) -> Option<&Arc<str>> {
        self.texts.get(usize::try_from(place).ok()?)
    }

    /// Labels of an entry but the name.
    fn rest(&self, entry: Entry) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        let places = self.labels.get(entry.place()).into_iter().flatten();
        places.filter_map(|&(name, value)| Some((self.text(name)?, self.text(value)?)))
    }

    /// The value of a label of a series of this name; empty when it is not there.
    fn label<'a>(&'a self, name: &'a str, entry: Entry, label: &str) -> &'a str {
        if label == NAME {
            return name;
        }
        self.rest(entry).find(|(have, _)| ***have == *label).map_or("", |(_, value)| value)
    }

    /// Labels of a series of this name.
    fn labels(&self, name: &Arc<str>, entry: Entry) -> Labels {
        let rest: Vec<Label> = self.rest(entry).map(|(name, value)| (Arc::clone(name), Arc::clone(value))).collect();
        Labels::new(Arc::clone(name), rest.into())
    }
}

/// One asker's view.
pub struct ParkSource<'a> {
    index: &'a Index,
    record: &'a dyn RecordView,
    totals: &'a dyn TotalsView,
    visible: Vec<bool>,
}

impl<'a> ParkSource<'a> {
    /// What `identity` may see of the park.
    pub fn new(index: &'a Index, record: &'a dyn RecordView, totals: &'a dyn TotalsView, identity: &Identity) -> Self {
        Self { index, record, totals, visible: index.visible(identity) }
    }

    /// The meaning of every name of which the asker sees a series.
    pub fn meanings(&self) -> BTreeMap<&'a str, Meaning> {
        let names = self.index.by_name.iter();
        let meaning = names.filter_map(|(name, rows)| {
            let entry = rows.iter().filter_map(|&row| self.index.entry(row)).find(|entry| self.sees(*entry))?;
            Some((&**name, meaning(self.index.point(entry)?, entry.what)))
        });
        meaning.collect()
    }

    fn sees(&self, entry: Entry) -> bool {
        self.visible.get(entry.place()) == Some(&true)
    }

    fn entry(&self, series: &Series) -> Result<(Entry, &'a Point), Error> {
        let entry = self.index.entry(series.key.0);
        entry.and_then(|entry| Some((entry, &**self.index.point(entry)?))).ok_or(Error::Internal)
    }

    /// Takes totals that are closed, whose period starts in `(after, upto]`, page by page.
    fn each_closed(
        &self,
        point: &Point,
        level: Level,
        (after, upto): (i64, i64),
        patience: &Patience<'_>,
        mut take: impl FnMut(&Total) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let (mut from, to) = (UtcMillis(after).plus(1), UtcMillis(upto).plus(1));
        while from < to {
            patience.look()?;
            let next = from.plus(longest_ms(level).saturating_mul(TOTALS_PAGE)).min(to);
            let page = self.totals.totals(point.id, level, from, next).map_err(read_failed)?;
            page.iter().filter(|total| total.closed).try_for_each(&mut take)?;
            from = next;
        }
        Ok(())
    }

    /// Samples of a series of totals: one per period, ended at the period's end unless the next follows.
    fn of_totals(
        &self,
        (point, what, code): (&Point, What, i64),
        level: Level,
        (after, upto): (i64, i64),
        most: usize,
        patience: &Patience<'_>,
    ) -> Result<Samples, Error> {
        let mut samples = Samples::default();
        let mut end = None;
        self.each_closed(point, level, (after, upto), patience, |total| {
            let Some(value) = value(what, code, &total.figures) else { return Ok(()) };
            if let Some(end) = end.filter(|&end| end < total.period.start.0) {
                samples.push(end, ABSENT);
            }
            samples.push(total.period.start.0, value);
            end = Some(total.period.end.0);
            if samples.times.len() > most { Err(too_many_samples()) } else { Ok(()) }
        })?;
        if let Some(end) = end.filter(|&end| end <= upto) {
            samples.push(end, ABSENT);
        }
        Ok(samples)
    }

    /// Codes that a state may have had in closed periods that start in `(after, upto]`: all of those, perhaps more.
    fn codes(&self, point: &Point, level: Level, after: i64, upto: i64) -> Result<BTreeSet<i64>, Error> {
        let span = upto.saturating_sub(after);
        let is_short = |longer: Level| span <= longest_ms(longer).saturating_mul(CODES_PERIODS);
        let searched = Level::ALL.iter().copied().find(|&longer| longer >= level && is_short(longer)).unwrap_or(Level::Year);
        // A longer period that began before may hold some that did not.
        let from = if searched == level { after } else { after.saturating_sub(longest_ms(searched)) };
        let totals = self.totals.totals(point.id, searched, UtcMillis(from).plus(1), UtcMillis(upto).plus(1)).map_err(read_failed)?;
        let mut codes = BTreeSet::new();
        for total in totals {
            if let Figures::State(state) = &total.figures
                && (total.closed || searched != level)
            {
                codes.extend(state.durations.iter().map(|(code, _)| *code));
            }
        }
        Ok(codes)
    }

    fn push_state(
        &self,
        found: &mut Vec<Series>,
        selection: &Selection,
        (row, entry, labels): (u32, Entry, &Labels),
        level: Level,
        (after, upto): (i64, i64),
    ) -> Result<(), Error> {
        let Some(point) = self.index.point(entry) else { return Ok(()) };
        for code in self.codes(point, level, after.saturating_sub(longest_ms(level)), upto)? {
            let labels = labels.with("state", &code.to_string());
            if selection.matches(&labels) {
                found.push(Series { labels, lookback_ms: longest_ms(level), key: (row, code) });
            }
        }
        Ok(())
    }
}

impl Source for ParkSource<'_> {
    fn select(&self, selection: &Selection, after: i64, upto: i64, patience: &Patience<'_>) -> Result<Vec<Series>, Error> {
        let mut found = Vec::new();
        let is_state = |name: &str| name == "state";
        for (name, rows) in &self.index.by_name {
            patience.look()?;
            let mut of_name = selection.matchers.iter().filter(|matcher| matcher.name == NAME);
            if selection.name.as_ref().is_some_and(|wanted| **wanted != **name) || !of_name.all(|matcher| matcher.is_match(name)) {
                continue;
            }
            for &row in rows {
                patience.look()?;
                let Some(entry) = self.index.entry(row).filter(|entry| self.sees(*entry)) else { continue };
                let label = |label: &str| self.index.label(name, entry, label);
                if let What::State(level) = entry.what {
                    let mut others = selection.matchers.iter().filter(|matcher| !is_state(&matcher.name));
                    if others.all(|matcher| matcher.is_match(label(&matcher.name))) {
                        let labels = self.index.labels(name, entry);
                        self.push_state(&mut found, selection, (row, entry, &labels), level, (after, upto))?;
                    }
                } else if selection.matches_all(label) {
                    let Some(point) = self.index.point(entry) else { continue };
                    let lookback_ms = match entry.what {
                        What::Samples => lookback_ms(point),
                        // Their samples end with the period.
                        What::Total(level) | What::Current(level) | What::Gauge(level, _) | What::State(level) => longest_ms(level),
                    };
                    found.push(Series { labels: self.index.labels(name, entry), lookback_ms, key: (row, 0) });
                }
            }
        }
        Ok(found)
    }

    fn samples(&self, series: &Series, after: i64, upto: i64, most: usize, patience: &Patience<'_>) -> Result<Samples, Error> {
        let (entry, point) = self.entry(series)?;
        match entry.what {
            What::Samples => samples(self.record, point, after, upto, most, patience),
            What::Current(level) => self.current(point, level, after, upto, most, patience),
            What::Total(level) | What::Gauge(level, _) | What::State(level) => {
                self.of_totals((point, entry.what, series.key.1), level, (after, upto), most, patience)
            }
        }
    }

    fn last(&self, series: &Series, after: i64, upto: i64) -> Result<Last, Error> {
        let (entry, point) = self.entry(series)?;
        match entry.what {
            What::Samples => Ok(match self.record.latest(point.id) {
                None => Last::Nothing,
                // One that is later than wanted says nothing of those before.
                Some(latest) if latest.record_time.0 > upto => Last::Unknown,
                Some(latest) if latest.record_time.0 > after => Last::At(latest.record_time.0, number(point, &latest)),
                Some(_) => Last::Nothing,
            }),
            What::Current(level) => self.last_current(point, level, after, upto),
            What::Total(_) | What::Gauge(..) | What::State(_) => Ok(Last::Unknown),
        }
    }

    fn parts(&self, series: &Series, edges: &[i64], extremes: bool) -> Result<Option<Vec<Part>>, Error> {
        let (entry, point) = self.entry(series)?;
        if entry.what != What::Samples {
            return Ok(None);
        }
        parts(self.record, point, edges, extremes)
    }
}

impl ParkSource<'_> {
    /// What a counter's periods had come to at each of its samples.
    fn current(&self, point: &Point, level: Level, after: i64, upto: i64, most: usize, patience: &Patience<'_>) -> Result<Samples, Error> {
        let mut current = Samples::default();
        // Of the instant before, too: where a period ends, its figure does.
        let start = self.totals.period_of(level, UtcMillis(after)).start;
        for total in self.totals.totals(point.id, level, start, UtcMillis(upto).plus(1)).map_err(read_failed)? {
            let Figures::Counter(counter) = &total.figures else { continue };
            let (from, to) = within(total.period, after, upto);
            if let Some(start) = plain_start(counter) {
                let room = most.saturating_sub(current.times.len());
                each_sample(self.record, point, from, to, room, patience, |sample| {
                    if let Some(gone) = so_far(point, sample, start) {
                        current.push(sample.record_time.0, gone);
                    }
                })?;
            } else if let Some((time, value)) = self.disturbed(point, total.closed, counter, (from, to)) {
                current.push(time, value);
            }
            if total.period.end.0 <= upto {
                current.push(total.period.end.0, ABSENT);
            }
        }
        Ok(current)
    }

    /// The last that [`Self::current`] gives in a range, without reading all that is before.
    fn last_current(&self, point: &Point, level: Level, after: i64, upto: i64) -> Result<Last, Error> {
        let start = self.totals.period_of(level, UtcMillis(upto)).start;
        let totals = self.totals.totals(point.id, level, start, start.plus(1)).map_err(read_failed)?;
        let Some(Total { figures: Figures::Counter(counter), period, closed, .. }) = totals.first() else { return Ok(Last::Nothing) };
        let (from, to) = within(*period, after, upto);
        let found = match plain_start(counter) {
            Some(start) => {
                let found = match self.record.latest(point.id) {
                    Some(latest) if from < latest.record_time.0 && latest.record_time.0 <= to => {
                        so_far(point, &latest, start).map(|gone| (latest.record_time.0, gone))
                    }
                    _ => None,
                };
                if found.is_some() { found } else { self.last_so_far(point, start, from, to)? }
            }
            None => self.disturbed(point, *closed, counter, (from, to)),
        };
        Ok(found.map_or(Last::Nothing, |(time, value)| Last::At(time, value)))
    }

    /// What a period had come to at the last good sample in a range.
    fn last_so_far(&self, point: &Point, start: Amount, after: i64, upto: i64) -> Result<Option<(i64, f64)>, Error> {
        let buckets = self.record.buckets(point.id, &[UtcMillis(after).plus(1), UtcMillis(upto).plus(1)]).map_err(read_failed)?;
        let Some((time, register)) = buckets.first().and_then(|bucket| bucket.last) else { return Ok(None) };
        Ok(difference(register, point.identity.decimals, start).map(|gone| (time.0, gone.to_f64())))
    }

    /// The figure of an open period that cannot be told from registers alone: what it has come to, stamped as the point's
    /// last sample. One who asks for a moment just before that sample is told as well: clocks differ, and samples arrive
    /// while a question is under way.
    fn disturbed(&self, point: &Point, closed: bool, counter: &CounterTotal, (from, to): (i64, i64)) -> Option<(i64, f64)> {
        let amount = counter.amount.filter(|_| !closed)?;
        let latest = self.record.latest(point.id)?.record_time.0;
        let time = latest.min(to);
        (from < time && latest.saturating_sub(to) < lookback_ms(point)).then(|| (time, amount.to_f64()))
    }
}

/// The part of `(after, upto]` that lies in a period.
fn within(period: Period, after: i64, upto: i64) -> (i64, i64) {
    (after.max(period.start.0.saturating_sub(1)), upto.min(period.end.0.saturating_sub(1)))
}

/// The register at a period's start, where the period's figure is at any time the register less that.
fn plain_start(counter: &CounterTotal) -> Option<Amount> {
    let flags = counter.flags;
    counter.start_register.filter(|_| !(flags.rollover || flags.meter_exchanged || flags.suspect || flags.decided))
}

/// What a period has come to at a sample; `None` for one that is bad.
fn so_far(point: &Point, sample: &Sample, start: Amount) -> Option<f64> {
    let register = sample.number().filter(|_| sample.status.quality() != Quality::Bad)?;
    Some(difference(register, point.identity.decimals, start)?.to_f64())
}

/// `register - start`, exactly; `None` where it does not fit.
fn difference(register: i64, decimals: u8, start: Amount) -> Option<Amount> {
    let finer = u32::from(start.decimals.checked_sub(decimals)?);
    let mantissa = i128::from(register).checked_mul(10_i128.checked_pow(finer)?)?.checked_sub(start.mantissa)?;
    Some(Amount { mantissa, decimals: start.decimals })
}

/// How long a sample of a point is shown.
fn lookback_ms(point: &Point) -> i64 {
    // 2.5 times: one value may be missed, and the next be late.
    let interval_ms = point.interval_ms.map_or(0, i64::from);
    LOOKBACK_MIN_MS.max(interval_ms.saturating_mul(5) / 2)
}

/// The longest that a period can be.
fn longest_ms(level: Level) -> i64 {
    match level {
        // A zone may be moved by a part of an hour.
        Level::Hour => 2 * HOUR_MS,
        Level::Day => 26 * HOUR_MS,
        Level::Month => (31 * 24 + 2) * HOUR_MS,
        Level::Year => (366 * 24 + 2) * HOUR_MS,
    }
}

fn value(what: What, code: i64, figures: &Figures) -> Option<f64> {
    match (what, figures) {
        (What::Total(_), Figures::Counter(counter)) => counter.amount.map(|amount| amount.to_f64()),
        (What::Gauge(_, stat), Figures::Gauge(gauge)) => {
            let amount = match stat {
                Stat::Mean => gauge.mean,
                Stat::Min => gauge.min,
                Stat::Max => gauge.max,
            };
            amount.map(|amount| amount.to_f64())
        }
        (What::State(_), Figures::State(state)) => {
            let (_, duration_ms) = state.durations.iter().find(|(have, _)| *have == code)?;
            Some(*duration_ms as f64 / 1000.0)
        }
        _ => None,
    }
}

/// The number of a sample; [`ABSENT`] for one that is bad or has none.
fn number(point: &Point, sample: &Sample) -> f64 {
    match sample.number() {
        // Both are exact below 2^53, so the quotient is the nearest there is.
        Some(mantissa) if sample.status.quality() != Quality::Bad => mantissa as f64 / 10_f64.powi(i32::from(point.identity.decimals)),
        _ => ABSENT,
    }
}

fn samples(record: &dyn RecordView, point: &Point, after: i64, upto: i64, most: usize, patience: &Patience<'_>) -> Result<Samples, Error> {
    let mut samples = Samples::default();
    each_sample(record, point, after, upto, most, patience, |sample| samples.push(sample.record_time.0, number(point, sample)))?;
    Ok(samples)
}

/// Takes a point's samples in a range page by page; [`too_many_samples`] when there are more than `most`.
fn each_sample(
    record: &dyn RecordView,
    point: &Point,
    after: i64,
    upto: i64,
    most: usize,
    patience: &Patience<'_>,
    mut take: impl FnMut(&Sample),
) -> Result<(), Error> {
    let (mut from, to) = (UtcMillis(after).plus(1), UtcMillis(upto).plus(1));
    let mut room = most;
    while from < to {
        patience.look()?;
        let limit = PAGE.min(room.saturating_add(1));
        let page = record.scan(point.id, from, to, limit).map_err(read_failed)?;
        page.iter().for_each(&mut take);
        room = room.checked_sub(page.len()).ok_or_else(too_many_samples)?;
        match page.last() {
            // The next page begins with the rest of the last millisecond, if there is more of it.
            Some(last) if page.len() >= limit && last.record_time > from => from = last.record_time,
            Some(last) if page.len() >= limit => from = last.record_time.plus(1),
            _ => break,
        }
    }
    Ok(())
}

/// Parts are open on the left, the record's buckets on the right: what lies on an edge goes to the bucket before it.
/// `None` where that cannot be told exactly.
fn parts(record: &dyn RecordView, point: &Point, edges: &[i64], extremes: bool) -> Result<Option<Vec<Part>>, Error> {
    let Some(&last) = edges.last() else { return Ok(Some(Vec::new())) };
    let mut wanted: Vec<UtcMillis> = edges.iter().map(|&edge| UtcMillis(edge)).collect();
    wanted.push(UtcMillis(last).plus(1));
    let buckets = record.buckets(point.id, &wanted).map_err(read_failed)?;
    let scale = 10_f64.powi(i32::from(point.identity.decimals));
    let on_edge = |bucket: &Bucket| bucket.first.filter(|(time, _)| *time == bucket.start).map(|(_, value)| value);
    let mut parts = Vec::with_capacity(buckets.len());
    for pair in buckets.windows(2) {
        let [bucket, next] = pair else { continue };
        let (mut count, mut sum, mut min, mut max) = (bucket.count, bucket.sum, bucket.min, bucket.max);
        let mut last = bucket.last.map(|(_, value)| value);
        if let Some(value) = on_edge(bucket) {
            count = count.saturating_sub(1);
            sum = sum.saturating_sub(i128::from(value));
            // It may be the only one of its size.
            if extremes && count > 0 && (value == min || value == max) {
                return Ok(None);
            }
        }
        if let Some(value) = on_edge(next) {
            (min, max) = if count == 0 { (value, value) } else { (min.min(value), max.max(value)) };
            count = count.saturating_add(1);
            sum = sum.saturating_add(i128::from(value));
            last = Some(value);
        }
        let number = |mantissa: i64| mantissa as f64 / scale;
        parts.push(Part { count, sum: sum as f64 / scale, min: number(min), max: number(max), last: number(last.unwrap_or(0)) });
    }
    Ok(Some(parts))
}

#[expect(clippy::needless_pass_by_value, reason = "as `map_err` hands it over")]
fn read_failed(error: StoreError) -> Error {
    tracing::error!(error = %error, "record could not be read for a query");
    Error::Internal
}

fn meaning(point: &Point, what: What) -> Meaning {
    let (zh, en) = match what {
        What::Samples => ("测量值".to_owned(), "samples".to_owned()),
        What::Total(level) => (format!("每{}累计", level_zh(level)), format!("total of each {}", level.name())),
        What::Current(level) => (format!("本{}累计", level_zh(level)), format!("total of the present {} so far", level.name())),
        What::Gauge(level, stat) => {
            let stat_zh = match stat {
                Stat::Mean => "平均值",
                Stat::Min => "最小值",
                Stat::Max => "最大值",
            };
            (format!("每{}{stat_zh}", level_zh(level)), format!("{} of each {}", stat.name(), level.name()))
        }
        What::State(level) => (format!("每{}各状态时长", level_zh(level)), format!("time in each state per {}", level.name())),
    };
    let is_counter = what == What::Samples && point.identity.kind == Kind::Counter;
    let unit = if matches!(what, What::State(_)) { "s".to_owned() } else { point.identity.unit.to_string() };
    let title = match point.medium {
        Medium::Gateway => Title::new(&point.name.zh, &point.name.en),
        _ => titles::quantity(&point.quantity),
    };
    Meaning { kind: if is_counter { "counter" } else { "gauge" }, help: format!("{} {zh} / {} {en}", title.zh, title.en), unit }
}

fn level_zh(level: Level) -> &'static str {
    match level {
        Level::Hour => "小时",
        Level::Day => "日",
        Level::Month => "月",
        Level::Year => "年",
    }
}
