//! Taking a changed configuration while the gateway runs: who asks for it, what is answered, and what cannot be taken so.
//!
//! [`demands`] names what needs a restart; a configuration with any of it is refused as a whole, as a broken one is, and the
//! one in force stays. What is done with one that can be taken is in `crate::app`, which holds all the parts. Asked by a
//! SIGHUP or over the API; one at a time, and whoever asks while one is under way is answered by the next.

pub mod demands;

use parkgate_collector::catalogue;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use utoipa::ToSchema;

/// Requests that may wait; further ones are told to come back.
pub const REQUESTS: usize = 16;

/// What became of a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReloadResult {
    /// The files' configuration is in force now.
    Applied,
    /// The files say what is in force.
    Unchanged,
    /// What was in force stays; `problems` say why.
    Refused,
}

impl ReloadResult {
    /// All.
    pub const ALL: [Self; 3] = [Self::Applied, Self::Unchanged, Self::Refused];

    /// The name in JSON and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
        }
    }
}

/// Why a configuration was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ReloadProblem {
    /// The file; `null` where it is about none.
    pub file: Option<String>,
    /// Line, from 1.
    pub line: Option<usize>,
    /// Column in characters, from 1.
    pub column: Option<usize>,
    /// What is wrong.
    pub what: String,
    /// What to do; may be empty.
    pub help: String,
}

impl ReloadProblem {
    /// About no place in a file.
    pub fn new(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self { file: None, line: None, column: None, what: what.into(), help: help.into() }
    }
}

impl From<catalogue::Problem> for ReloadProblem {
    fn from(problem: catalogue::Problem) -> Self {
        let catalogue::Problem { file, line, column, message, help, .. } = problem;
        Self { file: Some(file), line: Some(line), column: Some(column), what: message, help }
    }
}

impl std::fmt::Display for ReloadProblem {
    /// One line: `file:line: what; help`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let (Some(file), Some(line)) = (&self.file, self.line) {
            write!(f, "{file}:{line}: ")?;
        }
        f.write_str(&self.what)?;
        if !self.help.is_empty() {
            write!(f, "; {}", self.help)?;
        }
        Ok(())
    }
}

/// What a reload did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ReloadReport {
    /// What became of it.
    pub result: ReloadResult,
    /// Links that were begun, by id.
    pub started: Vec<String>,
    /// Links that were ended.
    pub stopped: Vec<String>,
    /// Links that were begun anew, because something of them changed; all others went on untouched.
    pub restarted: Vec<String>,
    /// Why it was refused.
    pub problems: Vec<ReloadProblem>,
}

impl ReloadReport {
    /// Without lines that were touched.
    pub fn new(result: ReloadResult) -> Self {
        Self { result, started: Vec::new(), stopped: Vec::new(), restarted: Vec::new(), problems: Vec::new() }
    }

    /// Refused for these problems.
    pub fn refused(problems: Vec<ReloadProblem>) -> Self {
        Self { problems, ..Self::new(ReloadResult::Refused) }
    }

    /// The problems on one line, the first few of them.
    pub fn problems_text(&self) -> String {
        const SHOWN: usize = 3;
        let mut text = self.problems.iter().take(SHOWN).map(ToString::to_string).collect::<Vec<_>>().join(" | ");
        if let Some(more) = self.problems.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            text.push_str(&format!(" | and {more} more"));
        }
        text
    }
}

/// Somebody's wish for a reload.
#[derive(Debug)]
pub struct Asked {
    /// Who, for the record of changes.
    pub who: String,
    /// Told what became of it.
    pub answer: oneshot::Sender<ReloadReport>,
}

/// Where reloads are asked for. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reloads(mpsc::Sender<Asked>);

/// A reload was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReloaded {
    /// Too many wait.
    #[error("too many ask for it at once")]
    Busy,
    /// The gateway is stopping, or not yet up.
    #[error("the gateway is stopping")]
    Stopping,
}

/// Where reloads are asked for, and where they are taken up.
pub fn channel() -> (Reloads, mpsc::Receiver<Asked>) {
    let (sender, receiver) = mpsc::channel(REQUESTS);
    (Reloads(sender), receiver)
}

impl Reloads {
    /// Asks for a reload that begins after now, and waits for what becomes of it.
    ///
    /// # Errors
    /// When it is not done.
    pub async fn ask(&self, who: String) -> Result<ReloadReport, NotReloaded> {
        let (answer, report) = oneshot::channel();
        self.0.try_send(Asked { who, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => NotReloaded::Busy,
            mpsc::error::TrySendError::Closed(_) => NotReloaded::Stopping,
        })?;
        report.await.map_err(|_| NotReloaded::Stopping)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_its_form() {
        let problem =
            ReloadProblem { file: Some("a.toml".into()), line: Some(3), column: Some(1), ..ReloadProblem::new("is odd", "mend it") };
        let mut report = ReloadReport::refused(vec![problem; 4]);
        let mended = "a.toml:3: is odd; mend it";
        assert_eq!(report.problems_text(), format!("{mended} | {mended} | {mended} | and 1 more"));
        report.problems.truncate(1);
        let expected = r#"{"result":"refused","started":[],"stopped":[],"restarted":[],"problems":[{"file":"a.toml","line":3,"column":1,"what":"is odd","help":"mend it"}]}"#;
        assert_eq!(serde_json::to_string(&report).unwrap(), expected);
        for result in ReloadResult::ALL {
            assert_eq!(serde_json::to_value(result).unwrap(), result.name());
        }
    }

    #[tokio::test]
    async fn who_asks_is_answered_or_told_why_not() {
        let (reloads, mut asked) = channel();
        let waiting: Vec<_> = (0..REQUESTS)
            .map(|number| {
                let reloads = reloads.clone();
                tokio::spawn(async move { reloads.ask(number.to_string()).await })
            })
            .collect();
        while asked.len() < REQUESTS {
            tokio::task::yield_now().await;
        }
        assert_eq!(reloads.ask("one more".into()).await, Err(NotReloaded::Busy));
        let first = asked.recv().await.unwrap();
        first.answer.send(ReloadReport::new(ReloadResult::Unchanged)).unwrap();
        drop(asked);
        assert_eq!(reloads.ask("late".into()).await, Err(NotReloaded::Stopping));
        let mut answers = Vec::new();
        for task in waiting {
            answers.push(task.await.unwrap());
        }
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
        assert_eq!(answers.iter().filter(|answer| **answer == Err(NotReloaded::Stopping)).count(), REQUESTS - 1);
    }
}
