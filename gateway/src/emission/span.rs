//! Between the two calendars: the pure core has periods and times of its own, the rest of the program those of totals.

use parkgate_collector::model::UtcMillis;
use parkgate_rules::emission::{Averaging, Period};

use crate::rollup::{Level, ParkZone};

/// A time as the core has it.
pub const fn to_core(time: UtcMillis) -> parkgate_rules::emission::UtcMillis {
    parkgate_rules::emission::UtcMillis(time.0)
}

/// A time of the core.
pub const fn from_core(time: parkgate_rules::emission::UtcMillis) -> UtcMillis {
    UtcMillis(time.0)
}

/// The level of totals that is as long.
pub const fn level(averaging: Averaging) -> Level {
    match averaging {
        Averaging::Hour => Level::Hour,
        Averaging::Day => Level::Day,
        Averaging::Month => Level::Month,
    }
}

/// The period of the park's calendar that holds a time.
pub fn period_of(zone: &ParkZone, averaging: Averaging, at: UtcMillis) -> Period {
    let period = zone.period_of(level(averaging), at);
    Period { from: to_core(period.start), to: to_core(period.end) }
}

/// Starts of the clock hours that have a time in common with `[from, to)`.
pub fn hours(zone: &ParkZone, from: UtcMillis, to: UtcMillis) -> impl Iterator<Item = UtcMillis> + '_ {
    let first = zone.period_of(Level::Hour, from).start;
    zone.periods(Level::Hour, first, to).map(|period| period.start)
}
