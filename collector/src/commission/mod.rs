//! What a person tries before and while a meter is connected: reading without a park, a journal or a pipeline.
//!
//! [`outlook`] what reading will cost, before anything is connected; [`profile_test`] a profile's own tests; [`probe`] one
//! device read once, with what is wrong and what to do; [`verdict`] the judgement of one point; [`scan`] which units a line
//! has; [`sunspec`] which models a SunSpec device has. All but the connections of [`probe`] and [`scan`] is pure.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

pub mod outlook;
pub mod profile_test;
pub mod verdict;
pub mod probe;
pub mod scan;
pub mod sunspec;

use std::sync::Arc;

use crate::catalogue::{Device, DeviceAddress, Point, PointSource};
use crate::protocol::modbus::{Limits, Plan, RegisterSource, plan};

/// A point and where its number is.
type Read<'a> = (&'a Arc<Point>, &'a RegisterSource);

/// The points of a Modbus device with their registers, in order, and how they are read; `None` for another device.
fn planned(device: &Device) -> Option<(Vec<Read<'_>>, Plan)> {
    planned_of(device, |_| true)
}

/// The same for some of its points, by their local ids.
fn planned_of(device: &Device, takes: impl Fn(&str) -> bool) -> Option<(Vec<Read<'_>>, Plan)> {
    let DeviceAddress::Modbus(address) = &device.address else { return None };
    let points: Vec<_> = device
        .points
        .iter()
        .filter(|point| takes(&point.local_id))
        .filter_map(|point| match &point.source {
            PointSource::Modbus(source) => Some((point, source)),
            PointSource::Mqtt | PointSource::Own | PointSource::Formula(_) => None,
        })
        .collect();
    let limits = Limits { max_block: address.max_block, max_gap: address.max_gap, forbidden: address.forbidden.clone() };
    let plan = plan(points.iter().map(|(_, source)| *source), &limits);
    Some((points, plan))
}
