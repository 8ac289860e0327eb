//! `parkgate exchange` and `parkgate decide`: exchanges of meters, dated multipliers, and registers that fell.
//!
//! Entries go straight into `facts.db`, beside a running gateway too, which counts what they touch again within about a
//! second. Nothing entered is changed: it is undone by a further entry.
//!
//! `--json` prints one object a line, with the keys of `GET /api/v1/decisions` and `GET /api/v1/exchanges`.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use parkgate_collector::clock::{Clock as _, SystemClock};
use parkgate_rules::emission::time::UtcMillis as Time;
use serde::Serialize;

use super::{DataArguments, say};
use crate::access::who;
use crate::app::{self, Exit, Failure, ReadOnly};
use crate::rollup::decide::{self, ToDecide};
use crate::rollup::enter::{Desk, Signed};
use crate::rollup::meters::{EventKind, MeterEvent, MeterStep, Meters, NewEvent};
use crate::rollup::{ParkZone, Totals};

/// Arguments of `exchange`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct ExchangeArguments {
    /// What else to do.
    #[command(subcommand)]
    pub command: Option<ExchangeCommand>,
    /// Stable id of the meter's point.
    #[arg(required = true, value_name = "METER")]
    pub meter: Option<String>,
    /// When it was exchanged: a time in RFC 3339, or a date (its first moment in the park's zone).
    #[arg(long, required = true, value_name = "TIME")]
    pub at: Option<String>,
    /// Last register of the old meter, in the point's unit; what it counted since its last reading is lost without it.
    #[arg(long, value_name = "REGISTER")]
    pub old_final: Option<String>,
    /// First register of the new meter, in the point's unit; counting begins with its first reading without it.
    #[arg(long, value_name = "REGISTER")]
    pub new_initial: Option<String>,
    /// What registers are multiplied with from then on, on top of the configured scale; as before unless given. A
    /// multiplier that changes without a new meter: give the same register twice.
    #[arg(long, value_name = "RATIO")]
    pub multiplier: Option<String>,
    /// Where and why.
    #[command(flatten)]
    pub entry: EntryArguments,
}

/// What else `exchange` can do.
#[derive(Debug, Subcommand)]
pub enum ExchangeCommand {
    /// List exchanges, undone ones included.
    List(ListArguments),
    /// Undo an exchange that was entered in error: it never held.
    Undo(UndoArguments),
}

/// Arguments of `decide`.
#[derive(Debug, Args)]
pub struct DecideArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: DecideCommand,
}

/// What `decide` can do.
#[derive(Debug, Subcommand)]
pub enum DecideCommand {
    /// List registers that fell without a plausible wrap, about which nothing was decided; their periods are incomplete.
    List {
        /// Where, and of what.
        #[command(flatten)]
        list: ListArguments,
        /// List what was decided instead, undone decisions included.
        #[arg(long)]
        decided: bool,
    },
    /// The register wrapped: the wrapped difference counts.
    Rollover(DecisionArguments),
    /// The register was set back, and both readings are right: the pair adds nothing. What was used between them is not known,
    /// so completeness stays lower by that time, but the period is no more incomplete.
    Reset(DecisionArguments),
    /// The reading before the fall is wrong: it is left out, and the difference is formed across it.
    OldWrong(DecisionArguments),
    /// The lower reading is wrong: it is left out, and the difference is formed across it.
    NewWrong(DecisionArguments),
    /// Undo a decision: it never held.
    Undo(UndoArguments),
}

/// Arguments of a decision.
#[derive(Debug, Args)]
pub struct DecisionArguments {
    /// Stable id of the meter's point.
    #[arg(value_name = "METER")]
    pub meter: String,
    /// When the lower register was read, as `decide list` shows it.
    #[arg(value_name = "AT")]
    pub at: String,
    /// Where and why.
    #[command(flatten)]
    pub entry: EntryArguments,
}

/// What undoes something.
#[derive(Debug, Args)]
pub struct UndoArguments {
    /// Its id: `meter-17`.
    #[arg(value_name = "ID")]
    pub id: String,
    /// Where and why.
    #[command(flatten)]
    pub entry: EntryArguments,
}

/// What every entry has.
#[derive(Debug, Args)]
pub struct EntryArguments {
    /// Where.
    #[command(flatten)]
    pub data: DataArguments,
    /// Who says so; the user of the operating system unless given.
    #[arg(long)]
    pub author: Option<String>,
    /// Why, in words.
    #[arg(long)]
    pub note: Option<String>,
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
    /// Only of this point.
    #[arg(long)]
    pub point: Option<String>,
    /// Print one JSON object per line.
    #[arg(long)]
    pub json: bool,
}

/// `parkgate exchange`.
pub fn exchange(arguments: &ExchangeArguments) -> Result<ExitCode> {
    match (&arguments.command, &arguments.meter, &arguments.at) {
        (Some(ExchangeCommand::List(list)), ..) => entered(list, |kind| kind == EventKind::Exchange),
        (Some(ExchangeCommand::Undo(undo)), ..) => undone(undo),
        (None, Some(meter), Some(at)) => enter(&arguments.entry, |zone| {
            Ok(MeterStep::Add(NewEvent {
                kind: EventKind::Exchange,
                point: meter.clone(),
                at: time(zone, at)?,
                from: None,
                old_final: arguments.old_final.clone(),
                new_initial: arguments.new_initial.clone(),
                multiplier: arguments.multiplier.clone(),
                note: arguments.entry.note.clone(),
            }))
        }),
        (None, ..) => bail!("an exchange needs METER and --at"),
    }
}

/// `parkgate decide`.
pub fn decide(arguments: &DecideArguments) -> Result<ExitCode> {
    match &arguments.command {
        DecideCommand::List { list, decided: true } => entered(list, |kind| kind != EventKind::Exchange),
        DecideCommand::List { list, decided: false } => to_decide(list),
        DecideCommand::Rollover(new) => decision(new, EventKind::Rollover),
        DecideCommand::Reset(new) => decision(new, EventKind::Reset),
        DecideCommand::OldWrong(new) => decision(new, EventKind::OldWrong),
        DecideCommand::NewWrong(new) => decision(new, EventKind::NewWrong),
        DecideCommand::Undo(undo) => undone(undo),
    }
}

fn decision(new: &DecisionArguments, kind: EventKind) -> Result<ExitCode> {
    enter(&new.entry, |zone| {
        Ok(MeterStep::Add(NewEvent {
            kind,
            point: new.meter.clone(),
            at: time(zone, &new.at)?,
            from: None,
            old_final: None,
            new_initial: None,
            multiplier: None,
            note: new.entry.note.clone(),
        }))
    })
}

fn undone(undo: &UndoArguments) -> Result<ExitCode> {
    enter(&undo.entry, |_| Ok(MeterStep::Undo { event: undo.id.clone(), note: undo.entry.note.clone() }))
}

/// Enters a step and shows what became of it; a refusal ends the command with code 1.
fn enter(entry: &EntryArguments, step: impl FnOnce(&ParkZone) -> Result<MeterStep>) -> Result<ExitCode> {
    let ReadOnly { catalogue, record, .. } = app::open_read_only(&entry.data.config, entry.data.data.as_deref())?;
    let step = step(&ParkZone::new(&catalogue.park.time_zone))?;
    let facts = entry.data.facts()?;
    let author = entry.author.clone().unwrap_or_else(who::user);
    let signed = Signed { author, document: entry.document.clone(), now: SystemClock::new().now().utc };
    let desk = Desk { catalogue: &catalogue, record: &record, facts: &facts };
    let refused = |refusal: crate::rollup::enter::Refusal| Failure { exit: Exit::Problems, message: refusal.to_string() };
    let event = desk.enter(step, &signed)?.map_err(refused)?;
    show(&event, entry.json, told);
    Ok(ExitCode::SUCCESS)
}

fn entered(list: &ListArguments, wanted: impl Fn(EventKind) -> bool) -> Result<ExitCode> {
    let ReadOnly { catalogue, directory, .. } = app::open_read_only(&list.data.config, list.data.data.as_deref())?;
    let events = Meters::read_only(&catalogue, &directory)?.events();
    let of_point = |event: &&MeterEvent| list.point.as_ref().is_none_or(|point| *point == event.point);
    for event in events.iter().filter(|event| wanted(event.kind)).filter(of_point) {
        show(event, list.json, told);
    }
    Ok(ExitCode::SUCCESS)
}

fn to_decide(list: &ListArguments) -> Result<ExitCode> {
    let ReadOnly { catalogue, record, directory, .. } = app::open_read_only(&list.data.config, list.data.data.as_deref())?;
    let record = Arc::new(record);
    let totals = Totals::read_only(&catalogue, Arc::clone(&record) as _, &directory)?;
    let meters = Meters::read_only(&catalogue, &directory)?;
    let points = catalogue.points.iter().filter(|point| list.point.as_ref().is_none_or(|id| *id == point.identity.stable_id));
    for point in points {
        let due = decide::of_point(point, totals.zone(), &totals, &*record, &meters)?;
        for pair in &due.pairs {
            show(pair, list.json, told_pair);
        }
        if due.more {
            super::complain_text(&format!("{}: there are more, which come up when these are decided", point.identity.stable_id));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn time(zone: &ParkZone, text: &str) -> Result<Time> {
    match zone.read(text) {
        Some(time) => Ok(Time(time.0)),
        None => bail!("`{text}` is no time: write 2026-11-01T08:00:00+08:00, or 2026-11-01"),
    }
}

fn show<T: Serialize>(item: &T, json: bool, told: impl Fn(&T) -> String) {
    if json { say(&serde_json::to_string(item).unwrap_or_default()) } else { say(&told(item)) }
}

fn told_pair(pair: &ToDecide) -> String {
    let wrapped = pair.wrapped.as_ref().map_or_else(|| "no modulus".to_owned(), |wrapped| format!("{wrapped} if it wrapped"));
    let note = pair.note.as_ref().map(|note| format!("; {note}")).unwrap_or_default();
    format!("{} {}: {} fell to {} {} since {} ({wrapped}){note}", pair.point, pair.at, pair.old, pair.new, pair.unit, pair.from)
}

fn told(event: &MeterEvent) -> String {
    let known = |register: &Option<String>| register.clone().unwrap_or_else(|| "unknown".into());
    let multiplier = event.multiplier.as_ref().map(|ratio| format!(", multiplier {ratio}")).unwrap_or_default();
    let note = event.note.as_ref().map(|note| format!("; {note}")).unwrap_or_default();
    let gone = event.undone_by.as_ref().map(|said| format!(", UNDONE by {} at {}", said.author, said.time)).unwrap_or_default();
    format!(
        "{} {} {} at {}: {} to {}{multiplier}; by {} at {}{gone}{note}",
        event.id,
        event.point,
        event.kind.name(),
        event.at,
        known(&event.old_final),
        known(&event.new_initial),
        event.author,
        event.entered_at,
    )
}
