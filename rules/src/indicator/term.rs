//! A value on its way to a result: with what it rests on, what is lacking, what of it is estimated, and on request the tree
//! that explains it. Every operation carries all of that along, so that no indicator can lose it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::inputs::Flag;
use super::result::{Leaf, Missing, Node, Status};
use crate::Number;
use crate::factor::FactorUse;

/// Number of an input path in the index.
pub type InputId = u32;

/// A name in both languages and the unit of the value.
#[derive(Clone, Debug)]
pub struct Label {
    /// Chinese.
    pub zh: String,
    /// English.
    pub en: String,
    /// Unit.
    pub unit: &'static str,
}

/// A label.
pub fn label(zh: impl Into<String>, en: impl Into<String>, unit: &'static str) -> Label {
    Label { zh: zh.into(), en: en.into(), unit }
}

/// A value with all that belongs to it.
#[derive(Clone, Debug, Default)]
pub struct Term {
    /// The value; none: something is missing, or the formula gives nothing.
    pub value: Option<Number>,
    /// Part of the value that is estimated.
    pub estimated: Number,
    /// Part of the value that splits at boundaries assigned.
    pub interpolated: Number,
    /// Sum and count of the completeness of the meters used.
    pub completeness: (Number, u32),
    /// What happened at the meters.
    pub flags: BTreeSet<Flag>,
    /// Inputs that are missing: then there is no value.
    pub missing: Vec<Missing>,
    /// Inputs that are not whole: then the value is what there is.
    pub incomplete: Vec<Missing>,
    /// Why the formula gives nothing.
    pub undefined: Option<&'static str>,
    /// Inputs used.
    pub inputs: Vec<InputId>,
    /// Factor rows used.
    pub factors: Vec<Arc<FactorUse>>,
    /// What else is to be said.
    pub notes: Vec<String>,
    /// The tree, when it is wanted.
    pub node: Option<Box<Node>>,
}

/// Builds terms, with trees or without.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Whether trees are wanted.
    pub explain: bool,
}

impl Term {
    /// A missing input.
    pub fn missing(input: impl Into<String>, why: impl Into<String>) -> Self {
        Self { missing: vec![Missing { input: input.into(), why: why.into() }], ..Self::default() }
    }

    /// How the value is to be taken.
    pub fn status(&self) -> Status {
        if !self.missing.is_empty() {
            Status::Missing
        } else if self.value.is_none() {
            Status::NotDefined
        } else if !self.incomplete.is_empty() {
            Status::Incomplete
        } else if !self.estimated.is_zero() || self.flags.contains(&Flag::TailEstimated) {
            Status::Estimated
        } else {
            Status::Ok
        }
    }

    /// The share of the value that is estimated; none without a value, 0 for a value of 0 of which nothing is.
    pub fn estimated_share(&self) -> Option<Number> {
        let value = self.value.as_ref()?;
        if self.estimated.is_zero() { Some(Number::zero()) } else { self.estimated.over(value) }
    }

    /// Mean completeness of the meters used.
    pub fn mean_completeness(&self) -> Option<Number> {
        let (sum, count) = &self.completeness;
        sum.over(&Number::from(i64::from(*count)))
    }

    /// With a note.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Takes over what belongs to another term, but not its value.
    fn absorb(&mut self, other: &mut Self) {
        self.completeness.0 += &other.completeness.0;
        self.completeness.1 += other.completeness.1;
        self.flags.append(&mut other.flags);
        self.missing.append(&mut other.missing);
        self.incomplete.append(&mut other.incomplete);
        self.undefined = self.undefined.or(other.undefined);
        self.inputs.append(&mut other.inputs);
        self.factors.append(&mut other.factors);
        self.notes.append(&mut other.notes);
    }

    /// Removes what is there twice.
    fn tidy(&mut self) {
        self.inputs.sort_unstable();
        self.inputs.dedup();
        self.factors.sort_unstable();
        self.factors.dedup();
        self.missing.sort_unstable();
        self.missing.dedup();
        self.incomplete.sort_unstable();
        self.incomplete.dedup();
        self.notes.sort_unstable();
        self.notes.dedup();
    }
}

impl Terms {
    /// A given number, a leaf of the tree.
    pub fn given(self, name: Label, value: Number, input: Option<InputId>, leaf: impl FnOnce() -> Leaf) -> Term {
        let node = self.explain.then(|| {
            let leaf = Some(leaf());
            Box::new(Node {
                zh: name.zh,
                en: name.en,
                formula: None,
                value: Some(value.clone()),
                unit: name.unit.to_owned(),
                leaf,
                children: Vec::new(),
            })
        });
        Term { value: Some(value), inputs: input.into_iter().collect(), node, ..Term::default() }
    }

    /// A number that follows from the period or from a convention, such as hours or 0.
    pub fn plain(self, name: Label, value: Number) -> Term {
        let node = self.explain.then(|| self.node(name, None, Some(value.clone()), Vec::new()));
        Term { value: Some(value), node, ..Term::default() }
    }

    /// The sum.
    pub fn sum(self, name: Label, terms: Vec<Term>) -> Term {
        self.signed(name, terms.into_iter().map(|term| (true, term)).collect())
    }

    /// The first minus the second.
    pub fn difference(self, name: Label, first: Term, second: Term) -> Term {
        self.signed(name, vec![(true, first), (false, second)])
    }

    /// The sum of terms, of which those with `false` are taken off.
    pub fn signed(self, name: Label, terms: Vec<(bool, Term)>) -> Term {
        let mut sum = Term::default();
        let (mut value, mut known) = (Number::zero(), true);
        let mut children = Vec::new();
        let all_plus = terms.iter().all(|(plus, _)| *plus);
        let formula = self.explain.then(|| {
            if all_plus {
                return "sum of the parts".to_owned();
            }
            let names = terms.iter().map(|(plus, term)| {
                let name = term.node.as_ref().map_or("?", |node| node.en.as_str());
                format!("{}{name}", if *plus { "+ " } else { "- " })
            });
            names.collect::<Vec<_>>().join(" ").trim_start_matches("+ ").to_owned()
        });
        for (plus, mut term) in terms {
            match &term.value {
                Some(part) if plus => value += part,
                Some(part) => value -= part,
                None => known = false,
            }
            sum.estimated += &term.estimated;
            if plus {
                sum.interpolated += &term.interpolated;
            } else {
                sum.interpolated -= &term.interpolated;
            }
            sum.absorb(&mut term);
            // A part the topology has nothing of is left out of the tree.
            let nothing = |node: &Node| node.children.is_empty() && node.leaf.is_none() && node.value.as_ref().is_some_and(Number::is_zero);
            children.extend(term.node.map(|node| *node).filter(|node| !nothing(node)));
        }
        sum.tidy();
        sum.value = known.then_some(value);
        sum.node = self.explain.then(|| self.node(name, formula, sum.value.clone(), children));
        sum
    }

    /// Times a factor that no row stands for, such as a change of unit.
    pub fn scaled(self, name: Label, term: Term, factor: &Number, formula: &str) -> Term {
        self.times(name, term, factor, formula, None)
    }

    /// Times the factor of a row, and a change of unit.
    pub fn by_factor(self, name: Label, term: Term, row: &Arc<FactorUse>, unit: &Number, formula: &str) -> Term {
        self.times(name, term, &(&row.value * unit), formula, Some(row))
    }

    fn times(self, name: Label, mut term: Term, factor: &Number, formula: &str, row: Option<&Arc<FactorUse>>) -> Term {
        term.value = term.value.map(|value| (value * factor).kept());
        term.estimated = (term.estimated * factor).kept();
        term.interpolated = (term.interpolated * factor).kept();
        let child = term.node.take();
        if let Some(row) = row {
            term.factors.push(Arc::clone(row));
        }
        term.node = self.explain.then(|| {
            let mut children: Vec<_> = child.map(|node| *node).into_iter().collect();
            children.extend(row.map(Self::factor_node));
            self.node(name, Some(formula.to_owned()), term.value.clone(), children)
        });
        term
    }

    /// The product of two terms; estimates of either count in full.
    pub fn product(self, name: Label, first: Term, second: Term, formula: &str) -> Term {
        let value = first.value.as_ref().zip(second.value.as_ref()).map(|(first, second)| (first * second).kept());
        self.of_two(name, first, second, value, formula)
    }

    /// The quotient; not defined for a divisor of 0.
    pub fn ratio(self, name: Label, first: Term, second: Term, formula: &str) -> Term {
        let both = first.value.as_ref().zip(second.value.as_ref());
        let zero = both.is_some_and(|(_, divisor)| divisor.is_zero());
        let value = both.and_then(|(first, second)| first.over(second)).map(|value| value.kept());
        let mut ratio = self.of_two(name, first, second, value, formula);
        if zero {
            ratio.undefined = Some("the divisor is 0");
        }
        ratio
    }

    fn of_two(self, name: Label, mut first: Term, mut second: Term, value: Option<Number>, formula: &str) -> Term {
        let share = first.estimated_share().unwrap_or_default().max(second.estimated_share().unwrap_or_default());
        let mut both = Term { value, ..Term::default() };
        both.estimated = both.value.as_ref().map(|value| (value * &share).kept()).unwrap_or_default();
        both.absorb(&mut first);
        both.absorb(&mut second);
        both.tidy();
        let children = first.node.into_iter().chain(second.node).map(|node| *node).collect();
        both.node = self.explain.then(|| self.node(name, Some(formula.to_owned()), both.value.clone(), children));
        both
    }

    /// The value, or 0 when it is negative.
    pub fn at_least_zero(self, name: Label, mut term: Term) -> Term {
        if term.value.as_ref().is_some_and(Number::is_negative) {
            term.value = Some(Number::zero());
            term.estimated = Number::zero();
            term.interpolated = Number::zero();
        }
        let child = term.node.take().map(|node| *node);
        term.node = self.explain.then(|| self.node(name, Some("at least 0".to_owned()), term.value.clone(), child.into_iter().collect()));
        term
    }

    /// The smaller one of two, which both have to be there; estimates are those of the smaller one.
    pub fn smaller(self, name: Label, first: Term, second: Term) -> Term {
        self.chosen(name, first, second, "the smaller one", |first, second| first <= second)
    }

    /// The larger one of two, which both have to be there.
    pub fn larger(self, name: Label, first: Term, second: Term) -> Term {
        self.chosen(name, first, second, "the larger one", |first, second| first >= second)
    }

    fn chosen(self, name: Label, mut first: Term, mut second: Term, formula: &str, takes: impl Fn(&Number, &Number) -> bool) -> Term {
        let mut chosen = Term::default();
        if let (Some(one), Some(other)) = (&first.value, &second.value) {
            let pick = if takes(one, other) { &first } else { &second };
            chosen.value = pick.value.clone();
            chosen.estimated = pick.estimated.clone();
            chosen.interpolated = pick.interpolated.clone();
        }
        chosen.absorb(&mut first);
        chosen.absorb(&mut second);
        chosen.tidy();
        let children = first.node.into_iter().chain(second.node).map(|node| *node).collect();
        chosen.node = self.explain.then(|| self.node(name, Some(formula.to_owned()), chosen.value.clone(), children));
        chosen
    }

    /// The same under another name.
    pub fn renamed(self, name: Label, mut term: Term) -> Term {
        if let Some(node) = &mut term.node {
            node.zh = name.zh;
            node.en = name.en;
            node.unit = name.unit.to_owned();
        }
        term
    }

    /// A node above others.
    pub fn node(self, name: Label, formula: Option<String>, value: Option<Number>, children: Vec<Node>) -> Box<Node> {
        Box::new(Node { zh: name.zh, en: name.en, formula, value, unit: name.unit.to_owned(), leaf: None, children })
    }

    fn factor_node(row: &Arc<FactorUse>) -> Node {
        let factor = FactorUse::clone(row);
        Node {
            zh: "系数".to_owned(),
            en: format!("factor {}", row.key),
            formula: None,
            value: Some(row.value.clone()),
            unit: row.unit.clone(),
            leaf: Some(Leaf::Factor { factor }),
            children: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms { explain: true };

    fn number(text: &str) -> Number {
        text.parse().unwrap()
    }

    fn term(value: &str, estimated: &str) -> Term {
        let mut term = TERMS.plain(label("甲", "part", "t"), number(value));
        term.estimated = number(estimated);
        term
    }

    #[test]
    fn estimates_are_carried_along() {
        // 10 with 2 estimated, minus 4 with 1 estimated: 6, of which 3 rest on estimates.
        let difference = TERMS.difference(label("差", "difference", "t"), term("10", "2"), term("4", "1"));
        assert_eq!((difference.value.clone().unwrap(), difference.estimated.clone()), (number("6"), number("3")));
        assert_eq!(difference.status(), Status::Estimated);
        assert_eq!(difference.estimated_share(), Some(number("0.5")));
        // A quarter of the numerator: a quarter of the ratio.
        let ratio = TERMS.ratio(label("比", "ratio", "1"), term("8", "2"), term("16", "0"), "a / b");
        assert_eq!((ratio.value.clone().unwrap(), ratio.estimated.clone()), (number("0.5"), number("0.125")));
        assert_eq!(ratio.node.unwrap().children.len(), 2);
    }

    #[test]
    fn what_is_missing_takes_the_value_away() {
        let sum = TERMS.sum(label("和", "sum", "t"), vec![term("1", "0"), Term::missing("meters.gate", "no total")]);
        assert_eq!((sum.value.clone(), sum.status()), (None, Status::Missing));
        let ratio = TERMS.ratio(label("比", "ratio", "1"), term("1", "0"), term("0", "0"), "a / b");
        assert_eq!((ratio.value.clone(), ratio.status()), (None, Status::NotDefined));
        // Missing beats not defined: the input has to come first.
        let both = TERMS.sum(label("和", "sum", "t"), vec![ratio, sum]);
        assert_eq!(both.status(), Status::Missing);
    }

    #[test]
    fn the_smaller_and_the_larger_one() {
        let name = || label("选", "choice", "t");
        assert_eq!(TERMS.smaller(name(), term("3", "1"), term("5", "0")).estimated, number("1"));
        assert_eq!(TERMS.larger(name(), term("3", "1"), term("5", "0")).estimated, number("0"));
        assert_eq!(TERMS.at_least_zero(name(), term("-3", "1")).value, Some(Number::zero()));
        assert_eq!(TERMS.larger(name(), term("3", "0"), Term::missing("x", "y")).value, None);
    }
}
