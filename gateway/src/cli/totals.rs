//! `parkgate totals` and `parkgate rebuild`: totals on the command line, read from the data directory beside a running
//! gateway.
//!
//! `totals --json` prints one object a line, with the keys of [`TotalRow`]; exact decimals are strings.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use parkgate_collector::catalogue::Catalogue;
use parkgate_collector::model::{PointIdentity, UtcMillis};
use sha2::{Digest as _, Sha256};

use super::DataArguments;
use crate::app::{self, ReadOnly};
use crate::rollup::meters::Meters;
use crate::rollup::recount::Recount;
use crate::rollup::row::TotalRow;
use crate::rollup::rule::PointRule;
use crate::rollup::store::{Changes, TotalsStore};
use crate::rollup::{Level, ParkZone, Total, Totals, TotalsView as _};
use crate::store::{DataDirectory, Facts, RecordView, StoreError, TotalCorrection, record_read_only};

/// Differences that `rebuild --check` lists; all are counted.
const DIFFERENCES_SHOWN: usize = 100;

/// Arguments of `totals`.
#[derive(Debug, Args)]
pub struct TotalsArguments {
    /// Where.
    #[command(flatten)]
    pub data: DataArguments,
    /// Stable id of a point; may be given several times.
    #[arg(long, required = true, value_name = "POINT")]
    pub point: Vec<String>,
    /// Periods, with commas between them.
    #[arg(long, value_delimiter = ',', default_value = "day")]
    pub level: Vec<Level>,
    /// First period that starts at or after: a date in the park's zone, or RFC 3339. The beginning unless given.
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Periods that start before. No end unless given.
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// Print one JSON object per line.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `rebuild`.
#[derive(Debug, Args)]
pub struct RebuildArguments {
    /// Where.
    #[command(flatten)]
    pub data: DataArguments,
    /// Change nothing: compare what is stored with what the record says; exit 1 when they differ. Works beside a
    /// running gateway.
    #[arg(long)]
    pub check: bool,
}

/// `parkgate totals`.
pub fn totals(arguments: &TotalsArguments) -> Result<ExitCode> {
    let ReadOnly { catalogue, record, directory, .. } = app::open_read_only(&arguments.data.config, arguments.data.data.as_deref())?;
    let totals = Totals::read_only(&catalogue, Arc::new(record), &directory)?;
    let time = |text: &Option<String>, default| match text {
        None => Ok(UtcMillis(default)),
        Some(text) => {
            totals.zone().read(text).with_context(|| format!("`{text}` is no time: write 2026-11-01, or 2026-11-01T08:00:00+08:00"))
        }
    };
    let (from, to) = (time(&arguments.from, i64::MIN)?, time(&arguments.to, i64::MAX)?);
    let mut rows = Vec::new();
    for id in &arguments.point {
        let Some(point) = catalogue.point_by_stable_id(id) else {
            let near = catalogue.points.iter().map(|point| point.identity.stable_id.as_str());
            let near = near.min_by_key(|near| strsim::damerau_levenshtein(near, id)).unwrap_or("none");
            bail!("there is no point `{id}` in the configuration; the nearest is `{near}`");
        };
        for &level in &arguments.level {
            let found = totals.totals(point.id, level, from, to)?;
            rows.extend(found.iter().map(|total| TotalRow::new(total, &point.identity, totals.zone())));
        }
    }
    let mut out = std::io::stdout().lock();
    let written = if arguments.json {
        rows.iter().try_for_each(|row| writeln!(out, "{}", serde_json::to_string(row).unwrap_or_default()))
    } else {
        out.write_all(table(&rows).as_bytes())
    };
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Rows as a table for people: columns as wide as they need to be.
pub(crate) fn table(rows: &[TotalRow]) -> String {
    let head = ["point", "level", "start", "total", "unit", "estimate", "complete", "flags"].map(str::to_owned);
    let cells = rows.iter().map(|row| {
        let mut flags = row.flags.join(" ");
        if !row.closed {
            flags = format!("open {flags}").trim_end().to_owned();
        }
        [
            row.point.clone(),
            row.level.to_owned(),
            row.start.clone(),
            row.headline(),
            row.unit.clone(),
            row.tail_estimate.clone().unwrap_or_else(|| "-".into()),
            row.completeness.clone().unwrap_or_else(|| "-".into()),
            flags,
        ]
    });
    let lines: Vec<[String; 8]> = std::iter::once(head).chain(cells).collect();
    let width = |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..8).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// `parkgate rebuild`.
pub fn rebuild(arguments: &RebuildArguments) -> Result<ExitCode> {
    if arguments.check {
        let ReadOnly { catalogue, record, directory, .. } = app::open_read_only(&arguments.data.config, arguments.data.data.as_deref())?;
        // Counted into a copy that is thrown away, so that what is compared is just what a rebuild would store.
        let copy = std::env::temp_dir().join(format!("parkgate-rebuild-{}.db", std::process::id()));
        let checked = check(&directory, &catalogue, &record, &copy);
        for end in ["", "-wal", "-shm"] {
            let mut name = copy.clone().into_os_string();
            name.push(end);
            let _ = std::fs::remove_file(name);
        }
        return checked;
    }
    let loaded = arguments.data.loaded()?;
    let clock = Arc::new(parkgate_collector::clock::SystemClock::new());
    let start = app::open(loaded, std::path::Path::new(""), clock, false).context("stop the gateway first, or use --check")?;
    let record = record_read_only(&start.directory).context("the record cannot be read")?;
    let (path, zone) = (start.directory.totals(), ParkZone::new(&start.catalogue.park.time_zone));
    if path.exists() {
        same_zone(&TotalsStore::open_read_only(&path)?, &zone)?;
    }
    let mut store = TotalsStore::open(&path, &zone)?;
    let meters = Meters::read_only(&start.catalogue, &start.directory)?;
    let found = recount_all(&mut store, &start.catalogue, &record, &meters, Some(&start.facts))?;
    super::say(&format!("{} hours counted, {} totals changed", found.hours, found.differences));
    Ok(ExitCode::SUCCESS)
}

fn check(directory: &DataDirectory, catalogue: &Catalogue, record: &dyn RecordView, copy: &std::path::Path) -> Result<ExitCode> {
    let zone = ParkZone::new(&catalogue.park.time_zone);
    let stored = TotalsStore::open_read_only(&directory.totals()).context("there are no totals yet")?;
    same_zone(&stored, &zone)?;
    stored.copy_to(copy)?;
    let mut store = TotalsStore::open(copy, &zone)?;
    let before = hash(&store, catalogue)?;
    let found = recount_all(&mut store, catalogue, record, &Meters::read_only(catalogue, directory)?, None)?;
    let after = hash(&store, catalogue)?;
    for difference in &found.shown {
        super::say(difference);
    }
    super::say(&format!("stored  {before}\nrecord  {after}"));
    super::say(&format!("{} hours counted, {} totals differ", found.hours, found.differences));
    Ok(if before == after { ExitCode::SUCCESS } else { ExitCode::from(app::Exit::Problems as u8) })
}

fn same_zone(store: &TotalsStore, zone: &ParkZone) -> Result<()> {
    if !store.is_of(zone) {
        bail!("the stored totals are of another time zone than {}; the gateway counts all again when it starts", zone.name());
    }
    Ok(())
}

/// What a recount of everything found.
struct Found {
    hours: u64,
    differences: u64,
    /// The first of them, for people.
    shown: Vec<String>,
}

/// Counts all closed hours of all points again; with `facts`, what changes becomes a correction.
fn recount_all(
    store: &mut TotalsStore,
    catalogue: &Catalogue,
    record: &dyn RecordView,
    meters: &Meters,
    facts: Option<&Facts>,
) -> Result<Found> {
    let zone = ParkZone::new(&catalogue.park.time_zone);
    let mut found = Found { hours: 0, differences: 0, shown: Vec::new() };
    for (point, followed) in store.followed()? {
        let Some(configured) = catalogue.point(point) else { continue };
        let rule = PointRule::new(configured);
        let Some(first) = crate::rollup::scan::neighbour_after(record, point, UtcMillis(i64::MIN))? else { continue };
        let from = zone.period_of(Level::Hour, first.record_time).start;
        let writing = store.write()?;
        let declared = meters.of(point);
        let recount = Recount { record, zone: &zone, rule: &rule, declared: &declared };
        let recounted = recount.run(&writing, (from, followed.until), from, followed.until)?;
        found.hours = found.hours.saturating_add(recounted.hours);
        let mut log = Changes::new();
        let mut corrections = Vec::new();
        for change in &recounted.changed {
            log.entry((change.period.level, change.period.start)).or_default().insert(point);
            found.differences = found.differences.saturating_add(1);
            let show = found.shown.len() < DIFFERENCES_SHOWN;
            if change.old.is_none() && !show {
                continue;
            }
            let text = |total: &Total| row_text(total, &configured.identity, &zone);
            let (old, new) = (change.old.as_deref().map(text), recount.stored(writing.store(), change.period)?.as_ref().map(text));
            if show {
                let shown = |text: &Option<String>| text.clone().unwrap_or_else(|| "nothing".into());
                found.shown.push(format!("stored: {}\nrecord: {}", shown(&old), shown(&new)));
            }
            corrections.extend(old.map(|old| TotalCorrection {
                point,
                level: change.period.level.name().to_owned(),
                start: change.period.start,
                old,
                new,
                cause: "rebuilt from the record".to_owned(),
                time: followed.received,
            }));
        }
        writing.follow(point, followed, &rule.fingerprint())?;
        writing.changed(&log)?;
        if let Some(facts) = facts {
            facts.add_total_corrections(&corrections)?;
        }
        writing.commit()?;
    }
    Ok(found)
}

/// SHA-256 of all closed totals, by point, level and start.
fn hash(store: &TotalsStore, catalogue: &Catalogue) -> Result<String, StoreError> {
    let zone = ParkZone::new(&catalogue.park.time_zone);
    let mut hasher = Sha256::new();
    let mut followed = store.followed()?;
    followed.sort_by_key(|(point, _)| *point);
    for (point, _) in followed {
        let Some(configured) = catalogue.point(point) else { continue };
        let rule = PointRule::new(configured);
        for &level in Level::ALL {
            for (period, part) in store.parts(&zone, point, level, UtcMillis(i64::MIN), UtcMillis(i64::MAX))?.known {
                hasher.update(row_text(&part.total(&rule, period, true, period.end), &configured.identity, &zone));
                hasher.update("\n");
            }
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn row_text(total: &Total, identity: &PointIdentity, zone: &ParkZone) -> String {
    serde_json::to_string(&TotalRow::new(total, identity, zone)).unwrap_or_default()
}
