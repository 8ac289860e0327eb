//! What is asked on a line: units, the devices behind them, and groups of points of one device and priority, each with
//! its blocks, its schedule and the poll that is under way.

use std::sync::Arc;

use prometheus::{Histogram, IntCounter, IntGauge};

use super::Patience;
use super::bisect::{Bisect, Part};
use super::learned::Gap;
use super::schedule::Schedule;
use crate::catalogue::{self, DeviceAddress, ModbusAddress, PointSource, Priority};
use crate::driver::backoff::Backoff;
use crate::metrics::Metrics;
use crate::model::{Number, PointId, Reading, Reason};
use crate::protocol::modbus::{Limits, RegisterSource, Request, number, plan};

/// One unit id on the line; several devices may share it, and share its silence.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) id: u8,
    /// Grows while it stays silent.
    pub(super) backoff: Backoff,
    /// Polls in a row without any answer.
    pub(super) silent_polls: u32,
    /// It has answered since we started.
    pub(super) heard: bool,
    /// It is asked by one request each back-off period.
    pub(super) down: bool,
    /// Requests to it that are in flight.
    pub(super) asking: u32,
}

impl Unit {
    pub(super) fn new(id: u8, patience: &Patience) -> Self {
        let backoff = Backoff::new(patience.device_backoff_ms.0, patience.device_backoff_ms.1);
        Self { id, backoff, silent_polls: 0, heard: false, down: false, asking: 0 }
    }
}

/// One device.
#[derive(Debug)]
pub(super) struct Device {
    /// Its catalogue entry.
    pub(super) entry: Arc<catalogue::Device>,
    /// Index of its unit.
    pub(super) unit: usize,
    /// Accept only answers with its unit id.
    pub(super) check_unit: bool,
    /// What it allows in one read.
    pub(super) limits: Limits,
    /// What it refused when it was read along.
    pub(super) gaps: Vec<Gap>,
    /// What it was found to read after all, since we started: if it refuses that once more, it is believed.
    pub(super) forgiven: Vec<Gap>,
    /// The first of its points that no read can serve; a checked configuration has none.
    pub(super) refused: Option<String>,
    /// What was last told about it; `None` before the first poll.
    pub(super) up: Option<bool>,
    /// Its metrics.
    pub(super) counters: Counters,
}

/// The points of one device that are read together.
#[derive(Debug)]
pub(super) struct Group {
    /// Index of the device.
    pub(super) device: usize,
    /// Index of the device's unit.
    pub(super) unit: usize,
    pub(super) priority: Priority,
    /// Its reads.
    pub(super) blocks: Vec<Block>,
    /// The blocks are of what was known before, and are formed anew before the next poll.
    pub(super) stale: bool,
    /// Its polls.
    pub(super) schedule: Schedule,
    /// Its last poll did not bring everything.
    pub(super) failing: bool,
    /// The poll under way.
    pub(super) poll: Poll,
}

/// A poll of a group: what was asked so far, and what it brought.
#[derive(Debug, Default)]
pub(super) struct Poll {
    pub(super) active: bool,
    /// When it was begun, on the monotonic clock.
    pub(super) begun_ms: u64,
    /// The block to ask for next.
    pub(super) next: usize,
    /// A block to ask for once more, as it is.
    pub(super) again: Option<usize>,
    /// Blocks that were refused and are taken apart.
    pub(super) bisects: Vec<Bisect>,
    /// What was said to be unreadable, and was read.
    pub(super) proved: Vec<Gap>,
    /// Requests in flight.
    pub(super) outstanding: u32,
    /// Requests in a row without answer.
    pub(super) silent: u32,
    /// Why the rest of the poll is not asked for any more.
    pub(super) given_up: Option<Reason>,
    /// The device gave at least one answer, be it an exception.
    pub(super) answered: bool,
    /// Readings with numbers.
    pub(super) received: u64,
    /// The first thing that went wrong.
    pub(super) error: Option<String>,
}

/// What a group asks for next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    pub(super) block: usize,
    pub(super) part: Part,
    pub(super) request: Request,
}

/// Whether a block may be read with one register more, so that its answer has a length of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extra {
    /// As far as is known.
    Allowed,
    /// It was refused with one more; whether that was the reason shows when it is read as it is.
    Doubted,
    /// No.
    Denied,
}

/// One read and the points in it.
#[derive(Debug)]
pub(super) struct Block {
    /// What to send.
    pub(super) request: Request,
    /// The points, with their places in the block, in order of address.
    points: Vec<(PointId, u16, RegisterSource)>,
    pub(super) extra: Extra,
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
    pub(super) gaps: IntGauge,
}

impl Counters {
    fn new(metrics: &Metrics, driver: &str, link: &str, device: &str) -> Self {
        let labels = [driver, link, device];
        let result = |result| metrics.requests.with_label_values(&[driver, link, device, result]);
        Self {
            readings: metrics.readings_received.with_label_values(&labels),
            skipped: metrics.polls_skipped.with_label_values(&labels),
            lateness: metrics.poll_lateness.with_label_values(&labels),
            good: result("good"),
            timeout: result("timeout"),
            exception: result("exception"),
            bad_answer: result("bad_answer"),
            link_down: result("link_down"),
            gaps: metrics.learned_gaps.with_label_values(&labels),
        }
    }
}

/// The points of a device that are read with a priority.
fn sources<'a>(
    device: &'a catalogue::Device,
    address: &'a ModbusAddress,
    priority: Priority,
) -> impl Iterator<Item = (&'a catalogue::Point, &'a RegisterSource)> {
    device.points.iter().filter(move |point| address.priority(&point.local_id) == priority).filter_map(|point| match &point.source {
        PointSource::Modbus(source) => Some((point.as_ref(), source)),
        PointSource::Mqtt | PointSource::Own | PointSource::Formula(_) => None,
    })
}

impl Device {
    /// A device of unit number `unit`; `None` when it is no Modbus device.
    pub(super) fn new(entry: &Arc<catalogue::Device>, unit: usize, gaps: Vec<Gap>, metrics: &Metrics) -> Option<Self> {
        let DeviceAddress::Modbus(address) = &entry.address else { return None };
        let counters = Counters::new(metrics, entry.link.driver.name(), &entry.link.id, &entry.id);
        counters.gaps.set(i64::try_from(gaps.len()).unwrap_or(i64::MAX));
        Some(Self {
            entry: Arc::clone(entry),
            unit,
            check_unit: address.check_unit,
            limits: Limits { max_block: address.max_block, max_gap: address.max_gap, forbidden: address.forbidden.clone() },
            gaps,
            forgiven: Vec::new(),
            refused: None,
            up: None,
            counters,
        })
    }

    /// The reads of its points of a priority; none: it has no such points.
    pub(super) fn blocks(&mut self, priority: Priority, patience: &Patience) -> Vec<Block> {
        let DeviceAddress::Modbus(address) = &self.entry.address else { return Vec::new() };
        let sources: Vec<_> = sources(&self.entry, address, priority).collect();
        let planned = plan(sources.iter().map(|(_, source)| *source), &self.limits);
        for (index, refusal) in &planned.refused {
            let point = sources.get(*index).map_or("", |(point, _)| point.identity.stable_id.as_str());
            tracing::error!(device = %self.entry.id, point = %point, error = %refusal, "point cannot be read; mend its profile");
            self.refused.get_or_insert(format!("{point} cannot be read: {refusal}; mend its profile"));
        }
        let blocks = planned.blocks.into_iter().flat_map(|block| {
            let request = Request { unit_id: address.unit_id, function: block.function, address: block.address, quantity: block.quantity };
            let points = block.members.iter();
            let points =
                points.filter_map(|member| sources.get(member.index).map(|(point, source)| (point.id, member.offset, (*source).clone())));
            Block::new(request, points.collect(), patience).cut(&self.gaps, patience)
        });
        blocks.collect()
    }
}

impl Group {
    /// What it asks for next, of what it may ask for at monotonic `now_ms`.
    pub(super) fn wish(&self, now_ms: u64) -> Option<Wish> {
        let half = self.poll.bisects.iter().find_map(|bisect| bisect.next().map(|part| (bisect.block, part)));
        if let Some((index, part)) = half
            && let Some(block) = self.blocks.get(index)
        {
            return Some(Wish { block: index, part, request: block.part_request(part) });
        }
        let again = self.poll.again.and_then(|index| self.blocks.get(index).map(|block| (index, block)));
        let mut rest = self.blocks.iter().enumerate().skip(self.poll.next).filter(|(_, block)| block.hold_until_ms <= now_ms);
        let (index, block) = again.or_else(|| rest.next())?;
        Some(Wish { block: index, part: block.whole(), request: block.request })
    }

    /// A wish was asked for.
    pub(super) fn asked(&mut self, wish: &Wish) {
        match self.poll.bisects.iter_mut().find(|bisect| bisect.block == wish.block) {
            Some(bisect) => bisect.asked(),
            None if self.poll.again == Some(wish.block) => self.poll.again = None,
            None => self.poll.next = wish.block.saturating_add(1),
        }
        self.poll.outstanding = self.poll.outstanding.saturating_add(1);
    }

    /// What will not be asked for any more in this poll, by block and part.
    pub(super) fn unasked(&mut self) -> Vec<(usize, Part)> {
        let mut parts = Vec::new();
        for mut bisect in std::mem::take(&mut self.poll.bisects) {
            parts.extend(bisect.left().into_iter().map(|part| (bisect.block, part)));
        }
        parts.extend(self.poll.again.take().and_then(|index| self.blocks.get(index).map(|block| (index, block.whole()))));
        let rest = self.blocks.iter().enumerate().skip(self.poll.next).filter(|(_, block)| block.hold_until_ms <= self.poll.begun_ms);
        parts.extend(rest.map(|(index, block)| (index, block.whole())));
        self.poll.next = self.blocks.len();
        parts
    }

    /// Whether a block was left out because the device refuses it.
    pub(super) fn is_held(&self) -> bool {
        self.blocks.iter().any(|block| block.hold_until_ms > self.poll.begun_ms)
    }
}

impl Block {
    fn new(request: Request, points: Vec<(PointId, u16, RegisterSource)>, patience: &Patience) -> Self {
        let backoff = Backoff::new(patience.device_backoff_ms.0, patience.device_backoff_ms.1);
        Self { request, points, extra: Extra::Allowed, backoff, hold_until_ms: 0 }
    }

    /// The device has refused it: it is left in peace for a while, and longer each time.
    pub(super) fn hold(&mut self, now_ms: u64) {
        let delay_ms = u64::try_from(self.backoff.next_delay().as_millis()).unwrap_or(u64::MAX);
        self.hold_until_ms = now_ms.saturating_add(delay_ms);
    }

    /// Takes over what is known of the same read.
    pub(super) fn inherit(&mut self, old: &Self) {
        self.extra = old.extra;
        self.backoff = old.backoff.clone();
        self.hold_until_ms = old.hold_until_ms;
    }

    /// All its points.
    pub(super) fn whole(&self) -> Part {
        Part { from: 0, to: self.points.len() }
    }

    /// First address of a point with its scale register, and the one after its last.
    fn span(&self, index: usize) -> Option<(u32, u32)> {
        let (_, offset, source) = self.points.get(index)?;
        let start = u32::from(self.request.address).saturating_add(u32::from(*offset));
        Some((start, start.saturating_add(u32::from(source.span().1))))
    }

    /// First address of a part, and the one after its last.
    pub(super) fn part_span(&self, part: Part) -> (u32, u32) {
        let start = self.span(part.from).map_or(0, |(start, _)| start);
        let end = (part.from..part.to).filter_map(|index| self.span(index)).map(|(_, end)| end).max().unwrap_or(start);
        (start, end)
    }

    /// The read of some of its points.
    pub(super) fn part_request(&self, part: Part) -> Request {
        let (start, end) = self.part_span(part);
        let quantity = u16::try_from(end.saturating_sub(start)).unwrap_or(u16::MAX);
        Request { address: u16::try_from(start).unwrap_or(u16::MAX), quantity, ..self.request }
    }

    /// The points within a part before which it can be cut: those that share no address with one before.
    pub(super) fn borders(&self, part: Part) -> Vec<usize> {
        let mut end = 0;
        let mut borders = Vec::new();
        for index in part.from..part.to {
            let Some((start, own_end)) = self.span(index) else { break };
            if index > part.from && start >= end {
                borders.push(index);
            }
            end = end.max(own_end);
        }
        borders
    }

    /// What lies between a point and those before it.
    pub(super) fn gap_before(&self, index: usize) -> Gap {
        let (start, _) = self.span(index).unwrap_or((0, 0));
        let (_, end) = self.part_span(Part { from: 0, to: index });
        let first = u16::try_from(end.min(start)).unwrap_or(u16::MAX);
        Gap { function: self.request.function, first, length: u16::try_from(start.saturating_sub(end)).unwrap_or(0) }
    }

    /// The addresses of a part.
    pub(super) fn gap_of(&self, part: Part) -> Gap {
        let (start, end) = self.part_span(part);
        let first = u16::try_from(start).unwrap_or(u16::MAX);
        Gap { function: self.request.function, first, length: u16::try_from(end.saturating_sub(start)).unwrap_or(u16::MAX) }
    }

    /// Cuts it where it would read along what the device refuses; points that are refused themselves stand alone.
    fn cut(self, gaps: &[Gap], patience: &Patience) -> Vec<Self> {
        let function = self.request.function;
        let refused = |part: Part| {
            let (start, end) = self.part_span(part);
            gaps.iter().any(|gap| gap.length > 0 && gap.hits(function, start, end))
        };
        let mut ends: Vec<usize> = Vec::new();
        let borders = self.borders(self.whole());
        for (position, &border) in borders.iter().enumerate() {
            let before = Part { from: position.checked_sub(1).and_then(|at| borders.get(at).copied()).unwrap_or(0), to: border };
            let after = Part { from: border, to: borders.get(position.saturating_add(1)).copied().unwrap_or(self.points.len()) };
            let gap = self.gap_before(border);
            let (start, end) = (u32::from(gap.first), u32::from(gap.first).saturating_add(u32::from(gap.length)));
            if refused(before) || refused(after) || gaps.iter().any(|gap| gap.hits(function, start, end)) {
                ends.push(border);
            }
        }
        if ends.is_empty() {
            return vec![self];
        }
        ends.push(self.points.len());
        let mut blocks = Vec::with_capacity(ends.len());
        let mut from = 0;
        for to in ends {
            let request = self.part_request(Part { from, to });
            let shift = request.address.saturating_sub(self.request.address);
            let points = self.points.get(from..to).unwrap_or_default().iter();
            let points = points.map(|(point, offset, source)| (*point, offset.saturating_sub(shift), source.clone())).collect();
            blocks.push(Self::new(request, points, patience));
            from = to;
        }
        blocks
    }

    /// The same read with a longer answer, where the device allows that.
    pub(super) fn widened(&self, limits: &Limits, gaps: &[Gap]) -> Option<Request> {
        let function = self.request.function;
        let step = if function.reads_bits() { 8 } else { 1 };
        let per_register = if function.reads_bits() { 16 } else { 1 };
        let quantity = self.request.quantity.checked_add(step)?;
        let most = limits.max_block.saturating_mul(per_register).min(function.quantity_max());
        let start = u32::from(self.request.address).saturating_add(u32::from(self.request.quantity));
        let end = start.saturating_add(u32::from(step));
        let forbidden =
            limits.forbidden.iter().any(|&(of, first, last)| of == function && u32::from(first) < end && u32::from(last) >= start)
                || gaps.iter().any(|gap| gap.hits(function, start, end));
        let allowed = self.extra == Extra::Allowed && limits.max_gap > 0 && quantity <= most && end <= 0x1_0000 && !forbidden;
        allowed.then_some(Request { quantity, ..self.request })
    }

    /// The addresses that [`Self::widened`] reads along.
    pub(super) fn extra_gap(&self) -> Gap {
        let length = if self.request.function.reads_bits() { 8 } else { 1 };
        Gap { function: self.request.function, first: self.request.address.saturating_add(self.request.quantity), length }
    }

    fn members(&self, part: Part) -> &[(PointId, u16, RegisterSource)] {
        self.points.get(part.from..part.to).unwrap_or_default()
    }

    /// Readings of the points of a part, from the data of its answer.
    pub(super) fn read(&self, part: Part, data: &[u8], readings: &mut Vec<Reading>) {
        let members = self.members(part);
        let shift = members.first().map_or(0, |(_, offset, _)| *offset);
        readings.extend(members.iter().map(|(point, offset, source)| Reading {
            point: *point,
            number: number(source, data, offset.saturating_sub(shift)),
            source_time: None,
        }));
    }

    /// Readings of the points of a part that say why there is no number.
    pub(super) fn miss(&self, part: Part, reason: Reason, readings: &mut Vec<Reading>) {
        readings.extend(self.members(part).iter().map(|(point, ..)| Reading {
            point: *point,
            number: Number::Missing(reason),
            source_time: None,
        }));
    }
}

impl Part {
    /// How many points are in it.
    pub(super) fn len(self) -> u64 {
        u64::try_from(self.to.saturating_sub(self.from)).unwrap_or(u64::MAX)
    }
}
