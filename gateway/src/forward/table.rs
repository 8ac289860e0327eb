//! Lines of one sink: which points go there and what their lines begin with. Pure.
//!
//! A sample without a number, or of bad quality, is not sent: a sink has no place for "there was none", and a bad number
//! would be taken for a good one. It is counted, and stays in the record. What a point left behind that a reload took from
//! the configuration, or gave another name, is sent as the table before had it ([`Table::after`]); after a restart nobody
//! knows that table: its samples are counted as skipped, its totals are passed over. A number that a point had before, with
//! another unit or other decimals, is sent with those and the point's present labels.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parkgate_collector::catalogue::{Catalogue, Point};
use parkgate_collector::model::{Medium, PointId, PointIdentity, Quality, Sample};

use super::delivery::Lines;
use super::line;
use super::settings::SinkSettings;
use crate::rollup::{Amount, Figures, Total};
use crate::series::{self, Stat, What};

/// See the module.
#[derive(Debug)]
pub struct Table {
    catalogue: Arc<Catalogue>,
    /// By number of a point.
    samples: Vec<Samples>,
    /// Numbers that are not in `samples`.
    beyond: Samples,
    /// By number of a point; `None` as [`Samples::Unknown`].
    totals: Vec<Option<bool>>,
    /// Points under numbers that only a catalogue before has, whose totals go to the sink.
    gone: HashMap<PointId, Gone>,
}

/// A point that the configuration has no more, with the labels that it had.
#[derive(Clone, Debug)]
struct Gone {
    point: Arc<Point>,
    labels: BTreeMap<String, String>,
}

/// What becomes of samples under a number.
#[derive(Clone, Debug)]
enum Samples {
    /// No point of the configuration has that number.
    Unknown,
    /// The sink is not to have them.
    Unwanted,
    /// Decimals, and what their lines begin with.
    Sent(u8, Vec<u8>),
}

/// The points of the configuration, each under all numbers that the registry has for it: older ones have another unit,
/// other decimals or another kind.
pub fn numbered(catalogue: &Catalogue, identities: &[(PointId, PointIdentity)]) -> Vec<Arc<Point>> {
    let before = identities.iter().filter_map(|(id, identity)| {
        let point = catalogue.point_by_stable_id(&identity.stable_id).filter(|point| point.id != *id)?;
        Some(Arc::new(Point { id: *id, identity: identity.clone(), ..Point::clone(point) }))
    });
    before.chain(catalogue.points.iter().map(Arc::clone)).collect()
}

impl Table {
    /// Of the points that `settings` lets through, under all numbers that the registry, `identities`, has for them.
    pub fn new(catalogue: &Arc<Catalogue>, identities: &[(PointId, PointIdentity)], settings: &SinkSettings) -> Self {
        let points = numbered(catalogue, identities);
        let length = points.iter().map(|point| point.id.index().saturating_add(1)).max().unwrap_or(0);
        let beyond = if settings.samples { Samples::Unknown } else { Samples::Unwanted };
        let (mut samples, mut totals) = (vec![beyond.clone(); length], vec![None; length]);
        for point in points {
            let wanted = settings.wants(&point);
            if let Some(slot) = samples.get_mut(point.id.index()) {
                let begin =
                    if wanted && settings.samples { begin(&point, series::labels(catalogue, &point), What::Samples, None) } else { None };
                *slot = begin.map_or(Samples::Unwanted, |begin| Samples::Sent(point.identity.decimals, begin));
            }
            if let Some(slot) = totals.get_mut(point.id.index()) {
                *slot = Some(wanted && settings.totals && point.medium != Medium::Gateway);
            }
        }
        Self { catalogue: Arc::clone(catalogue), samples, beyond, totals, gone: HashMap::new() }
    }

    /// Goes on from the table before: of numbers that this one does not know, what that one would send is sent as it would.
    #[must_use]
    pub fn after(mut self, before: &Self) -> Self {
        let knows = |totals: &[Option<bool>], index: usize| totals.get(index).is_some_and(Option::is_some);
        for (index, had) in before.samples.iter().enumerate() {
            if matches!(had, Samples::Sent(..)) && !knows(&self.totals, index) {
                if self.samples.len() <= index {
                    self.samples.resize(index.saturating_add(1), self.beyond.clone());
                }
                if let Some(slot) = self.samples.get_mut(index) {
                    *slot = had.clone();
                }
            }
        }
        let sent = before.catalogue.points.iter().filter(|point| before.totals.get(point.id.index()) == Some(&Some(true)));
        let gone = |id: PointId| self.catalogue.point(id).is_none();
        let labelled = |point: &Arc<Point>| Gone { point: Arc::clone(point), labels: series::labels(&before.catalogue, point) };
        let went = sent.filter(|point| gone(point.id)).map(|point| (point.id, labelled(point)));
        let were = before.gone.iter().filter(|(id, _)| gone(**id)).map(|(id, gone)| (*id, gone.clone()));
        self.gone = went.chain(were).collect();
        self
    }

    /// Whether samples of a point go to the sink.
    pub fn has_samples(&self, point: PointId) -> bool {
        matches!(self.samples.get(point.index()), Some(Samples::Sent(..)))
    }

    /// Adds a sample's line. False when it should go there and cannot: it has no number that is not bad, or no point of the
    /// configuration has its number.
    pub fn sample(&self, sample: &Sample, lines: &mut Lines) -> bool {
        let (decimals, begin) = match self.samples.get(sample.point.index()).unwrap_or(&self.beyond) {
            Samples::Unknown => return false,
            Samples::Unwanted => return true,
            Samples::Sent(decimals, begin) => (*decimals, begin),
        };
        let Some(value) = sample.number().filter(|_| sample.status.quality() != Quality::Bad) else { return false };
        lines.push(|out| line::push(out, begin, i128::from(value), decimals, sample.record_time.0));
        true
    }

    /// Adds the lines of a total, if it goes there: stamped at the start of the period.
    pub fn total(&self, total: &Total, lines: &mut Lines) {
        let known = match self.catalogue.point(total.point) {
            Some(point) => Some((point, series::labels(&self.catalogue, point))),
            None => self.gone.get(&total.point).map(|gone| (&gone.point, gone.labels.clone())),
        };
        let unwanted = self.totals.get(total.point.index()).copied().flatten() == Some(false);
        let Some((point, labels)) = known.filter(|_| !unwanted) else { return };
        for (what, code, amount) in figures(total) {
            if let Some(begin) = begin(point, labels.clone(), what, code.as_deref()) {
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

fn begin(point: &Point, mut labels: BTreeMap<String, String>, what: What, state: Option<&str>) -> Option<Vec<u8>> {
    let (measurement, field) = measurement_and_field(point, what);
    if let Some(state) = state {
        labels.insert("state".to_owned(), state.to_owned());
    }
    line::series(&measurement, labels.iter().map(|(name, value)| (name.as_str(), value.as_str())), &field)
}
