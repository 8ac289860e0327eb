//! Processes of a measurement: this program again as a helper, and what any process used, from /proc.

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result};

/// Whether `PARKGATE_BENCH_QUICK=1` asks for short runs, to see that all works; their figures say less.
pub fn quick() -> bool {
    std::env::var("PARKGATE_BENCH_QUICK").is_ok_and(|value| value == "1")
}

/// This program again, as `bench child ...`. It tells its results line by line. Killed on drop.
#[derive(Debug)]
pub struct Helper {
    name: String,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Helper {
    /// Starts the child `name` with its arguments.
    pub fn start(name: &str, arguments: &[String]) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        // As the unit of the package has it.
        command.env("MALLOC_ARENA_MAX", "2");
        let mut child = command.args(["child", name]).args(arguments).stdout(Stdio::piped()).spawn()?;
        let lines = BufReader::new(child.stdout.take().context("no standard output")?).lines();
        Ok(Self { name: name.to_owned(), child, lines })
    }

    /// Its process id, as [`cpu_seconds`] and [`memory_mb`] take it.
    pub fn pid(&self) -> String {
        self.child.id().to_string()
    }

    /// Waits for its next line.
    pub fn line(&mut self) -> Result<String> {
        self.lines.next().with_context(|| format!("{} ended too early", self.name))?.map_err(Into::into)
    }

    /// Waits for its next line and reads the numbers in it.
    pub fn numbers(&mut self) -> Result<Vec<f64>> {
        let line = self.line()?;
        line.split(' ').map(|text| text.parse().with_context(|| format!("{}: {line}", self.name))).collect()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU seconds (user and system) that process `pid` used since its start; `"self"` for this one.
pub fn cpu_seconds(pid: &str) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("process is gone")?;
    // The name in brackets may hold spaces: fields count from behind it. utime and stime are fields 14 and 15.
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok()).context("unexpected /proc/PID/stat");
    Ok((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}

/// USER_HZ, 100 on every Linux that Debian ships.
const TICKS_PER_SECOND: f64 = 100.0;

/// A line of /proc/PID/status in MB (10^6 bytes): `VmRSS` now, `VmHWM` the peak.
pub fn memory_mb(pid: &str, line: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("process is gone")?;
    let of_line = |text: &str| text.strip_prefix(line)?.strip_prefix(':')?.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok();
    Ok(status.lines().find_map(of_line).context("no such line")? * 1024.0 / 1e6)
}

/// CPU seconds of this process, finer than ticks.
pub fn own_cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Sum of a metric over all its labels, from the text of `/metrics`. 0 for one that is not there: counters with labels
/// appear with their first event.
pub fn metric(text: &str, name: &str) -> f64 {
    let value = |line: &str| line.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' ']))?.rsplit(' ').next()?.parse::<f64>().ok();
    text.lines().filter_map(value).sum()
}

/// The middle one; of an even number the upper of the two.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
