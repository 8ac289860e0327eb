//! What the catalogue says about a point, as far as totals need it.

use std::sync::Arc;

use parkgate_collector::catalogue::{Catalogue, Point, PointSource};
use parkgate_collector::model::{Kind, Medium, PointId, Quality, Sample, UtcMillis};
use parkgate_collector::normalise::{CounterRule, NormaliseSettings};

use super::total::{CounterTotal, Figures, GaugeTotal, StateTotal};

/// A value holds, and a counter has no gap, for so many of the point's expected intervals.
pub const HOLD_INTERVALS: i64 = 3;
/// And for so long where no interval is known: one hour.
pub const HOLD_DEFAULT_MS: i64 = 3_600_000;

/// The rules of one point.
#[derive(Clone, Copy, Debug)]
pub struct PointRule {
    /// Which.
    pub point: PointId,
    /// Counter, gauge or state.
    pub kind: Kind,
    /// Decimals of its mantissas.
    pub decimals: u8,
    /// R-DELTA.
    pub counter: CounterRule,
    /// Whether its registers are classified as they come: those of a formula are not.
    pub classified: bool,
    /// Longest time that a gauge's or state's value holds without a next one; two registers further apart are a gap
    /// (R-GAP). [`HOLD_INTERVALS`] intervals, [`HOLD_DEFAULT_MS`] where none is known.
    pub hold_ms: i64,
    /// Whether an interval is known: without one there is no completeness.
    pub interval_known: bool,
}

impl PointRule {
    /// The rules of a configured point.
    pub fn new(point: &Point) -> Self {
        let interval = point.interval_ms.filter(|&interval| interval > 0);
        Self {
            point: point.id,
            kind: point.identity.kind,
            decimals: point.identity.decimals,
            counter: CounterRule::new(point),
            classified: point.identity.kind == Kind::Counter && !matches!(point.source, PointSource::Formula(_)),
            hold_ms: interval.map_or(HOLD_DEFAULT_MS, |interval| i64::from(interval).saturating_mul(HOLD_INTERVALS)),
            interval_known: interval.is_some(),
        }
    }

    /// What of the rule decides how registers that fall are counted, as text: suspect hours counted by another one are
    /// counted again. The interval is none of it: hours that are closed stay as they are with another one.
    pub fn fingerprint(&self) -> String {
        let Self { decimals, counter, .. } = self;
        let modulus = counter.modulus().map_or_else(|| "-".into(), |modulus| modulus.to_string());
        let rate = counter.rate_per_hour().map_or_else(|| "-".into(), |(top, bottom)| format!("{top}/{bottom}"));
        format!("modulus {modulus} rate {rate} decimals {decimals}")
    }

    /// Whether hours that a text of [`Self::fingerprint`] stands for were counted by this rule. Older texts had the time that
    /// a value holds in them.
    pub fn has_counted(&self, fingerprint: &str) -> bool {
        let without_hold = match fingerprint.split_once(" hold ") {
            Some((before, after)) => format!("{before} {}", after.split_once(' ').map_or("", |(_, rest)| rest)),
            None => fingerprint.to_owned(),
        };
        without_hold == self.fingerprint()
    }

    /// Figures of a period without any.
    pub fn no_figures(&self) -> Figures {
        match self.kind {
            Kind::Counter => Figures::Counter(CounterTotal::default()),
            Kind::Gauge => Figures::Gauge(GaugeTotal::default()),
            Kind::State => Figures::State(StateTotal::default()),
        }
    }
}

/// The points that have totals: all but the gateway's own metrics, which are for looking at, and those of devices whose
/// messages are only passed on, of which this gateway may have a part.
pub fn has_totals(catalogue: &Catalogue) -> impl Iterator<Item = &Arc<Point>> {
    let devices = catalogue.devices.iter().filter(|device| device.address.has_totals());
    devices.flat_map(|device| &device.points).filter(|point| point.medium != Medium::Gateway)
}

/// Before this no clock is believed: the park's commissioning, at least the year 2000.
pub fn not_before(catalogue: &Catalogue) -> UtcMillis {
    NormaliseSettings::default().of_park(&catalogue.park).not_before
}

/// Whether a clock that started in 1970 stamped a sample: it belongs to no hour, and nothing is due for it. Once the time is
/// known it comes again.
pub fn is_timeless(sample: &Sample, not_before: UtcMillis) -> bool {
    let is_before = sample.received_time < not_before && sample.record_time < not_before;
    is_before && sample.status.quality() == Quality::Bad
}

/// The number of a sample that counts: one that is there and not bad.
pub fn counts(sample: &Sample) -> Option<i64> {
    sample.number().filter(|_| sample.status.quality() != Quality::Bad)
}
