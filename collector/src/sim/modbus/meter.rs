//! Registers of a simulated meter that counts, and can jump, roll over and be reset.
