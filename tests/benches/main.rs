//! `make bench`: the figures of the README's performance table, printed with the machine they were measured on.
//!
//! `bench` runs all, `bench NAME...` some: in_process, history, mqtt, blocked, modbus, boards, alarms, decisions. Ratios are formed inside one run, since
//! machines drift. Each measurement that needs a process of its own starts this program again as `bench child ...`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the table and what happens meanwhile are for people")]

mod alarms;
mod blocked;
mod boards;
mod decisions;
mod fixture;
mod history;
mod in_process;
mod modbus;
mod mqtt;
mod process;
mod table;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use table::Table;

/// Longest that a child may live, should its parent be gone.
const CHILD_LIMIT: Duration = Duration::from_secs(420);

/// Measures something and enters its rows.
type Bench = fn(&mut Table) -> anyhow::Result<()>;

/// Name on the command line and what it measures.
const BENCHES: [(&str, Bench); 8] = [
    ("in_process", in_process::run),
    ("history", history::run),
    ("mqtt", mqtt::run),
    ("blocked", blocked::run),
    ("modbus", modbus::run),
    ("boards", boards::run),
    ("alarms", alarms::run),
    ("decisions", decisions::run),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().map(String::as_str) == Some("child") {
        return match child(arguments.get(1..).unwrap_or_default()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("bench child {arguments:?}: {error:#}");
                ExitCode::FAILURE
            }
        };
    }
    let unknown: Vec<&String> = arguments.iter().filter(|name| BENCHES.iter().all(|(known, _)| *known != name.as_str())).collect();
    if !unknown.is_empty() {
        eprintln!("unknown bench {unknown:?}; there are {:?}", BENCHES.map(|(name, _)| name));
        return ExitCode::from(2);
    }
    let mut table = Table::new();
    let mut failed = false;
    for (name, run) in BENCHES {
        if arguments.is_empty() || arguments.iter().any(|wanted| wanted == name) {
            eprintln!("== {name}");
            let start = Instant::now();
            if let Err(error) = run(&mut table) {
                eprintln!("{name}: {error:#}");
                failed = true;
            }
            eprintln!("== {name}: {:.0} s", start.elapsed().as_secs_f64());
        }
    }
    table.print();
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// What a child process does: its own half of a measurement, told by its arguments.
fn child(arguments: &[String]) -> anyhow::Result<()> {
    std::thread::spawn(|| {
        std::thread::sleep(CHILD_LIMIT);
        std::process::exit(1);
    });
    let (name, rest) = arguments.split_first().ok_or_else(|| anyhow::anyhow!("which child?"))?;
    match name.as_str() {
        "mqtt_publish" => mqtt::child_publish(rest),
        "mqtt_bare" => mqtt::child_bare(rest),
        "modbus_server" => modbus::child_server(rest),
        "modbus_journal_only" => modbus::child_journal_only(rest),
        "boards_fill" => boards::child_fill(rest),
        "history_day" => history::child_day(rest),
        "history_tail" => history::child_tail(rest),
        "history_start" => history::child_start(rest),
        other => anyhow::bail!("no child called {other}"),
    }
}
