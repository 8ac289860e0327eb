//! The units of a line: which ids answer, at which speed and parity, and what is wrong with those that do not answer soundly.
//!
//! [`order`] what is asked first and how long it takes; [`hear`] what one question brought; [`report`] what was found, in
//! words and as configuration. Each unit is asked for one register; an exception is an answer too. Nothing is written.
//!
//! The search goes twice through the settings: first the usual unit ids at each, then the others. As soon as a unit answers
//! soundly at a setting, the rest is asked there and nowhere else, since a line has one speed.
//!
//! - Bytes that are no frame are asked for again: a unit at another speed, or two units that answer at once, stay garbled.
//! - A unit that answers is asked twice more, so that the second of two units with one id has its chance to be heard.
//! - A unit that answers after its time is heard while the next one is asked, and is asked again with more patience.
//! - On TCP a gateway may end the connection for a unit that it does not know: the next one is asked on a new connection, as
//!   long as that stays open without a question. What it says of ids that hardly any line has, it means of others, too: one
//!   device that does not look at ids, or an exception for absent units.

mod hear;
pub mod order;
pub mod report;
mod units;

use std::time::Duration;

pub use report::{Fault, Finding, Identity, Scan, SettingReport};
pub use units::scan;

use crate::driver::modbus::raw::Setting;
use crate::protocol::modbus::Function;

/// What is to be searched.
#[derive(Clone, Debug)]
pub struct ScanPlan {
    /// In this order.
    pub settings: Vec<Setting>,
    /// Unit ids; those that a setting cannot have are left out there.
    pub units: Vec<u8>,
    /// Longest wait for an answer.
    pub timeout: Duration,
    /// Function and 0-based address of the register that is asked for.
    pub function: Function,
    /// See `function`.
    pub address: u16,
    /// Go on with the other settings when units were found.
    pub all_settings: bool,
}

/// What happens meanwhile.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// Units are asked at a setting.
    Asking {
        /// The setting.
        setting: Setting,
        /// Unit ids.
        units: &'a [u8],
    },
    /// A unit was found, or a fault.
    Found(&'a Finding),
    /// A setting cannot be had.
    Refused {
        /// The setting.
        setting: Setting,
        /// Why, for a person.
        reason: &'a str,
    },
}

#[cfg(all(test, feature = "sim"))]
mod tests;
