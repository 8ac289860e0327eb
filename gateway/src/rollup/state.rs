//! States: how long each code lasted. A code holds as a gauge's value does.

use super::count::state_part;
use super::partial::Partial;

/// A code held for so many milliseconds of the period.
pub(super) fn hold(part: &mut Partial, code: i64, ms: i64) {
    state_part(part).add(code, ms);
}
