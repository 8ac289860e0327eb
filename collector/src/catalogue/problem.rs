//! What is wrong with a configuration: where, what, and what to do; shown to people with a caret, or as JSON.

use std::fmt;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource};
use serde::Serialize;

use super::place::{Place, SourceMap};

/// Most problems kept; a file that is no configuration at all would give thousands. More are counted only.
const PROBLEMS_MAX: usize = 200;
/// Most characters of offending text repeated in a problem.
const TEXT_CHARACTERS_MAX: usize = 80;

/// One problem, ready to be shown. Secrets are masked in every part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// File it is in.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// First byte and byte after the last.
    pub span: (usize, usize),
    /// The offending text.
    pub text: String,
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// What to do; may be empty.
    pub help: String,
    /// The other place it conflicts with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other: Option<Other>,
}

/// The other place of a conflict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Other {
    /// File.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// What is there: `first here`.
    pub label: String,
}

impl fmt::Display for Problem {
    /// One line: `file:line:column: message; help`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        if !self.help.is_empty() {
            write!(f, "; {}", self.help)?;
        }
        Ok(())
    }
}

/// What was found, before lines and columns are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    place: Place,
    message: String,
    help: String,
    other: Option<(Place, String)>,
}

/// All problems of a configuration, with the texts they are in. Empty: none.
#[derive(Clone, Default)]
pub struct Problems {
    /// The texts.
    pub sources: SourceMap,
    findings: Vec<Finding>,
    warnings: Vec<Finding>,
    beyond: usize,
}

impl Problems {
    /// Notes a problem at a place.
    pub fn add(&mut self, place: Place, message: impl Into<String>, help: impl Into<String>) {
        self.push(Finding { place, message: message.into(), help: help.into(), other: None });
    }

    /// Notes what is valid and will make trouble all the same; it is no problem, and nothing is refused for it.
    pub fn warn(&mut self, place: Place, message: impl Into<String>, help: impl Into<String>) {
        let finding = Finding { place, message: message.into(), help: help.into(), other: None };
        if self.warnings.len() < PROBLEMS_MAX && !self.warnings.contains(&finding) {
            self.warnings.push(finding);
        }
    }

    /// The warnings, in order of their noting.
    pub fn warnings(&self) -> Vec<Problem> {
        self.warnings.iter().map(|finding| self.problem(finding)).collect()
    }

    /// Notes a conflict between two places.
    pub fn conflict(&mut self, place: Place, message: impl Into<String>, help: impl Into<String>, other: Place, label: &str) {
        self.push(Finding { place, message: message.into(), help: help.into(), other: Some((other, label.to_owned())) });
    }

    fn push(&mut self, finding: Finding) {
        // A mistake in a profile shows once, not once per device that uses it.
        if self.findings.contains(&finding) {
            return;
        }
        if self.findings.len() < PROBLEMS_MAX {
            self.findings.push(finding);
        } else {
            self.beyond = self.beyond.saturating_add(1);
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.findings.is_empty()
    }

    /// How many were noted.
    pub fn len(&self) -> usize {
        self.findings.len().saturating_add(self.beyond)
    }

    /// The problems by file and line.
    pub fn list(&self) -> Vec<Problem> {
        self.sorted().into_iter().map(|finding| self.problem(finding)).collect()
    }

    fn sorted(&self) -> Vec<&Finding> {
        let mut findings: Vec<&Finding> = self.findings.iter().collect();
        findings.sort_by_key(|finding| finding.place);
        findings
    }

    fn problem(&self, finding: &Finding) -> Problem {
        let (file, line, column) = self.position(finding.place);
        let range = finding.place.range();
        let text = self.sources.get(finding.place.source).map_or(String::new(), |source| {
            let shown = source.shown();
            let text = shown.get(source.shown_offset(range.start)..source.shown_offset(range.end)).unwrap_or("");
            text.lines().next().unwrap_or("").chars().take(TEXT_CHARACTERS_MAX).collect()
        });
        let other = finding.other.as_ref().map(|(place, label)| {
            let (file, line, column) = self.position(*place);
            Other { file, line, column, label: label.clone() }
        });
        let (message, help) = (finding.message.clone(), finding.help.clone());
        Problem { file, line, column, span: (range.start, range.end), text, message, help, other }
    }

    fn position(&self, place: Place) -> (String, usize, usize) {
        match self.sources.get(place.source) {
            Some(source) => {
                let (line, column) = source.line_column(place.range().start);
                (source.name.clone(), line, column)
            }
            None => (String::new(), 1, 1),
        }
    }

    /// All problems as text with a caret under each offending token; `colour` only for a terminal.
    pub fn render(&self, colour: bool) -> String {
        let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        let handler = GraphicalReportHandler::new_themed(theme).with_width(120).with_links(false);
        let mut text = String::new();
        for finding in self.sorted() {
            let shown = Shown::new(self, finding);
            // Writing into a String cannot fail; a report that cannot be drawn falls back to its one line.
            if handler.render_report(&mut text, &shown).is_err() {
                text.push_str(&self.problem(finding).to_string());
            }
            text.push('\n');
        }
        if self.beyond > 0 {
            text.push_str(&format!("and {} more problems\n", self.beyond));
        }
        text
    }
}

impl fmt::Debug for Problems {
    /// The list alone: the texts may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.list()).finish()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Problems {}

/// A finding as miette wants it.
struct Shown {
    problem: Problem,
    source: NamedSource<String>,
    labels: Vec<LabeledSpan>,
}

impl Shown {
    fn new(problems: &Problems, finding: &Finding) -> Self {
        let mut problem = problems.problem(finding);
        let source = problems.sources.get(finding.place.source);
        let label = |place: Place, text: &str| {
            let range = place.range();
            let (start, end) = source.map_or((0, 0), |source| (source.shown_offset(range.start), source.shown_offset(range.end)));
            // A table that spans lines is pointed at by its first one.
            let shown = source.map_or(String::new(), |source| source.shown());
            let first_line = shown.get(start..end).and_then(|text| text.lines().next()).map_or(0, str::len);
            LabeledSpan::new(Some(text.to_owned()).filter(|text| !text.is_empty()), start, first_line)
        };
        let mut labels = vec![label(finding.place, if finding.other.is_some() { "here" } else { "" })];
        match &finding.other {
            Some((place, text)) if place.source == finding.place.source => labels.push(label(*place, text)),
            Some(_) => {
                if let Some(other) = &problem.other {
                    let place = format!("{}: {}:{}:{}", other.label, other.file, other.line, other.column);
                    problem.help = if problem.help.is_empty() { place } else { format!("{place}\n{}", problem.help) };
                }
            }
            None => {}
        }
        let source = NamedSource::new(&problem.file, source.map_or(String::new(), |source| source.shown()));
        Self { problem, source, labels }
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem.fmt(f)
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem.message)
    }
}

impl std::error::Error for Shown {}

impl Diagnostic for Shown {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        (!self.problem.help.is_empty()).then(|| Box::new(&self.problem.help) as Box<dyn fmt::Display>)
    }
    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        Some(&self.source)
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }
}
