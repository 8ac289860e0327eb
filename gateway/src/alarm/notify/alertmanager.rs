//! The thread of one Alertmanager: sends what its plan says.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use parkgate_rules::alarm::UtcMillis;
use tracing::error;

use super::super::outbox::Outbox;
use super::super::settings::AlertmanagerSettings;
use super::client::{Client, Verdict};
use super::common::{Cancelled, Common, TROUBLE};
use super::plan::{Alert, Plan, Push};
use crate::store::StoreError;

/// Alerts in one request.
const BATCH: usize = 64;
/// Longest wait for news; then it is looked for what is to be sent again.
const IDLE: Duration = Duration::from_millis(500);
/// What was over so long ago is not sent again after a restart.
const RESOLVED_MS: i64 = 15 * 60_000;

/// See the module.
pub(super) struct Worker {
    settings: AlertmanagerSettings,
    client: Client,
    common: Common,
    generator_url: Option<String>,
    /// The last event that was sent, taken or not.
    attempted: u64,
}

/// What became of some alerts.
enum Sent {
    /// Some were taken; these were refused one by one, with the receiver's words.
    Done { taken: Vec<Push>, bad: Vec<(Push, String)> },
    /// The rest waits.
    Away { taken: Vec<Push>, why: String, after: Option<Duration>, refused: bool },
}

impl Worker {
    pub(super) fn new(settings: AlertmanagerSettings, client: Client, common: Common, external_url: Option<&str>) -> Self {
        Self { settings, client, common, generator_url: external_url.map(str::to_owned), attempted: 0 }
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
        let (outbox, mut noted) = self.common.open()?;
        self.attempted = self.attempted.max(noted);
        let mut plan = Plan::new(self.settings.resend_s, self.settings.hold_s);
        let now = self.common.now();
        let of_late = outbox.events_since(now.plus(-RESOLVED_MS), noted)?;
        let on = outbox.standing()?.into_iter().filter(|event| event.seq <= noted);
        plan.resume(noted, of_late.into_iter().chain(on));
        loop {
            if self.common.cancel.is_cancelled() {
                return Ok(Cancelled);
            }
            self.common.look();
            let now = self.common.now();
            plan.fill(now, |after, limit| outbox.events(after, limit))?;
            let (depth, oldest) = plan.waiting();
            self.common.waiting(depth, oldest);
            let due = plan.due(now, BATCH, self.generator_url.as_deref());
            if due.is_empty() {
                note(&outbox, &self.common.id, &plan, &mut noted)?;
                if self.common.idle(IDLE).is_err() {
                    return Ok(Cancelled);
                }
                continue;
            }
            self.first_attempts(&due, now);
            let wait = self.send(&outbox, &mut plan, due);
            note(&outbox, &self.common.id, &plan, &mut noted)?;
            if let Some(wait) = wait
                && self.common.wait(wait).is_err()
            {
                return Ok(Cancelled);
            }
        }
    }

    /// Measures how long events took until they are sent first.
    fn first_attempts(&mut self, due: &[Push], now: UtcMillis) {
        let news = due.iter().filter(|push| push.seq > self.attempted);
        for push in news {
            let seconds = now.since(push.made).max(0) as f64 / 1_000.0;
            self.common.metrics().alarm_first_attempt.with_label_values(&[&self.common.id]).observe(seconds);
        }
        self.attempted = due.iter().map(|push| push.seq).fold(self.attempted, u64::max);
    }

    /// Sends alerts; how long to wait when they were not all taken.
    fn send(&mut self, outbox: &Outbox, plan: &mut Plan, due: Vec<Push>) -> Option<Duration> {
        let sent = self.deliver(due);
        let now = self.common.now();
        match sent {
            Sent::Done { taken, bad } => {
                if !taken.is_empty() {
                    self.common.fine(taken.len());
                    plan.taken(&taken, now);
                }
                if bad.is_empty() {
                    return None;
                }
                let first = bad.first().map(|(_, why)| why.clone()).unwrap_or_default();
                let again = self.ask_again(plan, now, bad);
                if !again.taken.is_empty() {
                    self.common.fine(again.taken.len());
                    plan.taken(&again.taken, now);
                }
                if !again.is_sure {
                    return Some(self.common.away(&first, None, true));
                }
                for (push, why) in &again.bad {
                    self.common.dropped(outbox, push.seq, why);
                    plan.drop(push);
                }
                None
            }
            Sent::Away { taken, why, after, refused } => {
                plan.taken(&taken, now);
                Some(self.common.away(&why, after, refused))
            }
        }
    }

    /// Asks again for what was refused, between two alerts that are taken: is it these, or was nothing taken at all until the
    /// receiver came to itself in between?
    fn ask_again(&self, plan: &Plan, now: UtcMillis, bad: Vec<(Push, String)>) -> Again {
        let probe = plan.probe(now, self.generator_url.as_deref());
        let probe = probe.filter(|probe| bad.iter().all(|(push, _)| push.fingerprint != probe.fingerprint));
        let takes = || probe.as_ref().is_some_and(|probe| self.post(std::slice::from_ref(probe)) == Verdict::Taken);
        let mut again = Again::default();
        if !takes() {
            return again;
        }
        for (push, _) in bad {
            match self.post(std::slice::from_ref(&push)) {
                Verdict::Taken => again.taken.push(push),
                Verdict::Bad { why } => again.bad.push((push, why)),
                Verdict::Later { .. } | Verdict::Refused { .. } => return again,
            }
        }
        again.is_sure = again.bad.is_empty() || takes();
        again
    }

    /// Sends alerts, halving what is refused until the bad ones stand alone.
    fn deliver(&self, due: Vec<Push>) -> Sent {
        let (mut taken, mut bad) = (Vec::new(), Vec::new());
        let mut left = vec![due];
        while let Some(mut part) = left.pop() {
            match self.post(&part) {
                Verdict::Taken => taken.append(&mut part),
                Verdict::Bad { why } if part.len() == 1 => bad.extend(part.pop().map(|push| (push, why))),
                Verdict::Bad { .. } => {
                    let half = part.split_off(part.len() / 2);
                    left.push(half);
                    left.push(part);
                }
                Verdict::Later { why, after } => return Sent::Away { taken, why, after, refused: false },
                Verdict::Refused { why } => return Sent::Away { taken, why, after: None, refused: true },
            }
        }
        Sent::Done { taken, bad }
    }

    fn post(&self, pushes: &[Push]) -> Verdict {
        let alerts: Vec<&Alert> = pushes.iter().map(|push| &push.alert).collect();
        let body = serde_json::to_vec(&alerts).unwrap_or_default();
        self.client.post(&body, &[])
    }
}

/// What came of asking again.
#[derive(Default)]
struct Again {
    taken: Vec<Push>,
    bad: Vec<(Push, String)>,
    /// Others were taken before and after.
    is_sure: bool,
}

/// Notes how far the receiver has come.
fn note(outbox: &Outbox, id: &str, plan: &Plan, noted: &mut u64) -> Result<(), StoreError> {
    let delivered = plan.delivered();
    if delivered != *noted {
        outbox.set_target(id, delivered)?;
        *noted = delivered;
    }
    Ok(())
}
