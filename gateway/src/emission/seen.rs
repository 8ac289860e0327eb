//! What of a compliance event somebody may see: all of it who sees every point that it was found from. A regulator is told of
//! abatement also where its power is hidden from them, without figures.

use parkgate_collector::model::Medium;
use parkgate_rules::emission::ComplianceEvent;
use parkgate_rules::emission::event::{EventKind, Evidence};

use super::plan::Plan;
use crate::access::{Identity, Role};

/// How much of an event somebody may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// All of it.
    Whole,
    /// That it happened, when and where; no figure and no evidence.
    WithoutFigures,
    /// Nothing.
    Nothing,
}

impl Plan {
    /// How much somebody may see of an event of this kind about an outlet or pair of an enterprise.
    pub fn sight(&self, identity: &Identity, kind: EventKind, subject: &str, enterprise: &str) -> Sight {
        let sees_points = match kind {
            EventKind::Exceedance => self.sees_outlet(identity, subject),
            EventKind::AbatementOff | EventKind::AbatementIdle => self.sees_pair(identity, subject),
        };
        // Who sees everything also sees what is not configured any more.
        if sees_points || identity.scope.is_everything() {
            return Sight::Whole;
        }
        if kind != EventKind::Exceedance && is_told_of_abatement(identity, enterprise) { Sight::WithoutFigures } else { Sight::Nothing }
    }

    /// An event as somebody may see it; `None` when they may not.
    pub fn seen(&self, identity: &Identity, event: ComplianceEvent) -> Option<ComplianceEvent> {
        match self.sight(identity, event.kind, &event.subject, &event.enterprise) {
            Sight::Whole => Some(event),
            Sight::WithoutFigures => {
                Some(ComplianceEvent { value: None, limit: None, times_over: None, evidence: Evidence::LeftOut, ..event })
            }
            Sight::Nothing => None,
        }
    }
}

/// Whether somebody is told of every event of abatement of an enterprise, at least without figures. It depends on who asks
/// and not on what there is.
pub fn is_told_of_abatement(identity: &Identity, enterprise: &str) -> bool {
    let scope = &identity.scope;
    let is_theirs = scope.outlets.is_empty()
        && (scope.enterprises.is_empty() || scope.enterprises.contains(enterprise))
        && (scope.media.is_empty() || scope.media.contains(&Medium::Emission));
    scope.is_everything() || (identity.role == Role::Regulator && is_theirs)
}
