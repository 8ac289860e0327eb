//! R1: the zoning unit does not admit the project, a process is prohibited, or demands on safety and environment are not
//! met. One reason per cause; each is a veto.
//!
//! Source: action plan 2021-2023 for Sichuan's "5+1" key characteristic parks (严禁环保、安全不达标的项目入园).

use super::super::case::Case;
use super::super::reason::{Effect, Finding, Reason, Rule};

const BASIS: &str = "四川省“5+1”重点特色园区三年行动计划（2021—2023年）：严禁环保、安全不达标的项目入园";

/// R1.
pub fn test(case: &Case<'_>) -> Finding {
    let project = case.project;
    let mut reasons = Vec::new();
    let mut veto = |code, zh: String, en: String, change: (&str, &str)| {
        let reason = Reason::new(Rule::R1, Effect::Reject, code).says(zh, en).changed_by(change.0, change.1).basis(BASIS, "H");
        reasons.push(Reason { veto: true, ..reason });
    };
    if project.zoning_compatible.given() == Some(&false) {
        veto(
            "zoning_not_compatible",
            "项目不符合生态环境分区管控（三线一单）要求".to_owned(),
            "the zoning unit does not admit the project".to_owned(),
            ("选择准入的管控单元，或调整项目内容后重新核对", "a unit that admits it, or a project changed to fit this one"),
        );
    }
    if let Some(process) = project.prohibited_process.given() {
        veto(
            "prohibited_process",
            format!("采用禁止类工艺：{process}"),
            format!("a prohibited process is used: {process}"),
            ("改用非禁止类工艺", "another process"),
        );
    }
    if project.safety_ok.given() == Some(&false) {
        veto(
            "safety_or_environment_not_met",
            "安全、环保要求未达标".to_owned(),
            "demands on safety and environment are not met".to_owned(),
            ("整改并取得主管部门达标意见", "measures that meet them, confirmed by the authorities"),
        );
    }
    let is_whole =
        project.zoning_compatible.given().is_some() && !project.prohibited_process.is_absent() && project.safety_ok.given().is_some();
    Finding { reasons, whole: is_whole }
}
