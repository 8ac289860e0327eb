//! Water and gas: totals and flows, each at the gate and by sub-meter.

use super::energy::totals;
use super::expression::{Of, by_device, closed, days_in_range, means, sum};
use super::grafana::Dashboard;
use super::panel::{self, Board, bars, every, gauges, lines, months, named, over, query, stacked_bars, t};
use super::park::{Flow, Park};
use crate::rollup::Level;
use crate::series::What;
use crate::titles::{self, Title};

/// The board.
pub fn board(park: &Park) -> Option<Dashboard> {
    let about = t("用水与用气：总量、流量与构成。", "Water and gas: totals, flows, and who uses them.");
    let mut board = Board::new("water-gas", &t("水与燃气", "Water and gas"), &about, &park.time_zone, "now-30d/d");
    let volumes: Vec<&Flow> = ["water_volume", "gas_volume"].into_iter().flat_map(|quantity| park.flows_of(quantity)).collect();
    let names: Vec<String> = volumes.iter().map(|flow| flow.series(What::Samples)).collect();
    if !names.is_empty() {
        // One name is a plain selector; of more, any may have the meter.
        let any = |matcher: &str| match names.as_slice() {
            [one] if matcher.is_empty() => one.clone(),
            _ => format!(r#"{{__name__=~"{}"{matcher}}}"#, names.join("|")),
        };
        board.variable("enterprise", &t("企业", "Enterprise"), &any(""), ".*");
        board.variable("device", &t("表计", "Meter"), &any(r#",enterprise=~"$enterprise""#), ".+");
    }
    for flow in &volumes {
        if let Some(role) = flow.total_role() {
            board.add_evenly(4, 4, totals(flow, role, park.seconds_east));
        }
    }
    for flow in volumes {
        let flows = if flow.quantity == "water_volume" { "water_flow" } else { "gas_flow" };
        volume(&mut board, flow, park.flows_of(flows).next());
    }
    board.finish()
}

fn volume(board: &mut Board, flow: &Flow, momentary: Option<&Flow>) {
    let (unit, used) = (flow.unit(), titles::used(&flow.quantity));
    let title = |zh: &str, en: &str| -> Title { t(zh.replace("{}", &used.zh), en.replace("{}", &used.en)) };
    if let Some(role) = flow.total_role() {
        let of = Of::Role(role);
        let about = t("已结日，柱立于当日零点。", "Closed days; a bar stands on the start of its day.");
        let queries = vec![query(sum(flow, role, &closed(flow, Level::Day, of)), &t("园区", "Park"))];
        board.add(16, 8, bars(&title("每日{}", "{} by day"), &about, &unit, Level::Day, queries));
        let about = t("最近13个月中的已结月。", "Closed months of the last 13.");
        let queries = vec![query(sum(flow, role, &closed(flow, Level::Month, of)), &t("园区", "Park"))];
        board.add(8, 8, over(months(&title("每月{}", "{} by month"), &about, &unit, queries), "400d"));
    }
    let role = flow.part_role();
    let of = Of::Chosen(role);
    let about = t("已结日，按分表叠加。不含关口表。", "Closed days by sub-meter, stacked; gate meters are not in it.");
    let queries = vec![panel::by_device(by_device(&closed(flow, Level::Day, of)))];
    let days = stacked_bars(&title("每日{}构成", "{} by day and meter"), &about, &unit, Level::Day, queries);
    board.add(16, 8, named(days, flow.meters_of(role)));
    let about = t("所选时间内已结日之和，按分表。", "Sum of the closed days in the range shown, by sub-meter.");
    let queries = vec![panel::by_device(by_device(&days_in_range(flow, of)))];
    board.add(8, 8, named(gauges(&title("期间{}", "{} in the range"), &about, &unit, queries), flow.meters_of(role)));
    if let Some(momentary) = momentary {
        let about = t("最近24小时，15分钟平均流量。", "The last 24 hours, mean flow of 15 minutes.");
        let mut queries = Vec::new();
        if let Some(role) = momentary.total_role() {
            queries.push(query(sum(momentary, role, &means(momentary, Of::Role(role))), &t("园区", "Park")));
        }
        let role = momentary.part_role();
        queries.push(panel::by_device(by_device(&means(momentary, Of::Chosen(role)))));
        let panel = lines(&title("{}流量", "{} flow"), &about, &momentary.unit(), queries);
        board.add(24, 8, over(every(named(panel, momentary.meters_of(role)), "15m"), "24h"));
    }
}
