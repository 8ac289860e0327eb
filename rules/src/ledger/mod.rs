//! Ledgers of a park: what an energy quota and verified reductions of pollutants give, what projects take, what is left.
//! Entries are only ever added; what was wrong is put right by a further entry that names the old one.
//!
//! In reading order: [`pollutant`] the pollutants; [`entry`] what can be entered; [`balance`] what is left of a pollutant;
//! [`book`] the entries as they stand after corrections and returns; [`mod@admit`] what may be added.
//!
//! Source: 环发〔2014〕197号 for pollutants (reductions are verified, and given once). No official quota ledger of a park is
//! known: that one is a convention of the program.

pub mod admit;
pub mod balance;
pub mod book;
pub mod entry;
mod pollutant;
#[cfg(test)]
mod tests;

pub use admit::{Refusal, admit};
pub use book::Book;
pub use entry::{Body, Draft, Entry};
pub use pollutant::Pollutant;
