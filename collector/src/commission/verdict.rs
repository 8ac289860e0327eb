//! The judgement of one point by what its device answered: the value, whether it can be right, and what to do. Pure.

use serde::Serialize;

use super::profile_test::reading;
use crate::catalogue::Point;
use crate::catalogue::text::byte_order;
use crate::model::{Decimal, Number, Reason};
use crate::protocol::modbus::{RegisterName, RegisterSource, RegisterType, number};

/// Byte orders by which a device may differ, as a profile names them; they stand for two, four and eight bytes.
pub const ORDERS: [&str; 4] = ["ABCD", "CDAB", "BADC", "DCBA"];
/// Two more for eight bytes.
const ORDERS_WIDE: [&str; 2] = ["CDABGHEF", "EFGHABCD"];
/// A float nearer to 0 than this, and not 0, is no measured value but bytes in the wrong order.
const NEXT_TO_NOTHING: f64 = 1e-20;

/// What became of a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Judgement {
    /// A number inside the valid range.
    Plausible,
    /// The device's own marker for "no value".
    NotAvailable,
    /// NaN, infinity, or bits that are no number of this type.
    NotANumber,
    /// A number outside the valid range.
    OutOfRange,
    /// A float so near to 0 that nothing measures it.
    NextToNothing,
    /// A number that does not fit 64 bits.
    Overflow,
    /// Nothing was answered for it.
    NoAnswer,
}

/// A point as the device answered it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PointReport {
    /// Id within the device.
    pub point: String,
    /// Where it is, as manuals write it.
    pub register: String,
    /// Function code.
    pub function: u8,
    /// 0-based protocol address.
    pub address: u16,
    /// Its words as they arrived, in hexadecimal; its bit for coils and inputs; empty without an answer.
    pub words: String,
    /// Its value in the stored unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The stored unit.
    pub unit: &'static str,
    /// Lowest valid value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_min: Option<String>,
    /// Highest valid value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_max: Option<String>,
    /// What became of it.
    pub judgement: Judgement,
    /// Other byte orders in which it would be plausible, each with the value; only where it is not plausible as it is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub other_orders: Vec<(String, String)>,
    /// What to do; empty where all is well.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

/// Judges a point by the data of its block's answer; `None`: the block was not answered.
pub fn judge(point: &Point, source: &RegisterSource, answer: Option<(&[u8], u16)>) -> PointReport {
    let quantity = source.register_type.registers();
    let name = RegisterName { function: source.function, address: source.address, quantity };
    let mut report = PointReport {
        point: point.local_id.clone(),
        register: name.to_string(),
        function: source.function.code(),
        address: source.address,
        words: String::new(),
        value: None,
        unit: point.identity.unit.symbol(),
        valid_min: point.valid_min.map(|limit| limit.to_string()),
        valid_max: point.valid_max.map(|limit| limit.to_string()),
        judgement: Judgement::NoAnswer,
        other_orders: Vec::new(),
        remedy: String::new(),
    };
    let Some((data, offset)) = answer else {
        report.remedy = "see the block".to_owned();
        return report;
    };
    report.words = words(source, data, offset);
    let (value, judgement) = look(point, number(source, data, offset));
    report.value = value.map(|value| value.to_string());
    report.judgement = judgement;
    if !matches!(judgement, Judgement::Plausible | Judgement::NotAvailable) {
        report.other_orders = other_orders(point, source, data, offset);
    }
    report.remedy = remedy(&report, point);
    report
}

/// Value and judgement of a number.
fn look(point: &Point, number: Number) -> (Option<Decimal>, Judgement) {
    let tiny = match number {
        Number::F32(value) => value != 0.0 && f64::from(value).abs() < NEXT_TO_NOTHING,
        Number::F64(value) => value != 0.0 && value.abs() < NEXT_TO_NOTHING,
        _ => false,
    };
    let (value, reason) = reading(point, number);
    let judgement = match reason {
        Reason::None if tiny => Judgement::NextToNothing,
        Reason::None => Judgement::Plausible,
        Reason::Range => Judgement::OutOfRange,
        Reason::NotAvailable => Judgement::NotAvailable,
        Reason::Overflow => Judgement::Overflow,
        Reason::BadAnswer => Judgement::NoAnswer,
        _ => Judgement::NotANumber,
    };
    (value, judgement)
}

/// The orders beside its own in which a point would be plausible.
fn other_orders(point: &Point, source: &RegisterSource, data: &[u8], offset: u16) -> Vec<(String, String)> {
    if source.function.reads_bits() || matches!(source.register_type, RegisterType::Bit(_) | RegisterType::Text { .. }) {
        return Vec::new();
    }
    let length = source.order.length;
    let names: Vec<&str> = match length {
        2 => vec!["AB", "BA"],
        8 => ORDERS.into_iter().chain(ORDERS_WIDE).collect(),
        _ => ORDERS.to_vec(),
    };
    let mut found: Vec<(String, String)> = Vec::new();
    for name in names {
        let Ok(order) = byte_order(name, length) else { continue };
        if order.permutation == source.order.permutation {
            continue;
        }
        if let (Some(value), Judgement::Plausible) = look(point, number(&RegisterSource { order, ..source.clone() }, data, offset)) {
            found.push((name.to_owned(), format!("{value} {}", point.identity.unit)));
        }
    }
    found
}

/// The words of a point as they arrived, and that of its scale register.
fn words(source: &RegisterSource, data: &[u8], offset: u16) -> String {
    if source.function.reads_bits() {
        let byte = data.get(usize::from(offset >> 3));
        return byte.map_or(String::new(), |byte| (byte >> (offset & 7) & 1).to_string());
    }
    let (first, _) = source.span();
    let pair = |pair: &[u8]| pair.iter().map(|byte| format!("{byte:02X}")).collect::<String>();
    let from = |address: u16, count: u16| {
        let start = usize::from(offset).saturating_add(usize::from(address.saturating_sub(first))).saturating_mul(2);
        let end = usize::from(count).saturating_mul(2).saturating_add(start);
        data.get(start..end).unwrap_or_default().chunks(2).map(pair).collect::<Vec<_>>().join(" ")
    };
    let value = from(source.address, source.register_type.registers());
    source.scale_register.map_or(value.clone(), |scale| format!("{value} scale {}", from(scale, 1)))
}

fn remedy(report: &PointReport, point: &Point) -> String {
    let found = match report.judgement {
        Judgement::Plausible => return String::new(),
        Judgement::NotAvailable => return "the device says that it has no value: not connected, or not measured by this model".to_owned(),
        Judgement::NoAnswer => return "see the block".to_owned(),
        Judgement::OutOfRange => format!(
            "outside {} to {}",
            point.valid_min.map_or("-".to_owned(), |limit| limit.to_string()),
            point.valid_max.map_or("-".to_owned(), |limit| limit.to_string())
        ),
        Judgement::NextToNothing => "a float next to nothing: not measured, or its bytes are in another order".to_owned(),
        Judgement::NotANumber => "no number of this type".to_owned(),
        Judgement::Overflow => "too large for 64 bits".to_owned(),
    };
    if report.other_orders.is_empty() {
        return format!(
            "{found}, and so in every byte order: compare address, type, scale and valid range with the manual and the display"
        );
    }
    let orders: Vec<String> = report.other_orders.iter().map(|(order, value)| format!("{order} would be {value}")).collect();
    format!("{found}; {}: compare with the display and set `order`", orders.join(", "))
}

/// The one order, as a profile names it, that makes all of a device's values of several registers plausible when some
/// are not as they are; `None` where there is no such, or several.
pub fn order_for_all<'a>(points: impl Iterator<Item = (&'a Point, &'a RegisterSource, &'a [u8], u16)> + Clone) -> Option<&'static str> {
    let is_text = |source: &RegisterSource| matches!(source.register_type, RegisterType::Text { .. });
    let long = points.filter(move |(_, source, ..)| source.register_type.registers() > 1 && !is_text(source));
    let is_fine = |judgement| matches!(judgement, Judgement::Plausible | Judgement::NotAvailable);
    if long.clone().all(|(point, source, data, offset)| is_fine(look(point, number(source, data, offset)).1)) {
        return None;
    }
    let suits = |name: &&&'static str| {
        long.clone().all(|(point, source, data, offset)| {
            let order = byte_order(name, source.order.length);
            order.is_ok_and(|order| is_fine(look(point, number(&RegisterSource { order, ..source.clone() }, data, offset)).1))
        })
    };
    let mut suiting = ORDERS.iter().filter(suits);
    match (suiting.next(), suiting.next()) {
        (Some(order), None) => Some(order),
        _ => None,
    }
}
