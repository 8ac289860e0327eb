//! No acknowledged message is lost or doubled: the gateway is killed at random moments while messages come at full speed,
//! with and without a time of their own. At the end each must be in the history exactly once. `PARKGATE_ROUNDS` sets the
//! number of kills, `PARKGATE_SEED` the random numbers.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use parkgate_tests::gateway::Gateway;
use parkgate_tests::mosquitto::{Mosquitto, Options};
use parkgate_tests::numbered::{self, Meters};
use parkgate_tests::{Stopwatch, number_from, random};

/// Kills, unless `PARKGATE_ROUNDS` says otherwise.
const ROUNDS: u64 = 50;
/// Messages published in each round.
const MESSAGES: u64 = 6_000;
/// Longest time from ready to the kill: about as long as the messages of a round take, so that most kills interrupt them.
const KILL_WITHIN_MS: u64 = 300;
/// Longest that the last messages may take to get into the history.
const DRAIN_LIMIT: Duration = Duration::from_secs(60);
/// Small, so that kills also fall into checkpoints and changes of segment.
const SMALL: &str = "[gateway.journal]\nsegment_megabytes = 1\n[gateway.history]\ncheckpoint_seconds = 1\n";

#[test]
fn nothing_is_lost_or_doubled_when_killed() -> Result<()> {
    let _stopwatch = Stopwatch::start("mqtt_kill");
    let rounds = number_from("PARKGATE_ROUNDS")?.unwrap_or(ROUNDS);
    let mut random = random()?;
    let broker = Mosquitto::start(&Options::default())?;
    let mut gateway = Gateway::start(&format!("{}\n{SMALL}", numbered::config(broker.port())))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let _guard = runtime.enter();
    let mut meters = Meters::open(&runtime, &broker, &gateway)?;
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
    let sent = meters.sent();
    let took = numbered::each_once(&gateway, sent, DRAIN_LIMIT)?;
    println!("{sent} messages, each of them once, {} ms after the last", took.as_millis());
    ensure!(gateway.stop()?.success(), "the gateway did not stop cleanly");
    // What is compared once more comes from disk alone.
    gateway.restart()?;
    numbered::each_once(&gateway, sent, DRAIN_LIMIT)?;
    gateway.stop()?;
    Ok(())
}
