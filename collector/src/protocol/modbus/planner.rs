//! Points become the fewest reads that the device allows. Pure and deterministic: same points, same blocks.
//!
//! Neighbours are merged, gaps up to `max_gap` are read along unless they are forbidden, no block is longer than
//! `max_block` or the standard's limit, no block spans two functions, and no value is split over two blocks, since its
//! halves would be of two moments.

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
    for (function, address, width, index) in wanted {
        let start = u32::from(address);
        let end = start.saturating_add(u32::from(width));
        let open = plan.blocks.last_mut().filter(|block| block.function == function);
        if let Some(block) = open
            && let Some(offset) = address.checked_sub(block.address)
            && let Some(quantity) = joined(block, start, end, limits)
        {
            block.quantity = quantity;
            block.members.push(Member { index, offset });
        } else {
            plan.blocks.push(Block { function, address, quantity: width, members: vec![Member { index, offset: 0 }] });
        }
    }
    plan
}

/// The quantity that `block` has once `[start, end)` is in it; `None` where it must stay apart.
fn joined(block: &Block, start: u32, end: u32, limits: &Limits) -> Option<u16> {
    let first = u32::from(block.address);
    let block_end = first.saturating_add(u32::from(block.quantity));
    let length = end.max(block_end).saturating_sub(first);
    let gap = start.saturating_sub(block_end);
    if length > limits.quantity_max(block.function) || gap > limits.gap_max(block.function) {
        return None;
    }
    if gap > 0 && limits.forbids(block.function, block_end, start) {
        return None;
    }
    u16::try_from(length).ok()
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
