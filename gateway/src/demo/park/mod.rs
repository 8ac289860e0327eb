//! The model of the simulated park: what every meter of it says at any moment. Pure and deterministic: the same seed
//! gives the same park, whether asked while history is filled in or live, in this run or the next.
//!
//! [`flows`] what flows through the park in every quarter of an hour; [`signals`] what each point makes of it.
//!
//! A *flow* (electric power, gas, water) has one mean rate per quarter of an hour; its sum from [`EPOCH`] to any
//! millisecond is exact integer arithmetic, so a register never falls and two ways of asking agree. A *mix* is a sum of
//! flows: the gate meter is the sum of its sub-meters plus loss to the last digit.
//!
//! Days are those of Asia/Shanghai (UTC+8, no summer time since 1992).

pub mod flows;
pub mod signals;

use std::sync::OnceLock;

use parkgate_collector::model::UtcMillis;

pub use flows::Flow;
pub use signals::{SIGNALS, Signal, SignalRow, Value, signal_of};

use super::noise::{hash, rough};

/// Where all registers are 0: 2025-01-01 00:00 in Shanghai. Fixed, so that a later start sees the same registers.
pub const EPOCH: UtcMillis = UtcMillis(1_735_660_800_000);
/// One slot of the model.
pub const SLOT_MS: i64 = 15 * 60_000;
/// Slots of a day.
pub const SLOTS_PER_DAY: i64 = 96;

const MINUTE_MS: i64 = 60_000;
const SECOND_MS: i64 = 1_000;

/// The park of one seed.
#[derive(Debug)]
pub struct Park {
    seed: u64,
    /// Per flow, the amount since [`EPOCH`] at the start of every slot, in thousandths of the flow's unit.
    totals: Vec<Vec<i64>>,
    /// When somebody began to watch: what the park then shows at once does not depend on the hour of the day.
    live: OnceLock<UtcMillis>,
}

/// How finely a gauge is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// The value of the moment, as a poll finds it.
    Instant,
    /// The mean of the minute that the moment lies in.
    MinuteMean,
}

/// A sum of flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    /// A flow with a meter of its own.
    One(Flow),
    /// Main meter of the coating plant: line, abatement and the rest.
    CoatingMain,
    /// Power at the gate: all consumers and the loss, less what the PV plant gives.
    PowerGate,
    /// Loss between gate and sub-meters, 1.5 % of what the sub-meters see.
    PowerLoss,
    /// Gas at the gate: the three enterprises and 0.4 % loss.
    GasGate,
    /// Water at the gate: the enterprises, the park's own use and 3 % leakage.
    WaterGate,
    /// Heat given by the boiler, in J (rate: W), from the gas it burns.
    BoilerHeat,
    /// Treated waste water used again, 30 % of the outlet.
    Reclaimed,
}

/// Sub-meters below the power gate.
pub const POWER_SUBS: [Mix; 6] = [
    Mix::CoatingMain,
    Mix::One(Flow::FoodPower),
    Mix::One(Flow::DyeingPower),
    Mix::One(Flow::CommonPower),
    Mix::One(Flow::PileFast),
    Mix::One(Flow::PileSlow),
];

/// Heat of one litre of gas that reaches the steam, in J: 35.5 MJ/m3 at 92 % efficiency.
const HEAT_J_PER_L: i64 = 32_660;

impl Park {
    /// The park of `seed`, with tables up to a quarter of a year beyond `until`; asking for later moments works too but
    /// gets slower with the distance.
    pub fn new(seed: u64, until: UtcMillis) -> Self {
        const MARGIN_SLOTS: i64 = 90 * SLOTS_PER_DAY;
        let slots = (until.since(EPOCH).max(0) / SLOT_MS).saturating_add(MARGIN_SLOTS);
        let totals = Flow::ALL
            .iter()
            .map(|&flow| {
                let mut total = 0i64;
                let mut column = Vec::with_capacity(usize::try_from(slots).unwrap_or(0).saturating_add(1));
                column.push(0);
                for slot in 0..slots {
                    total += flows::slot_rate(seed, flow, slot) * RATE_TO_SLOT;
                    column.push(total);
                }
                column
            })
            .collect();
        Self { seed, totals, live: OnceLock::new() }
    }

    /// From now on it is watched; only the first call counts.
    pub fn goes_live(&self, now: UtcMillis) {
        let _ = self.live.set(now);
    }

    /// Whether the burner misfires: for two minutes, three minutes after the park went live and every hour from then on. Nothing
    /// of it is in history that is filled in.
    pub fn misfires(&self, at: UtcMillis) -> bool {
        const FIRST_MS: i64 = 3 * MINUTE_MS;
        const EVERY_MS: i64 = 60 * MINUTE_MS;
        const LASTS_MS: i64 = 2 * MINUTE_MS;
        let since = self.live.get().map(|live| at.since(*live).saturating_sub(FIRST_MS));
        since.is_some_and(|since| since >= 0 && since.rem_euclid(EVERY_MS) < LASTS_MS)
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Amount of `mix` since [`EPOCH`] in thousandths of its unit (mWh, mL; J for heat); 0 before. Never falls.
    pub fn total(&self, mix: Mix, at: UtcMillis) -> i64 {
        match mix {
            Mix::One(flow) => self.flow_total(flow, at),
            Mix::CoatingMain => {
                [Flow::LinePower, Flow::AbatementPower, Flow::CoatingOther].iter().map(|&flow| self.flow_total(flow, at)).sum()
            }
            Mix::PowerLoss => self.power_subs(at) * 15 / 1000,
            Mix::PowerGate => self.power_subs(at) + self.total(Mix::PowerLoss, at) - self.flow_total(Flow::Pv, at),
            Mix::GasGate => {
                with_loss([Flow::CoatingGas, Flow::BoilerGas, Flow::DyeingGas].iter().map(|&flow| self.flow_total(flow, at)).sum(), 4)
            }
            Mix::WaterGate => with_loss(WATER_SUBS.iter().map(|&flow| self.flow_total(flow, at)).sum(), 30),
            Mix::BoilerHeat => self.flow_total(Flow::BoilerGas, at) * HEAT_J_PER_L / 1000,
            Mix::Reclaimed => self.flow_total(Flow::WasteWater, at) * 3 / 10,
        }
    }

    /// Rate of `mix` in its unit per hour (W, L/h; W for heat).
    pub fn rate(&self, mix: Mix, at: UtcMillis, look: Look) -> i64 {
        let rate = |flow| self.flow_rate(flow, at, look);
        match mix {
            Mix::One(flow) => rate(flow),
            Mix::CoatingMain => [Flow::LinePower, Flow::AbatementPower, Flow::CoatingOther].into_iter().map(rate).sum(),
            Mix::PowerLoss => POWER_SUBS.iter().map(|&sub| self.rate(sub, at, look)).sum::<i64>() * 15 / 1000,
            Mix::PowerGate => {
                with_loss(POWER_SUBS.iter().map(|&sub| self.rate(sub, at, look)).sum(), 15) - self.rate(Mix::One(Flow::Pv), at, look)
            }
            Mix::GasGate => with_loss([Flow::CoatingGas, Flow::BoilerGas, Flow::DyeingGas].into_iter().map(rate).sum(), 4),
            Mix::WaterGate => with_loss(WATER_SUBS.into_iter().map(rate).sum(), 30),
            Mix::BoilerHeat => rate(Flow::BoilerGas) * HEAT_J_PER_L / 3600,
            Mix::Reclaimed => rate(Flow::WasteWater) * 3 / 10,
        }
    }

    fn power_subs(&self, at: UtcMillis) -> i64 {
        POWER_SUBS.iter().map(|&sub| self.total(sub, at)).sum()
    }

    /// Amount since the epoch at the start of `slot`, and the mean rate in the slot.
    fn slot(&self, flow: Flow, slot: i64) -> (i64, i64) {
        let column = self.totals.get(flow.index()).map_or(&[][..], Vec::as_slice);
        let index = usize::try_from(slot).unwrap_or(usize::MAX);
        if let Some([start, end]) = column.get(index..index.saturating_add(2)) {
            return (*start, (end - start) / RATE_TO_SLOT);
        }
        if slot < 0 {
            return (0, 0);
        }
        // Beyond the table: from its end on, slot by slot.
        let known = i64::try_from(column.len()).unwrap_or(0).saturating_sub(1).max(0);
        let mut total = column.last().copied().unwrap_or(0);
        for later in known..slot {
            total += flows::slot_rate(self.seed, flow, later) * RATE_TO_SLOT;
        }
        (total, flows::slot_rate(self.seed, flow, slot))
    }

    fn flow_total(&self, flow: Flow, at: UtcMillis) -> i64 {
        let since = at.since(EPOCH);
        let (slot, within) = (since.div_euclid(SLOT_MS), since.rem_euclid(SLOT_MS));
        let (start, rate) = self.slot(flow, slot);
        if within == 0 || rate == 0 {
            return start;
        }
        let (minute, within_minute) = (within / MINUTE_MS, within % MINUTE_MS);
        let (before, after) = (self.bump(flow, rate, slot, minute), self.bump(flow, rate, slot, minute + 1));
        // Unit per hour times milliseconds is 1/3600 of a thousandth of the unit; the bumps cancel at both ends of a slot.
        start + (rate * within + before * MINUTE_MS + (after - before) * within_minute) / 3600
    }

    fn flow_rate(&self, flow: Flow, at: UtcMillis, look: Look) -> i64 {
        let since = at.since(EPOCH);
        let (slot, within) = (since.div_euclid(SLOT_MS), since.rem_euclid(SLOT_MS));
        let (_, rate) = self.slot(flow, slot);
        let minute = within / MINUTE_MS;
        let mean = rate + self.bump(flow, rate, slot, minute + 1) - self.bump(flow, rate, slot, minute);
        match look {
            Look::MinuteMean => mean,
            Look::Instant => mean + mean * rough(self.seed, flow.key() ^ 0x5EC0, since.div_euclid(SECOND_MS), 4) / 1000,
        }
    }

    /// How far the amount at the start of `minute` of a slot is ahead of an even flow, in rate times minutes. 0 at both
    /// ends of the slot, and two neighbours differ by less than `rate`, so the flow stays positive.
    fn bump(&self, flow: Flow, rate: i64, slot: i64, minute: i64) -> i64 {
        if minute <= 0 || minute >= 15 {
            return 0;
        }
        rate * rough(self.seed, flow.key() ^ 0xB0B0, slot.wrapping_mul(16).wrapping_add(minute), flow.unrest_permille()) / 1000
    }

    /// A number that tells parks of different seeds apart.
    pub fn fingerprint(&self) -> u64 {
        hash(self.seed, 0, self.totals.iter().filter_map(|column| column.last()).sum())
    }
}

/// Water meters below the gate.
pub const WATER_SUBS: [Flow; 4] = [Flow::CoatingWater, Flow::FoodWater, Flow::DyeingWater, Flow::CommonWater];

/// Unit per hour for a quarter of an hour, in thousandths of the unit.
const RATE_TO_SLOT: i64 = 250;

fn with_loss(sum: i64, permille: i64) -> i64 {
    sum + sum * permille / 1000
}

#[cfg(test)]
mod tests;
