//! What quantities and media are called by people, in Chinese and English, and how Grafana names their units: one table
//! each, for boards, query metadata and pages.

use parkgate_collector::model::{Medium, Unit};

/// A text in both languages.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Title {
    /// Chinese.
    pub zh: String,
    /// English.
    pub en: String,
}

impl Title {
    /// Of both.
    pub fn new(zh: impl Into<String>, en: impl Into<String>) -> Self {
        Self { zh: zh.into(), en: en.into() }
    }

    /// Both in one line: `用电 · Electricity`.
    pub fn line(&self) -> String {
        if self.zh == self.en { self.zh.clone() } else { format!("{} · {}", self.zh, self.en) }
    }
}

/// The title of a known quantity; one that is not known is called by its name.
pub fn quantity(name: &str) -> Title {
    match QUANTITIES.iter().find(|(known, ..)| *known == name) {
        Some((_, zh, en)) => Title::new(*zh, *en),
        None => Title::new(name, name),
    }
}

/// What using a quantity is called, short: `用电`, `Electricity`; other quantities by their own title.
pub fn used(name: &str) -> Title {
    match USES.iter().find(|(known, ..)| *known == name) {
        Some((_, zh, en)) => Title::new(*zh, *en),
        None => quantity(name),
    }
}

/// Quantities whose totals a park is asked for first, with the word for using them.
pub const USES: &[(&str, &str, &str)] = &[
    ("energy_import", "用电", "Electricity"),
    ("gas_volume", "用气", "Gas"),
    ("water_volume", "用水", "Water"),
    ("heat_energy", "用热", "Heat"),
    ("steam_mass", "用汽", "Steam"),
    ("charging_energy", "充电", "Charging"),
];

/// The title of a medium.
pub fn medium(medium: Medium) -> Title {
    let (zh, en) = match medium {
        Medium::Power => ("电力", "Power"),
        Medium::Gas => ("燃气", "Gas"),
        Medium::Water => ("水", "Water"),
        Medium::Heat => ("热力", "Heat"),
        Medium::Emission => ("排放", "Emissions"),
        Medium::Charging => ("充电", "Charging"),
        Medium::FireWater => ("消防水", "Fire water"),
        Medium::FloodLevel => ("内涝水位", "Flood level"),
        Medium::Rain => ("雨量", "Rain"),
        Medium::Communications => ("通信", "Communications"),
        Medium::DataCentre => ("数据中心", "Data centre"),
        Medium::Gateway => ("网关", "Gateway"),
    };
    Title::new(zh, en)
}

/// The unit id that Grafana has for a unit (`@grafana/data` 13.2.3, valueFormats/categories), else `suffix:` with the
/// unit as people write it.
pub fn grafana_unit(unit: Unit) -> String {
    match GRAFANA_UNITS.iter().find(|(symbol, _)| *symbol == unit.symbol()) {
        Some((_, id)) => (*id).to_owned(),
        None => format!("suffix: {}", written(unit)),
    }
}

/// A unit as people write it: `m³/h`, `°C`.
pub fn written(unit: Unit) -> String {
    let symbol = unit.symbol().replace("10^4 ", "万").replace("m3", "m³").replace("degC", "°C");
    match symbol.strip_prefix('u') {
        Some(rest) => format!("µ{rest}"),
        None => symbol,
    }
}

/// Units for which Grafana has an id that shows the same unit.
const GRAFANA_UNITS: &[(&str, &str)] = &[
    ("W", "watt"),
    ("kW", "kwatt"),
    ("MW", "megwatt"),
    ("var", "voltampreact"),
    ("kvar", "kvoltampreact"),
    ("VA", "voltamp"),
    ("kVA", "kvoltamp"),
    ("J", "joule"),
    ("Wh", "watth"),
    ("kWh", "kwatth"),
    ("MWh", "mwatth"),
    ("V", "volt"),
    ("mV", "mvolt"),
    ("kV", "kvolt"),
    ("A", "amp"),
    ("mA", "mamp"),
    ("kA", "kamp"),
    ("Hz", "hertz"),
    ("1", "none"),
    ("%", "percent"),
    ("L", "litre"),
    ("m3", "m3"),
    ("Nm3", "Nm3"),
    ("m3/s", "flowcms"),
    ("L/min", "flowlpm"),
    ("L/h", "litreh"),
    ("mg/m3", "conmgm3"),
    ("ug/m3", "conμgm3"),
    ("mg/Nm3", "conmgNm3"),
    ("ppm", "ppm"),
    ("ppb", "conppb"),
    ("Pa", "pressurepa"),
    ("hPa", "pressurehpa"),
    ("kPa", "pressurekpa"),
    ("bar", "pressurebar"),
    ("degC", "celsius"),
    ("K", "kelvin"),
    ("ms", "ms"),
    ("s", "s"),
    ("min", "m"),
    ("h", "h"),
    ("d", "d"),
    ("mm", "lengthmm"),
    ("m", "lengthm"),
    ("km", "lengthkm"),
    ("g", "massg"),
    ("kg", "masskg"),
    ("t", "masst"),
    ("m/s", "velocityms"),
    ("dB", "dB"),
    ("state", "none"),
    ("B", "bytes"),
];

/// Name, Chinese, English.
const QUANTITIES: &[(&str, &str, &str)] = &[
    ("active_power", "有功功率", "Active power"),
    ("active_power_a", "A相有功功率", "Active power, phase A"),
    ("active_power_b", "B相有功功率", "Active power, phase B"),
    ("active_power_c", "C相有功功率", "Active power, phase C"),
    ("reactive_power", "无功功率", "Reactive power"),
    ("apparent_power", "视在功率", "Apparent power"),
    ("energy_import", "正向有功电能", "Energy imported"),
    ("energy_export", "反向有功电能", "Energy exported"),
    ("energy_total", "总有功电能", "Energy, both directions"),
    ("reactive_energy_import", "正向无功电能", "Reactive energy imported"),
    ("reactive_energy_export", "反向无功电能", "Reactive energy exported"),
    ("voltage", "电压", "Voltage"),
    ("voltage_a", "A相电压", "Voltage, phase A"),
    ("voltage_b", "B相电压", "Voltage, phase B"),
    ("voltage_c", "C相电压", "Voltage, phase C"),
    ("voltage_ab", "AB线电压", "Voltage, A to B"),
    ("voltage_bc", "BC线电压", "Voltage, B to C"),
    ("voltage_ca", "CA线电压", "Voltage, C to A"),
    ("current", "电流", "Current"),
    ("current_a", "A相电流", "Current, phase A"),
    ("current_b", "B相电流", "Current, phase B"),
    ("current_c", "C相电流", "Current, phase C"),
    ("current_n", "中性线电流", "Current, neutral"),
    ("frequency", "频率", "Frequency"),
    ("power_factor", "功率因数", "Power factor"),
    ("voltage_thd", "电压谐波畸变率", "Harmonic distortion of voltage"),
    ("current_thd", "电流谐波畸变率", "Harmonic distortion of current"),
    ("gas_volume", "燃气用量", "Gas volume"),
    ("gas_flow", "燃气流量", "Gas flow"),
    ("gas_pressure", "燃气压力", "Gas pressure"),
    ("gas_temperature", "燃气温度", "Gas temperature"),
    ("water_volume", "用水量", "Water volume"),
    ("waste_water_volume", "废水量", "Waste water volume"),
    ("water_flow", "水流量", "Water flow"),
    ("water_pressure", "水压", "Water pressure"),
    ("water_temperature", "水温", "Water temperature"),
    ("water_velocity", "水流速", "Water velocity"),
    ("heat_energy", "热量", "Heat energy"),
    ("heat_power", "热功率", "Heat power"),
    ("steam_mass", "蒸汽量", "Steam mass"),
    ("steam_flow", "蒸汽流量", "Steam flow"),
    ("steam_pressure", "蒸汽压力", "Steam pressure"),
    ("steam_temperature", "蒸汽温度", "Steam temperature"),
    ("supply_temperature", "供水温度", "Supply temperature"),
    ("return_temperature", "回水温度", "Return temperature"),
    ("so2_concentration", "二氧化硫浓度", "SO2 concentration"),
    ("nox_concentration", "氮氧化物浓度", "NOx concentration"),
    ("dust_concentration", "颗粒物浓度", "Dust concentration"),
    ("co_concentration", "一氧化碳浓度", "CO concentration"),
    ("voc_concentration", "挥发性有机物浓度", "VOC concentration"),
    ("o2_content", "含氧量", "O2 content"),
    ("flue_gas_humidity", "烟气湿度", "Flue gas humidity"),
    ("flue_gas_flow", "烟气流量", "Flue gas flow"),
    ("flue_gas_velocity", "烟气流速", "Flue gas velocity"),
    ("flue_gas_temperature", "烟气温度", "Flue gas temperature"),
    ("flue_gas_pressure", "烟气静压", "Flue gas pressure"),
    ("cod_concentration", "化学需氧量", "COD"),
    ("ammonia_nitrogen_concentration", "氨氮", "Ammonia nitrogen"),
    ("total_phosphorus_concentration", "总磷", "Total phosphorus"),
    ("total_nitrogen_concentration", "总氮", "Total nitrogen"),
    ("ph", "pH值", "pH"),
    ("waste_water_flow", "废水流量", "Waste water flow"),
    ("outlet_volume", "排水量", "Outlet volume"),
    ("charging_power", "充电功率", "Charging power"),
    ("charging_energy", "充电量", "Charging energy"),
    ("session_energy", "本次充电量", "Energy of the session"),
    ("state_of_charge", "电池电量", "State of charge"),
    ("connector_state", "枪状态", "Connector state"),
    ("charger_error", "充电桩故障码", "Charger error"),
    ("fire_water_pressure", "消防水压", "Fire water pressure"),
    ("fire_water_level", "消防水池液位", "Fire water level"),
    ("flood_level", "内涝水位", "Flood level"),
    ("rainfall", "雨量", "Rainfall"),
    ("link_state", "链路状态", "Link state"),
    ("packet_loss", "丢包率", "Packet loss"),
    ("it_power", "IT设备功率", "IT power"),
    ("it_energy", "IT设备电能", "IT energy"),
    ("room_temperature", "机房温度", "Room temperature"),
    ("room_humidity", "机房湿度", "Room humidity"),
];

#[cfg(test)]
mod tests {
    use parkgate_collector::catalogue::quantity::QUANTITIES as KNOWN;

    use super::*;

    #[test]
    fn every_known_quantity_has_a_title_in_both_languages() {
        for known in KNOWN {
            let title = quantity(known.name);
            assert!(title.en != known.name && !title.zh.is_empty() && title.zh != title.en, "{}: {title:?}", known.name);
        }
        assert_eq!(QUANTITIES.len(), KNOWN.len(), "a title of no known quantity");
        assert_eq!(quantity("my_own"), Title::new("my_own", "my_own"));
    }

    #[test]
    fn every_row_of_units_names_a_unit() {
        for (symbol, _) in GRAFANA_UNITS {
            assert!(Unit::parse(symbol).is_some(), "{symbol}");
        }
        let of = |symbol: &str| grafana_unit(Unit::parse(symbol).expect("a unit"));
        assert_eq!([of("kWh"), of("m3/h"), of("uS/cm"), of("10^4 kWh")], ["kwatth", "suffix: m³/h", "suffix: µS/cm", "suffix: 万kWh"]);
    }

    /// The page has the same words.
    #[test]
    fn media_are_called_as_on_the_page() {
        let texts: serde_json::Value = serde_json::from_str(include_str!("../web/texts.json")).expect("JSON");
        for row in [
            Medium::Power,
            Medium::Gas,
            Medium::Water,
            Medium::Heat,
            Medium::Emission,
            Medium::Charging,
            Medium::FireWater,
            Medium::FloodLevel,
            Medium::Rain,
            Medium::Communications,
            Medium::DataCentre,
            Medium::Gateway,
        ] {
            let key = format!("medium_{}", row.name());
            let title = medium(row);
            assert_eq!(
                (texts["zh"][&key].as_str(), texts["en"][&key].as_str()),
                (Some(title.zh.as_str()), Some(title.en.as_str())),
                "{key}"
            );
        }
    }
}
