//! The program `parkgate`: command line and exit codes. What the commands do lives in [`parkgate_gateway::app`] and
//! beside the data they read.
//!
//! Exit codes: 0 fine; 1 the files checked have problems, or something was found to be damaged; 2 the command could not
//! run (bad arguments, unreadable file, data directory in use, port taken); 3 a part of the running gateway failed.

use std::process::ExitCode;

use clap::Parser as _;
use parkgate_gateway::cli::{Cli, Command};
use parkgate_gateway::{app, cli};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Run(arguments) => app::run(&arguments),
        #[cfg(feature = "demo")]
        Command::Demo(arguments) => app::demo(&arguments),
        Command::Check(arguments) => cli::check(&arguments),
        Command::Plan(arguments) => cli::plan(&arguments),
        Command::Probe(arguments) => cli::probe(&arguments),
        Command::Scan(arguments) => cli::scan(&arguments),
        Command::Gaps(arguments) => cli::gaps(&arguments),
        Command::Schema => cli::schema(),
        Command::Decode(arguments) => cli::decode(&arguments),
        Command::Rejects(arguments) => cli::rejects(&arguments),
        Command::Journal(arguments) => cli::journal(&arguments),
        Command::Reconcile(arguments) => cli::reconcile::reconcile(&arguments),
        Command::Forward(arguments) => cli::reconcile::forward(&arguments),
        Command::Backup(arguments) => cli::backup::backup(&arguments),
        Command::Restore(arguments) => cli::backup::restore(&arguments),
        Command::Export(arguments) => cli::transfer::export(&arguments),
        Command::Import(arguments) => cli::transfer::import(&arguments),
        Command::Grafana(arguments) => cli::grafana::run(&arguments),
        Command::Token(arguments) => cli::token(&arguments),
        Command::Changes(arguments) => cli::changes(&arguments),
        Command::Limits(arguments) => cli::limits(&arguments),
        Command::Marks(arguments) => cli::marks(&arguments),
        Command::Totals(arguments) => cli::totals(&arguments),
        Command::Exchange(arguments) => cli::exchange(&arguments),
        Command::Decide(arguments) => cli::decide(&arguments),
        Command::Reading(arguments) => cli::reading(&arguments),
        Command::Report(arguments) => cli::report(&arguments),
        Command::Verify(arguments) => cli::verify(&arguments),
        Command::Alarms(arguments) => cli::alarms(&arguments),
        Command::Rebuild(arguments) => cli::rebuild(&arguments),
        Command::Declare(arguments) => cli::declare(&arguments),
        Command::Topology(arguments) => cli::topology(&arguments),
        Command::Indicators(arguments) => cli::indicators(&arguments),
        Command::Assess(arguments) => cli::assess(&arguments),
        Command::Ledger(arguments) => cli::ledger(&arguments),
        Command::Review(arguments) => cli::review(&arguments),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            cli::complain(&error);
            ExitCode::from(app::exit_code(&error))
        }
    }
}
