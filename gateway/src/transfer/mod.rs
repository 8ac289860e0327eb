//! The record out to files and in from files.
//!
//! In reading order: [`csv`] how tables look as CSV; [`time`] times as people and files write them; [`export`] samples as
//! rows; [`rows`] rows of a file as values of points, [`line_protocol`] those of a database; [`import`] values to the
//! record, by the path that readings take; [`hand`] who read a value by hand.

pub mod csv;
pub mod time;
pub mod export;
pub mod rows;
pub mod line_protocol;
pub mod import;
pub mod hand;
#[cfg(test)]
mod tests;
