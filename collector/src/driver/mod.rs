//! Drivers: I/O only, one folder each. This file is THE place to add one.
//!
//! A driver turns what devices say into [`Batch`]es of readings, hands them to the pipeline through a [`Outlet`], and
//! answers its peer only when `done` says durable. It knows neither normaliser nor journal.

pub mod backoff;
mod kept;
pub mod modbus;
pub mod mqtt;

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::catalogue::{Catalogue, Device, DriverSettings};
use crate::clock::Clock;
use crate::health::HealthBoard;
use crate::metrics::Metrics;
pub use crate::model::DeliveredRange;
use crate::model::{LinkKey, Origin, PointId, Reading, Rejected, UtcMillis};

/// Readings that arrived together on one link and become durable together.
#[derive(Debug)]
pub struct Batch {
    /// The link they came by.
    pub link: LinkKey,
    /// When they arrived.
    pub received_time: UtcMillis,
    /// The readings, in order of arrival.
    pub readings: Vec<Reading>,
    /// Origin of all of them (a link mixes no origins).
    pub origin: Origin,
    /// How messages without a time of their own are recognised when the broker delivers them again: one entry per such
    /// message, with the range of its readings.
    pub deliveries: Vec<DeliveredRange>,
    /// Input that could not be decoded, for the rejects ring.
    pub rejected: Vec<Rejected>,
    /// Told once, when the batch is durable or cannot become so. A dropped sender means not durable.
    pub done: Option<oneshot::Sender<Outcome>>,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// On disk, synced.
    Durable,
    /// Not on disk, and not going to be: do not answer the peer.
    NotDurable,
}

/// A link or a device changed its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkChange {
    /// The link.
    pub link: LinkKey,
    /// Stable id of the device concerned; empty: the whole link.
    pub device: String,
    /// Whether it can be reached now.
    pub up: bool,
    /// Why, for a person.
    pub why: String,
    /// When.
    pub time: UtcMillis,
}

/// What drivers send to the pipeline.
#[derive(Debug)]
pub enum Message {
    /// Readings.
    Batch(Batch),
    /// A change of state.
    Link(LinkChange),
    /// The peer of a link has forgotten what it delivered: marks of deliveries before this one mean nothing any more.
    NewSession(LinkKey),
    /// What comes behind this is read by another catalogue, and the next registers of these points, which are read or scaled
    /// otherwise, begin anew. Told once that holds: whether it does over a crash as well.
    Catalogue(Arc<Catalogue>, Vec<PointId>, oneshot::Sender<bool>),
}

/// Batches on their way from one driver to the pipeline; when full, drivers wait, and so do their peers.
pub type Outlet = mpsc::Sender<Message>;

/// What drivers of all links share. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Shared {
    /// What Modbus devices refused, remembered across restarts where it has a file.
    pub learned: modbus::learned::Learned,
    /// Where devices connect to us.
    pub listeners: modbus::dial_in::Listeners,
    /// What may still come on lines in RTU frames.
    pub due: modbus::due::DueLines,
    /// What MQTT sessions may have subscribed, remembered across restarts where it has a file.
    pub sessions: mqtt::sessions::Sessions,
}

/// Devices of one link, handed to its driver.
#[derive(Clone, Debug)]
pub struct LinkDevices {
    /// The link with its settings.
    pub link: Arc<crate::catalogue::Link>,
    /// The devices reached by it.
    pub devices: Vec<Arc<Device>>,
}

impl LinkDevices {
    /// Every link of a catalogue that devices are reached by, in its order.
    pub fn of(catalogue: &Catalogue) -> Vec<Self> {
        let links =
            catalogue.links.iter().map(|link| Self { link: Arc::clone(link), devices: catalogue.devices_of(link).cloned().collect() });
        links.filter(|link| !link.devices.is_empty()).collect()
    }
}

/// Runs the driver that a link's settings name, until `cancel`; then what it has is handed over, within some seconds.
pub async fn run(
    devices: LinkDevices,
    outlet: Outlet,
    health: HealthBoard,
    metrics: Metrics,
    clock: Arc<dyn Clock>,
    shared: Shared,
    cancel: CancellationToken,
) {
    match &devices.link.driver {
        DriverSettings::Mqtt(_) => mqtt::run(devices, outlet, health, metrics, clock, shared.sessions, cancel).await,
        DriverSettings::ModbusTcp(_)
        | DriverSettings::ModbusRtu(_)
        | DriverSettings::ModbusRtuOverTcp(_)
        | DriverSettings::ModbusDialIn(_) => modbus::run(devices, outlet, health, metrics, clock, shared, cancel).await,
        DriverSettings::Own => cancel.cancelled().await,
    }
}
