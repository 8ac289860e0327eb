//! Answers that come late on a line in RTU frames: behind damaged bytes, by the next connection, for a program before us.
//!
//! Units answer so slowly that a late answer comes while a request of the same shape waits for its own, unless the driver
//! remembers that it may come. Time is that of tokio, paused: nothing depends on the machine.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::{Instant, sleep, sleep_until};

use super::super::port::Port;
use super::lines::TokioClock;
use super::*;
use crate::protocol::modbus::rtu::{REQUEST_LENGTH, crc16};

const TIMEOUT_MS: u32 = 200;
const LATE_WINDOW_MS: u32 = 100;

/// Bytes that come so long after something.
type Piece = (Duration, Vec<u8>);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The answer that [`plain_bank`] would give, of addresses below 256.
fn answer(request: [u8; REQUEST_LENGTH]) -> Vec<u8> {
    let [unit_id, function, _, address, _, quantity, ..] = request;
    let mut frame = vec![unit_id, function, 2 * quantity];
    frame.extend((address..address + quantity).flat_map(|address| [unit_id, address]));
    frame.extend(crc16(&frame).to_le_bytes());
    frame
}

/// Units on a stream: `first` comes by itself, and each request is answered as `script` says. Ends with the stream.
async fn units(mut stream: DuplexStream, first: Vec<Piece>, mut script: impl FnMut(usize, [u8; REQUEST_LENGTH]) -> Vec<Piece>) {
    let mut count = 0;
    let due = |pieces: Vec<Piece>| pieces.into_iter().map(|(after, bytes)| (Instant::now() + after, bytes)).collect::<Vec<_>>();
    let mut pieces = due(first);
    let mut buffer = [0; 64];
    loop {
        pieces.sort_by_key(|(time, _)| *time);
        let next = pieces.first().map(|(time, _)| *time);
        tokio::select! {
            () = async { if let Some(time) = next { sleep_until(time).await } }, if next.is_some() => {
                let (_, bytes) = pieces.remove(0);
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            read = stream.read(&mut buffer) => {
                let Ok(length @ 1..) = read else { return };
                assert_eq!(length, REQUEST_LENGTH);
                pieces.extend(due(script(count, *buffer.first_chunk().unwrap())));
                count += 1;
            }
        }
    }
}

/// The driver on the ends of these streams, where bytes take no time; one request without answer makes a new connection.
fn running(ours: Vec<DuplexStream>, devices: impl FnOnce(&Arc<Link>) -> Vec<Arc<Device>>) -> Running {
    running_at(None, ours, devices)
}

/// The same on a line of this speed.
fn running_at(format: Option<SerialFormat>, ours: Vec<DuplexStream>, devices: impl FnOnce(&Arc<Link>) -> Vec<Arc<Device>>) -> Running {
    let link = rtu_link("line", LOOPBACK, TIMEOUT_MS, LATE_WINDOW_MS);
    let line = LineSettings { late_window_ms: LATE_WINDOW_MS, ..LineSettings::default() };
    let patience = Patience { timeouts_until_reconnect: 1, ..IMPATIENT };
    let change = |running: &mut Line| running.port = Port::of_streams(ours, format, line, TIMEOUT_MS);
    Running::start_shared(&link, devices(&link), 1_000, TokioClock::start(), patience, &Shared::default(), change)
}

/// Reads until each of `points` has come ten times, and looks that every number is the point's own.
async fn expect(running: &mut Running, right: &[i64]) {
    let mut seen = vec![0; right.len()];
    while seen.iter().any(|count| *count < 10) {
        for reading in running.readings().await.1 {
            if !matches!(reading.number, Number::Missing(_)) {
                assert_eq!(reading.number, exact(right[reading.point.index()]), "{reading:?}");
                seen[reading.point.index()] += 1;
            }
        }
    }
}

/// How a connection ends whose request was not answered.
#[derive(Clone, Copy, Debug)]
enum Ending {
    /// Nothing comes, so that we let go of it.
    Silence,
    /// The converter closes it, so long after it has the request.
    Closed(Duration),
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_that_the_next_connection_brings_is_not_taken() {
    // At 1200 baud our request takes 67 ms, the answer 64 ms: until then it may still come in time.
    let slow = SerialFormat::parse(1_200, "8N1");
    for (format, ending, late) in [
        // Silence: the late window, 100 ms, begins when the connection ends.
        (None, Ending::Silence, ms(90)),
        // Else it begins when the time of the request is over, 200 ms after it was sent.
        (None, Ending::Closed(ms(1)), ms(160)),
        (slow, Ending::Closed(ms(1)), ms(100)),
        (slow, Ending::Closed(ms(80)), ms(300)),
    ] {
        let (first, mut first_units) = tokio::io::duplex(1_024);
        let (second, second_units) = tokio::io::duplex(1_024);
        let mut running = running_at(format, vec![first, second], |link| vec![device(link, "a", 1, 20, 0, words(&[0, 50]))]);
        let lines = tokio::spawn(async move {
            match ending {
                Ending::Silence => units(first_units, Vec::new(), |_, _| Vec::new()).await,
                Ending::Closed(after) => {
                    first_units.read_exact(&mut [0; REQUEST_LENGTH]).await.unwrap();
                    sleep(after).await;
                    drop(first_units);
                }
            }
            let late = vec![(late, answer([1, 3, 0, 99, 0, 1, 0, 0]))];
            units(second_units, late, |_, request| vec![(ms(120), answer(request))]).await;
        });
        expect(&mut running, &[0x100, 0x132]).await;
        assert_eq!(running.metrics.connects.with_label_values(&["modbus_rtu_over_tcp", "line"]).get(), 2, "{ending:?}");
        running.stop().await;
        lines.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_whoever_had_the_line_before_is_not_taken() {
    let (ours, theirs) = tokio::io::duplex(1_024);
    let mut running = running(vec![ours], |link| vec![device(link, "a", 1, 100, 0, words(&[0]))]);
    let stranger = answer([1, 3, 0, 99, 0, 1, 0, 0]);
    let line = tokio::spawn(units(theirs, vec![(ms(150), stranger)], |_, request| vec![(ms(180), answer(request))]));
    expect(&mut running, &[0x100]).await;
    running.stop().await;
    line.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_answer_behind_damaged_bytes_is_not_taken_for_another_block() {
    let (ours, theirs) = tokio::io::duplex(1_024);
    let devices = |link: &Arc<Link>| vec![device(link, "a", 1, 1_000, 0, words(&[0, 50])), device(link, "b", 2, 20, 2, words(&[0]))];
    let mut running = running(vec![ours], devices);
    // Every fourth answer of unit 1 comes at 90 ms, and noise long before it.
    let mut count = 0;
    let script = move |_, request: [u8; REQUEST_LENGTH]| {
        count += usize::from(request[0] == 1);
        if request[0] == 1 && count % 4 == 1 {
            return vec![(ms(5), vec![1, 3, 0, 0x55, 0x55]), (ms(90), answer(request))];
        }
        // Slow enough that a late one comes before it.
        vec![(ms(if request[0] == 1 { 70 } else { 20 }), answer(request))]
    };
    let line = tokio::spawn(units(theirs, Vec::new(), script));
    expect(&mut running, &[0x100, 0x132, 0x200]).await;
    running.stop().await;
    line.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_block_is_not_made_as_long_as_one_whose_answer_is_still_due() {
    let (ours, theirs) = tokio::io::duplex(1_024);
    let devices = |link: &Arc<Link>| {
        let mut devices = vec![device(link, "a", 1, 1_000, 0, words(&[0, 1])), device(link, "b", 1, 20, 2, words(&[50]))];
        for device in &mut devices {
            let DeviceAddress::Modbus(address) = &mut Arc::get_mut(device).unwrap().address else { unreachable!() };
            address.max_gap = 1;
        }
        devices
    };
    let mut running = running(vec![ours], devices);
    // Of the two registers the answer comes at 230 ms, and noise long before it. The one is asked for again and again, so
    // that it would need one more to be told from the answer before; those two would wait when that answer comes.
    let script = |_, request: [u8; REQUEST_LENGTH]| {
        let [_, _, _, address, _, quantity, ..] = request;
        match (address, quantity) {
            (0, _) => vec![(ms(5), vec![1, 3, 0, 0x55, 0x55]), (ms(230), answer(request))],
            (_, 1) => vec![(ms(10), answer(request))],
            _ => vec![(ms(199), answer(request))],
        }
    };
    let line = tokio::spawn(units(theirs, Vec::new(), script));
    let mut seen = 0;
    while seen < 100 {
        for reading in running.readings().await.1 {
            if !matches!(reading.number, Number::Missing(_)) {
                assert_eq!((reading.point, reading.number), (PointId(2), exact(0x132)), "{reading:?}");
                seen += 1;
            }
        }
    }
    running.stop().await;
    line.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn while_one_block_waits_for_a_late_answer_the_others_are_asked() {
    let (ours, theirs) = tokio::io::duplex(1_024);
    let devices = |link: &Arc<Link>| vec![device(link, "a", 1, 2_000, 0, words(&[0, 50])), device(link, "b", 2, 120, 2, words(&[0]))];
    let mut running = running(vec![ours], devices);
    // What unit 1 sends is damaged: its next block must wait 300 ms from the first request.
    let script = |_, request: [u8; REQUEST_LENGTH]| match request {
        [1, ..] => vec![(ms(5), vec![1, 3, 0, 0x55, 0x55])],
        _ => vec![(ms(5), answer(request))],
    };
    let line = tokio::spawn(units(theirs, Vec::new(), script));
    for _ in 0..100 {
        running.until(2, |number| number == exact(0x200)).await;
    }
    // The silence in which the connection began counts as little as the waiting.
    let skipped = running.metrics.polls_skipped.with_label_values(&["modbus_rtu_over_tcp", "line", "b"]).get();
    assert_eq!(skipped, 0, "polls of the unit that answers");
    running.stop().await;
    line.await.unwrap();
}
