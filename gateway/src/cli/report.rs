//! `parkgate report` and `parkgate verify`: the emission summary for the regulator, and checking one that was handed out.
//!
//! `report emissions` reads beside a running gateway or without one. It changes nothing but that a package makes the key
//! in the data directory when there is none yet. `verify` needs neither configuration nor data: a package and, better,
//! the public key that the park gave out apart from it.
//!
//! `report accesses --json` prints one object a line: `id`, `time`, `token`, `subject` (the outlet asked for), and what
//! [`crate::api`] kept of the request.

use std::fs::File;
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use parkgate_collector::clock::{Clock as _, SystemClock};
use parkgate_rules::emission::{Averaging, UtcMillis};
use serde_json::json;

use super::{DataArguments, say};
use crate::access::Identity;
use crate::app::{self, ReadOnly};
use crate::emission::store::EmissionStore;
use crate::emission::{Emissions, Plan};
use crate::report::{self, Asked, Form, PublicKey, ReportKey, archive, ask, package};
use crate::store::{DataDirectory, EntryKind, Facts};

/// Arguments of `report`.
#[derive(Debug, Args)]
pub struct ReportArguments {
    /// What is wanted.
    #[command(subcommand)]
    pub command: ReportCommand,
}

/// What `report` can do.
#[derive(Debug, Subcommand)]
pub enum ReportCommand {
    /// Write the summary of an outlet, also beside a running gateway.
    Emissions(EmissionsArguments),
    /// Print the id and the public key that packages are signed with; makes the key at first use.
    Key {
        /// Where.
        #[command(flatten)]
        data: DataArguments,
    },
    /// Print the JSON Schema of the summary.
    Schema,
    /// List what regulators' tokens were used for, the oldest first.
    Accesses {
        /// Where.
        #[command(flatten)]
        data: DataArguments,
        /// Print one JSON object per line.
        #[arg(long)]
        json: bool,
    },
}

/// Arguments of `report emissions`.
#[derive(Debug, Args)]
pub struct EmissionsArguments {
    /// Where.
    #[command(flatten)]
    pub data: DataArguments,
    /// Id of the outlet.
    #[arg(long)]
    pub outlet: String,
    /// Length of a row: hour, day or month.
    #[arg(long, default_value = "hour", value_parser = averaging)]
    pub period: Averaging,
    /// Rows that start at or after: a date in the park's zone, or RFC 3339. The start of last month unless given.
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Rows that start before. The end of the month of `--from` unless given.
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// In which form.
    #[arg(long, value_enum, default_value_t = Form::Json)]
    pub format: Form,
    /// Write into this file, not to standard output.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub struct VerifyArguments {
    /// The package.
    #[arg(value_name = "PACKAGE")]
    pub package: PathBuf,
    /// Public key of the park as `parkgate report key` prints it, or a file that holds that. Without it the package is
    /// checked by the key that came with it, which only shows that it was not damaged.
    #[arg(long, value_name = "HEX|FILE")]
    pub key: Option<String>,
}

/// `parkgate report`.
pub fn report(arguments: &ReportArguments) -> Result<ExitCode> {
    match &arguments.command {
        ReportCommand::Emissions(arguments) => emissions(arguments),
        ReportCommand::Key { data } => {
            let directory = DataDirectory::open_read_only(&data.directory()?)?;
            let public = ReportKey::of(directory.path())?.public();
            say(&format!("key id      {}\npublic key  {}", public.id(), public.hex()));
            Ok(ExitCode::SUCCESS)
        }
        ReportCommand::Schema => {
            say(&serde_json::to_string_pretty(&report::schema())?);
            Ok(ExitCode::SUCCESS)
        }
        ReportCommand::Accesses { data, json } => accesses(data, *json),
    }
}

fn averaging(text: &str) -> Result<Averaging, String> {
    let all = [Averaging::Hour, Averaging::Day, Averaging::Month];
    all.into_iter().find(|averaging| averaging.name() == text).ok_or_else(|| "it is hour, day or month".to_owned())
}

fn emissions(arguments: &EmissionsArguments) -> Result<ExitCode> {
    if arguments.out.is_none() && matches!(arguments.format, Form::Xlsx | Form::Package) && std::io::stdout().is_terminal() {
        bail!("this form is no text: name a file with --out");
    }
    let data = &arguments.data;
    let settings = data.loaded()?.gateway;
    let ReadOnly { catalogue, record, directory, facts, .. } = app::open_read_only(&data.config, data.data.as_deref())?;
    let plan = Arc::new(Plan::new(&catalogue, &settings.outlet, &settings.abatement));
    if plan.outlet(&arguments.outlet).is_none() {
        let ids = plan.outlets.iter().map(|planned| planned.outlet.id.as_str());
        let near = ids.min_by_key(|near| strsim::damerau_levenshtein(near, &arguments.outlet));
        bail!("there is no outlet `{}` in the configuration; the nearest is `{}`", arguments.outlet, near.unwrap_or("none"));
    }
    // Without it, as before the first start, figures are counted from the record.
    let store = directory.emission().exists().then(|| EmissionStore::open_read_only(&directory.emission())).transpose()?;
    let zone = plan.zone.clone();
    let view = Emissions::new(plan, Arc::new(record), Arc::new(facts), store);
    let made_at = UtcMillis(SystemClock::new().now().utc.0);
    let range = ask::range(&zone, arguments.period, arguments.from.as_deref(), arguments.to.as_deref(), made_at)?;
    let commit = option_env!("PARKGATE_COMMIT").unwrap_or("unknown");
    let software = format!("parkgate {} ({commit})", env!("CARGO_PKG_VERSION"));
    let asked = Asked { outlet: arguments.outlet.clone(), averaging: arguments.period, range, made_at, software };
    let made = report::make(&view, &catalogue, &asked, &Identity::local()).context("the emissions cannot be read")?;
    let made = made.context("the outlet is gone")?;
    let written = report::write(&made, arguments.format, || ReportKey::of(directory.path()))?;
    match &arguments.out {
        Some(path) => std::fs::write(path, &written.bytes).with_context(|| format!("{} cannot be written", path.display()))?,
        None => match std::io::stdout().lock().write_all(&written.bytes) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => return Err(error.into()),
            _ => {}
        },
    }
    Ok(ExitCode::SUCCESS)
}

fn accesses(data: &DataArguments, as_json: bool) -> Result<ExitCode> {
    let directory = DataDirectory::open_read_only(&data.directory()?)?;
    let facts = Facts::open_read_only(&directory.facts())?;
    let entries = facts.entries(EntryKind::RegulatorAccess, 0).context("facts.db has no entries yet; start the gateway once")?;
    let mut out = std::io::stdout().lock();
    for entry in entries {
        let (time, token, subject) = (entry.time.to_string(), &entry.author, &entry.subject);
        if as_json {
            let mut line = json!({ "id": entry.id, "time": time, "token": token, "subject": subject });
            if let (Some(line), serde_json::Value::Object(body)) = (line.as_object_mut(), entry.body) {
                line.extend(body);
            }
            writeln!(out, "{line}")?;
        } else {
            let text = |key: &str| match &entry.body[key] {
                serde_json::Value::String(text) => text.clone(),
                serde_json::Value::Null => String::new(),
                other => other.to_string(),
            };
            let (method, route, query) = (text("method"), text("route"), text("query"));
            let asked = if query.is_empty() { route } else { format!("{route}?{query}") };
            writeln!(out, "{} {time} {token} ({}): {method} {asked}: {} {}", entry.id, text("peer"), text("status"), text("outcome"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `parkgate verify`.
pub fn verify(arguments: &VerifyArguments) -> Result<ExitCode> {
    let pinned = arguments.key.as_deref().map(PublicKey::given).transpose()?;
    let path = &arguments.package;
    let file = File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let mut bytes = Vec::new();
    file.take(archive::PACKAGE_MAX.saturating_add(1))
        .read_to_end(&mut bytes)
        .with_context(|| format!("{} cannot be read", path.display()))?;
    let verified = match package::verify(&bytes, pinned.as_ref()) {
        Ok(verified) => verified,
        Err(refused) => {
            say(&format!("BAD: {refused}"));
            return Ok(ExitCode::from(app::Exit::Problems as u8));
        }
    };
    let manifest = &verified.manifest;
    let about = &manifest.about;
    say(&format!(
        "good: {} files, emissions of outlet {} in park {} by {}, {} to {}, made at {} by {}",
        manifest.files.len(),
        about.outlet,
        about.park,
        about.period,
        about.from,
        about.to,
        about.made_at,
        about.software
    ));
    say(&if verified.pinned {
        format!("signed with key {}, the one that was given", manifest.key_id)
    } else {
        format!(
            "signed with key {} that came with the package: anybody can make such a key; give the park's own by --key, it is {} if this is the park's",
            manifest.key_id, manifest.public_key
        )
    });
    Ok(ExitCode::SUCCESS)
}
