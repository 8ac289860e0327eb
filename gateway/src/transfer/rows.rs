//! Rows of a CSV file as values of points.
//!
//! The header names the columns, in any order: `point`; `time_ms` (milliseconds since 1970), else `time` (see
//! [`super::time::parse`]); `value`; and if wanted `unit`, `quality`, `reason`. Others, such as an export has, are passed
//! over: where a value comes from is said once for the whole file, and when it was received is now.
//!
//! `value` is in the point's canonical unit, or in `unit`, which is converted exactly; what has more decimals than the
//! point is rounded half to even and counted. A row of quality `bad` brings no number, only that there is none, and why;
//! but one that was out of range is judged again by the range. `uncertain` is judged again as well.
//!
//! A row is one line: one that goes on over several is refused, since more often than not a quote is missing and it has
//! swallowed its neighbours. One that does not end at all ends the import.

use std::cell::Cell;
use std::collections::HashMap;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use jiff::tz::TimeZone;
use parkgate_collector::catalogue::{Catalogue, Point};
use parkgate_collector::model::decimal::div_half_even;
use parkgate_collector::model::{Decimal, Quality, Reason, Unit, UtcMillis};

use super::{export, time};

/// Longest line of a file, in bytes; a longer one ends the import, since it is no such file.
pub const LINE_BYTES_MAX: usize = 1 << 20;
/// Nothing was measured before 2000-01-01: such a time is in another unit.
const EARLIEST: UtcMillis = UtcMillis(946_684_800_000);
/// Longest row of a CSV file, in bytes.
pub const RECORD_BYTES_MAX: usize = 1 << 16;
/// Unknown names for which the nearest known one is looked for: more than are shown.
const SUGGESTIONS_MAX: u32 = 100;
/// Longest name for which one is looked for, in bytes.
const SUGGESTED_BYTES_MAX: usize = 200;
/// Longest text of a file that a message shows.
const SHOWN_CHARS: usize = 80;

/// A value on its way to the record.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its point.
    pub point: Arc<Point>,
    /// When it was measured.
    pub time: UtcMillis,
    /// In the canonical unit at the point's decimals, or why there is none.
    pub number: Result<Decimal, Reason>,
    /// It had more decimals than its point.
    pub rounded: bool,
}

/// A row that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its line, from 1.
    pub line: u64,
    /// What is wrong and what to do.
    pub why: String,
}

/// The file cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// The header does not do.
    #[error("line 1: {0}")]
    Header(String),
    /// A row does not end.
    #[error(
        "the row that begins in line {line} does not end within {RECORD_BYTES_MAX} bytes: is a quote (\") missing there? \
         Nothing from that line on was read"
    )]
    Record {
        /// Where it begins.
        line: u64,
    },
    /// A line is longer than any that makes sense.
    #[error("line {line} is longer than {LINE_BYTES_MAX} bytes: this is no file of values")]
    Line {
        /// Which.
        line: u64,
    },
}

/// The points that rows can be for, under the names that the file has for them.
pub struct Targets {
    points: HashMap<String, Arc<Point>>,
    /// Nothing may lie beyond.
    pub(super) until: UtcMillis,
    pub(super) zone: TimeZone,
    /// How often a nearest name may still be looked for.
    suggestions: AtomicU32,
}

impl Targets {
    /// The points of a park under their stable ids. Values after `now` or before 2000 are refused.
    pub fn new(catalogue: &Catalogue, now: UtcMillis) -> Self {
        let points = catalogue.points.iter().map(|point| (point.identity.stable_id.clone(), Arc::clone(point))).collect();
        Self { points, until: now, zone: time::zone(catalogue), suggestions: AtomicU32::new(SUGGESTIONS_MAX) }
    }

    /// Adds another name of a point.
    ///
    /// # Errors
    /// The point is not known.
    pub fn add(&mut self, name: &str, point: &str) -> Result<(), String> {
        let point = Arc::clone(self.find(point)?);
        self.points.insert(name.to_owned(), point);
        Ok(())
    }

    /// The point of a name.
    ///
    /// # Errors
    /// What to do about a name that is not known.
    pub fn find(&self, name: &str) -> Result<&Arc<Point>, String> {
        self.points.get(name).ok_or_else(|| {
            let near = self.nearest(name).map(|known| format!("did you mean `{known}`? ")).unwrap_or_default();
            format!("there is no point `{}`; {near}name it in the configuration, or in the file of --point-map", shown(name))
        })
    }

    /// The known name that is most like another, while messages are still shown.
    fn nearest(&self, name: &str) -> Option<&String> {
        if name.len() > SUGGESTED_BYTES_MAX {
            return None;
        }
        self.suggestions.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).ok()?;
        let (distance, known) = self.points.keys().map(|known| (strsim::damerau_levenshtein(known, name), known)).min()?;
        (distance <= (known.len() / 4).max(2)).then_some(known)
    }

    /// Checks a time.
    pub(super) fn check(&self, time: UtcMillis) -> Result<UtcMillis, String> {
        if time < EARLIEST {
            return Err(format!("{time} lies before 2000; is the unit of the times right?"));
        }
        if time > self.until {
            return Err(format!("{time} lies in the future; is the unit or the zone of the times right?"));
        }
        Ok(time)
    }
}

/// Reads names of points from a mapping: CSV with the columns `from` and `point`.
///
/// # Errors
/// Line and what is wrong.
pub fn point_map(file: impl Read) -> Result<Vec<(String, String)>, String> {
    let mut reader = ::csv::ReaderBuilder::new().trim(::csv::Trim::All).from_reader(file);
    let headers = reader.headers().map_err(|error| error.to_string())?.clone();
    let column = |name: &str| headers.iter().position(|header| header.trim_start_matches('\u{feff}') == name);
    let (Some(from), Some(point)) = (column("from"), column("point")) else {
        return Err("line 1: the columns must be named `from` and `point`".into());
    };
    let mut pairs = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| error.to_string())?;
        match (record.get(from), record.get(point)) {
            (Some(from), Some(point)) if !from.is_empty() && !point.is_empty() => pairs.push((from.to_owned(), point.to_owned())),
            _ => return Err(format!("line {}: a name is missing", record.position().map_or(0, ::csv::Position::line))),
        }
    }
    Ok(pairs)
}

/// Where the columns are.
struct Columns {
    point: usize,
    time: Option<usize>,
    time_ms: Option<usize>,
    value: usize,
    unit: Option<usize>,
    quality: Option<usize>,
    reason: Option<usize>,
}

impl Columns {
    fn of(header: &::csv::StringRecord) -> Result<Self, String> {
        let column = |name: &str| header.iter().position(|one| one.trim_start_matches('\u{feff}').trim() == name);
        let missing = |name: &str| format!("there is no column `{name}`: columns are point, time or time_ms, value; unit, quality, reason");
        let (time, time_ms) = (column("time"), column("time_ms"));
        if time.is_none() && time_ms.is_none() {
            return Err(missing("time"));
        }
        Ok(Self {
            point: column("point").ok_or_else(|| missing("point"))?,
            time,
            time_ms,
            value: column("value").ok_or_else(|| missing("value"))?,
            unit: column("unit"),
            quality: column("quality"),
            reason: column("reason"),
        })
    }
}

/// Reads a CSV file to its end, row by row; `visit` says whether to go on. Memory does not depend on its length.
///
/// # Errors
/// The file cannot be read, or it is none with such rows.
pub fn read_csv(file: impl Read, targets: &Targets, mut visit: impl FnMut(Result<Row, Refused>) -> bool) -> Result<(), RowsError> {
    let read = Cell::new(0);
    let mut reader = ::csv::ReaderBuilder::new().flexible(true).from_reader(Guarded { inner: file, read: &read });
    let header = match reader.headers() {
        Ok(header) => header.clone(),
        Err(error) => return Err(failed(error, 1)),
    };
    let columns = Columns::of(&header).map_err(RowsError::Header)?;
    let mut record = ::csv::StringRecord::new();
    loop {
        let line = reader.position().line();
        read.set(0);
        let row = match reader.read_record(&mut record) {
            Ok(false) => return Ok(()),
            Ok(true) if record.iter().any(|field| field.contains('\n')) => {
                let last = reader.position().line().saturating_sub(1).max(line);
                Err(format!("the row goes on to line {last}, and nothing of it was read; is a quote (\") missing?"))
            }
            Ok(true) => row(&record, &columns, targets),
            Err(error) if matches!(error.kind(), ::csv::ErrorKind::Utf8 { .. }) => Err("this is no UTF-8; save the file as UTF-8".into()),
            Err(error) => return Err(failed(error, line)),
        };
        let line = record.position().map_or(line, ::csv::Position::line);
        if !visit(row.map_err(|why| Refused { line, why })) {
            return Ok(());
        }
    }
}

fn failed(error: ::csv::Error, line: u64) -> RowsError {
    let text = error.to_string();
    match error.into_kind() {
        ::csv::ErrorKind::Io(error) if error.get_ref().is_some_and(|inner| inner.is::<Endless>()) => RowsError::Record { line },
        ::csv::ErrorKind::Io(error) => RowsError::Io(error),
        _ => RowsError::Header(text),
    }
}

fn row(record: &::csv::StringRecord, columns: &Columns, targets: &Targets) -> Result<Row, String> {
    let field = |column: usize| record.get(column).map(str::trim).unwrap_or_default();
    let given = |column: Option<usize>| column.map(field).filter(|text| !text.is_empty());
    let point = targets.find(field(columns.point))?;
    let time = match (given(columns.time_ms), given(columns.time)) {
        (Some(text), _) => text.parse().map(UtcMillis).map_err(|_| format!("`{}` is no number of milliseconds", shown(text)))?,
        (None, Some(text)) => time::parse(text, &targets.zone)?,
        (None, None) => return Err(format!("there is no time; {}", time::FORMS)),
    };
    let time = targets.check(time)?;
    let quality = given(columns.quality).unwrap_or(Quality::Good.name());
    let quality = Quality::ALL
        .iter()
        .find(|one| one.name() == quality)
        .ok_or_else(|| format!("`{}` is no quality; write good, uncertain or bad", shown(quality)))?;
    let reason = match given(columns.reason) {
        None => Reason::None,
        Some(text) => *Reason::ALL.iter().find(|one| one.name() == text).ok_or_else(|| {
            let names: Vec<&str> = Reason::ALL.iter().map(|one| one.name()).collect();
            format!("`{}` is no reason; write one of {}", shown(text), names.join(", "))
        })?,
    };
    let missing = if matches!(reason, Reason::None | Reason::Range) { Reason::NotAvailable } else { reason };
    let (number, rounded) = match (given(Some(columns.value)), quality) {
        (None, Quality::Bad) => (Err(missing), false),
        (None, _) => return Err("there is no value; if there was none, say quality bad".into()),
        (Some(_), Quality::Bad) if reason != Reason::Range => (Err(missing), false),
        (Some(text), _) => {
            let (number, rounded) = number(text, given(columns.unit), point)?;
            (Ok(number), rounded)
        }
    };
    Ok(Row { point: Arc::clone(point), time, number, rounded })
}

/// A number in the canonical unit at the decimals of its point, and whether it was rounded.
pub(super) fn number(text: &str, unit: Option<&str>, point: &Point) -> Result<(Decimal, bool), String> {
    let number = Decimal::parse(text.as_bytes()).map_err(|error| error.to_string())?;
    let (canonical, decimals) = (point.identity.unit, point.identity.decimals);
    let unit = match unit {
        None => canonical,
        Some(text) => Unit::parse(text).ok_or_else(|| format!("`{}` is no known unit; the point's is {canonical}", shown(text)))?,
    };
    let does_not_fit = || format!("`{}` does not fit {decimals} decimals in {canonical}", shown(text));
    if unit == canonical {
        let mantissa = number.to_mantissa(decimals).ok_or_else(does_not_fit)?;
        let exact = export::exact(mantissa, decimals);
        return Ok((exact, exact.cmp_value(number).is_ne()));
    }
    let conversion = unit.conversion_to(canonical).ok_or_else(|| format!("{unit} cannot be converted to {canonical}, the point's unit"))?;
    // number * factor + summand as one fraction.
    let convert = || {
        let power = 10i128.checked_pow(u32::from(number.exponent.unsigned_abs()))?;
        let (up, down) = if number.exponent >= 0 { (power, 1) } else { (1, power) };
        let scale = 10i128.checked_pow(u32::from(decimals))?;
        let product = i128::from(number.mantissa).checked_mul(up)?.checked_mul(conversion.numerator)?;
        let product_divisor = conversion.denominator.checked_mul(down)?;
        let numerator = product
            .checked_mul(conversion.offset_denominator)?
            .checked_add(conversion.offset_numerator.checked_mul(product_divisor)?)?
            .checked_mul(scale)?;
        let divisor = product_divisor.checked_mul(conversion.offset_denominator)?;
        let mantissa = i64::try_from(div_half_even(numerator, divisor)?).ok()?;
        Some((export::exact(mantissa, decimals), numerator.checked_rem(divisor)? != 0))
    };
    convert().ok_or_else(does_not_fit)
}

/// The beginning of a text of a file.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).flat_map(char::escape_debug).collect()
}

/// A reader that refuses a row without an end, so that no file fills the memory.
struct Guarded<'a, R> {
    inner: R,
    /// Bytes read since the row began, but for what lay ready then.
    read: &'a Cell<usize>,
}

#[derive(Debug, thiserror::Error)]
#[error("a row does not end")]
struct Endless;

impl<R: Read> Read for Guarded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.read.get() > RECORD_BYTES_MAX {
            return Err(std::io::Error::other(Endless));
        }
        let read = self.inner.read(buffer)?;
        self.read.set(self.read.get().saturating_add(read));
        Ok(read)
    }
}
