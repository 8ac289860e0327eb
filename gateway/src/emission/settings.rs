//! The tables `[[gateway.outlet]]` and `[[gateway.abatement]]`: what in them does not fit the park, told before anything
//! starts. What each key means stands at [`Outlet`] and [`AbatementPair`] and in `config/parkgate.toml`.

use std::collections::HashSet;

use parkgate_collector::catalogue::{Draft, Misfit, Point};
use parkgate_rules::Number;
use parkgate_rules::emission::abatement::{AbatementPair, PoweredDevice};
use parkgate_rules::emission::outlet::{Auxiliary, Basis, Channel, Factor, FactorUnit, Flow, Outlet, OutletKind, Reference, Source, State};

/// Longest id: it is part of identities and addresses.
const ID_LENGTH_MAX: usize = 64;
/// Longest interval of a channel: a day.
const INTERVAL_MS_MAX: u32 = 86_400_000;
/// What marks may speak of beside factors; no factor has such an id.
pub const CHANNELS: [&str; 6] = ["o2", "temperature", "pressure", "humidity", "flow", "running"];

/// A point that an outlet or a pair names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used<'a> {
    /// Path of the key below the outlet or the pair.
    pub path: String,
    /// The point as it is named there.
    pub point: &'a str,
    /// Symbols of the units it may have; empty: any.
    pub units: &'static [&'static str],
}

/// Every point that an outlet names.
pub fn points_of(outlet: &Outlet) -> Vec<Used<'_>> {
    let mut used = Vec::new();
    let mut add = |path: String, point, units| used.push(Used { path, point, units });
    for (index, factor) in outlet.factors.iter().enumerate() {
        let units = factor_units(factor.unit);
        let path = |key: &str| format!("factor[{index}].source.{key}");
        match &factor.source {
            Source::Point(channel) => add(path("point"), channel.point.as_str(), units),
            Source::NoAndNo2 { no, no2 } => {
                add(path("no.point"), no.point.as_str(), units);
                if let Some(no2) = no2 {
                    add(path("no2.point"), no2.point.as_str(), units);
                }
            }
        }
    }
    if let Some(o2) = &outlet.o2 {
        add("o2.point".into(), o2.point.as_str(), &["%"]);
    }
    for (name, auxiliary, units) in auxiliaries(outlet) {
        if let Some(point) = auxiliary.and_then(|auxiliary| auxiliary.point.as_deref()) {
            add(format!("{name}.point"), point, units);
        }
    }
    if let Some(flow) = &outlet.flow {
        add("flow.point".into(), flow.point(), flow_units(flow));
    }
    if let Some(running) = &outlet.running {
        add("running.point".into(), running.point.as_str(), &[]);
    }
    for (index, status) in outlet.status.iter().enumerate() {
        add(format!("status[{index}].point"), status.point.as_str(), &[]);
    }
    used
}

/// Both points of a pair.
pub fn points_of_pair(pair: &AbatementPair) -> [Used<'_>; 2] {
    let of = |path: &str, point| Used { path: format!("{path}.point"), point, units: &["kW"] };
    [of("production", pair.production.point.as_str()), of("abatement", pair.abatement.point.as_str())]
}

/// Whether a point is the one that a text names: by its stable id, or as `device/point`.
pub fn is_named(point: &Point, text: &str) -> bool {
    point.identity.stable_id == text
        || text.strip_prefix(point.device.as_str()).and_then(|rest| rest.strip_prefix('/')) == Some(&point.local_id)
}

fn factor_units(unit: FactorUnit) -> &'static [&'static str] {
    match unit {
        FactorUnit::MilligramPerCubicMetre => &["mg/m3", "mg/Nm3"],
        FactorUnit::Ppm => &["ppm"],
        FactorUnit::MilligramPerLitre => &["mg/L"],
        FactorUnit::Ph => &["pH"],
    }
}

fn auxiliaries(outlet: &Outlet) -> [(&'static str, Option<&Auxiliary>, &'static [&'static str]); 4] {
    [
        ("temperature", outlet.temperature.as_ref(), &["degC"]),
        ("pressure", outlet.pressure.as_ref(), &["Pa"]),
        ("barometric_pressure", outlet.barometric_pressure.as_ref(), &["Pa"]),
        ("humidity", outlet.humidity.as_ref(), &["%"]),
    ]
}

fn flow_units(flow: &Flow) -> &'static [&'static str] {
    match flow {
        Flow::Velocity { .. } => &["m/s"],
        Flow::Actual(_) | Flow::Water { .. } => &["m3/h"],
        Flow::Standard(_) => &["Nm3/h", "m3/h"],
        Flow::Totaliser { .. } => &["m3"],
    }
}

/// Everything in both lists that does not fit the park or itself.
pub fn misfits(outlets: &[Outlet], pairs: &[AbatementPair], draft: &Draft) -> Vec<Misfit> {
    let mut found = Found { draft, list: Vec::new() };
    let mut ids = HashSet::new();
    for (index, outlet) in outlets.iter().enumerate() {
        let path = format!("outlet[{index}]");
        found.id(&path, &outlet.id, &mut ids);
        found.enterprise(&path, &outlet.enterprise);
        for used in points_of(outlet) {
            found.point(&path, &used);
        }
        found.outlet(&path, outlet);
    }
    for (index, pair) in pairs.iter().enumerate() {
        let path = format!("abatement[{index}]");
        found.id(&path, &pair.id, &mut ids);
        found.enterprise(&path, &pair.enterprise);
        for used in points_of_pair(pair) {
            found.point(&path, &used);
        }
        for (name, device) in [("production", &pair.production), ("abatement", &pair.abatement)] {
            found.bands(&format!("{path}.{name}"), device);
        }
        if pair.delay_minutes == 0 {
            found.add(format!("{path}.delay_minutes"), "must not be 0", "an event needs at least one whole minute");
        }
    }
    found.list
}

struct Found<'a> {
    draft: &'a Draft,
    list: Vec<Misfit>,
}

impl Found<'_> {
    fn add(&mut self, path: impl Into<String>, message: impl Into<String>, help: impl Into<String>) {
        self.list.push(Misfit { path: path.into(), message: message.into(), help: help.into() });
    }

    fn id<'a>(&mut self, path: &str, id: &'a str, ids: &mut HashSet<&'a str>) {
        let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.');
        if id.is_empty() || id.len() > ID_LENGTH_MAX || !id.bytes().all(legal) {
            self.add(
                format!("{path}.id"),
                "must be of 1 to 64 small letters, digits, `-`, `_` and `.`",
                "limits, marks and events name it for ever",
            );
        } else if !ids.insert(id) {
            self.add(format!("{path}.id"), format!("`{id}` is there twice"), "ids of outlets and of abatement pairs must be unique");
        }
    }

    fn enterprise(&mut self, path: &str, enterprise: &str) {
        if !enterprise.is_empty() && !self.draft.has_enterprise(enterprise) {
            let help = "give the id of an [[enterprise]], or an empty text for the park's own";
            self.add(format!("{path}.enterprise"), format!("there is no enterprise `{enterprise}`"), help);
        }
    }

    fn point(&mut self, path: &str, used: &Used<'_>) {
        let place = format!("{path}.{}", used.path);
        let Some(point) = self.draft.points().find(|point| is_named(point, used.point)) else {
            let names = self.draft.points().map(|point| format!("{}/{}", point.device, point.local_id));
            let near = names.map(|name| (strsim::damerau_levenshtein(&name, used.point), name)).min();
            let help = near.map_or_else(|| "the park has no points".into(), |(_, name)| format!("the nearest is `{name}`"));
            return self.add(place, format!("there is no point `{}`", used.point), help);
        };
        let symbol = point.identity.unit.symbol();
        if !used.units.is_empty() && !used.units.contains(&symbol) {
            let wanted = used.units.join(" or ");
            let help = format!("give the point `unit = \"{}\"`; its `raw_unit` may be another", used.units.first().unwrap_or(&""));
            self.add(place, format!("point `{}` is in {symbol}, and must be in {wanted}", used.point), help);
        }
    }

    fn outlet(&mut self, path: &str, outlet: &Outlet) {
        if outlet.factors.is_empty() {
            self.add(path, "an outlet needs at least one [[gateway.outlet.factor]]", "");
        }
        let mut factors = HashSet::new();
        for (index, factor) in outlet.factors.iter().enumerate() {
            let path = format!("{path}.factor[{index}]");
            if CHANNELS.contains(&factor.id.as_str()) {
                self.add(format!("{path}.id"), format!("`{}` is no factor", factor.id), "marks know it as a figure beside the factors");
            }
            self.id(&path, &factor.id, &mut factors);
            self.factor(&path, outlet, factor);
        }
        for (name, auxiliary, _) in auxiliaries(outlet) {
            if let Some(auxiliary) = auxiliary
                && auxiliary.point.is_some() == auxiliary.value.is_some()
            {
                self.add(format!("{path}.{name}"), "needs either `point` or `value`", "");
            }
        }
        for (name, interval_ms) in intervals(outlet) {
            if interval_ms == 0 || interval_ms > INTERVAL_MS_MAX {
                self.add(format!("{path}.{name}"), "`interval_ms` must be from 1 to 86400000", "");
            }
        }
        let of_water = matches!(outlet.flow, Some(Flow::Water { .. } | Flow::Totaliser { .. }));
        match (outlet.kind, &outlet.flow) {
            (OutletKind::Stack, Some(_)) if of_water => {
                self.add(format!("{path}.flow"), "a stack has no flow of water", "kinds for a stack: velocity, actual, standard");
            }
            (OutletKind::WasteWater, Some(_)) if !of_water => {
                self.add(format!("{path}.flow"), "waste water has no flow of gas", "kinds for waste water: water, totaliser");
            }
            (OutletKind::Stack, Some(Flow::Velocity { .. } | Flow::Actual(_))) => self.standard_state(path, outlet, "flow", true),
            _ => {}
        }
        if outlet.o2.as_ref().is_some_and(|o2| o2.basis == Basis::Wet) && outlet.humidity.is_none() {
            self.add(format!("{path}.o2"), "a wet content needs `humidity`", "");
        }
        let rules = &outlet.rules;
        if rules.valid_minutes == 0 || rules.valid_minutes > 60 {
            self.add(format!("{path}.rules.valid_minutes"), "must be from 1 to 60", "");
        }
        if rules.minute_percent == 0 || rules.minute_percent > 100 {
            self.add(format!("{path}.rules.minute_percent"), "must be from 1 to 100", "");
        }
        for (index, status) in outlet.status.iter().enumerate() {
            if let Some(factor) = status.factor.as_deref().filter(|id| !outlet.factors.iter().any(|factor| factor.id == *id)) {
                self.add(format!("{path}.status[{index}].factor"), format!("the outlet has no factor `{factor}`"), "");
            }
        }
    }

    fn factor(&mut self, path: &str, outlet: &Outlet, factor: &Factor) {
        let of_gas = matches!(factor.unit, FactorUnit::MilligramPerCubicMetre | FactorUnit::Ppm);
        if of_gas != (outlet.kind == OutletKind::Stack) {
            self.add(format!("{path}.unit"), "does not fit the kind of the outlet", "a stack has mg/m3 or ppm, waste water mg/L or pH");
            return;
        }
        if !of_gas && (factor.reference.is_some() || matches!(factor.source, Source::NoAndNo2 { .. })) {
            self.add(path, "is of a stack: waste water has no `reference` and no NO", "");
            return;
        }
        let is_no = matches!(factor.source, Source::NoAndNo2 { .. });
        if factor.unit == FactorUnit::Ppm && factor.molar_mass.is_none() && !is_no {
            self.add(format!("{path}.molar_mass"), "ppm needs the molar mass in g/mol", "SO2 64, CO 28, NOx as NO2 46");
        }
        if factor.molar_mass.as_ref().is_some_and(|mass| !mass.is_positive()) {
            self.add(format!("{path}.molar_mass"), "must be above 0", "");
        }
        if factor.basis == Basis::Wet && outlet.humidity.is_none() {
            self.add(path, "a wet concentration needs `humidity`", "");
        }
        if factor.state == State::Actual {
            self.standard_state(path, outlet, "a concentration as it flows", false);
        }
        match &factor.reference {
            Some(_) if outlet.o2.is_none() => self.add(format!("{path}.reference"), "conversion needs the outlet's `o2`", ""),
            Some(Reference::O2(o2)) if o2.is_negative() || *o2 >= Number::from(21) => {
                self.add(format!("{path}.reference.o2"), "must be from 0 to below 21 %", "");
            }
            Some(Reference::Alpha(alpha)) if !alpha.is_positive() => {
                self.add(format!("{path}.reference.alpha"), "must be above 0", "");
            }
            _ => {}
        }
    }

    /// What as-it-flows needs to become standard state (HJ 212-2017 D.2.3 (18), (31)).
    fn standard_state(&mut self, path: &str, outlet: &Outlet, what: &str, humid: bool) {
        let needed = [
            ("temperature", outlet.temperature.is_none()),
            ("pressure", outlet.pressure.is_none()),
            ("barometric_pressure", outlet.barometric_pressure.is_none()),
            ("humidity", humid && outlet.humidity.is_none()),
        ];
        for (name, _) in needed.iter().filter(|(_, lacks)| *lacks) {
            self.add(
                path,
                format!("{what} needs the outlet's `{name}`"),
                format!("add `{name} = {{ point = ... }}` or `{{ value = ... }}`"),
            );
        }
    }

    fn bands(&mut self, path: &str, device: &PoweredDevice) {
        if device.interval_ms == 0 || device.interval_ms > INTERVAL_MS_MAX {
            self.add(format!("{path}.interval_ms"), "must be from 1 to 86400000", "");
        }
        let running = device.running_from_kw.as_ref().unwrap_or(&device.idle_below_kw);
        if device.off_below_kw.is_negative() || device.off_below_kw > device.idle_below_kw || device.idle_below_kw > *running {
            self.add(path, "bands must rise: 0 <= off_below_kw <= idle_below_kw <= running_from_kw", "");
        }
    }
}

/// Intervals of an outlet's channels, by their names.
fn intervals(outlet: &Outlet) -> Vec<(String, u32)> {
    let mut all = Vec::new();
    for (index, factor) in outlet.factors.iter().enumerate() {
        let mut add = |channel: &Channel| all.push((format!("factor[{index}].source"), channel.interval_ms));
        match &factor.source {
            Source::Point(channel) => add(channel),
            Source::NoAndNo2 { no, no2 } => std::iter::once(no).chain(no2).for_each(add),
        }
    }
    all.extend(outlet.o2.iter().map(|o2| ("o2".to_owned(), o2.interval_ms)));
    all.extend(auxiliaries(outlet).into_iter().filter_map(|(name, auxiliary, _)| Some((name.to_owned(), auxiliary?.interval_ms))));
    let of_flow = |flow: &Flow| match flow {
        Flow::Velocity { interval_ms, .. } => Some(*interval_ms),
        Flow::Actual(channel) | Flow::Standard(channel) => Some(channel.interval_ms),
        Flow::Water { .. } | Flow::Totaliser { .. } => None,
    };
    all.extend(outlet.flow.as_ref().and_then(of_flow).map(|interval_ms| ("flow".to_owned(), interval_ms)));
    all
}
