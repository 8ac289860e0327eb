//! One device, read once: every block, every point with its words, its value and whether it can be right, which variant
//! of its profile fits, and what to do about what does not.

use std::time::Instant;

use serde::Serialize;

use super::planned;
use super::sunspec::{Asked, SunSpec, walk};
use super::verdict::{Judgement, PointReport, judge, order_for_all};
use crate::catalogue::bench::Variant;
use crate::catalogue::{Device, DeviceAddress};
use crate::driver::modbus::{Asker, Unanswered};
use crate::model::{Decimal, Number};
use crate::protocol::modbus::{Function, RegisterName, Request, number};

/// In the id of a profile: the device has a chain of models.
const SUNSPEC: &str = "sunspec";

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Probe {
    /// Id of the device.
    pub device: String,
    /// Where it was asked.
    pub target: String,
    /// Unit identifier.
    pub unit_id: u8,
    /// Profile it is made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Its reads, in order.
    pub blocks: Vec<BlockReport>,
    /// Its points, in order of the configuration.
    pub points: Vec<PointReport>,
    /// How variants of the profile answered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<VariantReport>,
    /// The models of a SunSpec device, where its profile is of SunSpec.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sunspec: Option<SunSpec>,
    /// What concerns the device as a whole, for a person.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub advice: Vec<String>,
}

/// One read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BlockReport {
    /// What was asked for, as manuals write it.
    pub registers: String,
    /// Function code.
    pub function: u8,
    /// 0-based protocol address of the first.
    pub address: u16,
    /// How many.
    pub quantity: u16,
    /// Time to the answer, in microseconds.
    pub time_us: u64,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

/// The register by which a variant is recognised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VariantReport {
    /// Profile that fits when this does.
    pub profile: String,
    /// What was looked at.
    pub about: String,
    /// Where.
    pub register: String,
    /// What was found there, before any scale, or why nothing was.
    pub found: String,
    /// Whether it is what the variant has.
    pub fits: bool,
}

impl Probe {
    /// Whether everything was answered and can be right.
    pub fn is_fine(&self) -> bool {
        let fine = |point: &PointReport| matches!(point.judgement, Judgement::Plausible | Judgement::NotAvailable);
        self.points.iter().all(fine) && self.blocks.iter().all(|block| block.error.is_none()) && self.fits_variant()
    }

    fn fits_variant(&self) -> bool {
        let own = |variant: &VariantReport| self.profile.as_deref() == Some(variant.profile.as_str());
        self.variants.is_empty() || self.variants.iter().any(|variant| variant.fits && own(variant))
    }
}

/// Reads a device once; `None` when it is no Modbus device.
pub async fn probe(device: &Device, variants: &[Variant]) -> Option<Probe> {
    let DeviceAddress::Modbus(address) = &device.address else { return None };
    let (points, plan) = planned(device)?;
    let mut asker = Asker::new(&device.link)?;
    let target = device.link.driver.peer();

    let mut blocks = Vec::new();
    let mut answers: Vec<Option<Vec<u8>>> = Vec::new();
    let mut unreachable = false;
    for block in &plan.blocks {
        let request = Request { unit_id: address.unit_id, function: block.function, address: block.address, quantity: block.quantity };
        let started = Instant::now();
        // Without a connection the other blocks would only wait as long again.
        let answer =
            if unreachable { Err(Unanswered::Lost("not asked".to_owned())) } else { asker.ask(&request, address.check_unit).await };
        unreachable |= matches!(answer, Err(Unanswered::NoConnection(_)));
        let time_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let failure = answer.as_ref().err();
        blocks.push(BlockReport {
            registers: request.name().to_string(),
            function: block.function.code(),
            address: block.address,
            quantity: block.quantity,
            time_us,
            error: failure.map(said),
            remedy: failure.map_or(String::new(), |why| remedy(why, block.function, block.quantity)),
        });
        answers.push(answer.ok());
    }
    let place = |index: usize| {
        plan.blocks.iter().zip(&answers).find_map(|(block, answer)| {
            let member = block.members.iter().find(|member| member.index == index)?;
            answer.as_deref().map(|data| (data, member.offset))
        })
    };
    let reports = points.iter().enumerate().map(|(index, (point, source))| judge(point, source, place(index))).collect();
    let answered = points.iter().enumerate().filter_map(|(index, (point, source))| {
        let (data, offset) = place(index)?;
        Some((point.as_ref(), *source, data, offset))
    });
    let mut advice: Vec<String> = plan
        .refused
        .iter()
        .map(|(index, refusal)| {
            format!("point {} cannot be read: {refusal}", points.get(*index).map_or("", |(point, _)| point.local_id.as_str()))
        })
        .collect();
    if let Some(order) = order_for_all(answered) {
        advice.push(format!("all values of several registers are plausible as {order}: set order = \"{order}\" under [modbus]"));
    }
    let silent = blocks.iter().all(|block| block.error.is_some());
    let variants = if silent { Vec::new() } else { ask_variants(&mut asker, address.unit_id, address.check_unit, variants).await };
    advice.extend(variant_advice(device.profile.as_deref(), &variants));
    let is_sunspec = device.profile.as_deref().is_some_and(|id| id.contains(SUNSPEC));
    let sunspec = if is_sunspec && !silent {
        walk(&mut Asked { asker: &mut asker, unit_id: address.unit_id, check_unit: address.check_unit }).await
    } else {
        None
    };
    Some(Probe {
        device: device.id.clone(),
        target,
        unit_id: address.unit_id,
        profile: device.profile.clone(),
        blocks,
        points: reports,
        variants,
        sunspec,
        advice,
    })
}

async fn ask_variants(asker: &mut Asker, unit_id: u8, check_unit: bool, variants: &[Variant]) -> Vec<VariantReport> {
    let mut reports = Vec::new();
    for variant in variants {
        let source = &variant.source;
        let (address, quantity) = source.span();
        let request = Request { unit_id, function: source.function, address, quantity };
        let (found, fits) = match asker.ask(&request, check_unit).await {
            Ok(data) => recognise(variant, number(source, &data, 0)),
            Err(why) => (said(&why), false),
        };
        let register = RegisterName { function: source.function, address, quantity }.to_string();
        reports.push(VariantReport { profile: variant.profile.clone(), about: variant.about.clone(), register, found, fits });
    }
    reports
}

/// What a number says about a variant: as shown, and whether it fits.
fn recognise(variant: &Variant, number: Number) -> (String, bool) {
    let text = match number {
        Number::Exact(decimal) | Number::Canonical(decimal) => decimal.to_string(),
        Number::F32(value) => value.to_string(),
        Number::F64(value) => value.to_string(),
        Number::Missing(reason) => return (reason.name().to_owned(), false),
    };
    // A float that is too large or too small for an exact decimal is no value that a variant has.
    let fits = text.parse::<Decimal>().is_ok_and(|value| value.cmp_value(variant.min).is_ge() && value.cmp_value(variant.max).is_le());
    (text, fits)
}

/// Which profile to use, where variants tell.
fn variant_advice(profile: Option<&str>, variants: &[VariantReport]) -> Option<String> {
    let fitting: Vec<&VariantReport> = variants.iter().filter(|variant| variant.fits).collect();
    match fitting[..] {
        _ if variants.is_empty() => None,
        [] => Some("no known variant of the profile fits: compare its registers with the manual of this device".to_owned()),
        [one] if profile == Some(one.profile.as_str()) => None,
        [one] => Some(format!("{}: this is the variant of profile `{}`: name that one", one.about, one.profile)),
        _ => {
            let ids: Vec<&str> = fitting.iter().map(|variant| variant.profile.as_str()).collect();
            Some(format!("several variants fit ({}): compare a total with the display", ids.join(", ")))
        }
    }
}

fn said(why: &Unanswered) -> String {
    match why {
        Unanswered::NoConnection(text) | Unanswered::BadAnswer(text) | Unanswered::Lost(text) => text.clone(),
        Unanswered::Timeout => "no answer".to_owned(),
        Unanswered::Exception(exception) => exception.to_string(),
    }
}

/// What to do about a read that failed; an exception says it by itself.
fn remedy(why: &Unanswered, function: Function, quantity: u16) -> String {
    let other = match function {
        Function::HoldingRegisters => "input",
        Function::InputRegisters => "holding",
        Function::Coils => "discrete",
        Function::DiscreteInputs => "coil",
    };
    match why {
        Unanswered::NoConnection(_) => "check address, port and cabling; is Modbus TCP switched on in the device?".to_owned(),
        Unanswered::Timeout => {
            "check the unit id, the device's power and wiring (A and B swapped? speed and parity behind a converter?), or raise timeout_ms"
                .to_owned()
        }
        Unanswered::Exception(exception) => match exception.0 {
            1 => format!("try function = \"{other}\""),
            2 if quantity == 1 => format!("this model has no such address: look at the variant, and try function = \"{other}\" too"),
            2 => format!(
                "is one of the {quantity} addresses missing in this model? Lower max_gap, forbid it, or look at the variant; try function = \"{other}\" too"
            ),
            3 => format!("{quantity} at once may be too many: lower max_block"),
            4 => "the device has failed inside: look at its display, and try again".to_owned(),
            0x0A | 0x0B => {
                "the converter answers, the device behind it does not: check its unit id, power, wiring, speed and parity".to_owned()
            }
            _ => "try again; poll it less often".to_owned(),
        },
        Unanswered::BadAnswer(_) => "is this the device that was meant? Two devices with one unit id answer like this too".to_owned(),
        Unanswered::Lost(_) => "does another master hold the connection? Many devices take one at a time".to_owned(),
    }
}

#[cfg(all(test, feature = "sim"))]
mod tests;
