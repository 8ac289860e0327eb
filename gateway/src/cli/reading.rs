//! `parkgate reading add`: a value that somebody read from a meter, into the record by the path that readings take.
//!
//! It goes to the running gateway, or into the data directory while none runs. Its origin is `hand_read`; who read it is
//! an entry in `facts.db`, made when the value is durable. Adding the same once more adds nothing.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use parkgate_collector::catalogue::{Disk, MemoryRegistry};
use parkgate_collector::clock::{Clock, SystemClock};

use super::transfer::Sink;
use super::{DataArguments, say};
use crate::access::who;
use crate::app::{self, Exit, Failure};
use crate::rollup::ParkZone;
use crate::transfer::hand::NewReading;
use crate::transfer::rows::Targets;

/// Arguments of `reading`.
#[derive(Debug, Args)]
pub struct ReadingArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: ReadingCommand,
}

/// What `reading` can do.
#[derive(Debug, Subcommand)]
pub enum ReadingCommand {
    /// Add a value that was read from a meter by hand.
    Add(AddArguments),
}

/// Arguments of `reading add`.
#[derive(Debug, Args)]
pub struct AddArguments {
    /// Stable id of the meter's point.
    #[arg(value_name = "METER")]
    pub meter: String,
    /// When it was read: a time in RFC 3339, or a date (its first moment in the park's zone).
    #[arg(long, value_name = "TIME")]
    pub at: String,
    /// What the meter showed, in the point's unit.
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true)]
    pub value: String,
    /// Who read it; the user of the operating system unless given.
    #[arg(long)]
    pub author: Option<String>,
    /// Anything else, in words.
    #[arg(long)]
    pub note: Option<String>,
    /// Where.
    #[command(flatten)]
    pub data: DataArguments,
    /// Print a JSON object.
    #[arg(long)]
    pub json: bool,
}

/// `parkgate reading`.
pub fn reading(arguments: &ReadingArguments) -> Result<ExitCode> {
    let ReadingCommand::Add(new) = &arguments.command;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    // Numbers of points are the gateway's; here only their names count.
    let catalogue = app::load(&new.data.config, &Disk)?.draft.build(&mut MemoryRegistry::default())?;
    let zone = ParkZone::new(&catalogue.park.time_zone);
    let at = zone.read(&new.at).with_context(|| format!("`{}` is no time: write 2026-11-01T08:00:00+08:00, or 2026-11-01", new.at))?;
    let reading = NewReading {
        point: new.meter.clone(),
        at,
        value: new.value.clone(),
        author: new.author.clone().unwrap_or_else(who::user),
        note: new.note.clone(),
        document: None,
    };
    let values = match reading.checked(&Targets::new(&catalogue, clock.now().utc)) {
        Ok(values) => values,
        Err(message) => return Err(Failure { exit: Exit::Problems, message }.into()),
    };
    let mut sink = Sink::new(&new.data, Arc::clone(&clock));
    let sent = sink.send(values);
    let closed = sink.close();
    let imported = sent?;
    closed?;
    let entered = reading.enter(&new.data.facts()?, imported, clock.now().utc);
    let (entry, _) = entered.context("the value is in the record, who read it is not; add it again")?;
    if new.json {
        say(&serde_json::to_string(&entry)?);
    } else {
        let replaced = if imported.replaced > 0 { ", in place of another number, which is kept as a correction" } else { "" };
        let there = if imported.present > 0 { "was there before" } else { "is durable" };
        say(&format!("{} at {at}: {} {there}{replaced}; read by {}", new.meter, new.value, entry.author));
    }
    Ok(ExitCode::SUCCESS)
}
