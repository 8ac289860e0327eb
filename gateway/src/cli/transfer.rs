//! `parkgate export` and `parkgate import`: see [`crate::transfer`].
//!
//! `import --json` prints one object: `rows` read and usable, `imported`, `present` (in the record before), `replaced` (of
//! those imported), `rounded`, `refused`, `dry_run`.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use parkgate_collector::catalogue::{Disk, MemoryRegistry, OWN_ID};
use parkgate_collector::clock::{Clock, SystemClock};
use parkgate_collector::model::{Medium, Origin, PointId, PointIdentity, UtcMillis};
use serde_json::json;

use super::{Alone, DataArguments, complain_text, say};
use crate::app::{self, Exit};
use crate::control::{self, Answer, Request};
use crate::transfer::export::{ExportError, Format, SampleRows};
use crate::transfer::import::{self, BATCH_ROWS, Imported, Values};
use crate::transfer::line_protocol::{self, Precision, SeriesMap};
use crate::transfer::rows::{self, Refused, Row, Targets};
use crate::transfer::time;

/// Refused rows that are shown; the others are counted.
const REFUSED_SHOWN: u64 = 20;

/// Arguments of `export`.
#[derive(Debug, Args)]
pub struct ExportArguments {
    /// Where the record is; it is only read, also beside a running gateway.
    #[command(flatten)]
    pub data: DataArguments,
    /// Stable ids of points; also those that the configuration does not have any more.
    #[arg(long, value_name = "POINT", value_delimiter = ',')]
    pub point: Vec<String>,
    /// All points of these media.
    #[arg(long, value_name = "MEDIUM", value_delimiter = ',', value_parser = medium)]
    pub medium: Vec<Medium>,
    /// All points.
    #[arg(long)]
    pub all: bool,
    /// First record time: RFC 3339, milliseconds since 1970, or the park's local time; the beginning unless given.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub from: Option<String>,
    /// Record time that is not exported any more, in the same forms; the end unless given.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub to: Option<String>,
    /// What is exported.
    #[arg(long, value_enum, default_value_t = What::Samples)]
    pub what: What,
    /// How it is written.
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    pub format: Format,
    /// Where it is written, complete or not at all; standard output unless given.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// What can be exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// The samples of points.
    Samples,
}

/// Arguments of `import`.
#[derive(Debug, Args)]
pub struct ImportArguments {
    /// A CSV file (`.csv`) with the columns point, time or time_ms, value and if wanted unit, quality, reason; or line
    /// protocol of InfluxDB (`.lp`).
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Where the record is.
    #[command(flatten)]
    pub data: DataArguments,
    /// What the file is, instead of by its name.
    #[arg(long, value_enum)]
    pub format: Option<FileFormat>,
    /// A CSV file with the columns `from` and `point`: names in the file (for line protocol `measurement.field` and if
    /// wanted `,tag=value`) and the points they are for.
    #[arg(long, value_name = "FILE")]
    pub point_map: Option<PathBuf>,
    /// Where the values come from: imported, hand_read, declared, estimated or simulated.
    #[arg(long, default_value = "imported", value_parser = origin)]
    pub origin: Origin,
    /// What times in line protocol count.
    #[arg(long, value_enum, default_value_t = Precision::Ns)]
    pub precision: Precision,
    /// Only read the file and say what is wrong with it.
    #[arg(long)]
    pub dry_run: bool,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

/// What files can be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FileFormat {
    /// Comma-separated values with a header.
    Csv,
    /// Line protocol.
    Lp,
}

fn medium(text: &str) -> Result<Medium, String> {
    Medium::ALL.iter().find(|one| one.name() == text).copied().ok_or_else(|| {
        let names: Vec<&str> = Medium::ALL.iter().map(|one| one.name()).collect();
        format!("media are {}", names.join(", "))
    })
}

fn origin(text: &str) -> Result<Origin, String> {
    let importable = || Origin::ALL.iter().copied().filter(|one| import::is_importable(*one));
    importable().find(|one| one.name() == text).ok_or_else(|| {
        let names: Vec<&str> = importable().map(Origin::name).collect();
        format!("values can be {}; what meters said is recorded by their drivers alone", names.join(", "))
    })
}

/// `parkgate export`.
pub fn export(arguments: &ExportArguments) -> Result<ExitCode> {
    if arguments.point.is_empty() && arguments.medium.is_empty() && !arguments.all {
        bail!("say what to export: --point P[,P], --medium M[,M] or --all");
    }
    let opened = app::open_read_only(&arguments.data.config, arguments.data.data.as_deref())?;
    let zone = time::zone(&opened.catalogue);
    let at = |text: &Option<String>, default| text.as_deref().map_or(Ok(UtcMillis(default)), |text| time::parse(text, &zone));
    let (from, to) = (at(&arguments.from, i64::MIN), at(&arguments.to, i64::MAX));
    let (from, to) = (from.map_err(|why| anyhow!("--from: {why}"))?, to.map_err(|why| anyhow!("--to: {why}"))?);
    let points = selected(arguments, &opened)?;
    let partial = arguments.out.as_deref().map(|out| {
        let mut name = out.as_os_str().to_owned();
        name.push(".partial");
        PathBuf::from(name)
    });
    let cannot = || partial.as_deref().unwrap_or(Path::new("standard output")).display().to_string();
    let target: Box<dyn std::io::Write> = match &partial {
        Some(partial) => Box::new(File::create(partial).with_context(cannot)?),
        None => Box::new(std::io::stdout()),
    };
    let write = || -> Result<u64, ExportError> {
        let mut rows = SampleRows::new(BufWriter::with_capacity(1 << 16, target), arguments.format, zone.clone())?;
        let mut written = 0;
        for (id, identity) in &points {
            written += rows.push_range(&opened.record, (*id, identity), from, to)?;
        }
        rows.finish()?;
        Ok(written)
    };
    let written = match write() {
        Ok(written) => written,
        Err(error) if error.is_closed_pipe() => return Ok(ExitCode::SUCCESS),
        Err(error) => {
            partial.iter().for_each(|partial| _ = std::fs::remove_file(partial));
            return Err(error).with_context(cannot);
        }
    };
    if let (Some(partial), Some(out)) = (&partial, &arguments.out) {
        File::open(partial).and_then(|file| file.sync_all()).and_then(|()| std::fs::rename(partial, out)).with_context(cannot)?;
        say(&format!("{written} samples of {} points in {}", points.len(), out.display()));
    }
    match opened.record.damaged() {
        0 => Ok(ExitCode::SUCCESS),
        damaged => {
            complain_text(&format!("{damaged} damaged places of history were left out; the log of the gateway names them"));
            Ok(ExitCode::from(Exit::Problems as u8))
        }
    }
}

/// The points asked for, by stable id; each number that an id ever had is a point of its own.
fn selected(arguments: &ExportArguments, opened: &app::ReadOnly) -> Result<Vec<(PointId, PointIdentity)>> {
    let identities = opened.facts.identities()?;
    for wanted in &arguments.point {
        if !identities.iter().any(|(_, identity)| identity.stable_id == *wanted) {
            bail!(
                "there is no point `{wanted}` in {}; GET /api/v1/points lists those of the configuration",
                opened.directory.path().display()
            );
        }
    }
    let own = format!("{OWN_ID}/");
    let of_medium = |id: PointId, stable_id: &str| match opened.catalogue.point(id) {
        Some(point) => arguments.medium.contains(&point.medium),
        // The gateway's own points are in no configuration.
        None => stable_id.starts_with(&own) && arguments.medium.contains(&Medium::Gateway),
    };
    let mut points: Vec<(PointId, PointIdentity)> = identities
        .into_iter()
        .filter(|(id, identity)| arguments.all || arguments.point.contains(&identity.stable_id) || of_medium(*id, &identity.stable_id))
        .collect();
    points.sort_by(|(a, one), (b, other)| (&one.stable_id, a).cmp(&(&other.stable_id, b)));
    Ok(points)
}

/// `parkgate import`.
pub fn import(arguments: &ImportArguments) -> Result<ExitCode> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let format = match (arguments.format, arguments.file.extension().and_then(|end| end.to_str())) {
        (Some(format), _) => format,
        (None, Some("csv")) => FileFormat::Csv,
        (None, Some("lp")) => FileFormat::Lp,
        _ => bail!("{}: say what it is with --format csv or --format lp", arguments.file.display()),
    };
    // Numbers of points are the gateway's; here only their names count.
    let catalogue = app::load(&arguments.data.config, &Disk)?.draft.build(&mut MemoryRegistry::default())?;
    let mut targets = Targets::new(&catalogue, clock.now().utc);
    let pairs = match &arguments.point_map {
        None => Vec::new(),
        Some(path) => {
            let file = File::open(path).with_context(|| path.display().to_string())?;
            rows::point_map(file).map_err(|why| anyhow!("{}: {why}", path.display()))?
        }
    };
    let name = arguments.file.display().to_string();
    let file = File::open(&arguments.file).with_context(|| name.clone())?;
    let mut sink = Sink::new(&arguments.data, clock);
    let dry_run = arguments.dry_run;
    let mut run =
        Run { sink: &mut sink, dry_run, origin: arguments.origin, pending: Vec::new(), done: Done::default(), name: &name, failed: None };
    let outcome = match format {
        FileFormat::Csv => {
            for (from, point) in &pairs {
                targets.add(from, point).map_err(|why| anyhow!("--point-map: {why}"))?;
            }
            rows::read_csv(file, &targets, |row| run.take(row))
        }
        FileFormat::Lp => {
            let map = SeriesMap::new(&pairs, &targets).map_err(|why| anyhow!("--point-map: {why}"))?;
            line_protocol::read(file, &targets, &map, arguments.precision, |row| run.take(row))
        }
    };
    if outcome.is_ok() && run.failed.is_none() {
        run.flush();
    }
    let (done, failed) = (run.done, run.failed.take());
    let late = sink.close();
    outcome.with_context(|| name.clone())?;
    if let Some(error) = failed {
        return Err(error.context(format!("{} values were imported before", done.imported.imported)));
    }
    late?;
    done.report(arguments);
    Ok(if done.refused == 0 { ExitCode::SUCCESS } else { ExitCode::from(Exit::Problems as u8) })
}

#[derive(Clone, Copy, Default)]
struct Done {
    rows: u64,
    rounded: u64,
    refused: u64,
    imported: Imported,
}

impl Done {
    fn report(&self, arguments: &ImportArguments) {
        let Imported { imported, present, replaced } = self.imported;
        if arguments.json {
            say(&json!({
                "rows": self.rows, "imported": imported, "present": present, "replaced": replaced, "rounded": self.rounded,
                "refused": self.refused, "dry_run": arguments.dry_run,
            })
            .to_string());
            return;
        }
        if self.refused > REFUSED_SHOWN {
            complain_text(&format!("{} more rows were refused", self.refused - REFUSED_SHOWN));
        }
        let refused = format!("{} rows were refused", self.refused);
        if arguments.dry_run {
            say(&format!("{} values can be imported, {refused}; nothing was written", self.rows));
        } else {
            say(&format!("{imported} values imported and durable, {present} were there before; {refused}"));
        }
        if replaced > 0 {
            say(&format!("{replaced} of them replaced another number of the same time, which is kept as a correction"));
        }
        if self.rounded > 0 {
            say(&format!("{} had more decimals than their point and were rounded", self.rounded));
        }
    }
}

/// Gathers rows and sends them on.
struct Run<'a, 'b> {
    sink: &'a mut Sink<'b>,
    dry_run: bool,
    origin: Origin,
    pending: Vec<Row>,
    done: Done,
    name: &'a str,
    failed: Option<anyhow::Error>,
}

impl Run<'_, '_> {
    fn take(&mut self, row: Result<Row, Refused>) -> bool {
        match row {
            Ok(row) => {
                self.done.rows += 1;
                self.done.rounded += u64::from(row.rounded);
                self.pending.push(row);
                if self.pending.len() >= BATCH_ROWS {
                    self.flush();
                }
            }
            Err(Refused { line, why }) => {
                self.done.refused += 1;
                if self.done.refused <= REFUSED_SHOWN {
                    complain_text(&format!("{}:{line}: {why}", self.name));
                }
            }
        }
        self.failed.is_none()
    }

    fn flush(&mut self) {
        let rows = std::mem::take(&mut self.pending);
        if rows.is_empty() || self.dry_run {
            return;
        }
        match self.sink.send(Values::of(self.origin, &rows)) {
            Ok(imported) => self.done.imported.add(imported),
            Err(error) => self.failed = Some(error),
        }
    }
}

/// Where values go: the running gateway, else an engine of our own.
pub(super) struct Sink<'a> {
    data: &'a DataArguments,
    clock: Arc<dyn Clock>,
    target: Target,
}

enum Target {
    Unknown,
    Running(PathBuf),
    Alone(Box<Alone>),
}

impl<'a> Sink<'a> {
    pub(super) fn new(data: &'a DataArguments, clock: Arc<dyn Clock>) -> Self {
        Self { data, clock, target: Target::Unknown }
    }

    /// Durable when this returns.
    pub(super) fn send(&mut self, values: Values) -> Result<Imported> {
        if matches!(self.target, Target::Unknown) {
            let data = self.data.directory()?;
            let request = Request::Position { checkpoint: false };
            self.target = match control::ask(&data, &request).context("the running gateway cannot be asked")? {
                Some(_) => Target::Running(data),
                None => Target::Alone(Box::new(Alone::start(self.data, Arc::clone(&self.clock))?)),
            };
        }
        match &self.target {
            Target::Running(data) => match super::ask(data, &Request::Import(values))? {
                Some(Answer::Imported(imported)) => Ok(imported),
                Some(other) => bail!("the running gateway answered something else: {other:?}"),
                None => bail!("the gateway has stopped; import the file again, what is there already is left out"),
            },
            Target::Alone(alone) => {
                let Alone { engine, start, runtime } = &**alone;
                let outlet = engine.outlet();
                let record = (engine.journal(), engine.history());
                runtime.block_on(import::import(&start.catalogue, &outlet, record, self.clock.now().utc, values))
            }
            Target::Unknown => bail!("no gateway and no engine"),
        }
    }

    pub(super) fn close(self) -> Result<()> {
        if let Target::Alone(alone) = self.target {
            let late = alone.engine.stop();
            if !late.is_empty() {
                bail!("these parts did not stop in time: {}", late.join(", "));
            }
        }
        Ok(())
    }
}
