//! Overview: the answers of today first, then power over the day, then who uses it.

use parkgate_collector::model::Medium;

use super::expression::{Of, by_device, current, means, now, sum, yesterday};
use super::grafana::{Dashboard, Panel};
use super::panel::{Board, bars, every, gauges, lines, named, over, query, red_from, stat, t};
use super::park::{Flow, GENERATION, Park};
use super::{expression, panel};
use crate::rollup::Level;
use crate::titles::{self, Title};

/// The board.
pub fn board(park: &Park) -> Option<Dashboard> {
    let about = t("园区今天的用能、用水与充电情况。", "What the park uses today: electricity, gas, water, charging.");
    let mut board = Board::new("overview", &t("园区总览", "Park overview"), &about, &park.time_zone, "now-24h");
    let mut stats = Vec::new();
    for flow in park.flows_of("active_power") {
        stats.extend(flow.total_role().map(|role| {
            let about = t(
                format!("{}电表有功功率之和的最新值。", word(role).zh),
                format!("Latest active power, sum over {} meters.", word(role).en),
            );
            stat(&t("当前功率", "Power now"), &about, &flow.unit(), sum(flow, role, &now(flow, Of::Role(role))))
        }));
        if flow.has(GENERATION) {
            let about = t("发电设备有功功率之和的最新值。", "Latest active power, sum over generators.");
            stats.push(stat(
                &t("当前发电功率", "Generation now"),
                &about,
                &flow.unit(),
                sum(flow, GENERATION, &now(flow, Of::Role(GENERATION))),
            ));
        }
    }
    for &(quantity, ..) in titles::USES {
        for flow in park.flows_of(quantity) {
            stats.extend(
                flow.total_role()
                    .into_iter()
                    .flat_map(|role| today(flow, role, (quantity == "energy_import").then_some(park.seconds_east))),
            );
        }
    }
    let about = t("采集链路中断的数量。", "Links to meters that are not connected.");
    let down = "count(parkgate_driver_link_up) - sum(parkgate_driver_link_up)";
    stats.push(red_from(stat(&t("中断链路", "Links down"), &about, "none", down), 1.0));
    board.add_evenly(6, 4, stats);

    for flow in park.flows_of("active_power") {
        let Some(role) = flow.total_role() else { continue };
        let total = Of::Role(role);
        let mean = means(flow, total);
        let mut queries = vec![
            query(sum(flow, role, &mean), &t("园区", "Park")),
            query(sum(flow, role, &before(&mean)), &t("前一天同一时刻", "The day before")),
        ];
        if flow.has(GENERATION) {
            queries.push(query(sum(flow, GENERATION, &means(flow, Of::Role(GENERATION))), &t("发电", "Generation")));
        }
        let about = t("15分钟平均有功功率，与前一天比较。", "Mean active power of 15 minutes, beside that of the day before.");
        board.add(24, 9, every(lines(&t("功率", "Power"), &about, &flow.unit(), queries), "15m"));
    }
    let mut breakdown = Vec::new();
    for flow in park.flows_of("energy_import") {
        let role = flow.part_role();
        let about = t("今天到目前为止，各分表。分表之间不重叠。", "Today so far, by sub-meter. None is behind another.");
        let queries = vec![panel::by_device(by_device(&current(flow, Level::Day, Of::Role(role))))];
        breakdown
            .push(named(gauges(&t("今日用电构成", "Electricity today by meter"), &about, &flow.unit(), queries), flow.meters_of(role)));
        if let Some(role) = flow.total_role() {
            let about = t("最近30个已结日，柱立于当日零点。", "The last 30 closed days; a bar stands on the start of its day.");
            let queries = vec![query(sum(flow, role, &expression::closed(flow, Level::Day, Of::Role(role))), &t("园区", "Park"))];
            breakdown.push(over(bars(&t("每日用电", "Electricity by day"), &about, &flow.unit(), Level::Day, queries), "30d"));
        }
    }
    for quantity in ["gas_flow", "water_flow"] {
        for flow in park.flows_of(quantity) {
            let Some(role) = flow.total_role() else { continue };
            let about = t("15分钟平均流量，与前一天比较。", "Mean flow of 15 minutes, beside that of the day before.");
            let queries = vec![
                query(sum(flow, role, &means(flow, Of::Role(role))), &t("园区", "Park")),
                query(sum(flow, role, &before(&means(flow, Of::Role(role)))), &t("前一天同一时刻", "The day before")),
            ];
            breakdown.push(every(lines(&titles::quantity(quantity), &about, &flow.unit(), queries), "15m"));
        }
    }
    board.add_evenly(2, 9, breakdown);
    board.finish()
}

/// Today so far, and yesterday where the park's offset is given for it.
fn today(flow: &Flow, role: &str, seconds_east: Option<i32>) -> Vec<Panel> {
    let (used, word, unit) = (titles::used(&flow.quantity), word(role), flow.unit());
    let whose = if flow.medium == Medium::Charging {
        t("充电桩", "charging piles")
    } else {
        t(format!("{}表", word.zh), format!("{} meters", word.en))
    };
    let about = t(
        format!("今天零点（园区时区）至今，{}之和。", whose.zh),
        format!("From midnight in the park's zone until now, sum over {}.", whose.en),
    );
    let title = t(format!("今日{}", used.zh), format!("{} today", used.en));
    let mut panels = vec![stat(&title, &about, &unit, sum(flow, role, &current(flow, Level::Day, Of::Role(role))))];
    if let Some(seconds_east) = seconds_east {
        let about = t("昨日总量，结算后显示。", "Total of yesterday, once it is closed.");
        let title = t(format!("昨日{}", used.zh), format!("{} yesterday", used.en));
        panels.push(stat(&title, &about, &unit, sum(flow, role, &yesterday(flow, Of::Role(role), seconds_east))));
    }
    panels
}

/// Whose figures make a total.
pub(super) fn word(role: &str) -> Title {
    match role {
        super::park::GATE => t("关口", "gate"),
        super::park::SUB => t("分", "sub"),
        _ => t("", ""),
    }
}

/// The same a day earlier. The expression ends with a range in brackets.
fn before(expression: &str) -> String {
    expression.replacen("])", "] offset 1d)", 1)
}
