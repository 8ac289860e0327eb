//! Values from a file to the record, by the path that readings take: outlet, normaliser, journal, history.
//!
//! What the record has already, with the same time and number, is left out, so that importing a file twice adds nothing.
//! The time may be either one that counted for a sample or the one that its device gave it: exports have the first, which
//! for a device with a wrong clock is another than the second.
//! A value with the time of another number replaces it, as any later reading does, and the other is kept as a correction.

use std::collections::{HashMap, HashSet};

use anyhow::{Context as _, Result, bail};
use parkgate_collector::catalogue::Catalogue;
use parkgate_collector::driver::{Batch, Message, Outcome, Outlet};
use parkgate_collector::journal::Journal;
use parkgate_collector::model::{Decimal, LinkKey, Number, Origin, PointId, Reading, Reason, Sample, UtcMillis};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::export::each_page;
use super::rows::Row;
use crate::store::{History, RecordView, StoreError, reader};

/// Values sent at one time.
pub const BATCH_ROWS: usize = 4_096;
/// Longest wait for history to have what was sent before.
const FOLLOW_LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

/// Times no further apart than this are looked up together.
const NEIGHBOURS_MS: i64 = 3_600_000;

/// Values to import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Values {
    /// Where they come from.
    pub origin: Origin,
    /// Point by point.
    pub series: Vec<Series>,
}

/// Values of one point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Series {
    /// Stable id.
    pub point: String,
    /// Time in milliseconds since 1970; number in the canonical unit; why there is none.
    pub rows: Vec<(i64, Option<Decimal>, Option<Reason>)>,
}

/// What became of values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Imported {
    /// Durable now.
    pub imported: u64,
    /// In the record before.
    pub present: u64,
    /// Of those durable now: the record had another number at that time, which is kept as a correction.
    pub replaced: u64,
}

impl Imported {
    /// Adds what became of others.
    pub fn add(&mut self, other: Self) {
        self.imported += other.imported;
        self.present += other.present;
        self.replaced += other.replaced;
    }
}

impl Values {
    /// Of rows, point by point, in the order of each point's rows.
    pub fn of(origin: Origin, rows: &[Row]) -> Self {
        let mut series: Vec<Series> = Vec::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        for row in rows {
            let place = *places.entry(row.point.identity.stable_id.as_str()).or_insert_with(|| {
                series.push(Series { point: row.point.identity.stable_id.clone(), rows: Vec::new() });
                series.len() - 1
            });
            if let Some(series) = series.get_mut(place) {
                series.rows.push((row.time.0, row.number.ok(), row.number.err()));
            }
        }
        Self { origin, series }
    }
}

/// Whether values of that origin may be brought in: what meters said is the drivers' to say.
pub fn is_importable(origin: Origin) -> bool {
    !matches!(origin, Origin::Metered | Origin::Corrected)
}

/// Makes values durable.
///
/// # Errors
/// A point is not configured, or something could not be read or made durable; what was sent before stays.
pub async fn import(
    catalogue: &Catalogue,
    outlet: &Outlet,
    (journal, history): (&Journal, &History),
    now: UtcMillis,
    values: Values,
) -> Result<Imported> {
    if !is_importable(values.origin) {
        bail!("values of origin {} cannot be imported", values.origin.name());
    }
    tokio::time::timeout(FOLLOW_LIMIT, reader::caught_up(journal, history)).await.context("history does not follow the journal")?;
    let mut series = Vec::with_capacity(values.series.len());
    for one in values.series {
        let point = catalogue.point_by_stable_id(&one.point);
        let point =
            point.with_context(|| format!("the running gateway does not know point `{}`: start it with this configuration", one.point))?;
        let device = catalogue.device(&point.device).with_context(|| format!("device `{}` is not configured", point.device))?;
        series.push((point.id, point.identity.decimals, device.link.key, one.rows));
    }
    let history = history.clone();
    let (report, by_link) = tokio::task::spawn_blocking(move || new_readings(&history, series)).await??;
    let mut outcomes = Vec::new();
    for (link, readings) in by_link {
        let (done, outcome) = oneshot::channel();
        let batch = Batch {
            link,
            received_time: now,
            readings,
            origin: values.origin,
            deliveries: Vec::new(),
            rejected: Vec::new(),
            done: Some(done),
        };
        if outlet.send(Message::Batch(batch)).await.is_err() {
            bail!("the gateway is stopping");
        }
        outcomes.push(outcome);
    }
    for outcome in outcomes {
        if !matches!(outcome.await, Ok(Outcome::Durable)) {
            bail!("not durable; import the file again, what is there already is left out");
        }
    }
    Ok(report)
}

type SeriesRows = (PointId, u8, LinkKey, Vec<(i64, Option<Decimal>, Option<Reason>)>);

type LinkReadings = Vec<(LinkKey, Vec<Reading>)>;

/// What the record does not have yet, by link. Blocks.
fn new_readings(history: &dyn RecordView, series: Vec<SeriesRows>) -> Result<(Imported, LinkReadings), StoreError> {
    let mut report = Imported::default();
    let mut by_link = LinkReadings::new();
    for (point, decimals, link, rows) in series {
        let Found { mut known, recorded } = found(history, point, rows.iter().map(|(time, ..)| *time).collect())?;
        for (time, number, missing) in rows {
            let mantissa = number.and_then(|number| number.to_mantissa(decimals));
            if recorded.contains(&(time, mantissa)) {
                report.present += 1;
                continue;
            }
            if let Some(sample) = known.remove(&time) {
                if sample.number() == mantissa {
                    report.present += 1;
                    known.insert(time, sample);
                    continue;
                }
                report.replaced += 1;
            }
            let number = match number {
                Some(number) => Number::Canonical(number),
                None => Number::Missing(missing.unwrap_or(Reason::NotAvailable)),
            };
            let reading = Reading { point, number, source_time: Some(UtcMillis(time)) };
            match by_link.iter_mut().find(|(one, _)| *one == link) {
                Some((_, readings)) => readings.push(reading),
                None => by_link.push((link, vec![reading])),
            }
            report.imported += 1;
        }
    }
    Ok((report, by_link))
}

/// What the record has at the times that are wanted.
#[derive(Default)]
struct Found {
    /// By key time.
    known: HashMap<i64, Sample>,
    /// Record times with their numbers.
    recorded: HashSet<(i64, Option<i64>)>,
}

/// Reads the record around times, no further than neighbours lie apart. Memory depends on how many times there are, not on
/// how much the record has between them.
fn found(history: &dyn RecordView, point: PointId, mut times: Vec<i64>) -> Result<Found, StoreError> {
    times.sort_unstable();
    times.dedup();
    let is_wanted = |time: UtcMillis| times.binary_search(&time.0).is_ok();
    let mut found = Found::default();
    for run in times.chunk_by(|one, next| next.saturating_sub(*one) <= NEIGHBOURS_MS) {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
        each_page(history, point, (UtcMillis(*first), UtcMillis(*last).plus(1)), |samples| {
            for sample in samples {
                if is_wanted(sample.record_time) {
                    found.recorded.insert((sample.record_time.0, sample.number()));
                }
                if is_wanted(sample.key_time()) {
                    found.known.insert(sample.key_time().0, *sample);
                }
            }
            Ok::<(), StoreError>(())
        })?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use parkgate_collector::journal::Sequence;
    use parkgate_collector::model::{Quality, Status, Step};

    use super::*;
    use crate::store::{Bucket, HistorySettings};

    const START: i64 = 1_700_000_000_000;
    const DAY: i64 = 86_400_000;

    /// Counts what is read of a record.
    struct Counting {
        history: History,
        all: AtomicUsize,
        most: AtomicUsize,
    }

    impl RecordView for Counting {
        fn latest(&self, point: PointId) -> Option<Sample> {
            self.history.latest(point)
        }
        fn latest_since(&self, version: u64) -> (u64, Vec<Sample>) {
            self.history.latest_since(version)
        }
        fn scan(&self, point: PointId, from: UtcMillis, to: UtcMillis, limit: usize) -> Result<Vec<Sample>, StoreError> {
            let samples = self.history.scan(point, from, to, limit)?;
            self.all.fetch_add(samples.len(), Ordering::Relaxed);
            self.most.fetch_max(samples.len(), Ordering::Relaxed);
            Ok(samples)
        }
        fn buckets(&self, point: PointId, edges: &[UtcMillis]) -> Result<Vec<Bucket>, StoreError> {
            self.history.buckets(point, edges)
        }
        fn samples_applied(&self) -> u64 {
            self.history.samples_applied()
        }
    }

    fn sample(time: i64, source: Option<i64>, value: i64) -> Sample {
        Sample {
            point: PointId(1),
            status: Status::new(Quality::Good, Reason::None, Origin::Metered, Step::None),
            value,
            source_time: source.map(UtcMillis),
            received_time: UtcMillis(time),
            record_time: UtcMillis(time),
        }
    }

    fn record(folder: &std::path::Path, samples: &[Sample]) -> Counting {
        let history = History::open(folder, HistorySettings::default(), Arc::new(|_| false)).unwrap();
        for (sequence, part) in (1..).zip(samples.chunks(1_000)) {
            history.apply_samples(Sequence(sequence), part);
        }
        Counting { history, all: AtomicUsize::new(0), most: AtomicUsize::new(0) }
    }

    /// Rows of whole numbers against a record of no decimals.
    fn compare(record: &Counting, rows: &[(i64, i64)]) -> (Imported, Vec<i64>) {
        let rows = rows.iter().map(|&(time, number)| (time, Some(Decimal::new(number, 0)), None)).collect();
        let (report, by_link) = new_readings(record, vec![(PointId(1), 0, LinkKey(1), rows)]).unwrap();
        let readings = by_link.into_iter().flat_map(|(_, readings)| readings);
        (report, readings.filter_map(|reading| reading.source_time.map(|time| time.0)).collect())
    }

    #[test]
    fn rows_far_apart_are_looked_up_without_reading_what_lies_between() {
        let folder = tempfile::tempdir().unwrap();
        // Every 10 s for 30 days.
        let samples: Vec<Sample> = (0..30 * 8_640).map(|i| sample(START + i * 10_000, None, i)).collect();
        let record = record(folder.path(), &samples);
        let rows: Vec<(i64, i64)> = (0..30).rev().map(|day| (START + day * DAY, if day == 7 { -1 } else { day * 8_640 })).collect();
        let (report, times) = compare(&record, &rows);
        assert_eq!((report, times), (Imported { imported: 1, present: 29, replaced: 1 }, vec![START + 7 * DAY]));
        assert_eq!(record.all.load(Ordering::Relaxed), 30);
        // Neighbours are read together, in pages.
        let rows: Vec<(i64, i64)> = (0..4_000).map(|i| (START + i * 360 * 1_000 * 2, i * 72)).collect();
        let (report, _) = compare(&record, &rows[..3_600]);
        assert_eq!((report.present, report.imported), (3_600, 0));
        assert!(record.most.load(Ordering::Relaxed) <= 20_000, "{:?}", record.most);
    }

    #[test]
    fn an_export_of_a_device_with_a_wrong_clock_is_there_already() {
        let folder = tempfile::tempdir().unwrap();
        // The device is a year behind: what counts is when its values came.
        let samples: Vec<Sample> = (0..100).map(|i| sample(START + i * 10_000, Some(START - 365 * DAY + i * 10_000), i)).collect();
        let record = record(folder.path(), &samples);
        let exported: Vec<(i64, i64)> = samples.iter().map(|sample| (sample.record_time.0, sample.value)).collect();
        assert_eq!(compare(&record, &exported), (Imported { present: 100, ..Imported::default() }, Vec::new()));
        // Another number at such a time is new.
        let (report, times) = compare(&record, &[(START, 77)]);
        assert_eq!((report.imported, times), (1, vec![START]));
    }
}
