//! Dead units, refused blocks, lost connections, a pipeline that takes nothing.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use super::super::STOP_LIMIT;
use super::super::port::Port;
use super::lines::TokioClock;
use super::*;
use crate::catalogue::{Framing, ModbusDialInSettings};
use crate::health::State;
use crate::model::Reason;
use crate::protocol::modbus::rtu;
use crate::sim::modbus::{Fault, Faults, SimServer, UnitMode};

#[tokio::test]
async fn a_dead_unit_does_not_stop_the_others() {
    for (mode, reason, text) in [
        (UnitMode::Silent, Reason::Timeout, "register 40001 of unit 1 not answered in 50 ms"),
        (UnitMode::Exception(0x0B), Reason::DeviceException, "register 40001 of unit 1: exception 11 (gateway target device failed"),
    ] {
        let faults = Arc::new(Faults::new(3));
        faults.set_unit(1, mode);
        let server = SimServer::start(LOOPBACK, plain_bank(), Arc::clone(&faults)).await.unwrap();
        let link = link("line", server.local_addr(), 50);
        let devices = vec![device(&link, "dead", 1, 20, 0, words(&[0, 50])), device(&link, "live", 2, 20, 2, words(&[0]))];
        let patience = Patience { device_backoff_ms: (400, 400), ..IMPATIENT };
        let mut running = Running::start_with(&link, devices, 1_000, Arc::new(SystemClock::new()), patience);
        let (mut live, mut dead, mut change) = (0, 0, None);
        while live < 150 {
            match running.next().await {
                Message::Link(link_change) if link_change.device == "dead" => change = Some(link_change),
                Message::Link(link_change) => assert!(link_change.up, "{link_change:?}"),
                Message::NewSession(_) | Message::Catalogue(..) => {}
                Message::Batch(batch) => {
                    for reading in batch.readings {
                        match reading.point.0 {
                            2 => {
                                assert_eq!(reading.number, exact(0x200));
                                live += 1;
                            }
                            _ => {
                                assert_eq!(reading.number, Number::Missing(reason));
                                dead += 1;
                            }
                        }
                    }
                }
            }
        }
        let change = change.expect("the dead unit is reported");
        assert!(!change.up && change.why.starts_with(text), "{}", change.why);
        // 150 polls take at least 3 s: two points, then a probe each 400 ms at most every 200 ms.
        assert!((2..=2 + 2 * 60).contains(&dead), "{dead}");
        assert_eq!(running.health.devices()["dead"].state, State::Down);
        assert_eq!(running.health.devices()["live"].state, State::Up);
        assert_eq!(running.metrics.connects.with_label_values(&["modbus_tcp", "line"]).get(), 1, "the gateway lives: no reconnect");

        faults.set_unit(1, UnitMode::Answers);
        running.until(1, |number| number == exact(0x132)).await;
        assert!(running.change().await.up);
        running.stop().await;
    }
}

#[tokio::test]
async fn a_refused_point_fails_alone_and_is_left_in_peace() {
    let faults = Arc::new(Faults::new(3));
    faults.add_illegal(1, Function::HoldingRegisters, 101, 101);
    let server = SimServer::start(LOOPBACK, plain_bank(), Arc::clone(&faults)).await.unwrap();
    let link = link("line", server.local_addr(), 1_000);
    let patience = Patience { device_backoff_ms: (60_000, 60_000), ..IMPATIENT };
    let devices = vec![device(&link, "a", 1, 10, 0, words(&[0, 100, 101, 102]))];
    let mut running = Running::start_with(&link, devices, 1_000, Arc::new(SystemClock::new()), patience);
    let (mut good, mut bad) = (0, Vec::new());
    while good < 60 {
        for reading in running.readings().await.1 {
            match reading.number {
                Number::Missing(reason) => bad.push((reading.point.0, reason)),
                number => {
                    assert_eq!(number, exact(0x100 + [0, 100, 101, 102][reading.point.0 as usize]));
                    good += 1;
                }
            }
        }
    }
    assert_eq!(bad, [(2, Reason::DeviceException)], "once, and not again within the back-off");
    let health = running.health.devices()["a"].clone();
    assert_eq!(health.state, State::Degraded);
    let error = health.last_error.unwrap();
    assert!(error.starts_with("register 40102 of unit 1: exception 2 (illegal data address): check"), "{error}");
    running.stop().await;
}

#[tokio::test]
async fn comes_back_after_the_server_was_away() {
    let faults = Arc::new(Faults::new(3));
    let server = SimServer::start(LOOPBACK, plain_bank(), Arc::clone(&faults)).await.unwrap();
    let address = server.local_addr();
    let link = link("line", address, 1_000);
    let mut running = Running::start(&link, vec![device(&link, "a", 1, 10, 0, words(&[0])), device(&link, "b", 2, 10, 1, words(&[0]))]);
    running.until(1, |number| number == exact(0x200)).await;
    server.stop().await;

    // Up to the report of the outage a poll may have been cut off; the outage itself tells each point once.
    let mut told = Vec::new();
    let change = loop {
        match running.next().await {
            Message::Link(change) if !change.up && change.device.is_empty() => break change,
            Message::Link(_) | Message::NewSession(_) | Message::Catalogue(..) => {}
            Message::Batch(batch) => told = batch.readings.iter().map(|reading| (reading.point.0, reading.number)).collect(),
        }
    };
    assert_eq!(told[told.len() - 2..], [0, 1].map(|point| (point, Number::Missing(Reason::LinkDown))));
    assert!(change.why.starts_with(&format!("cannot connect to {address}: ")), "{}", change.why);
    assert_eq!(running.health.links()["line"].state, State::Down);
    // Many attempts later still not told again.
    while running.health.links()["line"].failed < 10 {
        tokio::task::yield_now().await;
    }
    assert!(running.messages.try_recv().is_err());

    let server = SimServer::start(address, plain_bank(), faults).await.unwrap();
    assert!(running.change().await.up);
    running.until(0, |number| number == exact(0x100)).await;
    running.until(1, |number| number == exact(0x200)).await;
    assert_eq!(running.health.links()["line"].state, State::Up);
    running.stop().await;
    server.stop().await;
}

#[tokio::test]
async fn a_connection_closed_while_idle_costs_no_poll() {
    let faults = Arc::new(Faults::new(3));
    let server = SimServer::start(LOOPBACK, plain_bank(), Arc::clone(&faults)).await.unwrap();
    let address = server.local_addr();
    let link = link("line", address, 1_000);
    let mut running = Running::start(&link, vec![device(&link, "a", 1, 300, 0, words(&[0]))]);
    running.until(0, |number| number == exact(0x100)).await;
    server.stop().await;
    let server = SimServer::start(address, plain_bank(), faults).await.unwrap();
    for _ in 0..2 {
        let (_, readings) = running.readings().await;
        assert_eq!(readings[0].number, exact(0x100));
    }
    running.stop().await;
    server.stop().await;
}

#[tokio::test]
async fn silence_of_all_units_makes_a_new_connection() {
    let faults = Arc::new(Faults::new(3));
    let server = SimServer::start(LOOPBACK, plain_bank(), Arc::clone(&faults)).await.unwrap();
    let link = link("line", server.local_addr(), 20);
    let mut running = Running::start(&link, vec![device(&link, "a", 1, 10, 0, words(&[0]))]);
    running.until(0, |number| number == exact(0x100)).await;
    faults.force(Fault::Silence, 3);
    for _ in 0..3 {
        running.until(0, |number| number == Number::Missing(Reason::Timeout)).await;
    }
    running.until(0, |number| number == exact(0x100)).await;
    assert_eq!(running.metrics.connects.with_label_values(&["modbus_tcp", "line"]).get(), 2);
    running.stop().await;
}

#[tokio::test]
async fn a_full_pipeline_skips_polls_and_says_so() {
    let server = SimServer::start(LOOPBACK, plain_bank(), Arc::new(Faults::new(3))).await.unwrap();
    let link = link("line", server.local_addr(), 1_000);
    let devices = vec![device(&link, "a", 1, 10, 0, words(&[0]))];
    let mut running = Running::start_with(&link, devices, 1, Arc::new(SystemClock::new()), IMPATIENT);
    // Nobody reads: one message waits in the channel, the driver with another one.
    while running.messages.is_empty() {
        tokio::task::yield_now().await;
    }
    sleep(Duration::from_millis(100)).await;
    let requests = server.requests();
    assert!(requests <= 2, "{requests} requests though nothing is taken");
    let skipped = running.metrics.polls_skipped.with_label_values(&["modbus_tcp", "line", "a"]);
    while skipped.get() == 0 {
        running.readings().await;
    }
    assert!(running.health.devices()["a"].skipped > 0);
    running.stop().await;
}

#[tokio::test]
async fn a_bridge_that_answers_with_its_own_id_is_accepted_where_configured() {
    let faults = Arc::new(Faults::new(3));
    faults.set_rate(Fault::WrongUnit, 1_000_000);
    let server = SimServer::start(LOOPBACK, plain_bank(), faults).await.unwrap();
    let link = link("line", server.local_addr(), 1_000);
    let mut device = device(&link, "a", 1, 10, 0, words(&[0]));
    let DeviceAddress::Modbus(address) = &mut Arc::get_mut(&mut device).unwrap().address else { unreachable!() };
    address.check_unit = false;
    let mut running = Running::start(&link, vec![device]);
    running.until(0, |number| number == exact(0x100)).await;
    running.stop().await;
}

/// The answers come after the driver was told to stop: they are handed over, and nothing more is asked.
#[tokio::test]
async fn what_was_asked_before_a_stop_is_answered() {
    let listener = TcpListener::bind(LOOPBACK).await.unwrap();
    let link = link_with("line", listener.local_addr().unwrap(), 2_500, |line| line.pipeline = 2);
    let devices = (1..=3).map(|unit_id| device(&link, &format!("u{unit_id}"), unit_id, 20, unit_id.into(), words(&[0]))).collect();
    let mut running = Running::start(&link, devices);
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut requests = [[0; 12]; 2];
    for request in &mut requests {
        stream.read_exact(request).await.unwrap();
    }
    running.cancel.cancel();
    tokio::task::yield_now().await;
    let answers = requests.map(|[high, low, _, _, _, _, unit_id, ..]| [high, low, 0, 0, 0, 5, unit_id, 3, 2, 0x12, unit_id]);
    stream.write_all(&answers.concat()).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 2 {
        seen.extend(running.readings().await.1.into_iter().map(|reading| (reading.point.0, reading.number)));
    }
    assert_eq!(seen, requests.map(|request| (u32::from(request[6]), exact(0x1200 + i64::from(request[6])))));
    assert_eq!(stream.read(&mut requests[0]).await.unwrap(), 0, "nothing is asked any more");
    running.stop().await;
}

/// How long a driver takes to stop, `after` its first request was read where there are `units`, and answered by what
/// `answers` says.
async fn stop_takes(mut running: Running, mut units: Option<DuplexStream>, answers: bool, after: Duration) -> Duration {
    if let Some(units) = &mut units {
        units.read_exact(&mut [0; rtu::REQUEST_LENGTH]).await.unwrap();
        if answers {
            let mut frame = vec![1, 3, 2, 1, 0];
            frame.extend(rtu::crc16(&frame).to_le_bytes());
            units.write_all(&frame).await.unwrap();
            running.until(0, |number| number == exact(0x100)).await;
        }
    }
    sleep(after).await;
    let start = Instant::now();
    running.stop().await;
    start.elapsed()
}

/// A unit that says nothing holds a stop no longer than its time-out, and none longer than the limit; a line that waits for
/// anything else not at all. By tokio's clock, paused: nothing depends on the machine.
#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_what_does_not_come() {
    const HOUR_MS: u32 = 3_600_000;
    let patience = Patience { connect_backoff_ms: (HOUR_MS.into(), HOUR_MS.into()), timeouts_until_reconnect: 1, ..IMPATIENT };
    let on = |streams: Vec<DuplexStream>, has_device: bool, timeout_ms: u32, late_window_ms: u32| {
        let link = rtu_link("line", LOOPBACK, timeout_ms, late_window_ms);
        let line = quick_line(late_window_ms);
        let devices = if has_device { vec![device(&link, "a", 1, HOUR_MS, 0, words(&[0]))] } else { Vec::new() };
        let change = |running: &mut Line| running.port = Port::of_streams(streams, None, line, timeout_ms);
        Running::start_shared(&link, devices, 1_000, TokioClock::start(), patience, &Shared::default(), change)
    };
    let pair = || tokio::io::duplex(1_024);
    let (none, soon) = (Duration::from_millis(1), Duration::from_millis(1));
    // By then a line has done what there was to do.
    let later = Duration::from_secs(1);

    let (ours, units) = pair();
    assert!(stop_takes(on(vec![ours], true, 60, 10), Some(units), false, soon).await <= Duration::from_millis(61), "a silent unit");
    let (ours, units) = pair();
    let took = stop_takes(on(vec![ours], true, HOUR_MS, 10), Some(units), false, soon).await;
    assert!(took >= STOP_LIMIT - none && took <= STOP_LIMIT + none, "a silent unit with a long time-out: {took:?}");
    let (ours, units) = pair();
    assert!(stop_takes(on(vec![ours], true, 60, 10), Some(units), true, later).await <= none, "until the next poll");
    let (ours, _units) = pair();
    assert!(stop_takes(on(vec![ours], true, 60, HOUR_MS), None, false, later).await <= none, "a line that rests");
    assert!(stop_takes(on(Vec::new(), true, 60, 10), None, false, later).await <= none, "between attempts to connect");
    let (ours, _units) = pair();
    assert!(stop_takes(on(vec![ours], false, 60, 10), None, false, later).await <= none, "nothing to ask");
    let settings = ModbusDialInSettings {
        listen: LOOPBACK,
        registration: b"DTU-0017".to_vec(),
        heartbeat: Vec::new(),
        framing: Framing::Rtu,
        timeout_ms: 60,
        line: quick_line(10),
    };
    let link = link_of("dtu", DriverSettings::ModbusDialIn(settings));
    let running = Running::start(&link, vec![device(&link, "a", 1, HOUR_MS, 0, words(&[0]))]);
    assert!(stop_takes(running, None, false, later).await <= none, "for a device that does not connect");
}
