//! The body of a journal entry: what can be read is written again to the same record.

#![no_main]

use libfuzzer_sys::fuzz_target;
use parkgate_collector::journal::frame::{Frame, Header};
use parkgate_collector::journal::{Record, SampleRecord, codec};

fuzz_target!(|body: &[u8]| {
    let _ = (Header::parse(body, *b"pkjrnl\r\n"), Frame::parse(body).and_then(|frame| frame.body(body).map(<[u8]>::len)));
    let mut reused = Record::Samples(SampleRecord::default());
    let into = codec::decode_into(body, &mut reused);
    match codec::decode(body) {
        Ok(record) => {
            assert!(into.is_ok() && reused == record, "decoding into a record that was used before");
            let mut written = Vec::new();
            codec::encode(&record, &mut written);
            assert_eq!(codec::decode(&written).expect("what was written is read"), record);
        }
        Err(_) => assert!(into.is_err()),
    }
});
