//! The published form of alarms: what the outbox keeps, the API replays, the stream tells and receivers get.
//!
//! Events are numbered by `seq` within an `epoch`: the outbox they were made in. Who has seen `(epoch, seq)` goes on behind
//! it; another epoch is another outbox, and everything is told anew. Of one alarm (`fingerprint`) events come in order. The
//! same event may come twice, under the same `epoch` and `seq`.

use std::collections::BTreeMap;

use parkgate_rules::alarm::UtcMillis;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Names and values that identify an alarm, or say more about it.
pub type Texts = BTreeMap<String, String>;

/// Who an alarm is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Track {
    /// For operators: it can be acknowledged and shelved.
    Operator,
    /// A fact about compliance: it can only be annotated.
    Compliance,
}

/// What an event tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The alarm is on.
    Raised,
    /// It is over.
    Resolved,
    /// Its rule, point or device is not configured any more.
    Gone,
    /// Somebody took note.
    Acknowledged,
    /// It was acknowledged and lasts.
    ReAlarmed,
    /// Somebody put it away for a time.
    Shelved,
    /// It is out again.
    Unshelved,
    /// Somebody wrote a note.
    Noted,
    /// A compliance event has other figures.
    Amended,
    /// A compliance event is no longer found: new data took it away.
    Withdrawn,
}

/// Whether an alarm is to be shown as on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// On.
    Firing,
    /// Over, or shelved.
    Resolved,
}

/// One event of an alarm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Event {
    /// The outbox it was made in.
    pub epoch: String,
    /// Its number there; grows by one.
    pub seq: u64,
    /// When it was made.
    #[schema(value_type = String)]
    pub time: UtcMillis,
    /// What it tells.
    pub kind: EventKind,
    /// Who it is for.
    pub track: Track,
    /// Whether the alarm is to be shown as on from here.
    pub state: Standing,
    /// Of the labels, as Alertmanager forms it: 16 hexadecimal digits.
    pub fingerprint: String,
    /// Since when the condition holds. The same in all events of one episode.
    #[schema(value_type = String)]
    pub starts_at: UtcMillis,
    /// When it ended.
    #[schema(value_type = Option<String>)]
    pub ends_at: Option<UtcMillis>,
    /// It was over when it was found.
    pub late: bool,
    /// It is kept, but not told to receivers: the alarm is shelved, or nothing is on.
    pub suppressed: bool,
    /// What identifies the alarm: `alertname`, `rule`, `severity`, `priority`, `track`, `park`, `enterprise`, `device`,
    /// `outlet`, `point`; `late="true"` for an episode that was over when it was found.
    pub labels: Texts,
    /// What may change: `summary`, `summary_zh`, `value`, `limit`, `unit`, `started_at`, `raised_at`, `ended_at`,
    /// `acknowledged_by`, `shelved_by`, `shelved_until`, `note`, `runbook_url` or `runbook`. `left_out="power"` where who asks may
    /// not see the figures.
    pub annotations: Texts,
}

impl Event {
    /// By which a receiver knows an event that comes again.
    pub fn key(&self) -> String {
        format!("{}-{}", self.epoch, self.seq)
    }

    /// Whether it tells that its alarm is not on any more, shelved or not.
    pub fn ends(&self) -> bool {
        matches!(self.kind, EventKind::Resolved | EventKind::Gone | EventKind::Withdrawn)
    }
}

/// The fingerprint of a set of labels: FNV-1a, 64 bits, over names and values in order of the names, each followed by 0xff
/// (Prometheus, `model.LabelSet.Fingerprint`).
pub fn fingerprint(labels: &Texts) -> String {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let bytes = labels.iter().flat_map(|(name, value)| name.bytes().chain([0xff]).chain(value.bytes()).chain([0xff]));
    let hash = bytes.fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    format!("{hash:016x}")
}

/// Body of a webhook: as Alertmanager's, version 4, with one alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookBody {
    /// Always `4`.
    pub version: String,
    /// What the alert is grouped by.
    pub group_key: String,
    /// Always 0.
    pub truncated_alerts: u32,
    /// `firing` or `resolved`.
    pub status: Standing,
    /// Name of the webhook.
    pub receiver: String,
    /// `alertname`.
    pub group_labels: Texts,
    /// Labels of the alert.
    pub common_labels: Texts,
    /// Annotations of the alert.
    pub common_annotations: Texts,
    /// Address of the gateway's page; may be empty.
    #[serde(rename = "externalURL")]
    pub external_url: String,
    /// The alert.
    pub alerts: Vec<WebhookAlert>,
}

/// The alert of a webhook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookAlert {
    /// `firing` or `resolved`.
    pub status: Standing,
    /// What identifies it.
    pub labels: Texts,
    /// What may change, and `event`: what happened.
    pub annotations: Texts,
    /// Since when.
    pub starts_at: UtcMillis,
    /// When it ended; year 1 while it is on, as Alertmanager has it.
    pub ends_at: String,
    /// Where it can be looked at; may be empty.
    #[serde(rename = "generatorURL")]
    pub generator_url: String,
    /// Of the labels.
    pub fingerprint: String,
}

/// `endsAt` of an alert that is on.
pub const NO_END: &str = "0001-01-01T00:00:00Z";

impl WebhookBody {
    /// Of an event, for the webhook of this name.
    pub fn new(event: &Event, receiver: &str, external_url: &str) -> Self {
        let mut annotations = event.annotations.clone();
        let kind = serde_json::to_value(event.kind).ok().and_then(|kind| kind.as_str().map(str::to_owned));
        annotations.insert("event".into(), kind.unwrap_or_default());
        let alertname = event.labels.get("alertname").cloned().unwrap_or_default();
        let ends_at = match event.state {
            Standing::Firing => NO_END.to_owned(),
            Standing::Resolved => event.ends_at.unwrap_or(event.time).to_string(),
        };
        Self {
            version: "4".into(),
            group_key: format!("{{}}:{{fingerprint=\"{}\"}}", event.fingerprint),
            truncated_alerts: 0,
            status: event.state,
            receiver: receiver.to_owned(),
            group_labels: [("alertname".to_owned(), alertname)].into(),
            common_labels: event.labels.clone(),
            common_annotations: annotations.clone(),
            external_url: external_url.to_owned(),
            alerts: vec![WebhookAlert {
                status: event.state,
                labels: event.labels.clone(),
                annotations,
                starts_at: event.starts_at,
                ends_at,
                generator_url: external_url.to_owned(),
                fingerprint: event.fingerprint.clone(),
            }],
        }
    }
}

/// What `GET /api/v1/alarms/events` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema, ToSchema)]
pub struct Replay {
    /// The outbox there is.
    pub epoch: String,
    /// The epoch asked for is not this one: events begin with the oldest there is.
    pub restarted: bool,
    /// The oldest event that is still kept; 0 when there is none.
    pub oldest_seq: u64,
    /// The newest event.
    pub last_seq: u64,
    /// Events in order.
    pub items: Vec<Event>,
    /// `after_seq` to go on with.
    pub next_after_seq: u64,
}

/// What the stream tells first, as event `hello`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema, ToSchema)]
pub struct Hello {
    /// The outbox there is. Events follow with `id: EPOCH-SEQ`, `event: alarm` and an [`Event`] as data.
    pub epoch: String,
    /// The newest event.
    pub last_seq: u64,
}

/// The whole contract, for its JSON Schema.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(title = "parkgate alarms")]
pub struct Contract {
    /// An event, as `/api/v1/alarms/events` and `/api/v1/alarms/stream` give it.
    pub event: Event,
    /// Answer of `/api/v1/alarms/events`.
    pub replay: Replay,
    /// First event of `/api/v1/alarms/stream`.
    pub stream_hello: Hello,
    /// Body that webhooks get, with the headers `Idempotency-Key: EPOCH-SEQ` and
    /// `X-Signature: t=SECONDS,v1=HEX(HMAC-SHA256(secret, "SECONDS." + body))`.
    pub webhook: WebhookBody,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_those_of_prometheus() {
        assert_eq!(fingerprint(&Texts::new()), "cbf29ce484222325");
        // FNV-1a of 61 ff 62 ff by hand: each byte is xor-ed in, then multiplied by 0x100000001b3 modulo 2^64.
        let mut hash: u128 = 0xcbf2_9ce4_8422_2325;
        for byte in [0x61, 0xff, 0x62, 0xff] {
            hash = ((hash ^ byte) * 0x0100_0000_01b3) % (1 << 64);
        }
        assert_eq!(fingerprint(&[("a".to_owned(), "b".to_owned())].into()), format!("{hash:016x}"));
        let one = fingerprint(&[("a".to_owned(), "bc".to_owned())].into());
        assert_ne!(one, fingerprint(&[("ab".to_owned(), "c".to_owned())].into()));
    }
}
