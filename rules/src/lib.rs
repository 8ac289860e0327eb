//! What decides, as pure functions: given readings, declared figures, dated tables and a time, what follows. No files, no
//! sockets, no clock, no database: the gateway brings the inputs and keeps the results, anybody can repeat a figure.
//!
//! In reading order: [`number`] exact numbers; [`emission`] outlets: hours, days, months, limits, compliance events; [`ledger`]
//! energy quota and pollutant totals; [`review`] projects before they are admitted; [`period`] park time, [`factor`]
//! dated factors, [`meter`] from registers to amounts, [`indicator`] what follows from them.

pub mod alarm;
pub mod factor;
pub mod indicator;
pub mod meter;
pub mod number;
pub mod emission;
pub mod ledger;
pub mod review;
pub mod period;

pub use number::{Number, NumberError};
