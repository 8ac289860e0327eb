//! The commands beside `run` and `demo`: they read files and print; none needs the gateway to run.
//!
//! `check` and `schema` do no I/O but reading the files named. `rejects list` and `journal` open the data directory
//! read-only beside a running gateway, and so do `totals` and `rebuild --check`. `rejects replay` asks the running gateway
//! over its control socket, else takes the lock itself, and so does `gaps forget`. Each further command has a file of its own.

pub mod reconcile;
pub mod backup;
pub mod transfer;
pub mod grafana;
mod alarms;
mod changes;
mod decode;
mod emission;
mod gaps;
mod report;
mod assess;
mod declare;
mod ledger;
mod review;
mod indicators;
mod live;
mod meters;
mod plan;
mod probe;
mod reading;
mod scan;
mod topology;
mod token;
mod totals;

use std::collections::HashMap;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Parser, Subcommand};
use parkgate_collector::catalogue::{self, Disk, Loaded};
use parkgate_collector::clock::{Clock, SystemClock};
use parkgate_collector::commission::profile_test;
use parkgate_collector::journal::{Sequence, inspect};
use parkgate_collector::model::PointId;
use parkgate_collector::rejects;

pub use alarms::{AlarmsArguments, alarms};
pub use assess::{AssessArguments, assess};
pub use changes::{ChangesArguments, changes};
pub use declare::{DeclareArguments, declare};
pub use decode::{DecodeArguments, decode};
pub use emission::{LimitsArguments, MarksArguments, limits, marks};
pub use gaps::{GapsArguments, gaps};
pub use indicators::{IndicatorsArguments, indicators};
pub use ledger::{LedgerArguments, ledger};
pub use meters::{DecideArguments, ExchangeArguments, decide, exchange};
pub use plan::{PlanArguments, plan};
pub use probe::{ProbeArguments, probe};
pub use reading::{ReadingArguments, reading};
pub use report::{ReportArguments, VerifyArguments, report, verify};
pub use review::{ReviewArguments, review};
pub use scan::{ScanArguments, scan};
pub use token::{TokenArguments, token};
pub use topology::{TopologyArguments, topology};

use crate::alarm;
use crate::app;
use crate::control::{self, Answer, ReplayReport, Request};
use crate::engine::Engine;
use crate::settings::GatewaySettings;
use crate::store::{DataDirectory, Facts};

pub use totals::{RebuildArguments, TotalsArguments, rebuild, totals};

/// What every `--help` ends with.
const AFTER_HELP: &str = "Exit codes: 0 fine; 1 the files have problems, or something is damaged; 2 the command could not run; 3 a part of
the running gateway failed. Logs go to standard error; PARKGATE_LOG=debug shows more.";
/// Characters of a rejected payload that `rejects list` shows.
const PAYLOAD_SHOWN: usize = 200;

/// Reads every meter of an industrial park, keeps a durable record, shows it.
#[derive(Debug, Parser)]
#[command(name = "parkgate", version, propagate_version = true, after_help = AFTER_HELP)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway of a park.
    Run(RunArguments),
    /// Run a simulated park: broker, meters and gateway in one process, with 400 days of history.
    #[cfg(feature = "demo")]
    Demo(DemoArguments),
    /// Check configuration files and the tests of device profiles without touching meters or data; exit 0 fine, 1 problems, 2 could not run.
    Check(CheckArguments),
    /// Print what reading the Modbus devices will cost, before anything is connected; exit 1 when a line is too slow.
    Plan(PlanArguments),
    /// Read one Modbus device once: raw words, values, plausibility, what to do; exit 1 when something is wrong.
    Probe(ProbeArguments),
    /// Search a Modbus line for units over speeds and parities: silence, bad CRC, two answers, own echo; exit 1 when something is wrong.
    Scan(ScanArguments),
    /// List what Modbus devices refused to have read along, or forget that of one device, which is then asked again.
    Gaps(GapsArguments),
    /// Print the JSON Schema of the configuration.
    Schema,
    /// Print what registers and frames say, without a device: values in any byte order, what is wrong with an answer.
    Decode(DecodeArguments),
    /// List messages that could not be read, or read them again after the configuration was mended.
    Rejects(RejectsArguments),
    /// Verify or print the journal, also beside a running gateway.
    Journal(JournalArguments),
    /// Compare the record with what a sink answers, by point and day; exit 0 no difference, 1 differences, 2 could not run.
    Reconcile(reconcile::ReconcileArguments),
    /// Show what sinks did not accept.
    Forward(reconcile::ForwardArguments),
    /// Back up the data directory, also while the gateway runs, or check a backup.
    Backup(backup::BackupArguments),
    /// Make a data directory of a backup.
    Restore(backup::RestoreArguments),
    /// Write samples as CSV or JSON lines, also beside a running gateway.
    Export(transfer::ExportArguments),
    /// Bring values of a CSV file or of line protocol into the record.
    Import(transfer::ImportArguments),
    /// Write Grafana boards for the park.
    Grafana(grafana::GrafanaArguments),
    /// Make, list and revoke the tokens by which people and programs come in.
    Token(TokenArguments),
    /// List who changed tokens and configuration, and when.
    Changes(ChangesArguments),
    /// Enter, list and end the limits that outlets are judged by.
    Limits(LimitsArguments),
    /// Enter, list, end and withdraw marks on outlets' data.
    Marks(MarksArguments),
    /// Print totals of points per hour, day, month or year, also beside a running gateway.
    Totals(TotalsArguments),
    /// Enter, list and undo exchanges of meters and changes of their multiplier.
    Exchange(ExchangeArguments),
    /// Show registers that fell without a plausible wrap, and decide what they are.
    Decide(DecideArguments),
    /// Add values that were read from a meter by hand.
    Reading(ReadingArguments),
    /// The emission summary for the regulator: its forms, its key, who read it.
    Report(ReportArguments),
    /// Check a signed package of an emission summary, anywhere; exit 0 good, 1 not, with the first bad file named.
    Verify(VerifyArguments),
    /// Try alarm rules, see what is on and what was told, acknowledge and shelve.
    Alarms(AlarmsArguments),
    /// Count all totals again from the record, or check that they are what it says.
    Rebuild(RebuildArguments),
    /// Enter figures that no meter has, from a CSV file, and list them.
    Declare(DeclareArguments),
    /// Print which meter stands where in the park's networks, and whether the networks balance.
    Topology(TopologyArguments),
    /// Compute what the park is judged by, with the way down to register readings.
    Indicators(IndicatorsArguments),
    /// Put the yearly targets of the province's plan beside what the park reached; exit 1 when one is missed.
    Assess(AssessArguments),
    /// Keep the ledgers of energy quota and pollutant totals: enter, list, what is left.
    Ledger(LedgerArguments),
    /// Tell what the admission rules say of projects, with reasons; advice, not an approval. Exit 1 when one does not pass.
    Review(ReviewArguments),
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArguments {
    /// Main configuration file.
    #[arg(long, value_name = "FILE", default_value_os_t = default_config())]
    pub config: PathBuf,
    /// Address of the page and the API, instead of the configured one.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<std::net::SocketAddr>,
}

/// Arguments of `demo`.
#[cfg(feature = "demo")]
#[derive(Debug, Args)]
pub struct DemoArguments {
    /// Where the demo keeps its record; a second start goes on from there.
    #[arg(long, value_name = "DIR", default_value = "data/demo")]
    pub data: PathBuf,
    /// Address of the page and the API.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8420")]
    pub listen: std::net::SocketAddr,
    /// Seed of the park: the same seed makes the same park.
    #[arg(long, default_value_t = crate::demo::SEED_DEFAULT)]
    pub seed: u64,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// Main files or device profiles.
    #[arg(required_unless_present = "config", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Main file, as other commands take it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print one JSON object per problem instead of text.
    #[arg(long)]
    pub json: bool,
}

/// The main configuration file where none is named: `parkgate.toml` in this folder, else the installed one.
fn default_config() -> PathBuf {
    let (here, installed) = (Path::new("parkgate.toml"), Path::new("/etc/parkgate/parkgate.toml"));
    if !here.exists() && installed.exists() { installed } else { here }.to_owned()
}

/// Where the data directory is.
#[derive(Clone, Debug, Args)]
pub struct DataArguments {
    /// Main configuration file, which names the data directory.
    #[arg(long, value_name = "FILE", default_value_os_t = default_config())]
    pub config: PathBuf,
    /// The data directory itself, instead of the configured one.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// Arguments of `rejects`.
#[derive(Debug, Args)]
pub struct RejectsArguments {
    /// What to do with them.
    #[command(subcommand)]
    pub command: RejectsCommand,
}

/// What `rejects` can do.
#[derive(Debug, Subcommand)]
pub enum RejectsCommand {
    /// Print rejected input, newest last.
    List {
        /// Where.
        #[command(flatten)]
        data: DataArguments,
        /// Only those of this device.
        #[arg(long)]
        device: Option<String>,
        /// Print one JSON object per line.
        #[arg(long)]
        json: bool,
    },
    /// Read rejected messages again by the present configuration; what can be read now becomes durable.
    Replay {
        /// Where.
        #[command(flatten)]
        data: DataArguments,
        /// Only those of this device.
        #[arg(long)]
        device: Option<String>,
    },
}

/// Arguments of `journal`.
#[derive(Debug, Args)]
pub struct JournalArguments {
    /// What to do with it.
    #[command(subcommand)]
    pub command: JournalCommand,
}

/// What `journal` can do.
#[derive(Debug, Subcommand)]
pub enum JournalCommand {
    /// Read every entry and check it; exit 1 when something is damaged.
    Verify {
        /// Where.
        #[command(flatten)]
        data: DataArguments,
    },
    /// Print entries, one JSON object per line.
    Dump {
        /// Where.
        #[command(flatten)]
        data: DataArguments,
        /// First sequence number; 0 for the oldest there is.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// Most entries to print.
        #[arg(long, default_value_t = 1000)]
        limit: u64,
    },
}

/// `parkgate check`.
pub fn check(arguments: &CheckArguments) -> Result<ExitCode> {
    let files: Vec<PathBuf> = arguments.config.iter().chain(&arguments.files).cloned().collect();
    let mut report = catalogue::check_with::<GatewaySettings>(&files, &Disk, profile_test::judge);
    for file in report.files.iter_mut().filter(|file| file.unreadable.is_none() && file.problems.is_empty()) {
        add_alarm_rules(file);
    }
    let out = std::io::stdout();
    if arguments.json {
        let mut out = out.lock();
        for file in &report.files {
            serde_json::to_writer(&mut out, file)?;
            writeln!(out)?;
        }
    } else {
        say(report.render(out.is_terminal()).trim_end());
    }
    Ok(ExitCode::from(report.exit_code()))
}

/// Adds what is wrong with the alarm rules that a sound main file names.
fn add_alarm_rules(file: &mut catalogue::FileReport) {
    // A profile is no main file.
    let Ok(loaded) = catalogue::load::<GatewaySettings>(&file.file, &Disk) else { return };
    if let Err(problems) = alarm::load::load(&loaded.gateway.alarms, &app::base_of(&file.file), &Disk) {
        file.also.extend(problems.iter().map(ToString::to_string));
    }
}

/// `parkgate schema`.
pub fn schema() -> Result<ExitCode> {
    say(&serde_json::to_string_pretty(&catalogue::schema::<GatewaySettings>())?);
    Ok(ExitCode::SUCCESS)
}

/// `parkgate rejects`.
pub fn rejects(arguments: &RejectsArguments) -> Result<ExitCode> {
    match &arguments.command {
        RejectsCommand::List { data, device, json } => {
            let directory = DataDirectory::open_read_only(&data.directory()?)?;
            let filter = rejects::Filter { device: device.clone(), ..Default::default() };
            let list = rejects::list(&directory.rejects(), filter).context("the rejects ring cannot be read")?;
            let damaged = list.damaged();
            let mut out = std::io::stdout().lock();
            for reject in list {
                if *json {
                    writeln!(out, "{}", reject.to_json())?;
                } else {
                    let payload = String::from_utf8_lossy(&reject.payload);
                    let shown: String = payload.chars().take(PAYLOAD_SHOWN).collect();
                    let rest = if payload.chars().nth(PAYLOAD_SHOWN).is_some() { " ..." } else { "" };
                    let device = reject.device.as_deref().unwrap_or("unknown device");
                    writeln!(out, "{} {} {device} ({}): {}", reject.id, reject.received_time, reject.source, reject.reason)?;
                    writeln!(out, "    {shown}{rest}")?;
                }
            }
            if damaged > 0 {
                complain_text(&format!("{damaged} damaged places in the ring were left out"));
            }
            Ok(ExitCode::SUCCESS)
        }
        RejectsCommand::Replay { data, device } => {
            let request = Request::ReplayRejects { device: device.clone() };
            let report = match ask(&data.directory()?, &request)? {
                Some(Answer::Replayed(report)) => report,
                Some(other) => bail!("the running gateway answered something else: {other:?}"),
                None => replay_alone(data, device.clone())?,
            };
            say(&format!("{} replayed and durable, {} still rejected", report.replayed, report.still_rejected));
            Ok(if report.still_rejected == 0 { ExitCode::SUCCESS } else { ExitCode::from(app::Exit::Problems as u8) })
        }
    }
}

/// Replays with no gateway running.
fn replay_alone(data: &DataArguments, device: Option<String>) -> Result<ReplayReport> {
    let Alone { engine, start, runtime } = Alone::start(data, Arc::new(SystemClock::new()))?;
    let (outlet, sink) = (engine.outlet(), engine.rejects().clone());
    let record = (engine.journal(), engine.history());
    let rejects = start.directory.rejects();
    let report = runtime.block_on(crate::replay::replay(&start.catalogue, &outlet, &sink, &rejects, device, record));
    drop((outlet, sink));
    engine.stop();
    report
}

/// An engine for a command that changes the record while no gateway runs: it holds the lock, drivers and HTTP do not run.
struct Alone {
    engine: Engine,
    start: app::Start,
    runtime: tokio::runtime::Runtime,
}

impl Alone {
    fn start(data: &DataArguments, clock: Arc<dyn Clock>) -> Result<Self> {
        let start = app::open(data.loaded()?, Path::new(""), Arc::clone(&clock), false)?;
        let runtime = app::runtime()?;
        let metrics = parkgate_collector::metrics::Metrics::new(&prometheus::Registry::new());
        let engine = Engine::start(&start.directory, &start.catalogue, start.settings.engine(), clock, metrics, runtime.handle())?;
        Ok(Self { engine, start, runtime })
    }
}

/// `parkgate journal`.
pub fn journal(arguments: &JournalArguments) -> Result<ExitCode> {
    match &arguments.command {
        JournalCommand::Verify { data } => {
            let directory = DataDirectory::open_read_only(&data.directory()?)?;
            let report = inspect::verify(&directory.journal()).context("the journal cannot be read")?;
            for segment in &report.segments {
                say(&format!(
                    "{} {} bytes, entries {} to {} ({})",
                    segment.file, segment.bytes, segment.first, segment.last, segment.header
                ));
            }
            for lost in &report.damaged {
                say(&format!("DAMAGED: entries {} to {} are lost", lost.from, lost.to.saturating_sub(1)));
            }
            for torn in &report.torn {
                say(&format!(
                    "torn by a power cut before anything was acknowledged: entries {} to {}",
                    torn.from,
                    torn.to.saturating_sub(1)
                ));
            }
            if report.undecodable > 0 {
                say(&format!("DAMAGED: {} entries cannot be decoded", report.undecodable));
            }
            let verdict = if report.is_sound() { "sound" } else { "DAMAGED" };
            say(&format!("{verdict}: {} entries with {} samples in {} segments", report.entries, report.samples, report.segments.len()));
            Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::from(app::Exit::Problems as u8) })
        }
        JournalCommand::Dump { data, from, limit } => {
            let directory = DataDirectory::open_read_only(&data.directory()?)?;
            let mut out = std::io::stdout().lock();
            let mut written = Ok(());
            let ids = stable_ids(&directory);
            let id_of = |point| ids.get(&point).cloned();
            inspect::dump(&directory.journal(), Sequence(*from), *limit, id_of, |line| {
                if written.is_ok() {
                    written = writeln!(out, "{line}");
                }
            })
            .context("the journal cannot be read")?;
            match written {
                Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
                _ => Ok(ExitCode::SUCCESS),
            }
        }
    }
}

/// Stable ids of the points; none where the facts cannot be read, which is said.
fn stable_ids(directory: &DataDirectory) -> HashMap<PointId, String> {
    match Facts::open_read_only(&directory.facts()).and_then(|facts| facts.identities()) {
        Ok(identities) => identities.into_iter().map(|(point, identity)| (point, identity.stable_id)).collect(),
        Err(error) => {
            complain_text(&format!("{}: {error}; points are shown by their numbers alone", directory.facts().display()));
            HashMap::new()
        }
    }
}

/// What the gateway that runs on a data directory answers; `None` when none does.
fn ask(data: &Path, request: &Request) -> Result<Option<Answer>> {
    match control::ask(data, request).context("the running gateway cannot be asked")? {
        Some(Answer::Error { error }) => bail!("{error}"),
        other => Ok(other),
    }
}

impl DataArguments {
    /// The configuration with the data directory that counts; its logging is started.
    fn loaded(&self) -> Result<Loaded<GatewaySettings>> {
        let mut loaded = app::load(&self.config, &Disk)?;
        crate::logging::start(&loaded.gateway.log);
        let configured = app::base_of(&self.config).join(&loaded.gateway.data_directory);
        loaded.gateway.data_directory = self.data.clone().unwrap_or(configured);
        Ok(loaded)
    }

    /// The facts of the data directory, to enter something, beside a running gateway too.
    pub(crate) fn facts(&self) -> Result<Facts> {
        let path = DataDirectory::open_read_only(&self.directory()?)?.facts();
        if !path.exists() {
            bail!("{} is not there: start the gateway once, it makes it", path.display());
        }
        Facts::open(&path).with_context(|| format!("{} cannot be used", path.display()))
    }

    /// The data directory: as given, else by the configuration.
    pub(crate) fn directory(&self) -> Result<PathBuf> {
        match &self.data {
            Some(directory) => Ok(directory.clone()),
            None => Ok(app::base_of(&self.config).join(&app::load(&self.config, &Disk)?.gateway.data_directory)),
        }
    }
}

/// Prints to standard output; a reader that went away is no error.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Prints why the program ends, to standard error.
pub fn complain(error: &anyhow::Error) {
    complain_text(&format!("{error:#}"));
}

pub(crate) fn complain_text(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "parkgate: {}", text.trim_end());
}

/// Whether standard error takes colours.
pub(crate) fn colour() -> bool {
    std::io::stderr().is_terminal()
}
