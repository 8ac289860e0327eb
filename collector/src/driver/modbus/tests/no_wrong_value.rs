//! Tens of thousands of polls with time-outs of 40 ms against servers that misbehave in every way they can: over TCP, in
//! RTU frames over TCP, and on pseudo-terminals. `PARKGATE_POLLS` sets how many polls each.
//!
//! Each value carries its unit, its address and its generation: the number of the request, of this block of this unit,
//! that it answers. So a value that belongs to another unit, another address or another request gives itself away.

#![allow(clippy::print_stdout)] // what was polled and spoilt is the result of a soak

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::*;
use crate::sim::modbus::{Fault, Faults, RtuServer, SimServer, connection};

/// Polls of each kind of line.
const POLLS: u64 = 20_000;
const LINKS: u8 = 64;
/// Pseudo-terminals take a process each.
const TERMINALS: u8 = 24;
const UNITS_PER_LINK: u8 = 3;
const TIMEOUT_MS: u32 = 40;
const INTERVAL_MS: u32 = 10;
/// With time-outs of 40 ms, the line is silent until 190 ms after a request without answer; an answer that would come
/// later than 100 ms, because the machine is slow, does not come.
const LATE_WINDOW_MS: u32 = 150;
const ANSWER_LIMIT: Duration = Duration::from_millis(100);
/// First registers of the two blocks of a unit, and the values in each (four registers a value).
const BLOCKS: [(u16, u16); 2] = [(0, 5), (100, 1)];

/// Of a million answers; about one in seven is spoilt.
const RATES: [(Fault, u32); 13] = [
    (Fault::LateAnswer, 30_000),
    (Fault::WrongTransactionId, 10_000),
    (Fault::ShortFrame, 10_000),
    (Fault::TruncatedFrame, 5_000),
    (Fault::WrongByteCount, 10_000),
    (Fault::WrongFunction, 10_000),
    (Fault::WrongUnit, 10_000),
    (Fault::WrongProtocol, 3_000),
    (Fault::Exception, 10_000),
    (Fault::Duplicate, 20_000),
    (Fault::Silence, 10_000),
    (Fault::Close, 3_000),
    (Fault::Split, 20_000),
];

/// When each request of a block reached the server; its index is the generation.
type RequestTimes = Arc<Mutex<HashMap<(u8, u16), Vec<RequestTime>>>>;

/// When a request came, and by which connection: one that was given up may still bring requests to a slow server.
#[derive(Clone, Copy)]
struct RequestTime {
    time: UtcMillis,
    connection: u64,
}

fn bank(times: RequestTimes, clock: Arc<dyn Clock>) -> Bank {
    Arc::new(move |unit_id, _, address, quantity| {
        let mut times = times.lock().unwrap_or_else(PoisonError::into_inner);
        let times = times.entry((unit_id, address)).or_default();
        let generation = u32::try_from(times.len()).unwrap();
        times.push(RequestTime { time: clock.now().utc, connection: connection() });
        let (high, low) = (u16::try_from(generation >> 16).unwrap(), u16::try_from(generation & 0xFFFF).unwrap());
        let values = (address..address + quantity).step_by(4);
        // A read may be widened by a register, so that its answer can be told from others.
        let words = values.flat_map(|address| [u16::from(unit_id), address, high, low]);
        Ok(words.take(usize::from(quantity)).collect())
    })
}

/// What the values of one point say, one after another.
#[derive(Default)]
struct Seen {
    numbers: u64,
    missing: u64,
    /// Generation and received time of the last number.
    last: Option<(usize, UtcMillis)>,
}

fn polls_wanted() -> u64 {
    std::env::var("PARKGATE_POLLS").ok().and_then(|text| text.parse().ok()).unwrap_or(POLLS)
}

/// Faults at their rates, and when the server got each request.
fn misbehaviour() -> (Arc<Faults>, Bank, RequestTimes, Arc<dyn Clock>) {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let faults = Arc::new(Faults::new(seed));
    faults.set_late_ms(60);
    for (fault, per_million) in RATES {
        faults.set_rate(fault, per_million);
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let times = RequestTimes::default();
    (faults, bank(Arc::clone(&times), Arc::clone(&clock)), times, clock)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_wrong_value_over_tcp() {
    let (faults, bank, times, clock) = misbehaviour();
    let server = SimServer::start(LOOPBACK, bank, Arc::clone(&faults)).await.unwrap();
    let links = (0..LINKS).map(|line| link(&format!("line-{line}"), server.local_addr(), TIMEOUT_MS)).collect();
    poll_all(links, 5, &faults, times, clock).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_wrong_value_over_tcp_with_four_requests_in_flight() {
    let (faults, bank, times, clock) = misbehaviour();
    let server = SimServer::start(LOOPBACK, bank, Arc::clone(&faults)).await.unwrap();
    let links =
        (0..LINKS).map(|line| link_with(&format!("line-{line}"), server.local_addr(), TIMEOUT_MS, |line| line.pipeline = 4)).collect();
    poll_all(links, 5, &faults, times, clock).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_wrong_value_in_rtu_frames_over_tcp() {
    let (faults, bank, times, clock) = misbehaviour();
    let mut servers = Vec::new();
    let mut links = Vec::new();
    for line in 0..LINKS {
        // A new connection gets what was asked by the one before.
        let server = RtuServer::listen_as_converter(LOOPBACK, Arc::clone(&bank), Arc::clone(&faults)).await.unwrap();
        server.set_limit(ANSWER_LIMIT);
        let address = server.local_addr().unwrap();
        links.push(rtu_link(&format!("line-{line}"), address, TIMEOUT_MS, LATE_WINDOW_MS));
        servers.push(server);
    }
    // Two blocks of one length: they must be told apart by something else.
    poll_all(links, 1, &faults, times, clock).await;
    for server in servers {
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_wrong_value_on_pseudo_terminals() {
    let (faults, bank, times, clock) = misbehaviour();
    let folder = tempfile::tempdir().unwrap();
    let mut terminals = Vec::new();
    let mut servers = Vec::new();
    let mut links = Vec::new();
    for line in 0..TERMINALS {
        let terminal = Terminal::start(folder.path(), &format!("line-{line}")).await;
        let server = RtuServer::on(terminal.open(), Arc::clone(&bank), Arc::clone(&faults));
        server.set_limit(ANSWER_LIMIT);
        servers.push(server);
        links.push(serial_link(&format!("line-{line}"), &terminal.master, TIMEOUT_MS, LATE_WINDOW_MS));
        terminals.push(terminal);
    }
    poll_all(links, 1, &faults, times, clock).await;
}

/// Polls three units on each link until enough is polled; their first blocks have so many values.
async fn poll_all(links: Vec<Arc<Link>>, values: u16, faults: &Faults, times: RequestTimes, clock: Arc<dyn Clock>) {
    // Unit and address of each point.
    let mut places = Vec::new();
    let mut running = Vec::new();
    let is_serial = links.iter().any(|link| matches!(link.driver, DriverSettings::ModbusRtu(_)));
    for (line, link) in (0u8..).zip(links) {
        let devices = (0..UNITS_PER_LINK).map(|unit| {
            let unit_id = line * UNITS_PER_LINK + unit + 1;
            let first_point = u32::try_from(places.len()).unwrap();
            let addresses = BLOCKS.iter().flat_map(|&(start, count)| (0..count.min(values)).map(move |value| start + 4 * value));
            let sources = addresses.map(|address| {
                places.push((unit_id, address));
                source(Function::HoldingRegisters, address, RegisterType::U64)
            });
            let mut device = device(&link, &format!("unit-{unit_id}"), unit_id, INTERVAL_MS, first_point, sources.collect());
            let DeviceAddress::Modbus(address) = &mut Arc::get_mut(&mut device).unwrap().address else { unreachable!() };
            address.max_gap = 1;
            device
        });
        let devices = devices.collect();
        running.push(Running::start_with(&link, devices, 100, Arc::clone(&clock), IMPATIENT));
    }

    let polls = Arc::new(AtomicU64::new(0));
    let places = Arc::new(places);
    let watchers: Vec<_> = running
        .into_iter()
        .map(|running| tokio::spawn(watch(running, Arc::clone(&places), Arc::clone(&times), Arc::clone(&polls))))
        .collect();
    let (mut numbers, mut missing, mut dropped, mut connects) = (0, 0, 0, 0);
    for watcher in watchers {
        let (seen, dropped_here, connects_here) = watcher.await.expect("no wrong value");
        numbers += seen.values().map(|seen| seen.numbers).sum::<u64>();
        missing += seen.values().map(|seen| seen.missing).sum::<u64>();
        dropped += dropped_here;
        connects += connects_here;
    }
    let made: Vec<_> = Fault::ALL.into_iter().map(|fault| format!("{fault:?} {}", faults.made(fault))).collect();
    println!(
        "{} polls, {numbers} numbers right, 0 wrong, {missing} missing, {dropped} answers dropped, {connects} connections",
        polls.load(Ordering::Relaxed),
    );
    println!("faults: {}", made.join(", "));
    assert!(polls.load(Ordering::Relaxed) >= polls_wanted());
    assert!(Fault::ALL.into_iter().all(|fault| faults.made(fault) > 0) && dropped > 0);
    assert!(numbers > 2 * missing, "the driver gives up too easily");
    assert!(!is_serial || connects == u64::from(TERMINALS), "a serial port stays open");
}

/// Judges every reading of one link until enough polls were made on all.
async fn watch(
    mut running: Running,
    places: Arc<Vec<(u8, u16)>>,
    times: RequestTimes,
    polls: Arc<AtomicU64>,
) -> (HashMap<PointId, Seen>, u64, u64) {
    let mut seen = HashMap::<PointId, Seen>::new();
    let wanted = polls_wanted();
    while polls.load(Ordering::Relaxed) < wanted {
        let (received_time, readings) = running.readings().await;
        for reading in readings {
            let (unit_id, address) = places[reading.point.index()];
            // Each poll of a device gives one reading of the point in its second block, unless the link is down.
            if address == BLOCKS[1].0 {
                polls.fetch_add(1, Ordering::Relaxed);
            }
            judge(seen.entry(reading.point).or_default(), unit_id, address, reading, received_time, &times);
        }
    }
    let link = running.link.clone();
    let labels = [running.driver, link.as_str()];
    let (dropped, connects) = (&running.metrics.answers_dropped, &running.metrics.connects);
    let counts = (dropped.with_label_values(&labels).get(), connects.with_label_values(&labels).get());
    running.stop().await;
    (seen, counts.0, counts.1)
}

fn judge(seen: &mut Seen, unit_id: u8, address: u16, reading: Reading, received_time: UtcMillis, times: &RequestTimes) {
    let value = match reading.number {
        Number::Exact(Decimal { mantissa, exponent: 0 }) => mantissa,
        Number::Missing(_) => {
            seen.missing += 1;
            return;
        }
        other => panic!("{reading:?}: {other:?} is no value of this bank"),
    };
    assert_eq!(value >> 48, i64::from(unit_id), "{reading:?} is of another unit");
    assert_eq!(value >> 32 & 0xFFFF, i64::from(address), "{reading:?} is of another address");
    let generation = usize::try_from(value & 0xFFFF_FFFF).unwrap();
    let block = BLOCKS.iter().rev().find(|(start, _)| *start <= address).unwrap().0;
    let times = times.lock().unwrap_or_else(PoisonError::into_inner);
    let times = &times[&(unit_id, block)];
    assert!(times.get(generation).is_some(), "{reading:?} was never there");
    if let Some((last, last_received)) = seen.last {
        assert!(generation > last, "{reading:?} is not newer than the value before");
        // The one before was taken in before the next request for its block came: it answered its own request.
        let next = times[last + 1..].iter().find(|time| time.connection >= times[last].connection);
        let answered_in_time = next.is_none_or(|next| last_received <= next.time);
        assert!(answered_in_time, "the value before {reading:?} came with a later request");
    }
    seen.last = Some((generation, received_time));
    seen.numbers += 1;
}
