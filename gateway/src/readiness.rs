//! What has to be right before the gateway may be called ready: a board of named checks that `app` and `watch` fill.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Named checks, each fine or with what is wrong. Cheap to clone. Ready = at least one check, and all are fine: enter a
/// check as failed before its part starts.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<Board>>);

#[derive(Debug, Default)]
struct Board {
    checks: BTreeMap<&'static str, Result<(), String>>,
    degraded: BTreeMap<String, String>,
}

impl Readiness {
    fn lock(&self) -> MutexGuard<'_, Board> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters how a check stands; the text says what is wrong and what to do.
    pub fn set(&self, check: &'static str, outcome: Result<(), String>) {
        self.lock().checks.insert(check, outcome);
    }

    /// Enters what is wrong with a part that the gateway can do without, or that nothing is.
    pub fn degraded(&self, part: &str, what: Option<String>) {
        let degraded = &mut self.lock().degraded;
        match what {
            Some(what) => degraded.insert(part.to_owned(), what),
            None => degraded.remove(part),
        };
    }

    /// Parts that the gateway does without just now, with what is wrong.
    pub fn degraded_parts(&self) -> Vec<(String, String)> {
        self.lock().degraded.iter().map(|(part, what)| (part.clone(), what.clone())).collect()
    }

    /// All checks by name.
    pub fn checks(&self) -> Vec<(&'static str, Result<(), String>)> {
        self.lock().checks.iter().map(|(&name, outcome)| (name, outcome.clone())).collect()
    }

    /// Whether all is fine.
    pub fn ready(&self) -> bool {
        let checks = &self.lock().checks;
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
        board.degraded("sink hq", Some("away".into()));
        assert!(board.ready());
        assert_eq!(board.degraded_parts(), [("sink hq".to_owned(), "away".to_owned())]);
        board.degraded("sink hq", None);
        assert_eq!(board.degraded_parts(), []);
    }
}
