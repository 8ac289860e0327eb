//! What people declare: rows of a CSV file or of a request become entries, entries become the figures in force.
//!
//! A figure is told by its name, whose it is and its period. A later entry for the same one takes the place of the earlier
//! one, which stays: the history of a figure is all its entries. The value `withdrawn` takes a figure back.
//!
//! Body of an entry (kind `declaration`, subject `figure/subject/period`): `figure`, `subject`, `period`, `value` (a decimal
//! as text, as it was handed in, or null for one taken back), `unit`, `note`.

use std::collections::{BTreeMap, HashMap};

use parkgate_collector::catalogue::Catalogue;
use parkgate_collector::model::UtcMillis;
use parkgate_rules::Number;
use parkgate_rules::period::{Period, PeriodKind};
use serde::{Deserialize, Serialize};

use super::figures::{self, Named, Per, Whose};
use crate::store::{Entry, EntryKind, Facts, NewEntry, StoreError};

/// Columns of the file, in the order of the template; a file may have them in any order. `note` and `unit` may be absent.
pub const COLUMNS: [&str; 7] = ["figure", "subject", "period", "value", "unit", "document", "note"];
/// Columns that a file must have.
const NEEDED: [&str; 5] = ["figure", "subject", "period", "value", "document"];
/// Whose figures of the whole park are.
pub const PARK: &str = "park";
/// The value that takes a figure back.
pub const WITHDRAWN: &str = "withdrawn";
/// Most rows of a file, and most bytes of it.
pub const ROWS_MAX: usize = 100_000;
/// See [`ROWS_MAX`].
pub const BYTES_MAX: usize = 32 << 20;
/// Longest text of a cell.
const CELL_MAX: usize = 500;

/// A row as it was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Figure: `revenue`, `fuel.diesel.purchased`; `parkgate declare template` lists all.
    pub figure: String,
    /// Id of the enterprise, or `park`.
    pub subject: String,
    /// Year or month, `2025`, `2025-06`.
    pub period: String,
    /// Decimal, or `withdrawn`.
    pub value: String,
    /// Unit; that of the figure unless given.
    #[serde(default)]
    pub unit: String,
    /// The paper it rests on.
    pub document: String,
    /// Anything else.
    #[serde(default)]
    pub note: String,
}

/// What is wrong with a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct RowError {
    /// Line of the file, from 1; of a request, place in its list, from 1.
    pub line: u64,
    /// Column, or empty for the row as a whole.
    pub column: &'static str,
    /// What is wrong and what to do.
    pub problem: String,
}

/// A checked row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    line: u64,
    key: Key,
    value: Option<String>,
    unit: String,
    document: String,
    note: String,
}

/// What tells a figure: name, whose, period.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Name.
    pub figure: String,
    /// Enterprise, or [`PARK`].
    pub subject: String,
    /// Period.
    pub period: Period,
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.figure, self.subject, self.period)
    }
}

/// Reads the rows of a CSV file (RFC 4180, UTF-8 with or without mark) with their lines.
///
/// # Errors
/// What is wrong with the file as such: its encoding, its header, a row that is no row.
pub fn read_csv(bytes: &[u8]) -> Result<Vec<(u64, Row)>, Vec<RowError>> {
    let whole = |line: u64, problem: String| vec![RowError { line, column: "", problem }];
    if bytes.len() > BYTES_MAX {
        return Err(whole(1, format!("the file is longer than {BYTES_MAX} bytes; split it")));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if let Err(error) = std::str::from_utf8(bytes) {
        let line = bytes.iter().take(error.valid_up_to()).filter(|&&byte| byte == b'\n').count();
        let line = u64::try_from(line).unwrap_or(0).saturating_add(1);
        return Err(whole(line, "is not UTF-8: in the spreadsheet, save the file as `CSV UTF-8`".into()));
    }
    let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(bytes);
    let head = reader.headers().map_err(|error| whole(1, format!("the header cannot be read: {error}")))?.clone();
    let mut place: HashMap<&str, usize> = HashMap::new();
    let mut errors = Vec::new();
    for (index, name) in head.iter().enumerate() {
        match COLUMNS.iter().find(|column| column.eq_ignore_ascii_case(name)) {
            Some(column) if place.insert(column, index).is_some() => {
                errors.push(RowError { line: 1, column, problem: "the column is there twice: keep one".into() });
            }
            Some(_) => {}
            None => errors.push(RowError {
                line: 1,
                column: "",
                problem: format!("`{}` is no column; columns are {}", shown(name), COLUMNS.join(", ")),
            }),
        }
    }
    for column in NEEDED.iter().filter(|column| !place.contains_key(*column)) {
        errors.push(RowError { line: 1, column, problem: "the column is missing; `parkgate declare template` prints the header".into() });
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let mut rows = Vec::new();
    let mut lines = Lines { bytes, at: 0, line: 1 };
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                errors.push(RowError { line, column: "", problem: format!("cannot be read: {error}") });
                break;
            }
        };
        let line = lines.of(record.position().map_or(0, csv::Position::byte));
        if record.iter().all(str::is_empty) {
            continue;
        }
        if rows.len() >= ROWS_MAX {
            errors.push(RowError { line, column: "", problem: format!("more than {ROWS_MAX} rows; split the file") });
            break;
        }
        if record.len() != head.len() {
            let problem = format!("has {} cells, the header has {}: is a comma or a quote missing or too many?", record.len(), head.len());
            errors.push(RowError { line, column: "", problem });
            continue;
        }
        let cell = |column: &str| place.get(column).and_then(|&index| record.get(index)).unwrap_or_default().to_owned();
        rows.push((
            line,
            Row {
                figure: cell("figure"),
                subject: cell("subject"),
                period: cell("period"),
                value: cell("value"),
                unit: cell("unit"),
                document: cell("document"),
                note: cell("note"),
            },
        ));
    }
    if errors.is_empty() { Ok(rows) } else { Err(errors) }
}

/// Tells the line of a record. The reader's own count is of where it stood, which is before blank lines and, in files with
/// CR LF, before the LF of the line above.
struct Lines<'a> {
    bytes: &'a [u8],
    /// Up to here lines are counted.
    at: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line of the record that begins at or behind `offset`; offsets come in ascending order.
    fn of(&mut self, offset: u64) -> u64 {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX).max(self.at);
        let behind = self.bytes.get(offset..).unwrap_or_default();
        let blank = behind.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let start = offset.saturating_add(blank);
        let passed = self.bytes.get(self.at..start).unwrap_or_default();
        let passed = passed.iter().filter(|&&byte| byte == b'\n').count();
        self.line = self.line.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX));
        self.at = start;
        self.line
    }
}

/// Checks all rows against the park; nothing is entered when one of them is wrong.
///
/// # Errors
/// Every row that is wrong, with all that is wrong with it.
pub fn check(catalogue: &Catalogue, rows: &[(u64, Row)]) -> Result<Vec<Checked>, Vec<RowError>> {
    let (mut checked, mut errors) = (Vec::with_capacity(rows.len()), Vec::new());
    let mut seen: HashMap<Key, u64> = HashMap::new();
    for (line, row) in rows {
        let Some(good) = check_row(catalogue, *line, row, &mut errors) else { continue };
        if let Some(first) = seen.insert(good.key.clone(), *line) {
            let problem = format!("is declared in line {first} already: keep one of the two");
            errors.push(RowError { line: *line, column: "figure", problem });
        }
        checked.push(good);
    }
    if errors.is_empty() { Ok(checked) } else { Err(errors) }
}

fn check_row(catalogue: &Catalogue, line: u64, row: &Row, errors: &mut Vec<RowError>) -> Option<Checked> {
    let before = errors.len();
    let mut wrong = |column: &'static str, problem: String| errors.push(RowError { line, column, problem });
    let cells = [&row.figure, &row.subject, &row.period, &row.value, &row.unit, &row.document, &row.note];
    for (column, _) in COLUMNS.into_iter().zip(cells).filter(|(_, cell)| cell.chars().count() > CELL_MAX) {
        wrong(column, format!("is longer than {CELL_MAX} characters"));
    }
    let named = figures::named(&row.figure).map_err(|problem| wrong("figure", problem)).ok();
    let period = figures::period(&row.period).map_err(|problem| wrong("period", problem)).ok();
    if row.document.is_empty() {
        wrong("document", "is empty: name the paper that the figure rests on".into());
    }
    if let Some(named) = &named {
        subject(catalogue, &row.subject, named).unwrap_or_else(|problem| wrong("subject", problem));
        if period.is_some_and(|period| named.per == Per::Year && period.kind() != PeriodKind::Year) {
            wrong("period", format!("`{}` is of a year: write {}", row.figure, row.period.get(..4).unwrap_or("2025")));
        }
        value(row, named).unwrap_or_else(|(column, problem)| wrong(column, problem));
    }
    let (named, period) = (named?, period?);
    (errors.len() == before).then(|| Checked {
        line,
        key: Key { figure: row.figure.clone(), subject: row.subject.clone(), period },
        value: (row.value != WITHDRAWN).then(|| row.value.clone()),
        unit: if row.unit.is_empty() { named.unit } else { row.unit.clone() },
        document: row.document.clone(),
        note: row.note.clone(),
    })
}

fn subject(catalogue: &Catalogue, subject: &str, named: &Named) -> Result<(), String> {
    let enterprises = || {
        let near = catalogue.enterprises.iter().map(|enterprise| enterprise.id.as_str());
        match near.min_by_key(|near| strsim::damerau_levenshtein(near, subject)) {
            Some(near) => format!("the nearest enterprise is `{near}`"),
            None => "the configuration has no enterprises".into(),
        }
    };
    let is_enterprise = catalogue.enterprises.iter().any(|enterprise| enterprise.id == subject);
    match named.whose {
        Whose::Park if subject != PARK => Err(format!("the figure is of the park as a whole: write `{PARK}`")),
        Whose::Enterprise if subject == PARK => Err("the figure is of an enterprise: write its id".into()),
        Whose::Enterprise if !is_enterprise => {
            Err(format!("`{}` is no enterprise of the configuration; {}", shown(subject), enterprises()))
        }
        Whose::Either if !is_enterprise && subject != PARK => {
            Err(format!("`{}` is neither `{PARK}` nor an enterprise of the configuration; {}", shown(subject), enterprises()))
        }
        _ => Ok(()),
    }
}

fn value(row: &Row, named: &Named) -> Result<(), (&'static str, String)> {
    if row.value == WITHDRAWN {
        return Ok(());
    }
    let one = if row.unit.is_empty() { Ok(Number::one()) } else { figures::factor(&named.unit, &row.unit) };
    let one = one.map_err(|problem| ("unit", problem))?;
    let given: Number = row.value.parse().map_err(|_| {
        let hint = if row.value.contains(',') { ": no commas within a number" } else { "" };
        ("value", format!("`{}` is no decimal number such as 12.5{hint}", shown(&row.value)))
    })?;
    figures::fits(named.values, &(&given * &one)).map_err(|problem| ("value", problem.to_owned()))
}

/// What entering came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Entered {
    /// Entries made.
    pub entered: usize,
    /// Of them, those that take the place of an earlier one.
    pub superseded: usize,
    /// Rows that say what is in force already; they are not entered again.
    pub unchanged: usize,
}

/// Enters checked rows, all or none.
///
/// # Errors
/// When they cannot be written.
pub fn enter(facts: &Facts, rows: &[Checked], author: &str, now: UtcMillis) -> Result<Entered, StoreError> {
    let mut outcome = Entered::default();
    let entered = facts.append_checked(EntryKind::Declaration, now, |known| {
        let known = Declarations::of(known);
        let mut new = Vec::new();
        for row in rows {
            let last = known.history(&row.key).last();
            if last.is_some_and(|last| last.says(row)) {
                outcome.unchanged = outcome.unchanged.saturating_add(1);
                continue;
            }
            outcome.superseded = outcome.superseded.saturating_add(usize::from(last.is_some()));
            new.push(row.entry(author));
        }
        outcome.entered = new.len();
        Ok::<_, std::convert::Infallible>(new)
    })?;
    match entered {
        Ok(_) => Ok(outcome),
        Err(never) => match never {},
    }
}

impl Checked {
    fn entry(&self, author: &str) -> NewEntry {
        let body = Body {
            figure: self.key.figure.clone(),
            subject: self.key.subject.clone(),
            period: self.key.period.to_string(),
            value: self.value.clone(),
            unit: self.unit.clone(),
            note: self.note.clone(),
        };
        NewEntry {
            kind: EntryKind::Declaration,
            subject: self.key.to_string(),
            body: serde_json::to_value(body).unwrap_or_default(),
            author: author.to_owned(),
            document: Some(self.document.clone()),
        }
    }
}

/// Body of an entry.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Body {
    figure: String,
    subject: String,
    period: String,
    value: Option<String>,
    unit: String,
    #[serde(default)]
    note: String,
}

/// A declaration as it was entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declaration {
    /// Number of its entry.
    pub id: i64,
    /// What it is of.
    pub key: Key,
    /// In the figure's unit; `None` for one taken back.
    pub value: Option<Number>,
    /// As it was handed in.
    pub given: Option<String>,
    /// Unit that it was handed in with.
    pub given_unit: String,
    /// The paper it rests on.
    pub document: String,
    /// Anything else.
    pub note: String,
    /// Who entered it.
    pub author: String,
    /// When.
    pub time: UtcMillis,
}

impl Declaration {
    fn of(entry: &Entry) -> Option<Self> {
        let body: Body = serde_json::from_value(entry.body.clone()).ok()?;
        let named = figures::named(&body.figure).ok()?;
        let period = figures::period(&body.period).ok()?;
        let value = match &body.value {
            Some(text) => Some(&text.parse::<Number>().ok()? * &figures::factor(&named.unit, &body.unit).ok()?),
            None => None,
        };
        Some(Self {
            id: entry.id,
            key: Key { figure: body.figure, subject: body.subject, period },
            value,
            given: body.value,
            given_unit: body.unit,
            document: entry.document.clone().unwrap_or_default(),
            note: body.note,
            author: entry.author.clone(),
            time: entry.time,
        })
    }

    fn says(&self, row: &Checked) -> bool {
        self.given == row.value && self.given_unit == row.unit && self.document == row.document && self.note == row.note
    }
}

/// All declarations, with their histories.
#[derive(Clone, Debug, Default)]
pub struct Declarations {
    by_key: BTreeMap<Key, Vec<Declaration>>,
    /// Entries that this program cannot read: of a figure that is not in its table any more.
    pub unreadable: usize,
}

impl Declarations {
    /// Of all entries of the kind, in order.
    pub fn of(entries: &[Entry]) -> Self {
        let mut all = Self::default();
        for entry in entries {
            match Declaration::of(entry) {
                Some(declaration) => all.by_key.entry(declaration.key.clone()).or_default().push(declaration),
                None => all.unreadable = all.unreadable.saturating_add(1),
            }
        }
        all
    }

    /// Reads them.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn read(facts: &Facts) -> Result<Self, StoreError> {
        Ok(Self::of(&facts.entries(EntryKind::Declaration, 0)?))
    }

    /// All that was entered for a figure, the oldest first.
    pub fn history(&self, key: &Key) -> &[Declaration] {
        self.by_key.get(key).map_or(&[], Vec::as_slice)
    }

    /// Every figure with its history, in order of name, whose and period.
    pub fn all(&self) -> impl Iterator<Item = (&Key, &[Declaration])> {
        self.by_key.iter().map(|(key, history)| (key, history.as_slice()))
    }

    /// The figures in force, with their values.
    pub fn in_force(&self) -> impl Iterator<Item = (&Declaration, &Number)> {
        self.by_key.values().filter_map(|history| history.last()).filter_map(|last| Some((last, last.value.as_ref()?)))
    }
}

fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests;
