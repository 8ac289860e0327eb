//! A summary as a workbook: one sheet for each table, in their order, with a frozen head and numbers as numbers.
//!
//! A number with more digits than a spreadsheet keeps (15) is written as text, so that it is shown as it is. The same
//! summary makes the same bytes: times inside are those of the summary.

use std::collections::HashSet;

use rust_xlsxwriter::{DocProperties, ExcelDateTime, Format, FormatAlign, FormatBorder, Workbook, Worksheet, XlsxError};

use super::sections::{Cell, Section, sections};
use super::summary::Summary;

/// Media type of a workbook.
pub const MEDIA_TYPE: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
/// Digits that a spreadsheet keeps of a number.
const DIGITS_MAX: usize = 15;
/// Most characters of a sheet's name.
const NAME_MAX: usize = 31;
/// Most characters of a cell (ECMA-376 as Excel keeps it).
const CELL_MAX: usize = 32_767;
/// Number formats by decimals; with more the rest is not shown.
const FORMATS: [&str; 8] = ["0", "0.0", "0.00", "0.000", "0.0000", "0.00000", "0.000000", "0.0000000"];
/// A4.
const PAPER: u8 = 9;
/// Widths of columns, in characters.
const WIDTH: std::ops::RangeInclusive<usize> = 8..=60;

/// The bytes of the file.
///
/// # Errors
/// When there are more lines than a sheet has.
pub fn write(summary: &Summary) -> Result<Vec<u8>, XlsxError> {
    let mut workbook = Workbook::new();
    let made_at: i64 = summary.head.made_at.parse::<jiff::Timestamp>().map_or(0, |time| time.as_second());
    let properties = DocProperties::new()
        .set_title(format!("{} {}", summary.schema, summary.head.outlet.id))
        .set_company(&summary.head.park.id)
        .set_author(&summary.head.software)
        .set_creation_datetime(&ExcelDateTime::from_timestamp(made_at)?);
    workbook.set_properties(&properties);
    let formats = Formats::new();
    let mut names = HashSet::new();
    for section in sections(summary) {
        let sheet = workbook.add_worksheet();
        sheet.set_name(name(&section.id, &mut names))?;
        write_sheet(sheet, &section, &formats)?;
    }
    workbook.save_to_buffer()
}

struct Formats {
    head: Format,
    text: Format,
    numbers: Vec<Format>,
}

impl Formats {
    fn new() -> Self {
        let numbers = FORMATS.iter().map(|format| Format::new().set_num_format(*format).set_align(FormatAlign::Top)).collect();
        let head = Format::new().set_bold().set_text_wrap().set_border_bottom(FormatBorder::Thin).set_align(FormatAlign::Top);
        // Format 49 is "@": a text that looks like a number or formula stays a text when somebody edits it.
        Self { head, text: Format::new().set_num_format_index(49).set_align(FormatAlign::Top), numbers }
    }

    fn number(&self, decimals: usize) -> &Format {
        self.numbers.get(decimals).or(self.numbers.last()).unwrap_or(&self.text)
    }
}

fn write_sheet(sheet: &mut Worksheet, section: &Section, formats: &Formats) -> Result<(), XlsxError> {
    sheet.set_freeze_panes(1, 0)?.set_repeat_rows(0, 0)?.set_landscape().set_paper_size(PAPER).set_print_fit_to_pages(1, 0);
    for (place, column) in (0u16..).zip(&section.columns) {
        let heading = column.heading();
        let cells = section.lines.iter().filter_map(|line| line.get(usize::from(place))).map(|cell| width(cell.text()));
        let widest = cells.max().unwrap_or(0).max(width(&heading) / 2).clamp(*WIDTH.start(), *WIDTH.end());
        sheet.set_column_width(place, f64::from(u32::try_from(widest).unwrap_or(0)) + 1.0)?;
        sheet.write_string_with_format(0, place, heading, &formats.head)?;
    }
    if section.lines.is_empty() {
        sheet.write_string_with_format(1, 0, section.nothing.both(), &formats.text)?;
    }
    for (row, line) in (1u32..).zip(&section.lines) {
        for (place, cell) in (0u16..).zip(line) {
            match cell {
                Cell::Empty => {}
                Cell::Number(text) if is_kept(text) => {
                    let number: f64 = text.parse().unwrap_or(f64::NAN);
                    sheet.write_number_with_format(row, place, number, formats.number(cell.decimals()))?;
                }
                Cell::Text(text) | Cell::Number(text) => {
                    let text: String = text.chars().take(CELL_MAX).collect();
                    sheet.write_string_with_format(row, place, text, &formats.text)?;
                }
            }
        }
    }
    Ok(())
}

/// Whether a spreadsheet keeps all digits of a number.
fn is_kept(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    digits <= DIGITS_MAX && text.parse::<f64>().is_ok()
}

/// Characters that a text takes; those of Chinese are twice as wide.
fn width(text: &str) -> usize {
    text.chars().map(|letter| if letter.is_ascii() { 1 } else { 2 }).sum()
}

/// A name that a sheet may have and none has yet.
fn name(id: &str, names: &mut HashSet<String>) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() || "-_.".contains(letter) { letter } else { '_' };
    let wanted: String = id.chars().map(plain).take(NAME_MAX).collect();
    let numbered = (2u32..).map(|number| {
        let end = format!("~{number}");
        let begin: String = wanted.chars().take(NAME_MAX.saturating_sub(end.len())).collect();
        format!("{begin}{end}")
    });
    // Names of sheets do not differ by the size of letters.
    let found = std::iter::once(wanted.clone()).chain(numbered).find(|name| names.insert(name.to_lowercase()));
    found.unwrap_or(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sheets_have_names_that_they_may_have() {
        let mut names = HashSet::new();
        let long = format!("rows_{}", "x".repeat(40));
        let made: Vec<String> = ["rows_so2", "rows_SO2", "rows_a/b*?", &long, &long].iter().map(|id| name(id, &mut names)).collect();
        assert_eq!(made[..3], ["rows_so2", "rows_SO2~2", "rows_a_b__"]);
        assert!(made.iter().all(|name| name.chars().count() <= NAME_MAX) && made[3] != made[4], "{made:?}");
    }

    #[test]
    fn numbers_that_a_spreadsheet_would_change_stay_texts() {
        assert!(is_kept("-5.2") && is_kept("123456789012.345"));
        assert!(!is_kept("50.00000000000000000001") && !is_kept("") && !is_kept("1.2.3"));
    }
}
