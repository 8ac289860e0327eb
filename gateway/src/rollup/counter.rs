//! Counters: differences of neighbouring registers, shared out over hours (R-DELTA, R-EXCHANGE, R-BOUND, R-GAP).
//!
//! A pair's difference grows evenly in time: at an instant `b` between its readings it has reached
//! `round(difference * (b - earlier) / (later - earlier))`, rounded half to even at [`EXTRA_DIGITS`] more digits than
//! the point has. What an hour gets is the growth between its ends, so the hours of a pair add up to its difference to
//! the last digit, and so do days, months and years. A pair wider than the point's gap threshold is a gap.
//!
//! [`EXTRA_DIGITS`]: super::partial::EXTRA_DIGITS

use parkgate_collector::model::{Decimal, Step, UtcMillis};
use parkgate_collector::normalise::{CounterRule, Register};

use super::count::Grid;
use super::partial::{CounterPart, EXTRA, Of, Partial, Straddle, share};
use super::rule::PointRule;

/// A meter exchange, or a multiplier that changed without one: at `at` one segment ends and the next begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// When. A register of this very instant is the new segment's.
    pub at: UtcMillis,
    /// Last register of the old segment; `None` when unknown: what it counted since its last reading is lost.
    pub old_final: Option<i64>,
    /// First register of the new segment; `None` when unknown: counting begins with its first reading.
    pub new_initial: Option<i64>,
    /// What registers of the new segment are multiplied with.
    pub multiplier: Decimal,
}

/// The registers of one point as they come.
#[derive(Debug)]
pub(super) struct CounterHours<'a> {
    exchanges: &'a [Exchange],
    /// How many of them lie behind.
    passed: usize,
    last: Option<Register>,
}

impl<'a> CounterHours<'a> {
    pub(super) fn new(exchanges: &'a [Exchange]) -> Self {
        Self { exchanges, passed: 0, last: None }
    }

    /// Takes the next register that counts.
    pub(super) fn push(&mut self, rule: &PointRule, grid: &mut Grid, time: UtcMillis, value: i64, step: Step) {
        let new = Register { time, value };
        let mut last = self.last.replace(new);
        let mut exchanged = false;
        while let Some(exchange) = self.exchanges.get(self.passed).filter(|exchange| exchange.at <= time) {
            if let Some(old) = last {
                let end = exchange.old_final.map(|value| Register { time: exchange.at, value });
                pair(rule, grid, old, end.ok_or(exchange.at), self.multiplier());
                mark(grid, exchange.at);
            }
            exchanged = true;
            self.passed = self.passed.saturating_add(1);
            last = match (exchange.new_initial, last) {
                (Some(value), _) => Some(Register { time: exchange.at, value }),
                // What the new meter counted before its first reading is lost.
                (None, Some(old)) => {
                    pair(rule, grid, Register { time: exchange.at, ..old }, Err(time), self.multiplier());
                    None
                }
                (None, None) => None,
            };
        }
        if let Some(old) = last {
            // An exchange that only the sample tells of, with nothing known about either register.
            if step == Step::Exchange && !exchanged {
                pair(rule, grid, old, Err(time), self.multiplier());
                mark(grid, time);
            } else {
                pair(rule, grid, old, Ok(new), self.multiplier());
            }
        }
        if let Some((_, part)) = grid.at(time) {
            let part = counter_part(part);
            part.covered = Some((part.covered.map_or(time, |(first, _)| first), time));
            let register = i128::from(value).saturating_mul(EXTRA);
            part.registers = Some((part.registers.map_or(register, |(first, _)| first), register));
        }
    }

    fn multiplier(&self) -> Decimal {
        self.passed.checked_sub(1).and_then(|index| self.exchanges.get(index)).map_or(Decimal::ONE, |exchange| exchange.multiplier)
    }
}

fn mark(grid: &mut Grid, at: UtcMillis) {
    if let Some((_, part)) = grid.at(at) {
        counter_part(part).exchanged = true;
    }
}

/// Shares out the difference of a pair; `new` is only a time where there is no register to form one with.
fn pair(rule: &PointRule, grid: &mut Grid, old: Register, new: Result<Register, UtcMillis>, multiplier: Decimal) {
    let end = new.map_or_else(|time| time, |register| register.time);
    let counted = new.ok().map(|new| growth(&rule.counter, old, new, multiplier));
    let Some(Some(growth)) = counted else {
        let suspect = counted.is_some();
        if suspect && let Some((_, part)) = grid.at(end) {
            counter_part(part).suspect = true;
        }
        return grid.each_within(old.time, end, |_, part, from, to| {
            let part = counter_part(part);
            part.suspect |= suspect;
            part.cover(from, to);
            part.lost_ms = part.lost_ms.saturating_add(to.since(from));
        });
    };
    let width = end.since(old.time);
    if width == 0 {
        if let Some((_, part)) = grid.at(end) {
            let part = counter_part(part);
            part.amount = Some(part.amount.unwrap_or(0).saturating_add(growth.amount));
            part.rollover |= growth.rollover;
        }
        return;
    }
    let gap = width > rule.hold_ms;
    let reached = |of: i128, at: UtcMillis| share(of, at.since(old.time), width).unwrap_or(0);
    grid.each_within(old.time, end, |period, part, from, to| {
        let part = counter_part(part);
        let amount = reached(growth.amount, to).saturating_sub(reached(growth.amount, from));
        part.amount = Some(part.amount.unwrap_or(0).saturating_add(amount));
        part.rollover |= growth.rollover;
        let straddle = Some(Straddle { amount, gap });
        if old.time < period.start {
            part.lead = straddle;
        }
        if period.end < end {
            part.trail = straddle;
        }
        part.whole = old.time < period.start && period.end < end;
        part.cover(from, to);
        if gap {
            part.gap_ms = part.gap_ms.saturating_add(to.since(from));
        }
        let register = |at: UtcMillis| {
            let register = growth.register.saturating_add(reached(growth.steps, at));
            growth.modulus.filter(|&modulus| growth.rollover && register >= modulus).map_or(register, |modulus| register - modulus)
        };
        part.registers = Some((part.registers.map_or_else(|| register(from), |(first, _)| first), register(to)));
    });
}

/// How far a pair's register and amount grow, with the extra digits.
struct Growth {
    amount: i128,
    steps: i128,
    register: i128,
    modulus: Option<i128>,
    rollover: bool,
}

/// `None` when the pair is suspect, or its figures leave 127 bits.
fn growth(rule: &CounterRule, old: Register, new: Register, multiplier: Decimal) -> Option<Growth> {
    let difference = rule.difference(old, new)?;
    let amount = match u32::try_from(multiplier.exponent) {
        Ok(exponent) => EXTRA.checked_mul(10i128.checked_pow(exponent)?)?,
        Err(_) => EXTRA.checked_div(10i128.checked_pow(u32::from(multiplier.exponent.unsigned_abs()))?)?,
    };
    Some(Growth {
        amount: difference.checked_mul(i128::from(multiplier.mantissa))?.checked_mul(amount)?,
        steps: difference.checked_mul(EXTRA)?,
        register: i128::from(old.value).checked_mul(EXTRA)?,
        modulus: rule.modulus().and_then(|modulus| modulus.checked_mul(EXTRA)),
        rollover: rule.pair(old, new) == Step::Rollover,
    })
}

impl CounterPart {
    fn cover(&mut self, from: UtcMillis, to: UtcMillis) {
        self.covered = Some(self.covered.map_or((from, to), |(first, last)| (first.min(from), last.max(to))));
    }
}

fn counter_part(part: &mut Partial) -> &mut CounterPart {
    if !matches!(part.of, Of::Counter(_)) {
        part.of = Of::Counter(CounterPart::default());
    }
    match &mut part.of {
        Of::Counter(part) => part,
        _ => unreachable!("made above"),
    }
}
