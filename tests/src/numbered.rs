//! Messages that each carry a number of their own, and the question whether each is in the history exactly once.
//!
//! Half of the meters stamp their messages (`t0`, `t1` ...), half leave that to the gateway (`u0`, `u1` ...).

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use parkgate_collector::sim::mqtt::Publisher;
use tokio::runtime::Runtime;

use crate::gateway::Gateway;
use crate::mosquitto::Mosquitto;
use crate::{now_ms, wait_for};

/// Meters of each kind: so many that none gets more than one message a millisecond for long.
const METERS: u64 = 32;
/// Longest that the session may take to open.
const OPEN_LIMIT: Duration = Duration::from_secs(30);

/// A meter of energy beside them, for readings of hours that are over, so that totals close.
pub const ENERGY: &str = r#"
[[device]]
id = "energy"
link = "broker"
enterprise = "acme"
[[device.topic]]
filter = "meters/energy"
time = "ts"
[[device.point]]
id = "energy_import"
path = "n"
"#;

/// A park of these meters behind the broker at `port`; `probe` tells when the session is open. Tables may be added.
pub fn config(port: u16) -> String {
    let mut text = format!(
        "[park]\nid = \"park\"\nname = \"Park\"\n\n[[enterprise]]\nid = \"acme\"\nname = \"Acme\"\n\n\
         [[link]]\nid = \"broker\"\ndriver = \"mqtt\"\nhost = \"127.0.0.1\"\nport = {port}\n"
    );
    let meters = (0..METERS).flat_map(|meter| [format!("t{meter}"), format!("u{meter}")]).chain(["probe".to_owned()]);
    for meter in meters {
        let time = if meter.starts_with('t') { "time = \"ts\"" } else { "" };
        write!(
            text,
            r#"
[[device]]
id = "{meter}"
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

/// What the meters publish.
#[derive(Debug)]
pub struct Meters {
    publisher: Publisher,
    /// Number of the next message.
    next: u64,
    /// Last stamp of each meter that stamps: two messages of one meter never share a stamp.
    stamps: Vec<i64>,
}

impl Meters {
    /// Publishes until a message gets through: from then on the broker keeps everything for the gateway. Must be called
    /// within `runtime`.
    pub fn open(runtime: &Runtime, broker: &Mosquitto, gateway: &Gateway) -> Result<Self> {
        let mut publisher = broker.publisher("meters");
        wait_for("open session", OPEN_LIMIT, || {
            runtime.block_on(publisher.publish("meters/probe", r#"{"n":1}"#))?;
            Ok((!gateway.samples("acme/probe/number")?.is_empty()).then_some(()))
        })?;
        Ok(Self { publisher, next: 0, stamps: vec![0; usize::try_from(METERS)?] })
    }

    /// Messages published so far.
    pub fn sent(&self) -> u64 {
        self.next
    }

    /// Publishes `count` messages at full speed and waits until the broker has confirmed all.
    pub async fn publish(&mut self, count: u64) -> Result<()> {
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

/// How often each number is in the history, under its own meter; and what else is there.
pub fn recorded(gateway: &Gateway, sent: u64) -> Result<(HashMap<u64, u32>, Vec<String>)> {
    let (mut seen, mut strange) = (HashMap::new(), Vec::new());
    for meter in 0..METERS {
        for (kind, parity) in [("t", 0), ("u", 1)] {
            for sample in gateway.samples(&format!("acme/{kind}{meter}/number"))? {
                let number = sample["value"].as_str().and_then(|text| text.parse::<u64>().ok());
                match number {
                    Some(number) if number < sent && number % 2 == parity && number / 2 % METERS == meter => {
                        *seen.entry(number).or_insert(0) += 1;
                    }
                    _ => strange.push(format!("{kind}{meter}: {sample}")),
                }
            }
        }
    }
    Ok((seen, strange))
}

/// Every number from 0 to `sent` must be in the history exactly once, under its meter, after `limit` at the latest.
/// Gives how long that took.
pub fn each_once(gateway: &Gateway, sent: u64, limit: Duration) -> Result<Duration> {
    let start = Instant::now();
    loop {
        let (seen, strange) = recorded(gateway, sent)?;
        let missing: Vec<u64> = (0..sent).filter(|number| !seen.contains_key(number)).collect();
        let doubled: Vec<u64> = seen.iter().filter(|(_, count)| **count > 1).map(|(number, _)| *number).collect();
        if missing.is_empty() || start.elapsed() > limit {
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
            return Ok(start.elapsed());
        }
        std::thread::sleep(Duration::from_millis(300));
    }
}
