//! The Debian package as an operator meets it: installed by dpkg, its configuration filled in, run as its unit says, upgraded,
//! removed, purged. All of it in a throw-away copy of this machine's system: a mount namespace with an overlay above `/`,
//! which only root can make. Without systemd, which does not run there, the scenario is the service manager.

use std::ffi::OsStr;
use std::fs::Permissions;
use std::io::{BufRead as _, BufReader};
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use parkgate_collector::sim::modbus::{Faults, SimServer};
use parkgate_tests::gateway::program;
use parkgate_tests::{Stopwatch, free_port, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::first_park::sdm630;

/// Longest wait for anything; the machine may be busy.
const LIMIT: Duration = Duration::from_secs(120);
const CONFIG: &str = "/etc/parkgate/parkgate.toml";
const UNIT: &str = "/usr/lib/systemd/system/parkgate.service";
const POINT: &str = "my-park/main-meter/energy_import";

#[test]
fn installed_run_upgraded_removed() -> Result<()> {
    let _stopwatch = Stopwatch::start("package");
    let exchange = tempfile::tempdir()?;
    std::fs::set_permissions(exchange.path(), Permissions::from_mode(0o755))?;
    let Some(system) = System::start(exchange.path())? else {
        println!("not tried: a copy of this system takes root and mount namespaces");
        return Ok(());
    };
    for version in ["0.0.9-1", "0.0.10-1"] {
        build(exchange.path(), version)?;
    }

    system.run("dpkg -i /exchange/0.0.9-1.deb")?;
    let owners = system.run("stat -c '%U:%G %a' /etc/parkgate/parkgate.toml /var/lib/parkgate")?;
    ensure!(owners == "root:parkgate 640\nparkgate:parkgate 750\n", "{owners}");
    ensure!(system.run("id -Gn parkgate")?.contains("dialout"), "no access to serial ports");
    system.run(&format!("parkgate check {CONFIG}"))?;
    ensure!(system.run("find /etc/systemd/system -name 'parkgate*'")?.is_empty(), "started before it is configured");
    if Path::new("/usr/bin/systemd-analyze").exists() {
        // In tenths: at most 2.0.
        system.run(&format!("systemd-analyze security --offline=true --threshold=20 {UNIT}"))?;
        system.run(&format!("systemd-analyze verify --man=no {UNIT}"))?;
    }

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let meter = runtime.block_on(SimServer::start((Ipv4Addr::LOCALHOST, 0).into(), sdm630(), Arc::new(Faults::new(1))))?;
    let port = free_port()?;
    let config = configured(&system.run(&format!("cat {CONFIG}"))?, meter.local_addr().port(), port)?;
    std::fs::write(exchange.path().join("new.toml"), &config)?;
    system.run(&format!("cat /exchange/new.toml > {CONFIG} && parkgate check {CONFIG}"))?;

    let service = Service::start(&system, exchange.path(), port)?;
    service.hears("READY=1")?;
    service.hears("WATCHDOG=1")?;
    let values = wait_for("a value", LIMIT, || Ok(Some(service.values()?).filter(|values| *values > 0)))?;
    let refused = system
        .run(&format!("parkgate totals --point {POINT}"))
        .expect_err("root would leave files that the service cannot write to")
        .to_string();
    ensure!(refused.contains("runuser -u parkgate"), "{refused}");
    system.run("runuser -u parkgate -- parkgate token create --name board --role viewer")?;
    let status = service.stop()?;
    ensure!(status.code() == Some(0), "{status}");

    let upgraded = system.run("dpkg -i /exchange/0.0.10-1.deb")?;
    ensure!(system.run(&format!("cat {CONFIG}"))? == config, "the operator's configuration is gone: {upgraded}");
    let service = Service::start(&system, exchange.path(), port)?;
    service.hears("READY=1")?;
    // A token was made: who asks without one gets nothing.
    ensure!(service.values().is_err(), "the token is gone");
    service.stop()?;

    system.run("dpkg -r parkgate")?;
    ensure!(system.run("ls /var/lib/parkgate")?.contains("journal"), "the record went with the package");
    ensure!(system.run(&format!("ls {CONFIG}")).is_ok() && system.run("ls /usr/bin/parkgate").is_err(), "removed and not removed");
    system.run("dpkg -i /exchange/0.0.10-1.deb")?;
    let back = system.run(&format!("runuser -u parkgate -- parkgate export --point {POINT} | wc -l"))?;
    ensure!(back.trim().parse::<usize>()? > values, "{values} values before, after the removal: {back}");

    // A disk of its own for the record is no directory that can be removed.
    system.run("mount --bind /var/lib/parkgate /var/lib/parkgate && dpkg -P parkgate < /dev/null")?;
    ensure!(system.run("ls -A /var/lib/parkgate")?.is_empty(), "purged, and the record is left");
    ensure!(system.run("ls -d /etc/parkgate").is_err(), "purged, and the configuration is left");
    system.run("umount /var/lib/parkgate && dpkg -i /exchange/0.0.10-1.deb")?;
    system.run("dpkg -P parkgate < /dev/null")?;
    ensure!(system.run("ls -d /var/lib/parkgate /etc/parkgate").is_err(), "purged, and something is left");
    Ok(())
}

/// The shipped configuration with the Modbus meter taken out of its comment, at this port, and the page at another.
fn configured(shipped: &str, meter: u16, page: u16) -> Result<String> {
    let (head, rest) = shipped.split_once("# [[link]]").context("no meter in the shipped configuration")?;
    let (block, tail) = rest.split_once("# ---").context("one meter in the shipped configuration")?;
    let block = format!("# [[link]]{block}").replace("# ", "").replace("192.0.2.10\"", &format!("127.0.0.1\"\nport = {meter}"));
    let text = format!("{head}{block}# ---{tail}").replace("127.0.0.1:8420\"", &format!("127.0.0.1:{page}\""));
    ensure!(text.contains(&format!("port = {meter}")) && text.contains(&format!("listen = \"127.0.0.1:{page}\"")), "{text}");
    Ok(text)
}

/// Packs the program under test as this version.
fn build(folder: &Path, version: &str) -> Result<()> {
    let program = program()?;
    let profile = program.parent().context("no folder")?;
    let target = profile.parent().context("no folder")?;
    let tool = target.join("tools/bin/cargo-deb");
    ensure!(tool.is_file(), "{} is not there: `make tools` installs it", tool.display());
    let profile = match profile.file_name().and_then(OsStr::to_str) {
        Some("debug") => "dev",
        Some(other) => other,
        None => bail!("no profile"),
    };
    let output = Command::new(tool)
        .args([
            "--package",
            "parkgate-gateway",
            "--no-build",
            "--strip",
            "--fast",
            "--profile",
            profile,
            "--deb-version",
            version,
            "--output",
        ])
        .arg(folder.join(format!("{version}.deb")))
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .env("CARGO_TARGET_DIR", target)
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// A copy of this machine's system that is gone when it is dropped.
struct System {
    /// Its namespace lives as long as this process, which ends with its input.
    holder: Child,
    _folder: TempDir,
    root: PathBuf,
}

impl System {
    /// `exchange` is `/exchange` in it. `None` where this user or this machine does not make namespaces.
    fn start(exchange: &Path) -> Result<Option<Self>> {
        if !rustix::process::geteuid().is_root() || !Command::new("unshare").args(["--mount", "true"]).output()?.status.success() {
            return Ok(None);
        }
        let folder = tempfile::tempdir()?;
        let script = r#"set -e
            mount -t tmpfs none "$1"
            mkdir "$1/upper" "$1/work" "$1/root"
            mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
            mkdir "$1/root/exchange"
            mount --bind "$2" "$1/root/exchange"
            mount --rbind /proc "$1/root/proc"
            mount --rbind /dev "$1/root/dev"
            echo made
            cat > /dev/null"#;
        let mut holder = Command::new("unshare")
            .args(["--mount", "sh", "-c", script, "sh"])
            .args([folder.path(), exchange])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(holder.stdout.take().context("no output")?).read_line(&mut line)?;
        let system = Self { holder, root: folder.path().join("root"), _folder: folder };
        ensure!(line == "made\n", "the copy of the system could not be made");
        Ok(Some(system))
    }

    /// A command in it.
    fn command(&self, user: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.holder.id())).args(["chroot", "--userspec", user]).arg(&self.root);
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    /// What a line of shell prints there as root; how it ended, if not well.
    fn run(&self, line: &str) -> Result<String> {
        let output = self.command("root").args(["sh", "-c", line]).stdin(Stdio::null()).output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        ensure!(output.status.success(), "{line}: {}\n{}{}", output.status, text(&output.stdout), text(&output.stderr));
        Ok(text(&output.stdout))
    }
}

impl Drop for System {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

/// The program as the unit starts it. Killed on drop.
struct Service {
    child: Child,
    manager: UnixDatagram,
    port: u16,
}

impl Service {
    fn start(system: &System, exchange: &Path, port: u16) -> Result<Self> {
        let unit = system.run(&format!("cat {UNIT}"))?;
        let value = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)).with_context(|| format!("no {key} in {unit}"));
        let socket = exchange.join("notify");
        let _ = std::fs::remove_file(&socket);
        let manager = UnixDatagram::bind(&socket)?;
        std::fs::set_permissions(&socket, Permissions::from_mode(0o777))?;
        manager.set_read_timeout(Some(LIMIT))?;
        let user = value("User=")?;
        let child = system
            .command(&format!("{user}:{}", value("Group=")?))
            .args(value("ExecStart=")?.split(' '))
            .env("NOTIFY_SOCKET", "/exchange/notify")
            .stdin(Stdio::null())
            .spawn()?;
        Ok(Self { child, manager, port })
    }

    /// Waits until the program tells its service manager this.
    fn hears(&self, wanted: &str) -> Result<()> {
        let mut told = [0; 256];
        loop {
            let length = self.manager.recv(&mut told).with_context(|| format!("{wanted} was not told"))?;
            if told.get(..length).is_some_and(|told| String::from_utf8_lossy(told).lines().any(|line| line == wanted)) {
                return Ok(());
            }
        }
    }

    /// How many values of the meter there are.
    fn values(&self) -> Result<usize> {
        let url = format!(
            "http://127.0.0.1:{}/api/v1/samples?point={POINT}&from=2000-01-01T00:00:00Z&to=2100-01-01T00:00:00Z&limit=1000",
            self.port
        );
        let body = ureq::get(url).call()?.body_mut().read_to_string()?;
        let page: Value = serde_json::from_str(&body)?;
        Ok(page["items"].as_array().context("no items")?.len())
    }

    fn stop(mut self) -> Result<ExitStatus> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("no process")?;
        kill_process(pid, Signal::TERM)?;
        self.hears("STOPPING=1")?;
        wait_for("the end", LIMIT, || Ok(self.child.try_wait()?))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
