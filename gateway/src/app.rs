//! Composition root: read it to see the whole program.
//!
//! [`mod@reload`] takes over a changed configuration while everything runs.
//!
//! Start: configuration -> data directory (lock) -> facts (point registry) -> catalogue -> engine (normaliser, journal,
//! history) -> sinks -> HTTP -> control socket -> drivers. Stop is the other way round for what feeds, so that nothing taken over
//! is lost: drivers, sinks, normaliser, journal, history, HTTP, each by name with a deadline.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use parkgate_collector::catalogue::{self, Catalogue, Disk, Files, LoadError, Loaded};
use parkgate_collector::clock::{Clock, SystemClock};
use parkgate_collector::driver::modbus::learned::Learned;
use parkgate_collector::driver::mqtt::sessions::Sessions;
use parkgate_collector::driver::{self, LinkDevices};
use parkgate_collector::health::HealthBoard;
use parkgate_collector::journal::Journal;
use parkgate_collector::model::Origin;
use parkgate_collector::rejects;
use parkgate_rules::alarm::Rule;
use parkgate_rules::factor::FactorRow;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::access::{Tokens, who};
use crate::alarm;
use crate::api;
#[cfg(feature = "demo")]
use crate::cli::DemoArguments;
use crate::cli::RunArguments;
use crate::control::{self, Answer, Asked, Request};
use crate::current::{Configured, Current};
use crate::drivers::{Drivers, Means};
use crate::emission;
use crate::engine::Engine;
use crate::forward;
use crate::indicator::live::{self, Live};
use crate::readiness::Readiness;
use crate::rollup;
use crate::settings::GatewaySettings;
use crate::store::{DataDirectory, Facts, History};
use crate::threads::{Thread, Threads};
use crate::transfer::import;
use crate::{cli, gaps, logging, metrics, own, replay, service, watch};

mod reload;

pub(crate) use reload::Source;

/// How long HTTP may take to answer the last requests.
const HTTP_STOP: Duration = Duration::from_secs(3);
/// Between two notes of when tokens were last used.
const TOKENS_SAVED_EVERY: Duration = Duration::from_secs(60);
/// Control requests that may wait; further commands wait at the socket.
const CONTROL_REQUESTS: usize = 4;

/// Why the program ends, as an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The files have problems.
    Problems = 1,
    /// The command could not run.
    CouldNotRun = 2,
    /// A part of the running gateway failed.
    PartFailed = 3,
}

/// An error that carries its exit code.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The code.
    pub exit: Exit,
    /// For a person.
    pub message: String,
}

/// The exit code of an error: its own, else "could not run".
pub fn exit_code(error: &anyhow::Error) -> u8 {
    error.downcast_ref::<Failure>().map_or(Exit::CouldNotRun, |failure| failure.exit) as u8
}

/// What a gateway is started with.
pub(crate) struct Start {
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) settings: GatewaySettings,
    pub(crate) directory: DataDirectory,
    pub(crate) facts: Facts,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) demo: bool,
    /// What files named in settings are relative to.
    pub(crate) base: PathBuf,
    /// Alarm rules; none where alarms do not matter.
    pub(crate) rules: Vec<Rule>,
    /// Where the configuration is read again; `None` where there is no file.
    pub(crate) source: Option<Source>,
}

/// `parkgate run`.
pub fn run(arguments: &RunArguments) -> Result<ExitCode> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let start = prepare(&arguments.config, arguments.listen, clock)?;
    let runtime = runtime()?;
    runtime.block_on(async {
        let gateway = Gateway::start(start).await?;
        gateway.start_drivers();
        gateway.until_stopped().await
    })
}

/// `parkgate demo`: the real program on a simulated park.
#[cfg(feature = "demo")]
pub fn demo(arguments: &DemoArguments) -> Result<ExitCode> {
    use crate::demo::receiver::Receiver;
    use crate::demo::{CONFIG_PATH, DemoPark, Progress};
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    runtime()?.block_on(async {
        let mut park = DemoPark::start(arguments.seed, &*clock).await?;
        let mut loaded = load(Path::new(CONFIG_PATH), &park.config_files())?;
        let receiver = Receiver::start(Arc::new(cli::say)).await.context("the demo's receiver of alarms cannot listen")?;
        loaded.gateway.webhook.push(receiver.settings());
        loaded.gateway.http.listen = arguments.listen;
        loaded.gateway.data_directory = arguments.data.clone();
        logging::start(&loaded.gateway.log);
        let rules = alarm_rules(&loaded.gateway, &base_of(Path::new(CONFIG_PATH)), &park.config_files())?;
        let start = Start { rules, ..open(loaded, Path::new(""), Arc::clone(&clock), true)? };
        belongs_to(&start.facts, &start.directory, "demo_seed", &arguments.seed.to_string())?;
        crate::demo::declarations::enter(&start.facts, &start.catalogue, clock.now().utc)?;
        crate::demo::limits::enter(&start.facts, &start.catalogue, &start.settings.outlet, clock.now().utc)?;
        let gateway = Gateway::start(start).await?;
        let url = format!("http://{}/", gateway.address());
        cli::say(&format!("parkgate demo: {url} (history is being written; the page is there already)"));
        let cancel = CancellationToken::new();
        gateway.engine().caught_up().await;
        let view = Arc::new(gateway.engine().history().clone());
        let outlet = gateway.engine().outlet();
        let filled = {
            let filling = park.backfill(Arc::clone(&gateway.catalogue), outlet, view, Arc::clone(&clock), Progress::Shown, cancel.clone());
            tokio::pin!(filling);
            tokio::select! {
                filled = &mut filling => filled,
                signal = stop_signal() => {
                    signal?;
                    cancel.cancel();
                    filling.await
                }
            }
        };
        let outcome = match filled {
            Ok(filled) => {
                cli::say(&format!("{} readings written and durable", filled.readings));
                park.go_live(&gateway.catalogue, &clock)?;
                gateway.start_drivers();
                cli::say(&format!("open {url} in a browser; Ctrl-C stops"));
                gateway.until_stopped().await
            }
            Err(error) => {
                let _ = gateway.stop().await;
                if cancel.is_cancelled() { Ok(ExitCode::SUCCESS) } else { Err(error.into()) }
            }
        };
        park.stop().await;
        outcome
    })
}

/// Loads the configuration and opens the data directory that it names. An address of the command line outweighs it.
fn prepare(config: &Path, listen: Option<SocketAddr>, clock: Arc<dyn Clock>) -> Result<Start> {
    let (mut loaded, source) = (load(config, &Disk)?, Source { config: config.to_owned(), listen });
    source.outweigh(&mut loaded);
    logging::start(&loaded.gateway.log);
    let rules = alarm_rules(&loaded.gateway, &base_of(config), &Disk)?;
    Ok(Start { rules, source: Some(source), ..open(loaded, &base_of(config), clock, false)? })
}

/// Reads the alarm rules that settings name, relative to `folder`.
pub(crate) fn alarm_rules(settings: &GatewaySettings, folder: &Path, files: &dyn Files) -> Result<Vec<Rule>> {
    alarm::load::load(&settings.alarms, folder, files).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Failure { exit: Exit::Problems, message: lines.join("\n") }.into()
    })
}

/// Reads the configuration.
pub(crate) fn load(config: &Path, files: &dyn Files) -> Result<Loaded<GatewaySettings>> {
    catalogue::load(config, files).map_err(|error| match error {
        LoadError::Invalid(problems) => Failure { exit: Exit::Problems, message: problems.render(cli::colour()) }.into(),
        unreadable => unreadable.into(),
    })
}

/// Takes the data directory (relative to `base`) and gives the points their numbers.
pub(crate) fn open(loaded: Loaded<GatewaySettings>, base: &Path, clock: Arc<dyn Clock>, demo: bool) -> Result<Start> {
    let Loaded { gateway: settings, draft, lines, .. } = loaded;
    let directory = DataDirectory::open_exclusive(&base.join(&settings.data_directory))?;
    let facts = open_facts(&directory)?;
    let park = draft.park().id.clone();
    belongs_to(&facts, &directory, "park", &park)?;
    let mut registry = facts.registry()?;
    let origin = if demo { Origin::Simulated } else { Origin::Metered };
    let catalogue = Arc::new(own::with_own(draft.build(&mut registry)?, origin, &sink_ids(&settings), &mut registry)?);
    registry.commit().context("new points cannot be entered in facts.db")?;
    facts.catalogue_loaded(catalogue.version, clock.now().utc)?;
    // The demo's has ports of its own at every start, and nobody chose it.
    if !demo {
        facts.configuration_loaded(&lines, &park, clock.now().utc, &who::user())?;
    }
    Ok(Start { catalogue, settings, directory, facts, clock, base: base.to_owned(), demo, rules: Vec::new(), source: None })
}

fn sink_ids(settings: &GatewaySettings) -> Vec<&str> {
    settings.sink.iter().map(|sink| sink.id.as_str()).collect()
}

/// What a command that only reads works on.
pub(crate) struct ReadOnly {
    /// Points under the numbers that the record knows; those that the gateway has not seen yet have no samples.
    pub(crate) catalogue: Arc<Catalogue>,
    /// The record as it stood at the call.
    pub(crate) record: crate::store::RecordSnapshot,
    /// The data directory.
    pub(crate) directory: DataDirectory,
    /// The facts, for reading.
    pub(crate) facts: Facts,
}

/// Opens a park's record beside a running gateway or without one, changing nothing. `data`: the data directory, instead
/// of the configured one.
pub(crate) fn open_read_only(config: &Path, data: Option<&Path>) -> Result<ReadOnly> {
    let Loaded { gateway: settings, draft, .. } = load(config, &Disk)?;
    let path = data.map_or_else(|| base_of(config).join(&settings.data_directory), Path::to_path_buf);
    let directory = DataDirectory::open_read_only(&path)?;
    let facts = Facts::open_read_only(&directory.facts()).with_context(|| format!("{} cannot be read", directory.facts().display()))?;
    if let Some(found) = facts.item("park")?
        && found != draft.park().id.as_bytes()
    {
        let (found, wanted) = (String::from_utf8_lossy(&found).into_owned(), draft.park().id.clone());
        bail!("data directory {} holds the record of park `{found}`, not of `{wanted}`: name another directory", path.display());
    }
    // Never committed: numbers of points that are new here are not the gateway's.
    let catalogue = Arc::new(draft.build(&mut facts.registry()?)?);
    let record = crate::store::record_read_only(&directory).context("history cannot be read")?;
    Ok(ReadOnly { catalogue, record, directory, facts })
}

/// Opens the facts. A record without them is refused: points would get other numbers than the record has them under.
pub(crate) fn open_facts(directory: &DataDirectory) -> Result<Facts> {
    let path = directory.facts();
    let has_files = |folder: PathBuf| std::fs::read_dir(folder).is_ok_and(|mut files| files.next().is_some());
    if !path.exists() && (has_files(directory.history()) || has_files(directory.journal())) {
        bail!(
            "{} is missing, but there is a record in {}: put back facts.db from a backup; without it the record's values cannot be told apart",
            path.display(),
            directory.path().display()
        );
    }
    Facts::open(&path).with_context(|| format!("{} cannot be used; put back a backup, do not delete it", path.display()))
}

/// Refuses a data directory that was begun for something else: another park, another seed.
fn belongs_to(facts: &Facts, directory: &DataDirectory, what: &str, wanted: &str) -> Result<()> {
    match facts.item(what)? {
        None => Ok(facts.set_item(what, wanted.as_bytes())?),
        Some(found) if found == wanted.as_bytes() => Ok(()),
        Some(found) => bail!(
            "data directory {} holds the record of {what} `{}`, not of `{wanted}`: name another directory",
            directory.path().display(),
            String::from_utf8_lossy(&found)
        ),
    }
}

/// The directory that paths in a config are relative to.
pub(crate) fn base_of(config: &Path) -> PathBuf {
    config.parent().map(Path::to_path_buf).unwrap_or_default()
}

pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().context("the runtime cannot start")
}

/// A running gateway.
pub(crate) struct Gateway {
    catalogue: Arc<Catalogue>,
    settings: GatewaySettings,
    source: Option<Source>,
    /// What followers of the journal work by.
    configured: Current<Configured>,
    /// The catalogue for what feeds and asks the normaliser: never ahead of it.
    fed: Current<Catalogue>,
    engine: Engine,
    totals: Arc<rollup::Totals>,
    rollup: Thread,
    plan: emission::Plan,
    emissions: Arc<emission::Emissions>,
    emission: Arc<Thread>,
    factors: Vec<FactorRow>,
    base: PathBuf,
    means: Means,
    gateway_metrics: metrics::Metrics,
    readiness: Readiness,
    drivers: std::sync::Mutex<Drivers>,
    rest: JoinSet<()>,
    rest_cancel: CancellationToken,
    forwarders: Threads,
    alarms: alarm::Threads,
    alarms_view: alarm::Alarms,
    server: api::Server,
    http: tokio::task::JoinHandle<std::io::Result<()>>,
    http_cancel: CancellationToken,
    address: SocketAddr,
    tokens: Arc<Tokens>,
    // Holds the lock on the data directory until the end.
    directory: Arc<DataDirectory>,
    facts: Arc<Facts>,
    reloads: mpsc::Receiver<crate::reload::Asked>,
    hangup: tokio::signal::unix::Signal,
}

impl Gateway {
    /// Starts everything but the drivers.
    pub(crate) async fn start(start: Start) -> Result<Self> {
        let Start { catalogue, settings, directory, facts, clock, demo, base, rules, source } = start;
        // At once: unasked for, it would end the program.
        let hangup = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).context("no signals")?;
        let (facts, directory) = (Arc::new(facts), Arc::new(directory));
        // The port before the engine: when it is taken, the journal need not have been read.
        let listener = TcpListener::bind(settings.http.listen)
            .await
            .with_context(|| format!("cannot listen on {}: choose another [gateway.http] listen or --listen", settings.http.listen))?;
        let address = listener.local_addr()?;
        let files = settings.http.tls(&base).map(|(certificate, key)| api::TlsFiles { certificate, key });
        let tls = files.map(api::Tls::open).transpose().context("HTTPS cannot be served")?.map(Arc::new);
        if tls.is_none() && !address.ip().is_loopback() {
            warn!(address = %address, "tokens and values cross the network unencrypted; set [gateway.http] tls_certificate and tls_key");
        }
        let factors = live::own_factors(&settings.topology, &base)?;
        let registry = Registry::new();
        let metrics = parkgate_collector::metrics::Metrics::new(&registry);
        let gateway_metrics = metrics::Metrics::new(&registry);
        let health = HealthBoard::default();
        let shared = driver::Shared {
            learned: Learned::open(directory.learned()),
            sessions: Sessions::open(directory.subscribed()),
            ..Default::default()
        };
        let tokens = Arc::new(Tokens::open(Arc::clone(&facts)).context("the tokens cannot be read from facts.db")?);
        let identities = facts.identities().context("the points cannot be read from facts.db")?;
        let configured = Current::new(Arc::new(Configured { catalogue: Arc::clone(&catalogue), identities, rules }));
        let fed = Current::new(Arc::clone(&catalogue));
        let (reloads, asked_to_reload) = crate::reload::channel();
        gateway_metrics.config_last_reload_successful.set(1);
        gateway_metrics.config_last_reload_success.set(clock.now().utc.0 as f64 / 1000.0);
        let readiness = Readiness::default();
        readiness.set("engine", Err("starting: reading the journal".into()));

        // Before the engine, as nothing may fail behind it: its threads end only when they are told to.
        let socket = control::listen(directory.path()).context("the control socket cannot be opened")?;

        let runtime = tokio::runtime::Handle::current();
        let engine = {
            let (catalogue, clock, metrics) = (Arc::clone(&catalogue), Arc::clone(&clock), metrics.clone());
            let mut engine_settings = settings.engine();
            engine_settings.health = health.clone();
            let changed = rollup::source::changed(&facts, &catalogue).context("facts.db cannot be read")?;
            rollup::source::tell(&changed);
            engine_settings.changed_counters = changed.into_iter().map(|changed| changed.point).collect();
            engine_settings.journal.resume_after = forward::furthest(directory.path()).max(alarm::furthest(directory.path()));
            let directory = Arc::clone(&directory);
            let start = move || Engine::start(&directory, &catalogue, engine_settings, clock, metrics, &runtime);
            tokio::task::spawn_blocking(start).await?
        };
        let engine = engine?;
        // Not before it is on the disk what is changed.
        if engine.knows_changed() {
            rollup::source::keep_or_warn(&facts, &catalogue);
        }

        let totals = rollup::start(&configured, &engine, &directory, &facts, &gateway_metrics, settings.totals.grace_ms())
            .context("totals.db cannot be used; it may be deleted: it is made again from the record");
        let (totals, rollup) = match totals {
            Ok(started) => started,
            Err(error) => {
                tokio::task::spawn_blocking(move || engine.stop()).await?;
                return Err(error);
            }
        };
        let emissions = {
            let (facts, metrics, clock) = (&facts, &gateway_metrics, &clock);
            let (journal, history) = (engine.journal(), engine.history());
            let sources = emission::Sources { catalogue: &catalogue, journal, history, directory: &directory, facts, metrics, clock };
            emission::start(&sources, &settings.outlet, &settings.abatement, settings.totals.grace_ms())
                .context("emission.db cannot be used; it may be deleted: it is made again from the record")
        };
        let (emissions, emission) = match emissions {
            Ok(started) => started,
            Err(error) => {
                tokio::task::spawn_blocking(move || engine.stop()).await?;
                return Err(error);
            }
        };
        let forwarders = {
            let sources = forward::Sources {
                configured: configured.clone(),
                journal: engine.journal().clone(),
                history: engine.history().clone(),
                totals: Some(Arc::clone(&totals) as Arc<dyn rollup::TotalsView>),
                clock: Arc::clone(&clock),
                metrics: gateway_metrics.clone(),
                readiness: readiness.clone(),
            };
            forward::start(&settings.sink, &base, directory.path(), &sources)
        };
        let forwarders = match forwarders {
            Ok(forwarders) => forwarders,
            Err(error) => {
                tokio::task::spawn_blocking(move || engine.stop()).await?;
                return Err(error);
            }
        };

        let watched = {
            let sources = alarm::Sources {
                configured: configured.clone(),
                journal: engine.journal().clone(),
                history: engine.history().clone(),
                facts: Arc::clone(&facts),
                clock: Arc::clone(&clock),
                metrics: gateway_metrics.clone(),
                readiness: readiness.clone(),
            };
            let receivers = alarm::Receivers { alertmanagers: &settings.alertmanager, webhooks: &settings.webhook };
            alarm::start(&settings.alarms, receivers, &base, &directory, &sources)
        };
        let (alarms, alarm_threads) = match watched {
            Ok(started) => started,
            Err(error) => {
                tokio::task::spawn_blocking(move || engine.stop()).await?;
                return Err(error);
            }
        };

        let indicators = indicators(&catalogue, &settings, factors.clone(), (&totals, &emissions), engine.history(), &facts);
        let http_cancel = CancellationToken::new();
        let (asked, requests) = mpsc::channel(CONTROL_REQUESTS);
        let state = api::State {
            indicators,
            catalogue: Arc::clone(&catalogue),
            health: health.clone(),
            record: Arc::new(engine.history().clone()),
            totals: Arc::clone(&totals) as _,
            emissions: Arc::clone(&emissions) as _,
            alarms: alarms.clone(),
            registry: registry.clone(),
            metrics: gateway_metrics.clone(),
            clock: Arc::clone(&clock),
            readiness: readiness.clone(),
            build: api::Build { version: env!("CARGO_PKG_VERSION"), commit: option_env!("PARKGATE_COMMIT").unwrap_or("unknown") },
            boot_id: format!("{:016x}", fastrand::u64(..)),
            allowed_hosts: settings.http.allowed_hosts.clone(),
            park_state: settings.review.park_state.as_ref().map(|path| base.join(path)),
            facts: Arc::clone(&facts),
            data: directory.path().to_owned(),
            reloads,
            control: asked.clone(),
            tokens: Arc::clone(&tokens),
            require_token: settings.http.require_token,
            tls,
            demo,
        };
        let server = api::Server::new(state, address);
        let http = tokio::spawn(api::serve(listener, server.clone(), http_cancel.clone()));

        let rest_cancel = CancellationToken::new();
        let mut rest = JoinSet::new();
        rest.spawn(control::serve(socket, asked, rest_cancel.clone()));
        rest.spawn(answer_control(
            requests,
            fed.clone(),
            engine.outlet().downgrade(),
            (engine.rejects().clone(), directory.rejects()),
            (engine.journal().clone(), engine.history().clone()),
            (Arc::clone(&tokens), Arc::clone(&clock)),
            shared.learned.clone(),
        ));
        rest.spawn(keep_used(Arc::clone(&tokens)));
        rest.spawn(own::run(
            fed.clone(),
            registry,
            gateway_metrics.clone(),
            Arc::clone(&clock),
            (engine.outlet(), engine.journal().clone()),
            rest_cancel.clone(),
        ));
        rest.spawn(watch::run(
            engine.journal().clone(),
            engine.history().clone(),
            engine.reader_stats(),
            directory.history(),
            readiness.clone(),
            gateway_metrics.clone(),
            rest_cancel.clone(),
        ));
        info!(address = %address, devices = catalogue.devices.len(), points = catalogue.points.len(), "gateway started");
        Ok(Self {
            plan: emission::Plan::new(&catalogue, &settings.outlet, &settings.abatement),
            catalogue,
            settings,
            source,
            configured,
            fed,
            engine,
            totals,
            rollup,
            emissions,
            emission: Arc::new(emission),
            factors,
            base,
            means: Means { health, metrics, clock, shared },
            gateway_metrics,
            readiness,
            drivers: std::sync::Mutex::default(),
            rest,
            rest_cancel,
            forwarders,
            alarms: alarm_threads,
            alarms_view: alarms,
            server,
            http,
            http_cancel,
            address,
            tokens,
            directory,
            facts,
            reloads: asked_to_reload,
            hangup,
        })
    }

    /// Where the page is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The engine, for the demo's back-fill.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Starts one driver per link.
    pub(crate) fn start_drivers(&self) {
        for link in self.catalogue.links.iter().filter(|link| self.catalogue.devices_of(link).next().is_none()) {
            warn!(link = %link.id, "no device uses this link; it is not opened");
        }
        self.start_lines(|_| true);
    }

    fn start_lines(&self, ids: impl Fn(&str) -> bool) {
        let mut drivers = self.drivers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for line in LinkDevices::of(&self.catalogue).into_iter().filter(|line| ids(&line.link.id)) {
            drivers.start(line, self.engine.outlet(), &self.means);
        }
    }

    /// Runs until SIGTERM, SIGINT or the failure of a part; then stops everything. Reads the configuration again at SIGHUP,
    /// and when asked over the API.
    pub(crate) async fn until_stopped(mut self) -> Result<ExitCode> {
        let stopped = stop_signal();
        service::ready();
        tokio::pin!(stopped);
        let mut look = tokio::time::interval(Duration::from_millis(500));
        let failed = loop {
            tokio::select! {
                signal = &mut stopped => {
                    signal?;
                    break None;
                }
                _ = look.tick() => {
                    if let Some(part) = self.failed() {
                        break Some(part);
                    }
                }
                _ = self.hangup.recv() => {
                    if let Some(ended) = self.reload_unless(&mut stopped, Vec::new()).await {
                        ended?;
                        break None;
                    }
                }
                Some(asked) = self.reloads.recv() => {
                    // Who asks while others do is answered with them: none of them began before it was asked for.
                    let others = std::iter::from_fn(|| self.reloads.try_recv().ok());
                    let asked = std::iter::once(asked).chain(others).collect();
                    if let Some(ended) = self.reload_unless(&mut stopped, asked).await {
                        ended?;
                        break None;
                    }
                }
            }
        };
        match failed {
            Some(part) => error!(part, "ended although it should run; stopping"),
            None => info!("stopping"),
        }
        service::stopping();
        let mut late = self.stop().await;
        late.extend(failed);
        if late.is_empty() {
            Ok(ExitCode::SUCCESS)
        } else {
            Err(Failure { exit: Exit::PartFailed, message: format!("these parts failed or did not stop in time: {}", late.join(", ")) }
                .into())
        }
    }

    fn failed(&self) -> Option<&'static str> {
        let drivers = self.drivers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match drivers.failed() {
            Some(_) => Some("driver"),
            None if self.http.is_finished() => Some("http"),
            None if self.rollup.failed() => Some("rollup"),
            None if self.alarms.failed() => Some("alarms"),
            None if self.emission.failed() => Some("emission"),
            None => self.engine.failed(),
        }
    }

    /// Stops part by part; returns the names of those that did not stop in time.
    pub(crate) async fn stop(self) -> Vec<&'static str> {
        let mut late = Vec::new();
        let mut drivers = self.drivers.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !drivers.stop(|_| true).await.is_empty() {
            late.push("drivers");
        }
        info!(part = "drivers", "stopped");
        self.rest_cancel.cancel();
        let mut rest = self.rest;
        rest.shutdown().await;
        save_used(self.tokens).await;
        let (forwarders, rollup, emission, engine) = (self.forwarders, self.rollup, self.emission, self.engine);
        let alarms = self.alarms;
        match tokio::task::spawn_blocking(move || alarms.stop()).await {
            Ok(true) => info!(part = "alarms", "stopped"),
            _ => late.push("alarms"),
        }
        if tokio::task::spawn_blocking(move || forwarders.stop()).await.is_err() {
            late.push("forwarders");
        }
        // Totals before history: they go on from their place in the journal at the next start.
        let engine = move || {
            let mut late: Vec<&'static str> = if rollup.stop() { Vec::new() } else { vec!["rollup"] };
            if !emission.stop() {
                late.push("emission");
            }
            late.extend(engine.stop());
            late
        };
        match tokio::task::spawn_blocking(engine).await {
            Ok(parts) => late.extend(parts),
            Err(_) => late.push("engine"),
        }
        self.http_cancel.cancel();
        match tokio::time::timeout(HTTP_STOP, self.http).await {
            Ok(Ok(Ok(()))) => info!(part = "http", "stopped"),
            // A client that keeps its request open is no fault of ours.
            Err(_) => warn!(part = "http", "did not stop in time"),
            Ok(Ok(Err(error))) => {
                error!(error = %error, part = "http", "failed");
                late.push("http");
            }
            Ok(Err(_)) => late.push("http"),
        }
        late
    }
}

/// The indicators of a park as it is configured.
fn indicators(
    catalogue: &Arc<Catalogue>,
    settings: &GatewaySettings,
    factors: Vec<FactorRow>,
    (totals, emissions): (&Arc<rollup::Totals>, &Arc<emission::Emissions>),
    history: &History,
    facts: &Arc<Facts>,
) -> Arc<Live> {
    let totals = Arc::clone(totals) as Arc<dyn rollup::TotalsView>;
    let live = Live::new(catalogue, &settings.topology, factors, totals, Arc::new(history.clone()), Arc::clone(facts));
    Arc::new(live.with_emissions(Arc::clone(emissions) as _))
}

/// Ends when someone asks the program to stop: SIGTERM or SIGINT. Listens from the call on, not from the first poll: who was
/// told that the program is ready may stop it at once.
fn stop_signal() -> impl Future<Output = std::io::Result<()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let signals = [SignalKind::terminate(), SignalKind::interrupt()].map(signal);
    async move {
        let [terminate, interrupt] = signals;
        let (mut terminate, mut interrupt) = (terminate?, interrupt?);
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    }
}

/// Does what commands ask for over the control socket, one at a time.
async fn answer_control(
    mut requests: mpsc::Receiver<Asked>,
    catalogue: Current<Catalogue>,
    outlet: mpsc::WeakSender<driver::Message>,
    (sink, directory): (rejects::Sink, PathBuf),
    (journal, history): (Journal, History),
    (tokens, clock): (Arc<Tokens>, Arc<dyn Clock>),
    learned: Learned,
) {
    while let Some((request, reply)) = requests.recv().await {
        let catalogue = catalogue.get();
        let answer = match request {
            Request::ReplayRejects { device } => match outlet.upgrade() {
                Some(outlet) => replay::replay(&catalogue, &outlet, &sink, &directory, device, (&journal, &history)).await,
                None => Err(anyhow::anyhow!("the gateway is stopping")),
            }
            .map_or_else(|error| Answer::Error { error: format!("{error:#}") }, Answer::Replayed),
            Request::Import(values) => match outlet.upgrade() {
                Some(outlet) => import::import(&catalogue, &outlet, (&journal, &history), clock.now().utc, values).await,
                None => Err(anyhow::anyhow!("the gateway is stopping")),
            }
            .map_or_else(|error| Answer::Error { error: format!("{error:#}") }, Answer::Imported),
            Request::Position { checkpoint } => position(checkpoint, &journal, &history).await,
            Request::CreateToken { token, who } => {
                let (tokens, catalogue, now) = (Arc::clone(&tokens), Arc::clone(&catalogue), clock.now().utc);
                let create = move || tokens.create(token.checked(Some(&catalogue), now)?, now, &who);
                blocking(create).await.map(|(token, secret)| Answer::Created { token, secret: secret.reveal().to_owned() })
            }
            .unwrap_or_else(|error| Answer::Error { error: format!("{error:#}") }),
            Request::RevokeToken { which, who } => {
                let (tokens, now) = (Arc::clone(&tokens), clock.now().utc);
                blocking(move || tokens.revoke(&which, now, &who)).await.map(|token| Answer::Revoked { token })
            }
            .unwrap_or_else(|error| Answer::Error { error: format!("{error:#}") }),
            Request::ForgetGaps { device } => {
                let learned = learned.clone();
                blocking(move || gaps::forgotten(&learned, &device)).await.map(|gaps| Answer::Forgotten { gaps })
            }
            .unwrap_or_else(|error| Answer::Error { error: format!("{error:#}") }),
        };
        let _ = reply.send(answer);
    }
}

async fn position(checkpoint: bool, journal: &Journal, history: &History) -> Answer {
    let history = history.clone();
    let made = if checkpoint { tokio::task::spawn_blocking(move || history.checkpoint().map(drop)).await } else { Ok(Ok(())) };
    match made {
        Ok(Ok(())) => Answer::Position { durable: journal.durable().0 },
        Ok(Err(error)) => Answer::Error { error: format!("history could not be written: {error}") },
        Err(_) => Answer::Error { error: "the gateway is stopping".into() },
    }
}

/// Runs what blocks on file I/O off the async workers.
async fn blocking<T: Send + 'static, E: Into<anyhow::Error> + Send + 'static>(
    action: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(action).await?.map_err(Into::into)
}

/// Writes down now and then when tokens were last used.
async fn keep_used(tokens: Arc<Tokens>) {
    let mut ticks = tokio::time::interval(TOKENS_SAVED_EVERY);
    loop {
        ticks.tick().await;
        save_used(Arc::clone(&tokens)).await;
    }
}

async fn save_used(tokens: Arc<Tokens>) {
    if let Err(error) = blocking(move || tokens.save_used()).await {
        warn!(error = %error, "last use of tokens not written down");
    }
}
