//! Inputs of the pure core from the live park: totals of meters, declarations, piles, values that came.
//!
//! A meter's total over a period is the one of `/api/v1/totals`: what R-EST adds for a lost tail goes in and counts as
//! estimated; what R-BOUND and an open R-GAP put into the period is reported as interpolated. Registers that an explanation
//! ends at are read from the record, and only when one is asked for.

use jiff::Timestamp;
use jiff::civil::Date;
use parkgate_collector::catalogue::{Catalogue, Point};
use parkgate_collector::model::UtcMillis;
use parkgate_rules::Number;
use parkgate_rules::factor::FactorRow;
use parkgate_rules::indicator::inputs::{self as core, Flag, Inputs, MeterTotal, Reading, ValueCount};
use parkgate_rules::period::{Moment, Period, PeriodKind, Zone};

use super::topology::{Meter, Topology, TopologySettings};
use crate::rollup::{Amount, CounterTotal, Figures, Level, ParkZone, Total, TotalsView, scan};
use crate::store::{RecordView, StoreError};

/// What the live park is read from.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// What is configured.
    pub catalogue: &'a Catalogue,
    /// `[gateway.topology]`.
    pub settings: &'a TopologySettings,
    /// Which meter stands where.
    pub topology: &'a Topology,
    /// Factor rows of the park's own files.
    pub factors: &'a [FactorRow],
    /// Totals per period.
    pub totals: &'a dyn TotalsView,
    /// The record.
    pub record: &'a dyn RecordView,
    /// The park's calendar.
    pub zone: &'a ParkZone,
    /// The time.
    pub now: UtcMillis,
}

impl Source<'_> {
    /// Park, enterprises, meters and own factors: what is there before any reading.
    pub fn frame(&self, periods: Vec<Period>) -> Inputs {
        let names = |names: &parkgate_collector::catalogue::Names| names.zh.clone();
        Inputs {
            park: core::Park {
                name: names(&self.catalogue.park.name),
                zone: self.core_zone(),
                region: self.settings.region.clone(),
                loss_share_max: self.settings.loss_share_max.clone(),
                ..core::Park::default()
            },
            periods,
            as_of: Some(moment(self.now)),
            enterprises: self
                .catalogue
                .enterprises
                .iter()
                .map(|enterprise| core::Enterprise {
                    id: enterprise.id.clone(),
                    name: names(&enterprise.name),
                    ..core::Enterprise::default()
                })
                .collect(),
            meters: self.topology.meters.iter().map(meter).collect(),
            factors: self.factors.to_vec(),
            ..Inputs::default()
        }
    }

    /// The park's zone as the core knows it.
    pub fn core_zone(&self) -> Zone {
        self.catalogue.park.time_zone.parse().unwrap_or_default()
    }

    /// The bounds of a period in the park's zone; `None` for an hour.
    pub fn bounds(&self, period: Period) -> Option<crate::rollup::Period> {
        let level = level(period)?;
        Some(self.totals.period_of(level, self.start_of(period.first_day())?))
    }

    fn start_of(&self, day: Date) -> Option<UtcMillis> {
        self.zone.read(&day.to_string())
    }

    /// The total of a meter over a period; `None` when nothing is known of it.
    ///
    /// # Errors
    /// When totals cannot be read.
    pub fn meter_total(&self, meter: &Meter, period: Period) -> Result<Option<MeterTotal>, StoreError> {
        let Some(bounds) = self.bounds(period) else { return Ok(None) };
        let totals = self.totals.totals(meter.point.id, bounds.level, bounds.start, bounds.start.plus(1))?;
        let Some(Total { figures: Figures::Counter(counter), completeness_ppm, .. }) = totals.first() else { return Ok(None) };
        let Some(measured) = counter.amount else { return Ok(None) };
        let (measured, tail) = (number(measured), counter.tail_estimate.map_or_else(Number::zero, number));
        let incomplete = match counter.flags.suspect {
            true => Some("the register fell, and not by wrapping: what was used between the two readings is not known".to_owned()),
            false => self.begins_within(&meter.point, bounds)?,
        };
        Ok(Some(MeterTotal {
            meter: meter.point.identity.stable_id.clone(),
            period,
            amount: Some(measured + &tail),
            flags: flags(counter),
            estimated: tail,
            interpolated: number(counter.interpolated) + number(counter.estimated),
            completeness: completeness_ppm.map(|ppm| Number::decimal(i128::from(ppm), 6)),
            incomplete,
            readings: Vec::new(),
        }))
    }

    /// Says so when a point's record begins within a period: what was before is not known.
    fn begins_within(&self, point: &Point, bounds: crate::rollup::Period) -> Result<Option<String>, StoreError> {
        let of = |level, from: UtcMillis, to: UtcMillis| self.totals.totals(point.id, level, from, to);
        let before = self.totals.period_of(Level::Day, bounds.start.plus(-1)).start;
        if !of(Level::Day, before, bounds.start)?.is_empty() {
            return Ok(None);
        }
        let Some(first) = of(Level::Day, bounds.start, bounds.end)?.into_iter().next() else { return Ok(None) };
        let hours = of(Level::Hour, first.period.start, first.period.end)?;
        let begin = hours.first().map_or(first.period.start, |hour| hour.period.start);
        // A first reading within the first hour of the period is as good as one on its boundary.
        if begin <= bounds.start {
            return Ok(None);
        }
        Ok(Some(format!("metered only from {} on", self.zone.write(begin))))
    }

    /// The register readings that a meter's total rests on: those next to the period's boundaries.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn readings(&self, point: &Point, period: Period) -> Result<Vec<Reading>, StoreError> {
        let Some(bounds) = self.bounds(period) else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for boundary in [bounds.start, bounds.end] {
            let after = scan::neighbour_after(self.record, point.id, boundary)?;
            let is_on = after.is_some_and(|sample| sample.record_time == boundary);
            let before = if is_on { None } else { scan::neighbour_before(self.record, point.id, boundary)? };
            found.extend(before.into_iter().chain(after));
        }
        found.sort_by_key(|sample| sample.record_time);
        found.dedup_by_key(|sample| sample.record_time);
        let decimals = u32::from(point.identity.decimals);
        let reading = |sample: &parkgate_collector::model::Sample| {
            let register = Number::decimal(i128::from(sample.number()?), decimals);
            Some(Reading { time: moment(sample.record_time), register })
        };
        Ok(found.iter().filter_map(reading).collect())
    }

    /// Hours of a period that are over, and those of them in which a value of the point came.
    ///
    /// A value is due for every hour, as on-line monitoring of key energy users asks of an hourly point (24 a day).
    ///
    /// # Errors
    /// When totals cannot be read.
    pub fn values(&self, point: &Point, period: Period) -> Result<Option<ValueCount>, StoreError> {
        let Some(bounds) = self.bounds(period) else { return Ok(None) };
        let end = bounds.end.min(self.totals.period_of(Level::Hour, self.now).start);
        if end <= bounds.start {
            return Ok(None);
        }
        let hours = self.totals.totals(point.id, Level::Hour, bounds.start, end)?;
        let got = hours.iter().filter(|hour| hour.samples > 0).count();
        let due = self.zone.periods(Level::Hour, bounds.start, end).count();
        let count = |hours: usize| Number::from(i64::try_from(hours).unwrap_or(i64::MAX));
        Ok(Some(ValueCount { point: point.identity.stable_id.clone(), period, got: count(got), due: count(due) }))
    }
}

/// The level of totals that a period is one of; `None` for an hour.
pub fn level(period: Period) -> Option<Level> {
    match period.kind() {
        PeriodKind::Hour => None,
        PeriodKind::Day => Some(Level::Day),
        PeriodKind::Month => Some(Level::Month),
        PeriodKind::Year => Some(Level::Year),
    }
}

/// The core's period of a total's.
pub fn period_of(period: crate::rollup::Period, zone: &ParkZone) -> Option<Period> {
    let text = zone.write(period.start);
    let length = match period.level {
        Level::Hour => 13,
        Level::Day => 10,
        Level::Month => 7,
        Level::Year => 4,
    };
    text.get(..length)?.parse().ok()
}

fn meter(meter: &Meter) -> core::Meter {
    core::Meter {
        id: meter.point.identity.stable_id.clone(),
        energy: meter.energy.clone(),
        place: meter.place,
        enterprise: meter.enterprise.clone(),
        parent: meter.parent.clone(),
        unit: Some(meter.point.identity.unit.symbol().to_owned()),
        modulus: None,
        rate_max: None,
        readings_every_minutes: None,
        segments: Vec::new(),
        readings: Vec::new(),
    }
}

fn flags(counter: &CounterTotal) -> Vec<Flag> {
    let flags = counter.flags;
    [
        (Flag::Rollover, flags.rollover),
        (Flag::BoundaryInterpolated, flags.boundary_interpolated),
        (Flag::MeterExchanged, flags.meter_exchanged),
        (Flag::TailEstimated, flags.tail_estimated),
        (Flag::Suspect, flags.suspect),
    ]
    .into_iter()
    .filter_map(|(flag, set)| set.then_some(flag))
    .collect()
}

/// An amount as an exact number.
pub fn number(amount: Amount) -> Number {
    Number::decimal(amount.mantissa, u32::from(amount.decimals))
}

/// An instant as the core knows it.
pub fn moment(time: UtcMillis) -> Moment {
    Moment::At(Timestamp::from_millisecond(time.0).unwrap_or(Timestamp::UNIX_EPOCH))
}
