//! Bounded channels: drivers -> normaliser -> journal -> done.
