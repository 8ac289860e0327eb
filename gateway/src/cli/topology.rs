//! `parkgate topology`: which meter stands where in the park's networks, and whether the networks balance.
//!
//! `--json` prints one object a line: first the meters (`kind` `meter`, `point`, `energy`, `place`, `enterprise`, `parent`,
//! `amount`, `unit`), then piles (`kind` `charger`), then the checks (`kind` `balance`, `energy`, `unit`, `supply`, `used`,
//! `difference`, `share`, `verdict`, `missing`). Exit 1 when a network that can be judged does not balance.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use parkgate_collector::catalogue::Catalogue;
use parkgate_rules::indicator::balance::{BalanceCheck, Verdict};
use parkgate_rules::indicator::inputs::Place;
use serde_json::json;

use super::{DataArguments, live};
use crate::app::Exit;
use crate::indicator::topology::{self, Meter, Topology};

/// Arguments of `topology`.
#[derive(Debug, Args)]
pub struct TopologyArguments {
    /// Where.
    #[command(flatten)]
    pub data: DataArguments,
    /// Day, month or year that the balance is checked over, 2025-06; the last month that is over unless given.
    #[arg(long, value_name = "PERIOD")]
    pub period: Option<String>,
    /// Print one JSON object per line.
    #[arg(long)]
    pub json: bool,
}

/// `parkgate topology`.
pub fn topology(arguments: &TopologyArguments) -> Result<ExitCode> {
    let park = live::open(&arguments.data)?;
    let period = park.period(arguments.period.as_deref())?;
    let checks = park.live.balance(period, park.now)?;
    let topology = park.live.topology();
    if arguments.json {
        for line in rows(topology, &checks) {
            super::say(&line);
        }
    } else {
        super::say(tree(&park.catalogue, topology).trim_end());
        super::say(&format!("\n{period}"));
        for check in &checks {
            super::say(&sentence(check));
        }
    }
    let is_unsound = checks.iter().any(|check| matches!(check.verdict, Verdict::NegativeLoss | Verdict::LossTooLarge));
    Ok(if is_unsound { ExitCode::from(Exit::Problems as u8) } else { ExitCode::SUCCESS })
}

fn rows(topology: &Topology, checks: &[BalanceCheck]) -> Vec<String> {
    let meters = topology.meters.iter().map(|meter| {
        json!({
            "kind": "meter",
            "point": meter.point.identity.stable_id,
            "energy": meter.energy,
            "place": meter.place,
            "enterprise": meter.enterprise,
            "parent": meter.parent,
            "unit": meter.point.identity.unit.symbol(),
        })
    });
    let chargers = topology.chargers.iter().map(|charger| {
        let settings = &charger.settings;
        json!({
            "kind": "charger",
            "device": settings.device,
            "station": settings.station,
            "rated_kw": settings.rated_kw,
            "guns": settings.guns,
        })
    });
    let checks = checks.iter().map(|check| {
        let mut row = serde_json::to_value(check).unwrap_or_default();
        if let Some(row) = row.as_object_mut() {
            row.insert("kind".into(), "balance".into());
        }
        row
    });
    meters.chain(chargers).chain(checks).map(|row| row.to_string()).collect()
}

/// The networks as a tree: energy, then the boundary, then each user with its meters.
fn tree(catalogue: &Catalogue, topology: &Topology) -> String {
    let mut text = String::new();
    let mut energies: Vec<&str> = Vec::new();
    for meter in &topology.meters {
        if !energies.contains(&meter.energy.as_str()) {
            energies.push(&meter.energy);
        }
    }
    for energy in energies {
        let meters: Vec<&Meter> = topology.meters.iter().filter(|meter| meter.energy == energy).collect();
        let _ = writeln!(text, "{energy}");
        let (boundary, behind): (Vec<&Meter>, Vec<&Meter>) =
            meters.into_iter().partition(|meter| matches!(meter.place, Place::Gate | Place::GateExport));
        branch(&mut text, "park boundary", &boundary);
        for enterprise in &catalogue.enterprises {
            let own: Vec<&Meter> =
                behind.iter().copied().filter(|meter| meter.enterprise.as_deref() == Some(enterprise.id.as_str())).collect();
            branch(&mut text, &enterprise.id, &own);
        }
        let none: Vec<&Meter> = behind.into_iter().filter(|meter| meter.enterprise.is_none()).collect();
        branch(&mut text, "no enterprise", &none);
    }
    if topology.meters.is_empty() {
        text.push_str("no meter has a place: give devices the roles gate, sub, generation, or [[gateway.topology.meter]]\n");
    }
    for charger in &topology.chargers {
        let settings = &charger.settings;
        let _ =
            writeln!(text, "charger {}  station {}, {} kW, {} guns", settings.device, settings.station, settings.rated_kw, settings.guns);
    }
    text
}

fn branch(text: &mut String, name: &str, meters: &[&Meter]) {
    if meters.is_empty() {
        return;
    }
    let _ = writeln!(text, "  {name}");
    for meter in meters {
        let parent = meter.parent.as_ref().map(|parent| format!("  part of {parent}")).unwrap_or_default();
        let _ = writeln!(text, "    {:<16}{}{parent}", topology::name(meter.place), meter.point.identity.stable_id);
    }
}

fn sentence(check: &BalanceCheck) -> String {
    let number = |number: &Option<parkgate_rules::Number>| number.as_ref().map_or_else(|| "-".to_owned(), |number| number.text(3));
    let verdict = match check.verdict {
        Verdict::Agrees => "agrees",
        Verdict::NegativeLoss => "DOES NOT AGREE: more is used than came in; a meter, a multiplier or a place is wrong",
        Verdict::LossTooLarge => "DOES NOT AGREE: more is lost than [gateway.topology] loss_share_max allows",
        Verdict::Missing => "cannot be judged",
    };
    let share = check.share.as_ref().map(|share| format!(" ({} of what came in)", share.text(6))).unwrap_or_default();
    let mut text = format!(
        "  {}: supply {} {unit}, use {} {unit}, difference {}{share}: {verdict}",
        check.energy,
        number(&check.supply),
        number(&check.used),
        number(&check.difference),
        unit = check.unit,
    );
    for missing in &check.missing {
        let _ = write!(text, "\n    missing {}: {}", missing.input, missing.why);
    }
    text
}
