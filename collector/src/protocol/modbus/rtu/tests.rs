use proptest::prelude::*;

use super::*;
use crate::protocol::modbus::Exception;

/// Modbus Application Protocol V1.1b3, 6.3, example: registers 108-110 of unit 17.
const REQUEST: Request = Request { unit_id: 17, function: Function::HoldingRegisters, address: 107, quantity: 3 };
/// Its answer in the standard.
const ANSWER: [u8; 11] = [0x11, 3, 6, 0x02, 0x2B, 0, 0, 0, 0x64, 0xC8, 0xBA];
/// 6.1, example: coils 20-38.
const COILS: Request = Request { unit_id: 17, function: Function::Coils, address: 19, quantity: 19 };
const STRICT: LineTraits = LineTraits { check_unit: true, skip_echo: false };
const ECHOING: LineTraits = LineTraits { check_unit: true, skip_echo: true };

/// `body` with its CRC.
fn framed(body: &[u8]) -> Vec<u8> {
    let mut frame = body.to_vec();
    frame.extend(crc16(body).to_le_bytes());
    frame
}

fn hex(text: &str) -> Vec<u8> {
    text.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

fn unit(answered: u8) -> RtuError {
    AnswerError::Unit { asked: 17, answered }.into()
}

fn function(answered: u8) -> RtuError {
    AnswerError::Function { asked: 3, answered }.into()
}

fn count(counted: u8, received: usize) -> RtuError {
    AnswerError::ByteCount { expected: 6, counted, received }.into()
}

#[test]
fn crc_is_that_of_the_standard() {
    // The check value that CRC catalogues give for "MODBUS", and frames whose CRC is published.
    assert_eq!(crc16(b"123456789"), 0x4B37);
    for text in ["01 03 00 00 00 0A C5 CD", "02 07 41 12", "11 03 00 6B 00 03 76 87", "01 83 02 C0 F1"] {
        let frame = hex(text);
        let (body, crc) = frame.split_last_chunk::<2>().unwrap();
        assert_eq!(crc16(body).to_le_bytes(), *crc, "{text}");
        assert_eq!(crc16(&frame), 0, "{text}");
    }
    assert_eq!(crc16(&[]), 0xFFFF);
}

#[test]
fn requests_are_encoded() {
    let request = Request { unit_id: 1, function: Function::HoldingRegisters, address: 0, quantity: 10 };
    assert_eq!(encode(&request).to_vec(), hex("01 03 00 00 00 0A C5 CD"));
    assert_eq!(encode(&REQUEST).to_vec(), hex("11 03 00 6B 00 03 76 87"));
    assert_eq!(encode(&COILS).to_vec(), hex("11 01 00 13 00 13 8E 92"));
    assert_eq!((answer_length(&request), answer_length(&REQUEST), answer_length(&COILS)), (25, 11, 8));
}

#[test]
fn answers_are_judged_byte_by_byte() {
    let data = &[0x02, 0x2B, 0, 0, 0, 0x64][..];
    for (text, expected) in [
        ("", Ok(Scan::Incomplete { missing: 5 })),
        ("11", Ok(Scan::Incomplete { missing: 4 })),
        ("11 03", Ok(Scan::Incomplete { missing: 3 })),
        ("11 03 06", Ok(Scan::Incomplete { missing: 8 })),
        ("11 03 06 02 2B 00 00 00 64 C8", Ok(Scan::Incomplete { missing: 1 })),
        ("11 03 06 02 2B 00 00 00 64 C8 BA", Ok(Scan::Complete { data, length: 11 })),
        ("11 03 06 02 2B 00 00 00 64 C8 BA 00 FF", Ok(Scan::Complete { data, length: 11 })),
        ("11 83 02 C1 34", Err(AnswerError::Exception(Exception(2)).into())),
        ("11 83 02 C1", Ok(Scan::Incomplete { missing: 1 })),
        ("11 83 02 C1 35", Err(RtuError::Crc { computed: 0x34C1, received: 0x35C1 })),
        ("11 03 06 02 2B 00 00 00 65 C8 BA", Err(RtuError::Crc { computed: 0x7A09, received: 0xBAC8 })),
        // Sound frames that are not the answer.
        ("12 03 06 02 2B 00 00 00 64 DC 4A", Err(unit(18))),
        ("11 04 06 02 2B 00 00 00 64 89 5C", Err(function(4))),
        ("11 84 02 C3 04", Err(function(0x84))),
        ("11 03 04 02 2B 00 00 9A 42", Err(count(4, 4))),
        ("11 06 00 01 00 03 9A 9B", Err(function(6))),
        ("11 06 00 01 00 03 9A", Ok(Scan::Incomplete { missing: 1 })),
        // No frame has 252 bytes of data.
        ("11 03 FC 21 74", Err(RtuError::TooLong)),
        // An echo that is not expected is an answer of no registers.
        ("11 03 00 6B 00 03 76 87", Err(RtuError::Crc { computed: 0xE44C, received: 0x006B })),
    ] {
        let received = hex(text);
        let scanned = scan(&REQUEST, &received, STRICT);
        match (scanned, expected) {
            // The CRC of what is damaged is not the point.
            (Err(RtuError::Crc { received: of, computed }), Err(RtuError::Crc { received: wanted, .. })) => {
                assert_eq!(of, wanted, "{text}");
                assert_ne!(of, computed, "{text}");
            }
            (scanned, expected) => assert_eq!(scanned, expected, "{text}"),
        }
    }
    let coils = hex("11 01 03 CD 6B 05 40 12");
    assert_eq!(scan(&COILS, &coils, STRICT), Ok(Scan::Complete { data: &[0xCD, 0x6B, 0x05], length: 8 }));
    let other = hex("12 03 06 02 2B 00 00 00 64 DC 4A");
    let lenient = LineTraits { check_unit: false, skip_echo: false };
    assert_eq!(scan(&REQUEST, &other, lenient), Ok(Scan::Complete { data, length: 11 }));
}

#[test]
fn the_last_word_names_what_is_wrong() {
    let incomplete = |received| Err(RtuError::Incomplete { received });
    for (text, expected) in [
        ("", Err(RtuError::Silent)),
        ("11", incomplete(1)),
        ("11 03 06 02", incomplete(4)),
        ("11 03 06 02 2B 00 00 00 64 C8", incomplete(10)),
        ("11 03 06 02 2B 00 00 00 64 C8 BA", Ok(vec![0x02, 0x2B, 0, 0, 0, 0x64])),
        // Sound as a whole, but it announces more or fewer bytes than it has.
        ("11 03 06 02 2B 00 00 E3 82", Err(count(6, 4))),
        ("11 03 04 02 2B 00 00 00 64 EB 7A", Err(count(4, 6))),
        ("11 03 04 02 2B 00 00 9A 42", Err(count(4, 4))),
        ("11 03 FC 21 74", Err(count(252, 0))),
        ("11 03 4D E1", incomplete(4)),
        ("11 83 02 C1 34", Err(AnswerError::Exception(Exception(2)).into())),
        ("12 03 06 02 2B 00 00 00 64 DC 4A", Err(unit(18))),
        ("11 06 00 01 00 03 9A 9B", Err(function(6))),
        ("11 06 00 01 00", incomplete(5)),
    ] {
        assert_eq!(finish(&REQUEST, &hex(text), STRICT).map(<[u8]>::to_vec), expected, "{text}");
    }
    // As long as the answer should be, with the byte count or the function damaged: no matter what it then announces.
    for text in [
        "11 03 FF 02 2B 00 00 00 64 C8 BA",
        "11 03 0E 02 2B 00 00 00 64 C8 BA",
        "11 07 06 02 2B 00 00 00 64 C8 BA",
        "11 03 02 02 2B 00 00 00 64 C8 BA",
    ] {
        assert!(matches!(finish(&REQUEST, &hex(text), STRICT), Err(RtuError::Crc { .. })), "{text}");
    }
}

#[test]
fn our_own_echo_is_skipped_where_it_may_come() {
    let echo = encode(&REQUEST);
    let both = [&echo[..], &ANSWER].concat();
    assert_eq!(scan(&REQUEST, &both, ECHOING), Ok(Scan::Complete { data: &ANSWER[3..9], length: 19 }));
    assert_eq!(scan(&REQUEST, &ANSWER, ECHOING), Ok(Scan::Complete { data: &ANSWER[3..9], length: 11 }), "no echo this time");
    for length in 0..both.len() {
        assert!(matches!(scan(&REQUEST, &both[..length], ECHOING), Ok(Scan::Incomplete { missing: 1.. })), "{length}");
    }
    assert_eq!(finish(&REQUEST, &echo, ECHOING), Err(RtuError::Silent));
    assert_eq!(finish(&REQUEST, &echo[..5], ECHOING), Err(RtuError::Incomplete { received: 5 }));
    assert_eq!(finish(&REQUEST, &both[..12], ECHOING), Err(RtuError::Incomplete { received: 4 }));
    // An answer that begins with the request's bytes: 24 coils from 0x0310 read as 10 00 18, CRC as it happens to be.
    let request = Request { unit_id: 1, function: Function::Coils, address: 0x0310, quantity: 0x12 };
    let same = framed(&[1, 1, 3, 0x10, 0, 0x12]);
    assert_eq!(encode(&request).to_vec(), same, "the same bytes");
    assert_eq!(scan(&request, &same, ECHOING), Ok(Scan::Incomplete { missing: 5 }), "never taken for an answer");
    assert_eq!(scan(&request, &same, STRICT), Ok(Scan::Complete { data: &[0x10, 0, 0x12], length: 8 }));
}

#[test]
fn a_line_that_never_falls_silent_is_given_up() {
    // Function 0x41 has no known length; 0x55 repeated never makes its CRC fit.
    let noise = [&[17, 0x41][..], &[0x55; 300]].concat();
    let given_up = (0..=noise.len()).find(|&length| scan(&REQUEST, &noise[..length], STRICT).is_err());
    assert!(given_up.is_some_and(|length| length <= FRAME_LENGTH_MAX), "{given_up:?}");
}

fn request() -> impl Strategy<Value = Request> {
    (0u8..=247, 1u8..=4, any::<u16>(), 1u16..=125).prop_map(|(unit_id, function, address, quantity)| Request {
        unit_id,
        function: Function::from_code(function).unwrap(),
        address,
        quantity,
    })
}

/// A request and its right answer, with the data from `seed`.
fn exchange() -> impl Strategy<Value = (Request, Vec<u8>)> {
    (request(), prop::collection::vec(any::<u8>(), 250)).prop_map(|(request, seed)| {
        let data = &seed[..request.data_length()];
        let body = [&[request.unit_id, request.function.code(), u8::try_from(data.len()).unwrap()][..], data].concat();
        (request, framed(&body))
    })
}

proptest! {
    /// What a unit answers comes out; each part of it asks for more, never for more than is missing.
    #[test]
    fn every_prefix_is_incomplete((request, answer) in exchange()) {
        for length in 0..answer.len() {
            match scan(&request, &answer[..length], STRICT) {
                Ok(Scan::Incomplete { missing }) => prop_assert!((1..=answer.len() - length).contains(&missing)),
                other => prop_assert!(false, "{other:?} after {length} bytes"),
            }
            let last = finish(&request, &answer[..length], STRICT);
            // One in 65,536 breaks off where its CRC fits, and then only the count can be wrong.
            let fits = length >= OVERHEAD && crc16(&answer[..length]) == 0;
            match last {
                Err(RtuError::Silent) => prop_assert_eq!(length, 0),
                Err(RtuError::Incomplete { received }) => prop_assert!(received == length && !fits),
                Err(RtuError::Answer(AnswerError::ByteCount { .. })) => prop_assert!(fits),
                other => prop_assert!(false, "{other:?} after {length} bytes"),
            }
        }
        let data = &answer[3..answer.len() - 2];
        prop_assert_eq!(scan(&request, &answer, STRICT), Ok(Scan::Complete { data, length: answer.len() }));
        prop_assert_eq!(finish(&request, &answer, STRICT), Ok(data));
    }

    /// One or two wrong bits anywhere, and whatever follows: no data comes out.
    #[test]
    fn up_to_two_wrong_bits_are_refused(
        (request, answer) in exchange(),
        first in any::<prop::sample::Index>(),
        second in any::<prop::sample::Index>(),
        check_unit in any::<bool>(),
    ) {
        let bits = answer.len() * 8;
        let (first, second) = (first.index(bits), second.index(bits));
        let mut damaged = answer;
        damaged[first / 8] ^= 1 << (first % 8);
        if second != first {
            damaged[second / 8] ^= 1 << (second % 8);
        }
        let line = LineTraits { check_unit, skip_echo: false };
        let scanned = scan(&request, &damaged, line);
        prop_assert!(!matches!(scanned, Ok(Scan::Complete { .. })), "{:?}", scanned);
        prop_assert!(finish(&request, &damaged, line).is_err());
    }

    /// Any bytes: no panic, the same judgement for the same bytes, data only of the length asked for.
    #[test]
    fn anything_is_survived(
        request in request(),
        bytes in prop::collection::vec(any::<u8>(), 0..=300),
        check_unit in any::<bool>(),
        skip_echo in any::<bool>(),
    ) {
        let line = LineTraits { check_unit, skip_echo };
        if let Ok(Scan::Complete { data, length }) = scan(&request, &bytes, line) {
            prop_assert_eq!(data.len(), request.data_length());
            prop_assert!(length <= bytes.len());
        }
        if let Ok(data) = finish(&request, &bytes, line) {
            prop_assert_eq!(data.len(), request.data_length());
        }
    }
}
