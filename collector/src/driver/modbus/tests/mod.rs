//! The driver against the simulated server on loopback.

mod faults;
mod outages;
mod load;
mod no_wrong_value;
mod lines;
mod late;
mod refused;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Patience, line::Line, run_line};
use crate::catalogue::{
    Device, DeviceAddress, DriverSettings, LineSettings, Link, ModbusAddress, ModbusRtuSettings, ModbusTcpSettings, Names, Point,
    PointSource, SerialFormat,
};
use crate::clock::{Clock, SystemClock};
use crate::driver::{LinkChange, LinkDevices, Message, Shared};
use crate::health::HealthBoard;
use crate::metrics::Metrics;
use crate::model::{Decimal, Kind, LinkKey, Medium, Number, Origin, PointId, PointIdentity, Reading, Unit, UtcMillis};
use crate::protocol::modbus::{ByteOrder, Function, RegisterSource, RegisterType};
use crate::sim::modbus::Bank;

pub(super) const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// Short delays, so that a test need not wait for the real ones.
pub(super) const IMPATIENT: Patience = Patience {
    connect_backoff_ms: (2, 10),
    device_backoff_ms: (20, 40),
    polls_until_down: 3,
    timeouts_until_reconnect: 3,
    link_down_repeat_ms: 60_000,
};

pub(super) fn source(function: Function, address: u16, register_type: RegisterType) -> RegisterSource {
    let order = match register_type.registers() {
        1 => ByteOrder::AB,
        2 => ByteOrder::ABCD,
        _ => ByteOrder::ABCDEFGH,
    };
    RegisterSource { function, address, register_type, order, not_available: Vec::new(), scale_register: None, codes: Vec::new() }
}

/// Holding registers of 16 bits at these addresses.
pub(super) fn words(addresses: &[u16]) -> Vec<RegisterSource> {
    addresses.iter().map(|&address| source(Function::HoldingRegisters, address, RegisterType::U16)).collect()
}

pub(super) fn link(id: &str, server: SocketAddr, timeout_ms: u32) -> Arc<Link> {
    link_with(id, server, timeout_ms, |_| {})
}

/// The same with other settings of the line.
pub(super) fn link_with(id: &str, server: SocketAddr, timeout_ms: u32, change: impl FnOnce(&mut LineSettings)) -> Arc<Link> {
    let mut line = LineSettings::default();
    change(&mut line);
    let host = server.ip().to_string();
    let settings = ModbusTcpSettings { host, port: server.port(), timeout_ms, connect_timeout_ms: 1_000, line };
    link_of(id, DriverSettings::ModbusTcp(settings))
}

/// Quick pauses, as on a fast line.
pub(super) fn quick_line(late_window_ms: u32) -> LineSettings {
    LineSettings { quiet_time_us: 1_750, late_window_ms, ..LineSettings::default() }
}

/// RTU frames over TCP.
pub(super) fn rtu_link(id: &str, server: SocketAddr, timeout_ms: u32, late_window_ms: u32) -> Arc<Link> {
    let (host, line) = (server.ip().to_string(), quick_line(late_window_ms));
    let settings = ModbusTcpSettings { host, port: server.port(), timeout_ms, connect_timeout_ms: 1_000, line };
    link_of(id, DriverSettings::ModbusRtuOverTcp(settings))
}

/// A serial port.
pub(super) fn serial_link(id: &str, path: &Path, timeout_ms: u32, late_window_ms: u32) -> Arc<Link> {
    let settings = ModbusRtuSettings {
        path: path.display().to_string(),
        format: SerialFormat::parse(115_200, "8N1").unwrap(),
        rs485: None,
        timeout_ms,
        line: quick_line(late_window_ms),
    };
    link_of(id, DriverSettings::ModbusRtu(settings))
}

/// Two pseudo-terminals that are the ends of a cable, by socat. The cable is cut when this is dropped.
pub(crate) struct Terminal {
    /// Our end.
    pub(crate) master: PathBuf,
    units: PathBuf,
    socat: Child,
}

impl Terminal {
    pub(crate) async fn start(folder: &Path, name: &str) -> Self {
        let (master, units) = (folder.join(format!("{name}-master")), folder.join(format!("{name}-units")));
        let end = |path: &Path| format!("pty,raw,echo=0,link={}", path.display());
        let socat = Command::new("socat").arg(end(&master)).arg(end(&units)).stderr(Stdio::null()).spawn().expect("socat (make tools)");
        let cable = Self { master, units, socat };
        let mut waits = 0;
        while !cable.master.exists() || !cable.units.exists() {
            assert!(waits < 3_000, "socat makes no terminals");
            waits += 1;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        cable
    }

    /// The end of the units.
    pub(crate) fn open(&self) -> serial2_tokio::SerialPort {
        serial2_tokio::SerialPort::open(&self.units, 115_200).expect("a terminal")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.socat.kill();
        let _ = self.socat.wait();
    }
}

pub(super) fn link_of(id: &str, driver: DriverSettings) -> Arc<Link> {
    Arc::new(Link { id: id.to_owned(), key: LinkKey::of(id), driver })
}

/// A device whose points are numbered from `first_point`.
pub(super) fn device(
    link: &Arc<Link>,
    id: &str,
    unit_id: u8,
    poll_interval_ms: u32,
    first_point: u32,
    sources: Vec<RegisterSource>,
) -> Arc<Device> {
    let name = Names { zh: id.to_owned(), en: id.to_owned() };
    let number = Unit::parse("1").unwrap();
    let points = sources.into_iter().zip(first_point..).map(|(source, point)| {
        Arc::new(Point {
            id: PointId(point),
            identity: PointIdentity { stable_id: format!("{id}/p{point}"), kind: Kind::Gauge, unit: number, decimals: 0 },
            device: id.to_owned(),
            local_id: format!("p{point}"),
            name: name.clone(),
            quantity: "number".to_owned(),
            medium: Medium::Power,
            reference: None,
            raw_unit: number,
            scale: Decimal::ONE,
            offset: Decimal::ZERO,
            valid_min: None,
            valid_max: None,
            modulus: None,
            rate_max_per_hour: None,
            rules: Default::default(),
            interval_ms: Some(poll_interval_ms),
            compliance: false,
            role: None,
            labels: BTreeMap::new(),
            source: PointSource::Modbus(source),
        })
    });
    Arc::new(Device {
        id: id.to_owned(),
        name: name.clone(),
        enterprise: None,
        link: Arc::clone(link),
        profile: None,
        origin: Origin::Simulated,
        nameplate: Default::default(),
        address: DeviceAddress::Modbus(ModbusAddress {
            unit_id,
            check_unit: true,
            poll_interval_ms,
            fast_interval_ms: poll_interval_ms,
            slow_interval_ms: poll_interval_ms,
            priorities: Default::default(),
            max_block: 125,
            max_gap: 0,
            forbidden: Vec::new(),
        }),
        points: points.collect(),
    })
}

/// A bank in which register `address` of unit `u` holds `u * 256 + address % 256`.
pub(super) fn plain_bank() -> Bank {
    Arc::new(|unit_id, _, address, quantity| {
        Ok((address..address.saturating_add(quantity)).map(|address| u16::from(unit_id) << 8 | address & 0xFF).collect())
    })
}

/// A driver at work.
pub(super) struct Running {
    pub(super) link: String,
    pub(super) driver: &'static str,
    pub(super) messages: mpsc::Receiver<Message>,
    pub(super) health: HealthBoard,
    pub(super) metrics: Metrics,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    pub(super) fn start(link: &Arc<Link>, devices: Vec<Arc<Device>>) -> Self {
        Self::start_with(link, devices, 1_000, Arc::new(SystemClock::new()), IMPATIENT)
    }

    pub(super) fn start_with(
        link: &Arc<Link>,
        devices: Vec<Arc<Device>>,
        capacity: usize,
        clock: Arc<dyn Clock>,
        patience: Patience,
    ) -> Self {
        Self::start_shared(link, devices, capacity, clock, patience, &Shared::default(), |_| {})
    }

    /// The same with what links share, and a last change to the line before it runs.
    pub(super) fn start_shared(
        link: &Arc<Link>,
        devices: Vec<Arc<Device>>,
        capacity: usize,
        clock: Arc<dyn Clock>,
        patience: Patience,
        shared: &Shared,
        change: impl FnOnce(&mut Line),
    ) -> Self {
        let (outlet, messages) = mpsc::channel(capacity);
        let (health, metrics, cancel) = (HealthBoard::default(), Metrics::new(&Registry::new()), CancellationToken::new());
        let devices = LinkDevices { link: Arc::clone(link), devices };
        let mut line = Line::new(&devices, outlet, health.clone(), &metrics, clock, shared, patience).expect("a Modbus link");
        change(&mut line);
        let stopped = cancel.clone();
        let task = tokio::spawn(async move { run_line(&mut line, stopped).await });
        Self { link: link.id.clone(), driver: link.driver.name(), messages, health, metrics, cancel, task }
    }

    async fn next(&mut self) -> Message {
        tokio::time::timeout(Duration::from_secs(30), self.messages.recv()).await.expect("a message in time").expect("a running driver")
    }

    /// The next readings, changes of state left out.
    pub(super) async fn readings(&mut self) -> (UtcMillis, Vec<Reading>) {
        loop {
            if let Message::Batch(batch) = self.next().await {
                assert!(batch.done.is_none() && batch.origin == Origin::Simulated);
                return (batch.received_time, batch.readings);
            }
        }
    }

    /// The next change of state, readings left out.
    pub(super) async fn change(&mut self) -> LinkChange {
        loop {
            if let Message::Link(change) = self.next().await {
                return change;
            }
        }
    }

    /// Reads on until a reading of `point` satisfies `wanted`.
    pub(super) async fn until(&mut self, point: u32, wanted: impl Fn(Number) -> bool) {
        loop {
            let (_, readings) = self.readings().await;
            if readings.iter().any(|reading| reading.point == PointId(point) && wanted(reading.number)) {
                return;
            }
        }
    }

    pub(super) async fn stop(self) {
        self.cancel.cancel();
        self.task.await.expect("the driver does not panic");
    }
}

pub(super) fn exact(value: i64) -> Number {
    Number::Exact(Decimal::new(value, 0))
}
