//! Totals per hour, day, month and year in the park's zone: cumulative registers for counters, means for gauges,
//! durations for states. Derived from the record; the rules are named R-DELTA, R-EXCHANGE, R-BOUND, R-GAP and R-EST.
//!
//! Exchanges of meters and changes of the multiplier (R-EXCHANGE) are entered by people, with author and time, and so are
//! decisions about registers that fall without a plausible wrap (R-DELTA's suspect pairs): until one of both is there, such
//! a pair adds nothing and its period is flagged `suspect` and incomplete. Once it is decided the flag is `decided` (none of
//! an exchange or a wrap of their own) and nothing is incomplete: across a wrong reading the difference is formed; of a
//! register that was set back no difference exists (R-DELTA), and as across an exchange without registers (R-EXCHANGE) the
//! time of the pair stays uncovered, which only completeness tells. What an entry touches is counted again.
//!
//! In reading order: [`total`] what a total is and who may ask for it; [`zone`] the park's calendar; [`rule`] what the
//! catalogue says about a point; [`source`] whether its registers come about as before, [`ruled`] what its modulus and
//! rate were; [`partial`] what is kept of a period and how longer ones are made; [`count`] from samples to hours, with
//! [`counter`], [`announced`], [`gauge`] and [`state`]; [`meters`] what was entered about meters, [`enter`] entering it,
//! [`decide`] what is to be decided; [`scan`] the samples that hours need; [`store`] the file of closed periods and
//! [`codec`] its bytes; [`recount`] hours again, with what follows from them; [`mod@follow`] the journal; [`view`]
//! answers; [`row`] a total as text.

pub mod total;
pub mod zone;
pub mod rule;
pub mod source;
pub mod partial;
pub mod count;
pub mod announced;
pub mod counter;
pub mod gauge;
pub mod state;
pub mod ruled;
pub mod meters;
pub mod enter;
pub mod decide;
pub mod scan;
pub mod codec;
pub mod store;
pub mod recount;
pub mod follow;
pub mod view;
pub mod row;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::current::{Configured, Current};
use crate::engine::Engine;
use crate::metrics::Metrics;
use crate::store::follow::follow;
use crate::store::{DataDirectory, Facts, StoreError};
use crate::threads::Thread;

pub use total::{Amount, CounterTotal, Figures, Flags, GaugeTotal, Level, Period, StateTotal, Total, TotalsView};
pub use view::Totals;
pub use zone::ParkZone;

/// Opens the totals of a data directory and starts to follow the journal. Whoever puts another configuration in force tells
/// the answer's [`Totals::set_catalogue`] too.
///
/// # Errors
/// When `totals.db` cannot be used, or there is no thread to be had.
pub fn start(
    configured: &Current<Configured>,
    engine: &Engine,
    directory: &DataDirectory,
    facts: &Arc<Facts>,
    metrics: &Metrics,
    grace_ms: i64,
) -> Result<(Arc<Totals>, Thread), StoreError> {
    let path = directory.totals();
    let (configured, following) = configured.follow();
    let catalogue = &configured.catalogue;
    let record = Arc::new(engine.history().clone());
    let store = store::TotalsStore::open(&path, &ParkZone::new(&catalogue.park.time_zone))?;
    let follower = follow::Follower::new(catalogue, Arc::clone(&record) as _, store, Arc::clone(facts), metrics.clone(), grace_ms)?;
    let follower = follower.following(following);
    let follower = follower.announcing(engine.exchanges());
    let totals = Arc::new(Totals::new(catalogue, record, Some(store::TotalsStore::open_read_only(&path)?)).with_meters(follower.meters()));
    let (journal, history) = (engine.journal().clone(), engine.history().clone());
    let thread = Thread::spawn("rollup", move |cancel| {
        let cursor = follower.cursor();
        follow(follower, cursor, &journal, &history, cancel);
    });
    Ok((totals, thread.map_err(|error| StoreError::Io { path, error })?))
}
