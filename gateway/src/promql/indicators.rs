//! Indicators as series, beside those of the park's points: one a month and one a year, per indicator of the whole park.
//!
//! | series | samples | shown for |
//! |---|---|---|
//! | `park_indicator_month{indicator="EN-08", unit="tce"}` | one per month that is over, stamped at its start | the month |
//! | `park_indicator_month_current{...}` | the present month so far, stamped now | 5 min |
//!
//! The same for years. What is missing, incomplete or not defined has no sample: a board draws nothing there. Figures of the
//! park as a whole are for those who see all of it; others do not learn that the series are there.

use std::collections::BTreeMap;
use std::sync::Arc;

use parkgate_collector::model::UtcMillis;
use parkgate_rules::indicator::result::Status;
use parkgate_rules::indicator::{INDICATORS, Indicator};
use parkgate_rules::period::{Period, PeriodKind};

use super::park::{Meaning, ParkSource};
use super::source::{ABSENT, too_many_samples};
use super::{Error, Labels, Last, Part, Patience, Samples, Selection, Series, Source};
use crate::access::Identity;
use crate::indicator::inputs::period_of;
use crate::indicator::live::{Live, LiveError, Want};
use crate::rollup::{Level, TotalsView};
use crate::series;

/// First key of ours; those of the park's points are below.
const KEY: u32 = 0x8000_0000;
const DAY_MS: i64 = 86_400_000;
/// How long a figure so far is shown.
const CURRENT_MS: i64 = 300_000;
/// Clocks of who asks may be behind ours by so much.
const BEHIND_MS: i64 = 60_000;
/// No indicator is asked for before: 2000-01-01.
const EARLIEST: UtcMillis = UtcMillis(946_684_800_000);

/// The park with its indicators, as one asker sees them.
pub struct WithIndicators<'a> {
    park: ParkSource<'a>,
    totals: &'a dyn TotalsView,
    /// `None`: the asker does not see the whole park.
    live: Option<&'a Live>,
    now: UtcMillis,
}

/// Which of an indicator's series.
#[derive(Clone, Copy)]
struct Which {
    indicator: &'static Indicator,
    level: Level,
    is_current: bool,
}

/// All series there are, each with its key.
fn all() -> impl Iterator<Item = (u32, Which)> {
    let kinds = [(Level::Month, false), (Level::Month, true), (Level::Year, false), (Level::Year, true)];
    let of = move |indicator: &'static Indicator| kinds.map(|(level, is_current)| Which { indicator, level, is_current });
    (KEY..).zip(INDICATORS.iter().flat_map(of)).filter(|(_, which)| which.is_formed())
}

impl Which {
    /// PO-01 is of outlets, not of the park.
    fn is_formed(self) -> bool {
        let kind = if self.level == Level::Month { PeriodKind::Month } else { PeriodKind::Year };
        self.indicator.periods.contains(&kind) && self.indicator.id != "PO-01"
    }

    fn name(self) -> &'static str {
        series::indicator(self.level, self.is_current)
    }

    fn labels(self) -> Labels {
        let pairs = [("indicator", self.indicator.id), ("unit", self.indicator.unit)];
        Labels::new(self.name(), pairs.into_iter().map(|(name, value)| (Arc::from(name), Arc::from(value))).collect())
    }

    fn lookback_ms(self) -> i64 {
        match self.level {
            _ if self.is_current => CURRENT_MS,
            Level::Year => 367 * DAY_MS,
            _ => 32 * DAY_MS,
        }
    }
}

impl<'a> WithIndicators<'a> {
    /// What `identity` may see of the park at a time.
    pub fn new(park: ParkSource<'a>, totals: &'a dyn TotalsView, live: &'a Live, identity: &Identity, now: UtcMillis) -> Self {
        Self { park, totals, live: Some(live).filter(|_| identity.scope.is_everything()), now }
    }

    /// The meaning of every name of which the asker sees a series.
    pub fn meanings(&self) -> BTreeMap<&'a str, Meaning> {
        let mut meanings = self.park.meanings();
        if self.live.is_some() {
            for (_, which) in all() {
                let (zh, en) = match (which.level, which.is_current) {
                    (Level::Year, false) => ("年度指标", "indicators of closed years"),
                    (Level::Year, true) => ("本年指标", "indicators of the present year so far"),
                    (_, false) => ("月度指标", "indicators of closed months"),
                    (_, true) => ("本月指标", "indicators of the present month so far"),
                };
                let help = format!("{zh} / {en}; label `unit` has the unit");
                meanings.entry(which.name()).or_insert(Meaning { kind: "gauge", help, unit: String::new() });
            }
        }
        meanings
    }

    fn which(series: &Series) -> Option<Which> {
        all().find(|(key, _)| *key == series.key.0).map(|(_, which)| which)
    }

    /// The value of an indicator over a period; `None` when there is none that is whole.
    fn value(&self, live: &Live, which: Which, period: Period) -> Result<Option<f64>, Error> {
        let results = match live.results(period, Want { id: Some(which.indicator.id), explain: false }, self.now) {
            Ok(results) => results,
            Err(LiveError::Store(error)) => {
                tracing::error!(error = %error, "record could not be read for an indicator");
                return Err(Error::Internal);
            }
            Err(error) => {
                tracing::warn!(error = %error, period = %period, "indicators cannot be computed");
                return Ok(None);
            }
        };
        let park = results.iter().find(|result| result.indicator == which.indicator.id && result.subject.is_park());
        let whole = park.filter(|result| matches!(result.status, Status::Ok | Status::Estimated));
        Ok(whole.and_then(|result| result.exact.as_ref()).map(parkgate_rules::Number::to_f64))
    }

    fn of_closed(
        &self,
        live: &Live,
        which: Which,
        (after, upto): (i64, i64),
        most: usize,
        patience: &Patience<'_>,
    ) -> Result<Samples, Error> {
        let mut samples = Samples::default();
        let mut bounds = self.totals.period_of(which.level, UtcMillis(after).max(EARLIEST));
        let last = upto.min(self.now.0);
        while bounds.start.0 <= last {
            patience.look()?;
            if bounds.end > self.now {
                break;
            }
            if let Some(period) = period_of(bounds, live.zone()).filter(|_| bounds.start.0 > after)
                && let Some(value) = self.value(live, which, period)?
            {
                if samples.times.len() >= most {
                    return Err(too_many_samples());
                }
                samples.push(bounds.start.0, value);
                if bounds.end.0 <= upto {
                    samples.push(bounds.end.0, ABSENT);
                }
            }
            bounds = self.totals.period_of(which.level, bounds.end);
        }
        Ok(samples)
    }

    fn of_present(&self, live: &Live, which: Which, (after, upto): (i64, i64)) -> Result<Samples, Error> {
        let mut samples = Samples::default();
        let time = self.now.0.min(upto);
        if time <= after || self.now.0.saturating_sub(upto) > BEHIND_MS {
            return Ok(samples);
        }
        let period = period_of(self.totals.period_of(which.level, self.now), live.zone());
        if let Some(value) = period.map(|period| self.value(live, which, period)).transpose()?.flatten() {
            samples.push(time, value);
        }
        Ok(samples)
    }
}

impl Source for WithIndicators<'_> {
    fn select(&self, selection: &Selection, after: i64, upto: i64, patience: &Patience<'_>) -> Result<Vec<Series>, Error> {
        let mut found = self.park.select(selection, after, upto, patience)?;
        if self.live.is_some() && selection.name.as_deref().is_none_or(|name| name.starts_with(series::INDICATOR)) {
            let wanted = all().map(|(key, which)| Series { labels: which.labels(), lookback_ms: which.lookback_ms(), key: (key, 0) });
            found.extend(wanted.filter(|series| selection.matches(&series.labels)));
        }
        Ok(found)
    }

    fn samples(&self, series: &Series, after: i64, upto: i64, most: usize, patience: &Patience<'_>) -> Result<Samples, Error> {
        match (Self::which(series), self.live) {
            (None, _) => self.park.samples(series, after, upto, most, patience),
            (Some(_), None) => Err(Error::Internal),
            (Some(which), Some(live)) if which.is_current => self.of_present(live, which, (after, upto)),
            (Some(which), Some(live)) => self.of_closed(live, which, (after, upto), most, patience),
        }
    }

    fn last(&self, series: &Series, after: i64, upto: i64) -> Result<Last, Error> {
        if Self::which(series).is_some() { Ok(Last::Unknown) } else { self.park.last(series, after, upto) }
    }

    fn parts(&self, series: &Series, edges: &[i64], extremes: bool) -> Result<Option<Vec<Part>>, Error> {
        if Self::which(series).is_some() { Ok(None) } else { self.park.parts(series, edges, extremes) }
    }
}
