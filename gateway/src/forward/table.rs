//! Lines of one sink: which points go there and what their lines begin with. Pure.
//!
//! A sample without a number, or of bad quality, is not sent: a sink has no place for "there was none", and a bad number
//! would be taken for a good one. It is counted, and stays in the record. Points that the present configuration does not
//! use are not sent.

use std::sync::Arc;

use parkgate_collector::catalogue::{Catalogue, Point};
use parkgate_collector::model::{Medium, PointId, Quality, Sample};

use super::delivery::Lines;
use super::line;
use super::settings::SinkSettings;
use crate::rollup::{Amount, Figures, Total};
use crate::series::{self, Stat, What};

/// See the module.
#[derive(Debug)]
pub struct Table {
    catalogue: Arc<Catalogue>,
    /// By point: decimals, and what its sample lines begin with.
    samples: Vec<Option<(u8, Vec<u8>)>>,
    totals: Vec<bool>,
}

impl Table {
    /// Of the points that `settings` lets through.
    pub fn new(catalogue: &Arc<Catalogue>, settings: &SinkSettings) -> Self {
        let length = catalogue.points.iter().map(|point| point.id.index().saturating_add(1)).max().unwrap_or(0);
        let (mut samples, mut totals) = (vec![None; length], vec![false; length]);
        for point in catalogue.points.iter().filter(|point| settings.wants(point)) {
            if let Some(slot) = samples.get_mut(point.id.index()).filter(|_| settings.samples) {
                *slot = begin(catalogue, point, What::Samples, None).map(|begin| (point.identity.decimals, begin));
            }
            if let Some(slot) = totals.get_mut(point.id.index()) {
                *slot = settings.totals && point.medium != Medium::Gateway;
            }
        }
        Self { catalogue: Arc::clone(catalogue), samples, totals }
    }

    /// Whether samples of a point go to the sink.
    pub fn has_samples(&self, point: PointId) -> bool {
        self.samples.get(point.index()).is_some_and(Option::is_some)
    }

    /// Adds a sample's line. False when it is of a point that goes there and has no number that is not bad.
    pub fn sample(&self, sample: &Sample, lines: &mut Lines) -> bool {
        let Some((decimals, begin)) = self.samples.get(sample.point.index()).and_then(Option::as_ref) else { return true };
        let Some(value) = sample.number().filter(|_| sample.status.quality() != Quality::Bad) else { return false };
        lines.push(|out| line::push(out, begin, i128::from(value), *decimals, sample.record_time.0));
        true
    }

    /// Adds the lines of a total, if it goes there: stamped at the start of the period.
    pub fn total(&self, total: &Total, lines: &mut Lines) {
        if self.totals.get(total.point.index()) != Some(&true) {
            return;
        }
        let Some(point) = self.catalogue.point(total.point) else { return };
        for (what, code, amount) in figures(total) {
            if let Some(begin) = begin(&self.catalogue, point, what, code.as_deref()) {
                lines.push(|out| line::push(out, &begin, amount.mantissa, amount.decimals, total.period.start.0));
            }
        }
    }
}

/// The series of a total with their numbers, and the code that a state's series is about.
pub fn figures(total: &Total) -> Vec<(What, Option<String>, Amount)> {
    let level = total.period.level;
    match &total.figures {
        Figures::Counter(counter) => counter.amount.map(|amount| (What::Total(level), None, amount)).into_iter().collect(),
        Figures::Gauge(gauge) => [(Stat::Mean, gauge.mean), (Stat::Min, gauge.min), (Stat::Max, gauge.max)]
            .into_iter()
            .filter_map(|(stat, amount)| Some((What::Gauge(level, stat), None, amount?)))
            .collect(),
        Figures::State(state) => state
            .durations
            .iter()
            .map(|(code, milliseconds)| {
                (What::State(level), Some(code.to_string()), Amount { mantissa: i128::from(*milliseconds), decimals: 3 })
            })
            .collect(),
    }
}

/// Measurement and field of a point's series. Joined by `_` they are its name, also for the gateway's own metrics, which
/// are named by their quantity alone.
pub fn measurement_and_field(point: &Point, what: What) -> (String, String) {
    if (point.medium, what) == (Medium::Gateway, What::Samples)
        && let Some((measurement, field)) = point.quantity.rsplit_once('_')
    {
        return (measurement.to_owned(), field.to_owned());
    }
    let (measurement, field) = what.measurement_and_field(&point.quantity, &point.identity);
    (measurement, field.to_owned())
}

fn begin(catalogue: &Catalogue, point: &Point, what: What, state: Option<&str>) -> Option<Vec<u8>> {
    let (measurement, field) = measurement_and_field(point, what);
    let mut labels = series::labels(catalogue, point);
    if let Some(state) = state {
        labels.insert("state".to_owned(), state.to_owned());
    }
    line::series(&measurement, labels.iter().map(|(name, value)| (name.as_str(), value.as_str())), &field)
}
