//! Rules and formulas of points: which go together, and whether a formula's units do.

use std::collections::{BTreeMap, HashMap};

use super::super::place::{At, Place};
use super::super::problem::Problems;
use super::super::raw::RawPoint;
use super::super::read::suggestion;
use super::super::rules::{
    Formula, MAX_AGE_DEFAULT_MS, MAX_SILENCE_DEFAULT_MS, Nameplate, OnChange, Operation, PointRules, RawFormula, RawNameplate,
};
use super::super::spec::{Point, PointSource};
use super::DraftDevice;
use crate::model::combine::{is_linear, product_factor, quotient_factor};
use crate::model::{Decimal, Dimension, Kind, Unit};

/// Formulas upon formulas, at most.
const DEPTH_MAX: usize = 8;

/// How a device's energy is compared with its power.
pub(super) fn nameplate(raw: Option<&At<RawNameplate>>, problems: &mut Problems) -> Nameplate {
    let usual = Nameplate::default();
    let Some(raw) = raw else { return usual };
    for (key, number) in [("energy_multiplier", &raw.energy_multiplier), ("rated_power_kw", &raw.rated_power_kw)] {
        if let Some(number) = number.as_ref().filter(|number| number.0.mantissa <= 0) {
            problems.add(number.place, format!("`{key}` must be above 0"), "");
        }
    }
    Nameplate {
        check: raw.check.unwrap_or(usual.check),
        window_ms: raw.window_minutes.map_or(usual.window_ms, |minutes| i64::from(minutes).saturating_mul(60_000)),
        tolerance_percent: raw.tolerance_percent.unwrap_or(usual.tolerance_percent),
        energy_multiplier: raw.energy_multiplier.as_ref().map_or(usual.energy_multiplier, |number| number.0),
        rated_power_kw: raw.rated_power_kw.as_ref().map(|number| number.0),
    }
}

/// The rules of a point; `None` when it has none.
pub(super) fn rules(raw: &At<RawPoint>, kind: Kind, decimals: u8, compliance: bool, problems: &mut Problems) -> Option<Box<PointRules>> {
    if let Some(limit) = &raw.change_max_per_minute {
        if kind != Kind::Gauge {
            let help = if kind == Kind::Counter { "a counter has `rate_max_per_hour`" } else { "remove it" };
            problems.add(limit.place, format!("`change_max_per_minute` is for gauges; this is a {}", kind.name()), help);
        }
        if limit.0.mantissa <= 0 {
            problems.add(limit.place, "`change_max_per_minute` must be above 0", "");
        }
    }
    if let Some(flat) = &raw.flat_after_ms {
        if kind == Kind::State {
            problems.add(flat.place, "`flat_after_ms` is for gauges and counters; a state may stay as it is", "remove it");
        }
        if flat.value < 1_000 {
            problems.add(flat.place, "`flat_after_ms` must be at least 1000", "it is in milliseconds: 3600000 is an hour");
        }
    }
    let rules = PointRules {
        on_change: on_change(raw, kind, decimals, compliance, problems),
        flat_after_ms: raw.flat_after_ms.as_ref().map(|flat| flat.value),
        change_max_per_minute: raw.change_max_per_minute.as_ref().map(|limit| limit.0),
    };
    (rules != PointRules::default()).then(|| rules.into())
}

fn on_change(raw: &At<RawPoint>, kind: Kind, decimals: u8, compliance: bool, problems: &mut Problems) -> Option<OnChange> {
    let written = raw.on_change.as_ref()?;
    let deadband = written.deadband.as_ref().map_or(Decimal::ZERO, |deadband| deadband.0);
    let place = written.deadband.as_ref().map_or(written.place, |deadband| deadband.place);
    if kind == Kind::Counter {
        let help = "remove `on_change`: without the last register before a change its consumption would count for the time before";
        problems.add(written.place, "`on_change` cannot be used for a counter", help);
    }
    if compliance {
        let help = "remove `on_change`, or set compliance = false: minute and hour records of compliance points count values";
        problems.add(written.place, "`on_change` cannot be used for a compliance point", help);
    }
    if deadband.mantissa < 0 || deadband.to_mantissa(decimals).is_none() {
        problems.add(place, format!("`deadband` must be 0 or above and fit 64 bits at {decimals} decimals"), "");
    }
    if kind == Kind::State && deadband.mantissa != 0 {
        problems.add(place, "a state has no `deadband`: its numbers are codes", "remove it");
    }
    if let Some(limit) = &raw.change_max_per_minute {
        let help = "keep one: with values left out nobody can tell how fast it changed";
        problems.conflict(limit.place, "`change_max_per_minute` and `on_change` exclude each other", help, written.place, "also here");
    }
    if let (Some(flat), true) = (&raw.flat_after_ms, deadband.mantissa != 0) {
        let help = "keep one: with small changes left out nobody can tell a flat line";
        problems.conflict(flat.place, "`flat_after_ms` and a `deadband` exclude each other", help, place, "also here");
    }
    Some(OnChange { deadband, max_silence_ms: written.max_silence_ms.unwrap_or(MAX_SILENCE_DEFAULT_MS) })
}

/// A formula, and where each of its inputs is written.
#[derive(Debug)]
pub(super) struct Written {
    place: Place,
    inputs: Vec<Place>,
}

/// The formula of a point: its form. Whether its inputs fit is told by [`resolve`].
pub(super) fn formula(raw: &At<RawPoint>, owner: &str, device: &str, problems: &mut Problems) -> Option<(Formula, Written)> {
    let written = raw.formula.as_ref()?;
    let foreign = [
        ("register", raw.register.as_ref().map(|at| at.place)),
        ("path", raw.path.as_ref().map(|at| at.place)),
        ("column", raw.column.as_ref().map(|at| at.place)),
        ("topic", raw.topic.as_ref().map(|at| at.place)),
        ("priority", raw.priority.as_ref().map(|at| at.place)),
        ("raw_unit", raw.raw_unit.as_ref().map(|at| at.place)),
        ("scale", raw.scale.as_ref().map(|at| at.place)),
        ("offset", raw.offset.as_ref().map(|at| at.place)),
    ];
    for (key, place) in foreign.iter().filter_map(|(key, place)| Some((key, (*place)?))) {
        problems.add(place, format!("a point with a `formula` has no `{key}`"), "it is not read from the device; remove the key");
    }
    let RawFormula { sum, difference, product, ratio, max_age_ms } = &written.value;
    let given: Vec<(Operation, &Vec<At<String>>)> =
        [(Operation::Sum, sum), (Operation::Difference, difference), (Operation::Product, product), (Operation::Ratio, ratio)]
            .into_iter()
            .filter_map(|(operation, inputs)| Some((operation, inputs.as_ref()?)))
            .collect();
    let [(operation, inputs)] = given.as_slice() else {
        if given.len() > 1 || ["sum", "difference", "product", "ratio"].iter().all(|key| written.lacks(key)) {
            let help = "for example formula = { sum = [\"active_power\", \"acme/pv-1/active_power\"] }";
            problems.add(written.place, "a formula is one of `sum`, `difference`, `product` and `ratio`", help);
        }
        return None;
    };
    let exactly_two = matches!(operation, Operation::Product | Operation::Ratio);
    if inputs.len() < 2 || exactly_two && inputs.len() != 2 {
        let count = if exactly_two { "two" } else { "at least two" };
        problems.add(written.place, format!("a {} has {count} inputs", operation.name()), "name points by their ids");
        return None;
    }
    let stable_id = |input: &At<String>| {
        if input.contains('/') { input.value.clone() } else { format!("{owner}/{device}/{}", input.value) }
    };
    let formula = Formula {
        operation: *operation,
        inputs: inputs.iter().map(stable_id).collect(),
        max_age_ms: max_age_ms.unwrap_or(MAX_AGE_DEFAULT_MS),
    };
    Some((formula, Written { place: written.place, inputs: inputs.iter().map(|input| input.place).collect() }))
}

/// What a formula needs to know of its inputs.
#[derive(Clone, Copy)]
struct Input {
    kind: Kind,
    unit: Unit,
    interval_ms: Option<u32>,
    max_silence_ms: Option<u32>,
}

/// Looks up the inputs of all formulas: they are there, gauges, come often enough, and their units combine; no formula
/// leads back to itself. A formula's interval is the longest of its inputs where it has none of its own.
pub(super) fn resolve(devices: &mut [DraftDevice], problems: &mut Problems) {
    let points = || devices.iter().flat_map(|device| &device.points);
    if !points().any(|draft| draft.formula.is_some()) {
        return;
    }
    let known: HashMap<String, Input> = points().map(|draft| (draft.point.identity.stable_id.clone(), input(&draft.point))).collect();
    let formulas: BTreeMap<String, Formula> = points()
        .filter_map(|draft| match &draft.point.source {
            PointSource::Formula(formula) => Some((draft.point.identity.stable_id.clone(), formula.clone())),
            _ => None,
        })
        .collect();
    let (mut intervals, mut told) = (HashMap::new(), HashMap::new());
    for draft in points() {
        let (PointSource::Formula(formula), Some(written)) = (&draft.point.source, &draft.formula) else { continue };
        if depth(&draft.point.identity.stable_id, &formulas, 0, &mut told).is_none() {
            let message = format!("`{}` needs itself, or more than {DEPTH_MAX} formulas one upon the other", draft.point.local_id);
            problems.add(written.place, message, "name points that are measured");
            continue;
        }
        if let Some(interval) = check(&draft.point, formula, written, &known, problems) {
            intervals.insert(draft.point.identity.stable_id.clone(), interval);
        }
    }
    for draft in devices.iter_mut().flat_map(|device| &mut device.points) {
        if draft.formula.is_some() {
            let interval = intervals.get(&draft.point.identity.stable_id).copied();
            draft.point.interval_ms = draft.point.interval_ms.or(interval);
        }
    }
}

fn input(point: &Point) -> Input {
    Input {
        kind: point.identity.kind,
        unit: point.identity.unit,
        interval_ms: point.interval_ms,
        max_silence_ms: point.on_change().map(|on_change| on_change.max_silence_ms),
    }
}

/// Formulas one upon the other from a point down; `None` for a cycle or too many. `above` are those that led here, `told`
/// what was found of others before.
fn depth<'a>(id: &'a str, formulas: &'a BTreeMap<String, Formula>, above: usize, told: &mut HashMap<&'a str, usize>) -> Option<usize> {
    let Some(formula) = formulas.get(id) else { return Some(0) };
    let mut deepest = told.get(id).copied();
    if deepest.is_none() && above < DEPTH_MAX {
        let below = above.saturating_add(1);
        deepest = formula
            .inputs
            .iter()
            .try_fold(1, |deepest: usize, input| Some(deepest.max(depth(input, formulas, below, told)?.saturating_add(1))));
    }
    let deepest = deepest.filter(|deepest| above.saturating_add(*deepest) <= DEPTH_MAX)?;
    told.insert(id, deepest);
    Some(deepest)
}

/// Checks a formula against its inputs; returns the longest of their intervals where all are known.
fn check(point: &Point, formula: &Formula, written: &Written, known: &HashMap<String, Input>, problems: &mut Problems) -> Option<u32> {
    let mut units = Vec::new();
    let mut longest = Some(0);
    for (id, &place) in formula.inputs.iter().zip(&written.inputs) {
        let Some(input) = known.get(id) else {
            let mut ids: Vec<&str> = known.keys().map(String::as_str).collect();
            ids.sort_unstable();
            problems.add(place, format!("there is no point `{id}`"), suggestion(id, &ids, "there are"));
            continue;
        };
        if input.kind != Kind::Gauge {
            let help = "totals of counters are added over periods, where exchanges and gaps are known";
            problems.add(place, format!("`{id}` is a {}; a formula is made of gauges", input.kind.name()), help);
            continue;
        }
        let expected = input.interval_ms.unwrap_or(0).max(input.max_silence_ms.unwrap_or(0));
        if expected > formula.max_age_ms {
            let message = format!("`{id}` comes every {expected} ms and would always be too old for max_age_ms = {}", formula.max_age_ms);
            problems.add(place, message, format!("set max_age_ms = {} or more", expected.saturating_mul(2)));
        }
        longest = longest.zip(input.interval_ms).map(|(longest, interval)| interval.max(longest));
        units.push(input.unit);
    }
    if units.len() == formula.inputs.len()
        && let Some((message, help)) = unit_problem(formula.operation, &units, point.identity.unit)
    {
        problems.add(written.place, message, help);
    }
    longest.filter(|&interval| interval > 0)
}

/// What is wrong with the units of a formula, and what to do.
fn unit_problem(operation: Operation, inputs: &[Unit], unit: Unit) -> Option<(String, String)> {
    let shown: Vec<&str> = inputs.iter().map(|unit| unit.symbol()).collect();
    let first = *inputs.first()?;
    let last = *inputs.last()?;
    let fits = match operation {
        Operation::Product => product_factor(first, last, unit).is_some(),
        Operation::Ratio => quotient_factor(first, last, unit).is_some(),
        Operation::Sum => is_linear(unit.dimension()) && inputs.iter().all(|&input| input == unit),
        Operation::Difference if first.dimension() == Dimension::Temperature => unit.symbol() == "K" && inputs.len() == 2 && first == last,
        Operation::Difference => is_linear(unit.dimension()) && inputs.iter().all(|&input| input == unit),
    };
    if fits {
        return None;
    }
    let help = match operation {
        Operation::Sum => "inputs and result of a sum have one unit, not of temperature, sound or pH".to_owned(),
        Operation::Difference => {
            "inputs and result of a difference have one unit; of two temperatures in one unit the difference is in K".to_owned()
        }
        Operation::Product | Operation::Ratio => {
            let of = if operation == Operation::Product { product_factor } else { quotient_factor };
            let results: Vec<&str> = Unit::all().filter(|&result| of(first, last, result).is_some()).map(Unit::symbol).collect();
            if results.is_empty() {
                "the unit table knows no such combination".to_owned()
            } else {
                format!("set `unit` to one of {}", results.join(", "))
            }
        }
    };
    Some((format!("the {} of {} is not in {unit}", operation.name(), shown.join(" and ")), help))
}
