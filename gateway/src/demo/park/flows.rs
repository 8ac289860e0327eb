//! What flows through the park in each quarter of an hour: shifts, seasons, sun, charging sessions, stops. Pure.
//!
//! Rates are whole units per hour: W for power, L/h for gas (at 20 degrees C) and water.

use super::super::noise::{by_permille, cosine, pick, rough, sine, smooth};
use super::SLOTS_PER_DAY;

macro_rules! flows {
    ($($(#[doc = $doc:literal])+ $name:ident = $unrest:literal;)*) => {
        /// Something that flows and is metered.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Flow { $($(#[doc = $doc])+ $name,)* }

        impl Flow {
            /// Every flow, in order of [`Flow::index`].
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// How much the minutes of a quarter of an hour differ, in thousandths; at most 450, so that the rate stays positive.
            pub const fn unrest_permille(self) -> i64 {
                match self { $(Self::$name => $unrest,)* }
            }
        }
    };
}

flows! {
    /// Production line of the coating plant.
    LinePower = 60;
    /// Abatement of the coating line: fans and thermal oxidiser.
    AbatementPower = 30;
    /// What else the coating plant uses.
    CoatingOther = 40;
    /// Food plant with the boiler house.
    FoodPower = 40;
    /// Dyeing works.
    DyeingPower = 30;
    /// The park's own: lights, pumps, offices.
    CommonPower = 50;
    /// Charging pile with direct current.
    PileFast = 0;
    /// Charging pile with alternating current.
    PileSlow = 0;
    /// PV plant.
    Pv = 80;
    /// Gas of the coating ovens.
    CoatingGas = 50;
    /// Gas of the boiler.
    BoilerGas = 20;
    /// Gas of the dryers in the dyeing works.
    DyeingGas = 40;
    /// Water of the coating plant.
    CoatingWater = 200;
    /// Water of the food plant.
    FoodWater = 150;
    /// Water of the dyeing works.
    DyeingWater = 100;
    /// The park's own water.
    CommonWater = 250;
    /// Treated waste water that leaves the dyeing works.
    WasteWater = 80;
}

impl Flow {
    /// Place in tables.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Keeps the noise of flows apart.
    pub const fn key(self) -> u64 {
        (self as u64).wrapping_add(1).wrapping_mul(0x1_0001)
    }
}

/// Gas that the boiler burns at full load, in L/h per thousandth of load.
pub const BOILER_GAS_PER_LOAD: i64 = 780;

/// Where a slot lies in the calendar of the park.
#[derive(Clone, Copy, Debug)]
struct Calendar {
    /// Days since the epoch.
    day: i64,
    /// Weeks since the epoch, from Monday.
    week: i64,
    /// 0 Monday to 6 Sunday.
    weekday: i64,
    /// Quarter of an hour of the day, from 0.
    quarter: i64,
}

impl Calendar {
    fn of(slot: i64) -> Self {
        let (day, quarter) = (slot.div_euclid(SLOTS_PER_DAY), slot.rem_euclid(SLOTS_PER_DAY));
        // The epoch is a Wednesday.
        Self { day, week: (day + 2).div_euclid(7), weekday: (day + 2).rem_euclid(7), quarter }
    }

    /// Whether the time of day is in `[from, to)`, in hours.
    fn hours(self, from: i64, to: i64) -> bool {
        (from * 4..to * 4).contains(&self.quarter)
    }

    /// The sun's yearly course: -10,000 at mid-winter to 10,000 at mid-summer.
    fn season(self) -> i64 {
        sine((self.day - 80) * 36_000_000 / 36_525)
    }
}

/// Mean rate of `flow` in a slot, counted from the epoch. Never negative.
pub fn slot_rate(seed: u64, flow: Flow, slot: i64) -> i64 {
    let calendar = Calendar::of(slot);
    let noise = |permille: i64| rough(seed, flow.key(), slot, permille);
    let office = calendar.weekday < 5 && calendar.hours(8, 18);
    // Cooling in summer, some heating in winter.
    let climate = (calendar.season().abs() + calendar.season().max(0)) / 20;
    match flow {
        Flow::LinePower if line_running(seed, slot) => {
            let lunch = if calendar.quarter / 3 == 16 { -400 } else { 0 };
            let warm_up = if line_running(seed, slot - 1) { 0 } else { -300 };
            by_permille(420_000, lunch + warm_up + noise(40))
        }
        Flow::LinePower => by_permille(if calendar.weekday == 6 { 14_000 } else { 35_000 }, noise(50)),
        Flow::AbatementPower if abatement_idles(seed, slot) => by_permille(6_000, noise(40)),
        Flow::AbatementPower if line_running(seed, slot) || line_running(seed, slot - 1) => by_permille(85_000, noise(25)),
        Flow::AbatementPower => by_permille(2_500, noise(60)),
        Flow::CoatingOther => by_permille(60_000 + if office { 80_000 + climate * 30 } else { 0 }, noise(50)),
        Flow::FoodPower => by_permille(48_000 + boiler_load(seed, slot) * 90 + if office { 30_000 } else { 0 }, noise(40)),
        Flow::DyeingPower => by_permille(430_000 + climate * 40, dyeing_shape(seed, calendar) + noise(30)),
        Flow::CommonPower => {
            let lights = if calendar.hours(6, 18) { 0 } else { 34_000 };
            by_permille(42_000 + lights + if office { 20_000 + climate * 20 } else { 0 }, noise(60))
        }
        Flow::PileFast => {
            if session(seed, flow, slot).is_some() {
                by_permille(58_000, noise(30))
            } else {
                12
            }
        }
        Flow::PileSlow => {
            if session(seed, flow, slot).is_some() {
                by_permille(6_900, noise(10))
            } else {
                4
            }
        }
        Flow::Pv => pv_power(seed, slot),
        Flow::CoatingGas => by_permille(if line_running(seed, slot) { 65_000 } else { 1_200 }, noise(50)),
        Flow::BoilerGas => boiler_load(seed, slot) * BOILER_GAS_PER_LOAD,
        Flow::DyeingGas => by_permille(115_000, dyeing_shape(seed, calendar) * 2 + noise(40)),
        Flow::CoatingWater => by_permille(if office { 2_600 } else { 240 }, noise(200)),
        Flow::FoodWater => by_permille(500 + boiler_load(seed, slot) * 3 + if office { 2_200 } else { 0 }, noise(120)),
        Flow::DyeingWater => by_permille(36_000, dyeing_shape(seed, calendar) * 2 + noise(80)),
        Flow::CommonWater => by_permille(if calendar.hours(7, 20) { 1_300 } else { 280 }, noise(250)),
        // Half an hour through the treatment plant.
        Flow::WasteWater => slot_rate(seed, Flow::DyeingWater, slot - 2) * 82 / 100,
    }
}

/// Two shifts on weekdays, one on Saturday; about every eleventh day a stop of two hours.
pub fn line_running(seed: u64, slot: i64) -> bool {
    let calendar = Calendar::of(slot);
    let shift = match calendar.weekday {
        0..=4 => calendar.hours(8, 20),
        5 => calendar.hours(8, 16),
        _ => false,
    };
    let stopped = pick(seed, 0x11E, calendar.day, 11) == 0 && !idle_day(seed, calendar) && {
        let start = 36 + pick(seed, 0x11F, calendar.day, 24);
        (start..start + 8).contains(&calendar.quarter)
    };
    shift && !stopped
}

/// The abatement stands by while the line runs: every fourth Wednesday from 14:00 to 15:30.
pub fn abatement_idles(seed: u64, slot: i64) -> bool {
    let calendar = Calendar::of(slot);
    idle_day(seed, calendar) && (56..62).contains(&calendar.quarter)
}

fn idle_day(seed: u64, calendar: Calendar) -> bool {
    calendar.weekday == 2 && calendar.week.rem_euclid(4) == pick(seed, 0x1D1E, 0, 4)
}

/// Load of the boiler in thousandths; 0 from Saturday 22:00 to Monday 05:00 and over a Tuesday every sixth week.
pub fn boiler_load(seed: u64, slot: i64) -> i64 {
    let calendar = Calendar::of(slot);
    let weekend =
        (calendar.weekday == 5 && calendar.quarter >= 88) || calendar.weekday == 6 || (calendar.weekday == 0 && calendar.quarter < 20);
    let overhaul = calendar.weekday == 1 && calendar.week.rem_euclid(6) == pick(seed, 0xB01, 0, 6);
    if weekend || overhaul {
        return 0;
    }
    let winter = -calendar.season() / 80;
    let base = if calendar.hours(6, 22) { 690 } else { 400 };
    (base + winter + smooth(seed, 0xB02, slot, 6, 60) + rough(seed, 0xB03, slot, 15)).clamp(200, 980)
}

/// NOx above its limit for an hour: every third Thursday from 10:00.
pub fn nox_exceeds(seed: u64, slot: i64) -> bool {
    let calendar = Calendar::of(slot);
    calendar.weekday == 3 && calendar.week.rem_euclid(3) == pick(seed, 0x0CE, 0, 3) && calendar.hours(10, 11)
}

/// COD above its limit for two hours: every fifth Friday from 15:00.
pub fn cod_exceeds(seed: u64, slot: i64) -> bool {
    let calendar = Calendar::of(slot);
    calendar.weekday == 4 && calendar.week.rem_euclid(5) == pick(seed, 0xC0D, 0, 5) && calendar.hours(15, 17)
}

/// The charging session of a pile that covers a slot: how many slots it has run and lasts. `None` outside sessions.
pub fn session(seed: u64, flow: Flow, slot: i64) -> Option<(i64, i64)> {
    // At most one session starts in each window of two hours and ends within it.
    let (window, within) = (slot.div_euclid(8), slot.rem_euclid(8));
    let hour = Calendar::of(slot).quarter / 4;
    let chance = match hour {
        8..=9 => 55,
        10..=15 => 40,
        16..=21 => 65,
        _ => 15,
    };
    if pick(seed, flow.key() ^ 0xCA2, window, 100) >= chance {
        return None;
    }
    let start = pick(seed, flow.key() ^ 0xCA3, window, 3);
    let length = 2 + pick(seed, flow.key() ^ 0xCA4, window, 4);
    (start..start + length).contains(&within).then_some((within - start, length))
}

/// Dyeing runs round the clock with a slow swing, less at night and on Sundays; thousandths.
fn dyeing_shape(seed: u64, calendar: Calendar) -> i64 {
    let slot = calendar.day * SLOTS_PER_DAY + calendar.quarter;
    let night = if calendar.hours(7, 23) { 0 } else { -90 };
    let sunday = if calendar.weekday == 6 { -110 } else { 0 };
    night + sunday + smooth(seed, 0xD1E, slot, 12, 60)
}

/// 400 kWp at 31.3 degrees north: sun height times clear-sky factor times clouds of the day and the hour.
fn pv_power(seed: u64, slot: i64) -> i64 {
    const PEAK_W: i64 = 340_000;
    const SINE_LATITUDE: i64 = 5_195;
    const COSINE_LATITUDE: i64 = 8_545;
    let calendar = Calendar::of(slot);
    let declination = calendar.season() * 2_344 / 1_000;
    let hour_angle = (calendar.quarter * 2 + 1 - 96) * 1_875;
    let height = (SINE_LATITUDE * sine(declination) + COSINE_LATITUDE * cosine(declination) / 10_000 * cosine(hour_angle)) / 10_000;
    if height <= 0 {
        return 0;
    }
    let day_sky = 1000 - [0, 50, 120, 300, 550, 720][usize::try_from(pick(seed, 0x5C1, calendar.day, 6)).expect("below six")];
    let clouds = (day_sky + smooth(seed, 0x5C2, slot, 3, 130)).clamp(80, 1000);
    PEAK_W * height / 10_000 * clouds / 1000
}
