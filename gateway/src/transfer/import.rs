//! Values from a file to the record, by the path that readings take: outlet, normaliser, journal, history.
//!
//! What the record has already, with the same time and number, is left out, so that importing a file twice adds nothing.
//! A value with the time of another number replaces it, as any later reading does, and the other is kept as a correction.

use std::collections::HashMap;

use anyhow::{Context as _, Result, bail};
use parkgate_collector::catalogue::Catalogue;
use parkgate_collector::driver::{Batch, Message, Outcome, Outlet};
use parkgate_collector::journal::Journal;
use parkgate_collector::model::{Decimal, LinkKey, Number, Origin, PointId, Reading, Reason, Sample, UtcMillis};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::rows::Row;
use crate::store::{History, RecordView, StoreError, reader};

/// Values sent at one time.
pub const BATCH_ROWS: usize = 4_096;
/// Longest wait for history to have what was sent before.
const FOLLOW_LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

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
        let mut places: HashMap<PointIdKey<'_>, usize> = HashMap::new();
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

type PointIdKey<'a> = &'a str;

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
        let point = catalogue.points.iter().find(|point| point.identity.stable_id == one.point);
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
    let mut by_link: Vec<(LinkKey, Vec<Reading>)> = Vec::new();
    for (point, decimals, link, rows) in series {
        let times = || rows.iter().map(|(time, ..)| *time);
        let (Some(first), Some(last)) = (times().min(), times().max()) else { continue };
        let found = history.scan(point, UtcMillis(first), UtcMillis(last).plus(1), usize::MAX)?;
        let mut known: HashMap<i64, Sample> = found.into_iter().map(|sample| (sample.key_time().0, sample)).collect();
        for (time, number, missing) in rows {
            let mantissa = number.and_then(|number| number.to_mantissa(decimals));
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
