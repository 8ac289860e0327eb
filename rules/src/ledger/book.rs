//! The ledgers as they stand: entries after corrections, lapses and cancellations, and what is left.

use std::collections::{BTreeMap, BTreeSet};

use super::balance::{Amount, Balance, balance};
use super::{Body, Entry, Pollutant};
use crate::Number;
use crate::period::Day;

/// An entry that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing<'a> {
    /// Number of the entry that it took the place of, over all corrections; its own without any.
    pub root: i64,
    /// The entry.
    pub entry: &'a Entry,
    /// Whether what it took came back.
    pub returned: bool,
    /// Whether it is energy of a project that produces.
    pub started: bool,
}

/// All that counts, in order of the roots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Book<'a> {
    standing: Vec<Standing<'a>>,
}

/// The energy quota of a year, tce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Year.
    pub year: i16,
    /// Allowance.
    pub allowance: Number,
    /// Verified replacement energy.
    pub replacement: Number,
    /// Reserved for projects that do not produce yet.
    pub reserved: Number,
}

impl Quota {
    /// Allowance + replacement - reserved.
    pub fn left(&self) -> Number {
        &self.allowance + &self.replacement - &self.reserved
    }
}

/// A pollutant's ledger, t a year.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Pollutant.
    pub pollutant: Pollutant,
    /// Verified, expired ones included.
    pub verified: Number,
    /// Claimed and not verified; counts for nothing.
    pub claimed: Number,
    /// Used.
    pub used: Number,
    /// What is left, and what was taken beyond what there was.
    pub balance: Balance,
}

impl<'a> Book<'a> {
    /// The entries, in order of their numbers, as they stand.
    pub fn new(entries: &'a [Entry]) -> Self {
        let mut by_root: BTreeMap<i64, &Entry> = BTreeMap::new();
        let mut roots: BTreeMap<i64, i64> = BTreeMap::new();
        for entry in entries {
            let root = entry.draft.corrects.and_then(|old| roots.get(&old).copied()).unwrap_or(entry.id);
            roots.insert(entry.id, root);
            if entry.draft.body == (Body::Withdrawal {}) {
                by_root.remove(&root);
            } else {
                by_root.insert(root, entry);
            }
        }
        // Per project: the last entry that gave back, and the last that started.
        let (mut returned, mut started): (BTreeMap<&str, i64>, BTreeMap<&str, i64>) = (BTreeMap::new(), BTreeMap::new());
        for (root, entry) in &by_root {
            match &entry.draft.body {
                Body::Lapse { project } | Body::Cancellation { project } => returned.insert(project, *root),
                Body::Started { project } => started.insert(project, *root),
                _ => None,
            };
        }
        let is_before = |marks: &BTreeMap<&str, i64>, entry: &Entry, root: i64| {
            let project = entry.draft.body.taker();
            project.and_then(|project| marks.get(project)).is_some_and(|mark| root < *mark)
        };
        let standing = by_root.iter().map(|(&root, &entry)| Standing {
            root,
            entry,
            returned: is_before(&returned, entry, root),
            started: is_before(&started, entry, root),
        });
        Self { standing: standing.collect() }
    }

    /// All that counts, in order of the roots.
    pub fn standing(&self) -> &[Standing<'a>] {
        &self.standing
    }

    /// What counts and was not given back.
    pub fn active(&self) -> impl Iterator<Item = &Standing<'a>> {
        self.standing.iter().filter(|one| !one.returned)
    }

    /// Years with an allowance.
    pub fn years(&self) -> BTreeSet<i16> {
        let year = |one: &Standing<'_>| if let Body::Allowance { year, .. } = one.entry.draft.body { Some(year) } else { None };
        self.active().filter_map(year).collect()
    }

    /// The energy quota of a year; `None` without an allowance. Replacement energy and reservations count from the year
    /// of their date on; a reservation until its project produces or gives it back.
    pub fn quota(&self, of: i16) -> Option<Quota> {
        let mut quota = Quota { year: of, allowance: Number::zero(), replacement: Number::zero(), reserved: Number::zero() };
        let mut is_there = false;
        for one in self.active() {
            let counts = one.entry.draft.date.0.year() <= of;
            match &one.entry.draft.body {
                Body::Allowance { year, amount_tce } if *year == of => {
                    quota.allowance += amount_tce;
                    is_there = true;
                }
                Body::Replacement { amount_tce, verified: true, .. } if counts => quota.replacement += amount_tce,
                Body::Reservation { amount_tce, .. } if counts && !one.started => quota.reserved += amount_tce,
                _ => {}
            }
        }
        is_there.then_some(quota)
    }

    /// Energy reserved for projects that do not produce yet, tce.
    pub fn reserved(&self) -> Number {
        let amount = |one: &Standing<'a>| match &one.entry.draft.body {
            Body::Reservation { amount_tce, .. } if !one.started => Some(amount_tce),
            _ => None,
        };
        self.active().filter_map(amount).sum()
    }

    /// A pollutant's ledger on a day; without one, nothing is taken for expired.
    pub fn totals(&self, of: Pollutant, on: Option<Day>) -> Totals {
        let (mut sources, mut uses, mut claimed) = (Vec::new(), Vec::new(), Number::zero());
        for one in self.active() {
            match &one.entry.draft.body {
                Body::Source { pollutant, verified_t, before_t, after_t, expiry, .. } if *pollutant == of => match verified_t {
                    Some(verified) => sources.push(Amount { amount: verified.clone(), day: *expiry }),
                    None => claimed += &(before_t - after_t),
                },
                Body::Use { pollutant, amount_t, .. } if *pollutant == of => {
                    uses.push(Amount { amount: amount_t.clone(), day: Some(one.entry.draft.date) });
                }
                _ => {}
            }
        }
        Totals {
            pollutant: of,
            verified: sources.iter().map(|source| &source.amount).sum(),
            claimed,
            used: uses.iter().map(|one| &one.amount).sum(),
            balance: balance(&sources, &uses, on),
        }
    }

    /// Whether a project has taken something that was not given back.
    pub fn has_taken(&self, project: &str) -> bool {
        self.active().any(|one| one.entry.draft.body.taker() == Some(project))
    }
}

impl Body {
    /// The project that takes by this entry.
    pub fn taker(&self) -> Option<&str> {
        match self {
            Self::Reservation { project, .. } | Self::Use { project, .. } => Some(project),
            _ => None,
        }
    }
}
