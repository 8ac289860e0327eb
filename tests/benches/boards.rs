//! What boards ask, over HTTP beside VictoriaMetrics on the same data, which the forwarder brings there; and people who look
//! while values come in.
//!
//! A child fills the record of a real configuration through the engine: 1,000 points over a day and one over 30 days, each
//! every 10 s, and the last minutes of 9,000 more. Then the real program forwards it, and both are asked in turn.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use parkgate_collector::catalogue::{self, Disk};
use parkgate_collector::driver::{Batch, Message, Outcome, Outlet};
use parkgate_collector::model::{Decimal, LinkKey, Number, Origin, PointId, Reading, UtcMillis};
use parkgate_gateway::settings::GatewaySettings;
use parkgate_gateway::store::{DataDirectory, Facts};
use parkgate_tests::gateway::Gateway;
use parkgate_tests::server::Server;
use parkgate_tests::{now_ms, wait_for};
use serde_json::Value;
use ureq::Agent;

use crate::fixture;
use crate::modbus::{Alarms, UNITS_PER_LINK, Units};
use crate::process::{Helper, cpu_seconds, median, memory_mb, metric, quick};
use crate::table::Table;

/// Devices of ten points each.
const DEVICES: u32 = 1_000;
const POINTS_PER_DEVICE: u32 = 10;
/// Points with a whole day: those of the first devices.
const DAY_POINTS: usize = 1_000;
/// Interval of all points.
const INTERVAL_MS: i64 = 10_000;
const DAY_MS: i64 = 86_400_000;
/// Days of the long point.
const LONG_DAYS: i64 = 30;
/// What the points without a whole day have.
const SHORT_MS: i64 = 300_000;
/// The live rate that a drain is held against: 10,000 points each 10 s.
const LIVE_RATE: f64 = 1_000.0;
/// Times that a query is asked of each; the median counts.
const ASKED: usize = 15;
/// Time that VictoriaMetrics has for merging before it is asked.
const SETTLE: Duration = Duration::from_secs(15);
/// People who look at a board, and how often it asks.
const VIEWERS: u64 = 20;
const REFRESH: Duration = Duration::from_secs(10);
/// Longest that anything may take.
const LIMIT: Duration = Duration::from_secs(180);

/// Measures forwarding, queries and viewers.
pub fn run(table: &mut Table) -> Result<()> {
    let end = now_ms().div_euclid(INTERVAL_MS) * INTERVAL_MS;
    let mut gateway = Gateway::prepare(None)?;
    gateway.configure(&config(""))?;
    // Points get their numbers.
    gateway.restart()?;
    gateway.stop()?;
    let text = |path: &Path| path.to_str().map(str::to_owned).context("not UTF-8");
    let arguments = [text(&gateway.config())?, text(gateway.data_directory())?, end.to_string()];
    let samples = Helper::start("boards_fill", &arguments)?.numbers()?.first().copied().context("no count")?;
    // Totals are counted before, not beside.
    gateway.restart()?;
    wait_for("totals", LIMIT, || {
        let text = gateway.text("/metrics")?;
        let idle = metric(&text, "parkgate_totals_lag_entries") + metric(&text, "parkgate_totals_dirty_points") == 0.0;
        Ok((idle && metric(&text, "parkgate_totals_hours_counted_total") > 0.0).then_some(()))
    })?;
    gateway.stop()?;

    let arguments = ["-dedup.minScrapeInterval=1ms", "-search.disableCache", "-search.latencyOffset=0s"];
    let victoria = Server::victoria_metrics(&arguments)?;
    gateway.configure(&config(&format!(
        "[[gateway.sink]]\nid = \"victoria\"\nkind = \"victoriametrics\"\nurl = \"{}\"\ntotals = false\nmedia = [\"power\"]\n",
        victoria.url()
    )))?;
    forwarding(table, &mut gateway, samples)?;
    ureq::get(format!("{}/internal/force_flush", victoria.url())).call()?;
    // It merges what it got; that is not what is measured.
    sleep(SETTLE);
    queries(table, &gateway, &victoria, end)?;
    gateway.stop()?;
    drop(victoria);
    viewers(table)
}

fn config(more: &str) -> String {
    let mut text = "[park]\nid = \"bench\"\nname = \"Bench\"\n\
                    [[link]]\nid = \"bench\"\ndriver = \"mqtt\"\nhost = \"127.0.0.1\"\nport = 9\n"
        .to_owned();
    for device in 0..=DEVICES {
        let points = if device == DEVICES { 1 } else { POINTS_PER_DEVICE };
        let _ = write!(text, "[[device]]\nid = \"d{device}\"\nlink = \"bench\"\n[[device.topic]]\nfilter = \"d{device}\"\n");
        for point in 0..points {
            let _ = write!(
                text,
                "[[device.point]]\nid = \"p{point}\"\nquantity = \"active_power\"\npath = \"p{point}\"\ninterval_ms = {INTERVAL_MS}\n"
            );
        }
    }
    text + more
}

/// The whole record goes to a new sink, as after an outage.
fn forwarding(table: &mut Table, gateway: &mut Gateway, samples: f64) -> Result<()> {
    gateway.restart()?;
    let pid = gateway.pid()?.to_string();
    let sent = |text: &str| metric(text, "parkgate_forward_lines_sent_total");
    let begin = wait_for("a first line", LIMIT, || Ok((sent(&gateway.text("/metrics")?) > 0.0).then(Instant::now)))?;
    let (first, cpu) = (sent(&gateway.text("/metrics")?), cpu_seconds(&pid)?);
    let lines = wait_for("a sink that has all", LIMIT, || {
        let lines = sent(&gateway.text("/metrics")?);
        Ok((lines >= samples).then_some(lines))
    })?;
    let seconds = begin.elapsed().as_secs_f64();
    let rate = (lines - first) / seconds;
    let cores = (cpu_seconds(&pid)? - cpu) / seconds;
    let figure = format!("{rate:.0} (at {cores:.2} cores; peak RSS {:.0} MB)", memory_mb(&pid, "VmHWM")?);
    let what = format!("forwarding {:.1} M samples to VictoriaMetrics on the same cores, samples/s", samples / 1e6);
    table.row(&what, figure, ">= 200,000", Some(rate >= 200_000.0));
    let times = rate / LIVE_RATE;
    table.row("the same, drain as a multiple of 10,000 points at 10 s", format!("{times:.0}"), ">= 10", Some(times >= 10.0));
    Ok(())
}

/// A query of a board, by number of the asking.
struct Question {
    what: &'static str,
    query: fn(usize) -> String,
    back_ms: i64,
    /// Milliseconds; 0 for an instant query.
    step_ms: i64,
    series: usize,
}

const QUESTIONS: [Question; 4] = [
    Question {
        what: "one point's day raw (8,641 steps)",
        query: |number| format!("park_active_power_kw{{point=\"bench/d{}/p{}\"}}", 3 + number, number % 10),
        back_ms: DAY_MS,
        step_ms: INTERVAL_MS,
        series: 1,
    },
    Question {
        what: "hourly means of a point over 30 days",
        query: |_| format!("avg_over_time(park_active_power_kw{{point=\"bench/d{DEVICES}/p0\"}}[1h])"),
        back_ms: LONG_DAYS * DAY_MS,
        step_ms: 3_600_000,
        series: 1,
    },
    Question {
        what: "sum of 1,000 points' quarter-hour means over a day",
        query: |_| "sum(avg_over_time(park_active_power_kw{device=~\"d[0-9]{1,2}\"}[15m]))".to_owned(),
        back_ms: DAY_MS,
        step_ms: 900_000,
        series: 1,
    },
    Question {
        what: "last value of 10,000 points",
        query: |_| "park_active_power_kw{device!=\"d1000\"}".to_owned(),
        back_ms: 0,
        step_ms: 0,
        series: 10_000,
    },
];

fn queries(table: &mut Table, gateway: &Gateway, victoria: &Server, end: i64) -> Result<()> {
    let agent: Agent = Agent::config_builder().timeout_global(Some(LIMIT)).build().into();
    let (ours, theirs) = (gateway.url("/prometheus/api/v1"), format!("{}/prometheus/api/v1", victoria.url()));
    for question in &QUESTIONS {
        let (mut of_ours, mut of_theirs) = (Vec::new(), Vec::new());
        for base in [&ours, &theirs] {
            ask(&agent, base, question, &(question.query)(ASKED), end)?;
        }
        for number in 0..ASKED {
            let query = (question.query)(number);
            let (seconds, answer) = ask(&agent, &ours, question, &query, end)?;
            of_ours.push(seconds * 1e3);
            let (seconds, other) = ask(&agent, &theirs, question, &query, end)?;
            of_theirs.push(seconds * 1e3);
            if number == 0 {
                same(question, &answer, &other).with_context(|| query.clone())?;
            }
        }
        let (of_ours, of_theirs) = (median(of_ours), median(of_theirs));
        let figure = format!("{of_ours:.1} ({of_theirs:.1}): {:.1} times as fast", of_theirs / of_ours);
        table.row(&format!("query over HTTP, {}: ms (VictoriaMetrics)", question.what), figure, "as fast", Some(of_ours <= of_theirs));
    }
    Ok(())
}

/// Seconds until the whole answer is there, and it.
fn ask(agent: &Agent, base: &str, question: &Question, query: &str, end: i64) -> Result<(f64, String)> {
    let seconds = |time: i64| format!("{}.{:03}", time / 1000, time % 1000);
    let begin = Instant::now();
    let request = agent.get(format!("{base}/{}", if question.step_ms == 0 { "query" } else { "query_range" }));
    let request = request.query("query", query).query("nocache", "1");
    let request = if question.step_ms == 0 {
        request.query("time", seconds(end))
    } else {
        // VictoriaMetrics begins at multiples of the step.
        let end = end.div_euclid(question.step_ms) * question.step_ms;
        let step = format!("{}s", question.step_ms / 1000);
        request.query("start", seconds(end - question.back_ms)).query("end", seconds(end)).query("step", step)
    };
    let answer = request.call()?.body_mut().with_config().limit(256 << 20).read_to_string()?;
    Ok((begin.elapsed().as_secs_f64(), answer))
}

/// Both say the same: as many series and values, equal but for the last digits.
fn same(question: &Question, ours: &str, theirs: &str) -> Result<()> {
    let values = |text: &str| -> Result<(usize, Vec<f64>)> {
        let answer: Value = serde_json::from_str(text)?;
        let series = answer["data"]["result"].as_array().context("no result")?.clone();
        let number = |pair: &Value| pair[1].as_str().and_then(|text| text.parse().ok()).context("no number");
        let mut all = Vec::new();
        for one in &series {
            match one["values"].as_array() {
                Some(values) => values.iter().try_for_each(|pair| number(pair).map(|value: f64| all.push(value)))?,
                None => all.push(number(&one["value"])?),
            }
        }
        all.sort_by(f64::total_cmp);
        Ok((series.len(), all))
    };
    let ((ours_count, ours), (theirs_count, theirs)) = (values(ours)?, values(theirs)?);
    ensure!(ours_count == question.series && theirs_count == ours_count, "{ours_count} series, theirs {theirs_count}");
    // At the very start of the data one of the two may have a step more.
    ensure!(ours.len().abs_diff(theirs.len()) <= 4 * ours_count, "{} values, theirs {}", ours.len(), theirs.len());
    if ours.len() == theirs.len() {
        for (one, other) in ours.iter().zip(&theirs) {
            ensure!((one - other).abs() <= 1e-9 * one.abs().max(other.abs()), "{one}, theirs {other}");
        }
    }
    Ok(())
}

/// People refresh boards while 1,000 units bring 100 registers each second.
fn viewers(table: &mut Table) -> Result<()> {
    let seconds = if quick() { 15 } else { 60 };
    let units = Units::start(1_000, UNITS_PER_LINK, Alarms::OfHalf)?;
    let mut gateway = Gateway::start(&units.config)?;
    sleep(REFRESH);
    let before = (metric(&gateway.text("/metrics")?, "parkgate_pipeline_samples_durable_total"), Instant::now());
    let times = Mutex::new(Vec::new());
    let failed = Mutex::new(None);
    scope(|scope| {
        for viewer in 0..VIEWERS {
            let (gateway, times, failed) = (&gateway, &times, &failed);
            scope.spawn(move || {
                let begin = Instant::now();
                sleep(REFRESH.mul_f64(viewer as f64 / VIEWERS as f64));
                while begin.elapsed().as_secs() < seconds {
                    let next = Instant::now() + REFRESH;
                    match refresh(gateway, viewer) {
                        Ok(taken) => times.lock().expect("no viewer panics").extend(taken),
                        Err(error) => *failed.lock().expect("no viewer panics") = Some(error),
                    }
                    sleep(next.saturating_duration_since(Instant::now()));
                }
            });
        }
    });
    if let Some(error) = failed.into_inner().ok().flatten() {
        return Err(error);
    }
    let text = gateway.text("/metrics")?;
    let rate = (metric(&text, "parkgate_pipeline_samples_durable_total") - before.0) / before.1.elapsed().as_secs_f64();
    let peak = memory_mb(&gateway.pid()?.to_string(), "VmHWM")?;
    gateway.stop()?;
    let mut times = times.into_inner().unwrap_or_default();
    times.sort_by(f64::total_cmp);
    let at =
        |share: f64| times.get(((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1))).copied().unwrap_or(f64::NAN);
    let figure = format!(
        "{:.0} (median {:.1}, of {} queries, {rate:.0} samples/s; peak RSS {peak:.0} MB)",
        at(0.99) * 1e3,
        at(0.5) * 1e3,
        times.len()
    );
    let reached = at(0.99) <= 0.3 && rate >= 99_000.0;
    table.row("20 viewers every 10 s while 100,000 samples/s come in: p99 of a query, ms", figure, "<= 300", Some(reached));
    Ok(())
}

/// One refresh of a board of eight panels: seconds of each query.
fn refresh(gateway: &Gateway, viewer: u64) -> Result<Vec<f64>> {
    let device = format!("u{}-{}", viewer, 1 + viewer % 10);
    let now = now_ms() / 1000;
    let range = format!("&start={}&end={now}&step=15", now - 900);
    [
        ("query", format!("sum(park_r3_kw{{device=~\"u{viewer}-.*\"}})"), String::new()),
        ("query", "sum(park_r4_kw)".to_owned(), String::new()),
        ("query", format!("park_r0_day_current_kwh{{device=\"{device}\"}}"), String::new()),
        ("query_range", format!("park_r3_kw{{device=\"{device}\"}}"), range.clone()),
        ("query_range", format!("avg_over_time(park_r5_kw{{device=\"{device}\"}}[1m])"), range.clone()),
        ("query_range", format!("sum by (device) (avg_over_time(park_r6_kw{{device=~\"u{viewer}-.*\"}}[1m]))"), range.clone()),
        ("query_range", "sum(rate(parkgate_pipeline_samples_durable_total[1m]))".to_owned(), range.clone()),
        ("query_range", format!("park_r9_state{{device=\"{device}\"}}"), range),
    ]
    .into_iter()
    .map(|(path, query, range)| {
        let query: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let begin = Instant::now();
        let (status, answer) = gateway.get_text(&format!("/prometheus/api/v1/{path}?query={query}{range}"))?;
        ensure!(status == 200, "{status}: {answer}");
        Ok(begin.elapsed().as_secs_f64())
    })
    .collect()
}

/// `bench child boards_fill CONFIG DATA END`: fills the record up to `END`, milliseconds since 1970; tells the number of
/// samples.
pub fn child_fill(arguments: &[String]) -> Result<()> {
    let [config, data, end] = arguments else { anyhow::bail!("CONFIG DATA END") };
    let end: i64 = end.parse()?;
    let loaded = catalogue::load::<GatewaySettings>(Path::new(config), &Disk)?;
    let numbers = {
        let directory = DataDirectory::open_read_only(Path::new(data))?;
        let facts = Facts::open_read_only(&directory.facts())?;
        std::sync::Arc::new(loaded.draft.build(&mut facts.registry()?)?)
    };
    let runtime = fixture::runtime()?;
    let (_lock, engine) = fixture::engine(Path::new(data), &numbers, loaded.gateway.engine(), &runtime)?;
    let outlet = engine.outlet();
    let ids: Vec<PointId> = numbers.points.iter().map(|point| point.id).collect();
    let (long, ids) = ids.split_last().context("no points")?;
    ensure!(ids.len() == (DEVICES * POINTS_PER_DEVICE) as usize, "{} points", ids.len());
    let mut samples = 0;
    let mut random = fastrand::Rng::with_seed(11);
    let mut values: Vec<i64> = ids.iter().map(|_| random.i64(10_000..1_000_000)).collect();
    let reading = |point: PointId, value: i64, time: i64| Reading {
        point,
        number: Number::Exact(Decimal::new(value, -3)),
        source_time: Some(UtcMillis(time)),
    };
    let mut batch = Vec::new();
    for round in (0..LONG_DAYS * DAY_MS / INTERVAL_MS).rev() {
        let time = end - round * INTERVAL_MS;
        batch.push(reading(*long, 7 * round + round % 5, time));
        if batch.len() == 2_000 || round == 0 {
            samples += send(&outlet, time, &mut batch, None)?;
        }
    }
    for round in (0..=DAY_MS / INTERVAL_MS).rev() {
        let time = end - round * INTERVAL_MS;
        let count = if round * INTERVAL_MS < SHORT_MS { ids.len() } else { DAY_POINTS };
        for (point, value) in ids.iter().zip(&mut values).take(count) {
            *value += random.i64(-1_200..=1_200);
            batch.push(reading(*point, *value, time));
            if batch.len() == 2_000 {
                samples += send(&outlet, time, &mut batch, None)?;
            }
        }
        samples += send(&outlet, time, &mut batch, None)?;
    }
    let (done, durable) = tokio::sync::oneshot::channel();
    send(&outlet, end, &mut batch, Some(done))?;
    ensure!(durable.blocking_recv()? == Outcome::Durable, "the journal refused");
    drop(outlet);
    let late = engine.stop();
    ensure!(late.is_empty(), "did not stop in time: {late:?}");
    println!("{samples}");
    Ok(())
}

fn send(outlet: &Outlet, time: i64, readings: &mut Vec<Reading>, done: Option<tokio::sync::oneshot::Sender<Outcome>>) -> Result<usize> {
    let readings = std::mem::take(readings);
    let count = readings.len();
    let batch = Batch {
        link: LinkKey::of("bench"),
        received_time: UtcMillis(time + 30),
        readings,
        origin: Origin::Imported,
        deliveries: Vec::new(),
        rejected: Vec::new(),
        done,
    };
    outlet.blocking_send(Message::Batch(batch)).ok().context("the pipeline ended")?;
    Ok(count)
}
