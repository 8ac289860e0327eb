//! Simulators that can misbehave.
