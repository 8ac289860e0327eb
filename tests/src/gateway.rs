//! The real program: as a gateway on a configuration of the scenario, with its data, its log and its HTTP address, or as
//! a command that ends by itself.

use std::ffi::OsStr;
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
/// Longest that a command may take.
const COMMAND_SECONDS: &str = "60";
/// Lines of the log that a failed test prints.
const LOG_LINES: usize = 60;

/// A gateway of one scenario. Killed on drop. Unless it was stopped before, the scenario has failed half way: then the end
/// of its log is printed.
#[derive(Debug)]
pub struct Gateway {
    child: Option<Child>,
    port: u16,
    directory: TempDir,
    data: PathBuf,
    is_demo: bool,
    agent: Agent,
    /// It was asked to stop and did, or never ran.
    is_stopped: bool,
}

impl Gateway {
    /// Writes `config` with folder and address added, starts `parkgate run --config FILE`, waits until `/readyz` answers
    /// 200. `config` may have any table but `[gateway]` itself and `[gateway.http]`.
    pub fn start(config: &str) -> Result<Self> {
        let mut gateway = Self::prepare(None)?;
        gateway.configure(config)?;
        gateway.restart()?;
        Ok(gateway)
    }

    /// A gateway that does not run yet, with its data in `data` (else in a folder of its own): [`Self::configure`] it,
    /// then [`Self::restart`].
    pub fn prepare(data: Option<&Path>) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let data = data.map_or_else(|| directory.path().join("data"), Path::to_owned);
        let agent = Agent::config_builder().timeout_global(Some(REQUEST_LIMIT)).http_status_as_error(false).build().into();
        Ok(Self { child: None, port: free_port()?, directory, data, is_demo: false, agent, is_stopped: true })
    }

    /// A `parkgate demo` that does not run yet, in a folder of its own.
    pub fn prepare_demo() -> Result<Self> {
        let mut gateway = Self::prepare(None)?;
        gateway.is_demo = true;
        Ok(gateway)
    }

    /// Writes `config`, as [`Self::start`] does; it counts from the next start on.
    pub fn configure(&self, config: &str) -> Result<()> {
        self.configure_http(config, "127.0.0.1", "")
    }

    /// Writes `config` with an address to listen on and further lines of `[gateway.http]`.
    pub fn configure_http(&self, config: &str, address: &str, http: &str) -> Result<()> {
        let data = self.data.to_str().context("the temporary folder's name is not UTF-8")?;
        let text =
            format!("{config}\n[gateway]\ndata_directory = {data:?}\n\n[gateway.http]\nlisten = \"{address}:{}\"\n{http}", self.port);
        Ok(std::fs::write(self.config(), text)?)
    }

    /// The port of its HTTP address.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.directory.path().join("parkgate.toml")
    }

    /// The data directory.
    pub fn data_directory(&self) -> &Path {
        &self.data
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
        self.spawn()?;
        wait_for("ready gateway", START_LIMIT, || {
            if let Some(status) = self.ended()? {
                bail!("the gateway ended with {status}");
            }
            Ok(self.agent.get(self.url("/readyz")).call().ok().filter(|answer| answer.status() == 200))
        })?;
        Ok(())
    }

    /// Starts the program again on the same files.
    pub fn spawn(&mut self) -> Result<()> {
        ensure!(self.child.is_none(), "the gateway runs already");
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = Command::new(program()?);
        if self.is_demo {
            command.arg("demo").arg("--data").arg(&self.data).args(["--listen", &format!("127.0.0.1:{}", self.port)]);
        } else {
            command.args(["run", "--config"]).arg(self.config());
        }
        // As the unit of the package has it.
        command.env("MALLOC_ARENA_MAX", "2");
        command.current_dir(self.directory.path()).stdout(log.try_clone()?).stderr(log);
        self.child = Some(command.spawn().with_context(|| format!("{command:?}: build it, or name it by PARKGATE_BIN"))?);
        self.is_stopped = false;
        Ok(())
    }

    /// How the program ended by itself, if it did.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        let status = self.child.as_mut().context("the gateway does not run")?.try_wait()?;
        if status.is_some() {
            self.child = None;
        }
        Ok(status)
    }

    /// It ended as it should: its log is not shown.
    pub fn forget(&mut self) {
        self.is_stopped = self.child.is_none();
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
        self.stop_by(Signal::TERM)
    }

    /// Asks the program to stop by a signal of choice and waits until it has.
    pub fn stop_by(&mut self, signal: Signal) -> Result<ExitStatus> {
        let child = self.child.as_ref().context("the gateway does not run")?;
        kill_process(Pid::from_child(child), signal)?;
        let status = wait_for("end of the gateway", STOP_LIMIT, || self.ended())?;
        self.is_stopped = true;
        Ok(status)
    }

    /// Gets a document as text, with its status.
    pub fn get_text(&self, path: &str) -> Result<(u16, String)> {
        let mut answer = self.agent.get(self.url(path)).call().with_context(|| format!("GET {path}"))?;
        Ok((answer.status().as_u16(), answer.body_mut().with_config().limit(256 << 20).read_to_string()?))
    }

    /// Gets a JSON document; an answer other than 200 is an error that shows it.
    pub fn get(&self, path: &str) -> Result<Value> {
        let text = self.text(path)?;
        serde_json::from_str(&text).with_context(|| format!("GET {path}: {text}"))
    }

    /// Gets a text, such as `/metrics`, as [`Self::get`].
    pub fn text(&self, path: &str) -> Result<String> {
        let (status, text) = self.get_text(path)?;
        ensure!(status == 200, "GET {path}: {status}: {text}");
        Ok(text)
    }

    /// The last sample of a point; null when there is none.
    pub fn latest(&self, point: &str) -> Result<Value> {
        Ok(self.get(&format!("/api/v1/latest?point={point}"))?["items"][0]["sample"].take())
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

/// What a command printed, and how it ended.
#[derive(Debug)]
pub struct Finished {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Finished {
    /// The lines of standard output, each a JSON document.
    pub fn json_lines(&self) -> Result<Vec<Value>> {
        self.stdout.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
    }
}

/// Runs `parkgate` with `arguments` until it ends by itself.
pub fn parkgate<A: AsRef<OsStr>>(arguments: &[A]) -> Result<Finished> {
    let output = Command::new("timeout").args(["--signal=KILL", COMMAND_SECONDS]).arg(program()?).args(arguments).output()?;
    Ok(Finished {
        code: output.status.code().context("ended by a signal")?,
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}

/// The program under test: `PARKGATE_BIN`, else the one built beside the test, whose own folder may be one further down.
pub fn program() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("PARKGATE_BIN") {
        return Ok(path.into());
    }
    let test = std::env::current_exe()?;
    let mut places = test.ancestors().skip(1).take(2).map(|folder| folder.join("parkgate"));
    places.find(|path| path.is_file()).context("no parkgate beside this program: build it, or name it by PARKGATE_BIN")
}
