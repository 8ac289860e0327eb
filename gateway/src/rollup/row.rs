//! A total as text: one JSON object or CSV line, the same for commands, the API and corrections.
//!
//! Keys: `point` stable id; `level`; `start`, `end` RFC 3339 in the park's zone; `closed`; `kind`; `unit`; `samples` that
//! count; `completeness` as a fraction (absent without a known interval); `worst_quality`; `flags`, a list of names.
//! Of a counter: `amount` (measured), `tail_estimate`, `interpolated`, `estimated`, `start_register`, `end_register`.
//! Of a gauge: `mean` (by time), `arithmetic_mean`, `min`, `max`. Of a state: `seconds` by code. Figures are exact
//! decimals in strings; what is not known is absent, never zero.

use std::collections::BTreeMap;

use parkgate_collector::model::{Kind, PointIdentity, Quality};
use serde::Serialize;
use utoipa::ToSchema;

use super::total::{Amount, Figures, Flags, Total};
use super::zone::ParkZone;

/// A total as it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct TotalRow {
    /// Stable id of the point.
    pub point: String,
    /// `hour`, `day`, `month` or `year`.
    pub level: &'static str,
    /// Start, inclusive, in the park's zone.
    pub start: String,
    /// End, exclusive, in the park's zone.
    pub end: String,
    /// The period is over and its grace has passed.
    pub closed: bool,
    /// `counter`, `gauge` or `state`.
    pub kind: &'static str,
    /// Canonical unit of the figures.
    pub unit: String,
    /// Counter: what was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<String>,
    /// Counter: what is estimated for a register lost at the end; not in `amount`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tail_estimate: Option<String>,
    /// Counter: of `amount`, what a split between two readings put on this side of a boundary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interpolated: Option<String>,
    /// Counter: of `amount`, the even share of a gap that reaches beyond the period.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimated: Option<String>,
    /// Counter: register at the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_register: Option<String>,
    /// Counter: register at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_register: Option<String>,
    /// Gauge: mean weighted by time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<String>,
    /// Gauge: mean of the samples.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arithmetic_mean: Option<String>,
    /// Gauge: smallest value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<String>,
    /// Gauge: largest value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<String>,
    /// State: seconds in each code.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub seconds: Option<BTreeMap<i64, String>>,
    /// Samples that count.
    pub samples: u64,
    /// Share of the period that is covered, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completeness: Option<String>,
    /// Worst quality of a sample.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub worst_quality: Option<Quality>,
    /// What happened: `rollover`, `boundary_interpolated`, `meter_exchanged`, `tail_estimated`, `suspect`, `decided`, `estimated`.
    pub flags: Vec<&'static str>,
}

/// Columns of the CSV form, in order.
pub const COLUMNS: [&str; 19] = [
    "point",
    "level",
    "start",
    "end",
    "closed",
    "unit",
    "amount",
    "tail_estimate",
    "interpolated",
    "estimated",
    "start_register",
    "end_register",
    "mean",
    "arithmetic_mean",
    "min",
    "max",
    "samples",
    "completeness",
    "worst_quality",
];
/// Columns behind those.
pub const MORE_COLUMNS: [&str; 2] = ["flags", "seconds"];

impl TotalRow {
    /// The row of a total.
    pub fn new(total: &Total, identity: &PointIdentity, zone: &ParkZone) -> Self {
        let text = |amount: Amount| amount.to_string();
        let mut row = Self {
            point: identity.stable_id.clone(),
            level: total.period.level.name(),
            start: zone.write(total.period.start),
            end: zone.write(total.period.end),
            closed: total.closed,
            kind: identity.kind.name(),
            unit: identity.unit.symbol().to_string(),
            samples: total.samples,
            completeness: total.completeness_ppm.map(|ppm| Amount { mantissa: i128::from(ppm), decimals: 6 }.to_string()),
            worst_quality: total.worst_quality,
            ..Self::default()
        };
        match &total.figures {
            Figures::Counter(counter) => {
                row.amount = counter.amount.map(text);
                row.tail_estimate = counter.tail_estimate.map(text);
                row.interpolated = Some(text(counter.interpolated)).filter(|_| counter.amount.is_some());
                row.estimated = Some(text(counter.estimated)).filter(|_| counter.amount.is_some());
                row.start_register = counter.start_register.map(text);
                row.end_register = counter.end_register.map(text);
                row.flags = flags(counter.flags);
            }
            Figures::Gauge(gauge) => {
                (row.mean, row.arithmetic_mean) = (gauge.mean.map(text), gauge.arithmetic_mean.map(text));
                (row.min, row.max) = (gauge.min.map(text), gauge.max.map(text));
            }
            Figures::State(state) => {
                let seconds = |ms: i64| Amount { mantissa: i128::from(ms), decimals: 3 }.to_string();
                row.seconds = Some(state.durations.iter().map(|&(code, ms)| (code, seconds(ms))).collect());
            }
        }
        row
    }

    /// The fields of a CSV line: [`COLUMNS`], then [`MORE_COLUMNS`]. Flags have spaces between them, states are
    /// `code=seconds`; what is not known is empty.
    pub fn fields(&self) -> Vec<String> {
        let or_empty = |text: &Option<String>| text.clone().unwrap_or_default();
        let seconds = self.seconds.iter().flatten().map(|(code, seconds)| format!("{code}={seconds}")).collect::<Vec<_>>().join(" ");
        let mut fields = vec![
            self.point.clone(),
            self.level.to_owned(),
            self.start.clone(),
            self.end.clone(),
            self.closed.to_string(),
            self.unit.clone(),
        ];
        let figures = [
            &self.amount,
            &self.tail_estimate,
            &self.interpolated,
            &self.estimated,
            &self.start_register,
            &self.end_register,
            &self.mean,
            &self.arithmetic_mean,
            &self.min,
            &self.max,
        ];
        fields.extend(figures.map(or_empty));
        fields.extend([
            self.samples.to_string(),
            or_empty(&self.completeness),
            self.worst_quality.map_or_else(String::new, |quality| quality.name().to_owned()),
            self.flags.join(" "),
            seconds,
        ]);
        fields
    }

    /// The figure that a person looks for first: amount, mean, or the longest state.
    pub fn headline(&self) -> String {
        let longest = || self.seconds.iter().flatten().map(|(code, seconds)| format!("{code}={seconds} s")).collect::<Vec<_>>().join(" ");
        match Kind::ALL.iter().find(|kind| kind.name() == self.kind) {
            Some(Kind::Counter) => self.amount.clone().unwrap_or_else(|| "-".into()),
            Some(Kind::Gauge) => self.mean.clone().unwrap_or_else(|| "-".into()),
            _ => longest(),
        }
    }
}

/// Names of the flags that are set.
fn flags(flags: Flags) -> Vec<&'static str> {
    [
        ("rollover", flags.rollover),
        ("boundary_interpolated", flags.boundary_interpolated),
        ("meter_exchanged", flags.meter_exchanged),
        ("tail_estimated", flags.tail_estimated),
        ("suspect", flags.suspect),
        ("decided", flags.decided),
        ("estimated", flags.estimated),
    ]
    .into_iter()
    .filter_map(|(name, set)| set.then_some(name))
    .collect()
}
