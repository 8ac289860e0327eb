//! What has to be right before the gateway may be called ready: a board of named checks that `app` and `watch` fill.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Named checks, each fine or with what is wrong. Cheap to clone. Ready = at least one check, and all are fine: enter a
/// check as failed before its part starts.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<&'static str, Result<(), String>>>>);

impl Readiness {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Result<(), String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters how a check stands; the text says what is wrong and what to do.
    pub fn set(&self, check: &'static str, outcome: Result<(), String>) {
        self.lock().insert(check, outcome);
    }

    /// All checks by name.
    pub fn checks(&self) -> Vec<(&'static str, Result<(), String>)> {
        self.lock().iter().map(|(&name, outcome)| (name, outcome.clone())).collect()
    }

    /// Whether all is fine.
    pub fn ready(&self) -> bool {
        let checks = self.lock();
        !checks.is_empty() && checks.values().all(Result::is_ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_needs_a_check_and_all_of_them_fine() {
        let board = Readiness::default();
        assert!(!board.ready());
        board.set("journal", Ok(()));
        assert!(board.ready());
        board.set("history", Err("starting".into()));
        assert!(!board.ready());
        assert_eq!(board.checks(), [("history", Err("starting".to_owned())), ("journal", Ok(()))]);
        board.set("history", Ok(()));
        assert!(board.ready());
    }
}
