//! `parkgate limits add|list|end` and `parkgate marks add|list|end|withdraw`: what people enter about outlets.
//!
//! Entries go straight into `facts.db`, beside a running gateway too, which notices them within about a second. The author
//! is the user of the operating system. A limit or mark is never changed: it is ended or withdrawn, and a new one entered.
//!
//! `--json` prints one object a line, with the keys of `GET /api/v1/limits` and `GET /api/v1/marks`.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use parkgate_collector::clock::{Clock as _, SystemClock};
use parkgate_collector::model::UtcMillis;
use parkgate_rules::Number;
use parkgate_rules::emission::limit::{AppliesTo, Bound};
use parkgate_rules::emission::time::UtcMillis as Time;
use parkgate_rules::emission::{Averaging, Letter};
use serde::Serialize;

use super::{DataArguments, say};
use crate::access::who;
use crate::app::{Exit, Failure};
use crate::emission::entered::{Entered, enter_limit, enter_mark};
use crate::emission::{Author, HeldLimit, HeldMark, LimitStep, MarkStep, NewLimit, NewMark, Plan, Refusal};
use crate::store::Facts;

/// Arguments of `limits`.
#[derive(Debug, Args)]
pub struct LimitsArguments {
    /// What to do with them.
    #[command(subcommand)]
    pub command: LimitsCommand,
}

/// What `limits` can do.
#[derive(Debug, Subcommand)]
pub enum LimitsCommand {
    /// Enter a limit; periods that are over are judged by it too.
    Add(LimitArguments),
    /// List all limits, ended ones included.
    List(ListArguments),
    /// End a limit: it is in force for periods that begin before.
    End {
        /// Where and why.
        #[command(flatten)]
        entry: EntryArguments,
        /// Id of the limit: `limit-17`.
        limit: String,
        /// From when on it is not in force: a date (its first moment in the park's zone) or a time in RFC 3339.
        #[arg(long, value_name = "TIME")]
        to: String,
    },
}

/// Arguments of `marks`.
#[derive(Debug, Args)]
pub struct MarksArguments {
    /// What to do with them.
    #[command(subcommand)]
    pub command: MarksCommand,
}

/// What `marks` can do.
#[derive(Debug, Subcommand)]
pub enum MarksCommand {
    /// Mark an outlet's data; the values stay, and do not count.
    Add(MarkArguments),
    /// List all marks, withdrawn ones included.
    List(ListArguments),
    /// End a mark that was open or had another end.
    End {
        /// Where and why.
        #[command(flatten)]
        entry: EntryArguments,
        /// Id of the mark: `mark-17`.
        mark: String,
        /// Until when it holds: a date (its first moment in the park's zone) or a time in RFC 3339.
        #[arg(long, value_name = "TIME")]
        to: String,
    },
    /// Withdraw a mark that was set in error: it holds no more, and never did.
    Withdraw {
        /// Where and why.
        #[command(flatten)]
        entry: EntryArguments,
        /// Id of the mark: `mark-17`.
        mark: String,
    },
}

/// What every entry has.
#[derive(Debug, Args)]
pub struct EntryArguments {
    /// Where.
    #[command(flatten)]
    pub data: DataArguments,
    /// The paper it rests on.
    #[arg(long)]
    pub document: Option<String>,
    /// Print a JSON object.
    #[arg(long)]
    pub json: bool,
}

/// What a list has.
#[derive(Debug, Args)]
pub struct ListArguments {
    /// Where.
    #[command(flatten)]
    pub data: DataArguments,
    /// Only of this outlet.
    #[arg(long)]
    pub outlet: Option<String>,
    /// Print one JSON object per line.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `limits add`.
#[derive(Debug, Args)]
pub struct LimitArguments {
    /// Where and why.
    #[command(flatten)]
    pub entry: EntryArguments,
    /// Id of the outlet.
    #[arg(long)]
    pub outlet: String,
    /// Id of the factor.
    #[arg(long)]
    pub factor: String,
    /// The value; a figure equal to it complies.
    #[arg(long)]
    pub value: Number,
    /// The period whose average it names: hour, day or month.
    #[arg(long, value_parser = averaging)]
    pub averaging: Averaging,
    /// Document and clause: permit number and table, or standard, edition, table.
    #[arg(long)]
    pub clause: String,
    /// In force for periods that begin then or later: a date (its first moment in the park's zone) or a time in RFC 3339.
    #[arg(long, value_name = "TIME")]
    pub from: String,
    /// In force for periods that begin before; until it is ended unless given.
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// What it looks at: converted (the concentration where nothing is converted), as_is or mass_rate.
    #[arg(long, default_value = "converted", value_parser = applies_to)]
    pub applies_to: AppliesTo,
    /// It is a lower limit: the 6 of pH 6 to 9.
    #[arg(long)]
    pub lower: bool,
    /// mg/m3, mg/L, pH or kg/h; the factor's own unless given.
    #[arg(long)]
    pub unit: Option<String>,
}

/// Arguments of `marks add`.
#[derive(Debug, Args)]
pub struct MarkArguments {
    /// Where and why.
    #[command(flatten)]
    pub entry: EntryArguments,
    /// Id of the outlet.
    #[arg(long)]
    pub outlet: String,
    /// Id of the factor, or o2, temperature, pressure, humidity, flow; all of them unless given.
    #[arg(long)]
    pub factor: Option<String>,
    /// F stopped, D fault, C calibration, M maintenance, T over range, B link lost, S set by hand.
    #[arg(long, value_parser = letter)]
    pub letter: Letter,
    /// The condition in words.
    #[arg(long, default_value = "")]
    pub condition: String,
    /// From when: a date (its first moment in the park's zone) or a time in RFC 3339.
    #[arg(long, value_name = "TIME")]
    pub from: String,
    /// Until when; until it is ended unless given.
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
}

fn averaging(text: &str) -> Result<Averaging, String> {
    let all = [Averaging::Hour, Averaging::Day, Averaging::Month];
    all.into_iter().find(|averaging| averaging.name() == text).ok_or_else(|| "is hour, day or month".into())
}

fn applies_to(text: &str) -> Result<AppliesTo, String> {
    match text {
        "converted" => Ok(AppliesTo::Converted),
        "as_is" => Ok(AppliesTo::AsIs),
        "mass_rate" => Ok(AppliesTo::MassRate),
        _ => Err("is converted, as_is or mass_rate".into()),
    }
}

fn letter(text: &str) -> Result<Letter, String> {
    Letter::parse(text).ok_or_else(|| "is one of F, D, C, M, T, B, S".into())
}

/// `parkgate limits`.
pub fn limits(arguments: &LimitsArguments) -> Result<ExitCode> {
    match &arguments.command {
        LimitsCommand::Add(new) => {
            let desk = Desk::open(&new.entry)?;
            let step = LimitStep::Add(NewLimit {
                outlet: new.outlet.clone(),
                factor: new.factor.clone(),
                averaging: new.averaging,
                value: new.value.clone(),
                unit: new.unit.clone(),
                applies_to: new.applies_to,
                bound: if new.lower { Bound::Lower } else { Bound::Upper },
                clause: new.clause.clone(),
                valid_from: desk.time(&new.from)?,
                valid_to: new.to.as_deref().map(|to| desk.time(to)).transpose()?,
            });
            desk.limit(step)?;
        }
        LimitsCommand::End { entry, limit, to } => {
            let desk = Desk::open(entry)?;
            let valid_to = desk.time(to)?;
            desk.limit(LimitStep::End { limit: limit.clone(), valid_to })?;
        }
        LimitsCommand::List(list) => {
            let held = held(list)?;
            for limit in held.limits().filter(|held| list.outlet.as_ref().is_none_or(|outlet| *outlet == held.limit.outlet)) {
                show(limit, list.json, told_limit);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `parkgate marks`.
pub fn marks(arguments: &MarksArguments) -> Result<ExitCode> {
    match &arguments.command {
        MarksCommand::Add(new) => {
            let desk = Desk::open(&new.entry)?;
            let step = MarkStep::Add(NewMark {
                outlet: new.outlet.clone(),
                factor: new.factor.clone(),
                letter: new.letter,
                condition: new.condition.clone(),
                from: desk.time(&new.from)?,
                to: new.to.as_deref().map(|to| desk.time(to)).transpose()?,
            });
            desk.mark(&step)?;
        }
        MarksCommand::End { entry, mark, to } => {
            let desk = Desk::open(entry)?;
            let to = desk.time(to)?;
            desk.mark(&MarkStep::End { mark: mark.clone(), to })?;
        }
        MarksCommand::Withdraw { entry, mark } => Desk::open(entry)?.mark(&MarkStep::Withdraw { mark: mark.clone() })?,
        MarksCommand::List(list) => {
            let held = held(list)?;
            for mark in held.marks().filter(|held| list.outlet.as_ref().is_none_or(|outlet| *outlet == held.mark.outlet)) {
                show(mark, list.json, told_mark);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Where entries are made.
struct Desk {
    facts: Facts,
    plan: Plan,
    author: Author,
    json: bool,
}

impl Desk {
    fn open(entry: &EntryArguments) -> Result<Self> {
        let loaded = entry.data.loaded()?;
        let facts = entry.data.facts()?;
        // Never committed: numbers of points that are new here are not the gateway's.
        let catalogue = Arc::new(loaded.draft.build(&mut facts.registry()?)?);
        let plan = Plan::new(&catalogue, &loaded.gateway.outlet, &loaded.gateway.abatement);
        let author = Author { name: who::user(), document: entry.document.clone() };
        Ok(Self { facts, plan, author, json: entry.json })
    }

    fn time(&self, text: &str) -> Result<Time> {
        match self.plan.zone.read(text) {
            Some(time) => Ok(Time(time.0)),
            None => bail!("`{text}` is no time: write 2026-11-01, or 2026-11-01T08:00:00+08:00"),
        }
    }

    fn limit(&self, step: LimitStep) -> Result<()> {
        show(&taken(enter_limit(&self.facts, &self.plan, step, &self.author, now())?)?, self.json, told_limit);
        Ok(())
    }

    fn mark(&self, step: &MarkStep) -> Result<()> {
        show(&taken(enter_mark(&self.facts, &self.plan, step, &self.author, now())?)?, self.json, told_mark);
        Ok(())
    }
}

fn now() -> UtcMillis {
    SystemClock::new().now().utc
}

/// What was entered; a refusal ends the command with code 1.
fn taken<T>(entered: Result<T, Refusal>) -> Result<T> {
    entered.map_err(|refusal| Failure { exit: Exit::Problems, message: refusal.to_string() }.into())
}

/// All that holds.
fn held(list: &ListArguments) -> Result<Entered> {
    let directory = crate::store::DataDirectory::open_read_only(&list.data.directory()?)?;
    let facts = Facts::open_read_only(&directory.facts())?;
    let mut held = Entered::default();
    held.refresh(&facts)?;
    Ok(held)
}

fn show<T: Serialize>(held: &T, json: bool, told: impl Fn(&T) -> String) {
    if json { say(&serde_json::to_string(held).unwrap_or_default()) } else { say(&told(held)) }
}

fn told_limit(held: &HeldLimit) -> String {
    let limit = &held.limit;
    let side = match limit.bound {
        Bound::Upper => "at most",
        Bound::Lower => "at least",
    };
    let what = match limit.applies_to {
        AppliesTo::Converted => "converted",
        AppliesTo::AsIs => "as is",
        AppliesTo::MassRate => "mass rate",
    };
    let to = limit.valid_to.map_or_else(|| "until ended".to_owned(), |to| format!("to {to}"));
    let ended = held.ended_by.as_ref().map(|said| format!(", ended by {} at {}", said.author, said.time)).unwrap_or_default();
    format!(
        "{} {} {} {}: {side} {} {} ({what}), from {} {to}; {}; by {}{ended}",
        limit.id,
        limit.outlet,
        limit.factor,
        limit.averaging.name(),
        limit.value,
        limit.unit,
        limit.valid_from,
        limit.clause,
        limit.author,
    )
}

fn told_mark(held: &HeldMark) -> String {
    let mark = &held.mark;
    let to = mark.to.map_or_else(|| "until ended".to_owned(), |to| format!("to {to}"));
    let factor = mark.factor.as_deref().unwrap_or("all");
    let gone = held.withdrawn_by.as_ref().map(|said| format!(", WITHDRAWN by {} at {}", said.author, said.time)).unwrap_or_default();
    let condition = if mark.condition.is_empty() { String::new() } else { format!(" {}", mark.condition) };
    format!(
        "{} {} {factor} {}{condition}: from {} {to}; by {} at {}{gone}",
        mark.id, mark.outlet, mark.letter, mark.from, mark.author, mark.set_at
    )
}
