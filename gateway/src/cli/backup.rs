//! `parkgate backup` and `parkgate restore`: see [`crate::backup`].
//!
//! With `--json` each prints one object: `backup`: `folder`, `park`, `time`, `journal_position`, `files`, `bytes`,
//! `copied_files`, `copied_bytes`, `warnings`; `--verify` and `restore`: `folder`, `park`, `time`, `files`, `bytes`,
//! `damaged`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use parkgate_collector::clock::{Clock as _, SystemClock};
use parkgate_collector::journal::Sequence;
use serde_json::json;

use super::{DataArguments, complain_text, say};
use crate::app::Exit;
use crate::backup::{self, Ask, BackupError, Manifest};
use crate::control::{self, Answer, Request};

/// Arguments of `backup`.
#[derive(Debug, Args)]
pub struct BackupArguments {
    /// Folder of the backup; a second one into the same folder copies only what changed.
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// Where the record is.
    #[command(flatten)]
    pub data: DataArguments,
    /// Make no backup: check the one that is there, file by file; exit 1 when something is damaged.
    #[arg(long, conflicts_with = "data")]
    pub verify: bool,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `restore`.
#[derive(Debug, Args)]
pub struct RestoreArguments {
    /// Folder of the backup.
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// The data directory to make: an empty or a new folder.
    #[arg(long, value_name = "DIR", required_unless_present = "verify_only")]
    pub data: Option<PathBuf>,
    /// Restore nothing: check the backup, file by file; exit 1 when something is damaged.
    #[arg(long, conflicts_with = "data")]
    pub verify_only: bool,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

/// `parkgate backup`.
pub fn backup(arguments: &BackupArguments) -> Result<ExitCode> {
    if arguments.verify {
        return verify(&arguments.folder, arguments.json);
    }
    let data = arguments.data.directory()?;
    let now = SystemClock::new().now().utc;
    let report = backup::make(&data, &arguments.folder, now, &|ask| ask_gateway(&data, ask))?;
    let manifest = &report.manifest;
    if arguments.json {
        say(&json!({
            "folder": arguments.folder, "park": manifest.park, "time": manifest.time, "journal_position": manifest.journal_position,
            "files": manifest.files.len(), "bytes": manifest.bytes(), "copied_files": report.copied,
            "copied_bytes": report.copied_bytes, "warnings": report.warnings,
        })
        .to_string());
    } else {
        for warning in &report.warnings {
            complain_text(warning);
        }
        let position = manifest.journal_position.map(|position| format!(", up to journal entry {position}")).unwrap_or_default();
        say(&format!(
            "{} backed up into {}: {} files of {} bytes{position}; {} files of {} bytes were copied, the others were there",
            data.display(),
            arguments.folder.display(),
            manifest.files.len(),
            manifest.bytes(),
            report.copied,
            report.copied_bytes
        ));
    }
    Ok(if report.warnings.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(Exit::Problems as u8) })
}

/// `parkgate restore`.
pub fn restore(arguments: &RestoreArguments) -> Result<ExitCode> {
    let Some(data) = &arguments.data else { return verify(&arguments.folder, arguments.json) };
    match backup::restore(&arguments.folder, data) {
        Ok(manifest) => {
            if arguments.json {
                say(&of(&arguments.folder, &manifest, &[]));
            } else {
                let (files, bytes) = (manifest.files.len(), manifest.bytes());
                say(&format!("{} restored as of {}: {files} files of {bytes} bytes, each as it was", data.display(), manifest.time));
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(error @ BackupError::Damaged(_)) => {
            complain_text(&error.to_string());
            Ok(ExitCode::from(Exit::Problems as u8))
        }
        Err(error) => Err(error.into()),
    }
}

fn verify(folder: &Path, json: bool) -> Result<ExitCode> {
    let (manifest, problems) = backup::verify(folder).context("the backup cannot be checked")?;
    if json {
        say(&of(folder, &manifest, &problems));
    } else {
        problems.iter().for_each(|problem| say(&format!("DAMAGED: {problem}")));
        let verdict = if problems.is_empty() { "sound" } else { "DAMAGED" };
        say(&format!("{verdict}: backup of {}, {} files of {} bytes", manifest.time, manifest.files.len(), manifest.bytes()));
    }
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(Exit::Problems as u8) })
}

fn of(folder: &Path, manifest: &Manifest, damaged: &[String]) -> String {
    json!({
        "folder": folder, "park": manifest.park, "time": manifest.time, "files": manifest.files.len(), "bytes": manifest.bytes(),
        "damaged": damaged,
    })
    .to_string()
}

fn ask_gateway(data: &Path, ask: Ask) -> Result<Option<Sequence>, BackupError> {
    let request = Request::Position { checkpoint: ask == Ask::Checkpoint };
    match control::ask(data, &request).map_err(|error| BackupError::Gateway(error.to_string()))? {
        Some(Answer::Position { durable }) => Ok(Some(Sequence(durable))),
        Some(Answer::Error { error }) => Err(BackupError::Gateway(error)),
        Some(other) => Err(BackupError::Gateway(format!("it answered {other:?}"))),
        None => Ok(None),
    }
}
