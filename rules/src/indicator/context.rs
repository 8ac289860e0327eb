//! The figures of one span of time, formed once and shared by all indicators that ask for them: amounts of sources, declared
//! figures, factor rows.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use jiff::Timestamp;

use super::balance::Balance;
use super::index::{Index, Source, SourceKind, Tiles, declared_path};
use super::inputs::{Figure, MeterTotal, Place, Provenance, Reading};
use super::result::{Leaf, Missing, Node};
use super::term::{Label, Term, Terms, label};
use super::unit;
use crate::Number;
use crate::factor::{FactorError, FactorKind, FactorRow, FactorUse};
use crate::meter::{Hole, Register, Total};
use crate::period::{Day, Range};

/// One span of time with its figures.
pub struct Context<'a> {
    /// The inputs.
    pub index: &'a Index<'a>,
    /// The span.
    pub range: Range,
    /// Builder of terms.
    pub terms: Terms,
    /// Last day of the span: factor rows valid on it count.
    pub last_day: Day,
    /// Day the report is closed.
    pub closed_on: Day,
    amounts: RefCell<Vec<Option<Term>>>,
    balance: OnceCell<Rc<Balance>>,
    /// Terms that several indicators use, by name.
    shared: RefCell<BTreeMap<&'static str, Term>>,
}

impl<'a> Context<'a> {
    /// The figures of a span.
    pub fn new(index: &'a Index<'a>, range: Range, explain: bool) -> Self {
        let day = |at: i64| Day(index.zone().civil(Timestamp::from_millisecond(at).unwrap_or_default()).date());
        Self {
            index,
            range,
            terms: Terms { explain },
            last_day: day(range.end.saturating_sub(1)),
            closed_on: index.inputs.closed_on.unwrap_or_else(|| day(range.end)),
            amounts: RefCell::new(vec![None; index.sources.len()]),
            balance: OnceCell::new(),
            shared: RefCell::default(),
        }
    }

    /// A term that is formed once for this span.
    pub fn shared(&self, name: &'static str, form: impl FnOnce() -> Term) -> Term {
        if let Some(term) = self.shared.borrow().get(name) {
            return term.clone();
        }
        let term = form();
        self.shared.borrow_mut().insert(name, term.clone());
        term
    }

    /// The balance of the park's networks.
    pub fn balance(&self) -> Rc<Balance> {
        Rc::clone(self.balance.get_or_init(|| Rc::new(Balance::of(self))))
    }

    /// The amount of a source in kWh, GJ, kg or m3.
    pub fn amount(&self, number: usize) -> Term {
        if let Some(term) = self.amounts.borrow().get(number).and_then(Option::as_ref) {
            return term.clone();
        }
        let Some(source) = self.index.sources.get(number) else { return Term::default() };
        let term = self.form(source);
        if let Some(place) = self.amounts.borrow_mut().get_mut(number) {
            *place = Some(term.clone());
        }
        term
    }

    /// The sum of all sources at a place; 0 when the topology has none.
    pub fn at_place(&self, place: Place, energy: &str, name: Label) -> Term {
        let amounts = self.index.at_place(place, energy).iter().map(|source| self.amount(*source)).collect();
        self.terms.sum(name, amounts)
    }

    /// An amount as standard coal, tce, by the row of a table valid on the last day of the span.
    pub fn tce(&self, name: Label, amount: Term, kind: FactorKind, energy: &str, unit: &str) -> Term {
        self.by_table(name, amount, kind, energy, unit, "amount x kgce per unit / 1000")
    }

    /// An amount as t of CO2 by the row of a table.
    pub fn co2(&self, name: Label, amount: Term, kind: FactorKind, energy: &str, unit: &str) -> Term {
        let formula = if kind == FactorKind::HeatCarbon { "GJ x tCO2 per GJ" } else { "amount x kgCO2 per unit / 1000" };
        self.by_table(name, amount, kind, energy, unit, formula)
    }

    fn by_table(&self, name: Label, amount: Term, kind: FactorKind, energy: &str, unit: &str, formula: &str) -> Term {
        if amount.value.as_ref().is_some_and(Number::is_zero) && amount.incomplete.is_empty() {
            // Nothing of it: no factor is needed, and none is named.
            return self.terms.renamed(name, amount);
        }
        let row = match self.row(kind, energy) {
            Ok(row) => row,
            Err(error) => return self.terms.sum(name, vec![amount, Term::missing(factor_path(kind, energy), error.to_string())]),
        };
        let Some(used) = row.used() else { return amount };
        let Some(to_row) = unit::factor(unit, &row.unit) else {
            let why = format!("the row is per {}, the amount is in {unit}", row.unit);
            return self.terms.sum(name, vec![amount, Term::missing(factor_path(kind, energy), why)]);
        };
        let thousandth = if kind == FactorKind::HeatCarbon { Number::one() } else { Number::decimal(1, 3) };
        self.terms.by_factor(name, amount, &Arc::new(used), &(to_row * thousandth), formula)
    }

    /// The row that counts: of grid factors the newest one published by the closing date, else the one valid on the last day.
    pub fn row(&self, kind: FactorKind, key: &str) -> Result<&FactorRow, FactorError> {
        match kind {
            FactorKind::Grid => self.index.factors.newest(kind, key, self.closed_on),
            _ => self.index.factors.valid(kind, key, self.last_day),
        }
    }

    /// The row that counts, as results name it.
    pub fn used(&self, kind: FactorKind, key: &str) -> Result<FactorUse, FactorError> {
        let row = self.row(kind, key)?;
        row.used().ok_or_else(|| FactorError::None { kind, key: key.to_owned(), day: self.last_day })
    }

    /// A declared figure: of the park when it was declared for it, else the sum over the enterprises, each of which has to
    /// have it. Land and staff are levels: the shortest entry that holds the span.
    pub fn declared(&self, figure: Figure, name: Label) -> Term {
        if let Some(tiles) = self.index.declared(figure, None) {
            return self.terms.renamed(name, self.declared_of(figure, None, tiles));
        }
        if self.index.inputs.enterprises.is_empty() {
            return Term::missing(declared_path(figure, None), "no enterprise and no figure of the park is given");
        }
        let each = (0..self.index.inputs.enterprises.len()).map(|enterprise| self.declared_by(figure, enterprise)).collect();
        self.terms.sum(name, each)
    }

    /// A declared figure of one enterprise.
    pub fn declared_by(&self, figure: Figure, enterprise: usize) -> Term {
        match self.index.declared(figure, Some(enterprise)) {
            Some(tiles) => self.declared_of(figure, Some(enterprise), tiles),
            None => {
                let path = declared_path(figure, Some(self.index.enterprise(enterprise)));
                Term::missing(path, format!("not declared for {}", self.span_text(self.range)))
            }
        }
    }

    fn declared_of(&self, figure: Figure, enterprise: Option<usize>, tiles: &Tiles) -> Term {
        let path = declared_path(figure, enterprise.map(|enterprise| self.index.enterprise(enterprise)));
        let level = matches!(figure, Figure::LandMu | Figure::Staff);
        let found = if level {
            tiles.holding(self.range).map(|number| vec![number]).ok_or(self.range.start)
        } else {
            tiles.cover(self.range).map(|tiles| tiles.into_iter().map(|(_, number)| number).collect())
        };
        let numbers: Vec<usize> = match found {
            Ok(numbers) => numbers,
            Err(at) => return Term::missing(path, format!("not declared for {} from {} on", self.span_text(self.range), self.text(at))),
        };
        let unit = match figure {
            Figure::LandMu => "mu",
            Figure::Staff => "1",
            _ => "10k CNY",
        };
        let input = self.index.input(&path);
        let entries = numbers.iter().filter_map(|number| self.index.inputs.declared.get(*number).map(|entry| (*number, entry)));
        let terms: Vec<Term> = entries
            .map(|(number, entry)| {
                let name = label(format!("申报值 {}", entry.period), format!("declared {path} {}", entry.period), unit);
                let leaf = || Leaf::Declared { input: format!("declared[{number}]"), source: entry.source.clone() };
                let mut term = self.terms.given(name, entry.value.clone(), input, leaf);
                if entry.estimate {
                    term.estimated = entry.value.clone();
                }
                term
            })
            .collect();
        let owner = enterprise.map_or("", |enterprise| self.index.enterprise(enterprise));
        self.terms.sum(label(owner, path, unit), terms)
    }

    /// An instant as text in park time.
    pub fn text(&self, at: i64) -> String {
        Timestamp::from_millisecond(at).map_or_else(|_| at.to_string(), |at| self.index.zone().text(at))
    }

    fn span_text(&self, range: Range) -> String {
        format!("{} to {}", self.text(range.start), self.text(range.end))
    }

    fn form(&self, source: &Source) -> Term {
        let path = self.index.path(source.input);
        let term = match &source.kind {
            SourceKind::Meter(meter, totals, register) => self.metered(source, *meter, totals, register.as_ref(), path),
            SourceKind::Amounts(tiles) => self.entries(source, tiles, path, |number| {
                let entry = self.index.inputs.amounts.get(number)?;
                let (zh, en) = (format!("申报量 {}", entry.period), format!("declared amount {}", entry.period));
                let leaf = Leaf::Declared { input: format!("amounts[{number}]"), source: entry.source.clone() };
                Some((self.terms.given(label(zh, en, ""), entry.amount.clone(), Some(source.input), || leaf), entry.estimate))
            }),
            SourceKind::Stocks(tiles) => self.entries(source, tiles, path, |number| {
                let stock = self.index.inputs.stocks.get(number)?;
                let part = |zh: &str, en: &str, value: &Number, provenance: &Provenance| {
                    let leaf = || Leaf::Declared { input: format!("stocks[{number}].{en}"), source: provenance.clone() };
                    self.terms.given(label(zh, en, ""), value.clone(), Some(source.input), leaf)
                };
                let parts = vec![
                    (true, part("期初库存", "opening", &stock.opening, &stock.source)),
                    (true, part("购入", "purchases", &stock.purchases, &stock.source)),
                    (false, part("期末库存", "closing", &stock.closing, &stock.source)),
                ];
                let name = label(format!("消耗 {}", stock.period), format!("used {}", stock.period), "");
                Some((self.terms.signed(name, parts), stock.estimate))
            }),
        };
        if source.to_base == Number::one() {
            return self.terms.renamed(label(path, path, source.unit), term);
        }
        self.terms.scaled(label(path, path, source.unit), term, &source.to_base, "change of unit")
    }

    /// The sum of declared entries that cover the span.
    fn entries(&self, source: &Source, tiles: &Tiles, path: &str, entry: impl Fn(usize) -> Option<(Term, bool)>) -> Term {
        let numbers = match tiles.cover(self.range) {
            Ok(numbers) => numbers,
            Err(at) => {
                return Term::missing(path, format!("nothing declared for {} from {} on", self.span_text(self.range), self.text(at)));
            }
        };
        let terms = numbers.into_iter().filter_map(|(_, number)| entry(number));
        let terms = terms.map(|(mut term, estimate)| {
            if estimate {
                term.estimated = term.value.clone().unwrap_or_default().abs();
            }
            term
        });
        let terms = terms.collect();
        self.terms.sum(label(path, path, own_unit(source)), terms)
    }

    fn metered(&self, source: &Source, meter: usize, totals: &Tiles, register: Option<&Register>, path: &str) -> Term {
        match (totals.cover(self.range), register) {
            (Ok(tiles), _) if !tiles.is_empty() => self.of_totals(source, &tiles, path),
            (_, Some(register)) => self.of_register(source, meter, register, path),
            (Err(at), None) if !totals.is_empty() => {
                Term::missing(path, format!("no total for {} from {} on", self.span_text(self.range), self.text(at)))
            }
            _ => Term::missing(path, format!("no reading and no total for {}", self.span_text(self.range))),
        }
    }

    fn of_totals(&self, source: &Source, tiles: &[(Range, usize)], path: &str) -> Term {
        let mut sum = Term { inputs: vec![source.input], ..Term::default() };
        let (mut value, mut children) = (Number::zero(), Vec::new());
        let (mut whole, mut got) = (Number::zero(), Number::zero());
        for (range, number) in tiles {
            let Some(total) = self.index.inputs.totals.get(*number) else { continue };
            match &total.amount {
                Some(amount) => value += amount,
                None => {
                    let why = total.incomplete.clone().unwrap_or_else(|| "the total is not known".to_owned());
                    sum.missing.push(Missing { input: path.to_owned(), why: format!("{}: {why}", total.period) });
                }
            }
            if let (Some(why), true) = (&total.incomplete, total.amount.is_some()) {
                sum.incomplete.push(Missing { input: path.to_owned(), why: format!("{}: {why}", total.period) });
            } else if total.flags.contains(&super::inputs::Flag::Suspect) && total.amount.is_some() {
                let why = format!("{}: a pair of readings was left out", total.period);
                sum.incomplete.push(Missing { input: path.to_owned(), why });
            }
            sum.estimated += &total.estimated;
            sum.interpolated += &total.interpolated;
            sum.flags.extend(&total.flags);
            whole += &range.hours();
            got += &(range.hours() * total.completeness.clone().unwrap_or_else(Number::one));
            if self.terms.explain {
                children.push(self.total_node(total, path));
            }
        }
        sum.completeness = (got.over(&whole).unwrap_or_else(Number::one).kept(), 1);
        sum.value = sum.missing.is_empty().then_some(value);
        if self.terms.explain {
            let name = label(path, path, own_unit(source));
            sum.node = Some(self.terms.node(name, Some("sum of the totals".to_owned()), sum.value.clone(), children));
        }
        sum
    }

    fn total_node(&self, total: &MeterTotal, path: &str) -> Node {
        let reading =
            |reading: &Reading, role| self.reading_node(&total.meter, self.index.at(&reading.time), reading.register.clone(), role);
        let last = total.readings.len().saturating_sub(1);
        let role = |place: usize| {
            if place == 0 {
                "opening"
            } else if place == last {
                "closing"
            } else {
                "reading"
            }
        };
        let children = total.readings.iter().enumerate().map(|(place, of)| reading(of, role(place))).collect();
        let name = label(format!("{path} {}", total.period), format!("{path} {}", total.period), "");
        *self.terms.node(name, Some("total formed from registers".to_owned()), total.amount.clone(), children)
    }

    fn of_register(&self, source: &Source, meter: usize, register: &Register, path: &str) -> Term {
        let total = register.total(self.range, self.terms.explain);
        let mut term = Term { inputs: vec![source.input], ..Term::default() };
        let id = self.index.inputs.meters.get(meter).map_or("?", |meter| meter.id.as_str());
        if self.terms.explain {
            term.node = Some(self.register_node(source, &total, id, path));
        }
        let hole = total.incomplete.map(|hole| match hole {
            Hole::Suspect(range) => {
                format!("the register fell between {} and {}, and no rollover explains it", self.text(range.start), self.text(range.end))
            }
            Hole::Uncovered(range) => format!("no reading covers {} to {}", self.text(range.start), self.text(range.end)),
        });
        match total.amount {
            Some(amount) => {
                term.incomplete.extend(hole.map(|why| Missing { input: path.to_owned(), why }));
                term.value = Some(amount.kept());
                term.estimated = total.estimated.kept();
                term.interpolated = total.interpolated.kept();
            }
            None => {
                let why = hole.unwrap_or_else(|| format!("no reading for {}", self.span_text(self.range)));
                term.missing.push(Missing { input: path.to_owned(), why });
            }
        }
        term.flags = total.flags;
        term.completeness = (total.completeness.kept(), 1);
        term
    }

    fn register_node(&self, source: &Source, total: &Total, id: &str, path: &str) -> Box<Node> {
        let children =
            total.evidence.iter().map(|evidence| self.reading_node(id, evidence.point.at, evidence.point.register.clone(), evidence.role));
        let mut formula = "differences of registers x multiplier".to_owned();
        for flag in &total.flags {
            formula.push_str(match flag {
                super::inputs::Flag::Rollover => "; the register wrapped",
                super::inputs::Flag::BoundaryInterpolated => "; split at the boundary in proportion to time",
                super::inputs::Flag::MeterExchanged => "; the meter was exchanged, no difference across it",
                super::inputs::Flag::TailEstimated => "; the lost end estimated from the valid days of the period",
                super::inputs::Flag::Suspect => "; a pair that cannot be right adds nothing",
            });
        }
        self.terms.node(label(path, path, own_unit(source)), Some(formula), total.amount.clone(), children.collect())
    }

    fn reading_node(&self, meter: &str, at: i64, register: Number, role: &'static str) -> Node {
        let time = self.text(at);
        let (zh, en) = (format!("表底数 {time}"), format!("register {time}"));
        let leaf = Some(Leaf::Reading { meter: meter.to_owned(), time, register: register.clone(), role });
        Node { zh, en, formula: None, value: Some(register), unit: String::new(), leaf, children: Vec::new() }
    }
}

/// The unit of a source before its change of unit, which is not told again.
fn own_unit(source: &Source) -> &'static str {
    if source.to_base == Number::one() { source.unit } else { "" }
}

fn factor_path(kind: FactorKind, key: &str) -> String {
    let table = match kind {
        FactorKind::Equivalent => "equivalent",
        FactorKind::EqualValue => "equal_value",
        FactorKind::Medium => "medium",
        FactorKind::Grid => "grid",
        FactorKind::FuelCarbon => "fuel_carbon",
        FactorKind::HeatCarbon => "heat_carbon",
    };
    format!("factors.{table}.{key}")
}
