//! What indicators take from the ledger of the energy quota: the year's allowance, and what is promised to projects that
//! do not produce yet.

use parkgate_rules::indicator::inputs::{Allowance, Commitment, Inputs, Provenance};
use parkgate_rules::ledger::Body;
use parkgate_rules::ledger::book::Standing;
use parkgate_rules::period::Period;

use super::{Ledger, Row};

/// Adds them to what was declared. An allowance of the ledger counts instead of a declared one; reservations come beside
/// declared commitments. A year with an allowance in the ledger has its reservations there: without any, none is promised.
pub fn add(inputs: &mut Inputs, ledger: &Ledger, period: Period) {
    let (book, of) = (ledger.book(), period.year());
    let is_kept = book.years().contains(&of);
    let mut promised = Vec::new();
    for one in book.active() {
        match &one.entry.draft.body {
            Body::Allowance { year, amount_tce } if *year == of => {
                let allowance = Allowance { period: period.whole_year(), energy: amount_tce.clone(), source: source(ledger, one) };
                inputs.quota.get_or_insert_default().allowances.push(allowance);
            }
            Body::Reservation { project, amount_tce, .. } if !one.started => {
                promised.push(Commitment { project: project.clone(), energy: amount_tce.clone(), source: source(ledger, one) });
            }
            _ => {}
        }
    }
    if is_kept || !promised.is_empty() {
        inputs.quota.get_or_insert_default().committed.get_or_insert_default().extend(promised);
    }
}

fn source(ledger: &Ledger, one: &Standing<'_>) -> Provenance {
    let row: Option<&Row> = ledger.rows().iter().find(|row| row.entry.id == one.entry.id);
    Provenance {
        id: Some(format!("ledger {}", one.entry.id)),
        document: Some(one.entry.draft.document.clone()),
        author: row.map(|row| row.author.clone()),
        entered_at: None,
    }
}
