//! Refuses what PromQL has and this evaluator has not, by its name, before anything is read.

use promql_parser::parser::token::{
    T_AVG, T_BOTTOMK, T_COUNT, T_COUNT_VALUES, T_GROUP, T_MAX, T_MIN, T_QUANTILE, T_STDDEV, T_STDVAR, T_SUM, T_TOPK,
};
use promql_parser::parser::{BinModifier, Expr, VectorMatchFillValues, VectorSelector};

use super::error::Error;
use super::{instant, range};

/// Walks the tree.
pub fn check(tree: &Expr) -> Result<(), Error> {
    match tree {
        Expr::Aggregate(aggregate) => {
            const KNOWN: &[u16] =
                &[T_SUM, T_AVG, T_MIN, T_MAX, T_COUNT, T_GROUP, T_STDDEV, T_STDVAR, T_QUANTILE, T_TOPK, T_BOTTOMK, T_COUNT_VALUES];
            if !KNOWN.contains(&aggregate.op.id()) {
                return Err(Error::unsupported(&format!("aggregation `{}`", aggregate.op)));
            }
            if let Some(parameter) = &aggregate.param {
                check(parameter)?;
            }
            check(&aggregate.expr)
        }
        Expr::Unary(unary) => check(&unary.expr),
        Expr::Paren(paren) => check(&paren.expr),
        Expr::Binary(binary) => {
            if let Some(BinModifier { fill_values, .. }) = &binary.modifier
                && *fill_values != VectorMatchFillValues::default()
            {
                return Err(Error::unsupported("modifier `fill`"));
            }
            check(&binary.lhs)?;
            check(&binary.rhs)
        }
        Expr::Subquery(subquery) => check(&subquery.expr),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) => Ok(()),
        Expr::VectorSelector(selector) => check_selector(selector),
        Expr::MatrixSelector(selector) => check_selector(&selector.vs),
        Expr::Call(call) => {
            let name = call.func.name;
            if !instant::NAMES.contains(&name) && !range::NAMES.contains(&name) {
                return Err(Error::unsupported(&format!("function `{name}`")));
            }
            call.args.args.iter().try_for_each(|argument| check(argument))
        }
        Expr::Extension(_) => Err(Error::unsupported("this expression")),
    }
}

fn check_selector(selector: &VectorSelector) -> Result<(), Error> {
    if selector.matchers.or_matchers.is_empty() { Ok(()) } else { Err(Error::unsupported("`or` between matchers")) }
}
