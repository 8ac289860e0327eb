//! `parkgate probe`: reads one device once, with or without a configuration, and says what is wrong and what to do.
//!
//! `--json` prints one object: the fields of [`Probe`], and `notes`. Exit 1 when something is wrong.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use parkgate_collector::catalogue::bench::Variant;
use parkgate_collector::catalogue::{Device, Disk, DriverSettings, Files as _, Lone, MemoryRegistry, lone_device};
use parkgate_collector::commission::probe::{self, Probe};
use parkgate_collector::commission::verdict::Judgement;

use crate::app::{self, Exit};
use crate::control;

/// Arguments of `probe`.
#[derive(Debug, Args)]
pub struct ProbeArguments {
    /// Id of a device of the configuration.
    #[arg(value_name = "DEVICE", required_unless_present = "host", conflicts_with = "host")]
    pub device: Option<String>,
    /// Main configuration file.
    #[arg(long, value_name = "FILE", default_value_os_t = super::default_config())]
    pub config: PathBuf,
    /// Without a configuration: host name or address of a Modbus TCP device, with its port unless 502.
    #[arg(long, value_name = "HOST[:PORT]", requires = "profile")]
    pub host: Option<String>,
    /// Without a configuration: unit identifier.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "host")]
    pub unit: u8,
    /// Without a configuration: id of a profile that comes with the program, or file of another.
    #[arg(long, value_name = "ID|FILE", requires = "host")]
    pub profile: Option<String>,
    /// Without a configuration: longest wait for an answer, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 1_000, requires = "host")]
    pub timeout_ms: u32,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// A device to be read, and what to say beforehand.
struct Target {
    device: Arc<Device>,
    variants: Vec<Variant>,
    notes: Vec<String>,
}

/// `parkgate probe`.
pub fn probe(arguments: &ProbeArguments) -> Result<ExitCode> {
    let target = match (&arguments.host, &arguments.device) {
        (Some(host), _) => by_host(arguments, host)?,
        (None, Some(device)) => by_config(&arguments.config, device)?,
        (None, None) => bail!("name a device of the configuration, or --host with --profile"),
    };
    if !arguments.json {
        for note in &target.notes {
            super::complain_text(note);
        }
    }
    let found = app::runtime()?.block_on(probe::probe(&target.device, &target.variants));
    let found = found.with_context(|| format!("device `{}` is not on a Modbus link: nothing can be asked", target.device.id))?;
    if arguments.json {
        let mut row = serde_json::to_value(&found)?;
        if let Some(row) = row.as_object_mut() {
            row.insert("notes".to_owned(), target.notes.into());
        }
        super::say(&row.to_string());
    } else {
        super::say(text(&found).trim_end());
    }
    Ok(if found.is_fine() { ExitCode::SUCCESS } else { ExitCode::from(Exit::Problems as u8) })
}

fn by_config(config: &Path, id: &str) -> Result<Target> {
    let loaded = app::load(config, &Disk)?;
    let data = app::base_of(config).join(&loaded.gateway.data_directory);
    let mut variants = loaded.variants;
    let catalogue = loaded.draft.build(&mut MemoryRegistry::default()).context("the points cannot be numbered")?;
    let Some(device) = catalogue.device(id).cloned() else {
        let known: Vec<&str> = catalogue.devices.iter().map(|device| device.id.as_str()).collect();
        bail!("there is no device `{id}` in {}; there are: {}", config.display(), known.join(", "));
    };
    let mut notes = Vec::new();
    if control::is_running(&data) {
        let owned = match &device.link.driver {
            DriverSettings::ModbusRtu(settings) => Some(settings.path.clone()),
            DriverSettings::ModbusDialIn(settings) => Some(format!("port {}", settings.listen)),
            _ => None,
        };
        if let Some(owned) = owned {
            bail!("a gateway is running on this configuration and holds {owned}: a line has one master; stop the gateway for a moment");
        }
        notes.push(format!(
            "a gateway is running on this configuration and polls link `{}`: this is one more connection beside its own, which many \
             devices do not take; if nothing answers, stop the gateway for a moment",
            device.link.id
        ));
    }
    let variants = device.profile.as_ref().and_then(|profile| variants.remove(profile)).unwrap_or_default();
    Ok(Target { device, variants, notes })
}

fn by_host(arguments: &ProbeArguments, host: &str) -> Result<Target> {
    let profile = arguments.profile.as_deref().unwrap_or_default();
    let (id, text) = if profile.ends_with(".toml") {
        let text = Disk.read(Path::new(profile)).map_err(|reason| anyhow::anyhow!("{profile}: {reason}"))?;
        let id = profile_id(&text).with_context(|| format!("{profile} has no [profile] with an id"))?;
        (id, Some(text))
    } else {
        (profile.to_owned(), None)
    };
    let (host, port) = host_and_port(host)?;
    let lone = Lone { host, port, unit_id: arguments.unit, timeout_ms: arguments.timeout_ms };
    let mut made = match lone_device(&id, text, &lone, &Disk) {
        Ok(made) => made,
        Err(error) => bail!("{error}"),
    };
    if made.catalogue.devices.is_empty() {
        bail!("profile `{id}` makes no device");
    }
    Ok(Target { device: made.catalogue.devices.remove(0), variants: made.variants, notes: Vec::new() })
}

/// The id of a profile's text.
fn profile_id(text: &str) -> Option<String> {
    let table: toml::Table = text.parse().ok()?;
    table.get("profile")?.get("id")?.as_str().map(str::to_owned)
}

/// `host`, `host:port`, `[::1]:port`; 502 is the port of Modbus TCP.
pub(super) fn host_and_port(text: &str) -> Result<(String, u16)> {
    let wrong = || format!("`{text}` is no host or host:port");
    if let Some(inner) = text.strip_prefix('[') {
        let (host, rest) = inner.split_once(']').with_context(wrong)?;
        let port = rest.strip_prefix(':').map_or(Ok(502), str::parse).with_context(wrong)?;
        return Ok((host.to_owned(), port));
    }
    match text.split_once(':') {
        // More than one colon: an address of IP version 6 without a port.
        Some((_, rest)) if rest.contains(':') => Ok((text.to_owned(), 502)),
        Some((host, port)) if !host.is_empty() => Ok((host.to_owned(), port.parse().with_context(wrong)?)),
        Some(_) => bail!("{}", wrong()),
        None => Ok((text.to_owned(), 502)),
    }
}

/// The report for people.
fn text(probe: &Probe) -> String {
    let profile = probe.profile.as_ref().map_or(String::new(), |profile| format!(", profile {profile}"));
    let mut text = format!("{} at {}, unit {}{profile}\n", probe.device, probe.target, probe.unit_id);
    for block in &probe.blocks {
        let outcome = block.error.as_deref().unwrap_or("answered");
        let _ = writeln!(text, "{} (function {}): {outcome}, {} us", block.registers, block.function, block.time_us);
        if !block.remedy.is_empty() {
            let _ = writeln!(text, "    -> {}", block.remedy);
        }
    }
    let width = probe.points.iter().map(|point| point.point.chars().count()).max().unwrap_or(0);
    let words = probe.points.iter().map(|point| point.words.len()).max().unwrap_or(0);
    for point in &probe.points {
        let value = point.value.as_ref().map_or("-".to_owned(), |value| format!("{value} {}", point.unit));
        let _ = writeln!(text, "{:width$}  {:words$}  {value:>20}  {}", point.point, point.words, judged(point.judgement));
        if !point.remedy.is_empty() {
            let _ = writeln!(text, "    -> {}", point.remedy);
        }
    }
    for variant in &probe.variants {
        let fits = if variant.fits { "fits" } else { "does not fit" };
        let _ = writeln!(text, "variant {} ({}, {}): {}: {fits}", variant.profile, variant.about, variant.register, variant.found);
    }
    if let Some(sunspec) = &probe.sunspec {
        let _ = writeln!(text, "{}", sunspec.text());
    }
    for advice in &probe.advice {
        let _ = writeln!(text, "-> {advice}");
    }
    text
}

fn judged(judgement: Judgement) -> &'static str {
    match judgement {
        Judgement::Plausible => "plausible",
        Judgement::NotAvailable => "no value: the device's marker",
        Judgement::NotANumber => "NOT A NUMBER",
        Judgement::OutOfRange => "OUT OF RANGE",
        Judgement::NextToNothing => "IMPLAUSIBLE",
        Judgement::Overflow => "TOO LARGE",
        Judgement::NoAnswer => "NO ANSWER",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports() {
        for (text, expected) in [
            ("meter", Some(("meter", 502))),
            ("192.0.2.1:1502", Some(("192.0.2.1", 1502))),
            ("[2001:db8::1]:1502", Some(("2001:db8::1", 1502))),
            ("[2001:db8::1]", Some(("2001:db8::1", 502))),
            ("2001:db8::1", Some(("2001:db8::1", 502))),
            ("meter:", None),
            (":502", None),
            ("meter:70000", None),
            ("[::1", None),
        ] {
            assert_eq!(host_and_port(text).ok(), expected.map(|(host, port): (&str, u16)| (host.to_owned(), port)), "{text}");
        }
    }
}
