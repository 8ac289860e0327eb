//! A payload of MQTT that is no JSON: plain numbers and columns, with both decimal signs and times in several formats; and
//! the piece of configuration that is guessed from any payload.

#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use parkgate_collector::driver::mqtt::unknown::{Discover, describe};
use parkgate_collector::model::{PointId, Reading};
use parkgate_collector::protocol::json::{PathStep, TimeFormat, ValuePath};
use parkgate_collector::protocol::text::{TextMap, TextMapper};

fn mappers() -> Vec<TextMapper> {
    let values: Vec<_> =
        [0, 2, 2, 5].iter().zip(1..).map(|(&column, point)| (ValuePath { steps: vec![PathStep::Index(column)] }, PointId(point))).collect();
    let local = TimeFormat::Local { pattern: "%Y-%m-%d %H:%M:%S".into(), zone: "Asia/Shanghai".into() };
    let times = [None, Some((1, TimeFormat::EpochMillis)), Some((0, TimeFormat::Rfc3339)), Some((1, local))];
    let maps = times.into_iter().flat_map(|time| {
        let separators = [None, Some(b','), Some(b';'), Some(b'\t')];
        separators.map(|separator| TextMap { separator, decimal_comma: separator == Some(b';'), time: time.clone() })
    });
    maps.map(|map| TextMapper::new(&map, &values).expect("a mapper")).collect()
}

thread_local!(static MAPPERS: RefCell<Vec<TextMapper>> = RefCell::new(mappers()));

fuzz_target!(|payload: &[u8]| {
    MAPPERS.with_borrow(|mappers| {
        for mapper in mappers {
            let mut readings: Vec<Reading> = Vec::new();
            match mapper.map(payload, &mut readings) {
                Ok(mapped) => assert_eq!(mapped.readings, readings.len()),
                Err(_) => assert!(readings.is_empty()),
            }
        }
    });
    let (topic, payload) = payload.split_at(payload.len() / 4);
    describe("broker", &Discover::new(&["a/{enterprise}/{device}/#".into()]), &String::from_utf8_lossy(topic), payload);
});
