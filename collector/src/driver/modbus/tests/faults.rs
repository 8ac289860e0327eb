//! One fault at a time: what becomes of the points, and that the link goes on.

use super::*;
use crate::model::Reason;
use crate::sim::modbus::{Fault, Faults, SimServer};

#[tokio::test]
async fn reads_every_block_of_every_unit() {
    let server = SimServer::start(LOOPBACK, plain_bank(), Arc::new(Faults::new(1))).await.unwrap();
    let link = link("line", server.local_addr(), 1_000);
    let others = vec![
        source(Function::InputRegisters, 6, RegisterType::U32),
        source(Function::Coils, 9, RegisterType::Bit(0)),
        source(Function::DiscreteInputs, 255, RegisterType::Bit(0)),
        source(Function::HoldingRegisters, 7, RegisterType::Bit(1)),
    ];
    let devices = vec![device(&link, "a", 1, 20, 0, words(&[0, 1, 2, 100])), device(&link, "b", 2, 20, 4, others)];
    let mut running = Running::start(&link, devices);
    let registers = [(0, 0x100), (1, 0x101), (2, 0x102), (3, 0x164)];
    for (point, value) in registers.into_iter().chain([(4, 0x0206_0207), (5, 1), (6, 1), (7, 1)]) {
        running.until(point, |number| number == exact(value)).await;
    }
    let health = running.health.devices();
    assert_eq!(health["a"].state, crate::health::State::Up);
    assert!(health["b"].last_ok.is_some() && health["b"].last_error.is_none());
    running.stop().await;
    server.stop().await;
}

#[tokio::test]
async fn a_fault_costs_one_poll_and_no_wrong_value() {
    for (fault, reason) in [
        (Fault::LateAnswer, Reason::Timeout),
        (Fault::WrongTransactionId, Reason::Timeout),
        (Fault::ShortFrame, Reason::BadAnswer),
        (Fault::TruncatedFrame, Reason::Timeout),
        (Fault::WrongByteCount, Reason::BadAnswer),
        (Fault::WrongFunction, Reason::BadAnswer),
        (Fault::WrongUnit, Reason::BadAnswer),
        (Fault::WrongProtocol, Reason::BadAnswer),
        (Fault::Exception, Reason::DeviceException),
        (Fault::Silence, Reason::Timeout),
        (Fault::Close, Reason::LinkDown),
    ] {
        let faults = Arc::new(Faults::new(7));
        faults.set_late_ms(150);
        let server = SimServer::start(LOOPBACK, plain_bank(), Arc::clone(&faults)).await.unwrap();
        let link = link("line", server.local_addr(), 100);
        let mut running = Running::start(&link, vec![device(&link, "a", 1, 20, 0, words(&[0, 1]))]);
        running.until(0, |number| number == exact(0x100)).await;
        faults.force(fault, 1);
        let (mut hit, mut batches) = (false, 0);
        while !hit {
            batches += 1;
            assert!(batches < 200, "{fault:?} went unnoticed");
            let (_, readings) = running.readings().await;
            // A poll that comes right after a late one shares its batch.
            for poll in readings.chunks(2) {
                let numbers: Vec<_> = poll.iter().map(|reading| reading.number).collect();
                if numbers == [Number::Missing(reason); 2] {
                    hit = true;
                } else {
                    assert_eq!(numbers, [exact(0x100), exact(0x101)], "{fault:?}");
                }
            }
        }
        assert_eq!(faults.made(fault), 1);
        for _ in 0..10 {
            running.until(1, |number| number == exact(0x101)).await;
        }
        running.stop().await;
        server.stop().await;
    }
}

#[tokio::test]
async fn split_and_doubled_answers_cost_nothing() {
    let faults = Arc::new(Faults::new(7));
    let server = SimServer::start(LOOPBACK, plain_bank(), Arc::clone(&faults)).await.unwrap();
    let link = link("line", server.local_addr(), 1_000);
    let mut running = Running::start(&link, vec![device(&link, "a", 1, 10, 0, words(&[0, 1]))]);
    for fault in [Fault::Split, Fault::Duplicate] {
        faults.force(fault, 20);
        while faults.made(fault) < 20 {
            let (_, readings) = running.readings().await;
            assert!(readings.iter().all(|reading| [exact(0x100), exact(0x101)].contains(&reading.number)), "{readings:?}");
        }
    }
    let dropped = running.metrics.answers_dropped.with_label_values(&["modbus_tcp", "line"]);
    running.until(0, |_| true).await;
    running.until(0, |_| true).await;
    assert_eq!(dropped.get(), 20);
    running.stop().await;
}
