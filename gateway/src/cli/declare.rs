//! `parkgate declare`: figures that no meter has, entered from a CSV file, listed with their history.
//!
//! `list --json` keys: `figure`, `subject`, `period`, `value` (in `unit`; null for one taken back), `unit`, `given`,
//! `given_unit`, `document`, `note`, `author`, `time`, `id`, `in_force`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use parkgate_collector::catalogue::{Catalogue, Disk, MemoryRegistry};
use parkgate_collector::clock::{Clock as _, SystemClock};
use serde_json::json;

use super::DataArguments;
use crate::access::who;
use crate::app::{self, Exit};
use crate::indicator::declare::{self, COLUMNS, Checked, Declaration, Declarations, Row, RowError};
use crate::indicator::figures::{self, FIGURES, Per, Values, Whose};
use crate::store::{DataDirectory, Facts};
use crate::transfer::csv;

/// Arguments of `declare`.
#[derive(Debug, Args)]
pub struct DeclareArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: DeclareCommand,
}

/// What `declare` can do.
#[derive(Debug, Subcommand)]
pub enum DeclareCommand {
    /// Enter the rows of a CSV file, all or none; works beside a running gateway.
    Import {
        /// Where.
        #[command(flatten)]
        data: DataArguments,
        /// The file: UTF-8, with the columns that `template` prints.
        file: PathBuf,
        /// Only check the file.
        #[arg(long)]
        check: bool,
        /// Print JSON: the outcome, or one object per wrong row.
        #[arg(long)]
        json: bool,
    },
    /// Enter one figure; works beside a running gateway.
    Add {
        /// Where.
        #[command(flatten)]
        data: DataArguments,
        /// Figure, `revenue`; `template` lists all.
        figure: String,
        /// Id of the enterprise, or `park`.
        subject: String,
        /// Year or month, 2025, 2025-06.
        period: String,
        /// Decimal, or `withdrawn` to take the figure back.
        #[arg(allow_negative_numbers = true)]
        value: String,
        /// Unit; that of the figure unless given.
        #[arg(long, default_value = "")]
        unit: String,
        /// The paper it rests on.
        #[arg(long)]
        document: String,
        /// Anything else.
        #[arg(long, default_value = "")]
        note: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print the figures in force.
    List {
        /// Where.
        #[command(flatten)]
        data: DataArguments,
        /// Only this figure.
        #[arg(long)]
        figure: Option<String>,
        /// Only of this enterprise, or `park`.
        #[arg(long)]
        subject: Option<String>,
        /// Also what was corrected or taken back.
        #[arg(long)]
        history: bool,
        /// Print one JSON object per line.
        #[arg(long)]
        json: bool,
    },
    /// Print a CSV file with a row per figure, to be filled in.
    Template {
        /// Print what can be declared as one JSON object per line.
        #[arg(long)]
        json: bool,
    },
}

/// `parkgate declare`.
pub fn declare(arguments: &DeclareArguments) -> Result<ExitCode> {
    match &arguments.command {
        DeclareCommand::Import { data, file, check, json } => import(data, file, *check, *json),
        DeclareCommand::Add { data, figure, subject, period, value, unit, document, note, json } => {
            let [figure, subject, period, value] = [figure, subject, period, value].map(Clone::clone);
            let (unit, document, note) = (unit.clone(), document.clone(), note.clone());
            let row = Row { figure, subject, period, value, unit, document, note };
            match declare::check(&configured(data)?, &[(1, row)]) {
                Ok(rows) => enter(data, &rows, *json),
                Err(errors) => complain(Path::new("arguments"), &errors, *json),
            }
        }
        DeclareCommand::List { data, figure, subject, history, json } => {
            let directory = DataDirectory::open_read_only(&data.directory()?)?;
            let facts = Facts::open_read_only(&directory.facts())?;
            let declarations = Declarations::read(&facts).context("facts.db has no declarations yet; start the gateway once")?;
            list(&declarations, figure.as_deref(), subject.as_deref(), *history, *json)
        }
        DeclareCommand::Template { json } => template(*json),
    }
}

fn import(data: &DataArguments, file: &Path, check_only: bool, json: bool) -> Result<ExitCode> {
    let bytes = std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let catalogue = configured(data)?;
    let rows = match declare::read_csv(&bytes).and_then(|rows| declare::check(&catalogue, &rows)) {
        Ok(rows) => rows,
        Err(errors) => return complain(file, &errors, json),
    };
    if check_only {
        super::say(&if json {
            json!({ "rows": rows.len() }).to_string()
        } else {
            format!("{}: {} rows, all fine", file.display(), rows.len())
        });
        return Ok(ExitCode::SUCCESS);
    }
    enter(data, &rows, json)
}

/// The configured park. Only its enterprises are looked up: numbers of points do not matter.
fn configured(data: &DataArguments) -> Result<Catalogue> {
    Ok(app::load(&data.config, &Disk)?.draft.build(&mut MemoryRegistry::default())?)
}

fn enter(data: &DataArguments, rows: &[Checked], json: bool) -> Result<ExitCode> {
    let outcome = declare::enter(&data.facts()?, rows, &who::user(), SystemClock::new().now().utc)?;
    super::say(&if json {
        serde_json::to_string(&outcome)?
    } else {
        format!(
            "{} figures entered, {} of them in place of an earlier one; {} were in force already",
            outcome.entered, outcome.superseded, outcome.unchanged
        )
    });
    Ok(ExitCode::SUCCESS)
}

/// Tells every wrong row; nothing was entered.
fn complain(file: &Path, errors: &[RowError], json: bool) -> Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    for error in errors {
        if json {
            let mut object = serde_json::to_value(error)?;
            if let Some(object) = object.as_object_mut() {
                object.insert("file".into(), file.display().to_string().into());
            }
            writeln!(out, "{object}")?;
        } else {
            let column = if error.column.is_empty() { String::new() } else { format!("{}: ", error.column) };
            writeln!(out, "{}:{}: {column}{}", file.display(), error.line, error.problem)?;
        }
    }
    super::complain_text(&format!("{}: {} problems; nothing was entered", file.display(), errors.len()));
    Ok(ExitCode::from(Exit::Problems as u8))
}

fn list(declarations: &Declarations, figure: Option<&str>, subject: Option<&str>, history: bool, json: bool) -> Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    for (key, all) in declarations.all() {
        if figure.is_some_and(|figure| figure != key.figure) || subject.is_some_and(|subject| subject != key.subject) {
            continue;
        }
        let last = all.len().saturating_sub(1);
        for (index, declaration) in all.iter().enumerate() {
            let in_force = index == last && declaration.value.is_some();
            if !in_force && !history {
                continue;
            }
            let written =
                if json { writeln!(out, "{}", row(declaration, in_force)) } else { writeln!(out, "{}", line(declaration, in_force)) };
            match written {
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
                other => other?,
            }
        }
    }
    if declarations.unreadable > 0 {
        super::complain_text(&format!("{} entries are of figures that this program does not know", declarations.unreadable));
    }
    Ok(ExitCode::SUCCESS)
}

fn row(declaration: &Declaration, in_force: bool) -> serde_json::Value {
    let Declaration { id, key, value, given, given_unit, document, note, author, time } = declaration;
    json!({
        "figure": key.figure,
        "subject": key.subject,
        "period": key.period.to_string(),
        "value": value.as_ref().map(ToString::to_string),
        "unit": figures::named(&key.figure).map(|named| named.unit).unwrap_or_default(),
        "given": given,
        "given_unit": given_unit,
        "document": document,
        "note": note,
        "author": author,
        "time": time.to_string(),
        "id": id,
        "in_force": in_force,
    })
}

fn line(declaration: &Declaration, in_force: bool) -> String {
    let Declaration { id, key, given, given_unit, document, author, time, .. } = declaration;
    let value = given.as_deref().map_or_else(|| "withdrawn".to_owned(), |given| format!("{given} {given_unit}"));
    let state = if in_force { "" } else { "  (superseded or withdrawn)" };
    format!("{} {} {}: {}  [{document}; {author}, {time}, entry {id}]{state}", key.figure, key.subject, key.period, value.trim_end())
}

/// Every figure by its full name.
fn all_figures() -> Vec<(String, &'static figures::Figure)> {
    let mut all = Vec::new();
    for figure in FIGURES {
        if figure.id.contains('*') {
            let mut keys: Vec<&str> = figures::fuels().map(|fuel| fuel.key.as_str()).collect();
            keys.dedup();
            all.extend(keys.into_iter().map(|key| (figure.id.replace('*', key), figure)));
        } else {
            all.push((figure.id.to_owned(), figure));
        }
    }
    all
}

fn template(json: bool) -> Result<ExitCode> {
    let mut text = Vec::new();
    if json {
        for (name, figure) in all_figures() {
            let Ok(named) = figures::named(&name) else { continue };
            let of = match figure.whose {
                Whose::Enterprise => "enterprise",
                Whose::Park => "park",
                Whose::Either => "enterprise or park",
            };
            let values = match figure.values {
                Values::Amount => "amount",
                Values::Signed => "signed",
                Values::Flag => "flag",
                Values::Count => "count",
            };
            let periods = if figure.per == Per::Year { "year" } else { "year or month" };
            let row = json!({ "figure": name, "zh": named.title.zh, "en": named.title.en, "unit": named.unit, "of": of, "values": values, "periods": periods });
            writeln!(text, "{row}")?;
        }
    } else {
        let mut writer = csv::writer(&mut text);
        writer.write_record(COLUMNS)?;
        for (name, figure) in all_figures() {
            let Ok(named) = figures::named(&name) else { continue };
            let subject = if figure.whose == Whose::Park { declare::PARK } else { "" };
            let note = named.title.line();
            writer.write_record([name.as_str(), subject, "", "", named.unit.as_str(), "", note.as_str()])?;
        }
        writer.flush()?;
        drop(writer);
    }
    super::say(String::from_utf8_lossy(&text).trim_end());
    Ok(ExitCode::SUCCESS)
}
