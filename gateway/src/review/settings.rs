//! `[gateway.review]`.

use std::path::PathBuf;

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[gateway.review]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReviewSettings {
    /// What of the park's state nobody meters: last year's quality, spare capacities, expansions, land table, leading
    /// industries; JSON or TOML of the form that `parkgate review --schema state` prints, without `ledger`. Relative to
    /// the main file; read anew for each review.
    #[garde(skip)]
    pub park_state: Option<PathBuf>,
}
