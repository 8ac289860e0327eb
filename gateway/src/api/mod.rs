//! HTTP: the JSON API under `/api/v1`, its event stream, the query API under `/prometheus`, health probes, `/metrics`, and
//! the page.
//!
//! What is configured may change: [`Server`] holds what requests are answered from, and each request is answered from what
//! was in force when it came. Streams of values end then, and begin anew with everything.
//!
//! Reads views only: the catalogue, the record, totals, the health board. It changes nothing but sessions, and enters what
//! people enter ([`enter`]).
//!
//! [`park`], [`devices`], [`points`], [`samples`], [`totals`], [`latest`], [`today`], [`stream`], [`emissions`], [`limits`], [`marks`], [`meters`], [`readings`], [`compliance`], [`outlets`], [`regulator`], [`ledger`], [`reviews`], [`config`]: one file per resource; [`accesses`] what regulators read; [`openapi`] their
//! description; [`queries`] the query API; [`probes`] `/livez`, `/readyz`, `/metrics`; [`page`] what a browser shows; [`dto`]
//! the forms of all answers; [`error`] problem details; [`params`] query parameters; [`session`] who asks; [`listener`],
//! [`tls`], [`guard`] and [`auth`] what every connection and request passes; [`visible`] what of the catalogue the asker sees.

#![allow(unused_qualifications, reason = "in what utoipa expands to")]

mod accesses;
mod alarms;
mod auth;
mod compliance;
mod config;
mod declarations;
mod devices;
pub mod dto;
mod emissions;
mod enter;
mod error;
mod guard;
mod indicators;
mod latest;
mod ledger;
mod limits;
mod listener;
mod marks;
mod meters;
mod openapi;
mod outlets;
mod page;
mod params;
mod park;
mod points;
mod probes;
mod queries;
mod readings;
mod regulator;
mod samples;
mod reviews;
mod session;
mod stream;
mod table;
mod tls;
mod today;
mod totals;
mod visible;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod leak;
#[cfg(test)]
mod look;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get, post};
use parkgate_collector::catalogue::Catalogue;
use parkgate_collector::clock::Clock;
use parkgate_collector::health::HealthBoard;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

pub use error::Problem;
pub use openapi::document;
pub use tls::{Tls, TlsError, TlsFiles};

use auth::Need;
use guard::Guarded;
use listener::{Bounded, CONNECTIONS_MAX, IDLE_MAX, Peer};
use visible::Visible;

use crate::access::{Identity, Tokens};
use crate::alarm::Alarms;
use crate::control::Asked;
use crate::current::Current;
use crate::emission::EmissionView;
use crate::indicator::live::Live;
use crate::metrics::Metrics;
use crate::promql::park::Index;
use crate::readiness::Readiness;
use crate::reload::Reloads;
use crate::rollup::TotalsView;
use crate::store::{Facts, RecordView, StoreError};

/// Reads of the record at one time; further ones wait, and give up with the request's time-out.
const READS_MAX: usize = 4;

/// What the API needs to know.
#[derive(Clone)]
pub struct State {
    /// What is configured.
    pub catalogue: Arc<Catalogue>,
    /// How links and devices are doing.
    pub health: HealthBoard,
    /// The record.
    pub record: Arc<dyn RecordView>,
    /// Totals per period.
    pub totals: Arc<dyn TotalsView>,
    /// Emissions of outlets.
    pub emissions: Arc<dyn EmissionView>,
    /// What the park is judged by.
    pub indicators: Arc<Live>,
    /// Alarms.
    pub alarms: Alarms,
    /// All metrics, the collector's included.
    pub registry: prometheus::Registry,
    /// The gateway's own.
    pub metrics: Metrics,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What has to be right before the gateway is ready.
    pub readiness: Readiness,
    /// What was built.
    pub build: Build,
    /// Identifies this run of the program: pages start over when it changes.
    pub boot_id: String,
    /// Names beside its own address under which the gateway may be asked, without port.
    pub allowed_hosts: Vec<String>,
    /// File of what is declared of the park for reviews.
    pub park_state: Option<PathBuf>,
    /// What is entered beside the record.
    pub facts: Arc<Facts>,
    /// The data directory, for the key of reports.
    pub data: PathBuf,
    /// Where a reload of the configuration is asked for.
    pub reloads: Reloads,
    /// Where that is asked for which commands ask for over the control socket.
    pub control: mpsc::Sender<Asked>,
    /// The tokens in force.
    pub tokens: Arc<Tokens>,
    /// Whether the loopback too is served to tokens only, even while none was created.
    pub require_token: bool,
    /// Certificate and key, where connections are encrypted.
    pub tls: Option<Arc<Tls>>,
    /// Whether this is the demo: all meters are simulated.
    pub demo: bool,
}

/// What was built.
#[derive(Clone, Copy, Debug)]
pub struct Build {
    /// Version of the program.
    pub version: &'static str,
    /// Commit it was built from, or `unknown`.
    pub commit: &'static str,
}

/// Serves until `cancel`; then takes no new connection, ends event streams at once, and returns when the last request
/// is answered.
pub async fn serve(listener: TcpListener, server: Server, cancel: CancellationToken) -> std::io::Result<()> {
    let shared = server.0.get();
    shared.metrics.started(&*shared.clock, shared.build.version, shared.build.commit);
    let live = stream::run(server.clone(), cancel.clone());
    let tls = tls::watch((shared.tls.clone(), shared.metrics.clone(), Arc::clone(&shared.clock)), cancel.clone());
    let mut listener = Bounded::new(listener, CONNECTIONS_MAX, IDLE_MAX);
    if let Some(tls) = &shared.tls {
        listener = listener.with_tls(tls.acceptor(), shared.metrics.tls_handshakes_failed.clone());
    }
    drop(shared);
    let service = router(server).into_make_service_with_connect_info::<Peer>();
    let server = axum::serve(listener, service).with_graceful_shutdown(cancel.cancelled_owned());
    let (served, (), ()) = tokio::join!(async { server.await }, live, tls);
    served
}

/// What requests are answered from. Cheap to clone.
#[derive(Clone)]
pub struct Server(Current<Shared>);

impl Server {
    /// From this, at an address that is listened on.
    pub fn new(state: State, listen: SocketAddr) -> Self {
        Self(Current::new(Arc::new(Shared::new(state, listen))))
    }

    /// Answers from now on by what is configured otherwise. `change` puts it in.
    pub fn renew(&self, change: impl FnOnce(&mut State)) {
        let before = self.0.get();
        let mut state = before.state.clone();
        change(&mut state);
        let shared = Shared {
            series: Index::new(Arc::clone(&state.catalogue)),
            state,
            listen: before.listen,
            retired: CancellationToken::new(),
            live: Arc::clone(&before.live),
            reads: Arc::clone(&before.reads),
            queries: Arc::clone(&before.queries),
            failures: Arc::clone(&before.failures),
            kept: Arc::clone(&before.kept),
        };
        self.0.set(Arc::new(shared)).retired.cancel();
    }
}

/// State with what the API adds for itself.
pub(crate) struct Shared {
    state: State,
    listen: SocketAddr,
    /// Cancelled when another is in force.
    retired: CancellationToken,
    live: Arc<stream::Live>,
    reads: Arc<Semaphore>,
    /// All series that queries know.
    series: Index,
    queries: Arc<Semaphore>,
    failures: Arc<auth::Failures>,
    /// Accesses of regulators in the present hour.
    kept: Arc<accesses::Kept>,
}

impl Deref for Shared {
    type Target = State;
    fn deref(&self) -> &State {
        &self.state
    }
}

impl Shared {
    fn new(state: State, listen: SocketAddr) -> Self {
        let series = Index::new(Arc::clone(&state.catalogue));
        let (reads, queries) = (Arc::new(Semaphore::new(READS_MAX)), Arc::new(Semaphore::new(queries::QUERIES_MAX)));
        Self {
            state,
            listen,
            retired: CancellationToken::new(),
            live: Arc::new(stream::Live::new()),
            reads,
            series,
            queries,
            failures: Arc::default(),
            kept: Arc::default(),
        }
    }

    /// Runs a blocking read of the record off the async workers, at most [`READS_MAX`] at one time.
    async fn read<T, F>(&self, read: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: FnOnce(&dyn RecordView) -> Result<T, StoreError> + Send + 'static,
    {
        let permit = Arc::clone(&self.reads).acquire_owned().await.expect("never closed");
        let record = Arc::clone(&self.record);
        let result = tokio::task::spawn_blocking(move || {
            // Held here, not by the request: a read goes on when its request is given up.
            let _permit = permit;
            read(&*record)
        });
        match result.await {
            Ok(outcome) => Ok(outcome?),
            Err(error) => {
                tracing::error!(error = %error, "read of the record failed");
                Err(Problem::internal())
            }
        }
    }
}

/// The shared state, as handlers take it.
struct App(Arc<Shared>);

impl FromRequestParts<Server> for App {
    type Rejection = Infallible;
    async fn from_request_parts(_: &mut Parts, server: &Server) -> Result<Self, Infallible> {
        Ok(Self(server.0.get()))
    }
}

/// Who asks, as [`guard::admit`] found out.
pub(crate) struct Asker(pub Arc<Identity>);

impl Deref for Asker {
    type Target = Identity;
    fn deref(&self) -> &Identity {
        &self.0
    }
}

impl<S: Sync> FromRequestParts<S> for Asker {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Arc<Identity>>().cloned().map(Self).ok_or_else(Problem::internal)
    }
}

/// Every route: its pattern, what it demands of who asks, its handlers. A handler for anybody takes [`Asker`] and shows
/// what the asker sees; the leak test asks every route that is here.
fn routes() -> Vec<(&'static str, Need, MethodRouter<Server>)> {
    use Need::{Anybody, Nobody, ReviewsProjects, RunsThePark};
    vec![
        ("/", Nobody, get(page::index)),
        ("/app.js", Nobody, get(page::script)),
        ("/style.css", Nobody, get(page::style)),
        ("/texts.json", Nobody, get(page::texts)),
        ("/favicon.svg", Nobody, get(page::icon)),
        ("/livez", Nobody, get(probes::livez)),
        ("/readyz", Nobody, get(probes::readyz)),
        ("/metrics", RunsThePark, get(probes::metrics)),
        ("/api/v1/openapi.json", Anybody, get(openapi::get)),
        ("/api/v1/session", Anybody, get(session::get).post(session::post).delete(session::delete)),
        ("/api/v1/park", Anybody, get(park::get)),
        ("/api/v1/devices", Anybody, get(devices::list)),
        ("/api/v1/devices/unknown", Anybody, get(devices::unknown)),
        ("/api/v1/devices/{id}", Anybody, get(devices::get)),
        ("/api/v1/points", Anybody, get(points::list)),
        ("/api/v1/latest", Anybody, get(latest::list)),
        ("/api/v1/samples", Anybody, get(samples::list)),
        ("/api/v1/samples/buckets", Anybody, get(samples::buckets)),
        ("/api/v1/stream", Anybody, get(stream::get)),
        ("/api/v1/totals", Anybody, get(totals::list)),
        ("/api/v1/totals/today", Anybody, get(today::get)),
        ("/api/v1/alarms", Anybody, get(alarms::list)),
        ("/api/v1/alarms/events", Anybody, get(alarms::events)),
        ("/api/v1/alarms/stream", Anybody, get(alarms::stream)),
        ("/api/v1/alarms/{fingerprint}/{act}", Anybody, post(alarms::act)),
        ("/api/v1/limits", Anybody, get(limits::list).post(limits::post)),
        ("/api/v1/marks", Anybody, get(marks::list).post(marks::post)),
        ("/api/v1/decisions", Anybody, get(meters::decisions).post(meters::decide)),
        ("/api/v1/exchanges", Anybody, get(meters::exchanges).post(meters::exchange)),
        ("/api/v1/readings", Anybody, get(readings::list).post(readings::post)),
        ("/api/v1/outlets", Anybody, get(outlets::list)),
        ("/api/v1/emissions", Anybody, get(emissions::list)),
        ("/api/v1/compliance/events", Anybody, get(compliance::list)),
        ("/api/v1/indicators", Anybody, get(indicators::list)),
        ("/api/v1/indicators/{id}/explain", Anybody, get(indicators::explain)),
        ("/api/v1/topology", Anybody, get(indicators::topology)),
        ("/api/v1/declarations", Anybody, get(declarations::list).post(declarations::post)),
        ("/api/v1/regulator/emissions", Anybody, get(regulator::emissions)),
        ("/api/v1/regulator/accesses", RunsThePark, get(accesses::list)),
        ("/api/v1/ledger", ReviewsProjects, get(ledger::list).post(ledger::post)),
        ("/api/v1/reviews", ReviewsProjects, get(reviews::list).post(reviews::post)),
        ("/api/v1/config/reload", RunsThePark, post(config::reload)),
        ("/prometheus/api/v1/query", Anybody, get(queries::query).post(queries::query)),
        ("/prometheus/api/v1/query_range", Anybody, get(queries::query_range).post(queries::query_range)),
        ("/prometheus/api/v1/query_exemplars", Anybody, get(queries::exemplars).post(queries::exemplars)),
        ("/prometheus/api/v1/labels", Anybody, get(queries::labels).post(queries::labels)),
        ("/prometheus/api/v1/label/{name}/values", Anybody, get(queries::label_values)),
        ("/prometheus/api/v1/series", Anybody, get(queries::series).post(queries::series)),
        ("/prometheus/api/v1/metadata", Anybody, get(queries::metadata)),
        ("/prometheus/api/v1/status/buildinfo", Anybody, get(queries::build_info)),
        ("/prometheus/api/v1/rules", Anybody, get(queries::rules)),
        ("/prometheus/api/v1/alerts", Anybody, get(queries::alerts)),
    ]
}

fn router(server: Server) -> Router {
    let mut router = Router::new();
    for (route, need, handler) in routes() {
        let guarded = Guarded { server: server.clone(), route, need };
        router = router.route(route, handler.layer(from_fn_with_state(guarded, guard::admit)));
    }
    router
        .method_not_allowed_fallback(guard::bad_method)
        .fallback(guard::no_route)
        .layer(from_fn_with_state(server.clone(), guard::protect))
        .with_state(server)
}
