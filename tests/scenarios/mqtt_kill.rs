//! No acknowledged message is lost or doubled: the gateway is killed at random moments while messages come at full speed.
//!
//! Every message carries a number of its own. Half of the meters stamp their messages, half leave that to the gateway. At
//! the end each number must be in the history exactly once. `PARKGATE_ROUNDS` sets the number of kills, `PARKGATE_SEED` the
//! random numbers.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use parkgate_collector::sim::mqtt::Publisher;
use parkgate_tests::gateway::Gateway;
use parkgate_tests::mosquitto::{Mosquitto, Options};
use parkgate_tests::{Stopwatch, now_ms, number_from, random, wait_for};

/// Meters of each kind: so many that none gets more than one message a millisecond for long.
const METERS: u64 = 32;
/// Kills, unless `PARKGATE_ROUNDS` says otherwise.
const ROUNDS: u64 = 50;
/// Messages published in each round.
const MESSAGES: u64 = 6_000;
/// Longest time from ready to the kill: about as long as the messages of a round take, so that most kills interrupt them.
const KILL_WITHIN_MS: u64 = 300;
/// Longest that the last messages may take to get into the history.
const DRAIN_LIMIT: Duration = Duration::from_secs(60);

#[test]
fn nothing_is_lost_or_doubled_when_killed() -> Result<()> {
    let rounds = number_from("PARKGATE_ROUNDS")?.unwrap_or(ROUNDS);
    let mut random = random()?;
    let _stopwatch = Stopwatch::start("mqtt_kill");
    let broker = Mosquitto::start(&Options::default())?;
    let mut gateway = Gateway::start(&config(broker.port()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let _guard = runtime.enter();
    let mut publisher = broker.publisher();
    open_session(&runtime, &mut publisher, &gateway)?;
    let mut meters = Meters { publisher, next: 0, stamps: vec![0; usize::try_from(METERS)?] };
    for round in 0..rounds {
        let publishing = runtime.spawn(async move {
            let result = meters.publish(MESSAGES).await;
            (meters, result)
        });
        std::thread::sleep(Duration::from_millis(random.u64(0..KILL_WITHIN_MS)));
        gateway.kill_9()?;
        gateway.restart().with_context(|| format!("after the kill of round {round}"))?;
        let (back, result) = runtime.block_on(publishing)?;
        meters = back;
        result?;
    }
    let sent = meters.next;
    compare(&gateway, sent)?;
    ensure!(gateway.stop()?.success(), "the gateway did not stop cleanly");
    // What is compared once more comes from disk alone.
    gateway.restart()?;
    compare(&gateway, sent)?;
    gateway.stop()?;
    Ok(())
}

/// Meters `t0`, `t1` ... stamp their messages, `u0`, `u1` ... do not; `probe` tells when the session is open.
fn config(port: u16) -> String {
    let mut text = format!(
        r#"
[park]
id = "park"
name = "Park"

[[enterprise]]
id = "acme"
name = "Acme"

[[link]]
id = "broker"
driver = "mqtt"
host = "127.0.0.1"
port = {port}
client_id = "parkgate-kill"

# Small, so that kills also fall into checkpoints and changes of segment.
[gateway.journal]
segment_megabytes = 1
[gateway.history]
checkpoint_seconds = 1
"#
    );
    let meters = (0..METERS).flat_map(|meter| [format!("t{meter}"), format!("u{meter}")]).chain(["probe".to_owned()]);
    for meter in meters {
        let time = if meter.starts_with('t') { "time = \"ts\"" } else { "" };
        write!(
            text,
            r#"
[[device]]
id = "{meter}"
name = "{meter}"
link = "broker"
enterprise = "acme"
[[device.topic]]
filter = "meters/{meter}"
{time}
[[device.point]]
id = "number"
medium = "power"
kind = "gauge"
unit = "1"
decimals = 0
path = "n"
"#
        )
        .expect("writing to a string");
    }
    text
}

/// Publishes until a message gets through: from then on the broker keeps everything for the gateway.
fn open_session(runtime: &tokio::runtime::Runtime, publisher: &mut Publisher, gateway: &Gateway) -> Result<()> {
    wait_for("open session", Duration::from_secs(30), || {
        runtime.block_on(publisher.publish("meters/probe", r#"{"n":1}"#))?;
        Ok((!gateway.samples("acme/probe/number")?.is_empty()).then_some(()))
    })
}

/// What the meters publish.
struct Meters {
    publisher: Publisher,
    /// Number of the next message.
    next: u64,
    /// Last stamp of each meter that stamps: two messages of one meter never share a stamp.
    stamps: Vec<i64>,
}

impl Meters {
    /// Publishes `count` messages at full speed and waits until the broker has confirmed all.
    async fn publish(&mut self, count: u64) -> Result<()> {
        for number in self.next..self.next + count {
            let meter = number / 2 % METERS;
            if number.is_multiple_of(2) {
                let last = &mut self.stamps[usize::try_from(meter)?];
                *last = now_ms().max(*last + 1);
                let payload = format!("{{\"n\":{number},\"ts\":{last}}}");
                self.publisher.publish(&format!("meters/t{meter}"), payload).await?;
            } else {
                self.publisher.publish(&format!("meters/u{meter}"), format!("{{\"n\":{number}}}")).await?;
            }
        }
        self.next += count;
        self.publisher.flush().await?;
        Ok(())
    }
}

/// Every number from 0 to `sent` must be in the history exactly once, under its meter.
fn compare(gateway: &Gateway, sent: u64) -> Result<()> {
    let start = Instant::now();
    loop {
        let (mut seen, mut strange) = (HashMap::new(), Vec::new());
        for meter in 0..METERS {
            for (kind, parity) in [("t", 0), ("u", 1)] {
                for sample in gateway.samples(&format!("acme/{kind}{meter}/number"))? {
                    let number = sample["value"].as_str().and_then(|text| text.parse::<u64>().ok());
                    match number {
                        Some(number) if number < sent && number % 2 == parity && number / 2 % METERS == meter => {
                            *seen.entry(number).or_insert(0u32) += 1;
                        }
                        _ => strange.push(format!("{kind}{meter}: {sample}")),
                    }
                }
            }
        }
        let missing: Vec<u64> = (0..sent).filter(|number| !seen.contains_key(number)).collect();
        let doubled: Vec<u64> = seen.iter().filter(|(_, count)| **count > 1).map(|(number, _)| *number).collect();
        if missing.is_empty() || start.elapsed() > DRAIN_LIMIT {
            ensure!(
                missing.is_empty() && doubled.is_empty() && strange.is_empty(),
                "of {sent}: {} missing {:?}, {} doubled {:?}, {} strange {:?}",
                missing.len(),
                missing.iter().take(10).collect::<Vec<_>>(),
                doubled.len(),
                doubled.iter().take(10).collect::<Vec<_>>(),
                strange.len(),
                strange.iter().take(3).collect::<Vec<_>>(),
            );
            println!("{sent} messages, each of them once, {} ms after the last", start.elapsed().as_millis());
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(300));
    }
}
