//! A changed configuration is taken over while everything runs.
//!
//! Read, checked and compared first; until then nothing is touched, and what cannot be taken is refused as a whole. Then, in
//! this order: new points get their numbers and the change is written down; lines that differ end, and what they have becomes
//! durable; followers of the journal know the new points; the normaliser reads by the new catalogue, behind all that came
//! before; answers are given by it; lines that are new or differ begin. Other lines notice nothing.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};

use anyhow::{Context as _, Result};
use parkgate_collector::catalogue::{self, Catalogue, Disk, Draft, Files, LineChanges, LoadError, Loaded, line_changes, line_names};
use parkgate_collector::model::{Origin, PointId, PointIdentity, UtcMillis};
use parkgate_rules as rules;
use parkgate_rules::alarm::Rule;
use parkgate_rules::factor::FactorRow;
use tracing::{error, info, warn};

use super::{Gateway, base_of, indicators, sink_ids};
use crate::current::Configured;
use crate::indicator::live;
use crate::reload::{Asked, ReloadProblem, ReloadReport, ReloadResult, demands};
use crate::settings::GatewaySettings;
use crate::store::Facts;
use crate::threads::Thread;
use crate::{alarm, emission, own, rollup};

/// Name of the check that tells of a refused configuration.
const PART: &str = "configuration";
/// Who asked, where it was a signal.
const BY_SIGNAL: &str = "SIGHUP";

/// Where the configuration comes from.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// The main file.
    pub(crate) config: PathBuf,
    /// An address of the command line, which outweighs the file's.
    pub(crate) listen: Option<SocketAddr>,
}

impl Source {
    /// Lets the address of the command line outweigh the file's.
    pub(super) fn outweigh(&self, loaded: &mut Loaded<GatewaySettings>) {
        if let Some(listen) = self.listen {
            loaded.gateway.http.listen = listen;
            loaded.lines.push(format!("command line: listen = \"{listen}\""));
        }
    }
}

/// A configuration that can be taken over.
struct Wanted {
    catalogue: Arc<Catalogue>,
    /// Counters that are read or scaled otherwise.
    changed: Vec<rollup::source::Changed>,
    settings: GatewaySettings,
    configured: Configured,
    factors: Vec<FactorRow>,
}

/// How a stop of the program was asked for, or that this cannot be known any more.
type Stopped = std::io::Result<()>;

impl Gateway {
    /// Reloads and answers who asked for it; no one: a signal. What came of `stopped` where that was first.
    pub(super) async fn reload_unless(
        &mut self,
        stopped: &mut Pin<&mut (impl Future<Output = Stopped> + ?Sized)>,
        asked: Vec<Asked>,
    ) -> Option<Stopped> {
        let names: Vec<&str> = asked.iter().map(|asked| asked.who.as_str()).collect();
        let who = if names.is_empty() { BY_SIGNAL.to_owned() } else { names.join(", ") };
        let report = tokio::select! {
            biased;
            stopped = stopped.as_mut() => return Some(stopped),
            report = self.reload(&who) => report,
        };
        self.tell(&who, &report);
        for one in asked {
            let _ = one.answer.send(report.clone());
        }
        None
    }

    /// Readiness, metrics and the log.
    fn tell(&self, who: &str, report: &ReloadReport) {
        let metrics = &self.gateway_metrics;
        metrics.config_reloads.with_label_values(&[report.result.name()]).inc();
        metrics.config_last_reload_successful.set(i64::from(report.result != ReloadResult::Refused));
        if report.result == ReloadResult::Refused {
            let why = report.problems_text();
            warn!(who, error = %why, "configuration refused; the one in force stays");
            self.readiness.degraded(PART, Some(format!("the files were refused, what was in force before stays: {why}")));
            return;
        }
        metrics.config_last_reload_success.set(self.means.clock.now().utc.0 as f64 / 1000.0);
        self.readiness.degraded(PART, None);
        let (started, stopped, restarted) = (report.started.len(), report.stopped.len(), report.restarted.len());
        info!(who, result = report.result.name(), started, stopped, restarted, "configuration read again");
    }

    async fn reload(&mut self, who: &str) -> ReloadReport {
        let wanted = match self.read(who.to_owned()).await {
            Ok(Some(wanted)) => wanted,
            Ok(None) => return ReloadReport::new(ReloadResult::Unchanged),
            Err(problems) => return ReloadReport::refused(problems),
        };
        match self.take_over(wanted).await {
            Ok(LineChanges { started, stopped, restarted }) => {
                ReloadReport { started, stopped, restarted, ..ReloadReport::new(ReloadResult::Applied) }
            }
            // A part has ended: the program notices and ends, too.
            Err(error) => {
                error!(error = %format!("{error:#}"), "the configuration could not be taken over to its end");
                ReloadReport::refused(vec![ReloadProblem::new(format!("{error:#}"), "the gateway has to be restarted")])
            }
        }
    }

    /// What the files say, where it differs from what is in force; its points have numbers and the change is written down.
    async fn read(&self, who: String) -> Result<Option<Wanted>, Vec<ReloadProblem>> {
        let alone = |problem: ReloadProblem| Err(vec![problem]);
        let Some(source) = self.source.clone() else {
            return alone(ReloadProblem::new("the demo has no configuration files", "run `parkgate run --config FILE`"));
        };
        if let Some(full) = self.engine.journal().full() {
            return alone(ReloadProblem::new(format!("{full}: nothing could be handed over"), "ask again when there is room"));
        }
        let (old, settings) = (Arc::clone(&self.catalogue), self.settings.clone());
        let configured = self.configured.get();
        let (facts, now) = (Arc::clone(&self.facts), self.means.clock.now().utc);
        let before = self.factors.clone();
        let read = move || -> Result<Option<Wanted>, Vec<ReloadProblem>> {
            let (loaded, rules, factors) = read_files(&source, (&settings, &old.park), &Disk)?;
            let is_new = loaded.gateway != settings || rules != configured.rules || text(&factors) != text(&before);
            let Loaded { gateway, draft, lines, .. } = loaded;
            let by = By { facts: &facts, now, who: &who };
            let noted = note(&by, draft, &lines, &sink_ids(&gateway), (&old, is_new)).context("the change cannot be written down");
            let noted = noted.map_err(|error| vec![ReloadProblem::new(format!("{error:#}"), "look at the disk of the data directory")])?;
            let Some(Noted { catalogue, identities, changed }) = noted else { return Ok(None) };
            let catalogue = Arc::new(catalogue);
            let configured = Configured { catalogue: Arc::clone(&catalogue), identities, rules };
            Ok(Some(Wanted { catalogue, changed, settings: gateway, configured, factors }))
        };
        match tokio::task::spawn_blocking(read).await {
            Ok(read) => read,
            Err(error) => alone(ReloadProblem::new(format!("a fault of the program: {error}"), "tell its makers")),
        }
    }

    /// Takes a configuration over. Errors: a part has ended.
    async fn take_over(&mut self, wanted: Wanted) -> Result<LineChanges> {
        let Wanted { catalogue, changed, settings, configured, factors } = wanted;
        let changes = line_changes(&self.catalogue, &catalogue);
        let late = self.drivers.get_mut().unwrap_or_else(PoisonError::into_inner).stop(|id| changes.ends(id)).await;
        if !late.is_empty() {
            warn!(links = ?late, "cut off; what they had not handed over is asked for again");
        }

        rollup::source::tell(&changed);
        self.totals.set_catalogue(&catalogue);
        self.alarms_view.set_rules(&configured.rules);
        self.configured.set(Arc::new(configured));
        let changed = changed.into_iter().map(|changed| changed.point).collect();
        // Not before it is on the disk what is changed: else it counts as changed at the next start too.
        if self.engine.set_catalogue(&catalogue, changed).await? {
            let (facts, kept) = (Arc::clone(&self.facts), Arc::clone(&catalogue));
            tokio::task::spawn_blocking(move || rollup::source::keep_or_warn(&facts, &kept)).await?;
        }
        self.fed.set(Arc::clone(&catalogue));

        let before = std::mem::replace(&mut self.catalogue, Arc::clone(&catalogue));
        let emissions = self.count_emissions(&settings).await?;
        self.settings = settings;
        self.factors = factors;
        if let Some(emissions) = emissions {
            self.emissions = emissions;
        }
        let views = (&self.totals, &self.emissions);
        let indicators = indicators(&catalogue, &self.settings, self.factors.clone(), views, self.engine.history(), &self.facts);
        let park_state = self.settings.review.park_state.as_ref().map(|path| self.base.join(path));
        let emissions = Arc::clone(&self.emissions);
        self.server.renew(|state| {
            state.catalogue = Arc::clone(&catalogue);
            state.indicators = indicators;
            state.emissions = emissions;
            state.park_state = park_state;
        });
        self.forget(&before, &catalogue, &changes);
        self.start_lines(|id| changes.begins(id));
        Ok(changes)
    }

    /// Counts emissions by what is configured, from where it was counted to. `None`: nothing of it changed.
    async fn count_emissions(&mut self, settings: &GatewaySettings) -> Result<Option<Arc<emission::Emissions>>> {
        let plan = emission::Plan::new(&self.catalogue, &settings.outlet, &settings.abatement);
        if plan.is_like(&self.plan) {
            return Ok(None);
        }
        let (catalogue, directory, facts) = (Arc::clone(&self.catalogue), Arc::clone(&self.directory), Arc::clone(&self.facts));
        let (journal, history) = (self.engine.journal().clone(), self.engine.history().clone());
        let (metrics, clock, settings) = (self.gateway_metrics.clone(), Arc::clone(&self.means.clock), settings.clone());
        let before = Arc::clone(&self.emission);
        let begin = move || -> Result<(Arc<emission::Emissions>, Thread)> {
            before.stop();
            let sources = emission::Sources {
                catalogue: &catalogue,
                journal: &journal,
                history: &history,
                directory: &directory,
                facts: &facts,
                metrics: &metrics,
                clock: &clock,
            };
            emission::start(&sources, &settings.outlet, &settings.abatement, settings.totals.grace_ms())
                .context("emission.db cannot be used")
        };
        let (emissions, thread) = tokio::task::spawn_blocking(begin).await??;
        self.emission = Arc::new(thread);
        self.plan = plan;
        Ok(Some(emissions))
    }

    /// Forgets how links and devices were doing that are no more, and what was heard on lines that listen otherwise now.
    fn forget(&self, before: &Catalogue, now: &Catalogue, changes: &LineChanges) {
        // A link whose last device is gone has nobody who would tell how it is doing.
        let lines = line_names(now);
        let ids: HashSet<&str> = lines.iter().map(|(_, id)| *id).collect();
        self.means.health.retain(
            |id| ids.contains(id),
            |id| now.device(id).is_some(),
            |id| changes.restarted.iter().any(|link| link == id),
        );
        let metrics = &self.means.metrics;
        for device in &before.devices {
            let (driver, link) = (device.link.driver.name(), device.link.id.as_str());
            let stays = now.device(&device.id).is_some_and(|device| (device.link.driver.name(), device.link.id.as_str()) == (driver, link));
            if !stays {
                metrics.forget_device(driver, link, &device.id);
            }
        }
        for link in &before.links {
            let (driver, id) = (link.driver.name(), link.id.as_str());
            if !lines.contains(&(driver, id)) {
                metrics.forget_link(driver, id);
            }
        }
    }
}

type Read = (Loaded<GatewaySettings>, Vec<Rule>, Vec<FactorRow>);

/// Reads and checks all files, and that nothing in them needs a restart.
fn read_files(
    source: &Source,
    (settings, park): (&GatewaySettings, &catalogue::Park),
    files: &dyn Files,
) -> Result<Read, Vec<ReloadProblem>> {
    let base = base_of(&source.config);
    let demand = |gateway: &GatewaySettings, draft: &Draft| {
        let mut gateway = gateway.clone();
        gateway.http.listen = source.listen.unwrap_or(gateway.http.listen);
        demands::needs_restart((settings, park), &gateway, draft.park())
    };
    let mut loaded = catalogue::load_with::<GatewaySettings>(&source.config, files, &demand).map_err(|error| match error {
        LoadError::Invalid(problems) => problems.list().into_iter().map(ReloadProblem::from).collect(),
        LoadError::Unreadable { path, reason } => vec![ReloadProblem {
            file: Some(path.display().to_string()),
            ..ReloadProblem::new(format!("{} cannot be read: {reason}", path.display()), "")
        }],
    })?;
    source.outweigh(&mut loaded);
    let told = |problem: rules::alarm::Problem| {
        let rules::alarm::Problem { file, line, column, message, help } = problem;
        ReloadProblem { file: Some(file), line: Some(line), column: Some(column), what: message, help }
    };
    let rules =
        alarm::load::load(&loaded.gateway.alarms, &base, files).map_err(|problems| problems.into_iter().map(told).collect::<Vec<_>>())?;
    let factors = live::own_factors(&loaded.gateway.topology, &base)
        .map_err(|error| vec![ReloadProblem::new(error.to_string(), "see `factor_files` in [gateway.topology]")])?;
    Ok((loaded, rules, factors))
}

/// Who changes what is configured, and where that is written down.
struct By<'a> {
    facts: &'a Facts,
    now: UtcMillis,
    who: &'a str,
}

/// A catalogue with every number there is, and what it changes of counters.
struct Noted {
    catalogue: Catalogue,
    identities: Vec<(PointId, PointIdentity)>,
    changed: Vec<rollup::source::Changed>,
}

/// The catalogue of a configuration, with every number there is, once its new numbers and what changed are written down.
/// `None`: it is the one in force, and nothing else `is_new`.
fn note(by: &By<'_>, draft: Draft, lines: &[String], sinks: &[&str], (old, is_new): (&Catalogue, bool)) -> Result<Option<Noted>> {
    let By { facts, now, who } = *by;
    let mut registry = facts.registry()?;
    let catalogue = draft.build(&mut registry)?;
    let catalogue = own::with_own(catalogue, Origin::Metered, sinks, &mut registry)?;
    registry.commit()?;
    facts.catalogue_loaded(catalogue.version, now)?;
    facts.configuration_loaded(lines, &catalogue.park.id, now, who)?;
    if !is_new && is_alike(&catalogue, old) {
        return Ok(None);
    }
    let changed = rollup::source::changed(facts, &catalogue)?;
    Ok(Some(Noted { identities: facts.identities()?, changed, catalogue }))
}

fn is_alike(one: &Catalogue, other: &Catalogue) -> bool {
    let parts = |catalogue: &Catalogue| (catalogue.version, catalogue.park.clone(), catalogue.enterprises.clone());
    parts(one) == parts(other) && one.links == other.links && one.devices == other.devices
}

/// Tables of factors, to be compared.
fn text(factors: &[FactorRow]) -> Option<String> {
    serde_json::to_string(factors).ok()
}
