//! What was given and is not so any more: a closed figure that late data, a mark or other parameters changed. Each is an
//! entry of its own, so that whoever took the old figure finds what became of it.

use std::collections::BTreeSet;

use parkgate_rules::Number;
use parkgate_rules::emission::correction::changes;
use parkgate_rules::emission::time::UtcMillis as Time;
use parkgate_rules::emission::{Averaging, HourFigure, Period, PeriodFigure};
use serde::{Deserialize, Serialize};

use super::events::{AUTHOR, body};
use crate::store::{Entry, EntryKind, Facts, NewEntry, StoreError};

/// Why figures changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Causes {
    /// Values came late, or were replaced.
    pub late: bool,
    /// The outlet is configured otherwise.
    pub parameters: bool,
    /// Marks were set, ended or withdrawn: their ids.
    pub marks: BTreeSet<String>,
}

impl Causes {
    /// Values came late.
    pub fn late() -> Self {
        Self { late: true, ..Self::default() }
    }

    /// Both of them.
    pub fn join(&mut self, other: &Self) {
        self.late |= other.late;
        self.parameters |= other.parameters;
        self.marks.extend(other.marks.iter().cloned());
    }

    /// As words: `late_data`, `parameters`, ids of marks.
    fn words(&self) -> Vec<String> {
        let late = self.late.then(|| "late_data".to_owned());
        let parameters = self.parameters.then(|| "parameters".to_owned());
        late.into_iter().chain(parameters).chain(self.marks.iter().cloned()).collect()
    }
}

/// A figure that changed after it was given; the body of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Correction {
    /// The outlet.
    pub outlet: String,
    /// The factor; `None`: all of them, with `averaging`, where the outlet is configured otherwise.
    pub factor: Option<String>,
    /// Hour, day or month.
    pub averaging: Option<Averaging>,
    /// Start of the period.
    pub from: Time,
    /// Its end.
    pub to: Time,
    /// `late_data`, `parameters`, ids of marks.
    pub causes: Vec<String>,
    /// What changed.
    pub changes: Vec<FigureChange>,
}

/// One figure of a period that changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FigureChange {
    /// Which: `class`, `concentration`, `converted`, `flow`, `mass_kg`, `valid_minutes`, `valid_hours`; `parameters`.
    pub figure: String,
    /// Before; `None`: there was none.
    pub old: Option<String>,
    /// After.
    pub new: Option<String>,
}

impl Correction {
    /// Between two figures of an hour; `None` when nothing that is told of it changed.
    pub fn of_hour(old: &HourFigure, new: &HourFigure, causes: &Causes) -> Option<Self> {
        let changes = changes(old, new).into_iter();
        let changes = changes.map(|change| FigureChange { figure: change.figure, old: change.old, new: change.new }).collect();
        Self::of((&new.outlet, &new.factor, Averaging::Hour, new.period), changes, causes)
    }

    /// Between two figures of a day or month; else as [`Self::of_hour`].
    pub fn of_period(old: &PeriodFigure, new: &PeriodFigure, causes: &Causes) -> Option<Self> {
        let text = |number: &Option<Number>| number.as_ref().map(ToString::to_string);
        let class = |figure: &PeriodFigure| serde_json::to_value(figure.class).ok().and_then(|name| name.as_str().map(str::to_owned));
        let hours = |figure: &PeriodFigure| Some(figure.hours.valid.to_string());
        let pairs = [
            ("class", class(old), class(new)),
            ("concentration", text(&old.concentration), text(&new.concentration)),
            ("converted", text(&old.converted), text(&new.converted)),
            ("volume_m3", text(&old.volume_m3), text(&new.volume_m3)),
            ("mass_kg", text(&old.mass_kg), text(&new.mass_kg)),
            ("valid_hours", hours(old), hours(new)),
        ];
        let differ = pairs.into_iter().filter(|(_, old, new)| old != new);
        let changes = differ.map(|(figure, old, new)| FigureChange { figure: figure.to_owned(), old, new }).collect();
        Self::of((&new.outlet, &new.factor, new.averaging, new.period), changes, causes)
    }

    fn of(
        (outlet, factor, averaging, period): (&str, &str, Averaging, Period),
        changes: Vec<FigureChange>,
        causes: &Causes,
    ) -> Option<Self> {
        (!changes.is_empty()).then(|| Self {
            outlet: outlet.to_owned(),
            factor: Some(factor.to_owned()),
            averaging: Some(averaging),
            from: period.from,
            to: period.to,
            causes: causes.words(),
            changes,
        })
    }

    /// All figures of an outlet, counted again with other parameters: both as JSON.
    pub fn of_parameters(outlet: &str, (from, to): (Time, Time), old: &str, new: &str) -> Self {
        let change = FigureChange { figure: "parameters".into(), old: Some(old.to_owned()), new: Some(new.to_owned()) };
        let causes = Causes { parameters: true, ..Causes::default() }.words();
        Self { outlet: outlet.to_owned(), factor: None, averaging: None, from, to, causes, changes: vec![change] }
    }

    /// What it is about, as the subject of its entry.
    pub fn subject(&self) -> String {
        match (&self.factor, self.averaging) {
            (Some(factor), Some(averaging)) => format!("{}/{factor}/{}/{}", self.outlet, averaging.name(), self.from),
            _ => self.outlet.clone(),
        }
    }

    /// Of an entry; `None` for one that cannot be understood.
    pub fn read(entry: &Entry) -> Option<Self> {
        serde_json::from_value(entry.body.clone())
            .inspect_err(|error| tracing::error!(entry = entry.id, error = %error, "correction cannot be understood and is left out"))
            .ok()
    }

    /// The entry to make; `None` when the last one about the same says the same: it was made before a crash.
    ///
    /// # Errors
    /// When the facts cannot be read.
    pub fn entry(&self, facts: &Facts) -> Result<Option<NewEntry>, StoreError> {
        let subject = self.subject();
        let before = facts.entries_about(EntryKind::EmissionCorrection, &subject)?;
        if before.last().and_then(Self::read).is_some_and(|before| before.changes == self.changes) {
            return Ok(None);
        }
        let (kind, author) = (EntryKind::EmissionCorrection, AUTHOR.to_owned());
        Ok(Some(NewEntry { kind, subject, body: body(self)?, author, document: None }))
    }
}
