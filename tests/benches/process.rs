//! CPU time and memory of processes, from /proc.

use anyhow::{Context as _, Result};

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

/// A line of /proc/PID/status in MB: `VmRSS` now, `VmHWM` the peak.
pub fn memory_mb(pid: &str, line: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("process is gone")?;
    let kilobytes =
        status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':')?.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok());
    Ok(kilobytes.context("no such line")? / 1024.0)
}

/// CPU seconds of this process, finer than ticks.
pub fn own_cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
