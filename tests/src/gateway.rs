//! The real program on a configuration of the scenario, with its data, its log and its HTTP address.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use ureq::Agent;

use crate::{free_port, tail, wait_for};

/// Longest that the program may take until it is ready.
const START_LIMIT: Duration = Duration::from_secs(30);
/// Longest that it may take to stop when asked.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// Longest that one request may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);
/// Lines of the log that a failed test prints.
const LOG_LINES: usize = 60;

/// A gateway of one scenario. Killed on drop. Unless it was stopped before, the scenario has failed half way: then the end
/// of its log is printed.
#[derive(Debug)]
pub struct Gateway {
    child: Option<Child>,
    port: u16,
    directory: TempDir,
    agent: Agent,
    /// It was asked to stop and did.
    is_stopped: bool,
}

impl Gateway {
    /// Writes `config` with folder and address added, starts `parkgate run --config FILE`, waits until `/readyz` answers
    /// 200. `config` may have any table but `[gateway]` itself and `[gateway.http]`.
    pub fn start(config: &str) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let port = free_port()?;
        let data = directory.path().join("data");
        let text = format!(
            "{config}\n[gateway]\ndata_directory = {:?}\n\n[gateway.http]\nlisten = \"127.0.0.1:{port}\"\n",
            data.to_str().context("the temporary folder's name is not UTF-8")?
        );
        std::fs::write(directory.path().join("parkgate.toml"), text)?;
        let agent = Agent::config_builder().timeout_global(Some(REQUEST_LIMIT)).http_status_as_error(false).build().into();
        let mut gateway = Self { child: None, port, directory, agent, is_stopped: false };
        gateway.restart()?;
        Ok(gateway)
    }

    /// The data directory.
    pub fn data_directory(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The log of all runs.
    pub fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// The address of a page, `path` starting with `/`.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Its process id.
    pub fn pid(&self) -> Result<u32> {
        Ok(self.child.as_ref().context("the gateway does not run")?.id())
    }

    /// Starts the program again on the same files and waits until it is ready.
    pub fn restart(&mut self) -> Result<()> {
        ensure!(self.child.is_none(), "the gateway runs already");
        let program = program()?;
        let log = File::options().create(true).append(true).open(self.log())?;
        let child = Command::new(&program)
            .args(["run", "--config"])
            .arg(self.directory.path().join("parkgate.toml"))
            .current_dir(self.directory.path())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{}: build it, or name it by PARKGATE_BIN", program.display()))?;
        self.child = Some(child);
        self.is_stopped = false;
        wait_for("ready gateway", START_LIMIT, || {
            if let Some(status) = self.child.as_mut().map(Child::try_wait).transpose()?.flatten() {
                self.child = None;
                bail!("the gateway ended with {status}");
            }
            Ok(self.agent.get(self.url("/readyz")).call().ok().filter(|answer| answer.status() == 200))
        })?;
        Ok(())
    }

    /// Ends the program at once, as `kill -9`.
    pub fn kill_9(&mut self) -> Result<()> {
        let mut child = self.child.take().context("the gateway does not run")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Asks the program to stop (SIGTERM) and waits until it has.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        let mut child = self.child.take().context("the gateway does not run")?;
        kill_process(Pid::from_child(&child), Signal::TERM)?;
        let status = wait_for("end of the gateway", STOP_LIMIT, || Ok(child.try_wait()?));
        if status.is_err() {
            let _ = child.kill();
            let _ = child.wait();
        }
        self.is_stopped = status.is_ok();
        status
    }

    /// Gets a JSON document; an answer other than 200 is an error that shows it.
    pub fn get(&self, path: &str) -> Result<Value> {
        let text = self.text(path)?;
        serde_json::from_str(&text).with_context(|| format!("GET {path}: {text}"))
    }

    /// Gets a text, such as `/metrics`, as [`Self::get`].
    pub fn text(&self, path: &str) -> Result<String> {
        let mut answer = self.agent.get(self.url(path)).call().with_context(|| format!("GET {path}"))?;
        let status = answer.status();
        let text = answer.body_mut().with_config().limit(256 << 20).read_to_string()?;
        ensure!(status == 200, "GET {path}: {status}: {text}");
        Ok(text)
    }

    /// All samples of a point, however they are paged.
    pub fn samples(&self, point: &str) -> Result<Vec<Value>> {
        const PAGE: usize = 100_000;
        // Wide enough for any stamp that a scenario makes.
        let mut from = "2000-01-01T00:00:00Z".to_owned();
        let mut samples = Vec::new();
        loop {
            let mut page = self.get(&format!("/api/v1/samples?point={point}&from={from}&to=2100-01-01T00:00:00Z&limit={PAGE}"))?;
            match page["items"].take() {
                Value::Array(items) => samples.extend(items),
                other => bail!("no items in {other}"),
            }
            match page["next"].as_str() {
                Some(next) => from = next.to_owned(),
                None => return Ok(samples),
            }
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if !self.is_stopped {
            report(&self.log());
        }
    }
}

#[expect(clippy::print_stderr, reason = "libtest shows it with the failure")]
fn report(log: &Path) {
    eprintln!("--- end of the gateway's log ---\n{}", tail(log, LOG_LINES));
}

/// The program under test: `PARKGATE_BIN`, else the one built beside the test, whose own folder may be one further down.
fn program() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("PARKGATE_BIN") {
        return Ok(path.into());
    }
    let test = std::env::current_exe()?;
    let mut places = test.ancestors().skip(1).take(2).map(|folder| folder.join("parkgate"));
    places.find(|path| path.is_file()).context("no parkgate beside this program: build it, or name it by PARKGATE_BIN")
}
