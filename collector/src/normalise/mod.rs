//! Readings -> samples: unit, range, time, counter step, repeats. Pure: state, reading and now come in, samples go out.
