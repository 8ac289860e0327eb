//! Composition root: read it to see the whole program.
