//! Emissions and compliance: averages of outlets beside their limits, what limits say of them, what is valid, mass by day.
//! Every figure is one that the program counted ([`crate::promql::emissions`]); what is not judged is shown as such, never as
//! complying.

use parkgate_rules::emission::Averaging;

use super::grafana::Dashboard;
use super::panel::{Board, Query, bars, every, lines, stat, t, timeline, words};
use super::park::Park;
use crate::promql::emissions::{LIMIT, Shown, name};
use crate::rollup::Level;
use crate::titles::Title;

/// Filter by the variable of the board.
const CHOSEN: &str = r#"outlet=~"$outlet""#;
/// Colours of [`states`], in their order.
const COLORS: [&str; 4] = ["green", "red", "blue", "orange"];

/// The board; none for a park without outlets.
pub fn board(park: &Park) -> Option<Dashboard> {
    let outlets = &park.outlets;
    if !(outlets.stack || outlets.waste_water) {
        return None;
    }
    let about = t(
        "各排口小时与日均值、限值与判定、有效数据和排放量。未录入限值的均值为“未判定”，不算达标。",
        "Hour and day averages of the outlets, limits and what they say, valid data, mass. An average without a limit is not judged, which \
         is not the same as complying.",
    );
    let mut board = Board::new("emission", &t("排放与合规", "Emissions and compliance"), &about, &park.time_zone, "now-7d");
    board.variable("outlet", &t("排口", "Outlet"), &name(Averaging::Hour, Shown::State), ".+");
    let valid = |title: Title, about: Title, averaging: Averaging, range: &str| {
        stat(&title, &about, "percent", format!("100 * min({})", last(averaging, Shown::ValidRatio, "", range)))
    };
    let stats = vec![
        valid(
            t("最近一小时有效分钟", "Valid minutes, last hour"),
            t("最近一个已结小时，各排口各因子中最低者。", "The last hour that is over; the lowest of all factors."),
            Averaging::Hour,
            "3h",
        ),
        valid(
            t("最近一日有效小时", "Valid hours, last day"),
            t("最近一个已结日，各排口各因子中最低者。", "The last day that is over; the lowest of all factors."),
            Averaging::Day,
            "3d",
        ),
    ];
    board.add_evenly(2, 4, stats);
    let judged = |title: Title, about: Title, averaging: Averaging, step: &str| {
        every(timeline(&title, &about, vec![words(states(), &COLORS)], vec![by_factor(last(averaging, Shown::State, "", step))]), step)
    };
    board.add(
        24,
        7,
        judged(
            t("小时均值判定", "Hour averages, judged"),
            t("每个已结小时按其限值的判定。", "What limits say of each hour that is over."),
            Averaging::Hour,
            "1h",
        ),
    );
    board.add(
        24,
        7,
        judged(
            t("日均值判定", "Day averages, judged"),
            t("每个已结日按其限值的判定。", "What limits say of each day that is over."),
            Averaging::Day,
            "1d",
        ),
    );
    let averages = |title: Title, unit: &str, shown: Shown, of: &str| {
        let about = t(
            "小时均值与限值（限值按其均值时段判定；mg/m³ 为干基标态折算值）。",
            "Hour averages and limits, each with the average that it names; mg/m³ converted, dry, standard state.",
        );
        let limit = Query { expr: format!("{LIMIT}{{{CHOSEN}{of}}}"), legend: "limit {{outlet}} {{factor}} {{averaging}}".into() };
        every(lines(&title, &about, unit, vec![by_factor(last(Averaging::Hour, shown, of, "1h")), limit]), "1h")
    };
    let mut panels = Vec::new();
    if outlets.stack {
        panels.push(averages(
            t("烟气小时均值与限值", "Stacks: hour averages and limits"),
            "conmgNm3",
            Shown::Converted,
            r#",unit="mg/m3""#,
        ));
    }
    if outlets.waste_water {
        panels.push(averages(
            t("废水小时均值与限值", "Waste water: hour averages and limits"),
            "none",
            Shown::Concentration,
            r#",unit="mg/L""#,
        ));
    }
    board.add_evenly(2, 9, panels);
    let days = |title: Title, about: Title, unit: &str, expr: String| bars(&title, &about, unit, Level::Day, vec![by_factor(expr)]);
    let panels = vec![
        days(
            t("每日排放量", "Mass by day"),
            t("各因子每日排放量，按未折算浓度。", "Mass of each factor by day, from what is not converted."),
            "masskg",
            last(Averaging::Day, Shown::Mass, "", "1d"),
        ),
        days(
            t("每日有效小时占比", "Valid hours by day"),
            t("有效小时占运行小时的比例。", "Valid hours as a share of the day's operating hours."),
            "percent",
            format!("100 * {}", last(Averaging::Day, Shown::ValidRatio, "", "1d")),
        ),
    ];
    board.add_evenly(2, 9, panels);
    board.finish()
}

/// The last figure in a range that ends now.
fn last(averaging: Averaging, shown: Shown, of: &str, range: &str) -> String {
    format!("last_over_time({}{{{CHOSEN}{of}}}[{range}])", name(averaging, shown))
}

fn by_factor(expr: String) -> Query {
    Query { expr, legend: "{{outlet}} {{factor}}".into() }
}

/// Words for the values of a state.
fn states() -> Vec<(String, String)> {
    [("0", t("达标", "complies")), ("1", t("超标", "exceeds")), ("2", t("未判定", "not judged")), ("3", t("不计", "not counted"))]
        .map(|(value, title)| (value.to_owned(), title.line()))
        .to_vec()
}
