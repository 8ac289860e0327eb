//! Lines in RTU frames: silence, echoes, equal lengths, dead units, cables that are pulled, devices that dial in.

use std::net::TcpListener as StdListener;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::super::port::Port;
use super::*;
use crate::catalogue::{Echo, Framing, ModbusDialInSettings, Priority};
use crate::model::{Now, Reason};
use crate::sim::modbus::{Fault, Faults, RtuServer, SimServer, UnitMode};

/// A clock that goes with tokio's, which tests can pause.
pub(super) struct TokioClock(Instant);

impl TokioClock {
    pub(super) fn start() -> Arc<dyn Clock> {
        Arc::new(Self(Instant::now()))
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Now {
        let ms = u64::try_from(self.0.elapsed().as_millis()).unwrap();
        Now { utc: UtcMillis(1_764_000_000_000 + i64::try_from(ms).unwrap()), monotonic_ms: ms }
    }
}

/// A line in memory at 9600 baud, its units, and the driver on it.
fn on_memory(
    devices: impl FnOnce(&Arc<Link>) -> Vec<Arc<Device>>,
    faults: &Arc<Faults>,
    line: LineSettings,
    timeout_ms: u32,
) -> (Running, RtuServer) {
    let (ours, theirs) = tokio::io::duplex(1_024);
    let server = RtuServer::on(theirs, plain_bank(), Arc::clone(faults));
    let link = rtu_link("line", LOOPBACK, timeout_ms, line.late_window_ms);
    let format = SerialFormat::parse(9_600, "8N1");
    let patience = Patience { device_backoff_ms: (2_000, 300_000), ..IMPATIENT };
    let devices = devices(&link);
    let change = |running: &mut Line| running.port = Port::of_streams(vec![ours], format, line, timeout_ms);
    let running = Running::start_shared(&link, devices, 10_000, TokioClock::start(), patience, &Shared::default(), change);
    (running, server)
}

fn line_at_9600(late_window_ms: u32) -> LineSettings {
    LineSettings { late_window_ms, ..LineSettings::default() }
}

#[tokio::test(start_paused = true)]
async fn the_line_is_quiet_before_a_request_and_silent_after_a_late_answer() {
    let faults = Arc::new(Faults::new(1));
    faults.set_late_ms(350);
    let line = line_at_9600(400);
    let quiet = Duration::from_micros(line.quiet_time_us.into());
    let devices = |link: &Arc<Link>| vec![device(link, "a", 1, 100, 0, words(&[0, 1])), device(link, "b", 2, 100, 2, words(&[0]))];
    let (mut running, server) = on_memory(devices, &faults, line, 200);
    // An answer takes a while on a real line: it cannot come while the request is still being sent.
    server.set_answer_time(Duration::from_millis(20));
    let (mut late, mut requests) = (0, 0);
    for round in 0..30 {
        if round % 3 == 1 {
            faults.force(Fault::LateAnswer, 1);
        }
        for _ in 0..4 {
            for reading in running.readings().await.1 {
                let right = [exact(0x100), exact(0x101), exact(0x200)][reading.point.index()];
                assert!(reading.number == right || reading.number == Number::Missing(Reason::Timeout), "{reading:?}");
            }
        }
    }
    let stamps = server.take_stamps();
    for pair in stamps.windows(2) {
        let (before, request) = (pair[0], pair[1]);
        if !request.received {
            continue;
        }
        requests += 1;
        let pause = request.time.duration_since(before.time);
        assert!(pause >= quiet, "{pause:?} after {before:?}");
        if before.received {
            // No answer: the time-out, then the late window, and no request before both are over.
            assert!(pause >= Duration::from_millis(600), "{pause:?}");
        }
    }
    for (at, stamp) in stamps.iter().enumerate().filter(|(_, stamp)| !stamp.received) {
        let request = stamps[..at].iter().rev().find(|stamp| stamp.received).unwrap();
        if stamp.time.duration_since(request.time) > Duration::from_millis(300) {
            late += 1;
        }
    }
    assert!(late >= 8 && requests > 60, "{late} late answers, {requests} requests");
    assert!(running.metrics.answers_dropped.with_label_values(&["modbus_rtu_over_tcp", "line"]).get() >= late);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_began_before_our_request_was_sent_is_not_its_answer() {
    let (ours, mut theirs) = tokio::io::duplex(1_024);
    let link = rtu_link("line", LOOPBACK, 300, 300);
    let format = SerialFormat::parse(9_600, "8N1");
    let devices = vec![device(&link, "a", 1, 1_000, 0, words(&[0]))];
    let change = |running: &mut Line| running.port = Port::of_streams(vec![ours], format, line_at_9600(300), 300);
    let mut running = Running::start_shared(&link, devices, 100, TokioClock::start(), IMPATIENT, &Shared::default(), change);
    let answer = |value: u8| {
        let mut frame = vec![1, 3, 2, 0, value];
        frame.extend(crate::protocol::modbus::rtu::crc16(&frame).to_le_bytes());
        frame
    };
    let mut request = [0; 9];
    // At once: our eight bytes take 8.3 ms.
    let count = theirs.read(&mut request).await.unwrap();
    assert!((8..=9).contains(&count));
    theirs.write_all(&answer(7)).await.unwrap();
    let (_, readings) = running.readings().await;
    assert_eq!(readings[0].number, Number::Missing(Reason::Timeout));
    let count = theirs.read(&mut request).await.unwrap();
    assert!((8..=9).contains(&count));
    tokio::time::sleep(Duration::from_millis(10)).await;
    theirs.write_all(&answer(8)).await.unwrap();
    let (_, readings) = running.readings().await;
    assert_eq!(readings[0].number, exact(8));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn five_dead_units_of_thirty_cost_the_others_next_to_nothing() {
    let faults = Arc::new(Faults::new(1));
    for dead in [3, 9, 15, 21, 27] {
        faults.set_unit(dead, UnitMode::Silent);
    }
    let devices = |link: &Arc<Link>| {
        (1..=30u8).map(|unit_id| device(link, &format!("u{unit_id}"), unit_id, 5_000, u32::from(unit_id), words(&[0, 1, 2, 3]))).collect()
    };
    let (mut running, server) = on_memory(devices, &faults, line_at_9600(1_000), 1_000);
    server.set_answer_time(Duration::from_millis(40));
    let start = Instant::now();
    let minutes = 30;
    while start.elapsed() < Duration::from_secs(60 * minutes) {
        running.readings().await;
    }
    let (mut polls, mut skipped, mut dead_requests) = (0, 0, 0);
    for unit_id in 1..=30u8 {
        let id = format!("u{unit_id}");
        let labels = ["modbus_rtu_over_tcp", "line", id.as_str()];
        if faults_are(&faults, unit_id) {
            let result = ["modbus_rtu_over_tcp", "line", id.as_str(), "timeout"];
            dead_requests += running.metrics.requests.with_label_values(&result).get();
        } else {
            polls += running.metrics.poll_lateness.with_label_values(&labels).get_sample_count();
            skipped += running.metrics.polls_skipped.with_label_values(&labels).get();
        }
    }
    // One request at first, then one each 2, 4, ... 256, 300, 300 s or up to half of that earlier.
    let allowed = 5 * (1 + 8 + 2 * (60 * minutes / 300 + 1));
    assert!(dead_requests <= allowed, "{dead_requests} requests to dead units, {allowed} allowed");
    let on_time = polls as f64 / (polls + skipped) as f64;
    assert!(on_time >= 0.99, "{polls} polls, {skipped} skipped");
    assert!(polls >= 25 * 12 * minutes * 98 / 100, "{polls}");
    running.stop().await;
}

fn faults_are(_: &Faults, unit_id: u8) -> bool {
    [3, 9, 15, 21, 27].contains(&unit_id)
}

#[tokio::test(start_paused = true)]
async fn devices_with_one_unit_id_share_its_silence() {
    let faults = Arc::new(Faults::new(1));
    faults.set_unit(1, UnitMode::Silent);
    let devices = |link: &Arc<Link>| {
        let mut devices: Vec<_> =
            (0..4u8).map(|part| device(link, &format!("a{part}"), 1, 1_000, part.into(), words(&[u16::from(part) * 50]))).collect();
        devices.push(device(link, "b", 2, 1_000, 9, words(&[0])));
        devices
    };
    let (mut running, server) = on_memory(devices, &faults, line_at_9600(500), 500);
    server.set_answer_time(Duration::from_millis(20));
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(120) {
        running.readings().await;
    }
    let requests = server.take_stamps().iter().filter(|stamp| stamp.received && stamp.unit_id == Some(1)).count();
    // 0, 2, 6, 14, 30, 62, 126 s, or up to half of that earlier: for all four devices together.
    assert!((4..=12).contains(&requests), "{requests}");
    faults.set_unit(1, UnitMode::Answers);
    for part in 0..4 {
        running.until(part, |number| number == exact(0x100 + i64::from(part) * 50)).await;
    }
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn equal_lengths_are_told_apart() {
    for (max_gap, two_units, widened) in [(1, true, true), (1, false, true), (0, true, false), (0, false, false)] {
        let faults = Arc::new(Faults::new(1));
        let devices = |link: &Arc<Link>| {
            let mut devices = vec![device(link, "a", 1, 500, 0, words(&[0, 50, 100]))];
            if two_units {
                devices.push(device(link, "b", 2, 500, 3, words(&[0, 50, 100])));
            }
            for device in &mut devices {
                let DeviceAddress::Modbus(address) = &mut Arc::get_mut(device).unwrap().address else { unreachable!() };
                address.max_gap = max_gap;
            }
            devices
        };
        let (mut running, server) = on_memory(devices, &faults, line_at_9600(400), 400);
        server.set_answer_time(Duration::from_millis(20));
        for _ in 0..20 {
            running.until(2, |number| number == exact(0x100 + 100)).await;
        }
        let stamps = server.take_stamps();
        let exchanges: Vec<_> = stamps.chunks(2).filter(|pair| pair.len() == 2 && pair[0].received && !pair[1].received).collect();
        for pair in exchanges.windows(2) {
            let (before, after) = (pair[0][1], pair[1][1]);
            let alike = before.unit_id == after.unit_id && before.bytes == after.bytes;
            let pause = pair[1][0].time.duration_since(before.time);
            assert!(!alike || pause >= Duration::from_millis(400), "gap {max_gap}, two units {two_units}: {pause:?}");
        }
        let long = exchanges.iter().filter(|pair| pair[1].bytes == 9).count();
        assert_eq!(long > 0, widened, "gap {max_gap}, two units {two_units}");
        running.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_register_that_may_not_be_read_along_is_left_out() {
    let faults = Arc::new(Faults::new(1));
    for address in [1, 51, 101] {
        faults.add_illegal(1, Function::HoldingRegisters, address, address);
    }
    let devices = |link: &Arc<Link>| {
        let mut device = device(link, "a", 1, 500, 0, words(&[0, 50, 100]));
        let DeviceAddress::Modbus(address) = &mut Arc::get_mut(&mut device).unwrap().address else { unreachable!() };
        address.max_gap = 1;
        vec![device]
    };
    let (mut running, server) = on_memory(devices, &faults, line_at_9600(200), 200);
    server.set_answer_time(Duration::from_millis(20));
    for _ in 0..20 {
        for reading in running.readings().await.1 {
            assert_eq!(reading.number, exact(0x100 + [0, 50, 100][reading.point.index()]));
        }
    }
    let exceptions = running.metrics.requests.with_label_values(&["modbus_rtu_over_tcp", "line", "a", "exception"]).get();
    assert!((1..=3).contains(&exceptions), "{exceptions}");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_echo_is_skipped() {
    for echo in [Echo::Yes, Echo::Auto] {
        let faults = Arc::new(Faults::new(1));
        let line = LineSettings { echo, ..line_at_9600(300) };
        let coils = vec![source(Function::Coils, 0x0301, RegisterType::Bit(0)), source(Function::Coils, 0x0311, RegisterType::Bit(0))];
        let devices = |link: &Arc<Link>| {
            let mut bits = device(link, "b", 2, 1_000, 2, coils);
            let DeviceAddress::Modbus(address) = &mut Arc::get_mut(&mut bits).unwrap().address else { unreachable!() };
            address.max_gap = 10;
            vec![device(link, "a", 1, 1_000, 0, words(&[0, 1])), bits]
        };
        let (mut running, server) = on_memory(devices, &faults, line, 300);
        server.set_echo(true);
        server.set_answer_time(Duration::from_millis(20));
        for _ in 0..5 {
            running.until(1, |number| number == exact(0x101)).await;
            running.until(3, |number| number == exact(1)).await;
        }
        running.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn fast_points_come_more_often_and_before_the_slow_ones() {
    let faults = Arc::new(Faults::new(1));
    let devices = |link: &Arc<Link>| {
        let mut device = device(link, "a", 1, 1_000, 0, words(&[0, 50, 100]));
        let DeviceAddress::Modbus(address) = &mut Arc::get_mut(&mut device).unwrap().address else { unreachable!() };
        (address.fast_interval_ms, address.slow_interval_ms) = (250, 10_000);
        address.priorities = [("p0".to_owned(), Priority::Fast), ("p2".to_owned(), Priority::Slow)].into();
        vec![device]
    };
    let (mut running, server) = on_memory(devices, &faults, line_at_9600(10), 300);
    server.set_answer_time(Duration::from_millis(20));
    let mut counts = [0; 3];
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        for reading in running.readings().await.1 {
            counts[reading.point.index()] += 1;
        }
    }
    for (count, expected) in counts.into_iter().zip([240, 60, 6]) {
        assert!((expected - expected / 20 - 1..=expected + 1).contains(&count), "{counts:?}");
    }
    running.stop().await;
}

#[tokio::test]
async fn a_serial_adapter_is_pulled_and_put_back() {
    let folder = tempfile::tempdir().unwrap();
    let cable = Terminal::start(folder.path(), "line").await;
    let faults = Arc::new(Faults::new(1));
    let server = RtuServer::on(cable.open(), plain_bank(), Arc::clone(&faults));
    let link = serial_link("line", &cable.master, 200, 50);
    let mut running = Running::start(&link, vec![device(&link, "a", 1, 20, 0, words(&[0]))]);
    running.until(0, |number| number == exact(0x100)).await;

    // A line has one master.
    let second = serial_link("second", &cable.master, 200, 50);
    let mut refused = Running::start(&second, vec![device(&second, "b", 1, 20, 0, words(&[0]))]);
    let change = refused.change().await;
    assert!(!change.up && change.why.contains("in use by another link or program"), "{}", change.why);
    refused.stop().await;

    drop(cable);
    server.stop().await;
    loop {
        let change = running.change().await;
        if !change.up && change.device.is_empty() {
            assert!(change.why.starts_with("cannot open "), "{}", change.why);
            break;
        }
    }
    let cable = Terminal::start(folder.path(), "line").await;
    let server = RtuServer::on(cable.open(), plain_bank(), faults);
    running.until(0, |number| number == exact(0x100)).await;
    running.stop().await;
    server.stop().await;
}

/// A link on a free port of our own.
fn dial_in_link(framing: Framing, heartbeat: &[u8]) -> (Arc<Link>, SocketAddr) {
    let probe = StdListener::bind(LOOPBACK).unwrap();
    let listen = probe.local_addr().unwrap();
    let settings = ModbusDialInSettings {
        listen,
        registration: b"DTU-0017".to_vec(),
        heartbeat: heartbeat.to_vec(),
        framing,
        timeout_ms: 1_000,
        line: quick_line(100),
    };
    (link_of("dtu", DriverSettings::ModbusDialIn(settings)), listen)
}

/// Connects as a DTU does, as soon as someone listens.
async fn dial(listen: SocketAddr) -> TcpStream {
    let mut waits = 0;
    loop {
        match TcpStream::connect(listen).await {
            Ok(mut stream) => {
                stream.write_all(b"DTU-0017\r\n").await.unwrap();
                return stream;
            }
            Err(error) => assert!(waits < 3_000, "{error}"),
        }
        waits += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A DTU whose line is another server: its heartbeats come between the bytes of the units.
async fn dtu(listen: SocketAddr, units: SocketAddr, heartbeat: &'static [u8]) {
    let mut up = dial(listen).await;
    let mut down = TcpStream::connect(units).await.unwrap();
    // The gateway sees whose the connection is before it sends.
    tokio::time::sleep(Duration::from_millis(50)).await;
    up.write_all(heartbeat).await.unwrap();
    let (mut from_gateway, mut from_units) = ([0; 512], [0; 512]);
    loop {
        tokio::select! {
            read = up.read(&mut from_gateway) => match read {
                Ok(count @ 1..) => down.write_all(&from_gateway[..count]).await.unwrap(),
                _ => return,
            },
            read = down.read(&mut from_units) => match read {
                Ok(count @ 1..) => {
                    let mut bytes = heartbeat.to_vec();
                    bytes.extend(&from_units[..count]);
                    bytes.extend(heartbeat);
                    if up.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
        }
    }
}

#[tokio::test]
async fn a_device_dials_in_and_again() {
    let faults = Arc::new(Faults::new(1));
    let rtu = RtuServer::listen(LOOPBACK, plain_bank(), Arc::clone(&faults)).await.unwrap();
    let tcp = SimServer::start(LOOPBACK, plain_bank(), faults).await.unwrap();
    for (framing, units) in [(Framing::Rtu, rtu.local_addr().unwrap()), (Framing::Tcp, tcp.local_addr())] {
        let (link, listen) = dial_in_link(framing, b"PING");
        let mut running = Running::start(&link, vec![device(&link, "a", 1, 20, 0, words(&[0, 1]))]);
        let first = tokio::spawn(dtu(listen, units, b"PING"));
        for _ in 0..20 {
            running.until(0, |number| number == exact(0x100)).await;
        }
        // The network changes: the device comes again, the old connection is never closed.
        let second = tokio::spawn(dtu(listen, units, b"PING"));
        while running.metrics.connects.with_label_values(&["modbus_dial_in", "dtu"]).get() < 2 {
            running.readings().await;
        }
        for _ in 0..20 {
            running.until(1, |number| number == exact(0x101)).await;
        }
        // And it goes.
        second.abort();
        first.abort();
        running.until(0, |number| matches!(number, Number::Missing(_))).await;
        let third = tokio::spawn(dtu(listen, units, b"PING"));
        running.until(0, |number| number == exact(0x100)).await;
        running.stop().await;
        third.abort();
    }
}

#[tokio::test]
async fn registers_may_look_like_a_heartbeat() {
    let faults = Arc::new(Faults::new(1));
    let bank: Bank = Arc::new(|_, _, _, quantity| Ok(vec![0; usize::from(quantity)]));
    let tcp = SimServer::start(LOOPBACK, bank, faults).await.unwrap();
    let (link, listen) = dial_in_link(Framing::Tcp, &[0, 0]);
    let mut running = Running::start(&link, vec![device(&link, "a", 1, 20, 0, words(&[0, 1]))]);
    let dtu = tokio::spawn(dtu(listen, tcp.local_addr(), &[0, 0]));
    for _ in 0..20 {
        running.until(1, |number| number == exact(0)).await;
    }
    running.stop().await;
    dtu.abort();
}
