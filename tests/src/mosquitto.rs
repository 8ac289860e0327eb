//! A mosquitto of one scenario, on a free port, killed on drop.

use std::fmt::Write as _;
use std::fs::File;
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use parkgate_collector::sim::mqtt::{Publisher, PublisherSettings};
use tempfile::TempDir;

use crate::{free_port, tail, wait_for};

/// Longest that the broker may take to listen.
const START_LIMIT: Duration = Duration::from_secs(10);

/// How a broker is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Keep sessions and messages in a file, so that they outlive a restart.
    pub persistence: bool,
    /// Messages in flight to each client. Mosquitto's own default is 20.
    pub max_inflight_messages: u32,
    /// User names with passwords; none: everybody may connect.
    pub passwords: Vec<(String, String)>,
    /// Further lines of its configuration.
    pub extra: String,
}

impl Default for Options {
    fn default() -> Self {
        Self { persistence: false, max_inflight_messages: 1_000, passwords: Vec::new(), extra: String::new() }
    }
}

/// A running broker.
#[derive(Debug)]
pub struct Mosquitto {
    child: Option<Child>,
    port: u16,
    directory: TempDir,
}

impl Mosquitto {
    /// Starts a broker that queues without a limit (`max_queued_messages 0`: with the stock limit of 1,000 it drops what
    /// it has confirmed to the publisher) and waits until it listens.
    pub fn start(options: &Options) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let port = free_port()?;
        let place = directory.path().display();
        let mut text = format!(
            // Started by root it would become another user, who may neither read nor write here.
            "user root\nlistener {port} 127.0.0.1\nmax_queued_messages 0\nmax_inflight_messages {}\npersistence {}\n",
            options.max_inflight_messages, options.persistence
        );
        if options.persistence {
            writeln!(text, "persistence_location {place}/")?;
        }
        if options.passwords.is_empty() {
            writeln!(text, "allow_anonymous true")?;
        } else {
            writeln!(text, "allow_anonymous false\npassword_file {place}/passwords")?;
            File::create(directory.path().join("passwords"))?;
            for (name, password) in &options.passwords {
                let status = Command::new("mosquitto_passwd")
                    .args(["-b", &format!("{place}/passwords"), name, password])
                    .status()
                    .context("mosquitto_passwd (Debian package mosquitto)")?;
                ensure!(status.success(), "mosquitto_passwd: {status}");
            }
        }
        writeln!(text, "{}", options.extra)?;
        std::fs::write(directory.path().join("mosquitto.conf"), text)?;
        let mut broker = Self { child: None, port, directory };
        broker.restart()?;
        Ok(broker)
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A client that publishes to it; must be called within a tokio runtime.
    pub fn publisher(&self, client_id: &str) -> Publisher {
        Publisher::start(&PublisherSettings { host: "127.0.0.1".into(), port: self.port, client_id: client_id.into(), login: None })
    }

    /// Ends it, if it runs, as by a power cut, and starts it again on the same port.
    pub fn restart(&mut self) -> Result<()> {
        self.kill();
        // Debian keeps it where the search path of an ordinary user does not reach.
        let program = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"].map(PathBuf::from).into_iter().find(|path| path.exists());
        let log = File::options().create(true).append(true).open(self.directory.path().join("log"))?;
        let child = Command::new(program.unwrap_or_else(|| "mosquitto".into()))
            .arg("-c")
            .arg(self.directory.path().join("mosquitto.conf"))
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("mosquitto (Debian package mosquitto)")?;
        let child = self.child.insert(child);
        wait_for("mosquitto", START_LIMIT, || {
            if let Some(status) = child.try_wait()? {
                bail!("mosquitto ended with {status}:\n{}", tail(&self.directory.path().join("log"), 20));
            }
            Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok())
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

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.kill();
    }
}
