//! Emissions of stacks and waste-water outlets: from readings to hour, day and month figures that can be judged.
//!
//! ```text
//! Series of readings --(gas | water, marks)--> HourFigure --(period)--> PeriodFigure of days, of months
//!                                                  |                         |
//!                                                  +------- limit::judge ----+--> Judgement
//!                                                  |                                 |
//!                                                  +-> mass::fill (R-CEMS)           +-> event::settle --> ComplianceEvent
//! power of production and abatement --(abatement)--------------------------------------^
//! ```
//!
//! Everything is a pure function of a window of readings, so late data and late marks are nothing special: the hours
//! they touch are computed again, then their days, months, judgements and events. Numbers are exact; means and quotients
//! are cut to 30 decimals ([`crate::Number::kept`]).
//!
//! In reading order: [`time`] points in time and periods; [`outlet`] what is configured; [`sample`] what comes in;
//! [`mark`] letters and entered marks; [`convert`] formulae; `minute` from readings to minutes; [`hour`] figures of an
//! hour, computed by `gas` and `water`; [`period`] days and months; [`correction`] what late data changed; [`mass`]
//! mass of hours that were not measured; [`rate`] valid rate and transmission rate; [`limit`] limits and judgements; [`event`]
//! compliance events; [`abatement`] abatement off while production runs.

pub mod time;
pub mod outlet;
pub mod sample;
pub mod mark;
mod check;
mod fixed;
pub mod convert;
pub mod hour;
mod minute;
mod gas;
mod water;
pub mod period;
pub mod correction;
pub mod mass;
pub mod rate;
pub mod limit;
pub mod event;
pub mod abatement;

pub use event::ComplianceEvent;
pub use hour::{HourClass, HourFigure};
pub use limit::{Judgement, Limit, Verdict};
pub use mark::{Letter, Mark};
pub use outlet::Outlet;
pub use period::{MassRate, PeriodFigure};
pub use sample::{Reading, Readings, Series};
pub use time::{Averaging, Period, UtcMillis};

#[cfg(test)]
mod tests;
