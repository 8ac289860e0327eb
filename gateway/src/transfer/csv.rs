//! Tables as CSV by RFC 4180: a header, lines that end in CR LF, quotes only where they must be, UTF-8 without a mark.
//!
//! Spreadsheets take a cell that begins with `=`, `+`, `-` or `@` for a formula. Numbers and times that begin so are what
//! they say. Ids of points and devices begin with a letter or digit (`catalogue::text::stable_id`), as do units, names of
//! qualities and the like, so no such cell is ours to guard. Names that people chose go through [`text`].

use std::borrow::Cow;
use std::io::Write;

/// The media type, for HTTP.
pub const MEDIA_TYPE: &str = "text/csv; charset=utf-8; header=present";

/// A writer of such tables; write the header first.
pub fn writer<W: Write>(out: W) -> ::csv::Writer<W> {
    ::csv::WriterBuilder::new().terminator(::csv::Terminator::CRLF).from_writer(out)
}

/// A text that a person chose, so that no spreadsheet runs it: one that begins as a formula does gets an apostrophe.
pub fn text(text: &str) -> Cow<'_, str> {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { Cow::Owned(format!("'{text}")) } else { Cow::Borrowed(text) }
}
