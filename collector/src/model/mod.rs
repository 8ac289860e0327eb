//! Shared types of the whole program, without I/O and without a clock.
//!
//! In reading order: [`time`] UTC milliseconds; [`decimal`] exact numbers; [`mod@unit`] the unit table, [`combine`] how units multiply; [`quality`] quality,
//! reason, origin, step; [`point`] what a point is; [`reading`] what a driver hands over; [`sample`] what is recorded.
//!
//! Terms: a *link* is one connection (a broker session, a Modbus line); a *device* is one meter behind it; a *point* is
//! one measured quantity of a device; a *reading* is the device's number; a *sample* is the record's.

pub mod time;
pub mod decimal;
pub mod unit;
pub mod combine;
pub mod quality;
pub mod point;
pub mod reading;
pub mod sample;

pub use decimal::{Decimal, DecimalError};
pub use point::{Kind, LinkKey, Medium, PointId, PointIdentity, ReferenceState};
pub use quality::{Origin, Quality, Reason, Status, Step};
pub use reading::{DELIVERIES_REMEMBERED, DeliveredRange, Delivery, Number, Reading, Rejected};
pub use sample::Sample;
pub use time::{Now, UtcMillis};
pub use unit::{Conversion, Dimension, Unit};
