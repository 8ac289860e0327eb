//! What people entered about meters: exchanges (R-EXCHANGE), decisions about suspect pairs (R-DELTA), and what of them is
//! in force.
//!
//! Nothing entered is ever changed: a further entry undoes it. An id is made of the number of the entry, so it is permanent.
//! Registers are in the point's own unit, as its samples are; a multiplier is applied to them, on top of what the
//! configuration scales.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use parkgate_collector::catalogue::{Catalogue, Point};
use parkgate_collector::model::{Decimal, Kind, PointId, UtcMillis};
use parkgate_collector::normalise::Register;
use parkgate_rules::emission::time::UtcMillis as Time;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::counter::{Decided, Declared, Exchange, SuspectPair, Verdict};
use super::rule;
use super::ruled::AllBefore;
use crate::store::{DataDirectory, Entry, EntryKind, Facts, StoreError};

/// What was entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The meter was exchanged, or its multiplier changed: one segment ends and the next begins.
    Exchange,
    /// The register that fell had wrapped.
    Rollover,
    /// The register was set back: the pair adds nothing, and the next one begins at the lower register.
    Reset,
    /// The register before the fall is wrong: differences are formed across it.
    OldWrong,
    /// The lower register is wrong: differences are formed across it.
    NewWrong,
    /// Of old entries: as `reset`.
    Error,
}

impl EventKind {
    /// The name in JSON and commands.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exchange => "exchange",
            Self::Rollover => "rollover",
            Self::Reset => "reset",
            Self::OldWrong => "old_wrong",
            Self::NewWrong => "new_wrong",
            Self::Error => "error",
        }
    }
}

/// Something about a meter, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewEvent {
    /// What.
    pub kind: EventKind,
    /// Stable id of the point.
    pub point: String,
    /// When the meter was exchanged; of a decision, when the lower register was read.
    pub at: Time,
    /// Of a decision, when the register before was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Time>,
    /// Last register of the old meter; of a decision, the register before the fall.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_final: Option<String>,
    /// First register of the new meter; of a decision, the lower register.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_initial: Option<String>,
    /// What registers from `at` on are multiplied with; as before unless given, 1 before any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiplier: Option<String>,
    /// Why, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The body of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum MeterStep {
    /// Something new.
    Add(NewEvent),
    /// An earlier one holds no more, and never did.
    Undo {
        /// Its id.
        event: String,
        /// Why, in words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
}

/// An event with what is known of its entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct MeterEvent {
    /// Its id, permanent: `meter-17`.
    pub id: String,
    /// What.
    pub kind: EventKind,
    /// Stable id of the point.
    pub point: String,
    /// When the meter was exchanged; of a decision, when the lower register was read.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// Of a decision, when the register before was read.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub from: Option<Time>,
    /// Last register of the old meter, in the point's unit; of a decision, the register before the fall. `null`: unknown.
    pub old_final: Option<String>,
    /// First register of the new meter, in the point's unit; of a decision, the lower register. `null`: unknown.
    pub new_initial: Option<String>,
    /// What registers from `at` on are multiplied with; `null`: as before.
    pub multiplier: Option<String>,
    /// Why, in words.
    pub note: Option<String>,
    /// The paper it rests on.
    pub document: Option<String>,
    /// Who entered it.
    pub author: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub entered_at: Time,
    /// Who undid it, if anybody did: it does not hold.
    pub undone_by: Option<Undone>,
}

/// Who undid something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Undone {
    /// Who.
    pub author: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub time: Time,
    /// Why, in words.
    pub note: Option<String>,
}

/// All that was entered, by the number of its entry.
#[derive(Clone, Debug, Default)]
pub struct Events(BTreeMap<i64, MeterEvent>);

const ID: &str = "meter-";

impl Events {
    /// As entries have it.
    pub fn of(entries: &[Entry]) -> Self {
        let mut events = Self::default();
        for entry in entries {
            let _ = events.take(entry);
        }
        events
    }

    /// Takes a further entry; the event it is about, as it is then.
    pub fn take(&mut self, entry: &Entry) -> Option<&MeterEvent> {
        let step = serde_json::from_value::<MeterStep>(entry.body.clone());
        let step =
            step.inspect_err(|error| tracing::error!(entry = entry.id, error = %error, "entry cannot be understood and is left out"));
        let (author, time) = (entry.author.clone(), Time(entry.time.0));
        match step.ok()? {
            MeterStep::Add(new) => {
                let event = MeterEvent {
                    id: format!("{ID}{}", entry.id),
                    kind: new.kind,
                    point: new.point,
                    at: new.at,
                    from: new.from,
                    old_final: new.old_final,
                    new_initial: new.new_initial,
                    multiplier: new.multiplier,
                    note: new.note,
                    document: entry.document.clone(),
                    author,
                    entered_at: time,
                    undone_by: None,
                };
                self.0.insert(entry.id, event);
                self.0.get(&entry.id)
            }
            MeterStep::Undo { event, note } => {
                let event = self.0.get_mut(&number_of(&event)?)?;
                event.undone_by.get_or_insert(Undone { author, time, note });
                Some(event)
            }
        }
    }

    /// The event of an id.
    pub fn get(&self, id: &str) -> Option<&MeterEvent> {
        self.0.get(&number_of(id)?)
    }

    /// All, in order of their entries, undone ones too.
    pub fn all(&self) -> impl Iterator<Item = &MeterEvent> {
        self.0.values()
    }

    /// The last decision in force about a fall that ends at an instant, whatever its pair.
    pub fn decided(&self, point: &str, at: UtcMillis) -> Option<&MeterEvent> {
        let about =
            |held: &&MeterEvent| held.kind != EventKind::Exchange && held.undone_by.is_none() && held.point == point && held.at.0 == at.0;
        self.0.values().rev().find(about)
    }

    /// What holds of a point.
    pub fn declared(&self, point: &Point, rules: &AllBefore) -> Declared {
        let (rules, decimals, point) = (rules.of(point), point.identity.decimals, point.identity.stable_id.as_str());
        let register = |text: &Option<String>| Decimal::parse(text.as_ref()?.as_bytes()).ok()?.to_mantissa(decimals);
        let pair = |event: &MeterEvent| {
            let old = Register { time: UtcMillis(event.from?.0), value: register(&event.old_final)? };
            Some(SuspectPair { old, new: Register { time: UtcMillis(event.at.0), value: register(&event.new_initial)? } })
        };
        let mut declared = Declared { rules, ..Declared::default() };
        let mut exchanges = BTreeMap::new();
        for event in self.all().filter(|event| event.point == point) {
            let at = UtcMillis(event.at.0);
            if event.undone_by.is_some() {
                declared.undone.extend((event.kind == EventKind::Exchange).then_some(at));
                continue;
            }
            let verdict = match event.kind {
                EventKind::Exchange => {
                    exchanges.insert(at, event);
                    continue;
                }
                EventKind::OldWrong | EventKind::NewWrong => {
                    let old = event.kind == EventKind::OldWrong;
                    declared.wrong.extend(pair(event).map(|pair| if old { pair.old } else { pair.new }).map(|one| (one.time, one.value)));
                    continue;
                }
                EventKind::Rollover => Verdict::Rollover,
                EventKind::Reset | EventKind::Error => Verdict::Reset,
            };
            declared.verdicts.entry(at).or_default().push(Decided { verdict, pair: pair(event) });
        }
        let mut multiplier = Decimal::ONE;
        for (at, event) in exchanges {
            let said = event.multiplier.as_ref().and_then(|text| Decimal::parse(text.as_bytes()).ok());
            multiplier = said.map_or(multiplier, Decimal::normalised);
            let (old_final, new_initial) = (register(&event.old_final), register(&event.new_initial));
            declared.exchanges.push(Exchange { at, old_final, new_initial, multiplier });
        }
        declared
    }
}

/// The entry that began the event of this id.
fn number_of(id: &str) -> Option<i64> {
    id.strip_prefix(ID)?.parse().ok()
}

/// Record times at which pairs count otherwise than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touched {
    /// By which entry.
    pub entry: i64,
    /// Of which point.
    pub point: PointId,
    /// From when.
    pub from: UtcMillis,
    /// Until when, inclusive; the end of time for what is open.
    pub to: UtcMillis,
}

/// What is in force of each counter of a catalogue. Cheap to share behind an `Arc`.
#[derive(Debug, Default)]
pub struct Meters {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// By stable id. One that is configured no more stays: what is entered about it holds when it comes back.
    counters: HashMap<String, Arc<Point>>,
    /// The last entry taken.
    seen: i64,
    events: Events,
    /// Moduli and rates of before.
    rules: AllBefore,
    declared: HashMap<PointId, Arc<Declared>>,
}

impl Meters {
    /// With nothing entered.
    pub fn new(catalogue: &Catalogue) -> Self {
        Self { inner: Mutex::new(Inner { counters: counters(catalogue).collect(), ..Inner::default() }) }
    }

    /// Goes on with the counters of another catalogue.
    pub fn set_catalogue(&self, catalogue: &Catalogue) {
        let mut inner = self.inner();
        for (name, point) in counters(catalogue) {
            if inner.counters.get(&name).is_none_or(|known| known.id != point.id) {
                let declared = inner.events.declared(&point, &inner.rules);
                inner.declared.insert(point.id, Arc::new(declared));
            }
            inner.counters.insert(name, point);
        }
    }

    /// As entered until now.
    ///
    /// # Errors
    /// When the entries cannot be read.
    pub fn read(catalogue: &Catalogue, facts: &Facts) -> Result<Self, StoreError> {
        let meters = Self::new(catalogue);
        meters.refresh_rules(facts)?;
        meters.refresh(facts)?;
        Ok(meters)
    }

    /// As entered until now in a data directory, for a command that only reads.
    ///
    /// # Errors
    /// When `facts.db` is there and cannot be read.
    pub fn read_only(catalogue: &Catalogue, directory: &DataDirectory) -> Result<Self, StoreError> {
        let path = directory.facts();
        if path.exists() { Self::read(catalogue, &Facts::open_read_only(&path)?) } else { Ok(Self::new(catalogue)) }
    }

    /// Takes the moduli and rates of before that are kept now, see [`super::ruled::keep`].
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn refresh_rules(&self, facts: &Facts) -> Result<(), StoreError> {
        let rules = AllBefore::read(facts)?;
        self.inner().set_rules(rules);
        Ok(())
    }

    /// Takes further entries; what they touch.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn refresh(&self, facts: &Facts) -> Result<Vec<Touched>, StoreError> {
        let mut inner = self.inner();
        if facts.last_entry(EntryKind::MeterEvent)? <= inner.seen {
            return Ok(Vec::new());
        }
        let mut touched = Vec::new();
        for entry in facts.entries(EntryKind::MeterEvent, inner.seen)? {
            inner.seen = entry.id;
            let Some(name) = inner.events.take(&entry).map(|event| event.point.clone()) else { continue };
            let Some(point) = inner.counters.get(&name) else { continue };
            let (new, point) = (inner.events.declared(point, &inner.rules), point.id);
            let old = inner.declared.insert(point, Arc::new(new.clone())).unwrap_or_default();
            touched.extend(differences(&old, &new).map(|(from, to)| Touched { entry: entry.id, point, from, to }));
        }
        Ok(touched)
    }

    /// What is in force of a point.
    pub fn of(&self, point: PointId) -> Arc<Declared> {
        self.inner().declared.get(&point).cloned().unwrap_or_default()
    }

    /// All that was entered, in order, undone ones too.
    pub fn events(&self) -> Vec<MeterEvent> {
        self.inner().events.all().cloned().collect()
    }

    /// Of decisions in force about falls of a point that end at one of some instants, the last of each.
    pub fn decided(&self, point: &str, at: impl Iterator<Item = UtcMillis>) -> BTreeMap<UtcMillis, MeterEvent> {
        let inner = self.inner();
        at.filter_map(|at| Some((at, inner.events.decided(point, at)?.clone()))).collect()
    }

    /// The last entry taken.
    pub fn seen(&self) -> i64 {
        self.inner().seen
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn set_rules(&mut self, rules: AllBefore) {
        let before = std::mem::replace(&mut self.rules, rules);
        for point in self.counters.values().filter(|point| before.differs(&self.rules, point.id)) {
            self.declared.insert(point.id, Arc::new(self.events.declared(point, &self.rules)));
        }
    }
}

fn counters(catalogue: &Catalogue) -> impl Iterator<Item = (String, Arc<Point>)> {
    let counters = rule::has_totals(catalogue).filter(|point| point.identity.kind == Kind::Counter);
    counters.map(|point| (point.identity.stable_id.clone(), Arc::clone(point)))
}

/// Record times, both ends inclusive, at which pairs count otherwise by the one than by the other. An exchange or verdict
/// touches the pair at its instant, a wrong reading those beside it, another multiplier all until the next exchange.
fn differences(one: &Declared, other: &Declared) -> impl Iterator<Item = (UtcMillis, UtcMillis)> {
    let mut found = Vec::new();
    for (one, other) in [(one, other), (other, one)] {
        let next = one.exchanges.iter().skip(1).map(|next| next.at.plus(-1)).chain([UtcMillis(i64::MAX)]);
        for (exchange, end) in one.exchanges.iter().zip(next).filter(|(exchange, _)| !other.exchanges.contains(exchange)) {
            let same = other.multiplier_at(exchange.at) == exchange.multiplier;
            found.push((exchange.at, if same { exchange.at } else { end }));
        }
        let verdicts = one.verdicts.iter().filter(|(at, verdict)| other.verdicts.get(at) != Some(verdict));
        found.extend(verdicts.map(|(&at, _)| (at, at)));
        found.extend(one.wrong.difference(&other.wrong).map(|&(at, _)| (at, at)));
    }
    found.into_iter()
}
