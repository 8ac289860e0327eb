//! Samples as rows: one a sample, point by point in order of record time.
//!
//! | column | what |
//! |---|---|
//! | `point` | stable id |
//! | `time` | record time, RFC 3339 with milliseconds in the park's zone |
//! | `time_ms` | the same in milliseconds since 1970 |
//! | `value` | exact decimal with all decimals of the point; empty where there is no number |
//! | `unit` | canonical unit |
//! | `quality`, `reason`, `origin` | as in the API; `reason` empty where there is nothing to say |
//! | `source_time`, `received_time` | as `time`; `source_time` empty where the device gave none |
//!
//! As JSON lines the same keys, `null` for what is empty, numbers as text but `time_ms`.

use std::io::Write;

use jiff::tz::TimeZone;
use parkgate_collector::model::{Decimal, PointId, PointIdentity, Reason, Sample, UtcMillis};
use serde_json::json;

use super::{csv, time};
use crate::store::{RecordView, StoreError};

/// The columns.
pub const COLUMNS: [&str; 10] =
    ["point", "time", "time_ms", "value", "unit", "quality", "reason", "origin", "source_time", "received_time"];

/// Samples read at one time.
const PAGE: usize = 20_000;
/// Samples of one point with one record time that are taken for possible; beyond, the rest of them is left out.
const SAME_TIME_MAX: usize = 1_000_000;

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Comma-separated values with a header, RFC 4180.
    Csv,
    /// One JSON object a line.
    Jsonl,
}

/// Rows could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The record could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The rows could not be written.
    #[error("rows cannot be written: {0}")]
    Write(#[from] std::io::Error),
}

impl ExportError {
    /// The reader of our output went away, which is its right.
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Write(error) if error.kind() == std::io::ErrorKind::BrokenPipe)
    }
}

/// Writes rows of samples.
pub struct SampleRows<W: Write> {
    out: Out<W>,
    zone: TimeZone,
    /// Kept for its room.
    texts: [String; 3],
}

enum Out<W: Write> {
    Csv(Box<::csv::Writer<W>>),
    Jsonl(W),
}

impl<W: Write> SampleRows<W> {
    /// Begins a table.
    ///
    /// # Errors
    /// When the header cannot be written.
    pub fn new(out: W, format: Format, zone: TimeZone) -> std::io::Result<Self> {
        let out = match format {
            Format::Jsonl => Out::Jsonl(out),
            Format::Csv => {
                let mut out = csv::writer(out);
                out.write_record(COLUMNS)?;
                Out::Csv(Box::new(out))
            }
        };
        Ok(Self { out, zone, texts: Default::default() })
    }

    /// Writes one sample.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn push(&mut self, point: &PointIdentity, sample: &Sample) -> std::io::Result<()> {
        let [record, source, received] = &mut self.texts;
        [(&mut *record, Some(sample.record_time)), (&mut *source, sample.source_time), (&mut *received, Some(sample.received_time))]
            .into_iter()
            .for_each(|(text, at)| {
                text.clear();
                if let Some(at) = at {
                    time::put(text, at, &self.zone);
                }
            });
        let value = sample.number().map(|mantissa| exact(mantissa, point.decimals).to_string());
        let status = sample.status;
        let reason = if status.reason() == Reason::None { "" } else { status.reason().name() };
        let (unit, quality, origin) = (point.unit.symbol(), status.quality().name(), status.origin().name());
        match &mut self.out {
            Out::Csv(out) => {
                let time_ms = sample.record_time.0.to_string();
                let value = value.as_deref().unwrap_or_default();
                let fields = [&point.stable_id, record, &time_ms, value, unit, quality, reason, origin, source, received];
                out.write_record(fields)?;
            }
            Out::Jsonl(out) => {
                let row = json!({
                    "point": point.stable_id, "time": record, "time_ms": sample.record_time.0, "value": value, "unit": unit,
                    "quality": quality, "reason": (!reason.is_empty()).then_some(reason), "origin": origin,
                    "source_time": (!source.is_empty()).then_some(&*source), "received_time": received,
                });
                serde_json::to_writer(&mut *out, &row)?;
                out.write_all(b"\n")?;
            }
        }
        Ok(())
    }

    /// Writes all samples of a point with record time in `[from, to)`; how many there were. Memory is bounded however many.
    ///
    /// # Errors
    /// When the record cannot be read or a row cannot be written.
    pub fn push_range(
        &mut self,
        record: &dyn RecordView,
        (id, point): (PointId, &PointIdentity),
        from: UtcMillis,
        to: UtcMillis,
    ) -> Result<u64, ExportError> {
        let mut written = 0;
        each_page(record, id, (from, to), |samples| {
            written += samples.len() as u64;
            Ok::<(), ExportError>(samples.iter().try_for_each(|sample| self.push(point, sample))?)
        })?;
        Ok(written)
    }

    /// Writes what is left and gives the target back.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(self) -> std::io::Result<W> {
        let mut out = match self.out {
            Out::Jsonl(out) => out,
            Out::Csv(out) => out.into_inner().map_err(::csv::IntoInnerError::into_error)?,
        };
        out.flush()?;
        Ok(out)
    }
}

/// Reads all samples of a point with record time in `[from, to)`, a bounded number at a time.
pub(super) fn each_page<E: From<StoreError>>(
    record: &dyn RecordView,
    id: PointId,
    (mut from, to): (UtcMillis, UtcMillis),
    mut page: impl FnMut(&[Sample]) -> Result<(), E>,
) -> Result<(), E> {
    while from < to {
        let mut samples = record.scan(id, from, to, PAGE)?;
        let full = samples.len() == PAGE;
        if let (true, Some(last)) = (full, samples.last().map(|sample| sample.record_time)) {
            // Those of the last millisecond may go on beyond the page.
            samples.retain(|sample| sample.record_time < last);
            samples.extend(record.scan(id, last, last.plus(1), SAME_TIME_MAX)?);
            from = last.plus(1);
        }
        page(&samples)?;
        if !full {
            break;
        }
    }
    Ok(())
}

/// A mantissa as the number it stands for; shown with all its decimals.
pub(super) fn exact(mantissa: i64, decimals: u8) -> Decimal {
    Decimal::new(mantissa, i8::try_from(decimals).unwrap_or(i8::MAX).saturating_neg())
}
