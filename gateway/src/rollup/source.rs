//! How the registers of counters come about, as it was when the gateway ran last: kept in `facts.db`, so that a scale, an
//! offset, a raw unit or a register that is configured otherwise is noticed at the next start. Between registers of two
//! scales nothing tells what was counted, and the point's number, which its record goes by, stays the same.

use std::collections::BTreeMap;

use parkgate_collector::catalogue::Catalogue;
use parkgate_collector::model::{Kind, PointId};
use parkgate_collector::normalise::{is_same_source, register_source};
use tracing::warn;

use super::rule;
use crate::store::{Facts, StoreError};

/// Key of the item of `facts.db`: JSON, number of the point to text.
const ITEM: &str = "counter_sources";

/// A counter whose registers come about otherwise than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Which.
    pub point: PointId,
    /// Its stable id.
    pub name: String,
    /// How they came about.
    pub was: String,
    /// How they do now.
    pub is: String,
}

/// Counters of a catalogue whose registers come about otherwise than when [`keep`] was last called; one that it did not
/// know is new.
///
/// # Errors
/// When `facts.db` cannot be read.
pub fn changed(facts: &Facts, catalogue: &Catalogue) -> Result<Vec<Changed>, StoreError> {
    let kept = kept(facts)?;
    let changed = sources(catalogue).filter_map(|(point, name, is)| {
        let was = kept.get(&point.0).filter(|was| !is_same_source(was, &is))?.clone();
        Some(Changed { point, name, was, is })
    });
    Ok(changed.collect())
}

/// Says of each what it means and what to do instead where only a ratio changed.
pub fn tell(changed: &[Changed]) {
    for Changed { name, was, is, .. } in changed {
        warn!(
            point = name,
            was,
            is,
            "this counter is read or scaled otherwise than before: what it counts until its next register is in no total; where only \
             the ratio of its transformers changed, leave the scale and enter `parkgate exchange --multiplier`"
        );
    }
}

/// Keeps how the registers of a catalogue's counters come about. Of one that is not configured what was known stays.
///
/// # Errors
/// When `facts.db` cannot be read or written.
pub fn keep(facts: &Facts, catalogue: &Catalogue) -> Result<(), StoreError> {
    let before = kept(facts)?;
    let mut now = before.clone();
    now.extend(sources(catalogue).map(|(point, _, is)| (point.0, is)));
    if now == before {
        return Ok(());
    }
    let text = serde_json::to_vec(&now).map_err(|error| StoreError::Damaged(error.to_string()))?;
    facts.set_item(ITEM, &text)
}

/// The same, where a failure must not hold anything up.
pub fn keep_or_warn(facts: &Facts, catalogue: &Catalogue) {
    if let Err(error) = keep(facts, catalogue) {
        warn!(error = %error, "how counters are read could not be kept; what changed counts as changed at the next start too");
    }
}

fn kept(facts: &Facts) -> Result<BTreeMap<u32, String>, StoreError> {
    let Some(text) = facts.item(ITEM)? else { return Ok(BTreeMap::new()) };
    serde_json::from_slice(&text).map_err(|error| StoreError::Damaged(format!("`{ITEM}` of facts.db: {error}")))
}

fn sources(catalogue: &Catalogue) -> impl Iterator<Item = (PointId, String, String)> {
    let counters = rule::has_totals(catalogue).filter(|point| point.identity.kind == Kind::Counter);
    counters.map(move |point| (point.id, point.identity.stable_id.clone(), register_source(catalogue, point)))
}
