//! R4: unit product energy no worse than the level that the limit standard demands of new plants (准入值). A product
//! without a limit standard passes.
//!
//! Source: national limit standards of unit product energy, level 2 for new plants, e.g. GB 29435-2025.

use super::super::case::Case;
use super::super::reason::{Effect, Finding, Reason, Rule};

/// R4.
pub fn test(case: &Case<'_>) -> Finding {
    let field = &case.project.unit_product_energy_level;
    let Some(&level) = field.given() else {
        return if field.is_absent() { Finding::part(Vec::new()) } else { Finding::whole(Vec::new()) };
    };
    let product = &case.tables.product;
    if level <= product.level_worst {
        return Finding::whole(Vec::new());
    }
    let worst = product.level_worst;
    let reason = Reason::new(Rule::R4, Effect::Reject, "product_energy_too_high")
        .says(
            format!("单位产品能耗为 {level} 级，新建项目应达到 {worst} 级（准入值）"),
            format!("unit product energy is of level {level}; a new plant needs level {worst} or better"),
        )
        .changed_by(format!("改进工艺设备，达到 {worst} 级"), format!("process or equipment of level {worst} or better"))
        .number("level", level.to_string())
        .number("level_worst", worst.to_string())
        .basis("国家单位产品能源消耗限额标准：新建项目 2 级（准入值），例如 GB 29435-2025", &product.mark);
    Finding::whole(vec![reason])
}
