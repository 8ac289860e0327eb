//! What the scenarios run on: a real broker, the real program, and a way to ask it.
//!
//! [`mosquitto`] a broker of its own for each scenario; [`gateway`] the program on a configuration, with its log; here what
//! both need. Everything listens on a free port of the loopback, lives in a temporary folder, and ends with its scenario.

pub mod gateway;
pub mod mosquitto;

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// A port that was free a moment ago. Another process may take it; whoever listens on it reports that.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Asks until `ready` gives something, at most for `limit`; `what` is waited for.
pub fn wait_for<T>(what: &str, limit: Duration, mut ready: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = ready().with_context(|| format!("while waiting for {what}"))? {
            return Ok(found);
        }
        if start.elapsed() > limit {
            bail!("no {what} within {limit:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The last lines of a file, for the message of a failed test.
pub fn tail(path: &Path, lines: usize) -> String {
    let text = String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
    let all: Vec<&str> = text.lines().collect();
    all.get(all.len().saturating_sub(lines)..).unwrap_or_default().join("\n")
}
