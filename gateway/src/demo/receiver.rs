//! A receiver of alarms on the loopback, for the show: it takes what a webhook gets, checks the signature, and says what came.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use parkgate_collector::catalogue::Secret;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::alarm::WebhookSettings;
use crate::alarm::event::{Standing, WebhookBody};
use crate::alarm::notify::webhook::signature;

/// Says one line to the person who looks.
pub type Say = Arc<dyn Fn(&str) + Send + Sync>;

/// A running receiver; ends when it is dropped.
pub struct Receiver {
    address: SocketAddr,
    secret: String,
    task: JoinHandle<()>,
}

#[derive(Clone)]
struct Known {
    secret: String,
    say: Say,
}

impl Receiver {
    /// Listens on a free port; each alarm that comes is said by `say`.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start(say: Say) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let secret = format!("{:032x}", fastrand::u128(..));
        let router = Router::new().route("/", post(take)).with_state(Known { secret: secret.clone(), say });
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, secret, task })
    }

    /// The settings of a webhook to it.
    pub fn settings(&self) -> WebhookSettings {
        WebhookSettings {
            name: Some("demo".into()),
            secret: Some(Secret::new(self.secret.clone())),
            ..WebhookSettings::new(&format!("http://{}/", self.address))
        }
    }
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn take(State(known): State<Known>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let given = headers.get("x-signature").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let seconds: Option<i64> = given.strip_prefix("t=").and_then(|rest| rest.split(',').next()).and_then(|text| text.parse().ok());
    if seconds.is_none_or(|seconds| signature(&known.secret, seconds, &body) != given) {
        return StatusCode::UNAUTHORIZED;
    }
    let Ok(body) = serde_json::from_slice::<WebhookBody>(&body) else { return StatusCode::BAD_REQUEST };
    for alert in body.alerts {
        let state = if alert.status == Standing::Firing { "ALARM" } else { "over " };
        let summary = alert.annotations.get("summary").map_or("", String::as_str);
        (known.say)(&format!("receiver: {state} {summary}"));
    }
    StatusCode::NO_CONTENT
}
