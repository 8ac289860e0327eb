//! Indicators of the live park: the pure core ([`parkgate_rules::indicator`]) fed from the record.
//!
//! In reading order: [`figures`] what people may declare; [`declare`] how it is entered and what is in force;
//! [`topology`] which meter stands where in the park's networks; [`inputs`] totals of meters, [`declared`] declarations,
//! [`charging`] piles and [`outlets`] hours of emissions as inputs of the core; [`live`] the answers, kept until something they rest on changes; [`text`] how people read
//! them.

pub mod figures;
pub mod declare;
pub mod topology;
pub mod inputs;
pub mod declared;
pub mod charging;
pub mod outlets;
pub mod live;
pub mod text;
