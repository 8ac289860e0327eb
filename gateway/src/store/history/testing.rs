//! Samples and folders for the tests of history.

use std::sync::Arc;

use parkgate_collector::model::{Origin, PointId, Quality, Reason, Sample, Status, Step, UtcMillis};
use proptest::prelude::*;

use super::ComplianceOf;
use crate::store::StoreError;

/// 2026-11-01T00:00:00Z.
pub(crate) const NOVEMBER: i64 = 1_793_491_200_000;

/// Any sample of point 7, the extremes included.
pub(super) fn any_sample() -> impl Strategy<Value = Sample> {
    let time = prop_oneof![3 => NOVEMBER..NOVEMBER + 1_000_000, 1 => any::<i64>()];
    let offset = prop_oneof![Just(None), Just(Some(0)), (-100_000i64..100_000).prop_map(Some)];
    let value = prop_oneof![3 => -1000i64..1000, 1 => any::<i64>()];
    (time, offset, 0i64..50, value, any_status()).prop_map(|(record, source, received, value, status)| Sample {
        point: PointId(7),
        status,
        value,
        source_time: source.map(|offset| UtcMillis(record.wrapping_add(offset))),
        received_time: UtcMillis(record.wrapping_add(received)),
        record_time: UtcMillis(record),
    })
}

fn any_status() -> impl Strategy<Value = Status> {
    let pick = |count: usize| 0..count;
    (pick(3), pick(13), pick(7), pick(6), any::<bool>()).prop_map(|(quality, reason, origin, step, number)| {
        let status = Status::new(Quality::ALL[quality], Reason::ALL[reason], Origin::ALL[origin], Step::ALL[step]);
        if number { status } else { status.without_number() }
    })
}

/// A good sample without a source time, received when recorded.
pub(crate) fn sample(point: u32, time: i64, value: i64) -> Sample {
    Sample {
        point: PointId(point),
        status: Status::new(Quality::Good, Reason::None, Origin::Metered, Step::None),
        value,
        source_time: None,
        received_time: UtcMillis(time),
        record_time: UtcMillis(time),
    }
}

/// Points with an odd number are compliance points.
pub(crate) fn odd() -> ComplianceOf {
    Arc::new(|point| point.0 % 2 == 1)
}

/// What a step hook answers in place of a crash or a full disk.
pub(super) fn crash(step: &str) -> StoreError {
    StoreError::Io { path: step.into(), error: std::io::ErrorKind::StorageFull.into() }
}
