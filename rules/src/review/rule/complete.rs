//! R8: one reason that lists everything that is missing, of the project and of the park's state. It beats every reject but
//! a veto. A convention of the program: what is missing is never taken for zero.

use super::super::case::Case;
use super::super::input::Resource;
use super::super::read::Field;
use super::super::reason::{Effect, Finding, Reason, Rule};
use super::super::tables::AttainedBy;
use super::pollutant::{attained, needs, ratio};
use crate::ledger::Pollutant;

/// Names of all that is missing: fields of the project as they are written, of the park's state after `park.`.
pub fn missing(case: &Case<'_>) -> Vec<String> {
    let mut missing = of_project(case);
    missing.extend(of_park(case));
    missing
}

fn of_project(case: &Case<'_>) -> Vec<String> {
    let project = case.project;
    let mut missing: Vec<String> = Vec::new();
    let mut need = |is_there: bool, name: &str| {
        if !is_there {
            missing.push(name.to_owned());
        }
    };
    need(project.industry.given().is_some(), "industry");
    need(project.applied_on.given().is_some(), "applied_on");
    need(project.production_on.given().is_some(), "production_on");
    need(project.land_mu.given().is_some(), "land_mu");
    need(project.fixed_investment.given().is_some(), "fixed_investment_10kCNY");
    need(project.annual_output.given().is_some(), "annual_output_10kCNY");
    need(project.annual_tax.given().is_some(), "annual_tax_10kCNY");
    need(!project.rd_ratio.is_absent(), "rd_ratio");
    for (name, field) in [("energy", &project.energy), ("feedstock", &project.feedstock)] {
        need(field.given().is_some(), name);
        for (kind, amount) in field.given().into_iter().flatten() {
            need(amount.given().is_some(), &format!("{name}.{kind}"));
        }
    }
    need(project.certified_renewable.given().is_some(), "certified_renewable_kWh");
    need(project.pollutants_t_per_a.given().is_some(), "pollutants_t_per_a");
    if let Some(given) = project.pollutants_t_per_a.given() {
        for pollutant in Pollutant::ALL {
            let is_there = match given.get(&pollutant) {
                Some(amount) => amount.given().is_some(),
                None => !Pollutant::REQUIRED.contains(&pollutant),
            };
            need(is_there, &format!("pollutants_t_per_a.{}", pollutant.name()));
        }
    }
    need(project.demand.given().is_some(), "demand");
    if let Some(given) = project.demand.given() {
        for resource in Resource::ALL {
            need(given.get(&resource).and_then(Field::given).is_some(), &format!("demand.{}", resource.name()));
        }
    }
    need(project.zoning_compatible.given().is_some(), "zoning_compatible");
    need(!project.prohibited_process.is_absent(), "prohibited_process");
    need(project.safety_ok.given().is_some(), "safety_ok");
    need(!project.unit_product_energy_level.is_absent(), "unit_product_energy_level");
    missing
}

/// Only what this project needs: a pollutant that it does not emit asks for no balance.
fn of_park(case: &Case<'_>) -> Vec<String> {
    let (park, needs) = (case.park, needs(case));
    let mut missing: Vec<String> = case.without_coefficient().iter().map(|name| format!("park.factors.{name}")).collect();
    let mut need = |is_there: bool, name: &str| {
        let name = format!("park.{name}");
        if !is_there && !missing.contains(&name) {
            missing.push(name);
        }
    };
    need(park.quota_headroom_tce.is_some(), "quota_headroom_tce");
    need(park.land_table.is_some(), "land_table");
    for (pollutant, increment) in case.project.pollutants_t_per_a.given().into_iter().flatten() {
        let (Some(increment), Some(row)) = (increment.given(), ratio(case, *pollutant)) else { continue };
        if !increment.is_positive() {
            continue;
        }
        let name = match row.attained_by {
            AttainedBy::Pm25 => "last_year_attained.pm25",
            AttainedBy::Water => "last_year_attained.water",
        };
        need(attained(case, row.attained_by).is_some(), name);
        let is_covered = needs.iter().any(|one| one.pollutant == *pollutant && one.is_judged());
        need(is_covered || park.balance(*pollutant, case.on()).is_some(), &format!("ledger.balances_t.{}", pollutant.name()));
    }
    for (resource, demand) in case.project.demand.given().into_iter().flatten() {
        if demand.given().is_some_and(crate::Number::is_positive) {
            need(park.spare_capacity.contains_key(resource), &format!("spare_capacity.{}", resource.name()));
        }
    }
    missing
}

/// R8.
pub fn test(case: &Case<'_>) -> Finding {
    let missing = missing(case);
    if missing.is_empty() {
        return Finding::whole(Vec::new());
    }
    let names = missing.join(", ");
    let reason = Reason::new(Rule::R8, Effect::Incomplete, "inputs_missing")
        .says(format!("缺少必填数据：{names}"), format!("required inputs are missing: {names}"))
        .changed_by(format!("补充：{names}"), format!("give: {names}"))
        .number("missing", missing.len().to_string())
        .basis("项目准入测算所需数据（程序约定）", "program");
    Finding::whole(vec![reason])
}
