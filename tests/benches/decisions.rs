//! What decides: the indicators of a large park over a year, computed anew, and how soon a late value is in the figures.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use parkgate_rules::indicator::inputs::{Enterprise, Meter, MeterTotal, Place};
use parkgate_rules::indicator::{Engine, Index, Inputs};
use parkgate_rules::{Number, period::Period};
use parkgate_tests::gateway::Gateway;
use parkgate_tests::mosquitto::{Mosquitto, Options};
use parkgate_tests::{now_ms, wait_for};

use crate::process::quick;
use crate::table::Table;

const ENTERPRISES: usize = 200;
const METERS: usize = 5_000;
const YEAR: &str = "2025";
/// What is wanted of a year.
const YEAR_GOAL: Duration = Duration::from_secs(5);
const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 3_600_000;
/// What is wanted of a late value.
const LATE_GOAL_MS: u128 = 200;
/// Longest that anything may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Measures both.
pub fn run(table: &mut Table) -> Result<()> {
    year(table)?;
    late(table)
}

/// All months of a year and the year, all indicators, from the totals of the meters.
fn year(table: &mut Table) -> Result<()> {
    let inputs = park()?;
    let start = Instant::now();
    let index = Index::new(&inputs).map_err(|problems| anyhow::anyhow!("{} problems in the park", problems.len()))?;
    let engine = Engine::new(&index, false);
    let periods = (1..=12).map(|month| format!("{YEAR}-{month:02}")).chain([YEAR.to_owned()]);
    let mut figures = 0;
    for period in periods {
        let period: Period = period.parse().map_err(|error| anyhow::anyhow!("{error}"))?;
        figures += engine.period(period).iter().filter(|result| result.value.is_some()).count();
    }
    let took = start.elapsed();
    ensure!(figures > 100, "only {figures} figures");
    let figure = format!("{:.2} s ({figures} figures)", took.as_secs_f64());
    table.row("indicators of a year, 200 enterprises, 5,000 meters", figure, "<= 5 s", Some(took <= YEAR_GOAL));
    Ok(())
}

fn park() -> Result<Inputs> {
    let mut inputs = Inputs { certificates: Some(Vec::new()), process_emissions: Some(Vec::new()), ..Inputs::default() };
    for number in 0..ENTERPRISES {
        inputs.enterprises.push(Enterprise { id: format!("e{number}"), ..Enterprise::default() });
    }
    for number in 0..METERS {
        let (energy, place) = match number % 5 {
            _ if number < 5 => ("electricity", Place::Gate),
            0..=2 => ("electricity", Place::Import),
            3 => ("natural_gas_gas_field", Place::Import),
            _ => ("water", Place::Fresh),
        };
        let enterprise = (place != Place::Gate).then(|| format!("e{}", number % ENTERPRISES));
        inputs.meters.push(Meter {
            id: format!("m{number}"),
            energy: energy.to_owned(),
            place,
            enterprise,
            parent: None,
            unit: None,
            modulus: None,
            rate_max: None,
            readings_every_minutes: None,
            segments: Vec::new(),
            readings: Vec::new(),
        });
        for month in 1..=12 {
            let amount = i128::try_from(number * 7 + month * 13)? + if place == Place::Gate { 20_000_000 } else { 10_000 };
            inputs.totals.push(MeterTotal {
                meter: format!("m{number}"),
                period: format!("{YEAR}-{month:02}").parse().map_err(|error| anyhow::anyhow!("{error}"))?,
                amount: Some(Number::decimal(amount, 2)),
                flags: Vec::new(),
                estimated: Number::zero(),
                interpolated: Number::zero(),
                completeness: None,
                incomplete: None,
                readings: Vec::new(),
            });
        }
    }
    Ok(inputs)
}

/// A minute of a closed hour gets another value; until the API gives the hour's new mean. Broker, gateway and asker share the cores.
fn late(table: &mut Table) -> Result<()> {
    let rounds = if quick() { 10 } else { 60 };
    let broker = Mosquitto::start(&Options::default())?;
    let mut gateway = Gateway::prepare(None)?;
    gateway.configure(&config(broker.port()))?;
    gateway.restart()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let _guard = runtime.enter();
    let mut analyser = broker.publisher("analyser");
    let from = (now_ms() - 5 * HOUR_MS).div_euclid(HOUR_MS) * HOUR_MS;
    let value = |minute: i64, so2: i64| format!("{{\"so2\":{so2},\"flow\":1000,\"ts\":{}}}", from + minute * MINUTE_MS);
    wait_for("open session", LIMIT, || {
        runtime.block_on(analyser.publish("stack", value(0, 30)))?;
        Ok((!gateway.samples("acme/stack/so2")?.is_empty()).then_some(()))
    })?;
    for minute in 0..180 {
        runtime.block_on(analyser.publish("stack", value(minute, 30)))?;
    }
    runtime.block_on(analyser.publish("stack", value(300, 30)))?;
    runtime.block_on(analyser.flush())?;
    let query = format!("/api/v1/emissions?outlet=stack&factor=so2&period=hour&from={from}&to={}", from + HOUR_MS);
    let mean = || -> Result<Option<String>> {
        let page = gateway.get(&query)?;
        let hour = page["items"].get(0).filter(|hour| hour["class"] == "valid" && hour["closed"] == true);
        Ok(hour.and_then(|hour| hour["concentration"].as_str().map(str::to_owned)))
    };
    wait_for("a closed hour", LIMIT, || Ok(mean()?.filter(|mean| mean == "30")))?;
    let mut took = Vec::new();
    for round in 0..rounds {
        // 59 minutes of 30 and one of 30 + 6 n: a mean of 30 + n / 10.
        let so2 = 30 + 6 * (round + 1);
        let wanted = Number::decimal(i128::from(300 + round + 1), 1).to_string();
        runtime.block_on(analyser.publish("stack", value(10, so2)))?;
        runtime.block_on(analyser.flush())?;
        let start = Instant::now();
        wait_for("the new mean", LIMIT, || Ok(mean()?.filter(|mean| *mean == wanted)))?;
        took.push(start.elapsed().as_millis());
    }
    gateway.stop()?;
    took.sort_unstable();
    let at = |percent: usize| took.get(took.len().saturating_sub(1) * percent / 100).copied().context("nothing measured");
    let figure = format!("median {} ms, p95 {} ms of {}", at(50)?, at(95)?, took.len());
    table.row("late value at the broker to the hour's new mean over HTTP", figure, "<= 200 ms", Some(at(95)? <= LATE_GOAL_MS));
    Ok(())
}

fn config(port: u16) -> String {
    let mut text = format!(
        "[park]\nid = \"park\"\n\n[[enterprise]]\nid = \"acme\"\n\n[[link]]\nid = \"broker\"\ndriver = \"mqtt\"\nhost = \"127.0.0.1\"\nport = {port}\n\n\
         [gateway.totals]\ngrace_minutes = 1\n\n[[device]]\nid = \"stack\"\nlink = \"broker\"\nenterprise = \"acme\"\n\
         [[device.topic]]\nfilter = \"stack\"\ntime = \"ts\"\n"
    );
    for (point, unit, reference) in [("so2", "mg/m3", ""), ("flow", "m3/h", "reference = \"as_is\"\n")] {
        write!(
            text,
            "\n[[device.point]]\nid = \"{point}\"\nmedium = \"emission\"\nkind = \"gauge\"\nunit = \"{unit}\"\ndecimals = 2\n\
             {reference}interval_ms = 60000\npath = \"{point}\"\n"
        )
        .expect("writing to a string");
    }
    text.push_str(
        "\n[[gateway.outlet]]\nid = \"stack\"\nname = { zh = \"烟囱\", en = \"Stack\" }\nenterprise = \"acme\"\nkind = \"stack\"\n\
         flow = { kind = \"standard\", point = \"stack/flow\", interval_ms = 60000, minute_mean = true }\n\
         [[gateway.outlet.factor]]\nid = \"so2\"\nname = { zh = \"二氧化硫\", en = \"SO2\" }\n\
         source = { kind = \"point\", point = \"stack/so2\", interval_ms = 60000, minute_mean = true }\n",
    );
    text
}
