//! Reviews against the live park: its state is put together from a declared file (quality, capacities, land table), the
//! ledgers, and the headroom of the quota; what a review reserves is entered in the ledgers by the transaction that it was
//! decided in.
//!
//! [`settings`] the table `[gateway.review]`; [`headroom`] what the quota leaves.

pub mod headroom;
pub mod settings;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use parkgate_collector::model::UtcMillis;
use parkgate_rules::Number;
use parkgate_rules::ledger::entry::given;
use parkgate_rules::ledger::{Body, Book, Draft, Entry, Refusal, admit};
use parkgate_rules::review::park::{ParkLedger, ParkSource, ParkUse};
use parkgate_rules::review::reason::Text;
use parkgate_rules::review::rule::quota::FOLLOW;
use parkgate_rules::review::{ParkState, Problem, Project, Reservation, Reviewed, Tables, reserve};
use serde_json::json;

use crate::ledger::{Ledger, LedgerError, Row, kept_as};
use crate::store::{EntryKind, Facts, NewEntry};

/// Measure of a source that a project brings.
const OWN_MEASURE: &str = "项目自身已核实削减 own verified reduction";

/// What a review of the live park rests on beside the ledgers.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// What is declared of the park; its ledger is not looked at.
    pub declared: ParkState,
    /// Headroom of the quota before what the ledger reserves, tce; `None` when it is not known.
    pub headroom_tce: Option<Number>,
}

/// The declared state of a park cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DeclaredError {
    /// The file cannot be read.
    #[error("{path} cannot be read")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// It is not of its form.
    #[error("{path}: {}", .problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Problems {
        /// The file.
        path: PathBuf,
        /// All of them.
        problems: Vec<Problem>,
    },
}

/// Reads the declared state of a live park; all of it is unknown without a file.
///
/// # Errors
/// When the file cannot be read, or has a ledger of its own.
pub fn declared(path: Option<&Path>) -> Result<ParkState, DeclaredError> {
    let Some(path) = path else { return Ok(ParkState::default()) };
    let text = std::fs::read_to_string(path).map_err(|error| DeclaredError::Unreadable { path: path.to_owned(), error })?;
    let wrong = |problems| DeclaredError::Problems { path: path.to_owned(), problems };
    let state = ParkState::parse(&text).map_err(wrong)?;
    if state.ledger != ParkLedger::default() {
        let what = "the live park's ledger is kept by `parkgate ledger`: take this table out of the file".to_owned();
        return Err(wrong(vec![Problem { path: "ledger".to_owned(), what }]));
    }
    Ok(state)
}

/// A review of the live park was refused; nothing was entered.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// The ledgers cannot be read or written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// What a project would take cannot be entered.
    #[error("project `{project}` was decided, but what it takes cannot be entered: {refusal}")]
    Refused {
        /// Project.
        project: String,
        /// Why.
        #[source]
        refusal: Box<Refusal>,
    },
}

/// What a series took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// The projects, in filing order.
    pub reviewed: Vec<Reviewed>,
    /// Entries of the ledgers.
    pub entries: Vec<Row>,
}

/// Reviews each project by itself against the park as it stands; nothing is taken.
///
/// # Errors
/// When the ledgers cannot be read.
pub fn look(facts: &Facts, figures: &Figures, projects: &[(String, Project)], tables: &Tables) -> Result<Vec<Reviewed>, LedgerError> {
    let ledger = Ledger::read(facts)?;
    let book = ledger.book();
    let one = |(index, (name, project)): (usize, &(String, Project))| {
        let project = own_not_entered(project, &book, name);
        let mut found = reserve::one(index, name, &project, &state(figures, &book, &project), tables);
        if book.has_taken(name) {
            let (zh, en) =
                ("项目已在台账中占用指标，本测算未扣除", "the project holds amounts in the ledgers already, beside what this finds");
            found.answer.notes.push(Text::new(zh, en));
        }
        found
    };
    Ok(projects.iter().enumerate().map(one).collect())
}

/// Reviews projects in filing order and enters what they take, with the reviews themselves; all or nothing.
///
/// # Errors
/// When the ledgers cannot be read or written, or what a project takes is refused there.
pub fn take(
    facts: &Facts,
    figures: &Figures,
    projects: &[(String, Project)],
    tables: &Tables,
    (document, author): (&str, &str),
    now: UtcMillis,
) -> Result<Reserved, ReviewError> {
    let mut reviewed = Vec::new();
    let entered = facts
        .append_checked(EntryKind::Ledger, now, |kept| -> Result<Vec<NewEntry>, ReviewError> {
            let mut entries: Vec<Entry> = Ledger::of(kept)?.entries().to_vec();
            let mut new = Vec::new();
            for (index, (name, project)) in reserve::in_filing_order(projects) {
                let book = Book::new(&entries);
                if book.has_taken(name) {
                    let refusal = Refusal::HeldTwice { project: name.clone(), what: "amounts" };
                    return Err(ReviewError::Refused { project: name.clone(), refusal: Box::new(refusal) });
                }
                let project = own_not_entered(project, &book, name);
                let found = reserve::one(index, name, &project, &state(figures, &book, &project), tables);
                let drafts = found.reservation.as_ref().map(|taken| drafts(name, &project, taken, document)).unwrap_or_default();
                let admitted = admit(&entries, &drafts)
                    .map_err(|refusal| ReviewError::Refused { project: name.clone(), refusal: Box::new(refusal) })?;
                entries.extend(admitted);
                new.extend(drafts.iter().map(|draft| kept_as(draft, author)));
                new.push(NewEntry {
                    kind: EntryKind::Review,
                    subject: name.clone(),
                    body: json!({ "decision": found.answer.decision, "answer": found.answer }),
                    author: author.to_owned(),
                    document: Some(document.to_owned()),
                });
                reviewed.push(found);
            }
            Ok(new)
        })
        .map_err(LedgerError::from)??;
    let of_ledger: Vec<_> = entered.into_iter().filter(|entry| entry.kind == EntryKind::Ledger).collect();
    Ok(Reserved { reviewed, entries: Ledger::of(&of_ledger)?.rows().to_vec() })
}

/// The park as a project finds it. The headroom is rounded as what the ledger gives, and amounts of the project as what it takes
/// ([`ParkLedger::is_kept`]): what a review shows is what is entered, and a pass can be entered.
fn state(figures: &Figures, book: &Book<'_>, project: &Project) -> ParkState {
    let mut state = figures.declared.clone();
    let year = project.applied_on.given().map(|day| day.0.year());
    // Whatever the forecast leaves, no more than the allowance is there to reserve from.
    let left = year.and_then(|year| book.quota(year)).map(|quota| quota.left());
    let headroom = figures.headroom_tce.as_ref().map(|headroom| headroom - &book.reserved());
    let headroom = match (headroom, left) {
        (Some(headroom), Some(left)) => Some(headroom.min(left)),
        (headroom, _) => headroom,
    };
    state.quota_headroom_tce = headroom.as_ref().map(given);
    let (mut sources, mut uses) = (Vec::new(), Vec::new());
    for one in book.active() {
        let Draft { date, document, body, .. } = &one.entry.draft;
        match body {
            Body::Source { id, unit, pollutant, measure, before_t, after_t, verified_t, basin, expiry } => sources.push(ParkSource {
                id: id.clone(),
                pollutant: *pollutant,
                verified_t: verified_t.clone(),
                expiry: *expiry,
                unit: Some(unit.clone()),
                measure: Some(measure.clone()),
                before_t: Some(before_t.clone()),
                after_t: Some(after_t.clone()),
                basin: basin.clone(),
                document: Some(document.clone()),
                date: Some(*date),
            }),
            Body::Use { project, pollutant, increment_t, ratio, why, amount_t } => uses.push(ParkUse {
                project: project.clone(),
                pollutant: *pollutant,
                amount_t: amount_t.clone(),
                increment_t: Some(increment_t.clone()),
                ratio: Some(ratio.clone()),
                why: Some(why.clone()),
                document: Some(document.clone()),
                date: Some(*date),
            }),
            _ => {}
        }
    }
    state.ledger = ParkLedger { balances_t: None, sources: Some(sources), uses: Some(uses), is_kept: true };
    state
}

/// Id of the source that a project brings.
fn own_id(project: &str) -> String {
    format!("{project}/own")
}

/// The project without those own reductions that entered the ledger already, when it was approved before and lapsed: they
/// are in the balance.
fn own_not_entered(project: &Project, book: &Book<'_>, name: &str) -> Project {
    let mut project = project.clone();
    let id = own_id(name);
    for one in book.active() {
        if let Body::Source { id: of, pollutant, .. } = &one.entry.draft.body
            && *of == id
        {
            project.own_verified_reduction_t.remove(pollutant);
        }
    }
    project
}

/// What a project takes, as entries: its own reductions first, then its needs, then its energy. Dated on the filing date,
/// on which the balances were looked at.
fn drafts(name: &str, project: &Project, taken: &Reservation, document: &str) -> Vec<Draft> {
    let Some(date) = taken.on else { return Vec::new() };
    let own = taken.own.iter().map(|(pollutant, amount)| Body::Source {
        id: own_id(name),
        unit: name.to_owned(),
        pollutant: *pollutant,
        measure: OWN_MEASURE.to_owned(),
        before_t: amount.clone(),
        after_t: Number::zero(),
        verified_t: Some(amount.clone()),
        basin: None,
        expiry: None,
    });
    let needs = taken.needs.iter().map(|need| Body::Use {
        project: name.to_owned(),
        pollutant: need.pollutant,
        increment_t: need.increment.clone(),
        ratio: need.ratio.clone(),
        why: format!("{} {}", need.why().0, need.why().1),
        amount_t: need.need.clone(),
    });
    let covered_by = (taken.from_headroom_tce < taken.controlled_tce).then(|| {
        let follows = project.province_pre_review.as_deref() == Some(FOLLOW);
        if follows { "province" } else { "replacement" }.to_owned()
    });
    let energy = Body::Reservation {
        project: name.to_owned(),
        controlled_tce: taken.controlled_tce.clone(),
        amount_tce: taken.from_headroom_tce.clone(),
        covered_by,
    };
    let bodies = own.chain(needs).chain([energy]);
    bodies.map(|body| Draft { date, document: document.to_owned(), corrects: None, body }).collect()
}
