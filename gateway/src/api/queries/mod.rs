//! `/prometheus/api/v1/`: the query API that Grafana's Prometheus data source speaks, over the park's series.
//!
//! [`form`] reads parameters, [`answer`] writes results; [`mod@alerts`] are the park's alarms in the shape of Prometheus. Evaluation runs on a thread of its own with a known stack, off the
//! async workers, at most [`QUERIES_MAX`] at one time; it ends when its time is up or when the one who asked goes away.
//! Errors have the envelope of that API, not problem details.

mod alerts;
mod answer;
mod form;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use parkgate_collector::model::UtcMillis;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{App, Asker, Shared};
use crate::access::Identity;
use crate::promql::emissions::WithEmissions;
use crate::promql::indicators::WithIndicators;
use crate::promql::park::ParkSource;
use crate::promql::{self, Error, Grid, Labels, Limits, Patience, STACK_BYTES, STEPS_MAX, Selection, Source};

use form::Form;

/// Queries evaluated at one time; others wait.
pub const QUERIES_MAX: usize = 4;
/// Longest wait for one of those places; then 503.
const QUEUE: Duration = Duration::from_secs(5);
/// Most labels, names or series that an answer lists unless `limit` says less.
const LIST_MAX: usize = 100_000;
/// Most `match[]` of a request.
const MATCHES_MAX: usize = 100;
/// Range in which labels of states are looked for unless the request says otherwise.
const LIST_RANGE_MS: i64 = 86_400_000;
/// The version of Prometheus whose API this is like; clients switch on what they use by it.
const LIKE_VERSION: &str = "2.45.0";

/// What went into an answer, and its body.
struct Outcome {
    body: answer::Encoded,
    samples: usize,
}

/// `query`: one instant.
pub async fn query(App(shared): App, Asker(asker): Asker, headers: HeaderMap, form: Form) -> Response {
    let now = shared.clock.now().utc;
    let gzip = answer::takes_gzip(&headers);
    evaluated(&shared, asker, move |source, cancel| {
        let time = form.time("time")?.unwrap_or(now.0);
        let limits = form.limits()?;
        let tree = promql::parse(form.required("query")?)?;
        let grid = Grid::instant(time);
        let (result, used) = promql::evaluate(&tree, source, grid, &limits, cancel)?;
        Ok(Outcome { body: answer::instant(&result, time)?.encode(gzip), samples: used.samples })
    })
    .await
}

/// `query_range`: a grid of instants.
pub async fn query_range(App(shared): App, Asker(asker): Asker, headers: HeaderMap, form: Form) -> Response {
    let gzip = answer::takes_gzip(&headers);
    evaluated(&shared, asker, move |source, cancel| {
        let grid = grid(&form)?;
        let limits = form.limits()?;
        let tree = promql::parse(form.required("query")?)?;
        let (result, used) = promql::evaluate(&tree, source, grid, &limits, cancel)?;
        Ok(Outcome { body: answer::range(result, grid)?.encode(gzip), samples: used.samples })
    })
    .await
}

fn grid(form: &Form) -> Result<Grid, Error> {
    let start = form.time("start")?.ok_or_else(|| form::missing("start"))?;
    let end = form.time("end")?.ok_or_else(|| form::missing("end"))?;
    let step = form.span_ms("step")?.ok_or_else(|| form::missing("step"))?;
    if end < start {
        return Err(Error::BadData("invalid parameter \"end\": end timestamp must not be before start time".into()));
    }
    if step < 1 {
        return Err(Error::BadData(
            "invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer".into(),
        ));
    }
    let steps = usize::try_from((end - start) / step).unwrap_or(usize::MAX);
    if steps > STEPS_MAX {
        return Err(Error::BadData(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)".into(),
        ));
    }
    Ok(Grid { start, step, steps: steps.saturating_add(1) })
}

/// `labels`: names of labels.
pub async fn labels(App(shared): App, Asker(asker): Asker, headers: HeaderMap, form: Form) -> Response {
    let now = shared.clock.now().utc;
    let gzip = answer::takes_gzip(&headers);
    evaluated(&shared, asker, move |source, cancel| {
        let names = listed(source, &form, now, cancel, |labels, names: &mut BTreeSet<String>| {
            for (name, _) in labels.iter() {
                if !names.contains(name) {
                    names.insert(name.to_owned());
                }
            }
        })?;
        let names: Vec<String> = names.into_iter().take(form.limit(LIST_MAX)?).collect();
        Ok(listing(&json!(names), gzip))
    })
    .await
}

/// `label/NAME/values`: values of a label. The name may be escaped as `U__...`.
pub async fn label_values(App(shared): App, Asker(asker): Asker, Path(name): Path<String>, headers: HeaderMap, form: Form) -> Response {
    let now = shared.clock.now().utc;
    let gzip = answer::takes_gzip(&headers);
    evaluated(&shared, asker, move |source, cancel| {
        let name = form::unescape(&name)?;
        let values = listed(source, &form, now, cancel, |labels, values: &mut BTreeSet<String>| {
            let value = labels.get(&name);
            if !value.is_empty() && !values.contains(value) {
                values.insert(value.to_owned());
            }
        })?;
        let values: Vec<String> = values.into_iter().take(form.limit(LIST_MAX)?).collect();
        Ok(listing(&json!(values), gzip))
    })
    .await
}

/// `series`: labels of series.
pub async fn series(App(shared): App, Asker(asker): Asker, headers: HeaderMap, form: Form) -> Response {
    let now = shared.clock.now().utc;
    let gzip = answer::takes_gzip(&headers);
    evaluated(&shared, asker, move |source, cancel| {
        if form.all("match[]").next().is_none() {
            return Err(Error::BadData("no match[] parameter provided".into()));
        }
        let all = listed(source, &form, now, cancel, |labels, all| {
            all.insert(labels);
        })?;
        let all: Vec<Labels> = all.into_iter().take(form.limit(LIST_MAX)?).collect();
        Ok(Outcome { body: answer::series(&all)?.encode(gzip), samples: 0 })
    })
    .await
}

/// What `keep` takes of the series wanted by any `match[]`, of all series when there is none; sorted, each once. Ends with
/// an error when nobody waits any more or the time is up, and without one when there are [`LIST_MAX`].
fn listed<T: Ord>(
    source: &dyn Source,
    form: &Form,
    now: UtcMillis,
    cancel: &AtomicBool,
    mut keep: impl FnMut(Labels, &mut BTreeSet<T>),
) -> Result<BTreeSet<T>, Error> {
    let patience = Patience::new(form.limits()?.time, cancel);
    let upto = form.time("end")?.unwrap_or(now.0);
    let after = form.time("start")?.unwrap_or(upto.saturating_sub(LIST_RANGE_MS));
    let texts: Vec<&str> = form.all("match[]").take(MATCHES_MAX.saturating_add(1)).collect();
    if texts.len() > MATCHES_MAX {
        return Err(Error::BadData(format!("more than {MATCHES_MAX} match[]")));
    }
    let all = texts.is_empty().then(|| Ok(Selection::default()));
    let mut found = BTreeSet::new();
    // Each is read when its turn comes, and goes with its regular expressions.
    for selection in all.into_iter().chain(texts.into_iter().map(promql::parse_selector)) {
        patience.look()?;
        for series in source.select(&selection?, after, upto, &patience)? {
            if found.len() >= LIST_MAX {
                return Ok(found);
            }
            keep(series.labels, &mut found);
        }
    }
    Ok(found)
}

/// `metadata`: what series names mean.
pub async fn metadata(App(shared): App, Asker(asker): Asker, headers: HeaderMap, form: Form) -> Response {
    let gzip = answer::takes_gzip(&headers);
    evaluated(&shared, asker, move |source, _| {
        let wanted = form.get("metric");
        let meanings = source.meanings().into_iter().filter(|(name, _)| wanted.is_none_or(|wanted| wanted.is_empty() || wanted == *name));
        let rows = meanings
            .take(form.limit(LIST_MAX)?)
            .map(|(name, meaning)| (name.to_owned(), json!([{ "type": meaning.kind, "help": meaning.help, "unit": meaning.unit }])));
        Ok(listing(&Value::Object(rows.collect()), gzip))
    })
    .await
}

/// `status/buildinfo`: by which clients guess what they talk to. No `features`: it would be taken for a ruler.
pub async fn build_info(App(shared): App) -> Response {
    let data = json!({
        "application": "parkgate",
        "version": LIKE_VERSION,
        "revision": shared.build.commit,
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
        "parkgateVersion": shared.build.version,
    });
    success(&data)
}

/// `rules`: the alarm rules, in the shape of Prometheus; only for who sees the whole park, as they name what they look at.
pub async fn rules(App(shared): App, Asker(asker): Asker) -> Response {
    success(&json!({ "groups": alerts::groups(&shared, &asker) }))
}

/// `alerts`: alarms that are on, as far as the asker sees them.
pub async fn alerts(App(shared): App, Asker(asker): Asker) -> Response {
    success(&json!({ "alerts": alerts::alerts(&shared, &asker) }))
}

/// `query_exemplars`: there are none. Its times are not read: Grafana sends milliseconds where seconds belong.
pub async fn exemplars() -> Response {
    success(&json!([]))
}

fn success(data: &Value) -> Response {
    axum::Json(json!({ "status": "success", "data": data })).into_response()
}

fn listing(data: &Value, gzip: bool) -> Outcome {
    Outcome { body: answer::Text::of(data).encode(gzip), samples: 0 }
}

/// Tells an evaluation that nobody waits for it any more.
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs a query on a thread of its own and turns what comes of it into an answer.
async fn evaluated<F>(shared: &Arc<Shared>, asker: Arc<Identity>, work: F) -> Response
where
    F: FnOnce(&WithEmissions<'_>, &AtomicBool) -> Result<Outcome, Error> + Send + 'static,
{
    let begun = Instant::now();
    let outcome = run(shared, asker, work).await;
    shared.metrics.query_seconds.observe(begun.elapsed().as_secs_f64());
    match outcome {
        Ok(outcome) => {
            shared.metrics.query_samples.inc_by(u64::try_from(outcome.samples).unwrap_or(u64::MAX));
            outcome.body.into_response()
        }
        Err(error) => {
            shared.metrics.query_failed.with_label_values(&[error.kind()]).inc();
            failure(&error)
        }
    }
}

async fn run<F>(shared: &Arc<Shared>, asker: Arc<Identity>, work: F) -> Result<Outcome, Error>
where
    F: FnOnce(&WithEmissions<'_>, &AtomicBool) -> Result<Outcome, Error> + Send + 'static,
{
    let place = tokio::time::timeout(QUEUE, Arc::clone(&shared.queries).acquire_owned()).await;
    let place = place.map_err(|_| Error::Busy)?.map_err(|_| Error::Internal)?;
    let cancel = Arc::new(AtomicBool::new(false));
    let _cancel_on_drop = CancelOnDrop(Arc::clone(&cancel));
    let (sender, receiver) = oneshot::channel();
    let shared = Arc::clone(shared);
    let thread = std::thread::Builder::new().name("query".into()).stack_size(STACK_BYTES).spawn(move || {
        // Held here, not by the request: work goes on for a moment when its request is given up.
        let _place = place;
        let park = ParkSource::new(&shared.series, &*shared.record, &*shared.totals, &asker);
        let park = WithIndicators::new(park, &*shared.totals, &shared.indicators, &asker, shared.clock.now().utc);
        let source = WithEmissions::new(park, &*shared.emissions, &asker);
        let _ = sender.send(work(&source, &cancel));
    });
    if let Err(error) = thread {
        tracing::error!(error = %error, "no thread for a query");
        return Err(Error::Busy);
    }
    receiver.await.unwrap_or_else(|_| {
        tracing::error!("a query ended without a result");
        Err(Error::Internal)
    })
}

fn failure(error: &Error) -> Response {
    let status = match error {
        Error::BadData(_) => StatusCode::BAD_REQUEST,
        Error::Execution(_) => StatusCode::UNPROCESSABLE_ENTITY,
        Error::Timeout(_) | Error::Canceled | Error::Busy => StatusCode::SERVICE_UNAVAILABLE,
        Error::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let body = json!({ "status": "error", "errorType": error.kind(), "error": error.to_string() });
    (status, axum::Json(body)).into_response()
}

impl IntoResponse for answer::Encoded {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.bytes));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        if self.gzip {
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }
}

impl Form {
    /// The limits of a query: `timeout` may shorten its time.
    fn limits(&self) -> Result<Limits, Error> {
        let limits = Limits::default();
        let asked = self.span_ms("timeout")?.and_then(|ms| u64::try_from(ms).ok()).map_or(limits.time, Duration::from_millis);
        Ok(Limits { time: limits.time.min(asked), ..limits })
    }
}
