use proptest::prelude::*;

use super::*;

fn source(register_type: RegisterType, order: ByteOrder, not_available: &[u64]) -> RegisterSource {
    RegisterSource { function: Function::HoldingRegisters, address: 0, register_type, order, not_available: not_available.to_vec() }
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

fn any_type() -> impl Strategy<Value = RegisterType> {
    use RegisterType::{Bit, F32, F64, I16, I32, I64, U16, U32, U64};
    prop_oneof![Just(U16), Just(I16), Just(U32), Just(I32), Just(U64), Just(I64), Just(F32), Just(F64), (0u8..=20).prop_map(Bit)]
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
    ) {
        let mut source = source(register_type, ByteOrder { permutation: permutation.map(|byte| byte % 10), length }, &[0]);
        source.function = Function::from_code(function).unwrap();
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
