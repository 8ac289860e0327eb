//! `parkgate changes list`: who changed what and when.
//!
//! JSON keys: `id`, `time`, `who`, `what` (`token_created`, `token_revoked`, `configuration_changed`), `subject`, `old`,
//! `new` (both text or `null`).

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use serde_json::json;

use super::DataArguments;
use crate::store::{DataDirectory, Facts};

/// Arguments of `changes`.
#[derive(Debug, Args)]
pub struct ChangesArguments {
    /// What to do with them.
    #[command(subcommand)]
    pub command: ChangesCommand,
}

/// What `changes` can do.
#[derive(Debug, Subcommand)]
pub enum ChangesCommand {
    /// Print every change of tokens and configuration, the oldest first.
    List {
        /// Where.
        #[command(flatten)]
        data: DataArguments,
        /// Print one JSON object per line.
        #[arg(long)]
        json: bool,
    },
}

/// `parkgate changes`.
pub fn changes(arguments: &ChangesArguments) -> Result<ExitCode> {
    let ChangesCommand::List { data, json } = &arguments.command;
    let directory = DataDirectory::open_read_only(&data.directory()?)?;
    let facts = Facts::open_read_only(&directory.facts())?;
    let changes = facts.changes(None).context("facts.db has no changes yet, or they cannot be read; start the gateway once")?;
    let mut out = std::io::stdout().lock();
    for change in changes {
        if *json {
            let line = json!({
                "id": change.id,
                "time": change.time.to_string(),
                "who": change.who,
                "what": change.what,
                "subject": change.subject,
                "old": change.old,
                "new": change.new,
            });
            writeln!(out, "{line}")?;
        } else {
            writeln!(out, "{} {} {}: {} {}", change.id, change.time, change.who, change.what.words(), change.subject)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
