//! MQTT client driver, 3.1.1 and 5: messages of a broker become batches; each is acknowledged when its batch is durable.
//!
//! [`client`] the client libraries behind a small face, with TLS and a side entrance for acknowledgements; [`topics`] which
//! mapping a topic has; [`gather`] messages become a batch; [`unknown`] devices that are heard and not configured;
//! [`sessions`] what brokers still hold for us; here the loop that puts them together.
//!
//! Acknowledgements leave in the order of arrival, from the front of a queue of batches that a lost connection empties. The
//! session is persistent, so the broker keeps what comes while we are away and delivers again what was not acknowledged.
//! When the pipeline is slow, the loop stops reading at `max_in_flight` messages: the broker's in-flight window, which with
//! MQTT 5 is the same, and TCP hold the rest. A pipeline that
//! stands for longer than 1.5 keep-alive times makes the broker end the connection; it is made again and nothing is lost.
//!
//! On the first connection all topics are subscribed, since the config may have changed; later ones do so only when the
//! broker has lost the session, because a subscription makes it send its retained messages again. What an earlier
//! configuration left in the session is remembered, and given up once the present topics are asked for. Where nothing is
//! remembered it shows by messages that no device has: every filter that matches such a topic is
//! given up. None of the present ones can be among them, or the topic would have a device. What a topic of `discover` covers
//! is not subscribed by itself, since a broker may deliver a message once for each subscription (MQTT 3.1.1, 3.3.5).

pub mod client;
pub mod gather;
pub mod sessions;
#[cfg(test)]
mod tests;
pub mod topics;
pub mod unknown;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::client::{Ack, Client, ClientError, Event, FILTERS_PER_PACKET};
use self::gather::{DRIVER, Gather};
use self::sessions::Sessions;
use self::unknown::Discover;
use crate::catalogue::{DeviceAddress, DriverSettings, MqttSettings};
use crate::clock::Clock;
use crate::driver::backoff::Backoff;
use crate::driver::{LinkChange, LinkDevices, Message, Outcome, Outlet};
use crate::health::{HealthBoard, State};
use crate::metrics::Metrics;
use crate::model::DELIVERIES_REMEMBERED;

/// Messages in one batch; when reached it is handed over.
const BATCH_MESSAGES_MAX: u64 = 2_000;
/// Bytes of payload in one batch; when reached it is handed over.
const BATCH_BYTES_MAX: usize = 1024 * 1024;
/// Readings in one batch; when reached it is handed over.
const BATCH_READINGS_MAX: usize = 20_000;
/// Batches handed over and not yet durable; when reached, nothing more is read.
const BATCHES_IN_FLIGHT_MAX: usize = 64;
/// Messages without a time of their own that were handed over and are not yet durable; beyond, nothing more is read: with
/// one more batch they are a quarter of what is remembered, so that each is known when the broker delivers it again.
const MARKS_IN_FLIGHT_MAX: usize = DELIVERIES_REMEMBERED / 4 - BATCH_MESSAGES_MAX as usize;
/// A batch of so many messages means traffic: then bytes gather for [`GATHER`] before the next read. A larger one needs no
/// gathering: the broker waits for acknowledgements, which go out with the next read.
const BUSY_MESSAGES: std::ops::Range<u64> = 4..256;
/// One wake-up costs as much as mapping tens of messages.
const GATHER: Duration = Duration::from_millis(1);
/// The same after a batch of [`GATHER_LONG_MESSAGES`]: each batch costs a sync of the journal, too.
const GATHER_LONG: Duration = Duration::from_millis(4);
/// Above what stock brokers send ahead of acknowledgements (20 to 32 messages): with such a one gathering for long would
/// only make it wait.
const GATHER_LONG_MESSAGES: u64 = 36;
/// Topics that no device has whose subscriptions are given up on one connection; further ones are on the next.
const TOPICS_GIVEN_UP_MAX: u32 = 256;
/// Shortest and longest wait between two attempts to connect.
const BACKOFF_MS: (u64, u64) = (500, 30_000);
/// Topics that the broker refused are asked for again so often: someone may have given the account its rights.
const ASK_AGAIN: Duration = if cfg!(test) { Duration::from_millis(200) } else { Duration::from_secs(60) };
/// Refused topics that are named.
const REFUSED_NAMED: usize = 5;
/// Longest wait for batches in flight when stopping; what is not durable by then is delivered again after the next start.
const STOP_LIMIT: Duration = Duration::from_secs(3);

/// The batch that a message rejected earlier makes by the present configuration of its link; `None` when it still cannot
/// be read. Nothing is counted.
pub fn reread(devices: &LinkDevices, topic: &str, payload: &[u8], arrived: crate::model::UtcMillis) -> Option<super::Batch> {
    let DriverSettings::Mqtt(settings) = &devices.link.driver else { return None };
    let metrics = Metrics::new(&prometheus::Registry::new());
    Gather::new(devices, settings, &HealthBoard::default(), &metrics, arrived).reread(topic, payload, arrived)
}

/// Runs one broker session until `cancel`; then what is in flight is still acknowledged and the broker told goodbye.
pub async fn run(
    devices: LinkDevices,
    outlet: Outlet,
    health: HealthBoard,
    metrics: Metrics,
    clock: Arc<dyn Clock>,
    sessions: Sessions,
    cancel: CancellationToken,
) {
    let DriverSettings::Mqtt(settings) = &devices.link.driver else { return };
    let gather = Gather::new(&devices, settings, &health, &metrics, clock.now().utc);
    let wanted = devices.devices.iter().flat_map(|device| match &device.address {
        DeviceAddress::Mqtt(address) => address.topics.as_slice(),
        _ => &[],
    });
    let wanted = wanted.map(|topic| (topic.subscription.clone(), topic.qos)).collect();
    let (filters, mut gone) = topics::subscriptions(wanted, Discover::new(&settings.discover).filters());
    let former = sessions.begin(settings, &filters).await;
    if !former.is_empty() {
        info!(link = %devices.link.id, count = former.len(), first = ?former.first(), "topics that no device has any more are given up in the broker's session");
    }
    gone.extend(former);
    gone.sort_unstable();
    gone.dedup();
    let driver = Driver {
        client: Client::new(settings),
        settings: settings.clone(),
        sessions,
        link: Arc::clone(&devices.link),
        gather,
        filters,
        gone,
        max_in_flight: usize::from(settings.max_in_flight),
        outlet,
        health,
        link_up: metrics.link_up.with_label_values(&[DRIVER, &devices.link.id]),
        connects: metrics.connects.with_label_values(&[DRIVER, &devices.link.id]),
        clock,
        cancel,
        in_flight: VecDeque::new(),
        refused: Vec::new(),
        is_up: None,
    };
    driver.run().await;
}

struct Driver {
    client: Client,
    settings: MqttSettings,
    sessions: Sessions,
    link: Arc<crate::catalogue::Link>,
    gather: Gather,
    filters: Vec<(String, u8)>,
    /// Filters that a session which the broker kept may have and should not: those of former devices, and those that another
    /// one covers. Empty once the broker has answered that they are given up.
    gone: Vec<String>,
    max_in_flight: usize,
    outlet: Outlet,
    health: HealthBoard,
    link_up: prometheus::IntGauge,
    connects: prometheus::IntCounter,
    clock: Arc<dyn Clock>,
    cancel: CancellationToken,
    /// Batches of the present connection that are not yet durable, oldest first.
    in_flight: VecDeque<InFlight>,
    /// Filters with their QoS that the broker refused in this session.
    refused: Vec<(String, u8)>,
    /// Last state told; `None` before the first.
    is_up: Option<bool>,
}

struct InFlight {
    done: oneshot::Receiver<Outcome>,
    acks: Vec<Ack>,
    /// Messages without a time of their own.
    marks: usize,
    /// All messages.
    messages: usize,
}

/// Packets that the broker has not answered yet on one connection.
#[derive(Debug, Default)]
struct Awaited {
    /// The filters of each packet.
    subscriptions: VecDeque<Vec<(String, u8)>>,
    unsubscriptions: usize,
    topics_given_up: u32,
}

/// Why a connection was given up.
#[derive(Debug, Error)]
enum Interrupted {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("what arrived could not be made durable; connecting again so that the broker delivers it once more")]
    NotDurable,
    #[error("stopped")]
    Stopped,
}

impl Driver {
    async fn run(mut self) {
        let mut backoff = Backoff::new(BACKOFF_MS.0, BACKOFF_MS.1);
        let mut is_subscribed = false;
        let cancel = self.cancel.clone();
        loop {
            let connected = tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                connected = self.client.connect() => connected,
            };
            let interrupted = match connected {
                Ok(session_present) => {
                    self.connects.inc();
                    let subscribe = !session_present || !is_subscribed;
                    is_subscribed = true;
                    self.serve(session_present, subscribe, &mut backoff).await
                }
                Err(error) => error.into(),
            };
            self.in_flight.clear();
            if matches!(interrupted, Interrupted::Stopped) {
                break;
            }
            self.client.close();
            self.tell(false, &interrupted.to_string()).await;
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                () = sleep(backoff.next_delay()) => {}
            }
        }
        self.client.disconnect(STOP_LIMIT).await;
        self.link_up.set(0);
        info!(link = %self.link.id, "mqtt stopped");
    }

    /// One connection, from CONNACK to its end. It counts as up when all subscriptions are answered.
    async fn serve(&mut self, session_present: bool, subscribe: bool, backoff: &mut Backoff) -> Interrupted {
        let cancel = self.cancel.clone();
        if !session_present {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Interrupted::Stopped,
                _ = self.outlet.send(Message::NewSession(self.link.key)) => {}
            }
        }
        let mut awaited = Awaited::default();
        if subscribe {
            // Until the broker says otherwise; a connection may end before.
            self.refused.clone_from(&self.filters);
        }
        if let Err(interrupted) = self.ask(&mut awaited) {
            return interrupted;
        }
        let mut is_giving_up = false;
        if !session_present {
            self.gone.clear();
            self.sessions.settle(&self.settings, &self.filters).await;
        } else if !self.gone.is_empty() {
            // Behind the subscriptions: a topic whose filter is another one now has one all the time.
            awaited.unsubscriptions = self.client.unsubscribe(&self.gone);
            is_giving_up = awaited.unsubscriptions == self.gone.len().div_ceil(FILTERS_PER_PACKET);
        }
        let why = if session_present { "connected, session kept" } else { "connected, new session" };
        let mut is_told = false;
        let mut rest_until: Option<Instant> = None;
        let mut ask_at = Instant::now() + ASK_AGAIN;
        loop {
            if !is_told && awaited.subscriptions.is_empty() {
                is_told = true;
                ask_at = Instant::now() + ASK_AGAIN;
                self.tell(true, why).await;
            }
            let may_ask = awaited.subscriptions.is_empty() && !self.refused.is_empty();
            let marks: usize = self.in_flight.iter().map(|batch| batch.marks).sum();
            let may_read = self.in_flight.len() < BATCHES_IN_FLIGHT_MAX && marks <= MARKS_IN_FLIGHT_MAX && self.room() > 0;
            tokio::select! {
                biased;
                () = cancel.cancelled() => return self.finish().await,
                outcome = front(&mut self.in_flight), if !self.in_flight.is_empty() => {
                    if let Err(interrupted) = self.answer(outcome) {
                        return interrupted;
                    }
                }
                () = sleep_until(ask_at), if may_ask => {
                    is_told = false;
                    if let Err(interrupted) = self.ask(&mut awaited) {
                        return interrupted;
                    }
                }
                () = sleep_until(rest_until.unwrap_or_else(Instant::now)), if rest_until.is_some() && may_read => rest_until = None,
                event = self.client.next(), if rest_until.is_none() && may_read => {
                    let read = event.map_err(Interrupted::from).and_then(|event| self.read(event, &mut awaited));
                    if is_giving_up && awaited.unsubscriptions == 0 {
                        is_giving_up = false;
                        self.gave_up().await;
                    }
                    if session_present {
                        self.give_up_former(&mut awaited);
                    }
                    if BUSY_MESSAGES.contains(&self.gather.messages()) {
                        let gather = if self.gather.messages() < GATHER_LONG_MESSAGES { GATHER } else { GATHER_LONG };
                        rest_until = Some(Instant::now() + gather);
                    }
                    // What came before an error is handed over as well: messages of QoS 0 do not come again.
                    if let Err(interrupted) = self.hand_over().await {
                        return interrupted;
                    }
                    if let Err(interrupted) = read {
                        return interrupted;
                    }
                    backoff.reset();
                }
            }
        }
    }

    /// Asks for the topics that were refused, or not answered; each is taken out once the broker grants it.
    fn ask(&mut self, awaited: &mut Awaited) -> Result<(), Interrupted> {
        awaited.subscriptions = self.client.subscribe(&self.refused)?;
        Ok(())
    }

    /// Takes the answer to one packet.
    fn answered(&mut self, packet: &[(String, u8)], refused: &[bool]) {
        let answers = packet.iter().zip(refused);
        let granted: HashSet<&str> = answers.filter(|(_, is_refused)| !**is_refused).map(|((filter, _), _)| filter.as_str()).collect();
        self.refused.retain(|(filter, _)| !granted.contains(filter.as_str()));
    }

    /// What is wrong while the broker refuses topics.
    fn refusal(&self) -> Option<String> {
        let count = self.refused.len();
        let named: Vec<&str> = self.refused.iter().take(REFUSED_NAMED).map(|(filter, _)| filter.as_str()).collect();
        let more = if count > named.len() { ", ..." } else { "" };
        let named = named.join(", ");
        (count > 0).then(|| format!("broker refuses {count} topics ({named}{more}); check what the account may read"))
    }

    /// Messages that may be taken now.
    fn room(&self) -> usize {
        self.max_in_flight.saturating_sub(self.in_flight.iter().map(|batch| batch.messages).sum())
    }

    /// Takes one event and all that are there with it.
    fn read(&mut self, first: Event, awaited: &mut Awaited) -> Result<(), Interrupted> {
        let now = self.clock.now().utc;
        let messages_max = u64::try_from(self.room()).unwrap_or(u64::MAX).min(BATCH_MESSAGES_MAX);
        let mut next = Some(Ok(first));
        while let Some(event) = next {
            match event? {
                Event::Message(message) => self.gather.add(&message, now),
                Event::Unsubscribed => {
                    awaited.unsubscriptions = awaited.unsubscriptions.saturating_sub(1);
                    // What came until now may be of the subscription that has just gone.
                    self.gather.take_unmapped();
                }
                Event::Subscribed { refused } => {
                    if let Some(packet) = awaited.subscriptions.pop_front() {
                        self.answered(&packet, &refused);
                    }
                }
            }
            let is_full = self.gather.messages() >= messages_max
                || self.gather.bytes() >= BATCH_BYTES_MAX
                || self.gather.readings() >= BATCH_READINGS_MAX;
            next = if is_full { None } else { self.client.ready() };
        }
        Ok(())
    }

    /// The broker has answered that what should go is given up.
    async fn gave_up(&mut self) {
        self.gone.clear();
        self.sessions.settle(&self.settings, &self.filters).await;
    }

    /// Gives up what an earlier configuration left in the session and is not remembered, one topic at a time.
    fn give_up_former(&mut self, awaited: &mut Awaited) {
        if awaited.unsubscriptions > 0 || awaited.topics_given_up >= TOPICS_GIVEN_UP_MAX {
            return;
        }
        let Some(topic) = self.gather.take_unmapped() else { return };
        let topic = String::from_utf8_lossy(&topic);
        // A filter of this configuration whose mapping was left out.
        if self.filters.iter().any(|(filter, _)| topics::matches(filter, &topic)) {
            return;
        }
        awaited.topics_given_up = awaited.topics_given_up.saturating_add(1);
        awaited.unsubscriptions = self.client.unsubscribe(&topics::filters_of(&topic));
        info!(link = %self.link.id, topic = %topic, "no device has this topic; its subscriptions in the broker's session are given up");
    }

    /// Hands the batch to the pipeline, waiting for room.
    async fn hand_over(&mut self) -> Result<(), Interrupted> {
        let now = self.clock.now().utc;
        let messages = usize::try_from(self.gather.messages()).unwrap_or(usize::MAX);
        let Some((mut batch, acks)) = self.gather.take(&self.health, now) else { return Ok(()) };
        let (sender, done) = oneshot::channel();
        batch.done = Some(sender);
        let marks = batch.deliveries.len();
        let cancel = self.cancel.clone();
        // A batch dropped on the way is not durable, so it is delivered again after the next start.
        let handed_over = tokio::select! {
            biased;
            () = cancel.cancelled() => None,
            sent = self.outlet.send(Message::Batch(batch)) => Some(sent.is_ok()),
        };
        match handed_over {
            Some(true) => {}
            Some(false) => return Err(Interrupted::NotDurable),
            None => return Err(self.finish().await),
        }
        self.in_flight.push_back(InFlight { done, acks, marks, messages });
        Ok(())
    }

    /// Acknowledges the front batch, and all behind it that are durable already.
    fn answer(&mut self, outcome: Outcome) -> Result<(), Interrupted> {
        let mut outcome = Some(outcome);
        while let Some(known) = outcome {
            let Some(front) = self.in_flight.pop_front() else { break };
            if known == Outcome::NotDurable {
                return Err(Interrupted::NotDurable);
            }
            self.client.acknowledge(&front.acks);
            outcome = self.in_flight.front_mut().and_then(|next| match next.done.try_recv() {
                Ok(outcome) => Some(outcome),
                Err(oneshot::error::TryRecvError::Empty) => None,
                Err(oneshot::error::TryRecvError::Closed) => Some(Outcome::NotDurable),
            });
        }
        Ok(())
    }

    /// Waits for what is in flight and acknowledges it, within [`STOP_LIMIT`].
    async fn finish(&mut self) -> Interrupted {
        let limit = Instant::now() + STOP_LIMIT;
        while !self.in_flight.is_empty() {
            let Ok(outcome) = timeout_at(limit, front(&mut self.in_flight)).await else { break };
            if self.answer(outcome).is_err() {
                break;
            }
        }
        Interrupted::Stopped
    }

    /// Tells everyone about the state of the link; the pipeline and the log only when it changed.
    async fn tell(&mut self, up: bool, why: &str) {
        let now = self.clock.now().utc;
        self.link_up.set(i64::from(up));
        let refusal = self.refusal().filter(|_| up);
        self.health.link(&self.link.id, |health| match &refusal {
            Some(error) => health.error(now, State::Degraded, error.as_str()),
            None if up => health.ok(now, 0),
            None => health.error(now, State::Down, why),
        });
        if let Some(error) = &refusal {
            warn!(link = %self.link.id, error = %error, "not subscribed");
        }
        if self.is_up == Some(up) {
            debug!(link = %self.link.id, is_up = up, why = %why, "as before");
            return;
        }
        self.is_up = Some(up);
        if up {
            info!(link = %self.link.id, why = %why, "mqtt connected");
        } else {
            warn!(link = %self.link.id, error = %why, "mqtt not connected");
            for device in self.gather.device_ids() {
                self.health.device(device, |health| health.error(now, State::Down, format!("link {} is down: {why}", self.link.id)));
            }
        }
        let change = LinkChange { link: self.link.key, device: String::new(), up, why: why.to_owned(), time: now };
        let cancel = self.cancel.clone();
        tokio::select! {
            biased;
            () = cancel.cancelled() => {}
            _ = self.outlet.send(Message::Link(change)) => {}
        }
    }
}

/// What became of the front batch; a sender that was dropped means not durable. Cancel safe. Never ends on an empty queue.
async fn front(in_flight: &mut VecDeque<InFlight>) -> Outcome {
    match in_flight.front_mut() {
        Some(front) => (&mut front.done).await.unwrap_or(Outcome::NotDurable),
        None => std::future::pending().await,
    }
}
