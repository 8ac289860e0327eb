//! The commands beside `run` and `demo`: they read files and print; none needs the gateway to run.
//!
//! `check` and `schema` do no I/O but reading the files named. `rejects list` and `journal` open the data directory
//! read-only beside a running gateway. `rejects replay` asks the running gateway over its control socket, else takes the
//! lock itself.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};

use crate::settings::GatewaySettings;

/// Reads every meter of an industrial park, keeps a durable record, shows it.
#[derive(Debug, Parser)]
#[command(name = "parkgate", version, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway of a park.
    Run(RunArguments),
    /// Run a simulated park: broker, meters and gateway in one process, with 400 days of history.
    #[cfg(feature = "demo")]
    Demo(DemoArguments),
    /// Check configuration files without touching meters or data; exit 0 fine, 1 problems, 2 could not run.
    Check(CheckArguments),
    /// Print the JSON Schema of the configuration.
    Schema,
    /// List messages that could not be read, or read them again after the configuration was mended.
    Rejects(RejectsArguments),
    /// Verify or print the journal, also beside a running gateway.
    Journal(JournalArguments),
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArguments {
    /// Main configuration file.
    #[arg(long, value_name = "FILE", default_value = "parkgate.toml")]
    pub config: PathBuf,
    /// Address of the page and the API, instead of the configured one.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<std::net::SocketAddr>,
}

/// Arguments of `demo`.
#[cfg(feature = "demo")]
#[derive(Debug, Args)]
pub struct DemoArguments {
    /// Where the demo keeps its record; a second start goes on from there.
    #[arg(long, value_name = "DIR", default_value = "data/demo")]
    pub data: PathBuf,
    /// Address of the page and the API.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8420")]
    pub listen: std::net::SocketAddr,
    /// Seed of the park: the same seed makes the same park.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Days of history to write first.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(0..=3660))]
    pub days: u32,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// Main files or device profiles.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Print one JSON object per problem instead of text.
    #[arg(long)]
    pub json: bool,
}

/// Where the data directory is.
#[derive(Clone, Debug, Args)]
pub struct DataArguments {
    /// Main configuration file, which names the data directory.
    #[arg(long, value_name = "FILE", default_value = "parkgate.toml")]
    pub config: PathBuf,
    /// The data directory itself, instead of the configured one.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// Arguments of `rejects`.
#[derive(Debug, Args)]
pub struct RejectsArguments {
    /// What to do with them.
    #[command(subcommand)]
    pub command: RejectsCommand,
}

/// What `rejects` can do.
#[derive(Debug, Subcommand)]
pub enum RejectsCommand {
    /// Print rejected input, newest last.
    List {
        /// Where.
        #[command(flatten)]
        data: DataArguments,
        /// Only those of this device.
        #[arg(long)]
        device: Option<String>,
        /// Print one JSON object per line.
        #[arg(long)]
        json: bool,
    },
    /// Read rejected messages again by the present configuration; what can be read now becomes durable.
    Replay {
        /// Where.
        #[command(flatten)]
        data: DataArguments,
        /// Only those of this device.
        #[arg(long)]
        device: Option<String>,
    },
}

/// Arguments of `journal`.
#[derive(Debug, Args)]
pub struct JournalArguments {
    /// What to do with it.
    #[command(subcommand)]
    pub command: JournalCommand,
}

/// What `journal` can do.
#[derive(Debug, Subcommand)]
pub enum JournalCommand {
    /// Read every entry and check it; exit 1 when something is damaged.
    Verify {
        /// Where.
        #[command(flatten)]
        data: DataArguments,
    },
    /// Print entries, one JSON object per line.
    Dump {
        /// Where.
        #[command(flatten)]
        data: DataArguments,
        /// First sequence number; 0 for the oldest there is.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// Most entries to print.
        #[arg(long, default_value_t = 1000)]
        limit: usize,
    },
}
