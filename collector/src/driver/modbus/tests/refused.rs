//! Reads that a device refuses: the readable points are never lost, and what was learned is remembered.

use super::*;
use crate::driver::modbus::learned::Learned;
use crate::model::Reason;
use crate::sim::modbus::{Faults, SimServer};

fn gapped(link: &Arc<Link>, addresses: &[u16]) -> Arc<Device> {
    let mut device = device(link, "a", 1, 20, 0, words(addresses));
    let DeviceAddress::Modbus(address) = &mut Arc::get_mut(&mut device).unwrap().address else { unreachable!() };
    address.max_gap = 10;
    device
}

fn start(link: &Arc<Link>, addresses: &[u16], shared: &Shared) -> Running {
    let patience = Patience { device_backoff_ms: (60_000, 60_000), ..IMPATIENT };
    Running::start_shared(link, vec![gapped(link, addresses)], 1_000, Arc::new(SystemClock::new()), patience, shared, |_| {})
}

#[tokio::test]
async fn a_gap_is_learned_without_losing_a_point_and_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("modbus.learned");
    let faults = Arc::new(Faults::new(3));
    faults.add_illegal(1, Function::HoldingRegisters, 5, 6);
    let server = SimServer::start(LOOPBACK, plain_bank(), Arc::clone(&faults)).await.unwrap();
    let link = link("line", server.local_addr(), 1_000);
    let addresses = [0, 2, 4, 8, 9, 12];
    let shared = Shared { learned: Learned::open(path.clone()), ..Shared::default() };
    let mut running = start(&link, &addresses, &shared);
    let mut seen = 0;
    while seen < 60 {
        for reading in running.readings().await.1 {
            assert_eq!(reading.number, exact(0x100 + i64::from(addresses[reading.point.index()])), "no point is lost, not even once");
            seen += 1;
        }
    }
    let metrics = running.metrics.clone();
    let exceptions = metrics.requests.with_label_values(&["modbus_tcp", "line", "a", "exception"]);
    assert!(exceptions.get() <= 3, "{} refusals", exceptions.get());
    assert_eq!(metrics.learned_gaps.with_label_values(&["modbus_tcp", "line", "a"]).get(), 1);
    assert_eq!(running.health.devices()["a"].state, crate::health::State::Up);
    running.stop().await;

    // The file is written in the background.
    let learned = loop {
        let learned = Learned::open(path.clone());
        if !learned.of("a", 1).is_empty() {
            break learned;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let mut running = start(&link, &addresses, &Shared { learned, ..Shared::default() });
    for _ in 0..10 {
        running.until(5, |number| number == exact(0x10C)).await;
    }
    let metrics = running.metrics.clone();
    assert_eq!(metrics.requests.with_label_values(&["modbus_tcp", "line", "a", "exception"]).get(), 0, "it is not asked again");
    assert_eq!(metrics.learned_gaps.with_label_values(&["modbus_tcp", "line", "a"]).get(), 1);
    running.stop().await;
}

#[tokio::test]
async fn several_gaps_and_a_refused_point_are_found_at_once() {
    let faults = Arc::new(Faults::new(3));
    for (first, last) in [(1, 1), (7, 7), (10, 10), (15, 15)] {
        faults.add_illegal(1, Function::HoldingRegisters, first, last);
    }
    let server = SimServer::start(LOOPBACK, plain_bank(), faults).await.unwrap();
    let link = link("line", server.local_addr(), 1_000);
    let addresses = [0, 2, 4, 6, 8, 10, 12, 14, 16];
    let mut running = start(&link, &addresses, &Shared::default());
    let mut bad = 0;
    let mut good = 0;
    while good < 100 {
        for reading in running.readings().await.1 {
            let address = addresses[reading.point.index()];
            match reading.number {
                Number::Missing(reason) => {
                    assert_eq!((address, reason), (10, Reason::DeviceException));
                    bad += 1;
                }
                number => {
                    assert_eq!(number, exact(0x100 + i64::from(address)));
                    good += 1;
                }
            }
        }
    }
    assert!((1..=3).contains(&bad), "the refused point is left in peace: {bad}");
    running.stop().await;
}
