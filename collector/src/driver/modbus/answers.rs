//! What an answer means: readings, what is asked instead, what a device has taught us, and who counts as down.

use std::sync::Arc;

use super::bisect::{Bisect, Finding};
use super::learned::Gap;
use super::line::Line;
use super::output::PipelineGone;
use super::unit::Extra;
use super::wire::{ExchangeError, Ticket};
use crate::health::{Health, State};
use crate::model::{Reason, UtcMillis};
use crate::protocol::modbus::{AnswerError, Exception, RegisterName, Request, frame::Retry};

/// Requests in a row without answer after which the rest of a poll is not asked for.
const TIMEOUTS_PER_POLL: u32 = 2;
/// Exceptions by which a device refuses addresses, or so many of them (Modbus Application Protocol V1.1b3, 7).
const REFUSALS: [u8; 2] = [2, 3];

impl Line {
    /// Takes in what came of a request.
    pub(super) async fn answered(&mut self, ticket: Ticket, result: Result<(), ExchangeError>) -> Result<(), PipelineGone> {
        let index = ticket.group;
        let now = self.clock.now();
        let timeout_ms = self.port.timeout_ms();
        let any_up = self.units.iter().any(|unit| unit.heard && !unit.down);
        let Some(group) = self.groups.get_mut(index) else { return Ok(()) };
        let (Some(device), Some(unit)) = (self.devices.get_mut(group.device), self.units.get_mut(group.unit)) else { return Ok(()) };
        group.poll.outstanding = group.poll.outstanding.saturating_sub(1);
        unit.asking = unit.asking.saturating_sub(1);
        if !matches!(result, Err(ExchangeError::Timeout)) {
            self.timeouts_in_row = 0;
            group.poll.silent = 0;
        }
        let Some(block) = group.blocks.get_mut(ticket.block) else { return self.settle(index).await };
        let bisect = group.poll.bisects.iter_mut().find(|bisect| bisect.block == ticket.block);
        let part = ticket.part;

        let Err(error) = result else {
            let readings = self.output.readings_at(now.utc, device.entry.origin).await?;
            block.read(part, self.wire.as_ref().map_or(&[][..], |wire| wire.data()), readings);
            device.counters.readings.inc_by(part.len());
            device.counters.good.inc();
            group.poll.answered = true;
            group.poll.received = group.poll.received.saturating_add(part.len());
            match bisect {
                Some(bisect) => bisect.read(part),
                None => {
                    block.backoff.reset();
                    let whole = block.gap_of(part);
                    if device.gaps.contains(&whole) && !device.forgiven.contains(&whole) {
                        group.poll.proved.push(whole);
                    }
                }
            }
            if block.extra == Extra::Doubted && !ticket.widened {
                block.extra = Extra::Denied;
                let gap = block.extra_gap();
                let group_device = group.device;
                self.learn(group_device, &[gap]);
            }
            self.prove();
            return self.settle(index).await;
        };

        let request = block.part_request(part);
        let reason = match &error {
            ExchangeError::Timeout => {
                device.counters.timeout.inc();
                // The silence of a unit that is known to be down says nothing about the connection.
                if !any_up || (unit.heard && !unit.down) {
                    self.timeouts_in_row = self.timeouts_in_row.saturating_add(1);
                }
                group.poll.silent = group.poll.silent.saturating_add(1);
                let allowed = if unit.down || !unit.heard { 1 } else { TIMEOUTS_PER_POLL };
                if group.poll.silent >= allowed {
                    group.poll.given_up = Some(Reason::Timeout);
                }
                Reason::Timeout
            }
            ExchangeError::Answer(AnswerError::Exception(exception)) => {
                device.counters.exception.inc();
                match exception.retry() {
                    Retry::DeviceDead => group.poll.given_up = Some(Reason::DeviceException),
                    Retry::Later => group.poll.answered = true,
                    Retry::Never => {
                        group.poll.answered = true;
                        if ticket.widened {
                            block.extra = Extra::Doubted;
                            group.poll.again = Some(ticket.block);
                            self.prove();
                            return self.settle(index).await;
                        }
                        let borders = if is_refusal(*exception) { block.borders(part) } else { Vec::new() };
                        let halved = match bisect {
                            Some(bisect) => bisect.refused(part, &borders),
                            None if !borders.is_empty() => {
                                group.poll.bisects.push(Bisect::new(ticket.block, part, &borders));
                                true
                            }
                            None => {
                                block.hold(now.monotonic_ms);
                                false
                            }
                        };
                        if halved {
                            self.prove();
                            return self.settle(index).await;
                        }
                    }
                }
                Reason::DeviceException
            }
            ExchangeError::Answer(_) | ExchangeError::Doubtful | ExchangeError::TwoAnswers => {
                device.counters.bad_answer.inc();
                group.poll.answered = true;
                Reason::BadAnswer
            }
            ExchangeError::Frame(_) | ExchangeError::Rtu(_) | ExchangeError::Noise => {
                device.counters.bad_answer.inc();
                Reason::BadAnswer
            }
            ExchangeError::Closed | ExchangeError::Io(_) => {
                device.counters.link_down.inc();
                Reason::LinkDown
            }
        };
        let readings = self.output.readings_at(now.utc, device.entry.origin).await?;
        block.miss(part, reason, readings);
        device.counters.readings.inc_by(part.len());
        if !matches!(&error, ExchangeError::Answer(AnswerError::Exception(exception)) if is_refusal(*exception))
            && let Some(at) = group.poll.bisects.iter().position(|bisect| bisect.block == ticket.block)
        {
            // What the halves say counts only if all of them say it; next time from the beginning.
            for left in group.poll.bisects.swap_remove(at).left() {
                block.miss(left, reason, readings);
                device.counters.readings.inc_by(left.len());
            }
        }
        let text = describe(&error, &request, timeout_ms);
        tracing::debug!(device = %device.entry.id, error = %text, "block failed");
        if self.timeouts_in_row >= self.patience.timeouts_until_reconnect && self.port.may_be_half_open() {
            self.must_drop = true;
            self.health.link(&self.id, |health| health.error(now.utc, State::Degraded, text.as_str()));
        }
        group.poll.error.get_or_insert(text);
        if let ExchangeError::Answer(AnswerError::Exception(_)) = error {
            self.prove();
        }
        if let Some(reason) = self.groups.get(index).and_then(|group| group.poll.given_up) {
            self.miss_rest(index, reason).await?;
        }
        self.settle(index).await
    }

    /// The connection has brought an answer: should it break, the next one may be made at once.
    fn prove(&mut self) {
        if !std::mem::replace(&mut self.proven, true) {
            self.backoff.reset();
        }
    }

    /// What was not asked for yet in a group's poll will not be: tells its points why.
    pub(super) async fn miss_rest(&mut self, index: usize, reason: Reason) -> Result<(), PipelineGone> {
        let Some(group) = self.groups.get_mut(index) else { return Ok(()) };
        let Some(device) = self.devices.get(group.device) else { return Ok(()) };
        group.poll.given_up = Some(reason);
        let unasked = group.unasked();
        let now = self.clock.now();
        let readings = self.output.readings_at(now.utc, device.entry.origin).await?;
        for (block, part) in unasked {
            let Some(block) = group.blocks.get(block) else { continue };
            block.miss(part, reason, readings);
            device.counters.readings.inc_by(part.len());
        }
        Ok(())
    }

    /// Ends a group's poll when nothing of it is left to be asked or answered.
    pub(super) async fn settle(&mut self, index: usize) -> Result<(), PipelineGone> {
        let now = self.clock.now();
        let Some(group) = self.groups.get(index) else { return Ok(()) };
        let poll = &group.poll;
        if !poll.active || poll.outstanding > 0 || (poll.given_up.is_none() && group.wish(now.monotonic_ms).is_some()) {
            return Ok(());
        }
        self.conclude(index);
        self.polled(index).await
    }

    /// What halving refused blocks has shown, and what turned out to be readable.
    fn conclude(&mut self, index: usize) {
        let now = self.clock.now();
        let Some(group) = self.groups.get_mut(index) else { return };
        let proved = std::mem::take(&mut group.poll.proved);
        let mut gaps = Vec::new();
        let mut unreadable = Vec::new();
        for bisect in std::mem::take(&mut group.poll.bisects) {
            let Some(block) = group.blocks.get_mut(bisect.block) else { continue };
            if bisect.is_all_refused() {
                // As devices do while they start: it is asked again as a whole.
                block.hold(now.monotonic_ms);
                continue;
            }
            for finding in bisect.findings() {
                match finding {
                    Finding::Before(point) => gaps.push(block.gap_before(point)),
                    Finding::Unreadable(part) => {
                        let gap = block.gap_of(part);
                        gaps.push(gap);
                        unreadable.push(gap);
                    }
                }
            }
        }
        if gaps.is_empty() && proved.is_empty() {
            return;
        }
        let device_index = group.device;
        self.learn(device_index, &gaps);
        self.forget(device_index, &proved);
        let (Some(group), Some(device)) = (self.groups.get_mut(index), self.devices.get_mut(device_index)) else { return };
        let old = std::mem::replace(&mut group.blocks, device.blocks(group.priority, &self.patience));
        for block in &mut group.blocks {
            if let Some(old) = old.iter().find(|old| old.request == block.request) {
                block.inherit(old);
            }
            let whole = block.gap_of(block.whole());
            if unreadable.contains(&whole) {
                block.hold(now.monotonic_ms);
            }
        }
    }

    /// A device reads what it refused before: that is read along again.
    fn forget(&mut self, device: usize, proved: &[Gap]) {
        if proved.is_empty() {
            return;
        }
        let Some(device) = self.devices.get_mut(device) else { return };
        let Some(unit) = self.units.get(device.unit) else { return };
        for gap in proved {
            let what = RegisterName { function: gap.function, address: gap.first, quantity: gap.length };
            tracing::info!(device = %device.entry.id, what = %what, "the device reads what it refused before; it is read along again");
        }
        device.gaps.retain(|gap| !proved.contains(gap));
        device.forgiven.extend_from_slice(proved);
        device.counters.gaps.set(i64::try_from(device.gaps.len()).unwrap_or(i64::MAX));
        self.learned.remove(&device.entry.id, unit.id, proved);
    }

    /// Devices of which all was forgotten by hand are read as if it had never been known, each group from its next poll on.
    pub(super) fn take_forgotten(&mut self) {
        let count = self.learned.forgotten_count();
        if count != self.forgotten_count {
            let before = std::mem::replace(&mut self.forgotten_count, count);
            let forgotten = self.learned.forgotten_since(before);
            for (index, device) in self.devices.iter_mut().enumerate().filter(|(_, device)| forgotten.contains(&device.entry.id)) {
                let Some(unit) = self.units.get(device.unit) else { continue };
                tracing::info!(device = %device.entry.id, "what the device refused is forgotten; it is asked for again");
                device.gaps = self.learned.of(&device.entry.id, unit.id);
                device.forgiven.clear();
                device.counters.gaps.set(i64::try_from(device.gaps.len()).unwrap_or(i64::MAX));
                self.groups.iter_mut().filter(|group| group.device == index).for_each(|group| group.stale = true);
            }
        }
        for group in self.groups.iter_mut().filter(|group| group.stale && !group.poll.active) {
            let Some(device) = self.devices.get_mut(group.device) else { continue };
            group.blocks = device.blocks(group.priority, &self.patience);
            group.stale = false;
        }
    }

    /// Remembers and reports what a device refuses when it is read along.
    fn learn(&mut self, device: usize, gaps: &[Gap]) {
        let now = self.clock.now().utc;
        let Some(device) = self.devices.get_mut(device) else { return };
        let Some(unit) = self.units.get(device.unit) else { return };
        for gap in gaps {
            if !device.gaps.contains(gap) {
                device.gaps.push(*gap);
                let what = gap.describe();
                tracing::warn!(device = %device.entry.id, what = %what, "the device refuses a read; it is read in pieces from now on");
            }
        }
        device.counters.gaps.set(i64::try_from(device.gaps.len()).unwrap_or(i64::MAX));
        self.learned.add(&device.entry.id, unit.id, gaps, now);
    }

    /// Draws the conclusions of a poll that has ended.
    async fn polled(&mut self, index: usize) -> Result<(), PipelineGone> {
        let now = self.clock.now();
        let Some(group) = self.groups.get_mut(index) else { return Ok(()) };
        let held = group.is_held();
        let poll = std::mem::take(&mut group.poll);
        let (device_index, unit_index) = (group.device, group.unit);
        group.failing = if poll.answered || poll.error.is_some() { held || poll.error.is_some() } else { group.failing };
        if poll.answered {
            self.unit_heard(unit_index);
            let failing = self.groups.iter().any(|group| group.device == device_index && group.failing);
            let Some(device) = self.devices.get(device_index) else { return Ok(()) };
            self.health.device(&device.entry.id, |health| match poll.error {
                Some(error) => {
                    if poll.received > 0 {
                        heard(health, now.utc, poll.received);
                    }
                    health.error(now.utc, State::Degraded, error);
                }
                // While a refused block waits for its next attempt the device stays degraded.
                None if failing => heard(health, now.utc, poll.received),
                None => health.ok(now.utc, poll.received),
            });
            return self.device_up(device_index, now.utc).await;
        }
        match poll.error {
            Some(error) => self.unit_silent(index, error).await,
            None => Ok(()),
        }
    }

    /// A unit has answered: if it was down, the others that wait for it may go on.
    fn unit_heard(&mut self, index: usize) {
        let now = self.clock.now();
        let Some(unit) = self.units.get_mut(index) else { return };
        unit.silent_polls = 0;
        unit.heard = true;
        unit.backoff.reset();
        if std::mem::replace(&mut unit.down, false) {
            for group in self.groups.iter_mut().filter(|group| group.unit == index && !group.poll.active) {
                group.schedule.hold_until(now, now.monotonic_ms.saturating_add(1));
            }
        }
    }

    /// A poll of group number `index` brought no answer at all.
    async fn unit_silent(&mut self, index: usize, error: String) -> Result<(), PipelineGone> {
        let now = self.clock.now();
        let Some(group) = self.groups.get_mut(index) else { return Ok(()) };
        let (unit_index, device_index) = (group.unit, group.device);
        let (Some(unit), Some(device)) = (self.units.get_mut(unit_index), self.devices.get(device_index)) else { return Ok(()) };
        unit.silent_polls = unit.silent_polls.saturating_add(1);
        // One that has never answered is not worth more of the line's time.
        let polls_until_down = if unit.heard { self.patience.polls_until_down } else { 1 };
        if unit.silent_polls < polls_until_down {
            // Those that wait go first, also where one silent poll takes longer than the interval.
            group.schedule.hold_until(now, now.monotonic_ms.saturating_add(1));
            let state = if device.up == Some(true) { State::Degraded } else { State::Down };
            self.health.device(&device.entry.id, |health| health.error(now.utc, state, error));
            return Ok(());
        }
        unit.down = true;
        let delay_ms = u64::try_from(unit.backoff.next_delay().as_millis()).unwrap_or(u64::MAX);
        for other in 0..self.groups.len() {
            let Some(group) = self.groups.get_mut(other).filter(|group| group.unit == unit_index) else { continue };
            group.schedule.hold_until(now, now.monotonic_ms.saturating_add(delay_ms));
            if group.poll.active && group.poll.given_up.is_none() {
                self.miss_rest(other, Reason::Timeout).await?;
                if let Some(group) = self.groups.get_mut(other).filter(|group| group.poll.outstanding == 0) {
                    group.poll = super::unit::Poll::default();
                }
            }
        }
        for at in 0..self.devices.len() {
            let Some(device) = self.devices.get_mut(at).filter(|device| device.unit == unit_index) else { continue };
            let entry = Arc::clone(&device.entry);
            let was_down = device.up.replace(false) == Some(false);
            self.health.device(&entry.id, |health| health.error(now.utc, State::Down, error.as_str()));
            if !was_down {
                tracing::warn!(device = %entry.id, error = %error, "device down");
                self.output.change(&entry.id, false, error.clone(), now.utc).await?;
            }
        }
        Ok(())
    }

    async fn device_up(&mut self, index: usize, now: UtcMillis) -> Result<(), PipelineGone> {
        let Some(device) = self.devices.get_mut(index) else { return Ok(()) };
        if device.up.replace(true) == Some(true) {
            return Ok(());
        }
        let entry = Arc::clone(&device.entry);
        tracing::info!(device = %entry.id, "device up");
        self.output.change(&entry.id, true, "answers".to_owned(), now).await
    }
}

fn is_refusal(exception: Exception) -> bool {
    REFUSALS.contains(&exception.0)
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
