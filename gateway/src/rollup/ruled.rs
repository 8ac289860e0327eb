//! Moduli and highest rates that were in force before: each meter has its own (R-DELTA), and a point has several meters in
//! its time, so another modulus must not make wraps of the past suspect. Kept in `facts.db`: what is in force of every
//! counter, to notice a change, and apart from it what was, which is little.
//!
//! A pair is judged by the rule that was in force when its later register was read; only where that one cannot tell what
//! was counted, those that came after it are asked in turn. So a rule that is configured anew takes nothing from what was
//! counted, and tells wraps that could not be told.

use std::collections::{BTreeMap, HashMap};

use parkgate_collector::catalogue::{Catalogue, Point};
use parkgate_collector::model::{Decimal, Kind, PointId, UtcMillis};
use parkgate_collector::normalise::CounterRule;
use serde::{Deserialize, Serialize};

use super::rule;
use crate::store::{Facts, StoreError};

/// Key of the item of `facts.db`: JSON, number of the point to what is in force.
const NOW: &str = "counter_rules";
/// Key of the item of `facts.db`: JSON, number of the point to what was, oldest first.
const BEFORE: &str = "counter_rules_before";
/// Most rules kept of a point; the oldest goes first, and the next one is taken to have been in force always.
const BEFORE_MAX: usize = 32;

/// A rule that was in force.
#[derive(Clone, Copy, Debug)]
pub struct Before {
    /// Until when, exclusive.
    pub until: UtcMillis,
    /// Which.
    pub rule: CounterRule,
}

impl PartialEq for Before {
    fn eq(&self, other: &Self) -> bool {
        let parts = |of: &Self| (of.until, of.rule.modulus(), of.rule.rate_per_hour());
        parts(self) == parts(other)
    }
}

impl Eq for Before {}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    modulus: Option<Decimal>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rate_max_per_hour: Option<Decimal>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct KeptBefore {
    /// Milliseconds of UTC.
    until: i64,
    #[serde(flatten)]
    rule: Kept,
}

/// What was in force of all counters, as kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllBefore(HashMap<u32, Vec<KeptBefore>>);

impl AllBefore {
    /// As kept until now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(facts: &Facts) -> Result<Self, StoreError> {
        Ok(Self(item(facts, BEFORE)?))
    }

    /// What was in force of a point, oldest first.
    pub fn of(&self, point: &Point) -> Vec<Before> {
        let rule = |kept: Kept| {
            let Kept { modulus, rate_max_per_hour } = kept;
            CounterRule::new(&Point { modulus, rate_max_per_hour, ..point.clone() })
        };
        let kept = self.0.get(&point.id.0).into_iter().flatten();
        kept.map(|before| Before { until: UtcMillis(before.until), rule: rule(before.rule) }).collect()
    }

    /// Whether other rules of a point were in force by the one than by the other.
    pub fn differs(&self, other: &Self, point: PointId) -> bool {
        self.0.get(&point.0) != other.0.get(&point.0)
    }
}

/// Keeps what is in force of a catalogue's counters, and of those that have another rule now what was, until `now`. Of one
/// that is not configured what was known stays.
///
/// # Errors
/// When `facts.db` cannot be read or written.
pub fn keep(facts: &Facts, catalogue: &Catalogue, now: UtcMillis) -> Result<(), StoreError> {
    let mut known: BTreeMap<u32, Kept> = item(facts, NOW)?;
    let mut before: Option<BTreeMap<u32, Vec<KeptBefore>>> = None;
    let mut news = false;
    let counters = rule::has_totals(catalogue).filter(|point| point.identity.kind == Kind::Counter);
    for point in counters {
        let normal = |number: Option<Decimal>| number.map(Decimal::normalised);
        let is = Kept { modulus: normal(point.modulus), rate_max_per_hour: normal(point.rate_max_per_hour) };
        let was = known.insert(point.id.0, is);
        news |= was != Some(is);
        if let Some(rule) = was.filter(|was| *was != is) {
            let all = match &mut before {
                Some(all) => all,
                None => before.insert(item(facts, BEFORE)?),
            };
            let own = all.entry(point.id.0).or_default();
            own.push(KeptBefore { until: now.0, rule });
            own.drain(..own.len().saturating_sub(BEFORE_MAX));
        }
    }
    // First what was: a crash between the two notes it twice, which changes nothing.
    if let Some(before) = before {
        set(facts, BEFORE, &before)?;
    }
    if news { set(facts, NOW, &known) } else { Ok(()) }
}

fn item<T: Default + for<'de> Deserialize<'de>>(facts: &Facts, key: &str) -> Result<T, StoreError> {
    let Some(text) = facts.item(key)? else { return Ok(T::default()) };
    serde_json::from_slice(&text).map_err(|error| StoreError::Damaged(format!("`{key}` of facts.db: {error}")))
}

fn set(facts: &Facts, key: &str, value: &impl Serialize) -> Result<(), StoreError> {
    let text = serde_json::to_vec(value).map_err(|error| StoreError::Damaged(error.to_string()))?;
    facts.set_item(key, &text)
}
