//! Turns a text payload into readings.

use super::super::json::mapper::excerpt;
use super::super::json::number::decimal;
use super::super::json::time::TimeReader;
use super::super::json::{BuildError, MapError, Mapped, PathStep, ValuePath};
use super::{Fields, TextMap};
use crate::model::{Decimal, Number, PointId, Reading, Reason};

/// Longest text of a number with a decimal comma; a longer one is none.
const NUMBER_BYTES_MAX: usize = 64;

/// A [`TextMap`] with its values, compiled. One per topic.
#[derive(Clone, Debug)]
pub struct TextMapper {
    separator: Option<u8>,
    decimal_comma: bool,
    /// Columns with their points, by column.
    columns: Vec<(usize, PointId)>,
    time: Option<(usize, TimeReader)>,
}

impl TextMapper {
    /// Compiles a mapping. The place of a value is its column, from 0, as a path of one index; the empty path is the first.
    pub fn new(map: &TextMap, values: &[(ValuePath, PointId)]) -> Result<Self, BuildError> {
        let column = |path: &ValuePath| match path.steps.first() {
            Some(PathStep::Index(column)) => *column,
            _ => 0,
        };
        let mut columns: Vec<_> = values.iter().map(|(path, point)| (column(path), *point)).collect();
        columns.sort_by_key(|(column, _)| *column);
        let time = match &map.time {
            Some((column, format)) => Some((*column, TimeReader::new(format)?)),
            None => None,
        };
        Ok(Self { separator: map.separator, decimal_comma: map.decimal_comma, columns, time })
    }

    /// Whether readings get a time from the payload; if not, theirs is the time of arrival.
    pub fn is_timed(&self) -> bool {
        self.time.is_some()
    }

    /// Adds the readings of one payload to `out`, line by line and within a line by column. An empty column is a value that
    /// is not available; a column beyond the end of its line is left out; empty lines are passed over. After an error `out`
    /// is as it was.
    pub fn map(&self, payload: &[u8], out: &mut Vec<Reading>) -> Result<Mapped, MapError> {
        let text = std::str::from_utf8(payload).map_err(|error| MapError::NotUtf8 { offset: error.valid_up_to() })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let first = out.len();
        let result = match self.separator {
            None => self.plain(text, out),
            Some(separator) => text.lines().try_for_each(|line| self.line(text, line, separator, out)),
        };
        let readings = out.len().saturating_sub(first);
        let result = result.and_then(|()| if readings > 0 { Ok(()) } else { Err(self.no_value()) });
        if result.is_err() {
            out.truncate(first);
        }
        result.map(|()| Mapped { readings, timed: self.time.is_some() })
    }

    fn plain(&self, text: &str, out: &mut Vec<Reading>) -> Result<(), MapError> {
        let number = self.number(text.trim_ascii()).ok_or_else(|| not_a_number("the payload", text, text))?;
        out.extend(self.columns.iter().map(|(_, point)| Reading { point: *point, number, source_time: None }));
        Ok(())
    }

    fn line(&self, text: &str, line: &str, separator: u8, out: &mut Vec<Reading>) -> Result<(), MapError> {
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        let first = out.len();
        let mut time = None;
        let mut wanted = self.columns.iter().peekable();
        for (column, field) in Fields::new(line, separator).enumerate() {
            if let Some((at, reader)) = &self.time
                && *at == column
            {
                time = Some(reader.read_text(field).ok_or_else(|| MapError::BadTime {
                    path: name(column),
                    offset: offset(text, field),
                    text: excerpt(field, 0),
                    expected: reader.expected(),
                })?);
            }
            while let Some((_, point)) = wanted.next_if(|(wanted, _)| *wanted == column) {
                let number = self.number(field).ok_or_else(|| not_a_number(&name(column), text, field))?;
                out.push(Reading { point: *point, number, source_time: None });
            }
        }
        match (&self.time, time) {
            (Some((column, _)), None) if out.len() > first => Err(MapError::NoTime { path: name(*column) }),
            (_, time) => {
                out.iter_mut().skip(first).for_each(|reading| reading.source_time = time);
                Ok(())
            }
        }
    }

    /// The number of a text without spaces around it; an empty one is not available.
    fn number(&self, text: &str) -> Option<Number> {
        match text {
            "" | "null" => return Some(Number::Missing(Reason::NotAvailable)),
            "true" => return Some(Number::Exact(Decimal::ONE)),
            "false" => return Some(Number::Exact(Decimal::ZERO)),
            _ => {}
        }
        if !self.decimal_comma {
            return decimal(text.as_bytes());
        }
        let mut buffer = [0u8; NUMBER_BYTES_MAX];
        let buffer = buffer.get_mut(..text.len())?;
        for (to, from) in buffer.iter_mut().zip(text.bytes()) {
            *to = match from {
                b',' => b'.',
                // A point between thousands: which of the two signs is it? None.
                b'.' => return None,
                other => other,
            };
        }
        decimal(buffer)
    }

    fn no_value(&self) -> MapError {
        let wanted: Vec<String> = self.columns.iter().take(5).map(|(column, _)| name(*column)).collect();
        MapError::NoValue { wanted: wanted.join(", ") }
    }
}

/// A column as people count.
fn name(column: usize) -> String {
    format!("column {}", column.saturating_add(1))
}

fn not_a_number(what: &str, text: &str, field: &str) -> MapError {
    MapError::NotANumber { path: what.to_owned(), offset: offset(text, field), text: excerpt(field, 0) }
}

/// Where a piece of `text` begins in it.
fn offset(text: &str, piece: &str) -> usize {
    piece.as_ptr().addr().wrapping_sub(text.as_ptr().addr())
}
