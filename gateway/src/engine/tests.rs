//! What a start does, and in which order.

use parkgate_collector::catalogue::MemoryRegistry;
use parkgate_collector::clock::ManualClock;
use parkgate_collector::driver::{Batch, Outcome};
use parkgate_collector::journal::{Next, SampleRecord};
use parkgate_collector::model::{LinkKey, Number, Origin, Reading, Sample, Step, UtcMillis};
use tokio::sync::oneshot;

use super::*;
use crate::store::RecordView as _;

const NOW: UtcMillis = UtcMillis(1_790_000_000_000);
const PARK: &str = r#"
[park]
id = "p"
name = { zh = "园", en = "park" }
time_zone = "Asia/Shanghai"

[[link]]
id = "broker"
driver = "mqtt"
host = "localhost"

[[device]]
id = "gas"
link = "broker"

[[device.topic]]
filter = "gas"
time = "ts"

[[device.point]]
id = "gas_volume"
reference = "twenty_degrees"
path = "volume"
"#;

/// A data directory in which engines start one after the other.
struct Place {
    _folder: tempfile::TempDir,
    directory: DataDirectory,
    catalogue: Arc<Catalogue>,
    clock: Arc<ManualClock>,
    runtime: tokio::runtime::Runtime,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            directory: DataDirectory::open_exclusive(folder.path()).unwrap(),
            _folder: folder,
            catalogue: Arc::new(crate::testing::catalogue(PARK, &mut MemoryRegistry::default())),
            clock: Arc::new(ManualClock::new(NOW)),
            runtime: tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap(),
        }
    }

    fn settings() -> JournalSettings {
        JournalSettings { segment_bytes: 1 << 20, budget_bytes: 16 << 20, reserve_bytes: 0, resume_after: Sequence(0) }
    }

    fn start(&self) -> Engine {
        let settings = EngineSettings { journal: Self::settings(), ..EngineSettings::default() };
        let metrics = Metrics::new(&prometheus::Registry::new());
        Engine::start(&self.directory, &self.catalogue, settings, self.clock.clone(), metrics, self.runtime.handle()).unwrap()
    }

    /// The journal as something else than an engine opens it.
    fn journal(&self) -> Journal {
        let metrics = Metrics::new(&prometheus::Registry::new());
        Journal::open(&self.directory.journal(), Self::settings(), self.clock.clone(), metrics).unwrap()
    }

    fn point(&self) -> PointId {
        self.catalogue.points.first().unwrap().id
    }

    /// Hands one reading to the engine, waits until it is durable and history has it.
    fn send(&self, engine: &Engine, minute: i64, register: &str) {
        let (done, outcome) = oneshot::channel();
        let time = NOW.plus((minute - 1_000) * 60_000);
        let reading = Reading { point: self.point(), number: Number::Exact(register.parse().unwrap()), source_time: Some(time) };
        let batch = Batch {
            link: LinkKey::of("broker"),
            received_time: time,
            readings: vec![reading],
            origin: Origin::Metered,
            deliveries: Vec::new(),
            rejected: Vec::new(),
            done: Some(done),
        };
        let outlet = engine.outlet();
        self.runtime.block_on(async {
            outlet.send(Message::Batch(batch)).await.unwrap();
            assert_eq!(outcome.await.unwrap(), Outcome::Durable);
            engine.caught_up().await;
        });
    }

    fn samples(&self, engine: &Engine) -> Vec<Sample> {
        engine.history().scan(self.point(), UtcMillis(0), NOW, usize::MAX).unwrap()
    }
}

/// A point that is added is read from then on, one that is gone keeps its class, and the record says by what was read.
#[test]
fn another_catalogue_counts_while_the_engine_runs() {
    let place = Place::new();
    let mut registry = MemoryRegistry::default();
    let more = format!(
        "{PARK}compliance = true\n[[device.point]]\nid = \"pressure\"\npath = \"pressure\"\nmedium = \"gas\"\nkind = \"gauge\"\nunit = \"kPa\"\n"
    );
    let first = crate::testing::catalogue(PARK, &mut registry);
    let wider = Arc::new(crate::testing::catalogue(&more, &mut registry));
    let none = Arc::new(crate::testing::catalogue(&PARK.replace("id = \"gas\"", "id = \"other\""), &mut registry));
    assert_eq!(first.points[0].id, place.point(), "numbers are the same in every registry that is asked so");
    let engine = place.start();
    let is_compliance = |id: PointId| engine.compliance.read().unwrap().contains(&id);
    assert!(!is_compliance(place.point()));
    place.runtime.block_on(engine.set_catalogue(&wider, Vec::new())).unwrap();
    assert!(is_compliance(place.point()));
    place.send(&engine, 1, "10.5");
    assert_eq!(place.samples(&engine).len(), 1);
    place.runtime.block_on(engine.set_catalogue(&none, Vec::new())).unwrap();
    assert!(is_compliance(place.point()), "what is not in blocks yet is kept as long as the rest");
    place.send(&engine, 2, "11.5");
    assert_eq!(place.samples(&engine).len(), 1, "it is no point any more");
    place.runtime.block_on(engine.set_catalogue(&Arc::new(first), Vec::new())).unwrap();
    assert!(!is_compliance(place.point()), "it says otherwise now");
    place.send(&engine, 3, "12.5");
    assert_eq!(place.samples(&engine).len(), 2);
    assert!(engine.stop().is_empty());
}

fn steps(samples: &[Sample]) -> Vec<Step> {
    samples.iter().map(|sample| sample.status.step()).collect()
}

#[test]
fn the_state_is_saved_at_start_before_anything_comes() {
    let place = Place::new();
    let engine = place.start();
    place.send(&engine, 1, "10.5");
    place.send(&engine, 2, "11");
    assert!(engine.stop().is_empty());
    // As after a kill: the journal is ahead of the state, which is not there at all.
    std::fs::remove_file(place.directory.normalise_state()).unwrap();
    let journal = place.journal();
    let durable = journal.durable();
    journal.close();
    let engine = place.start();
    let mut normaliser = Normaliser::new(&place.catalogue, NormaliseSettings::default());
    let saved = SavedState::new(place.directory.normalise_state()).load(&mut normaliser).unwrap();
    assert_eq!(saved, durable, "a full journal can let go only what the saved state covers");
    // And the state was brought up to date before it was saved: a repeat is dropped, a register follows the last one.
    place.send(&engine, 2, "11");
    place.send(&engine, 3, "12");
    assert_eq!(steps(&place.samples(&engine)), [Step::First, Step::Delta, Step::Delta]);
    assert!(engine.stop().is_empty());
}

/// The first register that is scaled otherwise is no further one of the same meter, also when the program stops before it
/// comes. One that is announced while the engine runs is none either.
#[test]
fn a_counter_that_is_scaled_otherwise_begins_anew() {
    let place = Place::new();
    let engine = place.start();
    place.send(&engine, 1, "10");
    assert!(engine.stop().is_empty());
    for (run, changed_counters) in [vec![place.point()], Vec::new()].into_iter().enumerate() {
        let settings = EngineSettings { journal: Place::settings(), changed_counters, ..EngineSettings::default() };
        let metrics = Metrics::new(&prometheus::Registry::new());
        let engine =
            Engine::start(&place.directory, &place.catalogue, settings, place.clock.clone(), metrics, place.runtime.handle()).unwrap();
        if run == 1 {
            place.send(&engine, 2, "100");
            place.send(&engine, 3, "101");
            engine.exchanges().announce(place.point(), NOW.plus((4 - 1_000) * 60_000));
            place.send(&engine, 4, "1");
            place.send(&engine, 5, "2");
            assert_eq!(steps(&place.samples(&engine)), [Step::First, Step::Exchange, Step::Delta, Step::Exchange, Step::Delta]);
        }
        assert!(engine.stop().is_empty());
    }
}

/// Taken out and put back, scaled otherwise, while the engine runs: nothing is remembered of it, and the record has registers.
#[test]
fn a_counter_that_comes_back_scaled_otherwise_begins_anew() {
    let place = Place::new();
    let none = PARK.replace("id = \"gas\"", "id = \"other\"");
    let none = Arc::new(crate::testing::catalogue(&none, &mut MemoryRegistry::default()));
    let engine = place.start();
    assert!(engine.knows_changed());
    place.send(&engine, 1, "10");
    let set = |catalogue: &Arc<Catalogue>, changed| place.runtime.block_on(engine.set_catalogue(catalogue, changed)).unwrap();
    assert!(set(&none, Vec::new()) && set(&place.catalogue, vec![place.point()]));
    place.send(&engine, 2, "1");
    place.send(&engine, 3, "2");
    assert_eq!(steps(&place.samples(&engine)), [Step::First, Step::Exchange, Step::Delta]);
    assert!(engine.stop().is_empty());
}

#[test]
fn entries_of_a_lost_journal_get_no_number_that_was_read_before() {
    let place = Place::new();
    let engine = place.start();
    for minute in 1..=5 {
        place.send(&engine, minute, &minute.to_string());
    }
    let before = engine.journal().durable();
    assert!(engine.stop().is_empty());
    // The disk with the journal was replaced. History and the state are read first: they know how far it went.
    for entry in std::fs::read_dir(place.directory.journal()).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let engine = place.start();
    place.send(&engine, 6, "6");
    assert!(engine.journal().oldest() > before, "{:?} {before:?}", engine.journal().oldest());
    assert_eq!(place.samples(&engine).iter().map(|sample| sample.value).max(), place.samples(&engine).last().map(|one| one.value));
    assert_eq!(place.samples(&engine).len(), 6, "an entry with a number of before would be passed over");
    assert!(engine.stop().is_empty());
}

#[test]
fn a_run_begins_with_the_catalogue_that_its_samples_are_read_by() {
    let place = Place::new();
    let version = place.catalogue.version;
    let mut before = Sequence(0);
    for minute in [1, 2] {
        let engine = place.start();
        place.send(&engine, minute, &minute.to_string());
        let mut reader = engine.journal().reader(Sequence(before.0 + 1));
        let mut kinds = Vec::new();
        loop {
            match reader.next().unwrap() {
                Next::Entry(_, Record::Catalogue(record)) => kinds.push(("catalogue", record.version)),
                Next::Entry(_, Record::Samples(SampleRecord { catalogue_version, .. })) => kinds.push(("samples", catalogue_version)),
                Next::Entry(..) => {}
                Next::End => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(kinds, [("catalogue", version), ("samples", version)]);
        before = engine.journal().durable();
        assert!(engine.stop().is_empty());
    }
}
