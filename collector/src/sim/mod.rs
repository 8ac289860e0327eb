//! Simulators that can misbehave.
//!
//! [`mqtt`] publishers of JSON payloads.

pub mod mqtt;
