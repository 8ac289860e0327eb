//! `/api/v1/readings`: values that somebody read from a meter by hand, and who. They are added by `parkgate reading add`.

use std::sync::Arc;

use axum::Json;
use parkgate_rules::emission::time::UtcMillis as Time;
use serde::Serialize;
use utoipa::ToSchema;

use super::dto::Page;
use super::error::Problem;
use super::meters::sees;
use super::params::{Nothing, Params};
use super::{App, Asker, Visible};
use crate::store::{Entry, EntryKind};
use crate::transfer::hand::HandReading;

/// A value that was read by hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ReadingDto {
    /// Number of its entry.
    pub id: i64,
    /// Stable id of the point.
    pub point: String,
    /// When the meter was read.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// What it showed, in the point's unit.
    pub value: String,
    /// Anything else, in words.
    pub note: Option<String>,
    /// The record had another number at that time, which is kept as a correction.
    pub replaced: bool,
    /// Who read it.
    pub author: String,
    /// When it was entered.
    #[schema(format = DateTime)]
    pub entered_at: String,
}

impl ReadingDto {
    /// `None`: the entry cannot be understood.
    fn new(entry: Entry) -> Option<Self> {
        let read = serde_json::from_value::<HandReading>(entry.body);
        let read =
            read.inspect_err(|error| tracing::error!(entry = entry.id, error = %error, "entry cannot be understood and is left out"));
        let HandReading { at, value, note, replaced } = read.ok()?;
        let (point, author, entered_at) = (entry.subject, entry.author, entry.time.to_string());
        Some(Self { id: entry.id, point, at, value, note, replaced, author, entered_at })
    }
}

/// Values read by hand, of points that the asker sees, in order of their entries.
#[utoipa::path(get, operation_id = "list_readings", path = "/api/v1/readings", tag = "totals", responses((status = 200, body = Page<ReadingDto>)))]
pub async fn list(App(shared): App, Asker(identity): Asker, _: Params<Nothing>) -> Result<Json<Page<ReadingDto>>, Problem> {
    let state = Arc::clone(&shared);
    let items = shared
        .read(move |_| {
            let visible = Visible::new(&state.catalogue, &identity);
            let entries = state.facts.entries(EntryKind::HandReading, 0)?.into_iter();
            Ok(entries.filter(|entry| sees(visible, &entry.subject)).filter_map(ReadingDto::new).collect())
        })
        .await?;
    Ok(Json(Page { items, next: None }))
}
