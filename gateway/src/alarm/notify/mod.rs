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

use anyhow::{Context as _, Result};

use super::{Alarms, Receivers, Sources};
use crate::threads::Threads;
use client::Client;
use common::Common;

/// Starts a thread per receiver. Files that settings name are relative to `base`.
///
/// # Errors
/// A file of a secret or certificate cannot be used, or a thread cannot start. A receiver that does not answer is no
/// error.
pub fn start(receivers: Receivers<'_>, external_url: Option<&str>, base: &Path, alarms: &Alarms, sources: &Sources) -> Result<Threads> {
    let mut threads = Threads::default();
    for settings in receivers.alertmanagers {
        let name = format!("alertmanager {}", settings.name());
        let client = Client::alertmanager(settings, base).with_context(|| format!("[[gateway.alertmanager]] `{}`", settings.name()))?;
        let common = Common::new(&name, alarms, sources, threads.cancel().clone())?;
        // Its place is taken before the first event is made, or it would be one of those before its time.
        common.open()?;
        let worker = alertmanager::Worker::new(settings.clone(), client, common, external_url);
        threads.spawn(name, move || worker.run())?;
    }
    for settings in receivers.webhooks {
        let name = format!("webhook {}", settings.name());
        let client = Client::webhook(settings, base).with_context(|| format!("[[gateway.webhook]] `{}`", settings.name()))?;
        let common = Common::new(&name, alarms, sources, threads.cancel().clone())?;
        // Its place is taken before the first event is made, or it would be one of those before its time.
        common.open()?;
        let worker = webhook::Worker::new(settings, client, common, external_url, base)?;
        threads.spawn(name, move || worker.run())?;
    }
    Ok(threads)
}
