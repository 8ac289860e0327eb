//! Settings of the gateway itself: the `[gateway]` part of the main file.
