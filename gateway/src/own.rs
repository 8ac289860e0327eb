//! The gateway's own metrics in the record: every 15 s the figures of `/metrics` become samples of medium `gateway`, so
//! that a board can show how the gateway did last month.
//!
//! The device [`OWN_ID`] with one point per figure joins the catalogue at start ([`with_own`]); a table says which
//! metrics and, for labelled ones, for which links, devices, sinks and label values. All of it is configured, so the number of
//! points is bounded and known at start. [`run`] reads the registry of metrics and hands the figures to the pipeline as a
//! driver would. A figure that no part has set yet has no sample.
//!
//! A point's quantity is the metric's name and its labels are the metric's labels: queries find the series as they are
//! under `/metrics`. Histograms leave their buckets there, only `_sum` and `_count` come along. Counters begin at 0 with
//! each start of the program: the first register after it is stored as suspect step, and a query takes it as a reset.
//!
//! The origin is metered: the gateway measured itself. In the demo it is simulated as everything there, because what the
//! gateway was busy with was simulated.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parkgate_collector::catalogue::{
    Catalogue, Device, DeviceAddress, DriverSettings, Link, Names, OWN_ID, Point, PointRegistry, PointSource, RegistryError,
};
use parkgate_collector::clock::Clock;
use parkgate_collector::driver::{Batch, Message, Outcome, Outlet};
use parkgate_collector::journal::Journal;
use parkgate_collector::model::{Decimal, Kind, LinkKey, Medium, Number, Origin, PointId, PointIdentity, Reading, Unit};
use prometheus::Registry;
use prometheus::proto::{Metric, MetricFamily, MetricType};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::current::Current;
use crate::metrics::Metrics;
use crate::reload::ReloadResult;
use crate::service;

/// How often the metrics become samples.
const EVERY_MS: u32 = 15_000;
/// How often it is looked whether the journal is full, while it takes nothing.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Which series of a metric there are.
#[derive(Clone, Copy)]
enum Per {
    /// One, or one per value of a label.
    Gateway,
    /// Per link with one of these drivers.
    Link(&'static [&'static str]),
    /// Per device on such a link.
    Device(&'static [&'static str]),
    /// Per sink of the forwarder.
    Sink,
}

/// A metric of the table.
struct Row {
    name: &'static str,
    kind: Kind,
    unit: &'static str,
    decimals: u8,
    per: Per,
    /// A further label and its values.
    label: Option<(&'static str, &'static [&'static str])>,
}

const MQTT: &[&str] = &["mqtt"];
const MODBUS: &[&str] = &["modbus_tcp", "modbus_rtu", "modbus_rtu_over_tcp", "modbus_dial_in"];
const ALL: &[&str] = &["mqtt", "modbus_tcp", "modbus_rtu", "modbus_rtu_over_tcp", "modbus_dial_in"];
/// Why messages of a known device are rejected.
const REJECTED: &[&str] = &["syntax", "path", "type", "timestamp", "oversized"];
/// Why messages are rejected whose device is not known.
const REJECTED_UNKNOWN: &[&str] = &["syntax", "unmapped", "retained", "oversized"];
const RESULTS: &[&str] = &["good", "timeout", "exception", "bad_answer", "link_down"];
const QUERY_FAILED: &[&str] = &["bad_data", "execution", "timeout", "canceled", "unavailable", "internal"];
/// Why a request was not let in.
const REFUSED: &[&str] = &["role", "no_token", "unknown", "expired"];
/// Results of a reload of the configuration.
const CONFIG_RELOADS: &[&str] = &[ReloadResult::Applied.name(), ReloadResult::Unchanged.name(), ReloadResult::Refused.name()];
const RELOADED: &[&str] = &["loaded", "failed"];
const QUALITIES: &[&str] = &["good", "uncertain", "bad"];

macro_rules! rows {
    ($($kind:ident $name:literal $unit:literal $decimals:literal $per:expr, $label:expr;)*) => {
        const TABLE: &[Row] = &[$(Row {
            name: $name, kind: Kind::$kind, unit: $unit, decimals: $decimals, per: $per, label: $label,
        },)*];
    };
}

// A test compares this table with the metrics there are.
rows! {
    Counter "parkgate_driver_readings_received_total" "1" 0 Per::Device(ALL), None;
    Counter "parkgate_driver_rejected_total" "1" 0 Per::Device(MQTT), Some(("reason", REJECTED));
    Counter "parkgate_driver_rejected_total" "1" 0 Per::Link(MQTT), Some(("reason", REJECTED_UNKNOWN));
    Counter "parkgate_driver_requests_total" "1" 0 Per::Device(MODBUS), Some(("result", RESULTS));
    Counter "parkgate_driver_messages_total" "1" 0 Per::Link(MQTT), None;
    Counter "parkgate_driver_polls_skipped_total" "1" 0 Per::Device(MODBUS), None;
    Counter "parkgate_driver_poll_lateness_seconds_sum" "s" 6 Per::Device(MODBUS), None;
    Counter "parkgate_driver_poll_lateness_seconds_count" "1" 0 Per::Device(MODBUS), None;
    Counter "parkgate_driver_answers_dropped_total" "1" 0 Per::Link(MODBUS), None;
    Gauge "parkgate_driver_learned_gaps" "1" 0 Per::Device(MODBUS), None;
    Counter "parkgate_driver_connects_total" "1" 0 Per::Link(ALL), None;
    Gauge "parkgate_driver_link_up" "1" 0 Per::Link(ALL), None;
    Counter "parkgate_pipeline_samples_durable_total" "1" 0 Per::Device(ALL), None;
    Gauge "parkgate_pipeline_device_lag_seconds" "s" 6 Per::Device(ALL), None;
    Gauge "parkgate_pipeline_nameplate_ratio" "1" 6 Per::Device(ALL), None;
    Gauge "parkgate_pipeline_nameplate_doubt" "1" 0 Per::Device(ALL), None;
    Counter "parkgate_pipeline_repeats_dropped_total" "1" 0 Per::Gateway, None;
    Counter "parkgate_pipeline_unchanged_left_out_total" "1" 0 Per::Gateway, None;
    Counter "parkgate_pipeline_restamped_total" "1" 0 Per::Gateway, None;
    Counter "parkgate_pipeline_unknown_points_total" "1" 0 Per::Gateway, None;
    Counter "parkgate_pipeline_samples_total" "1" 0 Per::Gateway, Some(("quality", QUALITIES));
    Counter "parkgate_pipeline_durable_lag_seconds_sum" "s" 6 Per::Gateway, None;
    Counter "parkgate_pipeline_durable_lag_seconds_count" "1" 0 Per::Gateway, None;
    Counter "parkgate_journal_sync_seconds_sum" "s" 6 Per::Gateway, None;
    Counter "parkgate_journal_sync_seconds_count" "1" 0 Per::Gateway, None;
    Counter "parkgate_journal_appended_bytes_total" "B" 0 Per::Gateway, None;
    Gauge "parkgate_journal_bytes" "B" 0 Per::Gateway, None;
    Gauge "parkgate_journal_segments" "1" 0 Per::Gateway, None;
    Counter "parkgate_journal_sync_failures_total" "1" 0 Per::Gateway, None;
    Gauge "parkgate_journal_full" "1" 0 Per::Gateway, None;
    Gauge "parkgate_journal_full_in_days" "d" 2 Per::Gateway, None;
    Counter "parkgate_journal_damaged_regions_total" "1" 0 Per::Gateway, None;
    Gauge "parkgate_rejects_bytes" "B" 0 Per::Gateway, None;
    Counter "parkgate_rejects_dropped_total" "1" 0 Per::Gateway, None;
    Counter "parkgate_history_samples_applied_total" "1" 0 Per::Gateway, None;
    Counter "parkgate_history_blocks_written_total" "1" 0 Per::Gateway, None;
    Counter "parkgate_history_block_bytes_written_total" "B" 0 Per::Gateway, None;
    Gauge "parkgate_history_bytes" "B" 0 Per::Gateway, None;
    Gauge "parkgate_history_head_bytes" "B" 0 Per::Gateway, None;
    Counter "parkgate_history_checkpoint_seconds_sum" "s" 6 Per::Gateway, None;
    Counter "parkgate_history_checkpoint_seconds_count" "1" 0 Per::Gateway, None;
    Gauge "parkgate_history_lag_entries" "1" 0 Per::Gateway, None;
    Counter "parkgate_history_journal_gone_entries_total" "1" 0 Per::Gateway, None;
    Counter "parkgate_history_journal_damaged_entries_total" "1" 0 Per::Gateway, None;
    Counter "parkgate_history_journal_errors_total" "1" 0 Per::Gateway, None;
    Counter "parkgate_history_files_deleted_total" "1" 0 Per::Gateway, None;
    Counter "parkgate_history_files_relieved_total" "1" 0 Per::Gateway, None;
    Counter "parkgate_history_corrections_total" "1" 0 Per::Gateway, None;
    Counter "parkgate_history_damaged_blocks_total" "1" 0 Per::Gateway, None;
    Counter "parkgate_forward_lines_sent_total" "1" 0 Per::Sink, None;
    Counter "parkgate_forward_retries_total" "1" 0 Per::Sink, None;
    Counter "parkgate_forward_dead_letters_total" "1" 0 Per::Sink, None;
    Counter "parkgate_forward_samples_skipped_total" "1" 0 Per::Sink, None;
    Counter "parkgate_forward_entries_damaged_total" "1" 0 Per::Sink, None;
    Gauge "parkgate_forward_lag_entries" "1" 0 Per::Sink, None;
    Gauge "parkgate_forward_lag_seconds" "s" 0 Per::Sink, None;
    Gauge "parkgate_forward_state" "1" 0 Per::Sink, None;
    Counter "parkgate_query_seconds_sum" "s" 6 Per::Gateway, None;
    Counter "parkgate_query_seconds_count" "1" 0 Per::Gateway, None;
    Counter "parkgate_query_samples_read_total" "1" 0 Per::Gateway, None;
    Counter "parkgate_query_failed_total" "1" 0 Per::Gateway, Some(("reason", QUERY_FAILED));
    Counter "parkgate_http_misdirected_total" "1" 0 Per::Gateway, None;
    Counter "parkgate_http_refused_total" "1" 0 Per::Gateway, Some(("reason", REFUSED));
    Counter "parkgate_tls_handshakes_failed_total" "1" 0 Per::Gateway, None;
    Counter "parkgate_tls_reloads_total" "1" 0 Per::Gateway, Some(("result", RELOADED));
    Gauge "parkgate_totals_lag_entries" "1" 0 Per::Gateway, None;
    Gauge "parkgate_totals_dirty_points" "1" 0 Per::Gateway, None;
    Counter "parkgate_totals_hours_counted_total" "1" 0 Per::Gateway, None;
    Counter "parkgate_totals_corrections_total" "1" 0 Per::Gateway, None;
    Gauge "parkgate_emission_lag_entries" "1" 0 Per::Gateway, None;
    Counter "parkgate_emission_hours_counted_total" "1" 0 Per::Gateway, None;
    Counter "parkgate_emission_corrections_total" "1" 0 Per::Gateway, None;
    Counter "parkgate_emission_events_total" "1" 0 Per::Gateway, None;
    Gauge "parkgate_http_stream_clients" "1" 0 Per::Gateway, None;
    Counter "parkgate_http_stream_lagged_total" "1" 0 Per::Gateway, None;
    Gauge "parkgate_config_last_reload_successful" "1" 0 Per::Gateway, None;
    Gauge "parkgate_config_last_reload_success_timestamp_seconds" "s" 3 Per::Gateway, None;
    Counter "parkgate_config_reloads_total" "1" 0 Per::Gateway, Some(("result", CONFIG_RELOADS));
    Gauge "parkgate_process_start_time_seconds" "s" 3 Per::Gateway, None;
    Gauge "parkgate_process_resident_bytes" "B" 0 Per::Gateway, None;
    Gauge "parkgate_process_open_files" "1" 0 Per::Gateway, None;
}

/// Adds the device that the gateway itself is, after those of the park; `sinks` are the forwarder's by id. Its link is not among the catalogue's links, for
/// no driver serves it.
///
/// # Errors
/// Only those of the registry of points.
pub fn with_own(
    catalogue: Catalogue,
    origin: Origin,
    sinks: &[&str],
    registry: &mut dyn PointRegistry,
) -> Result<Catalogue, RegistryError> {
    let mut points = Vec::new();
    for row in TABLE {
        for labels in row.series(&catalogue, sinks) {
            points.push(Arc::new(row.point(labels, registry)?));
        }
    }
    let own = Device {
        id: OWN_ID.into(),
        name: Names { zh: "网关自身".into(), en: "The gateway itself".into() },
        enterprise: None,
        link: Arc::new(Link { id: OWN_ID.into(), key: LinkKey::of(OWN_ID), driver: DriverSettings::Own }),
        profile: None,
        origin,
        nameplate: Default::default(),
        address: DeviceAddress::Own,
        points,
    };
    let Catalogue { version, park, enterprises, links, mut devices, .. } = catalogue;
    devices.push(Arc::new(own));
    Ok(Catalogue::new(version, park, enterprises, links, devices))
}

impl Row {
    /// The labels of each series.
    fn series(&self, catalogue: &Catalogue, sinks: &[&str]) -> Vec<BTreeMap<String, String>> {
        let driver = |link: &Link| link.driver.name();
        let named = |labels: &[(&str, &str)]| -> BTreeMap<String, String> {
            labels.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
        };
        let without: Vec<_> = match self.per {
            Per::Gateway => vec![BTreeMap::new()],
            Per::Sink => sinks.iter().map(|sink| named(&[("sink", sink)])).collect(),
            Per::Link(drivers) => {
                let links = catalogue.links.iter().filter(|link| drivers.contains(&driver(link)));
                links.map(|link| named(&[("driver", driver(link)), ("link", &link.id)])).collect()
            }
            Per::Device(drivers) => {
                let devices = catalogue.devices.iter().filter(|device| drivers.contains(&driver(&device.link)));
                devices
                    .map(|device| named(&[("driver", driver(&device.link)), ("link", &device.link.id), ("device", &device.id)]))
                    .collect()
            }
        };
        let Some((name, values)) = self.label else { return without };
        let with = |labels: &BTreeMap<String, String>, value: &str| {
            let mut labels = labels.clone();
            labels.insert(name.to_owned(), value.to_owned());
            labels
        };
        without.iter().flat_map(|labels| values.iter().map(move |value| with(labels, value))).collect()
    }

    fn point(&self, labels: BTreeMap<String, String>, registry: &mut dyn PointRegistry) -> Result<Point, RegistryError> {
        let local_id = labels.values().fold(self.name.to_owned(), |id, value| id + "/" + value);
        let unit = Unit::parse(self.unit).expect("a test parses every row's");
        let identity = PointIdentity { stable_id: format!("{OWN_ID}/{local_id}"), kind: self.kind, unit, decimals: self.decimals };
        Ok(Point {
            id: registry.resolve(&identity)?,
            identity,
            device: OWN_ID.into(),
            name: Names { zh: local_id.clone(), en: local_id.clone() },
            local_id,
            quantity: self.name.into(),
            medium: Medium::Gateway,
            reference: None,
            raw_unit: unit,
            scale: Decimal::ONE,
            offset: Decimal::ZERO,
            valid_min: None,
            valid_max: None,
            modulus: None,
            rate_max_per_hour: None,
            rules: Default::default(),
            interval_ms: Some(EVERY_MS),
            compliance: false,
            role: None,
            labels,
            source: PointSource::Own,
        })
    }
}

/// The points by the series that they are read from: name, and values of the labels in order of the labels' names.
struct Series {
    points: HashMap<String, PointId>,
}

impl Series {
    fn new(catalogue: &Catalogue) -> Self {
        let own = catalogue.points.iter().filter(|point| point.medium == Medium::Gateway);
        let key = |point: &Point| key(&point.quantity, point.labels.values().map(String::as_str));
        Self { points: own.map(|point| (key(point), point.id)).collect() }
    }

    /// A reading of every series that is a point.
    fn readings(&self, families: &[MetricFamily]) -> Vec<Reading> {
        let mut readings = Vec::with_capacity(self.points.len());
        for family in families {
            for metric in family.get_metric() {
                let mut read = |suffix: &str, number: f64| {
                    // As in a query, a label without a value is none. The registry sorts labels by name.
                    let values = metric.get_label().iter().map(|label| label.value()).filter(|value| !value.is_empty());
                    if let Some(&point) = self.points.get(&key(&format!("{}{suffix}", family.name()), values)) {
                        readings.push(Reading { point, number: Number::F64(number), source_time: None });
                    }
                };
                each_figure(family.get_field_type(), metric, &mut read);
            }
        }
        readings
    }
}

fn key<'a>(name: &str, values: impl Iterator<Item = &'a str>) -> String {
    // No label value of ours has a line break: ids are letters, digits and few signs.
    values.fold(name.to_owned(), |key, value| key + "\n" + value)
}

fn each_figure(kind: MetricType, metric: &Metric, figure: &mut dyn FnMut(&str, f64)) {
    match kind {
        MetricType::COUNTER => figure("", metric.get_counter().get_value()),
        MetricType::GAUGE => figure("", metric.get_gauge().get_value()),
        MetricType::HISTOGRAM => {
            figure("_sum", metric.get_histogram().get_sample_sum());
            // Counts of events in one run of a program are far below 2^53.
            figure("_count", metric.get_histogram().get_sample_count() as f64);
        }
        _ => {}
    }
}

/// Hands the figures to the pipeline every 15 s until `cancel`, or until the pipeline is gone. While the journal is full
/// it waits as every driver does. Each time they are durable the service manager is told that the gateway is alive; while the
/// journal is full too, for a restart gives no room, and while it grows without them, as when much is recorded again.
pub async fn run(
    catalogue: Current<Catalogue>,
    registry: Registry,
    metrics: Metrics,
    clock: Arc<dyn Clock>,
    (outlet, journal): (Outlet, Journal),
    cancel: CancellationToken,
) {
    let (mut present, mut following) = catalogue.follow();
    let mut series = Arc::new(Series::new(&present));
    let mut tick = tokio::time::interval(Duration::from_millis(EVERY_MS.into()));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        // Cancel-safe, both.
        tokio::select! {
            () = cancel.cancelled() => return,
            _ = tick.tick() => {}
        }
        if let Some(newer) = following.news() {
            series = Arc::new(Series::new(&newer));
            present = newer;
        }
        let Some(own) = present.device(OWN_ID) else { return };
        let (series, registry, metrics) = (Arc::clone(&series), registry.clone(), metrics.clone());
        let read = tokio::task::spawn_blocking(move || {
            metrics.scrape();
            series.readings(&registry.gather())
        });
        let Ok(readings) = read.await else {
            warn!("own metrics could not be read");
            return;
        };
        let (done, durable) = oneshot::channel();
        let batch = Batch {
            link: own.link.key,
            received_time: clock.now().utc,
            readings,
            origin: own.origin,
            deliveries: Vec::new(),
            rejected: Vec::new(),
            done: Some(done),
        };
        let recorded = async {
            let is_sent = outlet.send(Message::Batch(batch)).await.is_ok();
            is_sent.then_some(durable.await)
        };
        tokio::pin!(recorded);
        let mut grown_to = journal.durable();
        let outcome = loop {
            // What is dropped here when cancelled is one round of figures, not acknowledged to anyone.
            tokio::select! {
                () = cancel.cancelled() => return,
                outcome = &mut recorded => break outcome,
                () = tokio::time::sleep(LOOK_EVERY) => {
                    let before = std::mem::replace(&mut grown_to, journal.durable());
                    if journal.full().is_some() || before < grown_to {
                        service::alive();
                    }
                }
            }
        };
        match outcome {
            Some(Ok(Outcome::Durable)) => service::alive(),
            Some(_) => {}
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {

    use parkgate_collector::catalogue::MemoryRegistry;

    use super::*;

    const PARK: &str = r#"
[park]
id = "p"
[[link]]
id = "broker"
driver = "mqtt"
host = "localhost"
[[link]]
id = "line"
driver = "modbus_tcp"
host = "localhost"
[[device]]
id = "gas"
link = "broker"
[[device.topic]]
filter = "gas"
[[device.point]]
id = "gas_volume"
path = "v"
unit = "Nm3"
[[device]]
id = "main"
link = "line"
modbus = { unit_id = 1 }
[[device.point]]
id = "active_power"
register = { address = 0, type = "f32" }
"#;

    /// Metrics that are left under `/metrics`, and why.
    const LEFT_OUT: &[&str] = &[
        // One series per route and status: statuses are not known at start.
        "parkgate_http_requests_total",
        "parkgate_http_request_seconds",
        // Always 1.
        "parkgate_build_info",
        // One series per certificate file: watched where the file is known.
        "parkgate_tls_certificate_expiry_days",
        // For whoever watches the way of alarms, from outside.
        "parkgate_alarms_active",
        "parkgate_alarm_events_total",
        "parkgate_alarm_lag_entries",
        "parkgate_alarm_outbox_depth",
        "parkgate_alarm_outbox_lag_seconds",
        "parkgate_alarm_deliveries_total",
        "parkgate_alarm_first_attempt_seconds",
    ];

    fn registry() -> (Registry, parkgate_collector::metrics::Metrics, Metrics) {
        let registry = Registry::new();
        let (collector, gateway) = (parkgate_collector::metrics::Metrics::new(&registry), Metrics::new(&registry));
        (registry, collector, gateway)
    }

    fn catalogue() -> Catalogue {
        let mut registry = MemoryRegistry::default();
        let park = crate::testing::catalogue(PARK, &mut registry);
        with_own(park, Origin::Metered, &["vm"], &mut registry).unwrap()
    }

    #[test]
    fn every_metric_is_in_the_table_or_left_out_for_a_reason() {
        let (_, collector, gateway) = registry();
        let named: Vec<_> = collector.describe().into_iter().chain(gateway.describe()).map(|(name, _)| name).collect();
        let base = |row: &Row| row.name.trim_end_matches("_sum").trim_end_matches("_count").to_owned();
        for name in &named {
            let is_in = TABLE.iter().any(|row| row.name == name || base(row) == *name);
            assert_ne!(is_in, LEFT_OUT.contains(&name.as_str()), "{name}: in the table or left out?");
        }
        for row in TABLE {
            assert!(named.iter().any(|name| name == row.name || *name == base(row)), "there is no metric {}", row.name);
            assert!(Unit::parse(row.unit).is_some(), "{}", row.unit);
            assert_eq!(row.kind == Kind::Counter, ["_total", "_sum", "_count"].iter().any(|end| row.name.ends_with(end)), "{}", row.name);
        }
    }

    #[test]
    fn figures_become_readings_of_their_points() {
        let (registry, collector, gateway) = registry();
        let catalogue = catalogue();
        collector.readings_received.with_label_values(&["mqtt", "broker", "gas"]).inc_by(7);
        collector.rejected.with_label_values(&["mqtt", "broker", "", "unmapped"]).inc_by(3);
        collector.journal_sync.observe(0.25);
        gateway.journal_full_in_days.set(12.5);
        gateway.forward_lag_entries.with_label_values(&["vm"]).set(4);
        // A device that is not configured, a reason that is not in the table: no points.
        collector.readings_received.with_label_values(&["mqtt", "other", "other"]).inc();
        collector.rejected.with_label_values(&["mqtt", "broker", "gas", "unheard of"]).inc();
        let readings = Series::new(&catalogue).readings(&registry.gather());
        let of = |stable_id: &str| {
            let point = catalogue.point_by_stable_id(stable_id).unwrap_or_else(|| panic!("no {stable_id}"));
            readings.iter().find(|reading| reading.point == point.id).map(|reading| reading.number)
        };
        for (stable_id, expected) in [
            ("parkgate/parkgate_driver_readings_received_total/gas/mqtt/broker", Some(7.0)),
            ("parkgate/parkgate_driver_rejected_total/mqtt/broker/unmapped", Some(3.0)),
            ("parkgate/parkgate_driver_rejected_total/gas/mqtt/broker/path", None),
            ("parkgate/parkgate_driver_requests_total/main/modbus_tcp/line/timeout", None),
            ("parkgate/parkgate_journal_sync_seconds_sum", Some(0.25)),
            ("parkgate/parkgate_journal_sync_seconds_count", Some(1.0)),
            ("parkgate/parkgate_journal_full_in_days", Some(12.5)),
            ("parkgate/parkgate_journal_full", Some(0.0)),
            ("parkgate/parkgate_forward_lag_entries/vm", Some(4.0)),
        ] {
            assert_eq!(of(stable_id), expected.map(Number::F64), "{stable_id}");
        }
    }

    #[test]
    fn series_have_name_and_labels_of_the_metric() {
        let catalogue = catalogue();
        let point = catalogue.points.iter().find(|point| point.quantity == "parkgate_driver_polls_skipped_total").unwrap();
        let labels = crate::series::labels(&catalogue, point);
        assert_eq!(crate::series::name(point, crate::series::What::Samples), "parkgate_driver_polls_skipped_total");
        assert_eq!(labels.keys().collect::<Vec<_>>(), ["device", "driver", "link"]);
        assert!(catalogue.links.iter().all(|link| link.id != OWN_ID), "no driver is to be started for it");
    }
}
