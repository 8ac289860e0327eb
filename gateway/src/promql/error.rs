//! Why a query has no answer.

use std::time::Duration;

/// Why a query has no answer. The text goes to who asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The query itself is wrong, too large, or outside what is supported.
    #[error("{0}")]
    BadData(String),
    /// The query is well formed, but cannot be evaluated on this data.
    #[error("{0}")]
    Execution(String),
    /// It took too long.
    #[error("query timed out after {0:?}: ask for a shorter range or a wider step")]
    Timeout(Duration),
    /// Whoever asked went away.
    #[error("query was canceled")]
    Canceled,
    /// All places are taken.
    #[error("too many queries at one time: try again later")]
    Busy,
    /// The record could not be read; what exactly is in the log.
    #[error("the record could not be read: the gateway's log says why")]
    Internal,
}

impl Error {
    /// The name of the kind, as the Prometheus API has it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::BadData(_) => "bad_data",
            Self::Execution(_) => "execution",
            Self::Timeout(_) => "timeout",
            Self::Canceled => "canceled",
            Self::Busy => "unavailable",
            Self::Internal => "internal",
        }
    }

    /// For something that PromQL has and this evaluator has not.
    pub fn unsupported(what: &str) -> Self {
        Self::BadData(format!("{what} is not supported by parkgate"))
    }
}
