//! Grafana boards, made of one definition for the park at hand: in goes its catalogue, out come dashboards in Grafana's
//! classic JSON and the provisioning files that load them. Names of series come from [`crate::series`], titles and units
//! from [`crate::titles`]; nothing is written that the park does not have.
//!
//! Rules of all boards: totals are read from the series that the program counts them into, never formed by `rate` or
//! `increase`; a park's total is over its gates, a breakdown over what lies behind them, never both in one sum; bars are
//! totals of closed periods and stand on their start, lines are momentary values; where there is nothing, nothing is drawn.
//!
//! [`park`] what the park has; [`panel`] how each kind of question looks; [`grafana`] the schema; [`overview`], [`energy`],
//! [`water_gas`], [`charging`], [`emission`], [`quota`], [`gateway`] the boards; [`provisioning`] the files around them.

pub mod grafana;
pub mod park;
pub mod panel;
pub mod overview;
pub mod energy;
pub mod water_gas;
pub mod charging;
pub mod emission;
pub mod gateway;
pub mod quota;
pub mod provisioning;
mod expression;
#[cfg(test)]
mod tests;

use grafana::Dashboard;
use park::Park;

/// The boards of a park; one that would be empty is left out.
pub fn boards(park: &Park) -> Vec<Dashboard> {
    let boards = [
        overview::board(park),
        energy::board(park),
        water_gas::board(park),
        charging::board(park),
        emission::board(park),
        quota::board(park),
        gateway::board(),
    ];
    boards.into_iter().flatten().collect()
}

/// Name and text of a board's file.
pub fn file(board: &Dashboard) -> (String, String) {
    let text = serde_json::to_string_pretty(board).expect("boards are plain data");
    (format!("{}.json", board.uid), format!("{text}\n"))
}
