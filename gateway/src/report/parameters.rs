//! The parameters that an outlet's figures rest on, each with its standard and clause, or that the park has set it.

use parkgate_rules::Number;
use parkgate_rules::emission::outlet::{Auxiliary, DayRule, Factor, Flow, MonthRule, Outlet, OutletKind, Reference, Rules, Source};

use super::summary::{Parameter, Text};

/// Where a parameter comes from that differs from what its standard says, or that no standard gives.
const PARK: &str = "configuration of the park";

/// All of them, the outlet's before those of its factors.
pub fn of(outlet: &Outlet) -> Vec<Parameter> {
    let (rules, usual) = (&outlet.rules, Rules::default());
    let mut all = Vec::new();
    let mut add = |id: &str, zh: &str, en: &str, value: String, unit: &str, source: &str| {
        let name = Text::new(zh, en);
        all.push(Parameter { id: id.into(), factor: None, name, value, unit: unit.into(), source: source.into() });
    };
    let or_park = |same: bool, source: &'static str| if same { source } else { PARK };
    let is_gas = outlet.kind == OutletKind::Stack;
    if is_gas {
        let source = or_park(rules.minute_percent == usual.minute_percent, "HJ 212-2017 D.2.2; HJ 76-2017 appendix B");
        add(
            "minute_percent",
            "有效分钟的读数比例",
            "share of due readings in a valid minute",
            rules.minute_percent.to_string(),
            "%",
            source,
        );
        let source = or_park(rules.valid_minutes == usual.valid_minutes, "HJ 212-2017 D.2.3 (24)");
        add("valid_minutes", "有效小时的有效分钟数", "valid minutes of a valid hour", rules.valid_minutes.to_string(), "min", source);
        add("standard_state", "标准状态", "standard state", "273 K, 101325 Pa, dry".into(), "", "HJ 212-2017 D.2.3 (18)");
        let source = or_park(rules.o2_bound == usual.o2_bound, "convention: O2 of air to one decimal");
        add("o2_bound", "不可折算的含氧量下限", "O2 from which nothing is converted", rules.o2_bound.to_string(), "%", source);
        add(
            "mass_formula",
            "排放量公式",
            "formula of mass",
            "C (not converted) x Q (dry, standard) x 1e-6".into(),
            "",
            "HJ 212-2017 D.2.3 (33)",
        );
        add(
            "mass_fill",
            "缺失排放量填补",
            "filling of missing mass",
            "180 / 720 / 2160 h".into(),
            "",
            "HJ 75-2017, not verified against the text",
        );
    } else {
        add("mass_formula", "排放量公式", "formula of mass", "C x V x 1e-3".into(), "", "HJ 212-2017 D.1 (8)-(17)");
    }
    let (value, unit) = match rules.day(outlet.kind) {
        DayRule::Hours(hours) => (hours, "h"),
        DayRule::PercentOfOperating(percent) => (percent, "% of operating hours"),
    };
    let source = match (rules.day, outlet.kind) {
        (Some(_), _) => PARK,
        (None, OutletKind::Stack) => "HJ 212-2017 D.2.3 (25)",
        (None, OutletKind::WasteWater) => "HJ 356-2019, not verified against the text",
    };
    add("valid_day", "有效日的有效小时", "valid hours of a valid day", value.to_string(), unit, source);
    let (value, unit) = match rules.month(outlet.kind) {
        MonthRule::Days(days) => (days, "d, two less in a month of under 30 days"),
        MonthRule::PercentOfOperating(percent) => (percent, "% of operating hours"),
    };
    let source = match (rules.month, outlet.kind) {
        (Some(_), _) => PARK,
        (None, OutletKind::Stack) => "HJ 76-2017 appendix B",
        (None, OutletKind::WasteWater) => "HJ 356-2019, not verified against the text",
    };
    add("valid_month", "有效月的有效日", "what makes a month valid", value.to_string(), unit, source);
    match &outlet.flow {
        Some(Flow::Velocity { area_m2, field_factor, .. }) => {
            add("duct_area", "烟道截面积", "area of the duct", area_m2.to_string(), "m2", PARK);
            add("field_factor", "速度场系数", "velocity field factor", field_factor.to_string(), "", PARK);
        }
        Some(_) => {}
        None => add("flow", "流量", "flow", "not measured: no mass".into(), "", PARK),
    }
    let fixed = [
        ("temperature", "烟温（定值）", "temperature, fixed", "°C", &outlet.temperature),
        ("pressure", "静压（定值）", "static pressure, fixed", "Pa", &outlet.pressure),
        ("barometric_pressure", "大气压（定值）", "barometric pressure, fixed", "Pa", &outlet.barometric_pressure),
        ("humidity", "湿度（定值）", "humidity, fixed", "%", &outlet.humidity),
    ];
    for (id, zh, en, unit, auxiliary) in fixed {
        if let Some(Auxiliary { value: Some(value), .. }) = auxiliary {
            add(id, zh, en, value.to_string(), unit, PARK);
        }
    }
    if outlet.factors.iter().any(|factor| matches!(factor.source, Source::NoAndNo2 { .. })) {
        let ratio = format!("{} / {}", rules.molar_mass_no2, rules.molar_mass_no);
        add("nox_as_no2", "NOx 以 NO2 计", "NOx as NO2, molar masses", ratio, "g/mol", "HJ 212-2017 D.2.3 (21), (22)");
    }
    all.extend(outlet.factors.iter().flat_map(|factor| of_factor(outlet, factor)));
    all
}

fn of_factor(outlet: &Outlet, factor: &Factor) -> Vec<Parameter> {
    let mut all = Vec::new();
    let mut add = |id: &str, zh: &str, en: &str, value: &Number, unit: &str, source: &str| {
        let (factor, name) = (Some(factor.id.clone()), Text::new(zh, en));
        all.push(Parameter { id: id.into(), factor, name, value: value.to_string(), unit: unit.into(), source: source.into() });
    };
    match &factor.reference {
        Some(Reference::O2(o2)) => {
            add("reference_o2", "基准含氧量", "reference O2", o2, "%", "configuration of the park; formula HJ 212-2017 D.2.3 (26)");
        }
        Some(Reference::Alpha(alpha)) => add(
            "reference_alpha",
            "基准过量空气系数",
            "reference excess-air factor",
            alpha,
            "",
            "configuration of the park; formula HJ 212-2017 D.2.3 (27), (28)",
        ),
        None => {}
    }
    if let Some(mass) = &factor.molar_mass {
        add("molar_mass", "摩尔质量", "molar mass", mass, "g/mol", "HJ 212-2017 D.2.3 (20)");
    }
    if outlet.kind == OutletKind::WasteWater {
        add("hold_minutes", "数值保持时间", "how long a value counts", &Number::from(i64::from(factor.hold_minutes)), "min", PARK);
    }
    all
}
