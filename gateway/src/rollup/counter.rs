//! Counters: differences of neighbouring registers, shared out over hours (R-DELTA, R-EXCHANGE, R-BOUND, R-GAP).
//!
//! A pair's difference grows evenly in time: at an instant `b` between its readings it has reached
//! `round(difference * (b - earlier) / (later - earlier))`, rounded half to even at [`EXTRA_DIGITS`] more digits than
//! the point has. What an hour gets is the growth between its ends, so the hours of a pair add up to its difference to
//! the last digit, and so do days, months and years. A pair wider than the point's gap threshold is a gap.
//!
//! [`EXTRA_DIGITS`]: super::partial::EXTRA_DIGITS

use std::collections::{BTreeMap, BTreeSet};

use parkgate_collector::model::{Decimal, Sample, Step, UtcMillis};
use parkgate_collector::normalise::{CounterRule, Register};

use super::announced::{Announced, Ask, Known};
use super::count::Grid;
use super::partial::{CounterPart, EXTRA, Of, Partial, Straddle, share};
use super::rule::{PointRule, counts};
use super::ruled::Before;

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

/// What somebody decided about a pair that R-DELTA calls suspect, both of whose registers are right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The register wrapped, however fast that was: the wrapped difference counts.
    Rollover,
    /// The register was set back: the pair adds nothing. What was counted between its readings is not known, as across an
    /// exchange without registers, so its time stays uncovered; but nothing is left to decide.
    Reset,
}

/// A verdict and what it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decided {
    /// What.
    pub verdict: Verdict,
    /// The pair; it holds for no other. `None`, in old entries: every pair that ends at its instant.
    pub pair: Option<SuspectPair>,
}

/// What was entered about a point's meter and is in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// Exchanges, in order of time; no two at one instant.
    pub exchanges: Vec<Exchange>,
    /// Verdicts, by the instant at which the suspect pair ends; of several about one pair the last holds.
    pub verdicts: BTreeMap<UtcMillis, Vec<Decided>>,
    /// Time and register of readings that are wrong: pairs are formed across them. A reading that says something else
    /// at that time is not meant.
    pub wrong: BTreeSet<(UtcMillis, i64)>,
    /// When exchanges were said to be that were undone: a sample that was taken for another meter's first is none, see
    /// [`super::announced`].
    pub undone: BTreeSet<UtcMillis>,
    /// Rules that were in force before the one of now, oldest first.
    pub rules: Vec<Before>,
}

impl Declared {
    /// Nothing.
    pub const NONE: &'static Self =
        &Self { exchanges: Vec::new(), verdicts: BTreeMap::new(), wrong: BTreeSet::new(), undone: BTreeSet::new(), rules: Vec::new() };

    /// The register of a sample with which pairs are formed: one that counts, and that nobody called wrong.
    pub fn register(&self, sample: &Sample) -> Option<i64> {
        counts(sample).filter(|&value| !self.wrong.contains(&(sample.record_time, value)))
    }

    /// The rules in force since a time, the one of then first.
    fn since(&self, rule: &PointRule, time: UtcMillis) -> impl Iterator<Item = CounterRule> {
        self.rules.iter().filter(move |before| time < before.until).map(|before| before.rule).chain([rule.counter])
    }

    /// What registers are below by some rule in force since a time: the greatest modulus; `None` where one has none.
    pub fn bound_since(&self, rule: &PointRule, time: UtcMillis) -> Option<i128> {
        let moduli = self.since(rule, time).map(|by| by.modulus());
        moduli.reduce(|one, other| one.zip(other).map(|(one, other)| one.max(other))).flatten()
    }

    /// R-DELTA: what was counted between two registers, and the rule that tells it: the one in force at the later register,
    /// or the first one after it that can. `None` when the pair is suspect by all of them.
    pub fn difference(&self, rule: &PointRule, old: Register, new: Register) -> Option<(i128, CounterRule)> {
        self.since(rule, new.time).find_map(|by| Some((by.difference(old, new)?, by)))
    }

    /// The same of a falling pair if the register wrapped between them, however fast; `None` when it cannot have: no modulus
    /// is known, or the earlier register is beyond it.
    pub fn wrapped(&self, rule: &PointRule, old: Register, new: Register) -> Option<(i128, CounterRule)> {
        self.since(rule, new.time).find_map(|by| Some((wrapped(by, old, new)?, by)))
    }

    /// What was decided about a falling pair. What names the pair holds whatever rule was configured since: it could tell a
    /// wrap where somebody knew better. An old entry, which names none, is about a pair that is suspect by all rules.
    fn verdict(&self, pair: SuspectPair, is_suspect: bool) -> Option<Verdict> {
        let decided = self.verdicts.get(&pair.new.time).filter(|_| pair.new.value < pair.old.value)?;
        let about = |decided: &&Decided| decided.pair.map_or(is_suspect, |about| about == pair);
        decided.iter().rev().find(about).map(|decided| decided.verdict)
    }

    /// The last instant up to one that an exchange is entered for, or was.
    pub fn exchange_before(&self, upto: UtcMillis) -> Option<UtcMillis> {
        let passed = self.exchanges.partition_point(|exchange| exchange.at <= upto);
        let entered = passed.checked_sub(1).and_then(|index| self.exchanges.get(index)).map(|exchange| exchange.at);
        entered.max(self.undone.range(..=upto).next_back().copied())
    }

    /// What registers of an instant are multiplied with.
    pub fn multiplier_at(&self, at: UtcMillis) -> Decimal {
        let passed = self.exchanges.partition_point(|exchange| exchange.at <= at);
        self.multiplier_behind(passed)
    }

    /// What registers behind the first so many exchanges are multiplied with.
    fn multiplier_behind(&self, passed: usize) -> Decimal {
        passed.checked_sub(1).and_then(|index| self.exchanges.get(index)).map_or(Decimal::ONE, |exchange| exchange.multiplier)
    }
}

/// A pair without a difference (R-DELTA), about which nothing was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SuspectPair {
    /// The earlier register.
    pub old: Register,
    /// The later one, which is lower.
    pub new: Register,
}

/// Suspect pairs of one run, in order of time.
#[derive(Clone, Debug, Default)]
pub struct Suspects {
    /// The first ones, at most [`SUSPECTS_MAX`].
    pub pairs: Vec<SuspectPair>,
    /// There are more.
    pub more: bool,
}

/// The registers of one point as they come.
#[derive(Debug)]
pub(super) struct CounterHours<'a> {
    declared: &'a Declared,
    /// How many exchanges lie behind.
    passed: usize,
    last: Option<Register>,
    announced: Announced,
    /// A wrong reading since the last register was the first of another meter.
    exchanged: bool,
    pub(super) suspects: Suspects,
}

/// Suspect pairs that are remembered of one run.
pub const SUSPECTS_MAX: usize = 1_000;

impl<'a> CounterHours<'a> {
    pub(super) fn new(declared: &'a Declared, known: Known) -> Self {
        let announced = Announced::new(known);
        Self { declared, passed: 0, last: None, announced, exchanged: false, suspects: Suspects::default() }
    }

    /// See [`Announced::asks`].
    pub(super) fn asks(&self) -> Option<Ask> {
        self.announced.asks()
    }

    /// See [`Announced::next`].
    pub(super) fn next(&self) -> Option<Known> {
        self.announced.next()
    }

    /// Takes the next sample that counts, and its register.
    pub(super) fn push(&mut self, rule: &PointRule, grid: &mut Grid, sample: &Sample, value: i64) {
        let time = sample.record_time;
        let wrong = self.declared.wrong.contains(&(time, value));
        self.exchanged |= self.announced.take(self.declared, sample, wrong);
        if wrong {
            // Whoever reads the hour still sees that something was wrong.
            if let Some((_, part)) = grid.at(time) {
                counter_part(part).decided = true;
            }
            return;
        }
        let broken = std::mem::take(&mut self.exchanged);
        let new = Register { time, value };
        let mut last = self.last.replace(new);
        if last.is_none() {
            // Nothing is counted before the first register: exchanges before it only tell its multiplier.
            self.passed = self.declared.exchanges.partition_point(|exchange| exchange.at <= time);
        }
        let mut exchanged = false;
        while let Some(exchange) = self.declared.exchanges.get(self.passed).copied().filter(|exchange| exchange.at <= time) {
            if let Some(old) = last {
                let end = exchange.old_final.map(|value| Register { time: exchange.at, value });
                self.pair(rule, grid, old, end.ok_or(exchange.at));
                mark(grid, exchange.at);
            }
            exchanged = true;
            self.passed = self.passed.saturating_add(1);
            last = match (exchange.new_initial, last) {
                (Some(value), _) => Some(Register { time: exchange.at, value }),
                // What the new meter counted before its first reading is lost.
                (None, Some(old)) => {
                    self.pair(rule, grid, Register { time: exchange.at, ..old }, Err(time));
                    None
                }
                (None, None) => None,
            };
        }
        if let Some(old) = last {
            // An exchange that only the sample tells of, with nothing known about either register.
            if broken && !exchanged {
                self.pair(rule, grid, old, Err(time));
                mark(grid, time);
            } else {
                self.pair(rule, grid, old, Ok(new));
            }
        }
        if let Some((_, part)) = grid.at(time) {
            let part = counter_part(part);
            part.covered = Some((part.covered.map_or(time, |(first, _)| first), time));
            let register = i128::from(value).saturating_mul(EXTRA);
            part.registers = Some((part.registers.map_or(register, |(first, _)| first), register));
        }
    }

    /// Why there is no difference: the pair is suspect and nobody decided about it, or its figures leave 127 bits; or it
    /// was set back.
    fn growth(&self, rule: &PointRule, old: Register, new: Register) -> Result<Growth, Lost> {
        let told = self.declared.difference(rule, old, new);
        let counted = match self.declared.verdict(SuspectPair { old, new }, told.is_none()) {
            Some(Verdict::Reset) => return Err(Lost::Reset),
            Some(Verdict::Rollover) => self.declared.wrapped(rule, old, new).map(|(wrapped, by)| (wrapped, by, true)),
            None => told.map(|(difference, by)| (difference, by, by.pair(old, new) == Step::Rollover)),
        };
        counted.and_then(|(difference, by, rollover)| self.grown(old, difference, by, rollover)).ok_or(Lost::Suspect)
    }

    fn grown(&self, old: Register, difference: i128, by: CounterRule, rollover: bool) -> Option<Growth> {
        let multiplier = self.declared.multiplier_behind(self.passed);
        let mut growth = Growth { rollover, ..Growth::default() };
        let amount = match u32::try_from(multiplier.exponent) {
            Ok(exponent) => EXTRA.checked_mul(10i128.checked_pow(exponent)?)?,
            Err(_) => EXTRA.checked_div(10i128.checked_pow(u32::from(multiplier.exponent.unsigned_abs()))?)?,
        };
        growth.amount = difference.checked_mul(i128::from(multiplier.mantissa))?.checked_mul(amount)?;
        growth.steps = difference.checked_mul(EXTRA)?;
        growth.register = i128::from(old.value).checked_mul(EXTRA)?;
        growth.modulus = by.modulus().and_then(|modulus| modulus.checked_mul(EXTRA));
        Some(growth)
    }

    fn suspect(&mut self, pair: SuspectPair) {
        if self.suspects.pairs.len() < SUSPECTS_MAX {
            self.suspects.pairs.push(pair);
        } else {
            self.suspects.more = true;
        }
    }

    /// Shares out the difference of a pair; `new` is only a time where there is no register to form one with.
    fn pair(&mut self, rule: &PointRule, grid: &mut Grid, old: Register, new: Result<Register, UtcMillis>) {
        let end = new.map_or_else(|time| time, |register| register.time);
        let counted = new.map_err(|_| Lost::Exchange).and_then(|new| self.growth(rule, old, new));
        let growth = match counted {
            Ok(growth) => growth,
            Err(lost) => {
                if let (Lost::Suspect, Ok(new)) = (lost, new) {
                    self.suspect(SuspectPair { old, new });
                }
                let flag = |part: &mut CounterPart| {
                    part.suspect |= lost == Lost::Suspect;
                    part.decided |= lost == Lost::Reset;
                };
                if let Some((_, part)) = grid.at(end).filter(|_| lost != Lost::Exchange) {
                    flag(counter_part(part));
                }
                return grid.each_within(old.time, end, |_, part, from, to| {
                    let part = counter_part(part);
                    flag(part);
                    part.cover(from, to);
                    part.lost_ms = part.lost_ms.saturating_add(to.since(from));
                });
            }
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
}

/// See [`Declared::wrapped`]; in register steps.
fn wrapped(rule: CounterRule, old: Register, new: Register) -> Option<i128> {
    let modulus = rule.modulus()?;
    let wrapped = modulus.checked_sub(i128::from(old.value))?.checked_add(i128::from(new.value))?;
    (i128::from(old.value) <= modulus && new.value >= 0 && wrapped >= 0).then_some(wrapped)
}

fn mark(grid: &mut Grid, at: UtcMillis) {
    if let Some((_, part)) = grid.at(at) {
        counter_part(part).exchanged = true;
    }
}

/// How far a pair's register and amount grow, with the extra digits.
#[derive(Default)]
struct Growth {
    amount: i128,
    steps: i128,
    register: i128,
    modulus: Option<i128>,
    rollover: bool,
}

/// Why nothing is counted between two readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lost {
    /// One of two registers beside an exchange is not known.
    Exchange,
    /// Nobody has decided about the fall.
    Suspect,
    /// The register was set back.
    Reset,
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
