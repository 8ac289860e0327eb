//! Scenarios on the real program, one file each.

#![expect(clippy::print_stdout, reason = "libtest shows it with a failure")]

mod mqtt_kill;
