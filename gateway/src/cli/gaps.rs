//! `parkgate gaps list|forget`: what Modbus devices refused when it was read along with their points, so that it is read
//! in pieces. After a meter was exchanged or got other firmware, what was learned about it is forgotten, and asked again.
//!
//! `list` reads the file beside a running gateway. `forget` asks the running gateway over its control socket, whose line
//! reads the device as if nothing were known of it from the next poll on; with none running it takes the lock on the data
//! directory itself.
//!
//! `--json` prints one object a line: the fields of [`GapRow`].

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use parkgate_collector::driver::modbus::learned::Learned;

use super::{DataArguments, say};
use crate::app::{Exit, Failure};
use crate::control::{Answer, Request};
use crate::gaps::{GapRow, forgotten, listed};
use crate::store::DataDirectory;

/// Arguments of `gaps`.
#[derive(Debug, Args)]
pub struct GapsArguments {
    /// What to do with them.
    #[command(subcommand)]
    pub command: GapsCommand,
}

/// What `gaps` can do.
#[derive(Debug, Subcommand)]
pub enum GapsCommand {
    /// List what devices refused: registers, and since when they are not read along.
    List {
        /// Where.
        #[command(flatten)]
        data: DataArguments,
        /// Only of this device.
        #[arg(long)]
        device: Option<String>,
        /// Print one JSON object per line.
        #[arg(long)]
        json: bool,
    },
    /// Forget what one device refused: it is asked again from its next poll on. Exit 1 when nothing was known of it.
    Forget {
        /// Where.
        #[command(flatten)]
        data: DataArguments,
        /// Stable id of the device.
        #[arg(value_name = "DEVICE")]
        device: String,
        /// Print what was forgotten, one JSON object per line.
        #[arg(long)]
        json: bool,
    },
}

/// `parkgate gaps`.
pub fn gaps(arguments: &GapsArguments) -> Result<ExitCode> {
    match &arguments.command {
        GapsCommand::List { data, device, json } => {
            let mut rows = listed(&DataDirectory::open_read_only(&data.directory()?)?)?;
            rows.retain(|row| device.as_ref().is_none_or(|device| *device == row.device));
            if rows.is_empty() && !*json {
                say("no device is known to refuse a read");
            }
            show(&rows, *json)?;
        }
        GapsCommand::Forget { data, device, json } => {
            let directory = data.directory()?;
            let rows = match super::ask(&directory, &Request::ForgetGaps { device: device.clone() })? {
                Some(Answer::Forgotten { gaps }) => gaps,
                Some(_) => bail!("the running gateway gave the answer to another question"),
                None => {
                    // The lock keeps a gateway from starting meanwhile.
                    DataDirectory::open_read_only(&directory)?;
                    let directory = DataDirectory::open_exclusive(&directory)?;
                    listed(&directory)?;
                    forgotten(&Learned::open(directory.learned()), device)?
                }
            };
            if rows.is_empty() {
                let message = format!("nothing is known that device `{device}` refuses; `parkgate gaps list` shows of which it is");
                return Err(Failure { exit: Exit::Problems, message }.into());
            }
            if !*json {
                say(&format!("forgotten, and asked again from the next poll of `{device}` on:"));
            }
            show(&rows, *json)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show(rows: &[GapRow], json: bool) -> Result<()> {
    for row in rows {
        if json {
            say(&serde_json::to_string(row)?);
        } else {
            let since = row.since.as_ref().map_or_else(String::new, |since| format!(", since {since}"));
            say(&format!("{} (unit {}): {}{since}", row.device, row.unit_id, row.what));
        }
    }
    Ok(())
}
