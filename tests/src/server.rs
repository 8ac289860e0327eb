//! Servers of others that scenarios talk to: VictoriaMetrics, Prometheus, InfluxDB, Alertmanager, each a process of its own on a free
//! port, in a temporary folder, killed on drop.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::{free_port, tail, wait_for};

/// Longest that a server may take to answer.
const START_LIMIT: Duration = Duration::from_secs(30);

/// A running server.
#[derive(Debug)]
pub struct Server {
    name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
    ready_path: &'static str,
    child: Option<Child>,
    port: u16,
    directory: TempDir,
}

impl Server {
    /// Starts VictoriaMetrics (Debian package `victoria-metrics`) with further arguments, `-dedup.minScrapeInterval=1ms` say.
    pub fn victoria_metrics(arguments: &[&str]) -> Result<Self> {
        Self::start("victoria-metrics", "/health", |port, folder| {
            let mut all = vec![
                format!("-httpListenAddr=127.0.0.1:{port}"),
                format!("-storageDataPath={}", folder.join("data").display()),
                "-retentionPeriod=100y".into(),
            ];
            all.extend(arguments.iter().map(|&argument| argument.to_owned()));
            Ok(all)
        })
    }

    /// Starts Prometheus (Debian package `prometheus`) on a data folder that `fill` may put blocks into before.
    pub fn prometheus(arguments: &[&str], fill: impl FnOnce(&Path) -> Result<()>) -> Result<Self> {
        Self::start("prometheus", "/-/ready", |port, folder| {
            std::fs::create_dir_all(folder.join("data"))?;
            std::fs::write(folder.join("prometheus.yml"), "global: {}\n")?;
            fill(&folder.join("data"))?;
            let mut all = vec![
                format!("--web.listen-address=127.0.0.1:{port}"),
                format!("--storage.tsdb.path={}", folder.join("data").display()),
                format!("--config.file={}", folder.join("prometheus.yml").display()),
                "--storage.tsdb.retention.time=100y".into(),
            ];
            all.extend(arguments.iter().map(|&argument| argument.to_owned()));
            Ok(all)
        })
    }

    /// Starts InfluxDB 1 (Debian package `influxdb`).
    pub fn influxdb() -> Result<Self> {
        Self::start("influxd", "/ping", |port, folder| {
            let at = folder.display();
            let text = format!(
                "reporting-disabled = true\nbind-address = \"127.0.0.1:{}\"\n[meta]\ndir = \"{at}/meta\"\n[data]\ndir = \"{at}/data\"\n\
                 wal-dir = \"{at}/wal\"\n[http]\nbind-address = \"127.0.0.1:{port}\"\nlog-enabled = false\n",
                free_port()?
            );
            std::fs::write(folder.join("influxdb.conf"), text)?;
            Ok(vec!["-config".into(), format!("{at}/influxdb.conf")])
        })
    }

    /// Starts Alertmanager (Debian package `prometheus-alertmanager`), which tells each alarm by itself and at once to `hook`.
    pub fn alertmanager(hook: &str) -> Result<Self> {
        Self::start("prometheus-alertmanager", "/-/ready", |port, folder| {
            let text = format!(
                "route:\n  receiver: hook\n  group_by: ['...']\n  group_wait: 0s\n  group_interval: 1s\n  repeat_interval: 1h\n\
                 receivers:\n- name: hook\n  webhook_configs:\n  - url: {hook}\n    send_resolved: true\n"
            );
            std::fs::write(folder.join("alertmanager.yml"), text)?;
            Ok(vec![
                format!("--web.listen-address=127.0.0.1:{port}"),
                format!("--config.file={}", folder.join("alertmanager.yml").display()),
                format!("--storage.path={}", folder.join("data").display()),
                "--cluster.listen-address=".into(),
            ])
        })
    }

    fn start(name: &'static str, ready_path: &'static str, set_up: impl FnOnce(u16, &Path) -> Result<Vec<String>>) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let port = free_port()?;
        let arguments = set_up(port, directory.path())?;
        let program =
            ["/usr/bin", "/usr/sbin", "/usr/local/bin"].iter().map(|place| Path::new(place).join(name)).find(|path| path.exists());
        let program = program.unwrap_or_else(|| name.into());
        let mut server = Self { name, program, arguments, ready_path, child: None, port, directory };
        server.restart()?;
        Ok(server)
    }

    /// The address to ask, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends it, if it runs, as by a power cut, and starts it again on the same port and data.
    pub fn restart(&mut self) -> Result<()> {
        self.kill();
        let log_path = self.directory.path().join("log");
        let log = File::options().create(true).append(true).open(&log_path)?;
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} cannot be started: `make tools` installs it", self.name))?;
        let child = self.child.insert(child);
        let ready = format!("http://127.0.0.1:{}{}", self.port, self.ready_path);
        wait_for(self.name, START_LIMIT, || {
            if let Some(status) = child.try_wait()? {
                bail!("{} ended with {status}:\n{}", self.name, tail(&log_path, 20));
            }
            Ok(ureq::get(&ready).call().ok())
        })?;
        Ok(())
    }

    /// Ends it as by a power cut.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
