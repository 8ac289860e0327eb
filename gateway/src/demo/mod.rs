//! The demo.
pub mod noise;
pub mod park;
