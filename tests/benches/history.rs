//! The record: bytes per sample, memory over a day, queries, start.
//!
//! Three children work one after the other on one data directory: `history_day` streams a simulated day through the whole
//! engine, `history_tail` leaves a full checkpoint interval in the journal and ends without a word, `history_start` starts
//! on it. Queries run in this process, between the first and the second.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use parkgate_collector::model::{Decimal, Number, PointId, Reading, UtcMillis};
use parkgate_gateway::engine::EngineSettings;
use parkgate_gateway::store::{History, HistorySettings, RecordView};

use crate::fixture::{self, Meters, START};
use crate::process::{Helper, median, memory_mb, quick};
use crate::table::Table;

/// Points that are read each 10 s.
const POINTS: u32 = 10_000;
/// One more point, with 30 days before the day.
const LONG_POINT: PointId = PointId(POINTS + 1);
/// Its days.
const LONG_DAYS: i64 = 30;
/// Interval of all points.
const INTERVAL_MS: i64 = 10_000;
/// Readings of a point in a day.
const ROUNDS_PER_DAY: i64 = DAY_MS / INTERVAL_MS;
/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;
/// Samples in the journal at that start: what the program lets gather before a checkpoint is due, by default.
const TAIL_SAMPLES: usize = 5_000_000;
/// Blocks that are there at that start.
const BLOCK_BYTES: u64 = 1_000_000_000;
/// Times that a query is asked; the median counts.
const QUERIES: u32 = 31;

/// Measures all of it.
pub fn run(table: &mut Table) -> Result<()> {
    let folder = tempfile::tempdir()?;
    // Whole hours, so that windows are full.
    let (rounds, day) = if quick() { (ROUNDS_PER_DAY / 12, "two hours") } else { (ROUNDS_PER_DAY, "a day") };
    let arguments = [folder.path().to_str().context("not UTF-8")?.to_owned(), rounds.to_string()];

    let mut child = Helper::start("history_day", &arguments)?;
    let numbers = child.numbers()?;
    let [seconds, peak, block_bytes, block_samples] = numbers[..] else { anyhow::bail!("{numbers:?}") };
    drop(child);
    let samples = f64::from(POINTS) * rounds as f64;
    let figure = format!("{peak:.0} ({:.1} M samples/s)", samples / seconds / 1e6);
    table.row(&format!("history, 10,000 points at 10 s over {day}: peak RSS MB"), figure, "<= 200", Some(peak <= 200.0));

    let history_folder = folder.path().join("history");
    let file_bytes = bytes_in(&history_folder)?;
    let all_samples = samples + (LONG_DAYS * ROUNDS_PER_DAY) as f64;
    let (of_blocks, of_files) = (block_bytes / block_samples, file_bytes as f64 / all_samples);
    ensure!(block_samples >= all_samples * 0.9, "only {block_samples} of {all_samples} samples are in blocks");
    let figure = format!("{of_blocks:.2} in blocks, {of_files:.2} of files");
    let reached = of_blocks <= 2.3 && of_files <= 2.3;
    table.row("the same, bytes per sample with all three times (half with jitter)", figure, "<= 2.3", Some(reached));

    queries(table, &history_folder, rounds)?;
    start(table, folder.path(), &arguments)
}

fn queries(table: &mut Table, folder: &Path, rounds: i64) -> Result<()> {
    let history = History::open(folder, HistorySettings::default(), Arc::new(|_| false))?;
    let milliseconds = |query: &dyn Fn(u32) -> Result<()>| {
        let mut times = Vec::new();
        for number in 0..QUERIES {
            let start = Instant::now();
            query(number)?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        Ok::<_, anyhow::Error>(median(times))
    };
    let latest = milliseconds(&|_| {
        let found = (1..=POINTS).filter(|point| history.latest(PointId(*point)).is_some()).count();
        ensure!(found == POINTS as usize, "only {found} latest values");
        Ok(())
    })?;
    table.row("history, last value of 10,000 points in process, ms", format!("{latest:.2}"), "<= 5", Some(latest <= 5.0));

    // Another point each time, so that nothing is warm but what the machine keeps of files.
    let raw = milliseconds(&|number| {
        let point = PointId(1 + number * 317);
        let found = history.scan(point, START, START.plus(DAY_MS), usize::MAX)?.len();
        ensure!(found >= rounds as usize - 1, "only {found} samples of {point:?}");
        Ok(())
    })?;
    let what = format!("history, one point's 24 h raw ({rounds} samples), ms");
    table.row(&what, format!("{raw:.2}"), "<= 2", Some(raw <= 2.0));

    let first = START.plus(-LONG_DAYS * DAY_MS);
    let edges: Vec<UtcMillis> = (0..=LONG_DAYS * 24).map(|hour| first.plus(hour * 3_600_000)).collect();
    let hours = milliseconds(&|_| {
        let found: u64 = history.buckets(LONG_POINT, &edges)?.iter().map(|bucket| bucket.count).sum();
        ensure!(found == (LONG_DAYS * ROUNDS_PER_DAY) as u64, "{found} samples in the buckets");
        Ok(())
    })?;
    let what = format!("history, hourly means of a point over 30 days ({} samples), ms", LONG_DAYS * ROUNDS_PER_DAY);
    table.row(&what, format!("{hours:.2}"), "<= 5", Some(hours <= 5.0));
    Ok(())
}

fn start(table: &mut Table, folder: &Path, arguments: &[String]) -> Result<()> {
    // The day is too short for so many blocks: its month's file again under the names of earlier months.
    let month = folder.join("history").join("2026-01-other.db");
    let size = std::fs::metadata(&month)?.len();
    for earlier in 1..=12 {
        if bytes_in(&folder.join("history"))? + size > BLOCK_BYTES + size / 2 {
            break;
        }
        std::fs::copy(&month, folder.join("history").join(format!("2024-{earlier:02}-other.db")))?;
    }
    let file_bytes = bytes_in(&folder.join("history"))?;

    let mut child = Helper::start("history_tail", arguments)?;
    let tail = child.numbers()?;
    drop(child);
    let mut child = Helper::start("history_start", arguments)?;
    let numbers = child.numbers()?;
    let ([tail_samples, tail_bytes], [opened, seconds, applied]) = (&tail[..], &numbers[..]) else { anyhow::bail!("{tail:?} {numbers:?}") };
    ensure!(applied == tail_samples, "{tail_samples} samples were in the journal, {applied} were read");
    let peak = memory_mb(&child.pid(), "VmHWM")?;
    let what = format!(
        "start with 10,000 points, {:.0} MB ({:.1} M samples) of journal, {:.2} GB of blocks: s until history has all",
        tail_bytes / 1e6,
        tail_samples / 1e6,
        file_bytes as f64 / 1e9
    );
    let figure = format!("{seconds:.2} ({opened:.2} until drivers may start; peak RSS {peak:.0} MB)");
    table.row(&what, figure, "<= 3", Some(*seconds <= 3.0));
    Ok(())
}

fn bytes_in(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}

/// What the children are called with: the data directory and how many readings each point gets.
fn folder_and_rounds(arguments: &[String]) -> Result<(&Path, i64)> {
    let [folder, rounds] = arguments else { anyhow::bail!("FOLDER ROUNDS") };
    Ok((Path::new(folder), rounds.parse()?))
}

/// `bench child history_day FOLDER ROUNDS`: tells seconds of the day, peak memory, bytes and samples of blocks.
pub fn child_day(arguments: &[String]) -> Result<()> {
    let (folder, rounds) = folder_and_rounds(arguments)?;
    let runtime = fixture::runtime()?;
    let (_lock, engine) = fixture::engine(folder, &fixture::catalogue(POINTS + 1), EngineSettings::default(), &runtime)?;
    let outlet = engine.outlet();
    let (mut readings, mut random) = (Vec::new(), fastrand::Rng::with_seed(1));
    for round in -LONG_DAYS * ROUNDS_PER_DAY..0 {
        let time = START.plus(round * INTERVAL_MS);
        let value = 7 * round + round % 5;
        readings.push(Reading { point: LONG_POINT, number: Number::Exact(Decimal::new(value, 0)), source_time: Some(time) });
        if readings.len() == 2_000 || round == -1 {
            fixture::send(&outlet, time, &readings, &mut random)?;
            readings.clear();
        }
    }
    let mut meters = Meters::new(POINTS, true);
    let start = Instant::now();
    for round in 0..rounds {
        let time = START.plus(round * INTERVAL_MS);
        readings.clear();
        meters.read(time, &mut readings);
        fixture::send(&outlet, time, &readings, &mut random)?;
    }
    fixture::until_durable(&outlet)?;
    runtime.block_on(engine.caught_up());
    let seconds = start.elapsed().as_secs_f64();
    drop(outlet);
    let history = engine.history().clone();
    let late = engine.stop();
    ensure!(late.is_empty(), "did not stop in time: {late:?}");
    let stats = history.stats();
    // Closes the files, so that what they take has settled.
    drop(history);
    println!("{seconds} {} {} {}", memory_mb("self", "VmHWM")?, stats.block_bytes, stats.block_samples);
    Ok(())
}

/// `bench child history_tail FOLDER ROUNDS`: goes on after the day until the journal has grown by [`TAIL_SAMPLES`], without a
/// checkpoint, and ends as if killed. Tells samples and bytes.
pub fn child_tail(arguments: &[String]) -> Result<()> {
    let (folder, rounds) = folder_and_rounds(arguments)?;
    let runtime = fixture::runtime()?;
    let never = HistorySettings {
        checkpoint_bytes: u64::MAX,
        checkpoint_samples: u64::MAX,
        checkpoint_ms: u64::MAX,
        head_bytes: usize::MAX,
        ..HistorySettings::default()
    };
    let settings = EngineSettings { history: never, ..EngineSettings::default() };
    let (_lock, engine) = fixture::engine(folder, &fixture::catalogue(POINTS + 1), settings, &runtime)?;
    let outlet = engine.outlet();
    let (mut meters, mut random) = (Meters::new(POINTS, true), fastrand::Rng::with_seed(2));
    let (mut readings, mut samples) = (Vec::new(), 0);
    for round in rounds.. {
        let time = START.plus(round * INTERVAL_MS);
        readings.clear();
        meters.read(time, &mut readings);
        fixture::send(&outlet, time, &readings, &mut random)?;
        samples += readings.len();
        if samples >= TAIL_SAMPLES {
            break;
        }
    }
    fixture::until_durable(&outlet)?;
    println!("{samples} {}", engine.journal().stats().appended_bytes);
    std::process::exit(0)
}

/// `bench child history_start FOLDER ROUNDS`: tells seconds until the engine runs, seconds until history has all of the
/// journal, and samples it read; then waits to be killed.
pub fn child_start(arguments: &[String]) -> Result<()> {
    let (folder, _) = folder_and_rounds(arguments)?;
    let runtime = fixture::runtime()?;
    let catalogue = fixture::catalogue(POINTS + 1);
    let start = Instant::now();
    let (_lock, engine) = fixture::engine(folder, &catalogue, EngineSettings::default(), &runtime)?;
    let opened = start.elapsed().as_secs_f64();
    runtime.block_on(engine.caught_up());
    let seconds = start.elapsed().as_secs_f64();
    println!("{opened} {seconds} {}", engine.history().stats().samples_applied);
    loop {
        std::thread::park();
    }
}
