use proptest::prelude::*;

use super::*;
use crate::protocol::modbus::ByteOrder;

fn source(function: Function, address: u16, register_type: RegisterType) -> RegisterSource {
    RegisterSource {
        function,
        address,
        register_type,
        order: ByteOrder::ABCD,
        not_available: Vec::new(),
        scale_register: None,
        codes: Vec::new(),
    }
}

fn limits(max_block: u16, max_gap: u16, forbidden: &[(u16, u16)]) -> Limits {
    Limits { max_block, max_gap, forbidden: forbidden.iter().map(|&(a, b)| (Function::HoldingRegisters, a, b)).collect() }
}

/// Plans holding registers given as (address, width) and shows the blocks as (address, quantity).
fn blocks(values: &[(u16, u16)], limits: &Limits) -> Vec<(u16, u16)> {
    let sources: Vec<_> = values
        .iter()
        .map(|&(address, width)| {
            let register_type = match width {
                1 => RegisterType::U16,
                2 => RegisterType::U32,
                _ => RegisterType::U64,
            };
            source(Function::HoldingRegisters, address, register_type)
        })
        .collect();
    plan(&sources, limits).blocks.iter().map(|block| (block.address, block.quantity)).collect()
}

#[test]
fn blocks_are_the_fewest_allowed() {
    for (what, values, limits, expected) in [
        ("neighbours merge", &[(0, 2), (2, 2), (4, 1)][..], limits(125, 0, &[]), &[(0, 5)][..]),
        ("order does not matter", &[(4, 1), (0, 2), (2, 2)], limits(125, 0, &[]), &[(0, 5)]),
        ("a gap parts them", &[(0, 1), (2, 1)], limits(125, 0, &[]), &[(0, 1), (2, 1)]),
        ("a gap allowed is read along", &[(0, 1), (11, 1)], limits(125, 10, &[]), &[(0, 12)]),
        ("a gap too wide", &[(0, 1), (12, 1)], limits(125, 10, &[]), &[(0, 1), (12, 1)]),
        ("a forbidden gap", &[(0, 1), (5, 1)], limits(125, 10, &[(3, 3)]), &[(0, 1), (5, 1)]),
        ("forbidden elsewhere", &[(0, 1), (5, 1)], limits(125, 10, &[(6, 9)]), &[(0, 6)]),
        ("overlapping values", &[(0, 4), (1, 2), (2, 4)], limits(125, 0, &[]), &[(0, 6)]),
        ("one value twice", &[(3, 2), (3, 2)], limits(125, 0, &[]), &[(3, 2)]),
        ("max_block", &[(0, 2), (2, 2), (4, 2)], limits(4, 0, &[]), &[(0, 4), (4, 2)]),
        ("no value is split", &[(0, 2), (2, 2), (4, 2)], limits(5, 0, &[]), &[(0, 4), (4, 2)]),
        ("the standard's limit", &[(0, 1), (124, 1), (125, 1)], limits(1000, 200, &[]), &[(0, 125), (125, 1)]),
        ("the last address", &[(65_534, 2), (65_532, 1)], limits(125, 1, &[]), &[(65_532, 4)]),
    ] {
        assert_eq!(blocks(values, &limits), expected, "{what}");
    }
}

#[test]
fn a_scale_register_is_in_the_block_of_its_value() {
    let scaled =
        |address, scale| RegisterSource { scale_register: Some(scale), ..source(Function::HoldingRegisters, address, RegisterType::I32) };
    // Wider apart than any gap that is read along, before and after the value, within it in the end.
    let sources = [scaled(40, 70), scaled(100, 90), scaled(200, 201)];
    let planned = plan(&sources, &limits(125, 0, &[]));
    let blocks: Vec<_> = planned.blocks.iter().map(|block| (block.address, block.quantity, block.members[0].offset)).collect();
    assert_eq!(blocks, [(40, 31, 0), (90, 12, 0), (200, 2, 0)]);
    let merged = plan(&[scaled(40, 45), source(Function::HoldingRegisters, 38, RegisterType::U16)], &limits(125, 1, &[]));
    assert_eq!((merged.blocks.len(), merged.blocks[0].address, merged.blocks[0].quantity), (1, 38, 8));
    let refused = |limits: Limits| plan(&[scaled(40, 70)], &limits).refused[0].1;
    assert!(matches!(refused(limits(30, 0, &[])), Refusal::Length(_)));
    assert!(matches!(refused(limits(125, 0, &[(50, 50)])), Refusal::Forbidden(_)));
}

#[test]
fn functions_do_not_mix_and_bits_have_limits_of_their_own() {
    let bit = |function, address| source(function, address, RegisterType::Bit(0));
    let sources = [
        bit(Function::Coils, 0),
        bit(Function::Coils, 1999),
        bit(Function::Coils, 2000),
        bit(Function::DiscreteInputs, 1),
        source(Function::InputRegisters, 0, RegisterType::U16),
        source(Function::HoldingRegisters, 1, RegisterType::U16),
    ];
    let plan = plan(&sources, &limits(125, 125, &[]));
    let blocks: Vec<_> = plan.blocks.iter().map(|block| (block.function.code(), block.address, block.quantity)).collect();
    assert_eq!(blocks, [(1, 0, 2000), (1, 2000, 1), (2, 1, 1), (3, 1, 1), (4, 0, 1)]);
}

#[test]
fn what_cannot_be_read_is_refused_by_name() {
    let holding = Function::HoldingRegisters;
    for (source, text) in [
        (source(holding, 65_535, RegisterType::U32), "registers 465536-465537: beyond the last address, 65535"),
        (source(holding, 9, RegisterType::U32), "registers 40010-40011: in a range that the profile forbids to read"),
        (source(holding, 20, RegisterType::U64), "registers 40021-40024: longer than max_block"),
        (source(holding, 20, RegisterType::Bit(16)), "register 40021: does not hold this type"),
        (source(Function::Coils, 20, RegisterType::U16), "coil 00021: does not hold this type"),
        (source(Function::Coils, 20, RegisterType::Bit(1)), "coil 00021: does not hold this type"),
    ] {
        let plan = plan([&source], &limits(2, 0, &[(10, 12)]));
        assert_eq!(plan.refused.iter().map(|(index, why)| (*index, why.to_string())).collect::<Vec<_>>(), [(0, text.to_owned())]);
        assert!(plan.blocks.is_empty());
    }
}

fn any_source() -> impl Strategy<Value = RegisterSource> {
    use RegisterType::{Bit, F32, F64, I16, U16, U32};
    let types = prop_oneof![Just(U16), Just(I16), Just(U32), Just(F32), Just(F64), (0u8..=16).prop_map(Bit)];
    let addresses = prop_oneof![4 => 0u16..300, 1 => any::<u16>(), 1 => 65_500u16..];
    (1u8..=4, addresses, types)
        .prop_map(|(function, address, register_type)| source(Function::from_code(function).unwrap(), address, register_type))
}

proptest! {
    #[test]
    fn every_point_once_no_limit_broken_nothing_forbidden_read(
        sources in prop::collection::vec(any_source(), 0..60),
        max_block in 0u16..200,
        max_gap in 0u16..60,
        forbidden in prop::collection::vec((1u8..=4, 0u16..320, 0u16..20), 0..6),
    ) {
        let forbidden = forbidden.into_iter().map(|(function, first, more)| (Function::from_code(function).unwrap(), first, first + more));
        let limits = Limits { max_block, max_gap, forbidden: forbidden.collect() };
        let plan = plan(&sources, &limits);
        prop_assert_eq!(&plan, &super::plan(&sources, &limits), "not deterministic");

        let mut covered = vec![0; sources.len()];
        for (index, _) in &plan.refused {
            covered[*index] += 1;
        }
        for block in &plan.blocks {
            let (start, end) = (u32::from(block.address), u32::from(block.address) + u32::from(block.quantity));
            let per_register = if block.function.reads_bits() { 16 } else { 1 };
            prop_assert!(block.quantity > 0 && end <= 0x1_0000);
            prop_assert!(u32::from(block.quantity) <= u32::from(max_block) * per_register);
            prop_assert!(block.quantity <= block.function.quantity_max());
            prop_assert!(!block.members.is_empty());
            for &(function, first, last) in &limits.forbidden {
                let apart = u32::from(last) < start || u32::from(first) >= end;
                prop_assert!(function != block.function || apart, "reads {first}-{last}");
            }
            let mut wanted = vec![false; usize::from(block.quantity)];
            for member in &block.members {
                let source = &sources[member.index];
                covered[member.index] += 1;
                prop_assert_eq!(source.function, block.function);
                prop_assert_eq!(u32::from(source.address), start + u32::from(member.offset));
                let (from, width) = (usize::from(member.offset), usize::from(source.register_type.registers()));
                prop_assert!(from + width <= wanted.len(), "a value is split");
                wanted[from..from + width].fill(true);
            }
            prop_assert!(wanted[0] && wanted[wanted.len() - 1], "reads past its values");
            let widest_gap = wanted.split(|wanted| *wanted).map(<[bool]>::len).max().unwrap_or(0);
            prop_assert!(widest_gap <= usize::from(max_gap) * usize::try_from(per_register).unwrap());
        }
        prop_assert!(covered.iter().all(|&times| times == 1), "{covered:?}");
        prop_assert!(plan.blocks.len() + plan.refused.len() <= sources.len(), "worse than one request per point");
    }
}
