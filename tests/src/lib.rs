//! What the scenarios run on: a real broker, the real program, and a way to ask it.
//!
//! [`mosquitto`] a broker of its own for each scenario; [`gateway`] the program on a configuration, with its log;
//! [`server`] databases of others; [`http`] a server and a proxy that misbehave; [`numbered`] messages of which each must be recorded once; [`small_disk`] one that can be full; here what all need. Everything listens on a free port of the loopback, lives in a temporary folder, and ends with its scenario.

pub mod gateway;
pub mod http;
pub mod mosquitto;
pub mod numbered;
pub mod server;
pub mod small_disk;

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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

/// Prints the seconds that a scenario took when it is dropped, past libtest, which shows only what failed.
#[derive(Debug)]
pub struct Stopwatch(&'static str, Instant);

impl Stopwatch {
    /// Starts now, for the scenario of that name.
    pub fn start(name: &'static str) -> Self {
        Self(name, Instant::now())
    }
}

impl Drop for Stopwatch {
    fn drop(&mut self) {
        let _ = writeln!(std::io::stdout().lock(), "{}: {:.1} s", self.0, self.1.elapsed().as_secs_f64());
    }
}

/// Milliseconds since 1970.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The number that an environment variable holds, if it is set.
pub fn number_from(variable: &str) -> Result<Option<u64>> {
    match std::env::var(variable) {
        Ok(text) => Ok(Some(text.parse().with_context(|| format!("{variable}={text} is no number"))?)),
        Err(_) => Ok(None),
    }
}

/// A generator of random numbers for a scenario, seeded by `PARKGATE_SEED`, else at random; prints the seed.
#[expect(clippy::print_stdout, reason = "libtest shows it with a failure")]
pub fn random() -> Result<fastrand::Rng> {
    let seed = number_from("PARKGATE_SEED")?.unwrap_or_else(|| fastrand::u64(..));
    println!("PARKGATE_SEED={seed}");
    Ok(fastrand::Rng::with_seed(seed))
}

/// Copies the files of a folder and of those in it; sockets are left out.
pub fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else if kind.is_file() {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// The last lines of a file, for the message of a failed test.
pub fn tail(path: &Path, lines: usize) -> String {
    let text = String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
    let all: Vec<&str> = text.lines().collect();
    all.get(all.len().saturating_sub(lines)..).unwrap_or_default().join("\n")
}
