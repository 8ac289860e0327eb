//! The task of one link: connects, asks the device that is due, hands over its readings.

use std::sync::Arc;
use std::time::Duration;

use prometheus::{IntCounter, IntGauge};
use tokio::net::TcpStream;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{sleep, timeout};

use super::Patience;
use super::unit::Unit;
use super::wire::{Connection, ExchangeError, Wire};
use crate::catalogue::{DriverSettings, ModbusTcpSettings};
use crate::clock::Clock;
use crate::driver::backoff::Backoff;
use crate::driver::{Batch, LinkChange, LinkDevices, Message, Outlet};
use crate::health::{Health, HealthBoard, State};
use crate::metrics::Metrics;
use crate::model::{LinkKey, Origin, Reading, Reason, UtcMillis};
use crate::protocol::modbus::{AnswerError, Request, frame::Retry};

/// Readings in one batch; a batch that reaches it is sent.
const BATCH_READINGS_MAX: usize = 2_000;
/// Answers that arrive within this time share a batch and its received time.
const BATCH_SPAN_MS: i64 = 5;
/// Requests in a row without answer after which the rest of a poll is not asked for.
const TIMEOUTS_PER_POLL: u32 = 2;

/// The pipeline is gone; there is nothing left to do.
pub(super) struct PipelineGone;

/// One link.
pub(super) struct Line {
    id: String,
    settings: ModbusTcpSettings,
    patience: Patience,
    units: Vec<Unit>,
    wire: Option<Wire>,
    /// Since it was made, the connection has brought an answer, so the next one may be made at once.
    proven: bool,
    timeouts_in_row: u32,
    backoff: Backoff,
    up: Option<bool>,
    link_down_told_ms: Option<u64>,
    /// Data of the last answer; one buffer for all.
    registers: Vec<u8>,
    output: Output,
    health: HealthBoard,
    clock: Arc<dyn Clock>,
    dropped: IntCounter,
    connects: IntCounter,
    link_up: IntGauge,
}

impl Line {
    /// A link with its devices; `None` when it is no Modbus link.
    pub(super) fn new(
        devices: &LinkDevices,
        outlet: Outlet,
        health: HealthBoard,
        metrics: &Metrics,
        clock: Arc<dyn Clock>,
        patience: Patience,
    ) -> Option<Self> {
        let link = &devices.link;
        let DriverSettings::ModbusTcp(settings) = &link.driver else { return None };
        let (now, count) = (clock.now(), devices.devices.len());
        let units = devices.devices.iter().enumerate();
        let units: Vec<_> = units.filter_map(|(index, device)| Unit::new(device, index, count, metrics, &patience, now)).collect();
        for unit in &units {
            if let Some(refused) = &unit.refused {
                health.device(&unit.device.id, |health| health.error(now.utc, State::Degraded, refused.as_str()));
            }
        }
        let labels = ["modbus_tcp", link.id.as_str()];
        Some(Self {
            id: link.id.clone(),
            settings: settings.clone(),
            patience,
            units,
            wire: None,
            proven: true,
            timeouts_in_row: 0,
            backoff: Backoff::new(patience.connect_backoff_ms.0, patience.connect_backoff_ms.1),
            up: None,
            link_down_told_ms: None,
            registers: Vec::with_capacity(crate::protocol::modbus::frame::FRAME_LENGTH_MAX),
            output: Output { link: link.key, outlet, readings: Vec::new(), received_time: UtcMillis(0), origin: Origin::Metered },
            health,
            clock,
            dropped: metrics.answers_dropped.with_label_values(&labels),
            connects: metrics.connects.with_label_values(&labels),
            link_up: metrics.link_up.with_label_values(&labels),
        })
    }

    /// Works until the pipeline is gone. Dropped at any await it leaves only the connection unusable.
    pub(super) async fn work(&mut self) -> Result<(), PipelineGone> {
        self.connect().await?;
        loop {
            let Some((due_ms, index)) = self.units.iter().enumerate().map(|(index, unit)| (unit.schedule.due_ms(), index)).min() else {
                return std::future::pending().await;
            };
            let wait_ms = due_ms.saturating_sub(self.clock.now().monotonic_ms);
            if wait_ms > 0 {
                self.output.flush().await?;
                sleep(Duration::from_millis(wait_ms)).await;
                continue;
            }
            if !self.wire.as_mut().is_some_and(Wire::is_usable) {
                self.wire = None;
                self.connect().await?;
            }
            self.poll(index).await?;
        }
    }

    /// Sends what is left, if there is room.
    pub(super) fn stop(&mut self) {
        self.wire = None;
        self.link_up.set(0);
        if let Some(message) = self.output.take() {
            let _ = self.output.outlet.try_send(message);
        }
    }

    /// Tries until the link is up.
    async fn connect(&mut self) -> Result<(), PipelineGone> {
        self.output.flush().await?;
        let mut wait = !self.proven;
        loop {
            if wait {
                sleep(self.backoff.next_delay()).await;
            }
            wait = true;
            let address = (self.settings.host.as_str(), self.settings.port);
            let limit = Duration::from_millis(u64::from(self.settings.connect_timeout_ms));
            let error = match timeout(limit, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => match stream.set_nodelay(true) {
                    Ok(()) => return self.connected(stream).await,
                    Err(error) => error.to_string(),
                },
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer in {} ms", self.settings.connect_timeout_ms),
            };
            let (host, port) = address;
            self.link_down(format!("cannot connect to {host}:{port}: {error}; check address, port and cabling")).await?;
        }
    }

    async fn connected(&mut self, stream: TcpStream) -> Result<(), PipelineGone> {
        self.wire = Some(Wire::new(stream, self.dropped.clone()));
        self.proven = false;
        self.timeouts_in_row = 0;
        self.link_down_told_ms = None;
        self.connects.inc();
        self.link_up.set(1);
        let now = self.clock.now();
        self.health.link(&self.id, |health| health.ok(now.utc, 0));
        for unit in &mut self.units {
            unit.schedule.resume(now);
        }
        if self.up.replace(true) == Some(true) {
            return Ok(());
        }
        tracing::info!(link = %self.id, "connected");
        self.output.change("", true, "connected".to_owned(), now.utc).await
    }

    /// An attempt to connect failed: tells so, once an outage and then now and again.
    async fn link_down(&mut self, why: String) -> Result<(), PipelineGone> {
        let now = self.clock.now();
        self.link_up.set(0);
        self.health.link(&self.id, |health| health.error(now.utc, State::Down, why.as_str()));
        let told = self.link_down_told_ms.is_some_and(|ms| now.monotonic_ms.saturating_sub(ms) < self.patience.link_down_repeat_ms);
        if !told {
            self.link_down_told_ms = Some(now.monotonic_ms);
            for unit in &mut self.units {
                self.health.device(&unit.device.id, |health| health.error(now.utc, State::Down, why.as_str()));
                let readings = self.output.readings_at(now.utc, unit.device.origin).await?;
                for block in &unit.blocks {
                    block.miss(Reason::LinkDown, readings);
                    unit.counters.readings.inc_by(block.len());
                }
            }
            self.output.flush().await?;
        }
        if self.up.replace(false) == Some(false) {
            return Ok(());
        }
        tracing::warn!(link = %self.id, error = %why, "link down");
        self.output.change("", false, why, now.utc).await
    }

    /// Asks one device for all its blocks.
    async fn poll(&mut self, index: usize) -> Result<(), PipelineGone> {
        let Some(unit) = self.units.get_mut(index) else { return Ok(()) };
        let now = self.clock.now();
        let start = unit.schedule.start(now);
        unit.counters.lateness.observe(start.lateness_ms as f64 / 1000.0);
        if start.skipped > 0 {
            unit.counters.skipped.inc_by(start.skipped);
            self.health.device(&unit.device.id, |health| health.skipped = health.skipped.saturating_add(start.skipped));
        }

        let limit = Duration::from_millis(u64::from(self.settings.timeout_ms));
        let timeouts_allowed = if unit.up == Some(false) { 1 } else { TIMEOUTS_PER_POLL };
        let mut result = Poll::default();
        // Why the rest of the poll is not asked for any more.
        let mut given_up: Option<Reason> = None;
        let mut silent = 0;
        for block in &mut unit.blocks {
            if block.hold_until_ms > now.monotonic_ms {
                result.held = true;
                continue;
            }
            unit.counters.readings.inc_by(block.len());
            let wire = match (given_up, &mut self.wire) {
                (None, Some(wire)) => wire,
                (reason, _) => {
                    let readings = self.output.readings_at(self.clock.now().utc, unit.device.origin).await?;
                    block.miss(reason.unwrap_or(Reason::LinkDown), readings);
                    continue;
                }
            };
            let registers = &mut self.registers;
            registers.clear();
            let answer = wire.exchange(&block.request, unit.check_unit, limit, |data| registers.extend_from_slice(data)).await;
            let readings = self.output.readings_at(self.clock.now().utc, unit.device.origin).await?;
            if !matches!(answer, Err((ExchangeError::Timeout, _))) {
                self.timeouts_in_row = 0;
                silent = 0;
            }
            let Err((error, connection)) = answer else {
                block.read(registers, readings);
                unit.counters.good.inc();
                block.backoff.reset();
                result.answered = true;
                result.received = result.received.saturating_add(block.len());
                prove(&mut self.proven, &mut self.backoff);
                continue;
            };
            let reason = match &error {
                ExchangeError::Timeout => {
                    unit.counters.timeout.inc();
                    self.timeouts_in_row = self.timeouts_in_row.saturating_add(1);
                    silent += 1;
                    if silent >= timeouts_allowed {
                        given_up = Some(Reason::Timeout);
                    }
                    Reason::Timeout
                }
                ExchangeError::Answer(AnswerError::Exception(exception)) => {
                    unit.counters.exception.inc();
                    prove(&mut self.proven, &mut self.backoff);
                    match exception.retry() {
                        Retry::DeviceDead => given_up = Some(Reason::DeviceException),
                        Retry::Later => result.answered = true,
                        Retry::Never => {
                            result.answered = true;
                            let delay_ms = u64::try_from(block.backoff.next_delay().as_millis()).unwrap_or(u64::MAX);
                            block.hold_until_ms = self.clock.now().monotonic_ms.saturating_add(delay_ms);
                        }
                    }
                    Reason::DeviceException
                }
                ExchangeError::Answer(_) => {
                    unit.counters.bad_answer.inc();
                    result.answered = true;
                    Reason::BadAnswer
                }
                ExchangeError::Frame(_) => {
                    unit.counters.bad_answer.inc();
                    Reason::BadAnswer
                }
                ExchangeError::Closed | ExchangeError::Io(_) => {
                    unit.counters.link_down.inc();
                    Reason::LinkDown
                }
            };
            block.miss(reason, readings);
            let error = describe(&error, &block.request, self.settings.timeout_ms);
            tracing::debug!(device = %unit.device.id, error = %error, "block failed");
            if connection == Connection::Lost || self.timeouts_in_row >= self.patience.timeouts_until_reconnect {
                self.wire = None;
                self.health.link(&self.id, |health| health.error(now.utc, State::Degraded, error.as_str()));
            }
            result.error.get_or_insert(error);
        }
        self.polled(index, result).await
    }

    /// Draws the conclusions of a poll.
    async fn polled(&mut self, index: usize, result: Poll) -> Result<(), PipelineGone> {
        let Some(unit) = self.units.get_mut(index) else { return Ok(()) };
        let now = self.clock.now();
        let Some(error) = result.error else {
            if result.answered {
                unit.silent_polls = 0;
                unit.backoff.reset();
                self.health.device(&unit.device.id, |health| {
                    // While a refused block waits for its next attempt the device stays degraded.
                    if result.held { heard(health, now.utc, result.received) } else { health.ok(now.utc, result.received) }
                });
                return self.device_up(index, now.utc).await;
            }
            return Ok(());
        };
        if result.answered {
            unit.silent_polls = 0;
            unit.backoff.reset();
            self.health.device(&unit.device.id, |health| {
                if result.received > 0 {
                    heard(health, now.utc, result.received);
                }
                health.error(now.utc, State::Degraded, error);
            });
            return self.device_up(index, now.utc).await;
        }
        unit.silent_polls = unit.silent_polls.saturating_add(1);
        if unit.silent_polls < self.patience.polls_until_down {
            // Those that wait go first, also where one silent poll takes longer than the interval.
            unit.schedule.hold_until(now, now.monotonic_ms.saturating_add(1));
            let state = if unit.up == Some(true) { State::Degraded } else { State::Down };
            self.health.device(&unit.device.id, |health| health.error(now.utc, state, error));
            return Ok(());
        }
        let delay_ms = u64::try_from(unit.backoff.next_delay().as_millis()).unwrap_or(u64::MAX);
        unit.schedule.hold_until(now, now.monotonic_ms.saturating_add(delay_ms));
        self.health.device(&unit.device.id, |health| health.error(now.utc, State::Down, error.as_str()));
        if unit.up.replace(false) == Some(false) {
            return Ok(());
        }
        tracing::warn!(device = %unit.device.id, error = %error, "device down");
        let device = Arc::clone(&unit.device);
        self.output.change(&device.id, false, error, now.utc).await
    }

    async fn device_up(&mut self, index: usize, now: UtcMillis) -> Result<(), PipelineGone> {
        let Some(unit) = self.units.get_mut(index) else { return Ok(()) };
        if unit.up.replace(true) == Some(true) {
            return Ok(());
        }
        let device = Arc::clone(&unit.device);
        tracing::info!(device = %device.id, "device up");
        self.output.change(&device.id, true, "answers".to_owned(), now).await
    }
}

/// What a poll brought.
#[derive(Default)]
struct Poll {
    /// The device gave at least one answer, be it an exception.
    answered: bool,
    /// A block was left out because the device refuses it.
    held: bool,
    /// Readings with numbers.
    received: u64,
    /// The first thing that went wrong.
    error: Option<String>,
}

/// The connection has brought an answer: should it break, the next one may be made at once.
fn prove(proven: &mut bool, backoff: &mut Backoff) {
    if !std::mem::replace(proven, true) {
        backoff.reset();
    }
}

/// A usable answer came; whether all is well is said elsewhere.
fn heard(health: &mut Health, now: UtcMillis, received: u64) {
    health.last_ok = Some(now);
    health.received = health.received.saturating_add(received);
}

fn describe(error: &ExchangeError, request: &Request, timeout_ms: u32) -> String {
    let (name, unit_id) = (request.name(), request.unit_id);
    match error {
        ExchangeError::Timeout => {
            format!(
                "{name} of unit {unit_id} not answered in {timeout_ms} ms; check the unit id, its power and wiring, or raise timeout_ms"
            )
        }
        error => format!("{name} of unit {unit_id}: {error}"),
    }
}

/// Readings on their way to the pipeline.
struct Output {
    link: LinkKey,
    outlet: Outlet,
    readings: Vec<Reading>,
    received_time: UtcMillis,
    origin: Origin,
}

impl Output {
    /// The batch that a reading of `now` belongs to; one that is too old or of another origin is sent first.
    async fn readings_at(&mut self, now: UtcMillis, origin: Origin) -> Result<&mut Vec<Reading>, PipelineGone> {
        let age_ms = now.since(self.received_time);
        if !(0..BATCH_SPAN_MS).contains(&age_ms) || origin != self.origin || self.readings.len() >= BATCH_READINGS_MAX {
            self.flush().await?;
        }
        if self.readings.is_empty() {
            (self.received_time, self.origin) = (now, origin);
        }
        Ok(&mut self.readings)
    }

    /// Sends the batch; waits while the pipeline is full.
    async fn flush(&mut self) -> Result<(), PipelineGone> {
        match self.take() {
            Some(message) => self.send(message).await,
            None => Ok(()),
        }
    }

    async fn change(&mut self, device: &str, up: bool, why: String, time: UtcMillis) -> Result<(), PipelineGone> {
        self.flush().await?;
        self.send(Message::Link(LinkChange { link: self.link, device: device.to_owned(), up, why, time })).await
    }

    async fn send(&mut self, message: Message) -> Result<(), PipelineGone> {
        match self.outlet.try_send(message) {
            Ok(()) => Ok(()),
            Err(TrySendError::Closed(_)) => Err(PipelineGone),
            Err(TrySendError::Full(message)) => self.outlet.send(message).await.map_err(|_| PipelineGone),
        }
    }

    fn take(&mut self) -> Option<Message> {
        if self.readings.is_empty() {
            return None;
        }
        let capacity = self.readings.len();
        Some(Message::Batch(Batch {
            link: self.link,
            received_time: self.received_time,
            readings: std::mem::replace(&mut self.readings, Vec::with_capacity(capacity)),
            origin: self.origin,
            deliveries: Vec::new(),
            rejected: Vec::new(),
            done: None,
        }))
    }
}
