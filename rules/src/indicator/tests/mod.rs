//! Worked cases, computed by hand in comments. `example` goes over the park of `tests/data/indicators.json`, the others over
//! small inputs of their own.

mod example;
mod energy;
mod quota;
mod pollutant;
mod other;
mod whole;

use super::result::Other;
use super::*;

/// Inputs of a JSON text.
fn inputs(json: &str) -> Inputs {
    read::read(json).unwrap_or_else(|error| panic!("{error}"))
}

/// The results of an indicator for a period, with trees.
fn results(inputs: &Inputs, id: &str, period: &str) -> Vec<IndicatorResult> {
    let index = Index::new(inputs).unwrap_or_else(|problems| panic!("{problems:?}"));
    Engine::new(&index, true).one(by_id(id).unwrap(), period.parse().unwrap())
}

/// The only or first result, which is the park's.
fn result(inputs: &Inputs, id: &str, period: &str) -> IndicatorResult {
    results(inputs, id, period).into_iter().next().unwrap()
}

/// Status and rounded value.
fn shown(result: &IndicatorResult) -> (Status, &str) {
    (result.status, result.value.as_deref().unwrap_or("-"))
}

fn further<'r>(result: &'r IndicatorResult, name: &str) -> &'r str {
    let other: &Other = result.others.iter().find(|other| other.name == name).unwrap();
    other.value.as_deref().unwrap_or("-")
}

fn missing(result: &IndicatorResult) -> Vec<&str> {
    result.missing.iter().map(|missing| missing.input.as_str()).collect()
}

fn problems(json: &str) -> Vec<String> {
    let inputs = inputs(json);
    let problems = Index::new(&inputs).map(|_| ()).unwrap_err();
    problems.iter().map(ToString::to_string).collect()
}
