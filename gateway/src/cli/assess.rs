//! `parkgate assess`: the yearly targets of the province's plan beside what the park reached.
//!
//! `--json` prints one object: `year`, `plan`, `notes`, `targets` (each `id`, `zh`, `en`, `target`, `threshold`, `indicator`,
//! `reached`, `unit`, `status`, `met`, `missing`), `rules`. Exit 1 when a target is not met; one that is not known is none.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use parkgate_rules::period::{Period, PeriodKind};

use super::{DataArguments, live};
use crate::app::Exit;
use crate::indicator::text;

/// Arguments of `assess`.
#[derive(Debug, Args)]
pub struct AssessArguments {
    /// Where.
    #[command(flatten)]
    pub data: DataArguments,
    /// Calendar year, 2025.
    #[arg(long, value_name = "YEAR")]
    pub year: String,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// `parkgate assess`.
pub fn assess(arguments: &AssessArguments) -> Result<ExitCode> {
    let year: Period = arguments.year.parse()?;
    if year.kind() != PeriodKind::Year {
        bail!("`{}` is no year: write 2025", arguments.year);
    }
    let park = live::open(&arguments.data)?;
    let assessment = park.live.assess(year, park.now)?;
    super::say(&if arguments.json { serde_json::to_string(&assessment)? } else { text::assessment(&assessment).trim_end().to_owned() });
    let is_missed = assessment.targets.iter().any(|target| target.met == Some(false));
    Ok(if is_missed { ExitCode::from(Exit::Problems as u8) } else { ExitCode::SUCCESS })
}
