//! A series of projects in filing order, each against what the ones before left.
//!
//! Projects are taken by filing date, those of one date in the order given, those without a date last (they are
//! incomplete and take nothing). A pass or a condition takes, also when the project is exempt from energy review: own
//! verified reductions enter the ledger first, then the whole need of each pollutant leaves it, and the controlled energy
//! leaves the headroom, which stops at 0, since a shortfall that the province or replacement energy covers is not the
//! park's. Spare capacities stay as they are. A reject or an incomplete file takes nothing.

use std::collections::BTreeMap;

use super::case::Case;
use super::input::Project;
use super::park::{ParkSource, ParkState, ParkUse};
use super::rule::pollutant::{Need, needs};
use super::tables::Tables;
use super::{Answer, Review, review};
use crate::Number;
use crate::ledger::Pollutant;
use crate::period::Day;

/// What a project takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// Filing date.
    pub on: Option<Day>,
    /// Own verified reductions that enter the ledger, t a year; above 0.
    pub own: BTreeMap<Pollutant, Number>,
    /// What leaves it; each above 0.
    pub needs: Vec<Need>,
    /// Controlled energy of the project, tce a year.
    pub controlled_tce: Number,
    /// The part of it that the park's headroom gives.
    pub from_headroom_tce: Number,
}

/// A project that was reviewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reviewed {
    /// Its place among those given.
    pub index: usize,
    /// The answer.
    pub answer: Answer,
    /// What it takes, where the decision reserves.
    pub reservation: Option<Reservation>,
}

/// Reviews each project by itself against the same state; nothing is taken.
pub fn each(projects: &[(String, Project)], park: &ParkState, tables: &Tables) -> Vec<Reviewed> {
    projects.iter().enumerate().map(|(index, (name, project))| one(index, name, project, park, tables)).collect()
}

/// Reviews projects in filing order, each against what the ones before left; and the state that is left.
pub fn series(projects: &[(String, Project)], park: &ParkState, tables: &Tables) -> (Vec<Reviewed>, ParkState) {
    let mut left = park.clone();
    let mut reviewed = Vec::new();
    for (index, (name, project)) in in_filing_order(projects) {
        let found = one(index, name, project, &left, tables);
        if let Some(reservation) = &found.reservation {
            left.take(name, reservation);
        }
        reviewed.push(found);
    }
    (reviewed, left)
}

/// Projects with their places, in filing order.
pub fn in_filing_order(projects: &[(String, Project)]) -> Vec<(usize, &(String, Project))> {
    let mut order: Vec<(usize, &(String, Project))> = projects.iter().enumerate().collect();
    let filed = |project: &Project| project.applied_on.given().copied();
    // Stable: those of one date stay in the order given.
    order.sort_by_key(|(_, (_, project))| (filed(project).is_none(), filed(project)));
    order
}

/// Reviews one project against a state.
pub fn one(index: usize, name: &str, project: &Project, park: &ParkState, tables: &Tables) -> Reviewed {
    let case = Case { project, park, tables };
    let found = review(&case);
    Reviewed { index, answer: Answer::new(name, &case, &found), reservation: reservation(&case, &found) }
}

/// What a case takes; `None` when its decision reserves nothing.
pub fn reservation(case: &Case<'_>, review: &Review) -> Option<Reservation> {
    if !review.decision.reserves() {
        return None;
    }
    let controlled_tce = case.controlled_tce()?;
    let headroom = case.park.quota_headroom_tce.clone()?.at_least_zero();
    let own = case.project.own_verified_reduction_t.keys().map(|pollutant| (*pollutant, case.own_reduction(*pollutant)));
    Some(Reservation {
        on: case.on(),
        own: own.filter(|(_, amount)| amount.is_positive()).collect(),
        needs: needs(case).into_iter().filter(|need| need.need.is_positive()).collect(),
        from_headroom_tce: std::cmp::min(&controlled_tce, &headroom).clone(),
        controlled_tce,
    })
}

impl ParkState {
    /// Takes what a project reserves.
    pub fn take(&mut self, project: &str, reservation: &Reservation) {
        if let Some(headroom) = &mut self.quota_headroom_tce {
            *headroom -= &reservation.from_headroom_tce;
        }
        if let Some(balances) = &mut self.ledger.balances_t {
            for (pollutant, own) in &reservation.own {
                // A balance that is not known stays so.
                balances.entry(*pollutant).and_modify(|balance| *balance += own);
            }
            for need in &reservation.needs {
                balances.entry(need.pollutant).and_modify(|balance| *balance -= &need.need);
            }
            return;
        }
        // A ledger that is not known stays so.
        if self.ledger.sources.is_none() && self.ledger.uses.is_none() {
            return;
        }
        let sources = self.ledger.sources.get_or_insert_default();
        for (pollutant, own) in &reservation.own {
            let id = free_id(sources, project, *pollutant);
            sources.push(ParkSource {
                id,
                pollutant: *pollutant,
                verified_t: Some(own.clone()),
                expiry: None,
                unit: Some(project.to_owned()),
                measure: Some("own verified reduction".to_owned()),
                before_t: None,
                after_t: None,
                basin: None,
                document: None,
                date: reservation.on,
            });
        }
        let uses = self.ledger.uses.get_or_insert_default();
        uses.extend(reservation.needs.iter().map(|need| ParkUse {
            project: project.to_owned(),
            pollutant: need.pollutant,
            amount_t: need.need.clone(),
            increment_t: Some(need.increment.clone()),
            ratio: Some(need.ratio.clone()),
            why: Some(need.why().1.to_owned()),
            document: None,
            date: reservation.on,
        }));
    }
}

/// An id for a project's own source that no other has.
fn free_id(sources: &[ParkSource], project: &str, pollutant: Pollutant) -> String {
    let is_taken = |id: &str| sources.iter().any(|source| source.id == id && source.pollutant == pollutant);
    let first = format!("{project}/own");
    if !is_taken(&first) {
        return first;
    }
    let next = (2_u32..).map(|number| format!("{first}-{number}")).find(|id| !is_taken(id));
    next.unwrap_or(first)
}
