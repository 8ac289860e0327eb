//! A summary as one CSV file by RFC 4180: UTF-8 with a byte order mark (spreadsheets take it for another encoding without
//! one), CR LF, times as RFC 3339 with offset, numbers as plain decimals.
//!
//! All tables follow each other. The first column names the table (`head`, `above_limit_not_counted`, `exceedances`,
//! `rows_<factor>`, ...); its first line is its header, with units in brackets. Lines are filled up to the same number
//! of fields. A text that a spreadsheet would take for a formula gets an apostrophe in front.

use super::sections::{Cell, sections};
use super::summary::Summary;
use crate::transfer::csv as table;

/// Byte order mark of UTF-8.
const MARK: &[u8] = "\u{feff}".as_bytes();

/// The bytes of the file.
///
/// # Errors
/// Never but for want of memory.
pub fn write(summary: &Summary) -> Result<Vec<u8>, ::csv::Error> {
    let sections = sections(summary);
    let fields = sections.iter().map(|section| section.columns.len()).max().unwrap_or(0);
    let mut writer = table::writer(MARK.to_vec());
    let mut line = |id: &str, cells: &mut dyn Iterator<Item = String>| {
        let mut record = vec![id.to_owned()];
        record.extend(cells);
        record.resize(fields.saturating_add(1), String::new());
        writer.write_record(&record)
    };
    for section in &sections {
        line(&section.id, &mut section.columns.iter().map(|column| table::text(&column.heading()).into_owned()))?;
        if section.lines.is_empty() {
            line(&section.id, &mut std::iter::once(section.nothing.both()))?;
        }
        for cells in &section.lines {
            line(&section.id, &mut cells.iter().map(cell))?;
        }
    }
    writer.into_inner().map_err(|error| error.into_error().into())
}

/// Numbers stay numbers, also negative ones; texts are guarded.
fn cell(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) => table::text(text).into_owned(),
        other => other.text().to_owned(),
    }
}
