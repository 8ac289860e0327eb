use proptest::prelude::*;

use super::*;
use crate::protocol::modbus::Function;

fn source(register_type: RegisterType, order: ByteOrder, not_available: &[u64]) -> RegisterSource {
    RegisterSource {
        function: Function::HoldingRegisters,
        address: 0,
        register_type,
        order,
        not_available: not_available.to_vec(),
        scale_register: None,
        codes: Vec::new(),
    }
}

fn missing(reason: Reason) -> Number {
    Number::Missing(reason)
}

#[test]
fn types_are_read_as_the_standard_has_them() {
    use RegisterType::{Bit, F32, F64, I16, I32, I64, U16, U32, U64};
    let (a, ab, abc) = (ByteOrder::AB, ByteOrder::ABCD, ByteOrder::ABCDEFGH);
    for (register_type, order, data, expected) in [
        (U16, a, &[0xFF, 0xFF][..], exact(65_535)),
        (U16, ByteOrder::BA, &[0x01, 0x02], exact(0x0201)),
        (I16, a, &[0x80, 0x00], exact(-32_768)),
        (I16, a, &[0xFF, 0xFE], exact(-2)),
        (U32, ab, &[0xFF, 0xFF, 0xFF, 0xFF], exact(4_294_967_295)),
        (I32, ab, &[0x80, 0, 0, 0], exact(-2_147_483_648)),
        (U64, abc, &[0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], exact(i64::MAX)),
        (U64, abc, &[0x80, 0, 0, 0, 0, 0, 0, 0], missing(Reason::Overflow)),
        (I64, abc, &[0x80, 0, 0, 0, 0, 0, 0, 0], exact(i64::MIN)),
        (F32, ab, &[0x43, 0x66, 0x80, 0x00], Number::F32(230.5)),
        (F32, ab, &[0x80, 0, 0, 0], Number::F32(-0.0)),
        (F32, ab, &[0x7F, 0xC0, 0, 0], missing(Reason::NotANumber)),
        (F32, ab, &[0x7F, 0xBF, 0xFF, 0x80], missing(Reason::NotANumber)),
        (F32, ab, &[0xFF, 0xFF, 0xFF, 0xFF], missing(Reason::NotANumber)),
        (F32, ab, &[0x7F, 0x80, 0, 0], missing(Reason::NotANumber)),
        (F32, ab, &[0xFF, 0x80, 0, 0], missing(Reason::NotANumber)),
        (F64, abc, &[0x40, 0x6C, 0xD0, 0, 0, 0, 0, 0], Number::F64(230.5)),
        (F64, abc, &[0x7F, 0xF8, 0, 0, 0, 0, 0, 0], missing(Reason::NotANumber)),
        (F64, abc, &[0xFF, 0xF0, 0, 0, 0, 0, 0, 0], missing(Reason::NotANumber)),
        (Bit(0), a, &[0, 0b01], exact(1)),
        (Bit(9), a, &[0b10, 0], exact(1)),
        (Bit(15), a, &[0x7F, 0xFF], exact(0)),
        (Bit(16), a, &[0xFF, 0xFF], missing(Reason::BadAnswer)),
        // Too short, and an order that does not fit the type.
        (U32, ab, &[0, 1], missing(Reason::BadAnswer)),
        (U32, a, &[0, 0, 0, 1], missing(Reason::BadAnswer)),
        (U16, a, &[], missing(Reason::BadAnswer)),
    ] {
        assert_eq!(number(&source(register_type, order, &[]), data, 0), expected, "{register_type:?} {data:02x?}");
    }
}

#[test]
fn orders_are_those_of_the_field() {
    // The letters are what arrives; the value is always ABCD or ABCDEFGH.
    for (order, arriving) in [
        (ByteOrder::AB, "AB"),
        (ByteOrder::BA, "BA"),
        (ByteOrder::ABCD, "ABCD"),
        (ByteOrder::CDAB, "CDAB"),
        (ByteOrder::BADC, "BADC"),
        (ByteOrder::DCBA, "DCBA"),
        (ByteOrder::ABCDEFGH, "ABCDEFGH"),
        (ByteOrder::GHEFCDAB, "GHEFCDAB"),
        (ByteOrder::BADCFEHG, "BADCFEHG"),
        (ByteOrder::HGFEDCBA, "HGFEDCBA"),
        (ByteOrder::CDABGHEF, "CDABGHEF"),
        (ByteOrder::EFGHABCD, "EFGHABCD"),
    ] {
        let bits = order.bits(arriving.as_bytes()).unwrap();
        let value = &bits.to_be_bytes()[8 - arriving.len()..];
        assert_eq!(std::str::from_utf8(value).unwrap(), &"ABCDEFGH"[..arriving.len()], "{arriving}");
    }
    for (permutation, length) in [([0, 0, 0, 0, 0, 0, 0, 0], 4), ([0, 1, 2, 9, 0, 0, 0, 0], 4), ([0; 8], 9), ([1, 2, 0, 0, 0, 0, 0, 0], 2)]
    {
        assert_eq!(ByteOrder { permutation, length }.bits(&[0; 8][..usize::from(length).min(8)]), None, "{permutation:?}");
    }
}

#[test]
fn markers_are_compared_after_reordering_and_are_never_zero() {
    use RegisterType::{Bit, F32, I16, I32, U16, U32};
    for (register_type, order, marker, data) in [
        (U16, ByteOrder::AB, 0xFFFF, &[0xFF, 0xFF][..]),
        (I16, ByteOrder::AB, 0x8000, &[0x80, 0]),
        (I16, ByteOrder::BA, 0x8000, &[0, 0x80]),
        (U32, ByteOrder::CDAB, 0xFFFF_FFFE, &[0xFF, 0xFE, 0xFF, 0xFF]),
        (I32, ByteOrder::DCBA, 0x8000_0000, &[0, 0, 0, 0x80]),
        (F32, ByteOrder::CDAB, 0x7FC0_0000, &[0, 0, 0x7F, 0xC0]),
        (Bit(3), ByteOrder::AB, 0xFFFF, &[0xFF, 0xFF]),
    ] {
        assert_eq!(number(&source(register_type, order, &[1, marker]), data, 0), missing(Reason::NotAvailable), "{register_type:?}");
    }
    assert_eq!(number(&source(U32, ByteOrder::CDAB, &[0x8000]), &[0, 0, 0x80, 0], 0), exact(0x8000_0000), "as it arrives it would match");
}

#[test]
fn coils_are_counted_from_the_least_significant_bit() {
    let mut coil = source(RegisterType::Bit(0), ByteOrder::AB, &[]);
    coil.function = Function::Coils;
    // Modbus Application Protocol V1.1b3, 6.1, example: coils 20-38 are CD 6B 05.
    let data = [0xCD, 0x6B, 0x05];
    let read: Vec<_> = (0..19).map(|offset| number(&coil, &data, offset)).collect();
    let expected = [1, 0, 1, 1, 0, 0, 1, 1, 1, 1, 0, 1, 0, 1, 1, 0, 1, 0, 1];
    assert_eq!(read, expected.map(exact));
    assert_eq!(number(&coil, &data, 24), missing(Reason::BadAnswer));
}

#[test]
fn digits_are_read_as_devices_write_them() {
    use RegisterType::{Bcd, Mod10, Mod10Signed, SignMagnitude16, SignMagnitude32};
    let (wide, low) = (ByteOrder::high_first(6), ByteOrder::low_first(6));
    for (register_type, order, data, expected) in [
        (Bcd(1), ByteOrder::AB, &[0x12, 0x34][..], exact(1234)),
        (Bcd(1), ByteOrder::AB, &[0xFF, 0xFF], missing(Reason::NotAvailable)),
        (Bcd(1), ByteOrder::AB, &[0x12, 0x3A], missing(Reason::NotANumber)),
        (Bcd(3), wide, &[0, 0, 0x01, 0x52, 0x03, 0x70], exact(1_520_370)),
        (Bcd(3), low, &[0x03, 0x70, 0x01, 0x52, 0, 0], exact(1_520_370)),
        (Bcd(3), wide, &[0xFF; 6], missing(Reason::NotAvailable)),
        (Bcd(4), ByteOrder::ABCDEFGH, &[0x99; 8], exact(9_999_999_999_999_999)),
        (Mod10(3), low, &[0, 1, 0, 2, 0, 3], exact(300_020_001)),
        (Mod10(3), wide, &[0, 3, 0, 2, 0, 1], exact(300_020_001)),
        (Mod10(3), low, &[0x27, 0x10, 0, 0, 0, 0], missing(Reason::NotANumber)),
        (Mod10(3), low, &[0xFF; 6], missing(Reason::NotANumber)),
        (Mod10Signed, low, &[0xFF, 0xFF, 0xFF, 0xFE, 0, 0], exact(-20_001)),
        (Mod10Signed, low, &[0x80, 0, 0x80, 0, 0x80, 0], missing(Reason::NotANumber)),
        (SignMagnitude16, ByteOrder::AB, &[0x80, 5], exact(-5)),
        (SignMagnitude16, ByteOrder::AB, &[0x80, 0], exact(0)),
        (SignMagnitude32, ByteOrder::CDAB, &[0, 100, 0x80, 0], exact(-100)),
        // Of another length than the type.
        (Bcd(2), wide, &[0; 4], missing(Reason::BadAnswer)),
        (Mod10(2), ByteOrder::CDAB, &[0; 3], missing(Reason::BadAnswer)),
    ] {
        assert_eq!(number(&source(register_type, order, &[]), data, 0), expected, "{register_type:?} {data:02x?}");
    }
    let marked = source(Mod10Signed, low, &[0x8000_8000_8000]);
    assert_eq!(number(&marked, &[0x80, 0, 0x80, 0, 0x80, 0], 0), missing(Reason::NotAvailable));
}

#[test]
fn a_scale_register_is_read_with_its_value() {
    let scaled = |address, scale, markers: &[u64]| RegisterSource {
        address,
        scale_register: Some(scale),
        ..source(RegisterType::I16, ByteOrder::AB, markers)
    };
    let power = |value, power| Number::Exact(Decimal::new(value, power));
    // SunSpec inverter model: W at 14, W_SF at 15; and a scale register before its value.
    for (source, data, offset, expected) in [
        (scaled(14, 15, &[]), &[0, 235, 0xFF, 0xFF][..], 0, power(235, -1)),
        (scaled(14, 15, &[]), &[9, 9, 0, 235, 0, 2], 1, power(235, 2)),
        (scaled(14, 12, &[]), &[0xFF, 0xF6, 9, 9, 0xFF, 0xFF], 0, power(-1, -10)),
        (scaled(14, 15, &[]), &[0, 235, 0x80, 0], 0, missing(Reason::NotAvailable)),
        (scaled(14, 15, &[]), &[0, 235, 0, 11], 0, missing(Reason::NotANumber)),
        (scaled(14, 15, &[]), &[0, 235, 0xFF, 0xF5], 0, missing(Reason::NotANumber)),
        (scaled(14, 15, &[0x8000]), &[0x80, 0, 0, 1], 0, missing(Reason::NotAvailable)),
        (scaled(14, 15, &[]), &[0, 235, 0], 0, missing(Reason::BadAnswer)),
        (scaled(14, 16, &[]), &[0, 235, 0, 0], 0, missing(Reason::BadAnswer)),
    ] {
        assert_eq!(number(&source, data, offset), expected, "{:?} {data:02x?}", source.scale_register);
    }
}

#[test]
fn codes_stand_for_raw_values() {
    let text = |registers, layout, codes: &[(&str, i64)]| RegisterSource {
        codes: codes.iter().map(|(text, code)| (RawCode::Text((*text).to_owned()), *code)).collect(),
        ..source(RegisterType::Text { registers, layout }, ByteOrder::AB, &[])
    };
    let states = text(2, TextLayout::HighFirst, &[("A", 1), ("C2", 3)]);
    for (data, expected) in [
        (&b"C2\0\0"[..], exact(3)),
        (b"  A ", exact(1)),
        (b"C1\0\0", missing(Reason::Range)),
        (b"\0\0\0\0", missing(Reason::NotAvailable)),
        (b"\xFF\xFF\xFF\xFF", missing(Reason::NotAvailable)),
        (b"\x01\x02\x03\x04", missing(Reason::NotANumber)),
        (b"C2", missing(Reason::BadAnswer)),
    ] {
        assert_eq!(number(&states, data, 0), expected, "{data:?}");
    }
    assert_eq!(number(&text(2, TextLayout::Lower, &[("C2", 3)]), b"\0C\x002", 0), exact(3));
    let numbers =
        RegisterSource { codes: vec![(RawCode::Number(-2), 7), (RawCode::Number(0), 1)], ..source(RegisterType::I16, ByteOrder::AB, &[]) };
    assert_eq!(number(&numbers, &[0xFF, 0xFE], 0), exact(7));
    assert_eq!(number(&numbers, &[0, 0], 0), exact(1));
    assert_eq!(number(&numbers, &[0, 2], 0), missing(Reason::Range));
    let inverted =
        RegisterSource { function: Function::Coils, codes: vec![(RawCode::Number(0), 1), (RawCode::Number(1), 0)], ..numbers.clone() };
    assert_eq!((number(&inverted, &[0b01], 0), number(&inverted, &[0b01], 1)), (exact(0), exact(1)));
}

fn any_type() -> impl Strategy<Value = RegisterType> {
    let named = prop::sample::select(RegisterType::NAMES.to_vec()).prop_map(|(_, register_type)| register_type);
    let layout = prop::sample::select(TextLayout::NAMES.to_vec());
    let text = (0u16..=126, layout).prop_map(|(registers, (_, layout))| RegisterType::Text { registers, layout });
    prop_oneof![4 => named, 1 => (0u8..=20).prop_map(RegisterType::Bit), 1 => (0u8..=9).prop_map(RegisterType::Bcd), 1 => (0u8..=9).prop_map(RegisterType::Mod10), 1 => text]
}

proptest! {
    /// Arbitrary input: no panic, and no number that is not finite.
    #[test]
    fn anything_is_survived(
        register_type in any_type(),
        permutation in any::<[u8; 8]>(),
        length in 0u8..=9,
        function in 1u8..=4,
        data in prop::collection::vec(any::<u8>(), 0..=250),
        offset in 0u16..=140,
        address in any::<u16>(),
        scale_register in prop::option::of(any::<u16>()),
    ) {
        let mut source = source(register_type, ByteOrder { permutation: permutation.map(|byte| byte % 10), length }, &[0]);
        source.function = Function::from_code(function).unwrap();
        (source.address, source.scale_register) = (address, scale_register);
        match number(&source, &data, offset) {
            Number::F32(value) => prop_assert!(value.is_finite()),
            Number::F64(value) => prop_assert!(value.is_finite()),
            Number::Exact(_) | Number::Missing(_) => {}
            Number::Canonical(_) => prop_assert!(false, "no device gives that"),
        }
    }

    /// Every 64-bit value comes back through every order of the field.
    #[test]
    fn orders_read_back(value in any::<i64>()) {
        for order in [ByteOrder::ABCDEFGH, ByteOrder::GHEFCDAB, ByteOrder::BADCFEHG, ByteOrder::HGFEDCBA, ByteOrder::CDABGHEF, ByteOrder::EFGHABCD] {
            let bytes = value.to_be_bytes();
            let arriving = order.permutation.map(|position| bytes[usize::from(position)]);
            prop_assert_eq!(number(&source(RegisterType::I64, order, &[]), &arriving, 0), exact(value));
        }
        for order in [ByteOrder::ABCD, ByteOrder::CDAB, ByteOrder::BADC, ByteOrder::DCBA] {
            let bytes = value.to_be_bytes();
            let arriving: Vec<_> = order.permutation[..4].iter().map(|&position| bytes[4 + usize::from(position)]).collect();
            prop_assert_eq!(number(&source(RegisterType::U32, order, &[]), &arriving, 0), exact(value & 0xFFFF_FFFF));
        }
    }
}
