//! What decides, as pure functions: given readings, declared figures, dated tables and a time, what follows. No files, no
//! sockets, no clock, no database: the gateway brings the inputs and keeps the results, anybody can repeat a figure.
//!
//! In reading order: [`number`] exact numbers.

pub mod number;

pub use number::{Number, NumberError};
