//! The task of one link, the only one that speaks on its line: connects, asks what is due, hands over what is said.

use std::sync::Arc;
use std::time::Duration;

use prometheus::{IntCounter, IntGauge};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Patience;
use super::learned::Learned;
use super::output::{Output, PipelineGone};
use super::port::{Port, PortError};
use super::schedule::{Rank, Schedule};
use super::unit::{Device, Group, Poll, Unit, Wish};
use super::wire::{Ask, ExchangeError, Received, Ticket, Wire};
use crate::catalogue::{DeviceAddress, Priority};
use crate::clock::Clock;
use crate::driver::backoff::Backoff;
use crate::driver::{LinkDevices, Outlet, Shared};
use crate::health::{HealthBoard, State};
use crate::metrics::Metrics;
use crate::model::{Now, Reason};
use crate::protocol::modbus::{AnswerError, Request};

/// A wait that is longer sends the batch first.
const FLUSH_BEFORE: Duration = Duration::from_millis(5);

/// Longest pause of a line before it looks again what is due, in milliseconds.
const PAUSE_MS_MAX: u64 = 60_000;

/// One link.
pub(super) struct Line {
    pub(super) id: String,
    pub(super) port: Port,
    pub(super) patience: Patience,
    pub(super) units: Vec<Unit>,
    pub(super) devices: Vec<Device>,
    pub(super) groups: Vec<Group>,
    pub(super) wire: Option<Wire>,
    /// Since it was made, the connection has brought an answer, so the next one may be made at once.
    pub(super) proven: bool,
    pub(super) timeouts_in_row: u32,
    pub(super) backoff: Backoff,
    /// The connection is to be made anew.
    pub(super) must_drop: bool,
    up: Option<bool>,
    link_down_told_ms: Option<u64>,
    pub(super) output: Output,
    pub(super) learned: Learned,
    /// How often something of it had been forgotten by hand when we looked.
    pub(super) forgotten_count: u64,
    pub(super) health: HealthBoard,
    pub(super) clock: Arc<dyn Clock>,
    /// When cancelled, no further request is sent.
    pub(super) cancel: CancellationToken,
    dropped: IntCounter,
    connects: IntCounter,
    link_up: IntGauge,
}

/// What to do next.
enum Next {
    /// Ask for this of that group.
    Ask { group: usize, wish: Option<Wish>, widened: bool },
    /// Nothing before then, on the monotonic clock.
    At(u64),
    /// What is due must wait for the line.
    Pause(Instant),
    /// There are no groups.
    Never,
}

/// Rank, index and wish of a group that may be asked.
type Candidate = (Rank, usize, Option<Wish>);

impl Line {
    /// A link with its devices; `None` when it is no Modbus link.
    pub(super) fn new(
        devices: &LinkDevices,
        outlet: Outlet,
        health: HealthBoard,
        metrics: &Metrics,
        clock: Arc<dyn Clock>,
        shared: &Shared,
        patience: Patience,
    ) -> Option<Self> {
        let link = &devices.link;
        let port = Port::new(&link.driver, shared.listeners.clone(), &shared.due)?;
        let labels = [link.driver.name(), link.id.as_str()];
        let mut line = Self {
            id: link.id.clone(),
            port,
            patience,
            units: Vec::new(),
            devices: Vec::new(),
            groups: Vec::new(),
            wire: None,
            proven: true,
            timeouts_in_row: 0,
            backoff: Backoff::new(patience.connect_backoff_ms.0, patience.connect_backoff_ms.1),
            must_drop: false,
            up: None,
            link_down_told_ms: None,
            output: Output::new(link.key, outlet),
            learned: shared.learned.clone(),
            forgotten_count: shared.learned.forgotten_count(),
            health,
            clock,
            cancel: CancellationToken::new(),
            dropped: metrics.answers_dropped.with_label_values(&labels),
            connects: metrics.connects.with_label_values(&labels),
            link_up: metrics.link_up.with_label_values(&labels),
        };
        let (now, count) = (line.clock.now(), devices.devices.len());
        for (index, device) in devices.devices.iter().enumerate() {
            line.add(device, index, count, metrics, now);
        }
        Some(line)
    }

    /// Takes in device number `index` of `count`.
    fn add(&mut self, entry: &Arc<crate::catalogue::Device>, index: usize, count: usize, metrics: &Metrics, now: Now) {
        let DeviceAddress::Modbus(address) = &entry.address else { return };
        let unit = self.units.iter().position(|unit| unit.id == address.unit_id).unwrap_or_else(|| {
            self.units.push(Unit::new(address.unit_id, &self.patience));
            self.units.len().saturating_sub(1)
        });
        let gaps = self.learned.of(&entry.id, address.unit_id);
        let Some(mut device) = Device::new(entry, unit, gaps, metrics) else { return };
        for priority in Priority::ALL {
            let blocks = device.blocks(priority, &self.patience);
            if !blocks.is_empty() {
                let schedule = Schedule::new(address.interval_ms(priority), entry.link.key.0, index, count, now);
                let (device, poll) = (self.devices.len(), Poll::default());
                self.groups.push(Group { device, unit, priority, blocks, stale: false, schedule, failing: false, poll });
            }
        }
        if let Some(refused) = &device.refused {
            self.health.device(&entry.id, |health| health.error(now.utc, State::Degraded, refused.as_str()));
        }
        self.devices.push(device);
    }

    /// Works until cancelled or until the pipeline is gone. When cancelled, the answers to what was asked are still taken
    /// in and handed over; a poll is not asked to its end. Dropped at any await it leaves only the connection unusable.
    pub(super) async fn work(&mut self) -> Result<(), PipelineGone> {
        self.connect().await?;
        while !self.cancel.is_cancelled() {
            self.step().await?;
        }
        while let Some(wire) = self.wire.as_mut().filter(|wire| wire.in_flight() > 0) {
            match wire.receive(None).await {
                Received::Nothing => break,
                Received::Answer { ticket, result, lost } => {
                    self.answered(ticket, result).await?;
                    if lost || self.must_drop {
                        break;
                    }
                }
            }
        }
        self.output.flush().await
    }

    /// Waits for something that is of no use any more when cancelled.
    async fn unless_cancelled<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        self.cancel.run_until_cancelled(future).await
    }

    /// Sends what is left, if there is room.
    pub(super) fn stop(&mut self) {
        self.wire = None;
        self.link_up.set(0);
        self.output.try_flush();
    }

    /// Sends one request, or takes one answer in, or waits.
    async fn step(&mut self) -> Result<(), PipelineGone> {
        self.take_forgotten();
        let Some(wire) = &mut self.wire else { return self.connect().await };
        let now = self.clock.now();
        let mut until = None;
        if wire.has_room() {
            let instant = Instant::now();
            let ready_at = wire.ready_at();
            if wire.in_flight() > 0 && ready_at > instant {
                until = Some(ready_at);
            } else {
                match self.choose(now, instant) {
                    Next::Ask { group, wish, widened } => {
                        if ready_at > instant {
                            return self.rest(ready_at).await;
                        }
                        return self.ask(group, wish, widened, now).await;
                    }
                    Next::Pause(over) => {
                        if self.in_flight() == 0 {
                            return self.rest(over).await;
                        }
                        until = Some(over);
                    }
                    Next::At(due_ms) => {
                        let wait = Duration::from_millis(due_ms.saturating_sub(now.monotonic_ms));
                        if self.in_flight() == 0 {
                            self.output.flush().await?;
                            let _ = self.unless_cancelled(sleep(wait)).await;
                            return Ok(());
                        }
                        until = Some(instant + wait);
                    }
                    Next::Never if self.in_flight() == 0 => {
                        self.cancel.cancelled().await;
                        return Ok(());
                    }
                    Next::Never => {}
                }
            }
        }
        let Some(wire) = &mut self.wire else { return Ok(()) };
        match wire.receive(until).await {
            Received::Nothing => Ok(()),
            Received::Answer { ticket, result, lost } => {
                self.answered(ticket, result).await?;
                if lost || self.must_drop { self.drop_wire(Reason::LinkDown).await } else { Ok(()) }
            }
        }
    }

    fn in_flight(&self) -> usize {
        self.wire.as_ref().map_or(0, Wire::in_flight)
    }

    /// Lets the line be silent until `until`; nothing is under way.
    async fn rest(&mut self, until: Instant) -> Result<(), PipelineGone> {
        if until.saturating_duration_since(Instant::now()) > FLUSH_BEFORE {
            self.output.flush().await?;
        }
        let Some(wire) = &mut self.wire else { return Ok(()) };
        match self.cancel.run_until_cancelled(wire.rest(until)).await {
            // Nothing is under way, so nothing is lost with the connection.
            None => self.wire = None,
            Some(Ok(())) => {}
            Some(Err(error)) => return self.lost(&error).await,
        }
        Ok(())
    }

    /// The group that goes first, and whether its request must be widened to have an answer of its own.
    fn choose(&self, now: Now, instant: Instant) -> Next {
        let mut first: Option<Candidate> = None;
        let mut first_free: Option<Candidate> = None;
        // Its answer can most likely be told from others.
        let mut first_passable: Option<Candidate> = None;
        let mut first_over: Option<Instant> = None;
        let mut soonest: Option<Instant> = None;
        let mut due_ms = u64::MAX;
        for (index, group) in self.groups.iter().enumerate() {
            let continuing = group.poll.active.then_some(group.poll.begun_ms);
            if continuing.is_none() && group.schedule.due_ms() > now.monotonic_ms {
                due_ms = due_ms.min(group.schedule.due_ms());
                continue;
            }
            // A unit that is down gets one request; the answer decides on the others.
            let unit = self.units.get(group.unit);
            let is_down = unit.is_some_and(|unit| unit.down);
            if unit.is_some_and(|unit| unit.down && unit.asking > 0) || group.poll.given_up.is_some() {
                continue;
            }
            let wish = group.wish(now.monotonic_ms);
            if continuing.is_some() && wish.is_none() {
                continue;
            }
            let rank = group.schedule.rank(group.priority, continuing, is_down, now.monotonic_ms);
            let over = wish.and_then(|wish| self.conflict(index, &wish.request, instant));
            soonest = [soonest, over].into_iter().flatten().min();
            if first.as_ref().is_none_or(|(best, ..)| rank < *best) {
                first = Some((rank, index, wish));
                first_over = over;
            }
            if over.is_none() && first_free.as_ref().is_none_or(|(best, ..)| rank < *best) {
                first_free = Some((rank, index, wish));
            }
            if over.is_some_and(|over| over <= instant) && first_passable.as_ref().is_none_or(|(best, ..)| rank < *best) {
                first_passable = Some((rank, index, wish));
            }
        }
        let Some((_, group, wish)) = first else {
            return if self.groups.is_empty() { Next::Never } else { Next::At(due_ms) };
        };
        let Some(over) = first_over else { return Next::Ask { group, wish, widened: false } };
        let is_free = |request: &Request| self.conflict(group, request, instant).is_none_or(|over| over <= instant);
        if let Some(request) = wish.and_then(|wish| self.widened(group, &wish)).filter(is_free) {
            let wish = wish.map(|wish| Wish { request, ..wish });
            return Next::Ask { group, wish, widened: true };
        }
        match first_free.or(first_passable) {
            Some((_, group, wish)) => Next::Ask { group, wish, widened: false },
            None => {
                let next_due = instant + Duration::from_millis(due_ms.saturating_sub(now.monotonic_ms).min(PAUSE_MS_MAX));
                Next::Pause(soonest.unwrap_or(over).min(next_due))
            }
        }
    }

    /// Until when a request of a group must wait for a late answer that looks like its own; see [`Wire::conflict`].
    fn conflict(&self, group: usize, request: &Request, instant: Instant) -> Option<Instant> {
        let device = self.groups.get(group).and_then(|group| self.devices.get(group.device))?;
        self.wire.as_ref()?.conflict(request, device.check_unit, instant)
    }

    /// The request of a wish with an answer of its own length, where that is allowed.
    fn widened(&self, group: usize, wish: &Wish) -> Option<Request> {
        let group = self.groups.get(group)?;
        let device = self.devices.get(group.device)?;
        let block = group.blocks.get(wish.block)?;
        if wish.part == block.whole() { block.widened(&device.limits, &device.gaps) } else { None }
    }

    /// Begins the group's poll if it is not under way, and sends its next request.
    async fn ask(&mut self, index: usize, wish: Option<Wish>, widened: bool, now: Now) -> Result<(), PipelineGone> {
        let begun = self.groups.get(index).is_some_and(|group| group.poll.active);
        if !begun && self.in_flight() == 0 && !self.usable().await {
            // The poll has not begun: nothing is lost but time.
            self.drop_wire(Reason::LinkDown).await?;
            return self.connect().await;
        }
        let (Some(group), Some(wire)) = (self.groups.get_mut(index), &mut self.wire) else { return Ok(()) };
        let (Some(device), Some(unit)) = (self.devices.get(group.device), self.units.get_mut(group.unit)) else { return Ok(()) };
        if !group.poll.active {
            let start = group.schedule.start(now);
            device.counters.lateness.observe(start.lateness_ms as f64 / 1000.0);
            if start.skipped > 0 {
                device.counters.skipped.inc_by(start.skipped);
                self.health.device(&device.entry.id, |health| health.skipped = health.skipped.saturating_add(start.skipped));
            }
            group.poll.active = true;
            group.poll.begun_ms = now.monotonic_ms;
        }
        let Some(wish) = wish else { return self.settle(index).await };
        group.asked(&wish);
        unit.asking = unit.asking.saturating_add(1);
        let ticket = Ticket { group: index, block: wish.block, part: wish.part, widened };
        match wire.send(Ask { ticket, request: wish.request, check_unit: device.check_unit }).await {
            Ok(()) => Ok(()),
            Err(error) => self.lost(&error).await,
        }
    }

    async fn usable(&mut self) -> bool {
        if self.port.is_replaced() {
            return false;
        }
        match &mut self.wire {
            Some(wire) => wire.is_usable().await,
            None => false,
        }
    }

    /// The connection failed: everything under way is answered with that.
    async fn lost(&mut self, error: &ExchangeError) -> Result<(), PipelineGone> {
        let now = self.clock.now();
        let text = error.to_string();
        self.health.link(&self.id, |health| health.error(now.utc, State::Degraded, text.as_str()));
        tracing::debug!(link = %self.id, error = %text, "connection lost");
        while let Some(ticket) = self.wire.as_mut().and_then(Wire::give_up) {
            self.answered(ticket, Err(copy(error))).await?;
        }
        self.drop_wire(Reason::LinkDown).await
    }

    /// Lets the connection go; what was under way is not asked for any more.
    pub(super) async fn drop_wire(&mut self, reason: Reason) -> Result<(), PipelineGone> {
        while let Some(ticket) = self.wire.as_mut().and_then(Wire::give_up) {
            self.answered(ticket, Err(ExchangeError::Closed)).await?;
        }
        self.wire = None;
        self.must_drop = false;
        for index in 0..self.groups.len() {
            if self.groups.get(index).is_some_and(|group| group.poll.active) {
                self.miss_rest(index, reason).await?;
                self.settle(index).await?;
            }
        }
        Ok(())
    }

    /// Tries until the link is up, or it is cancelled.
    async fn connect(&mut self) -> Result<(), PipelineGone> {
        self.output.flush().await?;
        let mut wait = !self.proven && self.port.wants_backoff();
        loop {
            let delay = if wait { self.backoff.next_delay() } else { Duration::ZERO };
            if self.unless_cancelled(sleep(delay)).await.is_none() {
                return Ok(());
            }
            let (limit, dropped) = (self.port.connect_limit(), self.dropped.clone());
            let Some(opened) = self.cancel.run_until_cancelled(timeout(limit, self.port.open(dropped))).await else { return Ok(()) };
            let error = match opened {
                Ok(Ok(wire)) => return self.connected(wire).await,
                Ok(Err(error)) => error,
                Err(_) => PortError { wait: self.port.wants_backoff(), text: self.port.no_connection() },
            };
            wait = error.wait;
            self.link_down(error.text).await?;
        }
    }

    async fn connected(&mut self, wire: Wire) -> Result<(), PipelineGone> {
        self.wire = Some(wire);
        self.proven = false;
        self.timeouts_in_row = 0;
        self.link_down_told_ms = None;
        self.connects.inc();
        self.link_up.set(1);
        let now = self.clock.now();
        self.health.link(&self.id, |health| health.ok(now.utc, 0));
        if self.up.replace(true) != Some(true) {
            tracing::info!(link = %self.id, "connected");
            self.output.change("", true, "connected".to_owned(), now.utc).await?;
        }
        // Polls that fall into the silence that begins a connection are not counted as skipped.
        while let Some(ready_at) = self.wire.as_ref().map(Wire::ready_at).filter(|at| *at > Instant::now()) {
            self.rest(ready_at).await?;
        }
        let now = self.clock.now();
        for group in &mut self.groups {
            group.schedule.resume(now);
        }
        Ok(())
    }

    /// An attempt to connect failed: tells so, once an outage and then now and again.
    async fn link_down(&mut self, why: String) -> Result<(), PipelineGone> {
        let now = self.clock.now();
        self.link_up.set(0);
        self.health.link(&self.id, |health| health.error(now.utc, State::Down, why.as_str()));
        let told = self.link_down_told_ms.is_some_and(|ms| now.monotonic_ms.saturating_sub(ms) < self.patience.link_down_repeat_ms);
        if !told {
            self.link_down_told_ms = Some(now.monotonic_ms);
            for device in &self.devices {
                self.health.device(&device.entry.id, |health| health.error(now.utc, State::Down, why.as_str()));
            }
            for group in &self.groups {
                let Some(device) = self.devices.get(group.device) else { continue };
                let readings = self.output.readings_at(now.utc, device.entry.origin).await?;
                for block in &group.blocks {
                    block.miss(block.whole(), Reason::LinkDown, readings);
                    device.counters.readings.inc_by(block.whole().len());
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
}

/// An error once more, for the next of several requests that it ends.
fn copy(error: &ExchangeError) -> ExchangeError {
    match error {
        ExchangeError::Io(error) => ExchangeError::Io(std::io::Error::new(error.kind(), error.to_string())),
        ExchangeError::Timeout => ExchangeError::Timeout,
        ExchangeError::Noise => ExchangeError::Noise,
        ExchangeError::Answer(AnswerError::Exception(exception)) => ExchangeError::Answer(AnswerError::Exception(*exception)),
        _ => ExchangeError::Closed,
    }
}
