//! Bytes of a Modbus TCP stream: cut into frames however they arrive, checked against a request, read as numbers.

#![no_main]

use libfuzzer_sys::fuzz_target;
use parkgate_collector::protocol::modbus::frame::{FrameReader, Request};
use parkgate_collector::protocol::modbus::{ByteOrder, Function, RegisterSource, RegisterType, value};

const TYPES: [(RegisterType, ByteOrder); 9] = [
    (RegisterType::U16, ByteOrder::AB),
    (RegisterType::I16, ByteOrder::BA),
    (RegisterType::U32, ByteOrder::CDAB),
    (RegisterType::I32, ByteOrder::ABCD),
    (RegisterType::F32, ByteOrder::BADC),
    (RegisterType::U64, ByteOrder::ABCDEFGH),
    (RegisterType::I64, ByteOrder::GHEFCDAB),
    (RegisterType::F64, ByteOrder::HGFEDCBA),
    (RegisterType::Bit(3), ByteOrder::AB),
];

fuzz_target!(|input: &[u8]| {
    let Some((&[quantity, function, portion], mut stream)) = input.split_first_chunk() else { return };
    let functions = [Function::Coils, Function::DiscreteInputs, Function::HoldingRegisters, Function::InputRegisters];
    let function = functions[usize::from(function) % functions.len()];
    let request = Request { unit_id: 1, function, address: 0, quantity: u16::from(quantity % 125) + 1 };
    let mut reader = FrameReader::new();
    while !stream.is_empty() {
        let (now, later) = stream.split_at(stream.len().min(usize::from(portion) + 1));
        let taken = reader.push(now);
        stream = if taken < now.len() { &stream[taken..] } else { later };
        let mut frames = 0;
        loop {
            match reader.next_frame() {
                Ok(Some(frame)) => {
                    frames += 1;
                    if let Ok(data) = request.check(&frame, true) {
                        assert_eq!(data.len(), request.data_length());
                        for (register_type, order) in TYPES {
                            let source = RegisterSource {
                                function,
                                address: 0,
                                register_type,
                                order,
                                not_available: vec![0x7FFF],
                                scale_register: (register_type == RegisterType::I16).then_some(3),
                                codes: Vec::new(),
                            };
                            for offset in [0, 1, quantity.into(), u16::MAX] {
                                let _ = value::number(&source, data, offset);
                            }
                        }
                    }
                }
                Ok(None) => break,
                // The connection is closed.
                Err(_) => return,
            }
        }
        assert!(taken > 0 || frames > 0, "the reader is stuck");
    }
});
