//! Who asks: finds the token of a request, or that none is demanded, and whether that is enough for the route.
//!
//! A token comes in `Authorization: Bearer`, or in the cookie that [`super::session`] set for the page. Nothing but the
//! loopback is served without one. On the loopback it is demanded once a token was ever created or the configuration says
//! so, and always of a request that did not begin on this machine: one whose Host is no loopback name, that a proxy says it
//! forwarded, or that came as HTTP/1.0, as which nginx passes requests on unless told otherwise. A proxy that gives no sign
//! at all cannot be told from this machine.
//!
//! Tokens cannot be guessed, so a peer that presents wrong ones is not locked out: its failures are counted, and after a
//! few are answered 429 and logged no more. A right token is always let in, even beside them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};

use axum::http::{HeaderMap, HeaderName, HeaderValue, Version, header};
use axum::response::{IntoResponse as _, Response};
use parkgate_collector::model::Now;

use super::{Problem, Shared};
use crate::access::tokens::Refusal;
use crate::access::{Grant, Identity, Role};

/// Name of the cookie that carries the page's token.
pub const COOKIE: &str = "parkgate_session";

/// What proxies add to a request that they pass on.
const FORWARDED: [HeaderName; 8] = [
    header::FORWARDED,
    header::VIA,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-server"),
    HeaderName::from_static("x-real-ip"),
];

/// Failures of a peer before it is answered 429.
const FAILURES_BURST: u32 = 10;
/// One more is allowed after so long.
const FAILURE_EVERY_MS: u64 = 6_000;
/// Peers whose failures are remembered; beyond that, further ones share one count.
const PEERS_MAX: usize = 1_024;

/// What a route demands. Every row of the routes table names one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing: it tells nothing of the park.
    Nobody,
    /// Any role; the answer holds only what the identity sees.
    Anybody,
    /// An operator or admin whose scope is the whole park: it tells how the gateway as such is doing.
    RunsThePark,
    /// A reviewer, operator or admin whose scope is the whole park: it tells what projects and enterprises gave and took.
    ReviewsProjects,
}

impl Need {
    /// Whether an identity is enough.
    pub fn allows(self, identity: &Identity) -> bool {
        match self {
            Self::Nobody | Self::Anybody => true,
            Self::RunsThePark => identity.runs_the_park(),
            Self::ReviewsProjects => identity.reviews_projects(),
        }
    }

    /// For people.
    fn words(self) -> &'static str {
        match self {
            Self::Nobody => "nothing",
            Self::Anybody => "a token of any role",
            Self::RunsThePark => "a token of role operator or admin without a narrower scope",
            Self::ReviewsProjects => "a token of role reviewer, operator or admin without a narrower scope",
        }
    }
}

/// What a request carries that says who asks.
pub struct Asking<'a> {
    /// Address of the peer.
    pub peer: Option<SocketAddr>,
    /// Host asked for, without port; empty when unclear.
    pub host: &'a str,
    /// Version of HTTP that the request came as.
    pub version: Version,
    /// All headers.
    pub headers: &'a HeaderMap,
}

/// Whom a request is let in as; `None` when nobody need be known.
///
/// # Errors
/// The answer for who is not let in: 401, 403 or 429.
#[expect(clippy::result_large_err, reason = "made once for a request that is refused")]
pub fn admit(shared: &Shared, need: Need, asking: &Asking<'_>) -> Result<Option<Grant>, Response> {
    let found = find(shared, asking);
    if need == Need::Nobody {
        return Ok(found.ok());
    }
    let grant = found.map_err(|refusal| refused(shared, asking.peer, refusal))?;
    if need.allows(&grant.identity) {
        return Ok(Some(grant));
    }
    shared.metrics.http_refused.with_label_values(&["role"]).inc();
    Err(forbidden(grant.identity.role, need))
}

/// The answer for a role that is not enough.
pub fn forbidden(role: Role, need: Need) -> Response {
    Problem::forbidden(role.name(), need.words()).into_response()
}

/// The answer where a route for everybody is asked for more than it tells everybody.
pub fn unauthorized(need: Need) -> Response {
    challenge(Problem::unauthorized("this is not told without a token", need.words()), "Bearer realm=\"parkgate\"")
}

/// Why nobody was found.
enum Nobody {
    /// No token came.
    NoToken,
    /// One came that does not count.
    Wrong(Refusal),
}

fn find(shared: &Shared, asking: &Asking<'_>) -> Result<Grant, Nobody> {
    let now = shared.clock.now().utc;
    if let Some(presented) = bearer(asking.headers) {
        return shared.tokens.check(presented, now).map_err(Nobody::Wrong);
    }
    // Cookies are shared by all ports of a host: one of another gateway is no attempt to come in here.
    let by_cookie = cookie(asking.headers).map(|presented| shared.tokens.check(presented, now));
    match by_cookie {
        Some(Ok(grant)) => Ok(grant),
        _ if is_local(shared, asking) => Ok(Grant::local()),
        Some(Err(refusal)) => Err(Nobody::Wrong(refusal)),
        None => Err(Nobody::NoToken),
    }
}

/// Whether a request needs no token.
fn is_local(shared: &Shared, asking: &Asking<'_>) -> bool {
    let is_loopback_name =
        asking.host == "localhost" || asking.host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    shared.listen.ip().is_loopback()
        && !shared.require_token
        && asking.peer.is_some_and(|peer| peer.ip().is_loopback())
        && asking.version >= Version::HTTP_11
        && is_loopback_name
        && !FORWARDED.iter().any(|name| asking.headers.contains_key(name))
        && !shared.tokens.any()
}

/// The token of `Authorization: Bearer`; other schemes are those of a proxy before us.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| value)
}

fn refused(shared: &Shared, peer: Option<SocketAddr>, nobody: Nobody) -> Response {
    let (refusal, name) = match nobody {
        Nobody::NoToken => {
            shared.metrics.http_refused.with_label_values(&["no_token"]).inc();
            return challenge(Problem::unauthorized("no token came with the request", Need::Anybody.words()), "Bearer realm=\"parkgate\"");
        }
        Nobody::Wrong(Refusal::Unknown) => ("unknown", None),
        Nobody::Wrong(Refusal::Expired { name }) => ("expired", Some(name)),
    };
    shared.metrics.http_refused.with_label_values(&[refusal]).inc();
    if let Err(wait_s) = shared.failures.note(peer.map(|peer| peer.ip()), shared.clock.now()) {
        let mut response = Problem::too_many_failures(wait_s).into_response();
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait_s));
        return response;
    }
    let peer = peer.map(|peer| peer.ip().to_string());
    tracing::warn!(peer = peer.as_deref().unwrap_or("unknown"), reason = refusal, token = name.as_deref(), "token refused");
    let problem = Problem::unauthorized("the token is not in force: it was never made, was revoked, or has expired", Need::Anybody.words());
    challenge(problem, "Bearer realm=\"parkgate\", error=\"invalid_token\"")
}

/// A 401 with what it must carry (RFC 9110, 11.6.1; RFC 6750, 3).
fn challenge(problem: Problem, how: &'static str) -> Response {
    let mut response = problem.into_response();
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(how));
    response
}

/// Failed attempts, per address (of IPv6 its /64).
#[derive(Debug, Default)]
pub struct Failures(Mutex<HashMap<IpAddr, Bucket>>);

/// A bucket that fills with failures and empties with time.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    failures: u32,
    since_ms: u64,
}

impl Bucket {
    /// What is left of it at a time.
    fn at(self, now_ms: u64) -> Self {
        let over = now_ms.saturating_sub(self.since_ms) / FAILURE_EVERY_MS;
        let failures = self.failures.saturating_sub(u32::try_from(over).unwrap_or(u32::MAX));
        Self { failures, since_ms: self.since_ms.saturating_add(over.saturating_mul(FAILURE_EVERY_MS)) }
    }
}

impl Failures {
    /// Counts a failure.
    ///
    /// # Errors
    /// When there were too many: the seconds after which one more is allowed.
    fn note(&self, peer: Option<IpAddr>, now: Now) -> Result<(), u64> {
        let now_ms = now.monotonic_ms;
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut peer = group(peer);
        if !peers.contains_key(&peer) && peers.len() >= PEERS_MAX {
            peers.retain(|_, bucket| bucket.at(now_ms).failures > 0);
            if peers.len() >= PEERS_MAX {
                peer = group(None);
            }
        }
        let bucket = peers.entry(peer).or_insert(Bucket { failures: 0, since_ms: now_ms });
        *bucket = bucket.at(now_ms);
        if bucket.failures == 0 {
            bucket.since_ms = now_ms;
        }
        if bucket.failures >= FAILURES_BURST {
            let wait_ms = bucket.since_ms.saturating_add(FAILURE_EVERY_MS).saturating_sub(now_ms);
            return Err(wait_ms.div_ceil(1000).max(1));
        }
        bucket.failures = bucket.failures.saturating_add(1);
        Ok(())
    }
}

/// The address that counts for a peer: of IPv6 the network, since one has many addresses.
fn group(peer: Option<IpAddr>) -> IpAddr {
    match peer {
        Some(IpAddr::V6(address)) => match address.to_ipv4_mapped() {
            Some(address) => IpAddr::V4(address),
            None => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        },
        Some(address) => address,
        None => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

#[cfg(test)]
mod tests;
