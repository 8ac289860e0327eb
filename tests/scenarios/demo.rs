//! The demo is the real program on a simulated park: history is filled in, goes on over sockets, and outlives restarts.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use parkgate_tests::gateway::{Gateway, parkgate};
use parkgate_tests::{Stopwatch, wait_for};
use rustix::process::Signal;
use serde_json::Value;

use crate::{boards, report};

/// Longest that the back-fill may take, on a machine with other work.
const FILL_LIMIT: Duration = Duration::from_secs(180);
/// Longest until every point has a live value; the slowest device is asked every ten seconds.
const LIVE_LIMIT: Duration = Duration::from_secs(40);
/// Points without a good value: what is broken on purpose, and what loses its value now and then.
const BROKEN: [&str; 3] = ["dyeing/reclaimed-water/water_pressure", "demo-park/rain-gauge/rainfall", "food/boiler-heat/return_temperature"];
/// Longest until totals have been counted from what was filled in.
const CLOSED_LIMIT: Duration = Duration::from_secs(60);
/// Where a point has a value each quarter of an hour, the days that history goes back.
const DAYS: i64 = 400;
const POINT: &str = "demo-park/gate-power/energy_import";
/// One metric for each thing that a park's own monitoring asks for.
const METRICS: [&str; 11] = [
    "parkgate_driver_readings_received_total",
    "parkgate_driver_requests_total",
    "parkgate_driver_poll_lateness_seconds_bucket",
    "parkgate_driver_link_up",
    "parkgate_pipeline_samples_durable_total",
    "parkgate_pipeline_durable_lag_seconds_bucket",
    "parkgate_journal_sync_seconds_bucket",
    "parkgate_journal_appended_bytes_total",
    "parkgate_journal_bytes",
    "parkgate_history_blocks_written_total",
    "parkgate_history_lag_entries",
];

#[test]
fn the_demo_fills_history_goes_live_and_goes_on_after_a_restart() -> Result<()> {
    let _stopwatch = Stopwatch::start("demo");
    let mut demo = Gateway::prepare_demo()?;
    demo.spawn()?;
    live(&mut demo)?;
    let filled = filled(&demo, 1)?;
    ensure!(filled > 1_000_000, "only {filled} readings filled in");
    let days = daily(&demo)?;
    let full = days.iter().filter(|(_, count)| **count >= 96).count();
    ensure!(i64::try_from(full)? >= DAYS - 1, "only {full} full days in {days:?}");
    page(&demo)?;
    metrics(&demo)?;
    totals(&demo)?;
    emissions(&demo)?;
    boards::ask_all(&demo)?;
    report::ask_all(&demo)?;
    let (boot, mut stream) = hello(&demo)?;
    stream.await_event("latest")?;

    ensure!(demo.stop_by(Signal::INT)?.success(), "did not stop cleanly");
    demo.spawn()?;
    live(&mut demo)?;
    let (boot_again, _) = hello(&demo)?;
    ensure!(boot != boot_again, "the boot id is the same after a restart");
    own_metrics(&demo)?;
    let gap = self::filled(&demo, 2)?;
    ensure!(gap < filled / 100, "the second start wrote {gap} readings");
    let again = daily(&demo)?;
    // Days that were over at the first start have what they had.
    let over: Vec<_> = days.iter().rev().skip(2).collect();
    ensure!(over.iter().all(|(day, count)| again.get(*day) == Some(*count)), "{days:?} became {again:?}");
    let samples = demo.get(&format!("/api/v1/samples?point={POINT}&from=-1h&limit=100000"))?;
    let times: Vec<i64> =
        samples["items"].as_array().context("no items")?.iter().filter_map(|sample| sample["record_time_ms"].as_i64()).collect();
    ensure!(times.len() > 500 && times.is_sorted_by(|a, b| a < b), "a time comes twice in {times:?}");
    totals_by_command(&demo)?;
    let stopped = jiff::Timestamp::now();
    ensure!(demo.stop()?.success(), "did not stop cleanly");
    boards::beside_victoria(demo.data_directory(), stopped)?;
    // From here on the demo is served to tokens only.
    demo.restart()?;
    report::by_token(&demo)?;
    ensure!(demo.stop()?.success(), "did not stop cleanly");
    Ok(())
}

#[test]
fn the_demo_can_be_stopped_while_it_fills_history() -> Result<()> {
    let _stopwatch = Stopwatch::start("demo: stopped early");
    let mut demo = Gateway::prepare_demo()?;
    demo.spawn()?;
    wait_for("back-fill", FILL_LIMIT, || Ok(std::fs::read_to_string(demo.log())?.contains("filling in history: 10 %").then_some(())))?;
    let status = demo.stop_by(Signal::INT)?;
    ensure!(status.code() == Some(0), "{status}");
    let log = std::fs::read_to_string(demo.log())?;
    ensure!(!log.contains("panicked") && !log.contains("readings written and durable"), "too late or not clean:\n{log}");
    demo.spawn()?;
    live(&mut demo)?;
    ensure!(daily(&demo)?.values().filter(|count| **count >= 96).count() >= 399, "the second start left a gap");
    ensure!(demo.stop()?.success(), "did not stop cleanly");
    Ok(())
}

/// Waits until every point has a sample of the simulation, good unless broken on purpose, that came over a socket.
fn live(demo: &mut Gateway) -> Result<()> {
    let before = std::fs::read_to_string(demo.log())?.matches("in a browser").count();
    wait_for("filled history", FILL_LIMIT, || {
        ensure!(demo.ended()?.is_none(), "the demo ended");
        Ok((std::fs::read_to_string(demo.log())?.matches("in a browser").count() > before).then_some(()))
    })?;
    let mut left = Vec::new();
    let points = demo.get("/api/v1/points")?["items"].as_array().map_or(0, Vec::len);
    ensure!(points > 50, "{points} points");
    let all_live = wait_for("live values", LIVE_LIMIT, || {
        let latest = demo.get("/api/v1/latest")?;
        let items = latest["items"].as_array().context("no items")?;
        ensure!(items.len() == points, "{} of {points} points", items.len());
        let fine = |item: &Value| {
            let (point, sample) = (item["point"].as_str().unwrap_or_default(), &item["sample"]);
            // Also what is broken has been asked once, and says so.
            BROKEN.contains(&point) && !sample.is_null()
                || sample["quality"] == "good" && sample["origin"] == "simulated" && item["age_ms"].as_i64().is_some_and(|age| age < 20_000)
        };
        left = items.iter().filter(|item| !fine(item)).cloned().collect();
        Ok(left.is_empty().then_some(()))
    });
    all_live.with_context(|| format!("not live: {left:?}"))?;
    let broken = demo.latest(BROKEN[0])?;
    ensure!(broken["quality"] == "bad" && broken["value"].is_null(), "{broken}");
    Ok(())
}

/// Waits until the outlets' hours are counted from the history.
fn emissions(demo: &Gateway) -> Result<()> {
    wait_for("emissions of the history", FILL_LIMIT, || {
        let text = demo.text("/metrics")?;
        let of = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok()).unwrap_or_default();
        let is_idle = of("parkgate_emission_lag_entries ") == 0.0 && of("parkgate_emission_hours_counted_total ") > 2_000.0;
        let recent = demo.get("/api/v1/emissions?outlet=waste-water&period=hour&from=-3h")?;
        let is_recent = recent["items"].as_array().is_some_and(|hours| hours.iter().any(|hour| hour["closed"] == true));
        Ok((is_idle && is_recent).then_some(()))
    })
}

/// Last month is closed for every counter, and equals its days and its hours to the last digit.
fn totals(demo: &Gateway) -> Result<()> {
    let points = demo.get("/api/v1/points")?;
    let counters: Vec<&str> = points["items"]
        .as_array()
        .context("no points")?
        .iter()
        .filter(|point| point["kind"] == "counter" && !BROKEN.contains(&point["id"].as_str().unwrap_or_default()))
        .filter_map(|point| point["id"].as_str())
        .collect();
    ensure!(counters.len() > 10, "{} counters", counters.len());
    for point in counters {
        let month = wait_for("a closed month", CLOSED_LIMIT, || {
            let months = demo.get(&format!("/api/v1/totals?point={point}&level=month&from=-70d"))?;
            let months = months["items"].as_array().context("no months")?.clone();
            // The last one is open.
            let last = months.len().checked_sub(2).and_then(|index| months.get(index)).cloned();
            Ok(last.filter(|month| month["closed"] == true))
        })
        .with_context(|| point.to_owned())?;
        let (start, end) = (month["start"].as_str().context("no start")?, month["end"].as_str().context("no end")?);
        let whole = scaled(&month["amount"])?;
        for level in ["day", "hour"] {
            let (from, to) = (start.replace('+', "%2B"), end.replace('+', "%2B"));
            let parts = demo.get(&format!("/api/v1/totals?point={point}&level={level}&from={from}&to={to}"))?;
            let parts = parts["items"].as_array().context("no parts")?;
            let sum = parts.iter().map(|part| scaled(&part["amount"])).sum::<Result<i128>>()?;
            ensure!(parts.len() >= 28 && sum == whole, "{point}: {} times {level} make {sum}, the month is {whole}", parts.len());
        }
    }
    let csv = demo.text(&format!("/api/v1/totals?point={POINT}&level=day&format=csv"))?;
    ensure!(csv.starts_with("point,level,start,end,closed,unit,amount,") && csv.lines().count() > 28, "{csv}");
    Ok(())
}

/// What the commands say beside the running gateway is what it answers, and the totals are what the record says.
fn totals_by_command(demo: &Gateway) -> Result<()> {
    let config = format!("{}/../config/demo/parkgate.toml", env!("CARGO_MANIFEST_DIR"));
    let data = demo.data_directory().display().to_string();
    let at = ["--config", &config, "--data", &data];
    let command = ["totals", "--point", POINT, "--level", "month", "--json"];
    let printed = parkgate(&[&command[..], &at].concat())?;
    ensure!(printed.code == 0, "{}", printed.stderr);
    let answered = demo.get(&format!("/api/v1/totals?point={POINT}&level=month&from=-500d"))?;
    let closed = |rows: &[Value]| rows.iter().filter(|row| row["closed"] == true).cloned().collect::<Vec<_>>();
    let (printed, answered) = (closed(&printed.json_lines()?), closed(answered["items"].as_array().context("no months")?));
    ensure!(printed.len() >= 12 && printed == answered, "{printed:#?}\n{answered:#?}");
    let checked = parkgate(&[&["rebuild", "--check"][..], &at].concat())?;
    ensure!(checked.code == 0, "{}\n{}", checked.stdout, checked.stderr);
    Ok(())
}

/// A decimal text as a whole number of 10^-18.
fn scaled(text: &Value) -> Result<i128> {
    let text = text.as_str().with_context(|| format!("no decimal: {text}"))?;
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    Ok(format!("{whole}{part:0<18}").parse()?)
}

/// Readings that the fill of the start `number` wrote, by the log.
fn filled(demo: &Gateway, number: usize) -> Result<u64> {
    let log = std::fs::read_to_string(demo.log())?;
    let line = log.lines().filter_map(|line| line.strip_suffix(" readings written and durable")).nth(number - 1);
    Ok(line.context("the log tells of no fill")?.parse()?)
}

/// Samples of a point by day, the oldest first.
fn daily(demo: &Gateway) -> Result<BTreeMap<i64, u64>> {
    let page = demo.get(&format!("/api/v1/samples/buckets?point={POINT}&from=-{}h&every=1d", (DAYS + 1) * 24))?;
    let buckets = page["items"].as_array().context("no buckets")?;
    Ok(buckets
        .iter()
        .filter_map(|bucket| Some((bucket["start_ms"].as_i64()?, bucket["samples"].as_u64()?)))
        .filter(|(_, count)| *count > 0)
        .collect())
}

/// The page and all that it names is there.
fn page(demo: &Gateway) -> Result<()> {
    let (status, index) = demo.get_text("/")?;
    ensure!(status == 200 && index.contains("<html"), "{status}: {index}");
    for asset in ["/app.js", "/style.css", "/texts.json", "/favicon.svg"] {
        let (status, text) = demo.get_text(asset)?;
        ensure!(status == 200 && !text.is_empty(), "{asset}: {status}");
    }
    Ok(())
}

/// Every line of `/metrics` is a comment or a name with a number.
fn metrics(demo: &Gateway) -> Result<()> {
    let (_, text) = demo.get_text("/metrics")?;
    let mut names = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').with_context(|| line.to_owned())?;
        let value: f64 = value.parse().with_context(|| line.to_owned())?;
        *names.entry(series.split('{').next().unwrap_or_default().to_owned()).or_insert(0.0) += value;
    }
    for name in METRICS {
        ensure!(names.contains_key(name), "no {name} in {:?}", names.keys());
    }
    for counted in ["parkgate_driver_readings_received_total", "parkgate_pipeline_samples_durable_total", "parkgate_journal_bytes"] {
        ensure!(names.get(counted).is_some_and(|value| *value > 0.0), "{counted} is {:?}", names.get(counted));
    }
    Ok(())
}

/// The gateway's own metrics are in the record, and stay apart from the meters.
fn own_metrics(demo: &Gateway) -> Result<()> {
    // One at least of each of two starts.
    wait_for("own metrics of both starts", LIVE_LIMIT, || {
        let samples = demo.get("/api/v1/samples?point=parkgate/parkgate_journal_appended_bytes_total&from=-1h")?;
        let items = samples["items"].as_array().context("no items")?;
        ensure!(items.iter().all(|item| item["quality"] != "bad"), "{samples}");
        Ok((items.len() > 1).then_some(()))
    })?;
    let listed = demo.get("/api/v1/latest?medium=gateway")?;
    let items = listed["items"].as_array().context("no items")?;
    ensure!(items.len() > 50 && items.iter().all(|item| item["point"].as_str().is_some_and(|id| id.starts_with("parkgate/"))), "{listed}");
    ensure!(items.iter().all(|item| item["sample"].is_null() || item["sample"]["origin"] == "simulated"), "{listed}");
    ensure!(demo.get("/api/v1/devices")?["items"].as_array().is_some_and(|items| items.iter().all(|item| item["id"] != "parkgate")));
    Ok(())
}

/// An open event stream.
struct Events(BufReader<TcpStream>);

impl Events {
    fn open(demo: &Gateway) -> Result<Self> {
        let url = demo.url("/api/v1/stream");
        let address = url.trim_start_matches("http://").split('/').next().unwrap_or_default().to_owned();
        let mut stream = TcpStream::connect(&address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(stream, "GET /api/v1/stream HTTP/1.1\r\nHost: {address}\r\n\r\n")?;
        Ok(Self(BufReader::new(stream)))
    }

    /// The data of the next event of that name.
    fn await_event(&mut self, name: &str) -> Result<Value> {
        let mut is_wanted = false;
        let mut line = String::new();
        while self.0.read_line(&mut line)? > 0 {
            let text = line.trim_end();
            if let Some(event) = text.strip_prefix("event: ") {
                is_wanted = event == name;
            } else if let Some(data) = text.strip_prefix("data: ").filter(|_| is_wanted) {
                return serde_json::from_str(data).with_context(|| data.to_owned());
            }
            line.clear();
        }
        anyhow::bail!("the stream ended before an event {name}")
    }
}

/// Opens the stream; gives the boot id of its first event too.
fn hello(demo: &Gateway) -> Result<(String, Events)> {
    let mut events = Events::open(demo)?;
    let hello = events.await_event("hello")?;
    let boot = hello["boot_id"].as_str().with_context(|| hello.to_string())?.to_owned();
    Ok((boot, events))
}
