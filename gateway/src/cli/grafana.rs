//! `parkgate grafana`: boards and provisioning files for Grafana, made from a configuration. Needs no data directory and
//! no running gateway.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use parkgate_collector::catalogue::{Disk, MemoryRegistry};

use super::say;
use crate::app;
use crate::boards::park::Park;
use crate::boards::provisioning::{self, Reach};
use crate::boards::{self, boards};

/// Arguments of `grafana`.
#[derive(Debug, Args)]
pub struct GrafanaArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: GrafanaCommand,
}

/// What `grafana` can do.
#[derive(Debug, Subcommand)]
pub enum GrafanaCommand {
    /// Write boards and provisioning files for the park of a configuration.
    Export(ExportArguments),
}

/// Arguments of `grafana export`.
#[derive(Debug, Args)]
pub struct ExportArguments {
    /// Main configuration file.
    #[arg(long, value_name = "FILE", default_value_os_t = super::default_config())]
    pub config: PathBuf,
    /// Folder to write to: boards in dashboards/, the rest in provisioning/.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Address of the query API as Grafana reaches it, instead of the one configured.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// File with the access token on Grafana's machine, where the gateway demands one.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<String>,
}

/// `parkgate grafana`.
pub fn run(arguments: &GrafanaArguments) -> Result<ExitCode> {
    let GrafanaCommand::Export(arguments) = &arguments.command;
    let loaded = app::load(&arguments.config, &Disk)?;
    let url = arguments.url.clone().unwrap_or_else(|| format!("http://{}/prometheus", loaded.gateway.http.listen));
    let catalogue = loaded.draft.build(&mut MemoryRegistry::default())?;
    let park = Park::of(&catalogue, &loaded.gateway.outlet);
    for board in boards(&park) {
        let (name, text) = boards::file(&board);
        write(&arguments.out.join("dashboards").join(name), &text)?;
    }
    // Absolute, since Grafana runs in a folder of its own.
    let folder = std::path::absolute(arguments.out.join("dashboards"))?;
    let reach = Reach { url, token_file: arguments.token_file.clone() };
    let provisioning = arguments.out.join("provisioning");
    write(&provisioning.join("datasources").join("parkgate.yaml"), &provisioning::data_source(&reach))?;
    write(&provisioning.join("dashboards").join("parkgate.yaml"), &provisioning::provider(&folder))?;
    Ok(ExitCode::SUCCESS)
}

fn write(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().context("a file has a folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    std::fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))?;
    say(&path.display().to_string());
    Ok(())
}
