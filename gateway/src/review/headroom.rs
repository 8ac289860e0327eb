//! Headroom of the energy quota before what the ledger reserves: EN-11 up to the last whole day, or the last whole month
//! where figures are declared by the month, with the ledger's reservations put back; where EN-11 is not known, the figure
//! declared.

use parkgate_collector::model::UtcMillis;
use parkgate_rules::Number;
use parkgate_rules::indicator::result::Status;
use parkgate_rules::period::Period;

use super::Figures;
use crate::indicator::inputs::period_of;
use crate::indicator::live::{Live, LiveError, Want};
use crate::ledger::{Ledger, LedgerError};
use crate::rollup::Level;
use crate::store::EntryKind;

/// How often it is tried to see figures and ledger in one state.
const TRIES: usize = 5;

/// It cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum HeadroomError {
    /// Indicators cannot be computed.
    #[error(transparent)]
    Live(#[from] LiveError),
    /// The ledgers cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// What a review rests on: the declared state and the headroom. Blocks on file I/O.
///
/// # Errors
/// When indicators or ledgers cannot be read.
pub fn figures(live: &Live, declared: parkgate_rules::review::ParkState, now: UtcMillis) -> Result<Figures, HeadroomError> {
    let headroom_tce = metered(live, now)?.or_else(|| declared.quota_headroom_tce.clone());
    Ok(Figures { declared, headroom_tce })
}

/// EN-11 with the ledger's reservations put back; `None` when it is not known.
fn metered(live: &Live, now: UtcMillis) -> Result<Option<Number>, HeadroomError> {
    for level in [Level::Day, Level::Month] {
        let present = live.zone().period_of(level, now);
        let last = live.zone().period_of(level, present.start.plus(-1));
        // In the first day or month of a year none of it is over yet.
        let is_of_this_year = live.zone().period_of(Level::Year, last.start) == live.zone().period_of(Level::Year, now);
        let Some(period) = period_of(last, live.zone()).filter(|_| is_of_this_year) else { continue };
        if let Some(headroom) = up_to(live, period, now)? {
            return Ok(Some(headroom));
        }
    }
    Ok(None)
}

/// EN-11 of a period with the ledger's reservations put back.
fn up_to(live: &Live, period: Period, now: UtcMillis) -> Result<Option<Number>, HeadroomError> {
    let facts = live.facts();
    let mut found = None;
    for _ in 0..TRIES {
        let before = facts.last_entry(EntryKind::Ledger).map_err(LedgerError::from)?;
        let results = live.results(period, Want { id: Some("EN-11"), explain: false }, now)?;
        let ledger = Ledger::read(facts)?;
        let sound = results.first().filter(|result| matches!(result.status, Status::Ok | Status::Estimated));
        found = sound.and_then(|result| result.exact.clone()).map(|headroom| headroom + ledger.book().reserved());
        if facts.last_entry(EntryKind::Ledger).map_err(LedgerError::from)? == before {
            break;
        }
    }
    Ok(found)
}
