//! Receivers of alarms: each has a thread, a place in the outbox, and a wait of its own.
//!
//! An event is delivered when the receiver acknowledged it, and its place is noted then: at least once, and the same key or
//! labels when it comes again. One that does not answer is asked again, at last every minute; what waits stays in the
//! outbox. An event is given up only while the receiver takes others: a proxy that refuses everything costs nothing.
//!
//! [`plan`] what Alertmanager is to be told, and when; [`alertmanager`] its thread; [`webhook`] that of a webhook; [`client`]
//! requests; [`common`] what both threads need.

pub mod client;
pub mod plan;
mod common;
mod alertmanager;
pub mod webhook;

use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::{Alarms, Receivers, Sources};
use client::Client;
use common::Common;

/// How long the threads may take to end. A request that hangs is not waited for: what it sends is sent again.
const STOP: Duration = Duration::from_secs(3);

/// The running threads.
pub struct Notifiers {
    threads: Vec<(String, JoinHandle<()>)>,
    cancel: CancellationToken,
}

impl Notifiers {
    /// Starts a thread per receiver. Files that settings name are relative to `base`.
    ///
    /// # Errors
    /// A file of a secret or certificate cannot be used, or a thread cannot start. A receiver that does not answer is no
    /// error.
    pub fn start(receivers: Receivers<'_>, external_url: Option<&str>, base: &Path, alarms: &Alarms, sources: &Sources) -> Result<Self> {
        let cancel = CancellationToken::new();
        let mut running = Self { threads: Vec::new(), cancel: cancel.clone() };
        for settings in receivers.alertmanagers {
            let name = settings.name();
            let client = Client::alertmanager(settings, base).with_context(|| format!("[[gateway.alertmanager]] `{name}`"))?;
            let common = Common::new(&format!("alertmanager {name}"), alarms, sources, cancel.clone())?;
            let worker = alertmanager::Worker::new(settings.clone(), client, common, external_url);
            let thread = std::thread::Builder::new().name("alertmanager".into()).spawn(move || worker.run())?;
            running.threads.push((format!("alertmanager {name}"), thread));
        }
        for settings in receivers.webhooks {
            let name = settings.name();
            let client = Client::webhook(settings, base).with_context(|| format!("[[gateway.webhook]] `{name}`"))?;
            let common = Common::new(&format!("webhook {name}"), alarms, sources, cancel.clone())?;
            let worker = webhook::Worker::new(settings, client, common, external_url, base)?;
            let thread = std::thread::Builder::new().name("webhook".into()).spawn(move || worker.run())?;
            running.threads.push((format!("webhook {name}"), thread));
        }
        Ok(running)
    }

    /// Ends the threads; those that hang in a request are left behind. Blocks.
    pub fn stop(self) {
        self.cancel.cancel();
        let start = Instant::now();
        for (id, thread) in self.threads {
            while !thread.is_finished() && start.elapsed() < STOP {
                std::thread::sleep(Duration::from_millis(5));
            }
            if !thread.is_finished() {
                warn!(receiver = %id, "a request hangs; what it sends is sent again at the next start");
            } else if thread.join().is_err() {
                error!(receiver = %id, "ended in a panic");
            }
        }
    }
}

impl std::fmt::Debug for Notifiers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.threads.iter().map(|(id, _)| id)).finish()
    }
}
