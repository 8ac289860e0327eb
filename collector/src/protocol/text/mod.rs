//! Payloads that are text, not JSON: one plain number, or lines of columns (CSV). Pure.
//!
//! Here is the declared form, as the catalogue holds it; [`TextMapper`] is what it compiles to. Numbers and times follow the
//! rules of JSON payloads (`super::json`), but for the decimal sign. Nothing here panics on any input, allocates per value,
//! or goes through binary floating point.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

mod fields;
mod mapper;
#[cfg(test)]
mod tests;

pub use fields::Fields;
pub use mapper::TextMapper;

use super::json::TimeFormat;

/// What a text payload looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextMap {
    /// ASCII character between columns; `None`: the payload is one number.
    pub separator: Option<u8>,
    /// The decimal sign is a comma, not a point.
    pub decimal_comma: bool,
    /// Column of the time, from 0, and how it is written; `None`: received time.
    pub time: Option<(usize, TimeFormat)>,
}
