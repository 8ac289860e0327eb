use std::collections::HashMap;

use parkgate_collector::catalogue::{Catalogue, Enterprise, Names, Park};
use parkgate_collector::model::Medium;
use parkgate_rules::Number;
use parkgate_rules::emission::event::{EventKind, EventState, Evidence};
use parkgate_rules::emission::{Judgement, PeriodFigure, Readings};

use super::super::tests::{figure, outlet};
use super::*;
use crate::access::{Role, Scope};
use crate::emission::correction::{Correction, FigureChange};
use crate::emission::{Author, HeldLimit, HeldMark, Judged, KeptEvent, LimitStep, MarkStep, Plan, Refusal};

/// Hours of one factor from a first one on, as a view has them.
pub(crate) struct Fake {
    plan: Plan,
    first: UtcMillis,
    /// Mass of each hour; none: nothing came.
    masses: Vec<Option<Number>>,
    /// Hours that stood still.
    stopped: std::ops::Range<usize>,
    /// Each time that all was counted again every hour has 1 kg more.
    pub(crate) recounts: std::sync::atomic::AtomicI64,
    events: Vec<KeptEvent>,
    corrections: Vec<KeptCorrection>,
}

impl EmissionView for Fake {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn span(&self, _: &str) -> Result<Option<(Instant, Instant)>, StoreError> {
        Ok(Some((Instant(self.first.0), Instant(self.at(self.masses.len()).0))))
    }

    fn recounts(&self) -> Result<i64, StoreError> {
        Ok(self.recounts.load(std::sync::atomic::Ordering::Relaxed))
    }

    fn hours(&self, _: &str, factor: &str, from: Instant, to: Instant) -> Result<Vec<Judged<HourFigure>>, StoreError> {
        let hours = self.masses.iter().enumerate().map(|(place, mass)| {
            let period = Period { from: self.at(place), to: self.at(place + 1) };
            let class = match mass {
                _ if self.stopped.contains(&place) => HourClass::Stopped,
                Some(_) => HourClass::Valid,
                None => HourClass::Missing,
            };
            let more = Number::from(self.recounts.load(std::sync::atomic::Ordering::Relaxed));
            HourFigure { mass_kg: mass.as_ref().map(|mass| mass + &more), ..figure(factor, period, class) }
        });
        let inside = hours.filter(|figure| factor == "so2" && from.0 <= figure.period.from.0 && figure.period.from.0 < to.0);
        Ok(inside.map(|figure| Judged { figure, judgements: Vec::<Judgement>::new(), closed: true, version: 1 }).collect())
    }

    fn periods(&self, _: &str, _: &str, _: Averaging, _: Instant, _: Instant) -> Result<Vec<Judged<PeriodFigure>>, StoreError> {
        Ok(Vec::new())
    }

    fn readings(&self, _: &str, _: Instant, _: Instant) -> Result<Readings, StoreError> {
        Ok(Readings::new())
    }

    fn limits(&self) -> Result<Vec<HeldLimit>, StoreError> {
        Ok(Vec::new())
    }

    fn marks(&self) -> Result<Vec<HeldMark>, StoreError> {
        Ok(Vec::new())
    }

    fn corrections(&self, _: &str) -> Result<Vec<KeptCorrection>, StoreError> {
        Ok(self.corrections.clone())
    }

    fn events(&self, after: i64, limit: usize) -> Result<Vec<KeptEvent>, StoreError> {
        Ok(self.events.iter().filter(|kept| kept.entry > after).take(limit.min(2)).cloned().collect())
    }

    fn enter_limit(&self, _: LimitStep, _: &Author, _: Instant) -> Result<Result<HeldLimit, Refusal>, StoreError> {
        unreachable!("nothing is entered")
    }

    fn enter_mark(&self, _: &MarkStep, _: &Author, _: Instant) -> Result<Result<HeldMark, Refusal>, StoreError> {
        unreachable!("nothing is entered")
    }
}

impl Fake {
    /// Hours of SO2 from a first one on.
    pub(crate) fn of(first: UtcMillis, masses: Vec<Option<Number>>, stopped: std::ops::Range<usize>) -> Self {
        let plan = Plan::new(&std::sync::Arc::new(catalogue()), &[outlet()], &[]);
        Self { plan, first, masses, stopped, recounts: Default::default(), events: Vec::new(), corrections: Vec::new() }
    }

    /// t measured and filled over a range, as a summary by months or days has them.
    pub(crate) fn told(&self, averaging: Averaging, range: Period) -> (Number, Number) {
        let (outlet, software) = ("acme-stack".to_owned(), "parkgate".to_owned());
        let asked = Asked { outlet, averaging, range, made_at: range.to, software };
        let report = make(self, &catalogue(), &asked, &Identity::local()).unwrap().unwrap();
        let number =
            |figure: &Option<super::super::summary::Figure>| figure.as_ref().map_or_else(Number::zero, |one| one.text().parse().unwrap());
        let total = &report.summary.totals[0];
        (number(&total.mass_t), number(&total.mass_filled_t))
    }

    fn at(&self, hour: usize) -> UtcMillis {
        self.first.plus(i64::try_from(hour).unwrap() * 3_600_000)
    }
}

fn catalogue() -> Catalogue {
    let names = |text: &str| Names { zh: text.into(), en: text.into() };
    let park = Park {
        id: "north".into(),
        name: names("North"),
        time_zone: "Asia/Shanghai".into(),
        commissioned: None,
        display_units: HashMap::new(),
    };
    Catalogue::new(1, park, vec![Enterprise { id: "acme".into(), name: names("Acme") }], Vec::new(), Vec::new())
}

fn event(entry: i64, id: &str, subject: &str, kind: EventKind, state: EventState, from: UtcMillis) -> KeptEvent {
    let event = ComplianceEvent {
        id: id.into(),
        version: 1,
        state,
        kind,
        subject: subject.into(),
        enterprise: "acme".into(),
        factor: None,
        averaging: None,
        from,
        to: Some(from.plus(3_600_000)),
        value: None,
        limit: None,
        unit: String::new(),
        applies_to: None,
        times_over: None,
        clause: None,
        limit_id: None,
        evidence: Evidence::Period { valid_hours: 0, operating_hours: 0, concentration: None },
    };
    KeptEvent { entry, entered_at: from, event }
}

/// 216 hours from 1 October on, each of 1 kg but: hour 5 has 9 kg, hour 100 has 5 kg, hours 192 to 195 (9 October, 0:00
/// to 4:00) are missing. 212 of 216 hours are valid, the run is 4 h long, so each gets the largest of the 180 valid hours
/// before it, 12 to 191: 5 kg, not 9. The day has 20 x 1 kg measured and 4 x 5 kg filled.
fn fake() -> (Catalogue, Fake) {
    let catalogue = catalogue();
    let plan = Plan::new(&std::sync::Arc::new(self::catalogue()), &[outlet()], &[]);
    let first = UtcMillis(plan.zone.read("2026-10-01").unwrap().0);
    let mass = |hour: usize| match hour {
        5 => Some(Number::from(9)),
        100 => Some(Number::from(5)),
        192..196 => None,
        _ => Some(Number::one()),
    };
    let day = first.plus(8 * 86_400_000);
    let change = |figure: &str| FigureChange { figure: figure.into(), old: Some("1".into()), new: None };
    let correction = Correction {
        outlet: "acme-stack".into(),
        factor: Some("so2".into()),
        averaging: Some(Averaging::Hour),
        from: day,
        to: day.plus(3_600_000),
        causes: vec!["late_data".into(), "mark-7".into()],
        changes: vec![change("mass_kg"), change("class")],
    };
    let mut pair = event(4, "pair", "coating", EventKind::AbatementOff, EventState::Raised, day);
    (pair.event.value, pair.event.limit, pair.event.unit) = (Some(Number::from(6)), Some(Number::from(30)), "kW".into());
    let fake = Fake {
        plan,
        first,
        masses: (0..216).map(mass).collect(),
        stopped: 0..0,
        recounts: Default::default(),
        events: vec![
            event(3, "one", "acme-stack", EventKind::Exceedance, EventState::Raised, day),
            pair,
            event(7, "one", "acme-stack", EventKind::Exceedance, EventState::Withdrawn, day),
            event(8, "other", "other-stack", EventKind::Exceedance, EventState::Raised, day),
            event(9, "before", "acme-stack", EventKind::Exceedance, EventState::Raised, day.plus(-3_600_000)),
        ],
        corrections: vec![KeptCorrection { entry: 1, entered_at: day, correction }],
    };
    (catalogue, fake)
}

fn asked(fake: &Fake, averaging: Averaging) -> Asked {
    let range = Period { from: fake.at(192), to: fake.at(216) };
    Asked { outlet: "acme-stack".into(), averaging, range, made_at: fake.at(220), software: "parkgate".into() }
}

#[test]
fn missing_mass_is_filled_by_the_hours_before_and_told_apart() {
    let (catalogue, fake) = fake();
    let report = make(&fake, &catalogue, &asked(&fake, Averaging::Hour), &Identity::local()).unwrap().unwrap();
    let rows: Vec<_> = report.summary.rows.iter().filter(|row| row.factor == "so2").collect();
    assert_eq!(rows.len(), 24);
    for (hour, row) in rows.iter().enumerate() {
        let text = |figure: &Option<super::super::summary::Figure>| figure.as_ref().map(super::super::summary::Figure::text);
        let (mass, filled) = if hour < 4 { (None, Some("5.000".to_owned())) } else { (Some("1.000".to_owned()), None) };
        assert_eq!((text(&row.mass_kg), text(&row.mass_filled_kg)), (mass, filled), "{hour}");
    }
    let total = &report.summary.totals[0];
    let text = |figure: &Option<super::super::summary::Figure>| figure.as_ref().unwrap().text();
    assert_eq!(
        (text(&total.mass_t), text(&total.mass_filled_t), text(&total.filled_share)),
        ("0.020".into(), "0.020".into(), "0.500000".into())
    );
    assert_eq!(report.summary.head.enterprise.en, "Acme");
    assert_eq!(rows[0].corrections, 2);
    let corrections: Vec<(&str, &str)> = report.summary.corrections.iter().map(|one| (one.figure.as_str(), one.cause.as_str())).collect();
    assert_eq!(corrections, [("mass_kg", "late_data, mark-7"), ("class", "late_data, mark-7")]);
}

#[test]
fn of_each_event_the_last_version_is_told_and_of_abatement_what_may_be_seen() {
    let (catalogue, fake) = fake();
    let told = |role, media: &[Medium], enterprise: &str| {
        let scope = Scope { media: media.iter().copied().collect(), enterprises: [enterprise.to_owned()].into(), ..Scope::default() };
        let scope = if enterprise.is_empty() { Scope { enterprises: Default::default(), ..scope } } else { scope };
        let identity = Identity { name: "bureau".into(), role, scope };
        let report = make(&fake, &catalogue, &asked(&fake, Averaging::Day), &identity).unwrap().unwrap();
        let event = |one: &super::super::summary::Exceedance| {
            let left_out = if one.left_out.is_some() { " left out" } else { "" };
            format!("{} {} {} {:?}{left_out}", one.event, one.kind, one.state, one.limit.as_ref().map(ToString::to_string))
        };
        assert!(report.events.iter().all(|event| event.limit.is_some() || event.evidence == Evidence::LeftOut || event.id == "one"));
        let words = report.summary.head.left_out.iter().map(|text| text.en.split(':').next().unwrap().to_owned());
        (report.summary.exceedances.iter().map(event).collect::<Vec<_>>(), words.collect::<Vec<_>>())
    };
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let all = texts(&["one exceedance withdrawn None", "pair abatement_off raised Some(\"30\")"]);
    assert_eq!(told(Role::Viewer, &[], ""), (all.clone(), vec![]));
    // Exceedances are seen by who sees the points of the outlet; there are none here.
    let without = (texts(&["pair abatement_off raised None left out"]), texts(&["events of abatement are without their power"]));
    assert_eq!(told(Role::Regulator, &[Medium::Emission], ""), without);
    assert_eq!(told(Role::Regulator, &[], "acme"), without);
    let nothing = (vec![], texts(&["of the events of abatement only those are here whose power this token may see"]));
    for (role, media, enterprise) in
        [(Role::Viewer, Medium::Emission, ""), (Role::Regulator, Medium::Emission, "bloom"), (Role::Regulator, Medium::Gas, "")]
    {
        assert_eq!(told(role, &[media], enterprise), nothing, "{role:?} {media:?} {enterprise}");
    }
    let asked = Asked { outlet: "nobody".into(), ..asked(&fake, Averaging::Day) };
    assert_eq!(make(&fake, &catalogue, &asked, &Identity::local()).unwrap(), None);
}
