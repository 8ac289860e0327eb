//! What of the catalogue someone sees. Handlers look for points and devices here and nowhere else: what is outside the
//! scope is not there, and is not suggested either.

use std::collections::HashSet;
use std::sync::Arc;

use parkgate_collector::catalogue::{Catalogue, Device, Enterprise, Point};

use super::error::{Problem, nearest};
use crate::access::Identity;

/// The catalogue as one identity sees it.
#[derive(Clone, Copy)]
pub struct Visible<'a> {
    catalogue: &'a Catalogue,
    identity: &'a Identity,
}

impl<'a> Visible<'a> {
    /// As `identity` sees it.
    pub fn new(catalogue: &'a Catalogue, identity: &'a Identity) -> Self {
        Self { catalogue, identity }
    }

    /// Points, in the order of the configuration.
    pub fn points(self) -> impl Iterator<Item = &'a Arc<Point>> {
        self.catalogue.points.iter().filter(move |point| self.sees(point))
    }

    /// Devices that have a visible point, in the order of the configuration; those without any point only for who sees
    /// everything.
    pub fn devices(self) -> impl Iterator<Item = &'a Arc<Device>> {
        self.catalogue.devices.iter().filter(move |device| self.sees_device(device))
    }

    /// Enterprises that have a visible device, or that the scope names, in the order of the configuration.
    pub fn enterprises(self) -> impl Iterator<Item = &'a Enterprise> {
        let with_devices: HashSet<&str> = self.devices().filter_map(|device| device.enterprise.as_deref()).collect();
        let scope = &self.identity.scope;
        self.catalogue.enterprises.iter().filter(move |enterprise| {
            scope.is_everything() || scope.enterprises.contains(&enterprise.id) || with_devices.contains(enterprise.id.as_str())
        })
    }

    /// Visible points of a device, in the order of the configuration.
    pub fn points_of(self, device: &'a Device) -> impl Iterator<Item = &'a Arc<Point>> {
        device.points.iter().filter(move |point| self.identity.sees(device, point))
    }

    /// The point of a stable id, or a 404 that names the nearest.
    pub fn point(self, id: &str) -> Result<&'a Arc<Point>, Problem> {
        self.catalogue
            .point_by_stable_id(id)
            .filter(|point| self.sees(point))
            .ok_or_else(|| Problem::not_found("point", id, nearest(id, self.points().map(|point| point.identity.stable_id.as_str()))))
    }

    /// The device of an id, or a 404 that names the nearest.
    pub fn device(self, id: &str) -> Result<&'a Arc<Device>, Problem> {
        self.catalogue
            .device(id)
            .filter(|device| self.sees_device(device))
            .ok_or_else(|| Problem::not_found("device", id, nearest(id, self.devices().map(|device| device.id.as_str()))))
    }

    /// Whether a point is visible.
    pub fn sees(self, point: &Point) -> bool {
        self.catalogue.device(&point.device).is_some_and(|device| self.identity.sees(device, point))
    }

    /// Whether a device is.
    pub fn sees_device(self, device: &Device) -> bool {
        self.identity.scope.is_everything() || self.points_of(device).next().is_some()
    }

    /// Whether all that is said of a device is about visible points: errors name addresses and values.
    pub fn sees_all_of(self, device: &Device) -> bool {
        self.points_of(device).count() == device.points.len()
    }

    /// Whether nothing is hidden: what is said of a link may be about any of its devices.
    pub fn sees_everything(self) -> bool {
        self.identity.scope.is_everything()
    }
}
