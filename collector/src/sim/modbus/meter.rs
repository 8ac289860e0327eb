//! Registers of simulated meters: gauges and counters that are set by the simulation, and can jump, roll over and be
//! reset as real ones do.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Bank;
use crate::protocol::modbus::Function;

/// Words of all units, by unit, function and address. Shared between a simulation that sets and a server that reads.
#[derive(Debug, Default)]
pub struct Meters(Mutex<BTreeMap<(u8, Function, u16), u16>>);

impl Meters {
    /// No registers yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(u8, Function, u16), u16>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the words from `address` on, all at one moment. Words beyond address 65535 are left out.
    pub fn set(&self, unit_id: u8, function: Function, address: u16, words: &[u16]) {
        let mut registers = self.lock();
        for (address, word) in (address..=u16::MAX).zip(words) {
            registers.insert((unit_id, function, address), *word);
        }
    }

    /// Sets two registers, high word first.
    pub fn set_u32(&self, unit_id: u8, function: Function, address: u16, value: u32) {
        let [a, b, c, d] = value.to_be_bytes();
        self.set(unit_id, function, address, &[u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]);
    }

    /// Sets two registers to a binary32, high word first.
    pub fn set_f32(&self, unit_id: u8, function: Function, address: u16, value: f32) {
        self.set_u32(unit_id, function, address, value.to_bits());
    }

    /// The answers of these registers; an address that was never set is illegal (exception 2).
    pub fn bank(self: &Arc<Self>) -> Bank {
        let meters = Arc::clone(self);
        Arc::new(move |unit_id, function, address, quantity| {
            let registers = meters.lock();
            let last = address.checked_add(quantity.saturating_sub(1)).ok_or(2u8)?;
            let words: Vec<u16> =
                registers.range((unit_id, function, address)..=(unit_id, function, last)).map(|(_, word)| *word).collect();
            if words.len() == usize::from(quantity) { Ok(words) } else { Err(2) }
        })
    }
}

/// A counting register that misbehaves on request. Counts in whole units of its register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CounterRegister {
    value: u64,
    modulus: u64,
}

impl CounterRegister {
    /// Starts at `value`; wraps to 0 at `modulus` (0 counts as 1).
    pub fn new(value: u64, modulus: u64) -> Self {
        let modulus = modulus.max(1);
        Self { value: value % modulus, modulus }
    }

    /// What the register shows.
    pub fn value(self) -> u64 {
        self.value
    }

    /// Counts on, and rolls over at the modulus.
    pub fn count(&mut self, step: u64) {
        let sum = u128::from(self.value).saturating_add(u128::from(step)) % u128::from(self.modulus);
        self.value = u64::try_from(sum).unwrap_or(0);
    }

    /// Stands `before` units below its modulus, so that it rolls over soon.
    pub fn move_before_rollover(&mut self, before: u64) {
        self.value = self.modulus.saturating_sub(before.max(1));
    }

    /// Jumps to a value that it never counted to.
    pub fn jump_to(&mut self, value: u64) {
        self.value = value % self.modulus;
    }

    /// Starts from 0 again, as after a power cut or an exchange.
    pub fn reset(&mut self) {
        self.value = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_that_were_never_set_are_illegal() {
        let meters = Arc::new(Meters::new());
        meters.set_u32(1, Function::HoldingRegisters, 10, 0x0001_0002);
        meters.set(1, Function::HoldingRegisters, u16::MAX, &[7, 8]);
        let bank = meters.bank();
        for (unit_id, function, address, quantity, words) in [
            (1, Function::HoldingRegisters, 10, 2, Ok(vec![1, 2])),
            (1, Function::HoldingRegisters, 11, 1, Ok(vec![2])),
            (1, Function::HoldingRegisters, 11, 2, Err(2)),
            (1, Function::InputRegisters, 10, 2, Err(2)),
            (2, Function::HoldingRegisters, 10, 2, Err(2)),
            (1, Function::HoldingRegisters, u16::MAX, 1, Ok(vec![7])),
            (1, Function::HoldingRegisters, u16::MAX, 2, Err(2)),
        ] {
            assert_eq!(bank(unit_id, function, address, quantity), words, "{unit_id} {function:?} {address} {quantity}");
        }
    }

    #[test]
    fn counters_count_roll_over_jump_and_reset() {
        let mut counter = CounterRegister::new(1_005, 1_000);
        assert_eq!(counter.value(), 5);
        counter.count(10);
        assert_eq!(counter.value(), 15);
        counter.move_before_rollover(3);
        counter.count(5);
        assert_eq!(counter.value(), 2);
        counter.jump_to(900);
        counter.count(u64::MAX);
        assert!(counter.value() < 1_000);
        counter.reset();
        assert_eq!(counter.value(), 0);
        assert_eq!(CounterRegister::new(5, 0).value(), 0);
    }
}
