//! Rules on the park: which points and devices each looks at, under which labels, in which words.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use parkgate_collector::catalogue::{Catalogue, Device, Names, OWN_ID, Point};
use parkgate_collector::model::{Medium, PointId};
use parkgate_rules::Number;
use parkgate_rules::alarm::{Bound, Condition, Rule, State, Subject};

use super::event::{Texts, fingerprint};

/// One rule on one subject, with its state. There may be many: what is needed only when something happens is made then.
#[derive(Debug)]
pub struct Alarm {
    /// The rule.
    pub rule: Arc<Rule>,
    /// What it looks at.
    pub of: Of,
    /// The rule in the subject's digits.
    pub bound: Bound,
    /// What is kept of it.
    pub state: State,
    /// The state changed since it was kept.
    pub dirty: bool,
    /// What is kept says that something is on, or was just before.
    pub kept_lively: bool,
    /// Of the labels.
    pub fingerprint: Arc<str>,
    catalogue: Arc<Catalogue>,
}

/// What a rule looks at.
#[derive(Clone, Debug)]
pub enum Of {
    /// The gateway itself.
    Gateway,
    /// A device.
    Device(Arc<Device>),
    /// A point, with its device.
    Point(Arc<Device>, Arc<Point>),
}

/// All of them, found by point.
#[derive(Debug, Default)]
pub struct Bindings {
    /// The alarms.
    pub alarms: Vec<Alarm>,
    /// Alarms that look at a point's values, in order of points.
    by_point: Vec<(PointId, usize)>,
    /// Alarms that look at a device, for each device that any looks at.
    of_devices: Vec<Vec<usize>>,
    /// The place in `of_devices` of a point's device.
    by_device: HashMap<PointId, usize>,
    /// What a person should know: rules that look at nothing, or at points of another unit.
    pub warnings: Vec<String>,
}

/// Binds rules to the points and devices of a catalogue.
pub fn bind(rules: &[Rule], catalogue: &Arc<Catalogue>) -> Bindings {
    let mut bindings = Bindings::default();
    for rule in rules {
        let rule = Arc::new(rule.clone());
        let before = bindings.alarms.len();
        match rule.condition.subject() {
            Subject::Gateway => bindings.alarms.push(alarm(&rule, catalogue, Of::Gateway)),
            Subject::Device => bindings.devices(&rule, catalogue),
            Subject::Point => bindings.points(&rule, catalogue),
        }
        if bindings.alarms.len() == before {
            bindings.warnings.push(format!("alarm rule `{}` looks at nothing: no point or device fits what it selects", rule.id));
        }
    }
    bindings.alarms.shrink_to_fit();
    bindings.by_point.sort_unstable();
    bindings.by_point.shrink_to_fit();
    bindings
}

impl Bindings {
    /// The alarm that looks at a point's values at a place of its list; `None` behind the last.
    pub fn of_point(&self, point: PointId, place: usize) -> Option<usize> {
        let first = self.by_point.partition_point(|(of, _)| *of < point);
        self.by_point.get(first.checked_add(place)?).filter(|(of, _)| *of == point).map(|(_, alarm)| *alarm)
    }

    /// The same for alarms that look at the point's device.
    pub fn of_device(&self, point: PointId, place: usize) -> Option<usize> {
        self.of_devices.get(*self.by_device.get(&point)?)?.get(place).copied()
    }

    fn points(&mut self, rule: &Arc<Rule>, catalogue: &Arc<Catalogue>) {
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
            self.by_point.push((point.id, self.alarms.len()));
            self.alarms.push(alarm(rule, catalogue, Of::Point(Arc::clone(device), Arc::clone(point))));
        }
        if let Some(first) = other_units.first() {
            let wanted = rule.unit.as_deref().unwrap_or_default();
            let count = other_units.len();
            self.warnings.push(format!("alarm rule `{}` is in {wanted} and leaves out {count} points, such as {first}", rule.id));
        }
    }

    fn devices(&mut self, rule: &Arc<Rule>, catalogue: &Arc<Catalogue>) {
        for device in catalogue.devices.iter().filter(|device| device.id != OWN_ID) {
            let media: Vec<&str> = device.points.iter().map(|point| point.medium.name()).collect();
            if device.points.is_empty() || !rule.select.device(&device.id, device.enterprise.as_deref(), &media) {
                continue;
            }
            let known = device.points.first().and_then(|point| self.by_device.get(&point.id).copied());
            let place = known.unwrap_or(self.of_devices.len());
            match self.of_devices.get_mut(place) {
                Some(alarms) => alarms.push(self.alarms.len()),
                None => self.of_devices.push(vec![self.alarms.len()]),
            }
            self.by_device.extend(device.points.iter().map(|point| (point.id, place)));
            self.alarms.push(alarm(rule, catalogue, Of::Device(Arc::clone(device))));
        }
    }
}

fn alarm(rule: &Arc<Rule>, catalogue: &Arc<Catalogue>, of: Of) -> Alarm {
    let (decimals, interval_ms) = match &of {
        Of::Gateway => (0, None),
        Of::Device(device) => (0, device.points.iter().filter_map(|point| point.interval_ms).min()),
        Of::Point(_, point) => (point.identity.decimals, point.interval_ms),
    };
    let mut alarm = Alarm {
        bound: Bound::new(rule, decimals, interval_ms.map(i64::from)),
        rule: Arc::clone(rule),
        of,
        state: State::default(),
        dirty: false,
        kept_lively: false,
        fingerprint: "".into(),
        catalogue: Arc::clone(catalogue),
    };
    alarm.fingerprint = fingerprint(&alarm.labels()).into();
    alarm
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
    /// Stable id of the point, id of the device, or nothing.
    pub fn subject(&self) -> &str {
        match &self.of {
            Of::Gateway => "",
            Of::Device(device) => &device.id,
            Of::Point(_, point) => &point.identity.stable_id,
        }
    }

    /// What identifies it.
    pub fn labels(&self) -> Texts {
        let common = [
            ("alertname", self.rule.alertname.as_str()),
            ("rule", self.rule.id.as_str()),
            ("severity", self.rule.priority.severity()),
            ("priority", self.rule.priority.name()),
            ("track", "operator"),
            ("park", self.catalogue.park.id.as_str()),
        ];
        let of_device = |device: &Device| {
            [("device", device.id.clone()), ("enterprise", device.enterprise.clone().unwrap_or_default())]
                .map(|(name, value)| (name.to_owned(), value))
        };
        let mut labels: Texts = common.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        match &self.of {
            Of::Gateway => {}
            Of::Device(device) => labels.extend(of_device(device)),
            Of::Point(device, point) => {
                labels.extend(of_device(device));
                let outlet = if point.medium == Medium::Emission { device.id.as_str() } else { "" };
                let own = [("medium", point.medium.name()), ("outlet", outlet), ("point", self.subject())];
                labels.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
            }
        }
        // Alertmanager takes an empty label for one that is not there.
        labels.retain(|_, value| !value.is_empty());
        labels
    }

    /// What people call the subject.
    pub fn name(&self) -> Names {
        match &self.of {
            Of::Gateway => self.catalogue.park.name.clone(),
            Of::Device(device) => joined(&[enterprise(&self.catalogue, device), Some(&device.name)]),
            Of::Point(device, point) => joined(&[enterprise(&self.catalogue, device), Some(&device.name), Some(&point.name)]),
        }
    }

    /// Unit of its values; empty where there is none.
    pub fn unit(&self) -> &str {
        match (&self.of, &self.rule.condition) {
            // Offsets of clocks are in milliseconds and shown in seconds.
            (Of::Device(_), Condition::ClockOffOver(_)) => "s",
            (Of::Point(_, point), _) => match point.identity.unit.symbol() {
                "state" | "1" => "",
                unit => unit,
            },
            _ => "",
        }
    }

    /// Decimals of its digits.
    pub fn decimals(&self) -> u8 {
        match (&self.of, &self.rule.condition) {
            (Of::Device(_), Condition::ClockOffOver(_)) => 3,
            (Of::Point(_, point), _) => point.identity.decimals,
            _ => 0,
        }
    }

    /// Stored digits as people read them, without a unit.
    pub fn value(&self, digits: i64) -> String {
        let decimals = u32::from(self.decimals());
        Number::decimal(i128::from(digits), decimals).text(decimals)
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
