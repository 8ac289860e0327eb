//! Totals per hour, day, month and year in the park's zone: cumulative registers for counters, means for gauges,
//! durations for states. Derived from the record; the rules are named R-DELTA, R-EXCHANGE, R-BOUND, R-GAP and R-EST.
//!
//! In reading order: [`total`] what a total is and who may ask for it; [`zone`] the park's calendar; [`rule`] what the
//! catalogue says about a point; [`partial`] what is kept of a period and how longer ones are made; [`count`] from
//! samples to hours, with [`counter`], [`gauge`] and [`state`]; [`scan`] the samples that hours need; [`view`] answers.

pub mod total;
pub mod zone;
pub mod rule;
pub mod partial;
pub mod count;
pub mod counter;
pub mod gauge;
pub mod state;
pub mod scan;
pub mod view;
#[cfg(test)]
mod tests;

pub use total::{Amount, CounterTotal, Figures, Flags, GaugeTotal, Level, Period, StateTotal, Total, TotalsView};
pub use view::Totals;
pub use zone::ParkZone;
