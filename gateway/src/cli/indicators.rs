//! `parkgate indicators`: of the live park, or with `--inputs` from a file that stands alone, so that anybody can repeat a figure
//! without a park.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use parkgate_rules::indicator::{self, Engine, INDICATORS, Index, IndicatorResult, Inputs, read};

use super::{DataArguments, complain_text, live, say};
use crate::app::Exit;
use crate::indicator::text;

/// Arguments of `indicators`.
#[derive(Debug, Args)]
pub struct IndicatorsArguments {
    /// Where the live park is.
    #[command(flatten)]
    pub data: DataArguments,
    /// Instead of the live park, inputs as JSON: readings, declared figures, factors, quota, and the periods asked for.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["period", "gather"])]
    pub inputs: Option<PathBuf>,
    /// Day, month or year, 2025-06; the last month that is over unless given.
    #[arg(long, value_name = "PERIOD")]
    pub period: Option<String>,
    /// Print one JSON object per indicator and line instead of a table.
    #[arg(long)]
    pub json: bool,
    /// Only this indicator, with the tree down to register readings.
    #[arg(long, value_name = "ID")]
    pub explain: Option<String>,
    /// Print the inputs that the live park's figures follow from, as --inputs takes them.
    #[arg(long)]
    pub gather: bool,
    /// Print the JSON Schema of the inputs.
    #[arg(long)]
    pub schema: bool,
}

/// `parkgate indicators`.
pub fn indicators(arguments: &IndicatorsArguments) -> Result<ExitCode> {
    let IndicatorsArguments { data, inputs, period, json, explain, gather, schema } = arguments;
    if *schema {
        say(&serde_json::to_string_pretty(&schemars::schema_for!(Inputs))?);
        return Ok(ExitCode::SUCCESS);
    }
    let only = explain.as_deref().map(named).transpose()?;
    match inputs {
        Some(file) => of_file(file, *json, only),
        None if *gather => live::gathered(data, period.as_deref()),
        None => live::indicators(data, period.as_deref(), only.map(|indicator| indicator.id), *json),
    }
}

/// Indicators of a file; exit 1 when it has problems.
fn of_file(file: &Path, json: bool, only: Option<&'static indicator::Indicator>) -> Result<ExitCode> {
    let text = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let found = |problem: &dyn std::fmt::Display| complain_text(&format!("{}: {problem}", file.display()));
    let problems = Ok(ExitCode::from(Exit::Problems as u8));
    let inputs = match read::read(&text) {
        Ok(inputs) => inputs,
        Err(error) => {
            found(&error);
            return problems;
        }
    };
    let index = match Index::new(&inputs) {
        Ok(index) => index,
        Err(all) => {
            all.iter().for_each(|problem| found(problem));
            return problems;
        }
    };
    if inputs.periods.is_empty() {
        found(&"periods: no period is asked for: name one, such as \"2025-06\"");
        return problems;
    }
    let engine = Engine::new(&index, only.is_some());
    let results: Vec<IndicatorResult> = match only {
        Some(indicator) => inputs.periods.iter().flat_map(|period| engine.one(indicator, *period)).collect(),
        None => inputs.periods.iter().flat_map(|period| engine.period(*period)).collect(),
    };
    if let Some(indicator) = only.filter(|_| results.is_empty()) {
        let kinds: Vec<String> = indicator.periods.iter().map(|kind| format!("{kind:?}").to_lowercase()).collect();
        bail!("{} is formed for a {} only, and the inputs ask for no such period", indicator.id, kinds.join(", "));
    }
    print(&results, json, only.is_some())?;
    Ok(ExitCode::SUCCESS)
}

/// The indicator of an id, in any case.
fn named(id: &str) -> Result<&'static indicator::Indicator> {
    let known = || INDICATORS.iter().map(|indicator| indicator.id).collect::<Vec<_>>().join(", ");
    indicator::by_id(&id.to_ascii_uppercase()).with_context(|| format!("no indicator {id}; there are {}", known()))
}

/// Prints results: a JSON object a line, their trees, or a table per period. A reader that went away is no error.
fn print(results: &[IndicatorResult], json: bool, trees: bool) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let written = if json {
        let lines: Result<Vec<String>, _> = results.iter().map(serde_json::to_string).collect();
        lines?.into_iter().try_for_each(|line| writeln!(out, "{line}"))
    } else if trees {
        results.iter().try_for_each(|result| writeln!(out, "{}", text::explained(result)))
    } else {
        let mut periods = results.chunk_by(|one, next| one.period == next.period);
        periods.try_for_each(|results| match results.first() {
            Some(first) => writeln!(out, "{} ({} to {})\n{}", first.period, first.start, first.end, text::table(results)),
            None => Ok(()),
        })
    };
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
