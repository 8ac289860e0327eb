//! One point: quantity, unit, reference state, ranges.

use super::super::place::{At, Place};
use super::super::problem::Problems;
use super::super::quantity::{QUANTITIES, Quantity};
use super::super::raw::RawPoint;
use super::super::read::nearest;
use super::super::spec::{Point, PointSource};
use super::super::text::{Exact, series_part};
use super::rules::rules;
use super::{check_id, convertible, labels, names, unit};
use crate::model::{Decimal, Dimension, Kind, Medium, PointId, PointIdentity, ReferenceState, Unit};

/// Words that end a quantity's name only in the series of closed totals, `park_<quantity>_<period>_<unit>`.
const PERIODS: [&str; 6] = ["_minute", "_hour", "_day", "_month", "_year", "_current"];
/// Decimals of a point whose quantity has no default.
const DECIMALS_DEFAULT: u8 = 3;

/// Checks a point and makes it, all but its number and its source. `None` when medium, kind or unit stay unknown.
pub(super) fn point(raw: &At<RawPoint>, owner: &str, device: &str, problems: &mut Problems) -> Option<Point> {
    check_id(&raw.id, problems);
    let quantity_text = raw.quantity.as_ref().unwrap_or(&raw.id);
    let known = Quantity::of(quantity_text);
    check_quantity(quantity_text, known, raw, problems);

    let medium = raw.medium.or(known.map(|known| known.medium));
    let kind = raw.kind.as_ref().map(|kind| kind.value).or(known.map(|known| known.kind));
    let wants_normal = raw.reference.as_ref().is_some_and(|reference| reference.value == ReferenceState::ZeroDegrees);
    let unit = match &raw.unit {
        Some(text) => unit(text, problems),
        None => known.and_then(|known| known.unit(wants_normal)),
    };
    let (medium, kind, unit) = (medium?, kind?, unit?);
    if let (Some(known), Some(text)) = (known, &raw.unit) {
        let usual = [known.unit(false), known.unit(true)];
        if let Some(first) = usual[0].filter(|_| usual.iter().flatten().all(|usual| usual.dimension() != unit.dimension())) {
            let help = "correct the unit, or name another quantity: indicators that look for this one do not count it";
            problems.warn(text.place, format!("`{}` is known in {first}, and {unit} is no unit for that", known.name), help);
        }
    }
    if medium == Medium::Gateway {
        problems.add(raw.id.place, "medium `gateway` is kept for the gateway's own metrics", "name what the meter measures");
    }
    let reference = reference(raw, quantity_text, medium, unit, problems);
    let raw_unit = raw_unit(raw, unit, problems);
    let decimals_default = if kind == Kind::State { 0 } else { DECIMALS_DEFAULT };
    let decimals = raw.decimals.or(known.map(|known| known.decimals)).unwrap_or(decimals_default);
    let number = |value: &Option<At<Exact>>| value.as_ref().map(|exact| exact.0);
    check_numbers(raw, kind, decimals, problems);
    if raw.formula.is_some() && kind != Kind::Gauge {
        let place = raw.kind.as_ref().map_or(raw.id.place, |kind| kind.place);
        problems.add(place, format!("a point with a `formula` is a gauge, not a {}", kind.name()), "set kind = \"gauge\"");
    }
    let compliance = raw.compliance.unwrap_or(medium == Medium::Emission);
    let rules = rules(raw, kind, decimals, compliance, problems);

    Some(Point {
        id: PointId(0),
        identity: PointIdentity { stable_id: format!("{owner}/{device}/{}", raw.id.value), kind, unit, decimals },
        device: device.to_owned(),
        local_id: raw.id.value.clone(),
        name: names(raw.name.as_ref(), &raw.id),
        quantity: quantity_text.value.clone(),
        medium,
        reference,
        raw_unit,
        scale: number(&raw.scale).unwrap_or(Decimal::ONE),
        offset: number(&raw.offset).unwrap_or(Decimal::ZERO),
        valid_min: number(&raw.valid_min),
        valid_max: number(&raw.valid_max),
        modulus: number(&raw.modulus),
        rate_max_per_hour: number(&raw.rate_max_per_hour),
        interval_ms: raw.interval_ms,
        rules,
        compliance,
        role: raw.role.as_ref().map(|role| role.value.clone()),
        labels: labels(&raw.labels, problems),
        source: PointSource::Mqtt,
    })
}

/// The name must do in a series name; one that is not known needs medium, kind and unit.
fn check_quantity(text: &At<String>, known: Option<&Quantity>, raw: &At<RawPoint>, problems: &mut Problems) {
    if known.is_some() {
        return;
    }
    if let Err(message) = series_part(text) {
        problems.add(text.place, format!("quantity {message}"), "it becomes part of the series name park_<quantity>_<unit>");
    }
    if let Some(period) = PERIODS.iter().find(|period| text.ends_with(*period)) {
        problems.add(text.place, format!("a quantity must not end in `{period}`"), "series names of closed totals end so");
    }
    let mut missing = Vec::new();
    if raw.medium.is_none() && raw.lacks("medium") {
        missing.push("medium");
    }
    if raw.kind.is_none() && raw.lacks("kind") {
        missing.push("kind");
    }
    if raw.unit.is_none() && raw.lacks("unit") {
        missing.push("unit");
    }
    if !missing.is_empty() {
        let near = nearest(text, QUANTITIES.iter().map(|quantity| quantity.name));
        let give = format!("give {}", missing.join(", "));
        let help =
            near.map_or_else(|| format!("{give}, or `quantity` with a known name"), |near| format!("did you mean `{near}`? Else {give}"));
        problems.add(text.place, format!("`{}` is no known quantity", text.value), help);
    }
}

fn is_volume(dimension: Dimension) -> bool {
    matches!(dimension, Dimension::Volume | Dimension::Flow)
}

fn is_normal(dimension: Dimension) -> bool {
    matches!(dimension, Dimension::NormalVolume | Dimension::NormalFlow)
}

/// The reference state: told for every gas volume and flow, and nowhere in contradiction to the unit.
fn reference(raw: &At<RawPoint>, quantity: &At<String>, medium: Medium, unit: Unit, problems: &mut Problems) -> Option<ReferenceState> {
    let gas = medium == Medium::Gas || (medium == Medium::Emission && quantity.starts_with("flue_gas"));
    let dimension = unit.dimension();
    let unit_place = raw.unit.as_ref().map_or(raw.id.place, |unit| unit.place);
    match &raw.reference {
        None if is_normal(dimension) => Some(ReferenceState::ZeroDegrees),
        None if gas && is_volume(dimension) && raw.lacks("reference") => {
            let help = "add reference = \"zero_degrees\" (Nm3), \"twenty_degrees\" or \"as_is\": the same gas differs by 7 % between them";
            problems.add(raw.id.place, format!("gas in {unit} needs its reference state"), help);
            None
        }
        None => None,
        Some(state) if is_normal(dimension) && state.value != ReferenceState::ZeroDegrees => {
            let message = format!("{unit} is gas at zero_degrees, not {}", state.name());
            problems.conflict(state.place, message, "change the unit to m3, or the reference", unit_place, "the unit");
            None
        }
        Some(state) if is_volume(dimension) && state.value == ReferenceState::ZeroDegrees => {
            let normal = if dimension == Dimension::Flow { "Nm3/h" } else { "Nm3" };
            let message = format!("gas at zero_degrees is in {normal}, not {unit}");
            problems.conflict(state.place, message, format!("write unit = \"{normal}\""), unit_place, "the unit");
            None
        }
        Some(state) if !is_volume(dimension) && !is_normal(dimension) => {
            problems.add(
                state.place,
                format!("a value in {unit} has no reference state"),
                "remove `reference`: it is for gas volumes and flows",
            );
            None
        }
        Some(state) => Some(state.value),
    }
}

/// The unit of the device's number, which must convert to the stored one.
fn raw_unit(raw: &At<RawPoint>, canonical: Unit, problems: &mut Problems) -> Unit {
    let Some(text) = &raw.raw_unit else { return canonical };
    let Some(found) = unit(text, problems) else { return canonical };
    if found.conversion_to(canonical).is_none() {
        problems.add(text.place, format!("{found} cannot be converted to {canonical}"), convertible(canonical));
    }
    found
}

fn check_numbers(raw: &At<RawPoint>, kind: Kind, decimals: u8, problems: &mut Problems) {
    if let Some(scale) = &raw.scale
        && scale.0.mantissa == 0
    {
        problems.add(scale.place, "a scale of 0 makes every value 0", "");
    }
    for (key, value) in [("modulus", &raw.modulus), ("rate_max_per_hour", &raw.rate_max_per_hour)] {
        let Some(value) = value else { continue };
        if kind != Kind::Counter {
            problems.add(
                value.place,
                format!("`{key}` is for counters; this is a {}", kind.name()),
                format!("remove `{key}`, or set kind = \"counter\""),
            );
        }
        if value.0.mantissa <= 0 {
            problems.add(value.place, format!("`{key}` must be above 0"), "");
        }
    }
    for (key, value) in [("valid_min", &raw.valid_min), ("valid_max", &raw.valid_max), ("modulus", &raw.modulus)] {
        if let Some(value) = value
            && value.0.to_mantissa(decimals).is_none()
        {
            problems.add(value.place, format!("`{key}` does not fit 64 bits at {decimals} decimals"), "");
        }
    }
    if let (Some(min), Some(max)) = (&raw.valid_min, &raw.valid_max)
        && min.0.cmp_value(max.0) == std::cmp::Ordering::Greater
    {
        let other: Place = max.place;
        problems.conflict(min.place, format!("valid_min {} is above valid_max {}", min.0, max.0), "", other, "valid_max");
    }
}
