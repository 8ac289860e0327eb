//! The known quantities: what each brings along. A name that is not here needs medium, kind and unit of its own.

use crate::model::{Kind, Medium, Unit};

/// What a known quantity brings along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantity {
    /// Its name, as in series names.
    pub name: &'static str,
    /// Medium.
    pub medium: Medium,
    /// Kind.
    pub kind: Kind,
    /// Symbol of the unit stored by default.
    pub unit: &'static str,
    /// Decimals stored by default.
    pub decimals: u8,
}

impl Quantity {
    /// The known quantity of a name.
    pub fn of(name: &str) -> Option<&'static Self> {
        QUANTITIES.iter().find(|quantity| quantity.name == name)
    }

    /// The default unit for a reference state: gas at 0 degrees C is in Nm3.
    pub fn unit(&self, normal: bool) -> Option<Unit> {
        let symbol = match self.unit {
            "m3" if normal => "Nm3",
            "m3/h" if normal => "Nm3/h",
            symbol => symbol,
        };
        Unit::parse(symbol)
    }
}

macro_rules! quantities {
    ($($medium:ident { $($kind:ident $unit:literal $decimals:literal [$($name:literal)*];)* })*) => {
        /// Every known quantity.
        pub const QUANTITIES: &[Quantity] = &[$($($(
            Quantity { name: $name, medium: Medium::$medium, kind: Kind::$kind, unit: $unit, decimals: $decimals },
        )*)*)*];
    };
}

quantities! {
    Power {
        Gauge "kW" 3 ["active_power" "active_power_a" "active_power_b" "active_power_c"];
        Gauge "kvar" 3 ["reactive_power"];
        Gauge "kVA" 3 ["apparent_power"];
        Counter "kWh" 3 ["energy_import" "energy_export" "energy_total"];
        Counter "kvarh" 3 ["reactive_energy_import" "reactive_energy_export"];
        Gauge "V" 1 ["voltage" "voltage_a" "voltage_b" "voltage_c" "voltage_ab" "voltage_bc" "voltage_ca"];
        Gauge "A" 3 ["current" "current_a" "current_b" "current_c" "current_n"];
        Gauge "Hz" 3 ["frequency"];
        Gauge "1" 3 ["power_factor"];
        Gauge "%" 2 ["voltage_thd" "current_thd"];
    }
    Gas {
        Counter "m3" 3 ["gas_volume"];
        Gauge "m3/h" 3 ["gas_flow"];
        Gauge "kPa" 3 ["gas_pressure"];
        Gauge "degC" 2 ["gas_temperature"];
    }
    Water {
        Counter "m3" 3 ["water_volume" "waste_water_volume"];
        Gauge "m3/h" 3 ["water_flow"];
        Gauge "kPa" 2 ["water_pressure"];
        Gauge "degC" 2 ["water_temperature"];
        Gauge "m/s" 3 ["water_velocity"];
    }
    Heat {
        Counter "GJ" 3 ["heat_energy"];
        Gauge "kW" 2 ["heat_power"];
        Counter "t" 3 ["steam_mass"];
        Gauge "t/h" 3 ["steam_flow"];
        Gauge "MPa" 3 ["steam_pressure"];
        Gauge "degC" 2 ["steam_temperature" "supply_temperature" "return_temperature"];
    }
    Emission {
        Gauge "mg/m3" 3 ["so2_concentration" "nox_concentration" "dust_concentration" "co_concentration" "voc_concentration"];
        Gauge "%" 3 ["o2_content" "flue_gas_humidity"];
        Gauge "m3/h" 1 ["flue_gas_flow"];
        Gauge "m/s" 3 ["flue_gas_velocity"];
        Gauge "degC" 2 ["flue_gas_temperature"];
        Gauge "Pa" 1 ["flue_gas_pressure"];
        Gauge "mg/L" 3 ["cod_concentration" "ammonia_nitrogen_concentration" "total_phosphorus_concentration"
            "total_nitrogen_concentration"];
        Gauge "pH" 2 ["ph"];
        Gauge "m3/h" 3 ["waste_water_flow"];
        Counter "m3" 2 ["outlet_volume"];
    }
    Charging {
        Gauge "kW" 3 ["charging_power"];
        Counter "kWh" 3 ["charging_energy"];
        Gauge "kWh" 3 ["session_energy"];
        Gauge "%" 1 ["state_of_charge"];
        State "state" 0 ["connector_state" "charger_error"];
    }
    FireWater {
        Gauge "MPa" 3 ["fire_water_pressure"];
        Gauge "m" 3 ["fire_water_level"];
    }
    FloodLevel {
        Gauge "m" 3 ["flood_level"];
    }
    Rain {
        Counter "mm" 1 ["rainfall"];
    }
    Communications {
        State "state" 0 ["link_state"];
        Gauge "%" 2 ["packet_loss"];
    }
    DataCentre {
        Gauge "kW" 3 ["it_power"];
        Counter "kWh" 3 ["it_energy"];
        Gauge "degC" 2 ["room_temperature"];
        Gauge "%" 2 ["room_humidity"];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The list at the end of the shipped main file.
    #[test]
    fn the_shipped_main_file_lists_every_quantity() {
        let text = include_str!("../../../config/parkgate.toml").replace("\n#     ", " ");
        let mut medium = "";
        let mut listed = std::collections::HashSet::new();
        for line in text.lines() {
            match (line.strip_prefix("#   ").and_then(|row| row.split_once(": ")), line.strip_prefix("# ")) {
                (Some((what, names)), _) => listed.extend(names.split(", ").map(|name| format!("{medium} {what} {name}"))),
                (None, Some(heading)) => medium = heading,
                (None, None) => {}
            }
        }
        for Quantity { name, medium, kind, unit, decimals } in QUANTITIES {
            let row = format!("{} {} {unit} {decimals} {name}", medium.name(), kind.name());
            assert!(listed.contains(&row), "{row}");
        }
    }

    #[test]
    fn every_row_is_sound() {
        let mut seen = std::collections::HashSet::new();
        for quantity in QUANTITIES {
            assert!(seen.insert(quantity.name), "{} twice", quantity.name);
            assert!(Unit::parse(quantity.unit).is_some(), "{}", quantity.unit);
            assert!(super::super::text::series_part(quantity.name).is_ok());
            assert!(quantity.decimals <= 9);
        }
    }
}
