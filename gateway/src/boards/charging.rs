//! Charging: energy and power of the piles, and what their connectors are doing.

use super::energy::totals;
use super::expression::{Of, by_device, closed, current, last_month, means, now, sum};
use super::grafana::{Dashboard, Panel};
use super::panel::{self, Board, every, gauges, lines, named, over, query, stacked_bars, stat, t, table, timeline};
use super::park::{Flow, Park};
use crate::rollup::Level;
use crate::series::What;

/// Power from which a connector counts as charging: above what a pile needs for itself.
const CHARGING_KW: &str = "0.1";

/// The board.
pub fn board(park: &Park) -> Option<Dashboard> {
    let about = t("充电桩的电量、功率与枪状态。", "Energy and power of the charging piles, and the state of their connectors.");
    let mut board = Board::new("charging", &t("充电", "Charging"), &about, &park.time_zone, "now-7d/d");
    let mut stats = Vec::new();
    for flow in park.flows_of("charging_power") {
        if let Some(role) = flow.total_role() {
            let about = t("有数据的桩充电功率之和的最新值。", "Latest charging power, sum over the piles that have one.");
            let sum = sum(flow, role, &now(flow, Of::Role(role)));
            stats.push(stat(&t("当前充电功率", "Charging power now"), &about, &flow.unit(), sum));
        }
        let about = t("充电功率高于0.1 kW的桩数。", "Piles that charge with more than 0.1 kW.");
        if flow.unit() == "kwatt" {
            let charging = format!("sum({} > bool {CHARGING_KW})", now(flow, Of::Role(flow.part_role())));
            stats.push(stat(&t("正在充电", "Charging now"), &about, "none", charging));
        }
    }
    for flow in park.flows_of("charging_energy") {
        stats.extend(flow.total_role().into_iter().flat_map(|role| totals(flow, role, park.seconds_east)));
    }
    board.add_evenly(6, 4, stats);
    for flow in park.flows_of("charging_power") {
        let role = flow.part_role();
        let about = t("最近24小时，15分钟平均功率，按桩。", "The last 24 hours, mean power of 15 minutes, by pile.");
        let queries = vec![panel::by_device(by_device(&means(flow, Of::Chosen(role))))];
        let panel = lines(&t("充电功率", "Charging power"), &about, &flow.unit(), queries);
        board.add(24, 8, over(every(named(panel, flow.meters_of(role)), "15m"), "24h"));
    }
    for flow in park.flows_of("connector_state") {
        for panel in states(flow) {
            board.add(12, 8, panel);
        }
    }
    for flow in park.flows_of("charging_energy") {
        for panel in energy(flow, park.seconds_east) {
            board.add(12, 8, panel);
        }
    }
    for flow in park.flows_of("charging_energy").take(1) {
        let series = flow.series(What::Samples);
        board.variable("enterprise", &t("企业", "Enterprise"), &series, ".*");
        board.variable("device", &t("充电桩", "Pile"), &format!(r#"{series}{{enterprise=~"$enterprise"}}"#), ".+");
    }
    board.finish()
}

fn states(flow: &Flow) -> Vec<Panel> {
    let role = flow.part_role();
    let about =
        t("最近24小时的枪状态，按充电桩给出的代码。", "State of the connectors over the last 24 hours, by the codes that the piles give.");
    let timeline = timeline(&t("枪状态", "Connector state"), &about, Vec::new(), vec![panel::by_device(now(flow, Of::Chosen(role)))]);
    let matchers = format!(r#"{{role="{role}",enterprise=~"$enterprise",device=~"$device"}}"#);
    let days = format!("sum by (state) (last_over_time({}{matchers}[1d]))", flow.series(What::State(Level::Day)));
    let about = t("已结日内各状态的时长，所选桩之和。", "Time in each state on closed days, sum over the piles chosen.");
    let queries = vec![query(days, &t("代码 {{state}}", "code {{state}}"))];
    let durations = stacked_bars(&t("各状态时长", "Time in each state"), &about, "s", Level::Day, queries);
    vec![named(over(every(timeline, "1m"), "24h"), flow.meters_of(role)), durations]
}

fn energy(flow: &Flow, seconds_east: i32) -> Vec<Panel> {
    let (unit, role) = (flow.unit(), flow.part_role());
    let of = Of::Chosen(role);
    let meters: Vec<_> = flow.meters_of(role).collect();
    let about = t("已结日，柱立于当日零点。", "Closed days; a bar stands on the start of its day.");
    let days = stacked_bars(
        &t("每日充电", "Charging by day"),
        &about,
        &unit,
        Level::Day,
        vec![panel::by_device(by_device(&closed(flow, Level::Day, of)))],
    );
    let about = t("最近两天的已结小时，按桩。", "Closed hours of the last two days, by pile.");
    let queries = vec![panel::by_device(by_device(&closed(flow, Level::Hour, of)))];
    let hours = stacked_bars(&t("每小时充电", "Charging by hour"), &about, &unit, Level::Hour, queries);
    let hours = over(named(hours, flow.meters_of(role)), "48h");
    let about = t("今天到目前为止，按桩。", "Today so far, by pile.");
    let queries = vec![panel::by_device(by_device(&current(flow, Level::Day, of)))];
    let today = gauges(&t("今日充电构成", "Charging today by pile"), &about, &unit, queries);
    let about = t("各桩的总量。", "Totals of each pile.");
    let queries = vec![
        query(by_device(&current(flow, Level::Day, of)), &t("今日", "Today")),
        query(by_device(&current(flow, Level::Month, of)), &t("本月", "This month")),
        query(by_device(&last_month(flow, of, seconds_east)), &t("上月", "Last month")),
        query(by_device(&current(flow, Level::Year, of)), &t("本年", "This year")),
    ];
    let table = table(&t("各桩充电", "Charging by pile"), &about, &unit, &meters, queries);
    vec![named(days, flow.meters_of(role)), hours, named(today, flow.meters_of(role)), table]
}
