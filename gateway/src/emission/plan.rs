//! Outlets and abatement pairs joined to the points of the catalogue: what the follower reads, and who may see it.

use std::collections::HashMap;
use std::sync::Arc;

use parkgate_collector::catalogue::{Catalogue, Point};
use parkgate_collector::model::{PointId, UtcMillis};
use parkgate_rules::emission::Outlet;
use parkgate_rules::emission::abatement::AbatementPair;

use super::settings::is_named;
use crate::access::Identity;
use crate::rollup::{ParkZone, rule};

/// What is counted.
#[derive(Debug)]
pub struct Plan {
    /// The park's calendar.
    pub zone: ParkZone,
    /// Before this no clock is believed.
    pub not_before: UtcMillis,
    /// Outlets, in order of the configuration.
    pub outlets: Vec<PlannedOutlet>,
    /// Pairs, in order of the configuration.
    pub pairs: Vec<PlannedPair>,
    catalogue: Arc<Catalogue>,
}

/// An outlet with its points.
#[derive(Clone, Debug)]
pub struct PlannedOutlet {
    /// As configured.
    pub outlet: Outlet,
    /// Its points, each under the name by which the configuration has it.
    pub points: Vec<(String, Arc<Point>)>,
}

/// A pair with its points.
#[derive(Clone, Debug)]
pub struct PlannedPair {
    /// As configured.
    pub pair: AbatementPair,
    /// Its points, each under the name by which the configuration has it.
    pub points: Vec<(String, Arc<Point>)>,
}

impl Plan {
    /// Joins what [`super::settings::misfits`] found nothing wrong with; points that are not there are left out.
    pub fn new(catalogue: &Arc<Catalogue>, outlets: &[Outlet], pairs: &[AbatementPair]) -> Self {
        let point = |name: &str| {
            let found = catalogue.points.iter().find(|point| is_named(point, name));
            found.map(|point| (name.to_owned(), Arc::clone(point)))
        };
        let outlets = outlets
            .iter()
            .map(|outlet| PlannedOutlet { points: outlet.points().into_iter().filter_map(point).collect(), outlet: outlet.clone() });
        let pairs = pairs.iter().map(|pair| PlannedPair {
            points: [&pair.production.point, &pair.abatement.point].into_iter().filter_map(|name| point(name)).collect(),
            pair: pair.clone(),
        });
        Self {
            outlets: outlets.collect(),
            pairs: pairs.collect(),
            zone: ParkZone::new(&catalogue.park.time_zone),
            not_before: rule::not_before(catalogue),
            catalogue: Arc::clone(catalogue),
        }
    }

    /// Whether all is counted alike, and seen by the same people.
    pub fn is_like(&self, other: &Self) -> bool {
        let alike = |one: &[(String, Arc<Point>)], others: &[(String, Arc<Point>)]| {
            let sight = |plan: &Self, point: &Point| plan.catalogue.device(&point.device).map(|device| device.enterprise.clone());
            one == others && one.iter().all(|(_, point)| sight(self, point) == sight(other, point))
        };
        let outlets =
            self.outlets.iter().zip(&other.outlets).all(|(one, other)| one.outlet == other.outlet && alike(&one.points, &other.points));
        let pairs = self.pairs.iter().zip(&other.pairs).all(|(one, other)| one.pair == other.pair && alike(&one.points, &other.points));
        self.outlets.len() == other.outlets.len() && self.pairs.len() == other.pairs.len() && outlets && pairs
    }

    /// The outlet of an id.
    pub fn outlet(&self, id: &str) -> Option<&PlannedOutlet> {
        self.outlets.iter().find(|planned| planned.outlet.id == id)
    }

    /// The pair of an id.
    pub fn pair(&self, id: &str) -> Option<&PlannedPair> {
        self.pairs.iter().find(|planned| planned.pair.id == id)
    }

    /// Outlets, by their places, that read a point.
    pub fn outlets_by_point(&self) -> HashMap<PointId, Vec<usize>> {
        by_point(self.outlets.iter().map(|planned| planned.points.as_slice()))
    }

    /// Pairs, by their places, that read a point.
    pub fn pairs_by_point(&self) -> HashMap<PointId, Vec<usize>> {
        by_point(self.pairs.iter().map(|planned| planned.points.as_slice()))
    }

    /// Whether somebody may see an outlet: all that its figures are made of. One figure tells of several points.
    pub fn sees_outlet(&self, identity: &Identity, id: &str) -> bool {
        self.outlet(id).is_some_and(|planned| self.sees_all(identity, &planned.points))
    }

    /// Whether somebody may see a pair: the power of both.
    pub fn sees_pair(&self, identity: &Identity, id: &str) -> bool {
        self.pair(id).is_some_and(|planned| self.sees_all(identity, &planned.points))
    }

    fn sees_all(&self, identity: &Identity, points: &[(String, Arc<Point>)]) -> bool {
        !points.is_empty()
            && points.iter().all(|(_, point)| self.catalogue.device(&point.device).is_some_and(|device| identity.sees(device, point)))
    }
}

fn by_point<'a>(lists: impl Iterator<Item = &'a [(String, Arc<Point>)]>) -> HashMap<PointId, Vec<usize>> {
    let mut found: HashMap<PointId, Vec<usize>> = HashMap::new();
    for (place, points) in lists.enumerate() {
        for (_, point) in points {
            let places = found.entry(point.id).or_default();
            if places.last() != Some(&place) {
                places.push(place);
            }
        }
    }
    found
}
