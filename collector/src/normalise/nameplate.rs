//! Beside the steps: whether a device's energy and its power agree, and its power with its nameplate. A wrong ratio of
//! current transformers, applied to one of the two, shows as a constant factor between them.
//!
//! Only looks at recorded samples: no sample is changed or left out, and what is remembered is lost with the program,
//! which costs some minutes. Floats will do, since nothing is computed on with them.
//!
//! Over a window the rise of an energy counter, from one instant at which it was seen to count to another, is divided by
//! the integral of power between them. Windows in which the counter was seen to rise fewer than [`RISES_MIN`] times go
//! on, so that the steps of coarse registers do not count. A doubt takes [`WINDOWS`] windows in a row that are off and
//! agree with each other; one that is not off ends it.

use std::collections::HashMap;
use std::sync::Arc;

use super::time::is_live_origin;
use crate::catalogue::{Catalogue, Device, Nameplate, Point, PointSource};
use crate::model::{Decimal, Kind, Medium, Number, Quality, Sample, Step, UtcMillis};

/// Rises of a counter within a window, at least: the first and last one are seen late by a part of a step each.
const RISES_MIN: u32 = 10;
/// Windows in a row that raise a doubt.
const WINDOWS: usize = 3;
/// Largest quotient of two windows that agree.
const AGREEMENT: f64 = 1.5;
/// Longest time between two values of power that are taken together; longer for points that come slowly.
const GAP_MS: i64 = 300_000;
/// A window that does not end within so long begins anew.
const LONGEST_MS: i64 = 86_400_000;
/// Mean power of a window, in steps of its register, at least: a coarse one says nothing about small loads.
const POWER_STEPS_MIN: f64 = 10.0;
const MS_PER_HOUR: f64 = 3_600_000.0;

/// Energy and power of the same thing: local quantities, and which part of power the energy counts.
const PAIRS: [(&str, &str, Part); 4] = [
    ("energy_import", "active_power", Part::Positive),
    ("energy_export", "active_power", Part::Negative),
    ("energy_total", "active_power", Part::Either),
    ("charging_energy", "charging_power", Part::Either),
];

/// Which part of power counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Positive,
    Negative,
    Either,
}

impl Part {
    fn of(self, kilowatts: f64) -> f64 {
        match self {
            Self::Positive => kilowatts.max(0.0),
            Self::Negative => (-kilowatts).max(0.0),
            Self::Either => kilowatts.abs(),
        }
    }
}

/// What a window showed.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// The device.
    pub device: String,
    /// Energy against the integral of power, 1 when they agree; `None` where the window was about the rated power alone.
    pub ratio: Option<f64>,
    /// All that is doubted of the device now, for a person; empty: nothing.
    pub doubt: String,
}

/// The checks of all devices.
#[derive(Debug, Default)]
pub struct Nameplates {
    devices: Vec<Check>,
    /// By PointId.
    roles: Vec<Option<Role>>,
}

/// What a point is to the check of a device.
#[derive(Clone, Copy, Debug)]
struct Role {
    device: usize,
    /// Place in the device's energies; `None`: its power.
    energy: Option<usize>,
    /// Value of one in the last decimal.
    scale: f64,
}

/// The check of one device.
#[derive(Debug)]
struct Check {
    device: String,
    /// What it was made for.
    of: Arc<Device>,
    settings: Settings,
    power: Option<At>,
    energies: Vec<Energy>,
    rated: Option<Rated>,
}

/// [`Nameplate`] as floats, and what is known of the power point.
#[derive(Clone, Copy, Debug)]
struct Settings {
    window_ms: i64,
    /// 1.25 for 25 %.
    tolerance: f64,
    multiplier: f64,
    gap_ms: i64,
    /// A value holds until the next one is reported.
    holds: bool,
    /// What one in the power register is, in kW.
    power_step: f64,
}

/// A value at an instant.
#[derive(Clone, Copy, Debug, PartialEq)]
struct At {
    time: UtcMillis,
    value: f64,
}

#[derive(Debug)]
struct Energy {
    quantity: String,
    part: Part,
    /// kWh by power, since the check began.
    by_power: f64,
    last: Option<At>,
    window: Option<Window>,
    ratios: Vec<f64>,
    doubt: Option<f64>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    start: At,
    by_power: f64,
    rises: u32,
}

#[derive(Debug)]
struct Rated {
    kilowatts: f64,
    start: Option<UtcMillis>,
    by_power: f64,
    means: Vec<f64>,
    doubt: Option<f64>,
}

impl Nameplates {
    /// The checks that a catalogue asks for: of devices with one point of power.
    pub fn new(catalogue: &Catalogue) -> Self {
        let mut checks = Self::default();
        for device in &catalogue.devices {
            checks.add(device);
        }
        checks
    }

    /// Goes on with the checks of `before` where nothing of the device changed that they are about; gives these, and whether
    /// each is in doubt.
    pub fn keep(&mut self, before: Self) -> HashMap<String, bool> {
        let mut before: HashMap<String, Check> = before.devices.into_iter().map(|check| (check.device.clone(), check)).collect();
        let mut kept = HashMap::new();
        for check in &mut self.devices {
            let Some(old) = before.remove(&check.device).filter(|old| is_same(&old.of, &check.of)) else { continue };
            *check = Check { of: Arc::clone(&check.of), ..old };
            kept.insert(check.device.clone(), !check.doubts().is_empty());
        }
        kept
    }

    fn add(&mut self, device: &Arc<Device>) {
        let nameplate = &device.nameplate;
        let electric = |point: &&Arc<Point>| matches!(point.medium, Medium::Power | Medium::Charging);
        let of = |quantity: &str, kind: Kind| {
            let mut points = device.points.iter().filter(electric).filter(|it| it.quantity == quantity && it.identity.kind == kind);
            // Of two nobody knows which belongs to which.
            points.next().filter(|_| points.next().is_none())
        };
        let Some(power) = ["active_power", "charging_power"].iter().find_map(|quantity| of(quantity, Kind::Gauge)) else { return };
        let total_counts = of("energy_import", Kind::Counter).is_none();
        let pairs = PAIRS.iter().filter(|(energy, by, _)| *by == power.quantity && (total_counts || *energy != "energy_total"));
        let energies: Vec<_> =
            pairs.filter(|_| nameplate.check).filter_map(|(quantity, _, part)| Some((of(quantity, Kind::Counter)?, *part))).collect();
        let rated = nameplate.rated_power_kw.map(|rated| Rated {
            kilowatts: float(rated),
            start: None,
            by_power: 0.0,
            means: Vec::new(),
            doubt: None,
        });
        if energies.is_empty() && rated.is_none() {
            return;
        }
        let place = self.devices.len();
        self.set_role(power, Role { device: place, energy: None, scale: step_of_decimals(power) });
        for (index, (energy, _)) in energies.iter().enumerate() {
            self.set_role(energy, Role { device: place, energy: Some(index), scale: step_of_decimals(energy) });
        }
        self.devices.push(Check {
            device: device.id.clone(),
            of: Arc::clone(device),
            settings: Settings::new(nameplate, power),
            power: None,
            energies: energies.iter().map(|(energy, part)| Energy::new(&energy.quantity, *part)).collect(),
            rated,
        });
    }

    fn set_role(&mut self, point: &Point, role: Role) {
        let index = point.id.index();
        if self.roles.len() <= index {
            self.roles.resize(index.saturating_add(1), None);
        }
        if let Some(slot) = self.roles.get_mut(index) {
            *slot = Some(role);
        }
    }

    /// Devices that are checked.
    pub fn devices(&self) -> impl Iterator<Item = &str> {
        self.devices.iter().map(|check| check.device.as_str())
    }

    /// Takes a recorded sample in; what its window showed, when it ended one.
    pub fn observe(&mut self, sample: &Sample) -> Option<Told> {
        let role = (*self.roles.get(sample.point.index())?)?;
        let check = self.devices.get_mut(role.device)?;
        if !sample.status.has_number() || sample.status.quality() == Quality::Bad || !is_live_origin(sample.status.origin()) {
            return None;
        }
        let at = At { time: sample.record_time, value: sample.value as f64 * role.scale };
        let ratio = match role.energy {
            None => check.take_power(at).then_some(None)?,
            Some(energy) => Some(check.take_energy(energy, at, sample.status.step())?),
        };
        Some(Told { device: check.device.clone(), ratio, doubt: check.doubts() })
    }
}

impl Settings {
    fn new(nameplate: &Nameplate, power: &Point) -> Self {
        let holds = power.on_change().map(|rule| i64::from(rule.max_silence_ms).saturating_mul(2));
        let interval_ms = power.interval_ms.map_or(0, i64::from);
        Self {
            window_ms: nameplate.window_ms,
            tolerance: 1.0 + f64::from(nameplate.tolerance_percent) / 100.0,
            multiplier: float(nameplate.energy_multiplier),
            gap_ms: holds.unwrap_or(GAP_MS).max(interval_ms.saturating_mul(3)),
            holds: holds.is_some(),
            power_step: step_of_register(power),
        }
    }

    fn is_off(&self, ratio: f64) -> bool {
        !(1.0 / self.tolerance..=self.tolerance).contains(&ratio)
    }
}

impl Check {
    /// Takes a value of power in; true when a window of the rated power ended.
    fn take_power(&mut self, at: At) -> bool {
        let Some(last) = self.power else {
            self.power = Some(at);
            return false;
        };
        let elapsed = at.time.since(last.time);
        if elapsed < 0 && elapsed > self.settings.gap_ms.saturating_neg() {
            // Late: the integral has gone on.
            return false;
        }
        self.power = Some(at);
        if !(0..=self.settings.gap_ms).contains(&elapsed) {
            self.energies.iter_mut().for_each(|energy| energy.window = None);
            if let Some(rated) = &mut self.rated {
                rated.start = None;
            }
            return false;
        }
        let hours = elapsed as f64 / MS_PER_HOUR;
        let holds = self.settings.holds;
        let worth = |part: Part| {
            let end = if holds { last.value } else { at.value };
            (part.of(last.value) + part.of(end)) / 2.0 * hours
        };
        for energy in &mut self.energies {
            energy.by_power += worth(energy.part);
        }
        let settings = self.settings;
        self.rated.as_mut().is_some_and(|rated| rated.take(&settings, at.time, worth(Part::Either)))
    }

    /// Takes a register in; the ratio of the window that it ended.
    fn take_energy(&mut self, index: usize, at: At, step: Step) -> Option<f64> {
        let settings = self.settings;
        let power = self.power;
        let energy = self.energies.get_mut(index)?;
        let before = energy.last.replace(at);
        let known = power.filter(|power| (settings.gap_ms.saturating_neg()..=settings.gap_ms).contains(&at.time.since(power.time)));
        let (Some(before), Some(power), Step::Delta) = (before, known, step) else {
            energy.window = None;
            return None;
        };
        if at.time <= before.time {
            energy.window = None;
            return None;
        }
        if at.value <= before.value {
            return None;
        }
        // Power goes on as it was last seen, for the moment that has passed since.
        let by_power = energy.by_power + energy.part.of(power.value) * at.time.since(power.time) as f64 / MS_PER_HOUR;
        let fresh = Window { start: at, by_power, rises: 0 };
        let Some(window) = &mut energy.window else {
            energy.window = Some(fresh);
            return None;
        };
        window.rises = window.rises.saturating_add(1);
        let window = *window;
        let elapsed = at.time.since(window.start.time);
        if elapsed > LONGEST_MS {
            energy.window = Some(fresh);
            return None;
        }
        if elapsed < settings.window_ms || window.rises < RISES_MIN {
            return None;
        }
        energy.window = Some(fresh);
        let integral = by_power - window.by_power;
        let mean = integral * MS_PER_HOUR / elapsed as f64;
        if mean <= 0.0 || mean < POWER_STEPS_MIN * settings.power_step {
            return None;
        }
        let ratio = (at.value - window.start.value) * settings.multiplier / integral;
        energy.judge(&settings, ratio);
        Some(ratio)
    }

    /// All doubts in words.
    fn doubts(&self) -> String {
        let energies = self.energies.iter().filter_map(|energy| Some(energy_doubt(&energy.quantity, energy.doubt?)));
        let rated = self.rated.iter().filter_map(|rated| Some(rated_doubt(rated.doubt?, rated.kilowatts)));
        energies.chain(rated).collect::<Vec<_>>().join("; ")
    }
}

impl Energy {
    fn new(quantity: &str, part: Part) -> Self {
        Self { quantity: quantity.to_owned(), part, by_power: 0.0, last: None, window: None, ratios: Vec::new(), doubt: None }
    }

    fn judge(&mut self, settings: &Settings, ratio: f64) {
        if !settings.is_off(ratio) {
            self.ratios.clear();
            self.doubt = None;
            return;
        }
        self.doubt = agreed(&mut self.ratios, ratio).or(self.doubt);
    }
}

impl Rated {
    /// Takes the energy by power since the value before in; true when a window ended.
    fn take(&mut self, settings: &Settings, time: UtcMillis, worth: f64) -> bool {
        let Some(start) = self.start else {
            (self.start, self.by_power) = (Some(time), 0.0);
            return false;
        };
        self.by_power += worth;
        let elapsed = time.since(start);
        if elapsed < settings.window_ms {
            return false;
        }
        let mean = self.by_power * MS_PER_HOUR / elapsed as f64;
        (self.start, self.by_power) = (Some(time), 0.0);
        if mean <= self.kilowatts * settings.tolerance {
            self.means.clear();
            self.doubt = None;
        } else {
            self.doubt = agreed(&mut self.means, mean).or(self.doubt);
        }
        true
    }
}

/// Whether all that a check depends on is the same: nameplate, points, and where they are read.
fn is_same(one: &Device, other: &Device) -> bool {
    (&one.nameplate, &one.points, &one.address, one.origin) == (&other.nameplate, &other.points, &other.address, other.origin)
}

/// Adds the newest of several figures in a row; the middle one when there are enough and they agree.
fn agreed(figures: &mut Vec<f64>, newest: f64) -> Option<f64> {
    figures.push(newest);
    if figures.len() > WINDOWS {
        figures.remove(0);
    }
    let mut sorted = figures.clone();
    sorted.sort_by(f64::total_cmp);
    let (Some(least), Some(most)) = (sorted.first(), sorted.last()) else { return None };
    let agree = sorted.len() == WINDOWS && most / least.max(f64::MIN_POSITIVE) <= AGREEMENT;
    agree.then(|| sorted.get(WINDOWS / 2).copied()).flatten()
}

fn energy_doubt(quantity: &str, ratio: f64) -> String {
    if ratio >= 1.0 {
        let times = factor(ratio);
        format!("{quantity} rises {times} times what power says: is the CT ratio (multiplier) {times}, and missing in power?")
    } else {
        let times = factor(1.0 / ratio.max(f64::MIN_POSITIVE));
        format!("{quantity} rises 1/{times} of what power says: is the CT ratio (multiplier) {times}, and missing in the energy?")
    }
}

fn rated_doubt(mean: f64, rated: f64) -> String {
    let times = factor(mean / rated);
    format!("power is {mean:.1} kW on average, {times} times the rated {rated:.1} kW: is the CT ratio (multiplier) too large?")
}

/// A factor as it would be written on a transformer: whole from 10 on.
fn factor(ratio: f64) -> String {
    if ratio >= 9.95 || (ratio - ratio.round()).abs() < 0.02 * ratio { format!("{:.0}", ratio.round()) } else { format!("{ratio:.1}") }
}

/// What one in the last decimal of a point is, in its stored unit: kW, kWh.
fn step_of_decimals(point: &Point) -> f64 {
    10f64.powi(i32::from(point.identity.decimals).saturating_neg())
}

/// What one in the register of a point is; where the register is no whole number, that of its decimals.
fn step_of_register(point: &Point) -> f64 {
    let by_decimals = step_of_decimals(point);
    let is_whole =
        matches!(&point.source, PointSource::Modbus(source) if source.register_type.is_whole() && source.scale_register.is_none());
    if !is_whole {
        return by_decimals;
    }
    let mantissa = |number: i64| super::convert(point, Number::Exact(Decimal::new(number, 0))).0;
    match (mantissa(0), mantissa(1)) {
        (Some(zero), Some(one)) => by_decimals.max(one.saturating_sub(zero).saturating_abs() as f64 * by_decimals),
        _ => by_decimals,
    }
}

fn float(number: Decimal) -> f64 {
    number.to_string().parse().unwrap_or(1.0)
}

#[cfg(test)]
mod tests;
