//! `parkgate alarms`: try rules, see what is on and what was told, acknowledge and shelve; also beside a running gateway.
//!
//! What is done is entered among the facts; a running gateway takes it up within a second, a stopped one when it starts.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use parkgate_collector::catalogue::{Disk, Files as _};
use parkgate_collector::clock::{Clock as _, SystemClock};
use parkgate_rules::alarm::{self, DEFAULTS, UtcMillis, case};

use super::{DataArguments, complain_text, say};
use crate::access::who;
use crate::alarm::act::{ActError, Doing, Done};
use crate::alarm::event::{Contract, Event, EventKind, Track};
use crate::alarm::load::is_test;
use crate::alarm::outbox::Outbox;
use crate::app::{Exit, Failure};
use crate::store::DataDirectory;

/// Compliance events that `list` shows.
const COMPLIANCE_SHOWN: usize = 50;

/// Arguments of `alarms`.
#[derive(Debug, Args)]
pub struct AlarmsArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: AlarmsCommand,
}

/// What `alarms` can do.
#[derive(Debug, Subcommand)]
pub enum AlarmsCommand {
    /// Check rule files, and run test files of rules; exit 0 fine, 1 problems or a case that fails, 2 could not run.
    Test {
        /// Rule files, or test files (NAME.test.toml).
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Print one JSON object per problem instead of text.
        #[arg(long)]
        json: bool,
    },
    /// Print the alarms that are on, and compliance events of late.
    List {
        /// Where.
        #[command(flatten)]
        data: DataArguments,
        /// Print one JSON object per line.
        #[arg(long)]
        json: bool,
    },
    /// Print events in order, one JSON object per line.
    Events {
        /// Where.
        #[command(flatten)]
        data: DataArguments,
        /// Only events behind this one.
        #[arg(long, default_value_t = 0)]
        after: u64,
        /// Most events to print.
        #[arg(long, default_value_t = 1_000)]
        limit: usize,
    },
    /// Print the JSON Schema of events, replay, stream and webhook.
    Schema,
    /// Acknowledge an alarm that is on.
    Ack {
        /// What.
        #[command(flatten)]
        act: ActArguments,
    },
    /// Put an alarm away for a time.
    Shelve {
        /// What.
        #[command(flatten)]
        act: ActArguments,
        /// For how long: 30m, 8h, 1d. Not longer than its rule allows.
        #[arg(long = "for", value_name = "TIME")]
        span: String,
    },
    /// Take an alarm from the shelf.
    Unshelve {
        /// What.
        #[command(flatten)]
        act: ActArguments,
    },
    /// Write a note on an alarm or a compliance event.
    Note {
        /// What.
        #[command(flatten)]
        act: ActArguments,
    },
}

/// Which alarm, and who acts.
#[derive(Debug, Args)]
pub struct ActArguments {
    /// Fingerprint of the alarm, as `list` prints it.
    fingerprint: String,
    /// Who does it; the user of the operating system unless given.
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// A note.
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Where.
    #[command(flatten)]
    data: DataArguments,
}

/// `parkgate alarms`.
pub fn alarms(arguments: &AlarmsArguments) -> Result<ExitCode> {
    match &arguments.command {
        AlarmsCommand::Test { files, json } => test(files, *json),
        AlarmsCommand::List { data, json } => list(data, *json),
        AlarmsCommand::Events { data, after, limit } => events(data, *after, *limit),
        AlarmsCommand::Schema => {
            say(&serde_json::to_string_pretty(&schemars::schema_for!(Contract))?);
            Ok(ExitCode::SUCCESS)
        }
        AlarmsCommand::Ack { act } => enter(act, Doing::Acknowledge, None),
        AlarmsCommand::Shelve { act, span } => enter(act, Doing::Shelve, Some(span)),
        AlarmsCommand::Unshelve { act } => enter(act, Doing::Unshelve, None),
        AlarmsCommand::Note { act } => enter(act, Doing::Note, None),
    }
}

fn test(files: &[PathBuf], json: bool) -> Result<ExitCode> {
    let (mut cases, mut rules, mut problems) = (0, 0, Vec::new());
    for path in files {
        let name = path.display().to_string();
        let text = read(path)?;
        if !is_test(path) {
            match alarm::read(&[(&name, &text)], &[]) {
                Ok(read) => rules += read.len(),
                Err(found) => problems.extend(found),
            }
            continue;
        }
        let named = match case::rule_files(&name, &text) {
            Ok(named) => named,
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut texts = Vec::new();
        for file in &named {
            let path = folder.join(file);
            texts.push((path.display().to_string(), read(&path)?));
        }
        let texts: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        match alarm::read(&texts, &[DEFAULTS]) {
            Ok(rules) => {
                let (count, found) = case::run(&name, &text, &rules);
                cases += count;
                problems.extend(found);
            }
            Err(found) => problems.extend(found),
        }
    }
    for problem in &problems {
        say(&if json { serde_json::to_string(problem)? } else { problem.to_string() });
    }
    if problems.is_empty() {
        if !json {
            say(&format!("fine: {rules} rules read, {cases} cases came out as expected"));
        }
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::from(Exit::Problems as u8))
}

fn read(path: &Path) -> Result<String> {
    Disk.read(path).map_err(|reason| Failure { exit: Exit::CouldNotRun, message: format!("{}: {reason}", path.display()) }.into())
}

fn outbox(data: &DataArguments) -> Result<Outbox> {
    let path = DataDirectory::open_read_only(&data.directory()?)?.alarms();
    if !path.exists() {
        bail!("{} is not there: start the gateway once, it makes it", path.display());
    }
    Outbox::open_read_only(&path).with_context(|| format!("{} cannot be read", path.display()))
}

fn list(data: &DataArguments, json: bool) -> Result<ExitCode> {
    let outbox = outbox(data)?;
    let mut on = outbox.standing()?;
    on.retain(|event| event.track == Track::Operator);
    on.sort_by_key(|event| event.starts_at);
    // Of each the last word, but for that its period is over.
    let mut compliance: Vec<Event> = Vec::new();
    for event in outbox.compliance(COMPLIANCE_SHOWN)?.into_iter().rev() {
        let is_told = compliance.iter().any(|known| known.fingerprint == event.fingerprint);
        if event.kind != EventKind::Resolved && !is_told {
            compliance.push(event);
        }
    }
    let mut out = std::io::stdout().lock();
    for event in on.iter().chain(&compliance) {
        if json {
            writeln!(out, "{}", serde_json::to_string(event)?)?;
            continue;
        }
        let label = |name: &str| event.labels.get(name).map_or("", String::as_str);
        let summary = event.annotations.get("summary").map_or("", String::as_str);
        let shelved = event.annotations.get("shelved_until").map(|until| format!(" (shelved until {until})")).unwrap_or_default();
        writeln!(out, "{} {} {} since {}{shelved}: {summary}", event.fingerprint, label("track"), label("priority"), event.starts_at)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn events(data: &DataArguments, after: u64, limit: usize) -> Result<ExitCode> {
    let outbox = outbox(data)?;
    let mut out = std::io::stdout().lock();
    for event in outbox.events(after, limit)? {
        writeln!(out, "{}", serde_json::to_string(&event)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn enter(arguments: &ActArguments, act: Doing, span: Option<&String>) -> Result<ExitCode> {
    let ActArguments { fingerprint, by, note, data } = arguments;
    let now = SystemClock::new().now().utc;
    let until = match span {
        Some(span) => {
            let ms = span_ms(span).with_context(|| format!("`{span}` is no time: write 30m, 8h or 1d"))?;
            Some(UtcMillis(now.0).plus(ms))
        }
        None => None,
    };
    let outbox = outbox(data)?;
    let standing = outbox.standing()?.into_iter().find(|event| event.fingerprint == *fingerprint);
    let last = || outbox.last_of(fingerprint).map(|event| event.filter(|event| event.track == Track::Compliance));
    let on = match standing {
        Some(event) => Some(event),
        None => last()?,
    };
    let user = who::user();
    let starts_at = on.as_ref().filter(|_| act == Doing::Acknowledge).map(|event| event.starts_at);
    let done = Done { act, by: by.clone().unwrap_or_else(|| user.clone()), starts_at, until, note: note.clone() };
    if let Err(error) = done.check(fingerprint, on.as_ref(), UtcMillis(now.0)) {
        complain_text(&error.to_string());
        let exit = if matches!(error, ActError::Unknown(_)) { Exit::CouldNotRun } else { Exit::Problems };
        return Ok(ExitCode::from(exit as u8));
    }
    let entry = data.facts()?.append(done.entry(fingerprint, &user), now)?;
    say(&format!("entered as {}; it counts as soon as the gateway has taken it up", entry.id));
    Ok(ExitCode::SUCCESS)
}

/// Milliseconds of `30m`, `8h`, `1d`, `90s`.
fn span_ms(text: &str) -> Option<i64> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit_ms = match unit {
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    digits.parse::<u32>().ok().and_then(|count| i64::from(count).checked_mul(unit_ms))
}
