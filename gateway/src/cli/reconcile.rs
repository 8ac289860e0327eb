//! `parkgate reconcile` and `parkgate forward`: what the sinks have and what they did not take. Both read beside a running
//! gateway and change nothing.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use parkgate_collector::catalogue::Disk;
use parkgate_collector::model::UtcMillis;

use super::{DataArguments, complain_text, say};
use crate::app;
use crate::forward::client::Client;
use crate::forward::reconcile::{self, Corrected, Difference, Subject};
use crate::forward::state::State;
use crate::forward::{SinkKind, SinkSettings, state_path};
use crate::rollup::{Level, Totals, TotalsView as _};

/// Points left out that are named.
const LEFT_OUT_SHOWN: usize = 5;

/// Arguments of `reconcile`.
#[derive(Debug, Args)]
pub struct ReconcileArguments {
    /// Sinks of this kind.
    pub kind: ReconcileKind,
    /// Where.
    #[command(flatten)]
    pub data: DataArguments,
    /// Only this sink.
    #[arg(long, value_name = "ID")]
    pub sink: Option<String>,
    /// From this day (of the park) or RFC 3339 time on.
    #[arg(long, value_name = "DAY|TIME")]
    pub from: String,
    /// Up to this day or time, which is not compared itself.
    #[arg(long, value_name = "DAY|TIME")]
    pub to: String,
    /// Print one JSON object per difference.
    #[arg(long)]
    pub json: bool,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ReconcileKind {
    /// InfluxDB 2 and InfluxDB 1.
    #[value(name = "influxdb")]
    Influxdb,
    /// VictoriaMetrics.
    #[value(name = "victoriametrics")]
    Victoriametrics,
}

impl ReconcileKind {
    fn is_of(self, kind: SinkKind) -> bool {
        (self == Self::Victoriametrics) == (kind == SinkKind::Victoriametrics)
    }
}

/// Arguments of `forward`.
#[derive(Debug, Args)]
pub struct ForwardArguments {
    /// What to show.
    #[command(subcommand)]
    pub command: ForwardCommand,
}

/// What `forward` can show.
#[derive(Debug, Subcommand)]
pub enum ForwardCommand {
    /// Print lines that sinks do not accept, with the reason, oldest first.
    DeadLetters {
        /// Where.
        #[command(flatten)]
        data: DataArguments,
        /// Only of this sink.
        #[arg(long, value_name = "ID")]
        sink: Option<String>,
        /// Print one JSON object per line.
        #[arg(long)]
        json: bool,
    },
}

/// `parkgate reconcile`: 0 no difference, 1 differences, 2 could not run.
pub fn reconcile(arguments: &ReconcileArguments) -> Result<ExitCode> {
    let config = &arguments.data.config;
    // Whatever is wrong here, nothing was compared.
    let settings = app::load(config, &Disk).map_err(could_not_run)?.gateway;
    let sinks: Vec<&SinkSettings> =
        chosen(&settings.sink, arguments.sink.as_deref())?.into_iter().filter(|sink| arguments.kind.is_of(sink.kind)).collect();
    if sinks.is_empty() {
        bail!("no sink of this kind is configured: add a [[gateway.sink]] to {}", config.display());
    }
    let park = app::open_read_only(config, arguments.data.data.as_deref()).map_err(could_not_run)?;
    let zone = &park.catalogue.park.time_zone;
    let (from, to) = (time(&arguments.from, zone).context("--from")?, time(&arguments.to, zone).context("--to")?);
    if from >= to {
        bail!("--from must lie before --to");
    }
    let days = reconcile::days(zone, from, to)?;
    let identities = park.facts.identities().context("the points cannot be read from facts.db")?;
    let mut corrected = Corrected::default();
    for correction in park.record.corrections().context("corrections cannot be read")? {
        corrected.samples.entry(correction.point).or_default().push(correction.key_time);
    }
    for correction in park.facts.total_corrections().context("corrections of totals cannot be read")? {
        if let Some(&level) = Level::ALL.iter().find(|level| level.name() == correction.level) {
            corrected.totals.entry((correction.point, level)).or_default().insert(correction.start);
        }
    }
    let totals = Totals::read_only(&park.catalogue, Arc::new(park.record.clone()), &park.directory).context("totals.db cannot be read")?;
    let mut different = false;
    for sink in sinks {
        let client = Client::new(sink, &app::base_of(config)).with_context(|| format!("[[gateway.sink]] `{}`", sink.id))?;
        let state = open_state(park.directory.path(), sink)?;
        if let Some(state) = &state {
            let next = state.cursor()?.unwrap_or_default().0.max(1);
            let waiting = park.record.position().0.saturating_add(1).saturating_sub(next);
            let gaps = state.gaps()?.len();
            if waiting > 0 || gaps > 0 {
                complain_text(&format!("sink {}: {waiting} journal entries and {gaps} gaps are not sent yet", sink.id));
            }
            if sink.totals && !totals.closed_since(state.totals()?.unwrap_or(0), 1)?.1.is_empty() {
                complain_text(&format!("sink {}: totals that closed are not sent yet", sink.id));
            }
        }
        let subject = Subject {
            sink,
            client: &client,
            catalogue: &park.catalogue,
            record: &park.record,
            totals: Some(&totals),
            identities: &identities,
            corrected: &corrected,
        };
        let mut out = std::io::stdout().lock();
        let summary = reconcile::run(&subject, &days, |difference| {
            if arguments.json {
                serde_json::to_writer(&mut out, difference)?;
                writeln!(out)?;
            } else {
                writeln!(out, "{}", shown(difference))?;
            }
            Ok(())
        })
        .with_context(|| format!("sink {}", sink.id))?;
        drop(out);
        if !summary.left_out.is_empty() {
            complain_text(&left_out(&sink.id, &summary.left_out));
        }
        if !arguments.json {
            say(&format!(
                "sink {}: {} values in {} days of series compared, {} differences, {} superseded",
                sink.id, summary.values, summary.compared, summary.differences, summary.superseded
            ));
        }
        different |= summary.differences > 0;
    }
    Ok(if different { ExitCode::from(app::Exit::Problems as u8) } else { ExitCode::SUCCESS })
}

/// Ids that the configuration does not have, the first few by name.
fn left_out(sink: &str, ids: &BTreeSet<String>) -> String {
    let first: Vec<&str> = ids.iter().take(LEFT_OUT_SHOWN).map(String::as_str).collect();
    let more = if ids.len() > first.len() { ", ..." } else { "" };
    format!("sink {sink}: {} points that the configuration does not have are not compared: {}{more}", ids.len(), first.join(", "))
}

fn shown(difference: &Difference) -> String {
    let Difference { series, point, state, day, count, sum, sink_count, sink_sum, superseded, .. } = difference;
    let state = state.as_ref().map(|code| format!(" state {code}")).unwrap_or_default();
    let mark = if *superseded { " (superseded: the record was corrected after it was sent)" } else { "" };
    format!("{day} {series} {point}{state}: record {count} values, sum {sum}; sink {sink_count} values, sum {sink_sum}{mark}")
}

/// `parkgate forward`.
pub fn forward(arguments: &ForwardArguments) -> Result<ExitCode> {
    let ForwardCommand::DeadLetters { data, sink, json } = &arguments.command;
    let settings = app::load(&data.config, &Disk)?.gateway;
    let mut out = std::io::stdout().lock();
    for sink in chosen(&settings.sink, sink.as_deref())? {
        let Some(state) = open_state(&data.directory()?, sink)? else { continue };
        for letter in state.dead_letters()? {
            if *json {
                let line =
                    serde_json::json!({ "sink": sink.id, "time": letter.time.to_string(), "line": letter.line, "reason": letter.reason });
                writeln!(out, "{line}")?;
            } else {
                writeln!(out, "{} {}: {}\n    {}", letter.time, sink.id, letter.reason, letter.line)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The sinks configured, or the one that is named.
fn chosen<'a>(sinks: &'a [SinkSettings], id: Option<&str>) -> Result<Vec<&'a SinkSettings>> {
    let found: Vec<&SinkSettings> = sinks.iter().filter(|sink| id.is_none_or(|id| sink.id == id)).collect();
    match id {
        Some(id) if found.is_empty() => bail!("there is no sink `{id}` in the configuration"),
        _ => Ok(found),
    }
}

fn open_state(data: &Path, sink: &SinkSettings) -> Result<Option<State>> {
    let path = state_path(data, &sink.id);
    if !path.exists() {
        return Ok(None);
    }
    State::open_read_only(&path).map(Some).with_context(|| format!("{} cannot be read", path.display()))
}

/// A day of the park or an RFC 3339 time.
fn time(text: &str, zone: &str) -> Result<UtcMillis> {
    if let Ok(timestamp) = text.parse::<jiff::Timestamp>() {
        return Ok(UtcMillis(timestamp.as_millisecond()));
    }
    let date: jiff::civil::Date = text.parse().with_context(|| format!("`{text}` is neither a day (2026-11-23) nor a time (RFC 3339)"))?;
    Ok(UtcMillis(date.to_zoned(jiff::tz::TimeZone::get(zone)?)?.timestamp().as_millisecond()))
}

/// Exit code 1 says that there are differences; here nothing was compared.
fn could_not_run(error: anyhow::Error) -> anyhow::Error {
    app::Failure { exit: app::Exit::CouldNotRun, message: format!("{error:#}") }.into()
}
