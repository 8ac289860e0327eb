//! A measurement, not a test: 1,000 units of 100 registers on 100 links, each second and each 100 ms. Run by hand:
//! `cargo test -p parkgate-collector --features sim --lib modbus::tests::load -- --ignored --nocapture`

use std::time::Instant;

use super::*;
use crate::sim::modbus::{Faults, SimServer};

const LINKS: u32 = 100;
const UNITS_PER_LINK: u8 = 10;
const REGISTERS: u16 = 100;
const SECONDS: u64 = 10;

#[test]
#[ignore = "a measurement"]
fn thousand_units_of_hundred_registers() {
    let runtime =
        |name: &str| tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name(name).enable_all().build().expect("threads");
    for interval_ms in [1_000, 100] {
        let (simulator, drivers) = (runtime("simulator"), runtime("driver"));
        let server = simulator.block_on(SimServer::start(LOOPBACK, plain_bank(), Arc::new(Faults::new(0)))).unwrap();
        let address = server.local_addr();
        let (outlet, mut messages) = mpsc::channel(1_000);
        let metrics = Metrics::new(&Registry::new());
        let (cancel, health) = (CancellationToken::new(), HealthBoard::default());
        for line in 0..LINKS {
            let link = link(&format!("line-{line}"), address, 1_000);
            let units = 1..=UNITS_PER_LINK;
            let devices = units.map(|unit_id| {
                let first_point = (line * u32::from(UNITS_PER_LINK) + u32::from(unit_id) - 1) * u32::from(REGISTERS);
                let sources = words(&(0..REGISTERS).collect::<Vec<_>>());
                device(&link, &format!("unit-{line}-{unit_id}"), unit_id, interval_ms, first_point, sources)
            });
            let devices = LinkDevices { devices: devices.collect(), link };
            let clock = Arc::new(SystemClock::new());
            let (outlet, health, metrics, cancel) = (outlet.clone(), health.clone(), metrics.clone(), cancel.clone());
            drivers.spawn(super::super::run(devices, outlet, health, metrics, clock, Shared::default(), cancel));
        }
        drop(outlet);
        let (mut readings, mut batches) = (0, 0);
        let (start, before) = (Instant::now(), cpu_ticks());
        while start.elapsed().as_secs() < SECONDS {
            if let Some(Message::Batch(batch)) = drivers.block_on(messages.recv()) {
                readings += batch.readings.len();
                batches += 1;
            }
        }
        let (seconds, after) = (start.elapsed().as_secs_f64(), cpu_ticks());
        let (mut skipped, mut late, mut on_time) = (0, 0, 0);
        for line in 0..LINKS {
            let id = format!("line-{line}");
            for unit_id in 1..=UNITS_PER_LINK {
                let device = format!("unit-{line}-{unit_id}");
                let histogram = metrics.poll_lateness.with_label_values(&["modbus_tcp", id.as_str(), device.as_str()]);
                let within: u64 = prometheus::core::Metric::metric(&histogram).get_histogram().get_bucket()[5].cumulative_count();
                (on_time, late) = (on_time + within, late + histogram.get_sample_count() - within);
                skipped += metrics.polls_skipped.with_label_values(&["modbus_tcp", id.as_str(), device.as_str()]).get();
            }
        }
        println!("each {interval_ms} ms: {:.0} registers/s in {batches} batches", readings as f64 / seconds);
        println!("  {on_time} polls within 100 ms, {late} later, {skipped} skipped");
        for (thread, ticks) in after {
            let ticks = ticks - before.get(&thread).copied().unwrap_or(0);
            println!("  {thread}: {:.3} cores", ticks as f64 / 100.0 / seconds);
        }
        cancel.cancel();
        drop(messages);
        drivers.shutdown_timeout(Duration::from_secs(5));
        drop(server);
        simulator.shutdown_timeout(Duration::from_secs(5));
    }
}

/// User and system time of this process's threads by name, in ticks of 10 ms.
fn cpu_ticks() -> BTreeMap<String, u64> {
    let mut ticks = BTreeMap::new();
    for task in std::fs::read_dir("/proc/self/task").expect("Linux").flatten() {
        let Ok(stat) = std::fs::read_to_string(task.path().join("stat")) else { continue };
        let (Some(open), Some(close)) = (stat.find('('), stat.rfind(')')) else { continue };
        // Fields after the name: state is the first, utime the 12th, stime the 13th (proc(5)).
        let fields: Vec<u64> = stat[close + 1..].split_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
        *ticks.entry(stat[open + 1..close].to_owned()).or_default() += fields[11] + fields[12];
    }
    ticks
}
