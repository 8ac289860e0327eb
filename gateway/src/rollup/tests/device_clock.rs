//! A device's clock is put right or drifts, from its readings to totals.

use parkgate_collector::model::{Decimal, LinkKey, Number, Origin, Quality, Reading};
use parkgate_collector::normalise::{Input, NormaliseSettings, Normaliser};

use super::follow::{at, counter};
use super::memory::{Memory, catalogue};
use super::*;
use crate::rollup::{Level, Totals, TotalsView as _};
use crate::store::RecordView as _;

/// What hours add up to of a register that rises by one a second, stamped by a device that is ahead by `off(second)` ms.
fn counted(off: &dyn Fn(i64) -> i64, seconds: i64) -> String {
    let catalogue = catalogue(vec![counter(60_000)]);
    let mut normaliser = Normaliser::new(&catalogue, NormaliseSettings::default());
    let record = std::sync::Arc::new(Memory::default());
    let start = at("2026-11-02T10:30:00");
    for second in 0..seconds {
        let received_time = start.plus(second * 1_000);
        let number = Number::Exact(Decimal::new(second, 0));
        let readings = [Reading { point: PointId(1), number, source_time: Some(received_time.plus(off(second) - 50)) }];
        let (link, origin, mut samples) = (LinkKey::of("a"), Origin::Metered, Vec::new());
        let input = Input { link, received_time, is_live: true, is_moved: false, origin, readings: &readings, deliveries: &[] };
        normaliser.step(&input, &mut samples);
        samples.into_iter().for_each(|sample| record.push(sample));
    }
    let end = start.plus(86_400_000);
    let last = record.latest(PointId(1)).unwrap();
    assert_eq!((last.value, last.status.quality() == Quality::Bad), (seconds - 1, false));
    let days = Totals::new(&catalogue, record, None).totals(PointId(1), Level::Day, start.plus(-86_400_000), end).unwrap();
    let amounts = days.iter().filter_map(|day| match &day.figures {
        Figures::Counter(counter) => counter.amount.map(|amount| amount.to_string()),
        _ => None,
    });
    amounts.filter(|amount| amount != "0").collect::<Vec<_>>().join(" ")
}

#[test]
fn a_device_clock_that_goes_back_counts_nothing_twice() {
    type Off = Box<dyn Fn(i64) -> i64>;
    let cases: [(&str, Off); 5] = [
        ("right", Box::new(|_| 0)),
        ("beyond a minute ahead", Box::new(|second| if second < 75 { 59_500 } else { 60_500 })),
        ("half a minute ahead, put right", Box::new(|second| if second < 75 { 30_000 } else { 0 })),
        ("right, set behind", Box::new(|second| if second < 75 { 0 } else { -30_000 })),
        ("drifting, put right each time", Box::new(|second| (second % 100) * 20)),
    ];
    for (name, off) in cases {
        assert_eq!(counted(&off, 180), "179", "{name}");
    }
}
