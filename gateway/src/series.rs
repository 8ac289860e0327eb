//! Names and labels of the series that a park has: what Grafana asks for, what forwarders send, what boards are made of.
//!
//! One table for all of them, so that a board written for the embedded store also reads a VictoriaMetrics that was fed
//! by the forwarder. The name says quantity and unit, labels say which meter:
//!
//! | series | what | stamped |
//! |---|---|---|
//! | `park_energy_import_kwh` | the samples of a point | record time |
//! | `park_energy_import_day_kwh` | closed totals of a counter; hour, day, month, year | start of the period |
//! | `park_energy_import_day_current_kwh` | the total of the open period so far | when it was counted |
//! | `park_active_power_hour_mean_kw` | closed means of a gauge, weighted by time; also `_min_`, `_max_` | start of the period |
//! | `park_connector_state_hour_seconds{state="1"}` | closed durations of a state | start of the period |
//! | `park_indicator_month{indicator="EN-08"}` | indicators of closed months, `_current` of the present one; also `_year` | start of the period |
//!
//! Labels: `point` (stable id), `device`, `enterprise` (where there is one), `medium`, `quantity`, `role` (where there is
//! one), and the free labels of the point under their own names. The gateway's own metrics keep the names and labels
//! they have under `/metrics`.

use std::collections::BTreeMap;

use parkgate_collector::catalogue::{Catalogue, Point};
use parkgate_collector::model::{Kind, Medium, PointIdentity};

use crate::rollup::Level;

/// Labels that every point's series has for itself; a free label of that name is left out.
pub const OWN_LABELS: &[&str] = &["point", "device", "enterprise", "medium", "quantity", "role", "state"];

/// What a gauge's period says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stat {
    /// Mean weighted by time.
    Mean,
    /// The smallest value.
    Min,
    /// The largest value.
    Max,
}

impl Stat {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Mean, Self::Min, Self::Max];

    /// Its part of a series name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Min => "min",
            Self::Max => "max",
        }
    }
}

/// Which of a point's series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// Its samples.
    Samples,
    /// Closed totals of a counter.
    Total(Level),
    /// The open period's total of a counter so far.
    Current(Level),
    /// A closed figure of a gauge.
    Gauge(Level, Stat),
    /// Closed durations of a state; one series per code seen.
    State(Level),
}

impl What {
    /// The series that a point of a kind has.
    pub fn of(kind: Kind) -> Vec<Self> {
        let mut all = vec![Self::Samples];
        for &level in Level::ALL {
            match kind {
                Kind::Counter => all.extend([Self::Total(level), Self::Current(level)]),
                Kind::Gauge => all.extend(Stat::ALL.iter().map(|&stat| Self::Gauge(level, stat))),
                Kind::State => all.push(Self::State(level)),
            }
        }
        all
    }

    /// The series name for a quantity in its canonical unit.
    pub fn name(self, quantity: &str, identity: &PointIdentity) -> String {
        let (measurement, field) = self.measurement_and_field(quantity, identity);
        format!("{measurement}_{field}")
    }

    /// Measurement and field in line protocol. VictoriaMetrics joins them with `_` to the series name.
    pub fn measurement_and_field(self, quantity: &str, identity: &PointIdentity) -> (String, &'static str) {
        let unit = identity.unit.name_form();
        match self {
            Self::Samples => (format!("park_{quantity}"), unit),
            Self::Total(level) => (format!("park_{quantity}_{}", level.name()), unit),
            Self::Current(level) => (format!("park_{quantity}_{}_current", level.name()), unit),
            Self::Gauge(level, stat) => (format!("park_{quantity}_{}_{}", level.name(), stat.name()), unit),
            Self::State(level) => (format!("park_{quantity}_{}", level.name()), "seconds"),
        }
    }
}

/// How names of the series of indicators begin.
pub const INDICATOR: &str = "park_indicator_";

/// The name of the series of indicators: of closed months or years, or of the present one so far.
pub const fn indicator(level: Level, is_current: bool) -> &'static str {
    match (level, is_current) {
        (Level::Year, false) => "park_indicator_year",
        (Level::Year, true) => "park_indicator_year_current",
        (_, false) => "park_indicator_month",
        (_, true) => "park_indicator_month_current",
    }
}

/// The labels of a point's series, sorted by name; without `__name__`.
pub fn labels(catalogue: &Catalogue, point: &Point) -> BTreeMap<String, String> {
    if point.medium == Medium::Gateway {
        return point.labels.clone();
    }
    let mut labels: BTreeMap<String, String> = point
        .labels
        .iter()
        .filter(|(name, _)| !OWN_LABELS.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let mut set = |name: &str, value: &str| labels.insert(name.to_owned(), value.to_owned());
    set("point", &point.identity.stable_id);
    set("device", &point.device);
    set("medium", point.medium.name());
    set("quantity", &point.quantity);
    if let Some(enterprise) = catalogue.device(&point.device).and_then(|device| device.enterprise.as_deref()) {
        set("enterprise", enterprise);
    }
    if let Some(role) = &point.role {
        set("role", role);
    }
    labels
}

/// The name of one of a point's series. The gateway's own metrics are named by their quantity alone.
pub fn name(point: &Point, what: What) -> String {
    match (point.medium, what) {
        (Medium::Gateway, What::Samples) => point.quantity.clone(),
        _ => what.name(&point.quantity, &point.identity),
    }
}

#[cfg(test)]
mod tests {
    use parkgate_collector::model::Unit;

    use super::*;

    #[test]
    fn names_say_quantity_period_and_unit() {
        let of = |unit: &str, kind| PointIdentity { stable_id: "a/b".into(), kind, unit: Unit::parse(unit).expect("a unit"), decimals: 3 };
        let counter = of("kWh", Kind::Counter);
        let gauge = of("kW", Kind::Gauge);
        let state = of("state", Kind::State);
        for (what, quantity, identity, expected) in [
            (What::Samples, "energy_import", &counter, "park_energy_import_kwh"),
            (What::Total(Level::Day), "energy_import", &counter, "park_energy_import_day_kwh"),
            (What::Current(Level::Month), "energy_import", &counter, "park_energy_import_month_current_kwh"),
            (What::Gauge(Level::Hour, Stat::Mean), "active_power", &gauge, "park_active_power_hour_mean_kw"),
            (What::State(Level::Day), "connector_state", &state, "park_connector_state_day_seconds"),
        ] {
            assert_eq!(what.name(quantity, identity), expected);
        }
        assert_eq!(What::of(Kind::Counter).len(), 9);
        assert_eq!(What::of(Kind::Gauge).len(), 13);
        assert_eq!(What::of(Kind::State).len(), 5);
    }
}
