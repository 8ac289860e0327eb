//! Emissions by hand: a stack and a pair on a record in memory, with figures worked out in comments.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use parkgate_collector::catalogue::{self, Catalogue, LoadError, MemoryFiles, MemoryRegistry};
use parkgate_collector::clock::ManualClock;
use parkgate_collector::journal::Sequence;
use parkgate_collector::model::{Origin, PointId, Quality, Reason, Sample, Status, Step, UtcMillis};
use parkgate_rules::emission::event::{EventKind, EventState};
use parkgate_rules::emission::limit::{AppliesTo, Bound};
use parkgate_rules::emission::time::UtcMillis as Time;
use parkgate_rules::emission::{Averaging, ComplianceEvent, HourClass, HourFigure, Letter, PeriodFigure};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::correction::Correction;
use super::entered::{enter_limit, enter_mark};
use super::events::KeptEvent;
use super::follow::{Follower, Parts};
use super::store::EmissionStore;
use super::{Author, EmissionView as _, Emissions, LimitStep, MarkStep, NewLimit, NewMark, Plan};
use crate::metrics::Metrics;
use crate::settings::GatewaySettings;
use crate::store::follow::Follow as _;
use crate::store::{Bucket, EntryKind, Facts, RecordView, StoreError};

mod follow;
mod settings;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const GRACE: i64 = 10 * MINUTE;

/// 2026-11-02 00:00 in Shanghai, a Monday.
const MONDAY: UtcMillis = UtcMillis(1_793_548_800_000);

const PARK: &str = r#"[park]
id = "p"
[[enterprise]]
id = "acme"
[[link]]
id = "bus"
driver = "modbus_tcp"
host = "192.0.2.1"
[[device]]
id = "cems"
enterprise = "acme"
link = "bus"
modbus = { unit_id = 1 }
point = [
  { id = "so2_concentration", register = { address = 0, type = "u32" } },
  { id = "o2_content", register = { address = 2, type = "u32" } },
  { id = "flue_gas_flow", reference = "zero_degrees", register = { address = 4, type = "u32" } },
]
[[device]]
id = "plant"
enterprise = "acme"
link = "bus"
modbus = { unit_id = 2 }
point = [
  { id = "line", quantity = "active_power", register = { address = 0, type = "u32" } },
  { id = "oxidiser", quantity = "active_power", register = { address = 2, type = "u32" } },
]
"#;

const OUTLET: &str = r#"
[[gateway.outlet]]
id = "stack"
enterprise = "acme"
kind = "stack"
o2 = { point = "cems/o2_content", minute_mean = true }
flow = { kind = "standard", point = "cems/flue_gas_flow", minute_mean = true }
[[gateway.outlet.factor]]
id = "so2"
source = { kind = "point", point = "acme/cems/so2_concentration", minute_mean = true }
reference = { o2 = 6 }
[[gateway.abatement]]
id = "line-1"
enterprise = "acme"
production = { point = "plant/line", interval_ms = 60000, off_below_kw = 50, idle_below_kw = 150 }
abatement = { point = "plant/oxidiser", interval_ms = 60000, off_below_kw = 4, idle_below_kw = 40, running_from_kw = 60 }
"#;

fn load(text: &str) -> Result<(GatewaySettings, Arc<Catalogue>), LoadError> {
    let files = MemoryFiles { files: [("main.toml".into(), text.to_owned())].into(), ..MemoryFiles::default() };
    let loaded = catalogue::load::<GatewaySettings>(Path::new("main.toml"), &files)?;
    Ok((loaded.gateway, Arc::new(loaded.draft.build(&mut MemoryRegistry::default()).unwrap())))
}

/// Samples merged by key time.
#[derive(Default)]
struct Memory(Mutex<BTreeMap<(PointId, UtcMillis), Sample>>);

impl RecordView for Memory {
    fn latest(&self, point: PointId) -> Option<Sample> {
        self.scan(point, UtcMillis(i64::MIN), UtcMillis(i64::MAX), usize::MAX).unwrap().pop()
    }
    fn latest_since(&self, _: u64) -> (u64, Vec<Sample>) {
        (1, self.0.lock().unwrap().values().copied().collect())
    }
    fn scan(&self, point: PointId, from: UtcMillis, to: UtcMillis, limit: usize) -> Result<Vec<Sample>, StoreError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let samples = self.0.lock().unwrap();
        // Record time is key time here.
        Ok(samples.range((point, from)..(point, to)).map(|(_, sample)| *sample).take(limit).collect())
    }
    fn buckets(&self, _: PointId, _: &[UtcMillis]) -> Result<Vec<Bucket>, StoreError> {
        Ok(Vec::new())
    }
    fn samples_applied(&self) -> u64 {
        0
    }
}

/// A park whose record, files and follower a case works on.
struct Case {
    folder: TempDir,
    settings: GatewaySettings,
    catalogue: Arc<Catalogue>,
    record: Arc<Memory>,
    facts: Arc<Facts>,
    follower: Option<Follower>,
    /// Samples noted since the last count.
    noted: Vec<Sample>,
}

impl Case {
    fn new() -> Self {
        let (settings, catalogue) = load(&format!("{PARK}{OUTLET}")).unwrap_or_else(|error| panic!("{error}"));
        let folder = tempfile::tempdir().unwrap();
        let facts = Arc::new(Facts::open(&folder.path().join("facts.db")).unwrap());
        let mut case = Self { folder, settings, catalogue, record: Arc::default(), facts, follower: None, noted: Vec::new() };
        case.start();
        case
    }

    fn plan(&self) -> Arc<Plan> {
        Arc::new(Plan::new(&self.catalogue, &self.settings.outlet, &self.settings.abatement))
    }

    /// As after a start of the program; the journal gives again what was not counted.
    fn start(&mut self) {
        self.follower = None;
        let plan = self.plan();
        let store = EmissionStore::open(&self.folder.path().join("emission.db"), &plan.zone).unwrap();
        let parts = Parts {
            record: Arc::clone(&self.record) as _,
            facts: Arc::clone(&self.facts),
            clock: Arc::new(ManualClock::new(MONDAY.plus(100 * DAY))),
            metrics: Metrics::new(&prometheus::Registry::new()),
        };
        let mut follower = Follower::new(plan, parts, store, GRACE).unwrap();
        self.noted.iter().for_each(|sample| follower.note(sample));
        self.follower = Some(follower);
    }

    fn point(&self, name: &str) -> PointId {
        self.catalogue.point_by_stable_id(&format!("acme/{name}")).unwrap().id
    }

    /// A sample comes into the record and is read from the journal.
    fn push(&mut self, name: &str, time: UtcMillis, value: i64) {
        let sample = Sample {
            point: self.point(name),
            status: Status::new(Quality::Good, Reason::None, Origin::Metered, Step::None),
            value,
            source_time: None,
            received_time: time.max(self.noted.last().map_or(time, |last| last.received_time)),
            record_time: time,
        };
        self.record.0.lock().unwrap().insert((sample.point, sample.key_time()), sample);
        self.follower.as_mut().unwrap().note(&sample);
        self.noted.push(sample);
    }

    /// Minute means of SO2 in mg/m3 thousandths, with O2 9.2 % and 62 974 m3/h.
    fn minutes(&mut self, from: UtcMillis, minutes: i64, so2: i64) {
        for minute in 0..minutes {
            let time = from.plus(minute * MINUTE);
            self.push("cems/so2_concentration", time, so2);
            self.push("cems/o2_content", time, 9_200);
            self.push("cems/flue_gas_flow", time, 629_740);
        }
    }

    fn power(&mut self, from: UtcMillis, minutes: i64, line_kw: i64, oxidiser_kw: i64) {
        for minute in 0..minutes {
            let time = from.plus(minute * MINUTE);
            self.push("plant/line", time, line_kw * 1000);
            self.push("plant/oxidiser", time, oxidiser_kw * 1000);
        }
    }

    fn count(&mut self) {
        self.follower.as_mut().unwrap().count_due(Sequence(1), &CancellationToken::new()).unwrap();
        self.noted.clear();
    }

    fn view(&self) -> Emissions {
        let store = EmissionStore::open_read_only(&self.folder.path().join("emission.db")).unwrap();
        Emissions::new(self.plan(), Arc::clone(&self.record) as _, Arc::clone(&self.facts), Some(store))
    }

    fn hour(&self, start: UtcMillis) -> HourFigure {
        self.view().hours("stack", "so2", start, start.plus(1)).unwrap().remove(0).figure
    }

    /// All closed figures.
    fn figures(&self) -> (Vec<HourFigure>, Vec<PeriodFigure>) {
        let (view, from, to) = (self.view(), UtcMillis(0), MONDAY.plus(365 * DAY));
        let hours = view.hours("stack", "so2", from, to).unwrap().into_iter().filter(|hour| hour.closed).map(|hour| hour.figure);
        let of = |averaging| view.periods("stack", "so2", averaging, from, to).unwrap().into_iter().filter(|period| period.closed);
        let periods = of(Averaging::Day).chain(of(Averaging::Month)).map(|period| period.figure);
        (hours.collect(), periods.collect())
    }

    /// Versions of events in order of entry: kind, state, version, start.
    fn events(&self) -> Vec<ComplianceEvent> {
        self.facts.entries(EntryKind::ComplianceEvent, 0).unwrap().iter().filter_map(KeptEvent::of).map(|kept| kept.event).collect()
    }

    fn told(&self) -> Vec<(EventState, u32, i64)> {
        self.events().iter().map(|event| (event.state, event.version, (event.from.0 - MONDAY.0) / HOUR)).collect()
    }

    fn corrections(&self) -> Vec<Correction> {
        self.facts.entries(EntryKind::EmissionCorrection, 0).unwrap().iter().filter_map(Correction::read).collect()
    }

    fn limit(&self, averaging: Averaging, value: &str) -> String {
        self.limit_on(AppliesTo::Converted, averaging, value)
    }

    fn limit_on(&self, applies_to: AppliesTo, averaging: Averaging, value: &str) -> String {
        let new = NewLimit {
            outlet: "stack".into(),
            factor: "so2".into(),
            averaging,
            value: value.parse().unwrap(),
            unit: None,
            applies_to,
            bound: Bound::Upper,
            clause: "permit 1, table 2".into(),
            valid_from: Time(MONDAY.0),
            valid_to: None,
        };
        self.limit_step(LimitStep::Add(new)).unwrap()
    }

    fn limit_step(&self, step: LimitStep) -> Result<String, String> {
        let entered = enter_limit(&self.facts, &self.plan(), step, &author(), MONDAY).unwrap();
        entered.map(|held| held.limit.id).map_err(|refusal| refusal.to_string())
    }

    fn mark_step(&self, step: &MarkStep) -> Result<String, String> {
        let entered = enter_mark(&self.facts, &self.plan(), step, &author(), MONDAY).unwrap();
        entered.map(|held| held.mark.id).map_err(|refusal| refusal.to_string())
    }

    fn mark(&self, letter: Letter, from: UtcMillis, to: Option<UtcMillis>) -> String {
        let new = NewMark {
            outlet: "stack".into(),
            factor: None,
            letter,
            condition: "校准".into(),
            from: Time(from.0),
            to: to.map(|to| Time(to.0)),
        };
        self.mark_step(&MarkStep::Add(new)).unwrap()
    }
}

fn author() -> Author {
    Author { name: "eve".into(), document: Some("letter 5".into()) }
}

fn hour(hours: i64) -> UtcMillis {
    MONDAY.plus(hours * HOUR)
}

use EventState::{Amended, Raised, Withdrawn};
