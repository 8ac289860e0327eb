//! Simulated MQTT meters: payloads made by a closure, published with QoS 1, spoilt on request.
//!
//! [`Publisher`] is a client of its own that knows what the broker has confirmed; [`Meter`] decides, purely, what goes out
//! at one tick under a [`Fault`]; [`run`] puts both on a clock. What it sends is never taken for metered: the devices of a
//! demo carry origin `simulated` in their config.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rumqttc::{AsyncClient, MqttOptions, NetworkOptions, PublishNotice, PublishOptions};
use thiserror::Error;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::model::UtcMillis;

/// Messages sent and not yet confirmed; when reached, publishing waits for the oldest.
const UNCONFIRMED_MAX: usize = 2_000;
/// Wait before the publisher's client connects again.
const RECONNECT: Duration = Duration::from_millis(200);

/// Where a publisher connects.
#[derive(Clone, Debug, Default)]
pub struct PublisherSettings {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Client id, unique at the broker.
    pub client_id: String,
    /// User name and password.
    pub login: Option<(String, String)>,
}

/// A message that the broker did not confirm.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("message was not confirmed by the broker: {0}")]
pub struct PublishError(String);

/// An MQTT client that only publishes, QoS 1, and connects again by itself. Ends when dropped.
#[derive(Debug)]
pub struct Publisher {
    client: AsyncClient,
    unconfirmed: VecDeque<PublishNotice>,
    poller: JoinHandle<()>,
}

impl Publisher {
    /// Starts the client; must be called within a tokio runtime. Messages wait until it is connected.
    pub fn start(settings: &PublisherSettings) -> Self {
        let mut options = MqttOptions::new(settings.client_id.clone(), (settings.host.clone(), settings.port));
        options.set_keep_alive(30);
        options.set_inflight(1_000);
        options.set_max_request_batch(256);
        options.set_max_packet_size(64 << 20, 64 << 20);
        // A session that is kept makes the client send again what a lost connection left unconfirmed.
        options.set_clean_session(false);
        if let Some((username, password)) = &settings.login {
            options.set_credentials(username.clone(), password.clone().into_bytes());
        }
        let (client, mut event_loop) = AsyncClient::builder(options).capacity(1_000).build();
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        event_loop.set_network_options(network);
        let poller = tokio::spawn(async move {
            loop {
                match event_loop.poll().await {
                    Ok(_) => {}
                    Err(rumqttc::ConnectionError::RequestsDone) => return,
                    Err(_) => tokio::time::sleep(RECONNECT).await,
                }
            }
        });
        Self { client, unconfirmed: VecDeque::new(), poller }
    }

    /// Sends one message. Waits only when too many are unconfirmed; an error then is that of an earlier message.
    pub async fn publish(&mut self, topic: &str, payload: impl Into<Vec<u8>>) -> Result<(), PublishError> {
        if self.unconfirmed.len() >= UNCONFIRMED_MAX {
            self.confirm_one().await?;
        }
        let sent = self.client.publish_tracked(topic, payload.into(), PublishOptions::at_least_once()).await;
        self.unconfirmed.push_back(sent.map_err(|error| PublishError(error.to_string()))?);
        Ok(())
    }

    /// Waits until the broker has confirmed everything that was sent.
    pub async fn flush(&mut self) -> Result<(), PublishError> {
        while !self.unconfirmed.is_empty() {
            self.confirm_one().await?;
        }
        Ok(())
    }

    async fn confirm_one(&mut self) -> Result<(), PublishError> {
        match self.unconfirmed.pop_front() {
            Some(notice) => notice.wait_async().await.map(drop).map_err(|error| PublishError(error.to_string())),
            None => Ok(()),
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.poller.abort();
    }
}

/// A way to misbehave, for one tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The message is sent twice.
    Duplicate,
    /// The message is held back and sent after the next one.
    OutOfOrder,
    /// The payload breaks off in the middle.
    BadJson,
    /// The meter's clock is off by so many milliseconds.
    ClockOff(i64),
    /// Nothing is sent.
    Silence,
    /// Values jump: the closure is told.
    ValueJump,
    /// Counters start from zero again: the closure is told.
    CounterReset,
}

/// What a payload is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// Counts the ticks from 0.
    pub number: u64,
    /// The meter's own clock; off under [`Fault::ClockOff`].
    pub time: UtcMillis,
    /// The value should jump.
    pub jump: bool,
    /// Tick at which the counters started from zero, for the last time.
    pub counters_since: u64,
}

/// One simulated meter: what it publishes at each tick. No I/O, no clock.
pub struct Meter<F> {
    topic: String,
    make: F,
    number: u64,
    counters_since: u64,
    held: Option<Vec<u8>>,
}

impl<F> std::fmt::Debug for Meter<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meter").field("topic", &self.topic).field("number", &self.number).finish_non_exhaustive()
    }
}

impl<F: FnMut(&Tick) -> String> Meter<F> {
    /// A meter that publishes under `topic` what `make` returns; whether a payload has a time is up to `make`.
    pub fn new(topic: impl Into<String>, make: F) -> Self {
        Self { topic: topic.into(), make, number: 0, counters_since: 0, held: None }
    }

    /// The topic it publishes under.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The payloads to publish at this tick, in order.
    pub fn step(&mut self, now: UtcMillis, fault: Option<Fault>) -> Vec<Vec<u8>> {
        if fault == Some(Fault::CounterReset) {
            self.counters_since = self.number;
        }
        let tick = Tick {
            number: self.number,
            time: match fault {
                Some(Fault::ClockOff(milliseconds)) => now.plus(milliseconds),
                _ => now,
            },
            jump: fault == Some(Fault::ValueJump),
            counters_since: self.counters_since,
        };
        self.number = self.number.saturating_add(1);
        let mut payload = (self.make)(&tick).into_bytes();
        let mut out = Vec::new();
        match fault {
            Some(Fault::Silence) => return out,
            Some(Fault::OutOfOrder) if self.held.is_none() => {
                self.held = Some(payload);
                return out;
            }
            Some(Fault::BadJson) => payload.truncate(payload.len() / 2),
            Some(Fault::Duplicate) => out.push(payload.clone()),
            _ => {}
        }
        out.push(payload);
        out.extend(self.held.take());
        out
    }
}

/// How often which fault happens. The same seed gives the same faults.
#[derive(Clone, Debug)]
pub struct Faults {
    random: fastrand::Rng,
    /// Chance of each fault in 1/10,000 of a tick.
    chances: Vec<(Fault, u32)>,
}

impl Faults {
    /// Faults by chance; `chances` in 1/10,000 of a tick.
    pub fn new(seed: u64, chances: Vec<(Fault, u32)>) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), chances }
    }

    /// A meter that behaves.
    pub fn none() -> Self {
        Self::new(0, vec![])
    }

    /// What goes wrong at the next tick.
    pub fn next(&mut self) -> Option<Fault> {
        let mut drawn = self.random.u32(0..10_000);
        for &(fault, chance) in &self.chances {
            if drawn < chance {
                return Some(fault);
            }
            drawn -= chance;
        }
        None
    }
}

/// Publishes a meter every `interval` until `cancel`. What the broker does not take is gone, as with a real meter.
pub async fn run<F: FnMut(&Tick) -> String>(
    mut publisher: Publisher,
    mut meter: Meter<F>,
    mut faults: Faults,
    interval: Duration,
    clock: Arc<dyn Clock>,
    cancel: CancellationToken,
) {
    let mut ticks = tokio::time::interval(interval.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            _ = ticks.tick() => {}
        }
        for payload in meter.step(clock.now().utc, faults.next()) {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                _ = publisher.publish(&meter.topic, payload) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(payloads: Vec<Vec<u8>>) -> String {
        payloads.into_iter().map(|payload| String::from_utf8(payload).unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn misbehaves_as_told() {
        let mut meter =
            Meter::new("m", |tick| format!("{}@{}{}", tick.number - tick.counters_since, tick.time.0, if tick.jump { "!" } else { "" }));
        for (fault, wanted) in [
            (None, "0@5"),
            (Some(Fault::Duplicate), "1@5 1@5"),
            (Some(Fault::OutOfOrder), ""),
            (Some(Fault::OutOfOrder), "3@5 2@5"),
            (Some(Fault::BadJson), "4"),
            (Some(Fault::ClockOff(-3)), "5@2"),
            (Some(Fault::Silence), ""),
            (Some(Fault::ValueJump), "7@5!"),
            (Some(Fault::CounterReset), "0@5"),
            (None, "1@5"),
        ] {
            assert_eq!(show(meter.step(UtcMillis(5), fault)), wanted, "{fault:?}");
        }
    }

    #[test]
    fn one_seed_gives_one_sequence_of_faults() {
        let draw = |seed| {
            let mut faults = Faults::new(seed, vec![(Fault::Silence, 2_000), (Fault::BadJson, 1_000)]);
            (0..1_000).map(|_| faults.next()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        let silent = draw(7).iter().filter(|fault| **fault == Some(Fault::Silence)).count();
        assert!((150..250).contains(&silent), "{silent}");
        assert!((0..1_000).all(|_| Faults::none().next().is_none()));
    }
}
