//! What a point is: its identity, kind and medium.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::quality::coded;
use super::unit::Unit;

/// The registry's number of a point: dense, small, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PointId(pub u32);

impl PointId {
    /// As an index into a table by PointId.
    pub fn index(self) -> usize {
        usize::try_from(self.0).expect("usize has at least 32 bits")
    }
}

impl fmt::Display for PointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// A link (one broker session, one Modbus connection) as journal records name it: CRC-32 of its stable id. The
/// catalogue refuses two links with one key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LinkKey(pub u32);

impl LinkKey {
    /// The key of a link's stable id.
    pub fn of(link_id: &str) -> Self {
        Self(crc32fast::hash(link_id.as_bytes()))
    }
}

coded! {
    /// How a point's values behave in time.
    Kind {
        /// A momentary value: power, concentration, temperature.
        Gauge = 0 "gauge",
        /// A register that only grows, but for rollover and exchange: energy, volume.
        Counter = 1 "counter",
        /// One of a few codes: running, open, fault.
        State = 2 "state",
    }
}

coded! {
    /// What flows, or what the value is about.
    Medium {
        /// Electricity.
        Power = 0 "power",
        /// Combustible gas.
        Gas = 1 "gas",
        /// Water, fresh and waste.
        Water = 2 "water",
        /// Heat and steam.
        Heat = 3 "heat",
        /// What leaves a stack or an outlet.
        Emission = 4 "emission",
        /// Charging piles.
        Charging = 5 "charging",
        /// Fire water: pressure, tank level.
        FireWater = 6 "fire_water",
        /// Flood level.
        FloodLevel = 7 "flood_level",
        /// Rain.
        Rain = 8 "rain",
        /// Communications.
        Communications = 9 "communications",
        /// Data centre.
        DataCentre = 10 "data_centre",
        /// The gateway's own metrics.
        Gateway = 11 "gateway",
    }
}

coded! {
    /// The state a gas volume refers to.
    ReferenceState {
        /// 0 degrees C, 101.325 kPa; unit Nm3.
        ZeroDegrees = 0 "zero_degrees",
        /// 20 degrees C, 101.325 kPa (GB/T trade measurement); unit m3.
        TwentyDegrees = 1 "twenty_degrees",
        /// As it flows, uncorrected; unit m3.
        AsIs = 2 "as_is",
    }
}

/// What is fixed for ever under one [`PointId`]; a change of kind, unit or decimals opens a new one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PointIdentity {
    /// The stable id from the config, `acme/main-meter/energy_import`.
    pub stable_id: String,
    /// Gauge, counter or state.
    pub kind: Kind,
    /// Canonical unit: the one that is stored.
    pub unit: Unit,
    /// Decimals kept: a stored mantissa is the value times `10^decimals`.
    pub decimals: u8,
}
