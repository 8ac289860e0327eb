//! Answers as CSV: who wants them, and how they go out. Columns are those of `parkgate export`.

use axum::http::header::{ACCEPT, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use parkgate_collector::catalogue::Catalogue;
use parkgate_collector::model::{PointIdentity, Sample};
use serde::Deserialize;

use super::error::Problem;
use crate::transfer::export::{self, SampleRows};
use crate::transfer::{csv, time};

/// Header that tells how to go on, as `next` does in JSON.
const NEXT: HeaderName = HeaderName::from_static("parkgate-next");

/// Header with the number of damaged blocks that the table is without, as `damaged_blocks` in JSON.
const DAMAGED: HeaderName = HeaderName::from_static("parkgate-damaged-blocks");

/// Form of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// A page of objects.
    Json,
    /// A line per total, with a head.
    Csv,
}

/// Whether an answer is wanted as CSV: by `format`, else by `Accept`.
pub(super) fn is_csv(format: Option<Format>, headers: &HeaderMap) -> bool {
    match format {
        Some(format) => format == Format::Csv,
        None => headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).is_some_and(|accept| accept.starts_with("text/csv")),
    }
}

/// Samples of one point as a table.
pub(super) fn samples(
    catalogue: &Catalogue,
    point: &PointIdentity,
    samples: &[Sample],
    next: Option<String>,
    damaged_blocks: u64,
) -> Result<Response, Problem> {
    let write = || -> std::io::Result<Vec<u8>> {
        let mut rows = SampleRows::new(Vec::new(), export::Format::Csv, time::zone(catalogue))?;
        samples.iter().try_for_each(|sample| rows.push(point, sample))?;
        rows.finish()
    };
    let mut response = answer(write().map_err(|_| Problem::internal())?, next);
    if damaged_blocks > 0 {
        response.headers_mut().insert(DAMAGED, HeaderValue::from(damaged_blocks));
    }
    Ok(response)
}

/// A table on its way.
pub(super) fn answer(table: Vec<u8>, next: Option<String>) -> Response {
    let mut response = table.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(csv::MEDIA_TYPE));
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"parkgate.csv\""));
    if let Some(next) = next.and_then(|next| HeaderValue::from_str(&next).ok()) {
        headers.insert(NEXT, next);
    }
    response
}
