//! What sinks and receivers of alarms have in common, to whom we send by HTTP: checks of their settings, secrets from files,
//! the agent with its limits and authorities.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use parkgate_collector::catalogue::Secret;
use ureq::Agent;
use ureq::http::Uri;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

/// Longest that a connection may take to open.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Whether an address is one of HTTP, with a host and without a user. `example`: one as it should be.
///
/// # Errors
/// What it must be like.
pub fn is_url(url: &str, example: &str, takes_query: bool) -> garde::Result {
    let whole = || garde::Error::new(format!("must be like `{example}`, with a path where there is one"));
    let uri: Uri = url.parse().map_err(|_| whole())?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
        return Err(whole());
    }
    let has_query = uri.query().is_some() && !takes_query;
    if has_query || url.contains('#') || uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(garde::Error::new(if takes_query {
            "must have no user: secrets have keys of their own"
        } else {
            "must have no query and no user: parameters and secrets have keys of their own"
        }));
    }
    Ok(())
}

/// That a file of a secret is not named beside the secret itself, which is given under `key`.
pub fn excludes(is_given: bool, key: &'static str) -> impl FnOnce(&Option<PathBuf>, &()) -> garde::Result {
    move |file, ()| match file {
        Some(_) if is_given => Err(garde::Error::new(format!("excludes `{key}`: keep one"))),
        _ => Ok(()),
    }
}

/// A secret as given, or the first line of its file, which is relative to `base`.
///
/// # Errors
/// The file cannot be read, or the secret cannot go in a header.
pub fn secret(given: Option<&Secret>, file: Option<&Path>, base: &Path) -> Result<Option<Secret>> {
    let text = match (given, file) {
        (Some(given), _) => given.reveal().to_owned(),
        (None, Some(file)) => {
            let path = base.join(file);
            let text = std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
            text.lines().next().unwrap_or("").trim().to_owned()
        }
        (None, None) => return Ok(None),
    };
    if text.is_empty() || !text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        bail!("the secret is empty, or has characters that no header can carry");
    }
    Ok(Some(Secret::new(text)))
}

/// An HTTP client: `timeout_ms` for a request in all, certificates checked against the authorities of `ca_file`, relative to
/// `base`, instead of the public ones; no redirect is followed, and no status is an error.
///
/// # Errors
/// The file cannot be read, or holds no certificate.
pub fn agent(timeout_ms: u32, ca_file: Option<&Path>, base: &Path) -> Result<Agent> {
    let mut tls = TlsConfig::builder();
    if let Some(file) = ca_file {
        let path = base.join(file);
        let pem = std::fs::read(&path).with_context(|| format!("ca_file {} cannot be read", path.display()))?;
        let mut certificates = Vec::new();
        for item in parse_pem(&pem) {
            if let PemItem::Certificate(certificate) = item.with_context(|| format!("ca_file {}", path.display()))? {
                certificates.push(certificate);
            }
        }
        if certificates.is_empty() {
            bail!("ca_file {} holds no certificate", path.display());
        }
        tls = tls.root_certs(RootCerts::new_with_certs(&certificates));
    }
    Ok(Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(Duration::from_millis(u64::from(timeout_ms))))
        .timeout_connect(Some(CONNECT_LIMIT))
        .user_agent(concat!("parkgate/", env!("CARGO_PKG_VERSION")))
        .tls_config(tls.build())
        .build()
        .into())
}
