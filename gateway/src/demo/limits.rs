//! Limits of the demo's outlets. Examples that show how judging works, far from any permit; entered once.

use std::sync::Arc;

use parkgate_collector::catalogue::Catalogue;
use parkgate_collector::model::UtcMillis;
use parkgate_rules::Number;
use parkgate_rules::emission::limit::{AppliesTo, Bound};
use parkgate_rules::emission::time::UtcMillis as Time;
use parkgate_rules::emission::{Averaging, Outlet};

use super::park::EPOCH;
use crate::emission::entered::enter_limit;
use crate::emission::{Author, LimitStep, NewLimit, Plan};
use crate::store::{EntryKind, Facts, StoreError};

/// Who the entries are by.
const AUTHOR: &str = "demo";
/// Where the numbers come from: nowhere.
const CLAUSE: &str = "演示示例，非官方限值 / example of the demo, not an official limit";

/// Outlet, factor, averaging, value in hundredths, what it looks at, which side.
const LIMITS: [(&str, &str, Averaging, i128, AppliesTo, Bound); 7] = [
    ("boiler-stack", "so2", Averaging::Hour, 35_00, AppliesTo::Converted, Bound::Upper),
    ("boiler-stack", "nox", Averaging::Hour, 45_00, AppliesTo::Converted, Bound::Upper),
    ("boiler-stack", "dust", Averaging::Hour, 10_00, AppliesTo::Converted, Bound::Upper),
    ("waste-water", "cod", Averaging::Day, 45_00, AppliesTo::AsIs, Bound::Upper),
    ("waste-water", "nh3n", Averaging::Day, 5_00, AppliesTo::AsIs, Bound::Upper),
    ("waste-water", "ph", Averaging::Day, 9_00, AppliesTo::AsIs, Bound::Upper),
    ("waste-water", "ph", Averaging::Day, 6_00, AppliesTo::AsIs, Bound::Lower),
];

/// Enters them, unless limits were entered before.
///
/// # Errors
/// When the facts cannot be written.
pub fn enter(facts: &Facts, catalogue: &Arc<Catalogue>, outlets: &[Outlet], now: UtcMillis) -> Result<(), StoreError> {
    if facts.last_entry(EntryKind::Limit)? > 0 {
        return Ok(());
    }
    let plan = Plan::new(catalogue, outlets, &[]);
    let author = Author { name: AUTHOR.into(), document: None };
    for (outlet, factor, averaging, hundredths, applies_to, bound) in LIMITS {
        let limit = NewLimit {
            outlet: outlet.into(),
            factor: factor.into(),
            averaging,
            value: Number::decimal(hundredths, 2),
            unit: None,
            applies_to,
            bound,
            clause: CLAUSE.into(),
            valid_from: Time(EPOCH.0),
            valid_to: None,
        };
        if let Err(refusal) = enter_limit(facts, &plan, LimitStep::Add(limit), &author, now)? {
            tracing::warn!(outlet, factor, error = %refusal, "a limit of the demo was not entered");
        }
    }
    Ok(())
}
