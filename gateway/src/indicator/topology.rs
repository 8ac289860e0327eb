//! Which meter stands where in the park's networks: electricity, gas, heat, water, charging.
//!
//! Mostly told by what the configuration has already: the role of a point, its quantity, and whose device it is. The table
//! `[gateway.topology]` adds what that cannot say, and outweighs it. What has no place enters no figure.
//!
//! | role | quantity | place |
//! |---|---|---|
//! | `gate` | `energy_import`, `gas_volume`, `heat_energy`, `water_volume` | comes in over the park's boundary |
//! | `gate` | `energy_export` | leaves over it |
//! | `generation` | `energy_export`, `energy_total` | PV, of its enterprise or feeding the park's network |
//! | `sub` | `energy_import`, `gas_volume`, `heat_energy` | use of its enterprise; of the public area without one |
//! | `sub` | `water_volume` | fresh water of its enterprise; of the public area without one |
//! | `sub` | `energy_export` | what its enterprise gives into the park's network |
//! | `sub` | `charging_energy` | use, as of any other user: for piles that no station meter stands before |
//! | a place (`feedstock`, `recirculated` ...) | any of these | that place |

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use garde::Validate;
use parkgate_collector::catalogue::{Catalogue, Draft, Misfit, Point};
use parkgate_collector::model::{Kind, Unit};
use parkgate_rules::Number;
use parkgate_rules::factor::{FactorKind, Factors};
use parkgate_rules::indicator::inputs::Place;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::figures::fuels;

/// Key of electricity in the coefficient table.
pub const ELECTRICITY: &str = "electricity";
/// Key of heat.
pub const HEAT: &str = "heat";
/// What water meters have in place of an energy.
pub const WATER: &str = "water";

/// `[gateway.topology]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TopologySettings {
    /// What gas meters measure: a key of the coefficient table, `natural_gas_gas_field` or `natural_gas_oil_field`.
    #[garde(skip)]
    pub gas: String,
    /// Region of the grid factor: a key of the table of grid factors.
    #[garde(skip)]
    pub region: String,
    /// Largest share of network loss that is taken as sound, a fraction; the balance check names what is above.
    #[garde(skip)]
    pub loss_share_max: Option<Number>,
    /// Files of factors that come before the built-in ones, relative to the main file; `config/factors` shows the form.
    #[garde(skip)]
    pub factor_files: Vec<PathBuf>,
    /// Meters whose place their role does not tell.
    #[garde(skip)]
    pub meter: Vec<MeterSettings>,
    /// Charging piles.
    #[garde(dive)]
    pub charger: Vec<ChargerSettings>,
}

impl Default for TopologySettings {
    fn default() -> Self {
        Self {
            gas: "natural_gas_gas_field".to_owned(),
            region: "sichuan".to_owned(),
            loss_share_max: None,
            factor_files: Vec::new(),
            meter: Vec::new(),
            charger: Vec::new(),
        }
    }
}

/// `[[gateway.topology.meter]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MeterSettings {
    /// Stable id of a counter, `acme/gas-2/gas_volume`.
    pub point: String,
    /// Where it stands.
    pub place: Place,
    /// Whose it is; that of its device unless given.
    #[serde(default)]
    pub enterprise: Option<String>,
    /// What it measures: a key of the coefficient table; by its quantity unless given.
    #[serde(default)]
    pub energy: Option<String>,
    /// Stable id of the counter that it is part of.
    #[serde(default)]
    pub parent: Option<String>,
}

/// `[[gateway.topology.charger]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChargerSettings {
    /// Id of the device. Its points `connector_state` are its guns, its `charging_energy` what it delivers.
    #[garde(skip)]
    pub device: String,
    /// Station that it belongs to.
    #[serde(default = "station")]
    #[garde(skip)]
    pub station: String,
    /// Rated power of the pile, kW.
    #[garde(skip)]
    pub rated_kw: Number,
    /// Guns.
    #[serde(default = "one_gun")]
    #[garde(range(min = 1, max = 16))]
    pub guns: u32,
    /// Codes of `connector_state` while it charges.
    #[serde(default = "charging_codes")]
    #[garde(skip)]
    pub charging: Vec<i64>,
    /// Codes of `connector_state` while it is out of order.
    #[serde(default)]
    #[garde(skip)]
    pub fault: Vec<i64>,
}

fn station() -> String {
    "park".to_owned()
}

fn one_gun() -> u32 {
    1
}

fn charging_codes() -> Vec<i64> {
    vec![1]
}

impl TopologySettings {
    /// What in the table does not fit the park; paths begin with `topology.`.
    pub fn misfits(&self, draft: &Draft) -> Vec<Misfit> {
        let owners: HashMap<&str, Option<&str>> =
            draft.devices().map(|device| (device.id.as_str(), device.enterprise.as_deref())).collect();
        let points: Vec<_> = draft.points().map(|point| (point, owners.get(point.device.as_str()).copied().flatten())).collect();
        let mut problems = place_all(self, &points, &|id| draft.has_enterprise(id)).1;
        if !self.gas.is_empty() && !Factors::built_in().knows(FactorKind::Equivalent, &self.gas) && self.factor_files.is_empty() {
            problems.push(misfit(
                "gas",
                format!("the coefficient table has no `{}`", self.gas),
                "config/factors/equivalent.toml has them all",
            ));
        }
        if self.loss_share_max.as_ref().is_some_and(|share| share.is_negative() || *share > Number::one()) {
            problems.push(misfit("loss_share_max", "is no fraction from 0 to 1".into(), "write 0.05 for 5 %"));
        }
        let mut chargers = HashSet::new();
        for (index, charger) in self.charger.iter().enumerate() {
            let wrong = |key: &str, message: String, help: &str| misfit(&format!("charger[{index}].{key}"), message, help);
            if !owners.contains_key(charger.device.as_str()) {
                let help = nearest(&charger.device, owners.keys().copied());
                problems.push(wrong("device", format!("there is no device `{}`", charger.device), &help));
            } else if !chargers.insert(charger.device.as_str()) {
                problems.push(wrong("device", format!("charger `{}` is there twice", charger.device), "keep one"));
            } else if !draft.points().any(|point| point.device == charger.device && point.quantity == STATES) {
                problems.push(wrong("device", format!("device `{}` has no point of quantity {STATES}", charger.device), "give it one"));
            }
            if !charger.rated_kw.is_positive() {
                problems.push(wrong("rated_kw", "must be above 0".into(), ""));
            }
        }
        problems
    }
}

/// Quantity of the states of a gun.
pub const STATES: &str = "connector_state";
/// Quantity of what a pile delivers.
pub const DELIVERED: &str = "charging_energy";

fn misfit(path: &str, message: String, help: &str) -> Misfit {
    Misfit { path: format!("topology.{path}"), message, help: help.to_owned() }
}

/// A meter in its place.
#[derive(Clone, Debug)]
pub struct Meter {
    /// Its point, a counter.
    pub point: Arc<Point>,
    /// Key of the coefficient table, or [`WATER`].
    pub energy: String,
    /// Where it stands.
    pub place: Place,
    /// Whose it is.
    pub enterprise: Option<String>,
    /// The counter that it is part of.
    pub parent: Option<String>,
}

/// A pile with the points that say what it does.
#[derive(Clone, Debug)]
pub struct Charger {
    /// As configured.
    pub settings: ChargerSettings,
    /// What it delivers, in kWh.
    pub delivered: Option<Arc<Point>>,
    /// States of its guns, in order.
    pub states: Vec<Arc<Point>>,
}

/// The park's networks.
#[derive(Clone, Debug, Default)]
pub struct Topology {
    /// Meters that have a place, in the order of the configuration.
    pub meters: Vec<Meter>,
    /// Piles.
    pub chargers: Vec<Charger>,
}

impl Topology {
    /// Of a catalogue, whose configuration was checked by [`TopologySettings::misfits`].
    pub fn new(settings: &TopologySettings, catalogue: &Catalogue) -> Self {
        let points: Vec<_> = catalogue
            .points
            .iter()
            .map(|point| (&**point, catalogue.device(&point.device).and_then(|device| device.enterprise.as_deref())))
            .collect();
        let has_enterprise = |id: &str| catalogue.enterprises.iter().any(|enterprise| enterprise.id == id);
        let placed = place_all(settings, &points, &has_enterprise).0.into_iter();
        let meters = placed.filter_map(|placed| {
            let Placed { index, energy, place, enterprise, parent } = placed;
            Some(Meter { point: Arc::clone(catalogue.points.get(index)?), energy, place, enterprise, parent })
        });
        let of_device = |device: &str, quantity: &str| -> Vec<Arc<Point>> {
            let points = catalogue.points.iter().filter(|point| point.device == device && point.quantity == quantity);
            points.cloned().collect()
        };
        let chargers = settings.charger.iter().map(|charger| Charger {
            settings: charger.clone(),
            delivered: of_device(&charger.device, DELIVERED).into_iter().find(|point| point.identity.kind == Kind::Counter),
            states: of_device(&charger.device, STATES).into_iter().filter(|point| point.identity.kind == Kind::State).collect(),
        });
        Self { meters: meters.collect(), chargers: chargers.collect() }
    }
}

/// A point, by its place in the list, in its place in the networks.
struct Placed {
    index: usize,
    energy: String,
    place: Place,
    enterprise: Option<String>,
    parent: Option<String>,
}

/// Puts all points in their places; what the table has wrong is told and left out.
fn place_all(
    settings: &TopologySettings,
    points: &[(&Point, Option<&str>)],
    has_enterprise: &dyn Fn(&str) -> bool,
) -> (Vec<Placed>, Vec<Misfit>) {
    let mut problems = Vec::new();
    let mut named: HashSet<&str> = HashSet::new();
    let mut by_table = Vec::new();
    for (index, meter) in settings.meter.iter().enumerate() {
        let wrong = |key: &str, message: String, help: &str| misfit(&format!("meter[{index}].{key}"), message, help);
        let find = |id: &str| points.iter().position(|(point, _)| point.identity.stable_id == id);
        let counters = points.iter().filter(|(point, _)| point.identity.kind == Kind::Counter);
        let ids = counters.map(|(point, _)| point.identity.stable_id.as_str());
        let Some(place) = find(&meter.point) else {
            problems.push(wrong("point", format!("there is no point `{}`", meter.point), &nearest(&meter.point, ids)));
            continue;
        };
        if !named.insert(meter.point.as_str()) {
            problems.push(wrong("point", format!("point `{}` is placed twice", meter.point), "a meter stands in one place: keep one"));
            continue;
        }
        if let Some(parent) = meter.parent.as_ref().filter(|parent| find(parent).is_none()) {
            problems.push(wrong("parent", format!("there is no point `{parent}`"), &nearest(parent, ids)));
        }
        if let Some(enterprise) = meter.enterprise.as_ref().filter(|enterprise| !has_enterprise(enterprise)) {
            problems.push(wrong("enterprise", format!("there is no enterprise `{enterprise}`"), "write the id of an [[enterprise]]"));
        }
        let Some((point, owner)) = points.get(place) else { continue };
        if point.identity.kind != Kind::Counter {
            let message = format!("point `{}` is no counter", meter.point);
            problems.push(wrong("point", message, "places are of registers that count; take the meter's energy or volume"));
            continue;
        }
        let enterprise = meter.enterprise.as_deref().or(*owner).map(str::to_owned);
        if needs_enterprise(meter.place) && enterprise.is_none() {
            let message = format!("a meter placed as {} needs an enterprise", name(meter.place));
            problems.push(wrong("place", message, "add enterprise = \"ID\""));
        }
        let Some(energy) = meter.energy.clone().or_else(|| energy_of(settings, point)) else {
            let message = format!("what `{}` measures is not told by its quantity `{}`", meter.point, point.quantity);
            problems.push(wrong("point", message, "add energy = \"KEY\", a key of the coefficient table"));
            continue;
        };
        if !is_known(settings, &energy) {
            let message = format!("the coefficient table has no `{energy}`");
            problems.push(wrong("energy", message, "config/factors/equivalent.toml has them all; `factor_files` may add some"));
        } else if let Err(message) = unit_fits(&energy, point.identity.unit) {
            problems.push(wrong("point", message, "choose the counter that the coefficient is for, or another energy"));
        }
        by_table.push(Placed { index: place, energy, place: meter.place, enterprise, parent: meter.parent.clone() });
    }
    let mut placed: Vec<Placed> = points
        .iter()
        .enumerate()
        .filter(|(_, (point, _))| point.identity.kind == Kind::Counter && !named.contains(point.identity.stable_id.as_str()))
        .filter_map(|(index, (point, owner))| {
            let energy = energy_of(settings, point)?;
            let place = by_role(point, *owner)?;
            unit_fits(&energy, point.identity.unit).ok()?;
            Some(Placed { index, energy, place, enterprise: owner.map(str::to_owned), parent: None })
        })
        .chain(by_table)
        .collect();
    placed.sort_by_key(|placed| placed.index);
    (placed, problems)
}

/// The place that a point's role tells.
fn by_role(point: &Point, owner: Option<&str>) -> Option<Place> {
    let role = point.role.as_deref()?;
    let out = point.quantity == "energy_export";
    let place = match (role, point.quantity.as_str()) {
        ("gate", _) if out => Place::GateExport,
        ("gate", "charging_energy") => return None,
        ("gate", _) => Place::Gate,
        ("generation", "energy_export" | "energy_total") => Place::Pv,
        ("sub", _) if out => Place::InternalExport,
        ("sub", "water_volume") if owner.is_some() => Place::Fresh,
        ("sub", _) if owner.is_some() => Place::Import,
        ("sub", _) => Place::Public,
        ("generation", _) => return None,
        (role, _) => serde_json::from_value(serde_json::Value::String(role.to_owned())).ok()?,
    };
    (!needs_enterprise(place) || owner.is_some()).then_some(place)
}

/// What a point measures, by its quantity.
fn energy_of(settings: &TopologySettings, point: &Point) -> Option<String> {
    Some(match point.quantity.as_str() {
        "energy_import" | "energy_export" | "energy_total" | "charging_energy" => ELECTRICITY.to_owned(),
        "heat_energy" => HEAT.to_owned(),
        "gas_volume" => settings.gas.clone(),
        "water_volume" | "waste_water_volume" | "outlet_volume" => WATER.to_owned(),
        _ => return None,
    })
}

/// Whether a place is of an enterprise only.
fn needs_enterprise(place: Place) -> bool {
    matches!(place, Place::InternalExport | Place::Import | Place::Fresh | Place::Household | Place::Recirculated)
}

/// Whether there is a coefficient of that key; files of the park's own may have any.
fn is_known(settings: &TopologySettings, energy: &str) -> bool {
    matches!(energy, ELECTRICITY | HEAT | WATER) || !settings.factor_files.is_empty() || fuels().any(|fuel| fuel.key == energy)
}

/// Units that an energy's meters may be stored in, as the pure core reads them: those its coefficient can be per.
fn unit_fits(energy: &str, unit: Unit) -> Result<(), String> {
    let units: &[&str] = match energy {
        ELECTRICITY => &["kWh", "MWh"],
        HEAT => &["GJ", "MJ"],
        WATER => &["m3"],
        fuel => match fuels().find(|row| row.key == fuel).map(|row| row.unit.as_str()) {
            Some("kg" | "t") => &["kg", "t"],
            Some("m3" | "Nm3") => &["m3", "Nm3"],
            _ => &["m3", "Nm3", "kg", "t"],
        },
    };
    if units.contains(&unit.symbol()) {
        return Ok(());
    }
    Err(format!("{unit} is no unit of {energy}: it is counted in {}", units.join(" or ")))
}

/// A place's name in configuration and answers.
pub fn name(place: Place) -> String {
    serde_json::to_value(place).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn nearest<'a>(written: &str, known: impl Iterator<Item = &'a str>) -> String {
    match known.min_by_key(|known| strsim::damerau_levenshtein(known, written)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "the configuration has none".to_owned(),
    }
}

#[cfg(test)]
mod tests;
