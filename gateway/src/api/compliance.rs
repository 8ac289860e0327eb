//! `/api/v1/compliance/events`: versions of compliance events in the order in which they were entered. They are facts: they can be
//! followed by the number of the entry, and not acknowledged away.

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::dto::Page;
use super::error::Problem;
use super::params::{Params, limit};
use super::{App, Asker};
use crate::emission::KeptEvent;

/// Events in one answer unless asked for more or less, and at most.
const ITEMS_DEFAULT: usize = 100;
const ITEMS_MAX: usize = 1_000;

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventQuery {
    /// Versions entered after this entry, as `next` says it; from the beginning unless given.
    after: Option<i64>,
    /// Only of this outlet or pair.
    subject: Option<String>,
    /// At most so many; 100 unless given, at most 1000.
    limit: Option<usize>,
}

/// A version of a compliance event.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ComplianceEventDto {
    /// Number of the entry; later ones are greater.
    pub entry: i64,
    /// When it was entered.
    #[schema(format = DateTime)]
    pub entered_at: String,
    /// The version: `id` (the same for all versions), `version`, `state` (`raised`, `amended`, `withdrawn`), `kind` (`exceedance`,
    /// `abatement_off`, `abatement_idle`), `subject`, `enterprise`, `factor`, `averaging`, `from`, `to`, `value`, `limit`, `unit`,
    /// `times_over`, `clause`, `limit_id`, `evidence`.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub event: serde_json::Value,
}

/// Versions of compliance events about what the asker sees. A regulator also gets those of pairs of production and abatement
/// whose power is not theirs to see, without figures and with `left_out` as evidence.
#[utoipa::path(get, operation_id = "list_compliance_events", path = "/api/v1/compliance/events", tag = "emissions", params(EventQuery),
    responses((status = 200, body = Page<ComplianceEventDto>), (status = 400, body = Problem, content_type = "application/problem+json")))]
pub async fn list(
    App(shared): App,
    Asker(identity): Asker,
    Params(query): Params<EventQuery>,
) -> Result<Json<Page<ComplianceEventDto>>, Problem> {
    let most = limit(query.limit, ITEMS_DEFAULT, ITEMS_MAX)?;
    let emissions = std::sync::Arc::clone(&shared.emissions);
    let page = shared
        .read(move |_| {
            let (mut items, mut next) = (Vec::new(), None);
            let mut after = query.after.unwrap_or(0);
            loop {
                let found = emissions.events(after, ITEMS_MAX)?;
                let Some(last) = found.last().map(|kept| kept.entry) else { break };
                let wanted = found.into_iter().filter(|kept| query.subject.as_ref().is_none_or(|subject| *subject == kept.event.subject));
                items.extend(wanted.filter_map(|KeptEvent { entry, entered_at, event }| {
                    Some(KeptEvent { entry, entered_at, event: emissions.plan().seen(&identity, event)? })
                }));
                after = last;
                if items.len() > most {
                    items.truncate(most);
                    next = items.last().map(|last: &KeptEvent| last.entry.to_string());
                    break;
                }
            }
            Ok(Page { items: items.iter().map(dto).collect(), next })
        })
        .await?;
    Ok(Json(page))
}

fn dto(kept: &KeptEvent) -> ComplianceEventDto {
    ComplianceEventDto {
        entry: kept.entry,
        entered_at: kept.entered_at.to_string(),
        event: serde_json::to_value(&kept.event).unwrap_or_default(),
    }
}
