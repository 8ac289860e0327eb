//! What a reload leaves of doubts.

use std::sync::Arc;

use super::super::tests::{catalogue_of, gauge};
use super::*;
use crate::catalogue::{Device, Point};
use crate::model::{Decimal, Origin, PointId, Quality, Reason, Status, Step, UtcMillis};

/// A device of one point of power, or none, rated 1 kW where it is.
fn park(rated: bool, change: impl FnOnce(&mut Point)) -> Catalogue {
    let mut point = Point { quantity: "active_power".into(), ..gauge(1) };
    change(&mut point);
    let Catalogue { version, park, links, devices, .. } = catalogue_of(vec![point]);
    let mut device = Device::clone(&devices[0]);
    device.nameplate.rated_power_kw = rated.then(|| Decimal::new(1, 0));
    Catalogue::new(version, park, Vec::new(), links, vec![Arc::new(device)])
}

fn same(_: &mut Point) {}

#[test]
fn a_reload_ends_doubts_of_what_it_changes_and_no_other() {
    for (name, next, stays) in [
        ("nothing of the device", park(true, same), true),
        ("not checked any more", park(false, same), false),
        ("another scale", park(true, |point| point.scale = Decimal::new(1, 1)), false),
        ("no device any more", catalogue_of(Vec::new()), false),
    ] {
        let (metrics, health) = (Metrics::new(&prometheus::Registry::new()), HealthBoard::default());
        let mut plates = Plates::new(&park(true, same), &metrics, health.clone());
        let gauge = metrics.nameplate_doubt.with_label_values(&["modbus_tcp", "l", "d"]);
        let power = |minute: i64| {
            let (time, status) = (UtcMillis(minute * 60_000), Status::new(Quality::Good, Reason::None, Origin::Metered, Step::None));
            Sample { point: PointId(1), status, value: 500, source_time: None, received_time: time, record_time: time }
        };
        (0..600).for_each(|minute| plates.observe(&[power(minute)]));
        let is_doubted = || health.devices().iter().any(|(_, device)| device.doubt.is_some());
        assert!(gauge.get() == 1 && is_doubted(), "{name}");
        plates.set_catalogue(&next, &metrics);
        assert_eq!(gauge.get() == 1, stays, "{name}");
        if next.device("d").is_some() {
            assert_eq!(is_doubted(), stays, "{name}");
        }
    }
}
