//! Points become the fewest reads that the device allows. Pure and deterministic: same points, same blocks.
//!
//! Neighbours are merged, gaps up to `max_gap` are read along unless they are forbidden, no block is longer than
//! `max_block` or the standard's limit, no block spans two functions, and no value is split over two blocks, since its
//! halves would be of two moments.
//!
//! Of all such plans one with the fewest requests is taken, and of those one with the fewest bytes: filling each block
//! to the brim gives the fewest requests too, but may read a gap along where a cut in another place reads none.

use thiserror::Error;

use super::{Function, RegisterName, RegisterSource, RegisterType};

/// What a device allows in one read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most registers in one read, at most 125; 16 times as many bits, at most 2000.
    pub max_block: u16,
    /// Most unwanted registers read along to join two blocks; 16 times as many bits.
    pub max_gap: u16,
    /// Addresses that are never read along, as inclusive ranges.
    pub forbidden: Vec<(Function, u16, u16)>,
}

impl Limits {
    fn quantity_max(&self, function: Function) -> u32 {
        let per_register = if function.reads_bits() { 16 } else { 1 };
        u32::from(self.max_block).saturating_mul(per_register).min(u32::from(function.quantity_max()))
    }

    fn gap_max(&self, function: Function) -> u32 {
        u32::from(self.max_gap).saturating_mul(if function.reads_bits() { 16 } else { 1 })
    }

    /// Whether any address of `[start, end)` is forbidden.
    fn forbids(&self, function: Function, start: u32, end: u32) -> bool {
        self.forbidden.iter().any(|&(of, first, last)| of == function && u32::from(first) < end && u32::from(last) >= start)
    }
}

/// One read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Function code.
    pub function: Function,
    /// 0-based address of the first.
    pub address: u16,
    /// How many registers or bits.
    pub quantity: u16,
    /// The points in it.
    pub members: Vec<Member>,
}

/// A point's place in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Index of its source among those planned.
    pub index: usize,
    /// Registers or bits from the start of the block to the first of the source's span.
    pub offset: u16,
}

/// All reads of a device, by function and address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The reads.
    pub blocks: Vec<Block>,
    /// Sources that no read can serve, by index; empty for a checked configuration.
    pub refused: Vec<(usize, Refusal)>,
}

/// Why no read can serve a source.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    /// It reaches beyond address 65535.
    #[error("{0}: beyond the last address, 65535")]
    Address(RegisterName),
    /// It lies in a forbidden range.
    #[error("{0}: in a range that the profile forbids to read")]
    Forbidden(RegisterName),
    /// It is longer than one read may be.
    #[error("{0}: longer than max_block")]
    Length(RegisterName),
    /// Coils and discrete inputs hold single bits; a register has bits 0 to 15.
    #[error("{0}: does not hold this type")]
    Type(RegisterName),
}

/// Plans the reads of `sources`; each is in exactly one block, or refused.
pub fn plan<'a>(sources: impl IntoIterator<Item = &'a RegisterSource>, limits: &Limits) -> Plan {
    let mut plan = Plan::default();
    let mut wanted = Vec::new();
    for (index, source) in sources.into_iter().enumerate() {
        match check(source, limits) {
            Ok(()) => {
                let (start, width) = source.span();
                wanted.push((source.function, start, width, index));
            }
            Err(refusal) => plan.refused.push((index, refusal)),
        }
    }
    wanted.sort_unstable();
    let spans: Vec<Span> = wanted
        .into_iter()
        .map(|(function, address, width, index)| {
            let start = u32::from(address);
            Span { function, start, end: start.saturating_add(u32::from(width)), index }
        })
        .collect();
    for group in spans.chunk_by(|a, b| a.function == b.function) {
        blocks_of(group, limits, &mut plan.blocks);
    }
    plan
}

/// The addresses `[start, end)` of one source.
#[derive(Clone, Copy, Debug)]
struct Span {
    function: Function,
    start: u32,
    end: u32,
    index: usize,
}

/// What the reads from one span to the last cost at least. Ordered as plans are preferred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    requests: usize,
    /// Data bytes of the answers; all else on the wire is the same for each request.
    bytes: usize,
}

/// Cuts spans of one function, in order of their addresses, into blocks.
///
/// From the last span to the first: the cheapest plan of what is left is the cheapest first block with the cheapest plan
/// after it. A block takes spans that follow each other: a later one that fits as well costs a later block nothing more.
fn blocks_of(spans: &[Span], limits: &Limits, blocks: &mut Vec<Block>) {
    // By the index of the first span: the cost from there on, and how many spans the first block takes.
    let mut best: Vec<(Cost, usize)> = vec![(Cost::default(), 0); spans.len().saturating_add(1)];
    for first in (0..spans.len()).rev() {
        let mut cheapest: Option<(Cost, usize)> = None;
        for (count, end) in reach(spans.get(first..).unwrap_or_default(), limits) {
            let Some(&(after, _)) = best.get(first.saturating_add(count)) else { break };
            let start = spans.get(first).map_or(0, |span| span.start);
            let function = spans.get(first).map_or(Function::HoldingRegisters, |span| span.function);
            let cost = Cost {
                requests: after.requests.saturating_add(1),
                bytes: after.bytes.saturating_add(data_bytes(function, end.saturating_sub(start))),
            };
            // Of equal plans the one whose first block takes more.
            if cheapest.is_none_or(|(least, _)| cost <= least) {
                cheapest = Some((cost, count));
            }
        }
        if let (Some(slot), Some(cheapest)) = (best.get_mut(first), cheapest) {
            *slot = cheapest;
        }
    }
    let mut rest = spans;
    let mut first = 0usize;
    while let (Some(span), Some(&(_, count @ 1..))) = (rest.first(), best.get(first)) {
        let (taken, after) = rest.split_at_checked(count).unwrap_or((rest, &[]));
        blocks.extend(block(span, taken));
        first = first.saturating_add(count);
        rest = after;
    }
}

/// How many of `spans` one block can take, counted from the first, each with the address after its last: 1, 2, ... as
/// far as the limits allow.
fn reach<'a>(spans: &'a [Span], limits: &'a Limits) -> impl Iterator<Item = (usize, u32)> + 'a {
    let mut block: Option<(u32, u32)> = None;
    spans.iter().enumerate().map_while(move |(index, span)| {
        let (start, end) = match block {
            None => (span.start, span.end),
            Some((start, end)) => (start, joined(start, end, span, limits)?),
        };
        block = Some((start, end));
        Some((index.saturating_add(1), end))
    })
}

/// The address after the last of the block `[start, end)` once `span` is in it; `None` where it must stay apart.
fn joined(start: u32, end: u32, span: &Span, limits: &Limits) -> Option<u32> {
    let gap = span.start.saturating_sub(end);
    let joined = span.end.max(end);
    if joined.saturating_sub(start) > limits.quantity_max(span.function) || gap > limits.gap_max(span.function) {
        return None;
    }
    if gap > 0 && limits.forbids(span.function, end, span.start) {
        return None;
    }
    Some(joined)
}

/// Data bytes of an answer: two per register, one per eight bits begun.
fn data_bytes(function: Function, quantity: u32) -> usize {
    let bytes = if function.reads_bits() { quantity.div_ceil(8) } else { quantity.saturating_mul(2) };
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// The block of spans that begin with `first`.
fn block(first: &Span, spans: &[Span]) -> Option<Block> {
    let end = spans.iter().map(|span| span.end).max()?;
    let members = spans.iter().filter_map(|span| {
        let offset = u16::try_from(span.start.checked_sub(first.start)?).ok()?;
        Some(Member { index: span.index, offset })
    });
    Some(Block {
        function: first.function,
        address: u16::try_from(first.start).ok()?,
        quantity: u16::try_from(end.checked_sub(first.start)?).ok()?,
        members: members.collect(),
    })
}

fn check(source: &RegisterSource, limits: &Limits) -> Result<(), Refusal> {
    let (start, width) = source.span();
    let name = RegisterName { function: source.function, address: start, quantity: width };
    let end = u32::from(start).saturating_add(u32::from(width));
    let type_fits = match source.register_type {
        RegisterType::Bit(bit) => bit < if source.function.reads_bits() { 1 } else { 16 },
        _ => !source.function.reads_bits(),
    };
    if !type_fits {
        return Err(Refusal::Type(name));
    }
    if end > 0x1_0000 {
        return Err(Refusal::Address(name));
    }
    if u32::from(width) > limits.quantity_max(source.function) {
        return Err(Refusal::Length(name));
    }
    if limits.forbids(source.function, u32::from(start), end) {
        return Err(Refusal::Forbidden(name));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
