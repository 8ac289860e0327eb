//! What each point of the park says: the table of points, and the value of each at any moment. Pure.

use parkgate_collector::model::{Decimal, Reason, UtcMillis};

use super::super::noise::{cosine, mix, rough, smooth};
use super::flows::{BOILER_GAS_PER_LOAD, cod_exceeds, nox_exceeds, session};
use super::{EPOCH, Flow, Look, MINUTE_MS, Mix, Park, SECOND_MS, SLOT_MS, SLOTS_PER_DAY};

/// What a point says: a number in the unit of its [`SignalRow`], or why it has none.
pub type Value = Result<Decimal, Reason>;

/// One point of the park.
#[derive(Clone, Copy, Debug)]
pub struct SignalRow {
    /// Id of its device.
    pub device: &'static str,
    /// Its id within the device.
    pub point: &'static str,
    /// Unit of its number: the raw unit of the point.
    pub unit: &'static str,
    /// How the number comes about.
    pub signal: Signal,
}

/// How a point's number comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Rate of a mix, `divisor` of its units to the last digit shown.
    Rate(Mix, i64, i8),
    /// Register of a mix, `divisor` thousandths of its unit to the last digit shown.
    Total(Mix, i64, i8),
    /// Wanders around `centre` by up to `span`, in the last digit shown.
    Wander(i64, i64, i8),
    /// Current of one phase at 400 V, in 0.1 A.
    Current(Mix),
    /// 1 while a flow is above the rate, else 0.
    Running(Flow, i64),
    /// 0 free, 1 charging, 2 session over, cable still plugged in.
    PileState(Flow),
    /// Outdoor temperature in 0.1 degrees C and what a thing of that temperature adds.
    Outdoor(i64),
    /// Temperature of PV modules in 0.1 degrees C.
    ModuleTemperature,
    /// SO2 in 0.01 mg/m3.
    So2,
    /// NOx in 0.01 mg/m3.
    Nox,
    /// Dust in 0.01 mg/m3.
    Dust,
    /// O2 in 0.01 %.
    O2,
    /// Flue gas as it flows, in m3/h.
    FlueFlow,
    /// Flue gas temperature in 0.1 degrees C.
    FlueTemperature,
    /// Pressure in the stack against outside, in Pa.
    FluePressure,
    /// Water vapour in the flue gas, 0.01 %.
    FlueHumidity,
    /// COD in 0.1 mg/L.
    Cod,
    /// NH3-N in 0.001 mg/L.
    AmmoniaNitrogen,
    /// Steam or feed water, in 0.1 degrees C: at full load, less when cold.
    BoilerTemperature(i64),
    /// As [`Signal::BoilerTemperature`], but the sensor has a loose contact: no value in minutes 7 to 9 of every half hour.
    LooseContact(i64),
    /// Not answered at all: there is no number, ever.
    Silent,
}

const fn row(device: &'static str, point: &'static str, unit: &'static str, signal: Signal) -> SignalRow {
    SignalRow { device, point, unit, signal }
}

const fn one(flow: Flow) -> Mix {
    Mix::One(flow)
}

/// W to 0.01 kW.
const KW: (i64, i8) = (10, -2);
/// mWh to 0.01 kWh.
const KWH: (i64, i8) = (10_000, -2);
/// L/h to 0.01 m3/h.
const M3_PER_H: (i64, i8) = (10, -2);
/// mL to 0.01 m3.
const M3: (i64, i8) = (10_000, -2);

const fn power(mix: Mix) -> Signal {
    Signal::Rate(mix, KW.0, KW.1)
}
const fn energy(mix: Mix) -> Signal {
    Signal::Total(mix, KWH.0, KWH.1)
}
const fn flow(mix: Mix) -> Signal {
    Signal::Rate(mix, M3_PER_H.0, M3_PER_H.1)
}
const fn volume(mix: Mix) -> Signal {
    Signal::Total(mix, M3.0, M3.1)
}

/// Every point of the park; `config/demo/parkgate.toml` configures exactly these.
pub const SIGNALS: &[SignalRow] = &[
    row("gate-power", "active_power", "kW", power(Mix::PowerGate)),
    row("gate-power", "energy_import", "kWh", energy(Mix::PowerGate)),
    row("gate-power", "voltage", "V", Signal::Wander(10_250, 120, 0)),
    row("gate-power", "frequency", "Hz", Signal::Wander(50_000, 35, -3)),
    row("gate-power", "power_factor", "1", Signal::Wander(955, 20, -3)),
    row("coating-power", "active_power", "kW", power(Mix::CoatingMain)),
    row("coating-power", "energy_import", "kWh", energy(Mix::CoatingMain)),
    row("coating-power", "voltage", "V", Signal::Wander(2_310, 40, -1)),
    row("coating-power", "current", "A", Signal::Current(Mix::CoatingMain)),
    row("coating-power", "power_factor", "1", Signal::Wander(940, 25, -3)),
    row("food-power", "active_power", "kW", power(one(Flow::FoodPower))),
    row("food-power", "energy_import", "kWh", energy(one(Flow::FoodPower))),
    row("food-power", "voltage", "V", Signal::Wander(2_305, 40, -1)),
    row("food-power", "current", "A", Signal::Current(one(Flow::FoodPower))),
    row("food-power", "power_factor", "1", Signal::Wander(925, 25, -3)),
    row("dyeing-power", "active_power", "kW", power(one(Flow::DyeingPower))),
    row("dyeing-power", "energy_import", "kWh", energy(one(Flow::DyeingPower))),
    row("dyeing-power", "voltage", "V", Signal::Wander(2_298, 45, -1)),
    row("dyeing-power", "current", "A", Signal::Current(one(Flow::DyeingPower))),
    row("dyeing-power", "power_factor", "1", Signal::Wander(910, 25, -3)),
    row("common-power", "active_power", "kW", power(one(Flow::CommonPower))),
    row("common-power", "energy_import", "kWh", energy(one(Flow::CommonPower))),
    row("line-power", "active_power", "kW", power(one(Flow::LinePower))),
    row("line-power", "energy_import", "kWh", energy(one(Flow::LinePower))),
    row("line-power", "running", "state", Signal::Running(Flow::LinePower, 150_000)),
    row("abatement-power", "active_power", "kW", power(one(Flow::AbatementPower))),
    row("abatement-power", "energy_import", "kWh", energy(one(Flow::AbatementPower))),
    row("abatement-power", "running", "state", Signal::Running(Flow::AbatementPower, 20_000)),
    row("boiler-heat", "heat_power", "kW", Signal::Rate(Mix::BoilerHeat, 100, -1)),
    row("boiler-heat", "heat_energy", "GJ", Signal::Total(Mix::BoilerHeat, 10_000_000, -2)),
    row("boiler-heat", "supply_temperature", "degC", Signal::BoilerTemperature(1_720)),
    row("boiler-heat", "return_temperature", "degC", Signal::LooseContact(880)),
    row("pv-inverter", "active_power", "kW", power(one(Flow::Pv))),
    row("pv-inverter", "energy_export", "kWh", energy(one(Flow::Pv))),
    row("pv-inverter", "dc_voltage", "V", Signal::Wander(6_400, 250, -1)),
    row("pv-inverter", "module_temperature", "degC", Signal::ModuleTemperature),
    row("boiler-stack", "so2_concentration", "mg/m3", Signal::So2),
    row("boiler-stack", "nox_concentration", "mg/m3", Signal::Nox),
    row("boiler-stack", "dust_concentration", "mg/m3", Signal::Dust),
    row("boiler-stack", "o2_content", "%", Signal::O2),
    row("boiler-stack", "flue_gas_flow", "m3/h", Signal::FlueFlow),
    row("boiler-stack", "flue_gas_temperature", "degC", Signal::FlueTemperature),
    row("boiler-stack", "flue_gas_pressure", "Pa", Signal::FluePressure),
    row("boiler-stack", "flue_gas_humidity", "%", Signal::FlueHumidity),
    row("fire-water", "fire_water_pressure", "kPa", Signal::Wander(452, 14, 0)),
    row("fire-water", "fire_water_level", "m", Signal::Wander(3_180, 60, -3)),
    row("reclaimed-water", "water_volume", "m3", volume(Mix::Reclaimed)),
    row("reclaimed-water", "water_flow", "m3/h", flow(Mix::Reclaimed)),
    row("reclaimed-water", "water_pressure", "kPa", Signal::Silent),
    row("rain-gauge", "rainfall", "mm", Signal::Silent),
    row("gate-gas", "gas_volume", "m3", volume(Mix::GasGate)),
    row("gate-gas", "gas_flow", "m3/h", flow(Mix::GasGate)),
    row("coating-gas", "gas_volume", "m3", volume(one(Flow::CoatingGas))),
    row("coating-gas", "gas_flow", "m3/h", flow(one(Flow::CoatingGas))),
    row("food-gas", "gas_volume", "m3", volume(one(Flow::BoilerGas))),
    row("food-gas", "gas_flow", "m3/h", flow(one(Flow::BoilerGas))),
    row("food-gas", "gas_pressure", "kPa", Signal::Wander(2_010, 45, -2)),
    row("food-gas", "gas_temperature", "degC", Signal::Outdoor(40)),
    row("dyeing-gas", "gas_volume", "m3", volume(one(Flow::DyeingGas))),
    row("dyeing-gas", "gas_flow", "m3/h", flow(one(Flow::DyeingGas))),
    row("gate-water", "water_volume", "m3", volume(Mix::WaterGate)),
    row("gate-water", "water_flow", "m3/h", flow(Mix::WaterGate)),
    row("coating-water", "water_volume", "m3", volume(one(Flow::CoatingWater))),
    row("coating-water", "water_flow", "m3/h", flow(one(Flow::CoatingWater))),
    row("food-water", "water_volume", "m3", volume(one(Flow::FoodWater))),
    row("food-water", "water_flow", "m3/h", flow(one(Flow::FoodWater))),
    row("dyeing-water", "water_volume", "m3", volume(one(Flow::DyeingWater))),
    row("dyeing-water", "water_flow", "m3/h", flow(one(Flow::DyeingWater))),
    row("common-water", "water_volume", "m3", volume(one(Flow::CommonWater))),
    row("common-water", "water_flow", "m3/h", flow(one(Flow::CommonWater))),
    row("waste-water", "cod_concentration", "mg/L", Signal::Cod),
    row("waste-water", "ammonia_nitrogen_concentration", "mg/L", Signal::AmmoniaNitrogen),
    row("waste-water", "waste_water_flow", "m3/h", flow(one(Flow::WasteWater))),
    row("waste-water", "outlet_volume", "m3", volume(one(Flow::WasteWater))),
    row("waste-water", "ph", "pH", Signal::Wander(748, 25, -2)),
    row("pile-1", "charging_power", "kW", power(one(Flow::PileFast))),
    row("pile-1", "charging_energy", "kWh", energy(one(Flow::PileFast))),
    row("pile-1", "connector_state", "state", Signal::PileState(Flow::PileFast)),
    row("pile-2", "charging_power", "kW", power(one(Flow::PileSlow))),
    row("pile-2", "charging_energy", "kWh", energy(one(Flow::PileSlow))),
    row("pile-2", "connector_state", "state", Signal::PileState(Flow::PileSlow)),
];

/// The row of a point; `None` for one that is not of this park.
pub fn signal_of(device: &str, point: &str) -> Option<&'static SignalRow> {
    SIGNALS.iter().find(|row| row.device == device && row.point == point)
}

impl Park {
    /// What the point of `row` says at a moment; with [`Look::MinuteMean`] a gauge gives the mean of the minute, and
    /// everything else its value at the moment.
    pub fn value(&self, row: &SignalRow, at: UtcMillis, look: Look) -> Value {
        let key = crc(row);
        let since = at.since(EPOCH);
        // A minute mean is that of its middle, without the unrest of seconds.
        let middle = match look {
            Look::Instant => since,
            Look::MinuteMean => since.div_euclid(MINUTE_MS) * MINUTE_MS + MINUTE_MS / 2,
        };
        let unrest = |span: i64| match look {
            Look::Instant => rough(self.seed, key ^ 1, since.div_euclid(SECOND_MS), span),
            Look::MinuteMean => 0,
        };
        let drift = |period_minutes: i64, span: i64| smooth(self.seed, key ^ 2, middle, period_minutes * MINUTE_MS, span);
        let load = || self.smooth_load(middle);
        let slot = middle.div_euclid(SLOT_MS);
        let number = match row.signal {
            Signal::Rate(mix, divisor, exponent) => Decimal::new(self.rate(mix, at, look) / divisor, exponent),
            Signal::Total(mix, divisor, exponent) => Decimal::new(self.total(mix, at) / divisor, exponent),
            Signal::Wander(centre, span, exponent) => Decimal::new(centre + drift(37, span * 3 / 4) + unrest(span / 4), exponent),
            // P = sqrt(3) * 400 V * I * 0.93, in 0.1 A.
            Signal::Current(mix) => Decimal::new(self.rate(mix, at, look) * 10 / 644, -1),
            Signal::Running(flow, above) => Decimal::new(i64::from(self.rate(Mix::One(flow), at, Look::MinuteMean) > above), 0),
            Signal::PileState(flow) => Decimal::new(
                match (session(self.seed, flow, slot), session(self.seed, flow, slot - 1)) {
                    (Some(_), _) => 1,
                    (None, Some(_)) => 2,
                    (None, None) => 0,
                },
                0,
            ),
            Signal::Outdoor(more) => Decimal::new(self.outdoor(middle) + more + unrest(1), -1),
            Signal::ModuleTemperature => {
                let warm = self.rate(Mix::One(Flow::Pv), at, Look::MinuteMean) / 1_200;
                Decimal::new(self.outdoor(middle) + warm + unrest(2), -1)
            }
            Signal::So2 => {
                let misfire = if self.misfires(at) { 9_000 } else { 0 };
                Decimal::new((load() * 9 / 10 + drift(25, 160) + unrest(25) + 40).max(20) + misfire, -2)
            }
            Signal::Nox => {
                let base = load() * 38 / 10 + drift(18, 320) + unrest(60) + 60;
                Decimal::new((if nox_exceeds(self.seed, slot) { base * 19 / 10 } else { base }).max(30), -2)
            }
            Signal::Dust => Decimal::new((load() * 5 / 10 + drift(31, 90) + unrest(15) + 60).max(15), -2),
            // From air to the boiler's excess at full load; more excess at small load.
            Signal::O2 => match load() {
                0 => Decimal::new(2_090 + unrest(4), -2),
                load if load < 200 => Decimal::new(mix(2_090, 620, load, 200) + unrest(6), -2),
                load => Decimal::new(mix(620, 370, (load - 200).min(800), 800) + drift(22, 35) + unrest(8), -2),
            },
            Signal::FlueFlow => Decimal::new((load() * 142 / 10 + drift(12, 170) + unrest(30) + 130).max(0), 0),
            Signal::FlueTemperature => Decimal::new(self.outdoor(middle) + load() + drift(45, 30) + unrest(3) + 60, -1),
            Signal::FluePressure => Decimal::new(-20 - load() / 7 + drift(9, 8) + unrest(3), 0),
            Signal::FlueHumidity => Decimal::new((load() * 14 / 10 + drift(40, 60) + unrest(8) + 180).max(50), -2),
            Signal::Cod => {
                let base = 420 + drift(95, 70) + unrest(4);
                Decimal::new(if cod_exceeds(self.seed, slot) { base * 22 / 10 } else { base }, -1)
            }
            Signal::AmmoniaNitrogen => Decimal::new(3_400 + drift(140, 1_100) + unrest(40), -3),
            Signal::BoilerTemperature(full) => Decimal::new(self.boiler_temperature(middle, full) + unrest(3), -1),
            Signal::LooseContact(full) => match middle.div_euclid(MINUTE_MS).rem_euclid(30) {
                7..=9 => return Err(Reason::NotAvailable),
                _ => Decimal::new(self.boiler_temperature(middle, full) + unrest(3), -1),
            },
            Signal::Silent => return Err(Reason::DeviceException),
        };
        Ok(number)
    }

    /// Load of the boiler in thousandths, without the steps between slots. `since`: milliseconds since the epoch.
    fn smooth_load(&self, since: i64) -> i64 {
        let (slot, within) = (since.div_euclid(SLOT_MS), since.rem_euclid(SLOT_MS));
        let load = |slot| self.slot(Flow::BoilerGas, slot).1 / BOILER_GAS_PER_LOAD;
        mix(load(slot - 1), load(slot), within, SLOT_MS)
    }

    fn boiler_temperature(&self, since: i64, full: i64) -> i64 {
        let outdoor = self.outdoor(since) + 150;
        mix(outdoor, full, (self.smooth_load(since) + 400).min(1000), 1000)
    }

    /// 0.1 degrees C: 17 on average, 12 up and down in the year, 4 in the day, and weather.
    fn outdoor(&self, since: i64) -> i64 {
        const DAY_MS: i64 = SLOTS_PER_DAY * SLOT_MS;
        let day = since.div_euclid(DAY_MS);
        let year = -cosine((day - 20) * 36_000_000 / 36_525) * 120 / 10_000;
        // Warmest at 15:00.
        let hour = cosine((since.rem_euclid(DAY_MS) - 15 * 3_600_000) / 240) * 40 / 10_000;
        170 + year + hour + smooth(self.seed, 0x0D0, since, DAY_MS, 30)
    }
}

/// Keeps the noise of points apart.
fn crc(row: &SignalRow) -> u64 {
    row.device
        .bytes()
        .chain([b'/'])
        .chain(row.point.bytes())
        .fold(0xCBF2_9CE4_8422_2325, |state, byte| (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}
