//! Who asks, and what they may see: the one place that decides it. Every query takes an [`Identity`] and shows only
//! points that [`Identity::sees`]; filters of the asker are applied to what is left, so none can widen it.
//!
//! [`secret`] what a token is and what is kept of it; [`tokens`] the tokens in force; [`who`] the user that acts.

pub mod secret;
pub mod tokens;
pub mod who;

pub use tokens::{Grant, Token, Tokens};

use std::collections::BTreeSet;

use parkgate_collector::catalogue::{Device, Point};
use parkgate_collector::model::Medium;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a person or program is here for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Looks at values, totals and boards.
    Viewer,
    /// Runs the park: may also acknowledge and decide.
    Operator,
    /// Reviews projects.
    Reviewer,
    /// Checks emissions.
    Regulator,
    /// May do everything, access included.
    Admin,
}

impl Role {
    /// Its name in commands, tables and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Reviewer => "reviewer",
            Self::Regulator => "regulator",
            Self::Admin => "admin",
        }
    }
}

/// What part of the park is visible. An empty set in a dimension means no restriction in it; dimensions restrict together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// Enterprise ids. Points of no enterprise (the park's own) are outside any such restriction.
    pub enterprises: BTreeSet<String>,
    /// Device ids of outlets. They restrict points of medium emission and hide every other medium.
    pub outlets: BTreeSet<String>,
    /// Media.
    pub media: BTreeSet<Medium>,
}

impl Scope {
    /// Nothing is hidden.
    pub fn is_everything(&self) -> bool {
        self.enterprises.is_empty() && self.outlets.is_empty() && self.media.is_empty()
    }
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Name of the token, or `local`.
    pub name: String,
    /// Role.
    pub role: Role,
    /// What is visible.
    pub scope: Scope,
}

impl Identity {
    /// Whoever asks over the loopback while no token is demanded: sees everything.
    pub fn local() -> Self {
        Self { name: "local".into(), role: Role::Admin, scope: Scope::default() }
    }

    /// Whether they may see how the gateway itself is doing: metrics and checks name every device and link, so only those
    /// who run the whole park.
    pub fn runs_the_park(&self) -> bool {
        matches!(self.role, Role::Operator | Role::Admin) && self.scope.is_everything()
    }

    /// Whether they may see and keep the ledgers and review projects, which name enterprises all over the park.
    pub fn reviews_projects(&self) -> bool {
        matches!(self.role, Role::Reviewer | Role::Operator | Role::Admin) && self.scope.is_everything()
    }

    /// Whether a point of a device may be seen. The gateway's own metrics are for those whose scope is the whole park.
    pub fn sees(&self, device: &Device, point: &Point) -> bool {
        let scope = &self.scope;
        if point.medium == Medium::Gateway && !scope.is_everything() {
            return false;
        }
        let enterprise = scope.enterprises.is_empty() || device.enterprise.as_ref().is_some_and(|id| scope.enterprises.contains(id));
        let outlet = scope.outlets.is_empty() || (point.medium == Medium::Emission && scope.outlets.contains(&device.id));
        let medium = scope.media.is_empty() || scope.media.contains(&point.medium);
        enterprise && outlet && medium
    }
}
