//! The emission summary for the environmental regulator: what an outlet emitted, what of it was above a limit, what was
//! not counted and why, in forms that people and programs read, and as a signed package that anybody can check.
//!
//! [`ask`] which rows are asked for; [`summary`] what is said; [`mod@make`] gathers what is known, [`mod@fill`] makes it of figures, limits, marks, events and corrections, with [`parameters`],
//! [`reasons`], [`mod@lines`] and [`words`]; [`sections`] it as tables, of which [`csv`], [`xlsx`] and [`page`] are made; [`key`] what packages are signed with; [`archive`] their outside;
//! [`package`] their list and how it is checked. Reads what it is given; keeps nothing but the key.

pub mod ask;
pub mod summary;
pub mod make;
pub mod fill;
mod parameters;
mod reasons;
mod lines;
mod words;
pub mod sections;
pub mod csv;
pub mod xlsx;
pub mod page;
pub mod key;
pub mod archive;
pub mod package;
#[cfg(test)]
mod tests;

pub use fill::{Builder, Frame, Report};
pub use key::{PublicKey, ReportKey};
pub use make::{Asked, make};
pub use summary::Summary;

use serde::{Deserialize, Serialize};

use package::About;

/// In which form a summary is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// One JSON object; `parkgate report schema` describes it.
    #[default]
    Json,
    /// CSV.
    Csv,
    /// A workbook.
    Xlsx,
    /// A page to be printed.
    Html,
    /// All of them in a ZIP file with a signed list.
    Package,
}

/// A summary in one form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its media type.
    pub media_type: &'static str,
    /// A name for the file.
    pub name: String,
}

/// A summary could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// As JSON.
    #[error("the summary cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// As CSV.
    #[error("the summary cannot be written as CSV: {0}")]
    Csv(#[from] ::csv::Error),
    /// As a workbook.
    #[error("the summary cannot be written as a workbook: {0}")]
    Xlsx(#[from] rust_xlsxwriter::XlsxError),
    /// As a package.
    #[error(transparent)]
    Archive(#[from] archive::ArchiveError),
    /// The key is not usable.
    #[error(transparent)]
    Key(#[from] key::KeyError),
}

/// Writes a summary in a form. `key`: where the key comes from; asked for only by a package. Blocks: a long range takes
/// a second or two.
///
/// # Errors
/// When it is too large for the form, or the key cannot be used.
pub fn write(report: &Report, form: Form, key: impl FnOnce() -> Result<ReportKey, key::KeyError>) -> Result<Written, WriteError> {
    let summary = &report.summary;
    let (bytes, media_type, end) = match form {
        Form::Json => (json(summary)?, "application/json", "json"),
        Form::Csv => (csv::write(summary)?, crate::transfer::csv::MEDIA_TYPE, "csv"),
        Form::Xlsx => (xlsx::write(summary)?, xlsx::MEDIA_TYPE, "xlsx"),
        Form::Html => (page::write(summary).into_bytes(), page::MEDIA_TYPE, "html"),
        Form::Package => (packed(report, &key()?)?, package::MEDIA_TYPE, "zip"),
    };
    Ok(Written { bytes, media_type, name: format!("{}.{end}", file_name(summary)) })
}

/// A summary as JSON, indented, with a line feed at its end.
///
/// # Errors
/// Never but for want of memory.
pub fn json(summary: &Summary) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = serde_json::to_vec_pretty(summary)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// The JSON Schema of [`json`].
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Summary).to_value()
}

/// All forms, what they rest on line by line, and the signed list.
fn packed(report: &Report, key: &ReportKey) -> Result<Vec<u8>, WriteError> {
    let Report { summary, events } = report;
    let head = &summary.head;
    let about = About {
        park: head.park.id.clone(),
        outlet: head.outlet.id.clone(),
        period: head.period.clone(),
        from: head.from.clone(),
        to: head.to.clone(),
        made_at: head.made_at.clone(),
        software: head.software.clone(),
    };
    let files = [
        ("summary.json", json(summary)?),
        ("summary.csv", csv::write(summary)?),
        ("summary.xlsx", xlsx::write(summary)?),
        ("summary.html", page::write(summary).into_bytes()),
        ("parameters.jsonl", lines(&head.parameters)?),
        ("limits.jsonl", lines(&summary.limits)?),
        ("marks.jsonl", lines(&summary.marks)?),
        ("corrections.jsonl", lines(&summary.corrections)?),
        ("events.jsonl", lines(events)?),
    ];
    Ok(package::build(about, &files, key)?)
}

/// One object a line.
fn lines<T: Serialize>(items: &[T]) -> Result<Vec<u8>, serde_json::Error> {
    let mut all = Vec::new();
    for item in items {
        serde_json::to_writer(&mut all, item)?;
        all.push(b'\n');
    }
    Ok(all)
}

/// `parkgate-emissions-OUTLET-PERIOD-FROM`, of characters that a file may be named with anywhere.
fn file_name(summary: &Summary) -> String {
    let head = &summary.head;
    let day = head.from.get(..10).unwrap_or_default();
    let plain = |letter: char| if letter.is_ascii_alphanumeric() || "-_".contains(letter) { letter } else { '-' };
    format!("parkgate-emissions-{}-{}-{day}", head.outlet.id, head.period).chars().map(plain).collect()
}
