//! What may be added to the ledgers. After every admitted entry no balance is below zero, no source is there twice, no
//! project holds twice; whoever calls this inside the transaction that writes cannot over-commit.

use std::collections::BTreeSet;
use std::fmt;

use super::book::Standing;
use super::entry::{DECIMALS, taken};
use super::{Body, Book, Draft, Entry, Pollutant};
use crate::Number;

/// Why an entry is not admitted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A field is empty.
    #[error("`{0}` is empty")]
    Empty(&'static str),
    /// An amount is below 0, or not above it.
    #[error("`{0}` is {1}, which is too small")]
    TooSmall(&'static str, Number),
    /// Too many decimals.
    #[error("`{0}` is {1}: at most {DECIMALS} decimals are kept")]
    Decimals(&'static str, Number),
    /// A source that reduces nothing, or less than was verified.
    #[error("source `{id}`: {verified} t/a were verified, but before less after is {reduction} t/a")]
    NotReduced {
        /// Source.
        id: String,
        /// Verified.
        verified: String,
        /// Before less after.
        reduction: String,
    },
    /// A use whose amount does not follow from increment and ratio.
    #[error("amount_t is {given}, but increment x ratio is {due} t/a, rounded up to {DECIMALS} decimals")]
    Amount {
        /// As given.
        given: String,
        /// Increment x ratio, rounded up.
        due: String,
    },
    /// A source is there already.
    #[error("source `{id}` of {pollutant} is there already; a source is used once (a change of it is a correction: `corrects`)")]
    SourceTwice {
        /// Source.
        id: String,
        /// Pollutant.
        pollutant: &'static str,
    },
    /// Replacement energy is there already.
    #[error("replacement `{0}` is there already (a change of it is a correction: `corrects`)")]
    ReplacementTwice(String),
    /// A year has an allowance already.
    #[error("{0} has an allowance already (another amount is a correction: `corrects`)")]
    AllowanceTwice(i16),
    /// A project holds already.
    #[error("project `{project}` holds {what} already; let it lapse or cancel it first, or correct the entry")]
    HeldTwice {
        /// Project.
        project: String,
        /// Energy or a pollutant.
        what: &'static str,
    },
    /// A project that took nothing has nothing to give back.
    #[error("project `{0}` holds nothing in the ledgers")]
    HoldsNothing(String),
    /// A withdrawal that names nothing.
    #[error("a withdrawal names the entry it takes out: `corrects`")]
    WithdrawsNothing,
    /// The corrected entry is not there.
    #[error("there is no entry {0} to correct")]
    NoSuchEntry(i64),
    /// The corrected entry does not count any more.
    #[error("entry {0} was corrected or withdrawn already; correct the one that counts now")]
    Superseded(i64),
    /// A correction of another kind.
    #[error("entry {id} is a {old}, which a {new} cannot correct; withdraw it")]
    OtherKind {
        /// The old entry.
        id: i64,
        /// Its kind.
        old: &'static str,
        /// Kind of the new one.
        new: &'static str,
    },
    /// Uses would be more than what there is.
    #[error("the balance of {pollutant} would be below zero: {short} t/a are missing{holders}")]
    Overdrawn {
        /// Pollutant.
        pollutant: &'static str,
        /// What is missing.
        short: Number,
        /// Of a correction or withdrawal: who holds it.
        holders: Holders,
    },
    /// Reservations would be more than the quota.
    #[error("the energy quota of {year} would be over-committed by {short} tce{holders}")]
    OverQuota {
        /// Year.
        year: i16,
        /// What is missing.
        short: Number,
        /// Of a correction or withdrawal: who holds it.
        holders: Holders,
    },
    /// Reservations would have no quota.
    #[error("reserved energy would have no allowance of its year or a later one{0}")]
    Uncovered(Holders),
    /// There is no quota to reserve from.
    #[error("no allowance of energy is entered for {0} or later, so none can be reserved")]
    NoAllowance(i16),
}

/// Projects that hold what an entry would take away, with their amounts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holders(Vec<(String, Number)>);

/// Most projects that a refusal names.
const NAMED_MAX: usize = 5;

impl Holders {
    fn of<'a: 'b, 'b>(standing: impl Iterator<Item = &'b Standing<'a>>) -> Self {
        let held = |one: &Standing<'_>| match &one.entry.draft.body {
            Body::Reservation { project, amount_tce, .. } => Some((project.clone(), amount_tce.clone())),
            Body::Use { project, amount_t, .. } => Some((project.clone(), amount_t.clone())),
            _ => None,
        };
        Self(standing.filter_map(held).filter(|(_, amount)| amount.is_positive()).collect())
    }
}

impl fmt::Display for Holders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        let named: Vec<String> = self.0.iter().take(NAMED_MAX).map(|(project, amount)| format!("`{project}` ({amount})")).collect();
        write!(f, "; held by {}", named.join(", "))?;
        if self.0.len() > NAMED_MAX {
            write!(f, " and {} more", self.0.len().saturating_sub(NAMED_MAX))?;
        }
        f.write_str(": let it lapse or cancel it first")
    }
}

/// The entries that the drafts become, all or none, numbered after the last one.
///
/// # Errors
/// Why not, for the first draft that cannot be admitted.
pub fn admit(entries: &[Entry], drafts: &[Draft]) -> Result<Vec<Entry>, Refusal> {
    let mut all = entries.to_vec();
    for draft in drafts {
        check_form(draft)?;
        let before = Book::new(&all);
        check_against(&before, &all, draft)?;
        let uncovered_before: BTreeSet<i64> = uncovered(&before).map(|one| one.root).collect();
        let id = all.last().map_or(0, |entry| entry.id).saturating_add(1);
        all.push(Entry { id, draft: draft.clone() });
        let after = Book::new(&all);
        check_balances(&after, draft.corrects.is_some())?;
        // What had no allowance before stands in the way of nothing else.
        let holders = Holders::of(uncovered(&after).filter(|one| !uncovered_before.contains(&one.root)));
        if holders != Holders::default() {
            return Err(Refusal::Uncovered(holders));
        }
    }
    Ok(all.split_off(entries.len()))
}

/// What can be said of a draft by itself.
fn check_form(draft: &Draft) -> Result<(), Refusal> {
    text("document", &draft.document)?;
    match &draft.body {
        Body::Allowance { amount_tce, .. } => amount("amount_tce", amount_tce),
        Body::Replacement { id, amount_tce, .. } => text("id", id).and_then(|()| amount("amount_tce", amount_tce)),
        Body::Reservation { project, controlled_tce, amount_tce, .. } => {
            text("project", project)?;
            amount("controlled_tce", controlled_tce)?;
            amount("amount_tce", amount_tce)?;
            // No more than it needs.
            if amount_tce > controlled_tce { Err(Refusal::TooSmall("controlled_tce", controlled_tce.clone())) } else { Ok(()) }
        }
        Body::Source { id, unit, measure, before_t, after_t, verified_t, .. } => {
            [("id", id), ("unit", unit), ("measure", measure)].into_iter().try_for_each(|(name, value)| text(name, value))?;
            amount("before_t", before_t)?;
            amount("after_t", after_t)?;
            let reduction = before_t - after_t;
            let verified = verified_t.clone().unwrap_or_default();
            amount("verified_t", &verified)?;
            if reduction.is_negative() || verified > reduction {
                return Err(Refusal::NotReduced { id: id.clone(), verified: verified.to_string(), reduction: reduction.to_string() });
            }
            Ok(())
        }
        Body::Use { project, increment_t, ratio, why, amount_t, .. } => {
            [("project", project), ("why", why)].into_iter().try_for_each(|(name, value)| text(name, value))?;
            if increment_t.is_negative() {
                return Err(Refusal::TooSmall("increment_t", increment_t.clone()));
            }
            amount("ratio", ratio)?;
            amount("amount_t", amount_t)?;
            let due = taken(&(increment_t * ratio));
            if *amount_t == due { Ok(()) } else { Err(Refusal::Amount { given: amount_t.to_string(), due: due.to_string() }) }
        }
        Body::Started { project } | Body::Lapse { project } | Body::Cancellation { project } => text("project", project),
        Body::Withdrawal {} if draft.corrects.is_none() => Err(Refusal::WithdrawsNothing),
        Body::Withdrawal {} => Ok(()),
    }
}

fn text(name: &'static str, value: &str) -> Result<(), Refusal> {
    if value.trim().is_empty() { Err(Refusal::Empty(name)) } else { Ok(()) }
}

fn amount(name: &'static str, value: &Number) -> Result<(), Refusal> {
    if value.is_negative() {
        Err(Refusal::TooSmall(name, value.clone()))
    } else if value.rounded(DECIMALS) != *value {
        Err(Refusal::Decimals(name, value.clone()))
    } else {
        Ok(())
    }
}

/// What can be said of a draft beside what is there.
fn check_against(book: &Book<'_>, entries: &[Entry], draft: &Draft) -> Result<(), Refusal> {
    let mut replaced = None;
    if let Some(old) = draft.corrects {
        let entry = entries.iter().find(|entry| entry.id == old).ok_or(Refusal::NoSuchEntry(old))?;
        if !book.standing().iter().any(|one| one.entry.id == old) {
            return Err(Refusal::Superseded(old));
        }
        let (was, is) = (entry.draft.body.name(), draft.body.name());
        if draft.body != (Body::Withdrawal {}) && was != is {
            return Err(Refusal::OtherKind { id: old, old: was, new: is });
        }
        replaced = Some(old);
    }
    // What the draft takes the place of does not stand against it.
    let others = || book.standing().iter().filter(move |one| Some(one.entry.id) != replaced);
    let held = || others().filter(|one| !one.returned);
    match &draft.body {
        Body::Allowance { year, .. } => {
            let is_there = others().any(|one| matches!(&one.entry.draft.body, Body::Allowance { year: other, .. } if other == year));
            if is_there { Err(Refusal::AllowanceTwice(*year)) } else { Ok(()) }
        }
        Body::Replacement { id, .. } => {
            let is_there = others().any(|one| matches!(&one.entry.draft.body, Body::Replacement { id: other, .. } if other == id));
            if is_there { Err(Refusal::ReplacementTwice(id.clone())) } else { Ok(()) }
        }
        Body::Source { id, pollutant, .. } => {
            let same = |body: &Body| matches!(body, Body::Source { id: other, pollutant: of, .. } if other == id && of == pollutant);
            let is_there = others().any(|one| same(&one.entry.draft.body));
            if is_there { Err(Refusal::SourceTwice { id: id.clone(), pollutant: pollutant.name() }) } else { Ok(()) }
        }
        Body::Reservation { project, amount_tce, .. } => {
            if held().any(|one| matches!(&one.entry.draft.body, Body::Reservation { project: other, .. } if other == project)) {
                return Err(Refusal::HeldTwice { project: project.clone(), what: "energy" });
            }
            let year = draft.date.0.year();
            // Filed in one year and decided in the next, it is held against the next one's quota.
            let has_quota = book.years().iter().any(|allowed| *allowed >= year);
            if amount_tce.is_positive() && !has_quota { Err(Refusal::NoAllowance(year)) } else { Ok(()) }
        }
        Body::Use { project, pollutant, .. } => {
            let same = |body: &Body| matches!(body, Body::Use { project: other, pollutant: of, .. } if other == project && of == pollutant);
            let is_there = held().any(|one| same(&one.entry.draft.body));
            if is_there { Err(Refusal::HeldTwice { project: project.clone(), what: pollutant.name() }) } else { Ok(()) }
        }
        Body::Started { project } | Body::Lapse { project } | Body::Cancellation { project } => {
            // A correction keeps its place, so what it would find was found by the old one.
            if replaced.is_some() || book.has_taken(project) { Ok(()) } else { Err(Refusal::HoldsNothing(project.clone())) }
        }
        Body::Withdrawal {} => Ok(()),
    }
}

/// That nothing is over-committed. `is_correction`: the last entry took the place of another one.
fn check_balances(book: &Book<'_>, is_correction: bool) -> Result<(), Refusal> {
    for pollutant in Pollutant::ALL {
        let short = book.totals(pollutant, None).balance.overdrawn;
        if short.is_positive() {
            let is_use = |one: &&Standing<'_>| matches!(&one.entry.draft.body, Body::Use { pollutant: of, .. } if *of == pollutant);
            let holders = Holders::of(book.active().filter(is_use).filter(|_| is_correction));
            return Err(Refusal::Overdrawn { pollutant: pollutant.name(), short, holders });
        }
    }
    for year in book.years() {
        let short = book.quota(year).map(|quota| -quota.left()).unwrap_or_default();
        if short.is_positive() {
            let counts = |one: &&Standing<'_>| one.entry.draft.date.0.year() <= year;
            let holders = Holders::of(reserved(book).filter(counts).filter(|_| is_correction));
            return Err(Refusal::OverQuota { year, short, holders });
        }
    }
    held_once(book)
}

/// Reservations of projects that do not produce yet.
fn reserved<'a, 'b>(book: &'b Book<'a>) -> impl Iterator<Item = &'b Standing<'a>> {
    book.active().filter(|one| !one.started && matches!(one.entry.draft.body, Body::Reservation { .. }))
}

/// Those of which the year and all later ones are without an allowance. None is admitted so, and no allowance can go from under one.
fn uncovered<'a, 'b>(book: &'b Book<'a>) -> impl Iterator<Item = &'b Standing<'a>> {
    let last = book.years().last().copied();
    reserved(book).filter(move |one| last.is_none_or(|last| last < one.entry.draft.date.0.year()))
}

/// That no project holds twice, also after a lapse was withdrawn.
fn held_once(book: &Book<'_>) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    for one in book.active() {
        let (project, what) = match &one.entry.draft.body {
            Body::Reservation { project, .. } => (project, "energy"),
            Body::Use { project, pollutant, .. } => (project, pollutant.name()),
            _ => continue,
        };
        if !seen.insert((project, what)) {
            return Err(Refusal::HeldTwice { project: project.clone(), what });
        }
    }
    Ok(())
}
