//! Scenarios on the real program, one file each.

#![expect(clippy::print_stdout, reason = "libtest shows it with a failure")]

mod access;
mod alarms;
mod backup;
mod boards;
mod commands;
mod damage;
mod demo;
mod disk_full;
mod first_park;
mod forward;
mod gaps;
mod meters;
mod mqtt_kill;
mod package;
mod start_order;
mod transfer;
mod promql;
mod reload;
mod reload_alarms;
mod reload_emissions;
mod report;
mod review;
