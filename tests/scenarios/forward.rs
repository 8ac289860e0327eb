//! Sinks get what the record gets, whatever they, the network and the gateway go through.
//!
//! [`contract`] holds the client to what InfluxDB 2 documents of its answers, on a server made up here. The scenario runs
//! the real program before a real InfluxDB 1 and a real VictoriaMetrics, each behind a proxy that refuses, hangs and
//! breaks off; sinks and gateway are killed; afterwards `parkgate reconcile` must find no difference.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use parkgate_collector::journal::inspect;
use parkgate_collector::model::{Unit, UtcMillis};
use parkgate_gateway::forward::{state::State, state_path};
use parkgate_tests::gateway::{Finished, Gateway, parkgate};
use parkgate_tests::http::{Proxy, Reply};
use parkgate_tests::mosquitto::{Mosquitto, Options};
use parkgate_tests::numbered::{self, Meters};
use parkgate_tests::server::Server;
use parkgate_tests::{Stopwatch, now_ms, wait_for};

/// Messages published in each stage.
const MESSAGES: u64 = 600;
/// Longest that it may take until the journal has let go of what sinks lack that are away.
const OUTAGE_LIMIT: Duration = Duration::from_secs(10);
/// How long each trouble lasts, with messages coming in.
const TROUBLE: Duration = Duration::from_millis(700);
/// Longest that sinks may take to get the rest.
const DRAIN_LIMIT: Duration = Duration::from_secs(60);
/// Small, so that kills also fall into checkpoints; short, so that a sink that hangs is given up soon.
const SMALL: &str = "[gateway.journal]\nsegment_megabytes = 1\n[gateway.history]\ncheckpoint_seconds = 1\n";

const HOUR_MS: i64 = 3_600_000;

#[test]
fn sinks_have_the_record_after_every_trouble() -> Result<()> {
    let _stopwatch = Stopwatch::start("forward");
    let broker = Mosquitto::start(&Options::default())?;
    let mut influx = Server::influxdb()?;
    let mut victoria = Server::victoria_metrics(&["-dedup.minScrapeInterval=1ms"])?;
    ureq::post(format!("{}/query", influx.url())).query("q", "CREATE DATABASE park").send_empty()?;
    let (influx_proxy, victoria_proxy) = (Proxy::start(influx.url())?, Proxy::start(victoria.url())?);
    let mut config = format!("{}\n{}{SMALL}", numbered::config(broker.port()), numbered::ENERGY);
    for (id, kind, url, more) in
        [("influx", "influxdb1", influx_proxy.url(), "db = \"park\""), ("victoria", "victoriametrics", victoria_proxy.url(), "")]
    {
        write!(config, "[[gateway.sink]]\nid = \"{id}\"\nkind = \"{kind}\"\nurl = \"{url}\"\n{more}\nlinger_ms = 50\ntimeout_ms = 500\n")?;
    }
    let mut gateway = Gateway::start(&config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let _guard = runtime.enter();
    let mut meters = Meters::open(&runtime, &broker, &gateway)?;
    runtime.block_on(meters.publish(MESSAGES))?;
    // Registers at the boundaries of three whole hours, 10, 20 and 30 kWh, and a fourth that is open: what was received
    // passes only the end of the third by the grace.
    let (mut energy, start) = (broker.publisher("energy"), (now_ms() / HOUR_MS - 5) * HOUR_MS);
    for (hour, register) in [(0, 100), (1, 110), (2, 130), (3, 160), (4, 200)] {
        let payload = format!("{{\"n\":{register},\"ts\":{}}}", start + hour * HOUR_MS);
        runtime.block_on(energy.publish("meters/energy", payload))?;
    }
    runtime.block_on(energy.flush())?;

    let busy = Reply::Answer { status: 429, headers: vec![("Retry-After", "1".into())], body: Vec::new() };
    let troubles =
        [Reply::text(500, "down"), Reply::Hang, Reply::Close, Reply::text(400, "no"), Reply::text(413, ""), busy, Reply::text(401, "who")];
    for (number, trouble) in troubles.into_iter().enumerate() {
        for proxy in [&influx_proxy, &victoria_proxy] {
            proxy.set(Some(trouble.clone()));
        }
        runtime.block_on(meters.publish(MESSAGES))?;
        std::thread::sleep(TROUBLE);
        match number {
            0 => {
                // A stop saves all state and ends the segment: soon the journal has let go of what the sinks lack, and
                // that is sent from blocks.
                ensure!(gateway.stop()?.success(), "the gateway did not stop cleanly");
                gateway.restart()?;
                runtime.block_on(meters.publish(MESSAGES))?;
                wait_for("a journal that goes on without the sinks", OUTAGE_LIMIT, || {
                    Ok((is_beyond(&gateway, "influx")? && is_beyond(&gateway, "victoria")?).then_some(()))
                })?;
            }
            1 => {
                gateway.kill_9()?;
                gateway.restart()?;
            }
            2 => {
                // What VictoriaMetrics acknowledged is in its memory for a while; a kill would lose that. A snapshot needs
                // it on the disk.
                ureq::get(format!("{}/internal/force_flush", victoria.url())).call()?;
                ureq::get(format!("{}/snapshot/create", victoria.url())).call()?;
                influx.restart()?;
                victoria.restart()?;
            }
            _ => {}
        }
        for proxy in [&influx_proxy, &victoria_proxy] {
            proxy.set(None);
        }
        runtime.block_on(meters.publish(MESSAGES / 4))?;
    }
    gateway.kill_9()?;
    gateway.restart()?;
    runtime.block_on(meters.publish(MESSAGES))?;
    numbered::each_once(&gateway, meters.sent(), DRAIN_LIMIT)?;

    wait_for("sinks that have everything", DRAIN_LIMIT, || {
        let metrics = gateway.text("/metrics")?;
        let zero = |name: &str, sink: &str| metrics.contains(&format!("{name}{{sink=\"{sink}\"}} 0\n"));
        Ok(["influx", "victoria"]
            .iter()
            .all(|sink| zero("parkgate_forward_lag_entries", sink) && zero("parkgate_forward_state", sink))
            .then_some(()))
    })?;
    wait_for("closed totals", DRAIN_LIMIT, || {
        ureq::get(format!("{}/internal/force_flush", victoria.url())).call()?;
        let query = r#"sum_over_time(park_energy_import_hour_kwh{point="acme/energy/energy_import"}[1d])"#;
        let mut answer = ureq::get(format!("{}/api/v1/query", victoria.url())).query("query", query).query("nocache", "1").call()?;
        let answer: serde_json::Value = answer.body_mut().read_json()?;
        Ok((answer["data"]["result"][0]["value"][1] == "60").then_some(()))
    })?;
    ensure!(gateway.text("/readyz?verbose")?.ends_with("ready\n"));

    for (kind, sink) in [("influxdb", "influx"), ("victoriametrics", "victoria")] {
        let finished = wait_for("no difference", Duration::from_secs(10), || {
            let finished = reconcile(&gateway, kind)?;
            ensure!(finished.code != 2, "{finished:?}");
            Ok((finished.code == 0).then_some(finished))
        });
        let finished = finished.with_context(|| format!("{:?}", reconcile(&gateway, kind)))?;
        ensure!(finished.stdout.contains(&format!("sink {sink}: ")) && finished.stdout.contains(" 0 differences"), "{finished:?}");
        let letters = parkgate(&["forward", "dead-letters", "--config", &gateway.config().display().to_string()])?;
        ensure!((letters.code, letters.stdout.as_str()) == (0, ""), "{letters:?}");
    }
    // What a sink lost is found, named by series, point and day.
    let drop_series = r#"DROP SERIES FROM "park_energy_import_hour""#;
    ureq::post(format!("{}/query", influx.url())).query("db", "park").query("q", drop_series).send_empty()?;
    let finished = reconcile(&gateway, "influxdb")?;
    // The three hours may lie in two days.
    let sums = finished.stdout.lines().filter_map(|line| {
        let (_, of_record) = line.split_once(" park_energy_import_hour_kwh acme/energy/energy_import: record ")?;
        let (of_record, _) = of_record.split_once("; sink 0 values, sum 0")?;
        of_record.split_once(" values, sum ")?.1.parse::<u32>().ok()
    });
    let is_named = sums.sum::<u32>() == 60;
    ensure!(finished.code == 1 && is_named && finished.stdout.contains(" 0 superseded"), "{finished:?}");
    let series = r#"{__name__=~"park_number_.*",point="acme/t1/number"}"#;
    ureq::post(format!("{}/api/v1/admin/tsdb/delete_series", victoria.url())).query("match[]", series).send_empty()?;
    let finished = reconcile(&gateway, "victoriametrics")?;
    let lines: Vec<&str> = finished.stdout.lines().filter(|line| line.contains("acme/")).collect();
    ensure!(finished.code == 1 && !lines.is_empty(), "{finished:?}");
    ensure!(lines.iter().all(|line| line.contains("acme/t1/number: ") && line.contains("; sink 0 values")), "{finished:?}");
    // A value that the record does not have is found.
    let field = Unit::parse("1").context("a unit")?.name_form();
    let line = format!("park_number,point=acme/t0/number {field}=7 {}", now_ms());
    ureq::post(format!("{}/write?precision=ms&db=park", influx.url())).send(&line)?;
    let finished = reconcile(&gateway, "influxdb")?;
    ensure!(finished.code == 1 && finished.stdout.contains("acme/t0/number"), "{finished:?}");
    influx.kill();
    ensure!(reconcile(&gateway, "influxdb")?.code == 2);
    ensure!(gateway.stop()?.success(), "the gateway did not stop cleanly");
    Ok(())
}

/// Whether the journal has let go of entries that a sink has not got.
fn is_beyond(gateway: &Gateway, sink: &str) -> Result<bool> {
    let next = State::open_read_only(&state_path(gateway.data_directory(), sink))?.cursor()?.unwrap_or_default();
    let segments = inspect::segments(&gateway.data_directory().join("journal"))?;
    Ok(segments.first().is_some_and(|(oldest, _)| *oldest > next))
}

fn reconcile(gateway: &Gateway, kind: &str) -> Result<Finished> {
    const DAY_MS: i64 = 86_400_000;
    let config = gateway.config().display().to_string();
    let (yesterday, tomorrow) = (UtcMillis(now_ms() - DAY_MS).to_string(), UtcMillis(now_ms() + DAY_MS).to_string());
    parkgate(&["reconcile", kind, "--config", &config, "--from", &yesterday, "--to", &tomorrow])
}

#[cfg(feature = "influxdb2")]
mod influxdb2_reads_back {
    //! A real InfluxDB 2, named by `PARKGATE_TEST_INFLUXDB2_URL` with `_ORG`, `_BUCKET` and `_TOKEN`, is read by a client
    //! that shares nothing with ours.

    use std::collections::BTreeMap;
    use std::time::Duration;

    use anyhow::{Context as _, Result, ensure};
    use influxdb2::models::Query;
    use influxdb2_structmap::value::Value;
    use parkgate_collector::model::{Unit, UtcMillis};
    use parkgate_tests::gateway::{Gateway, parkgate};
    use parkgate_tests::mosquitto::{Mosquitto, Options};
    use parkgate_tests::numbered::{self, Meters};
    use parkgate_tests::{now_ms, wait_for};

    #[test]
    fn what_the_record_has() -> Result<()> {
        let variable = |name: &str| std::env::var(format!("PARKGATE_TEST_INFLUXDB2_{name}"));
        let Ok(url) = variable("URL") else {
            println!("PARKGATE_TEST_INFLUXDB2_URL is not set: nothing was tested");
            return Ok(());
        };
        let (org, bucket, token) = (variable("ORG")?, variable("BUCKET")?, variable("TOKEN")?);
        let broker = Mosquitto::start(&Options::default())?;
        let start = UtcMillis(now_ms());
        let mut gateway = Gateway::start(&format!(
            "{}\n[[gateway.sink]]\nid = \"two\"\nkind = \"influxdb2\"\nurl = {url:?}\norg = {org:?}\nbucket = {bucket:?}\ntoken = {token:?}\n",
            numbered::config(broker.port())
        ))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let _guard = runtime.enter();
        let mut meters = Meters::open(&runtime, &broker, &gateway)?;
        runtime.block_on(meters.publish(2_000))?;
        numbered::each_once(&gateway, meters.sent(), Duration::from_secs(30))?;
        wait_for("sink that has everything", Duration::from_secs(30), || {
            Ok(gateway.text("/metrics")?.contains("parkgate_forward_lag_entries{sink=\"two\"} 0\n").then_some(()))
        })?;

        let (field, end) = (Unit::parse("1").context("a unit")?.name_form(), UtcMillis(now_ms()).plus(1));
        let flux = format!(
            "from(bucket: {bucket:?}) |> range(start: {start}, stop: {end}) \
             |> filter(fn: (r) => r._measurement == \"park_number\" and r._field == {field:?})"
        );
        let client = influxdb2::Client::new(url, org, token);
        let rows = runtime.block_on(client.query_raw(Some(Query::new(flux))))?;
        let mut found: BTreeMap<String, BTreeMap<i64, String>> = BTreeMap::new();
        for row in rows {
            let (Some(Value::String(point)), Some(Value::TimeRFC(time)), Some(Value::Double(value))) =
                (row.values.get("point"), row.values.get("_time"), row.values.get("_value"))
            else {
                anyhow::bail!("{row:?}");
            };
            found.entry(point.clone()).or_default().insert(time.timestamp_millis(), value.to_string());
        }
        ensure!(found.len() > 10, "{found:?}");
        for (point, values) in found {
            let samples = gateway.samples(&point)?;
            let expected: BTreeMap<i64, String> = samples
                .iter()
                .filter_map(|sample| Some((sample["record_time_ms"].as_i64()?, sample["value"].as_str()?.to_owned())))
                .collect();
            assert_eq!(values, expected, "{point}");
        }
        let config = gateway.config().display().to_string();
        let finished = parkgate(&["reconcile", "influxdb", "--config", &config, "--from", &start.to_string(), "--to", &end.to_string()])?;
        ensure!(finished.code == 0, "{finished:?}");
        gateway.stop()?;
        Ok(())
    }
}

mod contract {
    //! Answers as <https://docs.influxdata.com/influxdb/v2/api/#operation/PostWrite> has them.

    use std::collections::BTreeSet;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use anyhow::Result;
    use parkgate_collector::catalogue::Secret;
    use parkgate_collector::model::UtcMillis;
    use parkgate_gateway::forward::client::Client;
    use parkgate_gateway::forward::delivery::{Delivery, Lines, Request, Then};
    use parkgate_gateway::forward::{SinkKind, SinkSettings};
    use parkgate_tests::http::{self, HttpServer, Reply};

    /// Lines of each case: `m v=0 0`, `m v=1 1` ...
    const LINES: usize = 8;
    /// Line that the made-up InfluxDB cannot parse.
    const UNPARSABLE: usize = 5;
    /// Line that it drops, being beyond the retention of its bucket.
    const TOO_OLD: usize = 2;

    /// What the server is like beside its first answers.
    #[derive(Clone, Copy, PartialEq)]
    enum Nature {
        Plain,
        HasBadLine,
        HasOldLine,
        TakesThree,
    }

    /// What it is, the server's nature and first answers, waits expected (later with milliseconds asked for, or refused),
    /// dead lines.
    type Case<'a> = (&'a str, Nature, Vec<Reply>, &'a [&'a str], &'a [usize]);

    #[derive(Default)]
    struct Seen {
        taken: BTreeSet<usize>,
        requests: Vec<usize>,
        strange: Vec<String>,
    }

    fn respond(request: &http::Request, nature: Nature, first: &Mutex<Vec<Reply>>, seen: &Mutex<Seen>) -> Reply {
        let mut seen = seen.lock().expect("no panic in a handler");
        let numbers: Vec<usize> =
            String::from_utf8_lossy(&request.body).lines().filter_map(|line| line.rsplit_once(' ')?.1.parse().ok()).collect();
        seen.requests.push(numbers.len());
        if request.path != "/api/v2/write?org=my%20org&bucket=b&precision=ms" || request.header("authorization") != Some("Token secret") {
            seen.strange.push(format!("{request:?}"));
        }
        let mut first = first.lock().expect("no panic in a handler");
        if !first.is_empty() {
            return first.remove(0);
        }
        match nature {
            Nature::HasBadLine if numbers.contains(&UNPARSABLE) => {
                Reply::text(400, r#"{"code":"invalid","message":"unable to parse 'm v=5x 5': invalid number"}"#)
            }
            Nature::HasOldLine if numbers.contains(&TOO_OLD) => {
                seen.taken.extend(numbers.into_iter().filter(|number| *number != TOO_OLD));
                let text = "failure writing points to database: partial write: points beyond retention policy dropped=1";
                Reply::text(422, &format!(r#"{{"code":"unprocessable entity","message":"{text}"}}"#))
            }
            Nature::TakesThree if numbers.len() > 3 => Reply::text(413, r#"{"code":"request too large","message":"cannot read data"}"#),
            _ => {
                seen.taken.extend(numbers);
                Reply::text(204, "")
            }
        }
    }

    #[test]
    fn every_documented_answer_is_understood() -> Result<()> {
        let later = |status: u16, after: Option<&str>| Reply::Answer {
            status,
            headers: after.map(|after| ("Retry-After", after.to_owned())).into_iter().collect(),
            body: br#"{"code":"too many requests","message":"slow down"}"#.to_vec(),
        };
        let page = Reply::Answer { status: 200, headers: vec![("Content-Type", "text/html".into())], body: b"<html>log in".to_vec() };
        let moved = Reply::Answer { status: 308, headers: vec![("Location", "http://127.0.0.1:1/".into())], body: Vec::new() };
        let cases: [Case; 13] = [
            ("204", Nature::Plain, vec![], &[], &[]),
            ("400 for a line", Nature::HasBadLine, vec![], &[], &[UNPARSABLE]),
            ("422 for a line beyond retention", Nature::HasOldLine, vec![], &[], &[TOO_OLD]),
            ("413", Nature::TakesThree, vec![], &[], &[]),
            ("401", Nature::Plain, vec![Reply::text(401, r#"{"code":"unauthorized"}"#)], &["refused"], &[]),
            ("404 for a bucket", Nature::Plain, vec![Reply::text(404, "bucket not found")], &["refused"], &[]),
            ("429 with Retry-After", Nature::Plain, vec![later(429, Some("7"))], &["later 7000"], &[]),
            ("429 with a date", Nature::Plain, vec![later(429, Some("Thu, 01 Jan 1970 00:00:30 GMT"))], &["later 30000"], &[]),
            ("503", Nature::Plain, vec![later(503, None), later(503, None)], &["later", "later"], &[]),
            ("no answer in time", Nature::Plain, vec![Reply::Hang], &["later"], &[]),
            ("connection closed", Nature::Plain, vec![Reply::Close], &["later"], &[]),
            ("200 with a page", Nature::Plain, vec![page], &["refused"], &[]),
            ("a redirect", Nature::Plain, vec![moved], &["refused"], &[]),
        ];
        for (name, nature, first, waits, dead) in cases {
            let (first, seen) = (Mutex::new(first), Arc::new(Mutex::new(Seen::default())));
            let its_own = Arc::clone(&seen);
            let server = HttpServer::start(move |request| respond(request, nature, &first, &its_own))?;
            let settings = SinkSettings {
                org: Some("my org".into()),
                bucket: Some("b".into()),
                token: Some(Secret::new("secret".into())),
                gzip: false,
                timeout_ms: 300,
                ..SinkSettings::new("a", SinkKind::Influxdb2, &server.url())
            };
            let mut client = Client::new(&settings, std::path::Path::new(""))?;
            let mut lines = Lines::default();
            for number in 0..LINES {
                lines.push(|out| out.extend_from_slice(format!("m v={number} {number}\n").as_bytes()));
            }
            let mut delivery = Delivery::new(LINES, LINES, None);
            let mut waited = Vec::new();
            while let Some(request) = delivery.request() {
                let count = if let Request::Lines(range) = &request { range.len() } else { 1 };
                let verdict = client.write(delivery.body(&lines, &request), count, UtcMillis(0));
                match delivery.answered(&lines, verdict) {
                    Then::Next => {}
                    Then::Later { after, .. } => {
                        waited.push(
                            format!("later {}", after.map_or(String::new(), |after: Duration| after.as_millis().to_string()))
                                .trim()
                                .to_owned(),
                        );
                    }
                    Then::Refused { .. } => waited.push("refused".to_owned()),
                }
                assert!(waited.len() < 10, "{name} does not end: {waited:?}");
            }
            assert_eq!(waited, waits, "{name}");
            assert_eq!(delivery.dead().iter().map(|(line, _)| *line).collect::<Vec<_>>(), dead, "{name}");
            let seen = seen.lock().expect("no panic in a handler");
            let expected: BTreeSet<usize> = (0..LINES).filter(|number| !dead.contains(number)).collect();
            assert_eq!(seen.taken, expected, "{name}: {:?}", seen.requests);
            assert!(seen.strange.is_empty(), "{name}: {:?}", seen.strange);
        }
        Ok(())
    }
}
