//! What a park has, as boards need it: one flow per quantity and unit, with its meters and their roles.

use parkgate_collector::catalogue::{Catalogue, Names};
use parkgate_collector::model::{Medium, PointIdentity};
use parkgate_rules::emission::outlet::{Outlet, OutletKind};

use crate::series::What;
use crate::titles::{self, Title};

/// Role of a meter at the park's boundary.
pub const GATE: &str = "gate";
/// Role of a meter behind it, next in line: all of them together are what the gate measures, less losses.
pub const SUB: &str = "sub";
/// Role of a generator.
pub const GENERATION: &str = "generation";

/// A park, for its boards.
#[derive(Clone, Debug)]
pub struct Park {
    /// Names.
    pub name: Title,
    /// IANA name of the zone of its days and months.
    pub time_zone: String,
    /// Seconds that its clocks are east of UTC at least.
    pub seconds_east: i32,
    /// One per medium, quantity and unit, in order of the configuration.
    pub flows: Vec<Flow>,
    /// Which kinds of outlets are judged.
    pub outlets: Outlets,
}

/// Kinds of outlets that a park has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outlets {
    /// A stack.
    pub stack: bool,
    /// A waste-water outlet.
    pub waste_water: bool,
}

/// All points of one quantity in one unit.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Quantity.
    pub quantity: String,
    /// Medium.
    pub medium: Medium,
    /// Of its first point: kind and unit are those of all.
    identity: PointIdentity,
    /// Its meters in order of the configuration.
    pub meters: Vec<Meter>,
}

/// A meter of a flow.
#[derive(Clone, Debug)]
pub struct Meter {
    /// Id of the device.
    pub device: String,
    /// Names of the device.
    pub name: Title,
    /// Role of the point.
    pub role: Option<String>,
}

impl Park {
    /// Of a catalogue and the outlets of the settings. The gateway's own metrics are no flow of the park.
    pub fn of(catalogue: &Catalogue, outlets: &[Outlet]) -> Self {
        let mut flows: Vec<Flow> = Vec::new();
        for point in catalogue.points.iter().filter(|point| point.medium != Medium::Gateway) {
            let name =
                catalogue.device(&point.device).map_or_else(|| Title::new(&*point.device, &*point.device), |device| title(&device.name));
            let meter = Meter { device: point.device.clone(), name, role: point.role.clone() };
            let same = |flow: &&mut Flow| {
                flow.medium == point.medium
                    && flow.quantity == point.quantity
                    && flow.identity.unit == point.identity.unit
                    && flow.identity.kind == point.identity.kind
            };
            match flows.iter_mut().find(same) {
                Some(flow) => flow.meters.push(meter),
                None => flows.push(Flow {
                    quantity: point.quantity.clone(),
                    medium: point.medium,
                    identity: point.identity.clone(),
                    meters: vec![meter],
                }),
            }
        }
        let has = |kind: OutletKind| outlets.iter().any(|outlet| outlet.kind == kind);
        let outlets = Outlets { stack: has(OutletKind::Stack), waste_water: has(OutletKind::WasteWater) };
        let time_zone = catalogue.park.time_zone.clone();
        Self { name: title(&catalogue.park.name), seconds_east: seconds_east(&time_zone), time_zone, flows, outlets }
    }

    /// Flows of a quantity, one per unit.
    pub fn flows_of(&self, quantity: &str) -> impl Iterator<Item = &Flow> {
        self.flows.iter().filter(move |flow| flow.quantity == quantity)
    }
}

impl Flow {
    /// One of its series.
    pub fn series(&self, what: What) -> String {
        what.name(&self.quantity, &self.identity)
    }

    /// Grafana's id of its unit.
    pub fn unit(&self) -> String {
        titles::grafana_unit(self.identity.unit)
    }

    /// Whether a meter of a role is there.
    pub fn has(&self, role: &str) -> bool {
        self.meters.iter().any(|meter| meter.role.as_deref() == Some(role))
    }

    /// The role whose meters together are the park's total: the gates. Where there are none, meters of [`SUB`], which
    /// are not behind each other. `None` for a park that tells no roles: its meters must not be added.
    pub fn total_role(&self) -> Option<&'static str> {
        [GATE, SUB].into_iter().find(|role| self.has(role))
    }

    /// The role that a breakdown shows: [`SUB`] where there is one, else the meters without a role.
    pub fn part_role(&self) -> &'static str {
        if self.has(SUB) { SUB } else { "" }
    }

    /// Meters of a role; of none for the empty text.
    pub fn meters_of<'a>(&'a self, role: &'a str) -> impl Iterator<Item = &'a Meter> {
        self.meters.iter().filter(move |meter| meter.role.as_deref().unwrap_or_default() == role)
    }
}

/// The least offset in a year with and without summer time. UTC for a zone that is not known.
fn seconds_east(zone: &str) -> i32 {
    let zone = jiff::tz::TimeZone::get(zone).unwrap_or(jiff::tz::TimeZone::UTC);
    let offset = |(year, month)| Some(jiff::civil::date(year, month, 1).to_zoned(zone.clone()).ok()?.offset().seconds());
    [(2026, 1), (2026, 7)].into_iter().filter_map(offset).min().unwrap_or(0)
}

fn title(names: &Names) -> Title {
    Title::new(&*names.zh, &*names.en)
}
