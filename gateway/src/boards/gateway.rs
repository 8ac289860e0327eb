//! Gateway health: whether values come in, become durable and are kept, from the gateway's own metrics.

use super::grafana::{Dashboard, Panel};
use super::panel::{Board, lines, query, red_from, stat, t, timeline, words};
use crate::titles::Title;

/// The board. Metrics are those of every gateway, so it is the same for every park.
pub fn board() -> Option<Dashboard> {
    let about =
        t("网关自身是否正常：采集、落盘、历史与资源。", "Whether the gateway is well: reading, making durable, keeping, resources.");
    let mut board = Board::new("gateway", &t("网关健康", "Gateway health"), &about, "browser", "now-6h");
    board.variable("device", &t("表计", "Meter"), "parkgate_driver_readings_received_total", ".*");
    board.add_evenly(6, 4, stats());
    let about = t("每秒落盘的样本数。", "Samples made durable per second.");
    let durable = vec![query(format!("sum({})", rate("parkgate_pipeline_samples_durable_total")), &t("落盘", "Durable"))];
    board.add(24, 8, lines(&t("落盘速率", "Durable samples"), &about, "cps", durable));
    board.add_evenly(2, 8, details());
    board.finish()
}

fn stats() -> Vec<Panel> {
    vec![
        red_from(
            stat(
                &t("中断链路", "Links down"),
                &t("未连接的采集链路数。", "Links to meters that are not connected."),
                "none",
                "count(parkgate_driver_link_up) - sum(parkgate_driver_link_up)",
            ),
            1.0,
        ),
        stat(
            &t("每秒样本", "Samples per second"),
            &t("每秒落盘的样本数。", "Samples made durable per second."),
            "cps",
            format!("sum({})", rate("parkgate_pipeline_samples_durable_total")),
        ),
        red_from(
            stat(
                &t("历史滞后", "History lag"),
                &t("尚未进入历史的日志条目。", "Journal entries that history has not taken over yet."),
                "none",
                "max(parkgate_history_lag_entries)",
            ),
            10_000.0,
        ),
        red_from(
            stat(
                &t("日志已满", "Journal full"),
                &t("1：日志已满，设备得不到应答。", "1: the journal is full and devices are not answered."),
                "none",
                "max(parkgate_journal_full)",
            ),
            1.0,
        ),
        stat(
            &t("内存", "Memory"),
            &t("进程常驻内存。", "Resident memory of the process."),
            "bytes",
            "max(parkgate_process_resident_bytes)",
        ),
        stat(
            &t("启动时间", "Started"),
            &t("网关进程的启动时间。", "When the gateway's process started."),
            "dateTimeFromNow",
            "max(parkgate_process_start_time_seconds) * 1000",
        ),
    ]
}

fn details() -> Vec<Panel> {
    let link = legend("{{link}}");
    let device = legend("{{device}}");
    let up = words(vec![("0".into(), t("中断", "down").line()), ("1".into(), t("正常", "up").line())], &["red", "green"]);
    let mut panels = vec![
        timeline(
            &t("链路状态", "Link state"),
            &t("各采集链路是否连接。", "Whether each link is connected."),
            vec![up],
            vec![query("parkgate_driver_link_up", &link)],
        ),
        lines(
            &t("各表读数", "Readings by meter"),
            &t("每秒收到的读数。", "Readings received per second."),
            "cps",
            vec![query(format!("sum by (device) ({})", chosen("parkgate_driver_readings_received_total")), &device)],
        ),
        lines(
            &t("拒收", "Rejected input"),
            &t("每秒无法解析的输入，按原因。", "Inputs per second that could not be decoded or mapped, by reason."),
            "cps",
            vec![query(format!("sum by (reason) ({})", chosen("parkgate_driver_rejected_total")), &legend("{{reason}}"))],
        ),
        lines(
            &t("请求结果", "Requests by result"),
            &t("每秒对设备的请求，按结果。", "Requests to devices per second, by result."),
            "reqps",
            vec![query(format!("sum by (result) ({})", chosen("parkgate_driver_requests_total")), &legend("{{result}}"))],
        ),
        lines(
            &t("样本质量", "Samples by quality"),
            &t("每秒样本，按质量。", "Samples per second, by quality."),
            "cps",
            vec![query(format!("sum by (quality) ({})", rate("parkgate_pipeline_samples_total")), &legend("{{quality}}"))],
        ),
    ];
    let times = vec![
        query(mean_seconds("parkgate_journal_sync_seconds"), &t("同步", "Sync")),
        query(mean_seconds("parkgate_pipeline_durable_lag_seconds"), &t("到达至落盘", "Arrival to durable")),
    ];
    let about = t("日志同步与落盘的平均耗时。", "Mean time of a sync of the journal, and from arrival to durable.");
    panels.push(lines(&t("平均耗时", "Mean times"), &about, "s", times));
    let disk = vec![
        query("max(parkgate_journal_bytes)", &t("日志", "Journal")),
        query("max(parkgate_history_bytes)", &t("历史", "History")),
        query("max(parkgate_rejects_bytes)", &t("拒收", "Rejects")),
    ];
    panels.push(lines(&t("磁盘占用", "On disk"), &t("各部分占用的磁盘空间。", "Disk space that the parts take."), "bytes", disk));
    let memory = vec![
        query("max(parkgate_process_resident_bytes)", &t("进程", "Process")),
        query("max(parkgate_history_head_bytes)", &t("未成块的历史", "History not yet in blocks")),
    ];
    panels.push(lines(
        &t("内存", "Memory"),
        &t("常驻内存，以及其中的历史。", "Resident memory, and what of it is history."),
        "bytes",
        memory,
    ));
    let about = t("轮询相对整点时刻的平均延迟，按链路。", "How late polls start against their aligned time, mean, by link.");
    let late = "parkgate_driver_poll_lateness_seconds";
    let mean = format!("sum by (link) ({}) / sum by (link) ({})", rate(&format!("{late}_sum")), rate(&format!("{late}_count")));
    panels.push(lines(&t("轮询延迟", "Poll lateness"), &about, "s", vec![query(mean, &link)]));
    panels
}

/// Per second, over the time that Grafana finds right for the step.
fn rate(counter: &str) -> String {
    format!("rate({counter}[$__rate_interval])")
}

/// The same for the meters chosen.
fn chosen(counter: &str) -> String {
    format!(r#"rate({counter}{{device=~"$device"}}[$__rate_interval])"#)
}

/// The mean of a histogram.
fn mean_seconds(histogram: &str) -> String {
    format!("{} / {}", rate(&format!("{histogram}_sum")), rate(&format!("{histogram}_count")))
}

fn legend(format: &str) -> Title {
    Title::new(format, format)
}
