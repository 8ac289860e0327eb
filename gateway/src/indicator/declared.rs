//! Declarations in force as inputs of the core.

use std::collections::BTreeMap;

use parkgate_rules::Number;
use parkgate_rules::indicator::inputs::{
    Allowance, Certificate, CertificateKind, Commitment, Declared, DeclaredAmount, Figure, FuelStock, Inputs, Meter, MeterTotal,
    PeriodEnergy, Place, ProcessEmission, Provenance, Quota,
};
use parkgate_rules::period::{Period, PeriodKind};

use super::declare::{Declaration, Declarations, PARK};
use super::inputs::moment;
use super::topology::{HEAT, Topology, WATER};

/// Figures that go in as they are.
const PLAIN: &[(&str, Figure)] = &[
    ("revenue", Figure::Revenue),
    ("added_value", Figure::AddedValue),
    ("output", Figure::Output),
    ("tax", Figure::Tax),
    ("rd_spending", Figure::RAndD),
    ("land", Figure::LandMu),
    ("staff", Figure::Staff),
];

/// Adds what is declared for the year of a period and the year before.
///
/// Certificates and process emissions are known for the period when one is declared for it, a part of it, or its year;
/// else they are missing: who has none declares 0.
pub fn add(inputs: &mut Inputs, declarations: &Declarations, topology: &Topology, period: Period) {
    let mut stocks: BTreeMap<(String, String, Period), Stock<'_>> = BTreeMap::new();
    let (mut certificates, mut emissions) = (Vec::new(), Vec::new());
    let mut quota = Quota::default();
    let mut committed: Vec<Commitment> = Vec::new();
    let years = [period.year(), period.year().saturating_sub(1)];
    for (declaration, value) in declarations.in_force().filter(|(declaration, _)| years.contains(&declaration.key.period.year())) {
        let key = &declaration.key;
        let (source, of) = (provenance(declaration), key.period);
        let whose = (key.subject != PARK).then(|| key.subject.clone());
        let this_year = of.year() == period.year();
        let energy = || PeriodEnergy { period: of, energy: value.clone(), source: source.clone() };
        match key.figure.as_str() {
            name if PLAIN.iter().any(|(plain, _)| *plain == name) => {
                let figure = PLAIN.iter().find(|(plain, _)| *plain == name).map(|(_, figure)| *figure);
                let declared =
                    |figure| Declared { figure, enterprise: whose.clone(), period: of, value: value.clone(), estimate: false, source };
                inputs.declared.extend(figure.map(declared));
            }
            "leading_industry" | "high_tech" if this_year => {
                if let Some(enterprise) = inputs.enterprises.iter_mut().find(|enterprise| enterprise.id == key.subject) {
                    let flag = if key.figure == "high_tech" { &mut enterprise.high_tech } else { &mut enterprise.leading };
                    *flag = Some(!value.is_zero());
                }
            }
            "certificates_own_pv" | "certificates_bought" => {
                let own = key.figure == "certificates_own_pv";
                let plant = topology.meters.iter().find(|meter| meter.place == Place::Pv && meter.enterprise == whose);
                if own && plant.is_none() {
                    // Nothing caps them: without a metered plant there is no generation that they could be of.
                    continue;
                }
                certificates.push(Certificate {
                    kind: if own { CertificateKind::OwnPv } else { CertificateKind::Bought },
                    holder: whose,
                    pv_meter: plant.filter(|_| own).map(|meter| meter.point.identity.stable_id.clone()),
                    period: of,
                    certificates: value.over(&Number::from(1000)).unwrap_or_default(),
                    source,
                });
            }
            "process_emissions" => emissions.push(ProcessEmission {
                enterprise: key.subject.clone(),
                period: of,
                co2: value.clone(),
                process: declaration.note.clone(),
                source,
            }),
            "heat_bought" | "heat_sold" => {
                let place = match (key.figure == "heat_bought", whose.is_some()) {
                    (true, true) => Place::Import,
                    (true, false) => Place::Gate,
                    (false, true) => Place::InternalExport,
                    (false, false) => Place::GateExport,
                };
                inputs.amounts.push(amount(HEAT, place, whose, of, value, source));
            }
            "recirculated_water" => inputs.amounts.push(amount(WATER, Place::Recirculated, whose, of, value, source)),
            "energy_allowance" => quota.allowances.push(Allowance { period: of, energy: value.clone(), source }),
            "approved_not_producing" if this_year => {
                let project = if declaration.note.is_empty() { key.figure.clone() } else { declaration.note.clone() };
                committed.push(Commitment { project, energy: value.clone(), source });
            }
            "controlled_energy" if this_year => quota.closed.push(energy()),
            "controlled_energy" => quota.last_year.push(energy()),
            "innovation_platforms" => {
                inputs.park.innovation_platforms.insert(of, value.clone());
            }
            name => {
                if let Some(fuel) = name.strip_prefix("feedstock.") {
                    inputs.amounts.push(amount(fuel, Place::Feedstock, whose, of, value, source));
                } else if let Some((fuel, part)) = name.strip_prefix("fuel.").and_then(|rest| rest.rsplit_once('.')) {
                    let stock = stocks.entry((fuel.to_owned(), key.subject.clone(), of)).or_default();
                    match part {
                        "opening" => stock.opening = Some(value),
                        "closing" => stock.closing = Some(value),
                        _ => stock.purchased = Some((value, declaration)),
                    }
                }
            }
        }
    }
    if !committed.is_empty() {
        quota.committed = Some(committed);
    }
    if !quota.allowances.is_empty() || !quota.closed.is_empty() || !quota.last_year.is_empty() || quota.committed.is_some() {
        inputs.quota = Some(quota);
    }
    let known = |of: Period| of == period || within(of, period) || within(period, of);
    inputs.certificates = certificates.iter().any(|one| known(one.period)).then_some(certificates);
    inputs.process_emissions = emissions.iter().any(|one| known(one.period)).then_some(emissions);
    for ((fuel, enterprise, of), stock) in stocks {
        stock.add(inputs, fuel, enterprise, of);
    }
}

/// Whether a period lies in another, longer one.
fn within(inner: Period, outer: Period) -> bool {
    inner.kind() < outer.kind() && Period::containing(outer.kind(), inner.first_day().at(0, 0, 0, 0)) == outer
}

fn amount(energy: &str, place: Place, enterprise: Option<String>, period: Period, value: &Number, source: Provenance) -> DeclaredAmount {
    DeclaredAmount { energy: energy.to_owned(), place, enterprise, period, amount: value.clone(), unit: None, estimate: false, source }
}

/// What is declared of a fuel's stock.
#[derive(Default)]
struct Stock<'a> {
    opening: Option<&'a Number>,
    purchased: Option<(&'a Number, &'a Declaration)>,
    closing: Option<&'a Number>,
}

impl Stock<'_> {
    /// All three are a stock (R-STOCK); purchases alone are what was used. One without the others is told as a meter whose
    /// total is not known, so that it is missing and not zero.
    fn add(self, inputs: &mut Inputs, fuel: String, enterprise: String, period: Period) {
        match self {
            Self { opening: Some(opening), purchased: Some((purchased, declaration)), closing: Some(closing) } => {
                inputs.stocks.push(FuelStock {
                    energy: fuel,
                    enterprise,
                    period,
                    opening: opening.clone(),
                    purchases: purchased.clone(),
                    closing: closing.clone(),
                    unit: None,
                    estimate: false,
                    source: provenance(declaration),
                });
            }
            Self { opening: None, purchased: Some((purchased, declaration)), closing: None } => {
                inputs.amounts.push(amount(&fuel, Place::Import, Some(enterprise), period, purchased, provenance(declaration)));
            }
            Self { opening, purchased, closing } => {
                let parts = [("opening", opening.is_none()), ("purchased", purchased.is_none()), ("closing", closing.is_none())];
                let lacking: Vec<String> =
                    parts.iter().filter(|(_, is_lacking)| *is_lacking).map(|(part, _)| format!("fuel.{fuel}.{part}")).collect();
                let id = format!("{enterprise}/fuel.{fuel}");
                if !inputs.meters.iter().any(|meter| meter.id == id) {
                    inputs.meters.push(Meter {
                        id: id.clone(),
                        energy: fuel,
                        place: Place::Import,
                        enterprise: Some(enterprise.clone()),
                        parent: None,
                        unit: None,
                        modulus: None,
                        rate_max: None,
                        readings_every_minutes: None,
                        segments: Vec::new(),
                        readings: Vec::new(),
                    });
                }
                inputs.totals.push(MeterTotal {
                    meter: id,
                    period,
                    amount: None,
                    flags: Vec::new(),
                    estimated: Number::zero(),
                    interpolated: Number::zero(),
                    completeness: None,
                    incomplete: Some(format!("{} of {enterprise} for {period} is not declared", lacking.join(" and "))),
                    readings: Vec::new(),
                });
            }
        }
    }
}

/// Who declared a figure, when, by which paper.
pub fn provenance(declaration: &Declaration) -> Provenance {
    Provenance {
        id: Some(declaration.id.to_string()),
        document: Some(declaration.document.clone()),
        author: Some(declaration.author.clone()),
        entered_at: Some(moment(declaration.time)),
    }
}

/// The months of a period's year up to the period, and the period itself: what a year to date is made of.
pub fn months_to_date(period: Period) -> Vec<Period> {
    let mut months: Vec<Period> = Vec::new();
    let mut month = Period::containing(PeriodKind::Month, period.whole_year().first_day().at(0, 0, 0, 0));
    while month.year() == period.year() && month.first_day() < period.end_day() {
        months.push(month);
        month = month.next();
    }
    months
}
