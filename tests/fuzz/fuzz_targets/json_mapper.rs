//! A payload of MQTT: mapped by paths over objects, arrays and times in several formats.

#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use parkgate_collector::model::{PointId, Reading};
use parkgate_collector::protocol::json::{Mapper, RecordMap, TimeFormat, TimePath};

fn mappers() -> Vec<Mapper> {
    let values = [("v", 1), ("a.b[1]", 2), ("", 3), ("values[0].value", 4)];
    let values: Vec<_> = values.iter().map(|(path, point)| (path.parse().expect("a path"), PointId(*point))).collect();
    let time = |format| TimePath { path: "t".parse().expect("a path"), in_payload: false, format };
    let formats = [TimeFormat::EpochSeconds, TimeFormat::EpochMillis, TimeFormat::EpochNanos, TimeFormat::Rfc3339];
    let maps = formats.into_iter().map(|format| RecordMap { records: None, time: Some(time(format)) });
    let nested = RecordMap { records: Some("data.rows".parse().expect("a path")), time: None };
    let maps = maps.chain([nested, RecordMap { records: None, time: None }]);
    maps.map(|map| Mapper::new(&map, &values).expect("a mapper")).collect()
}

thread_local!(static MAPPERS: RefCell<Vec<Mapper>> = RefCell::new(mappers()));

fuzz_target!(|payload: &[u8]| {
    MAPPERS.with_borrow_mut(|mappers| {
        for mapper in mappers {
            let mut readings: Vec<Reading> = Vec::new();
            if let Ok(mapped) = mapper.map(payload, &mut readings) {
                assert_eq!(mapped.readings, readings.len());
                let mut again = Vec::new();
                mapper.map(payload, &mut again).expect("what was read once is read again");
                assert_eq!(readings, again);
            }
        }
    });
});
