//! Rules on the park: which points and devices each looks at, under which labels, in which words.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use parkgate_collector::catalogue::{Catalogue, Device, Names, OWN_ID, Point};
use parkgate_collector::model::{Medium, PointId};
use parkgate_rules::Number;
use parkgate_rules::alarm::{Bound, Condition, Rule, State, Subject};

use super::event::{Texts, fingerprint};

/// One rule on one subject, with its state.
#[derive(Debug)]
pub struct Alarm {
    /// The rule.
    pub rule: Arc<Rule>,
    /// Stable id of the point, id of the device, or nothing.
    pub subject: String,
    /// The rule in the subject's digits.
    pub bound: Bound,
    /// What is kept of it.
    pub state: State,
    /// The state changed since it was kept.
    pub dirty: bool,
    /// What identifies it.
    pub labels: Texts,
    /// Of the labels.
    pub fingerprint: String,
    /// What people call the subject.
    pub name: Names,
    /// Unit of its values; empty where there is none.
    pub unit: String,
    /// Decimals of its stored values.
    pub decimals: u8,
}

/// All of them, found by point.
#[derive(Debug, Default)]
pub struct Bindings {
    /// The alarms.
    pub alarms: Vec<Alarm>,
    /// Alarms that look at a point's values.
    pub by_point: HashMap<PointId, Vec<usize>>,
    /// Alarms that look at the device of a point.
    pub by_device: HashMap<PointId, Vec<usize>>,
    /// What a person should know: rules that look at nothing, or at points of another unit.
    pub warnings: Vec<String>,
}

/// Binds rules to the points and devices of a catalogue.
pub fn bind(rules: &[Rule], catalogue: &Catalogue) -> Bindings {
    let mut bindings = Bindings::default();
    for rule in rules {
        let rule = Arc::new(rule.clone());
        let before = bindings.alarms.len();
        match rule.condition.subject() {
            Subject::Gateway => bindings.alarms.push(of_gateway(&rule, catalogue)),
            Subject::Device => bindings.devices(&rule, catalogue),
            Subject::Point => bindings.points(&rule, catalogue),
        }
        if bindings.alarms.len() == before {
            bindings.warnings.push(format!("alarm rule `{}` looks at nothing: no point or device fits what it selects", rule.id));
        }
    }
    bindings
}

impl Bindings {
    fn points(&mut self, rule: &Arc<Rule>, catalogue: &Catalogue) {
        let mut other_units = BTreeSet::new();
        for point in &catalogue.points {
            let Some(device) = catalogue.device(&point.device) else { continue };
            let media = [point.medium.name()];
            let fits = rule.select.device(&device.id, device.enterprise.as_deref(), &media)
                && rule.select.point(&point.identity.stable_id, &point.quantity, point.medium.name(), point.role.as_deref());
            // A rule that names no points is not about the gateway's own metrics.
            let is_meant = point.medium != Medium::Gateway || rule.select.points.iter().any(|pattern| pattern.starts_with(OWN_ID));
            if !fits || !is_meant {
                continue;
            }
            let unit = point.identity.unit.symbol();
            if rule.unit.as_deref().is_some_and(|wanted| wanted != unit) {
                other_units.insert(format!("{} in {unit}", point.identity.stable_id));
                continue;
            }
            self.by_point.entry(point.id).or_default().push(self.alarms.len());
            self.alarms.push(of_point(rule, catalogue, device, point));
        }
        if let Some(first) = other_units.first() {
            let wanted = rule.unit.as_deref().unwrap_or_default();
            let count = other_units.len();
            self.warnings.push(format!("alarm rule `{}` is in {wanted} and leaves out {count} points, such as {first}", rule.id));
        }
    }

    fn devices(&mut self, rule: &Arc<Rule>, catalogue: &Catalogue) {
        for device in catalogue.devices.iter().filter(|device| device.id != OWN_ID) {
            let media: Vec<&str> = device.points.iter().map(|point| point.medium.name()).collect();
            if device.points.is_empty() || !rule.select.device(&device.id, device.enterprise.as_deref(), &media) {
                continue;
            }
            for point in &device.points {
                self.by_device.entry(point.id).or_default().push(self.alarms.len());
            }
            self.alarms.push(of_device(rule, catalogue, device));
        }
    }
}

fn of_gateway(rule: &Arc<Rule>, catalogue: &Catalogue) -> Alarm {
    let name = catalogue.park.name.clone();
    alarm(rule, catalogue, String::new(), (name, String::new(), 0), None, &[])
}

fn of_device(rule: &Arc<Rule>, catalogue: &Catalogue, device: &Device) -> Alarm {
    let interval_ms = device.points.iter().filter_map(|point| point.interval_ms).min();
    let own = [("device", device.id.as_str()), ("enterprise", device.enterprise.as_deref().unwrap_or_default())];
    let is_clock = matches!(rule.condition, Condition::ClockOffOver(_));
    // Offsets of clocks are in milliseconds and shown in seconds.
    let (unit, decimals) = if is_clock { ("s", 3) } else { ("", 0) };
    let name = joined(&[enterprise(catalogue, device), Some(&device.name)]);
    alarm(rule, catalogue, device.id.clone(), (name, unit.into(), decimals), interval_ms, &own)
}

fn of_point(rule: &Arc<Rule>, catalogue: &Catalogue, device: &Device, point: &Point) -> Alarm {
    let is_emission = point.medium == Medium::Emission;
    let own = [
        ("device", device.id.as_str()),
        ("enterprise", device.enterprise.as_deref().unwrap_or_default()),
        ("medium", point.medium.name()),
        ("outlet", if is_emission { device.id.as_str() } else { "" }),
        ("point", point.identity.stable_id.as_str()),
    ];
    let unit = match point.identity.unit.symbol() {
        "state" | "1" => String::new(),
        unit => unit.to_owned(),
    };
    let name = joined(&[enterprise(catalogue, device), Some(&device.name), Some(&point.name)]);
    let rest = (name, unit, point.identity.decimals);
    alarm(rule, catalogue, point.identity.stable_id.clone(), rest, point.interval_ms, &own)
}

fn alarm(
    rule: &Arc<Rule>,
    catalogue: &Catalogue,
    subject: String,
    (name, unit, decimals): (Names, String, u8),
    interval_ms: Option<u32>,
    own: &[(&str, &str)],
) -> Alarm {
    let common = [
        ("alertname", rule.alertname.as_str()),
        ("rule", rule.id.as_str()),
        ("severity", rule.priority.severity()),
        ("priority", rule.priority.name()),
        ("track", "operator"),
        ("park", catalogue.park.id.as_str()),
    ];
    // Alertmanager takes an empty label for one that is not there.
    let labels: Texts = common
        .iter()
        .chain(own)
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Alarm {
        bound: Bound::new(rule, decimals, interval_ms.map(i64::from)),
        rule: Arc::clone(rule),
        subject,
        state: State::default(),
        dirty: false,
        fingerprint: fingerprint(&labels),
        labels,
        name,
        unit,
        decimals,
    }
}

fn enterprise<'a>(catalogue: &'a Catalogue, device: &Device) -> Option<&'a Names> {
    let id = device.enterprise.as_ref()?;
    catalogue.enterprises.iter().find(|enterprise| enterprise.id == *id).map(|enterprise| &enterprise.name)
}

fn joined(parts: &[Option<&Names>]) -> Names {
    let of = |text: fn(&Names) -> &String| parts.iter().flatten().map(|names| text(names).as_str()).collect::<Vec<_>>().join(" ");
    Names { zh: of(|names| &names.zh), en: of(|names| &names.en) }
}

impl Alarm {
    /// Stored digits as people read them, without a unit.
    pub fn value(&self, digits: i64) -> String {
        Number::decimal(i128::from(digits), u32::from(self.decimals)).text(u32::from(self.decimals))
    }

    /// The limit as people read it; `None` where there is none.
    pub fn limit(&self) -> Option<String> {
        match &self.rule.condition {
            Condition::Above(limit) | Condition::Below(limit) => Some(limit.to_string()),
            Condition::StateIs(codes) => Some(codes.iter().map(i64::to_string).collect::<Vec<_>>().join(" / ")),
            Condition::SilentOver(ms) => Some((ms / 1_000).to_string()),
            Condition::ClockOffOver(ms) => Some((ms / 1_000).to_string()),
            Condition::Always => None,
        }
    }
}
