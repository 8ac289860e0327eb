//! `parkgate plan`: what reading the park's Modbus devices will cost, before anything is connected.
//!
//! `--json` prints one object a line of the park: the fields of [`Line`], and `warning`. Exit 1 when a line cannot make
//! its intervals.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use parkgate_collector::catalogue::{Disk, MemoryRegistry};
use parkgate_collector::commission::outlook::{Line, Verdict, milliseconds, outlook};

use crate::app::{self, Exit};

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub struct PlanArguments {
    /// Main configuration file.
    #[arg(long, value_name = "FILE", default_value_os_t = super::default_config())]
    pub config: PathBuf,
    /// Milliseconds assumed from a request to its answer, instead of what is usual.
    #[arg(long, value_name = "MS")]
    pub answer_ms: Option<u32>,
    /// Print every read too: function code, first address, quantity.
    #[arg(long)]
    pub blocks: bool,
    /// Print one JSON object per line of the park.
    #[arg(long)]
    pub json: bool,
}

/// `parkgate plan`.
pub fn plan(arguments: &PlanArguments) -> Result<ExitCode> {
    let loaded = app::load(&arguments.config, &Disk)?;
    let catalogue = loaded.draft.build(&mut MemoryRegistry::default()).context("the points cannot be numbered")?;
    let outlook = outlook(&catalogue, arguments.answer_ms.map(|ms| u64::from(ms).saturating_mul(1_000)));
    for line in &outlook.lines {
        if arguments.json {
            let mut row = serde_json::to_value(line)?;
            if let Some(row) = row.as_object_mut() {
                row.insert("warning".to_owned(), line.warning().into());
            }
            super::say(&row.to_string());
        } else {
            super::say(table(line, arguments.blocks).trim_end());
            super::say("");
        }
    }
    if outlook.lines.is_empty() && !arguments.json {
        super::say("no line is polled: the configuration has no Modbus link");
    }
    let too_slow = outlook.lines.iter().any(|line| line.verdict == Verdict::TooSlow);
    Ok(if too_slow { ExitCode::from(Exit::Problems as u8) } else { ExitCode::SUCCESS })
}

/// A line for people.
fn table(line: &Line, blocks: bool) -> String {
    let mut text = format!("line {} ({} {}), assumed: {}\n", line.link, line.driver, line.transport, line.assumed);
    let width = line.devices.iter().map(|device| device.device.chars().count()).chain([6]).max().unwrap_or(6);
    let _ = writeln!(
        text,
        "  {:width$} {:>4} {:>10} {:>8} {:>9} {:>10} {:>9} {:>8} {:>10}",
        "device", "unit", "each", "requests", "registers", "read along", "bytes out", "bytes in", "time"
    );
    for device in &line.devices {
        let _ = writeln!(
            text,
            "  {:width$} {:>4} {:>7} ms {:>8} {:>9} {:>10} {:>9} {:>8} {:>10}",
            device.device,
            device.unit_id,
            device.interval_ms,
            device.requests,
            device.wanted,
            device.read_along,
            device.bytes_out,
            device.bytes_in,
            milliseconds(device.time_us),
        );
        for (function, address, quantity) in device.blocks.iter().filter(|_| blocks) {
            let _ = writeln!(text, "      function {function}, address {address} (0x{address:04X}), {quantity}");
        }
        for refused in &device.refused {
            let _ = writeln!(text, "      cannot be read: {refused}");
        }
    }
    let _ = writeln!(
        text,
        "  together {}.{:03} requests/s, {} bytes/s, {}.{} % of the time busy",
        line.requests_per_1000_s / 1_000,
        line.requests_per_1000_s % 1_000,
        line.bytes_per_s,
        line.busy_permille / 10,
        line.busy_permille % 10,
    );
    if let Some(warning) = line.warning() {
        let _ = writeln!(text, "  WARNING: {warning}");
    }
    text
}

#[cfg(test)]
mod tests {
    use parkgate_collector::commission::outlook::DeviceCost;

    use super::*;

    #[test]
    fn a_line_as_a_person_sees_it() {
        let device = DeviceCost {
            device: "meter-1".to_owned(),
            unit_id: 3,
            interval_ms: 1_000,
            requests: 2,
            wanted: 30,
            read_along: 22,
            bytes_out: 24,
            bytes_in: 122,
            time_us: 20_000,
            blocks: vec![(4, 0, 18), (4, 52, 34)],
            refused: Vec::new(),
        };
        let line = Line {
            link: "hall".to_owned(),
            driver: "modbus_tcp",
            transport: "192.0.2.10:502".to_owned(),
            assumed: "10.0 ms from request to answer".to_owned(),
            devices: vec![device],
            requests_per_1000_s: 2_000,
            bytes_per_s: 146,
            busy_permille: 20,
            verdict: Verdict::Fits,
        };
        let expected = "\
line hall (modbus_tcp 192.0.2.10:502), assumed: 10.0 ms from request to answer
  device  unit       each requests registers read along bytes out bytes in       time
  meter-1    3    1000 ms        2        30         22        24      122    20.0 ms
      function 4, address 0 (0x0000), 18
      function 4, address 52 (0x0034), 34
  together 2.000 requests/s, 146 bytes/s, 2.0 % of the time busy
";
        assert_eq!(table(&line, true), expected);
    }
}
