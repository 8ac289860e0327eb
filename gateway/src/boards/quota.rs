//! Energy quota and indicators: what the park used of its quota and where the year ends, energy, carbon, water and land as
//! they are judged. Every figure is one that the program computed ([`crate::promql::indicators`]); a board adds nothing up.
//! Indicators of a month that lacks an input have no value, and nothing is drawn for it.

use super::expression::last_month_of;
use super::grafana::{Dashboard, Panel};
use super::panel::{Board, months, over, query, stat, t};
use super::park::{GATE, Park};
use crate::rollup::Level;
use crate::series;
use crate::titles::Title;

/// The board; none for a park without an electricity meter at its gate, from which park energy starts.
pub fn board(park: &Park) -> Option<Dashboard> {
    if !park.flows_of("energy_import").any(|flow| flow.has(GATE)) {
        return None;
    }
    let about = t(
        "能耗指标使用情况、年末预测与余量，以及能耗、碳排放、用水和土地指标。缺少输入的指标不显示；`parkgate indicators --explain` 给出依据。",
        "Use of the energy quota, forecast and headroom; energy, carbon, water and land as the park is judged by. What lacks an input \
         is not shown; `parkgate indicators --explain` gives what a figure rests on.",
    );
    let mut board = Board::new("quota", &t("能耗指标与园区评价", "Energy quota and indicators"), &about, &park.time_zone, "now-400d/d");
    let last = t("上月（已结）。", "Last month, once it is over.");
    let stats = vec![
        month("EN-08", &t("上月控制能耗", "Controlled energy, last month"), &last, "suffix: tce", park),
        month(
            "EN-09",
            &t("能耗指标使用率", "Quota use rate"),
            &t("本年累计至上月末，占年度指标。", "Year to date up to the end of last month, of the year's quota."),
            "percent",
            park,
        ),
        month(
            "EN-10",
            &t("年末能耗预测", "Year-end forecast"),
            &t("线性与季节预测中较大者，截至上月末。", "The larger one of the linear and the seasonal forecast, as of last month."),
            "suffix: tce",
            park,
        ),
        month(
            "EN-11",
            &t("能耗指标余量", "Quota headroom"),
            &t("年度指标减预测与已批未投产项目。", "Quota less forecast and approved projects that do not produce yet."),
            "suffix: tce",
            park,
        ),
        month("EN-17", &t("绿色电力占比", "Green electricity share"), &last, "percent", park),
        month("EN-19", &t("配电网损率", "Network loss rate"), &last, "percent", park),
    ];
    board.add_evenly(6, 4, stats);
    let energy = t("每月园区综合能耗与纳入控制的能耗。", "Energy of the park and what of it counts against the quota, by month.");
    let queries = vec![
        query(closed_months("EN-01"), &t("综合能耗", "Park energy")),
        query(closed_months("EN-08"), &t("控制能耗", "Controlled")),
        query(closed_months("EN-03"), &t("工业能耗", "Industry")),
    ];
    let carbon = t("每月碳排放：燃料与过程、外购电力与热力。", "CO2 by month: fuels and processes, bought electricity and heat.");
    let scopes = vec![
        query(closed_months("CA-01"), &t("范围一", "Scope 1")),
        query(closed_months("CA-02"), &t("范围二", "Scope 2")),
        query(closed_months("CA-04"), &t("合计", "Total")),
    ];
    let panels = vec![
        by_month(months(&t("能耗", "Energy by month"), &energy, "suffix: tce", queries)),
        by_month(months(&t("碳排放", "CO2 by month"), &carbon, "suffix: tCO2", scopes)),
        bars(
            "EN-09",
            &t("能耗指标使用率（累计）", "Quota use, year to date"),
            &t("各月末的累计使用率。", "Use rate at the end of each month."),
            "percent",
        ),
        bars(
            "EN-04",
            &t("单位增加值能耗", "Energy per added value"),
            &t("每月工业能耗与增加值之比。", "Industrial energy over added value, by month."),
            "suffix: tce/10⁴ CNY",
        ),
        bars(
            "WA-01",
            &t("工业新鲜水", "Industrial fresh water"),
            &t("每月企业新鲜水用量。", "Fresh water of the enterprises, by month."),
            "m3",
        ),
        bars(
            "WA-04",
            &t("用水重复利用率", "Water reuse"),
            &t("每月重复利用率。", "Recirculated over recirculated and fresh water, by month."),
            "percent",
        ),
    ];
    board.add_evenly(2, 9, panels);
    let declared = t("上一完整年度，按申报值。", "The last whole year, by what is declared.");
    // Last year began 365 to 731 days ago, the year before it longer ago.
    let year = |id: &str, title: &Title, unit: &str| {
        stat(title, &declared, unit, percent(id, format!("last_over_time({}[731d])", selector(id, Level::Year))))
    };
    let quality = t("上月数据完整率：有数据的小时占应有小时。", "Hours with a value of those due, last month.");
    let estimated = t("上月估算能耗占比。", "Share of estimated energy, last month.");
    let stats = vec![
        year("LA-01", &t("亩均营收", "Revenue per mu"), "suffix: 10⁴ CNY"),
        year("LA-02", &t("亩均税收", "Tax per mu"), "suffix: 10⁴ CNY"),
        year("LA-09", &t("主导产业占比", "Leading-industry share"), "percent"),
        year("LA-10", &t("高新技术占比", "High-tech share"), "percent"),
        month("DQ-01", &t("数据完整率", "Data completeness"), &quality, "percent", park),
        month("DQ-03", &t("估算占比", "Estimated share"), &estimated, "percent", park),
    ];
    board.add_evenly(6, 4, stats);
    board.finish()
}

fn selector(id: &str, level: Level) -> String {
    format!(r#"{}{{indicator="{id}"}}"#, series::indicator(level, false))
}

fn closed_months(id: &str) -> String {
    percent(id, format!("last_over_time({}[1d])", selector(id, Level::Month)))
}

/// Shares are fractions; boards show them in percent.
fn percent(id: &str, expression: String) -> String {
    let is_share = parkgate_rules::indicator::by_id(id).is_some_and(|indicator| indicator.unit == "1");
    if is_share { format!("100 * ({expression})") } else { expression }
}

fn month(id: &str, title: &Title, about: &Title, unit: &str, park: &Park) -> Panel {
    stat(title, about, unit, percent(id, last_month_of(&selector(id, Level::Month), park.seconds_east)))
}

fn bars(id: &str, title: &Title, about: &Title, unit: &str) -> Panel {
    by_month(months(title, about, unit, vec![query(closed_months(id), title)]))
}

fn by_month(panel: Panel) -> Panel {
    over(panel, "400d")
}
