//! `parkgate ledger`: the ledgers of energy quota and pollutant totals. Works beside a running gateway.
//!
//! `list --json` keys: `number`, `entry`, `date`, `corrects`, those of the kind of entry, `document`, `author`, `time`, `counts`,
//! `returned`, `started`. `balance --json` keys: `ledger` (`energy`: `year`, `allowance_tce`, `replacement_tce`, `reserved_tce`,
//! `left_tce`; `pollutant`: `pollutant`, `zh`, `on`, `verified_t`, `used_t`, `expired_t`, `left_t`, `claimed_t`).

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use parkgate_collector::catalogue::Disk;
use parkgate_collector::clock::{Clock as _, SystemClock};
use parkgate_rules::ledger::{Draft, entry};
use parkgate_rules::period::Day;
use parkgate_rules::review::read::tree;
use serde_json::Value;

use super::DataArguments;
use crate::access::who;
use crate::app::{self, Exit};
use crate::ledger::{Ledger, LedgerError, enter, rows};
use crate::rollup::ParkZone;
use crate::store::{DataDirectory, Facts};

/// Arguments of `ledger`.
#[derive(Debug, Args)]
pub struct LedgerArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: LedgerCommand,
}

/// What `ledger` can do.
#[derive(Debug, Subcommand)]
pub enum LedgerCommand {
    /// Enter what a file says, all or nothing: one entry, or a list of them under `entries`. Exit 1 when it is refused.
    ///
    /// An entry is a table with `entry` (allowance, replacement, reservation, started, source, use, lapse, cancellation,
    /// withdrawal), `date`, `document`, and what belongs to its kind; `corrects` names an entry that it puts right.
    /// `parkgate ledger schema` prints the form.
    Add {
        /// Where.
        #[command(flatten)]
        data: DataArguments,
        /// TOML or JSON; `-` for standard input.
        file: PathBuf,
        /// The document it rests on, where the file names none.
        #[arg(long)]
        document: Option<String>,
        /// Date, where the file has none.
        #[arg(long)]
        date: Option<Day>,
        /// Print one JSON object per entry.
        #[arg(long)]
        json: bool,
    },
    /// Print all entries, those that count no more included.
    List {
        /// Where.
        #[command(flatten)]
        data: DataArguments,
        /// Only about this pollutant, `energy`, or project.
        #[arg(long)]
        about: Option<String>,
        /// Print one JSON object per line.
        #[arg(long)]
        json: bool,
    },
    /// Print what is left.
    Balance {
        /// Where.
        #[command(flatten)]
        data: DataArguments,
        /// On this day; today in the park's zone unless given.
        #[arg(long, value_name = "DATE")]
        on: Option<Day>,
        /// Print one JSON object per line.
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schema of an entry.
    Schema,
}

/// `parkgate ledger`.
pub fn ledger(arguments: &LedgerArguments) -> Result<ExitCode> {
    match &arguments.command {
        LedgerCommand::Add { data, file, document, date, json } => add(data, file, document.as_deref(), *date, *json),
        LedgerCommand::List { data, about, json } => {
            print(&rows::rows(&read(data)?, about.as_deref()), *json, rows::line)?;
            Ok(ExitCode::SUCCESS)
        }
        LedgerCommand::Balance { data, on, json } => {
            let on = match on {
                Some(on) => *on,
                None => today(data)?,
            };
            print(&rows::balances(&read(data)?, on), *json, rows::balance_line)?;
            Ok(ExitCode::SUCCESS)
        }
        LedgerCommand::Schema => {
            super::say(&serde_json::to_string_pretty(&entry::schema())?);
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn add(data: &DataArguments, file: &Path, document: Option<&str>, date: Option<Day>, json: bool) -> Result<ExitCode> {
    let text = if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("standard input cannot be read")?;
        text
    } else {
        std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?
    };
    let drafts = match drafts(&text, document, date) {
        Ok(drafts) => drafts,
        Err(problem) => {
            super::complain_text(&format!("{}: {problem}; nothing was entered", file.display()));
            return Ok(ExitCode::from(Exit::Problems as u8));
        }
    };
    match enter(&data.facts()?, &drafts, &who::user(), SystemClock::new().now().utc) {
        Ok(entered) => {
            let numbers: Vec<i64> = entered.iter().map(|row| row.entry.id).collect();
            let all = rows::rows(&read(data)?, None);
            let entered: Vec<Value> =
                all.into_iter().filter(|row| row["number"].as_i64().is_some_and(|number| numbers.contains(&number))).collect();
            print(&entered, json, rows::line)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(LedgerError::Refused(refusal)) => {
            super::complain_text(&format!("{}: {refusal}; nothing was entered", file.display()));
            Ok(ExitCode::from(Exit::Problems as u8))
        }
        Err(error) => Err(error.into()),
    }
}

/// The entries of a file: one, or those under `entries`, or a JSON list.
fn drafts(text: &str, document: Option<&str>, date: Option<Day>) -> Result<Vec<Draft>, String> {
    let tree = tree(text).map_err(|problem| problem.to_string())?;
    let (items, is_list) = match (&tree, tree.get("entries")) {
        (_, Some(Value::Array(items))) | (Value::Array(items), _) => (items.as_slice(), true),
        _ => (std::slice::from_ref(&tree), false),
    };
    let read = |(place, item): (usize, &Value)| {
        let at = if is_list { format!("entry {}: ", place.saturating_add(1)) } else { String::new() };
        Draft::read(item, document, date).map_err(|error| format!("{at}{error}"))
    };
    items.iter().enumerate().map(read).collect()
}

/// The ledgers as they stand.
fn read(data: &DataArguments) -> Result<Ledger> {
    let directory = DataDirectory::open_read_only(&data.directory()?)?;
    let facts = Facts::open_read_only(&directory.facts())?;
    Ledger::read(&facts).context("the ledgers cannot be read; start the gateway once if facts.db is older than they are")
}

/// Today in the park's zone; UTC when only a data directory is named.
fn today(data: &DataArguments) -> Result<Day> {
    let zone = match app::load(&data.config, &Disk) {
        Ok(loaded) => ParkZone::new(&loaded.draft.build(&mut parkgate_collector::catalogue::MemoryRegistry::default())?.park.time_zone),
        Err(_) if data.data.is_some() => ParkZone::new("UTC"),
        Err(error) => return Err(error),
    };
    let now = zone.write(SystemClock::new().now().utc);
    now.get(..10).and_then(|day| day.parse().ok()).context("the clock shows no date")
}

fn print(rows: &[Value], json: bool, line: fn(&Value) -> String) -> Result<()> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    for row in rows {
        let written = if json { writeln!(out, "{row}") } else { writeln!(out, "{}", line(row)) };
        match written {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            other => other?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_entry_a_list_or_a_table_of_them() {
        let toml = "entry = \"allowance\"\nyear = 2026\namount_tce = 5000\n";
        let json = r#"[{"entry": "lapse", "project": "p"}, {"entry": "lapse", "project": "q", "date": "2026-01-02", "document": "No. 2"}]"#;
        let table = "[[entries]]\nentry = \"lapse\"\nproject = \"p\"\n";
        let day = "2026-03-01".parse().ok();
        let count = |text: &str| drafts(text, Some("No. 1"), day).unwrap().len();
        assert_eq!((count(toml), count(json), count(table)), (1, 2, 1));
        assert_eq!(drafts(json, Some("No. 1"), day).unwrap()[1].document, "No. 2");
        assert!(drafts(json, None, day).unwrap_err().starts_with("entry 1: `document` is missing"));
        assert!(drafts("entry = ", None, None).unwrap_err().contains("is not TOML"));
    }
}
