//! From register readings to amounts: the only place where differences of registers are formed for indicators.
//!
//! Readings in order of time, by segment; the difference of each pair of neighbours in register units with the rollover
//! test; the share up to the boundary; times the segment's multiplier; the sum; an estimate of a lost tail. Nothing is ever
//! end minus start across a wrap or an exchange, and a pair that cannot be right adds nothing instead of 0.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Number;
use crate::period::{Range, hours};

/// A register value at an instant (milliseconds since 1970 UTC).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// When.
    pub at: i64,
    /// Register, before the multiplier.
    pub register: Number,
}

/// A stretch of time with one register and one multiplier; points in order of time, one per instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stretch {
    /// Start; `None`: since ever.
    pub from: Option<i64>,
    /// End; `None`: until now.
    pub to: Option<i64>,
    /// Primary units per register unit.
    pub multiplier: Number,
    /// Readings and the registers of the exchange protocol.
    pub points: Vec<Point>,
}

/// A meter as its arithmetic needs it; stretches in order of time, none overlapping.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Register {
    /// Register value at which it wraps to 0.
    pub modulus: Option<Number>,
    /// Highest plausible rate, register units per hour.
    pub rate_max: Option<Number>,
    /// Milliseconds between readings when all is well.
    pub every: Option<i64>,
    /// Its stretches.
    pub stretches: Vec<Stretch>,
}

/// What happened while a total was formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Flag {
    /// The register wrapped.
    Rollover,
    /// No reading on a boundary of the period.
    BoundaryInterpolated,
    /// The meter or its multiplier changed.
    MeterExchanged,
    /// The register was lost before the end.
    TailEstimated,
    /// A pair of readings was left out; the total is incomplete.
    Suspect,
}

/// A meter's amount over a range of time, in primary units.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// Measured and estimated; `None`: nothing of it is known.
    pub amount: Option<Number>,
    /// What happened; empty for an undisturbed total.
    pub flags: BTreeSet<Flag>,
    /// Part of the amount that R-EST estimates.
    pub estimated: Number,
    /// Part of the amount that splits at boundaries assigned (R-BOUND).
    pub interpolated: Number,
    /// Share of the range that lies outside gaps, holes and suspect pairs, 0 to 1.
    pub completeness: Number,
    /// Why the amount is not whole: the first cause in order of time.
    pub incomplete: Option<Hole>,
    /// Readings it rests on, where they were asked for.
    pub evidence: Vec<Evidence>,
}

/// Why a total is not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hole {
    /// The register fell in a way that no rollover explains.
    Suspect(Range),
    /// No reading covers this time.
    Uncovered(Range),
}

/// A reading that a total rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The reading.
    pub point: Point,
    /// Its part.
    pub role: &'static str,
}

/// An hour of a meter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hour {
    /// The hour.
    pub range: Range,
    /// Its amount.
    pub amount: Option<Number>,
    /// Whether it lies in an outage over which the register went on: an equal share of the difference (R-GAP).
    pub estimated: bool,
    /// Whether a boundary was split (R-BOUND).
    pub interpolated: bool,
}

/// The difference of two neighbouring readings in register units (R-DELTA).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delta {
    /// As counted.
    Counted(Number),
    /// The register wrapped once.
    Rollover(Number),
    /// It fell, and a wrap is not plausible: no difference.
    Suspect,
}

/// R-DELTA: `new >= old` counts; else a wrap is a rollover when `modulus - old + new` is at most the highest rate x hours.
pub fn delta(old: &Point, new: &Point, modulus: Option<&Number>, rate_max: Option<&Number>) -> Delta {
    if new.register >= old.register {
        return Delta::Counted(&new.register - &old.register);
    }
    let (Some(modulus), Some(rate_max)) = (modulus, rate_max) else { return Delta::Suspect };
    let wrapped = modulus - &old.register + &new.register;
    let most = rate_max * &hours(new.at.saturating_sub(old.at));
    if !wrapped.is_negative() && wrapped <= most { Delta::Rollover(wrapped) } else { Delta::Suspect }
}

impl Register {
    /// The amount over a range; `evidence`: with the readings it rests on.
    pub fn total(&self, range: Range, evidence: bool) -> Total {
        let mut sum = Sum::new(range, evidence);
        let existing = self.existing(range);
        let mut at = existing.start;
        for (index, stretch) in self.stretches.iter().enumerate() {
            let clip = stretch.clip(range);
            if clip.length() == 0 {
                continue;
            }
            sum.uncovered(Range { start: at, end: clip.start });
            let previous = index.checked_sub(1).and_then(|index| self.stretches.get(index));
            if previous.is_some() && stretch.from.is_some_and(|from| range.start < from && from < range.end) {
                sum.total.flags.insert(Flag::MeterExchanged);
            }
            sum.next_stretch();
            self.add_stretch(stretch, clip, &mut sum);
            at = clip.end;
        }
        sum.uncovered(Range { start: at, end: existing.end });
        sum.close(existing)
    }

    /// Hours of a range, one by one; what is left over of an hour at the end is an hour of its own.
    pub fn hours(&self, range: Range) -> Vec<Hour> {
        const HOUR: i64 = 3_600_000;
        let mut hours = Vec::new();
        let mut start = range.start;
        while start < range.end {
            let hour = Range { start, end: start.saturating_add(HOUR).min(range.end) };
            let total = self.total(hour, false);
            hours.push(Hour {
                range: hour,
                // An hour has no valid days of its own to estimate a lost tail from.
                amount: total.amount.filter(|_| !total.flags.contains(&Flag::TailEstimated)),
                estimated: self.in_gap(hour),
                interpolated: total.flags.contains(&Flag::BoundaryInterpolated),
            });
            start = hour.end;
        }
        hours
    }

    /// The part of a range in which the meter exists by its segments.
    fn existing(&self, range: Range) -> Range {
        let from = self.stretches.first().and_then(|first| first.from).unwrap_or(i64::MIN);
        let to = self.stretches.last().and_then(|last| last.to).unwrap_or(i64::MAX);
        range.overlap(Range { start: from, end: to })
    }

    fn add_stretch(&self, stretch: &Stretch, clip: Range, sum: &mut Sum) {
        let points = &stretch.points;
        // The pair that holds the start of the clip begins with the last reading at or before it.
        let first = points.partition_point(|point| point.at <= clip.start).saturating_sub(1);
        let mut at = clip.start;
        for pair in points.get(first..).unwrap_or_default().windows(2) {
            let [old, new] = pair else { continue };
            if old.at >= clip.end {
                break;
            }
            let span = Range { start: old.at, end: new.at };
            let part = span.overlap(clip);
            if part.length() == 0 {
                continue;
            }
            sum.uncovered(Range { start: at, end: part.start });
            at = part.end;
            let found = delta(old, new, self.modulus.as_ref(), self.rate_max.as_ref());
            sum.pair(old, new, found, span, part, &stretch.multiplier);
            if self.is_gap(span) {
                sum.gap += part.length();
            }
        }
        sum.uncovered(Range { start: at, end: clip.end });
    }

    /// Whether two neighbouring readings are so far apart that readings were lost between them.
    fn is_gap(&self, span: Range) -> bool {
        self.every.is_some_and(|every| span.length().saturating_mul(2) > every.saturating_mul(3))
    }

    fn in_gap(&self, hour: Range) -> bool {
        self.stretches.iter().any(|stretch| {
            let clip = stretch.clip(hour);
            let first = stretch.points.partition_point(|point| point.at <= clip.start).saturating_sub(1);
            let pairs = stretch.points.get(first..).unwrap_or_default().windows(2);
            let mut spans = pairs.filter_map(|pair| Some(Range { start: pair.first()?.at, end: pair.last()?.at }));
            spans.find(|span| span.overlap(clip).length() > 0 && self.is_gap(*span)).is_some()
        })
    }
}

impl Stretch {
    fn clip(&self, range: Range) -> Range {
        range.overlap(Range { start: self.from.unwrap_or(i64::MIN), end: self.to.unwrap_or(i64::MAX) })
    }
}

/// A total that is being summed up.
struct Sum {
    range: Range,
    evidence: bool,
    total: Total,
    measured: Number,
    /// Milliseconds that valid pairs cover, that gaps take, that nothing or a suspect pair covers.
    valid: i64,
    gap: i64,
    lost: i64,
    /// The stretch without readings that goes up to the end of the range.
    tail: Option<Range>,
    /// Whether the next pair is the first one of its stretch.
    first: bool,
}

impl Sum {
    fn new(range: Range, evidence: bool) -> Self {
        let total = Total::default();
        Self { range, evidence, total, measured: Number::zero(), valid: 0, gap: 0, lost: 0, tail: None, first: true }
    }

    fn pair(&mut self, old: &Point, new: &Point, found: Delta, span: Range, part: Range, multiplier: &Number) {
        let (difference, role) = match found {
            Delta::Counted(difference) => (difference, None),
            Delta::Rollover(difference) => {
                self.total.flags.insert(Flag::Rollover);
                (difference, Some(("before_rollover", "after_rollover")))
            }
            Delta::Suspect => {
                self.total.flags.insert(Flag::Suspect);
                self.lost += part.length();
                self.hole(Hole::Suspect(part));
                self.show(old, new, span, Some(("before_suspect_fall", "after_suspect_fall")));
                return;
            }
        };
        self.valid += part.length();
        let whole = difference * multiplier;
        if part == span {
            self.measured += &whole;
        } else {
            let share = Number::fraction(i128::from(part.length()), i128::from(span.length())).unwrap_or_default();
            let amount = whole * share;
            self.total.flags.insert(Flag::BoundaryInterpolated);
            self.total.interpolated += &amount;
            self.measured += &amount;
        }
        self.show(old, new, span, role);
    }

    fn next_stretch(&mut self) {
        self.first = true;
        if let Some(last) = self.total.evidence.last_mut().filter(|last| last.role == "reading") {
            last.role = "before_exchange";
        }
    }

    /// Keeps a pair as evidence when it opens or closes the range or is not ordinary.
    fn show(&mut self, old: &Point, new: &Point, span: Range, role: Option<(&'static str, &'static str)>) {
        if !self.evidence {
            return;
        }
        let evidence = &mut self.total.evidence;
        let (before, after) = role.unwrap_or((if evidence.is_empty() { "opening" } else { "after_exchange" }, "reading"));
        let first = std::mem::take(&mut self.first);
        if first || role.is_some() {
            evidence.push(Evidence { point: old.clone(), role: before });
        }
        // Of ordinary pairs in a row only the last end is kept.
        if role.is_none() && !first && evidence.last().is_some_and(|last| last.role == "reading" && last.point.at == span.start) {
            evidence.pop();
        }
        evidence.push(Evidence { point: new.clone(), role: after });
    }

    fn uncovered(&mut self, range: Range) {
        if range.length() == 0 {
            return;
        }
        self.lost += range.length();
        if range.end == self.range.end && self.valid > 0 {
            self.tail = Some(range);
        } else {
            self.hole(Hole::Uncovered(range));
        }
    }

    fn hole(&mut self, hole: Hole) {
        self.total.incomplete.get_or_insert(hole);
    }

    fn close(mut self, existing: Range) -> Total {
        let due = existing.length();
        if self.valid > 0 {
            let mut amount = self.measured.clone();
            if let Some(tail) = self.tail {
                // R-EST: measured / valid days x missing days; the unit of time cancels.
                let share = Number::fraction(i128::from(tail.length()), i128::from(self.valid)).unwrap_or_default();
                self.total.estimated = &self.measured * &share;
                self.total.flags.insert(Flag::TailEstimated);
                amount += &self.total.estimated;
            }
            self.total.amount = Some(amount);
        } else if due == 0 && self.range.length() > 0 {
            // Before the first segment or after the last one there is no such meter.
            self.total.amount = Some(Number::zero());
        }
        let sound = due.saturating_sub(self.lost).saturating_sub(self.gap).max(0);
        self.total.completeness = Number::fraction(i128::from(sound), i128::from(due)).unwrap_or_else(Number::one);
        if let Some(last) = self.total.evidence.last_mut().filter(|last| last.role == "reading") {
            last.role = "closing";
        }
        self.total
    }
}
