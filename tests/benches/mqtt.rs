//! MQTT, QoS 1, through mosquitto: publisher, broker and the real gateway on the same cores, against a bare subscriber of
//! the same library that acknowledges and does nothing else.
//!
//! Publisher and bare subscriber are processes of their own. A message is a JSON object of five values and a time, about
//! 190 bytes, from one of [`METERS`] meters; no two messages of a meter have the same time.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use parkgate_tests::gateway::Gateway;
use parkgate_tests::mosquitto::{Mosquitto, Options};
use parkgate_tests::wait_for;
use rumqttc::{AsyncClient, Event, MqttOptions, NetworkOptions, Packet, QoS};

use crate::process::{Helper, cpu_seconds, memory_mb, metric, quick};
use crate::table::Table;

/// Meters that publish, each on a topic of its own.
const METERS: u64 = 200;
/// Values in one message.
const VALUES: f64 = 5.0;
/// Messages that the publisher sends ahead of the broker's acknowledgements.
const PUBLISH_WINDOW: u64 = 2_000;
/// Messages per second of the steady run.
const STEADY_RATE: u64 = 20_000;
/// The steady run begins to count after so long.
const STEADY_WARM_UP: Duration = Duration::from_secs(2);
/// Longest that messages may take to arrive.
const LIMIT: Duration = Duration::from_secs(120);

/// Measures live rate, backlog and steady cost.
pub fn run(table: &mut Table) -> Result<()> {
    let broker = Mosquitto::start(&Options::default())?;
    live(table, broker.port())?;
    backlog(table, broker.port())?;
    steady(table, broker.port())
}

fn live(table: &mut Table, port: u16) -> Result<()> {
    let (messages, rounds) = if quick() { (50_000, 1) } else { (300_000, 3) };
    let mut gateway = Gateway::start(&config(port, "live", ""))?;
    until_connected(&gateway)?;
    let (mut bare_best, mut gateway_best) = (0.0_f64, 0.0_f64);
    for _ in 0..rounds {
        let mut bare = bare(port, "bare-live", messages)?;
        let (mut publisher, start) = publish(port, "bare-live", messages, 0)?;
        bare.line()?;
        bare_best = bare_best.max(messages as f64 / start.elapsed().as_secs_f64());
        publisher.line()?;
        drop(bare);

        let before = durable(&gateway)?;
        let (mut publisher, start) = publish(port, "live", messages, 0)?;
        let (_, seconds) = until_durable(&gateway, before + messages as f64, start)?;
        gateway_best = gateway_best.max(messages as f64 / seconds);
        publisher.line()?;
    }
    gateway.stop()?;
    let ratio = gateway_best / bare_best;
    let what = format!("MQTT QoS 1 live, publisher at full speed, best of {rounds}");
    table.row(&format!("{what}: durable messages/s (bare subscriber)"), format!("{gateway_best:.0} ({bare_best:.0})"), "", None);
    table.row("the same, share of the bare subscriber", format!("{ratio:.2}"), ">= 0.85", Some(ratio >= 0.85));
    Ok(())
}

/// The subscriber's session is open but offline while messages pile up; then the publisher has ended and it comes back.
fn backlog(table: &mut Table, port: u16) -> Result<()> {
    let messages = if quick() { 50_000 } else { 400_000 };
    let rounds = if quick() { 1 } else { 2 };
    let mut gateway = Gateway::start(&config(port, "backlog", ""))?;
    until_connected(&gateway)?;
    let (mut bare_best, mut gateway_best) = (0.0_f64, 0.0_f64);
    for _ in 0..rounds {
        drop(bare(port, "bare-backlog", messages)?);
        publish(port, "bare-backlog", messages, 0)?.0.line()?;
        let mut bare = bare(port, "bare-backlog", messages)?;
        let seconds = bare.numbers()?;
        bare_best = bare_best.max(messages as f64 / seconds.first().context("no seconds")?);
        drop(bare);

        gateway.stop()?;
        publish(port, "backlog", messages, 0)?.0.line()?;
        gateway.restart()?;
        let start = Instant::now();
        let first = wait_for("first message", LIMIT, || Ok(Some(durable(&gateway)?).filter(|count| *count > 0.0)))?;
        let first_at = start.elapsed().as_secs_f64();
        let (count, seconds) = until_durable(&gateway, messages as f64, start)?;
        gateway_best = gateway_best.max((count - first) / (seconds - first_at));
    }
    gateway.stop()?;
    let ratio = gateway_best / bare_best;
    let what = format!("MQTT backlog of {messages} messages, publisher off, best of {rounds}");
    table.row(&format!("{what}: durable messages/s (bare subscriber)"), format!("{gateway_best:.0} ({bare_best:.0})"), "", None);
    table.row("the same, share of the bare subscriber", format!("{ratio:.2}"), ">= 0.60", Some(ratio >= 0.6));
    Ok(())
}

/// Checkpoints come more often than by default, so that several fall into the run.
fn steady(table: &mut Table, port: u16) -> Result<()> {
    let seconds = if quick() { 5 } else { 15 };
    let messages = STEADY_RATE * seconds;
    let window = Duration::from_secs(seconds) - STEADY_WARM_UP - Duration::from_millis(500);

    let bare = bare(port, "bare-steady", u64::MAX)?;
    let bare_cores = steady_cores(port, "bare-steady", messages, window, &bare.pid())?;
    drop(bare);

    let mut gateway = Gateway::start(&config(port, "steady", "[gateway.history]\ncheckpoint_megabytes = 16\n"))?;
    until_connected(&gateway)?;
    let pid = gateway.pid()?.to_string();
    let cores = steady_cores(port, "steady", messages, window, &pid)?;
    let start = Instant::now();
    until_durable(&gateway, messages as f64, start)?;
    let (resident, peak) = (memory_mb(&pid, "VmRSS")?, memory_mb(&pid, "VmHWM")?);
    gateway.stop()?;
    let ratio = cores / bare_cores;
    let what = format!("MQTT at a steady {STEADY_RATE} messages/s, {seconds} s");
    table.row(&format!("{what}: cores of the gateway (bare subscriber)"), format!("{cores:.2} ({bare_cores:.2})"), "", None);
    table.row("the same, CPU against the bare subscriber", format!("{ratio:.2}"), "<= 1.3", Some(ratio <= 1.3));
    table.row("the same, RSS MB at the end (peak)", format!("{resident:.0} ({peak:.0})"), "<= 100", Some(resident <= 100.0));
    Ok(())
}

/// Cores that process `pid` uses while messages come at the steady rate.
fn steady_cores(port: u16, prefix: &str, messages: u64, window: Duration, pid: &str) -> Result<f64> {
    let (mut publisher, _) = publish(port, prefix, messages, STEADY_RATE)?;
    sleep(STEADY_WARM_UP);
    let (start, cpu) = (Instant::now(), cpu_seconds(pid)?);
    sleep(window);
    let cores = (cpu_seconds(pid)? - cpu) / start.elapsed().as_secs_f64();
    let took = publisher.numbers()?;
    let asked = messages as f64 / STEADY_RATE as f64;
    ensure!(took.first().is_some_and(|took| *took < asked * 1.05), "the publisher could not keep the rate: {took:?} s for {asked} s");
    Ok(cores)
}

/// Messages that the gateway has made durable since its start. Repeats that it dropped count: they were durable before.
pub fn durable(gateway: &Gateway) -> Result<f64> {
    let text = gateway.text("/metrics")?;
    Ok((metric(&text, "parkgate_pipeline_samples_durable_total") + metric(&text, "parkgate_pipeline_repeats_dropped_total")) / VALUES)
}

/// Waits for `target` messages; returns how many there are and the seconds since `start`. Asks rarely until shortly before
/// the end, since asking costs the gateway time.
pub fn until_durable(gateway: &Gateway, target: f64, start: Instant) -> Result<(f64, f64)> {
    wait_for("all messages", LIMIT, || {
        let count = durable(gateway)?;
        if count >= target {
            return Ok(Some((count, start.elapsed().as_secs_f64())));
        }
        if target - count > 20_000.0 {
            sleep(Duration::from_millis(80));
        }
        Ok(None)
    })
}

pub fn until_connected(gateway: &Gateway) -> Result<()> {
    wait_for("connected gateway", Duration::from_secs(10), || {
        Ok((metric(&gateway.text("/metrics")?, "parkgate_driver_link_up") >= 1.0).then_some(()))
    })
}

/// A gateway that takes what comes under `prefix/`, with a session of that name.
pub fn config(port: u16, prefix: &str, more: &str) -> String {
    let mut text = format!(
        "[park]\nid = \"bench\"\nname = \"Bench\"\n\n[[link]]\nid = \"broker\"\ndriver = \"mqtt\"\nhost = \"127.0.0.1\"\n\
         port = {port}\nclient_id = \"parkgate-{prefix}\"\n"
    );
    for meter in 0..METERS {
        let filter = format!("{prefix}/m{meter:03}");
        write!(
            text,
            "\n[[device]]\nid = \"m{meter:03}\"\nname = \"m{meter}\"\nlink = \"broker\"\n\
             [[device.topic]]\nfilter = \"{filter}\"\ntime = \"ts\"\n"
        )
        .expect("writing to a string");
        for point in ["energy_import", "active_power", "voltage", "current", "power_factor"] {
            write!(text, "[[device.point]]\nid = \"{point}\"\npath = \"{point}\"\n").expect("writing to a string");
        }
    }
    text + "\n" + more
}

/// A publisher of `messages` messages under `prefix/`, `rate` a second (0: as fast as the broker takes them), and when it
/// began. Its only line is the seconds it took, when all are acknowledged.
fn publish(port: u16, prefix: &str, messages: u64, rate: u64) -> Result<(Helper, Instant)> {
    publish_padded(port, prefix, messages, rate, 0)
}

/// The same, each message `padding` bytes longer.
pub fn publish_padded(port: u16, prefix: &str, messages: u64, rate: u64, padding: usize) -> Result<(Helper, Instant)> {
    let arguments = [port.to_string(), prefix.to_owned(), messages.to_string(), rate.to_string(), padding.to_string()];
    let mut publisher = Helper::start("mqtt_publish", &arguments)?;
    ensure!(publisher.line()? == "begin");
    Ok((publisher, Instant::now()))
}

/// A subscriber to `prefix/#` in a persistent session of that name, which is open when this returns. Its next line is the
/// seconds from the first message to the last of `messages`.
fn bare(port: u16, prefix: &str, messages: u64) -> Result<Helper> {
    let mut bare = Helper::start("mqtt_bare", &[port.to_string(), prefix.to_owned(), messages.to_string()])?;
    ensure!(bare.line()? == "subscribed");
    Ok(bare)
}

/// `bench child mqtt_publish PORT PREFIX MESSAGES RATE PADDING`: one plain connection, so that the publisher takes as little of the
/// machine as can be.
pub fn child_publish(arguments: &[String]) -> Result<()> {
    let [port, prefix, messages, rate, padding] = arguments else { anyhow::bail!("PORT PREFIX MESSAGES RATE PADDING") };
    let (messages, rate): (u64, u64) = (messages.parse()?, rate.parse()?);
    let padding = "x".repeat(padding.parse()?);
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port.parse()?))?;
    stream.set_nodelay(true)?;
    // CONNECT (MQTT 3.1.1, 3.1): clean session, no keep-alive, client id `p`.
    stream.write_all(&[0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 0, 0, 1, b'p'])?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer)?;
    ensure!(answer == [0x20, 2, 0, 0], "CONNACK {answer:?}");
    // The machine may wake a sleeper 50 us late, as long as the time between two messages.
    let _ = std::fs::write("/proc/self/timerslack_ns", "1000");
    println!("begin");

    let first_stamp = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64;
    let start = Instant::now();
    let (mut sent, mut acknowledged_bytes) = (0, 0);
    let (mut packets, mut payload, mut received) = (Vec::new(), Vec::new(), vec![0; 16 * 1024]);
    while acknowledged_bytes < messages * 4 {
        // With a rate, what is due now: each message by itself, as from meters that know nothing of each other.
        let due = if rate == 0 { messages } else { (start.elapsed().as_micros() as u64 * rate / 1_000_000).min(messages) };
        let until = due.min(acknowledged_bytes / 4 + PUBLISH_WINDOW);
        packets.clear();
        while sent < until {
            message(&mut packets, &mut payload, prefix, sent, first_stamp, &padding)?;
            sent += 1;
        }
        stream.write_all(&packets)?;
        if rate != 0 && sent < messages && sent < acknowledged_bytes / 4 + PUBLISH_WINDOW {
            let next = Duration::from_micros((sent + 1) * 1_000_000 / rate);
            sleep(next.saturating_sub(start.elapsed()));
            stream.set_nonblocking(true)?;
        }
        // PUBACKs are four bytes each and nothing else comes.
        match stream.read(&mut received) {
            Ok(0) => anyhow::bail!("the broker hung up"),
            Ok(bytes) => acknowledged_bytes += bytes as u64,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        stream.set_nonblocking(false)?;
    }
    println!("{}", start.elapsed().as_secs_f64());
    Ok(())
}

/// Appends PUBLISH number `index` (MQTT 3.1.1, 3.3), QoS 1.
fn message(packets: &mut Vec<u8>, payload: &mut Vec<u8>, prefix: &str, index: u64, first_stamp: u64, padding: &str) -> Result<()> {
    let (meter, round) = (index % METERS, index / METERS);
    // Digits that look measured: the top of a multiplicative hash.
    let noise = (index.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) % 1_000;
    payload.clear();
    write!(
        payload,
        "{{\"ts\":{},\"device\":\"m{meter:03}\",\"energy_import\":{}.{noise:03},\"active_power\":{}.{noise:03},\"voltage\":23{}.{},\
         \"current\":1{}.{noise:03},\"power_factor\":0.9{:02},\"model\":\"SDM630-V2\",\"serial\":\"2024-0{meter:03}{padding}\"}}",
        first_stamp + round,
        100_000 + meter * 7_000 + round,
        120 + noise % 7,
        noise % 10,
        noise / 10 % 10,
        noise % 8,
        noise % 100,
    )?;
    let topic_length = prefix.len() + 5;
    let length = 2 + topic_length + 2 + payload.len();
    ensure!((128..16_384).contains(&length), "two length bytes are written");
    packets.extend([0x32, (length % 128) as u8 | 0x80, (length / 128) as u8, 0, topic_length as u8]);
    write!(packets, "{prefix}/m{meter:03}")?;
    packets.extend(((index % 65_535 + 1) as u16).to_be_bytes());
    packets.extend_from_slice(payload);
    Ok(())
}

/// `bench child mqtt_bare PORT PREFIX MESSAGES`: subscribes and acknowledges, as the library does by itself.
pub fn child_bare(arguments: &[String]) -> Result<()> {
    let [port, prefix, messages] = arguments else { anyhow::bail!("PORT PREFIX MESSAGES") };
    let messages: u64 = messages.parse()?;
    let mut options = MqttOptions::new(prefix.clone(), ("127.0.0.1", port.parse()?));
    options.set_clean_session(false);
    options.set_read_batch_size(128);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (client, mut event_loop) = AsyncClient::builder(options).capacity(16).build();
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        event_loop.set_network_options(network);
        let (mut count, mut start) = (0, None);
        loop {
            match event_loop.poll().await? {
                Event::Incoming(Packet::ConnAck(answer)) if answer.session_present => println!("subscribed"),
                Event::Incoming(Packet::ConnAck(_)) => client.subscribe(format!("{prefix}/#"), QoS::AtLeastOnce).await?,
                Event::Incoming(Packet::SubAck(_)) => println!("subscribed"),
                Event::Incoming(Packet::Publish(_)) => {
                    let start = *start.get_or_insert_with(Instant::now);
                    count += 1;
                    if count == messages {
                        println!("{}", start.elapsed().as_secs_f64());
                    }
                }
                _ => {}
            }
        }
    })
}
