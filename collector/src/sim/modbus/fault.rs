//! Which faults a simulated server makes, how often, and how many it made. Changed at run time; same seed, same faults
//! per connection.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};

use crate::protocol::modbus::Function;

/// What can happen to one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// It comes after [`Faults::set_late_ms`]; answers to later requests may overtake it.
    LateAnswer,
    /// It carries the id of the next or the last request. In RTU frames: its CRC is wrong.
    WrongTransactionId,
    /// Its last bytes are missing, and the header's length agrees with that.
    ShortFrame,
    /// Its last bytes are missing, and the header's length says that they are there.
    TruncatedFrame,
    /// Its byte count is wrong.
    WrongByteCount,
    /// It is to another function.
    WrongFunction,
    /// It carries another unit id.
    WrongUnit,
    /// Its protocol id is not 0. In RTU frames: a byte that is none of its own comes before it.
    WrongProtocol,
    /// It is an exception: server device busy.
    Exception,
    /// It comes twice.
    Duplicate,
    /// It never comes.
    Silence,
    /// The connection closes instead; where there is none, it never comes.
    Close,
    /// It comes in two segments, a moment apart.
    Split,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Self; 13] = [
        Self::LateAnswer,
        Self::WrongTransactionId,
        Self::ShortFrame,
        Self::TruncatedFrame,
        Self::WrongByteCount,
        Self::WrongFunction,
        Self::WrongUnit,
        Self::WrongProtocol,
        Self::Exception,
        Self::Duplicate,
        Self::Silence,
        Self::Close,
        Self::Split,
    ];
}

/// How one unit behaves as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitMode {
    /// It answers.
    Answers,
    /// It says nothing.
    Silent,
    /// Each request gets this exception code.
    Exception(u8),
}

/// The switches. All can be changed while the server runs.
#[derive(Debug)]
pub struct Faults {
    seed: u64,
    connections: AtomicU64,
    late_ms: AtomicU32,
    per_million: [AtomicU32; Fault::ALL.len()],
    next: [AtomicU32; Fault::ALL.len()],
    made: [AtomicU64; Fault::ALL.len()],
    units: [AtomicU16; 256],
    illegal: Mutex<Vec<(u8, Function, u16, u16)>>,
}

const SILENT: u16 = 0x100;

impl Faults {
    /// No faults yet; `seed` decides which answers they will hit.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            connections: AtomicU64::new(0),
            late_ms: AtomicU32::new(50),
            per_million: [const { AtomicU32::new(0) }; Fault::ALL.len()],
            next: [const { AtomicU32::new(0) }; Fault::ALL.len()],
            made: [const { AtomicU64::new(0) }; Fault::ALL.len()],
            units: [const { AtomicU16::new(0) }; 256],
            illegal: Mutex::new(Vec::new()),
        }
    }

    /// From now on, `fault` hits this many answers of a million.
    pub fn set_rate(&self, fault: Fault, per_million: u32) {
        slot(&self.per_million, fault).store(per_million, Ordering::Relaxed);
    }

    /// The next `count` answers, on whichever connection, have this fault.
    pub fn force(&self, fault: Fault, count: u32) {
        slot(&self.next, fault).store(count, Ordering::SeqCst);
    }

    /// How long a late answer takes.
    pub fn set_late_ms(&self, late_ms: u32) {
        self.late_ms.store(late_ms, Ordering::Relaxed);
    }

    /// How a unit behaves from now on.
    pub fn set_unit(&self, unit_id: u8, mode: UnitMode) {
        let code = match mode {
            UnitMode::Answers => 0,
            UnitMode::Silent => SILENT,
            UnitMode::Exception(code) => u16::from(code),
        };
        if let Some(unit) = self.units.get(usize::from(unit_id)) {
            unit.store(code, Ordering::Relaxed);
        }
    }

    /// Reads of a unit that touch `first..=last` are refused with exception 2 from now on.
    pub fn add_illegal(&self, unit_id: u8, function: Function, first: u16, last: u16) {
        self.illegal.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((unit_id, function, first, last));
    }

    /// All addresses are legal again.
    pub fn clear_illegal(&self) {
        self.illegal.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
    }

    /// How often a fault was made.
    pub fn made(&self, fault: Fault) -> u64 {
        slot(&self.made, fault).load(Ordering::Relaxed)
    }

    pub(super) fn unit(&self, unit_id: u8) -> UnitMode {
        match self.units.get(usize::from(unit_id)).map_or(0, |unit| unit.load(Ordering::Relaxed)) {
            0 => UnitMode::Answers,
            SILENT => UnitMode::Silent,
            code => UnitMode::Exception(u8::try_from(code).unwrap_or(4)),
        }
    }

    pub(super) fn is_illegal(&self, unit_id: u8, function: Function, first: u16, last: u16) -> bool {
        let illegal = self.illegal.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        illegal.iter().any(|&(unit, of, from, to)| unit == unit_id && of == function && from <= last && to >= first)
    }

    /// A random source for a new connection.
    pub(super) fn random(&self) -> fastrand::Rng {
        let connection = self.connections.fetch_add(1, Ordering::Relaxed);
        fastrand::Rng::with_seed(self.seed.wrapping_add(connection.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
    }

    /// The fault of the next answer, counted.
    pub(super) fn draw(&self, random: &mut fastrand::Rng) -> Option<Fault> {
        let forced =
            |fault: &Fault| slot(&self.next, *fault).fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| count.checked_sub(1)).is_ok();
        let mut dice = random.u32(0..1_000_000);
        let fault = Fault::ALL.into_iter().find(forced).or_else(|| {
            Fault::ALL.into_iter().find(|&fault| {
                let rate = slot(&self.per_million, fault).load(Ordering::Relaxed);
                let hit = dice < rate;
                dice = dice.saturating_sub(rate);
                hit
            })
        })?;
        slot(&self.made, fault).fetch_add(1, Ordering::Relaxed);
        Some(fault)
    }

    pub(super) fn late(&self) -> std::time::Duration {
        std::time::Duration::from_millis(u64::from(self.late_ms.load(Ordering::Relaxed)))
    }
}

fn slot<T>(table: &[T; Fault::ALL.len()], fault: Fault) -> &T {
    table.get(fault as usize).expect("one slot per fault")
}
