//! Modbus TCP: 100 and 1,000 units of 100 registers behind 100 links, each second and each 100 ms. The simulated units are a
//! process of their own; the gateway is the real one with history on, and once everything up to the journal alone.

use std::fmt::Write as _;
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use parkgate_collector::catalogue::{self, Device, Disk, MemoryRegistry};
use parkgate_collector::clock::{Clock, SystemClock};
use parkgate_collector::driver::{self, LinkDevices};
use parkgate_collector::health::HealthBoard;
use parkgate_collector::journal::Journal;
use parkgate_collector::metrics::Metrics;
use parkgate_collector::normalise::Normaliser;
use parkgate_collector::pipeline::{INBOX_MESSAGES, Pipeline, Plates, SavedState, Tally};
use parkgate_collector::rejects;
use parkgate_collector::sim::modbus::{Bank, Faults, SimServer};
use parkgate_gateway::settings::GatewaySettings;
use parkgate_tests::gateway::Gateway;
use parkgate_tests::wait_for;
use tokio::io::AsyncWriteExt as _;
use tokio_util::sync::CancellationToken;

use crate::fixture;
use crate::process::{Helper, cpu_seconds, memory_mb, metric, quick};
use crate::table::Table;

/// Connections.
const LINKS: u32 = 100;
/// Units behind each; the smaller park has one.
pub const UNITS_PER_LINK: u32 = 10;
/// Registers of each, one point per register.
const REGISTERS: u32 = 100;
/// Registers of one round.
const REGISTERS_PER_ROUND: f64 = (LINKS * UNITS_PER_LINK * REGISTERS) as f64;
/// Longest that links may take to connect, or history to follow.
const LIMIT: Duration = Duration::from_secs(60);

/// Measures the gateway at 1 s and 100 ms, and the way up to the journal alone.
pub fn run(table: &mut Table) -> Result<()> {
    each_second(table, 1)?;
    each_second(table, UNITS_PER_LINK)?;
    journal_only(table)?;
    each_100_ms(table)
}

/// With history, totals, the page and alarm rules over half of the points, as it runs in a park.
fn each_second(table: &mut Table, units_per_link: u32) -> Result<()> {
    // Long enough that a checkpoint of history comes by itself, by the default settings.
    let seconds = if quick() { 12 } else { 75 };
    let units = Units::start(1_000, units_per_link, Alarms::OfHalf)?;
    let start = Instant::now();
    let mut gateway = Gateway::start(&units.config)?;
    let pid = gateway.pid()?.to_string();
    let (ready, ready_cpu) = (start.elapsed().as_secs_f64(), cpu_seconds(&pid)?);
    sleep(Duration::from_secs(seconds).saturating_sub(start.elapsed()));
    let cores = cpu_seconds(&pid)? / start.elapsed().as_secs_f64();
    let (resident, peak) = (memory_mb(&pid, "VmRSS")?, memory_mb(&pid, "VmHWM")?);
    let text = gateway.text("/metrics")?;
    // Without what the gateway records of itself.
    let of_units: f64 =
        text.lines().filter(|line| line.contains("device=\"u")).map(|line| metric(line, "parkgate_pipeline_samples_durable_total")).sum();
    let wire = units.wire()?;
    gateway.stop()?;

    let (count, tags) = (LINKS * units_per_link, LINKS * units_per_link * REGISTERS);
    let what = format!("Modbus, {count} units x {REGISTERS} registers ({tags} tags) each second, {seconds} s");
    let checkpoints = metric(&text, "parkgate_history_checkpoint_seconds_count");
    let figure = format!("{cores:.2} ({ready_cpu:.1} s of it in {ready:.1} s until ready; {checkpoints} checkpoints)");
    table.row(&format!("{what}: cores, history, totals and alarms on, start included"), figure, "<= 0.5", Some(cores <= 0.5));
    table.row("the same, RSS MB at the end (peak)", format!("{resident:.0} ({peak:.0})"), "<= 400", Some(peak <= 400.0));
    let rate = wire.bytes / seconds as f64 / 1e3;
    // What was on its way when the counts were taken: at most a round of all units.
    let open = wire.registers - of_units;
    let figure = format!("{:.0} registers sent, {open:.0} of them not yet durable; {rate:.0} kB/s on the wire", wire.registers);
    let round = f64::from(tags);
    let expected = round * (seconds as f64 - ready - 3.0);
    table.row(
        "the same, what the units sent, by their own count",
        figure,
        "all durable",
        Some((0.0..=2.0 * round).contains(&open) && wire.registers >= expected),
    );
    polls(table, &text);
    Ok(())
}

/// Polls skipped, failed and late.
fn polls(table: &mut Table, text: &str) {
    let skipped = metric(text, "parkgate_driver_polls_skipped_total");
    let failed: f64 = text
        .lines()
        .filter(|line| line.starts_with("parkgate_driver_requests_total{") && !line.contains("result=\"good\""))
        .map(|line| metric(line, "parkgate_driver_requests_total"))
        .sum();
    table.row("the same, polls skipped (requests failed)", format!("{skipped} ({failed})"), "0", Some(skipped + failed == 0.0));
    let count = metric(text, "parkgate_driver_poll_lateness_seconds_count");
    let within = |limit: &str| {
        let of_limit = |line: &&str| line.contains(&format!("le=\"{limit}\""));
        text.lines().filter(of_limit).map(|line| metric(line, "parkgate_driver_poll_lateness_seconds_bucket")).sum::<f64>() / count
    };
    let limits = ["0.001", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "10"];
    let p999 = limits.into_iter().find(|limit| within(limit) >= 0.999).unwrap_or("more than 10");
    let figure = format!("within {p999} s ({:.3} % within 0.1 s, of {count} polls)", within("0.1") * 100.0);
    table.row("the same, lateness p99.9", figure, "<= 0.1 s", Some(within("0.1") >= 0.999));
}

fn journal_only(table: &mut Table) -> Result<()> {
    let seconds = if quick() { 10 } else { 30 };
    let units = Units::start(1_000, UNITS_PER_LINK, Alarms::OfHalf)?;
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("parkgate.toml");
    std::fs::write(&config, &units.config)?;
    let start = Instant::now();
    let text = |path: &Path| path.to_str().map(str::to_owned).context("not UTF-8");
    let mut helper = Helper::start("modbus_journal_only", &[text(&config)?, text(&folder.path().join("data"))?, seconds.to_string()])?;
    let pid = helper.pid();
    let durable = helper.numbers()?;
    let cores = cpu_seconds(&pid)? / start.elapsed().as_secs_f64();
    let (resident, peak) = (memory_mb(&pid, "VmRSS")?, memory_mb(&pid, "VmHWM")?);
    let expected = REGISTERS_PER_ROUND * (seconds as f64 - 4.0);
    ensure!(durable.first().is_some_and(|count| *count >= expected), "only {durable:?} samples were durable");
    table.row(
        &format!("the same up to the journal alone, {seconds} s: cores, start included"),
        format!("{cores:.2}"),
        "<= 0.2",
        Some(cores <= 0.2),
    );
    table.row("the same, RSS MB at the end (peak)", format!("{resident:.0} ({peak:.0})"), "<= 150", Some(peak <= 150.0));
    Ok(())
}

fn each_100_ms(table: &mut Table) -> Result<()> {
    let seconds = if quick() { 6 } else { 20 };
    let units = Units::start(100, UNITS_PER_LINK, Alarms::None)?;
    let mut gateway = Gateway::start(&units.config)?;
    let pid = gateway.pid()?.to_string();
    wait_for("connected units", LIMIT, || {
        Ok((metric(&gateway.text("/metrics")?, "parkgate_driver_link_up") >= f64::from(LINKS)).then_some(()))
    })?;
    sleep(Duration::from_secs(2));
    let of = |name: &str| Ok::<_, anyhow::Error>((metric(&gateway.text("/metrics")?, name), Instant::now()));
    let ((before, start), cpu) = (of("parkgate_pipeline_samples_durable_total")?, cpu_seconds(&pid)?);
    sleep(Duration::from_secs(seconds));
    let text = gateway.text("/metrics")?;
    let (after, end) = (metric(&text, "parkgate_pipeline_samples_durable_total"), Instant::now());
    let cores = (cpu_seconds(&pid)? - cpu) / (end - start).as_secs_f64();
    let rate = (after - before) / (end - start).as_secs_f64();
    let asked = REGISTERS_PER_ROUND * 10.0;
    let behind = after - metric(&text, "parkgate_history_samples_applied_total");
    let (resident, peak) = (memory_mb(&pid, "VmRSS")?, memory_mb(&pid, "VmHWM")?);
    // Now the meters fall silent; history has to come to the end of the journal.
    drop(units);
    let silent = Instant::now();
    let mut last = (0.0, 0.0);
    let follows = wait_for("history at the end of the journal", LIMIT, || {
        sleep(Duration::from_millis(500));
        let text = gateway.text("/metrics")?;
        let now = (metric(&text, "parkgate_pipeline_samples_durable_total"), metric(&text, "parkgate_history_samples_applied_total"));
        let settled = now == last && now.0 == now.1;
        last = now;
        Ok(settled.then_some(silent.elapsed().as_secs_f64()))
    });
    gateway.stop()?;

    let what = format!("Modbus, 1,000 units x 100 registers each 100 ms, no alarm rules, {seconds} s");
    let share = rate / asked;
    let figure = format!("{rate:.0} of {asked:.0}, at {cores:.2} cores");
    table.row(&format!("{what}: durable samples/s of those asked for"), figure, "all", Some(share >= 0.995));
    polls(table, &text);
    table.row("the same, RSS MB at the end (peak)", format!("{resident:.0} ({peak:.0})"), "", None);
    let lost = last.0 - last.1;
    let figure = match &follows {
        Ok(seconds) => format!("{behind:.0} samples behind at the end, none {seconds:.1} s later; {lost} lost"),
        Err(_) => format!("{behind:.0} samples behind at the end, still {lost:.0} after {} s", LIMIT.as_secs()),
    };
    table.row(
        "the same, history (told once a second)",
        figure,
        "follows, 0 lost",
        Some(follows.is_ok() && lost == 0.0 && behind < 2.5 * rate),
    );
    Ok(())
}

/// The simulated units with the config that reads them.
pub struct Units {
    _server: Helper,
    _files: tempfile::TempDir,
    /// Where the units tell what they sent.
    count_port: u16,
    /// Configuration.
    pub config: String,
}

/// Points that an alarm rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alarms {
    None,
    /// The gauges.
    OfHalf,
}

/// What simulated units sent, by their own count.
#[derive(Clone, Copy, Debug)]
struct Wire {
    /// Registers in answers.
    registers: f64,
    /// Bytes of requests and answers, as TCP carries them.
    bytes: f64,
}

impl Units {
    /// Starts them, each to be read every `poll_interval_ms`.
    pub fn start(poll_interval_ms: u32, units_per_link: u32, alarms: Alarms) -> Result<Self> {
        let mut server = Helper::start("modbus_server", &[LINKS.to_string()])?;
        let mut ports = server.line()?.split(' ').map(str::parse).collect::<Result<Vec<u16>, _>>()?;
        let count_port = ports.pop().context("no ports")?;
        let files = tempfile::tempdir()?;
        let (profiles, rules) = (files.path().join("devices"), files.path().join("alarms.toml"));
        std::fs::create_dir(&profiles)?;
        std::fs::write(profiles.join("bench-meter.toml"), profile())?;
        std::fs::write(&rules, if alarms == Alarms::OfHalf { RULES } else { "" })?;
        let mut text =
            format!("profiles = [{:?}]\n\n[park]\nid = \"bench\"\nname = \"Bench\"\n\n[gateway.alarms]\nrules = [{rules:?}]\n", profiles);
        for (link, port) in ports.iter().enumerate() {
            write!(text, "\n[[link]]\nid = \"l{link}\"\ndriver = \"modbus_tcp\"\nhost = \"127.0.0.1\"\nport = {port}\n")?;
            for unit in 1..=units_per_link {
                write!(
                    text,
                    "[[device]]\nid = \"u{link}-{unit}\"\nname = \"u{link}-{unit}\"\nlink = \"l{link}\"\nprofile = \"bench-meter\"\n\
                     [device.modbus]\nunit_id = {unit}\npoll_interval_ms = {poll_interval_ms}\n"
                )?;
            }
        }
        Ok(Self { _server: server, _files: files, count_port, config: text })
    }

    /// What they sent up to now.
    fn wire(&self) -> Result<Wire> {
        let mut text = String::new();
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.count_port))?.read_to_string(&mut text)?;
        let (registers, bytes) = text.split_once(' ').with_context(|| format!("not two numbers: {text}"))?;
        Ok(Wire { registers: registers.parse()?, bytes: bytes.parse()? })
    }
}

/// Looks at every gauge of every unit, and never comes true.
const RULES: &str = r#"
[[rule]]
id = "gauge-high"
alertname = "GaugeHigh"
title = { zh = "过高", en = "High" }
points = ["*3", "*4", "*5", "*6", "*7"]
above = 1000000
unit = "kW"
deadband = 10
on_delay_s = 10
priority = "high"
runbook = "Nothing to do: a bench."
"#;

/// 30 counters, 50 gauges, 20 states.
fn profile() -> String {
    let mut text =
        "[profile]\nid = \"bench-meter\"\nmaker = \"Bench\"\nmodel = \"Bench\"\nsource = \"made up\"\n\n[modbus]\nfunction = \"holding\"\n"
            .to_owned();
    for register in 0..REGISTERS {
        let kind = match register % 10 {
            0..3 => "kind = \"counter\"\nunit = \"kWh\"\nmodulus = 65536",
            3..8 => "kind = \"gauge\"\nunit = \"kW\"",
            _ => "kind = \"state\"\nunit = \"state\"",
        };
        text += &format!(
            "\n[[point]]\nid = \"r{register}\"\nmedium = \"power\"\n{kind}\ndecimals = 0\n\
             register = {{ address = {register}, type = \"u16\" }}\n"
        );
    }
    text
}

/// `bench child modbus_server LINKS`: tells its ports, the last of which tells what was sent to whoever connects, then serves
/// until it is killed.
pub fn child_server(arguments: &[String]) -> Result<()> {
    let [links] = arguments else { anyhow::bail!("LINKS") };
    let links: u32 = links.parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut servers = Vec::new();
        for _ in 0..links {
            servers.push(SimServer::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), bank(), Arc::new(Faults::new(0))).await?);
        }
        let counts = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let ports = servers.iter().map(|server| server.local_addr().port()).chain([counts.local_addr()?.port()]);
        println!("{}", ports.map(|port| port.to_string()).collect::<Vec<_>>().join(" "));
        loop {
            let (mut stream, _) = counts.accept().await?;
            let text = format!("{} {}", REGISTERS_SENT.load(Ordering::Relaxed), BYTES.load(Ordering::Relaxed));
            stream.write_all(text.as_bytes()).await?;
        }
    })
}

/// Registers in answers of this process.
static REGISTERS_SENT: AtomicU64 = AtomicU64::new(0);
/// Bytes of its requests and answers: 12 and 9 beside the registers (Modbus Messaging on TCP/IP Implementation Guide 1.0b, 3.1).
static BYTES: AtomicU64 = AtomicU64::new(0);

/// Registers that move as those of meters: counters count, gauges are noisy, states seldom change.
fn bank() -> Bank {
    let start = Instant::now();
    Arc::new(move |unit, _, address, quantity| {
        let ticks = start.elapsed().as_millis() as u32 / 50;
        REGISTERS_SENT.fetch_add(quantity.into(), Ordering::Relaxed);
        BYTES.fetch_add(12 + 9 + 2 * u64::from(quantity), Ordering::Relaxed);
        let word = |address: u16| {
            let seed = u32::from(unit) * 1_000 + u32::from(address);
            let noise = (seed.wrapping_mul(0x9E37_79B9) ^ ticks.wrapping_mul(0x85EB_CA6B)).wrapping_mul(0xC2B2_AE35) >> 27;
            (match address % 10 {
                0..3 => seed + ticks * u32::from(1 + address % 4),
                3..8 => 2_000 + seed % 5_000 + noise,
                _ => (ticks / 2_000 + seed) % 4,
            }) as u16
        };
        Ok((address..address.saturating_add(quantity)).map(word).collect())
    })
}

/// `bench child modbus_journal_only CONFIG DATA SECONDS`: drivers, normaliser and journal, nothing behind. Its only line is
/// the number of durable samples after so many seconds; then it waits to be killed.
pub fn child_journal_only(arguments: &[String]) -> Result<()> {
    let start = Instant::now();
    let [config, data, seconds] = arguments else { anyhow::bail!("CONFIG DATA SECONDS") };
    let data = Path::new(data);
    std::fs::create_dir_all(data.join("rejects"))?;
    let loaded = catalogue::load::<GatewaySettings>(Path::new(config), &Disk)?;
    let settings = loaded.gateway.engine();
    let catalogue = Arc::new(loaded.draft.build(&mut MemoryRegistry::default())?);
    let runtime = fixture::runtime()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let metrics = Metrics::new(&prometheus::Registry::new());
    let journal = Journal::open(&data.join("journal"), settings.journal, Arc::clone(&clock), metrics.clone())?;
    let ring = rejects::Ring::open(&data.join("rejects"), settings.rejects, metrics.clone())?;
    let (outlet, inbox) = tokio::sync::mpsc::channel(INBOX_MESSAGES);
    let pipeline = Pipeline {
        tally: Tally::new(&catalogue, &metrics),
        plates: Plates::new(&catalogue, &metrics, HealthBoard::default()),
        normaliser: Normaliser::new(&catalogue, settings.normalise),
        journal,
        rejects: rejects::Sink::start(ring)?,
        clock: Arc::clone(&clock),
        metrics: metrics.clone(),
        catalogue_version: catalogue.version,
        boot_id: fastrand::u64(..),
        exchanges: Default::default(),
        saved_state: SavedState::new(data.join("normalise.state")),
        runtime: runtime.handle().clone(),
    };
    std::thread::spawn(move || pipeline.run(inbox));
    let (health, cancel) = (HealthBoard::default(), CancellationToken::new());
    for link in &catalogue.links {
        let devices = catalogue.devices.iter().filter(|device| device.link.key == link.key).cloned().collect();
        let devices = LinkDevices { link: Arc::clone(link), devices };
        runtime.spawn(driver::run(
            devices,
            outlet.clone(),
            health.clone(),
            metrics.clone(),
            Arc::clone(&clock),
            Default::default(),
            cancel.clone(),
        ));
    }
    sleep(Duration::from_secs(seconds.parse()?).saturating_sub(start.elapsed()));
    let durable = |device: &Device| {
        metrics.samples_durable.with_label_values(&[device.link.driver.name(), device.link.id.as_str(), device.id.as_str()]).get()
    };
    println!("{}", catalogue.devices.iter().map(|device| durable(device)).sum::<u64>());
    loop {
        std::thread::park();
    }
}
