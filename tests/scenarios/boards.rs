//! Every board of `dashboards/` asked as Grafana asks: each variable and each request, over relative and absolute ranges,
//! in the park's zone and in another one, by POST and GET. What a board shows of last month is what `parkgate totals`
//! says.
//!
//! How Grafana asks is read from `@grafana/prometheus` 13.1.4 (datasource) and `@grafana/data` 13.2.3 (rangeutil): the step
//! is the range by the number of points, rounded, not below the panel's; start and end are multiples of the step in the
//! board's zone; `$__rate_interval` is four scrapes at least.
//!
//! A VictoriaMetrics that the forwarder fed from the demo's record answers what boards ask of samples and closed totals
//! with the same numbers.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _, Zoned};
use parkgate_tests::gateway::{Gateway, parkgate};
use parkgate_tests::server::Server;
use parkgate_tests::wait_for;
use serde_json::Value;
use ureq::Agent;

/// Points that a panel on a screen asks for at most, unless it says otherwise.
const POINTS: i64 = 1_000;
/// How often the gateway records its own metrics, as the provisioned data source tells Grafana.
const SCRAPE_MS: i64 = 15_000;
/// Longest that one answer may take, on a machine with other work and in a build for tests.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// Answers that take longer than what a person should wait for are printed.
const SLOW: Duration = Duration::from_millis(500);
/// Longest until a rate over the gateway's own metrics can be told.
const OWN_LIMIT: Duration = Duration::from_secs(60);
/// Longest until a sink has the demo's record, in a build for tests.
const FEED_LIMIT: Duration = Duration::from_secs(90);
/// Zone of the demo park, and one of a browser elsewhere.
const ZONES: [&str; 2] = ["Asia/Shanghai", "America/New_York"];

/// Nothing is rejected in the demo.
const SILENT: &str = "parkgate_driver_rejected_total";

/// One panel's request.
#[derive(Clone)]
struct Target {
    board: String,
    panel: String,
    expr: String,
    is_instant: bool,
    /// The board's range at first, or the panel's own.
    back: SignedDuration,
    /// Begins with a day: `now-30d/d`.
    from_midnight: bool,
    min_step_ms: i64,
    points: i64,
}

/// A range asked for.
#[derive(Clone, Copy)]
struct Range {
    from: Timestamp,
    to: Timestamp,
}

/// Asks everything of the running demo.
pub fn ask_all(demo: &Gateway) -> Result<()> {
    let boards = boards()?;
    ensure!(boards.len() == 7, "{} boards", boards.len());
    let grafana = Grafana::new(demo);
    let mut asked = 0;
    let mut slowest = Duration::ZERO;
    let mut silent = Vec::new();
    for board in &boards {
        let choices = grafana.choices(board)?;
        for target in targets(board)? {
            for zone in ZONES {
                let zone = TimeZone::get(zone)?;
                let now = Zoned::now().with_time_zone(zone.clone());
                for (range, is_last_month) in [(relative(&target, &now)?, false), (last_month(&now)?, true)] {
                    for choice in &choices {
                        let begun = Instant::now();
                        let series = grafana
                            .ask(&target, range, &zone, choice)
                            .with_context(|| format!("{}, {}: {}", target.board, target.panel, target.expr))?;
                        let took = begun.elapsed();
                        (asked, slowest) = (asked + 1, slowest.max(took));
                        if took > SLOW {
                            println!("slow: {:.1} s for {} ({})", took.as_secs_f64(), target.expr, target.panel);
                        }
                        let must_have = choice.is_all && (!is_last_month || target.is_about_the_past());
                        if must_have && !has_values(&series) {
                            ensure!(!is_last_month && target.expr.contains("parkgate_"), "no data: {}, {}", target.panel, target.expr);
                            silent.push(target.clone());
                        }
                    }
                }
            }
        }
    }
    println!("boards: {asked} requests, the slowest took {:.2} s", slowest.as_secs_f64());
    last_month_is_right(demo, &grafana, &boards)?;
    // A rate takes two records of what the gateway counts, before the last step.
    let zone = TimeZone::get(ZONES[0])?;
    let choice = Choice::everything();
    for target in silent.into_iter().filter(|target| !target.expr.contains(SILENT)) {
        let what = format!("data of {}, {}: {}", target.board, target.panel, target.expr);
        wait_for(&what, OWN_LIMIT, || {
            let range = relative(&target, &Zoned::now().with_time_zone(zone.clone()))?;
            Ok(has_values(&grafana.ask(&target, range, &zone, &choice)?).then_some(()))
        })?;
    }
    Ok(())
}

fn has_values(series: &Series) -> bool {
    series.iter().any(|(_, values)| values.iter().any(|(_, value)| value.is_finite()))
}

impl Target {
    /// Its figures stand for periods, so that an earlier range has some; others tell of the present or of this process.
    fn is_about_the_past(&self) -> bool {
        self.expr.contains("park_") && self.expr.contains("_over_time(") && !self.expr.contains("_current_")
    }
}

/// What the variables of a board stand for.
struct Choice {
    values: BTreeMap<String, String>,
    is_all: bool,
}

impl Choice {
    /// What the boards' variables stand for when all is chosen.
    fn everything() -> Self {
        let values = [("enterprise", ".*"), ("device", ".+")].map(|(name, all)| (name.into(), all.into())).into();
        Self { values, is_all: true }
    }
}

/// Asks as Grafana's Prometheus data source does.
struct Grafana {
    agent: Agent,
    base: String,
    /// Behind the path of a request.
    more: &'static str,
}

/// Labels and values with their times in milliseconds.
type Series = Vec<(BTreeMap<String, String>, Vec<(i64, f64)>)>;

impl Grafana {
    fn new(demo: &Gateway) -> Self {
        Self::at(demo.url(""), "")
    }

    /// Asks VictoriaMetrics; without its cache it leaves start and end as they are.
    fn of_victoria(server: &Server) -> Self {
        Self::at(server.url(), "?nocache=1")
    }

    fn at(url: String, more: &'static str) -> Self {
        let agent = Agent::config_builder().timeout_global(Some(ANSWER_LIMIT)).http_status_as_error(false).build().into();
        Self { agent, base: format!("{url}/prometheus/api/v1"), more }
    }

    /// All, and each value of each variable alone where it has some.
    fn choices(&self, board: &Value) -> Result<Vec<Choice>> {
        let variables: Vec<&Value> = list(&board["templating"], "list").iter().filter(|variable| variable["type"] == "query").collect();
        let all = |variable: &Value| (text(variable, "name").to_owned(), text(variable, "allValue").to_owned());
        let everything: BTreeMap<String, String> = variables.iter().map(|variable| all(variable)).collect();
        let mut choices = vec![Choice { values: everything.clone(), is_all: true }];
        for variable in variables {
            let (name, query) = (text(variable, "name"), text(&variable["query"], "query"));
            let arguments = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')).context("label_values")?;
            let (selector, label) = arguments.rsplit_once(", ").context("two arguments")?;
            let found = self.label_values(&interpolate(selector, &everything), label)?;
            if found.is_empty() {
                // The demo's charging piles are the park's own.
                ensure!(name == "enterprise" && selector.contains("charging"), "{}: ${name} has no values", text(board, "title"));
                continue;
            }
            for value in [found.first(), found.last()].into_iter().flatten() {
                let values = everything.iter().map(|(key, all)| (key.clone(), if key == name { value.clone() } else { all.clone() }));
                choices.push(Choice { values: values.collect(), is_all: false });
            }
            // Several at once, as Grafana writes them.
            let several = format!("({})", found.join("|"));
            let values = everything.iter().map(|(key, all)| (key.clone(), if key == name { several.clone() } else { all.clone() }));
            choices.push(Choice { values: values.collect(), is_all: false });
        }
        Ok(choices)
    }

    fn label_values(&self, selector: &str, label: &str) -> Result<Vec<String>> {
        let now = Timestamp::now();
        let start = now - SignedDuration::from_hours(6);
        let mut answer = self
            .agent
            .get(format!("{}/label/{label}/values", self.base))
            .query_pairs([("match[]", selector), ("start", &seconds(start)), ("end", &seconds(now)), ("limit", "40000")])
            .call()?;
        let body: Value = answer.body_mut().read_json()?;
        ensure!(answer.status() == 200 && body["status"] == "success", "{selector}: {body}");
        Ok(list(&body, "data").iter().filter_map(|value| Some(value.as_str()?.to_owned())).collect())
    }

    fn ask(&self, target: &Target, range: Range, zone: &TimeZone, choice: &Choice) -> Result<Series> {
        let span_ms = range.to.as_millisecond() - range.from.as_millisecond();
        let step_ms = rounded(span_ms / target.points).max(target.min_step_ms);
        let mut values = choice.values.clone();
        let range_s = (span_ms + 500) / 1000;
        for (name, value) in [
            ("__rate_interval", duration((step_ms + SCRAPE_MS).max(4 * SCRAPE_MS))),
            ("__interval", duration(step_ms)),
            ("__range", format!("{range_s}s")),
        ] {
            values.insert(name.into(), value);
        }
        let expr = interpolate(&target.expr, &values);
        let step = format!("{}", step_ms / 1000);
        let (path, form) = if target.is_instant {
            ("query", vec![("query", expr), ("time", seconds(range.to))])
        } else {
            // The offset is that of the zone now, whatever it was in the range.
            let offset_ms = i64::from(zone.to_offset(Timestamp::now()).seconds()) * 1000;
            let aligned = |time: Timestamp| -> Result<String> {
                let time_ms = (time.as_millisecond() + offset_ms).div_euclid(step_ms) * step_ms - offset_ms;
                Ok(seconds(Timestamp::from_millisecond(time_ms)?))
            };
            ("query_range", vec![("query", expr), ("start", aligned(range.from)?), ("end", aligned(range.to)?), ("step", step)])
        };
        let url = format!("{}/{path}{}", self.base, self.more);
        let by_post = self.read(self.agent.post(&url).send_form(form.clone())?, &form)?;
        if choice.is_all {
            let pairs = form.iter().map(|(name, value)| (*name, value.as_str()));
            let by_get = self.read(self.agent.get(&url).query_pairs(pairs).call()?, &form)?;
            if by_get.len() != by_post.len() {
                // A series may have begun between the two: then both have it from now on.
                let by_post = self.read(self.agent.post(&url).send_form(form.clone())?, &form)?;
                ensure!(by_get.len() == by_post.len(), "GET gives {} series, POST {}", by_get.len(), by_post.len());
            }
        }
        Ok(by_post)
    }

    fn read(&self, mut answer: ureq::http::Response<ureq::Body>, form: &[(&str, String)]) -> Result<Series> {
        let body: Value = answer.body_mut().with_config().limit(64 << 20).read_json()?;
        ensure!(answer.status() == 200 && body["status"] == "success", "{form:?}: {} {body}", answer.status());
        let value = |pair: &Value| -> Result<(i64, f64)> {
            let time = pair[0].as_f64().context("a time")?;
            #[expect(clippy::cast_possible_truncation, reason = "milliseconds of this century")]
            let time_ms = (time * 1000.0).round() as i64;
            Ok((time_ms, pair[1].as_str().context("a value in a string")?.parse()?))
        };
        list(&body["data"], "result")
            .iter()
            .map(|series| {
                let labels = series["metric"].as_object().context("labels")?.iter();
                let labels = labels.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect();
                let values: Result<Vec<_>> = match series.get("values") {
                    Some(values) => values.as_array().context("values")?.iter().map(value).collect(),
                    None => Ok(vec![value(&series["value"])?]),
                };
                Ok((labels, values?))
            })
            .collect()
    }
}

/// Asks the boards of a VictoriaMetrics that the forwarder feeds from the record of a demo that was stopped at `stopped`.
pub fn beside_victoria(data: &Path, stopped: Timestamp) -> Result<()> {
    let victoria = Server::victoria_metrics(&[
        "-dedup.minScrapeInterval=1ms",
        "-search.latencyOffset=0s",
        // A value counts as long as with us.
        "-search.minStalenessInterval=5m",
        "-search.maxStalenessInterval=5m",
    ])?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/demo");
    let demo = std::fs::read_to_string(folder.join("parkgate.toml"))?;
    let mut gateway = Gateway::prepare(Some(data))?;
    let beside = gateway.config().with_file_name("alarms.toml");
    std::fs::copy(folder.join("alarms.toml"), beside)?;
    gateway.configure(&format!(
        "{demo}\n[[gateway.sink]]\nid = \"victoria\"\nkind = \"victoriametrics\"\nurl = \"{}\"\n\
         media = [\"power\", \"gas\", \"water\", \"heat\", \"charging\"]\n",
        victoria.url()
    ))?;
    gateway.restart()?;
    wait_for("a sink that has everything", FEED_LIMIT, || {
        let metrics = gateway.text("/metrics")?;
        Ok(metrics.contains("parkgate_forward_lag_entries{sink=\"victoria\"} 0\n").then_some(()))
    })?;
    let zone = TimeZone::get(ZONES[0])?;
    let now = stopped.to_zoned(zone.clone());
    let (ours, theirs, choice) = (Grafana::new(&gateway), Grafana::of_victoria(&victoria), Choice::everything());
    let all: Vec<Target> = boards()?.iter().map(targets).collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
    // Indicators and emissions are the gateway's own: no sink gets them.
    let elsewhere = ["rate(", "_current_", "parkgate_", "park_indicator_", "park_emission_"];
    let of_record = |target: &&Target| !elsewhere.iter().any(|other| target.expr.contains(other));
    let (mut asked, mut values) = (0, 0);
    for target in all.iter().filter(of_record) {
        for range in [relative(target, &now)?, last_month(&now)?] {
            // Closed totals follow the samples.
            let count = wait_for("the same from both", FEED_LIMIT, || {
                ureq::get(format!("{}/internal/force_flush", victoria.url())).call()?;
                let (ours, theirs) = (ours.ask(target, range, &zone, &choice)?, theirs.ask(target, range, &zone, &choice)?);
                Ok(same_series(ours, theirs).ok())
            });
            let count = count.with_context(|| {
                let told = |grafana: &Grafana| grafana.ask(target, range, &zone, &choice);
                let difference = told(&ours).and_then(|ours| same_series(ours, told(&theirs)?));
                format!("{}, {}: {}: {difference:?}", target.board, target.panel, target.expr)
            })?;
            (asked, values) = (asked + 1, values + count);
        }
    }
    println!("boards beside VictoriaMetrics: {asked} requests, {values} values");
    ensure!(asked > 60 && values > 10_000, "{asked} requests, {values} values");
    ensure!(gateway.stop()?.success(), "did not stop cleanly");
    Ok(())
}

/// How many values two answers have in common: all. Names of series are left out: some functions keep them there.
fn same_series(ours: Series, theirs: Series) -> Result<usize> {
    let by_labels = |series: Series| -> BTreeMap<BTreeMap<String, String>, BTreeMap<i64, f64>> {
        let unnamed = |mut labels: BTreeMap<String, String>| {
            labels.remove("__name__");
            labels
        };
        series.into_iter().map(|(labels, values)| (unnamed(labels), values.into_iter().collect())).collect()
    };
    let (ours, theirs) = (by_labels(ours), by_labels(theirs));
    ensure!(ours.keys().eq(theirs.keys()), "{:?}, theirs {:?}", ours.keys(), theirs.keys());
    let mut count = 0;
    for (labels, values) in &ours {
        let others = &theirs[labels];
        ensure!(values.keys().eq(others.keys()), "{labels:?}: {values:?}, theirs {others:?}");
        for (time, value) in values {
            ensure!(same(*value, others[time]), "{labels:?} at {time}: {value}, theirs {}", others[time]);
        }
        count += values.len();
    }
    Ok(count)
}

/// Bars and sums of last month against `parkgate totals`, which shares no query with them.
fn last_month_is_right(demo: &Gateway, grafana: &Grafana, boards: &[Value]) -> Result<()> {
    let all: Vec<Target> = boards.iter().map(targets).collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
    let find = |expr: &str| all.iter().find(|target| target.expr == expr).with_context(|| format!("no board asks {expr}"));
    let park = TimeZone::get(ZONES[0])?;
    let now = Zoned::now().with_time_zone(park.clone());
    let month = last_month(&now)?;
    let everything = Choice::everything();
    for (gate, sub, series, unit) in [
        ("demo-park/gate-power/energy_import", "coating/coating-power/energy_import", "park_energy_import", "kwh"),
        ("demo-park/gate-gas/gas_volume", "dyeing/dyeing-gas/gas_volume", "park_gas_volume", "m3"),
        ("demo-park/gate-water/water_volume", "demo-park/common-water/water_volume", "park_water_volume", "m3"),
    ] {
        let (days, total) = totals(demo, gate, month, &park)?;
        // As shown in the park's zone: one bar on each midnight of the month, the last one on its last day.
        let bars = find(&format!(r#"sum(last_over_time({series}_day_{unit}{{role="gate"}}[1d]))"#))?;
        let shown = one(grafana.ask(bars, month, &park, &everything)?)?;
        let midnights: Vec<i64> = days.keys().copied().collect();
        ensure!(shown.iter().map(|(time, _)| *time).eq(midnights.iter().copied()), "{gate}: bars on {shown:?}, days are {midnights:?}");
        let last_day = Timestamp::from_millisecond(shown.last().context("no bar")?.0)?.to_zoned(park.clone());
        ensure!(last_day.date() == now.first_of_month()?.yesterday()?.date(), "the last bar stands on {last_day}");
        for (time, value) in &shown {
            ensure!(same(*value, days[time]), "{gate}: {value} on {time}, totals say {}", days[time]);
        }
        ensure!(same(shown.iter().map(|(_, value)| value).sum(), total), "{gate}: bars {shown:?}, month {total}");
        // In a browser elsewhere bars stand at another hour, but on no other day of the park.
        for (time, value) in one(grafana.ask(bars, month, &TimeZone::get(ZONES[1])?, &everything)?)? {
            let day = Timestamp::from_millisecond(time)?.to_zoned(park.clone()).start_of_day()?.timestamp().as_millisecond();
            ensure!(days.get(&day).is_none_or(|total| same(value, *total)), "{gate}: {value} on {time}");
        }
        // "Last month" and the bar of the month.
        let closed = format!(r#"last_over_time({series}_month_{unit}{{role="gate"}}"#);
        let day = "day_of_month(vector(time() + 28800))";
        let figure = find(&format!("sum(({closed}[45d]) and on () ({day} <= 10)) or ({closed}[63d]) and on () ({day} > 10)))"))?;
        let figure = one(grafana.ask(figure, relative(figure, &now)?, &park, &everything)?)?;
        ensure!(figure.iter().all(|(_, value)| same(*value, total)), "{gate}: {figure:?}, totals say {total}");
        let months = find(&format!(r#"sum(last_over_time({series}_month_{unit}{{role="gate"}}[1d]))"#))?;
        let months: BTreeMap<i64, f64> = one(grafana.ask(months, relative(months, &now)?, &park, &everything)?)?.into_iter().collect();
        let of_month = months.get(&month.from.as_millisecond());
        ensure!(of_month.is_some_and(|value| same(*value, total)), "{gate}: {months:?}, totals say {total}");
        ensure!((12..=14).contains(&months.len()), "{gate}: {months:?}");
        // A meter behind the gate, over the range.
        let (_, total) = totals(demo, sub, month, &park)?;
        let matchers = r#"{role="sub",enterprise=~"$enterprise",device=~"$device"}"#;
        let target = find(&format!("sum by (device) (sum_over_time({series}_day_{unit}{matchers}[$__range] offset 1s))"))?;
        let device = sub.split('/').nth(1).unwrap_or_default();
        // Grafana rounds ranges to seconds; days that begin on a range's start are in it, those on its end are not.
        for end_ms in [0, 1, 201, 601] {
            let month = Range { to: month.to + SignedDuration::from_millis(end_ms), ..month };
            let parts = grafana.ask(target, month, &park, &everything)?;
            let part = parts.iter().find(|(labels, _)| labels.get("device").is_some_and(|name| name == device));
            let shown = part.with_context(|| format!("{sub}: {parts:?}"))?;
            ensure!(shown.1.iter().all(|(_, value)| same(*value, total)), "{sub}, {end_ms} ms: {shown:?}, totals say {total}");
        }
    }
    Ok(())
}

/// Totals of the days that begin in a month by their start, and that of the month.
fn totals(demo: &Gateway, point: &str, month: Range, zone: &TimeZone) -> Result<(BTreeMap<i64, f64>, f64)> {
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/demo/parkgate.toml");
    let data = demo.data_directory().to_str().context("UTF-8")?;
    let date = |time: Timestamp| time.to_zoned(zone.clone()).date().to_string();
    let (from, to) = (date(month.from), date(month.to + SignedDuration::from_millis(1)));
    let arguments =
        ["totals", "--config", config, "--data", data, "--point", point, "--level", "day,month", "--from", &from, "--to", &to, "--json"];
    let printed = parkgate(&arguments)?;
    ensure!(printed.code == 0, "{printed:?}");
    let mut days = BTreeMap::new();
    let mut total = None;
    for row in printed.json_lines()? {
        let amount: f64 = row["amount"].as_str().with_context(|| row.to_string())?.parse()?;
        let start: Timestamp = text(&row, "start").parse()?;
        ensure!(row["closed"] == true, "{row}");
        match text(&row, "level") {
            "day" => drop(days.insert(start.as_millisecond(), amount)),
            _ => ensure!(total.replace(amount).is_none() && start == month.from, "{row}"),
        }
    }
    ensure!((28..=31).contains(&days.len()), "{point}: {} days", days.len());
    Ok((days, total.context("no month")?))
}

/// The values of an only series.
fn one(series: Series) -> Result<Vec<(i64, f64)>> {
    ensure!(series.len() == 1, "{} series", series.len());
    Ok(series.into_iter().flat_map(|(_, values)| values).collect())
}

/// Equal but for the last digits of sums of floats.
fn same(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
}

/// The boards as Grafana reads them.
fn boards() -> Result<Vec<Value>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dashboards");
    let mut files: Vec<_> = std::fs::read_dir(&folder)?.collect::<Result<Vec<_>, _>>()?.into_iter().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    files.iter().map(|path| Ok(serde_json::from_str(&std::fs::read_to_string(path)?)?)).collect()
}

fn targets(board: &Value) -> Result<Vec<Target>> {
    let from = text(&board["time"], "from");
    let mut all = Vec::new();
    for panel in list(board, "panels") {
        let own = panel["timeFrom"].as_str();
        let back = own.unwrap_or_else(|| from.trim_start_matches("now-").trim_end_matches("/d"));
        for target in list(panel, "targets") {
            all.push(Target {
                board: text(board, "title").to_owned(),
                panel: text(panel, "title").to_owned(),
                expr: text(target, "expr").to_owned(),
                is_instant: target["instant"] == true,
                back: span(back)?,
                from_midnight: own.is_none() && from.ends_with("/d"),
                min_step_ms: panel["interval"].as_str().map_or(Ok(SCRAPE_MS), |text| span(text).map(milliseconds))?,
                points: panel["maxDataPoints"].as_i64().unwrap_or(POINTS),
            });
        }
    }
    Ok(all)
}

/// From the board's or the panel's start until now.
fn relative(target: &Target, now: &Zoned) -> Result<Range> {
    let mut from = now.checked_sub(target.back)?;
    if target.from_midnight {
        from = from.start_of_day()?;
    }
    Ok(Range { from: from.timestamp(), to: now.timestamp() })
}

/// `now-1M/M` to `now-1M/M`.
fn last_month(now: &Zoned) -> Result<Range> {
    let this = now.first_of_month()?.start_of_day()?;
    let before = this.checked_sub(1.month())?;
    Ok(Range { from: before.timestamp(), to: this.timestamp() - SignedDuration::from_millis(1) })
}

/// Grafana's rounding of steps (`@grafana/data` 13.2.3, rangeutil.roundInterval), from a second on.
fn rounded(step_ms: i64) -> i64 {
    const STEPS: &[(i64, i64)] = &[
        (1_500, 1_000),
        (3_500, 2_000),
        (7_500, 5_000),
        (12_500, 10_000),
        (17_500, 15_000),
        (25_000, 20_000),
        (45_000, 30_000),
        (90_000, 60_000),
        (210_000, 120_000),
        (450_000, 300_000),
        (750_000, 600_000),
        (1_050_000, 900_000),
        (1_500_000, 1_200_000),
        (2_700_000, 1_800_000),
        (5_400_000, 3_600_000),
        (9_000_000, 7_200_000),
        (16_200_000, 10_800_000),
        (32_400_000, 21_600_000),
        (86_400_000, 43_200_000),
        (604_800_000, 86_400_000),
    ];
    STEPS.iter().find(|(below, _)| step_ms < *below).map_or(604_800_000, |(_, step)| *step)
}

fn interpolate(text: &str, values: &BTreeMap<String, String>) -> String {
    // The longest name first: $__rate_interval before $__r.
    let mut names: Vec<_> = values.iter().collect();
    names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    names.into_iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("${name}"), value))
}

fn span(text: &str) -> Result<SignedDuration> {
    let (number, unit) = text.split_at(text.len() - 1);
    let hours = match unit {
        "m" => return Ok(SignedDuration::from_mins(number.parse()?)),
        "h" => 1,
        "d" => 24,
        _ => anyhow::bail!("a span in minutes, hours or days, not {text}"),
    };
    Ok(SignedDuration::from_hours(number.parse::<i64>()? * hours))
}

fn milliseconds(span: SignedDuration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

fn duration(milliseconds: i64) -> String {
    format!("{}s", milliseconds / 1000)
}

fn seconds(time: Timestamp) -> String {
    format!("{}.{:03}", time.as_second(), time.subsec_millisecond())
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}
