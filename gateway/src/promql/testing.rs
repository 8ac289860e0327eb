//! A source in memory, for tests.

use super::labels::Labels;
use super::source::too_many_samples;
use super::{Error, Patience, Samples, Selection, Series, Source};

/// Series with their samples.
#[derive(Default)]
pub struct Memory {
    pub series: Vec<(Labels, i64, Samples)>,
}

impl Memory {
    /// Adds a series, `name{a="1"}` as labels, with a lookback of 5 minutes.
    pub fn add(&mut self, labels: &[(&str, &str)], samples: impl IntoIterator<Item = (i64, f64)>) {
        let labels = labels.iter().fold(Labels::default(), |labels, (name, value)| labels.with(name, value));
        let mut all = Samples::default();
        samples.into_iter().for_each(|(time, value)| all.push(time, value));
        self.series.push((labels, 300_000, all));
    }
}

impl Source for Memory {
    fn select(&self, selection: &Selection, _: i64, _: i64, _: &Patience<'_>) -> Result<Vec<Series>, Error> {
        let wanted = self.series.iter().enumerate().filter(|(_, (labels, _, _))| selection.matches(labels));
        Ok(wanted
            .map(|(at, (labels, lookback_ms, _))| Series { labels: labels.clone(), lookback_ms: *lookback_ms, key: (at as u32, 0) })
            .collect())
    }

    fn samples(&self, series: &Series, after: i64, upto: i64, most: usize, _: &Patience<'_>) -> Result<Samples, Error> {
        let (_, _, all) = &self.series[series.key.0 as usize];
        let within = all.times.iter().zip(&all.values).filter(|(time, _)| after < **time && **time <= upto);
        let (times, values): (Vec<i64>, Vec<f64>) = within.map(|(&time, &value)| (time, value)).unzip();
        if times.len() > most { Err(too_many_samples()) } else { Ok(Samples { times, values }) }
    }
}
