//! The search itself.

use std::time::Duration;

use super::hear::{EXCEPTION_BIT, Judged, Outcome, is_whole, judge, said};
use super::order::{BYTES, units_of, usual_first};
use super::report::{Fault, Finding, Identity, Scan, SettingReport};
use super::{Event, ScanPlan};
use crate::commission::sunspec::{Registers, walk};
use crate::driver::modbus::raw::{Heard, RawError, RawLine, Setting, Way};
use crate::protocol::modbus::overheard::{rtu_frame, tcp_frame};
use crate::protocol::modbus::rtu::FRAME_LENGTH_MAX;
use crate::protocol::modbus::{Function, identify};

/// Questions to a unit whose answers were garbled, the first included.
const TRIES: u32 = 3;
/// Questions to a unit that has answered.
const CONFIRMATIONS: u32 = 2;
/// After so many units in a row at which the connection ends, the first of them counted, it is seen whether it does so unasked.
const CLOSED_LOOK: usize = 8;
/// How much longer a unit may take that was heard late.
const PATIENCE: u32 = 5;
/// Ids that hardly any line has: a server that answers for all of them is one device that does not look at ids.
const UNLIKELY_UNITS: [u8; 3] = [247, 211, 173];
/// Exceptions that say nothing about the register that was asked for: device failure, acknowledge, busy (Modbus Application
/// Protocol V1.1b3, 7). Some gateways give them for units that are not there.
const NOT_OF_THE_REGISTER: [u8; 3] = [4, 5, 6];
/// Pages of a device identification that are asked for.
const PAGES_MAX: usize = 4;

/// Searches a line; what happens meanwhile is told.
///
/// Not to be dropped half-way where the line is used further.
pub async fn scan(plan: &ScanPlan, way: &mut Way, tell: &mut (dyn FnMut(Event<'_>) + Send)) -> Scan {
    let states = plan.settings.iter().map(|&setting| State::new(setting)).collect();
    let mut search = Search { plan, way, tell, states, findings: Vec::new() };
    search.run().await;
    search.finish()
}

/// What is known of a setting.
struct State {
    setting: Setting,
    report: SettingReport,
    asked: Vec<u8>,
    /// One device answers for all ids.
    ignores_ids: bool,
    /// Units asked last at which the connection ended, one behind the other, and why it did.
    closed: (usize, String),
}

impl State {
    fn new(setting: Setting) -> Self {
        let report = SettingReport { setting: setting.to_string(), ..SettingReport::default() };
        Self { setting, report, asked: Vec::new(), ignores_ids: false, closed: (0, String::new()) }
    }
}

struct Search<'a> {
    plan: &'a ScanPlan,
    way: &'a mut Way,
    tell: &'a mut (dyn FnMut(Event<'_>) + Send),
    states: Vec<State>,
    findings: Vec<Finding>,
}

/// A line, and what is noted of its setting.
struct Open<'a> {
    /// `None` while it is being opened again: two openings of one port exclude each other.
    line: Option<RawLine>,
    setting: Setting,
    report: &'a mut SettingReport,
    transaction: u16,
}

/// Who answers for ids that hardly any line has.
enum ForAll {
    /// Nobody, for one of them at least.
    Nobody,
    /// A device that does not look at ids.
    OneDevice,
    /// A gateway, by this exception: no unit is there.
    Gateway(u8),
}

/// The exception of an answer, if it is one.
fn exception_of(pdu: &[u8]) -> Option<u8> {
    match *pdu {
        [function, exception] if function & EXCEPTION_BIT != 0 => Some(exception),
        _ => None,
    }
}

/// A line that the other side leaves open for so long without a question. Errors: why it did not.
async fn stays(mut line: RawLine, time: Duration) -> Result<RawLine, String> {
    match line.exchange(&[], 0, time, &|_| false).await {
        Err(RawError::Lost(reason)) => Err(reason),
        Ok(_) | Err(RawError::Noise) => Ok(line),
    }
}

impl Search<'_> {
    async fn run(&mut self) {
        let (usual, others) = usual_first(&self.plan.units);
        for units in [usual, others] {
            for index in 0..self.states.len() {
                self.ask_units(index, &units).await;
                let found = self.states.get(index).is_some_and(|state| state.report.found > 0);
                if found {
                    self.ask_units(index, &self.plan.units).await;
                    if !self.plan.all_settings {
                        return;
                    }
                }
            }
        }
    }

    /// Asks those of `units` that were not asked at a setting yet.
    async fn ask_units(&mut self, index: usize, units: &[u8]) {
        let Some(state) = self.states.get_mut(index) else { return };
        let setting = state.setting;
        let mut units = units_of(setting, units);
        units.retain(|unit| !state.asked.contains(unit));
        if units.is_empty() || state.ignores_ids || state.report.refused.is_some() {
            return;
        }
        (self.tell)(Event::Asking { setting, units: &units });
        let is_first = state.asked.is_empty();
        let opened = RawLine::open(self.way, setting).await;
        let line = match opened {
            Ok(line) => line,
            Err(reason) => {
                (self.tell)(Event::Refused { setting, reason: &reason });
                // What is not about the setting is about the port: no other setting will do.
                let is_for_all = !reason.contains(&setting.to_string());
                state.report.refused = Some(reason.clone());
                for other in self.states.iter_mut().filter(|other| is_for_all && other.asked.is_empty()) {
                    other.report.refused.get_or_insert_with(|| reason.clone());
                }
                return;
            }
        };
        let mut open = Open { line: Some(line), setting, report: &mut state.report, transaction: 0 };
        if is_first && setting == Setting::Tcp {
            match open.answers_for_all(self.plan).await {
                Ok(ForAll::Nobody) => {}
                Ok(ForAll::OneDevice) => state.ignores_ids = true,
                Ok(ForAll::Gateway(exception)) => open.report.absent = Some(exception),
                // Told below, if it happens again.
                Err(_) => {
                    open.line = None;
                    open.line = RawLine::open(self.way, setting).await.ok();
                }
            }
        }
        let mut lost = 0u32;
        let mut at = 0usize;
        while let Some(&unit) = units.get(at) {
            let before = at.checked_sub(1).and_then(|before| units.get(before)).copied();
            match open.unit(self.plan, unit, before).await {
                Ok(found) => {
                    lost = 0;
                    state.closed.0 = 0;
                    at = at.saturating_add(1);
                    state.asked.push(unit);
                    for mut finding in found {
                        if self.findings.iter().any(|known| known.unit_id == finding.unit_id && known.setting == finding.setting) {
                            continue;
                        }
                        open.report.found = open.report.found.saturating_add(1);
                        if state.ignores_ids {
                            finding.remarks.push(format!(
                                "answers for every unit id ({} were tried): one device that does not look at ids; any of them will do",
                                super::report::list(&UNLIKELY_UNITS)
                            ));
                        }
                        (self.tell)(Event::Found(&finding));
                        self.findings.push(finding);
                    }
                    if state.ignores_ids && open.report.found > 0 {
                        break;
                    }
                }
                Err(RawError::Noise) => {
                    open.report.noise = true;
                    break;
                }
                Err(RawError::Lost(reason)) => {
                    lost = lost.saturating_add(1);
                    open.line = None;
                    let mut again = RawLine::open(self.way, setting).await;
                    if lost >= TRIES {
                        // Some gateways end the connection for a unit that they do not know. One that ends unasked is somebody
                        // else's.
                        if state.closed.0.is_multiple_of(CLOSED_LOOK) {
                            again = match again {
                                Ok(line) => stays(line, self.plan.timeout).await,
                                refused => refused,
                            };
                        }
                        lost = 0;
                        at = at.saturating_add(1);
                        state.asked.push(unit);
                        state.closed = (state.closed.0.saturating_add(1), reason);
                    }
                    match again {
                        Ok(line) => open.line = Some(line),
                        Err(reason) => {
                            (self.tell)(Event::Refused { setting, reason: &reason });
                            open.report.refused = Some(reason);
                            break;
                        }
                    }
                }
            }
        }
        state.report.asked = state.asked.len();
    }

    /// Units that stayed garbled where others are sound are findings of their own.
    fn finish(mut self) -> Scan {
        for state in self.states.iter_mut().filter(|state| state.closed.0 > 0 && state.closed.0 == state.asked.len()) {
            // It stays open unasked, and ends at each question: no unit, or no Modbus.
            if state.report.refused.is_none() {
                (self.tell)(Event::Refused { setting: state.setting, reason: &state.closed.1 });
                state.report.refused = Some(std::mem::take(&mut state.closed.1));
            }
        }
        for state in self.states.iter().filter(|state| state.report.found > 0) {
            for &unit_id in &state.report.garbled {
                // At another setting it may be sound: then this one is wrong for it.
                if self.findings.iter().any(|known| known.unit_id == unit_id) {
                    continue;
                }
                let finding = Finding {
                    setting: state.report.setting.clone(),
                    unit_id,
                    fault: Some(Fault::BadCrc),
                    answer: String::new(),
                    time_ms: 0,
                    identity: None,
                    sunspec: None,
                    remarks: vec![Fault::BadCrc.remedy().to_owned()],
                };
                (self.tell)(Event::Found(&finding));
                self.findings.push(finding);
            }
        }
        let settings = self.states.into_iter().map(|state| state.report).collect();
        Scan { findings: self.findings, settings }
    }
}

impl Open<'_> {
    /// Sends a PDU to a unit and judges what comes, most likely so many bytes.
    async fn exchange(&mut self, unit: u8, pdu: &[u8], answer_bytes: usize, timeout: Duration) -> Result<(Judged, Heard), RawError> {
        let setting = self.setting;
        self.transaction = self.transaction.wrapping_add(1);
        let frame = match setting {
            Setting::Tcp => tcp_frame(self.transaction, unit, pdu),
            Setting::Serial(_) | Setting::RtuOverTcp => rtu_frame(unit, pdu),
        };
        let whole = |received: &[u8]| is_whole(setting, &frame, unit, received);
        let Some(line) = &mut self.line else { return Err(RawError::Lost("there is no connection".to_owned())) };
        let heard = line.exchange(&frame, answer_bytes, timeout, &whole).await?;
        let mut judged = judge(setting, &frame, unit, &heard);
        if matches!(&judged.outcome, Outcome::Answer(answer) if exception_of(answer).is_some_and(|it| self.report.absent == Some(it))) {
            judged.outcome = Outcome::Absent;
        }
        self.report.echo |= judged.echo;
        self.report.other_master |= judged.other_master;
        Ok((judged, heard))
    }

    /// Asks a unit for its register.
    async fn ask(&mut self, plan: &ScanPlan, unit: u8, timeout: Duration) -> Result<(Judged, Heard), RawError> {
        let [high, low] = plan.address.to_be_bytes();
        self.exchange(unit, &[plan.function.code(), high, low, 0, 1], BYTES.1, timeout).await
    }

    /// Whether a server answers for ids that nobody has.
    async fn answers_for_all(&mut self, plan: &ScanPlan) -> Result<ForAll, RawError> {
        let mut exceptions = Vec::new();
        for unit in UNLIKELY_UNITS {
            let (judged, _) = self.ask(plan, unit, plan.timeout).await?;
            let Outcome::Answer(answer) = judged.outcome else { return Ok(ForAll::Nobody) };
            exceptions.push(exception_of(&answer));
        }
        let mut of_none = exceptions.iter().flatten().filter(|exception| NOT_OF_THE_REGISTER.contains(exception));
        Ok(match of_none.next() {
            None => ForAll::OneDevice,
            Some(first) if of_none.all(|other| other == first) => ForAll::Gateway(*first),
            Some(_) => ForAll::Nobody,
        })
    }

    /// Asks a unit, and whoever else was heard meanwhile; `before` was asked before it.
    async fn unit(&mut self, plan: &ScanPlan, unit: u8, before: Option<u8>) -> Result<Vec<Finding>, RawError> {
        let mut found = Vec::new();
        let mut late: Vec<u8> = Vec::new();
        let mut garbled = 0u32;
        let (mut judged, mut heard) = self.ask(plan, unit, plan.timeout).await?;
        late.append(&mut judged.others);
        while judged.outcome == Outcome::Garbled {
            garbled = garbled.saturating_add(1);
            if garbled >= TRIES {
                break;
            }
            (judged, heard) = self.ask(plan, unit, plan.timeout).await?;
            late.append(&mut judged.others);
        }
        match judged.outcome {
            Outcome::Answer(pdu) => {
                let fault = (garbled > 0).then_some(Fault::BadCrc);
                found.push(self.confirm(plan, unit, &pdu, &heard, fault, plan.timeout).await?);
            }
            Outcome::TwoAnswers(pdu) => found.push(self.confirm(plan, unit, &pdu, &heard, Some(Fault::TwoAnswers), plan.timeout).await?),
            Outcome::Garbled => self.report.garbled.push(unit),
            // Garbled once, then silent: the one before it was late, and spoke into our question.
            Outcome::Silence if garbled > 0 => late.extend(before),
            Outcome::Silence | Outcome::Absent => {}
        }
        let mut at = 0usize;
        while let Some(&other) = late.get(at) {
            at = at.saturating_add(1);
            let known = found.iter().any(|it| it.unit_id == other) || late.iter().take(at.saturating_sub(1)).any(|done| *done == other);
            if known || !plan.units.contains(&other) {
                continue;
            }
            let patient = plan.timeout.saturating_mul(PATIENCE);
            let (mut judged, heard) = self.ask(plan, other, patient).await?;
            late.append(&mut judged.others);
            if let Outcome::Answer(pdu) | Outcome::TwoAnswers(pdu) = judged.outcome {
                let is_late = heard.time.is_some_and(|time| time > plan.timeout);
                found.push(self.confirm(plan, other, &pdu, &heard, is_late.then_some(Fault::Late), patient).await?);
            }
        }
        Ok(found)
    }

    /// Asks a unit that has answered again, and who made it.
    async fn confirm(
        &mut self,
        plan: &ScanPlan,
        unit_id: u8,
        pdu: &[u8],
        heard: &Heard,
        mut fault: Option<Fault>,
        timeout: Duration,
    ) -> Result<Finding, RawError> {
        for _ in 0..CONFIRMATIONS {
            let (judged, _) = self.ask(plan, unit_id, timeout).await?;
            let seen = match judged.outcome {
                Outcome::Answer(_) => None,
                Outcome::TwoAnswers(_) => Some(Fault::TwoAnswers),
                Outcome::Garbled => Some(Fault::BadCrc),
                Outcome::Silence | Outcome::Absent => Some(Fault::Unsteady),
            };
            // Two answers are said before all, then what was seen first.
            if seen == Some(Fault::TwoAnswers) || fault.is_none() {
                fault = seen.or(fault);
            }
        }
        let identity = self.identity(unit_id, timeout).await?;
        let time_ms = heard.time.map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        Ok(Finding {
            setting: self.setting.to_string(),
            unit_id,
            fault,
            answer: said(plan.function, plan.address, pdu),
            time_ms,
            identity,
            sunspec: walk(&mut Heads { open: self, unit: unit_id, timeout }).await,
            remarks: fault.map(|fault| fault.remedy().to_owned()).into_iter().collect(),
        })
    }

    /// Who made a unit, where it says so.
    async fn identity(&mut self, unit: u8, timeout: Duration) -> Result<Option<Identity>, RawError> {
        let mut identity = Identity::default();
        let mut object = 0;
        for _ in 0..PAGES_MAX {
            let (judged, _) = self.exchange(unit, &identify::request(object), FRAME_LENGTH_MAX, timeout).await?;
            let (Outcome::Answer(pdu) | Outcome::TwoAnswers(pdu)) = judged.outcome else { break };
            let Some(page) = identify::parse(&pdu) else { break };
            for (id, text) in page.objects {
                match id {
                    0 => identity.vendor = text,
                    1 => identity.product = text,
                    2 => identity.revision = text,
                    _ => {}
                }
            }
            let Some(next) = page.next.filter(|next| *next <= 2) else { break };
            object = next;
        }
        Ok(Some(identity).filter(|identity| *identity != Identity::default()))
    }
}

/// Holding registers of a unit on an open line.
struct Heads<'a, 'b> {
    open: &'a mut Open<'b>,
    unit: u8,
    timeout: Duration,
}

impl Registers for Heads<'_, '_> {
    async fn read(&mut self, address: u16, quantity: u16) -> Result<Option<Vec<u8>>, ()> {
        let ([a1, a0], [q1, q0]) = (address.to_be_bytes(), quantity.to_be_bytes());
        let function = Function::HoldingRegisters.code();
        let bytes = usize::from(quantity).saturating_mul(2);
        let asked = self.open.exchange(self.unit, &[function, a1, a0, q1, q0], bytes.saturating_add(5), self.timeout).await;
        match asked.map_err(drop)?.0.outcome {
            Outcome::Answer(pdu) => match pdu.split_first_chunk::<2>() {
                Some((&[code, count], data)) if code == function && usize::from(count) == bytes && data.len() == bytes => {
                    Ok(Some(data.to_vec()))
                }
                _ => Ok(None),
            },
            _ => Err(()),
        }
    }
}
