//! Readings on their way to the pipeline.

use tokio::sync::mpsc::error::TrySendError;

use crate::driver::{Batch, LinkChange, Message, Outlet};
use crate::model::{LinkKey, Origin, Reading, UtcMillis};

/// Readings in one batch; a batch that reaches it is sent.
const BATCH_READINGS_MAX: usize = 2_000;
/// Answers that arrive within this time share a batch and its received time.
const BATCH_SPAN_MS: i64 = 5;

/// The pipeline is gone; there is nothing left to do.
pub(super) struct PipelineGone;

/// The batch that is being filled.
pub(super) struct Output {
    link: LinkKey,
    outlet: Outlet,
    readings: Vec<Reading>,
    received_time: UtcMillis,
    origin: Origin,
}

impl Output {
    /// Nothing yet.
    pub(super) fn new(link: LinkKey, outlet: Outlet) -> Self {
        Self { link, outlet, readings: Vec::new(), received_time: UtcMillis(0), origin: Origin::Metered }
    }

    /// The batch that a reading of `now` belongs to; one that is too old or of another origin is sent first.
    pub(super) async fn readings_at(&mut self, now: UtcMillis, origin: Origin) -> Result<&mut Vec<Reading>, PipelineGone> {
        let age_ms = now.since(self.received_time);
        if !(0..BATCH_SPAN_MS).contains(&age_ms) || origin != self.origin || self.readings.len() >= BATCH_READINGS_MAX {
            self.flush().await?;
        }
        if self.readings.is_empty() {
            (self.received_time, self.origin) = (now, origin);
        }
        Ok(&mut self.readings)
    }

    /// Sends the batch; waits while the pipeline is full.
    pub(super) async fn flush(&mut self) -> Result<(), PipelineGone> {
        match self.take() {
            Some(message) => self.send(message).await,
            None => Ok(()),
        }
    }

    /// Reports a change of state, after the readings before it.
    pub(super) async fn change(&mut self, device: &str, up: bool, why: String, time: UtcMillis) -> Result<(), PipelineGone> {
        self.flush().await?;
        self.send(Message::Link(LinkChange { link: self.link, device: device.to_owned(), up, why, time })).await
    }

    /// Sends what is left, if there is room.
    pub(super) fn try_flush(&mut self) {
        if let Some(message) = self.take() {
            let _ = self.outlet.try_send(message);
        }
    }

    async fn send(&mut self, message: Message) -> Result<(), PipelineGone> {
        match self.outlet.try_send(message) {
            Ok(()) => Ok(()),
            Err(TrySendError::Closed(_)) => Err(PipelineGone),
            Err(TrySendError::Full(message)) => self.outlet.send(message).await.map_err(|_| PipelineGone),
        }
    }

    fn take(&mut self) -> Option<Message> {
        if self.readings.is_empty() {
            return None;
        }
        let capacity = self.readings.len();
        Some(Message::Batch(Batch {
            link: self.link,
            received_time: self.received_time,
            readings: std::mem::replace(&mut self.readings, Vec::with_capacity(capacity)),
            origin: self.origin,
            deliveries: Vec::new(),
            rejected: Vec::new(),
            done: None,
        }))
    }
}
