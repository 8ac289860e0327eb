//! Query parameters: checked against what the route documents, times in three forms, bounded numbers.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use jiff::Timestamp;
use parkgate_collector::model::UtcMillis;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;
use utoipa::openapi::path::ParameterIn;

use super::error::{Problem, nearest};

/// Query parameters of a route. A name that the route does not document is refused.
#[derive(Debug)]
pub struct Params<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + IntoParams> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let documented = T::into_params(|| Some(ParameterIn::Query));
        let names: Vec<&str> = documented.iter().map(|parameter| parameter.name.as_str()).collect();
        let known = match names.as_slice() {
            [] => "this address takes no parameters".to_owned(),
            names => format!("parameters are: {}", names.join(", ")),
        };
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|error| Problem::bad_query(error.body_text(), known.clone()))?;
        for (name, _) in &pairs {
            if !names.contains(&name.as_str()) {
                let remedy = match nearest(name, names.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`? {known}"),
                    None => known,
                };
                return Err(Problem::bad_query(format!("unknown parameter `{name}`"), remedy));
            }
        }
        let Query(value) = Query::<T>::try_from_uri(&parts.uri).map_err(|error| {
            // "Failed to deserialize query string: limit: invalid digit found in string"
            let text = error.body_text();
            Problem::bad_query(text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text), known)
        })?;
        Ok(Self(value))
    }
}

/// For a route without parameters.
#[derive(Debug, Deserialize, IntoParams)]
pub struct Nothing {}

const TIME_FORMS: &str =
    "write RFC 3339 (2026-11-23T08:00:00+08:00), milliseconds since 1970, `now`, or a time back from now (-90s, -15m, -24h, -7d)";

/// Reads a time: RFC 3339, milliseconds since 1970, `now`, or back from now (`-90s`, `-15m`, `-24h`, `-7d`).
///
/// A `+` that arrives as a space, since it was not escaped in the query, is taken for the `+` it was.
pub fn time(name: &str, text: &str, now: UtcMillis) -> Result<UtcMillis, Problem> {
    let problem = || Problem::bad_query(format!("`{name}={text}` is not a time"), TIME_FORMS);
    if text == "now" {
        return Ok(now);
    }
    if let Ok(milliseconds) = text.parse::<i64>() {
        return Ok(UtcMillis(milliseconds));
    }
    if let Some(back) = text.strip_prefix('-') {
        return Ok(now.plus(span_ms(back).ok_or_else(problem)?.saturating_neg()));
    }
    let text = if text.contains('T') { text.replace(' ', "+") } else { text.to_owned() };
    text.parse::<Timestamp>().map(|timestamp| UtcMillis(timestamp.as_millisecond())).map_err(|_| problem())
}

/// Reads `from` and `to` of a half-open range; `from` is `default_from`, `to` now unless given.
pub fn range(from: Option<&str>, to: Option<&str>, default_from: &str, now: UtcMillis) -> Result<(UtcMillis, UtcMillis), Problem> {
    let from = time("from", from.unwrap_or(default_from), now)?;
    let to = time("to", to.unwrap_or("now"), now)?;
    if from > to {
        return Err(Problem::bad_query(format!("`from` ({from}) is after `to` ({to})"), "swap them, or give both"));
    }
    Ok((from, to))
}

/// Milliseconds of `90s`, `15m`, `24h`, `7d`; `None` for anything else or what does not fit.
pub fn span_ms(text: &str) -> Option<i64> {
    let unit_ms = match text.as_bytes().last()? {
        b's' => 1_000,
        b'm' => 60_000,
        b'h' => 3_600_000,
        b'd' => 86_400_000,
        _ => return None,
    };
    let digits = text.get(..text.len().saturating_sub(1))?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<i64>().ok()?.checked_mul(unit_ms)
}

/// Reads a limit: `default` unless given, from 1 to `most`.
pub fn limit(given: Option<usize>, default: usize, most: usize) -> Result<usize, Problem> {
    match given {
        None => Ok(default),
        Some(limit) if (1..=most).contains(&limit) => Ok(limit),
        Some(limit) => {
            Err(Problem::bad_query(format!("`limit={limit}` is out of bounds"), format!("from 1 to {most}; follow `next` for more")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_times_in_every_form() {
        let now = UtcMillis(1_764_000_000_000);
        for (text, expected) in [
            ("now", now.0),
            ("0", 0),
            ("-5", -5),
            ("1764000000123", 1_764_000_000_123),
            ("-90s", now.0 - 90_000),
            ("-24h", now.0 - 86_400_000),
            ("-7d", now.0 - 604_800_000),
            ("1970-01-01T00:00:01Z", 1_000),
            ("1970-01-01T08:00:01+08:00", 1_000),
            ("1970-01-01T08:00:01 08:00", 1_000),
        ] {
            assert_eq!(time("from", text, now), Ok(UtcMillis(expected)), "{text}");
        }
        for text in ["", "-", "-h", "-1w", "24h", "yesterday", "2026-11-23", "2026-11-23T08:00:00", "-99999999999999999d", "--1h"] {
            assert!(time("from", text, now).is_err(), "{text}");
        }
    }

    #[test]
    fn a_range_runs_forward() {
        let now = UtcMillis(10_000);
        assert_eq!(range(None, None, "-5s", now), Ok((UtcMillis(5_000), now)));
        assert_eq!(range(Some("3"), Some("3"), "-5s", now), Ok((UtcMillis(3), UtcMillis(3))));
        assert!(range(Some("4"), Some("3"), "-5s", now).is_err());
    }
}
