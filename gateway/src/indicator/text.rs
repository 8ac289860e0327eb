//! Indicators as text for people: a table of results, and the tree that explains one.

use std::fmt::Write as _;

use parkgate_rules::indicator::assess::Assessment;
use parkgate_rules::indicator::result::{IndicatorResult, Leaf, Missing, Node, Status};

/// Deepest branch that is printed.
const DEPTH_MAX: usize = 40;

/// A status in words.
pub const fn status(status: Status) -> &'static str {
    match status {
        Status::Ok => "ok",
        Status::Estimated => "estimated",
        Status::Incomplete => "incomplete",
        Status::NotDefined => "not defined",
        Status::Missing => "missing",
    }
}

/// Results as a table, one a line, with what is missing below.
pub fn table(results: &[IndicatorResult]) -> String {
    let rows: Vec<[String; 5]> = results
        .iter()
        .map(|result| {
            let subject = &result.subject;
            let of: Vec<&str> = [&subject.outlet, &subject.pollutant, &subject.station].into_iter().flatten().map(String::as_str).collect();
            let value = result.value.clone().unwrap_or_else(|| "-".to_owned());
            let of = if of.is_empty() { String::new() } else { format!(" [{}]", of.join(" ")) };
            [
                result.indicator.to_owned() + &of,
                value,
                result.unit.to_owned(),
                status(result.status).to_owned(),
                format!("{} {}", result.zh, result.en),
            ]
        })
        .collect();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let (id, value, unit, state) = (width(0), width(1), width(2), width(3));
    let mut text = String::new();
    for (row, result) in rows.iter().zip(results) {
        let [name, number, of, how, title] = row;
        let _ = writeln!(text, "{name:<id$}  {number:>value$} {of:<unit$}  {how:<state$}  {title}");
        for missing in result.missing.iter().take(5) {
            let _ = writeln!(text, "{:id$}  {}", "", lacking(missing));
        }
        if result.missing.len() > 5 {
            let _ = writeln!(text, "{:id$}  and {} more", "", result.missing.len().saturating_sub(5));
        }
    }
    text
}

fn lacking(missing: &Missing) -> String {
    format!("lacks {}: {}", missing.input, missing.why)
}

/// A result with everything that belongs to it, and its tree.
pub fn explained(result: &IndicatorResult) -> String {
    let mut text = table(std::slice::from_ref(result));
    let _ = writeln!(text, "period {} ({} to {})", result.period, result.start, result.end);
    for other in &result.others {
        let value = other.value.as_deref().unwrap_or("-");
        let _ = writeln!(text, "  {} = {value} {}  ({} {})", other.name, other.unit, other.zh, other.en);
    }
    let or_none = |share: &Option<String>| share.clone().unwrap_or_else(|| "-".to_owned());
    let _ = writeln!(text, "estimated share {}, completeness {}", or_none(&result.estimated_share), or_none(&result.completeness));
    for factor in &result.factors {
        let _ = writeln!(
            text,
            "factor {} = {} {}  [{} {}; mark {:?}]",
            factor.key,
            factor.value.text(10),
            factor.unit,
            factor.standard,
            factor.edition,
            factor.mark
        );
    }
    for note in &result.notes {
        let _ = writeln!(text, "note: {note}");
    }
    if let Some(node) = &result.explain {
        branch(&mut text, node, "", "", 0);
    }
    text
}

fn branch(text: &mut String, node: &Node, before: &str, below: &str, depth: usize) {
    let value = node.value.as_ref().map_or_else(|| "-".to_owned(), |value| value.text(6));
    let name = if node.zh == node.en || node.zh.is_empty() { node.en.clone() } else { format!("{} {}", node.zh, node.en) };
    let _ = write!(text, "{before}{name} = {value} {}", node.unit);
    while text.ends_with(' ') {
        text.pop();
    }
    if let Some(formula) = &node.formula {
        let _ = write!(text, "  ({formula})");
    }
    if let Some(leaf) = &node.leaf {
        let _ = write!(text, "  [{}]", leaf_text(leaf));
    }
    text.push('\n');
    if depth >= DEPTH_MAX {
        return;
    }
    let last = node.children.len().saturating_sub(1);
    for (index, child) in node.children.iter().enumerate() {
        let (own, further) = if index == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        branch(text, child, &format!("{below}{own}"), &format!("{below}{further}"), depth.saturating_add(1));
    }
}

fn leaf_text(leaf: &Leaf) -> String {
    match leaf {
        Leaf::Reading { meter, time, register, role } => format!("register of {meter} at {time}: {} ({role})", register.text(6)),
        Leaf::Declared { input, source } => {
            let by = source.author.as_deref().unwrap_or("somebody");
            let document = source.document.as_deref().unwrap_or("no document");
            let id = source.id.as_ref().map(|id| format!(", entry {id}")).unwrap_or_default();
            format!("declared: {document}; {by}{id}; {input}")
        }
        Leaf::Factor { factor } => {
            format!("factor {} {} {}; {} {}", factor.key, factor.value.text(10), factor.unit, factor.standard, factor.edition)
        }
        Leaf::Input { input } => input.clone(),
    }
}

/// An assessment: targets, what was reached, what is missing.
pub fn assessment(assessment: &Assessment) -> String {
    let mut text = format!("{} {}\n", assessment.year, assessment.plan);
    for target in &assessment.targets {
        let reached = target.reached.as_deref().unwrap_or("-");
        let verdict = match target.met {
            Some(true) => "met",
            Some(false) => "not met",
            None => "not known",
        };
        let indicator = target.indicator.map(|id| format!(" {id}")).unwrap_or_default();
        let _ = writeln!(
            text,
            "{}{indicator}  {} {}: target {}, reached {reached}: {verdict} ({})",
            target.id,
            target.zh,
            target.en,
            target.target,
            status(target.status)
        );
        for missing in &target.missing {
            let _ = writeln!(text, "    {}", lacking(missing));
        }
    }
    for note in &assessment.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text
}
