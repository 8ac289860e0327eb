//! `parkgate review`: what the admission rules say of projects, against a park's state in a file or the live park.
//!
//! `--json` prints one object per project: `file` and the keys of `parkgate_rules::review::Answer`; with `--reserve` in filing
//! order, then one with `state_left` (a state again) and `balances_t`, or, on the live park, `entries` (of the ledgers).

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use parkgate_collector::catalogue::Disk;
use parkgate_collector::clock::{Clock as _, SystemClock};
use parkgate_rules::review::reason::{Effect, Text};
use parkgate_rules::review::{self as rules, Answer, Decision, ParkState, Problem, Project, Reviewed, Tables};
use serde_json::json;

use super::DataArguments;
use crate::access::who;
use crate::app::{self, Exit};
use crate::ledger::rows;
use crate::review::{self, DeclaredError, ReviewError, headroom};

/// Arguments of `review`.
#[derive(Debug, Args)]
pub struct ReviewArguments {
    /// State of the park, JSON or TOML; it stands alone. Without it the live park is asked.
    #[arg(long, value_name = "STATE", conflicts_with = "data")]
    pub park: Option<PathBuf>,
    /// Where the live park is.
    #[command(flatten)]
    pub live: DataArguments,
    /// Take the projects in filing order, each against what the ones before left, and tell what is left; on the live park,
    /// enter what they take in the ledgers. Without it each is looked at by itself and nothing is taken.
    #[arg(long)]
    pub reserve: bool,
    /// The document that a reservation on the live park rests on.
    #[arg(long)]
    pub document: Option<String>,
    /// Print one JSON object per line.
    #[arg(long)]
    pub json: bool,
    /// Print the JSON Schema of a file instead.
    #[arg(long, value_name = "FILE")]
    pub schema: Option<SchemaOf>,
    /// Project files, TOML or JSON.
    #[arg(value_name = "PROJECT", required_unless_present = "schema")]
    pub projects: Vec<PathBuf>,
}

/// Files with a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// A project.
    Project,
    /// A park's state.
    State,
}

/// `parkgate review`: exit 0 when every project passes, perhaps under conditions; 1 when one does not, or a file has
/// problems.
pub fn review(arguments: &ReviewArguments) -> Result<ExitCode> {
    match arguments.schema {
        Some(SchemaOf::Project) => return schema(&rules::input::schema()),
        Some(SchemaOf::State) => return schema(&rules::park::schema()),
        None => {}
    }
    let tables = Tables::shipped();
    let mut problems = Vec::new();
    let projects = read_all(&arguments.projects, &tables, &mut problems)?;
    let state = match &arguments.park {
        Some(path) => match ParkState::parse(&read(path)?) {
            Ok(state) => Some(state),
            Err(found) => {
                problems.extend(found.into_iter().map(|problem| (path.clone(), problem)));
                None
            }
        },
        None => None,
    };
    if !problems.is_empty() {
        return complain(&problems, arguments.json);
    }
    match state {
        Some(state) => alone(arguments, &projects, &state, &tables),
        None => live(arguments, &projects, &tables),
    }
}

fn schema(schema: &schemars::Schema) -> Result<ExitCode> {
    super::say(&serde_json::to_string_pretty(schema)?);
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))
}

/// All project files under their names; problems are gathered.
fn read_all(paths: &[PathBuf], tables: &Tables, problems: &mut Vec<(PathBuf, Problem)>) -> Result<Vec<(String, Project)>> {
    let mut projects = Vec::new();
    for path in paths {
        match Project::parse(&read(path)?, tables) {
            Ok(project) => {
                let stem = path.file_stem().map_or_else(|| path.display().to_string(), |stem| stem.to_string_lossy().into_owned());
                projects.push((project.project.clone().unwrap_or(stem), project));
            }
            Err(found) => problems.extend(found.into_iter().map(|problem| (path.clone(), problem))),
        }
    }
    Ok(projects)
}

fn complain(problems: &[(PathBuf, Problem)], json: bool) -> Result<ExitCode> {
    for (path, problem) in problems {
        if json {
            super::say(&json!({ "file": path.display().to_string(), "path": problem.path, "problem": problem.what }).to_string());
        } else {
            super::say(&format!("{}: {problem}", path.display()));
        }
    }
    super::complain_text(&format!("{} problems; no project was looked at", problems.len()));
    Ok(ExitCode::from(Exit::Problems as u8))
}

/// Against a state that stands alone.
fn alone(arguments: &ReviewArguments, projects: &[(String, Project)], state: &ParkState, tables: &Tables) -> Result<ExitCode> {
    if !arguments.reserve {
        let reviewed = rules::each(projects, state, tables);
        return show(arguments, &reviewed, None);
    }
    let (reviewed, left) = rules::series(projects, state, tables);
    let left = json!({ "state_left": left.to_value(), "balances_t": left.balances() });
    show(arguments, &reviewed, Some(left))
}

/// Against the live park.
fn live(arguments: &ReviewArguments, projects: &[(String, Project)], tables: &Tables) -> Result<ExitCode> {
    let settings = app::load(&arguments.live.config, &Disk)?.gateway.review;
    let path = settings.park_state.map(|path| app::base_of(&arguments.live.config).join(path));
    let declared = match review::declared(path.as_deref()) {
        Ok(declared) => declared,
        Err(error @ DeclaredError::Problems { .. }) => {
            super::complain_text(&error.to_string());
            return Ok(ExitCode::from(Exit::Problems as u8));
        }
        Err(error) => return Err(error.into()),
    };
    let park = super::live::open(&arguments.live)?;
    let figures = headroom::figures(&park.live, declared, park.now)?;
    if !arguments.reserve {
        let reviewed = review::look(park.live.facts(), &figures, projects, tables)?;
        return show(arguments, &reviewed, None);
    }
    let Some(document) = arguments.document.as_deref().filter(|document| !document.trim().is_empty()) else {
        bail!("a reservation on the live park rests on a document: name it by --document");
    };
    // The park was opened for reading; what is entered goes by a connection of its own.
    let facts = arguments.live.facts()?;
    match review::take(&facts, &figures, projects, tables, (document, &who::user()), SystemClock::new().now().utc) {
        Ok(taken) => {
            let entries: Vec<_> = taken.entries.iter().map(rows::entered).collect();
            show(arguments, &taken.reviewed, Some(json!({ "entries": entries })))
        }
        Err(error @ ReviewError::Refused { .. }) => {
            super::complain_text(&format!("{error}; nothing was entered"));
            Ok(ExitCode::from(Exit::Problems as u8))
        }
        Err(error) => Err(error.into()),
    }
}

/// Prints answers, and what is left behind.
fn show(arguments: &ReviewArguments, reviewed: &[Reviewed], after: Option<serde_json::Value>) -> Result<ExitCode> {
    for one in reviewed {
        let file = arguments.projects.get(one.index).map(|path| path.display().to_string()).unwrap_or_default();
        if arguments.json {
            let mut line = serde_json::to_value(&one.answer)?;
            if let Some(object) = line.as_object_mut() {
                object.insert("file".to_owned(), file.into());
            }
            super::say(&line.to_string());
        } else {
            super::say(sheet(&one.answer, &file).trim_end());
            super::say("");
        }
    }
    if let Some(after) = after {
        super::say(&if arguments.json { after.to_string() } else { serde_json::to_string_pretty(&after)? });
    }
    let all = reviewed.iter().all(|one| matches!(one.answer.decision, Decision::Pass | Decision::Conditional));
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::from(Exit::Problems as u8) })
}

/// The worksheet of a project for people.
fn sheet(answer: &Answer, file: &str) -> String {
    let mut text = String::new();
    let mut line = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    let both = |text: &Text| format!("{} / {}", text.zh, text.en);
    let or_dash = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    line(both(&answer.advice));
    let filed = answer.applied_on.map_or_else(|| "-".to_owned(), |day| day.to_string());
    line(format!("{} ({file}), 申报 filed {filed}: {} {}", answer.project, answer.decision_zh, answer.decision.name()));
    line(format!(
        "  能耗 energy tce: 总量 total {}, 纳入总量控制 controlled {}, 余量 headroom {}, 缺口 shortfall {}",
        or_dash(&answer.total_tce),
        or_dash(&answer.controlled_tce),
        or_dash(&answer.headroom_tce),
        or_dash(&answer.shortfall_tce)
    ));
    if let Some(review) = &answer.energy_review {
        let approved = if review.approved { ", 已批复 approved" } else { "" };
        line(format!("  节能审查 energy review: {} ({}){approved}", review.level.name(), review.order));
    }
    for row in &answer.land {
        line(format!("  标准地 land {}: {} / {} = {}", row.indicator, row.value, row.threshold, row.ratio));
    }
    for row in &answer.pollutants {
        line(format!(
            "  {} t/a: {} x {} ({}; {}) = {}, 可用 available {}",
            row.pollutant,
            row.increment_t,
            row.ratio,
            row.why.zh,
            row.ratio_mark,
            row.need_t,
            or_dash(&row.available_t)
        ));
    }
    for row in &answer.capacity {
        let added = or_dash(&row.expansions);
        line(format!("  {}: 需求 demand {}, 余量 spare {}, 扩建 expansions {added}", row.resource, row.demand, row.spare));
    }
    for row in &answer.rules {
        line(format!("  {} {}: {}", row.rule.name(), both(&row.title), row.outcome));
    }
    for reason in &answer.reasons {
        let effect = match reason.effect {
            Effect::NotTested => "未测算 not tested",
            Effect::Conditional => "有条件 conditional",
            Effect::Reject if reason.veto => "否决 veto",
            Effect::Reject => "不予通过 reject",
            Effect::Incomplete => "材料不全 incomplete",
        };
        line(format!("  - {} {effect}: {}", reason.rule.name(), reason.zh));
        line(format!("      {}", reason.en));
        line(format!("      改变条件 what would change it: {}", both(&reason.change)));
        line(format!("      依据 basis: {} [{}]", reason.basis, reason.mark));
    }
    for note in &answer.notes {
        line(format!("  注意 note: {}", both(note)));
    }
    text
}
