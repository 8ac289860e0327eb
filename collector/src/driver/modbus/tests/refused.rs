//! Reads that a device refuses: the readable points are never lost, and what was learned is remembered.

use super::*;
use crate::driver::modbus::learned::{Gap, Learned};
use crate::model::Reason;
use crate::sim::modbus::{Faults, SimServer, UnitMode};

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

    let learned = written(&path, |learned| !learned.of("a", 1).is_empty()).await;
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

/// Requests of the next polls, as many as wanted; point 0 is in each.
async fn requests_of(running: &mut Running, server: &SimServer, polls: u64) -> u64 {
    running.until(0, |number| number == exact(0x100)).await;
    let before = server.requests();
    for _ in 0..polls {
        running.until(0, |number| number == exact(0x100)).await;
    }
    server.requests() - before
}

#[tokio::test]
async fn what_refuses_everything_while_it_starts_is_read_whole_afterwards() {
    let faults = Arc::new(Faults::new(3));
    faults.set_unit(1, UnitMode::Exception(2));
    let server = SimServer::start(LOOPBACK, plain_bank(), Arc::clone(&faults)).await.unwrap();
    let link = link("line", server.local_addr(), 1_000);
    let shared = Shared::default();
    let (devices, clock) = (vec![gapped(&link, &[0, 2, 4, 6, 8])], Arc::new(SystemClock::new()));
    let mut running = Running::start_shared(&link, devices, 1_000, clock, IMPATIENT, &shared, |_| {});
    for _ in 0..3 {
        for point in 0..5 {
            running.until(point, |number| number == Number::Missing(Reason::DeviceException)).await;
        }
    }
    assert!(shared.learned.of("a", 1).is_empty(), "a device that refuses everything says nothing about addresses");
    faults.set_unit(1, UnitMode::Answers);
    running.until(4, |number| number == exact(0x108)).await;
    // A poll may begin while the last one's readings are counted.
    let requests = requests_of(&mut running, &server, 20).await;
    // If it recovered while it was halved, one border was learned: two requests a poll, not five.
    assert!(requests <= 44, "{requests} requests in 20 polls");
    assert!(shared.learned.of("a", 1).len() <= 1, "{:?}", shared.learned.of("a", 1));
    running.stop().await;
}

#[tokio::test]
async fn what_refuses_everything_is_left_in_peace_for_a_while() {
    let faults = Arc::new(Faults::new(3));
    faults.set_unit(1, UnitMode::Exception(2));
    let server = SimServer::start(LOOPBACK, plain_bank(), faults).await.unwrap();
    let link = link("line", server.local_addr(), 1_000);
    let devices = vec![gapped(&link, &[0, 2, 4, 6, 8]), device(&link, "b", 2, 20, 9, words(&[0]))];
    let patience = Patience { device_backoff_ms: (60_000, 60_000), ..IMPATIENT };
    let clock = Arc::new(SystemClock::new());
    let mut running = Running::start_shared(&link, devices, 1_000, clock, patience, &Shared::default(), |_| {});
    for _ in 0..20 {
        running.until(9, |number| number == exact(0x200)).await;
    }
    // The whole, its halves, and so on: nine reads of five points.
    let exceptions = running.metrics.requests.with_label_values(&["modbus_tcp", "line", "a", "exception"]).get();
    assert!((1..=9).contains(&exceptions), "{exceptions} refusals");
    running.stop().await;
}

#[tokio::test]
async fn what_is_read_by_itself_is_not_refused_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("modbus.learned");
    let learned = Learned::open(path.clone());
    let gap = |first| Gap { function: Function::HoldingRegisters, first, length: 1 };
    let addresses = [0, 2, 4, 6, 8];
    learned.add("a", 1, &addresses.map(gap), UtcMillis(1_764_000_000_000));
    let faults = Arc::new(Faults::new(3));
    faults.add_illegal(1, Function::HoldingRegisters, 8, 8);
    let server = SimServer::start(LOOPBACK, plain_bank(), faults).await.unwrap();
    let link = link("line", server.local_addr(), 1_000);
    let mut running = start(&link, &addresses, &Shared { learned: learned.clone(), ..Shared::default() });
    running.until(3, |number| number == exact(0x106)).await;
    let requests = requests_of(&mut running, &server, 20).await;
    assert!(requests <= 22, "{requests} requests in 20 polls");
    assert_eq!(running.metrics.learned_gaps.with_label_values(&["modbus_tcp", "line", "a"]).get(), 1);
    running.stop().await;
    written(&path, |learned| learned.of("a", 1) == [gap(8)]).await;
}

/// What the file holds, once that is as wanted: it is written in the background.
async fn written(path: &Path, wanted: impl Fn(&Learned) -> bool) -> Learned {
    for _ in 0..6_000 {
        let learned = Learned::open(path.to_owned());
        if wanted(&learned) {
            return learned;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not written in a minute: {}", std::fs::read_to_string(path).unwrap_or_default());
}

#[tokio::test]
async fn a_device_is_asked_again_once_what_it_refused_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("modbus.learned");
    let faults = Arc::new(Faults::new(3));
    faults.add_illegal(1, Function::HoldingRegisters, 5, 6);
    let server = SimServer::start(LOOPBACK, plain_bank(), Arc::clone(&faults)).await.unwrap();
    let link = link("line", server.local_addr(), 1_000);
    let addresses = [0, 2, 4, 8, 9, 12];
    let shared = Shared { learned: Learned::open(path.clone()), ..Shared::default() };
    let mut running = start(&link, &addresses, &shared);
    running.until(5, |number| number == exact(0x10C)).await;
    assert!(requests_of(&mut running, &server, 20).await >= 40, "in two pieces");
    running.stop().await;

    // A restart keeps it.
    let shared = Shared { learned: written(&path, |learned| !learned.of("a", 1).is_empty()).await, ..Shared::default() };
    let mut running = start(&link, &addresses, &shared);
    let gaps = running.metrics.learned_gaps.with_label_values(&["modbus_tcp", "line", "a"]);
    assert_eq!(gaps.get(), 1);
    assert!(requests_of(&mut running, &server, 20).await >= 40, "in two pieces");
    // The device is another one now.
    faults.clear_illegal();
    assert!(shared.learned.forget("b").unwrap().is_empty());
    assert!(requests_of(&mut running, &server, 20).await >= 40, "nobody asks by itself");
    assert_eq!(shared.learned.forget("a").unwrap().len(), 1);
    for _ in 0..3 {
        running.until(5, |number| number == exact(0x10C)).await;
    }
    assert_eq!(gaps.get(), 0, "from the next poll on");
    let requests = requests_of(&mut running, &server, 20).await;
    assert!(requests <= 22, "{requests} requests in 20 polls");
    assert!(Learned::open(path.clone()).of("a", 1).is_empty());
    // Should it refuse again, that is learned again.
    faults.add_illegal(1, Function::HoldingRegisters, 5, 6);
    written(&path, |learned| learned.of("a", 1).len() == 1).await;
    running.until(5, |number| number == exact(0x10C)).await;
    running.stop().await;
}

#[tokio::test]
async fn what_is_refused_once_more_is_believed() {
    let faults = Arc::new(Faults::new(3));
    let server = SimServer::start(LOOPBACK, plain_bank(), Arc::clone(&faults)).await.unwrap();
    let link = link("line", server.local_addr(), 1_000);
    let shared = Shared::default();
    let (devices, clock) = (vec![gapped(&link, &[0, 2, 4])], Arc::new(SystemClock::new()));
    let mut running = Running::start_shared(&link, devices, 1_000, clock, IMPATIENT, &shared, |_| {});
    let gaps = running.metrics.learned_gaps.with_label_values(&["modbus_tcp", "line", "a"]);
    for round in 0..2 {
        faults.add_illegal(1, Function::HoldingRegisters, 4, 4);
        running.until(2, |number| number == Number::Missing(Reason::DeviceException)).await;
        faults.clear_illegal();
        // A poll may have begun before; from the second one on it was read by itself.
        for _ in 0..3 {
            running.until(2, |number| number == exact(0x104)).await;
        }
        assert_eq!(gaps.get(), round, "forgiven once");
    }
    running.stop().await;
}
