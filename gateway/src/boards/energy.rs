//! Energy: totals of day, month and year by meter, with the power behind them.

use super::expression::{Of, by_device, closed, current, days_in_range, highest, hour_means, last_month, now, sum};
use super::grafana::Dashboard;
use super::overview::word;
use super::panel::{self, Board, bars, gauges, lines, months, named, over, query, stacked_bars, stat, t, table};
use super::park::{Flow, GENERATION, Park};
use crate::rollup::Level;
use crate::titles;

/// The board.
pub fn board(park: &Park) -> Option<Dashboard> {
    let about = t(
        "各表的用电与用热：日、月、年总量及其功率。",
        "Electricity and heat by meter: totals of day, month and year, and the power behind them.",
    );
    let mut board = Board::new("energy", &t("用能", "Energy"), &about, &park.time_zone, "now-30d/d");
    for flow in park.flows_of("energy_import").take(1) {
        let series = flow.series(crate::series::What::Samples);
        board.variable("enterprise", &t("企业", "Enterprise"), &series, ".*");
        board.variable("device", &t("表计", "Meter"), &format!(r#"{series}{{enterprise=~"$enterprise"}}"#), ".+");
    }
    let mut stats = Vec::new();
    for flow in park.flows_of("energy_import") {
        if let Some(role) = flow.total_role() {
            stats.extend(totals(flow, role, park.seconds_east));
        }
    }
    for flow in park.flows_of("active_power").filter(|flow| flow.total_role().is_some()) {
        let role = flow.total_role().unwrap_or_default();
        let about = t("所选时间内单表最高瞬时功率。", "The highest momentary power of one meter in the range shown.");
        let title = t(format!("最高功率（{}表）", word(role).zh), format!("Highest power of a {} meter", word(role).en));
        stats.push(stat(&title, &about, &flow.unit(), format!("max({})", highest(flow, Of::Role(role)))));
    }
    for flow in park.flows_of("energy_export").filter(|flow| flow.has(GENERATION)) {
        let about = t("本月至今发电设备发电量之和。", "Energy of the generators, this month so far.");
        let sum = sum(flow, GENERATION, &current(flow, Level::Month, Of::Role(GENERATION)));
        stats.push(stat(&t("本月发电", "Generation this month"), &about, &flow.unit(), sum));
    }
    board.add_evenly(6, 4, stats);
    for flow in park.flows_of("energy_import") {
        electricity(&mut board, flow, park.seconds_east);
    }
    let mut rest = Vec::new();
    for flow in park.flows_of("active_power") {
        let role = flow.part_role();
        let about = t("各分表的小时平均功率。", "Mean power of each clock hour, by sub-meter.");
        let queries = vec![panel::by_device(by_device(&hour_means(flow, Of::Chosen(role))))];
        rest.push(named(panel::every(lines(&t("功率", "Power by meter"), &about, &flow.unit(), queries), "1h"), flow.meters_of(role)));
    }
    for flow in park.flows_of("power_factor") {
        let about = t("功率因数最新值。", "Latest power factor.");
        let queries = vec![panel::by_device(now(flow, Of::Chosen(flow.part_role())))];
        rest.push(named(gauges(&t("功率因数", "Power factor by meter"), &about, &flow.unit(), queries), flow.meters_of(flow.part_role())));
    }
    for flow in park.flows_of("heat_energy") {
        let role = flow.part_role();
        let about = t("已结日的热量，按表。", "Heat of closed days, by meter.");
        let queries = vec![panel::by_device(by_device(&closed(flow, Level::Day, Of::Chosen(role))))];
        rest.push(named(stacked_bars(&t("每日热量", "Heat by day"), &about, &flow.unit(), Level::Day, queries), flow.meters_of(role)));
    }
    for flow in park.flows_of("energy_export").filter(|flow| flow.has(GENERATION)) {
        let about = t("已结日的发电量，按设备。", "Energy generated on closed days, by generator.");
        let queries = vec![panel::by_device(by_device(&closed(flow, Level::Day, Of::Role(GENERATION))))];
        let panel = stacked_bars(&t("每日发电", "Generation by day"), &about, &flow.unit(), Level::Day, queries);
        rest.push(named(panel, flow.meters_of(GENERATION)));
    }
    board.add_evenly(2, 9, rest);
    board.finish()
}

/// Today, this month, last month, this year: sums over one role.
pub(super) fn totals(flow: &Flow, role: &str, seconds_east: i32) -> Vec<super::grafana::Panel> {
    let (unit, of, used) = (flow.unit(), Of::Role(role), titles::used(&flow.quantity));
    let whose = word(role);
    let so_far = t(format!("至今，{}表之和。", whose.zh), format!("So far, sum over {} meters.", whose.en));
    let closed = t(format!("上月（已结），{}表之和。", whose.zh), format!("Last month once it is closed, sum over {} meters.", whose.en));
    let title = |zh: &str, en: &str| t(format!("{zh}{}", used.zh), format!("{} {en}", used.en));
    vec![
        stat(&title("今日", "today"), &so_far, &unit, sum(flow, role, &current(flow, Level::Day, of))),
        stat(&title("本月", "this month"), &so_far, &unit, sum(flow, role, &current(flow, Level::Month, of))),
        stat(&title("上月", "last month"), &closed, &unit, sum(flow, role, &last_month(flow, of, seconds_east))),
        stat(&title("本年", "this year"), &so_far, &unit, sum(flow, role, &current(flow, Level::Year, of))),
    ]
}

fn electricity(board: &mut Board, flow: &Flow, seconds_east: i32) {
    let unit = flow.unit();
    if let Some(role) = flow.total_role() {
        let of = Of::Role(role);
        let about = t("已结日，柱立于当日零点。", "Closed days; a bar stands on the start of its day.");
        let queries = vec![query(sum(flow, role, &closed(flow, Level::Day, of)), &t("园区", "Park"))];
        board.add(16, 9, bars(&t("每日用电", "Electricity by day"), &about, &unit, Level::Day, queries));
        let about = t("最近13个月中的已结月。", "Closed months of the last 13.");
        let queries = vec![query(sum(flow, role, &closed(flow, Level::Month, of)), &t("园区", "Park"))];
        board.add(8, 9, over(months(&t("每月用电", "Electricity by month"), &about, &unit, queries), "400d"));
    }
    let role = flow.part_role();
    let of = Of::Chosen(role);
    let meters: Vec<_> = flow.meters_of(role).collect();
    let about = t("已结日，按分表叠加。不含关口表。", "Closed days by sub-meter, stacked; gate meters are not in it.");
    let queries = vec![panel::by_device(by_device(&closed(flow, Level::Day, of)))];
    let days = stacked_bars(&t("每日用电构成", "Electricity by day and meter"), &about, &unit, Level::Day, queries);
    board.add(16, 9, named(days, flow.meters_of(role)));
    let about = t("所选时间内已结日之和，按分表。", "Sum of the closed days in the range shown, by sub-meter.");
    let queries = vec![panel::by_device(by_device(&days_in_range(flow, of)))];
    board.add(8, 9, named(gauges(&t("期间用电", "Electricity in the range"), &about, &unit, queries), flow.meters_of(role)));
    let about = t("最近两天的已结小时。", "Closed hours of the last two days.");
    let queries = vec![panel::by_device(by_device(&closed(flow, Level::Hour, of)))];
    let hours = stacked_bars(&t("每小时用电", "Electricity by hour and meter"), &about, &unit, Level::Hour, queries);
    board.add(12, 9, over(named(hours, flow.meters_of(role)), "48h"));
    let about = t("各分表的总量。", "Totals of each sub-meter.");
    let queries = vec![
        query(by_device(&current(flow, Level::Day, of)), &t("今日", "Today")),
        query(by_device(&current(flow, Level::Month, of)), &t("本月", "This month")),
        query(by_device(&last_month(flow, of, seconds_east)), &t("上月", "Last month")),
        query(by_device(&current(flow, Level::Year, of)), &t("本年", "This year")),
    ];
    board.add(12, 9, table(&t("分表用电", "Electricity by meter"), &about, &unit, &meters, queries));
}
