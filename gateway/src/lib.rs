//! parkgate-gateway: from the journal to people and systems.
//!
//! In reading order: [`app`] the composition root; [`cli`] the other commands; [`engine`] batch to record; `current` what is in force; `drivers` at work; [`reload`] a changed configuration; [`control`] the
//! control socket; [`replay`] rejects again; [`gaps`] what Modbus devices refused; [`readiness`] the board behind `/readyz`; [`settings`]; `threads` that are told to end; `outgoing` what HTTP to others needs; [`store`] history,
//! views, facts; [`rollup`] totals per period; [`emission`] figures of outlets, judged; [`report`] their summary for the regulator, signed; [`alarm`] rules, events, receivers; [`ledger`] energy quota and pollutant totals as entered; [`review`] projects before the live park; [`series`] names and labels of what boards and sinks see; [`titles`] what
//! people call them; [`promql`] queries; [`boards`] for Grafana; [`access`] who may see what; [`forward`] to databases of
//! others; [`backup`] copies of the data directory; [`transfer`] values out to files and in; [`api`] HTTP; [`metrics`], and [`own`] how they become samples;
//! [`demo`] the simulated park (feature `demo`).

pub mod app;
pub mod cli;
pub mod engine;
pub mod current;
mod drivers;
pub mod reload;
pub mod control;
pub mod replay;
pub mod gaps;
mod logging;
pub mod readiness;
mod service;
mod watch;
pub mod settings;
mod threads;
mod outgoing;
pub mod store;
pub mod rollup;
pub mod emission;
pub mod alarm;
pub mod report;
pub mod indicator;
pub mod ledger;
pub mod review;
pub mod series;
pub mod titles;
pub mod boards;
pub mod access;
pub mod forward;
pub mod backup;
pub mod transfer;
pub mod promql;
pub mod api;
pub mod metrics;
pub mod own;
#[cfg(feature = "demo")]
pub mod demo;
#[cfg(test)]
mod testing;
