//! Totals per hour, day, month and year in the park's zone: cumulative registers for counters, means for gauges,
//! durations for states. Derived from the record; the rules are named R-DELTA, R-EXCHANGE, R-BOUND, R-GAP and R-EST.
//!
//! In reading order: [`total`] what a total is and who may ask for it.

pub mod total;

pub use total::{Amount, CounterTotal, Figures, Flags, GaugeTotal, Level, Period, StateTotal, Total, TotalsView};
