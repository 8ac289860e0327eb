//! Which pairs reach over an exchange that only a sample tells of: the first register of another meter, or one that is read
//! or scaled otherwise than those before it, comes with [`Step::Exchange`] and keeps it for ever.
//!
//! A flag is *explained* when an exchange is, or was and is undone, entered for an instant before it, and all registers
//! from that instant to it came late: those are not classified ([`Step::None`]), and had one come in time, it had got the
//! flag. Then what is entered tells what to count. An unexplained flag breaks the pair that ends at it. Where late
//! registers lie directly before it, they came after it, and are of its kind: the pair that ends at the first of them is
//! broken instead.
//!
//! Pure: what lies before the samples it is given is asked for ([`Announced::asks`]), and breaks that lie before the sample
//! that tells of them are found in one run and used in the next ([`Known`]).

use std::collections::BTreeSet;

use parkgate_collector::model::{Sample, Step, UtcMillis};

use super::counter::Declared;

/// What a run over the same samples found, for the next one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Whether no register that came in time lies where [`Ask`] says; `None`: nobody asked.
    pub alone: Option<bool>,
    /// Late registers at which broken pairs end.
    pub breaks: BTreeSet<UtcMillis>,
}

/// Whether a register that came in time lies in `[from, to)`: before the samples that were given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// From when, inclusive.
    pub from: UtcMillis,
    /// Until when, exclusive.
    pub to: UtcMillis,
}

/// The samples of one point as they come.
#[derive(Debug, Default)]
pub(super) struct Announced {
    known: Known,
    /// When the first sample was.
    first: Option<UtcMillis>,
    /// The last instant that an exchange is or was entered for.
    mark: Option<UtcMillis>,
    /// Since then a register came in time.
    in_time: bool,
    /// First of the late registers since the last one that came in time.
    late: Option<UtcMillis>,
    asks: Option<Ask>,
    breaks: BTreeSet<UtcMillis>,
}

/// Whether a sample came in time, and so was classified.
pub(super) fn came_in_time(sample: &Sample) -> bool {
    sample.status.step() != Step::None
}

impl Announced {
    pub(super) fn new(known: Known) -> Self {
        Self { known, ..Self::default() }
    }

    /// Takes the next sample that counts; true when nothing tells what was counted between the register before and this
    /// one. `wrong`: no pair is formed with it.
    pub(super) fn take(&mut self, declared: &Declared, sample: &Sample, wrong: bool) -> bool {
        let time = sample.record_time;
        let is_first = self.first.is_none();
        let first = *self.first.get_or_insert(time);
        let mark = declared.exchange_before(time);
        if mark != self.mark {
            (self.mark, self.in_time) = (mark, false);
        }
        if !came_in_time(sample) {
            if !wrong {
                self.late.get_or_insert(time);
            }
            return !wrong && self.known.breaks.contains(&time);
        }
        let mut broken = sample.status.step() == Step::Exchange && !self.explained(first, is_first);
        self.in_time = true;
        if let (true, Some(late)) = (broken, self.late) {
            self.breaks.insert(late);
            broken = false;
        }
        self.late = None;
        broken
    }

    /// Whether what is entered explains a flag now.
    fn explained(&mut self, first: UtcMillis, is_first: bool) -> bool {
        let Some(mark) = self.mark.filter(|_| !self.in_time) else { return false };
        if is_first || first <= mark {
            return true;
        }
        if self.known.alone.is_none() {
            self.asks = Some(Ask { from: mark, to: first });
        }
        self.known.alone.unwrap_or(false)
    }

    /// What has to be known for a right answer; nothing in most runs.
    pub(super) fn asks(&self) -> Option<Ask> {
        self.asks
    }

    /// What the next run has to know, when this one did not.
    pub(super) fn next(&self) -> Option<Known> {
        (self.breaks != self.known.breaks).then(|| Known { breaks: self.breaks.clone(), ..self.known.clone() })
    }
}
