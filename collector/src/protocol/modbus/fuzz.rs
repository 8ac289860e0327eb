//! What the fuzz targets do with their bytes; the corpus is replayed by an ordinary test too.
//!
//! Panics where something that must hold does not. Not in a plain build.

use super::explain::frames::Transport;
use super::explain::{frame_line, registers_line};
use super::rtu::{LineTraits, Scan, finish, scan};
use super::value::read;
use super::{ByteOrder, Function, RegisterType, Request, TextLayout};

/// The first bytes choose function, quantity and line, the rest arrives byte by byte: no panic, never more bytes asked for
/// than a frame has, data only of the length asked for, and the same judgement at the end as on the way.
pub fn rtu(input: &[u8]) {
    let Some((&[function, quantity, traits], received)) = input.split_first_chunk() else { return };
    let Some(function) = Function::from_code((function & 3).saturating_add(1)) else { return };
    let request = Request { unit_id: 17, function, address: 107, quantity: u16::from(quantity).clamp(1, 125) };
    let line = LineTraits { check_unit: traits & 1 == 0, skip_echo: traits & 2 != 0 };
    let whole = (0..=received.len()).find_map(|length| {
        let part = received.get(..length).unwrap_or_default();
        match scan(&request, part, line) {
            Ok(Scan::Incomplete { missing }) => {
                assert!((1..=super::rtu::FRAME_LENGTH_MAX).contains(&missing), "{missing} bytes missing");
                None
            }
            Ok(Scan::Complete { data, length: used }) => {
                assert!(data.len() == request.data_length() && used <= length, "{} bytes of data in {used} of {length}", data.len());
                Some(Ok(part))
            }
            Err(error) => Some(Err(error)),
        }
    });
    match whole {
        Some(Ok(part)) => assert!(finish(&request, part, line).is_ok(), "complete, and then it is not"),
        Some(Err(_)) | None => {
            if let Ok(data) = finish(&request, received, line) {
                assert_eq!(data.len(), request.data_length());
            }
        }
    }
}

/// The first bytes choose order and length of a marker, the rest are registers, read as every type: no panic, no float
/// that is not finite, never a number where the bits are a marker.
pub fn values(input: &[u8]) {
    let Some((order, rest)) = input.split_first_chunk::<8>() else { return };
    let texts = TextLayout::NAMES.map(|(_, layout)| RegisterType::Text { registers: 4, layout });
    let types = RegisterType::NAMES.map(|(_, register_type)| register_type);
    for register_type in types.into_iter().chain(texts).chain([RegisterType::Bit(order.first().copied().unwrap_or(0))]) {
        let length = usize::from(register_type.registers()).saturating_mul(2);
        let Some(bytes) = rest.get(..length) else { continue };
        let odd = ByteOrder { permutation: *order, length: u8::try_from(length).unwrap_or(u8::MAX) };
        for order in ByteOrder::usual(odd.length.min(ByteOrder::LENGTH_MAX)).into_iter().chain([odd]) {
            if let Ok(super::value::Raw::F64(value)) = read(register_type, order, &[], bytes) {
                assert!(value.is_finite());
            }
            if let (Some(bits), false) = (order.bits(bytes), matches!(register_type, RegisterType::Text { .. })) {
                assert!(read(register_type, order, &[bits], bytes).is_err(), "a marker became a number");
            }
        }
    }
}

/// Lines as `parkgate decode --json` takes them: one JSON object comes out of each.
pub fn lines(input: &[u8]) {
    for line in String::from_utf8_lossy(input).split('\n') {
        for answer in [registers_line(line), frame_line(line, None), frame_line(line, Some(Transport::Rtu))] {
            let value: serde_json::Value = serde_json::from_str(&answer.json).unwrap_or_default();
            assert!(value.get("id").is_some() && !answer.json.contains('\n'), "{}", answer.json);
            assert_eq!(value.get("error").is_some(), answer.failed, "{}", answer.json);
        }
    }
}

#[cfg(test)]
mod tests;
