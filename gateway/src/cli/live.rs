//! The live park for commands that ask for indicators: opened for reading beside a running gateway.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use parkgate_collector::catalogue::{Catalogue, Disk};
use parkgate_collector::clock::{Clock as _, SystemClock};
use parkgate_collector::model::UtcMillis;
use parkgate_rules::period::Period;

use super::DataArguments;
use crate::app::{self, ReadOnly};
use crate::emission::store::EmissionStore;
use crate::emission::{Emissions, Plan};
use crate::indicator::live::{Live, Want, own_factors};
use crate::indicator::text;
use crate::rollup::Totals;
use crate::settings::GatewaySettings;
use crate::store::RecordView;

/// A park as it stood at the call.
pub(super) struct Park {
    pub catalogue: Arc<Catalogue>,
    pub live: Live,
    pub now: UtcMillis,
}

/// Opens the record, totals and facts of a data directory.
pub(super) fn open(data: &DataArguments) -> Result<Park> {
    let GatewaySettings { topology: settings, outlet, abatement, .. } = app::load(&data.config, &Disk)?.gateway;
    let ReadOnly { catalogue, record, directory, facts, .. } = app::open_read_only(&data.config, data.data.as_deref())?;
    let record: Arc<dyn RecordView> = Arc::new(record);
    let totals = Totals::read_only(&catalogue, Arc::clone(&record), &directory)?;
    let factors = own_factors(&settings, &app::base_of(&data.config))?;
    let facts = Arc::new(facts);
    let plan = Arc::new(Plan::new(&catalogue, &outlet, &abatement));
    // Without it, as before the first start, figures are counted from the record.
    let store = directory.emission().exists().then(|| EmissionStore::open_read_only(&directory.emission())).transpose()?;
    let emissions = Emissions::new(plan, Arc::clone(&record), Arc::clone(&facts), store);
    let live = Live::new(&catalogue, &settings, factors, Arc::new(totals), record, facts).with_emissions(Arc::new(emissions));
    Ok(Park { catalogue, live, now: SystemClock::new().now().utc })
}

impl Park {
    /// The period of a text; the last month that is over unless given.
    pub fn period(&self, text: Option<&str>) -> Result<Period> {
        match text {
            Some(text) => Ok(text.parse()?),
            None => self.live.last_month(self.now).context("there is no month before this one"),
        }
    }
}

/// `parkgate indicators` of the live park: all results of a period, or one with its tree.
pub(super) fn indicators(data: &DataArguments, period: Option<&str>, explain: Option<&str>, json: bool) -> Result<ExitCode> {
    let park = open(data)?;
    let period = park.period(period)?;
    let want = Want { id: explain, explain: explain.is_some() };
    let results = park.live.results(period, want, park.now)?;
    let mut out = std::io::stdout().lock();
    let text = if json {
        let lines: Result<Vec<String>, _> = results.iter().map(serde_json::to_string).collect();
        lines?.join("\n")
    } else if explain.is_some() {
        results.iter().map(text::explained).collect()
    } else {
        format!("{period}\n{}", text::table(&results))
    };
    match writeln!(out, "{}", text.trim_end()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// The inputs that figures of a period follow from, as one JSON object that `parkgate indicators --inputs` takes.
pub(super) fn gathered(data: &DataArguments, period: Option<&str>) -> Result<ExitCode> {
    let park = open(data)?;
    let period = park.period(period)?;
    super::say(&serde_json::to_string_pretty(&park.live.gathered(period, park.now)?)?);
    Ok(ExitCode::SUCCESS)
}
