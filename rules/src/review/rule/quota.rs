//! R3: controlled energy against the headroom of the quota. Equal passes. A shortfall is conditional when the province's
//! opinion says that it follows, then when verified replacement energy covers it, else it rejects. A project that is
//! exempt from energy review is tested too.
//!
//! Source: action plan 2021-2023 for Sichuan's key parks (能耗指标由省统筹保障); support by replacement amounts (能耗替代量),
//! provincial measures of 2024. The form of the test is a convention of the program.

use super::super::case::{Case, plain, tce};
use super::super::reason::{Effect, Finding, Reason, Rule};

/// Opinion of the province that it provides the energy.
pub const FOLLOW: &str = "follow";

const BASIS: &str = "四川省“5+1”重点特色园区三年行动计划（2021—2023年）：能耗指标由省统筹保障；省2024年要素保障措施：能耗替代量";

/// R3.
pub fn test(case: &Case<'_>) -> Finding {
    let (Some(controlled), Some(headroom)) = (case.controlled_tce(), &case.park.quota_headroom_tce) else {
        return Finding::part(Vec::new());
    };
    let Some(shortfall) = case.shortfall_tce() else { return Finding::whole(Vec::new()) };
    let replacement = &case.project.replacement_energy_tce;
    let opinion = case.project.province_pre_review.as_deref();
    let (used_zh, used_en) = (
        format!("纳入总量控制能耗 {} tce，超过能耗指标余量 {} tce，缺口 {} tce", tce(&controlled), tce(headroom), tce(&shortfall)),
        format!(
            "controlled energy {} tce is above the headroom of {} tce: a shortfall of {} tce",
            tce(&controlled),
            tce(headroom),
            tce(&shortfall)
        ),
    );
    let (effect, code, zh, en) = if opinion == Some(FOLLOW) {
        (
            Effect::Conditional,
            "province_follows",
            "省级预审意见为“follow”，由省统筹保障".to_owned(),
            "the province will provide it".to_owned(),
        )
    } else if *replacement >= shortfall {
        (
            Effect::Conditional,
            "replacement_covers",
            format!("已核实替代量 {} tce 可覆盖", tce(replacement)),
            format!("verified replacement energy of {} tce covers it", tce(replacement)),
        )
    } else {
        (
            Effect::Reject,
            "quota_short",
            format!("省级未承诺保障，已核实替代量 {} tce 不足", tce(replacement)),
            format!("the province does not provide it, and verified replacement energy of {} tce does not cover it", tce(replacement)),
        )
    };
    // What would be enough is shown with all its digits.
    let still = (&shortfall - replacement).at_least_zero();
    let (change_zh, change_en) = match effect {
        Effect::Reject => (
            format!(
                "再核实替代量 {} tce，或省级预审意见为 follow，或降低能耗、增加绿证、腾出指标共 {} tce",
                plain(&still),
                plain(&shortfall)
            ),
            format!(
                "{} tce more of verified replacement, or the province's opinion `follow`, or {} tce less of energy or more of headroom",
                plain(&still),
                plain(&shortfall)
            ),
        ),
        _ => (
            format!("降低能耗、增加绿证或腾出指标共 {} tce 后可无条件", plain(&shortfall)),
            format!("{} tce less of energy or more of headroom lifts the condition", plain(&shortfall)),
        ),
    };
    let reason = Reason::new(Rule::R3, effect, code)
        .says(format!("{used_zh}；{zh}"), format!("{used_en}; {en}"))
        .changed_by(change_zh, change_en)
        .number("controlled_tce", tce(&controlled))
        .number("headroom_tce", tce(headroom))
        .number("shortfall_tce", tce(&shortfall))
        .number("replacement_energy_tce", tce(replacement))
        .basis(BASIS, "H, M; form program");
    Finding::whole(vec![reason])
}
