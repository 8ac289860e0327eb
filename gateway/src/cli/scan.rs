//! `parkgate scan`: which units a Modbus line has, at which speed and parity, and what is wrong with it. Only reads.
//!
//! What is found goes to standard output as it is found, what is being asked to standard error. `--json` prints one
//! object a line: `{"kind": "unit", ...}` with the fields of [`Finding`], then `{"kind": "setting", ...}` with those of
//! `SettingReport` and `verdict`, at last `{"kind": "end", "advice", "snippet"}`. Exit 0: units were found and nothing is
//! wrong; 1: nothing, or something is wrong; 2: nothing could be asked.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use parkgate_collector::catalogue::{Disk, DriverSettings, MemoryRegistry, Parity};
use parkgate_collector::commission::scan::order::{PARITIES, SPEEDS, expected, parse_units, serial_settings, units_of};
use parkgate_collector::commission::scan::{Event, Fault, Finding, Scan, ScanPlan, report, scan as search};
use parkgate_collector::driver::modbus::raw::{Setting, Way};
use parkgate_collector::protocol::modbus::Function;
use serde_json::{Value, json};

use super::probe::host_and_port;
use crate::app::{self, Exit};
use crate::control;

/// Longest wait for an answer unless given: on a line, where units answer by themselves, and behind TCP.
const TIMEOUT_MS: (u32, u32) = (300, 1_000);
/// Units asked unless given; on TCP also the ids of devices with a port of their own.
const UNITS: &str = "1-247";
const UNITS_TCP: &str = "1-247,255,0";

/// Arguments of `scan`.
#[derive(Debug, Args)]
pub struct ScanArguments {
    /// Serial port to search, best by its name in /dev/serial/by-id/.
    #[arg(long, value_name = "DEVICE", required_unless_present_any = ["tcp", "line"], conflicts_with_all = ["tcp", "line"])]
    pub port: Option<PathBuf>,
    /// Modbus gateway, converter or device to search, with its port unless 502.
    #[arg(long, value_name = "HOST[:PORT]", conflicts_with = "line")]
    pub tcp: Option<String>,
    /// Id of a link of the configuration to search, as it is configured there.
    #[arg(long, value_name = "LINK")]
    pub line: Option<String>,
    /// Main configuration file, for `--line`.
    #[arg(long, value_name = "FILE", default_value_os_t = super::default_config())]
    pub config: PathBuf,
    /// Speeds to try on a serial port, the likely ones first; 9600,19200,38400,115200,4800,2400,57600,1200 unless given.
    #[arg(long, value_name = "BAUD,...", value_delimiter = ',', conflicts_with = "tcp", value_parser = clap::value_parser!(u32).range(300..=4_000_000))]
    pub speeds: Vec<u32>,
    /// Parities to try on a serial port; none,even,odd unless given.
    #[arg(long, value_name = "PARITY,...", value_delimiter = ',', conflicts_with = "tcp")]
    pub parities: Vec<ParityName>,
    /// Frames to try on TCP; both unless given.
    #[arg(long, value_name = "FRAMING", requires = "tcp")]
    pub framing: Option<FramingName>,
    /// Unit ids to ask: 1-247 or 1,3,10-12. On TCP 255 and 0 too unless given.
    #[arg(long, value_name = "IDS", value_parser = parse_unit_list)]
    pub units: Option<UnitList>,
    /// Longest wait for an answer, in milliseconds; 300 on a serial port, else 1000.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub timeout_ms: Option<u32>,
    /// Function to read with: 3 (holding) or 4 (input registers).
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(3..=4))]
    pub function: u8,
    /// Protocol address of the register to read, from 0.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub address: u16,
    /// Go on with the other speeds and parities when units were found.
    #[arg(long)]
    pub all: bool,
    /// Print one JSON object per line.
    #[arg(long)]
    pub json: bool,
}

/// A parity by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ParityName {
    /// No parity bit.
    None,
    /// Even.
    Even,
    /// Odd.
    Odd,
}

/// Frames by their name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FramingName {
    /// Modbus TCP.
    Tcp,
    /// RTU frames.
    Rtu,
}

/// Unit ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitList(Vec<u8>);

fn parse_unit_list(text: &str) -> Result<UnitList, String> {
    parse_units(text).map(UnitList)
}

/// What is searched, and what to say beforehand.
struct Target {
    way: Way,
    plan: ScanPlan,
    notes: Vec<String>,
}

/// `parkgate scan`.
pub fn scan(arguments: &ScanArguments) -> Result<ExitCode> {
    let Target { mut way, plan, notes } = target(arguments)?;
    for note in &notes {
        super::complain_text(note);
    }
    super::complain_text(&beforehand(&way, &plan));
    if !arguments.json {
        super::say(&heading());
    }
    let mut tell = |event: Event<'_>| match event {
        Event::Asking { setting, units } => super::complain_text(&format!("{setting}: asking {} units", units.len())),
        Event::Found(found) if arguments.json => super::say(&with_kind("unit", found).to_string()),
        Event::Found(found) => super::say(row(found).trim_end()),
        Event::Refused { setting, reason } => super::complain_text(&format!("{setting}: {reason}")),
    };
    let found = app::runtime()?.block_on(search(&plan, &mut way, &mut tell));
    let by_id = match &way {
        Way::Serial { path, .. } => by_id_name(Path::new("/dev/serial/by-id"), Path::new(path)),
        Way::Tcp { .. } => None,
    };
    let snippet = found.snippet(&way, by_id.as_deref().and_then(Path::to_str), &plan.settings);
    if arguments.json {
        print_json(&found, snippet.as_deref());
    } else {
        super::say(ending(&found, snippet.as_deref()).trim_end());
    }
    let unasked = found.settings.iter().all(|setting| setting.refused.is_some()) && found.findings.is_empty();
    Ok(match (unasked, found.is_fine()) {
        (true, _) => ExitCode::from(Exit::CouldNotRun as u8),
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::from(Exit::Problems as u8),
    })
}

fn target(arguments: &ScanArguments) -> Result<Target> {
    let mut notes = Vec::new();
    let (way, mut settings) = match (&arguments.port, &arguments.tcp, &arguments.line) {
        (Some(port), ..) => {
            let path = port.to_str().with_context(|| format!("{} is no name of a port", port.display()))?.to_owned();
            (Way::Serial { path, rs485: None }, Vec::new())
        }
        (None, Some(tcp), _) => {
            let (host, port) = host_and_port(tcp)?;
            let framings = match arguments.framing {
                None => vec![Setting::Tcp, Setting::RtuOverTcp],
                Some(FramingName::Tcp) => vec![Setting::Tcp],
                Some(FramingName::Rtu) => vec![Setting::RtuOverTcp],
            };
            (Way::Tcp { host, port, connect_timeout: Duration::from_secs(5) }, framings)
        }
        (None, None, Some(line)) => by_config(&arguments.config, line, &mut notes)?,
        (None, None, None) => bail!("name a port with --port, a server with --tcp, or a link of the configuration with --line"),
    };
    let is_serial = matches!(way, Way::Serial { .. });
    if is_serial && (settings.is_empty() || !arguments.speeds.is_empty() || !arguments.parities.is_empty()) {
        let parities: Vec<Parity> = arguments.parities.iter().map(|parity| parity.parity()).collect();
        let speeds = if arguments.speeds.is_empty() { &SPEEDS[..] } else { &arguments.speeds };
        settings = serial_settings(speeds, if parities.is_empty() { &PARITIES } else { &parities });
    } else if !is_serial && (!arguments.speeds.is_empty() || !arguments.parities.is_empty()) {
        bail!("speeds and parities are those of the converter, and are set there: leave out --speeds and --parities");
    }
    let units = match &arguments.units {
        Some(UnitList(units)) => units.clone(),
        None => parse_units(if is_serial { UNITS } else { UNITS_TCP }).map_err(anyhow::Error::msg)?,
    };
    if settings.iter().all(|setting| units_of(*setting, &units).is_empty()) {
        bail!("no unit to ask: ids on a serial line are 1 to 247");
    }
    let timeout_ms = arguments.timeout_ms.unwrap_or(if is_serial { TIMEOUT_MS.0 } else { TIMEOUT_MS.1 });
    let plan = ScanPlan {
        settings,
        units,
        timeout: Duration::from_millis(timeout_ms.into()),
        function: if arguments.function == 4 { Function::InputRegisters } else { Function::HoldingRegisters },
        address: arguments.address,
        all_settings: arguments.all,
    };
    Ok(Target { way, plan, notes })
}

/// Where a link of the configuration is, and how it is spoken to. A line that a running gateway owns is refused.
fn by_config(config: &Path, line: &str, notes: &mut Vec<String>) -> Result<(Way, Vec<Setting>)> {
    let loaded = app::load(config, &Disk)?;
    let data = app::base_of(config).join(&loaded.gateway.data_directory);
    let catalogue = loaded.draft.build(&mut MemoryRegistry::default()).context("the points cannot be numbered")?;
    let Some(link) = catalogue.links.iter().find(|link| link.id == line) else {
        let known: Vec<&str> = catalogue.links.iter().map(|link| link.id.as_str()).collect();
        bail!("there is no link `{line}` in {}; there are: {}", config.display(), known.join(", "));
    };
    let is_running = control::is_running(&data);
    if is_running && link.driver.is_rtu() {
        bail!(
            "a gateway is running on this configuration and asks on {}: a line has one master; stop the gateway for a moment",
            link.driver.peer()
        );
    }
    if is_running {
        notes.push(format!(
            "a gateway is running on this configuration and polls link `{line}`: this is one more connection beside its own, which \
             many devices do not take"
        ));
    }
    Ok(match &link.driver {
        DriverSettings::ModbusRtu(settings) => {
            (Way::Serial { path: settings.path.clone(), rs485: settings.rs485 }, vec![Setting::Serial(settings.format)])
        }
        DriverSettings::ModbusTcp(settings) | DriverSettings::ModbusRtuOverTcp(settings) => {
            let connect_timeout = Duration::from_millis(settings.connect_timeout_ms.into());
            let setting = if link.driver.is_rtu() { Setting::RtuOverTcp } else { Setting::Tcp };
            (Way::Tcp { host: settings.host.clone(), port: settings.port, connect_timeout }, vec![setting])
        }
        DriverSettings::ModbusDialIn(_) => {
            bail!("link `{line}` waits for a device that connects to us: it cannot be searched; ask its devices with `parkgate probe`")
        }
        DriverSettings::Mqtt(_) | DriverSettings::Own => bail!("link `{line}` is no Modbus line"),
    })
}

impl ParityName {
    fn parity(self) -> Parity {
        match self {
            Self::None => Parity::None,
            Self::Even => Parity::Even,
            Self::Odd => Parity::Odd,
        }
    }
}

/// What will be asked and how long it takes.
fn beforehand(way: &Way, plan: &ScanPlan) -> String {
    let (first, all) = expected(&plan.settings, &plan.units, plan.timeout);
    let names: Vec<String> = plan.settings.iter().map(ToString::to_string).collect();
    let stop = if plan.all_settings { "" } else { "; the first at which units answer is the last" };
    format!(
        "{way}: units {} at {}{stop}. When nothing answers: {} for the usual units at each, {} for all",
        report::list(&plan.units),
        names.join(", "),
        duration(first),
        duration(all),
    )
}

/// `45 s`, `12 min`, `2 h 05 min`; rounded up.
fn duration(time: Duration) -> String {
    let seconds = time.as_millis().div_ceil(1_000);
    match (seconds, seconds.div_ceil(60)) {
        (0..=90, _) => format!("{seconds} s"),
        (_, minutes @ 0..=119) => format!("{minutes} min"),
        (_, minutes) => format!("{} h {:02} min", minutes / 60, minutes % 60),
    }
}

fn heading() -> String {
    format!("{:<12} {:>4} {:>8}  {:<40} {}", "setting", "unit", "ms", "answer", "who it is, or what is wrong")
}

/// A unit for people.
fn row(found: &Finding) -> String {
    let identity = found.identity.as_ref().map(|it| format!("{} {} {}", it.vendor, it.product, it.revision));
    let wrong = found.fault.map(|fault| Fault::text(fault).to_owned());
    let about: Vec<String> = [wrong, identity].into_iter().flatten().map(|text| text.trim().to_owned()).collect();
    let time = if found.answer.is_empty() { "-".to_owned() } else { found.time_ms.to_string() };
    let answer = if found.answer.is_empty() { "-" } else { &found.answer };
    let mut text = format!("{:<12} {:>4} {time:>8}  {answer:<40} {}", found.setting, found.unit_id, about.join("; "));
    text.truncate(text.trim_end().len());
    if let Some(sunspec) = &found.sunspec {
        text.push_str("\n    ");
        text.push_str(&sunspec.text().replace('\n', "\n    "));
    }
    for remark in &found.remarks {
        text.push_str("\n    -> ");
        text.push_str(remark);
    }
    text
}

/// What is said when all is done.
fn ending(found: &Scan, snippet: Option<&str>) -> String {
    let mut lines = vec![String::new()];
    let asked = found.settings.iter().filter(|setting| setting.asked > 0 || setting.refused.is_some() || setting.noise);
    lines.extend(asked.map(|setting| format!("{}: {}", setting.setting, setting.verdict())));
    lines.extend(found.advice().map(|advice| format!("-> {advice}")));
    if let Some(snippet) = snippet {
        lines.push("\n# To paste; name the profiles, then: parkgate check".to_owned());
        lines.push(snippet.to_owned());
    }
    lines.join("\n")
}

fn print_json(found: &Scan, snippet: Option<&str>) {
    for setting in &found.settings {
        let mut row = with_kind("setting", setting);
        if let Some(row) = row.as_object_mut() {
            row.insert("verdict".to_owned(), setting.verdict().into());
        }
        super::say(&row.to_string());
    }
    super::say(&json!({"kind": "end", "advice": found.advice(), "snippet": snippet}).to_string());
}

fn with_kind(kind: &str, row: &impl serde::Serialize) -> Value {
    let mut row = serde_json::to_value(row).unwrap_or_default();
    if let Some(row) = row.as_object_mut() {
        row.insert("kind".to_owned(), kind.into());
    }
    row
}

/// The name in a folder of links that leads to a port, and stays when adapters are plugged in another order.
fn by_id_name(folder: &Path, port: &Path) -> Option<PathBuf> {
    let wanted = std::fs::canonicalize(port).ok()?;
    let names = std::fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    names.filter(|name| std::fs::canonicalize(name).is_ok_and(|real| real == wanted)).min()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use parkgate_collector::commission::scan::{Identity, SettingReport};

    use super::super::{Cli, Command};
    use super::*;

    fn planned(line: &str) -> Result<Target> {
        match Cli::try_parse_from(line.split(' '))?.command {
            Command::Scan(arguments) => target(&arguments),
            _ => bail!("another command"),
        }
    }

    #[test]
    fn arguments_become_a_plan() {
        for (line, expected) in [
            ("parkgate scan --port /dev/ttyS9 --speeds 9600 --parities none --units 1-10", Some(("/dev/ttyS9", "9600 8N1", 10, 300))),
            ("parkgate scan --port /dev/ttyS9 --speeds 2400,9600 --parities even", Some(("/dev/ttyS9", "2400 8E1, 9600 8E1", 247, 300))),
            ("parkgate scan --tcp 192.0.2.1", Some(("192.0.2.1:502", "Modbus TCP, RTU over TCP", 249, 1_000))),
            ("parkgate scan --tcp 192.0.2.1:4001 --framing rtu --timeout-ms 50 --units 7", Some(("192.0.2.1:4001", "RTU over TCP", 1, 50))),
            ("parkgate scan --tcp 192.0.2.1 --speeds 9600", None),
            ("parkgate scan --port /dev/ttyS9 --tcp 192.0.2.1", None),
            ("parkgate scan --port /dev/ttyS9 --units 0", None),
            ("parkgate scan --port /dev/ttyS9 --function 16", None),
            ("parkgate scan", None),
        ] {
            let made = planned(line).ok().map(|made| {
                let names: Vec<String> = made.plan.settings.iter().map(ToString::to_string).collect();
                (made.way.to_string(), names.join(", "), made.plan.units.len(), made.plan.timeout.as_millis())
            });
            let expected = expected.map(|(way, names, units, ms): (&str, &str, usize, u128)| (way.to_owned(), names.to_owned(), units, ms));
            assert_eq!(made, expected, "{line}");
        }
    }

    #[test]
    fn a_link_of_the_configuration_is_searched_as_it_is_configured() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("park.toml");
        let text = "[park]\nid = \"p\"\n\
            [[link]]\nid = \"bus\"\ndriver = \"modbus_rtu\"\npath = \"/dev/serial/by-id/x\"\nbaud = 2400\nformat = \"8E1\"\n\
            [[device]]\nid = \"m\"\nlink = \"bus\"\nprofile = \"eastron-sdm630\"\nmodbus = { unit_id = 1 }\n\
            [[link]]\nid = \"broker\"\ndriver = \"mqtt\"\nhost = \"h\"\n";
        std::fs::write(&config, text).unwrap();
        let mut notes = Vec::new();
        let (way, settings) = by_config(&config, "bus", &mut notes).unwrap();
        assert_eq!((way.to_string().as_str(), settings[0].to_string().as_str()), ("/dev/serial/by-id/x", "2400 8E1"));
        assert!(by_config(&config, "broker", &mut notes).is_err_and(|error| error.to_string() == "link `broker` is no Modbus line"));
        assert!(by_config(&config, "bsu", &mut notes).is_err_and(|error| error.to_string().ends_with("there are: bus, broker")));
        assert!(notes.is_empty());
    }

    #[test]
    fn what_a_person_sees() {
        let found = Finding {
            setting: "9600 8N1".to_owned(),
            unit_id: 3,
            fault: Some(Fault::TwoAnswers),
            answer: "register 40001 = 0x0300".to_owned(),
            time_ms: 42,
            identity: Some(Identity { vendor: "Acme".into(), product: "M-4".into(), revision: String::new() }),
            sunspec: None,
            remarks: vec!["take one away".to_owned()],
        };
        let expected = "\
setting      unit       ms  answer                                   who it is, or what is wrong
9600 8N1        3       42  register 40001 = 0x0300                  TWO ANSWERS to one question; Acme M-4
    -> take one away";
        assert_eq!(format!("{}\n{}", heading(), row(&found)), expected);
        let silent = SettingReport { setting: "9600 8N1".to_owned(), asked: 3, ..SettingReport::default() };
        let skipped = SettingReport { setting: "9600 8E1".to_owned(), ..SettingReport::default() };
        let scan = Scan { findings: Vec::new(), settings: vec![silent, skipped] };
        let text = ending(&scan, None);
        assert!(text.starts_with("\n9600 8N1: silence\n-> silence everywhere: check power"), "{text}");
        for (ms, text) in [(0, "0 s"), (1, "1 s"), (90_000, "90 s"), (90_001, "2 min"), (7_140_000, "119 min"), (7_500_000, "2 h 05 min")] {
            assert_eq!(duration(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn a_port_is_named_by_its_adapter() {
        let folder = tempfile::tempdir().unwrap();
        let (by_id, port) = (folder.path().join("by-id"), folder.path().join("ttyUSB0"));
        std::fs::create_dir(&by_id).unwrap();
        std::fs::write(&port, "").unwrap();
        assert_eq!(by_id_name(&by_id, &port), None);
        std::os::unix::fs::symlink(&port, by_id.join("usb-7")).unwrap();
        assert_eq!(by_id_name(&by_id, &port), Some(by_id.join("usb-7")));
        assert_eq!(by_id_name(&folder.path().join("none"), &port), None);
    }
}
