use proptest::prelude::*;

use super::*;

/// An answer of function 3 with these registers.
fn answer(transaction_id: u16, unit_id: u8, registers: &[u16]) -> Vec<u8> {
    let count = u8::try_from(registers.len() * 2).unwrap();
    let mut frame = transaction_id.to_be_bytes().to_vec();
    frame.extend([0, 0, 0, count + 3, unit_id, 3, count]);
    frame.extend(registers.iter().flat_map(|register| register.to_be_bytes()));
    frame
}

const REQUEST: Request = Request { unit_id: 17, function: Function::HoldingRegisters, address: 107, quantity: 3 };

#[test]
fn request_is_that_of_the_standard() {
    // Modbus Application Protocol V1.1b3, 6.3, example: registers 108-110.
    assert_eq!(REQUEST.encode(0x1501), [0x15, 0x01, 0, 0, 0, 6, 17, 3, 0, 0x6B, 0, 3]);
    assert_eq!(REQUEST.data_length(), 6);
    // 6.1, example: coils 20-38 take three bytes.
    assert_eq!(Request { unit_id: 1, function: Function::Coils, address: 19, quantity: 19 }.data_length(), 3);
}

#[test]
fn answer_is_checked_in_every_part() {
    let check = |frame: &[u8]| {
        let mut reader = FrameReader::new();
        reader.push(frame);
        let frame = reader.next_frame().unwrap().unwrap();
        REQUEST.check(&frame, true).map(<[u8]>::to_vec)
    };
    assert_eq!(check(&answer(1, 17, &[0x022B, 0, 0x64])), Ok(vec![2, 0x2B, 0, 0, 0, 0x64]));
    assert_eq!(check(&answer(1, 18, &[1, 2, 3])), Err(AnswerError::Unit { asked: 17, answered: 18 }));
    assert_eq!(check(&answer(1, 17, &[1, 2])), Err(AnswerError::ByteCount { expected: 6, counted: 4, received: 4 }));
    assert_eq!(check(&answer(1, 17, &[1, 2, 3, 4])), Err(AnswerError::ByteCount { expected: 6, counted: 8, received: 8 }));
    // The count says one thing, the length another.
    let mut short = answer(1, 17, &[1, 2, 3]);
    short.pop();
    short[5] -= 1;
    assert_eq!(check(&short), Err(AnswerError::ByteCount { expected: 6, counted: 6, received: 5 }));
    let mut other = answer(1, 17, &[1, 2, 3]);
    other[7] = 4;
    assert_eq!(check(&other), Err(AnswerError::Function { asked: 3, answered: 4 }));
    assert_eq!(check(&[0, 1, 0, 0, 0, 3, 17, 0x83, 2]), Err(AnswerError::Exception(Exception(2))));
    assert_eq!(check(&[0, 1, 0, 0, 0, 3, 17, 0x84, 2]), Err(AnswerError::Function { asked: 3, answered: 0x84 }));
    assert_eq!(check(&[0, 1, 0, 0, 0, 2, 17, 3]), Err(AnswerError::Function { asked: 3, answered: 3 }), "no byte count at all");
}

#[test]
fn another_unit_may_answer_where_the_bridge_does_so() {
    let bytes = answer(1, 1, &[1, 2, 3]);
    let mut reader = FrameReader::new();
    reader.push(&bytes);
    let frame = reader.next_frame().unwrap().unwrap();
    assert!(REQUEST.check(&frame, false).is_ok());
}

#[test]
fn a_stream_that_cannot_be_followed_is_refused() {
    for (header, error) in [
        ([0, 1, 0, 1, 0, 6, 1], FrameError::Protocol(1)),
        ([0, 1, 0x11, 3, 0, 6, 1], FrameError::Protocol(0x1103)),
        ([0, 1, 0, 0, 0, 0, 1], FrameError::Length(0)),
        ([0, 1, 0, 0, 0, 1, 1], FrameError::Length(1)),
        ([0, 1, 0, 0, 0, 255, 1], FrameError::Length(255)),
        ([0, 1, 0, 0, 1, 6, 1], FrameError::Length(262)),
    ] {
        let mut reader = FrameReader::new();
        reader.push(&header);
        assert_eq!(reader.next_frame(), Err(error));
    }
}

#[test]
fn a_frame_completed_from_the_next_ones_header_is_refused() {
    for missing in 1..=6 {
        let mut stream = answer(1, 17, &[1, 2, 3]);
        stream.truncate(stream.len() - missing);
        stream.extend(answer(2, 17, &[4, 5, 6]));
        let mut reader = FrameReader::new();
        reader.push(&stream);
        assert!(reader.next_frame().is_err(), "{missing} bytes missing");
    }
}

#[test]
fn exceptions_say_what_to_do() {
    for (code, retry) in [
        (1, Retry::Never),
        (2, Retry::Never),
        (3, Retry::Never),
        (4, Retry::Later),
        (6, Retry::Later),
        (0x0A, Retry::DeviceDead),
        (0x0B, Retry::DeviceDead),
    ] {
        assert_eq!(Exception(code).retry(), retry, "{code}");
        assert!(Exception(code).to_string().starts_with(&format!("exception {code} (")));
    }
    assert_eq!(Exception(0x55).retry(), Retry::Later);
}

#[test]
fn transaction_ids_visit_all_values_in_no_simple_order() {
    let mut ids = TransactionIds::new(0);
    let mut seen = vec![false; 65_536];
    let mut last = ids.next_id();
    for _ in 0..65_536 {
        let id = ids.next_id();
        assert!(!std::mem::replace(&mut seen[usize::from(id)], true), "{id} came twice");
        assert!(id.abs_diff(last) > 1, "{last} then {id}");
        last = id;
    }
}

proptest! {
    /// However a stream is cut, the same frames come out.
    #[test]
    fn frames_survive_any_segments(
        frames in prop::collection::vec((any::<u16>(), any::<u8>(), prop::collection::vec(any::<u8>(), 1..=253)), 1..20),
        cuts in prop::collection::vec(1usize..600, 1..60),
    ) {
        let mut stream = Vec::new();
        for (id, unit_id, pdu) in &frames {
            stream.extend(id.to_be_bytes());
            stream.extend([0, 0]);
            stream.extend(u16::try_from(pdu.len() + 1).unwrap().to_be_bytes());
            stream.push(*unit_id);
            stream.extend(pdu);
        }
        let (mut reader, mut seen, mut rest, mut cuts) = (FrameReader::new(), Vec::new(), stream.as_slice(), cuts.into_iter().cycle());
        while !rest.is_empty() {
            let taken = reader.push(&rest[..cuts.next().unwrap().min(rest.len())]);
            prop_assert!(taken > 0, "no room though every frame was taken out");
            rest = &rest[taken..];
            while let Some(frame) = reader.next_frame().unwrap() {
                seen.push((frame.transaction_id, frame.unit_id, frame.pdu.to_vec()));
            }
        }
        prop_assert_eq!(seen, frames);
        prop_assert!(!reader.is_mid_frame());
    }

    /// Arbitrary bytes: no panic, no frame beyond the bounds, and no end of it.
    #[test]
    fn garbage_is_survived(bytes in prop::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 0..4096)) {
        let mut reader = FrameReader::new();
        let mut rest = bytes.as_slice();
        'stream: loop {
            let taken = reader.push(rest);
            rest = &rest[taken..];
            loop {
                match reader.next_frame() {
                    Ok(Some(frame)) => {
                        prop_assert!((1..=253).contains(&frame.pdu.len()));
                        let _ = REQUEST.check(&frame, false);
                    }
                    Ok(None) => break,
                    Err(_) => break 'stream,
                }
            }
            if rest.is_empty() {
                break;
            }
            prop_assert!(taken > 0);
        }
    }

    /// What is accepted is exactly what was asked for.
    #[test]
    fn accepted_data_has_the_right_length(pdu in prop::collection::vec(any::<u8>(), 1..=253), quantity in 1u16..=125, function in 1u8..=4) {
        let request = Request { unit_id: 1, function: Function::from_code(function).unwrap(), address: 0, quantity };
        if let Ok(data) = request.check(&Frame { transaction_id: 0, unit_id: 1, pdu: &pdu }, true) {
            prop_assert_eq!(data.len(), request.data_length());
            prop_assert_eq!(pdu[0], function);
        }
    }
}
