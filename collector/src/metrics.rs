//! The collector's metrics, one table. Names: `parkgate_<area>_<noun>_<unit>[_total]`; labels have few values.
//!
//! Fetch a labelled child once per link or device and keep it: a look-up per reading costs more than the reading.

use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    core::Collector as _,
};

/// Declares the table of a crate's metrics: a struct `Metrics` with one field a row. The caller imports the types of
/// `prometheus` that its rows name, `Opts`, `HistogramOpts`, `Registry` and `core::Collector`.
#[macro_export]
macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $field:ident: $kind:ident $name:literal [$($label:literal),*] $($buckets:expr)?;)*) => {
        /// Every metric of this crate. Cheap to clone.
        #[derive(Clone, Debug)]
        pub struct Metrics { $($(#[doc = $help])+ pub $field: $kind,)* }

        impl Metrics {
            /// Makes all metrics and registers them; a second call on one registry is refused by it and leaves the new
            /// metrics unregistered.
            pub fn new(registry: &Registry) -> Self {
                let metrics = Self { $($field: $crate::metrics!(@make $kind $name, concat!($($help),+), [$($label),*] $($buckets)?),)* };
                $(let _ = registry.register(Box::new(metrics.$field.clone()));)*
                metrics
            }

            /// Names with their help texts, for the documentation test.
            pub fn describe(&self) -> Vec<(String, String)> {
                let mut rows = Vec::new();
                $(rows.extend(self.$field.desc().into_iter().map(|desc| (desc.fq_name.clone(), desc.help.clone())));)*
                rows
            }
        }
    };
    (@make IntCounter $name:literal, $help:expr, []) => { IntCounter::new($name, $help.trim()).expect("static name") };
    (@make Gauge $name:literal, $help:expr, []) => { Gauge::new($name, $help.trim()).expect("static name") };
    (@make IntGauge $name:literal, $help:expr, []) => { IntGauge::new($name, $help.trim()).expect("static name") };
    (@make GaugeVec $name:literal, $help:expr, [$($label:literal),*]) => {
        GaugeVec::new(Opts::new($name, $help.trim()), &[$($label),*]).expect("static name")
    };
    (@make IntCounterVec $name:literal, $help:expr, [$($label:literal),*]) => {
        IntCounterVec::new(Opts::new($name, $help.trim()), &[$($label),*]).expect("static name")
    };
    (@make IntGaugeVec $name:literal, $help:expr, [$($label:literal),*]) => {
        IntGaugeVec::new(Opts::new($name, $help.trim()), &[$($label),*]).expect("static name")
    };
    (@make Histogram $name:literal, $help:expr, [] $buckets:expr) => {
        Histogram::with_opts(HistogramOpts::new($name, $help.trim()).buckets($buckets.to_vec())).expect("static name")
    };
    (@make HistogramVec $name:literal, $help:expr, [$($label:literal),*] $buckets:expr) => {
        HistogramVec::new(HistogramOpts::new($name, $help.trim()).buckets($buckets.to_vec()), &[$($label),*]).expect("static name")
    };
}

/// From a quick sync on flash to one that hangs.
const SYNC_SECONDS: [f64; 11] = [0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];
/// From on time to hopelessly late.
const LATENESS_SECONDS: [f64; 10] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 10.0];

metrics! {
    /// Readings received from a device.
    readings_received: IntCounterVec "parkgate_driver_readings_received_total" ["driver", "link", "device"];
    /// Inputs that could not be decoded or mapped, by reason.
    rejected: IntCounterVec "parkgate_driver_rejected_total" ["driver", "link", "device", "reason"];
    /// Requests to a device by result.
    requests: IntCounterVec "parkgate_driver_requests_total" ["driver", "link", "device", "result"];
    /// Messages received on a link.
    messages: IntCounterVec "parkgate_driver_messages_total" ["driver", "link"];
    /// Polls skipped because the one before was not done.
    polls_skipped: IntCounterVec "parkgate_driver_polls_skipped_total" ["driver", "link", "device"];
    /// How late polls started against their aligned time.
    poll_lateness: HistogramVec "parkgate_driver_poll_lateness_seconds" ["driver", "link", "device"] LATENESS_SECONDS;
    /// Answers dropped because they came late or to no request.
    answers_dropped: IntCounterVec "parkgate_driver_answers_dropped_total" ["driver", "link"];
    /// Address ranges and borders that a device refuses to have read along; it is read in pieces there.
    learned_gaps: IntGaugeVec "parkgate_driver_learned_gaps" ["driver", "link", "device"];
    /// Connections made, the first one included.
    connects: IntCounterVec "parkgate_driver_connects_total" ["driver", "link"];
    /// 1 while the link is connected.
    link_up: IntGaugeVec "parkgate_driver_link_up" ["driver", "link"];
    /// Samples made durable.
    samples_durable: IntCounterVec "parkgate_pipeline_samples_durable_total" ["driver", "link", "device"];
    /// From arrival at the pipeline to durable, of the newest batch with samples of the device.
    device_lag: GaugeVec "parkgate_pipeline_device_lag_seconds" ["driver", "link", "device"];
    /// Repeats and redeliveries dropped before the journal.
    repeats_dropped: IntCounter "parkgate_pipeline_repeats_dropped_total" [];
    /// Values left out because they did not change, of points that report on change.
    unchanged_left_out: IntCounter "parkgate_pipeline_unchanged_left_out_total" [];
    /// Samples recorded once more by their time in truth, after our clock was set.
    restamped: IntCounter "parkgate_pipeline_restamped_total" [];
    /// Readings of points that the catalogue does not know.
    unknown_points: IntCounter "parkgate_pipeline_unknown_points_total" [];
    /// Rise of a device's energy counter against the integral of its power, of the newest window: 1 when they agree, 0 until compared.
    nameplate_ratio: GaugeVec "parkgate_pipeline_nameplate_ratio" ["driver", "link", "device"];
    /// 1 while a device's energy, power and nameplate disagree.
    nameplate_doubt: IntGaugeVec "parkgate_pipeline_nameplate_doubt" ["driver", "link", "device"];
    /// Samples by quality.
    samples_quality: IntCounterVec "parkgate_pipeline_samples_total" ["quality"];
    /// From arrival at the pipeline to durable.
    durable_lag: Histogram "parkgate_pipeline_durable_lag_seconds" [] SYNC_SECONDS;
    /// Time of one sync of the journal.
    journal_sync: Histogram "parkgate_journal_sync_seconds" [] SYNC_SECONDS;
    /// Bytes appended to the journal.
    journal_appended: IntCounter "parkgate_journal_appended_bytes_total" [];
    /// Bytes that journal segments take on disk.
    journal_bytes: IntGauge "parkgate_journal_bytes" [];
    /// Journal segments on disk.
    journal_segments: IntGauge "parkgate_journal_segments" [];
    /// Syncs that failed.
    journal_sync_failures: IntCounter "parkgate_journal_sync_failures_total" [];
    /// 1 while the journal is full and takes nothing.
    journal_full: IntGauge "parkgate_journal_full" [];
    /// Damaged regions found in the journal.
    journal_damage: IntCounter "parkgate_journal_damaged_regions_total" [];
    /// Bytes that the rejects ring takes on disk.
    rejects_bytes: IntGauge "parkgate_rejects_bytes" [];
    /// Rejected inputs that were not kept: the ring's queue was full or its disk refused.
    rejects_dropped: IntCounter "parkgate_rejects_dropped_total" [];
}

impl Metrics {
    /// Forgets what is told of a device that is no more. What was refused or failed stays counted.
    pub fn forget_device(&self, driver: &str, link: &str, device: &str) {
        let labels = [driver, link, device];
        for counters in [&self.readings_received, &self.polls_skipped, &self.samples_durable] {
            let _ = counters.remove_label_values(&labels);
        }
        let _ = self.poll_lateness.remove_label_values(&labels);
        let _ = self.learned_gaps.remove_label_values(&labels);
        let _ = self.device_lag.remove_label_values(&labels);
        let _ = self.nameplate_ratio.remove_label_values(&labels);
        let _ = self.nameplate_doubt.remove_label_values(&labels);
    }

    /// Forgets what is told of a link that is no more.
    pub fn forget_link(&self, driver: &str, link: &str) {
        let labels = [driver, link];
        for counters in [&self.messages, &self.answers_dropped, &self.connects] {
            let _ = counters.remove_label_values(&labels);
        }
        let _ = self.link_up.remove_label_values(&labels);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_registers_under_a_name_of_ours_with_a_help_text() {
        let registry = Registry::new();
        let rows = Metrics::new(&registry).describe();
        assert!(rows.len() > 20);
        for (name, help) in rows {
            assert!(name.starts_with("parkgate_") && help.len() > 10 && !help.starts_with(' '), "{name}: {help}");
        }
    }
}
