//! The thread of a sink before an HTTP server of three lines.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use parkgate_collector::catalogue::{Catalogue, MemoryRegistry};
use parkgate_collector::clock::SystemClock;
use parkgate_collector::journal::{JournalSettings, Record, SampleRecord};
use parkgate_collector::model::{Origin, PointId, Quality, Reason, Sample, Status, Step, UtcMillis};
use prometheus::Registry;

use super::super::settings::SinkKind;
use super::*;
use crate::current::{Configured, Current};
use crate::readiness::Readiness;
use crate::rollup::{Amount, CounterTotal, Figures, Level, Period, Total, TotalsView};
use crate::store::HistorySettings;

const PARK: &str = r#"
[park]
id = "park"
[[enterprise]]
id = "acme"
[[link]]
id = "broker"
driver = "mqtt"
host = "127.0.0.1"
[[device]]
id = "main"
link = "broker"
enterprise = "acme"
[[device.topic]]
filter = "a"
[[device.point]]
id = "energy_import"
path = "e"
"#;
/// Longest that a test waits for the thread.
const LIMIT: Duration = Duration::from_secs(20);

fn park() -> Arc<Catalogue> {
    Arc::new(crate::testing::catalogue(PARK, &mut MemoryRegistry::default()))
}

/// Takes everything and tells what it took.
fn sink() -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (taken, receiver) = mpsc::sync_channel(1_000);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let (mut length, mut line) = (0, String::new());
            while stream.read_line(&mut line).unwrap() > 2 {
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            stream.get_mut().write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").unwrap();
            if taken.send(String::from_utf8(body).unwrap()).is_err() {
                return;
            }
        }
    });
    (url, receiver)
}

/// One total that closed; asking for it panics as long as it shall.
struct Totals {
    total: Total,
    panics: AtomicBool,
}

impl TotalsView for Totals {
    fn totals(&self, _: PointId, _: Level, _: UtcMillis, _: UtcMillis) -> Result<Vec<Total>, StoreError> {
        Ok(Vec::new())
    }
    fn closed_since(&self, cursor: u64, _: usize) -> Result<(u64, Vec<Total>), StoreError> {
        assert!(!self.panics.swap(false, Ordering::SeqCst), "once");
        Ok(if cursor == 0 { (1, vec![self.total.clone()]) } else { (cursor, Vec::new()) })
    }
    fn last_change(&self) -> Result<u64, StoreError> {
        Ok(1)
    }
    fn period_of(&self, level: Level, instant: UtcMillis) -> Period {
        Period { level, start: instant, end: instant }
    }
}

struct Setting {
    _folder: tempfile::TempDir,
    journal: Journal,
    point: PointId,
    sources: Sources,
    worker: Worker,
    cancel: CancellationToken,
    taken: mpsc::Receiver<String>,
}

fn setting(history: bool, panics: bool) -> Setting {
    let folder = tempfile::tempdir().unwrap();
    let metrics = parkgate_collector::metrics::Metrics::new(&Registry::new());
    let clock = Arc::new(SystemClock::new());
    let settings = JournalSettings { reserve_bytes: 0, ..JournalSettings::default() };
    let journal = Journal::open(&folder.path().join("journal"), settings, Arc::clone(&clock) as _, metrics).unwrap();
    let record = History::open(&folder.path().join("history"), HistorySettings::default(), Arc::new(|_| false)).unwrap();
    let catalogue = park();
    let point = catalogue.points[0].id;
    let total = Total {
        point,
        period: Period { level: Level::Hour, start: UtcMillis(3_600_000), end: UtcMillis(7_200_000) },
        closed: true,
        figures: Figures::Counter(CounterTotal { amount: Some(Amount { mantissa: 15, decimals: 1 }), ..CounterTotal::default() }),
        samples: 60,
        completeness_ppm: None,
        worst_quality: None,
    };
    let sources = Sources {
        configured: Current::new(Arc::new(Configured { catalogue, identities: Vec::new(), rules: Vec::new() })),
        journal: journal.clone(),
        history: record,
        totals: Some(Arc::new(Totals { total, panics: AtomicBool::new(panics) })),
        clock,
        metrics: Metrics::new(&Registry::new()),
        readiness: Readiness::default(),
    };
    let (url, taken) = sink();
    let settings =
        SinkSettings { gzip: false, linger_ms: 0, history, db: Some("d".into()), ..SinkSettings::new("a", SinkKind::Influxdb1, &url) };
    let (client, cancel) = (Client::new(&settings, Path::new("")).unwrap(), CancellationToken::new());
    let worker = Worker::new(settings, client, folder.path(), sources.clone(), Standing::new("a", &sources), cancel.clone()).unwrap();
    Setting { _folder: folder, journal, point, sources, worker, cancel, taken }
}

fn write(journal: &Journal, point: PointId, value: i64) {
    let status = Status::new(Quality::Good, Reason::None, Origin::Metered, Step::None);
    let (received_time, record_time) = (UtcMillis(value), UtcMillis(value));
    let sample = Sample { point, status, value, source_time: None, received_time, record_time };
    journal.append(&Record::Samples(SampleRecord { samples: vec![sample], ..SampleRecord::default() })).durable_blocking().unwrap();
}

#[test]
fn a_thread_that_panics_is_told_and_goes_on_where_it_was() {
    let Setting { _folder, journal, point, sources, worker, cancel, taken } = setting(true, true);
    write(&journal, point, 1_000);
    let thread = std::thread::spawn(move || worker.run());
    let first = taken.recv_timeout(LIMIT).unwrap();
    assert!(first.contains("kwh=1 1000"), "{first}");
    // Behind the samples totals are asked for: the panic. Until something is taken again, the board says so.
    let start = Instant::now();
    while sources.readiness.degraded_parts().is_empty() {
        assert!(start.elapsed() < LIMIT, "nobody was told");
        std::thread::yield_now();
    }
    let parts = sources.readiness.degraded_parts();
    assert!(parts[0].0 == "sink a" && parts[0].1.contains("fault of the program") && parts[0].1.ends_with("once"), "{parts:?}");
    assert_eq!(sources.metrics.forward_state.with_label_values(&["a"]).get(), 3);
    let total = taken.recv_timeout(LIMIT).unwrap();
    assert!(total.contains("park_energy_import_hour,") && total.contains("kwh=1.5 3600000"), "{total}");
    cancel.cancel();
    thread.join().unwrap();
    assert_eq!(sources.readiness.degraded_parts(), []);
    journal.close();
}

#[test]
fn a_sink_without_history_begins_with_what_comes_now() {
    let Setting { _folder, journal, point, sources, worker, cancel, taken } = setting(false, false);
    write(&journal, point, 1_000);
    let path = worker.path.clone();
    let thread = std::thread::spawn(move || worker.run());
    let start = Instant::now();
    while State::open_read_only(&path).ok().and_then(|state| state.cursor().ok().flatten()).is_none() {
        assert!(start.elapsed() < LIMIT);
        std::thread::yield_now();
    }
    write(&journal, point, 2_000);
    let first = taken.recv_timeout(LIMIT).unwrap();
    assert!(first.lines().count() == 1 && first.ends_with("kwh=2 2000\n"), "{first}");
    write(&journal, point, 3_000);
    let second = taken.recv_timeout(LIMIT).unwrap();
    assert!(second.lines().count() == 1 && second.ends_with("kwh=3 3000\n"), "{second}");
    cancel.cancel();
    thread.join().unwrap();
    assert_eq!(State::open_read_only(&path).unwrap().totals().unwrap(), Some(1));
    drop(sources);
    journal.close();
}
