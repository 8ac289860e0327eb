//! One device as its link sees it: blocks, schedule, patience, counters.

use std::sync::Arc;

use prometheus::{Histogram, IntCounter};

use super::Patience;
use super::schedule::Schedule;
use crate::catalogue::{Device, DeviceAddress, PointSource};
use crate::driver::backoff::Backoff;
use crate::metrics::Metrics;
use crate::model::{Now, Number, PointId, Reading, Reason};
use crate::protocol::modbus::{Limits, RegisterSource, Request, number, plan};

/// One device.
#[derive(Debug)]
pub(super) struct Unit {
    /// Its catalogue entry.
    pub(super) device: Arc<Device>,
    /// Accept only answers with its unit id.
    pub(super) check_unit: bool,
    /// Its reads.
    pub(super) blocks: Vec<Block>,
    /// The first of its points that no read can serve; a checked configuration has none.
    pub(super) refused: Option<String>,
    /// Its polls.
    pub(super) schedule: Schedule,
    /// Grows while it stays silent.
    pub(super) backoff: Backoff,
    /// Polls in a row without any answer.
    pub(super) silent_polls: u32,
    /// What was last told about it; `None` before the first poll.
    pub(super) up: Option<bool>,
    /// Its metrics.
    pub(super) counters: Counters,
}

/// One read and the points in it.
#[derive(Debug)]
pub(super) struct Block {
    /// What to send.
    pub(super) request: Request,
    /// The points, with their places in the block.
    points: Vec<(PointId, u16, RegisterSource)>,
    /// Grows while the device refuses it.
    pub(super) backoff: Backoff,
    /// Monotonic time before which it is not asked for again.
    pub(super) hold_until_ms: u64,
}

/// The metrics of one device, fetched once.
#[derive(Debug)]
pub(super) struct Counters {
    pub(super) readings: IntCounter,
    pub(super) skipped: IntCounter,
    pub(super) lateness: Histogram,
    pub(super) good: IntCounter,
    pub(super) timeout: IntCounter,
    pub(super) exception: IntCounter,
    pub(super) bad_answer: IntCounter,
    pub(super) link_down: IntCounter,
}

impl Counters {
    fn new(metrics: &Metrics, link: &str, device: &str) -> Self {
        let result = |result| metrics.requests.with_label_values(&["modbus_tcp", link, device, result]);
        Self {
            readings: metrics.readings_received.with_label_values(&["modbus_tcp", link, device]),
            skipped: metrics.polls_skipped.with_label_values(&["modbus_tcp", link, device]),
            lateness: metrics.poll_lateness.with_label_values(&["modbus_tcp", link, device]),
            good: result("good"),
            timeout: result("timeout"),
            exception: result("exception"),
            bad_answer: result("bad_answer"),
            link_down: result("link_down"),
        }
    }
}

impl Unit {
    /// Plans device number `index` of `count`; `None` when it is no Modbus device.
    pub(super) fn new(device: &Arc<Device>, index: usize, count: usize, metrics: &Metrics, patience: &Patience, now: Now) -> Option<Self> {
        let DeviceAddress::Modbus(address) = &device.address else { return None };
        let sources: Vec<_> = device
            .points
            .iter()
            .filter_map(|point| match &point.source {
                PointSource::Modbus(source) => Some((point, source)),
                PointSource::Mqtt | PointSource::Own => None,
            })
            .collect();
        let limits = Limits { max_block: address.max_block, max_gap: address.max_gap, forbidden: address.forbidden.clone() };
        let planned = plan(sources.iter().map(|(_, source)| *source), &limits);
        let mut refused = None;
        for (index, refusal) in &planned.refused {
            let point = sources.get(*index).map_or("", |(point, _)| point.identity.stable_id.as_str());
            tracing::error!(device = %device.id, point = %point, error = %refusal, "point cannot be read; mend its profile");
            refused.get_or_insert(format!("{point} cannot be read: {refusal}; mend its profile"));
        }
        let backoff = Backoff::new(patience.device_backoff_ms.0, patience.device_backoff_ms.1);
        let blocks = planned
            .blocks
            .into_iter()
            .map(|block| Block {
                request: Request { unit_id: address.unit_id, function: block.function, address: block.address, quantity: block.quantity },
                points: block
                    .members
                    .iter()
                    .filter_map(|member| sources.get(member.index).map(|(point, source)| (point.id, member.offset, (*source).clone())))
                    .collect(),
                backoff: Backoff::new(patience.device_backoff_ms.0, patience.device_backoff_ms.1),
                hold_until_ms: 0,
            })
            .collect();
        Some(Self {
            device: Arc::clone(device),
            check_unit: address.check_unit,
            blocks,
            refused,
            schedule: Schedule::new(address.poll_interval_ms, device.link.key.0, index, count, now),
            backoff,
            silent_polls: 0,
            up: None,
            counters: Counters::new(metrics, &device.link.id, &device.id),
        })
    }
}

impl Block {
    /// Readings of all points, from the data of this block's answer.
    pub(super) fn read(&self, data: &[u8], readings: &mut Vec<Reading>) {
        readings.extend(self.points.iter().map(|(point, offset, source)| Reading {
            point: *point,
            number: number(source, data, *offset),
            source_time: None,
        }));
    }

    /// Readings of all points that say why there is no number.
    pub(super) fn miss(&self, reason: Reason, readings: &mut Vec<Reading>) {
        readings.extend(self.points.iter().map(|(point, ..)| Reading {
            point: *point,
            number: Number::Missing(reason),
            source_time: None,
        }));
    }

    /// How many points are in it.
    pub(super) fn len(&self) -> u64 {
        u64::try_from(self.points.len()).unwrap_or(u64::MAX)
    }
}
