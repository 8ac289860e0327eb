//! What a search found, in words and as configuration.

use std::fmt::Write as _;

use serde::Serialize;

use super::super::sunspec::SunSpec;
use crate::driver::modbus::raw::{Setting, Way};

/// What is wrong with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Two answers to one question.
    TwoAnswers,
    /// Bytes, but not those that were sent.
    BadCrc,
    /// Some questions were not answered.
    Unsteady,
    /// It answers after the time that was allowed.
    Late,
}

impl Fault {
    /// What was seen.
    pub const fn text(self) -> &'static str {
        match self {
            Self::TwoAnswers => "TWO ANSWERS to one question",
            Self::BadCrc => "BAD CRC",
            Self::Unsteady => "answers only now and then",
            Self::Late => "answers late",
        }
    }

    /// What to do.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::TwoAnswers => {
                "two units have this id, or an adapter sends everything twice: take one unit off the line, and give it another id"
            }
            Self::BadCrc => {
                "answers are heard well at this setting, so the speed is right: two units with this id that answer at once, a bad \
                 contact, or a missing terminating resistor"
            }
            Self::Unsteady => "look at contacts, terminating resistors and the length of the line, or raise --timeout-ms",
            Self::Late => "set timeout_ms of its link well above this time",
        }
    }
}

/// Who made a unit, by its own word (function 43, MEI type 14).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// Maker.
    pub vendor: String,
    /// Product code.
    pub product: String,
    /// Revision.
    pub revision: String,
}

/// A unit, or a fault at a unit id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How it was asked: `9600 8N1`, `RTU over TCP`, `Modbus TCP`.
    pub setting: String,
    /// Its id.
    pub unit_id: u8,
    /// What is wrong, if something is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    /// What it answered; empty: nothing that can be read.
    pub answer: String,
    /// Time to its answer, in milliseconds.
    pub time_ms: u64,
    /// Who made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// Its SunSpec models.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sunspec: Option<SunSpec>,
    /// What else a person should know, and what to do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
}

impl Finding {
    /// Who made it, as a comment; empty: it does not say.
    fn maker(&self) -> String {
        let by_identity = self.identity.as_ref().map(|it| [&it.vendor, &it.product, &it.revision].map(String::as_str));
        let by_models = || self.sunspec.as_ref()?.common.as_ref().map(|it| [&it.maker, &it.model, &it.version].map(String::as_str));
        by_identity.or_else(by_models).map_or(String::new(), |texts| format!("   # {}", texts.join(" ")).trim_end().to_owned())
    }
}

/// What was heard at a setting.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SettingReport {
    /// The setting.
    pub setting: String,
    /// How many units were asked.
    pub asked: usize,
    /// How many answered so that it could be read.
    pub found: usize,
    /// Units asked when bytes came that are no frame.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub garbled: Vec<u8>,
    /// What was sent came back.
    pub echo: bool,
    /// Requests were heard that are not ours.
    pub other_master: bool,
    /// Bytes never cease.
    pub noise: bool,
    /// The exception by which a gateway says that a unit is not there, where it is one that units have, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub absent: Option<u8>,
    /// Why it could not be had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

impl SettingReport {
    /// What the setting is like, in a few words, and what to do.
    pub fn verdict(&self) -> String {
        let mut text = if let Some(refused) = &self.refused {
            refused.clone()
        } else if self.noise {
            "bytes keep coming though nothing was asked: another master, or a line without bias".to_owned()
        } else if self.found > 0 {
            format!("{} of {} units", self.found, self.asked)
        } else if !self.garbled.is_empty() {
            format!(
                "bad CRC: bytes that are no frame, asking unit{} {}: wrong speed or parity for them, A and B swapped, or two units \
                 with one id",
                if self.garbled.len() == 1 { "" } else { "s" },
                list(&self.garbled)
            )
        } else if self.asked == 0 {
            "not asked".to_owned()
        } else if self.echo {
            "own echo and nothing else: the adapter hears itself, no unit answers; check A and B, power and unit ids".to_owned()
        } else if let Some(exception) = self.absent {
            format!("exception {exception} for every unit id: a gateway without units, or a device that is not ready")
        } else {
            "silence".to_owned()
        };
        if let Some(exception) = self.absent.filter(|_| self.found > 0) {
            let _ = write!(text, "; units that answer exception {exception} were taken for absent, as those that nobody has do");
        }
        if self.other_master {
            text.push_str("; another master asks on this line: a line has one master, end the other one");
        }
        if self.echo && self.found > 0 {
            text.push_str("; the adapter gives back what is sent, which the gateway finds out by itself (echo = \"auto\")");
        }
        text
    }
}

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Scan {
    /// Units and faults, in order of discovery.
    pub findings: Vec<Finding>,
    /// The settings that were tried.
    pub settings: Vec<SettingReport>,
}

impl Scan {
    /// Whether units were found and nothing is wrong.
    pub fn is_fine(&self) -> bool {
        !self.findings.is_empty()
            && self.findings.iter().all(|finding| finding.fault.is_none())
            && !self.settings.iter().any(|setting| setting.other_master)
    }

    /// What to do when nothing was found; `None` where something was.
    pub fn advice(&self) -> Option<String> {
        if !self.findings.is_empty() {
            return None;
        }
        let garbled: Vec<&str> =
            self.settings.iter().filter(|report| !report.garbled.is_empty()).map(|report| report.setting.as_str()).collect();
        let text = if self.settings.iter().all(|report| report.refused.is_some()) {
            "nothing could be asked: see the reasons above".to_owned()
        } else if !garbled.is_empty() {
            format!(
                "units send something ({}), so there is a way to them: try other speeds and parities, swap A and B, look for two units with one id",
                garbled.join(", ")
            )
        } else if self.settings.iter().any(|report| report.other_master || report.noise) {
            "another master talks on this line: end it, then search again".to_owned()
        } else if self.settings.iter().any(|report| report.absent.is_some()) {
            "something answers, and no unit does: check power, wiring and unit ids behind the gateway".to_owned()
        } else if self.settings.iter().any(|report| report.echo) {
            "only our own echo: the adapter works, but no unit answers; check A and B, power and unit ids".to_owned()
        } else {
            "silence everywhere: check power, A and B, the common wire, the adapter's direction switch, and unit ids; slow units need a \
             longer --timeout-ms"
                .to_owned()
        };
        Some(text)
    }

    /// A link and devices to paste, where units were found. `path` stands for the port, where it has a better name.
    ///
    /// Which profile a unit needs it does not say by itself: the place is marked. What was found at further settings of the
    /// same port is commented out: the port has one.
    pub fn snippet(&self, way: &Way, path: Option<&str>, settings: &[Setting]) -> Option<String> {
        let mut text = String::new();
        let mut several = 0u32;
        for setting in settings {
            let name = setting.to_string();
            let units: Vec<&Finding> = self.findings.iter().filter(|found| found.setting == name && !found.answer.is_empty()).collect();
            if units.is_empty() {
                continue;
            }
            several = several.saturating_add(1);
            let link = format!("line-{several}");
            let mut block = format!("[[link]]\nid = \"{link}\"\n{}", keys(way, path, *setting));
            let slowest = units.iter().filter(|found| found.fault == Some(Fault::Late)).map(|found| found.time_ms).max();
            if let Some(slowest) = slowest {
                let _ = writeln!(block, "timeout_ms = {}", slowest.saturating_mul(2).clamp(1_000, 600_000));
            }
            for unit in units {
                let _ = write!(block, "\n[[device]]\nid = \"{link}-unit-{id}\"{}\nlink = \"{link}\"\n", unit.maker(), id = unit.unit_id);
                let _ = match unit.sunspec.as_ref().and_then(SunSpec::profile) {
                    Some(profile) => writeln!(block, "profile = \"{profile}\""),
                    None => writeln!(block, "profile = \"{PROFILE}\"   # name the profile of this model"),
                };
                let _ = writeln!(block, "modbus = {{ unit_id = {} }}", unit.unit_id);
            }
            if several > 1 {
                let first = "# A port has one speed, so these have to be set to that of the others:\n".to_owned();
                block = block.lines().fold(first, |text, line| text + format!("# {line}").trim_end() + "\n");
            }
            text.push_str(&block);
            text.push('\n');
        }
        (several > 0).then(|| text.trim_end().to_owned())
    }
}

/// What stands for a profile in a snippet.
pub const PROFILE: &str = "CHANGE-ME";

/// Where a link is, as configuration.
fn keys(way: &Way, path: Option<&str>, setting: Setting) -> String {
    // JSON texts are TOML texts.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let place = match way {
        Way::Serial { path: own, .. } => format!("path = {}\n", quoted(path.unwrap_or(own))),
        Way::Tcp { host, port, .. } => format!("host = {}\nport = {port}\n", quoted(host)),
        #[cfg(test)]
        Way::Ends(_) => "path = \"/dev/ttyUSB0\"\n".to_owned(),
    };
    match setting {
        Setting::Serial(format) => {
            let (baud, form) = (format.baud, format.to_string());
            let form = form.split(' ').next_back().unwrap_or_default();
            format!("driver = \"modbus_rtu\"\n{place}baud = {baud}\nformat = \"{form}\"\n")
        }
        Setting::RtuOverTcp => format!("driver = \"modbus_rtu_over_tcp\"\n{place}"),
        Setting::Tcp => format!("driver = \"modbus_tcp\"\n{place}"),
    }
}

/// `3, 7-9`.
pub fn list(units: &[u8]) -> String {
    let mut parts: Vec<(u8, u8)> = Vec::new();
    for &unit in units {
        match parts.last_mut() {
            Some((_, to)) if to.checked_add(1) == Some(unit) => *to = unit,
            _ => parts.push((unit, unit)),
        }
    }
    let texts: Vec<String> = parts.iter().map(|(from, to)| if from == to { from.to_string() } else { format!("{from}-{to}") }).collect();
    texts.join(", ")
}
