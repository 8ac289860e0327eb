//! A real journal and a real history: what the journal let go of comes from history, once the sink gets to it.

use std::collections::BTreeSet;

use parkgate_collector::catalogue::{Catalogue, MemoryRegistry};
use parkgate_collector::clock::SystemClock;
use parkgate_collector::journal::JournalSettings;
use parkgate_collector::model::{Medium, Origin, PointId, PointIdentity, Quality, Reason, Sample, Status, Step};
use prometheus::Registry;

use super::super::settings::{SinkKind, SinkSettings};
use super::super::state::State;
use super::*;
use crate::current::Current;
use crate::rollup::{Amount, CounterTotal, Figures, Level, Period, Total};
use crate::store::HistorySettings;

/// 2026-11-01T00:00:00Z.
const NOVEMBER: i64 = 1_793_491_200_000;

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
role = "gate"
[[device.point]]
id = "active_power"
path = "p"
[[device.point]]
id = "gas_volume"
path = "g"
reference = "as_is"
"#;

fn park() -> Arc<Catalogue> {
    Arc::new(crate::testing::catalogue(PARK, &mut MemoryRegistry::default()))
}

fn sample(point: PointId, time: i64, value: i64) -> Sample {
    Sample {
        point,
        status: Status::new(Quality::Good, Reason::None, Origin::Metered, Step::None),
        value,
        source_time: None,
        received_time: UtcMillis(time),
        record_time: UtcMillis(time),
    }
}

fn text(lines: &Lines) -> Vec<String> {
    String::from_utf8(lines.get(&(0..lines.len())).to_vec()).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn what_the_journal_let_go_of_comes_from_history() {
    let folder = tempfile::tempdir().unwrap();
    let metrics = parkgate_collector::metrics::Metrics::new(&Registry::new());
    let settings = JournalSettings { segment_bytes: 16 << 10, reserve_bytes: 0, ..JournalSettings::default() };
    let journal = Journal::open(&folder.path().join("journal"), settings, Arc::new(SystemClock::new()), metrics).unwrap();
    let history = History::open(&folder.path().join("history"), HistorySettings::default(), Arc::new(|_| false)).unwrap();
    let catalogue = park();
    let points: Vec<PointId> = catalogue.points.iter().map(|point| point.id).collect();

    let mut expected = BTreeSet::new();
    let mut write = |from: i64, to: i64| {
        for number in from..to {
            // Every tenth entry is late: it lies an hour before its neighbours.
            let time = NOVEMBER + number * 10_000 - if number % 10 == 0 { 3_600_001 } else { 0 };
            let samples: Vec<Sample> = points.iter().map(|&point| sample(point, time, number)).collect();
            let record = Record::Samples(SampleRecord { samples, ..SampleRecord::default() });
            let sequence = journal.append(&record).durable_blocking().unwrap();
            let Record::Samples(record) = &record else { panic!() };
            history.apply(sequence, record);
            expected.insert((number, time));
        }
    };
    write(0, 1_000);
    journal.release(history.checkpoint().unwrap());
    write(1_000, 1_100);
    assert!(journal.oldest() > Sequence(500), "{:?}", journal.oldest());

    let sink = SinkSettings { media: vec![Medium::Power], ..SinkSettings::new("a", SinkKind::Influxdb1, "http://a") };
    let mut state = State::open(&folder.path().join("a.db")).unwrap();
    let mut found = BTreeSet::new();
    let mut turns = 0;
    // A new gatherer each turn, from what was noted: as after a crash.
    loop {
        turns += 1;
        assert!(turns < 1_000, "does not end");
        let noted = (state.cursor().unwrap().unwrap_or(Sequence(1)), 0, state.gaps().unwrap());
        let mut gatherer = Gatherer::new(Table::new(&catalogue, &[], &sink), (journal.clone(), history.clone()), None, noted);
        let mut batch = Batch::default();
        let at_end = gatherer.live(&mut batch, 70).unwrap();
        assert!(batch.lines.len() <= 72 && batch.damaged == 0);
        found.extend(text(&batch.lines));
        state.commit(&batch.moves, &[], None).unwrap();
        gatherer.set_gaps(state.gaps().unwrap());
        let mut batch = Batch::default();
        gatherer.gap(&mut batch, 70).unwrap();
        found.extend(text(&batch.lines));
        state.commit(&batch.moves, &[], None).unwrap();
        if at_end && state.gaps().unwrap().is_empty() {
            assert_eq!(gatherer.behind(gatherer.position()), 0);
            break;
        }
    }
    assert!(turns > 20);
    let expected: BTreeSet<String> = expected
        .into_iter()
        .flat_map(|(number, time)| {
            let tags = "device=main,enterprise=acme,medium=power,point=acme/main";
            let number = Amount { mantissa: i128::from(number), decimals: 3 };
            [
                format!("park_energy_import,{tags}/energy_import,quantity=energy_import,role=gate kwh={number} {time}"),
                format!("park_active_power,{tags}/active_power,quantity=active_power kw={number} {time}"),
            ]
        })
        .collect();
    assert_eq!(found.difference(&expected).next(), None);
    assert_eq!(expected.difference(&found).count(), 0, "{:?}", expected.difference(&found).next());
    journal.close();
}

#[test]
fn bad_values_are_not_sent_but_counted() {
    let catalogue = park();
    let table = Table::new(&catalogue, &[], &SinkSettings::new("a", SinkKind::Influxdb1, "http://a"));
    let point = catalogue.points[0].id;
    let mut lines = Lines::default();
    let with = |quality, number: bool| {
        let status = Status::new(quality, Reason::None, Origin::Metered, Step::None);
        Sample { status: if number { status } else { status.without_number() }, ..sample(point, 1, 1) }
    };
    for (quality, number, sent) in
        [(Quality::Good, true, true), (Quality::Uncertain, true, true), (Quality::Bad, true, false), (Quality::Good, false, false)]
    {
        assert_eq!(table.sample(&with(quality, number), &mut lines), sent);
    }
    assert_eq!(lines.len(), 2);
    // A number that no point has is counted, too, unless no samples are sent at all.
    assert!(!table.sample(&sample(PointId(999), 1, 1), &mut lines));
    // A point that the sink does not want is not missing there.
    let totals_only = SinkSettings { samples: false, ..SinkSettings::new("a", SinkKind::Influxdb1, "http://a") };
    let water_only = SinkSettings { media: vec![Medium::Water], ..SinkSettings::new("a", SinkKind::Influxdb1, "http://a") };
    for (settings, number) in [(&totals_only, PointId(999)), (&totals_only, point), (&water_only, point)] {
        assert!(Table::new(&catalogue, &[], settings).sample(&sample(number, 1, 1), &mut lines));
    }
    assert_eq!(lines.len(), 2);
}

#[test]
fn a_backlog_under_an_older_number_of_a_point_is_sent_as_it_was_recorded() {
    let catalogue = park();
    let point = &catalogue.points[0];
    let identity = |decimals, stable_id: &str| PointIdentity { decimals, stable_id: stable_id.into(), ..point.identity.clone() };
    let old = PointId(77);
    let identities = [(old, identity(1, &point.identity.stable_id)), (PointId(78), identity(1, "acme/gone/energy_import"))];
    let table = Table::new(&catalogue, &identities, &SinkSettings::new("a", SinkKind::Influxdb1, "http://a"));
    let mut lines = Lines::default();
    assert!(table.has_samples(old) && !table.has_samples(PointId(78)));
    assert!(table.sample(&sample(old, 1, 25), &mut lines) && table.sample(&sample(point.id, 2, 2_500), &mut lines));
    assert!(!table.sample(&sample(PointId(78), 3, 25), &mut lines));
    let lines = text(&lines);
    let (one, other) = (lines[0].split_once(' ').unwrap(), lines[1].split_once(' ').unwrap());
    assert_eq!((one.0, one.1, other.1), (other.0, "kwh=2.5 1", "kwh=2.5 2"));
}

/// Totals that closed one after the other.
struct Closed(Vec<Total>);

impl TotalsView for Closed {
    fn totals(&self, _: PointId, _: Level, _: UtcMillis, _: UtcMillis) -> Result<Vec<Total>, StoreError> {
        Ok(Vec::new())
    }
    fn closed_since(&self, cursor: u64, limit: usize) -> Result<(u64, Vec<Total>), StoreError> {
        let from = usize::try_from(cursor).unwrap();
        let some: Vec<Total> = self.0.iter().skip(from).take(limit.min(2)).cloned().collect();
        Ok((cursor + some.len() as u64, some))
    }
    fn last_change(&self) -> Result<u64, StoreError> {
        Ok(self.0.len() as u64)
    }
    fn period_of(&self, level: Level, instant: UtcMillis) -> Period {
        Period { level, start: instant, end: instant }
    }
}

#[test]
fn a_newer_table_counts_from_the_next_entry_on() {
    let folder = tempfile::tempdir().unwrap();
    let metrics = parkgate_collector::metrics::Metrics::new(&Registry::new());
    let settings = JournalSettings { reserve_bytes: 0, ..JournalSettings::default() };
    let journal = Journal::open(&folder.path().join("journal"), settings, Arc::new(SystemClock::new()), metrics).unwrap();
    let history = History::open(&folder.path().join("history"), HistorySettings::default(), Arc::new(|_| false)).unwrap();
    let mut registry = MemoryRegistry::default();
    let park = |text: &str, registry: &mut MemoryRegistry| Arc::new(crate::testing::catalogue(text, registry));
    let (before, after) = (
        park(PARK, &mut registry),
        park(
            &format!("{PARK}[[device.point]]\nid = \"later\"\nmedium = \"power\"\nkind = \"gauge\"\nunit = \"kW\"\npath = \"l\"\n"),
            &mut registry,
        ),
    );
    let later = after.point_by_stable_id("acme/main/later").unwrap().id;
    let sink = SinkSettings::new("a", SinkKind::Influxdb1, "http://a");
    let current = Current::new(Arc::clone(&before));
    let (_, mut following) = current.follow();
    let table = Table::new(&before, &[], &sink);
    let mut gatherer = Gatherer::new(table, (journal.clone(), history), None, (Sequence(1), 0, Vec::new()));
    let settings = sink.clone();
    gatherer.renewed_by(Box::new(move || following.news().map(|newer| Table::new(&newer, &[], &settings))));
    let mut gathered = || {
        let record = Record::Samples(SampleRecord { samples: vec![sample(later, NOVEMBER, 1_000)], ..SampleRecord::default() });
        journal.append(&record).durable_blocking().unwrap();
        let mut batch = Batch::default();
        gatherer.live(&mut batch, 10).unwrap();
        (batch.lines.len(), batch.skipped)
    };
    assert_eq!(gathered(), (0, 1), "nobody has configured it");
    current.set(after);
    assert_eq!(gathered(), (1, 0));
    journal.close();
}

/// A device is taken from the configuration, another gets another name, and the configuration is reloaded while a sink is
/// behind: what they left goes there as it was recorded, with the labels of then, samples and totals.
#[test]
fn what_a_point_left_behind_goes_out_after_a_reload() {
    let folder = tempfile::tempdir().unwrap();
    let metrics = parkgate_collector::metrics::Metrics::new(&Registry::new());
    let settings = JournalSettings { reserve_bytes: 0, ..JournalSettings::default() };
    let journal = Journal::open(&folder.path().join("journal"), settings, Arc::new(SystemClock::new()), metrics).unwrap();
    let history = History::open(&folder.path().join("history"), HistorySettings::default(), Arc::new(|_| false)).unwrap();
    let mut registry = MemoryRegistry::default();
    let mut park = |text: &str| Arc::new(crate::testing::catalogue(text, &mut registry));
    let device = |id: &str| {
        format!(
            r#"
[[device]]
id = "{id}"
link = "broker"
enterprise = "acme"
[[device.topic]]
filter = "{id}"
[[device.point]]
id = "energy_import"
path = "e"
"#
        )
    };
    let (roof, cellar) = (device("roof"), device("cellar"));
    let before = park(&format!("{PARK}{roof}{cellar}"));
    let renamed = park(&format!("{PARK}{}", device("basement")));
    let removed = park(PARK);
    let points = ["roof", "cellar"].map(|device| before.point_by_stable_id(&format!("acme/{device}/energy_import")).unwrap().id);
    let total = |point| Total {
        point,
        period: Period { level: Level::Hour, start: UtcMillis(3_600_000), end: UtcMillis(7_200_000) },
        closed: true,
        figures: Figures::Counter(CounterTotal { amount: Some(Amount { mantissa: 15, decimals: 1 }), ..CounterTotal::default() }),
        samples: 60,
        completeness_ppm: None,
        worst_quality: None,
    };
    let closed = Closed(points.map(total).to_vec());
    let sink = SinkSettings::new("a", SinkKind::Influxdb1, "http://a");
    let current = Current::new(Arc::clone(&before));
    let (_, mut following) = current.follow();
    let table = Table::new(&before, &[], &sink);
    let mut gatherer = Gatherer::new(table, (journal.clone(), history), Some(Arc::new(closed)), (Sequence(1), 0, Vec::new()));
    let settings = sink.clone();
    gatherer.renewed_by(Box::new(move || following.news().map(|newer| Table::new(&newer, &[], &settings))));
    let mut gathered = |number: i64| {
        let samples = points.map(|point| sample(point, NOVEMBER, number)).to_vec();
        journal.append(&Record::Samples(SampleRecord { samples, ..SampleRecord::default() })).durable_blocking().unwrap();
        let mut batch = Batch::default();
        gatherer.live(&mut batch, 10).unwrap();
        (text(&batch.lines), batch.skipped)
    };
    let lines = |number: i64| {
        let line = |device: &str| {
            let tags = format!("device={device},enterprise=acme,medium=power,point=acme/{device}/energy_import,quantity=energy_import");
            format!("park_energy_import,{tags} kwh={} {NOVEMBER}", Amount { mantissa: i128::from(number), decimals: 3 })
        };
        (vec![line("roof"), line("cellar")], 0)
    };
    assert_eq!(gathered(1_000), lines(1_000));
    current.set(renamed);
    assert_eq!(gathered(2_000), lines(2_000), "one is gone, one has another name");
    current.set(removed);
    assert_eq!(gathered(3_000), lines(3_000), "two reloads later");
    let mut batch = Batch::default();
    gatherer.closed_totals(&mut batch).unwrap();
    let sent = text(&batch.lines);
    assert!(sent.len() == 2 && sent.iter().all(|line| line.contains("enterprise=acme") && line.ends_with("=1.5 3600000")), "{sent:?}");
    journal.close();
}

#[test]
fn closed_totals_go_out_once_at_the_start_of_their_period() {
    let folder = tempfile::tempdir().unwrap();
    let metrics = parkgate_collector::metrics::Metrics::new(&Registry::new());
    let settings = JournalSettings { reserve_bytes: 0, ..JournalSettings::default() };
    let journal = Journal::open(&folder.path().join("journal"), settings, Arc::new(SystemClock::new()), metrics).unwrap();
    let history = History::open(&folder.path().join("history"), HistorySettings::default(), Arc::new(|_| false)).unwrap();
    let catalogue = park();
    let total = |hour: i64, amount: i128| Total {
        point: catalogue.points[0].id,
        period: Period { level: Level::Hour, start: UtcMillis(hour * 3_600_000), end: UtcMillis((hour + 1) * 3_600_000) },
        closed: true,
        figures: Figures::Counter(CounterTotal { amount: Some(Amount { mantissa: amount, decimals: 4 }), ..CounterTotal::default() }),
        samples: 60,
        completeness_ppm: None,
        worst_quality: None,
    };
    let closed = Closed(vec![total(1, 15_000), total(2, 20_001), total(1, 16_000)]);
    let sink = SinkSettings::new("a", SinkKind::Victoriametrics, "http://a");
    let table = Table::new(&catalogue, &[], &sink);
    let mut gatherer = Gatherer::new(table, (journal.clone(), history), Some(Arc::new(closed)), (Sequence(1), 0, Vec::new()));
    let mut sent = Vec::new();
    for _ in 0..4 {
        let mut batch = Batch::default();
        gatherer.closed_totals(&mut batch).unwrap();
        sent.extend(text(&batch.lines).into_iter().map(|line| line.split_once(' ').unwrap().1.to_owned()));
    }
    assert_eq!(sent, ["kwh=1.5 3600000", "kwh=2.0001 7200000", "kwh=1.6 3600000"]);
    journal.close();
}
