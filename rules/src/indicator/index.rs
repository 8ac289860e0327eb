//! Inputs checked and sorted once: sources of amounts by place, energy and enterprise, declared figures by what they are for,
//! registers with their stretches. Every lookup of an indicator is one by key, so a year of thousands of meters is quick.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::inputs::{Figure, Inputs, Meter, Place, Provenance};
use super::term::InputId;
use super::{registers, unit};
use crate::Number;
use crate::factor::{FactorKind, FactorRow, Factors};
use crate::meter::Register;
use crate::period::{Moment, Period, Range, Zone};

/// Places of inputs that belong together, by what they share.
type Groups<K> = BTreeMap<K, Vec<usize>>;

/// Something wrong with the inputs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, thiserror::Error)]
#[error("{path}: {what}")]
pub struct Problem {
    /// Where: `meters[3].enterprise`.
    pub path: String,
    /// What is wrong and what to do.
    pub what: String,
}

/// Entries that each stand for a range of time, found by the range they are to cover.
#[derive(Clone, Debug, Default)]
pub struct Tiles {
    /// Start, end, number of the entry; sorted, the longest first of those with one start.
    tiles: Vec<(i64, std::cmp::Reverse<i64>, usize)>,
}

/// Where amounts come from.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its path.
    pub input: InputId,
    /// Energy or medium, without aliases.
    pub energy: String,
    /// Place.
    pub place: Place,
    /// Enterprise, by number.
    pub enterprise: Option<usize>,
    /// Factor from its unit to the unit of the figures.
    pub to_base: Number,
    /// Unit of the figures: kWh, GJ, kg, m3.
    pub unit: &'static str,
    /// What it is.
    pub kind: SourceKind,
}

/// What a source is.
#[derive(Clone, Debug)]
pub enum SourceKind {
    /// A meter: its number, its totals, its register when it has readings.
    Meter(usize, Tiles, Option<Register>),
    /// Declared amounts.
    Amounts(Tiles),
    /// Stocks of a fuel.
    Stocks(Tiles),
}

/// The inputs, checked and sorted.
#[derive(Debug)]
pub struct Index<'a> {
    /// As they were given.
    pub inputs: &'a Inputs,
    /// Factor rows.
    pub factors: Factors,
    /// All sources.
    pub sources: Vec<Source>,
    /// Sources by place and energy.
    by_place: BTreeMap<Place, BTreeMap<String, Vec<usize>>>,
    /// Sources of each enterprise.
    pub of_enterprise: Vec<Vec<usize>>,
    /// Sources by meter id.
    pub by_meter: BTreeMap<&'a str, usize>,
    /// Enterprises by id.
    pub enterprises: BTreeMap<&'a str, usize>,
    declared: BTreeMap<(Figure, Option<usize>), Tiles>,
    paths: Vec<String>,
    path_ids: BTreeMap<String, InputId>,
}

/// The key a name of an energy stands for.
pub fn energy_key(name: &str) -> &str {
    match name {
        "gas" | "natural_gas" => "natural_gas_gas_field",
        "coal" => "raw_coal",
        other => other,
    }
}

fn unaliased(row: &FactorRow) -> FactorRow {
    FactorRow { key: energy_key(&row.key).to_owned(), ..row.clone() }
}

impl Tiles {
    /// Of entries for the same period the one entered last counts, at the same time the one further down.
    pub fn of<'e>(entries: impl Iterator<Item = (usize, Period, &'e Provenance)>, zone: &Zone) -> Self {
        let mut last: BTreeMap<Period, (Option<i64>, usize)> = BTreeMap::new();
        for (number, period, source) in entries {
            let key = (source.entered_at.map(|moment| moment.at(zone).as_millisecond()), number);
            let best = last.entry(period).or_insert(key);
            *best = key.max(*best);
        }
        let ranges = last.into_iter().map(|(period, (_, number))| (period.span(zone), number));
        let mut tiles: Vec<_> = ranges.map(|(range, number)| (range.start, std::cmp::Reverse(range.end), number)).collect();
        tiles.sort_unstable();
        Self { tiles }
    }

    /// Entries that together cover the range exactly, the longest ones first; else the first instant that none begins at.
    pub fn cover(&self, range: Range) -> Result<Vec<(Range, usize)>, i64> {
        let mut at = range.start;
        let mut found = Vec::new();
        while at < range.end {
            let first = self.tiles.partition_point(|(start, ..)| *start < at);
            let here = self.tiles.get(first..).unwrap_or_default().iter().take_while(|(start, ..)| *start == at);
            let (_, end, number) = here.into_iter().find(|(_, end, _)| end.0 <= range.end).ok_or(at)?;
            found.push((Range { start: at, end: end.0 }, *number));
            at = end.0;
        }
        Ok(found)
    }

    /// The shortest entry that holds the range as a whole.
    pub fn holding(&self, range: Range) -> Option<usize> {
        let until = self.tiles.partition_point(|(start, ..)| *start <= range.start);
        let before = self.tiles.get(..until)?.iter().filter(|(_, end, _)| end.0 >= range.end);
        before.min_by_key(|(start, end, _)| end.0.saturating_sub(*start)).map(|(.., number)| *number)
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.tiles.is_empty()
    }
}

impl<'a> Index<'a> {
    /// Checks and sorts; all problems at once.
    pub fn new(inputs: &'a Inputs) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut index = Self {
            inputs,
            factors: Factors::with(inputs.factors.iter().map(unaliased).collect()),
            sources: Vec::new(),
            by_place: BTreeMap::new(),
            of_enterprise: vec![Vec::new(); inputs.enterprises.len()],
            by_meter: BTreeMap::new(),
            enterprises: BTreeMap::new(),
            declared: BTreeMap::new(),
            paths: Vec::new(),
            path_ids: BTreeMap::new(),
        };
        for (number, enterprise) in inputs.enterprises.iter().enumerate() {
            if index.enterprises.insert(&enterprise.id, number).is_some() {
                problems.push(problem(format!("enterprises[{number}].id"), format!("`{}` is there twice", enterprise.id)));
            }
        }
        index.add_meters(&mut problems);
        index.add_amounts(&mut problems);
        index.add_stocks(&mut problems);
        index.add_declared(&mut problems);
        index.intern_rest();
        super::check::rest(&index, &mut problems);
        for (number, source) in index.sources.iter().enumerate() {
            index.by_place.entry(source.place).or_default().entry(source.energy.clone()).or_default().push(number);
            if let Some(own) = source.enterprise.and_then(|enterprise| index.of_enterprise.get_mut(enterprise)) {
                own.push(number);
            }
        }
        problems.sort_unstable();
        if problems.is_empty() { Ok(index) } else { Err(problems) }
    }

    /// The park's zone.
    pub fn zone(&self) -> &Zone {
        &self.inputs.park.zone
    }

    /// An instant in milliseconds.
    pub fn at(&self, moment: &Moment) -> i64 {
        moment.at(self.zone()).as_millisecond()
    }

    /// Sources at a place.
    pub fn at_place(&self, place: Place, energy: &str) -> &[usize] {
        self.by_place.get(&place).and_then(|energies| energies.get(energy)).map(Vec::as_slice).unwrap_or_default()
    }

    /// Energies that are met at a place.
    pub fn energies_at(&self, place: Place) -> impl Iterator<Item = &str> {
        self.by_place.get(&place).into_iter().flat_map(|energies| energies.keys().map(String::as_str))
    }

    /// Fuels met anywhere: all but electricity, heat, water, and working media unless they are asked for.
    pub fn fuels(&self) -> BTreeSet<&str> {
        let places = [Place::Gate, Place::GateExport, Place::Import, Place::Public, Place::InternalExport];
        let all = places.into_iter().flat_map(|place| self.energies_at(place));
        all.filter(|energy| !matches!(*energy, "electricity" | "heat" | "water")).filter(|energy| self.counts(energy)).collect()
    }

    /// Whether an energy counts: working media only where they are asked for.
    pub fn counts(&self, energy: &str) -> bool {
        self.inputs.include_media || self.factors.knows(FactorKind::Equivalent, energy)
    }

    /// The number of a path.
    pub fn input(&self, path: &str) -> Option<InputId> {
        self.path_ids.get(path).copied()
    }

    /// The path of a number.
    pub fn path(&self, input: InputId) -> &str {
        usize::try_from(input).ok().and_then(|input| self.paths.get(input)).map_or("?", String::as_str)
    }

    /// Entries of a declared figure.
    pub fn declared(&self, figure: Figure, enterprise: Option<usize>) -> Option<&Tiles> {
        self.declared.get(&(figure, enterprise))
    }

    /// The id of an enterprise.
    pub fn enterprise(&self, number: usize) -> &str {
        self.inputs.enterprises.get(number).map_or("?", |enterprise| enterprise.id.as_str())
    }

    /// A path that inputs are told by.
    pub fn intern(&mut self, path: String) -> InputId {
        if let Some(input) = self.path_ids.get(&path) {
            return *input;
        }
        let input = InputId::try_from(self.paths.len()).unwrap_or(InputId::MAX);
        self.paths.push(path.clone());
        self.path_ids.insert(path, input);
        input
    }

    /// Paths of inputs that are looked up by their place in a list.
    fn intern_rest(&mut self) {
        let inputs = self.inputs;
        let quota = inputs.quota.as_ref();
        let lists = [
            ("certificates", inputs.certificates.as_ref().map_or(0, Vec::len)),
            ("process_emissions", inputs.process_emissions.as_ref().map_or(0, Vec::len)),
            ("quota.allowances", quota.map_or(0, |quota| quota.allowances.len())),
            ("quota.closed", quota.map_or(0, |quota| quota.closed.len())),
            ("quota.last_year", quota.map_or(0, |quota| quota.last_year.len())),
            ("quota.last_year_to_date", quota.map_or(0, |quota| quota.last_year_to_date.len())),
            ("quota.committed", quota.and_then(|quota| quota.committed.as_ref()).map_or(0, Vec::len)),
            ("emissions", inputs.emissions.len()),
            ("values", inputs.values.len()),
        ];
        for (name, count) in lists {
            for number in 0..count {
                self.intern(format!("{name}[{number}]"));
            }
        }
        for year in inputs.park.innovation_platforms.keys() {
            self.intern(format!("park.innovation_platforms.{year}"));
        }
        for name in ["charging.sessions", "charging.states"] {
            self.intern(name.to_owned());
        }
    }

    /// The number of an enterprise that is named at a path.
    pub fn named(&self, id: Option<&str>, path: &str, problems: &mut Vec<Problem>) -> Option<usize> {
        let id = id?;
        let found = self.enterprises.get(id).copied();
        if found.is_none() {
            problems.push(problem(path.to_owned(), format!("no enterprise `{id}` in `enterprises`")));
        }
        found
    }

    fn add_meters(&mut self, problems: &mut Vec<Problem>) {
        let mut totals: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (number, total) in self.inputs.totals.iter().enumerate() {
            totals.entry(&total.meter).or_default().push(number);
        }
        let none = Provenance::default();
        for (number, meter) in self.inputs.meters.iter().enumerate() {
            let path = format!("meters[{number}]");
            let enterprise = self.named(meter.enterprise.as_deref(), &format!("{path}.enterprise"), problems);
            let own = totals.remove(meter.id.as_str()).unwrap_or_default();
            let own = own.iter().filter_map(|number| Some((*number, self.inputs.totals.get(*number)?.period, &none)));
            let tiles = Tiles::of(own, self.zone());
            let register = registers::register(meter, self.zone(), &path, problems);
            let input = self.intern(format!("meters.{}", meter.id));
            let source = self.sources.len();
            self.check_place(meter, enterprise, &path, problems);
            let kind = SourceKind::Meter(number, tiles, register);
            self.add_source(input, &meter.energy, meter.place, enterprise, meter.unit.as_deref(), kind, &path, problems);
            if self.by_meter.insert(&meter.id, source).is_some() {
                problems.push(problem(format!("{path}.id"), format!("`{}` is there twice", meter.id)));
            }
        }
        for (meter, numbers) in totals {
            for number in numbers {
                problems.push(problem(format!("totals[{number}].meter"), format!("no meter `{meter}` in `meters`")));
            }
        }
        for (number, meter) in self.inputs.meters.iter().enumerate() {
            if let Some(parent) = meter.parent.as_deref().filter(|parent| !self.by_meter.contains_key(parent)) {
                problems.push(problem(format!("meters[{number}].parent"), format!("no meter `{parent}` in `meters`")));
            }
        }
    }

    fn check_place(&self, meter: &Meter, enterprise: Option<usize>, path: &str, problems: &mut Vec<Problem>) {
        let owned = matches!(meter.place, Place::Import | Place::InternalExport | Place::Fresh | Place::Recirculated);
        if owned && enterprise.is_none() && meter.enterprise.is_none() {
            problems.push(problem(format!("{path}.enterprise"), "a meter at this place belongs to an enterprise: name it".to_owned()));
        }
        let water = matches!(meter.place, Place::Fresh | Place::Household | Place::Recirculated | Place::Reclaimed | Place::Treated);
        if water && meter.energy != "water" {
            problems.push(problem(format!("{path}.energy"), format!("`{}` at a place of water: it has to be `water`", meter.energy)));
        }
        if meter.place == Place::Pv && meter.energy != "electricity" {
            problems.push(problem(format!("{path}.energy"), format!("`{}` of a PV plant: it has to be `electricity`", meter.energy)));
        }
    }

    fn add_amounts(&mut self, problems: &mut Vec<Problem>) {
        let mut groups: Groups<(&str, Place, Option<usize>, Option<&str>)> = Groups::new();
        for (number, amount) in self.inputs.amounts.iter().enumerate() {
            let enterprise = self.named(amount.enterprise.as_deref(), &format!("amounts[{number}].enterprise"), problems);
            let owned = matches!(amount.place, Place::Import | Place::InternalExport | Place::Fresh | Place::Recirculated);
            if owned && amount.enterprise.is_none() {
                problems.push(problem(
                    format!("amounts[{number}].enterprise"),
                    "an amount at this place belongs to an enterprise: name it".to_owned(),
                ));
            }
            let key = (energy_key(&amount.energy), amount.place, enterprise, amount.unit.as_deref());
            groups.entry(key).or_default().push(number);
        }
        for ((energy, place, enterprise, unit), numbers) in groups {
            let entries =
                numbers.iter().filter_map(|number| self.inputs.amounts.get(*number).map(|amount| (*number, amount.period, &amount.source)));
            let tiles = Tiles::of(entries, self.zone());
            let owner = enterprise.map_or(String::new(), |enterprise| format!(".{}", self.enterprise(enterprise)));
            let input = self.intern(format!("amounts.{energy}.{}{owner}", place_name(place)));
            let path = format!("amounts[{}]", numbers.first().copied().unwrap_or_default());
            self.add_source(input, energy, place, enterprise, unit, SourceKind::Amounts(tiles), &path, problems);
        }
    }

    fn add_stocks(&mut self, problems: &mut Vec<Problem>) {
        let mut groups: Groups<(&str, Option<usize>, Option<&str>)> = Groups::new();
        for (number, stock) in self.inputs.stocks.iter().enumerate() {
            let enterprise = self.named(Some(&stock.enterprise), &format!("stocks[{number}].enterprise"), problems);
            groups.entry((energy_key(&stock.energy), enterprise, stock.unit.as_deref())).or_default().push(number);
        }
        for ((energy, enterprise, unit), numbers) in groups {
            let entries =
                numbers.iter().filter_map(|number| self.inputs.stocks.get(*number).map(|stock| (*number, stock.period, &stock.source)));
            let tiles = Tiles::of(entries, self.zone());
            let owner = enterprise.map_or("?", |enterprise| self.enterprise(enterprise));
            let input = self.intern(format!("stocks.{energy}.{owner}"));
            let path = format!("stocks[{}]", numbers.first().copied().unwrap_or_default());
            self.add_source(input, energy, Place::Import, enterprise, unit, SourceKind::Stocks(tiles), &path, problems);
        }
    }

    fn add_declared(&mut self, problems: &mut Vec<Problem>) {
        let mut groups: BTreeMap<(Figure, Option<usize>), Vec<usize>> = BTreeMap::new();
        for (number, declared) in self.inputs.declared.iter().enumerate() {
            let enterprise = self.named(declared.enterprise.as_deref(), &format!("declared[{number}].enterprise"), problems);
            if declared.enterprise.is_some() == enterprise.is_some() {
                groups.entry((declared.figure, enterprise)).or_default().push(number);
            }
        }
        for (key, numbers) in groups {
            let entries =
                numbers.iter().filter_map(|number| self.inputs.declared.get(*number).map(|entry| (*number, entry.period, &entry.source)));
            let tiles = Tiles::of(entries, self.zone());
            self.intern(declared_path(key.0, key.1.map(|enterprise| self.enterprise(enterprise))));
            self.declared.insert(key, tiles);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of a source, from three kinds of inputs")]
    fn add_source(
        &mut self,
        input: InputId,
        energy: &str,
        place: Place,
        enterprise: Option<usize>,
        given: Option<&str>,
        kind: SourceKind,
        path: &str,
        problems: &mut Vec<Problem>,
    ) {
        let energy = energy_key(energy);
        let rows = self.factors.table(FactorKind::Equivalent).chain(self.factors.table(FactorKind::Medium));
        let by_table = rows.into_iter().find(|row| row.key == energy).map(|row| row.unit.clone());
        let native = match energy {
            "electricity" => Some("kWh".to_owned()),
            "heat" => Some("GJ".to_owned()),
            "water" => Some("m3".to_owned()),
            _ => by_table,
        };
        let Some(native) = native else {
            let what = format!(
                "no energy `{energy}` in the factor tables: use a key of `config/factors/equivalent.toml` or give a row in `factors`"
            );
            problems.push(problem(format!("{path}.energy"), what));
            return;
        };
        let base = match unit::dimension(&native) {
            Some(unit::Dimension::Energy) if energy == "heat" => "GJ",
            Some(unit::Dimension::Energy) | None => "kWh",
            Some(unit::Dimension::Mass) => "kg",
            Some(unit::Dimension::Volume) => "m3",
        };
        let Some(to_base) = unit::factor(given.unwrap_or(&native), base) else {
            let what = format!("`{}` is no unit of {energy}, which is counted in {base}", given.unwrap_or(&native));
            problems.push(problem(format!("{path}.unit"), what));
            return;
        };
        self.sources.push(Source { input, energy: energy.to_owned(), place, enterprise, to_base, unit: base, kind });
    }
}

/// The path of a declared figure.
pub fn declared_path(figure: Figure, enterprise: Option<&str>) -> String {
    let name = match figure {
        Figure::Revenue => "revenue",
        Figure::AddedValue => "added_value",
        Figure::Output => "output",
        Figure::Tax => "tax",
        Figure::RAndD => "r_and_d",
        Figure::LandMu => "land_mu",
        Figure::Staff => "staff",
    };
    enterprise.map_or_else(|| format!("declared.{name}"), |enterprise| format!("declared.{name}.{enterprise}"))
}

/// A place as inputs name it.
pub fn place_name(place: Place) -> &'static str {
    match place {
        Place::Gate => "gate",
        Place::GateExport => "gate_export",
        Place::Pv => "pv",
        Place::InternalExport => "internal_export",
        Place::Import => "import",
        Place::Public => "public",
        Place::Charging => "charging",
        Place::Feedstock => "feedstock",
        Place::Fresh => "fresh",
        Place::Household => "household",
        Place::Recirculated => "recirculated",
        Place::Reclaimed => "reclaimed",
        Place::Treated => "treated",
        Place::Sub => "sub",
    }
}

/// A problem.
pub fn problem(path: String, what: String) -> Problem {
    Problem { path, what }
}
