//! What every request passes: the Host check, security headers, then per route who asks, a time-out, and its metrics.
//!
//! The Host check keeps a page elsewhere, whose name was made to point at this address, from reading the park through
//! a visitor's browser (DNS rebinding).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::accesses::Access;
use super::auth::{self, Asking, Need};
use super::listener::Peer;
use super::{Problem, Server, Shared};

/// Time until the head of an answer; streams go on after theirs.
const ANSWER_SECONDS_MAX: u64 = 30;

const SECURITY_HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Checks the Host header, then adds security headers to whatever the answer is. Answers are not cached unless they
/// say so themselves.
pub async fn protect(State(server): State<Server>, request: Request, next: Next) -> Response {
    let host = host(request.uri(), request.headers());
    // Not held while the request is answered.
    let (is_allowed, misdirected) = {
        let shared = server.0.get();
        (is_allowed(&host, &shared), shared.metrics.http_misdirected.clone())
    };
    let mut response = if is_allowed {
        next.run(request).await
    } else {
        misdirected.inc();
        Problem::misdirected(&host).into_response()
    };
    let headers = response.headers_mut();
    for (name, value) in SECURITY_HEADERS {
        // A page of its own may have a policy of its own, which is stricter.
        if name == header::CONTENT_SECURITY_POLICY && headers.contains_key(&name) {
            continue;
        }
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// A route as its guard knows it.
#[derive(Clone)]
pub struct Guarded {
    /// What requests are answered from.
    pub server: Server,
    /// Pattern of its path.
    pub route: &'static str,
    /// What it demands.
    pub need: Need,
}

/// Lets in who may ask, counts and times the request under its route, and gives it up after [`ANSWER_SECONDS_MAX`].
pub async fn admit(State(guarded): State<Guarded>, mut request: Request, next: Next) -> Response {
    let Guarded { server, route, need } = guarded;
    let shared = server.0.get();
    let start = Instant::now();
    let peer: Option<SocketAddr> = request.extensions().get::<ConnectInfo<Peer>>().map(|peer| peer.0.0);
    let host = host(request.uri(), request.headers());
    let asking = Asking { peer, host: &host, version: request.version(), headers: request.headers() };
    let response = match auth::admit(&shared, need, &asking) {
        Ok(grant) => {
            let access = grant.as_ref().and_then(|grant| Access::of(&grant.identity, route, need, &request, peer));
            if let Some(grant) = grant {
                request.extensions_mut().insert(Arc::clone(&grant.identity));
                request.extensions_mut().insert(grant);
            }
            let response = match tokio::time::timeout(Duration::from_secs(ANSWER_SECONDS_MAX), next.run(request)).await {
                Ok(response) => response,
                Err(_) => Problem::timeout(ANSWER_SECONDS_MAX).into_response(),
            };
            match access {
                Some(access) => access.keep(&shared, response).await,
                None => response,
            }
        }
        Err(refused) => refused,
    };
    shared.metrics.http_requests.with_label_values(&[route, response.status().as_str()]).inc();
    shared.metrics.http_seconds.with_label_values(&[route]).observe(start.elapsed().as_secs_f64());
    response
}

/// The answer for a path that is not served.
pub async fn no_route(State(server): State<Server>, uri: Uri) -> Problem {
    server.0.get().metrics.http_requests.with_label_values(&["other", "404"]).inc();
    Problem::no_route(uri.path())
}

/// The answer for a method that a path does not take.
pub async fn bad_method(method: Method, uri: Uri) -> Problem {
    Problem::bad_method(method.as_str(), uri.path())
}

/// The host asked for; empty when it is missing, doubled or no host at all.
fn host(uri: &Uri, headers: &HeaderMap) -> String {
    let mut given = headers.get_all(header::HOST).iter();
    let header = match (given.next(), given.next()) {
        (Some(only), None) => only.to_str().ok().and_then(|text| text.parse::<Authority>().ok()),
        _ => None,
    };
    // RFC 9112, 3.2.2: an absolute request target outweighs the header.
    let authority = uri.authority().cloned().or(header);
    authority.map(|authority| authority.host().trim_end_matches('.').to_ascii_lowercase()).unwrap_or_default()
}

/// Loopback names, the listening address, names of the configuration; when it listens everywhere, any plain address:
/// those cannot be made to point elsewhere.
fn is_allowed(host: &str, shared: &Shared) -> bool {
    let address: Option<IpAddr> = host.trim_start_matches('[').trim_end_matches(']').parse().ok();
    match address {
        Some(address) if address.is_loopback() || address == shared.listen.ip() || shared.listen.ip().is_unspecified() => true,
        _ => host == "localhost" || shared.allowed_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host)),
    }
}
