//! PromQL beside Debian's Prometheus and VictoriaMetrics on the same data.
//!
//! Samples are 1 ms off every boundary, since Prometheus 2.42 closes its ranges on the left and parkgate does not; its
//! lookback is set to that of the data.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use parkgate_gateway::promql::source::{is_absent, too_many_samples};
use parkgate_gateway::promql::{self, Answer, Error, Grid, Labels, Limits, Patience, STACK_BYTES, Samples, Selection, Series, Source};
use parkgate_tests::gateway::Gateway;
use parkgate_tests::mosquitto::{Mosquitto, Options};
use parkgate_tests::server::Server;
use parkgate_tests::{Stopwatch, now_ms, wait_for};
use serde_json::Value;

/// 2026-03-01T00:00:00Z.
const START: i64 = 1_772_323_200_000;
const MINUTE: i64 = 60_000;
/// Longest interval in the data; a sample is shown for so long.
const LOOKBACK: i64 = 15 * MINUTE;
/// Largest difference, of a figure that is not near zero.
const RELATIVE_MAX: f64 = 1e-9;

/// Series in memory.
struct Memory(Vec<(Labels, Samples)>);

impl Source for Memory {
    fn select(&self, selection: &Selection, _: i64, _: i64, _: &Patience<'_>) -> Result<Vec<Series>, Error> {
        let wanted = self.0.iter().zip(0..).filter(|((labels, _), _)| selection.matches(labels));
        Ok(wanted.map(|((labels, _), at)| Series { labels: labels.clone(), lookback_ms: LOOKBACK, key: (at, 0) }).collect())
    }

    fn samples(&self, series: &Series, after: i64, upto: i64, most: usize, _: &Patience<'_>) -> Result<Samples, Error> {
        let Some((_, all)) = usize::try_from(series.key.0).ok().and_then(|at| self.0.get(at)) else { return Ok(Samples::default()) };
        let within = all.times.iter().zip(&all.values).filter(|(time, _)| after < **time && **time <= upto);
        let (times, values): (Vec<i64>, Vec<f64>) = within.map(|(&time, &value)| (time, value)).unzip();
        if times.len() > most { Err(too_many_samples()) } else { Ok(Samples { times, values }) }
    }
}

/// A park of three enterprises over six hours: power every minute with a gap, a counter that starts over once, flow every
/// 15 minutes, a state that changes, and one series that ends.
fn park() -> Memory {
    let mut random = fastrand::Rng::with_seed(42);
    let mut all = Vec::new();
    let mut add = |name: &str, labels: &[(&str, &str)], interval: i64, next: &mut dyn FnMut(i64) -> Option<f64>| {
        let labels = labels.iter().fold(Labels::default().with("__name__", name), |labels, (name, value)| labels.with(name, value));
        let mut samples = Samples::default();
        for index in 0..6 * 60 * MINUTE / interval {
            if let Some(value) = next(index) {
                samples.push(START + index * interval + 1, value);
            }
        }
        all.push((labels, samples));
    };
    let round = |value: f64| (value * 1000.0).round() / 1000.0;
    for (place, enterprise) in ["acme", "bolt", "core"].into_iter().enumerate() {
        let scale = 10_f64.powi(i32::try_from(place).unwrap_or(0));
        for meter in ["main", "sub"] {
            let point = format!("{enterprise}/{meter}/power");
            let labels = [("enterprise", enterprise), ("medium", "power"), ("meter", meter), ("point", point.as_str())];
            let mut value = 50.0;
            add("park_active_power_kw", &labels, MINUTE, &mut |index| {
                value = (value + random.f64() * 8.0 - 4.0).abs();
                // Forty minutes of `core` are missing, longer than the lookback.
                (enterprise != "core" || !(100..140).contains(&index)).then(|| round(value * scale))
            });
            let point = format!("{enterprise}/{meter}/energy");
            let labels = [("enterprise", enterprise), ("medium", "power"), ("meter", meter), ("point", point.as_str())];
            let mut register = 5000.0 * scale;
            add("park_energy_import_kwh", &labels, MINUTE, &mut |index| {
                register += random.f64() * scale;
                if meter == "sub" && index == 200 {
                    register = 0.5;
                }
                Some(round(register))
            });
        }
        let labels = [("enterprise", enterprise), ("medium", "gas"), ("name", "一期锅炉")];
        add("park_gas_flow_nm3_per_h", &labels, 15 * MINUTE, &mut |_| Some(round(random.f64() * 100.0 * scale)));
        add("park_connector_state", &[("enterprise", enterprise)], 5 * MINUTE, &mut |_| Some(f64::from(random.u8(..3))));
    }
    add("park_ends", &[("enterprise", "acme")], MINUTE, &mut |index| (index < 60).then_some(1.0));
    Memory(all)
}

/// The data in OpenMetrics text.
fn open_metrics(park: &Memory) -> String {
    let mut text = String::new();
    for (labels, samples) in &park.0 {
        for (time, value) in samples.times.iter().zip(&samples.values) {
            let pairs: Vec<String> = labels.rest().iter().map(|(name, value)| format!("{name}={value:?}")).collect();
            let _ = writeln!(text, "{}{{{}}} {value} {}.{:03}", labels.name(), pairs.join(","), time / 1000, time % 1000);
        }
    }
    text.push_str("# EOF\n");
    text
}

fn create_blocks(text: &str, data: &Path) -> Result<()> {
    let file = data.with_extension("om");
    std::fs::write(&file, text)?;
    let output = Command::new("promtool").args(["tsdb", "create-blocks-from", "openmetrics"]).arg(&file).arg(data).output();
    let output = output.context("promtool cannot be started: `make tools` installs it")?;
    ensure!(output.status.success(), "promtool: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Labels as text, and values by time.
type Answered = BTreeMap<String, BTreeMap<i64, f64>>;

/// What a server of the Prometheus API answers to a form.
fn ask(base: &str, query: &str, grid: Grid) -> Result<Answered> {
    ask_by("POST", base, query, grid)
}

/// As [`ask`], by GET or POST.
fn ask_by(method: &str, base: &str, query: &str, grid: Grid) -> Result<Answered> {
    let seconds = |time: i64| format!("{}.{:03}", time / 1000, time % 1000);
    let mut form = vec![("query", query.to_owned()), ("nocache", "1".to_owned())];
    let path = if grid.steps == 1 {
        form.push(("time", seconds(grid.start)));
        "query"
    } else {
        form.extend([("start", seconds(grid.start)), ("end", seconds(grid.last())), ("step", seconds(grid.step))]);
        "query_range"
    };
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let url = format!("{base}/api/v1/{path}");
    let mut response = if method == "GET" { agent.get(url).query_pairs(form).call()? } else { agent.post(url).send_form(form)? };
    let text = response.body_mut().with_config().limit(64 << 20).read_to_string()?;
    let body: Value = serde_json::from_str(&text).with_context(|| format!("{query}: {text}"))?;
    ensure!(body["status"] == "success", "{query}: {text}");
    let number = |text: &Value| -> Result<f64> { Ok(text.as_str().context("a value is no text")?.parse()?) };
    let pair =
        |pair: &Value| -> Result<(i64, f64)> { Ok(((pair[0].as_f64().context("no time")? * 1000.0).round() as i64, number(&pair[1])?)) };
    let result = &body["data"]["result"];
    let mut answered = Answered::new();
    if body["data"]["resultType"] == "scalar" {
        answered.insert(String::new(), [pair(result)?].into());
        return Ok(answered);
    }
    for series in result.as_array().context("no list")? {
        let labels: BTreeMap<String, String> = serde_json::from_value(series["metric"].clone())?;
        let pairs = series["values"].as_array().cloned().unwrap_or_else(|| vec![series["value"].clone()]);
        answered.insert(Labels::from_map(labels).to_string(), pairs.iter().map(pair).collect::<Result<_>>()?);
    }
    Ok(answered)
}

/// What the evaluator gives.
fn evaluate(park: &Memory, query: &str, grid: Grid) -> Result<Answered> {
    let tree = promql::parse(query)?;
    let (answer, _) = promql::evaluate(&tree, park, grid, &Limits::default(), &AtomicBool::new(false))?;
    let of_cells = |cells: Vec<f64>| grid.times().zip(cells).filter(|(_, cell)| !is_absent(*cell)).collect::<BTreeMap<_, _>>();
    let mut answered = Answered::new();
    match answer {
        Answer::Scalar(cells) => {
            answered.insert(if grid.steps == 1 { String::new() } else { Labels::default().to_string() }, of_cells(cells));
        }
        Answer::Vector(rows) => answered.extend(rows.into_iter().map(|row| (row.labels.to_string(), of_cells(row.cells)))),
        Answer::Matrix(series) => {
            let pairs = |samples: Samples| samples.times.into_iter().zip(samples.values).collect();
            answered.extend(series.into_iter().map(|(labels, samples)| (labels.to_string(), pairs(samples))));
        }
        Answer::Text(_) => {}
    }
    answered.retain(|_, values| !values.is_empty());
    Ok(answered)
}

fn same(ours: &Answered, theirs: &Answered) -> Result<(), String> {
    let keys = |answered: &Answered| answered.keys().cloned().collect::<Vec<_>>();
    if keys(ours) != keys(theirs) {
        return Err(format!("series {:?}, theirs {:?}", keys(ours), keys(theirs)));
    }
    for ((labels, ours), theirs) in ours.iter().zip(theirs.values()) {
        if ours.len() != theirs.len() {
            let missing = theirs.keys().find(|time| !ours.contains_key(time));
            let more = ours.keys().find(|time| !theirs.contains_key(time));
            return Err(format!("{labels}: {} values, theirs {}; missing {missing:?}, more {more:?}", ours.len(), theirs.len()));
        }
        for ((time, a), (their_time, b)) in ours.iter().zip(theirs) {
            let near = a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= RELATIVE_MAX * b.abs().max(1e-3);
            if time != their_time || !near {
                return Err(format!("{labels} at {time}: {a}, theirs {b} at {their_time}"));
            }
        }
    }
    Ok(())
}

/// Functions over groupings and windows, and a hundred odd ones.
fn queries() -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let power = "park_active_power_kw";
    let energy = "park_energy_import_kwh";
    for function in [
        "avg_over_time",
        "sum_over_time",
        "min_over_time",
        "max_over_time",
        "count_over_time",
        "last_over_time",
        "stddev_over_time",
        "stdvar_over_time",
        "present_over_time",
        "delta",
        "idelta",
        "deriv",
        "changes",
        "resets",
    ] {
        for range in ["5m", "10m", "1h"] {
            all.push(format!("{function}({power}[{range}])"));
        }
        all.push(format!("sum by (enterprise) ({function}({power}{{meter=\"main\"}}[20m] offset 10m))"));
    }
    for function in ["rate", "increase", "irate"] {
        for range in ["5m", "30m"] {
            all.push(format!("{function}({energy}[{range}])"));
            all.push(format!("sum without (meter, point) ({function}({energy}[{range}]))"));
        }
    }
    for aggregation in ["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"] {
        for grouping in ["", "by (enterprise)", "by (meter, medium)", "by (nothing)", "without (point, meter)"] {
            all.push(format!("{aggregation} {grouping} ({power})"));
        }
    }
    for operator in ["+", "-", "*", "/", "%", "^", "==", "!=", ">", "<", ">=", "<="] {
        all.push(format!("{power} {operator} 60"));
        all.push(format!("7 {operator} park_connector_state"));
        all.push(format!("{power}{{meter=\"main\"}} {operator} ignoring(meter, point) {power}{{meter=\"sub\"}}"));
        all.push(format!("{power} {operator} on(enterprise) group_left sum by (enterprise) (park_gas_flow_nm3_per_h)"));
    }
    for operator in ["==", "!=", ">", "<", ">=", "<="] {
        all.push(format!("{power} {operator} bool 60"));
        all.push(format!("{power}{{meter=\"main\"}} {operator} bool on(enterprise) {power}{{meter=\"sub\"}}"));
        all.push(format!("3 {operator} bool 4"));
    }
    for function in [
        "abs",
        "ceil",
        "floor",
        "round",
        "sqrt",
        "ln",
        "log2",
        "log10",
        "exp",
        "sgn",
        "sin",
        "cos",
        "tan",
        "asin",
        "atan",
        "sinh",
        "tanh",
        "deg",
        "rad",
        "minute",
        "hour",
        "day_of_week",
        "day_of_month",
        "day_of_year",
        "days_in_month",
        "month",
        "year",
        "absent",
        "timestamp",
        "scalar",
        "sort",
        "sort_desc",
    ] {
        all.push(format!("{function}(park_connector_state - 1)"));
        all.push(format!("{function}(park_ends)"));
    }
    for text in [
        "1 + 1",
        "vector(1)",
        "time()",
        "vector(time()) % 3600",
        "-park_connector_state",
        "-(1 + 2) ^ 2",
        "park_active_power_kw{enterprise=~\"a.*|core\"}",
        "park_active_power_kw{enterprise!~\"a.*\", meter!=\"sub\"}",
        "{__name__=~\"park_.*kw\", enterprise=\"bolt\"}",
        "{medium=\"gas\", name=\"一期锅炉\"}",
        "park_active_power_kw{nothing=\"\"} offset 17m",
        "park_active_power_kw offset -7m",
        "park_gas_flow_nm3_per_h",
        "park_gas_flow_nm3_per_h offset 1h",
        "last_over_time(park_gas_flow_nm3_per_h[1h])",
        "park_energy_import_kwh - park_energy_import_kwh offset 1h",
        "sum(park_energy_import_kwh - park_energy_import_kwh offset 1h)",
        "park_active_power_kw @ 1772330400",
        "sum_over_time(park_active_power_kw[10m] @ 1772330400)",
        "park_active_power_kw @ end()",
        "avg_over_time(park_active_power_kw[30m] @ start() offset 5m)",
        "topk(2, park_active_power_kw)",
        "bottomk(2, park_active_power_kw)",
        "topk by (enterprise) (1, park_active_power_kw)",
        "topk(scalar(count(park_connector_state)), park_active_power_kw)",
        "quantile(0.3, park_active_power_kw)",
        "quantile by (meter) (0.95, park_active_power_kw)",
        "quantile(-1, park_active_power_kw)",
        "quantile(2, park_active_power_kw)",
        "quantile_over_time(0.9, park_active_power_kw[30m])",
        "quantile_over_time(scalar(park_connector_state{enterprise=\"acme\"}) / 2, park_active_power_kw[30m])",
        "count_values(\"state\", park_connector_state)",
        "predict_linear(park_active_power_kw[30m], 3600)",
        "clamp(park_active_power_kw, 100, 1000)",
        "clamp_min(park_active_power_kw, 100)",
        "clamp_max(park_active_power_kw, 100)",
        "round(park_active_power_kw, 5)",
        "round(park_active_power_kw / 7, 0.01)",
        "label_replace(park_active_power_kw, \"site\", \"$1-$2\", \"point\", \"(.*)/(.*)/.*\")",
        "label_replace(park_active_power_kw, \"meter\", \"\", \"meter\", \"nothing\")",
        "label_replace(park_ends, \"x\", \"y\", \"nothing\", \"\")",
        "label_join(park_active_power_kw, \"both\", \"|\", \"enterprise\", \"meter\")",
        "absent(park_nothing{a=\"b\", c=~\"d\"})",
        "absent_over_time(park_ends[30m])",
        "absent_over_time(park_nothing{a=\"b\"}[30m])",
        "absent(sum(park_ends))",
        "park_ends or park_connector_state",
        "park_active_power_kw and on(enterprise) park_ends",
        "park_active_power_kw unless on(enterprise) park_ends",
        "park_active_power_kw and (park_active_power_kw > 60)",
        "park_connector_state or on(enterprise) park_active_power_kw{meter=\"main\"}",
        "sum(park_ends) or vector(0)",
        "park_active_power_kw * on(enterprise, meter) group_left(name) (park_active_power_kw * 0 + 1)",
        "park_active_power_kw * on(enterprise) group_left(name) (park_gas_flow_nm3_per_h * 0 + 1)",
        "(park_gas_flow_nm3_per_h * 0 + 1) * on(enterprise) group_right(name) park_active_power_kw",
        "sum by (enterprise) (park_active_power_kw) / on() group_left sum(park_active_power_kw)",
        "max_over_time(sum by (enterprise) (park_active_power_kw)[30m:1m])",
        "avg_over_time(rate(park_energy_import_kwh[5m])[30m:2m])",
        "sum_over_time((park_connector_state == bool 1)[1h:5m]) * 300",
        "max_over_time(deriv(park_active_power_kw[10m])[1h:5m] offset 10m)",
        "count_over_time((park_active_power_kw > 60)[1h:])",
        "scalar(park_ends) + 1",
        "vector(scalar(sum(park_active_power_kw)))",
        "sum(park_active_power_kw) / count(park_active_power_kw) - avg(park_active_power_kw)",
        "avg(park_active_power_kw) atan2 avg(park_gas_flow_nm3_per_h)",
        "timestamp(park_gas_flow_nm3_per_h)",
        "timestamp(park_gas_flow_nm3_per_h + 0)",
        "time() - timestamp(park_active_power_kw)",
        "1 / (park_connector_state - park_connector_state)",
        "0 * (1 / (park_connector_state - park_connector_state))",
    ] {
        all.push(text.to_owned());
    }
    all
}

#[test]
fn promql_agrees_with_prometheus() -> Result<()> {
    let _stopwatch = Stopwatch::start("promql_agrees_with_prometheus");
    let park = park();
    let text = open_metrics(&park);
    let server = Server::prometheus(&["--query.lookback-delta=15m"], |data| create_blocks(&text, data))?;
    let base = server.url();
    // Neither of these falls on a sample, or on a multiple of a step of a subquery when a range is taken off.
    let grids = [
        Grid { start: START + 30 * MINUTE + 7_000, step: 5 * MINUTE, steps: 64 },
        Grid { start: START + 3 * 60 * MINUTE + 13_000, step: 40_000, steps: 30 },
        Grid::instant(START + 4 * 60 * MINUTE + 11_000),
    ];
    // As deep as the evaluator may go.
    let compare = move || -> Result<Vec<String>> {
        let mut wrong = Vec::new();
        let mut values = 0;
        for query in queries() {
            for grid in grids {
                let theirs = ask(&base, &query, grid);
                let ours = evaluate(&park, &query, grid);
                match (ours, theirs) {
                    (Ok(ours), Ok(theirs)) => {
                        values += ours.values().map(BTreeMap::len).sum::<usize>();
                        if let Err(difference) = same(&ours, &theirs) {
                            wrong.push(format!("{query} by {}: {difference}", grid.step));
                        }
                    }
                    (ours, theirs) => wrong.push(format!("{query}: {:?}, theirs {:?}", ours.err(), theirs.err())),
                }
            }
        }
        println!("{} queries, {values} values", queries().len());
        Ok(wrong)
    };
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(compare)?;
    let wrong = thread.join().map_err(|_| anyhow::anyhow!("the comparison panicked"))??;
    ensure!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

/// As boards ask; without `rate` and `increase`, which VictoriaMetrics defines otherwise. It keeps some names that
/// Prometheus drops, so every query ends in an aggregation or in arithmetic.
const BOARD_QUERIES: &[&str] = &[
    "sum(park_active_power_kw)",
    "sum by (enterprise) (park_active_power_kw)",
    "sum by (enterprise) (park_active_power_kw{meter=\"main\"}) / 1000",
    "sum by (enterprise, meter) (park_active_power_kw) > 100",
    "max by (enterprise) (park_active_power_kw) - min by (enterprise) (park_active_power_kw)",
    "avg by (meter) (park_active_power_kw{enterprise=~\"acme|bolt\"})",
    "count(park_active_power_kw > 60)",
    "sum by (point) (last_over_time(park_energy_import_kwh[1h]))",
    "sum by (point) (last_over_time(park_gas_flow_nm3_per_h[30m]))",
    "sum by (enterprise) (last_over_time(park_gas_flow_nm3_per_h[30m])) * 1.1",
    "sum by (enterprise) (last_over_time(park_energy_import_kwh[15m]) - last_over_time(park_energy_import_kwh[15m] offset 1h))",
    "sum by (enterprise) (avg_over_time(park_active_power_kw[15m]))",
    "sum by (enterprise) (avg_over_time(park_active_power_kw[1h]))",
    "max by (enterprise) (max_over_time(park_active_power_kw[1h]))",
    "min by (enterprise) (min_over_time(park_active_power_kw[1h]))",
    "sum by (enterprise) (sum_over_time(park_gas_flow_nm3_per_h[1h])) / 4",
    "sum by (enterprise) (count_over_time(park_active_power_kw[1h])) / 120",
    "sum by (enterprise) (park_active_power_kw) / on() group_left sum(park_active_power_kw)",
    "sum by (enterprise) (label_replace(park_active_power_kw, \"enterprise\", \"$1\", \"point\", \"(.*)/.*/.*\"))",
    "clamp_min(sum by (enterprise) (park_active_power_kw) - 500, 0)",
    "sum(park_active_power_kw) or vector(0)",
    "sum(park_active_power_kw offset 1h)",
    "topk(2, sum by (enterprise) (avg_over_time(park_active_power_kw[15m])))",
];

#[test]
fn board_queries_agree_with_victoria_metrics() -> Result<()> {
    let _stopwatch = Stopwatch::start("board_queries_agree_with_victoria_metrics");
    let park = park();
    let server = Server::victoria_metrics(&["-search.maxStalenessInterval=15m", "-search.minStalenessInterval=15m"])?;
    let mut text = String::new();
    for line in open_metrics(&park).lines().filter(|line| !line.starts_with('#')) {
        let (series, time) = line.rsplit_once(' ').context("a line without a time")?;
        let _ = writeln!(text, "{series} {}", time.replace('.', ""));
    }
    ureq::post(format!("{}/api/v1/import/prometheus", server.url())).send(&text)?;
    ureq::get(format!("{}/internal/force_flush", server.url())).call()?;
    let base = format!("{}/prometheus", server.url());
    let mut wrong = Vec::new();
    for query in BOARD_QUERIES {
        // Its ranges begin at multiples of the step.
        for grid in [Grid { start: START + 90 * MINUTE, step: 5 * MINUTE, steps: 49 }, Grid::instant(START + 4 * 60 * MINUTE)] {
            let (ours, theirs) = (evaluate(&park, query, grid)?, ask(&base, query, grid)?);
            ensure!(!ours.is_empty(), "{query} gives nothing");
            if let Err(difference) = same(&ours, &theirs) {
                wrong.push(format!("{query} by {}: {difference}", grid.step));
            }
        }
    }
    ensure!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

/// Meters of the real program's park: enterprise, device.
const METERS: [(&str, &str); 4] = [("acme", "main"), ("acme", "sub"), ("bolt", "main"), ("bolt", "sub")];
/// A meter that is read every 15 minutes, and what it is asked between its readings.
const SLOW: (&str, &str) = ("acme", "slow");
/// See [`SLOW`].
const SLOW_QUERIES: &[&str] = &[
    "park_water_flow_m3_per_h",
    "sum by (enterprise) (park_water_flow_m3_per_h)",
    "timestamp(park_water_flow_m3_per_h)",
    "park_water_flow_m3_per_h - park_water_flow_m3_per_h offset 15m",
    "avg_over_time(park_water_flow_m3_per_h[10m:1m])",
    "count_over_time(park_water_flow_m3_per_h[20m])",
    "absent(park_water_flow_m3_per_h) or vector(0)",
];
/// What the real program is asked beside Prometheus.
const HTTP_QUERIES: &[&str] = &[
    "sum(park_active_power_kw)",
    "sum by (enterprise) (park_active_power_kw)",
    "park_active_power_kw{device=~\"acme-.*\"} > 50",
    "topk(2, park_active_power_kw)",
    "avg_over_time(park_active_power_kw[15m])",
    "avg_over_time(park_active_power_kw[5m])",
    "max by (enterprise) (max_over_time(park_active_power_kw[30m]))",
    "sum by (enterprise) (count_over_time(park_active_power_kw[10m]))",
    "rate(park_energy_import_kwh[10m])",
    "sum(increase(park_energy_import_kwh[20m]))",
    "last_over_time(park_energy_import_kwh[20m]) - last_over_time(park_energy_import_kwh[20m] offset 20m)",
    "park_energy_import_kwh - park_energy_import_kwh offset 10m",
    "sum by (enterprise) (park_active_power_kw) / on() group_left sum(park_active_power_kw)",
    "absent(park_active_power_kw{enterprise=\"core\"})",
];

#[test]
fn the_program_answers_as_prometheus_does() -> Result<()> {
    let _stopwatch = Stopwatch::start("the_program_answers_as_prometheus_does");
    let broker = Mosquitto::start(&Options::default())?;
    let mut config = format!(
        "[park]\nid = \"park\"\nname = \"Park\"\n[[enterprise]]\nid = \"acme\"\nname = \"Acme\"\n[[enterprise]]\nid = \"bolt\"\nname = \"Bolt\"\n\
         [[link]]\nid = \"broker\"\ndriver = \"mqtt\"\nhost = \"127.0.0.1\"\nport = {}\n",
        broker.port()
    );
    for (enterprise, device) in METERS {
        write!(
            config,
            "[[device]]\nid = \"{enterprise}-{device}\"\nlink = \"broker\"\nenterprise = \"{enterprise}\"\n[[device.topic]]\n\
             filter = \"{enterprise}/{device}\"\ntime = \"ts\"\n[[device.point]]\nid = \"active_power\"\npath = \"p\"\n\
             [[device.point]]\nid = \"energy_import\"\npath = \"e\"\n"
        )?;
    }
    let (enterprise, device) = SLOW;
    write!(
        config,
        "[[device]]\nid = \"{enterprise}-{device}\"\nlink = \"broker\"\nenterprise = \"{enterprise}\"\n[[device.topic]]\n\
         filter = \"{enterprise}/{device}\"\ntime = \"ts\"\n[[device.point]]\nid = \"water_flow\"\npath = \"f\"\n\
         interval_ms = {}\n",
        15 * MINUTE
    )?;
    let mut gateway = Gateway::start(&config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let _guard = runtime.enter();
    let mut publisher = broker.publisher("meters");
    // The last hour, a message every 30 s, 1 ms off the minute.
    let end = now_ms().div_euclid(MINUTE) * MINUTE;
    let count = 120;
    let mut random = fastrand::Rng::with_seed(5);
    let mut register = [1000.0, 2000.0, 3000.0, 4000.0];
    for index in 0..=count {
        let time = end - (count - index) * MINUTE / 2 + 1;
        for ((enterprise, device), register) in METERS.into_iter().zip(&mut register) {
            *register += random.f64();
            let text = format!("{{\"ts\":{time},\"p\":{:.3},\"e\":{register:.3}}}", random.f64() * 100.0);
            let first = format!("{enterprise}/{device}");
            if index == 0 {
                // Until the session is open nothing is kept.
                wait_for("open session", std::time::Duration::from_secs(30), || {
                    runtime.block_on(publisher.publish(&first, text.clone()))?;
                    Ok((!gateway.samples(&format!("{enterprise}/{enterprise}-{device}/active_power"))?.is_empty()).then_some(()))
                })?;
            } else {
                runtime.block_on(publisher.publish(&first, text))?;
            }
        }
        if index % 30 == 0 {
            let text = format!("{{\"ts\":{time},\"f\":{}.125}}", 40 + index * index % 37);
            runtime.block_on(publisher.publish(&format!("{enterprise}/{device}"), text))?;
        }
    }
    let points = METERS
        .iter()
        .flat_map(|&(enterprise, device)| {
            let all = [("power", "active_power", "kw", count + 1), ("power", "energy_import", "kwh", count + 1)];
            all.map(|what| (enterprise, device, what))
        })
        .chain([(enterprise, device, ("water", "water_flow", "m3_per_h", count / 30 + 1))]);
    let mut text = String::new();
    for (enterprise, device, (medium, quantity, unit, count)) in points {
        let point = format!("{enterprise}/{enterprise}-{device}/{quantity}");
        let samples = wait_for("all samples", std::time::Duration::from_secs(30), || {
            let samples = gateway.samples(&point)?;
            Ok((i64::try_from(samples.len())? == count).then_some(samples))
        })?;
        for sample in samples {
            let (time, value) = (sample["record_time_ms"].as_i64().context("no time")?, sample["value"].as_str().context("no value")?);
            writeln!(
                text,
                "park_{quantity}_{unit}{{device=\"{enterprise}-{device}\",enterprise=\"{enterprise}\",medium=\"{medium}\",point=\"{point}\",\
                 quantity=\"{quantity}\"}} {value} {}.{:03}",
                time / 1000,
                time % 1000
            )?;
        }
    }
    text.push_str("# EOF\n");
    let server = Server::prometheus(&[], |data| create_blocks(&text, data))?;
    let ours = gateway.url("/prometheus");
    let mut wrong = Vec::new();
    for query in HTTP_QUERIES {
        for grid in
            [Grid { start: end - 35 * MINUTE, step: MINUTE, steps: 36 }, Grid::instant(end + 1_000), Grid::instant(end - 20 * MINUTE)]
        {
            let (ours, theirs) = (ask(&ours, query, grid)?, ask(&server.url(), query, grid)?);
            ensure!(!ours.is_empty(), "{query} gives nothing");
            if let Err(difference) = same(&ours, &theirs) {
                wrong.push(format!("{query} by {}: {difference}", grid.step));
            }
        }
    }
    // Asked by address as by form.
    for query in HTTP_QUERIES.iter().chain(SLOW_QUERIES) {
        for grid in [Grid { start: end - 35 * MINUTE, step: MINUTE, steps: 36 }, Grid::instant(end + 1_000)] {
            if ask_by("GET", &ours, query, grid)? != ask(&ours, query, grid)? {
                wrong.push(format!("{query} by {}: GET and POST differ", grid.step));
            }
        }
    }
    // Ten minutes after a reading the slow meter's is still shown, though not by Prometheus as it comes: it has one lookback
    // for all. Set to the longest interval, it shows the slow meter as parkgate does.
    let between = Grid::instant(end - 5 * MINUTE + 7_000);
    ensure!(ask(&server.url(), "park_water_flow_m3_per_h", between)?.is_empty(), "the reading is not ten minutes old");
    let patient = Server::prometheus(&["--query.lookback-delta=15m"], |data| create_blocks(&text, data))?;
    for query in SLOW_QUERIES {
        for grid in [Grid { start: end - 40 * MINUTE + 7_000, step: MINUTE, steps: 40 }, between, Grid::instant(end - 20 * MINUTE + 7_000)]
        {
            let (ours, theirs) = (ask(&ours, query, grid)?, ask(&patient.url(), query, grid)?);
            ensure!(!ours.is_empty(), "{query} gives nothing");
            if let Err(difference) = same(&ours, &theirs) {
                wrong.push(format!("{query} by {}: {difference}", grid.step));
            }
        }
    }
    ensure!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    bombs(&gateway)?;
    ensure!(gateway.stop()?.success(), "did not stop cleanly");
    Ok(())
}

/// What would take for ever, or a stack or a memory without end, is refused or given up within ten seconds.
fn bombs(gateway: &Gateway) -> Result<()> {
    let resident = || -> Result<i64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid()?))?;
        let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
        Ok(kilobytes.trim().trim_end_matches(" kB").parse()?)
    };
    let before = resident()?;
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let now = now_ms() / 1000;
    let range = |query: String| {
        let times = [("start", (now - 11_000).to_string()), ("end", now.to_string()), ("step", "1".to_owned())];
        ("query_range", [("query", query)].into_iter().chain(times).collect::<Vec<_>>())
    };
    let instant = |query: String| ("query", vec![("query", query)]);
    let ten = "label_replace(vector(1), \"a\", \"xxxxxxxxxx\", \"\", \"\")";
    let nested = |open: &str, close: &str| format!("{}{ten}{}", open.repeat(40), close.repeat(40));
    for (path, form) in [
        range(format!("{}1{}", "(".repeat(100_000), ")".repeat(100_000))),
        range(format!("{}1{}", "(".repeat(8_000), ")".repeat(8_000))),
        range(format!("1{}", "+1".repeat(10_000))),
        range("park_active_power_kw{device=~\"(a{1000}){1000}\"}".to_owned()),
        range(format!("park_active_power_kw{{{}}}", "device=~\"(\\\\pL{100}){20}\",".repeat(400))),
        range("max_over_time(park_active_power_kw[10y:1s])".to_owned()),
        range("sum_over_time(sum_over_time(park_active_power_kw[1d:1s])[1d:1s])".to_owned()),
        range(format!("quantile_over_time(0.5, {{point=~\".+\"}}[1h]){}", " + quantile_over_time(0.5, {point=~\".+\"}[1h])".repeat(200))),
        // Labels that double with each level.
        instant(nested("label_replace(", ", \"a\", \"$1$1\", \"a\", \"(.*)\")")),
        instant(nested("label_join(", ", \"a\", \"\", \"a\", \"a\")")),
        instant(format!("label_replace({ten}, \"a\", \"{}\", \"a\", \"(.*)\")", "$1".repeat(7_000))),
        // Windows that are joined from as many parts as there are steps.
        instant("count_over_time(avg_over_time({medium=\"power\"}[10m])[4000000m:1m])".to_owned()),
        // Conditions by the thousand, and all time.
        ("series", vec![("match[]", "{point=~\"a.*b\"}".to_owned()); 25_000]),
        ("labels", vec![("start", "0".to_owned())]),
    ] {
        let begun = Instant::now();
        let told = form.first().map(|(_, value)| value.get(..60).unwrap_or(value).to_owned()).unwrap_or_default();
        // A subquery in a subquery is long, but not too long: each step is worked out once. Labels are few at any time.
        let may_answer = told.starts_with("sum_over_time(sum_over_time(") || path == "labels";
        let status = agent.post(gateway.url(&format!("/prometheus/api/v1/{path}"))).send_form(form)?.status().as_u16();
        ensure!((status == 200 && may_answer) || matches!(status, 400 | 413 | 422 | 503), "{status}: {path} {told}");
        ensure!(begun.elapsed().as_secs_f64() < 11.0, "{:?}: {path} {told}", begun.elapsed());
    }
    let ten_years = format!("/prometheus/api/v1/query_range?query=park_active_power_kw&start={}&end={now}&step=1", now - 315_360_000);
    ensure!(gateway.get_text(&ten_years)?.0 == 400, "ten years by the second are not refused");
    let grown = resident()? - before;
    println!("bombs: {grown} kB more memory");
    ensure!(grown < 64 << 10, "memory grew by {grown} kB");
    ensure!(gateway.get("/prometheus/api/v1/query?query=1")?["status"] == "success", "it does not answer any more");
    Ok(())
}
