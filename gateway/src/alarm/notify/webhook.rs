//! The thread of one webhook: posts each event, in order, signed.
//!
//! `X-Signature: t=SECONDS,v1=HEX`, where HEX is HMAC-SHA256 (RFC 2104) of `SECONDS.` and the body under the shared secret:
//! a receiver checks it over the bytes as they came, and refuses what is old. `Idempotency-Key: EPOCH-SEQ` is the same when
//! an event comes again. Success is by status; a 4xx that speaks of the body is believed only when the next event is taken.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use hmac::{Hmac, Mac as _};
use parkgate_collector::catalogue::Secret;
use sha2::Sha256;
use tracing::error;

use super::super::event::{Event, WebhookBody};
use super::super::outbox::Outbox;
use super::super::settings::WebhookSettings;
use super::client::{Client, Verdict};
use super::common::{Cancelled, Common, TROUBLE};
use crate::outgoing;
use crate::store::StoreError;

/// Events read at once.
const EVENTS: usize = 200;
/// Longest body; of a longer one the annotations go.
const BODY_BYTES_MAX: usize = 256 * 1024;
/// Longest wait for news.
const IDLE: Duration = Duration::from_secs(1);
/// How often an event is refused before it is tried whether the next one is taken.
const REFUSALS: u32 = 5;

/// See the module.
pub(super) struct Worker {
    name: String,
    client: Client,
    secret: Option<Secret>,
    external_url: String,
    common: Common,
}

impl Worker {
    pub(super) fn new(settings: &WebhookSettings, client: Client, common: Common, external_url: Option<&str>, base: &Path) -> Result<Self> {
        let secret = outgoing::secret(settings.secret.as_ref(), settings.secret_file.as_deref(), base)
            .with_context(|| format!("[[gateway.webhook]] `{}`", settings.name()))?;
        Ok(Self { name: settings.name().to_owned(), client, secret, external_url: external_url.unwrap_or_default().to_owned(), common })
    }

    /// Runs until cancelled; after a failure it begins anew from its place in the outbox.
    pub(super) fn run(mut self) {
        while !self.common.cancel.is_cancelled() {
            let text = match catch_unwind(AssertUnwindSafe(|| self.notify())) {
                Ok(Ok(Cancelled)) => return,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "a fault of the program".to_owned(),
            };
            error!(receiver = %self.common.id, error = %text, "interrupted; goes on from its place in the outbox");
            self.common.readiness().degraded(&self.common.id, Some(text));
            let _ = self.common.wait(TROUBLE);
        }
    }

    fn notify(&mut self) -> Result<Cancelled, StoreError> {
        let (outbox, mut seq) = self.common.open()?;
        loop {
            if self.common.cancel.is_cancelled() {
                return Ok(Cancelled);
            }
            self.common.look();
            let events = outbox.events(seq, EVENTS)?;
            let last = self.common.alarms.last_seq();
            self.common.waiting(usize::try_from(last.saturating_sub(seq)).unwrap_or(usize::MAX), events.first().map(|event| event.time));
            if events.is_empty() {
                if self.common.idle(IDLE).is_err() {
                    return Ok(Cancelled);
                }
                continue;
            }
            for event in &events {
                if !event.suppressed && self.deliver(&outbox, event)?.is_err() {
                    return Ok(Cancelled);
                }
                seq = event.seq;
                outbox.set_target(&self.common.id, seq)?;
            }
        }
    }

    /// Posts an event until it is taken, or refused between two answers that take the one behind it.
    fn deliver(&mut self, outbox: &Outbox, event: &Event) -> Result<Result<(), Cancelled>, StoreError> {
        let mut refusals = 0_u32;
        loop {
            let wait = match self.post(event) {
                Verdict::Taken => {
                    self.common.fine(1);
                    return Ok(Ok(()));
                }
                Verdict::Bad { why } => {
                    refusals = refusals.saturating_add(1);
                    let later = if refusals >= REFUSALS { outbox.events(event.seq, EVENTS)? } else { Vec::new() };
                    // It comes again in its turn, under the same key.
                    let next = later.iter().find(|later| !later.suppressed);
                    let takes = || next.is_some_and(|next| self.post(next) == Verdict::Taken);
                    if takes() {
                        // It may have come to itself in between.
                        match self.post(event) {
                            Verdict::Taken => {
                                self.common.fine(1);
                                return Ok(Ok(()));
                            }
                            Verdict::Bad { why } if takes() => {
                                self.common.dropped(outbox, event.seq, &why);
                                return Ok(Ok(()));
                            }
                            _ => {}
                        }
                    }
                    self.common.away(&why, None, true)
                }
                Verdict::Later { why, after } => self.common.away(&why, after, false),
                Verdict::Refused { why } => self.common.away(&why, None, true),
            };
            if let Err(cancelled) = self.common.wait(wait) {
                return Ok(Err(cancelled));
            }
        }
    }

    fn post(&self, event: &Event) -> Verdict {
        let body = body(event, &self.name, &self.external_url);
        let key = event.key();
        let seconds = self.common.now().0.div_euclid(1_000);
        let signature = self.secret.as_ref().map(|secret| signature(secret.reveal(), seconds, &body));
        let mut headers = vec![("Idempotency-Key", key.as_str())];
        headers.extend(signature.as_deref().map(|signature| ("X-Signature", signature)));
        self.client.post(&body, &headers)
    }
}

fn body(event: &Event, name: &str, external_url: &str) -> Vec<u8> {
    let bytes = |event: &Event| serde_json::to_vec(&WebhookBody::new(event, name, external_url)).unwrap_or_default();
    let whole = bytes(event);
    if whole.len() <= BODY_BYTES_MAX { whole } else { bytes(&Event { annotations: Default::default(), ..event.clone() }) }
}

/// The value of `X-Signature`.
pub fn signature(secret: &str, seconds: i64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key of any length is taken");
    mac.update(format!("{seconds}.").as_bytes());
    mac.update(body);
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={seconds},v1={hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_hmac_sha256_of_time_and_body() {
        // RFC 4231, case 2: key "Jefe", data "what do ya want for nothing?"; without a time in front.
        let mut mac = Hmac::<Sha256>::new_from_slice(b"Jefe").unwrap();
        mac.update(b"what do ya want for nothing?");
        let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        let one = signature("Jefe", 1_700_000_000, b"{}");
        assert!(one.starts_with("t=1700000000,v1=") && one.len() == "t=1700000000,v1=".len() + 64);
        assert_ne!(one, signature("Jefe", 1_700_000_001, b"{}"));
        assert_ne!(one, signature("jefe", 1_700_000_000, b"{}"));
        assert_ne!(one, signature("Jefe", 1_700_000_000, b"{ }"));
    }
}
