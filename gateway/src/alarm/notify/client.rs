//! HTTP to a receiver: one POST, a limit on time, and what its answer means. Blocks: for the thread of the receiver.

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use parkgate_collector::catalogue::Secret;
use ureq::Agent;

use super::super::settings::{AlertmanagerSettings, WebhookSettings};
use crate::outgoing::{agent, secret};

/// Bytes of an answer that are read; the rest of it is of no use.
const ANSWER_BYTES_MAX: u64 = 4 * 1024;
/// Characters of an answer that logs show.
const ANSWER_SHOWN: usize = 300;
/// Longest `Retry-After` that is honoured.
const RETRY_AFTER_MAX_S: u64 = 300;

/// What an answer, or none, means for what was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Taken.
    Taken,
    /// Something in it is not accepted: 400, 413, 422.
    Bad {
        /// The receiver's words.
        why: String,
    },
    /// Not now: no connection, no answer in time, 408, 425, 429, 5xx.
    Later {
        /// What happened.
        why: String,
        /// When the receiver wants to be asked again.
        after: Option<Duration>,
    },
    /// Not until someone mends something: 401, 403, 404, a redirect.
    Refused {
        /// The receiver's words.
        why: String,
    },
}

/// The sending side of a receiver.
pub struct Client {
    agent: Agent,
    url: String,
    authorization: Option<Secret>,
}

impl Client {
    /// To the API v2 of an Alertmanager.
    ///
    /// # Errors
    /// A file of a token or certificate cannot be used.
    pub fn alertmanager(settings: &AlertmanagerSettings, base: &Path) -> Result<Self> {
        let token = secret(settings.token.as_ref(), settings.token_file.as_deref(), base).context("token_file")?;
        let url = format!("{}/api/v2/alerts", settings.url.trim_end_matches('/'));
        let authorization = token.map(|token| Secret::new(format!("Bearer {}", token.reveal())));
        Ok(Self { agent: agent(settings.timeout_ms, settings.ca_file.as_deref(), base)?, url, authorization })
    }

    /// To a webhook.
    ///
    /// # Errors
    /// A file of a certificate cannot be used.
    pub fn webhook(settings: &WebhookSettings, base: &Path) -> Result<Self> {
        let agent = agent(settings.timeout_ms, settings.ca_file.as_deref(), base)?;
        Ok(Self { agent, url: settings.url.clone(), authorization: None })
    }

    /// Posts JSON.
    pub fn post(&self, body: &[u8], headers: &[(&str, &str)]) -> Verdict {
        let mut request = self.agent.post(&self.url).content_type("application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization.reveal());
        }
        match request.send(body) {
            Ok(mut answer) => {
                let status = answer.status().as_u16();
                let after = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok());
                let after = after.map(|seconds| Duration::from_secs(seconds.min(RETRY_AFTER_MAX_S)));
                let mut text = Vec::new();
                // The status counts, also where the rest does not come.
                let _ = answer.body_mut().as_reader().take(ANSWER_BYTES_MAX).read_to_end(&mut text);
                verdict(status, &String::from_utf8_lossy(&text), after)
            }
            Err(ureq::Error::RedirectFailed) => Verdict::Refused { why: "the receiver redirects elsewhere: set that as its url".into() },
            Err(error @ (ureq::Error::Tls(_) | ureq::Error::Rustls(_) | ureq::Error::BadUri(_) | ureq::Error::Http(_))) => {
                Verdict::Refused { why: error.to_string() }
            }
            Err(error) => Verdict::Later { why: error.to_string(), after: None },
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("url", &self.url).finish_non_exhaustive()
    }
}

fn verdict(status: u16, text: &str, after: Option<Duration>) -> Verdict {
    let shown: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(ANSWER_SHOWN).collect();
    let why = if shown.is_empty() { format!("answer {status}") } else { format!("answer {status}: {shown}") };
    match status {
        200..=299 => Verdict::Taken,
        400 | 413 | 422 => Verdict::Bad { why },
        408 | 425 | 429 | 500..=599 => Verdict::Later { why, after },
        _ => Verdict::Refused { why },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_judged_by_their_status() {
        let of = |status| match verdict(status, "", None) {
            Verdict::Taken => "taken",
            Verdict::Bad { .. } => "bad",
            Verdict::Later { .. } => "later",
            Verdict::Refused { .. } => "refused",
        };
        for (expected, statuses) in [
            ("taken", &[200, 202, 204][..]),
            ("bad", &[400, 413, 422]),
            ("later", &[408, 425, 429, 500, 502, 503, 504]),
            ("refused", &[301, 401, 403, 404, 405, 410, 415]),
        ] {
            statuses.iter().for_each(|&status| assert_eq!(of(status), expected, "{status}"));
        }
    }
}
