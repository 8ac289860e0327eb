//! The gateway's metrics, one table; the collector's are in `parkgate_collector::metrics`, both in one registry.
//!
//! Parts set their own metrics as things happen; what is only worth reading at a scrape (memory, open files) is read by
//! [`Metrics::scrape`].

use parkgate_collector::clock::Clock;
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, core::Collector as _,
};

/// From a look into memory to a long range read from disk.
const REQUEST_SECONDS: [f64; 9] = [0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 10.0];
/// From a checkpoint with nothing to do to one that is in trouble.
const CHECKPOINT_SECONDS: [f64; 8] = [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0];

parkgate_collector::metrics! {
    /// Requests answered, by route pattern and status code.
    http_requests: IntCounterVec "parkgate_http_requests_total" ["route", "status"];
    /// Time until the head of the answer, by route pattern.
    http_seconds: HistogramVec "parkgate_http_request_seconds" ["route"] REQUEST_SECONDS;
    /// Requests refused because of their Host header.
    http_misdirected: IntCounter "parkgate_http_misdirected_total" [];
    /// Requests refused for want of a token in force or of a role: no_token, unknown, expired, role.
    http_refused: IntCounterVec "parkgate_http_refused_total" ["reason"];
    /// TLS handshakes that failed or took too long.
    tls_handshakes_failed: IntCounter "parkgate_tls_handshakes_failed_total" [];
    /// New certificate files: loaded, or failed (the old certificate stays).
    tls_reloads: IntCounterVec "parkgate_tls_reloads_total" ["result"];
    /// Days until the certificate in use expires; below 0 when it has.
    tls_expiry_days: IntGaugeVec "parkgate_tls_certificate_expiry_days" ["file"];
    /// Open event streams.
    stream_clients: IntGauge "parkgate_http_stream_clients" [];
    /// Event streams ended because the client did not keep up.
    stream_lagged: IntCounter "parkgate_http_stream_lagged_total" [];
    /// Time that queries under `/prometheus` took, those refused included.
    query_seconds: Histogram "parkgate_query_seconds" [] REQUEST_SECONDS;
    /// Samples that queries have read.
    query_samples: IntCounter "parkgate_query_samples_read_total" [];
    /// Queries refused or given up, by the error type of their answer.
    query_failed: IntCounterVec "parkgate_query_failed_total" ["reason"];
    /// Samples that history has taken over since start.
    history_applied: IntCounter "parkgate_history_samples_applied_total" [];
    /// Blocks written.
    history_blocks: IntCounter "parkgate_history_blocks_written_total" [];
    /// Bytes of the blocks written.
    history_bytes: IntCounter "parkgate_history_block_bytes_written_total" [];
    /// Bytes that history files take on disk.
    history_disk_bytes: IntGauge "parkgate_history_bytes" [];
    /// Bytes of samples that are in memory and not yet in blocks.
    history_head_bytes: IntGauge "parkgate_history_head_bytes" [];
    /// Time of one checkpoint.
    history_checkpoint: Histogram "parkgate_history_checkpoint_seconds" [] CHECKPOINT_SECONDS;
    /// Journal entries that history has not taken over yet.
    history_lag: IntGauge "parkgate_history_lag_entries" [];
    /// Days until the journal has no room, if its room shrinks on as of late; -1 while it does not shrink.
    journal_full_in_days: Gauge "parkgate_journal_full_in_days" [];
    /// Samples that came again under a time already stored, with another value.
    history_corrections: IntCounter "parkgate_history_corrections_total" [];
    /// Journal entries that were gone before history read them.
    history_gone: IntCounter "parkgate_history_journal_gone_entries_total" [];
    /// Journal entries that were damaged, and so are lost to history.
    history_unreadable: IntCounter "parkgate_history_journal_damaged_entries_total" [];
    /// Attempts to read the journal that failed; each is made again.
    history_read_errors: IntCounter "parkgate_history_journal_errors_total" [];
    /// Month files deleted, by retention or for want of space.
    history_files_deleted: IntCounter "parkgate_history_files_deleted_total" [];
    /// Month files deleted before their time, because the disk ran short.
    history_files_relieved: IntCounter "parkgate_history_files_relieved_total" [];
    /// Damaged blocks found.
    history_damaged: IntCounter "parkgate_history_damaged_blocks_total" [];
    /// Lines that a sink took.
    forward_sent: IntCounterVec "parkgate_forward_lines_sent_total" ["sink"];
    /// Requests to a sink that have to be sent again.
    forward_retried: IntCounterVec "parkgate_forward_retries_total" ["sink"];
    /// Lines that a sink does not accept; they are kept as dead letters.
    forward_dead: IntCounterVec "parkgate_forward_dead_letters_total" ["sink"];
    /// Samples not sent to a sink because they have no number or are bad.
    forward_skipped: IntCounterVec "parkgate_forward_samples_skipped_total" ["sink"];
    /// Damaged journal entries that a sink can get from history only.
    forward_damaged: IntCounterVec "parkgate_forward_entries_damaged_total" ["sink"];
    /// Durable journal entries that a sink has not got yet.
    forward_lag_entries: IntGaugeVec "parkgate_forward_lag_entries" ["sink"];
    /// Age of the earliest sample that is on its way to a sink.
    forward_lag_seconds: IntGaugeVec "parkgate_forward_lag_seconds" ["sink"];
    /// How a sink does: 0 takes values, 1 away or busy, 2 refuses us, 3 its state file cannot be used.
    forward_state: IntGaugeVec "parkgate_forward_state" ["sink"];
    /// Journal entries that totals have not read yet.
    totals_lag: IntGauge "parkgate_totals_lag_entries" [];
    /// Points whose totals are being counted.
    totals_dirty: IntGauge "parkgate_totals_dirty_points" [];
    /// Hours counted from the record, again included.
    totals_hours: IntCounter "parkgate_totals_hours_counted_total" [];
    /// Totals that changed after their period was closed.
    totals_corrections: IntCounter "parkgate_totals_corrections_total" [];
    /// Journal entries that emissions have not read yet.
    emission_lag: IntGauge "parkgate_emission_lag_entries" [];
    /// Hours of outlets counted from the record, one for each factor, again included.
    emission_hours: IntCounter "parkgate_emission_hours_counted_total" [];
    /// Figures of emissions that changed after they were given.
    emission_corrections: IntCounter "parkgate_emission_corrections_total" [];
    /// Compliance events entered: raised, amended or withdrawn.
    emission_events: IntCounter "parkgate_emission_events_total" [];
    /// Operator alarms that are on, by priority.
    alarms_active: IntGaugeVec "parkgate_alarms_active" ["priority"];
    /// Alarm events made.
    alarm_events: IntCounter "parkgate_alarm_events_total" [];
    /// Journal entries that alarms have not read yet.
    alarm_lag: IntGauge "parkgate_alarm_lag_entries" [];
    /// Alarm events that wait for a receiver.
    alarm_outbox_depth: IntGaugeVec "parkgate_alarm_outbox_depth" ["receiver"];
    /// Age of the oldest alarm event that waits for a receiver.
    alarm_outbox_lag: IntGaugeVec "parkgate_alarm_outbox_lag_seconds" ["receiver"];
    /// What became of alarms sent to a receiver: taken, later, refused, dropped. What is sent again counts again.
    alarm_deliveries: IntCounterVec "parkgate_alarm_deliveries_total" ["receiver", "outcome"];
    /// Time from the making of an alarm event until it is sent to a receiver first.
    alarm_first_attempt: HistogramVec "parkgate_alarm_first_attempt_seconds" ["receiver"] REQUEST_SECONDS;
    /// 1 when the configuration files were taken the last time they were read.
    config_last_reload_successful: IntGauge "parkgate_config_last_reload_successful" [];
    /// When the configuration files were taken last, in seconds since 1970.
    config_last_reload_success: Gauge "parkgate_config_last_reload_success_timestamp_seconds" [];
    /// Times that the configuration files were read again: applied, unchanged, or refused (what was in force stays).
    config_reloads: IntCounterVec "parkgate_config_reloads_total" ["result"];
    /// Start of this process, in seconds since 1970.
    process_start: Gauge "parkgate_process_start_time_seconds" [];
    /// Resident memory.
    process_resident: IntGauge "parkgate_process_resident_bytes" [];
    /// Open file descriptors.
    process_open_files: IntGauge "parkgate_process_open_files" [];
    /// Always 1; the labels tell what was built.
    build_info: IntGaugeVec "parkgate_build_info" ["version", "commit"];
}

impl Metrics {
    /// Sets what does not change while the process runs: its start (now) and what was built.
    pub fn started(&self, clock: &dyn Clock, version: &str, commit: &str) {
        self.process_start.set(clock.now().utc.0 as f64 / 1000.0);
        self.build_info.with_label_values(&[version, commit]).set(1);
    }

    /// Reads memory and open files of this process; leaves them alone where `/proc` does not tell.
    pub fn scrape(&self) {
        // `VmRSS:     1234 kB` (proc_pid_status(5)).
        let kilobytes = std::fs::read_to_string("/proc/self/status")
            .ok()
            .and_then(|text| text.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse::<i64>().ok()));
        if let Some(kilobytes) = kilobytes {
            self.process_resident.set(kilobytes.saturating_mul(1024));
        }
        if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
            // The directory itself is open while it is read.
            self.process_open_files.set(i64::try_from(files.count().saturating_sub(1)).unwrap_or(i64::MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_registers_beside_the_collectors_under_a_name_of_ours() {
        let registry = Registry::new();
        let collector = parkgate_collector::metrics::Metrics::new(&registry).describe();
        let rows = Metrics::new(&registry).describe();
        for (name, help) in &rows {
            assert!(name.starts_with("parkgate_") && help.len() > 10 && !help.starts_with(' '), "{name}: {help}");
            assert!(collector.iter().all(|(other, _)| other != name), "{name} is taken by the collector");
        }
    }

    #[test]
    fn reads_its_own_process() {
        let metrics = Metrics::new(&Registry::new());
        metrics.scrape();
        assert!(metrics.process_resident.get() > 1_000_000);
        assert!(metrics.process_open_files.get() > 2);
    }
}
