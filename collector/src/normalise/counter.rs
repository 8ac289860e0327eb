//! Fourth step: how a counter's register relates to the one before it (R-DELTA, R-EXCHANGE). Classifies only; the
//! register itself is what is stored, and totals are formed later, from all registers in order of time.
//!
//! Rules, by record time:
//! - later than the last register and not below it: `Delta` (equal too);
//! - below it: `Rollover` when `modulus - old + new` is not above `highest rate * hours between them`, else `Suspect`;
//!   without a modulus or a rate a fall is always `Suspect`. The new register is the base of the next pair either way;
//! - the first register at or after an announced exchange: `Exchange`; so is the first one that is read or scaled otherwise
//!   than those before it ([`register_source`]);
//! - at the same time as the last one (a repeat with another value): judged against the register before, as if the
//!   replaced one had never been;
//! - earlier than the last one (late data): `Delta` when it lies, in time and in value, between the last two registers
//!   and those are a `Delta`; else `None`, which says that it was not classified. Never `Suspect`: being late is no fall.
//!   It never becomes the base, so it cannot spoil the next pair.

use super::exact::Ratio;
use crate::catalogue::{Catalogue, Point, PointSource};
use crate::model::{Step, UtcMillis};

const MS_PER_HOUR: i128 = 3_600_000;

/// What the config says about a counter, as mantissas.
#[derive(Clone, Copy, Debug, Default)]
pub struct CounterRule {
    modulus: Option<i128>,
    rate_per_hour: Option<Ratio>,
}

/// One register and when it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register {
    /// Record time.
    pub time: UtcMillis,
    /// Mantissa at the point's decimals.
    pub value: i64,
}

/// What is remembered of a counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct CounterState {
    /// The last register by record time, with its step.
    pub(super) base: Option<(Register, Step)>,
    /// The one before.
    pub(super) previous: Option<Register>,
    /// From here on the meter is another one; its first register is still to come.
    pub(super) exchange_at: Option<UtcMillis>,
}

/// How the registers of a point come about, as text: what is read, and how it is scaled. Registers of one text form
/// differences; between those of two nothing tells what was counted. The text is kept in files: it stays as it is. The topic
/// is no part of it: the same meter may come to speak under another one.
pub fn register_source(catalogue: &Catalogue, point: &Point) -> String {
    let read = match &point.source {
        PointSource::Modbus(source) => {
            let power = source.scale_register.map(|address| format!(" scale_register {address}")).unwrap_or_default();
            let (function, address, kind) = (source.function.code(), source.address, source.register_type);
            let letters = source.order.permutation.iter().take(usize::from(source.order.length));
            let order: String = letters.map(|&byte| char::from(b'A'.saturating_add(byte))).collect();
            format!("function {function} address {address} type {kind:?} order {order}{power}")
        }
        PointSource::Formula(formula) => format!("{:?} of {}", formula.operation, formula.inputs.join(", ")),
        PointSource::Mqtt => match catalogue.device(&point.device).map(|device| device.address.value_place(point.id)) {
            Some(place) if !place.is_empty() => format!("mqtt {place}"),
            _ => "mqtt".into(),
        },
        PointSource::Own => "own".into(),
    };
    format!("{read} scale {} offset {} raw_unit {}", point.scale.normalised(), point.offset.normalised(), point.raw_unit)
}

/// Whether a text that was kept says the same as one of now. Those of MQTT did not name the place in the payload once.
pub fn is_same_source(kept: &str, now: &str) -> bool {
    let scaling = |text: &str| text.rsplit_once(" scale ").map(|(_, scaling)| scaling.to_owned());
    kept == now || kept.starts_with("mqtt scale ") && now.starts_with("mqtt ") && scaling(kept) == scaling(now)
}

impl CounterRule {
    /// The rule of a point.
    pub fn new(point: &Point) -> Self {
        let decimals = point.identity.decimals;
        Self {
            modulus: point.modulus.and_then(|modulus| Ratio::of_decimal(modulus, decimals)).map(Ratio::floor),
            rate_per_hour: point.rate_max_per_hour.and_then(|rate| Ratio::of_decimal(rate, decimals)),
        }
    }

    /// The value at which the register wraps to 0, a mantissa at the point's decimals.
    pub fn modulus(&self) -> Option<i128> {
        self.modulus
    }

    /// The highest rate in register steps per hour, as numerator and denominator.
    pub fn rate_per_hour(&self) -> Option<(i128, i128)> {
        self.rate_per_hour.map(|rate| (rate.numerator, rate.denominator))
    }

    /// Whether some falls are told to be wraps: modulus and rate are known.
    pub fn tells_wraps(&self) -> bool {
        self.modulus.is_some() && self.rate_per_hour.is_some()
    }

    /// R-DELTA for a pair of neighbours in order of time: what was counted between them, in register steps; `None` when
    /// the pair is suspect.
    pub fn difference(&self, old: Register, new: Register) -> Option<i128> {
        let difference = i128::from(new.value).checked_sub(i128::from(old.value))?;
        match self.pair(old, new) {
            Step::Delta => Some(difference),
            Step::Rollover => self.modulus?.checked_add(difference),
            _ => None,
        }
    }

    /// How a register relates to its neighbour before it.
    pub fn pair(&self, old: Register, new: Register) -> Step {
        if new.value >= old.value {
            return Step::Delta;
        }
        if self.is_rollover(old, new) == Some(true) { Step::Rollover } else { Step::Suspect }
    }

    /// `None` without modulus or rate, and where the figures leave 127 bits.
    fn is_rollover(&self, old: Register, new: Register) -> Option<bool> {
        let modulus = self.modulus?;
        let rate = self.rate_per_hour?;
        if i128::from(old.value) > modulus || new.value < 0 {
            return Some(false);
        }
        let wrapped = modulus.checked_sub(i128::from(old.value))?.checked_add(i128::from(new.value))?;
        let needed = wrapped.checked_mul(MS_PER_HOUR)?.checked_mul(rate.denominator)?;
        let possible = rate.numerator.checked_mul(i128::from(new.time.since(old.time)))?;
        Some(needed <= possible)
    }
}

impl CounterState {
    /// The step of a register; changes nothing.
    pub(super) fn classify(&self, rule: &CounterRule, new: Register) -> Step {
        if self.exchange_at.is_some_and(|at| new.time >= at) {
            return Step::Exchange;
        }
        let Some((base, base_step)) = self.base else { return Step::First };
        if new.time > base.time {
            return rule.pair(base, new);
        }
        match (self.previous, base_step) {
            (Some(previous), Step::Delta | Step::Rollover | Step::Suspect) if new.time == base.time => rule.pair(previous, new),
            _ if new.time == base.time => base_step,
            (Some(previous), Step::Delta) if new.time >= previous.time && (previous.value..=base.value).contains(&new.value) => Step::Delta,
            _ => Step::None,
        }
    }

    /// The last register, where one with this value cannot be from before it: it is not lower, and the last one was no fall,
    /// behind which late registers may be higher.
    pub(super) fn floor(&self, value: i64) -> Option<Register> {
        let (base, step) = self.base?;
        (matches!(step, Step::First | Step::Delta) && value >= base.value).then_some(base)
    }

    /// Takes a classified register in; the same whether it was classified just now or is read back from the journal.
    pub(super) fn absorb(&mut self, new: Register, step: Step) {
        if step == Step::None {
            return;
        }
        if step == Step::Exchange {
            self.exchange_at = None;
        }
        match self.base {
            Some((base, _)) if new.time < base.time => {
                if self.previous.is_some_and(|previous| new.time >= previous.time) {
                    self.previous = Some(new);
                }
            }
            Some((base, _)) => {
                if new.time > base.time {
                    self.previous = Some(base);
                }
                self.base = Some((new, step));
            }
            None => self.base = Some((new, step)),
        }
    }

    /// Notes an exchange behind the last register; one of the same time is the other meter's, too: a retained message that is
    /// delivered again, and takes its place. Where none is remembered the record may have some, of a point that was
    /// configured before: then the next one is the other meter's, whenever it is.
    pub(super) fn announce_next(&mut self) {
        self.exchange_at = Some(self.base.map_or(UtcMillis(i64::MIN), |(base, _)| base.time));
    }

    /// Notes an exchange at `at`. `false` when a register at or after it is already recorded: then that one is the new
    /// meter's first, and only totals can be mended.
    pub(super) fn announce_exchange(&mut self, at: UtcMillis) -> bool {
        let ahead = self.base.is_none_or(|(base, _)| base.time < at);
        if ahead {
            self.exchange_at = Some(at);
        }
        ahead
    }
}
